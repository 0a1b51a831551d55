//! The barrier: the one node through which rows of a source with obligations reach a statement's plan.
//!
//! Below it the raw scan, inside it the leakproof conditions of the statement and the policy's row filter, then the
//! masks; above it the user's plan. What may pass it downwards is decided here and in [`crate::leakproof`]: nothing
//! else does, because a node that does not take part in push-down is where push-down ends.

mod opaque;
mod parts;
mod stream;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column};
use datafusion::physical_expr::utils::reassign_expr_columns;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, split_conjunction};
use datafusion::physical_plan::filter_pushdown::{ChildFilterDescription, FilterDescription, FilterPushdownPhase};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use weir_model::{SourceId, SourceName};

use crate::late::Late;
use crate::leakproof::is_leakproof_physical;
use crate::mask::CompiledMask;
pub(crate) use opaque::OpaqueScan;
pub(crate) use parts::{OutputPart, part_type};
use stream::BarrierStream;

type Expr = Arc<dyn PhysicalExpr>;

/// One column that leaves the barrier.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) field: Field,
    /// Where the original is, in the schema of the raw scan; absent when the mask does not read it.
    pub(crate) column: Option<usize>,
    /// The first whose condition holds masks the value; without one it is clear.
    pub(crate) masks: Vec<OutputMask>,
    /// What is inside of it and has masks of its own.
    pub(crate) parts: Vec<OutputPart>,
    /// The mask of a value that leaves as it is, to be masked above.
    pub(crate) late: Option<Arc<CompiledMask>>,
}

#[derive(Clone, Debug)]
pub(crate) struct OutputMask {
    pub(crate) value: MaskValue,
    /// Masks where this is true, everywhere when absent; over the schema of the raw scan.
    pub(crate) when: Option<Arc<dyn PhysicalExpr>>,
}

/// What stands in the place of a value. Everything speaks of the schema of the raw scan.
#[derive(Clone, Debug)]
pub(crate) enum MaskValue {
    Kernel {
        mask: Arc<CompiledMask>,
        /// The columns by which rows are told apart, where the mask needs them.
        row_key: Vec<usize>,
    },
    Computed(Arc<dyn PhysicalExpr>),
}

impl Output {
    /// Columns of the raw scan that this output is computed from.
    pub(crate) fn needs(&self) -> Result<BTreeSet<usize>> {
        let mut needed: BTreeSet<usize> = self.column.into_iter().collect();
        for mask in self.masks.iter().chain(self.parts.iter().flat_map(|part| &part.masks)) {
            if let Some(when) = &mask.when {
                columns_of(when, &mut needed)?;
            }
            match &mask.value {
                MaskValue::Kernel { row_key, .. } => needed.extend(row_key),
                MaskValue::Computed(expr) => columns_of(expr, &mut needed)?,
            }
        }
        Ok(needed)
    }

    /// The same output over a scan of fewer columns.
    pub(crate) fn over(&self, all: &Schema, scanned: &Schema) -> Result<Self> {
        let place = |column: usize| Ok::<_, DataFusionError>(scanned.index_of(all.field(column).name())?);
        self.moved(&place, &|expr| reassign_expr_columns(Arc::clone(expr), scanned))
    }

    /// The same output of columns that are at other places.
    pub(crate) fn moved(
        &self,
        place: &dyn Fn(usize) -> Result<usize>,
        expr: &dyn Fn(&Expr) -> Result<Expr>,
    ) -> Result<Self> {
        let mask = |OutputMask { value, when }: &OutputMask| {
            let when = when.as_ref().map(expr).transpose()?;
            let value = match value {
                MaskValue::Kernel { mask, row_key } => MaskValue::Kernel {
                    mask: Arc::clone(mask),
                    row_key: row_key.iter().map(|column| place(*column)).collect::<Result<_>>()?,
                },
                MaskValue::Computed(computed) => MaskValue::Computed(expr(computed)?),
            };
            Ok::<_, DataFusionError>(OutputMask { value, when })
        };
        let masks = self.masks.iter().map(mask).collect::<Result<_>>()?;
        let part = |part: &OutputPart| {
            let masks = part.masks.iter().map(mask).collect::<Result<_>>()?;
            Ok::<_, DataFusionError>(OutputPart { path: part.path.clone(), masks })
        };
        let parts = self.parts.iter().map(part).collect::<Result<_>>()?;
        let column = self.column.map(place).transpose()?;
        Ok(Self { field: self.field.clone(), column, masks, parts, late: self.late.clone() })
    }
}

