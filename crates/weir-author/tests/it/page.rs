//! `docs/worked-example.md` shows what the commands print. Here each of its commands is answered by what stands behind
//! it, on the world in place of a data directory, and by the kit in place of the engine. The program itself is compared
//! with the page by the tests of `weir-server`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use weir_author::case::{Suite, unix_ms};
use weir_author::{Changes, Plan, PolicySet, policy_texts};
use weir_model::{ColumnName, DataSource, DataType, Epoch, PolicyKey, SourceId, Surroundings};
use weir_policy::compare::{Count, Countable, Counts, Limits, Who, compare};
use weir_policy::explain::{explain, explain_column};
use weir_policy::{Facts, Snapshot, StoredPolicy};
use weir_testkit::generate::World;
use weir_testkit::oracle::Keys;
use weir_testkit::portable::carry_out;
use weir_testkit::{Cell, Row, Tables};

use crate::root;

/// How many changes `setup.sh` makes.
const SETUP: u64 = 23;

fn hospital() -> PathBuf {
    root().join("examples/hospital")
}

/// A data directory as far as the page needs one.
struct Stored {
    facts: Facts,
    tables: Tables,
    at_unix_ms: u64,
    former: BTreeMap<u64, Vec<StoredPolicy>>,
}

impl Stored {
    fn new() -> Self {
        let setup = fs::read_to_string(hospital().join("setup.sh")).unwrap();
        let changes = setup.lines().filter(|line| line.starts_with("weir ")).count() as u64;
        assert_eq!(changes, SETUP, "setup.sh makes other epochs than the page says");
        let world = fs::read_to_string(hospital().join("hospital.world")).unwrap();
        let facts = Facts { epoch: Some(Epoch(SETUP)), ..weir_author::world::World::parse(&world).unwrap().facts };
        let tables = facts.sources.iter().map(|source| (source.id, rows(source))).collect();
        // Later than all the data by more than any window of time.
        let at_unix_ms = unix_ms("2026-07-31 12:30:00").unwrap();
        Self { facts, tables, at_unix_ms, former: BTreeMap::new() }
    }

    fn epoch(&self) -> u64 {
        self.facts.epoch.unwrap().0
    }

    fn changes(&self, folder: &str, prune: bool) -> Changes {
        let set = PolicySet::new(policy_texts(&[hospital().join(folder)]).unwrap(), Some(&self.facts));
        assert_eq!(set.findings, [], "the page would show them");
        set.changes(&self.facts.policies, prune)
    }

    fn plan(&self, changes: &Changes, count: bool) -> String {
        let after = changes.onto(self.facts.clone());
        let comparison = compare(self.facts.clone(), after.clone(), self.at_unix_ms);
        let mut plan = Plan { comparison, left_alone: changes.left_alone.clone() };
        let limits = Limits::SHORT;
        if count {
            for Countable { source, who, open, count } in plan.comparison.countable(limits.groups) {
                let of = |open: bool, facts: &Facts| match open {
                    true => Count::Rows(self.count(facts, who, source)),
                    false => Count::NoAccess,
                };
                *count = Some(Counts { before: of(open.0, &self.facts), after: of(open.1, &after) });
            }
        }
        format!("Plan against epoch {}\n\n{}\n", self.epoch(), plan.text(limits).trim_end())
    }

    fn count(&self, facts: &Facts, who: &Who, source: &weir_model::SourceName) -> u64 {
        let keys: BTreeMap<SourceId, [u8; 32]> = facts.sources.iter().map(|source| (source.id, [7; 32])).collect();
        let keys = Keys { sources: keys, ..Keys::default() };
        let world = World::of(facts.clone(), self.tables.clone(), keys);
        let source = facts.sources.iter().find(|known| known.name == *source).unwrap();
        let here = Surroundings { project: who.project.clone(), impersonated: false, at_unix_ms: self.at_unix_ms };
        let decision = Snapshot::compile(facts.clone()).decide(&who.user, &here, &[source.id]);
        carry_out(&world, source, &decision.sources[0].1).unwrap().len() as u64
    }

