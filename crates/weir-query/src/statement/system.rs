//! Statements that read system tables, brought from PostgreSQL's SQL to what the engine understands.
//!
//! Names of PostgreSQL's own tables and functions lose or get their schema; casts to `regclass` and its like become
//! functions; subqueries that give an array or a value become aggregates. A `SELECT` from a table of which nobody sees
//! rows is not understood at all: it gives no rows, whatever else stands in it.
#![expect(clippy::wildcard_enum_match_arm, reason = "what is not named stays as it is")]

mod calls;
mod known;
mod nothing;

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, Function, FunctionArguments, GroupByExpr, Ident, ObjectName, ObjectNamePart, Query,
    SelectItem, SetExpr, Statement as Sql, TableFactor, Value, ValueWithSpan, VisitMut, VisitorMut, visit_relations,
};

use super::dialect::{parsed, string};
use crate::catalogue::{INFORMATION_SCHEMA, PG_CATALOG, is_system_table, system_oid};

/// The types whose values are object ids with a name.
const NAMED: [&str; 7] = ["regclass", "regtype", "regproc", "regprocedure", "regnamespace", "regrole", "regcollation"];

/// Whether a statement reads system tables or names something of theirs.
pub(super) fn is_about_system(sql: &Sql) -> bool {
    let named = visit_relations(sql, |name: &ObjectName| {
        let parts = names(name);
        let system = match parts.as_slice() {
            [table] => is_system_table(table),
            [.., schema, _] => schema == PG_CATALOG || schema == INFORMATION_SCHEMA,
            [] => false,
        };
        if system { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let text = || sql.to_string().to_lowercase();
    named.is_break() || {
        let text = text();
        text.contains("pg_catalog.") || NAMED.iter().any(|name| text.contains(name))
    }
}

/// The statement as the engine understands it.
pub(super) fn rewrite(sql: &mut Sql) {
    known::replace(sql);
    let mut rewriting = Rewriting { aliases: aliases(sql) };
    let _ = sql.visit(&mut rewriting);
    calls::name(sql);
}

fn names(name: &ObjectName) -> Vec<String> {
    let part = |part: &ObjectNamePart| {
        part.as_ident().map(|ident| match ident.quote_style {
            Some(_) => ident.value.clone(),
            None => ident.value.to_lowercase(),
        })
    };
    name.0.iter().filter_map(part).collect()
}

/// By which names system tables go in the statement.
fn aliases(sql: &mut Sql) -> HashMap<String, String> {
    struct Found(HashMap<String, String>);
    impl VisitorMut for Found {
        type Break = ();

        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { name, alias, .. } = factor
                && let Some(table) = names(name).pop()
                && system_oid(&table).is_some()
            {
                let alias = alias.as_ref().map_or_else(|| table.clone(), |alias| alias.name.value.to_lowercase());
                self.0.insert(alias, table);
            }
            ControlFlow::Continue(())
        }
    }
    let mut found = Found(HashMap::new());
    let _ = sql.visit(&mut found);
    found.0
}

struct Rewriting {
    /// By which names system tables go.
    aliases: HashMap<String, String>,
}

impl VisitorMut for Rewriting {
    type Break = ();

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        nothing::simplify(query);
        in_columns(query);
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        match factor {
            // The search path finds PostgreSQL's own tables first.
            TableFactor::Table { name, args: None, .. } => {
                if let [table] = names(name).as_slice()
                    && is_system_table(table)
                {
                    let part = |name: &str| ObjectNamePart::Identifier(Ident::new(name));
                    name.0 = vec![part(PG_CATALOG), part(table)];
                }
            }
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => unqualify(name),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        // From the outside in: what is around a cast says whether the name or the number is wanted.
        if let Some(other) = number_wanted(expr).or_else(|| named_cast(expr)).or_else(|| types_cast(expr)) {
            *expr = other;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let other = match expr {
            Expr::Collate { expr, .. } => Some(expr.as_ref().clone()),
            Expr::CompoundIdentifier(parts) => self.table_oid(parts),
            Expr::Cast { data_type, .. } => {
                plain_type(data_type);
                None
            }
            Expr::Function(call) => function(call),
            // Columns have the collation of their type.
            Expr::Subquery(query) if reads(query, "pg_collation") => Some(Expr::Value(Value::Null.with_empty_span())),
            Expr::Subquery(query) => {
                one_value(query);
                None
            }
            Expr::AnyOp { left, right, .. } => elements(right).map(|list| Expr::InList {
                expr: left.clone(),
                list: list.into_iter().map(quoted).collect(),
                negated: false,
            }),
            Expr::BinaryOp { op, .. } => {
                if let Some(plain) = operator(op) {
                    *op = plain;
                }
                None
            }
            _ => None,
        };
        if let Some(other) = other {
            *expr = other;
        }
        ControlFlow::Continue(())
    }
}

impl Rewriting {
    /// `x.tableoid` is the same for every row of a system table.
    fn table_oid(&self, parts: &[Ident]) -> Option<Expr> {
        let [.., table, column] = parts else { return None };
        if !column.value.eq_ignore_ascii_case("tableoid") {
            return None;
        }
        let table = self.aliases.get(&table.value.to_lowercase())?;
        parsed(&system_oid(table)?.to_string())
    }
}

fn reads(query: &Query, table: &str) -> bool {
    let is_read = |name: &ObjectName| {
        if names(name).last().is_some_and(|name| name == table) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    visit_relations(query, is_read).is_break()
}

fn quoted(text: String) -> Expr {
    Expr::Value(Value::SingleQuotedString(text).with_empty_span())
}

/// `pg_catalog.now()` is `now()`.
fn unqualify(name: &mut ObjectName) {
    if name.0.len() > 1
        && let Some(last) = name.0.pop()
    {
        name.0 = vec![last];
    }
}

/// The type whose values are object ids that a cast is to, by its plain name.
fn named_type(data_type: &DataType) -> Option<&'static str> {
    let name = data_type.to_string().to_lowercase().replace('"', "");
    let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
    NAMED.into_iter().find(|known| *known == name)
}

fn is_oid(data_type: &DataType) -> bool {
    let name = data_type.to_string().to_lowercase();
    matches!(name.as_str(), "oid" | "pg_catalog.oid" | "int" | "integer" | "int4" | "bigint" | "int8")
}

fn cast_to_named(expr: &Expr) -> Option<(&Expr, &'static str)> {
    match expr {
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, .. } => {
            Some((expr, named_type(data_type)?))
        }
        Expr::Nested(inner) => cast_to_named(inner),
        _ => None,
    }
}

fn call(function: &str, argument: &Expr) -> Option<Expr> {
    parsed(&format!("{function}({argument})"))
}

/// A cast to a named type whose number is wanted: it is cast to a number, or compared.
fn number_wanted(expr: &mut Expr) -> Option<Expr> {
    let number = |side: &Expr| {
        let (inner, name) = cast_to_named(side)?;
        // Columns of functions hold their names.
        (name != "regproc").then(|| call(name, inner)).flatten()
    };
    match expr {
        Expr::Cast { expr: inner, data_type, .. } if is_oid(data_type) => {
            cast_to_named(inner).and_then(|(inner, name)| call(name, inner))
        }
        Expr::BinaryOp { left, right, .. } => {
            for side in [left, right] {
                if let Some(other) = number(side) {
                    **side = other;
                }
            }
            None
        }
        Expr::InList { expr, list, .. } => {
            for side in std::iter::once(expr.as_mut()).chain(list) {
                if let Some(other) = number(side) {
                    *side = other;
                }
            }
            None
        }
        _ => None,
    }
}

/// Arrays of types are kept as texts.
fn types_cast(expr: &Expr) -> Option<Expr> {
    let Expr::Cast { expr: inner, data_type, .. } = expr else { return None };
    let name = data_type.to_string().to_lowercase();
    if name.trim_start_matches("pg_catalog.") != "regtype[]" {
        return None;
    }
    parsed(&format!("string_to_array(nullif(regtypesout({inner}), ''), ',')"))
}

/// `x IN (SELECT …)` in a result column or in what is sorted by, where the engine cannot join.
fn in_columns(query: &mut Query) {
    struct Found;
    impl VisitorMut for Found {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::InSubquery { expr: item, subquery, negated: false } = expr
                && let Some(other) = parsed(&format!("array_has({}, {item})", array(subquery)))
            {
                *expr = other;
            }
            ControlFlow::Continue(())
        }
    }
    if let SetExpr::Select(select) = query.body.as_mut() {
        let _ = select.projection.visit(&mut Found);
    }
    let _ = query.order_by.visit(&mut Found);
}

/// Other casts to a named type: from a constant to the number, from anything else to the name.
fn named_cast(expr: &Expr) -> Option<Expr> {
    let (inner, name) = cast_to_named(expr)?;
    if let Some(text) = string(inner) {
        return match name {
            "regproc" => Some(quoted(text.trim_start_matches("pg_catalog.").to_owned())),
            _ => call(name, inner),
        };
    }
    match inner {
        Expr::Value(ValueWithSpan { value: Value::Placeholder(_), .. }) => {
            call(name, &parsed(&format!("CAST({inner} AS TEXT)"))?)
        }
        _ => call(&format!("{name}out"), inner),
    }
}

/// Types of PostgreSQL that are others for the engine.
fn plain_type(data_type: &mut DataType) {
    if let DataType::Array(item) = data_type {
        use datafusion::sql::sqlparser::ast::ArrayElemTypeDef as Item;
        match item {
            Item::SquareBracket(item, _) | Item::AngleBracket(item) | Item::Parenthesis(item) => plain_type(item),
            Item::None => {}
        }
        return;
    }
    let DataType::Custom(name, _) = data_type else { return };
    let Some(last) = names(name).pop() else { return };
    *data_type = match last.as_str() {
        "name" | "char" | "text" | "cstring" | "sql_identifier" | "character_data" | "yes_or_no" | "aclitem"
        | "pg_node_tree" | "json" | "jsonb" | "inet" | "regproc" | "unknown" | "varchar" | "bpchar" => DataType::Text,
        "oid" | "xid" | "cid" | "regclass" | "regtype" | "regnamespace" | "regrole" | "cardinal_number" => {
            DataType::Integer(None)
        }
        _ => return,
    };
}

fn function(call: &mut Function) -> Option<Expr> {
    unqualify(&mut call.name);
    let name = names(&call.name).pop()?;
    match &call.args {
        FunctionArguments::Subquery(query) if name == "array" => Some(array(query)),
        FunctionArguments::None if name == "current_catalog" => parsed("current_database()"),
        FunctionArguments::None | FunctionArguments::Subquery(_) | FunctionArguments::List(_) => None,
    }
}

/// `ARRAY(SELECT x …)`: an aggregate, where the engine can make it one.
fn array(query: &Query) -> Expr {
    let nothing = || parsed("CAST(NULL AS TEXT[])").unwrap_or(Expr::Value(Value::Null.with_empty_span()));
    let SetExpr::Select(select) = query.body.as_ref() else { return nothing() };
    let makes_rows = |factor: &TableFactor| {
        matches!(
            factor,
            TableFactor::UNNEST { .. } | TableFactor::Function { .. } | TableFactor::Table { args: Some(_), .. }
        )
    };
    let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] = select.projection.as_slice()
    else {
        return nothing();
    };
    // A function of a column of the query around cannot be planned.
    if nothing::is_nothing(query)
        || select.from.iter().any(|from| makes_rows(&from.relation) && names_column(&from.relation))
    {
        return nothing();
    }
    let Some(aggregate) = parsed(&format!("array_agg({item})")) else { return nothing() };
    let mut aggregated = query.clone();
    aggregated.order_by = None;
    if let SetExpr::Select(select) = aggregated.body.as_mut() {
        select.projection = vec![SelectItem::UnnamedExpr(aggregate)];
    }
    Expr::Subquery(Box::new(aggregated))
}

