//! Durable state and the audit log, in two SQLite files of one data directory.
//!
//! `weir.db` holds what decisions depend on; every change of it is one transaction that makes the next epoch.
//! `audit.db` is append-only. Several processes may use the directory at once; one of them may be a server.
#![deny(clippy::wildcard_enum_match_arm)]

mod audit;
mod certifications;
mod change;
mod connections;
mod credential;
mod database;
mod error;
mod facts;
mod feed;
mod history;
mod keys;
mod lineage;
mod people;
mod policies;
mod profiles;
mod projects;
mod purposes;
mod requests;
mod sources;
mod touched;
mod vault;
mod workspaces;

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::{query_as, query_scalar};
use weir_guard::{
    Attempt, AuditSink, Clock, Connections, Credentials, KeyRing, MaskKey, Outcome, PortError, ScramVerifier,
    SnapshotFeed, Workspaces, WriteError, WrittenTable,
};
use weir_model::{
    Connection, ConnectionName, DataSource, Epoch, GroupName, Lineage, Location, PolicyKey, PrincipalId, Secret,
    StoreConnection,
};
use weir_policy::{Facts, KeyScope, Snapshot, StoredPolicy};

pub use audit::{AuditEntry, AuditFilter};
pub use certifications::CertificationRecord;
pub use change::Change;
pub use connections::ConnectionRecord;
pub use error::StoreError;
pub use history::{Came, PolicyVersion};
pub use keys::{KeyOwner, KeyRecord};
pub use lineage::{NewLineage, NewOrigin};
pub use projects::{Acknowledgement, Deed, ProjectPurpose, ProjectRecord};
pub use purposes::PurposeRecord;
pub use requests::{ActKind, RequestAct, RequestState, SubscriptionRequest};
pub use sources::{NewColumn, NewSource};

use audit::AuditLog;
use change::Making;
use database::{Database, Slot};
use feed::Feed;
use purposes::Statements;
use vault::Vault;

/// The schema version since which keys and passwords are encrypted.
const SEALED_SINCE: i64 = 2;

/// An open data directory. Clones share it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    vault: Vault,
    reader: Slot,
    writer: Slot,
    feed: Feed,
    audit: AuditLog,
}

/// One past change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochRecord {
    pub epoch: Epoch,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub at_unix_ms: u64,
    /// A principal, or `local` for the administrator of the machine.
    pub by: String,
    pub what: String,
}

/// While it lives, no other server can use the data directory.
#[derive(Debug)]
#[must_use = "the directory is unlocked when this is dropped"]
pub struct ServerLock {
    _file: File,
    /// Reads of a former server that was killed, now recorded as interrupted.
    pub interrupted: usize,
}

impl Store {
    /// Opens `dir`, making it and its files when they are missing and bringing them up to date. Must be called within
    /// a tokio runtime, where the audit log's writer then runs.
    pub async fn open(dir: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        Self::open_with_key(dir, &dir.join("master.key"), clock).await
    }

    /// With the master key in a file of its own, which may lie elsewhere. It is made together with the directory.
    pub async fn open_with_key(dir: &Path, key: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let key = std::path::absolute(key).map_err(|source| file_error("find", key, source))?;
        let dir = std::path::absolute(dir).map_err(|source| file_error("find", dir, source))?;
        make_directory(&dir)?;
        let (state, audit) = (Database::state(&dir), Database::audit(&dir));
        let _opening = database::lock_directory(&dir).await?;
        // Only together with the state: an audit log that is missing later was taken away, and what is recorded by a
        // program that just makes another one is not on record. Starting the server is the way to a new one.
        if !state.exists() {
            audit.prepare().await?;
        }
        let vault = prepare_state(&state, &key).await?;
        sync_directory(&dir)?;
        Ok(Self(Arc::new(Inner {
            clock,
            vault,
            reader: Slot::new(Database::state(&dir)),
            writer: Slot::new(state),
            feed: Feed::new(),
            audit: AuditLog::start(audit),
            dir,
        })))
    }

