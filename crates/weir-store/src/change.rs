//! Changes of state. Each call of [`apply`] is one transaction and one epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use sqlx::sqlite::SqliteQueryResult;
use sqlx::{Connection as _, SqliteConnection, query, query_scalar};
use weir_model::{
    AttributeKey, ColumnName, Connection, ConnectionName, Epoch, GroupName, Impersonation, Lineage, Location,
    PolicyKey, Principal, PrincipalId, Profile, ProjectName, PurposeName, Secret, SourceId, SourceName,
    StoreConnection, Tag,
};
use weir_policy::ast::Policy;

use crate::error::{Failure, StoreError};
use crate::keys::{self, KeyOwner, Of};
use crate::lineage::NewLineage;
use crate::sources::{NewSource, source_row};
use crate::vault::Vault;
use crate::{
    certifications, connections, credential, facts, lineage, people, policies, profiles, projects, purposes, requests,
    sources, touched, workspaces,
};

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
    /// Takes along all that the user has or is part of, so that a later user of the same name does not inherit it.
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
    /// Fails while it has members. Takes along the leave to act as them.
    DeleteGroup(GroupName),
    AddSource(NewSource),
    RemoveSource(SourceName),
    /// Instead of the columns before; empty: there is none.
    SetRowKey {
        source: SourceName,
        columns: Vec<ColumnName>,
    },
    /// Instead of the profiles before, of all columns.
    SetProfiles {
        source: SourceName,
        profiles: BTreeMap<ColumnName, Profile>,
    },
    /// A column of dates or timestamps.
    SetEventTime {
        source: SourceName,
        column: Option<ColumnName>,
    },
    /// Instead of the lineage before; none: it was not made from other sources. What it is made from must be there and
    /// not be made from it, and copies must be of the type of their originals.
    SetLineage {
        source: SourceName,
        lineage: Option<NewLineage>,
    },
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
    /// An owner of the source wants the policy to hold for it.
    ChoosePolicy {
        policy: PolicyKey,
        source: SourceName,
    },
    UnchoosePolicy {
        policy: PolicyKey,
        source: SourceName,
    },
    /// The policy must ask for it and be about the source, which the user must own; without a user, it is made in the
    /// name of whoever makes the change. Gives the source the tags of the certification.
    CertifyPolicy {
        policy: PolicyKey,
        source: SourceName,
        user: Option<PrincipalId>,
    },
    /// The actor, the target user and the target group must exist.
    AllowImpersonation(Impersonation),
    DenyImpersonation(Impersonation),
    /// Makes the purposes above it too, without statements.
    CreatePurpose {
        purpose: PurposeName,
        statement: Option<String>,
    },
    /// Another text voids the acknowledgements of the one before. Without one, that of the purpose above it holds.
    SetStatement {
        purpose: PurposeName,
        statement: Option<String>,
    },
    /// Fails while there are purposes below it or projects use it.
    RemovePurpose(PurposeName),
    CreateProject {
        project: ProjectName,
        owners: BTreeSet<PrincipalId>,
    },
    RemoveProject(ProjectName),
    AddProjectOwner {
        project: ProjectName,
        user: PrincipalId,
    },
    RemoveProjectOwner {
        project: ProjectName,
        user: PrincipalId,
    },
    AddMember {
        project: ProjectName,
        user: PrincipalId,
    },
    /// Voids what the member has acknowledged in the project.
    RemoveMember {
        project: ProjectName,
        user: PrincipalId,
    },
    AddProjectSource {
        project: ProjectName,
        source: SourceName,
    },
    RemoveProjectSource {
        project: ProjectName,
        source: SourceName,
    },
    /// Without effect until it is approved.
    AddProjectPurpose {
        project: ProjectName,
        purpose: PurposeName,
    },
    /// Whether whoever makes the change may approve, the caller has to know.
    ApproveProjectPurpose {
        project: ProjectName,
        purpose: PurposeName,
    },
    RemoveProjectPurpose {
        project: ProjectName,
        purpose: PurposeName,
    },
    SetEqualized {
        project: ProjectName,
        on: bool,
    },
    SetMaskedJoins {
        project: ProjectName,
        on: bool,
    },
    /// In a schema of its own; without one, members write no tables. Fails while there are tables.
    SetWorkspace {
        project: ProjectName,
        schema: Option<String>,
    },
    /// Registers what was written into the workspace of the project, which must be its schema.
    WriteTable {
        project: ProjectName,
        table: NewSource,
        /// Absent when it was made from no other source.
        lineage: Option<Lineage>,
    },
    /// Fails when the table is not what it was.
    RewriteTable {
        name: SourceName,
        was: (SourceId, Location),
        location: Location,
        lineage: Option<Lineage>,
    },
    /// Of a workspace. Fails when it is not what it was.
    DropTable {
        name: SourceName,
        was: (SourceId, Location),
    },
    /// A member promises to keep to a purpose of the project. `statement` is what the member has read, which must be
    /// what holds now.
    Acknowledge {
        project: ProjectName,
        user: PrincipalId,
        purpose: PurposeName,
        statement: String,
    },
    /// Asks those whom a subscription policy names: `policy`, else the oldest one on the source that takes people in on
    /// request.
    RequestSubscription {
        source: SourceName,
        user: PrincipalId,
        reason: String,
        policy: Option<PolicyKey>,
    },
    /// Fills the first open place that the approver can fill. `until_unix_ms` is when the subscription ends.
    ApproveSubscription {
        request: u64,
        approver: PrincipalId,
        until_unix_ms: Option<u64>,
    },
    /// Also ends what was approved. Whoever could approve can deny.
    DenySubscription {
        request: u64,
        approver: PrincipalId,
        reason: String,
    },
    WithdrawSubscription {
        request: u64,
    },
    /// Makes a new key for masks. Those before stay, to unmask with.
    RotateKey(KeyOwner),
    AddConnection(Connection),
    AddStore(StoreConnection),
    SetConnectionPassword {
        connection: ConnectionName,
        password: Secret,
    },
    /// Fails while there are data sources in it.
    RemoveConnection(ConnectionName),
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
            Change::SetRowKey { source, columns: _ } => write!(f, "set the row key of data source `{source}`"),
            Change::SetProfiles { source, profiles: _ } => write!(f, "set the profile of data source `{source}`"),
            Change::SetEventTime { source, column: Some(column) } => {
                write!(f, "make column `{column}` the event time of data source `{source}`")
            }
            Change::SetEventTime { source, column: None } => {
                write!(f, "take the event time from data source `{source}`")
            }
            Change::SetLineage { source, lineage: Some(_) } => {
                write!(f, "say what data source `{source}` was made from")
            }
            Change::SetLineage { source, lineage: None } => {
                write!(f, "say that data source `{source}` was not made from others")
            }
            Change::ChoosePolicy { policy, source } => write!(f, "choose policy `{policy}` for data source `{source}`"),
            Change::UnchoosePolicy { policy, source } => {
                write!(f, "end the choice of policy `{policy}` for data source `{source}`")
            }
            Change::CertifyPolicy { policy, source, user } => {
                write!(f, "certify policy `{policy}` for data source `{source}`")?;
                user.iter().try_for_each(|user| write!(f, " as user `{user}`"))
            }
            Change::AllowImpersonation(Impersonation { actor, target }) => {
                write!(f, "let user `{actor}` act as {target}")
            }
            Change::DenyImpersonation(Impersonation { actor, target }) => {
                write!(f, "let user `{actor}` not act as {target} any more")
            }
            Change::CreatePurpose { purpose, statement: _ } => write!(f, "create purpose `{purpose}`"),
            Change::SetStatement { purpose, statement: _ } => write!(f, "set the statement of purpose `{purpose}`"),
            Change::RemovePurpose(purpose) => write!(f, "remove purpose `{purpose}`"),
            Change::CreateProject { project, owners: _ } => write!(f, "create project `{project}`"),
            Change::RemoveProject(project) => write!(f, "remove project `{project}`"),
            Change::AddProjectOwner { project, user } => {
                write!(f, "make user `{user}` an owner of project `{project}`")
            }
            Change::RemoveProjectOwner { project, user } => {
                write!(f, "end the ownership of user `{user}` of project `{project}`")
            }
            Change::AddMember { project, user } => write!(f, "make user `{user}` a member of project `{project}`"),
            Change::RemoveMember { project, user } => {
                write!(f, "end the membership of user `{user}` in project `{project}`")
            }
            Change::AddProjectSource { project, source } => {
                write!(f, "add data source `{source}` to project `{project}`")
            }
            Change::RemoveProjectSource { project, source } => {
                write!(f, "remove data source `{source}` from project `{project}`")
            }
            Change::AddProjectPurpose { project, purpose } => {
                write!(f, "add purpose `{purpose}` to project `{project}`")
            }
            Change::ApproveProjectPurpose { project, purpose } => {
                write!(f, "approve purpose `{purpose}` of project `{project}`")
            }
            Change::RemoveProjectPurpose { project, purpose } => {
                write!(f, "remove purpose `{purpose}` from project `{project}`")
            }
            Change::SetEqualized { project, on } => {
                write!(f, "switch equalization of project `{project}` {}", onoff(*on))
            }
            Change::SetMaskedJoins { project, on } => {
                write!(f, "switch masked joins of project `{project}` {}", onoff(*on))
            }
            Change::SetWorkspace { project, schema: Some(schema) } => {
                write!(f, "make schema `{schema}` the workspace of project `{project}`")
            }
            Change::SetWorkspace { project, schema: None } => {
                write!(f, "take the workspace from project `{project}`")
            }
            Change::WriteTable { project, table, lineage: _ } => {
                write!(f, "write table `{}` of project `{project}`", table.name)
            }
            Change::RewriteTable { name, .. } => write!(f, "write more into table `{name}`"),
            Change::DropTable { name, was: _ } => write!(f, "drop table `{name}`"),
            Change::Acknowledge { project, user, purpose, statement: _ } => {
                write!(f, "acknowledge purpose `{purpose}` of project `{project}` as user `{user}`")
            }
            Change::RequestSubscription { source, user, reason: _, policy: _ } => {
                write!(f, "request a subscription to data source `{source}` for user `{user}`")
            }
            Change::ApproveSubscription { request, approver, until_unix_ms: _ } => {
                write!(f, "approve request {request} as user `{approver}`")
            }
            Change::DenySubscription { request, approver, reason: _ } => {
                write!(f, "deny request {request} as user `{approver}`")
            }
            Change::WithdrawSubscription { request } => write!(f, "withdraw request {request}"),
            Change::RotateKey(of) => write!(f, "make a new key for {of}"),
            Change::AddConnection(connection) => write!(f, "add connection `{}`", connection.name),
            Change::AddStore(connection) => write!(f, "add connection `{}`", connection.name),
            Change::SetConnectionPassword { connection, password: _ } => {
                write!(f, "set the password of connection `{connection}`")
            }
            Change::RemoveConnection(connection) => write!(f, "remove connection `{connection}`"),
        }
    }
}

