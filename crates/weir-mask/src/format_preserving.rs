//! Format-preserving encryption.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use num_bigint::BigUint;
use weir_model::ColumnId;

use crate::ff1::{Ciphers, Direction, Domain, Number, SHORT_BITS};
use crate::key::Keys;

/// FF1 (NIST SP 800-38G) with AES-256: a value becomes another one of its form, and different ones become different
/// ones. Whoever has the key can turn it back; nothing shows that a value was masked.
///
/// **Texts.** ASCII digits, lower-case letters and upper-case letters each stay what they are, where they are; all
/// other characters stay themselves. All digits and letters together, from left to right, are one number in mixed radix
/// (10 for a digit, 26 for a letter), which is permuted among all numbers of that form, so that every character of the
/// answer depends on every one of the value. Digits alone are FF1 with radix 10 and letters alone with
/// radix 26; both together are FF1 with radix 2 over as many binary digits as the greatest such number has, repeated
/// until the answer is such a number (cycle walking).
///
/// **Integers.** Sign and number of decimal digits stay. The number, less the least of its number of digits, is
/// permuted among all of its sign and length that the type can hold: FF1 with radix 2 and cycle walking.
///
/// The tweak is the column id (4 bytes, little-endian), then for a text 0 and its form (its UTF-8 with `0`, `a`, `A`
/// for the characters of the three kinds), and for an integer 1, the sign (0 or 1 for negative) and the number of
/// digits (one byte).
///
/// The answer is `None`, for NULL, where there would be little to choose from or something would stay readable:
/// - values of whose form there are fewer than 1 000 000, such as texts with fewer than six digits and no letters, or
///   integers of fewer than seven digits;
/// - texts with a letter or digit that is not ASCII;
/// - texts with more than 512 letters and digits.
#[derive(Clone)]
pub struct FormatPreserving {
    column: ColumnId,
    ciphers: Arc<Ciphers>,
}

/// The time for a value grows with the square of its digits and letters; so many take a good half of a millisecond.
const CHARACTERS_MAX: u32 = 512;

impl FormatPreserving {
    pub fn new(keys: &Keys, column: ColumnId) -> Self {
        Self { column, ciphers: Arc::new(Ciphers::new(&keys.ff1)) }
    }

    pub fn mask(&self, value: &str) -> Option<String> {
        self.text(value, Direction::Mask)
    }

    /// The value that `mask` makes `masked` of. Every text of a form that can be masked is one.
    pub fn unmask(&self, masked: &str) -> Option<String> {
        self.text(masked, Direction::Unmask)
    }

    /// `range` is what the column's type can hold. Decimals are integers in units of their last digit.
    pub fn mask_int(&self, value: i128, range: RangeInclusive<i128>) -> Option<i128> {
        self.int(value, &range, Direction::Mask)
    }

    /// The value that `mask_int` makes `masked` of, with the same range.
    pub fn unmask_int(&self, masked: i128, range: RangeInclusive<i128>) -> Option<i128> {
        self.int(masked, &range, Direction::Unmask)
    }

    fn text(&self, text: &str, direction: Direction) -> Option<String> {
        if text.chars().any(|c| !c.is_ascii() && c.is_alphanumeric()) {
            return None;
        }
        let mut tweak = Vec::with_capacity(5 + text.len());
        tweak.extend_from_slice(&self.column.0.to_le_bytes());
        tweak.push(0);
        let (mut digits, mut letters) = (0_u32, 0_u32);
        for byte in text.bytes() {
            let kind = Kind::of(byte);
            tweak.push(kind.map_or(byte, Kind::first));
            match kind {
                Some(Kind::Digit) => digits = digits.saturating_add(1),
                Some(Kind::Lower | Kind::Upper) => letters = letters.saturating_add(1),
                None => {}
            }
        }
        if digits.saturating_add(letters) > CHARACTERS_MAX {
            return None;
        }
        // A thousandth more than the binary digits that each stands for.
        let short = digits * 3322 + letters * 4701 <= 1000 * SHORT_BITS;
        let mut bytes = text.as_bytes().to_vec();
        if short {
            self.bytes::<u128>(&mut bytes, digits, letters, &tweak, direction)?;
        } else {
            self.bytes::<BigUint>(&mut bytes, digits, letters, &tweak, direction)?;
        }
        String::from_utf8(bytes).ok()
    }