    /// Whether `dir` holds the state of Weir.
    pub fn exists(dir: &Path) -> bool {
        Database::state(dir).exists()
    }

    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Keeps other servers away, sees that the audit log is there, and records reads that a killed server left open as
    /// interrupted. For the server, before it opens its doors.
    pub async fn begin_serving(&self) -> Result<ServerLock, StoreError> {
        let path = self.0.dir.join("serve.lock");
        let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|source| file_error("open for writing", &path, source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::ServerRuns { dir: self.0.dir.clone() }),
            Err(TryLockError::Error(source)) => return Err(file_error("lock", &path, source)),
        }
        let opening = database::lock_directory(&self.0.dir).await?;
        self.0.audit.database().prepare().await?;
        sync_directory(&self.0.dir)?;
        drop(opening);
        let interrupted = self.0.audit.close_interrupted(self.0.clock.unix_ms()).await?;
        Ok(ServerLock { _file: file, interrupted })
    }

    /// Everything that decisions depend on, at one epoch.
    pub async fn facts(&self) -> Result<Facts, StoreError> {
        feed::facts(&self.0.reader, self.0.clock.as_ref()).await
    }

    /// The epoch that holds now; 0 before the first change.
    pub async fn epoch(&self) -> Result<Epoch, StoreError> {
        let mut conn = self.0.reader.lease().await?;
        let epoch = facts::epoch(&mut conn).await.map_err(|e| self.0.reader.database.blame(e))?;
        conn.give_back().map(|()| epoch)
    }

    /// Every group that was declared or has ever had a member, by name.
    pub async fn groups(&self) -> Result<Vec<GroupName>, StoreError> {
        let mut conn = self.0.reader.lease().await?;
        let names =
            query_scalar::<_, String>("SELECT name FROM declared_group ORDER BY name").fetch_all(&mut *conn).await;
        let names = names.map_err(|e| self.0.reader.database.blame(e))?;
        conn.give_back()?;
        names.into_iter().map(|name| GroupName::new(name).map_err(|e| StoreError::corrupt("group", e))).collect()
    }

    /// All projects, by name, with what decisions do not depend on too.
    pub async fn projects(&self) -> Result<Vec<ProjectRecord>, StoreError> {
        let mut conn = self.0.reader.lease().await?;
        let projects = projects::list(&mut conn).await.map_err(|e| self.0.reader.database.blame(e))?;
        conn.give_back().map(|()| projects)
    }

    /// All registered purposes, by name.
    pub async fn purposes(&self) -> Result<Vec<PurposeRecord>, StoreError> {
        let mut conn = self.0.reader.lease().await?;
        let statements = Statements::read(&mut conn).await.map_err(|e| self.0.reader.database.blame(e))?;
        conn.give_back()?;
        statements.list()
    }

    /// All certifications of policies that are there, for sources that are there; by policy and source.
    pub async fn certifications(&self) -> Result<Vec<CertificationRecord>, StoreError> {
        let mut conn = self.0.reader.lease().await?;
        let made = certifications::list(&mut conn).await.map_err(|e| self.0.reader.database.blame(e))?;
        conn.give_back().map(|()| made)
    }

    /// All requests for subscriptions that were ever made, the oldest first.
    pub async fn requests(&self) -> Result<Vec<SubscriptionRequest>, StoreError> {
        let now_unix_ms = self.0.clock.unix_ms();
        let mut conn = self.0.reader.lease().await?;
        let requests = requests::list(&mut conn, now_unix_ms).await.map_err(|e| self.0.reader.database.blame(e))?;
        conn.give_back().map(|()| requests)
    }

    /// Which keys of masks there are: by owner, the one in use last. Never the keys.
    pub async fn keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        let mut conn = self.0.reader.lease().await?;
        let keys = keys::list(&mut conn).await.map_err(|e| self.0.reader.database.blame(e))?;
        conn.give_back().map(|()| keys)
    }

    /// All remote databases and stores, by name. Never their passwords.
    pub async fn connections(&self) -> Result<Vec<ConnectionRecord>, StoreError> {
        let mut conn = self.0.reader.lease().await?;
        let connections = connections::list(&mut conn).await.map_err(|e| self.0.reader.database.blame(e))?;
        conn.give_back().map(|()| connections)
    }

    /// The newest `limit` changes, newest first.
    pub async fn changes(&self, limit: u32) -> Result<Vec<EpochRecord>, StoreError> {
        let mut conn = self.0.reader.lease().await?;
        let select = "SELECT number, at_unix_ms, made_by, what FROM epoch ORDER BY number DESC LIMIT ?";
        let rows = query_as::<_, (u64, u64, String, String)>(select).bind(limit).fetch_all(&mut *conn).await;
        let rows = rows.map_err(|e| self.0.reader.database.blame(e))?;
        conn.give_back()?;
        let record = |(epoch, at_unix_ms, by, what)| EpochRecord { epoch: Epoch(epoch), at_unix_ms, by, what };
        Ok(rows.into_iter().map(record).collect())
    }

    /// Does all of `changes` or none, durably, as one epoch, which is returned. When nothing changes there is no new
    /// epoch, and the current one is returned. `by` is the principal who makes the changes, or `local`.
    pub async fn apply(&self, by: &str, changes: Vec<Change>) -> Result<Epoch, StoreError> {
        self.apply_all(by, changes, None).await
    }

    /// As [`Self::apply`], and nothing when another epoch than `at` holds: whoever decided on the changes did not see
    /// what was changed since.
    pub async fn apply_at(&self, at: Epoch, by: &str, changes: Vec<Change>) -> Result<Epoch, StoreError> {
        self.apply_all(by, changes, Some(at)).await
    }

    /// What decisions would depend on if the changes were made, which they are not. Its epoch is the one that holds.
    pub async fn rehearse(&self, changes: &[Change]) -> Result<Facts, StoreError> {
        let writer = &self.0.writer;
        let mut conn = writer.lease().await?;
        let now_unix_ms = self.0.clock.unix_ms();
        let making = Making { at_unix_ms: now_unix_ms, by: "nobody", vault: &self.0.vault };
        let rows = change::rehearse(&mut conn, making, changes).await.map_err(|e| writer.database.blame(e))?;
        conn.give_back()?;
        feed::understood(rows, now_unix_ms).await
    }

    /// The policies that held at the epoch, the oldest first.
    pub async fn policies_at(&self, epoch: Epoch) -> Result<Vec<StoredPolicy>, StoreError> {
        let mut conn = self.0.reader.lease().await?;
        let policies = history::at(&mut conn, epoch).await.map_err(|e| self.0.reader.database.blame(e))?;
        conn.give_back().map(|()| policies)
    }

    /// Every version of the policy that is kept, the oldest first; also of one that was removed.
    pub async fn policy_history(&self, key: &PolicyKey) -> Result<Vec<PolicyVersion>, StoreError> {
        let mut conn = self.0.reader.lease().await?;
        let versions = history::of(&mut conn, key).await.map_err(|e| self.0.reader.database.blame(e))?;
        conn.give_back().map(|()| versions)
    }

    async fn apply_all(&self, by: &str, changes: Vec<Change>, at: Option<Epoch>) -> Result<Epoch, StoreError> {
        let writer = &self.0.writer;
        let mut conn = writer.lease().await?;
        let making = Making { at_unix_ms: self.0.clock.unix_ms(), by, vault: &self.0.vault };
        let done = change::apply(&mut conn, making, &changes, at).await;
        let epoch = done.map_err(|e| writer.database.blame(e))?;
        conn.give_back()?;
        tracing::info!(epoch = epoch.0, by, changes = changes.len(), "changes applied");
        Ok(epoch)
    }

    /// Reads the audit log.
    pub async fn audit_entries(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, StoreError> {
        audit::list(self.0.audit.database(), filter).await
    }

    /// Writes what the audit log has queued and releases all files. The store takes no records after that.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.0.audit.close().await?;
        self.0.writer.close().await?;
        self.0.reader.close().await
    }
}

