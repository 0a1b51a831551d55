//! The oracle over remote databases: the same worlds, policies and queries, with the rows in a real database.

use std::collections::BTreeMap;

use weir_model::{Connection, ConnectionName, DataSource, DataType, DatabaseKind, Location, SourceId, Value};
use weir_testkit::cell::decimal_text;
use weir_testkit::generate::{Query, World};
use weir_testkit::mariadb::Mariadb;
use weir_testkit::postgres::Postgres;
use weir_testkit::sqlite::Sqlite;
use weir_testkit::{Cell, Row};

use crate::oracle;

/// How many worlds.
const WORLDS: u64 = 60;

/// Where worlds are put.
pub(crate) struct Place<'a> {
    kind: DatabaseKind,
    /// By the schema that tables are put into.
    pub(crate) connection: &'a (dyn Fn(&str) -> Connection + Sync),
    /// Runs statements that make everything in the schema anew.
    sql: &'a (dyn Fn(&str, &str) + Sync),
}

fn agrees_with_the_visible_copy(place: &Place<'_>) {
    let (asked, with_rows, failures) = oracle::over(place, WORLDS);
    assert!(failures.is_empty(), "{}", failures.join("\n\n======\n\n"));
    assert!(with_rows * 3 >= asked, "only {with_rows} of {asked} queries gave rows");
}

/// Each kind of what is sent was sent, and more than once.
fn was_sent(log: &str, parts: &[&str]) {
    for part in parts {
        let times = log.lines().filter(|line| line.contains("\"t1\"") && line.contains(part)).count();
        assert!(times > 1, "`{part}` was sent {times} times");
    }
    for key in ["k3y", "hmac", "sha256", "digest"] {
        assert!(!log.contains(key), "`{key}` was sent");
    }
}

const PARTS: [&str; 8] = ["WHERE", "GROUP BY", "\"t1\", ", "EXISTS", "count(", "CASE WHEN", "LIMIT", "min("];

#[test]
fn governed_results_over_postgresql_are_those_of_the_visible_copy() {
    let database = Postgres::start();
    agrees_with_the_visible_copy(&Place {
        kind: DatabaseKind::Postgresql,
        connection: &|_| database.connection("db"),
        sql: &|schema, statements| {
            database.sql(&format!(
                "SET TimeZone = 'UTC'; SET client_min_messages = warning; DROP SCHEMA IF EXISTS {schema} CASCADE; \
                 CREATE SCHEMA {schema}; {statements}; ANALYZE;\n"
            ));
        },
    });
    was_sent(&database.log(), &PARTS);
    was_sent(&database.log(), &["sum(", "COLLATE \"C\") <"]);
}

#[test]
fn governed_results_over_mariadb_are_those_of_the_visible_copy() {
    let database = Mariadb::start();
    agrees_with_the_visible_copy(&Place {
        kind: DatabaseKind::Mariadb,
        connection: &|_| database.connection("db"),
        sql: &|schema, statements| {
            database.sql(&format!(
                "SET time_zone = '+00:00'; SET sql_mode = 'ANSI_QUOTES'; DROP DATABASE IF EXISTS {schema}; \
                 CREATE DATABASE {schema}; {statements};\n"
            ));
        },
    });
    was_sent(&database.log(), &PARTS);
    was_sent(&database.log(), &["sum(", " AS BINARY) <", "utf8mb4_bin LIKE"]);
}

#[test]
fn governed_results_over_sqlite_are_those_of_the_visible_copy() {
    let files = Sqlite::start();
    agrees_with_the_visible_copy(&Place {
        kind: DatabaseKind::Sqlite,
        connection: &|schema| files.connection("db", &format!("{schema}.db")),
        sql: &|schema, statements| files.replace(&format!("{schema}.db"), &format!("BEGIN; {statements}; COMMIT;")),
    });
}

