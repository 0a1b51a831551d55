//! Values of a column in a form that compares fast.
#![expect(clippy::wildcard_enum_match_arm, reason = "what is not read at once is brought into a form that is")]

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, StringViewArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::{Result, ScalarValue};

/// One column of a batch.
pub(super) enum Cells {
    Ints(Int32Array),
    Longs(Int64Array),
    Texts(StringViewArray),
    Rows(Rows),
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cell<'a> {
    Number(i64),
    Bytes(&'a [u8]),
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OwnedCell {
    Number(i64),
    Bytes(Box<[u8]>),
}

impl OwnedCell {
    pub(super) fn as_cell(&self) -> Cell<'_> {
        match self {
            OwnedCell::Number(n) => Cell::Number(*n),
            OwnedCell::Bytes(bytes) => Cell::Bytes(bytes),
        }
    }
}

/// How the values of a column are compared.
pub(super) struct Encoding {
    data_type: DataType,
    form: Form,
}

enum Form {
    /// As whole numbers of 32 bits, or of 64.
    Ints,
    Longs,
    /// By their bytes.
    Texts,
    /// In Arrow's row format.
    Rows(RowConverter),
}

impl Encoding {
    pub(super) fn new(data_type: &DataType) -> Result<Self> {
        let form = match data_type {
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => Form::Ints,
            DataType::Date32 => Form::Ints,
            DataType::Int64 | DataType::UInt32 | DataType::Date64 | DataType::Timestamp(_, _) => Form::Longs,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Form::Texts,
            other => Form::Rows(RowConverter::new(vec![SortField::new(other.clone())])?),
        };
        Ok(Self { data_type: data_type.clone(), form })
    }

    pub(super) fn encode(&self, column: &ArrayRef) -> Result<Cells> {
        let is_text = |data_type| matches!(data_type, &DataType::Utf8 | &DataType::LargeUtf8 | &DataType::Utf8View);
        let as_it_is = *column.data_type() == self.data_type || is_text(column.data_type()) && is_text(&self.data_type);
        let column = if as_it_is { Arc::clone(column) } else { cast(column, &self.data_type)? };
        Ok(match &self.form {
            Form::Ints => Cells::Ints(cast(&column, &DataType::Int32)?.as_primitive::<Int32Type>().clone()),
            Form::Longs => Cells::Longs(cast(&column, &DataType::Int64)?.as_primitive::<Int64Type>().clone()),
            Form::Texts => Cells::Texts(cast(&column, &DataType::Utf8View)?.as_string_view().clone()),
            Form::Rows(converter) => Cells::Rows(converter.convert_columns(&[column])?),
        })
    }

    /// Whether a column of the type is in this form as it is.
    pub(super) fn is_form_of(&self, data_type: &DataType) -> bool {
        match &self.form {
            _ if *data_type != self.data_type => false,
            Form::Ints => matches!(data_type, DataType::Int32 | DataType::Date32),
            Form::Longs => *data_type != DataType::UInt32,
            Form::Texts => *data_type == DataType::Utf8View,
            Form::Rows(_) => false,
        }
    }

    /// The value, which is not NULL, as one of the column.
    pub(super) fn literal(&self, value: &ScalarValue) -> Result<OwnedCell> {
        if value.data_type() == self.data_type
            && let Some(cell) = at_once(value)
        {
            return Ok(cell);
        }
        let cells = self.encode(&value.cast_to(&self.data_type)?.to_array()?)?;
        Ok(match cells.get(0) {
            Cell::Number(n) => OwnedCell::Number(n),
            Cell::Bytes(bytes) => OwnedCell::Bytes(bytes.into()),
        })
    }
}

/// The same as by way of an array, for the commonest types of a long list.
fn at_once(value: &ScalarValue) -> Option<OwnedCell> {
    match value {
        ScalarValue::Int32(Some(n)) | ScalarValue::Date32(Some(n)) => Some(OwnedCell::Number((*n).into())),
        ScalarValue::Int64(Some(n)) => Some(OwnedCell::Number(*n)),
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            Some(OwnedCell::Bytes(text.as_bytes().into()))
        }
        _ => None,
    }
}

impl Cells {
    pub(super) fn get(&self, row: usize) -> Cell<'_> {
        match self {
            Cells::Ints(array) => Cell::Number(array.value(row).into()),
            Cells::Longs(array) => Cell::Number(array.value(row)),
            Cells::Texts(array) => Cell::Bytes(array.value(row).as_bytes()),
            Cells::Rows(rows) => Cell::Bytes(rows.row(row).data()),
        }
    }
}
