use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use sqlx::{Connection, query};
use weir_guard::{AuditSink, SnapshotFeed};
use weir_store::{AuditFilter, Store, StoreError};

use crate::{Ticks, attempt, open, raw, told, user};

async fn refused(dir: &std::path::Path) -> StoreError {
    Store::open(dir, Arc::new(Ticks::default())).await.unwrap_err()
}

#[tokio::test]
async fn files_are_for_their_owner_only() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("new/data");
    assert!(!Store::exists(&dir));
    let store = open(&dir).await;
    let lock = store.begin_serving().await.unwrap();
    store.apply("local", vec![user("tara", &[])]).await.unwrap();
    store.attempt(&attempt(1, "tara", "select 1")).await.unwrap();
    assert!(Store::exists(&dir));
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    let mut names = Vec::new();
    for file in fs::read_dir(&dir).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        names.push(name);
    }
    names.sort();
    assert_eq!(
        names,
        [
            "audit.db",
            "audit.db-shm",
            "audit.db-wal",
            "master.key",
            "serve.lock",
            "weir.db",
            "weir.db-shm",
            "weir.db-wal"
        ]
    );
    drop(lock);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_file_in_the_way_is_named() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    fs::write(&dir, "hello").unwrap();
    assert_eq!(told(&refused(&dir).await), format!("data directory `{}` is not a directory", dir.display()));

    let below = dir.join("deeper");
    let e = refused(&below).await;
    assert!(matches!(&e, StoreError::File { path, .. } if *path == below), "{}", told(&e));
    assert_eq!(fs::read(&dir).unwrap(), b"hello");
}

#[tokio::test]
async fn a_file_that_is_no_database_of_weir_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("weir.db");
    fs::write(&path, "this is not a database, but it is long enough to have a header".repeat(20)).unwrap();
    let before = fs::read(&path).unwrap();
    assert_eq!(told(&refused(root.path()).await), format!("`{}` is not a database of Weir", path.display()));
    assert_eq!(fs::read(&path).unwrap(), before);

    fs::remove_file(&path).unwrap();
    fs::write(&path, "").unwrap();
    let mut conn = raw(&path).await;
    query("CREATE TABLE other (x)").execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    let before = fs::read(&path).unwrap();
    assert_eq!(told(&refused(root.path()).await), format!("`{}` is not a database of Weir", path.display()));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_directory_in_the_place_of_a_database_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("weir.db")).unwrap();
    let e = told(&refused(root.path()).await);
    assert!(e.starts_with(&format!("cannot read or write the database `{}/weir.db`: ", root.path().display())), "{e}");
}

#[tokio::test]
async fn a_newer_version_is_refused_and_untouched() {
    for file in ["weir.db", "audit.db"] {
        let root = tempfile::tempdir().unwrap();
        let store = open(root.path()).await;
        store.apply("local", vec![user("tara", &[])]).await.unwrap();
        store.close().await.unwrap();

        let path = root.path().join(file);
        let mut conn = raw(&path).await;
        let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
            VALUES (9000, 'later', TRUE, x'00', 0)";
        query(newer).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        let before = fs::read(&path).unwrap();

        let e = match file {
            "weir.db" => refused(root.path()).await,
            _ => open(root.path()).await.begin_serving().await.unwrap_err(),
        };
        let told = told(&e);
        let known = if file == "weir.db" { 3 } else { 1 };
        let expected = format!(
            "the data directory was written by a newer version of Weir: `{}` has schema version 9000, and this version knows {known}",
            path.display()
        );
        assert_eq!(told, expected);
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}

/// A newer `weir` command may bring the directory up to date while an older server runs on it.
#[tokio::test]
async fn a_running_store_stops_when_a_newer_version_takes_over() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    store.current().await.unwrap();
    let mut conn = raw(&root.path().join("weir.db")).await;
    let newer =
        "UPDATE _sqlx_migrations SET version = 9000 WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    query(newer).execute(&mut conn).await.unwrap();
    let e = store.current().await.unwrap_err();
    assert!(e.to_string().contains("newer version of Weir"), "{e}");
}

#[tokio::test]
async fn one_server_at_a_time_and_any_number_of_commands() {
    let root = tempfile::tempdir().unwrap();
    let (first, second) = (open(root.path()).await, open(root.path()).await);
    let lock = first.begin_serving().await.unwrap();
    let e = second.begin_serving().await.unwrap_err();
    assert_eq!(told(&e), format!("another server runs on data directory `{}`", root.path().display()));
    second.apply("local", vec![user("tara", &[])]).await.unwrap();
    drop(lock);
    let _lock = second.begin_serving().await.unwrap();
}

#[tokio::test]
async fn many_may_open_a_new_directory_at_once() {
    let root = tempfile::tempdir().unwrap();
    let mut opening = tokio::task::JoinSet::new();
    for name in 0..8 {
        let dir = root.path().join("data");
        opening.spawn(async move {
            let store = open(&dir).await;
            store.apply("local", vec![user(&format!("u{name}"), &[])]).await.unwrap()
        });
    }
    let mut epochs: Vec<u64> = opening.join_all().await.into_iter().map(|epoch| epoch.0).collect();
    epochs.sort_unstable();
    assert_eq!(epochs, [1, 2, 3, 4, 5, 6, 7, 8]);
}

/// A stale snapshot would come from a deleted file as readily as from a live one.
#[tokio::test]
async fn a_state_database_that_is_taken_away_answers_nothing() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    store.apply("local", vec![user("tara", &["Toys"])]).await.unwrap();
    store.current().await.unwrap();
    let aside = tempfile::tempdir().unwrap();
    for name in ["weir.db", "weir.db-wal", "weir.db-shm"] {
        fs::rename(root.path().join(name), aside.path().join(name)).unwrap();
    }
    assert!(store.current().await.is_err());
    assert!(store.apply("local", vec![user("tara", &[])]).await.is_err());
    assert!(!root.path().join("weir.db").exists(), "a deleted state is not replaced by an empty one");

    for name in ["weir.db", "weir.db-wal", "weir.db-shm"] {
        fs::rename(aside.path().join(name), root.path().join(name)).unwrap();
    }
    assert_eq!(store.current().await.unwrap().epoch().0, 1);
    assert_eq!(store.apply("local", vec![user("tara", &[])]).await.unwrap().0, 2);
    assert_eq!(store.audit_entries(&AuditFilter::default()).await.unwrap(), []);
}

/// The same epoch number need not mean the same state.
#[tokio::test]
async fn a_backup_in_the_place_of_the_state_is_read_anew() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other = open(two.path()).await;
    other.apply("local", vec![user("nora", &[])]).await.unwrap();
    other.close().await.unwrap();

    let store = open(one.path()).await;
    store.apply("local", vec![user("tara", &[])]).await.unwrap();
    assert!(store.current().await.unwrap().principal(&crate::person("tara")).is_some());
    for name in ["weir.db", "weir.db-wal", "weir.db-shm"] {
        fs::remove_file(one.path().join(name)).unwrap();
    }
    fs::rename(two.path().join("weir.db"), one.path().join("weir.db")).unwrap();
    let now = store.current().await.unwrap();
    assert_eq!(now.epoch().0, 1);
    assert!(now.principal(&crate::person("tara")).is_none());
    assert!(now.principal(&crate::person("nora")).is_some());
}
