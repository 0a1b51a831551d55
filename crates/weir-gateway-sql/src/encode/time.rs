//! Dates, times and intervals: ISO text and PostgreSQL's binary counts from 2000-01-01.

use arrow::array::timezone::Tz;
use arrow::datatypes::IntervalMonthDayNano;
use bytes::BufMut;
use chrono::{DateTime, Offset, TimeZone};

use super::{EncodeError, Encoded, integer};

/// Days from 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const DAY: i64 = 86_400_000_000;

pub(super) fn pg_days(days: i32) -> Result<i32, EncodeError> {
    days.checked_sub(EPOCH_DAYS).ok_or(EncodeError::DateTime)
}

pub(super) fn pg_micros(micros: i64) -> Result<i64, EncodeError> {
    micros.checked_sub(i64::from(EPOCH_DAYS) * DAY).ok_or(EncodeError::DateTime)
}

pub(super) fn date_text(days: i32, out: &mut Vec<u8>) {
    if date(i64::from(days), out) {
        out.extend_from_slice(b" BC");
    }
}

/// Writes a date and says whether it is before year 1.
///
/// Howard Hinnant's `civil_from_days`: years begin in March, in eras of 400 years.
fn date(days: i64, out: &mut Vec<u8>) -> bool {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let shown = if year > 0 { year } else { 1 - year };
    if shown < 10_000 {
        let ([a, b], [c, d], [e, f], [g, h]) = (digits(shown / 100), digits(shown % 100), digits(month), digits(day));
        out.extend_from_slice(&[a, b, c, d, b'-', e, f, b'-', g, h]);
    } else {
        integer(shown, out);
        let ([e, f], [g, h]) = (digits(month), digits(day));
        out.extend_from_slice(&[b'-', e, f, b'-', g, h]);
    }
    year <= 0
}

/// The last two digits.
#[inline]
fn digits(number: i64) -> [u8; 2] {
    let digit = |d: i64| u8::try_from(d).unwrap_or(0) + b'0';
    [digit(number / 10 % 10), digit(number % 10)]
}

#[inline]
fn two(number: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&digits(number));
}

/// Microseconds of a day, or of an interval's time part; not negative.
pub(super) fn time_text(micros: i64, out: &mut Vec<u8>) {
    let seconds = micros / 1_000_000;
    if seconds < 360_000 {
        two(seconds / 3_600, out);
    } else {
        integer(seconds / 3_600, out);
    }
    out.put_u8(b':');
    let ([a, b], [c, d]) = (digits(seconds / 60 % 60), digits(seconds % 60));
    out.extend_from_slice(&[a, b, b':', c, d]);
    let mut fraction = micros % 1_000_000;
    if fraction != 0 {
        out.put_u8(b'.');
        let mut place = 100_000;
        while fraction != 0 {
            out.put_u8(u8::try_from(fraction / place).unwrap_or(0) + b'0');
            fraction %= place;
            place /= 10;
        }
    }
}

fn date_time(micros: i64, out: &mut Vec<u8>) -> bool {
    let before_christ = date(micros.div_euclid(DAY), out);
    out.put_u8(b' ');
    time_text(micros.rem_euclid(DAY), out);
    before_christ
}

pub(super) fn timestamp_text(micros: i64, out: &mut Vec<u8>) {
    if date_time(micros, out) {
        out.extend_from_slice(b" BC");
    }
}

pub(super) fn timestamptz_text(micros: i64, zone: Option<Tz>, out: &mut Vec<u8>) -> Encoded {
    let offset = match zone {
        None => 0,
        Some(zone) => {
            let utc = DateTime::from_timestamp_micros(micros).ok_or(EncodeError::DateTime)?;
            i64::from(zone.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc())
        }
    };
    let local = micros.checked_add(offset * 1_000_000).ok_or(EncodeError::DateTime)?;
    let before_christ = date_time(local, out);
    out.put_u8(if offset < 0 { b'-' } else { b'+' });
    let offset = offset.abs();
    two(offset / 3_600, out);
    if offset % 3_600 != 0 {
        out.put_u8(b':');
        two(offset / 60 % 60, out);
    }
    if offset % 60 != 0 {
        out.put_u8(b':');
        two(offset % 60, out);
    }
    if before_christ {
        out.extend_from_slice(b" BC");
    }
    Ok(())
}

/// PostgreSQL's three parts of an interval.
#[derive(Clone, Copy)]
pub(super) struct Interval {
    months: i32,
    days: i32,
    micros: i64,
}

impl Interval {
    pub(super) fn of(value: IntervalMonthDayNano) -> Self {
        Self { months: value.months, days: value.days, micros: value.nanoseconds / 1_000 }
    }

    /// Whole days are shown as such, as PostgreSQL does for a difference of timestamps.
    pub(super) fn of_micros(micros: i64) -> Self {
        // 2^63 microseconds are fewer than 2^31 days.
        Self { months: 0, days: i32::try_from(micros / DAY).unwrap_or(0), micros: micros % DAY }
    }
}

pub(super) fn interval_binary(interval: Interval, out: &mut Vec<u8>) {
    out.put_i64(interval.micros);
    out.put_i32(interval.days);
    out.put_i32(interval.months);
}

/// The `postgres` style, such as `1 year 2 mons -3 days +04:05:06.7`.
pub(super) fn interval_text(interval: Interval, out: &mut Vec<u8>) {
    let start = out.len();
    let mut after_negative = false;
    let parts = [(interval.months / 12, " year"), (interval.months % 12, " mon"), (interval.days, " day")];
    for (number, unit) in parts {
        if number == 0 {
            continue;
        }
        if out.len() > start {
            out.put_u8(b' ');
        }
        if after_negative && number > 0 {
            out.put_u8(b'+');
        }
        integer(number, out);
        out.extend_from_slice(unit.as_bytes());
        if number != 1 {
            out.put_u8(b's');
        }
        after_negative = number < 0;
    }
    if interval.micros != 0 || out.len() == start {
        if out.len() > start {
            out.put_u8(b' ');
        }
        if interval.micros < 0 {
            out.put_u8(b'-');
        } else if after_negative {
            out.put_u8(b'+');
        }
        // The lowest number has no positive twin; it is a microsecond off, after 292,000 years.
        time_text(interval.micros.checked_abs().unwrap_or(i64::MAX), out);
    }
}
