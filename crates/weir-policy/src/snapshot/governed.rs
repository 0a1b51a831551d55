//! One data source with the policies that hold for it, compiled.

use std::sync::{Arc, OnceLock};

use weir_model::{ColumnId, ColumnName, DataSource, PolicyId, PolicyKey, PrincipalId};

use super::Snapshot;
use super::fingerprint::{Digest, Notes};
use super::mark::{Ask, Held, Mark};
use super::person::{Answering, Reader};
use crate::ast::Merge;
use crate::changes::SourceFacts;
use crate::decision::{AppliedMask, DenyReason, Effect, Factor, Mask, SourceDecision};
use crate::diagnostic::Diagnostic;
use crate::expr::{Expr, Reads, Residual};
use crate::lineage::Ancestor;
use crate::resolve::Closeness;

/// A source as it is kept: with the policies that hold for it once somebody asked.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) facts: Arc<SourceFacts>,
    /// Depends on the facts, on the policies, where these ask for it on owners and other sources, and on the sources
    /// that it was made from, but not on their policies. Whoever changes one of those keeps the source anew.
    pub(super) bound: OnceLock<Arc<Bound>>,
}

impl Kept {
    pub(super) fn new(facts: Arc<SourceFacts>) -> Self {
        Self { facts, bound: OnceLock::new() }
    }

    /// The same source, its policies to be bound again.
    pub(super) fn afresh(&self) -> Self {
        Self::new(Arc::clone(&self.facts))
    }
}

/// A source with the policies that hold for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Governed<'a> {
    pub(crate) facts: &'a SourceFacts,
    pub(crate) bound: &'a Bound,
    /// Where the sources are that it was made from.
    pub(crate) snapshot: &'a Snapshot,
}

/// The policies that hold for a source, compiled for it.
#[derive(Debug)]
pub(crate) struct Bound {
    /// Over the source's id, its columns and what it was made from.
    pub(crate) digest: Digest,
    /// All that the source was made from, or why that cannot be told. Absent when it was not made from others.
    pub(crate) ancestors: Option<Result<Vec<Ancestor>, String>>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) limits: Vec<Rules<PurposeLimit>>,
    pub(crate) rows: Vec<Rules<Result<RowRule, String>>>,
    pub(crate) masks: Vec<Rules<MaskBody>>,
    pub(crate) columns: Vec<MaskedColumn>,
    /// Whether some policy may turn out not to be applicable to somebody.
    pub(crate) may_close: bool,
    /// What is wrong with policies here, by policy from the oldest on.
    pub(crate) problems: Vec<(PolicyId, Diagnostic)>,
}

/// A policy as factors name it.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) id: PolicyId,
    pub(crate) key: Arc<str>,
    pub(crate) name: PolicyKey,
}

impl Named {
    pub(super) fn factor(&self, effect: Effect) -> Factor {
        Factor { policy: Some(self.id), key: Arc::clone(&self.key), effect }
    }

    /// The policy decides who may use the source at all: nobody whom it takes in.
    pub(super) fn closes(&self, problem: &str) -> SourceDecision {
        let reason = DenyReason::BrokenPolicy { policy: self.name.clone(), problem: problem.to_owned() };
        SourceDecision::Deny(reason, vec![self.factor(Effect::Subscribe)])
    }
}

/// A subscription policy.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) policy: Arc<Named>,
    pub(crate) merge: Merge,
    pub(crate) who: Who,
}

#[derive(Clone, Debug)]
pub(crate) enum Who {
    Anyone,
    When(Held),
    Approved,
    Selected,
    /// The policy cannot be understood any more.
    Nobody,
}

#[derive(Debug)]
pub(crate) enum Scope {
    Everyone,
    Except(Held),
    Who(Held),
}

/// The rules of one policy on this source. The scopes are those of the policy everywhere.
#[derive(Debug)]
pub(crate) struct Rules<T> {
    pub(crate) policy: Arc<Named>,
    pub(crate) scopes: Arc<[Scope]>,
    pub(crate) bodies: Vec<T>,
}

impl<T> Rules<T> {
    /// The first rule whose scope takes the person in, if any does.
    pub(crate) fn chosen(&self, reader: &Reader<'_>, owner: bool) -> Option<(usize, &T)> {
        for (number, (scope, body)) in self.scopes.iter().zip(&self.bodies).enumerate() {
            match scope {
                Scope::Everyone => return Some((number, body)),
                Scope::Except(condition) => return (!reader.holds(condition, owner)).then_some((number, body)),
                Scope::Who(condition) if reader.holds(condition, owner) => return Some((number, body)),
                Scope::Who(_) => {}
            }
        }
        None
    }
}

