//! Statements that write into workspaces. Only the plain forms: what is written differently from how the parser would
//! write it back from the parts that are understood here, is not understood.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    CreateTable, Ident, Insert, ObjectName, ObjectType, Statement as Sql, TableObject,
};
use weir_guard::Refusal;
use weir_model::SourceName;

use super::{Asked, Query, Written, read_inside};

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
    /// `INSERT INTO name query`
    Insert(Query),
    /// `DROP TABLE name`
    Drop { if_exists: bool },
}

impl Write {
    /// The same, sent on this connection.
    pub fn asked(&self, asked: &Arc<Asked>) -> Self {
        let what = match &self.what {
            What::Create(query) => What::Create(query.asked(asked)),
            What::Insert(query) => What::Insert(query.asked(asked)),
            What::Drop { if_exists } => What::Drop { if_exists: *if_exists },
        };
        Self { what, ..self.clone() }
    }

    /// The words with which its completion is told, before a number of rows if it wrote any.
    pub fn tag(&self, rows: u64) -> String {
        match self.what {
            What::Create(_) => format!("SELECT {rows}"),
            What::Insert(_) => format!("INSERT 0 {rows}"),
            What::Drop { .. } => "DROP TABLE".to_owned(),
        }
    }

    pub fn name(&self) -> &'static str {
        match self.what {
            What::Create(_) => "CREATE TABLE",
            What::Insert(_) => "INSERT",
            What::Drop { .. } => "DROP TABLE",
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
        Sql::Insert(Insert { table: TableObject::TableName(name), source: Some(query), .. }) => {
            if plain != format!("INSERT INTO {name} {query}") {
                return Err(form("INSERT"));
            }
            (name, What::Insert(read_inside(written, query.clone())?))
        }
        Sql::Drop { object_type: ObjectType::Table, if_exists, names, .. } => {
            let [name] = names.as_slice() else { return Err(form("DROP TABLE")) };
            let words = if *if_exists { "DROP TABLE IF EXISTS" } else { "DROP TABLE" };
            if plain != format!("{words} {name}") {
                return Err(form("DROP TABLE"));
            }
            (name, What::Drop { if_exists: *if_exists })
        }
        _ => return Ok(None),
    };
    Ok(Some(Write { text: written.text.clone(), table: table(name)?, what }))
}

/// The table, which has to be named with its schema.
fn table(name: &ObjectName) -> Result<SourceName, Refusal> {
    let folded = |ident: &Ident| match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    };
    let parts: Option<Vec<String>> = name.0.iter().map(|part| part.as_ident().map(folded)).collect();
    match parts.as_deref() {
        Some([schema, table]) => SourceName::new(schema.as_str(), table.as_str())
            .map_err(|e| Refusal::invalid(format!("`{name}` is no name of a table: {e}"))),
        Some(_) | None => Err(Refusal::invalid(format!(
            "`{name}` has to be named with the schema of the workspace that it is in, as `schema.table`"
        ))),
    }
}
