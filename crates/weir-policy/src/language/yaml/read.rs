//! From a tree of YAML to a policy.

mod mask;

use std::collections::BTreeSet;
use std::mem::discriminant;
use std::str::FromStr;

use weir_model::{InvalidName, Permission, PrincipalId, PrincipalSet, SourceName, Tag};

use super::node::{self, Content, Key, Node};
use crate::ast::{
    Action, Ago, Approver, At, Body, Cascade, Certification, Circumstance, Circumstances, Condition, Match,
    MatchColumn, Merge, Policy, Predicate, RowCondition, Rule, Scope, Statement, Subscribe, Subscribers, Test,
    TimeUnit, TimeWindow,
};
use crate::diagnostic::{Diagnostic, Span};
use crate::language::cursor::{DEPTH_MAX, Read, short, valid};
use crate::language::{DIAGNOSTICS_MAX, derived_key, lexer, predicate, print, value, words};

/// The policies of a text, and what was wrong with the others.
pub(crate) fn policies(text: &str) -> (Vec<Policy>, Vec<Diagnostic>) {
    let (mut policies, mut diagnostics) = (Vec::new(), Vec::new());
    let mut keys = BTreeSet::new();
    let nodes = node::documents(text).into_iter().flat_map(|document| match document {
        Ok(Node { content: Content::List(items), .. }) => items.into_iter().map(Ok).collect(),
        other => vec![other],
    });
    for node in nodes {
        if diagnostics.len() >= DIAGNOSTICS_MAX {
            break;
        }
        match node.and_then(|node| policy(node, text)) {
            Ok(policy) if keys.contains(&policy.node.key) => diagnostics.push(value::duplicate_key(&policy)),
            Ok(policy) => {
                keys.insert(policy.node.key.clone());
                policies.push(policy.node);
            }
            Err(diagnostic) => diagnostics.push(*diagnostic),
        }
    }
    (policies, diagnostics)
}

/// The fields of a mapping, taken one by one; what is left is not understood.
struct Fields {
    span: Span,
    fields: Vec<(Key, Node)>,
    /// The place of the first key.
    first: Span,
    /// The keys that were asked for.
    known: Vec<&'static str>,
}

impl Fields {
    fn new(node: Node, what: &str) -> Read<Self> {
        let span = node.span;
        match node.content {
            Content::Map(fields) => {
                let first = fields.first().map_or(span, |(key, _)| key.span);
                Ok(Self { span, fields, first, known: Vec::new() })
            }
            Content::Scalar { .. } | Content::List(_) => Err(expected(what, &node)),
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        let at = self.fields.iter().position(|(found, _)| found.name == key)?;
        Some(self.fields.swap_remove(at).1)
    }

    fn require(&mut self, key: &'static str) -> Read<Node> {
        if let Some(node) = self.take(key) {
            return Ok(node);
        }
        // A key that is spelled wrong is named rather than the one that is missing.
        self.unknown()?;
        let message = format!("the key `{key}` is missing");
        Err(Box::new(Diagnostic::error("policy::missing-key", message).at(self.first).label("in this mapping")))
    }

    /// Refuses what nobody asked for.
    fn end(self) -> Read<()> {
        self.unknown()
    }

    fn unknown(&self) -> Read<()> {
        let known: Vec<&str> = self.known.clone();
        let unknown = self.fields.iter().filter(|(key, _)| !known.contains(&key.name.as_str()));
        let Some((key, _)) = unknown.min_by_key(|(key, _)| key.span.start) else { return Ok(()) };
        Err(Box::new(unknown_key(key, &known)))
    }
}

fn unknown_key(key: &Key, known: &[&str]) -> Diagnostic {
    let help = match words::nearest(&key.name, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => {
            format!("the keys here are {}", known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", "))
        }
    };
    let message = format!("the key `{}` has no meaning here", short(&key.name));
    Diagnostic::error("policy::unknown-key", message).at(key.span).label("not understood").help(help)
}

fn expected(what: &str, node: &Node) -> Box<Diagnostic> {
    let found = match &node.content {
        Content::Scalar { text, .. } if text.is_empty() => "nothing".to_owned(),
        Content::Scalar { text, .. } => format!("`{}`", short(text)),
        Content::List(items) if items.is_empty() => "an empty list".to_owned(),
        Content::List(_) => "a list".to_owned(),
        Content::Map(_) => "a mapping".to_owned(),
    };
    let message = format!("expected {what}, found {found}");
    Box::new(Diagnostic::error("policy::unexpected", message).at(node.span).label("not understood"))
}

