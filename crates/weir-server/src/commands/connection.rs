//! Remote databases and stores that data sources are in.

mod store;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};
use weir_guard::Connections;
use weir_model::{Address, Connection, ConnectionName, DatabaseKind, Secret, StoreConnection, Target, Tls};
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
  weir connection add lake s3://sales/2024 --region eu-central-1 --user AKIA…
  weir connection add web https://data.example.com/open --anonymous
  weir source add shop.orders s3://sales/2024/orders/ --connection lake

Everybody's reads go there as the user of the connection, under the policies of Weir. The password or key is asked for, or read from a \
file; it lies encrypted under the master key and is never shown again."
)]
pub(crate) struct ConnectionCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a remote database, or a place where files are; it is tried first
    Add {
        /// By which data sources name it
        name: ConnectionName,
        /// Where it is: `postgresql://USER@HOST[:PORT]/DATABASE`, `mariadb://…` (for MySQL too), `sqlite:/PATH`, or, for files,
        /// `s3://`, `gs://`, `az://`, `abfss://`, `https://` or `hdfs://`, below which data sources may be
        url: String,
        /// PEM file of the authorities by whom the certificate of the other side is checked
        #[arg(long, value_name = "FILE")]
        tls_authorities: Option<PathBuf>,
        /// Do not encrypt what is read of a database
        #[arg(long, conflicts_with = "tls_authorities")]
        no_tls: bool,
        /// Take the password from the first line of a file, the key of a service account from all of it
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        #[command(flatten)]
        reach: store::Reach,
        /// Add it although it cannot be reached
        #[arg(long)]
        no_test: bool,
    },
    /// List the connections
    List,
    /// Try whether the other side can be reached
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
        Command::Add { name, url, tls_authorities, no_tls, password_file, reach, no_test } => {
            let authorities = tls_authorities.map(|path| {
                std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))
            });
            let authorities = authorities.transpose()?;
            let new = match store::kind(&url) {
                Some(_) if no_tls => bail!("--no-tls is for databases\nhelp: files are read as their URLs say"),
                Some(kind) => New::Store(reach.connection(name, kind, &url, authorities, password_file)?),
                None if !reach.is_empty() => {
                    bail!("--user, --endpoint, --region, --anonymous and --machine are for connections to files")
                }
                None => New::Database(database(name, &url, authorities, no_tls, password_file)?),
            };
            add(context, new, !no_test).await
        }
        Command::List => list(&context.store().await?.connections().await?),
        Command::Test { name } => {
            let store = context.store().await?;
            let version = match find(&store, &name).await? {
                Target::Store(_) => weir_sources::try_store(open_store(&store, &name).await?).await?,
                Target::Database(_) => weir_sources::try_connection(open(&store, &name).await?).await?,
            };
            Ok(writeln!(std::io::stdout(), "connection `{name}` works: {}", table::printable(&version))?)
        }
        Command::Password { name, password_file } => {
            let store = context.store().await?;
            let password = match find(&store, &name).await? {
                Target::Store(address) => store::secret(address.kind, password_file)?,
                Target::Database(_) => password(password_file)?,
            };
            let done = format!("set the password of connection `{name}`");
            commands::change(&store, Change::SetConnectionPassword { connection: name, password }, &done).await
        }
        Command::Remove { name } => {
            let store = context.store().await?;
            find(&store, &name).await?;
            let done = format!("removed connection `{name}`");
            commands::change(&store, Change::RemoveConnection(name), &done).await
        }
    }
}

fn database(
    name: ConnectionName,
    url: &str,
    authorities: Option<String>,
    no_tls: bool,
    password_file: Option<PathBuf>,
) -> anyhow::Result<Connection> {
    let address = address(url)?;
    Ok(match (address.kind, authorities) {
        (DatabaseKind::Sqlite, None) if password_file.is_none() => {
            Connection { address, password: Secret::new(""), name }
        }
        (DatabaseKind::Sqlite, _) => bail!("a file has neither certificate nor password"),
        (DatabaseKind::Postgresql | DatabaseKind::Mariadb, None) if !no_tls => {
            bail!("who signs the certificate of the database?\nhelp: say --tls-authorities FILE, or --no-tls")
        }
        (DatabaseKind::Postgresql | DatabaseKind::Mariadb, authorities) => {
            let tls = authorities.map_or(Tls::Off, |authorities| Tls::Verified { authorities });
            Connection { address: Address { tls, ..address }, password: password(password_file)?, name }
        }
    })
}

enum New {
    Database(Connection),
    Store(StoreConnection),
}

async fn add(context: &Context, connection: New, test: bool) -> anyhow::Result<()> {
    let store = context.make_store().await?;
    let name = match &connection {
        New::Database(connection) => connection.name.clone(),
        New::Store(connection) => connection.name.clone(),
    };
    if store.connections().await?.iter().any(|known| known.name == name) {
        bail!("connection `{name}` exists already\nhelp: remove it first with `weir connection remove {name}`");
    }
    if test {
        let tried = match &connection {
            New::Database(connection) => weir_sources::try_connection(connection.clone()).await,
            New::Store(connection) => weir_sources::try_store(connection.clone()).await,
        };
        tried.context("help: --no-test adds it all the same")?;
    }
    let change = match connection {
        New::Database(connection) => Change::AddConnection(connection),
        New::Store(connection) => Change::AddStore(connection),
    };
    let epoch = apply(&store, vec![change]).await?;
    Ok(writeln!(std::io::stdout(), "added connection `{name}` (epoch {epoch})")?)
}

fn list(connections: &[ConnectionRecord]) -> anyhow::Result<()> {
    let rows = connections.iter().map(|ConnectionRecord { name, target, sources }| {
        let (address, tls) = match target {
            Target::Database(address) => {
                let tls = match (address.kind, &address.tls) {
                    (DatabaseKind::Sqlite, _) => "-",
                    (_, Tls::Off) => "off",
                    (_, Tls::Verified { .. }) => "verified",
                };
                (url(address), tls.to_owned())
            }
            Target::Store(address) => store::told(address),
        };
        vec![name.to_string(), address, tls, sources.to_string()]
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

async fn find(store: &Store, name: &ConnectionName) -> anyhow::Result<Target> {
    let known = store.connections().await?;
    if let Some(found) = known.iter().find(|known| known.name == *name) {
        return Ok(found.target.clone());
    }
    let names = known.iter().map(|known| known.name.to_string());
    bail!("connection `{name}` does not exist{}", did_you_mean(name.as_str(), names))
}

/// With its password.
pub(super) async fn open(store: &Store, name: &ConnectionName) -> anyhow::Result<Connection> {
    find(store, name).await?;
    Ok(store.connection(name).await?)
}

/// As [`open`], of one that leads to files.
pub(super) async fn open_store(store: &Store, name: &ConnectionName) -> anyhow::Result<StoreConnection> {
    find(store, name).await?;
    Ok(store.store(name).await?)
}

/// For opening data sources.
pub(super) fn connect(store: &Store) -> Connect {
    let (databases, stores) = (store.clone(), store.clone());
    Connect {
        database: Arc::new(move |name| {
            let store = databases.clone();
            Box::pin(async move { store.connection(&name).await.map_err(|e| e.to_string()) })
        }),
        store: Arc::new(move |name| {
            let store = stores.clone();
            Box::pin(async move { store.store(&name).await.map_err(|e| e.to_string()) })
        }),
    }
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
