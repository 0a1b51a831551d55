//! Reads the whole state at one epoch.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use sqlx::{Connection, SqliteConnection, query_as, query_scalar};
use weir_model::{
    Column, ColumnId, ColumnName, DataSource, Epoch, IamId, PolicyId, Principal, PrincipalId, SourceId, SourceName,
};
use weir_policy::ast::Policy;
use weir_policy::{Facts, StoredPolicy, language};

use crate::error::{Failure, StoreError};

/// The rows of one epoch, not yet understood.
pub(crate) struct Rows {
    epoch: u64,
    principals: Vec<PrincipalRow>,
    sources: Vec<SourceRow>,
    columns: Vec<ColumnRow>,
    owners: Vec<PersonRow>,
    selected: Vec<PersonRow>,
    policies: Vec<(u32, String, String)>,
}

#[derive(sqlx::FromRow)]
struct PrincipalRow {
    iam: String,
    name: String,
    groups: String,
    attributes: String,
    permissions: String,
}

#[derive(sqlx::FromRow)]
struct SourceRow {
    id: u32,
    schema_name: String,
    table_name: String,
    location: String,
    tags: String,
}

#[derive(sqlx::FromRow)]
struct ColumnRow {
    source: u32,
    id: u32,
    name: String,
    r#type: String,
    nullable: bool,
    tags: String,
}

/// A source and a principal that owns it, or is selected for it.
#[derive(sqlx::FromRow)]
struct PersonRow {
    source: u32,
    iam: String,
    name: String,
}

pub(crate) async fn epoch(conn: &mut SqliteConnection) -> Result<Epoch, sqlx::Error> {
    query_scalar("SELECT coalesce(max(number), 0) FROM epoch").fetch_one(conn).await.map(Epoch)
}

/// All tables in one read transaction.
pub(crate) async fn read(conn: &mut SqliteConnection) -> Result<Rows, sqlx::Error> {
    let mut tx = conn.begin().await?;
    let rows = Rows {
        epoch: epoch(&mut tx).await?.0,
        principals: query_as("SELECT iam, name, groups, attributes, permissions FROM principal ORDER BY id")
            .fetch_all(&mut *tx)
            .await?,
        sources: query_as("SELECT id, schema_name, table_name, location, tags FROM source ORDER BY id")
            .fetch_all(&mut *tx)
            .await?,
        columns: query_as("SELECT source, id, name, type, nullable, tags FROM source_column ORDER BY source, position")
            .fetch_all(&mut *tx)
            .await?,
        owners: query_as("SELECT o.source, p.iam, p.name FROM source_owner o JOIN principal p ON p.id = o.principal")
            .fetch_all(&mut *tx)
            .await?,
        selected: query_as("SELECT s.source, p.iam, p.name FROM selected s JOIN principal p ON p.id = s.principal")
            .fetch_all(&mut *tx)
            .await?,
        policies: query_as("SELECT id, key, text FROM policy ORDER BY id").fetch_all(&mut *tx).await?,
    };
    tx.commit().await?;
    Ok(rows)
}

impl Rows {
    /// One row that cannot be understood fails all: deciding without it could let through too much.
    pub(crate) fn understand(self) -> Result<Facts, StoreError> {
        let mut owners: BTreeMap<u32, BTreeSet<PrincipalId>> = BTreeMap::new();
        for row in self.owners {
            owners.entry(row.source).or_default().insert(principal_id(&row.iam, &row.name)?);
        }
        let mut columns: BTreeMap<u32, Vec<Column>> = BTreeMap::new();
        for row in self.columns {
            columns.entry(row.source).or_default().push(row.understand()?);
        }
        let mut sources = Vec::with_capacity(self.sources.len());
        for row in self.sources {
            let (owners, columns) = (owners.remove(&row.id), columns.remove(&row.id));
            sources.push(row.understand(owners.unwrap_or_default(), columns.unwrap_or_default())?);
        }
        let selected =
            self.selected.into_iter().map(|row| Ok((SourceId(row.source), principal_id(&row.iam, &row.name)?)));
        Ok(Facts {
            epoch: Some(Epoch(self.epoch)),
            principals: self.principals.into_iter().map(PrincipalRow::understand).collect::<Result<_, StoreError>>()?,
            sources,
            policies: self
                .policies
                .into_iter()
                .map(|(id, key, text)| Ok(StoredPolicy { id: PolicyId(id), policy: policy(&key, &text)? }))
                .collect::<Result<_, StoreError>>()?,
            selected: selected.collect::<Result<_, StoreError>>()?,
        })
    }
}

impl PrincipalRow {
    fn understand(self) -> Result<Principal, StoreError> {
        let id = principal_id(&self.iam, &self.name)?;
        let what = || format!("principal `{id}`");
        Ok(Principal {
            groups: json(what, &self.groups)?,
            attributes: json(what, &self.attributes)?,
            permissions: json(what, &self.permissions)?,
            id,
        })
    }
}

impl SourceRow {
    fn understand(self, owners: BTreeSet<PrincipalId>, columns: Vec<Column>) -> Result<DataSource, StoreError> {
        let name =
            SourceName::new(self.schema_name, self.table_name).map_err(|e| StoreError::corrupt("data source", e))?;
        let what = || format!("data source `{name}`");
        Ok(DataSource {
            id: SourceId(self.id),
            tags: json(what, &self.tags)?,
            owners,
            columns,
            location: json(what, &self.location)?,
            name,
        })
    }
}

impl ColumnRow {
    fn understand(self) -> Result<Column, StoreError> {
        let what = || format!("column `{}` of data source {}", self.name, self.source);
        Ok(Column {
            id: ColumnId(self.id),
            data_type: json(what, &self.r#type)?,
            nullable: self.nullable,
            tags: json(what, &self.tags)?,
            name: ColumnName::new(self.name.clone()).map_err(|e| StoreError::corrupt(what(), e))?,
        })
    }
}

fn principal_id(iam: &str, name: &str) -> Result<PrincipalId, StoreError> {
    IamId::new(iam).and_then(|iam| PrincipalId::new(iam, name)).map_err(|e| StoreError::corrupt("principal", e))
}

fn json<T: DeserializeOwned>(what: impl Fn() -> String, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::corrupt(what(), e))
}

/// The policy that `text` spells, which must be exactly one, of that key, without errors.
pub(crate) fn policy(key: &str, text: &str) -> Result<Policy, StoreError> {
    let mut parsed = language::parse_yaml(text);
    let corrupt = |why: &dyn ToString| StoreError::corrupt(format!("policy `{key}`"), why.to_string());
    if let Some(wrong) = parsed.diagnostics.iter().find(|d| d.is_error()) {
        return Err(corrupt(wrong));
    }
    match (parsed.policies.pop(), parsed.policies.is_empty()) {
        (Some(policy), true) if policy.key.as_str() == key => Ok(policy),
        _ => Err(corrupt(&"it is not one policy of this key")),
    }
}

/// The principal of that id.
pub(crate) async fn principal(conn: &mut SqliteConnection, id: &PrincipalId) -> Result<Principal, Failure> {
    let select = "SELECT iam, name, groups, attributes, permissions FROM principal WHERE iam = ? AND name = ?";
    let row: Option<PrincipalRow> =
        query_as(select).bind(id.iam().as_str()).bind(id.name()).fetch_optional(conn).await?;
    match row {
        Some(row) => Ok(row.understand()?),
        None => Err(StoreError::NotFound { kind: "user", name: id.to_string() }.into()),
    }
}
