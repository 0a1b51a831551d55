//! The keys that a lookup found, for a fast test of membership.

use std::any::Any;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use datafusion::physical_expr::ScalarFunctionExpr;

/// Up to so many keys are written into the plan, where files can be pruned by them.
const INLINE_MAX: usize = 20;
/// A bitmap is used when it takes no more than so many bits for each key.
const BITS_PER_KEY_MAX: u64 = 256;

/// A set of keys; cheap to clone.
#[derive(Clone)]
pub(crate) struct KeySet(Arc<Keys>);

struct Keys {
    types: Vec<DataType>,
    kind: Kind,
    /// NULL is a value like others, and membership is never NULL.
    null_is_a_value: bool,
    /// Held in memory, in bytes.
    size: usize,
}

enum Kind {
    /// Few keys of one column.
    Inline(Vec<ScalarValue>),
    /// Whole numbers: bit `n` stands for `min + n`.
    Bitmap {
        min: i64,
        bits: Vec<u64>,
    },
    Numbers(HashSet<i64>),
    /// Everything else, in Arrow's row format.
    Rows {
        converter: RowConverter,
        keys: HashSet<Box<[u8]>>,
    },
}

impl KeySet {
    /// From batches of key columns, all of `types`. Rows with a NULL are left out: NULL equals nothing.
    pub(crate) fn new(types: Vec<DataType>, batches: &[RecordBatch]) -> Result<Self> {
        let kind = match types.as_slice() {
            [single] if single.is_integer() && *single != DataType::UInt64 => numbers(single, batches)?,
            _ => rows(&types, batches)?,
        };
        Ok(Self::of(types, kind, false))
    }

    /// As [`Self::new`], with NULL a value like others.
    pub(crate) fn with_nulls(types: Vec<DataType>, batches: &[RecordBatch]) -> Result<Self> {
        let converter = RowConverter::new(types.iter().cloned().map(SortField::new).collect())?;
        let mut keys = HashSet::new();
        for batch in batches {
            let rows = converter.convert_columns(batch.columns())?;
            keys.extend(rows.iter().map(|row| Box::<[u8]>::from(row.as_ref())));
        }
        Ok(Self::of(types, Kind::Rows { converter, keys }, true))
    }

    fn of(types: Vec<DataType>, kind: Kind, null_is_a_value: bool) -> Self {
        let size = match &kind {
            Kind::Inline(values) => values.len() * 64,
            Kind::Bitmap { bits, .. } => bits.len() * 8,
            Kind::Numbers(keys) => keys.capacity() * 9,
            Kind::Rows { keys, .. } => keys.iter().map(|k| k.len() + 24).sum(),
        };
        Self(Arc::new(Keys { types, kind, null_is_a_value, size }))
    }

    /// Held in memory, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.0.size
    }

    fn contains(&self, columns: &[ArrayRef]) -> Result<BooleanArray> {
        let columns: Vec<ArrayRef> = columns
            .iter()
            .zip(&self.0.types)
            .map(
                |(column, data_type)| {
                    if column.data_type() == data_type { Ok(Arc::clone(column)) } else { cast(column, data_type) }
                },
            )
            .collect::<Result<_, _>>()?;
        let nulls = columns
            .iter()
            .fold(None, |nulls, column| NullBuffer::union(nulls.as_ref(), column.logical_nulls().as_ref()))
            .filter(|_| !self.0.null_is_a_value);
        let found = match &self.0.kind {
            Kind::Inline(_) => return Err(exec_datafusion_err!("inline keys are part of the plan")),
            Kind::Bitmap { min, bits } => {
                let member = |n: i64| {
                    let Ok(at) = usize::try_from(n.wrapping_sub(*min)) else { return false };
                    n >= *min && bits.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
                };
                member_of_numbers(columns.first(), member)?
            }
            Kind::Numbers(keys) => member_of_numbers(columns.first(), |n| keys.contains(&n))?,
            Kind::Rows { converter, keys } => {
                let rows = converter.convert_columns(&columns)?;
                rows.iter().map(|row| keys.contains(row.as_ref())).collect()
            }
        };
        Ok(BooleanArray::new(found, nulls))
    }
}

fn member_of_numbers(
    column: Option<&ArrayRef>,
    member: impl Fn(i64) -> bool,
) -> Result<datafusion::arrow::buffer::BooleanBuffer> {
    let column = column.ok_or_else(|| exec_datafusion_err!("a key set without columns"))?;
    let wide = cast(column, &DataType::Int64)?;
    Ok(wide.as_primitive::<Int64Type>().values().iter().map(|n| member(*n)).collect())
}

