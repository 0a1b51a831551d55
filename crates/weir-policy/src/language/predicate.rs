//! Predicates: a small, closed part of SQL.

use weir_model::{ColumnName, Value};

use super::cursor::{Cursor, Read, short, valid};
use super::lexer::{Kind, Token};
use super::words;
use crate::ast::{At, ColumnRef, Interpolated, LookupQuery, NoTemplate, Predicate, Template, UserCall};
use crate::diagnostic::{Diagnostic, Span};
use crate::expr::{Compare, Function};

const COMPARISONS: [(&str, Compare); 7] = [
    ("=", Compare::Equal),
    ("<>", Compare::NotEqual),
    ("!=", Compare::NotEqual),
    ("<", Compare::Less),
    ("<=", Compare::LessOrEqual),
    (">", Compare::Greater),
    (">=", Compare::GreaterOrEqual),
];

/// What can be asked about the person and the source, as it is written.
const USER_CALLS: [&str; 12] = [
    "@username",
    "@iam",
    "@isInGroups('group', …)",
    "@hasAttribute('key', 'value')",
    "@attributeValuesContains('key', column, 'placeholder')",
    "@groupsContains(column, 'placeholder')",
    "@purposesContains(column, 'placeholder')",
    "@isUsingPurpose('purpose')",
    "@column",
    "@interpolatedComparison(column, '=', '{username}')",
    "@columnTagged('tag')",
    "@columnReference('column')",
];

/// Reads all of `tokens` as one predicate, blank lines within it included.
pub(super) fn whole(mut tokens: Vec<Token>) -> Read<Predicate> {
    tokens.retain(|token| !matches!(token.kind, Kind::Break));
    let mut cursor = Cursor::new(tokens);
    let predicate = predicate(&mut cursor)?;
    if matches!(cursor.kind(), Kind::End) { Ok(predicate) } else { cursor.want("the end of the predicate") }
}

/// Reads as much as belongs to the predicate; what follows is the caller's.
pub(super) fn predicate(cursor: &mut Cursor) -> Read<Predicate> {
    // What stands in for a mask comes after `or else`.
    let more = |cursor: &mut Cursor| !cursor.at("or else") && cursor.eat("or");
    let first = all_of(cursor)?;
    if !more(cursor) {
        return Ok(first);
    }
    let mut parts = vec![first, all_of(cursor)?];
    while more(cursor) {
        parts.push(all_of(cursor)?);
    }
    Ok(Predicate::Or(parts))
}

fn all_of(cursor: &mut Cursor) -> Read<Predicate> {
    let first = negation(cursor)?;
    if !cursor.eat("and") {
        return Ok(first);
    }
    let mut parts = vec![first, negation(cursor)?];
    while cursor.eat("and") {
        parts.push(negation(cursor)?);
    }
    Ok(Predicate::And(parts))
}

fn negation(cursor: &mut Cursor) -> Read<Predicate> {
    if cursor.at("not exists") {
        cursor.expect("not exists")?;
        let exists = exists(cursor)?;
        // A comparison binds more tightly than NOT.
        let compared = comparison_of(cursor, exists)?;
        if let Predicate::Exists { lookup, negated: false } = compared {
            return Ok(Predicate::Exists { lookup, negated: true });
        }
        return Ok(Predicate::Not(Box::new(compared)));
    }
    if cursor.eat("not") {
        return Ok(Predicate::Not(Box::new(cursor.nested(negation)?)));
    }
    comparison(cursor)
}

fn comparison(cursor: &mut Cursor) -> Read<Predicate> {
    let left = operand(cursor)?;
    comparison_of(cursor, left)
}

