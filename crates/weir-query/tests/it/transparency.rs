//! Who may read everything gets the answers that the engine gives without Weir: the engine's own sqllogictest files are asked of
//! both, once where the sources are clear and once through the barrier with a row filter that lets every row through.
//!
//! The files are read where cargo keeps the package `datafusion-sqllogictest`. Tables that they make are made by the plain
//! engine, which then writes them to the files that both read. `WEIR_TRANSPARENCY=name` asks only files with this in their
//! names; `all` asks every file and not only some.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::TableReference;
use datafusion::config::Dialect;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use futures::FutureExt as _;
use sqllogictest::{Condition, DefaultColumnType, Record};
use weir_model::{
    Column, ColumnId, DataSource, Epoch, GroupName, PolicyId, PolicyKey, Principal, PrincipalId, SourceId, SourceName,
    TypeClass,
};
use weir_policy::{Facts, StoredPolicy, language};
use weir_testkit::cell::Tables;
use weir_testkit::generate::{World, called};
use weir_testkit::oracle::Keys;

use crate::asking::{Answer, Asking, Kind};
use crate::functions::LEFT_OUT;
use crate::plain::{self, TEMPLATE};

/// Of so many files one is asked in every run of the tests.
const ONE_FILE_IN: usize = 3;
/// So many questions must have been answered with rows, and the same ones.
const SAME_MIN: usize = 4_000;

/// Of so many questions the engine may refuse its own plan at one.
const ENGINE_FAILED_ONE_IN: usize = 500;

/// What became of the questions.
#[derive(Debug, Default)]
struct Counts {
    same: usize,
    /// By both.
    refused: usize,
    /// The engine refused a plan of its own on one of the sides.
    engine_failed: usize,
    left_out: BTreeMap<&'static str, usize>,
}

#[tokio::test]
async fn the_engines_own_tests_hold_through_weir() {
    let only = std::env::var("WEIR_TRANSPARENCY").ok();
    let folder = test_files();
    let mut files = Vec::new();
    find(&folder, &mut files);
    files.sort();
    assert!(files.len() > 300, "{} files below {}", files.len(), folder.display());
    let mut counts = Counts::default();
    let mut wrong = Vec::new();
    for (number, path) in files.iter().enumerate() {
        let name = path.strip_prefix(&folder).unwrap().display().to_string();
        let chosen = match only.as_deref() {
            None => number.is_multiple_of(ONE_FILE_IN),
            Some("all") => true,
            Some(part) => name.contains(part),
        };
        if chosen {
            run_file(path, &name, &mut counts, &mut wrong).await;
        }
    }
    eprintln!("{counts:?}");
    assert!(wrong.is_empty(), "{} answers are not the engine's\n\n{}", wrong.len(), wrong.join("\n\n"));
    assert!(only.is_some() || counts.same >= SAME_MIN, "{counts:?}");
    assert!(counts.engine_failed * ENGINE_FAILED_ONE_IN <= counts.same, "{counts:?}");
}

/// Where cargo keeps the files of the engine's tests.
fn test_files() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages.iter().find(|package| package["name"] == "datafusion-sqllogictest").expect("the package");
    Path::new(package["manifest_path"].as_str().unwrap()).with_file_name("test_files")
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            files.push(path);
        }
    }
}

