//! Many connections with statements of every kind, for minutes, while people and policies change: what goes wrong, how
//! long it takes, and what becomes of the memory.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio_postgres::{Client, NoTls};

use crate::measure::{Goal, Limit, goals};
use crate::server::{PASSWORD, Server};
use crate::tpch::POLICIES;
use crate::{Common, data, measure};

/// Each has a few of the connections.
const USERS: usize = 40;
/// A connection rests up to this long after a statement.
const PAUSE: Duration = Duration::from_secs(1);
const SAMPLE: Duration = Duration::from_secs(1);
/// Of the time; memory is not looked at before everything was done once.
const WARM_UP: f64 = 0.1;
/// A connection that hears nothing for so long has been forgotten.
const PATIENCE: Duration = Duration::from_secs(120);
const BEFORE_CANCEL: Duration = Duration::from_millis(50);

const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b";
const BY_CUSTOMER: &str = "SELECT count(*), sum(o_totalprice) FROM tpch.orders WHERE o_custkey = $1";
const REVOKED: &str = "access to what this statement reads was changed while it ran";

/// In whose group comments of lineitems are shown; people come and go.
const GROUP_POLICY: &str = "

Mask by making null the column l_comment for everyone except when user is a member of group auditors on data source tpch.lineitem.
";
/// Comes and goes.
const CHANGING_POLICY: &str = "Mask by making null the column n_comment for everyone on data source tpch.nation";

/// What a connection does next, and how often in a hundred.
const KINDS: [(&str, usize); 8] = [
    ("lookup", 30),
    ("prepared, with a parameter", 25),
    ("aggregate", 10),
    ("export", 5),
    ("cursor", 10),
    ("cancelled", 5),
    ("wrong", 10),
    ("reconnect", 5),
];

/// Statements that are the client's mistake, and what has to be said about them.
const WRONG: [(&str, &str); 6] = [
    ("SELEC 1", "42601"),
    ("SELECT * FROM tpch.no_such_table", "42P01"),
    ("SELECT no_such_column FROM tpch.orders", "42703"),
    ("SELECT 1 / (o_orderkey - o_orderkey) FROM tpch.orders", "22012"),
    ("SELECT CAST(o_comment AS int) FROM tpch.orders", "22"),
    ("DELETE FROM tpch.orders", ""),
];

#[derive(Default)]
struct Tally {
    /// Milliseconds, by kind.
    times: BTreeMap<&'static str, Vec<f64>>,
    /// Statements that a change ended, as it has to.
    revoked: usize,
    /// What should not have happened.
    wrong: BTreeMap<String, usize>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        for (kind, times) in other.times {
            self.times.entry(kind).or_default().extend(times);
        }
        self.revoked += other.revoked;
        for (what, count) in other.wrong {
            *self.wrong.entry(what).or_default() += count;
        }
    }
}

