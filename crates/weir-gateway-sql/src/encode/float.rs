//! Floating point numbers as PostgreSQL prints them: the shortest digits that read back the same, with an exponent
//! below 1e-4 and from 1e15 (`double precision`) or 1e6 (`real`).

use std::fmt::Write as _;

use bytes::BufMut;

pub(super) fn text4(value: f32, out: &mut Vec<u8>) {
    if special(f64::from(value), out) {
        return;
    }
    let mut digits = Digits::default();
    // Cannot fail: the buffer holds any number.
    let _ = write!(digits, "{value:e}");
    digits.lay_out(6, out);
}

pub(super) fn text8(value: f64, out: &mut Vec<u8>) {
    if special(value, out) {
        return;
    }
    let mut digits = Digits::default();
    let _ = write!(digits, "{value:e}");
    digits.lay_out(15, out);
}

/// What is not a number like any other.
fn special(value: f64, out: &mut Vec<u8>) -> bool {
    let text: &[u8] = if value.is_nan() {
        b"NaN"
    } else if value == f64::INFINITY {
        b"Infinity"
    } else if value == f64::NEG_INFINITY {
        b"-Infinity"
    } else if value == 0.0 {
        if value.is_sign_negative() { b"-0" } else { b"0" }
    } else {
        return false;
    };
    out.extend_from_slice(text);
    true
}

/// A number in the form `-1.234e-5`, without an allocation.
#[derive(Default)]
struct Digits {
    bytes: [u8; 32],
    length: usize,
}

impl std::fmt::Write for Digits {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

impl Digits {
    fn lay_out(&self, exponent_from: i32, out: &mut Vec<u8>) {
        let text = self.bytes.get(..self.length).unwrap_or_default();
        let (negative, text) = match text.split_first() {
            Some((b'-', rest)) => (true, rest),
            _ => (false, text),
        };
        let (mantissa, exponent) = match text.iter().position(|b| *b == b'e') {
            Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default()),
            None => (text, &b"0"[..]),
        };
        let exponent: i32 = std::str::from_utf8(exponent).ok().and_then(|e| e.parse().ok()).unwrap_or(0);
        let first = mantissa.get(..1).unwrap_or_default();
        let rest = mantissa.get(2..).unwrap_or_default();
        if negative {
            out.put_u8(b'-');
        }
        if exponent < -4 || exponent >= exponent_from {
            out.extend_from_slice(mantissa);
            out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
            if exponent.abs() < 10 {
                out.put_u8(b'0');
            }
            super::integer(exponent.abs(), out);
        } else if exponent < 0 {
            out.extend_from_slice(b"0.");
            out.put_bytes(b'0', usize::try_from(-exponent - 1).unwrap_or(0));
            out.extend_from_slice(first);
            out.extend_from_slice(rest);
        } else {
            let whole = usize::try_from(exponent).unwrap_or(0);
            out.extend_from_slice(first);
            match rest.split_at_checked(whole) {
                Some((integer, fraction)) => {
                    out.extend_from_slice(integer);
                    if !fraction.is_empty() {
                        out.put_u8(b'.');
                        out.extend_from_slice(fraction);
                    }
                }
                None => {
                    out.extend_from_slice(rest);
                    out.put_bytes(b'0', whole - rest.len());
                }
            }
        }
    }
}
