//! What sources were made from.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{SqliteConnection, query};
use weir_model::{ColumnName, DataSource, Lineage, Origin, ParentColumn, SourceId, SourceName};
use weir_policy::check_lineage;

use crate::change::{Making, json, missing};
use crate::error::{Failure, StoreError};
use crate::facts;
use crate::sources::source_row;

/// What a data source was made from, by names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLineage {
    /// Not empty.
    pub parents: BTreeSet<SourceName>,
    /// A column that is not here is computed from every column of every parent.
    pub columns: BTreeMap<ColumnName, NewOrigin>,
}

/// Where the values of a column come from. Neither is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewOrigin {
    /// The same value as each of these columns has, of the same type.
    Copied(BTreeSet<(SourceName, ColumnName)>),
    Computed(BTreeSet<(SourceName, ColumnName)>),
}

/// Instead of the lineage before.
pub(crate) async fn set(
    tx: &mut SqliteConnection,
    making: &Making<'_>,
    name: &SourceName,
    lineage: Option<&NewLineage>,
) -> Result<(), Failure> {
    let row = source_row(tx, name).await?;
    let lineage = match lineage {
        None => None,
        Some(new) => {
            let sources = facts::read(tx).await?.understand(making.at_unix_ms, None)?.facts.sources;
            Some(json(&resolved(name, new, &sources)?)?)
        }
    };
    let update = query("UPDATE source SET lineage = ?1 WHERE id = ?2 AND lineage IS NOT ?1").bind(lineage).bind(row);
    update.execute(tx).await?;
    Ok(())
}

/// The lineage by ids, when the source can have it.
fn resolved(name: &SourceName, new: &NewLineage, sources: &[DataSource]) -> Result<Lineage, Failure> {
    let refused = |why: String| -> Failure {
        StoreError::refused(format!("data source `{name}` cannot be derived so"), why).into()
    };
    let find = |name: &SourceName| match sources.iter().find(|source| source.name == *name) {
        Some(found) => Ok(found),
        None => missing("data source", name),
    };
    let column = |source: &DataSource, column: &ColumnName| match source.column(column.as_str()) {
        Some(found) => Ok(found.id),
        None => missing("column", format!("{}.{column}", source.name)),
    };
    let own = find(name)?;
    let mut lineage = Lineage::default();
    for parent in &new.parents {
        lineage.parents.insert(find(parent)?.id);
    }
    for (mine, origin) in &new.columns {
        let resolve = |from: &BTreeSet<(SourceName, ColumnName)>| {
            if from.is_empty() {
                return Err(refused(format!("column `{mine}` must come from some column")));
            }
            let from = from.iter().map(|(parent, theirs)| {
                let parent = find(parent)?;
                Ok(ParentColumn { source: parent.id, column: column(parent, theirs)? })
            });
            from.collect::<Result<BTreeSet<_>, Failure>>()
        };
        let origin = match origin {
            NewOrigin::Copied(from) => Origin::Copied(resolve(from)?),
            NewOrigin::Computed(from) => Origin::Computed(resolve(from)?),
        };
        lineage.columns.insert(column(own, mine)?, origin);
    }
    let derived = DataSource { lineage: Some(lineage.clone()), ..own.clone() };
    let known = |id: SourceId| sources.iter().find(|source| source.id == id);
    check_lineage(&derived, &known).map_err(refused)?;
    Ok(lineage)
}
