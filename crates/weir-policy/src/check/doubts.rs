//! What may be saved and is probably not meant.

use weir_model::{DataSource, Value};

use crate::ast::{Action, Body, Merge, Policy, Predicate, RowCondition, Subscribe};
use crate::diagnostic::Diagnostic;
use crate::expr::{Expr, UserTerm};
use crate::facts::{Facts, StoredPolicy};
use crate::resolve::lands_on;

/// How many sources a message lists.
const LISTED_MAX: usize = 3;

/// A required subscription narrows what others allow. Where there are no others it lets people in by itself.
pub(super) fn required_alone(
    policy: &Policy,
    subscribe: &Subscribe,
    sources: &[&DataSource],
    facts: &Facts,
) -> Option<Diagnostic> {
    match subscribe.merge {
        Merge::Require => {}
        Merge::Share => return None,
    }
    let shares = |stored: &&StoredPolicy| match &stored.policy.statement.body {
        Body::Subscribe(Subscribe { merge: Merge::Share, .. }) => {
            stored.policy.key != policy.key && stored.policy.is_in_effect()
        }
        Body::Subscribe(Subscribe { merge: Merge::Require, .. }) | Body::Data(_) => false,
    };
    let shared: Vec<&StoredPolicy> = facts.policies.iter().filter(shares).collect();
    let alone = sources.iter().filter(|source| !shared.iter().any(|stored| lands_on(facts, &stored.policy, source)));
    let names: Vec<String> = alone.map(|source| format!("`{}`", source.name)).collect();
    let listed = names.get(..LISTED_MAX).unwrap_or(&names).join(", ");
    let more = match names.len().saturating_sub(LISTED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message =
        format!("everyone whom the policy takes in is subscribed to {listed}{more}, where no other one decides");
    let help = "an `always required` policy narrows what others allow; add one without these words, or leave them out";
    (!names.is_empty()).then(|| Diagnostic::warning("policy::required-alone", message).help(help))
}

/// A condition that is the same for every row, other than `TRUE` or `FALSE` themselves, which are meant.
pub(super) fn same_for_all(action: &Action, bound: &[&Expr<UserTerm>]) -> Option<Diagnostic> {
    let (predicate, always, never) = match action {
        Action::ShowRows(RowCondition::Where(predicate)) => (Some(predicate), "all rows are shown", "no row is shown"),
        Action::Mask(mask) => (mask.when.as_ref(), "all rows are masked", "no row is masked"),
        Action::ShowRows(RowCondition::Match { .. } | RowCondition::Time(_) | RowCondition::Sample(_))
        | Action::LimitToPurposes(_) => return None,
    };
    if bound.is_empty() || matches!(predicate?, Predicate::Literal(Value::Boolean(_))) {
        return None;
    }
    let (code, what, so) = if bound.iter().all(|condition| condition.is_literal(true)) {
        ("policy::always-true", "always", always)
    } else if bound.iter().all(|condition| condition.is_literal(false)) {
        ("policy::never-true", "never", never)
    } else {
        return None;
    };
    let message = format!("the condition is {what} true, whatever the row: {so}");
    let literal = if what == "always" { "TRUE" } else { "FALSE" };
    Some(Diagnostic::warning(code, message).help(format!("write `{literal}` if that is meant")))
}
