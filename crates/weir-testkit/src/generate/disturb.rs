//! Changes to what a principal does not see.

use std::collections::{BTreeMap, BTreeSet};

use weir_model::{DataType, SourceId};

use super::{CANARY, Speaker, World};
use crate::cell::{Cell, Row};
use crate::dice::Dice;

type Seen = BTreeMap<SourceId, Option<Vec<Row>>>;

impl World {
    /// Changes hidden rows and the originals of masked values, removes hidden rows and adds some, as far as what
    /// `speaker` sees stays exactly as it is. Others may see more or less afterwards. So many percent of the values
    /// change, where policies allow it.
    pub fn disturb(&mut self, speaker: &Speaker, percent: usize, dice: &mut Dice) {
        let before = self.seen(speaker);
        for source in self.facts.sources.clone() {
            let hidden = self.hidden_rows(speaker, source.id);
            self.try_change(speaker, &before, source.id, |rows| {
                for place in hidden.iter().rev() {
                    match dice.below(10) {
                        0..=2 => drop(rows.remove(*place)),
                        3..=5 => rows.push(rows[*place].clone()),
                        _ => {}
                    }
                }
            });
            let hidden = self.hidden_cells(speaker, source.id);
            let mut change = |columns: std::ops::Range<usize>, percent: usize, world: &mut Self| {
                world.try_change(speaker, &before, source.id, |rows| {
                    for (place, i) in hidden.iter().filter(|(_, i)| columns.contains(i)) {
                        if dice.chance(percent) {
                            rows[*place][*i] = odd_value(&source.columns[*i].data_type, &rows[*place][*i], dice);
                        }
                    }
                })
            };
            // All at once, else column by column, else half of one: a policy may look at the rest.
            if !change(0..source.columns.len(), percent, self) {
                for i in 0..source.columns.len() {
                    let _ = change(i..i + 1, percent, self) || change(i..i + 1, percent / 2, self);
                }
            }
        }
    }

    fn seen(&self, speaker: &Speaker) -> Seen {
        let surroundings = speaker.surroundings();
        let oracle = self.oracle(&speaker.principal, &surroundings);
        self.facts.sources.iter().map(|s| (s.id, oracle.visible_copy(s.id))).collect()
    }

    fn seen_rows(&self, speaker: &Speaker, source: SourceId) -> Vec<(usize, Row)> {
        let surroundings = speaker.surroundings();
        self.oracle(&speaker.principal, &surroundings).visible_rows(source).unwrap_or_default()
    }

    fn try_change(
        &mut self,
        speaker: &Speaker,
        before: &Seen,
        source: SourceId,
        change: impl FnOnce(&mut Vec<Row>),
    ) -> bool {
        let original = self.tables[&source].clone();
        change(self.tables.get_mut(&source).expect("a table for each source"));
        let kept = self.tables[&source] == original || self.seen(speaker) == *before;
        if !kept {
            self.tables.insert(source, original);
        }
        kept
    }

    fn hidden_rows(&self, speaker: &Speaker, source: SourceId) -> Vec<usize> {
        let seen: BTreeSet<usize> = self.seen_rows(speaker, source).into_iter().map(|(place, _)| place).collect();
        (0..self.tables[&source].len()).filter(|place| !seen.contains(place)).collect()
    }

    /// Row and column of each original that is not what is seen.
    fn hidden_cells(&self, speaker: &Speaker, source: SourceId) -> Vec<(usize, usize)> {
        let originals = &self.tables[&source];
        let columns = self.facts.sources.iter().find(|s| s.id == source).map_or(0, |s| s.columns.len());
        let hidden = self.hidden_rows(speaker, source);
        let mut cells: Vec<_> = hidden.iter().flat_map(|place| (0..columns).map(|i| (*place, i))).collect();
        for (place, row) in self.seen_rows(speaker, source) {
            cells.extend((0..columns).filter(|i| row[*i] != originals[place][*i]).map(|i| (place, i)));
        }
        cells
    }
}

/// A value that would be noticed: a canary, or a number that makes a query's expression fail.
fn odd_value(data_type: &DataType, old: &Cell, dice: &mut Dice) -> Cell {
    match data_type {
        DataType::Text => Cell::Text(format!("{CANARY}{:x}", dice.roll() >> 40)),
        DataType::Int32 | DataType::Int64 => Cell::Int(*dice.pick(&[100, 100, 77_001, -77_002])),
        DataType::Float64 => Cell::Float(*dice.pick(&[100.0, 77_003.5])),
        DataType::Decimal { .. } => Cell::Decimal { unscaled: *dice.pick(&[10_000, 7_700_400]), scale: 2 },
        DataType::Boolean => Cell::Boolean(*old == Cell::Boolean(false)),
        DataType::Date => Cell::Date(*dice.pick(&[-3_000, 30_000])),
        DataType::Timestamp { .. } => Cell::Timestamp(*dice.pick(&[-3_000_000_000, 3_000_000_000_000_000])),
        // One field of all, so that what is seen of the others may stay.
        DataType::Struct(fields) => match old {
            Cell::Struct(cells) => {
                let at = dice.below(fields.len());
                let mut cells = cells.clone();
                cells[at] = odd_value(&fields[at].data_type, &cells[at], dice);
                Cell::Struct(cells)
            }
            other => other.clone(),
        },
        DataType::List(item) => match old {
            Cell::List(cells) => Cell::List(cells.iter().map(|cell| odd_value(item, cell, dice)).collect()),
            other => other.clone(),
        },
        _ => old.clone(),
    }
}
