//! What of a derived source comes from where, through all that it was made from.

use std::collections::{BTreeMap, BTreeSet};

use weir_model::{Column, ColumnId, DataSource, Lineage, Origin, SourceId, SourceName};

/// Most ways from a source to those that it was made from. Beyond, nobody can read it.
const WAYS_MAX: usize = 64;

/// A source that another was made from, by one way.
#[derive(Clone, Debug)]
pub(crate) struct Ancestor {
    pub(crate) id: SourceId,
    pub(crate) name: SourceName,
    pub(crate) lens: Lens,
}

/// Where columns and parts of an ancestor are found in the derived source.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lens {
    /// Copies of each.
    copies: BTreeMap<ColumnId, BTreeSet<ColumnId>>,
    /// The copy of those that every step has exactly one of: which of several a condition means, nobody can tell.
    single: BTreeMap<ColumnId, ColumnId>,
    /// Columns that tell something of it.
    computed: BTreeMap<ColumnId, BTreeSet<ColumnId>>,
}

impl Lens {
    pub(crate) fn copies(&self, place: ColumnId) -> impl Iterator<Item = ColumnId> {
        self.copies.get(&place).into_iter().flatten().copied()
    }

    pub(crate) fn computed(&self, place: ColumnId) -> impl Iterator<Item = ColumnId> {
        self.computed.get(&place).into_iter().flatten().copied()
    }

    /// Where a condition on the ancestor's rows reads it.
    pub(crate) fn single(&self, place: ColumnId) -> Option<ColumnId> {
        self.single.get(&place).copied()
    }

    /// From the parent to the source that was made from it.
    fn step(source: &DataSource, lineage: &Lineage, parent: &DataSource) -> Result<Self, String> {
        let mut lens = Self::default();
        for own in &source.columns {
            let Some(origin) = lineage.columns.get(&own.id).filter(|origin| !origin.from().is_empty()) else {
                parent.columns.iter().for_each(|column| lens.compute(own, parent, column));
                continue;
            };
            for from in origin.from().iter().filter(|from| from.source == parent.id) {
                let column = parent.column_by_id(from.column).ok_or_else(|| {
                    format!(
                        "column `{}` of `{}` comes from a column of `{}` that is gone",
                        own.name, source.name, parent.name
                    )
                })?;
                match origin {
                    Origin::Copied(_) if column.data_type == own.data_type => lens.copy(source, own, parent, column),
                    Origin::Copied(_) | Origin::Computed(_) => lens.compute(own, parent, column),
                }
            }
        }
        for from in lineage.conditions.iter().filter(|from| from.source == parent.id) {
            let column = parent.column_by_id(from.column).ok_or_else(|| {
                format!("the rows of `{}` come from a column of `{}` that is gone", source.name, parent.name)
            })?;
            let copies = |own: &&Column| match lineage.columns.get(&own.id) {
                Some(Origin::Copied(of)) => of.contains(from) && own.data_type == column.data_type,
                Some(Origin::Computed(_)) | None => false,
            };
            source.columns.iter().filter(|own| !copies(own)).for_each(|own| lens.compute(own, parent, column));
        }
        for (place, copies) in &lens.copies {
            if let (Some(only), 1) = (copies.first(), copies.len()) {
                lens.single.insert(*place, *only);
            }
        }
        Ok(lens)
    }

    fn copy(&mut self, source: &DataSource, own: &Column, parent: &DataSource, column: &Column) {
        self.copies.entry(column.id).or_default().insert(own.id);
        for part in parent.parts.iter().filter(|part| part.within == column.id) {
            match source.parts.iter().find(|mine| mine.within == own.id && mine.path == part.path) {
                Some(mine) => self.copies.entry(part.column.id).or_default().insert(mine.column.id),
                None => self.computed.entry(part.column.id).or_default().insert(own.id),
            };
        }
    }

    fn compute(&mut self, own: &Column, parent: &DataSource, column: &Column) {
        let inside = parent.parts.iter().filter(|part| part.within == column.id).map(|part| part.column.id);
        for place in std::iter::once(column.id).chain(inside) {
            self.computed.entry(place).or_default().insert(own.id);
        }
    }

    /// From further up: `step` leads to the source that this one starts at.
    fn after(&self, step: &Self) -> Self {
        let mut lens = Self::default();
        for (place, between) in &step.single {
            lens.single.extend(self.single(*between).map(|here| (*place, here)));
        }
        for (place, between) in &step.copies {
            for between in between {
                lens.copies.entry(*place).or_default().extend(self.copies(*between));
                lens.computed.entry(*place).or_default().extend(self.computed(*between));
            }
        }
        for (place, between) in &step.computed {
            for between in between {
                let here = lens.computed.entry(*place).or_default();
                here.extend(self.copies(*between));
                here.extend(self.computed(*between));
            }
        }
        lens
    }
}

