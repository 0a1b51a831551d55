use std::fs;
use std::sync::Arc;

use sqlx::{Connection, query, query_scalar};
use tokio::task::JoinSet;
use weir_guard::audit::{RefusalRecord, SourceRecord};
use weir_guard::{Attempt, AuditSink, Door, Ended, Outcome, Truth};
use weir_model::{Actor, PolicyId, RequestId};
use weir_policy::{Effect, Factor};
use weir_store::{AuditEntry, AuditFilter, Store};

use crate::{attempt, open, outcome, person, raw, table};

async fn all(store: &Store) -> Vec<AuditEntry> {
    store.audit_entries(&AuditFilter { oldest_first: true, ..AuditFilter::default() }).await.unwrap()
}

fn full(statement: &str) -> Attempt {
    let factor = Factor { policy: Some(PolicyId(3)), key: "mask-ssn".into(), effect: Effect::RowFilter };
    Attempt {
        actor: Actor { authenticated: person("greg"), effective: person("tara") },
        client_hint: Some("psql".to_owned()),
        sources: vec![SourceRecord {
            source: table("retail.purchases"),
            decision: "obliged".to_owned(),
            fingerprint: Some("00ff".to_owned()),
            factors: vec![factor],
        }],
        ..attempt(1000, "greg", statement)
    }
}

#[tokio::test]
async fn records_come_back_as_they_went_in() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    // JSON inside JSON inside SQL: nothing in a statement may break out of its record.
    let statement = "select '],[{\"request\":1}', \"ä\\u0000\" -- \u{0} \n\t \u{1f600} $.x ?1";
    let record = full(statement);
    store.attempt(&record).await.unwrap();
    let end = Outcome { bytes: u64::MAX, detail: Some("\"'\\".to_owned()), ..outcome(&record, 3) };
    store.outcome(&end).await.unwrap();
    assert_eq!(all(&store).await, [AuditEntry { attempt: record, outcome: Some(end) }]);

    let mut conn = raw(&root.path().join("audit.db")).await;
    let row: (String, u64, String, String, String, u64, bool) =
        sqlx::query_as("SELECT request, at_unix_ms, principal, effective_principal, door, epoch, refused FROM attempt")
            .fetch_one(&mut conn)
            .await
            .unwrap();
    let entry = &all(&store).await[0].attempt;
    assert_eq!(row, (entry.request.to_string(), 1000, "greg".into(), "tara".into(), "postgres".into(), 1, false));
    let row: (String, u64, u64) =
        sqlx::query_as("SELECT ended, rows, elapsed_ms FROM outcome").fetch_one(&mut conn).await.unwrap();
    assert_eq!(row, ("complete".into(), 3, 5));
}

#[tokio::test]
async fn filters_pick_entries() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let refusal =
        RefusalRecord { told: "relation \"x\" does not exist".into(), truth: Truth::Unseen, detail: "unseen".into() };
    let records = [
        full("SELECT ssn FROM retail.purchases"),
        Attempt { refusal: Some(refusal), ..attempt(2000, "nora", "select * from x") },
        Attempt { door: Door::Local, epoch: None, ..attempt(3000, "tara", "select 2") },
    ];
    for record in &records {
        store.attempt(record).await.unwrap();
    }
    store.outcome(&outcome(&records[0], 1)).await.unwrap();
    store.outcome(&outcome(&records[2], 2)).await.unwrap();

    let none = AuditFilter::default;
    let cases: [(AuditFilter, &[usize]); 13] = [
        (none(), &[2, 1, 0]),
        (AuditFilter { oldest_first: true, ..none() }, &[0, 1, 2]),
        (AuditFilter { limit: Some(2), ..none() }, &[2, 1]),
        (AuditFilter { principal: Some(person("tara")), ..none() }, &[2, 0]),
        (AuditFilter { principal: Some(person("greg")), ..none() }, &[0]),
        (AuditFilter { source: Some(table("retail.purchases")), ..none() }, &[0]),
        (AuditFilter { source: Some(table("retail.purchase")), ..none() }, &[]),
        (AuditFilter { door: Some(Door::Local), ..none() }, &[2]),
        (AuditFilter { refused: Some(true), ..none() }, &[1]),
        (AuditFilter { refused: Some(false), principal: Some(person("tara")), ..none() }, &[2, 0]),
        (AuditFilter { since_unix_ms: Some(1000), until_unix_ms: Some(3000), ..none() }, &[1, 0]),
        (AuditFilter { request: Some(records[1].request), ..none() }, &[1]),
        (AuditFilter { text: Some("select SSN".into()), ..none() }, &[0]),
    ];
    for (filter, expected) in cases {
        let found: Vec<Attempt> =
            store.audit_entries(&filter).await.unwrap().into_iter().map(|entry| entry.attempt).collect();
        let expected: Vec<Attempt> = expected.iter().map(|i| records[*i].clone()).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    let ends: Vec<Option<u64>> = all(&store).await.into_iter().map(|e| e.outcome.map(|o| o.rows)).collect();
    assert_eq!(ends, [Some(1), None, Some(2)]);
}

