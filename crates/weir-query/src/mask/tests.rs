use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, DictionaryArray, Float64Array, Int32Array, LargeStringArray, StringArray,
    StringViewArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::Int32Type;
use datafusion::arrow::util::display::array_value_to_string;
use weir_model::{Secret, Value};
use weir_policy::ast::CalendarUnit;

use super::*;

fn apply(mask: &Mask, values: ArrayRef) -> Vec<String> {
    let key = Secret::new(*b"0123456789abcdef0123456789abcdef");
    let compiled = CompiledMask::new(mask, values.data_type(), Some(&key)).unwrap();
    let masked = compiled.apply(&values).unwrap();
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
    let unfit = |mask: &Mask, data_type: DataType| CompiledMask::new(mask, &data_type, None).is_err();
    assert!(unfit(&Mask::Hash, DataType::Int32));
    assert!(unfit(&Mask::Hash, DataType::Utf8), "without a key there is no hash");
    assert!(unfit(&round("0"), DataType::Int32));
    assert!(unfit(&round("0.5"), DataType::Int32));
    assert!(unfit(&round("10"), DataType::Utf8));
    assert!(unfit(&Mask::Constant(Value::Text("x".to_owned())), DataType::Int32));
    assert!(unfit(&Mask::Constant(Value::Int(300)), DataType::Int8));
}
