//! A policy made ready once, whatever sources there are.

use std::collections::BTreeSet;
use std::sync::Arc;

use weir_model::{PrincipalSet, SourceName};

use super::governed::{Named, Scope, Who};
use super::keys::Needs;
use super::mark::Held;
use crate::ast::{
    self, Action, Approver, Body, Circumstance, Circumstances, LookupQuery, Method, Policy, Predicate, RowCondition,
    Subscribe, Subscribers, UserCall,
};
use crate::diagnostic::Diagnostic;
use crate::facts::StoredPolicy;
use crate::resolve::{Patterns, Reach, patterns};

#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) stored: StoredPolicy,
    pub(super) named: Arc<Named>,
    /// Or why nobody can say where it holds.
    pub(super) reach: Result<Reach, Diagnostic>,
    pub(super) patterns: Patterns,
    pub(super) action: Prepare,
    pub(super) needs: Needs,
    /// The sources that it looks something up in.
    pub(super) lookups: BTreeSet<SourceName>,
    /// Whether it depends on the groups of owners.
    pub(super) asks_for_owners: bool,
}

#[derive(Debug)]
pub(super) enum Prepare {
    Subscription(Who),
    /// The scopes of the rules.
    Data(Arc<[Scope]>),
}

impl Prepared {
    pub(super) fn new(stored: StoredPolicy) -> Self {
        let StoredPolicy { id, policy } = &stored;
        let reach = Reach::new(&policy.key, &policy.statement.on);
        let (patterns, action) = match &policy.statement.body {
            Body::Subscribe(subscribe) => (Patterns::default(), Prepare::Subscription(who(subscribe, &reach))),
            Body::Data(cascade) => {
                let scopes = cascade.rules.iter().map(|rule| scope(&rule.scope)).collect();
                (patterns(cascade), Prepare::Data(scopes))
            }
        };
        Self {
            named: Arc::new(Named { id: *id, key: policy.key.as_str().into(), name: policy.key.clone() }),
            needs: Needs::of(policy, &reach, &patterns),
            lookups: lookups(policy),
            asks_for_owners: asks_for_owners(&policy.statement.on),
            reach,
            patterns,
            action,
            stored,
        }
    }

    /// Whom it asks, when it takes people in on request.
    pub(crate) fn approvers(&self) -> Option<&[Approver]> {
        match &self.stored.policy.statement.body {
            Body::Subscribe(Subscribe { who: Subscribers::Asking(approvers), .. }) => Some(approvers),
            Body::Subscribe(_) | Body::Data(_) => None,
        }
    }
}

/// A policy of which nobody can say where it holds takes nobody in.
fn who(subscribe: &Subscribe, reach: &Result<Reach, Diagnostic>) -> Who {
    match &subscribe.who {
        _ if reach.is_err() => Who::Nobody,
        Subscribers::Anyone => Who::Anyone,
        Subscribers::When(condition) => Who::When(Held::from(condition)),
        Subscribers::Asking(_) => Who::Approved,
        Subscribers::Selected => Who::Selected,
    }
}

fn scope(scope: &ast::Scope) -> Scope {
    match scope {
        ast::Scope::Everyone => Scope::Everyone,
        ast::Scope::EveryoneExcept(condition) => Scope::Except(Held::from(condition)),
        ast::Scope::Who(condition) => Scope::Who(Held::from(condition)),
    }
}

fn asks_for_owners(on: &Circumstances) -> bool {
    let asks = |one: &Circumstance| match one {
        Circumstance::OwnedBy(PrincipalSet::User(_) | PrincipalSet::Group(_)) => true,
        Circumstance::SourceTagged(_)
        | Circumstance::ColumnTagged(_)
        | Circumstance::ColumnNamedLike { .. }
        | Circumstance::NoTags
        | Circumstance::AnyTag
        | Circumstance::InSchema(_)
        | Circumstance::ChosenByOwner => false,
    };
    match on {
        Circumstances::Any(all) | Circumstances::All(all) => all.iter().any(asks),
        Circumstances::AllSources | Circumstances::Named(_) => false,
    }
}

fn lookups(policy: &Policy) -> BTreeSet<SourceName> {
    let mut found = BTreeSet::new();
    let Body::Data(cascade) = &policy.statement.body else { return found };
    for rule in &cascade.rules {
        match &rule.action {
            Action::Mask(mask) => {
                mask.when.iter().for_each(|when| of_predicate(when, &mut found));
                for method in mask.methods() {
                    if let Method::Custom(expression) = &method.node {
                        of_predicate(expression, &mut found);
                    }
                }
            }
            Action::ShowRows(RowCondition::Where(predicate)) => of_predicate(predicate, &mut found),
            Action::ShowRows(RowCondition::Match { .. } | RowCondition::Time(_) | RowCondition::Sample(_))
            | Action::LimitToPurposes(_) => {}
        }
    }
    found
}

fn of_predicate(predicate: &Predicate, found: &mut BTreeSet<SourceName>) {
    let mut all = |parts: &[&Predicate]| parts.iter().for_each(|part| of_predicate(part, found));
    match predicate {
        Predicate::Literal(_) | Predicate::Column(_) => {}
        Predicate::Compare { left, right, .. } => all(&[left, right]),
        Predicate::Between { value, low, high, .. } => all(&[value, low, high]),
        Predicate::In { value, list, .. } => {
            all(&[value]);
            list.iter().for_each(|part| of_predicate(part, found));
        }
        Predicate::InLookup { value, lookup, .. } => {
            all(&[value]);
            of_lookup(lookup, found);
        }
        Predicate::Exists { lookup, .. } => of_lookup(lookup, found),
        Predicate::Like { value, pattern, .. } => all(&[value, pattern]),
        Predicate::IsNull { value, .. } => all(&[value]),
        Predicate::And(parts) | Predicate::Or(parts) | Predicate::Call { args: parts, .. } => {
            parts.iter().for_each(|part| of_predicate(part, found));
        }
        Predicate::Not(inner) => all(&[inner]),
        Predicate::User(call) => match &call.node {
            UserCall::AttributeValuesContains(_, value, _)
            | UserCall::GroupsContains(value, _)
            | UserCall::PurposesContains(value, _)
            | UserCall::InterpolatedComparison { value, .. } => all(&[value]),
            UserCall::Username
            | UserCall::Iam
            | UserCall::IsInGroups(_)
            | UserCall::HasAttribute(..)
            | UserCall::IsUsingPurpose(_)
            | UserCall::MaskedColumn
            | UserCall::ColumnTagged(_)
            | UserCall::ColumnReference(_) => {}
        },
    }
}

fn of_lookup(LookupQuery { source, alias: _, key, filter }: &LookupQuery, found: &mut BTreeSet<SourceName>) {
    found.insert(source.node.clone());
    key.iter().chain(filter).for_each(|part| of_predicate(part, found));
}
