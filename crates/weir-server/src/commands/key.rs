use std::io::Write;

use anyhow::bail;
use chrono::SecondsFormat;
use clap::{Args, Subcommand};
use weir_model::{ProjectName, SourceName};
use weir_store::{Change, KeyOwner, KeyRecord};

use crate::commands::{change, project, time};
use crate::context::{Context, find_source};
use crate::table;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir key list
  weir key rotate shop.people
  weir key rotate --project heart-study

Masks by hashing, by encryption and at random use the newest key of the data source, or of the project while masked joins \
are on there: with a new one equal values look different than before. Older keys stay, so that what was masked with them can \
be unmasked. All keys lie encrypted under the master key, the file master.key in the data directory; without it they are \
lost, so keep a copy of it elsewhere.")]
pub(crate) struct Key {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make a new key for the masks of a data source or a project
    #[command(group = clap::ArgGroup::new("of").required(true))]
    Rotate {
        /// The data source: `schema.table`
        #[arg(group = "of")]
        source: Option<SourceName>,
        /// The project, whose key is for masked joins
        #[arg(long, group = "of")]
        project: Option<ProjectName>,
    },
    /// List which keys there are, never the keys themselves
    List,
}

pub(crate) async fn run(context: &Context, key: Key) -> anyhow::Result<()> {
    let store = context.store().await?;
    match key.command {
        KeyCommand::Rotate { source, project } => {
            let facts = store.facts().await?;
            let of = match (source, project) {
                (Some(source), _) => {
                    find_source(&facts, &source)?;
                    KeyOwner::Source(source)
                }
                (None, Some(project)) => {
                    project::find(facts.projects.iter().map(|known| &known.name), &project)?;
                    KeyOwner::Project(project)
                }
                (None, None) => bail!("a data source or --project is needed"),
            };
            let done = format!("masks of {of} use a new key");
            change(&store, Change::RotateKey(of), &done).await
        }
        KeyCommand::List => list(&store.keys().await?),
    }
}

fn list(keys: &[KeyRecord]) -> anyhow::Result<()> {
    let rows = keys.iter().map(|key| {
        let newer = keys.iter().any(|other| other.of == key.of && other.id > key.id);
        let (kind, name) = match &key.of {
            KeyOwner::Source(source) => ("data source", source.to_string()),
            KeyOwner::Project(project) => ("project", project.to_string()),
        };
        let made = key.made_at_unix_ms.map(|made| time::shown(made, SecondsFormat::Secs));
        vec![
            kind.to_owned(),
            name,
            key.id.to_string(),
            if newer { "to unmask" } else { "in use" }.to_owned(),
            made.unwrap_or_else(|| "-".to_owned()),
        ]
    });
    Ok(writeln!(std::io::stdout(), "{}", table::list(&["of", "name", "key", "state", "made"], rows))?)
}
