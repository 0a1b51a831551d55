//! An engine on fakes, asked in the name of people.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use futures::FutureExt as _;
use weir_guard::{Caller, Door, Guard, Outside, Refusal};
use weir_model::{Connection, ProjectName};
use weir_policy::Snapshot;
use weir_query::{
    Engine, EngineSettings, Query, Rows, SessionStatement, Statement, UserLimits, WorkspaceSettings, parse,
};
use weir_testkit::cell::printed;
use weir_testkit::generate::{AT_UNIX_MS, Speaker, World};
use weir_testkit::ports::{FixedClock, FixedFeed, FixedKeys, MemoryAudit, MemoryWorkspaces, OneConnection, guard_at};

use crate::altered::Alteration;

/// What came back, as a client reads it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Rows { columns: Vec<(String, String)>, rows: Vec<Vec<Option<String>>> },
    Refused { kind: Kind, text: String, inside: Inside },
}

/// What the auditor hears, for who reads a failed test. No part of the answer: all are equal.
#[derive(Clone, Debug)]
pub(crate) struct Inside(pub(crate) String);

impl PartialEq for Inside {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Whose fault a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The statement cannot be planned.
    Planning,
    /// The rows made it fail.
    Data,
    /// Anything else; never right in these tests.
    Other,
}

impl Answer {
    pub(crate) fn of_batches(schema: &Schema, batches: &[RecordBatch]) -> Self {
        let columns = schema.fields().iter().map(|f| (f.name().clone(), plain_type(f.data_type()))).collect();
        Answer::Rows { columns, rows: printed(batches) }
    }

    /// Whether the engine's own check of a physical plan refused it, or its rules lost a column of a plan in which all
    /// names were bound: defects of the engine's rules for sorting and for taking subqueries apart, which show with
    /// policies in the plan and without. The client hears of an internal error only.
    pub(crate) fn is_engine_failure(&self) -> bool {
        let Answer::Refused { kind: Kind::Other, inside: Inside(inside), .. } = self else { return false };
        inside.starts_with("plan: [") || (inside.starts_with("column `") && inside.ends_with("does not exist"))
    }

    /// Whether the engine panicked, wherever in it.
    pub(crate) fn is_panic(&self) -> bool {
        let of_a_task = |inside: &Inside| inside.0.contains("panicked with message");
        matches!(self, Answer::Refused { kind: Kind::Other, text, inside } if text == PANIC || of_a_task(inside))
    }

    /// All that the client hears.
    pub(crate) fn told(&self) -> String {
        match self {
            Answer::Rows { columns, rows } => format!("{columns:?} {rows:?}"),
            Answer::Refused { kind, text, inside: _ } => format!("{kind:?}: {text}"),
        }
    }

    /// With the rows in one order, whatever order they came in, and sums of floats as far as they do not depend on it.
    pub(crate) fn sorted(mut self) -> Self {
        if let Answer::Rows { columns, rows } = &mut self {
            for (place, _) in columns.iter().enumerate().filter(|(_, (_, data_type))| data_type == "Float64") {
                for cell in rows.iter_mut().filter_map(|row| row[place].as_mut()) {
                    let number: f64 = cell.parse().expect("a float");
                    // What is left of a sum that is nothing has no digits that count.
                    let rounded = if number.abs() < 1e-9 { 0.0 } else { number };
                    *cell = format!("{rounded:.9e}");
                }
            }
            rows.sort();
        }
        self
    }
}

/// How text and bytes are laid out in memory is nobody's business, nor is whether values inside of others can be NULL.
fn plain_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytes".to_owned(),
        DataType::Dictionary(_, value) => plain_type(value),
        DataType::List(item) | DataType::LargeList(item) => format!("list of {}", plain_type(item.data_type())),
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|f| format!("{} {}", f.name(), plain_type(f.data_type())));
            format!("struct of {}", fields.collect::<Vec<_>>().join(", "))
        }
        DataType::Map(entries, _) => format!("map of {}", plain_type(entries.data_type())),
        other => other.to_string(),
    }
}

const PANIC: &str = "a panic";

/// A panic of the engine, as an answer.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Answer {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("something else");
    refused(Kind::Other, PANIC, text)
}

