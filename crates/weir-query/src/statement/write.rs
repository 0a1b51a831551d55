//! Statements that write into workspaces. Only the plain forms: what is written differently from how the parser would
//! write it back from the parts that are understood here, is not understood.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    CreateTable, Ident, Insert, ObjectName, ObjectType, Statement as Sql, TableObject,
};
use weir_guard::Refusal;
use weir_model::{ColumnName, SourceName};

use super::{Asked, Query, Written, read_inside, view};
use crate::catalogue::CATALOG;

/// A statement that writes a table of a workspace.
#[derive(Clone, Debug)]
pub struct Write {
    /// As sent.
    pub text: String,
    pub(crate) table: SourceName,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// `CREATE TABLE name AS query`
    Create(Query),
    /// `CREATE TABLE name (columns)`, as a query that has them and no rows
    Make(Query),
    /// `INSERT INTO name query`
    Insert(Query),
    /// `CREATE VIEW name AS query`
    View(View),
    /// `DROP TABLE name`, `DROP VIEW name`
    Drop { if_exists: bool, view: bool },
}

/// A view to be made.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) query: Query,
    /// As it was written.
    pub(crate) text: String,
    /// Names for its columns; none when they are those of the query.
    pub(crate) columns: Vec<ColumnName>,
    /// It may take the place of one that is there.
    pub(crate) replaces: bool,
}

impl Write {
    /// The same, sent on this connection.
    pub fn asked(&self, asked: &Arc<Asked>) -> Self {
        let what = match &self.what {
            What::Create(query) => What::Create(query.asked(asked)),
            What::Make(query) => What::Make(query.asked(asked)),
            What::Insert(query) => What::Insert(query.asked(asked)),
            What::View(view) => What::View(View { query: view.query.asked(asked), ..view.clone() }),
            What::Drop { if_exists, view } => What::Drop { if_exists: *if_exists, view: *view },
        };
        Self { what, ..self.clone() }
    }

    /// The words with which its completion is told, before a number of rows if it wrote any.
    pub fn tag(&self, rows: u64) -> String {
        match self.what {
            What::Create(_) => format!("SELECT {rows}"),
            What::Insert(_) => format!("INSERT 0 {rows}"),
            What::Make(_) | What::View(_) | What::Drop { .. } => self.name().to_owned(),
        }
    }

    pub fn name(&self) -> &'static str {
        match self.what {
            What::Create(_) | What::Make(_) => "CREATE TABLE",
            What::Insert(_) => "INSERT",
            What::View(_) => "CREATE VIEW",
            What::Drop { view: false, .. } => "DROP TABLE",
            What::Drop { view: true, .. } => "DROP VIEW",
        }
    }
}

/// The write that `sql` is, if it is one of those that are done at all.
pub(super) fn classify(written: &Written, sql: &Sql) -> Result<Option<Write>, Refusal> {
    let plain = sql.to_string();
    let form = |name: &str| Refusal::unsupported(format!("this form of {name} is not supported"));
    #[expect(clippy::wildcard_enum_match_arm, reason = "an allow-list: the caller refuses the rest by name")]
    let (name, what) = match sql {
        Sql::CreateTable(CreateTable { name, query: Some(query), .. }) => {
            if plain != format!("CREATE TABLE {name} AS {query}") {
                return Err(form("CREATE TABLE AS"));
            }
            (name, What::Create(read_inside(written, query.clone())?))
        }
        Sql::CreateTable(CreateTable { name, query: None, columns, .. }) if !columns.is_empty() => {
            let listed: Vec<String> = columns.iter().map(|c| format!("{} {}", c.name, c.data_type)).collect();
            if plain != format!("CREATE TABLE {name} ({})", listed.join(", ")) {
                return Err(form("CREATE TABLE"));
            }
            let empty = columns.iter().map(|c| format!("CAST(NULL AS {}) AS {}", c.data_type, c.name));
            let empty = format!("SELECT {} LIMIT 0", empty.collect::<Vec<_>>().join(", "));
            (name, What::Make(view::defined(&empty)?))
        }
        Sql::Insert(Insert { table: TableObject::TableName(name), source: Some(query), .. }) => {
            if plain != format!("INSERT INTO {name} {query}") {
                return Err(form("INSERT"));
            }
            (name, What::Insert(read_inside(written, query.clone())?))
        }
        Sql::CreateView(view) => {
            let words = if view.or_replace { "CREATE OR REPLACE VIEW" } else { "CREATE VIEW" };
            let (name, query) = (&view.name, &view.query);
            let listed: Vec<String> = view.columns.iter().map(ToString::to_string).collect();
            let listed = if listed.is_empty() { String::new() } else { format!(" ({})", listed.join(", ")) };
            let (Some(columns), Some(text)) = (view::columns(view), written.defines.clone()) else {
                return Err(form("CREATE VIEW"));
            };
            if plain != format!("{words} {name}{listed} AS {query}") {
                return Err(form("CREATE VIEW"));
            }
            let query = read_inside(written, query.clone())?;
            (name, What::View(View { query, text, columns: columns?, replaces: view.or_replace }))
        }
        Sql::Drop { object_type: kind @ (ObjectType::Table | ObjectType::View), if_exists, names, .. } => {
            let view = *kind == ObjectType::View;
            let word = if view { "DROP VIEW" } else { "DROP TABLE" };
            let [name] = names.as_slice() else { return Err(form(word)) };
            if plain != format!("{word}{} {name}", if *if_exists { " IF EXISTS" } else { "" }) {
                return Err(form(word));
            }
            (name, What::Drop { if_exists: *if_exists, view })
        }
        _ => return Ok(None),
    };
    Ok(Some(Write { text: written.text.clone(), table: table(name)?, what }))
}

/// The table, which has to be named with its schema.
pub(super) fn table(name: &ObjectName) -> Result<SourceName, Refusal> {
    let folded = |ident: &Ident| match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    };
    let parts: Option<Vec<String>> = name.0.iter().map(|part| part.as_ident().map(folded)).collect();
    let parts: Option<Vec<&str>> = parts.as_ref().map(|parts| parts.iter().map(String::as_str).collect());
    match parts.as_deref() {
        Some([schema, table] | [CATALOG, schema, table]) => SourceName::new(*schema, *table)
            .map_err(|e| Refusal::invalid(format!("`{name}` is no name of a table: {e}"))),
        Some(_) | None => Err(Refusal::invalid(format!(
            "`{name}` has to be named with the schema of the workspace that it is in, as `schema.table`"
        ))),
    }
}
