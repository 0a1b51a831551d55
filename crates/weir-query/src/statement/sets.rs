//! `set_config`, the form of `SET` that is a function.
#![expect(clippy::wildcard_enum_match_arm, reason = "what is not named stays as it is")]

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, SelectItem, SetExpr, Value, ValueWithSpan,
    visit_expressions,
};
use weir_guard::Refusal;

use super::dialect::string;

/// The settings that a `SELECT` of its own sets by constants, by name and value, in order; refuses other uses, in which nobody
/// could say what is set when.
pub(super) fn settings(query: &Query) -> Result<Vec<(String, String)>, Refusal> {
    let mut called = 0_usize;
    let _ = visit_expressions(query, |expr| {
        if let Expr::Function(call) = expr {
            called += usize::from(is_set_config(call));
        }
        ControlFlow::<()>::Continue(())
    });
    if called == 0 {
        return Ok(Vec::new());
    }
    let settings: Vec<(String, String)> = match query.body.as_ref() {
        SetExpr::Select(select) if select.from.is_empty() && select.selection.is_none() => {
            select.projection.iter().filter_map(setting).collect()
        }
        _ => Vec::new(),
    };
    if settings.len() == called {
        return Ok(settings);
    }
    Err(Refusal::unsupported("set_config is supported with constants for the session, in a SELECT without FROM"))
}

fn is_set_config(call: &Function) -> bool {
    call.name
        .0
        .last()
        .and_then(|name| name.as_ident())
        .is_some_and(|name| name.value.eq_ignore_ascii_case("set_config"))
}

fn setting(item: &SelectItem) -> Option<(String, String)> {
    let (SelectItem::UnnamedExpr(Expr::Function(call)) | SelectItem::ExprWithAlias { expr: Expr::Function(call), .. }) =
        item
    else {
        return None;
    };
    let FunctionArguments::List(list) = &call.args else { return None };
    let expr = |arg| match arg {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref expr)) => Some(expr),
        _ => None,
    };
    match list.args.iter().map(expr).collect::<Option<Vec<_>>>()?.as_slice() {
        [name, value, Expr::Value(ValueWithSpan { value: Value::Boolean(false), .. })] if is_set_config(call) => {
            Some((string(name)?.to_lowercase(), string(value)?.to_owned()))
        }
        _ => None,
    }
}
