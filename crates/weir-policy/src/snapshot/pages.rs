//! A map by source id that successors share with it, page by page.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use weir_model::SourceId;

/// Ids on one page, and on one shelf of pages. A change copies a page, its shelf and the list of shelves: few enough
/// references in all that a change of many sources far apart is no copy of everything.
const PAGE: u32 = 16;
const SHELF: u32 = 256 * PAGE;

/// By id.
type Entries<T> = Vec<(SourceId, Arc<T>)>;

/// By number, none of them empty.
type Shelf<T> = Vec<(u32, Arc<Page<T>>)>;

#[derive(Debug)]
pub(super) struct Pages<T> {
    /// By number, none of them empty.
    shelves: BTreeMap<u32, Arc<Shelf<T>>>,
    len: usize,
}

struct Page<T> {
    entries: OnceLock<Entries<T>>,
    /// Whose entries will be made anew when somebody asks for the first of them, and how. Let go of then.
    stale: Mutex<Option<Stale<T>>>,
}

struct Stale<T> {
    page: Arc<Page<T>>,
    with: fn(&T) -> T,
}

impl<T> Page<T> {
    fn of(entries: Entries<T>) -> Self {
        Self { entries: OnceLock::from(entries), stale: Mutex::new(None) }
    }

    fn entries(&self) -> &Entries<T> {
        self.entries.get_or_init(|| {
            let stale = self.stale().take();
            let entries = stale.as_ref().map(|stale| (stale.page.entries(), stale.with));
            let anew = |(entries, with): (&Entries<T>, fn(&T) -> T)| {
                entries.iter().map(|(id, entry)| (*id, Arc::new(with(entry)))).collect()
            };
            entries.map(anew).unwrap_or_default()
        })
    }

    fn stale(&self) -> std::sync::MutexGuard<'_, Option<Stale<T>>> {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The page of entries made from those of this one, when somebody asks. Where these were not asked for, those that
    /// they would have been made from will do, so that no more than one page is kept for its entries.
    fn renewed(self: &Arc<Self>, with: fn(&T) -> T) -> Self {
        let before =
            if self.entries.get().is_some() { None } else { self.stale().as_ref().map(|stale| stale.page.clone()) };
        let page = before.unwrap_or_else(|| Arc::clone(self));
        Self { entries: OnceLock::new(), stale: Mutex::new(Some(Stale { page, with })) }
    }

    fn get(&self, id: SourceId) -> Option<&Arc<T>> {
        let entries = self.entries();
        let at = entries.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        entries.get(at).map(|(_, entry)| entry)
    }
}

impl<T> Pages<T> {
    pub(super) fn get(&self, id: SourceId) -> Option<&Arc<T>> {
        let shelf = self.shelves.get(&(id.0 / SHELF))?;
        let at = shelf.binary_search_by_key(&(id.0 / PAGE), |(number, _)| *number).ok()?;
        shelf.get(at)?.1.get(id)
    }

    /// Puts the entry in its place, or takes away the one that is there.
    pub(super) fn set(&mut self, id: SourceId, entry: Option<Arc<T>>) {
        let (shelf_number, number) = (id.0 / SHELF, id.0 / PAGE);
        let shelf = Arc::make_mut(self.shelves.entry(shelf_number).or_default());
        let place = match shelf.binary_search_by_key(&number, |(number, _)| *number) {
            Ok(place) => place,
            Err(place) => {
                shelf.insert(place, (number, Arc::new(Page::of(Vec::new()))));
                place
            }
        };
        let Some((_, page)) = shelf.get_mut(place) else { return };
        let mut entries = match Arc::get_mut(page).and_then(|page| page.entries.get_mut()) {
            Some(entries) => std::mem::take(entries),
            None => page.entries().clone(),
        };
        match (entries.binary_search_by_key(&id, |(id, _)| *id), entry) {
            (Ok(at), Some(entry)) => {
                if let Some(place) = entries.get_mut(at) {
                    *place = (id, entry);
                }
            }
            (Ok(at), None) => {
                entries.remove(at);
                self.len -= 1;
            }
            (Err(at), Some(entry)) => {
                entries.insert(at, (id, entry));
                self.len += 1;
            }
            (Err(_), None) => {}
        }
        if !entries.is_empty() {
            *page = Arc::new(Page::of(entries));
            return;
        }
        shelf.remove(place);
        if shelf.is_empty() {
            self.shelves.remove(&shelf_number);
        }
    }

