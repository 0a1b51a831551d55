//! A long list of grants as one keyed lookup: find the arms by the row's key, then test only what is left of those.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is no range is tested as it is; no other operator is made a test"
)]

mod cells;
mod places;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use weir_model::Value;
use weir_policy::{Compare, Nothing, Residual};

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, BooleanBufferBuilder, UInt64Array};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, Result, ScalarValue, exec_datafusion_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use weir_policy::expr::KeyedArm;

use self::cells::{Cell, Cells, Encoding, OwnedCell};
use self::places::Places;
use crate::lower::{Lowering, Unlowerable, scalar};

/// The `OR` of the arms.
pub(crate) fn lower(
    columns: &[(Expr, DataType)],
    arms: &[KeyedArm<Nothing>],
    by: &mut Lowering<'_>,
) -> Result<Expr, Unlowerable> {
    let named = |(column, data_type): &(Expr, DataType)| match column {
        Expr::Column(column) => Some((column.name.clone(), data_type.clone())),
        _ => None,
    };
    // What is inside of a nested column is compared one by one.
    let plain: Option<Vec<(String, DataType)>> = columns.iter().map(named).collect();
    let mut ranged = Vec::new();
    let mut others: Vec<Expr> = Vec::new();
    for arm in arms {
        // What the rest needs was read, so it is lowered also where the key equals nothing.
        let at_once = if plain.is_some() { ranges_at_once(&arm.rest, by) } else { None };
        let rest = if at_once.is_some() { lit(true) } else { by.lower(&arm.rest)? };
        let key: Option<Vec<ScalarValue>> =
            arm.key.iter().zip(columns).map(|(value, (_, data_type))| scalar(value, data_type)).collect();
        // A key that the column's type cannot hold equals no row's.
        let Some(key) = key else { continue };
        match at_once.or_else(|| ranges(&rest).filter(|_| plain.is_some())) {
            Some(ranges) => ranged.push((key, ranges)),
            None => {
                let equals = key
                    .into_iter()
                    .zip(columns)
                    .map(|(value, (column, _))| column.clone().eq(Expr::Literal(value, None)));
                others.push(equals.fold(rest, |all, one| one.and(all)));
            }
        }
    }
    if let Some(columns) = plain.filter(|_| !ranged.is_empty()) {
        others.push(Grants::expression(&columns, ranged).map_err(|e| Unlowerable(e.to_string()))?);
    }
    let or = |a, b| Expr::BinaryExpr(BinaryExpr::new(Box::new(a), Operator::Or, Box::new(b)));
    Ok(others.into_iter().reduce(or).unwrap_or_else(|| lit(false)))
}

/// A comparison of a column with a literal.
struct Range {
    column: String,
    op: Operator,
    bound: ScalarValue,
}

/// The conjunction of ranges that `rest` is, if it is plainly one: what lowering it first would give.
fn ranges_at_once(rest: &Residual, by: &Lowering<'_>) -> Option<Vec<Range>> {
    let mut all = Vec::new();
    let parts = match rest {
        Residual::Literal(Value::Boolean(true)) => &[],
        Residual::And(parts) => parts.as_slice(),
        one => std::slice::from_ref(one),
    };
    for part in parts {
        let Residual::Compare { op, left, right } = part else { return None };
        let (Residual::Column(id), Residual::Literal(value)) = (left.as_ref(), right.as_ref()) else { return None };
        let (Expr::Column(column), data_type) = by.column(*id).ok()? else { return None };
        let bound = scalar(value, &data_type).filter(|bound| !bound.is_null())?;
        let op = match op {
            Compare::Equal => Operator::Eq,
            Compare::Less => Operator::Lt,
            Compare::LessOrEqual => Operator::LtEq,
            Compare::Greater => Operator::Gt,
            Compare::GreaterOrEqual => Operator::GtEq,
            Compare::NotEqual => return None,
        };
        all.push(Range { column: column.name, op, bound });
    }
    Some(all)
}

/// The conjunction of ranges that `rest` is, if it is one.
fn ranges(rest: &Expr) -> Option<Vec<Range>> {
    match rest {
        Expr::Literal(ScalarValue::Boolean(Some(true)), _) => Some(Vec::new()),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            let mut all = ranges(left)?;
            all.extend(ranges(right)?);
            Some(all)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (column, op, bound) = match (left.as_ref(), right.as_ref()) {
                (Expr::Column(column), Expr::Literal(bound, _)) => (column, *op, bound),
                (Expr::Literal(bound, _), Expr::Column(column)) => (column, op.swap()?, bound),
                _ => return None,
            };
            let ordered = matches!(op, Operator::Eq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq);
            (ordered && !bound.is_null()).then(|| vec![Range { column: column.name.clone(), op, bound: bound.clone() }])
        }
        _ => None,
    }
}

