//! Which rows are shown.

use weir_model::AttributeKey;
use weir_policy::ast::{Ago, At, Match, MatchColumn, Predicate, RowCondition, TimeUnit, TimeWindow, UserCall};

use super::DIALECT;
use crate::error::short;
use crate::make;
use crate::sql;
use crate::tree::{Fields, Node, Wrong};

const ENTITLEMENTS: &str = "row restriction by user entitlements";
const WHERE: &str = "row restriction by custom where clause";
const FIRST: &str = "roworobjectrestriction";
const SAMPLE: &str = "minimization";
const TIME: &str = "time restriction";

/// The kinds of rules that show rows, in small letters.
pub(super) const KINDS: [&str; 5] = [ENTITLEMENTS, WHERE, FIRST, SAMPLE, TIME];

pub(super) fn read(kind: &str, config: &Node, path: &str, how: &mut Vec<String>) -> Result<RowCondition, Wrong> {
    let mut fields = Fields::new(config, path)?;
    let rows = match kind {
        ENTITLEMENTS => entitlements(&mut fields)?,
        FIRST => match fields.get("qualifications") {
            Some(node) => {
                let mut inner = Fields::new(node, &fields.path_of("qualifications"))?;
                entitlements(&mut inner)?
            }
            None => custom(&mut fields)?,
        },
        WHERE => custom(&mut fields)?,
        SAMPLE => sample(&mut fields)?,
        _ => time(&mut fields)?,
    };
    let rows = match fields.unknown().first() {
        Some(key) => rows.and_then(|_| Err(format!("the key `{}` of its config is not known", short(key)))),
        None => rows,
    };
    Ok(rows.unwrap_or_else(|why| {
        how.push(format!("{why}; it shows no rows"));
        RowCondition::Where(make::truth(false))
    }))
}

fn custom(fields: &mut Fields<'_>) -> Result<Result<RowCondition, String>, Wrong> {
    // What the builder of predicates keeps beside them.
    fields.pass_over(&["column", "invert", "values"]);
    Ok(match fields.get("predicate") {
        Some(Node::Text(text)) => match sql::condition(text, DIALECT) {
            Ok(predicate) => Ok(RowCondition::Where(predicate)),
            Err(why) => Err(format!("its predicate is not understood ({why})")),
        },
        Some(Node::Truth(truth)) => Ok(RowCondition::Where(make::truth(*truth))),
        Some(Node::Null | Node::Number(_) | Node::List(_) | Node::Map(_)) | None => {
            Err("it has no predicate".to_owned())
        }
    })
}

/// One match as it is; of several the condition of each.
fn entitlements(fields: &mut Fields<'_>) -> Result<Result<RowCondition, String>, Wrong> {
    let operator = fields.text("operator")?.map(super::people::operator);
    let mut matches = Vec::new();
    for key in ["matches", "conditions"] {
        for (path, node) in fields.list(key)? {
            matches.push(one(node, &path)?);
        }
    }
    let matches: Result<Vec<(Match, MatchColumn)>, String> = matches.into_iter().collect();
    Ok(matches.and_then(|mut matches| match (matches.len(), operator) {
        (0, _) => Err("it matches nothing".to_owned()),
        (_, Some(None)) => Err("the operator of its matches is not known".to_owned()),
        (1, _) => match matches.pop() {
            Some((user, column)) => Ok(RowCondition::Match { user, column }),
            None => Err("it matches nothing".to_owned()),
        },
        (_, operator) => {
            let parts = matches.into_iter().map(matching).collect();
            // Without an operator all have to match.
            let any = operator == Some(Some(false));
            Ok(RowCondition::Where(if any { make::or(parts) } else { make::and(parts) }))
        }
    }))
}

fn one(node: &Node, path: &str) -> Result<Result<(Match, MatchColumn), String>, Wrong> {
    let mut fields = Fields::new(node, path)?;
    fields.pass_over(&["iam"]);
    let key = |name: Option<&str>| match name {
        Some(name) => AttributeKey::new(name).map_err(|error| error.to_string()),
        None => Err("a match has no attribute".to_owned()),
    };
    let user = match fields.text("type")? {
        Some("group" | "groups") => Ok(Match::Group),
        Some("purpose" | "purposes") => Ok(Match::Purpose),
        Some("attribute" | "attributes" | "authorizations") => {
            let name = match fields.get("authorization") {
                Some(node) => Fields::new(node, &fields.path_of("authorization"))?.text("auth")?,
                None => fields.text("attribute")?,
            };
            key(name).map(|key| Match::Attribute(At::from(key)))
        }
        other => Err(format!("the match `{}` is not known", short(other.unwrap_or("")))),
    };
    let column = match (fields.text("tag")?, fields.text("column")?, fields.text("field")?) {
        (Some(tag), None, None) => make::tag(tag).map(|tag| MatchColumn::Tagged(At::from(tag))),
        (None, Some(name), None) | (None, None, Some(name)) => match weir_model::ColumnName::new(name) {
            Ok(name) => Ok(MatchColumn::Named(At::from(name))),
            Err(error) => Err(error.to_string()),
        },
        (_, _, _) => Err("a match needs one tag or one column".to_owned()),
    };
    let found = user.and_then(|user| column.map(|column| (user, column)));
    Ok(match fields.unknown().first() {
        Some(key) => found.and_then(|_| Err(format!("the key `{}` of a match is not known", short(key)))),
        None => found,
    })
}

fn matching((user, column): (Match, MatchColumn)) -> Predicate {
    let column = match column {
        MatchColumn::Named(name) => UserCall::ColumnReference(name.node),
        MatchColumn::Tagged(tag) => UserCall::ColumnTagged(tag.node),
    };
    let column = Box::new(Predicate::User(At::from(column)));
    Predicate::User(At::from(match user {
        Match::Group => UserCall::GroupsContains(column, None),
        Match::Purpose => UserCall::PurposesContains(column, None),
        Match::Attribute(key) => UserCall::AttributeValuesContains(key.node, column, None),
    }))
}

fn sample(fields: &mut Fields<'_>) -> Result<Result<RowCondition, String>, Wrong> {
    let given = fields.get("percent").or_else(|| fields.get("percentage"));
    Ok(match given {
        Some(Node::Number(percent)) if percent.parse::<f64>().is_ok_and(|percent| percent > 0.0 && percent < 100.0) => {
            Ok(RowCondition::Sample(At::from(percent.clone())))
        }
        Some(node) => Err(format!("{} is no percentage above 0 and below 100", node.what())),
        None => Err("it does not say how much of the data it shows".to_owned()),
    })
}

/// Only with its unit, for without one it cannot be known how long it is.
fn time(fields: &mut Fields<'_>) -> Result<Result<RowCondition, String>, Wrong> {
    let (older, amount) = (fields.truth("isOlderThan")?, fields.whole("time")?);
    let unit = fields.text("unit")?.map(str::to_lowercase);
    let (Some(older), Some(amount), Some(unit)) = (older, amount, unit) else {
        return Ok(Err("it does not say how old, with the unit".to_owned()));
    };
    let unit = TimeUnit::ALL.into_iter().find(|one| unit.trim_end_matches('s') == one.as_str());
    Ok(match (unit, u32::try_from(amount)) {
        (Some(unit), Ok(amount)) if amount > 0 => {
            Ok(RowCondition::Time(TimeWindow { newer: !older, ago: Ago { amount, unit } }))
        }
        (_, _) => Err("how old is not known".to_owned()),
    })
}
