//! Policies as English sentences.

use std::collections::BTreeSet;

use weir_model::{PolicyKey, Tag, Value};

use super::cursor::{Cursor, Read, short};
use super::lexer::{self, Kind};
use super::{DIAGNOSTICS_MAX, derived_key, predicate, print, value};
use crate::ast::{
    Action, At, Body, CalendarUnit, Cascade, Circumstance, Circumstances, Columns, Condition, MaskAction, Match,
    MatchColumn, Merge, Method, Policy, RoundTo, RowCondition, Rule, Scope, Statement, Subscribe, Subscribers, Test,
};
use crate::diagnostic::{Diagnostic, Span};

const METHODS: &str = "`using hashing`, `by making null`, `using the constant 0`, `using the regex 'a' replaced with 'b'`, \
                       `by rounding to 100` and `by rounding to the month`";

/// The policies of a text, and what was wrong with the others.
pub(super) fn policies(text: &str) -> (Vec<Policy>, Vec<Diagnostic>) {
    let mut cursor = Cursor::new(lexer::tokens(text));
    let (mut policies, mut diagnostics) = (Vec::new(), Vec::new());
    let mut keys = BTreeSet::new();
    while diagnostics.len() < DIAGNOSTICS_MAX {
        skip_ends(&mut cursor);
        if matches!(cursor.kind(), Kind::End) {
            break;
        }
        let start = cursor.pos();
        match policy(&mut cursor) {
            Ok(policy) if keys.contains(&policy.node.key) => diagnostics.push(value::duplicate_key(&policy)),
            Ok(policy) => {
                keys.insert(policy.node.key.clone());
                policies.push(policy.node);
            }
            Err(diagnostic) => {
                diagnostics.push(*diagnostic);
                skip_sentence(&mut cursor, start);
            }
        }
    }
    (policies, diagnostics)
}

fn skip_ends(cursor: &mut Cursor) {
    while matches!(cursor.kind(), Kind::Stop | Kind::Break) {
        cursor.advance();
    }
}

/// To where the next policy may begin, at least one token on from `start`.
fn skip_sentence(cursor: &mut Cursor, start: usize) {
    while !matches!(cursor.kind(), Kind::Stop | Kind::Break | Kind::End)
        && (cursor.pos() == start || !at_header(cursor))
    {
        cursor.advance();
    }
}

fn at_header(cursor: &Cursor) -> bool {
    cursor.starts_line() && cursor.at("policy")
}

/// With the place of its key, or else of its sentence.
fn policy(cursor: &mut Cursor) -> Read<At<Policy>> {
    cursor.begin();
    let start = cursor.here();
    let header = if cursor.eat("policy") { Some(header(cursor)?) } else { None };
    if header.is_some() {
        while matches!(cursor.kind(), Kind::Break) {
            cursor.advance();
        }
    }
    let statement = statement(cursor)?;
    end_of_sentence(cursor)?;
    let span = cursor.since(start);
    Ok(match header {
        Some(Header { key, title, staged }) => {
            At { node: Policy { key: key.node, title, staged, statement }, span: key.span }
        }
        None => {
            let key = derived_key(&print::statement(&statement));
            At::new(Policy { key, title: None, staged: false, statement }, span)
        }
    })
}

struct Header {
    key: At<PolicyKey>,
    title: Option<String>,
    staged: bool,
}

/// After `policy`.
fn header(cursor: &mut Cursor) -> Read<Header> {
    let key = cursor.dotted("a policy key")?;
    cursor.end_of_name();
    let title = match cursor.kind() {
        Kind::Quoted(title) => Some(value::title(title, cursor.here())?),
        Kind::Text(_) => return cursor.want("a title in double quotes"),
        Kind::Word(_)
        | Kind::Number(_)
        | Kind::At(_)
        | Kind::Symbol(_)
        | Kind::Stop
        | Kind::Break
        | Kind::End
        | Kind::Bad(_) => None,
    };
    if title.is_some() {
        cursor.advance();
    }
    let staged = cursor.eat("staged");
    cursor.expect_symbol(":")?;
    Ok(Header { key, title, staged })
}

