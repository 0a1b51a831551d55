use std::io::{BufRead, BufWriter, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::pin::pin;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use futures::TryStreamExt;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};
use weir_model::Secret;

use crate::context::Context;
use crate::terminal;

mod print;
mod split;

use print::{Format, Printer};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir sql --user tara                  reads statements up to a semicolon; \\q ends
  weir sql --user tara -c 'select 1' --format json
  WEIR_PASSWORD=demo weir sql --user tara -f report.sql --format csv > report.csv

The password comes from --password-file, else from WEIR_PASSWORD, else it is asked for. Any other client of PostgreSQL \
works as well; this one does not encrypt.")]
pub(crate) struct Sql {
    /// Where the server is [default: the host of the setting sql.address]
    #[arg(long)]
    host: Option<String>,
    /// Port of the SQL door [default: the port of the setting sql.address]
    #[arg(long, short)]
    port: Option<u16>,
    /// Who to log in as
    #[arg(long, short)]
    user: String,
    /// Take the password from the first line of a file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Run these statements and end
    #[arg(long, short, value_name = "SQL", conflicts_with = "file")]
    command: Option<String>,
    /// Run the statements of a file and end
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How to print answers
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(crate) async fn run(context: &Context, sql: Sql) -> anyhow::Result<()> {
    let text = match (&sql.command, &sql.file) {
        (Some(text), _) => Some(text.clone()),
        (None, Some(path)) => {
            Some(std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?)
        }
        (None, None) if std::io::stdin().is_terminal() => None,
        (None, None) => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
            Some(text)
        }
    };
    let client = connect(context, &sql).await?;
    let Some(text) = text else { return converse(&client, sql.format).await };
    let (mut statements, rest) = split::split(&text);
    if !split::is_blank(rest) {
        statements.push(rest);
    }
    for statement in statements {
        execute(&client, statement, sql.format).await.map_err(|e| failure(&e))?;
    }
    Ok(())
}

async fn connect(context: &Context, sql: &Sql) -> anyhow::Result<Client> {
    let address = &context.settings.sql.address;
    let Some((host, port)) = address.rsplit_once(':') else { bail!("`{address}` has no port") };
    let host = sql.host.as_deref().unwrap_or(host).trim_start_matches('[').trim_end_matches(']');
    let port = sql.port.map_or_else(|| port.parse(), Ok)?;
    let password = password(sql)?;
    let mut config = Config::new();
    config
        .host(host)
        .port(port)
        .user(&sql.user)
        .password(password.expose())
        .dbname("weir")
        .application_name("weir sql");
    let (client, connection) = config.connect(NoTls).await.map_err(|e| match e.as_db_error() {
        Some(_) => failure(&e.into()),
        None => anyhow::Error::new(e).context(format!("cannot connect to {host}:{port}; is the server running?")),
    })?;
    // Ends with the client; what goes wrong is told by the statement that waits for an answer.
    tokio::spawn(connection);
    Ok(client)
}

fn password(sql: &Sql) -> anyhow::Result<Secret> {
    match (&sql.password_file, std::env::var("WEIR_PASSWORD")) {
        (Some(path), _) => terminal::password_from_file(path),
        (None, Ok(password)) => Ok(Secret::new(password)),
        (None, Err(_)) if terminal::is_attended() => terminal::ask_password(&format!("Password of {}: ", sql.user)),
        (None, Err(_)) => bail!("there is no password\nhelp: set WEIR_PASSWORD or give --password-file"),
    }
}

/// What went wrong with one statement.
#[derive(Debug, thiserror::Error)]
enum StatementError {
    #[error("the server did not answer")]
    Server(#[from] tokio_postgres::Error),
    #[error("cannot write the answer")]
    Output(#[from] std::io::Error),
}

async fn execute(client: &Client, statement: &str, format: Format) -> Result<(), StatementError> {
    // The simple protocol gives texts; only JSON wants to know which of them are numbers.
    let types: Vec<Type> = match format {
        Format::Json => {
            client.prepare(statement).await?.columns().iter().map(|column| column.type_().clone()).collect()
        }
        Format::Table | Format::Csv => Vec::new(),
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut printer = Printer::new(&mut out, format, types);
    let mut answer = pin!(client.simple_query_raw(statement).await?);
    while let Some(message) = answer.try_next().await? {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                printer.header(columns.iter().map(|column| column.name().to_owned()).collect())?;
            }
            SimpleQueryMessage::Row(row) => printer.row(&row)?,
            _ => {}
        }
    }
    Ok(printer.end()?)
}

/// The server's own words, if it had any.
fn failure(error: &StatementError) -> anyhow::Error {
    match error {
        StatementError::Server(e) => match e.as_db_error() {
            Some(told) => {
                let detail = told.detail().map(|detail| format!("\ndetail: {detail}")).unwrap_or_default();
                let hint = told.hint().map(|hint| format!("\nhelp: {hint}")).unwrap_or_default();
                anyhow!("{} (SQLSTATE {}){detail}{hint}", told.message(), told.code().code())
            }
            None => anyhow!("the connection to the server broke: {e}"),
        },
        // Kept as it is, so that a closed pipe is known for what it is.
        StatementError::Output(e) => std::io::Error::from(e.kind()).into(),
    }
}

/// Reads statements from the terminal until its end.
async fn converse(client: &Client, format: Format) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "Statements end with a semicolon; \\q or Ctrl-D leaves.")?;
    let mut pending = String::new();
    loop {
        write!(out, "{}", if split::is_blank(&pending) { "weir=> " } else { "weir-> " })?;
        out.flush()?;
        let line = tokio::select! {
            line = tokio::task::spawn_blocking(read_line) => line??,
            _ = tokio::signal::ctrl_c() => None,
        };
        let Some(line) = line else {
            writeln!(out)?;
            return Ok(());
        };
        if split::is_blank(&pending) && matches!(line.trim(), "\\q" | "quit" | "exit") {
            return Ok(());
        }
        pending.push_str(&line);
        let (statements, rest) = split::split(&pending);
        for statement in statements {
            answer(client, statement, format).await?;
        }
        pending = rest.to_owned();
    }
}

fn read_line() -> std::io::Result<Option<String>> {
    let mut line = String::new();
    Ok((std::io::stdin().lock().read_line(&mut line)? > 0).then_some(line))
}

/// Runs one statement of a conversation, which goes on after a failure. Ctrl-C cancels the statement.
async fn answer(client: &Client, statement: &str, format: Format) -> anyhow::Result<()> {
    let mut running = pin!(execute(client, statement, format));
    let done = tokio::select! {
        done = &mut running => done,
        _ = tokio::signal::ctrl_c() => {
            client.cancel_token().cancel_query(NoTls).await?;
            running.await
        }
    };
    match done {
        Ok(()) => Ok(()),
        Err(e) if client.is_closed() => Err(failure(&e)),
        Err(e) => Ok(writeln!(std::io::stderr(), "{}", terminal::error(&failure(&e), false))?),
    }
}
