use arrow::array::{
    ArrayRef, Decimal128Array, DictionaryArray, DurationNanosecondArray, FixedSizeBinaryArray, Int8Array,
    IntervalDayTimeArray, IntervalYearMonthArray, LargeBinaryArray, ListBuilder, MapBuilder, StringBuilder,
    StructArray, Time32SecondArray, TimestampMicrosecondArray, TimestampNanosecondArray, TimestampSecondArray,
    UInt8Array, UInt32Array, UInt64Array,
};
use arrow::datatypes::{Field, Int32Type, IntervalDayTime, IntervalMonthDayNano, Schema, i256};
use tokio_postgres::types::FromSql;

use super::*;

/// The fields of every row, as their bytes.
fn rows(columns: Vec<ArrayRef>, format: Format, zone: Option<&str>) -> Result<Vec<Vec<Option<Vec<u8>>>>, EncodeError> {
    let fields: Vec<_> = columns.iter().map(|c| Field::new("c", c.data_type().clone(), true)).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let batch = Batch::new(&batch, zone.map(|zone| zone.parse().unwrap()))?;
    (0..batch.rows())
        .map(|row| {
            let mut out = b"before".to_vec();
            batch.write(row, &[format], &mut out)?;
            Ok(fields_of(&out[6..]))
        })
        .collect()
}

/// Takes a DataRow message apart.
fn fields_of(mut message: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut take = |length: usize| {
        let (head, rest) = message.split_at(length);
        message = rest;
        head.to_vec()
    };
    let number = |bytes: Vec<u8>| i32::from_be_bytes(bytes.try_into().unwrap());
    assert_eq!(take(1), b"D");
    let length = number(take(4));
    let count = i16::from_be_bytes(take(2).try_into().unwrap());
    let fields: Vec<_> = (0..count).map(|_| usize::try_from(number(take(4))).ok().map(&mut take)).collect();
    let read = 6 + fields.iter().map(|f| 4 + f.as_ref().map_or(0, Vec::len)).sum::<usize>();
    assert_eq!(usize::try_from(length).unwrap(), read);
    fields
}

/// One column as texts, `NULL` for NULL.
fn texts(column: impl Array + 'static) -> Vec<String> {
    texts_in(column, None)
}

fn texts_in(column: impl Array + 'static, zone: Option<&str>) -> Vec<String> {
    let rows = rows(vec![Arc::new(column)], Format::Text, zone).unwrap();
    rows.into_iter()
        .map(|mut row| row.remove(0).map_or("NULL".to_owned(), |text| String::from_utf8(text).unwrap()))
        .collect()
}

/// One column in binary, as a PostgreSQL client reads it.
fn binaries<T: for<'a> FromSql<'a>>(column: impl Array + 'static) -> Vec<Option<T>> {
    let pg = pg_type(column.data_type()).unwrap();
    assert!(T::accepts(&pg), "{pg}");
    let rows = rows(vec![Arc::new(column)], Format::Binary, None).unwrap();
    rows.into_iter().map(|row| row[0].as_ref().map(|bytes| T::from_sql(&pg, bytes).unwrap())).collect()
}

fn hexes(column: impl Array + 'static) -> Vec<String> {
    let rows = rows(vec![Arc::new(column)], Format::Binary, None).unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    rows.into_iter().map(|row| row[0].as_deref().map_or("NULL".to_owned(), hex)).collect()
}

#[test]
fn integers_booleans_and_nulls() {
    assert_eq!(texts(Int32Array::from(vec![Some(i32::MIN), None, Some(0)])), ["-2147483648", "NULL", "0"]);
    assert_eq!(texts(BooleanArray::from(vec![Some(true), Some(false), None])), ["t", "f", "NULL"]);
    assert_eq!(texts(Int8Array::from(vec![-128])), ["-128"]);
    assert_eq!(texts(UInt32Array::from(vec![u32::MAX])), ["4294967295"]);
    assert_eq!(texts(UInt64Array::from(vec![u64::MAX])), ["18446744073709551615"]);
    assert_eq!(texts(NullArray::new(2)), ["NULL", "NULL"]);
    assert_eq!(binaries::<i64>(Int64Array::from(vec![Some(i64::MIN), None])), [Some(i64::MIN), None]);
    assert_eq!(binaries::<i16>(UInt8Array::from(vec![255])), [Some(255)]);
    assert_eq!(binaries::<bool>(BooleanArray::from(vec![true, false])), [Some(true), Some(false)]);
}

