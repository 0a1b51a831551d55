//! What of the user's conditions may run below the barrier: comparisons of clear columns with literals and with each
//! other, functions of them that fail on nothing, and boolean combinations of those. They cannot fail, cannot block and
//! cannot tell.
//!
//! Everything else stays above. Both lists are closed: an expression that is not named here is not leakproof.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{BinaryExpr as LogicalBinary, Expr};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, DynamicFilterPhysicalExpr, InListExpr, IsNotNullExpr, IsNullExpr, Literal, NotExpr,
};

use crate::builtins::{is_leakproof as is_leakproof_function, is_leakproof_operator};

/// Whether a condition of a statement, over columns of which `is_clear` tells, is leakproof.
pub(crate) fn is_leakproof(expr: &Expr, is_clear: &dyn Fn(&str) -> bool) -> bool {
    let all = |parts: &[&Expr]| parts.iter().all(|part| is_leakproof(part, is_clear));
    #[expect(clippy::wildcard_enum_match_arm, reason = "an allow-list: whatever is not named is refused")]
    match expr {
        Expr::Column(column) => is_clear(&column.name),
        Expr::Literal(..) => true,
        Expr::BinaryExpr(LogicalBinary { left, op, right }) => is_leakproof_operator(*op) && all(&[left, right]),
        Expr::Between(between) => all(&[&between.expr, &between.low, &between.high]),
        Expr::InList(list) => all(&[&list.expr]) && list.list.iter().all(|item| matches!(item, Expr::Literal(..))),
        Expr::ScalarFunction(call) => {
            is_leakproof_function(call.name()) && call.args.iter().all(|arg| is_leakproof(arg, is_clear))
        }
        Expr::IsNull(part) | Expr::IsNotNull(part) | Expr::Not(part) => all(&[part]),
        _ => false,
    }
}

/// Whether a physical filter is leakproof and looks only at the columns of `clear`. What a dynamic filter compares is
/// among its children, so that a filter on a cast column is found out.
pub(crate) fn is_leakproof_physical(filter: &Arc<dyn PhysicalExpr>, clear: &HashSet<usize>) -> bool {
    let mut leakproof = true;
    let walked = filter.apply(|expr| {
        let expr: &dyn PhysicalExpr = expr.as_ref();
        leakproof &= if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
            is_leakproof_operator(*binary.op())
        } else if let Some(column) = expr.downcast_ref::<Column>() {
            clear.contains(&column.index())
        } else if let Some(list) = expr.downcast_ref::<InListExpr>() {
            list.list().iter().all(|item| item.downcast_ref::<Literal>().is_some())
        } else {
            expr.downcast_ref::<Literal>().is_some()
                || expr.downcast_ref::<DynamicFilterPhysicalExpr>().is_some()
                || expr.downcast_ref::<IsNullExpr>().is_some()
                || expr.downcast_ref::<IsNotNullExpr>().is_some()
                || expr.downcast_ref::<NotExpr>().is_some()
        };
        Ok(if leakproof { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    leakproof && walked.is_ok()
}
