//! Views: a query that is kept as text and read anew, like any other, by whoever reads the view.

use datafusion::sql::sqlparser::ast::{CreateView, Query as SqlQuery, Statement as Sql};
use weir_guard::Refusal;
use weir_model::ColumnName;

use super::{Query, Statement, parse};

/// The query of a statement that defines a view.
#[expect(clippy::wildcard_enum_match_arm, reason = "only one statement defines views")]
pub(super) fn query(sql: &Sql) -> Option<&SqlQuery> {
    match sql {
        Sql::CreateView(CreateView { query, .. }) => Some(query),
        _ => None,
    }
}

/// The names that a statement gives to the columns of a view; none when they are those of the query. `None` when it says
/// more of them.
pub(super) fn columns(view: &CreateView) -> Option<Result<Vec<ColumnName>, Refusal>> {
    let mut names = Vec::with_capacity(view.columns.len());
    for column in &view.columns {
        if column.data_type.is_some() || column.options.is_some() {
            return None;
        }
        let name = if column.name.quote_style.is_some() {
            column.name.value.clone()
        } else {
            column.name.value.to_lowercase()
        };
        match ColumnName::new(name) {
            Ok(name) => names.push(name),
            Err(e) => return Some(Err(Refusal::invalid(format!("`{}` is no name of a column: {e}", column.name)))),
        }
    }
    Some(Ok(names))
}

/// The query of a view as it was kept.
///
/// # Errors
/// When it is not understood any more, as after a change of the language.
pub(crate) fn defined(text: &str) -> Result<Query, Refusal> {
    let mut statements = parse(text)?;
    match (statements.pop(), statements.is_empty()) {
        (Some(Statement::Query(query)), true) => Ok(query),
        _ => Err(Refusal::bug("a view is no query")),
    }
}
