//! What a mask replaces, and by what.

use weir_model::Value;

use super::{
    Fields, condition_of_rows, expected, expected_word, is_word, list, name, number, regex, text, truth, unknown_key,
};
use crate::ast::{At, CalendarUnit, Columns, MaskAction, Method, Randomized, RoundTo};
use crate::diagnostic::{Diagnostic, Span};
use crate::language::cursor::{Read, date, invalid_value, number_value, short, timestamp};
use crate::language::yaml::node::{Content, Node};
use crate::language::{lexer, value};

pub(super) fn mask(node: Node, source: &str) -> Read<MaskAction> {
    let mut fields = Fields::new(node, "a mask, which is a mapping with `columns` and `using`")?;
    let columns = columns(fields.require("columns")?)?;
    let using = fields.require("using")?;
    let one = |node: Node| Ok(At::new(method(&node, source)?, node.span));
    let method = one(using)?;
    let or_else = fields.take("or_else").map(|node| list(node, "methods", one)).transpose()?.unwrap_or_default();
    let methods: Vec<At<Method>> = std::iter::once(&method).chain(&or_else).cloned().collect();
    value::check_fallbacks(&methods)?;
    let when = fields.take("where").map(|node| condition_of_rows(&node, source)).transpose()?;
    fields.end()?;
    Ok(MaskAction { columns, method, or_else, when })
}

fn columns(node: Node) -> Read<Columns> {
    let what = "a list of column names, `{tagged: tag}`, `{named_like: regex}`, `any-tag`, `no-tags` or `all`";
    for (word, columns) in [("any-tag", Columns::AnyTag), ("no-tags", Columns::NoTags), ("all", Columns::All)] {
        if is_word(&node, word) {
            return Ok(columns);
        }
    }
    match node.content {
        Content::Scalar { ref text, .. } => {
            let mut error = expected_word(what, &["any-tag", "no-tags", "all"], &node);
            error.help.get_or_insert_with(|| format!("one column is a list too: `[{}]`", short(text)));
            Err(error)
        }
        Content::List(_) => Ok(Columns::Named(list(node, "column names", |node| name(&node, "a column name"))?)),
        Content::Map(_) => {
            let mut fields = Fields::new(node, what)?;
            let columns = match fields.take("tagged") {
                Some(node) => Columns::Tagged(name(&node, "a tag")?),
                None => {
                    let pattern = regex(&fields.require("named_like")?)?;
                    Columns::NamedLike { pattern, case_insensitive: truth(fields.take("case_insensitive"))? }
                }
            };
            fields.end()?;
            Ok(columns)
        }
    }
}

fn method(node: &Node, source: &str) -> Read<Method> {
    const WHAT: &str = "`hash`, `null`, `reversible`, `format-preserving`, `{constant: value}`, `{round: to}`, \
                        `{regex: {pattern: …, replacement: …}}`, `{k_anonymous: number}`, `{randomized: …}` or \
                        `{custom: expression}`";
    let words = [
        ("hash", Method::Hash),
        ("null", Method::Null),
        ("reversible", Method::Reversible),
        ("format-preserving", Method::FormatPreserving),
    ];
    match &node.content {
        Content::Scalar { .. } => {
            let known = words.each_ref().map(|(word, _)| *word);
            let meant = words.into_iter().find(|(word, _)| is_word(node, word));
            meant.map(|(_, meant)| meant).ok_or_else(|| expected_word(WHAT, &known, node))
        }
        Content::List(_) => Err(expected(WHAT, node)),
        Content::Map(fields) => {
            let known = ["constant", "round", "regex", "k_anonymous", "randomized", "custom"];
            let [(key, inner)] = fields.as_slice() else { return Err(expected(WHAT, node)) };
            match key.name.as_str() {
                "constant" => constant(inner).map(Method::Constant),
                "round" if is_word(inner, "profile") => Ok(Method::RoundByProfile),
                "round" => round(inner).map(Method::Round),
                "regex" => regex_method(inner),
                "k_anonymous" => value::whole(number(inner)?, 2, inner.span).map(Method::KAnonymous),
                "randomized" => randomized(inner).map(Method::Randomized),
                "custom" => condition_of_rows(inner, source).map(|custom| Method::Custom(Box::new(custom))),
                _ => Err(Box::new(unknown_key(key, &known))),
            }
        }
    }
}

