//! Policies as English sentences.

mod mask;

use std::collections::BTreeSet;
use std::mem::discriminant;

use weir_model::{GroupName, IamId, Permission, PolicyKey, PrincipalId, PrincipalSet, PurposeName, Tag};

use super::cursor::{Cursor, Read, valid};
use super::lexer::{self, Kind};
use super::{DIAGNOSTICS_MAX, derived_key, predicate, print, value};
use crate::ast::{
    Action, Ago, Approver, At, Body, Cascade, Certification, Circumstance, Circumstances, Condition, Match,
    MatchColumn, Merge, Policy, RowCondition, Rule, Scope, Statement, Subscribe, Subscribers, Test, TimeUnit,
    TimeWindow,
};
use crate::diagnostic::{Diagnostic, Span};

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
        Some(Header { key, title, priority, staged, template, certification }) => At {
            node: Policy { key: key.node, title, staged, template, certification, priority, statement },
            span: key.span,
        },
        None => {
            let key = derived_key(&print::statement(&statement));
            At::new(Policy::new(key, statement), span)
        }
    })
}

struct Header {
    key: At<PolicyKey>,
    title: Option<String>,
    priority: i32,
    staged: bool,
    template: bool,
    certification: Option<Certification>,
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
    let mut priority = 0;
    if cursor.eat("priority") {
        let (number, span) = number(cursor)?;
        priority = value::priority(&number, span)?;
    }
    let staged = cursor.eat("staged");
    let template = cursor.eat("template");
    let certification = if cursor.eat("certification") { Some(certification(cursor)?) } else { None };
    cursor.expect_symbol(":")?;
    Ok(Header { key, title, priority, staged, template, certification })
}

/// After `certification`.
fn certification(cursor: &mut Cursor) -> Read<Certification> {
    let text = value::certified(&cursor.text("what is certified")?)?;
    let label = if cursor.eat("label") { Some(value::certified(&cursor.text("a label")?)?) } else { None };
    let mut tags = BTreeSet::new();
    if cursor.eat("tags") {
        tags.insert(tag(cursor)?.node);
        while cursor.eat_symbol(",") {
            tags.insert(tag(cursor)?.node);
        }
    }
    Ok(Certification { text, label, tags })
}

fn end_of_sentence(cursor: &mut Cursor) -> Read<()> {
    if matches!(cursor.kind(), Kind::Stop | Kind::Break | Kind::End) || at_header(cursor) {
        return Ok(());
    }
    cursor.want("the end of the sentence")
}

/// Another spelling of `on data sources chosen by their owners`.
const WHEN_SELECTED: &str = "when selected by data owners";

pub(super) fn statement(cursor: &mut Cursor) -> Read<Statement> {
    let body = if cursor.eat("allow") { Body::Subscribe(subscribe(cursor)?) } else { Body::Data(cascade(cursor)?) };
    let on = if cursor.eat("on") {
        circumstances(cursor)?
    } else if cursor.at("when") && cursor.eat(WHEN_SELECTED) {
        combined(cursor, Circumstance::ChosenByOwner)?
    } else {
        Circumstances::AllSources
    };
    Ok(Statement { body, on })
}

