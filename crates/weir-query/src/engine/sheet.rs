//! Files of tables of workspaces: those that are being written, and those that nobody needs any more.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::parquet::arrow::ArrowWriter;
use weir_guard::{Outside, Refusal, Truth};
use weir_model::{ColumnName, DataSource, DataType, Location, RequestId, SourceName};
use weir_sources::{arrow_type, model_type};

use super::write::WorkspaceSettings;

pub(super) type Columns = Vec<(ColumnName, DataType)>;

/// In a folder that is no table yet, or none any more. A server that starts takes the folder away, unless it is one.
const UNSETTLED: &str = ".unsettled";

/// The shape of a table that is written.
pub(super) struct Sheet {
    table: SourceName,
    known: Option<DataSource>,
    pub(super) columns: Columns,
    pub(super) schema: SchemaRef,
}

impl Sheet {
    /// For rows of the schema, of a new table or of the one that is known.
    pub(super) fn new(table: &SourceName, read: &SchemaRef, known: Option<&DataSource>) -> Result<Self, Refusal> {
        let mut columns: Columns = Vec::with_capacity(read.fields().len());
        match known {
            Some(known) if known.columns.len() != read.fields().len() => {
                let (has, given) = (known.columns.len(), read.fields().len());
                return Err(Refusal::invalid(format!(
                    "table `{table}` has {has} columns, and the query gives {given}"
                )));
            }
            Some(known) => return Ok(Self::of(known)),
            None => {
                for field in read.fields() {
                    let name = ColumnName::new(field.name().as_str()).map_err(|e| {
                        Refusal::invalid(format!("column `{}` has to be named with AS: {e}", field.name()))
                    })?;
                    if columns.iter().any(|(known, _)| *known == name) {
                        return Err(Refusal::invalid(format!("column `{name}` is there twice")));
                    }
                    let data_type = model_type(field.data_type()).ok_or_else(|| {
                        Refusal::unsupported(format!(
                            "column `{name}` is of a type that no table has: give it one by CAST"
                        ))
                    })?;
                    columns.push((name, data_type));
                }
            }
        }
        Ok(Self { table: table.clone(), known: None, schema: schema_of(&columns), columns })
    }

    /// For more rows of a table.
    pub(super) fn of(known: &DataSource) -> Self {
        let columns: Columns =
            known.columns.iter().map(|column| (column.name.clone(), column.data_type.clone())).collect();
        Self { table: known.name.clone(), known: Some(known.clone()), schema: schema_of(&columns), columns }
    }

    /// Begins a file of the folder, which is made; beside it are the files that the table has already.
    pub(super) fn begin(self, settings: &WorkspaceSettings, folder: &Path, id: RequestId) -> Result<Page, Refusal> {
        let failed = |e: Box<dyn Error + Send + Sync>| not_written(&self.table, &e);
        let used = used(&settings.directory.join(self.table.schema())).map_err(|e| failed(e.into()))?;
        let before = self.known.as_ref().and_then(|known| match &known.location {
            Location::Files { path, .. } => Some(path),
            Location::Objects { .. } | Location::Table { .. } | Location::View { .. } => None,
        });
        let make = || -> Result<ArrowWriter<File>, Box<dyn Error + Send + Sync>> {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            unsettle(folder)?;
            for entry in before.map(std::fs::read_dir).transpose()?.into_iter().flatten() {
                let path = entry?.path();
                if let Some(name) = path.file_name().filter(|name| *name != UNSETTLED) {
                    std::fs::hard_link(&path, folder.join(name))?;
                }
            }
            let path = folder.join(format!("{id}.parquet"));
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            Ok(ArrowWriter::try_new(file, Arc::clone(&self.schema), None)?)
        };
        let writer = Some(make().map_err(failed)?);
        let bytes_left = settings.bytes_max.saturating_sub(used);
        let folder = folder.to_owned();
        Ok(Page { sheet: self, writer, folder, bytes_left, bytes_max: settings.bytes_max, rows: 0 })
    }
}

