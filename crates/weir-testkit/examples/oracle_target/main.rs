//! Points the oracle at another system through its PostgreSQL port: loads generated worlds, puts their policies in force in the
//! system's own way, asks generated queries as a reader, and compares with the same system over the visible copy.
//!
//! Everything is made in two databases of its own, `oracle_governed` and `oracle_visible`, which are dropped first.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

mod lower;
mod postgres;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::str::FromStr as _;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};
use weir_model::{SourceId, TypeClass};
use weir_policy::{Snapshot, SourceDecision};
use weir_testkit::generate::{Query, Sizes, Speaker, World, queries};
use weir_testkit::{Dice, Row};

use postgres::READER;

#[derive(Parser)]
struct Args {
    /// Who may make databases and roles, as `postgres://user@host:port/database`.
    #[arg(long)]
    target: String,
    /// In whose way policies are put in force.
    #[arg(long, value_parser = ["postgres"], default_value = "postgres")]
    adapter: String,
    /// Worlds, as `from..to`.
    #[arg(long, default_value = "0..200")]
    seeds: String,
    /// For each person of a world.
    #[arg(long, default_value_t = 12)]
    queries: usize,
    /// Where the report is written, as Markdown.
    #[arg(long)]
    report: Option<PathBuf>,
}

/// What became of the questions.
#[derive(Default)]
struct Counts {
    worlds: u64,
    /// Sources as a person sees them, by the way in which the policy was put in force.
    sources: BTreeMap<&'static str, u64>,
    outcomes: BTreeMap<&'static str, u64>,
    /// Some of each kind of what is wrong.
    examples: BTreeMap<&'static str, Vec<String>>,
}

/// Examples of each kind that are told.
const EXAMPLES_MAX: usize = 2;

impl Counts {
    fn add(&mut self, outcome: &'static str) {
        *self.outcomes.entry(outcome).or_default() += 1;
    }

