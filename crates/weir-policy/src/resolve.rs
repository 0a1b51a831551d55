//! From a policy as written to one bound to the columns of a source.

mod literal;
mod mask;
mod predicate;
mod reach;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use regex::Regex;
use weir_model::{
    Column, DataSource, DataType, PolicyKey, Principal, PrincipalId, PrincipalSet, PurposeName, SourceId, SourceName,
    Tag, TypeClass,
};

use crate::ast::{
    Action, At, Cascade, Circumstances, Columns, Match, MatchColumn, Policy, RowCondition, Rule, TimeWindow,
};
use crate::check::suggest;
use crate::diagnostic::{Diagnostic, Span};
use crate::exact::Exact;
use crate::expr::{Expr, Reads, UserTerm};
use crate::facts::Facts;
use crate::snapshot::Snapshot;

pub(crate) use mask::{Closeness, MaskRule, Target};
pub(crate) use reach::{Reach, Test, pattern};

/// What policies may name besides the columns of the source that they are bound to.
pub(crate) struct Catalog<'a>(Known<'a>);

enum Known<'a> {
    Facts {
        by_name: BTreeMap<&'a SourceName, &'a DataSource>,
        people: BTreeMap<&'a PrincipalId, &'a Principal>,
        chosen: &'a BTreeSet<(PolicyKey, SourceId)>,
    },
    Snapshot(&'a Snapshot),
}

impl<'a> Catalog<'a> {
    pub(crate) fn new(
        sources: &'a [DataSource],
        people: &'a [Principal],
        chosen: &'a BTreeSet<(PolicyKey, SourceId)>,
    ) -> Self {
        Self(Known::Facts {
            by_name: sources.iter().map(|source| (&source.name, source)).collect(),
            people: people.iter().map(|principal| (&principal.id, principal)).collect(),
            chosen,
        })
    }

    pub(crate) fn of(snapshot: &'a Snapshot) -> Self {
        Self(Known::Snapshot(snapshot))
    }

    fn is_owned_by(&self, source: &DataSource, owners: &PrincipalSet) -> bool {
        let known = |id: &PrincipalId| match &self.0 {
            Known::Facts { people, .. } => people.get(id).copied(),
            Known::Snapshot(snapshot) => snapshot.principal(id),
        };
        source.owners.iter().filter_map(known).any(|owner| owners.contains(owner))
    }

    fn is_chosen(&self, policy: &PolicyKey, source: &DataSource) -> bool {
        match &self.0 {
            Known::Facts { chosen, .. } => chosen.contains(&(policy.clone(), source.id)),
            Known::Snapshot(snapshot) => snapshot.is_chosen(policy, source.id),
        }
    }

    pub(crate) fn get(&self, name: &SourceName) -> Option<&'a DataSource> {
        match &self.0 {
            Known::Facts { by_name, .. } => by_name.get(name).copied(),
            Known::Snapshot(snapshot) => snapshot.source_by_name(name),
        }
    }

    pub(crate) fn by_id(&self, id: SourceId) -> Option<&'a DataSource> {
        match &self.0 {
            Known::Facts { by_name, .. } => by_name.values().copied().find(|source| source.id == id),
            Known::Snapshot(snapshot) => snapshot.source(id),
        }
    }

    /// To suggest one of them to an author. A policy that is saved has no author at hand, and there may be very many.
    fn names(&self) -> Vec<String> {
        match &self.0 {
            Known::Facts { by_name, .. } => by_name.keys().map(ToString::to_string).collect(),
            Known::Snapshot(_) => Vec::new(),
        }
    }
}

/// Whether the policy is about the source, in effect or not.
pub fn lands_on(facts: &Facts, policy: &Policy, source: &DataSource) -> bool {
    let catalog = Catalog::new(&facts.sources, &facts.principals, &facts.chosen);
    Reach::new(&policy.key, &policy.statement.on).is_ok_and(|reach| reach.covers(source, &catalog))
}

/// Why something written does not fit a source.
#[derive(Clone, Debug)]
enum Misfit {
    /// The source lacks it: a policy that reaches many sources passes this one over.
    Absent(Absence),
    /// Wrong whatever the source has.
    Wrong(Diagnostic),
}

