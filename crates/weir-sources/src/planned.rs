//! Files as statements were planned on them. To the engine all of them are one object store, which answers from the
//! version of a file that was planned or not at all: what changed since ends a statement, and never gives it parts of two
//! versions.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result, coalesce_ranges,
};
use url::Url;

use crate::stores::{Place, trouble};

/// Where the engine finds the files of all tables.
pub const FILES_URL: &str = "weir://planned/";

/// A file as it was when it was listed.
#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SeenFile {
    /// In its store.
    pub(crate) path: Path,
    pub(crate) size: u64,
    pub(crate) tag: Tag,
}

/// What tells versions of a file apart, as far as it is known.
#[derive(Clone, Debug, Default, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tag {
    pub(crate) e_tag: Option<String>,
    pub(crate) modified: Option<DateTime<Utc>>,
}

impl Tag {
    pub(crate) fn of(meta: &ObjectMeta) -> Self {
        // The moment that stands for an answer that does not say.
        let modified = Some(meta.last_modified).filter(|modified| *modified != DateTime::<Utc>::UNIX_EPOCH);
        Self { e_tag: meta.e_tag.clone(), modified }
    }

    pub(crate) fn is_unknown(&self) -> bool {
        self.e_tag.is_none() && self.modified.is_none()
    }

    /// Whether both are of one version; where nothing tells it, they are not.
    fn is(&self, other: &Self, local: bool) -> bool {
        if let (Some(one), Some(other)) = (&self.e_tag, &other.e_tag) {
            return unquoted(one) == unquoted(other);
        }
        match (self.modified, other.modified) {
            (Some(one), Some(other)) if local => one == other,
            // Headers have whole seconds, listings do not.
            (Some(one), Some(other)) => one.timestamp() == other.timestamp(),
            (None, _) | (_, None) => false,
        }
    }
}

/// Listings of Azure have no quotes around them, answers have.
fn unquoted(e_tag: &str) -> &str {
    e_tag.trim_matches('"')
}

/// All files that statements were planned on.
#[derive(Default)]
pub(crate) struct Planned {
    sets: RwLock<HashMap<u64, Weak<FileSet>>>,
    next: AtomicU64,
}

impl Planned {
    /// Makes the engine find them.
    pub(crate) fn register(self: &Arc<Self>, runtime: &RuntimeEnv) {
        if let Ok(url) = Url::parse(FILES_URL) {
            runtime.register_object_store(&url, Arc::clone(self) as Arc<dyn ObjectStore>);
        }
    }

    /// They can be read for as long as somebody holds the set.
    pub(crate) fn add(self: &Arc<Self>, place: &Place, files: Vec<SeenFile>) -> Arc<FileSet> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let version = |seen: SeenFile| (seen.path.clone(), Version { seen, met: OnceLock::new() });
        let files = files.into_iter().map(version).collect();
        let set = Arc::new(FileSet { number, place: place.clone(), files, planned: Arc::downgrade(self) });
        self.sets.write().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::downgrade(&set));
        set
    }

    fn set(&self, location: &Path) -> Result<(Arc<FileSet>, Path)> {
        let unknown = || Error::NotFound { path: location.to_string(), source: "it was not planned".into() };
        let (number, path) = location.as_ref().split_once('/').ok_or_else(unknown)?;
        let number: u64 = number.parse().map_err(|_| unknown())?;
        let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
        let set = sets.get(&number).and_then(Weak::upgrade).ok_or_else(unknown)?;
        Ok((set, Path::parse(path)?))
    }
}

/// Files that make a table, at one state of it.
pub(crate) struct FileSet {
    number: u64,
    place: Place,
    /// By their paths.
    files: BTreeMap<Path, Version>,
    planned: Weak<Planned>,
}

struct Version {
    seen: SeenFile,
    /// What the first answer said.
    met: OnceLock<Tag>,
}

impl FileSet {
    /// What the paths of all the files begin with, to the engine.
    pub(crate) fn root(&self) -> Path {
        Path::from(self.number.to_string())
    }

    /// Of a file or a folder of the store, for the engine.
    pub(crate) fn url(&self, path: &Path, folder: bool) -> std::result::Result<Url, String> {
        let mut url = Url::parse(FILES_URL).map_err(|e| e.to_string())?;
        let mut segments = url.path_segments_mut().map_err(|()| "it has no path".to_owned())?;
        segments.pop_if_empty().push(&self.number.to_string());
        segments.extend(path.parts().map(|part| part.as_ref().to_owned()));
        if folder {
            segments.push("");
        }
        drop(segments);
        Ok(url)
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.keys()
    }

    pub(crate) fn meta_of(&self, path: &Path) -> Result<ObjectMeta> {
        self.version(path).map(|version| self.meta(version))
    }

    fn meta(&self, version: &Version) -> ObjectMeta {
        let SeenFile { path, size, tag } = &version.seen;
        ObjectMeta {
            location: Path::from_iter(self.root().parts().chain(path.parts())),
            last_modified: tag.modified.unwrap_or(DateTime::UNIX_EPOCH),
            size: *size,
            e_tag: tag.e_tag.clone(),
            version: None,
        }
    }

