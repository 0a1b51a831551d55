//! The only road to a source: bind names in the catalogue that the actor sees, decide, govern, verify, execute.
#![deny(clippy::wildcard_enum_match_arm)]

mod barrier;
mod builtins;
mod catalogue;
mod descent;
mod engine;
mod fault;
mod functions;
mod govern;
mod implied;
mod keyed;
mod keyset;
mod late;
mod leakproof;
mod lookup;
mod lower;
mod mask;
mod remote;
mod row_key;
mod statement;
mod verify;

pub use catalogue::types::{PgType, pg_modifier, pg_type};
pub use catalogue::{CATALOG, VisibleTable};
pub use engine::{Described, Engine, EngineSettings, Intake, Rows, UserLimits, WorkspaceSettings};
pub use statement::{
    Asked, CopyForm, CopyIn, CopyOut, Cursor, FetchCount, Query, SessionStatement, Statement, Write, parse,
    parse_question_marks,
};
