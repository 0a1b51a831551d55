//! One connection after authentication: messages in, in order; answers out; the state between them.

mod control;
mod copy_in;
mod extended;
mod stream;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::ArrayRef;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::copy::{CopyDone, CopyOutResponse};
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse, ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::ParameterStatus;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio::time::Instant;
use weir_guard::{Caller, Outside, Refusal};
use weir_query::{Asked, CopyOut, Engine, Query, SessionStatement, Statement, Write};

use self::control::{OpenCursor, Savepoint};
use self::extended::{Portal, Prepared};
use self::stream::{Form, ResultStream};
use crate::cancel::{Interrupt, Registered, Running};
use crate::encode;
use crate::server::Shared;
use crate::settings::SessionSettings;
use crate::sqlstate::{Told, code};
use crate::startup::Started;
use crate::types::{Column, row_description};
use crate::wire::{Connection, Frontend, Input, Malformed};

/// How long a client may take to hear why its connection ends.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);
/// How much of a refused statement is put on record, in bytes.
const RECORDED_BYTES_MAX: usize = 64 * 1024;

pub(crate) struct Session {
    connection: Connection,
    engine: Engine,
    caller: Caller,
    settings: SessionSettings,
    /// What statements are told of the connection.
    asked: Arc<Asked>,
    /// What `ROLLBACK` goes back to.
    settings_before: Option<SessionSettings>,
    /// What holds after `COMMIT`, where that is not what holds now.
    settings_at_commit: Option<SessionSettings>,
    /// The latest last.
    savepoints: Vec<Savepoint>,
    transaction: TransactionStatus,
    statements: HashMap<String, Arc<Prepared>>,
    portals: HashMap<String, Portal>,
    cursors: HashMap<String, OpenCursor>,
    /// After an error in the extended protocol, until the client's Sync.
    skipping: bool,
    registered: Registered,
    stopped: watch::Receiver<bool>,
    message_bytes_max: usize,
    /// Given back when the connection ends.
    _place: OwnedSemaphorePermit,
}

/// Why something is not done.
enum Stop {
    /// The client is told, and the connection goes on.
    Error(Box<Told>),
    /// The connection ends; the client is told when it is still there.
    End(Option<Box<Told>>),
}

type Done<T = ()> = Result<T, Stop>;

impl From<Told> for Stop {
    fn from(told: Told) -> Self {
        Stop::Error(Box::new(told))
    }
}

/// For refusals that are on record.
impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        let inside = refusal.inside();
        tracing::debug!(truth = inside.truth.as_str(), detail = inside.detail, "refused");
        Told::from(&refusal).into()
    }
}

impl From<Interrupt> for Stop {
    fn from(interrupt: Interrupt) -> Self {
        match interrupt {
            Interrupt::Cancelled => Told::cancelled().into(),
            Interrupt::TimedOut => Told::statement_timeout().into(),
            Interrupt::Shutdown => Stop::End(Some(Box::new(Told::shutdown()))),
            Interrupt::Gone => Stop::End(None),
        }
    }
}

fn end(told: Told) -> Stop {
    Stop::End(Some(Box::new(told)))
}

impl Session {
    pub(crate) fn new(shared: &Shared, started: Started, stopped: watch::Receiver<bool>) -> Self {
        Self {
            connection: started.connection,
            engine: shared.engine.clone(),
            caller: started.caller,
            asked: Arc::new(started.settings.asked()),
            settings: started.settings,
            settings_before: None,
            settings_at_commit: None,
            savepoints: Vec::new(),
            transaction: TransactionStatus::Idle,
            statements: HashMap::new(),
            portals: HashMap::new(),
            cursors: HashMap::new(),
            skipping: false,
            registered: started.registered,
            stopped,
            message_bytes_max: shared.settings.message_bytes_max,
            _place: started.place,
        }
    }

