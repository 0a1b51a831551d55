//! The store as its users see it, on real files.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that fails panics")]

mod audit;
mod crash;
mod directory;
mod history;
mod keys;
mod model;
mod projects;
mod requests;
mod sources;
mod state;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, query, query_scalar};
use weir_guard::{Attempt, Clock, Door, Ended, Outcome};
use weir_model::{
    Actor, Epoch, GroupName, Location, PolicyKey, Principal, PrincipalId, RequestId, SourceId, SourceName,
};
use weir_policy::ast::{Approver, Body, Circumstances, Merge, Policy, Statement, Subscribe, Subscribers};
use weir_store::{Change, NewSource, Store};

/// Says a later time each time it is asked.
#[derive(Default)]
struct Ticks(AtomicU64);

impl Clock for Ticks {
    fn unix_ms(&self) -> u64 {
        1_700_000_000_000 + self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Says what it was told.
#[derive(Default)]
struct Told(AtomicU64);

impl Clock for Told {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

async fn open(dir: &Path) -> Store {
    Store::open(dir, Arc::new(Ticks::default())).await.unwrap()
}

/// What an error says, causes included.
fn told(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(e) = cause {
        text += &format!(": {e}");
        cause = e.source();
    }
    text
}

fn person(name: &str) -> PrincipalId {
    PrincipalId::builtin(name).unwrap()
}

fn group(name: &str) -> GroupName {
    GroupName::new(name).unwrap()
}

fn user(name: &str, groups: &[&str]) -> Change {
    let groups = groups.iter().map(|g| group(g)).collect();
    Change::PutUser(Principal { groups, ..Principal::bare(person(name)) })
}

fn table(name: &str) -> SourceName {
    name.parse().unwrap()
}

fn source(name: &str, owners: &[&str]) -> Change {
    let format = weir_model::FileFormat::Parquet;
    Change::AddSource(NewSource {
        name: table(name),
        tags: Default::default(),
        owners: owners.iter().map(|o| person(o)).collect(),
        columns: Vec::new(),
        row_key: Vec::new(),
        event_time: None,
        location: Location::Files { format, path: "/data".into(), partitions: Vec::new() },
    })
}

async fn source_id(store: &Store, name: &str) -> SourceId {
    store.facts().await.unwrap().sources.iter().find(|s| s.name == table(name)).unwrap().id
}

fn policy_key(key: &str) -> PolicyKey {
    PolicyKey::new(key).unwrap()
}

/// A subscription policy on one source.
fn subscription(key: &str, source: &str, who: Subscribers) -> Policy {
    let on = Circumstances::Named(vec![table(source).into()]);
    let statement = Statement { body: Body::Subscribe(Subscribe { who, merge: Merge::Share }), on };
    Policy::new(policy_key(key), statement)
}

fn asking(key: &str, source: &str, approvers: Vec<Approver>) -> Change {
    Change::PutPolicy(subscription(key, source, Subscribers::Asking(approvers)))
}

/// What is wrong with the changes.
async fn refused(store: &Store, changes: Vec<Change>) -> String {
    told(&store.apply("local", changes).await.unwrap_err())
}

fn attempt(at_unix_ms: u64, who: &str, statement: &str) -> Attempt {
    Attempt {
        version: weir_guard::audit::VERSION,
        request: RequestId::new_at(at_unix_ms),
        at_unix_ms,
        actor: Actor::itself(person(who)),
        door: Door::Postgres,
        client_hint: None,
        statement: statement.to_owned(),
        epoch: Some(Epoch(1)),
        project: None,
        purposes: Vec::new(),
        writes: None,
        sources: Vec::new(),
        refusal: None,
    }
}

fn outcome(of: &Attempt, rows: u64) -> Outcome {
    Outcome {
        version: weir_guard::audit::VERSION,
        request: of.request,
        at_unix_ms: of.at_unix_ms + 5,
        ended: Ended::Complete,
        rows,
        bytes: rows * 8,
        elapsed_ms: 5,
        detail: None,
    }
}

/// A connection behind the store's back.
async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

/// What SQLite itself finds wrong with the file.
async fn integrity(path: &Path) -> String {
    let mut conn = raw(path).await;
    let found: String = query_scalar("PRAGMA integrity_check").fetch_one(&mut conn).await.unwrap();
    let broken = query("PRAGMA foreign_key_check").fetch_all(&mut conn).await.unwrap().len();
    conn.close().await.unwrap();
    format!("{found}, {broken} dangling")
}
