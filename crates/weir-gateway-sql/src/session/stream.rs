//! A result on its way: a batch at a time from the engine, as fast as the client takes it.

use arrow::array::timezone::Tz;
use futures::FutureExt;
use weir_guard::Refusal;
use weir_query::{CopyForm, Rows};

use super::{Done, Stop, supervised};
use crate::cancel::{Interrupt, Running};
use crate::encode::{Batch, Scratch};
use crate::sqlstate::Told;
use crate::types::{Column, Format, columns};
use crate::wire::Connection;

/// As what rows are sent.
#[derive(Clone, Copy)]
pub(super) enum Form<'a> {
    Rows(&'a [Format]),
    Copy(&'a CopyForm),
}

/// A result that may be sent in several parts. It holds at most one batch.
pub(super) struct ResultStream {
    rows: Rows,
    columns: Vec<Column>,
    zone: Option<Tz>,
    /// A batch and its first row that is not sent.
    current: Option<(Batch, usize)>,
    scratch: Scratch,
}

impl ResultStream {
    pub(super) fn new(rows: Rows, zone: Option<Tz>) -> Result<Self, Refusal> {
        let columns = columns(rows.schema())?;
        Ok(Self { rows, columns, zone, current: None, scratch: Scratch::default() })
    }

    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Ends when a change takes the read away. What is left of it is not sent.
    pub(super) async fn withdrawn(&mut self) -> Refusal {
        let refusal = self.rows.withdrawn().await;
        self.current = None;
        refusal
    }

    /// Sends up to `rows_max` rows; `None` for all. Gives the number sent, and itself when it was stopped by the
    /// maximum, even if no row is left.
    pub(super) async fn send(
        mut self,
        connection: &mut Connection,
        running: &mut Running,
        form: Form<'_>,
        rows_max: Option<u64>,
    ) -> Done<(u64, Option<Self>)> {
        let mut sent = 0;
        loop {
            if let Some(refusal) = self.withdrawn().now_or_never() {
                return Err(refusal.into());
            }
            if let Some((batch, next)) = &mut self.current {
                while *next < batch.rows() && rows_max.is_none_or(|max| sent < max) && !connection.is_full() {
                    let out = connection.outbox();
                    let before = out.len();
                    let left = rows_max.map_or(usize::MAX, |max| usize::try_from(max - sent).unwrap_or(usize::MAX));
                    let written = match form {
                        Form::Rows(formats) => batch.encode(*next, left, formats, &mut self.scratch, out),
                        Form::Copy(form) => batch.copy(*next, form, out).map(|()| 1),
                    };
                    let written = written.map_err(|error| {
                        out.truncate(before);
                        Told::from(error)
                    })?;
                    *next += written;
                    sent += u64::try_from(written).unwrap_or(u64::MAX);
                }
                if *next == batch.rows() {
                    self.current = None;
                }
            }
            if connection.is_full() {
                let flushed = tokio::select! {
                    biased;
                    interrupt = running.interrupted() => Err(interrupt),
                    refusal = self.rows.withdrawn() => return Err(refusal.into()),
                    flushed = connection.flush() => flushed.map_err(|_| Interrupt::Gone),
                };
                if let Err(interrupt) = flushed {
                    return Err(self.interrupt(interrupt).await);
                }
            }
            if rows_max.is_some_and(|max| sent >= max) {
                return Ok((sent, Some(self)));
            }
            if self.current.is_some() {
                continue;
            }
            match supervised(connection, running, self.rows.next()).await {
                Ok(batch) => match batch? {
                    Some(batch) => self.current = Some((Batch::new(&batch, self.zone).map_err(Told::from)?, 0)),
                    None => return Ok((sent, None)),
                },
                Err(interrupt) => return Err(self.interrupt(interrupt).await),
            }
        }
    }

    /// Ends the read and says how it ended.
    async fn interrupt(self, interrupt: Interrupt) -> Stop {
        match interrupt {
            Interrupt::Cancelled | Interrupt::TimedOut | Interrupt::Shutdown => self.rows.cancel().await,
            // Recorded as abandoned.
            Interrupt::Gone => drop(self.rows),
        }
        interrupt.into()
    }
}
