//! Which policies a source has to be tried with, and the other way round: both have keys, and a policy does nothing on
//! a source that has none of its keys.

use std::collections::BTreeSet;
use std::sync::Arc;

use regex::Regex;
use weir_model::{ColumnName, PolicyKey, PrincipalId, PrincipalSet, SourceName, Tag};

use crate::ast::{Action, Body, Cascade, Circumstances, Columns, MatchColumn, Policy, RowCondition};
use crate::changes::SourceFacts;
use crate::diagnostic::Diagnostic;
use crate::resolve::{Patterns, Reach, Test};

/// Something that sources have and policies look for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    Name(SourceName),
    /// An owner chose the policy.
    Chosen(PolicyKey),
    Owner(PrincipalId),
    ColumnName(ColumnName),
    /// The tag of a column, or one above it.
    ColumnTag(Tag),
    /// The tag of the source, or one above it.
    SourceTag(Tag),
    Schema(String),
    Owned,
    AnyTag,
    NoTags,
}

/// All keys of a source.
pub(super) fn keys(facts: &SourceFacts) -> BTreeSet<Key> {
    let SourceFacts { source, chosen, selected: _, approved: _ } = facts;
    let mut keys = BTreeSet::from([Key::Name(source.name.clone()), Key::Schema(source.name.schema().to_owned())]);
    keys.extend(chosen.iter().cloned().map(Key::Chosen));
    keys.extend(source.owners.iter().cloned().map(Key::Owner));
    keys.extend(source.tags.iter().flat_map(upwards).map(Key::SourceTag));
    for column in source.places() {
        keys.insert(Key::ColumnName(column.name.clone()));
        keys.extend(column.tags.iter().flat_map(upwards).map(Key::ColumnTag));
    }
    if !source.owners.is_empty() {
        keys.insert(Key::Owned);
    }
    let tagged = !source.tags.is_empty() || source.places().any(|column| !column.tags.is_empty());
    keys.insert(if tagged { Key::AnyTag } else { Key::NoTags });
    keys
}

/// The tag and those above it.
fn upwards(tag: &Tag) -> impl Iterator<Item = Tag> {
    let names = std::iter::successors(Some(tag.as_str()), |name| Some(name.rsplit_once('.')?.0));
    names.filter_map(|name| Tag::new(name).ok())
}

/// What a source must have, any of it, for a policy to do something there.
#[derive(Clone, Debug)]
pub(super) enum Needs {
    Nothing,
    Some {
        keys: Vec<Key>,
        /// A column whose name matches one of them.
        patterns: Vec<Regex>,
    },
}

impl Needs {
    fn one(key: Key) -> Self {
        Needs::Some { keys: vec![key], patterns: Vec::new() }
    }

    fn never() -> Self {
        Needs::Some { keys: Vec::new(), patterns: Vec::new() }
    }

    /// The policy does something only on sources that have any of this. When in doubt, nothing is needed.
    pub(super) fn of(policy: &Policy, reach: &Result<Reach, Diagnostic>, patterns: &Patterns) -> Self {
        if !policy.is_in_effect() {
            return Needs::never();
        }
        let Ok(reach) = reach else { return Needs::Nothing };
        let reached = of_reach(reach);
        match (&policy.statement.on, &policy.statement.body) {
            // What its author named and lacks something is closed, so nothing else may be asked of it.
            (Circumstances::Named(_), _) | (_, Body::Subscribe(_)) => reached,
            (Circumstances::AllSources | Circumstances::Any(_) | Circumstances::All(_), Body::Data(cascade)) => {
                reached.or_narrower(of_cascade(cascade, patterns))
            }
        }
    }

    /// Any of what one and the other need.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Needs::Nothing, _) | (_, Needs::Nothing) => Needs::Nothing,
            (Needs::Some { mut keys, mut patterns }, Needs::Some { keys: more, patterns: more_patterns }) => {
                keys.extend(more);
                patterns.extend(more_patterns);
                Needs::Some { keys, patterns }
            }
        }
    }

    /// Of two that must both be met, the one that fewer sources are likely to meet.
    fn or_narrower(self, other: Self) -> Self {
        if other.breadth() < self.breadth() { other } else { self }
    }

    fn breadth(&self) -> u8 {
        match self {
            Needs::Nothing => u8::MAX,
            Needs::Some { keys, patterns } => {
                let keys = keys.iter().map(|key| match key {
                    Key::Name(_) => 0,
                    Key::Chosen(_) => 1,
                    Key::Owner(_) => 2,
                    Key::ColumnName(_) => 3,
                    Key::ColumnTag(_) | Key::SourceTag(_) => 4,
                    Key::Schema(_) => 5,
                    Key::Owned | Key::AnyTag | Key::NoTags => 7,
                });
                keys.chain(patterns.iter().map(|_| 6)).max().unwrap_or(0)
            }
        }
    }
}

