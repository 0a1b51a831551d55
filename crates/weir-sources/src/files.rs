//! Tables made of files.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::datatypes::{DataType as Arrow, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::file_format::FileFormat as Format;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use futures::future::BoxFuture;
use object_store::path::Path;
use weir_model::{
    ColumnId, Connection, ConnectionName, DataSource, DataType, FileFormat, Location, Part, PartitionColumn, SourceId,
    StoreConnection,
};

use crate::delta;
use crate::error::SourceError;
use crate::mapped::MappedTable;
use crate::planned::{FileSet, Planned, SeenFile};
use crate::remote::{Databases, RemoteTable};
use crate::stores::{Place, Stores};
use crate::table::PlannedTable;
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
    /// What the paths of its files begin with, to the engine; absent for one of a remote database.
    pub root: Option<Path>,
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

/// Finds what there is by the name, with its credentials. The error says why there is none.
pub type Find<T> = Arc<dyn Fn(ConnectionName) -> BoxFuture<'static, Result<T, String>> + Send + Sync>;

/// Finds connections.
#[derive(Clone)]
pub struct Connect {
    pub database: Find<Connection>,
    pub store: Find<StoreConnection>,
}

/// Opens sources; keeps what it learnt of their files for as long as the files stay the same.
pub struct Sources {
    open: Mutex<HashMap<SourceId, (DataSource, RawTable)>>,
    connect: Connect,
    databases: Databases,
    stores: Stores,
    planned: Arc<Planned>,
}

impl Sources {
    pub fn new(connect: Connect) -> Self {
        let (databases, stores, planned) = (Databases::default(), Stores::default(), Arc::default());
        Self { open: Mutex::default(), connect, databases, stores, planned }
    }

