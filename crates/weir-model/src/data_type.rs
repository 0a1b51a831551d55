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

/// A value inside values of a nested type, and the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nested<'a> {
    /// Fields of structs from the outside in. Lists and maps on the way have no name: the way leads to every element,
    /// and to every value of a map.
    pub path: Vec<&'a str>,
    pub data_type: &'a DataType,
    /// One value of the outer type may hold several.
    pub repeated: bool,
}

impl DataType {
    /// Every field of every struct inside, outer ones first. Keys of maps are no values of their own.
    pub fn nested(&self) -> Vec<Nested<'_>> {
        let mut found = Vec::new();
        self.collect_nested(&[], false, &mut found);
        found
    }

    fn collect_nested<'a>(&'a self, path: &[&'a str], repeated: bool, found: &mut Vec<Nested<'a>>) {
        match self {
            DataType::Struct(fields) => {
                for Field { name, data_type } in fields {
                    let path: Vec<&str> = path.iter().copied().chain([name.as_str()]).collect();
                    found.push(Nested { path: path.clone(), data_type, repeated });
                    data_type.collect_nested(&path, repeated, found);
                }
            }
            DataType::List(item) => item.collect_nested(path, true, found),
            DataType::Map { key: _, value } => value.collect_nested(path, true, found),
            DataType::Boolean
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32
            | DataType::UInt64
            | DataType::Float32
            | DataType::Float64
            | DataType::Decimal { .. }
            | DataType::Text
            | DataType::Binary
            | DataType::Date
            | DataType::Time
            | DataType::Timestamp { .. } => {}
        }
    }

    /// What masks of single values act on: the elements of a list, however deep.
    pub fn element(&self) -> &DataType {
        match self {
            DataType::List(item) => item.element(),
            DataType::Boolean
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32
            | DataType::UInt64
            | DataType::Float32
            | DataType::Float64
            | DataType::Decimal { .. }
            | DataType::Text
            | DataType::Binary
            | DataType::Date
            | DataType::Time
            | DataType::Timestamp { .. }
            | DataType::Struct(_)
            | DataType::Map { .. } => self,
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, data_type: DataType) -> Field {
        Field { name: name.to_owned(), data_type }
    }

    #[test]
    fn every_field_has_its_path() {
        let price = DataType::Struct(vec![field("net", DataType::Float64)]);
        let line = DataType::Struct(vec![field("item", DataType::Text), field("price", price)]);
        let order = DataType::Struct(vec![
            field("lines", DataType::List(Box::new(line))),
            field("notes", DataType::Map { key: Box::new(DataType::Text), value: Box::new(DataType::Text) }),
        ]);
        let found: Vec<(String, bool)> = order.nested().iter().map(|n| (n.path.join("."), n.repeated)).collect();
        let expected = [
            ("lines", false),
            ("lines.item", true),
            ("lines.price", true),
            ("lines.price.net", true),
            ("notes", false),
        ];
        assert_eq!(found, expected.map(|(path, repeated)| (path.to_owned(), repeated)));
    }

    #[test]
    fn elements_are_found_through_lists() {
        let texts = DataType::List(Box::new(DataType::Text));
        assert_eq!(DataType::List(Box::new(texts)).element(), &DataType::Text);
        assert_eq!(DataType::Date.element(), &DataType::Date);
    }
}
