//! Makes the demonstration's Parquet files. A run that is killed leaves nothing that a later one takes for whole.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, bail};
use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatchIterator, RecordBatchReader};
use indicatif::{ProgressBar, ProgressStyle};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};
use weir_model::SourceName;

use super::{retail, tpch};

/// Written last: says that the files beside it are whole, and with which parameters they were made.
const MARKER: &str = "demo.json";
/// A change of what is made is a new version.
const VERSION: u32 = 1;
const ROW_GROUP_ROWS: usize = 65_536;
const WORKERS: usize = 2;
/// Of TPC-H; 1 is about a gigabyte of text.
pub(crate) const SCALE_DEFAULT: f64 = 0.1;

pub(super) type Reader = Box<dyn RecordBatchReader<Item = Result<RecordBatch, ArrowError>>>;

/// A table that can be made.
pub(super) struct Table {
    pub(super) schema: &'static str,
    pub(super) name: &'static str,
    /// About how many rows, by scale.
    pub(super) rows: fn(f64) -> i64,
    pub(super) open: fn(f64) -> Reader,
}

const PURCHASES: Table = Table {
    schema: "retail",
    name: "customer_purchases",
    rows: |_| retail::ROWS.cast_signed(),
    open: |_| Box::new(RecordBatchIterator::new(retail::batches(), retail::schema())),
};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Marker {
    version: u32,
    scale: f64,
}

fn tables() -> impl Iterator<Item = Table> {
    tpch::TABLES.into_iter().chain([PURCHASES])
}

impl Table {
    fn path(&self, folder: &Path) -> PathBuf {
        folder.join(self.schema).join(format!("{}.parquet", self.name))
    }
}

/// The tables of the demonstration and their files in `folder`.
pub(crate) fn files(folder: &Path) -> anyhow::Result<Vec<(SourceName, PathBuf)>> {
    tables().map(|table| Ok((SourceName::new(table.schema, table.name)?, table.path(folder)))).collect()
}

/// Makes the files in `folder` unless they are there. `scale` is what the user asked for; without it, what is there
/// will do.
pub(crate) fn make(folder: &Path, scale: Option<f64>) -> anyhow::Result<()> {
    if let Some(marker) = read_marker(folder)? {
        return check(folder, &marker, scale);
    }
    let scale = scale.unwrap_or(SCALE_DEFAULT);
    let tables: Vec<Table> = tables().collect();
    let rows = tables.iter().map(|table| (table.rows)(scale)).sum::<i64>();
    let progress = progress_bar(u64::try_from(rows)?);
    let next = AtomicUsize::new(0);
    let work = || -> anyhow::Result<()> {
        while let Some(table) = tables.get(next.fetch_add(1, Ordering::Relaxed)) {
            write(table, folder, scale, &progress)
                .with_context(|| format!("cannot make {}.{}", table.schema, table.name))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(done) => done,
            Err(_) => bail!("a worker died"),
        })
    })?;
    progress.finish_and_clear();
    put(&folder.join(MARKER), |file| Ok(serde_json::to_writer(file, &Marker { version: VERSION, scale })?))
}

fn check(folder: &Path, marker: &Marker, scale: Option<f64>) -> anyhow::Result<()> {
    let folder = folder.display();
    if marker.version != VERSION {
        bail!(
            "{folder} holds the data of another version of the demonstration\nhelp: give another folder with --data-dir, or remove this one"
        );
    }
    match scale {
        Some(scale) if scale != marker.scale => bail!(
            "{folder} holds data of scale {}, not {scale}\nhelp: leave out --scale, or give another folder with --data-dir",
            marker.scale
        ),
        Some(_) | None => Ok(()),
    }
}

fn read_marker(folder: &Path) -> anyhow::Result<Option<Marker>> {
    let path = folder.join(MARKER);
    match fs::read(&path) {
        Ok(text) => {
            let marker = serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))?;
            Ok(Some(marker))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn progress_bar(rows: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("Making demo data {bar:40} {percent:>3}% of {human_len} rows, {msg}");
    let progress = ProgressBar::new(rows);
    match style {
        Ok(style) => progress.with_style(style),
        Err(_) => progress,
    }
}

fn write(table: &Table, folder: &Path, scale: f64, progress: &ProgressBar) -> anyhow::Result<()> {
    progress.set_message(format!("{}.{}", table.schema, table.name));
    put(&table.path(folder), |file| {
        let reader = (table.open)(scale);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        let mut writer = ArrowWriter::try_new(file, reader.schema(), Some(properties))?;
        for batch in reader {
            let batch = batch?;
            writer.write(&batch)?;
            progress.inc(batch.num_rows() as u64);
        }
        writer.close()?;
        Ok(())
    })
}

/// Writes a file under another name, makes it durable and gives it its name.
fn put(path: &Path, write: impl FnOnce(&File) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let unfinished = path.with_added_extension("unfinished");
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let file = File::create(&unfinished).with_context(|| format!("cannot write {}", unfinished.display()))?;
    write(&file)?;
    file.sync_all()?;
    fs::rename(&unfinished, path).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_made_once_and_again_after_a_kill() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        make(folder, Some(0.001)).unwrap();
        let files = files(folder).unwrap();
        assert_eq!(files.len(), 9);
        let bytes: Vec<_> = files.iter().map(|(_, path)| fs::read(path).unwrap()).collect();

        // A second run with the same, or without a, scale touches nothing; another scale is refused.
        let made = |n: usize| fs::metadata(&files[n].1).unwrap().modified().unwrap();
        let before = made(0);
        make(folder, Some(0.001)).unwrap();
        make(folder, None).unwrap();
        assert_eq!(made(0), before);
        assert!(make(folder, Some(0.01)).unwrap_err().to_string().contains("holds data of scale 0.001, not 0.01"));

        // Killed half-way: one file is cut off and the marker is not there yet.
        fs::remove_file(folder.join(MARKER)).unwrap();
        fs::write(&files[0].1, &bytes[0][..100]).unwrap();
        make(folder, Some(0.001)).unwrap();
        let again: Vec<_> = files.iter().map(|(_, path)| fs::read(path).unwrap()).collect();
        assert!(again == bytes, "the same bytes each time");
    }
}
