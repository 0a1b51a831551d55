//! Delta tables: the newest version of one, from its log.

mod engine;

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType as Arrow, Field, Schema};
use datafusion::common::ScalarValue;
use delta_kernel::engine::arrow_conversion::TryIntoArrow as _;
use delta_kernel::scan::state::ScanFile;
use delta_kernel::table_features::ColumnMappingMode;
use delta_kernel::{KernelError, KernelResult, Snapshot};
use tokio::runtime::Handle;
use url::Url;

use crate::error::SourceError;
use crate::mapped::{BY_ID, BY_NAME, DataFile, TableState};
use crate::planned::{SeenFile, Tag};
use crate::stores::Place;
use engine::Reading;

/// The folder of the log in that of the table.
pub(crate) const LOG: &str = "_delta_log";
/// Where the names that files have are said, and their numbers.
const PHYSICAL_NAME: &str = "delta.columnMapping.physicalName";
const PHYSICAL_ID: &str = "delta.columnMapping.id";

/// The newest version of the table in the folder.
pub(crate) async fn newest(place: &Place) -> Result<TableState, SourceError> {
    let reading = Reading { place: place.clone(), threads: Handle::current() };
    let failed = |why: String| SourceError::Malformed { path: place.shown.clone(), format: "delta", why };
    let read = tokio::task::spawn_blocking(move || read(&reading)).await;
    read.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))
}

fn read(reading: &Reading) -> KernelResult<TableState> {
    let root = reading.root()?;
    let snapshot = Snapshot::builder_for(root.as_str()).build(reading)?;
    let mode = snapshot.table_properties().column_mapping_mode.unwrap_or(ColumnMappingMode::None);
    let logical: Schema = snapshot.schema().as_ref().try_into_arrow()?;
    let scan = snapshot.scan_builder().build()?;
    let physical: Schema = scan.physical_schema().as_ref().try_into_arrow()?;
    let mut found: Vec<ScanFile> = Vec::new();
    for part in scan.scan_metadata(reading)? {
        found = part?.visit_scan_files(found, |found, file| found.push(file))?;
    }
    // What is not in the files is said in the log.
    let in_files =
        |field: &Field| physical.fields().iter().any(|physical| physical.name() == name_in_files(field, mode));
    let (data, partitions): (Vec<_>, Vec<_>) = logical.fields().iter().cloned().partition(|field| in_files(field));
    let mapped = data.iter().map(|field| mapped(field, mode)).collect::<KernelResult<Vec<_>>>()?;
    let files = found.into_iter().map(|file| data_file(reading, &root, file, &partitions, mode));
    let files = files.collect::<KernelResult<_>>()?;
    Ok(TableState { schema: Arc::new(logical.clone()), data: Arc::new(Schema::new(mapped)), partitions, files })
}

fn name_in_files(field: &Field, mode: ColumnMappingMode) -> &str {
    match mode {
        ColumnMappingMode::None => field.name(),
        ColumnMappingMode::Id | ColumnMappingMode::Name => {
            field.metadata().get(PHYSICAL_NAME).unwrap_or_else(|| field.name())
        }
    }
}

/// The column with what it is found by in the files, and all that is inside of it.
fn mapped(field: &Field, mode: ColumnMappingMode) -> KernelResult<Field> {
    let inner = |field: &Arc<Field>| mapped(field, mode).map(Arc::new);
    let data_type = match field.data_type() {
        Arrow::Struct(fields) => Arrow::Struct(fields.iter().map(inner).collect::<KernelResult<_>>()?),
        Arrow::List(item) => Arrow::List(plain(item, mode)?),
        Arrow::Map(entries, sorted) => Arrow::Map(plain(entries, mode)?, *sorted),
        other => other.clone(),
    };
    let found_by = match mode {
        ColumnMappingMode::None => HashMap::new(),
        ColumnMappingMode::Name => HashMap::from([(BY_NAME.to_owned(), name_in_files(field, mode).to_owned())]),
        ColumnMappingMode::Id => {
            let id = field.metadata().get(PHYSICAL_ID);
            let id = id.ok_or_else(|| KernelError::generic(format!("column `{}` has no id", field.name())))?;
            HashMap::from([(BY_ID.to_owned(), id.clone())])
        }
    };
    Ok(Field::new(field.name(), data_type, field.is_nullable()).with_metadata(found_by))
}

/// Items of lists and entries of maps go by their place.
fn plain(field: &Arc<Field>, mode: ColumnMappingMode) -> KernelResult<Arc<Field>> {
    let data_type = match field.data_type() {
        Arrow::Struct(fields) => {
            // Those of a map's entry have no names of their own.
            let entry = fields.iter().all(|field| !field.metadata().contains_key(PHYSICAL_NAME));
            let inner = |field: &Arc<Field>| match entry {
                true => plain(field, mode),
                false => mapped(field, mode).map(Arc::new),
            };
            Arrow::Struct(fields.iter().map(inner).collect::<KernelResult<_>>()?)
        }
        Arrow::List(item) => Arrow::List(plain(item, mode)?),
        Arrow::Map(entries, sorted) => Arrow::Map(plain(entries, mode)?, *sorted),
        other => other.clone(),
    };
    Ok(Arc::new(Field::new(field.name(), data_type, field.is_nullable())))
}

fn data_file(
    reading: &Reading,
    root: &Url,
    file: ScanFile,
    partitions: &[Arc<Field>],
    mode: ColumnMappingMode,
) -> KernelResult<DataFile> {
    let path = reading.path(&root.join(&file.path)?)?;
    let size = u64::try_from(file.size).map_err(|_| KernelError::generic(format!("`{path}` has no size")))?;
    let partitions = partitions.iter().map(|field| {
        let value = file.partition_values.get(name_in_files(field, mode)).filter(|value| !value.is_empty());
        let value = match value {
            Some(value) => ScalarValue::try_from_string(value.clone(), field.data_type()),
            None => ScalarValue::try_from(field.data_type()),
        };
        value.map_err(|_| KernelError::generic(format!("`{}` of `{path}` is no {}", field.name(), field.data_type())))
    });
    let partitions = partitions.collect::<Result<_, KernelError>>()?;
    let rows = file.stats.as_ref().map(|stats| stats.num_records);
    let deleted = file.dv_info.get_row_indexes(reading, root)?.unwrap_or_default();
    // The log does not say what tells versions of a file apart; they are never written again.
    Ok(DataFile { seen: SeenFile { path, size, tag: Tag::default() }, partitions, rows, deleted })
}