fn end_of_sentence(cursor: &mut Cursor) -> Read<()> {
    if matches!(cursor.kind(), Kind::Stop | Kind::Break | Kind::End) || at_header(cursor) {
        return Ok(());
    }
    cursor.want("the end of the sentence")
}

pub(super) fn statement(cursor: &mut Cursor) -> Read<Statement> {
    let body = if cursor.eat("allow") { Body::Subscribe(subscribe(cursor)?) } else { Body::Data(cascade(cursor)?) };
    let on = if cursor.eat("on") { circumstances(cursor)? } else { Circumstances::AllSources };
    Ok(Statement { body, on })
}

/// After `Allow`.
fn subscribe(cursor: &mut Cursor) -> Read<Subscribe> {
    refuse(cursor, &[("anyone who asks", "subscription by approval")], SUBSCRIPTIONS)?;
    let who = if cursor.eat("anyone to subscribe") {
        Subscribers::Anyone
    } else if cursor.eat("individually selected users to subscribe") {
        Subscribers::Selected
    } else if cursor.eat("users to subscribe when") {
        Subscribers::When(condition(cursor)?)
    } else {
        return Err(cursor.unexpected());
    };
    let merge = if cursor.eat("always required") { Merge::Require } else { Merge::Share };
    Ok(Subscribe { who, merge })
}

const SUBSCRIPTIONS: &str = "`Allow anyone to subscribe`, `Allow users to subscribe when user is a member of group g` and \
                             `Allow individually selected users to subscribe`";
const ROWS: &str = "`Only show rows where user is a member of group that matches the value in the column c` and \
                    `Only show rows where c = 'value'`";

/// Forms that policies of other systems have and that are not part of this language.
fn refuse(cursor: &Cursor, forms: &[(&str, &str)], supported: &str) -> Read<()> {
    let Some((_, form)) = forms.iter().find(|(phrase, _)| cursor.at(phrase)) else { return Ok(()) };
    let error = Diagnostic::error("policy::not-supported", format!("{form} is not supported")).at(cursor.here());
    Err(Box::new(error.help(format!("supported are {supported}"))))
}

fn cascade(cursor: &mut Cursor) -> Read<Cascade> {
    let mut rules: Vec<Rule> = Vec::new();
    loop {
        let start = cursor.here();
        let action = action(cursor)?;
        let same = |rule: &Rule| matches!(rule.action, Action::Mask(_)) == matches!(action, Action::Mask(_));
        if !rules.iter().all(same) {
            return Err(Box::new(value::mixed_actions(cursor.since(start))));
        }
        let scope = scope(cursor)?;
        let last = !matches!(scope, Scope::Who(_));
        rules.push(Rule { action, scope });
        let comma = cursor.is_symbol(",");
        if comma {
            cursor.advance();
        }
        let span = cursor.here();
        let otherwise = cursor.eat("otherwise");
        if otherwise && last {
            let error = Diagnostic::error("policy::unreachable", "nobody is left for this `otherwise`").at(span);
            return Err(Box::new(error.help("`otherwise` follows `for everyone who …`")));
        }
        if !otherwise {
            return if comma { Err(cursor.unexpected()) } else { Ok(Cascade { rules }) };
        }
    }
}

fn action(cursor: &mut Cursor) -> Read<Action> {
    if cursor.eat("mask") {
        return Ok(Action::Mask(mask(cursor)?));
    }
    refuse(cursor, &[("only show data by time", "restricting rows by time")], ROWS)?;
    refuse(
        cursor,
        &[("limit usage to", "limiting usage to a purpose")],
        "`Only show rows where FALSE for everyone except when user is acting under purpose p`",
    )?;
    if cursor.eat("only show rows where") {
        return Ok(Action::ShowRows(rows(cursor)?));
    }
    let error = cursor.unexpected();
    if cursor.at("only show") && cursor.eat("only show") && matches!(cursor.kind(), Kind::Number(_)) {
        let error = Diagnostic::error("policy::not-supported", "showing a percentage of the rows is not supported");
        return Err(Box::new(error.at(cursor.here()).help(format!("supported are {ROWS}"))));
    }
    Err(error)
}

