use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, DictionaryArray, Float64Array, Int32Array, LargeStringArray, StringArray,
    StringViewArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::Int32Type;
use datafusion::arrow::util::display::array_value_to_string;
use weir_model::{Secret, Value};
use weir_policy::ast::{CalendarUnit, Randomized};

use super::*;

fn apply(mask: &Mask, values: ArrayRef) -> Vec<String> {
    let row_key: ArrayRef = Arc::new(Int32Array::from_iter_values(0..i32::try_from(values.len()).unwrap()));
    apply_keyed(mask, values, &[row_key])
}

fn keys() -> MaskKeys {
    let key = Secret::new(*b"0123456789abcdef0123456789abcdef");
    MaskKeys { own: Some(Arc::new(Keys::new(1, key.clone()).unwrap())), hash: Some(key) }
}

fn apply_keyed(mask: &Mask, values: ArrayRef, row_key: &[ArrayRef]) -> Vec<String> {
    let compiled = CompiledMask::new(mask, ColumnId(1), values.data_type(), &keys()).unwrap();
    let masked = compiled.apply(&values, row_key).unwrap();
    assert_eq!(masked.data_type(), values.data_type(), "a mask keeps the type");
    assert_eq!(masked.len(), values.len());
    (0..masked.len())
        .map(|i| if masked.is_null(i) { "NULL".to_owned() } else { array_value_to_string(&masked, i).unwrap() })
        .collect()
}

fn round(bucket: &str) -> Mask {
    Mask::Round(RoundTo::Number(bucket.to_owned()))
}

#[test]
fn hashing_is_hmac_sha_256_on_every_kind_of_text() {
    // printf '123-45-6789' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
    let expected = "c5e5fd81ed3e05504b23ff6146781b13ebf44ab937c66dc7e077c2a8bc8d9833";
    let values = vec![Some("123-45-6789"), None, Some(""), Some("123-45-6789")];
    let arrays: [ArrayRef; 4] = [
        Arc::new(StringArray::from(values.clone())),
        Arc::new(LargeStringArray::from(values.clone())),
        Arc::new(StringViewArray::from(values.clone())),
        Arc::new(values.iter().copied().collect::<DictionaryArray<Int32Type>>()),
    ];
    let all: Vec<Vec<String>> = arrays.into_iter().map(|array| apply(&Mask::Hash, array)).collect();
    for masked in &all {
        assert_eq!(masked, &all[0]);
        assert_eq!(masked[0], masked[3], "equal values have equal tokens");
        assert_eq!(masked[1], "NULL");
        assert_eq!((masked[0].len(), masked[2].len()), (64, 64));
    }
    assert_eq!(all[0][0], expected);
}

#[test]
fn repeated_and_distinct_values_hash_alike() {
    let repeated: Vec<String> = (0..1_000).map(|i| format!("value {}", i % 7)).collect();
    let array: ArrayRef = Arc::new(StringViewArray::from_iter_values(&repeated));
    let together = apply(&Mask::Hash, array);
    for (value, token) in repeated.iter().zip(&together).take(20) {
        assert_eq!(
            apply(&Mask::Hash, Arc::new(StringViewArray::from_iter_values([value]))),
            std::slice::from_ref(token)
        );
    }
}

#[test]
fn rounding_is_down_to_a_multiple_of_the_bucket() {
    assert_eq!(
        apply(&round("10"), Arc::new(Int32Array::from(vec![Some(17), Some(-1), Some(0), None]))),
        ["10", "-10", "0", "NULL"]
    );
    let decimals = Decimal128Array::from(vec![Some(123_456), Some(-1), None]).with_precision_and_scale(15, 2).unwrap();
    assert_eq!(apply(&round("100"), Arc::new(decimals)), ["1200.00", "-100.00", "NULL"]);
    let decimals = Decimal128Array::from(vec![Some(137)]).with_precision_and_scale(15, 2).unwrap();
    assert_eq!(apply(&round("0.25"), Arc::new(decimals)), ["1.25"]);
    assert_eq!(apply(&round("0.5"), Arc::new(Float64Array::from(vec![1.7, -0.2]))), ["1.5", "-0.5"]);
}

#[test]
fn a_multiple_that_does_not_fit_is_null() {
    assert_eq!(apply(&round("1000"), Arc::new(Int32Array::from(vec![i32::MIN, 1]))), ["NULL", "0"]);
    let decimals = Decimal128Array::from(vec![Some(-99_999)]).with_precision_and_scale(5, 2).unwrap();
    assert_eq!(apply(&round("1000"), Arc::new(decimals)), ["NULL"]);
}

#[test]
fn calendar_rounding_is_down_to_the_start_of_the_unit() {
    // 2024-02-29, a Thursday, and 1969-12-31, a Wednesday.
    let days = || Arc::new(Date32Array::from(vec![Some(19_782), Some(-1), None])) as ArrayRef;
    let by = |unit| apply(&Mask::Round(RoundTo::Calendar(unit)), days());
    assert_eq!(by(CalendarUnit::Day), ["2024-02-29", "1969-12-31", "NULL"]);
    assert_eq!(by(CalendarUnit::Week), ["2024-02-26", "1969-12-29", "NULL"]);
    assert_eq!(by(CalendarUnit::Month), ["2024-02-01", "1969-12-01", "NULL"]);
    assert_eq!(by(CalendarUnit::Quarter), ["2024-01-01", "1969-10-01", "NULL"]);
    assert_eq!(by(CalendarUnit::Year), ["2024-01-01", "1969-01-01", "NULL"]);
    let times = TimestampMicrosecondArray::from(vec![Some(19_782 * 86_400_000_000 + 3_723_000_001), Some(-1)]);
    let by = |unit| apply(&Mask::Round(RoundTo::Calendar(unit)), Arc::new(times.clone()));
    assert_eq!(by(CalendarUnit::Hour), ["2024-02-29T01:00:00", "1969-12-31T23:00:00"]);
    assert_eq!(by(CalendarUnit::Year), ["2024-01-01T00:00:00", "1969-01-01T00:00:00"]);
}

