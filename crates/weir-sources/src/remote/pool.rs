//! Open sessions with databases. They are driven by threads of their own and are handed to one statement at a time; one
//! that is given back before its answer was read to the end is cancelled over there, and closed.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row, Socket, Statement};
use weir_model::{Connection, ConnectionName, Tls};

use super::tls::Verified;
use crate::error::SourceError;

/// Sessions with one database at once.
const SESSIONS_MAX: usize = 16;
/// For a session to be opened.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// For one of the sessions to be free.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// For what the catalogue of a database is asked.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// After which a peer that does not answer at all is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// The first version whose catalogue tells what is asked of it.
const VERSION_MIN: u32 = 120_000;

/// Nothing is written, values look as they are expected to, and no name means what somebody over there put in its way.
const SETTINGS: &str = "SET default_transaction_read_only = on; SET search_path = pg_catalog; SET TimeZone = 'UTC'; \
    SET standard_conforming_strings = on; SET row_security = on";

/// All databases that are in use.
#[derive(Default)]
pub(crate) struct Databases {
    threads: OnceLock<Runtime>,
    pools: Mutex<HashMap<ConnectionName, Arc<Pool>>>,
}

impl Databases {
    /// Sessions by these credentials at this address; those by former ones are closed when their statements end.
    pub(crate) fn pool(&self, connection: Connection) -> Result<Arc<Pool>, SourceError> {
        let handle = self.handle().map_err(|e| unreachable(&connection.name, &e.to_string()))?;
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&connection.name)
            && pool.connection.is_same(&connection)
        {
            return Ok(Arc::clone(pool));
        }
        let pool = Arc::new(Pool::new(connection, handle)?);
        pools.insert(pool.connection.name.clone(), Arc::clone(&pool));
        Ok(pool)
    }

    fn handle(&self) -> std::io::Result<Handle> {
        if let Some(threads) = self.threads.get() {
            return Ok(threads.handle().clone());
        }
        let made = Builder::new_multi_thread().worker_threads(2).thread_name("remote").enable_all().build()?;
        if let Err(left_over) = self.threads.set(made) {
            left_over.shutdown_background();
        }
        self.threads.get().map(|threads| threads.handle().clone()).ok_or_else(|| std::io::Error::other("no threads"))
    }
}

impl Drop for Databases {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            // Waiting would be refused where this is dropped: in a task.
            threads.shutdown_background();
        }
    }
}

/// One database, by one set of credentials.
pub(crate) struct Pool {
    connection: Connection,
    security: Security,
    handle: Handle,
    idle: Mutex<Vec<Session>>,
    places: Arc<Semaphore>,
}

#[derive(Clone)]
enum Security {
    Off,
    Verified(Verified),
}

struct Session {
    client: Client,
    driver: JoinHandle<()>,
    /// The database keeps texts in UTF-8.
    utf8: bool,
    /// What is asked at every statement, by its text.
    kept: Option<(&'static str, Statement)>,
}

impl Session {
    async fn query_kept(
        &mut self,
        text: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let statement = match &self.kept {
            Some((kept, statement)) if *kept == text => statement.clone(),
            Some(_) | None => {
                let statement = self.client.prepare(text).await?;
                self.kept = Some((text, statement.clone()));
                statement
            }
        };
        self.client.query(&statement, params).await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Pool {
    fn new(connection: Connection, handle: Handle) -> Result<Self, SourceError> {
        let security = match &connection.address.tls {
            Tls::Off => Security::Off,
            Tls::Verified { authorities } => {
                let verified = Verified::new(authorities).map_err(|why| unreachable(&connection.name, &why))?;
                Security::Verified(verified)
            }
        };
        let (idle, places) = (Mutex::default(), Arc::new(Semaphore::new(SESSIONS_MAX)));
        Ok(Self { connection, security, handle, idle, places })
    }

    pub(crate) fn name(&self) -> &ConnectionName {
        &self.connection.name
    }

    /// A session for one statement.
    pub(crate) async fn lease(self: &Arc<Self>) -> Result<Lease, SourceError> {
        let place = tokio::time::timeout(WAIT_MAX, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            return Err(unreachable(self.name(), "all sessions with it are in use"));
        };
        let session = loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                Some(session) if session.client.is_closed() => {}
                Some(session) => break session,
                None => break self.open().await?,
            }
        };
        Ok(Lease { pool: Arc::clone(self), session: Some(session), place: Some(place), busy: false })
    }