struct Test {
    /// Among the columns after the key.
    column: usize,
    op: Operator,
    bound: OwnedCell,
}

/// What is tested of a number: that it lies within bounds, which are in it.
#[derive(Clone, Copy)]
struct Span {
    column: usize,
    least: i64,
    greatest: i64,
}

impl Span {
    /// The same as the test; absent where it compares no number.
    fn of(test: &Test) -> Option<Self> {
        let OwnedCell::Number(bound) = test.bound else { return None };
        let all = Self { column: test.column, least: i64::MIN, greatest: i64::MAX };
        let none = Self { least: i64::MAX, greatest: i64::MIN, ..all };
        Some(match test.op {
            Operator::Eq => Self { least: bound, greatest: bound, ..all },
            Operator::Lt => bound.checked_sub(1).map_or(none, |greatest| Self { greatest, ..all }),
            Operator::LtEq => Self { greatest: bound, ..all },
            Operator::Gt => bound.checked_add(1).map_or(none, |least| Self { least, ..all }),
            Operator::GtEq => Self { least: bound, ..all },
            _ => return None,
        })
    }

    fn holds(&self, cells: &[Cells], row: usize) -> bool {
        match cells.get(self.column).map(|cells| cells.get(row)) {
            Some(Cell::Number(n)) => self.least <= n && n <= self.greatest,
            Some(Cell::Bytes(_)) | None => false,
        }
    }
}

/// Takes the test in: one span for all tests of a column of numbers.
fn narrow(test: Test, spans: &mut Vec<Span>, tests: &mut Vec<Test>) {
    let Some(span) = Span::of(&test) else { return tests.push(test) };
    match spans.iter_mut().find(|known| known.column == span.column) {
        Some(known) => {
            known.least = known.least.max(span.least);
            known.greatest = known.greatest.min(span.greatest);
        }
        None => spans.push(span),
    }
}

impl Test {
    fn holds(&self, cells: &[Cells], row: usize) -> bool {
        let Some(cell) = cells.get(self.column).map(|cells| cells.get(row)) else { return false };
        let bound = self.bound.as_cell();
        match self.op {
            Operator::Eq => cell == bound,
            Operator::Lt => cell < bound,
            Operator::LtEq => cell <= bound,
            Operator::Gt => cell > bound,
            Operator::GtEq => cell >= bound,
            _ => false,
        }
    }
}

/// The compiled grants, as a function of the key columns followed by the columns of the ranges.
struct Grants {
    keys: Vec<Encoding>,
    ranges: Vec<Encoding>,
    /// By the first column of the key.
    places: Places,
    /// Where the arms of each key end; those of the first key begin at 0.
    ends: Vec<usize>,
    arms: Vec<Arm>,
}

struct Arm {
    /// The key's columns after the first.
    key: Vec<OwnedCell>,
    spans: Vec<Span>,
    tests: Vec<Test>,
}

