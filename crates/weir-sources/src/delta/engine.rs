//! What the reader of Delta logs asks of the world: files of one table, to read and never to write.

use std::collections::VecDeque;
use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::json::ReaderBuilder;
use datafusion::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use delta_kernel::engine::arrow_conversion::TryFromArrow as _;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::engine::arrow_expression::ArrowEvaluationHandler;
use delta_kernel::engine::arrow_utils::{
    RowIndexBuilder, build_json_reorder_indices, fixup_json_read, fixup_parquet_read, json_arrow_schema,
    ordering_needs_row_indexes, parquet_read_plan, parse_json,
};
use delta_kernel::engine_data::FilteredEngineData;
use delta_kernel::schema::{SchemaRef, StructType};
use delta_kernel::{
    Engine, EngineData, EvaluationHandler, FileDataReadResultIterator, FileMeta, FileSize, FileSlice, JsonHandler,
    KernelError, KernelResult, KernelResultIterator, KernelResultIteratorStatic, ParquetFooter, ParquetHandler,
    PredicateRef, StorageHandler,
};
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};
use tokio::runtime::Handle;
use url::Url;

use crate::stores::Place;

/// Before paths of the store, to the reader of logs.
const ROOT: &str = "weir://table/";

/// Waits for the store; for threads that may.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// The folder of the table.
    pub(super) place: Place,
    pub(super) threads: Handle,
}

impl Reading {
    /// Of the table.
    pub(super) fn root(&self) -> KernelResult<Url> {
        let mut url = Self::url(&self.place.path)?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push("");
        }
        Ok(url)
    }

    fn url(path: &Path) -> KernelResult<Url> {
        let mut url = Url::parse(ROOT)?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.parts().map(|part| part.as_ref().to_owned()));
        }
        Ok(url)
    }

    /// Where a file of the table is; a log may name any.
    pub(super) fn path(&self, url: &Url) -> KernelResult<Path> {
        let outside = || KernelError::generic(format!("the log names `{url}`, which is outside of the table"));
        let here = url.scheme() == "weir" && url.host_str() == Some("table") && url.query().is_none();
        let path = Path::from_url_path(url.path()).map_err(|_| outside())?;
        if here && path.prefix_matches(&self.place.path) { Ok(path) } else { Err(outside()) }
    }

    fn bytes(&self, url: &Url, range: Option<std::ops::Range<u64>>) -> KernelResult<Bytes> {
        let path = self.path(url)?;
        let store = self.place.store();
        let read = self.threads.block_on(async {
            match range {
                Some(range) => store.get_range(&path, range).await,
                None => store.get(&path).await?.bytes().await,
            }
        });
        read.map_err(|e| self.failed(&path, e))
    }

    /// That a file is not there is often no matter to the reader of logs.
    fn failed(&self, path: &Path, e: object_store::Error) -> KernelError {
        match e {
            object_store::Error::NotFound { .. } => KernelError::FileNotFound(path.to_string()),
            e => KernelError::generic(self.place.failed(path, e).to_string()),
        }
    }

    fn meta(&self, meta: &ObjectMeta) -> KernelResult<FileMeta> {
        let (location, last_modified) = (Self::url(&meta.location)?, meta.last_modified.timestamp_millis());
        Ok(FileMeta { location, last_modified, size: meta.size })
    }
}

type Batches = Box<dyn Iterator<Item = KernelResult<Box<dyn EngineData>>> + Send>;

/// The batches of files, one file after the other.
fn one_by_one(
    files: &[FileMeta],
    read: impl Fn(&FileMeta) -> KernelResult<Batches> + Send + 'static,
) -> FileDataReadResultIterator {
    let mut files: VecDeque<FileMeta> = files.iter().cloned().collect();
    let mut batches: Option<Batches> = None;
    Box::new(std::iter::from_fn(move || {
        loop {
            if let Some(batch) = batches.as_mut().and_then(Iterator::next) {
                return Some(batch);
            }
            match read(&files.pop_front()?) {
                Ok(next) => batches = Some(next),
                Err(e) => return Some(Err(e)),
            }
        }
    }))
}

fn read_only<T>() -> KernelResult<T> {
    Err(KernelError::generic("tables are only read"))
}

impl StorageHandler for Reading {
    fn list_from(&self, path: &Url) -> KernelResult<KernelResultIteratorStatic<FileMeta>> {
        let offset = self.path(path)?;
        let folder = match path.path().ends_with('/') {
            true => Some(offset.clone()),
            false => offset.parent(),
        };
        let listing = self.place.store().list_with_offset(folder.as_ref(), &offset);
        let listed: Result<Vec<ObjectMeta>, _> = self.threads.block_on(listing.try_collect());
        let mut listed = listed.map_err(|e| self.failed(&offset, e))?;
        listed.sort_unstable_by(|one, other| one.location.cmp(&other.location));
        let files: Vec<_> = listed.iter().map(|meta| self.meta(meta)).collect();
        Ok(Box::new(files.into_iter()))
    }