/// What follows `left` and compares it, if anything does.
fn comparison_of(cursor: &mut Cursor, left: Predicate) -> Read<Predicate> {
    for (symbol, op) in COMPARISONS {
        if cursor.is_symbol(symbol) {
            cursor.advance();
            let right = operand(cursor)?;
            let signs = COMPARISONS.map(|(sign, _)| sign);
            refuse_after(cursor, &signs, "comparisons are not chained", "write `a < b AND b < c`, or BETWEEN")?;
            return Ok(Predicate::Compare { op, left: Box::new(left), right: Box::new(right) });
        }
    }
    let value = Box::new(left);
    if cursor.eat("is") {
        let negated = cursor.eat("not");
        cursor.expect("null")?;
        return Ok(Predicate::IsNull { value, negated });
    }
    let negated = cursor.eat("not");
    if cursor.eat("in") {
        return membership(cursor, value, negated);
    }
    if cursor.eat("between") {
        let low = Box::new(operand(cursor)?);
        cursor.expect("and")?;
        return Ok(Predicate::Between { value, low, high: Box::new(operand(cursor)?), negated });
    }
    let like = cursor.eat("like");
    if like || cursor.eat("ilike") {
        return Ok(Predicate::Like { value, pattern: Box::new(operand(cursor)?), case_insensitive: !like, negated });
    }
    if negated { Err(cursor.unexpected()) } else { Ok(*value) }
}

/// What looks like SQL that goes on, and is none of this language.
fn refuse_after(cursor: &Cursor, signs: &[&str], message: &str, help: &str) -> Read<()> {
    if !signs.iter().any(|sign| cursor.is_symbol(sign)) {
        return Ok(());
    }
    Err(Box::new(Diagnostic::error("policy::not-supported", message).at(cursor.here()).help(help)))
}

/// After `IN`.
fn membership(cursor: &mut Cursor, value: Box<Predicate>, negated: bool) -> Read<Predicate> {
    cursor.expect_symbol("(")?;
    cursor.nested(|cursor| {
        if cursor.eat("select") {
            let key = predicate(cursor)?;
            let lookup = Box::new(lookup(cursor, Some(key))?);
            return Ok(Predicate::InLookup { value, lookup, negated });
        }
        let list = arguments(cursor)?;
        Ok(Predicate::In { value, list, negated })
    })
}

/// After `EXISTS`.
fn exists(cursor: &mut Cursor) -> Read<Predicate> {
    cursor.expect_symbol("(")?;
    cursor.nested(|cursor| {
        cursor.expect("select")?;
        if !cursor.eat_symbol("*") && cursor.eat_number().is_none() {
            return Err(cursor.unexpected());
        }
        Ok(Predicate::Exists { lookup: Box::new(lookup(cursor, None)?), negated: false })
    })
}

/// From `FROM` to the closing parenthesis.
fn lookup(cursor: &mut Cursor, key: Option<Predicate>) -> Read<LookupQuery> {
    cursor.expect("from")?;
    let source = cursor.source_name()?;
    let bare = matches!(cursor.kind(), Kind::Word(word) if !words::is_reserved(word));
    let named = cursor.eat("as") || bare || matches!(cursor.kind(), Kind::Quoted(_));
    let alias = if named { Some(column_part(cursor)?) } else { None };
    let filter = if cursor.eat("where") { Some(predicate(cursor)?) } else { None };
    if !cursor.eat_symbol(")") {
        let mut error = cursor.unexpected();
        error.help = Some(
            "a lookup is `SELECT key FROM schema.table [WHERE condition]`; to join, nest one in another".to_owned(),
        );
        return Err(error);
    }
    Ok(LookupQuery { source, alias, key, filter })
}

/// One or more predicates up to the closing parenthesis.
fn arguments(cursor: &mut Cursor) -> Read<Vec<Predicate>> {
    let mut list = vec![predicate(cursor)?];
    while cursor.eat_symbol(",") {
        list.push(predicate(cursor)?);
    }
    cursor.expect_symbol(")")?;
    Ok(list)
}

fn operand(cursor: &mut Cursor) -> Read<Predicate> {
    let operand = bare_operand(cursor)?;
    refuse_after(cursor, &["||"], "`||` is no operator", "texts are joined by `concat(a, b)`")?;
    let arithmetic = ["+", "-", "*", "/", "%"];
    refuse_after(cursor, &arithmetic, "a predicate does no arithmetic", "compare columns and literals as they are")?;
    refuse_after(cursor, &["=="], "`==` is no comparison", "equal is written `=`")?;
    Ok(operand)
}

