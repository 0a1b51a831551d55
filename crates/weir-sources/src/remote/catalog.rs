//! What there is in a database: tables, their columns, and what becomes of the columns' types.

use std::collections::BTreeMap;

use datafusion::arrow::datatypes::DataType as Arrow;
use tokio_postgres::Row;
use weir_model::{ColumnName, DataType, Location};

use super::pool::{Lease, Pool, chain, unreachable};
use super::wire::{Scalar, Wire};
use crate::error::SourceError;
use crate::infer::InferredColumn;
use crate::types::arrow_type;
use std::sync::Arc;

/// A table as it was found, with what of it can be read.
#[derive(Clone, Debug)]
pub struct FoundTable {
    pub location: Location,
    pub schema: String,
    pub table: String,
    pub columns: Vec<InferredColumn>,
    /// Columns that cannot be read, and why.
    pub left_out: Vec<(String, String)>,
    /// The columns of the primary key, as far as they can be read; empty when there is none.
    pub key: Vec<ColumnName>,
}

/// A column that can be read.
#[derive(Clone, Debug)]
pub(super) struct RemoteColumn {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) nullable: bool,
}

/// What is known of a type over there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kind {
    pub(super) data_type: DataType,
    pub(super) wire: Wire,
    /// Sent as text, which it is not over there.
    pub(super) as_text: bool,
    /// Of texts that are equal only when their bytes are.
    pub(super) collation: Option<u32>,
}

impl Kind {
    pub(super) fn arrow(&self) -> Arrow {
        arrow_type(&self.data_type)
    }
}

/// A table as it is over there.
pub(super) struct Found {
    oid: u32,
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) columns: Vec<Result<RemoteColumn, (String, String)>>,
    pub(super) key: Vec<String>,
    pub(super) rows: Option<usize>,
}

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

/// The tables of `schema` by name, or the one that is asked for, with their keys.
pub(super) async fn tables(
    lease: &mut Lease,
    pool: &Pool,
    schema: &str,
    table: Option<&str>,
) -> Result<Vec<Found>, SourceError> {
    let failed = |e: tokio_postgres::Error| unreachable(pool.name(), &chain(&e));
    let mut found = columns(lease, pool, schema, table).await?;
    let client = lease.begin()?;
    let mut keys: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for row in client.query(KEYS, &[&schema, &table]).await.map_err(failed)? {
        keys.entry(row.try_get(0).map_err(failed)?).or_default().push(row.try_get(1).map_err(failed)?);
    }
    lease.done();
    for table in &mut found {
        table.key = keys.remove(&table.oid).unwrap_or_default();
    }
    Ok(found)
}

/// As [`tables`], without their keys.
pub(super) async fn columns(
    lease: &mut Lease,
    pool: &Pool,
    schema: &str,
    table: Option<&str>,
) -> Result<Vec<Found>, SourceError> {
    let failed = |e: tokio_postgres::Error| unreachable(pool.name(), &chain(&e));
    let rows = lease.query_kept(COLUMNS, &[&schema, &table]).await?;
    let mut found: Vec<Found> = Vec::new();
    for row in rows {
        let oid: u32 = row.try_get(0).map_err(failed)?;
        if found.last().is_none_or(|last| last.oid != oid) {
            let rows: f64 = row.try_get(10).map_err(failed)?;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate, not below 0")]
            let rows = (rows >= 0.0).then_some(rows as usize);
            let table = row.try_get(1).map_err(failed)?;
            found.push(Found { oid, schema: schema.to_owned(), table, columns: Vec::new(), key: Vec::new(), rows });
        }
        if let Some(table) = found.last_mut() {
            table.columns.extend(column(&row).map_err(failed)?);
        }
    }
    Ok(found)
}

type Readable = Result<RemoteColumn, (String, String)>;

/// Nothing for a table without columns.
fn column(row: &Row) -> Result<Option<Readable>, tokio_postgres::Error> {
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
    Ok(Some(match kind {
        Some(kind) => Ok(RemoteColumn { name, kind: Kind { collation, ..kind }, nullable: !not_null }),
        None => Err((name, format!("type {type_name} is not supported"))),
    }))
}

