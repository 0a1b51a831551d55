//! A compiled, numbered, immutable whole, and the decisions it gives.

mod compile;
mod deciding;
mod fingerprint;
mod governed;
mod ids;
mod index;
mod inherit;
mod keys;
mod mark;
mod pages;
mod person;
mod prepared;
mod project;
mod publish;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, OnceLock};

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use weir_model::{
    ColumnId, DataSource, Epoch, Impersonation, PolicyId, PolicyKey, Principal, PrincipalId, ProjectName, PurposeName,
    SourceId, SourceName, Surroundings,
};

use crate::ast::{Approver, Circumstances};
use crate::changes::Changes;
use crate::decision::{Decision, DenyReason, Mask, SourceDecision};
use crate::diagnostic::Diagnostic;
use crate::facts::{Facts, StoredPolicy};
use crate::resolve::Catalog;
pub(crate) use governed::{Admission, Candidate, Entry, Governed, MaskedColumn, Rules};
use governed::{Bound, Kept};
use index::Index;
use pages::Pages;
use person::Person;
pub(crate) use person::Reader;
use prepared::Prepared;
use project::InProject;

/// Facts made ready for deciding. Immutable; a successor shares with it whatever is the same in both. What policies do
/// on a source is worked out when somebody asks for the source for the first time.
#[derive(Clone)]
pub struct Snapshot {
    epoch: Epoch,
    people: HashTrieMapSync<PrincipalId, Arc<Person>>,
    projects: Arc<BTreeMap<ProjectName, Arc<InProject>>>,
    impersonations: Arc<BTreeSet<Impersonation>>,
    sources: Pages<Kept>,
    names: RedBlackTreeMapSync<SourceName, SourceId>,
    policies: Arc<BTreeMap<PolicyId, Arc<Prepared>>>,
    index: Index,
    problems: OnceLock<Arc<[Problem]>>,
}

/// A saved policy that does not fit a source any more, or a lineage that does not hold any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Absent when it is the lineage of the source, which is closed to everybody.
    pub policy: Option<PolicyKey>,
    /// The source that is closed because of it to those whom the policy concerns. Absent when the policy itself
    /// cannot be understood, or names a source that is gone.
    pub source: Option<SourceName>,
    pub diagnostic: Diagnostic,
}

impl Snapshot {
    /// Never fails as a whole: a policy that does not fit its source any more closes that source.
    pub fn compile(facts: Facts) -> Self {
        Self::empty().after(Changes::from(facts))
    }

    /// Of nothing.
    fn empty() -> Self {
        Self {
            epoch: Epoch(0),
            people: HashTrieMapSync::default(),
            projects: Arc::default(),
            impersonations: Arc::default(),
            sources: Pages::default(),
            names: RedBlackTreeMapSync::default(),
            policies: Arc::default(),
            index: Index::default(),
            problems: OnceLock::new(),
        }
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub fn principal(&self, id: &PrincipalId) -> Option<&Principal> {
        self.people.get(id).map(|person| &person.principal)
    }

    pub fn source(&self, id: SourceId) -> Option<&DataSource> {
        self.sources.get(id).map(|kept| &kept.facts.source)
    }

    pub fn source_by_name(&self, name: &SourceName) -> Option<&DataSource> {
        self.source(*self.names.get(name)?)
    }

    pub fn sources(&self) -> impl Iterator<Item = &DataSource> {
        self.sources.iter().map(|kept| &kept.facts.source)
    }

    /// Every saved policy, the oldest first.
    pub fn policies(&self) -> impl Iterator<Item = &StoredPolicy> {
        self.policies.values().map(|policy| &policy.stored)
    }

    pub fn policy(&self, id: PolicyId) -> Option<&StoredPolicy> {
        self.policies.get(&id).map(|policy| &policy.stored)
    }

    /// The policies in effect on the source that take people in on request, the oldest first, and whom each asks.
    pub fn asking(&self, source: SourceId) -> Vec<(&StoredPolicy, &[Approver])> {
        let entries = self.governed(source).map(|governed| &governed.bound.entries);
        let policies = entries.into_iter().flatten().filter_map(|entry| self.policies.get(&entry.policy.id));
        policies.filter_map(|policy| Some((&policy.stored, policy.approvers()?))).collect()
    }

    pub(crate) fn is_chosen(&self, policy: &PolicyKey, source: SourceId) -> bool {
        self.sources.get(source).is_some_and(|kept| kept.facts.chosen.contains(policy))
    }

    pub(crate) fn governed(&self, id: SourceId) -> Option<Governed<'_>> {
        self.sources.get(id).map(|kept| self.governing(kept))
    }

