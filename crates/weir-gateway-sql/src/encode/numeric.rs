//! Decimals as PostgreSQL's `numeric`: digits with a point in text, groups of four decimal digits in binary.

use arrow::datatypes::i256;
use bytes::BufMut;

use super::{EncodeError, Encoded};

/// `unscaled` divided by ten to the power of `scale`.
pub(super) fn text(unscaled: i128, scale: i8, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let mut wide = itoa::Buffer::new();
    // 64-bit division is several times faster.
    let digits = match u64::try_from(unscaled.unsigned_abs()) {
        Ok(small) => buffer.format(small),
        Err(_) => wide.format(unscaled.unsigned_abs()),
    };
    point(unscaled < 0, digits.as_bytes(), scale, out);
}

pub(super) fn wide_text(unscaled: i256, scale: i8, out: &mut Vec<u8>) {
    let text = unscaled.to_string();
    let digits = text.strip_prefix('-').unwrap_or(&text);
    point(unscaled.is_negative(), digits.as_bytes(), scale, out);
}

fn point(negative: bool, digits: &[u8], scale: i8, out: &mut Vec<u8>) {
    if negative {
        out.put_u8(b'-');
    }
    let places = usize::from(scale.unsigned_abs());
    if scale <= 0 {
        out.extend_from_slice(digits);
        if digits != b"0" {
            out.put_bytes(b'0', places);
        }
    } else if let Some((integer, fraction)) =
        digits.len().checked_sub(places).and_then(|at| digits.split_at_checked(at))
    {
        out.extend_from_slice(if integer.is_empty() { b"0" } else { integer });
        out.put_u8(b'.');
        out.extend_from_slice(fraction);
    } else {
        out.extend_from_slice(b"0.");
        out.put_bytes(b'0', places - digits.len());
        out.extend_from_slice(digits);
    }
}

pub(super) fn binary(unscaled: i128, scale: i8, out: &mut Vec<u8>) -> Encoded {
    groups(unscaled < 0, itoa::Buffer::new().format(unscaled.unsigned_abs()).as_bytes(), scale, out)
}

pub(super) fn wide_binary(unscaled: i256, scale: i8, out: &mut Vec<u8>) -> Encoded {
    let text = unscaled.to_string();
    let digits = text.strip_prefix('-').unwrap_or(&text);
    groups(unscaled.is_negative(), digits.as_bytes(), scale, out)
}

/// Number of groups, weight of the first (a power of 10,000), sign, decimals shown, groups.
fn groups(negative: bool, digits: &[u8], scale: i8, out: &mut Vec<u8>) -> Encoded {
    const NEGATIVE: i16 = 0x4000;
    let scale = i32::from(scale);
    // Power of ten of the first digit, plus one.
    let top = i32::try_from(digits.len()).map_err(|_| EncodeError::TooLong)? - scale;
    // The group of the power 4w..4w+3 of ten.
    let group = |weight: i32| {
        (0..4).fold(0_i16, |value, place| {
            let index = top - 1 - (weight * 4 + 3 - place);
            let digit = usize::try_from(index).ok().and_then(|i| digits.get(i)).map_or(0, |d| i16::from(*d - b'0'));
            value * 10 + digit
        })
    };
    let highest = (top - 1).div_euclid(4);
    let lowest = (-scale).div_euclid(4).min(0);
    let first = (lowest..=highest).rev().find(|weight| group(*weight) != 0);
    let last = (lowest..=highest).find(|weight| group(*weight) != 0);
    let (Some(first), Some(last)) = (first, last) else {
        out.put_slice(&[0; 6]);
        out.put_i16(i16::try_from(scale.max(0)).unwrap_or(0));
        return Ok(());
    };
    let small = |number: i32| i16::try_from(number).map_err(|_| EncodeError::TooLong);
    out.put_i16(small(first - last + 1)?);
    out.put_i16(small(first)?);
    out.put_i16(if negative { NEGATIVE } else { 0 });
    out.put_i16(small(scale.max(0))?);
    for weight in (last..=first).rev() {
        out.put_i16(group(weight));
    }
    Ok(())
}
