//! Reads the state at one epoch: the whole of it, or what changed since an earlier one.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use sqlx::{Connection, SqliteConnection, query_as, query_scalar};
use weir_model::{
    Column, ColumnId, ColumnName, DataSource, Epoch, GroupName, IamId, Impersonation, Part, PolicyId, PolicyKey,
    Principal, PrincipalId, PrincipalSet, ProjectName, SourceId, SourceName,
};
use weir_policy::ast::Policy;
use weir_policy::{Changes, Facts, Snapshot, StoredPolicy, language};

use crate::error::{Failure, StoreError};
use crate::touched::{Keys, Touched};
use crate::{projects, requests, touched};

/// Rows of one epoch, not yet understood.
#[derive(Default)]
pub(crate) struct Rows {
    epoch: u64,
    principals: Vec<PrincipalRow>,
    sources: Vec<SourceRow>,
    columns: Vec<ColumnRow>,
    parts: Vec<PartRow>,
    owners: Vec<PersonRow>,
    selected: Vec<PersonRow>,
    policies: Vec<(u32, String, String)>,
    chosen: Vec<(String, u32)>,
    impersonations: Vec<ImpersonationRow>,
    projects: projects::Rows,
    requests: requests::Rows,
}

/// Identity manager, name, groups, attributes, permissions.
type PrincipalRow = (String, String, String, String, String);
/// Id, schema, table, location, tags, row key, event time, lineage, project whose workspace it is in.
type SourceRow = (u32, String, String, String, String, String, Option<u32>, Option<String>, Option<String>);
/// Source, id, name, type, nullable, tags, profile.
type ColumnRow = (u32, u32, String, String, bool, String, Option<String>);
/// Source, id, column that it is in, name, tags.
type PartRow = (u32, u32, u32, String, String);
/// A source, and the identity manager and name of whom it has something to do with.
type PersonRow = (u32, String, String);
/// Identity manager and name of the actor, then of the target, or its group.
type ImpersonationRow = (String, String, Option<String>, Option<String>, Option<String>);

/// What the rows of an epoch say at some time.
pub(crate) struct Understood {
    pub(crate) facts: Facts,
    /// When the same rows begin to say something else, of which source.
    pub(crate) until_unix_ms: BTreeMap<SourceId, u64>,
}

pub(crate) async fn epoch(conn: &mut SqliteConnection) -> Result<Epoch, sqlx::Error> {
    query_scalar("SELECT coalesce(max(number), 0) FROM epoch").fetch_one(conn).await.map(Epoch)
}

/// The columns and the tables of each statement; a condition and an order follow.
macro_rules! select {
    (principals) => {
        "SELECT p.iam, p.name, p.groups, p.attributes, p.permissions FROM principal p"
    };
    (sources) => {
        "SELECT id, schema_name, table_name, location, tags, row_key, event_time, lineage,
            (SELECT name FROM project WHERE id = source.workspace) FROM source"
    };
    (columns) => {
        "SELECT source, id, name, type, nullable, tags, profile FROM source_column"
    };
    (parts) => {
        "SELECT source, id, within, name, tags FROM source_part"
    };
    (owners) => {
        "SELECT o.source, p.iam, p.name FROM source_owner o JOIN principal p ON p.id = o.principal"
    };
    (selected) => {
        "SELECT s.source, p.iam, p.name FROM selected s JOIN principal p ON p.id = s.principal"
    };
    (policies) => {
        "SELECT id, key, text FROM policy"
    };
    (chosen) => {
        "SELECT p.key, c.source FROM chosen_policy c JOIN policy p ON p.id = c.policy"
    };
}

const IMPERSONATIONS: &str = "SELECT a.iam, a.name, t.iam, t.name, i.target_group FROM impersonation i
    JOIN principal a ON a.id = i.actor LEFT JOIN principal t ON t.id = i.target_principal";

