//! The policies that hold for one source, compiled for it.
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever is no conjunction is one conjunct")]

use std::cmp::Reverse;
use std::sync::Arc;

use weir_model::{ColumnId, DataSource, PurposeName};

use super::fingerprint::Digest;
use super::governed::{Bound, Candidate, Entry, MaskedColumn, Part, RowRule, Rules, Scope};
use super::mark::{Mark, Marking};
use super::prepared::{Prepare, Prepared};
use crate::ast::{Body, Cascade};
use crate::decision::AppliedMask;
use crate::diagnostic::Diagnostic;
use crate::expr::{Expr, Residual, UserTerm};
use crate::lineage::ancestors;
use crate::resolve::{About, Catalog, DataPolicy, MaskRule, RowRules, RowsWhere, Target};

/// What the policies, which come by id, do on the source.
pub(super) fn bind<'p>(
    source: &DataSource,
    policies: impl Iterator<Item = &'p Prepared>,
    catalog: &Catalog<'_>,
) -> Bound {
    let mut digest = Digest::writer("source");
    digest.number(source.id.0);
    for column in source.places() {
        digest.number(column.id.0);
        digest.text(column.name.as_str());
        digest.text(&column.data_type.to_string());
    }
    let ancestors = source.lineage.as_ref().map(|_| ancestors(source, &|id| catalog.by_id(id)));
    if let Some(ancestors) = &ancestors {
        digest.text(&format!("{ancestors:?}"));
    }
    let bound = Bound {
        digest: digest.finish(),
        ancestors,
        entries: Vec::new(),
        limits: Vec::new(),
        rows: Vec::new(),
        masks: Vec::new(),
        columns: Vec::new(),
        may_close: false,
        problems: Vec::new(),
    };
    let mut binder = Binder { source, catalog, bound };
    for policy in policies.filter(|policy| policy.stored.policy.is_in_effect()) {
        binder.policy(policy);
    }
    binder.finish()
}

struct Binder<'a> {
    source: &'a DataSource,
    catalog: &'a Catalog<'a>,
    bound: Bound,
}

impl Binder<'_> {
    /// Puts columns and their masks in order.
    fn finish(self) -> Bound {
        let Self { source, mut bound, .. } = self;
        bound.columns.sort_by_key(|masked| source.places().position(|place| place.id == masked.column));
        for column in &mut bound.columns {
            // Policies came by id, and the sort keeps that order among equals: the earliest authored wins a tie.
            column.candidates.sort_by_key(|candidate| Reverse((candidate.closeness, candidate.priority)));
        }
        bound.may_close = bound.has_what_closes();
        bound
    }

    fn policy(&mut self, policy: &Prepared) {
        let covered = match &policy.reach {
            Ok(reach) => reach.covers(self.source, self.catalog),
            // A policy of which nobody can say where it holds, holds everywhere.
            Err(_) => true,
        };
        if !covered {
            return;
        }
        match (&policy.action, &policy.stored.policy.statement.body, &policy.reach) {
            (Prepare::Subscription(who), Body::Subscribe(subscribe), _) => {
                let entry = Entry { policy: Arc::clone(&policy.named), merge: subscribe.merge, who: who.clone() };
                self.bound.entries.push(entry);
            }
            (Prepare::Data(scopes), Body::Data(cascade), Ok(_)) => {
                self.data(&On { policy, scopes }, cascade);
            }
            (Prepare::Data(_), Body::Data(_), Err(why)) => self.bound.rows.push(closing(policy, &why.message)),
            // A policy is prepared as what it is.
            (Prepare::Subscription(_), Body::Data(_), _) | (Prepare::Data(_), Body::Subscribe(_), _) => {
                self.bound.rows.push(closing(policy, "it is of two kinds"));
            }
        }
    }

    fn data(&mut self, on: &On<'_>, cascade: &Cascade) {
        let Prepared { stored, patterns, .. } = on.policy;
        let policy = DataPolicy::with(cascade, &stored.policy.statement.on, Arc::clone(patterns));
        match policy.about() {
            About::Rows => match policy.rows_on(self.source, self.catalog) {
                RowRules::PassedOver(_) => {}
                RowRules::Here(rules) => self.rows(on, rules),
            },
            About::Columns => self.masks(on, policy.masks_on(self.source, self.catalog)),
            About::Purposes => self.limits(on, &policy.purposes()),
        }
    }

    fn rows(&mut self, on: &On<'_>, rules: Vec<Result<RowsWhere, Diagnostic>>) {
        let mut bodies = Vec::with_capacity(rules.len());
        for (number, rule) in rules.into_iter().enumerate() {
            let rule = rule.and_then(|RowsWhere { expr, reads }| {
                let digest = on.digest("row rule", number, &expr)?;
                Ok(RowRule { digest, reads, parts: parts(expr) })
            });
            bodies.push(rule.map_err(|why| self.broken(on, why)));
        }
        self.bound.rows.push(on.rules(bodies));
    }

    fn limits(&mut self, on: &On<'_>, rules: &[Result<Vec<&PurposeName>, Diagnostic>]) {
        let bodies = rules
            .iter()
            .map(|rule| match rule {
                Ok(purposes) => Ok(purposes.iter().map(|purpose| Mark::purpose(purpose.as_str())).collect()),
                Err(why) => Err(self.broken(on, why.clone())),
            })
            .collect();
        self.bound.limits.push(on.rules(bodies));
    }

    fn masks(&mut self, on: &On<'_>, rules: Vec<MaskRule>) {
        if rules.iter().all(|rule| rule.targets.is_empty() && rule.broken.is_none()) {
            return;
        }
        let policy = self.bound.masks.len();
        let mut bodies = Vec::with_capacity(rules.len());
        for (rule, MaskRule { targets, when, reads, broken, .. }) in rules.into_iter().enumerate() {
            bodies.push(broken.map(|why| self.broken(on, why)));
            for Target { column, closeness, mask, instead_of } in targets {
                let mask = mask.and_then(|mask| Ok((on.digest("mask rule", rule, &(column, &mask, &when))?, mask)));
                let (digest, applied) = match mask {
                    Ok((digest, mask)) => {
                        let policy = on.policy.stored.id;
                        (digest, Ok(Arc::new(AppliedMask { mask, when: None, otherwise: None, policy, instead_of })))
                    }
                    Err(why) => ([0; 16], Err(self.broken(on, why))),
                };
                let when = when.clone().map(parts);
                let priority = on.policy.stored.policy.priority;
                let reads = reads.clone();
                let candidate = Candidate { policy, rule, closeness, priority, digest, applied, when, reads };
                self.candidate(column, candidate);
            }
        }
        self.bound.masks.push(on.rules(bodies));
    }

    fn candidate(&mut self, id: ColumnId, candidate: Candidate) {
        if let Some(column) = self.bound.columns.iter_mut().find(|column| column.column == id) {
            column.candidates.push(candidate);
        } else if let Some(column) = self.source.place_by_id(id) {
            let name = column.name.clone();
            self.bound.columns.push(MaskedColumn { column: id, name, candidates: vec![candidate] });
        }
    }

    fn broken(&mut self, on: &On<'_>, why: Diagnostic) -> String {
        let message = why.message.clone();
        self.bound.problems.push((on.policy.stored.id, why));
        message
    }
}