/// After `Allow`.
fn subscribe(cursor: &mut Cursor) -> Read<Subscribe> {
    let who = if cursor.eat("anyone to subscribe") {
        Subscribers::Anyone
    } else if cursor.eat("anyone who asks to subscribe with approval") {
        let mut approvers = vec![approver(cursor)?];
        while cursor.eat("and") {
            approvers.push(approver(cursor)?);
        }
        Subscribers::Asking(approvers)
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

fn approver(cursor: &mut Cursor) -> Read<Approver> {
    if cursor.eat("by an owner") {
        return Ok(Approver::Owner);
    }
    if cursor.eat("by a holder of") {
        return permission(cursor).map(Approver::Holder);
    }
    cursor.expect("by user")?;
    person(cursor).map(Approver::Person)
}

fn permission(cursor: &mut Cursor) -> Read<Permission> {
    let span = cursor.here();
    let name = cursor.any_word("a permission")?;
    value::permission(&name, span)
}

/// A user of the built-in identity manager, or `manager:user`.
fn person(cursor: &mut Cursor) -> Read<PrincipalId> {
    let start = cursor.here();
    let name: At<GroupName> = cursor.dotted("a user name")?;
    if !cursor.is_symbol(":") {
        return valid(name.node.as_str().parse(), cursor.since(start));
    }
    cursor.advance();
    let iam = IamId::new(name.node);
    let name: At<GroupName> = cursor.dotted("a user name")?;
    valid(iam.and_then(|iam| PrincipalId::new(iam, name.node)), cursor.since(start))
}

/// A form of other systems that is not part of this language.
fn refuse(cursor: &Cursor, phrase: &str, what: &str, help: &str) -> Read<()> {
    if !cursor.at(phrase) {
        return Ok(());
    }
    let error = Diagnostic::error("policy::not-supported", format!("{what} is not supported")).at(cursor.here());
    Err(Box::new(error.help(help)))
}

/// With its place.
fn number(cursor: &mut Cursor) -> Read<(String, Span)> {
    let span = cursor.here();
    match cursor.eat_number() {
        Some(number) => Ok((number, span)),
        None => Err(cursor.unexpected()),
    }
}

fn whole(cursor: &mut Cursor, least: u32) -> Read<u32> {
    let (number, span) = number(cursor)?;
    value::whole(&number, least, span)
}

/// Before a percent sign.
fn percentage(cursor: &mut Cursor, all: bool) -> Read<At<String>> {
    let (number, span) = number(cursor)?;
    value::check_percentage(&number, all, span)?;
    cursor.expect_symbol("%")?;
    Ok(At::new(number, span))
}

fn cascade(cursor: &mut Cursor) -> Read<Cascade> {
    let mut rules: Vec<Rule> = Vec::new();
    loop {
        let start = cursor.here();
        let action = action(cursor)?;
        let same = |rule: &Rule| discriminant(&rule.action) == discriminant(&action);
        if !rules.iter().all(same) {
            return Err(Box::new(value::mixed_actions(cursor.since(start))));
        }
        let limit = matches!(action, Action::LimitToPurposes(_));
        let start = cursor.here();
        if limit && cursor.at("for everyone who") && cursor.eat("for everyone who") {
            return Err(Box::new(value::inclusive_limit(cursor.since(start))));
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
        return mask::mask(cursor).map(Action::Mask);
    }
    if cursor.eat("only show") {
        return shown(cursor).map(Action::ShowRows);
    }
    cursor.expect("limit usage to")?;
    purposes(cursor).map(Action::LimitToPurposes)
}

/// After `Limit usage to`.
fn purposes(cursor: &mut Cursor) -> Read<Vec<At<PurposeName>>> {
    let mut several = cursor.eat("purposes");
    if !several {
        cursor.expect("purpose")?;
        if cursor.is_symbol("(") {
            cursor.advance();
            cursor.expect("s")?;
            cursor.expect_symbol(")")?;
            several = true;
        }
    }
    let mut names = vec![cursor.dotted("a purpose name")?];
    if !several && cursor.is_symbol(",") {
        let error = Diagnostic::error("policy::unexpected", "`purpose` is one purpose").at(cursor.here());
        return Err(Box::new(error.help("several purposes are written `purposes a, b`")));
    }
    // One of them is enough, so they are not joined by `and`.
    while several && (cursor.eat_symbol(",") || cursor.eat("or")) {
        names.push(cursor.dotted("a purpose name")?);
    }
    Ok(names)
}

/// After `Only show`.
fn shown(cursor: &mut Cursor) -> Read<RowCondition> {
    if cursor.eat("rows where") {
        return rows(cursor);
    }
    if cursor.eat("data by time where data is") {
        return time_window(cursor).map(RowCondition::Time);
    }
    let percent = percentage(cursor, false)?;
    cursor.expect("of the data")?;
    Ok(RowCondition::Sample(percent))
}

fn time_window(cursor: &mut Cursor) -> Read<TimeWindow> {
    let newer = cursor.eat("more recent than");
    if !newer {
        cursor.expect("older than")?;
    }
    let amount = whole(cursor, 1)?;
    for unit in TimeUnit::ALL {
        if cursor.eat(value::plural(unit)) || cursor.at(unit.as_str()) && cursor.eat(unit.as_str()) {
            return Ok(TimeWindow { newer, ago: Ago { amount, unit } });
        }
    }
    Err(cursor.unexpected())
}

fn tag(cursor: &mut Cursor) -> Read<At<Tag>> {
    cursor.dotted("a tag name")
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
    } else if cursor.eat("is acting under a purpose that matches")
        || cursor.at("is acting under purpose that") && cursor.eat("is acting under purpose that matches")
    {
        Match::Purpose
    } else {
        let mut error = cursor.unexpected();
        let nobody_but = "Only show rows where FALSE for everyone except when user";
        if cursor.at("is a member of group") {
            error.help = Some(format!("to show rows to a group alone, write `{nobody_but} is a member of group g`"));
        } else if cursor.at("is acting under purpose") {
            error.help =
                Some(format!("to show rows under a purpose alone, write `{nobody_but} is acting under purpose p`"));
        }
        return Err(error);
    };
    cursor.expect("the value in the column")?;
    let column = if cursor.eat("tagged") {
        MatchColumn::Tagged(tag(cursor)?)
    } else {
        MatchColumn::Named(cursor.dotted("a column name")?)
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
    if cursor.eat("has permission") || cursor.eat("has the permission") {
        return permission(cursor).map(Test::Permitted);
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
    combined(cursor, first)
}

/// A circumstance and those that are joined to it.
fn combined(cursor: &mut Cursor, first: Circumstance) -> Read<Circumstances> {
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
        let (pattern, case_insensitive) = mask::spelled_like(cursor)?;
        Circumstance::ColumnNamedLike { pattern, case_insensitive }
    } else if cursor.eat("with no tags") {
        Circumstance::NoTags
    } else if cursor.eat("with any tag") {
        Circumstance::AnyTag
    } else if cursor.eat("in schema") {
        let span = cursor.here();
        let name = cursor.name("a schema name")?;
        Circumstance::InSchema(value::schema(&name, span)?)
    } else if cursor.eat("owned by") {
        Circumstance::OwnedBy(if cursor.eat("user") {
            PrincipalSet::User(person(cursor)?)
        } else {
            cursor.expect("group")?;
            PrincipalSet::Group(cursor.dotted("a group name")?.node)
        })
    } else if cursor.eat("chosen by their owners") || cursor.at("when") && cursor.eat(WHEN_SELECTED) {
        Circumstance::ChosenByOwner
    } else if cursor.at("chosen by") {
        // Not the name of a data source.
        return Err(cursor.unexpected());
    } else {
        return Ok(None);
    }))
}
