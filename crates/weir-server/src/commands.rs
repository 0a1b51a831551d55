//! One module for each subcommand.

use std::io::Write;

use anyhow::bail;
use clap::CommandFactory;
use weir_model::{ColumnName, DataSource, PrincipalId};
use weir_store::{Change, Store};

use crate::cli::{Cli, Command};
use crate::context::{Context, apply, did_you_mean};

pub(crate) mod audit;
pub(crate) mod certification;
pub(crate) mod config;
pub(crate) mod connection;
pub(crate) mod demo;
pub(crate) mod impersonation;
pub(crate) mod import;
pub(crate) mod key;
pub(crate) mod policy;
pub(crate) mod project;
pub(crate) mod purpose;
pub(crate) mod serve;
pub(crate) mod source;
pub(crate) mod sql;
pub(crate) mod subscription;
pub(crate) mod template;
mod text;
mod time;
pub(crate) mod unmask;
pub(crate) mod user;

pub(crate) async fn run(cli: Cli) -> anyhow::Result<()> {
    let Cli { global, command } = cli;
    match command {
        Command::Completions { shell } => completions(shell),
        Command::Config(command) => config::run(&global, command),
        Command::Import(command) => import::run(command),
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
        Command::Connection(command) => Box::pin(connection::run(&Context::plain(&global)?, command)).await,
        Command::User(command) => Box::pin(user::run(&Context::plain(&global)?, command)).await,
        Command::Policy(command) => Box::pin(policy::run(&Context::plain(&global)?, command)).await,
        Command::Subscription(command) => Box::pin(subscription::run(&Context::plain(&global)?, command)).await,
        Command::Purpose(command) => Box::pin(purpose::run(&Context::plain(&global)?, command)).await,
        Command::Project(command) => Box::pin(project::run(&Context::plain(&global)?, command)).await,
        Command::Unmask(command) => Box::pin(unmask::run(&Context::plain(&global)?, command)).await,
        Command::Impersonation(command) => Box::pin(impersonation::run(&Context::plain(&global)?, command)).await,
        Command::Key(command) => Box::pin(key::run(&Context::plain(&global)?, command)).await,
        Command::Audit(command) => Box::pin(audit::run(&Context::plain(&global)?, command)).await,
    }
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "weir", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}

/// Makes one change as the administrator of the machine and says what is so now.
async fn change(store: &Store, change: Change, done: &str) -> anyhow::Result<()> {
    let epoch = apply(store, vec![change]).await?;
    Ok(writeln!(std::io::stdout(), "{done} (epoch {epoch})")?)
}

/// Makes one change in somebody's name, which the history keeps, and says what is so now.
async fn change_as(store: &Store, by: &PrincipalId, change: Change, done: &str) -> anyhow::Result<()> {
    let epoch = store.apply(&by.to_string(), vec![change]).await?;
    Ok(writeln!(std::io::stdout(), "{done} (epoch {epoch})")?)
}

fn find_column(source: &DataSource, column: &ColumnName) -> anyhow::Result<()> {
    if source.place(column.as_str()).is_some() {
        return Ok(());
    }
    let names = source.places().map(|column| column.name.to_string());
    bail!("data source `{}` has no column `{column}`{}", source.name, did_you_mean(column.as_str(), names))
}

/// `key=value`
fn key_value(text: &str) -> anyhow::Result<(&str, &str)> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key, value)),
        _ => bail!("`{text}` is not of the form `key=value`"),
    }
}
