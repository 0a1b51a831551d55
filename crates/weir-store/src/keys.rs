//! Keys of masks, of sources and of projects. The only module that sees one.

use rand::TryRng;
use rand::rngs::SysRng;
use sqlx::{SqliteConnection, query, query_as, query_scalar};
use weir_guard::MaskKey;
use weir_model::{ProjectName, Secret, SourceName};
use weir_policy::KeyScope;

use crate::error::{Failure, StoreError};
use crate::vault::Vault;

const KEY_BYTES: usize = 32;

/// Whose key it is, by what people call it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyOwner {
    Source(SourceName),
    Project(ProjectName),
}

impl std::fmt::Display for KeyOwner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeyOwner::Source(source) => write!(f, "data source `{source}`"),
            KeyOwner::Project(project) => write!(f, "project `{project}`"),
        }
    }
}

/// That there is a key; never the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    pub of: KeyOwner,
    /// Counted for each owner; the greatest is in use.
    pub id: u32,
    /// Milliseconds since 1970-01-01T00:00:00Z. Absent for keys that are older than this record of them.
    pub made_at_unix_ms: Option<u64>,
}

/// The row of whose key it is.
#[derive(Clone, Copy)]
pub(crate) enum Of {
    Source(i64),
    Project(i64),
}

impl Of {
    /// For the columns `source` and `project`.
    fn columns(self) -> (Option<i64>, Option<i64>) {
        match self {
            Of::Source(row) => (Some(row), None),
            Of::Project(row) => (None, Some(row)),
        }
    }

    /// Rows are never used again, unlike names.
    fn what(self, id: u32) -> String {
        match self {
            Of::Source(row) => format!("key {id} of data source {row}"),
            Of::Project(row) => format!("key {id} of project {row}"),
        }
    }
}

/// From the operating system's random number generator.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    match SysRng.try_fill_bytes(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(e) => Err(StoreError::NoRandomness { why: e.to_string() }),
    }
}

/// Makes a key that is used from now on.
pub(crate) async fn make(tx: &mut SqliteConnection, vault: &Vault, of: Of, at_unix_ms: i64) -> Result<(), Failure> {
    let (source, project) = of.columns();
    let select = query_scalar("SELECT coalesce(max(id), 0) + 1 FROM mask_key WHERE (source = ? OR project = ?)");
    let id: u32 = select.bind(source).bind(project).fetch_one(&mut *tx).await?;
    let key = Secret::new(random::<KEY_BYTES>()?);
    insert(tx, vault, of, id, Some(at_unix_ms), &key).await
}

async fn insert(
    tx: &mut SqliteConnection,
    vault: &Vault,
    of: Of,
    id: u32,
    at_unix_ms: Option<i64>,
    key: &Secret,
) -> Result<(), Failure> {
    let (source, project) = of.columns();
    query("INSERT INTO mask_key (source, project, id, made_at_unix_ms, sealed) VALUES (?, ?, ?, ?, ?)")
        .bind(source)
        .bind(project)
        .bind(id)
        .bind(at_unix_ms)
        .bind(vault.seal(&of.what(id), key.expose())?)
        .execute(tx)
        .await?;
    Ok(())
}

/// Gives a project its first key.
pub(crate) async fn make_first(
    tx: &mut SqliteConnection,
    vault: &Vault,
    of: Of,
    at_unix_ms: i64,
) -> Result<(), Failure> {
    let (source, project) = of.columns();
    let select = query_scalar("SELECT EXISTS (SELECT 1 FROM mask_key WHERE (source = ? OR project = ?))");
    match select.bind(source).bind(project).fetch_one(&mut *tx).await? {
        true => Ok(()),
        false => make(tx, vault, of, at_unix_ms).await,
    }
}

/// The row of the scope, if there is such a thing.
async fn row(conn: &mut SqliteConnection, scope: &KeyScope) -> Result<Option<Of>, Failure> {
    Ok(match scope {
        KeyScope::Source(source) => Some(Of::Source(source.0.into())),
        KeyScope::Project(project) => {
            let select = query_scalar("SELECT id FROM project WHERE name = ?").bind(project.as_str());
            select.fetch_optional(conn).await?.map(Of::Project)
        }
    })
}

