//! Governed result = result on the visible copy, and nothing that is not in the visible copy changes anything.
//!
//! `WEIR_ORACLE_SEEDS=from..to` chooses the worlds, `WEIR_ORACLE_MINUTES=120` goes on from there for so long, and
//! `WEIR_ORACLE_SAVE=1` keeps what failed below `tests/cases/found/`; `WEIR_ORACLE_LOUD=1` tells of each query first.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use weir_model::{Epoch, SourceId};
use weir_policy::{Snapshot, SourceDecision};
use weir_testkit::generate::{CANARY, Query, Sizes, Speaker, World, queries};
use weir_testkit::{Cell, Dice, Row};

use crate::asking::{Answer, Asking, Kind};
use crate::files;
use crate::plain::Plain;

/// How many worlds, and how many queries in the name of the first person and of each other one.
const WORLDS: u64 = 1_800;
const FIRST_QUERIES: usize = 9;
const OTHER_QUERIES: usize = 2;
const TRIPLES_MIN: u64 = 20_000;
/// One world in so many is changed where the person cannot see it.
const DISTURBED_ONE_IN: u64 = 4;
/// Of each kind of disagreement that is not Weir's, at most one triple in so many.
const EXCUSED_ONE_IN: u64 = 500;
/// Failures that are shown.
const FAILURES_MAX: usize = 3;

#[derive(Debug, Default)]
struct Tally {
    /// World and policies, person and query.
    triples: AtomicU64,
    /// Of which both sides gave rows, and at least one row.
    with_rows: AtomicU64,
    /// Of which both sides failed.
    failed: AtomicU64,
    /// The plain side failed on the data and the governed one did not.
    spared: AtomicU64,
    /// Sorted differently, see `Outcome::Reordered`.
    reordered: AtomicU64,
    /// The engine found its own plan wrong, with policies in it; see `Answer::is_engine_failure`.
    engine_failed: AtomicU64,
    /// The engine contradicts itself on the visible copy; see `Outcome::PlainWrong`.
    plain_wrong: AtomicU64,
    /// Asked again after what is hidden was changed.
    disturbed: AtomicU64,
}