impl Misfit {
    fn on(self, source: &DataSource) -> Diagnostic {
        match self {
            Misfit::Absent(absence) => absence.on(&[source]),
            Misfit::Wrong(diagnostic) => diagnostic,
        }
    }
}

/// A column or tagged column that a source lacks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Absence {
    pub(crate) what: Lacking,
    pub(crate) span: Option<Span>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Lacking {
    Column(String),
    ColumnTagged(Tag),
}

impl Absence {
    fn column(name: impl Into<String>, span: Option<Span>) -> Self {
        Self { what: Lacking::Column(name.into()), span }
    }

    /// As said of the sources, none of which has it.
    pub(crate) fn on(&self, sources: &[&DataSource]) -> Diagnostic {
        let place = match sources {
            [source] => format!("`{}`", source.name),
            _ => "any data source that the policy reaches".to_owned(),
        };
        let columns = || sources.iter().flat_map(|source| source.places());
        let diagnostic = match &self.what {
            Lacking::Column(name) => {
                let diagnostic =
                    Diagnostic::error("policy::unknown-column", format!("unknown column `{name}` in {place}"));
                suggest(diagnostic, name, columns().map(|column| column.name.as_str()))
            }
            Lacking::ColumnTagged(tag) => {
                let diagnostic =
                    Diagnostic::error("policy::unknown-tag", format!("no column in {place} is tagged `{tag}`"));
                suggest(diagnostic, tag.as_str(), columns().flat_map(|column| &column.tags).map(Tag::as_str))
            }
        };
        placed(diagnostic, self.span)
    }
}

/// A data policy ready to be tried against sources; its patterns are compiled once.
pub(crate) struct DataPolicy<'a> {
    cascade: &'a Cascade,
    /// The author named the sources, so what they lack is a mistake and not a reason to pass them over.
    names_sources: bool,
    patterns: Patterns,
}

/// For each rule of a policy, the pattern of [`Columns::NamedLike`].
pub(crate) type Patterns = Arc<[Option<Result<Regex, Diagnostic>>]>;

pub(crate) fn patterns(cascade: &Cascade) -> Patterns {
    let pattern_of = |rule: &Rule| match &rule.action {
        Action::Mask(action) => match &action.columns {
            Columns::NamedLike { pattern: text, case_insensitive } => Some(pattern(text, *case_insensitive)),
            Columns::Named(_) | Columns::Tagged(_) | Columns::AnyTag | Columns::NoTags | Columns::All => None,
        },
        Action::ShowRows(_) | Action::LimitToPurposes(_) => None,
    };
    cascade.rules.iter().map(pattern_of).collect()
}

/// What a policy acts on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    Columns,
    Rows,
    Purposes,
}

/// What the row rules of a policy are on one source.
pub(crate) enum RowRules {
    /// The source lacks what the rules speak of.
    PassedOver(Absence),
    /// In the order written; a rule that cannot be applied has its reason.
    Here(Vec<Result<RowsWhere, Diagnostic>>),
}

/// The condition of a row rule.
pub(crate) struct RowsWhere {
    pub(crate) expr: Expr<UserTerm>,
    pub(crate) reads: Reads,
}

impl<'a> DataPolicy<'a> {
    pub(crate) fn new(cascade: &'a Cascade, on: &Circumstances) -> Self {
        Self::with(cascade, on, patterns(cascade))
    }

    /// With the patterns of the cascade.
    pub(crate) fn with(cascade: &'a Cascade, on: &Circumstances, patterns: Patterns) -> Self {
        let names_sources = match on {
            Circumstances::Named(_) => true,
            Circumstances::AllSources | Circumstances::Any(_) | Circumstances::All(_) => false,
        };
        Self { cascade, names_sources, patterns }
    }

