//! Whether a policy fits the facts: unknown names, masks that do not fit their column, rules that can never match.

mod doubts;
mod names;

use weir_model::{DataSource, Tag};

use crate::ast::{
    Action, At, Body, Cascade, Circumstance, Circumstances, Columns, Match, Method, Policy, RowCondition, Rule, Scope,
    Subscribers,
};
use crate::diagnostic::Diagnostic;
use crate::facts::Facts;
use crate::resolve::{About, Absence, Catalog, DataPolicy, MaskRule, Reach, RowRules, placed};
use names::Known;

pub(crate) use names::suggest;

/// Everything that is wrong or doubtful with saving `policy` into `facts`, by place in the text. Of a template only the
/// shape is looked at. A policy of the
/// same key is being replaced.
pub fn check(policy: &Policy, facts: &Facts) -> Vec<Diagnostic> {
    let known = Known::new(facts);
    let mut found = Vec::new();
    if policy.template {
        // What it names may be there to be replaced.
        if let Body::Data(cascade) = &policy.statement.body {
            shape(cascade, &mut found);
        }
        found.extend(Reach::new(&policy.key, &policy.statement.on).err());
        return found;
    }
    let on = &policy.statement.on;
    circumstances(on, &known, facts, &mut found);
    match &policy.statement.body {
        Body::Subscribe(subscribe) => match &subscribe.who {
            Subscribers::When(condition) => known.condition(condition, &mut found),
            Subscribers::Asking(approvers) => known.approvers(approvers, &mut found),
            Subscribers::Anyone | Subscribers::Selected => {}
        },
        Body::Data(cascade) => {
            shape(cascade, &mut found);
            cascade.rules.iter().for_each(|rule| names(rule, &known, &mut found));
        }
    }
    match Reach::new(&policy.key, on) {
        Err(why) => found.push(why),
        Ok(reach) => reached(policy, &reach, facts, &mut found),
    }
    found.sort_by_key(|diagnostic| diagnostic.at.map_or(usize::MAX, |at| at.start));
    let mut distinct: Vec<Diagnostic> = Vec::with_capacity(found.len());
    for diagnostic in found {
        if !distinct.contains(&diagnostic) {
            distinct.push(diagnostic);
        }
    }
    distinct
}

fn circumstances(on: &Circumstances, known: &Known<'_>, facts: &Facts, found: &mut Vec<Diagnostic>) {
    match on {
        Circumstances::AllSources => {}
        Circumstances::Named(names) => {
            for At { node: name, span } in names {
                if !facts.sources.iter().any(|source| source.name == *name) {
                    let diagnostic =
                        Diagnostic::error("policy::unknown-data-source", format!("unknown data source `{name}`"));
                    let known: Vec<String> = facts.sources.iter().map(|source| source.name.to_string()).collect();
                    let diagnostic = suggest(diagnostic, &name.to_string(), known.iter().map(String::as_str));
                    found.push(placed(diagnostic, *span));
                }
            }
        }
        Circumstances::Any(tests) | Circumstances::All(tests) => {
            for test in tests {
                match test {
                    Circumstance::SourceTagged(tag) => known.source_tag(tag, found),
                    Circumstance::ColumnTagged(tag) => known.column_tag(tag, found),
                    Circumstance::OwnedBy(owners) => known.owners(owners, found),
                    Circumstance::InSchema(schema) => known.schema(schema, found),
                    Circumstance::ColumnNamedLike { .. }
                    | Circumstance::NoTags
                    | Circumstance::AnyTag
                    | Circumstance::ChosenByOwner => {}
                }
            }
        }
    }
}

