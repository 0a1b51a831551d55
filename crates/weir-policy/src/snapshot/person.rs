//! A principal as decisions see her.

use std::sync::OnceLock;

use chrono::{DateTime, Days, Months, NaiveDateTime, TimeDelta};
use weir_model::{ColumnId, Principal, Value, ValueSet};

use super::fingerprint::{Digest, Notes};
use super::mark::{Ask, Held, Mark, Marks};
use super::project::InProject;
use crate::ast::{Ago, AnyOf, Template, TimeUnit, TimeWindow};
use crate::expr::{Answers, Compare, Expr, Nothing, Residual};

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
#[derive(Clone, Debug)]
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

    pub(crate) fn of(one: &str) -> Self {
        Self::new(std::iter::once(one.to_owned()))
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
    fn contained(&mut self, values: Option<&Values>, placeholder: Option<&Values>, value: &Expr<Ask>) -> Residual {
        match values.filter(|values| !values.set.is_empty()).or(placeholder) {
            Some(Values { set, digest }) => {
                self.notes.values(digest);
                Expr::InValues { value: Box::new(value.answered(self)), values: set.clone() }
            }
            None => {
                self.notes.nothing();
                Expr::truth(false)
            }
        }
    }

    /// The comparison with one of the texts that the person gives.
    fn interpolated(&mut self, value: &Expr<Ask>, op: Compare, text: &Template, key: Option<&Mark>) -> Residual {
        let Reader { person, project, .. } = self.reader;
        let id = &person.principal.id;
        let fill = |any: &str| text.filled(id.name(), id.iam().as_str(), any);
        let held = match text.any_of() {
            None => vec![fill("")],
            Some(any) => {
                let values = match any {
                    AnyOf::Group => Some(person.groups()),
                    AnyOf::Purpose => project.map(|project| &project.purposes),
                    AnyOf::Attribute(_) => key.and_then(|key| person.attribute(key)),
                };
                values.iter().flat_map(|values| values.set.as_slice()).map(|value| fill(value)).collect()
            }
        };
        let Values { set, digest } = Values::new(held.into_iter());
        // In ascending order, as the comparison of texts is by bytes.
        let (Some(least), Some(greatest)) = (set.as_slice().first(), set.as_slice().last()) else {
            self.notes.nothing();
            return Expr::truth(false);
        };
        self.notes.values(&digest);
        let value = Box::new(value.answered(self));
        let with = |text: &String| Expr::Compare {
            op,
            left: value.clone(),
            right: Box::new(Expr::Literal(Value::Text(text.clone()))),
        };
        match op {
            Compare::Equal if least != greatest => Expr::InValues { value, values: set },
            Compare::NotEqual if least != greatest => Expr::Or(set.as_slice().iter().map(with).collect()),
            Compare::Equal | Compare::NotEqual | Compare::Greater | Compare::GreaterOrEqual => with(least),
            Compare::Less | Compare::LessOrEqual => with(greatest),
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

    fn within(&mut self, column: ColumnId, TimeWindow { newer, ago }: TimeWindow, date: bool) -> Residual {
        let limit = self.reader.before(ago).and_then(|at| {
            let microseconds = at.and_utc().timestamp_micros();
            let days = || i32::try_from(microseconds.div_euclid(86_400_000_000)).ok();
            if date { days().map(Value::Date) } else { Some(Value::Timestamp(microseconds)) }
        });
        let column = Box::new(Expr::Column(column));
        match limit {
            Some(limit) => {
                self.notes.text(&limit.to_string());
                let op = if newer { Compare::GreaterOrEqual } else { Compare::Less };
                Expr::Compare { op, left: column, right: Box::new(Expr::Literal(limit)) }
            }
            // Whatever has a time is newer than that.
            None => {
                self.notes.nothing();
                if newer { Expr::Not(Box::new(Expr::IsNull(column))) } else { Expr::truth(false) }
            }
        }
    }
}

impl Answers<Ask, Nothing> for Answering<'_> {
    fn answer(&mut self, ask: &Ask) -> Residual {
        let Reader { person, project, .. } = self.reader;
        match ask {
            Ask::Username => self.text(person.principal.id.name()),
            Ask::Iam => self.text(person.principal.id.iam().as_str()),
            Ask::Tests(tests) => self.truth(!tests.is_empty() && tests.iter().all(|test| person.tests.has(test))),
            Ask::Groups { value, placeholder } => self.contained(Some(person.groups()), placeholder.as_ref(), value),
            Ask::Attribute { key, value, placeholder } => {
                self.contained(person.attribute(key), placeholder.as_ref(), value)
            }
            Ask::Purposes { value, placeholder } => {
                self.contained(project.map(|project| &project.purposes), placeholder.as_ref(), value)
            }
            Ask::Interpolated { value, op, text, key } => self.interpolated(value, *op, text, key.as_ref()),
            Ask::Purpose(purpose) => self.truth(self.reader.acts_under(purpose)),
            Ask::Within { column, window, date } => self.within(*column, *window, *date),
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
