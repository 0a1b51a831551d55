//! Structs, maps and lists of lists as JSON.

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, AsArray, GenericListArray, MapArray, StructArray};
use arrow::datatypes::DataType;
use bytes::BufMut;

use super::{Cell, EncodeError, Encoded, Values, canonical, item_rows};

pub(super) enum Json {
    Value(Box<Cell>),
    List(GenericListArray<i32>, Box<Json>),
    Struct(StructArray, Vec<(String, Json)>),
    Map { map: MapArray, keys: Box<Cell>, values: Box<Json> },
}

impl Json {
    pub(super) fn new(array: &ArrayRef, zone: Option<Tz>) -> Result<Self, EncodeError> {
        let array = canonical(array)?;
        if let Some(list) = array.as_list_opt::<i32>() {
            return Ok(Json::List(list.clone(), Box::new(Json::new(list.values(), zone)?)));
        }
        if let Some(map) = array.as_map_opt() {
            let keys = Box::new(Cell::new(map.keys(), zone)?);
            return Ok(Json::Map { map: map.clone(), keys, values: Box::new(Json::new(map.values(), zone)?) });
        }
        if let DataType::Struct(fields) = array.data_type() {
            let columns = array.as_struct_opt().ok_or(EncodeError::Shape)?;
            let named = fields.iter().zip(columns.columns());
            let parts = named.map(|(field, column)| Ok((field.name().clone(), Json::new(column, zone)?)));
            return Ok(Json::Struct(columns.clone(), parts.collect::<Result<_, _>>()?));
        }
        Ok(Json::Value(Box::new(Cell::new(&array, zone)?)))
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        match self {
            Json::Value(cell) => cell.is_null(row),
            Json::List(list, _) => list.is_null(row),
            Json::Struct(columns, _) => columns.is_null(row),
            Json::Map { map, .. } => map.is_null(row),
        }
    }

    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) -> Encoded {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match self {
            Json::Value(cell) => value(cell, row, out),
            Json::List(list, items) => {
                out.put_u8(b'[');
                for (nth, item) in item_rows(list, row).enumerate() {
                    comma(nth, out);
                    items.write(item, out)?;
                }
                out.put_u8(b']');
                Ok(())
            }
            Json::Struct(_, parts) => {
                out.put_u8(b'{');
                for (nth, (name, part)) in parts.iter().enumerate() {
                    comma(nth, out);
                    string(name.as_bytes(), out);
                    out.put_u8(b':');
                    part.write(row, out)?;
                }
                out.put_u8(b'}');
                Ok(())
            }
            Json::Map { map, keys, values } => {
                let at =
                    |index: usize| map.value_offsets().get(index).and_then(|o| usize::try_from(*o).ok()).unwrap_or(0);
                out.put_u8(b'{');
                for (nth, entry) in (at(row)..at(row + 1)).enumerate() {
                    comma(nth, out);
                    quoted(keys, entry, out)?;
                    out.put_u8(b':');
                    values.write(entry, out)?;
                }
                out.put_u8(b'}');
                Ok(())
            }
        }
    }
}

fn comma(nth: usize, out: &mut Vec<u8>) {
    if nth > 0 {
        out.put_u8(b',');
    }
}

fn value(cell: &Cell, row: usize, out: &mut Vec<u8>) -> Encoded {
    match &cell.values {
        Values::Bool(bools) => {
            out.extend_from_slice(if bools.value(row) { b"true" } else { b"false" });
            Ok(())
        }
        Values::Float4(floats) if !floats.value(row).is_finite() => quoted(cell, row, out),
        Values::Float8(floats) if !floats.value(row).is_finite() => quoted(cell, row, out),
        Values::Int2(_)
        | Values::Int4(_)
        | Values::Int8(_)
        | Values::Float4(_)
        | Values::Float8(_)
        | Values::Numeric(..)
        | Values::WideNumeric(..)
        | Values::Json(_) => cell.text(row, out),
        Values::Null
        | Values::Text(_)
        | Values::LargeText(_)
        | Values::TextView(_)
        | Values::Bytes(_)
        | Values::BytesView(_)
        | Values::Date(_)
        | Values::Time(_)
        | Values::Timestamp(_)
        | Values::TimestampTz(..)
        | Values::Interval(_)
        | Values::Duration(_)
        | Values::List { .. } => quoted(cell, row, out),
    }
}

/// The value's text as a JSON string.
fn quoted(cell: &Cell, row: usize, out: &mut Vec<u8>) -> Encoded {
    let mut text = Vec::new();
    cell.text(row, &mut text)?;
    string(&text, out);
    Ok(())
}

fn string(text: &[u8], out: &mut Vec<u8>) {
    out.put_u8(b'"');
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.put_u8(*byte),
        }
    }
    out.put_u8(b'"');
}