/// Rules that no person reaches, and people whom no rule reaches.
fn shape(cascade: &Cascade, found: &mut Vec<Diagnostic>) {
    let Some((last, before)) = cascade.rules.split_last() else {
        found.push(Diagnostic::error("policy::empty", "the policy has no rule"));
        return;
    };
    for (number, rule) in before.iter().enumerate() {
        let repeated = before.iter().take(number).any(|earlier| earlier.scope == rule.scope);
        match &rule.scope {
            Scope::Who(_) if !repeated => {}
            Scope::Who(_) => {
                let message = format!("rule {} is never reached: an earlier rule is for the same people", number + 1);
                found.push(Diagnostic::error("policy::unreachable-rule", message));
            }
            Scope::Everyone | Scope::EveryoneExcept(_) => {
                let message = format!("the rules after rule {} are never reached: it is for everyone", number + 1);
                let help = "only the last rule may be `for everyone`; write `for everyone who …` before `otherwise`";
                found.push(Diagnostic::error("policy::unreachable-rule", message).help(help));
                break;
            }
        }
    }
    if matches!(&last.scope, Scope::Who(_)) {
        let others = match &last.action {
            Action::Mask(_) => "the policy masks nothing for all others",
            Action::ShowRows(_) => "the policy shows all rows to all others",
            Action::LimitToPurposes(_) => "the policy limits no purpose of all others",
        };
        let help = "add `otherwise … for everyone` to say what holds for them";
        found.push(Diagnostic::warning("policy::no-otherwise", others).help(help));
    }
    let picks = |rule: &Rule| match &rule.action {
        Action::Mask(action) => Some(action.columns.clone()),
        Action::ShowRows(_) | Action::LimitToPurposes(_) => None,
    };
    if before.iter().any(|rule| picks(rule).is_some() && picks(last).is_some() && picks(rule) != picks(last)) {
        let message = "the rules mask different columns, and each person falls under one rule only";
        found.push(
            Diagnostic::warning("policy::different-columns", message).help("write a policy for each set of columns"),
        );
    }
}

fn names(rule: &Rule, known: &Known<'_>, found: &mut Vec<Diagnostic>) {
    match &rule.scope {
        Scope::Everyone => {}
        Scope::EveryoneExcept(condition) | Scope::Who(condition) => known.condition(condition, found),
    }
    match &rule.action {
        Action::Mask(action) => {
            action.when.iter().for_each(|when| known.predicate(when, found));
            for method in action.methods() {
                if let Method::Custom(expression) = &method.node {
                    known.predicate(expression, found);
                }
            }
        }
        Action::LimitToPurposes(purposes) => {
            purposes.iter().for_each(|purpose| known.purpose(&purpose.node, purpose.span, found));
        }
        Action::ShowRows(RowCondition::Where(predicate)) => known.predicate(predicate, found),
        Action::ShowRows(RowCondition::Match { user: Match::Attribute(key), .. }) => {
            known.key(&key.node, key.span, found)
        }
        Action::ShowRows(
            RowCondition::Match { user: Match::Group | Match::Purpose, .. }
            | RowCondition::Time(_)
            | RowCondition::Sample(_),
        ) => {}
    }
}

/// Tries the policy on every source that it reaches.
fn reached(policy: &Policy, reach: &Reach, facts: &Facts, found: &mut Vec<Diagnostic>) {
    if facts.sources.is_empty() {
        let message = "the policy holds nowhere yet: no data source is registered";
        found.push(Diagnostic::warning("policy::never-matches", message));
        return;
    }
    let catalog = Catalog::new(&facts.sources, &facts.principals, &facts.chosen);
    let sources: Vec<&DataSource> = facts.sources.iter().filter(|source| reach.covers(source, &catalog)).collect();
    if sources.is_empty() {
        if waits_for_owners(&policy.statement.on) {
            let message = "the policy holds nowhere yet: no owner has chosen it";
            found.push(Diagnostic::warning("policy::never-matches", message));
        } else if !found.iter().any(Diagnostic::is_error) {
            let message = "the policy can never match: no data source meets all its circumstances";
            found.push(Diagnostic::error("policy::never-matches", message));
        }
        return;
    }
    match &policy.statement.body {
        Body::Subscribe(subscribe) => found.extend(doubts::required_alone(policy, subscribe, &sources, facts)),
        Body::Data(cascade) => {
            let data = DataPolicy::new(cascade, &policy.statement.on);
            match data.about() {
                About::Rows => rows(&data, &sources, &catalog, found),
                About::Columns => masks(&data, &sources, &catalog, found),
                About::Purposes => found.extend(data.purposes().into_iter().filter_map(Result::err)),
            }
        }
    }
}

/// Whether it is for owners to say where the policy holds.
fn waits_for_owners(on: &Circumstances) -> bool {
    match on {
        Circumstances::Any(tests) | Circumstances::All(tests) => tests.contains(&Circumstance::ChosenByOwner),
        Circumstances::AllSources | Circumstances::Named(_) => false,
    }
}

