//! A map by source id that successors share with it, page by page.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_model::SourceId;

/// Ids on one page. A change copies one page and the list of pages.
const PAGE: u32 = 256;

type Page<T> = Vec<(SourceId, Arc<T>)>;

#[derive(Debug)]
pub(super) struct Pages<T> {
    /// By number, none of them empty; entries by id.
    pages: BTreeMap<u32, Arc<Page<T>>>,
    len: usize,
}

impl<T> Pages<T> {
    pub(super) fn get(&self, id: SourceId) -> Option<&Arc<T>> {
        let page = self.pages.get(&(id.0 / PAGE))?;
        let at = page.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        page.get(at).map(|(_, entry)| entry)
    }

    /// Puts the entry in its place, or takes away the one that is there.
    pub(super) fn set(&mut self, id: SourceId, entry: Option<Arc<T>>) {
        let page = Arc::make_mut(self.pages.entry(id.0 / PAGE).or_default());
        match (page.binary_search_by_key(&id, |(id, _)| *id), entry) {
            (Ok(at), Some(entry)) => {
                if let Some(place) = page.get_mut(at) {
                    *place = (id, entry);
                }
            }
            (Ok(at), None) => {
                page.remove(at);
                self.len -= 1;
            }
            (Err(at), Some(entry)) => {
                page.insert(at, (id, entry));
                self.len += 1;
            }
            (Err(_), None) => {}
        }
        if page.is_empty() {
            self.pages.remove(&(id.0 / PAGE));
        }
    }

    /// In the order of ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.pages.values().flat_map(|page| page.iter()).map(|(_, entry)| entry)
    }

    /// Replaces every entry.
    pub(super) fn map(&mut self, with: impl Fn(&T) -> T) {
        for page in self.pages.values_mut() {
            *page = Arc::new(page.iter().map(|(id, entry)| (*id, Arc::new(with(entry)))).collect());
        }
    }

    /// How many entries `other` does not share.
    pub(super) fn unlike(&self, other: &Self) -> usize {
        let pages = self
            .pages
            .iter()
            .filter(|(number, page)| other.pages.get(number).is_none_or(|theirs| !Arc::ptr_eq(page, theirs)));
        let entries = pages.flat_map(|(_, page)| page.iter());
        entries.filter(|(id, entry)| other.get(*id).is_none_or(|theirs| !Arc::ptr_eq(entry, theirs))).count()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl<T> Clone for Pages<T> {
    fn clone(&self) -> Self {
        Self { pages: self.pages.clone(), len: self.len }
    }
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { pages: BTreeMap::new(), len: 0 }
    }
}
