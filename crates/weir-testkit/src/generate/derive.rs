//! Data sources that were made from others. Their rows are rows by chance like all others: what holds for them does not
//! depend on whether somebody has truly copied what is said to be a copy.

use std::collections::{BTreeMap, BTreeSet};

use weir_model::{Column, ColumnId, ColumnName, DataSource, Lineage, Origin, ParentColumn, SourceId};
use weir_policy::{Snapshot, SourceDecision};

use super::Sizes;
use super::world::{COLUMN_TAGS, KINDS, Speaker, column_names, tags};
use crate::dice::Dice;

/// Columns of a source that is made from some of these, and where they come from.
pub(super) fn columns(others: &[DataSource], dice: &mut Dice, sizes: &Sizes) -> (Vec<Column>, Option<Lineage>) {
    let mut parents: Vec<&DataSource> = vec![dice.pick(others)];
    if dice.chance(40) {
        parents.push(dice.pick(others));
    }
    let mut lineage = Lineage { parents: parents.iter().map(|parent| parent.id).collect(), ..Lineage::default() };
    // Where everything is copied, no row filter is lost.
    let mut all: Vec<(&DataSource, &Column)> = Vec::new();
    let first = parents[0];
    let count = if dice.chance(60) { first.columns.len() } else { 1 };
    // The first column of every source is a plain one.
    all.extend(first.columns.iter().take(count).map(|column| (first, column)));
    for _ in 0..dice.between(1, 3) {
        let parent = *dice.pick(&parents);
        all.push((parent, dice.pick(&parent.columns)));
    }
    let mut columns: Vec<Column> = Vec::new();
    for (parent, original) in all {
        if columns.len() >= sizes.columns_max.max(2) {
            break;
        }
        let id = ColumnId(u32::try_from(60 + 3 * columns.len()).unwrap());
        let from = |column: &Column, parent: &DataSource| ParentColumn { source: parent.id, column: column.id };
        let mut data_type = original.data_type.clone();
        let origin = match dice.below(20) {
            0..15 => {
                let mut copied = BTreeSet::from([from(original, parent)]);
                // What a join has of both sides.
                let other = *dice.pick(&parents);
                let alike: Vec<&Column> = other.columns.iter().filter(|c| c.data_type == data_type).collect();
                if !alike.is_empty() && dice.chance(15) {
                    let other_column = *dice.pick(&alike);
                    copied.insert(from(other_column, other));
                }
                // Said to be a copy, and of another type.
                if !columns.is_empty() && dice.chance(4) {
                    data_type = dice.pick(&KINDS).clone();
                }
                Some(Origin::Copied(copied))
            }
            15..18 => {
                data_type = dice.pick(&KINDS).clone();
                Some(Origin::Computed(BTreeSet::from([from(original, parent)])))
            }
            _ => None,
        };
        lineage.columns.extend(origin.map(|origin| (id, origin)));
        let same_name = dice.chance(60) && data_type == original.data_type;
        let mut name =
            if same_name { original.name.to_string() } else { (*dice.pick(column_names(&data_type))).to_owned() };
        if columns.iter().any(|column| column.name.as_str() == name) {
            name = format!("{name}_{}", columns.len());
        }
        columns.push(Column {
            id,
            name: ColumnName::new(name).unwrap(),
            data_type,
            nullable: dice.chance(85),
            tags: if dice.chance(40) { original.tags.clone() } else { tags(dice, &COLUMN_TAGS, 35) },
            profile: None,
        });
    }
    // What picked the rows when they were written.
    if dice.chance(35) {
        for _ in 0..dice.between(1, 2) {
            let parent = *dice.pick(&parents);
            let column = dice.pick(&parent.columns);
            lineage.conditions.insert(ParentColumn { source: parent.id, column: column.id });
        }
    }
    if dice.chance(6) {
        break_it(&mut lineage, dice);
    }
    (columns, Some(lineage))
}

/// What somebody saw of the parents who wrote the rows, as far as a write keeps that: not where it depends on other rows.
pub(super) fn seen(lineage: &Lineage, snapshot: &Snapshot, writer: &Speaker) -> BTreeMap<SourceId, [u8; 32]> {
    let parents: Vec<SourceId> = lineage.parents.iter().copied().collect();
    let decided = snapshot.decide(&writer.principal, &writer.surroundings(), &parents).sources.into_iter();
    let kept = decided.filter_map(|(parent, decided)| match decided {
        SourceDecision::Obliged(obligations, _) => {
            let looks = ["InLookup", "Frequent"].iter().any(|part| format!("{obligations:?}").contains(part));
            (!looks).then_some((parent, obligations.fingerprint.0))
        }
        SourceDecision::Clear(_) | SourceDecision::Deny(..) => None,
    });
    kept.collect()
}

/// As it is when something went that it names.
fn break_it(lineage: &mut Lineage, dice: &mut Dice) {
    match dice.below(4) {
        0 => drop(lineage.parents.insert(SourceId(1))),
        1 => lineage.parents.clear(),
        2 => {
            let gone = |from: ParentColumn| ParentColumn { column: ColumnId(7), ..from };
            lineage.conditions = std::mem::take(&mut lineage.conditions).into_iter().map(gone).collect();
        }
        _ => {
            let columns: BTreeMap<ColumnId, Origin> = std::mem::take(&mut lineage.columns);
            let gone = |from: BTreeSet<ParentColumn>| {
                from.into_iter().map(|from| ParentColumn { column: ColumnId(7), ..from }).collect()
            };
            let lost = |(id, origin)| match origin {
                Origin::Copied(from) => (id, Origin::Copied(gone(from))),
                Origin::Computed(from) => (id, Origin::Computed(gone(from))),
            };
            lineage.columns = columns.into_iter().map(lost).collect();
        }
    }
}
