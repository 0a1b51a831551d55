//! FF1 (NIST SP 800-38G) over numbers instead of strings of digits, and what is built on it: a permutation of all the
//! numbers below any limit.

use std::sync::Arc;

use aes::Aes256Enc;
use aes::cipher::consts::{U16, U32};
use aes::cipher::{BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, Key, KeyInit, KeySizeUser};
use fpe::ff1::{FF1, NumeralString, Operations};
use num_bigint::BigUint;

/// The least number of values that FF1 may be used for (NIST SP 800-38G, revision 1).
pub(crate) const LEAST_SIZE: u32 = 1_000_000;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Mask,
    Unmask,
}

/// FF1 with one key for the numeral systems that are used.
pub(crate) struct Ciphers {
    binary: Option<FF1<Cipher>>,
    decimal: Option<FF1<Cipher>>,
    letters: Option<FF1<Cipher>>,
}

/// AES-256. FF1 clones its cipher for every round: here that copies no key, and leaves none to be wiped.
#[derive(Clone)]
struct Cipher(Arc<Aes256Enc>);

impl KeySizeUser for Cipher {
    type KeySize = U32;
}

impl KeyInit for Cipher {
    fn new(key: &Key<Self>) -> Self {
        Self(Arc::new(Aes256Enc::new(key)))
    }
}

impl BlockSizeUser for Cipher {
    type BlockSize = U16;
}

impl BlockCipherEncrypt for Cipher {
    fn encrypt_with_backend(&self, f: impl BlockCipherEncClosure<BlockSize = U16>) {
        self.0.encrypt_with_backend(f);
    }
}

/// Numbers to be permuted.
pub(crate) enum Domain<'a, N> {
    /// So many digits 0 to 9: FF1 with radix 10.
    Decimal(u32),
    /// So many letters: FF1 with radix 26.
    Letters(u32),
    /// All below a limit: FF1 with radix 2 and as many digits as the greatest needs, again and again until the answer
    /// is below the limit. Fewer than two times on average.
    Below(&'a N),
}

impl Ciphers {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        // These are radices that FF1 takes; without a cipher nothing is masked, and nothing shown.
        let cipher = |radix| FF1::new(key, radix).ok();
        Self { binary: cipher(2), decimal: cipher(10), letters: cipher(26) }
    }

    /// `None` when the domain is smaller than [`LEAST_SIZE`] or `number` is not in it.
    pub(crate) fn permute<N: Number>(
        &self,
        domain: Domain<'_, N>,
        tweak: &[u8],
        number: N,
        direction: Direction,
    ) -> Option<N> {
        let (cipher, radix, length) = match domain {
            Domain::Decimal(length) => (&self.decimal, 10, length),
            Domain::Letters(length) => (&self.letters, 26, length),
            Domain::Below(limit) if *limit < N::from(LEAST_SIZE) || number >= *limit => return None,
            Domain::Below(limit) => (&self.binary, 2, limit.digits_below()),
        };
        let cipher = cipher.as_ref()?;
        let halves = Halves::new(number, radix, length)?;
        let step = |halves: &Halves<N>| match direction {
            Direction::Mask => cipher.encrypt(tweak, halves),
            Direction::Unmask => cipher.decrypt(tweak, halves),
        };
        let mut halves = step(&halves).ok()?;
        loop {
            let answer = halves.number();
            match domain {
                // The orbit of a permutation comes back to where it began, which is below the limit.
                Domain::Below(limit) if answer >= *limit => halves = step(&halves).ok()?,
                Domain::Below(_) | Domain::Decimal(_) | Domain::Letters(_) => return Some(answer),
            }
        }
    }
}

/// Natural numbers: in machine words where FF1's halves are below 2^64, otherwise as long as they are.
pub(crate) trait Number: Clone + Ord + From<u32> {
    type Bytes: AsRef<[u8]>;

