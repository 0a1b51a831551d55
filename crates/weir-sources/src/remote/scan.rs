//! One query on one database, as a leaf of a plan: its rows are read as they come, a batch at a time.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use weir_model::DatabaseKind;

use super::pool::Pool;
use super::sql::{For, Param, Sql};
use super::table::Base;

/// A column of the answer.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// A sum of whole numbers with as many digits as it needs.
    pub(super) sum: bool,
    /// A value that the type does not have is NULL instead of an error: nobody sees it, and nobody is to hear of it.
    pub(super) lenient: bool,
}

/// What a session is asked.
pub(super) struct Query {
    pub(super) text: String,
    pub(super) params: Vec<Param>,
    pub(super) sent: Arc<[Sent]>,
    pub(super) schema: SchemaRef,
    pub(super) batch_rows: usize,
}

/// An answer. It ends without an error only when the database has said that there are no more rows.
pub(super) type Rows = BoxStream<'static, Result<RecordBatch>>;

/// A query on a remote database.
#[derive(Clone)]
pub struct RemoteScan {
    pool: Arc<Pool>,
    sql: Sql,
    sent: Arc<[Sent]>,
    /// Of what it is a scan, when nothing else is asked.
    base: Option<Base>,
    rows: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl RemoteScan {
    pub(super) fn new(pool: Arc<Pool>, sql: Sql, (fields, sent): (Vec<Field>, Vec<Sent>), rows: Option<usize>) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(Arc::new(Schema::new(fields))),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Self { pool, sql, sent: sent.into(), base: None, rows, properties }
    }

    pub(super) fn over(self, base: Base) -> Self {
        Self { base: Some(base), ..self }
    }

    /// The table that is scanned, when nothing else is asked.
    pub fn base(&self) -> Option<&Base> {
        self.base.as_ref()
    }

    /// What is sent, for those who govern: the text, then what its parameters stand for.
    pub fn told(&self) -> Vec<String> {
        let kind = self.pool.kind();
        let (text, params) = self.sql.rendered(kind, For::Governors);
        let sign = if kind == DatabaseKind::Postgresql { '$' } else { '?' };
        let params = params.iter().enumerate().map(|(number, param)| format!("  {sign}{} = {param}", number + 1));
        std::iter::once(format!("{}: {text}", self.pool.name())).chain(params).collect()
    }
}

/// Says that a database is asked, and nothing about what.
impl DisplayAs for RemoteScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RemoteScan")
    }
}

impl fmt::Debug for RemoteScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RemoteScan")
    }
}

impl ExecutionPlan for RemoteScan {
    fn name(&self) -> &'static str {
        "RemoteScan"
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

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        if let Some(rows) = self.rows {
            statistics.num_rows = Precision::Inexact(rows);
        }
        Ok(Arc::new(statistics))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("a query on a database has one stream");
        }
        let schema = self.schema();
        let (text, params) = self.sql.rendered(self.pool.kind(), For::Database);
        let batch_rows = context.session_config().batch_size().max(1);
        let (pool, sent) = (Arc::clone(&self.pool), Arc::clone(&self.sent));
        let query = Query { text, params, sent, schema: Arc::clone(&schema), batch_rows };
        let rows = async move { pool.lease().await.map_err(|e| failed(e.to_string()))?.rows(query).await };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::once(rows).try_flatten())))
    }
}

pub(super) fn failed(why: String) -> DataFusionError {
    DataFusionError::External(why.into())
}
