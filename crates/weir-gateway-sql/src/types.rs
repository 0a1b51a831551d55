//! Which PostgreSQL type each Arrow type is on the wire.

use arrow::datatypes::{DataType, Field, Schema};
use pgwire::api::Type;
use pgwire::messages::data::{FieldDescription, RowDescription};
use weir_guard::Refusal;

/// Text or binary, for one parameter or one result column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Binary,
}

impl Format {
    /// The format code of the protocol; `None` for one that does not exist.
    pub(crate) fn from_code(code: i16) -> Option<Self> {
        match code {
            0 => Some(Format::Text),
            1 => Some(Format::Binary),
            _ => None,
        }
    }

    /// The format of item `index` when a client sends none, one for all, or one for each.
    #[inline]
    pub(crate) fn pick(formats: &[Format], index: usize) -> Self {
        match formats {
            [] => Format::Text,
            [all] => *all,
            each => each.get(index).copied().unwrap_or(Format::Text),
        }
    }
}

/// A result column as clients see it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Column {
    name: String,
    pg: Type,
    /// Precision and scale of a numeric; -1 for none.
    modifier: i32,
}

impl Column {
    pub(crate) fn text(name: &str) -> Self {
        Self { name: name.to_owned(), pg: Type::TEXT, modifier: -1 }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn of(field: &Field) -> Result<Self, Refusal> {
        let data_type = field.data_type();
        let pg = catalogue_type(field).or_else(|| pg_type(data_type)).ok_or_else(|| {
            Refusal::unsupported(format!("column `{}` is of a type that cannot be sent: `{data_type}`", field.name()))
        })?;
        // A name ends at a zero byte on the wire.
        Ok(Self { name: field.name().replace('\0', "\u{fffd}"), pg, modifier: modifier(data_type) })
    }

    fn describe(&self, format: Format) -> FieldDescription {
        FieldDescription::new(
            self.name.clone(),
            0,
            0,
            self.pg.oid(),
            size(&self.pg),
            self.modifier,
            match format {
                Format::Text => 0,
                Format::Binary => 1,
            },
        )
    }

    /// Whether a value of the other column can be read as one of this.
    pub(crate) fn same_type(&self, other: &Self) -> bool {
        self.pg == other.pg
    }
}

/// The columns of a result; refuses a type that has no form on the wire.
pub(crate) fn columns(schema: &Schema) -> Result<Vec<Column>, Refusal> {
    schema.fields().iter().map(|field| Column::of(field)).collect()
}

pub(crate) fn row_description(columns: &[Column], formats: &[Format]) -> RowDescription {
    let describe = |(index, column): (usize, &Column)| column.describe(Format::pick(formats, index));
    RowDescription::new(columns.iter().enumerate().map(describe).collect())
}

/// Columns of PostgreSQL's catalogue say of themselves that they are object ids or single characters.
#[expect(clippy::wildcard_enum_match_arm, reason = "only these two are marked")]
fn catalogue_type(field: &Field) -> Option<Type> {
    let says = |key| field.metadata().contains_key(key);
    match field.data_type() {
        DataType::Int32 if says("pg.oid_alias") => Some(Type::OID),
        text if says("pg.char") && pg_type(text) == Some(Type::TEXT) => Some(Type::CHAR),
        _ => None,
    }
}

/// `None` when the type has no form on the wire.
pub(crate) fn pg_type(data_type: &DataType) -> Option<Type> {
    Some(match data_type {
        DataType::Boolean => Type::BOOL,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => Type::INT2,
        DataType::Int32 | DataType::UInt16 => Type::INT4,
        DataType::Int64 | DataType::UInt32 => Type::INT8,
        DataType::Float16 | DataType::Float32 => Type::FLOAT4,
        DataType::Float64 => Type::FLOAT8,
        DataType::UInt64
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => Type::NUMERIC,
        DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Type::TEXT,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => Type::BYTEA,
        DataType::Date32 | DataType::Date64 => Type::DATE,
        DataType::Time32(_) | DataType::Time64(_) => Type::TIME,
        DataType::Timestamp(_, None) => Type::TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => Type::TIMESTAMPTZ,
        DataType::Interval(_) | DataType::Duration(_) => Type::INTERVAL,
        DataType::Dictionary(_, value) => pg_type(value)?,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => {
            let item = pg_type(item.data_type())?;
            array_of(&item).unwrap_or(Type::JSON)
        }
        DataType::Struct(fields) => {
            fields.iter().try_for_each(|field| pg_type(field.data_type()).map(drop))?;
            Type::JSON
        }
        DataType::Map(entries, _) => {
            pg_type(entries.data_type())?;
            Type::JSON
        }
        DataType::Union(..) | DataType::RunEndEncoded(..) => return None,
    })
}

/// The array type of an element type. What is itself a list, a struct or a map has none: lists in PostgreSQL's
/// arrays would have to be of one length.
fn array_of(item: &Type) -> Option<Type> {
    let arrays = [
        (Type::BOOL, Type::BOOL_ARRAY),
        (Type::INT2, Type::INT2_ARRAY),
        (Type::INT4, Type::INT4_ARRAY),
        (Type::INT8, Type::INT8_ARRAY),
        (Type::FLOAT4, Type::FLOAT4_ARRAY),
        (Type::FLOAT8, Type::FLOAT8_ARRAY),
        (Type::NUMERIC, Type::NUMERIC_ARRAY),
        (Type::TEXT, Type::TEXT_ARRAY),
        (Type::BYTEA, Type::BYTEA_ARRAY),
        (Type::DATE, Type::DATE_ARRAY),
        (Type::TIME, Type::TIME_ARRAY),
        (Type::TIMESTAMP, Type::TIMESTAMP_ARRAY),
        (Type::TIMESTAMPTZ, Type::TIMESTAMPTZ_ARRAY),
        (Type::INTERVAL, Type::INTERVAL_ARRAY),
    ];
    arrays.into_iter().find(|(element, _)| element == item).map(|(_, array)| array)
}

/// `pg_type.typlen`.
fn size(pg: &Type) -> i16 {
    let sizes = [
        (Type::BOOL, 1),
        (Type::CHAR, 1),
        (Type::INT2, 2),
        (Type::INT4, 4),
        (Type::OID, 4),
        (Type::INT8, 8),
        (Type::FLOAT4, 4),
        (Type::FLOAT8, 8),
        (Type::DATE, 4),
        (Type::TIME, 8),
        (Type::TIMESTAMP, 8),
        (Type::TIMESTAMPTZ, 8),
        (Type::INTERVAL, 16),
    ];
    sizes.into_iter().find(|(fixed, _)| fixed == pg).map_or(-1, |(_, size)| size)
}

/// `pg_attribute.atttypmod` of a decimal: precision and scale, plus four.
fn modifier(data_type: &DataType) -> i32 {
    match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => match u16::try_from(*scale) {
            Ok(scale) => ((i32::from(*precision) << 16) | i32::from(scale)) + 4,
            Err(_) => -1,
        },
        DataType::Null
        | DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Float16
        | DataType::Float32
        | DataType::Float64
        | DataType::Timestamp(..)
        | DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Duration(_)
        | DataType::Interval(_)
        | DataType::Binary
        | DataType::FixedSizeBinary(_)
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::List(_)
        | DataType::ListView(_)
        | DataType::FixedSizeList(..)
        | DataType::LargeList(_)
        | DataType::LargeListView(_)
        | DataType::Struct(_)
        | DataType::Union(..)
        | DataType::Dictionary(..)
        | DataType::Map(..)
        | DataType::RunEndEncoded(..) => -1,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{TimeUnit, UnionFields, UnionMode};

    use super::*;

    fn list(item: DataType) -> DataType {
        DataType::List(Arc::new(Field::new("item", item, true)))
    }

    #[test]
    fn types_have_their_postgres_names() {
        let cases = [
            (DataType::UInt8, "int2"),
            (DataType::UInt16, "int4"),
            (DataType::UInt32, "int8"),
            (DataType::UInt64, "numeric"),
            (DataType::Utf8View, "text"),
            (DataType::Null, "text"),
            (DataType::Decimal128(12, 2), "numeric"),
            (DataType::Timestamp(TimeUnit::Nanosecond, None), "timestamp"),
            (DataType::Timestamp(TimeUnit::Second, Some("UTC".into())), "timestamptz"),
            (DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)), "text"),
            (list(DataType::Int64), "_int8"),
            (list(list(DataType::Int64)), "json"),
            (DataType::Struct(vec![Field::new("a", DataType::Int8, true)].into()), "json"),
        ];
        for (arrow, pg) in cases {
            assert_eq!(pg_type(&arrow).unwrap().name(), pg, "{arrow}");
        }
    }

    #[test]
    fn an_unknown_type_is_refused_by_name_wherever_it_hides() {
        let union = DataType::Union(UnionFields::empty(), UnionMode::Sparse);
        for hidden in [union.clone(), list(union.clone()), DataType::Struct(vec![Field::new("a", union, true)].into())]
        {
            let refusal = columns(&Schema::new(vec![Field::new("odd", hidden, true)])).unwrap_err();
            assert!(refusal.outside().text().starts_with("column `odd` is of a type that cannot be sent"));
        }
    }

    #[test]
    fn a_numeric_tells_precision_and_scale() {
        let schema = Schema::new(vec![
            Field::new("price", DataType::Decimal128(15, 2), true),
            Field::new("id", DataType::Int64, false),
        ]);
        let described = row_description(&columns(&schema).unwrap(), &[Format::Binary]);
        let facts: Vec<_> =
            described.fields.iter().map(|f| (f.type_id, f.type_size, f.type_modifier, f.format_code)).collect();
        assert_eq!(facts, [(1700, -1, (15 << 16) + 2 + 4, 1), (20, 8, -1, 1)]);
    }
}
