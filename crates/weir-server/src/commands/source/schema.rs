//! Registering all tables of a schema of a remote database.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::{Context as _, bail};
use clap::Args;
use indicatif::ProgressBar;
use weir_model::{ConnectionName, PrincipalId, SourceName, Tag};
use weir_sources::FoundTable;
use weir_store::{Change, NewColumn, NewSource};

use crate::commands::connection;
use crate::context::{Context, apply, find_user};
use crate::table;

#[derive(Debug, Args)]
pub(super) struct AddSchema {
    /// The remote database; see `weir connection`
    connection: ConnectionName,
    /// The schema there [default: `public`, the database in MariaDB, `main` in SQLite]
    schema: Option<String>,
    /// The schema of the data sources in Weir [default: that of the tables]
    #[arg(long = "as", value_name = "SCHEMA")]
    name: Option<String>,
    /// A tag of the data sources, such as `Finance.Payroll`; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<Tag>,
    /// A user who owns them; may be repeated
    #[arg(long = "owner", value_name = "USER")]
    owners: Vec<PrincipalId>,
}

/// Tables that are registered already, or cannot be, are passed over and listed with the reason.
pub(super) async fn register(context: &Context, add: AddSchema) -> anyhow::Result<()> {
    let store = context.store().await?;
    let facts = store.facts().await?;
    for owner in &add.owners {
        find_user(&facts, owner)?;
    }
    let connection = connection::open(&store, &add.connection).await?;
    let schema = add.schema.clone().unwrap_or_else(|| connection.address.default_schema().to_owned());
    let progress = ProgressBar::new_spinner().with_message(format!("looking at schema `{schema}`"));
    progress.enable_steady_tick(std::time::Duration::from_millis(100));
    let found = weir_sources::find_tables(connection, &schema, None).await;
    let found = found.with_context(|| format!("cannot look at schema `{schema}`"))?;
    if found.is_empty() {
        progress.finish_and_clear();
        bail!("connection `{}` has no tables in schema `{schema}`", add.connection);
    }
    let known: BTreeSet<&SourceName> = facts.sources.iter().map(|source| &source.name).collect();
    let (mut changes, mut rows) = (Vec::new(), Vec::new());
    for table in found {
        let shown = table.table.clone();
        let left_out: Vec<String> = table.left_out.iter().map(|(name, why)| format!("{name}: {why}")).collect();
        let columns = table.columns.len();
        let (what, note) = match add.source(table, &known) {
            Ok(source) => {
                let name = source.name.to_string();
                changes.push(Change::AddSource(source));
                (name, if left_out.is_empty() { "-".to_owned() } else { format!("left out {}", left_out.join("; ")) })
            }
            Err(why) => ("-".to_owned(), format!("skipped: {why}")),
        };
        rows.push(vec![table::printable(&shown).to_string(), what, columns.to_string(), note]);
    }
    let (added, all) = (changes.len(), rows.len());
    progress.set_message(format!("registering {added} tables"));
    let epoch = apply(&store, changes).await?;
    progress.finish_and_clear();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}\n", table::list(&["table", "data source", "columns", "note"], rows.into_iter()))?;
    Ok(writeln!(out, "added {added} of {all} tables of schema `{schema}` (epoch {epoch})")?)
}

impl AddSchema {
    fn source(&self, table: FoundTable, known: &BTreeSet<&SourceName>) -> anyhow::Result<NewSource> {
        let schema = self.name.clone().unwrap_or(table.schema);
        let name = SourceName::new(schema, table.table)?;
        if known.contains(&name) {
            bail!("it is registered already");
        }
        if table.columns.is_empty() {
            bail!("it has no column that can be read");
        }
        let column = |column: weir_sources::InferredColumn| NewColumn {
            name: column.name,
            data_type: column.data_type,
            nullable: column.nullable,
            tags: BTreeSet::new(),
        };
        Ok(NewSource {
            name,
            tags: self.tags.iter().cloned().collect(),
            owners: self.owners.iter().cloned().collect(),
            columns: table.columns.into_iter().map(column).collect(),
            row_key: table.key,
            event_time: None,
            location: table.location,
        })
    }
}
