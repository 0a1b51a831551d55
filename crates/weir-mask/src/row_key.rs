//! Key values of a row as bytes.

/// The values of a row's key, one after the other, as bytes: each a tag for its kind and then either a fixed number of
/// bytes or a length (eight bytes, little-endian) and so many bytes. Different lists of values never give equal bytes,
/// and none is the start of another of as many values.
///
/// All whole numbers are one kind, so that a column may get wider without its rows getting new keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RowKey(Vec<u8>);

impl RowKey {
    pub fn new() -> Self {
        Self::default()
    }

    /// For the next row; keeps the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn null(&mut self) -> &mut Self {
        self.fixed(0, [])
    }

    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.fixed(1, [u8::from(value)])
    }

    /// Integers of every width; decimals in units of their last digit, dates in days, times in their unit.
    pub fn int(&mut self, value: impl Into<i128>) -> &mut Self {
        self.fixed(2, value.into().to_le_bytes())
    }

    /// By value: both zeros are one key, and so is everything that is not a number.
    pub fn float(&mut self, value: f64) -> &mut Self {
        let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
        self.fixed(3, value.to_bits().to_le_bytes())
    }

    pub fn text(&mut self, value: &str) -> &mut Self {
        self.sized(4, value.as_bytes())
    }

    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.sized(5, value)
    }

    fn fixed<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) -> &mut Self {
        self.0.push(tag);
        self.0.extend_from_slice(&bytes);
        self
    }

    fn sized(&mut self, tag: u8, bytes: &[u8]) -> &mut Self {
        // A `usize` has no more than 64 bits.
        self.fixed(tag, u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
        self.0.extend_from_slice(bytes);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(write: impl Fn(&mut RowKey)) -> Vec<u8> {
        let mut key = RowKey::new();
        write(&mut key);
        key.as_bytes().to_vec()
    }

    #[test]
    fn different_keys_have_different_bytes() {
        let writers: &[&dyn Fn(&mut RowKey)] = &[
            &|_| {},
            &|k| _ = k.null(),
            &|k| _ = k.null().null(),
            &|k| _ = k.boolean(false),
            &|k| _ = k.boolean(true),
            &|k| _ = k.int(0),
            &|k| _ = k.int(1),
            &|k| _ = k.int(-1),
            &|k| _ = k.int(i128::MIN),
            &|k| _ = k.int(1).int(0),
            &|k| _ = k.int(0).int(1),
            &|k| _ = k.float(0.0),
            &|k| _ = k.float(1.0),
            &|k| _ = k.float(f64::NAN),
            &|k| _ = k.float(f64::INFINITY),
            &|k| _ = k.text(""),
            &|k| _ = k.text("\0"),
            &|k| _ = k.text("1"),
            &|k| _ = k.text("ab").text("c"),
            &|k| _ = k.text("a").text("bc"),
            &|k| _ = k.text("abc"),
            &|k| _ = k.text("abc").text(""),
            &|k| _ = k.text("").text("abc"),
            &|k| _ = k.bytes(b""),
            &|k| _ = k.bytes(b"1"),
            &|k| _ = k.bytes(b"abc"),
        ];
        let mut keys: Vec<Vec<u8>> = writers.iter().map(key).collect();
        // A text that looks like the encoding of others.
        keys.push(key(|k| _ = k.text(&String::from_utf8(key(|k| _ = k.text("a").text("bc"))).unwrap())));
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }

    #[test]
    fn equal_values_have_equal_bytes() {
        assert_eq!(key(|k| _ = k.int(5_i16)), key(|k| _ = k.int(5_u64)));
        assert_eq!(key(|k| _ = k.float(0.0)), key(|k| _ = k.float(-0.0)));
        assert_eq!(key(|k| _ = k.float(f64::NAN)), key(|k| _ = k.float(-f64::NAN)));
    }

    #[test]
    fn the_encoding_is_fixed() {
        let mut row = RowKey::new();
        row.text("stale").clear();
        row.text("ab").int(-2).null();
        let mut bytes = vec![4, 2, 0, 0, 0, 0, 0, 0, 0, b'a', b'b', 2, 0xfe];
        bytes.extend([0xff; 15]);
        bytes.push(0);
        assert_eq!(row.as_bytes(), bytes);
    }
}
