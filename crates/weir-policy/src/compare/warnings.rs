//! What is doubtful about a state as a whole, beyond what is said about each policy alone.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use weir_model::{ColumnName, PolicyId, PolicyKey, SourceId, Surroundings};

use super::Who;
use crate::ast::Merge;
use crate::explain::why_first;
use crate::snapshot::{Entry, Governed, Reader, Rules, Snapshot};

/// Something that its author should look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Warning {
    /// Absent when it is about a data source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyKey>,
    /// Stable, such as `plan::mask-conflict`.
    pub code: &'static str,
    /// After "policy `…`", where there is one.
    pub message: String,
}

/// What is doubtful at `sources` for `readers`, of policies that hold nowhere, and of rules of the `changed` policies.
pub(super) fn warnings(
    snapshot: &Snapshot,
    sources: &[SourceId],
    changed: &BTreeSet<&PolicyKey>,
    readers: &[Who],
    surroundings: &impl Fn(&Who) -> Surroundings,
) -> BTreeSet<Warning> {
    let mut found = BTreeSet::new();
    for governed in sources.iter().filter_map(|id| snapshot.governed(*id)) {
        lone_requirements(governed, &mut found);
        constant_conditions(governed, &mut found);
        conflicts(snapshot, governed, readers, surroundings, &mut found);
    }
    idle(snapshot, &mut found);
    rules_of_nobody(snapshot, changed, readers, surroundings, &mut found);
    for problem in snapshot.problems() {
        let closed = problem.source.as_ref().map(|source| format!(" (it closes `{source}`)")).unwrap_or_default();
        let message = match &problem.policy {
            Some(_) => format!("cannot be applied{closed}: {}", problem.diagnostic.message),
            None => format!("{} (it is closed to everybody)", problem.diagnostic.message),
        };
        found.insert(Warning { policy: problem.policy.clone(), code: "plan::broken", message });
    }
    found
}

fn lone_requirements(governed: Governed<'_>, found: &mut BTreeSet<Warning>) {
    if governed.bound.entries.iter().all(|entry: &Entry| entry.merge == Merge::Require) {
        for entry in &governed.bound.entries {
            let message = format!(
                "is always required on `{}`, where no other subscription holds: alone it lets in those whom it names",
                governed.source().name
            );
            found.insert(Warning { policy: Some(entry.policy.name.clone()), code: "plan::lone-requirement", message });
        }
    }
}

fn constant_conditions(governed: Governed<'_>, found: &mut BTreeSet<Warning>) {
    let source = &governed.source().name;
    let mut warn = |policy: &PolicyKey, code, message| {
        found.insert(Warning { policy: Some(policy.clone()), code, message });
    };
    for rules in &governed.bound.rows {
        for rule in rules.bodies.iter().filter_map(|body| body.as_ref().ok()) {
            if rule.parts.is_empty() {
                let message = format!("filters nothing of `{source}`: its condition is always true");
                warn(&rules.policy.name, "plan::always-true", message);
            } else if rule.parts.iter().any(|part| part.is_never()) {
                let message = format!("hides every row of `{source}`: its condition is never true");
                warn(&rules.policy.name, "plan::never-true", message);
            }
        }
    }
    for masked in &governed.bound.columns {
        let Some(column) = governed.source().place_by_id(masked.column) else { continue };
        for candidate in &masked.candidates {
            let Some(rules) = governed.bound.masks.get(candidate.policy) else { continue };
            let Some(when) = &candidate.when else { continue };
            if when.is_empty() {
                let message =
                    format!("masks column `{}` of `{source}` in all rows: its condition is always true", column.name);
                warn(&rules.policy.name, "plan::always-true", message);
            } else if when.iter().any(|part| part.is_never()) {
                let message =
                    format!("never masks column `{}` of `{source}`: its condition is never true", column.name);
                warn(&rules.policy.name, "plan::never-true", message);
            }
        }
    }
}

/// The policy that is not used, the one that comes first, and why.
type Conflict = (PolicyKey, PolicyKey, String);

