//! Which literals a type takes.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime};
use weir_model::{DataType, TypeClass, Value};

use crate::exact::Exact;

const MICROSECONDS_A_DAY: i64 = 86_400_000_000;
/// Days of the Common Era before 1970-01-01.
const DAYS_BEFORE_EPOCH: i32 = 719_163;

/// The literal as compared with a value of the type: text that is written like a date becomes one where a date is
/// compared, a whole number loses its point where whole numbers are. `None` when the two cannot be compared.
pub(super) fn compared(value: &Value, with: &DataType) -> Option<Value> {
    match (with.class(), value) {
        (TypeClass::Boolean, Value::Boolean(_))
        | (TypeClass::Text, Value::Text(_))
        | (TypeClass::Number, Value::Int(_)) => Some(value.clone()),
        (TypeClass::Number, Value::Number(text)) => Some(whole(Exact::parse(text)?).unwrap_or_else(|| value.clone())),
        (TypeClass::Date, Value::Date(_)) | (TypeClass::Timestamp, Value::Timestamp(_)) => Some(value.clone()),
        (TypeClass::Date, Value::Timestamp(us)) => Some(midnight(*us).map_or_else(|| value.clone(), Value::Date)),
        (TypeClass::Date, Value::Text(text)) => date(text).map(Value::Date),
        (TypeClass::Timestamp, Value::Date(days)) => at_midnight(*days),
        (TypeClass::Timestamp, Value::Text(text)) => timestamp(text),
        _ => None,
    }
}

/// The literal as a value of the type, when the type holds exactly it.
pub(super) fn constant(value: &Value, data_type: &DataType) -> Option<Value> {
    let number = match value {
        Value::Int(n) => Some(Exact::of_int(*n)),
        Value::Number(text) => Some(Exact::parse(text)?),
        Value::Null | Value::Boolean(_) | Value::Text(_) | Value::Date(_) | Value::Timestamp(_) => None,
    };
    match data_type {
        DataType::Boolean => matches!(value, Value::Boolean(_)).then(|| value.clone()),
        DataType::Text => matches!(value, Value::Text(_)).then(|| value.clone()),
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64 => {
            let (least, most) = whole_range(data_type)?;
            let number = number?;
            let n = number.whole().filter(|n| (least..=most).contains(n))?;
            Some(i64::try_from(n).map_or_else(|_| Value::Number(n.to_string()), Value::Int))
        }
        DataType::Float32 => prints_back(number?, value, |text| {
            text.parse::<f32>().ok().filter(|f| f.is_finite()).map(|f| f.to_string())
        }),
        DataType::Float64 => prints_back(number?, value, |text| {
            text.parse::<f64>().ok().filter(|f| f.is_finite()).map(|f| f.to_string())
        }),
        DataType::Decimal { precision, scale } => number?.fits_decimal(*precision, *scale).then(|| value.clone()),
        DataType::Date => match value {
            Value::Date(_) => Some(value.clone()),
            Value::Text(text) => date(text).map(Value::Date),
            Value::Timestamp(us) => midnight(*us).map(Value::Date),
            Value::Null | Value::Boolean(_) | Value::Int(_) | Value::Number(_) => None,
        },
        DataType::Timestamp { .. } => compared(value, data_type),
        DataType::Binary | DataType::Time | DataType::List(_) | DataType::Struct(_) | DataType::Map { .. } => None,
    }
}

/// Whether a text of policies or people can equal a value of the class, being read as one.
pub(super) fn is_read_as(text: &str, class: TypeClass) -> bool {
    match class {
        TypeClass::Text => true,
        TypeClass::Boolean => matches!(text, "true" | "false"),
        TypeClass::Number => Exact::parse(text).is_some(),
        TypeClass::Date => date(text).is_some(),
        TypeClass::Timestamp => timestamp(text).is_some(),
        TypeClass::Binary | TypeClass::Time | TypeClass::Nested => false,
    }
}

/// A floating-point type holds a decimal number when it prints it back unchanged.
fn prints_back(number: Exact, value: &Value, round_trip: impl Fn(&str) -> Option<String>) -> Option<Value> {
    let back = round_trip(&value.to_string())?;
    (Exact::parse(&back)? == number).then(|| value.clone())
}

fn whole(number: Exact) -> Option<Value> {
    i64::try_from(number.whole()?).ok().map(Value::Int)
}

