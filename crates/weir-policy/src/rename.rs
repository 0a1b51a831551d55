//! A policy with other names in it: how a policy is made from a template.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use weir_model::{InvalidName, PrincipalId, PrincipalSet, Value};

use crate::ast::{
    Action, Approver, At, Body, Circumstance, Circumstances, Columns, Condition, LookupQuery, Match, MatchColumn,
    Method, Policy, Predicate, Randomized, RowCondition, Rule, Scope, Subscribers, Test, UserCall,
};
use crate::diagnostic::Diagnostic;

/// The policy with every name and every text that is one of the keys replaced by its value. Names are replaced as a
/// whole, and regular expressions, templates of texts, keys and titles stay.
///
/// # Errors
/// When a key of `names` is nowhere in the policy, or a value cannot be what it would have to be.
pub fn renamed(mut policy: Policy, names: &BTreeMap<String, String>) -> Result<Policy, Diagnostic> {
    let mut renaming = Renaming { names, used: BTreeSet::new() };
    match &mut policy.statement.body {
        Body::Subscribe(subscribe) => match &mut subscribe.who {
            Subscribers::When(condition) => renaming.condition(condition)?,
            Subscribers::Asking(approvers) => {
                for approver in approvers {
                    match approver {
                        Approver::Person(person) => renaming.person(person)?,
                        Approver::Owner | Approver::Holder(_) => {}
                    }
                }
            }
            Subscribers::Anyone | Subscribers::Selected => {}
        },
        Body::Data(cascade) => cascade.rules.iter_mut().try_for_each(|rule| renaming.rule(rule))?,
    }
    match &mut policy.statement.on {
        Circumstances::AllSources => {}
        Circumstances::Named(sources) => renaming.all(sources)?,
        Circumstances::Any(tests) | Circumstances::All(tests) => {
            tests.iter_mut().try_for_each(|test| renaming.circumstance(test))?;
        }
    }
    match names.keys().find(|name| !renaming.used.contains(name.as_str())) {
        None => Ok(policy),
        Some(unused) => {
            let message = format!("nothing in policy `{}` is called `{unused}`", policy.key);
            Err(Diagnostic::error("policy::unknown-name", message))
        }
    }
}

struct Renaming<'a> {
    names: &'a BTreeMap<String, String>,
    used: BTreeSet<&'a str>,
}

