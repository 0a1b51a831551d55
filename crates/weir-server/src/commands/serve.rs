use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;
use weir_gateway::TlsSettings;
use weir_gateway_flight::{FlightGateway, FlightSettings};
use weir_gateway_sql::{SqlGateway, SqlSettings};
use weir_guard::{Guard, Refusal, SystemClock};
use weir_query::{Engine, EngineSettings, WorkspaceSettings};
use weir_store::Store;

use crate::context::Context;
use crate::settings::{Flag, Settings, TlsFiles};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir serve
  weir serve --sql-address 0.0.0.0:5433 --tls-cert server.pem --tls-key server.key

Other limits are settings: see docs/settings.md and `weir config show`. Ctrl-C ends the server; reads that run are told \
and recorded as cancelled.")]
pub(crate) struct Serve {
    #[command(flatten)]
    doors: Doors,
}

/// Flags of the doors.
#[derive(Debug, Args)]
pub(crate) struct Doors {
    /// Where the SQL door listens [env: WEIR_SQL_ADDRESS] [default: 127.0.0.1:5433]
    #[arg(long, value_name = "HOST:PORT")]
    sql_address: Option<String>,
    /// PEM file with the certificate of the SQL door [env: WEIR_SQL_TLS_CERTIFICATE]
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// PEM file with the private key of the certificate [env: WEIR_SQL_TLS_KEY]
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// Where the Flight SQL door listens [env: WEIR_FLIGHT_ADDRESS] [default: 127.0.0.1:32010]
    #[arg(long, value_name = "HOST:PORT")]
    flight_address: Option<String>,
}

impl Doors {
    pub(crate) fn flags(&self) -> Vec<Flag> {
        let flags = [
            ("sql.address", "--sql-address", &self.sql_address),
            ("sql.tls_certificate", "--tls-cert", &self.tls_cert),
            ("sql.tls_key", "--tls-key", &self.tls_key),
            ("flight.address", "--flight-address", &self.flight_address),
        ];
        flags.into_iter().filter_map(|(key, flag, value)| Some(Flag { key, flag, value: value.clone()? })).collect()
    }
}

impl Serve {
    pub(crate) fn flags(&self) -> Vec<Flag> {
        self.doors.flags()
    }
}

pub(crate) async fn run(context: &Context) -> anyhow::Result<()> {
    let listeners = listen(&context.settings).await?;
    let store = context.make_store().await?;
    serve(&context.settings, store, listeners, |_| String::new()).await
}

pub(super) struct Listeners {
    sql: TcpListener,
    flight: TcpListener,
}

/// Where the doors are.
pub(crate) struct Addresses {
    pub(crate) sql: SocketAddr,
    pub(crate) flight: SocketAddr,
}

/// Takes the addresses, so that a mistake is told before anything is done.
pub(super) async fn listen(settings: &Settings) -> anyhow::Result<Listeners> {
    Ok(Listeners {
        sql: listen_at(&settings.sql.address, "--sql-address or WEIR_SQL_ADDRESS").await?,
        flight: listen_at(&settings.flight.address, "--flight-address or WEIR_FLIGHT_ADDRESS").await?,
    })
}

async fn listen_at(address: &str, by: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => anyhow!(
            "cannot listen on {address}: something else listens there already\nhelp: stop it, or choose another address with \
             {by}"
        ),
        _ => anyhow::Error::new(e).context(format!("cannot listen on {address}")),
    })
}