    /// Opens a source, and finds out whether its files still fit what was registered.
    pub async fn open(&self, state: &dyn Session, source: &DataSource) -> Result<RawTable, SourceError> {
        let (format, place, partitions) = match &source.location {
            Location::Files { format, path, partitions } => (format, Place::local(path.clone())?, partitions),
            Location::Objects { connection, format, url, partitions } => {
                let found = (self.connect.store)(connection.clone()).await;
                let found = found.map_err(|why| SourceError::Connection { connection: connection.clone(), why })?;
                (format, Place::of(self.stores.open(found)?, url)?, partitions)
            }
            Location::Table { connection, schema, table } => {
                return self.open_remote(source, connection, (schema, table)).await;
            }
            Location::View { .. } => return Err(SourceError::View { name: source.name.clone() }),
        };
        // Of a table with a log, what the log is made of tells its versions apart.
        let log = (*format == FileFormat::Delta).then(|| place.within(delta::LOG));
        let files = match &log {
            Some(log) => log.files().await?,
            None => list(&place, format).await?,
        };
        let version = version(&place, &files);
        if let Some((known, table)) = self.lock().get(&source.id)
            && table.version == Some(version)
            && known.columns == source.columns
            && known.parts == source.parts
            && known.location == source.location
        {
            return Ok(table.clone());
        }
        self.planned.register(state.runtime_env());
        let table = match log {
            Some(_) => open_mapped(source, &place, &self.planned, version).await?,
            None => {
                let set = self.planned.add(&place, files);
                open(state, source, (format, &place, partitions), set, version).await?
            }
        };
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
        let found = (self.connect.database)(connection.clone()).await;
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

/// What tells this state of the files from others, and those who lead there now from those who did before.
fn version(place: &Place, files: &[SeenFile]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (place.number(), files).hash(&mut hasher);
    hasher.finish()
}

/// Every file of the format at the place.
pub(crate) async fn list(place: &Place, format: &FileFormat) -> Result<Vec<SeenFile>, SourceError> {
    let files = of_format(place, place.files().await?, format);
    if files.is_empty() {
        return Err(SourceError::NoFiles { path: place.shown.clone(), format: format.as_str() });
    }
    Ok(files)
}

/// A single file is taken whatever its name.
pub(crate) fn of_format(place: &Place, mut files: Vec<SeenFile>, format: &FileFormat) -> Vec<SeenFile> {
    files.retain(|file| !place.folder || file.path.extension() == Some(extension(format)));
    files
}

/// Of the files that a table of the format is made of.
pub(crate) fn extension(format: &FileFormat) -> &'static str {
    match format {
        FileFormat::Parquet | FileFormat::Delta => "parquet",
        FileFormat::Csv { .. } => "csv",
        FileFormat::Json => "json",
    }
}

pub(crate) fn options(state: &dyn Session, format: &FileFormat, single_file: bool) -> ListingOptions {
    let reader: Arc<dyn Format> = match format {
        FileFormat::Parquet | FileFormat::Delta => {
            Arc::new(ParquetFormat::default().with_options(state.default_table_options().parquet))
        }
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

/// For the engine.
pub(crate) fn url(set: &FileSet, place: &Place, path: &Path, folder: bool) -> Result<ListingTableUrl, SourceError> {
    let malformed = |why: String| SourceError::Malformed { path: place.shown.clone(), format: "planned", why };
    let url = set.url(path, folder).map_err(malformed)?;
    ListingTableUrl::try_new(url, None).map_err(|e| malformed(e.to_string()))
}

async fn open(
    state: &dyn Session,
    source: &DataSource,
    (format, place, partitions): (&FileFormat, &Place, &[PartitionColumn]),
    set: Arc<FileSet>,
    version: u64,
) -> Result<RawTable, SourceError> {
    let table_url = url(&set, place, &place.path, place.folder)?;
    let partition_types: Vec<(String, Arrow)> =
        partitions.iter().map(|p| (p.name.as_str().to_owned(), arrow_type(&p.data_type))).collect();
    let options = options(state, format, !place.folder).with_table_partition_cols(partition_types);
    let malformed = |e: datafusion::error::DataFusionError| SourceError::Malformed {
        path: place.shown.clone(),
        format: format.as_str(),
        why: e.to_string(),
    };
    let schema = match format {
        FileFormat::Parquet | FileFormat::Delta => options.infer_schema(state, &table_url).await.map_err(malformed)?,
        // What was registered counts, not what rows look like today: what is in one file, where somebody may see
        // nothing, must not decide whether the others can be read.
        FileFormat::Csv { .. } => registered_schema(source, &names_in(state, format, place, &set).await?),
        // Objects are read by name, so that nothing has to be known of what is left out.
        FileFormat::Json => {
            let in_files = |c: &&weir_model::Column| !partitions.iter().any(|partition| partition.name == c.name);
            let field = |c: &weir_model::Column| Field::new(c.name.as_str(), arrow_type(&c.data_type), true);
            Arc::new(Schema::new(source.columns.iter().filter(in_files).map(field).collect::<Vec<_>>()))
        }
    };
    let config = ListingTableConfig::new(table_url).with_listing_options(options).with_schema(schema);
    let table = ListingTable::try_new(config)
        .map_err(malformed)?
        .with_cache(state.runtime_env().cache_manager.get_file_statistic_cache());
    let columns = locate_columns(source, &place.shown, &table.schema())?;
    let parts = locate_parts(source, &columns);
    let (version, root) = (Some(version), Some(set.root()));
    let provider = Arc::new(PlannedTable { table, set });
    Ok(RawTable { provider, columns, parts, version, root })
}

/// A table that says itself what it is made of.
async fn open_mapped(
    source: &DataSource,
    place: &Place,
    planned: &Arc<Planned>,
    version: u64,
) -> Result<RawTable, SourceError> {
    let state = delta::newest(place).await?;
    let set = planned.add(place, state.files.iter().map(|file| file.seen.clone()).collect());
    let (version, root) = (Some(version), Some(set.root()));
    let malformed = |why| SourceError::Malformed { path: place.shown.clone(), format: "delta", why };
    let table = MappedTable::new(&state, &set).map_err(malformed)?;
    let columns = locate_columns(source, &place.shown, &table.schema())?;
    let parts = locate_parts(source, &columns);
    Ok(RawTable { provider: Arc::new(table), columns, parts, version, root })
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
async fn names_in(
    state: &dyn Session,
    format: &FileFormat,
    place: &Place,
    set: &FileSet,
) -> Result<Vec<String>, SourceError> {
    let mut names: Vec<String> = Vec::new();
    for file in set.paths() {
        let malformed = |e: datafusion::error::DataFusionError| SourceError::Malformed {
            path: place.shown_as(file),
            format: format.as_str(),
            why: e.to_string(),
        };
        let url = url(set, place, file, false)?;
        let found = options(state, format, true).infer_schema(state, &url).await.map_err(malformed)?;
        for field in found.fields() {
            if !names.contains(field.name()) {
                names.push(field.name().clone());
            }
        }
    }
    Ok(names)
}

fn locate_columns(
    source: &DataSource,
    path: &std::path::Path,
    schema: &Schema,
) -> Result<Arc<[(ColumnId, usize)]>, SourceError> {
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
