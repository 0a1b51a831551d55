//! What PostgreSQL does for a policy: privileges, row security where a filter asks for nothing but the row, and views with a
//! security barrier where values are masked or another table is looked up.

use std::collections::BTreeMap;

use weir_model::{DataSource, SourceId};
use weir_policy::{Expr, Residual, SourceDecision};
use weir_testkit::cell::decimal_text;
use weir_testkit::generate::World;
use weir_testkit::{Cell, Row};

use crate::lower::{RAW, Scope, identifier, literal, raw_table, type_of};

/// Who asks.
pub(crate) const READER: &str = "oracle_reader";

/// Statements that make the world's tables with the rows in `rows`, for whoever may read everything.
pub(crate) fn open_tables(sources: &[DataSource], rows: &BTreeMap<SourceId, Vec<Row>>) -> Option<Vec<String>> {
    let mut statements = vec![clean(sources)];
    for source in sources.iter().filter(|source| rows.contains_key(&source.id)) {
        statements.push(format!("CREATE SCHEMA IF NOT EXISTS {}", identifier(source.name.schema())));
        statements.extend(table(&name(source), source, rows.get(&source.id)?)?);
    }
    statements.push("ANALYZE".to_owned());
    Some(statements)
}

/// Statements that make the world's tables so that the reader sees what she is decided to see.
pub(crate) fn governed_tables(world: &World, decided: &BTreeMap<SourceId, SourceDecision>) -> Option<Vec<String>> {
    let sources = &world.facts.sources;
    let mut statements = vec![clean(sources), format!("CREATE SCHEMA {RAW}")];
    for source in sources {
        statements.extend(table(&raw_table(source.id), source, world.tables.get(&source.id)?)?);
    }
    for source in sources {
        let Some(decision) = decided.get(&source.id) else { continue };
        let schema = identifier(source.name.schema());
        statements.push(format!("CREATE SCHEMA IF NOT EXISTS {schema}"));
        statements.push(format!("GRANT USAGE ON SCHEMA {schema} TO {READER}"));
        statements.extend(governed(world, source, decision)?);
    }
    statements.push("ANALYZE".to_owned());
    Some(statements)
}

/// `None` where PostgreSQL has no equivalent.
pub(crate) fn governed(world: &World, source: &DataSource, decision: &SourceDecision) -> Option<Vec<String>> {
    let name = name(source);
    let grant = format!("GRANT SELECT ON {name} TO {READER}");
    let obligations = match decision {
        // Without a grant there is nothing to do.
        SourceDecision::Deny(..) => return table(&name, source, world.tables.get(&source.id)?),
        SourceDecision::Clear(_) => {
            let mut statements = table(&name, source, world.tables.get(&source.id)?)?;
            statements.push(grant);
            return Some(statements);
        }
        SourceDecision::Obliged(obligations, _) => obligations,
    };
    let scope = |alias| Scope { sources: &world.facts.sources, source, alias };
    let looks_elsewhere =
        |residual: &Residual| residual.any(&|part| matches!(part, Expr::InLookup(_) | Expr::Frequent { .. }));
    let filter = obligations.row_filter();
    let filter = filter.as_ref();
    if obligations.masks.is_empty() && !filter.is_some_and(looks_elsewhere) {
        let table_name = identifier(source.name.table());
        let condition = filter.map_or(Some("TRUE".to_owned()), |filter| scope(&table_name).expression(filter))?;
        let mut statements = table(&name, source, world.tables.get(&source.id)?)?;
        statements.push(format!("ALTER TABLE {name} ENABLE ROW LEVEL SECURITY"));
        statements.push(format!("CREATE POLICY visible ON {name} FOR SELECT TO {READER} USING ({condition})"));
        statements.push(grant);
        return Some(statements);
    }
    let scope = scope("g");
    let condition = filter.map_or(Some("TRUE".to_owned()), |filter| scope.expression(filter))?;
    let mut columns = Vec::new();
    for column in &source.columns {
        let own = identifier(column.name.as_str());
        let value = match obligations.masks.get(&column.id) {
            Some(applied) => scope.masked(column, applied)?,
            None => format!("g.{own}"),
        };
        columns.push(format!("{value} AS {own}"));
    }
    let (list, raw) = (columns.join(", "), raw_table(source.id));
    let view = format!("CREATE VIEW {name} WITH (security_barrier) AS SELECT {list} FROM {raw} AS g WHERE {condition}");
    Some(vec![view, grant])
}

fn clean(sources: &[DataSource]) -> String {
    let mut schemas: Vec<String> = sources.iter().map(|source| identifier(source.name.schema())).collect();
    schemas.push(RAW.to_owned());
    format!("DROP SCHEMA IF EXISTS {} CASCADE", schemas.join(", "))
}

pub(crate) fn name(source: &DataSource) -> String {
    format!("{}.{}", identifier(source.name.schema()), identifier(source.name.table()))
}

fn table(name: &str, source: &DataSource, rows: &[Row]) -> Option<Vec<String>> {
    let mut columns = Vec::new();
    for column in &source.columns {
        columns.push(format!("{} {}", identifier(column.name.as_str()), type_of(&column.data_type)?));
    }
    let mut statements = vec![format!("CREATE TABLE {name} ({})", columns.join(", "))];
    if !rows.is_empty() {
        let row = |row: &Row| {
            let cells: Option<Vec<String>> = row.iter().map(cell).collect();
            Some(format!("({})", cells?.join(", ")))
        };
        let rows: Option<Vec<String>> = rows.iter().map(row).collect();
        statements.push(format!("INSERT INTO {name} VALUES {}", rows?.join(", ")));
    }
    Some(statements)
}

fn cell(cell: &Cell) -> Option<String> {
    use weir_model::Value;
    Some(match cell {
        Cell::Null => "NULL".to_owned(),
        Cell::Boolean(b) => b.to_string(),
        Cell::Int(n) => n.to_string(),
        Cell::Float(n) => format!("'{n:?}'::double precision"),
        Cell::Decimal { unscaled, scale } => decimal_text(*unscaled, *scale),
        Cell::Text(text) => literal(&Value::Text(text.clone()))?,
        Cell::Date(days) => literal(&Value::Date(*days))?,
        Cell::Timestamp(us) => literal(&Value::Timestamp(*us))?,
        Cell::List(_) | Cell::Struct(_) => return None,
    })
}
