//! Listening: who is let in, how many at once, and how it all ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tracing::Instrument;
use weir_gateway::{Tls, TlsError, TlsSettings};
use weir_guard::Credentials;
use weir_query::Engine;

use crate::auth::Authenticator;
use crate::cancel::Cancels;
use crate::session::Session;
use crate::startup;

/// Connections that have not authenticated yet, beyond the others.
const STARTING_MAX: usize = 128;
/// How long connections may take to end when the server stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Limits of the door.
#[derive(Clone, Debug)]
pub struct SqlSettings {
    /// Offered when given.
    pub tls: Option<TlsSettings>,
    /// Authenticated connections at once.
    pub connections_max: usize,
    /// For encryption and authentication together.
    pub startup_timeout: Duration,
    /// Longest message of a client, in bytes: statement text or bound parameters.
    pub message_bytes_max: usize,
    /// Iterations that the store gives to a SQL credential, so that names without one look alike.
    pub scram_iterations: u32,
}

impl Default for SqlSettings {
    fn default() -> Self {
        Self {
            tls: None,
            connections_max: 100,
            startup_timeout: Duration::from_secs(30),
            message_bytes_max: 4 * 1024 * 1024,
            scram_iterations: 4096,
        }
    }
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) authenticator: Authenticator,
    pub(crate) tls: Option<Tls>,
    pub(crate) cancels: Arc<Cancels>,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) settings: SqlSettings,
}

/// The PostgreSQL wire protocol door.
pub struct SqlGateway {
    shared: Arc<Shared>,
}

impl SqlGateway {
    /// Reads certificate and key, if there are any.
    pub fn new(engine: Engine, credentials: Arc<dyn Credentials>, settings: SqlSettings) -> Result<Self, TlsError> {
        let shared = Shared {
            engine,
            authenticator: Authenticator::new(credentials, settings.scram_iterations),
            tls: settings.tls.as_ref().map(|tls| Tls::load(tls, &[])).transpose()?,
            cancels: Arc::default(),
            places: Arc::new(Semaphore::new(settings.connections_max)),
            settings,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Takes connections until `shutdown` ends. Then no more are taken, those that are open are told and end, and
    /// what they run is recorded as cancelled.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(false);
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(ended) = connections.join_next() => log_panic(ended),
                accepted = listener.accept() => match accepted {
                    Ok(_) if connections.len() >= self.shared.settings.connections_max + STARTING_MAX => {
                        tracing::warn!("a connection was dropped: too many are open");
                    }
                    Ok((stream, peer)) => {
                        let span = tracing::info_span!("sql", %peer);
                        let connection = connection(Arc::clone(&self.shared), stream, stopped.clone());
                        connections.spawn(connection.instrument(span));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        stop.send_replace(true);
        let all_ended = async {
            while let Some(ended) = connections.join_next().await {
                log_panic(ended);
            }
        };
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, all_ended).await.is_err() {
            tracing::warn!("some connections did not end in time");
            connections.shutdown().await;
        }
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream, mut stopped: watch::Receiver<bool>) {
    // Without it, small answers wait for the client's acknowledgement.
    let _ = stream.set_nodelay(true);
    let started = tokio::select! {
        _ = stopped.wait_for(|stop| *stop) => return,
        started = tokio::time::timeout(shared.settings.startup_timeout, Box::pin(startup::start(&shared, stream))) => started,
    };
    match started {
        Ok(Some(started)) => {
            let principal = started.caller.actor.authenticated.clone();
            tracing::debug!(%principal, "connected");
            Box::pin(Session::new(&shared, started, stopped).run()).await;
            tracing::debug!(%principal, "disconnected");
        }
        Ok(None) => {}
        Err(_) => tracing::debug!("authentication took too long"),
    }
}

/// A defect in one connection ends that connection only.
fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a connection ended by a defect");
    }
}