    fn bytes<N: Number>(
        &self,
        text: &mut [u8],
        digits: u32,
        letters: u32,
        tweak: &[u8],
        direction: Direction,
    ) -> Option<()> {
        let kinds = |byte: &u8| Kind::of(*byte).map(|kind| (kind, byte.wrapping_sub(kind.first())));
        let (mut number, mut size) = (N::from(0), N::from(1));
        for (kind, digit) in text.iter().filter_map(kinds) {
            number.push(kind.radix(), digit.into());
            size.push(kind.radix(), 0);
        }
        let domain = match (digits, letters) {
            (_, 0) => Domain::Decimal(digits),
            (0, _) => Domain::Letters(letters),
            (_, _) => Domain::Below(&size),
        };
        let mut number = self.ciphers.permute(domain, tweak, number, direction)?;
        for byte in text.iter_mut().rev() {
            if let Some(kind) = Kind::of(*byte) {
                *byte = kind.first().wrapping_add(u8::try_from(number.pop(kind.radix())).ok()?);
            }
        }
        Some(())
    }

    fn int(&self, value: i128, range: &RangeInclusive<i128>, direction: Direction) -> Option<i128> {
        let negative = value < 0;
        let magnitude = value.unsigned_abs();
        let digits = magnitude.checked_ilog10()?.checked_add(1)?;
        let least = 10_u128.checked_pow(digits.checked_sub(1)?)?;
        let bound = if negative { range.start().min(&0) } else { range.end().max(&0) }.unsigned_abs();
        // The greatest numbers of 128 bits are fewer than there are of their length.
        let greatest = 10_u128.checked_pow(digits).map_or(bound, |next| bound.min(next - 1));
        let size = greatest.checked_sub(least)?.checked_add(1)?;

        let [a, b, c, d] = self.column.0.to_le_bytes();
        let tweak = [a, b, c, d, 1, u8::from(negative), u8::try_from(digits).ok()?];
        let number = magnitude.checked_sub(least)?;
        let magnitude = least.checked_add(self.ciphers.permute(Domain::Below(&size), &tweak, number, direction)?)?;
        if negative { 0_i128.checked_sub_unsigned(magnitude) } else { magnitude.try_into().ok() }
    }
}

