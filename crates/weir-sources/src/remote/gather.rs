//! Rows of an answer become batches: builders for the types that columns of remote tables have.
#![expect(clippy::wildcard_enum_match_arm, reason = "allow-lists: whatever is not named is refused")]

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Decimal256Builder,
    Float32Builder, Float64Builder, Int8Builder, Int16Builder, Int32Builder, Int64Builder, ListBuilder, RecordBatch,
    RecordBatchOptions, StringBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder, UInt8Builder,
    UInt16Builder, UInt32Builder, UInt64Builder,
};
use datafusion::arrow::datatypes::{DataType as Arrow, SchemaRef, TimeUnit, i256};
use datafusion::common::{Result as Outcome, internal_err};

use super::scan::{Query, Sent, failed};

/// A batch ends when its values take so many bytes, however few rows it has.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Why a value cannot be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// The type that the source was registered with has no such value.
    OutOfType,
    /// Not what was announced.
    Malformed,
}

/// Gathers the values of one column.
pub(super) enum Column {
    Boolean(BooleanBuilder),
    Int8(Int8Builder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    /// A sum of whole numbers, which wraps as the engine's does.
    Sum(Int64Builder),
    UInt8(UInt8Builder),
    UInt16(UInt16Builder),
    UInt32(UInt32Builder),
    UInt64(UInt64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal128(Decimal128Builder, u8, i8),
    Decimal256(Decimal256Builder, u8, i8),
    Text(StringBuilder),
    Binary(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    List(ListBuilder<Box<dyn ArrayBuilder>>),
}

/// The same done to each kind of column.
macro_rules! each {
    ($column:expr, $to:ident => $done:expr) => {
        match $column {
            Column::Boolean($to) => $done,
            Column::Int8($to) => $done,
            Column::Int16($to) => $done,
            Column::Int32($to) => $done,
            Column::Int64($to) | Column::Sum($to) => $done,
            Column::UInt8($to) => $done,
            Column::UInt16($to) => $done,
            Column::UInt32($to) => $done,
            Column::UInt64($to) => $done,
            Column::Float32($to) => $done,
            Column::Float64($to) => $done,
            Column::Decimal128($to, ..) => $done,
            Column::Decimal256($to, ..) => $done,
            Column::Text($to) => $done,
            Column::Binary($to) => $done,
            Column::Date($to) => $done,
            Column::Time($to) => $done,
            Column::Timestamp($to) => $done,
            Column::List($to) => $done,
        }
    };
}

impl Column {
    /// `None` for types that no database gives.
    pub(super) fn new(arrow: &Arrow, sum: bool, rows: usize) -> Option<Self> {
        Some(match arrow {
            Arrow::Int64 if sum => Self::Sum(Int64Builder::with_capacity(rows)),
            Arrow::Boolean => Self::Boolean(BooleanBuilder::with_capacity(rows)),
            Arrow::Int8 => Self::Int8(Int8Builder::with_capacity(rows)),
            Arrow::Int16 => Self::Int16(Int16Builder::with_capacity(rows)),
            Arrow::Int32 => Self::Int32(Int32Builder::with_capacity(rows)),
            Arrow::Int64 => Self::Int64(Int64Builder::with_capacity(rows)),
            Arrow::UInt8 => Self::UInt8(UInt8Builder::with_capacity(rows)),
            Arrow::UInt16 => Self::UInt16(UInt16Builder::with_capacity(rows)),
            Arrow::UInt32 => Self::UInt32(UInt32Builder::with_capacity(rows)),
            Arrow::UInt64 => Self::UInt64(UInt64Builder::with_capacity(rows)),
            Arrow::Float32 => Self::Float32(Float32Builder::with_capacity(rows)),
            Arrow::Float64 => Self::Float64(Float64Builder::with_capacity(rows)),
            Arrow::Decimal128(precision, scale) => {
                let builder = Decimal128Builder::with_capacity(rows).with_data_type(arrow.clone());
                Self::Decimal128(builder, *precision, *scale)
            }
            Arrow::Decimal256(precision, scale) => {
                let builder = Decimal256Builder::with_capacity(rows).with_data_type(arrow.clone());
                Self::Decimal256(builder, *precision, *scale)
            }
            Arrow::Utf8 => Self::Text(StringBuilder::with_capacity(rows, rows * 8)),
            Arrow::Binary => Self::Binary(BinaryBuilder::with_capacity(rows, rows * 8)),
            Arrow::Date32 => Self::Date(Date32Builder::with_capacity(rows)),
            Arrow::Time64(TimeUnit::Microsecond) => Self::Time(Time64MicrosecondBuilder::with_capacity(rows)),
            Arrow::Timestamp(TimeUnit::Microsecond, _) => {
                Self::Timestamp(TimestampMicrosecondBuilder::with_capacity(rows).with_data_type(arrow.clone()))
            }
            Arrow::List(item) => {
                let values: Box<dyn ArrayBuilder> = match item.data_type() {
                    Arrow::Boolean => Box::new(BooleanBuilder::new()),
                    Arrow::Int16 => Box::new(Int16Builder::new()),
                    Arrow::Int32 => Box::new(Int32Builder::new()),
                    Arrow::Int64 => Box::new(Int64Builder::new()),
                    Arrow::Float32 => Box::new(Float32Builder::new()),
                    Arrow::Float64 => Box::new(Float64Builder::new()),
                    Arrow::Utf8 => Box::new(StringBuilder::new()),
                    _ => return None,
                };
                Self::List(ListBuilder::new(values).with_field(Arc::clone(item)))
            }
            _ => return None,
        })
    }

    pub(super) fn add_null(&mut self) {
        each!(self, to => to.append_null());
    }

    /// What was gathered; the column is empty afterwards.
    pub(super) fn finish(&mut self) -> ArrayRef {
        each!(self, to => Arc::new(to.finish()))
    }

    /// A whole number, which may stand for a boolean or a decimal too.
    pub(super) fn add_whole(&mut self, number: i128) -> Result<(), Unread> {
        macro_rules! fitting {
            ($to:ident) => {
                $to.append_value(number.try_into().map_err(|_| Unread::OutOfType)?)
            };
        }
        match self {
            Self::Boolean(to) => match number {
                0 | 1 => to.append_value(number == 1),
                _ => return Err(Unread::OutOfType),
            },
            Self::Int8(to) => fitting!(to),
            Self::Int16(to) => fitting!(to),
            Self::Int32(to) => fitting!(to),
            Self::Int64(to) => fitting!(to),
            Self::UInt8(to) => fitting!(to),
            Self::UInt16(to) => fitting!(to),
            Self::UInt32(to) => fitting!(to),
            Self::UInt64(to) => fitting!(to),
            #[expect(clippy::cast_possible_truncation, reason = "the engine's sums wrap")]
            Self::Sum(to) => to.append_value(number as i64),
            Self::Decimal128(..) | Self::Decimal256(..) => return self.add_decimal(number.to_string().as_bytes()),
            Self::Float32(_)
            | Self::Float64(_)
            | Self::Text(_)
            | Self::Binary(_)
            | Self::Date(_)
            | Self::Time(_)
            | Self::Timestamp(_)
            | Self::List(_) => return Err(Unread::Malformed),
        }
        Ok(())
    }

    /// A number as digits with a point.
    pub(super) fn add_decimal(&mut self, digits: &[u8]) -> Result<(), Unread> {
        let units = |precision, scale| decimal(digits, precision, scale).ok_or(Unread::OutOfType);
        let short = |units: i256| units.to_i128().ok_or(Unread::OutOfType);
        match self {
            Self::Decimal128(to, precision, scale) => to.append_value(short(units(*precision, *scale)?)?),
            Self::Decimal256(to, precision, scale) => to.append_value(units(*precision, *scale)?),
            Self::Sum(_) => return self.add_whole(short(units(38, 0)?)?),
            _ => return Err(Unread::Malformed),
        }
        Ok(())
    }
}

/// `digits * 10^scale`; `None` for what is no such number, or has more digits after the point or in all.
fn decimal(digits: &[u8], precision: u8, scale: i8) -> Option<i256> {
    let (negative, digits) = match digits {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let mut parts = digits.splitn(2, |byte| *byte == b'.');
    let (whole, fraction) = (parts.next()?, parts.next().unwrap_or_default());
    let scale = usize::try_from(scale).ok()?;
    let (kept, beyond) = fraction.split_at_checked(scale).unwrap_or((fraction, &[]));
    if whole.is_empty() && fraction.is_empty() || beyond.iter().any(|digit| *digit != b'0') {
        return None;
    }
    let padding = std::iter::repeat_n(&b'0', scale - kept.len());
    let ten = i256::from_i128(10);
    let mut units = i256::ZERO;
    for digit in whole.iter().chain(kept).chain(padding) {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        units = units.checked_mul(ten)?.checked_add(i256::from_i128(digit.into()))?;
    }
    let fits = units < ten.checked_pow(precision.into())?;
    fits.then(|| if negative { units.checked_neg() } else { Some(units) })?
}

/// Rows of an answer, a batch at a time.
pub(super) struct Gathering {
    schema: SchemaRef,
    sent: Arc<[Sent]>,
    columns: Vec<Column>,
    batch_rows: usize,
    rows: usize,
    bytes: usize,
}

impl Gathering {
    pub(super) fn new(query: &Query) -> Outcome<Self> {
        let mut columns = Vec::with_capacity(query.sent.len());
        for (sent, field) in query.sent.iter().zip(query.schema.fields()) {
            match Column::new(field.data_type(), sent.sum, query.batch_rows) {
                Some(column) => columns.push(column),
                None => return internal_err!("column `{}` is sent as what it is not", field.name()),
            }
        }
        let (schema, sent) = (Arc::clone(&query.schema), Arc::clone(&query.sent));
        Ok(Self { schema, sent, columns, batch_rows: query.batch_rows, rows: 0, bytes: 0 })
    }

    pub(super) fn columns(&self) -> usize {
        self.columns.len()
    }

    /// One more row of so many bytes; `add` puts its value, by the number of the column, into the column, or nothing
    /// when it fails.
    pub(super) fn row(
        &mut self,
        bytes: usize,
        mut add: impl FnMut(usize, &mut Column) -> Result<(), Unread>,
    ) -> Outcome<()> {
        for (number, (column, sent)) in self.columns.iter_mut().zip(self.sent.iter()).enumerate() {
            match add(number, column) {
                Ok(()) => {}
                Err(Unread::OutOfType) if sent.lenient => column.add_null(),
                Err(why) => {
                    let name = self.schema.fields().get(number).map_or("", |field| field.name());
                    let why = match why {
                        Unread::OutOfType => "has a value that its type here does not have",
                        Unread::Malformed => "was not sent as its type",
                    };
                    return Err(failed(format!("column `{name}` {why}")));
                }
            }
        }
        self.rows += 1;
        self.bytes += bytes;
        Ok(())
    }

    /// Bytes that were not known when their row was added.
    pub(super) fn took(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows >= self.batch_rows || self.bytes >= BATCH_BYTES_MAX
    }

    /// The rows since the last batch, if there are any.
    pub(super) fn batch(&mut self) -> Outcome<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        let columns = self.columns.iter_mut().map(Column::finish).collect();
        Ok(Some(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_or_refused_and_never_rounded() {
        let of = |text: &str, scale| decimal(text.as_bytes(), 6, scale).and_then(i256::to_i128);
        assert_eq!(of("-12.30", 1), Some(-123));
        assert_eq!(of("-12.30", 4), Some(-123_000));
        assert_eq!(of("7", 2), Some(700));
        assert_eq!(of(".5", 1), Some(5));
        assert_eq!(of("-0.0", 0), Some(0));
        for (wrong, scale) in
            [("12.31", 1), ("", 2), (".", 2), ("-", 0), ("1e5", 0), ("1.2.3", 5), ("NaN", 2), ("1000000", 0)]
        {
            assert_eq!(of(wrong, scale), None, "{wrong}");
        }
        assert_eq!(decimal("9".repeat(80).as_bytes(), 76, 0), None);
    }

    #[test]
    fn numbers_beyond_a_type_are_not_taken_over() {
        let mut column = Column::new(&Arrow::Int8, false, 1).unwrap();
        assert_eq!(column.add_whole(128), Err(Unread::OutOfType));
        let mut column = Column::new(&Arrow::Boolean, false, 1).unwrap();
        assert_eq!(column.add_whole(2), Err(Unread::OutOfType));
        let mut column = Column::new(&Arrow::UInt64, false, 1).unwrap();
        assert_eq!(column.add_whole(-1), Err(Unread::OutOfType));
        let mut column = Column::new(&Arrow::Int64, true, 1).unwrap();
        assert_eq!(column.add_whole(i128::from(i64::MAX) + 1), Ok(()));
        assert_eq!(column.add_decimal(b"9223372036854775808"), Ok(()));
    }
}