    fn version(&self, path: &Path) -> Result<&Version> {
        let unknown = || Error::NotFound { path: path.to_string(), source: "it was not planned".into() };
        self.files.get(path).ok_or_else(unknown)
    }

    /// Of the version that was planned, or an error.
    async fn get(&self, version: &Version, mut options: GetOptions) -> Result<GetResult> {
        let path = &version.seen.path;
        if !self.place.is_local() {
            let Tag { e_tag, modified } = version.tag();
            // A weak one matches nothing.
            match e_tag.as_ref().filter(|e_tag| !e_tag.starts_with("W/")) {
                Some(e_tag) => options.if_match = Some(e_tag.clone()),
                None => options.if_unmodified_since = *modified,
            }
        }
        let found = self.place.store().get_opts(path, options).await.map_err(|e| self.told(path, e))?;
        // There are servers that take no notice of conditions.
        if version.is(&found.meta, self.place.is_local()) { Ok(found) } else { Err(self.changed(path)) }
    }

    fn told(&self, path: &Path, e: Error) -> Error {
        trouble(&self.place.shown_at(path), self.place.secret(), e)
    }

    fn changed(&self, path: &Path) -> Error {
        let source = "it is another version by now".into();
        self.told(path, Error::Precondition { path: String::new(), source })
    }

    /// Of a local file: all from the same open file, which must not have changed when they are read.
    async fn read(&self, version: &Version, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>> {
        let path = &version.seen.path;
        let GetResultPayload::File(mut file, _) = self.get(version, GetOptions::default()).await?.payload else {
            return Err(Error::NotSupported { source: "a local file that is none".into() });
        };
        let read = move || -> std::io::Result<(Vec<Bytes>, u64, DateTime<Utc>)> {
            let mut parts = Vec::with_capacity(ranges.len());
            for Range { start, end } in ranges {
                let length = usize::try_from(end.saturating_sub(start)).map_err(std::io::Error::other)?;
                let mut part = vec![0; length];
                file.seek(SeekFrom::Start(start))?;
                file.read_exact(&mut part)?;
                parts.push(Bytes::from(part));
            }
            let after = file.metadata()?;
            Ok((parts, after.len(), after.modified()?.into()))
        };
        let failed = |source| self.told(path, Error::Generic { store: "local", source });
        let read = tokio::task::spawn_blocking(read).await.map_err(|e| failed(e.into()))?;
        let (parts, size, modified) = read.map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => self.changed(path),
            _ => failed(e.into()),
        })?;
        let same = (size, Some(modified)) == (version.seen.size, version.tag().modified);
        if same { Ok(parts) } else { Err(self.changed(path)) }
    }
}

impl Drop for FileSet {
    fn drop(&mut self) {
        if let Some(planned) = self.planned.upgrade() {
            planned.sets.write().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
        }
    }
}

impl fmt::Debug for FileSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSet").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Version {
    /// The most that is known: what was listed, or what was answered.
    fn tag(&self) -> &Tag {
        match self.met.get() {
            Some(met) if self.seen.tag.e_tag.is_none() => met,
            Some(_) | None => &self.seen.tag,
        }
    }

    /// Whether an answer is of this version.
    fn is(&self, meta: &ObjectMeta, local: bool) -> bool {
        // To the local disk its ETag is made of the other two and the inode, which listings do not look at.
        let told = if local { Tag { e_tag: None, ..Tag::of(meta) } } else { Tag::of(meta) };
        let planned = self.seen.tag.is_unknown() || self.seen.tag.is(&told, local);
        planned && meta.size == self.seen.size && self.met.get_or_init(|| told.clone()).is(&told, local)
    }
}

#[async_trait]
impl ObjectStore for Planned {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (set, path) = self.set(location)?;
        let version = set.version(&path)?;
        if options.head {
            let (payload, meta) = (GetResultPayload::Stream(stream::empty().boxed()), set.meta(version));
            return Ok(GetResult { payload, range: 0..meta.size, meta, attributes: Default::default() });
        }
        let mut found = set.get(version, options).await?;
        found.meta = set.meta(version);
        if let GetResultPayload::Stream(parts) = found.payload {
            let set = Arc::clone(&set);
            found.payload = GetResultPayload::Stream(parts.map_err(move |e| set.told(&path, e)).boxed());
        }
        Ok(found)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (set, path) = self.set(location)?;
        let version = set.version(&path)?;
        if set.place.is_local() {
            return set.read(version, ranges.to_vec()).await;
        }
        let one = async |range: Range<u64>| {
            let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
            let found = set.get(version, options).await?;
            found.bytes().await.map_err(|e| set.told(&path, e))
        };
        coalesce_ranges(ranges, one, OBJECT_STORE_COALESCE_DEFAULT).await
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let Some(prefix) = prefix else { return stream::iter([Err(not_here("listing everything"))]).boxed() };
        let (set, prefix) = match self.set(prefix) {
            Ok(found) => found,
            Err(e) => return stream::iter([Err(e)]).boxed(),
        };
        let below = set.files.iter().filter(|(path, _)| path.prefix_matches(&prefix));
        let found: Vec<_> = below.map(|(_, version)| Ok(set.meta(version))).collect();
        stream::iter(found).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(not_here("listing folders"))
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(not_here("writing"))
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(not_here("writing"))
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        stream::iter([Err(not_here("deleting"))]).boxed()
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(not_here("copying"))
    }
}

