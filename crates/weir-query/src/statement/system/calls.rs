//! Functions among the tables of a statement.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Statement as Sql, TableAliasColumnDef, TableFactor, VisitMut, VisitorMut, visit_expressions,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::names;
use crate::builtins;

/// `f(x) AS a` has one column, which is called `a`. A function that gives a value is a table of one row.
pub(super) fn name(sql: &mut Sql) {
    let mut columns = BTreeSet::new();
    let _ = visit_expressions(sql, |expr| {
        if let Expr::Identifier(name) = expr {
            columns.insert(name.value.clone());
        }
        ControlFlow::<()>::Continue(())
    });
    let _ = sql.visit(&mut Naming(columns));
}

/// What the statement calls columns.
struct Naming(BTreeSet<String>);

impl VisitorMut for Naming {
    type Break = ();

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let written = factor.to_string();
        let (TableFactor::Table { name, alias: Some(alias), args: Some(_), .. }
        | TableFactor::Function { name, alias: Some(alias), .. }) = factor
        else {
            return ControlFlow::Continue(());
        };
        if !alias.columns.is_empty() || !self.0.contains(&alias.name.value) {
            return ControlFlow::Continue(());
        }
        let makes_rows = names(name).last().is_some_and(|name| builtins::is_table_function(name));
        let column = alias.name.clone();
        if makes_rows {
            alias.columns = vec![TableAliasColumnDef { name: column, data_type: None }];
        } else if let Some(other) = one_row(&written, &column) {
            *factor = other;
        }
        ControlFlow::Continue(())
    }
}

/// `f(x) AS a` as `(SELECT f(x) AS a) AS a`.
fn one_row(written: &str, alias: &Ident) -> Option<TableFactor> {
    let call = written.rsplit_once(" AS ").or_else(|| written.rsplit_once(' ')).map(|(call, _)| call)?;
    let sql = format!("(SELECT {call} AS {alias}) AS {alias}");
    Parser::new(&PostgreSqlDialect {}).try_with_sql(&sql).ok()?.parse_table_factor().ok()
}