/// All tables in one read transaction.
pub(crate) async fn read(conn: &mut SqliteConnection) -> Result<Rows, sqlx::Error> {
    let mut tx = conn.begin().await?;
    let rows = Rows {
        epoch: epoch(&mut tx).await?.0,
        principals: query_as(concat!(select!(principals), " ORDER BY p.id")).fetch_all(&mut *tx).await?,
        sources: query_as(concat!(select!(sources), " ORDER BY id")).fetch_all(&mut *tx).await?,
        columns: query_as(concat!(select!(columns), " ORDER BY source, position")).fetch_all(&mut *tx).await?,
        parts: query_as(select!(parts)).fetch_all(&mut *tx).await?,
        owners: query_as(select!(owners)).fetch_all(&mut *tx).await?,
        selected: query_as(select!(selected)).fetch_all(&mut *tx).await?,
        policies: query_as(concat!(select!(policies), " ORDER BY id")).fetch_all(&mut *tx).await?,
        chosen: query_as(select!(chosen)).fetch_all(&mut *tx).await?,
        impersonations: query_as(IMPERSONATIONS).fetch_all(&mut *tx).await?,
        projects: projects::Rows::read(&mut tx).await?,
        requests: requests::Rows::live(&mut tx, None).await?,
    };
    tx.commit().await?;
    Ok(rows)
}

/// What was touched after the epoch `known`, and the rows of that in one read transaction. `also` are sources of which
/// the same rows say something else by now. `None` when it is not on record any more.
pub(crate) async fn read_since(
    conn: &mut SqliteConnection,
    known: Epoch,
    also: BTreeSet<SourceId>,
) -> Result<Option<(Touched, Rows)>, Failure> {
    let mut tx = conn.begin().await?;
    let now = epoch(&mut tx).await?;
    if !touched::is_known_since(known, now) {
        tx.rollback().await?;
        return Ok(None);
    }
    let mut touched = Touched::since(&mut tx, known).await?;
    touched.sources.extend(also);
    let mut rows = some(&mut tx, &Keys::of(&touched)?).await?;
    rows.epoch = now.0;
    tx.commit().await?;
    Ok(Some((touched, rows)))
}

/// The rows of these things; those of things that are gone are missing.
async fn some(tx: &mut SqliteConnection, keys: &Keys) -> Result<Rows, sqlx::Error> {
    let mut rows = Rows::default();
    if !keys.principals.is_empty() {
        let people = "SELECT p.iam, p.name, p.groups, p.attributes, p.permissions FROM json_each(?) k
            CROSS JOIN principal p ON p.iam = k.value ->> 0 AND p.name = k.value ->> 1";
        rows.principals = query_as(people).bind(&keys.principals).fetch_all(&mut *tx).await?;
    }
    if !keys.sources.is_empty() {
        let of = &keys.sources;
        let sources = concat!(select!(sources), " WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id");
        rows.sources = query_as(sources).bind(of).fetch_all(&mut *tx).await?;
        let columns =
            concat!(select!(columns), " WHERE source IN (SELECT value FROM json_each(?)) ORDER BY source, position");
        rows.columns = query_as(columns).bind(of).fetch_all(&mut *tx).await?;
        let parts = concat!(select!(parts), " WHERE source IN (SELECT value FROM json_each(?))");
        rows.parts = query_as(parts).bind(of).fetch_all(&mut *tx).await?;
        let owners = concat!(select!(owners), " WHERE o.source IN (SELECT value FROM json_each(?))");
        rows.owners = query_as(owners).bind(of).fetch_all(&mut *tx).await?;
        let selected = concat!(select!(selected), " WHERE s.source IN (SELECT value FROM json_each(?))");
        rows.selected = query_as(selected).bind(of).fetch_all(&mut *tx).await?;
        let chosen = concat!(select!(chosen), " WHERE c.source IN (SELECT value FROM json_each(?))");
        rows.chosen = query_as(chosen).bind(of).fetch_all(&mut *tx).await?;
        rows.requests = requests::Rows::live(tx, Some(of)).await?;
    }
    if !keys.policies.is_empty() {
        let policies = concat!(select!(policies), " WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id");
        rows.policies = query_as(policies).bind(&keys.policies).fetch_all(&mut *tx).await?;
    }
    if keys.impersonations {
        rows.impersonations = query_as(IMPERSONATIONS).fetch_all(&mut *tx).await?;
    }
    if keys.projects {
        rows.projects = projects::Rows::read(tx).await?;
    }
    Ok(rows)
}

