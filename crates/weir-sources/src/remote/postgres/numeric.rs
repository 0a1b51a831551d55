//! PostgreSQL's binary `numeric`: groups of four decimal digits, the weight of the first, a sign, a number of digits
//! after the point.

use bytes::{BufMut, BytesMut};
use datafusion::arrow::datatypes::i256;

const NEGATIVE: u16 = 0x4000;

/// `value * 10^scale`; `None` for what is no finite number, has more digits after the point, or does not fit.
pub(crate) fn read(bytes: &[u8], scale: i8) -> Option<i256> {
    let word = |at: usize| Some(u16::from_be_bytes(bytes.get(2 * at..2 * at + 2)?.try_into().ok()?));
    let (count, weight, sign) = (usize::from(word(0)?), word(1)?.cast_signed(), word(2)?);
    // NaN and the infinities have other signs.
    if sign != 0 && sign != NEGATIVE {
        return None;
    }
    let ten = |exponent: u32| i256::from_i128(10).checked_pow(exponent);
    let mut units = i256::ZERO;
    for place in 0..count {
        let digits = i64::from(word(4 + place)?);
        // The last of these four digits stands so many places before the point.
        let exponent = 4 * (i64::from(weight) - i64::try_from(place).ok()?) + i64::from(scale);
        let group = if exponent >= 0 {
            let digits = i256::from_i128(digits.into());
            if digits == i256::ZERO { digits } else { digits.checked_mul(ten(u32::try_from(exponent).ok()?)?)? }
        } else {
            let divisor = 10_i64.checked_pow(u32::try_from(-exponent).ok()?.min(4))?;
            if digits % divisor != 0 {
                return None;
            }
            i256::from_i128((digits / divisor).into())
        };
        units = units.checked_add(group)?;
    }
    if sign == NEGATIVE { units.checked_neg() } else { Some(units) }
}

pub(crate) fn write(units: i128, scale: u8, out: &mut BytesMut) {
    // So that the point is between two groups.
    let padding = u32::from((4 - scale % 4) % 4);
    let (mut rest, mut groups) = (units.unsigned_abs(), Vec::new());
    // The last group is the only one that may have too few digits.
    let first = 10_u128.pow(4 - padding);
    groups.push(rest % first * 10_u128.pow(padding));
    rest /= first;
    while rest > 0 {
        groups.push(rest % 10_000);
        rest /= 10_000;
    }
    let fraction = (u32::from(scale) + padding) / 4;
    let weight = i32::try_from(groups.len()).unwrap_or(0) - i32::try_from(fraction).unwrap_or(0) - 1;
    out.put_u16(u16::try_from(groups.len()).unwrap_or(0));
    out.put_i16(i16::try_from(weight).unwrap_or(0));
    out.put_u16(if units < 0 { NEGATIVE } else { 0 });
    out.put_u16(u16::from(scale));
    for group in groups.iter().rev() {
        out.put_u16(u16::try_from(*group).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for scale in [0, 1, 2, 3, 4, 5, 7, 8, 38] {
            for units in [0, 1, -1, 9, 99_999, -100_000, 123_456_789, i128::MAX, i128::MIN + 1] {
                let mut out = BytesMut::new();
                write(units, scale, &mut out);
                assert_eq!(read(&out, i8::try_from(scale).unwrap()), Some(i256::from_i128(units)), "{units} {scale}");
            }
        }
    }

    #[test]
    fn nothing_is_rounded() {
        let mut out = BytesMut::new();
        write(125, 2, &mut out);
        assert_eq!(read(&out, 1), None);
        assert_eq!(read(&out, 4), Some(i256::from_i128(12_500)));
        // NaN
        assert_eq!(read(&[0, 0, 0, 0, 0xc0, 0, 0, 0], 2), None);
        assert_eq!(read(&[0, 1], 2), None);
    }
}