/// Queries of the kinds that are sent whole, over the tables that somebody may see.
pub(crate) fn queries(world: &World, visible: &BTreeMap<SourceId, Vec<Row>>) -> Vec<Query> {
    let mut asked = Vec::new();
    let mut ask = |sql: String| asked.push(Query { sql, ordered: false, may_fail: false, may_be_refused: false });
    let remote = world.facts.sources.iter().filter(|source| visible.contains_key(&source.id));
    for source in remote.filter(|source| matches!(source.location, Location::Table { .. })) {
        let table = format!("{}.{}", quoted(source.name.schema()), quoted(source.name.table()));
        let of = |wanted: &dyn Fn(&DataType) -> bool| -> Vec<String> {
            let wanted = source.columns.iter().filter(|column| wanted(&column.data_type));
            wanted.map(|column| quoted(column.name.as_str())).collect()
        };
        let whole = of(&|of| matches!(of, DataType::Int32 | DataType::Int64));
        let decimals = of(&|of| matches!(of, DataType::Decimal { .. }));
        let texts = of(&|of| *of == DataType::Text);
        let dates = of(&|of| *of == DataType::Date);
        let grouped = |by: &String, what: String| format!("SELECT {by}, {what} FROM {table} GROUP BY {by}");
        for (number, by) in texts.iter().chain(&whole).chain(&dates).enumerate() {
            ask(grouped(by, format!("count(*), count({by}), min({by}), max({by})")));
            ask(format!("SELECT count(*) FROM {table} AS a JOIN {table} AS b ON a.{by} = b.{by}"));
            ask(format!(
                "SELECT a.{by} FROM {table} AS a WHERE EXISTS (SELECT 1 FROM {table} AS b WHERE a.{by} = b.{by})"
            ));
            ask(format!(
                "SELECT {by} FROM {table} WHERE {by} NOT IN (SELECT {by} FROM {table} WHERE {by} IS NOT NULL)"
            ));
            ask(format!("SELECT count(*) FROM (SELECT {by} FROM {table} LIMIT {number}) AS some"));
            for other in whole.iter().chain(&decimals) {
                ask(grouped(by, format!("sum({other}), sum({other}) FILTER (WHERE {other} > 0), count({other})")));
                ask(grouped(by, format!("sum(CASE WHEN {other} >= 12 THEN 1 ELSE 0 END), min({other}), max({other})")));
            }
        }
        for d in &decimals {
            ask(format!(
                "SELECT sum({d} * (1 - {d})), avg({d}), sum({d} + {d} - 1), count(*) FROM {table} WHERE {d} <> 0.75"
            ));
            ask(format!("SELECT {d} * {d}, {d} - 1 FROM {table} WHERE {d} BETWEEN -0.25 AND 100"));
        }
        for text in &texts {
            ask(format!("SELECT {text} FROM {table} WHERE {text} >= 'A' AND {text} < 'z' AND {text} LIKE '%a%'"));
            ask(format!("SELECT {text} FROM {table} WHERE {text} IN ('A', 'alpha', 'EU.FR') OR {text} NOT LIKE 'E_%'"));
            ask(format!("SELECT count(*) FROM {table} WHERE {text} IS DISTINCT FROM 'C' AND NOT ({text} > 'staff')"));
        }
        for date in &dates {
            ask(format!("SELECT {date}, count(*) FROM {table} WHERE {date} >= DATE '1970-01-08' GROUP BY {date}"));
        }
    }
    asked
}