fn onoff(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// What every change may want to know.
#[derive(Clone, Copy)]
pub(crate) struct Making<'a> {
    pub(crate) at_unix_ms: u64,
    /// A principal, or `local`.
    pub(crate) by: &'a str,
    pub(crate) vault: &'a Vault,
}

impl Making<'_> {
    /// As the database keeps it.
    pub(crate) fn at(&self) -> i64 {
        time(self.at_unix_ms)
    }
}

/// As the database keeps it.
pub(crate) fn time(unix_ms: u64) -> i64 {
    i64::try_from(unix_ms).unwrap_or(i64::MAX)
}

/// Does all of `changes` or none. Returns the epoch that holds afterwards: the next one if anything changed, else the
/// one that held before. With `at`, that one must hold before.
pub(crate) async fn apply(
    conn: &mut SqliteConnection,
    making: Making<'_>,
    changes: &[Change],
    at: Option<Epoch>,
) -> Result<Epoch, Failure> {
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
    if let Some(expected) = at {
        let found = facts::epoch(&mut tx).await?;
        if found != expected {
            return Err(StoreError::Moved { expected, found }.into());
        }
    }
    let mut what = Vec::new();
    let mut rows = rows_changed(&mut tx).await?;
    for change in changes {
        change.make(&mut tx, &making).await?;
        let rows_now = rows_changed(&mut tx).await?;
        if rows_now != rows {
            what.push(change);
            rows = rows_now;
        }
    }
    let Some((first, others)) = what.split_first() else { return Ok(facts::epoch(&mut tx).await?) };
    let what = if others.is_empty() { first.to_string() } else { format!("{first} and {} more", others.len()) };
    let insert = query("INSERT INTO epoch (at_unix_ms, made_by, what) VALUES (?, ?, ?)");
    let insert = insert.bind(making.at()).bind(making.by).bind(what);
    let epoch = insert.execute(&mut *tx).await?.last_insert_rowid();
    touched::forget(&mut tx, epoch).await?;
    tx.commit().await?;
    Ok(Epoch(u64::try_from(epoch).map_err(|e| StoreError::corrupt("epoch", e))?))
}

