//! What the PostgreSQL door costs: rows of `lineitem` to a client that drops them, against the same read in process.

use std::fmt::Write;

use weir_guard::Caller;
use weir_query::Engine;

use crate::client::{Client, Fetched, Form};
use crate::measure::{Goal, Limit, cpu_ms, goals, median};
use crate::server::{OWNER, PASSWORD, READER, Server};
use crate::{Common, data, measure};

pub(crate) const POLICIES: &str = "\
Allow anyone to subscribe.

Only show rows where l_quantity > 5 for everyone except when user is an owner of the data source on data source tpch.lineitem.

Mask using hashing the column l_shipmode for everyone except when user is an owner of the data source on data source tpch.lineitem.
";

const SQL: &str = "SELECT * FROM tpch.lineitem";
const MIB: f64 = (1 << 20) as f64;

/// Of one repetition of one form.
struct Run {
    rows: usize,
    /// Seconds of processors: of the server, or of the read in process.
    cpu: f64,
    client_cpu: f64,
    first_ms: f64,
    rate: f64,
    peak: f64,
    bytes: f64,
}

/// Of a form, over all repetitions.
struct Column(Vec<Run>);

impl Column {
    fn median(&self, of: impl Fn(&Run) -> f64) -> f64 {
        median(self.0.iter().map(of).collect())
    }

    fn most(&self, of: impl Fn(&Run) -> f64) -> f64 {
        self.0.iter().map(of).fold(0.0, f64::max)
    }

    /// CPU seconds for a million rows.
    fn cost(&self) -> f64 {
        self.median(|run| run.cpu * 1e6 / run.rows as f64)
    }

    /// The same above another form, repetition by repetition.
    fn above(&self, other: &Self) -> f64 {
        let each = self.0.iter().zip(&other.0).map(|(mine, other)| (mine.cpu - other.cpu) * 1e6 / mine.rows as f64);
        median(each.collect())
    }
}

pub(crate) async fn run(common: &Common) -> anyhow::Result<String> {
    let folder = data::tables(&common.data, common.scale)?;
    let (engine, restricted, clear) = data::engine(&folder, data::parsed(POLICIES)?, &[]).await?;
    let server = Server::start(&folder, &[], POLICIES, &[])?;
    let idle = server.memory("VmRSS")? as f64 / MIB;
    let mut report = format!(
        "# PostgreSQL wire protocol\n\n`cargo xtask bench wire --scale {} --repetitions {}`\n\n\
         All columns of `lineitem`, fetched whole from the program over loopback by a client on the same machine that counts rows by the \
         heads of their messages and drops them, against the same read drained in process, where nothing is encoded (*scan*); the three \
         forms interleaved in one run, medians. CPU is seconds of processors for a million rows: of the server alone (`/proc`), of the \
         whole process for *scan*. Before the first fetch the server held {idle:.0} MiB; peaks are those during one fetch.\n\n\
         | by | form | rows | scan | server | above the scan | client | M rows/s | MB/s | first row ms, median (most) | peak MiB |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        common.scale, common.repetitions
    );
    let mut all = Vec::new();
    for (who, user, caller) in [("an owner", OWNER, &clear), ("a restricted reader", READER, &restricted)] {
        let (scan, text, binary) = repeated(common, &engine, caller, &server, user).await?;
        for (form, column) in [("text", &text), ("binary", &binary)] {
            let row = format!(
                "| {who} | {form} | {} | {:.3} | {:.3} | **{:.3}** | {:.3} | {:.2} | {:.0} | {:.1} ({:.1}) | {:.0} |",
                column.0.first().map_or(0, |run| run.rows),
                scan.cost(),
                column.cost(),
                column.above(&scan),
                column.median(|run| run.client_cpu * 1e6 / run.rows as f64),
                column.median(|run| run.rate),
                column.median(|run| run.rate * run.bytes / run.rows as f64),
                column.median(|run| run.first_ms),
                column.most(|run| run.first_ms),
                column.most(|run| run.peak),
            );
            measure::print(&row);
            writeln!(report, "{row}")?;
        }
        all.push((scan, text, binary));
    }
    if let Some((scan, text, binary)) = all.first() {
        let goal = |name, measured, limit| Goal { name, measured, limit };
        let rate = |column: &Column| column.median(|run| run.rate);
        report.push('\n');
        report.push_str(&goals(&[
            goal("G14 text, CPU s above the scan", text.above(scan), Limit::AtMost(0.15)),
            goal("G14 binary, CPU s above the scan", binary.above(scan), Limit::AtMost(0.10)),
            goal("G14 text, CPU s with the scan", text.cost(), Limit::AtMost(0.30)),
            goal("G14 binary, CPU s with the scan", binary.cost(), Limit::AtMost(0.25)),
            goal("G14 text, M rows/s", rate(text), Limit::AtLeast(3.0)),
            goal("G14 binary, M rows/s", rate(binary), Limit::AtLeast(3.0)),
            goal("first row ms, text", text.median(|run| run.first_ms), Limit::AtMost(50.0)),
            goal("first row ms, binary", binary.median(|run| run.first_ms), Limit::AtMost(50.0)),
        ]));
    }
    Ok(report)
}

async fn repeated(
    common: &Common,
    engine: &Engine,
    caller: &Caller,
    server: &Server,
    user: &str,
) -> anyhow::Result<(Column, Column, Column)> {
    let mut client = Client::connect(server.sql, user, PASSWORD)?;
    let (mut scan, mut text, mut binary) = (Vec::new(), Vec::new(), Vec::new());
    for repetition in 0..=common.repetitions {
        measure::note(&format!("{user}: {repetition} of {}", common.repetitions));
        for turn in 0..3 {
            let (form, run) = match (turn + repetition) % 3 {
                0 => {
                    let (ms, rows) = cpu_ms(data::governed(engine, caller, SQL)).await?;
                    let run = Run { rows, cpu: ms / 1e3, client_cpu: 0., first_ms: 0., rate: 0., peak: 0., bytes: 0. };
                    (&mut scan, run)
                }
                1 => (&mut text, fetched(server, &mut client, Form::Text)?),
                _ => (&mut binary, fetched(server, &mut client, Form::Binary)?),
            };
            // The first round warms caches.
            if repetition > 0 {
                form.push(run);
            }
        }
    }
    let counts = [&scan, &text, &binary].map(|runs| runs.iter().map(|run| run.rows).max());
    anyhow::ensure!(counts.iter().all(|count| *count == counts[0]), "answers differ in rows: {counts:?}");
    Ok((Column(scan), Column(text), Column(binary)))
}

fn fetched(server: &Server, client: &mut Client, form: Form) -> anyhow::Result<Run> {
    server.forget_peak()?;
    let (before, mine) = (server.cpu()?, cpu_time::ProcessTime::now());
    let Fetched { rows, bytes, first, all } = client.fetch(SQL, form)?;
    Ok(Run {
        rows,
        cpu: server.cpu()? - before,
        client_cpu: mine.elapsed().as_secs_f64(),
        first_ms: first.as_secs_f64() * 1e3,
        rate: rows as f64 / all.as_secs_f64() / 1e6,
        peak: server.memory("VmHWM")? as f64 / MIB,
        bytes: bytes as f64,
    })
}
