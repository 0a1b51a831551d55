//! What a masked value says of the original, for masks that keep the order of values.
#![expect(clippy::wildcard_enum_match_arm, reason = "closed lists of types: every other one is refused")]

use datafusion::common::ScalarValue;
use weir_policy::ast::CalendarUnit;

use super::round::NumberRounding;
use super::{CompiledMask, Kind};

/// Starts and ends where buckets of the mask do, so that it says of an original what its masked value says.
#[derive(Debug, PartialEq)]
pub(crate) struct Bucket {
    /// Not above any original whose masked value is at least the given one.
    pub(crate) start: ScalarValue,
    /// Above every original whose masked value is at most the given one.
    pub(crate) end: ScalarValue,
}

/// Further from zero than so many buckets floats are too coarse to tell one from the next.
const FLOAT_BUCKETS_MAX: f64 = 1e9;

impl CompiledMask {
    /// What every value becomes, where it is the same.
    pub(crate) fn fixed(&self) -> Option<ScalarValue> {
        match &self.kind {
            Kind::Null => ScalarValue::try_from(&self.data_type).ok(),
            Kind::Constant(value) => Some(value.clone()),
            _ => None,
        }
    }

    /// The bucket around a masked value; `None` where the mask keeps no order, or the bucket leaves the type.
    pub(crate) fn bucket(&self, value: &ScalarValue) -> Option<Bucket> {
        if value.is_null() || value.data_type() != self.data_type {
            return None;
        }
        let (start, end) = match &self.kind {
            Kind::RoundNumber(NumberRounding::Whole(size)) => {
                let start = self.of(value)?;
                let end = shifted(&start, *size)?;
                (start, end)
            }
            // One bucket more on either side, as products of floats are not exact.
            Kind::RoundNumber(NumberRounding::Float(size)) => {
                (self.of(&float_shifted(value, *size, -1.0)?)?, self.of(&float_shifted(value, *size, 2.0)?)?)
            }
            // However long the unit is, the next one has begun then.
            Kind::RoundCalendar(unit) => (self.of(value)?, self.of(&shifted(value, longest(*unit, value)?)?)?),
            _ => return None,
        };
        Some(Bucket { start, end })
    }

    fn of(&self, value: &ScalarValue) -> Option<ScalarValue> {
        let masked = self.apply(&value.to_array().ok()?, &[]).ok()?;
        let masked = ScalarValue::try_from_array(&masked, 0).ok()?;
        (!masked.is_null()).then_some(masked)
    }
}

/// How long the unit is at most, in ticks of the type.
fn longest(unit: CalendarUnit, value: &ScalarValue) -> Option<i128> {
    let day: i128 = match value {
        ScalarValue::Date32(_) => 1,
        ScalarValue::TimestampSecond(..) => 86_400,
        ScalarValue::Date64(_) | ScalarValue::TimestampMillisecond(..) => 86_400_000,
        ScalarValue::TimestampMicrosecond(..) => 86_400_000_000,
        ScalarValue::TimestampNanosecond(..) => 86_400_000_000_000,
        _ => return None,
    };
    Some(match unit {
        CalendarUnit::Hour => (day / 24).max(1),
        CalendarUnit::Day => day,
        CalendarUnit::Week => 7 * day,
        CalendarUnit::Month => 31 * day,
        CalendarUnit::Quarter => 92 * day,
        CalendarUnit::Year => 366 * day,
    })
}

fn float_shifted(value: &ScalarValue, size: f64, buckets: f64) -> Option<ScalarValue> {
    let shift = |value: f64| (value.abs() < size * FLOAT_BUCKETS_MAX).then_some(value + buckets * size);
    match value {
        ScalarValue::Float64(Some(value)) => Some(ScalarValue::from(shift(*value)?)),
        _ => None,
    }
}

