//! Reading tokens one after the other, with what would have been understood at the place where reading got stuck.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use weir_model::{InvalidName, SourceName, Value};

use super::lexer::{Kind, Token};
use super::words;
use crate::ast::At;
use crate::diagnostic::{Diagnostic, Span};

/// A diagnostic in the place of what was to be read.
pub(super) type Read<T> = Result<T, Box<Diagnostic>>;

/// How deep conditions, parentheses, calls and lookups may be nested.
pub(super) const DEPTH_MAX: usize = 32;

pub(super) struct Cursor {
    tokens: Vec<Token>,
    pos: usize,
    depth: usize,
    /// The furthest place at which something was looked for and not found, and what.
    stuck: usize,
    wanted: Vec<String>,
    /// The token that was last read as a bare name.
    bare_name: Option<usize>,
}

impl Cursor {
    /// `tokens` end with [`Kind::End`].
    pub(super) fn new(tokens: Vec<Token>) -> Self {
        Self { tokens, pos: 0, depth: 0, stuck: 0, wanted: Vec::new(), bare_name: None }
    }

    pub(super) fn kind(&self) -> &Kind {
        self.kind_at(self.pos)
    }

    fn kind_at(&self, pos: usize) -> &Kind {
        self.tokens.get(pos).map_or(&Kind::End, |token| &token.kind)
    }

    /// The place of the token to be read next.
    pub(super) fn here(&self) -> Span {
        self.span_at(self.pos)
    }

    fn span_at(&self, pos: usize) -> Span {
        self.tokens.get(pos).or(self.tokens.last()).map_or(Span::default(), |token| token.span)
    }

    /// From `start` to the end of the token read last.
    pub(super) fn since(&self, start: Span) -> Span {
        if self.pos == 0 { start } else { start.to(self.span_at(self.pos - 1)) }
    }

    pub(super) fn advance(&mut self) {
        self.pos += 1;
    }

    pub(super) fn pos(&self) -> usize {
        self.pos
    }

    pub(super) fn starts_line(&self) -> bool {
        self.tokens.get(self.pos).is_some_and(|token| token.first_in_line)
    }

    fn is_word(&self, pos: usize, word: &str) -> bool {
        matches!(self.kind_at(pos), Kind::Word(found) if found.eq_ignore_ascii_case(word))
    }

    /// Whether `phrase` comes next. Leaves no trace.
    pub(super) fn at(&self, phrase: &str) -> bool {
        phrase.split(' ').enumerate().all(|(i, word)| self.is_word(self.pos + i, word))
    }

    /// Reads `phrase`, keywords separated by spaces, if it comes next.
    pub(super) fn eat(&mut self, phrase: &str) -> bool {
        let mut rest = phrase;
        let mut pos = self.pos;
        while !rest.is_empty() {
            let (word, more) = rest.split_once(' ').unwrap_or((rest, ""));
            if !self.is_word(pos, word) {
                self.miss(pos, format!("`{rest}`"));
                return false;
            }
            pos += 1;
            rest = more;
        }
        self.pos = pos;
        true
    }

