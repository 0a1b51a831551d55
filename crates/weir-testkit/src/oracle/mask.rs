//! How a value is replaced.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, Timelike};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use weir_model::DataType;
use weir_policy::ast::{CalendarUnit, Method, RoundTo};

use super::Misfit;
use crate::cell::{Cell, parse_decimal};

pub(super) fn masked(method: &Method, original: &Cell, data_type: &DataType, key: &[u8; 32]) -> Result<Cell, Misfit> {
    if let Method::Constant(value) = method {
        return Cell::of_type(value, data_type).ok_or(Misfit::Broken);
    }
    if original.is_null() {
        return Ok(Cell::Null);
    }
    match (method, original) {
        (Method::Null, _) => Ok(Cell::Null),
        (Method::Hash, Cell::Text(text)) => {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| Misfit::Broken)?;
            mac.update(text.as_bytes());
            Ok(Cell::Text(mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect()))
        }
        (Method::Regex { pattern, replacement, case_insensitive, global }, Cell::Text(text)) => {
            let regex = super::regex(pattern, *case_insensitive).ok_or(Misfit::Broken)?;
            let times = if *global { 0 } else { 1 };
            Ok(Cell::Text(regex.replacen(text, times, replacement.as_str()).into_owned()))
        }
        (Method::Round(RoundTo::Number(to)), number) => Ok(match floored(number, to)? {
            // Below the least value of the type.
            Cell::Int(n) if *data_type == DataType::Int32 && i32::try_from(n).is_err() => Cell::Null,
            rounded => rounded,
        }),
        (Method::Round(RoundTo::Calendar(unit)), time) => started(time, *unit),
        _ => Err(Misfit::Broken),
    }
}

/// Down to a multiple of `to`, toward minus infinity.
fn floored(number: &Cell, to: &str) -> Result<Cell, Misfit> {
    let (step, step_scale) = parse_decimal(to).ok_or(Misfit::Broken)?;
    let ten = |n: u32| 10_i128.pow(n);
    let floor = |n: i128, step: i128| n.div_euclid(step) * step;
    match number {
        // n and the step as whole numbers of the step's last digit.
        Cell::Int(n) => {
            let rounded = floor(i128::from(*n) * ten(step_scale), step);
            if rounded % ten(step_scale) != 0 {
                return Err(Misfit::Broken);
            }
            Ok(Cell::Int(i64::try_from(rounded / ten(step_scale)).map_err(|_| Misfit::Broken)?))
        }
        Cell::Decimal { unscaled, scale } => {
            let common = step_scale.max(*scale);
            let rounded = floor(unscaled * ten(common - scale), step * ten(common - step_scale));
            if rounded % ten(common - scale) != 0 {
                return Err(Misfit::Broken);
            }
            Ok(Cell::Decimal { unscaled: rounded / ten(common - scale), scale: *scale })
        }
        Cell::Float(n) => {
            let step: f64 = to.parse().map_err(|_| Misfit::Broken)?;
            Ok(Cell::Float((n / step).floor() * step))
        }
        _ => Err(Misfit::Broken),
    }
}

/// Back to the start of the unit.
fn started(time: &Cell, unit: CalendarUnit) -> Result<Cell, Misfit> {
    let epoch = NaiveDate::default();
    match time {
        Cell::Date(days) => {
            let date = epoch + chrono::Duration::days(i64::from(*days));
            if unit == CalendarUnit::Hour {
                return Err(Misfit::Broken);
            }
            let started = first_day(date, unit);
            Ok(Cell::Date(i32::try_from((started - epoch).num_days()).map_err(|_| Misfit::Broken)?))
        }
        Cell::Timestamp(us) => {
            let at: NaiveDateTime = DateTime::from_timestamp_micros(*us).ok_or(Misfit::Broken)?.naive_utc();
            let hour = if unit == CalendarUnit::Hour { at.hour() } else { 0 };
            let started = first_day(at.date(), unit).and_hms_opt(hour, 0, 0).ok_or(Misfit::Broken)?;
            Ok(Cell::Timestamp(started.and_utc().timestamp_micros()))
        }
        _ => Err(Misfit::Broken),
    }
}

fn first_day(date: NaiveDate, unit: CalendarUnit) -> NaiveDate {
    let of = |month: u32| NaiveDate::from_ymd_opt(date.year(), month, 1).expect("the first of a month");
    match unit {
        CalendarUnit::Hour | CalendarUnit::Day => date,
        CalendarUnit::Week => date - Days::new(u64::from(date.weekday().num_days_from_monday())),
        CalendarUnit::Month => of(date.month()),
        CalendarUnit::Quarter => of((date.month() - 1) / 3 * 3 + 1),
        CalendarUnit::Year => of(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(cell: Cell, to: RoundTo) -> Cell {
        masked(&Method::Round(to), &cell, &DataType::Int64, &[0; 32]).unwrap()
    }

    #[test]
    fn numbers_go_down() {
        let to = |n: &str| RoundTo::Number(n.to_owned());
        assert_eq!(round(Cell::Int(-1), to("100")), Cell::Int(-100));
        assert_eq!(round(Cell::Int(199), to("100")), Cell::Int(100));
        assert_eq!(round(Cell::Int(3), to("0.5")), Cell::Int(3));
        assert_eq!(
            round(Cell::Decimal { unscaled: -1, scale: 2 }, to("0.25")),
            Cell::Decimal { unscaled: -25, scale: 2 }
        );
        assert_eq!(round(Cell::Float(-0.75), to("0.5")), Cell::Float(-1.0));
    }

    #[test]
    fn days_go_back() {
        let days = |y, m, d| {
            let date: NaiveDate = NaiveDate::from_ymd_opt(y, m, d).unwrap();
            Cell::Date(i32::try_from((date - NaiveDate::default()).num_days()).unwrap())
        };
        let to = RoundTo::Calendar;
        assert_eq!(round(days(2024, 2, 29), to(CalendarUnit::Week)), days(2024, 2, 26));
        assert_eq!(round(days(1969, 12, 31), to(CalendarUnit::Quarter)), days(1969, 10, 1));
        assert_eq!(round(Cell::Timestamp(-1), to(CalendarUnit::Hour)), Cell::Timestamp(-3_600_000_000));
    }

    #[test]
    fn hash_is_rfc_2104() {
        // RFC 4231, test case 2, has a shorter key; HMAC pads it with zeros.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let hash = masked(&Method::Hash, &Cell::Text("what do ya want for nothing?".to_owned()), &DataType::Text, &key)
            .unwrap();
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hash, Cell::Text(expected.to_owned()));
    }
}
