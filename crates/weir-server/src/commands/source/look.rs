//! Looking at the rows of data sources: their profile, and what tells them apart.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use anyhow::Context as _;
use weir_model::{Column, ColumnId, ColumnName, DataSource, Location, Profile, SourceId, SourceName};
use weir_policy::ast::RoundTo;
use weir_policy::{RowKeys, bucket, row_keys};
use weir_sources::{Connect, Look};
use weir_store::{Change, NewColumn, NewSource};

use crate::commands::connection;
use crate::context::{Context, apply, find_source};
use crate::table;

/// What was found out about the rows of a source.
pub(super) struct Seen {
    pub(super) profiles: BTreeMap<ColumnName, Profile>,
    /// Columns that tell the rows apart, as declared; none where neither a column nor a pair does.
    pub(super) row_key: Vec<ColumnName>,
    rows: u64,
}

impl Seen {
    /// Reads every row of the source.
    async fn new(source: DataSource, connect: Connect) -> anyhow::Result<Self> {
        let mut columns = source.columns.clone();
        let look = Look::new(source, connect).await?;
        let profiles = look.profiles().await?;
        for column in &mut columns {
            column.profile = profiles.get(&column.name).cloned();
        }
        let rows = profiles.values().map(|profile| profile.rows).max().unwrap_or(0);
        let mut key: Vec<ColumnId> = Vec::new();
        match row_keys(&columns) {
            RowKeys::Found(column) => key.push(column),
            RowKeys::Pairs(pairs) => {
                for pair in pairs {
                    if look.distinct(&pair).await? == rows {
                        key.extend(pair);
                        break;
                    }
                }
            }
        }
        let row_key = columns.iter().filter(|column| key.contains(&column.id)).map(|column| column.name.clone());
        Ok(Self { row_key: row_key.collect(), profiles, rows })
    }

    /// Of a source that is about to be registered.
    pub(super) async fn of_new(source: &NewSource, connect: Connect) -> anyhow::Result<Self> {
        let column = |(column, id): (&NewColumn, u32)| Column {
            id: ColumnId(id),
            name: column.name.clone(),
            data_type: column.data_type.clone(),
            nullable: column.nullable,
            tags: BTreeSet::new(),
            profile: None,
        };
        let provisional = DataSource {
            id: SourceId(0),
            name: source.name.clone(),
            tags: BTreeSet::new(),
            owners: BTreeSet::new(),
            columns: source.columns.iter().zip(1..).map(column).collect(),
            parts: Vec::new(),
            row_key: Vec::new(),
            event_time: None,
            lineage: None,
            workspace: None,
            location: source.location.clone(),
        };
        let what = match &source.location {
            Location::Files { path, .. } => path.display().to_string(),
            Location::Objects { url, .. } => url.clone(),
            Location::Table { schema, table, .. } => format!("{schema}.{table}"),
            Location::View { .. } => source.name.to_string(),
        };
        let help = "help: --no-detect registers it without looking at its rows";
        Self::new(provisional, connect).await.with_context(|| format!("cannot look at the rows of `{what}`\n{help}"))
    }

    /// What is said about the row key, of which `set` tells whether it holds now.
    pub(super) fn told(&self, name: &SourceName, set: bool) -> String {
        let rows = self.rows;
        if self.row_key.is_empty() {
            return format!("no column and no pair of columns tells all {rows} rows apart, so there is no row key");
        }
        let joined = table::joined(&self.row_key);
        let spaced = self.row_key.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        if set {
            format!(
                "row key: {joined}, which tells all {rows} rows apart; `weir source row-key {name} …` says otherwise"
            )
        } else {
            format!("{joined} would tell all {rows} rows apart: `weir source row-key {name} {spaced}`")
        }
    }
}

/// `weir source profile`
pub(super) async fn profile(context: &Context, name: SourceName) -> anyhow::Result<()> {
    let store = context.store().await?;
    let facts = store.facts().await?;
    let source = find_source(&facts, &name)?;
    let seen = Seen::new(source.clone(), connection::connect(&store))
        .await
        .with_context(|| format!("cannot look at the rows of `{name}`"))?;
    let change = Change::SetProfiles { source: name.clone(), profiles: seen.profiles.clone() };
    let epoch = apply(&store, vec![change]).await?;
    let rows = source.columns.iter().filter_map(|column| Some(line(column, seen.profiles.get(&column.name)?)));
    let headings = ["column", "type", "null", "different", "least", "greatest", "rounded to"];
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}\n", table::list(&headings, rows))?;
    writeln!(out, "profile of data source `{name}` from {} rows (epoch {epoch})", seen.rows)?;
    if source.row_key.is_empty() {
        writeln!(out, "{}", seen.told(&name, false))?;
    }
    Ok(())
}

fn line(column: &Column, profile: &Profile) -> Vec<String> {
    let rounded = match bucket(profile, &column.data_type) {
        Some(RoundTo::Number(step)) => step,
        Some(RoundTo::Calendar(unit)) => unit.as_str().to_owned(),
        None => "-".to_owned(),
    };
    vec![
        column.name.to_string(),
        column.data_type.to_string(),
        share(profile),
        table::joined(profile.distinct),
        table::joined(&profile.least),
        table::joined(&profile.greatest),
        rounded,
    ]
}

/// Of the rows that have NULL, in whole percent; `<1%` is not none.
fn share(profile: &Profile) -> String {
    match (profile.nulls, profile.nulls.saturating_mul(100) / profile.rows.max(1)) {
        (0, _) => "-".to_owned(),
        (_, 0) => "<1%".to_owned(),
        (_, percent) => format!("{percent}%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_nulls_are_not_none() {
        let of = |nulls, rows| share(&Profile { rows, nulls, distinct: None, least: None, greatest: None });
        assert_eq!(of(0, 0), "-");
        assert_eq!(of(1, 1000), "<1%");
        assert_eq!(of(1, 3), "33%");
        assert_eq!(of(3, 3), "100%");
    }
}
