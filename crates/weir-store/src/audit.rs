//! The append-only audit log. One task writes it; records that arrive while it waits for the disk are committed
//! together.

use std::sync::Arc;

use serde::Serialize;
use sqlx::{Connection, SqliteConnection, query, query_scalar};
use tokio::sync::{mpsc, oneshot};
use weir_guard::audit::VERSION;
use weir_guard::{Attempt, Ended, Outcome};
use weir_model::RequestId;

use crate::database::{Database, Slot};
use crate::error::StoreError;

mod entries;

pub(crate) use entries::list;
pub use entries::{AuditEntry, AuditFilter};

/// How much of the queue is committed together, in bytes of JSON.
const BATCH_BYTES: usize = 8 << 20;

/// Where records are handed in.
pub(crate) struct AuditLog {
    queue: mpsc::UnboundedSender<Message>,
    slot: Arc<Slot>,
}

enum Message {
    Attempt {
        json: String,
        done: Done,
    },
    /// Without `done`, nobody waits.
    Outcome {
        json: String,
        done: Option<Done>,
    },
    Close {
        done: Done,
    },
}

/// Gets why the record was not written, if it was not.
type Done = oneshot::Sender<Result<(), Arc<StoreError>>>;

impl AuditLog {
    /// Starts the writing task, which opens the file when the first record arrives. It ends when the log is closed or
    /// dropped.
    pub(crate) fn start(database: Database) -> Self {
        let (queue, messages) = mpsc::unbounded_channel();
        let slot = Arc::new(Slot::new(database));
        tokio::spawn(Writer { slot: Arc::clone(&slot), outcomes: Vec::new() }.run(messages));
        Self { queue, slot }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.slot.database
    }

    /// Returns when the record is durable. If the caller goes away before that, nothing is read for it; the log says
    /// so.
    pub(crate) async fn attempt(&self, record: &Attempt) -> Result<(), StoreError> {
        let mut unread = Unread {
            log: self,
            request: (record.refusal.is_none()).then_some(record.request),
            at_unix_ms: record.at_unix_ms,
        };
        let (done, written) = oneshot::channel();
        let result = match self.send(Message::Attempt { json: json(record)?, done }) {
            Ok(()) => answer(written).await,
            Err(e) => Err(e),
        };
        unread.request = None;
        result
    }

    /// Returns when the record is durable. On an error the record is kept and written with the next that can be.
    pub(crate) async fn outcome(&self, record: &Outcome) -> Result<(), StoreError> {
        let (done, written) = oneshot::channel();
        self.send(Message::Outcome { json: json(record)?, done: Some(done) })?;
        answer(written).await
    }

    pub(crate) fn outcome_later(&self, record: &Outcome) -> Result<(), StoreError> {
        self.send(Message::Outcome { json: json(record)?, done: None })
    }

    /// Writes what is queued and releases the file. Later records are errors.
    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        let (done, written) = oneshot::channel();
        match self.send(Message::Close { done }) {
            Ok(()) => answer(written).await,
            // Closed already.
            Err(_) => Ok(()),
        }
    }

    /// Ends the reads that a former server left without an outcome when it was killed. Returns how many there were.
    pub(crate) async fn close_interrupted(&self, at_unix_ms: u64) -> Result<usize, StoreError> {
        let blame = |e| self.slot.database.blame(e);
        let mut conn = self.slot.lease().await?;
        let select = query_scalar::<_, String>("SELECT request FROM unfinished ORDER BY request");
        let unfinished = select.fetch_all(&mut *conn).await.map_err(blame)?;
        conn.give_back()?;
        let outcomes = unfinished.iter().map(|request| {
            let detail = "the server stopped before the read ended; what was handed out is not known";
            Ok(outcome(request_id(request)?, at_unix_ms, Ended::Interrupted, detail))
        });
        let outcomes: Vec<Outcome> = outcomes.collect::<Result<_, StoreError>>()?;
        if let Some((last, others)) = outcomes.split_last() {
            for outcome in others {
                self.outcome_later(outcome)?;
            }
            // The order is kept: when the last one is durable, so are the others.
            self.outcome(last).await?;
        }
        Ok(outcomes.len())
    }

    fn send(&self, message: Message) -> Result<(), StoreError> {
        self.queue.send(message).map_err(|_| StoreError::AuditClosed)
    }
}