/// The source with its owners, and all policies: where policies hold, as far as it does not depend on other sources.
pub(crate) async fn read_around(tx: &mut SqliteConnection, source: i64) -> Result<Rows, sqlx::Error> {
    let mut tx = tx.begin().await?;
    let keys = Keys { sources: format!("[{source}]"), ..Keys::default() };
    let mut rows = some(&mut tx, &keys).await?;
    let owners = concat!(select!(principals), " WHERE p.id IN (SELECT principal FROM source_owner WHERE source = ?)");
    rows.principals = query_as(owners).bind(source).fetch_all(&mut *tx).await?;
    rows.policies = query_as(concat!(select!(policies), " ORDER BY id")).fetch_all(&mut *tx).await?;
    tx.commit().await?;
    Ok(rows)
}

impl Rows {
    /// One row that cannot be understood fails all: deciding without it could let through too much. `known` has the
    /// policies that are not among the rows.
    pub(crate) fn understand(self, now_unix_ms: u64, known: Option<&Snapshot>) -> Result<Understood, StoreError> {
        let mut owners: BTreeMap<u32, BTreeSet<PrincipalId>> = BTreeMap::new();
        for (source, iam, name) in self.owners {
            owners.entry(source).or_default().insert(principal_id(&iam, &name)?);
        }
        let mut columns: BTreeMap<u32, Vec<Column>> = BTreeMap::new();
        for row in self.columns {
            columns.entry(row.0).or_default().push(column(row)?);
        }
        let mut parts: BTreeMap<u32, Vec<PartRow>> = BTreeMap::new();
        for row in self.parts {
            parts.entry(row.0).or_default().push(row);
        }
        let mut sources = Vec::with_capacity(self.sources.len());
        for row in self.sources {
            let (owners, columns) = (owners.remove(&row.0), columns.remove(&row.0).unwrap_or_default());
            let parts = self::parts(&columns, parts.remove(&row.0).unwrap_or_default())?;
            sources.push(source(row, owners.unwrap_or_default(), columns, parts)?);
        }
        let selected =
            self.selected.into_iter().map(|(source, iam, name)| Ok((SourceId(source), principal_id(&iam, &name)?)));
        let chosen = self.chosen.into_iter().map(|(key, source)| {
            let key = PolicyKey::new(key).map_err(|e| StoreError::corrupt("choice of a policy", e))?;
            Ok((key, SourceId(source)))
        });
        let policies: Vec<StoredPolicy> = self
            .policies
            .into_iter()
            .map(|(id, key, text)| Ok(StoredPolicy { id: PolicyId(id), policy: policy(&key, &text)? }))
            .collect::<Result<_, StoreError>>()?;
        let of = |id| match policies.binary_search_by_key(&id, |stored| stored.id) {
            Ok(at) => policies.get(at),
            Err(_) => known.and_then(|known| known.policy(id)),
        };
        let granted = self.requests.approved(now_unix_ms, of)?;
        let mut until_unix_ms: BTreeMap<SourceId, u64> = BTreeMap::new();
        for grant in &granted {
            if let Some(until) = grant.until_unix_ms {
                let least = until_unix_ms.entry(grant.source).or_insert(until);
                *least = until.min(*least);
            }
        }
        let facts = Facts {
            epoch: Some(Epoch(self.epoch)),
            principals: self.principals.into_iter().map(understood).collect::<Result<_, StoreError>>()?,
            sources,
            policies,
            selected: selected.collect::<Result<_, StoreError>>()?,
            approved: granted.into_iter().map(|grant| (grant.policy, grant.source, grant.user)).collect(),
            chosen: chosen.collect::<Result<_, StoreError>>()?,
            projects: self.projects.understand()?,
            impersonations: self.impersonations.into_iter().map(impersonation).collect::<Result<_, StoreError>>()?,
        };
        Ok(Understood { facts, until_unix_ms })
    }
}

/// Of what was touched, what the facts say of it now.
pub(crate) fn changes(touched: Touched, facts: Facts) -> Changes {
    let mut changes = Changes::from(facts);
    for id in touched.principals {
        changes.principals.entry(id).or_insert(None);
    }
    for id in touched.sources {
        changes.sources.entry(id).or_insert(None);
    }
    for id in touched.policies {
        changes.policies.entry(id).or_insert(None);
    }
    changes.projects = changes.projects.filter(|_| touched.projects);
    changes.impersonations = changes.impersonations.filter(|_| touched.impersonations);
    changes
}