    /// `self · radix + digit`.
    fn push(&mut self, radix: u32, digit: u32);
    /// Takes the last digit off.
    fn pop(&mut self, radix: u32) -> u32;
    /// Binary digits of the numbers below this one, which is not 0.
    fn digits_below(&self) -> u32;
    /// `radix ^ exponent`; `None` where what follows could not be done modulo that.
    fn modulus(radix: u32, exponent: u32) -> Option<Self>;
    /// Quotient and remainder.
    fn split(&self, divisor: &Self) -> (Self, Self);
    /// `high · divisor + low`.
    fn join(high: &Self, divisor: &Self, low: &Self) -> Self;
    /// Big-endian bytes as a number below `modulus`.
    fn reduce(bytes: impl Iterator<Item = u8>, modulus: &Self) -> Self;
    /// Of numbers below `modulus`.
    fn add(self, other: Self, modulus: &Self) -> Self;
    /// Of numbers below `modulus`.
    fn subtract(self, other: Self, modulus: &Self) -> Self;
    /// The last `length` bytes, big-endian.
    fn bytes(&self, length: usize) -> Self::Bytes;
}

/// Numbers of no more binary digits than these have halves below 2^64 with radix 2, 10 and 26.
pub(crate) const SHORT_BITS: u32 = 124;

impl Number for u128 {
    type Bytes = Tail;

    fn push(&mut self, radix: u32, digit: u32) {
        *self = self.wrapping_mul(radix.into()).wrapping_add(digit.into());
    }

    fn pop(&mut self, radix: u32) -> u32 {
        let (rest, digit) = self.split(&radix.into());
        *self = rest;
        u32::try_from(digit).unwrap_or_default()
    }

    fn digits_below(&self) -> u32 {
        u128::BITS - self.saturating_sub(1).leading_zeros()
    }

    fn modulus(radix: u32, exponent: u32) -> Option<Self> {
        u128::from(radix).checked_pow(exponent).filter(|modulus| *modulus <= 1 << 64)
    }

    fn split(&self, divisor: &Self) -> (Self, Self) {
        (self.checked_div(*divisor).unwrap_or_default(), self.checked_rem(*divisor).unwrap_or_default())
    }

    fn join(high: &Self, divisor: &Self, low: &Self) -> Self {
        high.wrapping_mul(*divisor).wrapping_add(*low)
    }

    fn reduce(bytes: impl Iterator<Item = u8>, modulus: &Self) -> Self {
        let (mut number, mut chunk, mut bits) = (0_u128, 0_u128, 0);
        let below = |number: u128| number.checked_rem(*modulus).unwrap_or_default();
        for byte in bytes {
            (chunk, bits) = (chunk << 8 | u128::from(byte), bits + 8);
            if bits == 64 {
                number = below(number << 64 | chunk);
                (chunk, bits) = (0, 0);
            }
        }
        if bits == 0 { number } else { below(number << bits | chunk) }
    }

    fn add(self, other: Self, modulus: &Self) -> Self {
        let sum = self.wrapping_add(other);
        if sum >= *modulus { sum.wrapping_sub(*modulus) } else { sum }
    }

    fn subtract(self, other: Self, modulus: &Self) -> Self {
        if self >= other { self.wrapping_sub(other) } else { self.wrapping_add(*modulus).wrapping_sub(other) }
    }

    fn bytes(&self, length: usize) -> Tail {
        Tail { bytes: self.to_be_bytes(), length }
    }
}

/// Some of sixteen bytes.
pub(crate) struct Tail {
    bytes: [u8; 16],
    length: usize,
}

impl AsRef<[u8]> for Tail {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(self.bytes.len().saturating_sub(self.length)..).unwrap_or_default()
    }
}

impl Number for BigUint {
    type Bytes = Vec<u8>;

    fn push(&mut self, radix: u32, digit: u32) {
        *self *= radix;
        *self += digit;
    }

    fn pop(&mut self, radix: u32) -> u32 {
        let digit = &*self % radix;
        *self /= radix;
        u32::try_from(digit).unwrap_or_default()
    }

    fn digits_below(&self) -> u32 {
        // More than 2^32 digits would be half a gigabyte; FF1 refuses them.
        u32::try_from((self - 1_u32).bits()).unwrap_or(u32::MAX)
    }

    fn modulus(radix: u32, exponent: u32) -> Option<Self> {
        Some(BigUint::from(radix).pow(exponent))
    }

