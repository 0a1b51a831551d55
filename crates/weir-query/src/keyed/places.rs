//! From the first column of a key to the arms that have it: asked for every row, and most rows have none.

use datafusion::common::HashMap;

use super::cells::{Cell, Cells, OwnedCell};

/// A table with a place for each number between the least and the greatest is made when it has no more places than
/// this, or than so many for each key.
const TABLE_MAX: u64 = 1 << 16;
const TABLE_PER_KEY_MAX: u64 = 16;

/// Numbers of keys, counted from 1.
pub(super) enum Places {
    /// For `least + n` at `n`, 0 for none.
    Table {
        least: i64,
        places: Vec<u32>,
    },
    Scattered(Scattered),
    Bytes(HashMap<Box<[u8]>, u32>),
}

/// Whole numbers far apart.
pub(super) struct Scattered {
    /// A bit for each key, at its hash: between 8 and 16 times as many as there are keys, so that few rows without a key
    /// come to the slots, which are larger.
    bits: Vec<u64>,
    /// Twice to four times as many as there are keys, each at its hash or after it; 0 for none.
    slots: Vec<(i64, u32)>,
}

/// A row of a batch and the number of its key.
pub(super) struct Hit {
    pub(super) row: usize,
    pub(super) key: u32,
}

impl Places {
    /// Of keys that differ, all of one form, by number from 1 on.
    pub(super) fn new(keys: Vec<OwnedCell>) -> Self {
        let mut numbers = Vec::new();
        let mut bytes = HashMap::new();
        for (key, place) in keys.into_iter().zip(1..) {
            match key {
                OwnedCell::Number(n) => numbers.push((n, place)),
                OwnedCell::Bytes(text) => _ = bytes.insert(text, place),
            }
        }
        if numbers.is_empty() {
            return Places::Bytes(bytes);
        }
        let least = numbers.iter().map(|(n, _)| *n).min().unwrap_or(0);
        let span = numbers.iter().map(|(n, _)| n.abs_diff(least)).max().unwrap_or(0);
        if span >= TABLE_MAX.max(numbers.len() as u64 * TABLE_PER_KEY_MAX) {
            return Places::Scattered(Scattered::new(&numbers));
        }
        let mut places = vec![0; usize::try_from(span).map_or(0, |span| span + 1)];
        for (n, place) in numbers {
            if let Some(slot) = usize::try_from(n.abs_diff(least)).ok().and_then(|at| places.get_mut(at)) {
                *slot = place;
            }
        }
        Places::Table { least, places }
    }

    /// The rows whose cell is one of the keys; whether it is NULL is not looked at.
    pub(super) fn hits(&self, cells: &Cells, rows: usize) -> Vec<Hit> {
        match self {
            Places::Table { least, places } => of_numbers(cells, |n| {
                // What is below the least comes out beyond the end.
                let at = n.wrapping_sub(*least) as u64;
                usize::try_from(at).ok().and_then(|at| places.get(at)).copied().unwrap_or(0)
            }),
            Places::Scattered(scattered) => of_numbers(cells, |n| scattered.get(n)),
            Places::Bytes(keys) => {
                let key = |row| match cells.get(row) {
                    Cell::Bytes(bytes) => keys.get(bytes).copied().unwrap_or(0),
                    Cell::Number(_) => 0,
                };
                gathered((0..rows).map(key))
            }
        }
    }
}

fn of_numbers(cells: &Cells, key: impl Fn(i64) -> u32) -> Vec<Hit> {
    match cells {
        Cells::Ints(numbers) => gathered(numbers.values().iter().map(|n| key((*n).into()))),
        Cells::Longs(numbers) => gathered(numbers.values().iter().map(|n| key(*n))),
        Cells::Texts(_) | Cells::Rows(_) => Vec::new(),
    }
}

fn gathered(keys: impl Iterator<Item = u32>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (row, key) in keys.enumerate() {
        if key != 0 {
            hits.push(Hit { row, key });
        }
    }
    hits
}

