use std::fmt;

use serde::{Deserialize, Serialize};

/// The type of a column, as policies see it. Every storage type maps to exactly one of these or is refused when a
/// data source is registered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataType {
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Float32,
    Float64,
    Decimal {
        precision: u8,
        scale: i8,
    },
    Text,
    Binary,
    Date,
    Time,
    /// A point in time; `zoned` when it is stored with a time zone.
    Timestamp {
        zoned: bool,
    },
    List(Box<DataType>),
    Struct(Vec<Field>),
    Map {
        key: Box<DataType>,
        value: Box<DataType>,
    },
}

/// A named part of a struct.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Field {
    pub name: String,
    #[serde(rename = "type")]
    pub data_type: DataType,
}

/// Types that masks and comparisons treat alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeClass {
    Boolean,
    /// Whole numbers, floats and decimals.
    Number,
    Text,
    Binary,
    Date,
    Time,
    Timestamp,
    /// Lists, structs and maps.
    Nested,
}

impl DataType {
    pub fn class(&self) -> TypeClass {
        match self {
            DataType::Boolean => TypeClass::Boolean,
            DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32
            | DataType::UInt64
            | DataType::Float32
            | DataType::Float64
            | DataType::Decimal { .. } => TypeClass::Number,
            DataType::Text => TypeClass::Text,
            DataType::Binary => TypeClass::Binary,
            DataType::Date => TypeClass::Date,
            DataType::Time => TypeClass::Time,
            DataType::Timestamp { .. } => TypeClass::Timestamp,
            DataType::List(_) | DataType::Struct(_) | DataType::Map { .. } => TypeClass::Nested,
        }
    }
}

/// The SQL name of the type.
impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataType::Boolean => f.write_str("boolean"),
            DataType::Int8 => f.write_str("tinyint"),
            DataType::Int16 => f.write_str("smallint"),
            DataType::Int32 => f.write_str("int"),
            DataType::Int64 => f.write_str("bigint"),
            DataType::UInt8 => f.write_str("tinyint unsigned"),
            DataType::UInt16 => f.write_str("smallint unsigned"),
            DataType::UInt32 => f.write_str("int unsigned"),
            DataType::UInt64 => f.write_str("bigint unsigned"),
            DataType::Float32 => f.write_str("real"),
            DataType::Float64 => f.write_str("double"),
            DataType::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            DataType::Text => f.write_str("text"),
            DataType::Binary => f.write_str("binary"),
            DataType::Date => f.write_str("date"),
            DataType::Time => f.write_str("time"),
            DataType::Timestamp { zoned: false } => f.write_str("timestamp"),
            DataType::Timestamp { zoned: true } => f.write_str("timestamp with time zone"),
            DataType::List(item) => write!(f, "list<{item}>"),
            DataType::Struct(fields) => {
                f.write_str("struct<")?;
                for (i, field) in fields.iter().enumerate() {
                    write!(f, "{}{} {}", if i == 0 { "" } else { ", " }, field.name, field.data_type)?;
                }
                f.write_str(">")
            }
            DataType::Map { key, value } => write!(f, "map<{key}, {value}>"),
        }
    }
}