/// Closes the source to everyone.
fn closing(policy: &Prepared, why: &str) -> Rules<Result<RowRule, String>> {
    let scopes = [Scope::Everyone].into();
    Rules { policy: Arc::clone(&policy.named), scopes, bodies: vec![Err(why.to_owned())] }
}

/// One policy on one source.
struct On<'a> {
    policy: &'a Prepared,
    scopes: &'a Arc<[Scope]>,
}

impl On<'_> {
    fn rules<T>(&self, bodies: Vec<T>) -> Rules<T> {
        Rules { policy: Arc::clone(&self.policy.named), scopes: Arc::clone(self.scopes), bodies }
    }

    fn digest(&self, kind: &str, rule: usize, content: &impl serde::Serialize) -> Result<[u8; 16], Diagnostic> {
        let mut digest = Digest::writer(kind);
        digest.number(self.policy.stored.id.0);
        digest.bytes(&(rule as u64).to_le_bytes());
        digest
            .value(content)
            .map_err(|e| Diagnostic::error("policy::content", format!("cannot be written down: {e}")))?;
        Ok(digest.finish().short())
    }
}

/// The conjuncts of a condition, those that ask nothing about the person made ready.
fn parts(expr: Expr<UserTerm>) -> Vec<Part> {
    let conjuncts = match expr {
        Expr::And(parts) => parts,
        expr if expr.is_literal(true) => Vec::new(),
        expr => vec![expr],
    };
    let mut parts = Vec::with_capacity(conjuncts.len());
    for part in conjuncts {
        match part.without_questions() {
            Some(fixed) => fixed_parts(fixed, &mut parts),
            None => parts.push(Part::Open(part.answered(&mut Marking))),
        }
    }
    parts
}

fn fixed_parts(fixed: Residual, into: &mut Vec<Part>) {
    match fixed {
        Expr::And(parts) => parts.into_iter().for_each(|part| fixed_parts(part, into)),
        always if always.is_literal(true) => {}
        never if never.is_literal(false) => into.push(Part::Never),
        fixed => into.push(Part::Fixed(Arc::new(fixed))),
    }
}
