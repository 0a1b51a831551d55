//! Changes of state. Each call of [`apply`] is one transaction and one epoch.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use sqlx::sqlite::SqliteQueryResult;
use sqlx::{Connection, SqliteConnection, query, query_scalar};
use weir_model::{
    AttributeKey, ColumnId, ColumnName, DataType, Epoch, GroupName, Location, PolicyKey, Principal, PrincipalId,
    Secret, SourceName, Tag,
};
use weir_policy::ast::Policy;
use weir_policy::language;

use crate::error::{Failure, StoreError};
use crate::{credential, facts, keys};

/// One change of state. Adding what is there already changes nothing; removing what is not there is an error.
#[derive(Clone, Debug)]
pub enum Change {
    /// Makes the user, or gives an existing one exactly these groups, attributes and permissions. Groups that nobody
    /// declared yet are declared. A password is kept.
    PutUser(Principal),
    /// For the SQL door. Not empty.
    SetPassword {
        user: PrincipalId,
        password: Secret,
    },
    /// Takes ownerships and selections along, so that a later user of the same name does not inherit them.
    RemoveUser(PrincipalId),
    /// Declares the group if nobody did.
    AddToGroup {
        user: PrincipalId,
        group: GroupName,
    },
    RemoveFromGroup {
        user: PrincipalId,
        group: GroupName,
    },
    SetAttribute {
        user: PrincipalId,
        key: AttributeKey,
        value: String,
    },
    RemoveAttribute {
        user: PrincipalId,
        key: AttributeKey,
        value: String,
    },
    CreateGroup(GroupName),
    /// Fails while it has members.
    DeleteGroup(GroupName),
    AddSource(NewSource),
    RemoveSource(SourceName),
    SetSourceTags {
        source: SourceName,
        tags: BTreeSet<Tag>,
    },
    SetColumnTags {
        source: SourceName,
        column: ColumnName,
        tags: BTreeSet<Tag>,
    },
    AddOwner {
        source: SourceName,
        user: PrincipalId,
    },
    RemoveOwner {
        source: SourceName,
        user: PrincipalId,
    },
    /// For policies that subscribe selected people.
    Select {
        source: SourceName,
        user: PrincipalId,
    },
    Unselect {
        source: SourceName,
        user: PrincipalId,
    },
    /// Replaces the policy of the same key, which keeps its id.
    PutPolicy(Policy),
    RemovePolicy(PolicyKey),
}

/// A data source to register. Its id, its columns' ids and its hash key are made by the store.
#[derive(Clone, Debug)]
pub struct NewSource {
    pub name: SourceName,
    pub tags: BTreeSet<Tag>,
    /// Existing users.
    pub owners: BTreeSet<PrincipalId>,
    /// In the order in which queries see them.
    pub columns: Vec<NewColumn>,
    pub location: Location,
}

#[derive(Clone, Debug)]
pub struct NewColumn {
    pub name: ColumnName,
    pub data_type: DataType,
    pub nullable: bool,
    pub tags: BTreeSet<Tag>,
}

/// For the history of epochs. Says nothing of passwords.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::PutUser(user) => write!(f, "put user `{}`", user.id),
            Change::SetPassword { user, password: _ } => write!(f, "set the password of user `{user}`"),
            Change::RemoveUser(user) => write!(f, "remove user `{user}`"),
            Change::AddToGroup { user, group } => write!(f, "add user `{user}` to group `{group}`"),
            Change::RemoveFromGroup { user, group } => write!(f, "remove user `{user}` from group `{group}`"),
            Change::SetAttribute { user, key, value } => write!(f, "give user `{user}` attribute `{key}` = `{value}`"),
            Change::RemoveAttribute { user, key, value } => {
                write!(f, "take attribute `{key}` = `{value}` from user `{user}`")
            }
            Change::CreateGroup(group) => write!(f, "create group `{group}`"),
            Change::DeleteGroup(group) => write!(f, "delete group `{group}`"),
            Change::AddSource(source) => write!(f, "add data source `{}`", source.name),
            Change::RemoveSource(source) => write!(f, "remove data source `{source}`"),
            Change::SetSourceTags { source, tags: _ } => write!(f, "set the tags of data source `{source}`"),
            Change::SetColumnTags { source, column, tags: _ } => {
                write!(f, "set the tags of column `{column}` of data source `{source}`")
            }
            Change::AddOwner { source, user } => write!(f, "make user `{user}` an owner of data source `{source}`"),
            Change::RemoveOwner { source, user } => {
                write!(f, "end the ownership of user `{user}` of data source `{source}`")
            }
            Change::Select { source, user } => write!(f, "select user `{user}` for data source `{source}`"),
            Change::Unselect { source, user } => {
                write!(f, "end the selection of user `{user}` for data source `{source}`")
            }
            Change::PutPolicy(policy) => write!(f, "put policy `{}`", policy.key),
            Change::RemovePolicy(key) => write!(f, "remove policy `{key}`"),
        }
    }
}

