//! How PostgreSQL's types are sent, and what becomes of them. Only what is listed is read.
#![expect(clippy::wildcard_enum_match_arm, reason = "allow-lists: whatever is not named is refused")]

use datafusion::arrow::array::{
    ArrayBuilder, BooleanBuilder, Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder,
    ListBuilder, StringBuilder,
};
use datafusion::arrow::datatypes::{DataType as Arrow, TimeUnit, i256};
use tokio_postgres::types::Type;

use super::super::gather::{Column, Unread};
use super::{EPOCH_DAYS, EPOCH_MICROS, numeric};

/// The type of a statement's column that becomes one of this.
pub(super) fn sql_type(arrow: &Arrow, sum: bool) -> Option<Type> {
    Some(match arrow {
        _ if sum => Type::NUMERIC,
        Arrow::Boolean => Type::BOOL,
        Arrow::Int16 => Type::INT2,
        Arrow::Int32 => Type::INT4,
        // Or a count.
        Arrow::Int64 | Arrow::UInt64 => Type::INT8,
        Arrow::Float32 => Type::FLOAT4,
        Arrow::Float64 => Type::FLOAT8,
        Arrow::Decimal128(..) | Arrow::Decimal256(..) => Type::NUMERIC,
        Arrow::Utf8 => Type::TEXT,
        Arrow::Binary => Type::BYTEA,
        Arrow::Date32 => Type::DATE,
        Arrow::Time64(TimeUnit::Microsecond) => Type::TIME,
        Arrow::Timestamp(TimeUnit::Microsecond, None) => Type::TIMESTAMP,
        Arrow::Timestamp(TimeUnit::Microsecond, Some(_)) => Type::TIMESTAMPTZ,
        Arrow::List(item) => match item.data_type() {
            Arrow::Boolean => Type::BOOL_ARRAY,
            Arrow::Int16 => Type::INT2_ARRAY,
            Arrow::Int32 => Type::INT4_ARRAY,
            Arrow::Int64 => Type::INT8_ARRAY,
            Arrow::Float32 => Type::FLOAT4_ARRAY,
            Arrow::Float64 => Type::FLOAT8_ARRAY,
            Arrow::Utf8 => Type::TEXT_ARRAY,
            _ => return None,
        },
        _ => return None,
    })
}

