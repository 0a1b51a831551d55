//! Data sources of worlds that were made from others.

use std::collections::{BTreeMap, BTreeSet};

use weir_model::{ColumnId, ColumnName, DataSource, Lineage, Origin, ParentColumn, SourceId, SourceName};
use weir_policy::check_lineage;

use super::Source;

/// What a source was made from, as the file says it.
#[derive(Default)]
pub(super) struct Derivation {
    parents: BTreeSet<SourceName>,
    copies: BTreeMap<ColumnName, BTreeSet<String>>,
    computed: BTreeMap<ColumnName, BTreeSet<String>>,
}

impl Derivation {
    pub(super) fn of(given: &Source) -> Self {
        let Source { derived_from, copies, computed, .. } = given;
        Self { parents: derived_from.clone(), copies: copies.clone(), computed: computed.clone() }
    }

    fn is_empty(&self) -> bool {
        self.parents.is_empty() && self.copies.is_empty() && self.computed.is_empty()
    }
}

/// Gives each of the sources its lineage, in their order. Those that are `gone` have the ids after them.
pub(super) fn derive(sources: &mut [DataSource], given: &[Derivation], gone: &[SourceName]) -> Result<(), String> {
    let names: Vec<SourceName> = sources.iter().map(|source| source.name.clone()).chain(gone.iter().cloned()).collect();
    let ids: BTreeMap<&SourceName, SourceId> = names.iter().zip((1..).map(SourceId)).collect();
    let derived: Vec<(usize, Lineage)> = given
        .iter()
        .enumerate()
        .filter(|(_, derivation)| !derivation.is_empty())
        .map(|(place, derivation)| {
            let source = sources.get(place).ok_or_else(|| "a data source is missing".to_owned())?;
            Ok((place, lineage(source, derivation, sources, &ids)?))
        })
        .collect::<Result<_, String>>()?;
    for (place, lineage) in derived {
        if let Some(source) = sources.get_mut(place) {
            source.lineage = Some(lineage);
        }
    }
    // What comes from something that is gone was derived when it was there.
    let whole = |source: &&DataSource| comes_from(source, sources).iter().all(|id| find(sources, *id).is_some());
    sources.iter().filter(whole).try_for_each(|source| check_lineage(source, &|id| find(sources, id)))
}

fn find(sources: &[DataSource], id: SourceId) -> Option<&DataSource> {
    sources.iter().find(|source| source.id == id)
}

/// All that the source was made from, directly or not.
fn comes_from(source: &DataSource, sources: &[DataSource]) -> BTreeSet<SourceId> {
    let mut found = BTreeSet::new();
    let mut next = vec![source];
    while let Some(source) = next.pop() {
        for parent in source.lineage.iter().flat_map(|lineage| &lineage.parents) {
            if found.insert(*parent) {
                next.extend(find(sources, *parent));
            }
        }
    }
    found
}

fn lineage(
    source: &DataSource,
    given: &Derivation,
    sources: &[DataSource],
    ids: &BTreeMap<&SourceName, SourceId>,
) -> Result<Lineage, String> {
    let Derivation { parents, copies, computed } = given;
    let parent = |name: &SourceName| {
        let id = ids.get(name).copied();
        id.ok_or_else(|| format!("the world has no data source `{name}`, which `{}` is derived from", source.name))
    };
    let of_parent = |text: &String| {
        let inside =
            |name: &&SourceName| text.strip_prefix(&name.to_string()).is_some_and(|rest| rest.starts_with('.'));
        let name = parents.iter().filter(inside).max_by_key(|name| name.to_string().len());
        let name = name.ok_or_else(|| format!("`{text}` is no column of what `{}` is derived from", source.name))?;
        let id = parent(name)?;
        let column = text.get(name.to_string().len() + 1..).unwrap_or_default();
        // Of one that is gone nobody knows the columns.
        let column = match find(sources, id) {
            None => ColumnId(0),
            Some(parent) => {
                parent.column(column).map(|column| column.id).ok_or_else(|| format!("there is no column `{text}`"))?
            }
        };
        Ok(ParentColumn { source: id, column })
    };
    let own = |name: &ColumnName| {
        let column = source.column(name.as_str()).map(|column| column.id);
        column.ok_or_else(|| format!("data source `{}` has no column `{name}`", source.name))
    };
    let mut lineage = Lineage { parents: parents.iter().map(parent).collect::<Result<_, _>>()?, ..Lineage::default() };
    for (name, from) in copies {
        let from = from.iter().map(of_parent).collect::<Result<_, String>>()?;
        lineage.columns.insert(own(name)?, Origin::Copied(from));
    }
    for (name, from) in computed {
        let from = from.iter().map(of_parent).collect::<Result<_, String>>()?;
        if lineage.columns.insert(own(name)?, Origin::Computed(from)).is_some() {
            return Err(format!("column `{name}` of `{}` is either a copy or computed, not both", source.name));
        }
    }
    Ok(lineage)
}