async fn run_file(path: &Path, name: &str, counts: &mut Counts, wrong: &mut Vec<String>) {
    let Ok(records) = sqllogictest::parse_file::<DefaultColumnType>(path) else {
        *counts.left_out.entry("a file that includes what is not in the package").or_default() += 1;
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut tables = Made::new(folder.path());
    for record in records {
        let (sql, conditions, is_query) = match record {
            Record::Halt { .. } => break,
            Record::Statement { sql, conditions, .. } => (sql, conditions, false),
            Record::Query { sql, conditions, .. } => (sql, conditions, true),
            _ => continue,
        };
        if conditions.iter().any(is_for_others) {
            continue;
        }
        match first_word(&sql).as_str() {
            "select" | "with" | "values" | "(" if is_query => {
                let before = wrong.len();
                ask(&sql, &mut tables, counts, wrong).await;
                wrong.iter_mut().skip(before).for_each(|text| text.insert_str(0, &format!("{name}: {sql}\n")));
            }
            "create" | "drop" | "insert" if !reaches_out(&sql) => tables.change(&sql).await,
            _ if is_query => *counts.left_out.entry("not a read").or_default() += 1,
            _ => {}
        }
    }
}

fn is_for_others(condition: &Condition) -> bool {
    match condition {
        Condition::OnlyIf { label } => !label.eq_ignore_ascii_case("datafusion"),
        Condition::SkipIf { label } => label.eq_ignore_ascii_case("datafusion"),
    }
}

fn first_word(sql: &str) -> String {
    let text = sql.lines().filter(|line| !line.trim_start().starts_with("--")).collect::<Vec<_>>().join("\n");
    let text = text.trim_start();
    if text.starts_with('(') {
        return "(".to_owned();
    }
    text.chars().take_while(char::is_ascii_alphabetic).collect::<String>().to_lowercase()
}

/// Whether the statement reads or writes files.
fn reaches_out(sql: &str) -> bool {
    let sql = sql.to_lowercase();
    ["external", "location", "stored as", "create function"].iter().any(|word| sql.contains(word))
}

/// Tables that a file makes, and what of them was written for both sides to read.
struct Made<'a> {
    folder: &'a Path,
    /// Makes the tables.
    making: SessionContext,
    changes: usize,
    /// Number of the change at which it was written, and as what; the source is absent where there cannot be one.
    written: BTreeMap<String, (usize, Result<DataSource, &'static str>)>,
    files: u32,
    /// Reads what was written.
    reading: SessionContext,
    asking: Asking,
    epoch: u64,
}

const FREE: &str = "free";
const WALLED: &str = "walled";

impl<'a> Made<'a> {
    fn new(folder: &'a Path) -> Self {
        Self {
            folder,
            making: session(),
            changes: 0,
            written: BTreeMap::new(),
            files: 0,
            reading: session(),
            asking: Asking::new(&world(&[], 1)),
            epoch: 1,
        }
    }

    async fn change(&mut self, sql: &str) {
        self.changes += 1;
        // What it cannot make is missing for both sides.
        let made = AssertUnwindSafe(async {
            let frame = self.making.sql(sql).await?;
            frame.collect().await
        });
        drop(made.catch_unwind().await);
    }

    /// Writes the tables of the statement as they are now; the text says why that cannot be.
    async fn write(&mut self, names: &[TableReference]) -> Result<(), &'static str> {
        let mut changed = false;
        for name in names {
            let table = match name {
                TableReference::Bare { table } => table.to_string(),
                TableReference::Partial { schema, table } if schema.as_ref() == "public" => table.to_string(),
                TableReference::Partial { .. } | TableReference::Full { .. } => return Err("a table of the catalogue"),
            };
            if self.written.get(&table).is_some_and(|(at, _)| *at == self.changes) {
                continue;
            }
            let before = self.written.remove(&table);
            changed |= before.is_some();
            let _ = self.reading.deregister_table(TableReference::bare(table.as_str()));
            if self.making.table_exist(TableReference::bare(table.as_str())).unwrap_or(false) {
                changed = true;
                let source = self.write_one(&table).await;
                self.written.insert(table, (self.changes, source));
            }
        }
        if changed {
            self.epoch += 1;
            let sources: Vec<DataSource> =
                self.written.values().filter_map(|(_, source)| source.as_ref().ok().cloned()).collect();
            self.asking.turn_to(&world(&sources, self.epoch));
        }
        let of = |name: &TableReference| self.written.get(name.table()).and_then(|(_, source)| source.as_ref().err());
        names.iter().find_map(of).map_or(Ok(()), |why| Err(*why))
    }

    async fn write_one(&mut self, table: &str) -> Result<DataSource, &'static str> {
        self.files += 1;
        let path = self.folder.join(format!("{}.parquet", self.files));
        let frame = self.making.table(TableReference::bare(table)).await.map_err(|_| "a table that cannot be read")?;
        let schema = Arc::clone(frame.schema().inner());
        let batches = AssertUnwindSafe(frame.collect()).catch_unwind().await;
        let batches = batches.ok().and_then(Result::ok).ok_or("a table that cannot be read")?;
        let batches = if batches.is_empty() { vec![RecordBatch::new_empty(schema)] } else { batches };
        let file = File::create(&path).unwrap();
        let written = || -> Result<(), datafusion::parquet::errors::ParquetError> {
            let mut writer = ArrowWriter::try_new(file, batches[0].schema(), None)?;
            batches.iter().try_for_each(|batch| writer.write(batch))?;
            writer.close()?;
            Ok(())
        };
        written().map_err(|_| "types that files do not keep")?;
        let source = source(SourceId(self.files), table, &path).await?;
        let options = ParquetReadOptions::default();
        let registered =
            self.reading.register_parquet(TableReference::bare(table), path.display().to_string(), options);
        registered.await.map_err(|_| "types that files do not keep")?;
        Ok(source)
    }
}

