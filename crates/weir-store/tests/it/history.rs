//! Former policies, changes that are tried, and changes at an epoch.

use std::collections::BTreeMap;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, Connection, SqlSafeStr, query, query_scalar};
use weir_model::Epoch;
use weir_policy::StoredPolicy;
use weir_policy::ast::{Approver, Policy, Subscribers};
use weir_store::{Came, Change, PolicyVersion, Store, StoreError};

use crate::{asking, integrity, open, person, policy_key, raw, refused, source, subscription, table, told, user};

fn anyone(key: &str) -> Policy {
    subscription(key, "retail.t", Subscribers::Anyone)
}

fn selected(key: &str) -> Policy {
    subscription(key, "retail.t", Subscribers::Selected)
}

async fn keys_at(store: &Store, epoch: u64) -> Vec<String> {
    let policies = store.policies_at(Epoch(epoch)).await.unwrap();
    policies.iter().map(|stored| stored.policy.key.to_string()).collect()
}

/// Who made the change with which each version came and went; `?` where it is not known.
fn lives(versions: &[PolicyVersion]) -> Vec<(String, Option<u64>)> {
    let came = |version: &PolicyVersion| match &version.came {
        Came::By(record) => format!("{} {}", record.epoch, record.by),
        Came::NotAfter(epoch) => format!("{epoch} ?"),
    };
    versions.iter().map(|version| (came(version), version.went.as_ref().map(|record| record.epoch.0))).collect()
}

#[tokio::test]
async fn every_version_of_a_policy_is_kept_with_who_made_it() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    store.apply("local", vec![source("retail.t", &[])]).await.unwrap();
    store.apply("greg", vec![Change::PutPolicy(anyone("a")), Change::PutPolicy(anyone("b"))]).await.unwrap();
    // Nothing new is no version.
    store.apply("local", vec![Change::PutPolicy(anyone("a")), user("tara", &[])]).await.unwrap();
    store.apply("anna", vec![Change::PutPolicy(selected("a"))]).await.unwrap();
    store.apply("local", vec![Change::RemovePolicy(policy_key("a"))]).await.unwrap();
    // Twice within one change, and gone again within one.
    let back = [selected("a"), anyone("a")].map(Change::PutPolicy);
    let mut changes = Vec::from(back);
    changes.extend([Change::PutPolicy(anyone("c")), Change::RemovePolicy(policy_key("c"))]);
    store.apply("bert", changes).await.unwrap();

    let versions = store.policy_history(&policy_key("a")).await.unwrap();
    let texts: Vec<&Policy> = versions.iter().map(|version| &version.policy).collect();
    assert_eq!(texts, [&anyone("a"), &selected("a"), &anyone("a")]);
    let expected = [("2 greg", Some(4)), ("4 anna", Some(5)), ("6 bert", None)];
    assert_eq!(lives(&versions), expected.map(|(came, went)| (came.to_owned(), went)));
    let replaced = versions[0].went.as_ref().unwrap();
    assert_eq!((replaced.by.as_str(), replaced.what.as_str()), ("anna", "put policy `a`"));
    assert_eq!(store.policy_history(&policy_key("c")).await.unwrap(), []);

    let held = [vec![], vec![], vec!["a", "b"], vec!["a", "b"], vec!["a", "b"], vec!["b"], vec!["b", "a"]];
    for (epoch, held) in (0..).zip(held) {
        assert_eq!(keys_at(&store, epoch).await, held, "epoch {epoch}");
    }
    assert_eq!(store.policies_at(Epoch(3)).await.unwrap()[0].policy, anyone("a"));
    assert_eq!(store.policies_at(Epoch(4)).await.unwrap()[0].policy, selected("a"));
    assert_eq!(store.policies_at(Epoch(6)).await.unwrap(), store.facts().await.unwrap().policies);
    let e = told(&store.policies_at(Epoch(7)).await.unwrap_err());
    assert_eq!(e, "the policies of epoch 7 cannot be read: the newest epoch is 6");
    store.close().await.unwrap();
    assert_eq!(integrity(&root.path().join("weir.db")).await, "ok, 0 dangling");
}

/// A change that fails leaves no version behind.
#[tokio::test]
async fn what_is_not_changed_has_no_history() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    store.apply("local", vec![source("retail.t", &[]), Change::PutPolicy(anyone("a"))]).await.unwrap();
    let failing = vec![Change::PutPolicy(selected("a")), Change::RemovePolicy(policy_key("b"))];
    assert_eq!(refused(&store, failing).await, "policy `b` does not exist");
    assert_eq!(lives(&store.policy_history(&policy_key("a")).await.unwrap()), [("1 local".to_owned(), None)]);
}

