//! Masks and the columns that they mask.

use weir_model::Value;
use weir_policy::ast::{At, CalendarUnit, Columns, Method, RoundTo};

use super::DIALECT;
use super::data::Deed;
use crate::error::short;
use crate::make;
use crate::sql;
use crate::tree::{Fields, Node, Wrong};

pub(super) fn read(config: &Node, path: &str, how: &mut Vec<String>) -> Result<Deed, Wrong> {
    let mut fields = Fields::new(config, path)?;
    let columns = columns(&mut fields)?;
    how.extend(columns.as_ref().err().map(|why| format!("{why}; it shows no rows")));
    let mut method = match fields.get("maskingConfig") {
        Some(node) => method(node, &fields.path_of("maskingConfig"))?,
        None => Err("it does not say how it masks".to_owned()),
    };
    let when = match fields.text("conditionalPredicate")?.filter(|text| !text.trim().is_empty()) {
        None => None,
        Some(text) => match sql::condition(text, DIALECT) {
            Ok(when) => Some(when),
            Err(why) => {
                method = Err(format!("its condition is not understood ({why}), so it masks all rows"));
                None
            }
        },
    };
    if let Some(key) = fields.unknown().first() {
        method = Err(format!("the key `{}` of its config is not known", short(key)));
    }
    Ok(match method {
        Ok(method) => Deed::Mask { columns, method, when },
        Err(why) => {
            how.push(format!("{why}; it gives NULL"));
            Deed::Mask { columns, method: Method::Null, when: None }
        }
    })
}

fn columns(fields: &mut Fields<'_>) -> Result<Result<Vec<Columns>, String>, Wrong> {
    let mut columns = Vec::new();
    for (path, node) in fields.list("fields")? {
        columns.push(column(node, &path)?);
    }
    let columns: Result<Vec<Columns>, String> = columns.into_iter().collect();
    Ok(columns.and_then(|columns| if columns.is_empty() { Err("it names no columns".to_owned()) } else { Ok(columns) }))
}

fn column(node: &Node, path: &str) -> Result<Result<Columns, String>, Wrong> {
    let mut field = Fields::new(node, path)?;
    let kind = field.text("type")?;
    let tagged = |name: Option<&str>| match name {
        Some(name) => make::tag(name).map(|tag| Columns::Tagged(At::from(tag))),
        None => Err("a field has no tag".to_owned()),
    };
    let found = match kind {
        Some("columnTags") => tagged(field.text("columnTag")?),
        // In the first interface a field is a tag.
        None => {
            field.pass_over(&["displayName", "hasLeafNodes", "source"]);
            tagged(field.text("name")?)
        }
        Some("noTags") => Ok(Columns::NoTags),
        Some("anyTag") => Ok(Columns::AnyTag),
        Some("columnRegex") => {
            let case_insensitive = field.truth("caseInsensitive")?.unwrap_or(false);
            match field.text("regex")? {
                Some(regex) if regex::Regex::new(regex).is_ok() => {
                    Ok(Columns::NamedLike { pattern: At::from(regex.to_owned()), case_insensitive })
                }
                Some(regex) => Err(format!("`{}` is not a regular expression of Weir", short(regex))),
                None => Err("a field has no regular expression".to_owned()),
            }
        }
        Some(other) => Err(format!("the field `{}` is not known", short(other))),
    };
    Ok(match field.unknown().first() {
        Some(key) => found.and_then(|_| Err(format!("the key `{}` of a field is not known", short(key)))),
        None => found,
    })
}

