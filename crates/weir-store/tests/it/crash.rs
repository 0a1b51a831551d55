//! Kills a process that makes changes and records, at any moment, and looks at what is left.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use rand::prelude::*;
use rand::rngs::StdRng;
use weir_guard::{AuditSink, Ended};
use weir_model::Epoch;
use weir_store::{AuditFilter, Change};

use crate::{attempt, integrity, open, outcome, person, source, table, user};

/// Names the directory to the process that is going to be killed.
const DIRECTORY: &str = "WEIR_STORE_CRASH_DIR";
const ROUND: &str = "WEIR_STORE_CRASH_ROUND";

fn say(line: &str) {
    // Not through the test harness, which would keep it.
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n@ {line}").unwrap();
    out.flush().unwrap();
}

/// Does nothing unless it is started by the test below.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let (Ok(dir), Ok(round)) = (std::env::var(DIRECTORY), std::env::var(ROUND)) else { return };
    let store = open(Path::new(&dir)).await;
    let lock = store.begin_serving().await.unwrap();
    say(&format!("interrupted {}", lock.interrupted));
    let mut reads = tokio::task::JoinSet::new();
    for task in 0..4 {
        let (store, round) = (store.clone(), round.clone());
        reads.spawn(async move {
            for n in 0u64.. {
                let record = attempt(n + 1, &format!("reader{task}"), &format!("{round} {n}"));
                store.attempt(&record).await.unwrap();
                say(&format!("attempt {}", record.request));
                match n % 3 {
                    0 => {
                        store.outcome(&outcome(&record, n)).await.unwrap();
                        say(&format!("outcome {}", record.request));
                    }
                    1 => store.outcome_later(outcome(&record, n)),
                    _ => {}
                }
            }
        });
    }
    for n in 0.. {
        // Together or not at all: the user, a source of hers, and that she is selected for it.
        let (name, owned) = (format!("u{round}-{n}"), format!("r{round}.t{n}"));
        let select = Change::Select { source: table(&owned), user: person(&name) };
        let changes = vec![user(&name, &["Toys"]), source(&owned, &[&name]), select];
        let epoch = store.apply(&name, changes).await.unwrap();
        say(&format!("change {epoch} {name}"));
    }
}

#[derive(Default)]
struct Acknowledged {
    changes: BTreeMap<Epoch, String>,
    attempts: BTreeSet<String>,
    outcomes: BTreeSet<String>,
}

impl Acknowledged {
    /// Runs the child until it has acknowledged `count` things and kills it. What it said before it died counts too.
    fn run_and_kill(&mut self, dir: &Path, round: u64, count: usize) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child", "--nocapture"])
            .env(DIRECTORY, dir)
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut heard = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["@", "change", epoch, name] => {
                    let epoch = Epoch(epoch.parse().unwrap());
                    assert_eq!(self.changes.insert(epoch, name.to_owned()), None, "epoch {epoch} twice");
                }
                ["@", "attempt", request] => assert!(self.attempts.insert(request.to_owned())),
                ["@", "outcome", request] => assert!(self.outcomes.insert(request.to_owned())),
                _ => continue,
            }
            heard += 1;
            if heard == count {
                child.kill().unwrap();
            }
        }
        let status = child.wait().unwrap();
        assert!(heard >= count && !status.success(), "the child ended by itself after {heard}: {status}");
    }
}

#[tokio::test]
async fn a_kill_loses_nothing_that_was_acknowledged() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    let mut random = StdRng::seed_from_u64(7);
    let mut acknowledged = Acknowledged::default();
    for round in 0..8 {
        acknowledged.run_and_kill(&dir, round, random.random_range(1..200));
        let store = open(&dir).await;

        let history: BTreeMap<Epoch, String> =
            store.changes(u32::MAX).await.unwrap().into_iter().map(|c| (c.epoch, c.by)).collect();
        assert!(acknowledged.changes.iter().all(|(epoch, by)| history.get(epoch) == Some(by)), "round {round}");
        let newest = u64::try_from(history.len()).unwrap();
        assert_eq!(history.keys().copied().collect::<Vec<_>>(), (1..=newest).map(Epoch).collect::<Vec<_>>());

        // Every change in the history is there as a whole, and nothing else is.
        let facts = store.facts().await.unwrap();
        let made: BTreeSet<String> = history.values().cloned().collect();
        let users: BTreeSet<String> = facts.principals.iter().map(|p| p.id.to_string()).collect();
        assert_eq!(users, made);
        let owned: BTreeSet<String> =
            facts.sources.iter().flat_map(|s| s.owners.iter().map(|o| o.to_string())).collect();
        assert_eq!(owned, made);
        assert_eq!(facts.sources.len(), made.len());
        let selected: BTreeSet<String> = facts.selected.iter().map(|(_, user)| user.to_string()).collect();
        assert_eq!(selected, made);

        let lock = store.begin_serving().await.unwrap();
        let entries = store.audit_entries(&AuditFilter::default()).await.unwrap();
        let on_record: BTreeSet<String> = entries.iter().map(|e| e.attempt.request.to_string()).collect();
        assert!(acknowledged.attempts.is_subset(&on_record), "round {round}");
        let ended = |e: Ended| -> BTreeSet<String> {
            let with = entries.iter().filter(|entry| entry.outcome.as_ref().is_some_and(|o| o.ended == e));
            with.map(|entry| entry.attempt.request.to_string()).collect()
        };
        assert!(acknowledged.outcomes.is_subset(&ended(Ended::Complete)), "round {round}");
        assert!(entries.iter().all(|e| e.outcome.is_some()), "round {round}: a read was left open");
        assert!(lock.interrupted <= ended(Ended::Interrupted).len());
        drop(lock);
        store.close().await.unwrap();

        for file in ["weir.db", "audit.db"] {
            assert_eq!(integrity(&dir.join(file)).await, "ok, 0 dangling", "round {round}");
        }
    }
    assert!(acknowledged.changes.len() > 20 && acknowledged.attempts.len() > 20 && acknowledged.outcomes.len() > 20);
}
