//! What policies were at former epochs, and who changed them.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::bail;
use chrono::SecondsFormat;
use clap::Args;
use weir_model::{Epoch, PolicyId, PolicyKey};
use weir_policy::StoredPolicy;
use weir_policy::ast::Policy;
use weir_store::{Came, EpochRecord, PolicyVersion, Store};

use crate::commands::time;
use crate::context::{Context, did_you_mean};
use crate::table;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir policy diff 12          what has changed since epoch 12
  weir policy diff 12 15")]
pub(super) struct Diff {
    /// The epoch before
    before: u64,
    /// The epoch after [default: the one that holds]
    after: Option<u64>,
}

pub(super) async fn diff(context: &Context, Diff { before, after }: Diff) -> anyhow::Result<()> {
    let store = context.store().await?;
    let before = Epoch(before);
    let after = match after {
        Some(after) => Epoch(after),
        None => store.epoch().await?,
    };
    let (old, new) = (store.policies_at(before).await?, store.policies_at(after).await?);
    let notes = notes(&store, &old, &new, before.max(after)).await?;
    let text = weir_author::diff(&old, &new, |key| notes.get(key).cloned().unwrap_or_default());
    let mut out = std::io::stdout();
    if text.is_empty() {
        return Ok(writeln!(out, "the policies of epoch {before} and of epoch {after} are the same")?);
    }
    Ok(write!(out, "--- epoch {before}\n+++ epoch {after}\n{}", table::printable(&text))?)
}

/// For each policy that differs, the last change of it up to `until`.
async fn notes(
    store: &Store,
    old: &[StoredPolicy],
    new: &[StoredPolicy],
    until: Epoch,
) -> anyhow::Result<BTreeMap<PolicyKey, String>> {
    let mut notes = BTreeMap::new();
    for stored in old.iter().chain(new).filter(|stored| !(old.contains(stored) && new.contains(stored))) {
        let key = &stored.policy.key;
        let versions = store.policy_history(key).await?;
        let came = versions.iter().filter_map(|version| match &version.came {
            Came::By(record) => Some(record),
            Came::NotAfter(_) => None,
        });
        let went = versions.iter().filter_map(|version| version.went.as_ref());
        let last = came.chain(went).filter(|record| record.epoch <= until).max_by_key(|record| record.epoch);
        notes.extend(last.map(|record| (key.clone(), note(record))));
    }
    Ok(notes)
}

fn note(EpochRecord { epoch, at_unix_ms, by, .. }: &EpochRecord) -> String {
    format!("(epoch {epoch}, {}, by {by})", time::shown(*at_unix_ms, SecondsFormat::Secs))
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  weir policy history mask-ssn")]
pub(super) struct History {
    /// Of a policy that holds or was removed
    key: PolicyKey,
}

pub(super) async fn history(context: &Context, History { key }: History) -> anyhow::Result<()> {
    let store = context.store().await?;
    let versions = store.policy_history(&key).await?;
    if versions.is_empty() {
        let keys = store.facts().await?.policies.into_iter().map(|stored| stored.policy.key.to_string());
        bail!("there never was a policy `{key}`{}", did_you_mean(key.as_str(), keys));
    }
    let mut text = String::new();
    let mut before: Option<&PolicyVersion> = None;
    let one = |policy: Option<&Policy>| -> Vec<StoredPolicy> {
        policy.map(|policy| StoredPolicy { id: PolicyId(0), policy: policy.clone() }).into_iter().collect()
    };
    for version in &versions {
        let PolicyVersion { policy, came, went: _ } = version;
        let (epoch, told) = match came {
            Came::By(record) => (record.epoch, note(record)),
            Came::NotAfter(epoch) => (*epoch, format!("(epoch {epoch} or earlier)")),
        };
        let replaced = before.filter(|before| before.went.as_ref().is_some_and(|went| went.epoch == epoch));
        // It was removed, and came again later.
        if let Some(gone) = before.filter(|_| replaced.is_none()) {
            text += &removed(gone, &one);
        }
        text += &weir_author::diff(&one(replaced.map(|before| &before.policy)), &one(Some(policy)), |_| told.clone());
        before = Some(version);
    }
    text += &before.map(|last| removed(last, &one)).unwrap_or_default();
    Ok(write!(std::io::stdout(), "{}", table::printable(&text))?)
}

/// Empty while the version holds.
fn removed(version: &PolicyVersion, one: &impl Fn(Option<&Policy>) -> Vec<StoredPolicy>) -> String {
    match &version.went {
        Some(record) => weir_author::diff(&one(Some(&version.policy)), &[], |_| note(record)),
        None => String::new(),
    }
}