impl<'a> Renaming<'a> {
    fn other(&mut self, name: &str) -> Option<&'a str> {
        let (known, other) = self.names.get_key_value(name)?;
        self.used.insert(known);
        Some(other)
    }

    fn name<T: ToString + FromStr<Err = InvalidName>>(&mut self, name: &mut T) -> Result<(), Diagnostic> {
        if let Some(other) = self.other(&name.to_string()) {
            *name = other.parse().map_err(|e: InvalidName| Diagnostic::error("policy::invalid-name", e.to_string()))?;
        }
        Ok(())
    }

    fn at<T: ToString + FromStr<Err = InvalidName>>(&mut self, name: &mut At<T>) -> Result<(), Diagnostic> {
        self.name(&mut name.node)
    }

    fn all<T: ToString + FromStr<Err = InvalidName>>(&mut self, names: &mut [At<T>]) -> Result<(), Diagnostic> {
        names.iter_mut().try_for_each(|name| self.at(name))
    }

    fn text(&mut self, text: &mut String) {
        if let Some(other) = self.other(text) {
            other.clone_into(text);
        }
    }

    fn value(&mut self, value: &mut Value) {
        match value {
            Value::Text(text) => self.text(text),
            Value::Null
            | Value::Boolean(_)
            | Value::Int(_)
            | Value::Number(_)
            | Value::Date(_)
            | Value::Timestamp(_) => {}
        }
    }

    fn person(&mut self, person: &mut PrincipalId) -> Result<(), Diagnostic> {
        self.name(person)
    }

    fn rule(&mut self, rule: &mut Rule) -> Result<(), Diagnostic> {
        match &mut rule.scope {
            Scope::Everyone => {}
            Scope::EveryoneExcept(condition) | Scope::Who(condition) => self.condition(condition)?,
        }
        match &mut rule.action {
            Action::LimitToPurposes(purposes) => self.all(purposes),
            Action::ShowRows(RowCondition::Where(predicate)) => self.predicate(predicate),
            Action::ShowRows(RowCondition::Time(_) | RowCondition::Sample(_)) => Ok(()),
            Action::ShowRows(RowCondition::Match { user, column }) => {
                match user {
                    Match::Attribute(key) => self.at(key)?,
                    Match::Group | Match::Purpose => {}
                }
                match column {
                    MatchColumn::Named(name) => self.at(name),
                    MatchColumn::Tagged(tag) => self.at(tag),
                }
            }
            Action::Mask(mask) => {
                match &mut mask.columns {
                    Columns::Named(names) => self.all(names)?,
                    Columns::Tagged(tag) => self.at(tag)?,
                    Columns::AnyTag | Columns::NoTags | Columns::NamedLike { .. } | Columns::All => {}
                }
                for method in std::iter::once(&mut mask.method).chain(&mut mask.or_else) {
                    self.method(&mut method.node)?;
                }
                mask.when.iter_mut().try_for_each(|when| self.predicate(when))
            }
        }
    }

    fn method(&mut self, method: &mut Method) -> Result<(), Diagnostic> {
        match method {
            Method::Constant(value) => self.value(value),
            Method::Randomized(Randomized::Replaced { by, .. }) => by.iter_mut().for_each(|value| self.value(value)),
            Method::Custom(expression) => return self.predicate(expression),
            Method::Hash
            | Method::Null
            | Method::Round(_)
            | Method::RoundByProfile
            | Method::Regex { .. }
            | Method::Reversible
            | Method::FormatPreserving
            | Method::KAnonymous(_)
            | Method::Randomized(Randomized::Within(_) | Randomized::WithinDays(_)) => {}
        }
        Ok(())
    }

    fn condition(&mut self, condition: &mut Condition) -> Result<(), Diagnostic> {
        match condition {
            Condition::Any(parts) | Condition::All(parts) => parts.iter_mut().try_for_each(|part| self.condition(part)),
            Condition::Test(Test::MemberOf(group)) => self.at(group),
            Condition::Test(Test::HasAttribute { key, value }) => {
                self.text(value);
                self.at(key)
            }
            Condition::Test(Test::UnderPurpose(purpose)) => self.at(purpose),
            Condition::Test(Test::Owner | Test::Permitted(_)) => Ok(()),
        }
    }

    fn circumstance(&mut self, circumstance: &mut Circumstance) -> Result<(), Diagnostic> {
        match circumstance {
            Circumstance::SourceTagged(tag) | Circumstance::ColumnTagged(tag) => self.at(tag),
            Circumstance::OwnedBy(PrincipalSet::User(person)) => self.person(person),
            Circumstance::OwnedBy(PrincipalSet::Group(group)) => self.name(group),
            Circumstance::InSchema(schema) => {
                self.text(&mut schema.node);
                // What cannot be a schema reaches nothing, and is told when the policy is checked.
                Ok(())
            }
            Circumstance::ColumnNamedLike { .. }
            | Circumstance::NoTags
            | Circumstance::AnyTag
            | Circumstance::ChosenByOwner => Ok(()),
        }
    }

    fn predicate(&mut self, predicate: &mut Predicate) -> Result<(), Diagnostic> {
        match predicate {
            Predicate::Literal(value) => {
                self.value(value);
                Ok(())
            }
            Predicate::Column(column) => self.name(&mut column.node.name),
            Predicate::Compare { left, right, .. } => self.each([left, right]),
            Predicate::Between { value, low, high, .. } => self.each([value, low, high]),
            Predicate::In { value, list, .. } => {
                self.predicate(value)?;
                list.iter_mut().try_for_each(|item| self.predicate(item))
            }
            Predicate::InLookup { value, lookup, .. } => {
                self.predicate(value)?;
                self.lookup(lookup)
            }
            Predicate::Exists { lookup, .. } => self.lookup(lookup),
            Predicate::Like { value, pattern, .. } => self.each([value, pattern]),
            Predicate::IsNull { value, .. } | Predicate::Not(value) => self.predicate(value),
            Predicate::And(parts) | Predicate::Or(parts) | Predicate::Call { args: parts, .. } => {
                parts.iter_mut().try_for_each(|part| self.predicate(part))
            }
            Predicate::User(call) => self.user_call(&mut call.node),
        }
    }

    fn each<const N: usize>(&mut self, parts: [&mut Box<Predicate>; N]) -> Result<(), Diagnostic> {
        parts.into_iter().try_for_each(|part| self.predicate(part))
    }

    fn lookup(&mut self, lookup: &mut LookupQuery) -> Result<(), Diagnostic> {
        self.at(&mut lookup.source)?;
        lookup.key.iter_mut().chain(&mut lookup.filter).try_for_each(|part| self.predicate(part))
    }

    fn user_call(&mut self, call: &mut UserCall) -> Result<(), Diagnostic> {
        match call {
            UserCall::Username | UserCall::Iam | UserCall::MaskedColumn => Ok(()),
            UserCall::IsInGroups(groups) => groups.iter_mut().try_for_each(|group| self.name(group)),
            UserCall::HasAttribute(key, value) => {
                self.text(value);
                self.name(key)
            }
            UserCall::AttributeValuesContains(key, value, placeholder) => {
                self.name(key)?;
                placeholder.iter_mut().for_each(|placeholder| self.text(placeholder));
                self.predicate(value)
            }
            UserCall::GroupsContains(value, placeholder) | UserCall::PurposesContains(value, placeholder) => {
                placeholder.iter_mut().for_each(|placeholder| self.text(placeholder));
                self.predicate(value)
            }
            UserCall::InterpolatedComparison { value, .. } => self.predicate(value),
            UserCall::IsUsingPurpose(purpose) => self.name(purpose),
            UserCall::ColumnTagged(tag) => self.name(tag),
            UserCall::ColumnReference(column) => self.name(column),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::{parse_english, to_sentence};

    fn of(sentence: &str, names: &[(&str, &str)]) -> Result<String, String> {
        let policy = parse_english(sentence).policies.remove(0);
        let names = names.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect();
        renamed(policy, &names).map(|policy| to_sentence(&policy.statement)).map_err(|e| e.message)
    }

    #[test]
    fn names_and_texts_are_replaced_as_a_whole_wherever_they_stand() {
        let everything = "Mask using the custom function if(lower(c) = 'x' AND c IS NULL, 'x', @column) the columns c, cc \
            where @columnTagged('T.U') IN ('x', 'xx') AND c IN (SELECT c FROM s.t WHERE c LIKE 'x') \
            AND @attributeValuesContains('k', c, 'x') AND @isInGroups('g') AND @hasAttribute('k', 'x') \
            AND @isUsingPurpose('p') AND @columnReference('c') BETWEEN 'x' AND 'y' \
            for everyone except when user is a member of group g or user possesses attribute k with value x \
            or user is acting under purpose p \
            on data sources tagged T.U or with columns tagged T.U or in schema s or owned by user u or owned by group g \
            or with column names spelled like 'c'";
        let names = [
            ("c", "the c"),
            ("x", "z"),
            ("T.U", "V"),
            ("s.t", "s.w"),
            ("k", "l"),
            ("g", "h"),
            ("p", "q.r"),
            ("s", "r"),
            ("u", "v"),
        ];
        let wanted = "Mask using the custom function if(lower(\"the c\") = 'z' AND \"the c\" IS NULL, 'z', @column) the columns \"the c\", cc \
            where @columnTagged('V') IN ('z', 'xx') AND \"the c\" IN (SELECT \"the c\" FROM s.w WHERE \"the c\" LIKE 'z') \
            AND @attributeValuesContains('l', \"the c\", 'z') AND @isInGroups('h') AND @hasAttribute('l', 'z') \
            AND @isUsingPurpose('q.r') AND @columnReference('the c') BETWEEN 'z' AND 'y' \
            for everyone except when user is a member of group h or user possesses attribute l with value z \
            or user is acting under purpose q.r \
            on data sources tagged V or with columns tagged V or in schema r or owned by user v or owned by group h \
            or with column names spelled like 'c'";
        assert_eq!(of(everything, &names).unwrap(), wanted.split_whitespace().collect::<Vec<_>>().join(" "));
        assert_eq!(
            of("Only show rows where user possesses an attribute in a that matches the value in the column tagged T for everyone on data source s.t", &[("a", "b"), ("T", "U"), ("s.t", "s.u")]).unwrap(),
            "Only show rows where user possesses an attribute in b that matches the value in the column tagged U for everyone on data source s.u"
        );
        assert_eq!(
            of("Limit usage to purposes a, b for everyone", &[("a", "b"), ("b", "a")]).unwrap(),
            "Limit usage to purposes b, a for everyone"
        );
        assert_eq!(
            of("Allow anyone who asks to subscribe with approval by user a", &[("a", "okta:b")]).unwrap(),
            "Allow anyone who asks to subscribe with approval by user okta:b"
        );
        assert_eq!(
            of("Mask using randomized response replacing 5% by 'a', 'b', 1 the column a for everyone who is a member of group a", &[("a", "b")]).unwrap(),
            "Mask using randomized response replacing 5% by 'b', 'b', 1 the column b for everyone who is a member of group b"
        );
    }

    #[test]
    fn what_is_nowhere_or_cannot_be_a_name_is_an_error() {
        let mask = "policy t: Mask using hashing the column c for everyone on data source s.t";
        assert_eq!(of(mask, &[("d", "e")]).unwrap_err(), "nothing in policy `t` is called `d`");
        assert!(of(mask, &[("s.t", "nodot")]).unwrap_err().contains("nodot"));
        assert!(of(mask, &[("c", "")]).is_err());
        // Not of words of the language, nor of parts of names.
        assert!(of(mask, &[("hashing", "x")]).is_err());
        assert!(of(mask, &[("s", "x")]).is_err());
    }
}
