//! Rounding numbers down to a multiple of a bucket, counted from zero. A multiple that the type cannot hold is NULL.
#![expect(clippy::wildcard_enum_match_arm, reason = "closed lists of types: every other one is refused")]

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    i256,
};
use datafusion::arrow::error::ArrowError;

/// A bucket in the unit of the column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum NumberRounding {
    /// For integers, and for decimals in units of the last digit.
    Whole(i128),
    Float(f64),
}

impl NumberRounding {
    /// `None` when the bucket is not positive or finer than the type.
    pub(super) fn new(bucket: &str, data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Float32 | DataType::Float64 => {
                let bucket: f64 = bucket.parse().ok()?;
                (bucket > 0.0 && bucket.is_finite()).then_some(Self::Float(bucket))
            }
            DataType::Decimal32(_, scale)
            | DataType::Decimal64(_, scale)
            | DataType::Decimal128(_, scale)
            | DataType::Decimal256(_, scale) => units(bucket, *scale).map(Self::Whole),
            other if other.is_integer() => units(bucket, 0).map(Self::Whole),
            _ => None,
        }
    }

    pub(super) fn apply(&self, values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        let unfit = || ArrowError::InvalidArgumentError(format!("rounding on {}", values.data_type()));
        let bucket = match self {
            Self::Float(bucket) => {
                let bucket = *bucket;
                return match values.data_type() {
                    // In double precision, so that the bucket means the same for both.
                    DataType::Float32 => Ok(unary::<Float32Type>(values, |v| Some(floor(f64::from(v), bucket) as f32))),
                    DataType::Float64 => Ok(unary::<Float64Type>(values, |v| Some(floor(v, bucket)))),
                    _ => Err(unfit()),
                };
            }
            Self::Whole(bucket) => *bucket,
        };
        Ok(match values.data_type() {
            DataType::Int8 => whole::<Int8Type>(values, bucket),
            DataType::Int16 => whole::<Int16Type>(values, bucket),
            DataType::Int32 => whole::<Int32Type>(values, bucket),
            DataType::Int64 => whole::<Int64Type>(values, bucket),
            DataType::UInt8 => whole::<UInt8Type>(values, bucket),
            DataType::UInt16 => whole::<UInt16Type>(values, bucket),
            DataType::UInt32 => whole::<UInt32Type>(values, bucket),
            DataType::UInt64 => whole::<UInt64Type>(values, bucket),
            DataType::Decimal32(precision, _) => decimal::<Decimal32Type>(values, bucket, *precision),
            DataType::Decimal64(precision, _) => decimal::<Decimal64Type>(values, bucket, *precision),
            DataType::Decimal128(precision, _) => decimal128(values, bucket, *precision),
            DataType::Decimal256(precision, scale) => unary::<Decimal256Type>(values, |v| {
                let bucket = i256::from_i128(bucket);
                let rest = v.checked_rem(bucket)?;
                let rest = if rest.is_negative() { rest.checked_add(bucket)? } else { rest };
                let floor = v.checked_sub(rest)?;
                Decimal256Type::validate_decimal_precision(floor, *precision, *scale).ok()?;
                Some(floor)
            }),
            _ => return Err(unfit()),
        })
    }
}

fn floor(value: f64, bucket: f64) -> f64 {
    (value / bucket).floor() * bucket
}

fn floor_whole(value: i128, bucket: i128) -> Option<i128> {
    value.checked_sub(value.checked_rem_euclid(bucket)?)
}

fn whole<T: ArrowPrimitiveType>(values: &ArrayRef, bucket: i128) -> ArrayRef
where
    T::Native: Into<i128> + TryFrom<i128>,
{
    unary::<T>(values, |v| T::Native::try_from(floor_whole(v.into(), bucket)?).ok())
}

fn decimal<T: DecimalType>(values: &ArrayRef, bucket: i128, precision: u8) -> ArrayRef
where
    T::Native: Into<i128> + TryFrom<i128>,
{
    let limit = 10_i128.pow(u32::from(precision));
    unary::<T>(values, |v| {
        let floor = floor_whole(v.into(), bucket)?;
        (floor.unsigned_abs() < limit.unsigned_abs()).then(|| T::Native::try_from(floor).ok())?
    })
}

/// Most values and buckets fit 64 bits, where a division is several times cheaper.
fn decimal128(values: &ArrayRef, bucket: i128, precision: u8) -> ArrayRef {
    let limit = 10_i128.checked_pow(u32::from(precision)).unwrap_or(i128::MAX);
    let narrow_bucket = i64::try_from(bucket).ok();
    unary::<Decimal128Type>(values, |v| {
        let floor = match (i64::try_from(v), narrow_bucket) {
            (Ok(v), Some(bucket)) => i128::from(v) - i128::from(v.rem_euclid(bucket)),
            (Err(_), _) | (_, None) => floor_whole(v, bucket)?,
        };
        (floor.unsigned_abs() < limit.unsigned_abs()).then_some(floor)
    })
}

fn unary<T: ArrowPrimitiveType>(values: &ArrayRef, round: impl Fn(T::Native) -> Option<T::Native>) -> ArrayRef {
    let values: &PrimitiveArray<T> = values.as_primitive();
    // The common case in one pass over the buffer; only an overflow needs the NULL.
    match values.try_unary::<_, T, ()>(|v| round(v).ok_or(())) {
        Ok(rounded) => Arc::new(rounded.with_data_type(values.data_type().clone())),
        Err(()) => {
            let rounded: PrimitiveArray<T> = values.iter().map(|v| v.and_then(&round)).collect();
            Arc::new(rounded.with_data_type(values.data_type().clone()))
        }
    }
}

/// A decimal number as a whole number of `10^-scale`; `None` when it is finer than that or not positive.
fn units(number: &str, scale: i8) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let shift = i32::from(scale) - i32::try_from(fraction.len()).ok()?;
    let units = if shift >= 0 {
        digits.checked_mul(10_i128.checked_pow(shift.unsigned_abs())?)?
    } else {
        let divisor = 10_i128.checked_pow(shift.unsigned_abs())?;
        (digits % divisor == 0).then_some(digits / divisor)?
    };
    (units > 0).then_some(units)
}