impl Tally {
    fn count(&self, outcome: Outcome) {
        match outcome {
            Outcome::Empty => {}
            Outcome::Rows => add(&self.with_rows),
            Outcome::BothFail => add(&self.failed),
            Outcome::Spared => add(&self.spared),
            Outcome::Reordered => add(&self.reordered),
            Outcome::EngineFailed => add(&self.engine_failed),
            Outcome::PlainWrong => add(&self.plain_wrong),
        }
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn governed_results_are_those_of_the_visible_copy() {
    let seeds = std::env::var("WEIR_ORACLE_SEEDS").ok().map(|text| range(&text));
    let minutes =
        std::env::var("WEIR_ORACLE_MINUTES").ok().map(|text| text.parse::<u64>().expect("minutes as a number"));
    let until = minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let fixed = seeds.is_none() && until.is_none();
    let seeds = seeds.unwrap_or(0..if until.is_some() { u64::MAX } else { WORLDS });

    let (tally, failures) = run(seeds, until);
    eprintln!("{tally:?}");
    assert!(failures.is_empty(), "{}", failures.join("\n\n======\n\n"));
    if fixed {
        let triples = tally.triples.into_inner();
        assert!(triples >= TRIPLES_MIN, "{triples} triples");
        let with_rows = tally.with_rows.into_inner();
        assert!(with_rows * 3 >= triples, "only {with_rows} of {triples} queries gave rows");
        for (what, count) in [
            ("wrong plans of the engine", tally.engine_failed),
            ("wrong answers of the plain engine", tally.plain_wrong),
            ("results spared", tally.spared),
            ("results sorted differently", tally.reordered),
        ] {
            let count = count.into_inner();
            assert!(count * EXCUSED_ONE_IN <= triples, "{count} {what}");
        }
    }
}

fn range(text: &str) -> Range<u64> {
    let (from, to) = text.split_once("..").expect("seeds as from..to");
    from.parse().expect("the first seed")..to.parse().expect("the seed after the last")
}

/// On two threads, each with an engine of its own that lives through all its worlds.
fn run(seeds: Range<u64>, until: Option<Instant>) -> (Tally, Vec<String>) {
    let tally = Tally::default();
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicBool::new(false);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let loud = std::env::var_os("WEIR_ORACLE_LOUD").is_some();
                let mut worker = Worker { tally: &tally, asking: None, epoch: 0, loud };
                while !stop.load(Ordering::Relaxed) && until.is_none_or(|until| Instant::now() < until) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    if let Err(failure) = runtime.block_on(worker.world(seed)) {
                        let mut failures = failures.lock().unwrap();
                        save(seed, &failure);
                        failures.push(failure);
                        stop.store(failures.len() >= FAILURES_MAX, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    (tally, failures.into_inner().unwrap())
}

fn save(seed: u64, failure: &str) {
    if std::env::var_os("WEIR_ORACLE_SAVE").is_some() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/found");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("seed-{seed}.txt")), failure).unwrap();
    }
}

struct Worker<'a> {
    tally: &'a Tally,
    asking: Option<Asking>,
    epoch: u64,
    /// Tells of each query before it is asked.
    loud: bool,
}

impl Worker<'_> {
    /// The text tells what is wrong.
    async fn world(&mut self, seed: u64) -> Result<(), String> {
        let sizes = Sizes::default();
        let mut world = World::generate(seed, &sizes);
        let mut dice = Dice::new(seed ^ 0x5eed);
        let folder = tempfile::tempdir().unwrap();
        files::write(&mut world, folder.path(), &mut dice);
        self.turn_to(&mut world);
        agrees_on_who_may_read(&world)?;
        for (i, speaker) in world.speakers.clone().into_iter().enumerate() {
            let visible = world.visible(&speaker);
            let count = if i == 0 { FIRST_QUERIES } else { OTHER_QUERIES };
            let asked = queries(&world, &visible, &mut dice, &sizes, count);
            let plain = Plain::new(&world, &visible);
            let canaries = world.canaries(&visible);
            let mut answers = Vec::new();
            for query in &asked {
                if self.loud {
                    tell(&format!("{seed} {speaker}: {}", query.sql));
                }
                let governed = self.asking().ask(&speaker, &query.sql).await;
                add(&self.tally.triples);
                match self.judged(&mut world, &speaker, query, &governed, &plain, &canaries).await {
                    Ok(outcome) => {
                        if self.loud && matches!(outcome, Outcome::PlainWrong) {
                            let expected = plain.ask(&query.sql).await;
                            let why = "the plain engine is wrong";
                            tell(&report(why, &world, &speaker, query, &governed, &expected));
                        }
                        self.tally.count(outcome)
                    }
                    Err((why, expected)) => {
                        let first = report(&why, &world, &speaker, query, &governed, &expected);
                        return Err(self.smallest(world, &speaker, query, first).await);
                    }
                }
                answers.push(governed);
            }
            self.unseen_is_missing(&world, &speaker).await?;
            if i == 0 && seed.is_multiple_of(DISTURBED_ONE_IN) {
                self.disturbed(&world, &speaker, &asked, &answers, &mut dice).await?;
                self.turn_to(&mut world);
            }
        }
        Ok(())
    }

    /// Whether the governed answer is right by the plain engine, or else by the plain engine at its most careful, or by
    /// the engine over files of the visible copy. Otherwise what is wrong, and the answer that it should have been.
    async fn judged(
        &mut self,
        world: &mut World,
        speaker: &Speaker,
        query: &Query,
        governed: &Answer,
        plain: &Plain,
        canaries: &BTreeSet<String>,
    ) -> Result<Outcome, (String, Answer)> {
        let expected = plain.ask(&query.sql).await;
        let why = match verdict(query, governed, &expected, canaries) {
            Ok(outcome) => return Ok(outcome),
            Err(why) => why,
        };
        let mut others = vec![plain.ask_carefully(&query.sql).await];
        others.extend(self.over_files(world, speaker, query).await);
        self.turn_to(world);
        let agrees = |other: &Answer| *other != expected && verdict(query, governed, other, canaries).is_ok();
        if others.iter().any(agrees) { Ok(Outcome::PlainWrong) } else { Err((why, expected)) }
    }

    /// The answers of an owner without any policy over the visible copy, in one file for each table and otherwise.
    async fn over_files(&mut self, world: &World, speaker: &Speaker, query: &Query) -> Vec<Answer> {
        let mut copy = world.clone();
        copy.tables = world.visible(speaker);
        copy.facts.policies.clear();
        copy.facts.sources.retain(|source| copy.tables.contains_key(&source.id));
        for source in &mut copy.facts.sources {
            source.owners.insert(speaker.principal.clone());
            source.lineage = None;
            source.columns.iter_mut().for_each(|column| column.nullable = true);
        }
        let folder = tempfile::tempdir().unwrap();
        files::write_plainly(&mut copy, folder.path(), 10_000);
        self.turn_to(&mut copy);
        let plainly = self.asking().ask(&speaker.principal, &query.sql).await;
        let folder = tempfile::tempdir().unwrap();
        files::write(&mut copy, folder.path(), &mut Dice::new(world.seed));
        self.turn_to(&mut copy);
        vec![plainly, self.asking().ask(&speaker.principal, &query.sql).await]
    }

    fn asking(&self) -> &Asking {
        self.asking.as_ref().expect("an engine since the first world")
    }

    /// Each state of a world is an epoch of its own.
    fn turn_to(&mut self, world: &mut World) {
        self.epoch += 1;
        world.facts.epoch = Some(Epoch(self.epoch));
        match &self.asking {
            Some(asking) => asking.turn_to(world),
            None => self.asking = Some(Asking::new(world)),
        }
    }

    /// What is wrong with a triple, as a text; `None` when nothing is.
    async fn complaint(&mut self, world: &mut World, speaker: &Speaker, query: &Query) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        files::write(world, folder.path(), &mut Dice::new(world.seed));
        self.turn_to(world);
        let visible = world.visible(speaker);
        let governed = self.asking().ask(speaker, &query.sql).await;
        let plain = Plain::new(world, &visible);
        let canaries = world.canaries(&visible);
        let (why, expected) = self.judged(world, speaker, query, &governed, &plain, &canaries).await.err()?;
        Some(report(&why, world, speaker, query, &governed, &expected))
    }

