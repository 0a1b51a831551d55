//! The policy language and the decision engine.
//!
//! Text (English or YAML) becomes an [`ast::Policy`]; policies with the [`Facts`] they speak about become a
//! [`Snapshot`]; a snapshot and a principal give a [`Decision`]. No I/O, no async, no clock, no environment: what a
//! decision depends on is an argument. What cannot be decided is denied.
#![deny(clippy::wildcard_enum_match_arm)]

pub mod ast;
mod bucket;
pub mod changes;
pub mod check;
pub mod compare;
pub mod decision;
pub mod diagnostic;
mod exact;
pub mod explain;
pub mod expr;
pub mod facts;
pub mod language;
mod rename;
mod resolve;
mod row_key;
pub mod snapshot;

pub use bucket::bucket;
pub use changes::{Changes, SourceFacts};
pub use compare::{Comparison, compare};
pub use decision::{
    AppliedMask, Decision, DenyReason, Effect, Factor, Fingerprint, KeyScope, Mask, Obligations, SourceDecision,
};
pub use diagnostic::{Diagnostic, Severity, Span};
pub use explain::{Explanation, obligations_text};
pub use expr::{Compare, Expr, Function, KeyedArm, Lookup, LookupKey, Nothing, Residual, UserTerm};
pub use facts::{Facts, StoredPolicy};
pub use rename::renamed;
pub use resolve::lands_on;
pub use row_key::{RowKeys, row_keys};
pub use snapshot::{Problem, Snapshot};