#[test]
fn floats_are_printed_as_postgresql_prints_them() {
    let doubles = [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-1.5, "-1.5"),
        (0.1, "0.1"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (1.5e-7, "1.5e-07"),
        (123_456.789, "123456.789"),
        (1e14, "100000000000000"),
        (1e15, "1e+15"),
        (123_456_789_012_345.6, "123456789012345.6"),
        (1.234_567_890_123_456_8e17, "1.2345678901234568e+17"),
        (1e100, "1e+100"),
        (f64::MAX, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
    ];
    for (value, text) in doubles {
        assert_eq!(texts(Float64Array::from(vec![value])), [text]);
    }
    for (value, text) in
        [(1e6, "1e+06"), (999_999.0, "999999"), (0.1, "0.1"), (16_777_216.0, "1.6777216e+07"), (-2.5, "-2.5")]
    {
        assert_eq!(texts(Float32Array::from(vec![value])), [text]);
    }
    assert_eq!(binaries::<f64>(Float64Array::from(vec![-1.25])), [Some(-1.25)]);
    assert_eq!(binaries::<f32>(Float32Array::from(vec![0.1])), [Some(0.1)]);
}

fn decimals(scale: i8, unscaled: &[i128]) -> Decimal128Array {
    Decimal128Array::from(unscaled.to_vec()).with_precision_and_scale(38, scale).unwrap()
}

#[test]
fn decimals_as_text() {
    assert_eq!(
        texts(decimals(2, &[0, 5, -5, 100, 12345, -12345])),
        ["0.00", "0.05", "-0.05", "1.00", "123.45", "-123.45"]
    );
    assert_eq!(texts(decimals(0, &[0, -7])), ["0", "-7"]);
    assert_eq!(texts(decimals(-3, &[0, 12])), ["0", "12000"]);
    let nines = 10_i128.pow(38) - 1;
    assert_eq!(texts(decimals(38, &[nines])), [format!("0.{}", "9".repeat(38))]);
    assert_eq!(texts(decimals(1, &[-nines])), [format!("-{}.9", "9".repeat(37))]);
    let wide = Decimal256Array::from(vec![i256::from_i128(-1234)]).with_precision_and_scale(50, 2).unwrap();
    assert_eq!(texts(wide), ["-12.34"]);
}

#[test]
fn decimals_in_binary() {
    // Number of groups, weight, sign, scale, groups; from `numeric_send`.
    let cases = [
        (2, 0, "0000000000000002"),
        (2, 5, "0001ffff0000000201f4"),
        (2, 12_345, "000200000000000200 7b1194"),
        (2, -12_345, "000200004000000200 7b1194"),
        (0, 10_000, "0001000100000000 0001"),
        (0, 123_456_789, "0003000200000000 0001 0929 1a85"),
        (4, 1, "0001ffff00000004 0001"),
        (5, 1, "0001fffe00000005 03e8"),
        (3, 1_234_567, "0002000000000003 04d2 162 6"),
        (-3, 12, "0002000100000000 0001 07d0"),
    ];
    for (scale, unscaled, bytes) in cases {
        assert_eq!(hexes(decimals(scale, &[unscaled])), [bytes.replace(' ', "")], "{unscaled} {scale}");
    }
    let wide = Decimal256Array::from(vec![i256::from_i128(12_345)]).with_precision_and_scale(50, 2).unwrap();
    assert_eq!(hexes(wide), ["0002000000000002007b1194"]);
}

#[test]
fn text_and_bytes() {
    assert_eq!(texts(StringArray::from(vec![Some("grün"), Some(""), None])), ["grün", "", "NULL"]);
    assert_eq!(
        texts(StringViewArray::from(vec!["short", "long enough to be out of line"])),
        ["short", "long enough to be out of line"]
    );
    assert_eq!(texts(LargeStringArray::from(vec!["x"])), ["x"]);
    assert_eq!(texts(BinaryArray::from_vec(vec![b"\x00\xff"])), ["\\x00ff"]);
    assert_eq!(texts(BinaryViewArray::from_iter_values([b"a"])), ["\\x61"]);
    assert_eq!(texts(LargeBinaryArray::from_vec(vec![b"a"])), ["\\x61"]);
    assert_eq!(texts(FixedSizeBinaryArray::try_from_iter([[1_u8, 2]].into_iter()).unwrap()), ["\\x0102"]);
    assert_eq!(binaries::<String>(StringViewArray::from(vec!["x"])), [Some("x".to_owned())]);
    assert_eq!(binaries::<Vec<u8>>(BinaryArray::from_vec(vec![b"\x00\xff"])), [Some(vec![0, 255])]);
    let dictionary: DictionaryArray<Int32Type> = vec![Some("b"), None, Some("b"), Some("a")].into_iter().collect();
    assert_eq!(texts(dictionary), ["b", "NULL", "b", "a"]);
    let numbers =
        DictionaryArray::<Int32Type>::new(Int32Array::from(vec![1, 0]), Arc::new(UInt8Array::from(vec![7, 9])));
    assert_eq!(texts(numbers), ["9", "7"]);
}

#[test]
fn dates_and_times() {
    let days = vec![0, -1, 10_957, 11_016, 2_932_896, 2_932_897, -719_162, -719_163, -719_528];
    let dates = [
        "1970-01-01",
        "1969-12-31",
        "2000-01-01",
        "2000-02-29",
        "9999-12-31",
        "10000-01-01",
        "0001-01-01",
        "0001-12-31 BC",
        "0001-01-01 BC",
    ];
    assert_eq!(texts(Date32Array::from(days)), dates);
    assert_eq!(hexes(Date32Array::from(vec![10_956])), ["ffffffff"]);
    assert_eq!(texts(Time32SecondArray::from(vec![0, 86_399])), ["00:00:00", "23:59:59"]);
    let micros = vec![0, -1, 1_500_000, 1_709_164_800_000_010];
    let times =
        ["1970-01-01 00:00:00", "1969-12-31 23:59:59.999999", "1970-01-01 00:00:01.5", "2024-02-29 00:00:00.00001"];
    assert_eq!(texts(TimestampMicrosecondArray::from(micros)), times);
    assert_eq!(texts(TimestampNanosecondArray::from(vec![1_000_000_001])), ["1970-01-01 00:00:01"]);
    assert_eq!(hexes(TimestampMicrosecondArray::from(vec![946_684_800_000_001])), ["0000000000000001"]);
}

#[test]
fn timestamps_with_time_zone_are_shown_in_the_sessions_zone() {
    let zoned =
        || TimestampMicrosecondArray::from(vec![1_719_835_200_000_000, 1_704_067_200_000_000]).with_timezone("UTC");
    assert_eq!(texts(zoned()), ["2024-07-01 12:00:00+00", "2024-01-01 00:00:00+00"]);
    assert_eq!(texts_in(zoned(), Some("Europe/Berlin")), ["2024-07-01 14:00:00+02", "2024-01-01 01:00:00+01"]);
    assert_eq!(texts_in(zoned(), Some("Asia/Kolkata")), ["2024-07-01 17:30:00+05:30", "2024-01-01 05:30:00+05:30"]);
    assert_eq!(texts_in(zoned(), Some("America/New_York")), ["2024-07-01 08:00:00-04", "2023-12-31 19:00:00-05"]);
    assert_eq!(
        hexes(TimestampMicrosecondArray::from(vec![946_684_800_000_001]).with_timezone("UTC")),
        ["0000000000000001"]
    );
}

#[test]
fn intervals_are_printed_in_the_postgres_style() {
    let cases = [
        (0, 0, 0, "00:00:00"),
        (14, 3, 14_706_789_000_000, "1 year 2 mons 3 days 04:05:06.789"),
        (-1, 0, 0, "-1 mons"),
        (0, -1, 3_600_000_000_000, "-1 days +01:00:00"),
        (-14, 3, -1_000_000_000, "-1 years -2 mons +3 days -00:00:01"),
        (0, 0, 360_000_000_000_000, "100:00:00"),
        (12, 1, 0, "1 year 1 day"),
    ];
    for (months, days, nanos, text) in cases {
        let interval = IntervalMonthDayNano::new(months, days, nanos);
        assert_eq!(texts(IntervalMonthDayNanoArray::from(vec![interval])), [text]);
    }
    assert_eq!(
        hexes(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(1, 2, 3_000)])),
        ["0000000000000003 00000002 00000001".replace(' ', "")]
    );
    assert_eq!(texts(IntervalYearMonthArray::from(vec![13])), ["1 year 1 mon"]);
    assert_eq!(texts(IntervalDayTimeArray::from(vec![IntervalDayTime::new(2, 1_500)])), ["2 days 00:00:01.5"]);
    assert_eq!(texts(DurationNanosecondArray::from(vec![90_000_000_000_000])), ["1 day 01:00:00"]);
}

