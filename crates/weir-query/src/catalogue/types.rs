//! Which type of PostgreSQL each Arrow type is: on the wire, and in catalogues.

use datafusion::arrow::datatypes::DataType;

/// A type of PostgreSQL.
#[derive(Debug, PartialEq, Eq)]
pub struct PgType {
    pub oid: u32,
    /// `pg_type.typname`
    pub name: &'static str,
    /// `pg_type.typlen`
    pub length: i16,
    /// As the SQL standard calls it.
    pub standard: &'static str,
    /// The array type of it; 0 when Weir has none.
    array: u32,
}

const fn pg(oid: u32, name: &'static str, length: i16, standard: &'static str, array: u32) -> PgType {
    PgType { oid, name, length, standard, array }
}

static BOOL: PgType = pg(16, "bool", 1, "boolean", 1000);
static INT2: PgType = pg(21, "int2", 2, "smallint", 1005);
static INT4: PgType = pg(23, "int4", 4, "integer", 1007);
static INT8: PgType = pg(20, "int8", 8, "bigint", 1016);
static FLOAT4: PgType = pg(700, "float4", 4, "real", 1021);
static FLOAT8: PgType = pg(701, "float8", 8, "double precision", 1022);
static NUMERIC: PgType = pg(1700, "numeric", -1, "numeric", 1231);
static TEXT: PgType = pg(25, "text", -1, "text", 1009);
static BYTEA: PgType = pg(17, "bytea", -1, "bytea", 1001);
static DATE: PgType = pg(1082, "date", 4, "date", 1182);
static TIME: PgType = pg(1083, "time", 8, "time without time zone", 1183);
static TIMESTAMP: PgType = pg(1114, "timestamp", 8, "timestamp without time zone", 1115);
static TIMESTAMPTZ: PgType = pg(1184, "timestamptz", 8, "timestamp with time zone", 1185);
static INTERVAL: PgType = pg(1186, "interval", 16, "interval", 1187);
static JSON: PgType = pg(114, "json", -1, "json", 0);
static ARRAYS: [PgType; 14] = [
    pg(1000, "_bool", -1, "ARRAY", 0),
    pg(1005, "_int2", -1, "ARRAY", 0),
    pg(1007, "_int4", -1, "ARRAY", 0),
    pg(1016, "_int8", -1, "ARRAY", 0),
    pg(1021, "_float4", -1, "ARRAY", 0),
    pg(1022, "_float8", -1, "ARRAY", 0),
    pg(1231, "_numeric", -1, "ARRAY", 0),
    pg(1009, "_text", -1, "ARRAY", 0),
    pg(1001, "_bytea", -1, "ARRAY", 0),
    pg(1182, "_date", -1, "ARRAY", 0),
    pg(1183, "_time", -1, "ARRAY", 0),
    pg(1115, "_timestamp", -1, "ARRAY", 0),
    pg(1185, "_timestamptz", -1, "ARRAY", 0),
    pg(1187, "_interval", -1, "ARRAY", 0),
];

/// `None` when values of the type have no form in PostgreSQL.
pub fn pg_type(data_type: &DataType) -> Option<&'static PgType> {
    Some(match data_type {
        DataType::Boolean => &BOOL,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => &INT2,
        DataType::Int32 | DataType::UInt16 => &INT4,
        DataType::Int64 | DataType::UInt32 => &INT8,
        DataType::Float16 | DataType::Float32 => &FLOAT4,
        DataType::Float64 => &FLOAT8,
        DataType::UInt64
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => &NUMERIC,
        DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => &TEXT,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => &BYTEA,
        DataType::Date32 | DataType::Date64 => &DATE,
        DataType::Time32(_) | DataType::Time64(_) => &TIME,
        DataType::Timestamp(_, None) => &TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => &TIMESTAMPTZ,
        DataType::Interval(_) | DataType::Duration(_) => &INTERVAL,
        DataType::Dictionary(_, value) => pg_type(value)?,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => {
            let item = pg_type(item.data_type())?;
            // What is itself a list, a struct or a map has no array: lists in those of PostgreSQL are of one length.
            ARRAYS.iter().find(|array| array.oid == item.array).unwrap_or(&JSON)
        }
        DataType::Struct(fields) => {
            fields.iter().try_for_each(|field| pg_type(field.data_type()).map(drop))?;
            &JSON
        }
        DataType::Map(entries, _) => {
            pg_type(entries.data_type())?;
            &JSON
        }
        DataType::Union(..) | DataType::RunEndEncoded(..) => return None,
    })
}

/// `pg_attribute.atttypmod`: precision and scale of a decimal, plus four; -1 for every other type.
pub fn pg_modifier(data_type: &DataType) -> i32 {
    match precision(data_type) {
        Some((precision, scale)) => {
            u16::try_from(scale).map_or(-1, |scale| ((i32::from(precision) << 16) | i32::from(scale)) + 4)
        }
        None => -1,
    }
}

/// Precision and scale of a decimal.
#[expect(clippy::wildcard_enum_match_arm, reason = "only decimals have them")]
pub(crate) fn precision(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => Some((*precision, *scale)),
        _ => None,
    }
}
