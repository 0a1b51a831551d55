//! Tables that say themselves which files they are made of, and what columns are called in them.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, StructArray};
use datafusion::arrow::datatypes::{DataType as Arrow, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue, Statistics, internal_err};
use datafusion::datasource::file_format::FileFormat as _;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::{ColumnarValue, Expr, TableProviderFilterPushDown, TableType};
use datafusion::parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use datafusion::parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_adapter::{
    DefaultPhysicalExprAdapterFactory, PhysicalExprAdapter, PhysicalExprAdapterFactory,
};
use datafusion::physical_plan::ExecutionPlan;

use crate::planned::{FILES_URL, FileSet, SeenFile};

/// In the metadata of a field: the name, or the number, that it has in the files.
pub(crate) const BY_NAME: &str = "weir.name";
pub(crate) const BY_ID: &str = "weir.id";

/// One version of a table.
pub(crate) struct TableState {
    /// All columns.
    pub(crate) schema: SchemaRef,
    /// Those that are in the files, with what they are found by.
    pub(crate) data: SchemaRef,
    /// Those whose values belong to files as a whole.
    pub(crate) partitions: Vec<FieldRef>,
    pub(crate) files: Vec<DataFile>,
}

pub(crate) struct DataFile {
    pub(crate) seen: SeenFile,
    /// As many as the table has columns of the kind.
    pub(crate) partitions: Vec<ScalarValue>,
    /// Before some were deleted; absent where nothing says it.
    pub(crate) rows: Option<u64>,
    /// The numbers of rows that are deleted.
    pub(crate) deleted: Vec<u64>,
}

/// Scans Parquet files of such a table.
#[derive(Debug)]
pub(crate) struct MappedTable {
    schema: TableSchema,
    /// With what columns are found by.
    data: SchemaRef,
    files: Vec<PartitionedFile>,
    rows: Option<usize>,
}

impl MappedTable {
    /// The error says why it cannot be read.
    pub(crate) fn new(state: &TableState, set: &Arc<FileSet>) -> std::result::Result<Self, String> {
        let schema = TableSchema::builder(Arc::new(Schema::new(bare(state.data.fields()))));
        let partitions = state.partitions.iter().map(bare_field).collect::<Vec<_>>();
        let schema = schema.with_table_partition_cols(partitions).build();
        let mut rows = Some(0_u64);
        let mut files = Vec::with_capacity(state.files.len());
        for file in &state.files {
            let meta = set.meta_of(&file.seen.path).map_err(|e| e.to_string())?;
            let mut planned = PartitionedFile::from(meta);
            planned.partition_values.clone_from(&file.partitions);
            planned = planned.with_extension(Arc::clone(set));
            if !file.deleted.is_empty() {
                let told = file.rows.ok_or("it does not say how many rows a file has of which some are deleted")?;
                planned = planned.with_extension(ParquetRowSelection::new(left(told, &file.deleted)?));
            }
            let deleted = u64::try_from(file.deleted.len()).unwrap_or(u64::MAX);
            rows = rows.zip(file.rows).map(|(sum, rows)| sum.saturating_add(rows.saturating_sub(deleted)));
            files.push(planned);
        }
        let rows = rows.and_then(|rows| usize::try_from(rows).ok());
        Ok(Self { schema, data: Arc::clone(&state.data), files, rows })
    }
}

/// The rows that are left.
fn left(rows: u64, deleted: &[u64]) -> std::result::Result<RowSelection, &'static str> {
    let mut deleted = deleted.to_vec();
    deleted.sort_unstable();
    deleted.dedup();
    let beyond = "it deletes rows that its files do not have";
    let length = |rows: u64| usize::try_from(rows).map_err(|_| beyond);
    let (mut selectors, mut next) = (Vec::new(), 0);
    for row in deleted {
        selectors.push(RowSelector::select(length(row.saturating_sub(next))?));
        selectors.push(RowSelector::skip(1));
        next = row.checked_add(1).ok_or(beyond)?;
    }
    selectors.push(RowSelector::select(length(rows.checked_sub(next).ok_or(beyond)?)?));
    Ok(selectors.into_iter().collect())
}

