//! What a column is rounded to when its profile decides: every candidate is tried.

use weir_model::{Column, DataType, Value};
use weir_policy::ast::{CalendarUnit, RoundTo};

use crate::cell::parse_decimal;

/// `None` when the column has no profile, or none with values.
pub(super) fn by_profile(column: &Column) -> Option<RoundTo> {
    let profile = column.profile.as_ref()?;
    let to = match (profile.least.as_ref()?, profile.greatest.as_ref()?) {
        (Value::Date(first), Value::Date(last)) => RoundTo::Calendar(unit(f64::from(last - first), false)),
        (Value::Timestamp(first), Value::Timestamp(last)) => {
            RoundTo::Calendar(unit((last - first) as f64 / 86_400e6, true))
        }
        (first, last) => RoundTo::Number(step(&first.to_string(), &last.to_string(), &column.data_type)?),
    };
    Some(to)
}

fn unit(days: f64, of_time: bool) -> CalendarUnit {
    match days / 10.0 {
        tenth if tenth >= 365.0 => CalendarUnit::Year,
        tenth if tenth >= 91.0 => CalendarUnit::Quarter,
        tenth if tenth >= 30.0 => CalendarUnit::Month,
        tenth if tenth >= 7.0 || !of_time => CalendarUnit::Week,
        tenth if tenth >= 1.0 => CalendarUnit::Day,
        _ => CalendarUnit::Hour,
    }
}

/// Counts in millionths.
fn step(least: &str, greatest: &str, data_type: &DataType) -> Option<String> {
    let millionths = |text: &str| {
        let (digits, scale) = parse_decimal(text)?;
        Some(digits * 10_i128.pow(6_u32.checked_sub(scale)?))
    };
    let (least, greatest) = (millionths(least)?, millionths(greatest)?);
    let span = [greatest - least, greatest.abs(), 20_000_000].into_iter().find(|span| *span > 0)?;
    let smallest = match data_type {
        DataType::Float64 => 0,
        DataType::Decimal { scale: 2, .. } => 20_000,
        DataType::Int32 | DataType::Int64 => 2_000_000,
        other => panic!("no columns of type {other} are made"),
    };
    let mut candidates: Vec<(i128, String)> = Vec::new();
    for zeros in 0..20 {
        for digit in ["1", "2", "5"] {
            candidates
                .push((millionths(&format!("{digit}{}", "0".repeat(zeros)))?, format!("{digit}{}", "0".repeat(zeros))));
        }
    }
    for zeros in 0..6 {
        for digit in ["1", "2", "5"] {
            let text = format!("0.{}{digit}", "0".repeat(zeros));
            candidates.push((millionths(&text)?, text));
        }
    }
    let enough = candidates.into_iter().filter(|(step, _)| *step >= smallest && step * 20 >= span);
    enough.min().map(|(_, text)| text)
}
