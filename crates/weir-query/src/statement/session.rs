//! Statements that concern the connection only.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CloseCursor, ContextModifier, Declare, DiscardObject, Expr, FetchDirection, ObjectName, Query, Reset, Set,
    Statement as Sql, Value, ValueWithSpan, visit_expressions, visit_relations,
};
use weir_guard::Refusal;

/// What concerns the connection only. The gateway carries these out.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionStatement {
    /// `SET name = value`, `SET name TO value`; the name in lower case.
    Set {
        name: String,
        value: String,
        /// Only up to the end of the transaction.
        local: bool,
    },
    /// `RESET name`; `None` for `RESET ALL`.
    Reset {
        name: Option<String>,
    },
    /// `SHOW name`; the name in lower case; `all` for `SHOW ALL`.
    Show {
        name: String,
    },
    Begin,
    Commit,
    Rollback,
    Savepoint {
        name: String,
    },
    /// `RELEASE name`
    Release {
        name: String,
    },
    /// `ROLLBACK TO name`
    RollbackTo {
        name: String,
    },
    /// `DEALLOCATE name`; `None` for all.
    Deallocate {
        name: Option<String>,
    },
    DiscardAll,
    /// `UNLISTEN`; nobody listens.
    Unlisten,
    Declare(Cursor),
    Fetch {
        cursor: String,
        count: FetchCount,
    },
    /// `CLOSE name`; `None` for all.
    Close {
        cursor: Option<String>,
    },
    /// `SELECT weir.set_current_project('name')`; `None` for none.
    SetProject {
        name: Option<String>,
    },
    /// `SELECT weir.current_project()`
    CurrentProject,
    /// `SELECT * FROM weir.list_projects()`
    ListProjects,
}

/// `DECLARE name CURSOR FOR query`
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    pub name: String,
    /// Survives the end of the transaction.
    pub with_hold: bool,
    /// The query's text.
    pub query: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchCount {
    Rows(u64),
    All,
}

/// The session statement that `sql` is, if it is one.
pub(super) fn classify(sql: &Sql) -> Result<Option<SessionStatement>, Refusal> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an allow-list: the caller refuses the rest by name")]
    Ok(Some(match sql {
        Sql::Set(set) => assignment(set)?,
        Sql::Reset(reset) => SessionStatement::Reset {
            name: match &reset.reset {
                Reset::ALL => None,
                Reset::ConfigurationParameter(name) => Some(name.to_string().to_lowercase()),
            },
        },
        Sql::ShowVariable { variable } => {
            let words: Vec<String> = variable.iter().map(|word| word.value.to_lowercase()).collect();
            let name = match words.join(" ").as_str() {
                "transaction isolation level" => "transaction_isolation".to_owned(),
                "time zone" => "timezone".to_owned(),
                "session authorization" => "session_authorization".to_owned(),
                _ => words.join("."),
            };
            SessionStatement::Show { name }
        }
        Sql::StartTransaction { statements, exception: None, .. } if statements.is_empty() => SessionStatement::Begin,
        Sql::Commit { chain: false, .. } => SessionStatement::Commit,
        Sql::Rollback { chain: false, savepoint: None } => SessionStatement::Rollback,
        Sql::Rollback { chain: false, savepoint: Some(name) } => SessionStatement::RollbackTo { name: folded(name) },
        Sql::Savepoint { name } => SessionStatement::Savepoint { name: folded(name) },
        Sql::ReleaseSavepoint { name } => SessionStatement::Release { name: folded(name) },
        Sql::Deallocate { name, prepare: _ } => {
            let all = name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all");
            SessionStatement::Deallocate { name: (!all).then(|| folded(name)) }
        }
        Sql::Discard { object_type: DiscardObject::ALL } => SessionStatement::DiscardAll,
        Sql::UNLISTEN { .. } => SessionStatement::Unlisten,
        Sql::Declare { stmts } => match stmts.as_slice() {
            [declare] => SessionStatement::Declare(cursor(declare)?),
            _ => return Err(Refusal::unsupported("DECLARE of several cursors is not supported")),
        },
        Sql::Fetch { name, direction, position: _, into: None } => {
            SessionStatement::Fetch { cursor: folded(name), count: fetch_count(direction)? }
        }
        Sql::Close { cursor: CloseCursor::All } => SessionStatement::Close { cursor: None },
        Sql::Close { cursor: CloseCursor::Specific { name } } => SessionStatement::Close { cursor: Some(folded(name)) },
        Sql::Query(query) => return Ok(project_function(query)),
        _ => return Ok(None),
    }))
}

const SET_CURRENT_PROJECT: &str = "weir.set_current_project";
const CURRENT_PROJECT: &str = "weir.current_project";
const LIST_PROJECTS: &str = "weir.list_projects";

/// The functions about projects are statements of their own: in what surroundings a statement is decided on is settled
/// before it is read.
fn project_function(query: &Query) -> Option<SessionStatement> {
    let text = query.to_string();
    let call = text.strip_prefix("SELECT ")?;
    let call = call.strip_prefix("* FROM ").unwrap_or(call);
    let (name, arguments) = call.split_once('(')?;
    let arguments = arguments.strip_suffix(')');
    let statement = match (name.to_lowercase().as_str(), arguments) {
        (CURRENT_PROJECT, Some("")) => SessionStatement::CurrentProject,
        (LIST_PROJECTS, Some("")) => SessionStatement::ListProjects,
        (SET_CURRENT_PROJECT, Some("")) => SessionStatement::SetProject { name: None },
        (SET_CURRENT_PROJECT, Some(argument)) => SessionStatement::SetProject { name: Some(quoted(argument)?) },
        _ => return None,
    };
    Some(statement)
}