#[async_trait]
impl SnapshotFeed for Store {
    async fn current(&self) -> Result<Arc<Snapshot>, PortError> {
        self.0.feed.current(&self.0.reader, self.0.clock.as_ref()).await.map_err(|e| unavailable("snapshot feed", &e))
    }

    async fn after(&self, known: &Arc<Snapshot>) -> Result<Arc<Snapshot>, PortError> {
        let waits = self.0.feed.after(known);
        if self.0.feed.takes_looking() {
            let Self(inner) = self.clone();
            tokio::spawn(async move { inner.feed.look(&inner.reader, inner.clock.as_ref()).await });
        }
        waits.await.map_err(|why| PortError::new("snapshot feed", why))
    }
}

#[async_trait]
impl AuditSink for Store {
    async fn attempt(&self, record: &Attempt) -> Result<(), PortError> {
        self.0.audit.attempt(record).await.map_err(|e| unavailable("audit log", &e))
    }

    async fn outcome(&self, record: &Outcome) -> Result<(), PortError> {
        self.0.audit.outcome(record).await.map_err(|e| unavailable("audit log", &e))
    }

    fn outcome_later(&self, record: Outcome) {
        if let Err(e) = self.0.audit.outcome_later(&record) {
            tracing::error!(request.id = %record.request, error = e.with_causes(), "outcome not recorded");
        }
    }
}

