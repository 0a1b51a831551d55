//! The catalogue of attacks: the files below `tests/attacks`, each of them by every protocol. They are read when the test
//! runs; `WEIR_ATTACK` picks those in whose names it is found.

mod entry;
mod flight;
mod local;
mod page;
mod people;
mod run;
pub(crate) mod wire;
mod world;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use self::entry::{Entry, What};
use self::world::World;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/attacks")
}

/// By class and id.
fn entries() -> Vec<Entry> {
    let listed = |folder: &Path| {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let files = listed(&folder()).into_iter().filter(|path| path.is_dir()).flat_map(|class| listed(&class));
    files.map(|path| Entry::read(&path)).collect()
}

#[test]
fn every_attack_is_held_off() {
    let wanted = std::env::var("WEIR_ATTACK").unwrap_or_default();
    let entries: Vec<Entry> =
        entries().into_iter().filter(|entry| format!("{}/{}", entry.class, entry.id).contains(&wanted)).collect();
    let world = World::new();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut wrong = Vec::new();
        while let Some(entry) = entries.get(next.fetch_add(1, Ordering::Relaxed)) {
            wrong.extend(run::run(entry, &world));
        }
        wrong
    };
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{} of {} entries:\n\n{}", wrong.len(), entries.len(), wrong.join("\n\n"));
}

/// A runner that finds nothing proves nothing: everything that is hidden from alice is found in what bob reads.
#[test]
fn what_is_hidden_would_be_found() {
    let world = World::new();
    let alone = |text: &str| {
        let entry = Entry::parse("runner", "probe", text).unwrap();
        run::run(&entry, &world)
    };
    for statement in [
        "SELECT name FROM {emp} WHERE level = 100",
        "SELECT ssn FROM {emp}",
        "SELECT salary FROM {emp} WHERE level = 1",
        "SELECT id FROM {emp} WHERE level = 100",
        "SELECT CAST(name AS INT) FROM {emp}",
        "SELECT 1 AS x FROM {emp} WHERE 1 / (level - 100) > 5",
    ] {
        assert_eq!(alone(&format!("try: It.\nalice: same\n  {statement}\n")), [] as [&str; 0], "{statement}");
    }
    for statement in [
        "SELECT name FROM hr.emp WHERE level = 100",
        "SELECT ssn FROM hr.staff",
        "SELECT salary FROM hr.people WHERE level = 1",
        "SELECT id FROM hr.roster WHERE level = 100",
        "SELECT id FROM hr.emp WHERE level = 100",
        "SELECT addr['zip'] FROM hr.emp",
        "SELECT phones FROM hr.staff WHERE level = 100",
        "SELECT CAST(name AS INT) FROM hr.people",
        "SELECT * FROM hr.secret",
        "SELECT table_name FROM information_schema.tables",
    ] {
        for found in run::told_to_bob(&world, statement) {
            assert!(found.is_err_and(|found| found.starts_with("TELLS")), "{statement}");
        }
    }
}

/// `docs/security.md` lists the entries. `WEIR_ACCEPT=1` writes the list anew.
#[test]
fn attacks_are_listed() {
    let entries = entries();
    let statements: usize = entries.iter().map(Entry::count).sum();
    assert!(entries.len() >= 120 && statements >= 300, "only {statements} statements in {} entries", entries.len());
    let place = folder().join("../../docs/security.md");
    let recorded = std::fs::read_to_string(&place).unwrap();
    let listed = page::with_list(&recorded, &entries);
    if std::env::var_os("WEIR_ACCEPT").is_some_and(|value| value == "1") {
        std::fs::write(&place, &listed).unwrap();
    }
    let recorded = std::fs::read_to_string(&place).unwrap();
    assert!(recorded == listed, "{} is not what the entries say; `cargo xtask golden`", place.display());
}

/// Entries that change the world take a server each, so there should not be many sources of them.
#[test]
fn entries_that_change_the_world_name_their_source() {
    for entry in entries().iter().filter(|entry| entry.steps.iter().any(|step| matches!(step.what, What::Admin(_)))) {
        assert_eq!(entry.on.len(), 1, "{}/{} says no `on`", entry.class, entry.id);
    }
}
