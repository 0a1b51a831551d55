//! The names that exist, and which of them an author may have meant.

use std::collections::{BTreeMap, BTreeSet};

use weir_model::{AttributeKey, GroupName, PrincipalId, PrincipalSet, PurposeName, Tag};

use crate::ast::{AnyOf, Approver, At, Condition, LookupQuery, Predicate, Test, UserCall};
use crate::diagnostic::{Diagnostic, Span};
use crate::expr::Compare;
use crate::facts::Facts;
use crate::language::nearest;
use crate::resolve::placed;

/// How many names a message lists.
const LISTED_MAX: usize = 5;

/// Adds the name that was probably meant, or those that exist.
pub(crate) fn suggest<'a>(diagnostic: Diagnostic, wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Diagnostic {
    let known: BTreeSet<&str> = known.into_iter().collect();
    let help = match nearest(wrong, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "there are none yet".to_owned(),
        None => {
            let listed: Vec<String> = known.iter().take(LISTED_MAX).map(|name| format!("`{name}`")).collect();
            match known.len().checked_sub(LISTED_MAX).filter(|more| *more > 0) {
                Some(more) => format!("there are {} and {more} more", listed.join(", ")),
                None => format!("there are {}", listed.join(", ")),
            }
        }
    };
    diagnostic.help(help)
}

/// What people have, and how sources are tagged.
pub(super) struct Known<'a> {
    people: BTreeSet<&'a PrincipalId>,
    groups: BTreeSet<&'a str>,
    attributes: BTreeMap<&'a str, BTreeSet<&'a str>>,
    source_tags: BTreeSet<&'a Tag>,
    column_tags: BTreeSet<&'a Tag>,
    schemas: BTreeSet<&'a str>,
    /// Those of projects.
    purposes: BTreeSet<&'a PurposeName>,
}

impl<'a> Known<'a> {
    pub(super) fn new(facts: &'a Facts) -> Self {
        let mut attributes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (key, values) in facts.principals.iter().flat_map(|principal| &principal.attributes) {
            attributes.entry(key.as_str()).or_default().extend(values.iter().map(String::as_str));
        }
        Self {
            people: facts.principals.iter().map(|principal| &principal.id).collect(),
            groups: facts.principals.iter().flat_map(|principal| &principal.groups).map(GroupName::as_str).collect(),
            attributes,
            source_tags: facts.sources.iter().flat_map(|source| &source.tags).collect(),
            column_tags: facts
                .sources
                .iter()
                .flat_map(|source| source.places())
                .flat_map(|column| &column.tags)
                .collect(),
            schemas: facts.sources.iter().map(|source| source.name.schema()).collect(),
            purposes: facts.projects.iter().flat_map(|project| &project.purposes).collect(),
        }
    }

    fn group(&self, group: &GroupName, span: Option<Span>, found: &mut Vec<Diagnostic>) {
        if !self.groups.contains(group.as_str()) {
            let message = format!("unknown group `{group}`: nobody is a member of it");
            let diagnostic = Diagnostic::error("policy::unknown-group", message);
            found.push(placed(suggest(diagnostic, group.as_str(), self.groups.iter().copied()), span));
        }
    }

    pub(super) fn key(&self, key: &AttributeKey, span: Option<Span>, found: &mut Vec<Diagnostic>) {
        if !self.attributes.contains_key(key.as_str()) {
            let message = format!("unknown attribute `{key}`: nobody possesses it");
            let diagnostic = Diagnostic::error("policy::unknown-attribute", message);
            found.push(placed(suggest(diagnostic, key.as_str(), self.attributes.keys().copied()), span));
        }
    }

    fn attribute(&self, key: &AttributeKey, value: &str, span: Option<Span>, found: &mut Vec<Diagnostic>) {
        match self.attributes.get(key.as_str()) {
            None => self.key(key, span, found),
            Some(values) if values.contains(value) || values.iter().any(|known| is_below(known, value)) => {}
            Some(values) => {
                let message = format!("unknown value `{value}` of attribute `{key}`: nobody possesses it");
                let diagnostic = Diagnostic::error("policy::unknown-attribute", message);
                found.push(placed(suggest(diagnostic, value, values.iter().copied()), span));
            }
        }
    }

