//! The oracle over PostgreSQL: the same worlds, policies and queries, with the rows in a real database.

use std::collections::BTreeMap;

use weir_model::{ConnectionName, DataSource, DataType, Location, SourceId, Value};
use weir_testkit::cell::decimal_text;
use weir_testkit::generate::{Query, World};
use weir_testkit::postgres::Postgres;
use weir_testkit::{Cell, Row};

use crate::oracle;

/// How many worlds.
const WORLDS: u64 = 60;

#[test]
fn governed_results_over_postgresql_are_those_of_the_visible_copy() {
    let database = Postgres::start();
    let (asked, with_rows, failures) = oracle::over(&database, WORLDS);
    assert!(failures.is_empty(), "{}", failures.join("\n\n======\n\n"));
    assert!(with_rows * 3 >= asked, "only {with_rows} of {asked} queries gave rows");
    let log = database.log();
    // Each kind of what is sent was sent, and more than once.
    for part in ["WHERE", "GROUP BY", "CROSS JOIN", "EXISTS", "sum(", "CASE WHEN", "LIMIT", "COLLATE \"C\") <"] {
        let times = log.lines().filter(|line| line.contains("\"t1\"") && line.contains(part)).count();
        assert!(times > 1, "`{part}` was sent {times} times");
    }
    for key in ["k3y", "hmac", "sha256", "digest"] {
        assert!(!log.contains(key), "`{key}` was sent");
    }
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

/// Puts the tables of the world that PostgreSQL has types for there, into a schema of its own.
pub(crate) fn put(world: &mut World, database: &Postgres, schema: &str) {
    let mut statements = vec![format!(
        "SET TimeZone = 'UTC'; SET client_min_messages = warning; DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}"
    )];
    for source in &mut world.facts.sources {
        let table = format!("T\"{}", source.id);
        if let Some(made) = made(schema, &table, source, &world.tables[&source.id]) {
            statements.extend(made);
            let connection = ConnectionName::new("db").unwrap();
            source.location = Location::Table { connection, schema: schema.to_owned(), table };
        }
    }
    statements.push("ANALYZE;\n".to_owned());
    database.sql(&statements.join(";\n"));
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn made(schema: &str, table: &str, source: &DataSource, rows: &[Row]) -> Option<Vec<String>> {
    let name = format!("{schema}.{}", quoted(table));
    let column =
        |column: &weir_model::Column| Some(format!("{} {}", quoted(column.name.as_str()), type_of(&column.data_type)?));
    let columns: Vec<String> = source.columns.iter().map(column).collect::<Option<_>>()?;
    let mut statements = vec![format!("CREATE TABLE {name} ({})", columns.join(", "))];
    if !rows.is_empty() {
        let row = |row: &Row| Some(format!("({})", row.iter().map(cell).collect::<Option<Vec<_>>>()?.join(", ")));
        let rows: Vec<String> = rows.iter().map(row).collect::<Option<_>>()?;
        statements.push(format!("INSERT INTO {name} VALUES {}", rows.join(", ")));
    }
    Some(statements)
}

fn type_of(data_type: &DataType) -> Option<String> {
    Some(match data_type {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => "integer".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float64 => "double precision".to_owned(),
        DataType::Decimal { precision, scale } => format!("numeric({precision}, {scale})"),
        DataType::Text => "text".to_owned(),
        DataType::Date => "date".to_owned(),
        DataType::Timestamp { zoned: false } => "timestamp".to_owned(),
        DataType::Timestamp { zoned: true } => "timestamptz".to_owned(),
        DataType::List(item) => match item.as_ref() {
            DataType::Int32 | DataType::Int64 | DataType::Text | DataType::Float64 => format!("{}[]", type_of(item)?),
            _ => return None,
        },
        _ => return None,
    })
}

fn text(text: &str) -> Option<String> {
    // Whatever `standard_conforming_strings` says.
    (!text.contains('\0')).then(|| format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''")))
}

fn cell(cell: &Cell) -> Option<String> {
    Some(match cell {
        Cell::Null => "NULL".to_owned(),
        Cell::Boolean(b) => b.to_string(),
        Cell::Int(n) => n.to_string(),
        Cell::Float(n) => format!("'{n:?}'::double precision"),
        Cell::Decimal { unscaled, scale } => decimal_text(*unscaled, *scale),
        Cell::Text(value) => text(value)?,
        Cell::Date(days) => moment(&Value::Date(*days))?,
        Cell::Timestamp(us) => moment(&Value::Timestamp(*us))?,
        Cell::List(items) => {
            let items: Vec<String> = items.iter().map(element).collect::<Option<_>>()?;
            text(&format!("{{{}}}", items.join(",")))?
        }
        Cell::Struct(_) => return None,
    })
}

/// Of years that PostgreSQL reads as they are written here.
fn moment(value: &Value) -> Option<String> {
    let text = value.to_string();
    (!text.contains("'-") && !text.contains("'+")).then_some(text)
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
