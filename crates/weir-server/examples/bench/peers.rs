//! The same policies in other systems: views of DataFusion and DuckDB, views with a security barrier and row security of
//! PostgreSQL. All answers are compared before anything is timed.

mod answer;
mod systems;

use std::collections::BTreeMap;
use std::fmt::Write;

use self::answer::{agree, is_ordered};
use self::systems::{Form, Systems};
use crate::measure::{Goal, Limit, geometric_mean, goals, median, ratio};
use crate::tpch::queries;
use crate::{Common, data, measure};

/// PostgreSQL takes long; its figures need no second digit.
const POSTGRES_REPETITIONS: usize = 3;

/// Of a query, by form: milliseconds of processors, one for each repetition.
type Times = BTreeMap<Form, Vec<f64>>;

/// Only masks: name, query, whether the answer is the same for all. `SELECT *` of one column says what a mask costs.
fn masked() -> Vec<(&'static str, String, bool)> {
    let own = str::to_owned;
    vec![
        ("m_topk100", own("SELECT * FROM {C} ORDER BY c_custkey DESC LIMIT 100"), true),
        ("m_limit100", own("SELECT * FROM {C} LIMIT 100"), false),
        ("m_distinct", own("SELECT count(DISTINCT c_phone) AS n FROM {C}"), true),
        (
            "m_group",
            own(
                "SELECT count(*) AS n FROM (SELECT c_phone, count(*) AS n FROM {C} GROUP BY c_phone HAVING count(*) > 1) t",
            ),
            true,
        ),
        ("m_join", own("SELECT count(*) AS n FROM {C} a JOIN {C} b ON a.c_name = b.c_name"), true),
        ("m_hash", own("SELECT c_phone FROM {C}"), true),
        ("m_hash_few", own("SELECT o_clerk FROM {O}"), true),
        ("m_round", own("SELECT l_extendedprice FROM {L}"), true),
    ]
}

pub(crate) async fn run(common: &Common, python: &std::path::Path) -> anyhow::Result<String> {
    let folder = data::tables(&common.data, common.scale)?;
    let mut systems = Systems::start(&folder, common.scale, python).await?;
    let mut all: Vec<(&str, Times)> = Vec::new();
    let asked = queries().into_iter().map(|(name, query, hand)| (name, query, hand, name != "s_limit100"));
    let masked = masked().into_iter().map(|(name, query, same)| (name, query, String::new(), same));
    for (name, query, hand, same) in asked.chain(masked) {
        if common.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let mut forms = Form::of(name).to_vec();
        compare(&mut systems, name, &query, &hand, same, &mut forms).await?;
        let mut times = Times::new();
        for repetition in 0..=common.repetitions {
            for turn in 0..forms.len() {
                let Some(form) = forms.get((turn + repetition) % forms.len()).copied() else { continue };
                if form.is_postgres() && repetition > POSTGRES_REPETITIONS {
                    continue;
                }
                let ms = systems.cost(form, &form.text(&query, &hand)).await?;
                // The first round warms caches.
                if repetition > 0 {
                    times.entry(form).or_default().push(ms);
                }
            }
        }
        measure::note(&line(name, Form::of(name), &times));
        all.push((name, times));
    }
    report(common, &all)
}

/// Compares what all forms answer; takes those away that do not come to an end.
async fn compare(
    systems: &mut Systems,
    name: &str,
    query: &str,
    hand: &str,
    same: bool,
    forms: &mut Vec<Form>,
) -> anyhow::Result<()> {
    let ordered = is_ordered(query);
    // Many clerks have as many orders; under the policy there is one.
    let tied = |form: Form| name == "s_group_clerk" && !form.is_governed();
    let mut expected: BTreeMap<bool, (Form, answer::Answer)> = BTreeMap::new();
    for form in forms.clone() {
        let Some(found) = systems.answer(form, &form.text(query, hand)).await? else {
            measure::note(&format!("{name}: {} does not come to an end", form.name()));
            forms.retain(|other| *other != form);
            continue;
        };
        // Under policies and without, each among themselves.
        match expected.get(&form.is_governed()) {
            None => {
                expected.insert(form.is_governed(), (form, found));
            }
            Some((first, answer)) => agree(answer, &found, ordered, same && !tied(form)).map_err(|difference| {
                anyhow::anyhow!("{name}: {} and {} answer differently: {difference}", first.name(), form.name())
            })?,
        }
    }
    Ok(())
}

