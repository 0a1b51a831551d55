//! One data source with the policies that hold for it, compiled.

use std::collections::BTreeSet;
use std::sync::Arc;

use weir_model::{ColumnId, DataSource, PolicyId, PolicyKey, PrincipalId};

use super::fingerprint::{Digest, Notes};
use super::person::{Answering, Person};
use super::vocabulary::{Ask, Held};
use crate::ast::Merge;
use crate::decision::{DenyReason, Effect, Factor, Mask, SourceDecision};
use crate::expr::{Expr, Residual};
use crate::resolve::Closeness;

#[derive(Debug)]
pub(crate) struct Governed {
    pub(crate) source: DataSource,
    /// Over the source's id and columns.
    pub(crate) digest: Digest,
    pub(crate) selected: BTreeSet<PrincipalId>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) rows: Vec<Rules<Result<RowRule, String>>>,
    pub(crate) masks: Vec<Rules<MaskBody>>,
    pub(crate) columns: Vec<MaskedColumn>,
    /// Whether some policy may turn out not to be applicable to somebody.
    pub(crate) may_close: bool,
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

#[derive(Debug)]
pub(crate) enum Who {
    Anyone,
    When(Held),
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
    pub(crate) fn chosen(&self, person: &Person, owner: bool) -> Option<(usize, &T)> {
        for (number, (scope, body)) in self.scopes.iter().zip(&self.bodies).enumerate() {
            match scope {
                Scope::Everyone => return Some((number, body)),
                Scope::Except(condition) => return (!person.holds(condition, owner)).then_some((number, body)),
                Scope::Who(condition) if person.holds(condition, owner) => return Some((number, body)),
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
    pub(crate) parts: Vec<Part>,
}

impl RowRule {
    /// What the person's rows must meet; absent when she sees all.
    pub(crate) fn residual(&self, person: &Person) -> Option<Residual> {
        let mut notes = Notes::new(&Digest::writer("nobody looks").finish(), 0);
        let parts = self.parts.iter().map(|part| part.for_person(&mut Answering { person, notes: &mut notes }));
        let residual = Expr::And(parts.collect()).folded();
        (!residual.is_literal(true)).then_some(residual)
    }
}

#[derive(Debug)]
pub(crate) enum Part {
    /// The same for everybody.
    Fixed(Residual),
    Open(Expr<Ask>),
}

impl Part {
    pub(super) fn for_person(&self, answering: &mut Answering<'_>) -> Residual {
        match self {
            Part::Fixed(residual) => residual.clone(),
            Part::Open(expr) => expr.answered(answering).folded(),
        }
    }
}

/// Why a mask rule cannot be applied at all; absent when it can.
pub(crate) type MaskBody = Option<String>;

/// The masks that rules have for one column, the closest first.
#[derive(Debug)]
pub(crate) struct MaskedColumn {
    pub(crate) column: ColumnId,
    pub(crate) effect: Effect,
    pub(crate) candidates: Vec<Candidate>,
}

#[derive(Debug)]
pub(crate) struct Candidate {
    /// Which of [`Governed::masks`], and which of its rules.
    pub(crate) policy: usize,
    pub(crate) rule: usize,
    pub(crate) closeness: Closeness,
    pub(crate) digest: [u8; 16],
    pub(crate) mask: Result<Mask, String>,
    /// Conjuncts; absent: everywhere.
    pub(crate) when: Option<Vec<Part>>,
}

/// How a person comes to read a source.
pub(crate) enum Admission<'a> {
    Owner,
    /// Selected one by one, where no policy says who subscribes.
    Selected,
    /// All the required policies and the first shared one that takes her in.
    Policies(Vec<&'a Entry>),
    /// The required policies that do not take her in; none when only shared ones could.
    Refused(Vec<&'a Entry>),
}

impl Governed {
    pub(crate) fn is_owner(&self, person: &Person) -> bool {
        self.source.owners.contains(&person.principal.id)
    }

    pub(crate) fn admission(&self, person: &Person, owner: bool) -> Admission<'_> {
        if owner {
            return Admission::Owner;
        }
        let selected = self.selected.contains(&person.principal.id);
        if self.entries.is_empty() {
            return if selected { Admission::Selected } else { Admission::Refused(Vec::new()) };
        }
        let holds = |entry: &&Entry| match &entry.who {
            Who::Anyone => true,
            Who::When(condition) => person.holds(condition, owner),
            Who::Selected => selected,
            Who::Nobody => false,
        };
        let (required, shared): (Vec<&Entry>, Vec<&Entry>) =
            self.entries.iter().partition(|e| e.merge == Merge::Require);
        if !required.iter().all(&holds) {
            return Admission::Refused(required.into_iter().filter(|entry| !holds(entry)).collect());
        }
        let one = shared.iter().copied().find(&holds);
        if one.is_none() && !shared.is_empty() {
            return Admission::Refused(Vec::new());
        }
        Admission::Policies(required.into_iter().chain(one).collect())
    }

    pub(super) fn admitted(&self, person: &Person, owner: bool) -> Result<Vec<Factor>, SourceDecision> {
        let itself = |key: &str| vec![Factor { policy: None, key: key.into(), effect: Effect::Subscribe }];
        let factors =
            |entries: Vec<&Entry>| entries.iter().map(|entry| entry.policy.factor(Effect::Subscribe)).collect();
        match self.admission(person, owner) {
            Admission::Owner => Ok(itself("owner")),
            Admission::Selected => Ok(itself("selected")),
            Admission::Policies(entries) => Ok(factors(entries)),
            Admission::Refused(entries) => Err(SourceDecision::Deny(DenyReason::NotSubscribed, factors(entries))),
        }
    }

    /// For each mask policy the rule that takes the person in.
    pub(crate) fn chosen_masks(&self, person: &Person, owner: bool) -> Result<Vec<Option<usize>>, SourceDecision> {
        let mut chosen = Vec::with_capacity(self.masks.len());
        for policy in &self.masks {
            chosen.push(match policy.chosen(person, owner) {
                None => None,
                Some((rule, None)) => Some(rule),
                Some((_, Some(problem))) => return Err(policy.policy.closes(problem)),
            });
        }
        Ok(chosen)
    }
}