/// A word that is one of a few, with the one that was probably meant.
fn expected_word(what: &str, words: &[&str], node: &Node) -> Box<Diagnostic> {
    let mut error = expected(what, node);
    if let Content::Scalar { text, .. } = &node.content {
        error.help = words::nearest(text, words.iter().copied()).map(|meant| format!("did you mean `{meant}`?"));
    }
    error
}

fn is_word(node: &Node, word: &str) -> bool {
    matches!(&node.content, Content::Scalar { text, .. } if text == word)
}

/// The scalar as it is written. What YAML reads as no value is not a text.
fn text(node: &Node, what: &str) -> Read<At<String>> {
    let Content::Scalar { text, plain } = &node.content else { return Err(expected(what, node)) };
    if *plain && (text.is_empty() || text == "~" || text.eq_ignore_ascii_case("null")) {
        let mut error = expected(what, node);
        error.help = (!text.is_empty()).then(|| format!("write it in quotes if it is a text: `\"{text}\"`"));
        return Err(error);
    }
    Ok(At::new(text.clone(), node.span))
}

fn name<T: FromStr<Err = InvalidName>>(node: &Node, what: &str) -> Read<At<T>> {
    let text = text(node, what)?;
    Ok(At::new(valid(text.node.parse(), node.span)?, node.span))
}

fn truth(node: Option<Node>) -> Read<bool> {
    match node {
        None => Ok(false),
        Some(node) if is_word(&node, "true") => Ok(true),
        Some(node) if is_word(&node, "false") => Ok(false),
        Some(node) => Err(expected("`true` or `false`", &node)),
    }
}

/// A number as it is written; what it must be is for the caller to say.
fn number(node: &Node) -> Read<&str> {
    match &node.content {
        Content::Scalar { text, .. } => Ok(text),
        Content::List(_) | Content::Map(_) => Err(expected("a number", node)),
    }
}

fn permission(node: &Node) -> Read<Permission> {
    value::permission(&text(node, "a permission")?.node, node.span)
}

fn person(node: &Node) -> Read<PrincipalId> {
    name(node, "a user name").map(|person| person.node)
}

/// One or more.
fn list<T>(node: Node, what: &str, read: impl FnMut(Node) -> Read<T>) -> Read<Vec<T>> {
    match node.content {
        Content::List(items) if !items.is_empty() => items.into_iter().map(read).collect(),
        Content::List(_) | Content::Scalar { .. } | Content::Map(_) => {
            Err(expected(&format!("a list of {what}"), &node))
        }
    }
}

fn regex(node: &Node) -> Read<At<String>> {
    let pattern = text(node, "a regular expression")?;
    value::check_regex(&pattern.node, node.span)?;
    Ok(pattern)
}

/// With the place of its key, or else of the whole.
fn policy(node: Node, source: &str) -> Read<At<Policy>> {
    let mut fields =
        Fields::new(node, "a policy, which is a mapping with `mask`, `rows`, `limit_to_purposes` or `subscribe`")?;
    let key = fields.take("policy").map(|node| name(&node, "a policy key")).transpose()?;
    let title = match fields.take("title") {
        Some(node) => Some(value::title(&text(&node, "a title")?.node, node.span)?),
        None => None,
    };
    let priority = match fields.take("priority") {
        Some(node) => value::priority(number(&node)?, node.span)?,
        None => 0,
    };
    let staged = truth(fields.take("staged"))?;
    let template = truth(fields.take("template"))?;
    let certification = fields.take("certification").map(certification).transpose()?;
    let body = match fields.take("subscribe") {
        Some(node) => Body::Subscribe(subscribe(node, fields.take("merge"))?),
        None => Body::Data(cascade(&mut fields, source)?),
    };
    let on = fields.take("on").map_or(Ok(Circumstances::AllSources), circumstances)?;
    let whole = fields.first;
    fields.end()?;
    let statement = Statement { body, on };
    let (key, span) = match key {
        Some(key) => (key.node, key.span),
        None => (derived_key(&print::statement(&statement)), Some(whole)),
    };
    Ok(At { node: Policy { key, title, staged, template, certification, priority, statement }, span })
}

fn certification(node: Node) -> Read<Certification> {
    let mut fields = Fields::new(node, "a mapping with `text`, and with `label` and `tags` if wanted")?;
    let certified = |node: Node| value::certified(&text(&node, "a text")?);
    let (label, tags) = (fields.take("label"), fields.take("tags"));
    let text = certified(fields.require("text")?)?;
    let label = label.map(certified).transpose()?;
    let tags = match tags {
        Some(node) => list(node, "tags", |node| Ok(name::<Tag>(&node, "a tag")?.node))?,
        None => Vec::new(),
    };
    fields.end()?;
    Ok(Certification { text, label, tags: tags.into_iter().collect() })
}

