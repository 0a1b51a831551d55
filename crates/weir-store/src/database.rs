//! One SQLite file: making it, bringing it up to date, and connections that notice when it is taken away from under
//! them.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _, SqlSafeStr, Sqlite, Transaction, query, query_scalar};
use tokio::sync::{Mutex, MutexGuard};

use crate::error::{Failure, StoreError};

static STATE: LazyLock<Migrator> = LazyLock::new(|| {
    migrator(&[
        ("state", include_str!("../migrations/state/0001_state.sql")),
        ("projects", include_str!("../migrations/state/0002_projects.sql")),
        ("parts", include_str!("../migrations/state/0003_parts.sql")),
        ("policy history", include_str!("../migrations/state/0004_policy_history.sql")),
        ("profiles", include_str!("../migrations/state/0005_profiles.sql")),
        ("certifications", include_str!("../migrations/state/0006_certifications.sql")),
        ("touched", include_str!("../migrations/state/0007_touched.sql")),
        ("lineage", include_str!("../migrations/state/0008_lineage.sql")),
        ("workspaces", include_str!("../migrations/state/0009_workspaces.sql")),
        ("connections", include_str!("../migrations/state/0010_connections.sql")),
    ])
});
static AUDIT: LazyLock<Migrator> =
    LazyLock::new(|| migrator(&[("audit", include_str!("../migrations/audit/0001_audit.sql"))]));

/// Steps in their order. What was done once must not be changed any more: databases know its checksum.
fn migrator(steps: &[(&'static str, &'static str)]) -> Migrator {
    let steps = (1..).zip(steps).map(|(version, (description, sql))| {
        Migration::new(version, (*description).into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(steps.collect())
}

/// SQLite's result code for a file that is no database.
const NOT_A_DATABASE: &str = "26";

pub(crate) struct Database {
    path: PathBuf,
    migrations: &'static Migrator,
    /// Written into the file by its first migration.
    application_id: i64,
    /// How long to wait for another process that writes. Its turn may be long on a slow disk.
    busy_timeout: Duration,
}

impl Database {
    /// Principals, sources, policies and the rest of what decisions depend on.
    pub(crate) fn state(dir: &Path) -> Self {
        let application_id = i64::from(u32::from_be_bytes(*b"WEIR"));
        Self { path: dir.join("weir.db"), migrations: &*STATE, application_id, busy_timeout: Duration::from_secs(30) }
    }

    /// Records of reads.
    pub(crate) fn audit(dir: &Path) -> Self {
        let application_id = i64::from(u32::from_be_bytes(*b"WEIA"));
        Self { path: dir.join("audit.db"), migrations: &*AUDIT, application_id, busy_timeout: Duration::from_secs(5) }
    }

    pub(crate) fn exists(&self) -> bool {
        self.path.is_file()
    }

    /// The newest schema version that this program knows.
    pub(crate) fn known_version(&self) -> i64 {
        self.migrations.iter().map(|m| m.version).max().unwrap_or(0)
    }

    /// Makes the file if it is missing and brings it up to date.
    pub(crate) async fn prepare(&self) -> Result<(), StoreError> {
        let mut preparing = self.begin_preparing().await?;
        preparing.upgrade().await?.commit().await.map_err(|e| self.blame(e))?;
        preparing.end().await
    }

    /// Makes the file if it is missing. A file of a newer version, or of another program, is left as it is. The caller
    /// keeps other processes from doing the same at once.
    pub(crate) async fn begin_preparing(&self) -> Result<Preparing<'_>, StoreError> {
        // SQLite would make it readable for everyone. One that is there must not be opened here: closing it again
        // would release the locks of this process's other connections.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(StoreError::File { doing: "make", path: self.path.clone(), source }),
        }
        let mut conn = self.options().connect().await.map_err(|e| self.blame(e))?;
        let from = self.version(&mut conn).await?;
        Ok(Preparing { database: self, conn, from })
    }

    /// The schema version of the file, 0 when it is empty; an error if it is not one that this program can use.
    async fn version(&self, conn: &mut SqliteConnection) -> Result<i64, StoreError> {
        let found = async {
            let tables: i64 = query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *conn).await?;
            let application_id: i64 = query_scalar("PRAGMA application_id").fetch_one(&mut *conn).await?;
            match tables {
                0 => Ok(Some(0)),
                _ if application_id != self.application_id => Ok(None),
                _ => query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(&mut *conn).await,
            }
        };
        match found.await.map_err(|e| self.blame(e))? {
            Some(found) => self.check_version(found).map(|()| found),
            None => Err(StoreError::Foreign { path: self.path.clone() }),
        }
    }

    pub(crate) fn check_version(&self, found: i64) -> Result<(), StoreError> {
        match self.known_version() {
            known if found <= known => Ok(()),
            known => Err(StoreError::Newer { path: self.path.clone(), found, known }),
        }
    }

    /// A connection to the file as it is; never makes one.
    pub(crate) async fn connect(&self) -> Result<Connection, StoreError> {
        let before = self.file_id(&self.path)?;
        let mut sqlite = self.options().connect().await.map_err(|e| self.blame(e))?;
        self.version(&mut sqlite).await?;
        let connection = Connection { sqlite, files: self.file_ids()? };
        let [opened, ..] = connection.files;
        if before == opened { Ok(connection) } else { Err(StoreError::Replaced { path: self.path.clone() }) }
    }

    fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .foreign_keys(true)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(self.busy_timeout)
            .disable_statement_logging()
    }

    /// Of the database, its write-ahead log and the log's index.
    fn file_ids(&self) -> Result<[FileId; 3], StoreError> {
        let beside = |suffix| {
            let mut path = self.path.clone().into_os_string();
            path.push(suffix);
            self.file_id(Path::new(&path))
        };
        Ok([self.file_id(&self.path)?, beside("-wal")?, beside("-shm")?])
    }

    fn file_id(&self, path: &Path) -> Result<FileId, StoreError> {
        match std::fs::metadata(path) {
            Ok(file) => Ok(FileId { device: file.dev(), inode: file.ino() }),
            Err(source) => Err(StoreError::File { doing: "open", path: path.to_owned(), source }),
        }
    }

    /// The error with the name of the database.
    pub(crate) fn blame(&self, failure: impl Into<Failure>) -> StoreError {
        let path = self.path.clone();
        match failure.into() {
            Failure::Sql(sqlx::Error::Database(e)) if e.code().as_deref() == Some(NOT_A_DATABASE) => {
                StoreError::Foreign { path }
            }
            // The outer error would say the same again.
            Failure::Sql(sqlx::Error::Database(e)) => StoreError::Database { path, source: e.into_error() },
            Failure::Sql(e) => StoreError::Database { path, source: e.into() },
            Failure::Store(e) => e,
        }
    }
}

