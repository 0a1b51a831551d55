//! What is written many rows at a time is what is written value by value.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array,
    DurationMicrosecondArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
    IntervalMonthDayNanoArray, LargeStringArray, ListArray, NullArray, RecordBatch, StringArray, StringViewArray,
    StructArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, IntervalMonthDayNano, Schema, i256};
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};

use super::*;

/// Of every size, often next to a power of ten.
fn number(rng: &mut StdRng) -> i128 {
    let magnitude = match rng.random_range(0..4) {
        0 => u128::from(rng.next_u64() >> rng.random_range(0..64)),
        1 => 10_u128.pow(rng.random_range(0..38)) - u128::from(rng.random_range(0..2_u32)),
        2 => 10_u128.pow(rng.random_range(0..19)) * u128::from(rng.random_range(0..1_000_u32)),
        _ => u128::from(rng.random_range(0..100_000_u32)),
    };
    let number = i128::try_from(magnitude).unwrap() % 10_i128.pow(38);
    if rng.random_bool(0.5) { -number } else { number }
}

fn text(rng: &mut StdRng) -> String {
    let length = *[0, 1, 11, 12, 13, 16, 17, 60, 300].get(rng.random_range(0..9)).unwrap();
    (0..length).map(|_| *['a', 'Z', '7', 'ü', '"'].get(rng.random_range(0..5)).unwrap()).collect()
}

fn column(rng: &mut StdRng, rows: usize) -> ArrayRef {
    let nulls = *[0.0, 0.2, 1.0].get(rng.random_range(0..3)).unwrap();
    let kind = rng.random_range(0..24);
    fn all<T>(rng: &mut StdRng, rows: usize, nulls: f64, value: impl Fn(&mut StdRng) -> T) -> Vec<Option<T>> {
        (0..rows).map(|_| (!rng.random_bool(nulls)).then(|| value(rng))).collect()
    }
    macro_rules! column {
        ($array:ty, $value:expr) => {
            <$array>::from_iter(all(rng, rows, nulls, $value))
        };
    }
    let decimal = |array: Decimal128Array, rng: &mut StdRng| {
        let scale = *[-3, 0, 1, 2, 4, 5, 8, 9, 18, 19, 30].get(rng.random_range(0..11)).unwrap();
        array.with_precision_and_scale(38, scale).unwrap()
    };
    match kind {
        0 => Arc::new(column!(BooleanArray, |r| r.random_bool(0.5))),
        1 => Arc::new(column!(Int16Array, |r| number(r) as i16)),
        2 => Arc::new(column!(Int32Array, |r| number(r) as i32)),
        3 => Arc::new(column!(Int64Array, |r| number(r) as i64)),
        4 => Arc::new(column!(Float32Array, |r| f32::from_bits(r.next_u32()))),
        5 => Arc::new(column!(Float64Array, |r| number(r) as f64 / 100.0)),
        6..=9 => {
            let array = column!(Decimal128Array, number);
            Arc::new(decimal(array, rng))
        }
        10 => {
            let array = column!(Decimal256Array, |r| i256::from_i128(number(r)));
            Arc::new(array.with_precision_and_scale(60, 7).unwrap())
        }
        11 => Arc::new(column!(StringArray, text)),
        12 => Arc::new(column!(LargeStringArray, text)),
        13 => Arc::new(column!(StringViewArray, text)),
        14 => Arc::new(column!(BinaryArray, text)),
        15 => Arc::new(column!(BinaryViewArray, text)),
        // Years 1 and 9999 are not far.
        16 => Arc::new(column!(Date32Array, |r| r.random_range(-800_000..3_000_000))),
        17 => Arc::new(column!(Date32Array, |r| number(r) as i32)),
        18 => Arc::new(column!(Time64MicrosecondArray, |r| r.random_range(0..86_400_000_000))),
        19 => {
            let zone = rng.random_bool(0.5).then(|| Arc::from("UTC"));
            Arc::new(column!(TimestampMicrosecondArray, |r| (number(r) % (1 << 55)) as i64).with_timezone_opt(zone))
        }
        20 => {
            let month_day_nano = |r: &mut StdRng| IntervalMonthDayNano::new(number(r) as i32, 3, number(r) as i64);
            Arc::new(column!(IntervalMonthDayNanoArray, month_day_nano))
        }
        21 => Arc::new(column!(DurationMicrosecondArray, |r| number(r) as i64)),
        22 => {
            let lists =
                all(rng, rows, nulls, |r| (0..r.random_range(0..4)).map(|n| (n != 1).then_some(n)).collect::<Vec<_>>());
            let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists));
            let field = Arc::new(Field::new("l", lists.data_type().clone(), true));
            if rng.random_bool(0.5) { Arc::new(StructArray::from(vec![(field, lists)])) } else { lists }
        }
        _ if rng.random_bool(0.5) => Arc::new(NullArray::new(rows)),
        _ => {
            let words = column!(StringArray, |r| format!("word {}", r.random_range(0..3)));
            cast(&words, &DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))).unwrap()
        }
    }
}