fn session() -> SessionContext {
    let mut state = TEMPLATE.clone();
    state.config_mut().options_mut().execution.target_partitions = 1;
    let catalogs = datafusion::catalog::MemoryCatalogProviderList::new();
    let catalog = datafusion::catalog::MemoryCatalogProvider::new();
    use datafusion::catalog::{CatalogProvider as _, CatalogProviderList as _};
    catalog.register_schema("public", Arc::new(datafusion::catalog::MemorySchemaProvider::new())).unwrap();
    catalogs.register_catalog("weir".to_owned(), Arc::new(catalog));
    state.register_catalog_list(Arc::new(catalogs));
    SessionContext::new_with_state(state)
}

async fn source(id: SourceId, table: &str, path: &Path) -> Result<DataSource, &'static str> {
    let name = SourceName::new("public", table).map_err(|_| "names that sources do not have")?;
    let inferred = weir_sources::infer(path, None).await.map_err(|_| "types or names that sources do not have")?;
    let columns = inferred.columns.into_iter().enumerate().map(|(number, column)| Column {
        id: ColumnId(u32::try_from(number).unwrap() + 1),
        name: column.name,
        data_type: column.data_type,
        nullable: column.nullable,
        tags: BTreeSet::new(),
        profile: None,
    });
    Ok(DataSource {
        id,
        name,
        tags: BTreeSet::new(),
        owners: BTreeSet::new(),
        columns: columns.collect(),
        parts: Vec::new(),
        row_key: Vec::new(),
        event_time: None,
        lineage: None,
        workspace: None,
        location: inferred.location,
    })
}

