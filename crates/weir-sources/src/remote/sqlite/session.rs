//! An open file of SQLite.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::super::catalog::Found;
use super::catalog;

/// For whoever writes it.
const BUSY_MAX: Duration = Duration::from_secs(10);

pub(crate) struct Session {
    connection: Connection,
    path: PathBuf,
    /// Which file it was when it was opened.
    file: Option<(u64, u64)>,
    utf8: bool,
}

impl Session {
    /// Nothing is written, not even what a writer that broke off left to be undone. What is in the file is data: nothing
    /// in its schema may do more than compute.
    pub(crate) fn open(path: &str) -> Result<Self, String> {
        let (path, why) = (PathBuf::from(path), |e: rusqlite::Error| e.to_string());
        let file = identity(&path);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(why)?;
        connection.busy_timeout(BUSY_MAX).map_err(why)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).map_err(why)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).map_err(why)?;
        connection.pragma_update(None, "query_only", true).map_err(why)?;
        let encoding: String = connection.query_row("PRAGMA encoding", [], |row| row.get(0)).map_err(why)?;
        Ok(Self { connection, path, file, utf8: encoding == "UTF-8" })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Another file has taken its place.
    pub(crate) fn is_outdated(&self) -> bool {
        self.file.is_none() || identity(&self.path) != self.file
    }

    pub(crate) fn is_utf8(&self) -> bool {
        self.utf8
    }

    pub(crate) fn version(&self) -> Result<String, String> {
        // What is no database is found out by reading.
        let tables = "SELECT 'SQLite ' || sqlite_version() || ', ' || count(*) || ' objects' FROM sqlite_schema";
        self.connection.query_row(tables, [], |row| row.get(0)).map_err(|e| e.to_string())
    }

    pub(crate) fn tables(&self, schema: &str, table: Option<&str>) -> Result<Vec<Found>, String> {
        catalog::tables(&self.connection, schema, table).map_err(|e| e.to_string())
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}
