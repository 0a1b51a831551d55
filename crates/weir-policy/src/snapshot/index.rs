//! From keys to the sources that have them and to the policies that look for them.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use regex::Regex;
use rpds::HashTrieMapSync;
use weir_model::{ColumnName, PolicyId, SourceId, SourceName};

use super::ids::Ids;
use super::keys::{Key, Needs, Shared, keys};
use crate::changes::SourceFacts;

/// Things under keys; versions share what is the same in them.
#[derive(Clone, Debug)]
struct Lists<K: Eq + Hash, T>(HashTrieMapSync<K, Shared<T>>);

/// Shared, so that what one match has made ready serves the next.
type Patterns = Arc<[Regex]>;

/// What comes under a key and what goes from it.
type Edits<K, T> = HashMap<K, (Vec<T>, Vec<T>)>;

impl<K: Eq + Hash + Clone, T: Ord + Copy> Lists<K, T> {
    fn of(&self, key: &K) -> &[T] {
        self.0.get(key).map_or(&[], |list| list)
    }

    fn edit(&mut self, edits: Edits<K, T>) {
        for (key, (mut come, mut go)) in edits {
            come.sort_unstable();
            go.sort_unstable();
            let stay = self.of(&key).iter().copied().filter(|one| go.binary_search(one).is_err());
            let mut list: Vec<T> = stay.chain(come).collect();
            list.sort_unstable();
            list.dedup();
            if list.is_empty() {
                self.0.remove_mut(&key);
            } else {
                self.0.insert_mut(key, list.into());
            }
        }
    }
}

impl<K: Eq + Hash, T> Default for Lists<K, T> {
    fn default() -> Self {
        Self(HashTrieMapSync::default())
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// But by the names of columns.
    sources: Lists<Key, SourceId>,
    /// By the names of columns alone, so that a pattern is matched with each name there is once, and with nothing else.
    columns: Lists<ColumnName, SourceId>,
    /// Also under the names of all columns there are that its patterns match.
    policies: Lists<Key, PolicyId>,
    /// Those that need nothing.
    everywhere: Arc<BTreeSet<PolicyId>>,
    /// Those with patterns.
    patterns: Arc<Vec<(PolicyId, Patterns)>>,
    /// By the source that they look something up in.
    lookups: Lists<SourceName, PolicyId>,
    /// By a source that they were made from.
    derived: Lists<SourceId, SourceId>,
}

/// Sources of which something has to be done anew.
#[derive(Debug, Default)]
pub(super) struct Stale {
    pub(super) all: bool,
    pub(super) sources: Ids,
}

fn parents(facts: &SourceFacts) -> impl Iterator<Item = SourceId> {
    facts.source.lineage.iter().flat_map(|lineage| lineage.parents.iter().copied())
}

/// A policy as the index sees it.
pub(super) struct Indexed<'a> {
    pub(super) id: PolicyId,
    pub(super) needs: &'a Needs,
    /// The sources that it looks something up in.
    pub(super) lookups: &'a BTreeSet<SourceName>,
}

