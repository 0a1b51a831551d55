//! How long a decision takes: `cargo xtask bench decision`.
//!
//! Prints a table of nanoseconds, and writes it to the file after `--report`. `spread`: policies are spread by tags over twenty sources, and every twentieth
//! hits the source that is asked for, though never fewer than ten. `one source`: all of them hit it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Instant;

use weir_model::{
    AttributeKey, Column, ColumnId, ColumnName, DataSource, DataType, Epoch, FileFormat, GroupName, InvalidName,
    Location, PolicyId, PolicyKey, Principal, PrincipalId, SourceId, SourceName, Surroundings, Tag, Value,
};
use weir_policy::ast::{
    Action, Body, Cascade, Circumstance, Circumstances, Columns, Condition, MaskAction, Match, MatchColumn, Merge,
    Method, Policy, Predicate, RowCondition, Rule, Scope, Statement, Subscribe, Subscribers, Test,
};
use weir_policy::{Compare, Facts, Snapshot, SourceDecision, StoredPolicy};

/// As in the `weir` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SOURCES: u32 = 20;
const COLUMNS: u32 = 30;
const PEOPLE: usize = 50;
const ROUNDS: usize = 20_000;
/// Where every decision takes long.
const ROUNDS_OF_MANY: usize = 2_000;

const HEADING: &str = "# How long a decision takes

`cargo xtask bench decision`

One decision on one source for one of 50 people, wall time, as a governed statement asks for it. In the first half policies are spread by tags over 20 sources, in the second all of them hit the source that is asked for.

";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = String::from(HEADING);
    writeln!(out, "| policies | on the source | attribute values | least ns | p50 ns | p99 ns | compile ms |")?;
    writeln!(out, "|---:|---:|---:|---:|---:|---:|---:|")?;
    for spread in [true, false] {
        for policies in [10, 1_000, 10_000] {
            for values in [1, 1_000] {
                let hits = if spread { (policies / SOURCES).max(10) } else { policies };
                let facts = world(policies, values, spread)?;
                let people: Vec<PrincipalId> = facts.principals.iter().map(|p| p.id.clone()).collect();
                let started = Instant::now();
                let snapshot = Snapshot::compile(facts);
                let compiled = started.elapsed().as_millis();
                let rounds = if hits < 1_000 { ROUNDS } else { ROUNDS_OF_MANY };
                let times = measure(&snapshot, &people, rounds);
                let at = |share: usize| times.get(times.len() * share / 1000).copied().unwrap_or_default();
                let (least, p50, p99) = (at(0), at(500), at(990));
                writeln!(out, "| {policies} | {hits} | {values} | {least} | {p50} | {p99} | {compiled} |")?;
            }
        }
    }
    let mut args = std::env::args().skip_while(|arg| arg != "--report").skip(1);
    if let Some(path) = args.next() {
        std::fs::write(path, &out)?;
    }
    write!(io::stdout(), "{out}")?;
    Ok(())
}

/// Sorted nanoseconds of one decision each.
fn measure(snapshot: &Snapshot, people: &[PrincipalId], rounds: usize) -> Vec<u128> {
    let asked = [SourceId(0)];
    let surroundings = Surroundings::default();
    let mut times = Vec::with_capacity(rounds);
    for person in people.iter().cycle().take(rounds) {
        let started = Instant::now();
        let decision = snapshot.decide(person, &surroundings, &asked);
        times.push(started.elapsed().as_nanos());
        assert!(matches!(decision.sources.as_slice(), [(_, SourceDecision::Obliged(..))]), "the policies must bite");
    }
    times.sort_unstable();
    times
}

fn world(policies: u32, values: u32, spread: bool) -> Result<Facts, InvalidName> {
    let sources = (0..SOURCES).map(source).collect::<Result<_, _>>()?;
    let principals = (0..PEOPLE).map(|n| person(n, values)).collect::<Result<_, _>>()?;
    let mut stored = vec![StoredPolicy { id: PolicyId(0), policy: subscription()? }];
    for n in 0..policies {
        let tag = if spread && policies > 10 { n % SOURCES } else { 0 };
        stored.push(StoredPolicy { id: PolicyId(n + 1), policy: data_policy(n / SOURCES, n, tag)? });
    }
    Ok(Facts { epoch: Some(Epoch(1)), principals, sources, policies: stored, ..Facts::default() })
}

