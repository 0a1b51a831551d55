//! SCRAM-SHA-256 (RFC 5802, RFC 7677). There is no other way in.
//!
//! An unknown name, a name without a SQL credential and a wrong password take the same steps and end alike.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use pgwire::api::auth::Password;
use pgwire::api::auth::sasl::scram::{ScramServerAuth, ScramServerAuthWaitingForClientFinal};
use pgwire::error::PgWireError;
use sha2::Sha256;
use weir_guard::{Credentials, Refusal};
use weir_model::{PrincipalId, Secret};

use crate::sqlstate::{Told, code};

pub(crate) const SCRAM: &str = "SCRAM-SHA-256";
/// With channel binding to the server's certificate.
pub(crate) const SCRAM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// Length of salts, for names that have none of their own.
const SALT_BYTES: usize = 16;

/// Checks passwords. One per process.
pub(crate) struct Authenticator {
    credentials: Arc<dyn Credentials>,
    /// Makes salts for names that have none, the same each time they are asked for.
    mock_key: Secret,
    mock_iterations: u32,
}

/// A client that has to prove that it knows the password.
pub(crate) struct Exchange {
    scram: ScramServerAuthWaitingForClientFinal,
    /// `None` when no proof will do.
    principal: Option<PrincipalId>,
}

impl Authenticator {
    pub(crate) fn new(credentials: Arc<dyn Credentials>, mock_iterations: u32) -> Self {
        let key: [u8; 32] = rand::random();
        Self { credentials, mock_key: Secret::new(key), mock_iterations }
    }

    /// Whether this certificate can be bound to.
    pub(crate) fn can_bind(certificate_pem: &[u8]) -> bool {
        ScramServerAuth::new().configure_certificate(certificate_pem).is_ok()
    }

    /// Answers the client's first message. `binding` is the certificate, when binding was offered; `plus` says
    /// whether the client chose it.
    pub(crate) async fn begin(
        &self,
        name: &str,
        first: &[u8],
        binding: Option<&[u8]>,
        plus: bool,
    ) -> Result<(String, Exchange), Told> {
        // A client that could bind and says that we did not offer it was lied to on the way.
        let downgraded = binding.is_some() && first.starts_with(b"y,");
        if downgraded || plus != first.starts_with(b"p=") || (plus && binding.is_none()) {
            return Err(Told::fatal(code::PROTOCOL_VIOLATION, "channel binding was not negotiated properly"));
        }
        let principal: Option<PrincipalId> = name.parse().ok();
        let verifier = match &principal {
            Some(principal) => self.credentials.scram(principal).await.map_err(|e| unavailable(&e))?,
            None => None,
        };
        let (principal, password, iterations) = match verifier {
            Some(verifier) => {
                let secret = verifier.salted_password.expose().to_vec();
                (principal, Password::new(Some(verifier.salt), secret), verifier.iterations)
            }
            None => (None, self.mock(name)?, self.mock_iterations),
        };
        let mut server = ScramServerAuth::new();
        server.set_iterations(usize::try_from(iterations).unwrap_or(usize::MAX));
        if let Some(certificate_pem) = binding {
            server.configure_certificate(certificate_pem).map_err(|_| malformed())?;
        }
        let (answer, scram) = server.on_client_first_message(first, password).map_err(|_| malformed())?;
        Ok((answer, Exchange { scram, principal }))
    }

    /// What a credential of this name could look like.
    fn mock(&self, name: &str) -> Result<Password, Told> {
        let derive = |label: &str| {
            let mut mac =
                Hmac::<Sha256>::new_from_slice(self.mock_key.expose()).map_err(|_| unavailable(&"no mock key"))?;
            mac.update(label.as_bytes());
            mac.update(name.as_bytes());
            Ok::<_, Told>(mac.finalize().into_bytes().to_vec())
        };
        let mut salt = derive("salt:")?;
        salt.truncate(SALT_BYTES);
        Ok(Password::new(Some(salt), derive("password:")?))
    }
}

impl Exchange {
    /// Checks the client's proof: who it is, and our own proof.
    pub(crate) fn finish(self, last: &[u8]) -> Result<(PrincipalId, String), Told> {
        match (self.scram.on_client_final_message(last), self.principal) {
            (Ok(answer), Some(principal)) => Ok((principal, answer)),
            (Ok(_), None) | (Err(PgWireError::InvalidPassword(_)), _) => Err(Told::unauthenticated()),
            (Err(_), _) => Err(malformed()),
        }
    }
}

fn malformed() -> Told {
    Told::fatal(code::PROTOCOL_VIOLATION, "malformed authentication message")
}

fn unavailable(cause: &dyn std::fmt::Display) -> Told {
    tracing::error!(%cause, "a credential could not be checked");
    Told::from(&Refusal::unavailable(cause)).into_fatal()
}