impl Index {
    /// Takes sources as they were out and as they are in.
    pub(super) fn move_sources<'a>(
        &mut self,
        changed: impl Iterator<Item = (SourceId, Option<&'a SourceFacts>, Option<&'a SourceFacts>)>,
    ) {
        let (mut edits, mut columns, mut derived) = (Edits::new(), Edits::new(), Edits::new());
        for (id, old, new) in changed {
            new.into_iter().flat_map(parents).for_each(|parent| derived.entry(parent).or_default().0.push(id));
            old.into_iter().flat_map(parents).for_each(|parent| derived.entry(parent).or_default().1.push(id));
            let mut old: BTreeSet<Key> = old.map(keys).unwrap_or_default();
            let mut new: BTreeSet<Key> = new.map(keys).unwrap_or_default();
            let stay: Vec<Key> = if old.is_empty() { Vec::new() } else { old.intersection(&new).cloned().collect() };
            for key in &stay {
                old.remove(key);
                new.remove(key);
            }
            let mut edit = |key: Key, is_new: bool| {
                let (come, go) = if let Key::ColumnName(name) = &key {
                    columns.entry(name.clone()).or_default()
                } else {
                    edits.entry(key).or_default()
                };
                if is_new { come.push(id) } else { go.push(id) }
            };
            new.into_iter().for_each(|key| edit(key, true));
            old.into_iter().for_each(|key| edit(key, false));
        }
        let mut matched = Edits::new();
        if !self.patterns.is_empty() {
            for name in columns.keys().filter(|name| self.columns.of(name).is_empty()) {
                let policies: Vec<PolicyId> = self.matching(name).collect();
                if !policies.is_empty() {
                    matched.insert(Key::ColumnName(name.clone()), (policies, Vec::new()));
                }
            }
        }
        self.policies.edit(matched);
        self.sources.edit(edits);
        self.columns.edit(columns);
        self.derived.edit(derived);
    }

    /// Adds the sources that were made from this one, directly or not.
    pub(super) fn made_from(&self, source: SourceId, stale: &mut Stale) {
        let (mut next, mut found) = (vec![source], BTreeSet::new());
        while let Some(source) = next.pop() {
            next.extend(self.derived.of(&source).iter().filter(|derived| found.insert(**derived)));
        }
        stale.sources.extend(&found);
    }

    fn with(&self, key: &Key) -> &[SourceId] {
        if let Key::ColumnName(name) = key { self.columns.of(name) } else { self.sources.of(key) }
    }

    fn matching(&self, name: &ColumnName) -> impl Iterator<Item = PolicyId> {
        let is_match = move |patterns: &[Regex]| patterns.iter().any(|regex| regex.is_match(name.as_str()));
        self.patterns.iter().filter(move |(_, patterns)| is_match(patterns)).map(|(id, _)| *id)
    }

    /// Takes policies as they were out and as they are in, and adds the sources that one or the other may touch.
    pub(super) fn move_policies(&mut self, old: &[Indexed<'_>], new: &[Indexed<'_>], stale: &mut Stale) {
        let (mut edits, mut lookups) = (Edits::new(), Edits::new());
        for policy in old {
            for key in self.all_touched(policy.needs, stale) {
                edits.entry(key).or_default().1.push(policy.id);
            }
            for name in policy.lookups {
                lookups.entry(name.clone()).or_default().1.push(policy.id);
            }
        }
        let mut everywhere = BTreeSet::clone(&self.everywhere);
        let mut patterned = Vec::clone(&self.patterns);
        let gone: BTreeSet<PolicyId> = old.iter().map(|policy| policy.id).collect();
        everywhere.retain(|id| !gone.contains(id));
        patterned.retain(|(id, _)| !gone.contains(id));
        self.policies.edit(edits);
        self.lookups.edit(lookups);
        let (mut edits, mut lookups) = (Edits::new(), Edits::new());
        for policy in new {
            for key in self.all_touched(policy.needs, stale) {
                edits.entry(key).or_default().0.push(policy.id);
            }
            for name in policy.lookups {
                lookups.entry(name.clone()).or_default().0.push(policy.id);
            }
            match policy.needs {
                Needs::Nothing => drop(everywhere.insert(policy.id)),
                Needs::Some { patterns, .. } if !patterns.is_empty() => {
                    patterned.push((policy.id, patterns.as_slice().into()))
                }
                Needs::Some { .. } => {}
            }
        }
        self.policies.edit(edits);
        self.lookups.edit(lookups);
        self.everywhere = Arc::new(everywhere);
        self.patterns = Arc::new(patterned);
    }

    /// The keys, and the names of columns there are that match.
    fn all_keys(&self, needs: &Needs) -> Vec<Key> {
        match needs {
            Needs::Nothing => Vec::new(),
            Needs::Some { keys, patterns } if patterns.is_empty() => keys.clone(),
            Needs::Some { keys, patterns } => {
                let is_matched = |name: &&ColumnName| patterns.iter().any(|regex| regex.is_match(name.as_str()));
                let matched = self.columns.0.keys().filter(is_matched);
                keys.iter().cloned().chain(matched.cloned().map(Key::ColumnName)).collect()
            }
        }
    }

    /// Adds the sources that a policy with these needs may touch, and gives all its keys.
    fn all_touched(&self, needs: &Needs, stale: &mut Stale) -> Vec<Key> {
        let keys = self.all_keys(needs);
        match needs {
            Needs::Nothing => stale.all = true,
            Needs::Some { .. } => keys.iter().for_each(|key| stale.sources.extend(self.with(key))),
        }
        keys
    }

    /// Adds the sources that a policy with these needs may touch.
    pub(super) fn touched(&self, needs: &Needs, stale: &mut Stale) {
        self.all_touched(needs, stale);
    }

    /// The policies that may do something on the source, the oldest first.
    pub(super) fn policies_for(&self, facts: &SourceFacts) -> BTreeSet<PolicyId> {
        let mut policies = BTreeSet::clone(&self.everywhere);
        policies.extend(keys(facts).iter().flat_map(|key| self.policies.of(key)));
        policies
    }

    pub(super) fn owned_by(&self, owner: &weir_model::PrincipalId) -> &[SourceId] {
        self.sources.of(&Key::Owner(owner.clone()))
    }

    pub(super) fn looking_up(&self, name: &SourceName) -> &[PolicyId] {
        self.lookups.of(name)
    }
}
