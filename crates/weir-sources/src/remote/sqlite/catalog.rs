//! SQLite's catalogue, and what becomes of the types that columns are declared with. SQLite does not hold values to
//! them, unless the table is strict.

use rusqlite::{Connection, Result};
use weir_model::DataType;

use super::super::catalog::{Found, Kind, RemoteColumn};

/// Names are compared without regard to case. Hidden columns are arguments of functions.
const COLUMNS: &str = "SELECT l.name, c.name, c.type, c.\"notnull\", c.pk FROM pragma_table_list(?2) AS l \
    JOIN pragma_table_xinfo(l.name, ?1) AS c WHERE l.schema = ?1 AND l.type IN ('table', 'view') AND c.hidden <> 1 \
    AND l.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY l.name, c.cid";

pub(super) fn tables(connection: &Connection, schema: &str, table: Option<&str>) -> Result<Vec<Found>> {
    let columns = match table {
        Some(_) => COLUMNS.to_owned(),
        None => COLUMNS.replace("pragma_table_list(?2)", "pragma_table_list"),
    };
    let mut statement = connection.prepare(&columns)?;
    let mut rows = match table {
        Some(table) => statement.query((schema, table))?,
        None => statement.query((schema,))?,
    };
    let mut found: Vec<(Found, Vec<(i64, String)>)> = Vec::new();
    while let Some(row) = rows.next()? {
        let (of, name, declared): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (not_null, key): (bool, i64) = (row.get(3)?, row.get(4)?);
        if table.is_some_and(|table| table != of) {
            continue;
        }
        if found.last().is_none_or(|(last, _)| last.table != of) {
            let columns = Vec::new();
            found.push((Found { schema: schema.to_owned(), table: of, columns, key: Vec::new(), rows: None }, vec![]));
        }
        if let Some((table, keys)) = found.last_mut() {
            if key > 0 {
                keys.push((key, name.clone()));
            }
            table.columns.push(match kind(&declared) {
                Some(kind) => Ok(RemoteColumn { name, kind, nullable: !not_null }),
                None if declared.is_empty() => Err((name, "no type is declared".to_owned())),
                None => Err((name, format!("type {declared} is not supported"))),
            });
        }
    }
    let keyed = |(table, mut keys): (Found, Vec<(i64, String)>)| {
        keys.sort();
        Found { key: keys.into_iter().map(|(_, name)| name).collect(), ..table }
    };
    Ok(found.into_iter().map(keyed).collect())
}

/// Digits that a floating-point number keeps, which decimals are kept as.
const DIGITS_MAX: u8 = 15;

/// `None` for types that are not supported.
fn kind(declared: &str) -> Option<Kind> {
    let declared = declared.to_ascii_lowercase();
    let (name, arguments) = match declared.split_once('(') {
        Some((name, arguments)) => (name.trim_end(), arguments.strip_suffix(')')),
        None => (declared.as_str(), None),
    };
    Some(match name {
        "boolean" | "bool" => Kind::plain(DataType::Boolean),
        "tinyint" => Kind::plain(DataType::Int8),
        "smallint" | "int2" => Kind::plain(DataType::Int16),
        "mediumint" | "int4" => Kind::plain(DataType::Int32),
        "int" | "integer" | "bigint" | "int8" => Kind::plain(DataType::Int64),
        "real" | "double" | "double precision" | "float" => Kind::plain(DataType::Float64),
        "decimal" | "numeric" => {
            let (precision, scale) = arguments?.split_once(',').unwrap_or((arguments?, "0"));
            let (precision, scale): (u8, i8) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            let fits = (1..=DIGITS_MAX).contains(&precision) && (0..=precision.cast_signed()).contains(&scale);
            fits.then_some(Kind::plain(DataType::Decimal { precision, scale }))?
        }
        "text" | "clob" | "char" | "character" | "varchar" | "character varying" | "nchar" | "nvarchar" | "json" => {
            Kind { said: ("(", " COLLATE BINARY)"), ..Kind::plain(DataType::Text) }
        }
        "blob" => Kind::plain(DataType::Binary),
        "date" => Kind::plain(DataType::Date),
        "time" => Kind::plain(DataType::Time),
        "datetime" | "timestamp" => Kind::plain(DataType::Timestamp { zoned: false }),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_what_is_declared() {
        let of = |declared| kind(declared).map(|kind| kind.data_type);
        assert_eq!(of("VarChar (20)"), Some(DataType::Text));
        assert_eq!(of("decimal(15, 2)"), Some(DataType::Decimal { precision: 15, scale: 2 }));
        assert_eq!(of("NUMERIC(5)"), Some(DataType::Decimal { precision: 5, scale: 0 }));
        for unknown in
            ["", "decimal", "decimal(16,2)", "decimal(2,3)", "decimal(2,-1)", "any", "floating point", "string"]
        {
            assert_eq!(of(unknown), None, "{unknown}");
        }
    }
}
