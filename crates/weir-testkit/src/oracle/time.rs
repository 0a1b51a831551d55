//! Rows by the time of the statement, and the moments before it.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime};
use weir_model::DataType;
use weir_policy::ast::{Ago, TimeUnit, TimeWindow};

use super::{Misfit, View};
use crate::cell::{Cell, Row};

const DAY_US: i64 = 86_400_000_000;

impl View<'_> {
    /// The place of the column that says when a row happened.
    pub(super) fn event_time(&self) -> Result<usize, Misfit> {
        let column = self.source.event_time.and_then(|id| self.source.columns.iter().position(|c| c.id == id));
        let place = column.ok_or(Misfit::Broken)?;
        match self.source.columns[place].data_type {
            DataType::Date | DataType::Timestamp { zoned: false } => Ok(place),
            _ => Err(Misfit::Broken),
        }
    }

    /// A row without a time is never shown.
    pub(super) fn is_within(&self, window: TimeWindow, row: &Row) -> Result<Option<bool>, Misfit> {
        let event = &row[self.event_time()?];
        let Some(limit) = before(self.me.at_unix_ms, window.ago) else {
            // Nothing was before the calendar.
            return Ok((!event.is_null()).then_some(window.newer));
        };
        let newer = match event {
            Cell::Null => return Ok(None),
            Cell::Date(days) => i64::from(*days) >= limit.div_euclid(DAY_US),
            Cell::Timestamp(us) => *us >= limit,
            _ => return Err(Misfit::Broken),
        };
        Ok(Some(newer == window.newer))
    }
}

/// In microseconds; `None` where the calendar ends.
fn before(now_unix_ms: u64, Ago { amount, unit }: Ago) -> Option<i64> {
    let now = i64::try_from(now_unix_ms).ok()?.checked_mul(1_000)?;
    let ticks = |each: i64| {
        let at = now.checked_sub(i64::from(amount).checked_mul(each)?)?;
        DateTime::from_timestamp_micros(at).map(|_| at)
    };
    match unit {
        TimeUnit::Minute => ticks(60_000_000),
        TimeUnit::Hour => ticks(3_600_000_000),
        TimeUnit::Day => ticks(DAY_US),
        TimeUnit::Month => months(now, amount.into()),
        TimeUnit::Year => months(now, i64::from(amount) * 12),
    }
}

/// The same day and time so many months before, or the last day of that month when it has no such day.
fn months(now: i64, back: i64) -> Option<i64> {
    let at: NaiveDateTime = DateTime::from_timestamp_micros(now)?.naive_utc();
    let month = i64::from(at.year()) * 12 + i64::from(at.month0()) - back;
    let (year, month) = (i32::try_from(month.div_euclid(12)).ok()?, u32::try_from(month.rem_euclid(12) + 1).ok()?);
    let day = (1..=at.day()).rev().find_map(|day| NaiveDate::from_ymd_opt(year, month, day))?;
    Some(day.and_time(at.time()).and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> i64 {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap().and_utc().timestamp_micros()
    }

    #[test]
    fn months_end_where_they_end() {
        let now = u64::try_from(moment("2024-03-31 10:00:00") / 1_000).unwrap();
        let back = |amount, unit| before(now, Ago { amount, unit });
        assert_eq!(back(1, TimeUnit::Month), Some(moment("2024-02-29 10:00:00")));
        assert_eq!(back(13, TimeUnit::Month), Some(moment("2023-02-28 10:00:00")));
        assert_eq!(back(4, TimeUnit::Year), Some(moment("2020-03-31 10:00:00")));
        assert_eq!(back(31, TimeUnit::Day), Some(moment("2024-02-29 10:00:00")));
        assert_eq!(back(90, TimeUnit::Minute), Some(moment("2024-03-31 08:30:00")));
        assert_eq!(back(u32::MAX, TimeUnit::Year), None);
        assert_eq!(back(u32::MAX, TimeUnit::Hour), None);
    }
}
