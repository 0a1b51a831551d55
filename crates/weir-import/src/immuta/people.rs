//! Conditions on people: groups, attributes and purposes under one operator.

use weir_model::{AttributeKey, PurposeName};
use weir_policy::ast::{At, Condition, Predicate, Test, UserCall};
use weir_policy::language;

use super::DIALECT;
use crate::error::short;
use crate::make;
use crate::sql;
use crate::tree::{Fields, Node, Wrong};

/// Tests as far as Weir has them.
#[derive(Default)]
pub(super) struct People {
    tests: Vec<Result<Condition, String>>,
    /// Absent when it is not said, or not known.
    all: Option<bool>,
}

/// Whether all have to hold.
pub(super) fn operator(operator: &str) -> Option<bool> {
    match operator.to_lowercase().as_str() {
        "all" | "and" => Some(true),
        "any" | "or" => Some(false),
        _ => None,
    }
}

/// A list of names, each as a text or under `name`.
pub(super) fn names<'a>(fields: &mut Fields<'a>, key: &'static str) -> Result<Vec<&'a str>, Wrong> {
    let mut names = Vec::new();
    for (path, node) in fields.list(key)? {
        match node {
            Node::Text(name) => names.push(name.as_str()),
            Node::Null | Node::Truth(_) | Node::Number(_) | Node::List(_) | Node::Map(_) => {
                match Fields::new(node, &path)?.text("name")? {
                    Some(name) => names.push(name),
                    None => return Err((path, "expected a name".to_owned())),
                }
            }
        }
    }
    Ok(names)
}

impl People {
    /// `rule` is the operator that stands beside, for those who write it there.
    pub(super) fn read(node: &Node, path: &str, rule: Option<&str>) -> Result<Self, Wrong> {
        let mut fields = Fields::new(node, path)?;
        let said = fields.text("operator")?.or(rule);
        let mut tests: Vec<Result<Condition, String>> = Vec::new();
        tests.extend(names(&mut fields, "groups")?.into_iter().map(make::group));
        tests.extend(names(&mut fields, "purposes")?.into_iter().map(purpose));
        for (path, node) in fields.list("attributes")? {
            let mut attribute = Fields::new(node, &path)?;
            tests.push(attribute_test(attribute.text("name")?, attribute.get("value")));
        }
        for (path, node) in fields.list("conditions")? {
            tests.push(condition(node, &path)?);
        }
        tests.extend(fields.unknown().into_iter().map(|key| Err(format!("the key `{}` is not known", short(key)))));
        let all = said.and_then(operator);
        if let (Some(said), None) = (said, all) {
            tests.push(Err(format!("the operator `{}` is not known", short(said))));
        }
        Ok(Self { tests, all })
    }

    /// Those who are surely meant, and why there may be more. Nobody is surely meant without a test.
    pub(super) fn at_most(&self) -> (Option<Condition>, Option<String>) {
        let known: Vec<Condition> = self.tests.iter().filter_map(|test| test.clone().ok()).collect();
        let mut why = self.tests.iter().find_map(|test| test.as_ref().err()).cloned();
        if self.tests.is_empty() {
            return (None, Some("it has no conditions".to_owned()));
        }
        if self.all.is_none() && known.len() > 1 {
            why = why.or_else(|| Some("its conditions have no operator".to_owned()));
            return (if why.is_some() && known.len() < self.tests.len() { None } else { make::all_of(known) }, why);
        }
        let condition = match self.all {
            Some(false) => make::any_of(known),
            Some(true) | None if why.is_some() => None,
            Some(true) | None => make::all_of(known),
        };
        (condition, why)
    }
}

fn purpose(name: &str) -> Result<Condition, String> {
    let purpose = PurposeName::new(name).map_err(|error| error.to_string())?;
    Ok(Condition::Test(Test::UnderPurpose(At::from(purpose))))
}

