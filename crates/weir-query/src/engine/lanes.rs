//! Where statements run: on threads of their own, apart from those that serve connections. Each user's statements share
//! a lane, and the operating system shares the processors among the lanes, so that whatever one user asks for, another
//! one's next statement is scheduled at once.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use weir_guard::Refusal;

/// More users than that share lanes.
const LANES: usize = 8;

pub(super) struct Lanes {
    threads: usize,
    lanes: [OnceLock<Runtime>; LANES],
}

/// The number of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lane(usize);

impl Lanes {
    /// Each with so many threads, made when it is used first.
    pub(super) fn new(threads: usize) -> Self {
        Self { threads: threads.max(1), lanes: [const { OnceLock::new() }; LANES] }
    }

    /// The lane that the fewest of `taken` are in.
    pub(super) fn emptiest(taken: impl Iterator<Item = Lane>) -> Lane {
        let mut count = [0_usize; LANES];
        for Lane(lane) in taken {
            if let Some(count) = count.get_mut(lane) {
                *count += 1;
            }
        }
        let least = count.iter().enumerate().min_by_key(|(_, count)| **count);
        Lane(least.map_or(0, |(lane, _)| lane))
    }

    pub(super) fn get(&self, lane: Lane) -> Result<Threads<'_>, Refusal> {
        let threads = self.runtime(lane).map(Threads);
        threads.map_err(|e| Refusal::unavailable(format!("there are no threads for the statement: {e}")))
    }

    fn runtime(&self, Lane(lane): Lane) -> std::io::Result<&Runtime> {
        let Some(slot) = self.lanes.get(lane) else { return Err(std::io::Error::other("no such lane")) };
        if let Some(runtime) = slot.get() {
            return Ok(runtime);
        }
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(self.threads).thread_name(format!("lane-{lane}")).enable_all();
        let made = builder.build()?;
        // Of two that are made at once one is left over.
        if let Err(left_over) = slot.set(made) {
            left_over.shutdown_background();
        }
        slot.get().ok_or_else(|| std::io::Error::other("no such lane"))
    }
}

/// Of one lane.
pub(super) struct Threads<'a>(&'a Runtime);

impl Threads<'_> {
    pub(super) fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Working<T> {
        Working(self.0.spawn(work))
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        for lane in &mut self.lanes {
            if let Some(runtime) = lane.take() {
                // Waiting would be refused where this is dropped: in a task.
                runtime.shutdown_background();
            }
        }
    }
}

/// Work on a lane. Dropping it ends the work.
pub(super) struct Working<T>(JoinHandle<T>);

impl<T> Working<T> {
    /// # Errors
    /// The work panicked, or the engine is going down.
    pub(super) async fn done(&mut self) -> Result<T, Refusal> {
        (&mut self.0).await.map_err(|e| Refusal::bug(format!("a statement's work ended by itself: {e}")))
    }
}

impl<T> Drop for Working<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
