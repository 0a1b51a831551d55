//! Makes the stored policies those of files, and shows before that what this changes for whom.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use weir_author::{PolicySet, Text};
use weir_guard::{Clock, SystemClock};
use weir_model::Epoch;
use weir_policy::compare::{Limits, compare};
use weir_policy::{Facts, ast};
use weir_store::{Change, Store, StoreError};

use super::count;
use crate::context::{Context, LOCAL};
use crate::{table, terminal};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir policy plan policies/
  weir policy plan policies/ --prune --rows
  weir policy plan policies/ --json > plan.json

Exit status: 0 when nothing would change, 2 when something would, 1 after an error.")]
pub(super) struct Plan {
    #[command(flatten)]
    set: Set,
    /// Count the rows that people see before and after, where the data can be read; each count is on record
    #[arg(long)]
    rows: bool,
    /// Show everything: all names, all groups of people, and warnings that hold already
    #[arg(long)]
    all: bool,
    /// As a JSON object
    #[arg(long, conflicts_with = "all")]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir policy apply policies/
  weir policy apply policies/ --prune --yes
  weir policy apply policies/ --epoch 17 --yes     only what was planned at epoch 17

All of it is one change and one epoch, or nothing is changed. Applied again, it changes nothing.")]
pub(super) struct Apply {
    #[command(flatten)]
    set: Set,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Only if this epoch still holds, which is the one of the plan
    #[arg(long)]
    epoch: Option<u64>,
    /// Show everything: all names, all groups of people, and warnings that hold already
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
struct Set {
    /// Files in English or YAML, or folders of files that end in .policy, .weir, .yaml or .yml; - is standard input
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Remove stored policies that are in no file
    #[arg(long)]
    prune: bool,
}

/// A plan, and what it takes to carry it out.
struct Made {
    plan: weir_author::Plan,
    epoch: Epoch,
    before: Facts,
    after: Facts,
    changes: Vec<Change>,
}

pub(super) async fn plan(context: &Context, Plan { set, rows, all, json }: Plan) -> anyhow::Result<()> {
    let store = context.store().await?;
    let at_unix_ms = this_second();
    let Made { mut plan, before, after, .. } = make(context, &store, &set, at_unix_ms, "nothing was planned").await?;
    let limits = if all { Limits::ALL } else { Limits::SHORT };
    if rows {
        let groups = if json { usize::MAX } else { limits.groups };
        count::count(context, &store, [before, after], at_unix_ms, groups, &mut plan.comparison).await?;
    }
    let text = if json { serde_json::to_string_pretty(&plan)? } else { shown(&plan, limits) };
    writeln!(std::io::stdout(), "{}", table::printable(text.trim_end()))?;
    store.close().await?;
    if plan.is_empty() { Ok(()) } else { Err(crate::ExitStatus(2).into()) }
}

fn shown(plan: &weir_author::Plan, limits: Limits) -> String {
    format!("Plan against epoch {}\n\n{}", plan.comparison.epoch, plan.text(limits))
}

pub(super) async fn apply(context: &Context, Apply { set, yes, epoch, all }: Apply) -> anyhow::Result<()> {
    let store = context.store().await?;
    let made = make(context, &store, &set, this_second(), "nothing was applied").await?;
    if let Some(expected) = epoch.map(Epoch)
        && expected != made.epoch
    {
        return Err(moved(StoreError::Moved { expected, found: made.epoch }));
    }
    let mut out = std::io::stdout();
    let limits = if all { Limits::ALL } else { Limits::SHORT };
    writeln!(out, "{}", table::printable(shown(&made.plan, limits).trim_end()))?;
    if made.changes.is_empty() {
        return Ok(writeln!(out, "\nnothing to do: the stored policies are these already (epoch {})", made.epoch)?);
    }
    if !yes && !terminal::confirm("\nApply this?")? {
        bail!("nothing was applied");
    }
    let count = made.changes.len();
    let done = store.apply_at(made.epoch, LOCAL, made.changes).await.map_err(moved)?;
    let noun = if count == 1 { "policy" } else { "policies" };
    Ok(writeln!(out, "\napplied: {count} {noun} changed (epoch {done})")?)
}

/// Plans speak of moments; parts of a second say nothing in them.
fn this_second() -> u64 {
    SystemClock.unix_ms() / 1_000 * 1_000
}

/// The others are told as they are.
fn moved(e: StoreError) -> anyhow::Error {
    let is_moved = matches!(e, StoreError::Moved { .. });
    let told = anyhow::Error::new(e);
    if is_moved { anyhow::anyhow!("{told}\nhelp: nothing was applied; look at the plan again") } else { told }
}

async fn make(context: &Context, store: &Store, set: &Set, at_unix_ms: u64, otherwise: &str) -> anyhow::Result<Made> {
    let before = store.facts().await?;
    let policies = PolicySet::new(texts(&set.paths)?, Some(&before));
    report(context, &policies)?;
    match policies.wrong() {
        0 => {}
        wrong => bail!("{otherwise}: {wrong} of {} texts cannot be saved", policies.texts.len()),
    }
    let wanted = policies.changes(&before.policies, set.prune);
    let put = wanted.put.into_iter().map(|policy: ast::Policy| Change::PutPolicy(policy));
    let changes: Vec<Change> = put.chain(wanted.remove.into_iter().map(Change::RemovePolicy)).collect();
    let after = store.rehearse(&changes).await?;
    let epoch = before.epoch.unwrap_or(Epoch(0));
    if after.epoch != before.epoch {
        return Err(moved(StoreError::Moved { expected: epoch, found: after.epoch.unwrap_or(Epoch(0)) }));
    }
    let comparison = compare(before.clone(), after.clone(), at_unix_ms);
    let plan = weir_author::Plan { comparison, left_alone: wanted.left_alone };
    Ok(Made { plan, epoch, before, after, changes })
}

pub(super) fn texts(paths: &[PathBuf]) -> anyhow::Result<Vec<Text>> {
    let mut texts = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            let super::Text { name, text } = super::read(path)?;
            texts.push(Text { name, text });
        } else {
            texts.extend(weir_author::policy_texts(std::slice::from_ref(path))?);
        }
    }
    Ok(texts)
}

/// Prints all that is wrong or doubtful, with its place.
pub(super) fn report(context: &Context, set: &PolicySet) -> anyhow::Result<()> {
    let mut err = std::io::stderr();
    for finding in &set.findings {
        let Some(text) = set.texts.get(finding.text) else { continue };
        writeln!(err, "{}", terminal::diagnostic(&finding.diagnostic, &text.name, &text.text, context.color))?;
    }
    Ok(())
}