fn not_here(what: &str) -> Error {
    Error::NotImplemented { operation: what.to_owned(), implementer: "files of a plan".to_owned() }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Planned")
    }
}

impl fmt::Debug for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Planned")
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use object_store::ObjectStoreExt as _;
    use object_store::memory::InMemory;

    use super::*;

    async fn plan(place: &Place) -> (Arc<Planned>, Arc<FileSet>, Path) {
        let planned: Arc<Planned> = Arc::default();
        let set = planned.add(place, place.files().await.unwrap());
        let location = set.meta_of(set.paths().next().unwrap()).unwrap().location;
        (planned, set, location)
    }

    async fn text(planned: &Planned, location: &Path) -> Result<Vec<Bytes>> {
        planned.get_ranges(location, &[0..2, 4..6]).await
    }

    fn is_changed<T>(read: Result<T>) -> bool {
        read.is_err_and(|e| e.to_string().contains("was changed after the statement was planned"))
    }

    #[tokio::test]
    async fn a_local_file_that_was_changed_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("100% a?.csv");
        std::fs::write(&path, "abcdef").unwrap();
        let place = Place::local(dir.path().to_owned()).unwrap();
        let (planned, set, location) = plan(&place).await;
        assert_eq!(text(&planned, &location).await.unwrap(), ["ab", "ef"]);
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(1);
        std::fs::write(&path, "ABCDEF").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert!(is_changed(text(&planned, &location).await));
        assert!(is_changed(planned.get(&location).await));
        std::fs::remove_file(&path).unwrap();
        assert!(text(&planned, &location).await.is_err_and(|e| e.to_string().contains("is not there")));
        // It listed what was planned all the same, for as long as somebody holds it.
        let list = async || planned.list(Some(&set.root())).count().await;
        assert_eq!(list().await, 1);
        let root = set.root();
        drop(set);
        assert!(planned.list(Some(&root)).try_collect::<Vec<_>>().await.is_err());
    }

    #[tokio::test]
    async fn an_object_that_was_changed_is_not_read() {
        let store = Arc::new(InMemory::new());
        let at = Path::from("folder/file");
        store.put(&at, "abcdef".into()).await.unwrap();
        let place = Place::test(Arc::clone(&store) as Arc<dyn ObjectStore>, Path::from("folder"));
        let (planned, _set, location) = plan(&place).await;
        assert_eq!(text(&planned, &location).await.unwrap(), ["ab", "ef"]);
        // A stream that is under way ends as it began.
        let stream = planned.get(&location).await.unwrap();
        store.put(&at, "ABCDEF".into()).await.unwrap();
        assert_eq!(stream.bytes().await.unwrap(), "abcdef");
        assert!(is_changed(text(&planned, &location).await));
        // What nothing was known of is of the version that was met first.
        let seen = SeenFile { path: at.clone(), size: 6, tag: Tag::default() };
        let set = planned.add(&place, vec![seen]);
        let location = set.meta_of(&at).unwrap().location;
        assert_eq!(text(&planned, &location).await.unwrap(), ["AB", "EF"]);
        store.put(&at, "abcdef".into()).await.unwrap();
        assert!(is_changed(text(&planned, &location).await));
    }

    #[tokio::test]
    async fn nothing_else_can_be_done() {
        let planned: Arc<Planned> = Arc::default();
        let at = Path::from("0/etc/passwd");
        assert!(planned.get(&at).await.is_err() && planned.head(&at).await.is_err());
        assert!(planned.put(&at, "x".into()).await.is_err() && planned.delete(&at).await.is_err());
        assert!(planned.copy(&at, &at).await.is_err());
        assert!(planned.list(None).try_collect::<Vec<_>>().await.is_err());
    }

    #[test]
    fn tags_are_compared_by_the_most_that_both_tell() {
        let tag = |e_tag: &str, seconds: i64, millis: u32| Tag {
            e_tag: Some(e_tag.to_owned()).filter(|e_tag| !e_tag.is_empty()),
            modified: DateTime::from_timestamp(seconds, millis * 1_000_000).filter(|_| seconds > 0),
        };
        assert!(tag("\"a\"", 1, 0).is(&tag("a", 2, 0), false));
        assert!(!tag("a", 1, 0).is(&tag("b", 1, 0), false));
        assert!(tag("", 1, 7).is(&tag("b", 1, 0), false));
        assert!(!tag("", 1, 7).is(&tag("", 1, 0), true));
        assert!(!tag("a", 0, 0).is(&tag("", 1, 0), false));
        assert!(!tag("", 0, 0).is(&tag("", 0, 0), false));
    }
}
