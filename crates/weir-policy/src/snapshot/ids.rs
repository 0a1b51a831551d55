//! A set of source ids that takes in long lists of them quickly.

use std::collections::BTreeMap;

use weir_model::SourceId;

const WORD: u32 = u64::BITS;
const WORDS: usize = 64;
const BLOCK: u32 = WORD * WORDS as u32;

/// A bit for each id, in blocks of which only those are there that have some.
#[derive(Debug, Default)]
pub(super) struct Ids(BTreeMap<u32, [u64; WORDS]>);

impl Ids {
    pub(super) fn len(&self) -> usize {
        self.0.values().flatten().map(|word| word.count_ones() as usize).sum()
    }

    /// In ascending order.
    pub(super) fn iter(&self) -> impl Iterator<Item = SourceId> {
        let words = self.0.iter().flat_map(|(block, words)| {
            words.iter().zip(0..).map(move |(word, at): (_, u32)| (block * BLOCK + at * WORD, *word))
        });
        words.filter(|(_, word)| *word != 0).flat_map(|(first, word)| {
            (0..WORD).filter(move |bit| (word >> bit) & 1 == 1).map(move |bit| SourceId(first + bit))
        })
    }
}

impl<'a> Extend<&'a SourceId> for Ids {
    fn extend<I: IntoIterator<Item = &'a SourceId>>(&mut self, ids: I) {
        let mut ids = ids.into_iter().peekable();
        while let Some(id) = ids.peek() {
            let number = id.0 / BLOCK;
            let block = self.0.entry(number).or_insert([0; WORDS]);
            // Those that follow are of the same block more often than not.
            while let Some(id) = ids.next_if(|id| id.0 / BLOCK == number) {
                if let Some(word) = block.get_mut((id.0 % BLOCK / WORD) as usize) {
                    *word |= 1 << (id.0 % WORD);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_there_once_and_in_order() {
        let some = [0, 63, 64, 4_095, 4_096, 90_001, u32::MAX].map(SourceId);
        let mut ids = Ids::default();
        ids.extend(some.iter().rev());
        ids.extend(&some);
        assert_eq!(ids.iter().collect::<Vec<_>>(), some);
        assert_eq!(ids.len(), some.len());
    }
}