    fn wrong(&mut self, outcome: &'static str, example: String) {
        self.add(outcome);
        let examples = self.examples.entry(outcome).or_default();
        if examples.len() < EXAMPLES_MAX {
            examples.push(example);
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let (from, to) = args.seeds.split_once("..").context("seeds are `from..to`")?;
    let (from, to): (u64, u64) = (from.parse()?, to.parse()?);
    let admin = connect(&args.target, None).await?;
    for database in ["oracle_governed", "oracle_visible"] {
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS {database}")).await?;
        // Letters are told apart and ordered as Weir does it.
        let how = "TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'";
        admin.batch_execute(&format!("CREATE DATABASE {database} {how}")).await?;
    }
    let exists = admin.query_opt("SELECT 1 FROM pg_roles WHERE rolname = $1", &[&READER]).await?;
    if exists.is_none() {
        admin.batch_execute(&format!("CREATE ROLE {READER}")).await?;
    }
    let version = admin.query_one("SELECT version()", &[]).await?.try_get::<_, String>(0)?;
    let mut run = Run {
        owner: connect(&args.target, Some("oracle_governed")).await?,
        reader: connect(&args.target, Some("oracle_governed")).await?,
        plain: connect(&args.target, Some("oracle_visible")).await?,
        counts: Counts::default(),
    };
    for client in [&run.owner, &run.reader, &run.plain] {
        client.batch_execute("SET statement_timeout = '20s'; SET client_min_messages = error").await?;
    }
    run.reader.batch_execute(&format!("SET SESSION AUTHORIZATION {READER}")).await?;
    for seed in from..to {
        run.world(seed, args.queries).await.with_context(|| format!("world {seed}"))?;
    }
    let report = run.report(&version, &args);
    println!("{report}");
    if let Some(path) = &args.report {
        std::fs::write(path, &report).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

async fn connect(target: &str, database: Option<&str>) -> Result<Client> {
    let mut config = Config::from_str(target).context("a target is `postgres://user@host:port/database`")?;
    if let Some(database) = database {
        config.dbname(database);
    }
    let (client, connection) = config.connect(NoTls).await.context("cannot connect to the target")?;
    tokio::spawn(connection);
    Ok(client)
}

struct Run {
    /// Makes the tables and policies.
    owner: Client,
    /// Asks under them.
    reader: Client,
    /// Asks over the visible copy.
    plain: Client,
    counts: Counts,
}

/// What a query gave.
#[derive(Debug, PartialEq)]
enum Answer {
    Rows(Vec<Vec<Option<String>>>),
    Failed { code: String, text: String },
}

impl Answer {
    fn told(&self) -> String {
        match self {
            Answer::Rows(rows) => rows.iter().flatten().flatten().cloned().collect::<Vec<_>>().join(" "),
            Answer::Failed { text, .. } => text.clone(),
        }
    }
}

impl Run {
    async fn world(&mut self, seed: u64, count: usize) -> Result<()> {
        let sizes = Sizes { common_dialect: true, ..Sizes::default() };
        let mut world = World::generate(seed, &sizes);
        flatten(&mut world);
        self.counts.worlds += 1;
        for speaker in world.speakers.clone() {
            let decided = decide(&world, &speaker);
            let mut expressed = BTreeMap::new();
            for source in &world.facts.sources {
                let Some(decision) = decided.get(&source.id) else { continue };
                let way = match postgres::governed(&world, source, decision) {
                    None => "no equivalent",
                    Some(statements) => {
                        expressed.insert(source.id, decision.clone());
                        match decision {
                            SourceDecision::Deny(..) => "no privilege",
                            SourceDecision::Clear(_) => "privilege alone",
                            SourceDecision::Obliged(..) if statements.len() == 2 => "view with a security barrier",
                            SourceDecision::Obliged(..) => "row security",
                        }
                    }
                };
                *self.counts.sources.entry(way).or_default() += 1;
            }
            let mut visible = world.visible(&speaker);
            // Without columns that policies speak of, some are denied for which the naive oracle sees nothing wrong as
            // long as there are no rows.
            let is_open =
                |source: &SourceId| expressed.get(source).is_some_and(|d| !matches!(d, SourceDecision::Deny(..)));
            visible.retain(|source, _| is_open(source));
            if !visible.is_empty() {
                self.speaker(&world, &speaker, &expressed, &visible, count).await?;
            }
        }
        Ok(())
    }

    async fn speaker(
        &mut self,
        world: &World,
        speaker: &Speaker,
        decided: &BTreeMap<SourceId, SourceDecision>,
        visible: &BTreeMap<SourceId, Vec<Row>>,
        count: usize,
    ) -> Result<()> {
        let sizes = Sizes { common_dialect: true, ..Sizes::default() };
        let mut dice = Dice::new(world.seed ^ 0x5eed);
        let asked = queries(world, visible, &mut dice, &sizes, &[], count);
        let open = postgres::open_tables(&world.facts.sources, visible).context("tables of plain types")?;
        execute(&self.plain, &open).await?;
        let governed = postgres::governed_tables(world, decided).context("policies with an equivalent")?;
        execute(&self.owner, &governed).await?;
        let canaries = world.canaries(visible);
        let mut answers = Vec::new();
        for query in &asked {
            let governed = ask(&self.reader, &query.sql).await?;
            let expected = ask(&self.plain, &query.sql).await?;
            self.judge(query, &governed, &expected, &canaries, &format!("world {}, {speaker}", world.seed));
            answers.push(governed);
        }
        let statistics = self.statistics(world, visible).await?;
        let mut other = world.clone();
        other.disturb(speaker, 90, &mut dice);
        if other.tables == world.tables {
            return Ok(());
        }
        // What the person is decided to see is as before; what stands in the tables is not.
        let governed = postgres::governed_tables(&other, decided).context("policies with an equivalent")?;
        execute(&self.owner, &governed).await?;
        for (query, before) in asked.iter().zip(&answers) {
            let after = ask(&self.reader, &query.sql).await?;
            let same = match (&after, before) {
                (Answer::Failed { code, .. }, Answer::Failed { code: wanted, .. }) => code == wanted,
                (after, before) => after == before,
            };
            let example =
                || format!("world {}, {speaker}: {}\n  before {before:?}\n  after  {after:?}", world.seed, query.sql);
            if same {
                self.counts.add("the same after what is hidden had changed");
            } else {
                self.counts.wrong("LEAK: another answer after what is hidden had changed", example());
            }
        }
        for (what, before) in statistics {
            let after = ask(&self.reader, &what).await?;
            let example =
                || format!("world {}, {speaker}: {what}\n  before {before:?}\n  after  {after:?}", world.seed);
            if after == before {
                self.counts.add("statistics are the same after what is hidden had changed");
            } else {
                self.counts.wrong("LEAK: statistics tell of what is hidden", example());
            }
        }
        Ok(())
    }

    /// What the reader is told of tables besides their rows.
    async fn statistics(&self, world: &World, visible: &BTreeMap<SourceId, Vec<Row>>) -> Result<Vec<(String, Answer)>> {
        let mut told = Vec::new();
        for source in world.facts.sources.iter().filter(|source| visible.contains_key(&source.id)) {
            let name = postgres::name(source);
            for what in [
                format!(
                    "SELECT reltuples FROM pg_catalog.pg_class WHERE oid = '{}'::regclass",
                    name.replace('\'', "''")
                ),
                format!("EXPLAIN SELECT * FROM {name}"),
            ] {
                let answer = ask(&self.reader, &what).await?;
                told.push((what, answer));
            }
        }
        Ok(told)
    }

    fn judge(&mut self, query: &Query, governed: &Answer, expected: &Answer, canaries: &BTreeSet<String>, who: &str) {
        let example = || format!("{who}: {}\n  governed {governed:?}\n  expected {expected:?}", query.sql);
        let told = governed.told();
        if canaries.iter().any(|canary| told.contains(canary.as_str())) {
            return self.counts.wrong("LEAK: a hidden value is told", example());
        }
        match (governed, expected) {
            (Answer::Rows(rows), Answer::Rows(_)) if governed == expected => {
                self.counts.add(if rows.is_empty() { "agree, no rows" } else { "agree, with rows" });
            }
            (Answer::Rows(_), Answer::Rows(_)) => self.counts.wrong("DISAGREE: other rows", example()),
            (Answer::Failed { code, .. }, Answer::Failed { code: wanted, .. }) if code == wanted => {
                self.counts.add(if code.starts_with("42") { "not understood" } else { "agree, both fail" });
            }
            (Answer::Failed { .. }, Answer::Failed { .. }) => self.counts.wrong("DISAGREE: other errors", example()),
            (Answer::Failed { .. }, Answer::Rows(_)) => {
                self.counts.wrong("LEAK: fails although nothing visible makes it fail", example());
            }
            (Answer::Rows(_), Answer::Failed { .. }) if query.may_fail => {
                self.counts.wrong("DISAGREE: does not fail on what is visible", example());
            }
            (Answer::Rows(_), Answer::Failed { .. }) => {
                self.counts.add("the plain side failed on what the other did not come to")
            }
        }
    }

    fn report(&self, version: &str, args: &Args) -> String {
        let mut text =
            format!("{version}, adapter `{}`, worlds {}: {} worlds.\n\n", args.adapter, args.seeds, self.counts.worlds);
        let mut table = |head: &str, counts: &BTreeMap<&'static str, u64>| {
            let _ = writeln!(text, "| {head} | how often |\n| --- | ---: |");
            for (what, count) in counts {
                let _ = writeln!(text, "| {what} | {count} |");
            }
            text.push('\n');
        };
        table("a source as a person sees it is put in force by", &self.counts.sources);
        table("what came of a question", &self.counts.outcomes);
        for (what, examples) in &self.counts.examples {
            for example in examples {
                let _ = writeln!(text, "{what}:\n\n```\n{example}\n```\n");
            }
        }
        text
    }
}

/// Leaves out columns with values inside of their values.
fn flatten(world: &mut World) {
    for source in &mut world.facts.sources {
        let plain: Vec<bool> = source.columns.iter().map(|c| c.data_type.class() != TypeClass::Nested).collect();
        let keep = |place: usize| plain.get(place).copied().unwrap_or_default();
        let mut place = 0..;
        source.columns.retain(|_| place.next().is_some_and(keep));
        source.parts.clear();
        for row in world.tables.get_mut(&source.id).into_iter().flatten() {
            let mut place = 0..;
            row.retain(|_| place.next().is_some_and(keep));
        }
        source.row_key.retain(|id| source.columns.iter().any(|c| c.id == *id));
    }
}

fn decide(world: &World, speaker: &Speaker) -> BTreeMap<SourceId, SourceDecision> {
    let snapshot = Snapshot::compile(world.facts.clone());
    let sources: Vec<SourceId> = world.facts.sources.iter().map(|source| source.id).collect();
    snapshot.decide(&speaker.principal, &speaker.surroundings(), &sources).sources.into_iter().collect()
}

async fn execute(client: &Client, statements: &[String]) -> Result<()> {
    for statement in statements {
        client.batch_execute(statement).await.with_context(|| statement.clone())?;
    }
    Ok(())
}

async fn ask(client: &Client, sql: &str) -> Result<Answer> {
    let messages = match client.simple_query(sql).await {
        Ok(messages) => messages,
        Err(error) => {
            let Some(told) = error.as_db_error() else { bail!("{sql}: {error}") };
            let text = format!("{}: {}", told.severity(), told.message());
            return Ok(Answer::Failed { code: told.code().code().to_owned(), text });
        }
    };
    let mut rows = Vec::new();
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            rows.push((0..row.len()).map(|place| row.get(place).map(rounded)).collect::<Vec<_>>());
        }
    }
    rows.sort();
    Ok(Answer::Rows(rows))
}

/// Sums of floats as far as they do not depend on the order of rows.
fn rounded(text: &str) -> String {
    let number = text.contains(['.', 'e']).then(|| text.parse::<f64>().ok()).flatten();
    match number {
        Some(number) if number.abs() < 1e-9 => format!("{:.9e}", 0.0),
        Some(number) => format!("{number:.9e}"),
        None => text.to_owned(),
    }
}
