//! A long list of grants as one keyed lookup: find the arms by the row's key, then test only what is left of those.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is no range is tested as it is; no other operator is made a test"
)]

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use weir_policy::Nothing;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::{Column, Result, ScalarValue, exec_datafusion_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use weir_policy::expr::KeyedArm;

use crate::lower::{Unlowerable, scalar};

/// The `OR` of the arms; `rests` are what is left of each, in the same order.
pub(crate) fn lower(
    columns: &[(Expr, DataType)],
    arms: &[KeyedArm<Nothing>],
    rests: Vec<Expr>,
) -> Result<Expr, Unlowerable> {
    let named = |(column, data_type): &(Expr, DataType)| match column {
        Expr::Column(column) => Some((column.name.clone(), data_type.clone())),
        _ => None,
    };
    // What is inside of a nested column is compared one by one.
    let plain: Option<Vec<(String, DataType)>> = columns.iter().map(named).collect();
    let mut ranged = Vec::new();
    let mut others: Vec<Expr> = Vec::new();
    for (arm, rest) in arms.iter().zip(rests) {
        let key: Option<Vec<ScalarValue>> =
            arm.key.iter().zip(columns).map(|(value, (_, data_type))| scalar(value, data_type)).collect();
        // A key that the column's type cannot hold equals no row's.
        let Some(key) = key else { continue };
        match ranges(&rest).filter(|_| plain.is_some()) {
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

/// One column of a batch, in a form that compares fast.
enum Cells {
    Numbers(ArrayRef),
    Rows(Rows),
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Cell<'a> {
    Number(i64),
    Bytes(&'a [u8]),
}

/// How the values of a column are compared: as whole numbers, or in Arrow's row format.
struct Encoding {
    data_type: DataType,
    converter: Option<RowConverter>,
}

impl Encoding {
    fn new(data_type: &DataType) -> Result<Self> {
        let whole = data_type.is_integer() && *data_type != DataType::UInt64;
        let numeric = whole || matches!(data_type, DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _));
        let converter = if numeric { None } else { Some(RowConverter::new(vec![SortField::new(data_type.clone())])?) };
        Ok(Self { data_type: data_type.clone(), converter })
    }

    fn encode(&self, column: &ArrayRef) -> Result<Cells> {
        let column =
            if *column.data_type() == self.data_type { Arc::clone(column) } else { cast(column, &self.data_type)? };
        Ok(match &self.converter {
            None => Cells::Numbers(cast(&column, &DataType::Int64)?),
            Some(converter) => Cells::Rows(converter.convert_columns(&[column])?),
        })
    }

    fn literal(&self, value: &ScalarValue) -> Result<OwnedCell> {
        let cells = self.encode(&value.cast_to(&self.data_type)?.to_array()?)?;
        Ok(match cells.get(0) {
            Cell::Number(n) => OwnedCell::Number(n),
            Cell::Bytes(bytes) => OwnedCell::Bytes(bytes.into()),
        })
    }
}

impl Cells {
    fn get(&self, row: usize) -> Cell<'_> {
        match self {
            Cells::Numbers(array) => Cell::Number(array.as_primitive::<Int64Type>().value(row)),
            Cells::Rows(rows) => Cell::Bytes(rows.row(row).data()),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum OwnedCell {
    Number(i64),
    Bytes(Box<[u8]>),
}

impl OwnedCell {
    fn as_cell(&self) -> Cell<'_> {
        match self {
            OwnedCell::Number(n) => Cell::Number(*n),
            OwnedCell::Bytes(bytes) => Cell::Bytes(bytes),
        }
    }
}

struct Test {
    /// Among the columns after the key.
    column: usize,
    op: Operator,
    bound: OwnedCell,
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
    arms: HashMap<OwnedCell, Vec<Arm>>,
}

struct Arm {
    /// The key's columns after the first.
    key: Vec<OwnedCell>,
    tests: Vec<Test>,
}

impl Grants {
    fn expression(columns: &[(String, DataType)], arms: Vec<(Vec<ScalarValue>, Vec<Range>)>) -> Result<Expr> {
        let keys = columns.iter().map(|(_, data_type)| Encoding::new(data_type)).collect::<Result<Vec<_>>>()?;
        let mut names: Vec<String> = Vec::new();
        let mut ranges: Vec<Encoding> = Vec::new();
        let mut by_key: HashMap<OwnedCell, Vec<Arm>> = HashMap::new();
        for (key, tests) in arms {
            let mut key = key.iter().zip(&keys).map(|(v, e)| e.literal(v)).collect::<Result<Vec<_>>>()?.into_iter();
            let Some(first) = key.next() else { continue };
            let mut compiled = Vec::with_capacity(tests.len());
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
                compiled.push(Test { column: at, op, bound: encoding.literal(&bound)? });
            }
            by_key.entry(first).or_default().push(Arm { key: key.collect(), tests: compiled });
        }
        let key_names = columns.iter().map(|(name, _)| name);
        let args = key_names.chain(&names).map(|name| Expr::Column(Column::new_unqualified(name))).collect();
        let grants = Arc::new(Self { keys, ranges, arms: by_key });
        let udf = InGrants { grants, signature: Signature::variadic_any(Volatility::Immutable) };
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(udf)), args)))
    }

    fn contains(&self, columns: &[ArrayRef], rows: usize) -> Result<BooleanArray> {
        let encodings = self.keys.iter().chain(&self.ranges);
        let mut cells = encodings.zip(columns).map(|(e, c)| e.encode(c)).collect::<Result<Vec<_>>>()?;
        let ranges = cells.split_off(self.keys.len());
        let (key_columns, range_columns) = columns.split_at(self.keys.len());
        let Some((first, others)) = cells.split_first() else { return Ok(BooleanArray::from(vec![false; rows])) };
        let known = |columns: &[ArrayRef], row| columns.iter().all(|column| column.is_valid(row));
        let holds = |row: usize| {
            let key = match first.get(row) {
                Cell::Number(n) => OwnedCell::Number(n),
                Cell::Bytes(bytes) => OwnedCell::Bytes(bytes.into()),
            };
            let Some(arms) = self.arms.get(&key) else { return false };
            known(key_columns, row)
                && arms.iter().any(|arm| {
                    arm.key.iter().zip(others).all(|(key, cells)| key.as_cell() == cells.get(row))
                        && arm.tests.iter().all(|test| {
                            range_columns.get(test.column).is_some_and(|c| c.is_valid(row)) && test.holds(&ranges, row)
                        })
                })
        };
        Ok((0..rows).map(|row| Some(holds(row))).collect())
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
