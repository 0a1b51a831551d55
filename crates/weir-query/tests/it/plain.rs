//! Plain DataFusion over the visible copies: no policy, no barrier, no files.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::CatalogProvider as _;
use datafusion::catalog::{MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider};
use datafusion::common::DataFusionError;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use weir_model::SourceId;
use weir_testkit::Row;
use weir_testkit::cell::to_batch;
use weir_testkit::generate::World;

use crate::asking::{Answer, Kind, refused};

/// A session in which the tables hold what one person sees.
pub(crate) struct Plain(SessionContext);

impl Plain {
    pub(crate) fn new(world: &World, visible: &BTreeMap<SourceId, Vec<Row>>) -> Self {
        let config = SessionConfig::new()
            .with_target_partitions(2)
            .with_default_catalog_and_schema("weir", "public")
            .set_str("datafusion.sql_parser.dialect", "PostgreSQL");
        let context = SessionContext::new_with_config(config);
        let catalog = Arc::new(MemoryCatalogProvider::new());
        for source in &world.facts.sources {
            let Some(rows) = visible.get(&source.id) else { continue };
            let schema = match catalog.schema(source.name.schema()) {
                Some(schema) => schema,
                None => {
                    let schema = Arc::new(MemorySchemaProvider::new());
                    catalog.register_schema(source.name.schema(), schema.clone()).expect("a schema");
                    schema as Arc<dyn SchemaProvider>
                }
            };
            let batch = with_views(&to_batch(source, rows));
            let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).expect("a table");
            schema.register_table(source.name.table().to_owned(), Arc::new(table)).expect("a new table");
        }
        context.register_catalog("weir", catalog);
        Self(context)
    }

    pub(crate) async fn ask(&self, sql: &str) -> Answer {
        let frame = match self.0.sql(sql).await {
            Ok(frame) => frame,
            Err(e) => return failed(&e, Kind::Planning),
        };
        let plan = match frame.create_physical_plan().await {
            Ok(plan) => plan,
            // The optimiser computes constants, so that data errors come here too.
            Err(e) => return failed(&e, if is_of_data(&e) { Kind::Data } else { Kind::Planning }),
        };
        let schema = plan.schema();
        match datafusion::physical_plan::collect(plan, self.0.task_ctx()).await {
            Ok(batches) => Answer::of_batches(&schema, &batches),
            Err(e) => failed(&e, Kind::Data),
        }
    }
}

fn is_of_data(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ArrowError(..) | DataFusionError::Execution(_))
}

fn failed(error: &DataFusionError, kind: Kind) -> Answer {
    refused(kind, &error.strip_backtrace(), "")
}

/// Text as the Parquet reader gives it.
fn with_views(batch: &RecordBatch) -> RecordBatch {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| match field.data_type() {
        DataType::Utf8 => {
            let views: ArrayRef = cast(column, &DataType::Utf8View).expect("views of text");
            (Arc::new(Field::new(field.name(), DataType::Utf8View, true)), views)
        }
        _ => (Arc::clone(field), Arc::clone(column)),
    });
    let (fields, columns): (Vec<_>, Vec<_>) = columns.unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("the same batch")
}