/// Column indices that an expression reads.
pub(crate) fn columns_of(expr: &Arc<dyn PhysicalExpr>, into: &mut BTreeSet<usize>) -> Result<()> {
    expr.apply(|part| {
        if let Some(column) = part.downcast_ref::<Column>() {
            into.insert(column.index());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// What rows have to meet, over the schema of the input.
#[derive(Clone, Default)]
pub(crate) struct Conditions {
    /// Of the statement; leakproof.
    pub(crate) statement: Vec<Arc<dyn PhysicalExpr>>,
    /// The row filter.
    pub(crate) policy: Vec<Arc<dyn PhysicalExpr>>,
}

impl Conditions {
    /// The same over a scan of fewer columns.
    pub(crate) fn over(self, scanned: &Schema) -> Result<Self> {
        let narrow = |exprs: Vec<Arc<dyn PhysicalExpr>>| {
            exprs.into_iter().map(|expr| reassign_expr_columns(expr, scanned)).collect::<Result<_>>()
        };
        Ok(Self { statement: narrow(self.statement)?, policy: narrow(self.policy)? })
    }

    /// Those of the statement first: they cannot fail, and are usually more selective.
    fn all(&self) -> Option<Arc<dyn PhysicalExpr>> {
        let all = self.statement.iter().chain(&self.policy).cloned();
        all.reduce(|left, right| Arc::new(BinaryExpr::new(left, Operator::And, right)))
    }
}

/// What is read: one source, or several of one database together.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) ids: Arc<[SourceId]>,
    pub(crate) names: Arc<[SourceName]>,
}

impl Sources {
    pub(crate) fn one(id: SourceId, name: SourceName) -> Self {
        Self { ids: Arc::new([id]), names: Arc::new([name]) }
    }
}

/// A governed scan.
#[derive(Clone)]
pub(crate) struct BarrierExec {
    sources: Sources,
    input: Arc<dyn ExecutionPlan>,
    conditions: Conditions,
    /// All conditions; over the input's schema.
    predicate: Option<Arc<dyn PhysicalExpr>>,
    outputs: Vec<Output>,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl BarrierExec {
    /// `conditions` and `outputs` speak of the schema of `input`.
    pub(crate) fn new(
        sources: Sources,
        input: Arc<dyn ExecutionPlan>,
        conditions: Conditions,
        outputs: Vec<Output>,
        limit: Option<usize>,
    ) -> Result<Self> {
        let schema = Arc::new(Schema::new(outputs.iter().map(|output| output.field.clone()).collect::<Vec<_>>()));
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            input.output_partitioning().clone(),
            input.pipeline_behavior(),
            input.boundedness(),
        ));
        let predicate = conditions.all();
        Ok(Self { sources, input, conditions, predicate, outputs, limit, properties })
    }

    /// The sources whose rows come out of here.
    pub(crate) fn sources(&self) -> &Sources {
        &self.sources
    }

    pub(crate) fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    pub(crate) fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    pub(crate) fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    pub(crate) fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// The outputs whose masks may wait: those with one mask for every row, which asks for nothing but the value.
    pub(crate) fn can_wait(&self) -> BTreeMap<usize, Late> {
        let one = |output: &Output| match output.masks.as_slice() {
            [OutputMask { value: MaskValue::Kernel { mask, row_key }, when: None }]
                if row_key.is_empty() && output.parts.is_empty() && mask.can_wait() =>
            {
                Some(Late { mask: Arc::clone(mask), sources: Arc::clone(&self.sources.names) })
            }
            _ => None,
        };
        self.outputs.iter().enumerate().filter_map(|(place, output)| Some((place, one(output)?))).collect()
    }

    /// The same scan with the outputs `late` as they are.
    pub(crate) fn leaving(&self, late: &BTreeMap<usize, Late>) -> Result<Self> {
        let mut outputs = self.outputs.clone();
        for (place, Late { mask, .. }) in late {
            let Some(output) = outputs.get_mut(*place) else {
                return internal_err!("a governed scan has no such output");
            };
            output.masks.clear();
            output.late = Some(Arc::clone(mask));
        }
        let (sources, conditions) = (self.sources.clone(), self.conditions.clone());
        Self::new(sources, Arc::clone(&self.input), conditions, outputs, self.limit)
    }

    /// The outputs that leave as they are though they are to be masked.
    pub(crate) fn raw(&self) -> BTreeMap<usize, Late> {
        let names = &self.sources.names;
        let late = |output: &Output| Some(Late { mask: Arc::clone(output.late.as_ref()?), sources: Arc::clone(names) });
        self.outputs.iter().enumerate().filter_map(|(place, output)| Some((place, late(output)?))).collect()
    }

    /// Positions of the outputs whose values are the original ones.
    fn clear_outputs(&self) -> HashSet<usize> {
        let clear = |output: &Output| output.masks.is_empty() && output.parts.is_empty() && output.late.is_none();
        self.outputs.iter().enumerate().filter(|(_, output)| clear(output)).map(|(i, _)| i).collect()
    }
}

/// Says that there is a governed scan and nothing about it.
impl DisplayAs for BarrierExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GovernedScan")
    }
}