fn understood((iam, name, groups, attributes, permissions): PrincipalRow) -> Result<Principal, StoreError> {
    let id = principal_id(&iam, &name)?;
    let what = || format!("principal `{id}`");
    Ok(Principal {
        groups: json(what, &groups)?,
        attributes: json(what, &attributes)?,
        permissions: json(what, &permissions)?,
        id,
    })
}

fn source(
    row: SourceRow,
    owners: BTreeSet<PrincipalId>,
    columns: Vec<Column>,
    parts: Vec<Part>,
) -> Result<DataSource, StoreError> {
    let (id, schema, table, location, tags, row_key, event_time, lineage, workspace) = row;
    let name = SourceName::new(schema, table).map_err(|e| StoreError::corrupt("data source", e))?;
    let what = || format!("data source `{name}`");
    let source = DataSource {
        id: SourceId(id),
        tags: json(what, &tags)?,
        owners,
        columns,
        parts,
        row_key: json(what, &row_key)?,
        event_time: event_time.map(ColumnId),
        lineage: lineage.map(|lineage| json(what, &lineage)).transpose()?,
        workspace: workspace.map(ProjectName::new).transpose().map_err(|e| StoreError::corrupt(what(), e))?,
        location: json(what, &location)?,
        name: name.clone(),
    };
    let mut named = source.row_key.iter().chain(&source.event_time);
    match named.find(|column| source.column_by_id(**column).is_none()) {
        None => Ok(source),
        Some(column) => Err(StoreError::corrupt(what(), format!("it has no column {column}"))),
    }
}

fn column((source, id, name, data_type, nullable, tags, profile): ColumnRow) -> Result<Column, StoreError> {
    let what = || format!("column `{name}` of data source {source}");
    Ok(Column {
        id: ColumnId(id),
        data_type: json(what, &data_type)?,
        nullable,
        tags: json(what, &tags)?,
        profile: profile.map(|profile| json(what, &profile)).transpose()?,
        name: ColumnName::new(name.clone()).map_err(|e| StoreError::corrupt(what(), e))?,
    })
}

/// What the types of the columns say is in them, with the ids and tags of the rows; every part has a row.
fn parts(columns: &[Column], rows: Vec<PartRow>) -> Result<Vec<Part>, StoreError> {
    let mut rows: BTreeMap<(u32, String), (u32, String)> =
        rows.into_iter().map(|(_, id, within, name, tags)| ((within, name), (id, tags))).collect();
    let mut parts = Vec::with_capacity(rows.len());
    for column in columns {
        let what = || format!("column `{}`", column.name);
        for mut part in Part::of(column, || column.id).map_err(|e| StoreError::corrupt(what(), e))? {
            let row = rows.remove(&(column.id.0, part.column.name.to_string()));
            let (id, tags) =
                row.ok_or_else(|| StoreError::corrupt(what(), format!("`{}` has no id", part.column.name)))?;
            (part.column.id, part.column.tags) = (ColumnId(id), json(what, &tags)?);
            parts.push(part);
        }
    }
    match rows.into_keys().next() {
        None => Ok(parts),
        Some((_, name)) => Err(StoreError::corrupt(format!("part `{name}`"), "no column has it")),
    }
}

fn impersonation((iam, name, target_iam, target_name, group): ImpersonationRow) -> Result<Impersonation, StoreError> {
    let corrupt = |why: &dyn ToString| StoreError::corrupt("leave to act as others", why.to_string());
    let target = match (target_iam, target_name, group) {
        (Some(iam), Some(name), None) => PrincipalSet::User(principal_id(&iam, &name)?),
        (None, None, Some(group)) => PrincipalSet::Group(GroupName::new(group).map_err(|e| corrupt(&e))?),
        _ => return Err(corrupt(&"it has not one target")),
    };
    Ok(Impersonation { actor: principal_id(&iam, &name)?, target })
}

pub(crate) fn principal_id(iam: &str, name: &str) -> Result<PrincipalId, StoreError> {
    IamId::new(iam).and_then(|iam| PrincipalId::new(iam, name)).map_err(|e| StoreError::corrupt("principal", e))
}

pub(crate) fn json<T: DeserializeOwned>(what: impl Fn() -> String, text: &str) -> Result<T, StoreError> {
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
        Some(row) => Ok(understood(row)?),
        None => Err(StoreError::NotFound { kind: "user", name: id.to_string() }.into()),
    }
}
