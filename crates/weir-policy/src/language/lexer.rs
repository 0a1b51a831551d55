//! From text to tokens. Newlines are spaces, but for blank lines, which end a sentence; lines that start with `#` or `--`
//! are comments.

use super::words;
use crate::diagnostic::{Diagnostic, Span};

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) span: Span,
    /// Whether it is the first of its line.
    pub(super) first_in_line: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// A keyword or a bare name.
    Word(String),
    /// A name in double quotes or backticks.
    Quoted(String),
    /// A text in single quotes.
    Text(String),
    /// As written; with a sign only if it is negative.
    Number(String),
    /// `@name`, without the `@`.
    At(String),
    Symbol(&'static str),
    /// The period after a sentence.
    Stop,
    /// One or more blank lines.
    Break,
    End,
    /// Not a token of the language, and why.
    Bad(Box<Diagnostic>),
}

impl Token {
    /// Changes every place that the token knows of.
    pub(super) fn move_to(&mut self, place: impl Fn(Span) -> Span) {
        self.span = place(self.span);
        if let Kind::Bad(diagnostic) = &mut self.kind {
            diagnostic.at = diagnostic.at.map(place);
        }
    }
}

/// Longer ones before their own beginnings.
const SYMBOLS: [&str; 20] =
    ["<>", "!=", "<=", ">=", "==", "||", "=", "<", ">", "(", ")", ",", ":", ".", "*", "%", "+", "-", "/", ";"];

/// Tokens of `text`, the last of them [`Kind::End`].
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new(), first_in_line: true };
    while lexer.token() {}
    lexer.tokens
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
    first_in_line: bool,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn push(&mut self, kind: Kind, len: usize) {
        let span = Span::new(self.at, self.at + len);
        self.tokens.push(Token { kind, span, first_in_line: self.first_in_line });
        self.first_in_line = false;
        self.at += len;
    }

    /// Reads the next token; whether there may be more.
    fn token(&mut self) -> bool {
        self.skip_blank();
        let rest = self.rest();
        let Some(c) = rest.chars().next() else {
            self.push(Kind::End, 0);
            return false;
        };
        let digits = number_len(rest);
        let word = words::word_len(rest);
        if word > 0 {
            self.push(Kind::Word(self.slice(word)), word);
        } else if digits > 0 {
            self.push(Kind::Number(self.slice(digits)), digits);
        } else if c == '"' || c == '`' || c == '\'' {
            self.quoted(c);
        } else if c == '@' {
            let name = words::word_len(rest.get(1..).unwrap_or(""));
            let kind = Kind::At(rest.get(1..1 + name).unwrap_or("").to_owned());
            self.push(kind, 1 + name);
        } else if c == '.' && self.is_stop() {
            self.push(Kind::Stop, 1);
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            self.push(Kind::Symbol(symbol), symbol.len());
        } else {
            let span = Span::new(self.at, self.at + c.len_utf8());
            let message = format!("the character `{}` has no meaning here", c.escape_default());
            let bad =
                Diagnostic::error("policy::unknown-character", message).at(span).label("not part of the language");
            self.push(Kind::Bad(Box::new(bad)), c.len_utf8());
        }
        true
    }

    fn slice(&self, len: usize) -> String {
        self.rest().get(..len).unwrap_or("").to_owned()
    }

    fn skip_blank(&mut self) {
        let start = self.at;
        let mut newlines = 0;
        loop {
            let rest = self.rest();
            let Some(c) = rest.chars().next() else { break };
            let comment = (c == '#' || rest.starts_with("--")) && (self.first_in_line || newlines > 0);
            if comment {
                // Up to the newline, and as if the line were not there.
                self.at += rest.find('\n').map_or(rest.len(), |newline| newline + 1);
                newlines = newlines.max(1);
            } else if c.is_whitespace() {
                newlines += usize::from(c == '\n');
                self.at += c.len_utf8();
            } else {
                break;
            }
        }
        self.first_in_line |= newlines > 0;
        if newlines > 1 {
            let span = Span::new(start, start);
            self.tokens.push(Token { kind: Kind::Break, span, first_in_line: false });
        }
    }

    /// Whether the period here ends a sentence rather than ties two parts of a name.
    fn is_stop(&self) -> bool {
        let before = self.text.get(..self.at).and_then(|text| text.chars().next_back());
        let after = self.rest().chars().nth(1);
        let ties = |c: char| words::continues_word(c) || c == '"' || c == '`';
        !(before.is_some_and(ties) && after.is_some_and(ties))
    }

    /// A quote within quotes is written twice. Names end with their line.
    fn quoted(&mut self, quote: char) {
        let mut content = String::new();
        let mut chars = self.rest().char_indices().skip(1).peekable();
        let mut line = None;
        while let Some((at, c)) = chars.next() {
            if c == '\n' {
                line.get_or_insert(at);
                if quote != '\'' {
                    break;
                }
            }
            if c != quote || chars.next_if(|(_, next)| *next == quote).is_some() {
                content.push(c);
            } else {
                let kind = if quote == '\'' { Kind::Text(content) } else { Kind::Quoted(content) };
                return self.push(kind, at + 1);
            }
        }
        let len = line.unwrap_or(self.rest().len());
        let bad = Diagnostic::error("policy::unterminated-quote", format!("the quote `{quote}` is never closed"))
            .at(Span::new(self.at, self.at + 1))
            .label("opened here")
            .help(format!("close it with `{quote}`; a `{quote}` inside is written twice"));
        self.push(Kind::Bad(Box::new(bad)), len);
    }
}

/// The length of `-12`, `1.50` or `1e-3` at the start of `text`.
pub(super) fn number_len(text: &str) -> usize {
    let digits = |from: usize| {
        let rest = text.get(from..).unwrap_or("");
        rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())
    };
    let sign = usize::from(text.starts_with('-'));
    let whole = digits(sign);
    if whole == 0 {
        return 0;
    }
    let mut len = sign + whole;
    if text.get(len..).is_some_and(|rest| rest.starts_with('.')) && digits(len + 1) > 0 {
        len += 1 + digits(len + 1);
    }
    if text.get(len..).is_some_and(|rest| rest.starts_with(['e', 'E'])) {
        let sign = usize::from(text.get(len + 1..).is_some_and(|rest| rest.starts_with(['+', '-'])));
        let exponent = digits(len + 1 + sign);
        if exponent > 0 {
            len += 1 + sign + exponent;
        }
    }
    len
}