/// All that the source was made from, by every way, or why that cannot be told.
pub(crate) fn ancestors<'a>(
    source: &DataSource,
    find: &impl Fn(SourceId) -> Option<&'a DataSource>,
) -> Result<Vec<Ancestor>, String> {
    ancestors_but(source, find, &|_, _| false)
}

/// As [`ancestors`], but for what is reached by a step, from a source to a parent, that is to be left out.
pub(crate) fn ancestors_but<'a>(
    source: &DataSource,
    find: &impl Fn(SourceId) -> Option<&'a DataSource>,
    left_out: &impl Fn(&Lineage, SourceId) -> bool,
) -> Result<Vec<Ancestor>, String> {
    let mut found = Vec::new();
    climb(source, None, &mut vec![source.id], (find, left_out), &mut found)?;
    Ok(found)
}

fn climb<'a>(
    source: &DataSource,
    beyond: Option<&Lens>,
    path: &mut Vec<SourceId>,
    (find, left_out): (&impl Fn(SourceId) -> Option<&'a DataSource>, &impl Fn(&Lineage, SourceId) -> bool),
    found: &mut Vec<Ancestor>,
) -> Result<(), String> {
    let Some(lineage) = &source.lineage else { return Ok(()) };
    let name = &source.name;
    if lineage.parents.is_empty() {
        return Err(format!("`{name}` is derived from nothing"));
    }
    let mut from = lineage.columns.values().flat_map(Origin::from).chain(&lineage.conditions);
    if from.any(|from| !lineage.parents.contains(&from.source)) {
        return Err(format!("a column of `{name}` comes from a source that `{name}` is not derived from"));
    }
    for id in lineage.parents.iter().filter(|id| !left_out(lineage, **id)) {
        let parent = find(*id).ok_or_else(|| format!("data source {id}, which `{name}` is derived from, is gone"))?;
        if path.contains(id) {
            return Err(format!("`{}` is derived from itself", parent.name));
        }
        if found.len() == WAYS_MAX {
            return Err(format!("`{name}` is derived from others in more than {WAYS_MAX} ways"));
        }
        let step = Lens::step(source, lineage, parent)?;
        let lens = beyond.map_or_else(|| step.clone(), |beyond| beyond.after(&step));
        found.push(Ancestor { id: *id, name: parent.name.clone(), lens: lens.clone() });
        path.push(*id);
        climb(parent, Some(&lens), path, (find, left_out), found)?;
        path.pop();
    }
    Ok(())
}

/// Whether the source can be derived as its lineage says; `find` knows the others.
///
/// # Errors
/// Why not: what it is made from is not there or is made from it, or a copy is not of the type of its original.
pub fn check_lineage<'a>(
    source: &DataSource,
    find: &impl Fn(SourceId) -> Option<&'a DataSource>,
) -> Result<(), String> {
    ancestors(source, find)?;
    for (id, origin) in source.lineage.iter().flat_map(|lineage| &lineage.columns) {
        let Some(own) = source.column_by_id(*id) else {
            return Err(format!("`{}` has no column {id}", source.name));
        };
        let from = match origin {
            Origin::Copied(from) => from,
            Origin::Computed(_) => continue,
        };
        for from in from {
            let Some((parent, column)) = find(from.source).and_then(|p| Some((p, p.column_by_id(from.column)?))) else {
                continue;
            };
            if column.data_type != own.data_type {
                return Err(format!(
                    "column `{}` of type {} is no copy of `{}.{}` of type {}",
                    own.name, own.data_type, parent.name, column.name, column.data_type
                ));
            }
        }
    }
    Ok(())
}

/// The sources with all that are derived from any of them, directly or not.
pub(crate) fn with_derived<'a>(
    mut of: BTreeSet<SourceId>,
    sources: impl Iterator<Item = &'a DataSource> + Clone,
) -> BTreeSet<SourceId> {
    loop {
        let parents = |source: &&DataSource| {
            source.lineage.iter().flat_map(|lineage| &lineage.parents).any(|parent| of.contains(parent))
        };
        let more: Vec<SourceId> =
            sources.clone().filter(parents).map(|source| source.id).filter(|id| !of.contains(id)).collect();
        if more.is_empty() {
            return of;
        }
        of.extend(more);
    }
}
