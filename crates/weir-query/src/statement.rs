//! What a client may say. Reads and writes of tables in workspaces go to the engine, session statements to the gateway;
//! everything else is refused by name.

mod copy;
mod limits;
mod marks;
mod session;
mod write;

use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::sql::sqlparser::ast::{DescribeAlias, ObjectName, Statement as Sql, visit_relations, visit_statements};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{TokenWithSpan, Tokenizer, TokenizerError};
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use weir_guard::{Outside, Refusal, Truth};

pub use copy::{CopyForm, CopyOut};
pub use session::{Cursor, FetchCount, SessionStatement};
pub(crate) use write::What;
pub use write::Write;

/// One statement of a client.
#[derive(Clone, Debug)]
pub enum Statement {
    Query(Query),
    Session(SessionStatement),
    Write(Write),
    Copy(CopyOut),
}

/// A read, parsed but not bound: no catalogue, no identity.
#[derive(Clone, Debug)]
pub struct Query {
    /// As sent.
    pub text: String,
    pub(crate) parsed: Box<datafusion::sql::sqlparser::ast::Query>,
    /// Only the plan is asked for.
    pub(crate) explain: bool,
}

impl Query {
    /// Whether it is an `EXPLAIN`, which gives the plan of a query and none of its rows.
    pub fn is_explain(&self) -> bool {
        self.explain
    }
}

/// How deep expressions and subqueries may nest.
const DEPTH_MAX: usize = 64;

/// Splits and parses a text of one or more statements separated by semicolons. Refuses what is not a read or a
/// session statement, by name.
pub fn parse(text: &str) -> Result<Vec<Statement>, Refusal> {
    parse_with(text, Ok)
}

/// As [`parse`], with `?` for `$1`, `$2` and so on, in order.
pub fn parse_question_marks(text: &str) -> Result<Vec<Statement>, Refusal> {
    parse_with(text, marks::numbered)
}

type Tokens = Result<Vec<TokenWithSpan>, TokenizerError>;

fn parse_with(text: &str, edit: impl FnOnce(Vec<TokenWithSpan>) -> Tokens) -> Result<Vec<Statement>, Refusal> {
    limits::check(text)?;
    let parsed = match parse_sql(text, edit) {
        // What clients send to read PostgreSQL's catalogue takes some rewriting before the engine understands it.
        Ok(parsed) if parsed.iter().any(reads_pg_catalog) => compatible(text).unwrap_or(parsed),
        Ok(parsed) => parsed,
        Err(e) if text.contains("pg_catalog") => compatible(text).map_err(|_| syntax(&e))?,
        Err(e) => return Err(syntax(&e)),
    };
    let many = parsed.len() > 1;
    let statements = parsed.into_iter().map(|sql| classify(if many { sql.to_string() } else { text.to_owned() }, sql));
    statements.collect()
}

fn parse_sql(text: &str, edit: impl FnOnce(Vec<TokenWithSpan>) -> Tokens) -> Result<Vec<Sql>, ParserError> {
    let dialect = PostgreSqlDialect {};
    let tokens = edit(Tokenizer::new(&dialect, text).tokenize_with_location()?)?;
    Parser::new(&dialect).with_recursion_limit(DEPTH_MAX).with_tokens_with_locations(tokens).parse_statements()
}

fn compatible(text: &str) -> Result<Vec<Sql>, ParserError> {
    static PARSER: LazyLock<PostgresCompatibilityParser> = LazyLock::new(PostgresCompatibilityParser::new);
    PARSER.parse(text)
}

fn syntax(error: &ParserError) -> Refusal {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => format!("syntax error: {text}"),
        ParserError::RecursionLimitExceeded => format!("the statement nests deeper than {DEPTH_MAX} levels"),
    };
    Refusal::invalid(text)
}

/// Whether a statement names PostgreSQL's own tables or types.
fn reads_pg_catalog(sql: &Sql) -> bool {
    let named = visit_relations(sql, |name: &ObjectName| {
        let first = name.0.iter().rev().nth(1).or(name.0.last());
        let is_system = first.and_then(|part| part.as_ident()).is_some_and(|part| {
            let part = part.value.to_lowercase();
            part == "pg_catalog" || (name.0.len() == 1 && part.starts_with("pg_"))
        });
        if is_system { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let text = || sql.to_string().to_lowercase();
    named.is_break() || text().contains("pg_catalog.") || text().contains("::reg")
}

fn classify(text: String, sql: Sql) -> Result<Statement, Refusal> {
    if let Some(session) = session::classify(&sql)? {
        return Ok(Statement::Session(session));
    }
    if let Some(write) = write::classify(&text, &sql)? {
        return Ok(Statement::Write(write));
    }
    if let Some(copy) = copy::classify(&text, &sql)? {
        return Ok(Statement::Copy(copy));
    }
    #[expect(clippy::wildcard_enum_match_arm, reason = "an allow-list: whatever is not named is refused by name")]
    match sql {
        Sql::Query(parsed) => read(text, parsed, false),
        Sql::Explain { describe_alias: DescribeAlias::Explain, analyze, statement, format, options, .. } => {
            let asks = |name: &str| options.iter().flatten().any(|option| option.name.value.eq_ignore_ascii_case(name));
            if analyze || asks("analyze") {
                return Err(Refusal::unsupported(
                    "EXPLAIN ANALYZE is not supported: what a plan went through tells of more than its answer",
                ));
            }
            if format.is_some() || asks("format") {
                return Err(Refusal::unsupported("EXPLAIN is supported in the format TEXT only"));
            }
            match *statement {
                Sql::Query(parsed) => read(text, parsed, true),
                other => Err(unsupported(&other.to_string())),
            }
        }
        _ => Err(unsupported(&text)),
    }
}

fn read(
    text: String,
    parsed: Box<datafusion::sql::sqlparser::ast::Query>,
    explain: bool,
) -> Result<Statement, Refusal> {
    if let Some(function) = session::project_function_inside(&parsed) {
        let text =
            format!("`{function}` stands alone: `SELECT {function}(…)`, with a name in single quotes or nothing");
        return Err(Refusal::unsupported(text));
    }
    match written_inside(&parsed) {
        Some(inner) => Err(unsupported(&inner)),
        None => Ok(Statement::Query(Query { text, parsed, explain })),
    }
}

/// The statement inside a query that changes data, as in `WITH d AS (DELETE …) SELECT …`.
fn written_inside(query: &datafusion::sql::sqlparser::ast::Query) -> Option<String> {
    match visit_statements(query, |inner| ControlFlow::Break(inner.to_string())) {
        ControlFlow::Break(inner) => Some(inner),
        ControlFlow::Continue(()) => None,
    }
}

/// `INSERT`, `CREATE TABLE` and so on: the words with which the statement starts.
pub(crate) fn unsupported(text: &str) -> Refusal {
    const TWO_WORDS: [&str; 8] = ["ALTER", "COMMENT", "CREATE", "DROP", "LOCK", "PREPARE", "REFRESH", "SET"];
    let mut words = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|w| !w.is_empty()).map(str::to_uppercase);
    let name = match (words.next(), words.next()) {
        (Some(first), Some(second)) if TWO_WORDS.contains(&first.as_str()) => format!("{first} {second}"),
        (Some(first), _) => first,
        (None, _) => "this statement".to_owned(),
    };
    let text = format!("{name} is not supported");
    Refusal::new(Outside::Unsupported { text: text.clone() }, Truth::Unsupported, text)
}

#[cfg(test)]
mod tests;
