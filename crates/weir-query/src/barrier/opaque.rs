//! The stand-in of a governed scan in a plan that is shown and not run.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use weir_model::DataSource;

/// A leaf of which nothing is known but columns, and the statement's own conditions that pass the barrier. Not how many
/// rows or files there are: the plan above it would tell.
pub(crate) struct OpaqueScan {
    text: String,
    properties: Arc<PlanProperties>,
}

impl OpaqueScan {
    pub(crate) fn new(
        source: &DataSource,
        schema: SchemaRef,
        conditions: &[Expr],
        limit: Option<usize>,
        partitions: usize,
    ) -> Self {
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let mut text = format!("GovernedScan: {}, columns=[{}]", source.name, columns.join(", "));
        if !conditions.is_empty() {
            let conditions: Vec<String> = conditions.iter().map(ToString::to_string).collect();
            text.push_str(&format!(", conditions=[{}]", conditions.join(", ")));
        }
        if let Some(limit) = limit {
            text.push_str(&format!(", limit={limit}"));
        }
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Self { text, properties }
    }
}

impl DisplayAs for OpaqueScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for OpaqueScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl ExecutionPlan for OpaqueScan {
    fn name(&self) -> &'static str {
        "GovernedScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        internal_err!("a plan that is to be shown was run")
    }
}
