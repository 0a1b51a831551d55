use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::Global;
use crate::context::inputs;
use crate::settings;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir config show --sources
  weir config check /etc/weir/weir.toml
  WEIR_SQL_ADDRESS=0.0.0.0:5433 weir config show

Every setting is described in docs/settings.md.")]
pub(crate) struct Config {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say what is wrong with the settings, all of it at once
    Check {
        /// The settings file, instead of the one that would be used
        file: Option<PathBuf>,
    },
    /// Print every setting with its value
    Show {
        /// Say where each value was written
        #[arg(long)]
        sources: bool,
    },
    /// Print the reference of settings
    #[command(hide = true)]
    Docs,
}

pub(crate) fn run(global: &Global, config: Config) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match config.command {
        ConfigCommand::Check { file } => {
            let mut inputs = inputs(global, Vec::new(), None)?;
            inputs.file = file.or(inputs.file);
            settings::load(&inputs)?;
            writeln!(out, "the settings are in order")?;
        }
        ConfigCommand::Show { sources } => {
            let (_, merged) = settings::load(&inputs(global, Vec::new(), None)?)?;
            for (definition, given) in merged.iter() {
                match given {
                    Some((value, origin)) if sources => writeln!(out, "{} = {value}  # {origin}", definition.key)?,
                    Some((value, _)) => writeln!(out, "{} = {value}", definition.key)?,
                    None => writeln!(out, "{} is not set", definition.key)?,
                }
            }
        }
        ConfigCommand::Docs => write!(out, "{}", settings::reference())?,
    }
    Ok(())
}