fn line(name: &str, forms: &[Form], times: &Times) -> String {
    let cells =
        forms.iter().map(|form| times.get(form).map_or("–".to_owned(), |ms| format!("{:.1}", median(ms.clone()))));
    format!("| `{name}` | {} |", cells.collect::<Vec<_>>().join(" | "))
}

fn table(out: &mut String, all: &[(&str, Times)], forms: &[Form]) -> anyhow::Result<()> {
    let names: Vec<_> = forms.iter().map(|form| form.name()).collect();
    writeln!(out, "| query | {} |\n|{}", names.join(" | "), " --- |".repeat(forms.len() + 1))?;
    for (name, times) in all {
        writeln!(out, "{}", line(name, forms, times))?;
    }
    Ok(())
}

/// Of the queries of a kind: the ratio of two forms, where both came to an end.
fn ratios(all: &[(&str, Times)], kind: &str, form: Form, other: Form) -> Vec<f64> {
    let of_kind = all.iter().filter(|(name, _)| name.starts_with(kind));
    of_kind.filter_map(|(_, times)| Some(ratio(times.get(&form)?, times.get(&other)?))).collect()
}

fn worst(ratios: &[f64]) -> f64 {
    ratios.iter().copied().fold(f64::NAN, f64::max)
}

fn report(common: &Common, all: &[(&str, Times)]) -> anyhow::Result<String> {
    let mut report = format!(
        "# Peers\n\n`cargo xtask bench peers --scale {} --repetitions {}`\n\n\
         The policies and queries of `bench tpch` in other systems, interleaved in one run, on the same machine with two threads each: milliseconds of \
         processors from text to last row, ratios are medians of the ratios within one repetition. *raw* is DataFusion without a policy, *hand* what an expert writes \
         in it for the policy's answer, *Weir* the whole path of a read in process, *Weir, clear* the same for a reader whom no policy restricts, *views* the policies \
         as plain views of DataFusion, DuckDB's over the same files. PostgreSQL (no parallel workers, no JIT, the backend's own time, {POSTGRES_REPETITIONS} repetitions at most) has the tables of \
         its own, with indexes; *barrier* are views with `security_barrier`, *row security* is policies on the tables with masks in views. Views that are no barrier \
         leak; they are here for what they cost. SHA-256 with a salt stands where Weir has a keyed HMAC.\n\n\
         All forms gave the same answers, hashes taken as equal (\"–\": not within {} s).\n\n",
        common.scale,
        common.repetitions,
        systems::PATIENCE.as_secs(),
    );
    let others = [Form::Raw, Form::Hand, Form::Views, Form::DuckViews, Form::Barrier, Form::RowSecurity];
    report.push_str("| Weir against | TPC-H, geometric mean | worst | small, geometric mean | worst |\n| --- | --- | --- | --- | --- |\n");
    for other in others {
        let (tpch, small) = (ratios(all, "q", Form::Weir, other), ratios(all, "s_", Form::Weir, other));
        writeln!(
            report,
            "| {} | {:.3} | {:.2} | {:.3} | {:.2} |",
            other.name(),
            geometric_mean(&tpch),
            worst(&tpch),
            geometric_mean(&small),
            worst(&small)
        )?;
    }
    report.push('\n');
    let total = |form: Form| -> f64 {
        let queries = all.iter().filter(|(name, _)| name.starts_with('q'));
        queries.map(|(_, times)| times.get(&form).map_or(f64::NAN, |ms| median(ms.clone()))).sum()
    };
    report.push_str("Processor time of all TPC-H queries together, ms: ");
    let totals = [Form::Weir, Form::Hand, Form::Views, Form::DuckViews, Form::DuckRaw, Form::Raw, Form::Barrier];
    let totals = totals.map(|form| format!("{} {:.0}", form.name(), total(form)));
    writeln!(report, "{}.\n", totals.join(", "))?;
    report.push_str(&goals(&goals_of(common, all, total(Form::Weir) / total(Form::DuckViews))));
    report.push_str(
        "\nWhat a mask costs for a row (G7 to G9) is the governed read less the clear one, handing over included. Goals that are not in this table are measured \
         by other benchmarks or by the attack files.\n\n",
    );
    let (asked, masked): (Vec<_>, Vec<_>) = all.iter().cloned().partition(|(name, _)| !name.starts_with("m_"));
    table(&mut report, &asked, Form::of("q"))?;
    report.push_str("\nMasks only, no row filters:\n\n");
    table(&mut report, &masked, Form::of("m_"))?;
    Ok(report)
}

