//! What owners certify: that they have looked at what a policy means for their source.

use sqlx::{SqliteConnection, query, query_as, query_scalar};
use weir_model::{Epoch, PolicyKey, PrincipalId, SourceName};
use weir_policy::{Facts, StoredPolicy, lands_on};

use crate::change::{Making, json, missing, time};
use crate::error::{Failure, StoreError};
use crate::facts;
use crate::people::user_row;
use crate::sources::source_row;

/// That somebody certified a policy for a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificationRecord {
    pub policy: PolicyKey,
    pub source: SourceName,
    /// An owner, or `local` for the administrator of the machine.
    pub by: String,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub at_unix_ms: u64,
    /// The state in which the policy was looked at.
    pub epoch: Epoch,
    /// Whether the policy still says what was certified.
    pub current: bool,
}

/// Without a user, in the name of whoever makes the change.
pub(crate) async fn certify(
    tx: &mut SqliteConnection,
    making: &Making<'_>,
    policy: &PolicyKey,
    source: &SourceName,
    user: Option<&PrincipalId>,
) -> Result<(), Failure> {
    let row = source_row(tx, source).await?;
    if let Some(user) = user {
        let select = "SELECT EXISTS (SELECT 1 FROM source_owner WHERE source = ? AND principal = ?)";
        let user_row = user_row(tx, user).await?;
        let owns: bool = query_scalar(select).bind(row).bind(user_row).fetch_one(&mut *tx).await?;
        if !owns {
            return Err(refused(policy, source, format!("user `{user}` is no owner of it")));
        }
    }
    let facts = facts::read(tx).await?.understand(making.at_unix_ms, None)?.facts;
    let stored = certifiable(&facts, policy, source)?;
    let epoch = facts.epoch.map_or(0, |epoch| epoch.0);
    let by = user.map_or_else(|| making.by.to_owned(), ToString::to_string);
    query(
        "INSERT INTO certification (policy, source, made_by, at_unix_ms, epoch, text)
         SELECT id, ?2, ?3, ?4, ?5, text FROM policy WHERE id = ?1
         ON CONFLICT (policy, source) DO UPDATE
         SET made_by = excluded.made_by, at_unix_ms = excluded.at_unix_ms, epoch = excluded.epoch, text = excluded.text
         WHERE text <> excluded.text",
    )
    .bind(stored.id.0)
    .bind(row)
    .bind(by)
    .bind(making.at())
    .bind(time(epoch))
    .execute(&mut *tx)
    .await?;
    let granted = stored.policy.certification.iter().flat_map(|certification| &certification.tags);
    let before = facts.sources.iter().find(|known| known.name == *source).map(|source| source.tags.clone());
    let tags: std::collections::BTreeSet<_> = before.into_iter().flatten().chain(granted.cloned()).collect();
    let update = query("UPDATE source SET tags = ?1 WHERE id = ?2 AND tags <> ?1").bind(json(&tags)?).bind(row);
    update.execute(tx).await?;
    Ok(())
}

fn certifiable<'f>(facts: &'f Facts, policy: &PolicyKey, source: &SourceName) -> Result<&'f StoredPolicy, Failure> {
    let Some(stored) = facts.policies.iter().find(|stored| stored.policy.key == *policy) else {
        return missing("policy", policy);
    };
    let lands =
        || facts.sources.iter().find(|known| known.name == *source).is_some_and(|s| lands_on(facts, &stored.policy, s));
    let why = if stored.policy.certification.is_none() {
        "it asks for no certification"
    } else if stored.policy.template {
        "it is a template"
    } else if !lands() {
        "it is not about that source"
    } else {
        return Ok(stored);
    };
    Err(refused(policy, source, why))
}

fn refused(policy: &PolicyKey, source: &SourceName, why: impl Into<String>) -> Failure {
    StoreError::refused(format!("policy `{policy}` cannot be certified for data source `{source}`"), why).into()
}

/// All that was certified and is still there, by policy and source.
pub(crate) async fn list(conn: &mut SqliteConnection) -> Result<Vec<CertificationRecord>, Failure> {
    type Row = (String, String, String, String, u64, u64, bool);
    let rows: Vec<Row> = query_as(
        "SELECT p.key, s.schema_name, s.table_name, c.made_by, c.at_unix_ms, c.epoch, c.text = p.text
         FROM certification c JOIN policy p ON p.id = c.policy JOIN source s ON s.id = c.source
         ORDER BY p.key, s.schema_name, s.table_name",
    )
    .fetch_all(conn)
    .await?;
    let record = |(key, schema, table, by, at_unix_ms, epoch, current): Row| {
        let corrupt = |e: weir_model::InvalidName| StoreError::corrupt("certification", e);
        let (policy, source) =
            (PolicyKey::new(key).map_err(corrupt)?, SourceName::new(schema, table).map_err(corrupt)?);
        Ok(CertificationRecord { policy, source, by, at_unix_ms, epoch: Epoch(epoch), current })
    };
    rows.into_iter().map(record).collect::<Result<_, StoreError>>().map_err(Failure::from)
}
