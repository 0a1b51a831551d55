use std::path::PathBuf;
use std::sync::Arc;

use weir_model::{ColumnName, ConnectionName, DataType, InvalidName, SourceName};

/// Why a source cannot be registered or read. Texts name paths and URLs: they are for governors and logs.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("cannot read `{path}`")]
    Unreadable {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("`{path}` holds no {format} files")]
    NoFiles { path: PathBuf, format: &'static str },
    #[error("`{path}` mixes {first} and {second} files: name the format")]
    MixedFormats { path: PathBuf, first: &'static str, second: &'static str },
    #[error("cannot tell the format of `{path}` from its name: name the format")]
    UnknownFormat { path: PathBuf },
    #[error("`{path}` is not a readable {format} file: {why}")]
    Malformed { path: PathBuf, format: &'static str, why: String },
    #[error("column `{column}` of `{path}` has the type {found}, which is not supported")]
    UnsupportedType { path: PathBuf, column: String, found: String },
    #[error("a column of `{path}` has a name that cannot be used")]
    ColumnName {
        path: PathBuf,
        #[source]
        cause: InvalidName,
    },
    #[error("column `{column}` is not in the files below `{path}` any more")]
    ColumnGone { path: PathBuf, column: ColumnName },
    #[error("column `{column}` below `{path}` has become {found}; it was registered as {registered}")]
    ColumnChanged { path: PathBuf, column: ColumnName, registered: DataType, found: String },
    #[error("{why}")]
    Store { why: String },
    #[error("`{url}` is not below `{root}`, which connection `{connection}` leads to")]
    Outside { url: String, connection: ConnectionName, root: String },
    #[error("versions of `{path}` cannot be told apart: its server tells neither an ETag nor when it was changed")]
    Unversioned { path: PathBuf },
    #[error("connection `{connection}` cannot be used: {why}")]
    Connection { connection: ConnectionName, why: String },
    #[error("`{name}` is a view, which has no rows of its own")]
    View { name: SourceName },
    #[error("{table} cannot be read: {why}")]
    Table { table: Arc<str>, why: String },
    #[error("files below `{path}` lie in folders that differ in their partition columns: `{folder}`")]
    UnevenPartitions { path: PathBuf, folder: PathBuf },
}
