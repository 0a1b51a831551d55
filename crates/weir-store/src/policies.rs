//! Policies as texts.

use sqlx::{SqliteConnection, query, query_scalar};
use weir_model::PolicyKey;
use weir_policy::ast::Policy;
use weir_policy::language;

use crate::change::missing;
use crate::error::{Failure, StoreError};
use crate::facts;

pub(crate) async fn row(tx: &mut SqliteConnection, key: &PolicyKey) -> Result<i64, Failure> {
    match query_scalar("SELECT id FROM policy WHERE key = ?").bind(key.as_str()).fetch_optional(tx).await? {
        Some(id) => Ok(id),
        None => missing("policy", key),
    }
}

/// What does not read back as itself is not saved: nobody would decide by what its author wrote.
pub(crate) async fn put(tx: &mut SqliteConnection, policy: &Policy) -> Result<(), Failure> {
    let text = language::to_yaml(policy);
    if facts::policy(policy.key.as_str(), &text).ok().as_ref() != Some(policy) {
        return Err(StoreError::PolicySpelling { key: policy.key.to_string() }.into());
    }
    let upsert = "INSERT INTO policy (key, text) VALUES (?, ?)
        ON CONFLICT (key) DO UPDATE SET text = excluded.text WHERE text <> excluded.text";
    query(upsert).bind(policy.key.as_str()).bind(text).execute(tx).await?;
    Ok(())
}
