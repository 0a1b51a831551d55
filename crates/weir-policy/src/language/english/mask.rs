//! What a mask replaces, and by what.

use weir_model::Value;

use super::{number, percentage, refuse, tag, whole};
use crate::ast::{At, CalendarUnit, Columns, MaskAction, Method, Randomized, RoundTo};
use crate::diagnostic::Diagnostic;
use crate::language::cursor::{Cursor, Read, short};
use crate::language::lexer::Kind;
use crate::language::{predicate, value, words};

/// After `Mask`: columns and method in either order.
pub(super) fn mask(cursor: &mut Cursor) -> Read<MaskAction> {
    let mut methods = self::methods(cursor)?;
    let columns = columns(cursor)?;
    if methods.is_empty() {
        methods = self::methods(cursor)?;
    }
    let mut methods = methods.into_iter();
    let method = methods.next().map_or_else(|| Err(cursor.unexpected()), Ok)?;
    let or_else = methods.collect();
    let when = if cursor.eat("where") { Some(predicate::predicate(cursor)?) } else { None };
    Ok(MaskAction { columns, method, or_else, when })
}

/// A method and what stands in for it; nothing if no method comes next.
fn methods(cursor: &mut Cursor) -> Read<Vec<At<Method>>> {
    let mut methods: Vec<At<Method>> = method(cursor)?.into_iter().collect();
    while !methods.is_empty() && cursor.eat("or else") {
        methods.push(method(cursor)?.map_or_else(|| Err(cursor.unexpected()), Ok)?);
    }
    value::check_fallbacks(&methods)?;
    Ok(methods)
}

/// A method, if one comes next.
fn method(cursor: &mut Cursor) -> Read<Option<At<Method>>> {
    let by_profile = "write `by rounding using the profile`";
    refuse(cursor, "by rounding using fingerprint", "rounding by fingerprint", by_profile)?;
    let by_number = "give the number: `with k-anonymization 5`";
    refuse(cursor, "with k-anonymization using fingerprint", "k-anonymization by fingerprint", by_number)?;
    let start = cursor.here();
    let method = if cursor.eat("using hashing") {
        Method::Hash
    } else if cursor.eat("by making null") {
        Method::Null
    } else if cursor.eat("using the constant") {
        Method::Constant(constant(cursor)?)
    } else if cursor.eat("using the regex") {
        regex_method(cursor)?
    } else if cursor.eat("by rounding to the") {
        Method::Round(RoundTo::Calendar(calendar_unit(cursor)?))
    } else if cursor.eat("by rounding to") {
        Method::Round(RoundTo::Number(bucket(cursor)?))
    } else if cursor.eat("by rounding using the profile") {
        Method::RoundByProfile
    } else if cursor.eat("with reversibility") {
        Method::Reversible
    } else if cursor.eat("with format preserving masking")
        || cursor.at("with format-preserving") && cursor.eat("with format-preserving masking")
    {
        Method::FormatPreserving
    } else if cursor.eat("with k-anonymization") {
        Method::KAnonymous(whole(cursor, 2)?)
    } else if cursor.eat("using randomized response") {
        Method::Randomized(randomized(cursor)?)
    } else if cursor.eat("using the custom function") {
        Method::Custom(Box::new(predicate::predicate(cursor)?))
    } else {
        return Ok(None);
    };
    Ok(Some(At::new(method, cursor.since(start))))
}

fn constant(cursor: &mut Cursor) -> Read<Value> {
    if let Some(value) = cursor.eat_literal()? {
        return Ok(value);
    }
    let word = match cursor.kind() {
        Kind::Word(word) if !words::is_reserved(word) => {
            Some(format!("a text is in single quotes: `'{}'`", short(word)))
        }
        Kind::Word(_)
        | Kind::Quoted(_)
        | Kind::Text(_)
        | Kind::Number(_)
        | Kind::At(_)
        | Kind::Symbol(_)
        | Kind::Stop
        | Kind::Break
        | Kind::End
        | Kind::Bad(_) => None,
    };
    cursor.want("a number, a text in single quotes, TRUE, FALSE, NULL, DATE '…' or TIMESTAMP '…'").map_err(
        |mut error: Box<Diagnostic>| {
            error.help = word;
            error
        },
    )
}

