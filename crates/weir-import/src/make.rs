//! From the parts of a policy to a policy that Weir reads.

use weir_model::{ColumnName, GroupName, SourceName, Tag};
use weir_policy::ast::{
    Action, At, Body, Cascade, Circumstance, Circumstances, Columns, Condition, MaskAction, Merge, Method, Policy,
    Predicate, RowCondition, Rule, Scope, Statement, Subscribe, Subscribers, Test, UserCall,
};
use weir_policy::{Compare, language};

use crate::keys::Keys;
use crate::report::Report;

/// What an import gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// In the order in which they are to be saved.
    pub policies: Vec<Imported>,
    pub report: Report,
}

/// A policy, checked to be read as it was meant.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    pub policy: Policy,
    /// In YAML, as a file.
    pub text: String,
}

/// Longest title, in bytes.
const TITLE_BYTES_MAX: usize = 200;

/// The policies of an import as they are made.
#[derive(Default)]
pub(crate) struct Maker {
    keys: Keys,
    pub(crate) policies: Vec<Imported>,
}

/// What is the same for all policies that one policy becomes.
pub(crate) struct Origin<'a> {
    /// What keys are made from.
    pub(crate) name: &'a str,
    pub(crate) title: &'a str,
    pub(crate) staged: bool,
}

impl Maker {
    /// Adds a policy for each of the circumstances; an error when Weir would not read it as it is meant.
    pub(crate) fn add(
        &mut self,
        origin: &Origin<'_>,
        suffix: &str,
        priority: i32,
        body: &Body,
        on: &[Circumstances],
    ) -> Result<Vec<String>, String> {
        let mut made = Vec::new();
        let mut name = origin.name.to_owned();
        if !suffix.is_empty() {
            name = format!("{} {suffix}", short_name(origin.name));
        }
        for on in on {
            let statement = Statement { body: body.clone(), on: on.clone() };
            let policy = Policy {
                key: self.keys.key(&name),
                title: title(origin.title),
                staged: origin.staged,
                template: false,
                certification: None,
                priority,
                statement,
            };
            made.push(written(policy)?);
        }
        let keys = made.iter().map(|imported| imported.policy.key.to_string()).collect();
        self.policies.extend(made);
        Ok(keys)
    }
}

/// Room for a suffix in a key.
fn short_name(name: &str) -> String {
    name.chars().take(60).collect()
}

fn title(text: &str) -> Option<String> {
    let mut title: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    while title.len() > TITLE_BYTES_MAX {
        title.pop();
    }
    let title = title.trim();
    (!title.is_empty()).then(|| title.to_owned())
}

/// The policy with its text, which gives the same policy again.
fn written(policy: Policy) -> Result<Imported, String> {
    let text = language::to_yaml(&policy);
    let parsed = language::parse_yaml(&text);
    if let Some(diagnostic) = parsed.diagnostics.iter().find(|diagnostic| diagnostic.is_error()) {
        return Err(format!("Weir does not read it: {}", diagnostic.message));
    }
    match parsed.policies.as_slice() {
        [read] if *read == policy => Ok(Imported { policy, text }),
        _ => Err("Weir reads it in another way".to_owned()),
    }
}

pub(crate) fn group(name: &str) -> Result<Condition, String> {
    let group = GroupName::new(name).map_err(|error| error.to_string())?;
    Ok(Condition::Test(Test::MemberOf(group.into())))
}

/// Any of the conditions, as Weir keeps them; none when there is none.
pub(crate) fn any_of(conditions: Vec<Condition>) -> Option<Condition> {
    let flat = conditions.into_iter().flat_map(|one| if let Condition::Any(parts) = one { parts } else { vec![one] });
    several(flat.collect(), Condition::Any)
}

/// All of the conditions, as Weir keeps them; none when there is none.
pub(crate) fn all_of(conditions: Vec<Condition>) -> Option<Condition> {
    let flat = conditions.into_iter().flat_map(|one| if let Condition::All(parts) = one { parts } else { vec![one] });
    several(flat.collect(), Condition::All)
}

fn several(conditions: Vec<Condition>, join: fn(Vec<Condition>) -> Condition) -> Option<Condition> {
    let mut distinct: Vec<Condition> = Vec::new();
    for condition in conditions {
        if !distinct.contains(&condition) {
            distinct.push(condition);
        }
    }
    match distinct.len() {
        0 | 1 => distinct.pop(),
        _ => Some(join(distinct)),
    }
}