/// Conjuncts of a condition on rows; none means all rows.
#[derive(Debug)]
pub(crate) struct RowRule {
    pub(crate) digest: [u8; 16],
    pub(crate) reads: Reads,
    pub(crate) parts: Vec<Part>,
}

impl RowRule {
    /// What the person's rows must meet; absent when she sees all.
    pub(crate) fn residual(&self, reader: &Reader<'_>) -> Option<Residual> {
        let mut notes = Notes::new(&Digest::writer("nobody looks").finish(), 0);
        let parts =
            self.parts.iter().map(|part| part.for_person(&mut Answering { reader: *reader, notes: &mut notes }));
        let residual = Expr::And(parts.collect()).folded();
        (!residual.is_literal(true)).then_some(residual)
    }
}

#[derive(Debug)]
pub(crate) enum Part {
    /// The same for everybody: no constant and no conjunction.
    Fixed(Arc<Residual>),
    /// No row meets it, whoever asks.
    Never,
    Open(Expr<Ask>),
}

impl Part {
    pub(crate) fn is_never(&self) -> bool {
        matches!(self, Part::Never)
    }

    pub(super) fn for_person(&self, answering: &mut Answering<'_>) -> Residual {
        match self {
            Part::Fixed(residual) => Residual::clone(residual),
            Part::Never => Expr::truth(false),
            Part::Open(expr) => expr.answered(answering).folded(),
        }
    }
}

/// The purposes, one of which the reader has to act under; or why the rule cannot be applied.
pub(crate) type PurposeLimit = Result<Box<[Mark]>, String>;

/// Why a mask rule cannot be applied at all; absent when it can.
pub(crate) type MaskBody = Option<String>;

/// The masks that rules have for one column, the closest first.
#[derive(Debug)]
pub(crate) struct MaskedColumn {
    pub(crate) column: ColumnId,
    pub(crate) name: ColumnName,
    pub(crate) candidates: Vec<Candidate>,
}

#[derive(Debug)]
pub(crate) struct Candidate {
    /// Which of [`Bound::masks`], and which of its rules.
    pub(crate) policy: usize,
    pub(crate) rule: usize,
    pub(crate) closeness: Closeness,
    pub(crate) priority: i32,
    pub(crate) digest: [u8; 16],
    /// As it is applied to all rows.
    pub(crate) applied: Result<Arc<AppliedMask>, String>,
    /// Conjuncts; absent: everywhere.
    pub(crate) when: Option<Vec<Part>>,
    /// Of the condition.
    pub(crate) reads: Reads,
}

impl Candidate {
    pub(crate) fn mask(&self) -> Result<&Mask, &String> {
        self.applied.as_ref().map(|applied| &applied.mask)
    }
}