fn randomized(cursor: &mut Cursor) -> Read<Randomized> {
    if cursor.eat("replacing") {
        let percent = percentage(cursor, true)?.node;
        cursor.expect("by")?;
        let mut by = vec![constant(cursor)?];
        while cursor.eat_symbol(",") {
            by.push(constant(cursor)?);
        }
        return Ok(Randomized::Replaced { percent, by });
    }
    cursor.expect("within")?;
    let (number, span) = number(cursor)?;
    if cursor.eat("days") || cursor.at("day") && cursor.eat("day") {
        return value::whole(&number, 1, span).map(Randomized::WithinDays);
    }
    value::check_distance(&number, span)?;
    Ok(Randomized::Within(number))
}

fn regex_method(cursor: &mut Cursor) -> Read<Method> {
    let pattern = regex(cursor)?.node;
    cursor.expect("replaced with")?;
    let replacement = cursor.text("a replacement")?.node;
    let case_insensitive = cursor.eat("case insensitive");
    let global = cursor.eat("global");
    Ok(Method::Regex { pattern, replacement, case_insensitive, global })
}

fn regex(cursor: &mut Cursor) -> Read<At<String>> {
    let pattern = cursor.text("a regular expression")?;
    value::check_regex(&pattern.node, pattern.span.unwrap_or_default())?;
    Ok(pattern)
}

fn calendar_unit(cursor: &mut Cursor) -> Read<CalendarUnit> {
    match CalendarUnit::ALL.into_iter().find(|unit| cursor.eat(unit.as_str())) {
        Some(unit) => Ok(unit),
        None => Err(cursor.unexpected()),
    }
}

fn bucket(cursor: &mut Cursor) -> Read<String> {
    let span = cursor.here();
    let Some(number) = cursor.eat_number() else {
        return match CalendarUnit::ALL.into_iter().find(|unit| cursor.at(unit.as_str())) {
            Some(unit) => {
                let mut error = cursor.unexpected();
                error.help = Some(format!("write `by rounding to the {}`", unit.as_str()));
                Err(error)
            }
            None => Err(cursor.unexpected()),
        };
    };
    value::check_bucket(&number, span)?;
    Ok(number)
}

fn columns(cursor: &mut Cursor) -> Read<Columns> {
    if cursor.eat("all columns") {
        return Ok(Columns::All);
    }
    let several = cursor.eat("the columns");
    if several || !cursor.at("the column tagged") && cursor.eat("the column") {
        let mut names = vec![cursor.dotted("a column name")?];
        if !several && cursor.is_symbol(",") {
            let error = Diagnostic::error("policy::unexpected", "`the column` is one column").at(cursor.here());
            return Err(Box::new(error.help("several columns are written `the columns a, b`")));
        }
        while several && (cursor.eat_symbol(",") || cursor.eat("and")) {
            names.push(cursor.dotted("a column name")?);
        }
        return Ok(Columns::Named(names));
    }
    cursor.eat("values in");
    cursor.eat("the");
    if cursor.eat("columns tagged") || cursor.eat("column tagged") {
        return Ok(Columns::Tagged(tag(cursor)?));
    }
    if cursor.eat("columns with any tag") {
        return Ok(Columns::AnyTag);
    }
    if cursor.eat("columns with no tags") {
        return Ok(Columns::NoTags);
    }
    if cursor.eat("columns with names spelled like") {
        let (pattern, case_insensitive) = spelled_like(cursor)?;
        return Ok(Columns::NamedLike { pattern, case_insensitive });
    }
    Err(cursor.unexpected())
}

pub(super) fn spelled_like(cursor: &mut Cursor) -> Read<(At<String>, bool)> {
    let pattern = regex(cursor)?;
    Ok((pattern, cursor.eat("case insensitive")))
}
