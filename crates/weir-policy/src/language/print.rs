//! From a policy to English. Everything printed here is read back by the English parser as the same policy.

use weir_model::{PrincipalId, PrincipalSet, SourceName, Value};

use super::{value, words};
use crate::ast::{
    Action, Ago, Approver, Body, Cascade, Certification, Circumstance, Circumstances, Columns, Condition, LookupQuery,
    MaskAction, Match, MatchColumn, Merge, Method, Policy, Predicate, Randomized, RoundTo, RowCondition, Scope,
    Statement, Subscribe, Subscribers, Test, TimeUnit, TimeWindow, UserCall,
};

pub(super) fn policy(policy: &Policy) -> String {
    let sentence = statement(&policy.statement);
    let keyed = *policy == Policy::new(policy.key.clone(), policy.statement.clone());
    if keyed && policy.key == super::derived_key(&sentence) {
        return sentence;
    }
    let title = policy.title.as_ref().map(|title| format!(" {}", quoted(title))).unwrap_or_default();
    let priority = if policy.priority == 0 { String::new() } else { format!(" priority {}", policy.priority) };
    let staged = if policy.staged { " staged" } else { "" };
    let template = if policy.template { " template" } else { "" };
    let certification = policy.certification.as_ref().map(certification).unwrap_or_default();
    let key = dotted(policy.key.as_str());
    format!("policy {key}{title}{priority}{staged}{template}{certification}:\n{sentence}")
}

fn certification(certification: &Certification) -> String {
    let label = certification.label.as_ref().map(|label| format!(" label {}", text(label))).unwrap_or_default();
    let tags: Vec<String> = certification.tags.iter().map(|tag| dotted(tag.as_str())).collect();
    let tags = if tags.is_empty() { String::new() } else { format!(" tags {}", tags.join(", ")) };
    format!(" certification {}{label}{tags}", text(&certification.text))
}

pub(super) fn statement(statement: &Statement) -> String {
    let body = match &statement.body {
        Body::Subscribe(subscribe) => self::subscribe(subscribe),
        Body::Data(cascade) => self::cascade(cascade),
    };
    let on = circumstances(&statement.on);
    let mut chars = body.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).chain(on.chars()).collect()
}

fn subscribe(subscribe: &Subscribe) -> String {
    let who = match &subscribe.who {
        Subscribers::Anyone => "allow anyone to subscribe".to_owned(),
        Subscribers::When(condition) => {
            format!("allow users to subscribe when {}", self::condition(condition, "user "))
        }
        Subscribers::Asking(approvers) => {
            let approvers: Vec<String> = approvers.iter().map(approver).collect();
            format!("allow anyone who asks to subscribe with approval {}", approvers.join(" and "))
        }
        Subscribers::Selected => "allow individually selected users to subscribe".to_owned(),
    };
    match subscribe.merge {
        Merge::Share => who,
        Merge::Require => who + " always required",
    }
}

fn approver(approver: &Approver) -> String {
    match approver {
        Approver::Owner => "by an owner".to_owned(),
        Approver::Holder(permission) => format!("by a holder of {}", permission.as_str()),
        Approver::Person(id) => format!("by user {}", person(id)),
    }
}

fn cascade(cascade: &Cascade) -> String {
    let rules = cascade.rules.iter().map(|rule| format!("{} {}", action(&rule.action), scope(&rule.scope)));
    rules.collect::<Vec<_>>().join(" otherwise ")
}

fn action(action: &Action) -> String {
    match action {
        Action::Mask(mask @ MaskAction { columns, when, .. }) => {
            let methods: Vec<String> = mask.methods().map(|method| self::method(&method.node)).collect();
            let when = when.as_ref().map(|when| format!(" where {}", predicate(when))).unwrap_or_default();
            format!("mask {} {}{when}", methods.join(" or else "), self::columns(columns))
        }
        Action::ShowRows(RowCondition::Where(condition)) => format!("only show rows where {}", predicate(condition)),
        Action::ShowRows(RowCondition::Match { user, column }) => {
            let user = match user {
                Match::Group => "is a member of group".to_owned(),
                Match::Attribute(key) => format!("possesses an attribute in {}", dotted(key.node.as_str())),
                Match::Purpose => "is acting under a purpose".to_owned(),
            };
            let column = match column {
                MatchColumn::Named(column) => name(column.node.as_str()),
                MatchColumn::Tagged(tag) => format!("tagged {}", dotted(tag.node.as_str())),
            };
            format!("only show rows where user {user} that matches the value in the column {column}")
        }
        Action::ShowRows(RowCondition::Time(TimeWindow { newer, ago })) => {
            let side = if *newer { "more recent" } else { "older" };
            format!("only show data by time where data is {side} than {}", self::ago(*ago))
        }
        Action::ShowRows(RowCondition::Sample(percent)) => format!("only show {}% of the data", percent.node),
        Action::LimitToPurposes(purposes) => {
            let noun = if purposes.len() == 1 { "purpose" } else { "purposes" };
            format!("limit usage to {noun} {}", list(purposes, |purpose| dotted(purpose.node.as_str())))
        }
    }
}