#[async_trait]
impl KeyRing for Store {
    async fn mask_key(&self, scope: &KeyScope) -> Result<MaskKey, PortError> {
        self.read_key(scope).await.map_err(|e| unavailable("key ring", &e))
    }

    async fn mask_key_by_id(&self, scope: &KeyScope, id: u32) -> Result<Option<Secret>, PortError> {
        self.read_key_by_id(scope, id).await.map_err(|e| unavailable("key ring", &e))
    }
}

#[async_trait]
impl Connections for Store {
    async fn connection(&self, name: &ConnectionName) -> Result<Connection, PortError> {
        self.read_connection(name).await.map_err(|e| unavailable("connections", &e))
    }

    async fn store(&self, name: &ConnectionName) -> Result<StoreConnection, PortError> {
        self.read_store(name).await.map_err(|e| unavailable("connections", &e))
    }
}

#[async_trait]
impl Workspaces for Store {
    async fn write(&self, by: &PrincipalId, table: WrittenTable) -> Result<(), WriteError> {
        let WrittenTable { project, name, columns, location, lineage } = table;
        let column = |(name, data_type)| NewColumn { name, data_type, nullable: true, tags: BTreeSet::new() };
        let table = NewSource {
            name,
            tags: BTreeSet::new(),
            owners: BTreeSet::new(),
            columns: columns.into_iter().map(column).collect(),
            row_key: Vec::new(),
            event_time: None,
            location,
        };
        self.change_table(by, Change::WriteTable { project, table, lineage }).await
    }

    async fn rewrite(
        &self,
        by: &PrincipalId,
        was: &DataSource,
        location: Location,
        lineage: Option<Lineage>,
    ) -> Result<(), WriteError> {
        let (name, was) = (was.name.clone(), (was.id, was.location.clone()));
        self.change_table(by, Change::RewriteTable { name, was, location, lineage }).await
    }

    async fn drop_table(&self, by: &PrincipalId, was: &DataSource) -> Result<(), WriteError> {
        let (name, was) = (was.name.clone(), (was.id, was.location.clone()));
        self.change_table(by, Change::DropTable { name, was }).await
    }
}

#[async_trait]
impl Credentials for Store {
    async fn scram(&self, principal: &PrincipalId) -> Result<Option<ScramVerifier>, PortError> {
        self.read_credential(principal).await.map_err(|e| unavailable("credentials", &e))
    }
}