#[async_trait]
impl TableProvider for MappedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let format = ParquetFormat::default().with_options(state.default_table_options().parquet);
        let source = ParquetSource::new(self.schema.clone());
        let mut statistics = Statistics::new_unknown(&self.schema());
        statistics.num_rows = self.rows.map_or(Precision::Absent, Precision::Inexact);
        let groups = FileGroup::new(self.files.clone()).split_files(state.config().target_partitions());
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(FILES_URL)?, Arc::new(source))
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_statistics(statistics)
            .with_expr_adapter(Some(Arc::new(Mapping(Arc::clone(&self.data)))))
            .build();
        // Keeps what it learns of the files.
        format.create_physical_plan(state, config).await
    }
}

/// Without metadata, so that what a plan is made of is what its nodes say of themselves.
fn bare(fields: &Fields) -> Fields {
    fields.iter().map(bare_field).collect()
}

fn bare_field(field: &FieldRef) -> FieldRef {
    Arc::new(Field::new(field.name(), bare_type(field.data_type()), field.is_nullable()))
}

fn bare_type(data_type: &Arrow) -> Arrow {
    match data_type {
        Arrow::Struct(fields) => Arrow::Struct(bare(fields)),
        Arrow::List(item) => Arrow::List(bare_field(item)),
        Arrow::Map(entries, sorted) => Arrow::Map(bare_field(entries), *sorted),
        other => other.clone(),
    }
}

/// Finds columns in files by what they are called there.
#[derive(Debug)]
struct Mapping(SchemaRef);

impl PhysicalExprAdapterFactory for Mapping {
    fn create(&self, logical: SchemaRef, physical: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let called = Arc::new(Schema::new(called(self.0.fields(), physical.fields())));
        let inner = DefaultPhysicalExprAdapterFactory.create(logical, Arc::clone(&called))?;
        Ok(Arc::new(MappedAdapter { inner, called, physical }))
    }
}

#[derive(Debug)]
struct MappedAdapter {
    inner: Arc<dyn PhysicalExprAdapter>,
    /// As the file, in the names of the table.
    called: SchemaRef,
    physical: SchemaRef,
}

impl PhysicalExprAdapter for MappedAdapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let adapted = self.inner.rewrite(expr)?;
        let named = adapted.transform_up(|part| {
            let Some(column) = part.downcast_ref::<Column>() else { return Ok(Transformed::no(part)) };
            let fields = (self.physical.fields().get(column.index()), self.called.fields().get(column.index()));
            let (Some(own), Some(called)) = fields else { return internal_err!("a column that a file does not have") };
            let found: Arc<dyn PhysicalExpr> = Arc::new(Column::new(own.name(), column.index()));
            Ok(Transformed::yes(match own.data_type() == called.data_type() {
                true => found,
                false => Arc::new(Called { input: found, data_type: called.data_type().clone() }),
            }))
        })?;
        Ok(named.data)
    }
}

/// The fields of a file in the names of the table, in the order of the file. One that the table does not have gets a name
/// that no column has.
fn called(logical: &Fields, physical: &Fields) -> Fields {
    let name = |(place, own): (usize, &FieldRef)| {
        let Some(field) = logical.iter().find(|field| is(field, own)) else {
            return Arc::new(own.as_ref().clone().with_name(format!("\0{place}")));
        };
        let data_type = type_called(field.data_type(), own.data_type());
        Arc::new(own.as_ref().clone().with_name(field.name()).with_data_type(data_type))
    };
    physical.iter().enumerate().map(name).collect()
}

