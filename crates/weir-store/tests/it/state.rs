use std::collections::BTreeSet;

use sqlx::{query, query_scalar};
use weir_guard::{Credentials, SnapshotFeed};
use weir_model::{AttributeKey, ColumnName, Epoch, PolicyKey, Secret, Tag};
use weir_store::{Change, EpochRecord, NewColumn, StoreError};

use crate::{group, open, person, raw, source, table, told, user};

#[tokio::test]
async fn a_change_is_seen_by_another_process_at_its_next_read() {
    let root = tempfile::tempdir().unwrap();
    let (server, command) = (open(root.path()).await, open(root.path()).await);
    assert_eq!(server.current().await.unwrap().epoch(), Epoch(0));
    for n in 1..=20 {
        let groups = [format!("g{n}")];
        let epoch = command.apply("local", vec![user("tara", &[&groups[0]])]).await.unwrap();
        assert_eq!(epoch, Epoch(n));
        let snapshot = server.current().await.unwrap();
        assert_eq!(snapshot.epoch(), epoch);
        assert_eq!(snapshot.principal(&person("tara")).unwrap().groups, BTreeSet::from([group(&groups[0])]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_share_one_snapshot() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    store.apply("local", vec![user("tara", &[])]).await.unwrap();
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let store = store.clone();
        readers.spawn(async move { store.current().await.unwrap() });
    }
    let snapshots = readers.join_all().await;
    assert!(snapshots.iter().all(|s| std::sync::Arc::ptr_eq(s, &snapshots[0])));
}

#[tokio::test]
async fn history_says_who_did_what() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    store.apply("local", vec![user("tara", &["Toys"])]).await.unwrap();
    // Nothing new, so no epoch.
    assert_eq!(store.apply("local", vec![user("tara", &["Toys"])]).await.unwrap(), Epoch(1));
    assert_eq!(store.apply("local", Vec::new()).await.unwrap(), Epoch(1));
    let password = Change::SetPassword { user: person("tara"), password: Secret::new("opensesame") };
    assert!(!format!("{password:?} {password}").contains("opensesame"));
    store.apply("greg", vec![user("tara", &["Toys"]), user("garth", &[]), password]).await.unwrap();
    let record = |epoch, at: u64, by: &str, what: &str| EpochRecord {
        epoch: Epoch(epoch),
        at_unix_ms: 1_700_000_000_000 + at,
        by: by.to_owned(),
        what: what.to_owned(),
    };
    let (second, first) =
        (record(2, 3, "greg", "put user `garth` and 1 more"), record(1, 0, "local", "put user `tara`"));
    assert_eq!(store.changes(10).await.unwrap(), [second.clone(), first]);
    assert_eq!(store.changes(1).await.unwrap(), [second]);
}

#[tokio::test]
async fn a_batch_is_all_or_nothing() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let e = store.apply("local", vec![user("tara", &[]), source("retail.t", &["nobody"])]).await.unwrap_err();
    assert_eq!(told(&e), "user `nobody` does not exist");
    assert_eq!(store.epoch().await.unwrap(), Epoch(0));
    assert!(store.facts().await.unwrap().principals.is_empty());
    store.apply("local", vec![user("tara", &[]), source("retail.t", &["tara"])]).await.unwrap();
    assert_eq!(store.epoch().await.unwrap(), Epoch(1));
}

#[tokio::test]
async fn errors_name_what_is_missing_or_in_the_way() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    store.apply("local", vec![user("tara", &["Toys"]), source("retail.t", &[])]).await.unwrap();
    let (tara, nora) = (person("tara"), person("nora"));
    let (here, gone) = (table("retail.t"), table("retail.gone"));
    let key = AttributeKey::new("nation").unwrap();
    let column = ColumnName::new("ssn").unwrap();
    let value = || "JAPAN".to_owned();
    let mut twice = match source("retail.u", &[]) {
        Change::AddSource(new) => new,
        other => panic!("{other}"),
    };
    let data_type = weir_model::DataType::Text;
    let new_column = NewColumn { name: column.clone(), data_type, nullable: true, tags: BTreeSet::new() };
    twice.columns = vec![new_column.clone(), new_column];
    let cases = [
        (Change::RemoveUser(nora.clone()), "user `nora` does not exist"),
        (Change::SetPassword { user: nora.clone(), password: Secret::new("x") }, "user `nora` does not exist"),
        (
            Change::SetPassword { user: tara.clone(), password: Secret::new("") },
            "an empty password cannot be set for user `tara`",
        ),
        (Change::AddToGroup { user: nora.clone(), group: group("Toys") }, "user `nora` does not exist"),
        (
            Change::RemoveFromGroup { user: tara.clone(), group: group("Tyos") },
            "membership `tara in Tyos` does not exist",
        ),
        (
            Change::RemoveAttribute { user: tara.clone(), key: key.clone(), value: value() },
            "attribute `nation = JAPAN of tara` does not exist",
        ),
        (Change::SetAttribute { user: nora.clone(), key, value: value() }, "user `nora` does not exist"),
        (Change::DeleteGroup(group("Tyos")), "group `Tyos` does not exist"),
        (Change::DeleteGroup(group("Toys")), "group `Toys` still has members, such as `tara`"),
        (source("retail.t", &[]), "data source `retail.t` already exists"),
        (Change::AddSource(twice), "column `retail.u.ssn` already exists"),
        (Change::RemoveSource(gone.clone()), "data source `retail.gone` does not exist"),
        (
            Change::SetSourceTags { source: gone.clone(), tags: BTreeSet::new() },
            "data source `retail.gone` does not exist",
        ),
        (
            Change::SetColumnTags { source: here.clone(), column, tags: [Tag::new("PII").unwrap()].into() },
            "column `retail.t.ssn` does not exist",
        ),
        (Change::AddOwner { source: here.clone(), user: nora.clone() }, "user `nora` does not exist"),
        (
            Change::RemoveOwner { source: here.clone(), user: tara.clone() },
            "ownership `tara of retail.t` does not exist",
        ),
        (Change::Select { source: gone, user: tara.clone() }, "data source `retail.gone` does not exist"),
        (Change::Unselect { source: here, user: tara }, "selection `tara for retail.t` does not exist"),
        (Change::RemovePolicy(PolicyKey::new("p").unwrap()), "policy `p` does not exist"),
    ];
    for (change, expected) in cases {
        assert_eq!(told(&store.apply("local", vec![change]).await.unwrap_err()), expected);
    }
    assert_eq!(store.epoch().await.unwrap(), Epoch(1));
}

