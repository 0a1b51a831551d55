//! Passwords in the clear, checked against what is kept of them for SCRAM. Tokens are a matter of `sessions`.
//!
//! An unknown name, a name without a SQL credential and a wrong password take the same time and end alike.

use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use tokio::sync::Semaphore;
use tonic::Status;
use tonic::metadata::MetadataMap;
use weir_guard::{CredentialId, Credentials, Refusal, ScramVerifier};
use weir_model::{PrincipalId, Secret};

use crate::status::{defect, malformed, told, unauthenticated};

/// Passwords that are checked at once. Each takes a processor for a while.
const CHECKS_MAX: usize = 2;
/// Longest password, in bytes.
const PASSWORD_BYTES_MAX: usize = 1024;

/// Clients write it with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Checks passwords. One per process.
pub(crate) struct Authenticator {
    credentials: Arc<dyn Credentials>,
    /// For names that have none: nobody knows its password.
    nobody: ScramVerifier,
    checks: Semaphore,
}

/// What a client logs in with.
pub(crate) struct Login {
    name: String,
    password: Secret,
}

impl Login {
    /// From the header of basic authentication (RFC 7617).
    pub(crate) fn read(metadata: &MetadataMap) -> Result<Self, Status> {
        let missing = || Status::unauthenticated("a user and a password are needed, by basic authentication");
        let header = metadata.get("authorization").and_then(|value| value.to_str().ok()).ok_or_else(missing)?;
        let encoded = strip_scheme(header, "basic").ok_or_else(missing)?;
        let decoded = Secret::new(BASE64.decode(encoded.trim()).map_err(|_| malformed("authorization header"))?);
        let colon = decoded.expose().iter().position(|byte| *byte == b':');
        let (name, password) = colon
            .and_then(|at| Some((decoded.expose().get(..at)?, decoded.expose().get(at + 1..)?)))
            .ok_or_else(|| malformed("authorization header"))?;
        let name = std::str::from_utf8(name).map_err(|_| malformed("authorization header"))?.to_owned();
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(unauthenticated());
        }
        Ok(Self { name, password: Secret::new(password) })
    }
}

/// What follows the scheme of an authorization header.
pub(crate) fn strip_scheme<'a>(header: &'a str, scheme: &str) -> Option<&'a str> {
    let (given, rest) = header.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then_some(rest)
}

impl Authenticator {
    pub(crate) fn new(credentials: Arc<dyn Credentials>, iterations: u32) -> Self {
        let (salt, password): ([u8; 16], [u8; 32]) = (rand::random(), rand::random());
        let nobody = ScramVerifier { salt: salt.to_vec(), iterations, salted_password: Secret::new(password) };
        Self { credentials, nobody, checks: Semaphore::new(CHECKS_MAX) }
    }

    /// Who it is, and by which credential.
    pub(crate) async fn check(&self, login: Login) -> Result<(PrincipalId, CredentialId), Status> {
        let Login { name, password } = login;
        let principal: Option<PrincipalId> = name.parse().ok();
        let known = match &principal {
            Some(principal) => self.scram(principal).await?,
            None => None,
        };
        let _turn = self.checks.acquire().await.map_err(|e| defect(&e))?;
        let (verifier, principal) = match known {
            Some(verifier) => (verifier, principal),
            None => (self.nobody.clone(), None),
        };
        let checked = tokio::task::spawn_blocking(move || verifier.verify(&password).then(|| verifier.id())).await;
        match (checked.map_err(|e| defect(&e))?, principal) {
            (Some(credential), Some(principal)) => Ok((principal, credential)),
            (Some(_) | None, _) => {
                tracing::info!(user = ?name, "authentication failed");
                Err(unauthenticated())
            }
        }
    }

    /// Whether the principal still has this credential.
    pub(crate) async fn holds(&self, principal: &PrincipalId, credential: CredentialId) -> Result<bool, Status> {
        Ok(self.scram(principal).await?.is_some_and(|verifier| verifier.id() == credential))
    }

    async fn scram(&self, principal: &PrincipalId) -> Result<Option<ScramVerifier>, Status> {
        self.credentials.scram(principal).await.map_err(|cause| {
            tracing::error!(%cause, "a credential could not be checked");
            told(&Refusal::unavailable(cause))
        })
    }
}
