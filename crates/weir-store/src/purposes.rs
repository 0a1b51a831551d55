//! The registry of purposes, and what whoever acts for one promises.

use std::collections::BTreeMap;

use sqlx::{SqliteConnection, query, query_as, query_scalar};
use weir_model::PurposeName;

use crate::change::{found, missing};
use crate::error::{Failure, StoreError};

/// A registered purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurposeRecord {
    pub purpose: PurposeName,
    /// Its own.
    pub statement: Option<String>,
    /// What has to be acknowledged: its own, else that of the nearest purpose above it that has one. Absent: nothing.
    pub holds: Option<String>,
}

/// Of all purposes, by name.
#[derive(Debug, Default)]
pub(crate) struct Statements(BTreeMap<String, Option<String>>);

impl Statements {
    pub(crate) async fn read(conn: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let rows: Vec<(String, Option<String>)> =
            query_as("SELECT name, statement FROM purpose").fetch_all(conn).await?;
        Ok(Self(rows.into_iter().collect()))
    }

    /// What has to be acknowledged, if anything.
    pub(crate) fn of(&self, purpose: &str) -> Option<&str> {
        upwards(purpose).find_map(|name| self.0.get(name)?.as_deref())
    }

    pub(crate) fn list(&self) -> Result<Vec<PurposeRecord>, StoreError> {
        let record = |(name, statement): (&String, &Option<String>)| {
            let purpose = PurposeName::new(name).map_err(|e| StoreError::corrupt("purpose", e))?;
            let holds = self.of(name).map(str::to_owned);
            Ok(PurposeRecord { purpose, statement: statement.clone(), holds })
        };
        self.0.iter().map(record).collect()
    }
}

/// The purpose and those above it, the nearest first.
fn upwards(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| Some(name.rsplit_once('.')?.0))
}

pub(crate) async fn create(
    tx: &mut SqliteConnection,
    purpose: &PurposeName,
    statement: Option<&str>,
) -> Result<(), Failure> {
    if purpose.as_str().split('.').any(|part| part.is_empty() || part.trim() != part) {
        let what = format!("purpose `{purpose}` cannot be created");
        return Err(StoreError::refused(what, "a part between dots is empty, or starts or ends with a space").into());
    }
    for name in upwards(purpose.as_str()) {
        query("INSERT OR IGNORE INTO purpose (name) VALUES (?)").bind(name).execute(&mut *tx).await?;
    }
    let Some(statement) = checked(statement) else { return Ok(()) };
    let select = query_scalar("SELECT statement FROM purpose WHERE name = ?").bind(purpose.as_str());
    match select.fetch_one(&mut *tx).await? {
        None => set_statement(tx, purpose, Some(statement)).await,
        Some::<String>(known) if known == statement => Ok(()),
        Some(_) => Err(StoreError::Exists { kind: "purpose", name: purpose.to_string() }.into()),
    }
}

/// A statement without a word is none.
fn checked(statement: Option<&str>) -> Option<&str> {
    statement.map(str::trim).filter(|text| !text.is_empty())
}

pub(crate) async fn set_statement(
    tx: &mut SqliteConnection,
    purpose: &PurposeName,
    statement: Option<&str>,
) -> Result<(), Failure> {
    exists(tx, purpose).await?;
    let update = query("UPDATE purpose SET statement = ?1 WHERE name = ?2 AND statement IS NOT ?1");
    update.bind(checked(statement)).bind(purpose.as_str()).execute(tx).await?;
    Ok(())
}

pub(crate) async fn exists(tx: &mut SqliteConnection, purpose: &PurposeName) -> Result<(), Failure> {
    let select = query_scalar("SELECT EXISTS (SELECT 1 FROM purpose WHERE name = ?)").bind(purpose.as_str());
    match select.fetch_one(tx).await? {
        true => Ok(()),
        false => missing("purpose", purpose),
    }
}

pub(crate) async fn remove(tx: &mut SqliteConnection, purpose: &PurposeName) -> Result<(), Failure> {
    let below =
        "SELECT 'purpose `' || name || '` below it' FROM purpose WHERE substr(name, 1, length(?1) + 1) = ?1 || '.'";
    let using = "SELECT 'project `' || p.name || '`' FROM project_purpose u JOIN project p ON p.id = u.project
        WHERE u.purpose = ?1";
    for select in [below, using] {
        let select = query_scalar(select).bind(purpose.as_str());
        if let Some(by) = select.fetch_optional(&mut *tx).await? {
            return Err(StoreError::InUse { what: format!("purpose `{purpose}`"), by }.into());
        }
    }
    let delete = query("DELETE FROM purpose WHERE name = ?").bind(purpose.as_str());
    found(delete.execute(tx).await?, "purpose", purpose)
}