/// A batch of random columns, cut out of a longer one.
fn batch(rng: &mut StdRng) -> RecordBatch {
    let rows = rng.random_range(1..500);
    let columns: Vec<_> = (0..rng.random_range(1..7)).map(|_| column(rng, rows)).collect();
    let fields: Vec<_> = columns.iter().map(|c| Field::new("c", c.data_type().clone(), true)).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let from = rng.random_range(0..rows);
    batch.slice(from, rng.random_range(1..=rows - from))
}

#[test]
fn random_batches_come_out_as_value_by_value() {
    let (mut scratch, mut complete, mut refused) = (Scratch::default(), 0, 0);
    for seed in 0..1_500 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let (plain, format) = (batch(rng), *[Format::Text, Format::Binary].get(rng.random_range(0..2)).unwrap());
        let Ok(batch) = Batch::new(&plain, None) else { continue };
        let mut expected = Vec::new();
        let slow = (0..batch.rows()).try_for_each(|row| {
            let before = expected.len();
            batch.write(row, &[format], &mut expected).inspect_err(|_| expected.truncate(before))
        });
        let (mut row, mut out) = (0, Vec::new());
        let fast = loop {
            if row == batch.rows() {
                break Ok(());
            }
            let rows_max = if rng.random_bool(0.5) { usize::MAX } else { rng.random_range(1..200) };
            match batch.encode(row, rows_max, &[format], &mut scratch, &mut out) {
                Ok(rows) => {
                    assert!((1..=rows_max).contains(&rows), "{seed}");
                    row += rows;
                }
                Err(error) => break Err(error),
            }
        };
        assert_eq!(fast, slow, "{seed}: {:?}", plain.schema());
        assert_eq!(out, expected.get(..out.len()).unwrap(), "{seed}: {:?}", plain.schema());
        match fast {
            Ok(()) => {
                assert_eq!(out.len(), expected.len(), "{seed}");
                complete += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(complete > 1_000 && refused > 10, "{complete} {refused}");
}

#[test]
fn every_day_and_every_short_number_is_printed() {
    for days in (PLAIN_DAYS.start - 400)..(PLAIN_DAYS.end + 400) {
        let (mut room, mut expected) = ([0; 32], Vec::new());
        time::date_text(days, &mut expected);
        let length = date(days, &mut room).unwrap();
        assert_eq!((length, room.get(4..length).unwrap()), (4 + date_length(days), expected.as_slice()), "{days}");
    }
    for number in (0..100_000_000).step_by(37).chain([99_999_999, 10_000_000, 9_999_999]) {
        let text = number.to_string();
        assert_eq!((eight_digits(number) | ZEROS).to_le_bytes(), *format!("{number:08}").as_bytes(), "{number}");
        assert_eq!(digits(u64::from(number)), text.len(), "{number}");
    }
}

#[test]
fn every_number_has_its_length() {
    for power in (0..20).map(|log| 10_u64.pow(log)) {
        for number in [power - 1, power, power + 1] {
            assert_eq!(digits(number), number.to_string().len(), "{number}");
        }
    }
    for bit in 0..64 {
        for number in [1_u64 << bit, (1 << bit) - 1] {
            assert_eq!(digits(number), number.to_string().len(), "{number}");
        }
    }
    assert_eq!(digits(u64::MAX), 20);
}

#[test]
fn wide_rows_are_written_a_few_at_a_time() {
    let long = "x".repeat(FLUSH_BYTES / 3);
    let column: ArrayRef = Arc::new(StringArray::from(vec![long.as_str(); 100]));
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(
        (0..100).map(|_| Some((0..20_000).map(Some).collect::<Vec<_>>())),
    ));
    for column in [column, lists] {
        let schema = Schema::new(vec![Field::new("c", column.data_type().clone(), true)]);
        let batch = Batch::new(&RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap(), None).unwrap();
        let (mut scratch, mut out) = (Scratch::default(), Vec::new());
        let rows = batch.encode(0, usize::MAX, &[], &mut scratch, &mut out).unwrap();
        assert!((1..4).contains(&rows), "{rows}");
        assert!(out.len() < 3 * FLUSH_BYTES, "{}", out.len());
    }
}