    /// Serves the connection to its end.
    pub(crate) async fn run(mut self) {
        for (name, value) in self.settings.reported() {
            let status = ParameterStatus::new(name.to_owned(), value.to_owned());
            self.connection.put(PgWireBackendMessage::ParameterStatus(status));
        }
        let mut going = self.ready().await;
        while going.is_ok() {
            going = match self.next_input().await {
                Ok(input) => self.input(input).await,
                Err(stop) => Err(stop),
            };
        }
        // Whatever is still open ends before the client hears anything.
        self.portals.clear();
        self.cursors.clear();
        if let Err(Stop::Error(told) | Stop::End(Some(told))) = going {
            self.put(PgWireBackendMessage::ErrorResponse(told.response()));
        }
        // The client may be gone, or not listen.
        let _ = tokio::time::timeout(FAREWELL_TIMEOUT, self.connection.finish()).await;
    }

    async fn next_input(&mut self) -> Done<Input> {
        let in_transaction = self.transaction != TransactionStatus::Idle;
        let timeout = self.settings.idle_timeout(in_transaction);
        let idle = async {
            match timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.stopped.wait_for(|stop| *stop) => Err(Interrupt::Shutdown.into()),
            input = self.connection.input(self.message_bytes_max) => input.map_err(|_| Interrupt::Gone.into()),
            // They end at once. Whoever asks for more of them hears why.
            never = withdrawn(&mut self.cursors, &mut self.portals) => match never {},
            () = idle => Err(end(if in_transaction {
                Told::fatal(code::IDLE_IN_TRANSACTION, "terminating connection due to idle-in-transaction timeout")
            } else {
                Told::fatal(code::IDLE_SESSION, "terminating connection due to idle-session timeout")
            })),
        }
    }

    /// Answers one message. An error means the end of the connection.
    async fn input(&mut self, input: Input) -> Done {
        match input {
            Input::Frame { kind, body } => match Frontend::decode(kind, body) {
                Ok(message) => self.message(message).await,
                Err(Malformed::Frame) => Err(end(Told::fatal(code::PROTOCOL_VIOLATION, "malformed message"))),
                Err(Malformed::Text) => {
                    self.failed(kind, Told::error(code::NOT_IN_REPERTOIRE, "invalid byte sequence for encoding `UTF8`"))
                        .await
                }
            },
            Input::TooLong { kind } => {
                let limit = self.message_bytes_max;
                let told =
                    Told::error(code::PROGRAM_LIMIT, format!("message is longer than the limit of {limit} bytes"));
                self.failed(kind, told).await
            }
            Input::Garbage => Err(end(Told::fatal(code::PROTOCOL_VIOLATION, "malformed message"))),
            Input::Closed => Err(Interrupt::Gone.into()),
        }
    }

    async fn message(&mut self, message: Frontend) -> Done {
        if self.skipping && !matches!(message, Frontend::Sync | Frontend::Terminate) {
            return Ok(());
        }
        let done = match message {
            Frontend::Query(text) => {
                self.forget_unnamed();
                let done = Box::pin(self.query(&text)).await;
                return self.end_query(done).await;
            }
            Frontend::Parse { name, text, types } => Box::pin(self.parse(name, text, types)).await,
            Frontend::Bind(bind) => self.bind(bind),
            Frontend::Describe { target, name } => self.describe(target, &name),
            Frontend::Execute { portal, rows_max } => Box::pin(self.execute(&portal, rows_max)).await,
            Frontend::Close { target, name } => {
                self.close(target, &name);
                Ok(())
            }
            Frontend::Flush => self.flush().await,
            Frontend::Sync => {
                self.skipping = false;
                self.end_statement();
                return self.ready().await;
            }
            Frontend::Terminate => Err(Interrupt::Gone.into()),
            Frontend::FunctionCall => {
                let told = Told::error(code::FEATURE_NOT_SUPPORTED, "the function call message is not supported");
                return self.end_query(Err(told.into())).await;
            }
            Frontend::Copy => Ok(()),
            Frontend::Password(_) => {
                Err(end(Told::fatal(code::PROTOCOL_VIOLATION, "unexpected authentication message")))
            }
        };
        match done {
            Ok(()) if self.connection.is_full() => self.flush().await,
            Ok(()) => Ok(()),
            Err(Stop::Error(told)) => {
                self.fail(&told);
                self.skipping = true;
                self.flush().await
            }
            Err(Stop::End(told)) => Err(Stop::End(told)),
        }
    }