/// Adds a value; nothing when it cannot be read.
pub(super) fn add(column: &mut Column, bytes: &[u8]) -> Result<(), Unread> {
    match column {
        Column::Boolean(to) => to.append_value(fixed::<1>(bytes)? != [0]),
        Column::Int16(to) => to.append_value(i16::from_be_bytes(fixed(bytes)?)),
        Column::Int32(to) => to.append_value(i32::from_be_bytes(fixed(bytes)?)),
        Column::Int64(to) => to.append_value(i64::from_be_bytes(fixed(bytes)?)),
        // A count.
        Column::UInt64(to) => {
            to.append_value(u64::try_from(i64::from_be_bytes(fixed(bytes)?)).map_err(|_| Unread::Malformed)?);
        }
        Column::Sum(to) => {
            let sum = numeric::read(bytes, 0).and_then(i256::to_i128).ok_or(Unread::OutOfType)?;
            #[expect(clippy::cast_possible_truncation, reason = "the engine's sums wrap")]
            to.append_value(sum as i64);
        }
        Column::Float32(to) => to.append_value(f32::from_be_bytes(fixed(bytes)?)),
        Column::Float64(to) => to.append_value(f64::from_be_bytes(fixed(bytes)?)),
        Column::Decimal128(to, _, scale) => {
            let units = numeric::read(bytes, *scale).and_then(i256::to_i128);
            to.append_value(units.ok_or(Unread::OutOfType)?);
        }
        Column::Decimal256(to, _, scale) => {
            to.append_value(numeric::read(bytes, *scale).ok_or(Unread::OutOfType)?);
        }
        Column::Text(to) => to.append_value(std::str::from_utf8(bytes).map_err(|_| Unread::OutOfType)?),
        Column::Binary(to) => to.append_value(bytes),
        Column::Date(to) => {
            // The extremes are the infinities.
            let days = i32::from_be_bytes(fixed(bytes)?);
            let days = days.checked_add(EPOCH_DAYS).filter(|_| days != i32::MIN);
            to.append_value(days.ok_or(Unread::OutOfType)?);
        }
        Column::Time(to) => {
            let micros = i64::from_be_bytes(fixed(bytes)?);
            // `24:00` is a time of PostgreSQL only.
            if micros >= 86_400_000_000 {
                return Err(Unread::OutOfType);
            }
            to.append_value(micros);
        }
        Column::Timestamp(to) => {
            let micros = i64::from_be_bytes(fixed(bytes)?);
            let micros = micros.checked_add(EPOCH_MICROS).filter(|_| micros != i64::MIN);
            to.append_value(micros.ok_or(Unread::OutOfType)?);
        }
        Column::List(to) => add_list(to, bytes)?,
        Column::Int8(_) | Column::UInt8(_) | Column::UInt16(_) | Column::UInt32(_) => return Err(Unread::Malformed),
    }
    Ok(())
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Unread> {
    bytes.try_into().map_err(|_| Unread::Malformed)
}

/// Dimensions, whether there are NULLs, the type of the elements; of each dimension length and first index; then each
/// element behind its length.
fn add_list(to: &mut ListBuilder<Box<dyn ArrayBuilder>>, bytes: &[u8]) -> Result<(), Unread> {
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
    macro_rules! add_as {
        ($builder:ty, $read:expr) => {
            if let Some(values) = values.downcast_mut::<$builder>() {
                let read: Vec<_> = elements.into_iter().map(|e| e.map($read).transpose()).collect::<Result<_, _>>()?;
                read.into_iter().for_each(|value| values.append_option(value));
                to.append(true);
                return Ok(());
            }
        };
    }
    add_as!(BooleanBuilder, |b| fixed::<1>(b).map(|b| b != [0]));
    add_as!(Int16Builder, |b| fixed(b).map(i16::from_be_bytes));
    add_as!(Int32Builder, |b| fixed(b).map(i32::from_be_bytes));
    add_as!(Int64Builder, |b| fixed(b).map(i64::from_be_bytes));
    add_as!(Float32Builder, |b| fixed(b).map(f32::from_be_bytes));
    add_as!(Float64Builder, |b| fixed(b).map(f64::from_be_bytes));
    add_as!(StringBuilder, |b| std::str::from_utf8(b).map_err(|_| Unread::OutOfType));
    Err(Unread::Malformed)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Array, AsArray};
    use datafusion::arrow::datatypes::{Field, Int32Type};

    use super::*;

    #[test]
    fn infinities_are_no_values() {
        let mut dates = Column::new(&Arrow::Date32, false, 1).unwrap();
        assert_eq!(add(&mut dates, &i32::MAX.to_be_bytes()), Err(Unread::OutOfType));
        assert_eq!(add(&mut dates, &i32::MIN.to_be_bytes()), Err(Unread::OutOfType));
        assert_eq!(add(&mut dates, &0_i32.to_be_bytes()), Ok(()));
        assert_eq!(add(&mut dates, &[0]), Err(Unread::Malformed));
        let at = Arrow::Timestamp(TimeUnit::Microsecond, None);
        let mut times = Column::new(&at, false, 1).unwrap();
        assert_eq!(add(&mut times, &i64::MAX.to_be_bytes()), Err(Unread::OutOfType));
        assert_eq!(add(&mut times, &i64::MIN.to_be_bytes()), Err(Unread::OutOfType));
        assert_eq!((dates.finish().len(), times.finish().len()), (1, 0));
    }

    #[test]
    fn lists_have_one_dimension() {
        let item = Arrow::List(Arc::new(Field::new_list_field(Arrow::Int32, true)));
        let mut lists = Column::new(&item, false, 1).unwrap();
        let word = |n: i32| n.to_be_bytes();
        let list = [word(1), word(1), word(23), word(2), word(1), word(4), word(7), word(-1)].concat();
        add(&mut lists, &list).unwrap();
        lists.add_null();
        add(&mut lists, &[word(0), word(0), word(23)].concat()).unwrap();
        assert_eq!(add(&mut lists, &[word(2), word(0), word(23)].concat()), Err(Unread::OutOfType));
        assert_eq!(add(&mut lists, &[word(1), word(0), word(23), word(9), word(1)].concat()), Err(Unread::Malformed));
        let lists = lists.finish();
        let lists = lists.as_list::<i32>();
        assert_eq!(lists.value(0).as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), [Some(7), None]);
        assert_eq!((lists.len(), lists.is_null(1), lists.value(2).len()), (3, true, 0));
    }
}
