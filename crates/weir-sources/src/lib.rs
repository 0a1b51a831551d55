//! Raw tables: opens what a data source's location names, as it is, ungoverned. Knows nothing of principals or
//! policies; only `weir-query` may use the tables that come out of here.

mod error;
mod files;
mod infer;
mod look;
mod remote;
mod types;

pub use error::SourceError;
pub use files::{Connect, RawPart, RawTable, Sources};
pub use infer::{Inferred, InferredColumn, infer};
pub use look::Look;
pub use remote::{
    Aggregate, Asked, Base, FoundTable, Keys, Relation, RemoteScan, Term, Translator, find_tables, try_connection,
};
pub use types::{arrow_type, model_type};