/// Rights belong to the principal, not to the name.
#[tokio::test]
async fn a_user_of_a_removed_ones_name_inherits_nothing() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let select = Change::Select { source: table("retail.t"), user: person("tara") };
    let password = Change::SetPassword { user: person("tara"), password: Secret::new("demo") };
    store.apply("local", vec![user("tara", &["Toys"]), source("retail.t", &["tara"]), select, password]).await.unwrap();
    let facts = store.facts().await.unwrap();
    assert_eq!((facts.selected.len(), facts.sources[0].owners.len()), (1, 1));
    store.apply("local", vec![Change::RemoveUser(person("tara"))]).await.unwrap();
    store.apply("local", vec![user("tara", &[])]).await.unwrap();
    let facts = store.facts().await.unwrap();
    assert_eq!((facts.selected.len(), facts.sources[0].owners.len()), (0, 0));
    assert!(store.scram(&person("tara")).await.unwrap().is_none());
}

#[tokio::test]
async fn passwords_are_kept_as_verifiers() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    assert!(store.scram(&person("tara")).await.unwrap().is_none());
    let set = |password: &str| vec![Change::SetPassword { user: person("tara"), password: Secret::new(password) }];
    store.apply("local", vec![user("tara", &[])]).await.unwrap();
    assert!(store.scram(&person("tara")).await.unwrap().is_none());
    assert_eq!(store.apply("local", set("opensesame")).await.unwrap(), Epoch(2));
    let first = store.scram(&person("tara")).await.unwrap().unwrap();
    assert_eq!((first.iterations, first.salt.len(), first.salted_password.expose().len()), (4096, 16, 32));
    // The same again changes nothing; another one has another salt; other changes to the user keep it.
    assert_eq!(store.apply("local", set("opensesame")).await.unwrap(), Epoch(2));
    assert_eq!(store.apply("local", set("sesame")).await.unwrap(), Epoch(3));
    let second = store.scram(&person("tara")).await.unwrap().unwrap();
    assert_ne!(first.salt, second.salt);
    store.apply("local", vec![user("tara", &["Toys"])]).await.unwrap();
    assert_eq!(store.scram(&person("tara")).await.unwrap().unwrap().salt, second.salt);
    store.close().await.unwrap();
    let bytes = std::fs::read(root.path().join("weir.db")).unwrap();
    assert!(!bytes.windows(6).any(|w| w == b"sesame"));
}

#[tokio::test]
async fn what_cannot_be_read_refuses_all() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    store.apply("local", vec![user("tara", &[]), source("retail.t", &[])]).await.unwrap();
    store.current().await.unwrap();
    let mut conn = raw(&root.path().join("weir.db")).await;
    for (sql, undo, expected) in [
        (
            "UPDATE principal SET groups = '{'",
            "UPDATE principal SET groups = '[]'",
            "stored principal `tara` cannot be read",
        ),
        ("INSERT INTO policy (key, text) VALUES ('p', '{')", "DELETE FROM policy", "stored policy `p` cannot be read"),
        (
            "UPDATE source SET location = '{\"kind\":\"tape\"}'",
            "UPDATE source SET location = (SELECT location FROM kept)",
            "stored data source `retail.t` cannot be read",
        ),
    ] {
        query("CREATE TEMP TABLE IF NOT EXISTS kept AS SELECT location FROM source").execute(&mut conn).await.unwrap();
        query(sql).execute(&mut conn).await.unwrap();
        query("INSERT INTO epoch (at_unix_ms, made_by, what) VALUES (0, '', '')").execute(&mut conn).await.unwrap();
        // Not even the snapshot that was good before.
        for _ in 0..2 {
            let e = store.current().await.unwrap_err();
            assert!(e.to_string().contains(expected), "{e}");
        }
        assert!(matches!(store.facts().await.unwrap_err(), StoreError::Corrupt { .. }));
        query(undo).execute(&mut conn).await.unwrap();
        store.current().await.unwrap();
    }
}