impl Store {
    async fn change_table(&self, by: &PrincipalId, change: Change) -> Result<(), WriteError> {
        match self.apply(&by.to_string(), vec![change]).await {
            Ok(_) => Ok(()),
            Err(
                e @ (StoreError::Exists { .. }
                | StoreError::NotFound { .. }
                | StoreError::InUse { .. }
                | StoreError::Refused { .. }),
            ) => Err(WriteError::Refused(e.to_string())),
            Err(e) => Err(unavailable("workspaces", &e).into()),
        }
    }

    async fn read_key(&self, scope: &KeyScope) -> Result<MaskKey, StoreError> {
        let mut conn = self.0.reader.lease().await?;
        let key = keys::newest(&mut conn, &self.0.vault, scope).await.map_err(|e| self.0.reader.database.blame(e))?;
        conn.give_back().map(|()| key)
    }

    async fn read_key_by_id(&self, scope: &KeyScope, id: u32) -> Result<Option<Secret>, StoreError> {
        let mut conn = self.0.reader.lease().await?;
        let key = keys::by_id(&mut conn, &self.0.vault, scope, id).await;
        let key = key.map_err(|e| self.0.reader.database.blame(e))?;
        conn.give_back().map(|()| key)
    }

    async fn read_connection(&self, name: &ConnectionName) -> Result<Connection, StoreError> {
        let mut conn = self.0.reader.lease().await?;
        let found = connections::get(&mut conn, &self.0.vault, name).await;
        let found = found.map_err(|e| self.0.reader.database.blame(e))?;
        conn.give_back().map(|()| found)
    }

    async fn read_store(&self, name: &ConnectionName) -> Result<StoreConnection, StoreError> {
        let mut conn = self.0.reader.lease().await?;
        let found = connections::get_store(&mut conn, &self.0.vault, name).await;
        let found = found.map_err(|e| self.0.reader.database.blame(e))?;
        conn.give_back().map(|()| found)
    }

    async fn read_credential(&self, principal: &PrincipalId) -> Result<Option<ScramVerifier>, StoreError> {
        let mut conn = self.0.reader.lease().await?;
        let verifier = credential::load(&mut conn, &self.0.vault, principal).await;
        let verifier = verifier.map_err(|e| self.0.reader.database.blame(e))?;
        conn.give_back().map(|()| verifier)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.0.dir).finish_non_exhaustive()
    }
}

/// Brings the state up to date and finds its master key, or makes one if there was none to be had yet. What lay
/// unencrypted is encrypted in the transaction that brings the schema up to date.
async fn prepare_state(state: &Database, key: &Path) -> Result<Vault, StoreError> {
    let blame = |e| state.blame(e);
    let mut preparing = state.begin_preparing().await?;
    let from = preparing.from;
    // Before anything is changed: without its key a directory is left as it is.
    let vault = if from < SEALED_SINCE { Vault::open_or_make(key)? } else { Vault::open(key)? };
    let mut tx = preparing.upgrade().await?;
    if from < SEALED_SINCE {
        vault.adopt(&mut tx).await.map_err(blame)?;
        keys::seal_all(&mut tx, &vault).await.map_err(blame)?;
        credential::seal_all(&mut tx, &vault).await.map_err(blame)?;
    } else {
        vault.check(&mut tx).await.map_err(blame)?;
    }
    tx.commit().await.map_err(|e| state.blame(e))?;
    if (1..SEALED_SINCE).contains(&from) {
        preparing.scrub().await?;
    }
    preparing.end().await?;
    Ok(vault)
}

fn unavailable(port: &'static str, e: &StoreError) -> PortError {
    PortError::new(port, e.with_causes())
}

fn file_error(doing: &'static str, path: &Path, source: std::io::Error) -> StoreError {
    StoreError::File { doing, path: path.to_owned(), source }
}

/// For its owner only; one that is there already stays as it is.
fn make_directory(dir: &Path) -> Result<(), StoreError> {
    if dir.exists() && !dir.is_dir() {
        return Err(StoreError::NotADirectory { dir: dir.to_owned() });
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| file_error("make the data directory", dir, source))
}

/// Makes new files in it survive a power failure.
fn sync_directory(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|source| file_error("sync", dir, source))
}
