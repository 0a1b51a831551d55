//! Open sessions with databases. They are driven by threads of their own and are handed to one statement at a time; one
//! that is given back before its answer was read to the end is cancelled over there, and closed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use datafusion::common::Result as Outcome;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use weir_model::{Connection, ConnectionName, DatabaseKind, Tls};

use super::catalog::Found;
use super::dialect::Dialect;
use super::postgres::Verified;
use super::scan::{Query, Rows, failed};
use super::{mariadb, postgres, sqlite};
use crate::error::SourceError;

/// Sessions with one database at once.
const SESSIONS_MAX: usize = 16;
/// For a session to be opened.
pub(super) const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// For one of the sessions to be free.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// For what the catalogue of a database is asked.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// After which a peer that does not answer at all is given up.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(30);

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
    connection: Arc<Connection>,
    /// Where sessions are encrypted.
    tls: Option<Verified>,
    handle: Handle,
    idle: Mutex<Vec<Session>>,
    places: Arc<Semaphore>,
}

/// What is said in a session, and read, is the matter of each kind of database. Errors say why.
pub(super) enum Session {
    Postgresql(postgres::Session),
    Mariadb(mariadb::Session),
    Sqlite(sqlite::Session),
}

impl Session {
    async fn open(connection: &Connection, tls: Option<Verified>) -> Result<Self, String> {
        Ok(match connection.address.kind {
            DatabaseKind::Postgresql => Self::Postgresql(postgres::Session::open(connection, tls).await?),
            DatabaseKind::Mariadb => Self::Mariadb(mariadb::Session::open(connection).await?),
            DatabaseKind::Sqlite => Self::Sqlite(sqlite::Session::open(&connection.address.database)?),
        })
    }

    async fn is_closed(&mut self) -> bool {
        match self {
            Self::Postgresql(session) => session.is_closed(),
            Self::Mariadb(session) => session.is_closed().await,
            Self::Sqlite(session) => session.is_outdated(),
        }
    }

    fn dialect(&self) -> Dialect {
        let (kind, utf8) = match self {
            Self::Postgresql(session) => (DatabaseKind::Postgresql, session.is_utf8()),
            Self::Mariadb(_) => (DatabaseKind::Mariadb, true),
            Self::Sqlite(session) => (DatabaseKind::Sqlite, session.is_utf8()),
        };
        Dialect { kind, utf8 }
    }

    async fn version(&mut self) -> Result<String, String> {
        match self {
            Self::Postgresql(session) => session.version().await,
            Self::Mariadb(session) => session.version().await,
            Self::Sqlite(session) => session.version(),
        }
    }

    async fn tables(&mut self, schema: &str, table: Option<&str>, keys: bool) -> Result<Vec<Found>, String> {
        match self {
            Self::Postgresql(session) => session.tables(schema, table, keys).await,
            Self::Mariadb(session) => session.tables(schema, table).await,
            Self::Sqlite(session) => session.tables(schema, table),
        }
    }

    /// Ends what it does over there.
    async fn cancel(self, connection: &Connection) {
        match self {
            Self::Postgresql(session) => session.cancel().await,
            Self::Mariadb(session) => session.cancel(connection).await,
            // Whoever asks looks whether somebody listens.
            Self::Sqlite(_) => {}
        }
    }
}

impl Pool {
    fn new(connection: Connection, handle: Handle) -> Result<Self, SourceError> {
        let tls = match &connection.address.tls {
            Tls::Off => None,
            Tls::Verified { authorities } => {
                Some(Verified::new(authorities).map_err(|why| unreachable(&connection.name, &why))?)
            }
        };
        let (idle, places) = (Mutex::default(), Arc::new(Semaphore::new(SESSIONS_MAX)));
        Ok(Self { connection: Arc::new(connection), tls, handle, idle, places })
    }

    pub(crate) fn name(&self) -> &ConnectionName {
        &self.connection.name
    }

    pub(super) fn kind(&self) -> DatabaseKind {
        self.connection.address.kind
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
                Some(mut session) => {
                    if !session.is_closed().await {
                        break session;
                    }
                }
                None => break self.open().await?,
            }
        };
        let dialect = session.dialect();
        Ok(Lease { pool: Arc::clone(self), session: Some(session), place: Some(place), dialect, busy: false })
    }

    async fn open(&self) -> Result<Session, SourceError> {
        let (connection, tls) = (Arc::clone(&self.connection), self.tls.clone());
        let opening = self.handle.spawn(async move { Session::open(&connection, tls).await });
        let opened = match tokio::time::timeout(CONNECT_TIME_MAX, opening).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(e)) => Err(e.to_string()),
            Err(_) => Err(format!("it did not answer within {} seconds", CONNECT_TIME_MAX.as_secs())),
        };
        opened.map_err(|why| unreachable(self.name(), &why))
    }
}

/// A session that is in use. Dropped while an answer is on its way, it ends the statement over there.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    session: Option<Session>,
    place: Option<OwnedSemaphorePermit>,
    dialect: Dialect,
    busy: bool,
}

impl Lease {
    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Threads for what has to wait.
    pub(super) fn handle(&self) -> Handle {
        self.pool.handle.clone()
    }

    /// For a statement, of which [`Self::done`] tells the end.
    pub(super) fn begin(&mut self) -> Option<&mut Session> {
        self.busy = true;
        self.session.as_mut()
    }

    /// The answer was read to the end.
    pub(super) fn done(&mut self) {
        self.busy = false;
    }

    /// What the database says of itself.
    pub(super) async fn version(&mut self) -> Result<String, SourceError> {
        self.asked(async |session| session.version().await).await
    }

    /// The tables of `schema` by name, or the one that is asked for; `keys` asks for their keys as well.
    pub(super) async fn tables(
        &mut self,
        schema: &str,
        table: Option<&str>,
        keys: bool,
    ) -> Result<Vec<Found>, SourceError> {
        self.asked(async |session| session.tables(schema, table, keys).await).await
    }

    async fn asked<T>(&mut self, ask: impl AsyncFnOnce(&mut Session) -> Result<T, String>) -> Result<T, SourceError> {
        let name = self.pool.name().clone();
        let Some(session) = self.begin() else { return Err(unreachable(&name, "there is no session")) };
        let answer = tokio::time::timeout(ANSWER_TIME_MAX, ask(session)).await;
        let answer = answer.unwrap_or_else(|_| Err("its catalogue does not answer".to_owned()));
        let answer = answer.map_err(|why| unreachable(&name, &why))?;
        self.done();
        Ok(answer)
    }

    /// The rows as they come.
    pub(super) async fn rows(self, query: Query) -> Outcome<Rows> {
        match self.session {
            Some(Session::Postgresql(_)) => postgres::rows(self, query).await,
            Some(Session::Mariadb(_)) => mariadb::rows(self, &query),
            Some(Session::Sqlite(_)) => sqlite::rows(self, query),
            None => Err(failed("there is no session".to_owned())),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (Some(session), Some(place)) = (self.session.take(), self.place.take()) else { return };
        if !self.busy {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
            return;
        }
        let connection = Arc::clone(&self.pool.connection);
        self.pool.handle.spawn(async move {
            // Where it does not arrive, the statement ends when the database finds nobody at the other end.
            let _ = tokio::time::timeout(CONNECT_TIME_MAX, session.cancel(&connection)).await;
            drop(place);
        });
    }
}

pub(super) fn unreachable(connection: &ConnectionName, why: &str) -> SourceError {
    SourceError::Connection { connection: connection.clone(), why: why.to_owned() }
}
