//! How snapshots, their successors and decisions do at scale: `cargo xtask bench scale`.
//!
//! Writes the report to the file after `--report`. `--sources`, `--people` and `--policies` change how much there is.

mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use weir_model::{Epoch, PolicyId, PrincipalId, SourceId, Surroundings, Tag};
use weir_policy::ast::Policy;
use weir_policy::{Changes, Facts, Snapshot, SourceDecision, SourceFacts, StoredPolicy};
use world::{ATTRIBUTES, COLUMNS, Size, at, group, memory, parsed, person, person_id, policy, scattered, source};

/// As in the `weir` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Done<T> = Result<T, Box<dyn std::error::Error>>;

const ROUNDS: u32 = 200;
const DECISIONS: u32 = 200_000;
const FIRST_DECISIONS: u32 = 20_000;

fn main() -> Done<()> {
    let number = |name: &str, usual: u32| {
        let mut args = std::env::args().skip_while(|arg| arg != name).skip(1);
        args.next().map_or(Ok(usual), |text| text.parse())
    };
    let size = Size {
        sources: number("--sources", 100_000)?,
        people: number("--people", 10_000)?,
        policies: number("--policies", 5_000)?,
    };
    let mut out = heading(size)?;

    let facts = facts(size)?;
    let of_facts = memory("VmRSS").unwrap_or_default();
    let started = Instant::now();
    let snapshot = Snapshot::compile(facts);
    let built = started.elapsed();
    let people: Vec<PrincipalId> = (0..size.people).map(person_id).collect::<Result<_, _>>()?;
    let mut bench = Bench { size, people, snapshot, epoch: 1 };
    let (first, _) = bench.decisions(FIRST_DECISIONS);
    let started = Instant::now();
    let problems = bench.snapshot.problems().len();
    let bound = started.elapsed();
    let resident = memory("VmRSS").unwrap_or_default();
    let (warm, open) = bench.decisions(DECISIONS);

    writeln!(out, "| | |\n|---|---:|")?;
    writeln!(out, "| snapshot built from facts in memory | {:.2} s |", built.as_secs_f64())?;
    writeln!(
        out,
        "| policies worked out on all sources, which is done when first asked | {:.2} s |",
        bound.as_secs_f64()
    )?;
    writeln!(out, "| policies that do not fit a source | {problems} |")?;
    writeln!(out, "| memory with the facts alone | {of_facts} MiB |")?;
    writeln!(out, "| memory with everything worked out | {resident} MiB |\n")?;
    writeln!(out, "| decisions | count | p50 µs | p99 µs | greatest µs |\n|---|---:|---:|---:|---:|")?;
    for (what, times) in [("first of its source", &first), ("any later one", &warm)] {
        let (p50, p99, most) = (micros(at(times, 500)), micros(at(times, 990)), micros(at(times, 1000)));
        writeln!(out, "| {what} | {} | {p50} | {p99} | {most} |", times.len())?;
    }
    writeln!(out, "\nOf the later ones {open} were no denials.\n")?;
    writeln!(
        out,
        "| one change | sources that it touches | p50 ms | p99 ms | greatest ms |\n|---|---:|---:|---:|---:|"
    )?;
    for kind in KINDS {
        let (mut times, touched) = bench.publish(kind)?;
        times.sort_unstable();
        let millis =
            |share| Duration::from_nanos(u64::try_from(at(&times, share)).unwrap_or(u64::MAX)).as_secs_f64() * 1e3;
        let (p50, p99, most) = (millis(500), millis(990), millis(1000));
        writeln!(out, "| {} | {touched} | {p50:.3} | {p99:.3} | {most:.3} |", kind.name())?;
    }
    writeln!(out, "\nGreatest memory of the program: {} MiB.", memory("VmHWM").unwrap_or_default())?;
    let mut args = std::env::args().skip_while(|arg| arg != "--report").skip(1);
    if let Some(path) = args.next() {
        std::fs::write(path, &out)?;
    }
    write!(io::stdout(), "{out}")?;
    Ok(())
}

fn heading(Size { sources, people, policies }: Size) -> Result<String, std::fmt::Error> {
    let mut out = String::from("# Deciding at scale\n\n`cargo xtask bench scale`\n\n## In memory\n\n");
    writeln!(
        out,
        "{sources} data sources with {} columns, {people} people with {ATTRIBUTES} attributes and 5 groups each, {policies} policies: \
         40 % by column tag, 20 % by schema, 20 % by name, half of them with a lookup, 10 % by patterns of column names, 10 % subscriptions.\n\n\
         A change is published when the snapshot that has it has given its first decision on a source that the change touches. \
         Each is done {ROUNDS} times, and undone outside of the measurement.\n",
        u64::from(sources) * u64::from(COLUMNS)
    )?;
    Ok(out)
}

