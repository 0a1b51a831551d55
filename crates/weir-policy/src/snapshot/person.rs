//! A principal as decisions see her.

use weir_model::{Principal, Value, ValueSet};

use super::fingerprint::{Digest, Notes};
use super::vocabulary::{Ask, Held, Vocabulary};
use crate::expr::{Answers, Expr, Residual};

#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) principal: Principal,
    /// One bit for each test of the vocabulary that holds.
    tests: Box<[u64]>,
    groups: Values,
    /// By number of the attribute key, in ascending order.
    attributes: Box<[(u32, Values)]>,
}

/// Values with the digest of their content.
#[derive(Debug)]
struct Values {
    set: ValueSet,
    digest: Digest,
}

impl Values {
    fn new(values: impl Iterator<Item = String>) -> Self {
        let set = ValueSet::new(values);
        let mut digest = Digest::writer("values");
        set.as_slice().iter().for_each(|value| digest.text(value));
        Self { digest: digest.finish(), set }
    }
}

impl Person {
    pub(crate) fn new(principal: Principal, vocabulary: &Vocabulary) -> Self {
        let mut tests = vec![0_u64; (vocabulary.tests() as usize).div_ceil(64)];
        let mut hold = |test: u32| {
            if let Some(word) = tests.get_mut(test as usize / 64) {
                *word |= 1 << (test % 64);
            }
        };
        principal.groups.iter().filter_map(|group| vocabulary.group_test(group)).for_each(&mut hold);
        for (key, values) in &principal.attributes {
            if let Some(numbered) = vocabulary.attribute_tests(key) {
                values.iter().filter_map(|value| numbered.get(value)).copied().for_each(&mut hold);
            }
        }
        let groups = principal.groups.iter().filter(|_| vocabulary.matches_groups()).map(ToString::to_string);
        let groups = Values::new(groups);
        let mut attributes: Vec<(u32, Values)> = principal
            .attributes
            .iter()
            .filter_map(|(key, values)| Some((vocabulary.key(key)?, Values::new(values.iter().cloned()))))
            .collect();
        attributes.sort_unstable_by_key(|(key, _)| *key);
        Self { tests: tests.into(), groups, attributes: attributes.into(), principal }
    }

    fn passes(&self, test: u32) -> bool {
        self.tests.get(test as usize / 64).is_some_and(|word| word & (1 << (test % 64)) != 0)
    }

    pub(crate) fn holds(&self, condition: &Held, owner: bool) -> bool {
        match condition {
            Held::Any(parts) => parts.iter().any(|part| self.holds(part, owner)),
            Held::All(parts) => !parts.is_empty() && parts.iter().all(|part| self.holds(part, owner)),
            Held::Test(test) => self.passes(*test),
            Held::Owner => owner,
            Held::Never => false,
        }
    }

    fn attribute(&self, key: u32) -> Option<&Values> {
        let at = self.attributes.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        self.attributes.get(at).map(|(_, values)| values)
    }
}

/// Answers for one person and notes what was answered, so that equal answers give equal fingerprints.
pub(crate) struct Answering<'a> {
    pub(crate) person: &'a Person,
    pub(crate) notes: &'a mut Notes,
}

impl Answering<'_> {
    fn contained(&mut self, values: Option<&Values>, value: &Expr<Ask>) -> Residual {
        match values {
            Some(Values { set, digest }) if !set.is_empty() => {
                self.notes.values(digest);
                Expr::InValues { value: Box::new(value.answered(self)), values: set.clone() }
            }
            Some(_) | None => {
                self.notes.nothing();
                Expr::truth(false)
            }
        }
    }

    fn text(&mut self, text: &str) -> Residual {
        self.notes.text(text);
        Expr::Literal(Value::Text(text.to_owned()))
    }
}

impl Answers<Ask, std::convert::Infallible> for Answering<'_> {
    fn answer(&mut self, ask: &Ask) -> Residual {
        let person = self.person;
        match ask {
            Ask::Username => self.text(person.principal.id.name()),
            Ask::Iam => self.text(person.principal.id.iam().as_str()),
            Ask::Tests(tests) => {
                let all = !tests.is_empty() && tests.iter().all(|test| person.passes(*test));
                self.notes.truth(all);
                Expr::truth(all)
            }
            Ask::Groups { value } => self.contained(Some(&person.groups), value),
            Ask::Attribute { key, value } => self.contained(person.attribute(*key), value),
        }
    }
}
