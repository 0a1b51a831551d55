//! Remote databases that data sources are in.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};
use weir_guard::Connections;
use weir_model::{Address, Connection, ConnectionName, DatabaseKind, Secret, Tls};
use weir_sources::Connect;
use weir_store::{Change, ConnectionRecord, Store};

use crate::commands;
use crate::context::{Context, apply, did_you_mean};
use crate::{table, terminal};

#[derive(Debug, Args)]
#[command(
    name = "connection",
    after_help = "Examples:
  weir connection add crm postgresql://weir@db.example.com/crm --tls-authorities /etc/ssl/certs/ca-certificates.crt
  weir connection add shop mariadb://weir@db.example.com/shop --no-tls
  weir connection add app sqlite:/var/lib/app/app.db
  weir connection test crm
  weir source add crm.orders --connection crm --table orders
  weir source add-schema crm public

Everybody's reads go there as the user of the connection, under the policies of Weir. The password is asked for, or read from a \
file; it lies encrypted under the master key and is never shown again."
)]
pub(crate) struct ConnectionCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a remote database, which is tried first
    Add {
        /// By which data sources name it
        name: ConnectionName,
        /// Where it is, as `postgresql://USER@HOST[:PORT]/DATABASE`, `mariadb://…` (for MySQL too), or `sqlite:/PATH`
        url: String,
        /// PEM file of the authorities by whom the certificate of the database is checked
        #[arg(long, value_name = "FILE")]
        tls_authorities: Option<PathBuf>,
        /// Do not encrypt what is read
        #[arg(long, conflicts_with = "tls_authorities")]
        no_tls: bool,
        /// Take the password from the first line of a file
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// Add it although it cannot be reached
        #[arg(long)]
        no_test: bool,
    },
    /// List the remote databases
    List,
    /// Try whether a database can be reached
    Test { name: ConnectionName },
    /// Set the password of a connection
    Password {
        name: ConnectionName,
        /// Take the password from the first line of a file
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Remove a connection that no data source is in
    Remove { name: ConnectionName },
}

pub(crate) async fn run(context: &Context, connection: ConnectionCommand) -> anyhow::Result<()> {
    match connection.command {
        Command::Add { name, url, tls_authorities, no_tls, password_file, no_test } => {
            let address = address(&url)?;
            let connection = match (address.kind, tls_authorities) {
                (DatabaseKind::Sqlite, None) if password_file.is_none() => {
                    Connection { address, password: Secret::new(""), name }
                }
                (DatabaseKind::Sqlite, _) => bail!("a file has neither certificate nor password"),
                (DatabaseKind::Postgresql | DatabaseKind::Mariadb, None) if !no_tls => {
                    bail!("who signs the certificate of the database?\nhelp: say --tls-authorities FILE, or --no-tls")
                }
                (DatabaseKind::Postgresql | DatabaseKind::Mariadb, authorities) => {
                    let tls = authorities.map_or(Ok(Tls::Off), |path| {
                        let authorities = std::fs::read_to_string(&path);
                        let authorities = authorities.with_context(|| format!("cannot read `{}`", path.display()))?;
                        anyhow::Ok(Tls::Verified { authorities })
                    })?;
                    Connection { address: Address { tls, ..address }, password: password(password_file)?, name }
                }
            };
            add(context, connection, !no_test).await
        }
        Command::List => list(&context.store().await?.connections().await?),
        Command::Test { name } => {
            let store = context.store().await?;
            let version = weir_sources::try_connection(open(&store, &name).await?).await?;
            Ok(writeln!(std::io::stdout(), "connection `{name}` works: {}", table::printable(&version))?)
        }
        Command::Password { name, password_file } => {
            let store = context.store().await?;
            find(&store, &name).await?;
            let done = format!("set the password of connection `{name}`");
            let change = Change::SetConnectionPassword { connection: name, password: password(password_file)? };
            commands::change(&store, change, &done).await
        }
        Command::Remove { name } => {
            let store = context.store().await?;
            find(&store, &name).await?;
            let done = format!("removed connection `{name}`");
            commands::change(&store, Change::RemoveConnection(name), &done).await
        }
    }
}

async fn add(context: &Context, connection: Connection, test: bool) -> anyhow::Result<()> {
    let store = context.make_store().await?;
    let name = connection.name.clone();
    if store.connections().await?.iter().any(|known| known.name == name) {
        bail!("connection `{name}` exists already\nhelp: remove it first with `weir connection remove {name}`");
    }
    if test {
        let tried = weir_sources::try_connection(connection.clone()).await;
        tried.context("help: --no-test adds it all the same")?;
    }
    let epoch = apply(&store, vec![Change::AddConnection(connection)]).await?;
    Ok(writeln!(std::io::stdout(), "added connection `{name}` (epoch {epoch})")?)
}