/// `by` in units of the last digit, or in ticks.
fn shifted(value: &ScalarValue, by: i128) -> Option<ScalarValue> {
    fn add<T: Into<i128> + TryFrom<i128> + Copy>(value: Option<T>, by: i128) -> Option<T> {
        T::try_from(value?.into().checked_add(by)?).ok()
    }
    Some(match value {
        ScalarValue::Int8(v) => ScalarValue::Int8(Some(add(*v, by)?)),
        ScalarValue::Int16(v) => ScalarValue::Int16(Some(add(*v, by)?)),
        ScalarValue::Int32(v) => ScalarValue::Int32(Some(add(*v, by)?)),
        ScalarValue::Int64(v) => ScalarValue::Int64(Some(add(*v, by)?)),
        ScalarValue::UInt8(v) => ScalarValue::UInt8(Some(add(*v, by)?)),
        ScalarValue::UInt16(v) => ScalarValue::UInt16(Some(add(*v, by)?)),
        ScalarValue::UInt32(v) => ScalarValue::UInt32(Some(add(*v, by)?)),
        ScalarValue::UInt64(v) => ScalarValue::UInt64(Some(add(*v, by)?)),
        ScalarValue::Decimal128(v, precision, scale) => {
            let shifted = add(*v, by)?;
            let limit = 10_u128.checked_pow(u32::from(*precision))?;
            (shifted.unsigned_abs() < limit).then_some(ScalarValue::Decimal128(Some(shifted), *precision, *scale))?
        }
        ScalarValue::Date32(v) => ScalarValue::Date32(Some(add(*v, by)?)),
        ScalarValue::Date64(v) => ScalarValue::Date64(Some(add(*v, by)?)),
        ScalarValue::TimestampSecond(v, zone) => ScalarValue::TimestampSecond(Some(add(*v, by)?), zone.clone()),
        ScalarValue::TimestampMillisecond(v, zone) => {
            ScalarValue::TimestampMillisecond(Some(add(*v, by)?), zone.clone())
        }
        ScalarValue::TimestampMicrosecond(v, zone) => {
            ScalarValue::TimestampMicrosecond(Some(add(*v, by)?), zone.clone())
        }
        ScalarValue::TimestampNanosecond(v, zone) => ScalarValue::TimestampNanosecond(Some(add(*v, by)?), zone.clone()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use weir_model::ColumnId;
    use weir_policy::Mask;
    use weir_policy::ast::RoundTo;

    use super::*;
    use crate::mask::MaskKeys;

    fn rounding(to: RoundTo, example: &ScalarValue) -> CompiledMask {
        CompiledMask::new(&Mask::Round(to), ColumnId(1), &example.data_type(), &MaskKeys::default()).unwrap()
    }

    /// Every original near `values` against every masked value near them.
    fn holds(to: &RoundTo, values: &[ScalarValue]) {
        let mask = rounding(to.clone(), &values[0]);
        let mut bounded = 0;
        for masked in values {
            let Some(Bucket { start, end }) = mask.bucket(masked) else { continue };
            bounded += 1;
            // Floats that are masked twice may lose a bucket.
            if !matches!(masked, ScalarValue::Float64(_)) {
                assert_eq!(mask.of(&start).unwrap(), start, "{to:?} does not start a bucket");
                assert_eq!(mask.of(&end).unwrap(), end, "{to:?} does not end a bucket");
            }
            for original in values {
                let Some(seen) = mask.of(original) else { continue };
                assert!(seen < *masked || *original >= start, "{to:?}: {original:?} is seen as {seen:?}, {masked:?}");
                assert!(seen > *masked || *original < end, "{to:?}: {original:?} is seen as {seen:?}, {masked:?}");
            }
        }
        assert!(bounded * 2 > values.len(), "{to:?} has few buckets");
    }

    #[test]
    fn a_masked_value_bounds_its_originals() {
        for bucket in ["1", "7", "100"] {
            let to = RoundTo::Number(bucket.to_owned());
            holds(&to, &(-230..230).map(|n| ScalarValue::from(i64::from(n))).collect::<Vec<_>>());
            holds(&to, &(-230..230).map(|n| ScalarValue::Decimal128(Some(n * 10), 9, 1)).collect::<Vec<_>>());
        }
        for bucket in ["0.1", "3", "100"] {
            let to = RoundTo::Number(bucket.to_owned());
            holds(&to, &(-230..230).map(|n| ScalarValue::from(f64::from(n) * 0.7)).collect::<Vec<_>>());
        }
        for unit in CalendarUnit::ALL {
            let to = RoundTo::Calendar(unit);
            // Over a leap day and the first day of all.
            let days = |from: i32| (from..from + 420).map(|day| ScalarValue::Date32(Some(day))).collect::<Vec<_>>();
            holds(&to, &days(-200));
            holds(&to, &days(18_300));
            let hours = (-300..300).map(|n| ScalarValue::TimestampMicrosecond(Some(n * 1_799_999_999), None));
            holds(&to, &hours.collect::<Vec<_>>());
        }
    }

    #[test]
    fn nothing_is_said_where_the_bucket_leaves_the_type() {
        let mask = rounding(RoundTo::Number("100".to_owned()), &ScalarValue::from(0_i8));
        assert_eq!(mask.bucket(&ScalarValue::from(120_i8)), None);
        assert_eq!(mask.bucket(&ScalarValue::from(-120_i8)), None);
        assert_eq!(mask.bucket(&ScalarValue::Int8(None)), None);
        assert_eq!(mask.bucket(&ScalarValue::from(20_i64)), None);
        let bucket = mask.bucket(&ScalarValue::from(20_i8)).unwrap();
        assert_eq!(bucket, Bucket { start: ScalarValue::from(0_i8), end: ScalarValue::from(100_i8) });
    }
}
