//! A comparison as text for a terminal.

use std::fmt;

use super::{
    AccessChange, ColumnChange, ColumnChangeKind, Comparison, Count, Counts, PolicyChange, RowChange, Seen,
    SourceChange, Warning, Who,
};

/// How much is shown before the rest is only counted.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of each group of people.
    pub names: usize,
    /// Groups of people, of each kind of change at a source.
    pub groups: usize,
    /// Also what was doubtful before.
    pub old_warnings: bool,
}

impl Limits {
    pub const SHORT: Self = Self { names: 5, groups: 8, old_warnings: false };
    pub const ALL: Self = Self { names: usize::MAX, groups: usize::MAX, old_warnings: true };
}

impl Comparison {
    /// The whole comparison, in plain words.
    pub fn shown(&self, limits: Limits) -> impl fmt::Display {
        Shown { comparison: self, limits }
    }
}

struct Shown<'a> {
    comparison: &'a Comparison,
    limits: Limits,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { comparison, limits } = self;
        policies(f, comparison)?;
        writeln!(f)?;
        if comparison.sources.is_empty() {
            writeln!(f, "Nobody sees anything else than before.")?;
        }
        for (number, change) in comparison.sources.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            source(f, change, *limits)?;
        }
        warnings(f, "Warnings", &comparison.warnings)?;
        match comparison.old_warnings.len() {
            0 => Ok(()),
            _ if limits.old_warnings => warnings(f, "Warnings that held before too", &comparison.old_warnings),
            1 => writeln!(f, "\n1 warning held before too"),
            many => writeln!(f, "\n{many} warnings held before too"),
        }
    }
}

fn policies(f: &mut fmt::Formatter<'_>, comparison: &Comparison) -> fmt::Result {
    let count = |kind: fn(&PolicyChange) -> bool| comparison.policies.iter().filter(|change| kind(change)).count();
    let added = count(|change| change.before.is_none());
    let removed = count(|change| change.after.is_none());
    let changed = comparison.policies.len().saturating_sub(added + removed);
    let unchanged = comparison.unchanged.len();
    writeln!(f, "Policies: {added} added, {changed} changed, {removed} removed, {unchanged} unchanged")?;
    for PolicyChange { key, before, after } in &comparison.policies {
        match (before, after) {
            (None, _) => writeln!(f, "  + {key}")?,
            (Some(_), Some(_)) => writeln!(f, "  ~ {key}")?,
            (Some(_), None) => writeln!(f, "  - {key}")?,
        }
        let sides = [("-", before), ("+", after)];
        let both = before.is_some() && after.is_some();
        for (sign, text) in sides.into_iter().filter_map(|(sign, text)| Some((sign, text.as_ref()?))) {
            for line in text.lines() {
                let other = if sign == "-" { after } else { before };
                // What stays the same, such as the header, is not said twice.
                if both && other.as_ref().is_some_and(|other| other.lines().any(|known| known == line)) {
                    continue;
                }
                if !line.starts_with("policy ") || both {
                    wrapped(f, 6, if both { sign } else { "" }, line)?;
                }
            }
        }
    }
    Ok(())
}

fn source(f: &mut fmt::Formatter<'_>, change: &SourceChange, limits: Limits) -> fmt::Result {
    let SourceChange { source, gained, lost, columns, rows } = change;
    writeln!(f, "{source}")?;
    some(f, gained, limits, |f, change| access(f, "gain it", "sees", change, limits))?;
    some(f, lost, limits, |f, change| access(f, "lose it", "saw", change, limits))?;
    some(f, columns, limits, |f, ColumnChange { columns, kind, before, after, who }| {
        let names: Vec<&str> = columns.iter().map(|column| column.as_str()).collect();
        let what = match kind {
            ColumnChangeKind::Masked => "masked",
            ColumnChangeKind::Cleared => "clear",
            ColumnChangeKind::MaskedOtherwise => "masked in another way",
        };
        wrapped(f, 2, "", &format!("{} {what}: {}", names.join(", "), people(who, limits.names)))?;
        wrapped(f, 6, "", &format!("{before} → {after}"))
    })?;
    some(f, rows, limits, |f, RowChange { before, after, who, count }| {
        let text = |filter: &Option<String>| filter.clone().unwrap_or_else(|| "all rows".to_owned());
        wrapped(f, 2, "", &format!("other rows: {}", people(who, limits.names)))?;
        wrapped(f, 6, "", &format!("{} → {}", text(before), text(after)))?;
        counts(f, count.as_ref())
    })
}

