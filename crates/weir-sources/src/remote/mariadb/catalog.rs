//! MariaDB's catalogue, and what becomes of its types.

use std::collections::BTreeMap;
use std::sync::Arc;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Result};
use weir_model::DataType;

use super::super::catalog::{Found, Kind, Readable, RemoteColumn};

/// Names are compared without regard to case, so the answer may be of other tables as well. Only columns that the user
/// may do something with are listed.
const COLUMNS: &str = "SELECT c.TABLE_NAME, c.COLUMN_NAME, c.IS_NULLABLE, c.DATA_TYPE, c.COLUMN_TYPE, \
    CAST(c.NUMERIC_PRECISION AS SIGNED), CAST(c.NUMERIC_SCALE AS SIGNED), c.CHARACTER_SET_NAME, c.COLLATION_NAME, \
    c.PRIVILEGES, t.TABLE_ROWS \
    FROM information_schema.COLUMNS AS c JOIN information_schema.TABLES AS t \
    ON t.TABLE_SCHEMA = c.TABLE_SCHEMA AND t.TABLE_NAME = c.TABLE_NAME \
    WHERE c.TABLE_SCHEMA = ? AND t.TABLE_SCHEMA = ? AND t.TABLE_TYPE IN ('BASE TABLE', 'VIEW', 'SYSTEM VERSIONED')";
const ONE_TABLE: &str = " AND c.TABLE_NAME = ? AND t.TABLE_NAME = ?";
const COLUMN_ORDER: &str = " ORDER BY BINARY c.TABLE_NAME, c.ORDINAL_POSITION";

const KEYS: &str = "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.STATISTICS \
    WHERE TABLE_SCHEMA = ? AND INDEX_NAME = 'PRIMARY'";
const KEY_ORDER: &str = " ORDER BY TABLE_NAME, SEQ_IN_INDEX";

type Described = (
    String,
    String,
    String,
    String,
    String,
    (Option<i64>, Option<i64>),
    (Option<String>, Option<String>),
    String,
    Option<u64>,
);

pub(super) async fn tables(conn: &mut Conn, schema: &str, table: Option<&str>, keys: bool) -> Result<Vec<Found>> {
    let mut key_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    if keys {
        let rows: Vec<(String, String)> = match table {
            Some(table) => {
                conn.exec(format!("{KEYS} AND TABLE_NAME = ?{KEY_ORDER}"), (schema, table)).await?
            }
            None => conn.exec(format!("{KEYS}{KEY_ORDER}"), (schema,)).await?,
        };
        for (table, column) in rows {
            key_of.entry(table).or_default().push(column);
        }
    }
    let rows: Vec<mysql_async::Row> = match table {
        Some(table) => {
            let columns = format!("{COLUMNS}{ONE_TABLE}{COLUMN_ORDER}");
            conn.exec(columns, (schema, schema, table, table)).await?
        }
        None => conn.exec(format!("{COLUMNS}{COLUMN_ORDER}"), (schema, schema)).await?,
    };
    let mut found: Vec<Found> = Vec::new();
    for row in rows {
        let (of, name, nullable, data_type, column_type, digits, texts, privileges, rows) = described(row)?;
        if table.is_some_and(|table| table != of) {
            continue;
        }
        if found.last().is_none_or(|last| last.table != of) {
            let rows = rows.and_then(|rows| usize::try_from(rows).ok());
            let key = key_of.remove(&of).unwrap_or_default();
            found.push(Found { schema: schema.to_owned(), table: of, columns: Vec::new(), key, rows });
        }
        if let Some(table) = found.last_mut() {
            let readable = privileges.split(',').any(|privilege| privilege == "select");
            table.columns.push(match kind(&data_type, &column_type, digits, texts) {
                _ if !readable => Err((name, "the user of the connection may not read it".to_owned())),
                Some(kind) => Ok(RemoteColumn { name, kind, nullable: nullable == "YES" }) as Readable,
                None => Err((name, format!("type {column_type} is not supported"))),
            });
        }
    }
    Ok(found)
}

