//! Parameters of prepared statements: what clients bind, as Arrow arrays of length one.

mod array;
mod interval;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
    IntervalMonthDayNanoArray, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};
use bytes::{Buf, Bytes};
use pgwire::api::Type;

use crate::sqlstate::{Told, code};
use crate::types::{Format, pg_type};

/// Days and microseconds from 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// The types that a parameter may be bound as.
const TYPES: &[Type] = &[
    Type::BOOL,
    Type::INT2,
    Type::INT4,
    Type::INT8,
    Type::OID,
    Type::FLOAT4,
    Type::FLOAT8,
    Type::NUMERIC,
    Type::TEXT,
    Type::VARCHAR,
    Type::BPCHAR,
    Type::NAME,
    Type::UNKNOWN,
    Type::DATE,
    Type::TIME,
    Type::TIMESTAMP,
    Type::TIMESTAMPTZ,
    Type::INTERVAL,
    Type::BYTEA,
    Type::UUID,
    Type::JSON,
    Type::JSONB,
];

/// Their arrays, as far as statements name them.
const ARRAYS: &[Type] = &[
    Type::BOOL_ARRAY,
    Type::INT2_ARRAY,
    Type::INT4_ARRAY,
    Type::INT8_ARRAY,
    Type::OID_ARRAY,
    Type::FLOAT4_ARRAY,
    Type::FLOAT8_ARRAY,
    Type::NUMERIC_ARRAY,
    Type::TEXT_ARRAY,
    Type::VARCHAR_ARRAY,
    Type::NAME_ARRAY,
    Type::DATE_ARRAY,
    Type::TIMESTAMP_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::UUID_ARRAY,
];

/// The type of parameter `$number`: what the client says, else what the statement casts it to, else what that needs.
pub(crate) fn parameter_type(
    number: usize,
    said: u32,
    declared: Option<&str>,
    needed: &DataType,
) -> Result<Type, Told> {
    let unsupported = |name: &str| {
        Told::error(
            code::FEATURE_NOT_SUPPORTED,
            format!("parameter ${number} is of a type that is not supported: `{name}`"),
        )
    };
    if said != 0 {
        let Some(said) = Type::from_oid(said) else { return Err(unsupported(&said.to_string())) };
        return if is_known(&said) { Ok(said) } else { Err(unsupported(said.name())) };
    }
    if let Some(declared) = declared.and_then(named) {
        return Ok(declared);
    }
    let needed = pg_type(needed).unwrap_or(Type::TEXT);
    if is_known(&needed) { Ok(needed) } else { Err(unsupported(needed.name())) }
}

fn is_known(pg: &Type) -> bool {
    TYPES.contains(pg) || item(pg).is_some()
}

/// A type by its name; an array's begins with `_`.
fn named(name: &str) -> Option<Type> {
    let (name, is_array) = name.strip_prefix('_').map_or((name, false), |item| (item, true));
    let item = TYPES.iter().find(|known| known.name() == name)?;
    if !is_array {
        return Some(item.clone());
    }
    ARRAYS.iter().find(|array| self::item(array) == Some(item)).cloned()
}

/// The type of an array's items.
fn item(pg: &Type) -> Option<&'static Type> {
    let name = pg.name().strip_prefix('_')?;
    TYPES.iter().find(|item| item.name() == name)
}

/// The value of parameter `$number` as an array of length one and of the type that the statement needs. `zone` is
/// for a timestamp with time zone that does not name one.
pub(crate) fn value(
    number: usize,
    pg: &Type,
    format: Format,
    bytes: Option<&Bytes>,
    needed: &DataType,
    zone: &str,
) -> Result<ArrayRef, Told> {
    let Some(bytes) = bytes else {
        return Ok(new_null_array(needed, 1));
    };
    let invalid = |code| Told::error(code, format!("invalid input for parameter ${number} of type `{}`", pg.name()));
    let bound = match (format, item(pg)) {
        (Format::Text, None) => text(pg, bytes, zone).ok_or_else(|| invalid(code::INVALID_TEXT))?,
        (Format::Binary, None) => binary(pg, bytes.clone()).ok_or_else(|| invalid(code::INVALID_BINARY))?,
        (Format::Text, Some(item)) => array::text(item, bytes, zone).ok_or_else(|| invalid(code::INVALID_TEXT))?,
        (Format::Binary, Some(item)) => {
            array::binary(item, bytes.clone()).ok_or_else(|| invalid(code::INVALID_BINARY))?
        }
    };
    cast(&bound, needed).ok_or_else(|| {
        Told::error(
            code::INVALID_TEXT,
            format!("the value of parameter ${number} does not fit the type that the statement needs"),
        )
    })
}