    pub(crate) fn rules(&self) -> &'a [Rule] {
        &self.cascade.rules
    }

    /// What the first rule is about; rules of another kind are broken.
    pub(crate) fn about(&self) -> About {
        match self.cascade.rules.first().map(|rule| &rule.action) {
            Some(Action::ShowRows(_)) => About::Rows,
            Some(Action::LimitToPurposes(_)) => About::Purposes,
            Some(Action::Mask(_)) | None => About::Columns,
        }
    }

    /// The purposes of each rule.
    pub(crate) fn purposes(&self) -> Vec<Result<Vec<&'a PurposeName>, Diagnostic>> {
        let purposes = |rule: &'a Rule| match &rule.action {
            Action::LimitToPurposes(purposes) => Ok(purposes.iter().map(|purpose| &purpose.node).collect()),
            Action::Mask(_) | Action::ShowRows(_) => Err(mixed_actions()),
        };
        self.cascade.rules.iter().map(purposes).collect()
    }

    /// The row rules on `source`. When one of them speaks of what the source lacks, the whole policy is passed over
    /// there, unless its author named the source: then that rule cannot be applied.
    pub(crate) fn rows_on(&self, source: &DataSource, catalog: &Catalog<'_>) -> RowRules {
        let mut rules = Vec::with_capacity(self.cascade.rules.len());
        for rule in &self.cascade.rules {
            let bound = match &rule.action {
                Action::ShowRows(condition) => row_condition(condition, source, catalog),
                Action::Mask(_) | Action::LimitToPurposes(_) => Err(Misfit::Wrong(mixed_actions())),
            };
            rules.push(match bound {
                Ok(expr) => Ok(RowsWhere { reads: expr.reads(), expr: expr.simplified() }),
                Err(Misfit::Absent(absence)) if !self.names_sources => return RowRules::PassedOver(absence),
                Err(misfit) => Err(misfit.on(source)),
            });
        }
        RowRules::Here(rules)
    }

    /// The mask rules on `source`, in the order written.
    pub(crate) fn masks_on(&self, source: &DataSource, catalog: &Catalog<'_>) -> Vec<MaskRule> {
        let patterns = self.patterns.iter();
        self.cascade
            .rules
            .iter()
            .zip(patterns)
            .map(|(rule, pattern)| match &rule.action {
                Action::Mask(action) => mask::bind(action, pattern.as_ref(), source, catalog, self.names_sources),
                Action::ShowRows(_) | Action::LimitToPurposes(_) => MaskRule::broken(mixed_actions()),
            })
            .collect()
    }
}

fn mixed_actions() -> Diagnostic {
    Diagnostic::error("policy::mixed-actions", "a policy acts on columns, on rows or on purposes, on one of them only")
        .help("write two policies")
}

fn row_condition(
    condition: &RowCondition,
    source: &DataSource,
    catalog: &Catalog<'_>,
) -> Result<Expr<UserTerm>, Misfit> {
    match condition {
        RowCondition::Where(predicate) => predicate::truth(predicate, source, catalog),
        RowCondition::Match { user, column } => {
            let (column, span) = match column {
                MatchColumn::Named(name) => {
                    let Some(column) = source.place(name.node.as_str()) else {
                        return Err(Misfit::Absent(Absence::column(name.node.as_str(), name.span)));
                    };
                    (one_value(column, source, name.span)?, name.span)
                }
                MatchColumn::Tagged(tag) => (tagged_column(&tag.node, tag.span, source)?, tag.span),
            };
            match column.data_type.class() {
                TypeClass::Boolean | TypeClass::Number | TypeClass::Text | TypeClass::Date | TypeClass::Timestamp => {}
                TypeClass::Binary | TypeClass::Time | TypeClass::Nested => {
                    let what = match user {
                        Match::Group => "a group",
                        Match::Attribute(_) => "an attribute value",
                        Match::Purpose => "a purpose",
                    };
                    let message = format!(
                        "column `{}.{}` is {}, which cannot be matched with {what}",
                        source.name, column.name, column.data_type
                    );
                    return Err(Misfit::Wrong(placed(Diagnostic::error("policy::type-mismatch", message), span)));
                }
            }
            let value = Box::new(Expr::Column(column.id));
            Ok(Expr::User(match user {
                Match::Group => UserTerm::GroupsContain { value, placeholder: None },
                Match::Attribute(key) => {
                    UserTerm::AttributeValuesContain { key: key.node.clone(), value, placeholder: None }
                }
                Match::Purpose => UserTerm::PurposesContain { value, placeholder: None },
            }))
        }
        RowCondition::Time(window) => time_window(*window, source).map_err(Misfit::Wrong),
        RowCondition::Sample(percent) => sample(percent, source).map_err(Misfit::Wrong),
    }
}

