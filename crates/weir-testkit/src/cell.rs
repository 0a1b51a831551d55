//! Values and rows of the naive oracle, and their way into and out of Arrow.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int8Array, Int32Array, Int64Array, ListArray,
    RecordBatch, StringArray, StructArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes as arrow_types;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use weir_model::{DataSource, DataType, SourceId, Value};

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Null,
    Boolean(bool),
    Int(i64),
    Float(f64),
    Decimal {
        unscaled: i128,
        scale: u32,
    },
    Text(String),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01T00:00:00.
    Timestamp(i64),
    List(Vec<Cell>),
    /// In the order of the type's fields.
    Struct(Vec<Cell>),
}

/// One value for each column of the source, in its order.
pub type Row = Vec<Cell>;

/// The original rows of every source.
pub type Tables = BTreeMap<SourceId, Vec<Row>>;

impl Cell {
    pub fn is_null(&self) -> bool {
        *self == Cell::Null
    }

    /// A literal as a value of `data_type`; `None` when it is none.
    pub fn of_type(value: &Value, data_type: &DataType) -> Option<Cell> {
        Cell::literal(value)?.coerced(data_type)
    }

    /// The same value in a column of the type; `None` when it is none of it.
    pub fn coerced(self, data_type: &DataType) -> Option<Cell> {
        Some(match (self, data_type) {
            (Cell::Int(n), DataType::Int32) if i32::try_from(n).is_err() => return None,
            (Cell::Int(n), DataType::Int8) if i8::try_from(n).is_err() => return None,
            (Cell::Int(n), DataType::Float64) => Cell::Float(n as f64),
            (Cell::Int(n), DataType::Decimal { scale, .. }) => {
                Cell::rescaled(i128::from(n), 0, u32::try_from(*scale).ok()?)?
            }
            (Cell::Decimal { unscaled, scale }, DataType::Float64) => {
                Cell::Float(decimal_text(unscaled, scale).parse().ok()?)
            }
            (Cell::Decimal { unscaled, scale }, DataType::Decimal { scale: to, .. }) => {
                Cell::rescaled(unscaled, scale, u32::try_from(*to).ok()?)?
            }
            (Cell::Null, _) => Cell::Null,
            (Cell::Text(text), DataType::Date) => {
                let day = chrono::NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?;
                let epoch = chrono::NaiveDate::from_ymd_opt(1970, 1, 1)?;
                Cell::Date(i32::try_from((day - epoch).num_days()).ok()?)
            }
            (cell @ Cell::List(_), DataType::List(_)) | (cell @ Cell::Struct(_), DataType::Struct(_)) => cell,
            (cell @ Cell::Int(_), DataType::Int8 | DataType::Int32 | DataType::Int64)
            | (cell @ Cell::Float(_), DataType::Float64)
            | (cell @ Cell::Boolean(_), DataType::Boolean)
            | (cell @ Cell::Text(_), DataType::Text)
            | (cell @ Cell::Date(_), DataType::Date)
            | (cell @ Cell::Timestamp(_), DataType::Timestamp { zoned: false }) => cell,
            _ => return None,
        })
    }

    /// A literal by itself; a number with a point becomes a decimal.
    pub fn literal(value: &Value) -> Option<Cell> {
        Some(match value {
            Value::Null => Cell::Null,
            Value::Boolean(b) => Cell::Boolean(*b),
            Value::Int(n) => Cell::Int(*n),
            Value::Number(n) => {
                let (unscaled, scale) = parse_decimal(n)?;
                Cell::Decimal { unscaled, scale }
            }
            Value::Text(t) => Cell::Text(t.clone()),
            Value::Date(d) => Cell::Date(*d),
            Value::Timestamp(us) => Cell::Timestamp(*us),
        })
    }

    fn rescaled(unscaled: i128, from: u32, to: u32) -> Option<Cell> {
        let (unscaled, scale) = if from <= to {
            (unscaled * 10_i128.pow(to - from), to)
        } else {
            let cut = 10_i128.pow(from - to);
            if unscaled % cut != 0 {
                return None;
            }
            (unscaled / cut, to)
        };
        Some(Cell::Decimal { unscaled, scale })
    }
}

