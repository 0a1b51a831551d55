//! Days and microseconds since 1970-01-01 as the calendar has them, for databases that speak of them so.

const DAY: i64 = 86_400_000_000;

/// From 0001-01-01 to 9999-12-31, the years that have four digits everywhere.
pub(super) const DAYS: std::ops::Range<i32> = -719_162..2_932_897;

/// Of the proleptic Gregorian calendar (H. Hinnant, *chrono-compatible low-level date algorithms*); `None` for a day that
/// it does not have, and outside of [`DAYS`].
pub(super) fn days(year: u16, month: u8, day: u8) -> Option<i32> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    };
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=last).contains(&day) {
        return None;
    }
    let (year, month, day) = (i32::from(year) - i32::from(month <= 2), i32::from(month), i32::from(day));
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// `None` for what no clock shows.
pub(super) fn micros(hour: u8, minute: u8, second: u8, micros: u32) -> Option<i64> {
    let shown = hour < 24 && minute < 60 && second < 60 && micros < 1_000_000;
    let seconds = (i64::from(hour) * 60 + i64::from(minute)) * 60 + i64::from(second);
    shown.then(|| seconds * 1_000_000 + i64::from(micros))
}

pub(super) fn at(days: i32, micros: i64) -> i64 {
    i64::from(days) * DAY + micros
}

/// `2026-01-31`
pub(super) fn date(days: i32) -> String {
    let days = i64::from(days) + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = (month + 2) % 12 + 1;
    format!("{:04}-{month:02}-{day:02}", era * 400 + year_of_era + i64::from(month <= 2))
}

/// `23:59:59.000000`
pub(super) fn time(micros: i64) -> String {
    let seconds = micros / 1_000_000;
    format!("{:02}:{:02}:{:02}.{:06}", seconds / 3600, seconds / 60 % 60, seconds % 60, micros % 1_000_000)
}

/// `2026-01-31 23:59:59.000000`
pub(super) fn timestamp(micros: i64) -> String {
    let days = i32::try_from(micros.div_euclid(DAY)).unwrap_or_default();
    format!("{} {}", date(days), time(micros.rem_euclid(DAY)))
}

/// What [`date`] writes, and nothing else.
pub(super) fn read_date(text: &str) -> Option<i32> {
    let part = |from: usize, to: usize| number(text.get(from..to)?);
    let [_, _, _, _, b'-', _, _, b'-', _, _] = text.as_bytes() else { return None };
    days(u16::try_from(part(0, 4)?).ok()?, u8::try_from(part(5, 7)?).ok()?, u8::try_from(part(8, 10)?).ok()?)
}

/// `23:59`, `23:59:59`, and up to six digits behind a point.
pub(super) fn read_time(text: &str) -> Option<i64> {
    let part = |from: usize, to: usize| u8::try_from(number(text.get(from..to)?)?).ok();
    let (seconds, fraction) = match text.as_bytes() {
        [_, _, b':', _, _] => (0, 0),
        [_, _, b':', _, _, b':', _, _] => (part(6, 8)?, 0),
        [_, _, b':', _, _, b':', _, _, b'.', fraction @ ..] if (1..=6).contains(&fraction.len()) => {
            (part(6, 8)?, number(&format!("{:0<6}", text.get(9..)?))?)
        }
        _ => return None,
    };
    micros(part(0, 2)?, part(3, 5)?, seconds, fraction)
}

/// A date and a time, with a blank or `T` between.
pub(super) fn read_timestamp(text: &str) -> Option<i64> {
    let (date, time) = text.split_at_checked(10)?;
    Some(at(read_date(date)?, read_time(time.strip_prefix([' ', 'T'])?)?))
}

fn number(digits: &str) -> Option<u32> {
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_is_written_and_read_back() {
        for day in DAYS {
            assert_eq!(read_date(&date(day)), Some(day));
        }
        assert_eq!((date(DAYS.start), date(DAYS.end - 1)), ("0001-01-01".to_owned(), "9999-12-31".to_owned()));
        assert_eq!(date(0), "1970-01-01");
        for wrong in ["0000-00-00", "2020-00-10", "2019-02-29", "2020-1-01", "2020-01-01 ", "+020-01-01", ""] {
            assert_eq!(read_date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_are_written_and_read_back() {
        for micros in [0, 1, 59_999_999, 86_399_999_999] {
            assert_eq!(read_time(&time(micros)), Some(micros));
        }
        assert_eq!((read_time("01:02"), read_time("01:02:03.5")), (Some(3_720_000_000), Some(3_723_500_000)));
        for wrong in ["24:00:00", "1:02", "01:02:03.", "01:02:03.1234567", "01:02:03Z", "-1:00:00"] {
            assert_eq!(read_time(wrong), None, "{wrong}");
        }
        for micros in [-1, 0, 1_700_000_000_123_456] {
            assert_eq!(read_timestamp(&timestamp(micros)), Some(micros));
        }
        assert_eq!(read_timestamp("2020-01-01"), None);
    }
}
