//! Plain DataFusion over the visible copies: no policy, no barrier, no files.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList as _, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider,
    SchemaProvider,
};
use datafusion::common::DataFusionError;
use datafusion::datasource::MemTable;
use datafusion::execution::session_state::SessionState;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::pg_catalog::setup_pg_catalog;
use futures::FutureExt as _;
use weir_model::{FileFormat, Location, SourceId};
use weir_query::Statement;
use weir_testkit::Row;
use weir_testkit::cell::to_batch;
use weir_testkit::generate::World;

use crate::altered::Alteration;
use crate::asking::{Answer, Kind, panicked, refused};

/// The tables hold what one person sees.
pub(crate) struct Plain {
    catalog: Arc<MemoryCatalogProvider>,
    session: SessionContext,
}

impl Plain {
    pub(crate) fn new(world: &World, visible: &BTreeMap<SourceId, Vec<Row>>) -> Self {
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
            let batch = as_read(&to_batch(source, rows), &source.location);
            let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).expect("a table");
            schema.register_table(source.name.table().to_owned(), Arc::new(table)).expect("a new table");
        }
        Self { session: session(TEMPLATE.clone(), catalog.clone()), catalog }
    }

    pub(crate) async fn ask(&self, sql: &str) -> Answer {
        answer(&self.session, sql).await
    }

    /// A second opinion: the same without the rules that move conditions, which are wrong at times.
    pub(crate) async fn ask_carefully(&self, sql: &str) -> Answer {
        let session = session(TEMPLATE.clone(), self.catalog.clone());
        for rule in ["push_down_filter", "eliminate_outer_join"] {
            assert!(session.remove_optimizer_rule(rule), "the engine has no rule `{rule}` any more");
        }
        answer(&session, sql).await
    }

    /// And one with the settings and rules that the governed engine has.
    pub(crate) async fn ask_altered(&self, sql: &str, alteration: &Alteration) -> Answer {
        answer(&session(alteration.of(TEMPLATE.clone()), self.catalog.clone()), sql).await
    }
}

/// Functions, rules and settings, with no table.
pub(crate) static TEMPLATE: LazyLock<SessionState> = LazyLock::new(|| {
    let config = SessionConfig::new()
        .with_target_partitions(2)
        .with_default_catalog_and_schema("weir", "public")
        .set_str("datafusion.sql_parser.dialect", "PostgreSQL")
        .set_str("datafusion.execution.time_zone", "+00:00")
        .set_bool("datafusion.optimizer.enable_leaf_expression_pushdown", false);
    let context = SessionContext::new_with_config(config);
    setup_pg_catalog(&context, "weir", EmptyContextProvider).expect("functions of PostgreSQL");
    context.state()
});

fn session(mut state: SessionState, catalog: Arc<dyn CatalogProvider>) -> SessionContext {
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog("weir".to_owned(), catalog);
    state.register_catalog_list(Arc::new(catalogs));
    SessionContext::new_with_state(state)
}

pub(crate) async fn answer(session: &SessionContext, sql: &str) -> Answer {
    match AssertUnwindSafe(asked(session, sql)).catch_unwind().await {
        Ok(answer) => answer,
        Err(panic) => panicked(panic.as_ref()),
    }
}

async fn asked(session: &SessionContext, sql: &str) -> Answer {
    let frame = match session.sql(sql).await {
        Ok(frame) => frame,
        Err(e) => return failed(&e, Kind::Planning),
    };
    let plan = match frame.create_physical_plan().await {
        Ok(plan) => plan,
        // The optimiser computes constants, so that data errors come here too.
        Err(e) => return failed(&e, if is_of_data(&e) { Kind::Data } else { Kind::Planning }),
    };
    let schema = named(sql, plan.schema());
    match datafusion::physical_plan::collect(plan, session.task_ctx()).await {
        Ok(batches) => Answer::of_batches(&schema, &batches),
        Err(e) => failed(&e, Kind::Data),
    }
}

/// Weir gives results the names that PostgreSQL does.
fn named(sql: &str, schema: SchemaRef) -> SchemaRef {
    match weir_query::parse(sql).as_deref() {
        Ok([Statement::Query(query)]) => query.named(&schema),
        _ => schema,
    }
}

fn is_of_data(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ArrowError(..) | DataFusionError::Execution(_))
}

fn failed(error: &DataFusionError, kind: Kind) -> Answer {
    let text = error.strip_backtrace();
    let is_defect = matches!(error.find_root(), DataFusionError::Internal(_))
        || text.starts_with("SanityCheckPlan")
        || text.contains("panicked with message");
    refused(if is_defect { Kind::Other } else { kind }, &text, "")
}

/// Text in the layout in which the files of the location are read: the engine has its troubles with each.
fn as_read(batch: &RecordBatch, location: &Location) -> RecordBatch {
    let Location::Files { format, partitions, .. } = location else { return batch.clone() };
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        let is_view = *format == FileFormat::Parquet && partitions.iter().all(|p| p.name.as_str() != field.name());
        if !is_view {
            return (Arc::clone(field), Arc::clone(column));
        }
        let field = viewed(field);
        let views: ArrayRef = cast(column, field.data_type()).expect("views of text");
        (field, views)
    });
    let (fields, columns): (Vec<_>, Vec<_>) = columns.unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("the same batch")
}

/// With views in the place of text.
fn viewed(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Utf8 => DataType::Utf8View,
        DataType::List(item) => DataType::List(viewed(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(viewed).collect::<Fields>()),
        other => other.clone(),
    };
    Arc::new(Field::new(field.name(), data_type, true))
}