    pub(super) fn expect(&mut self, phrase: &str) -> Read<()> {
        if self.eat(phrase) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(super) fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.kind(), Kind::Symbol(found) if *found == symbol)
    }

    pub(super) fn eat_symbol(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        if found {
            self.pos += 1;
        } else {
            self.miss(self.pos, format!("`{symbol}`"));
        }
        found
    }

    pub(super) fn expect_symbol(&mut self, symbol: &str) -> Read<()> {
        if self.eat_symbol(symbol) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Notes that `what` would have been understood here.
    pub(super) fn hint(&mut self, what: &str) {
        self.miss(self.pos, what.to_owned());
    }

    /// Fails, because nothing that would be understood comes next, and neither does `what`.
    pub(super) fn want<T>(&mut self, what: &str) -> Read<T> {
        self.hint(what);
        Err(self.unexpected())
    }

    fn miss(&mut self, pos: usize, what: String) {
        if pos > self.stuck {
            self.stuck = pos;
            self.wanted.clear();
        }
        if pos == self.stuck && !self.wanted.contains(&what) {
            self.wanted.push(what);
        }
    }

    /// Forgets what was wanted before; a new sentence begins.
    pub(super) fn begin(&mut self) {
        (self.stuck, self.depth, self.bare_name) = (self.pos, 0, None);
        self.wanted.clear();
    }

    /// What was found at the furthest place, and what would have been understood there.
    pub(super) fn unexpected(&self) -> Box<Diagnostic> {
        let found = self.kind_at(self.stuck);
        if let Kind::Bad(diagnostic) = found {
            return diagnostic.clone();
        }
        let message = format!("expected {}, found {}", words::alternatives(&self.wanted), describe(found));
        let error =
            Diagnostic::error("policy::unexpected", message).at(self.span_at(self.stuck)).label("not understood");
        Box::new(match self.advice(found) {
            Some(help) => error.help(help),
            None => error,
        })
    }

    fn advice(&self, found: &Kind) -> Option<String> {
        let Kind::Word(word) = found else { return None };
        let wanted = self.wanted.iter().filter_map(|wanted| wanted.strip_prefix('`')?.strip_suffix('`'));
        let first_words = wanted.filter_map(|phrase| phrase.split(' ').next());
        if let Some(meant) = words::nearest(word, first_words.filter(|first| !first.eq_ignore_ascii_case(word))) {
            return Some(format!("did you mean `{meant}`?"));
        }
        if words::is_reserved(word) {
            let name = self.wanted.iter().any(|wanted| wanted.contains("name"));
            return name.then(|| format!("a name that is a word of the language is written in quotes: `\"{word}\"`"));
        }
        let Kind::Word(before) = self.kind_at(self.bare_name.filter(|name| name + 1 == self.stuck)?) else {
            return None;
        };
        Some(format!("a name of several words is written in quotes: `\"{before} {word}\"`"))
    }

    /// What was read as a name cannot be the first word of a longer one.
    pub(super) fn end_of_name(&mut self) {
        self.bare_name = None;
    }

    /// One part of a name: a bare word without meaning, or anything in quotes.
    pub(super) fn name(&mut self, what: &str) -> Read<String> {
        let name = match self.kind() {
            Kind::Quoted(name) => name.clone(),
            Kind::Word(word) if !words::is_reserved(word) => {
                let word = word.clone();
                self.bare_name = Some(self.pos);
                word
            }
            Kind::Word(_)
            | Kind::Text(_)
            | Kind::Number(_)
            | Kind::At(_)
            | Kind::Symbol(_)
            | Kind::Stop
            | Kind::Break
            | Kind::End
            | Kind::Bad(_) => return self.want(what),
        };
        self.pos += 1;
        Ok(name)
    }

    /// A name whose dots, if any, are part of it.
    pub(super) fn dotted<T: FromStr<Err = InvalidName>>(&mut self, what: &str) -> Read<At<T>> {
        let start = self.here();
        let mut name = self.name(what)?;
        while self.is_symbol(".") {
            self.pos += 1;
            name.push('.');
            name.push_str(&self.any_word(what)?);
        }
        let span = self.since(start);
        Ok(At::new(valid(name.parse(), span)?, span))
    }

    /// After a dot no word has a meaning of its own.
    pub(super) fn any_word(&mut self, what: &str) -> Read<String> {
        let Kind::Word(word) = self.kind() else { return self.name(what) };
        let word = word.clone();
        self.pos += 1;
        Ok(word)
    }

    pub(super) fn source_name(&mut self) -> Read<At<SourceName>> {
        let start = self.here();
        let schema = self.name("a data source name such as `schema.table`")?;
        if !self.is_symbol(".") {
            // Quoted as a whole.
            return Ok(At::new(valid(schema.parse(), start)?, start));
        }
        self.pos += 1;
        let table = self.any_word("a table name")?;
        let span = self.since(start);
        Ok(At::new(valid(SourceName::new(schema, table), span)?, span))
    }

    /// A text in single quotes.
    pub(super) fn text(&mut self, what: &str) -> Read<At<String>> {
        let Kind::Text(text) = self.kind() else { return self.want(&format!("{what} in single quotes")) };
        let text = At::new(text.clone(), self.here());
        self.pos += 1;
        Ok(text)
    }

    /// The text of a number.
    pub(super) fn eat_number(&mut self) -> Option<String> {
        let Kind::Number(number) = self.kind() else {
            self.miss(self.pos, "a number".to_owned());
            return None;
        };
        let number = number.clone();
        self.pos += 1;
        Some(number)
    }

    /// A literal, if one comes next.
    pub(super) fn eat_literal(&mut self) -> Read<Option<Value>> {
        if let Kind::Number(number) = self.kind() {
            let value = number_value(number);
            self.pos += 1;
            return Ok(Some(value));
        }
        if let Kind::Text(text) = self.kind() {
            let value = Value::Text(text.clone());
            self.pos += 1;
            return Ok(Some(value));
        }
        for (word, value) in [("null", Value::Null), ("true", Value::Boolean(true)), ("false", Value::Boolean(false))] {
            if self.at(word) {
                self.pos += 1;
                return Ok(Some(value));
            }
        }
        // `date` alone is a name.
        if let (true, Kind::Text(text)) = (self.at("date"), self.kind_at(self.pos + 1)) {
            let span = self.span_at(self.pos + 1);
            let value = date(text).ok_or_else(|| invalid_value("date", text, "DATE '2024-12-31'", span))?;
            self.pos += 2;
            return Ok(Some(value));
        }
        if let (true, Kind::Text(text)) = (self.at("timestamp"), self.kind_at(self.pos + 1)) {
            let span = self.span_at(self.pos + 1);
            let right = "TIMESTAMP '2024-12-31 23:59:59.5'";
            let value = timestamp(text).ok_or_else(|| invalid_value("timestamp", text, right, span))?;
            self.pos += 2;
            return Ok(Some(value));
        }
        Ok(None)
    }

    /// Reads what is inside something else.
    pub(super) fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        if self.depth >= DEPTH_MAX {
            let message = format!("this is nested more than {DEPTH_MAX} deep");
            return Err(Box::new(
                Diagnostic::error("policy::too-deep", message).at(self.here()).label("one level too many"),
            ));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }
}