/// How a person comes to read a source.
pub(crate) enum Admission<'a> {
    Owner,
    /// Selected one by one, where no policy says who subscribes.
    Selected,
    /// A member of the project in whose workspace the source is, with the required policies that take her in.
    Member(Vec<&'a Entry>),
    /// All the required policies and the first shared one that takes her in.
    Policies(Vec<&'a Entry>),
    /// The required policies that do not take her in; none when only shared ones could.
    Refused(Vec<&'a Entry>),
}

impl<'a> Governed<'a> {
    pub(crate) fn source(self) -> &'a DataSource {
        &self.facts.source
    }

    pub(crate) fn is_owner(self, reader: &Reader<'_>) -> bool {
        match reader.project.filter(|project| project.equalized.is_some()) {
            Some(project) => project.owns(self.source()),
            None => self.source().owners.contains(&reader.person.principal.id),
        }
    }

    fn is_among(reader: &Reader<'_>, is_one: impl Fn(&PrincipalId) -> bool) -> bool {
        match reader.project.filter(|project| project.equalized.is_some()) {
            Some(project) => project.all_are(is_one),
            None => is_one(&reader.person.principal.id),
        }
    }

    pub(crate) fn admission(self, reader: &Reader<'_>, owner: bool) -> Admission<'a> {
        if owner {
            return Admission::Owner;
        }
        let SourceFacts { selected, approved, source, .. } = self.facts;
        let selected = || Self::is_among(reader, |person| selected.contains(person));
        let member = source.workspace.is_some();
        if self.bound.entries.is_empty() && !member {
            return if selected() { Admission::Selected } else { Admission::Refused(Vec::new()) };
        }
        let holds = |entry: &&Entry| match &entry.who {
            Who::Anyone => true,
            Who::When(condition) => reader.holds(condition, owner),
            Who::Approved => {
                let approved = approved.get(&entry.policy.id);
                Self::is_among(reader, |person| approved.is_some_and(|approved| approved.contains(person)))
            }
            Who::Selected => selected(),
            Who::Nobody => false,
        };
        let of = |merge| self.bound.entries.iter().filter(move |entry| entry.merge == merge);
        let (mut entries, refused): (Vec<&Entry>, Vec<&Entry>) = of(Merge::Require).partition(&holds);
        if !refused.is_empty() {
            return Admission::Refused(refused);
        }
        // Nobody else comes this far.
        if member {
            return Admission::Member(entries);
        }
        match of(Merge::Share).find(&holds) {
            Some(one) => entries.push(one),
            None if of(Merge::Share).next().is_some() => return Admission::Refused(Vec::new()),
            None => {}
        }
        Admission::Policies(entries)
    }

    /// Why the current project keeps the reader from the source, if it does.
    pub(crate) fn outside(self, reader: &Reader<'_>) -> Option<DenyReason> {
        let away = match &self.source().workspace {
            Some(home) => reader.project.is_none_or(|inside| inside.project.name != *home),
            None => reader.project.is_some_and(|inside| !inside.project.sources.contains(&self.source().id)),
        };
        away.then_some(DenyReason::NotInProject)
    }

    /// Project, subscription and purposes; an `Err` is a denial. The factors leave room for so many more.
    pub(super) fn admitted(self, reader: &Reader<'_>, owner: bool, room: usize) -> Result<Vec<Factor>, SourceDecision> {
        if let Some(reason) = self.outside(reader) {
            return Err(SourceDecision::Deny(reason, Vec::new()));
        }
        self.let_in(reader, owner, room)
    }

    /// Subscription and purposes, with room for as many factors.
    pub(super) fn let_in(self, reader: &Reader<'_>, owner: bool, room: usize) -> Result<Vec<Factor>, SourceDecision> {
        let itself = |key: &str| Factor { policy: None, key: key.into(), effect: Effect::Subscribe };
        let named = |entry: &Entry| entry.policy.factor(Effect::Subscribe);
        let mut factors: Vec<Factor> = Vec::with_capacity(room + 1 + self.bound.limits.len());
        match self.admission(reader, owner) {
            Admission::Owner => factors.push(itself("owner")),
            Admission::Selected => factors.push(itself("selected")),
            Admission::Member(entries) => {
                factors.push(itself("member"));
                factors.extend(entries.into_iter().map(named));
            }
            Admission::Policies(entries) => factors.extend(entries.into_iter().map(named)),
            Admission::Refused(entries) => {
                let entries = entries.into_iter().map(named).collect();
                return Err(SourceDecision::Deny(DenyReason::NotSubscribed, entries));
            }
        }
        for limit in &self.bound.limits {
            let Some((_, purposes)) = limit.chosen(reader, owner) else { continue };
            let purposes = purposes.as_ref().map_err(|problem| limit.policy.closes(problem))?;
            let factor = limit.policy.factor(Effect::Purpose);
            if !purposes.iter().any(|purpose| reader.acts_under(purpose)) {
                let reason = DenyReason::PurposeRequired { policy: limit.policy.name.clone() };
                return Err(SourceDecision::Deny(reason, vec![factor]));
            }
            factors.push(factor);
        }
        Ok(factors)
    }

    /// For each mask policy the rule that takes the person in.
    pub(crate) fn chosen_masks(self, reader: &Reader<'_>, owner: bool) -> Result<Vec<Option<usize>>, SourceDecision> {
        let mut chosen = Vec::with_capacity(self.bound.masks.len());
        for policy in &self.bound.masks {
            chosen.push(match policy.chosen(reader, owner) {
                None => None,
                Some((rule, None)) => Some(rule),
                Some((_, Some(problem))) => return Err(policy.policy.closes(problem)),
            });
        }
        Ok(chosen)
    }
}
