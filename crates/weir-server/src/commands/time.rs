//! Times as people write and read them.

use anyhow::{Context as _, bail};
use chrono::{DateTime, Days, NaiveDate, SecondsFormat};

/// An age, a day or a time, not after now.
pub(super) fn past(text: &str, now: u64) -> anyhow::Result<u64> {
    match (span(text), day(text), moment(text)) {
        (Some(age), ..) => Ok(now.saturating_sub(age)),
        (None, Some(day), _) => since_1970(text, midnight(day)),
        (None, None, Some(moment)) => since_1970(text, Some(moment)),
        (None, None, None) => {
            bail!("`{text}` is no time; write an age such as 2h, a day, or a time such as 2024-12-31T23:59:59Z")
        }
    }
}

/// So long from now on, to the end of a day, or a time.
pub(super) fn future(text: &str, now: u64) -> anyhow::Result<u64> {
    let at = match (span(text), day(text), moment(text)) {
        (Some(span), ..) => now.checked_add(span).with_context(|| format!("`{text}` is too long"))?,
        (None, Some(day), _) => since_1970(text, day.checked_add_days(Days::new(1)).and_then(midnight))?,
        (None, None, Some(moment)) => since_1970(text, Some(moment))?,
        (None, None, None) => {
            bail!("`{text}` is no time; write a span such as 30d, a day, or a time such as 2030-12-31T23:59:59Z")
        }
    };
    if at <= now {
        bail!("`{text}` is over");
    }
    Ok(at)
}

pub(super) fn shown(unix_ms: u64, format: SecondsFormat) -> String {
    let time = i64::try_from(unix_ms).ok().and_then(DateTime::from_timestamp_millis);
    time.map_or_else(|| unix_ms.to_string(), |time| time.to_rfc3339_opts(format, true))
}

fn span(text: &str) -> Option<u64> {
    let units = [("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    units.iter().find_map(|(unit, ms)| text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(*ms))
}

fn day(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()
}

fn midnight(day: NaiveDate) -> Option<i64> {
    Some(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis())
}

fn moment(text: &str) -> Option<i64> {
    Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis())
}

fn since_1970(text: &str, unix_ms: Option<i64>) -> anyhow::Result<u64> {
    let unix_ms = unix_ms.with_context(|| format!("`{text}` is out of range"))?;
    u64::try_from(unix_ms).with_context(|| format!("`{text}` is before 1970"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000_000_000;

    #[test]
    fn times_read_as_ages_days_and_moments() {
        assert_eq!(past("2h", NOW).unwrap(), NOW - 7_200_000);
        assert_eq!(past("1970-01-02", NOW).unwrap(), 86_400_000);
        assert_eq!(past("1970-01-01T01:00:00+01:00", NOW).unwrap(), 0);
        for wrong in ["yesterday", "2", "-1d", "1969-12-31"] {
            assert!(past(wrong, NOW).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ends_read_as_spans_whole_days_and_moments() {
        assert_eq!(future("2h", NOW).unwrap(), NOW + 7_200_000);
        // 2001-09-09T01:46:40Z is now; the day is over at its end.
        assert_eq!(future("2001-09-09", NOW).unwrap(), 1_000_080_000_000);
        assert_eq!(future("2001-09-09T01:46:41Z", NOW).unwrap(), NOW + 1_000);
        for wrong in ["tomorrow", "2", "0d", "2001-09-08", "2001-09-09T01:46:40Z", "1969-12-31"] {
            assert!(future(wrong, NOW).is_err(), "{wrong}");
        }
    }
}