    fn split(&self, divisor: &Self) -> (Self, Self) {
        (self / divisor, self % divisor)
    }

    fn join(high: &Self, divisor: &Self, low: &Self) -> Self {
        high * divisor + low
    }

    fn reduce(bytes: impl Iterator<Item = u8>, modulus: &Self) -> Self {
        BigUint::from_bytes_be(&bytes.collect::<Vec<u8>>()) % modulus
    }

    fn add(self, other: Self, modulus: &Self) -> Self {
        let sum = self + other;
        if sum >= *modulus { sum - modulus } else { sum }
    }

    fn subtract(self, other: Self, modulus: &Self) -> Self {
        if self >= other { self - other } else { self + modulus - other }
    }

    fn bytes(&self, length: usize) -> Vec<u8> {
        let mut bytes = self.to_bytes_le();
        bytes.resize(length, 0);
        bytes.reverse();
        bytes
    }
}

/// The two halves of a number of FF1, in steps 1 and 2 of its description; the second one has the odd digit.
struct Halves<N> {
    high: Half<N>,
    low: Half<N>,
}

#[derive(Clone)]
struct Half<N> {
    radix: u32,
    value: N,
    /// The radix to the power of `digits`.
    modulus: N,
    digits: u32,
}

impl<N: Number> Halves<N> {
    fn new(number: N, radix: u32, digits: u32) -> Option<Self> {
        let (u, v) = (digits / 2, digits.div_ceil(2));
        let (high_modulus, low_modulus) = (N::modulus(radix, u)?, N::modulus(radix, v)?);
        let (high, low) = number.split(&low_modulus);
        (high < high_modulus).then_some(Self {
            high: Half { radix, value: high, modulus: high_modulus, digits: u },
            low: Half { radix, value: low, modulus: low_modulus, digits: v },
        })
    }

    fn number(&self) -> N {
        N::join(&self.high.value, &self.low.modulus, &self.low.value)
    }
}

impl<N: Number> NumeralString for Halves<N> {
    type Ops = Half<N>;

    fn is_valid(&self, radix: u32) -> bool {
        self.low.radix == radix
    }

    fn numeral_count(&self) -> usize {
        self.high.numeral_count().saturating_add(self.low.numeral_count())
    }

    fn split(&self) -> (Half<N>, Half<N>) {
        (self.high.clone(), self.low.clone())
    }

    fn concat(high: Half<N>, low: Half<N>) -> Self {
        Self { high, low }
    }
}

/// A half keeps its number of digits: what is added to it is reduced to that.
impl<N: Number> Operations for Half<N> {
    type Bytes = N::Bytes;

    fn numeral_count(&self) -> usize {
        usize::try_from(self.digits).unwrap_or(usize::MAX)
    }

    fn to_be_bytes(&self, _: u32, length: usize) -> N::Bytes {
        self.value.bytes(length)
    }

    fn add_mod_exp(self, other: impl Iterator<Item = u8>, _: u32, _: usize) -> Self {
        let other = N::reduce(other, &self.modulus);
        Self { value: self.value.add(other, &self.modulus), ..self }
    }

    fn sub_mod_exp(self, other: impl Iterator<Item = u8>, _: u32, _: usize) -> Self {
        let other = N::reduce(other, &self.modulus);
        Self { value: self.value.subtract(other, &self.modulus), ..self }
    }
}

#[cfg(test)]
mod tests {
    use fpe::ff1::FlexibleNumeralString;

    use super::*;
    use crate::key::tests::unhex;

    const KEY: &str = "2b7e151628aed2a6abf7158809cf4f3c ef4359d8d580aa4f7f036d6f04fc6a94";

    fn key() -> [u8; 32] {
        unhex(KEY).try_into().unwrap()
    }

    fn digits(text: &str) -> Vec<u16> {
        text.chars().map(|c| u16::try_from(c.to_digit(36).unwrap()).unwrap()).collect()
    }

    fn number<N: Number>(digits: &[u16], radix: u32) -> N {
        let mut number = N::from(0);
        digits.iter().for_each(|digit| number.push(radix, u32::from(*digit)));
        number
    }

