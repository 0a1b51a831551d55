//! The key of each row of a batch, as the bytes that keyed masks and samples are made from.
#![expect(clippy::wildcard_enum_match_arm, reason = "a closed list of types: every other one is refused")]

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType, UInt64Type,
};
use datafusion::arrow::error::ArrowError;
use weir_mask::RowKey;

/// The key columns in the one layout of their class, so that how a file stores a value does not change its row's key.
pub(crate) struct RowKeys(Vec<KeyColumn>);

enum KeyColumn {
    Boolean(BooleanArray),
    Int(PrimitiveArray<Int64Type>),
    UInt(PrimitiveArray<UInt64Type>),
    Float(PrimitiveArray<Float64Type>),
    Decimal(PrimitiveArray<Decimal128Type>),
    Days(PrimitiveArray<Date32Type>),
    Microseconds(PrimitiveArray<TimestampMicrosecondType>),
    Text(ArrayRef),
    Bytes(ArrayRef),
}

impl RowKeys {
    pub(crate) fn new(columns: &[ArrayRef]) -> Result<Self, ArrowError> {
        columns.iter().map(KeyColumn::new).collect::<Result<_, _>>().map(Self)
    }

    /// Appends the key of the row.
    pub(crate) fn write(&self, row: usize, into: &mut RowKey) {
        self.0.iter().for_each(|column| column.write(row, into));
    }
}

impl KeyColumn {
    fn new(column: &ArrayRef) -> Result<Self, ArrowError> {
        let as_type = |data_type: &DataType| cast(column, data_type);
        Ok(match column.data_type() {
            DataType::Boolean => Self::Boolean(column.as_boolean().clone()),
            DataType::UInt64 => Self::UInt(column.as_primitive().clone()),
            whole if whole.is_integer() => Self::Int(as_type(&DataType::Int64)?.as_primitive().clone()),
            float if float.is_floating() => Self::Float(as_type(&DataType::Float64)?.as_primitive().clone()),
            DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) | DataType::Decimal128(_, scale) => {
                Self::Decimal(as_type(&DataType::Decimal128(38, *scale))?.as_primitive().clone())
            }
            DataType::Date32 | DataType::Date64 => Self::Days(as_type(&DataType::Date32)?.as_primitive().clone()),
            DataType::Timestamp(_, zone) => {
                let wanted = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
                Self::Microseconds(as_type(&wanted)?.as_primitive().clone())
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) => {
                Self::Text(as_type(&DataType::LargeUtf8)?)
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
                Self::Bytes(as_type(&DataType::LargeBinary)?)
            }
            other => return Err(ArrowError::InvalidArgumentError(format!("a row key of type {other}"))),
        })
    }

    fn write(&self, row: usize, into: &mut RowKey) {
        let is_null = match self {
            Self::Boolean(values) => values.is_null(row),
            Self::Int(values) => values.is_null(row),
            Self::UInt(values) => values.is_null(row),
            Self::Float(values) => values.is_null(row),
            Self::Decimal(values) => values.is_null(row),
            Self::Days(values) => values.is_null(row),
            Self::Microseconds(values) => values.is_null(row),
            Self::Text(values) | Self::Bytes(values) => values.is_null(row),
        };
        if is_null {
            into.null();
            return;
        }
        match self {
            Self::Boolean(values) => into.boolean(values.value(row)),
            Self::Int(values) => into.int(values.value(row)),
            Self::UInt(values) => into.int(values.value(row)),
            Self::Float(values) => into.float(values.value(row)),
            Self::Decimal(values) => into.int(values.value(row)),
            Self::Days(values) => into.int(values.value(row)),
            Self::Microseconds(values) => into.int(values.value(row)),
            Self::Text(values) => into.text(values.as_string::<i64>().value(row)),
            Self::Bytes(values) => into.bytes(values.as_binary::<i64>().value(row)),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Int32Array, StringArray, StringViewArray};

    use super::*;

    fn key(columns: &[ArrayRef], row: usize) -> Vec<u8> {
        let mut key = RowKey::new();
        RowKeys::new(columns).unwrap().write(row, &mut key);
        key.as_bytes().to_vec()
    }

    #[test]
    fn the_layout_of_a_value_does_not_matter() {
        let plain: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
        let views: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a"), None]));
        let narrow: ArrayRef = Arc::new(Int32Array::from(vec![7, 8]));
        let wide = cast(&narrow, &DataType::Int64).unwrap();
        for row in 0..2 {
            assert_eq!(
                key(&[Arc::clone(&plain), Arc::clone(&narrow)], row),
                key(&[Arc::clone(&views), Arc::clone(&wide)], row)
            );
        }
        assert_ne!(key(std::slice::from_ref(&plain), 0), key(&[plain], 1));
    }
}
