//! One query on one database, as a leaf of a plan: its rows are read as they come, a batch at a time.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
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
use futures::{StreamExt, TryStreamExt};
use tokio_postgres::RowStream;
use tokio_postgres::types::{FromSql, Type};

use super::pool::{Lease, Pool, chain};
use super::sql::Param;
use super::table::Base;
use super::wire::{Column, Unread, Wire};

/// A batch ends when its values take so many bytes, however few rows it has.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// A column of the answer.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) wire: Wire,
    /// A value that the type does not have is NULL instead of an error: nobody sees it, and nobody is to hear of it.
    pub(super) lenient: bool,
}

/// A query on a remote database.
#[derive(Clone)]
pub struct RemoteScan {
    pool: Arc<Pool>,
    text: String,
    params: Vec<Param>,
    sent: Arc<[Sent]>,
    /// Of what it is a scan, when nothing else is asked.
    base: Option<Base>,
    rows: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl RemoteScan {
    pub(super) fn new(
        pool: Arc<Pool>,
        (text, params): (String, Vec<Param>),
        (fields, sent): (Vec<Field>, Vec<Sent>),
        rows: Option<usize>,
    ) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(Arc::new(Schema::new(fields))),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Self { pool, text, params, sent: sent.into(), base: None, rows, properties }
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
        let params = self.params.iter().enumerate().map(|(number, param)| format!("  ${} = {param}", number + 1));
        std::iter::once(format!("{}: {}", self.pool.name(), self.text)).chain(params).collect()
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
        let (scan, rows) = (self.clone(), context.session_config().batch_size().max(1));
        let opened = futures::stream::once(async move { Answer::open(&scan, rows).await });
        let batches = opened.map_ok(|answer| {
            futures::stream::try_unfold(answer, |mut answer| async move {
                Ok(answer.batch().await?.map(|batch| (batch, answer)))
            })
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches.try_flatten())))
    }
}

/// The rows of an answer that is on its way.
struct Answer {
    // Before the lease, which is not busy any more when they have ended.
    rows: std::pin::Pin<Box<RowStream>>,
    lease: Lease,
    schema: SchemaRef,
    sent: Arc<[Sent]>,
    columns: Vec<Column>,
    batch_rows: usize,
    begun: bool,
    ended: bool,
}

fn failed(why: String) -> DataFusionError {
    DataFusionError::External(why.into())
}

impl Answer {
    async fn open(scan: &RemoteScan, batch_rows: usize) -> Result<Self> {
        let mut columns = Vec::with_capacity(scan.sent.len());
        let schema = scan.schema();
        for (sent, field) in scan.sent.iter().zip(schema.fields()) {
            match Column::new(sent.wire, field.data_type(), batch_rows) {
                Some(column) => columns.push(column),
                None => return internal_err!("column `{}` is sent as what it is not", field.name()),
            }
        }
        let mut lease = scan.pool.lease().await.map_err(|e| failed(e.to_string()))?;
        let params = scan.params.iter().map(|param| (param, param.sql_type()));
        let client = lease.begin().map_err(|e| failed(e.to_string()))?;
        let rows = client.query_typed_raw(&scan.text, params).await.map_err(|e| failed(chain(&e)))?;
        let sent = Arc::clone(&scan.sent);
        Ok(Self { rows: Box::pin(rows), lease, schema, sent, columns, batch_rows, begun: false, ended: false })
    }

    /// The next rows; nothing once the database has said that there are no more.
    async fn batch(&mut self) -> Result<Option<RecordBatch>> {
        let (mut rows, mut bytes) = (0, 0);
        while !self.ended && rows < self.batch_rows && bytes < BATCH_BYTES_MAX {
            let Some(row) = self.rows.next().await else {
                self.ended = true;
                self.lease.done();
                break;
            };
            let row = row.map_err(|e| failed(chain(&e)))?;
            if !self.begun {
                self.check(row.columns().iter().map(tokio_postgres::Column::type_))?;
                self.begun = true;
            }
            bytes += row.raw_size_bytes();
            for (number, (column, sent)) in self.columns.iter_mut().zip(self.sent.iter()).enumerate() {
                let value: Option<Raw<'_>> = row.try_get(number).map_err(|e| failed(chain(&e)))?;
                match column.add(value.map(|Raw(bytes)| bytes)) {
                    Ok(()) => {}
                    Err(Unread::OutOfType) if sent.lenient => column.add_null(),
                    Err(why) => {
                        let name = self.schema.fields().get(number).map_or("", |field| field.name());
                        let why = match why {
                            Unread::OutOfType => "has a value that its type here does not have",
                            Unread::Malformed => "was not sent as its type",
                        };
                        return Err(failed(format!("column `{name}` {why}")));
                    }
                }
            }
            rows += 1;
        }
        if rows == 0 {
            return Ok(None);
        }
        let columns = self.columns.iter_mut().map(Column::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(Some(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?))
    }

    /// That the answer has the columns that it was asked for.
    fn check<'a>(&self, mut types: impl ExactSizeIterator<Item = &'a Type>) -> Result<()> {
        let expected = self.sent.iter().map(|sent| sent.wire.sql_type());
        if types.len() == self.sent.len() && expected.zip(&mut types).all(|(expected, found)| expected == *found) {
            return Ok(());
        }
        Err(failed("the answer has columns of other types than the table had".to_owned()))
    }
}

/// The bytes of a value.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
