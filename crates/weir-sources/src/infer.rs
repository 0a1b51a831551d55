//! What is at a path or a URL: format, columns, partition folders. For registering a source.

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::execution::SessionStateBuilder;
use weir_model::{ColumnName, DataType, FileFormat, Location, PartitionColumn, StoreConnection};

use crate::delta;
use crate::error::SourceError;
use crate::files::{list, of_format, options, url};
use crate::planned::{Planned, SeenFile};
use crate::stores::{Place, Stores};
use crate::types::model_type;

/// A location with all the columns found there, partition columns last.
#[derive(Clone, Debug)]
pub struct Inferred {
    pub location: Location,
    pub columns: Vec<InferredColumn>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct InferredColumn {
    pub name: ColumnName,
    pub data_type: DataType,
    pub nullable: bool,
}

/// Looks at the files at or below `path`. Without a `format`, file names tell it.
pub async fn infer(path: &Path, format: Option<FileFormat>) -> Result<Inferred, SourceError> {
    let path = std::path::absolute(path).map_err(|cause| SourceError::Unreadable { path: path.to_owned(), cause })?;
    let location = |format, partitions| Location::Files { format, path: path.clone(), partitions };
    at(Place::local(path.clone())?, format, location).await
}

/// Looks at what a URL names, at or below what the connection leads to. That of a folder ends with a slash.
pub async fn infer_objects(
    connection: StoreConnection,
    url: &str,
    format: Option<FileFormat>,
) -> Result<Inferred, SourceError> {
    let (stores, name) = (Stores::default(), connection.name.clone());
    let place = Place::of(stores.open(connection)?, url)?;
    let location = |format, partitions| Location::Objects { connection: name, format, url: url.to_owned(), partitions };
    at(place, format, location).await
}

async fn at(
    place: Place,
    format: Option<FileFormat>,
    location: impl FnOnce(FileFormat, Vec<PartitionColumn>) -> Location,
) -> Result<Inferred, SourceError> {
    let format = match format {
        Some(format) => format,
        None => guess_format(&place).await?,
    };
    if format == FileFormat::Delta {
        let state = delta::newest(&place).await?;
        let columns = columns(&place, &state.schema)?;
        return Ok(Inferred { location: location(format, Vec::new()), columns });
    }
    let files = list(&place, &format).await?;
    let partitions = if place.folder { partition_columns(&place, &files)? } else { Vec::new() };
    let state = SessionStateBuilder::new().with_default_features().build();
    let planned: Arc<Planned> = Arc::default();
    planned.register(state.runtime_env());
    let set = planned.add(&place, files);
    let malformed = |path: std::path::PathBuf, e: datafusion::error::DataFusionError| SourceError::Malformed {
        path,
        format: format.as_str(),
        why: e.strip_backtrace(),
    };
    // File by file first, so that a message names the file that is cut off.
    for file in set.paths() {
        let url = url(&set, &place, file, false)?;
        let found = options(&state, &format, true).infer_schema(&state, &url).await;
        found.map_err(|e| malformed(place.shown_as(file), e))?;
    }
    let all = url(&set, &place, &place.path, place.folder)?;
    let schema = options(&state, &format, !place.folder).infer_schema(&state, &all).await;
    let schema = schema.map_err(|e| malformed(place.shown.clone(), e))?;
    let mut columns = columns(&place, &schema)?;
    for partition in &partitions {
        columns.push(InferredColumn {
            name: partition.name.clone(),
            data_type: partition.data_type.clone(),
            nullable: true,
        });
    }
    Ok(Inferred { location: location(format, partitions), columns })
}

/// In the order of the schema.
fn columns(place: &Place, schema: &Schema) -> Result<Vec<InferredColumn>, SourceError> {
    let path = &place.shown;
    let named =
        |name: &str| ColumnName::new(name).map_err(|cause| SourceError::ColumnName { path: path.clone(), cause });
    let mut columns = Vec::new();
    for field in schema.fields() {
        let unsupported = || SourceError::UnsupportedType {
            path: path.clone(),
            column: field.name().clone(),
            found: field.data_type().to_string(),
        };
        let data_type = model_type(field.data_type()).ok_or_else(unsupported)?;
        columns.push(InferredColumn { name: named(field.name())?, data_type, nullable: field.is_nullable() });
    }
    Ok(columns)
}

async fn guess_format(place: &Place) -> Result<FileFormat, SourceError> {
    let unknown = || SourceError::UnknownFormat { path: place.shown.clone() };
    if place.folder && place.within(delta::LOG).files().await.is_ok_and(|log| !log.is_empty()) {
        return Ok(FileFormat::Delta);
    }
    let files = place.files().await?;
    if !place.folder {
        return match place.path.extension() {
            Some("parquet") => Ok(FileFormat::Parquet),
            Some("csv") => Ok(FileFormat::Csv { header: true, delimiter: ',' }),
            Some("json" | "jsonl" | "ndjson") => Ok(FileFormat::Json),
            Some(_) | None => Err(unknown()),
        };
    }
    let formats = [FileFormat::Parquet, FileFormat::Csv { header: true, delimiter: ',' }, FileFormat::Json];
    let mut found = formats.into_iter().filter(|format| !of_format(place, files.clone(), format).is_empty());
    match (found.next(), found.next()) {
        (Some(format), None) => Ok(format),
        (Some(first), Some(second)) => {
            let (first, second) = (first.as_str(), second.as_str());
            Err(SourceError::MixedFormats { path: place.shown.clone(), first, second })
        }
        (None, _) => Err(unknown()),
    }
}

/// Names and types of the `key=value` folders between the place and its files; the same in every file's path.
fn partition_columns(place: &Place, files: &[SeenFile]) -> Result<Vec<PartitionColumn>, SourceError> {
    let keys_of = |file: &SeenFile| -> Vec<(String, String)> {
        let below: Vec<_> = file.path.prefix_match(&place.path).into_iter().flatten().collect();
        let folders = below.split_last().map_or(&[] as &[_], |(_, folders)| folders);
        folders
            .iter()
            .filter_map(|part| part.as_ref().split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    };
    let root = &place.shown;
    let Some(first) = files.first() else { return Ok(Vec::new()) };
    let names: Vec<String> = keys_of(first).into_iter().map(|(key, _)| key).collect();
    let mut values: Vec<Vec<String>> = vec![Vec::new(); names.len()];
    for file in files {
        let keys = keys_of(file);
        if keys.iter().map(|(key, _)| key).ne(&names) {
            let folder = file.path.parent().map_or(root.clone(), |folder| place.shown_as(&folder));
            return Err(SourceError::UnevenPartitions { path: root.to_owned(), folder });
        }
        for (column, (_, value)) in values.iter_mut().zip(keys) {
            column.push(value);
        }
    }
    let column = |(name, values): (String, Vec<String>)| {
        let name = ColumnName::new(name).map_err(|cause| SourceError::ColumnName { path: root.to_owned(), cause })?;
        Ok(PartitionColumn { name, data_type: partition_type(&values) })
    };
    names.into_iter().zip(values).map(column).collect()
}

fn partition_type(values: &[String]) -> DataType {
    // Written back, `007` would be `7`: only what survives that is a number.
    if values.iter().all(|v| v.parse::<i64>().is_ok_and(|n| n.to_string() == *v)) {
        DataType::Int64
    } else {
        DataType::Text
    }
}
