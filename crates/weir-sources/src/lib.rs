//! Raw tables: opens what a data source's location names, as it is, ungoverned. Knows nothing of principals or
//! policies; only `weir-query` may use the tables that come out of here.

mod delta;
mod error;
mod files;
mod infer;
mod look;
mod mapped;
mod planned;
mod remote;
mod stores;
mod table;
mod types;

pub use error::SourceError;
pub use files::{Connect, Find, RawPart, RawTable, Sources};
pub use infer::{Inferred, InferredColumn, infer, infer_objects};
pub use look::Look;
pub use planned::FILES_URL;
pub use remote::{
    Aggregate, Asked, Base, FoundTable, Keys, Relation, RemoteScan, Term, Translator, find_tables, try_connection,
};
pub use stores::{check_store, try_store};
pub use types::{arrow_type, model_type};