    /// Tells of a failure, after policies and rows that it does not take were left out.
    async fn smallest(&mut self, mut world: World, speaker: &Speaker, query: &Query, first: String) -> String {
        let Some(mut complaint) = self.complaint(&mut world, speaker, query).await else {
            return format!("only with the files as they were: {first}");
        };
        for place in (0..world.facts.policies.len()).rev() {
            let mut smaller = world.clone();
            smaller.facts.policies.remove(place);
            if let Some(still) = self.complaint(&mut smaller, speaker, query).await {
                (world, complaint) = (smaller, still);
            }
        }
        for source in world.tables.keys().copied().collect::<Vec<_>>() {
            let mut size = world.tables[&source].len() / 2;
            while size > 0 {
                let mut from = 0;
                while from < world.tables[&source].len() {
                    let mut smaller = world.clone();
                    let rows = smaller.tables.get_mut(&source).expect("a table for each source");
                    rows.drain(from..(from + size).min(rows.len()));
                    match self.complaint(&mut smaller, speaker, query).await {
                        Some(still) => (world, complaint) = (smaller, still),
                        None => from += size,
                    }
                }
                size /= 2;
            }
        }
        complaint
    }

    /// Asks again after hidden rows and the originals of masked values were changed.
    async fn disturbed(
        &mut self,
        world: &World,
        speaker: &Speaker,
        asked: &[Query],
        answers: &[Answer],
        dice: &mut Dice,
    ) -> Result<(), String> {
        let visible = world.visible(speaker);
        let mut other = world.clone();
        other.disturb(speaker, 90, dice);
        let folder = tempfile::tempdir().unwrap();
        files::write(&mut other, folder.path(), dice);
        self.turn_to(&mut other);
        for (query, before) in asked.iter().zip(answers) {
            add(&self.tally.disturbed);
            let after = self.asking().ask(speaker, &query.sql).await;
            let same = match (&after, before) {
                // Which of several visible values is told of depends on which is read first.
                (after, before) if after.is_engine_failure() || before.is_engine_failure() => true,
                (Answer::Refused { kind, .. }, Answer::Refused { kind: wanted, .. }) if query.may_fail => {
                    kind == wanted
                }
                (
                    Answer::Refused { kind: Kind::Data, text, .. },
                    Answer::Refused { kind: Kind::Data, text: told, .. },
                ) if text != told => quotes_what_is_seen(text, &visible) && quotes_what_is_seen(told, &visible),
                (Answer::Refused { kind, text, .. }, Answer::Refused { kind: wanted, text: told, .. }) => {
                    // Text of CSV and JSON files has another type in the engine than that of Parquet files.
                    kind == wanted && text.replace("Utf8View", "Utf8") == told.replace("Utf8View", "Utf8")
                }
                _ => after.clone().sorted() == before.clone().sorted(),
            };
            if !same {
                let why = format!("what is hidden changed, and the answer with it; the world before was\n{world}");
                return Err(report(&why, &other, speaker, query, &after, before));
            }
        }
        Ok(())
    }