fn ago(Ago { amount, unit }: Ago) -> String {
    format!("{amount} {}", if amount == 1 { unit.as_str() } else { value::plural(unit) })
}

pub(crate) fn method(method: &Method) -> String {
    match method {
        Method::Hash => "using hashing".to_owned(),
        Method::Null => "by making null".to_owned(),
        Method::Constant(value) => format!("using the constant {value}"),
        Method::Round(RoundTo::Number(number)) => format!("by rounding to {number}"),
        Method::Round(RoundTo::Calendar(unit)) => format!("by rounding to the {}", unit.as_str()),
        Method::RoundByProfile => "by rounding using the profile".to_owned(),
        Method::Regex { pattern, replacement, case_insensitive, global } => format!(
            "using the regex {} replaced with {}{}{}",
            text(pattern),
            text(replacement),
            if *case_insensitive { " case insensitive" } else { "" },
            if *global { " global" } else { "" },
        ),
        Method::Reversible => "with reversibility".to_owned(),
        Method::FormatPreserving => "with format preserving masking".to_owned(),
        Method::KAnonymous(least) => format!("with k-anonymization {least}"),
        Method::Randomized(randomized) => format!("using randomized response {}", self::randomized(randomized)),
        Method::Custom(expression) => format!("using the custom function {}", predicate(expression)),
    }
}

fn randomized(randomized: &Randomized) -> String {
    match randomized {
        Randomized::Replaced { percent, by } => format!("replacing {percent}% by {}", list(by, Value::to_string)),
        Randomized::Within(distance) => format!("within {distance}"),
        Randomized::WithinDays(days) => format!("within {}", ago(Ago { amount: *days, unit: TimeUnit::Day })),
    }
}

fn columns(columns: &Columns) -> String {
    match columns {
        Columns::Named(names) => {
            let noun = if names.len() == 1 { "column" } else { "columns" };
            format!("the {noun} {}", list(names, |column| name(column.node.as_str())))
        }
        Columns::Tagged(tag) => format!("values in columns tagged {}", dotted(tag.node.as_str())),
        Columns::AnyTag => "values in columns with any tag".to_owned(),
        Columns::NoTags => "values in columns with no tags".to_owned(),
        Columns::NamedLike { pattern, case_insensitive } => {
            format!("values in columns with names spelled like {}", spelled_like(&pattern.node, *case_insensitive))
        }
        Columns::All => "all columns".to_owned(),
    }
}

fn spelled_like(pattern: &str, case_insensitive: bool) -> String {
    text(pattern) + if case_insensitive { " case insensitive" } else { "" }
}

fn scope(scope: &Scope) -> String {
    match scope {
        Scope::Everyone => "for everyone".to_owned(),
        Scope::EveryoneExcept(except) => format!("for everyone except when {}", condition(except, "user ")),
        Scope::Who(who) => format!("for everyone who {}", condition(who, "")),
    }
}

/// `subject` comes before every test.
pub(super) fn condition(condition: &Condition, subject: &str) -> String {
    let nested = |parts: &[Condition], operator: &str| {
        let parts = parts.iter().map(|part| match part {
            Condition::Test(_) => self::condition(part, subject),
            Condition::Any(_) | Condition::All(_) => format!("({})", self::condition(part, subject)),
        });
        parts.collect::<Vec<_>>().join(operator)
    };
    match condition {
        Condition::Any(parts) => nested(parts, " or "),
        Condition::All(parts) => nested(parts, " and "),
        Condition::Test(Test::MemberOf(group)) => {
            format!("{subject}is a member of group {}", dotted(group.node.as_str()))
        }
        Condition::Test(Test::HasAttribute { key, value }) => {
            let value = if words::is_plain(value) { value.clone() } else { text(value) };
            format!("{subject}possesses attribute {} with value {value}", dotted(key.node.as_str()))
        }
        Condition::Test(Test::Owner) => format!("{subject}is an owner of the data source"),
        Condition::Test(Test::UnderPurpose(purpose)) => {
            format!("{subject}is acting under purpose {}", dotted(purpose.node.as_str()))
        }
        Condition::Test(Test::Permitted(permission)) => format!("{subject}has permission {}", permission.as_str()),
    }
}

