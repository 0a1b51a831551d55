//! What the guard asks of the outside. Implementations fail rather than guess: an error refuses the read.

use std::sync::Arc;

use async_trait::async_trait;
use weir_model::{
    ColumnName, Connection, ConnectionName, DataSource, DataType, Lineage, Location, PrincipalId, ProjectName, Secret,
    SourceName, StoreConnection,
};
use weir_policy::{KeyScope, Snapshot};

use crate::audit::{Attempt, Outcome};
use crate::scram::ScramVerifier;

/// A port that did not answer. The text is for the log and the audit record, never for clients.
#[derive(Debug, thiserror::Error)]
#[error("{port} is unavailable: {why}")]
pub struct PortError {
    pub port: &'static str,
    pub why: String,
}

impl PortError {
    pub fn new(port: &'static str, why: impl std::fmt::Display) -> Self {
        Self { port, why: why.to_string() }
    }
}

/// The newest policy snapshot.
#[async_trait]
pub trait SnapshotFeed: Send + Sync {
    /// The snapshot that holds now. Must not return one that it knows, or cannot rule out, to be superseded.
    async fn current(&self) -> Result<Arc<Snapshot>, PortError>;

    /// Waits until another snapshot than `known` holds, and gives that one. Comes back well within a second of a change,
    /// whoever made it. May be dropped while it waits.
    async fn after(&self, known: &Arc<Snapshot>) -> Result<Arc<Snapshot>, PortError>;
}

/// The append-only audit log.
#[async_trait]
pub trait AuditSink: Send + Sync {
    /// Returns when the record is durable. Nothing may be read before that.
    async fn attempt(&self, record: &Attempt) -> Result<(), PortError>;

    /// Returns when the record is durable.
    async fn outcome(&self, record: &Outcome) -> Result<(), PortError>;

    /// For a read that its client abandoned: queues the record and returns at once. The record is durable before
    /// the sink is closed.
    fn outcome_later(&self, record: Outcome);
}

/// Keys of masks.
#[async_trait]
pub trait KeyRing: Send + Sync {
    /// The newest key of the scope.
    async fn mask_key(&self, scope: &KeyScope) -> Result<MaskKey, PortError>;

    /// One that was the newest at some time, to unmask with; `None` when the scope never had it.
    async fn mask_key_by_id(&self, scope: &KeyScope, id: u32) -> Result<Option<Secret>, PortError>;
}

/// Must not appear in logs, errors or plans.
#[derive(Clone, Debug)]
pub struct MaskKey {
    /// Counted within the scope.
    pub id: u32,
    /// 256 bits, from which those of the masks are derived.
    pub secret: Secret,
}

/// Where remote databases and stores are, with the credentials by which they are read.
#[async_trait]
pub trait Connections: Send + Sync {
    async fn connection(&self, name: &ConnectionName) -> Result<Connection, PortError>;

    async fn store(&self, name: &ConnectionName) -> Result<StoreConnection, PortError>;
}

/// Knows none.
pub(crate) struct NoConnections;

#[async_trait]
impl Connections for NoConnections {
    async fn connection(&self, name: &ConnectionName) -> Result<Connection, PortError> {
        Err(PortError::new("connections", format_args!("there is no connection `{name}`")))
    }

    async fn store(&self, name: &ConnectionName) -> Result<StoreConnection, PortError> {
        Err(PortError::new("connections", format_args!("there is no connection `{name}`")))
    }
}

/// Tables that members of projects write. Each call is one change of state, which is done or not at all.
#[async_trait]
pub trait Workspaces: Send + Sync {
    /// Registers a table that is not there yet, whose files are.
    async fn write(&self, by: &PrincipalId, table: WrittenTable) -> Result<(), WriteError>;

    /// Gives the table other files, unless it is not what it was.
    async fn rewrite(
        &self,
        by: &PrincipalId,
        was: &DataSource,
        location: Location,
        lineage: Option<Lineage>,
    ) -> Result<(), WriteError>;

    /// Takes the table out, unless it is not what it was. Its files stay.
    async fn drop_table(&self, by: &PrincipalId, was: &DataSource) -> Result<(), WriteError>;
}

/// A table to be registered.
#[derive(Clone, Debug)]
pub struct WrittenTable {
    pub project: ProjectName,
    pub name: SourceName,
    /// Their ids are counted from 1.
    pub columns: Vec<(ColumnName, DataType)>,
    pub location: Location,
    /// Absent when it was made from no other source.
    pub lineage: Option<Lineage>,
}

/// Why a table was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There is one of the name, or somebody else wrote it meanwhile. The text says which, and nothing of others.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Unavailable(#[from] PortError),
}

/// Credentials for the SQL doors.
#[async_trait]
pub trait Credentials: Send + Sync {
    /// What it takes to check a password; `None` when there is no such principal or it has
    /// no SQL credential. Callers answer both like a wrong password.
    async fn scram(&self, principal: &PrincipalId) -> Result<Option<ScramVerifier>, PortError>;
}

/// The wall clock, so that tests need not wait.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    fn unix_ms(&self) -> u64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_ms(&self) -> u64 {
        u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or(0)
    }
}
