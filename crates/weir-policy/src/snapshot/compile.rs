//! From facts to a snapshot.
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever is no conjunction is one conjunct")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_model::{ColumnId, DataSource, Epoch, PolicyKey, PrincipalId, PurposeName, SourceId, SourceName};

use super::fingerprint::Digest;
use super::governed::{Candidate, Entry, Governed, MaskedColumn, Named, Part, RowRule, Rules, Scope, Who};
use super::person::Person;
use super::project::InProject;
use super::vocabulary::Vocabulary;
use super::{Problem, Snapshot};
use crate::ast::{self, Body, Cascade, Circumstances, Subscribe, Subscribers};
use crate::decision::Effect;
use crate::diagnostic::Diagnostic;
use crate::expr::{Expr, UserTerm};
use crate::facts::{Facts, StoredPolicy};
use crate::resolve::{About, Catalog, DataPolicy, MaskRule, Reach, RowRules, Target};

pub(super) fn compile(facts: Facts) -> Snapshot {
    let Facts { epoch, principals, mut sources, mut policies, selected, approved, chosen, projects, impersonations } =
        facts;
    policies.sort_by_key(|stored| stored.id);
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    let catalog = Catalog::new(&sources, &principals, &chosen);
    let mut compiler = Compiler {
        vocabulary: Vocabulary::default(),
        governed: sources.iter().map(|source| (source.id, governed(source, &selected, &approved))).collect(),
        problems: Vec::new(),
    };
    for stored in policies.iter().filter(|stored| stored.policy.is_in_effect()) {
        compiler.policy(stored, &catalog);
    }
    let Compiler { vocabulary, mut governed, problems } = compiler;
    for governed in governed.values_mut() {
        finish(governed);
    }
    let people: BTreeMap<_, _> = principals.into_iter().map(|p| (p.id.clone(), Person::new(p, &vocabulary))).collect();
    let names = governed.values().map(|governed| (governed.source.name.clone(), governed.source.id)).collect();
    let projects = projects
        .iter()
        .map(|project| (project.name.clone(), InProject::new(project, &people, &sources, &vocabulary)))
        .collect();
    let epoch = epoch.unwrap_or(Epoch(0));
    Snapshot { epoch, people, projects, impersonations, sources: governed, names, policies, problems }
}

/// Puts columns and their masks in order.
fn finish(governed: &mut Governed) {
    let Governed { source, columns, .. } = governed;
    columns.sort_by_key(|masked| source.places().position(|place| place.id == masked.column));
    for column in columns {
        // Policies came by id, and the sort keeps that order among equals: the earliest authored wins a tie.
        column.candidates.sort_by_key(|candidate| Reverse((candidate.closeness, candidate.priority)));
    }
    governed.may_close = governed.has_what_closes();
}

fn governed(
    source: &DataSource,
    selected: &BTreeSet<(SourceId, PrincipalId)>,
    approved: &BTreeSet<(SourceId, PrincipalId)>,
) -> Governed {
    let mut digest = Digest::writer("source");
    digest.number(source.id.0);
    for column in source.places() {
        digest.number(column.id.0);
        digest.text(column.name.as_str());
        digest.text(&column.data_type.to_string());
    }
    let here = |all: &BTreeSet<(SourceId, PrincipalId)>| {
        all.iter().filter(|(id, _)| *id == source.id).map(|(_, person)| person.clone()).collect()
    };
    Governed {
        source: source.clone(),
        digest: digest.finish(),
        selected: here(selected),
        approved: here(approved),
        entries: Vec::new(),
        limits: Vec::new(),
        rows: Vec::new(),
        masks: Vec::new(),
        columns: Vec::new(),
        may_close: false,
    }
}

struct Compiler {
    vocabulary: Vocabulary,
    governed: BTreeMap<SourceId, Governed>,
    problems: Vec<Problem>,
}