fn randomized(node: &Node) -> Read<Randomized> {
    const WHAT: &str = "`{replace: percent, by: […]}`, `{within: distance}` or `{within_days: number}`";
    let Content::Map(fields) = &node.content else { return Err(expected(WHAT, node)) };
    let known = ["replace", "by", "within", "within_days"];
    if let Some((key, _)) = fields.iter().find(|(key, _)| !known.contains(&key.name.as_str())) {
        return Err(Box::new(unknown_key(key, &known)));
    }
    let field = |name: &str| fields.iter().find(|(key, _)| key.name == name).map(|(_, node)| node);
    match (field("replace"), field("by"), field("within"), field("within_days")) {
        (Some(percent), Some(by), None, None) => {
            value::check_percentage(number(percent)?, true, percent.span)?;
            let percent = number(percent)?.to_owned();
            let Content::List(values) = &by.content else { return Err(expected("a list of values", by)) };
            if values.is_empty() {
                return Err(expected("one value or more", by));
            }
            Ok(Randomized::Replaced { percent, by: values.iter().map(constant).collect::<Read<_>>()? })
        }
        (None, None, Some(distance), None) => {
            value::check_distance(number(distance)?, distance.span)?;
            Ok(Randomized::Within(number(distance)?.to_owned()))
        }
        (None, None, None, Some(days)) => value::whole(number(days)?, 1, days.span).map(Randomized::WithinDays),
        (Some(_), None, None, None) => Err(missing("by", node)),
        (None, Some(_), None, None) => Err(missing("replace", node)),
        (None, None, None, None) => Err(expected(WHAT, node)),
        _ => {
            let message = format!("only one of {WHAT} can stand here");
            Err(Box::new(Diagnostic::error("policy::unexpected", message).at(node.span)))
        }
    }
}

fn missing(key: &str, node: &Node) -> Box<Diagnostic> {
    Box::new(Diagnostic::error("policy::missing-key", format!("the key `{key}` is missing")).at(node.span))
}

fn constant(node: &Node) -> Read<Value> {
    match &node.content {
        Content::Scalar { text, plain: false } => Ok(Value::Text(text.clone())),
        Content::Scalar { text, plain: true } => plain_constant(text, node.span),
        Content::List(_) => Err(expected("a value", node)),
        Content::Map(fields) => {
            let [(key, inner)] = fields.as_slice() else { return Err(expected("a value", node)) };
            let text = text(inner, "a text in quotes")?.node;
            match key.name.as_str() {
                "date" => date(&text).ok_or_else(|| invalid_value("date", &text, "2024-12-31", inner.span)),
                "timestamp" => {
                    let right = "2024-12-31 23:59:59.5";
                    timestamp(&text).ok_or_else(|| invalid_value("timestamp", &text, right, inner.span))
                }
                _ => Err(Box::new(unknown_key(key, &["date", "timestamp"]))),
            }
        }
    }
}

/// What readers of YAML disagree about is not guessed.
fn plain_constant(text: &str, span: Span) -> Read<Value> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let octal = digits.starts_with('0') && digits.chars().nth(1).is_some_and(|c| c.is_ascii_digit());
    if lexer::number_len(text) == text.len() && !text.is_empty() && !octal {
        return Ok(number_value(text));
    }
    let ambiguous = ["", "~", "yes", "no", "on", "off", "y", "n"];
    if ambiguous.contains(&text.to_ascii_lowercase().as_str())
        || text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
    {
        let message = format!("`{}` may be a text or something else", short(text));
        let error = Diagnostic::error("policy::invalid-value", message).at(span);
        return Err(Box::new(error.help(format!("write it in quotes if it is a text: `\"{}\"`", short(text)))));
    }
    Ok(match text {
        "null" => Value::Null,
        "true" => Value::Boolean(true),
        "false" => Value::Boolean(false),
        _ => Value::Text(text.to_owned()),
    })
}

fn round(node: &Node) -> Read<RoundTo> {
    let what = "a number, `profile`, or `hour`, `day`, `week`, `month`, `quarter` or `year`";
    let Content::Scalar { text, .. } = &node.content else { return Err(expected(what, node)) };
    if let Some(unit) = CalendarUnit::ALL.into_iter().find(|unit| unit.as_str() == text) {
        return Ok(RoundTo::Calendar(unit));
    }
    if text.is_empty() || lexer::number_len(text) != text.len() {
        return Err(expected_word(what, &CalendarUnit::ALL.map(CalendarUnit::as_str), node));
    }
    value::check_bucket(text, node.span)?;
    Ok(RoundTo::Number(text.clone()))
}

fn regex_method(node: &Node) -> Read<Method> {
    let Content::Map(fields) = &node.content else {
        return Err(expected("a mapping with `pattern` and `replacement`", node));
    };
    let known = ["pattern", "replacement", "case_insensitive", "global"];
    if let Some((key, _)) = fields.iter().find(|(key, _)| !known.contains(&key.name.as_str())) {
        return Err(Box::new(unknown_key(key, &known)));
    }
    let field = |name: &str| fields.iter().find(|(key, _)| key.name == name).map(|(_, node)| node);
    let required = |name: &str| field(name).ok_or_else(|| missing(name, node));
    let flag = |name: &str| match field(name) {
        None => Ok(false),
        Some(node) if is_word(node, "true") => Ok(true),
        Some(node) if is_word(node, "false") => Ok(false),
        Some(node) => Err(expected("`true` or `false`", node)),
    };
    Ok(Method::Regex {
        pattern: regex(required("pattern")?)?.node,
        replacement: text(required("replacement")?, "a replacement, in quotes if it is empty")?.node,
        case_insensitive: flag("case_insensitive")?,
        global: flag("global")?,
    })
}
