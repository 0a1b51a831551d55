//! Two states side by side: which policies differ, and who sees something else because of it.

mod gather;
mod render;
mod warnings;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use weir_model::{
    ColumnName, DataSource, Epoch, PolicyKey, PrincipalId, ProjectName, SourceId, SourceName, Surroundings,
};

use crate::ast::Policy;
use crate::facts::{Facts, StoredPolicy};
use crate::language;
use crate::lineage::with_derived;
use crate::resolve::{Catalog, Reach};
use crate::snapshot::Snapshot;
use gather::Gathering;

pub use render::{Limits, people};
pub use warnings::Warning;

/// What going from one state to another changes, and for whom.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Of the state before.
    pub epoch: Epoch,
    /// By key.
    pub policies: Vec<PolicyChange>,
    /// Policies that are the same in both states, by key.
    pub unchanged: Vec<PolicyKey>,
    /// Sources of which somebody sees something else, by name.
    pub sources: Vec<SourceChange>,
    /// What is doubtful in the state after, and was not in the state before.
    pub warnings: Vec<Warning>,
    /// What is doubtful in both.
    pub old_warnings: Vec<Warning>,
}

/// A policy that is not the same in both states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyChange {
    pub key: PolicyKey,
    /// In English; absent when it is added.
    pub before: Option<String>,
    /// In English; absent when it is removed.
    pub after: Option<String>,
}

/// What changes at one source. Who sees it in neither state is nowhere in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceChange {
    pub source: SourceName,
    pub gained: Vec<AccessChange>,
    pub lost: Vec<AccessChange>,
    /// Of those who see the source before and after.
    pub columns: Vec<ColumnChange>,
    /// Of those who see the source before and after.
    pub rows: Vec<RowChange>,
}

/// People who may read the source in one of the states only, and see the same there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccessChange {
    /// Never empty.
    pub who: Vec<Who>,
    /// Why they are denied in the other state.
    pub denied: String,
    pub sees: Seen,
    pub count: Option<Counts>,
}

/// What somebody sees of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Absent: all rows.
    pub only_where: Option<String>,
    /// Columns that are not here are clear.
    pub masked: Vec<MaskedAs>,
}

/// Columns that are masked alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MaskedAs {
    pub columns: Vec<ColumnName>,
    pub shown: String,
}

/// People to whom columns are shown another way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnChange {
    pub columns: Vec<ColumnName>,
    pub kind: ColumnChangeKind,
    /// `clear`, or how they are masked.
    pub before: String,
    pub after: String,
    /// Never empty.
    pub who: Vec<Who>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnChangeKind {
    Masked,
    Cleared,
    MaskedOtherwise,
}

/// People whose row filter is another one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RowChange {
    /// Absent: all rows.
    pub before: Option<String>,
    pub after: Option<String>,
    /// Never empty.
    pub who: Vec<Who>,
    pub count: Option<Counts>,
}

/// How many rows are seen before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub before: Count,
    pub after: Count,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Count {
    NoAccess,
    Rows(u64),
    /// Why not.
    NotCounted(String),
}

/// Somebody who reads, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Who {
    /// Absent: outside of projects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectName>,
    pub user: PrincipalId,
}

/// Rows that could be counted: those which one group of people sees, for whom the first of them stands.
pub struct Countable<'a> {
    pub source: &'a SourceName,
    pub who: &'a Who,
    /// Whether the source is seen in the state before, and in the one after.
    pub open: (bool, bool),
    pub count: &'a mut Option<Counts>,
}

impl Comparison {
    /// No policy differs, and nobody sees anything else.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty() && self.sources.is_empty()
    }

    /// What may be counted, for whoever can read the data: the first `groups_max` groups of each kind at each source, in
    /// the order in which they are shown.
    pub fn countable(&mut self, groups_max: usize) -> impl Iterator<Item = Countable<'_>> {
        self.sources.iter_mut().flat_map(move |change| {
            let SourceChange { source, gained, lost, columns: _, rows } = change;
            let source: &SourceName = source;
            let gained = gained.iter_mut().take(groups_max).map(|group| (&group.who, &mut group.count, (false, true)));
            let lost = lost.iter_mut().take(groups_max).map(|group| (&group.who, &mut group.count, (true, false)));
            let rows = rows.iter_mut().take(groups_max).map(|group| (&group.who, &mut group.count, (true, true)));
            let all = gained.chain(lost).chain(rows);
            all.filter_map(move |(who, count, open)| Some(Countable { source, who: who.first()?, open, count }))
        })
    }
}