fn numbers(data_type: &DataType, batches: &[RecordBatch]) -> Result<Kind> {
    let mut keys = HashSet::new();
    for batch in batches {
        let column = cast(batch.column(0), &DataType::Int64)?;
        keys.extend(column.as_primitive::<Int64Type>().iter().flatten());
    }
    if keys.len() <= INLINE_MAX {
        let mut values: Vec<i64> = keys.into_iter().collect();
        values.sort_unstable();
        let values =
            values.into_iter().map(|n| ScalarValue::Int64(Some(n)).cast_to(data_type)).collect::<Result<_>>()?;
        return Ok(Kind::Inline(values));
    }
    let (min, max) = (keys.iter().copied().min().unwrap_or(0), keys.iter().copied().max().unwrap_or(0));
    let span = max.abs_diff(min);
    if span / BITS_PER_KEY_MAX > keys.len() as u64 {
        return Ok(Kind::Numbers(keys));
    }
    let mut bits = vec![0_u64; usize::try_from(span / 64 + 1).unwrap_or(0)];
    for key in keys {
        let at = usize::try_from(key.abs_diff(min)).unwrap_or(usize::MAX);
        if let Some(word) = bits.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }
    Ok(Kind::Bitmap { min, bits })
}

fn rows(types: &[DataType], batches: &[RecordBatch]) -> Result<Kind> {
    if let [single] = types {
        let mut values = HashSet::new();
        for batch in batches {
            let column = batch.column(0);
            for row in 0..batch.num_rows() {
                if values.len() > INLINE_MAX {
                    break;
                }
                if !column.is_null(row) {
                    values.insert(ScalarValue::try_from_array(column, row)?);
                }
            }
        }
        if values.len() <= INLINE_MAX {
            let values = values.into_iter().map(|v| v.cast_to(single)).collect::<Result<_>>()?;
            return Ok(Kind::Inline(values));
        }
    }
    let converter = RowConverter::new(types.iter().cloned().map(SortField::new).collect())?;
    let mut keys = HashSet::new();
    for batch in batches {
        let nulls = batch.columns().iter().fold(None, |n, c| NullBuffer::union(n.as_ref(), c.logical_nulls().as_ref()));
        let rows = converter.convert_columns(batch.columns())?;
        let visible = rows.iter().enumerate().filter(|(i, _)| nulls.as_ref().is_none_or(|n| n.is_valid(*i)));
        keys.extend(visible.map(|(_, row)| Box::<[u8]>::from(row.as_ref())));
    }
    Ok(Kind::Rows { converter, keys })
}

/// `outer IN keys`: NULL where an outer key is NULL.
pub(crate) fn in_key_set(outer: Vec<Expr>, set: KeySet) -> Expr {
    if let (Kind::Inline(values), [value]) = (&set.0.kind, outer.as_slice()) {
        let list: Vec<Expr> = values.iter().map(|v| Expr::Literal(v.clone(), None)).collect();
        if list.is_empty() {
            // Still NULL for NULL, so that a NOT around it hides the row.
            return lit(false)
                .and(value.clone().is_not_null())
                .or(value.clone().is_null().and(lit(ScalarValue::Boolean(None))));
        }
        return Expr::InList(InList::new(Box::new(value.clone()), list, false));
    }
    let udf = ScalarUDF::new_from_impl(InKeySet { set, signature: Signature::variadic_any(Volatility::Immutable) });
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(udf), outer))
}

/// The whole numbers among which the function looks for its argument, unless they are many.
pub(crate) fn whole_numbers(call: &ScalarFunctionExpr, count_max: usize) -> Option<Vec<i64>> {
    let function: &dyn Any = call.fun().inner().as_ref();
    let InKeySet { set, .. } = function.downcast_ref()?;
    let keys: Vec<i64> = match &set.0.kind {
        Kind::Numbers(keys) => keys.iter().copied().take(count_max + 1).collect(),
        Kind::Bitmap { min, bits } => {
            let words = bits.iter().enumerate().flat_map(|(word, bits)| {
                (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| word * 64 + bit)
            });
            let keys = words.filter_map(|at| min.checked_add(i64::try_from(at).ok()?));
            keys.take(count_max + 1).collect()
        }
        Kind::Inline(_) | Kind::Rows { .. } => return None,
    };
    (keys.len() <= count_max).then_some(keys)
}

#[derive(Debug)]
struct InKeySet {
    set: KeySet,
    signature: Signature,
}

impl PartialEq for InKeySet {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.set.0, &other.set.0)
    }
}

impl Eq for InKeySet {}

impl Hash for InKeySet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.set.0).hash(state);
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySet(…)")
    }
}

impl ScalarUDFImpl for InKeySet {
    fn name(&self) -> &'static str {
        "in_key_set"
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
        Ok(ColumnarValue::Array(Arc::new(self.set.contains(&columns)?)))
    }
}
