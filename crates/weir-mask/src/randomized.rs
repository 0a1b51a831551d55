//! Randomized response.

use std::fmt;

use weir_model::ColumnId;

use crate::key::{Keys, Prf};

/// Random numbers for the values of one column, decided by the row's key alone: asking again gives the same answer, so
/// nothing is won by averaging. `row_key` is always the bytes of a [`RowKey`](crate::RowKey).
///
/// The numbers of a row are the halves, big-endian, of the blocks HMAC-SHA-256(`column id (4 bytes, little-endian) ‖
/// number of the block (4 bytes, little-endian, from 0) ‖ row key`), in their order. One below `n` is the first that is
/// below the greatest multiple of `n` in 128 bits, modulo `n`: every one is exactly as likely.
///
/// A value that changes in a row that stays is moved by the same distance before and after.
#[derive(Clone)]
pub struct Randomizer {
    prf: Prf,
    column: ColumnId,
}

impl Randomizer {
    pub fn new(keys: &Keys, column: ColumnId) -> Self {
        Self { prf: Prf::new(&*keys.randomized), column }
    }

    /// `value` moved by a whole number from -`bound` to `bound`, each as likely: integers, decimals in units of their
    /// last digit, days. `None` when 128 bits cannot hold it or `bound` is 2^126 or more; whether a narrower
    /// type holds the answer is for the caller to see.
    pub fn moved(&self, row_key: &[u8], value: i128, bound: u128) -> Option<i128> {
        value.checked_add(self.distance(row_key, bound.try_into().ok()?)?)
    }

    /// `value` moved by at most `bound`, each distance as likely.
    ///
    /// The answer is `u · (r + k)`: `u` is the power of two for which `bound` is at least 2^32 and below 2^33 times
    /// `u`, `r` is `value / u` rounded, and `k` a uniform whole number. As everything lies on one grid, the low digits
    /// of the answer do not tell values apart that are within reach of it. Where numbers are so large that their own
    /// grid is coarser than `u`, that one takes its place, and an answer may lie half a step of it beyond the bound.
    ///
    /// `None` when `value` is infinite or not a number, when the answer would be infinite, and when `bound` is not
    /// positive or out of range (2^-990 to 2^1000).
    pub fn moved_float(&self, row_key: &[u8], value: f64, bound: f64) -> Option<f64> {
        if !(value.is_finite() && (2_f64.powi(-990)..2_f64.powi(1000)).contains(&bound)) {
            return None;
        }
        // The bound's exponent alone, less 32: `bound` is normal, and so is the unit.
        let unit = f64::from_bits((bound.to_bits() >> MANTISSA_BITS).checked_sub(32)? << MANTISSA_BITS);
        // Rounding the value takes up to half a unit of the bound. Whole and below 2^33.
        let reach = (bound / unit - 0.5).floor() as i128;
        let steps = self.distance(row_key, reach)? as f64;
        let value_steps = value / unit;
        let moved = if value_steps.abs() < (1_u64 << MANTISSA_BITS) as f64 {
            (value_steps.round_ties_even() + steps) * unit
        } else {
            value + steps * unit
        };
        moved.is_finite().then_some(moved)
    }

    fn distance(&self, row_key: &[u8], bound: i128) -> Option<i128> {
        let width = bound.checked_mul(2)?.checked_add(1)?.try_into().ok()?;
        i128::try_from(self.numbers(row_key).below(width)?).ok()?.checked_sub(bound)
    }

    fn numbers<'a>(&'a self, row_key: &'a [u8]) -> Numbers<'a> {
        Numbers { randomizer: self, row_key, block: 0, second: None }
    }
}

impl fmt::Debug for Randomizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Randomizer(column {}, …)", self.column)
    }
}

/// Some values are replaced by one of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// Of [`CERTAIN`].
    parts: u128,
    choices: u128,
}

/// Parts in the whole: a hundred percent with six digits behind the point.
const CERTAIN: u128 = 100_000_000;

