//! What the time of a point query tells of rows that are hidden from whoever asks.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use arrow::array::{Int64Array, RecordBatch, RecordBatchIterator, StringArray};
use weir_model::SourceName;

use weir_query::UserLimits;

use crate::measure::median;
use crate::{Common, data};

/// Rows that are shown, in every table.
const VISIBLE: usize = 10_000;
/// Rows that are not, table by table.
const HIDDEN: [usize; 5] = [0, 1_000, 10_000, 100_000, 1_000_000];
const BATCH: usize = 50_000;

const POLICIES: &str = "Allow anyone to subscribe.\n\n\
     Only show rows where dept = 'A' for everyone except when user is an owner of the data source on data sources ";

/// What is asked for.
const KINDS: [&str; 4] = ["a visible row", "a hidden row", "no row", "count of all"];

pub(crate) async fn run(common: &Common) -> anyhow::Result<String> {
    let folder = std::path::absolute(common.data.join("timing"))?;
    std::fs::create_dir_all(&folder)?;
    let mut files = Vec::new();
    for hidden in HIDDEN {
        files.push((SourceName::new("hr", format!("t{hidden}"))?, table(&folder, hidden)?));
    }
    let names: Vec<String> = files.iter().map(|(name, _)| name.to_string()).collect();
    let policies = format!("{POLICIES}{}.", names.join(", "));
    let (engine, restricted, _) =
        data::engine_over(files, data::parsed(&policies)?, &[], UserLimits::default()).await?;

    let mut times: Vec<Vec<Vec<f64>>> = vec![vec![Vec::new(); KINDS.len()]; HIDDEN.len()];
    for repetition in 0..=common.repetitions {
        for (hidden, times) in HIDDEN.into_iter().zip(&mut times) {
            // Which comes first changes, so that nobody is always the one that finds things warm.
            let mut order: Vec<usize> = (0..KINDS.len()).collect();
            order.rotate_left(repetition % KINDS.len());
            for kind in order {
                let Some((sql, rows)) = question(hidden, kind, repetition) else { continue };
                let started = Instant::now();
                let got = data::governed(&engine, &restricted, &sql).await?;
                let took = started.elapsed().as_secs_f64() * 1e3;
                ensure!(got == rows, "{sql}: {got} rows");
                if let Some(slot) = times.get_mut(kind)
                    && repetition > 0
                {
                    slot.push(took);
                }
            }
        }
    }
    report(common, &times)
}

/// Ids are even, so that every odd one is of no row. The row at a place is visible when it is the first of its share.
fn is_visible(place: usize, hidden: usize) -> bool {
    let all = VISIBLE + hidden;
    place == 0 || place * VISIBLE / all != (place - 1) * VISIBLE / all
}

/// A statement and how many rows it answers; near one place for all kinds.
fn question(hidden: usize, kind: usize, repetition: usize) -> Option<(String, usize)> {
    let all = VISIBLE + hidden;
    let start = (repetition * 7_919) % all;
    let place = |wanted: bool| (start..all).chain(0..start).find(|place| is_visible(*place, hidden) == wanted);
    let point = |id: usize| format!("SELECT name FROM hr.t{hidden} WHERE id = {id}");
    match kind {
        0 => place(true).map(|place| (point(place * 2), 1)),
        1 => place(false).map(|place| (point(place * 2), 0)),
        2 => Some((point(start * 2 + 1), 0)),
        _ => Some((format!("SELECT count(*) FROM hr.t{hidden}"), 1)),
    }
}

fn table(folder: &Path, hidden: usize) -> anyhow::Result<PathBuf> {
    let path = folder.join(format!("t{hidden}.parquet"));
    if path.exists() {
        return Ok(path);
    }
    let places: Vec<usize> = (0..VISIBLE + hidden).collect();
    let batches: Vec<RecordBatch> = places
        .chunks(BATCH)
        .map(|places| {
            let ids: Int64Array = places.iter().map(|place| i64::try_from(place * 2).ok()).collect();
            let names: StringArray = places.iter().map(|place| Some(format!("name {place}"))).collect();
            let dept = |place: &usize| Some(if is_visible(*place, hidden) { "A" } else { "B" });
            let depts: StringArray = places.iter().map(dept).collect();
            RecordBatch::try_from_iter([
                ("id", Arc::new(ids) as _),
                ("name", Arc::new(names) as _),
                ("dept", Arc::new(depts) as _),
            ])
        })
        .collect::<Result<_, _>>()?;
    let Some(schema) = batches.first().map(RecordBatch::schema) else { anyhow::bail!("no rows") };
    let draft = path.with_extension("draft");
    data::write(&draft, Box::new(RecordBatchIterator::new(batches.into_iter().map(Ok), schema)))?;
    std::fs::rename(draft, &path)?;
    Ok(path)
}

fn report(common: &Common, times: &[Vec<Vec<f64>>]) -> anyhow::Result<String> {
    let mut text = format!(
        "# What time tells of hidden rows\n\n`cargo xtask bench timing` ({} repetitions)\n\n\
         Wall time in ms, in process, from text to last row, of a reader who sees {VISIBLE} rows of each table; medians. \
         Point queries ask by `id` for a row that she sees, for one that is hidden from her, and for one that does not exist, near one place of the file; \
         all are interleaved. *Longer* is the share of repetitions in which asking for the hidden row took longer than asking for none: 0.5 tells nothing.\n\n\
         | hidden rows | {} | hidden less none, median µs | longer |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        common.repetitions,
        KINDS.join(" | ")
    );
    for (hidden, times) in HIDDEN.into_iter().zip(times) {
        write!(text, "| {hidden} |")?;
        for times in times {
            if times.is_empty() {
                write!(text, " – |")?;
            } else {
                write!(text, " {:.2} |", median(times.clone()))?;
            }
        }
        let pairs: Vec<f64> = match times.as_slice() {
            [_, hidden, none, _] => hidden.iter().zip(none).map(|(hidden, none)| hidden - none).collect(),
            _ => Vec::new(),
        };
        if pairs.is_empty() {
            writeln!(text, " – | – |")?;
        } else {
            let longer = pairs.iter().filter(|pair| **pair > 0.0).count() as f64 / pairs.len() as f64;
            writeln!(text, " {:.0} | {longer:.2} |", median(pairs) * 1e3)?;
        }
    }
    Ok(text)
}
