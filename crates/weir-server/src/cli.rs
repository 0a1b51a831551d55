//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::{
    audit, config, connection, demo, impersonation, import, key, policy, project, purpose, serve, source, sql,
    subscription, unmask, user,
};

/// Weir: data-access governance as one program
///
/// Policies are written once, in plain English. Everyone who reads data through Weir sees only the rows and values that the
/// policies let through, and every read is on record.
#[derive(Debug, Parser)]
#[command(name = "weir", version, after_help = EXAMPLES, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Start here:
  weir demo                     make sample data, users and policies, and serve them

Then, on data of your own:
  weir user add anna
  weir source add shop.orders ./orders.parquet
  weir policy add --text \"Allow anyone to subscribe on data source shop.orders\"
  weir policy add --text \"Mask using hashing the column email for everyone\"
  weir policy explain --user anna shop.orders
  weir serve
  psql \"host=127.0.0.1 port=5433 dbname=weir user=anna\"
  weir audit";

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Folder of everything that Weir keeps [env: WEIR_DATA_DIR] [default: weir-data; for demo: weir-demo]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Settings file [default: weir.toml in the data directory, if there is one]
    #[arg(long, global = true, value_name = "FILE", env = "WEIR_CONFIG", help_heading = "Global options")]
    pub(crate) config: Option<PathBuf>,

    /// When to use colors; auto is on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = "Global options")]
    pub(crate) color: Color,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Color {
    // On a terminal, unless NO_COLOR is set.
    Auto,
    Always,
    Never,
}

impl Color {
    pub(crate) fn resolve(self, is_terminal: bool) -> bool {
        match self {
            Color::Auto => is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            Color::Always => true,
            Color::Never => false,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make sample data, users and policies, and serve them
    Demo(demo::Demo),
    /// Serve the data sources of the data directory
    Serve(serve::Serve),
    /// Query a running server
    Sql(sql::Sql),
    /// Register data sources, and say who owns them and what is in them
    Source(source::Source),
    /// Manage the remote databases that data sources are in
    Connection(connection::ConnectionCommand),
    /// Manage users with their groups, attributes and passwords
    User(user::User),
    /// Write, check and explain policies
    Policy(policy::Policy),
    /// Turn policies of other systems into policies of Weir, with a report
    Import(import::ImportCommand),
    /// Ask for data sources, and approve or deny what was asked
    Subscription(subscription::Subscription),
    /// Say why data is used, and what whoever uses it for that promises
    Purpose(purpose::Purpose),
    /// Have people use data sources together, for stated purposes
    Project(project::Project),
    /// Let somebody act as others
    Impersonation(impersonation::Impersonation),
    /// Turn masked values back, for those who may, on record
    Unmask(unmask::Unmask),
    /// List the keys of masks, and make new ones
    Key(key::Key),
    /// Show who read what, what was decided, and why
    Audit(audit::Audit),
    /// Check and show settings
    Config(config::Config),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  weir completions bash > ~/.local/share/bash-completion/completions/weir")]
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