pub(crate) fn refused(kind: Kind, text: &str, inside: &str) -> Answer {
    Answer::Refused { kind, text: text.to_owned(), inside: Inside(inside.to_owned()) }
}

pub(crate) struct Asking {
    engine: Engine,
    feed: Arc<FixedFeed>,
    keys: Arc<FixedKeys>,
    clock: Arc<FixedClock>,
    pub(crate) audit: Arc<MemoryAudit>,
}

impl Asking {
    /// Over a world whose rows are in files.
    pub(crate) fn new(world: &World) -> Self {
        Self::altered(world, UserLimits::default(), &Alteration::new(0))
    }

    /// Where nobody may take up more than that.
    pub(crate) fn within(world: &World, user: UserLimits) -> Self {
        Self::altered(world, user, &Alteration::new(0))
    }

    /// As [`Self::within`], with an engine that is set otherwise.
    pub(crate) fn altered(world: &World, user: UserLimits, alteration: &Alteration) -> Self {
        Self::connected(world, user, alteration, None)
    }

    /// As [`Self::altered`], with a remote database.
    pub(crate) fn connected(
        world: &World,
        user: UserLimits,
        alteration: &Alteration,
        database: Option<Connection>,
    ) -> Self {
        Self::built(world, user, |guard, settings| {
            let guard = match database {
                Some(connection) => guard.with_connections(Arc::new(OneConnection(connection))),
                None => guard,
            };
            Engine::altered(guard, settings, |state| alteration.of(state))
        })
    }

    /// Where members of projects write tables, which are kept below the folder.
    pub(crate) fn writing(world: &World, register: Arc<MemoryWorkspaces>, folder: &Path) -> Self {
        let workspaces = WorkspaceSettings { directory: folder.to_owned(), bytes_max: 1 << 20 };
        Self::built(world, UserLimits::default(), |guard, settings| {
            Engine::with_workspaces(guard, settings, register, workspaces)
        })
    }

    fn built(
        world: &World,
        user: UserLimits,
        engine: impl FnOnce(Guard, EngineSettings) -> Result<Engine, Refusal>,
    ) -> Self {
        let feed = FixedFeed::new(Snapshot::compile(world.facts.clone()));
        let keys = FixedKeys::new(world.keys.clone());
        let audit = MemoryAudit::new();
        // With batches of a few rows the engine counts the buffers that they share many times over.
        let settings = EngineSettings { memory_bytes_max: 64 << 30, partitions: 2, statement_bytes_max: 1 << 20, user };
        let clock = FixedClock::new(AT_UNIX_MS);
        let guard = guard_at(feed.clone(), audit.clone(), keys.clone(), clock.clone());
        Self { engine: engine(guard, settings).expect("an engine"), feed, keys, clock, audit }
    }

    /// What a statement about projects gives: the one that is set, or all that there are, each with why it is closed.
    pub(crate) async fn about_projects(
        &self,
        speaker: &Speaker,
        sql: &str,
    ) -> Result<Vec<(ProjectName, Option<String>)>, Refusal> {
        let caller = self.caller(speaker);
        match parse(sql)?.pop() {
            Some(Statement::Session(SessionStatement::SetProject { name })) => {
                let project = name.map(|name| ProjectName::new(name).unwrap());
                self.engine.enter(&Caller { project: project.clone(), ..caller }, sql).await?;
                Ok(project.into_iter().map(|project| (project, None)).collect())
            }
            Some(Statement::Session(SessionStatement::ListProjects)) => self.engine.projects(&caller, sql).await,
            other => panic!("{sql}: {other:?}"),
        }
    }

    /// The same engine over another world, or over another state of the same one.
    pub(crate) fn turn_to(&self, world: &World) {
        self.keys.swap(world.keys.clone());
        self.change(world);
        self.audit.clear();
    }

    /// The facts are those of the world from now on.
    pub(crate) fn change(&self, world: &World) {
        self.feed.swap(Snapshot::compile(world.facts.clone()));
    }

    /// From now on nobody knows which policies hold.
    pub(crate) fn lose_snapshot(&self) {
        self.feed.lose();
    }

