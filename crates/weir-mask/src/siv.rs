//! The SIV mode of RFC 5297, section 2, over CMAC and CTR. `tests` holds the vectors of its appendix A.
//!
//! Composed here of those two, because the headers are the same for a whole column and are digested once.

use aes::cipher::{BlockCipherEncrypt, BlockSizeUser, consts::U16};
use cmac::Mac;
use ctr::cipher::{InnerIvInit, StreamCipher, StreamCipherCoreWrapper};
use ctr::{CtrCore, flavors};
use zeroize::Zeroizing;

pub(crate) const IV_BYTES: usize = 16;

/// A pair of keys together with the headers (the associated data) of all messages.
pub(crate) struct Siv<M, C> {
    mac: M,
    cipher: C,
    /// S2V before its last step, which takes the message in.
    headers: u128,
}

impl<M, C> Siv<M, C>
where
    M: Mac<OutputSize = U16> + Clone,
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + Clone,
{
    /// `mac` is CMAC with the first half of the key, `cipher` has the second. At most 126 headers.
    pub(crate) fn new(mac: M, cipher: C, headers: &[&[u8]]) -> Self {
        let digest = |bytes: &[u8]| number(mac.clone().chain_update(bytes));
        let headers = headers.iter().fold(digest(&[0; IV_BYTES]), |state, header| double(state) ^ digest(header));
        Self { mac, cipher, headers }
    }

    /// The synthetic vector and the encrypted message, one after the other, behind what `out` already holds.
    pub(crate) fn seal(&self, message: &[u8], out: &mut Vec<u8>) {
        let iv = number(self.digest(message)).to_be_bytes();
        out.extend_from_slice(&iv);
        let start = out.len();
        out.extend_from_slice(message);
        if let Some(message) = out.get_mut(start..) {
            self.crypt(iv, message);
        }
    }

    /// `None` unless `seal` made it with the same keys and headers.
    pub(crate) fn open(&self, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (iv, message) = sealed.split_first_chunk::<IV_BYTES>()?;
        let mut message = Zeroizing::new(message.to_vec());
        self.crypt(*iv, &mut message);
        // Compares in constant time.
        self.digest(&message).verify_slice(iv).ok()?;
        Some(message)
    }

    /// The last step of S2V, still to be finished.
    fn digest(&self, message: &[u8]) -> M {
        match message.split_last_chunk::<IV_BYTES>() {
            Some((start, end)) => {
                let end = u128::from_be_bytes(*end) ^ self.headers;
                self.mac.clone().chain_update(start).chain_update(end.to_be_bytes())
            }
            None => {
                let mut padded = [0; IV_BYTES];
                let bytes = message.iter().copied().chain([0x80]);
                padded.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
                let end = u128::from_be_bytes(padded) ^ double(self.headers);
                self.mac.clone().chain_update(end.to_be_bytes())
            }
        }
    }

    fn crypt(&self, iv: [u8; IV_BYTES], message: &mut [u8]) {
        // Two bits of the vector are cleared before counting starts (section 2.5).
        let counter = u128::from_be_bytes(iv) & !(1 << 63 | 1 << 31);
        let core = CtrCore::<_, flavors::Ctr128BE>::inner_iv_init(self.cipher.clone(), &counter.to_be_bytes().into());
        StreamCipherCoreWrapper::from_core(core).apply_keystream(message);
    }
}

fn number(mac: impl Mac<OutputSize = U16>) -> u128 {
    u128::from_be_bytes(mac.finalize().into_bytes().into())
}

/// Multiplication by x in GF(2^128) (section 2.3).
fn double(block: u128) -> u128 {
    (block << 1) ^ (0x87 * (block >> 127))
}

#[cfg(test)]
mod tests {
    use aes::{Aes128, Aes256};
    use cmac::{Cmac, KeyInit};

    use super::*;
    use crate::key::tests::unhex;

    fn aes_128(key: &str, headers: &[&[u8]]) -> Siv<Cmac<Aes128>, Aes128> {
        let key = unhex(key);
        let (mac, cipher) = key.split_at(16);
        Siv::new(Cmac::new_from_slice(mac).unwrap(), Aes128::new_from_slice(cipher).unwrap(), headers)
    }

    fn check(siv: &Siv<Cmac<Aes128>, Aes128>, message: &str, sealed: &str) {
        let mut out = Vec::new();
        siv.seal(&unhex(message), &mut out);
        assert_eq!(out, unhex(sealed));
        assert_eq!(*siv.open(&out).unwrap(), unhex(message));
    }

    /// RFC 5297, A.1.
    #[test]
    fn deterministic_example() {
        let header = unhex("101112131415161718191a1b1c1d1e1f2021222324252627");
        let siv = aes_128("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0 f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", &[&header]);
        check(&siv, "112233445566778899aabbccddee", "85632d07c6e8f37f950acd320a2ecc93 40c02b9690c4dc04daef7f6afe5c");
    }

    /// RFC 5297, A.2.
    #[test]
    fn nonce_based_example() {
        let headers = [
            "00112233445566778899aabbccddeeffdeaddadadeaddadaffeeddccbbaa99887766554433221100",
            "102030405060708090a0",
            "09f911029d74e35bd84156c5635688c0",
        ]
        .map(unhex);
        let headers: Vec<&[u8]> = headers.iter().map(Vec::as_slice).collect();
        let siv = aes_128("7f7e7d7c7b7a79787776757473727170 404142434445464748494a4b4c4d4e4f", &headers);
        check(
            &siv,
            "7468697320697320736f6d6520706c61696e7465787420746f20656e6372797074207573696e67205349562d414553",
            "7bdb6e3b432667eb06f4d14bff2fbd0f cb900f2fddbe404326601965c889bf17dba77ceb094fa663b7a3f748ba8af829\
             ea64ad544a272e9c485b62a3fd5c0d",
        );
    }

    #[test]
    fn whatever_is_altered_is_refused() {
        let siv =
            |header: &[u8]| Siv::new(Cmac::<Aes256>::new(&[1; 32].into()), Aes256::new(&[2; 32].into()), &[header]);
        for length in [0, 1, 15, 16, 17, 33] {
            let message: Vec<u8> = (0..length).collect();
            let mut sealed = Vec::new();
            siv(b"a").seal(&message, &mut sealed);
            assert_eq!(*siv(b"a").open(&sealed).unwrap(), message);
            assert!(siv(b"b").open(&sealed).is_none());
            assert!(siv(b"a").open(&sealed[1..]).is_none());
            assert!(siv(b"a").open(&sealed[..sealed.len() - 1]).is_none());
            for bit in 0..sealed.len() * 8 {
                let mut altered = sealed.clone();
                altered[bit / 8] ^= 1 << (bit % 8);
                assert!(siv(b"a").open(&altered).is_none());
            }
        }
    }
}
