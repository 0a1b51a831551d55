//! On which data sources a policy holds.
#![expect(clippy::wildcard_enum_match_arm, reason = "every other error is told in its own words")]

use regex::{Regex, RegexBuilder};
use weir_model::{DataSource, PolicyKey, PrincipalSet, SourceName, Tag};

use super::{Catalog, carries, placed};
use crate::ast::{At, Circumstance, Circumstances};
use crate::diagnostic::Diagnostic;

/// Largest compiled pattern.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Compiles a regular expression of a policy.
pub(crate) fn pattern(text: &At<String>, case_insensitive: bool) -> Result<Regex, Diagnostic> {
    compile(&text.node, case_insensitive).map_err(|diagnostic| placed(diagnostic, text.span))
}

pub(super) fn compile(text: &str, case_insensitive: bool) -> Result<Regex, Diagnostic> {
    let built = RegexBuilder::new(text).case_insensitive(case_insensitive).size_limit(PATTERN_BYTES_MAX).build();
    built.map_err(|e| {
        let why = match e {
            regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
            // The last line of a syntax error says what is wrong; those before it draw the place.
            e => e.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        };
        Diagnostic::error("policy::invalid-pattern", format!("`{text}` is not a regular expression: {why}"))
    })
}

/// Circumstances with their patterns compiled.
#[derive(Debug)]
pub(crate) enum Reach {
    AllSources,
    Named(Vec<SourceName>),
    Any(Vec<Test>),
    All(Vec<Test>),
}

#[derive(Debug)]
pub(crate) enum Test {
    SourceTagged(Tag),
    ColumnTagged(Tag),
    ColumnNamedLike(Regex),
    NoTags,
    AnyTag,
    InSchema(String),
    OwnedBy(PrincipalSet),
    /// An owner chose this policy.
    Chosen(PolicyKey),
}

impl Reach {
    pub(crate) fn new(policy: &PolicyKey, on: &Circumstances) -> Result<Self, Diagnostic> {
        let tests = |all: &[Circumstance]| all.iter().map(|one| test(policy, one)).collect::<Result<Vec<_>, _>>();
        Ok(match on {
            Circumstances::AllSources => Reach::AllSources,
            Circumstances::Named(names) => Reach::Named(names.iter().map(|name| name.node.clone()).collect()),
            Circumstances::Any(all) => Reach::Any(tests(all)?),
            Circumstances::All(all) => Reach::All(tests(all)?),
        })
    }

    pub(crate) fn covers(&self, source: &DataSource, catalog: &Catalog<'_>) -> bool {
        match self {
            Reach::AllSources => true,
            Reach::Named(names) => names.contains(&source.name),
            Reach::Any(tests) => tests.iter().any(|test| test.holds(source, catalog)),
            Reach::All(tests) => tests.iter().all(|test| test.holds(source, catalog)),
        }
    }
}

fn test(policy: &PolicyKey, circumstance: &Circumstance) -> Result<Test, Diagnostic> {
    Ok(match circumstance {
        Circumstance::SourceTagged(tag) => Test::SourceTagged(tag.node.clone()),
        Circumstance::ColumnTagged(tag) => Test::ColumnTagged(tag.node.clone()),
        Circumstance::ColumnNamedLike { pattern: text, case_insensitive } => {
            Test::ColumnNamedLike(pattern(text, *case_insensitive)?)
        }
        Circumstance::NoTags => Test::NoTags,
        Circumstance::AnyTag => Test::AnyTag,
        Circumstance::InSchema(schema) => Test::InSchema(schema.node.clone()),
        Circumstance::OwnedBy(owners) => Test::OwnedBy(owners.clone()),
        Circumstance::ChosenByOwner => Test::Chosen(policy.clone()),
    })
}

impl Test {
    fn holds(&self, source: &DataSource, catalog: &Catalog<'_>) -> bool {
        match self {
            Test::SourceTagged(tag) => source.tags.iter().any(|carried| tag.covers(carried)),
            Test::ColumnTagged(tag) => source.places().any(|column| carries(column, tag)),
            Test::ColumnNamedLike(regex) => source.places().any(|column| regex.is_match(column.name.as_str())),
            Test::NoTags => !has_tags(source),
            Test::AnyTag => has_tags(source),
            Test::InSchema(schema) => source.name.schema() == schema,
            Test::OwnedBy(owners) => catalog.is_owned_by(source, owners),
            Test::Chosen(policy) => catalog.is_chosen(policy, source),
        }
    }
}

fn has_tags(source: &DataSource) -> bool {
    !source.tags.is_empty() || source.places().any(|column| !column.tags.is_empty())
}
