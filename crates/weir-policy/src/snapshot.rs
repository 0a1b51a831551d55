//! A compiled, numbered, immutable whole, and the decisions it gives.

mod compile;
mod deciding;
mod fingerprint;
mod governed;
mod person;
mod project;
mod vocabulary;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use weir_model::{
    ColumnId, DataSource, Epoch, Impersonation, PolicyId, PolicyKey, Principal, PrincipalId, ProjectName, PurposeName,
    SourceId, SourceName, Surroundings,
};

use crate::decision::{Decision, DenyReason, Mask, SourceDecision};
use crate::diagnostic::Diagnostic;
use crate::facts::{Facts, StoredPolicy};
pub(crate) use governed::{Admission, Candidate, Entry, Governed, MaskedColumn, Rules};
pub(crate) use person::{Person, Reader};
use project::InProject;

/// Facts compiled for deciding.
pub struct Snapshot {
    epoch: Epoch,
    people: BTreeMap<PrincipalId, Person>,
    projects: BTreeMap<ProjectName, InProject>,
    impersonations: BTreeSet<Impersonation>,
    sources: BTreeMap<SourceId, Governed>,
    names: BTreeMap<SourceName, SourceId>,
    /// By id.
    policies: Vec<StoredPolicy>,
    problems: Vec<Problem>,
}

/// A saved policy that does not fit a source any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub policy: PolicyKey,
    /// The source that is closed because of it to those whom the policy concerns. Absent when the policy itself
    /// cannot be understood, or names a source that is gone.
    pub source: Option<SourceName>,
    pub diagnostic: Diagnostic,
}

impl Snapshot {
    /// Never fails as a whole: a policy that does not fit its source any more closes that source.
    pub fn compile(facts: Facts) -> Self {
        compile::compile(facts)
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub fn principal(&self, id: &PrincipalId) -> Option<&Principal> {
        self.people.get(id).map(|person| &person.principal)
    }

    pub fn source(&self, id: SourceId) -> Option<&DataSource> {
        self.sources.get(&id).map(|governed| &governed.source)
    }

    pub fn source_by_name(&self, name: &SourceName) -> Option<&DataSource> {
        self.source(*self.names.get(name)?)
    }

    /// Every saved policy, the oldest first.
    pub fn policies(&self) -> &[StoredPolicy] {
        &self.policies
    }

    pub(crate) fn policy(&self, id: PolicyId) -> Option<&StoredPolicy> {
        let at = self.policies.binary_search_by_key(&id, |stored| stored.id).ok()?;
        self.policies.get(at)
    }

    pub(crate) fn governed(&self, id: SourceId) -> Option<&Governed> {
        self.sources.get(&id)
    }

    pub(crate) fn all_governed(&self) -> impl Iterator<Item = &Governed> {
        self.sources.values()
    }

    /// The principal in the surroundings, or why she sees nothing in them.
    pub(crate) fn reader(&self, id: &PrincipalId, surroundings: &Surroundings) -> Result<Reader<'_>, DenyReason> {
        let person = self.people.get(id).ok_or(DenyReason::UnknownPrincipal)?;
        let project = match &surroundings.project {
            None => None,
            Some(name) => {
                let project = self.projects.get(name).ok_or(DenyReason::NoSuchProject)?;
                match project.closed_to(id) {
                    None => Some(project),
                    Some(why) => return Err(why),
                }
            }
        };
        let person = project.and_then(|project| project.equalized.as_ref()).map_or(person, |all| &all.person);
        let Surroundings { impersonated, at_unix_ms, .. } = *surroundings;
        Ok(Reader { person, project, impersonated, at_unix_ms })
    }

    /// The projects in which the principal may act, by name, with what keeps her from seeing anything there, if
    /// something does.
    pub fn projects(&self, principal: &PrincipalId) -> Vec<(&ProjectName, Option<DenyReason>)> {
        let mine = self.projects.iter().map(|(name, project)| (name, project.closed_to(principal)));
        mine.filter(|(_, why)| *why != Some(DenyReason::NoSuchProject)).collect()
    }

    /// The purposes under which the principal acts.
    pub fn purposes(&self, principal: &PrincipalId, surroundings: &Surroundings) -> Vec<PurposeName> {
        let project = self.reader(principal, surroundings).ok().and_then(|reader| reader.project);
        project.map(|project| project.purposes_named.clone()).unwrap_or_default()
    }

    /// Whether some policy masks the column so, for whomever.
    pub fn is_masked_by(&self, source: SourceId, column: ColumnId, mask: &Mask) -> bool {
        let columns = self.sources.get(&source).into_iter().flat_map(|governed| &governed.columns);
        let mut candidates = columns.filter(|masked| masked.column == column).flat_map(|masked| &masked.candidates);
        candidates.any(|candidate| candidate.mask.as_ref() == Ok(mask))
    }

    /// Whether somebody allowed `actor` to act as `target`. Both must be known.
    pub fn may_impersonate(&self, actor: &PrincipalId, target: &PrincipalId) -> bool {
        let Some(target) = self.principal(target).filter(|_| self.people.contains_key(actor)) else { return false };
        self.impersonations.iter().any(|grant| grant.actor == *actor && grant.target.contains(target))
    }

    /// What is wrong with saved policies, by policy from the oldest on, then by source name.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// One answer for each of `sources`, in their order.
    pub fn decide(&self, principal: &PrincipalId, surroundings: &Surroundings, sources: &[SourceId]) -> Decision {
        let reader = self.reader(principal, surroundings);
        let one = |id: &SourceId| match (&reader, self.sources.get(id)) {
            (Ok(reader), Some(governed)) => governed.decide(reader),
            (Err(why), _) => SourceDecision::Deny(why.clone(), Vec::new()),
            (Ok(_), None) => SourceDecision::Deny(DenyReason::UnknownSource, Vec::new()),
        };
        let decided = sources.iter().map(|id| (*id, one(id))).collect();
        Decision { epoch: self.epoch, principal: principal.clone(), sources: decided }
    }

    /// The sources that the principal may read, by name.
    pub fn visible(&self, principal: &PrincipalId, surroundings: &Surroundings) -> Vec<&DataSource> {
        let Ok(reader) = self.reader(principal, surroundings) else { return Vec::new() };
        let named = self.names.values().filter_map(|id| self.sources.get(id));
        named.filter(|governed| governed.is_open_to(&reader)).map(|governed| &governed.source).collect()
    }
}

/// How much there is of everything; the facts themselves are too long and too private for a log.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("epoch", &self.epoch)
            .field("principals", &self.people.len())
            .field("projects", &self.projects.len())
            .field("sources", &self.sources.len())
            .field("policies", &self.policies.len())
            .field("problems", &self.problems.len())
            .finish()
    }
}
