//! What an admitted read rests on, so that it can be ended when that is gone.

use std::sync::Arc;

use weir_model::{Actor, ColumnId, ColumnName, DataSource, DataType, SourceId, Surroundings};
use weir_policy::{Snapshot, SourceDecision};

use crate::ports::SnapshotFeed;
use crate::refusal::{Outside, Refusal, Truth};

pub(crate) struct Basis {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) actor: Actor,
    pub(crate) surroundings: Surroundings,
    pub(crate) decided: Vec<(SourceId, SourceDecision)>,
}

impl Basis {
    /// Waits for a snapshot that breaks it.
    pub(crate) async fn withdrawn(&self, feed: &dyn SnapshotFeed) -> Refusal {
        let mut known = Arc::clone(&self.snapshot);
        loop {
            known = match feed.after(&known).await {
                Ok(newer) => newer,
                // Nobody knows whether the read may go on.
                Err(e) => return Refusal::unavailable(e),
            };
            if let Some(why) = self.broken_by(&known) {
                let detail = format!("epoch {}: {why}", known.epoch().0);
                return Refusal::new(Outside::Revoked, Truth::Revoked, detail);
            }
        }
    }

    /// Why the read would not be let through as it was, for the audit log.
    pub(crate) fn broken_by(&self, newer: &Snapshot) -> Option<String> {
        let Actor { authenticated, effective } = &self.actor;
        if let Some(gone) = [authenticated, effective].into_iter().find(|id| newer.principal(id).is_none()) {
            return Some(format!("`{gone}` is not known any more"));
        }
        if authenticated != effective && !newer.may_impersonate(authenticated, effective) {
            return Some("the grant to impersonate was taken back".to_owned());
        }
        let ids: Vec<SourceId> = self.decided.iter().map(|(id, _)| *id).collect();
        let now = newer.decide(effective, &self.surroundings, &ids);
        self.decided.iter().zip(&now.sources).find_map(|((id, then), (_, now))| {
            let (before, after) = (self.snapshot.source(*id), newer.source(*id));
            let name = before.map_or_else(|| id.to_string(), |before| before.name.to_string());
            let decided_alike = match (then, now) {
                (_, SourceDecision::Deny(why, _)) => return Some(format!("`{name}` is denied: {why}")),
                (SourceDecision::Clear(_), SourceDecision::Clear(_)) => true,
                (SourceDecision::Obliged(then, _), SourceDecision::Obliged(now, _)) => {
                    then.fingerprint == now.fingerprint
                }
                (SourceDecision::Deny(..) | SourceDecision::Clear(_) | SourceDecision::Obliged(..), _) => false,
            };
            // Where the files are is in no fingerprint, nor are the columns of a clear source.
            let read_alike = before.zip(after).is_some_and(|(before, after)| is_read_alike(before, after));
            let same = decided_alike && read_alike;
            (!same).then(|| format!("`{name}` is decided otherwise"))
        })
    }
}

/// Whether both give the same rows and columns.
fn is_read_alike(before: &DataSource, after: &DataSource) -> bool {
    let columns = |source: &DataSource| -> Vec<(ColumnId, ColumnName, DataType)> {
        source.columns.iter().map(|column| (column.id, column.name.clone(), column.data_type.clone())).collect()
    };
    before.location == after.location && columns(before) == columns(after)
}