/// The one in use.
pub(crate) async fn newest(conn: &mut SqliteConnection, vault: &Vault, scope: &KeyScope) -> Result<MaskKey, Failure> {
    if let Some(of) = row(conn, scope).await? {
        let (source, project) = of.columns();
        let select = "SELECT id, sealed FROM mask_key WHERE (source = ? OR project = ?) ORDER BY id DESC LIMIT 1";
        let found: Option<(u32, Vec<u8>)> = query_as(select).bind(source).bind(project).fetch_optional(conn).await?;
        if let Some((id, sealed)) = found {
            return Ok(MaskKey { id, secret: opened(vault, of, id, &sealed)? });
        }
    }
    Err(match scope {
        KeyScope::Source(source) => StoreError::NotFound { kind: "key of data source", name: source.to_string() },
        KeyScope::Project(project) => StoreError::NotFound { kind: "key of project", name: project.to_string() },
    }
    .into())
}

pub(crate) async fn by_id(
    conn: &mut SqliteConnection,
    vault: &Vault,
    scope: &KeyScope,
    id: u32,
) -> Result<Option<Secret>, Failure> {
    let Some(of) = row(conn, scope).await? else { return Ok(None) };
    let (source, project) = of.columns();
    let select = query_scalar("SELECT sealed FROM mask_key WHERE (source = ? OR project = ?) AND id = ?");
    let sealed: Option<Vec<u8>> = select.bind(source).bind(project).bind(id).fetch_optional(conn).await?;
    Ok(sealed.map(|sealed| opened(vault, of, id, &sealed)).transpose()?)
}

fn opened(vault: &Vault, of: Of, id: u32, sealed: &[u8]) -> Result<Secret, StoreError> {
    let key = vault.unseal(&of.what(id), sealed)?;
    if key.expose().len() == KEY_BYTES {
        Ok(key)
    } else {
        Err(StoreError::corrupt(of.what(id), "it has the wrong length"))
    }
}

/// Schema and table of the source, or the project; then id and time.
type KeyRow = (Option<String>, Option<String>, Option<String>, u32, Option<u64>);

/// All keys there are, by owner, the oldest of each first.
pub(crate) async fn list(conn: &mut SqliteConnection) -> Result<Vec<KeyRecord>, Failure> {
    let select = "SELECT s.schema_name, s.table_name, p.name, k.id, k.made_at_unix_ms
        FROM mask_key k LEFT JOIN source s ON s.id = k.source LEFT JOIN project p ON p.id = k.project ORDER BY k.id";
    let rows: Vec<KeyRow> = query_as(select).fetch_all(conn).await?;
    let corrupt = |e| StoreError::corrupt("owner of a key", e);
    let records = rows.into_iter().map(|(schema, table, project, id, made_at_unix_ms)| {
        let of = match project {
            Some(project) => KeyOwner::Project(ProjectName::new(project).map_err(corrupt)?),
            None => {
                let (schema, table) = (schema.unwrap_or_default(), table.unwrap_or_default());
                KeyOwner::Source(SourceName::new(schema, table).map_err(corrupt)?)
            }
        };
        Ok(KeyRecord { of, id, made_at_unix_ms })
    });
    let mut records: Vec<KeyRecord> = records.collect::<Result<_, StoreError>>()?;
    records.sort_by(|a, b| a.of.cmp(&b.of));
    Ok(records)
}

/// Encrypts the keys of a directory from before there was a master key.
pub(crate) async fn seal_all(tx: &mut SqliteConnection, vault: &Vault) -> Result<(), Failure> {
    let plain: Vec<(i64, Vec<u8>)> = query_as("SELECT source, secret FROM hash_key").fetch_all(&mut *tx).await?;
    for (source, key) in plain {
        insert(tx, vault, Of::Source(source), 1, None, &Secret::new(key)).await?;
    }
    query("DROP TABLE hash_key").execute(tx).await?;
    Ok(())
}