/// Who sees what differently when `before` becomes `after`: everybody outside of projects and every member of a
/// project in it, all of them at one time, nobody acting as somebody else.
pub fn compare(before: Facts, after: Facts, at_unix_ms: u64) -> Comparison {
    let epoch = before.epoch.unwrap_or(Epoch(0));
    let (policies, unchanged) = policies(&before.policies, &after.policies);
    let sources = affected(&before, &after, &policies);
    let readers = readers(&before, &after);
    let (before, after) = (Snapshot::compile(before), Snapshot::compile(after));
    let surroundings = |who: &Who| Surroundings { project: who.project.clone(), impersonated: false, at_unix_ms };
    let mut gathering = Gathering::new(&before, &after, &sources);
    for who in &readers {
        let here = surroundings(who);
        let (old, new) = (before.decide(&who.user, &here, &sources), after.decide(&who.user, &here, &sources));
        for (place, ((_, old), (_, new))) in old.sources.iter().zip(&new.sources).enumerate() {
            gathering.add(place, who, old, new);
        }
    }
    let changed: BTreeSet<&PolicyKey> = policies.iter().map(|change| &change.key).collect();
    let doubtful = |snapshot: &Snapshot| warnings::warnings(snapshot, &sources, &changed, &readers, &surroundings);
    let (old, new) = (doubtful(&before), doubtful(&after));
    Comparison {
        epoch,
        policies,
        unchanged,
        sources: gathering.finish(),
        warnings: new.difference(&old).cloned().collect(),
        old_warnings: new.intersection(&old).cloned().collect(),
    }
}

fn policies(before: &[StoredPolicy], after: &[StoredPolicy]) -> (Vec<PolicyChange>, Vec<PolicyKey>) {
    let by_key = |all: &'_ [StoredPolicy]| -> BTreeMap<PolicyKey, Policy> {
        all.iter().map(|stored| (stored.policy.key.clone(), stored.policy.clone())).collect()
    };
    let (before, after) = (by_key(before), by_key(after));
    let keys: BTreeSet<&PolicyKey> = before.keys().chain(after.keys()).collect();
    let (mut changes, mut unchanged) = (Vec::new(), Vec::new());
    for key in keys {
        let (old, new) = (before.get(key), after.get(key));
        if old == new {
            unchanged.push(key.clone());
        } else {
            let [before, after] = [old, new].map(|policy| policy.map(language::to_english));
            changes.push(PolicyChange { key: key.clone(), before, after });
        }
    }
    (changes, unchanged)
}

/// Sources of which somebody could see something else. By name.
fn affected(before: &Facts, after: &Facts, changes: &[PolicyChange]) -> Vec<SourceId> {
    let mut named: Vec<(&SourceName, SourceId)> =
        before.sources.iter().chain(&after.sources).map(|source| (&source.name, source.id)).collect();
    named.sort();
    named.dedup();
    let all = || named.iter().map(|(_, id)| *id).collect();
    let same = before.principals == after.principals && before.sources == after.sources;
    if !same || before.projects != after.projects {
        return all();
    }
    let mut found: BTreeSet<SourceId> =
        before.selected.symmetric_difference(&after.selected).map(|(id, _)| *id).collect();
    found.extend(before.approved.symmetric_difference(&after.approved).map(|(_, id, _)| *id));
    found.extend(before.chosen.symmetric_difference(&after.chosen).map(|(_, id)| *id));
    for facts in [before, after] {
        let catalog = Catalog::new(&facts.sources, &facts.principals, &facts.chosen);
        let changed =
            |stored: &&StoredPolicy| changes.binary_search_by(|change| change.key.cmp(&stored.policy.key)).is_ok();
        for stored in facts.policies.iter().filter(changed) {
            // Where nobody can say where it holds, it holds everywhere.
            let Ok(reach) = Reach::new(&stored.policy.key, &stored.policy.statement.on) else { return all() };
            let covered = |source: &&DataSource| reach.covers(source, &catalog);
            found.extend(facts.sources.iter().filter(covered).map(|source| source.id));
        }
    }
    let found = with_derived(found, before.sources.iter().chain(&after.sources));
    named.into_iter().map(|(_, id)| id).filter(|id| found.contains(id)).collect()
}

/// Everybody outside of projects, then the members of each project in it.
fn readers(before: &Facts, after: &Facts) -> Vec<Who> {
    let people: BTreeSet<&PrincipalId> =
        before.principals.iter().chain(&after.principals).map(|person| &person.id).collect();
    let outside = people.iter().map(|user| Who { project: None, user: (*user).clone() });
    let projects = before.projects.iter().chain(&after.projects);
    let within = projects.flat_map(|project| {
        let members = project.members.iter().filter(|member| people.contains(member));
        members.map(|user| Who { project: Some(project.name.clone()), user: user.clone() })
    });
    outside.chain(within).collect::<BTreeSet<_>>().into_iter().collect()
}