/// As a person reads it.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Null => f.write_str("NULL"),
            Cell::Boolean(b) => b.fmt(f),
            Cell::Int(n) => n.fmt(f),
            Cell::Float(n) => write!(f, "{n:?}"),
            Cell::Decimal { unscaled, scale } => f.write_str(&decimal_text(*unscaled, *scale)),
            Cell::Text(t) => write!(f, "{t:?}"),
            Cell::Date(d) => Value::Date(*d).fmt(f),
            Cell::Timestamp(us) => Value::Timestamp(*us).fmt(f),
            Cell::List(cells) => write!(f, "[{}]", joined(cells)),
            Cell::Struct(cells) => write!(f, "{{{}}}", joined(cells)),
        }
    }
}

fn joined(cells: &[Cell]) -> String {
    cells.iter().map(Cell::to_string).collect::<Vec<_>>().join(", ")
}

/// `-12.50` as -1250 and 2. No exponents.
pub fn parse_decimal(text: &str) -> Option<(i128, u32)> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((sign * all.parse::<i128>().ok()?, u32::try_from(fraction.len()).ok()?))
}

/// The inverse of [`parse_decimal`].
pub fn decimal_text(unscaled: i128, scale: u32) -> String {
    if scale == 0 {
        return unscaled.to_string();
    }
    let one = 10_i128.pow(scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    let magnitude = unscaled.abs();
    format!("{sign}{}.{:0width$}", magnitude / one, magnitude % one, width = scale as usize)
}

/// The Arrow type in which the kit keeps a column.
pub fn arrow_type(data_type: &DataType) -> arrow_types::DataType {
    match data_type {
        DataType::Boolean => arrow_types::DataType::Boolean,
        DataType::Int8 => arrow_types::DataType::Int8,
        DataType::Binary => arrow_types::DataType::Binary,
        DataType::Int32 => arrow_types::DataType::Int32,
        DataType::Int64 => arrow_types::DataType::Int64,
        DataType::Float64 => arrow_types::DataType::Float64,
        DataType::Decimal { precision, scale } => arrow_types::DataType::Decimal128(*precision, *scale),
        DataType::Text => arrow_types::DataType::Utf8,
        DataType::Date => arrow_types::DataType::Date32,
        DataType::Timestamp { zoned: false } => {
            arrow_types::DataType::Timestamp(arrow_types::TimeUnit::Microsecond, None)
        }
        DataType::List(item) => arrow_types::DataType::List(list_field(item)),
        DataType::Struct(fields) => arrow_types::DataType::Struct(struct_fields(fields)),
        other => panic!("the kit makes no columns of type {other}"),
    }
}

fn list_field(item: &DataType) -> arrow_types::FieldRef {
    Arc::new(arrow_types::Field::new_list_field(arrow_type(item), true))
}

fn struct_fields(fields: &[weir_model::Field]) -> arrow_types::Fields {
    fields.iter().map(|f| arrow_types::Field::new(&f.name, arrow_type(&f.data_type), true)).collect()
}

/// The rows of `source` as one batch. Every column may be NULL, whatever the source says.
pub fn to_batch(source: &DataSource, rows: &[Row]) -> RecordBatch {
    let fields: Vec<_> = source
        .columns
        .iter()
        .map(|c| arrow_types::Field::new(c.name.as_str(), arrow_type(&c.data_type), true))
        .collect();
    let arrays = source
        .columns
        .iter()
        .enumerate()
        .map(|(i, c)| to_array(&c.data_type, &rows.iter().map(|r| &r[i]).collect::<Vec<_>>()))
        .collect();
    RecordBatch::try_new(Arc::new(arrow_types::Schema::new(fields)), arrays).expect("a batch of equal columns")
}

fn to_array(data_type: &DataType, cells: &[&Cell]) -> ArrayRef {
    macro_rules! gather {
        ($array:ty, $pattern:pat => $value:expr) => {
            cells
                .iter()
                .map(|c| match c {
                    Cell::Null => None,
                    $pattern => Some($value),
                    other => panic!("{other} is no {data_type}"),
                })
                .collect::<$array>()
        };
    }
    match data_type {
        DataType::Boolean => Arc::new(gather!(BooleanArray, Cell::Boolean(b) => *b)),
        DataType::Int8 => Arc::new(gather!(Int8Array, Cell::Int(n) => i8::try_from(*n).expect("a tinyint"))),
        DataType::Binary => {
            assert!(cells.iter().all(|cell| cell.is_null()), "the kit makes no bytes");
            new_null_array(&arrow_types::DataType::Binary, cells.len())
        }
        DataType::Int32 => Arc::new(gather!(Int32Array, Cell::Int(n) => i32::try_from(*n).expect("an int"))),
        DataType::Int64 => Arc::new(gather!(Int64Array, Cell::Int(n) => *n)),
        DataType::Float64 => Arc::new(gather!(Float64Array, Cell::Float(n) => *n)),
        DataType::Decimal { precision, scale } => Arc::new(
            gather!(Decimal128Array, Cell::Decimal { unscaled, .. } => *unscaled)
                .with_precision_and_scale(*precision, *scale)
                .expect("a decimal type"),
        ),
        DataType::Text => Arc::new(gather!(StringArray, Cell::Text(t) => t.as_str())),
        DataType::Date => Arc::new(gather!(Date32Array, Cell::Date(d) => *d)),
        DataType::Timestamp { zoned: false } => {
            Arc::new(gather!(TimestampMicrosecondArray, Cell::Timestamp(us) => *us))
        }
        DataType::List(item) => {
            let lists: Vec<Option<&[Cell]>> = inside(cells, data_type).collect();
            let lengths = lists.iter().map(|list| list.map_or(0, <[Cell]>::len));
            let items: Vec<&Cell> = lists.iter().flatten().flat_map(|list| list.iter()).collect();
            let items = to_array(item, &items);
            let nulls = lists.iter().map(Option::is_some).collect();
            Arc::new(ListArray::new(list_field(item), OffsetBuffer::from_lengths(lengths), items, Some(nulls)))
        }
        DataType::Struct(fields) => {
            let structs: Vec<Option<&[Cell]>> = inside(cells, data_type).collect();
            let child = |(i, field): (usize, &weir_model::Field)| {
                let cells = structs.iter().map(|cells| cells.map_or(&Cell::Null, |cells| &cells[i]));
                to_array(&field.data_type, &cells.collect::<Vec<_>>())
            };
            let children = fields.iter().enumerate().map(child).collect();
            let nulls = structs.iter().map(Option::is_some).collect();
            Arc::new(StructArray::new(struct_fields(fields), children, Some(nulls)))
        }
        other => panic!("the kit makes no columns of type {other}"),
    }
}

/// What is in lists or structs.
fn inside<'a>(cells: &[&'a Cell], data_type: &DataType) -> impl Iterator<Item = Option<&'a [Cell]>> {
    cells.iter().map(move |cell| match cell {
        Cell::Null => None,
        Cell::List(cells) | Cell::Struct(cells) => Some(cells.as_slice()),
        other => panic!("{other} is no {data_type}"),
    })
}

/// What a client reads: every value as text, NULL as `None`.
pub fn printed(batches: &[RecordBatch]) -> Vec<Vec<Option<String>>> {
    let options = FormatOptions::default();
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|c| (c, ArrayFormatter::try_new(c, &options).expect("a type that prints")))
            .collect();
        for i in 0..batch.num_rows() {
            rows.push(columns.iter().map(|(c, f)| c.is_valid(i).then(|| f.value(i).to_string())).collect());
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_survive_text() {
        for text in ["0", "-12.50", "0.05", "-0.05", "99999999.99"] {
            let (unscaled, scale) = parse_decimal(text).unwrap();
            assert_eq!(decimal_text(unscaled, scale), text);
        }
        assert_eq!(parse_decimal("1e3"), None);
        assert_eq!(parse_decimal("."), None);
    }
}
