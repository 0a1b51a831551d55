//! The two records of a read. Their schema is `docs/audit.md`; a change there is a new `VERSION`.

use serde::{Deserialize, Serialize};
use weir_model::{Actor, Epoch, ProjectName, PurposeName, RequestId, SourceName};
use weir_policy::Factor;

use crate::refusal::Truth;

/// Version of both records.
pub const VERSION: u32 = 4;

/// Through which protocol somebody reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Door {
    /// The PostgreSQL wire protocol.
    Postgres,
    /// Arrow Flight SQL.
    FlightSql,
    /// The command line of this machine's administrator.
    Local,
}

impl Door {
    pub fn as_str(self) -> &'static str {
        match self {
            Door::Postgres => "postgres",
            Door::FlightSql => "flight-sql",
            Door::Local => "local",
        }
    }
}

/// Durable before the first byte of the answer leaves, and for every refusal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    pub version: u32,
    pub request: RequestId,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub at_unix_ms: u64,
    pub actor: Actor,
    pub door: Door,
    /// What the client says of itself (`application_name`); never identity.
    pub client_hint: Option<String>,
    /// As sent, parameters not filled in.
    pub statement: String,
    /// Absent when the request ended before a snapshot was pinned.
    pub epoch: Option<Epoch>,
    pub project: Option<ProjectName>,
    /// Under which the principal acted.
    #[serde(default)]
    pub purposes: Vec<PurposeName>,
    /// The table of a workspace that the statement writes or drops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes: Option<SourceName>,
    /// One for each source that the statement names and the principal may see.
    pub sources: Vec<SourceRecord>,
    /// Why nothing was read; absent when the read was let through.
    pub refusal: Option<RefusalRecord>,
}

/// What was decided about one source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceRecord {
    pub source: SourceName,
    /// `clear`, `obliged` or `deny`.
    pub decision: String,
    /// Short form of the decision's fingerprint, when there are obligations.
    pub fingerprint: Option<String>,
    /// The policies behind it.
    pub factors: Vec<Factor>,
}

/// The answer that the client got and the truth behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusalRecord {
    /// What the client was told.
    pub told: String,
    pub truth: Truth,
    /// Detail for the auditor.
    pub detail: String,
}

/// After the last byte, or when the read ended before that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub version: u32,
    pub request: RequestId,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub at_unix_ms: u64,
    pub ended: Ended,
    /// Handed to the client.
    pub rows: u64,
    /// In-memory size of what was handed to the client.
    pub bytes: u64,
    pub elapsed_ms: u64,
    /// For the auditor, when it failed or was revoked.
    pub detail: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    Complete,
    /// The client took what it wanted and closed the read, or went away.
    Abandoned,
    /// By a cancel request.
    Cancelled,
    Failed,
    /// By a change after which the read would not have been let through as it was.
    Revoked,
    /// The server stopped while the read ran; written when it starts again.
    Interrupted,
}

impl Ended {
    pub fn as_str(self) -> &'static str {
        match self {
            Ended::Complete => "complete",
            Ended::Abandoned => "abandoned",
            Ended::Cancelled => "cancelled",
            Ended::Failed => "failed",
            Ended::Revoked => "revoked",
            Ended::Interrupted => "interrupted",
        }
    }
}
