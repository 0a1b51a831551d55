//! Rounding dates and timestamps down to the start of a calendar unit (proleptic Gregorian, UTC, weeks from Monday).
#![expect(clippy::wildcard_enum_match_arm, reason = "a closed list of types: every other one is refused")]

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use datafusion::arrow::error::ArrowError;
use weir_policy::ast::CalendarUnit;

pub(super) fn round(values: &ArrayRef, unit: CalendarUnit) -> Result<ArrayRef, ArrowError> {
    const MS_PER_DAY: i64 = 86_400_000;
    Ok(match values.data_type() {
        DataType::Date32 => {
            let days: &PrimitiveArray<Date32Type> = values.as_primitive();
            Arc::new(days.unary::<_, Date32Type>(|d| i32::try_from(round_day(i64::from(d), unit)).unwrap_or(d)))
        }
        DataType::Date64 => timestamp::<Date64Type>(values, MS_PER_DAY, unit),
        DataType::Timestamp(TimeUnit::Second, _) => timestamp::<TimestampSecondType>(values, 86_400, unit),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            timestamp::<TimestampMillisecondType>(values, MS_PER_DAY, unit)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            timestamp::<TimestampMicrosecondType>(values, MS_PER_DAY * 1_000, unit)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            timestamp::<TimestampNanosecondType>(values, MS_PER_DAY * 1_000_000, unit)
        }
        other => return Err(ArrowError::InvalidArgumentError(format!("calendar rounding on {other}"))),
    })
}

fn timestamp<T: ArrowPrimitiveType<Native = i64>>(values: &ArrayRef, per_day: i64, unit: CalendarUnit) -> ArrayRef {
    let values: &PrimitiveArray<T> = values.as_primitive();
    let round = |ticks: i64| {
        if unit == CalendarUnit::Hour {
            return ticks.saturating_sub(ticks.rem_euclid(per_day / 24));
        }
        // The start of a unit may lie before the first tick; then the first tick it is.
        round_day(ticks.div_euclid(per_day), unit).saturating_mul(per_day)
    };
    Arc::new(values.unary::<_, T>(round).with_data_type(values.data_type().clone()))
}

/// Days since 1970-01-01, a Thursday.
fn round_day(day: i64, unit: CalendarUnit) -> i64 {
    match unit {
        CalendarUnit::Hour | CalendarUnit::Day => day,
        CalendarUnit::Week => (day + 3).div_euclid(7) * 7 - 3,
        CalendarUnit::Month => {
            let (year, month) = year_month(day);
            first_of(year, month)
        }
        CalendarUnit::Quarter => {
            let (year, month) = year_month(day);
            first_of(year, (month - 1) / 3 * 3 + 1)
        }
        CalendarUnit::Year => first_of(year_month(day).0, 1),
    }
}

/// Year and month (1-12) of a day, by the era arithmetic of Howard Hinnant's "chrono-Compatible Low-Level Date
/// Algorithms" (`civil_from_days`).
fn year_month(day: i64) -> (i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month)
}

/// The day on which a month starts (`days_from_civil` of the same text).
fn first_of(year: i64, month: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * from_march + 2) / 5;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}