/// Both people may read everything; of them one is shown the rows that a condition lets through, which is all of them.
fn world(sources: &[DataSource], epoch: u64) -> World {
    let person = |name: &str| {
        let mut person = Principal::bare(PrincipalId::builtin(name).unwrap());
        person.groups.insert(GroupName::new(name).unwrap());
        person
    };
    let mut texts = vec!["Allow anyone to subscribe on all data sources".to_owned()];
    for source in sources {
        let plain = |c: &&Column| c.data_type.class() != TypeClass::Nested;
        if let Some(column) = source.columns.iter().find(plain) {
            let (column, schema, table) = (quoted(column.name.as_str()), source.name.schema(), source.name.table());
            let (schema, table) = (quoted(schema), quoted(table));
            texts.push(format!(
                "Only show rows where {column} IS NULL OR {column} IS NOT NULL for everyone except when user is a member of group {FREE} on data source {schema}.{table}"
            ));
        }
    }
    let policy = |(number, text): (usize, &String)| {
        let parsed = language::parse(text);
        let [policy] = parsed.policies.as_slice() else { panic!("{text}: {:?}", parsed.diagnostics) };
        let mut policy = policy.clone();
        policy.key = PolicyKey::new(format!("policy-{number}")).unwrap();
        StoredPolicy { id: PolicyId(u32::try_from(number).unwrap() + 1), policy }
    };
    let facts = Facts {
        epoch: Some(Epoch(epoch)),
        principals: vec![person(FREE), person(WALLED)],
        sources: sources.to_vec(),
        policies: texts.iter().enumerate().map(policy).collect(),
        ..Facts::default()
    };
    World::of(facts, Tables::new(), Keys::default())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

async fn ask(sql: &str, tables: &mut Made<'_>, counts: &mut Counts, wrong: &mut Vec<String>) {
    let text = sql.to_lowercase();
    let calls = called(&text);
    if calls.contains("arrow_field") {
        *counts.left_out.entry("what a constant is called").or_default() += 1;
        return;
    }
    if names_a_call(sql) {
        *counts.left_out.entry("what a call is called").or_default() += 1;
        return;
    }
    // As in PostgreSQL, `user` without quotes is who asks.
    let asks_who = text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '"').any(|word| word == "user");
    if asks_who
        || LEFT_OUT.iter().any(|(name, _)| calls.contains(name))
        || text.contains("current_")
        || text.contains("tablesample")
    {
        *counts.left_out.entry("chance, time, and who asks").or_default() += 1;
        return;
    }
    let state = tables.making.state();
    let names = state.sql_to_statement(sql, &Dialect::PostgreSQL).ok();
    let names = names.and_then(|statement| state.resolve_table_references(&statement).ok());
    if let Err(why) = tables.write(&names.unwrap_or_default()).await {
        *counts.left_out.entry(why).or_default() += 1;
        return;
    }
    let expected = plain::answer(&tables.reading, sql).await.sorted();
    for person in [FREE, WALLED] {
        let answer = tables.asking.ask(&PrincipalId::builtin(person).unwrap(), sql).await.sorted();
        match (&answer, &expected) {
            (Answer::Rows { .. }, Answer::Rows { .. }) if renamed(&answer, &expected) == expected => counts.same += 1,
            (Answer::Refused { kind: Kind::Planning | Kind::Data, .. }, Answer::Refused { .. })
            | (Answer::Refused { kind: Kind::Other, .. }, Answer::Refused { kind: Kind::Other, .. }) => {
                counts.refused += 1;
            }
            // Weir tells columns apart that the engine does not.
            (Answer::Rows { .. }, Answer::Refused { text, .. })
                if text.to_lowercase().contains("projections require unique expression names") =>
            {
                counts.refused += 1;
            }
            // It does so for sorts that the way to the rows spares, which is another one through the barrier.
            _ if answer.is_engine_failure() || is_refused_plan(&expected) => counts.engine_failed += 1,
            _ => wrong.push(format!("{person}: {}\ninstead of {}", shown(&answer), shown(&expected))),
        }
    }
}

/// The answer with the engine's names where it calls a column by the text of an expression, for which PostgreSQL has
/// names of its own.
fn renamed(answer: &Answer, expected: &Answer) -> Answer {
    let mut answer = answer.clone();
    if let (Answer::Rows { columns, .. }, Answer::Rows { columns: wanted, .. }) = (&mut answer, expected) {
        let is_text = |name: &str| !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        for ((name, _), (wanted, _)) in columns.iter_mut().zip(wanted).filter(|(_, (wanted, _))| is_text(wanted)) {
            name.clone_from(wanted);
        }
    }
    answer
}

/// Whether a column goes by the text of a call, which PostgreSQL gives other names.
fn names_a_call(sql: &str) -> bool {
    sql.split('"').skip(1).step_by(2).any(|name| name.contains('('))
}

fn is_refused_plan(answer: &Answer) -> bool {
    matches!(answer, Answer::Refused { kind: Kind::Other, text, .. } if text.starts_with("SanityCheckPlan"))
}

fn shown(answer: &Answer) -> String {
    let inside = if let Answer::Refused { inside, .. } = answer { inside.0.as_str() } else { "" };
    let told: String = answer.told().chars().take(700).collect();
    format!("{told} [{inside}]")
}