#[tokio::test]
async fn the_log_cannot_be_changed_through_sql() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let record = full("select 1");
    store.attempt(&record).await.unwrap();
    store.outcome(&outcome(&record, 1)).await.unwrap();
    let mut conn = raw(&root.path().join("audit.db")).await;
    for sql in [
        "UPDATE attempt SET record = json_set(record, '$.statement', 'x')",
        "UPDATE outcome SET record = json_set(record, '$.rows', 0)",
        "UPDATE attempt_source SET decision = 'clear'",
        "DELETE FROM attempt",
        "DELETE FROM outcome",
        "DELETE FROM attempt_source",
        "INSERT OR REPLACE INTO attempt (seq, record) SELECT seq, json_set(record, '$.request', 'y') FROM attempt",
        "INSERT OR REPLACE INTO attempt (record) SELECT record FROM attempt",
        "INSERT OR REPLACE INTO outcome (seq, record) SELECT seq, json_set(record, '$.rows', 0) FROM outcome",
    ] {
        let e = query(sql).execute(&mut conn).await.unwrap_err();
        assert!(e.to_string().contains("the audit log is append-only"), "{sql}: {e}");
    }
    conn.close().await.unwrap();
    assert_eq!(all(&store).await, [AuditEntry { outcome: Some(outcome(&record, 1)), attempt: record }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_many_at_once_are_all_there() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let mut tasks = JoinSet::new();
    for task in 0..64 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut records = Vec::new();
            for n in 0..20 {
                let record = attempt(1000 + n, &format!("u{task}"), &format!("select {n}"));
                store.attempt(&record).await.unwrap();
                // On record means visible to others, already now.
                let filter = AuditFilter { request: Some(record.request), ..AuditFilter::default() };
                assert_eq!(store.audit_entries(&filter).await.unwrap().len(), 1);
                store.outcome_later(outcome(&record, n));
                records.push(record.request);
            }
            records
        });
    }
    let mut requests: Vec<RequestId> = tasks.join_all().await.into_iter().flatten().collect();
    store.close().await.unwrap();
    let store = open(root.path()).await;
    let entries = all(&store).await;
    assert!(entries.iter().all(|e| e.outcome.as_ref().is_some_and(|o| o.ended == Ended::Complete)));
    let mut found: Vec<RequestId> = entries.into_iter().map(|e| e.attempt.request).collect();
    requests.sort_by_key(|r| r.0);
    found.sort_by_key(|r| r.0);
    assert_eq!(found, requests);
}

#[tokio::test]
async fn a_request_is_recorded_once() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let record = attempt(1, "tara", "select 1");
    store.attempt(&record).await.unwrap();
    assert!(store.attempt(&record).await.is_err(), "what is not recorded must not be acknowledged");
    store.attempt(&attempt(1, "tara", "select 2")).await.unwrap();
    assert_eq!(all(&store).await.len(), 2);
}

#[tokio::test]
async fn a_log_that_was_taken_away_refuses_and_recovers() {
    let root = tempfile::tempdir().unwrap();
    let aside = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let first = attempt(1, "tara", "select 1");
    store.attempt(&first).await.unwrap();
    let files = ["audit.db", "audit.db-wal", "audit.db-shm"];

    for in_its_place in ["nothing", "directory", "text", "read-only device"] {
        for name in files {
            fs::rename(root.path().join(name), aside.path().join(name)).unwrap();
        }
        let path = root.path().join("audit.db");
        match in_its_place {
            "directory" => fs::create_dir(&path).unwrap(),
            "text" => fs::write(&path, "gone").unwrap(),
            "read-only device" => std::os::unix::fs::symlink("/dev/null", &path).unwrap(),
            _ => {}
        }
        for _ in 0..2 {
            let e = store.attempt(&attempt(2, "tara", "select 2")).await.unwrap_err();
            assert!(e.to_string().starts_with("audit log is unavailable: "), "{e}");
        }
        // The state does not need the log: a revocation must not wait for the disk of the auditor.
        store.apply("local", vec![crate::user("tara", &[in_its_place])]).await.unwrap();
        match in_its_place {
            "nothing" => {}
            "directory" => fs::remove_dir(&path).unwrap(),
            _ => fs::remove_file(&path).unwrap(),
        }
        for name in files {
            fs::rename(aside.path().join(name), root.path().join(name)).unwrap();
        }
        store.attempt(&attempt(3, "tara", in_its_place)).await.unwrap();
    }
    let statements: Vec<String> = all(&store).await.into_iter().map(|e| e.attempt.statement).collect();
    assert_eq!(statements, ["select 1", "nothing", "directory", "text", "read-only device"]);
}

