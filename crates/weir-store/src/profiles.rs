//! What is known of the values in the columns of sources.

use std::collections::BTreeMap;

use sqlx::{SqliteConnection, query};
use weir_model::{ColumnName, Profile, SourceName};

use crate::change::json;
use crate::error::Failure;
use crate::sources::{column_row, source_row};

/// Instead of all that was known of the source before.
pub(crate) async fn set(
    tx: &mut SqliteConnection,
    source: &SourceName,
    profiles: &BTreeMap<ColumnName, Profile>,
) -> Result<(), Failure> {
    let row = source_row(tx, source).await?;
    let mut known = Vec::with_capacity(profiles.len());
    for (column, profile) in profiles {
        let (_, id) = column_row(tx, source, column).await?;
        let update = "UPDATE source_column SET profile = ?1 WHERE source = ?2 AND id = ?3 AND profile IS NOT ?1";
        query(update).bind(json(profile)?).bind(row).bind(id.0).execute(&mut *tx).await?;
        known.push(id);
    }
    let forget = "UPDATE source_column SET profile = NULL WHERE source = ?1 AND profile IS NOT NULL
        AND id NOT IN (SELECT value FROM json_each(?2))";
    query(forget).bind(row).bind(json(&known)?).execute(tx).await?;
    Ok(())
}
