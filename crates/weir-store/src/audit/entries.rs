//! Reading the audit log.

use serde::de::DeserializeOwned;
use sqlx::{Connection, QueryBuilder, Sqlite};
use weir_guard::{Attempt, Door, Outcome};
use weir_model::{PrincipalId, RequestId, SourceName};

use crate::database::Database;
use crate::error::StoreError;

/// Which entries to list. Every field that is set must hold.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// As whom or for whom.
    pub principal: Option<PrincipalId>,
    /// Among the sources that the statement names.
    pub source: Option<SourceName>,
    pub door: Option<Door>,
    pub refused: Option<bool>,
    /// Milliseconds since 1970-01-01T00:00:00Z, inclusive.
    pub since_unix_ms: Option<u64>,
    /// Milliseconds since 1970-01-01T00:00:00Z, exclusive.
    pub until_unix_ms: Option<u64>,
    pub request: Option<RequestId>,
    /// Part of the statement. Case of ASCII letters does not matter.
    pub text: Option<String>,
    /// At most this many: the newest ones, or the oldest with `oldest_first`. Absent: all.
    pub limit: Option<u32>,
    /// In the order of recording; otherwise the newest entry comes first.
    pub oldest_first: bool,
}

/// One read or refusal.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    pub attempt: Attempt,
    /// Absent for a refusal and while the read runs.
    pub outcome: Option<Outcome>,
}

/// Reads what matches `filter`.
pub(crate) async fn list(database: &Database, filter: &AuditFilter) -> Result<Vec<AuditEntry>, StoreError> {
    let mut conn = database.connect().await?;
    let rows: Result<Vec<(String, Option<String>)>, sqlx::Error> =
        statement(filter).build_query_as().fetch_all(&mut conn.sqlite).await;
    let rows = rows.map_err(|e| database.blame(e))?;
    conn.sqlite.close().await.map_err(|e| database.blame(e))?;
    let entries = rows.into_iter().map(|(attempt, outcome)| {
        Ok(AuditEntry { attempt: record(&attempt)?, outcome: outcome.map(|outcome| record(&outcome)).transpose()? })
    });
    entries.collect()
}

fn statement(filter: &AuditFilter) -> QueryBuilder<Sqlite> {
    let AuditFilter {
        principal,
        source,
        door,
        refused,
        since_unix_ms,
        until_unix_ms,
        request,
        text,
        limit,
        oldest_first,
    } = filter;
    let time = |unix_ms: u64| i64::try_from(unix_ms).unwrap_or(i64::MAX);
    let mut sql = QueryBuilder::new(
        "SELECT record, (SELECT record FROM outcome WHERE outcome.request = attempt.request ORDER BY seq DESC LIMIT 1)
         FROM attempt WHERE TRUE",
    );
    if let Some(principal) = principal {
        let principal = principal.to_string();
        sql.push(" AND (principal = ").push_bind(principal.clone());
        sql.push(" OR effective_principal = ").push_bind(principal).push(")");
    }
    if let Some(source) = source {
        sql.push(" AND seq IN (SELECT attempt FROM attempt_source WHERE source = ")
            .push_bind(source.to_string())
            .push(")");
    }
    if let Some(door) = door {
        sql.push(" AND door = ").push_bind(door.as_str());
    }
    if let Some(refused) = refused {
        sql.push(" AND refused = ").push_bind(*refused);
    }
    if let Some(since) = since_unix_ms {
        sql.push(" AND at_unix_ms >= ").push_bind(time(*since));
    }
    if let Some(until) = until_unix_ms {
        sql.push(" AND at_unix_ms < ").push_bind(time(*until));
    }
    if let Some(request) = request {
        sql.push(" AND request = ").push_bind(request.to_string());
    }
    if let Some(text) = text {
        sql.push(" AND instr(lower(statement), lower(").push_bind(text.clone()).push(")) > 0");
    }
    sql.push(if *oldest_first { " ORDER BY seq" } else { " ORDER BY seq DESC" });
    if let Some(limit) = limit {
        sql.push(" LIMIT ").push_bind(*limit);
    }
    sql
}

fn record<T: DeserializeOwned>(json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|e| StoreError::corrupt("audit record", e))
}
