//! Digests that name what a decision does, whatever the epoch.

use std::fmt;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::decision::Fingerprint;

/// SHA-256 of one thing, under the name of its kind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    pub(crate) fn writer(kind: &str) -> Writer {
        let mut writer = Writer(Sha256::new());
        writer.text("weir");
        writer.text(kind);
        writer
    }

    /// Half of it, which is enough to tell apart what governors write.
    pub(crate) fn short(&self) -> [u8; 16] {
        let mut short = [0; 16];
        short.iter_mut().zip(&self.0).for_each(|(to, from)| *to = *from);
        short
    }
}

/// What a decision on one source was made of, in order: the source, each rule that has a part in it, and after a rule
/// what was answered for the person. How many answers there are follows from the rule, and each tells its own length,
/// so that different decisions never give the same notes.
pub(crate) struct Notes {
    bytes: Vec<u8>,
    /// Digests of values that are in the notes already.
    values: Vec<Digest>,
}

impl Notes {
    pub(crate) fn new(source: &Digest, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.extend_from_slice(b"weir decision 2\0");
        bytes.extend_from_slice(&source.0);
        Self { bytes, values: Vec::new() }
    }

    pub(crate) fn rule(&mut self, short: &[u8; 16]) {
        self.bytes.extend_from_slice(short);
    }

    pub(crate) fn truth(&mut self, truth: bool) {
        self.bytes.push(if truth { b'1' } else { b'0' });
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes.push(b't');
        self.bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn nothing(&mut self) {
        self.bytes.push(b'n');
    }

    /// In full the first time, then by their place among those noted.
    pub(crate) fn values(&mut self, digest: &Digest) {
        match self.values.iter().position(|noted| noted == digest) {
            Some(place) => {
                self.bytes.push(b'w');
                self.bytes.extend_from_slice(&(place as u64).to_le_bytes());
            }
            None => {
                self.values.push(*digest);
                self.bytes.push(b'v');
                self.bytes.extend_from_slice(&digest.0);
            }
        }
    }

    /// What was decided at another source on the way.
    pub(crate) fn elsewhere(&mut self, there: Self) {
        self.bytes.push(b'e');
        self.bytes.extend_from_slice(&there.fingerprint().0);
    }

    /// SHA-256, for which nearly all processors of today have instructions.
    pub(crate) fn fingerprint(self) -> Fingerprint {
        Fingerprint(Sha256::digest(self.bytes).into())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Fingerprint(self.0), f)
    }
}

/// Takes fields one after the other; each is preceded by its length, so that no two rows of fields run together.
pub(crate) struct Writer(Sha256);

impl Writer {
    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    pub(crate) fn number(&mut self, number: u32) {
        self.bytes(&number.to_le_bytes());
    }

    /// In the JSON form, which is the same for equal values.
    pub(crate) fn value(&mut self, value: &impl Serialize) -> Result<(), serde_json::Error> {
        self.bytes(&serde_json::to_vec(value)?);
        Ok(())
    }

    pub(crate) fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}