/// After `Mask`: columns and method in either order.
fn mask(cursor: &mut Cursor) -> Read<MaskAction> {
    let early = method(cursor)?;
    let columns = columns(cursor)?;
    let method = match early {
        Some(method) => method,
        None => method(cursor)?.map_or_else(|| Err(cursor.unexpected()), Ok)?,
    };
    let when = if cursor.eat("where") { Some(predicate::predicate(cursor)?) } else { None };
    Ok(MaskAction { columns, method, when })
}

/// A method, if one comes next.
fn method(cursor: &mut Cursor) -> Read<Option<At<Method>>> {
    let unsupported = [
        ("with reversibility", "masking with reversibility"),
        ("with format preserving masking", "masking with format preserving masking"),
        ("with format-preserving masking", "masking with format preserving masking"),
        ("with k-anonymization", "masking with k-anonymization"),
        ("using randomized response", "masking with randomized response"),
        ("using the custom function", "masking with a custom function"),
        ("by rounding using fingerprint", "rounding by fingerprint"),
    ];
    refuse(cursor, &unsupported, METHODS)?;
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
    } else {
        return Ok(None);
    };
    Ok(Some(At::new(method, cursor.since(start))))
}

fn constant(cursor: &mut Cursor) -> Read<Value> {
    if let Some(value) = cursor.eat_literal()? {
        return Ok(value);
    }
    let word = if let Kind::Word(word) = cursor.kind() {
        Some(format!("a text is in single quotes: `'{}'`", short(word)))
    } else {
        None
    };
    cursor.want("a number, a text in single quotes, TRUE, FALSE, NULL, DATE '…' or TIMESTAMP '…'").map_err(
        |mut error: Box<Diagnostic>| {
            error.help = word;
            error
        },
    )
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
        let mut names = vec![cursor.simple("a column name")?];
        if !several && cursor.is_symbol(",") {
            let error = Diagnostic::error("policy::unexpected", "`the column` is one column").at(cursor.here());
            return Err(Box::new(error.help("several columns are written `the columns a, b`")));
        }
        while several && (cursor.eat_symbol(",") || cursor.eat("and")) {
            names.push(cursor.simple("a column name")?);
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

fn tag(cursor: &mut Cursor) -> Read<At<Tag>> {
    cursor.dotted("a tag name")
}

fn spelled_like(cursor: &mut Cursor) -> Read<(At<String>, bool)> {
    let pattern = regex(cursor)?;
    Ok((pattern, cursor.eat("case insensitive")))
}

/// After `Only show rows where`.
fn rows(cursor: &mut Cursor) -> Read<RowCondition> {
    if !cursor.eat("user") {
        return predicate::predicate(cursor).map(RowCondition::Where);
    }
    let user = if cursor.eat("is a member of group that matches") || cursor.eat("is a member of a group that matches") {
        Match::Group
    } else if cursor.eat("possesses an attribute in") {
        let key = cursor.dotted("an attribute name")?;
        cursor.expect("that matches")?;
        Match::Attribute(key)
    } else {
        let mut error = cursor.unexpected();
        if cursor.at("is a member of group") {
            let right = "Only show rows where FALSE for everyone except when user is a member of group g";
            error.help = Some(format!("to show rows to a group alone, write `{right}`"));
        }
        return Err(error);
    };
    cursor.expect("the value in the column")?;
    let column = if cursor.eat("tagged") {
        MatchColumn::Tagged(tag(cursor)?)
    } else {
        MatchColumn::Named(cursor.simple("a column name")?)
    };
    Ok(RowCondition::Match { user, column })
}

fn scope(cursor: &mut Cursor) -> Read<Scope> {
    cursor.expect("for everyone")?;
    if cursor.eat("except when") || cursor.at("except") && cursor.eat("except") {
        return Ok(Scope::EveryoneExcept(condition(cursor)?));
    }
    if cursor.eat("who") {
        return Ok(Scope::Who(condition(cursor)?));
    }
    Ok(Scope::Everyone)
}

fn condition(cursor: &mut Cursor) -> Read<Condition> {
    let first = unit(cursor)?;
    let any = cursor.eat("or");
    if !any && !cursor.eat("and") {
        return Ok(first);
    }
    let (operator, other) = if any { ("or", "and") } else { ("and", "or") };
    let mut parts = vec![first, unit(cursor)?];
    while cursor.eat(operator) {
        parts.push(unit(cursor)?);
    }
    if cursor.at(other) {
        return Err(Box::new(mixed_operators(cursor.here())));
    }
    Ok(if any { value::any_of(parts) } else { value::all_of(parts) })
}

fn mixed_operators(span: Span) -> Diagnostic {
    Diagnostic::error("policy::mixed-operators", "`and` and `or` are mixed without parentheses")
        .at(span)
        .label("which belongs together?")
        .help("write `(a or b) and c`, or `a or (b and c)`")
}

fn unit(cursor: &mut Cursor) -> Read<Condition> {
    if cursor.is_symbol("(") {
        cursor.advance();
        return cursor.nested(|cursor| {
            let inner = condition(cursor)?;
            cursor.expect_symbol(")")?;
            Ok(inner)
        });
    }
    test(cursor).map(Condition::Test)
}

fn test(cursor: &mut Cursor) -> Read<Test> {
    let _ = cursor.eat("users") || cursor.eat("user");
    let of_group = [
        "is a member of group",
        "is a member of the group",
        "members of group",
        "members of the group",
        "in the group",
    ];
    if of_group.into_iter().any(|phrase| cursor.eat(phrase)) {
        return Ok(Test::MemberOf(cursor.dotted("a group name")?));
    }
    if cursor.eat("possesses attribute") || cursor.eat("possesses the attribute") {
        let key = cursor.dotted("an attribute name")?;
        cursor.expect("with value")?;
        return Ok(Test::HasAttribute { key, value: attribute_value(cursor)? });
    }
    if cursor.eat("is an owner of the data source") {
        return Ok(Test::Owner);
    }
    if cursor.eat("is acting under purpose") || cursor.eat("is acting under the purpose") {
        return Ok(Test::UnderPurpose(cursor.dotted("a purpose name")?));
    }
    Err(cursor.unexpected())
}

fn attribute_value(cursor: &mut Cursor) -> Read<String> {
    if let Kind::Text(value) | Kind::Number(value) = cursor.kind() {
        let value = value.clone();
        cursor.advance();
        return Ok(value);
    }
    cursor.name("a value")
}

/// After `on`.
fn circumstances(cursor: &mut Cursor) -> Read<Circumstances> {
    if cursor.eat("all data sources") {
        return Ok(Circumstances::AllSources);
    }
    let one = cursor.at("data source");
    if !cursor.eat("data sources") && !cursor.eat("data source") {
        return Err(cursor.unexpected());
    }
    let Some(first) = circumstance(cursor)? else {
        let mut names = vec![cursor.source_name()?];
        while !one && (cursor.eat_symbol(",") || cursor.eat("and")) {
            names.push(cursor.source_name()?);
        }
        return Ok(Circumstances::Named(names));
    };
    let mut parts = vec![first];
    let any = cursor.eat("or");
    if !any && !cursor.eat("and") {
        return Ok(Circumstances::Any(parts));
    }
    let (operator, other) = if any { ("or", "and") } else { ("and", "or") };
    loop {
        let _ = cursor.eat("on data sources") || cursor.eat("data sources");
        match circumstance(cursor)? {
            Some(part) => parts.push(part),
            None => return Err(cursor.unexpected()),
        }
        if cursor.at(other) {
            return Err(Box::new(Diagnostic {
                help: Some("use one of them throughout, or write two policies".to_owned()),
                ..mixed_operators(cursor.here())
            }));
        }
        if !cursor.eat(operator) {
            return Ok(if any { Circumstances::Any(parts) } else { Circumstances::All(parts) });
        }
    }
}

/// A circumstance, if one comes next.
fn circumstance(cursor: &mut Cursor) -> Read<Option<Circumstance>> {
    Ok(Some(if cursor.eat("tagged") {
        Circumstance::SourceTagged(tag(cursor)?)
    } else if cursor.eat("with columns tagged") {
        Circumstance::ColumnTagged(tag(cursor)?)
    } else if cursor.eat("with column names spelled like") {
        let (pattern, case_insensitive) = spelled_like(cursor)?;
        Circumstance::ColumnNamedLike { pattern, case_insensitive }
    } else {
        return Ok(None);
    }))
}
