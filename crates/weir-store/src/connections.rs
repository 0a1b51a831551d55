//! Remote databases and stores. The only module that sees their passwords and keys.

use sqlx::{SqliteConnection, query, query_as, query_scalar};
use weir_model::{Connection, ConnectionName, Location, Secret, StoreConnection, Target};

use crate::change::{found, json, missing};
use crate::error::{Failure, StoreError};
use crate::facts;
use crate::vault::Vault;

/// A remote database or a store, without what lets one in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRecord {
    pub name: ConnectionName,
    pub target: Target,
    /// How many data sources are there.
    pub sources: u64,
}

/// Rows are never used again, unlike names.
fn what(row: i64) -> String {
    format!("password of connection {row}")
}

pub(crate) async fn add(tx: &mut SqliteConnection, vault: &Vault, connection: &Connection) -> Result<(), Failure> {
    insert(tx, vault, &connection.name, json(&connection.address)?, &connection.password).await
}

pub(crate) async fn add_store(
    tx: &mut SqliteConnection,
    vault: &Vault,
    connection: &StoreConnection,
) -> Result<(), Failure> {
    insert(tx, vault, &connection.name, json(&connection.address)?, &connection.secret).await
}

async fn insert(
    tx: &mut SqliteConnection,
    vault: &Vault,
    name: &ConnectionName,
    address: String,
    secret: &Secret,
) -> Result<(), Failure> {
    let insert =
        "INSERT INTO connection (name, address, sealed) VALUES (?, ?, x'') ON CONFLICT DO NOTHING RETURNING id";
    match query_scalar(insert).bind(name.as_str()).bind(address).fetch_optional(&mut *tx).await? {
        Some(row) => seal(tx, vault, row, secret).await,
        None => Err(StoreError::Exists { kind: "connection", name: name.to_string() }.into()),
    }
}

pub(crate) async fn set_password(
    tx: &mut SqliteConnection,
    vault: &Vault,
    name: &ConnectionName,
    password: &Secret,
) -> Result<(), Failure> {
    let row = row(tx, name).await?;
    seal(tx, vault, row, password).await
}

async fn seal(tx: &mut SqliteConnection, vault: &Vault, row: i64, password: &Secret) -> Result<(), Failure> {
    let sealed = vault.seal(&what(row), password.expose())?;
    query("UPDATE connection SET sealed = ? WHERE id = ?").bind(sealed).bind(row).execute(tx).await?;
    Ok(())
}

/// Fails while there are data sources in it.
pub(crate) async fn remove(tx: &mut SqliteConnection, name: &ConnectionName) -> Result<(), Failure> {
    let using = "SELECT schema_name || '.' || table_name FROM source WHERE location ->> 'connection' = ? LIMIT 1";
    let using: Option<String> = query_scalar(using).bind(name.as_str()).fetch_optional(&mut *tx).await?;
    if let Some(source) = using {
        let by = format!("data source `{source}`");
        return Err(StoreError::InUse { what: format!("connection `{name}`"), by }.into());
    }
    found(query("DELETE FROM connection WHERE name = ?").bind(name.as_str()).execute(tx).await?, "connection", name)
}

/// What a new source needs is there.
pub(crate) async fn check(tx: &mut SqliteConnection, location: &Location) -> Result<(), Failure> {
    match location {
        Location::Files { .. } | Location::View { .. } => Ok(()),
        Location::Objects { connection, .. } | Location::Table { connection, .. } => {
            row(tx, connection).await.map(drop)
        }
    }
}

async fn row(conn: &mut SqliteConnection, name: &ConnectionName) -> Result<i64, Failure> {
    let row = query_scalar("SELECT id FROM connection WHERE name = ?").bind(name.as_str());
    match row.fetch_optional(conn).await? {
        Some(row) => Ok(row),
        None => missing("connection", name),
    }
}

/// One that leads to a database.
pub(crate) async fn get(
    conn: &mut SqliteConnection,
    vault: &Vault,
    name: &ConnectionName,
) -> Result<Connection, Failure> {
    match open(conn, vault, name).await? {
        (Target::Database(address), password) => Ok(Connection { name: name.clone(), address, password }),
        (Target::Store(_), _) => Err(wrong(name, "it leads to files, not to a database")),
    }
}

/// One that leads to a store.
pub(crate) async fn get_store(
    conn: &mut SqliteConnection,
    vault: &Vault,
    name: &ConnectionName,
) -> Result<StoreConnection, Failure> {
    match open(conn, vault, name).await? {
        (Target::Store(address), secret) => Ok(StoreConnection { name: name.clone(), address, secret }),
        (Target::Database(_), _) => Err(wrong(name, "it leads to a database, not to files")),
    }
}

fn wrong(name: &ConnectionName, why: &str) -> Failure {
    StoreError::refused(format!("connection `{name}` cannot be used"), why.to_owned()).into()
}

async fn open(conn: &mut SqliteConnection, vault: &Vault, name: &ConnectionName) -> Result<(Target, Secret), Failure> {
    let select = query_as("SELECT id, address, sealed FROM connection WHERE name = ?").bind(name.as_str());
    let found: Option<(i64, String, Vec<u8>)> = select.fetch_optional(conn).await?;
    let Some((row, address, sealed)) = found else { return missing("connection", name) };
    let secret = vault.unseal(&what(row), &sealed)?;
    Ok((understood(name, &address)?, secret))
}

/// By name.
pub(crate) async fn list(conn: &mut SqliteConnection) -> Result<Vec<ConnectionRecord>, Failure> {
    let select = "SELECT c.name, c.address, count(s.id) FROM connection c
        LEFT JOIN source s ON s.location ->> 'connection' = c.name GROUP BY c.id ORDER BY c.name";
    let rows: Vec<(String, String, u64)> = query_as(select).fetch_all(conn).await?;
    let record = |(name, address, sources): (String, String, u64)| {
        let name = ConnectionName::new(name).map_err(|e| StoreError::corrupt("connection", e))?;
        Ok(ConnectionRecord { target: understood(&name, &address)?, name, sources })
    };
    rows.into_iter().map(record).collect()
}

fn understood(name: &ConnectionName, address: &str) -> Result<Target, StoreError> {
    facts::json(|| format!("connection `{name}`"), address)
}
