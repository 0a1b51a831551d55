//! Keys of hash masks. The only module that sees one.

use rand::TryRng;
use rand::rngs::SysRng;
use sqlx::{SqliteConnection, query, query_scalar};
use weir_model::{Secret, SourceId};

use crate::error::{Failure, StoreError};

const KEY_BYTES: usize = 32;

/// From the operating system's random number generator.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    match SysRng.try_fill_bytes(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(e) => Err(StoreError::NoRandomness { why: e.to_string() }),
    }
}

/// Gives a new source its key.
pub(crate) async fn make(tx: &mut SqliteConnection, source: i64) -> Result<(), Failure> {
    let key = Secret::new(random::<KEY_BYTES>()?);
    query("INSERT INTO hash_key (source, secret) VALUES (?, ?)").bind(source).bind(key.expose()).execute(tx).await?;
    Ok(())
}

pub(crate) async fn load(conn: &mut SqliteConnection, source: SourceId) -> Result<Secret, Failure> {
    let found = query_scalar::<_, Vec<u8>>("SELECT secret FROM hash_key WHERE source = ?");
    match found.bind(source.0).fetch_optional(conn).await? {
        Some(key) if key.len() == KEY_BYTES => Ok(Secret::new(key)),
        Some(_) => {
            Err(StoreError::corrupt(format!("hash key of data source {source}"), "it has the wrong length").into())
        }
        None => Err(StoreError::NotFound { kind: "hash key of data source", name: source.to_string() }.into()),
    }
}
