//! What is known of data sources, for people.

use std::collections::BTreeSet;
use std::io::Write;

use weir_model::{ColumnId, DataSource, Location, SourceName};
use weir_policy::Facts;

use super::lineage;
use crate::commands::certification::Certifications;
use crate::context::find_source;
use crate::table;

fn location(source: &DataSource) -> (String, String) {
    match &source.location {
        Location::Files { format, path, partitions: _ } => (format.as_str().to_owned(), path.display().to_string()),
        Location::Objects { connection, format, url, partitions: _ } => {
            (format.as_str().to_owned(), format!("{url} of connection {connection}"))
        }
        Location::Table { connection, schema, table } => {
            ("table".to_owned(), format!("{schema}.{table} of connection {connection}"))
        }
        Location::View { query } => ("view".to_owned(), query.clone()),
    }
}

pub(super) fn list(facts: &Facts) -> anyhow::Result<()> {
    let mut sources: Vec<&DataSource> = facts.sources.iter().collect();
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    let derived = sources.iter().any(|source| source.lineage.is_some());
    let rows = sources.iter().map(|source| {
        let (format, path) = location(source);
        let mut row = vec![
            source.name.to_string(),
            source.columns.len().to_string(),
            table::joined(&source.tags),
            table::joined(&source.owners),
            format,
            path,
        ];
        if derived {
            row.push(table::joined(lineage::parents(source, facts)));
        }
        row
    });
    let mut headings = vec!["data source", "columns", "tags", "owners", "format", "path"];
    if derived {
        headings.push("made from");
    }
    Ok(writeln!(std::io::stdout(), "{}", table::list(&headings, rows))?)
}

pub(super) fn show(facts: &Facts, certifications: &Certifications, name: &SourceName) -> anyhow::Result<()> {
    let source = find_source(facts, name)?;
    let (format, path) = location(source);
    let partitions = match &source.location {
        Location::Files { partitions, .. } | Location::Objects { partitions, .. } => partitions.as_slice(),
        Location::Table { .. } | Location::View { .. } => &[],
    };
    let selected = facts.selected.iter().filter(|(id, _)| *id == source.id).map(|(_, user)| user);
    let approved = facts.approved.iter().filter(|(_, id, _)| *id == source.id).map(|(_, _, user)| user);
    let approved: BTreeSet<_> = approved.collect();
    let chosen = facts.chosen.iter().filter(|(_, id)| *id == source.id).map(|(policy, _)| policy);
    let projects = facts.projects.iter().filter(|project| project.sources.contains(&source.id));
    let column = |id: &ColumnId| source.column_by_id(*id).map(|column| &column.name);
    let lines = [
        ("data source", name.to_string()),
        ("format", format),
        ("path", path),
        ("partitions", table::joined(partitions.iter().map(|partition| &partition.name))),
        ("tags", table::joined(&source.tags)),
        ("owners", table::joined(&source.owners)),
        ("selected", table::joined(selected)),
        ("approved", table::joined(approved)),
        ("projects", table::joined(projects.map(|project| &project.name))),
        ("chosen", table::joined(chosen)),
        ("row key", table::joined(source.row_key.iter().filter_map(column))),
        ("event time", table::joined(source.event_time.iter().filter_map(column))),
    ];
    let mut out = std::io::stdout().lock();
    for (label, value) in lines {
        writeln!(out, "{label:12}  {}", table::printable(&value))?;
    }
    if source.lineage.is_some() {
        let parents = table::joined(lineage::parents(source, facts));
        writeln!(out, "{:12}  {}", "made from", table::printable(&parents))?;
    }
    for line in certifications.at(source, facts) {
        writeln!(out, "{:12}  {}", "certified", table::printable(&line))?;
    }
    let rows = source.columns.iter().flat_map(|column| {
        let inside = source.parts.iter().filter(|part| part.within == column.id).map(|part| &part.column);
        std::iter::once(column).chain(inside)
    });
    let rows = rows.map(|column| {
        let null = if column.nullable { "null" } else { "not null" };
        let mut row =
            vec![column.name.to_string(), column.data_type.to_string(), null.to_owned(), table::joined(&column.tags)];
        if source.lineage.is_some() {
            // What is inside of a column follows it.
            let whole = source.part(column.id).is_none();
            row.push(table::joined(if whole { lineage::origin(source, column.id, facts) } else { None }));
        }
        row
    });
    let mut headings = vec!["column", "type", "null", "tags"];
    if source.lineage.is_some() {
        headings.push("comes from");
    }
    Ok(writeln!(out, "\n{}", table::list(&headings, rows))?)
}