/// The text of one literal, as the parser writes it.
fn quoted(literal: &str) -> Option<String> {
    let inner = literal.strip_prefix('\'')?.strip_suffix('\'')?;
    let whole = !inner.replace("''", "").contains('\'');
    whole.then(|| inner.replace("''", "'"))
}

/// The function about projects that a read calls somewhere inside, where it would come too late.
pub(super) fn project_function_inside(query: &Query) -> Option<&'static str> {
    let known = |name: &ObjectName| {
        let name = name.to_string().to_lowercase();
        [SET_CURRENT_PROJECT, CURRENT_PROJECT, LIST_PROJECTS].into_iter().find(|known| *known == name)
    };
    let look = |name: &ObjectName| known(name).map_or(ControlFlow::Continue(()), ControlFlow::Break);
    let called = visit_expressions(query, |expr| {
        if let Expr::Function(function) = expr { look(&function.name) } else { ControlFlow::Continue(()) }
    });
    called.break_value().or_else(|| visit_relations(query, look).break_value())
}

pub(super) fn folded(name: &datafusion::sql::sqlparser::ast::Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

fn assignment(set: &Set) -> Result<SessionStatement, Refusal> {
    let assign =
        |name: &str, value: String, local: bool| Ok(SessionStatement::Set { name: name.to_owned(), value, local });
    match set {
        Set::SingleAssignment {
            scope: scope @ (None | Some(ContextModifier::Session | ContextModifier::Local)),
            hivevar: false,
            variable,
            values,
        } => {
            let values: Vec<String> = values.iter().map(plain).collect();
            let local = *scope == Some(ContextModifier::Local);
            assign(&variable.to_string().to_lowercase(), values.join(", "), local)
        }
        Set::SetTimeZone { local, value } => assign("timezone", plain(value), *local),
        Set::SetNames { charset_name, collation_name: None } => {
            assign("client_encoding", charset_name.value.clone(), false)
        }
        Set::SetTransaction { modes, snapshot: None, session } => {
            let modes: Vec<String> = modes.iter().map(ToString::to_string).collect();
            let name = if *session { "default_transaction" } else { "transaction" };
            assign(name, modes.join(", ").to_lowercase(), !session)
        }
        Set::SetRole { .. } => Err(Refusal::unsupported("SET ROLE is not supported: a connection keeps its identity")),
        Set::SetSessionAuthorization(_) => {
            Err(Refusal::unsupported("SET SESSION AUTHORIZATION is not supported: a connection keeps its identity"))
        }
        Set::SingleAssignment { .. }
        | Set::ParenthesizedAssignments { .. }
        | Set::MultipleAssignments { .. }
        | Set::SetSessionParam(_)
        | Set::SetNames { .. }
        | Set::SetNamesDefault {}
        | Set::SetTransaction { .. } => Err(Refusal::unsupported("this form of SET is not supported")),
    }
}

/// A setting's value without quotes.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other form is kept as it is written")]
fn plain(value: &Expr) -> String {
    match value {
        Expr::Value(ValueWithSpan {
            value: Value::SingleQuotedString(text) | Value::DoubleQuotedString(text), ..
        }) => text.clone(),
        Expr::Identifier(name) => name.value.clone(),
        other => other.to_string(),
    }
}

fn cursor(declare: &Declare) -> Result<Cursor, Refusal> {
    let Declare { names, binary, scroll, hold, for_query, .. } = declare;
    let ([name], Some(query)) = (names.as_slice(), for_query) else {
        return Err(Refusal::unsupported("this form of DECLARE is not supported"));
    };
    if *binary == Some(true) {
        return Err(Refusal::unsupported("binary cursors are not supported"));
    }
    if *scroll == Some(true) {
        return Err(Refusal::unsupported("scrollable cursors are not supported: cursors read forward"));
    }
    Ok(Cursor { name: folded(name), with_hold: *hold == Some(true), query: query.to_string() })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "only a number is a number of rows")]
fn fetch_count(direction: &FetchDirection) -> Result<FetchCount, Refusal> {
    let rows = |limit: &ValueWithSpan| match &limit.value {
        Value::Number(n, _) => {
            n.parse().map(FetchCount::Rows).map_err(|_| Refusal::invalid(format!("`{n}` is not a number of rows")))
        }
        other => Err(Refusal::invalid(format!("`{other}` is not a number of rows"))),
    };
    match direction {
        FetchDirection::Count { limit } | FetchDirection::Forward { limit: Some(limit) } => rows(limit),
        FetchDirection::Next | FetchDirection::Forward { limit: None } => Ok(FetchCount::Rows(1)),
        FetchDirection::All | FetchDirection::ForwardAll => Ok(FetchCount::All),
        FetchDirection::Prior
        | FetchDirection::First
        | FetchDirection::Last
        | FetchDirection::Absolute { .. }
        | FetchDirection::Relative { .. }
        | FetchDirection::Backward { .. }
        | FetchDirection::BackwardAll => Err(Refusal::unsupported("cursors read forward only")),
    }
}
