//! A gateway over an empty world, and ways to reach it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use pgwire::api::auth::sasl::scram::gen_salted_password;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::{AbortHandle, JoinHandle};
use tokio_postgres::{Client, Config, NoTls};
use weir_gateway_sql::{SqlGateway, SqlSettings};
use weir_guard::audit::{Attempt, Outcome};
use weir_guard::{
    AuditSink, Credentials, Ended, Guard, KeyRing, MaskKey, PortError, ScramVerifier, SnapshotFeed, SystemClock,
};
use weir_model::{Epoch, Principal, PrincipalId, Secret};
use weir_policy::{Facts, KeyScope, Snapshot};
use weir_query::{Engine, EngineSettings, UserLimits};

/// Everything that the engine and the door ask of the outside.
#[derive(Default)]
pub(crate) struct Ports {
    pub(crate) attempts: Mutex<Vec<Attempt>>,
    pub(crate) outcomes: Mutex<Vec<Outcome>>,
    /// There is one more outcome.
    pub(crate) ended: Notify,
}

#[async_trait]
impl SnapshotFeed for Ports {
    async fn current(&self) -> Result<Arc<Snapshot>, PortError> {
        let tara = Principal::bare(PrincipalId::builtin("tara").unwrap());
        let facts = Facts { epoch: Some(Epoch(7)), principals: vec![tara], ..Facts::default() };
        Ok(Arc::new(Snapshot::compile(facts)))
    }

    /// Nothing ever changes.
    async fn after(&self, _: &Arc<Snapshot>) -> Result<Arc<Snapshot>, PortError> {
        std::future::pending().await
    }
}

#[async_trait]
impl AuditSink for Ports {
    async fn attempt(&self, record: &Attempt) -> Result<(), PortError> {
        self.attempts.lock().unwrap().push(record.clone());
        Ok(())
    }

    async fn outcome(&self, record: &Outcome) -> Result<(), PortError> {
        self.outcome_later(record.clone());
        Ok(())
    }

    fn outcome_later(&self, record: Outcome) {
        self.outcomes.lock().unwrap().push(record);
        self.ended.notify_one();
    }
}

#[async_trait]
impl KeyRing for Ports {
    async fn mask_key(&self, _scope: &KeyScope) -> Result<MaskKey, PortError> {
        Err(PortError::new("key ring", "there are no keys"))
    }

    async fn mask_key_by_id(&self, _scope: &KeyScope, _id: u32) -> Result<Option<Secret>, PortError> {
        Err(PortError::new("key ring", "there are no keys"))
    }
}

#[async_trait]
impl Credentials for Ports {
    async fn scram(&self, principal: &PrincipalId) -> Result<Option<ScramVerifier>, PortError> {
        let salt = b"sixteen bytes...".to_vec();
        let salted_password = Secret::new(gen_salted_password("demo", &salt, 4096));
        let known = principal.to_string() == "tara";
        Ok(known.then_some(ScramVerifier { salt, iterations: 4096, salted_password }))
    }
}

/// A gateway that runs until it is dropped or stopped.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) ports: Arc<Ports>,
    clients: Mutex<Vec<AbortHandle>>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(SqlSettings::default()).await
    }

    pub(crate) async fn with(settings: SqlSettings) -> Self {
        let ports = Arc::new(Ports::default());
        let guard = Guard::new(ports.clone(), ports.clone(), ports.clone(), Arc::new(SystemClock));
        let limits = EngineSettings {
            memory_bytes_max: 256 << 20,
            partitions: 2,
            statement_bytes_max: 1 << 20,
            user: UserLimits::default(),
        };
        let engine = Engine::new(guard, limits).unwrap();
        let gateway = SqlGateway::new(engine, ports.clone(), settings).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(gateway.serve(listener, async {
            let _ = stopped.await;
        }));
        Self { address, ports, clients: Mutex::default(), stop, served }
    }

    /// Returns when the gateway has ended by itself.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap();
    }

    /// Cuts every client's connection.
    pub(crate) fn disconnect_all(&self) {
        self.clients.lock().unwrap().iter().for_each(AbortHandle::abort);
    }

    /// Waits until as many reads have ended, and says how.
    pub(crate) async fn ended(&self, reads: usize) -> Vec<Ended> {
        loop {
            let ended: Vec<_> = self.ports.outcomes.lock().unwrap().iter().map(|outcome| outcome.ended).collect();
            if ended.len() >= reads {
                return ended;
            }
            self.ports.ended.notified().await;
        }
    }

    pub(crate) async fn raw(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub(crate) async fn tara(&self) -> Client {
        self.connect("tara", "demo", "weir").await.unwrap()
    }

    pub(crate) async fn connect(
        &self,
        user: &str,
        password: &str,
        database: &str,
    ) -> Result<Client, tokio_postgres::Error> {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.address.port()).user(user).password(password).dbname(database);
        let (client, connection) = config.connect(NoTls).await?;
        self.clients.lock().unwrap().push(tokio::spawn(connection).abort_handle());
        Ok(client)
    }
}

/// SQLSTATE and text of an error of the server.
pub(crate) fn told(error: &tokio_postgres::Error) -> (String, String) {
    let error = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
    (error.code().code().to_owned(), error.message().to_owned())
}
