//! From a tree of YAML to a policy.

use std::collections::BTreeSet;
use std::str::FromStr;

use weir_model::{InvalidName, SourceName, Tag, Value};

use super::node::{self, Content, Key, Node};
use crate::ast::{
    Action, At, Body, CalendarUnit, Cascade, Circumstance, Circumstances, Columns, Condition, MaskAction, Match,
    MatchColumn, Merge, Method, Policy, Predicate, RoundTo, RowCondition, Rule, Scope, Statement, Subscribe,
    Subscribers, Test,
};
use crate::diagnostic::{Diagnostic, Span};
use crate::language::cursor::{DEPTH_MAX, Read, date, invalid_value, number_value, short, timestamp, valid};
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
    let mut fields = Fields::new(node, "a policy, which is a mapping with `mask`, `rows` or `subscribe`")?;
    let key = fields.take("policy").map(|node| name(&node, "a policy key")).transpose()?;
    let title = match fields.take("title") {
        Some(node) => Some(value::title(&text(&node, "a title")?.node, node.span)?),
        None => None,
    };
    let staged = truth(fields.take("staged"))?;
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
    Ok(At { node: Policy { key, title, staged, statement }, span })
}

fn subscribe(node: Node, merge: Option<Node>) -> Read<Subscribe> {
    let merge = match merge {
        None => Merge::Share,
        Some(node) if is_word(&node, "share") => Merge::Share,
        Some(node) if is_word(&node, "require") => Merge::Require,
        Some(node) => return Err(expected_word("`share` or `require`", &["share", "require"], &node)),
    };
    let who = if is_word(&node, "anyone") {
        Subscribers::Anyone
    } else if is_word(&node, "selected") {
        Subscribers::Selected
    } else if let Content::Scalar { .. } = node.content {
        return Err(expected_word("`anyone`, `selected` or `{when: condition}`", &["anyone", "selected"], &node));
    } else {
        let mut fields = Fields::new(node, "`anyone`, `selected` or `{when: condition}`")?;
        let when = condition(fields.require("when")?, 0)?;
        fields.end()?;
        Subscribers::When(when)
    };
    Ok(Subscribe { who, merge })
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
        let same = |rule: &Rule| matches!(rule.action, Action::Mask(_)) == matches!(next.node.action, Action::Mask(_));
        if !rules.iter().all(same) {
            return Err(Box::new(value::mixed_actions(next.span.unwrap_or_default())));
        }
        rules.push(next.node);
    }
    Ok(Cascade { rules })
}