fn facts(size: Size) -> Done<Facts> {
    let stored = |n: u32| Ok(StoredPolicy { id: PolicyId(n + 1), policy: policy(n, size)? });
    Ok(Facts {
        epoch: Some(Epoch(1)),
        principals: (0..size.people).map(person).collect::<Result<_, _>>()?,
        sources: (0..size.sources).map(source).collect::<Result<_, _>>()?,
        policies: (0..size.policies).map(stored).collect::<Done<_>>()?,
        ..Facts::default()
    })
}

fn micros(nanos: u128) -> String {
    let micros = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).as_secs_f64() * 1e6;
    format!("{micros:.1}")
}

#[derive(Clone, Copy)]
enum Kind {
    NamedPolicy,
    TagPolicy,
    PatternPolicy,
    BroadPatternPolicy,
    GlobalPolicy,
    ChangedPolicy,
    RemovedPolicy,
    Group,
    ColumnTag,
    SourceTag,
    NewSource,
    Approval,
}

const KINDS: [Kind; 12] = [
    Kind::NamedPolicy,
    Kind::TagPolicy,
    Kind::PatternPolicy,
    Kind::BroadPatternPolicy,
    Kind::GlobalPolicy,
    Kind::ChangedPolicy,
    Kind::RemovedPolicy,
    Kind::Group,
    Kind::ColumnTag,
    Kind::SourceTag,
    Kind::NewSource,
    Kind::Approval,
];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::NamedPolicy => "a policy for a named source is added",
            Kind::TagPolicy => "a policy by a column tag is added",
            Kind::PatternPolicy => "a policy by a pattern of column names is added",
            Kind::BroadPatternPolicy => "a policy by a pattern that two column names of nine match is added",
            Kind::GlobalPolicy => "a policy for all rows of all sources is added",
            Kind::ChangedPolicy => "a policy by a column tag is changed",
            Kind::RemovedPolicy => "a policy by a column tag is removed",
            Kind::Group => "a user leaves a group",
            Kind::ColumnTag => "a column is tagged",
            Kind::SourceTag => "a source is tagged",
            Kind::NewSource => "a source is added",
            Kind::Approval => "a request is approved",
        }
    }
}

struct Bench {
    size: Size,
    people: Vec<PrincipalId>,
    snapshot: Snapshot,
    epoch: u64,
}

/// What to do, what undoes it, and a source that it touches.
struct Step {
    change: Changes,
    undo: Changes,
    source: SourceId,
}

impl Bench {
    /// Sorted nanoseconds of one decision each, for somebody on some source, and how many were no denials.
    fn decisions(&self, count: u32) -> (Vec<u128>, usize) {
        let surroundings = Surroundings::default();
        let (mut times, mut open) = (Vec::new(), 0);
        for (n, person) in (0..count).zip(self.people.iter().cycle().step_by(7)) {
            let asked = [SourceId(scattered(n) % self.size.sources + 1)];
            let started = Instant::now();
            let decision = self.snapshot.decide(person, &surroundings, &asked);
            times.push(started.elapsed().as_nanos());
            open += decision.sources.iter().filter(|(_, one)| !matches!(one, SourceDecision::Deny(..))).count();
        }
        times.sort_unstable();
        (times, open)
    }

    fn changes(&mut self) -> Changes {
        self.epoch += 1;
        let (principals, sources, policies) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Changes { epoch: Epoch(self.epoch), principals, sources, policies, projects: None, impersonations: None }
    }

    /// Nanoseconds of each, and how many sources the last one touched.
    fn publish(&mut self, kind: Kind) -> Done<(Vec<u128>, usize)> {
        let mut times = Vec::new();
        let mut touched = 0;
        for round in 0..ROUNDS {
            let Step { change, undo, source } = self.step(kind, scattered(round))?;
            let person = self.people.get(round as usize % self.people.len()).ok_or("nobody")?;
            let started = Instant::now();
            let next = self.snapshot.after(change);
            let decision = next.decide(person, &Surroundings::default(), &[source]);
            times.push(started.elapsed().as_nanos());
            assert!(decision.epoch == next.epoch() && decision.sources.len() == 1, "a decision of the new epoch");
            touched = next.sources_unlike(&self.snapshot);
            self.snapshot = next.after(undo);
        }
        Ok((times, touched))
    }

