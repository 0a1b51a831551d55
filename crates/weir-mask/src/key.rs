//! The keys of one scope, all from one root.

use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use weir_model::Secret;
use zeroize::Zeroizing;

/// The keys of one data source or project. Wiped on drop; `Debug` shows the id only.
///
/// Hashing uses the 256-bit root itself as the key of HMAC-SHA-256. Every other purpose has its own key,
/// HKDF-SHA-256 (RFC 5869) of the root without a salt, with `info` naming the purpose:
///
/// | `info` | bytes | for | columns are kept apart by |
/// | --- | --- | --- | --- |
/// | `weir siv` | 64 | [`Reversible`](crate::Reversible) | associated data |
/// | `weir ff1` | 32 | [`FormatPreserving`](crate::FormatPreserving) | the tweak |
/// | `weir randomized` | 32 | [`Randomizer`](crate::Randomizer) | the start of the message |
/// | `weir sample` | 32 | [`Sampler`](crate::Sampler) | rows are sampled, not columns |
///
/// A column is there as its id, four bytes, little-endian. Column ids are numbered within a data source: under a key
/// that several sources share, columns of equal id share their permutations.
pub struct Keys {
    id: u32,
    root: Secret,
    /// The first half is for the synthetic vector, the second for encryption.
    pub(crate) siv: Zeroizing<[[u8; KEY_BYTES]; 2]>,
    pub(crate) ff1: Zeroizing<[u8; KEY_BYTES]>,
    pub(crate) randomized: Zeroizing<[u8; KEY_BYTES]>,
    pub(crate) sample: Zeroizing<[u8; KEY_BYTES]>,
}

/// The root of a scope's keys is of another length than 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key has {KEY_BYTES} bytes")]
pub struct WrongKeyLength;

pub(crate) const KEY_BYTES: usize = 32;

impl Keys {
    /// `id` names this root among all that the scope has ever had; reversible tokens carry it.
    pub fn new(id: u32, root: Secret) -> Result<Self, WrongKeyLength> {
        if root.expose().len() != KEY_BYTES {
            return Err(WrongKeyLength);
        }
        let hkdf = Hkdf::<Sha256>::new(None, root.expose());
        let mut siv = Zeroizing::new([[0; KEY_BYTES]; 2]);
        hkdf.expand(b"weir siv", siv.as_flattened_mut()).map_err(|_| WrongKeyLength)?;
        Ok(Self {
            id,
            siv,
            ff1: expand(&hkdf, b"weir ff1")?,
            randomized: expand(&hkdf, b"weir randomized")?,
            sample: expand(&hkdf, b"weir sample")?,
            root,
        })
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    /// The key of [`HashToken`](crate::HashToken).
    pub fn root(&self) -> &Secret {
        &self.root
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({}, …)", self.id)
    }
}

fn expand(hkdf: &Hkdf<Sha256>, purpose: &[u8]) -> Result<Zeroizing<[u8; KEY_BYTES]>, WrongKeyLength> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    hkdf.expand(purpose, key.as_mut_slice()).map_err(|_| WrongKeyLength)?;
    Ok(key)
}

/// HMAC-SHA-256 with the key prepared once: a message costs a clone and its own blocks.
#[derive(Clone)]
pub(crate) struct Prf(Hmac<Sha256>);

impl Prf {
    pub(crate) fn new(key: &[u8]) -> Self {
        // HMAC takes keys of every length: the error type is there for ciphers.
        Self(Hmac::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default())))
    }

    /// Of the parts one after the other.
    pub(crate) fn of(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn keys() -> Keys {
        Keys::new(7, Secret::new((0..32).collect::<Vec<u8>>())).unwrap()
    }

    pub(crate) fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text
            .bytes()
            .filter(|b| !b.is_ascii_whitespace())
            .map(|b| (b as char).to_digit(16).unwrap() as u8)
            .collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    /// Computed apart from this code, after RFC 5869.
    #[test]
    fn every_purpose_has_its_key() {
        let keys = keys();
        let siv = "e470d46b5de14a98e2a798692d392b3e1c82d7b1904f89b3c0d8c3babbfe6277\
                   83e2776407a83e7fa3dec01d42155bd21d11aad14d6b2310cbbd259148882709";
        assert_eq!(hex(keys.siv.as_flattened()), siv);
        assert_eq!(hex(&*keys.ff1), "5dcd63ba1d8b6d9ea9c0b82f5c84b2a18f95ec1e5505bf3e0ba70da794162488");
        assert_eq!(hex(&*keys.randomized), "c1c07947407bc2e3e1bd90a6a2b28ffc3961cd7a12a0cd71a753a5e67bd964ce");
        assert_eq!(hex(&*keys.sample), "351da129f28ad0753f48950cce07c695f31d024593d5d32e694009ee55f7bb71");
        assert_eq!(keys.root().expose(), (0..32).collect::<Vec<u8>>());
    }

    #[test]
    fn a_root_of_another_length_is_refused() {
        for length in [0, 16, 31, 33, 64] {
            assert_eq!(Keys::new(1, Secret::new(vec![1; length])).err(), Some(WrongKeyLength));
        }
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", keys()), "Keys(7, …)");
    }
}