impl fmt::Debug for FormatPreserving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FormatPreserving(column {}, …)", self.column)
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Digit,
    Lower,
    Upper,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        if byte.is_ascii_digit() {
            Some(Kind::Digit)
        } else if byte.is_ascii_lowercase() {
            Some(Kind::Lower)
        } else if byte.is_ascii_uppercase() {
            Some(Kind::Upper)
        } else {
            None
        }
    }

    fn first(self) -> u8 {
        match self {
            Kind::Digit => b'0',
            Kind::Lower => b'a',
            Kind::Upper => b'A',
        }
    }

    fn radix(self) -> u32 {
        match self {
            Kind::Digit => 10,
            Kind::Lower | Kind::Upper => 26,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::key::tests::keys;

    fn masker(column: u32) -> FormatPreserving {
        FormatPreserving::new(&keys(), ColumnId(column))
    }

    fn form(text: &str) -> String {
        text.bytes().map(|b| char::from(Kind::of(b).map_or(b, Kind::first))).collect()
    }

    #[test]
    fn masked_texts_keep_their_form_and_come_back() {
        let long = "Ab3-".repeat(170);
        for text in [
            "4111 1111 1111 1111",
            "000000",
            "abcde",
            "A12345678",
            "ab1234",
            "NL91 ABNA 0417 1643 00",
            "Alice.Jones-1984@Example.org",
            "550e8400-e29b-41d4-a716-446655440000",
            "+31 (0)20 123 45 67 — “desk” 🏝",
            "1234567890123456789012345678901234567890",
            "thequickbrownfoxjumpsoverthelazydog",
            &long,
        ] {
            let masked = masker(1).mask(text).unwrap();
            assert_ne!(masked, text);
            assert_eq!(form(&masked), form(text));
            assert_eq!(masked, masker(1).mask(text).unwrap());
            assert_eq!(masker(1).unmask(&masked).as_deref(), Some(text));
            assert_ne!(masker(2).mask(text).unwrap(), masked, "columns are kept apart");
        }
    }

    #[test]
    fn forms_with_few_values_are_null() {
        for text in ["", "12345", "abcd", "A1234", "AB123", "ABC1", "a.b.c.d", "---", "🏝🏝🏝🏝🏝🏝🏝", "99999"]
        {
            assert_eq!(masker(1).mask(text), None, "{text}");
            assert_eq!(masker(1).unmask(text), None, "{text}");
        }
        // Each kind by itself would be too few.
        for text in ["A12345", "ab1234", "A1b2c"] {
            assert!(masker(1).mask(text).is_some(), "{text}");
        }
    }

    #[test]
    fn nothing_readable_is_left() {
        for text in ["Müller 1234567", "Иванов 1234567", "٣٣٣٣٣٣٣ 1234567", "山田 12345678", "½ 1234567"]
        {
            assert_eq!(masker(1).mask(text), None, "{text}");
        }
        assert_eq!(masker(1).mask(&"7".repeat(513)), None);
        assert!(masker(1).mask(&"7".repeat(512)).is_some());
    }

    /// One digit more or less, or one in a single place, changes the others too.
    #[test]
    fn every_character_depends_on_every_other() {
        let masked: HashSet<char> =
            (b'A'..=b'Z').map(|c| masker(1).mask(&format!("{}12345678", char::from(c))).unwrap()).map(last).collect();
        assert!(masked.len() > 5);
        let masked: HashSet<char> = (0..10)
            .map(|d| masker(1).mask(&format!("A1234567{d}")).unwrap())
            .map(|text| text.chars().next().unwrap())
            .collect();
        assert!(masked.len() > 5);
        fn last(text: String) -> char {
            text.chars().next_back().unwrap()
        }
    }

    #[test]
    fn the_form_is_in_the_tweak() {
        let digits =
            |text: &str| -> String { masker(1).mask(text).unwrap().chars().filter(char::is_ascii_digit).collect() };
        let forms = ["123-456-789", "123456789", "123 456 789", "123456-789", "-123456789"];
        assert_eq!(forms.iter().map(|text| digits(text)).collect::<HashSet<_>>().len(), forms.len());
        let upper = masker(1).mask("ABCDEFGH").unwrap();
        assert_ne!(masker(1).mask("abcdefgh").unwrap(), upper.to_ascii_lowercase());
    }

    #[test]
    fn different_values_stay_different() {
        let texts: HashSet<String> = (0..3_000).map(|i| masker(1).mask(&format!("X{i:05}")).unwrap()).collect();
        assert_eq!(texts.len(), 3_000);
        let ints: HashSet<i128> =
            (0..3_000).map(|i| masker(1).mask_int(1_000_000 + i, 0..=i128::MAX).unwrap()).collect();
        assert_eq!(ints.len(), 3_000);
    }

    #[test]
    fn integers_keep_sign_and_length_within_their_type() {
        let types = [
            i128::from(i32::MIN)..=i128::from(i32::MAX),
            i128::from(i64::MIN)..=i128::from(i64::MAX),
            0..=i128::from(u32::MAX),
            0..=i128::from(u64::MAX),
            -99_999_999..=99_999_999,
            1 - 10_i128.pow(38)..=10_i128.pow(38) - 1,
            i128::MIN..=i128::MAX,
        ];
        for range in types {
            let (start, end) = (*range.start(), *range.end());
            let powers = (6..39).flat_map(|n| [10_i128.pow(n), -(10_i128.pow(n)), 10_i128.pow(n) / 7 * 10]);
            for value in powers.chain([start, end]).filter(|v| range.contains(v) && *v != 0) {
                let masked = masker(1).mask_int(value, range.clone()).unwrap();
                assert!(range.contains(&masked));
                assert_eq!(masked.to_string().len(), value.to_string().len());
                assert_eq!(masked < 0, value < 0);
                assert_eq!(masker(1).unmask_int(masked, range.clone()), Some(value));
            }
        }
    }

    #[test]
    fn integers_of_few_digits_are_null() {
        let mask = |value| masker(1).mask_int(value, i128::from(i64::MIN)..=i128::from(i64::MAX));
        for value in [0, 1, -1, 12_345, 999_999, -999_999] {
            assert_eq!(mask(value), None);
        }
        assert!(mask(1_000_000).is_some() && mask(-1_000_000).is_some());
        // Of seven digits the type holds only these few; and a value that it cannot hold at all.
        assert_eq!(masker(1).mask_int(1_000_000, 0..=1_500_000), None);
        assert_eq!(masker(1).mask_int(9_000_000, 0..=2_500_000), None);
        assert_eq!(masker(1).mask_int(-9_000_000, 0..=i128::MAX), None);
    }

    #[test]
    fn sign_and_length_are_in_the_tweak() {
        let range = -(10_i128.pow(18))..=10_i128.pow(18);
        let mask = |value| masker(1).mask_int(value, range.clone()).unwrap();
        assert_ne!(mask(12_345_678), -mask(-12_345_678));
        assert_ne!(mask(12_345_678).to_string(), masker(1).mask("12345678").unwrap());
    }
}