/// A file that is being brought up to date.
pub(crate) struct Preparing<'a> {
    database: &'a Database,
    conn: SqliteConnection,
    /// The schema version that was found, 0 for a new file.
    pub(crate) from: i64,
}

impl Preparing<'_> {
    /// All steps in one transaction, which the caller may add to: a kill leaves the old version or the new one.
    pub(crate) async fn upgrade(&mut self) -> Result<Transaction<'_, Sqlite>, StoreError> {
        let (database, outdated) = (self.database, self.from < self.database.known_version());
        let blame = |e| database.blame(e);
        query("PRAGMA journal_mode = WAL").execute(&mut self.conn).await.map_err(blame)?;
        // What the steps replace shall not stay readable in the file.
        query("PRAGMA secure_delete = ON").execute(&mut self.conn).await.map_err(blame)?;
        // Begun without anything to do too, to find out here and not at the first change whether it can be written.
        let mut tx = self.conn.begin_with("BEGIN IMMEDIATE").await.map_err(blame)?;
        if outdated {
            let done = database.migrations.run_direct(None, &mut *tx, false).await;
            done.map_err(|source| StoreError::Migration { path: database.path.clone(), source })?;
        }
        Ok(tx)
    }

    /// Writes the file anew, without what was deleted in it long ago.
    pub(crate) async fn scrub(&mut self) -> Result<(), StoreError> {
        let scrubbed = query("VACUUM").execute(&mut self.conn).await.map_err(|e| self.database.blame(e));
        scrubbed?;
        let emptied = query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut self.conn).await;
        emptied.map(drop).map_err(|e| self.database.blame(e))
    }

    pub(crate) async fn end(self) -> Result<(), StoreError> {
        self.conn.close().await.map_err(|e| self.database.blame(e))
    }
}

/// Which file is meant, whatever its name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

pub(crate) struct Connection {
    pub(crate) sqlite: SqliteConnection,
    files: [FileId; 3],
}

/// One connection for one kind of work, opened when needed and again after every failure.
pub(crate) struct Slot {
    pub(crate) database: Database,
    connection: Mutex<Option<Connection>>,
}

impl Slot {
    pub(crate) fn new(database: Database) -> Self {
        Self { database, connection: Mutex::new(None) }
    }

    pub(crate) async fn lease(&self) -> Result<Lease<'_>, StoreError> {
        let mut slot = self.connection.lock().await;
        let connection = match slot.take() {
            Some(open) if self.database.file_ids().is_ok_and(|files| files == open.files) => open,
            Some(moved) => {
                // Before another is opened: the two would share an index of different write-ahead logs.
                moved.sqlite.close().await.map_err(|e| self.database.blame(e))?;
                self.database.connect().await?
            }
            None => self.database.connect().await?,
        };
        Ok(Lease { database: &self.database, slot, connection })
    }

    /// After this the files are no longer in use by this slot.
    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        match self.connection.lock().await.take() {
            Some(open) => open.sqlite.close().await.map_err(|e| self.database.blame(e)),
            None => Ok(()),
        }
    }
}

/// Exclusive use of a slot's connection. One that is dropped instead of given back is closed, with its transaction
/// rolled back.
pub(crate) struct Lease<'a> {
    database: &'a Database,
    slot: MutexGuard<'a, Option<Connection>>,
    connection: Connection,
}

impl Lease<'_> {
    pub(crate) fn file(&self) -> FileId {
        let [database, ..] = self.connection.files;
        database
    }

    /// Fails if the files at the database's path are not the ones that were read or written: an unlinked file keeps
    /// taking writes that nobody will find, and keeps answering with what has long changed.
    pub(crate) fn give_back(mut self) -> Result<(), StoreError> {
        if self.database.file_ids()? != self.connection.files {
            return Err(StoreError::Replaced { path: self.database.path.clone() });
        }
        *self.slot = Some(self.connection);
        Ok(())
    }
}

impl Deref for Lease<'_> {
    type Target = SqliteConnection;
    fn deref(&self) -> &SqliteConnection {
        &self.connection.sqlite
    }
}

impl DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection.sqlite
    }
}

/// Waits until no other process is opening the directory. Held until dropped.
pub(crate) async fn lock_directory(dir: &Path) -> Result<File, StoreError> {
    let path = dir.to_owned();
    let locked = tokio::task::spawn_blocking(move || {
        let handle = File::open(path)?;
        handle.lock()?;
        Ok(handle)
    });
    let locked = locked.await.unwrap_or_else(|e| Err(io::Error::other(e)));
    locked.map_err(|source| StoreError::File { doing: "lock", path: dir.to_owned(), source })
}
