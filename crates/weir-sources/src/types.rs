//! Which column types there are, in Arrow's words and in Weir's.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType as Arrow, Field as ArrowField, Fields, TimeUnit};
use weir_model::{DataType, Field};

/// Weir's type of an Arrow type; `None` for one that is not supported.
pub fn model_type(arrow: &Arrow) -> Option<DataType> {
    Some(match arrow {
        Arrow::Boolean => DataType::Boolean,
        Arrow::Int8 => DataType::Int8,
        Arrow::Int16 => DataType::Int16,
        Arrow::Int32 => DataType::Int32,
        Arrow::Int64 => DataType::Int64,
        Arrow::UInt8 => DataType::UInt8,
        Arrow::UInt16 => DataType::UInt16,
        Arrow::UInt32 => DataType::UInt32,
        Arrow::UInt64 => DataType::UInt64,
        Arrow::Float32 => DataType::Float32,
        Arrow::Float64 => DataType::Float64,
        Arrow::Decimal32(precision, scale)
        | Arrow::Decimal64(precision, scale)
        | Arrow::Decimal128(precision, scale)
        | Arrow::Decimal256(precision, scale) => DataType::Decimal { precision: *precision, scale: *scale },
        Arrow::Utf8 | Arrow::LargeUtf8 | Arrow::Utf8View => DataType::Text,
        Arrow::Binary | Arrow::LargeBinary | Arrow::BinaryView | Arrow::FixedSizeBinary(_) => DataType::Binary,
        Arrow::Date32 | Arrow::Date64 => DataType::Date,
        Arrow::Time32(_) | Arrow::Time64(_) => DataType::Time,
        Arrow::Timestamp(_, zone) => DataType::Timestamp { zoned: zone.is_some() },
        Arrow::List(item) | Arrow::LargeList(item) | Arrow::FixedSizeList(item, _) => {
            DataType::List(Box::new(model_type(item.data_type())?))
        }
        Arrow::Struct(fields) => DataType::Struct(
            fields
                .iter()
                .map(|f| Some(Field { name: f.name().clone(), data_type: model_type(f.data_type())? }))
                .collect::<Option<_>>()?,
        ),
        Arrow::Map(entries, _) => {
            let Arrow::Struct(pair) = entries.data_type() else { return None };
            let [key, value] = pair.as_ref() else { return None };
            DataType::Map {
                key: Box::new(model_type(key.data_type())?),
                value: Box::new(model_type(value.data_type())?),
            }
        }
        Arrow::Dictionary(_, value) => model_type(value)?,
        Arrow::Null
        | Arrow::Float16
        | Arrow::Duration(_)
        | Arrow::Interval(_)
        | Arrow::ListView(_)
        | Arrow::LargeListView(_)
        | Arrow::Union(_, _)
        | Arrow::RunEndEncoded(_, _) => return None,
    })
}

/// The Arrow type that a column of text files is read as.
pub fn arrow_type(data_type: &DataType) -> Arrow {
    match data_type {
        DataType::Boolean => Arrow::Boolean,
        DataType::Int8 => Arrow::Int8,
        DataType::Int16 => Arrow::Int16,
        DataType::Int32 => Arrow::Int32,
        DataType::Int64 => Arrow::Int64,
        DataType::UInt8 => Arrow::UInt8,
        DataType::UInt16 => Arrow::UInt16,
        DataType::UInt32 => Arrow::UInt32,
        DataType::UInt64 => Arrow::UInt64,
        DataType::Float32 => Arrow::Float32,
        DataType::Float64 => Arrow::Float64,
        DataType::Decimal { precision, scale } if *precision <= 38 => Arrow::Decimal128(*precision, *scale),
        DataType::Decimal { precision, scale } => Arrow::Decimal256(*precision, *scale),
        DataType::Text => Arrow::Utf8,
        DataType::Binary => Arrow::Binary,
        DataType::Date => Arrow::Date32,
        DataType::Time => Arrow::Time64(TimeUnit::Microsecond),
        DataType::Timestamp { zoned } => Arrow::Timestamp(TimeUnit::Microsecond, zoned.then(|| "+00:00".into())),
        DataType::List(item) => Arrow::List(Arc::new(ArrowField::new_list_field(arrow_type(item), true))),
        DataType::Struct(fields) => Arrow::Struct(
            fields.iter().map(|f| ArrowField::new(&f.name, arrow_type(&f.data_type), true)).collect::<Fields>(),
        ),
        DataType::Map { key, value } => {
            let pair = Fields::from(vec![
                ArrowField::new("keys", arrow_type(key), false),
                ArrowField::new("values", arrow_type(value), true),
            ]);
            Arrow::Map(Arc::new(ArrowField::new("entries", Arrow::Struct(pair), false)), false)
        }
    }
}
