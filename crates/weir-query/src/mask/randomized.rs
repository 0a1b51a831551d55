//! Randomised response: what happens to a value is decided by its row's key.
#![expect(clippy::wildcard_enum_match_arm, reason = "closed lists of types: every other one is refused")]

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use datafusion::arrow::compute::interleave;
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use datafusion::arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use weir_mask::{Randomizer, Replacement, RowKey};
use weir_policy::ast::Randomized;

use super::round::NumberRounding;
use crate::lower::scalar;
use crate::row_key::RowKeys;

#[derive(Clone, Debug)]
pub(super) struct RandomizedMask {
    randomizer: Randomizer,
    how: How,
}

#[derive(Clone, Debug)]
enum How {
    /// One of these values.
    Replaced(Replacement, ArrayRef),
    /// In units of the last digit.
    Whole(u128),
    Float(f64),
    Days(u32),
}

impl RandomizedMask {
    /// `None` when it does not fit the type.
    pub(super) fn new(how: &Randomized, data_type: &DataType, randomizer: Randomizer) -> Option<Self> {
        let how = match how {
            Randomized::Replaced { percent, by } => {
                let values = by.iter().map(|value| scalar(value, data_type)).collect::<Option<Vec<_>>>()?;
                let replacement = Replacement::new(percent, values.len())?;
                How::Replaced(replacement, ScalarValue::iter_to_array(values).ok()?)
            }
            // A distance and a step of rounding are written and checked alike.
            Randomized::Within(most) => match NumberRounding::new(most, data_type)? {
                NumberRounding::Whole(units) => How::Whole(u128::try_from(units).ok()?),
                NumberRounding::Float(most) => How::Float(most),
            },
            Randomized::WithinDays(days) => match data_type {
                DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _) => How::Days(*days),
                _ => return None,
            },
        };
        Some(Self { randomizer, how })
    }

    pub(super) fn apply(&self, values: &ArrayRef, keys: &RowKeys) -> Result<ArrayRef, ArrowError> {
        let unfit = || ArrowError::InvalidArgumentError(format!("randomised response on {}", values.data_type()));
        match &self.how {
            How::Replaced(replacement, by) => {
                let mut key = RowKey::new();
                let places = (0..values.len()).map(|row| {
                    if values.is_null(row) {
                        return (0, row);
                    }
                    key.clear();
                    keys.write(row, &mut key);
                    replacement.choose(&self.randomizer, key.as_bytes()).map_or((0, row), |choice| (1, choice))
                });
                let places: Vec<(usize, usize)> = places.collect();
                interleave(&[values.as_ref(), by.as_ref()], &places)
            }
            How::Whole(bound) => Ok(match values.data_type() {
                DataType::Int8 => self.whole::<Int8Type>(values, keys, *bound),
                DataType::Int16 => self.whole::<Int16Type>(values, keys, *bound),
                DataType::Int32 => self.whole::<Int32Type>(values, keys, *bound),
                DataType::Int64 => self.whole::<Int64Type>(values, keys, *bound),
                DataType::UInt8 => self.whole::<UInt8Type>(values, keys, *bound),
                DataType::UInt16 => self.whole::<UInt16Type>(values, keys, *bound),
                DataType::UInt32 => self.whole::<UInt32Type>(values, keys, *bound),
                DataType::UInt64 => self.whole::<UInt64Type>(values, keys, *bound),
                DataType::Decimal32(precision, _) => self.decimal::<Decimal32Type>(values, keys, *bound, *precision),
                DataType::Decimal64(precision, _) => self.decimal::<Decimal64Type>(values, keys, *bound, *precision),
                DataType::Decimal128(precision, _) => self.decimal::<Decimal128Type>(values, keys, *bound, *precision),
                _ => return Err(unfit()),
            }),
            How::Float(bound) => Ok(match values.data_type() {
                DataType::Float32 => self.each::<Float32Type>(values, keys, |v, key| {
                    Some(self.randomizer.moved_float(key, f64::from(v), *bound)? as f32).filter(|v| v.is_finite())
                }),
                DataType::Float64 => {
                    self.each::<Float64Type>(values, keys, |v, key| self.randomizer.moved_float(key, v, *bound))
                }
                _ => return Err(unfit()),
            }),
            How::Days(days) => {
                const MS: i64 = 86_400_000;
                Ok(match values.data_type() {
                    DataType::Date32 => self.days::<Date32Type>(values, keys, *days, 1),
                    DataType::Date64 => self.days::<Date64Type>(values, keys, *days, MS),
                    DataType::Timestamp(TimeUnit::Second, _) => {
                        self.days::<TimestampSecondType>(values, keys, *days, MS / 1_000)
                    }
                    DataType::Timestamp(TimeUnit::Millisecond, _) => {
                        self.days::<TimestampMillisecondType>(values, keys, *days, MS)
                    }
                    DataType::Timestamp(TimeUnit::Microsecond, _) => {
                        self.days::<TimestampMicrosecondType>(values, keys, *days, MS * 1_000)
                    }
                    DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                        self.days::<TimestampNanosecondType>(values, keys, *days, MS * 1_000_000)
                    }
                    _ => return Err(unfit()),
                })
            }
        }
    }

    fn whole<T: ArrowPrimitiveType>(&self, values: &ArrayRef, keys: &RowKeys, bound: u128) -> ArrayRef
    where
        T::Native: Into<i128> + TryFrom<i128>,
    {
        self.each::<T>(values, keys, |v, key| T::Native::try_from(self.randomizer.moved(key, v.into(), bound)?).ok())
    }

    fn decimal<T: ArrowPrimitiveType>(&self, values: &ArrayRef, keys: &RowKeys, bound: u128, precision: u8) -> ArrayRef
    where
        T::Native: Into<i128> + TryFrom<i128>,
    {
        let limit = 10_i128.checked_pow(u32::from(precision)).unwrap_or(i128::MAX);
        self.each::<T>(values, keys, |v, key| {
            let moved = self.randomizer.moved(key, v.into(), bound)?;
            (moved.unsigned_abs() < limit.unsigned_abs()).then(|| T::Native::try_from(moved).ok())?
        })
    }

    /// By whole days of so many ticks.
    fn days<T: ArrowPrimitiveType>(&self, values: &ArrayRef, keys: &RowKeys, days: u32, ticks: i64) -> ArrayRef
    where
        T::Native: Into<i128> + TryFrom<i128>,
    {
        self.each::<T>(values, keys, |v, key| {
            let distance = self.randomizer.moved(key, 0, days.into())?;
            T::Native::try_from(v.into().checked_add(distance.checked_mul(ticks.into())?)?).ok()
        })
    }

    fn each<T: ArrowPrimitiveType>(
        &self,
        values: &ArrayRef,
        keys: &RowKeys,
        moved: impl Fn(T::Native, &[u8]) -> Option<T::Native>,
    ) -> ArrayRef {
        let values: &PrimitiveArray<T> = values.as_primitive();
        let mut key = RowKey::new();
        let masked = values.iter().enumerate().map(|(row, value)| {
            key.clear();
            keys.write(row, &mut key);
            value.and_then(|value| moved(value, key.as_bytes()))
        });
        let masked: PrimitiveArray<T> = masked.collect();
        Arc::new(masked.with_data_type(values.data_type().clone()))
    }
}
