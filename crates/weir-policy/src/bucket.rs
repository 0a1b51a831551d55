//! What a column is rounded to when its profile decides.

use std::cmp::Ordering;

use weir_model::{DataType, Profile, TypeClass, Value};

use crate::ast::{CalendarUnit, RoundTo};
use crate::exact::Exact;

/// About how many buckets the values of a column of numbers fall into.
const NUMBER_BUCKETS: u32 = 20;

/// Powers of ten that steps are multiples of.
const POWER_MIN: i32 = -37;
const POWER_MAX: i32 = 36;

/// How many units lie at least between the first and the last value of a column of times.
const TIME_BUCKETS_MIN: i64 = 10;

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;

/// The coarsest first, with about how long it is, in microseconds.
const UNITS: [(CalendarUnit, i64); 6] = [
    (CalendarUnit::Year, 365 * DAY_US),
    (CalendarUnit::Quarter, 91 * DAY_US),
    (CalendarUnit::Month, 30 * DAY_US),
    (CalendarUnit::Week, 7 * DAY_US),
    (CalendarUnit::Day, DAY_US),
    (CalendarUnit::Hour, HOUR_US),
];

/// What the values are rounded down to; `None` when the profile has none to go by. The same for equal profiles.
///
/// Numbers: the smallest of 1, 2 and 5 times a power of ten that makes at most about 20 buckets of the distance between
/// the least and the greatest value (of the value itself, when all are equal). It is at least twice the smallest
/// distance that the type can tell, so that rounding always hides something.
///
/// Dates and timestamps: the coarsest calendar unit of which ten fit between the first and the last value; where none
/// does, weeks for dates and hours for timestamps.
pub fn bucket(profile: &Profile, data_type: &DataType) -> Option<RoundTo> {
    let (least, greatest) = (profile.least.as_ref()?, profile.greatest.as_ref()?);
    match data_type.class() {
        TypeClass::Number => step(number(least)?, number(greatest)?, data_type).map(RoundTo::Number),
        TypeClass::Date => {
            let (Value::Date(first), Value::Date(last)) = (least, greatest) else { return None };
            let span = (i64::from(*last) - i64::from(*first)).saturating_mul(DAY_US);
            // A date to the day is as it was.
            Some(RoundTo::Calendar(unit(span, CalendarUnit::Week)))
        }
        TypeClass::Timestamp => {
            let (Value::Timestamp(first), Value::Timestamp(last)) = (least, greatest) else { return None };
            Some(RoundTo::Calendar(unit(last.saturating_sub(*first), CalendarUnit::Hour)))
        }
        TypeClass::Boolean | TypeClass::Text | TypeClass::Binary | TypeClass::Time | TypeClass::Nested => None,
    }
}

fn unit(span_us: i64, finest: CalendarUnit) -> CalendarUnit {
    let candidates = UNITS.iter().take_while(|(unit, _)| *unit != finest);
    let fits = |(_, length): &&(CalendarUnit, i64)| span_us / length >= TIME_BUCKETS_MIN;
    candidates.into_iter().find(fits).map_or(finest, |(unit, _)| *unit)
}

fn number(value: &Value) -> Option<Exact> {
    match value {
        Value::Int(_) | Value::Number(_) => Exact::parse(&value.to_string()),
        Value::Null | Value::Boolean(_) | Value::Text(_) | Value::Date(_) | Value::Timestamp(_) => None,
    }
}

fn step(least: Exact, greatest: Exact, data_type: &DataType) -> Option<String> {
    let positive = |n: &Exact| n.is_positive();
    let nothing = Exact::of_int(NUMBER_BUCKETS.into());
    let spans = [greatest.minus(least)?, greatest.magnitude(), nothing];
    let span = spans.into_iter().find(positive)?;
    let finest = match data_type {
        DataType::Float32 | DataType::Float64 => POWER_MIN,
        DataType::Decimal { scale, .. } => -i32::from(*scale),
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Text
        | DataType::Binary
        | DataType::Date
        | DataType::Time
        | DataType::Timestamp { .. }
        | DataType::List(_)
        | DataType::Struct(_)
        | DataType::Map { .. } => 0,
    };
    let all = |(digit, power): &(u32, i32)| Exact::parse(&format!("{}e{power}", digit * NUMBER_BUCKETS));
    (POWER_MIN..=POWER_MAX)
        .flat_map(|power| [1, 2, 5].map(|digit| (digit, power)))
        .filter(|(digit, power)| (*power, *digit) >= (finest, 2))
        .find(|step| all(step).is_some_and(|all| all.compare(span).is_some_and(Ordering::is_ge)))
        .map(|(digit, power)| written_out(digit, power))
}

