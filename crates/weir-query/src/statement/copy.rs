//! `COPY … TO STDOUT`, a read whose rows go out in another form, and `COPY … FROM STDIN`, a write whose rows come in it.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{CopyOption, CopySource, CopyTarget, Query as SqlQuery, Statement as Sql};
use weir_guard::Refusal;
use weir_model::SourceName;

use super::session::folded;
use super::{Asked, Query, Statement, Written, parse_sql, read_inside, syntax, write};

/// A read and the form in which its rows are wanted.
#[derive(Clone, Debug)]
pub struct CopyOut {
    pub query: Query,
    pub form: CopyForm,
}

/// A write whose rows the client sends.
#[derive(Clone, Debug)]
pub struct CopyIn {
    /// As sent.
    pub text: String,
    pub(crate) table: SourceName,
    /// Those that have values, in their order; none for all.
    pub(crate) columns: Vec<String>,
    pub(crate) form: CopyForm,
    pub(crate) asked: Arc<Asked>,
}

impl CopyIn {
    /// The same, sent on this connection.
    pub fn asked(&self, asked: &Arc<Asked>) -> Self {
        Self { asked: Arc::clone(asked), ..self.clone() }
    }
}

/// How PostgreSQL writes rows as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyForm {
    /// With quotes where they are needed; else with backslashes.
    pub csv: bool,
    /// One byte, of ASCII.
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: String,
    /// The names of the columns come first.
    pub header: bool,
}

/// The copy that `sql` is, if it is one.
pub(super) fn classify(written: &Written, sql: &Sql) -> Result<Option<Statement>, Refusal> {
    let Sql::Copy { source, to, target, options, legacy_options, values } = sql else { return Ok(None) };
    match (to, target) {
        (true, CopyTarget::Stdout) | (false, CopyTarget::Stdin) => {}
        (true, _) => return Err(Refusal::unsupported("COPY is supported TO STDOUT only")),
        (false, _) => return Err(Refusal::unsupported("COPY is supported FROM STDIN only")),
    }
    if !legacy_options.is_empty() || !values.is_empty() {
        return Err(Refusal::unsupported("options of COPY are written in parentheses: `(FORMAT csv, HEADER)`"));
    }
    if !to {
        let CopySource::Table { table_name, columns } = source else {
            return Err(Refusal::invalid("COPY FROM is into one table"));
        };
        let columns = columns.iter().map(folded).collect();
        let (table, form) = (write::table(table_name)?, form(options)?);
        let copy = CopyIn { text: written.text.clone(), table, columns, form, asked: Arc::default() };
        return Ok(Some(Statement::CopyIn(copy)));
    }
    let query = match source {
        CopySource::Query(query) => query.clone(),
        CopySource::Table { table_name, columns } => {
            let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
            let columns = if columns.is_empty() { "*".to_owned() } else { columns.join(", ") };
            one_query(&format!("SELECT {columns} FROM {table_name}"))?
        }
    };
    let form = form(options)?;
    Ok(Some(Statement::Copy(CopyOut { query: read_inside(written, query)?, form })))
}

fn one_query(sql: &str) -> Result<Box<SqlQuery>, Refusal> {
    let mut parsed = parse_sql(sql, Ok).map_err(|e| syntax(&e))?;
    match (parsed.pop(), parsed.is_empty()) {
        (Some(Sql::Query(query)), true) => Ok(query),
        _ => Err(Refusal::invalid("COPY is of one table or one query in parentheses")),
    }
}

fn form(options: &[CopyOption]) -> Result<CopyForm, Refusal> {
    let (mut csv, mut delimiter, mut null, mut header) = (false, None, None, false);
    for option in options {
        match option {
            CopyOption::Format(name) if name.value.eq_ignore_ascii_case("csv") => csv = true,
            CopyOption::Format(name) if name.value.eq_ignore_ascii_case("text") => csv = false,
            CopyOption::Header(on) => header = *on,
            CopyOption::Null(text) if !text.contains(['\r', '\n']) => null = Some(text.clone()),
            CopyOption::Delimiter(c) if c.is_ascii_graphic() && !c.is_ascii_alphanumeric() && !"\\.\"".contains(*c) => {
                delimiter = u8::try_from(*c).ok();
            }
            CopyOption::Delimiter('\t') => delimiter = Some(b'\t'),
            CopyOption::Encoding(name) if name.eq_ignore_ascii_case("utf8") || name.eq_ignore_ascii_case("utf-8") => {}
            CopyOption::Format(_)
            | CopyOption::Freeze(_)
            | CopyOption::Delimiter(_)
            | CopyOption::Null(_)
            | CopyOption::Quote(_)
            | CopyOption::Escape(_)
            | CopyOption::ForceQuote(_)
            | CopyOption::ForceNotNull(_)
            | CopyOption::ForceNull(_)
            | CopyOption::Encoding(_) => {
                return Err(Refusal::unsupported(format!("COPY with `{option}` is not supported")));
            }
        }
    }
    let delimiter = delimiter.unwrap_or(if csv { b',' } else { b'\t' });
    let null = null.unwrap_or_else(|| if csv { String::new() } else { "\\N".to_owned() });
    if null.as_bytes().contains(&delimiter) {
        return Err(Refusal::invalid("what stands for NULL must not contain the delimiter"));
    }
    Ok(CopyForm { csv, delimiter, null, header })
}
