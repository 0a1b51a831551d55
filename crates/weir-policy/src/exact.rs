//! Decimal numbers as policies write them, without loss.

use std::cmp::Ordering;

/// Largest power of ten that is used to bring numbers to one scale.
const SCALE_MAX: u32 = 38;

/// `mantissa / 10^scale`, with the smallest scale that holds the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exact {
    mantissa: i128,
    scale: u32,
}

impl Exact {
    /// Reads `-12`, `0.25`, `1e3`. `None` for what is no number or has more than 38 digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (negative, digits) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number.strip_prefix('+').unwrap_or(number)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty() || !whole.chars().chain(fraction.chars()).all(|c| c.is_ascii_digit())
        {
            return None;
        }
        let joined = format!("{whole}{fraction}");
        let significant = joined.trim_start_matches('0');
        let mantissa: i128 = if significant.is_empty() { 0 } else { significant.parse().ok()? };
        let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        Self::reduced(if negative { -mantissa } else { mantissa }, scale)
    }

    pub(crate) fn of_int(n: i64) -> Self {
        Self { mantissa: i128::from(n), scale: 0 }
    }

    fn reduced(mut mantissa: i128, mut scale: i32) -> Option<Self> {
        if mantissa == 0 {
            return Some(Self { mantissa: 0, scale: 0 });
        }
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        while scale < 0 {
            mantissa = mantissa.checked_mul(10)?;
            scale += 1;
        }
        let scale = u32::try_from(scale).ok().filter(|s| *s <= SCALE_MAX)?;
        Some(Self { mantissa, scale })
    }

    /// `None` beyond 38 digits.
    pub(crate) fn times_power_of_ten(self, power: i32) -> Option<Self> {
        Self::reduced(self.mantissa, i32::try_from(self.scale).ok()?.checked_sub(power)?)
    }

    /// `None` beyond 38 digits.
    pub(crate) fn minus(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let raised = |n: Self| n.mantissa.checked_mul(10_i128.checked_pow(scale - n.scale)?);
        Self::reduced(raised(self)?.checked_sub(raised(other)?)?, i32::try_from(scale).ok()?)
    }

    pub(crate) fn magnitude(self) -> Self {
        Self { mantissa: self.mantissa.saturating_abs(), ..self }
    }

    pub(crate) fn is_positive(self) -> bool {
        self.mantissa > 0
    }

    /// The number, when it is whole.
    pub(crate) fn whole(self) -> Option<i128> {
        (self.scale == 0).then_some(self.mantissa)
    }

    /// Whether the number is one of `decimal(precision, scale)`.
    pub(crate) fn fits_decimal(self, precision: u8, scale: i8) -> bool {
        let Ok(mine) = i32::try_from(self.scale) else { return false };
        let shift = i32::from(scale) - mine;
        let unscaled = match u32::try_from(shift) {
            Ok(up) => 10_i128.checked_pow(up).and_then(|p| self.mantissa.checked_mul(p)),
            Err(_) => match 10_i128.checked_pow(shift.unsigned_abs()) {
                Some(p) if self.mantissa % p == 0 => Some(self.mantissa / p),
                _ => None,
            },
        };
        let limit = 10_u128.checked_pow(u32::from(precision)).unwrap_or(u128::MAX);
        unscaled.is_some_and(|n| n.unsigned_abs() < limit)
    }

    /// `None` when the numbers are too far apart in scale to be compared without loss.
    pub(crate) fn compare(self, other: Self) -> Option<Ordering> {
        let scale = self.scale.max(other.scale);
        let raised = |n: Self| n.mantissa.checked_mul(10_i128.checked_pow(scale - n.scale)?);
        Some(raised(self)?.cmp(&raised(other)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_written_and_compared_by_value() {
        let n = |t: &str| Exact::parse(t).unwrap();
        assert_eq!(n("1.50"), n("1.5"));
        assert_eq!(n("1e3"), n("1000"));
        assert_eq!(n("-0"), n("0"));
        assert_eq!(n("1.5").compare(n("1.49")), Some(Ordering::Greater));
        assert_eq!(n("1.0").whole(), Some(1));
        for wrong in ["", ".", "-", "1.2.3", "1e", "x", "0x1", "1e99", "123456789012345678901234567890123456789012"] {
            assert_eq!(Exact::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn decimals_hold_what_their_digits_can() {
        let fits = |t: &str, p, s| Exact::parse(t).unwrap().fits_decimal(p, s);
        assert!(fits("99.99", 4, 2));
        assert!(fits("-99.99", 4, 2));
        assert!(!fits("100", 4, 2));
        assert!(!fits("0.001", 4, 2));
        assert!(fits("1200", 2, -2));
        assert!(!fits("1250", 2, -2));
    }
}
