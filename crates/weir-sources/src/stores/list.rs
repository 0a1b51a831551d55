//! What files there are at a place.

use std::path::PathBuf;

use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};
use weir_model::StoreKind;

use super::{Place, told};
use crate::error::SourceError;
use crate::planned::{SeenFile, Tag};

impl Place {
    /// Every file at or below the place, in the order of their paths. Hidden files and folders, and those that start
    /// with an underscore, are left out as writers' scratch.
    pub(crate) async fn files(&self) -> Result<Vec<SeenFile>, SourceError> {
        if self.is_local() {
            let shown = self.shown.clone();
            let listed = tokio::task::spawn_blocking(move || on_disk(&shown)).await;
            return listed.unwrap_or_else(|e| Err(unreadable(self.shown.clone())(std::io::Error::other(e))));
        }
        let mut files = if self.folder { self.below().await? } else { vec![self.one().await?] };
        files.sort_unstable();
        Ok(files)
    }

    async fn one(&self) -> Result<SeenFile, SourceError> {
        let meta = self.client.head(&self.path).await.map_err(|e| self.failed(&self.path, e))?;
        self.seen(meta)
    }

    async fn below(&self) -> Result<Vec<SeenFile>, SourceError> {
        if self.kind() == Some(StoreKind::Http) {
            let why = format!("`{}` is a folder of a web server, which cannot be listed", self.shown.display());
            return Err(SourceError::Store { why });
        }
        let listed: Vec<ObjectMeta> =
            self.client.list(Some(&self.path)).try_collect().await.map_err(|e| self.failed(&self.path, e))?;
        let is_data = |meta: &ObjectMeta| {
            let mut below = meta.location.prefix_match(&self.path).into_iter().flatten();
            below.all(|part| !part.as_ref().starts_with(['.', '_']))
        };
        listed.into_iter().filter(is_data).map(|meta| self.seen(meta)).collect()
    }

    fn seen(&self, meta: ObjectMeta) -> Result<SeenFile, SourceError> {
        let tag = Tag::of(&meta);
        if tag.is_unknown() {
            return Err(SourceError::Unversioned { path: self.shown.clone() });
        }
        Ok(SeenFile { tag, size: meta.size, path: meta.location })
    }

    pub(crate) fn failed(&self, path: &Path, e: object_store::Error) -> SourceError {
        SourceError::Store { why: told(&self.shown_at(path), self.secret(), &e) }
    }
}

fn unreadable(path: PathBuf) -> impl Fn(std::io::Error) -> SourceError {
    move |cause| SourceError::Unreadable { path: path.clone(), cause }
}

fn on_disk(path: &std::path::Path) -> Result<Vec<SeenFile>, SourceError> {
    let meta = std::fs::metadata(path).map_err(unreadable(path.to_owned()))?;
    if meta.is_file() {
        return Ok(vec![seen_on_disk(path, &meta)?]);
    }
    let (mut files, mut folders) = (Vec::new(), vec![path.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(unreadable(folder.clone()))? {
            let entry = entry.map_err(unreadable(folder.clone()))?;
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with(['.', '_']) {
                continue;
            }
            let meta = std::fs::metadata(&path).map_err(unreadable(path.clone()))?;
            if meta.is_dir() {
                folders.push(path);
            } else {
                files.push(seen_on_disk(&path, &meta)?);
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn seen_on_disk(path: &std::path::Path, meta: &std::fs::Metadata) -> Result<SeenFile, SourceError> {
    let modified = meta.modified().map_err(unreadable(path.to_owned()))?;
    let tag = Tag { e_tag: None, modified: Some(modified.into()) };
    let named = Path::from_absolute_path(path);
    let named = named.map_err(|e| unreadable(path.to_owned())(std::io::Error::other(e)))?;
    Ok(SeenFile { path: named, size: meta.len(), tag })
}
