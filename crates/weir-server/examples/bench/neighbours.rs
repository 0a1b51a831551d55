//! Whether one user's statements keep another's waiting: point lookups of one user, alone and beside statements of
//! another that take all they can get.

use std::fmt::Write;
use std::time::{Duration, Instant};

use weir_guard::Caller;
use weir_query::{Engine, UserLimits};

use crate::{Common, data};

const POLICIES: &str = "\
Allow anyone to subscribe.

Only show rows where o_orderkey > 10 for everyone except when user is an owner of the data source on data source tpch.orders.

Mask using hashing the column o_clerk for everyone except when user is an owner of the data source on data source tpch.orders.
";

const LOOKUP: &str = "SELECT o_clerk, o_totalprice FROM tpch.orders WHERE o_orderkey = 4711";
/// Of lookups, alone and beside each of the others.
const ROUNDS: usize = 400;
/// Work on one of the others.
const SECONDS: u64 = 12;
const MEMORY: usize = 256 << 20;
const DISK: u64 = 512 << 20;

pub(crate) async fn run(common: &Common) -> anyhow::Result<String> {
    let folder = data::tables(&common.data, common.scale)?;
    let limits = UserLimits {
        memory_bytes_max: MEMORY,
        spill_bytes_max: DISK,
        statement_time_max: Duration::from_secs(SECONDS),
        ..UserLimits::default()
    };
    let (engine, restricted, greedy) =
        data::engine_over(data::tpch(&folder)?, data::parsed(POLICIES)?, &[], limits).await?;
    let alone = lookups(&engine, &restricted, || false).await?;
    let mut report = format!(
        "# Neighbours\n\n`cargo xtask bench neighbours --scale {}`\n\n\
         Wall time of a point lookup on a governed table by one user, alone and while another user runs one statement that takes what it \
         can get, on the same two processors. She may use {} MiB of memory, {} MiB of disk and {SECONDS} seconds of work; the last column is how her statement ended.\n\n\
         | beside | lookups | p50 ms | p99 ms | p99 against alone | ended |\n| --- | --- | --- | --- | --- | --- |\n",
        common.scale,
        MEMORY >> 20,
        DISK >> 20,
    );
    let line = |report: &mut String, name: &str, times: &[f64], ended: &str| {
        let (p50, p99) = (at(times, 50), at(times, 99));
        let ratio = p99 / at(&alone, 99);
        writeln!(report, "| {name} | {} | {p50:.1} | {p99:.1} | {ratio:.2} | {ended} |", times.len())
    };
    line(&mut report, "nothing", &alone, "")?;
    for (name, sql) in greedy_statements() {
        let (engine_beside, greedy, running) = (engine.clone(), greedy.clone(), sql.clone());
        let beside = tokio::spawn(async move { data::governed(&engine_beside, &greedy, &running).await });
        let times = lookups(&engine, &restricted, || beside.is_finished()).await?;
        let ended = match beside.await? {
            Ok(rows) => format!("{rows} rows"),
            Err(e) => {
                e.to_string().rsplit_once('(').map_or(String::new(), |(_, why)| why.trim_end_matches(')').to_owned())
            }
        };
        line(&mut report, name, &times, &ended)?;
    }
    Ok(report)
}

fn greedy_statements() -> Vec<(&'static str, String)> {
    let many = "generate_series(1, 100000000)";
    let pattern = "(.*a){8}(.*e){8}(.*i){8}.*xyzzy";
    let deep =
        (0..20).fold("o_totalprice".to_owned(), |inner, n| format!("CASE WHEN {inner} > {n} THEN {n} ELSE 1 END"));
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
        ("a deep statement", format!("SELECT sum({deep}) FROM tpch.orders, generate_series(1, 10000)")),
        ("many groups", format!("SELECT a.value, count(*) FROM {many} a GROUP BY a.value")),
    ]
}

/// Sorted milliseconds, until there are enough or `is_over`.
async fn lookups(engine: &Engine, caller: &Caller, is_over: impl Fn() -> bool) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::new();
    while times.len() < ROUNDS && !is_over() {
        let started = Instant::now();
        data::governed(engine, caller, LOOKUP).await?;
        times.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn at(sorted: &[f64], percent: usize) -> f64 {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
