//! Tables made of files on local disk.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use datafusion::arrow::datatypes::{DataType as Arrow, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::file_format::FileFormat as Format;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use futures::future::BoxFuture;
use weir_model::{
    ColumnId, Connection, ConnectionName, DataSource, DataType, FileFormat, Location, Part, PartitionColumn, SourceId,
};

use crate::error::SourceError;
use crate::remote::{Databases, RemoteTable};
use crate::types::{arrow_type, model_type};

/// A source opened as it is.
#[derive(Clone, Debug)]
pub struct RawTable {
    /// Scans every column of the files, of text and columnar ones those left out at registration too.
    pub provider: Arc<dyn TableProvider>,
    /// Where in the provider's schema each registered column is, in the order of registration.
    pub columns: Arc<[(ColumnId, usize)]>,
    /// Where what is inside of nested columns is.
    pub parts: Arc<[RawPart]>,
    /// Changes whenever a file is added, removed or rewritten; absent where changes of rows do not show.
    pub version: Option<u64>,
    /// What every file of the table lies under, or is; absent for one of a remote database.
    pub root: Option<PathBuf>,
}

/// A value inside of a nested column.
#[derive(Clone, Debug)]
pub struct RawPart {
    pub id: ColumnId,
    /// Where in the provider's schema the column is.
    pub place: usize,
    /// The names of the fields from the column inwards, through lists and values of maps.
    pub path: Vec<String>,
}

/// Finds a connection with its credentials. The error says why there is none.
pub type Connect = Arc<dyn Fn(ConnectionName) -> BoxFuture<'static, Result<Connection, String>> + Send + Sync>;

/// Opens sources; keeps what it learnt of their files for as long as the files stay the same.
pub struct Sources {
    open: Mutex<HashMap<SourceId, (DataSource, RawTable)>>,
    connect: Connect,
    databases: Databases,
}

impl Sources {
    pub fn new(connect: Connect) -> Self {
        Self { open: Mutex::default(), connect, databases: Databases::default() }
    }

    /// Opens a source, and finds out whether its files still fit what was registered.
    pub async fn open(&self, state: &dyn Session, source: &DataSource) -> Result<RawTable, SourceError> {
        let (format, path, partitions) = match &source.location {
            Location::Files { format, path, partitions } => (format, path, partitions),
            Location::Table { connection, schema, table } => {
                return self.open_remote(source, connection, (schema, table)).await;
            }
            Location::View { .. } => return Err(SourceError::View { name: source.name.clone() }),
        };
        let files = list_blocking(path.clone(), format.clone()).await?;
        let version = version(&files);
        if let Some((known, table)) = self.lock().get(&source.id)
            && table.version == Some(version)
            && known.columns == source.columns
            && known.parts == source.parts
            && known.location == source.location
        {
            return Ok(table.clone());
        }
        let table = open(state, source, (format, path, partitions), &files, version).await?;
        self.lock().insert(source.id, (source.clone(), table.clone()));
        Ok(table)
    }

