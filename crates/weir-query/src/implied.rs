//! What a condition on masked values says of the originals. A rounded number is at least 100 only where the number is;
//! a column that is always NULL is never equal to anything. What is implied may run below the barrier: it compares
//! originals with bounds at which the masked value changes, so it tells nothing that the masked value does not, and the
//! condition itself stays above. It is there for what scans can skip.

use std::cmp::Ordering;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator, lit};

use crate::leakproof::is_leakproof;
use crate::mask::{Bucket, CompiledMask};

/// How a column leaves the barrier.
pub(crate) enum Shown<'a> {
    Clear,
    /// Every value by this mask.
    Masked(&'a CompiledMask),
    Otherwise,
}

/// Holds wherever `condition` does; `None` when nothing is known to.
pub(crate) fn implied<'a>(condition: &Expr, shown: &dyn Fn(&str) -> Shown<'a>) -> Option<Expr> {
    if let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition {
        if *op == Operator::And {
            return match (implied(left, shown), implied(right, shown)) {
                (Some(left), Some(right)) => Some(left.and(right)),
                (one, other) => one.or(other),
            };
        }
        if *op == Operator::Or {
            return Some(implied(left, shown)?.or(implied(right, shown)?));
        }
    }
    with_fixed(condition, shown).or_else(|| bounded(condition, shown))
}

/// The condition with what is the same for every row in the place of its columns, if it is leakproof then.
fn with_fixed<'a>(condition: &Expr, shown: &dyn Fn(&str) -> Shown<'a>) -> Option<Expr> {
    let put = |expr: Expr| {
        let fixed = expr.try_as_col().and_then(|column| match shown(&column.name) {
            Shown::Masked(mask) => mask.fixed(),
            Shown::Clear | Shown::Otherwise => None,
        });
        Ok(fixed.map_or_else(|| Transformed::no(expr), |value| Transformed::yes(lit(value))))
    };
    let put = condition.clone().transform_up(put).ok()?.data;
    let is_clear = |column: &str| matches!(shown(column), Shown::Clear);
    is_leakproof(&put, &is_clear).then_some(put)
}