    pub(super) fn source_tag(&self, tag: &At<Tag>, found: &mut Vec<Diagnostic>) {
        if !self.source_tags.iter().any(|known| tag.node.covers(known)) {
            let diagnostic =
                Diagnostic::error("policy::unknown-tag", format!("no data source is tagged `{}`", tag.node));
            let diagnostic = if self.column_tags.iter().any(|known| tag.node.covers(known)) {
                diagnostic.help(format!("columns are; write `with columns tagged {}`", tag.node))
            } else {
                suggest(diagnostic, tag.node.as_str(), self.source_tags.iter().map(|tag| tag.as_str()))
            };
            found.push(placed(diagnostic, tag.span));
        }
    }

    pub(super) fn column_tag(&self, tag: &At<Tag>, found: &mut Vec<Diagnostic>) {
        if !self.column_tags.iter().any(|known| tag.node.covers(known)) {
            let diagnostic = Diagnostic::error("policy::unknown-tag", format!("no column is tagged `{}`", tag.node));
            found.push(placed(
                suggest(diagnostic, tag.node.as_str(), self.column_tags.iter().map(|tag| tag.as_str())),
                tag.span,
            ));
        }
    }

    pub(super) fn condition(&self, condition: &Condition, found: &mut Vec<Diagnostic>) {
        match condition {
            Condition::Any(parts) | Condition::All(parts) => parts.iter().for_each(|part| self.condition(part, found)),
            Condition::Test(Test::MemberOf(group)) => self.group(&group.node, group.span, found),
            Condition::Test(Test::HasAttribute { key, value }) => self.attribute(&key.node, value, key.span, found),
            Condition::Test(Test::Owner | Test::Permitted(_)) => {}
            Condition::Test(Test::UnderPurpose(purpose)) => self.purpose(&purpose.node, purpose.span, found),
        }
    }

    /// Only a warning: a policy may come before the project that it is made for.
    pub(super) fn purpose(&self, purpose: &PurposeName, span: Option<Span>, found: &mut Vec<Diagnostic>) {
        if !self.purposes.iter().any(|known| purpose.covers(known)) {
            let message = format!("nobody can act under purpose `{purpose}` yet: no project has it");
            let diagnostic = Diagnostic::warning("policy::unknown-purpose", message);
            let known = self.purposes.iter().map(|known| known.as_str());
            found.push(placed(suggest(diagnostic, purpose.as_str(), known), span));
        }
    }

    fn person(&self, person: &PrincipalId, found: &mut Vec<Diagnostic>) {
        if !self.people.contains(person) {
            let diagnostic = Diagnostic::error("policy::unknown-user", format!("unknown user `{person}`"));
            let known: Vec<String> = self.people.iter().map(|known| known.to_string()).collect();
            found.push(suggest(diagnostic, &person.to_string(), known.iter().map(String::as_str)));
        }
    }

    pub(super) fn approvers(&self, approvers: &[Approver], found: &mut Vec<Diagnostic>) {
        for approver in approvers {
            match approver {
                Approver::Person(person) => self.person(person, found),
                Approver::Owner | Approver::Holder(_) => {}
            }
        }
    }

    pub(super) fn owners(&self, owners: &PrincipalSet, found: &mut Vec<Diagnostic>) {
        match owners {
            PrincipalSet::User(person) => self.person(person, found),
            PrincipalSet::Group(group) => self.group(group, None, found),
        }
    }

    pub(super) fn schema(&self, schema: &At<String>, found: &mut Vec<Diagnostic>) {
        if !self.schemas.contains(schema.node.as_str()) {
            let message = format!("no data source is in schema `{}`", schema.node);
            let diagnostic = Diagnostic::error("policy::unknown-schema", message);
            found.push(placed(suggest(diagnostic, &schema.node, self.schemas.iter().copied()), schema.span));
        }
    }