fn of_reach(reach: &Reach) -> Needs {
    let test = |test: &Test| match test {
        Test::SourceTagged(tag) => Needs::one(Key::SourceTag(tag.clone())),
        Test::ColumnTagged(tag) => Needs::one(Key::ColumnTag(tag.clone())),
        Test::ColumnNamedLike(regex) => Needs::Some { keys: Vec::new(), patterns: vec![regex.clone()] },
        Test::NoTags => Needs::one(Key::NoTags),
        Test::AnyTag => Needs::one(Key::AnyTag),
        Test::InSchema(schema) => Needs::one(Key::Schema(schema.clone())),
        Test::OwnedBy(PrincipalSet::User(user)) => Needs::one(Key::Owner(user.clone())),
        Test::OwnedBy(PrincipalSet::Group(_)) => Needs::one(Key::Owned),
        Test::Chosen(policy) => Needs::one(Key::Chosen(policy.clone())),
    };
    match reach {
        Reach::AllSources => Needs::Nothing,
        Reach::Named(names) => {
            Needs::Some { keys: names.iter().cloned().map(Key::Name).collect(), patterns: Vec::new() }
        }
        Reach::Any(tests) => tests.iter().map(test).fold(Needs::never(), Needs::or),
        Reach::All(tests) => tests.iter().map(test).fold(Needs::Nothing, Needs::or_narrower),
    }
}

/// Of a policy that passes sources over that lack what it speaks of.
fn of_cascade(cascade: &Cascade, patterns: &Patterns) -> Needs {
    let rules = || cascade.rules.iter().map(|rule| &rule.action);
    let masks = rules().zip(patterns.iter()).map(|(action, pattern)| match action {
        Action::Mask(mask) => of_columns(&mask.columns, pattern.as_ref()),
        Action::ShowRows(_) | Action::LimitToPurposes(_) => Needs::Nothing,
    });
    match cascade.rules.first().map(|rule| &rule.action) {
        None => Needs::never(),
        // Each rule does something of its own.
        Some(Action::Mask(_)) => masks.fold(Needs::never(), Needs::or),
        // A source that lacks the column of one rule is passed over by all.
        Some(Action::ShowRows(_)) => rules().map(of_rows).fold(Needs::Nothing, Needs::or_narrower),
        Some(Action::LimitToPurposes(_)) => Needs::Nothing,
    }
}

fn of_columns(columns: &Columns, pattern: Option<&Result<Regex, Diagnostic>>) -> Needs {
    match (columns, pattern) {
        (Columns::Named(names), _) => {
            let keys = names.iter().map(|name| Key::ColumnName(name.node.clone())).collect();
            Needs::Some { keys, patterns: Vec::new() }
        }
        (Columns::Tagged(tag), _) => Needs::one(Key::ColumnTag(tag.node.clone())),
        (Columns::AnyTag, _) => Needs::one(Key::AnyTag),
        (Columns::NamedLike { .. }, Some(Ok(regex))) => Needs::Some { keys: Vec::new(), patterns: vec![regex.clone()] },
        (Columns::NamedLike { .. }, Some(Err(_)) | None) | (Columns::NoTags | Columns::All, _) => Needs::Nothing,
    }
}

fn of_rows(action: &Action) -> Needs {
    match action {
        Action::ShowRows(RowCondition::Match { column: MatchColumn::Named(name), .. }) => {
            Needs::one(Key::ColumnName(name.node.clone()))
        }
        Action::ShowRows(RowCondition::Match { column: MatchColumn::Tagged(tag), .. }) => {
            Needs::one(Key::ColumnTag(tag.node.clone()))
        }
        Action::ShowRows(RowCondition::Where(_) | RowCondition::Time(_) | RowCondition::Sample(_))
        | Action::Mask(_)
        | Action::LimitToPurposes(_) => Needs::Nothing,
    }
}

/// A sorted list without duplicates that versions of the index share.
pub(super) type Shared<T> = Arc<[T]>;