fn json(record: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(record).map_err(|e| StoreError::AuditWrite { why: e.to_string() })
}

fn request_id(text: &str) -> Result<RequestId, StoreError> {
    serde_json::from_value(text.into()).map_err(|e| StoreError::corrupt("request id", e))
}

fn outcome(request: RequestId, at_unix_ms: u64, ended: Ended, detail: &str) -> Outcome {
    let detail = Some(detail.to_owned());
    Outcome { version: VERSION, request, at_unix_ms, ended, rows: 0, bytes: 0, elapsed_ms: 0, detail }
}

async fn answer(written: oneshot::Receiver<Result<(), Arc<StoreError>>>) -> Result<(), StoreError> {
    match written.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => Err(StoreError::AuditWrite { why: e.with_causes() }),
        Err(_) => Err(StoreError::AuditClosed),
    }
}

/// An attempt whose maker has not heard yet that it is on record.
struct Unread<'a> {
    log: &'a AuditLog,
    request: Option<RequestId>,
    at_unix_ms: u64,
}

impl Drop for Unread<'_> {
    fn drop(&mut self) {
        let Some(request) = self.request else { return };
        let record = outcome(request, self.at_unix_ms, Ended::Abandoned, "given up before the read began");
        if let Err(e) = self.log.outcome_later(&record) {
            tracing::error!(request.id = %request, error = %e, "outcome not recorded");
        }
    }
}

struct Writer {
    slot: Arc<Slot>,
    /// Not written yet. While the log cannot be written no read begins, so this grows by the open reads at most.
    outcomes: Vec<String>,
}

impl Writer {
    async fn run(mut self, mut messages: mpsc::UnboundedReceiver<Message>) {
        let mut open = true;
        while open && let Some(first) = messages.recv().await {
            let (mut attempts, mut waiting, mut bytes) = (Vec::new(), Vec::new(), 0);
            let mut next = Some(first);
            while let Some(message) = next.take() {
                match message {
                    Message::Attempt { json, done } => {
                        bytes += json.len();
                        attempts.push(json);
                        waiting.push(done);
                    }
                    Message::Outcome { json, done } => {
                        bytes += json.len();
                        self.outcomes.push(json);
                        waiting.extend(done);
                    }
                    Message::Close { done } => {
                        open = false;
                        waiting.push(done);
                    }
                }
                if open && bytes < BATCH_BYTES {
                    next = messages.try_recv().ok();
                }
            }
            let mut written = self.write(&attempts).await;
            if !open {
                written = written.and(self.slot.close().await);
            }
            if let Err(e) = &written {
                tracing::error!(error = e.with_causes(), "audit log not written");
            }
            let written = written.map_err(Arc::new);
            for done in waiting {
                // Whoever waited may have gone away.
                let _ = done.send(written.clone());
            }
        }
    }

    async fn write(&mut self, attempts: &[String]) -> Result<(), StoreError> {
        if attempts.is_empty() && self.outcomes.is_empty() {
            return Ok(());
        }
        let mut conn = self.slot.lease().await?;
        insert(&mut conn, attempts, &self.outcomes).await.map_err(|e| self.slot.database.blame(e))?;
        conn.give_back()?;
        self.outcomes.clear();
        Ok(())
    }
}

async fn insert(conn: &mut SqliteConnection, attempts: &[String], outcomes: &[String]) -> Result<(), sqlx::Error> {
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
    // One statement however many records there are.
    if !attempts.is_empty() {
        let insert = query("INSERT INTO attempt (record) SELECT value FROM json_each(?)");
        insert.bind(format!("[{}]", attempts.join(","))).execute(&mut *tx).await?;
    }
    if !outcomes.is_empty() {
        let insert = query("INSERT INTO outcome (record) SELECT value FROM json_each(?)");
        insert.bind(format!("[{}]", outcomes.join(","))).execute(&mut *tx).await?;
    }
    tx.commit().await
}