/// Without an exponent.
fn written_out(digit: u32, power: i32) -> String {
    let zeros = usize::try_from(power.unsigned_abs()).unwrap_or(0);
    if power >= 0 { format!("{digit}{}", "0".repeat(zeros)) } else { format!("0.{}{digit}", "0".repeat(zeros - 1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(least: Value, greatest: Value, data_type: &DataType) -> String {
        let profile = Profile { rows: 9, nulls: 0, distinct: None, least: Some(least), greatest: Some(greatest) };
        match bucket(&profile, data_type) {
            Some(RoundTo::Number(number)) => number,
            Some(RoundTo::Calendar(unit)) => unit.as_str().to_owned(),
            None => "nothing".to_owned(),
        }
    }

    fn n(text: &str) -> Value {
        Value::Number(text.to_owned())
    }

    #[test]
    fn numbers_fall_into_about_twenty_buckets() {
        let int = |least, greatest| of(Value::Int(least), Value::Int(greatest), &DataType::Int64);
        assert_eq!(int(0, 100), "5");
        assert_eq!(int(0, 101), "10");
        assert_eq!(int(18, 95), "5");
        assert_eq!(int(12_000, 250_000), "20000");
        assert_eq!(int(i64::MIN, i64::MAX), "1000000000000000000");
        // Rounding a whole number to 1 would hide nothing.
        assert_eq!(int(1, 5), "2");
        assert_eq!(int(7_000, 7_000), "500");
        assert_eq!(int(0, 0), "2");
        assert_eq!(int(-3, -3), "2");
        let double = |least, greatest| of(n(least), n(greatest), &DataType::Float64);
        assert_eq!(double("0.0", "1.0"), "0.05");
        assert_eq!(double("-1e30", "1e30"), format!("1{}", "0".repeat(29)));
        assert_eq!(double("-1.7e308", "1.7e308"), "nothing");
        assert_eq!(double("0", "0"), "1");
        assert_eq!(double("0", "1e-9"), "0.00000000005");
        assert_eq!(double("1", "NaN"), "nothing");
        let money = DataType::Decimal { precision: 6, scale: 2 };
        assert_eq!(of(n("0.00"), n("0.10"), &money), "0.02");
        assert_eq!(of(n("1.50"), n("99.99"), &money), "5");
        // Not a little more because of binary fractions.
        assert_eq!(of(n("-0.10"), n("0.90"), &money), "0.05");
    }

    #[test]
    fn times_fall_into_ten_units_or_more() {
        let date = |days| of(Value::Date(0), Value::Date(days), &DataType::Date);
        assert_eq!(date(3_650), "year");
        assert_eq!(date(3_649), "quarter");
        assert_eq!(date(909), "month");
        assert_eq!(date(299), "week");
        assert_eq!(date(0), "week");
        let at = DataType::Timestamp { zoned: false };
        let time = |us| of(Value::Timestamp(0), Value::Timestamp(us), &at);
        assert_eq!(time(70 * DAY_US), "week");
        assert_eq!(time(69 * DAY_US), "day");
        assert_eq!(time(10 * DAY_US - 1), "hour");
        assert_eq!(of(Value::Timestamp(i64::MIN), Value::Timestamp(i64::MAX), &at), "year");
        assert_eq!(of(Value::Int(1), Value::Int(2), &at), "nothing");
        assert_eq!(of(n("1"), n("2"), &DataType::Text), "nothing");
    }
}
