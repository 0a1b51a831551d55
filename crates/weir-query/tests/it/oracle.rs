//! Governed result = result on the visible copy, and nothing that is not in the visible copy changes anything.
//!
//! Each world is asked of an engine that is set by chance, see `altered`.
//!
//! `WEIR_ORACLE_SEEDS=from..to` chooses the worlds, `WEIR_ORACLE_MINUTES=120` or `WEIR_ORACLE_TRIPLES=1000000` goes on
//! from there for so long or so many triples, `WEIR_ORACLE_TIMES=4` asks so many times as many queries in each world, and
//! `WEIR_ORACLE_SAVE=1` keeps what failed below `tests/cases/found/`; `WEIR_ORACLE_LOUD=1` tells of each query first;
//! `WEIR_ORACLE_ENGINE=0` takes the engine as it is shipped for every world, and other numbers other ones;
//! `WEIR_ORACLE_ALL=1` goes on after failures and does not make them smaller; `WEIR_ORACLE_REPORT=path` writes what was
//! asked how often.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use weir_model::{DataSource, Epoch, PolicyId, PolicyKey, TypeClass};
use weir_policy::{Snapshot, SourceDecision, StoredPolicy, language};
use weir_query::UserLimits;
use weir_testkit::generate::{CANARY, Query, Sizes, Speaker, World, queries};
use weir_testkit::{Cell, Dice};

use crate::altered::{ALTERATIONS, Alteration};
use crate::asking::{Answer, Asking, Kind};
use crate::coverage::Coverage;
use crate::files;
use crate::functions::FROM_SIGNATURES;
use crate::plain::Plain;
use crate::remote;
use crate::verdict::{Outcome, quotes_what_is_seen, report, verdict};

/// How many worlds, and how many queries in the name of the first person and of each other one.
const WORLDS: u64 = 1_800;
const FIRST_QUERIES: usize = 9;
const OTHER_QUERIES: usize = 2;
const TRIPLES_MIN: u64 = 20_000;
/// One world in so many is changed where the person cannot see it.
const DISTURBED_ONE_IN: u64 = 4;
/// Of each kind of disagreement that is not Weir's, at most one triple in so many.
const EXCUSED_ONE_IN: u64 = 500;
/// What these need is in no world: values of union types, and keywords.
const NEVER_WITH_ROWS: [&str; 3] = ["pg_get_keywords()", "union_extract()", "union_tag()"];
/// Weir has these of its own, about what the reader sees: what they answer is compared with what Weir answers over the
/// visible copy. Most fail, as their arguments are names and numbers by chance.
const ABOUT_THE_READER: [&str; 9] = [
    "has_any_column_privilege",
    "has_database_privilege",
    "has_schema_privilege",
    "has_table_privilege",
    "pg_get_userbyid",
    "pg_relation_is_publishable",
    "pg_relation_size",
    "pg_table_is_visible",
    "pg_total_relation_size",
];
/// A line on the terminal for so many triples of a long run.
const TOLD_EVERY: u64 = 10_000;
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
    /// The engine is wrong as it is set; see `Outcome::AlteredWrong`.
    altered_wrong: AtomicU64,
    /// Asked again after what is hidden was changed.
    disturbed: AtomicU64,
    /// Shapes of answers and listings that were compared then.
    shapes: AtomicU64,
    coverage: Coverage,
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
            Outcome::AlteredWrong => add(&self.altered_wrong),
        }
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn governed_results_are_those_of_the_visible_copy() {
    let seeds = std::env::var("WEIR_ORACLE_SEEDS").ok().map(|text| range(&text));
    let minutes = number("WEIR_ORACLE_MINUTES");
    let plan = Plan {
        until: minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes)),
        triples: number("WEIR_ORACLE_TRIPLES"),
        times: number("WEIR_ORACLE_TIMES").map_or(1, |times| times as usize),
    };
    let long = plan.until.is_some() || plan.triples.is_some();
    let fixed = seeds.is_none() && !long && plan.times == 1;
    let seeds = seeds.unwrap_or(0..if long { u64::MAX } else { WORLDS });

    let (tally, failures) = run(seeds, plan, None);
    eprintln!("{tally:?}");
    write_report(&tally, failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n\n======\n\n"));
    if fixed {
        let mut missing = tally.coverage.missing();
        missing.retain(|kind| {
            !NEVER_WITH_ROWS.contains(&kind.as_str()) && !ABOUT_THE_READER.contains(&kind.trim_end_matches("()"))
        });
        assert!(missing.is_empty(), "never in a query that gave rows: {}", missing.join(", "));
        let triples = tally.triples.into_inner();
        assert!(triples >= TRIPLES_MIN, "{triples} triples");
        let with_rows = tally.with_rows.into_inner();
        assert!(with_rows * 3 >= triples, "only {with_rows} of {triples} queries gave rows");
        for (what, count) in [
            ("wrong plans of the engine", tally.engine_failed),
            ("wrong answers of the plain engine", tally.plain_wrong),
            ("wrong answers of the engine as it is set", tally.altered_wrong),
            ("results spared", tally.spared),
            ("results sorted differently", tally.reordered),
        ] {
            let count = count.into_inner();
            assert!(count * EXCUSED_ONE_IN <= triples, "{count} {what}");
        }
    }
}

