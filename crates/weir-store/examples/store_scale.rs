//! How soon a change in the database decides, at scale: `cargo xtask bench scale`.
//!
//! Appends to the file after `--report`. `--sources`, `--people` and `--policies` change how much there is.

#[path = "../../weir-policy/examples/scale/world.rs"]
mod world;

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_guard::{Clock, SnapshotFeed};
use weir_model::{PolicyKey, SourceId, SourceName, Surroundings, Tag};
use weir_store::{Change, NewColumn, NewSource, Store};
use world::{Size, at, group, memory, parsed, person, person_id, policy, scattered, source};

/// As in the `weir` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Done<T> = Result<T, Box<dyn std::error::Error>>;

const ROUNDS: u32 = 100;
const BATCH: usize = 2_000;

/// Noon of a day.
struct Noon;

impl Clock for Noon {
    fn unix_ms(&self) -> u64 {
        1_735_732_800_000
    }
}

#[tokio::main]
async fn main() -> Done<()> {
    let number = |name: &str, usual: u32| {
        let mut args = std::env::args().skip_while(|arg| arg != name).skip(1);
        args.next().map_or(Ok(usual), |text| text.parse())
    };
    let size = Size {
        sources: number("--sources", 100_000)?,
        people: number("--people", 10_000)?,
        policies: number("--policies", 5_000)?,
    };
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path(), Arc::new(Noon)).await?;
    let started = Instant::now();
    fill(&store, size).await?;
    let filled = started.elapsed();
    store.close().await?;

    // Another process would begin like this.
    let store = Store::open(dir.path(), Arc::new(Noon)).await?;
    let started = Instant::now();
    let mut snapshot = store.current().await?;
    let first = started.elapsed();
    // As a server at work: whatever policies do was worked out before.
    let problems = snapshot.problems().len();

    let mut out = String::from("\n## With the store\n\n");
    writeln!(
        out,
        "The same world in SQLite. A change is published when a reader who asks for the snapshot after the change was \
         made has its first decision on a source that the change touches: the epoch is asked for, what was touched is \
         read, and the snapshot is made. Each is done {ROUNDS} times, and undone outside of the measurement.\n"
    )?;
    writeln!(out, "| | |\n|---|---:|")?;
    writeln!(out, "| database filled, {BATCH} sources at once | {:.1} s |", filled.as_secs_f64())?;
    writeln!(out, "| first snapshot, all of the state read | {:.1} s |", first.as_secs_f64())?;
    writeln!(out, "| policies that do not fit a source | {problems} |\n")?;
    writeln!(out, "| one change | p50 ms | p99 ms | greatest ms |\n|---|---:|---:|---:|")?;
    for kind in KINDS {
        let mut times = Vec::new();
        for round in 0..ROUNDS {
            let Step { before, change, undo, source } = step(kind, round, size)?;
            store.apply("local", before).await?;
            store.current().await?;
            store.apply("local", vec![change]).await?;
            let who = person_id(scattered(round) % size.people)?;
            let started = Instant::now();
            let next = store.current().await?;
            let id = next.source_by_name(&source).map(|source| source.id).unwrap_or(SourceId(1));
            let decision = next.decide(&who, &Surroundings::default(), &[id]);
            times.push(started.elapsed().as_nanos());
            assert!(decision.epoch > snapshot.epoch(), "{}: a decision of the new epoch", kind.name());
            store.apply("local", undo).await?;
            snapshot = store.current().await?;
        }
        times.sort_unstable();
        let millis =
            |share| Duration::from_nanos(u64::try_from(at(&times, share)).unwrap_or(u64::MAX)).as_secs_f64() * 1e3;
        let (p50, p99, most) = (millis(500), millis(990), millis(1000));
        writeln!(out, "| {} | {p50:.2} | {p99:.2} | {most:.2} |", kind.name())?;
    }
    let mut times = Vec::new();
    for _ in 0..1_000 {
        let started = Instant::now();
        store.current().await?;
        times.push(started.elapsed().as_nanos());
    }
    times.sort_unstable();
    let micros = |share| at(&times, share) / 1_000;
    writeln!(out, "| nothing | {:.2} | {:.2} | {:.2} |", ms(micros(500)), ms(micros(990)), ms(micros(1000)))?;
    writeln!(out, "\nGreatest memory of the program: {} MiB.", memory("VmHWM").unwrap_or_default())?;
    let mut args = std::env::args().skip_while(|arg| arg != "--report").skip(1);
    if let Some(path) = args.next() {
        OpenOptions::new().append(true).create(true).open(path)?.write_all(out.as_bytes())?;
    }
    write!(io::stdout(), "{out}")?;
    store.close().await?;
    Ok(())
}

fn ms(micros: u128) -> f64 {
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)).as_secs_f64() * 1e3
}

async fn fill(store: &Store, size: Size) -> Done<()> {
    let people = (0..size.people).map(|n| Ok(Change::PutUser(person(n)?))).collect::<Done<Vec<_>>>()?;
    let sources = (0..size.sources).map(|n| Ok(Change::AddSource(new_source(n)?))).collect::<Done<Vec<_>>>()?;
    let policies = (0..size.policies).map(|n| Ok(Change::PutPolicy(policy(n, size)?))).collect::<Done<Vec<_>>>()?;
    for batch in [people, sources, policies] {
        for changes in batch.chunks(BATCH) {
            store.apply("local", changes.to_vec()).await?;
        }
    }
    Ok(())
}