fn cast(array: &ArrayRef, to: &DataType) -> Option<ArrayRef> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, to, &strict).ok()
}

fn text(pg: &Type, bytes: &[u8], zone: &str) -> Option<ArrayRef> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))?;
    if *pg == Type::INTERVAL {
        return Some(Arc::new(IntervalMonthDayNanoArray::from(vec![interval::parse(text)?])));
    }
    if *pg == Type::BYTEA {
        return Some(Arc::new(BinaryArray::from_vec(vec![&bytea(text)?])));
    }
    let natural = match *pg {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 | Type::OID => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::DATE => DataType::Date32,
        Type::TIME => DataType::Time64(TimeUnit::Microsecond),
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into())),
        Type::UUID => return Some(Arc::new(StringArray::from(vec![uuid_text(text)?]))),
        // Precision and scale are those that the statement needs; a text is what it is.
        _ => DataType::Utf8,
    };
    let text = if natural == DataType::Utf8 && *pg != Type::NUMERIC { text } else { text.trim() };
    cast(&(Arc::new(StringArray::from(vec![text])) as ArrayRef), &natural)
}

/// The `hex` form, or plain characters; escapes of the old form are refused.
fn bytea(text: &str) -> Option<Vec<u8>> {
    let Some(hex) = text.strip_prefix("\\x") else {
        return (!text.contains('\\')).then(|| text.as_bytes().to_vec());
    };
    let nibble = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(nibble(high)? << 4 | nibble(low)?),
            _ => None,
        })
        .collect()
}

fn binary(pg: &Type, mut bytes: Bytes) -> Option<ArrayRef> {
    let array: ArrayRef = match *pg {
        Type::BOOL => Arc::new(BooleanArray::from(vec![bytes.try_get_u8().ok()? != 0])),
        Type::INT2 => Arc::new(Int16Array::from(vec![bytes.try_get_i16().ok()?])),
        Type::INT4 => Arc::new(Int32Array::from(vec![bytes.try_get_i32().ok()?])),
        Type::INT8 => Arc::new(Int64Array::from(vec![bytes.try_get_i64().ok()?])),
        Type::OID => Arc::new(Int64Array::from(vec![i64::from(bytes.try_get_u32().ok()?)])),
        Type::FLOAT4 => Arc::new(Float32Array::from(vec![bytes.try_get_f32().ok()?])),
        Type::FLOAT8 => Arc::new(Float64Array::from(vec![bytes.try_get_f64().ok()?])),
        Type::NUMERIC => Arc::new(StringArray::from(vec![numeric(&mut bytes)?])),
        Type::DATE => Arc::new(Date32Array::from(vec![bytes.try_get_i32().ok()?.checked_add(EPOCH_DAYS)?])),
        Type::TIME => Arc::new(Time64MicrosecondArray::from(vec![bytes.try_get_i64().ok()?])),
        Type::TIMESTAMP => Arc::new(TimestampMicrosecondArray::from(vec![timestamp(&mut bytes)?])),
        Type::TIMESTAMPTZ => {
            Arc::new(TimestampMicrosecondArray::from(vec![timestamp(&mut bytes)?]).with_timezone("+00:00"))
        }
        Type::INTERVAL => {
            let nanoseconds = bytes.try_get_i64().ok()?.checked_mul(1_000)?;
            let (days, months) = (bytes.try_get_i32().ok()?, bytes.try_get_i32().ok()?);
            Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(months, days, nanoseconds)]))
        }
        Type::UUID => Arc::new(StringArray::from(vec![uuid(&mut bytes)?])),
        Type::BYTEA => Arc::new(BinaryArray::from_vec(vec![&bytes.split_off(0)])),
        _ => {
            // A version comes before the text.
            if *pg == Type::JSONB && bytes.try_get_u8().ok()? != 1 {
                return None;
            }
            let text = String::from_utf8(bytes.split_off(0).into()).ok().filter(|text| !text.contains('\0'))?;
            Arc::new(StringArray::from(vec![text]))
        }
    };
    bytes.is_empty().then_some(array)
}

