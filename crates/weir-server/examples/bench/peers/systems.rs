//! The systems, with the policies in each of them.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::pin::pin;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::StreamExt;
use serde_json::json;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use weir_guard::Caller;
use weir_query::Engine;
use weir_testkit::postgres::{PASSWORD, Postgres, USER};

use super::answer::Answer;
use crate::measure::{cpu_ms, note};
use crate::remote::{self, Views};
use crate::tpch::{CUSTOMER, LINEITEM, POLICIES, over};
use crate::{data, tpch};

/// For one query of PostgreSQL.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Whom the row security of PostgreSQL is for.
const READER: &str = "reader";

const MASKS: &str = "
Mask using hashing the columns c_name, c_phone for everyone except when user is an owner of the data source on data source tpch.customer.

Mask by making null the column c_acctbal for everyone except when user is an owner of the data source on data source tpch.customer.

Mask using hashing the column o_clerk for everyone except when user is an owner of the data source on data source tpch.orders.

Mask by rounding to 100 the column l_extendedprice for everyone except when user is an owner of the data source on data source tpch.lineitem.

Allow anyone to subscribe.
";

/// A system, and what is in force there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    Raw,
    Hand,
    Weir,
    Clear,
    Views,
    DuckRaw,
    DuckViews,
    Barrier,
    RowSecurity,
    /// Of Weir; the others are views.
    Masks,
    MaskViews,
    DuckMasks,
}

impl Form {
    /// Those in which a query of this name is asked.
    pub(super) fn of(name: &str) -> &'static [Form] {
        if name.starts_with("m_") {
            return &[Form::Raw, Form::Clear, Form::Masks, Form::MaskViews, Form::DuckRaw, Form::DuckMasks];
        }
        &[
            Form::Raw,
            Form::Hand,
            Form::Weir,
            Form::Clear,
            Form::Views,
            Form::DuckRaw,
            Form::DuckViews,
            Form::Barrier,
            Form::RowSecurity,
        ]
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Form::Raw => "raw",
            Form::Hand => "hand",
            Form::Weir => "Weir",
            Form::Clear => "Weir, clear",
            Form::Views => "views",
            Form::DuckRaw => "DuckDB raw",
            Form::DuckViews => "DuckDB views",
            Form::Barrier => "PostgreSQL barrier",
            Form::RowSecurity => "PostgreSQL row security",
            Form::Masks => "Weir",
            Form::MaskViews => "views",
            Form::DuckMasks => "DuckDB views",
        }
    }

    pub(super) fn is_postgres(self) -> bool {
        matches!(self, Form::Barrier | Form::RowSecurity)
    }

    pub(super) fn is_governed(self) -> bool {
        !matches!(self, Form::Raw | Form::Clear | Form::DuckRaw)
    }

    /// The query over the tables that the form has.
    pub(super) fn text(self, query: &str, hand: &str) -> String {
        let schema = match self {
            Form::Hand => return hand.to_owned(),
            Form::Raw | Form::DuckRaw => "",
            Form::Weir | Form::Clear | Form::Masks => "tpch.",
            Form::Views | Form::DuckViews => "policy.",
            Form::MaskViews | Form::DuckMasks => "masks.",
            Form::Barrier => "barrier.",
            Form::RowSecurity => "secured.",
        };
        over(query, schema)
    }
}

pub(super) struct Systems {
    plain: SessionContext,
    engine: Engine,
    restricted: Caller,
    clear: Caller,
    masks: (Engine, Caller),
    duck: Duck,
    barrier: Session,
    secured: Session,
    /// Goes last.
    _database: Postgres,
}