fn circumstances(on: &Circumstances) -> String {
    let joined = |parts: &[Circumstance], operator: &str| {
        format!(" on data sources {}", parts.iter().map(circumstance).collect::<Vec<_>>().join(operator))
    };
    match on {
        Circumstances::AllSources => String::new(),
        Circumstances::Named(names) => {
            let noun = if names.len() == 1 { "source" } else { "sources" };
            format!(" on data {noun} {}", list(names, |source| source_name(&source.node, name)))
        }
        Circumstances::Any(parts) => joined(parts, " or "),
        Circumstances::All(parts) => joined(parts, " and "),
    }
}

fn circumstance(circumstance: &Circumstance) -> String {
    match circumstance {
        Circumstance::SourceTagged(tag) => format!("tagged {}", dotted(tag.node.as_str())),
        Circumstance::ColumnTagged(tag) => format!("with columns tagged {}", dotted(tag.node.as_str())),
        Circumstance::ColumnNamedLike { pattern, case_insensitive } => {
            format!("with column names spelled like {}", spelled_like(&pattern.node, *case_insensitive))
        }
        Circumstance::NoTags => "with no tags".to_owned(),
        Circumstance::AnyTag => "with any tag".to_owned(),
        Circumstance::InSchema(schema) => format!("in schema {}", name(&schema.node)),
        Circumstance::OwnedBy(PrincipalSet::User(id)) => format!("owned by user {}", person(id)),
        Circumstance::OwnedBy(PrincipalSet::Group(group)) => format!("owned by group {}", dotted(group.as_str())),
        Circumstance::ChosenByOwner => "chosen by their owners".to_owned(),
    }
}

/// How tightly a form of predicate binds; an operand that binds less tightly than its place asks is put in parentheses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Or,
    And,
    Not,
    Comparison,
    Operand,
}

fn binding(predicate: &Predicate) -> Binding {
    match predicate {
        Predicate::Or(_) => Binding::Or,
        Predicate::And(_) => Binding::And,
        Predicate::Not(_) | Predicate::Exists { negated: true, .. } => Binding::Not,
        Predicate::Compare { .. }
        | Predicate::Between { .. }
        | Predicate::In { .. }
        | Predicate::InLookup { .. }
        | Predicate::Like { .. }
        | Predicate::IsNull { .. } => Binding::Comparison,
        Predicate::Literal(_)
        | Predicate::Column(_)
        | Predicate::Exists { negated: false, .. }
        | Predicate::Call { .. }
        | Predicate::User(_) => Binding::Operand,
    }
}

fn bound(predicate: &Predicate, at_least: Binding) -> String {
    let text = self::predicate(predicate);
    if binding(predicate) < at_least { format!("({text})") } else { text }
}

fn operand(predicate: &Predicate) -> String {
    bound(predicate, Binding::Operand)
}

pub(super) fn predicate(predicate: &Predicate) -> String {
    let not = |negated: bool| if negated { "NOT " } else { "" };
    match predicate {
        Predicate::Literal(value) => value.to_string(),
        Predicate::Column(column) => {
            let qualifier = column.node.qualifier.iter().flat_map(|qualifier| qualifier.split('.'));
            qualifier.chain([column.node.name.as_str()]).map(column_part).collect::<Vec<_>>().join(".")
        }
        Predicate::Compare { op, left, right } => format!("{} {} {}", operand(left), op.as_str(), operand(right)),
        Predicate::Between { value, low, high, negated } => {
            format!("{} {}BETWEEN {} AND {}", operand(value), not(*negated), operand(low), operand(high))
        }
        Predicate::In { value, list: values, negated } => {
            format!("{} {}IN ({})", operand(value), not(*negated), list(values, self::predicate))
        }
        Predicate::InLookup { value, lookup, negated } => {
            format!("{} {}IN ({})", operand(value), not(*negated), self::lookup(lookup))
        }
        Predicate::Exists { lookup, negated } => format!("{}EXISTS ({})", not(*negated), self::lookup(lookup)),
        Predicate::Like { value, pattern, case_insensitive, negated } => {
            let like = if *case_insensitive { "ILIKE" } else { "LIKE" };
            format!("{} {}{like} {}", operand(value), not(*negated), operand(pattern))
        }
        Predicate::IsNull { value, negated } => format!("{} IS {}NULL", operand(value), not(*negated)),
        // A list in a list of its own kind is kept apart by parentheses.
        Predicate::And(parts) => parts.iter().map(|part| bound(part, Binding::Not)).collect::<Vec<_>>().join(" AND "),
        Predicate::Or(parts) => parts.iter().map(|part| bound(part, Binding::And)).collect::<Vec<_>>().join(" OR "),
        // `NOT EXISTS` is the negated form of EXISTS, not a NOT around it.
        Predicate::Not(inner) if matches!(**inner, Predicate::Exists { negated: false, .. }) => {
            format!("NOT ({})", self::predicate(inner))
        }
        Predicate::Not(inner) => format!("NOT {}", bound(inner, Binding::Not)),
        Predicate::Call { function, args } => format!("{}({})", function.as_str(), list(args, self::predicate)),
        Predicate::User(call) => user_call(&call.node),
    }
}

