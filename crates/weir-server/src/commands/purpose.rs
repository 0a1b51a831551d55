use std::io::Write;

use anyhow::bail;
use clap::{Args, Subcommand};
use weir_model::PurposeName;
use weir_store::{Change, PurposeRecord};

use crate::commands::change;
use crate::context::{Context, did_you_mean};
use crate::table;

/// Of a statement in the list.
const TEXT_MAX: usize = 70;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir purpose create research --statement 'I use the data for research and for nothing else.'
  weir purpose create research.cancer
  weir purpose statement research.cancer 'I use the data for research on cancer.'
  weir purpose list

Dots make a hierarchy: acting for research.cancer is acting for research. A purpose without a statement has that of the \
purpose above it. Members of a project acknowledge the statements of its purposes before they see anything in it; another \
statement has to be acknowledged anew.")]
pub(crate) struct Purpose {
    #[command(subcommand)]
    command: PurposeCommand,
}

#[derive(Debug, Subcommand)]
enum PurposeCommand {
    /// Register a purpose, and those above it
    Create {
        /// The purpose, such as `research.cancer`
        name: PurposeName,
        /// What whoever acts for the purpose promises [default: what the purpose above it says]
        #[arg(long, value_name = "TEXT")]
        statement: Option<String>,
    },
    /// List the purposes
    List,
    /// Show one purpose with its whole statement
    Show { name: PurposeName },
    /// Say what whoever acts for a purpose promises
    Statement {
        name: PurposeName,
        /// The empty text takes the statement away; then that of the purpose above holds
        text: String,
    },
    /// Remove a purpose that no project uses
    Remove { name: PurposeName },
}

pub(crate) async fn run(context: &Context, purpose: Purpose) -> anyhow::Result<()> {
    let store = context.store().await?;
    let known = store.purposes().await?;
    match purpose.command {
        PurposeCommand::Create { name, statement } => {
            if known.iter().any(|record| record.purpose == name && record.statement.is_some()) {
                bail!("purpose `{name}` exists already\nhelp: change it with `weir purpose statement`");
            }
            let done = format!("created purpose `{name}`");
            change(&store, Change::CreatePurpose { purpose: name, statement }, &done).await
        }
        PurposeCommand::List => list(&known),
        PurposeCommand::Show { name } => show(find(&known, &name)?),
        PurposeCommand::Statement { name, text } => {
            find(&known, &name)?;
            let (statement, done) = match text.trim() {
                "" => (None, format!("purpose `{name}` has no statement of its own any more")),
                text => (Some(text.to_owned()), format!("set the statement of purpose `{name}`")),
            };
            change(&store, Change::SetStatement { purpose: name, statement }, &done).await
        }
        PurposeCommand::Remove { name } => {
            find(&known, &name)?;
            let done = format!("removed purpose `{name}`");
            change(&store, Change::RemovePurpose(name), &done).await
        }
    }
}

pub(super) fn find<'a>(known: &'a [PurposeRecord], name: &PurposeName) -> anyhow::Result<&'a PurposeRecord> {
    match known.iter().find(|record| record.purpose == *name) {
        Some(record) => Ok(record),
        None => bail!(
            "purpose `{name}` does not exist{}",
            did_you_mean(name.as_str(), known.iter().map(|record| record.purpose.to_string()))
        ),
    }
}

/// Where the statement that holds comes from.
fn origin(record: &PurposeRecord) -> &'static str {
    match (&record.statement, &record.holds) {
        (Some(_), _) => "its own",
        (None, Some(_)) => "from above",
        (None, None) => "-",
    }
}

fn list(known: &[PurposeRecord]) -> anyhow::Result<()> {
    let rows = known.iter().map(|record| {
        let statement = record.holds.as_deref().map_or_else(|| "-".to_owned(), |text| table::shortened(text, TEXT_MAX));
        vec![record.purpose.to_string(), origin(record).to_owned(), statement]
    });
    Ok(writeln!(std::io::stdout(), "{}", table::list(&["purpose", "statement is", "statement"], rows))?)
}

fn show(record: &PurposeRecord) -> anyhow::Result<()> {
    let lines = [
        ("purpose", record.purpose.to_string()),
        ("statement is", origin(record).to_owned()),
        ("statement", record.holds.clone().unwrap_or_else(|| "-".to_owned())),
    ];
    let mut out = std::io::stdout().lock();
    for (label, value) in lines {
        writeln!(out, "{label:12}  {}", table::printable(&value))?;
    }
    Ok(())
}