impl Systems {
    pub(super) async fn start(folder: &Path, scale: f64, python: &Path) -> anyhow::Result<Self> {
        let attributes: [(&str, &[&str]); 2] =
            [("nations", &["7", "8", "12", "24"]), ("modes", &["AIR", "SHIP", "RAIL", "TRUCK"])];
        let (engine, restricted, clear) = data::engine(folder, data::parsed(POLICIES)?, &attributes).await?;
        let (masks, masked, _) = data::engine(folder, data::parsed(MASKS)?, &[]).await?;
        let plain = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
        let mut duck = Duck::start(folder, python)?;
        for table in data::TABLES {
            let path = folder.join(format!("{table}.parquet"));
            plain.register_parquet(table, path.to_string_lossy(), ParquetReadOptions::default()).await?;
        }
        for (schema, rows) in [("policy", true), ("masks", false)] {
            let views = |base, hash| Views { schema, base, options: "", hash, rows, clerk: !rows };
            for statement in views("", tpch::hash).statements() {
                plain.sql(&statement).await?.collect().await?;
            }
            for statement in views("main.", duck_hash).statements() {
                duck.cost(&statement)?;
            }
        }
        note("loading PostgreSQL");
        let database = Postgres::start();
        remote::load(&database, scale);
        database.sql(&secured());
        let barrier = Session::start(&database, USER, PASSWORD).await?;
        let secured = Session::start(&database, READER, PASSWORD).await?;
        Ok(Self {
            plain,
            engine,
            restricted,
            clear,
            masks: (masks, masked),
            duck,
            barrier,
            secured,
            _database: database,
        })
    }

    /// Milliseconds of processors.
    pub(super) async fn cost(&mut self, form: Form, sql: &str) -> anyhow::Result<f64> {
        let run = |engine, caller| cpu_ms(data::governed(engine, caller, sql));
        match form {
            Form::Raw | Form::Hand | Form::Views | Form::MaskViews => {
                let drained = async {
                    let mut stream = self.plain.sql(sql).await?.execute_stream().await?;
                    while let Some(batch) = stream.next().await {
                        batch?;
                    }
                    Ok(())
                };
                Ok(cpu_ms(drained).await?.0)
            }
            Form::Weir => Ok(run(&self.engine, &self.restricted).await?.0),
            Form::Clear => Ok(run(&self.engine, &self.clear).await?.0),
            Form::Masks => Ok(run(&self.masks.0, &self.masks.1).await?.0),
            Form::DuckRaw | Form::DuckViews | Form::DuckMasks => self.duck.cost(sql),
            Form::Barrier => self.barrier.cost(sql).await,
            Form::RowSecurity => self.secured.cost(sql).await,
        }
    }

    /// `None` when it takes too long.
    pub(super) async fn answer(&mut self, form: Form, sql: &str) -> anyhow::Result<Option<Answer>> {
        let texts = |batches: Vec<RecordBatch>| texts(&batches).map(Some);
        match form {
            Form::Raw | Form::Hand | Form::Views | Form::MaskViews => {
                texts(self.plain.sql(sql).await?.collect().await?)
            }
            Form::Weir => texts(data::governed_batches(&self.engine, &self.restricted, sql).await?),
            Form::Clear => texts(data::governed_batches(&self.engine, &self.clear, sql).await?),
            Form::Masks => texts(data::governed_batches(&self.masks.0, &self.masks.1, sql).await?),
            Form::DuckRaw | Form::DuckViews | Form::DuckMasks => self.duck.answer(sql).map(Some),
            Form::Barrier => self.barrier.answer(sql).await,
            Form::RowSecurity => self.secured.answer(sql).await,
        }
    }
}

fn texts(batches: &[RecordBatch]) -> anyhow::Result<Answer> {
    let mut rows = Vec::new();
    for batch in batches {
        let options = FormatOptions::default();
        let columns = batch.columns().iter().map(|column| Ok((column, ArrayFormatter::try_new(column, &options)?)));
        let columns: Vec<_> = columns.collect::<anyhow::Result<_>>()?;
        for row in 0..batch.num_rows() {
            let cell = |(column, text): &(&arrow::array::ArrayRef, ArrayFormatter<'_>)| {
                column.is_valid(row).then(|| text.value(row).to_string())
            };
            rows.push(columns.iter().map(cell).collect());
        }
    }
    Ok(rows)
}

fn duck_hash(column: &str) -> String {
    format!("sha256('k3y-salt-0123456789abcdef' || {column})")
}

