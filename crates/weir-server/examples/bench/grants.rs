//! What the number of grants costs: a row filter of N alternatives `(supplier, range of dates)` over `lineitem`.

use std::fmt::Write;

use crate::measure::{cpu_ms, median, ratio};
use crate::{Common, data};

const COUNTS: [usize; 5] = [1, 10, 100, 1_000, 100_000];

pub(crate) async fn run(common: &Common) -> anyhow::Result<String> {
    let folder = data::tables(&common.data, common.scale)?;
    let mut engines = Vec::new();
    for count in COUNTS {
        engines.push((count, data::engine(&folder, &policies(count), &[]).await?));
    }
    let sql = "SELECT count(*), sum(l_quantity) FROM tpch.lineitem";
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); engines.len() + 1];
    for repetition in 0..=common.repetitions {
        for (slot, (_, (engine, restricted, clear))) in times.iter_mut().skip(1).zip(&engines) {
            let (ms, _) = cpu_ms(data::governed(engine, restricted, sql)).await?;
            if repetition > 0 {
                slot.push(ms);
            }
            let _ = clear;
        }
        if let (Some((_, (engine, _, clear))), Some(slot)) = (engines.first(), times.first_mut()) {
            let (ms, _) = cpu_ms(data::governed(engine, clear, sql)).await?;
            if repetition > 0 {
                slot.push(ms);
            }
        }
    }
    let mut report = format!(
        "# Number of grants\n\n`cargo xtask bench grants --scale {} --repetitions {}`\n\n\
         CPU time of `count(*)` and a sum over `lineitem` under a row filter of N alternatives, interleaved in one run.\n\n\
         | grants | CPU ms | against one grant |\n| --- | --- | --- |\n",
        common.scale, common.repetitions
    );
    let one = times.get(1).cloned().unwrap_or_default();
    for (label, times) in std::iter::once("none".to_owned()).chain(COUNTS.iter().map(ToString::to_string)).zip(&times) {
        writeln!(report, "| {label} | {:.1} | {:.2} |", median(times.clone()), ratio(times, &one))?;
    }
    Ok(report)
}

fn policies(count: usize) -> String {
    let grants: Vec<String> = (0..count)
        .map(|i| {
            let (supplier, year) = (i * 7 + 1, 1992 + i % 6);
            format!(
                "(l_suppkey = {supplier} and l_shipdate >= DATE '{year}-01-01' and l_shipdate < DATE '{}-01-01')",
                year + 1
            )
        })
        .collect();
    format!(
        "Allow anyone to subscribe.\n\nOnly show rows where {} for everyone except when user is an owner of the data source on data source tpch.lineitem.\n",
        grants.join(" or ")
    )
}
