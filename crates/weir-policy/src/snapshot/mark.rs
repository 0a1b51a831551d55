//! What policies ask about people, as digests of texts: a decision compares numbers, and neither a person nor a policy
//! has to be compiled anew because the other changed.

use weir_model::{AttributeKey, ColumnId, GroupName, Permission, PurposeName};

use super::fingerprint::Digest;
use super::person::Values;
use crate::ast::{AnyOf, Condition, Template, Test, TimeWindow};
use crate::expr::{Answers, Compare, Expr, UserTerm};

/// Half of a SHA-256 under the name of its kind: to find another text with the mark of a given one takes 2^128 tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    first: u64,
    second: u64,
}

impl Mark {
    pub(crate) fn group(group: &GroupName) -> Self {
        Self::of("group", &[group.as_str()])
    }

    pub(crate) fn attribute(key: &AttributeKey, value: &str) -> Self {
        Self::of("attribute value", &[key.as_str(), value])
    }

    pub(crate) fn key(key: &AttributeKey) -> Self {
        Self::of("attribute key", &[key.as_str()])
    }

    pub(crate) fn purpose(purpose: &str) -> Self {
        Self::of("purpose", &[purpose])
    }

    fn of(kind: &str, texts: &[&str]) -> Self {
        let mut digest = Digest::writer(kind);
        texts.iter().for_each(|text| digest.text(text));
        let number = u128::from_be_bytes(digest.finish().short());
        Self { first: (number >> 64) as u64, second: number as u64 }
    }
}

/// Marks that somebody or something has.
#[derive(Debug, PartialEq)]
pub(crate) struct Marks {
    /// In ascending order.
    all: Box<[Mark]>,
    /// At the place that the first bits of a mark say, a bit for each that is had: between 8 and 16 times as many as
    /// there are marks. Most of what policies ask for is not had, and most of that ends here, in a few cache lines.
    places: Box<[u64]>,
}

/// Bits of one word of the places.
const WORD: usize = u64::BITS as usize;

impl Marks {
    #[inline]
    pub(crate) fn has(&self, mark: &Mark) -> bool {
        let (word, bit) = place(mark, self.places.len());
        self.places.get(word).is_some_and(|places| places & bit != 0) && self.all.binary_search(mark).is_ok()
    }
}

/// The word and the bit of the mark among so many words, which are none or a power of two.
fn place(mark: &Mark, words: usize) -> (usize, u64) {
    // The bits of a digest are all alike.
    let word = (mark.first >> 32) as usize & words.wrapping_sub(1);
    (word, 1 << (mark.first % u64::BITS as u64))
}

impl FromIterator<Mark> for Marks {
    fn from_iter<I: IntoIterator<Item = Mark>>(marks: I) -> Self {
        let mut marks: Vec<Mark> = marks.into_iter().collect();
        marks.sort_unstable();
        marks.dedup();
        let words = if marks.is_empty() { 0 } else { (marks.len() * 8).div_ceil(WORD).next_power_of_two() };
        let mut places = vec![0; words];
        for mark in &marks {
            let (word, bit) = place(mark, words);
            if let Some(places) = places.get_mut(word) {
                *places |= bit;
            }
        }
        Self { all: marks.into(), places: places.into() }
    }
}

/// A condition on a person and a source.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    Any(Box<[Held]>),
    All(Box<[Held]>),
    /// A group or an attribute value.
    Test(Mark),
    Owner,
    Purpose(Mark),
    Permitted(Permission),
}

impl From<&Condition> for Held {
    fn from(condition: &Condition) -> Self {
        match condition {
            Condition::Any(parts) => Held::Any(parts.iter().map(Held::from).collect()),
            Condition::All(parts) => Held::All(parts.iter().map(Held::from).collect()),
            Condition::Test(Test::MemberOf(group)) => Held::Test(Mark::group(&group.node)),
            Condition::Test(Test::HasAttribute { key, value }) => Held::Test(Mark::attribute(&key.node, value)),
            Condition::Test(Test::Owner) => Held::Owner,
            Condition::Test(Test::UnderPurpose(purpose)) => Held::Purpose(Mark::purpose(purpose.node.as_str())),
            Condition::Test(Test::Permitted(permission)) => Held::Permitted(*permission),
        }
    }
}

