//! Whether one user's statements keep another's waiting: point lookups of one user through the program's door, alone and
//! beside statements of another that take all they can get.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

use crate::measure::{Goal, Limit, goals};
use crate::server::{OWNER, PASSWORD, READER, Server};
use crate::{Common, data, measure};

const POLICIES: &str = "\
Allow anyone to subscribe.

Only show rows where o_orderkey > 10 for everyone except when user is an owner of the data source on data source tpch.orders.

Mask using hashing the column o_clerk for everyone except when user is an owner of the data source on data source tpch.orders.
";

const LOOKUP: &str = "SELECT o_clerk, o_totalprice FROM tpch.orders WHERE o_orderkey = 4711";
/// Lookups beside each of the others, at least, and as many alone before it.
const ROUNDS: usize = 400;
/// Work on one statement.
const SECONDS: u64 = 12;
const MEMORY: &str = "256 MiB";
const DISK: &str = "512 MiB";

pub(crate) async fn run(common: &Common) -> anyhow::Result<String> {
    let folder = data::tables(&common.data, common.scale)?;
    let seconds = SECONDS.to_string();
    let limits = [
        ("WEIR_QUERY_USER_MEMORY_BYTES_MAX", MEMORY),
        ("WEIR_QUERY_USER_SPILL_BYTES_MAX", DISK),
        ("WEIR_QUERY_USER_STATEMENT_SECONDS_MAX", &seconds),
    ];
    let server = Server::start(&folder, &[], POLICIES, &limits)?;
    let looking = connect(&server, READER).await?;
    lookups(&looking, |done| done >= ROUNDS / 4).await?;

    let statements = greedy_statements();
    let mut cases: Vec<(&str, Vec<String>)> = statements.iter().map(|(name, sql)| (*name, vec![sql.clone()])).collect();
    cases.push(("all of these at once", statements.into_iter().map(|(_, sql)| sql).collect()));
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for (name, statements) in cases {
        alone.extend(lookups(&looking, |done| done >= ROUNDS).await?);
        measure::note(&format!("{name}: at most {SECONDS} s of work"));
        let (ended, mut greedy) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
        let (count, stopping) = (statements.len(), watch::channel(false));
        for sql in statements {
            let (client, ended, stop) = (connect(&server, OWNER).await?, Arc::clone(&ended), stopping.1.clone());
            greedy.spawn(async move { again_and_again(&client, &sql, &ended, stop).await });
        }
        // Until each of them has come to its end at least once.
        let times = lookups(&looking, |done| done >= ROUNDS && ended.load(Ordering::Relaxed) >= count).await?;
        stopping.0.send_replace(true);
        let mut endings: BTreeMap<String, usize> = BTreeMap::new();
        while let Some(seen) = greedy.join_next().await {
            for ending in seen? {
                *endings.entry(ending).or_default() += 1;
            }
        }
        let endings: Vec<_> = endings.iter().map(|(ending, count)| format!("{count} × {ending}")).collect();
        beside.push((name, times, endings.join("; ")));
    }
    report(common, alone, beside)
}

fn report(common: &Common, alone: Vec<f64>, beside: Vec<(&str, Vec<f64>, String)>) -> anyhow::Result<String> {
    let mut report = format!(
        "# Neighbours\n\n`cargo xtask bench neighbours --scale {}`\n\n\
         Time on the clock of a point lookup on a governed table by one user, one after the other, alone and while another user runs statements \
         that take what they can get, again and again; through the PostgreSQL door of the program, the clients on the same two processors. A user may use \
         {MEMORY} of memory, {DISK} of disk and {SECONDS} seconds of work on a statement. Lookups alone are made before each of the others.\n\n\
         | beside | lookups | p50 ms | p99 ms | p99 against alone | most ms | how the others ended |\n| --- | ---: | ---: | ---: | ---: | ---: | --- |\n",
        common.scale
    );
    let quiet = at(&alone, 0.99);
    let mut worst: f64 = 0.0;
    let all = std::iter::once(("nothing", alone, String::new())).chain(beside);
    for (name, times, ended) in all {
        let p99 = at(&times, 0.99);
        worst = worst.max(p99 / quiet);
        writeln!(
            report,
            "| {name} | {} | {:.1} | {p99:.1} | {:.2} | {:.1} | {ended} |",
            times.len(),
            at(&times, 0.5),
            p99 / quiet,
            at(&times, 1.0)
        )?;
    }
    report.push('\n');
    let name = "p99 of another user, against alone, worst";
    report.push_str(&goals(&[Goal { name, measured: worst, limit: Limit::AtMost(2.0) }]));
    Ok(report)
}

fn greedy_statements() -> Vec<(&'static str, String)> {
    let many = "generate_series(1, 100000000)";
    let pattern = "(.*a){8}(.*e){8}(.*i){8}.*xyzzy";
    let nested =
        (0..20).fold("o_totalprice".to_owned(), |inner, n| format!("CASE WHEN {inner} > {n} THEN {n} ELSE 1 END"));
    let deep = format!("SELECT {}o_orderkey{} FROM tpch.orders", "(".repeat(20_000), ")".repeat(20_000));
    vec![
        ("a cross join", format!("SELECT count(*) FROM {many} a, {many} b WHERE a.value * b.value = 7")),
        (
            "a huge sort",
            "SELECT l.*, g.value FROM tpch.lineitem l, generate_series(1, 1000) g ORDER BY l_comment, g.value"
                .to_owned(),
        ),
        (
            "a regular expression",
            format!("SELECT count(*) FROM tpch.lineitem, generate_series(1, 100) WHERE l_comment ~ '{pattern}'"),
        ),
        ("a deep statement", deep),
        ("deep expressions", format!("SELECT sum({nested}) FROM tpch.orders, generate_series(1, 10000)")),
        ("many groups", format!("SELECT a.value, count(*) FROM {many} a GROUP BY a.value")),
    ]
}

async fn connect(server: &Server, user: &str) -> anyhow::Result<Client> {
    let (host, port) = (server.sql.ip(), server.sql.port());
    let config = format!("host={host} port={port} user={user} password={PASSWORD} dbname=weir");
    let (client, session) = tokio_postgres::connect(&config, NoTls).await?;
    tokio::spawn(session);
    Ok(client)
}

/// Runs a statement until it is told to stop; how it ended each time. `ended` counts the first time.
async fn again_and_again(
    client: &Client,
    sql: &str,
    ended: &AtomicUsize,
    mut stop: watch::Receiver<bool>,
) -> Vec<String> {
    let cancel = client.cancel_token();
    let mut endings = Vec::new();
    loop {
        let running = client.batch_execute(sql);
        let result = tokio::select! {
            result = running => result,
            () = told(&mut stop) => {
                let _ = cancel.cancel_query(NoTls).await;
                return endings;
            }
        };
        if endings.is_empty() {
            ended.fetch_add(1, Ordering::Relaxed);
        }
        endings.push(match result {
            Ok(()) => "**to its end**".to_owned(),
            Err(error) => match error.as_db_error() {
                Some(error) => {
                    let message = error.message().split(" (request ").next().unwrap_or_default();
                    format!("{message} ({})", error.code().code())
                }
                None => format!("**{error}**"),
            },
        });
        if *stop.borrow() {
            return endings;
        }
    }
}

async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Milliseconds, until it is enough.
async fn lookups(client: &Client, is_enough: impl Fn(usize) -> bool) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::new();
    while !is_enough(times.len()) {
        let started = Instant::now();
        client.simple_query(LOOKUP).await?;
        times.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(times)
}

fn at(times: &[f64], share: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
