//! The newest snapshot, compiled once per epoch, and again when a subscription runs out.

use std::sync::Arc;

use sqlx::query_as;
use tokio::sync::Mutex;
use weir_guard::Clock;
use weir_model::Epoch;
use weir_policy::{Facts, Snapshot};

use crate::database::{FileId, Slot};
use crate::error::StoreError;
use crate::facts::{self, Understood};

/// The schema version comes along so that a newer Weir which takes over the directory stops this one.
const NOW: &str = "SELECT (SELECT coalesce(max(number), 0) FROM epoch), (SELECT max(version) FROM _sqlx_migrations)";

pub(crate) struct Feed {
    /// Held while the epoch is asked and while a snapshot is made, so that many readers wait for one compilation.
    newest: Mutex<Option<Newest>>,
}

struct Newest {
    /// A backup that is put in its place may have got to the same epoch another way.
    file: FileId,
    snapshot: Arc<Snapshot>,
    /// From when on the same epoch says something else.
    until_unix_ms: Option<u64>,
}

impl Feed {
    pub(crate) fn new() -> Self {
        Self { newest: Mutex::new(None) }
    }

    /// Asks the database for the epoch every time: other processes make changes too.
    pub(crate) async fn current(&self, state: &Slot, clock: &dyn Clock) -> Result<Arc<Snapshot>, StoreError> {
        let mut newest = self.newest.lock().await;
        let blame = |e| state.database.blame(e);
        let mut conn = state.lease().await?;
        let (epoch, schema): (u64, i64) = query_as(NOW).fetch_one(&mut *conn).await.map_err(blame)?;
        state.database.check_version(schema)?;
        let file = conn.file();
        // Asked before the rows are read: what runs out meanwhile is found out at the next read.
        let now_unix_ms = clock.unix_ms();
        if let Some(known) = newest.as_ref()
            && known.file == file
            && known.snapshot.epoch() == Epoch(epoch)
            && known.until_unix_ms.is_none_or(|until| now_unix_ms < until)
        {
            conn.give_back()?;
            return Ok(Arc::clone(&known.snapshot));
        }
        let rows = facts::read(&mut conn).await.map_err(blame)?;
        conn.give_back()?;
        let compile = move || {
            let Understood { facts, until_unix_ms } = rows.understand(now_unix_ms)?;
            Ok(Newest { file, snapshot: Arc::new(Snapshot::compile(facts)), until_unix_ms })
        };
        let known = newest.insert(off_the_runtime(compile).await?);
        Ok(Arc::clone(&known.snapshot))
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

pub(crate) async fn understood(rows: facts::Rows, now_unix_ms: u64) -> Result<Facts, StoreError> {
    Ok(off_the_runtime(move || rows.understand(now_unix_ms)).await?.facts)
}

async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(e) => Err(StoreError::corrupt("state", e)),
    }
}