/// The write-ahead log holds the newest records; what goes into an unlinked one is lost at the next power failure.
#[tokio::test]
async fn what_is_acknowledged_is_in_the_files_that_are_there() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    store.attempt(&attempt(1, "tara", "select 1")).await.unwrap();
    fs::rename(root.path().join("audit.db-wal"), root.path().join("aside")).unwrap();
    let acknowledged = store.attempt(&attempt(2, "tara", "select 2")).await.is_ok();
    store.attempt(&attempt(3, "tara", "select 3")).await.unwrap();

    // As a power failure would leave them.
    let copy = tempfile::tempdir().unwrap();
    for name in ["weir.db", "master.key", "audit.db", "audit.db-wal"] {
        fs::copy(root.path().join(name), copy.path().join(name)).unwrap();
    }
    let found: Vec<String> = all(&open(copy.path()).await).await.into_iter().map(|e| e.attempt.statement).collect();
    assert!(found.contains(&"select 1".to_owned()) && found.contains(&"select 3".to_owned()), "{found:?}");
    assert!(!acknowledged || found.contains(&"select 2".to_owned()), "{found:?}");
}

#[tokio::test]
async fn a_locked_log_refuses_and_recovers() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let open_read = attempt(1, "tara", "select 1");
    store.attempt(&open_read).await.unwrap();
    let mut conn = raw(&root.path().join("audit.db")).await;
    query("BEGIN IMMEDIATE").execute(&mut conn).await.unwrap();
    let (refused, end) = (attempt(2, "tara", "select 2"), outcome(&open_read, 7));
    let (attempted, ended) = tokio::join!(store.attempt(&refused), store.outcome(&end));
    assert!(attempted.is_err() && ended.is_err());
    query("ROLLBACK").execute(&mut conn).await.unwrap();
    store.attempt(&attempt(3, "tara", "select 3")).await.unwrap();
    // The outcome that could not be written then was kept.
    let entries = all(&store).await;
    let seen: Vec<_> =
        entries.iter().map(|e| (e.attempt.statement.as_str(), e.outcome.as_ref().map(|o| o.rows))).collect();
    assert_eq!(seen, [("select 1", Some(7)), ("select 3", None)]);
}

/// What a full disk does: the transaction begins, and a statement in it fails.
#[tokio::test]
async fn a_full_log_refuses_and_recovers() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    store.attempt(&attempt(1, "tara", "select 1")).await.unwrap();
    let mut conn = raw(&root.path().join("audit.db")).await;
    query("CREATE TRIGGER full BEFORE INSERT ON attempt BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END")
        .execute(&mut conn)
        .await
        .unwrap();
    let e = store.attempt(&attempt(2, "tara", "select 2")).await.unwrap_err();
    assert!(e.to_string().contains("database or disk is full"), "{e}");
    query("DROP TRIGGER full").execute(&mut conn).await.unwrap();
    store.attempt(&attempt(3, "tara", "select 3")).await.unwrap();
    assert_eq!(all(&store).await.len(), 2);
}

#[tokio::test]
async fn a_server_closes_what_a_killed_one_left_open() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let ended = attempt(1, "tara", "select 1");
    let left_open = attempt(2, "tara", "select 2");
    let refusal = RefusalRecord { told: "no".into(), truth: Truth::Denied, detail: "no".into() };
    let refused = Attempt { refusal: Some(refusal), ..attempt(3, "tara", "select 3") };
    for record in [&ended, &left_open, &refused] {
        store.attempt(record).await.unwrap();
    }
    store.outcome(&outcome(&ended, 1)).await.unwrap();
    store.close().await.unwrap();

    let store = open(root.path()).await;
    let lock = store.begin_serving().await.unwrap();
    assert_eq!(lock.interrupted, 1);
    let ends = |entries: Vec<AuditEntry>| entries.into_iter().map(|e| e.outcome.map(|o| o.ended)).collect::<Vec<_>>();
    assert_eq!(ends(all(&store).await), [Some(Ended::Complete), Some(Ended::Interrupted), None]);
    drop(lock);
    assert_eq!(store.begin_serving().await.unwrap().interrupted, 0);

    // It was the read of a command after all, which ran beside the servers.
    store.outcome(&outcome(&left_open, 2)).await.unwrap();
    assert_eq!(ends(all(&store).await), [Some(Ended::Complete), Some(Ended::Complete), None]);
}

#[tokio::test]
async fn an_attempt_whose_maker_goes_away_is_abandoned() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    {
        let record = attempt(1, "tara", "select 1");
        let mut waiting = std::pin::pin!(store.attempt(&record));
        // Polled once, so the record is queued; then dropped.
        let polled = std::future::poll_fn(|context| std::task::Poll::Ready(waiting.as_mut().poll(context))).await;
        assert!(polled.is_pending());
    }
    store.close().await.unwrap();
    let entries = all(&store).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].outcome.as_ref().map(|o| o.ended), Some(Ended::Abandoned));
}

#[tokio::test]
async fn nothing_is_taken_after_the_end() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let sink: Arc<dyn AuditSink> = Arc::new(store.clone());
    let record = attempt(1, "tara", "select 1");
    sink.attempt(&record).await.unwrap();
    sink.outcome_later(outcome(&record, 4));
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert!(sink.attempt(&attempt(2, "tara", "select 2")).await.is_err());
    let mut conn = raw(&root.path().join("audit.db")).await;
    let rows: i64 = query_scalar("SELECT rows FROM outcome").fetch_one(&mut conn).await.unwrap();
    assert_eq!(rows, 4);
}
