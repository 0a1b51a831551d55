//! From one snapshot to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use weir_model::{PolicyId, Principal, PrincipalId, Project, SourceId, SourceName};

use super::Snapshot;
use super::governed::Kept;
use super::index::{Indexed, Stale};
use super::person::Person;
use super::prepared::Prepared;
use super::project::InProject;
use crate::ast::Policy;
use crate::changes::{Changes, SourceFacts};
use crate::facts::StoredPolicy;

impl Snapshot {
    /// The snapshot after the changes. Shares with this one whatever they do not touch; the same as one of all the
    /// facts compiled from nothing.
    pub fn after(&self, changes: Changes) -> Self {
        let Changes { epoch, principals, sources, policies, projects, impersonations } = changes;
        let mut next = Next { snapshot: self.clone(), stale: Stale::default(), people: BTreeSet::new() };
        next.snapshot.epoch = epoch;
        next.snapshot.problems = OnceLock::new();
        for (id, principal) in principals {
            next.principal(id, principal);
        }
        next.sources(sources);
        next.policies(policies);
        next.bind_again();
        next.projects(projects);
        if let Some(impersonations) = impersonations {
            next.snapshot.impersonations = Arc::new(impersonations);
        }
        next.snapshot
    }
}

/// A snapshot as it is being made.
struct Next {
    snapshot: Snapshot,
    /// Sources whose policies must be bound again.
    stale: Stale,
    /// Who is not as she was.
    people: BTreeSet<PrincipalId>,
}

impl Next {
    fn principal(&mut self, id: PrincipalId, principal: Option<Principal>) {
        let people = &mut self.snapshot.people;
        let old = people.get(&id).map(|person| &person.principal);
        if old == principal.as_ref() {
            return;
        }
        // Where a policy holds may depend on who the owners are.
        if old.map(|old| &old.groups) != principal.as_ref().map(|new| &new.groups)
            && self.snapshot.policies.values().any(|policy| policy.asks_for_owners)
        {
            self.stale.sources.extend(self.snapshot.index.owned_by(&id));
        }
        match principal {
            Some(principal) => people.insert_mut(id.clone(), Arc::new(Person::new(principal))),
            None => drop(people.remove_mut(&id)),
        }
        self.people.insert(id);
    }

    fn sources(&mut self, changed: impl IntoIterator<Item = (SourceId, Option<SourceFacts>)>) {
        let snapshot = &mut self.snapshot;
        let mut moved = Vec::new();
        for (id, new) in changed {
            let old = snapshot.sources.get(id).cloned();
            if old.as_ref().map(|kept| &*kept.facts) == new.as_ref() {
                continue;
            }
            moved.push((id, old, new.map(Arc::new)));
        }
        let facts = moved.iter().map(|(id, old, new)| (*id, old.as_ref().map(|kept| &*kept.facts), new.as_deref()));
        snapshot.index.move_sources(facts);
        let mut names: BTreeSet<SourceName> = BTreeSet::new();
        let (mut come, mut unlike_before) = (Vec::new(), Vec::new());
        for (id, old, new) in moved {
            let unlike = old.as_ref().map(|kept| &kept.facts.source) != new.as_ref().map(|facts| &facts.source);
            let name = |facts: &Arc<SourceFacts>| facts.source.name.clone();
            if unlike {
                unlike_before.push(id);
                if let Some(name) = old.as_ref().map(|kept| name(&kept.facts)) {
                    snapshot.names.remove_mut(&name);
                    names.insert(name);
                }
                come.extend(new.as_ref().map(|facts| (name(facts), id)));
            }
            let chosen = |facts: &Arc<SourceFacts>| facts.chosen.clone();
            let bound = old.filter(|kept| !unlike && new.as_ref().map(chosen) == Some(chosen(&kept.facts)));
            let bound = bound.and_then(|kept| kept.bound.get().cloned());
            let keep = |facts| Kept { facts, bound: bound.map_or_else(OnceLock::new, OnceLock::from) };
            snapshot.sources.set(id, new.map(keep).map(Arc::new));
        }
        for (name, id) in come {
            snapshot.names.insert_mut(name.clone(), id);
            names.insert(name);
        }
        // What was made from it depends on its columns, and on what it was made from itself.
        for id in unlike_before {
            snapshot.index.made_from(id, &mut self.stale);
        }
        // What looks something up there depends on its columns.
        for name in names {
            for id in snapshot.index.looking_up(&name) {
                if let Some(policy) = snapshot.policies.get(id) {
                    snapshot.index.touched(&policy.needs, &mut self.stale);
                }
            }
        }
    }

    fn policies(&mut self, changed: BTreeMap<PolicyId, Option<Policy>>) {
        if changed.is_empty() {
            return;
        }
        let policies = Arc::make_mut(&mut self.snapshot.policies);
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for (id, policy) in changed {
            let known = policies.get(&id);
            if known.map(|known| &known.stored.policy) == policy.as_ref() {
                continue;
            }
            old.extend(known.cloned());
            match policy {
                None => drop(policies.remove(&id)),
                Some(policy) => {
                    let prepared = Arc::new(Prepared::new(StoredPolicy { id, policy }));
                    policies.insert(id, Arc::clone(&prepared));
                    new.push(prepared);
                }
            }
        }
        let (old, new): (Vec<_>, Vec<_>) = (indexed(&old), indexed(&new));
        self.snapshot.index.move_policies(&old, &new, &mut self.stale);
    }

    fn bind_again(&mut self) {
        let sources = &mut self.snapshot.sources;
        // All of them at once are quicker than most one by one.
        if self.stale.all || self.stale.sources.len() > sources.len() / 2 {
            sources.renew(Kept::afresh);
            return;
        }
        for id in self.stale.sources.iter() {
            let afresh = sources.get(id).map(|kept| Arc::new(kept.afresh()));
            sources.set(id, afresh);
        }
    }

    fn projects(&mut self, all: Option<Vec<Project>>) {
        let people = self.snapshot.people.clone();
        let known = |id: &PrincipalId| people.get(id).cloned();
        let projects = Arc::make_mut(&mut self.snapshot.projects);
        match all {
            Some(all) => {
                let mut before = std::mem::take(projects);
                for project in all {
                    let same =
                        |old: &Arc<InProject>| old.project == project && self.people.is_disjoint(&project.members);
                    let project = match before.remove(&project.name).filter(same) {
                        Some(same) => same,
                        None => Arc::new(InProject::new(project, known)),
                    };
                    projects.insert(project.project.name.clone(), project);
                }
            }
            None => {
                for project in projects.values_mut() {
                    if !self.people.is_disjoint(&project.project.members) {
                        *project = Arc::new(InProject::new(project.project.clone(), known));
                    }
                }
            }
        }
    }
}

fn indexed(policies: &[Arc<Prepared>]) -> Vec<Indexed<'_>> {
    let indexed = policies.iter();
    indexed.map(|policy| Indexed { id: policy.stored.id, needs: &policy.needs, lookups: &policy.lookups }).collect()
}