fn write_report(tally: &Tally, failures: usize) {
    if let Some(path) = std::env::var_os("WEIR_ORACLE_REPORT") {
        std::fs::write(path, report_of(tally, failures)).expect("a report");
    }
}

/// Worlds whose tables are in a database, as far as it has types for them: how much was asked, how much of that gave rows,
/// and what went wrong.
pub(crate) fn over(database: &remote::Place<'_>, worlds: u64) -> (u64, u64, Vec<String>) {
    let seeds = std::env::var("WEIR_ORACLE_SEEDS").ok().map_or(0..worlds, |text| range(&text));
    let plan = Plan { until: None, triples: None, times: 1 };
    let (tally, failures) = run(seeds, plan, Some(database));
    (tally.triples.into_inner(), tally.with_rows.into_inner(), failures)
}

/// As Markdown.
fn report_of(tally: &Tally, failures: usize) -> String {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let mut text = String::from("| what | how often |\n| --- | ---: |\n");
    for (what, counted) in [
        ("questions: a world with its policies, a person, a query", count(&tally.triples)),
        ("of which both sides gave rows", count(&tally.with_rows)),
        ("of which both sides failed alike", count(&tally.failed)),
        ("asked again after what is hidden had changed", count(&tally.disturbed)),
        ("shapes and listings compared again then", count(&tally.shapes)),
        ("the plain engine failed on rows that the governed one did not come to", count(&tally.spared)),
        ("the engine sorted by a constant, and not by what comes after it", count(&tally.reordered)),
        ("the engine refused a plan of its own", count(&tally.engine_failed)),
        ("the engine contradicts itself on the visible copy", count(&tally.plain_wrong)),
        ("the engine is wrong as it is set, with and without policies", count(&tally.altered_wrong)),
        ("disagreements and leaks", failures as u64),
    ] {
        text.push_str(&format!("| {what} | {counted} |\n"));
    }
    text + "\n" + &tally.coverage.table()
}

fn range(text: &str) -> Range<u64> {
    let (from, to) = text.split_once("..").expect("seeds as from..to");
    from.parse().expect("the first seed")..to.parse().expect("the seed after the last")
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is not a number")))
}

/// How long, and how much of each world.
#[derive(Clone, Copy)]
struct Plan {
    until: Option<Instant>,
    triples: Option<u64>,
    /// So many times as many queries.
    times: usize,
}

impl Plan {
    fn is_done(&self, tally: &Tally) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
            || self.triples.is_some_and(|triples| tally.triples.load(Ordering::Relaxed) >= triples)
    }
}

/// On two threads, each with engines of its own that live through all worlds that are asked of them.
fn run(seeds: Range<u64>, plan: Plan, database: Option<&remote::Place<'_>>) -> (Tally, Vec<String>) {
    let tally = Tally::default();
    let started = Instant::now();
    let told = AtomicU64::new(0);
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicBool::new(false);
    let failures = Mutex::new(Vec::new());
    let end = seeds.end;
    std::thread::scope(|scope| {
        for number in 0..2 {
            let (tally, next, stop, failures, told) = (&tally, &next, &stop, &failures, &told);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let loud = std::env::var_os("WEIR_ORACLE_LOUD").is_some();
                let mut worker = Worker {
                    tally,
                    engines: HashMap::new(),
                    engine: 0,
                    epoch: 0,
                    times: plan.times,
                    loud,
                    database: database.map(|database| (database, format!("w{number}"))),
                };
                while !stop.load(Ordering::Relaxed) && !plan.is_done(tally) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    if let Err(failure) = runtime.block_on(worker.world(seed)) {
                        let mut failures = failures.lock().unwrap();
                        save(seed, &failure);
                        failures.push(failure);
                        stop.store(failures.len() >= FAILURES_MAX && !goes_on(), Ordering::Relaxed);
                    }
                    let triples = tally.triples.load(Ordering::Relaxed);
                    let rounds = triples / TOLD_EVERY;
                    if told.fetch_max(rounds, Ordering::Relaxed) < rounds {
                        let seconds = started.elapsed().as_secs();
                        tell(&format!("{triples} triples in {seconds} s, world {seed}"));
                        write_report(tally, failures.lock().unwrap().len());
                    }
                }
            });
        }
    });
    (tally, failures.into_inner().unwrap())
}