fn bare_operand(cursor: &mut Cursor) -> Read<Predicate> {
    if cursor.is_symbol("(") {
        cursor.advance();
        return cursor.nested(|cursor| {
            let inner = predicate(cursor)?;
            cursor.expect_symbol(")")?;
            Ok(inner)
        });
    }
    if cursor.eat("exists") {
        return exists(cursor);
    }
    if let Some(value) = cursor.eat_literal()? {
        return Ok(Predicate::Literal(value));
    }
    if let Kind::At(name) = cursor.kind() {
        let name = name.clone();
        return user_call(cursor, &name);
    }
    column_or_call(cursor)
}

fn column_or_call(cursor: &mut Cursor) -> Read<Predicate> {
    let start = cursor.here();
    let bare = matches!(cursor.kind(), Kind::Word(_));
    if !matches!(cursor.kind(), Kind::Word(_) | Kind::Quoted(_)) {
        cursor.hint("a column");
        cursor.hint("a literal");
        return cursor.want("`(`");
    }
    let mut parts = vec![column_part(cursor)?];
    if bare && cursor.is_symbol("(") {
        return call(cursor, parts.concat(), start);
    }
    while cursor.is_symbol(".") {
        cursor.advance();
        parts.push(if let Kind::Word(_) = cursor.kind() { cursor.any_word("a name")? } else { column_part(cursor)? });
    }
    let span = cursor.since(start);
    let name = parts.pop().unwrap_or_default();
    let qualifier = if parts.is_empty() { None } else { Some(parts.join(".")) };
    Ok(Predicate::Column(At::new(ColumnRef { qualifier, name: valid(ColumnName::new(name), span)? }, span)))
}

/// A column, table, schema or alias. What could be taken for a subtraction or for several parts is refused.
fn column_part(cursor: &mut Cursor) -> Read<String> {
    let span = cursor.here();
    let bare = matches!(cursor.kind(), Kind::Word(_));
    let part = cursor.name("a column name")?;
    if bare && part.contains('-') {
        let error = Diagnostic::error("policy::not-supported", format!("`{}` looks like a subtraction", short(&part)));
        return Err(Box::new(error.at(span).help(format!(
            "arithmetic is not supported; a name with a hyphen is written in quotes: `\"{}\"`",
            short(&part)
        ))));
    }
    valid(ColumnName::new(part), span).map(String::from)
}

fn call(cursor: &mut Cursor, name: String, start: Span) -> Read<Predicate> {
    let Some(function) = Function::ALL.into_iter().find(|function| function.as_str().eq_ignore_ascii_case(&name))
    else {
        let known = Function::ALL.map(Function::as_str);
        let help = match words::nearest(&name, known) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("the functions are {}", known.join(", ")),
        };
        let message = format!("there is no function `{}`", short(&name));
        return Err(Box::new(Diagnostic::error("policy::unknown-function", message).at(start).help(help)));
    };
    cursor.expect_symbol("(")?;
    // How many it takes is for the resolver to say.
    Ok(Predicate::Call { function, args: cursor.nested(arguments)? })
}

fn user_call(cursor: &mut Cursor, name: &str) -> Read<Predicate> {
    let start = cursor.here();
    let called = |known: &str| known.trim_start_matches('@').split('(').next().unwrap_or("").to_owned();
    let names = USER_CALLS.map(called);
    let Some(known) = names.iter().find(|known| known.eq_ignore_ascii_case(name)) else {
        let help = match words::nearest(name, names.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean `@{meant}`?"),
            None => format!("a predicate may ask {}", USER_CALLS.join(", ")),
        };
        let message = format!("there is no `@{}`", short(name));
        return Err(Box::new(Diagnostic::error("policy::unknown-function", message).at(start).help(help)));
    };
    cursor.advance();
    let call = match known.as_str() {
        "username" => UserCall::Username,
        "iam" => UserCall::Iam,
        "column" => UserCall::MaskedColumn,
        "interpolatedComparison" => {
            cursor.expect_symbol("(")?;
            return cursor.nested(|cursor| interpolated_comparison(cursor, start));
        }
        _ => {
            cursor.expect_symbol("(")?;
            let call = cursor.nested(|cursor| user_call_arguments(cursor, known))?;
            cursor.expect_symbol(")")?;
            call
        }
    };
    Ok(Predicate::User(At::new(call, cursor.since(start))))
}

