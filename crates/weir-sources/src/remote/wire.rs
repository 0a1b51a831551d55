//! How PostgreSQL's types are sent, and what becomes of them. Only what is listed is read.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Decimal256Builder,
    Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder, ListBuilder, StringBuilder,
    Time64MicrosecondBuilder, TimestampMicrosecondBuilder, UInt64Builder,
};
use datafusion::arrow::datatypes::{DataType as Arrow, Field, TimeUnit, i256};
use tokio_postgres::types::Type;

use super::numeric;
use super::sql::{EPOCH_DAYS, EPOCH_MICROS};

/// A type as it is sent in binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Text,
    Bytea,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    List(Scalar),
}

/// Types of which there are lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Text,
}

impl Wire {
    /// The type of a statement's column that is sent so.
    pub(crate) fn sql_type(self) -> Type {
        match self {
            Wire::Bool => Type::BOOL,
            Wire::Int2 => Type::INT2,
            Wire::Int4 => Type::INT4,
            Wire::Int8 => Type::INT8,
            Wire::Float4 => Type::FLOAT4,
            Wire::Float8 => Type::FLOAT8,
            Wire::Numeric => Type::NUMERIC,
            Wire::Text => Type::TEXT,
            Wire::Bytea => Type::BYTEA,
            Wire::Date => Type::DATE,
            Wire::Time => Type::TIME,
            Wire::Timestamp => Type::TIMESTAMP,
            Wire::Timestamptz => Type::TIMESTAMPTZ,
            Wire::List(Scalar::Bool) => Type::BOOL_ARRAY,
            Wire::List(Scalar::Int2) => Type::INT2_ARRAY,
            Wire::List(Scalar::Int4) => Type::INT4_ARRAY,
            Wire::List(Scalar::Int8) => Type::INT8_ARRAY,
            Wire::List(Scalar::Float4) => Type::FLOAT4_ARRAY,
            Wire::List(Scalar::Float8) => Type::FLOAT8_ARRAY,
            Wire::List(Scalar::Text) => Type::TEXT_ARRAY,
        }
    }
}

impl Scalar {
    fn wire(self) -> Wire {
        match self {
            Scalar::Bool => Wire::Bool,
            Scalar::Int2 => Wire::Int2,
            Scalar::Int4 => Wire::Int4,
            Scalar::Int8 => Wire::Int8,
            Scalar::Float4 => Wire::Float4,
            Scalar::Float8 => Wire::Float8,
            Scalar::Text => Wire::Text,
        }
    }
}

/// Why a value cannot be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// The type that the source was registered with has no such value.
    OutOfType,
    /// Not what was announced.
    Malformed,
}