/// Whether a field of a file is this one of the table.
fn is(field: &Field, own: &Field) -> bool {
    match (field.metadata().get(BY_ID), field.metadata().get(BY_NAME)) {
        (Some(id), _) => own.metadata().get(PARQUET_FIELD_ID_META_KEY) == Some(id),
        (None, Some(name)) => own.name() == name,
        (None, None) => own.name() == field.name(),
    }
}

fn type_called(logical: &Arrow, own: &Arrow) -> Arrow {
    let inner = |logical: &FieldRef, own: &FieldRef| {
        let data_type = type_called(logical.data_type(), own.data_type());
        Arc::new(own.as_ref().clone().with_data_type(data_type))
    };
    match (logical, own) {
        (Arrow::Struct(logical), Arrow::Struct(own)) => Arrow::Struct(called(logical, own)),
        (Arrow::List(logical), Arrow::List(own)) => Arrow::List(inner(logical, own)),
        (Arrow::Map(logical, _), Arrow::Map(own, sorted)) => {
            let (Arrow::Struct(pair), Arrow::Struct(own_pair)) = (logical.data_type(), own.data_type()) else {
                return Arrow::Map(Arc::clone(own), *sorted);
            };
            let pair: Fields = pair.iter().zip(own_pair).map(|(logical, own)| inner(logical, own)).collect();
            Arrow::Map(Arc::new(own.as_ref().clone().with_data_type(Arrow::Struct(pair))), *sorted)
        }
        (_, own) => own.clone(),
    }
}

/// The same values, with other names inside.
#[derive(Debug, Eq)]
struct Called {
    input: Arc<dyn PhysicalExpr>,
    data_type: Arrow,
}

impl PartialEq for Called {
    fn eq(&self, other: &Self) -> bool {
        self.input.eq(&other.input) && self.data_type == other.data_type
    }
}

impl Hash for Called {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.data_type.hash(state);
    }
}

impl fmt::Display for Called {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.input)
    }
}

impl PhysicalExpr for Called {
    fn data_type(&self, _: &Schema) -> Result<Arrow> {
        Ok(self.data_type.clone())
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.input.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let values = self.input.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(ColumnarValue::Array(relabelled(&values, &self.data_type)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.input]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let (Some(input), true) = (children.pop(), children.is_empty()) else {
            return internal_err!("names are given to one column");
        };
        Ok(Arc::new(Self { input, data_type: self.data_type.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.input.fmt_sql(f)
    }
}

fn relabelled(values: &ArrayRef, data_type: &Arrow) -> Result<ArrayRef> {
    if values.data_type() == data_type {
        return Ok(Arc::clone(values));
    }
    let of_struct = |values: &StructArray, fields: &Fields| -> Result<StructArray> {
        let inner = values.columns().iter().zip(fields).map(|(values, field)| relabelled(values, field.data_type()));
        Ok(StructArray::try_new(fields.clone(), inner.collect::<Result<_>>()?, values.nulls().cloned())?)
    };
    Ok(match (values.data_type(), data_type) {
        (Arrow::Struct(_), Arrow::Struct(fields)) => Arc::new(of_struct(values.as_struct(), fields)?),
        (Arrow::List(_), Arrow::List(item)) => {
            let list = values.as_list::<i32>();
            let inner = relabelled(list.values(), item.data_type())?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Arc::new(ListArray::try_new(Arc::clone(item), offsets, inner, nulls)?)
        }
        (Arrow::Map(..), Arrow::Map(entries, sorted)) => {
            let (map, Arrow::Struct(fields)) = (values.as_map(), entries.data_type()) else {
                return internal_err!("a map without entries");
            };
            let (inner, nulls) = (of_struct(map.entries(), fields)?, map.nulls().cloned());
            Arc::new(MapArray::try_new(Arc::clone(entries), map.offsets().clone(), inner, nulls, *sorted)?)
        }
        (own, _) => return internal_err!("{own} has no names inside"),
    })
}
