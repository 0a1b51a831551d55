//! The only road to a source: bind names in the catalogue that the actor sees, decide, govern, verify, execute.
#![deny(clippy::wildcard_enum_match_arm)]

mod barrier;
mod builtins;
mod catalogue;
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

pub use engine::{Described, Engine, EngineSettings, Rows, UserLimits};
pub use statement::{Cursor, FetchCount, Query, SessionStatement, Statement, parse};
