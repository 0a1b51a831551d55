//! What a client may say. Reads and writes of tables in workspaces go to the engine, session statements to the gateway;
//! everything else is refused by name.

mod columns;
mod copy;
mod dialect;
mod limits;
mod marks;
mod session;
mod sets;
mod system;
mod typed;
mod view;
mod write;

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{
    CopySource, CopyTarget, CreateTable, CreateView, DescribeAlias, Insert, Statement as Sql, visit_statements,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, TokenizerError};
use weir_guard::{Outside, Refusal, Truth};

pub use copy::{CopyForm, CopyIn, CopyOut};
pub use session::{Cursor, FetchCount, SessionStatement};
pub(crate) use view::defined;
pub use write::Write;
pub(crate) use write::{View, What};

/// One statement of a client.
#[derive(Clone, Debug)]
pub enum Statement {
    Query(Query),
    Session(SessionStatement),
    Write(Write),
    Copy(CopyOut),
    CopyIn(CopyIn),
}

/// A read, parsed but not bound: no catalogue, no identity.
#[derive(Clone, Debug)]
pub struct Query {
    /// As sent.
    pub text: String,
    pub(crate) parsed: Box<datafusion::sql::sqlparser::ast::Query>,
    /// Only the plan is asked for.
    pub(crate) explain: bool,
    pub(crate) asked: Arc<Asked>,
    /// What PostgreSQL calls its columns, where it and the engine differ.
    pub(crate) columns: Vec<Option<String>>,
    sets: Vec<(String, String)>,
    declared: Vec<Option<String>>,
}

/// What functions and tables of the catalogue tell of the connection on which a statement was sent.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Zone of times that name none; UTC when there is none here either.
    pub zone: Option<String>,
    /// Name, value and description of each setting.
    pub settings: Vec<[String; 3]>,
}

impl Query {
    /// Whether it is an `EXPLAIN`, which gives the plan of a query and none of its rows.
    pub fn is_explain(&self) -> bool {
        self.explain
    }

    /// Names and values of the settings that its `set_config` sets. Whoever runs the query has to set them first.
    pub fn sets(&self) -> &[(String, String)] {
        &self.sets
    }

    /// The types that its parameters are cast to, by the names of PostgreSQL, as far as they are.
    pub fn declared(&self) -> &[Option<String>] {
        &self.declared
    }

    /// The same, with parameters of the types that a client says, by the names of PostgreSQL; `None` for those of which
    /// it says nothing.
    pub fn typed(mut self, types: &[Option<&str>]) -> Self {
        typed::parameters(&mut self.parsed, types);
        self
    }

    /// The shape of its result under the names of PostgreSQL.
    pub fn named(&self, schema: &SchemaRef) -> SchemaRef {
        let names = self.columns.iter().map(Option::as_deref).chain(std::iter::repeat(None));
        let field = |(field, name): (&FieldRef, Option<&str>)| match name {
            Some(name) => Arc::new(field.as_ref().clone().with_name(name).with_nullable(true)),
            None => Arc::new(field.as_ref().clone().with_nullable(true)),
        };
        let fields: Vec<FieldRef> = schema.fields().iter().zip(names).map(field).collect();
        Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
    }