fn source(n: u32) -> Result<DataSource, InvalidName> {
    let column = |c: u32| {
        Ok(Column {
            id: ColumnId(n * COLUMNS + c),
            name: ColumnName::new(format!("c{c}"))?,
            data_type: DataType::Text,
            nullable: true,
            tags: BTreeSet::from([Tag::new(format!("Kind.C{c}"))?]),
            profile: None,
        })
    };
    Ok(DataSource {
        id: SourceId(n),
        name: SourceName::new("s", format!("t{n}"))?,
        tags: BTreeSet::from([Tag::new(format!("Domain.T{n}"))?]),
        owners: BTreeSet::new(),
        columns: (0..COLUMNS).map(column).collect::<Result<_, _>>()?,
        parts: Vec::new(),
        row_key: Vec::new(),
        event_time: None,
        lineage: None,
        workspace: None,
        location: Location::Files { format: FileFormat::Parquet, path: PathBuf::from("/data"), partitions: Vec::new() },
    })
}

fn person(n: usize, values: u32) -> Result<Principal, InvalidName> {
    let mut person = Principal::bare(PrincipalId::builtin(format!("user{n}"))?);
    person.groups = (0..10).map(|g| GroupName::new(format!("group{}", (n + g * 7) % 100))).collect::<Result<_, _>>()?;
    let values = (0..values).map(|v| format!("value-{n}-{v}")).collect();
    person.attributes = BTreeMap::from([(AttributeKey::new("region")?, values)]);
    Ok(person)
}

fn subscription() -> Result<Policy, InvalidName> {
    let body = Body::Subscribe(Subscribe { who: Subscribers::Anyone, merge: Merge::Share });
    let statement = Statement { body, on: Circumstances::AllSources };
    Ok(Policy::new(PolicyKey::new("anyone")?, statement))
}

/// Half of the policies filter rows, half mask a column, in turn.
fn data_policy(turn: u32, n: u32, tag: u32) -> Result<Policy, InvalidName> {
    let column = ColumnName::new(format!("c{}", turn % COLUMNS))?;
    let group = |g: u32| Ok(Condition::Test(Test::MemberOf(GroupName::new(format!("group{}", g % 100))?.into())));
    let equals = |value: String| Predicate::Compare {
        op: Compare::Equal,
        left: Box::new(Predicate::Column(weir_policy::ast::ColumnRef { qualifier: None, name: column.clone() }.into())),
        right: Box::new(Predicate::Literal(Value::Text(value))),
    };
    let rules = match turn % 4 {
        0 => vec![Rule {
            action: Action::ShowRows(RowCondition::Match {
                user: Match::Attribute(AttributeKey::new("region")?.into()),
                column: MatchColumn::Named(column.into()),
            }),
            scope: Scope::EveryoneExcept(group(n)?),
        }],
        1 => vec![
            Rule {
                action: Action::ShowRows(RowCondition::Where(equals(format!("a{n}")))),
                scope: Scope::Who(Condition::Any(vec![group(n)?, group(n + 1)?])),
            },
            Rule { action: Action::ShowRows(RowCondition::Where(equals(format!("b{n}")))), scope: Scope::Everyone },
        ],
        _ => vec![Rule {
            action: Action::Mask(MaskAction {
                columns: Columns::Tagged(Tag::new(format!("Kind.C{}", turn % COLUMNS))?.into()),
                method: if turn.is_multiple_of(2) {
                    Method::Hash
                } else {
                    Method::Constant(Value::Text("hidden".to_owned()))
                }
                .into(),
                or_else: Vec::new(),
                when: None,
            }),
            scope: Scope::EveryoneExcept(group(n)?),
        }],
    };
    let on = Circumstances::Any(vec![Circumstance::SourceTagged(Tag::new(format!("Domain.T{tag}"))?.into())]);
    let statement = Statement { body: Body::Data(Cascade { rules }), on };
    Ok(Policy::new(PolicyKey::new(format!("policy-{n}"))?, statement))
}
