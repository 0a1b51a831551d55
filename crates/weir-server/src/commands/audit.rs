use std::io::Write;

use anyhow::bail;
use chrono::SecondsFormat;
use clap::{Args, ValueEnum};
use weir_guard::{Clock, Door, SystemClock};
use weir_model::{Actor, PrincipalId, RequestId, SourceName};
use weir_policy::{Effect, Factor};
use weir_store::{AuditEntry, AuditFilter};

use crate::commands::time;
use crate::context::Context;
use crate::table;

/// Of a statement or reason in the list.
const TEXT_MAX: usize = 70;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir audit
  weir audit --user tara --since 1h
  weir audit --source retail.customer_purchases --refused
  weir audit --request 0199f1c0-8f6e-7a3b-9d51-2c1f0e6b7a42        everything about one read
  weir audit --limit 1000 --json | jq -r .attempt.statement

The newest entry comes last. The reason of a refusal is the true one, which the user was not told. JSON is described in \
docs/audit.md.")]
pub(crate) struct Audit {
    /// Reads of this user, also on behalf of somebody else
    #[arg(long)]
    user: Option<PrincipalId>,
    /// Reads of this data source
    #[arg(long)]
    source: Option<SourceName>,
    /// Reads through this door
    #[arg(long, value_enum)]
    door: Option<DoorName>,
    /// What was refused
    #[arg(long, conflicts_with = "allowed")]
    refused: bool,
    /// What was let through
    #[arg(long)]
    allowed: bool,
    /// Not before: an age such as 30m, 2h or 7d, a day, or a time such as 2024-12-31T23:59:59Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Statements that contain this text
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Everything about one request
    #[arg(long, value_name = "ID", value_parser = request)]
    request: Option<RequestId>,
    /// At most so many, the newest ones
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// One JSON object a line, with everything that is on record
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DoorName {
    Postgres,
    FlightSql,
    Local,
}

fn request(text: &str) -> Result<RequestId, String> {
    serde_json::from_value(text.into()).map_err(|_| "must be the id of a request".to_owned())
}

pub(crate) async fn run(context: &Context, audit: Audit) -> anyhow::Result<()> {
    let now = SystemClock.unix_ms();
    let past = |text: &Option<String>| text.as_deref().map(|text| time::past(text, now)).transpose();
    let filter = AuditFilter {
        principal: audit.user,
        source: audit.source,
        door: audit.door.map(|door| match door {
            DoorName::Postgres => Door::Postgres,
            DoorName::FlightSql => Door::FlightSql,
            DoorName::Local => Door::Local,
        }),
        refused: if audit.refused || audit.allowed { Some(audit.refused) } else { None },
        since_unix_ms: past(&audit.since)?,
        until_unix_ms: past(&audit.until)?,
        request: audit.request,
        text: audit.text,
        limit: Some(audit.limit),
        oldest_first: false,
    };
    let mut entries = context.store().await?.audit_entries(&filter).await?;
    entries.reverse();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    if audit.json {
        for AuditEntry { attempt, outcome } in &entries {
            writeln!(out, "{}", serde_json::json!({ "attempt": attempt, "outcome": outcome }))?;
        }
    } else if let Some(request) = audit.request {
        let Some(entry) = entries.first() else { bail!("request `{request}` is not on record") };
        write!(out, "{}", details(entry))?;
    } else {
        let headings = ["time", "user", "door", "epoch", "decision", "data sources", "rows", "outcome", "statement"];
        writeln!(out, "{}", table::list(&headings, entries.iter().map(row)))?;
    }
    Ok(out.flush()?)
}

fn who(actor: &Actor) -> String {
    if actor.authenticated == actor.effective {
        actor.effective.to_string()
    } else {
        format!("{} as {}", actor.authenticated, actor.effective)
    }
}

fn row(entry: &AuditEntry) -> Vec<String> {
    let AuditEntry { attempt, outcome } = entry;
    let (decision, ended) = match (&attempt.refusal, outcome) {
        (Some(refusal), _) => {
            (format!("refused: {}", refusal.truth.as_str()), table::shortened(&refusal.detail, TEXT_MAX))
        }
        (None, Some(outcome)) => (decisions(entry), outcome.ended.as_str().to_owned()),
        (None, None) => (decisions(entry), "running".to_owned()),
    };
    vec![
        time::shown(attempt.at_unix_ms, SecondsFormat::Secs),
        who(&attempt.actor),
        attempt.door.as_str().to_owned(),
        attempt.epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string()),
        decision,
        table::joined(attempt.sources.iter().map(|source| &source.source)),
        outcome.as_ref().map_or_else(|| "-".to_owned(), |outcome| outcome.rows.to_string()),
        ended,
        table::shortened(&attempt.statement, TEXT_MAX),
    ]
}

/// What was decided, each word once.
fn decisions(entry: &AuditEntry) -> String {
    let mut words: Vec<&str> = entry.attempt.sources.iter().map(|source| source.decision.as_str()).collect();
    words.sort_unstable();
    words.dedup();
    table::joined(words)
}

fn details(entry: &AuditEntry) -> String {
    let AuditEntry { attempt, outcome } = entry;
    let absent = || "-".to_owned();
    let mut lines = vec![
        ("request", attempt.request.to_string()),
        ("time", time::shown(attempt.at_unix_ms, SecondsFormat::Millis)),
        ("user", who(&attempt.actor)),
        ("door", attempt.door.as_str().to_owned()),
        ("client", attempt.client_hint.clone().unwrap_or_else(absent)),
        ("epoch", attempt.epoch.map_or_else(absent, |epoch| epoch.to_string())),
        ("project", attempt.project.as_ref().map_or_else(absent, ToString::to_string)),
        ("purposes", table::joined(&attempt.purposes)),
        ("statement", attempt.statement.clone()),
        ("writes", attempt.writes.as_ref().map_or_else(absent, ToString::to_string)),
    ];
    for source in &attempt.sources {
        let factors = table::joined(source.factors.iter().map(factor));
        lines.push(("data source", format!("{}: {}, by {factors}", source.source, source.decision)));
    }
    if let Some(refusal) = &attempt.refusal {
        lines.push(("refused", format!("{}: {}", refusal.truth.as_str(), refusal.detail)));
        lines.push(("told", refusal.told.clone()));
    }
    if let Some(outcome) = outcome {
        let read = format!(
            "{}, {} rows, {} bytes, {} ms",
            outcome.ended.as_str(),
            outcome.rows,
            outcome.bytes,
            outcome.elapsed_ms
        );
        lines.push(("outcome", read));
        lines.extend(outcome.detail.as_ref().map(|detail| ("because", detail.clone())));
    }
    lines.iter().map(|(label, value)| format!("{label:11}  {}\n", table::printable(value))).collect()
}

fn factor(factor: &Factor) -> String {
    format!("{} ({})", factor.key, effect(&factor.effect))
}

fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Subscribe => "subscription".to_owned(),
        Effect::RowFilter => "row filter".to_owned(),
        Effect::Mask { column, fallback: false } => format!("mask of {column}"),
        Effect::Mask { column, fallback: true } => format!("mask of {column} (fallback)"),
        Effect::Purpose => "purpose limit".to_owned(),
        Effect::Inherited { from, effect } => format!("{} from {from}", self::effect(effect)),
    }
}
