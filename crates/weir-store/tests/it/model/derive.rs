//! Sources that are made from others.

use super::*;

impl Model {
    pub(super) fn derive(&mut self, name: &SourceName, lineage: Option<&NewLineage>) -> Result<(), No> {
        let own = self.source(name)?.clone();
        let Some(new) = lineage else {
            self.source(name)?.lineage = None;
            return Ok(());
        };
        let mut lineage = Lineage::default();
        for parent in &new.parents {
            lineage.parents.insert(self.source(parent)?.id);
        }
        let mut fits = !new.parents.is_empty();
        for (mine, origin) in &new.columns {
            let (NewOrigin::Copied(names) | NewOrigin::Computed(names)) = origin;
            if names.is_empty() {
                return Err("refused");
            }
            let mut from = BTreeSet::new();
            for (parent, theirs) in names {
                let source = self.source(parent)?;
                let column = source.column(theirs.as_str()).ok_or("column")?;
                from.insert(ParentColumn { source: source.id, column: column.id });
                let mine = own.column(mine.as_str());
                let copied = matches!(origin, NewOrigin::Copied(_));
                fits &= !copied || mine.is_none_or(|mine| mine.data_type == column.data_type);
                fits &= new.parents.contains(parent);
            }
            let id = own.column(mine.as_str()).ok_or("column")?.id;
            let origin = match origin {
                NewOrigin::Copied(_) => Origin::Copied(from),
                NewOrigin::Computed(_) => Origin::Computed(from),
            };
            lineage.columns.insert(id, origin);
        }
        if !fits || !lineage.parents.iter().all(|parent| self.is_whole(*parent, own.id)) {
            return Err("refused");
        }
        self.source(name)?.lineage = Some(lineage);
        Ok(())
    }

    /// Whether the source and all that it was made from are there, and `not` is none of them.
    fn is_whole(&self, id: SourceId, not: SourceId) -> bool {
        let Some(source) = self.sources.values().find(|source| source.id == id) else { return false };
        let mut parents = source.lineage.iter().flat_map(|lineage| &lineage.parents);
        id != not && parents.all(|parent| self.is_whole(*parent, not))
    }

    pub(super) fn learn_lineage(&mut self, learned: &BTreeMap<SourceId, SourceId>) {
        let real = |id: SourceId| learned.get(&id).copied().unwrap_or(id);
        for lineage in self.sources.values_mut().filter_map(|source| source.lineage.as_mut()) {
            lineage.parents = lineage.parents.iter().map(|parent| real(*parent)).collect();
            for origin in lineage.columns.values_mut() {
                let (Origin::Copied(from) | Origin::Computed(from)) = origin;
                *from = from.iter().map(|from| ParentColumn { source: real(from.source), ..*from }).collect();
            }
        }
    }
}

impl Generator {
    /// Of sources that there are before the batch, so that every id is known after it.
    pub(super) fn lineage(&mut self, model: &Model) -> Option<Change> {
        let own = model.sources.values().choose(&mut self.0)?;
        let source = own.name.clone();
        if self.0.random_ratio(1, 6) {
            return Some(Change::SetLineage { source, lineage: None });
        }
        let mut parents: BTreeSet<SourceName> = BTreeSet::new();
        for parent in model.sources.keys() {
            if *parent != source && self.0.random_ratio(2, 3) || self.0.random_ratio(1, 12) {
                parents.insert(parent.clone());
            }
        }
        if self.0.random_ratio(1, 20) {
            parents.insert(table("no.such"));
        }
        let mut columns = BTreeMap::new();
        for column in &own.columns {
            let all = model.sources.values().filter(|source| parents.contains(&source.name));
            let all = all.flat_map(|source| source.columns.iter().map(move |column| (source, column)));
            let alike = self.0.random_ratio(9, 10);
            let some: Vec<_> = all.filter(|(_, theirs)| !alike || theirs.data_type == column.data_type).collect();
            let count = self.0.random_range(0..3);
            let some = some.into_iter().sample(&mut self.0, count).into_iter();
            let some: BTreeSet<_> = some.map(|(source, theirs)| (source.name.clone(), theirs.name.clone())).collect();
            if !some.is_empty() || self.0.random_ratio(1, 30) {
                let copied = self.0.random();
                let origin = if copied { NewOrigin::Copied(some) } else { NewOrigin::Computed(some) };
                columns.insert(column.name.clone(), origin);
            }
        }
        Some(Change::SetLineage { source, lineage: Some(NewLineage { parents, columns }) })
    }
}