#[test]
fn lists_are_arrays() {
    let mut names = ListBuilder::new(StringBuilder::new());
    for name in [Some("plain"), Some(""), Some("NULL"), None, Some("a b"), Some("q\"\\{},")] {
        names.values().append_option(name);
    }
    names.append(true);
    names.append(true);
    names.append(false);
    let names = names.finish();
    assert_eq!(texts(names.clone()), [r#"{plain,"","NULL",NULL,"a b","q\"\\{},"}"#, "{}", "NULL"]);
    assert_eq!(
        binaries::<Vec<Option<String>>>(names.slice(0, 2)),
        [
            Some(
                [Some("plain"), Some(""), Some("NULL"), None, Some("a b"), Some("q\"\\{},")]
                    .map(|n| n.map(str::to_owned))
                    .to_vec()
            ),
            Some(vec![])
        ]
    );
    let numbers =
        arrow::array::ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None, Some(-3)])]);
    assert_eq!(texts(numbers.clone()), ["{1,NULL,-3}"]);
    assert_eq!(binaries::<Vec<Option<i32>>>(numbers), [Some(vec![Some(1), None, Some(-3)])]);
}

#[test]
fn structs_maps_and_nested_lists_are_json() {
    let pair = StructArray::from(vec![
        (
            Arc::new(Field::new("a \"b\"", DataType::Int32, true)),
            Arc::new(Int32Array::from(vec![Some(1), None])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("c", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec!["x\n\u{1}\"", "ü"])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("d", DataType::Float64, true)),
            Arc::new(Float64Array::from(vec![0.5, f64::NAN])) as ArrayRef,
        ),
    ]);
    assert_eq!(
        texts(pair.clone()),
        [r#"{"a \"b\"":1,"c":"x\n\u0001\"","d":0.5}"#, r#"{"a \"b\"":null,"c":"ü","d":"NaN"}"#]
    );
    assert_eq!(hexes(pair.slice(1, 1)).len(), 1);

    let mut map = MapBuilder::new(None, StringBuilder::new(), arrow::array::BooleanBuilder::new());
    map.keys().append_value("k");
    map.values().append_value(true);
    map.append(true).unwrap();
    assert_eq!(texts(map.finish()), [r#"{"k":true}"#]);

    let mut nested = ListBuilder::new(ListBuilder::new(arrow::array::Date32Builder::new()));
    nested.values().values().append_value(0);
    nested.values().append(true);
    nested.values().append(false);
    nested.append(true);
    assert_eq!(texts(nested.finish()), [r#"[["1970-01-01"],null]"#]);
}

#[test]
fn a_value_beyond_the_wire_is_an_error_and_never_null() {
    let refused = |column: ArrayRef, format| rows(vec![column], format, None).unwrap_err();
    assert_eq!(refused(Arc::new(Date32Array::from(vec![i32::MIN])), Format::Binary), EncodeError::DateTime);
    assert_eq!(
        refused(Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN])), Format::Binary),
        EncodeError::DateTime
    );
    assert_eq!(refused(Arc::new(TimestampSecondArray::from(vec![i64::MAX])), Format::Text), EncodeError::DateTime);
}

#[test]
fn formats_are_for_each_column() {
    let columns: Vec<ArrayRef> = vec![Arc::new(Int32Array::from(vec![1])), Arc::new(Int32Array::from(vec![1]))];
    let fields: Vec<_> = columns.iter().map(|c| Field::new("c", c.data_type().clone(), true)).collect();
    let batch = Batch::new(&RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap(), None).unwrap();
    let mut out = Vec::new();
    batch.write(0, &[Format::Text, Format::Binary], &mut out).unwrap();
    assert_eq!(fields_of(&out), [Some(b"1".to_vec()), Some(vec![0, 0, 0, 1])]);
}
