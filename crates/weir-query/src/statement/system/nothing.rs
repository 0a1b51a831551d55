//! Queries that give no rows because they read a table of which nobody sees any.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, Query, Select, SelectItem, SetExpr,
    SetOperator, TableFactor, TableWithJoins, Value, ValueWithSpan, visit_expressions,
};

use super::names;
use crate::catalogue::{PG_CATALOG, is_empty};

/// Whether the query is certain to give no rows.
pub(super) fn is_nothing(query: &Query) -> bool {
    body(&query.body)
}

fn body(set: &SetExpr) -> bool {
    match set {
        SetExpr::Select(select) => is_false(select) || (!single_row(select) && select.from.iter().any(joined)),
        SetExpr::Query(query) => is_nothing(query),
        SetExpr::SetOperation { left, op, right, .. } => match op {
            SetOperator::Union => body(left) && body(right),
            SetOperator::Intersect => body(left) || body(right),
            SetOperator::Except | SetOperator::Minus => body(left),
        },
        _ => false,
    }
}

fn is_false(select: &Select) -> bool {
    !single_row(select) && select.selection.as_ref().is_some_and(never)
}

fn never(condition: &Expr) -> bool {
    match condition {
        Expr::Value(ValueWithSpan { value: Value::Boolean(value), .. }) => !value,
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => never(left) || never(right),
        _ => false,
    }
}

/// An aggregate without groups gives a row of no rows.
fn single_row(select: &Select) -> bool {
    let grouped = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(by, _) => !by.is_empty(),
    };
    let aggregates = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => aggregates(expr),
        SelectItem::ExprWithAliases { .. } | SelectItem::QualifiedWildcard(..) | SelectItem::Wildcard(_) => false,
    };
    !grouped && (select.having.is_some() || select.projection.iter().any(aggregates))
}

/// Whether an expression has an aggregate in it, outside of subqueries.
pub(super) fn aggregates(expr: &Expr) -> bool {
    const AGGREGATES: [&str; 13] = [
        "array_agg",
        "avg",
        "bool_and",
        "bool_or",
        "count",
        "every",
        "first_value",
        "json_agg",
        "max",
        "min",
        "string_agg",
        "sum",
        "jsonb_agg",
    ];
    let mut subqueries = 0_usize;
    let found = visit_expressions(expr, |part| {
        if matches!(part, Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. }) {
            subqueries += 1;
        }
        match part {
            Expr::Function(call)
                if call.over.is_none()
                    && names(&call.name).last().is_some_and(|name| AGGREGATES.contains(&name.as_str())) =>
            {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    });
    found.is_break() && subqueries == 0
}

fn joined(from: &TableWithJoins) -> bool {
    from.joins.iter().fold(factor(&from.relation), |left, Join { relation, join_operator, .. }| {
        let right = factor(relation);
        match join_operator {
            JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => left || right,
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => left,
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => right,
            JoinOperator::FullOuter(_) => left && right,
            _ => false,
        }
    })
}

fn factor(factor: &TableFactor) -> bool {
    match factor {
        TableFactor::Table { name, args: None, .. } => match names(name).as_slice() {
            [table] => is_empty(PG_CATALOG, table),
            [.., schema, table] => is_empty(schema, table),
            [] => false,
        },
        TableFactor::Derived { subquery, .. } => is_nothing(subquery),
        TableFactor::NestedJoin { table_with_joins, .. } => joined(table_with_joins),
        _ => false,
    }
}

/// Takes out of each `SELECT` that gives no rows all that the engine need not understand. Its columns keep their names,
/// and the parameters stay.
pub(super) fn simplify(query: &mut Query) {
    let is_single = matches!(query.body.as_ref(), SetExpr::Select(_));
    if simplify_set(&mut query.body) && is_single {
        query.order_by = None;
    }
}

fn simplify_set(set: &mut SetExpr) -> bool {
    let nothing = body(set);
    match set {
        SetExpr::Select(select) if nothing => {
            simplify_select(select);
            true
        }
        SetExpr::SetOperation { left, right, .. } => {
            simplify_set(left);
            simplify_set(right);
            nothing
        }
        _ => nothing,
    }
}

fn simplify_select(select: &mut Select) {
    let mut parameters = BTreeSet::new();
    let _ = visit_expressions(select, |expr| {
        if let Expr::Value(ValueWithSpan { value: Value::Placeholder(name), .. }) = expr {
            parameters.insert(name.clone());
        }
        ControlFlow::<()>::Continue(())
    });
    let is_wild = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    let wild = select.projection.iter().any(is_wild);
    for (at, item) in select.projection.iter_mut().enumerate() {
        let (expr, alias) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias.clone())),
            SelectItem::ExprWithAliases { .. } | SelectItem::QualifiedWildcard(..) | SelectItem::Wildcard(_) => {
                continue;
            }
        };
        let null = Expr::Value(Value::Null.with_empty_span());
        let alias = alias.unwrap_or_else(|| name_of(expr).unwrap_or_else(|| Ident::new(format!("_{at}"))));
        *item = SelectItem::ExprWithAlias { expr: null, alias };
    }
    let false_ = Expr::Value(Value::Boolean(false).with_empty_span());
    let kept = parameters.into_iter().fold(false_, |kept, name| Expr::BinaryOp {
        left: Box::new(kept),
        op: BinaryOperator::And,
        right: Box::new(Expr::IsNull(Box::new(Expr::Value(Value::Placeholder(name).with_empty_span())))),
    });
    select.selection = Some(kept);
    select.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
    select.having = None;
    select.distinct = None;
    select.named_window = Vec::new();
    if !wild {
        select.from = Vec::new();
    }
    for from in &mut select.from {
        for join in &mut from.joins {
            if let JoinOperator::Join(on)
            | JoinOperator::Inner(on)
            | JoinOperator::Left(on)
            | JoinOperator::LeftOuter(on) = &mut join.join_operator
                && matches!(on, JoinConstraint::On(_))
            {
                *on = JoinConstraint::On(Expr::Value(Value::Boolean(true).with_empty_span()));
            }
        }
    }
}

fn name_of(expr: &Expr) -> Option<Ident> {
    match expr {
        Expr::Identifier(name) => Some(name.clone()),
        Expr::CompoundIdentifier(parts) => parts.last().cloned(),
        Expr::Nested(inner) => name_of(inner),
        Expr::Cast { expr, .. } => name_of(expr),
        _ => None,
    }
}