#[tokio::test]
async fn policies_from_before_versions_were_kept_are_there() {
    let root = tempfile::tempdir().unwrap();
    // Made by this version, then put back to what the one before it knew.
    let store = open(root.path()).await;
    store.apply("local", vec![source("retail.t", &[]), Change::PutPolicy(anyone("a"))]).await.unwrap();
    store.apply("local", vec![Change::PutPolicy(selected("a"))]).await.unwrap();
    let facts = store.facts().await.unwrap();
    store.close().await.unwrap();
    let mut conn = raw(&root.path().join("weir.db")).await;
    let later: Vec<String> =
        query_scalar("SELECT 'DROP TRIGGER ' || name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'touch%'")
            .fetch_all(&mut conn)
            .await
            .unwrap();
    for sql in later {
        query(AssertSqlSafe(sql)).execute(&mut conn).await.unwrap();
    }
    for sql in [
        "DROP VIEW touch",
        "DROP TABLE touched",
        "DROP TABLE certification",
        "DROP TABLE connection",
        "ALTER TABLE source_column DROP COLUMN profile",
        "ALTER TABLE source DROP COLUMN lineage",
        "DROP INDEX source_workspace",
        "ALTER TABLE source DROP COLUMN workspace",
        "DROP INDEX project_workspace",
        "ALTER TABLE project DROP COLUMN workspace",
        "DROP TRIGGER policy_added",
        "DROP TRIGGER policy_replaced",
        "DROP TRIGGER policy_removed",
        "DROP TABLE policy_version",
        "DROP TABLE policy_version_kept",
        "DELETE FROM _sqlx_migrations WHERE version >= 4",
    ] {
        query(sql).execute(&mut conn).await.unwrap();
    }
    conn.close().await.unwrap();

    let store = open(root.path()).await;
    assert_eq!(store.facts().await.unwrap().policies, facts.policies);
    assert_eq!(lives(&store.policy_history(&policy_key("a")).await.unwrap()), [("2 ?".to_owned(), None)]);
    assert_eq!(keys_at(&store, 2).await, ["a"]);
    let e = told(&store.policies_at(Epoch(1)).await.unwrap_err());
    assert_eq!(e, "the policies of epoch 1 cannot be read: policies are kept since epoch 2");
    store.apply("greg", vec![Change::PutPolicy(anyone("a"))]).await.unwrap();
    let lives = lives(&store.policy_history(&policy_key("a")).await.unwrap());
    assert_eq!(lives, [("2 ?".to_owned(), Some(3)), ("3 greg".to_owned(), None)]);
    store.close().await.unwrap();
    assert_eq!(integrity(&root.path().join("weir.db")).await, "ok, 0 dangling");
}

#[tokio::test]
async fn a_change_at_an_epoch_needs_that_epoch() {
    let root = tempfile::tempdir().unwrap();
    let (store, other) = (open(root.path()).await, open(root.path()).await);
    store.apply("local", vec![source("retail.t", &[])]).await.unwrap();
    other.apply("local", vec![user("tara", &[])]).await.unwrap();
    let e = store.apply_at(Epoch(1), "local", vec![Change::PutPolicy(anyone("a"))]).await.unwrap_err();
    assert!(matches!(e, StoreError::Moved { expected: Epoch(1), found: Epoch(2) }), "{e}");
    assert_eq!(told(&e), "epoch 2 holds now, not epoch 1 any more: something was changed meanwhile");
    assert_eq!(store.facts().await.unwrap().policies, []);
    assert_eq!(store.apply_at(Epoch(2), "local", vec![Change::PutPolicy(anyone("a"))]).await.unwrap(), Epoch(3));
    // Also where nothing changes.
    assert!(store.apply_at(Epoch(2), "local", Vec::new()).await.is_err());
    assert_eq!(store.apply_at(Epoch(3), "local", vec![Change::PutPolicy(anyone("a"))]).await.unwrap(), Epoch(3));
}

