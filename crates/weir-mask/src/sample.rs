//! Which rows a sample keeps.

use std::fmt;

use crate::key::{Keys, Prf};

/// A fixed share of the rows, the same rows each time.
///
/// A row's place is `⌊10 000 · h / 2^64⌋`, where `h` is the first eight bytes (big-endian) of HMAC-SHA-256 over the
/// row's key; its key is kept when the place is below the share in ten-thousandths. So the rows of a smaller share are
/// among those of every larger one.
#[derive(Clone)]
pub struct Sampler {
    prf: Prf,
    per_ten_thousand: u16,
}

impl Sampler {
    /// From 10 000 on every row is kept.
    pub fn new(keys: &Keys, per_ten_thousand: u16) -> Self {
        Self { prf: Prf::new(&*keys.sample), per_ten_thousand }
    }

    /// `row_key` are the bytes of a [`RowKey`](crate::RowKey).
    pub fn keeps(&self, row_key: &[u8]) -> bool {
        let [a, b, c, d, e, f, g, h, ..] = self.prf.of(&[row_key]);
        let number = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let place = (u128::from(number) * 10_000) >> 64;
        place < u128::from(self.per_ten_thousand)
    }
}

impl fmt::Debug for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sampler({} of 10000, …)", self.per_ten_thousand)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RowKey;
    use crate::key::tests::keys;

    fn kept(per_ten_thousand: u16) -> Vec<u32> {
        let sampler = Sampler::new(&keys(), per_ten_thousand);
        let mut row = RowKey::new();
        let keeps = |id: &u32| {
            row.clear();
            sampler.keeps(row.int(*id).as_bytes())
        };
        (0..20_000).filter(keeps).collect()
    }

    #[test]
    fn none_and_all() {
        assert_eq!(kept(0).len(), 0);
        assert_eq!(kept(10_000).len(), 20_000);
        assert_eq!(kept(u16::MAX).len(), 20_000);
    }

    #[test]
    fn the_share_is_kept() {
        for (share, expected) in [(10, 20), (1_000, 2_000), (5_000, 10_000), (9_990, 19_980)] {
            let spread = (f64::from(expected) * (1.0 - f64::from(share) / 10_000.0)).sqrt();
            let found = f64::from(u32::try_from(kept(share).len()).unwrap());
            assert!((found - f64::from(expected)).abs() <= 4.0 * spread + 1.0, "{share}: {found}");
        }
    }

    #[test]
    fn samples_are_nested() {
        let (small, large) = (kept(1_000), kept(2_000));
        assert!(small.iter().all(|id| large.binary_search(id).is_ok()));
    }
}