impl fmt::Debug for BarrierExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GovernedScan")
    }
}

impl ExecutionPlan for BarrierExec {
    fn name(&self) -> &'static str {
        "GovernedScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        if let Some(predicate) = &self.predicate {
            f(predicate)?;
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let (Some(input), true) = (children.pop(), children.is_empty()) else {
            return internal_err!("a governed scan has one input");
        };
        let (sources, conditions) = (self.sources.clone(), self.conditions.clone());
        Ok(Arc::new(Self::new(sources, input, conditions, self.outputs.clone(), self.limit)?))
    }

    fn gather_filters_for_pushdown(
        &self,
        phase: FilterPushdownPhase,
        parents: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        let clear = self.clear_outputs();
        let mut child = if parents.iter().all(|filter| is_leakproof_physical(filter, &clear)) {
            ChildFilterDescription::from_child_with_allowed_indices(&parents, clear, &self.input)?
        } else {
            ChildFilterDescription::all_unsupported(&parents)
        };
        // The own predicate goes down for pruning by statistics, page index and bloom filters; it is evaluated here
        // all the same.
        if phase == FilterPushdownPhase::Pre
            && let Some(predicate) = &self.predicate
        {
            child = child.with_self_filters(split_conjunction(predicate).into_iter().cloned().collect());
        }
        Ok(FilterDescription::new().with_child(child))
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    /// A coarse and inexact number of rows, for the order of joins. Neither exact counts nor bounds of columns leave.
    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        if let Some(rows) = inputs.first().and_then(|input| input.num_rows.get_value()) {
            let rows = if self.predicate.is_some() { rows / 5 } else { *rows };
            statistics.num_rows = Precision::Inexact(rows.next_power_of_two());
        }
        Ok(Arc::new(statistics))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut needed = BTreeSet::new();
        for output in &self.outputs {
            needed.append(&mut output.needs()?);
        }
        let kept: Vec<usize> = needed.into_iter().collect();
        let kept_schema: SchemaRef = Arc::new(self.input.schema().project(&kept)?);
        let raw = self.input.schema();
        let column = |output: &Output| {
            output.over(&raw, &kept_schema).map(|o| stream::Column {
                kept: o.column,
                data_type: o.field.data_type().clone(),
                masks: o.masks,
                parts: o.parts,
            })
        };
        let outputs = self.outputs.iter().map(column).collect::<Result<_>>()?;
        let batch_size = context.session_config().batch_size();
        let input = self.input.execute(partition, context)?;
        let shape = stream::Shape {
            names: Arc::clone(&self.sources.names),
            schema: self.schema(),
            kept,
            kept_schema,
            predicate: self.predicate.clone(),
            outputs,
        };
        Ok(Box::pin(BarrierStream::new(input, shape, batch_size, self.limit)))
    }
}
