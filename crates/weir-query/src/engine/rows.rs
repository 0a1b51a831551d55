//! The answer to one read on its way from the lane where it is computed to the connection that sends it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::{Array, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use weir_guard::{Admitted, Ended, Outside, Refusal, Truth};
use weir_model::RequestId;

use super::lanes::Working;
use super::users::UserLimits;
use super::{Opened, fail};
use crate::fault::refusal;

/// Where the work puts what it makes.
pub(super) struct Output {
    started: oneshot::Sender<Result<(SchemaRef, Admitted), Refusal>>,
    batches: mpsc::Sender<Result<RecordBatch, Refusal>>,
}

/// Where the connection takes it from.
pub(super) struct Input {
    started: oneshot::Receiver<Result<(SchemaRef, Admitted), Refusal>>,
    batches: mpsc::Receiver<Result<RecordBatch, Refusal>>,
}

/// One batch waits while the next is made.
pub(super) fn pipe() -> (Output, Input) {
    let (start, started) = oneshot::channel();
    let (put, batches) = mpsc::channel(1);
    (Output { started: start, batches: put }, Input { started, batches })
}

impl Output {
    pub(super) fn refuse(self, refusal: Refusal) {
        // Who does not wait any more does not want to know.
        let _ = self.started.send(Err(refusal));
    }

    /// Makes batches as fast as they are taken, until the last one, an error, or the end of the time for it.
    /// Its columns go by the names of `schema`.
    pub(super) async fn flow(self, mut stream: Opened, schema: SchemaRef, admitted: Admitted, limits: &UserLimits) {
        if self.started.send(Ok((Arc::clone(&schema), admitted))).is_err() {
            return;
        }
        let mut left = limits.statement_time_max;
        loop {
            let since = Instant::now();
            let next = match tokio::time::timeout(left, stream.next()).await {
                Ok(next) => next.map(|next| next.and_then(|batch| named(batch, &schema)).map_err(|e| refusal(&e))),
                Err(_) => Some(Err(too_long(limits.statement_time_max))),
            };
            left = left.saturating_sub(since.elapsed());
            let is_last = !matches!(next, Some(Ok(_)));
            if let Some(next) = next
                && self.batches.send(next).await.is_err()
            {
                return;
            }
            if is_last {
                return;
            }
        }
    }
}

