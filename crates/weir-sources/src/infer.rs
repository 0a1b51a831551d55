//! What is at a path: format, columns, partition folders. For registering a source.

use std::path::{Path, PathBuf};

use datafusion::execution::SessionStateBuilder;
use weir_model::{ColumnName, DataType, FileFormat, Location, PartitionColumn};

use crate::error::SourceError;
use crate::files::{SeenFile, list_blocking, options, url};
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
    let format = match format {
        Some(format) => format,
        None => guess_format(&path)?,
    };
    let files = list_blocking(path.clone(), format.clone()).await?;
    let partitions = if path.is_dir() { partition_columns(&path, &files)? } else { Vec::new() };
    let state = SessionStateBuilder::new().with_default_features().build();
    let malformed = |file: &Path, e: datafusion::error::DataFusionError| SourceError::Malformed {
        path: file.to_owned(),
        format: format.as_str(),
        why: e.strip_backtrace(),
    };
    // File by file first, so that a message names the file that is cut off.
    for file in &files {
        options(&state, &format, true)
            .infer_schema(&state, &url(&file.path)?)
            .await
            .map_err(|e| malformed(&file.path, e))?;
    }
    let schema = options(&state, &format, path.is_file())
        .infer_schema(&state, &url(&path)?)
        .await
        .map_err(|e| malformed(&path, e))?;
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
    for partition in &partitions {
        columns.push(InferredColumn {
            name: partition.name.clone(),
            data_type: partition.data_type.clone(),
            nullable: true,
        });
    }
    Ok(Inferred { location: Location::Files { format, path, partitions }, columns })
}

fn guess_format(path: &Path) -> Result<FileFormat, SourceError> {
    let of_name = |path: &Path| match path.extension().and_then(|e| e.to_str()) {
        Some("parquet") => Some(FileFormat::Parquet),
        Some("csv") => Some(FileFormat::Csv { header: true, delimiter: ',' }),
        Some("json" | "jsonl" | "ndjson") => Some(FileFormat::Json),
        Some(_) | None => None,
    };
    let unknown = || SourceError::UnknownFormat { path: path.to_owned() };
    if !path.is_dir() {
        std::fs::metadata(path).map_err(|cause| SourceError::Unreadable { path: path.to_owned(), cause })?;
        return of_name(path).ok_or_else(unknown);
    }
    let mut found: Option<FileFormat> = None;
    for format in [FileFormat::Parquet, FileFormat::Csv { header: true, delimiter: ',' }, FileFormat::Json] {
        match (crate::files::list(path, &format), &found) {
            (Ok(_), None) => found = Some(format),
            (Ok(_), Some(first)) => {
                return Err(SourceError::MixedFormats {
                    path: path.to_owned(),
                    first: first.as_str(),
                    second: format.as_str(),
                });
            }
            (Err(SourceError::NoFiles { .. }), _) => {}
            (Err(e), _) => return Err(e),
        }
    }
    found.ok_or_else(unknown)
}

/// Names and types of the `key=value` folders between `root` and its files; the same in every file's path.
fn partition_columns(root: &Path, files: &[SeenFile]) -> Result<Vec<PartitionColumn>, SourceError> {
    let keys_of = |file: &PathBuf| -> Vec<(String, String)> {
        let folders = file.strip_prefix(root).ok().and_then(Path::parent);
        folders
            .into_iter()
            .flat_map(|folders| folders.iter())
            .filter_map(|part| part.to_str()?.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    };
    let Some(first) = files.first() else { return Ok(Vec::new()) };
    let names: Vec<String> = keys_of(&first.path).into_iter().map(|(key, _)| key).collect();
    let mut values: Vec<Vec<String>> = vec![Vec::new(); names.len()];
    for file in files {
        let keys = keys_of(&file.path);
        if keys.iter().map(|(key, _)| key).ne(&names) {
            let folder = file.path.parent().unwrap_or(root).to_owned();
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