/// Gathers the values of one column.
pub(crate) enum Column {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    /// A count.
    Count(UInt64Builder),
    /// A sum of whole numbers, which wraps as the engine's does.
    Sum(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Decimal128(Decimal128Builder, i8),
    Decimal256(Decimal256Builder, i8),
    Text(StringBuilder),
    Bytea(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    List(ListBuilder<Box<dyn ArrayBuilder>>, Scalar),
}

impl Column {
    /// `None` when what is sent so does not become that.
    pub(crate) fn new(wire: Wire, arrow: &Arrow, rows: usize) -> Option<Self> {
        Some(match (wire, arrow) {
            (Wire::Bool, Arrow::Boolean) => Self::Bool(BooleanBuilder::with_capacity(rows)),
            (Wire::Int2, Arrow::Int16) => Self::Int2(Int16Builder::with_capacity(rows)),
            (Wire::Int4, Arrow::Int32) => Self::Int4(Int32Builder::with_capacity(rows)),
            (Wire::Int8, Arrow::Int64) => Self::Int8(Int64Builder::with_capacity(rows)),
            (Wire::Int8, Arrow::UInt64) => Self::Count(UInt64Builder::with_capacity(rows)),
            (Wire::Numeric, Arrow::Int64) => Self::Sum(Int64Builder::with_capacity(rows)),
            (Wire::Float4, Arrow::Float32) => Self::Float4(Float32Builder::with_capacity(rows)),
            (Wire::Float8, Arrow::Float64) => Self::Float8(Float64Builder::with_capacity(rows)),
            (Wire::Numeric, Arrow::Decimal128(_, scale)) => {
                Self::Decimal128(Decimal128Builder::with_capacity(rows).with_data_type(arrow.clone()), *scale)
            }
            (Wire::Numeric, Arrow::Decimal256(_, scale)) => {
                Self::Decimal256(Decimal256Builder::with_capacity(rows).with_data_type(arrow.clone()), *scale)
            }
            (Wire::Text, Arrow::Utf8) => Self::Text(StringBuilder::with_capacity(rows, rows * 8)),
            (Wire::Bytea, Arrow::Binary) => Self::Bytea(BinaryBuilder::with_capacity(rows, rows * 8)),
            (Wire::Date, Arrow::Date32) => Self::Date(Date32Builder::with_capacity(rows)),
            (Wire::Time, Arrow::Time64(TimeUnit::Microsecond)) => {
                Self::Time(Time64MicrosecondBuilder::with_capacity(rows))
            }
            (Wire::Timestamp, Arrow::Timestamp(TimeUnit::Microsecond, None))
            | (Wire::Timestamptz, Arrow::Timestamp(TimeUnit::Microsecond, Some(_))) => {
                Self::Timestamp(TimestampMicrosecondBuilder::with_capacity(rows).with_data_type(arrow.clone()))
            }
            (Wire::List(scalar), Arrow::List(item)) => Self::List(list_of(item, scalar)?, scalar),
            _ => return None,
        })
    }

    /// Adds a value, or NULL. Nothing is added when the value cannot be read.
    pub(crate) fn add(&mut self, value: Option<&[u8]>) -> Result<(), Unread> {
        let Some(bytes) = value else {
            self.add_null();
            return Ok(());
        };
        match self {
            Self::Bool(to) => to.append_value(fixed::<1>(bytes)? != [0]),
            Self::Int2(to) => to.append_value(i16::from_be_bytes(fixed(bytes)?)),
            Self::Int4(to) => to.append_value(i32::from_be_bytes(fixed(bytes)?)),
            Self::Int8(to) => to.append_value(i64::from_be_bytes(fixed(bytes)?)),
            Self::Count(to) => {
                to.append_value(u64::try_from(i64::from_be_bytes(fixed(bytes)?)).map_err(|_| Unread::Malformed)?);
            }
            Self::Sum(to) => {
                let sum = numeric::read(bytes, 0).and_then(i256::to_i128).ok_or(Unread::OutOfType)?;
                #[expect(clippy::cast_possible_truncation, reason = "the engine's sums wrap")]
                to.append_value(sum as i64);
            }
            Self::Float4(to) => to.append_value(f32::from_be_bytes(fixed(bytes)?)),
            Self::Float8(to) => to.append_value(f64::from_be_bytes(fixed(bytes)?)),
            Self::Decimal128(to, scale) => {
                let units = numeric::read(bytes, *scale).and_then(i256::to_i128);
                to.append_value(units.ok_or(Unread::OutOfType)?);
            }
            Self::Decimal256(to, scale) => {
                to.append_value(numeric::read(bytes, *scale).ok_or(Unread::OutOfType)?);
            }
            Self::Text(to) => to.append_value(std::str::from_utf8(bytes).map_err(|_| Unread::OutOfType)?),
            Self::Bytea(to) => to.append_value(bytes),
            Self::Date(to) => {
                // The extremes are the infinities.
                let days = i32::from_be_bytes(fixed(bytes)?);
                let days = days.checked_add(EPOCH_DAYS).filter(|_| days != i32::MIN);
                to.append_value(days.ok_or(Unread::OutOfType)?);
            }
            Self::Time(to) => {
                let micros = i64::from_be_bytes(fixed(bytes)?);
                // `24:00` is a time of PostgreSQL only.
                if micros >= 86_400_000_000 {
                    return Err(Unread::OutOfType);
                }
                to.append_value(micros);
            }
            Self::Timestamp(to) => {
                let micros = i64::from_be_bytes(fixed(bytes)?);
                let micros = micros.checked_add(EPOCH_MICROS).filter(|_| micros != i64::MIN);
                to.append_value(micros.ok_or(Unread::OutOfType)?);
            }
            Self::List(to, scalar) => add_list(to, *scalar, bytes)?,
        }
        Ok(())
    }

    pub(crate) fn add_null(&mut self) {
        match self {
            Self::Bool(to) => to.append_null(),
            Self::Int2(to) => to.append_null(),
            Self::Int4(to) => to.append_null(),
            Self::Int8(to) | Self::Sum(to) => to.append_null(),
            Self::Count(to) => to.append_null(),
            Self::Float4(to) => to.append_null(),
            Self::Float8(to) => to.append_null(),
            Self::Decimal128(to, _) => to.append_null(),
            Self::Decimal256(to, _) => to.append_null(),
            Self::Text(to) => to.append_null(),
            Self::Bytea(to) => to.append_null(),
            Self::Date(to) => to.append_null(),
            Self::Time(to) => to.append_null(),
            Self::Timestamp(to) => to.append_null(),
            Self::List(to, _) => to.append_null(),
        }
    }

    /// What was gathered; the column is empty afterwards.
    pub(crate) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Bool(of) => Arc::new(of.finish()),
            Self::Int2(of) => Arc::new(of.finish()),
            Self::Int4(of) => Arc::new(of.finish()),
            Self::Int8(of) | Self::Sum(of) => Arc::new(of.finish()),
            Self::Count(of) => Arc::new(of.finish()),
            Self::Float4(of) => Arc::new(of.finish()),
            Self::Float8(of) => Arc::new(of.finish()),
            Self::Decimal128(of, _) => Arc::new(of.finish()),
            Self::Decimal256(of, _) => Arc::new(of.finish()),
            Self::Text(of) => Arc::new(of.finish()),
            Self::Bytea(of) => Arc::new(of.finish()),
            Self::Date(of) => Arc::new(of.finish()),
            Self::Time(of) => Arc::new(of.finish()),
            Self::Timestamp(of) => Arc::new(of.finish()),
            Self::List(of, _) => Arc::new(of.finish()),
        }
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Unread> {
    bytes.try_into().map_err(|_| Unread::Malformed)
}

fn list_of(item: &Arc<Field>, scalar: Scalar) -> Option<ListBuilder<Box<dyn ArrayBuilder>>> {
    let values: Box<dyn ArrayBuilder> = match scalar {
        Scalar::Bool => Box::new(BooleanBuilder::new()),
        Scalar::Int2 => Box::new(Int16Builder::new()),
        Scalar::Int4 => Box::new(Int32Builder::new()),
        Scalar::Int8 => Box::new(Int64Builder::new()),
        Scalar::Float4 => Box::new(Float32Builder::new()),
        Scalar::Float8 => Box::new(Float64Builder::new()),
        Scalar::Text => Box::new(StringBuilder::new()),
    };
    // The same as for a column of its own.
    Column::new(scalar.wire(), item.data_type(), 0)?;
    Some(ListBuilder::new(values).with_field(Arc::clone(item)))
}

/// Dimensions, whether there are NULLs, the type of the elements; of each dimension length and first index; then each
/// element behind its length.
fn add_list(to: &mut ListBuilder<Box<dyn ArrayBuilder>>, scalar: Scalar, bytes: &[u8]) -> Result<(), Unread> {
    let mut rest = bytes;
    let mut number = || {
        let (number, after) = rest.split_first_chunk::<4>().ok_or(Unread::Malformed)?;
        rest = after;
        Ok(i32::from_be_bytes(*number))
    };
    let (dimensions, _nulls, _type) = (number()?, number()?, number()?);
    let count = match dimensions {
        0 => 0,
        1 => {
            let count = number()?;
            number()?;
            count
        }
        // A table of values is no list.
        _ => return Err(Unread::OutOfType),
    };
    let mut elements = Vec::new();
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk::<4>().ok_or(Unread::Malformed)?;
        rest = after;
        elements.push(match usize::try_from(i32::from_be_bytes(*length)) {
            Ok(length) => {
                let (element, after) = rest.split_at_checked(length).ok_or(Unread::Malformed)?;
                rest = after;
                Some(element)
            }
            Err(_) => None,
        });
    }
    let values = to.values().as_any_mut();
    macro_rules! add {
        ($builder:ty, $read:expr) => {{
            let values = values.downcast_mut::<$builder>().ok_or(Unread::Malformed)?;
            let read: Vec<_> = elements.into_iter().map(|e| e.map($read).transpose()).collect::<Result<_, _>>()?;
            read.into_iter().for_each(|value| values.append_option(value));
        }};
    }
    match scalar {
        Scalar::Bool => add!(BooleanBuilder, |b| fixed::<1>(b).map(|b| b != [0])),
        Scalar::Int2 => add!(Int16Builder, |b| fixed(b).map(i16::from_be_bytes)),
        Scalar::Int4 => add!(Int32Builder, |b| fixed(b).map(i32::from_be_bytes)),
        Scalar::Int8 => add!(Int64Builder, |b| fixed(b).map(i64::from_be_bytes)),
        Scalar::Float4 => add!(Float32Builder, |b| fixed(b).map(f32::from_be_bytes)),
        Scalar::Float8 => add!(Float64Builder, |b| fixed(b).map(f64::from_be_bytes)),
        Scalar::Text => add!(StringBuilder, |b| std::str::from_utf8(b).map_err(|_| Unread::OutOfType)),
    }
    to.append(true);
    Ok(())
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Array, AsArray};
    use datafusion::arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn infinities_are_no_values() {
        let mut dates = Column::new(Wire::Date, &Arrow::Date32, 1).unwrap();
        assert_eq!(dates.add(Some(&i32::MAX.to_be_bytes())), Err(Unread::OutOfType));
        assert_eq!(dates.add(Some(&i32::MIN.to_be_bytes())), Err(Unread::OutOfType));
        assert_eq!(dates.add(Some(&0_i32.to_be_bytes())), Ok(()));
        assert_eq!(dates.add(Some(&[0])), Err(Unread::Malformed));
        let at = Arrow::Timestamp(TimeUnit::Microsecond, None);
        let mut times = Column::new(Wire::Timestamp, &at, 1).unwrap();
        assert_eq!(times.add(Some(&i64::MAX.to_be_bytes())), Err(Unread::OutOfType));
        assert_eq!(times.add(Some(&i64::MIN.to_be_bytes())), Err(Unread::OutOfType));
        assert_eq!((dates.finish().len(), times.finish().len()), (1, 0));
    }

    #[test]
    fn lists_have_one_dimension() {
        let item = Arrow::List(Arc::new(Field::new_list_field(Arrow::Int32, true)));
        let mut lists = Column::new(Wire::List(Scalar::Int4), &item, 1).unwrap();
        let word = |n: i32| n.to_be_bytes();
        let list = [word(1), word(1), word(23), word(2), word(1), word(4), word(7), word(-1)].concat();
        lists.add(Some(&list)).unwrap();
        lists.add(None).unwrap();
        lists.add(Some(&[word(0), word(0), word(23)].concat())).unwrap();
        assert_eq!(lists.add(Some(&[word(2), word(0), word(23)].concat())), Err(Unread::OutOfType));
        assert_eq!(lists.add(Some(&[word(1), word(0), word(23), word(9), word(1)].concat())), Err(Unread::Malformed));
        let lists = lists.finish();
        let lists = lists.as_list::<i32>();
        assert_eq!(lists.value(0).as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), [Some(7), None]);
        assert_eq!((lists.len(), lists.is_null(1), lists.value(2).len()), (3, true, 0));
    }
}
