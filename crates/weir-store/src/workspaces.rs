//! Tables that members of projects write.

use sqlx::{SqliteConnection, query, query_scalar};
use weir_model::{DataSource, Lineage, Location, ProjectName, SourceId, SourceName};
use weir_policy::check_lineage;

use crate::change::{Making, found, json, missing};
use crate::error::{Failure, StoreError};
use crate::sources::{NewSource, add_source, source_row};
use crate::{facts, projects};

/// Schemas that are never a workspace.
const RESERVED: [&str; 3] = ["public", "information_schema", "weir"];

/// A schema of the project's own, in which there must be nothing; without one, the project has no workspace.
pub(crate) async fn set(tx: &mut SqliteConnection, project: &ProjectName, schema: Option<&str>) -> Result<(), Failure> {
    let row = projects::row(tx, project).await?;
    let before: Option<String> =
        query_scalar("SELECT workspace FROM project WHERE id = ?").bind(row).fetch_one(&mut *tx).await?;
    if before.as_deref() == schema {
        return Ok(());
    }
    must_be_empty(tx, project, row).await?;
    if let Some(schema) = schema {
        let refused = |why: &str| StoreError::refused(format!("`{schema}` cannot be a workspace"), why);
        if RESERVED.contains(&schema) || schema.starts_with("pg_") {
            return Err(refused("the name has a meaning already").into());
        }
        if SourceName::new(schema, "t").is_err() {
            return Err(refused("it is no name of a schema").into());
        }
        let taken = "SELECT EXISTS (SELECT 1 FROM source WHERE schema_name = ?1)
            OR EXISTS (SELECT 1 FROM project WHERE workspace = ?1)";
        if query_scalar(taken).bind(schema).fetch_one(&mut *tx).await? {
            return Err(StoreError::Exists { kind: "schema", name: schema.to_owned() }.into());
        }
    }
    query("UPDATE project SET workspace = ? WHERE id = ?").bind(schema).bind(row).execute(tx).await?;
    Ok(())
}

/// A project with tables keeps its workspace, and stays.
pub(crate) async fn must_be_empty(tx: &mut SqliteConnection, project: &ProjectName, row: i64) -> Result<(), Failure> {
    let select = "SELECT schema_name || '.' || table_name FROM source WHERE workspace = ? ORDER BY 1 LIMIT 1";
    let table: Option<String> = query_scalar(select).bind(row).fetch_optional(tx).await?;
    match table {
        None => Ok(()),
        Some(table) => Err(StoreError::InUse {
            what: format!("the workspace of project `{project}`"),
            by: format!("table `{table}`"),
        }
        .into()),
    }
}

/// What is registered there was written there.
pub(crate) async fn must_not_be(tx: &mut SqliteConnection, source: &SourceName) -> Result<(), Failure> {
    let select = query_scalar("SELECT name FROM project WHERE workspace = ?").bind(source.schema());
    let project: Option<String> = select.fetch_optional(tx).await?;
    match project {
        None => Ok(()),
        Some(project) => {
            let by = format!("project `{project}` as its workspace");
            Err(StoreError::InUse { what: format!("schema `{}`", source.schema()), by }.into())
        }
    }
}

/// Registers a new table in the workspace of the project.
pub(crate) async fn write(
    tx: &mut SqliteConnection,
    making: &Making<'_>,
    project: &ProjectName,
    table: &NewSource,
    lineage: Option<&Lineage>,
) -> Result<(), Failure> {
    let row = projects::row(tx, project).await?;
    let workspace: Option<String> =
        query_scalar("SELECT workspace FROM project WHERE id = ?").bind(row).fetch_one(&mut *tx).await?;
    if workspace.as_deref() != Some(table.name.schema()) {
        return missing("workspace", format!("{} of project {project}", table.name.schema()));
    }
    add_source(tx, making, table).await?;
    let source = source_row(tx, &table.name).await?;
    query("UPDATE source SET workspace = ? WHERE id = ?").bind(row).bind(source).execute(&mut *tx).await?;
    made_from(tx, making, &table.name, source, lineage).await
}

/// Gives a table other rows, unless somebody else did meanwhile.
pub(crate) async fn rewrite(
    tx: &mut SqliteConnection,
    making: &Making<'_>,
    name: &SourceName,
    was: &(SourceId, Location),
    location: &Location,
    lineage: Option<&Lineage>,
) -> Result<(), Failure> {
    let source = expect(tx, name, was).await?;
    query("UPDATE source SET location = ? WHERE id = ?").bind(json(location)?).bind(source).execute(&mut *tx).await?;
    made_from(tx, making, name, source, lineage).await
}

/// Takes a table out of its workspace, unless it is another one by now.
pub(crate) async fn drop_table(
    tx: &mut SqliteConnection,
    name: &SourceName,
    was: &(SourceId, Location),
) -> Result<(), Failure> {
    let source = expect(tx, name, was).await?;
    found(query("DELETE FROM source WHERE id = ?").bind(source).execute(tx).await?, "data source", name)
}

async fn expect(
    tx: &mut SqliteConnection,
    name: &SourceName,
    (id, location): &(SourceId, Location),
) -> Result<i64, Failure> {
    let select = "SELECT id FROM source WHERE id = ? AND schema_name = ? AND table_name = ? AND location = ?
        AND workspace IS NOT NULL";
    let row = query_scalar(select).bind(id.0).bind(name.schema()).bind(name.table()).bind(json(location)?);
    match row.fetch_optional(tx).await? {
        Some(row) => Ok(row),
        None => {
            let what = format!("table `{name}` cannot be written");
            Err(StoreError::refused(what, "somebody else wrote it meanwhile").into())
        }
    }
}

async fn made_from(
    tx: &mut SqliteConnection,
    making: &Making<'_>,
    name: &SourceName,
    row: i64,
    lineage: Option<&Lineage>,
) -> Result<(), Failure> {
    let text = lineage.map(json).transpose()?;
    query("UPDATE source SET lineage = ? WHERE id = ?").bind(text).bind(row).execute(&mut *tx).await?;
    let sources = facts::read(tx).await?.understand(making.at_unix_ms, None)?.facts.sources;
    let find = |id: SourceId| sources.iter().find(|source| source.id == id);
    let Some(own) = sources.iter().find(|source: &&DataSource| source.name == *name) else {
        return missing("data source", name);
    };
    let refused = |why: String| StoreError::refused(format!("table `{name}` cannot be written"), why).into();
    check_lineage(own, &find).map_err(refused)
}