fn timestamp(bytes: &mut Bytes) -> Option<i64> {
    bytes.try_get_i64().ok()?.checked_add(EPOCH_MICROS)
}

/// In any of the forms that PostgreSQL takes.
fn uuid_text(text: &str) -> Option<String> {
    let digits: String = text.trim().trim_matches(['{', '}']).chars().filter(|c| *c != '-').collect();
    (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok().map(canonical_uuid)).flatten()
}

fn uuid(bytes: &mut Bytes) -> Option<String> {
    bytes.try_get_u128().ok().map(canonical_uuid)
}

fn canonical_uuid(value: u128) -> String {
    let hex = format!("{value:032x}");
    [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| hex.get(part).unwrap_or_default()).join("-")
}

/// The text of a binary `numeric`.
fn numeric(bytes: &mut Bytes) -> Option<String> {
    let count = bytes.try_get_u16().ok()?;
    let weight = i32::from(bytes.try_get_i16().ok()?);
    let sign = bytes.try_get_u16().ok()?;
    let places = usize::from(bytes.try_get_u16().ok()?);
    let mut text = match sign {
        0x0000 => String::new(),
        0x4000 => "-".to_owned(),
        // Not a number, infinities.
        _ => return None,
    };
    let mut groups = Vec::new();
    for _ in 0..count {
        groups.push(bytes.try_get_u16().ok().filter(|group| *group < 10_000)?);
    }
    let group = |at: i32| usize::try_from(weight - at).ok().and_then(|i| groups.get(i)).copied().unwrap_or(0);
    let mut integer: String = (0..=weight).rev().map(|at| format!("{:04}", group(at))).collect();
    integer.drain(..integer.bytes().take_while(|b| *b == b'0').count());
    text.push_str(if integer.is_empty() { "0" } else { &integer });
    if places > 0 {
        let groups = i32::try_from(places.div_ceil(4)).ok()?;
        let mut fraction: String = (1..=groups).map(|at| format!("{:04}", group(-at))).collect();
        fraction.truncate(places);
        text.push('.');
        text.push_str(&fraction);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use arrow::util::display::array_value_to_string;

    use super::*;

    fn shown(pg: &Type, format: Format, bytes: &[u8], needed: &DataType) -> Result<String, &'static str> {
        let bytes = Bytes::copy_from_slice(bytes);
        let array = value(1, pg, format, Some(&bytes), needed, "Europe/Berlin").map_err(|told| told.code)?;
        assert_eq!((array.len(), array.data_type()), (1, needed));
        Ok(array_value_to_string(&array, 0).unwrap())
    }

    const MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

    #[test]
    fn texts_become_what_the_statement_needs() {
        let utc = DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into()));
        let cases: [(Type, &str, DataType, &str); 13] = [
            (Type::BOOL, "t", DataType::Boolean, "true"),
            (Type::BOOL, "off", DataType::Boolean, "false"),
            (Type::INT4, " 42 ", DataType::Int64, "42"),
            (Type::INT8, "-7", DataType::Utf8View, "-7"),
            (Type::NUMERIC, "12.345", DataType::Decimal128(10, 3), "12.345"),
            (Type::FLOAT8, "1e3", DataType::Float64, "1000.0"),
            (Type::TEXT, " as is ", DataType::Utf8, " as is "),
            (Type::UNKNOWN, "2024-02-29", DataType::Date32, "2024-02-29"),
            (Type::DATE, "2024-02-29", DataType::Date32, "2024-02-29"),
            (Type::TIMESTAMP, "2024-02-29 01:02:03.5", MICROS, "2024-02-29T01:02:03.500"),
            (Type::TIMESTAMPTZ, "2024-07-01 12:00:00+05", utc.clone(), "2024-07-01T07:00:00Z"),
            (Type::TIMESTAMPTZ, "2024-07-01 12:00:00", utc, "2024-07-01T10:00:00Z"),
            (Type::BYTEA, "\\x00Ff", DataType::Binary, "00ff"),
        ];
        for (pg, text, needed, expected) in cases {
            assert_eq!(shown(&pg, Format::Text, text.as_bytes(), &needed), Ok(expected.to_owned()), "{pg} {text}");
        }
    }

    #[test]
    fn binary_values_become_what_the_statement_needs() {
        // 1234567.89 and -0.0001 as PostgreSQL sends them.
        let numeric: &[u8] = &[0, 3, 0, 1, 0, 0, 0, 2, 0, 123, 0x11, 0xd7, 0x22, 0xc4];
        let small: &[u8] = &[0, 1, 0xff, 0xff, 0x40, 0, 0, 4, 0, 1];
        let cases: [(Type, &[u8], DataType, &str); 9] = [
            (Type::BOOL, &[1], DataType::Boolean, "true"),
            (Type::INT2, &[0xff, 0xfe], DataType::Int64, "-2"),
            (Type::INT8, &42_i64.to_be_bytes(), DataType::Int32, "42"),
            (Type::FLOAT8, &1.5_f64.to_be_bytes(), DataType::Float64, "1.5"),
            (Type::NUMERIC, numeric, DataType::Decimal128(12, 2), "1234567.89"),
            (Type::NUMERIC, small, DataType::Utf8, "-0.0001"),
            (Type::DATE, &(-1_i32).to_be_bytes(), DataType::Date32, "1999-12-31"),
            (Type::TIMESTAMP, &1_000_000_i64.to_be_bytes(), MICROS, "2000-01-01T00:00:01"),
            (Type::UUID, &[0xab; 16], DataType::Utf8, "abababab-abab-abab-abab-abababababab"),
        ];
        for (pg, bytes, needed, expected) in cases {
            assert_eq!(shown(&pg, Format::Binary, bytes, &needed), Ok(expected.to_owned()), "{pg} {bytes:?}");
        }
    }

    #[test]
    fn what_is_not_valid_is_an_error() {
        let cases: [(Type, Format, &[u8], DataType, &str); 10] = [
            (Type::INT4, Format::Text, b"4x", DataType::Int32, "22P02"),
            (Type::INT4, Format::Text, b"3000000000", DataType::Int64, "22P02"),
            (Type::INT8, Format::Text, b"3000000000", DataType::Int32, "22P02"),
            (Type::TEXT, Format::Text, b"\xff", DataType::Utf8, "22P02"),
            (Type::TEXT, Format::Binary, b"a\0b", DataType::Utf8, "22P03"),
            (Type::BYTEA, Format::Text, b"\\x0", DataType::Binary, "22P02"),
            (Type::INT4, Format::Binary, b"abc", DataType::Int32, "22P03"),
            (Type::INT4, Format::Binary, b"abcde", DataType::Int32, "22P03"),
            (Type::NUMERIC, Format::Binary, &[0, 9, 0, 0, 0, 0, 0, 0, 0, 1], DataType::Decimal128(9, 0), "22P03"),
            (Type::NUMERIC, Format::Binary, &[0, 0, 0, 0, 0xc0, 0, 0, 0], DataType::Decimal128(9, 0), "22P03"),
        ];
        for (pg, format, bytes, needed, expected) in cases {
            assert_eq!(shown(&pg, format, bytes, &needed), Err(expected), "{pg} {bytes:?}");
        }
    }

    #[test]
    fn nulls_have_the_type_that_is_needed() {
        let null = value(1, &Type::INT4, Format::Text, None, &DataType::Float64, "UTC").unwrap();
        assert_eq!((null.len(), null.null_count(), null.data_type()), (1, 1, &DataType::Float64));
    }

    #[test]
    fn a_type_is_taken_from_the_client_then_from_the_statement() {
        assert_eq!(parameter_type(1, 23, None, &DataType::Utf8), Ok(Type::INT4));
        assert_eq!(parameter_type(1, 0, None, &DataType::UInt32), Ok(Type::INT8));
        assert_eq!(parameter_type(1, 0, None, &DataType::Utf8View), Ok(Type::TEXT));
        assert_eq!(parameter_type(1, 1007, None, &DataType::Utf8), Ok(Type::INT4_ARRAY));
        assert_eq!(parameter_type(1, 0, Some("_oid"), &DataType::Utf8), Ok(Type::OID_ARRAY));
        let refused = parameter_type(2, 600, None, &DataType::Utf8).unwrap_err();
        assert_eq!(refused.message, "parameter $2 is of a type that is not supported: `point`");
    }
}