/// The range of originals that a comparison of one masked column with literals leaves.
fn bounded<'a>(condition: &Expr, shown: &dyn Fn(&str) -> Shown<'a>) -> Option<Expr> {
    let bucket = |column: &Expr, value: &Expr| {
        let (Expr::Column(column), Expr::Literal(value, _)) = (column, value) else { return None };
        let Shown::Masked(mask) = shown(&column.name) else { return None };
        mask.bucket(value)
    };
    let range = |column: &Expr, from: Bucket, to: Bucket| {
        column.clone().gt_eq(lit(from.start)).and(column.clone().lt(lit(to.end)))
    };
    #[expect(clippy::wildcard_enum_match_arm, reason = "an allow-list: nothing is said of what is not named")]
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (column, op, value) = match (left.as_ref(), right.as_ref()) {
                (value @ Expr::Literal(..), column) => (column, op.swap()?, value),
                (column, value) => (column, *op, value),
            };
            match op {
                Operator::Eq => Some(range(column, bucket(column, value)?, bucket(column, value)?)),
                Operator::Gt | Operator::GtEq => Some(column.clone().gt_eq(lit(bucket(column, value)?.start))),
                Operator::Lt | Operator::LtEq => Some(column.clone().lt(lit(bucket(column, value)?.end))),
                _ => None,
            }
        }
        Expr::Between(Between { expr, negated: false, low, high }) => {
            Some(range(expr, bucket(expr, low)?, bucket(expr, high)?))
        }
        Expr::InList(InList { expr, list, negated: false }) => {
            let mut buckets = list.iter().map(|value| bucket(expr, value)).collect::<Option<Vec<Bucket>>>()?;
            buckets.sort_by(|a, b| a.start.partial_cmp(&b.start).unwrap_or(Ordering::Equal));
            let last = buckets.pop()?;
            Some(match buckets.into_iter().next() {
                Some(first) => range(expr, first, last),
                None => expr.as_ref().clone().gt_eq(lit(last.start)).and(expr.as_ref().clone().lt(lit(last.end))),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::DataType;
    use datafusion::common::ScalarValue;
    use datafusion::logical_expr::col;
    use weir_model::{ColumnId, Value};
    use weir_policy::Mask;
    use weir_policy::ast::RoundTo;

    use super::*;
    use crate::mask::MaskKeys;

    fn mask(mask: &Mask, data_type: &DataType) -> CompiledMask {
        CompiledMask::new(mask, ColumnId(1), data_type, &MaskKeys::default()).unwrap()
    }

    fn of(condition: Expr) -> Option<String> {
        let rounded = mask(&Mask::Round(RoundTo::Number("100".to_owned())), &DataType::Int64);
        let nothing = mask(&Mask::Null, &DataType::Int64);
        let always = mask(&Mask::Constant(Value::Text("x".to_owned())), &DataType::Utf8);
        let shown = |column: &str| match column {
            "clear" => Shown::Clear,
            "rounded" => Shown::Masked(&rounded),
            "nothing" => Shown::Masked(&nothing),
            "always" => Shown::Masked(&always),
            _ => Shown::Otherwise,
        };
        implied(&condition, &shown).map(|implied| implied.to_string())
    }

    #[test]
    fn bounds_are_where_the_masked_value_changes() {
        let rounded = || col("rounded");
        for (condition, says) in [
            (rounded().gt(lit(120_i64)), "rounded >= Int64(100)"),
            (rounded().gt_eq(lit(100_i64)), "rounded >= Int64(100)"),
            (lit(120_i64).gt(rounded()), "rounded < Int64(200)"),
            (rounded().eq(lit(300_i64)), "rounded >= Int64(300) AND rounded < Int64(400)"),
            (rounded().between(lit(1_i64), lit(250_i64)), "rounded >= Int64(0) AND rounded < Int64(300)"),
            (
                rounded().in_list(vec![lit(700_i64), lit(200_i64), lit(300_i64)], false),
                "rounded >= Int64(200) AND rounded < Int64(800)",
            ),
            (rounded().in_list(vec![lit(700_i64)], false), "rounded >= Int64(700) AND rounded < Int64(800)"),
            (rounded().gt(lit(120_i64)).and(col("hashed").eq(lit("a"))), "rounded >= Int64(100)"),
            (rounded().gt(lit(120_i64)).or(col("clear").eq(lit(1_i64))), "rounded >= Int64(100) OR clear = Int64(1)"),
        ] {
            assert_eq!(of(condition).as_deref(), Some(says));
        }
    }

    #[test]
    fn what_is_always_the_same_is_put_in() {
        assert_eq!(of(col("nothing").gt(lit(0_i64))).unwrap(), "Int64(NULL) > Int64(0)");
        assert_eq!(of(col("always").eq(lit("y"))).unwrap(), "Utf8(\"x\") = Utf8(\"y\")");
        assert_eq!(
            of(col("nothing").is_null().or(col("clear").is_null())).unwrap(),
            "Int64(NULL) IS NULL OR clear IS NULL"
        );
    }

    #[test]
    fn nothing_is_implied_of_the_rest() {
        let rounded = || col("rounded");
        for condition in [
            col("hashed").eq(lit("a")),
            rounded().not_eq(lit(100_i64)),
            rounded().not_between(lit(1_i64), lit(2_i64)),
            rounded().in_list(vec![lit(1_i64)], true),
            rounded().eq(col("clear")),
            rounded().gt(lit(ScalarValue::Int64(None))),
            rounded().gt(lit(120_i64)).or(col("hashed").eq(lit("a"))),
            (lit(1_i64) / col("nothing")).gt(lit(0_i64)),
            rounded().gt(lit(120_i64)).is_not_true(),
        ] {
            assert_eq!(of(condition.clone()), None, "{condition}");
        }
    }
}
