//! PostgreSQL's catalogue, and what becomes of its types.

use std::collections::BTreeMap;

use tokio_postgres::{Client, Error, Row, Statement};
use weir_model::DataType;

use super::super::catalog::{Found, Kind, Readable, RemoteColumn};

// Types of domains are those below them. `$2` may be NULL for all tables.
const COLUMNS: &str = "SELECT c.oid, c.relname::text, a.attname::text, a.attnotnull, t.typname::text, t.typtype::text, \
    CASE WHEN d.typtype = 'd' THEN d.typtypmod ELSE a.atttypmod END, e.typname::text, \
    CASE WHEN o.collisdeterministic THEN o.oid END, \
    pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT'), c.reltuples::float8, \
    pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
    LEFT JOIN pg_catalog.pg_type d ON d.oid = a.atttypid \
    LEFT JOIN pg_catalog.pg_type t ON t.oid = CASE WHEN d.typtype = 'd' THEN d.typbasetype ELSE d.oid END \
    LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typcategory = 'A' \
    LEFT JOIN pg_catalog.pg_collation o ON o.oid = a.attcollation \
    WHERE n.nspname = $1 AND ($2::text IS NULL OR c.relname = $2) AND c.relkind IN ('r', 'v', 'm', 'f', 'p') \
    ORDER BY c.relname, a.attnum";

const KEYS: &str = "SELECT i.indrelid, a.attname::text FROM pg_catalog.pg_index i \
    JOIN pg_catalog.pg_class c ON c.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) \
    WHERE n.nspname = $1 AND ($2::text IS NULL OR c.relname = $2) AND i.indisprimary ORDER BY i.indrelid, a.attnum";

/// `kept` is the statement that asks for columns, which the session keeps ready.
pub(super) async fn tables(
    client: &Client,
    kept: &mut Option<Statement>,
    schema: &str,
    table: Option<&str>,
    keys: bool,
) -> Result<Vec<Found>, Error> {
    let statement = match kept {
        Some(statement) => statement.clone(),
        None => kept.insert(client.prepare(COLUMNS).await?).clone(),
    };
    let mut key_of: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    if keys {
        for row in client.query(KEYS, &[&schema, &table]).await? {
            key_of.entry(row.try_get(0)?).or_default().push(row.try_get(1)?);
        }
    }
    let (mut found, mut last): (Vec<Found>, Option<u32>) = (Vec::new(), None);
    for row in client.query(&statement, &[&schema, &table]).await? {
        let oid: u32 = row.try_get(0)?;
        if last.replace(oid) != Some(oid) {
            let rows: f64 = row.try_get(10)?;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate, not below 0")]
            let rows = (rows >= 0.0).then_some(rows as usize);
            let key = key_of.remove(&oid).unwrap_or_default();
            found.push(Found { schema: schema.to_owned(), table: row.try_get(1)?, columns: Vec::new(), key, rows });
        }
        if let Some(table) = found.last_mut() {
            table.columns.extend(column(&row)?);
        }
    }
    Ok(found)
}

/// Nothing for a table without columns.
fn column(row: &Row) -> Result<Option<Readable>, Error> {
    let Some(name) = row.try_get::<_, Option<String>>(2)? else { return Ok(None) };
    let not_null: bool = row.try_get(3)?;
    let (type_name, type_kind): (Option<String>, Option<String>) = (row.try_get(4)?, row.try_get(5)?);
    let (modifier, element): (Option<i32>, Option<String>) = (row.try_get(6)?, row.try_get(7)?);
    let collation: Option<u32> = row.try_get(8)?;
    let (may_read, may_enter): (bool, bool) = (row.try_get(9)?, row.try_get(11)?);
    let type_name = type_name.unwrap_or_default();
    if !(may_read && may_enter) {
        return Ok(Some(Err((name, "the user of the connection may not read it".to_owned()))));
    }
    let kind = kind(&type_name, type_kind.as_deref() == Some("e"), modifier.unwrap_or(-1), element.as_deref());
    let collation = collation.map(|collation| collation.to_string().into());
    Ok(Some(match kind {
        Some(kind) => Ok(RemoteColumn { name, kind: Kind { collation, ..kind }, nullable: !not_null }),
        None => Err((name, format!("type {type_name} is not supported"))),
    }))
}

/// `None` for types that are not supported.
fn kind(name: &str, is_enum: bool, modifier: i32, element: Option<&str>) -> Option<Kind> {
    // Of the type over there, or sent as text, which it is not over there.
    let text = |said| Kind { said, ..Kind::plain(DataType::Text) };
    if let Some(element) = element {
        let item = match element {
            "bool" => DataType::Boolean,
            "int2" => DataType::Int16,
            "int4" => DataType::Int32,
            "int8" => DataType::Int64,
            "float4" => DataType::Float32,
            "float8" => DataType::Float64,
            "text" => DataType::Text,
            _ => return None,
        };
        return Some(Kind::plain(DataType::List(Box::new(item))));
    }
    if is_enum {
        return Some(text(AS_TEXT));
    }
    Some(Kind::plain(match name {
        "bool" => DataType::Boolean,
        "int2" => DataType::Int16,
        "int4" => DataType::Int32,
        "int8" => DataType::Int64,
        "float4" => DataType::Float32,
        "float8" => DataType::Float64,
        "numeric" => {
            let (precision, scale) = precision(modifier)?;
            DataType::Decimal { precision, scale }
        }
        "text" => DataType::Text,
        // As text, `char(n)` is without the blanks that do not count.
        "varchar" | "bpchar" | "name" | "uuid" | "json" | "jsonb" => return Some(text(AS_TEXT)),
        "bytea" => DataType::Binary,
        "date" => DataType::Date,
        "time" => DataType::Time,
        "timestamp" => DataType::Timestamp { zoned: false },
        "timestamptz" => DataType::Timestamp { zoned: true },
        _ => return None,
    }))
}

const AS_TEXT: (&str, &str) = ("(", "::text)");

/// What a `numeric` without precision is read as.
const ANY_NUMERIC: (u8, i8) = (38, 10);

/// `None` for more digits than there are types for.
fn precision(modifier: i32) -> Option<(u8, i8)> {
    let Some(both) = modifier.checked_sub(4).filter(|both| *both >= 0) else { return Some(ANY_NUMERIC) };
    let (precision, scale) = (both >> 16 & 0xffff, both & 0x7ff);
    // 11 bits with a sign.
    let scale = (scale ^ 1024) - 1024;
    let fits = (1..=76).contains(&precision) && (0..=precision).contains(&scale);
    fits.then_some((u8::try_from(precision).ok()?, i8::try_from(scale).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_of_numbers() {
        assert_eq!(precision(-1), Some((38, 10)));
        assert_eq!(precision((15 << 16 | 2) + 4), Some((15, 2)));
        assert_eq!(precision((76 << 16 | 76) + 4), Some((76, 76)));
        assert_eq!(precision((77 << 16) + 4), None);
        // numeric(5, -2) and numeric(2, 4)
        assert_eq!(precision((5 << 16 | (-2 & 0x7ff)) + 4), None);
        assert_eq!(precision((2 << 16 | 4) + 4), None);
    }
}