fn described(row: mysql_async::Row) -> Result<Described> {
    let mut row = row;
    macro_rules! next {
        ($place:expr) => {
            row.take_opt($place)
                .unwrap_or(Err(mysql_async::FromValueError(mysql_async::Value::NULL)))
                .map_err(|_| mysql_async::DriverError::UnexpectedPacket { payload: Vec::new() })?
        };
    }
    Ok((
        next!(0),
        next!(1),
        next!(2),
        next!(3),
        next!(4),
        (next!(5), next!(6)),
        (next!(7), next!(8)),
        next!(9),
        next!(10),
    ))
}

/// `None` for types that are not supported.
fn kind(
    data_type: &str,
    column_type: &str,
    (precision, scale): (Option<i64>, Option<i64>),
    (charset, collation): (Option<String>, Option<String>),
) -> Option<Kind> {
    let unsigned = column_type.contains("unsigned");
    let sign = |signed, without| if unsigned { without } else { signed };
    let number = |data_type| Kind { said: ("CAST(", " AS UNSIGNED)"), ..Kind::plain(data_type) };
    // Read as bytes of UTF-8, by which they are compared too.
    let text = |as_it_is: bool| {
        let bytes = as_it_is && matches!(charset.as_deref(), Some("utf8mb4" | "utf8mb3" | "utf8" | "ascii"));
        let collation: Option<Arc<str>> = collation.clone().filter(|_| bytes).map(Into::into);
        let said =
            if bytes { ("CAST(", " AS BINARY)") } else { ("CAST(CONVERT(", " USING utf8mb4) AS BINARY)") };
        Kind { data_type: DataType::Text, said, collation }
    };
    Some(match data_type {
        // What `boolean` is another word for.
        "tinyint" if column_type.starts_with("tinyint(1)") && !unsigned => Kind::plain(DataType::Boolean),
        "tinyint" => Kind::plain(sign(DataType::Int8, DataType::UInt8)),
        "smallint" => Kind::plain(sign(DataType::Int16, DataType::UInt16)),
        "mediumint" | "int" => Kind::plain(sign(DataType::Int32, DataType::UInt32)),
        "bigint" => Kind::plain(sign(DataType::Int64, DataType::UInt64)),
        // Compared with a constant of two digits, it would be a year of one of two centuries.
        "year" => number(DataType::UInt16),
        "bit" if precision == Some(1) => number(DataType::Boolean),
        "bit" => number(DataType::UInt64),
        "float" => Kind::plain(DataType::Float32),
        "double" => Kind::plain(DataType::Float64),
        "decimal" => {
            let (precision, scale) = (u8::try_from(precision?).ok()?, i8::try_from(scale?).ok()?);
            Kind::plain(DataType::Decimal { precision, scale })
        }
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => text(true),
        "enum" | "set" | "json" | "uuid" | "inet4" | "inet6" => text(false),
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Kind::plain(DataType::Binary),
        "date" => Kind::plain(DataType::Date),
        "time" => Kind::plain(DataType::Time),
        "datetime" => Kind::plain(DataType::Timestamp { zoned: false }),
        "timestamp" => Kind::plain(DataType::Timestamp { zoned: true }),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_what_their_columns_may_hold() {
        let of = |data_type, column_type, digits| {
            kind(data_type, column_type, digits, (Some("latin1".to_owned()), None)).map(|kind| kind.data_type)
        };
        assert_eq!(of("tinyint", "tinyint(1)", (None, None)), Some(DataType::Boolean));
        assert_eq!(of("tinyint", "tinyint(1) unsigned", (None, None)), Some(DataType::UInt8));
        assert_eq!(of("tinyint", "tinyint(4)", (None, None)), Some(DataType::Int8));
        assert_eq!(of("bit", "bit(1)", (Some(1), None)), Some(DataType::Boolean));
        assert_eq!(of("decimal", "decimal(65,30)", (Some(65), Some(30))), Some(DataType::Decimal {
            precision: 65,
            scale: 30
        }));
        assert_eq!(of("point", "point", (None, None)), None);
    }
}
