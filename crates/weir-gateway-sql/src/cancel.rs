//! Cancel requests: who may stop which statement, and what stops a statement that runs.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

/// The connections that can be asked to cancel what they run.
#[derive(Default)]
pub(crate) struct Cancels {
    slots: Mutex<HashMap<i32, Entry>>,
}

struct Entry {
    secret: i32,
    slot: Arc<Slot>,
}

/// Filled while a statement runs.
type Slot = Mutex<Option<oneshot::Sender<()>>>;

/// A connection's place among them; given up when dropped.
pub(crate) struct Registered {
    cancels: Arc<Cancels>,
    slot: Arc<Slot>,
    pub(crate) process: i32,
    pub(crate) secret: i32,
}

/// Why a statement ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    Cancelled,
    TimedOut,
    Shutdown,
    Gone,
}

/// One statement that runs.
pub(crate) struct Running {
    cancelled: oneshot::Receiver<()>,
    deadline: Option<Instant>,
    shutdown: watch::Receiver<bool>,
    slot: Arc<Slot>,
}

impl Cancels {
    /// Number and secret are random, so both have to be known to cancel.
    pub(crate) fn register(self: &Arc<Self>) -> Registered {
        let slot = Arc::new(Slot::default());
        let secret = rand::random();
        let mut slots = self.slots.lock();
        let process = loop {
            let process = rand::random_range(1..i32::MAX);
            if !slots.contains_key(&process) {
                break process;
            }
        };
        slots.insert(process, Entry { secret, slot: Arc::clone(&slot) });
        Registered { cancels: Arc::clone(self), slot, process, secret }
    }

    /// Stops what that connection runs, if the secret is right. Nobody is told whether it was.
    pub(crate) fn cancel(&self, process: i32, secret: i32) {
        let slots = self.slots.lock();
        if let Some(entry) = slots.get(&process).filter(|entry| entry.secret == secret)
            && let Some(running) = entry.slot.lock().take()
        {
            // A statement that has just ended does not listen any more.
            let _ = running.send(());
        }
    }
}

impl Registered {
    pub(crate) fn run(&self, deadline: Option<Instant>, shutdown: watch::Receiver<bool>) -> Running {
        let (cancel, cancelled) = oneshot::channel();
        *self.slot.lock() = Some(cancel);
        Running { cancelled, deadline, shutdown, slot: Arc::clone(&self.slot) }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.cancels.slots.lock().remove(&self.process);
    }
}

impl Running {
    /// Ends when the statement has to. Not to be called again after that.
    pub(crate) async fn interrupted(&mut self) -> Interrupt {
        let Self { cancelled, deadline, shutdown, .. } = self;
        let timeout = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(*deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // Without a sender nobody can cancel, which is not a cancel.
            Ok(()) = cancelled => Interrupt::Cancelled,
            () = timeout => Interrupt::TimedOut,
            _ = shutdown.wait_for(|stop| *stop) => Interrupt::Shutdown,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *self.slot.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_secret_cancels_and_only_what_runs() {
        let cancels = Arc::new(Cancels::default());
        let (_stop, shutdown) = watch::channel(false);
        let registered = cancels.register();
        let (process, secret) = (registered.process, registered.secret);

        cancels.cancel(process, secret);
        let mut running = registered.run(None, shutdown.clone());
        cancels.cancel(process, secret.wrapping_add(1));
        cancels.cancel(process.wrapping_add(1), secret);
        tokio::select! {
            biased;
            interrupt = running.interrupted() => panic!("{interrupt:?}"),
            () = std::future::ready(()) => {}
        }
        cancels.cancel(process, secret);
        assert_eq!(running.interrupted().await, Interrupt::Cancelled);

        drop(running);
        drop(registered);
        assert!(cancels.slots.lock().is_empty());
    }

    #[tokio::test]
    async fn a_deadline_and_a_shutdown_interrupt() {
        let cancels = Arc::new(Cancels::default());
        let (stop, shutdown) = watch::channel(false);
        let registered = cancels.register();
        assert_eq!(registered.run(Some(Instant::now()), shutdown.clone()).interrupted().await, Interrupt::TimedOut);
        stop.send_replace(true);
        assert_eq!(registered.run(None, shutdown).interrupted().await, Interrupt::Shutdown);
    }
}
