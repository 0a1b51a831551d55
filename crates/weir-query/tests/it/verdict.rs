//! How the governed answer to a query and that on the visible copy agree, and what is told where they do not.

use std::collections::{BTreeMap, BTreeSet};

use weir_model::SourceId;
use weir_policy::Snapshot;
use weir_testkit::generate::{Query, Speaker, World};
use weir_testkit::{Cell, Row};

use crate::altered::Alteration;
use crate::asking::{Answer, Kind};
use crate::oracle::engine_of;

/// How governed and plain engine agree.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
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
    /// The plain engine with the settings and rules of the governed one is wrong in the same way.
    AlteredWrong,
}

/// Whether the error of a cast quotes a text that is in the visible rows.
pub(crate) fn quotes_what_is_seen(told: &str, visible: &BTreeMap<SourceId, Vec<Row>>) -> bool {
    let quoted = told.strip_prefix("cannot cast string '").and_then(|rest| Some(rest.rsplit_once("' to value of ")?.0));
    let seen = |quoted: &str| visible.values().flatten().flatten().any(|c| matches!(c, Cell::Text(t) if t == quoted));
    quoted.is_some_and(seen)
}

/// Whether the governed answer is right; the text tells what is wrong.
pub(crate) fn verdict(
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
        (Answer::Refused { kind, .. }, Answer::Refused { kind: wanted, .. })
            if query.may_be_refused && (*kind != Kind::Other || *wanted == Kind::Other) =>
        {
            Ok(Outcome::BothFail)
        }
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

pub(crate) fn report(
    why: &str,
    world: &World,
    speaker: &Speaker,
    query: &Query,
    governed: &Answer,
    expected: &Answer,
) -> String {
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
        "{why}\nseed {}, {speaker}, {}\n{}\n\ngoverned: {}\n\nexpected: {}\n\n{world}\n{}\n\n{decision:?}\n\nagain: WEIR_ORACLE_SEEDS={}..{}",
        world.seed,
        Alteration::new(engine_of(world.seed)),
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