    pub(crate) fn all_governed(&self) -> impl Iterator<Item = Governed<'_>> {
        self.sources.iter().map(|kept| self.governing(kept))
    }

    fn all_governed_by_name(&self) -> impl Iterator<Item = Governed<'_>> {
        self.names.values().filter_map(|id| self.governed(*id))
    }

    fn governing<'a>(&'a self, kept: &'a Kept) -> Governed<'a> {
        let bind = || {
            let policies = self.index.policies_for(&kept.facts);
            Arc::new(self.bind(kept, policies.iter().filter_map(|id| self.policies.get(id))))
        };
        Governed { facts: &kept.facts, bound: kept.bound.get_or_init(bind), snapshot: self }
    }

    fn bind<'p>(&self, kept: &Kept, policies: impl Iterator<Item = &'p Arc<Prepared>>) -> Bound {
        compile::bind(&kept.facts.source, policies.map(Arc::as_ref), &Catalog::of(self))
    }

    /// The principal in the surroundings, or why she sees nothing in them.
    pub(crate) fn reader(&self, id: &PrincipalId, surroundings: &Surroundings) -> Result<Reader<'_>, DenyReason> {
        let person = self.people.get(id).ok_or(DenyReason::UnknownPrincipal)?;
        let project = match &surroundings.project {
            None => None,
            Some(name) => {
                let project = self.projects.get(name).ok_or(DenyReason::NoSuchProject)?;
                match project.closed_to(id) {
                    None => Some(&**project),
                    Some(why) => return Err(why),
                }
            }
        };
        let person = project.and_then(|project| project.equalized.as_ref()).unwrap_or(person);
        let Surroundings { impersonated, at_unix_ms, .. } = *surroundings;
        Ok(Reader { person, project, impersonated, at_unix_ms })
    }

    /// The projects in which the principal may act, by name, with what keeps her from seeing anything there, if
    /// something does.
    pub fn projects(&self, principal: &PrincipalId) -> Vec<(&ProjectName, Option<DenyReason>)> {
        let mine = self.projects.iter().map(|(name, project)| (name, project.closed_to(principal)));
        mine.filter(|(_, why)| *why != Some(DenyReason::NoSuchProject)).collect()
    }

    /// The project in which the principal acts and the schema of its workspace, when it has one and is open to her.
    pub fn workspace(&self, principal: &PrincipalId, surroundings: &Surroundings) -> Option<(&ProjectName, &str)> {
        let project = &self.reader(principal, surroundings).ok()?.project?.project;
        Some((&project.name, project.workspace.as_deref()?))
    }

    /// The purposes under which the principal acts.
    pub fn purposes(&self, principal: &PrincipalId, surroundings: &Surroundings) -> Vec<PurposeName> {
        let project = self.reader(principal, surroundings).ok().and_then(|reader| reader.project);
        project.map(|inside| inside.project.purposes.iter().cloned().collect()).unwrap_or_default()
    }

    /// Whether some policy masks the column so, for whomever, or what it is a copy of.
    pub fn is_masked_by(&self, source: SourceId, column: ColumnId, mask: &Mask) -> bool {
        let Some(governed) = self.governed(source) else { return false };
        let so = |candidate: &Candidate| candidate.mask() == Ok(mask);
        let mut here = governed.bound.columns.iter().filter(|masked| masked.column == column);
        here.any(|masked| masked.candidates.iter().any(so))
            || governed.bound.ancestors().iter().any(|ancestor| {
                let there = self.governed(ancestor.id).into_iter().flat_map(|there| &there.bound.columns);
                let mut there = there.filter(|masked| ancestor.lens.copies(masked.column).any(|copy| copy == column));
                there.any(|masked| masked.candidates.iter().any(so))
            })
    }

    /// Whether somebody allowed `actor` to act as `target`. Both must be known.
    pub fn may_impersonate(&self, actor: &PrincipalId, target: &PrincipalId) -> bool {
        let Some(target) = self.principal(target).filter(|_| self.people.contains_key(actor)) else { return false };
        self.impersonations.iter().any(|grant| grant.actor == *actor && grant.target.contains(target))
    }

    /// What is wrong with saved policies, by policy from the oldest on, then by source name; then with lineages. Works out what policies do
    /// on every source, when called for the first time.
    pub fn problems(&self) -> &[Problem] {
        self.problems.get_or_init(|| {
            let mut by_policy: BTreeMap<PolicyId, Vec<Problem>> = BTreeMap::new();
            let mut found = |policy: &Prepared, source: Option<&SourceName>, diagnostic: Diagnostic| {
                let key = policy.stored.policy.key.clone();
                let problem = Problem { policy: Some(key), source: source.cloned(), diagnostic };
                by_policy.entry(policy.stored.id).or_default().push(problem);
            };
            for policy in self.policies.values().filter(|policy| policy.stored.policy.is_in_effect()) {
                if let Err(why) = &policy.reach {
                    found(policy, None, why.clone());
                }
                let Circumstances::Named(names) = &policy.stored.policy.statement.on else { continue };
                for name in names.iter().filter(|name| !self.names.contains_key(&name.node)) {
                    let message = format!("data source `{}` is not registered any more", name.node);
                    found(policy, None, Diagnostic::error("policy::unknown-data-source", message));
                }
            }
            for governed in self.all_governed_by_name() {
                for (policy, why) in &governed.bound.problems {
                    if let Some(policy) = self.policies.get(policy) {
                        found(policy, Some(&governed.source().name), why.clone());
                    }
                }
            }
            let lineages = self.all_governed_by_name().filter_map(|governed| {
                let why = governed.bound.ancestors.as_ref()?.as_ref().err()?;
                let source = governed.source().name.clone();
                let message = format!("the lineage of `{source}` does not hold any more: {why}");
                let diagnostic = Diagnostic::error("source::lineage", message);
                Some(Problem { policy: None, source: Some(source), diagnostic })
            });
            by_policy.into_values().flatten().chain(lineages).collect()
        })
    }

    /// How many sources are kept otherwise than in `before`, or not there at all.
    pub fn sources_unlike(&self, before: &Snapshot) -> usize {
        self.sources.unlike(&before.sources)
    }

    /// Binds every source anew, with every policy there is, and says which source is not as it is kept. For tests: what
    /// successors share and what the index leaves out must be right.
    pub fn verify(&self) -> Result<(), String> {
        for kept in self.sources.iter() {
            let (kept_as, anew) = (self.governing(kept).bound, self.bind(kept, self.policies.values()));
            let (kept_as, anew) = (format!("{kept_as:?}"), format!("{anew:?}"));
            if kept_as != anew {
                return Err(format!("`{}` is kept as\n{kept_as}\nand should be\n{anew}", kept.facts.source.name));
            }
        }
        Ok(())
    }

    /// One answer for each of `sources`, in their order.
    pub fn decide(&self, principal: &PrincipalId, surroundings: &Surroundings, sources: &[SourceId]) -> Decision {
        let reader = self.reader(principal, surroundings);
        let one = |id: &SourceId| match (&reader, self.governed(*id)) {
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
        self.all_governed_by_name().filter(|governed| governed.is_open_to(&reader)).map(Governed::source).collect()
    }
}

/// How much there is of everything; the facts themselves are too long and too private for a log.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("epoch", &self.epoch)
            .field("principals", &self.people.size())
            .field("projects", &self.projects.len())
            .field("sources", &self.sources.len())
            .field("policies", &self.policies.len())
            .finish()
    }
}