fn access(f: &mut fmt::Formatter<'_>, what: &str, sees: &str, change: &AccessChange, limits: Limits) -> fmt::Result {
    let AccessChange { who, denied, sees: Seen { only_where, masked }, count } = change;
    wrapped(f, 2, "", &format!("{what}: {}", people(who, limits.names)))?;
    let when = if sees == "sees" { "before" } else { "then" };
    wrapped(f, 6, "", &format!("{when}: {denied}"))?;
    let rows = only_where.as_ref().map_or_else(|| "all rows".to_owned(), |filter| format!("rows where {filter}"));
    let mut parts = vec![rows];
    for alike in masked {
        let names: Vec<&str> = alike.columns.iter().map(|column| column.as_str()).collect();
        parts.push(format!("{}: {}", names.join(", "), alike.shown));
    }
    if masked.is_empty() {
        parts.push("every column clear".to_owned());
    }
    wrapped(f, 6, "", &format!("{sees} {}", parts.join("; ")))?;
    counts(f, count.as_ref())
}

fn counts(f: &mut fmt::Formatter<'_>, counts: Option<&Counts>) -> fmt::Result {
    let Some(Counts { before, after }) = counts else { return Ok(()) };
    let text = |count: &Count| match count {
        Count::NoAccess => "none".to_owned(),
        Count::Rows(rows) => rows.to_string(),
        Count::NotCounted(why) => format!("not counted ({why})"),
    };
    let each = "of each of them";
    wrapped(f, 6, "", &format!("visible rows {each}: {} → {}", text(before), text(after)))
}

/// The first few, and how many more there are.
fn some<T>(
    f: &mut fmt::Formatter<'_>,
    groups: &[T],
    limits: Limits,
    mut one: impl FnMut(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    groups.iter().take(limits.groups).try_for_each(|group| one(f, group))?;
    match groups.len().saturating_sub(limits.groups) {
        0 => Ok(()),
        more => writeln!(f, "  … and {more} more such groups of people"),
    }
}

fn warnings(f: &mut fmt::Formatter<'_>, heading: &str, warnings: &[Warning]) -> fmt::Result {
    if warnings.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{heading}")?;
    let line = |Warning { policy, code: _, message }: &Warning| match policy {
        Some(policy) => format!("policy `{policy}` {message}"),
        None => message.clone(),
    };
    warnings.iter().try_for_each(|warning| wrapped(f, 2, "", &line(warning)))
}

/// How many they are, and their names up to a limit, those in projects apart.
pub fn people(who: &[Who], names_max: usize) -> String {
    let mut parts: Vec<(Option<&str>, Vec<String>)> = Vec::new();
    for Who { project, user } in who {
        let project = project.as_ref().map(|project| project.as_str());
        match parts.iter_mut().find(|(known, _)| *known == project) {
            Some((_, users)) => users.push(user.to_string()),
            None => parts.push((project, vec![user.to_string()])),
        }
    }
    let part = |(project, users): (Option<&str>, Vec<String>)| {
        let noun = if users.len() == 1 { "user" } else { "users" };
        let more = users.len().saturating_sub(names_max);
        let shown = users.iter().take(names_max).cloned().collect::<Vec<_>>().join(", ");
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let within = project.map(|project| format!(" in project `{project}`")).unwrap_or_default();
        format!("{} {noun}{within} ({shown}{more})", users.len())
    };
    parts.into_iter().map(part).collect::<Vec<_>>().join(", ")
}

fn wrapped(f: &mut fmt::Formatter<'_>, indent: usize, sign: &str, text: &str) -> fmt::Result {
    let sign = if sign.is_empty() { String::new() } else { format!("{sign} ") };
    crate::explain::wrapped(f, indent, &format!("{sign}{text}"))
}
