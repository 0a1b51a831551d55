//! The newest snapshot, made once per epoch, and again when a subscription runs out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::query_as;
use tokio::sync::{Mutex, watch};
use weir_guard::Clock;
use weir_model::{Epoch, SourceId};
use weir_policy::{Facts, Snapshot};

use crate::database::{FileId, Slot};
use crate::error::StoreError;
use crate::facts::{self, Understood};

/// The schema version comes along so that a newer Weir which takes over the directory stops this one.
const NOW: &str = "SELECT (SELECT coalesce(max(number), 0) FROM epoch), (SELECT max(version) FROM _sqlx_migrations)";

/// How often the database is asked whether the epoch moved, while somebody waits for that: other processes make changes
/// too, and do not tell.
const LOOKS_EVERY: Duration = Duration::from_millis(100);

pub(crate) struct Feed {
    /// Held while the epoch is asked and while a snapshot is made, so that many readers wait for one compilation.
    newest: Mutex<Option<Newest>>,
    /// For those who wait for another one.
    heard: watch::Sender<Heard>,
    /// Whether somebody looks for them.
    looking: AtomicBool,
}

/// What was last heard of snapshots.
#[derive(Clone)]
enum Heard {
    Nothing,
    Made(Arc<Snapshot>),
    /// It cannot be found out which one holds.
    Lost(String),
}

struct Newest {
    /// A backup that is put in its place may have got to the same epoch another way.
    file: FileId,
    snapshot: Arc<Snapshot>,
    /// From when on the same epoch says something else, of which source.
    until_unix_ms: BTreeMap<SourceId, u64>,
}

impl Newest {
    /// The sources of which something ran out.
    fn run_out(&self, now_unix_ms: u64) -> BTreeSet<SourceId> {
        self.until_unix_ms.iter().filter(|(_, until)| **until <= now_unix_ms).map(|(source, _)| *source).collect()
    }
}

impl Feed {
    pub(crate) fn new() -> Self {
        Self { newest: Mutex::new(None), heard: watch::Sender::new(Heard::Nothing), looking: AtomicBool::new(false) }
    }

    /// The next snapshot that is not `known`, as long as [`Self::look`] runs, or why nobody knows it. From the call on, not
    /// from its first poll, somebody waits.
    pub(crate) fn after(&self, known: &Arc<Snapshot>) -> impl Future<Output = Result<Arc<Snapshot>, String>> {
        let mut heard = self.heard.subscribe();
        async move {
            let is_other = |heard: &Heard| match heard {
                Heard::Nothing => false,
                Heard::Made(made) => !Arc::ptr_eq(made, known),
                Heard::Lost(_) => true,
            };
            match heard.wait_for(is_other).await.map(|heard| heard.clone()) {
                Ok(Heard::Made(snapshot)) => Ok(snapshot),
                Ok(Heard::Lost(why)) => Err(why),
                Ok(Heard::Nothing) | Err(_) => Err("the store is closed".to_owned()),
            }
        }
    }

    /// Whether the caller is the one who has to [`Self::look`] now.
    pub(crate) fn takes_looking(&self) -> bool {
        !self.looking.swap(true, Ordering::SeqCst)
    }

    /// Looks for newer snapshots until nobody waits for them.
    pub(crate) async fn look(&self, state: &Slot, clock: &dyn Clock) {
        loop {
            tokio::time::sleep(LOOKS_EVERY).await;
            if self.heard.receiver_count() == 0 {
                self.looking.store(false, Ordering::SeqCst);
                // Somebody may have come just before that, and thinks that there is somebody who looks.
                if self.heard.receiver_count() == 0 || !self.takes_looking() {
                    return;
                }
            }
            match self.current(state, clock).await {
                Ok(current) => self.tell(current),
                Err(e) => drop(self.heard.send_replace(Heard::Lost(e.with_causes()))),
            }
        }
    }

    fn tell(&self, current: Arc<Snapshot>) {
        self.heard.send_if_modified(|heard| {
            let is_news = !matches!(heard, Heard::Made(made) if Arc::ptr_eq(made, &current));
            *heard = Heard::Made(current);
            is_news
        });
    }

    /// Asks the database for the epoch every time: other processes make changes too. When the epoch moved, only what
    /// was touched since is read, and the snapshot is made from the one before.
    pub(crate) async fn current(&self, state: &Slot, clock: &dyn Clock) -> Result<Arc<Snapshot>, StoreError> {
        let mut newest = self.newest.lock().await;
        let blame = |e| state.database.blame(e);
        let mut conn = state.lease().await?;
        let (epoch, schema): (u64, i64) = query_as(NOW).fetch_one(&mut *conn).await.map_err(blame)?;
        state.database.check_version(schema)?;
        let file = conn.file();
        // Asked before the rows are read: what runs out meanwhile is found out at the next read.
        let now_unix_ms = clock.unix_ms();
        let known = newest.as_ref().filter(|known| known.file == file);
        let mut since = None;
        if let Some(known) = known {
            let run_out = known.run_out(now_unix_ms);
            if known.snapshot.epoch() == Epoch(epoch) && run_out.is_empty() {
                conn.give_back()?;
                return Ok(Arc::clone(&known.snapshot));
            }
            let read = facts::read_since(&mut conn, known.snapshot.epoch(), run_out).await;
            since = read.map_err(|e| state.database.blame(e))?.map(|(touched, rows)| (known, touched, rows));
        }
        let made = match since {
            Some((known, touched, rows)) => {
                conn.give_back()?;
                let (before, mut until_unix_ms) = (Arc::clone(&known.snapshot), known.until_unix_ms.clone());
                off_the_runtime(move || {
                    let understood = rows.understand(now_unix_ms, Some(&before))?;
                    until_unix_ms.retain(|source, _| !touched.sources.contains(source));
                    until_unix_ms.extend(understood.until_unix_ms);
                    let snapshot = Arc::new(before.after(facts::changes(touched, understood.facts)));
                    Ok(Newest { file, snapshot, until_unix_ms })
                })
                .await?
            }
            None => {
                let rows = facts::read(&mut conn).await.map_err(blame)?;
                conn.give_back()?;
                off_the_runtime(move || {
                    let Understood { facts, until_unix_ms } = rows.understand(now_unix_ms, None)?;
                    Ok(Newest { file, snapshot: Arc::new(Snapshot::compile(facts)), until_unix_ms })
                })
                .await?
            }
        };
        let snapshot = Arc::clone(&made.snapshot);
        self.tell(Arc::clone(&snapshot));
        let before = newest.replace(made);
        // There may be much in it that nobody else has.
        drop(tokio::task::spawn_blocking(move || drop(before)));
        Ok(snapshot)
    }
}

/// The whole state.
pub(crate) async fn facts(state: &Slot, clock: &dyn Clock) -> Result<Facts, StoreError> {
    let now_unix_ms = clock.unix_ms();
    let mut conn = state.lease().await?;
    let rows = facts::read(&mut conn).await.map_err(|e| state.database.blame(e))?;
    conn.give_back()?;
    understood(rows, now_unix_ms).await
}

/// What rows of the whole state say.
pub(crate) async fn understood(rows: facts::Rows, now_unix_ms: u64) -> Result<Facts, StoreError> {
    Ok(off_the_runtime(move || rows.understand(now_unix_ms, None)).await?.facts)
}

async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(e) => Err(StoreError::corrupt("state", e)),
    }
}
