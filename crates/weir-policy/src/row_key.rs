//! Which columns may tell the rows of a source apart, by what is known of their values.

use weir_model::{Column, ColumnId, TypeClass};

/// How many pairs of columns are worth counting.
const PAIRS_MAX: usize = 64;

/// What keys are called, or end with.
const KEY_WORDS: [&str; 5] = ["id", "key", "number", "uuid", "guid"];

/// What profiles say of row keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowKeys {
    /// The column was never NULL, and different in all rows.
    Found(ColumnId),
    /// No column alone; of these pairs some may do, the likeliest first. Whether one does has to be counted.
    Pairs(Vec<[ColumnId; 2]>),
}

/// What can be told of the source with these columns. Names such as `id` come first, then columns as they were declared.
/// Nothing is found among fewer than two rows, where every column would do.
pub fn row_keys(columns: &[Column]) -> RowKeys {
    let mut complete: Vec<Complete> = columns.iter().filter_map(Complete::new).collect();
    complete.sort_by_key(|column| column.rank);
    if let Some(found) = complete.iter().find(|column| column.distinct == column.rows) {
        return RowKeys::Found(found.id);
    }
    let mut pairs = Vec::new();
    for (at, one) in complete.iter().enumerate() {
        for other in complete.iter().skip(at + 1) {
            if u128::from(one.distinct) * u128::from(other.distinct) >= u128::from(one.rows) {
                pairs.push((one.rank + other.rank, [one.id, other.id]));
            }
        }
    }
    pairs.sort_by_key(|(rank, _)| *rank);
    RowKeys::Pairs(pairs.into_iter().take(PAIRS_MAX).map(|(_, pair)| pair).collect())
}

/// A column that could be part of a key.
struct Complete {
    id: ColumnId,
    rank: u8,
    rows: u64,
    distinct: u64,
}

impl Complete {
    fn new(column: &Column) -> Option<Self> {
        let profile = column.profile.as_ref()?;
        match (column.data_type.class(), &column.data_type) {
            (_, weir_model::DataType::Float32 | weir_model::DataType::Float64) => return None,
            (TypeClass::Number | TypeClass::Text | TypeClass::Date | TypeClass::Timestamp, _) => {}
            (TypeClass::Boolean | TypeClass::Binary | TypeClass::Time | TypeClass::Nested, _) => return None,
        }
        let name = column.name.as_str().to_lowercase();
        let rank = if KEY_WORDS.contains(&name.as_str()) {
            0
        } else if KEY_WORDS.iter().any(|word| name.ends_with(word)) {
            1
        } else {
            2
        };
        let (rows, distinct) = (profile.rows, profile.distinct?);
        (profile.nulls == 0 && rows > 1 && distinct > 1).then_some(Self { id: column.id, rank, rows, distinct })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use weir_model::{ColumnName, DataType, Profile};

    use super::*;

    fn columns(rows: u64, seen: &[(&str, DataType, u64, u64)]) -> Vec<Column> {
        let column = |((name, data_type, nulls, distinct), id): (&(&str, DataType, u64, u64), u32)| Column {
            id: ColumnId(id),
            name: ColumnName::new(*name).unwrap(),
            data_type: data_type.clone(),
            nullable: true,
            tags: BTreeSet::new(),
            profile: Some(Profile { rows, nulls: *nulls, distinct: Some(*distinct), least: None, greatest: None }),
        };
        seen.iter().zip(1..).map(column).collect()
    }

    fn found(rows: u64, seen: &[(&str, DataType, u64, u64)]) -> Vec<Vec<u32>> {
        match row_keys(&columns(rows, seen)) {
            RowKeys::Found(id) => vec![vec![id.0]],
            RowKeys::Pairs(pairs) => pairs.iter().map(|pair| pair.iter().map(|id| id.0).collect()).collect(),
        }
    }

    #[test]
    fn a_column_alone_is_preferred_by_its_name_and_then_by_its_place() {
        let (int, text) = (DataType::Int64, DataType::Text);
        let of = |names: [&str; 3]| found(9, &names.map(|name| (name, int.clone(), 0, 9)));
        assert_eq!(of(["a", "b", "ID"]), [[3]]);
        assert_eq!(of(["a", "c_custkey", "b"]), [[2]]);
        assert_eq!(of(["order_id", "a", "id"]), [[3]]);
        assert_eq!(of(["a", "b", "c"]), [[1]]);
        assert_eq!(found(9, &[("id", int.clone(), 1, 8), ("name", text.clone(), 0, 9)]), [[2]]);
        assert_eq!(found(9, &[("id", int.clone(), 0, 8), ("name", text, 0, 9)]), [[2]]);
        // Prices differ by chance.
        assert_eq!(found(9, &[("id", DataType::Float64, 0, 9), ("n", int, 0, 9)]), [[2]]);
    }

    #[test]
    fn pairs_are_those_that_have_enough_values_together() {
        let int = DataType::Int64;
        let seen = [
            ("a", int.clone(), 0, 3),
            ("b", int.clone(), 0, 4),
            ("line_number", int.clone(), 0, 3),
            ("c", int.clone(), 1, 11),
        ];
        assert_eq!(found(12, &seen), [[3, 2], [1, 2]]);
        assert_eq!(found(13, &seen), Vec::<Vec<u32>>::new());
        let many: Vec<_> = (0..40).map(|_| ("x", int.clone(), 0, 6)).collect();
        assert_eq!(found(36, &many).len(), PAIRS_MAX);
    }

    #[test]
    fn nothing_is_told_of_what_nobody_has_seen() {
        let int = DataType::Int64;
        assert_eq!(found(1, &[("id", int.clone(), 0, 1)]), Vec::<Vec<u32>>::new());
        assert_eq!(found(0, &[("id", int.clone(), 0, 0)]), Vec::<Vec<u32>>::new());
        let mut unseen = columns(9, &[("id", int.clone(), 0, 9), ("key", int, 0, 9)]);
        unseen[0].profile = None;
        assert_eq!(row_keys(&unseen), RowKeys::Found(ColumnId(2)));
        unseen[1].profile.as_mut().unwrap().distinct = None;
        assert_eq!(row_keys(&unseen), RowKeys::Pairs(Vec::new()));
    }
}
