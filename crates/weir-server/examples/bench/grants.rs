//! What the number of grants costs: a row filter of N alternatives `(supplier, range of dates)` over `lineitem`.

use std::fmt::Write;
use std::ops::Range;

use weir_policy::ast::{Action, Body, Policy, Predicate, RowCondition};

use crate::measure::{cpu_ms, median, ratio};
use crate::{Common, data};

const COUNTS: [usize; 5] = [1, 10, 100, 1_000, 100_000];
/// Grants of one text.
const A_TEXT: usize = 5_000;

pub(crate) async fn run(common: &Common) -> anyhow::Result<String> {
    let folder = data::tables(&common.data, common.scale)?;
    let mut engines = Vec::new();
    for count in COUNTS {
        engines.push((count, data::engine(&folder, policies(count)?, &[]).await?));
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

/// More grants than one text may hold are put together from several.
fn policies(count: usize) -> anyhow::Result<Vec<Policy>> {
    let mut alternatives = Vec::new();
    for from in (0..count).step_by(A_TEXT) {
        let mut policies = data::parsed(&text(from..count.min(from + A_TEXT)))?;
        if count <= A_TEXT {
            return Ok(policies);
        }
        match policies.last_mut().and_then(condition) {
            Some(Predicate::Or(parts)) => alternatives.append(parts),
            _ => anyhow::bail!("the policy of grants is none"),
        }
        if count <= from + A_TEXT {
            if let Some(all) = policies.last_mut().and_then(condition) {
                *all = Predicate::Or(alternatives);
            }
            return Ok(policies);
        }
    }
    Ok(Vec::new())
}

fn condition(policy: &mut Policy) -> Option<&mut Predicate> {
    let Body::Data(cascade) = &mut policy.statement.body else { return None };
    match &mut cascade.rules.first_mut()?.action {
        Action::ShowRows(RowCondition::Where(predicate)) => Some(predicate),
        _ => None,
    }
}

fn text(grants: Range<usize>) -> String {
    let grants: Vec<String> = grants
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