fn lookup(lookup: &LookupQuery) -> String {
    let key = lookup.key.as_ref().map_or_else(|| "1".to_owned(), predicate);
    let alias = lookup.alias.as_ref().map(|alias| format!(" {}", column_part(alias))).unwrap_or_default();
    let filter = lookup.filter.as_ref().map(|filter| format!(" WHERE {}", predicate(filter))).unwrap_or_default();
    format!("SELECT {key} FROM {}{alias}{filter}", source_name(&lookup.source.node, column_part))
}

fn user_call(call: &UserCall) -> String {
    match call {
        UserCall::Username => "@username".to_owned(),
        UserCall::Iam => "@iam".to_owned(),
        UserCall::IsInGroups(groups) => format!("@isInGroups({})", list(groups, |group| text(group.as_str()))),
        UserCall::HasAttribute(key, value) => format!("@hasAttribute({}, {})", text(key.as_str()), text(value)),
        UserCall::AttributeValuesContains(key, value, placeholder) => {
            let value = with_placeholder(value, placeholder.as_deref());
            format!("@attributeValuesContains({}, {value})", text(key.as_str()))
        }
        UserCall::GroupsContains(value, placeholder) => {
            format!("@groupsContains({})", with_placeholder(value, placeholder.as_deref()))
        }
        UserCall::PurposesContains(value, placeholder) => {
            format!("@purposesContains({})", with_placeholder(value, placeholder.as_deref()))
        }
        UserCall::InterpolatedComparison { value, op, text: template } => {
            let (op, template) = (text(op.as_str()), text(&template.to_string()));
            format!("@interpolatedComparison({}, {op}, {template})", predicate(value))
        }
        UserCall::IsUsingPurpose(purpose) => format!("@isUsingPurpose({})", text(purpose.as_str())),
        UserCall::MaskedColumn => "@column".to_owned(),
        UserCall::ColumnTagged(tag) => format!("@columnTagged({})", text(tag.as_str())),
        UserCall::ColumnReference(column) => format!("@columnReference({})", text(column.as_str())),
    }
}

fn with_placeholder(value: &Predicate, placeholder: Option<&str>) -> String {
    let placeholder = placeholder.map(|placeholder| format!(", {}", text(placeholder))).unwrap_or_default();
    predicate(value) + &placeholder
}

fn list<T>(items: &[T], print: impl FnMut(&T) -> String) -> String {
    items.iter().map(print).collect::<Vec<_>>().join(", ")
}

fn text(text: &str) -> String {
    Value::Text(text.to_owned()).to_string()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn name(name: &str) -> String {
    if words::is_plain(name) { name.to_owned() } else { quoted(name) }
}

/// A name whose dots are part of it.
fn dotted(name: &str) -> String {
    if name.split('.').all(words::is_plain) { name.to_owned() } else { quoted(name) }
}

/// As the identity manager and the name, if it is not the built-in one.
fn person(id: &PrincipalId) -> String {
    let text = id.to_string();
    let plain = |part: &str| part.split('.').all(words::is_plain);
    match text.split_once(':') {
        Some((iam, name)) if plain(iam) && plain(name) => text,
        Some(_) | None => dotted(&text),
    }
}

/// Inside a predicate, where a hyphen would look like a minus.
fn column_part(part: &str) -> String {
    if words::is_plain(part) && !part.contains('-') { part.to_owned() } else { quoted(part) }
}

fn source_name(source: &SourceName, part: fn(&str) -> String) -> String {
    format!("{}.{}", part(source.schema()), part(source.table()))
}