/// DuckDB, in a process of its own.
struct Duck {
    process: Child,
    ask: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Duck {
    fn start(folder: &Path, python: &Path) -> anyhow::Result<Self> {
        let mut process = Command::new(python)
            .arg("bench/peers/duck.py")
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", python.display()))?;
        let (ask, said) = (process.stdin.take().context("no input")?, process.stdout.take().context("no output")?);
        Ok(Self { process, ask, said: BufReader::new(said) })
    }

    fn ask(&mut self, question: &serde_json::Value) -> anyhow::Result<serde_json::Value> {
        writeln!(self.ask, "{question}")?;
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        let answer: serde_json::Value = serde_json::from_str(&line).context("DuckDB does not answer")?;
        match answer.get("error") {
            Some(error) => bail!("DuckDB: {question}: {error}"),
            None => Ok(answer),
        }
    }

    fn cost(&mut self, sql: &str) -> anyhow::Result<f64> {
        let answer = self.ask(&json!({ "sql": sql }))?;
        answer.get("ms").and_then(serde_json::Value::as_f64).context("no time")
    }

    fn answer(&mut self, sql: &str) -> anyhow::Result<Answer> {
        let mut answer = self.ask(&json!({ "sql": sql, "rows": true }))?;
        Ok(serde_json::from_value(answer.get_mut("rows").context("no rows")?.take())?)
    }
}

impl Drop for Duck {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Of PostgreSQL, with its backend.
struct Session {
    client: Client,
    backend: i32,
}

impl Session {
    async fn start(database: &Postgres, user: &str, password: &str) -> anyhow::Result<Self> {
        let config = format!("host=127.0.0.1 port={} user={user} password={password} dbname=postgres", database.port());
        let (client, session) = tokio_postgres::connect(&config, NoTls).await?;
        tokio::spawn(session);
        let milliseconds = PATIENCE.as_millis();
        let settings = format!(
            "SET max_parallel_workers_per_gather = 0; SET jit = off; SET work_mem = '256MB'; SET statement_timeout = {milliseconds}"
        );
        client.batch_execute(&settings).await?;
        let backend = client.query_one("SELECT pg_backend_pid()", &[]).await?.try_get(0)?;
        Ok(Self { client, backend })
    }

    /// Milliseconds that the backend has been on a processor.
    fn on_processor(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/schedstat", self.backend))?;
        Ok(stat.split_whitespace().next().context("no time")?.parse::<f64>()? / 1e6)
    }

    async fn cost(&self, sql: &str) -> anyhow::Result<f64> {
        let before = self.on_processor()?;
        let mut rows = pin!(self.client.query_typed_raw(sql, Vec::<(i64, _)>::new()).await?);
        while let Some(row) = rows.next().await {
            row?;
        }
        Ok(self.on_processor()? - before)
    }

    async fn answer(&self, sql: &str) -> anyhow::Result<Option<Answer>> {
        let said = match self.client.simple_query(sql).await {
            Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => return Ok(None),
            said => said.with_context(|| format!("PostgreSQL: {sql}"))?,
        };
        let rows = said.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        Ok(Some(rows.map(|row| (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()).collect()))
    }
}

/// Row security on the tables, which their owner passes by, and masks in views with the rights of the reader.
fn secured() -> String {
    let mut sql = format!("CREATE ROLE {READER} LOGIN PASSWORD '{PASSWORD}'; GRANT USAGE ON SCHEMA tpch TO {READER};");
    let orders = format!("o_custkey IN (SELECT c_custkey FROM tpch.customer WHERE {CUSTOMER})");
    for (table, condition) in [("customer", CUSTOMER), ("orders", &orders), ("lineitem", LINEITEM)] {
        sql.push_str(&format!(
            "ALTER TABLE tpch.{table} ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON tpch.{table} TO {READER} USING ({condition});"
        ));
    }
    let views = Views {
        schema: "secured",
        base: "tpch.",
        options: "WITH (security_invoker = true)",
        hash: remote::hash,
        rows: false,
        clerk: false,
    };
    sql.push_str(&(views.statements().join(";") + ";"));
    sql + &format!(
        "GRANT USAGE ON SCHEMA secured TO {READER}; GRANT SELECT ON ALL TABLES IN SCHEMA tpch, secured TO {READER};"
    )
}
