//! What PostgreSQL calls the columns of a result, which the engine calls otherwise.
#![expect(clippy::wildcard_enum_match_arm, reason = "what is not named stays as it is")]

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArguments, Ident, Query, Select, SelectItem, SetExpr, Statement as Sql, VisitMut, VisitorMut,
};

/// The name of each column, from the left; `None` where the engine's is the one. Names after a `*` are not told, as
/// nobody knows how many columns it stands for.
pub(super) fn names(query: &Query) -> Vec<Option<String>> {
    let Some(select) = first_select(&query.body) else { return Vec::new() };
    let before_star = select.projection.iter().map_while(|item| match item {
        SelectItem::UnnamedExpr(expr) => Some(name(expr)),
        SelectItem::ExprWithAlias { alias, .. } => Some(Some(folded(alias))),
        SelectItem::ExprWithAliases { .. } | SelectItem::QualifiedWildcard(..) | SelectItem::Wildcard(_) => None,
    });
    before_star.collect()
}

/// The engine wants columns of one `SELECT` to differ in name or expression. Those that do not get names, which nobody
/// sees who does not ask for them. In queries inside of others, columns that PostgreSQL has a name for get that, as it
/// may be used outside.
pub(super) fn distinguish(sql: &mut Sql) {
    struct Distinguishing(usize);
    impl VisitorMut for Distinguishing {
        type Break = ();

        fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
            self.0 += 1;
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            self.0 -= 1;
            distinguish_in(&mut query.body, self.0 > 0);
            ControlFlow::Continue(())
        }
    }
    let _ = sql.visit(&mut Distinguishing(0));
}

fn distinguish_in(set: &mut SetExpr, inside: bool) {
    match set {
        SetExpr::Select(select) => {
            let mut seen = BTreeSet::new();
            let is_star =
                |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
            let star = select.projection.iter().position(is_star);
            for (at, item) in select.projection.iter_mut().enumerate() {
                if let SelectItem::UnnamedExpr(expr) = item
                    && column(expr).is_none()
                    && inside
                    && let Some(name) = name(expr).filter(|name| name != UNKNOWN && !seen.contains(name))
                {
                    *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', name) };
                }
                // A star may bring the column again. What comes after it would lose its name.
                let again = star.is_some_and(|star| at < star)
                    && matches!(item, SelectItem::UnnamedExpr(expr) if column(expr).is_some());
                let (expr, key) = match item {
                    SelectItem::UnnamedExpr(expr) => {
                        (&*expr, column(expr).filter(|_| plain(expr)).unwrap_or(expr.to_string()))
                    }
                    SelectItem::ExprWithAlias { expr, alias } => (&*expr, folded(alias)),
                    SelectItem::ExprWithAliases { .. }
                    | SelectItem::QualifiedWildcard(..)
                    | SelectItem::Wildcard(_) => {
                        continue;
                    }
                };
                if !seen.insert(key.clone()) || again {
                    let alias = Ident::with_quote('"', format!("{key}_{at}"));
                    *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
                }
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            distinguish_in(left, inside);
            distinguish_in(right, inside);
        }
        _ => {}
    }
}

/// A column without its table.
fn plain(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_))
}

fn folded(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

/// A set operation takes the names of its first part.
fn first_select(set: &SetExpr) -> Option<&Select> {
    match set {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => first_select(&query.body),
        SetExpr::SetOperation { left, .. } => first_select(left),
        _ => None,
    }
}

/// As `FigureColname` of PostgreSQL does.
fn name(expr: &Expr) -> Option<String> {
    Some(match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => column(expr)?,
        Expr::Nested(inner) => return name(inner),
        Expr::Function(call) => {
            let name = folded(call.name.0.last()?.as_ident()?);
            // Registers without parentheses.
            if matches!(call.args, FunctionArguments::None) { name.to_lowercase() } else { name }
        }
        Expr::Cast { expr, data_type, .. } => match expr.as_ref() {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => column(expr)?,
            inner => match name(inner).filter(|name| name != UNKNOWN) {
                Some(name) => name,
                None => type_name(&data_type.to_string()),
            },
        },
        Expr::Case { else_result, .. } => match else_result.as_deref() {
            Some(last @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_))) => column(last)?,
            _ => "case".to_owned(),
        },
        Expr::Exists { .. } => "exists".to_owned(),
        Expr::Extract { .. } => "extract".to_owned(),
        Expr::Substring { .. } => "substring".to_owned(),
        Expr::Trim { .. } => "btrim".to_owned(),
        Expr::Position { .. } => "position".to_owned(),
        Expr::Ceil { .. } => "ceil".to_owned(),
        Expr::Floor { .. } => "floor".to_owned(),
        Expr::Array(_) => "array".to_owned(),
        Expr::TypedString(typed) => type_name(&typed.data_type.to_string()),
        Expr::Interval(_) => "interval".to_owned(),
        Expr::AtTimeZone { .. } => "timezone".to_owned(),
        Expr::Subquery(query) => match names(query).into_iter().next() {
            Some(name) => name?,
            None => UNKNOWN.to_owned(),
        },
        _ => UNKNOWN.to_owned(),
    })
}

const UNKNOWN: &str = "?column?";

fn column(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(name) => Some(folded(name)),
        Expr::CompoundIdentifier(parts) => parts.last().map(folded),
        _ => None,
    }
}

/// `pg_type.typname` of a type as it is written.
pub(super) fn type_name(written: &str) -> String {
    let plain = written.to_lowercase();
    let plain = plain.split('(').next().unwrap_or_default().trim();
    let plain = plain.strip_prefix("pg_catalog.").unwrap_or(plain).trim_matches('"');
    let known = [
        ("bigint", "int8"),
        ("boolean", "bool"),
        ("char", "bpchar"),
        ("character varying", "varchar"),
        ("decimal", "numeric"),
        ("double", "float8"),
        ("double precision", "float8"),
        ("int", "int4"),
        ("integer", "int4"),
        ("real", "float4"),
        ("smallint", "int2"),
        ("timestamp with time zone", "timestamptz"),
        ("timestamp without time zone", "timestamp"),
    ];
    known.iter().find(|(standard, _)| *standard == plain).map_or(plain, |(_, name)| *name).to_owned()
}