/// Those of the goals that this run has figures of.
fn goals_of(common: &Common, all: &[(&str, Times)], to_duckdb: f64) -> Vec<Goal> {
    let times = |name: &str| all.iter().find(|(known, _)| *known == name).map(|(_, times)| times);
    let between = |name: &str, form: Form, other: Form| {
        times(name).and_then(|times| Some(ratio(times.get(&form)?, times.get(&other)?))).unwrap_or(f64::NAN)
    };
    let above_ms = |name: &str, form: Form, other: Form| {
        let difference = |times: &Times| {
            let each = times.get(&form)?.iter().zip(times.get(&other)?).map(|(a, b)| a - b);
            Some(median(each.collect()))
        };
        times(name).and_then(difference).unwrap_or(f64::NAN)
    };
    let nanoseconds = |name: &str, rows: f64| above_ms(name, Form::Masks, Form::Clear) * 1e6 / (rows * common.scale);
    let (tpch, small) = (ratios(all, "q", Form::Weir, Form::Hand), ratios(all, "s_", Form::Weir, Form::Hand));
    let clear: Vec<f64> = ["q", "s_"].iter().flat_map(|kind| ratios(all, kind, Form::Clear, Form::Raw)).collect();
    let clear_tpch = ratios(all, "q", Form::Clear, Form::Raw);
    let goal = |name, measured, limit| Goal { name, measured, limit: Limit::AtMost(limit) };
    let masks = |name| between(name, Form::Masks, Form::Raw);
    vec![
        goal("G1 TPC-H, against hand", geometric_mean(&tpch), 1.05),
        goal("G1 TPC-H, against hand, worst", worst(&tpch), 1.20),
        goal("G1 small, against hand", geometric_mean(&small), 0.95),
        goal("G1 small, against hand, worst", worst(&small), 1.20),
        goal("G4 no policy, against raw, TPC-H", geometric_mean(&clear_tpch), 1.02),
        goal("G4 no policy, against raw, all", geometric_mean(&clear), 1.02),
        goal("G4 no policy, ms above raw (`s_count`)", above_ms("s_count", Form::Clear, Form::Raw), 0.2),
        goal("G5 first 100 of a sort, masks against raw", masks("m_topk100"), 1.05),
        goal("G5 limit 100, masks against raw", masks("m_limit100"), 1.05),
        goal("G6 count distinct of a hash, against raw", masks("m_distinct"), 1.10),
        goal("G6 group by a hash, against raw", masks("m_group"), 1.10),
        goal("G6 join on a hash, against raw", masks("m_join"), 1.10),
        goal("G7 hash, ns a value", nanoseconds("m_hash", 150_000.0), 130.0),
        goal("G8 hash of 1,000 values, ns a row", nanoseconds("m_hash_few", 1_500_000.0), 3.0),
        goal("G9 decimal rounding, ns a row", nanoseconds("m_round", 6_001_215.0), 5.0),
        goal("G11 mapping table and a point lookup, against raw", between("s_point_order", Form::Weir, Form::Raw), 1.1),
        goal("G16 TPC-H together, against DuckDB's views", to_duckdb, 1.0),
    ]
}