fn subscribe(node: Node, merge: Option<Node>) -> Read<Subscribe> {
    let merge = match merge {
        None => Merge::Share,
        Some(node) if is_word(&node, "share") => Merge::Share,
        Some(node) if is_word(&node, "require") => Merge::Require,
        Some(node) => return Err(expected_word("`share` or `require`", &["share", "require"], &node)),
    };
    Ok(Subscribe { who: subscribers(node)?, merge })
}

fn subscribers(node: Node) -> Read<Subscribers> {
    const WHAT: &str = "`anyone`, `selected`, `{when: condition}` or `{asking: […]}`";
    if is_word(&node, "anyone") {
        return Ok(Subscribers::Anyone);
    }
    if is_word(&node, "selected") {
        return Ok(Subscribers::Selected);
    }
    if let Content::Scalar { .. } = node.content {
        return Err(expected_word(WHAT, &["anyone", "selected"], &node));
    }
    let (key, node) = choice(node, WHAT, &["when", "asking"])?;
    if key == "when" {
        return condition(node, 0).map(Subscribers::When);
    }
    list(node, "those who approve", approver).map(Subscribers::Asking)
}

fn approver(node: Node) -> Read<Approver> {
    const WHAT: &str = "`owner`, `{permission: name}` or `{user: name}`";
    if is_word(&node, "owner") {
        return Ok(Approver::Owner);
    }
    if let Content::Scalar { .. } = node.content {
        return Err(expected_word(WHAT, &["owner"], &node));
    }
    let (key, node) = choice(node, WHAT, &["permission", "user"])?;
    if key == "user" { person(&node).map(Approver::Person) } else { permission(&node).map(Approver::Holder) }
}

fn cascade(fields: &mut Fields, source: &str) -> Read<Cascade> {
    let mut rules = vec![rule(fields, source)?.node];
    let more = match fields.take("otherwise") {
        None => Vec::new(),
        Some(Node { content: Content::List(items), .. }) if !items.is_empty() => items,
        Some(node) => vec![node],
    };
    for node in more {
        if !matches!(rules.last(), Some(Rule { scope: Scope::Who(_), .. })) {
            let error = Diagnostic::error("policy::unreachable", "nobody is left for this `otherwise`").at(node.span);
            return Err(Box::new(error.help("`otherwise` follows `for: {who: condition}`")));
        }
        let mut inner = Fields::new(node, "a rule, which is a mapping with `mask` or `rows`, and `for`")?;
        let next = rule(&mut inner, source)?;
        inner.end()?;
        let same = |rule: &Rule| discriminant(&rule.action) == discriminant(&next.node.action);
        if !rules.iter().all(same) {
            return Err(Box::new(value::mixed_actions(next.span.unwrap_or_default())));
        }
        rules.push(next.node);
    }
    Ok(Cascade { rules })
}

fn rule(fields: &mut Fields, source: &str) -> Read<At<Rule>> {
    let span = fields.first;
    let action = match (fields.take("mask"), fields.take("rows"), fields.take("limit_to_purposes")) {
        (Some(_), Some(node), _) | (Some(_), None, Some(node)) | (None, Some(_), Some(node)) => {
            return Err(Box::new(value::mixed_actions(node.span)));
        }
        (Some(node), None, None) => Action::Mask(mask::mask(node, source)?),
        (None, Some(node), None) => Action::ShowRows(rows(node, source)?),
        (None, None, Some(node)) => {
            Action::LimitToPurposes(list(node, "purpose names", |node| name(&node, "a purpose name"))?)
        }
        (None, None, None) => {
            fields.unknown()?;
            let error = Diagnostic::error("policy::missing-key", "it is not said what to do").at(span);
            return Err(Box::new(error.help("write `mask`, `rows`, `limit_to_purposes` or `subscribe`")));
        }
    };
    let whom = fields.require("for")?;
    let place = whom.span;
    let scope = scope(whom)?;
    if let (Action::LimitToPurposes(_), Scope::Who(_)) = (&action, &scope) {
        return Err(Box::new(value::inclusive_limit(place)));
    }
    Ok(At::new(Rule { action, scope }, span))
}

