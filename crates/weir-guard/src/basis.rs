//! What a read rests on, so that it can be ended, or not begun, when that is gone.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use weir_model::{Actor, ColumnId, ColumnName, DataSource, DataType, Location, SourceId, Surroundings};
use weir_policy::{Snapshot, SourceDecision};

use crate::ports::SnapshotFeed;
use crate::refusal::{Outside, Refusal, Truth};

/// Who asks, where, and what was decided. Says nothing of itself.
pub struct Basis {
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
        self.differs(newer, &newer.decide(effective, &self.surroundings, &ids).sources)
    }

    /// What is decided otherwise now.
    fn differs(&self, newer: &Snapshot, now: &[(SourceId, SourceDecision)]) -> Option<String> {
        let ids = |decided: &[(SourceId, SourceDecision)]| decided.iter().map(|(id, _)| *id).collect::<Vec<_>>();
        if ids(&self.decided) != ids(now) {
            return Some("the statement reads other data sources".to_owned());
        }
        self.decided.iter().zip(now).find_map(|((id, then), (_, now))| {
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
            let read_alike = before.zip(after).is_some_and(|(before, after)| read_by(before) == read_by(after));
            let same = decided_alike && read_alike;
            (!same).then(|| format!("`{name}` is decided otherwise"))
        })
    }

    /// The refusal of a read that was let through on this basis, when it is not the one of now.
    pub(crate) fn refusal(&self, now: &Basis) -> Option<Refusal> {
        let why = if self.actor != now.actor || self.surroundings.project != now.surroundings.project {
            Some("it was issued for somebody else or another project".to_owned())
        } else {
            self.differs(&now.snapshot, &now.decided)
        };
        let text = "access to what this statement reads was changed since it was let through";
        why.map(|why| Refusal::new(Outside::Forbidden { text: text.to_owned() }, Truth::Revoked, why))
    }

    /// SHA-256 of all that is compared.
    pub fn digest(&self) -> [u8; 32] {
        let decided = |(id, decision): &(SourceId, SourceDecision)| {
            let fingerprint = match decision {
                SourceDecision::Deny(..) => "deny".to_owned(),
                SourceDecision::Clear(_) => "clear".to_owned(),
                SourceDecision::Obliged(obligations, _) => format!("{:?}", obligations.fingerprint.0),
            };
            format!("{id:?} {fingerprint} {:?}", self.snapshot.source(*id).map(read_by))
        };
        let decided: Vec<String> = self.decided.iter().map(decided).collect();
        Sha256::digest(format!("{:?}", (&self.actor, &self.surroundings.project, decided))).into()
    }
}

impl fmt::Debug for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Basis")
    }
}

/// What decides which rows and columns a source gives to whom it is clear.
fn read_by(source: &DataSource) -> (&Location, Vec<(ColumnId, &ColumnName, &DataType)>) {
    let columns = source.columns.iter().map(|column| (column.id, &column.name, &column.data_type));
    (&source.location, columns.collect())
}
