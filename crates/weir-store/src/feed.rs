//! The newest snapshot, compiled once per epoch.

use std::sync::Arc;

use sqlx::query_as;
use tokio::sync::Mutex;
use weir_model::Epoch;
use weir_policy::{Facts, Snapshot};

use crate::database::{FileId, Slot};
use crate::error::StoreError;
use crate::facts;

/// The schema version comes along so that a newer Weir which takes over the directory stops this one.
const NOW: &str = "SELECT (SELECT coalesce(max(number), 0) FROM epoch), (SELECT max(version) FROM _sqlx_migrations)";

pub(crate) struct Feed {
    /// Held while the epoch is asked and while a snapshot is made, so that many readers wait for one compilation.
    /// The file comes along because a backup that is put in its place may have got to the same number another way.
    newest: Mutex<Option<(FileId, Arc<Snapshot>)>>,
}

impl Feed {
    pub(crate) fn new() -> Self {
        Self { newest: Mutex::new(None) }
    }

    /// Asks the database for the epoch every time: other processes make changes too.
    pub(crate) async fn current(&self, state: &Slot) -> Result<Arc<Snapshot>, StoreError> {
        let mut newest = self.newest.lock().await;
        let blame = |e| state.database.blame(e);
        let mut conn = state.lease().await?;
        let (epoch, schema): (u64, i64) = query_as(NOW).fetch_one(&mut *conn).await.map_err(blame)?;
        state.database.check_version(schema)?;
        let file = conn.file();
        if let Some((of, snapshot)) = newest.as_ref()
            && *of == file
            && snapshot.epoch() == Epoch(epoch)
        {
            conn.give_back()?;
            return Ok(Arc::clone(snapshot));
        }
        let rows = facts::read(&mut conn).await.map_err(blame)?;
        conn.give_back()?;
        let snapshot = off_the_runtime(move || rows.understand().map(Snapshot::compile)).await?;
        let (_, snapshot) = newest.insert((file, Arc::new(snapshot)));
        Ok(Arc::clone(snapshot))
    }
}

/// The whole state.
pub(crate) async fn facts(state: &Slot) -> Result<Facts, StoreError> {
    let mut conn = state.lease().await?;
    let rows = facts::read(&mut conn).await.map_err(|e| state.database.blame(e))?;
    conn.give_back()?;
    off_the_runtime(move || rows.understand()).await
}

async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(e) => Err(StoreError::corrupt("state", e)),
    }
}
