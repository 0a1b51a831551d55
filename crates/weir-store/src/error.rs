use std::error::Error;
use std::fmt::Write;
use std::io;
use std::path::PathBuf;

/// Why the store did not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("data directory `{}` is not a directory", dir.display())]
    NotADirectory { dir: PathBuf },
    /// `doing` is a verb such as `write`.
    #[error("cannot {doing} `{}`", path.display())]
    File {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot read or write the database `{}`", path.display())]
    Database {
        path: PathBuf,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("cannot bring the database `{}` up to date", path.display())]
    Migration {
        path: PathBuf,
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    #[error(
        "the data directory was written by a newer version of Weir: `{}` has schema version {found}, and this version knows {known}",
        path.display()
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("`{}` is not a database of Weir", path.display())]
    Foreign { path: PathBuf },
    #[error("`{}` was removed or replaced while it was in use", path.display())]
    Replaced { path: PathBuf },
    #[error("another server runs on data directory `{}`", dir.display())]
    ServerRuns { dir: PathBuf },
    #[error("master key `{}` cannot be used: {why}", path.display())]
    MasterKey { path: PathBuf, why: String },
    #[error("stored {what} cannot be read: {why}")]
    Corrupt { what: String, why: String },
    #[error("{kind} `{name}` does not exist")]
    NotFound { kind: &'static str, name: String },
    #[error("{kind} `{name}` already exists")]
    Exists { kind: &'static str, name: String },
    #[error("group `{group}` still has members, such as `{member}`")]
    GroupHasMembers { group: String, member: String },
    #[error("{what} is in use by {by}")]
    InUse { what: String, by: String },
    /// `what` is a sentence such as `request 3 cannot be denied`.
    #[error("{what}: {why}")]
    Refused { what: String, why: String },
    #[error("epoch {found} holds now, not epoch {expected} any more: something was changed meanwhile")]
    Moved { expected: weir_model::Epoch, found: weir_model::Epoch },
    #[error("an empty password cannot be set for user `{user}`")]
    EmptyPassword { user: String },
    #[error("policy `{key}` cannot be saved: its YAML spelling does not read back as the same policy")]
    PolicySpelling { key: String },
    #[error("the operating system gives no random bytes: {why}")]
    NoRandomness { why: String },
    #[error("the audit log is closed")]
    AuditClosed,
    #[error("cannot write the audit log: {why}")]
    AuditWrite { why: String },
}

impl StoreError {
    pub(crate) fn corrupt(what: impl Into<String>, why: impl ToString) -> Self {
        Self::Corrupt { what: what.into(), why: why.to_string() }
    }

    pub(crate) fn refused(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Refused { what: what.into(), why: why.into() }
    }

    /// The message and those of its causes, for ports and logs.
    pub(crate) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(e) = cause {
            // Writing to a string cannot fail.
            let _ = write!(text, ": {e}");
            cause = e.source();
        }
        text
    }
}

/// An error inside a piece of work on one database, which the piece itself cannot name.
#[derive(Debug)]
pub(crate) enum Failure {
    Sql(sqlx::Error),
    Store(StoreError),
}

impl From<sqlx::Error> for Failure {
    fn from(e: sqlx::Error) -> Self {
        Self::Sql(e)
    }
}

impl From<StoreError> for Failure {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}
