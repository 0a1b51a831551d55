use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::kernels::zip::zip;
use datafusion::arrow::compute::{BatchCoalescer, cast, prep_null_mask_filter};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use datafusion::physical_expr::PhysicalExpr;
use futures::{Stream, StreamExt};
use weir_model::SourceName;

use super::parts::{Inner, OutputPart, Rows, mask_parts};
use super::{MaskValue, OutputMask};
use crate::fault::SourceFault;
use crate::mask::relaxed;

/// What the stream does with each batch.
pub(super) struct Shape {
    pub(super) names: Arc<[SourceName]>,
    /// Of what leaves.
    pub(super) schema: SchemaRef,
    /// Columns of the input that are needed once rows are filtered, ascending.
    pub(super) kept: Vec<usize>,
    pub(super) kept_schema: SchemaRef,
    pub(super) predicate: Option<Arc<dyn PhysicalExpr>>,
    pub(super) outputs: Vec<Column>,
}

pub(super) struct Column {
    /// Where the original is among the kept columns; absent when it is not read.
    pub(super) kept: Option<usize>,
    /// Of what leaves.
    pub(super) data_type: DataType,
    pub(super) masks: Vec<OutputMask>,
    pub(super) parts: Vec<OutputPart>,
}

/// Filters, gathers the rows that stay into full batches, then masks those.
pub(super) struct BarrierStream {
    input: SendableRecordBatchStream,
    shape: Shape,
    gathered: BatchCoalescer,
    /// Rows that may still leave.
    left: usize,
    input_done: bool,
}

impl BarrierStream {
    pub(super) fn new(input: SendableRecordBatchStream, shape: Shape, batch_size: usize, limit: Option<usize>) -> Self {
        let left = limit.unwrap_or(usize::MAX);
        let target = batch_size.min(left).max(1);
        let gathered = BatchCoalescer::new(Arc::clone(&shape.kept_schema), target)
            .with_biggest_coalesce_batch_size(Some(target / 2));
        Self { input, shape, gathered, left, input_done: false }
    }

    /// Takes one batch of raw rows; gives one straight back when nothing has to be gathered.
    fn take(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        let Some(predicate) = &self.shape.predicate else {
            return Ok(Some(batch.project(&self.shape.kept)?));
        };
        let keep = predicate.evaluate(batch)?.into_array(batch.num_rows())?;
        let keep = boolean(&keep)?;
        if self.shape.kept.is_empty() {
            let options = RecordBatchOptions::new().with_row_count(Some(keep.true_count()));
            return Ok(Some(RecordBatch::try_new_with_options(Arc::clone(&self.shape.kept_schema), vec![], &options)?));
        }
        self.gathered.push_batch_with_filter(batch.project(&self.shape.kept)?, keep)?;
        Ok(None)
    }

    /// Cuts to the limit and masks.
    fn finish(&mut self, kept: RecordBatch) -> Result<RecordBatch> {
        let kept = if kept.num_rows() > self.left { kept.slice(0, self.left) } else { kept };
        self.left -= kept.num_rows();
        let rows = kept.num_rows();
        let columns = self.shape.outputs.iter().map(|column| column.value(&kept)).collect::<Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.shape.schema), columns, &options)?)
    }

    fn next_batch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<RecordBatch>>> {
        loop {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            if let Some(batch) = self.gathered.next_completed_batch() {
                return Poll::Ready(Some(self.finish(batch)));
            }
            if self.input_done {
                return Poll::Ready(None);
            }
            match ready!(self.input.poll_next_unpin(cx)) {
                Some(Ok(batch)) => {
                    if let Some(kept) = self.take(&batch)?
                        && kept.num_rows() > 0
                    {
                        return Poll::Ready(Some(self.finish(kept)));
                    }
                }
                Some(Err(e)) => return Poll::Ready(Some(Err(e))),
                None => {
                    self.input_done = true;
                    self.gathered.finish_buffered_batch()?;
                }
            }
        }
    }
}

impl Column {
    fn value(&self, kept: &RecordBatch) -> Result<ArrayRef> {
        let original = match self.kept {
            None => None,
            Some(at) => {
                let missing = || internal_datafusion_err!("a column of a governed scan is missing");
                let read = kept.columns().get(at).ok_or_else(missing)?;
                Some(if self.is_masked() { relaxed(read)? } else { Arc::clone(read) })
            }
        };
        let rows = Rows::Each(kept);
        let value = masked(&self.masks, original.as_ref(), &self.data_type, &rows)?;
        if self.parts.is_empty() {
            return Ok(value);
        }
        let parts: Vec<Inner<'_>> = self.parts.iter().map(Inner::from).collect();
        mask_parts(&value, &parts, &rows)
    }

    fn is_masked(&self) -> bool {
        !self.masks.is_empty() || !self.parts.is_empty()
    }
}

/// What the first mask whose condition holds gives for each value; the original where none does.
pub(super) fn masked(
    masks: &[OutputMask],
    original: Option<&ArrayRef>,
    data_type: &DataType,
    rows: &Rows<'_>,
) -> Result<ArrayRef> {
    let original = || original.ok_or_else(|| internal_datafusion_err!("a column of a governed scan was not read"));
    let mut value: Option<ArrayRef> = None;
    for OutputMask { value: mask, when } in masks.iter().rev() {
        let masked = match mask {
            MaskValue::Kernel { mask, row_key } if mask.reads_values() => {
                mask.apply(original()?, &rows.row_key(row_key)?)?
            }
            MaskValue::Kernel { mask, .. } => mask.without_values(rows.count())?,
            MaskValue::Computed(expr) => {
                let computed = relaxed(&rows.computed(expr)?)?;
                if computed.data_type() == data_type { computed } else { cast(&computed, data_type)? }
            }
        };
        value = Some(match when {
            None => masked,
            Some(when) => {
                let behind = value.take().map_or_else(|| original().cloned(), Ok)?;
                zip(&null_as_false(&rows.hold(when)?), &masked, &behind)?
            }
        });
    }
    value.map_or_else(|| original().cloned(), Ok)
}

fn null_as_false(mask: &BooleanArray) -> BooleanArray {
    if mask.null_count() == 0 { mask.clone() } else { prep_null_mask_filter(mask) }
}

pub(super) fn boolean(array: &ArrayRef) -> Result<&BooleanArray> {
    array.as_boolean_opt().ok_or_else(|| internal_datafusion_err!("a condition of a governed scan is not boolean"))
}

impl Stream for BarrierStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Whatever went wrong down here may quote hidden values: only the source's name goes up.
        let names = Arc::clone(&self.shape.names);
        self.next_batch(cx).map_err(|cause| SourceFault::of(names, &cause).into())
    }
}

impl RecordBatchStream for BarrierStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.shape.schema)
    }
}