    /// A source that she may not see and one that nobody registered give the same words.
    async fn unseen_is_missing(&self, world: &World, speaker: &Speaker) -> Result<(), String> {
        let visible = world.visible(speaker);
        for source in world.facts.sources.iter().filter(|s| !visible.contains_key(&s.id)) {
            let ask = |table: String| async move {
                let sql = format!("SELECT * FROM \"{}\".\"{table}\"", source.name.schema());
                let answer = self.asking().ask(speaker, &sql).await;
                (answer.told().replace(&table, "it"), answer)
            };
            let (unseen, answer) = ask(source.name.table().to_owned()).await;
            let (missing, _) = ask("nobody_has_this".to_owned()).await;
            if unseen != missing || !matches!(answer, Answer::Refused { kind: Kind::Planning, .. }) {
                return Err(format!("{} of {speaker}: unseen is {unseen}, missing is {missing}\n{world}", source.name));
            }
        }
        Ok(())
    }
}

#[expect(clippy::print_stderr, reason = "asked for by WEIR_ORACLE_LOUD")]
fn tell(what: &str) {
    eprintln!("{what}");
}

/// How governed and plain engine agree.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Empty,
    Rows,
    BothFail,
    /// The plain engine fails on the data, and the governed one takes a way on which it does not.
    Spared,
    /// The same rows in another order than asked for on one of the sides: the engine takes a column that is constant
    /// in a subquery for constant above an outer join, and does not sort by it.
    Reordered,
    /// The engine made a plan that it then found wrong itself; the client hears of an internal error only.
    EngineFailed,
    /// The plain engine finds its own plan wrong, or contradicts itself on the visible copy: without some of its rules,
    /// or with the copy in files, it answers like the governed one.
    PlainWrong,
}

/// Whether the error of a cast quotes a text that is in the visible rows.
fn quotes_what_is_seen(told: &str, visible: &BTreeMap<SourceId, Vec<Row>>) -> bool {
    let quoted = told.strip_prefix("cannot cast string '").and_then(|rest| Some(rest.rsplit_once("' to value of ")?.0));
    let seen = |quoted: &str| visible.values().flatten().flatten().any(|c| matches!(c, Cell::Text(t) if t == quoted));
    quoted.is_some_and(seen)
}