#[test]
fn constants_replace_nulls_and_nulls_replace_everything() {
    let ages = || Arc::new(Int32Array::from(vec![Some(40), None])) as ArrayRef;
    assert_eq!(apply(&Mask::Constant(Value::Int(0)), ages()), ["0", "0"]);
    assert_eq!(apply(&Mask::Null, ages()), ["NULL", "NULL"]);
}

#[test]
fn regular_expressions_replace_once_or_everywhere() {
    let phones = || Arc::new(StringViewArray::from(vec![Some("a1-B2"), None])) as ArrayRef;
    let regex = |pattern: &str, global, case_insensitive| Mask::Regex {
        pattern: pattern.to_owned(),
        replacement: "*".to_owned(),
        case_insensitive,
        global,
    };
    assert_eq!(apply(&regex("[0-9]", false, false), phones()), ["a*-B2", "NULL"]);
    assert_eq!(apply(&regex("[0-9]", true, false), phones()), ["a*-B*", "NULL"]);
    assert_eq!(apply(&regex("b", true, true), phones()), ["a1-*2", "NULL"]);
}

#[test]
fn masks_that_do_not_fit_are_refused() {
    let unfit = |mask: &Mask, data_type: DataType| {
        CompiledMask::new(mask, ColumnId(1), &data_type, &MaskKeys::default()).is_err()
    };
    assert!(unfit(&Mask::Hash, DataType::Int32));
    assert!(unfit(&Mask::Hash, DataType::Utf8), "without a key there is no hash");
    assert!(unfit(&round("0"), DataType::Int32));
    assert!(unfit(&round("0.5"), DataType::Int32));
    assert!(unfit(&round("10"), DataType::Utf8));
    assert!(unfit(&Mask::Constant(Value::Text("x".to_owned())), DataType::Int32));
    assert!(unfit(&Mask::Constant(Value::Int(300)), DataType::Int8));
}

#[test]
fn reversible_values_keep_equality_and_can_be_turned_back() {
    let values = vec![Some("alice"), None, Some(""), Some("alice")];
    let masked = apply(&Mask::Reversible, Arc::new(StringViewArray::from(values.clone())));
    assert_eq!(masked, apply(&Mask::Reversible, Arc::new(StringArray::from(values))));
    assert_eq!((masked[1].as_str(), &masked[0]), ("NULL", &masked[3]));
    assert_ne!(masked[0], masked[2]);
    let reversible = Reversible::new(keys().own.as_deref().unwrap(), ColumnId(1));
    assert_eq!(reversible.unmask(&masked[0]).as_deref(), Ok("alice"));
}

#[test]
fn a_preserved_format_keeps_length_and_kinds_of_characters() {
    let masked =
        apply(&Mask::FormatPreserving, Arc::new(StringArray::from(vec![Some("123-45-6789"), None, Some("12")])));
    assert_ne!(masked[0], "123-45-6789");
    let shape: String = masked[0].chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!(shape, "999-99-9999");
    assert_eq!(masked[1..], ["NULL", "NULL"], "what has few others of its form is found by trying");
    let whole = apply(&Mask::FormatPreserving, Arc::new(Int32Array::from(vec![12_345_678, -2_000_000_000, 5])));
    assert_eq!((whole[0].len(), whole[1].len(), whole[2].as_str()), (8, 11, "NULL"));
}

#[test]
fn random_answers_follow_the_row() {
    let mask = |how| Mask::Randomized { how, row_key: Vec::new() };
    let values: ArrayRef = Arc::new(Int32Array::from(vec![100; 500]));
    let rows: ArrayRef = Arc::new(Int32Array::from_iter_values(0..500));
    let within = mask(Randomized::Within("5".to_owned()));
    let moved = apply_keyed(&within, Arc::clone(&values), &[Arc::clone(&rows)]);
    assert_eq!(moved, apply_keyed(&within, Arc::clone(&values), &[rows]), "asking again tells nothing new");
    let distinct: std::collections::BTreeSet<i32> = moved.iter().map(|v| v.parse().unwrap()).collect();
    assert_eq!(distinct.into_iter().collect::<Vec<_>>(), (95..=105).collect::<Vec<_>>());

    let by = vec![Value::Text("b".to_owned()), Value::Text("c".to_owned())];
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"); 400]));
    let replaced = apply(&mask(Randomized::Replaced { percent: "50".to_owned(), by }), texts);
    let count = |text: &str| replaced.iter().filter(|v| *v == text).count();
    assert_eq!(count("a") + count("b") + count("c"), 400);
    assert!((150..250).contains(&count("a")) && count("b") > 50 && count("c") > 50, "{replaced:?}");

    let days: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(0), None]));
    let masked = apply(&mask(Randomized::WithinDays(3)), days);
    assert!(masked[0].ends_with("T00:00:00") && masked[1] == "NULL", "{masked:?}");
}
