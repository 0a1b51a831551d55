//! Sharing out rows by the hash of a column whose values must not show: the stream that a row went to shows in the order
//! of the answer, so the hash is keyed, by a key that lives as long as the process and is nowhere written.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{Partitioning, PhysicalExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::repartition::RepartitionExec;

use super::Raw;

/// SipHash under a random key.
static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The node, with originals that it hashes replaced by pseudonyms of them.
pub(super) fn hashing(plan: &Arc<dyn ExecutionPlan>, inputs: &[Raw]) -> Result<Arc<dyn ExecutionPlan>> {
    let (Some(repartition), [raw]) = (plan.downcast_ref::<RepartitionExec>(), inputs) else {
        return Ok(Arc::clone(plan));
    };
    let Partitioning::Hash(exprs, partitions) = repartition.partitioning() else { return Ok(Arc::clone(plan)) };
    let is_raw = |expr: &Arc<dyn PhysicalExpr>| {
        let column = expr.downcast_ref::<Column>().and_then(|column| raw.get(&column.index()));
        column.is_some_and(|late| late.mask.is_injective())
    };
    if repartition.preserve_order() || !exprs.iter().any(is_raw) {
        return Ok(Arc::clone(plan));
    }
    let exprs = exprs.iter().map(|expr| match is_raw(expr) {
        true => Arc::new(Pseudonym(Arc::clone(expr))) as Arc<dyn PhysicalExpr>,
        false => Arc::clone(expr),
    });
    let partitioning = Partitioning::Hash(exprs.collect(), *partitions);
    Ok(Arc::new(RepartitionExec::try_new(Arc::clone(repartition.input()), partitioning)?))
}

/// Whether the node shares out rows by pseudonyms.
pub(super) fn is_used(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let partitioning = plan.downcast_ref::<RepartitionExec>().map(RepartitionExec::partitioning);
    matches!(partitioning, Some(Partitioning::Hash(exprs, _)) if exprs.iter().any(|expr| expr.is::<Pseudonym>()))
}

/// A keyed hash of a text; NULL for NULL.
#[derive(Debug)]
pub(super) struct Pseudonym(Arc<dyn PhysicalExpr>);

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pseudonym({})", self.0)
    }
}

impl PartialEq for Pseudonym {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq(&other.0)
    }
}

impl Eq for Pseudonym {}

impl Hash for Pseudonym {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PhysicalExpr for Pseudonym {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::UInt64)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.0.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let values = self.0.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(ColumnarValue::Array(pseudonyms(&values)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.0]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        match <[_; 1]>::try_from(children) {
            Ok([child]) => Ok(Arc::new(Self(child))),
            Err(_) => internal_err!("a pseudonym is of one value"),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn pseudonyms(values: &ArrayRef) -> Result<ArrayRef> {
    let texts =
        if *values.data_type() == DataType::Utf8View { Arc::clone(values) } else { cast(values, &DataType::Utf8View)? };
    let hashes: UInt64Array = texts.as_string_view().iter().map(|text| Some(KEY.hash_one(text?))).collect();
    Ok(Arc::new(hashes))
}