fn list(connections: &[ConnectionRecord]) -> anyhow::Result<()> {
    let rows = connections.iter().map(|ConnectionRecord { name, address, sources }| {
        let tls = match (address.kind, &address.tls) {
            (DatabaseKind::Sqlite, _) => "-",
            (_, Tls::Off) => "off",
            (_, Tls::Verified { .. }) => "verified",
        };
        vec![name.to_string(), url(address), tls.to_owned(), sources.to_string()]
    });
    Ok(writeln!(std::io::stdout(), "{}", table::list(&["connection", "address", "TLS", "data sources"], rows))?)
}

fn password(file: Option<PathBuf>) -> anyhow::Result<Secret> {
    match file {
        Some(path) => terminal::password_from_file(&path),
        None if terminal::is_attended() => terminal::ask_password("Password: "),
        None => bail!("nobody is there to be asked for the password\nhelp: give it with --password-file"),
    }
}

const ADDRESSES: &str = "the address must be `postgresql://USER@HOST[:PORT]/DATABASE`, \
    `mariadb://USER@HOST[:PORT]/DATABASE` or `sqlite:/PATH`";

/// As it would be without encryption.
fn address(url: &str) -> anyhow::Result<Address> {
    let wrong = || anyhow!(ADDRESSES);
    let (scheme, rest) = url.split_once(':').ok_or_else(wrong)?;
    let (kind, port) = match scheme {
        "postgresql" | "postgres" => (DatabaseKind::Postgresql, 5432),
        "mariadb" | "mysql" => (DatabaseKind::Mariadb, 3306),
        "sqlite" => {
            let path = rest.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(rest);
            if !path.starts_with('/') || path.starts_with("//") {
                return Err(wrong());
            }
            let (host, user, database) = (String::new(), String::new(), path.to_owned());
            return Ok(Address { kind: DatabaseKind::Sqlite, host, port: 0, database, user, tls: Tls::Off });
        }
        _ => return Err(wrong()),
    };
    let rest = rest.strip_prefix("//").ok_or_else(wrong)?;
    let (user, rest) = rest.rsplit_once('@').ok_or_else(wrong)?;
    if user.contains(':') {
        bail!("the address must not have a password in it\nhelp: it is asked for, or read with --password-file");
    }
    let (place, database) = rest.split_once('/').ok_or_else(wrong)?;
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') => (host, port.parse().map_err(|_| wrong())?),
        Some(_) | None => (place, port),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if [user, host, database].iter().any(|part| part.is_empty()) || database.contains(['?', '/']) {
        return Err(wrong());
    }
    let (host, database, user) = (host.to_owned(), database.to_owned(), user.to_owned());
    Ok(Address { kind, host, port, database, user, tls: Tls::Off })
}

fn url(address: &Address) -> String {
    let Address { kind, host, port, database, user, tls: _ } = address;
    match kind {
        DatabaseKind::Sqlite => format!("{}:{database}", kind.as_str()),
        DatabaseKind::Postgresql | DatabaseKind::Mariadb => {
            format!("{}://{user}@{host}:{port}/{database}", kind.as_str())
        }
    }
}

async fn find(store: &Store, name: &ConnectionName) -> anyhow::Result<()> {
    let known = store.connections().await?;
    if known.iter().any(|known| known.name == *name) {
        return Ok(());
    }
    let names = known.iter().map(|known| known.name.to_string());
    bail!("connection `{name}` does not exist{}", did_you_mean(name.as_str(), names))
}

/// With its password.
pub(super) async fn open(store: &Store, name: &ConnectionName) -> anyhow::Result<Connection> {
    find(store, name).await?;
    Ok(store.connection(name).await?)
}

/// For opening data sources.
pub(super) fn connect(store: &Store) -> Connect {
    let store = store.clone();
    Arc::new(move |name| {
        let store = store.clone();
        Box::pin(async move { store.connection(&name).await.map_err(|e| e.to_string()) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_understood() {
        let of = |url| address(url).map(|address| super::url(&address)).map_err(|e| e.to_string());
        assert_eq!(of("postgresql://me@db/x"), Ok("postgresql://me@db:5432/x".to_owned()));
        assert_eq!(of("postgres://a@b@[::1]:6000/x y"), Ok("postgresql://a@b@::1:6000/x y".to_owned()));
        assert_eq!(of("mysql://me@db/x"), Ok("mariadb://me@db:3306/x".to_owned()));
        assert_eq!(of("sqlite:///var/a b.db"), Ok("sqlite:/var/a b.db".to_owned()));
        assert_eq!(of("sqlite:/var/a.db"), Ok("sqlite:/var/a.db".to_owned()));
        for wrong in [
            "",
            "oracle://a@b/c",
            "sqlite:a.db",
            "sqlite://a.db",
            "mariadb:a@b/c",
            "postgresql://a@b",
            "postgresql://@b/c",
            "postgresql://a@b:z/c",
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        assert!(of("postgresql://me:secret@db/x").is_err_and(|e| !e.contains("secret")));
    }
}