/// Least and greatest value of a type of whole numbers.
pub(super) fn whole_range(data_type: &DataType) -> Option<(i128, i128)> {
    match data_type {
        DataType::Int8 => Some((i8::MIN.into(), i8::MAX.into())),
        DataType::Int16 => Some((i16::MIN.into(), i16::MAX.into())),
        DataType::Int32 => Some((i32::MIN.into(), i32::MAX.into())),
        DataType::Int64 => Some((i64::MIN.into(), i64::MAX.into())),
        DataType::UInt8 => Some((0, u8::MAX.into())),
        DataType::UInt16 => Some((0, u16::MAX.into())),
        DataType::UInt32 => Some((0, u32::MAX.into())),
        DataType::UInt64 => Some((0, u64::MAX.into())),
        DataType::Boolean
        | DataType::Float32
        | DataType::Float64
        | DataType::Decimal { .. }
        | DataType::Text
        | DataType::Binary
        | DataType::Date
        | DataType::Time
        | DataType::Timestamp { .. }
        | DataType::List(_)
        | DataType::Struct(_)
        | DataType::Map { .. } => None,
    }
}

fn date(text: &str) -> Option<i32> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    date.num_days_from_ce().checked_sub(DAYS_BEFORE_EPOCH)
}

/// `YYYY-MM-DD`, with a time of day if wanted, with an offset from UTC if wanted.
fn timestamp(text: &str) -> Option<Value> {
    if let Some(days) = date(text) {
        return at_midnight(days);
    }
    let naive = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .map(|at| at.and_utc());
    let at = naive.or_else(|| DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc()))?;
    let nanoseconds = at.timestamp_subsec_nanos();
    (nanoseconds % 1000 == 0).then(|| Value::Timestamp(at.timestamp_micros()))
}

fn at_midnight(days: i32) -> Option<Value> {
    i64::from(days).checked_mul(MICROSECONDS_A_DAY).map(Value::Timestamp)
}

/// The day that starts at this moment.
fn midnight(us: i64) -> Option<i32> {
    (us % MICROSECONDS_A_DAY == 0).then(|| i32::try_from(us / MICROSECONDS_A_DAY).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(text: &str) -> Value {
        Value::Number(text.to_owned())
    }

    fn t(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn a_constant_is_exactly_what_the_type_holds() {
        let tiny = DataType::Int8;
        assert_eq!(constant(&Value::Int(127), &tiny), Some(Value::Int(127)));
        assert_eq!(constant(&Value::Int(128), &tiny), None);
        assert_eq!(constant(&n("5.0"), &tiny), Some(Value::Int(5)));
        assert_eq!(constant(&n("5.5"), &tiny), None);
        assert_eq!(constant(&Value::Int(-1), &DataType::UInt64), None);
        assert_eq!(constant(&n("18446744073709551615"), &DataType::UInt64), Some(n("18446744073709551615")));
        assert_eq!(constant(&n("0.1"), &DataType::Float64), Some(n("0.1")));
        assert_eq!(constant(&n("0.10000000000000000000001"), &DataType::Float64), None);
        assert_eq!(constant(&n("16777217"), &DataType::Float32), None);
        let money = DataType::Decimal { precision: 6, scale: 2 };
        assert_eq!(constant(&n("9999.00"), &money), Some(n("9999.00")));
        assert_eq!(constant(&n("10000"), &money), None);
        assert_eq!(constant(&t("9999.00"), &money), None);
        assert_eq!(constant(&t("1970-01-02"), &DataType::Date), Some(Value::Date(1)));
        assert_eq!(constant(&t("tomorrow"), &DataType::Date), None);
        assert_eq!(constant(&Value::Null, &DataType::Text), None);
        assert_eq!(constant(&t("x"), &DataType::Binary), None);
    }

    #[test]
    fn texts_are_read_as_dates_where_dates_are_compared() {
        let at = DataType::Timestamp { zoned: false };
        assert_eq!(compared(&t("1970-01-01 00:00:01.5"), &at), Some(Value::Timestamp(1_500_000)));
        assert_eq!(compared(&t("1970-01-01T01:00:00+01:00"), &at), Some(Value::Timestamp(0)));
        assert_eq!(compared(&t("1970-01-01 00:00:00.0000001"), &at), None);
        assert_eq!(compared(&Value::Timestamp(MICROSECONDS_A_DAY), &DataType::Date), Some(Value::Date(1)));
        assert_eq!(compared(&n("1.50"), &DataType::Int32), Some(n("1.50")));
        assert_eq!(compared(&t("1"), &DataType::Int32), None);
    }
}