/// Whether all failures are told, as they are.
fn goes_on() -> bool {
    std::env::var_os("WEIR_ORACLE_ALL").is_some()
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
    /// By the number of their alteration.
    engines: HashMap<u64, Asking>,
    /// The one that is asked.
    engine: u64,
    epoch: u64,
    /// See [`Plan`].
    times: usize,
    /// Tells of each query before it is asked.
    loud: bool,
    /// Where tables are put, and into which schema.
    database: Option<(&'a remote::Place<'a>, String)>,
}

impl Worker<'_> {
    /// The text tells what is wrong.
    async fn world(&mut self, seed: u64) -> Result<(), String> {
        let sizes = Sizes::default();
        let mut world = World::generate(seed, &sizes);
        let mut dice = Dice::new(seed ^ 0x5eed);
        self.engine = engine_of(seed);
        let folder = tempfile::tempdir().unwrap();
        self.write(&mut world, folder.path(), &mut dice);
        self.turn_to(&mut world);
        agrees_on_who_may_read(&world)?;
        for (i, speaker) in world.speakers.clone().into_iter().enumerate() {
            let visible = world.visible(&speaker);
            let count = self.times * if i == 0 { FIRST_QUERIES } else { OTHER_QUERIES };
            let mut asked = queries(&world, &visible, &mut dice, &sizes, &FROM_SIGNATURES, count);
            if self.database.is_some() {
                asked.extend(remote::queries(&world, &visible));
            }
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
                        if self.loud && matches!(outcome, Outcome::PlainWrong | Outcome::AlteredWrong) {
                            let expected = plain.ask(&query.sql).await;
                            let why = "the plain engine is wrong";
                            tell(&report(why, &world, &speaker, query, &governed, &expected));
                        }
                        self.tally.count(outcome);
                        self.tally.coverage.count(&query.sql, matches!(outcome, Outcome::Rows | Outcome::Reordered));
                    }
                    Err((why, expected)) => {
                        let first = report(&why, &world, &speaker, query, &governed, &expected);
                        if goes_on() {
                            return Err(first);
                        }
                        return Err(self.smallest(world, &speaker, query, first).await);
                    }
                }
                answers.push(governed);
            }
            self.unseen_is_missing(&world, &speaker).await?;
            if i == 0 && seed.is_multiple_of(DISTURBED_ONE_IN) {
                self.disturbed(&world, &speaker, &asked, &answers, &mut dice).await?;
                if let Some((database, schema)) = &self.database {
                    remote::put(&mut world, database, schema);
                }
                self.turn_to(&mut world);
            }
        }
        Ok(())
    }

    /// Whether the governed answer is right by the plain engine, or else by the plain engine at its most careful or set as
    /// the governed one is, or by the engine over files of the visible copy. Otherwise what is wrong, and the answer that it should have been.
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
        if ABOUT_THE_READER.iter().any(|name| query.sql.contains(name)) {
            let others = self.over_files(world, speaker, query).await;
            self.turn_to(world);
            let outcome = others.iter().find_map(|other| verdict(query, governed, other, canaries).ok());
            let why = "the answer about the reader is not that over the visible copy".to_owned();
            return outcome.ok_or((why, expected));
        }
        let why = match verdict(query, governed, &expected, canaries) {
            Ok(outcome) => return Ok(outcome),
            Err(why) => why,
        };
        let agrees = |other: &Answer| *other != expected && verdict(query, governed, other, canaries).is_ok();
        if agrees(&plain.ask_carefully(&query.sql).await) {
            return Ok(Outcome::PlainWrong);
        }
        if agrees(&plain.ask_altered(&query.sql, &Alteration::new(self.engine)).await) {
            return Ok(Outcome::AlteredWrong);
        }
        let others = self.over_files(world, speaker, query).await;
        self.turn_to(world);
        let agrees = match governed {
            // It fails on what is visible alone, and tells nothing.
            Answer::Refused { kind: Kind::Other, .. } => others.contains(governed),
            Answer::Refused { .. } | Answer::Rows { .. } => others.iter().any(agrees),
        };
        if agrees { Ok(Outcome::PlainWrong) } else { Err((why, expected)) }
    }

    /// The answers of an owner over the visible copy without any policy, in one file for each table and otherwise, and
    /// with row filters that every row passes, without and with masks that leave every value as it is: the engine knows
    /// as little of the rows then as with any policy.
    async fn over_files(&mut self, world: &World, speaker: &Speaker, query: &Query) -> Vec<Answer> {
        let mut copy = world.clone();
        copy.tables = world.visible(speaker);
        copy.facts.policies.clear();
        copy.facts.sources.retain(|source| copy.tables.contains_key(&source.id));
        for source in &mut copy.facts.sources {
            source.owners.insert(speaker.principal.clone());
            source.lineage = None;
            let rows = &copy.tables[&source.id];
            for (place, column) in source.columns.iter_mut().enumerate() {
                column.nullable |= rows.iter().any(|row| row[place] == Cell::Null);
            }
        }
        let folder = tempfile::tempdir().unwrap();
        files::write_plainly(&mut copy, folder.path(), 10_000);
        self.turn_to(&mut copy);
        let plainly = self.asking().ask(&speaker.principal, &query.sql).await;
        let folder = tempfile::tempdir().unwrap();
        files::write(&mut copy, folder.path(), &mut Dice::new(world.seed));
        self.turn_to(&mut copy);
        let by_chance = self.asking().ask(&speaker.principal, &query.sql).await;
        copy.facts.policies = everything(&copy.facts.sources, false);
        self.turn_to(&mut copy);
        let through_filters = self.asking().ask(&speaker.principal, &query.sql).await;
        copy.facts.policies = everything(&copy.facts.sources, true);
        self.turn_to(&mut copy);
        vec![plainly, by_chance, through_filters, self.asking().ask(&speaker.principal, &query.sql).await]
    }

    fn write(&self, world: &mut World, folder: &Path, dice: &mut Dice) {
        files::write(world, folder, dice);
        if let Some((database, schema)) = &self.database {
            remote::put(world, database, schema);
        }
    }

    fn asking(&self) -> &Asking {
        &self.engines[&self.engine]
    }

    /// Each state of a world is an epoch of its own.
    fn turn_to(&mut self, world: &mut World) {
        self.epoch += 1;
        world.facts.epoch = Some(Epoch(self.epoch));
        match self.engines.get(&self.engine) {
            Some(asking) => asking.turn_to(world),
            None => {
                let (alteration, database) = (Alteration::new(self.engine), self.database.as_ref());
                let database = database.map(|(database, schema)| (database.connection)(schema));
                let asking = Asking::connected(world, UserLimits::default(), &alteration, database);
                self.engines.insert(self.engine, asking);
            }
        }
    }

    /// What is wrong with a triple, as a text; `None` when nothing is.
    async fn complaint(&mut self, world: &mut World, speaker: &Speaker, query: &Query) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        self.write(world, folder.path(), &mut Dice::new(world.seed));
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
        let mut before = self.shapes(speaker, asked).await;
        let mut other = world.clone();
        other.disturb(speaker, 90, dice);
        let folder = tempfile::tempdir().unwrap();
        let alike = files::write_alike(&mut other, folder.path(), dice);
        if let Some((database, schema)) = &self.database {
            remote::put(&mut other, database, schema);
        }
        self.turn_to(&mut other);
        let mut after = self.shapes(speaker, asked).await;
        if !alike {
            // In folders by the values of a column there are no NULLs in it.
            before.iter_mut().chain(&mut after).for_each(|(_, told)| *told = told.replace(" not null", ""));
        }
        for ((what, before), (_, after)) in before.iter().zip(&after) {
            add(&self.tally.shapes);
            if before != after && !self.tells_again(speaker, what, before).await {
                return Err(format!(
                    "{what}\nis told after what is hidden changed as\n{after}\ninstead of\n{before}\n{other}"
                ));
            }
        }
        let canaries = other.canaries(&visible);
        for (query, before) in asked.iter().zip(answers) {
            add(&self.tally.disturbed);
            let after = self.asking().ask(speaker, &query.sql).await;
            if let Some(canary) = canaries.iter().find(|canary| after.told().contains(canary.as_str())) {
                let why = format!("`{canary}` is told, which is nowhere in what she sees");
                return Err(report(&why, &other, speaker, query, &after, before));
            }
            let same = match (&after, before) {
                // Which of several visible values is told of depends on which is read first.
                (after, before) if after.is_engine_failure() || before.is_engine_failure() => true,
                (after, before) if after.is_panic() && before.is_panic() => true,
                (Answer::Refused { kind, .. }, Answer::Refused { kind: wanted, .. }) if query.may_fail => {
                    kind == wanted || query.may_be_refused
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

    /// What she is told of the shapes of answers, and of what there is.
    async fn shapes(&self, speaker: &Speaker, asked: &[Query]) -> Vec<(String, String)> {
        let mut told = Vec::new();
        for query in asked {
            let shape = self.asking().described(speaker, &query.sql).await;
            // Text of CSV and JSON files has another type in the engine than that of Parquet files.
            told.push((query.sql.clone(), shape.replace("Utf8View", "Utf8")));
            let explain = format!("EXPLAIN {}", query.sql);
            let plan = self.asking().ask(speaker, &explain).await.told();
            // A clear scan is planned by its files, which are written anew; whoever sees it all may know that.
            let is_seen_whole = plan.replace("GovernedScan: ", "").contains("Scan: ");
            told.push((explain, if is_seen_whole { String::new() } else { skeleton(&plan) }));
        }
        for listing in LISTINGS {
            let sql = format!("SELECT * FROM {listing}");
            told.push((sql.clone(), self.asking().ask(speaker, &sql).await.sorted().told()));
        }
        told
    }

    /// Whether a plan that is made anew, which may come out in another way, is that one again.
    async fn tells_again(&self, speaker: &Speaker, explain: &str, before: &str) -> bool {
        for _ in 0..50 {
            if explain.starts_with("EXPLAIN") && skeleton(&self.asking().ask(speaker, explain).await.told()) == before {
                return true;
            }
        }
        false
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

/// The kinds of nodes of a plan, how they work, and numbers, line by line; not names of columns: of several that are
/// equal, and for the order of those that it adds, the engine takes another one each time.
fn skeleton(plan: &str) -> String {
    let is_kind = |word: &str| word.starts_with(char::is_uppercase) && word.contains(char::is_lowercase);
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    let line = |line: &str| {
        let words = line.split(|c: char| !(c.is_alphanumeric() || "@_.'".contains(c)));
        let mut words: Vec<&str> = words.filter(|word| is_kind(word) || is_number(word)).collect();
        words.sort_unstable();
        words.join(" ")
    };
    plan.split("Some(").map(line).collect::<Vec<_>>().join("\n")
}

/// Tables that list what there is. A number that is given anew with each state of the policies is none of these.
const LISTINGS: [&str; 7] = [
    "information_schema.schemata",
    "information_schema.tables",
    "information_schema.views",
    "information_schema.columns",
    "pg_catalog.pg_namespace",
    "pg_catalog.pg_class",
    "pg_catalog.pg_attribute",
];

/// Which engine a world is asked of: three in ten of the one that is as it is.
pub(crate) fn engine_of(seed: u64) -> u64 {
    if let Some(engine) = number("WEIR_ORACLE_ENGINE") {
        return engine;
    }
    let mut dice = Dice::new(seed ^ 0xa17e);
    if dice.chance(30) { 0 } else { dice.roll() % ALTERATIONS }
}

#[expect(clippy::print_stderr, reason = "asked for by WEIR_ORACLE_LOUD")]
fn tell(what: &str) {
    eprintln!("{what}");
}

/// Policies that hide nothing: a row filter for each source, and a mask for each column.
fn everything(sources: &[DataSource], masks: bool) -> Vec<StoredPolicy> {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let mut texts = Vec::new();
    for source in sources {
        let plain = source.columns.iter().filter(|column| column.data_type.class() != TypeClass::Nested);
        let columns: Vec<String> = plain.map(|column| quoted(column.name.as_str())).collect();
        let on = format!("on data source {}.{}", quoted(source.name.schema()), quoted(source.name.table()));
        let rows =
            columns.first().map(|c| format!("Only show rows where {c} IS NULL OR {c} IS NOT NULL for everyone {on}"));
        texts.extend(rows);
        let mask = |c: &String| {
            format!("Mask using the custom function coalesce(@column, @column) the column {c} for everyone {on}")
        };
        texts.extend(columns.iter().filter(|_| masks).map(mask));
    }
    let policy = |(text, number): (&String, u32)| {
        let parsed = language::parse(text);
        let [policy] = parsed.policies.as_slice() else { panic!("{text}: {:?}", parsed.diagnostics) };
        let mut policy = policy.clone();
        policy.key = PolicyKey::new(format!("all-{number}")).expect("a key");
        StoredPolicy { id: PolicyId(number), policy }
    };
    texts.iter().zip(1..).map(policy).collect()
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

#[test]
fn canaries_begin_as_the_generator_says() {
    let world = World::generate(3, &Sizes::default());
    let visible = world.visible(&world.speakers[0]);
    assert!(world.canaries(&visible).iter().all(|canary| canary.starts_with(CANARY)));
}