/// Only the names of its columns change.
fn named(batch: RecordBatch, schema: &SchemaRef) -> datafusion::common::Result<RecordBatch> {
    let (_, columns, rows) = batch.into_parts();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

fn too_long(limit: Duration) -> Refusal {
    let text = format!("the statement took more than {} seconds of work", limit.as_secs());
    Refusal::new(Outside::TooMuch { text: text.clone() }, Truth::Limit, text)
}

impl Input {
    pub(super) async fn rows(self, mut work: Working<()>) -> Result<Rows, Refusal> {
        let (schema, admitted) = match self.started.await {
            Ok(started) => started?,
            Err(_) => return Err(work.done().await.err().unwrap_or_else(|| Refusal::bug("a read did not start"))),
        };
        let request = admitted.request();
        let withdrawn: BoxFuture<'static, Refusal> = Box::pin(admitted.watch());
        let running = Running { batches: self.batches, work, withdrawn, admitted };
        Ok(Rows { schema, request, state: State::Running(Box::new(running)) })
    }
}

/// The answer to one read, a batch at a time; two batches at most are made ahead of the reader. Dropping it ends the read
/// and records it as abandoned.
pub struct Rows {
    schema: SchemaRef,
    request: RequestId,
    state: State,
}

enum State {
    Running(Box<Running>),
    Complete,
    /// Not all rows were given.
    Broken(Outside, Truth),
}

struct Running {
    batches: mpsc::Receiver<Result<RecordBatch, Refusal>>,
    work: Working<()>,
    withdrawn: BoxFuture<'static, Refusal>,
    admitted: Admitted,
}

impl Running {
    async fn next(&mut self) -> Result<Option<RecordBatch>, Refusal> {
        tokio::select! {
            biased;
            refusal = &mut self.withdrawn => Err(refusal),
            batch = self.batches.recv() => match batch {
                Some(batch) => batch.map(Some),
                // Whether it is the end or the work broke off.
                None => self.work.done().await.map(|()| None),
            },
        }
    }
}

impl Rows {
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn request(&self) -> RequestId {
        self.request
    }

    /// The next batch, never empty; `None` when the read is complete and its outcome is on record.
    ///
    /// # Errors
    /// Among others [`Outside::Revoked`], when a change takes away what the read was let through by.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, Refusal> {
        loop {
            let running = match &mut self.state {
                State::Running(running) => running,
                State::Complete => return Ok(None),
                State::Broken(outside, truth) => {
                    let again = Refusal::new(outside.clone(), *truth, "asked for more rows of a read that had failed");
                    return Err(again.of_request(self.request));
                }
            };
            match running.next().await {
                Ok(Some(batch)) if batch.num_rows() == 0 => {}
                Ok(Some(batch)) => {
                    running.admitted.count(u64::try_from(batch.num_rows()).unwrap_or(u64::MAX), bytes(&batch));
                    return Ok(Some(batch));
                }
                Ok(None) => {
                    if let State::Running(running) = std::mem::replace(&mut self.state, State::Complete) {
                        running.admitted.end(Ended::Complete, None).await?;
                    }
                    return Ok(None);
                }
                Err(refusal) => return Err(self.broken(refusal).await),
            }
        }
    }

    /// As [`Self::next`], but with the outcome left to whoever does something with the rows.
    pub(super) async fn next_kept(&mut self) -> Result<Option<RecordBatch>, Refusal> {
        let State::Running(running) = &mut self.state else {
            return Err(Refusal::bug("asked for more rows of a read that has ended"));
        };
        match running.next().await {
            Ok(Some(batch)) => {
                running.admitted.count(u64::try_from(batch.num_rows()).unwrap_or(u64::MAX), bytes(&batch));
                Ok(Some(batch))
            }
            Ok(None) => Ok(None),
            Err(refusal) => Err(self.broken(refusal).await),
        }
    }

    /// The read of which all rows were given, to be ended.
    pub(super) async fn kept(self) -> Result<Admitted, Refusal> {
        match self.state {
            State::Running(running) => Ok(running.admitted),
            State::Complete | State::Broken(..) => Err(Refusal::bug("a read has ended already")),
        }
    }

    /// Ends the read because of what its rows were for, unless it ended itself.
    pub(super) async fn break_off(mut self, refusal: Refusal) -> Refusal {
        self.broken(refusal).await
    }

    /// Ends when a change takes away what the read was let through by, never otherwise: for whoever holds rows and does
    /// not ask for them at the moment. The read has ended then, on record.
    pub async fn withdrawn(&mut self) -> Refusal {
        let refusal = match &mut self.state {
            State::Running(running) => (&mut running.withdrawn).await,
            State::Complete | State::Broken(..) => std::future::pending().await,
        };
        self.broken(refusal).await
    }

    async fn broken(&mut self, refusal: Refusal) -> Refusal {
        let broken = State::Broken(refusal.outside().clone(), refusal.inside().truth);
        match std::mem::replace(&mut self.state, broken) {
            State::Running(running) => fail(running.admitted, refusal).await,
            State::Complete | State::Broken(..) => refusal,
        }
    }

    /// Ends the read because its client cancelled it; returns when that is on record.
    pub async fn cancel(self) {
        if let State::Running(running) = self.state {
            let Running { work, admitted, .. } = *running;
            drop(work);
            let request = admitted.request();
            if admitted.end(Ended::Cancelled, None).await.is_err() {
                tracing::error!(request.id = %request, "the outcome of a cancelled read is not on record");
            }
        }
    }
}

/// Size of the rows that are shown, not of the buffers that they share.
fn bytes(batch: &RecordBatch) -> u64 {
    let column = |column: &Arc<dyn Array>| column.to_data().get_slice_memory_size().unwrap_or(0);
    u64::try_from(batch.columns().iter().map(column).sum::<usize>()).unwrap_or(u64::MAX)
}
