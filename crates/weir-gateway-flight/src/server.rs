//! Listening, and how it all ends.

use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tonic::transport::Server;
use weir_gateway::{Tls, TlsError, TlsSettings};
use weir_guard::Credentials;
use weir_query::Engine;

use crate::auth::Authenticator;
use crate::incoming::incoming;
use crate::service::Door;
use crate::sessions::Sessions;
use crate::ticket::Tickets;

/// How long calls may take to end when the server stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// Calls of one connection that run at once.
const CALLS_MAX: u32 = 128;
/// All headers of a call, in bytes.
const HEADER_BYTES_MAX: u32 = 16 * 1024;

/// Limits of the door.
#[derive(Clone, Debug)]
pub struct FlightSettings {
    /// Every connection is encrypted when given; none is without it.
    pub tls: Option<TlsSettings>,
    /// At once; the same number of sessions for each user.
    pub connections_max: usize,
    /// For encryption, and again for authentication.
    pub startup_timeout: Duration,
    /// Longest message of a client, in bytes: statement text or parameters.
    pub message_bytes_max: usize,
    /// How long a token holds after its last use.
    pub token_lifetime: Duration,
    pub ticket_lifetime: Duration,
    /// Iterations that the store gives to a SQL credential, so that names without one look alike.
    pub scram_iterations: u32,
}

impl Default for FlightSettings {
    fn default() -> Self {
        Self {
            tls: None,
            connections_max: 100,
            startup_timeout: Duration::from_secs(30),
            message_bytes_max: 4 * 1024 * 1024,
            token_lifetime: Duration::from_hours(1),
            ticket_lifetime: Duration::from_mins(5),
            scram_iterations: 4096,
        }
    }
}

/// The Arrow Flight SQL door.
pub struct FlightGateway {
    door: Door,
    tls: Option<Arc<Tls>>,
    settings: FlightSettings,
}

impl FlightGateway {
    /// Reads certificate and key, if there are any.
    pub fn new(engine: Engine, credentials: Arc<dyn Credentials>, settings: FlightSettings) -> Result<Self, TlsError> {
        let tls = settings.tls.as_ref().map(|tls| Tls::load(tls, &["h2"])).transpose()?;
        let door = Door {
            engine,
            authenticator: Authenticator::new(credentials, settings.scram_iterations),
            sessions: Sessions::new(settings.token_lifetime, settings.connections_max),
            tickets: Tickets::new(settings.ticket_lifetime),
            mutual_tls: tls.as_ref().is_some_and(|tls| tls.mutual),
            parameter_bytes_max: settings.message_bytes_max,
            stopped: watch::channel(false).1,
            running: mpsc::channel(1).0,
        };
        Ok(Self { door, tls: tls.map(Arc::new), settings })
    }

    /// Takes connections until `shutdown` ends. Then no more are taken, and what runs is told, ends, and is recorded as
    /// cancelled.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let Self { mut door, tls, settings } = self;
        let (stop, stopped) = watch::channel(false);
        let (running, mut ended) = mpsc::channel(1);
        (door.stopped, door.running) = (stopped.clone(), running);
        let service = FlightServiceServer::new(door).max_decoding_message_size(settings.message_bytes_max);
        let connections = incoming(listener, tls, settings.connections_max, settings.startup_timeout);
        let mut server = Server::builder()
            .max_concurrent_streams(CALLS_MAX)
            .http2_max_header_list_size(HEADER_BYTES_MAX)
            .http2_keepalive_interval(Some(Duration::from_mins(1)));
        let until = {
            let mut stopped = stopped.clone();
            async move {
                let _ = stopped.wait_for(|stop| *stop).await;
            }
        };
        let served = server.add_service(service).serve_with_incoming_shutdown(connections, until);
        tokio::pin!(served);
        tokio::select! {
            result = &mut served => {
                if let Err(error) = result {
                    tracing::error!(%error, "the Flight SQL door ended by itself");
                }
                return;
            }
            () = shutdown => {}
        }
        stop.send_replace(true);
        let all_ended = async {
            let _ = served.await;
            // Every running read holds the other end.
            ended.recv().await;
        };
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, all_ended).await.is_err() {
            tracing::warn!("some calls did not end in time");
        }
    }
}