/// Runs the doors until the process is told to end. `guide` is what to say once they are open.
pub(super) async fn serve(
    settings: &Settings,
    store: Store,
    listeners: Listeners,
    guide: impl FnOnce(&Addresses) -> String,
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
    let directory = settings.workspaces.directory.clone().unwrap_or_else(|| store.dir().join("workspaces"));
    let workspaces = WorkspaceSettings {
        directory: std::path::absolute(directory).context("setting `workspaces.directory` cannot be used")?,
        bytes_max: settings.workspaces.bytes_max,
    };
    let engine = Engine::with_workspaces(guard, engine_settings(settings), shared.clone(), workspaces)
        .map_err(|e| operator_error("cannot start the engine", &e))?;
    match engine.clear_leftovers().await {
        Ok(0) => {}
        Ok(tables) => tracing::warn!(tables, "files of tables that a killed server did not finish were removed"),
        Err(e) => tracing::warn!(detail = e.inside().detail, "what writes left behind could not be looked at"),
    }
    let sql = SqlGateway::new(engine.clone(), shared.clone(), sql_settings(settings))?;
    let flight = FlightGateway::new(engine, shared, flight_settings(settings))?;
    let addresses = Addresses { sql: listeners.sql.local_addr()?, flight: listeners.flight.local_addr()? };
    banner(settings, &store, &addresses).await?;
    write!(std::io::stdout(), "{}", guide(&addresses))?;
    let (stop_all, stopped) = watch::channel(false);
    let until = || {
        let mut stopped = stopped.clone();
        async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        }
    };
    tokio::join!(sql.serve(listeners.sql, until()), flight.serve(listeners.flight, until()), async {
        stop.await;
        stop_all.send_replace(true);
    });
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
    SqlSettings {
        tls: settings.sql.tls.as_ref().map(|files| tls_settings(files, settings.sql.tls_required)),
        connections_max: settings.sql.connections_max,
        startup_timeout: settings.sql.startup_timeout,
        message_bytes_max: message_bytes_max(settings),
        ..SqlSettings::default()
    }
}

fn flight_settings(settings: &Settings) -> FlightSettings {
    FlightSettings {
        tls: settings.flight.tls.as_ref().map(|files| tls_settings(files, true)),
        connections_max: settings.flight.connections_max,
        message_bytes_max: message_bytes_max(settings),
        token_lifetime: settings.flight.token_lifetime,
        ..FlightSettings::default()
    }
}

/// A statement that is too long shall be refused as such, with the connection left open.
fn message_bytes_max(settings: &Settings) -> usize {
    settings.query.statement_bytes_max.saturating_mul(2).max(4 << 20)
}

fn tls_settings(files: &TlsFiles, required: bool) -> TlsSettings {
    let TlsFiles { certificate, key, client_ca } = files;
    TlsSettings { certificate: certificate.clone(), key: key.clone(), client_ca: client_ca.clone(), required }
}

/// For the person who starts the server, who may hear the cause.
pub(super) fn operator_error(what: &str, refusal: &Refusal) -> anyhow::Error {
    anyhow!("{what}: {}", refusal.inside().detail)
}

fn start_log(filter: &str) -> anyhow::Result<()> {
    // What that crate tells of each version of a table that it reads is for those who work on it; who asks for it by name gets it.
    let quiet = if filter.contains("delta_kernel") { String::new() } else { ",delta_kernel=warn".to_owned() };
    let filter = EnvFilter::try_new(format!("{filter}{quiet}")).context("setting `log` cannot be used")?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).compact();
    // Only a second start within one process would fail.
    let _ = log.with_ansi(std::io::stderr().is_terminal()).try_init();
    Ok(())
}

async fn banner(settings: &Settings, store: &Store, addresses: &Addresses) -> anyhow::Result<()> {
    let facts = store.facts().await?;
    let sql_tls = match (&settings.sql.tls, settings.sql.tls_required) {
        (None, _) => "not encrypted",
        (Some(TlsFiles { client_ca: Some(_), .. }), _) => "TLS with certificates of clients only",
        (Some(_), false) => "TLS for clients that ask for it",
        (Some(_), true) => "TLS only",
    };
    let flight_tls = match &settings.flight.tls {
        None => "not encrypted",
        Some(TlsFiles { client_ca: Some(_), .. }) => "TLS with certificates of clients only",
        Some(_) => "TLS only",
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
    writeln!(err, "  SQL door (PostgreSQL wire protocol): {}, {sql_tls}", addresses.sql)?;
    writeln!(err, "  Flight SQL door (Arrow Flight SQL): {}, {flight_tls}", addresses.flight)?;
    for (door, address, tls) in
        [("sql", addresses.sql, &settings.sql.tls), ("flight", addresses.flight, &settings.flight.tls)]
    {
        if !address.ip().is_loopback() && tls.is_none() {
            writeln!(
                err,
                "  warning: other machines can connect to {address}, and what they read crosses the network in the clear; set {door}.tls_certificate and {door}.tls_key"
            )?;
        }
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
