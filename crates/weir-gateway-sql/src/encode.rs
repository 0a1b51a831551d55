//! Rows on the wire: Arrow columns to DataRow messages, in PostgreSQL's text and binary formats.
//!
//! Columns are looked at once per batch. Here is how one value is written, of any kind; `rows` writes many at a time.

pub(crate) mod copy;
mod float;
mod json;
mod numeric;
mod rows;
mod time;

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array,
    Decimal256Array, Float32Array, Float64Array, GenericListArray, Int16Array, Int32Array, Int64Array,
    IntervalMonthDayNanoArray, LargeStringArray, NullArray, PrimitiveArray, RecordBatch, StringArray, StringViewArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, DurationMicrosecondType, IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use bytes::BufMut;
use pgwire::api::Type;

use self::json::Json;
pub(crate) use self::rows::Scratch;
use crate::sqlstate::{Told, code};
use crate::types::{Format, pg_type};

/// A value that has no form on the wire, although its type has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EncodeError {
    /// A date, time or interval beyond what the wire can say.
    DateTime,
    /// Longer than a message can be.
    TooLong,
    /// Columns that are not those that were announced.
    Shape,
}

impl From<EncodeError> for Told {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::DateTime => Told::error(code::DATETIME_OUT_OF_RANGE, "date or time is out of range"),
            EncodeError::TooLong => Told::error(code::PROGRAM_LIMIT, "a row is longer than a message can be"),
            EncodeError::Shape => Told::error(code::INTERNAL, "internal error"),
        }
    }
}

type Encoded = Result<(), EncodeError>;

/// A batch, ready to be written.
pub(crate) struct Batch {
    rows: usize,
    cells: Vec<Cell>,
}

