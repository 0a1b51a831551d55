//! What policies ask about people, numbered, so that a decision compares numbers and no texts.

use std::collections::BTreeMap;

use weir_model::{AttributeKey, ColumnId, GroupName, Permission, PurposeName};

use super::person::Values;
use crate::ast::{AnyOf, Condition, Template, Test, TimeWindow};
use crate::expr::{Answers, Compare, Expr, UserTerm};

/// Groups and attribute values that policies test for, and attribute keys whose values they use.
#[derive(Debug, Default)]
pub(crate) struct Vocabulary {
    groups: BTreeMap<GroupName, u32>,
    attributes: BTreeMap<AttributeKey, BTreeMap<String, u32>>,
    tests: u32,
    purposes: BTreeMap<PurposeName, u32>,
    keys: BTreeMap<AttributeKey, u32>,
    /// Whether any policy compares groups with values of rows.
    matches_groups: bool,
}

/// A condition on a person and a source.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    Any(Box<[Held]>),
    All(Box<[Held]>),
    /// By number.
    Test(u32),
    Owner,
    /// By number.
    Purpose(u32),
    Permitted(Permission),
}

/// What a compiled condition on rows asks about the person.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Username,
    Iam,
    /// All of the tests, by number.
    Tests(Box<[u32]>),
    Groups {
        value: Box<Expr<Ask>>,
        placeholder: Option<Values>,
    },
    Purposes {
        value: Box<Expr<Ask>>,
        placeholder: Option<Values>,
    },
    /// Acting under the purpose of that number.
    Purpose(u32),
    Within {
        column: ColumnId,
        window: TimeWindow,
        date: bool,
    },
    /// Values of the attribute key of that number.
    Attribute {
        key: u32,
        value: Box<Expr<Ask>>,
        placeholder: Option<Values>,
    },
    Interpolated {
        value: Box<Expr<Ask>>,
        op: Compare,
        text: Box<Template>,
        /// The number of the attribute key of the text, if it has one.
        key: Option<u32>,
    },
}

impl Vocabulary {
    fn next_test(&mut self) -> u32 {
        let next = self.tests;
        self.tests += 1;
        next
    }

    fn group(&mut self, group: &GroupName) -> u32 {
        if let Some(test) = self.groups.get(group) {
            return *test;
        }
        let test = self.next_test();
        self.groups.insert(group.clone(), test);
        test
    }

    fn attribute(&mut self, key: &AttributeKey, value: &str) -> u32 {
        if let Some(test) = self.attributes.get(key).and_then(|values| values.get(value)) {
            return *test;
        }
        let test = self.next_test();
        self.attributes.entry(key.clone()).or_default().insert(value.to_owned(), test);
        test
    }

    pub(crate) fn purpose(&mut self, purpose: &PurposeName) -> u32 {
        let next = u32::try_from(self.purposes.len()).unwrap_or(u32::MAX);
        *self.purposes.entry(purpose.clone()).or_insert(next)
    }

    /// The purposes that policies ask for, with their numbers.
    pub(crate) fn purposes(&self) -> impl Iterator<Item = (&PurposeName, u32)> {
        self.purposes.iter().map(|(purpose, number)| (purpose, *number))
    }

    pub(crate) fn held(&mut self, condition: &Condition) -> Held {
        match condition {
            Condition::Any(parts) => Held::Any(parts.iter().map(|part| self.held(part)).collect()),
            Condition::All(parts) => Held::All(parts.iter().map(|part| self.held(part)).collect()),
            Condition::Test(Test::MemberOf(group)) => Held::Test(self.group(&group.node)),
            Condition::Test(Test::HasAttribute { key, value }) => Held::Test(self.attribute(&key.node, value)),
            Condition::Test(Test::Owner) => Held::Owner,
            Condition::Test(Test::UnderPurpose(purpose)) => Held::Purpose(self.purpose(&purpose.node)),
            Condition::Test(Test::Permitted(permission)) => Held::Permitted(*permission),
        }
    }

    pub(crate) fn tests(&self) -> u32 {
        self.tests
    }

    pub(crate) fn group_test(&self, group: &GroupName) -> Option<u32> {
        self.groups.get(group).copied()
    }

    /// The tests for values of this key.
    pub(crate) fn attribute_tests(&self, key: &AttributeKey) -> Option<&BTreeMap<String, u32>> {
        self.attributes.get(key)
    }

    pub(crate) fn key(&self, key: &AttributeKey) -> Option<u32> {
        self.keys.get(key).copied()
    }

    fn numbered_key(&mut self, key: &AttributeKey) -> u32 {
        let next = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        *self.keys.entry(key.clone()).or_insert(next)
    }

    pub(crate) fn matches_groups(&self) -> bool {
        self.matches_groups
    }
}

impl Answers<UserTerm, Ask> for Vocabulary {
    fn answer(&mut self, ask: &UserTerm) -> Expr<Ask> {
        Expr::User(match ask {
            UserTerm::Username => Ask::Username,
            UserTerm::Iam => Ask::Iam,
            UserTerm::IsInGroups(groups) => Ask::Tests(groups.iter().map(|group| self.group(group)).collect()),
            UserTerm::HasAttribute(key, value) => Ask::Tests([self.attribute(key, value)].into()),
            UserTerm::AttributeValuesContain { key, value, placeholder } => Ask::Attribute {
                key: self.numbered_key(key),
                value: Box::new(value.answered(self)),
                placeholder: placeholder.as_deref().map(Values::of),
            },
            UserTerm::GroupsContain { value, placeholder } => {
                self.matches_groups = true;
                Ask::Groups {
                    value: Box::new(value.answered(self)),
                    placeholder: placeholder.as_deref().map(Values::of),
                }
            }
            UserTerm::PurposesContain { value, placeholder } => Ask::Purposes {
                value: Box::new(value.answered(self)),
                placeholder: placeholder.as_deref().map(Values::of),
            },
            UserTerm::Interpolated { value, op, text } => {
                let key = match text.any_of() {
                    Some(AnyOf::Attribute(key)) => Some(self.numbered_key(key)),
                    Some(AnyOf::Group) => {
                        self.matches_groups = true;
                        None
                    }
                    Some(AnyOf::Purpose) | None => None,
                };
                Ask::Interpolated { value: Box::new(value.answered(self)), op: *op, text: Box::new(text.clone()), key }
            }
            UserTerm::UnderPurpose(purpose) => Ask::Purpose(self.purpose(purpose)),
            UserTerm::Within { column, window, date } => Ask::Within { column: *column, window: *window, date: *date },
        })
    }
}