    async fn open(&self) -> Result<Session, SourceError> {
        let address = &self.connection.address;
        let mut config = Config::new();
        config
            .host(&address.host)
            .port(address.port)
            .dbname(&address.database)
            .user(&address.user)
            .password(self.connection.password.expose())
            .application_name("weir")
            .connect_timeout(CONNECT_TIME_MAX)
            .keepalives_idle(SILENCE_MAX)
            .keepalives_interval(SILENCE_MAX / 3)
            .keepalives_retries(3)
            .tcp_user_timeout(SILENCE_MAX);
        let opening = match self.security.clone() {
            Security::Off => {
                config.ssl_mode(SslMode::Disable);
                self.handle.spawn(async move { open(&config, NoTls).await })
            }
            Security::Verified(tls) => {
                config.ssl_mode(SslMode::Require);
                self.handle.spawn(async move { open(&config, tls).await })
            }
        };
        let opened = match tokio::time::timeout(CONNECT_TIME_MAX, opening).await {
            Ok(Ok(opened)) => opened.map_err(|e| chain(&e)),
            Ok(Err(e)) => Err(e.to_string()),
            Err(_) => Err(format!("it did not answer within {} seconds", CONNECT_TIME_MAX.as_secs())),
        };
        let (mut session, version) = opened.map_err(|why| unreachable(self.name(), &why))?;
        if version < VERSION_MIN {
            return Err(unreachable(self.name(), "PostgreSQL 12 or newer is needed"));
        }
        let row = session.client.query_one("SELECT pg_catalog.current_setting('server_encoding')", &[]).await;
        let encoding: Result<String, _> = row.and_then(|row| row.try_get(0));
        session.utf8 = encoding.map_err(|e| unreachable(self.name(), &chain(&e)))? == "UTF8";
        Ok(session)
    }
}

/// A session, and the version of the database.
async fn open<T>(config: &Config, tls: T) -> Result<(Session, u32), tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect(tls).await?;
    let driver = tokio::spawn(async move {
        // Whoever waits for an answer hears of it as well.
        let _ = connection.await;
    });
    let session = Session { client, driver, utf8: false, kept: None };
    session.client.batch_execute(SETTINGS).await?;
    let row = session.client.query_one("SELECT pg_catalog.current_setting('server_version_num')", &[]).await?;
    let version: String = row.try_get(0)?;
    Ok((session, version.parse().unwrap_or(0)))
}

/// A session that is in use. Dropped while an answer is on its way, it ends the statement over there.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    session: Option<Session>,
    place: Option<OwnedSemaphorePermit>,
    busy: bool,
}

impl Lease {
    /// For a statement, of which [`Self::done`] tells the end.
    pub(crate) fn begin(&mut self) -> Result<&Client, SourceError> {
        self.busy = true;
        match &self.session {
            Some(session) => Ok(&session.client),
            None => Err(unreachable(self.pool.name(), "there is no session")),
        }
    }

    /// All rows of a query that is asked often; the session keeps it ready.
    pub(crate) async fn query_kept(
        &mut self,
        text: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, SourceError> {
        self.busy = true;
        let Some(session) = &mut self.session else { return Err(unreachable(self.pool.name(), "there is no session")) };
        let answer = tokio::time::timeout(ANSWER_TIME_MAX, session.query_kept(text, params)).await;
        let failed = |why: &str| unreachable(self.pool.name(), why);
        let rows = answer.map_err(|_| failed("its catalogue does not answer"))?.map_err(|e| failed(&chain(&e)))?;
        self.busy = false;
        Ok(rows)
    }

    /// The answer was read to the end.
    pub(crate) fn done(&mut self) {
        self.busy = false;
    }

    pub(crate) fn is_utf8(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.utf8)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (Some(session), Some(place)) = (self.session.take(), self.place.take()) else { return };
        if !self.busy {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
            return;
        }
        let (token, security) = (session.client.cancel_token(), self.pool.security.clone());
        self.pool.handle.spawn(async move {
            let cancel = async {
                match security {
                    Security::Off => token.cancel_query(NoTls).await,
                    Security::Verified(tls) => token.cancel_query(tls).await,
                }
            };
            // Where it does not arrive, the statement ends when the database finds nobody at the other end.
            let _ = tokio::time::timeout(CONNECT_TIME_MAX, cancel).await;
            drop((session, place));
        });
    }
}

pub(crate) fn unreachable(connection: &ConnectionName, why: &str) -> SourceError {
    SourceError::Connection { connection: connection.clone(), why: why.to_owned() }
}

/// What the driver says, with what the database says.
pub(crate) fn chain(e: &tokio_postgres::Error) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(e) = cause {
        text.push_str(&format!(": {e}"));
        cause = e.source();
    }
    text
}
