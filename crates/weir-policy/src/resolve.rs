//! From a policy as written to one bound to the columns of a source.

mod literal;
mod mask;
mod predicate;
mod reach;

use std::collections::BTreeMap;

use regex::Regex;
use weir_model::{Column, DataSource, SourceName, Tag, TypeClass};

use crate::ast::{Action, At, Cascade, Circumstances, Columns, Match, MatchColumn, RowCondition, Rule};
use crate::check::suggest;
use crate::diagnostic::{Diagnostic, Span};
use crate::expr::{Expr, UserTerm};

pub(crate) use mask::{Closeness, MaskRule, Target};
pub(crate) use reach::{Reach, pattern};

/// The registered sources, and by name for lookups.
pub(crate) struct Catalog<'a> {
    sources: &'a [DataSource],
    by_name: BTreeMap<&'a SourceName, &'a DataSource>,
}

impl<'a> Catalog<'a> {
    pub(crate) fn new(sources: &'a [DataSource]) -> Self {
        Self { sources, by_name: sources.iter().map(|source| (&source.name, source)).collect() }
    }

    pub(crate) fn get(&self, name: &SourceName) -> Option<&'a DataSource> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn sources(&self) -> &'a [DataSource] {
        self.sources
    }
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
        let columns = || sources.iter().flat_map(|source| &source.columns);
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
    /// For each rule, the pattern of [`Columns::NamedLike`].
    patterns: Vec<Option<Result<Regex, Diagnostic>>>,
}

/// What the row rules of a policy are on one source.
pub(crate) enum RowRules {
    /// The source lacks what the rules speak of.
    PassedOver(Absence),
    /// In the order written; a rule that cannot be applied has its reason.
    Here(Vec<Result<Expr<UserTerm>, Diagnostic>>),
}

impl<'a> DataPolicy<'a> {
    pub(crate) fn new(cascade: &'a Cascade, on: &Circumstances) -> Self {
        let patterns = cascade
            .rules
            .iter()
            .map(|rule| match &rule.action {
                Action::Mask(action) => match &action.columns {
                    Columns::NamedLike { pattern: text, case_insensitive } => Some(pattern(text, *case_insensitive)),
                    Columns::Named(_) | Columns::Tagged(_) | Columns::AnyTag | Columns::NoTags | Columns::All => None,
                },
                Action::ShowRows(_) => None,
            })
            .collect();
        let names_sources = match on {
            Circumstances::Named(_) => true,
            Circumstances::AllSources | Circumstances::Any(_) | Circumstances::All(_) => false,
        };
        Self { cascade, names_sources, patterns }
    }

    pub(crate) fn rules(&self) -> &'a [Rule] {
        &self.cascade.rules
    }

    /// Whether the rules are about rows. A cascade that mixes rows and masks is not; its row rules are broken.
    pub(crate) fn is_about_rows(&self) -> bool {
        matches!(self.cascade.rules.first(), Some(Rule { action: Action::ShowRows(_), .. }))
    }

    /// The row rules on `source`. When one of them speaks of what the source lacks, the whole policy is passed over
    /// there, unless its author named the source: then that rule cannot be applied.
    pub(crate) fn rows_on(&self, source: &DataSource, catalog: &Catalog<'_>) -> RowRules {
        let mut rules = Vec::with_capacity(self.cascade.rules.len());
        for rule in &self.cascade.rules {
            let bound = match &rule.action {
                Action::ShowRows(condition) => row_condition(condition, source, catalog),
                Action::Mask(_) => Err(Misfit::Wrong(mixed_actions())),
            };
            rules.push(match bound {
                Ok(expr) => Ok(expr.simplified()),
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
                Action::ShowRows(_) => MaskRule::broken(mixed_actions()),
            })
            .collect()
    }
}

fn mixed_actions() -> Diagnostic {
    Diagnostic::error("policy::mixed-actions", "a policy acts either on columns or on rows, not on both")
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
                    let Some(column) = source.column(name.node.as_str()) else {
                        return Err(Misfit::Absent(Absence::column(name.node.as_str(), name.span)));
                    };
                    (column, name.span)
                }
                MatchColumn::Tagged(tag) => (tagged_column(&tag.node, tag.span, source)?, tag.span),
            };
            match column.data_type.class() {
                TypeClass::Boolean | TypeClass::Number | TypeClass::Text | TypeClass::Date | TypeClass::Timestamp => {}
                TypeClass::Binary | TypeClass::Time | TypeClass::Nested => {
                    let what = match user {
                        Match::Group => "a group",
                        Match::Attribute(_) => "an attribute value",
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
                Match::Group => UserTerm::GroupsContain { value },
                Match::Attribute(key) => UserTerm::AttributeValuesContain { key: key.node.clone(), value },
            }))
        }
    }
}

/// The one column of the source that carries the tag or one below it.
fn tagged_column<'s>(tag: &Tag, span: Option<Span>, source: &'s DataSource) -> Result<&'s Column, Misfit> {
    let mut carriers = source.columns.iter().filter(|column| carries(column, tag));
    let Some(first) = carriers.next() else {
        return Err(Misfit::Absent(Absence { what: Lacking::ColumnTagged(tag.clone()), span }));
    };
    match carriers.next() {
        None => Ok(first),
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
        let known: Vec<String> = catalog.sources().iter().map(|source| source.name.to_string()).collect();
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
