//! Remote databases: PostgreSQL.
//!
//! A table gives all its rows, or becomes part of a query that is put together from a plan: [`Translator`] says what can
//! be asked over there, [`Relation`] asks it.

mod catalog;
mod expr;
mod numeric;
mod pool;
mod relation;
mod scan;
mod sql;
mod table;
mod tls;
mod wire;

use weir_model::Connection;

pub use catalog::FoundTable;
pub use expr::{Keys, Term, Translator};
pub(crate) use pool::Databases;
pub use relation::{Aggregate, Asked, Relation};
pub use scan::RemoteScan;
pub use table::Base;
pub(crate) use table::RemoteTable;

use crate::error::SourceError;

/// What tables the schema has, or the one of that name, for registering them.
pub async fn find_tables(
    connection: Connection,
    schema: &str,
    table: Option<&str>,
) -> Result<Vec<FoundTable>, SourceError> {
    let databases = Databases::default();
    let pool = databases.pool(connection)?;
    let mut lease = pool.lease().await?;
    let found = catalog::tables(&mut lease, &pool, schema, table).await?;
    Ok(found.into_iter().map(|found| found.told(&pool)).collect())
}

/// Opens a session; gives what the database says of itself.
pub async fn try_connection(connection: Connection) -> Result<String, SourceError> {
    let databases = Databases::default();
    let pool = databases.pool(connection)?;
    let mut lease = pool.lease().await?;
    let row = lease.begin()?.query_one("SELECT pg_catalog.version()", &[]).await;
    let version = row.and_then(|row| row.try_get(0)).map_err(|e| pool::unreachable(pool.name(), &pool::chain(&e)))?;
    lease.done();
    Ok(version)
}