/// What a compiled condition on rows asks about the person.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Username,
    Iam,
    /// All of them: groups or attribute values.
    Tests(Box<[Mark]>),
    Groups {
        value: Box<Expr<Ask>>,
        placeholder: Option<Values>,
    },
    Purposes {
        value: Box<Expr<Ask>>,
        placeholder: Option<Values>,
    },
    /// Acting under the purpose.
    Purpose(Mark),
    Within {
        column: ColumnId,
        window: TimeWindow,
        date: bool,
    },
    /// Values of the attribute key.
    Attribute {
        key: Mark,
        value: Box<Expr<Ask>>,
        placeholder: Option<Values>,
    },
    Interpolated {
        value: Box<Expr<Ask>>,
        op: Compare,
        text: Box<Template>,
        /// The attribute key of the text, if it has one.
        key: Option<Mark>,
    },
}

/// Turns what is asked in words into what is asked in marks.
pub(crate) struct Marking;

impl Answers<UserTerm, Ask> for Marking {
    fn answer(&mut self, ask: &UserTerm) -> Expr<Ask> {
        Expr::User(match ask {
            UserTerm::Username => Ask::Username,
            UserTerm::Iam => Ask::Iam,
            UserTerm::IsInGroups(groups) => Ask::Tests(groups.iter().map(Mark::group).collect()),
            UserTerm::HasAttribute(key, value) => Ask::Tests([Mark::attribute(key, value)].into()),
            UserTerm::AttributeValuesContain { key, value, placeholder } => Ask::Attribute {
                key: Mark::key(key),
                value: Box::new(value.answered(self)),
                placeholder: placeholder.as_deref().map(Values::of),
            },
            UserTerm::GroupsContain { value, placeholder } => Ask::Groups {
                value: Box::new(value.answered(self)),
                placeholder: placeholder.as_deref().map(Values::of),
            },
            UserTerm::PurposesContain { value, placeholder } => Ask::Purposes {
                value: Box::new(value.answered(self)),
                placeholder: placeholder.as_deref().map(Values::of),
            },
            UserTerm::Interpolated { value, op, text } => Ask::Interpolated {
                value: Box::new(value.answered(self)),
                op: *op,
                text: Box::new(text.clone()),
                key: match text.any_of() {
                    Some(AnyOf::Attribute(key)) => Some(Mark::key(key)),
                    Some(AnyOf::Group | AnyOf::Purpose) | None => None,
                },
            },
            UserTerm::UnderPurpose(purpose) => Ask::Purpose(Mark::purpose(purpose.as_str())),
            UserTerm::Within { column, window, date } => Ask::Within { column: *column, window: *window, date: *date },
        })
    }
}

/// The marks of the purposes and of all above them: acting under one is acting under those.
pub(crate) fn acted_under<'p>(purposes: impl Iterator<Item = &'p PurposeName>) -> Marks {
    let above = |purpose: &'p PurposeName| {
        std::iter::successors(Some(purpose.as_str()), |name| Some(name.rsplit_once('.')?.0)).map(Mark::purpose)
    };
    purposes.flat_map(above).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_had_by_who_has_them_and_by_nobody_else() {
        let mark = |n: usize| Mark::of("test", &[&n.to_string()]);
        for count in [0, 1, 2, 8, 9, 100, 3_000] {
            let marks: Marks = (0..count).chain(0..count / 2).map(mark).collect();
            assert!((0..count).all(|n| marks.has(&mark(n))));
            assert!(!(count..count + 5_000).any(|n| marks.has(&mark(n))));
        }
    }
}
