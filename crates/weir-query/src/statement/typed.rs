//! Types that a client or a statement gives to parameters.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Query, Value, ValueWithSpan, VisitMut, VisitorMut, visit_expressions};

use super::columns::type_name;
use super::dialect::parsed;

/// Those of which the statement would not tell by itself what they are. Text stays open, as clients send it for whatever
/// the statement needs, and so do numbers without a size.
const TYPES: [(&str, &str); 12] = [
    ("bool", "BOOLEAN"),
    ("bytea", "BYTEA"),
    ("date", "DATE"),
    ("float4", "REAL"),
    ("float8", "DOUBLE PRECISION"),
    ("int2", "SMALLINT"),
    ("int4", "INT"),
    ("int8", "BIGINT"),
    ("interval", "INTERVAL"),
    ("time", "TIME"),
    ("timestamp", "TIMESTAMP"),
    ("timestamptz", "TIMESTAMPTZ"),
];

/// The type that each parameter is cast to where it stands, by the name of PostgreSQL.
pub(super) fn declared(query: &Query) -> Vec<Option<String>> {
    let mut declared = Vec::new();
    let _ = visit_expressions(query, |expr| {
        if let Expr::Cast { expr, data_type, .. } = expr
            && let Expr::Value(ValueWithSpan { value: Value::Placeholder(name), .. }) = expr.as_ref()
            && let Some(at) = place(name)
        {
            if declared.len() <= at {
                declared.resize(at + 1, None);
            }
            if let Some(known) = declared.get_mut(at) {
                let written = data_type.to_string();
                *known = Some(match written.strip_suffix("[]") {
                    Some(item) => format!("_{}", type_name(item)),
                    None => type_name(&written),
                });
            }
        }
        ControlFlow::<()>::Continue(())
    });
    declared
}

/// Parameters of one statement, as PostgreSQL counts them.
const PARAMETERS_MAX: usize = 65_535;

/// The place of `$1` is 0.
fn place(name: &str) -> Option<usize> {
    name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1).filter(|at| *at < PARAMETERS_MAX)
}

/// Casts each parameter to the type that is said of it.
pub(super) fn parameters(query: &mut Query, types: &[Option<&str>]) {
    struct Casting<'a>(&'a [Option<&'a str>]);
    impl VisitorMut for Casting<'_> {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::Value(ValueWithSpan { value: Value::Placeholder(name), .. }) = expr
                && let Some(Some(said)) = place(name).and_then(|at| self.0.get(at))
                && let Some(cast) = cast(name, said)
            {
                *expr = cast;
            }
            ControlFlow::Continue(())
        }
    }
    let _ = query.visit(&mut Casting(types));
}

fn cast(name: &str, said: &str) -> Option<Expr> {
    let (item, brackets) = said.strip_prefix('_').map_or((said, ""), |item| (item, "[]"));
    let sql = match TYPES.iter().find(|(known, _)| *known == item) {
        Some((_, sql)) => *sql,
        None if brackets == "[]" && matches!(item, "text" | "varchar" | "name" | "bpchar") => "TEXT",
        None => return None,
    };
    parsed(&format!("CAST({name} AS {sql}{brackets})"))
}
