//! Passwords as they are kept: salted, so that SCRAM-SHA-256 (RFC 7677) and a plain password can both be checked.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use weir_model::Secret;

/// RFC 5802, section 3: `SaltedPassword := Hi(Normalize(password), salt, i)`.
#[derive(Clone, Debug)]
pub struct ScramVerifier {
    pub salt: Vec<u8>,
    pub iterations: u32,
    pub salted_password: Secret,
}

/// Tells one password of one user from the next, and nothing of either.
#[derive(Clone, Copy)]
pub struct CredentialId([u8; 32]);

impl ScramVerifier {
    /// Of a password in the clear. Takes as long as the iterations say.
    pub fn new(password: &Secret, salt: Vec<u8>, iterations: u32) -> Self {
        let salted_password = salted(password, &salt, iterations);
        Self { salt, iterations, salted_password }
    }

    /// Whether this is the password. Takes as long as the iterations say, the same for every password.
    pub fn verify(&self, password: &Secret) -> bool {
        let given = salted(password, &self.salt, self.iterations);
        given.expose().ct_eq(self.salted_password.expose()).into()
    }

    /// Another one when the password is set anew.
    pub fn id(&self) -> CredentialId {
        let mut hash = Sha256::new();
        hash.update(self.iterations.to_be_bytes());
        hash.update(self.salted_password.expose());
        hash.update(&self.salt);
        CredentialId(hash.finalize().into())
    }
}

impl PartialEq for CredentialId {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialId")
    }
}

/// RFC 5802, section 2.2: `Hi(Normalize(str), salt, i)`, which is PBKDF2 with HMAC. Like PostgreSQL, a password that
/// SASLprep cannot take is used as it is.
fn salted(password: &Secret, salt: &[u8], iterations: u32) -> Secret {
    let raw = password.expose();
    let prepared = std::str::from_utf8(raw).ok().and_then(|text| stringprep::saslprep(text).ok());
    let prepared = Secret::new(prepared.as_deref().map_or(raw, str::as_bytes));
    Secret::new(pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(prepared.expose(), salt, iterations))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677, section 3: the password `pencil` and the client proof of the example exchange.
    #[test]
    fn the_salted_password_is_that_of_the_standard() {
        let salt = [0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81];
        let hex: String =
            salted(&Secret::new("pencil"), &salt, 4096).expose().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "c4a49510323ab4f952cac1fa99441939e78ea74d6be81ddf7096e87513dc615d");
    }

    #[test]
    fn passwords_are_normalized_where_they_can_be() {
        let of = |password: &[u8]| salted(&Secret::new(password), b"salt", 1).expose().to_vec();
        // RFC 4013, section 3: SOFT HYPHEN maps to nothing.
        assert_eq!(of("I\u{ad}X".as_bytes()), of(b"IX"));
        assert_ne!(of(b"ix"), of(b"IX"));
        assert_ne!(of(&[0xff, 1]), of(&[0xff, 2]));
    }

    #[test]
    fn a_password_is_checked_and_each_setting_of_it_told_apart() {
        let verifier = ScramVerifier::new(&Secret::new("demo"), b"salt".to_vec(), 2);
        assert!(verifier.verify(&Secret::new("demo")));
        assert!(!verifier.verify(&Secret::new("demo ")) && !verifier.verify(&Secret::new("")));
        assert_eq!(verifier.id(), verifier.clone().id());
        let again = ScramVerifier::new(&Secret::new("demo"), b"tlas".to_vec(), 2);
        assert_ne!(verifier.id(), again.id());
    }
}
