//! The node that masks what left its barrier as it was.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use futures::StreamExt;

use super::Late;
use crate::fault::SourceFault;

pub(super) struct LateMaskExec {
    input: Arc<dyn ExecutionPlan>,
    /// By column.
    masks: Arc<BTreeMap<usize, Late>>,
    properties: Arc<PlanProperties>,
}

impl LateMaskExec {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, masks: BTreeMap<usize, Late>) -> Self {
        Self::over(input, Arc::new(masks))
    }

    fn over(input: Arc<dyn ExecutionPlan>, masks: Arc<BTreeMap<usize, Late>>) -> Self {
        // Nothing below says anything of the order or equality of originals: saying it takes looking at them. What is
        // said of other columns still holds, and nodes above rely on it.
        let properties = Arc::new(PlanProperties::new(
            input.equivalence_properties().clone(),
            input.output_partitioning().clone(),
            input.pipeline_behavior(),
            input.boundedness(),
        ));
        Self { input, masks, properties }
    }

    pub(super) fn masked(&self) -> &BTreeMap<usize, Late> {
        &self.masks
    }
}

/// Says that something is masked and nothing about it.
impl DisplayAs for LateMaskExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GovernedMask")
    }
}

impl fmt::Debug for LateMaskExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GovernedMask")
    }
}

impl ExecutionPlan for LateMaskExec {
    fn name(&self) -> &'static str {
        "GovernedMask"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self::over(input, Arc::clone(&self.masks)))),
            _ => internal_err!("a late mask has one input"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let masks = Arc::clone(&self.masks);
        let masked = self.input.execute(partition, context)?.map(move |batch| masked(&batch?, &masks));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), masked)))
    }
}

fn masked(batch: &RecordBatch, masks: &BTreeMap<usize, Late>) -> Result<RecordBatch> {
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    for (place, Late { mask, sources }) in masks {
        let Some(column) = columns.get_mut(*place) else { return internal_err!("a late mask of no column") };
        *column = mask.apply(column, &[]).map_err(|cause| SourceFault::of(Arc::clone(sources), &cause))?;
    }
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}
