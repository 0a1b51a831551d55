//! Intervals as clients write them: `1 day 2:03:04.5`, `-3 mons`, `P1Y2DT3H`.

use arrow::datatypes::IntervalMonthDayNano;

const SECOND: i64 = 1_000_000_000;

pub(super) fn parse(text: &str) -> Option<IntervalMonthDayNano> {
    let text = text.trim().to_ascii_lowercase();
    let (text, ago) = text.strip_suffix(" ago").map_or((text.as_str(), false), |before| (before, true));
    let mut sum = Sum::default();
    if let Some(iso) = text.strip_prefix('p').filter(|iso| !iso.is_empty()) {
        let (dates, times) = iso.split_once('t').unwrap_or((iso, ""));
        sum.parts(dates, |unit| if unit == "m" { "mon" } else { unit })?;
        sum.parts(times, |unit| if unit == "m" { "min" } else { unit })?;
    } else {
        let text = text.trim_start_matches('@').replace(',', " ");
        let mut words = text.split_whitespace().peekable();
        words.peek()?;
        while let Some(word) = words.next() {
            if word.contains(':') {
                sum.clock(word)?;
            } else if word.ends_with(|c: char| c.is_ascii_alphabetic()) {
                sum.parts(word, |unit| unit)?;
            } else {
                // A number without a unit is of seconds.
                sum.add(
                    word,
                    words.next_if(|next| next.starts_with(|c: char| c.is_ascii_alphabetic())).unwrap_or("s"),
                )?;
            }
        }
    }
    sum.interval(if ago { -1 } else { 1 })
}

#[derive(Default)]
struct Sum {
    months: i64,
    days: i64,
    nanoseconds: i64,
}

impl Sum {
    /// Numbers with their units, without anything between.
    fn parts(&mut self, text: &str, unit_of: fn(&str) -> &str) -> Option<()> {
        let mut rest = text;
        while !rest.is_empty() {
            let unit_at = rest.find(|c: char| c.is_ascii_alphabetic())?;
            let (number, after) = rest.split_at_checked(unit_at)?;
            let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, after) = after.split_at_checked(end)?;
            self.add(number, unit_of(unit))?;
            rest = after;
        }
        Some(())
    }

    fn add(&mut self, number: &str, unit: &str) -> Option<()> {
        let (whole, fraction) = decimal(number)?;
        let singular = unit.strip_suffix('s').filter(|unit| unit.len() > 1).unwrap_or(unit);
        let seconds = match singular {
            "y" | "year" | "yr" => return self.months(whole.checked_mul(12)?, fraction),
            "mon" | "month" => return self.months(whole, fraction),
            "w" | "week" => return self.days(whole.checked_mul(7)?, fraction),
            "d" | "day" => return self.days(whole, fraction),
            "h" | "hour" | "hr" => 3600,
            "m" | "min" | "minute" => 60,
            "s" | "sec" | "second" => 1,
            "ms" | "msec" | "millisecond" => return self.nanoseconds(whole.checked_mul(1_000_000)?),
            "us" | "microsecond" => return self.nanoseconds(whole.checked_mul(1_000)?),
            _ => return None,
        };
        let whole = whole.checked_mul(seconds)?.checked_mul(SECOND)?;
        self.nanoseconds(whole.checked_add(fraction.checked_mul(seconds)?)?)
    }

    /// Parts of months and days are not of one length.
    fn months(&mut self, months: i64, fraction: i64) -> Option<()> {
        self.months = self.months.checked_add(months).filter(|_| fraction == 0)?;
        Some(())
    }

    fn days(&mut self, days: i64, fraction: i64) -> Option<()> {
        self.days = self.days.checked_add(days).filter(|_| fraction == 0)?;
        Some(())
    }

    fn nanoseconds(&mut self, nanoseconds: i64) -> Option<()> {
        self.nanoseconds = self.nanoseconds.checked_add(nanoseconds)?;
        Some(())
    }

    /// `[-]hours:minutes[:seconds]`
    fn clock(&mut self, word: &str) -> Option<()> {
        let (sign, word) = match word.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, word.trim_start_matches('+')),
        };
        let mut parts = word.split(':');
        let (hours, _) = decimal(parts.next()?)?;
        let (minutes, _) = decimal(parts.next()?)?;
        let (seconds, fraction) = decimal(parts.next().unwrap_or("0"))?;
        let sum = hours.checked_mul(60)?.checked_add(minutes)?.checked_mul(60)?.checked_add(seconds)?;
        let sum = sum.checked_mul(SECOND)?.checked_add(fraction)?;
        parts.next().is_none().then_some(())?;
        self.nanoseconds(sum.checked_mul(sign)?)
    }

    fn interval(self, sign: i64) -> Option<IntervalMonthDayNano> {
        let part = |part: i64| part.checked_mul(sign);
        let (months, days) = (i32::try_from(part(self.months)?).ok()?, i32::try_from(part(self.days)?).ok()?);
        Some(IntervalMonthDayNano::new(months, days, part(self.nanoseconds)?))
    }
}

/// A number as whole and billionths, both with its sign.
fn decimal(text: &str) -> Option<(i64, i64)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let sign = if whole.starts_with('-') { -1 } else { 1 };
    let digits = fraction.get(..fraction.len().min(9))?;
    let scaled: i64 = if digits.is_empty() { 0 } else { digits.parse().ok().filter(|n: &i64| *n >= 0)? };
    let scale = 10_i64.checked_pow(9 - u32::try_from(digits.len()).ok()?)?;
    let whole = if whole.is_empty() || whole == "-" || whole == "+" { 0 } else { whole.parse().ok()? };
    Some((whole, scaled.checked_mul(scale)?.checked_mul(sign)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_in_all_their_forms() {
        let hour = 3600 * SECOND;
        let cases = [
            ("1 day 02:03:04.5", (0, 1, 2 * hour + 184 * SECOND + SECOND / 2)),
            ("1 day, 2:00:00", (0, 1, 2 * hour)),
            ("-1 days +00:00:01", (0, -1, SECOND)),
            ("1 year 2 mons -3 days", (14, -3, 0)),
            ("P1Y2M3DT4H5M6S", (14, 3, 4 * hour + 306 * SECOND)),
            ("1d2h", (0, 1, 2 * hour)),
            ("@ 90 minutes ago", (0, 0, -hour * 3 / 2)),
            ("1.5 hours", (0, 0, hour * 3 / 2)),
            ("-0.5 s", (0, 0, -SECOND / 2)),
            ("7", (0, 0, 7 * SECOND)),
            ("3 weeks", (0, 21, 0)),
        ];
        for (text, (months, days, nanoseconds)) in cases {
            assert_eq!(parse(text), Some(IntervalMonthDayNano::new(months, days, nanoseconds)), "{text}");
        }
        for wrong in ["", "x", "1 fortnight", "1:2:3:4", "1.5 months", "99999999999999999999 s", "p", "1 day x"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
