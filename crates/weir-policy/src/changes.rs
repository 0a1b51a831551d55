//! What is different from one epoch to another.

use std::collections::{BTreeMap, BTreeSet};

use weir_model::{DataSource, Epoch, Impersonation, PolicyId, PolicyKey, Principal, PrincipalId, Project, SourceId};

use crate::ast::Policy;
use crate::facts::{Facts, StoredPolicy};

/// All that facts say of one data source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceFacts {
    pub source: DataSource,
    /// People selected one by one.
    pub selected: BTreeSet<PrincipalId>,
    /// By policy that takes people in on request, whose request was approved.
    pub approved: BTreeMap<PolicyId, BTreeSet<PrincipalId>>,
    /// Policies that an owner chose for the source.
    pub chosen: BTreeSet<PolicyKey>,
}

/// Things as they are now; `None` for those that are gone. What is not named is as it was, and naming what is as it was
/// does no harm.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The epoch that holds afterwards.
    pub epoch: Epoch,
    pub principals: BTreeMap<PrincipalId, Option<Principal>>,
    pub sources: BTreeMap<SourceId, Option<SourceFacts>>,
    pub policies: BTreeMap<PolicyId, Option<Policy>>,
    /// All projects there are.
    pub projects: Option<Vec<Project>>,
    /// All of them.
    pub impersonations: Option<BTreeSet<Impersonation>>,
}

impl From<Facts> for Changes {
    /// Of nothing into these facts.
    fn from(facts: Facts) -> Self {
        let Facts { epoch, principals, sources, policies, selected, approved, chosen, projects, impersonations } =
            facts;
        let mut sources: BTreeMap<SourceId, Option<SourceFacts>> =
            sources.into_iter().map(|source| (source.id, Some(SourceFacts::bare(source)))).collect();
        // What is said of a source that is not registered says nothing.
        let mut of = |id: SourceId, say: &mut dyn FnMut(&mut SourceFacts)| {
            sources.get_mut(&id).and_then(Option::as_mut).into_iter().for_each(say);
        };
        for (source, person) in selected {
            of(source, &mut |facts| {
                facts.selected.insert(person.clone());
            });
        }
        for (policy, source, person) in approved {
            of(source, &mut |facts| {
                facts.approved.entry(policy).or_default().insert(person.clone());
            });
        }
        for (policy, source) in chosen {
            of(source, &mut |facts| {
                facts.chosen.insert(policy.clone());
            });
        }
        Self {
            epoch: epoch.unwrap_or(Epoch(0)),
            principals: principals.into_iter().map(|person| (person.id.clone(), Some(person))).collect(),
            sources,
            policies: policies.into_iter().map(|StoredPolicy { id, policy }| (id, Some(policy))).collect(),
            projects: Some(projects),
            impersonations: Some(impersonations),
        }
    }
}

impl SourceFacts {
    /// Nobody was selected or approved and nothing chosen.
    pub fn bare(source: DataSource) -> Self {
        Self { source, selected: BTreeSet::new(), approved: BTreeMap::new(), chosen: BTreeSet::new() }
    }
}

impl Changes {
    /// What makes `old` into `new`.
    pub fn between(old: &Facts, new: &Facts) -> Self {
        let (old, new) = (Self::from(old.clone()), Self::from(new.clone()));
        Self {
            epoch: new.epoch,
            principals: differences(old.principals, new.principals),
            sources: differences(old.sources, new.sources),
            policies: differences(old.policies, new.policies),
            projects: new.projects.filter(|projects| old.projects.as_ref() != Some(projects)),
            impersonations: new.impersonations.filter(|grants| old.impersonations.as_ref() != Some(grants)),
        }
    }

    /// Whether nothing but the epoch is named.
    pub fn is_empty(&self) -> bool {
        let Self { epoch: _, principals, sources, policies, projects, impersonations } = self;
        principals.is_empty()
            && sources.is_empty()
            && policies.is_empty()
            && projects.is_none()
            && impersonations.is_none()
    }
}

fn differences<K: Ord + Clone, T: PartialEq>(
    mut old: BTreeMap<K, Option<T>>,
    new: BTreeMap<K, Option<T>>,
) -> BTreeMap<K, Option<T>> {
    let mut changed = BTreeMap::new();
    for (key, thing) in new {
        if old.remove(&key).as_ref() != Some(&thing) {
            changed.insert(key, thing);
        }
    }
    changed.extend(old.into_keys().map(|key| (key, None)));
    changed
}
