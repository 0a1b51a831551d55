//! One module for each subcommand.

use std::io::Write;

use anyhow::bail;
use clap::CommandFactory;

use crate::cli::{Cli, Command};
use crate::context::Context;

pub(crate) mod audit;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod policy;
pub(crate) mod serve;
pub(crate) mod source;
pub(crate) mod sql;
pub(crate) mod user;

pub(crate) async fn run(cli: Cli) -> anyhow::Result<()> {
    let Cli { global, command } = cli;
    match command {
        Command::Completions { shell } => completions(shell),
        Command::Config(command) => config::run(&global, command),
        Command::Demo(command) => {
            let context = Context::new(&global, command.flags(), Some("weir-demo"))?;
            Box::pin(demo::run(&context, command)).await
        }
        Command::Serve(command) => {
            let context = Context::new(&global, command.flags(), None)?;
            Box::pin(serve::run(&context)).await
        }
        Command::Sql(command) => Box::pin(sql::run(&Context::plain(&global)?, command)).await,
        Command::Source(command) => Box::pin(source::run(&Context::plain(&global)?, command)).await,
        Command::User(command) => Box::pin(user::run(&Context::plain(&global)?, command)).await,
        Command::Policy(command) => Box::pin(policy::run(&Context::plain(&global)?, command)).await,
        Command::Audit(command) => Box::pin(audit::run(&Context::plain(&global)?, command)).await,
    }
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "weir", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}

/// `key=value`
fn key_value(text: &str) -> anyhow::Result<(&str, &str)> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key, value)),
        _ => bail!("`{text}` is not of the form `key=value`"),
    }
}