    /// The same, sent on this connection.
    pub fn asked(&self, asked: &Arc<Asked>) -> Self {
        Self { asked: Arc::clone(asked), ..self.clone() }
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
    let mut parsed = parse_sql(text, edit).map_err(|e| syntax(&e))?;
    let many = parsed.len() > 1;
    let written = |sql: &Sql| Written {
        text: if many { sql.to_string() } else { text.to_owned() },
        columns: of_query(sql, columns::names),
        declared: of_query(sql, typed::declared),
        defines: view::query(sql).map(ToString::to_string),
    };
    let written: Vec<Written> = parsed.iter().map(written).collect();
    for sql in &mut parsed {
        columns::distinguish(sql);
        dialect::translate(sql);
        if system::is_about_system(sql) {
            system::rewrite(sql);
        }
    }
    written.into_iter().zip(parsed).map(|(written, sql)| classify(written, sql)).collect()
}

/// What is known of a statement before it is rewritten.
#[derive(Clone)]
struct Written {
    text: String,
    columns: Vec<Option<String>>,
    declared: Vec<Option<String>>,
    /// The query of a view.
    defines: Option<String>,
}

#[expect(clippy::wildcard_enum_match_arm, reason = "only queries have columns and parameters")]
fn of_query<T>(sql: &Sql, tell: fn(&datafusion::sql::sqlparser::ast::Query) -> Vec<T>) -> Vec<T> {
    match sql {
        Sql::Query(query) => tell(query),
        Sql::Explain { statement, .. } => of_query(statement, tell),
        Sql::CreateTable(CreateTable { query: Some(query), .. })
        | Sql::CreateView(CreateView { query, .. })
        | Sql::Insert(Insert { source: Some(query), .. })
        | Sql::Copy { source: CopySource::Query(query), .. } => tell(query),
        _ => Vec::new(),
    }
}

fn parse_sql(text: &str, edit: impl FnOnce(Vec<TokenWithSpan>) -> Tokens) -> Result<Vec<Sql>, ParserError> {
    let dialect = PostgreSqlDialect {};
    let mut tokens = edit(Tokenizer::new(&dialect, text).tokenize_with_location()?)?;
    while tokens.pop_if(|last| matches!(last.token, Token::SemiColon | Token::Whitespace(_))).is_some() {}
    let several = tokens.iter().any(|token| token.token == Token::SemiColon);
    let parser = Parser::new(&dialect).with_recursion_limit(DEPTH_MAX).with_tokens_with_locations(tokens);
    let parsed = { parser }.parse_statements()?;
    // The parser takes what comes after it for its rows.
    let takes_rows = |sql: &Sql| matches!(sql, Sql::Copy { target: CopyTarget::Stdin, .. });
    if several && parsed.iter().any(takes_rows) {
        return Err(ParserError::ParserError("COPY FROM STDIN has to stand alone".to_owned()));
    }
    Ok(parsed)
}

fn syntax(error: &ParserError) -> Refusal {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => format!("syntax error: {text}"),
        ParserError::RecursionLimitExceeded => format!("the statement nests deeper than {DEPTH_MAX} levels"),
    };
    Refusal::invalid(text)
}

fn classify(written: Written, sql: Sql) -> Result<Statement, Refusal> {
    if let Some(session) = session::classify(&sql)? {
        return Ok(Statement::Session(session));
    }
    if let Some(write) = write::classify(&written, &sql)? {
        return Ok(Statement::Write(write));
    }
    if let Some(copy) = copy::classify(&written, &sql)? {
        return Ok(copy);
    }
    #[expect(clippy::wildcard_enum_match_arm, reason = "an allow-list: whatever is not named is refused by name")]
    match sql {
        Sql::Query(parsed) => read(written, parsed, false),
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
                Sql::Query(parsed) => read(written, parsed, true),
                other => Err(unsupported(&other.to_string())),
            }
        }
        _ => Err(unsupported(&written.text)),
    }
}

fn read(
    Written { text, columns, declared, defines: _ }: Written,
    parsed: Box<datafusion::sql::sqlparser::ast::Query>,
    explain: bool,
) -> Result<Statement, Refusal> {
    if let Some(function) = session::project_function_inside(&parsed) {
        let text =
            format!("`{function}` stands alone: `SELECT {function}(…)`, with a name in single quotes or nothing");
        return Err(Refusal::unsupported(text));
    }
    let sets = sets::settings(&parsed)?;
    match written_inside(&parsed) {
        Some(inner) => Err(unsupported(&inner)),
        None => Ok(Statement::Query(Query {
            text,
            parsed,
            explain,
            asked: Arc::default(),
            // A plan has one of its own.
            columns: if explain { Vec::new() } else { columns },
            sets: if explain { Vec::new() } else { sets },
            declared,
        })),
    }
}

/// The read whose rows a statement writes or copies.
fn read_inside(written: &Written, query: Box<datafusion::sql::sqlparser::ast::Query>) -> Result<Query, Refusal> {
    match read(written.clone(), query, false)? {
        // Nobody would set it.
        Statement::Query(query) if !query.sets.is_empty() => {
            Err(Refusal::unsupported("set_config stands in a SELECT of its own"))
        }
        Statement::Query(query) => Ok(query),
        Statement::Session(_) | Statement::Write(_) | Statement::Copy(_) | Statement::CopyIn(_) => {
            Err(Refusal::bug("a read is something else"))
        }
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
