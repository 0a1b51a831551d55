//! Writes the rows of a world to files, so that its sources can be read.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use weir_model::{DataSource, DataType, FileFormat, Location, PartitionColumn, Value};
use weir_testkit::cell::{decimal_text, to_batch};
use weir_testkit::generate::World;
use weir_testkit::{Cell, Dice, Row};

/// Writes every table below `folder` and puts the locations into the facts. How the rows are laid out is by chance.
pub(crate) fn write(world: &mut World, folder: &Path, dice: &mut Dice) {
    for source in &mut world.facts.sources {
        let rows = &world.tables[&source.id];
        source.location = by_chance(source, rows, &folder.join(source.id.to_string()), dice);
    }
}

fn by_chance(source: &DataSource, rows: &[Row], place: &Path, dice: &mut Dice) -> Location {
    match dice.below(10) {
        0 if survives_csv(rows) => csv(source, rows, place.with_extension("csv")),
        1 if !rows.is_empty() => json(source, rows, place.with_extension("json")),
        2 | 3 => hive(source, rows, place, dice).unwrap_or_else(|| parquet_folder(source, rows, place, dice)),
        4 => parquet_folder(source, rows, place, dice),
        _ => parquet(source, rows, place.with_extension("parquet"), dice),
    }
}

/// As [`write`], each table laid out as it was before, where its rows allow that. Whether all of them did.
pub(crate) fn write_alike(world: &mut World, folder: &Path, dice: &mut Dice) -> bool {
    let mut alike = true;
    for source in &mut world.facts.sources {
        let rows = &world.tables[&source.id];
        let place = folder.join(source.id.to_string());
        let (format, path, partitions) = match &source.location {
            Location::Files { format, path, partitions } => (format, path, partitions),
            // Its rows are put there by whoever put those before.
            Location::Objects { .. } | Location::Table { .. } | Location::View { .. } => continue,
        };
        let same = match (format, partitions.first()) {
            (FileFormat::Csv { .. }, _) => survives_csv(rows).then(|| csv(source, rows, place.with_extension("csv"))),
            (FileFormat::Delta, _) => None,
            (FileFormat::Json, _) => (!rows.is_empty()).then(|| json(source, rows, place.with_extension("json"))),
            (FileFormat::Parquet, Some(partition)) => {
                let column = source.columns.iter().position(|c| c.name == partition.name);
                column
                    .filter(|column| can_partition(rows, *column))
                    .map(|column| hive_by(source, rows, &place, column, dice))
            }
            (FileFormat::Parquet, None) if path.is_dir() => Some(parquet_folder(source, rows, &place, dice)),
            (FileFormat::Parquet, None) => Some(parquet(source, rows, place.with_extension("parquet"), dice)),
        };
        alike &= same.is_some();
        source.location = same.unwrap_or_else(|| by_chance(source, rows, &place, dice));
    }
    alike
}

/// One Parquet file for each table.
pub(crate) fn write_plainly(world: &mut World, folder: &Path, rows_in_group: usize) {
    for source in &mut world.facts.sources {
        let path = folder.join(format!("{}.parquet", source.id));
        write_parquet(&path, &to_batch(source, &world.tables[&source.id]), rows_in_group);
        source.location = at(FileFormat::Parquet, path);
    }
}

fn at(format: FileFormat, path: PathBuf) -> Location {
    Location::Files { format, path, partitions: Vec::new() }
}

fn parquet(source: &DataSource, rows: &[Row], path: PathBuf, dice: &mut Dice) -> Location {
    write_parquet(&path, &to_batch(source, rows), dice.between(1, 30));
    at(FileFormat::Parquet, path)
}

fn parquet_folder(source: &DataSource, rows: &[Row], folder: &Path, dice: &mut Dice) -> Location {
    fs::create_dir_all(folder).unwrap();
    let (first, second) = rows.split_at(dice.below(rows.len() + 1));
    for (name, part) in [("a.parquet", first), ("b.parquet", second)] {
        write_parquet(&folder.join(name), &to_batch(source, part), dice.between(1, 30));
    }
    at(FileFormat::Parquet, folder.to_owned())
}

/// Partitioned by a column whose values can stand in a folder's name; `None` when there is none.
fn hive(source: &DataSource, rows: &[Row], folder: &Path, dice: &mut Dice) -> Option<Location> {
    let places: Vec<usize> = (0..source.columns.len()).filter(|place| can_partition(rows, *place)).collect();
    if places.is_empty() || source.columns.len() < 2 {
        return None;
    }
    let place = *dice.pick(&places);
    Some(hive_by(source, rows, folder, place, dice))
}