impl Replacement {
    /// `percent` is a decimal number above 0 and at most 100 with at most six digits behind the point. `None` when it
    /// is anything else, or without choices.
    pub fn new(percent: &str, choices: usize) -> Option<Self> {
        let (whole, fraction) = percent.split_once('.').unwrap_or((percent, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 6 {
            return None;
        }
        let parts = format!("{whole}{fraction:0<6}").parse().ok()?;
        let choices = u128::try_from(choices).ok()?;
        (parts > 0 && parts <= CERTAIN && choices > 0).then_some(Self { parts, choices })
    }

    /// Which of the choices replaces the row's value, each as likely; `None` when the value stays.
    pub fn choose(&self, randomizer: &Randomizer, row_key: &[u8]) -> Option<usize> {
        let mut numbers = randomizer.numbers(row_key);
        if numbers.below(CERTAIN)? >= self.parts {
            return None;
        }
        numbers.below(self.choices)?.try_into().ok()
    }
}

const MANTISSA_BITS: u32 = 52;

struct Numbers<'a> {
    randomizer: &'a Randomizer,
    row_key: &'a [u8],
    block: u32,
    /// The other half of the last block.
    second: Option<u128>,
}

impl Numbers<'_> {
    /// `None` for none below zero.
    fn below(&mut self, limit: u128) -> Option<u128> {
        // 2^128 mod limit: so many of the greatest numbers would favour the least answers.
        let surplus = limit.wrapping_neg().checked_rem(limit)?;
        loop {
            let number = self.next();
            if number <= u128::MAX - surplus {
                return number.checked_rem(limit);
            }
        }
    }