/// What would be there after `changes`. Nothing is kept of them.
pub(crate) async fn rehearse(
    conn: &mut SqliteConnection,
    making: Making<'_>,
    changes: &[Change],
) -> Result<facts::Rows, Failure> {
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
    for change in changes {
        change.make(&mut tx, &making).await?;
    }
    let rows = facts::read(&mut tx).await?;
    tx.rollback().await?;
    Ok(rows)
}

/// By this connection since it was opened, foreign key actions included.
async fn rows_changed(conn: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    query_scalar("SELECT total_changes()").fetch_one(conn).await
}

impl Change {
    async fn make(&self, tx: &mut SqliteConnection, making: &Making<'_>) -> Result<(), Failure> {
        match self {
            Change::PutUser(user) => people::put_user(tx, user).await,
            Change::SetPassword { user, password } => credential::set(tx, making.vault, user, password).await,
            Change::RemoveUser(id) => {
                let delete =
                    query("DELETE FROM principal WHERE iam = ? AND name = ?").bind(id.iam().as_str()).bind(id.name());
                found(delete.execute(tx).await?, "user", id)
            }
            Change::AddToGroup { user, group } => {
                let mut principal = facts::principal(tx, user).await?;
                principal.groups.insert(group.clone());
                people::put_user(tx, &principal).await
            }
            Change::RemoveFromGroup { user, group } => {
                let mut principal = facts::principal(tx, user).await?;
                if !principal.groups.remove(group) {
                    return missing("membership", format!("{user} in {group}"));
                }
                people::put_user(tx, &principal).await
            }
            Change::SetAttribute { user, key, value } => {
                let mut principal = facts::principal(tx, user).await?;
                principal.attributes.entry(key.clone()).or_default().insert(value.clone());
                people::put_user(tx, &principal).await
            }
            Change::RemoveAttribute { user, key, value } => {
                let mut principal = facts::principal(tx, user).await?;
                if !principal.attributes.get_mut(key).is_some_and(|values| values.remove(value)) {
                    return missing("attribute", format!("{key} = {value} of {user}"));
                }
                people::put_user(tx, &principal).await
            }
            Change::CreateGroup(group) => people::declare(tx, group).await,
            Change::DeleteGroup(group) => people::delete_group(tx, group).await,
            Change::AddSource(source) => {
                workspaces::must_not_be(tx, &source.name).await?;
                sources::add_source(tx, making, source).await
            }
            Change::RemoveSource(name) => {
                let delete = query("DELETE FROM source WHERE id = ?").bind(source_row(tx, name).await?);
                found(delete.execute(tx).await?, "data source", name)
            }
            Change::SetRowKey { source, columns } => sources::set_row_key(tx, source, columns).await,
            Change::SetProfiles { source, profiles } => profiles::set(tx, source, profiles).await,
            Change::SetEventTime { source, column } => sources::set_event_time(tx, source, column.as_ref()).await,
            Change::SetLineage { source, lineage } => lineage::set(tx, making, source, lineage.as_ref()).await,
            Change::SetSourceTags { source, tags } => sources::set_tags(tx, source, tags).await,
            Change::SetColumnTags { source, column, tags } => sources::set_column_tags(tx, source, column, tags).await,
            Change::AddOwner { source, user } => sources::relate(tx, sources::ADD_OWNER, source, user).await.map(drop),
            Change::RemoveOwner { source, user } => {
                let removed =
                    sources::relate(tx, "DELETE FROM source_owner WHERE source = ? AND principal = ?", source, user)
                        .await?;
                found(removed, "ownership", format!("{user} of {source}"))
            }
            Change::Select { source, user } => {
                sources::relate(tx, "INSERT OR IGNORE INTO selected (source, principal) VALUES (?, ?)", source, user)
                    .await
                    .map(drop)
            }
            Change::Unselect { source, user } => {
                let removed =
                    sources::relate(tx, "DELETE FROM selected WHERE source = ? AND principal = ?", source, user)
                        .await?;
                found(removed, "selection", format!("{user} for {source}"))
            }
            Change::PutPolicy(policy) => policies::put(tx, policy).await,
            Change::RemovePolicy(key) => {
                let delete = query("DELETE FROM policy WHERE key = ?").bind(key.as_str());
                found(delete.execute(tx).await?, "policy", key)
            }
            Change::ChoosePolicy { policy, source } => {
                let insert = "INSERT OR IGNORE INTO chosen_policy (policy, source) VALUES (?, ?)";
                let (policy, source) = (policies::row(tx, policy).await?, source_row(tx, source).await?);
                link(tx, insert, policy, source).await.map(drop)
            }
            Change::UnchoosePolicy { policy, source } => {
                let delete = "DELETE FROM chosen_policy WHERE policy = ? AND source = ?";
                let rows = (policies::row(tx, policy).await?, source_row(tx, source).await?);
                found(link(tx, delete, rows.0, rows.1).await?, "choice", format!("{policy} for {source}"))
            }
            Change::CertifyPolicy { policy, source, user } => {
                certifications::certify(tx, making, policy, source, user.as_ref()).await
            }
            Change::AllowImpersonation(grant) => {
                let insert =
                    "INSERT OR IGNORE INTO impersonation (actor, target_principal, target_group) VALUES (?, ?, ?)";
                people::impersonation(tx, insert, grant).await.map(drop)
            }
            Change::DenyImpersonation(grant) => {
                let delete =
                    "DELETE FROM impersonation WHERE actor = ? AND target_principal IS ? AND target_group IS ?";
                let Impersonation { actor, target } = grant;
                found(people::impersonation(tx, delete, grant).await?, "impersonation", format!("{actor} as {target}"))
            }
            Change::CreatePurpose { purpose, statement } => purposes::create(tx, purpose, statement.as_deref()).await,
            Change::SetStatement { purpose, statement } => {
                purposes::set_statement(tx, purpose, statement.as_deref()).await
            }
            Change::RemovePurpose(purpose) => purposes::remove(tx, purpose).await,
            Change::CreateProject { project, owners } => projects::create(tx, project, owners).await,
            Change::RemoveProject(project) => projects::remove(tx, project).await,
            Change::AddProjectOwner { project, user } => projects::add_owner(tx, project, user).await,
            Change::RemoveProjectOwner { project, user } => projects::remove_owner(tx, project, user).await,
            Change::AddMember { project, user } => projects::add_member(tx, project, user).await,
            Change::RemoveMember { project, user } => projects::remove_member(tx, project, user).await,
            Change::AddProjectSource { project, source } => projects::add_source(tx, project, source).await,
            Change::RemoveProjectSource { project, source } => projects::remove_source(tx, project, source).await,
            Change::AddProjectPurpose { project, purpose } => projects::add_purpose(tx, making, project, purpose).await,
            Change::ApproveProjectPurpose { project, purpose } => {
                projects::approve_purpose(tx, making, project, purpose).await
            }
            Change::RemoveProjectPurpose { project, purpose } => projects::remove_purpose(tx, project, purpose).await,
            Change::SetEqualized { project, on } => projects::set_equalized(tx, project, *on).await,
            Change::SetMaskedJoins { project, on } => projects::set_masked_joins(tx, making, project, *on).await,
            Change::SetWorkspace { project, schema } => workspaces::set(tx, project, schema.as_deref()).await,
            Change::WriteTable { project, table, lineage } => {
                workspaces::write(tx, making, project, table, lineage.as_ref()).await
            }
            Change::RewriteTable { name, was, location, lineage } => {
                workspaces::rewrite(tx, making, name, was, location, lineage.as_ref()).await
            }
            Change::DropTable { name, was } => workspaces::drop_table(tx, name, was).await,
            Change::Acknowledge { project, user, purpose, statement } => {
                projects::acknowledge(tx, making, project, user, purpose, statement).await
            }
            Change::RequestSubscription { source, user, reason, policy } => {
                requests::ask(tx, making, source, user, reason, policy.as_ref()).await
            }
            Change::ApproveSubscription { request, approver, until_unix_ms } => {
                requests::approve(tx, making, *request, approver, *until_unix_ms).await
            }
            Change::DenySubscription { request, approver, reason } => {
                requests::deny(tx, making, *request, approver, reason).await
            }
            Change::WithdrawSubscription { request } => requests::withdraw(tx, making, *request).await,
            Change::RotateKey(of) => {
                let of = match of {
                    KeyOwner::Source(source) => Of::Source(source_row(tx, source).await?),
                    KeyOwner::Project(project) => Of::Project(projects::row(tx, project).await?),
                };
                keys::make(tx, making.vault, of, making.at()).await
            }
            Change::AddConnection(connection) => connections::add(tx, making.vault, connection).await,
            Change::AddStore(connection) => connections::add_store(tx, making.vault, connection).await,
            Change::SetConnectionPassword { connection, password } => {
                connections::set_password(tx, making.vault, connection, password).await
            }
            Change::RemoveConnection(connection) => connections::remove(tx, connection).await,
        }
    }
}

pub(crate) fn missing<T>(kind: &'static str, name: impl fmt::Display) -> Result<T, Failure> {
    Err(StoreError::NotFound { kind, name: name.to_string() }.into())
}

/// An error if no row was touched.
pub(crate) fn found(result: SqliteQueryResult, kind: &'static str, name: impl fmt::Display) -> Result<(), Failure> {
    if result.rows_affected() == 0 { missing(kind, name) } else { Ok(()) }
}

pub(crate) fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::corrupt("value", e))
}

/// Runs `sql` with two rows.
pub(crate) async fn link(
    tx: &mut SqliteConnection,
    sql: &'static str,
    one: i64,
    other: i64,
) -> Result<SqliteQueryResult, Failure> {
    Ok(query(sql).bind(one).bind(other).execute(tx).await?)
}