fn can_partition(rows: &[Row], place: usize) -> bool {
    let fits = |cell: &Cell| match cell {
        Cell::Int(_) => true,
        Cell::Text(text) => !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'),
        _ => false,
    };
    !rows.is_empty() && rows.iter().all(|row| fits(&row[place]))
}

fn hive_by(source: &DataSource, rows: &[Row], folder: &Path, place: usize, dice: &mut Dice) -> Location {
    let column = &source.columns[place];
    let mut values: Vec<String> = rows.iter().map(|row| bare(&row[place])).collect();
    values.sort();
    values.dedup();
    let batch = |value: &String| {
        let part: Vec<Row> = rows.iter().filter(|row| bare(&row[place]) == *value).cloned().collect();
        let others: Vec<usize> = (0..source.columns.len()).filter(|i| *i != place).collect();
        to_batch(source, &part).project(&others).unwrap()
    };
    for value in &values {
        let folder = folder.join(format!("{}={value}", column.name));
        fs::create_dir_all(&folder).unwrap();
        write_parquet(&folder.join("part.parquet"), &batch(value), dice.between(1, 30));
    }
    let partitions = vec![PartitionColumn { name: column.name.clone(), data_type: column.data_type.clone() }];
    Location::Files { format: FileFormat::Parquet, path: folder.to_owned(), partitions }
}

fn write_parquet(path: &Path, batch: &RecordBatch, rows_in_group: usize) {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(rows_in_group)).build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, Arc::clone(batch.schema_ref()), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

/// CSV cannot tell NULL from an empty text.
fn survives_csv(rows: &[Row]) -> bool {
    let survives = |cell: &Cell| match cell {
        Cell::Text(text) => !text.is_empty(),
        cell => !matches!(cell, Cell::List(_) | Cell::Struct(_)),
    };
    !rows.is_empty() && rows.iter().flatten().all(survives)
}

fn csv(source: &DataSource, rows: &[Row], path: PathBuf) -> Location {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut text = source.columns.iter().map(|c| quoted(c.name.as_str())).collect::<Vec<_>>().join(",");
    for row in rows {
        let cells = row.iter().map(|cell| match cell {
            Cell::Text(t) => quoted(t),
            other => bare(other),
        });
        write!(text, "\n{}", cells.collect::<Vec<_>>().join(",")).unwrap();
    }
    fs::write(&path, text + "\n").unwrap();
    at(FileFormat::Csv { header: true, delimiter: ',' }, path)
}

fn json(source: &DataSource, rows: &[Row], path: PathBuf) -> Location {
    let mut text = String::new();
    for row in rows {
        let cells = row
            .iter()
            .zip(&source.columns)
            .map(|(cell, column)| format!("{:?}: {}", column.name.as_str(), json_value(cell, &column.data_type)));
        writeln!(text, "{{{}}}", cells.collect::<Vec<_>>().join(", ")).unwrap();
    }
    fs::write(&path, text).unwrap();
    at(FileFormat::Json, path)
}

fn json_value(cell: &Cell, data_type: &DataType) -> String {
    match (cell, data_type) {
        (Cell::Null, _) => "null".to_owned(),
        (Cell::Text(_) | Cell::Date(_) | Cell::Timestamp(_), _) => format!("{:?}", bare(cell)),
        (Cell::List(cells), DataType::List(item)) => {
            let values: Vec<String> = cells.iter().map(|cell| json_value(cell, item)).collect();
            format!("[{}]", values.join(", "))
        }
        (Cell::Struct(cells), DataType::Struct(fields)) => {
            let values = cells.iter().zip(fields);
            let values: Vec<String> = values
                .map(|(cell, field)| format!("{:?}: {}", field.name, json_value(cell, &field.data_type)))
                .collect();
            format!("{{{}}}", values.join(", "))
        }
        (other, _) => bare(other),
    }
}

/// The value as text without quotes; nothing for NULL.
fn bare(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Boolean(b) => b.to_string(),
        Cell::Int(n) => n.to_string(),
        Cell::Float(n) => format!("{n:?}"),
        Cell::Decimal { unscaled, scale } => decimal_text(*unscaled, *scale),
        Cell::Text(t) => t.clone(),
        Cell::Date(d) => stripped(&Value::Date(*d)),
        Cell::Timestamp(us) => stripped(&Value::Timestamp(*us)).replace(' ', "T"),
        Cell::List(_) | Cell::Struct(_) => unreachable!("values with others inside have no bare form"),
    }
}

/// `DATE '2024-01-01'` without its word and quotes.
fn stripped(value: &Value) -> String {
    value.to_string().split('\'').nth(1).unwrap().to_owned()
}