    /// By the credentials that are stored now.
    async fn open_remote(
        &self,
        source: &DataSource,
        connection: &ConnectionName,
        name: (&str, &str),
    ) -> Result<RawTable, SourceError> {
        let found = (self.connect)(connection.clone()).await;
        let found = found.map_err(|why| SourceError::Connection { connection: connection.clone(), why })?;
        let table = RemoteTable::open(self.databases.pool(found)?, name, source).await?;
        let columns: Arc<[_]> = source.columns.iter().zip(0..).map(|(column, place)| (column.id, place)).collect();
        let parts = locate_parts(source, &columns);
        Ok(RawTable { provider: Arc::new(table), columns, parts, version: None, root: None })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SourceId, (DataSource, RawTable)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One file, as far as a change of it shows.
#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SeenFile {
    pub(crate) path: PathBuf,
    size: u64,
    modified: SystemTime,
}

fn version(files: &[SeenFile]) -> u64 {
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    hasher.finish()
}

pub(crate) async fn list_blocking(path: PathBuf, format: FileFormat) -> Result<Vec<SeenFile>, SourceError> {
    let at = path.clone();
    tokio::task::spawn_blocking(move || list(&path, &format))
        .await
        .unwrap_or_else(|e| Err(SourceError::Unreadable { path: at, cause: std::io::Error::other(e) }))
}

/// Every file of the format at or below `path`, in the order of their paths. Hidden files and folders, and those that
/// start with an underscore, are left out as writers' scratch.
pub(crate) fn list(path: &Path, format: &FileFormat) -> Result<Vec<SeenFile>, SourceError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |cause| SourceError::Unreadable { path, cause }
    };
    let meta = std::fs::metadata(path).map_err(unreadable(path))?;
    let mut files = Vec::new();
    if meta.is_file() {
        files.push(SeenFile {
            path: path.to_owned(),
            size: meta.len(),
            modified: meta.modified().map_err(unreadable(path))?,
        });
        return Ok(files);
    }
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(unreadable(&folder))? {
            let entry = entry.map_err(unreadable(&folder))?;
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with(['.', '_']) {
                continue;
            }
            let meta = std::fs::metadata(&path).map_err(unreadable(&path))?;
            if meta.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension(format)) {
                files.push(SeenFile { size: meta.len(), modified: meta.modified().map_err(unreadable(&path))?, path });
            }
        }
    }
    files.sort_unstable();
    if files.is_empty() {
        return Err(SourceError::NoFiles { path: path.to_owned(), format: format.as_str() });
    }
    Ok(files)
}

pub(crate) fn extension(format: &FileFormat) -> &'static str {
    match format {
        FileFormat::Parquet => "parquet",
        FileFormat::Csv { .. } => "csv",
        FileFormat::Json => "json",
    }
}

pub(crate) fn options(state: &dyn Session, format: &FileFormat, single_file: bool) -> ListingOptions {
    let reader: Arc<dyn Format> = match format {
        FileFormat::Parquet => Arc::new(ParquetFormat::default().with_options(state.default_table_options().parquet)),
        FileFormat::Csv { header, delimiter } => {
            let delimiter = u8::try_from(*delimiter).unwrap_or(b',');
            Arc::new(CsvFormat::default().with_has_header(*header).with_delimiter(delimiter))
        }
        FileFormat::Json => Arc::new(JsonFormat::default()),
    };
    // A single file is taken whatever its name.
    let ending = if single_file { String::new() } else { format!(".{}", extension(format)) };
    ListingOptions::new(reader).with_file_extension(ending)
}

pub(crate) fn url(path: &Path) -> Result<ListingTableUrl, SourceError> {
    let malformed = |why: String| SourceError::Malformed { path: path.to_owned(), format: "local", why };
    let url = if path.is_dir() { url::from_directory(path) } else { url::from_file(path) };
    let url = url.ok_or_else(|| malformed("it is not an absolute path".to_owned()))?;
    ListingTableUrl::try_new(url, None).map_err(|e| malformed(e.to_string()))
}

/// File URLs without globs, so that a path's `*` and `?` stay what they are.
mod url {
    use std::path::Path;

    pub(super) fn from_directory(path: &Path) -> Option<::url::Url> {
        ::url::Url::from_directory_path(path).ok()
    }

    pub(super) fn from_file(path: &Path) -> Option<::url::Url> {
        ::url::Url::from_file_path(path).ok()
    }
}

