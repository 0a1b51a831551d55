//! The master key of a data directory, under which all other keys lie encrypted.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aes_gcm_siv::aead::{Aead, Payload};
use aes_gcm_siv::{Aes256GcmSiv, KeyInit, Nonce};
use sqlx::{SqliteConnection, query, query_scalar};
use weir_model::Secret;

use crate::error::{Failure, StoreError};
use crate::keys::random;

const KEY_BYTES: usize = 32;
/// RFC 8452, section 6: nonces may be random, and one that comes twice gives away no more than that two texts are equal.
const NONCE_BYTES: usize = 12;
/// The first byte of what is sealed: AES-256-GCM-SIV, then the nonce, then the ciphertext.
const FORMAT: u8 = 1;
/// What [`Vault::check`] opens.
const CHECK: &str = "nothing";

pub(crate) struct Vault {
    cipher: Aes256GcmSiv,
    path: PathBuf,
}

impl Vault {
    /// The key of a directory that was made with one.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let missing = "it is missing, and without it no password and no mask of the data directory works; put it back";
        Self::read(path)?.ok_or_else(|| unusable(path, missing))
    }

    /// The key of a directory that is being made, or brought up to date from when there were none. One that an attempt
    /// left behind is taken.
    pub(crate) fn open_or_make(path: &Path) -> Result<Self, StoreError> {
        match Self::read(path)? {
            Some(vault) => Ok(vault),
            None => {
                make(path)?;
                Self::open(path)
            }
        }
    }

    fn read(path: &Path) -> Result<Option<Self>, StoreError> {
        let failed = |source| StoreError::File { doing: "read", path: path.to_owned(), source };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed(e)),
        };
        if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
            return Err(unusable(path, "others than its owner may read or change it; `chmod 600` ends that"));
        }
        // As large as it gets, so that no copy is left behind.
        let mut bytes = Vec::with_capacity(2 * KEY_BYTES);
        let read = file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes);
        let key = Secret::new(bytes);
        read.map_err(failed)?;
        let cipher = Aes256GcmSiv::new_from_slice(key.expose());
        let cipher = cipher.map_err(|_| unusable(path, "it is not 32 bytes long"))?;
        Ok(Some(Self { cipher, path: path.to_owned() }))
    }

    /// Encrypts. Only as `what` can it be opened again.
    pub(crate) fn seal(&self, what: &str, secret: &[u8]) -> Result<Vec<u8>, StoreError> {
        let nonce: [u8; NONCE_BYTES] = random()?;
        let sealed = self.cipher.encrypt(&Nonce::from(nonce), Payload { msg: secret, aad: what.as_bytes() });
        let sealed =
            sealed.map_err(|_| StoreError::refused(format!("{what} cannot be encrypted"), "it is too long"))?;
        Ok([&[FORMAT][..], &nonce, &sealed].concat())
    }

    /// What was sealed as `what` under this key.
    pub(crate) fn unseal(&self, what: &str, sealed: &[u8]) -> Result<Secret, StoreError> {
        let opened = sealed.split_first_chunk().filter(|([format], _)| *format == FORMAT);
        let opened = opened.and_then(|(_, rest)| rest.split_first_chunk::<NONCE_BYTES>());
        let opened = opened.and_then(|(nonce, sealed)| {
            let payload = Payload { msg: sealed, aad: what.as_bytes() };
            self.cipher.decrypt(&Nonce::from(*nonce), payload).ok()
        });
        opened.map(Secret::new).ok_or_else(|| StoreError::corrupt(what, "the master key does not open it"))
    }

    /// Makes this the key of the directory.
    pub(crate) async fn adopt(&self, tx: &mut SqliteConnection) -> Result<(), Failure> {
        let insert = query("INSERT INTO master_key_check (id, sealed) VALUES (1, ?)").bind(self.seal(CHECK, &[])?);
        insert.execute(tx).await?;
        Ok(())
    }

    /// An error if this is not the key of the directory.
    pub(crate) async fn check(&self, conn: &mut SqliteConnection) -> Result<(), Failure> {
        let sealed: Option<Vec<u8>> = query_scalar("SELECT sealed FROM master_key_check").fetch_optional(conn).await?;
        match sealed.map(|sealed| self.unseal(CHECK, &sealed)) {
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) | None => Err(unusable(&self.path, "it is not the one of this data directory").into()),
        }
    }
}

fn unusable(path: &Path, why: &str) -> StoreError {
    StoreError::MasterKey { path: path.to_owned(), why: why.to_owned() }
}

/// Whole or not at all, also after a power failure: what is encrypted under half a key is lost.
fn make(path: &Path) -> Result<(), StoreError> {
    let mut unfinished = OsString::from(path);
    unfinished.push(".new");
    let key = Secret::new(random::<KEY_BYTES>()?);
    let write = || {
        match fs::remove_file(&unfinished) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(key.expose())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        match path.parent() {
            Some(dir) => File::open(dir)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(|source| StoreError::File { doing: "make", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_as_what_it_is_and_under_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open_or_make(&dir.path().join("a")).unwrap();
        let sealed = vault.seal("key 1", b"secret").unwrap();
        assert!(!sealed.windows(6).any(|w| w == b"secret"));
        assert_eq!(vault.unseal("key 1", &sealed).unwrap().expose(), b"secret");
        assert_ne!(vault.seal("key 1", b"secret").unwrap(), sealed);

        assert!(vault.unseal("key 2", &sealed).is_err());
        assert!(Vault::open_or_make(&dir.path().join("b")).unwrap().unseal("key 1", &sealed).is_err());
        for cut in 0..sealed.len() {
            assert!(vault.unseal("key 1", &sealed[..cut]).is_err());
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(vault.unseal("key 1", &changed).is_err());
        }
    }

    #[test]
    fn a_half_written_key_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        fs::write(dir.path().join("master.key.new"), "half").unwrap();
        Vault::open_or_make(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap().len(), KEY_BYTES);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