    fn pages(&self) -> impl Iterator<Item = &(u32, Arc<Page<T>>)> {
        self.shelves.values().flat_map(|shelf| shelf.iter())
    }

    /// In the order of ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.pages().flat_map(|(_, page)| page.entries()).map(|(_, entry)| entry)
    }

    /// Replaces every entry by another that is the same, but new: twice is as good as once. Each page waits with that
    /// until somebody asks for one on it.
    pub(super) fn renew(&mut self, with: fn(&T) -> T) {
        for shelf in self.shelves.values_mut() {
            *shelf = Arc::new(shelf.iter().map(|(number, page)| (*number, Arc::new(page.renewed(with)))).collect());
        }
    }

    /// How many entries `other` does not share.
    pub(super) fn unlike(&self, other: &Self) -> usize {
        let shared = |number: u32, page: &Arc<Page<T>>| {
            let shelf = other.shelves.get(&(number / (SHELF / PAGE)));
            let at = shelf.and_then(|shelf| shelf.binary_search_by_key(&number, |(number, _)| *number).ok());
            let theirs = shelf.zip(at).and_then(|(shelf, at)| shelf.get(at));
            theirs.is_some_and(|(_, theirs)| Arc::ptr_eq(page, theirs))
        };
        let pages = self.pages().filter(|(number, page)| !shared(*number, page));
        let entries = pages.flat_map(|(_, page)| page.entries());
        entries.filter(|(id, entry)| other.get(*id).is_none_or(|theirs| !Arc::ptr_eq(entry, theirs))).count()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl<T> Clone for Pages<T> {
    fn clone(&self) -> Self {
        Self { shelves: self.shelves.clone(), len: self.len }
    }
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { shelves: BTreeMap::new(), len: 0 }
    }
}

impl<T> fmt::Debug for Page<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("is_asked", &self.entries.get().is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids on one page, on several of one shelf, and on several shelves.
    const IDS: [u32; 8] = [0, 1, 15, 16, 4_095, 4_096, 70_000, u32::MAX];

    fn told(pages: &Pages<u64>) -> Vec<u64> {
        assert_eq!(pages.len(), pages.iter().count());
        pages.iter().map(|entry| **entry).collect()
    }

    fn filled() -> Pages<u64> {
        let mut pages = Pages::default();
        for id in IDS.into_iter().rev() {
            pages.set(SourceId(id), Some(Arc::new(u64::from(id))));
        }
        pages
    }

    #[test]
    fn a_copy_stays_as_it_was() {
        let before = filled();
        for id in IDS {
            let mut pages = before.clone();
            pages.set(SourceId(id), Some(Arc::new(7)));
            assert_eq!((pages.unlike(&before), **pages.get(SourceId(id)).unwrap()), (1, 7));
            pages.set(SourceId(id), None);
            assert!(pages.get(SourceId(id)).is_none());
            assert_eq!(pages.len(), IDS.len() - 1);
            assert_eq!((pages.unlike(&before), before.unlike(&pages)), (0, 1));
            pages.set(SourceId(id), None);
            assert_eq!(pages.len(), IDS.len() - 1);
            pages.set(SourceId(id ^ 2), None);
            assert_eq!(told(&pages).len(), IDS.len() - 1);
        }
        assert_eq!(told(&before), IDS.map(u64::from));
        let mut none = before;
        IDS.iter().for_each(|id| none.set(SourceId(*id), None));
        assert!(none.shelves.is_empty());
    }

    #[test]
    fn entries_are_made_anew_when_somebody_asks_and_from_the_newest_that_there_are() {
        let first = filled();
        let mut pages = first.clone();
        // Asked for in between, or not.
        for ask in [true, false, false, true, false] {
            pages.renew(|entry| entry / 2);
            if ask {
                assert!(pages.get(SourceId(70_000)).is_some());
            }
        }
        assert_eq!(pages.get(SourceId(70_000)).map(|entry| **entry), Some(70_000 / 8));
        assert_eq!(pages.get(SourceId(16)).map(|entry| **entry), Some(16 / 2));
        assert_eq!(pages.unlike(&first), IDS.len());
        // Nobody needs the entries that these were made from any more.
        let page = |pages: &Pages<u64>| Arc::downgrade(&pages.shelves[&0][0].1);
        let mut next = first.clone();
        next.renew(|entry| entry + 1);
        let of_first = page(&first);
        drop(first);
        assert!(of_first.upgrade().is_some());
        assert_eq!(told(&next), IDS.map(|id| u64::from(id) + 1));
        assert!(of_first.upgrade().is_none());
    }
}