impl Grants {
    fn expression(columns: &[(String, DataType)], arms: Vec<(Vec<ScalarValue>, Vec<Range>)>) -> Result<Expr> {
        let (grants, names) = Self::compiled(columns, arms)?;
        let key_names = columns.iter().map(|(name, _)| name);
        let args = key_names.chain(&names).map(|name| Expr::Column(Column::new_unqualified(name))).collect();
        let udf = InGrants { grants: Arc::new(grants), signature: Signature::variadic_any(Volatility::Immutable) };
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(udf)), args)))
    }

    /// And the names of the columns of the ranges.
    fn compiled(
        columns: &[(String, DataType)],
        arms: Vec<(Vec<ScalarValue>, Vec<Range>)>,
    ) -> Result<(Self, Vec<String>)> {
        let keys = columns.iter().map(|(_, data_type)| Encoding::new(data_type)).collect::<Result<Vec<_>>>()?;
        let mut names: Vec<String> = Vec::new();
        let mut ranges: Vec<Encoding> = Vec::new();
        let mut by_key: Vec<(OwnedCell, Arm)> = Vec::with_capacity(arms.len());
        for (key, tests) in arms {
            let mut key = key.iter().zip(&keys).map(|(v, e)| e.literal(v)).collect::<Result<Vec<_>>>()?.into_iter();
            let Some(first) = key.next() else { continue };
            let (mut spans, mut others) = (Vec::with_capacity(1), Vec::new());
            for Range { column, op, bound } in tests {
                let at = match names.iter().position(|name| *name == column) {
                    Some(at) => at,
                    None => {
                        names.push(column);
                        ranges.push(Encoding::new(&bound.data_type())?);
                        names.len() - 1
                    }
                };
                let encoding = ranges.get(at).ok_or_else(|| exec_datafusion_err!("a range without a column"))?;
                narrow(Test { column: at, op, bound: encoding.literal(&bound)? }, &mut spans, &mut others);
            }
            by_key.push((first, Arm { key: key.collect(), spans, tests: others }));
        }
        by_key.sort_by(|(one, _), (other, _)| one.cmp(other));
        let (mut firsts, mut ends, mut arms): (Vec<OwnedCell>, Vec<usize>, Vec<Arm>) = Default::default();
        for (first, arm) in by_key {
            arms.push(arm);
            match ends.last_mut().filter(|_| firsts.last() == Some(&first)) {
                Some(end) => *end = arms.len(),
                None => {
                    firsts.push(first);
                    ends.push(arms.len());
                }
            }
        }
        Ok((Self { keys, ranges, places: Places::new(firsts), ends, arms }, names))
    }

    /// The arms of the key of this number.
    fn arms(&self, key: u32) -> &[Arm] {
        let end = |key: usize| key.checked_sub(1).and_then(|at| self.ends.get(at)).copied();
        let key = key as usize;
        end(key).and_then(|end_of| self.arms.get(key.checked_sub(1).and_then(end).unwrap_or(0)..end_of)).unwrap_or(&[])
    }

    fn contains(&self, columns: &[ArrayRef], rows: usize) -> Result<BooleanArray> {
        let none = || BooleanArray::new(BooleanBuffer::new_unset(rows), None);
        let (key_columns, range_columns) = columns.split_at(self.keys.len().min(columns.len()));
        let (Some(encoding), Some(first)) = (self.keys.first(), key_columns.first()) else { return Ok(none()) };
        let mut hits = self.places.hits(&encoding.encode(first)?, rows);
        let with_nulls = |columns: &[ArrayRef]| columns.iter().any(|column| column.null_count() > 0);
        if with_nulls(key_columns) {
            hits.retain(|hit| key_columns.iter().all(|column| column.is_valid(hit.row)));
        }
        if hits.is_empty() {
            return Ok(none());
        }
        // What most rows do not need is brought into form for the few that do, where that is work.
        let encodings = self.keys.iter().chain(&self.ranges).zip(columns).skip(1);
        let is_work = encodings.into_iter().any(|(encoding, column)| !encoding.is_form_of(column.data_type()));
        let rare = is_work && hits.len() < rows / 2;
        let picked = UInt64Array::from_iter_values(hits.iter().filter(|_| rare).map(|hit| hit.row as u64));
        let pick = |column: &ArrayRef| if rare { take(column, &picked, None) } else { Ok(Arc::clone(column)) };
        let formed = |columns: &[ArrayRef], encodings: &[Encoding]| -> Result<(Vec<ArrayRef>, Vec<Cells>)> {
            let columns = columns.iter().map(pick).collect::<Result<Vec<_>, _>>()?;
            let cells = encodings.iter().zip(&columns).map(|(e, c)| e.encode(c)).collect::<Result<_>>()?;
            Ok((columns, cells))
        };
        let (_, others) = formed(key_columns.get(1..).unwrap_or(&[]), self.keys.get(1..).unwrap_or(&[]))?;
        let (range_columns, ranges) = formed(range_columns, &self.ranges)?;
        let known = |column: usize, row| range_columns.get(column).is_some_and(|column| column.is_valid(row));
        let all_known = !with_nulls(&range_columns);
        let mut kept = BooleanBufferBuilder::new(rows);
        kept.append_n(rows, false);
        for (number, hit) in hits.iter().enumerate() {
            let row = if rare { number } else { hit.row };
            let holds = self.arms(hit.key).iter().any(|arm| {
                arm.key.iter().zip(&others).all(|(key, cells)| key.as_cell() == cells.get(row))
                    && arm.spans.iter().all(|span| span.holds(&ranges, row) && (all_known || known(span.column, row)))
                    && arm.tests.iter().all(|test| known(test.column, row) && test.holds(&ranges, row))
            });
            if holds {
                kept.set_bit(hit.row, true);
            }
        }
        Ok(BooleanArray::new(kept.finish(), None))
    }
}

struct InGrants {
    grants: Arc<Grants>,
    signature: Signature,
}

impl fmt::Debug for InGrants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InGrants(…)")
    }
}

impl PartialEq for InGrants {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.grants, &other.grants)
    }
}

impl Eq for InGrants {}

impl Hash for InGrants {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.grants).hash(state);
    }
}

impl ScalarUDFImpl for InGrants {
    fn name(&self) -> &'static str {
        "in_grants"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns: Vec<ArrayRef> =
            args.args.iter().map(|arg| arg.to_array(args.number_rows)).collect::<Result<_>>()?;
        Ok(ColumnarValue::Array(Arc::new(self.grants.contains(&columns, args.number_rows)?)))
    }
}

#[cfg(test)]
mod tests;