fn new_source(n: u32) -> Done<NewSource> {
    let source = source(n)?;
    let columns = source.columns.into_iter().map(|column| NewColumn {
        name: column.name,
        data_type: column.data_type,
        nullable: column.nullable,
        tags: column.tags,
    });
    Ok(NewSource {
        name: source.name,
        tags: source.tags,
        owners: source.owners,
        columns: columns.collect(),
        row_key: Vec::new(),
        event_time: None,
        location: source.location,
    })
}

#[derive(Clone, Copy)]
enum Kind {
    NamedPolicy,
    TagPolicy,
    PatternPolicy,
    GlobalPolicy,
    ChangedPolicy,
    RemovedPolicy,
    Group,
    ColumnTag,
    SourceTag,
    NewSource,
    Approval,
}

const KINDS: [Kind; 11] = [
    Kind::NamedPolicy,
    Kind::TagPolicy,
    Kind::PatternPolicy,
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

struct Step {
    /// What has to be there first.
    before: Vec<Change>,
    change: Change,
    undo: Vec<Change>,
    /// One that the change touches.
    source: SourceName,
}

fn step(kind: Kind, round: u32, size: Size) -> Done<Step> {
    let dice = scattered(round);
    let place = dice % size.sources;
    let known = source(place)?;
    let name = known.name.clone();
    let tag = known.columns.iter().flat_map(|column| &column.tags).next().ok_or("no tag")?;
    let put = |text: String| Ok::<_, Box<dyn std::error::Error>>(Change::PutPolicy(parsed("fresh", &text)?));
    let fresh = || Ok::<_, Box<dyn std::error::Error>>(Change::RemovePolicy(PolicyKey::new("fresh")?));
    let by_tag = || format!("Mask by making null columns tagged {tag} for everyone");
    let person_at = dice % size.people;
    let (before, change, undo) = match kind {
        Kind::NamedPolicy => {
            let text = format!("Mask by making null all columns for everyone on data source {name}");
            (Vec::new(), put(text)?, vec![fresh()?])
        }
        Kind::TagPolicy => (Vec::new(), put(by_tag())?, vec![fresh()?]),
        Kind::PatternPolicy => {
            let column = known.columns.get(5).map(|column| &column.name).ok_or("no column")?;
            let text = format!("Mask by making null columns with names spelled like '^{column}$' for everyone");
            (Vec::new(), put(text)?, vec![fresh()?])
        }
        Kind::GlobalPolicy => {
            (Vec::new(), put(format!("Only show rows where region <> 'X{dice}' for everyone"))?, vec![fresh()?])
        }
        Kind::ChangedPolicy => {
            let text = format!("Mask using hashing columns tagged {tag} for everyone");
            (vec![put(by_tag())?], put(text)?, vec![fresh()?])
        }
        Kind::RemovedPolicy => (vec![put(by_tag())?], fresh()?, Vec::new()),
        Kind::Group => {
            let (user, group) = (person_id(person_at)?, group(person_at)?);
            let back = Change::AddToGroup { user: user.clone(), group: group.clone() };
            (Vec::new(), Change::RemoveFromGroup { user, group }, vec![back])
        }
        Kind::ColumnTag => {
            let column = known.columns.get(5).map(|column| column.name.clone()).ok_or("no column")?;
            let tags = |tags| Change::SetColumnTags { source: name.clone(), column: column.clone(), tags };
            (Vec::new(), tags([Tag::new(format!("PII.K{}.Fresh", dice % 200))?].into()), vec![tags([].into())])
        }
        Kind::SourceTag => {
            let tags = |tags| Change::SetSourceTags { source: name.clone(), tags };
            let back = tags(known.tags.clone());
            (Vec::new(), tags([Tag::new(format!("Domain.D{}.Fresh", dice % 97))?].into()), vec![back])
        }
        Kind::NewSource => {
            let new = new_source(size.sources)?;
            let name = new.name.clone();
            let undo = vec![Change::RemoveSource(name.clone())];
            return Ok(Step { before: Vec::new(), change: Change::AddSource(new), undo, source: name });
        }
        Kind::Approval => {
            let text = format!("Allow anyone who asks to subscribe with approval by an owner on data source {name}");
            // Those below own sources.
            let user = person_id(500 + dice % (size.people - 500))?;
            let owner = known.owners.first().cloned().ok_or("no owner")?;
            let reason = "For a measurement".to_owned();
            let policy = Some(PolicyKey::new("fresh")?);
            let ask = Change::RequestSubscription { source: name.clone(), user, reason, policy };
            // Nobody else makes requests, so their ids are counted from 1 on.
            let request = u64::from(round) + 1;
            let approve = Change::ApproveSubscription { request, approver: owner, until_unix_ms: None };
            (vec![put(text)?, ask], approve, vec![Change::WithdrawSubscription { request }, fresh()?])
        }
    };
    Ok(Step { before, change, undo, source: name })
}