pub(crate) fn truth(truth: bool) -> Predicate {
    Predicate::Literal(weir_model::Value::Boolean(truth))
}

/// True for nobody, for no user has an empty name. `FALSE` for everyone would be taken for a slip.
pub(crate) fn nobody() -> Predicate {
    is_user("")
}

/// The person has this login.
pub(crate) fn is_user(name: &str) -> Predicate {
    let username = Predicate::User(At::from(UserCall::Username));
    let name = Predicate::Literal(weir_model::Value::Text(name.to_owned()));
    Predicate::Compare { op: Compare::Equal, left: Box::new(username), right: Box::new(name) }
}

pub(crate) fn is_in_group(name: &str) -> Result<Predicate, String> {
    let group = GroupName::new(name).map_err(|error| error.to_string())?;
    Ok(Predicate::User(At::from(UserCall::IsInGroups(vec![group]))))
}

/// Any of them; true for nobody when there is none.
pub(crate) fn or(parts: Vec<Predicate>) -> Predicate {
    let flat = parts.into_iter().flat_map(|part| if let Predicate::Or(inner) = part { inner } else { vec![part] });
    let mut parts: Vec<Predicate> = flat.collect();
    match parts.len() {
        0 => nobody(),
        1 => parts.pop().unwrap_or_else(nobody),
        _ => Predicate::Or(parts),
    }
}

pub(crate) fn and(parts: Vec<Predicate>) -> Predicate {
    let is_true = |part: &Predicate| *part == truth(true);
    let flat = parts.into_iter().flat_map(|part| if let Predicate::And(inner) = part { inner } else { vec![part] });
    let mut parts: Vec<Predicate> = flat.filter(|part| !is_true(part)).collect();
    match parts.len() {
        0 => truth(true),
        1 => parts.pop().unwrap_or_else(|| truth(true)),
        _ => Predicate::And(parts),
    }
}

pub(crate) fn not(part: Predicate) -> Predicate {
    if let Predicate::Not(inner) = part { *inner } else { Predicate::Not(Box::new(part)) }
}

pub(crate) fn subscribe(who: Subscribers, merge: Merge) -> Body {
    Body::Subscribe(Subscribe { who, merge })
}

pub(crate) fn data(rules: Vec<Rule>) -> Body {
    Body::Data(Cascade { rules })
}

pub(crate) fn rows(predicate: Predicate, scope: Scope) -> Rule {
    Rule { action: Action::ShowRows(RowCondition::Where(predicate)), scope }
}

pub(crate) fn mask(columns: Columns, method: Method, when: Option<Predicate>, scope: Scope) -> Rule {
    Rule { action: Action::Mask(MaskAction { columns, method: method.into(), or_else: Vec::new(), when }), scope }
}

/// No row for anybody.
pub(crate) fn no_rows() -> Body {
    data(vec![rows(nobody(), Scope::Everyone)])
}

/// What shows a column as it is.
pub(crate) fn clear() -> Method {
    Method::Custom(Box::new(Predicate::User(At::from(UserCall::MaskedColumn))))
}

pub(crate) fn named_columns(names: &[String]) -> Result<Columns, String> {
    let names = names.iter().map(|name| ColumnName::new(name.as_str()).map(At::from).map_err(|e| e.to_string()));
    let names: Vec<At<ColumnName>> = names.collect::<Result<_, _>>()?;
    if names.is_empty() { Err("no column is named".to_owned()) } else { Ok(Columns::Named(names)) }
}

pub(crate) fn tag(name: &str) -> Result<Tag, String> {
    Tag::new(name).map_err(|error| error.to_string())
}

pub(crate) fn in_schema(name: &str) -> Result<Circumstance, String> {
    SourceName::new(name, "table").map_err(|error| error.to_string())?;
    Ok(Circumstance::InSchema(At::from(name.to_owned())))
}

/// Sources that carry the tag or have a column that does.
pub(crate) fn tagged_anywhere(tag: &Tag) -> Circumstances {
    Circumstances::Any(vec![
        Circumstance::SourceTagged(At::from(tag.clone())),
        Circumstance::ColumnTagged(At::from(tag.clone())),
    ])
}
