//! Former policies: which texts they had, from which epoch to which, and who made the change.

use sqlx::{SqliteConnection, query_as, query_scalar};
use weir_model::{Epoch, PolicyId, PolicyKey};
use weir_policy::StoredPolicy;
use weir_policy::ast::Policy;

use crate::error::{Failure, StoreError};
use crate::{EpochRecord, facts};

/// A policy as it was from one change to the next.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyVersion {
    pub policy: Policy,
    pub came: Came,
    /// The change that replaced or removed it. Absent: it holds.
    pub went: Option<EpochRecord>,
}

/// How a version came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    By(EpochRecord),
    /// It was there when versions began to be kept.
    NotAfter(Epoch),
}

/// The text and the number of the epoch with which it came, then that epoch if it is on record.
type CameRow = (String, u64, Option<u64>, Option<u64>, Option<String>, Option<String>);

/// Number, time, who and what, each absent without an epoch.
type EpochRow = (Option<u64>, Option<u64>, Option<String>, Option<String>);

fn record((number, at_unix_ms, by, what): EpochRow) -> Option<EpochRecord> {
    Some(EpochRecord { epoch: Epoch(number?), at_unix_ms: at_unix_ms?, by: by?, what: what? })
}

/// The policies that held at `epoch`.
pub(crate) async fn at(conn: &mut SqliteConnection, epoch: Epoch) -> Result<Vec<StoredPolicy>, Failure> {
    let what = || format!("the policies of epoch {epoch} cannot be read");
    let newest = facts::epoch(conn).await?;
    if epoch > newest {
        return Err(StoreError::refused(what(), format!("the newest epoch is {newest}")).into());
    }
    let since = kept_since(conn).await?;
    if epoch < since {
        return Err(StoreError::refused(what(), format!("policies are kept since epoch {since}")).into());
    }
    let epoch = i64::try_from(epoch.0).unwrap_or(i64::MAX);
    let select = "SELECT policy, key, text FROM policy_version
        WHERE came <= ?1 AND (went IS NULL OR went > ?1) ORDER BY policy";
    let rows: Vec<(u32, String, String)> = query_as(select).bind(epoch).fetch_all(conn).await?;
    let stored = |(id, key, text): (u32, String, String)| {
        Ok(StoredPolicy { id: PolicyId(id), policy: facts::policy(&key, &text)? })
    };
    Ok(rows.into_iter().map(stored).collect::<Result<_, StoreError>>()?)
}

/// Every version of policies of that key, the oldest first.
pub(crate) async fn of(conn: &mut SqliteConnection, key: &PolicyKey) -> Result<Vec<PolicyVersion>, Failure> {
    let since = kept_since(conn).await?;
    let came = "SELECT v.text, v.came, e.number, e.at_unix_ms, e.made_by, e.what FROM policy_version v
        LEFT JOIN epoch e ON e.number = v.came WHERE v.key = ? ORDER BY v.came, v.policy";
    let went = "SELECT e.number, e.at_unix_ms, e.made_by, e.what FROM policy_version v
        LEFT JOIN epoch e ON e.number = v.went WHERE v.key = ? ORDER BY v.came, v.policy";
    let came: Vec<CameRow> = query_as(came).bind(key.as_str()).fetch_all(&mut *conn).await?;
    let went: Vec<EpochRow> = query_as(went).bind(key.as_str()).fetch_all(&mut *conn).await?;
    let mut versions = Vec::with_capacity(came.len());
    for ((text, epoch, number, at_unix_ms, by, what), went) in came.into_iter().zip(went) {
        let by = record((number, at_unix_ms, by, what)).filter(|_| Epoch(epoch) != since);
        versions.push(PolicyVersion {
            policy: facts::policy(key.as_str(), &text)?,
            came: by.map_or(Came::NotAfter(Epoch(epoch)), Came::By),
            went: record(went),
        });
    }
    Ok(versions)
}

async fn kept_since(conn: &mut SqliteConnection) -> Result<Epoch, sqlx::Error> {
    query_scalar("SELECT since FROM policy_version_kept").fetch_one(conn).await.map(Epoch)
}