impl Compiler {
    fn policy(&mut self, stored: &StoredPolicy, catalog: &Catalog<'_>) {
        let policy = &stored.policy;
        let named = Arc::new(Named { id: stored.id, key: policy.key.as_str().into(), name: policy.key.clone() });
        let reach = Reach::new(&policy.key, &policy.statement.on);
        if let Err(why) = &reach {
            self.problem(&policy.key, None, why.clone());
        }
        if let Circumstances::Named(names) = &policy.statement.on {
            for name in names.iter().filter(|name| catalog.get(&name.node).is_none()) {
                let message = format!("data source `{}` is not registered any more", name.node);
                self.problem(&policy.key, None, Diagnostic::error("policy::unknown-data-source", message));
            }
        }
        match &policy.statement.body {
            Body::Subscribe(subscribe) => self.subscription(subscribe, &named, reach.as_ref().ok(), catalog),
            Body::Data(cascade) => match &reach {
                Ok(reach) => self.data(stored, cascade, &named, reach, catalog),
                Err(why) => self.close_all(&named, why),
            },
        }
    }

    fn problem(&mut self, policy: &PolicyKey, source: Option<&SourceName>, diagnostic: Diagnostic) {
        self.problems.push(Problem { policy: policy.clone(), source: source.cloned(), diagnostic });
    }

    /// A policy of which nobody can say where it holds, holds everywhere and takes nobody in.
    fn subscription(
        &mut self,
        subscribe: &Subscribe,
        policy: &Arc<Named>,
        reach: Option<&Reach>,
        catalog: &Catalog<'_>,
    ) {
        for governed in self.governed.values_mut() {
            if !reach.is_none_or(|reach| reach.covers(&governed.source, catalog)) {
                continue;
            }
            let who = match &subscribe.who {
                _ if reach.is_none() => Who::Nobody,
                Subscribers::Anyone => Who::Anyone,
                Subscribers::When(condition) => Who::When(self.vocabulary.held(condition)),
                Subscribers::Asking(_) => Who::Approved,
                Subscribers::Selected => Who::Selected,
            };
            governed.entries.push(Entry { policy: Arc::clone(policy), merge: subscribe.merge, who });
        }
    }

    fn close_all(&mut self, policy: &Arc<Named>, why: &Diagnostic) {
        let scopes: Arc<[Scope]> = [Scope::Everyone].into();
        for governed in self.governed.values_mut() {
            governed.rows.push(Rules {
                policy: Arc::clone(policy),
                scopes: Arc::clone(&scopes),
                bodies: vec![Err(why.message.clone())],
            });
        }
    }

    fn data(
        &mut self,
        stored: &StoredPolicy,
        cascade: &Cascade,
        named: &Arc<Named>,
        reach: &Reach,
        catalog: &Catalog<'_>,
    ) {
        let policy = DataPolicy::new(cascade, &stored.policy.statement.on);
        let scopes: Arc<[Scope]> = policy.rules().iter().map(|rule| self.scope(&rule.scope)).collect();
        for source in catalog.sources().iter().filter(|source| reach.covers(source, catalog)) {
            let on = On { stored, named, scopes: &scopes, source };
            match policy.about() {
                About::Rows => match policy.rows_on(source, catalog) {
                    RowRules::PassedOver(_) => {}
                    RowRules::Here(rules) => self.rows(&on, rules),
                },
                About::Columns => self.masks(&on, policy.masks_on(source, catalog)),
                About::Purposes => self.limits(&on, &policy.purposes()),
            }
        }
    }

    fn scope(&mut self, scope: &ast::Scope) -> Scope {
        match scope {
            ast::Scope::Everyone => Scope::Everyone,
            ast::Scope::EveryoneExcept(condition) => Scope::Except(self.vocabulary.held(condition)),
            ast::Scope::Who(condition) => Scope::Who(self.vocabulary.held(condition)),
        }
    }

    fn rows(&mut self, on: &On<'_>, rules: Vec<Result<Expr<UserTerm>, Diagnostic>>) {
        let mut bodies = Vec::with_capacity(rules.len());
        for (number, rule) in rules.into_iter().enumerate() {
            let rule = rule.and_then(|expr| {
                let digest = on.digest("row rule", number, &expr)?;
                Ok(RowRule { digest, parts: parts(expr, &mut self.vocabulary) })
            });
            bodies.push(rule.map_err(|why| self.broken(on, why)));
        }
        if let Some(governed) = self.governed.get_mut(&on.source.id) {
            governed.rows.push(on.rules(bodies));
        }
    }