impl Batch {
    /// `zone` is for the text of timestamps with time zone; `None` for UTC.
    pub(crate) fn new(batch: &RecordBatch, zone: Option<Tz>) -> Result<Self, EncodeError> {
        let cells = batch.columns().iter().map(|column| Cell::new(column, zone)).collect::<Result<_, _>>()?;
        Ok(Self { rows: batch.num_rows(), cells })
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// One DataRow message, value by value: what [`Self::encode`] has to come to.
    #[cfg(test)]
    fn write(&self, row: usize, formats: &[Format], out: &mut Vec<u8>) -> Encoded {
        let start = out.len();
        out.extend_from_slice(b"D\0\0\0\0");
        out.put_i16(i16::try_from(self.cells.len()).map_err(|_| EncodeError::TooLong)?);
        for (index, cell) in self.cells.iter().enumerate() {
            cell.field(row, Format::pick(formats, index), out)?;
        }
        let length = i32::try_from(out.len() - start - 1).map_err(|_| EncodeError::TooLong)?;
        patch(out, start + 1, length)
    }
}

/// Writes a length that was not known before, at `at`.
#[inline]
fn patch(out: &mut [u8], at: usize, length: i32) -> Encoded {
    out.get_mut(at..at + 4).ok_or(EncodeError::Shape)?.copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// A column, looked at once.
struct Cell {
    /// `None` when no value is NULL.
    nulls: Option<NullBuffer>,
    values: Values,
}

enum Values {
    Null,
    Bool(BooleanArray),
    Int2(Int16Array),
    Int4(Int32Array),
    Int8(Int64Array),
    Float4(Float32Array),
    Float8(Float64Array),
    Numeric(Decimal128Array, i8),
    WideNumeric(Decimal256Array, i8),
    Text(StringArray),
    LargeText(LargeStringArray),
    TextView(StringViewArray),
    Bytes(BinaryArray),
    BytesView(BinaryViewArray),
    Date(Date32Array),
    Time(PrimitiveArray<Time64MicrosecondType>),
    Timestamp(PrimitiveArray<TimestampMicrosecondType>),
    TimestampTz(PrimitiveArray<TimestampMicrosecondType>, Option<Tz>),
    Interval(IntervalMonthDayNanoArray),
    Duration(PrimitiveArray<DurationMicrosecondType>),
    List { list: GenericListArray<i32>, items: Box<Cell>, item_oid: u32 },
    Json(Json),
}

impl Cell {
    fn new(array: &ArrayRef, zone: Option<Tz>) -> Result<Self, EncodeError> {
        let array = canonical(array)?;
        let values = match array.data_type() {
            DataType::Null => array.as_any().downcast_ref::<NullArray>().map(|_| Values::Null),
            DataType::Boolean => array.as_boolean_opt().cloned().map(Values::Bool),
            DataType::Int16 => array.as_primitive_opt().cloned().map(Values::Int2),
            DataType::Int32 => array.as_primitive_opt().cloned().map(Values::Int4),
            DataType::Int64 => array.as_primitive_opt().cloned().map(Values::Int8),
            DataType::Float32 => array.as_primitive_opt().cloned().map(Values::Float4),
            DataType::Float64 => array.as_primitive_opt().cloned().map(Values::Float8),
            DataType::Decimal128(_, scale) => array.as_primitive_opt().cloned().map(|a| Values::Numeric(a, *scale)),
            DataType::Decimal256(_, scale) => array.as_primitive_opt().cloned().map(|a| Values::WideNumeric(a, *scale)),
            DataType::Utf8 => array.as_string_opt().cloned().map(Values::Text),
            DataType::LargeUtf8 => array.as_string_opt().cloned().map(Values::LargeText),
            DataType::Utf8View => array.as_string_view_opt().cloned().map(Values::TextView),
            DataType::Binary => array.as_binary_opt().cloned().map(Values::Bytes),
            DataType::BinaryView => array.as_binary_view_opt().cloned().map(Values::BytesView),
            DataType::Date32 => array.as_primitive_opt().cloned().map(Values::Date),
            DataType::Time64(TimeUnit::Microsecond) => array.as_primitive_opt().cloned().map(Values::Time),
            DataType::Timestamp(TimeUnit::Microsecond, None) => {
                array.as_primitive_opt().cloned().map(Values::Timestamp)
            }
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
                array.as_primitive_opt().cloned().map(|a| Values::TimestampTz(a, zone))
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => array.as_primitive_opt().cloned().map(Values::Interval),
            DataType::Duration(TimeUnit::Microsecond) => array.as_primitive_opt().cloned().map(Values::Duration),
            DataType::List(item) => match pg_type(array.data_type()) {
                Some(Type::JSON) | None => Some(Values::Json(Json::new(&array, zone)?)),
                Some(_) => {
                    let list = array.as_list_opt::<i32>().ok_or(EncodeError::Shape)?.clone();
                    let item_oid = pg_type(item.data_type()).ok_or(EncodeError::Shape)?.oid();
                    let items = Box::new(Cell::new(list.values(), zone)?);
                    Some(Values::List { list, items, item_oid })
                }
            },
            DataType::Struct(_) | DataType::Map(..) => Some(Values::Json(Json::new(&array, zone)?)),
            // `canonical` leaves nothing of these.
            DataType::Int8
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32
            | DataType::UInt64
            | DataType::Float16
            | DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::LargeBinary
            | DataType::FixedSizeBinary(_)
            | DataType::Date64
            | DataType::Time32(_)
            | DataType::Time64(_)
            | DataType::Timestamp(..)
            | DataType::Interval(_)
            | DataType::Duration(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(..)
            | DataType::ListView(_)
            | DataType::LargeListView(_)
            | DataType::Dictionary(..)
            | DataType::Union(..)
            | DataType::RunEndEncoded(..) => None,
        };
        let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
        Ok(Self { nulls, values: values.ok_or(EncodeError::Shape)? })
    }

    #[inline]
    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Length and value, or -1 for NULL.
    fn field(&self, row: usize, format: Format, out: &mut Vec<u8>) -> Encoded {
        if self.is_null(row) {
            out.put_i32(-1);
            return Ok(());
        }
        if let Some(bytes) = self.values.as_is(row, format) {
            out.put_i32(i32::try_from(bytes.len()).map_err(|_| EncodeError::TooLong)?);
            out.extend_from_slice(bytes);
            return Ok(());
        }
        let at = out.len();
        out.put_i32(0);
        match format {
            Format::Text => self.text(row, out)?,
            Format::Binary => self.binary(row, out)?,
        }
        let length = i32::try_from(out.len() - at - 4).map_err(|_| EncodeError::TooLong)?;
        patch(out, at, length)
    }

    /// The value's text. The row is not NULL.
    #[inline]
    fn text(&self, row: usize, out: &mut Vec<u8>) -> Encoded {
        match &self.values {
            Values::Null => {}
            Values::Bool(a) => out.put_u8(if a.value(row) { b't' } else { b'f' }),
            Values::Int2(a) => integer(a.value(row), out),
            Values::Int4(a) => integer(a.value(row), out),
            Values::Int8(a) => integer(a.value(row), out),
            Values::Float4(a) => float::text4(a.value(row), out),
            Values::Float8(a) => float::text8(a.value(row), out),
            Values::Numeric(a, scale) => numeric::text(a.value(row), *scale, out),
            Values::WideNumeric(a, scale) => numeric::wide_text(a.value(row), *scale, out),
            Values::Text(a) => out.extend_from_slice(a.value(row).as_bytes()),
            Values::LargeText(a) => out.extend_from_slice(a.value(row).as_bytes()),
            Values::TextView(a) => out.extend_from_slice(a.value(row).as_bytes()),
            Values::Bytes(a) => hex(a.value(row), out),
            Values::BytesView(a) => hex(a.value(row), out),
            Values::Date(a) => time::date_text(a.value(row), out),
            Values::Time(a) => time::time_text(a.value(row), out),
            Values::Timestamp(a) => time::timestamp_text(a.value(row), out),
            Values::TimestampTz(a, zone) => time::timestamptz_text(a.value(row), *zone, out)?,
            Values::Interval(a) => time::interval_text(time::Interval::of(a.value(row)), out),
            Values::Duration(a) => time::interval_text(time::Interval::of_micros(a.value(row)), out),
            Values::List { list, items, .. } => list_text(list, items, row, out)?,
            Values::Json(json) => json.write(row, out)?,
        }
        Ok(())
    }

    /// The value's binary form. The row is not NULL.
    #[inline]
    fn binary(&self, row: usize, out: &mut Vec<u8>) -> Encoded {
        match &self.values {
            Values::Null => {}
            Values::Bool(a) => out.put_u8(u8::from(a.value(row))),
            Values::Int2(a) => out.put_i16(a.value(row)),
            Values::Int4(a) => out.put_i32(a.value(row)),
            Values::Int8(a) => out.put_i64(a.value(row)),
            Values::Float4(a) => out.put_f32(a.value(row)),
            Values::Float8(a) => out.put_f64(a.value(row)),
            Values::Numeric(a, scale) => numeric::binary(a.value(row), *scale, out)?,
            Values::WideNumeric(a, scale) => numeric::wide_binary(a.value(row), *scale, out)?,
            Values::Text(_) | Values::LargeText(_) | Values::TextView(_) | Values::Json(_) => self.text(row, out)?,
            Values::Bytes(a) => out.extend_from_slice(a.value(row)),
            Values::BytesView(a) => out.extend_from_slice(a.value(row)),
            Values::Date(a) => out.put_i32(time::pg_days(a.value(row))?),
            Values::Time(a) => out.put_i64(a.value(row)),
            Values::Timestamp(a) | Values::TimestampTz(a, _) => out.put_i64(time::pg_micros(a.value(row))?),
            Values::Interval(a) => time::interval_binary(time::Interval::of(a.value(row)), out),
            Values::Duration(a) => time::interval_binary(time::Interval::of_micros(a.value(row)), out),
            Values::List { list, items, item_oid } => list_binary(list, items, *item_oid, row, out)?,
        }
        Ok(())
    }
}

impl Values {
    /// The value's bytes, when they go over the wire as they are.
    #[inline]
    fn as_is(&self, row: usize, format: Format) -> Option<&[u8]> {
        match self {
            Values::Text(a) => Some(a.value(row).as_bytes()),
            Values::LargeText(a) => Some(a.value(row).as_bytes()),
            Values::TextView(a) => Some(a.value(row).as_bytes()),
            Values::Bytes(a) if format == Format::Binary => Some(a.value(row)),
            Values::BytesView(a) if format == Format::Binary => Some(a.value(row)),
            Values::Bytes(_)
            | Values::BytesView(_)
            | Values::Null
            | Values::Bool(_)
            | Values::Int2(_)
            | Values::Int4(_)
            | Values::Int8(_)
            | Values::Float4(_)
            | Values::Float8(_)
            | Values::Numeric(..)
            | Values::WideNumeric(..)
            | Values::Date(_)
            | Values::Time(_)
            | Values::Timestamp(_)
            | Values::TimestampTz(..)
            | Values::Interval(_)
            | Values::Duration(_)
            | Values::List { .. }
            | Values::Json(_) => None,
        }
    }
}

/// Brings the many Arrow forms of a value to the few that are written.
fn canonical(array: &ArrayRef) -> Result<ArrayRef, EncodeError> {
    let target = match array.data_type() {
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::LargeBinary | DataType::FixedSizeBinary(_) => DataType::BinaryView,
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(TimeUnit::Nanosecond) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Nanosecond, zone) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        DataType::Interval(IntervalUnit::YearMonth | IntervalUnit::DayTime) => {
            DataType::Interval(IntervalUnit::MonthDayNano)
        }
        DataType::Duration(TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Nanosecond) => {
            DataType::Duration(TimeUnit::Microsecond)
        }
        DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => DataType::List(Arc::clone(item)),
        // Views on the dictionary's values, so that nothing is copied.
        DataType::Dictionary(_, value) if matches!(**value, DataType::Utf8) => DataType::Utf8View,
        DataType::Dictionary(_, value) => {
            let plain = cast(array, value)?;
            return canonical(&plain);
        }
        DataType::Null
        | DataType::Boolean
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Decimal128(..)
        | DataType::Decimal256(..)
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::BinaryView
        | DataType::Date32
        | DataType::Time64(_)
        | DataType::Timestamp(..)
        | DataType::Interval(IntervalUnit::MonthDayNano)
        | DataType::Duration(_)
        | DataType::List(_)
        | DataType::Struct(_)
        | DataType::Map(..)
        | DataType::Union(..)
        | DataType::RunEndEncoded(..) => return Ok(Arc::clone(array)),
    };
    cast(array, &target)
}

/// Fails where a value does not fit; the default would make it NULL.
fn cast(array: &ArrayRef, target: &DataType) -> Result<ArrayRef, EncodeError> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, target, &strict).map_err(|_| EncodeError::DateTime)
}

