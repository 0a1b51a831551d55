//! A principal as decisions see her.

use std::sync::OnceLock;

use chrono::{DateTime, Days, Months, NaiveDateTime, TimeDelta};
use weir_model::{Principal, Value, ValueSet};

use super::fingerprint::{Digest, Notes};
use super::mark::{Ask, Held, Mark, Marks};
use super::project::InProject;
use crate::ast::{Ago, TimeUnit};
use crate::expr::{Answers, Expr, Nothing, Residual};

#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) principal: Principal,
    /// Of her groups and attribute values.
    tests: Marks,
    groups: Asked,
    /// By mark of the attribute key, in ascending order.
    attributes: Box<[(Mark, Asked)]>,
}

/// Values that few policies compare with rows, made ready when the first of them does.
type Asked = OnceLock<Box<Values>>;

/// Values with the digest of their content.
#[derive(Debug)]
pub(crate) struct Values {
    set: ValueSet,
    digest: Digest,
}

impl Values {
    pub(crate) fn new(values: impl Iterator<Item = String>) -> Self {
        let set = ValueSet::new(values);
        let mut digest = Digest::writer("values");
        set.as_slice().iter().for_each(|value| digest.text(value));
        Self { digest: digest.finish(), set }
    }
}

impl Person {
    pub(crate) fn new(principal: Principal) -> Self {
        let Principal { groups, attributes, .. } = &principal;
        let held = attributes.iter().flat_map(|(key, values)| {
            values.iter().flat_map(move |value| {
                let patterns = above(value).map(|pattern| Mark::attribute(key, &pattern));
                std::iter::once(Mark::attribute(key, value)).chain(patterns)
            })
        });
        let tests = groups.iter().map(Mark::group).chain(held).collect();
        let mut attributes: Vec<(Mark, Asked)> =
            attributes.keys().map(|key| (Mark::key(key), Asked::default())).collect();
        attributes.sort_unstable_by_key(|(key, _)| *key);
        Self { tests, groups: Asked::default(), attributes: attributes.into(), principal }
    }

    fn groups(&self) -> &Values {
        let ready = || Box::new(Values::new(self.principal.groups.iter().map(ToString::to_string)));
        self.groups.get_or_init(ready)
    }

    fn attribute(&self, key: &Mark) -> Option<&Values> {
        let at = self.attributes.binary_search_by_key(key, |(key, _)| *key).ok()?;
        let (_, values) = self.attributes.get(at)?;
        if let Some(values) = values.get() {
            return Some(values);
        }
        let (_, held) = self.principal.attributes.iter().find(|(named, _)| Mark::key(named) == *key)?;
        Some(values.get_or_init(|| Box::new(Values::new(held.iter().cloned()))))
    }
}

/// `A.B.*` and `A.*` for `A.B.C`.
fn above(value: &str) -> impl Iterator<Item = String> {
    value.match_indices('.').map(|(at, _)| format!("{}.*", value.get(..at).unwrap_or_default()))
}

/// A person in the surroundings of one statement.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) person: &'a Person,
    pub(crate) project: Option<&'a InProject>,
    pub(crate) impersonated: bool,
    pub(crate) at_unix_ms: u64,
}

impl Reader<'_> {
    pub(crate) fn holds(&self, condition: &Held, owner: bool) -> bool {
        match condition {
            Held::Any(parts) => parts.iter().any(|part| self.holds(part, owner)),
            Held::All(parts) => !parts.is_empty() && parts.iter().all(|part| self.holds(part, owner)),
            Held::Test(test) => self.person.tests.has(test),
            Held::Owner => owner,
            Held::Purpose(purpose) => self.acts_under(purpose),
            Held::Permitted(permission) => !self.impersonated && self.person.principal.permissions.contains(permission),
        }
    }

    pub(crate) fn acts_under(&self, purpose: &Mark) -> bool {
        self.project.is_some_and(|project| project.purpose_tests.has(purpose))
    }

    /// `None` where the calendar ends.
    fn before(&self, ago: Ago) -> Option<NaiveDateTime> {
        let now = DateTime::from_timestamp_millis(i64::try_from(self.at_unix_ms).ok()?)?.naive_utc();
        let amount = ago.amount;
        match ago.unit {
            TimeUnit::Minute => now.checked_sub_signed(TimeDelta::minutes(amount.into())),
            TimeUnit::Hour => now.checked_sub_signed(TimeDelta::hours(amount.into())),
            TimeUnit::Day => now.checked_sub_days(Days::new(amount.into())),
            TimeUnit::Month => now.checked_sub_months(Months::new(amount)),
            TimeUnit::Year => now.checked_sub_months(Months::new(amount.checked_mul(12)?)),
        }
    }
}

/// Answers for one reader and notes what was answered, so that equal answers give equal fingerprints.
pub(crate) struct Answering<'a> {
    pub(crate) reader: Reader<'a>,
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

    fn truth(&mut self, truth: bool) -> Residual {
        self.notes.truth(truth);
        Expr::truth(truth)
    }

    /// NULL, with which nothing compares, where the calendar ends.
    fn before(&mut self, ago: Ago, date: bool) -> Residual {
        let value = self.reader.before(ago).and_then(|at| {
            let microseconds = at.and_utc().timestamp_micros();
            let days = || i32::try_from(microseconds.div_euclid(86_400_000_000)).ok();
            if date { days().map(Value::Date) } else { Some(Value::Timestamp(microseconds)) }
        });
        let value = value.unwrap_or(Value::Null);
        self.notes.text(&value.to_string());
        Expr::Literal(value)
    }
}

impl Answers<Ask, Nothing> for Answering<'_> {
    fn answer(&mut self, ask: &Ask) -> Residual {
        let Reader { person, project, .. } = self.reader;
        match ask {
            Ask::Username => self.text(person.principal.id.name()),
            Ask::Iam => self.text(person.principal.id.iam().as_str()),
            Ask::Tests(tests) => self.truth(!tests.is_empty() && tests.iter().all(|test| person.tests.has(test))),
            Ask::Groups { value } => self.contained(Some(person.groups()), value),
            Ask::Attribute { key, value } => self.contained(person.attribute(key), value),
            Ask::Purposes { value } => self.contained(project.map(|project| &project.purposes), value),
            Ask::Purpose(purpose) => self.truth(self.reader.acts_under(purpose)),
            Ask::Before { ago, date } => self.before(*ago, *date),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stands_for_the_values_below_it() {
        assert_eq!(above("A.B.C").collect::<Vec<_>>(), ["A.*", "A.B.*"]);
        assert_eq!(above("A").count(), 0);
    }
}