/// What a rehearsal says is what applying gives, requests and choices included, and nothing is kept of it.
#[tokio::test]
async fn a_rehearsal_gives_what_applying_would_and_keeps_nothing() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let ask = || asking("ask", "retail.t", vec![Approver::Owner]);
    store
        .apply(
            "local",
            vec![
                user("oona", &[]),
                user("tara", &[]),
                source("retail.t", &["oona"]),
                ask(),
                Change::PutPolicy(anyone("b")),
            ],
        )
        .await
        .unwrap();
    let request = Change::RequestSubscription {
        source: table("retail.t"),
        user: person("tara"),
        reason: "a report".to_owned(),
        policy: Some(policy_key("ask")),
    };
    store.apply("tara", vec![request]).await.unwrap();
    let approve = Change::ApproveSubscription { request: 1, approver: person("oona"), until_unix_ms: None };
    store.apply("oona", vec![approve]).await.unwrap();
    let choose = Change::ChoosePolicy { policy: policy_key("b"), source: table("retail.t") };
    store.apply("oona", vec![choose]).await.unwrap();
    let before = store.facts().await.unwrap();
    assert_eq!((before.approved.len(), before.chosen.len()), (1, 1));

    let changes = || {
        vec![
            asking("ask", "retail.t", vec![Approver::Person(person("oona"))]),
            Change::RemovePolicy(policy_key("b")),
            Change::PutPolicy(selected("c")),
        ]
    };
    let rehearsed = store.rehearse(&changes()).await.unwrap();
    let same = |a: &weir_policy::Facts, b: &weir_policy::Facts| format!("{a:?}") == format!("{b:?}");
    assert!(same(&store.facts().await.unwrap(), &before), "something was kept");
    assert_eq!(store.policy_history(&policy_key("c")).await.unwrap(), []);
    assert_eq!(store.epoch().await.unwrap(), Epoch(4));
    assert_eq!((rehearsed.approved.len(), rehearsed.chosen.len(), rehearsed.epoch), (0, 0, Some(Epoch(4))));

    store.apply_at(Epoch(4), "local", changes()).await.unwrap();
    let after = store.facts().await.unwrap();
    assert!(same(&weir_policy::Facts { epoch: after.epoch, ..rehearsed }, &after), "{after:?}");
    let e = told(&store.rehearse(&[Change::RemovePolicy(policy_key("b"))]).await.unwrap_err());
    assert_eq!(e, "policy `b` does not exist");
    assert_eq!(store.apply("local", vec![user("tara", &["Toys"])]).await.unwrap(), Epoch(6), "the store still writes");
}

/// The versions, against a plain list of what held at each epoch.
#[tokio::test]
async fn random_changes_leave_the_policies_of_every_epoch() {
    use rand::prelude::*;
    let mut dice = rand::rngs::StdRng::seed_from_u64(17);
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    store.apply("local", vec![source("retail.t", &[])]).await.unwrap();
    let mut held: BTreeMap<u64, Vec<StoredPolicy>> = BTreeMap::new();
    for _ in 0..150 {
        let mut changes = Vec::new();
        for _ in 0..dice.random_range(1..4) {
            let key = ["a", "b", "c", "d"][dice.random_range(0..4)];
            changes.push(match dice.random_range(0..4) {
                0 => Change::RemovePolicy(policy_key(key)),
                1 => Change::PutPolicy(anyone(key)),
                2 => Change::PutPolicy(selected(key)),
                _ => asking(key, "retail.t", vec![Approver::Owner]),
            });
        }
        // Some fail, for there is nothing to remove.
        let _ = store.apply("local", changes).await;
        held.insert(store.epoch().await.unwrap().0, store.facts().await.unwrap().policies);
    }
    assert!(held.len() > 50, "{} epochs", held.len());
    for (epoch, policies) in held {
        assert_eq!(store.policies_at(Epoch(epoch)).await.unwrap(), policies, "epoch {epoch}");
    }
}

/// The step by itself, on a database as the versions before it made it.
#[tokio::test]
async fn the_step_takes_every_policy_along() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("old.db");
    std::fs::write(&path, "").unwrap();
    let mut conn = raw(&path).await;
    let step = |number, sql: &'static str| {
        Migration::new(number, "step".into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    let first = step(1, include_str!("../../migrations/state/0001_state.sql"));
    Migrator::with_migrations(vec![first.clone()]).run(&mut conn).await.unwrap();
    query("INSERT INTO policy (key, text) VALUES ('a', 'x'), ('b', 'y')").execute(&mut conn).await.unwrap();
    query("INSERT INTO epoch (at_unix_ms, made_by, what) VALUES (5, 'local', 'put policy `a` and 1 more')")
        .execute(&mut conn)
        .await
        .unwrap();
    let last = step(4, include_str!("../../migrations/state/0004_policy_history.sql"));
    Migrator::with_migrations(vec![first, last]).run(&mut conn).await.unwrap();
    let rows: Vec<(i64, String, String, i64, Option<i64>)> =
        sqlx::query_as("SELECT policy, key, text, came, went FROM policy_version ORDER BY policy")
            .fetch_all(&mut conn)
            .await
            .unwrap();
    let expected = [(1, "a", "x"), (2, "b", "y")].map(|(id, key, text)| (id, key.to_owned(), text.to_owned(), 1, None));
    assert_eq!(rows, expected);
}
