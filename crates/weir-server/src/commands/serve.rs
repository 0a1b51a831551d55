use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use weir_gateway_sql::{SqlGateway, SqlSettings, TlsSettings};
use weir_guard::{Guard, Refusal, SystemClock};
use weir_query::{Engine, EngineSettings};
use weir_store::Store;

use crate::context::Context;
use crate::settings::{Flag, Settings};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir serve
  weir serve --sql-address 0.0.0.0:5433 --tls-cert server.pem --tls-key server.key

Other limits are settings: see docs/settings.md and `weir config show`. Ctrl-C ends the server; reads that run are told \
and recorded as cancelled.")]
pub(crate) struct Serve {
    #[command(flatten)]
    door: SqlDoor,
}

/// Flags of the SQL door.
#[derive(Debug, Args)]
pub(crate) struct SqlDoor {
    /// Where the SQL door listens [env: WEIR_SQL_ADDRESS] [default: 127.0.0.1:5433]
    #[arg(long, value_name = "HOST:PORT")]
    sql_address: Option<String>,
    /// PEM file with the certificate of the SQL door [env: WEIR_SQL_TLS_CERTIFICATE]
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// PEM file with the private key of the certificate [env: WEIR_SQL_TLS_KEY]
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
}

impl SqlDoor {
    pub(crate) fn flags(&self) -> Vec<Flag> {
        let flags = [
            ("sql.address", "--sql-address", &self.sql_address),
            ("sql.tls_certificate", "--tls-cert", &self.tls_cert),
            ("sql.tls_key", "--tls-key", &self.tls_key),
        ];
        flags.into_iter().filter_map(|(key, flag, value)| Some(Flag { key, flag, value: value.clone()? })).collect()
    }
}

impl Serve {
    pub(crate) fn flags(&self) -> Vec<Flag> {
        self.door.flags()
    }
}

pub(crate) async fn run(context: &Context) -> anyhow::Result<()> {
    let listener = listen(&context.settings.sql.address).await?;
    let store = context.make_store().await?;
    serve(&context.settings, store, listener, |_| String::new()).await
}

/// Takes the address, so that a mistake is told before anything is done.
pub(super) async fn listen(address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => anyhow!(
            "cannot listen on {address}: something else listens there already\nhelp: stop it, or choose another address with \
             --sql-address or WEIR_SQL_ADDRESS"
        ),
        _ => anyhow::Error::new(e).context(format!("cannot listen on {address}")),
    })
}

/// Runs the doors until the process is told to end. `guide` is what to say once they are open.
pub(super) async fn serve(
    settings: &Settings,
    store: Store,
    listener: TcpListener,
    guide: impl FnOnce(SocketAddr) -> String,
) -> anyhow::Result<()> {
    start_log(&settings.log)?;
    let stop = stop_signal()?;
    let lock = store.begin_serving().await?;
    if lock.interrupted > 0 {
        tracing::warn!(reads = lock.interrupted, "reads that a killed server left open are recorded as interrupted");
    }
    let shared = Arc::new(store.clone());
    let guard = Guard::new(shared.clone(), shared.clone(), shared.clone(), Arc::new(SystemClock));
    let guard = guard.with_connections(shared.clone());
    let engine =
        Engine::new(guard, engine_settings(settings)).map_err(|e| operator_error("cannot start the engine", &e))?;
    let gateway = SqlGateway::new(engine, shared, sql_settings(settings))?;
    let address = listener.local_addr()?;
    banner(settings, &store, address).await?;
    write!(std::io::stdout(), "{}", guide(address))?;
    gateway.serve(listener, stop).await;
    store.close().await?;
    drop(lock);
    tracing::info!("stopped");
    Ok(())
}

pub(super) fn engine_settings(settings: &Settings) -> EngineSettings {
    EngineSettings {
        memory_bytes_max: settings.query.memory_bytes_max,
        partitions: settings.query.partitions,
        statement_bytes_max: settings.query.statement_bytes_max,
        user: settings.query.user.clone(),
    }
}

fn sql_settings(settings: &Settings) -> SqlSettings {
    let defaults = SqlSettings::default();
    let tls = settings.sql.tls.as_ref().map(|files| TlsSettings {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        required: settings.sql.tls_required,
    });
    SqlSettings {
        tls,
        connections_max: settings.sql.connections_max,
        startup_timeout: settings.sql.startup_timeout,
        // A statement that is too long shall be refused as such, with the connection left open.
        message_bytes_max: defaults.message_bytes_max.max(settings.query.statement_bytes_max.saturating_mul(2)),
        ..defaults
    }
}

/// For the person who starts the server, who may hear the cause.
pub(super) fn operator_error(what: &str, refusal: &Refusal) -> anyhow::Error {
    anyhow!("{what}: {}", refusal.inside().detail)
}

fn start_log(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).context("setting `log` cannot be used")?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).compact();
    // Only a second start within one process would fail.
    let _ = log.with_ansi(std::io::stderr().is_terminal()).try_init();
    Ok(())
}

async fn banner(settings: &Settings, store: &Store, address: SocketAddr) -> anyhow::Result<()> {
    let facts = store.facts().await?;
    let tls = match (&settings.sql.tls, settings.sql.tls_required) {
        (None, _) => "not encrypted",
        (Some(_), false) => "TLS for clients that ask for it",
        (Some(_), true) => "TLS only",
    };
    let mut err = std::io::stderr();
    writeln!(err, "Weir {} is serving {}", env!("CARGO_PKG_VERSION"), store.dir().display())?;
    writeln!(
        err,
        "  {} data sources, {} users, {} policies, epoch {}",
        facts.sources.len(),
        facts.principals.len(),
        facts.policies.len(),
        facts.epoch.unwrap_or(weir_model::Epoch(0)),
    )?;
    writeln!(err, "  SQL door (PostgreSQL wire protocol): {address}, {tls}")?;
    if !address.ip().is_loopback() && settings.sql.tls.is_none() {
        writeln!(
            err,
            "  warning: other machines can connect, and what they read crosses the network in the clear; set sql.tls_certificate and sql.tls_key"
        )?;
    }
    writeln!(err, "  Ctrl-C ends it\n")?;
    Ok(())
}

/// Ends when the process is told to end, by Ctrl-C or by SIGTERM.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