fn attribute_test(name: Option<&str>, value: Option<&Node>) -> Result<Condition, String> {
    let key = AttributeKey::new(name.unwrap_or("")).map_err(|error| error.to_string())?;
    let value = match value {
        Some(Node::Text(value) | Node::Number(value)) => value.clone(),
        Some(Node::Truth(value)) => value.to_string(),
        Some(Node::Null | Node::List(_) | Node::Map(_)) | None => {
            return Err(format!("the attribute `{}` has no value", short(key.as_str())));
        }
    };
    has_attribute(key, value)
}

fn has_attribute(key: AttributeKey, value: String) -> Result<Condition, String> {
    if value.contains('@') && (value.contains("@hostname") || value.contains("@database")) {
        return Err(format!("Weir does not put anything into the value `{}`", short(&value)));
    }
    Ok(Condition::Test(Test::HasAttribute { key: At::from(key), value }))
}

/// A condition of the first interface.
fn condition(node: &Node, path: &str) -> Result<Result<Condition, String>, Wrong> {
    let mut fields = Fields::new(node, path)?;
    fields.pass_over(&["iam"]);
    let kind = fields.text("type")?.unwrap_or("");
    let found = match kind {
        "groups" => {
            let group = match fields.get("group") {
                Some(node) => Fields::new(node, &fields.path_of("group"))?.text("name")?,
                None => None,
            };
            group.map_or_else(|| Err("a condition has no group".to_owned()), make::group)
        }
        "authorizations" => match fields.get("authorization") {
            Some(node) => {
                let mut authorization = Fields::new(node, &fields.path_of("authorization"))?;
                attribute_test(authorization.text("auth")?, authorization.get("value"))
            }
            None => Err("a condition has no attribute".to_owned()),
        },
        "purposes" => match fields.text("value")? {
            Some(name) => purpose(name),
            None => Err("a condition has no purpose".to_owned()),
        },
        other => Err(format!("the condition `{}` is not known", short(other))),
    };
    Ok(match fields.unknown().first() {
        Some(key) => found.and_then(|_| Err(format!("the key `{}` of a condition is not known", short(key)))),
        None => found,
    })
}

/// A condition that is written in functions: `@isInGroups('a') AND @hasAttribute('b', 'c')`.
pub(super) fn advanced(text: &str) -> Result<Condition, String> {
    let predicate = sql::condition(text, DIALECT)?;
    from_predicate(&predicate)
}

fn from_predicate(predicate: &Predicate) -> Result<Condition, String> {
    let parts = |parts: &[Predicate]| parts.iter().map(from_predicate).collect::<Result<Vec<_>, _>>();
    let nobody = || "it has no conditions".to_owned();
    match predicate {
        Predicate::And(all) => make::all_of(parts(all)?).ok_or_else(nobody),
        Predicate::Or(any) => make::any_of(parts(any)?).ok_or_else(nobody),
        Predicate::User(At { node: UserCall::IsInGroups(groups), .. }) => {
            let groups = groups.iter().map(|group| Condition::Test(Test::MemberOf(At::from(group.clone()))));
            make::all_of(groups.collect()).ok_or_else(nobody)
        }
        Predicate::User(At { node: UserCall::HasAttribute(key, value), .. }) => {
            has_attribute(key.clone(), value.clone())
        }
        Predicate::User(At { node: UserCall::IsUsingPurpose(purpose), .. }) => {
            Ok(Condition::Test(Test::UnderPurpose(At::from(purpose.clone()))))
        }
        Predicate::Literal(_)
        | Predicate::Column(_)
        | Predicate::Compare { .. }
        | Predicate::Between { .. }
        | Predicate::In { .. }
        | Predicate::InLookup { .. }
        | Predicate::Exists { .. }
        | Predicate::Like { .. }
        | Predicate::IsNull { .. }
        | Predicate::Not(_)
        | Predicate::Call { .. }
        | Predicate::User(_) => {
            let text = language::predicate_text(predicate);
            Err(format!("`{}` is no condition for subscriptions", short(&text)))
        }
    }
}