pub(super) fn valid<T>(name: Result<T, InvalidName>, span: Span) -> Read<T> {
    name.map_err(|invalid| Box::new(Diagnostic::error("policy::invalid-name", invalid.to_string()).at(span)))
}

fn describe(kind: &Kind) -> String {
    match kind {
        Kind::Word(word) => format!("`{}`", short(word)),
        Kind::Quoted(name) => format!("the name `\"{}\"`", short(name)),
        Kind::Text(text) => format!("the text `'{}'`", short(text)),
        Kind::Number(number) => format!("the number `{}`", short(number)),
        Kind::At(name) => format!("`@{}`", short(name)),
        Kind::Symbol(symbol) => format!("`{symbol}`"),
        Kind::Stop | Kind::Break => "the end of the sentence".to_owned(),
        Kind::End => "the end of the text".to_owned(),
        Kind::Bad(_) => "something that is not part of the language".to_owned(),
    }
}

/// Fit for a message: one line, not long.
pub(super) fn short(text: &str) -> String {
    let mut short: String = text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

pub(super) fn number_value(number: &str) -> Value {
    number.parse().map_or_else(|_| Value::Number(number.to_owned()), Value::Int)
}

pub(super) fn date(text: &str) -> Option<Value> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    let days = date.signed_duration_since(DateTime::UNIX_EPOCH.date_naive()).num_days();
    i32::try_from(days).ok().map(Value::Date)
}

/// Without a zone, to the microsecond.
pub(super) fn timestamp(text: &str) -> Option<Value> {
    let formats = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"];
    let at = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    let at = at.or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))?.and_utc();
    (at.timestamp_subsec_nanos().is_multiple_of(1000)).then(|| Value::Timestamp(at.timestamp_micros()))
}

pub(super) fn invalid_value(kind: &str, text: &str, right: &str, span: Span) -> Box<Diagnostic> {
    let message = format!("`{}` is not a {kind}", short(text));
    Box::new(
        Diagnostic::error("policy::invalid-value", message).at(span).help(format!("a {kind} looks like `{right}`")),
    )
}
