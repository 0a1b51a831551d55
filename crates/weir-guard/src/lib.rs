//! One request: who asks, under which snapshot, what was decided, and the record of it. The ports that stores
//! implement are here, so that arrows point inward.
#![deny(clippy::wildcard_enum_match_arm)]

pub mod audit;
mod basis;
pub mod ports;
mod refusal;
mod request;
mod scram;
mod unmask;

pub use audit::{Attempt, Door, Ended, Outcome, SourceRecord};
pub use basis::Basis;
pub use ports::{
    AuditSink, Clock, Connections, Credentials, KeyRing, MaskKey, PortError, SnapshotFeed, SystemClock, Workspaces,
    WriteError, WrittenTable,
};
pub use refusal::{Inside, Outside, Refusal, Truth, Wrong};
pub use request::{Admitted, Caller, Guard, Request};
pub use scram::{CredentialId, ScramVerifier};
pub use unmask::{Unmasking, VALUES_MAX};