fn rows(policy: &DataPolicy<'_>, sources: &[&DataSource], catalog: &Catalog<'_>, found: &mut Vec<Diagnostic>) {
    let mut absences: Vec<Absence> = Vec::new();
    let mut bound = Vec::new();
    for source in sources {
        match policy.rows_on(source, catalog) {
            RowRules::PassedOver(absence) if absences.contains(&absence) => {}
            RowRules::PassedOver(absence) => absences.push(absence),
            RowRules::Here(rules) => bound.push(rules),
        }
    }
    if bound.is_empty() {
        found.extend(absences.iter().map(|absence| absence.on(sources)));
        return;
    }
    let hides_all = bound.iter().all(|rules| matches!(rules.as_slice(), [Ok(only)] if only.expr.is_literal(false)));
    if hides_all && matches!(policy.rules(), [Rule { scope: Scope::Everyone, .. }]) {
        let message = "the condition can never be true: the policy hides every row from everyone";
        found.push(Diagnostic::error("policy::never-matches", message));
    }
    if !found.iter().any(|diagnostic| diagnostic.code == "policy::never-matches") {
        for (number, rule) in policy.rules().iter().enumerate() {
            let here: Vec<_> = bound.iter().filter_map(|rules| Some(&rules.get(number)?.as_ref().ok()?.expr)).collect();
            found.extend(doubts::same_for_all(&rule.action, &here));
        }
    }
    found.extend(bound.into_iter().flatten().filter_map(Result::err));
}

fn masks(policy: &DataPolicy<'_>, sources: &[&DataSource], catalog: &Catalog<'_>, found: &mut Vec<Diagnostic>) {
    let per_source: Vec<Vec<MaskRule>> = sources.iter().map(|source| policy.masks_on(source, catalog)).collect();
    for (number, rule) in policy.rules().iter().enumerate() {
        let bound: Vec<&MaskRule> = per_source.iter().filter_map(|rules| rules.get(number)).collect();
        found.extend(bound.iter().filter_map(|bound| bound.broken.clone()));
        found.extend(bound.iter().flat_map(|bound| &bound.targets).filter_map(|target| target.mask.clone().err()));
        if let Action::Mask(action) = &rule.action
            && bound.iter().all(|bound| bound.broken.is_none())
        {
            let idle = idle(&action.columns, &bound, sources);
            if idle.is_empty() {
                let working = bound.iter().filter(|bound| !bound.targets.is_empty());
                let conditions: Vec<_> = working.filter_map(|bound| bound.when.as_ref()).collect();
                found.extend(doubts::same_for_all(&rule.action, &conditions));
            }
            found.extend(idle);
        }
    }
}

/// What a mask rule speaks of that no source has, or why it masks nothing anywhere.
fn idle(columns: &Columns, bound: &[&MaskRule], sources: &[&DataSource]) -> Vec<Diagnostic> {
    let mut absences: Vec<&Absence> = Vec::new();
    let (first, others) = bound
        .split_first()
        .map_or((&[] as &[Absence], &[] as &[&MaskRule]), |(first, others)| (first.passed_over.as_slice(), others));
    absences.extend(first.iter().filter(|absence| others.iter().all(|bound| bound.passed_over.contains(absence))));
    let mut working = bound.iter().filter(|bound| !bound.targets.is_empty()).peekable();
    if working.peek().is_none() {
        for absence in bound.iter().filter_map(|bound| bound.without_condition.as_ref()) {
            if !absences.contains(&absence) {
                absences.push(absence);
            }
        }
        if absences.is_empty() {
            return vec![no_column(columns, sources)];
        }
    } else if working.all(|bound| bound.when.as_ref().is_some_and(|when| when.is_literal(false))) {
        let message = "the condition can never be true: the policy masks nothing";
        return vec![Diagnostic::error("policy::never-matches", message)];
    }
    absences.into_iter().map(|absence| absence.on(sources)).collect()
}

/// No source has a column that the rule picks.
fn no_column(columns: &Columns, sources: &[&DataSource]) -> Diagnostic {
    let all = || sources.iter().flat_map(|source| source.places());
    let none = |what: String| Diagnostic::error("policy::never-matches", format!("the policy can never match: {what}"));
    match columns {
        Columns::Tagged(tag) => {
            let diagnostic = Diagnostic::error("policy::unknown-tag", format!("no column is tagged `{}`", tag.node));
            let known = all().flat_map(|column| &column.tags).map(Tag::as_str);
            placed(suggest(diagnostic, tag.node.as_str(), known), tag.span)
        }
        Columns::NamedLike { pattern, .. } => {
            placed(none(format!("no column is named like `{}`", pattern.node)), pattern.span)
        }
        Columns::AnyTag => none("no column has a tag".to_owned()),
        Columns::NoTags => none("every column has a tag".to_owned()),
        Columns::Named(_) | Columns::All => none("no data source has such a column".to_owned()),
    }
}