fn scope(node: Node) -> Read<Scope> {
    const WHAT: &str = "`everyone`, `{except: condition}` or `{who: condition}`";
    if is_word(&node, "everyone") {
        return Ok(Scope::Everyone);
    }
    if let Content::Scalar { .. } = node.content {
        return Err(expected_word(WHAT, &["everyone"], &node));
    }
    let (key, node) = choice(node, WHAT, &["except", "who"])?;
    let condition = condition(node, 0)?;
    Ok(if key == "who" { Scope::Who(condition) } else { Scope::EveryoneExcept(condition) })
}

/// The only field of a mapping, which is one of `keys`.
fn choice(node: Node, what: &str, keys: &[&'static str]) -> Read<(&'static str, Node)> {
    let mut fields = Fields::new(node, what)?;
    for key in keys {
        if let Some(node) = fields.take(key) {
            fields.known = keys.to_vec();
            if let Some((other, _)) = fields.fields.first() {
                let error = Diagnostic::error("policy::unexpected", format!("only one of {what} can stand here"))
                    .at(other.span);
                return Err(Box::new(error.label("the one too many")));
            }
            return Ok((key, node));
        }
    }
    fields.unknown()?;
    Err(Box::new(Diagnostic::error("policy::unexpected", format!("expected {what}, found nothing")).at(fields.span)))
}

fn rows(node: Node, source: &str) -> Read<RowCondition> {
    let what = "a mapping with `match` and `column`, or with `where`, `newer_than`, `older_than` or `sample`";
    let mut fields = Fields::new(node, what)?;
    for alone in ["where", "newer_than", "older_than", "sample"] {
        let Some(node) = fields.take(alone) else { continue };
        if let Some((key, _)) = fields.fields.first() {
            let error = Diagnostic::error("policy::unexpected", format!("`{alone}` stands alone")).at(key.span);
            let help = if alone == "where" { "say all of it in the predicate, or write two" } else { "write two" };
            return Err(Box::new(error.help(format!("{help} policies"))));
        }
        return match alone {
            "where" => condition_of_rows(&node, source).map(RowCondition::Where),
            "sample" => {
                let percent = number(&node)?;
                value::check_percentage(percent, false, node.span)?;
                Ok(RowCondition::Sample(At::new(percent.to_owned(), node.span)))
            }
            _ => Ok(RowCondition::Time(TimeWindow { newer: alone == "newer_than", ago: ago(node)? })),
        };
    }
    let user = fields.require("match")?;
    let column = fields.require("column")?;
    fields.end()?;
    let user = if is_word(&user, "group") {
        Match::Group
    } else if is_word(&user, "purpose") {
        Match::Purpose
    } else if let Content::Scalar { .. } = user.content {
        return Err(expected_word("`group`, `purpose` or `{attribute: key}`", &["group", "purpose"], &user));
    } else {
        let (_, key) = choice(user, "`group`, `purpose` or `{attribute: key}`", &["attribute"])?;
        Match::Attribute(name(&key, "an attribute key")?)
    };
    let column = match column.content {
        Content::Map(_) => {
            let (_, tag) = choice(column, "a column name or `{tagged: tag}`", &["tagged"])?;
            MatchColumn::Tagged(name(&tag, "a tag")?)
        }
        Content::Scalar { .. } | Content::List(_) => {
            MatchColumn::Named(name(&column, "a column name or `{tagged: tag}`")?)
        }
    };
    Ok(RowCondition::Match { user, column })
}

fn ago(node: Node) -> Read<Ago> {
    const WHAT: &str = "`{minutes: …}`, `{hours: …}`, `{days: …}`, `{months: …}` or `{years: …}`";
    let (key, node) = choice(node, WHAT, &TimeUnit::ALL.map(value::plural))?;
    let Some(unit) = TimeUnit::ALL.into_iter().find(|unit| value::plural(*unit) == key) else {
        return Err(expected(WHAT, &node));
    };
    Ok(Ago { amount: value::whole(number(&node)?, 1, node.span)?, unit })
}

/// A predicate in a scalar. Its parts are pointed at where the scalar stands in the text as it is meant; else the
/// whole scalar is.
fn condition_of_rows(node: &Node, source: &str) -> Read<Predicate> {
    let text = text(node, "a predicate")?.node;
    let written = source.get(node.span.start..node.span.end).unwrap_or("");
    let offset = written.find(&text).map(|within| node.span.start + within);
    let mut tokens = lexer::tokens(&text);
    let place = |span: Span| match offset {
        Some(offset) => Span::new(span.start + offset, span.end + offset),
        None => node.span,
    };
    for token in &mut tokens {
        token.move_to(place);
    }
    predicate::whole(tokens)
}

fn condition(node: Node, depth: usize) -> Read<Condition> {
    const WHAT: &str = "`{group: name}`, `{attribute: {key: …, value: …}}`, `owner`, `{purpose: name}`, \
                        `{permission: name}`, `{any: […]}` or `{all: […]}`";
    if is_word(&node, "owner") {
        return Ok(Condition::Test(Test::Owner));
    }
    if let Content::Scalar { .. } = node.content {
        return Err(expected_word(WHAT, &["owner"], &node));
    }
    let (key, node) = choice(node, WHAT, &["group", "attribute", "purpose", "permission", "any", "all"])?;
    if depth > DEPTH_MAX && matches!(key, "any" | "all") {
        let message = format!("this is nested more than {DEPTH_MAX} deep");
        return Err(Box::new(Diagnostic::error("policy::too-deep", message).at(node.span).label("one level too many")));
    }
    Ok(match key {
        "any" => value::any_of(list(node, "conditions", |node| condition(node, depth + 1))?),
        "all" => value::all_of(list(node, "conditions", |node| condition(node, depth + 1))?),
        "group" => Condition::Test(Test::MemberOf(name(&node, "a group name")?)),
        "permission" => Condition::Test(Test::Permitted(permission(&node)?)),
        "purpose" => Condition::Test(Test::UnderPurpose(name(&node, "a purpose")?)),
        _ => {
            let mut fields = Fields::new(node, "a mapping with `key` and `value`")?;
            let key = name(&fields.require("key")?, "an attribute key")?;
            let value = text(&fields.require("value")?, "a value")?.node;
            fields.end()?;
            Condition::Test(Test::HasAttribute { key, value })
        }
    })
}

fn circumstances(node: Node) -> Read<Circumstances> {
    const WHAT: &str = "`all-data-sources`, `{data_sources: […]}`, `{any: […]}` or `{all: […]}`";
    if is_word(&node, "all-data-sources") {
        return Ok(Circumstances::AllSources);
    }
    if let Content::Scalar { .. } = node.content {
        return Err(expected_word(WHAT, &["all-data-sources"], &node));
    }
    let (key, node) = choice(node, WHAT, &["data_sources", "any", "all"])?;
    if key == "data_sources" {
        let source = |node: Node| name::<SourceName>(&node, "a data source name such as `schema.table`");
        return Ok(Circumstances::Named(list(node, "data source names", source)?));
    }
    let parts = list(node, "circumstances", circumstance)?;
    Ok(if key == "all" && parts.len() > 1 { Circumstances::All(parts) } else { Circumstances::Any(parts) })
}

fn circumstance(node: Node) -> Read<Circumstance> {
    const WHAT: &str = "`{source_tagged: tag}`, `{column_tagged: tag}`, `{column_named_like: regex}`, `no-tags`, \
                        `any-tag`, `{in_schema: name}`, `{owned_by: …}` or `chosen-by-owner`";
    let words = [
        ("no-tags", Circumstance::NoTags),
        ("any-tag", Circumstance::AnyTag),
        ("chosen-by-owner", Circumstance::ChosenByOwner),
    ];
    if let Content::Scalar { .. } = node.content {
        let known = words.each_ref().map(|(word, _)| *word);
        let meant = words.into_iter().find(|(word, _)| is_word(&node, word));
        return meant.map(|(_, meant)| meant).ok_or_else(|| expected_word(WHAT, &known, &node));
    }
    let mut fields = Fields::new(node, WHAT)?;
    let tag = |node: Node| name::<Tag>(&node, "a tag");
    let circumstance = if let Some(node) = fields.take("source_tagged") {
        Circumstance::SourceTagged(tag(node)?)
    } else if let Some(node) = fields.take("column_tagged") {
        Circumstance::ColumnTagged(tag(node)?)
    } else if let Some(node) = fields.take("in_schema") {
        Circumstance::InSchema(value::schema(&text(&node, "a schema name")?.node, node.span)?)
    } else if let Some(node) = fields.take("owned_by") {
        Circumstance::OwnedBy(owner(node)?)
    } else {
        let pattern = regex(&fields.require("column_named_like")?)?;
        Circumstance::ColumnNamedLike { pattern, case_insensitive: truth(fields.take("case_insensitive"))? }
    };
    fields.end()?;
    Ok(circumstance)
}

fn owner(node: Node) -> Read<PrincipalSet> {
    let (key, node) = choice(node, "`{user: name}` or `{group: name}`", &["user", "group"])?;
    if key == "user" {
        person(&node).map(PrincipalSet::User)
    } else {
        Ok(PrincipalSet::Group(name(&node, "a group name")?.node))
    }
}