fn time_window(window: TimeWindow, source: &DataSource) -> Result<Expr<UserTerm>, Diagnostic> {
    let column = source.event_time.and_then(|id| source.column_by_id(id)).ok_or_else(|| {
        let message = format!("`{}` has no event time", source.name);
        let help = format!("say which column it is: `weir source event-time {} COLUMN`", source.name);
        Diagnostic::error("policy::no-event-time", message).help(help)
    })?;
    let other = &column.data_type;
    let date = *other == DataType::Date;
    if !date && *other != (DataType::Timestamp { zoned: false }) {
        let message = format!("the event time `{}` of `{}` is {other}", column.name, source.name);
        let help = "rows are restricted by dates and by timestamps without time zone";
        return Err(Diagnostic::error("policy::type-mismatch", message).help(help));
    }
    Ok(Expr::User(UserTerm::Within { column: column.id, window, date }))
}

fn sample(percent: &At<String>, source: &DataSource) -> Result<Expr<UserTerm>, Diagnostic> {
    let share = Exact::parse(&percent.node).and_then(|percent| percent.times_power_of_ten(2)?.whole());
    let Some(share) = share.and_then(|n| u16::try_from(n).ok()).filter(|n| (1..10_000).contains(n)) else {
        let message = format!("`{}` is no percentage of rows", percent.node);
        let diagnostic = Diagnostic::error("policy::percentage", message).help("write a number from 0.01 to 99.99");
        return Err(placed(diagnostic, percent.span));
    };
    Ok(Expr::Sampled { columns: row_key(source)?, per_ten_thousand: share })
}

/// What is done to a row once and for all needs something that tells it from others.
fn row_key(source: &DataSource) -> Result<Vec<weir_model::ColumnId>, Diagnostic> {
    if source.row_key.is_empty() || source.row_key.iter().any(|id| source.column_by_id(*id).is_none()) {
        let message = format!("`{}` has no row key", source.name);
        let help = format!("say which columns tell rows apart: `weir source row-key {} COLUMN…`", source.name);
        return Err(Diagnostic::error("policy::no-row-key", message).help(help));
    }
    Ok(source.row_key.clone())
}

/// A condition on a row needs what the row has one value of.
fn one_value<'s>(column: &'s Column, source: &DataSource, span: Option<Span>) -> Result<&'s Column, Misfit> {
    if !source.part(column.id).is_some_and(|part| part.repeated) {
        return Ok(column);
    }
    let message = format!("a row of `{}` may have several values of `{}`", source.name, column.name);
    let diagnostic = Diagnostic::error("policy::several-values", message).help("conditions are about single values");
    Err(Misfit::Wrong(placed(diagnostic, span)))
}

/// The one column of the source that carries the tag or one below it.
fn tagged_column<'s>(tag: &Tag, span: Option<Span>, source: &'s DataSource) -> Result<&'s Column, Misfit> {
    let mut carriers = source.places().filter(|column| carries(column, tag));
    let Some(first) = carriers.next() else {
        return Err(Misfit::Absent(Absence { what: Lacking::ColumnTagged(tag.clone()), span }));
    };
    match carriers.next() {
        None => one_value(first, source, span),
        Some(second) => {
            let message = format!(
                "several columns of `{}` are tagged `{tag}`: `{}` and `{}`",
                source.name, first.name, second.name
            );
            let diagnostic = Diagnostic::error("policy::ambiguous-tag", message)
                .help("name the column, or use a tag that only one column carries");
            Err(Misfit::Wrong(placed(diagnostic, span)))
        }
    }
}

pub(crate) fn carries(column: &Column, tag: &Tag) -> bool {
    column.tags.iter().any(|carried| tag.covers(carried))
}

/// The source of that name, or why it cannot be looked up.
fn lookup_source<'a>(name: &At<SourceName>, catalog: &Catalog<'a>) -> Result<&'a DataSource, Misfit> {
    catalog.get(&name.node).ok_or_else(|| {
        let message = format!("unknown data source `{}`", name.node);
        let known = catalog.names();
        let diagnostic = Diagnostic::error("policy::unknown-data-source", message);
        let text = name.node.to_string();
        Misfit::Wrong(placed(suggest(diagnostic, &text, known.iter().map(String::as_str)), name.span))
    })
}

pub(crate) fn placed(diagnostic: Diagnostic, span: Option<Span>) -> Diagnostic {
    match span {
        Some(span) if diagnostic.at.is_none() => diagnostic.at(span),
        Some(_) | None => diagnostic,
    }
}
