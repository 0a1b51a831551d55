//! Users, groups and who may act as whom.

use sqlx::sqlite::SqliteQueryResult;
use sqlx::{SqliteConnection, query, query_scalar};
use weir_model::{GroupName, Impersonation, Principal, PrincipalId, PrincipalSet};

use crate::change::{found, json, missing};
use crate::error::{Failure, StoreError};

pub(crate) async fn put_user(tx: &mut SqliteConnection, user: &Principal) -> Result<(), Failure> {
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

pub(crate) async fn declare(tx: &mut SqliteConnection, group: &GroupName) -> Result<(), Failure> {
    query("INSERT OR IGNORE INTO declared_group (name) VALUES (?)").bind(group.as_str()).execute(tx).await?;
    Ok(())
}

pub(crate) async fn delete_group(tx: &mut SqliteConnection, group: &GroupName) -> Result<(), Failure> {
    let member = "SELECT name FROM principal, json_each(principal.groups) AS of WHERE of.value = ? LIMIT 1";
    let member: Option<String> = query_scalar(member).bind(group.as_str()).fetch_optional(&mut *tx).await?;
    if let Some(member) = member {
        return Err(StoreError::GroupHasMembers { group: group.to_string(), member }.into());
    }
    let delete = query("DELETE FROM declared_group WHERE name = ?").bind(group.as_str());
    found(delete.execute(tx).await?, "group", group)
}

/// Runs `sql` with the actor and the target of a grant, all of which must exist.
pub(crate) async fn impersonation(
    tx: &mut SqliteConnection,
    sql: &'static str,
    grant: &Impersonation,
) -> Result<SqliteQueryResult, Failure> {
    let actor = user_row(tx, &grant.actor).await?;
    let (user, group) = match &grant.target {
        PrincipalSet::User(user) if *user == grant.actor => {
            let what = format!("user `{user}` cannot be let act as user `{user}`");
            return Err(StoreError::refused(what, "everybody acts as oneself already").into());
        }
        PrincipalSet::User(user) => (Some(user_row(tx, user).await?), None),
        PrincipalSet::Group(group) => {
            let select = query_scalar("SELECT name FROM declared_group WHERE name = ?").bind(group.as_str());
            match select.fetch_optional(&mut *tx).await? {
                Some(name) => (None, Some::<String>(name)),
                None => return missing("group", group),
            }
        }
    };
    Ok(query(sql).bind(actor).bind(user).bind(group).execute(tx).await?)
}

pub(crate) async fn user_row(tx: &mut SqliteConnection, user: &PrincipalId) -> Result<i64, Failure> {
    let select = query_scalar("SELECT id FROM principal WHERE iam = ? AND name = ?");
    match select.bind(user.iam().as_str()).bind(user.name()).fetch_optional(tx).await? {
        Some(id) => Ok(id),
        None => missing("user", user),
    }
}
