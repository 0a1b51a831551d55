//! Hashing.

use std::fmt;

use weir_model::Secret;

use crate::key::Prf;

/// Tokens of texts: HMAC-SHA-256 (RFC 2104, FIPS 180-4) of the UTF-8 bytes, as 64 lower-case hex digits. The same
/// text gives the same token in every column.
#[derive(Clone)]
pub struct HashToken(Prf);

impl HashToken {
    /// `key` is the root of a scope's keys.
    pub fn new(key: &Secret) -> Self {
        Self(Prf::new(key.expose()))
    }

    /// ASCII, always.
    pub fn token(&self, value: &str) -> [u8; 64] {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let mut token = [0; 64];
        for (pair, byte) in token.as_chunks_mut::<2>().0.iter_mut().zip(self.0.of(&[value.as_bytes()])) {
            let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
            *pair = [digit(byte >> 4), digit(byte & 15)];
        }
        token
    }
}

impl fmt::Debug for HashToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn the_published_vector() {
        let token = HashToken::new(&Secret::new("Jefe")).token("what do ya want for nothing?");
        assert_eq!(&token, b"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn the_root_is_the_key() {
        let token = HashToken::new(crate::key::tests::keys().root()).token("alice@example.com");
        assert_eq!(&token, b"a59fc578d4cb46faab1d6eb348e7c74b33b85122d6459fdb7bf5654b333acab4");
    }
}
