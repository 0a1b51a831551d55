//! Remote databases. The only module that sees their passwords.

use sqlx::{SqliteConnection, query, query_as, query_scalar};
use weir_model::{Address, Connection, ConnectionName, Location, Secret};

use crate::change::{found, json, missing};
use crate::error::{Failure, StoreError};
use crate::facts;
use crate::vault::Vault;

/// A remote database, without what lets one in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRecord {
    pub name: ConnectionName,
    pub address: Address,
    /// How many data sources are there.
    pub sources: u64,
}

/// Rows are never used again, unlike names.
fn what(row: i64) -> String {
    format!("password of connection {row}")
}

pub(crate) async fn add(tx: &mut SqliteConnection, vault: &Vault, connection: &Connection) -> Result<(), Failure> {
    let insert =
        "INSERT INTO connection (name, address, sealed) VALUES (?, ?, x'') ON CONFLICT DO NOTHING RETURNING id";
    let insert = query_scalar(insert).bind(connection.name.as_str()).bind(json(&connection.address)?);
    match insert.fetch_optional(&mut *tx).await? {
        Some(row) => seal(tx, vault, row, &connection.password).await,
        None => Err(StoreError::Exists { kind: "connection", name: connection.name.to_string() }.into()),
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
        Location::Table { connection, .. } => row(tx, connection).await.map(drop),
    }
}

async fn row(conn: &mut SqliteConnection, name: &ConnectionName) -> Result<i64, Failure> {
    let row = query_scalar("SELECT id FROM connection WHERE name = ?").bind(name.as_str());
    match row.fetch_optional(conn).await? {
        Some(row) => Ok(row),
        None => missing("connection", name),
    }
}

pub(crate) async fn get(
    conn: &mut SqliteConnection,
    vault: &Vault,
    name: &ConnectionName,
) -> Result<Connection, Failure> {
    let select = query_as("SELECT id, address, sealed FROM connection WHERE name = ?").bind(name.as_str());
    let found: Option<(i64, String, Vec<u8>)> = select.fetch_optional(conn).await?;
    let Some((row, address, sealed)) = found else { return missing("connection", name) };
    let password = vault.unseal(&what(row), &sealed)?;
    Ok(Connection { name: name.clone(), address: understood(name, &address)?, password })
}

/// By name.
pub(crate) async fn list(conn: &mut SqliteConnection) -> Result<Vec<ConnectionRecord>, Failure> {
    let select = "SELECT c.name, c.address, count(s.id) FROM connection c
        LEFT JOIN source s ON s.location ->> 'connection' = c.name GROUP BY c.id ORDER BY c.name";
    let rows: Vec<(String, String, u64)> = query_as(select).fetch_all(conn).await?;
    let record = |(name, address, sources): (String, String, u64)| {
        let name = ConnectionName::new(name).map_err(|e| StoreError::corrupt("connection", e))?;
        Ok(ConnectionRecord { address: understood(&name, &address)?, name, sources })
    };
    rows.into_iter().map(record).collect()
}

fn understood(name: &ConnectionName, address: &str) -> Result<Address, StoreError> {
    facts::json(|| format!("connection `{name}`"), address)
}