/// Whether the governed answer is right; the text tells what is wrong.
fn verdict(
    query: &Query,
    governed: &Answer,
    expected: &Answer,
    canaries: &BTreeSet<String>,
) -> Result<Outcome, String> {
    let told = governed.told();
    if let Some(canary) = canaries.iter().find(|canary| told.contains(canary.as_str())) {
        return Err(format!("`{canary}` is told, which is nowhere in what she sees"));
    }
    match (governed, expected) {
        (governed, _) if governed.is_engine_failure() => Ok(Outcome::EngineFailed),
        // A defect of the engine on both sides.
        (Answer::Refused { kind: Kind::Other, .. }, Answer::Refused { kind: Kind::Other, .. }) => Ok(Outcome::BothFail),
        (Answer::Refused { kind: Kind::Other, .. }, _) => Err("neither rows nor an error of the statement".to_owned()),
        (Answer::Rows { .. }, Answer::Rows { rows, .. }) => {
            if governed.clone().sorted() != expected.clone().sorted() {
                return Err("the result is not that on the visible copy".to_owned());
            }
            match rows.is_empty() {
                true => Ok(Outcome::Empty),
                false if query.ordered && governed != expected => Ok(Outcome::Reordered),
                false => Ok(Outcome::Rows),
            }
        }
        (Answer::Refused { .. }, Answer::Rows { .. }) => Err("fails although nothing visible makes it fail".to_owned()),
        (Answer::Rows { .. }, Answer::Refused { kind: Kind::Data, .. }) if query.may_fail => {
            Err("does not fail although what she sees makes it fail".to_owned())
        }
        (Answer::Rows { .. }, Answer::Refused { kind: Kind::Data, .. }) => Ok(Outcome::Spared),
        (Answer::Rows { .. }, Answer::Refused { kind: Kind::Other, .. }) => Ok(Outcome::PlainWrong),
        (Answer::Rows { .. }, Answer::Refused { kind: Kind::Planning, .. }) => {
            Err("runs although it cannot be planned".to_owned())
        }
        (Answer::Refused { kind, .. }, Answer::Refused { kind: wanted, .. }) if kind == wanted => Ok(Outcome::BothFail),
        (Answer::Refused { kind, .. }, Answer::Refused { kind: wanted, .. }) => {
            Err(format!("fails as {kind:?} instead of {wanted:?}"))
        }
    }
}

/// The decision denies exactly the sources that do not exist for a person.
fn agrees_on_who_may_read(world: &World) -> Result<(), String> {
    let snapshot = Snapshot::compile(world.facts.clone());
    let sources: Vec<_> = world.facts.sources.iter().map(|s| s.id).collect();
    for speaker in &world.speakers {
        let visible = world.visible(speaker);
        for (source, decided) in snapshot.decide(&speaker.principal, &speaker.surroundings(), &sources).sources {
            if matches!(decided, SourceDecision::Deny(..)) == visible.contains_key(&source) {
                return Err(format!("source {source} is decided wrongly for {speaker}: {decided:?}\n{world}"));
            }
        }
    }
    Ok(())
}

fn report(why: &str, world: &World, speaker: &Speaker, query: &Query, governed: &Answer, expected: &Answer) -> String {
    let snapshot = Snapshot::compile(world.facts.clone());
    let sources: Vec<_> = world.facts.sources.iter().map(|s| s.id).collect();
    let decision = snapshot.decide(&speaker.principal, &speaker.surroundings(), &sources);
    let seen: Vec<String> = world
        .visible(speaker)
        .iter()
        .map(|(source, rows)| {
            let rows: Vec<_> =
                rows.iter().map(|r| r.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")).collect();
            format!("source {source} as seen:\n  {}", rows.join("\n  "))
        })
        .collect();
    format!(
        "{why}\nseed {}, {speaker}\n{}\n\ngoverned: {}\n\nexpected: {}\n\n{world}\n{}\n\n{decision:?}\n\nagain: WEIR_ORACLE_SEEDS={}..{}",
        world.seed,
        query.sql,
        shown(governed),
        shown(expected),
        seen.join("\n"),
        world.seed,
        world.seed + 1
    )
}

fn shown(answer: &Answer) -> String {
    match answer {
        Answer::Refused { kind, text, inside } => format!("{kind:?}: {text} [{}]", inside.0),
        Answer::Rows { columns, rows } => {
            let line = |row: &Vec<Option<String>>| {
                row.iter().map(|v| v.clone().unwrap_or_else(|| "∅".to_owned())).collect::<Vec<_>>().join(" | ")
            };
            let lines: Vec<String> = rows.iter().take(40).map(line).collect();
            format!("{columns:?}\n  {}\n  ({} rows)", lines.join("\n  "), rows.len())
        }
    }
}

#[test]
fn canaries_begin_as_the_generator_says() {
    let world = World::generate(3, &Sizes::default());
    let visible = world.visible(&world.speakers[0]);
    assert!(world.canaries(&visible).iter().all(|canary| canary.starts_with(CANARY)));
}