    fn limits(&mut self, on: &On<'_>, rules: &[Result<Vec<&PurposeName>, Diagnostic>]) {
        let bodies = rules
            .iter()
            .map(|rule| match rule {
                Ok(purposes) => Ok(purposes.iter().map(|purpose| self.vocabulary.purpose(purpose)).collect()),
                Err(why) => Err(self.broken(on, why.clone())),
            })
            .collect();
        if let Some(governed) = self.governed.get_mut(&on.source.id) {
            governed.limits.push(on.rules(bodies));
        }
    }

    fn masks(&mut self, on: &On<'_>, rules: Vec<MaskRule>) {
        if rules.iter().all(|rule| rule.targets.is_empty() && rule.broken.is_none()) {
            return;
        }
        let Some(policy) = self.governed.get(&on.source.id).map(|governed| governed.masks.len()) else { return };
        let mut bodies = Vec::with_capacity(rules.len());
        for (rule, MaskRule { targets, when, broken, .. }) in rules.into_iter().enumerate() {
            bodies.push(broken.map(|why| self.broken(on, why)));
            for Target { column, closeness, mask } in targets {
                let mask = mask.and_then(|mask| Ok((on.digest("mask rule", rule, &(column, &mask, &when))?, mask)));
                let (digest, mask) = match mask {
                    Ok((digest, mask)) => (digest, Ok(mask)),
                    Err(why) => ([0; 16], Err(self.broken(on, why))),
                };
                let when = when.clone().map(|when| parts(when, &mut self.vocabulary));
                let priority = on.stored.policy.priority;
                let candidate = Candidate { policy, rule, closeness, priority, digest, mask, when };
                self.candidate(on.source, column, candidate);
            }
        }
        if let Some(governed) = self.governed.get_mut(&on.source.id) {
            governed.masks.push(on.rules(bodies));
        }
    }

    fn candidate(&mut self, source: &DataSource, id: ColumnId, candidate: Candidate) {
        let Some(governed) = self.governed.get_mut(&source.id) else { return };
        if let Some(column) = governed.columns.iter_mut().find(|column| column.column == id) {
            column.candidates.push(candidate);
        } else if let Some(column) = source.place_by_id(id) {
            let effect = Effect::Mask { column: column.name.clone() };
            governed.columns.push(MaskedColumn { column: id, effect, candidates: vec![candidate] });
        }
    }

    fn broken(&mut self, on: &On<'_>, why: Diagnostic) -> String {
        let message = why.message.clone();
        self.problem(&on.stored.policy.key, Some(&on.source.name), why);
        message
    }
}

/// One policy on one source.
struct On<'a> {
    stored: &'a StoredPolicy,
    named: &'a Arc<Named>,
    scopes: &'a Arc<[Scope]>,
    source: &'a DataSource,
}

impl On<'_> {
    fn rules<T>(&self, bodies: Vec<T>) -> Rules<T> {
        Rules { policy: Arc::clone(self.named), scopes: Arc::clone(self.scopes), bodies }
    }

    fn digest(&self, kind: &str, rule: usize, content: &impl serde::Serialize) -> Result<[u8; 16], Diagnostic> {
        let mut digest = Digest::writer(kind);
        digest.number(self.named.id.0);
        digest.bytes(&(rule as u64).to_le_bytes());
        digest
            .value(content)
            .map_err(|e| Diagnostic::error("policy::content", format!("cannot be written down: {e}")))?;
        Ok(digest.finish().short())
    }
}

/// The conjuncts of a condition, those that ask nothing about the person made ready.
fn parts(expr: Expr<UserTerm>, vocabulary: &mut Vocabulary) -> Vec<Part> {
    let conjuncts = match expr {
        Expr::And(parts) => parts,
        expr if expr.is_literal(true) => Vec::new(),
        expr => vec![expr],
    };
    conjuncts
        .into_iter()
        .map(|part| match part.without_questions() {
            Some(fixed) => Part::Fixed(fixed),
            None => Part::Open(part.answered(vocabulary)),
        })
        .collect()
}