    fn check<N: Number + std::fmt::Debug>(radix: u32, tweak: &[u8], plain: &[u16], masked: &[u16]) {
        let cipher = FF1::<Cipher>::new(&key(), radix).unwrap();
        let length = u32::try_from(plain.len()).unwrap();
        let halves = |digits| Halves::<N>::new(number(digits, radix), radix, length).unwrap();
        assert_eq!(cipher.encrypt(tweak, &halves(plain)).unwrap().number(), number(masked, radix));
        assert_eq!(cipher.decrypt(tweak, &halves(masked)).unwrap().number(), number(plain, radix));
    }

    /// The samples 7 to 9 that NIST publishes for FF1, those with AES-256.
    #[test]
    fn the_published_samples() {
        let samples = [
            (10, "", "0123456789", "6657667009"),
            (10, "39383736353433323130", "0123456789", "1001623463"),
            (36, "3737373770717273373737", "0123456789abcdefghi", "xs8a0azh2avyalyzuwd"),
        ];
        for (radix, tweak, plain, masked) in samples {
            check::<u128>(radix, &unhex(tweak), &digits(plain), &digits(masked));
            check::<BigUint>(radix, &unhex(tweak), &digits(plain), &digits(masked));
        }
        let ciphers = Ciphers::new(&key());
        let plain = 123_456_789_u128;
        let masked = ciphers.permute(Domain::Decimal(10), &[], plain, Direction::Mask).unwrap();
        assert_eq!(masked, 6_657_667_009);
        assert_eq!(ciphers.permute(Domain::Decimal(10), &[], masked, Direction::Unmask), Some(plain));
    }

    /// The crate's own strings of digits, which take any radix and length, are the measure.
    #[test]
    fn numbers_and_strings_of_digits_agree() {
        for radix in [2, 10, 26] {
            let cipher = FF1::<Cipher>::new(&key(), radix).unwrap();
            for length in (20..70).chain([127, 128, 129, 400]) {
                let plain: Vec<u16> =
                    (0..length).map(|i| u16::try_from((i * 7919 + length * 31) % radix).unwrap()).collect();
                let masked = cipher.encrypt(b"tweak", &FlexibleNumeralString::from(plain.clone())).unwrap();
                let masked = Vec::from(masked);
                check::<BigUint>(radix, b"tweak", &plain, &masked);
                if u128::modulus(radix, length.div_ceil(2)).is_some() {
                    check::<u128>(radix, b"tweak", &plain, &masked);
                }
            }
        }
    }

    #[test]
    fn numbers_below_a_limit_stay_below_it() {
        let ciphers = Ciphers::new(&key());
        // Just above and just below a power of two, where walks are longest and shortest.
        for limit in [1_000_000, (1 << 20) + 1, 9_000_000, 1 << 40, (1 << 40) + 1, (1 << 127) - 1, 1 << 127] {
            for number in (0..40).map(|i| limit / 41 * i).chain([limit - 1]) {
                let masked = ciphers.permute(Domain::Below(&limit), b"", number, Direction::Mask).unwrap();
                assert!(masked < limit);
                assert_eq!(ciphers.permute(Domain::Below(&limit), b"", masked, Direction::Unmask), Some(number));
                let (long_limit, number) = (BigUint::from(limit), BigUint::from(number));
                let long = ciphers.permute(Domain::Below(&long_limit), b"", number, Direction::Mask);
                assert_eq!(long, Some(BigUint::from(masked)));
            }
            assert_eq!(ciphers.permute(Domain::Below(&limit), b"", limit, Direction::Mask), None);
        }
    }

    #[test]
    fn small_domains_are_refused() {
        let ciphers = Ciphers::new(&key());
        let masks = |domain: Domain<'_, u128>| ciphers.permute(domain, b"", 5, Direction::Mask).is_some();
        assert!(!masks(Domain::Decimal(5)) && masks(Domain::Decimal(6)));
        assert!(!masks(Domain::Letters(4)) && masks(Domain::Letters(5)));
        assert!(!masks(Domain::Below(&999_999)) && masks(Domain::Below(&1_000_000)));
        assert!(!masks(Domain::Below(&0)));
    }
}