pub(crate) async fn run(common: &Common, minutes: f64, connections: usize) -> anyhow::Result<String> {
    let folder = data::tables(&common.data, common.scale)?;
    let max = (connections + 16).to_string();
    // A policy may ask only for what somebody has.
    let attributes: [(&str, &[&str]); 2] = [("nations", &["7"]), ("modes", &["AIR"])];
    let policies = format!("{POLICIES}{GROUP_POLICY}");
    let server = Arc::new(Server::start(&folder, &attributes, &policies, &[("WEIR_SQL_CONNECTIONS_MAX", &max)])?);
    measure::note("adding users");
    for user in 0..USERS {
        let attributes =
            [format!("nations={}", user % 25), format!("nations={}", (user + 7) % 25), "modes=AIR".to_owned()];
        let mut add = vec!["user", "add"];
        let name = name(user);
        add.extend([name.as_str(), "--password-file", "password"]);
        add.extend(attributes.iter().flat_map(|value| ["--attribute", value]));
        server.weir(&add)?;
    }
    let length = Duration::from_secs_f64(minutes * 60.0);
    let (started, stop, done) = (Instant::now(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let customers = (150_000.0 * common.scale) as i64;
    let tasks: Vec<_> = (0..connections)
        .map(|number| {
            let (server, stop, done) = (Arc::clone(&server), Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(async move { connection(&server, number, customers, &stop, &done).await })
        })
        .collect();
    let changes = tokio::task::spawn_blocking({
        let (server, stop) = (Arc::clone(&server), Arc::clone(&stop));
        move || change(&server, &stop)
    });

    let (mut samples, mut told) = (Vec::new(), Instant::now());
    while started.elapsed() < length {
        tokio::time::sleep(SAMPLE).await;
        samples.push((started.elapsed().as_secs_f64(), server.memory("VmRSS")? as f64 / f64::from(1 << 20)));
        if told.elapsed() > Duration::from_secs(15) {
            told = Instant::now();
            let (seconds, memory) = samples.last().copied().unwrap_or_default();
            measure::note(&format!("{seconds:.0} s: {} statements, {memory:.0} MiB", done.load(Ordering::Relaxed)));
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut tally = Tally::default();
    for task in tasks {
        tally.add(task.await?);
    }
    let changes = changes.await??;
    report(common, minutes, connections, &samples, &tally, changes)
}

fn name(user: usize) -> String {
    format!("u{user:02}")
}

/// Changes something about people or policies, over and over; how often.
fn change(server: &Server, stop: &AtomicBool) -> anyhow::Result<usize> {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let user = name(count / 6 % USERS);
        match count % 6 {
            0 => server.weir(&["user", "group", "add", &user, "auditors"])?,
            1 => server.weir(&["policy", "add", "--key", "changing", "--text", CHANGING_POLICY])?,
            2 => server.weir(&["user", "attribute", "set", &user, "modes=RAIL"])?,
            3 => server.weir(&["user", "group", "remove", &user, "auditors"])?,
            4 => server.weir(&["policy", "remove", "changing"])?,
            _ => server.weir(&["user", "attribute", "remove", &user, "modes=RAIL"])?,
        };
        count += 1;
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(count)
}

async fn connect(server: &Server, number: usize) -> Result<Client, String> {
    let (host, port) = (server.sql.ip(), server.sql.port());
    let config = format!("host={host} port={port} user={} password={PASSWORD} dbname=weir", name(number % USERS));
    let (client, session) =
        tokio_postgres::connect(&config, NoTls).await.map_err(|e| format!("connect: {}", full(&e)))?;
    tokio::spawn(session);
    Ok(client)
}

async fn connection(server: &Server, number: usize, customers: i64, stop: &AtomicBool, done: &AtomicUsize) -> Tally {
    let mut rng = StdRng::seed_from_u64(number as u64);
    let mut tally = Tally::default();
    let mut client = None;
    while !stop.load(Ordering::Relaxed) {
        let mut kind = pick(&mut rng);
        if client.is_none() {
            kind = "reconnect";
        }
        let started = Instant::now();
        let work = Box::pin(one(server, number, &mut client, kind, customers, &mut rng));
        let ended = tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err("no answer".to_owned()));
        match ended {
            // What is cancelled tells how long that took.
            Ok(None) => tally.times.entry(kind).or_default().push(started.elapsed().as_secs_f64() * 1e3),
            Ok(Some(took)) => tally.times.entry(kind).or_default().push(took.as_secs_f64() * 1e3),
            Err(what) if what.contains(REVOKED) => tally.revoked += 1,
            Err(what) => {
                *tally.wrong.entry(format!("{kind}: {what}")).or_default() += 1;
                client = None;
            }
        }
        done.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(PAUSE.mul_f64(rng.random())).await;
    }
    tally
}

fn pick(rng: &mut StdRng) -> &'static str {
    let mut at = rng.random_range(0..KINDS.iter().map(|(_, often)| often).sum());
    for (kind, often) in KINDS {
        if at < often {
            return kind;
        }
        at -= often;
    }
    "lookup"
}

/// One thing that a connection does. Says how long it took, unless that is all the time; an error is one that it should
/// not have seen.
async fn one(
    server: &Server,
    number: usize,
    client: &mut Option<Client>,
    kind: &str,
    customers: i64,
    rng: &mut StdRng,
) -> Result<Option<Duration>, String> {
    let told = |error: tokio_postgres::Error| full(&error);
    let Some(open) = client.as_ref().filter(|_| kind != "reconnect") else {
        *client = None;
        *client = Some(connect(server, number).await?);
        return Ok(None);
    };
    match kind {
        "lookup" => {
            let key = rng.random_range(1..customers * 40);
            let sql = format!("SELECT * FROM tpch.orders WHERE o_orderkey = {key}");
            open.simple_query(&sql).await.map_err(told)?;
        }
        "prepared, with a parameter" => {
            let prepared = open.prepare(BY_CUSTOMER).await.map_err(told)?;
            for _ in 0..3 {
                let row = open.query_one(&prepared, &[&rng.random_range(1..=customers)]).await.map_err(told)?;
                let _: i64 = row.try_get(0).map_err(told)?;
            }
        }
        "aggregate" => {
            let sql = "SELECT l_shipmode, n_name, count(*), sum(l_extendedprice * (1 - l_discount)), max(l_comment)
                 FROM tpch.lineitem JOIN tpch.supplier ON l_suppkey = s_suppkey JOIN tpch.nation ON s_nationkey = n_nationkey
                 WHERE l_shipdate < DATE '1994-06-01' GROUP BY 1, 2 ORDER BY 1, 2";
            open.simple_query(sql).await.map_err(told)?;
        }
        "export" => {
            let parameters: [&str; 0] = [];
            let mut rows = pin!(
                open.query_raw("SELECT * FROM tpch.customer JOIN tpch.nation ON c_nationkey = n_nationkey", parameters)
                    .await
                    .map_err(told)?
            );
            while let Some(row) = rows.next().await {
                row.map_err(told)?;
            }
        }
        "cursor" => {
            let fetched = fetch(open).await;
            // Also after an error, which ends the transaction.
            open.batch_execute("ROLLBACK").await.map_err(told)?;
            fetched.map_err(told)?;
        }
        "cancelled" => return cancel(open).await.map(Some),
        _ => {
            let (sql, code) = WRONG.get(rng.random_range(0..WRONG.len())).copied().unwrap_or_default();
            match open.simple_query(sql).await {
                // Nobody's rows may be asked, then nothing is wrong with any.
                Ok(_) if code.starts_with("22") => {}
                Ok(_) => return Err(format!("`{sql}` was no mistake")),
                Err(error) => {
                    let said = error.code().map_or("", |code| code.code());
                    if !said.starts_with(code) || said.starts_with("XX") || said.is_empty() {
                        return Err(format!("`{sql}`: {}", full(&error)));
                    }
                }
            }
        }
    }
    Ok(None)
}

async fn fetch(client: &Client) -> Result<(), tokio_postgres::Error> {
    client.batch_execute("BEGIN; DECLARE c CURSOR FOR SELECT * FROM tpch.orders").await?;
    for _ in 0..5 {
        client.query("FETCH 100 FROM c", &[]).await?;
    }
    client.batch_execute("CLOSE c").await
}

/// From the request to the end of the statement.
async fn cancel(client: &Client) -> Result<Duration, String> {
    let token = client.cancel_token();
    let running = client.simple_query(ENDLESS);
    let asking = async {
        tokio::time::sleep(BEFORE_CANCEL).await;
        // A request that comes before the statement has begun ends nothing.
        loop {
            let _ = token.cancel_query(NoTls).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let started = Instant::now();
    tokio::select! {
        ended = running => match ended {
            Ok(_) => Err("an endless statement ended".to_owned()),
            Err(error) if error.code().is_some_and(|code| code.code() == "57014") => {
                Ok(started.elapsed().saturating_sub(BEFORE_CANCEL))
            }
            Err(error) => Err(full(&error)),
        },
        () = asking => Err("asking ended".to_owned()),
    }
}

fn full(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        // Without the number of the request, so that they can be counted.
        Some(error) => {
            let message = error.message().split(" (request ").next().unwrap_or_default();
            format!("{} {message}", error.code().code())
        }
        None => error.to_string(),
    }
}

fn report(
    common: &Common,
    minutes: f64,
    connections: usize,
    samples: &[(f64, f64)],
    tally: &Tally,
    changes: usize,
) -> anyhow::Result<String> {
    let count: usize = tally.times.values().map(Vec::len).sum();
    let wrong: usize = tally.wrong.values().sum();
    let mut report = format!(
        "# Load\n\n`cargo xtask bench load --minutes {minutes} --connections {connections} --scale {}`\n\n\
         {connections} connections of {USERS} users with statements of every kind for {minutes} minutes, through the PostgreSQL door of the \
         program, under the policies of TPC-H; clients run on the same machine. A connection does one thing, rests up to {} s, and goes on. Meanwhile people come \
         into groups and leave them, get attributes and lose them, and a policy comes and goes: {changes} changes. Times are on the clock, from the \
         statement to its last row; of three runs with a parameter, together with preparing; of cancelling, from the request to the end.\n\n\
         **{count}** statements; {} more were ended by a change of what their reader may see, as they have to; **{wrong}** went wrong.\n\n\
         | kind | statements | p50 ms | p99 ms | most ms |\n| --- | ---: | ---: | ---: | ---: |\n",
        common.scale,
        PAUSE.as_secs(),
        tally.revoked,
    );
    for (kind, times) in &tally.times {
        let mut times = times.clone();
        times.sort_by(f64::total_cmp);
        let at =
            |share: f64| times.get((times.len() as f64 * share) as usize).or(times.last()).copied().unwrap_or(f64::NAN);
        writeln!(report, "| {kind} | {} | {:.1} | {:.1} | {:.1} |", times.len(), at(0.5), at(0.99), at(1.0))?;
    }
    if wrong > 0 {
        report.push_str("\n| what went wrong | times |\n| --- | ---: |\n");
        for (what, times) in &tally.wrong {
            writeln!(report, "| {} | {times} |", what.replace(['|', '\n'], " "))?;
        }
    }
    let warm: Vec<f64> =
        samples.iter().filter(|(at, _)| *at > minutes * 60.0 * WARM_UP).map(|(_, memory)| *memory).collect();
    let third = warm.len() / 3;
    let (first, last) = (warm.get(..third).unwrap_or_default(), warm.get(warm.len() - third..).unwrap_or_default());
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let most = |part: &[f64]| part.iter().copied().fold(0.0, f64::max);
    write!(
        report,
        "\nMemory of the server (resident, MiB, a sample each second after the first {:.0} % of the time):\n\n\
         | part | mean | most |\n| --- | ---: | ---: |\n| first third | {:.0} | {:.0} |\n| last third | {:.0} | {:.0} |\n\nOver time: {}\n\n",
        WARM_UP * 100.0,
        mean(first),
        most(first),
        mean(last),
        most(last),
        (0..10)
            .filter_map(|tenth| warm.get(warm.len() * tenth / 10))
            .map(|m| format!("{m:.0}"))
            .collect::<Vec<_>>()
            .join(", "),
    )?;
    report.push_str(&goals(&[
        Goal { name: "errors that are not the client's", measured: wrong as f64, limit: Limit::AtMost(0.0) },
        Goal {
            name: "memory, last third against first",
            measured: mean(last) / mean(first),
            limit: Limit::AtMost(1.1),
        },
    ]));
    Ok(report)
}