    fn next(&mut self) -> u128 {
        if let Some(number) = self.second.take() {
            return number;
        }
        let Randomizer { prf, column } = self.randomizer;
        let block = prf.of(&[&column.0.to_le_bytes(), &self.block.to_le_bytes(), self.row_key]);
        self.block = self.block.wrapping_add(1);
        let mut halves = block.as_chunks().0.iter().map(|half| u128::from_be_bytes(*half));
        let first = halves.next().unwrap_or_default();
        self.second = halves.next();
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RowKey;
    use crate::key::tests::keys;

    fn randomizer(column: u32) -> Randomizer {
        Randomizer::new(&keys(), ColumnId(column))
    }

    fn rows(count: u32) -> impl Iterator<Item = RowKey> {
        (0..count).map(|id| {
            let mut row = RowKey::new();
            row.int(id);
            row
        })
    }

    /// Pearson's statistic of counts that should be equal: near one less than their number.
    fn chi_square(counts: &[u32]) -> f64 {
        let expected = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
        counts.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum()
    }

    #[test]
    fn percentages_are_read_exactly() {
        let parts = |percent| Replacement::new(percent, 1).map(|r| r.parts);
        assert_eq!(parts("100"), Some(100_000_000));
        assert_eq!(parts("100.000000"), Some(100_000_000));
        assert_eq!(parts("33.333333"), Some(33_333_333));
        assert_eq!(parts("0.000001"), Some(1));
        assert_eq!(parts("12.5"), Some(12_500_000));
        assert_eq!(parts("007"), Some(7_000_000));
        for refused in
            ["", ".", "0", "0.0", "100.000001", "101", "-1", "+1", "1.", ".5", "1e1", "1.0000001", "1 ", "1.2.3", "٣"]
        {
            assert_eq!(parts(refused), None, "{refused}");
        }
        assert_eq!(parts(&"9".repeat(60)), None);
        assert_eq!(Replacement::new("50", 0), None);
    }

    #[test]
    fn replacements_are_as_likely_as_they_should_be() {
        let replacement = Replacement::new("25", 3).unwrap();
        let mut chosen = [0_u32; 3];
        for row in rows(20_000) {
            if let Some(choice) = replacement.choose(&randomizer(1), row.as_bytes()) {
                chosen[choice] += 1;
            }
        }
        let replaced = chosen.iter().sum::<u32>();
        // 5 000 expected, with a standard deviation of 61.
        assert!((4_750..5_250).contains(&replaced), "{replaced}");
        assert!(chi_square(&chosen) < 14.0, "{chosen:?}");
        let always = Replacement::new("100", 2).unwrap();
        assert!(rows(1_000).all(|row| always.choose(&randomizer(1), row.as_bytes()).is_some()));
    }

    #[test]
    fn whole_distances_are_uniform_and_within_the_bound() {
        let mut counts = [0_u32; 11];
        for row in rows(22_000) {
            let moved = randomizer(1).moved(row.as_bytes(), 1_000, 5).unwrap();
            counts[usize::try_from(moved - 995).unwrap()] += 1;
        }
        assert!(chi_square(&counts) < 29.6, "{counts:?}");
    }

    #[test]
    fn a_row_has_one_answer_in_each_column() {
        let of = |column| -> Vec<_> {
            rows(100).map(|row| randomizer(column).moved(row.as_bytes(), 0, 1 << 100).unwrap()).collect()
        };
        assert_eq!(of(1), of(1));
        assert!(of(1).iter().zip(of(2)).all(|(a, b)| *a != b));
        let mut once = of(1);
        once.sort();
        once.dedup();
        assert_eq!(once.len(), 100);
    }

    #[test]
    fn what_does_not_fit_is_null() {
        for row in rows(50) {
            let row = row.as_bytes();
            let distance = randomizer(1).moved(row, 0, 1_000).unwrap();
            assert_eq!(randomizer(1).moved(row, i128::MAX, 1_000).is_none(), distance > 0);
            assert_eq!(randomizer(1).moved(row, i128::MIN, 1_000).is_none(), distance < 0);
            assert_eq!(randomizer(1).moved(row, 5, 0), Some(5));
        }
    }

    #[test]
    fn float_distances_are_uniform_and_within_the_bound() {
        for bound in [10.0, 0.1, 1e-200, 3e100] {
            let mut counts = [0_u32; 10];
            for row in rows(5_000) {
                let value = bound * 2.7;
                let moved = randomizer(1).moved_float(row.as_bytes(), value, bound).unwrap();
                let share = (moved - value) / bound;
                assert!(share.abs() <= 1.0, "{share}");
                counts[(share * 5.0 + 5.0) as usize] += 1;
            }
            assert!(chi_square(&counts) < 27.9, "{bound}: {counts:?}");
        }
    }

    /// If an answer were, say, the value plus a multiple of something, its low bits would point to the value.
    #[test]
    fn floats_lie_on_one_grid() {
        let unit = 2_f64.powi(3 - 32);
        for row in rows(1_000) {
            for value in [0.0, 0.1, 1.0 / 3.0, -77.7, 1e-30, 5e-324] {
                let moved = randomizer(1).moved_float(row.as_bytes(), value, 10.0).unwrap();
                assert_eq!((moved / unit).fract(), 0.0);
                assert!((moved - value).abs() <= 10.0);
            }
        }
    }

    #[test]
    fn floats_at_the_edges() {
        let mut row = RowKey::new();
        let row = row.text("row").as_bytes();
        let moved = |value, bound| randomizer(1).moved_float(row, value, bound);
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(moved(value, 1.0), None);
        }
        for bound in [f64::NAN, f64::INFINITY, 0.0, -1.0, 5e-324, f64::MAX] {
            assert_eq!(moved(1.0, bound), None);
        }
        // Far below what can be told apart at that size.
        assert_eq!(moved(1e300, 1.0), Some(1e300));
        assert_eq!(moved(f64::MAX, 1e-200), Some(f64::MAX));
        assert!(rows(20).any(|row| randomizer(1).moved_float(row.as_bytes(), f64::MAX, 1e300).is_none()));
    }

    #[test]
    fn the_numbers_are_fixed() {
        let mut row = RowKey::new();
        let row = row.int(1);
        let randomizer = randomizer(1);
        let mut numbers = randomizer.numbers(row.as_bytes());
        // Computed apart from this code.
        assert_eq!(numbers.next(), 0xdf62160426c8698254417fdc67b145b9);
        assert_eq!(numbers.next(), 0x1b458e191545bda81fb5965596c8f9b0);
        assert_eq!(numbers.next(), 0x2e20111a3de0605db2ce6994b8b6a4db);
        assert_eq!(numbers.below(0), None);
        assert_eq!(numbers.below(1), Some(0));
    }
}