/// Puts the tables of the world that the database has types for there, into a schema of its own.
pub(crate) fn put(world: &mut World, place: &Place<'_>, schema: &str) {
    // SQLite has one.
    let (schema_there, prefix) = match place.kind {
        DatabaseKind::Sqlite => ("main", String::new()),
        DatabaseKind::Postgresql | DatabaseKind::Mariadb => (schema, format!("{schema}.")),
    };
    let mut statements = Vec::new();
    for source in &mut world.facts.sources {
        let table = format!("T\"{}", source.id);
        let name = format!("{prefix}{}", quoted(&table));
        if let Some(made) = made(place.kind, &name, source, &world.tables[&source.id]) {
            statements.extend(made);
            let connection = ConnectionName::new("db").unwrap();
            source.location = Location::Table { connection, schema: schema_there.to_owned(), table };
        }
    }
    (place.sql)(schema, &statements.join(";\n"));
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn made(kind: DatabaseKind, name: &str, source: &DataSource, rows: &[Row]) -> Option<Vec<String>> {
    let column = |column: &weir_model::Column| {
        Some(format!("{} {}", quoted(column.name.as_str()), type_of(kind, &column.data_type)?))
    };
    let columns: Vec<String> = source.columns.iter().map(column).collect::<Option<_>>()?;
    let held =
        |column: &weir_model::Column| matches!(column.data_type, DataType::Int64 | DataType::Float64 | DataType::Text);
    // Values are held to these types only.
    let strict = kind == DatabaseKind::Sqlite && source.columns.iter().all(held);
    let mut statements =
        vec![format!("CREATE TABLE {name} ({}){}", columns.join(", "), if strict { " STRICT" } else { "" })];
    if !rows.is_empty() {
        let types: Vec<&DataType> = source.columns.iter().map(|column| &column.data_type).collect();
        let row = |row: &Row| {
            let cells = row.iter().zip(&types).map(|(value, of)| cell(kind, value, of));
            Some(format!("({})", cells.collect::<Option<Vec<_>>>()?.join(", ")))
        };
        let rows: Vec<String> = rows.iter().map(row).collect::<Option<_>>()?;
        statements.push(format!("INSERT INTO {name} VALUES {}", rows.join(", ")));
    }
    Some(statements)
}

fn type_of(kind: DatabaseKind, data_type: &DataType) -> Option<String> {
    let (postgresql, sqlite) = (kind == DatabaseKind::Postgresql, kind == DatabaseKind::Sqlite);
    Some(match data_type {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => if sqlite { "int4" } else { "integer" }.to_owned(),
        DataType::Int64 => if sqlite { "integer" } else { "bigint" }.to_owned(),
        DataType::Float64 => if sqlite { "real" } else { "double precision" }.to_owned(),
        DataType::Decimal { precision, scale } => format!("decimal({precision}, {scale})"),
        DataType::Text => "text".to_owned(),
        DataType::Date => "date".to_owned(),
        DataType::Timestamp { zoned: false } => {
            if kind == DatabaseKind::Mariadb { "datetime(6)" } else { "timestamp" }.to_owned()
        }
        DataType::Timestamp { zoned: true } if postgresql => "timestamptz".to_owned(),
        DataType::Timestamp { zoned: true } if !sqlite => "timestamp(6) NULL".to_owned(),
        DataType::List(item) if postgresql => match item.as_ref() {
            DataType::Int32 | DataType::Int64 | DataType::Text | DataType::Float64 => {
                format!("{}[]", type_of(kind, item)?)
            }
            _ => return None,
        },
        _ => return None,
    })
}

fn text(kind: DatabaseKind, text: &str) -> Option<String> {
    let hex = || text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    match kind {
        // Whatever `standard_conforming_strings` says.
        DatabaseKind::Postgresql => {
            (!text.contains('\0')).then(|| format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''")))
        }
        DatabaseKind::Mariadb => Some(format!("_utf8mb4 x'{}'", hex())),
        DatabaseKind::Sqlite => Some(format!("CAST(x'{}' AS TEXT)", hex())),
    }
}

fn cell(kind: DatabaseKind, cell: &Cell, of: &DataType) -> Option<String> {
    Some(match cell {
        Cell::Null => "NULL".to_owned(),
        Cell::Boolean(b) => b.to_string(),
        Cell::Int(n) => n.to_string(),
        Cell::Float(n) if kind == DatabaseKind::Postgresql => format!("'{n:?}'::double precision"),
        // There are no others in MariaDB, and no `-0` in SQLite.
        Cell::Float(n) if !n.is_finite() || *n == 0.0 && n.is_sign_negative() => return None,
        Cell::Float(n) => format!("{n:e}"),
        Cell::Decimal { unscaled, scale } => decimal_text(*unscaled, *scale),
        Cell::Text(value) => text(kind, value)?,
        Cell::Date(days) => moment(kind, &Value::Date(*days))?,
        // Its range ends in 2038.
        Cell::Timestamp(us)
            if kind == DatabaseKind::Mariadb
                && *of == (DataType::Timestamp { zoned: true })
                && !(1_000_000..2_100_000_000_000_000).contains(us) =>
        {
            return None;
        }
        Cell::Timestamp(us) => moment(kind, &Value::Timestamp(*us))?,
        Cell::List(items) => {
            let items: Vec<String> = items.iter().map(element).collect::<Option<_>>()?;
            text(kind, &format!("{{{}}}", items.join(",")))?
        }
        Cell::Struct(_) => return None,
    })
}

/// Of years that databases read as they are written here.
fn moment(kind: DatabaseKind, value: &Value) -> Option<String> {
    let text = value.to_string();
    let text = (!text.contains("'-") && !text.contains("'+") && !text.contains("'0000")).then_some(text)?;
    Some(match kind {
        DatabaseKind::Postgresql | DatabaseKind::Mariadb => text,
        DatabaseKind::Sqlite => text.trim_start_matches(|c| c != '\'').to_owned(),
    })
}

fn element(cell: &Cell) -> Option<String> {
    Some(match cell {
        Cell::Null => "NULL".to_owned(),
        Cell::Int(n) => n.to_string(),
        Cell::Float(n) => format!("{n:?}"),
        Cell::Text(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        _ => return None,
    })
}
