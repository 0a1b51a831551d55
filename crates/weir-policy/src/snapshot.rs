//! A compiled, numbered, immutable whole, and the decisions it gives.

mod compile;
mod deciding;
mod fingerprint;
mod governed;
mod person;
mod vocabulary;

use std::collections::BTreeMap;
use std::fmt;

use weir_model::{DataSource, Epoch, PolicyId, PolicyKey, Principal, PrincipalId, SourceId, SourceName};

use crate::decision::{Decision, DenyReason, SourceDecision};
use crate::diagnostic::Diagnostic;
use crate::facts::{Facts, StoredPolicy};
pub(crate) use governed::{Admission, Entry, Governed, MaskedColumn, Rules};
pub(crate) use person::Person;

/// Facts compiled for deciding.
pub struct Snapshot {
    epoch: Epoch,
    people: BTreeMap<PrincipalId, Person>,
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

    pub(crate) fn person(&self, id: &PrincipalId) -> Option<&Person> {
        self.people.get(id)
    }

    /// What is wrong with saved policies, by policy from the oldest on, then by source name.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// One answer for each of `sources`, in their order.
    pub fn decide(&self, principal: &PrincipalId, sources: &[SourceId]) -> Decision {
        let person = self.people.get(principal);
        let decided = sources.iter().map(|id| (*id, self.decide_one(person, *id))).collect();
        Decision { epoch: self.epoch, principal: principal.clone(), sources: decided }
    }

    fn decide_one(&self, person: Option<&Person>, source: SourceId) -> SourceDecision {
        let Some(person) = person else { return SourceDecision::Deny(DenyReason::UnknownPrincipal, Vec::new()) };
        match self.sources.get(&source) {
            Some(governed) => governed.decide(person),
            None => SourceDecision::Deny(DenyReason::UnknownSource, Vec::new()),
        }
    }

    /// The sources that the principal may read, by name.
    pub fn visible(&self, principal: &PrincipalId) -> Vec<&DataSource> {
        let Some(person) = self.people.get(principal) else { return Vec::new() };
        let named = self.names.values().filter_map(|id| self.sources.get(id));
        named.filter(|governed| governed.is_open_to(person)).map(|governed| &governed.source).collect()
    }
}

/// How much there is of everything; the facts themselves are too long and too private for a log.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("epoch", &self.epoch)
            .field("principals", &self.people.len())
            .field("sources", &self.sources.len())
            .field("policies", &self.policies.len())
            .field("problems", &self.problems.len())
            .finish()
    }
}