/// Does all of `changes` or none. Returns the epoch that holds afterwards: the next one if anything changed, else the
/// one that held before.
pub(crate) async fn apply(
    conn: &mut SqliteConnection,
    at_unix_ms: u64,
    by: &str,
    changes: &[Change],
) -> Result<Epoch, Failure> {
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
    let mut what = Vec::new();
    let mut rows = rows_changed(&mut tx).await?;
    for change in changes {
        change.make(&mut tx).await?;
        let rows_now = rows_changed(&mut tx).await?;
        if rows_now != rows {
            what.push(change);
            rows = rows_now;
        }
    }
    let Some((first, others)) = what.split_first() else { return Ok(facts::epoch(&mut tx).await?) };
    let what = if others.is_empty() { first.to_string() } else { format!("{first} and {} more", others.len()) };
    let at = i64::try_from(at_unix_ms).unwrap_or(i64::MAX);
    let insert = query("INSERT INTO epoch (at_unix_ms, made_by, what) VALUES (?, ?, ?)").bind(at).bind(by).bind(what);
    let epoch = insert.execute(&mut *tx).await?.last_insert_rowid();
    tx.commit().await?;
    Ok(Epoch(u64::try_from(epoch).map_err(|e| StoreError::corrupt("epoch", e))?))
}

/// By this connection since it was opened, foreign key actions included.
async fn rows_changed(conn: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    query_scalar("SELECT total_changes()").fetch_one(conn).await
}

impl Change {
    async fn make(&self, tx: &mut SqliteConnection) -> Result<(), Failure> {
        match self {
            Change::PutUser(user) => put_user(tx, user).await,
            Change::SetPassword { user, password } => credential::set(tx, user, password).await,
            Change::RemoveUser(id) => {
                let delete =
                    query("DELETE FROM principal WHERE iam = ? AND name = ?").bind(id.iam().as_str()).bind(id.name());
                found(delete.execute(tx).await?, "user", id)
            }
            Change::AddToGroup { user, group } => {
                let mut principal = facts::principal(tx, user).await?;
                principal.groups.insert(group.clone());
                put_user(tx, &principal).await
            }
            Change::RemoveFromGroup { user, group } => {
                let mut principal = facts::principal(tx, user).await?;
                if !principal.groups.remove(group) {
                    return missing("membership", format!("{user} in {group}"));
                }
                put_user(tx, &principal).await
            }
            Change::SetAttribute { user, key, value } => {
                let mut principal = facts::principal(tx, user).await?;
                principal.attributes.entry(key.clone()).or_default().insert(value.clone());
                put_user(tx, &principal).await
            }
            Change::RemoveAttribute { user, key, value } => {
                let mut principal = facts::principal(tx, user).await?;
                if !principal.attributes.get_mut(key).is_some_and(|values| values.remove(value)) {
                    return missing("attribute", format!("{key} = {value} of {user}"));
                }
                put_user(tx, &principal).await
            }
            Change::CreateGroup(group) => declare(tx, group).await,
            Change::DeleteGroup(group) => delete_group(tx, group).await,
            Change::AddSource(source) => add_source(tx, source).await,
            Change::RemoveSource(name) => {
                let delete = query("DELETE FROM source WHERE id = ?").bind(source_row(tx, name).await?);
                found(delete.execute(tx).await?, "data source", name)
            }
            Change::SetSourceTags { source, tags } => {
                let id = source_row(tx, source).await?;
                let update =
                    query("UPDATE source SET tags = ?1 WHERE id = ?2 AND tags <> ?1").bind(json(tags)?).bind(id);
                update.execute(tx).await?;
                Ok(())
            }
            Change::SetColumnTags { source, column, tags } => {
                let id = column_row(tx, source, column).await?;
                let update = query("UPDATE source_column SET tags = ?1 WHERE source = ?2 AND id = ?3 AND tags <> ?1");
                update.bind(json(tags)?).bind(id.0).bind(id.1.0).execute(tx).await?;
                Ok(())
            }
            Change::AddOwner { source, user } => relate(tx, ADD_OWNER, source, user).await.map(drop),
            Change::RemoveOwner { source, user } => {
                let removed =
                    relate(tx, "DELETE FROM source_owner WHERE source = ? AND principal = ?", source, user).await?;
                found(removed, "ownership", format!("{user} of {source}"))
            }
            Change::Select { source, user } => {
                relate(tx, "INSERT OR IGNORE INTO selected (source, principal) VALUES (?, ?)", source, user)
                    .await
                    .map(drop)
            }
            Change::Unselect { source, user } => {
                let removed =
                    relate(tx, "DELETE FROM selected WHERE source = ? AND principal = ?", source, user).await?;
                found(removed, "selection", format!("{user} for {source}"))
            }
            Change::PutPolicy(policy) => put_policy(tx, policy).await,
            Change::RemovePolicy(key) => {
                let delete = query("DELETE FROM policy WHERE key = ?").bind(key.as_str());
                found(delete.execute(tx).await?, "policy", key)
            }
        }
    }
}