fn method(node: &Node, path: &str) -> Result<Result<Method, String>, Wrong> {
    let mut fields = Fields::new(node, path)?;
    let kind = match fields.get("type") {
        // Without quotes YAML takes the name of this mask for nothing.
        None if fields.raw("type").is_some() => "null".to_owned(),
        _ => fields.text("type")?.unwrap_or("").to_lowercase(),
    };
    let method = match kind.as_str() {
        "hash" | "consistent value" => {
            let metadata = fields.get("metadata");
            match metadata.filter(|node| **node != Node::Map(Vec::new())) {
                None => Ok(Method::Hash),
                Some(_) => Err("the `metadata` of its hash is not known".to_owned()),
            }
        }
        "null" => Ok(Method::Null),
        "constant" => constant(fields.get("constant")),
        "regex" => regex(&mut fields)?,
        "rounding" => rounding(&mut fields)?,
        "reversible" => Ok(Method::Reversible),
        "format preserving masking" => Ok(Method::FormatPreserving),
        "k-anonymization" => match fields.whole("k")?.map(u32::try_from) {
            Some(Ok(least)) if least >= 2 => Ok(Method::KAnonymous(least)),
            Some(_) => Err("its number is not one for k-anonymization".to_owned()),
            None => Err("it takes its number from a fingerprint of the data, which Weir does not have".to_owned()),
        },
        "custom function" => match fields.text("sqlFunction")? {
            None => Err("it has no function".to_owned()),
            Some(text) => match sql::expression(text.trim().trim_matches('\''), "@column", DIALECT) {
                Ok(expression) => Ok(Method::Custom(Box::new(expression))),
                Err(why) => Err(format!("its function is not understood ({why})")),
            },
        },
        other => Err(format!("the mask `{}` is not known with its options", short(other))),
    };
    Ok(match fields.unknown().first() {
        Some(key) => method.and_then(|_| Err(format!("the key `{}` of its mask is not known", short(key)))),
        None => method,
    })
}

fn constant(node: Option<&Node>) -> Result<Method, String> {
    match node {
        Some(Node::Text(text)) => Ok(Method::Constant(Value::Text(text.clone()))),
        Some(Node::Truth(truth)) => Ok(Method::Constant(Value::Boolean(*truth))),
        Some(Node::Number(number)) => match number.parse() {
            Ok(whole) => Ok(Method::Constant(Value::Int(whole))),
            Err(_) if number.chars().all(|c| c.is_ascii_digit() || c == '.' || c == '-') => {
                Ok(Method::Constant(Value::Number(number.clone())))
            }
            Err(_) => Err(format!("`{}` is no number of Weir", short(number))),
        },
        Some(Node::Null | Node::List(_) | Node::Map(_)) | None => Err("it has no constant".to_owned()),
    }
}

fn regex(fields: &mut Fields<'_>) -> Result<Result<Method, String>, Wrong> {
    let (pattern, replacement) = (fields.text("regex")?, fields.text("replacement")?);
    let case_insensitive = fields.truth("caseInsensitive")?.unwrap_or(false);
    let global = fields.truth("global")?.unwrap_or(false);
    let (Some(pattern), Some(replacement)) = (pattern, replacement) else {
        return Ok(Err("it has no `regex` or no `replacement`".to_owned()));
    };
    if replacement.contains(['$', '\\']) {
        return Ok(Err("its replacement has a part of the value".to_owned()));
    }
    if regex::Regex::new(pattern).is_err() {
        return Ok(Err(format!("`{}` is not a regular expression of Weir", short(pattern))));
    }
    let (pattern, replacement) = (pattern.to_owned(), replacement.to_owned());
    Ok(Ok(Method::Regex { pattern, replacement, case_insensitive, global }))
}

fn rounding(fields: &mut Fields<'_>) -> Result<Result<Method, String>, Wrong> {
    let (size, unit) = (fields.get("bucketSize"), fields.text("timePrecision")?);
    Ok(match (size, unit) {
        (Some(Node::Number(size)), None) => Ok(Method::Round(RoundTo::Number(size.clone()))),
        (None, Some(unit)) => match CalendarUnit::ALL.into_iter().find(|one| one.as_str().eq_ignore_ascii_case(unit)) {
            Some(unit) => Ok(Method::Round(RoundTo::Calendar(unit))),
            None => Err(format!("the unit `{}` is not known", short(unit))),
        },
        (_, _) => Err("it does not say to what it rounds".to_owned()),
    })
}
