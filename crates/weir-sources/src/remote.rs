//! Remote databases: PostgreSQL, MariaDB and MySQL, SQLite.
//!
//! A table gives all its rows, or becomes part of a query that is put together from a plan: [`Translator`] says what can
//! be asked over there, [`Relation`] asks it. What is particular to a kind of database is how it is talked to (`postgres`,
//! `mariadb`, `sqlite`) and its words (`dialect`).

mod calendar;
mod catalog;
mod dialect;
mod expr;
mod gather;
mod mariadb;
mod pool;
mod postgres;
mod relation;
mod scan;
mod sql;
mod sqlite;
mod table;

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
    let found = pool.lease().await?.tables(schema, table, true).await?;
    Ok(found.into_iter().map(|found| found.told(pool.name())).collect())
}

/// Opens a session; gives what the database says of itself.
pub async fn try_connection(connection: Connection) -> Result<String, SourceError> {
    let databases = Databases::default();
    databases.pool(connection)?.lease().await?.version().await
}