#[inline]
fn integer(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\x");
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            out.put_u8(DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'?'));
        }
    }
}

fn list_text(list: &GenericListArray<i32>, items: &Cell, row: usize, out: &mut Vec<u8>) -> Encoded {
    out.put_u8(b'{');
    for (nth, item) in item_rows(list, row).enumerate() {
        if nth > 0 {
            out.put_u8(b',');
        }
        if items.is_null(item) {
            out.extend_from_slice(b"NULL");
            continue;
        }
        let at = out.len();
        items.text(item, out)?;
        let written = out.get(at..).unwrap_or_default();
        if needs_quotes(written) {
            let plain = written.to_vec();
            out.truncate(at);
            out.put_u8(b'"');
            for byte in plain {
                if matches!(byte, b'"' | b'\\') {
                    out.put_u8(b'\\');
                }
                out.put_u8(byte);
            }
            out.put_u8(b'"');
        }
    }
    out.put_u8(b'}');
    Ok(())
}

fn needs_quotes(item: &[u8]) -> bool {
    let special = |b: &u8| matches!(b, b'"' | b'\\' | b'{' | b'}' | b',' | b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
    item.is_empty() || item.eq_ignore_ascii_case(b"null") || item.iter().any(special)
}

fn list_binary(list: &GenericListArray<i32>, items: &Cell, item_oid: u32, row: usize, out: &mut Vec<u8>) -> Encoded {
    let rows = item_rows(list, row);
    let nulls = rows.clone().any(|item| items.is_null(item));
    out.put_i32(i32::from(!rows.is_empty()));
    out.put_i32(i32::from(nulls));
    out.put_u32(item_oid);
    if !rows.is_empty() {
        out.put_i32(i32::try_from(rows.len()).map_err(|_| EncodeError::TooLong)?);
        out.put_i32(1);
    }
    for item in rows {
        items.field(item, Format::Binary, out)?;
    }
    Ok(())
}

/// The rows of the item column that make up the list in `row`.
fn item_rows(list: &GenericListArray<i32>, row: usize) -> std::ops::Range<usize> {
    let at = |index: usize| list.value_offsets().get(index).and_then(|o| usize::try_from(*o).ok()).unwrap_or(0);
    at(row)..at(row + 1)
}

#[cfg(test)]
mod tests;