fn names_column(factor: &TableFactor) -> bool {
    datafusion::sql::sqlparser::ast::visit_expressions(factor, |expr| match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

/// A subquery that stands for a value gives one row at most; the engine wants to see that.
fn one_value(query: &mut Query) {
    if query.limit_clause.is_some() || query.fetch.is_some() {
        return;
    }
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let plain = select.distinct.is_none()
        && select.having.is_none()
        && matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty())
        && !select.from.is_empty();
    let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] =
        select.projection.as_mut_slice()
    else {
        return;
    };
    if plain
        && !nothing::aggregates(item)
        && let Some(first) = parsed(&format!("first_value({item})"))
    {
        *item = first;
        query.order_by = None;
    }
}

/// The elements of an array that is written as a text, such as `{a,b}`.
fn elements(array: &Expr) -> Option<Vec<String>> {
    let inner = string(array)?.strip_prefix('{')?.strip_suffix('}')?;
    Some(inner.split(',').map(|item| item.trim().trim_matches('"').to_owned()).collect())
}

/// `OPERATOR(pg_catalog.~)` is `~`.
fn operator(
    op: &datafusion::sql::sqlparser::ast::BinaryOperator,
) -> Option<datafusion::sql::sqlparser::ast::BinaryOperator> {
    use datafusion::sql::sqlparser::ast::BinaryOperator as Op;
    let Op::PGCustomBinaryOperator(parts) = op else { return None };
    Some(match parts.last()?.as_str() {
        "~" => Op::PGRegexMatch,
        "~*" => Op::PGRegexIMatch,
        "!~" => Op::PGRegexNotMatch,
        "!~*" => Op::PGRegexNotIMatch,
        "~~" => Op::PGLikeMatch,
        "!~~" => Op::PGNotLikeMatch,
        "=" => Op::Eq,
        "<>" => Op::NotEq,
        "<" => Op::Lt,
        ">" => Op::Gt,
        _ => return None,
    })
}