    fn apply(&mut self, changes: &Changes) -> String {
        if changes.is_empty() {
            return format!("nothing to do: the stored policies are these already (epoch {})\n", self.epoch());
        }
        self.former.insert(self.epoch(), self.facts.policies.clone());
        self.facts = changes.onto(self.facts.clone());
        self.facts.epoch = Some(Epoch(self.epoch() + 1));
        let count = changes.put.len() + changes.remove.len();
        format!("applied: {count} policies changed (epoch {})\n", self.epoch())
    }

    fn explain(&self, user: &str, source: &str, column: Option<&str>) -> String {
        let snapshot = Snapshot::compile(self.facts.clone());
        let here = Surroundings { at_unix_ms: self.at_unix_ms, ..Surroundings::default() };
        let source = snapshot.source_by_name(&source.parse().unwrap()).unwrap().id;
        let user = user.parse().unwrap();
        let text = match column.map(|column| ColumnName::new(column).unwrap()) {
            Some(column) => explain_column(&snapshot, &user, &here, source, &column).unwrap().to_string(),
            None => explain(&snapshot, &user, &here, source).to_string(),
        };
        format!("{}\n", text.trim_end())
    }
}

/// The rows of the file behind the source.
fn rows(source: &DataSource) -> Vec<Row> {
    let text = fs::read_to_string(hospital().join(format!("data/{}.csv", source.name.table()))).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = source.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(lines.next().unwrap().split(',').collect::<Vec<_>>(), names, "{}", source.name);
    let time = |text: &str| unix_ms(&text.replace('T', " ")).unwrap() as i64;
    let cell = |text: &str, data_type: &DataType| match data_type {
        DataType::Int64 => Cell::Int(text.parse().unwrap()),
        DataType::Float64 => Cell::Float(text.parse().unwrap()),
        DataType::Date if text < "1970" => Cell::Date(0),
        DataType::Date => Cell::Date((time(&format!("{text} 00:00:00")) / 86_400_000) as i32),
        DataType::Timestamp { zoned: false } => Cell::Timestamp(time(text) * 1_000),
        DataType::Text => Cell::Text(text.to_owned()),
        other => panic!("{other}"),
    };
    lines
        .map(|line| line.split(',').zip(&source.columns).map(|(text, column)| cell(text, &column.data_type)).collect())
        .collect()
}

/// What the cases below the paths give, in the world or in what is stored.
fn tested(paths: &[PathBuf], stored: Option<&Facts>) -> (String, usize) {
    let suite = Suite::find(paths).unwrap();
    let world = stored.cloned().map(weir_author::world::World::from);
    let summary = suite.run(world.as_ref(), stored.map(|facts| facts.policies.as_slice())).unwrap();
    (format!("{summary}\n"), summary.failures())
}

fn without_the_training() -> String {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("weir-data-without");
    fs::create_dir(&folder).unwrap();
    let policies = fs::read_dir(hospital().join("policies")).unwrap().map(|entry| entry.unwrap().path());
    let others = ["hospital.world", "cases/patients.case"].map(|name| hospital().join(name));
    for path in policies.chain(others) {
        let text = fs::read_to_string(&path).unwrap();
        let text = if path.ends_with("1-access.policy") { text.replacen("always required", "", 1) } else { text };
        fs::write(folder.join(path.file_name().unwrap()), text).unwrap();
    }
    let (said, failed) = tested(&[folder], None);
    let said = said.replace(&dir.path().display().to_string(), "…");
    let shown: Vec<&str> = said.lines().take(7).collect();
    format!("{}\nerror: {failed} of 4 answers are not as expected\n", shown.join("\n"))
}

/// As the tests of the program do it.
fn stable(text: &str) -> String {
    let mut stable = String::new();
    for line in text.lines() {
        let mut line = line.trim_end().to_owned();
        while let Some(at) = line.find("TIMESTAMP '2") {
            line.replace_range(at + 11..at + 30, "…");
        }
        stable += &format!("{line}\n");
    }
    stable
}

