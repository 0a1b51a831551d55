//! MariaDB's catalogue, and what becomes of its types.

use std::sync::Arc;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, FromValueError, Result, Row, Value};
use weir_model::DataType;

use super::super::catalog::{Found, Kind, RemoteColumn};

/// Names are compared without regard to case, by which they are found, and by their bytes. Only columns that the user may
/// do something with are listed.
const COLUMNS: &str = "SELECT TABLE_NAME, COLUMN_NAME, IS_NULLABLE, DATA_TYPE, COLUMN_TYPE, CAST(NUMERIC_PRECISION AS SIGNED), \
    CAST(NUMERIC_SCALE AS SIGNED), CHARACTER_SET_NAME, COLLATION_NAME, PRIVILEGES, COLUMN_KEY \
    FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND BINARY TABLE_SCHEMA = BINARY ?";
const OF_ONE_TABLE: &str = " AND TABLE_NAME = ? AND BINARY TABLE_NAME = BINARY ?";
const IN_ORDER: &str = " ORDER BY BINARY TABLE_NAME, ORDINAL_POSITION";

/// An estimate, for which the table is opened: not asked of all.
const ROWS: &str = "SELECT TABLE_ROWS FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?";

pub(super) async fn tables(conn: &mut Conn, schema: &str, table: Option<&str>) -> Result<Vec<Found>> {
    let (rows, about): (Vec<Row>, Option<u64>) = match table {
        Some(table) => {
            let columns = format!("{COLUMNS}{OF_ONE_TABLE}{IN_ORDER}");
            let about: Option<Option<u64>> = conn.exec_first(ROWS, (schema, table)).await?;
            (conn.exec(columns, (schema, schema, table, table)).await?, about.flatten())
        }
        None => (conn.exec(format!("{COLUMNS}{IN_ORDER}"), (schema, schema)).await?, None),
    };
    let about = about.and_then(|rows| usize::try_from(rows).ok());
    let mut found: Vec<Found> = Vec::new();
    for mut row in rows {
        let of: String = take(&mut row, 0)?;
        if found.last().is_none_or(|last| last.table != of) {
            let (schema, columns, key) = (schema.to_owned(), Vec::new(), Vec::new());
            found.push(Found { schema, table: of, columns, key, rows: about });
        }
        let Some(table) = found.last_mut() else { continue };
        let (name, nullable): (String, String) = (take(&mut row, 1)?, take(&mut row, 2)?);
        let (data_type, column_type): (String, String) = (take(&mut row, 3)?, take(&mut row, 4)?);
        let (digits, texts) = ((take(&mut row, 5)?, take(&mut row, 6)?), (take(&mut row, 7)?, take(&mut row, 8)?));
        let (privileges, key): (String, String) = (take(&mut row, 9)?, take(&mut row, 10)?);
        if key == "PRI" {
            table.key.push(name.clone());
        }
        table.columns.push(match kind(&data_type, &column_type, digits, texts) {
            _ if !privileges.split(',').any(|privilege| privilege == "select") => {
                Err((name, "the user of the connection may not read it".to_owned()))
            }
            Some(kind) => Ok(RemoteColumn { name, kind, nullable: nullable == "YES" }),
            None => Err((name, format!("type {column_type} is not supported"))),
        });
    }
    Ok(found)
}

fn take<T: mysql_async::prelude::FromValue>(row: &mut Row, place: usize) -> Result<T> {
    let value = row.take_opt(place).unwrap_or(Err(FromValueError(Value::NULL)));
    value.map_err(|_| DriverError::UnexpectedPacket { payload: Vec::new() }.into())
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
        let said = if bytes { ("CAST(", " AS BINARY)") } else { ("CAST(CONVERT(", " USING utf8mb4) AS BINARY)") };
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
        assert_eq!(
            of("decimal", "decimal(65,30)", (Some(65), Some(30))),
            Some(DataType::Decimal { precision: 65, scale: 30 })
        );
        assert_eq!(of("point", "point", (None, None)), None);
    }
}
