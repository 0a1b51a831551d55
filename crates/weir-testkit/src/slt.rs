//! Runs `.slt` files in which people speak: `LOGIN tara` on a connection opens a session as that person. Through
//! which door the sessions go is the caller's choice, so that the same files hold for all doors.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};

/// Opens sessions.
#[async_trait]
pub trait Door: Send + Sync + 'static {
    type Session: Session;

    async fn connect(&self, persona: &str) -> Result<Self::Session, Told>;
}

/// One person's connection.
#[async_trait]
pub trait Session: Send {
    /// Runs one statement.
    async fn run(&mut self, sql: &str) -> Result<Answer, Told>;
}

/// What a client reads.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A statement without rows was done.
    Done,
    Rows {
        columns: usize,
        /// NULL is `None`.
        rows: Vec<Vec<Option<String>>>,
    },
}

/// The error text that a client reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told(pub String);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Told {}

/// Runs one file; panics where it does not hold.
pub async fn run_file<D: Door>(path: &Path, door: Arc<D>) {
    let mut runner = Runner::new(|| async { Ok(Connection { door: Arc::clone(&door), session: None }) });
    if let Err(failure) = runner.run_file_async(path).await {
        panic!("{}", failure.display(false));
    }
    runner.shutdown_async().await;
}

struct Connection<D: Door> {
    door: Arc<D>,
    session: Option<D::Session>,
}

#[async_trait]
impl<D: Door> AsyncDB for Connection<D> {
    type Error = Told;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Told> {
        if let Some(persona) = sql.trim().strip_prefix("LOGIN ") {
            self.session = Some(self.door.connect(persona.trim()).await?);
            return Ok(DBOutput::StatementComplete(0));
        }
        let session = self.session.as_mut().ok_or_else(|| Told("no LOGIN on this connection".to_owned()))?;
        match session.run(sql).await? {
            Answer::Done => Ok(DBOutput::StatementComplete(0)),
            Answer::Rows { columns, rows } => {
                let types = vec![DefaultColumnType::Any; columns];
                Ok(DBOutput::Rows {
                    types,
                    rows: rows.into_iter().map(|row| row.into_iter().map(shown).collect()).collect(),
                })
            }
        }
    }

    async fn shutdown(&mut self) {
        self.session = None;
    }

    fn engine_name(&self) -> &str {
        "weir"
    }
}

/// As sqllogictest files write values.
fn shown(value: Option<String>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some(text) if text.is_empty() => "(empty)".to_owned(),
        Some(text) => text,
    }
}