fn rule(fields: &mut Fields, source: &str) -> Read<At<Rule>> {
    let span = fields.first;
    let action = match (fields.take("mask"), fields.take("rows")) {
        (Some(_), Some(rows)) => return Err(Box::new(value::mixed_actions(rows.span))),
        (Some(node), None) => Action::Mask(mask(node, source)?),
        (None, Some(node)) => Action::ShowRows(rows(node, source)?),
        (None, None) => {
            fields.unknown()?;
            let error = Diagnostic::error("policy::missing-key", "it is not said what to do").at(span);
            return Err(Box::new(error.help("write `mask`, `rows` or `subscribe`")));
        }
    };
    let scope = scope(fields.require("for")?)?;
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

fn mask(node: Node, source: &str) -> Read<MaskAction> {
    let mut fields = Fields::new(node, "a mask, which is a mapping with `columns` and `using`")?;
    let columns = columns(fields.require("columns")?)?;
    let using = fields.require("using")?;
    let method = At::new(method(&using)?, using.span);
    let when = fields.take("where").map(|node| condition_of_rows(&node, source)).transpose()?;
    fields.end()?;
    Ok(MaskAction { columns, method, when })
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

fn method(node: &Node) -> Read<Method> {
    const WHAT: &str = "`hash`, `null`, `{constant: value}`, `{round: to}` or `{regex: {pattern: …, replacement: …}}`";
    match &node.content {
        Content::Scalar { text, .. } if text == "hash" => Ok(Method::Hash),
        Content::Scalar { text, .. } if text == "null" => Ok(Method::Null),
        Content::Scalar { .. } => Err(expected_word(WHAT, &["hash", "null"], node)),
        Content::List(_) => Err(expected(WHAT, node)),
        Content::Map(fields) => {
            let known = ["constant", "round", "regex"];
            let [(key, inner)] = fields.as_slice() else { return Err(expected(WHAT, node)) };
            match key.name.as_str() {
                "constant" => constant(inner).map(Method::Constant),
                "round" => round(inner).map(Method::Round),
                "regex" => regex_method(inner),
                _ => Err(Box::new(unknown_key(key, &known))),
            }
        }
    }
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
    let what = "a number, or `hour`, `day`, `week`, `month`, `quarter` or `year`";
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
    let required = |name: &str| {
        let message = format!("the key `{name}` is missing");
        field(name).ok_or_else(|| Box::new(Diagnostic::error("policy::missing-key", message).at(node.span)))
    };
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

fn rows(node: Node, source: &str) -> Read<RowCondition> {
    let mut fields = Fields::new(node, "a mapping with `match` and `column`, or with `where`")?;
    if let Some(node) = fields.take("where") {
        let condition = condition_of_rows(&node, source)?;
        fields.known.extend(["match", "column"]);
        if let Some((key, _)) = fields.fields.first() {
            let error = Diagnostic::error("policy::unexpected", "`where` stands alone").at(key.span);
            return Err(Box::new(error.help("say all of it in the predicate, or write two policies")));
        }
        return Ok(RowCondition::Where(condition));
    }
    let user = fields.require("match")?;
    let column = fields.require("column")?;
    fields.end()?;
    let user = if is_word(&user, "group") {
        Match::Group
    } else if let Content::Scalar { .. } = user.content {
        return Err(expected_word("`group` or `{attribute: key}`", &["group"], &user));
    } else {
        let (_, key) = choice(user, "`group` or `{attribute: key}`", &["attribute"])?;
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
    const WHAT: &str =
        "`{group: name}`, `{attribute: {key: …, value: …}}`, `owner`, `{purpose: name}`, `{any: […]}` or `{all: […]}`";
    if is_word(&node, "owner") {
        return Ok(Condition::Test(Test::Owner));
    }
    if let Content::Scalar { .. } = node.content {
        return Err(expected_word(WHAT, &["owner"], &node));
    }
    let (key, node) = choice(node, WHAT, &["group", "attribute", "purpose", "any", "all"])?;
    if depth > DEPTH_MAX && matches!(key, "any" | "all") {
        let message = format!("this is nested more than {DEPTH_MAX} deep");
        return Err(Box::new(Diagnostic::error("policy::too-deep", message).at(node.span).label("one level too many")));
    }
    Ok(match key {
        "any" => value::any_of(list(node, "conditions", |node| condition(node, depth + 1))?),
        "all" => value::all_of(list(node, "conditions", |node| condition(node, depth + 1))?),
        "group" => Condition::Test(Test::MemberOf(name(&node, "a group name")?)),
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
    let what = "`{source_tagged: tag}`, `{column_tagged: tag}` or `{column_named_like: regex}`";
    let mut fields = Fields::new(node, what)?;
    let tag = |node: Node| name::<Tag>(&node, "a tag");
    let circumstance = if let Some(node) = fields.take("source_tagged") {
        Circumstance::SourceTagged(tag(node)?)
    } else if let Some(node) = fields.take("column_tagged") {
        Circumstance::ColumnTagged(tag(node)?)
    } else {
        let pattern = regex(&fields.require("column_named_like")?)?;
        Circumstance::ColumnNamedLike { pattern, case_insensitive: truth(fields.take("case_insensitive"))? }
    };
    fields.end()?;
    Ok(circumstance)
}
