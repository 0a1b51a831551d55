//! Data sources as they are registered, and what is known of their columns.

use std::collections::BTreeSet;

use sqlx::sqlite::SqliteQueryResult;
use sqlx::{SqliteConnection, query, query_scalar};
use weir_model::{Column, ColumnId, ColumnName, DataType, Location, Part, PrincipalId, SourceName, Tag, TypeClass};

use crate::change::{Making, json, link, missing};
use crate::error::{Failure, StoreError};
use crate::keys::{self, Of};
use crate::people::user_row;
use crate::{connections, facts};

/// A data source to register. Its id, its columns' ids and its key are made by the store.
#[derive(Clone, Debug)]
pub struct NewSource {
    pub name: SourceName,
    pub tags: BTreeSet<Tag>,
    /// Existing users.
    pub owners: BTreeSet<PrincipalId>,
    /// In the order in which queries see them.
    pub columns: Vec<NewColumn>,
    /// Columns whose values together tell rows apart; may be none.
    pub row_key: Vec<ColumnName>,
    /// The column of dates or timestamps that says when what a row tells of happened.
    pub event_time: Option<ColumnName>,
    pub location: Location,
}

#[derive(Clone, Debug)]
pub struct NewColumn {
    pub name: ColumnName,
    pub data_type: DataType,
    pub nullable: bool,
    pub tags: BTreeSet<Tag>,
}

pub(crate) const ADD_OWNER: &str = "INSERT OR IGNORE INTO source_owner (source, principal) VALUES (?, ?)";

pub(crate) async fn add_source(
    tx: &mut SqliteConnection,
    making: &Making<'_>,
    source: &NewSource,
) -> Result<(), Failure> {
    let insert = "INSERT INTO source (schema_name, table_name, location, tags, next_column) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (schema_name, table_name) DO NOTHING RETURNING id";
    connections::check(tx, &source.location).await?;
    let (parts, next_column) = new_parts(source)?;
    let id: Option<i64> = query_scalar(insert)
        .bind(source.name.schema())
        .bind(source.name.table())
        .bind(json(&source.location)?)
        .bind(json(&source.tags)?)
        .bind(next_column)
        .fetch_optional(&mut *tx)
        .await?;
    let Some(id) = id else {
        return Err(StoreError::Exists { kind: "data source", name: source.name.to_string() }.into());
    };
    for (number, column) in (1u32..).zip(&source.columns) {
        let insert = "INSERT INTO source_column (source, id, position, name, type, nullable, tags) VALUES (?1, ?2, ?2, ?3, ?4, ?5, ?6)
            ON CONFLICT (source, name) DO NOTHING";
        let insert = query(insert).bind(id).bind(number).bind(column.name.as_str()).bind(json(&column.data_type)?);
        let done = insert.bind(column.nullable).bind(json(&column.tags)?).execute(&mut *tx).await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::Exists { kind: "column", name: format!("{}.{}", source.name, column.name) }.into());
        }
    }
    for part in parts {
        let name = part.column.name.as_str();
        if source.columns.iter().any(|column| column.name.as_str() == name) {
            return Err(StoreError::Exists { kind: "column", name: format!("{}.{name}", source.name) }.into());
        }
        let insert = query("INSERT INTO source_part (source, id, within, name, tags) VALUES (?, ?, ?, ?, '[]')");
        insert.bind(id).bind(part.column.id.0).bind(part.within.0).bind(name).execute(&mut *tx).await?;
    }
    for owner in &source.owners {
        relate(tx, ADD_OWNER, &source.name, owner).await?;
    }
    set_row_key(tx, &source.name, &source.row_key).await?;
    set_event_time(tx, &source.name, source.event_time.as_ref()).await?;
    keys::make(tx, making.vault, Of::Source(id), making.at()).await
}

/// What is inside of the columns, whose own ids are counted from 1; and the first id that nothing has.
fn new_parts(source: &NewSource) -> Result<(Vec<Part>, u32), Failure> {
    let mut next = u32::try_from(source.columns.len()).unwrap_or(u32::MAX).saturating_add(1);
    let mut parts = Vec::new();
    for (number, column) in (1u32..).zip(&source.columns) {
        let NewColumn { name, data_type, nullable, tags } = column.clone();
        let column = Column { id: ColumnId(number), name, data_type, nullable, tags, profile: None };
        let mut id = || {
            let id = ColumnId(next);
            next = next.saturating_add(1);
            id
        };
        let found = Part::of(&column, &mut id).map_err(|e| {
            StoreError::refused(format!("data source `{}` cannot be registered", source.name), e.to_string())
        })?;
        parts.extend(found);
    }
    let mut names: Vec<&str> = parts.iter().map(|part| part.column.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair.first() == pair.last()).and_then(|pair| pair.first()) {
        None => Ok((parts, next)),
        Some(twice) => Err(StoreError::Exists { kind: "column", name: format!("{}.{twice}", source.name) }.into()),
    }
}

