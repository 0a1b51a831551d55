//! What data sources were made from.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use clap::Args;
use weir_model::{ColumnId, ColumnName, DataSource, Origin, ParentColumn, SourceId, SourceName};
use weir_policy::Facts;
use weir_store::{Change, NewLineage, NewOrigin};

use crate::commands::{self, find_column, key_value};
use crate::context::{Context, did_you_mean, find_source};
use crate::table;

/// The options that say what a data source was made from.
#[derive(Debug, Args)]
pub(super) struct Derivation {
    /// The data sources that it was made from, separated by commas: their policies hold for it too
    #[arg(long, value_name = "PARENT,…", value_delimiter = ',')]
    derived_from: Vec<SourceName>,
    /// A column that holds the unchanged value of a column of a parent; may be repeated
    #[arg(long, value_name = "COLUMN=PARENT.COLUMN", requires = "derived_from")]
    copies: Vec<String>,
    /// A column that is computed from these columns of parents; may be repeated. A column of which nothing is said is
    /// computed from every column of every parent
    #[arg(long, value_name = "COLUMN=PARENT.COLUMN,…", requires = "derived_from")]
    computed: Vec<String>,
}

impl Derivation {
    /// By names; every one of them is known. `columns` are those of the data source itself.
    pub(super) fn lineage(
        &self,
        name: &SourceName,
        columns: &[&ColumnName],
        facts: &Facts,
    ) -> anyhow::Result<Option<NewLineage>> {
        if self.derived_from.is_empty() {
            return Ok(None);
        }
        let parents: Vec<&DataSource> =
            self.derived_from.iter().map(|parent| find_source(facts, parent)).collect::<Result<_, _>>()?;
        let mut copied: BTreeMap<ColumnName, BTreeSet<(SourceName, ColumnName)>> = BTreeMap::new();
        let mut computed = copied.clone();
        for (given, found) in [(&self.copies, &mut copied), (&self.computed, &mut computed)] {
            for text in given {
                let (own, from) = key_value(text)?;
                let Some(own) = columns.iter().find(|column| column.as_str() == own) else {
                    let names = columns.iter().map(ToString::to_string);
                    bail!("data source `{name}` has no column `{own}`{}", did_you_mean(own, names));
                };
                let from: BTreeSet<_> =
                    from.split(',').map(|from| of_parent(from.trim(), &parents)).collect::<Result<_, _>>()?;
                found.entry((*own).clone()).or_default().extend(from);
            }
        }
        if let Some(twice) = copied.keys().find(|column| computed.contains_key(*column)) {
            bail!("column `{twice}` is either a copy or computed, not both");
        }
        let copied = copied.into_iter().map(|(column, from)| (column, NewOrigin::Copied(from)));
        let computed = computed.into_iter().map(|(column, from)| (column, NewOrigin::Computed(from)));
        let parents = self.derived_from.iter().cloned().collect();
        Ok(Some(NewLineage { parents, columns: copied.chain(computed).collect() }))
    }
}

/// `schema.table.column`, of one of the parents.
fn of_parent(text: &str, parents: &[&DataSource]) -> anyhow::Result<(SourceName, ColumnName)> {
    let inside = |parent: &&&DataSource| {
        let name = parent.name.to_string();
        text.strip_prefix(&name).is_some_and(|rest| rest.starts_with('.'))
    };
    let Some(parent) = parents.iter().filter(inside).max_by_key(|parent| parent.name.to_string().len()) else {
        let places = parents.iter().flat_map(|parent| {
            let name = |column| format!("{}.{column}", parent.name);
            parent.columns.iter().map(move |column| name(&column.name))
        });
        bail!("`{text}` is no column of a data source in --derived-from{}", did_you_mean(text, places));
    };
    let column = ColumnName::new(text.get(parent.name.to_string().len() + 1..).unwrap_or_default())?;
    if let Some(part) = parent.parts.iter().find(|part| part.column.name == column) {
        let outer = parent.column_by_id(part.within).map(|outer| outer.name.to_string()).unwrap_or_default();
        bail!(
            "`{text}` is inside of a column, which is copied or computed from as a whole\nhelp: write `{}.{outer}`",
            parent.name
        );
    }
    find_column(parent, &column)?;
    Ok((parent.name.clone(), column))
}

/// `weir source lineage`
pub(super) async fn set(context: &Context, name: SourceName, derivation: Derivation) -> anyhow::Result<()> {
    let store = context.store().await?;
    let facts = store.facts().await?;
    let source = find_source(&facts, &name)?;
    let columns: Vec<&ColumnName> = source.columns.iter().map(|column| &column.name).collect();
    let lineage = derivation.lineage(&name, &columns, &facts)?;
    let parents = table::joined(lineage.iter().flat_map(|lineage| &lineage.parents));
    let done = format!("data source `{name}` was made from: {parents}");
    commands::change(&store, Change::SetLineage { source: name, lineage }, &done).await
}

/// The names of the parents; those that are gone by number.
pub(super) fn parents(source: &DataSource, facts: &Facts) -> Vec<String> {
    let parents = source.lineage.iter().flat_map(|lineage| &lineage.parents);
    parents.map(|id| named(*id, facts).map_or_else(|| gone(*id), |parent| parent.name.to_string())).collect()
}

fn named(id: SourceId, facts: &Facts) -> Option<&DataSource> {
    facts.sources.iter().find(|source| source.id == id)
}

fn gone(id: SourceId) -> String {
    format!("(gone: data source {id})")
}

/// Where the values of a column come from; absent for a source that was not made from others.
pub(super) fn origin(source: &DataSource, column: ColumnId, facts: &Facts) -> Option<String> {
    let lineage = source.lineage.as_ref()?;
    let from = |from: &BTreeSet<ParentColumn>| {
        let place = |from: &ParentColumn| match named(from.source, facts) {
            Some(parent) => {
                let column = parent.column_by_id(from.column);
                column.map_or_else(
                    || "a column that is gone".to_owned(),
                    |column| format!("{}.{}", parent.name, column.name),
                )
            }
            None => gone(from.source),
        };
        table::joined(from.iter().map(place))
    };
    Some(match lineage.columns.get(&column) {
        Some(Origin::Copied(columns)) => format!("copy of {}", from(columns)),
        Some(Origin::Computed(columns)) => format!("computed from {}", from(columns)),
        None => "computed".to_owned(),
    })
}

/// What to tell when the source is gone: who was made from it.
pub(super) fn orphans(name: &SourceName, facts: &Facts) -> Vec<SourceName> {
    let Some(gone) = facts.sources.iter().find(|source| source.name == *name) else { return Vec::new() };
    let is_child = |source: &&DataSource| source.lineage.as_ref().is_some_and(|l| l.parents.contains(&gone.id));
    facts.sources.iter().filter(is_child).map(|source| source.name.clone()).collect()
}