/// Two that write at once wait for each other; none is lost.
#[tokio::test(flavor = "multi_thread")]
async fn writers_of_several_processes_take_turns() {
    let root = tempfile::tempdir().unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for name in 0..4 {
        let store = open(root.path()).await;
        writers.spawn(async move {
            let mut epochs = Vec::new();
            for n in 0..25 {
                epochs.push(store.apply("local", vec![user(&format!("u{name}-{n}"), &[])]).await.unwrap().0);
            }
            epochs
        });
    }
    let mut epochs: Vec<u64> = writers.join_all().await.into_iter().flatten().collect();
    epochs.sort_unstable();
    assert_eq!(epochs, (1..=100).collect::<Vec<_>>());
    let mut conn = raw(&root.path().join("weir.db")).await;
    let users: i64 = query_scalar("SELECT count(*) FROM principal").fetch_one(&mut conn).await.unwrap();
    assert_eq!(users, 100);
}

/// A row that was changed behind the triggers' back tells what is read again.
#[tokio::test]
async fn only_what_was_touched_is_read_again() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let other = open(root.path()).await;
    store.apply("local", vec![user("tara", &["A"]), user("nora", &["A"])]).await.unwrap();
    let groups = async || {
        let snapshot = store.current().await.unwrap();
        let of = |name| snapshot.principal(&person(name)).unwrap().groups.first().unwrap().to_string();
        (of("tara"), of("nora"))
    };
    let both = |tara: &str, nora: &str| (tara.to_owned(), nora.to_owned());
    assert_eq!(groups().await, both("A", "A"));
    let mut conn = raw(&root.path().join("weir.db")).await;
    query("DROP TRIGGER touch_principal_update").execute(&mut conn).await.unwrap();
    query("UPDATE principal SET groups = '[\"B\"]'").execute(&mut conn).await.unwrap();
    // Touches neither, then one of them.
    other.apply("local", vec![user("zoe", &[])]).await.unwrap();
    assert_eq!(groups().await, both("A", "A"));
    let note = "INSERT INTO touch (kind, key) VALUES ('principal', json_array('weir', 'tara'))";
    query(note).execute(&mut conn).await.unwrap();
    other.apply("local", vec![user("fin", &[])]).await.unwrap();
    assert_eq!(groups().await, both("B", "A"));

    // Who knows an epoch of which there are no notes any more reads everything.
    query("UPDATE principal SET groups = '[\"C\"]'").execute(&mut conn).await.unwrap();
    let many = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?)
        INSERT INTO epoch (at_unix_ms, made_by, what) SELECT 0, '', '' FROM n";
    query(many).bind(998).execute(&mut conn).await.unwrap();
    let known = other.apply("local", vec![user("gina", &[])]).await.unwrap();
    assert_eq!((groups().await, known), (both("B", "A"), Epoch(1002)));
    query(many).bind(999).execute(&mut conn).await.unwrap();
    other.apply("local", vec![user("greg", &[])]).await.unwrap();
    assert_eq!(groups().await, both("C", "C"));
    let oldest: i64 = query_scalar("SELECT min(epoch) FROM touched").fetch_one(&mut conn).await.unwrap();
    assert_eq!(oldest, 2002);
}

/// What decisions depend on is noted when it changes: a new table needs triggers, or a reason to have none.
#[tokio::test]
async fn every_table_notes_its_changes_or_matters_to_no_decision() {
    let root = tempfile::tempdir().unwrap();
    open(root.path()).await;
    let mut conn = raw(&root.path().join("weir.db")).await;
    let tables = query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name");
    let tables: Vec<String> = tables.fetch_all(&mut conn).await.unwrap();
    let triggers = query_scalar("SELECT name FROM sqlite_schema WHERE type = 'trigger'");
    let triggers: Vec<String> = triggers.fetch_all(&mut conn).await.unwrap();
    let is_noted = |table: &str| {
        ["insert", "update", "delete"].iter().all(|event| triggers.contains(&format!("touch_{table}_{event}")))
    };
    let silent: Vec<&str> = tables.iter().map(String::as_str).filter(|table| !is_noted(table)).collect();
    let expected = [
        "_sqlx_migrations",
        "certification",
        "connection",
        "declared_group",
        "epoch",
        "mask_key",
        "master_key_check",
        "policy_version",
        "policy_version_kept",
        "project_owner",
        "sqlite_sequence",
        "touched",
    ];
    assert_eq!(silent, expected);
}