pub(crate) async fn set_tags(
    tx: &mut SqliteConnection,
    source: &SourceName,
    tags: &BTreeSet<Tag>,
) -> Result<(), Failure> {
    let id = source_row(tx, source).await?;
    let update = query("UPDATE source SET tags = ?1 WHERE id = ?2 AND tags <> ?1").bind(json(tags)?).bind(id);
    update.execute(tx).await?;
    Ok(())
}

/// Of a column, or of what is inside of one.
pub(crate) async fn set_column_tags(
    tx: &mut SqliteConnection,
    source: &SourceName,
    column: &ColumnName,
    tags: &BTreeSet<Tag>,
) -> Result<(), Failure> {
    let id = source_row(tx, source).await?;
    let part = query("UPDATE source_part SET tags = ?1 WHERE source = ?2 AND name = ?3 AND tags <> ?1");
    part.bind(json(tags)?).bind(id).bind(column.as_str()).execute(&mut *tx).await?;
    if !has_part(tx, id, column).await? {
        let id = column_row(tx, source, column).await?;
        let update = query("UPDATE source_column SET tags = ?1 WHERE source = ?2 AND id = ?3 AND tags <> ?1");
        update.bind(json(tags)?).bind(id.0).bind(id.1.0).execute(tx).await?;
    }
    Ok(())
}

async fn has_part(tx: &mut SqliteConnection, source: i64, name: &ColumnName) -> Result<bool, Failure> {
    let select = query_scalar("SELECT EXISTS (SELECT 1 FROM source_part WHERE source = ? AND name = ?)");
    Ok(select.bind(source).bind(name.as_str()).fetch_one(tx).await?)
}

pub(crate) async fn set_row_key(
    tx: &mut SqliteConnection,
    source: &SourceName,
    columns: &[ColumnName],
) -> Result<(), Failure> {
    let mut ids = Vec::with_capacity(columns.len());
    for column in columns {
        let (_, id) = column_row(tx, source, column).await?;
        if ids.contains(&id) {
            let what = format!("the row key of data source `{source}` cannot be set");
            return Err(StoreError::refused(what, format!("column `{column}` is in it twice")).into());
        }
        ids.push(id);
    }
    let source = source_row(tx, source).await?;
    let update = query("UPDATE source SET row_key = ?1 WHERE id = ?2 AND row_key <> ?1").bind(json(&ids)?).bind(source);
    update.execute(tx).await?;
    Ok(())
}

pub(crate) async fn set_event_time(
    tx: &mut SqliteConnection,
    source: &SourceName,
    column: Option<&ColumnName>,
) -> Result<(), Failure> {
    let row = source_row(tx, source).await?;
    let mut id = None;
    if let Some(column) = column {
        let (_, found) = column_row(tx, source, column).await?;
        let select = query_scalar("SELECT type FROM source_column WHERE source = ? AND id = ?").bind(row).bind(found.0);
        let text: String = select.fetch_one(&mut *tx).await?;
        let data_type: DataType = facts::json(|| format!("column `{source}.{column}`"), &text)?;
        if ![TypeClass::Date, TypeClass::Timestamp].contains(&data_type.class()) {
            let what = format!("column `{source}.{column}` cannot be the event time");
            return Err(StoreError::refused(what, format!("it is of type {data_type}, not a date or timestamp")).into());
        }
        id = Some(found.0);
    }
    let update = query("UPDATE source SET event_time = ?1 WHERE id = ?2 AND event_time IS NOT ?1").bind(id).bind(row);
    update.execute(tx).await?;
    Ok(())
}

pub(crate) async fn source_row(tx: &mut SqliteConnection, name: &SourceName) -> Result<i64, Failure> {
    let select = query_scalar("SELECT id FROM source WHERE schema_name = ? AND table_name = ?");
    match select.bind(name.schema()).bind(name.table()).fetch_optional(tx).await? {
        Some(id) => Ok(id),
        None => missing("data source", name),
    }
}

pub(crate) async fn column_row(
    tx: &mut SqliteConnection,
    source: &SourceName,
    column: &ColumnName,
) -> Result<(i64, ColumnId), Failure> {
    let id = source_row(tx, source).await?;
    let select = query_scalar("SELECT id FROM source_column WHERE source = ? AND name = ?");
    match select.bind(id).bind(column.as_str()).fetch_optional(tx).await? {
        Some(column) => Ok((id, ColumnId(column))),
        None => missing("column", format!("{source}.{column}")),
    }
}

/// Runs `sql` with a source and a principal, both of which must exist.
pub(crate) async fn relate(
    tx: &mut SqliteConnection,
    sql: &'static str,
    source: &SourceName,
    user: &PrincipalId,
) -> Result<SqliteQueryResult, Failure> {
    let (source, user) = (source_row(tx, source).await?, user_row(tx, user).await?);
    link(tx, sql, source, user).await
}
