//! Reversible masking.

use std::fmt;
use std::sync::Arc;

use aes::Aes256Enc;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cmac::{Cmac, KeyInit};
use weir_model::ColumnId;

use crate::key::Keys;
use crate::siv::{IV_BYTES, Siv};

/// Tokens that can be turned back: AES-256-SIV (RFC 5297) with the column as the one piece of associated data.
///
/// A token is base64url without padding (RFC 4648, section 5) of
/// `key id (4 bytes, big-endian) ‖ synthetic vector (16 bytes) ‖ ciphertext (as long as the text)`.
/// It is deterministic: within a key and a column equal texts, and only they, have equal tokens. The length of the text
/// (in UTF-8) is seen.
#[derive(Clone)]
pub struct Reversible {
    key_id: u32,
    siv: Arc<Siv<Cmac<Aes256Enc>, Aes256Enc>>,
}

/// Not a token of this key and column, or altered. Says no more on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a token of this column")]
pub struct NotAToken;

impl Reversible {
    pub fn new(keys: &Keys, column: ColumnId) -> Self {
        let [mac, cipher] = &*keys.siv;
        let siv = Siv::new(Cmac::new(mac.into()), Aes256Enc::new(cipher.into()), &[&column.0.to_le_bytes()]);
        Self { key_id: keys.id(), siv: Arc::new(siv) }
    }

    pub fn mask(&self, value: &str) -> String {
        let mut token = Vec::with_capacity(KEY_ID_BYTES + IV_BYTES + value.len());
        token.extend_from_slice(&self.key_id.to_be_bytes());
        self.siv.seal(value.as_bytes(), &mut token);
        URL_SAFE_NO_PAD.encode(token)
    }

    pub fn unmask(&self, token: &str) -> Result<String, NotAToken> {
        let (key_id, sealed) = parts(token).ok_or(NotAToken)?;
        if key_id != self.key_id {
            return Err(NotAToken);
        }
        let mut value = self.siv.open(&sealed).ok_or(NotAToken)?;
        String::from_utf8(std::mem::take(&mut value)).map_err(|_| NotAToken)
    }
}

impl fmt::Debug for Reversible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reversible({}, …)", self.key_id)
    }
}

/// Which key a token says it was made with, so that one from before a change of keys can be turned back. `None` for
/// what does not have the form of a token. That it has the form proves nothing: [`Reversible::unmask`] does.
pub fn key_id_of(token: &str) -> Option<u32> {
    parts(token).map(|(key_id, _)| key_id)
}

const KEY_ID_BYTES: usize = 4;

fn parts(token: &str) -> Option<(u32, Vec<u8>)> {
    let mut bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    if bytes.len() < KEY_ID_BYTES + IV_BYTES {
        return None;
    }
    let sealed = bytes.split_off(KEY_ID_BYTES);
    Some((u32::from_be_bytes(bytes.try_into().ok()?), sealed))
}

#[cfg(test)]
mod tests {
    use weir_model::Secret;

    use super::*;
    use crate::key::tests::keys;

    fn reversible(column: u32) -> Reversible {
        Reversible::new(&keys(), ColumnId(column))
    }

    #[test]
    fn masked_texts_come_back() {
        let long = "long ".repeat(10_000);
        for text in ["", "a", "exactly sixteen!", "seventeen letters", "Ærøskøbing 🏝", "\0\n", long.as_str()] {
            let token = reversible(1).mask(text);
            assert_eq!(token, reversible(1).mask(text));
            assert_eq!(token.len(), ((20 + text.len()) * 4).div_ceil(3));
            assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            assert_eq!(reversible(1).unmask(&token).as_deref(), Ok(text));
            assert_eq!(key_id_of(&token), Some(7));
        }
    }

    #[test]
    fn keys_and_columns_are_kept_apart() {
        let token = reversible(1).mask("alice");
        assert_ne!(token, reversible(2).mask("alice"));
        assert_eq!(reversible(2).unmask(&token), Err(NotAToken));

        let other = |id, byte| Reversible::new(&Keys::new(id, Secret::new([byte; 32])).unwrap(), ColumnId(1));
        assert_eq!(other(7, 1).unmask(&token), Err(NotAToken));
        // A key under another id is another key.
        let same_root = Keys::new(8, keys().root().clone()).unwrap();
        assert_eq!(Reversible::new(&same_root, ColumnId(1)).unmask(&token), Err(NotAToken));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let token = reversible(1).mask("alice");
        let start = |end| token.chars().take(end).collect::<String>();
        for end in 0..token.len() {
            assert_eq!(reversible(1).unmask(&start(end)), Err(NotAToken));
        }
        // One letter more or another one anywhere; the last letter has two bits that carry nothing and must be zero.
        assert_eq!(reversible(1).unmask(&format!("{token}A")), Err(NotAToken));
        for place in 0..token.len() {
            for letter in "AQgwZ-_=+/ ".chars() {
                let mut altered = token.clone();
                altered.replace_range(place..=place, &letter.to_string());
                assert!(altered == token || reversible(1).unmask(&altered) == Err(NotAToken));
            }
        }
        for text in ["", "alice", "AAAAAAAA", "é", "AAAAB"] {
            assert_eq!(key_id_of(text), None);
        }
    }

    /// Tokens are stored by those who get them: the format stays.
    #[test]
    fn the_format_is_fixed() {
        assert_eq!(reversible(1).mask("alice"), "AAAAB729g7a5A2_S99dTBvuaHpvrvAmbuw");
        assert_eq!(format!("{:?}", reversible(1)), "Reversible(7, …)");
    }
}