    /// Answers a message that could not be read with an error.
    async fn failed(&mut self, kind: u8, told: Told) -> Done {
        if kind == b'Q' {
            return self.end_query(Err(told.into())).await;
        }
        self.fail(&told);
        self.skipping = true;
        self.flush().await
    }

    /// Runs every statement of a simple query, in order. The first error ends it.
    async fn query(&mut self, text: &str) -> Done {
        let statements = match weir_query::parse(text) {
            Ok(statements) => statements,
            Err(refusal) => return Err(self.refused(text, refusal).await),
        };
        if statements.is_empty() {
            self.put(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new()));
        }
        for statement in statements {
            self.check_transaction(&statement)?;
            match statement {
                Statement::Query(query) => {
                    let mut running = self.begin();
                    let stream = self.read(&mut running, &query, Vec::new()).await?;
                    self.put(PgWireBackendMessage::RowDescription(row_description(stream.columns(), &[])));
                    let (sent, _) = stream.send(&mut self.connection, &mut running, Form::Rows(&[]), None).await?;
                    self.complete_read(&query, sent);
                }
                Statement::Session(statement) => self.control(text, &statement, &[], true).await?,
                Statement::Write(write) => self.write(&write).await?,
                Statement::Copy(copy) => self.copy(&copy).await?,
                Statement::CopyIn(copy) => self.copy_in(&copy).await?,
            }
        }
        Ok(())
    }

    async fn end_query(&mut self, done: Done) -> Done {
        match done {
            Ok(()) => {}
            Err(Stop::Error(told)) => self.fail(&told),
            Err(Stop::End(told)) => return Err(Stop::End(told)),
        }
        self.end_statement();
        self.ready().await
    }

    /// A statement begins: it can be cancelled, and it has so much time.
    fn begin(&self) -> Running {
        let deadline = self.settings.statement_timeout().and_then(|timeout| Instant::now().checked_add(timeout));
        self.registered.run(deadline, self.stopped.clone())
    }

    /// Runs a read up to its first row.
    async fn read(&mut self, running: &mut Running, query: &Query, params: Vec<ArrayRef>) -> Done<ResultStream> {
        self.set_by(query)?;
        let query = query.asked(&self.asked);
        let run = self.engine.run(&self.caller, &query, params);
        let rows = supervised(&mut self.connection, running, run).await??;
        Ok(ResultStream::new(rows, self.settings.zone())?)
    }

    /// A read whose rows go out as `COPY` sends them.
    async fn copy(&mut self, copy: &CopyOut) -> Done {
        let mut running = self.begin();
        let stream = self.read(&mut running, &copy.query, Vec::new()).await?;
        let names: Vec<&str> = stream.columns().iter().map(Column::name).collect();
        let columns = i16::try_from(names.len()).unwrap_or(i16::MAX);
        let formats = vec![0; names.len()];
        self.connection.put(PgWireBackendMessage::CopyOutResponse(CopyOutResponse::new(0, columns, formats)));
        if copy.form.header {
            encode::copy::header(&names, &copy.form, self.connection.outbox()).map_err(Told::from)?;
        }
        let form = Form::Copy(&copy.form);
        let (sent, _) = stream.send(&mut self.connection, &mut running, form, None).await?;
        self.put(PgWireBackendMessage::CopyDone(CopyDone::new()));
        self.complete(format!("COPY {sent}"));
        Ok(())
    }

    /// What is written is written at once: no transaction could take it back.
    async fn write(&mut self, write: &Write) -> Done {
        self.check_write(write.name())?;
        let mut running = self.begin();
        let write = write.asked(&self.asked);
        let (stop, stopped) = oneshot::channel::<Infallible>();
        // Who cancels it drops the other end.
        let cancelled = async { drop(stopped.await) };
        let mut work = Box::pin(self.engine.write(&self.caller, &write, cancelled));
        let interrupt = match supervised(&mut self.connection, &mut running, &mut work).await {
            Ok(rows) => {
                drop(work);
                self.complete(write.tag(rows?));
                return Ok(());
            }
            Err(interrupt) => interrupt,
        };
        if interrupt != Interrupt::Gone {
            drop(stop);
            // It may have been too late.
            match work.await {
                Err(refusal) if *refusal.outside() == Outside::Cancelled => {}
                done => {
                    self.complete(write.tag(done?));
                    return Ok(());
                }
            }
        }
        Err(interrupt.into())
    }

    /// Where nothing is written. A transaction could not take it back.
    fn check_write(&self, name: &str) -> Result<(), Told> {
        if self.settings.is_read_only() {
            let text = format!("cannot execute `{name}` in a read-only transaction");
            return Err(Told::error(code::READ_ONLY_TRANSACTION, text));
        }
        if self.transaction != TransactionStatus::Idle {
            let text = format!("`{name}` cannot run inside a transaction block");
            return Err(Told::error(code::ACTIVE_TRANSACTION, text));
        }
        Ok(())
    }

    /// In a failed transaction nothing is done but ending it.
    fn check_transaction(&self, statement: &Statement) -> Done {
        let ends = matches!(
            statement,
            Statement::Session(
                SessionStatement::Commit | SessionStatement::Rollback | SessionStatement::RollbackTo { .. }
            )
        );
        if self.transaction == TransactionStatus::Error && !ends {
            let text = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(Told::error(code::FAILED_TRANSACTION, text).into());
        }
        Ok(())
    }

    /// Puts a refusal of the statement on record, unless it is, and gives what to tell.
    async fn refused(&mut self, text: &str, refusal: Refusal) -> Stop {
        match refusal.request() {
            Some(_) => refusal.into(),
            None => {
                let text = text.get(..text.floor_char_boundary(RECORDED_BYTES_MAX)).unwrap_or_default();
                self.engine.refuse(&self.caller, text, refusal).await.into()
            }
        }
    }

    /// Tells the client of an error, which ends what the transaction had open.
    fn fail(&mut self, told: &Told) {
        self.put(PgWireBackendMessage::ErrorResponse(told.response()));
        self.transaction = self.transaction.to_error_state();
        self.portals.clear();
        self.cursors.retain(|_, cursor| cursor.is_kept());
    }

    /// Outside of a transaction block, portals end with the statement.
    fn end_statement(&mut self) {
        if self.transaction == TransactionStatus::Idle {
            self.portals.clear();
        }
    }

    /// A simple query replaces the unnamed statement and portal.
    fn forget_unnamed(&mut self) {
        self.statements.remove("");
        self.portals.remove("");
    }

    fn put(&mut self, message: PgWireBackendMessage) {
        self.connection.put(message);
    }

    fn complete(&mut self, tag: impl Into<String>) {
        self.put(PgWireBackendMessage::CommandComplete(CommandComplete::new(tag.into())));
    }

    fn complete_read(&mut self, query: &Query, sent: u64) {
        self.complete(if query.is_explain() { "EXPLAIN".to_owned() } else { format!("SELECT {sent}") });
    }

    async fn ready(&mut self) -> Done {
        self.put(PgWireBackendMessage::ReadyForQuery(ReadyForQuery::new(self.transaction)));
        self.flush().await
    }

    async fn flush(&mut self) -> Done {
        tokio::select! {
            biased;
            _ = self.stopped.wait_for(|stop| *stop) => Err(Interrupt::Shutdown.into()),
            sent = self.connection.flush() => sent.map_err(|_| Interrupt::Gone.into()),
        }
    }
}

/// Ends those of the open reads that changes take away, for as long as it is waited for.
async fn withdrawn(cursors: &mut HashMap<String, OpenCursor>, portals: &mut HashMap<String, Portal>) -> Infallible {
    let open =
        cursors.values_mut().filter_map(OpenCursor::stream).chain(portals.values_mut().filter_map(Portal::stream));
    let mut withdrawn: FuturesUnordered<_> = open.map(ResultStream::withdrawn).collect();
    while withdrawn.next().await.is_some() {}
    std::future::pending().await
}

/// Does the work unless the statement is interrupted or the client goes away; then the work is dropped.
async fn supervised<T>(
    connection: &mut Connection,
    running: &mut Running,
    work: impl Future<Output = T>,
) -> Result<T, Interrupt> {
    tokio::select! {
        biased;
        interrupt = running.interrupted() => Err(interrupt),
        done = work => Ok(done),
        () = connection.gone() => Err(Interrupt::Gone),
    }
}