    fn read_files(&self, files: Vec<FileSlice>) -> KernelResult<KernelResultIteratorStatic<Bytes>> {
        let reading = self.clone();
        Ok(Box::new(files.into_iter().map(move |(url, range)| reading.bytes(&url, range))))
    }

    fn head(&self, path: &Url) -> KernelResult<FileMeta> {
        let at = self.path(path)?;
        let meta = self.threads.block_on(self.place.store().head(&at)).map_err(|e| self.failed(&at, e))?;
        self.meta(&meta)
    }

    fn copy_atomic(&self, _: &Url, _: &Url) -> KernelResult<()> {
        read_only()
    }

    fn put(&self, _: &Url, _: Bytes, _: bool) -> KernelResult<()> {
        read_only()
    }

    fn delete(&self, _: &Url) -> KernelResult<()> {
        read_only()
    }
}

impl JsonHandler for Reading {
    fn parse_json(&self, texts: Box<dyn EngineData>, schema: SchemaRef) -> KernelResult<Box<dyn EngineData>> {
        parse_json(texts, schema)
    }

    fn read_json_files(
        &self,
        files: &[FileMeta],
        schema: SchemaRef,
        _: Option<PredicateRef>,
    ) -> KernelResult<FileDataReadResultIterator> {
        let reading = self.clone();
        Ok(one_by_one(files, move |file| {
            let bytes = reading.bytes(&file.location, None)?;
            let order = build_json_reorder_indices(&schema)?;
            let at = file.location.to_string();
            let reader = ReaderBuilder::new(Arc::new(json_arrow_schema(&schema)?)).with_coerce_primitive(true);
            let batches = reader.build(Cursor::new(bytes))?;
            Ok(Box::new(batches.map(move |batch| {
                fixup_json_read(batch?, &order, &at).map(|data| Box::new(data) as Box<dyn EngineData>)
            })))
        }))
    }

    fn write_json_file(
        &self,
        _: &Url,
        _: KernelResultIterator<'_, FilteredEngineData>,
        _: bool,
    ) -> KernelResult<FileSize> {
        read_only()
    }
}

/// Types are those of the log, not what a writer's library made of them.
fn options() -> ArrowReaderOptions {
    ArrowReaderOptions::new().with_skip_arrow_metadata(true)
}

impl ParquetHandler for Reading {
    fn read_parquet_files(
        &self,
        files: &[FileMeta],
        schema: SchemaRef,
        _: Option<PredicateRef>,
    ) -> KernelResult<FileDataReadResultIterator> {
        let reading = self.clone();
        Ok(one_by_one(files, move |file| {
            let bytes = reading.bytes(&file.location, None)?;
            let meta = ArrowReaderMetadata::load(&bytes, options())?;
            let (order, mask) = parquet_read_plan(&schema, &meta)?;
            let rows = ordering_needs_row_indexes(&order);
            let mut rows = match rows {
                true => Some(RowIndexBuilder::new(meta.metadata().row_groups()).build()?),
                false => None,
            };
            let mut reader = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, meta);
            if let Some(mask) = mask {
                reader = reader.with_projection(mask);
            }
            let (at, schema) = (file.location.to_string(), Arc::clone(&schema));
            Ok(Box::new(reader.build()?.map(move |batch| {
                let data = fixup_parquet_read(batch?, &order, rows.as_mut(), Some(&at), Some(&schema));
                data.map(|data: ArrowEngineData| Box::new(data) as Box<dyn EngineData>)
            })))
        }))
    }

    fn write_parquet_file(&self, _: Url, _: KernelResultIteratorStatic<Box<dyn EngineData>>) -> KernelResult<FileSize> {
        read_only()
    }

    fn read_parquet_footer(&self, file: &FileMeta) -> KernelResult<ParquetFooter> {
        let meta = ArrowReaderMetadata::load(&self.bytes(&file.location, None)?, options())?;
        Ok(ParquetFooter { schema: Arc::new(StructType::try_from_arrow(meta.schema().as_ref())?) })
    }
}

impl Engine for Reading {
    fn evaluation_handler(&self) -> Arc<dyn EvaluationHandler> {
        Arc::new(ArrowEvaluationHandler {})
    }

    fn storage_handler(&self) -> Arc<dyn StorageHandler> {
        Arc::new(self.clone())
    }

    fn json_handler(&self) -> Arc<dyn JsonHandler> {
        Arc::new(self.clone())
    }

    fn parquet_handler(&self) -> Arc<dyn ParquetHandler> {
        Arc::new(self.clone())
    }
}