/// `None` for types that are not supported.
fn kind(name: &str, is_enum: bool, modifier: i32, element: Option<&str>) -> Option<Kind> {
    let plain = |data_type, wire| Some(Kind { data_type, wire, as_text: false, collation: None });
    if let Some(element) = element {
        let (item, scalar) = match element {
            "bool" => (DataType::Boolean, Scalar::Bool),
            "int2" => (DataType::Int16, Scalar::Int2),
            "int4" => (DataType::Int32, Scalar::Int4),
            "int8" => (DataType::Int64, Scalar::Int8),
            "float4" => (DataType::Float32, Scalar::Float4),
            "float8" => (DataType::Float64, Scalar::Float8),
            "text" => (DataType::Text, Scalar::Text),
            _ => return None,
        };
        return plain(DataType::List(Box::new(item)), Wire::List(scalar));
    }
    if is_enum {
        return Some(Kind { data_type: DataType::Text, wire: Wire::Text, as_text: true, collation: None });
    }
    match name {
        "bool" => plain(DataType::Boolean, Wire::Bool),
        "int2" => plain(DataType::Int16, Wire::Int2),
        "int4" => plain(DataType::Int32, Wire::Int4),
        "int8" => plain(DataType::Int64, Wire::Int8),
        "float4" => plain(DataType::Float32, Wire::Float4),
        "float8" => plain(DataType::Float64, Wire::Float8),
        "numeric" => {
            let (precision, scale) = precision(modifier)?;
            plain(DataType::Decimal { precision, scale }, Wire::Numeric)
        }
        "text" => plain(DataType::Text, Wire::Text),
        // As text, `char(n)` is without the blanks that do not count.
        "varchar" | "bpchar" | "name" | "uuid" | "json" | "jsonb" => {
            Some(Kind { data_type: DataType::Text, wire: Wire::Text, as_text: true, collation: None })
        }
        "bytea" => plain(DataType::Binary, Wire::Bytea),
        "date" => plain(DataType::Date, Wire::Date),
        "time" => plain(DataType::Time, Wire::Time),
        "timestamp" => plain(DataType::Timestamp { zoned: false }, Wire::Timestamp),
        "timestamptz" => plain(DataType::Timestamp { zoned: true }, Wire::Timestamptz),
        _ => None,
    }
}

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

impl Found {
    /// For registering.
    pub(super) fn told(self, pool: &Pool) -> FoundTable {
        let (mut columns, mut left_out) = (Vec::new(), Vec::new());
        for column in self.columns {
            match column {
                Ok(RemoteColumn { name, kind, nullable }) => match ColumnName::new(name.clone()) {
                    Ok(name) => columns.push(InferredColumn { name, data_type: kind.data_type, nullable }),
                    Err(why) => left_out.push((name, why.to_string())),
                },
                Err(why) => left_out.push(why),
            }
        }
        let known = |name: &String| columns.iter().find(|c| c.name.as_str() == name).map(|c| c.name.clone());
        let key: Option<Vec<ColumnName>> = self.key.iter().map(known).collect();
        let location =
            Location::Table { connection: pool.name().clone(), schema: self.schema.clone(), table: self.table.clone() };
        let key = key.unwrap_or_default();
        FoundTable { location, schema: self.schema, table: self.table, columns, left_out, key }
    }
}

/// A column of a source, found again.
pub(super) fn find<'a>(found: &'a Found, name: &str, table: &Arc<str>) -> Result<&'a RemoteColumn, SourceError> {
    let wrong = |why: String| SourceError::Table { table: Arc::clone(table), why };
    let named = found.columns.iter().find(|column| match column {
        Ok(column) => column.name == name,
        Err((left_out, _)) => left_out == name,
    });
    match named {
        Some(Ok(column)) => Ok(column),
        Some(Err((_, why))) => Err(wrong(format!("column `{name}` cannot be read any more: {why}"))),
        None => Err(wrong(format!("column `{name}` is not there any more"))),
    }
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