impl Scattered {
    fn new(keys: &[(i64, u32)]) -> Self {
        let words = (keys.len() * 8).div_ceil(64).next_power_of_two();
        let mut made = Self { bits: vec![0; words], slots: vec![(0, 0); (keys.len() * 2).next_power_of_two()] };
        for (n, place) in keys {
            let hash = hash(*n);
            let (word, bit) = made.bit(hash);
            if let Some(bits) = made.bits.get_mut(word) {
                *bits |= bit;
            }
            let mut at = made.slot(hash);
            // There are more slots than keys.
            while made.slots.get(at).is_some_and(|(_, taken)| *taken != 0) {
                at = (at + 1) & (made.slots.len() - 1);
            }
            if let Some(slot) = made.slots.get_mut(at) {
                *slot = (*n, *place);
            }
        }
        made
    }

    fn bit(&self, hash: u64) -> (usize, u64) {
        ((hash >> 32) as usize & (self.bits.len() - 1), 1 << ((hash >> 26) & 63))
    }

    fn slot(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.slots.len() - 1)
    }

    fn get(&self, n: i64) -> u32 {
        let hash = hash(n);
        let (word, bit) = self.bit(hash);
        if self.bits.get(word).is_none_or(|bits| bits & bit == 0) {
            return 0;
        }
        let mut at = self.slot(hash);
        while let Some((key, place)) = self.slots.get(at) {
            if *key == n || *place == 0 {
                return *place;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        0
    }
}

/// The finaliser of SplitMix64, which scatters numbers that follow each other as well as others.
fn hash(n: i64) -> u64 {
    let n = n as u64;
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int32Array, Int64Array, StringViewArray};

    use super::*;

    fn hit(places: &Places, cells: &Cells, rows: usize) -> Vec<(usize, u32)> {
        places.hits(cells, rows).iter().map(|hit| (hit.row, hit.key)).collect()
    }

    fn numbers(keys: &[i64]) -> Places {
        Places::new(keys.iter().map(|n| OwnedCell::Number(*n)).collect())
    }

    #[test]
    fn numbers_near_each_other_have_a_table() {
        let places = numbers(&[7, -3, 40_000]);
        assert!(matches!(places, Places::Table { .. }));
        let cells = Cells::Longs(Int64Array::from(vec![-4, -3, 0, 7, 40_000, 40_001, i64::MIN, i64::MAX]));
        assert_eq!(hit(&places, &cells, 8), [(1, 2), (3, 1), (4, 3)]);
        let cells = Cells::Ints(Int32Array::from(vec![7, i32::MIN, i32::MAX, -3]));
        assert_eq!(hit(&places, &cells, 4), [(0, 1), (3, 2)]);
        let one = numbers(&[i64::MIN]);
        assert_eq!(hit(&one, &Cells::Longs(Int64Array::from(vec![i64::MAX, i64::MIN])), 2), [(1, 1)]);
    }

    #[test]
    fn numbers_far_apart_are_scattered() {
        let keys: Vec<i64> = (0..5_000).map(|n| n * 1_000_003 - 77).chain([i64::MIN, i64::MAX, 0]).collect();
        let places = numbers(&keys);
        assert!(matches!(places, Places::Scattered(_)));
        let found = hit(&places, &Cells::Longs(Int64Array::from(keys.clone())), keys.len());
        assert_eq!(found, (0..keys.len()).zip(1..).collect::<Vec<_>>());
        let others: Vec<i64> = (0..100_000).map(|n| n * 1_000_003 - 76).chain([1, -1]).collect();
        assert_eq!(hit(&places, &Cells::Longs(Int64Array::from(others.clone())), others.len()), []);
    }

    #[test]
    fn texts_are_found_by_their_bytes() {
        let texts = ["a", "", "long enough not to lie in the view"];
        let places = Places::new(texts.iter().map(|text| OwnedCell::Bytes(text.as_bytes().into())).collect());
        let cells = Cells::Texts(StringViewArray::from(vec!["b", texts[2], "", "a", "aa"]));
        assert_eq!(hit(&places, &cells, 5), [(1, 3), (2, 2), (3, 1)]);
        assert_eq!(hit(&Places::new(Vec::new()), &cells, 5), []);
    }
}