    fn step(&mut self, kind: Kind, dice: u32) -> Done<Step> {
        let (mut change, mut undo) = (self.changes(), self.changes());
        let place = dice % self.size.sources;
        let mut id = SourceId(place + 1);
        let fresh = PolicyId(self.size.policies + 1);
        let mut put = |id: PolicyId, new: Option<Policy>, old: Option<Policy>| {
            change.policies.insert(id, new);
            undo.policies.insert(id, old);
        };
        let known = source(place)?;
        let tag = known.columns.iter().flat_map(|column| &column.tags).next().ok_or("no tag")?;
        let add = |text: String| parsed("fresh", &text).map(Some);
        match kind {
            Kind::NamedPolicy => {
                let text = format!("Mask by making null all columns for everyone on data source {}", known.name);
                put(fresh, add(text)?, None);
            }
            Kind::TagPolicy => put(fresh, add(format!("Mask by making null columns tagged {tag} for everyone"))?, None),
            Kind::PatternPolicy => {
                let name = known.columns.get(5).map(|column| &column.name).ok_or("no column")?;
                let text = format!("Mask by making null columns with names spelled like '^{name}$' for everyone");
                put(fresh, add(text)?, None);
            }
            Kind::BroadPatternPolicy => {
                let text = "Mask by making null columns with names spelled like '^col_1' for everyone";
                put(fresh, add(text.to_owned())?, None);
                id = self.with_column("col_1")?;
            }
            Kind::GlobalPolicy => {
                put(fresh, add(format!("Only show rows where region <> 'X{dice}' for everyone"))?, None)
            }
            Kind::ChangedPolicy | Kind::RemovedPolicy => {
                // Those by tag are four of ten.
                let n = dice % self.size.policies / 10 * 10;
                let old = policy(n, self.size)?;
                id = self.reached(&old)?;
                let new = match kind {
                    Kind::ChangedPolicy => Some(Policy { priority: 7, ..old.clone() }),
                    _ => None,
                };
                put(PolicyId(n + 1), new, Some(old));
            }
            Kind::Group => {
                let old = person(dice % self.size.people)?;
                let mut new = old.clone();
                new.groups.remove(&group(dice % self.size.people)?);
                change.principals.insert(old.id.clone(), Some(new));
                undo.principals.insert(old.id.clone(), Some(old));
            }
            Kind::ColumnTag | Kind::SourceTag | Kind::Approval => {
                let old = SourceFacts::bare(known);
                let mut new = old.clone();
                match kind {
                    Kind::ColumnTag => {
                        let column = new.source.columns.get_mut(5).ok_or("no column")?;
                        column.tags.insert(Tag::new(format!("PII.K{}", dice % 200))?);
                    }
                    Kind::SourceTag => drop(new.source.tags.insert(Tag::new(format!("Domain.D{}", dice % 97))?)),
                    _ => {
                        let approved = new.approved.entry(PolicyId(20)).or_default();
                        approved.insert(person_id(dice % self.size.people)?);
                    }
                }
                change.sources.insert(id, Some(new));
                undo.sources.insert(id, Some(old));
            }
            Kind::NewSource => {
                let new = source(self.size.sources)?;
                id = new.id;
                change.sources.insert(id, Some(SourceFacts::bare(new)));
                undo.sources.insert(id, None);
            }
        }
        Ok(Step { change, undo, source: id })
    }

    /// A source with a column whose name begins so.
    fn with_column(&self, start: &str) -> Done<SourceId> {
        for n in 0..self.size.sources {
            let source = source(n)?;
            if source.columns.iter().any(|column| column.name.as_str().starts_with(start)) {
                return Ok(source.id);
            }
        }
        Err(format!("no column {start}…").into())
    }

    /// A source with a column that the policy masks by its tag.
    fn reached(&self, policy: &Policy) -> Done<SourceId> {
        let text = weir_policy::language::to_english(policy);
        for n in 0..self.size.sources {
            let source = source(n)?;
            let tags = source.columns.iter().flat_map(|column| &column.tags);
            if tags.into_iter().any(|tag| text.contains(&format!("tagged {tag} "))) {
                return Ok(source.id);
            }
        }
        Err("a policy that reaches nothing".into())
    }
}
