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
        Ok(Self { name: field.name().replace('\0', "\u{fffd}"), pg, modifier: weir_query::pg_modifier(data_type) })
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
    Type::from_oid(weir_query::pg_type(data_type)?.oid)
}

/// `pg_type.typlen`
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