/// A comparison with a text that is made for the person, up to the closing parenthesis. Without a place for her in it,
/// or with something else, it is another spelling of a comparison.
fn interpolated_comparison(cursor: &mut Cursor, start: Span) -> Read<Predicate> {
    let left = Box::new(predicate(cursor)?);
    cursor.expect_symbol(",")?;
    let sign = cursor.text("a comparison such as `<=`")?;
    let Some((_, op)) = COMPARISONS.into_iter().find(|(known, _)| *known == sign.node) else {
        let message = format!("`{}` is no comparison", short(&sign.node));
        let known = COMPARISONS.map(|(sign, _)| format!("`{sign}`"));
        let error = Diagnostic::error("policy::invalid-value", message).at(sign.span.unwrap_or_default());
        return Err(Box::new(error.help(format!("write {}", words::alternatives(&known)))));
    };
    cursor.expect_symbol(",")?;
    if let Kind::Text(_) = cursor.kind() {
        let text = cursor.text("a text")?;
        cursor.expect_symbol(")")?;
        let template = Template::read(&text.node).map_err(|NoTemplate { message, help }| {
            Diagnostic::error("policy::template", message).at(text.span.unwrap_or_default()).help(help)
        })?;
        return Ok(match template {
            Interpolated::Template(text) => {
                let call = UserCall::InterpolatedComparison { value: left, op, text };
                Predicate::User(At::new(call, cursor.since(start)))
            }
            Interpolated::Plain(text) => {
                Predicate::Compare { op, left, right: Box::new(Predicate::Literal(Value::Text(text))) }
            }
        });
    }
    let right = Box::new(predicate(cursor)?);
    cursor.expect_symbol(")")?;
    Ok(Predicate::Compare { op, left, right })
}

fn user_call_arguments(cursor: &mut Cursor, name: &str) -> Read<UserCall> {
    Ok(match name {
        "isInGroups" => {
            let mut groups = vec![name_in_text(cursor, "a group")?];
            while cursor.eat_symbol(",") {
                groups.push(name_in_text(cursor, "a group")?);
            }
            UserCall::IsInGroups(groups)
        }
        "hasAttribute" => {
            let key = name_in_text(cursor, "an attribute key")?;
            cursor.expect_symbol(",")?;
            UserCall::HasAttribute(key, cursor.text("a value")?.node)
        }
        "attributeValuesContains" => {
            let key = name_in_text(cursor, "an attribute key")?;
            cursor.expect_symbol(",")?;
            UserCall::AttributeValuesContains(key, Box::new(predicate(cursor)?), placeholder(cursor)?)
        }
        "groupsContains" => UserCall::GroupsContains(Box::new(predicate(cursor)?), placeholder(cursor)?),
        "purposesContains" => UserCall::PurposesContains(Box::new(predicate(cursor)?), placeholder(cursor)?),
        "isUsingPurpose" => UserCall::IsUsingPurpose(name_in_text(cursor, "a purpose")?),
        "columnTagged" => UserCall::ColumnTagged(name_in_text(cursor, "a tag")?),
        "columnReference" => UserCall::ColumnReference(name_in_text(cursor, "a column name")?),
        _ => return cursor.want("a function of the language"),
    })
}

/// What stands for the values of who has none.
fn placeholder(cursor: &mut Cursor) -> Read<Option<String>> {
    if cursor.eat_symbol(",") { Ok(Some(cursor.text("a placeholder")?.node)) } else { Ok(None) }
}

fn name_in_text<T: std::str::FromStr<Err = weir_model::InvalidName>>(cursor: &mut Cursor, what: &str) -> Read<T> {
    let text = cursor.text(what)?;
    valid(text.node.parse(), text.span.unwrap_or_default())
}