fn schema_of(columns: &Columns) -> SchemaRef {
    let field = |(name, data_type): &(ColumnName, DataType)| Field::new(name.as_str(), arrow_type(data_type), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// Rows on their way into a file.
pub(super) struct Page {
    pub(super) sheet: Sheet,
    /// Away while it writes.
    writer: Option<ArrowWriter<File>>,
    folder: PathBuf,
    bytes_left: u64,
    bytes_max: u64,
    rows: u64,
}

impl Page {
    pub(super) async fn put(&mut self, batch: &RecordBatch) -> Result<(), Refusal> {
        self.rows += u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
        let batch = self.fitted(batch)?;
        let table = &self.sheet.table;
        let Some(mut writer) = self.writer.take() else { return Err(Refusal::bug("a file is written already")) };
        let put = tokio::task::spawn_blocking(move || writer.write(&batch).map(|()| writer)).await;
        let writer = put.map_err(|e| not_written(table, &e)).and_then(|put| put.map_err(|e| not_written(table, &e)))?;
        let size = u64::try_from(writer.bytes_written() + writer.in_progress_size()).unwrap_or(u64::MAX);
        self.writer = Some(writer);
        if size > self.bytes_left {
            let text = format!("the workspace would have more than {} bytes", self.bytes_max);
            return Err(Refusal::new(Outside::TooMuch { text: text.clone() }, Truth::Limit, text));
        }
        Ok(())
    }

    /// Returns when the file is durable, with its columns and the number of rows that came.
    pub(super) async fn finish(self) -> Result<(Columns, u64), Refusal> {
        let Self { sheet, writer, folder, rows, .. } = self;
        let Some(writer) = writer else { return Err(Refusal::bug("a file is written already")) };
        let kept = tokio::task::spawn_blocking(move || -> Result<(), Box<dyn Error + Send + Sync>> {
            writer.into_inner()?.sync_all()?;
            File::open(&folder)?.sync_all()?;
            if let Some(above) = folder.parent() {
                File::open(above)?.sync_all()?;
            }
            Ok(())
        });
        match kept.await {
            Ok(Ok(())) => Ok((sheet.columns, rows)),
            Ok(Err(e)) => Err(not_written(&sheet.table, &e)),
            Err(e) => Err(not_written(&sheet.table, &e)),
        }
    }

    /// With the types of the table.
    fn fitted(&self, batch: &RecordBatch) -> Result<RecordBatch, Refusal> {
        let Sheet { table, schema, .. } = &self.sheet;
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let cast = |(field, array): (&Arc<Field>, &ArrayRef)| {
            cast_with_options(array, field.data_type(), &options).map_err(|_| {
                let text = format!("a value does not fit column `{}` of table `{table}`", field.name());
                Refusal::new(Outside::Data { text: text.clone() }, Truth::EngineFailed, text)
            })
        };
        let arrays: Vec<ArrayRef> = schema.fields().iter().zip(batch.columns()).map(cast).collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let fitted = RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options);
        fitted.map_err(|e| not_written(table, &e))
    }
}

pub(super) fn not_written(table: &SourceName, cause: &dyn std::fmt::Display) -> Refusal {
    let text = format!("table `{table}` cannot be written");
    Refusal::new(Outside::Data { text: text.clone() }, Truth::EngineFailed, format!("{text}: {cause}"))
}

/// Files that are no table yet. They go with it.
pub(super) struct Unregistered(Option<PathBuf>);

impl Unregistered {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self(Some(folder))
    }

    /// They are a table.
    pub(super) fn keep(mut self) {
        if let Some(folder) = self.0.take() {
            settle(&folder);
        }
    }
}

impl Drop for Unregistered {
    fn drop(&mut self) {
        if let Some(folder) = self.0.take().filter(|folder| folder.exists())
            && std::fs::remove_dir_all(folder).is_err()
        {
            tracing::warn!("files of a write that came to nothing could not be removed");
        }
    }
}

/// Files that are a table for as long as its change is not done. What becomes of them when the server is killed
/// meanwhile, the next one to start finds out.
pub(super) struct Leaving(Option<PathBuf>);

impl Leaving {
    pub(super) fn new(location: Option<&Location>) -> io::Result<Self> {
        match location {
            Some(Location::Files { path, .. }) => unsettle(path).map(|()| Self(Some(path.clone()))),
            Some(Location::Objects { .. } | Location::Table { .. } | Location::View { .. }) | None => Ok(Self(None)),
        }
    }

    /// The change was made.
    pub(super) async fn remove(mut self) {
        let Some(folder) = self.0.take() else { return };
        let gone = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(folder)).await;
        if !matches!(gone, Ok(Ok(()))) {
            tracing::warn!("files of a table that is gone could not be removed");
        }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(folder) = &self.0 {
            settle(folder);
        }
    }
}

fn unsettle(folder: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(folder.join(UNSETTLED)).map(drop)
}

fn settle(folder: &Path) {
    if std::fs::remove_file(folder.join(UNSETTLED)).is_err() {
        tracing::warn!("a folder of a table is still marked as unsettled");
    }
}

/// In files of one workspace, those that are being written included.
fn used(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        // Taken away meanwhile, or not made yet.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let entry = entry?;
        bytes += match entry.metadata() {
            Ok(meta) if meta.is_dir() => used(&entry.path())?,
            Ok(meta) => meta.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
            Err(e) => return Err(e),
        };
    }
    Ok(bytes)
}

/// Takes away the folders of which nobody knows whether they are tables, but for those that are. Gives the number of
/// those that went.
pub(super) fn clear(directory: &Path, tables: &BTreeSet<PathBuf>) -> io::Result<usize> {
    let mut gone = 0;
    if !directory.exists() {
        return Ok(gone);
    }
    for schema in std::fs::read_dir(directory)? {
        let schema = schema?;
        if !schema.file_type()?.is_dir() {
            continue;
        }
        for folder in std::fs::read_dir(schema.path())? {
            let folder = folder?.path();
            if !folder.join(UNSETTLED).exists() {
                continue;
            }
            if tables.contains(&folder) {
                settle(&folder);
            } else {
                std::fs::remove_dir_all(&folder)?;
                gone += 1;
            }
        }
    }
    Ok(gone)
}