async fn open(
    state: &dyn Session,
    source: &DataSource,
    (format, path, partitions): (&FileFormat, &Path, &[PartitionColumn]),
    files: &[SeenFile],
    version: u64,
) -> Result<RawTable, SourceError> {
    let table_url = url(path)?;
    let partition_types: Vec<(String, Arrow)> =
        partitions.iter().map(|p| (p.name.as_str().to_owned(), arrow_type(&p.data_type))).collect();
    let options = options(state, format, path.is_file()).with_table_partition_cols(partition_types);
    let malformed = |e: datafusion::error::DataFusionError| SourceError::Malformed {
        path: path.to_owned(),
        format: format.as_str(),
        why: e.to_string(),
    };
    let schema = match format {
        FileFormat::Parquet => options.infer_schema(state, &table_url).await.map_err(malformed)?,
        // What was registered counts, not what rows look like today: what is in one file, where somebody may see
        // nothing, must not decide whether the others can be read.
        FileFormat::Csv { .. } => registered_schema(source, &names_in(state, format, files).await?),
        // Objects are read by name, so that nothing has to be known of what is left out.
        FileFormat::Json => {
            let in_files = |c: &&weir_model::Column| !partitions.iter().any(|partition| partition.name == c.name);
            let field = |c: &weir_model::Column| Field::new(c.name.as_str(), arrow_type(&c.data_type), true);
            Arc::new(Schema::new(source.columns.iter().filter(in_files).map(field).collect::<Vec<_>>()))
        }
    };
    let config = ListingTableConfig::new(table_url).with_listing_options(options).with_schema(schema);
    let provider = ListingTable::try_new(config)
        .map_err(malformed)?
        .with_cache(state.runtime_env().cache_manager.get_file_statistic_cache());
    let columns = locate_columns(source, path, &provider.schema())?;
    let parts = locate_parts(source, &columns);
    let (version, root) = (Some(version), Some(path.to_owned()));
    Ok(RawTable { provider: Arc::new(provider), columns, parts, version, root })
}

/// Columns that were left out are read as text, so that no value of theirs can fail.
fn registered_schema(source: &DataSource, names: &[String]) -> SchemaRef {
    let fields = names.iter().map(|name| {
        let data_type = source.column(name).map_or(Arrow::Utf8, |c| arrow_type(&c.data_type));
        Field::new(name, data_type, true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The columns of all the files, in the order in which they come up.
async fn names_in(state: &dyn Session, format: &FileFormat, files: &[SeenFile]) -> Result<Vec<String>, SourceError> {
    let mut names: Vec<String> = Vec::new();
    for file in files {
        let malformed = |e: datafusion::error::DataFusionError| SourceError::Malformed {
            path: file.path.clone(),
            format: format.as_str(),
            why: e.to_string(),
        };
        let found = options(state, format, true).infer_schema(state, &url(&file.path)?).await.map_err(malformed)?;
        for field in found.fields() {
            if !names.contains(field.name()) {
                names.push(field.name().clone());
            }
        }
    }
    Ok(names)
}

fn locate_columns(source: &DataSource, path: &Path, schema: &Schema) -> Result<Arc<[(ColumnId, usize)]>, SourceError> {
    let locate = |column: &weir_model::Column| {
        let gone = || SourceError::ColumnGone { path: path.to_owned(), column: column.name.clone() };
        let index = schema.index_of(column.name.as_str()).map_err(|_| gone())?;
        let found = schema.field(index).data_type();
        if !same_type(&column.data_type, found) {
            return Err(SourceError::ColumnChanged {
                path: path.to_owned(),
                column: column.name.clone(),
                registered: column.data_type.clone(),
                found: model_type(found).map_or_else(|| found.to_string(), |t| t.to_string()),
            });
        }
        Ok((column.id, index))
    };
    source.columns.iter().map(locate).collect()
}

/// The types of the columns are those that were registered, so every part is where it was.
fn locate_parts(source: &DataSource, columns: &[(ColumnId, usize)]) -> Arc<[RawPart]> {
    let locate = |part: &Part| {
        let (_, place) = columns.iter().find(|(id, _)| *id == part.within)?;
        Some(RawPart { id: part.column.id, place: *place, path: part.path.clone() })
    };
    source.parts.iter().filter_map(locate).collect()
}

fn same_type(registered: &DataType, found: &Arrow) -> bool {
    model_type(found).as_ref() == Some(registered)
}