const ADD_OWNER: &str = "INSERT OR IGNORE INTO source_owner (source, principal) VALUES (?, ?)";

fn missing<T>(kind: &'static str, name: impl fmt::Display) -> Result<T, Failure> {
    Err(StoreError::NotFound { kind, name: name.to_string() }.into())
}

/// An error if no row was touched.
fn found(result: SqliteQueryResult, kind: &'static str, name: impl fmt::Display) -> Result<(), Failure> {
    if result.rows_affected() == 0 { missing(kind, name) } else { Ok(()) }
}

fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::corrupt("value", e))
}

async fn put_user(tx: &mut SqliteConnection, user: &Principal) -> Result<(), Failure> {
    let mut attributes = user.attributes.clone();
    attributes.retain(|_, values| !values.is_empty());
    query(
        "INSERT INTO principal (iam, name, groups, attributes, permissions) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (iam, name) DO UPDATE
         SET groups = excluded.groups, attributes = excluded.attributes, permissions = excluded.permissions
         WHERE (groups, attributes, permissions) <> (excluded.groups, excluded.attributes, excluded.permissions)",
    )
    .bind(user.id.iam().as_str())
    .bind(user.id.name())
    .bind(json(&user.groups)?)
    .bind(json(&attributes)?)
    .bind(json(&user.permissions)?)
    .execute(&mut *tx)
    .await?;
    for group in &user.groups {
        declare(tx, group).await?;
    }
    Ok(())
}

async fn declare(tx: &mut SqliteConnection, group: &GroupName) -> Result<(), Failure> {
    query("INSERT OR IGNORE INTO declared_group (name) VALUES (?)").bind(group.as_str()).execute(tx).await?;
    Ok(())
}

async fn delete_group(tx: &mut SqliteConnection, group: &GroupName) -> Result<(), Failure> {
    let member = "SELECT name FROM principal, json_each(principal.groups) AS of WHERE of.value = ? LIMIT 1";
    let member: Option<String> = query_scalar(member).bind(group.as_str()).fetch_optional(&mut *tx).await?;
    if let Some(member) = member {
        return Err(StoreError::GroupHasMembers { group: group.to_string(), member }.into());
    }
    let delete = query("DELETE FROM declared_group WHERE name = ?").bind(group.as_str());
    found(delete.execute(tx).await?, "group", group)
}

async fn add_source(tx: &mut SqliteConnection, source: &NewSource) -> Result<(), Failure> {
    let insert = "INSERT INTO source (schema_name, table_name, location, tags, next_column) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (schema_name, table_name) DO NOTHING RETURNING id";
    let next_column = u32::try_from(source.columns.len()).unwrap_or(u32::MAX).saturating_add(1);
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
    for owner in &source.owners {
        relate(tx, ADD_OWNER, &source.name, owner).await?;
    }
    keys::make(tx, id).await
}

async fn source_row(tx: &mut SqliteConnection, name: &SourceName) -> Result<i64, Failure> {
    let select = query_scalar("SELECT id FROM source WHERE schema_name = ? AND table_name = ?");
    match select.bind(name.schema()).bind(name.table()).fetch_optional(tx).await? {
        Some(id) => Ok(id),
        None => missing("data source", name),
    }
}

async fn column_row(
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
async fn relate(
    tx: &mut SqliteConnection,
    sql: &'static str,
    source: &SourceName,
    user: &PrincipalId,
) -> Result<SqliteQueryResult, Failure> {
    let source = source_row(tx, source).await?;
    let select = query_scalar::<_, i64>("SELECT id FROM principal WHERE iam = ? AND name = ?");
    match select.bind(user.iam().as_str()).bind(user.name()).fetch_optional(&mut *tx).await? {
        Some(user) => Ok(query(sql).bind(source).bind(user).execute(tx).await?),
        None => missing("user", user),
    }
}

/// What does not read back as itself is not saved: nobody would decide by what its author wrote.
async fn put_policy(tx: &mut SqliteConnection, policy: &Policy) -> Result<(), Failure> {
    let text = language::to_yaml(policy);
    if facts::policy(policy.key.as_str(), &text).ok().as_ref() != Some(policy) {
        return Err(StoreError::PolicySpelling { key: policy.key.to_string() }.into());
    }
    let upsert = "INSERT INTO policy (key, text) VALUES (?, ?)
        ON CONFLICT (key) DO UPDATE SET text = excluded.text WHERE text <> excluded.text";
    query(upsert).bind(policy.key.as_str()).bind(text).execute(tx).await?;
    Ok(())
}