#[test]
fn the_page_shows_what_the_commands_print() {
    let place = root().join("docs/worked-example.md");
    let page = fs::read_to_string(&place).unwrap();
    let mut stored = Stored::new();
    let mut answer = |command: &str| match command {
        "weir policy test policies cases hospital.world" => {
            tested(&["policies", "cases", "hospital.world"].map(|name| hospital().join(name)), None).0
        }
        "weir policy plan policies; echo \"exit status $?\"" => {
            let changes = stored.changes("policies", false);
            stored.plan(&changes, false) + "exit status 2\n"
        }
        "weir policy apply policies --yes | tail -n 1" => {
            let changes = stored.changes("policies", false);
            stored.apply(&changes)
        }
        "weir policy test cases/patients.case cases/visits.case --world \"$WEIR_DATA_DIR\"" => {
            tested(&[hospital().join("cases/patients.case"), hospital().join("cases/visits.case")], Some(&stored.facts))
                .0
        }
        "weir policy explain --user bea clinic.patients" => stored.explain("bea", "clinic.patients", None),
        "weir policy explain --user bea clinic.patients name" => stored.explain("bea", "clinic.patients", Some("name")),
        "weir policy explain --user carl clinic.patients name" => {
            stored.explain("carl", "clinic.patients", Some("name"))
        }
        "weir policy plan next --rows" => stored.plan(&stored.changes("next", false), true),
        "weir policy apply next --yes | tail -n 1" => {
            let changes = stored.changes("next", false);
            stored.apply(&changes)
        }
        "weir policy diff 24" => {
            let before = &stored.former[&24];
            let text = weir_author::diff(before, &stored.facts.policies, |_| "(epoch 25, …, by local)".to_owned());
            format!("--- epoch 24\n+++ epoch 25\n{text}")
        }
        "weir policy history visit-costs" => {
            let key = PolicyKey::new("visit-costs").unwrap();
            let of = |stored: &&StoredPolicy| stored.policy.key == key;
            let one: Vec<StoredPolicy> = stored.facts.policies.iter().filter(of).cloned().collect();
            weir_author::diff(&[], &one, |_| "(epoch 25, …, by local)".to_owned())
        }
        "weir policy apply policies --prune --yes | tail -n 1" => {
            let changes = stored.changes("policies", true);
            stored.apply(&changes)
        }
        "weir policy export \"$WEIR_DATA_DIR-written\"" => {
            format!("wrote {} policies to …/weir-data-written\n", stored.facts.policies.len())
        }
        "weir policy plan \"$WEIR_DATA_DIR-written\" --prune; echo \"exit status $?\"" => {
            stored.plan(&Changes::default(), false) + "exit status 0\n"
        }
        "weir policy test ../bank 2>&1 | tail -n 1" => tested(&[root().join("examples/bank")], None).0,
        command if command.starts_with("mkdir -p \"$WEIR_DATA_DIR-without\" && cp *.world") => String::new(),
        command if command.starts_with("weir policy test \"$WEIR_DATA_DIR-without\" | sed -n 1,7p") => {
            without_the_training()
        }
        other => panic!("the page has a command that this test does not know: {other}"),
    };
    let (mut now, mut commands, mut inside) = (String::new(), 0, false);
    for line in page.lines() {
        match (line, line.strip_prefix("$ ")) {
            ("```console", _) => inside = true,
            ("```", _) => inside = false,
            (_, Some(command)) if inside => {
                now += &format!("{line}\n{}", stable(&answer(command)));
                commands += 1;
                continue;
            }
            _ if inside => continue,
            _ => {}
        }
        now += &format!("{line}\n");
    }
    assert_eq!(commands, 18);
    if std::env::var_os("WEIR_ACCEPT").is_some_and(|value| value == "1") {
        fs::write(&place, &now).unwrap();
    }
    expect_test::expect_file![place].assert_eq(&now);
}