/// Masks that would be used but for a closer one.
fn conflicts(
    snapshot: &Snapshot,
    governed: Governed<'_>,
    readers: &[Who],
    surroundings: &impl Fn(&Who) -> Surroundings,
    found: &mut BTreeSet<Warning>,
) {
    if governed.bound.columns.iter().all(|masked| masked.candidates.len() < 2) {
        return;
    }
    let mut conflicts: BTreeMap<Conflict, (Vec<&ColumnName>, BTreeSet<&Who>)> = BTreeMap::new();
    for who in readers {
        let Ok(reader) = snapshot.reader(&who.user, &surroundings(who)) else { continue };
        if !governed.is_open_to(&reader) {
            continue;
        }
        let Ok(chosen) = governed.chosen_masks(&reader, governed.is_owner(&reader)) else { continue };
        for masked in &governed.bound.columns {
            let Some(column) = governed.source().place_by_id(masked.column) else { continue };
            let mut mine = masked.candidates.iter().filter(|c| chosen.get(c.policy).copied().flatten() == Some(c.rule));
            // Those behind a mask for some rows have the other rows.
            let Some(first) = mine.find(|candidate| candidate.when.is_none()) else { continue };
            for other in mine.filter(|other| other.mask() != first.mask() || other.when.is_some()) {
                let names =
                    [other, first].map(|c| governed.bound.masks.get(c.policy).map(|rules| rules.policy.name.clone()));
                let [Some(loser), Some(winner)] = names else { continue };
                let why = why_first(snapshot, governed, first, other);
                let (columns, people) = conflicts.entry((loser, winner, why)).or_default();
                if !columns.contains(&&column.name) {
                    columns.push(&column.name);
                }
                people.insert(who);
            }
        }
    }
    for ((policy, winner, why), (columns, people)) in conflicts {
        let columns: Vec<String> = columns.into_iter().map(|column| format!("`{column}`")).collect();
        let message = format!(
            "does not mask {} of `{}` for {}, for policy `{winner}` comes first: {why}",
            columns.join(", "),
            governed.source().name,
            super::people(&people.into_iter().cloned().collect::<Vec<_>>(), 3),
        );
        found.insert(Warning { policy: Some(policy), code: "plan::mask-conflict", message });
    }
}

/// Rules of the policies that are the one for nobody, at any source.
fn rules_of_nobody(
    snapshot: &Snapshot,
    changed: &BTreeSet<&PolicyKey>,
    readers: &[Who],
    surroundings: &impl Fn(&Who) -> Surroundings,
    found: &mut BTreeSet<Warning>,
) {
    let readers: Vec<Reader<'_>> =
        readers.iter().filter_map(|who| snapshot.reader(&who.user, &surroundings(who)).ok()).collect();
    if readers.is_empty() {
        return;
    }
    let mut used = Used { changed, readers: &readers, rules: BTreeMap::new() };
    for governed in snapshot.all_governed() {
        used.mark(governed, &governed.bound.limits);
        used.mark(governed, &governed.bound.rows);
        used.mark(governed, &governed.bound.masks);
    }
    for (policy, rules) in used.rules {
        let count = rules.len();
        for (rule, _) in (1..).zip(rules).filter(|(_, used)| !used) {
            let message = match count {
                1 => "is for nobody whom there is at present".to_owned(),
                _ => format!("has a rule for nobody whom there is at present: rule {rule} of {count}"),
            };
            found.insert(Warning { policy: Some(policy.clone()), code: "plan::nobody", message });
        }
    }
}

/// For each of the policies, which of its rules are the one for somebody.
struct Used<'a> {
    changed: &'a BTreeSet<&'a PolicyKey>,
    readers: &'a [Reader<'a>],
    rules: BTreeMap<PolicyKey, Vec<bool>>,
}

impl Used<'_> {
    fn mark<T>(&mut self, governed: Governed<'_>, policies: &[Rules<T>]) {
        for policy in policies.iter().filter(|policy| self.changed.contains(&policy.policy.name)) {
            let used = self.rules.entry(policy.policy.name.clone()).or_insert_with(|| vec![false; policy.bodies.len()]);
            for reader in self.readers {
                if used.iter().all(|used| *used) {
                    break;
                }
                let chosen = policy.chosen(reader, governed.is_owner(reader)).map(|(rule, _)| rule);
                if let Some(used) = chosen.and_then(|rule| used.get_mut(rule)) {
                    *used = true;
                }
            }
        }
    }
}

/// Policies in effect that do nothing at any source.
fn idle(snapshot: &Snapshot, found: &mut BTreeSet<Warning>) {
    let mut working: BTreeSet<PolicyId> = BTreeSet::new();
    for governed in snapshot.all_governed() {
        working.extend(governed.bound.entries.iter().map(|entry| entry.policy.id));
        working.extend(governed.bound.limits.iter().map(|rules| rules.policy.id));
        working.extend(governed.bound.rows.iter().map(|rules| rules.policy.id));
        working.extend(governed.bound.masks.iter().map(|rules| rules.policy.id));
    }
    for stored in snapshot.policies().filter(|stored| stored.policy.is_in_effect() && !working.contains(&stored.id)) {
        let message = "has no effect: it holds for no data source".to_owned();
        found.insert(Warning { policy: Some(stored.policy.key.clone()), code: "plan::no-effect", message });
    }
}
