use datafusion::arrow::array::{Date32Array, Int64Array, StringArray};
use weir_testkit::Dice;

use super::*;

/// Numbers that follow each other, numbers far apart, texts; some of them NULL.
fn first(kind: usize, dice: &mut Dice) -> ScalarValue {
    let n = dice.below(40) as i64;
    match kind {
        _ if dice.chance(10) => ScalarValue::Int64(None),
        0 => ScalarValue::Int64(Some(n)),
        1 => ScalarValue::Int64(Some(n * 1_000_000_007)),
        _ => ScalarValue::Utf8(Some(format!("a text of number {n}"))),
    }
}

#[test]
fn grants_are_the_or_of_their_arms() {
    let (mut kept, mut dropped) = (0, 0);
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let kind = dice.below(3);
        let key_type = if kind == 2 { DataType::Utf8 } else { DataType::Int64 };
        let rows = dice.between(1, 60);
        let of_rows: Vec<(ScalarValue, Option<String>, Option<i32>)> = (0..rows)
            .map(|_| {
                let text = (!dice.chance(10)).then(|| format!("t{}", dice.below(3)));
                let date = (!dice.chance(10)).then(|| dice.below(30) as i32);
                (first(kind, &mut dice), text, date)
            })
            .collect();
        let two_columns = dice.chance(50);
        let mut arms = Vec::new();
        let mut plain = Vec::new();
        for _ in 0..dice.between(1, 80) {
            let key = first(kind, &mut dice);
            if key.is_null() {
                continue;
            }
            let text = format!("t{}", dice.below(3));
            let ops = [Operator::Eq, Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq];
            let tests: Vec<(Operator, i32)> =
                (0..dice.below(3)).map(|_| (*dice.pick(&ops), dice.below(30) as i32)).collect();
            let range = |(op, bound): &(Operator, i32)| {
                let (column, bound) = ("date".to_owned(), ScalarValue::Date32(Some(*bound)));
                Range { column, op: *op, bound }
            };
            let mut whole = vec![key.clone()];
            whole.extend(two_columns.then(|| ScalarValue::Utf8(Some(text.clone()))));
            arms.push((whole, tests.iter().map(range).collect()));
            plain.push((key, text, tests));
        }
        let mut columns = vec![("key".to_owned(), key_type.clone())];
        columns.extend(two_columns.then(|| ("text".to_owned(), DataType::Utf8)));
        let (grants, names) = Grants::compiled(&columns, arms).unwrap();
        let keys: ArrayRef = match kind {
            2 => {
                let text = |key: &ScalarValue| match key {
                    ScalarValue::Utf8(text) => text.clone(),
                    _ => None,
                };
                Arc::new(of_rows.iter().map(|(key, ..)| text(key)).collect::<StringArray>())
            }
            _ => {
                let number = |key: &ScalarValue| match key {
                    ScalarValue::Int64(n) => *n,
                    _ => None,
                };
                Arc::new(of_rows.iter().map(|(key, ..)| number(key)).collect::<Int64Array>())
            }
        };
        let mut arrays = vec![keys];
        if two_columns {
            arrays.push(Arc::new(of_rows.iter().map(|(_, text, _)| text.clone()).collect::<StringArray>()));
        }
        if !names.is_empty() {
            arrays.push(Arc::new(of_rows.iter().map(|(.., date)| *date).collect::<Date32Array>()));
        }
        let found = grants.contains(&arrays, rows).unwrap();
        assert_eq!((found.len(), found.null_count()), (rows, 0));
        for (row, (key, text, date)) in of_rows.iter().enumerate() {
            let holds = |(op, bound): &(Operator, i32)| {
                date.is_some_and(|date| match op {
                    Operator::Eq => date == *bound,
                    Operator::Lt => date < *bound,
                    Operator::LtEq => date <= *bound,
                    Operator::Gt => date > *bound,
                    _ => date >= *bound,
                })
            };
            let expected = plain.iter().any(|(of_arm, of_text, tests)| {
                !key.is_null()
                    && of_arm == key
                    && (!two_columns || text.as_ref() == Some(of_text))
                    && tests.iter().all(holds)
            });
            assert_eq!(found.value(row), expected, "seed {seed} row {row}");
            kept += usize::from(expected);
            dropped += usize::from(!expected);
        }
    }
    assert!(kept > 1_000 && dropped > 1_000, "{kept} kept, {dropped} dropped");
}
