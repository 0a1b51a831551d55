//! What changed since an epoch, as triggers of the database note it, whoever made the changes.

use std::collections::BTreeSet;

use sqlx::{SqliteConnection, query, query_as};
use weir_model::{Epoch, PolicyId, PrincipalId, SourceId};

use crate::change::{json, time};
use crate::error::{Failure, StoreError};
use crate::facts::{self, principal_id};

/// For how many epochs the notes are kept. Who knows an older one reads everything.
const EPOCHS_KEPT: u64 = 1000;

/// Things that may not be as they were.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    pub(crate) principals: BTreeSet<PrincipalId>,
    pub(crate) sources: BTreeSet<SourceId>,
    pub(crate) policies: BTreeSet<PolicyId>,
    pub(crate) projects: bool,
    pub(crate) impersonations: bool,
}

/// Whether there are notes of every change after `known`, which holds no more at `now`.
pub(crate) fn is_known_since(known: Epoch, now: Epoch) -> bool {
    now.0.checked_sub(known.0).is_some_and(|epochs| epochs < EPOCHS_KEPT)
}

impl Touched {
    /// After that epoch.
    pub(crate) async fn since(tx: &mut SqliteConnection, known: Epoch) -> Result<Self, Failure> {
        let select = query_as("SELECT DISTINCT kind, key FROM touched WHERE epoch > ?").bind(time(known.0));
        let rows: Vec<(String, String)> = select.fetch_all(tx).await?;
        let mut touched = Self::default();
        for (kind, key) in rows {
            let id = || key.parse::<u32>().map_err(|e| StoreError::corrupt(format!("note on a {kind}"), e));
            match kind.as_str() {
                "principal" => {
                    let (iam, name): (String, String) = facts::json(|| "note on a principal".to_owned(), &key)?;
                    touched.principals.insert(principal_id(&iam, &name)?);
                }
                "source" => drop(touched.sources.insert(SourceId(id()?))),
                "policy" => drop(touched.policies.insert(PolicyId(id()?))),
                "projects" => touched.projects = true,
                "impersonations" => touched.impersonations = true,
                other => return Err(StoreError::corrupt("note on a change", format!("its kind is `{other}`")).into()),
            }
        }
        Ok(touched)
    }
}

/// JSON arrays to be bound to statements: of pairs of an identity manager and a name, and of ids. Empty texts where
/// there is nothing to ask for.
#[derive(Default)]
pub(crate) struct Keys {
    pub(crate) principals: String,
    pub(crate) sources: String,
    pub(crate) policies: String,
    pub(crate) projects: bool,
    pub(crate) impersonations: bool,
}

impl Keys {
    pub(crate) fn of(touched: &Touched) -> Result<Self, StoreError> {
        let Touched { principals, sources, policies, projects, impersonations } = touched;
        let principals: Vec<[&str; 2]> = principals.iter().map(|id| [id.iam().as_str(), id.name()]).collect();
        Ok(Self {
            principals: if principals.is_empty() { String::new() } else { json(&principals)? },
            sources: if sources.is_empty() { String::new() } else { json(sources)? },
            policies: if policies.is_empty() { String::new() } else { json(policies)? },
            projects: *projects,
            impersonations: *impersonations,
        })
    }
}

/// Drops notes that are too old for anybody, when `epoch` begins.
pub(crate) async fn forget(tx: &mut SqliteConnection, epoch: i64) -> Result<(), sqlx::Error> {
    let kept = i64::try_from(EPOCHS_KEPT).unwrap_or(i64::MAX);
    query("DELETE FROM touched WHERE epoch <= ?").bind(epoch.saturating_sub(kept)).execute(tx).await?;
    Ok(())
}