    pub(super) fn predicate(&self, predicate: &Predicate, found: &mut Vec<Diagnostic>) {
        let mut all = |parts: &[&Predicate]| parts.iter().for_each(|part| self.predicate(part, found));
        match predicate {
            Predicate::Literal(_) | Predicate::Column(_) => {}
            Predicate::Compare { left, right, .. } => all(&[left, right]),
            Predicate::Between { value, low, high, .. } => all(&[value, low, high]),
            Predicate::In { value, list, .. } => {
                self.predicate(value, found);
                list.iter().for_each(|item| self.predicate(item, found));
            }
            Predicate::InLookup { value, lookup, .. } => {
                self.predicate(value, found);
                self.lookup(lookup, found);
            }
            Predicate::Exists { lookup, .. } => self.lookup(lookup, found),
            Predicate::Like { value, pattern, .. } => all(&[value, pattern]),
            Predicate::IsNull { value, .. } | Predicate::Not(value) => all(&[value]),
            Predicate::And(parts) | Predicate::Or(parts) | Predicate::Call { args: parts, .. } => {
                parts.iter().for_each(|part| self.predicate(part, found));
            }
            Predicate::User(call) => self.user_call(call, found),
        }
    }

    fn lookup(&self, lookup: &LookupQuery, found: &mut Vec<Diagnostic>) {
        lookup.key.iter().chain(&lookup.filter).for_each(|part| self.predicate(part, found));
    }

    fn user_call(&self, call: &At<UserCall>, found: &mut Vec<Diagnostic>) {
        match &call.node {
            UserCall::Username
            | UserCall::Iam
            | UserCall::MaskedColumn
            | UserCall::ColumnTagged(_)
            | UserCall::ColumnReference(_) => {}
            UserCall::IsInGroups(groups) => groups.iter().for_each(|group| self.group(group, call.span, found)),
            UserCall::HasAttribute(key, value) => self.attribute(key, value, call.span, found),
            UserCall::AttributeValuesContains(key, value, _) => {
                self.key(key, call.span, found);
                self.predicate(value, found);
            }
            UserCall::GroupsContains(value, _) | UserCall::PurposesContains(value, _) => self.predicate(value, found),
            UserCall::InterpolatedComparison { value, op, text } => {
                self.predicate(value, found);
                if let Some(AnyOf::Attribute(key)) = text.any_of() {
                    self.key(key, call.span, found);
                }
                if let (Compare::NotEqual, Some(any)) = (op, text.any_of()) {
                    let message = format!("of several values of `{any}` one is always different");
                    let help = "to leave out rows with one of them, write `NOT @interpolatedComparison(…, '=', …)`";
                    found.push(placed(Diagnostic::warning("policy::always-different", message).help(help), call.span));
                }
            }
            UserCall::IsUsingPurpose(purpose) => self.purpose(purpose, call.span, found),
        }
    }
}

/// Whether `pattern` ends in `.*` and stands for `value`.
fn is_below(value: &str, pattern: &str) -> bool {
    let rest = pattern.strip_suffix(".*").and_then(|parent| value.strip_prefix(parent));
    rest.is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested_and_far_ones_are_listed() {
        let help = |wrong: &str, known: &[&str]| {
            suggest(Diagnostic::error("x", ""), wrong, known.iter().copied()).help.unwrap()
        };
        assert_eq!(help("emial", &["email", "id"]), "did you mean `email`?");
        assert_eq!(help("SSN", &["ssn", "id"]), "did you mean `ssn`?");
        assert_eq!(help("salary", &["ssn", "id"]), "there are `id`, `ssn`");
        assert_eq!(
            help("salary", &["a", "b", "c", "d", "e", "f", "g"]),
            "there are `a`, `b`, `c`, `d`, `e` and 2 more"
        );
        assert_eq!(help("x", &[]), "there are none yet");
    }
}