    /// In the name of a speaker, or of a principal who speaks for herself.
    pub(crate) async fn ask(&self, speaker: impl Into<Speaker>, sql: &str) -> Answer {
        let speaker = speaker.into();
        let run = match AssertUnwindSafe(self.run(&speaker, sql)).catch_unwind().await {
            Ok(run) => run,
            Err(panic) => return panicked(panic.as_ref()),
        };
        match run {
            Ok(Some(answer)) => answer,
            Ok(None) => refused(Kind::Other, "the statement gives no rows", ""),
            Err(refusal) => {
                let kind = match refusal.outside() {
                    Outside::NotFound { .. } | Outside::Invalid { .. } | Outside::Unsupported { .. } => Kind::Planning,
                    // The files of these tests can be read.
                    Outside::Data { text } if text.contains("cannot be read") => Kind::Other,
                    Outside::Data { .. } => Kind::Data,
                    Outside::Unauthenticated
                    | Outside::Forbidden { .. }
                    | Outside::TooMuch { .. }
                    | Outside::Cancelled
                    | Outside::Revoked
                    | Outside::Unavailable
                    | Outside::Internal => Kind::Other,
                };
                refused(kind, refusal.outside().text(), &refusal.inside().detail)
            }
        }
    }

    /// The shape of the answer, as who prepares a statement is told it.
    pub(crate) async fn described(&self, speaker: &Speaker, sql: &str) -> String {
        let caller = self.caller(speaker);
        let parsed = parse(sql);
        let Ok([Statement::Query(query)]) = parsed.as_deref() else { return "no read".to_owned() };
        match AssertUnwindSafe(self.engine.describe(&caller, query)).catch_unwind().await {
            Ok(Ok(described)) => {
                let field = |f: &Arc<Field>| {
                    let null = if f.is_nullable() { "" } else { " not null" };
                    format!("{} {}{null} {:?}", f.name(), plain_type(f.data_type()), f.metadata())
                };
                described.schema.fields().iter().map(field).collect::<Vec<_>>().join(", ")
            }
            Ok(Err(refusal)) => refusal.outside().text().to_owned(),
            Err(panic) => panicked(panic.as_ref()).told(),
        }
    }

    fn caller(&self, speaker: &Speaker) -> Caller {
        self.clock.set(speaker.at_unix_ms);
        Caller { actor: speaker.actor(), project: speaker.project.clone(), door: Door::Local, client_hint: None }
    }

    /// The last of several statements; `None` for one that is about the session.
    pub(crate) async fn run(&self, speaker: &Speaker, sql: &str) -> Result<Option<Answer>, Refusal> {
        let caller = self.caller(speaker);
        let mut last = None;
        for statement in parse(sql)? {
            last = match statement {
                Statement::Session(_) => None,
                Statement::Write(write) => {
                    self.engine.write(&caller, &write, std::future::pending()).await?;
                    None
                }
                Statement::CopyIn(copy) => {
                    self.engine.intake(&caller, &copy).await?.finish().await?;
                    None
                }
                Statement::Copy(copy) => Some(self.read(&caller, &copy.query).await?),
                Statement::Query(query) => Some(self.read(&caller, &query).await?),
            };
        }
        Ok(last)
    }

    /// A read whose rows are not taken yet.
    pub(crate) async fn open(&self, speaker: &Speaker, sql: &str) -> Result<Rows, Refusal> {
        self.clock.set(speaker.at_unix_ms);
        let caller =
            Caller { actor: speaker.actor(), project: speaker.project.clone(), door: Door::Local, client_hint: None };
        match parse(sql)?.pop() {
            Some(Statement::Query(query)) => self.engine.run(&caller, &query, Vec::new()).await,
            Some(Statement::Session(_) | Statement::Write(_) | Statement::Copy(_) | Statement::CopyIn(_)) | None => {
                panic!("no query: {sql}")
            }
        }
    }

    async fn read(&self, caller: &Caller, query: &Query) -> Result<Answer, Refusal> {
        let mut rows = self.engine.run(caller, query, Vec::new()).await?;
        let schema = Arc::clone(rows.schema());
        let mut batches = Vec::new();
        while let Some(batch) = rows.next().await? {
            batches.push(batch);
        }
        Ok(Answer::of_batches(&schema, &batches))
    }
}

/// An engine over the world, its rows in one Parquet file each.
pub(crate) fn over(world: &mut World, folder: &Path) -> Asking {
    super::files::write_plainly(world, folder, 10_000);
    Asking::new(world)
}
