//! Columns of system tables, made a column at a time.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, AsArray, BooleanArray, Float32Array, Int16Array, Int32Array, Int64Array, ListBuilder, RecordBatch,
    StringArray, StringBuilder, new_null_array,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::Result;

use super::fixed::Fixed;

/// What a column of a system table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Oid,
    /// PostgreSQL's type `"char"`.
    Char,
    Text,
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Texts,
    TimestampTz,
}

impl Kind {
    /// By the names that the lists of columns use.
    pub(super) fn named(name: &str) -> Self {
        match name {
            "oid" => Kind::Oid,
            "char" => Kind::Char,
            "bool" => Kind::Bool,
            "int2" => Kind::Int2,
            "int4" => Kind::Int4,
            "int8" => Kind::Int8,
            "float4" => Kind::Float4,
            "text[]" => Kind::Texts,
            "timestamptz" => Kind::TimestampTz,
            _ => Kind::Text,
        }
    }

    pub(super) fn field(self, name: &str) -> Field {
        let data_type = match self {
            Kind::Oid | Kind::Int4 => DataType::Int32,
            Kind::Char | Kind::Text => DataType::Utf8,
            Kind::Bool => DataType::Boolean,
            Kind::Int2 => DataType::Int16,
            Kind::Int8 => DataType::Int64,
            Kind::Float4 => DataType::Float32,
            Kind::Texts => DataType::new_list(DataType::Utf8, true),
            Kind::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        };
        // The gateway sends columns that say so as object ids and single characters.
        let says = match self {
            Kind::Oid => Some(("pg.oid_alias", "oid")),
            Kind::Char => Some(("pg.char", "char")),
            Kind::Text
            | Kind::Bool
            | Kind::Int2
            | Kind::Int4
            | Kind::Int8
            | Kind::Float4
            | Kind::Texts
            | Kind::TimestampTz => None,
        };
        let metadata = says.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Field::new(name, data_type, true).with_metadata(HashMap::from_iter(metadata))
    }
}

/// The table of a list such as `oid:oid, relname, relkind:char`; what is not said is text. It has no rows.
pub(super) fn shape(columns: &str) -> SchemaRef {
    let fields = columns.split_whitespace().map(|column| match column.split_once(':') {
        Some((name, kind)) => Kind::named(kind).field(name),
        None => Kind::Text.field(column),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A table in the making: columns of the same number of rows.
pub(super) struct Columns {
    rows: usize,
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    pub(super) fn of(rows: usize) -> Self {
        Self { rows, fields: Vec::new(), arrays: Vec::new() }
    }

    fn with(mut self, kind: Kind, name: &str, array: ArrayRef) -> Self {
        self.fields.push(kind.field(name));
        self.arrays.push(array);
        self
    }

    pub(super) fn oid(self, name: &str, values: impl IntoIterator<Item = i32>) -> Self {
        self.with(Kind::Oid, name, Arc::new(Int32Array::from_iter_values(values)))
    }

    pub(super) fn int2(self, name: &str, values: impl IntoIterator<Item = i16>) -> Self {
        self.with(Kind::Int2, name, Arc::new(Int16Array::from_iter_values(values)))
    }

    pub(super) fn int4(self, name: &str, values: impl IntoIterator<Item = Option<i32>>) -> Self {
        self.with(Kind::Int4, name, Arc::new(values.into_iter().collect::<Int32Array>()))
    }

    pub(super) fn bool(self, name: &str, values: Vec<bool>) -> Self {
        self.with(Kind::Bool, name, Arc::new(BooleanArray::from(values)))
    }

    pub(super) fn text<T: AsRef<str>>(self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        let mut texts = StringBuilder::new();
        values.into_iter().for_each(|value| texts.append_value(value));
        self.with(Kind::Text, name, Arc::new(texts.finish()))
    }

    /// Single characters.
    pub(super) fn chars<'a>(self, name: &str, values: impl IntoIterator<Item = &'a str>) -> Self {
        self.with(Kind::Char, name, Arc::new(StringArray::from_iter_values(values)))
    }

    pub(super) fn texts(self, name: &str, values: impl IntoIterator<Item = String>) -> Self {
        let mut list = ListBuilder::new(StringBuilder::new());
        for value in values {
            list.append_value([Some(value)]);
        }
        self.with(Kind::Texts, name, Arc::new(list.finish()))
    }

    /// Columns of one value; a list such as `relnatts:int2=0 relkind:char=r`. What has no value is NULL.
    pub(super) fn same(mut self, columns: &str) -> Self {
        for column in columns.split_whitespace() {
            let (column, value) = column.split_once('=').map_or((column, None), |(name, value)| (name, Some(value)));
            let (name, kind) = column.split_once(':').map_or((column, Kind::Text), |(name, k)| (name, Kind::named(k)));
            let array = self.repeated(kind, value);
            self = self.with(kind, name, array);
        }
        self
    }

    fn repeated(&self, kind: Kind, value: Option<&str>) -> ArrayRef {
        let n = self.rows;
        let number = || value.and_then(|value| value.parse::<i32>().ok()).unwrap_or(0);
        let Some(text) = value else {
            return new_null_array(kind.field("").data_type(), n);
        };
        match kind {
            Kind::Oid | Kind::Int4 => Arc::new(Int32Array::from_value(number(), n)),
            Kind::Int8 => Arc::new(Int64Array::from_value(i64::from(number()), n)),
            Kind::Int2 => Arc::new(Int16Array::from_value(i16::try_from(number()).unwrap_or(0), n)),
            Kind::Float4 => Arc::new(Float32Array::from_value(text.parse().unwrap_or(0.0), n)),
            Kind::Bool => Arc::new(BooleanArray::from(vec![text == "t"; n])),
            Kind::Char | Kind::Text => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, n))),
            Kind::Texts | Kind::TimestampTz => new_null_array(kind.field("").data_type(), n),
        }
    }

    pub(super) fn table(self) -> Result<Arc<dyn TableProvider>> {
        let schema: SchemaRef = Arc::new(Schema::new(self.fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), self.arrays)?;
        Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
    }
}

/// The column of `pg_amproc` that names a function.
const SUPPORT: &str = "amproc";

/// A table that PostgreSQL brings, and columns without values that clients of its version ask for. Rights on what is in it are arrays that are kept as text, and not told.
pub(super) fn brought(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    more: &str,
    fixed: &Fixed,
) -> Result<Arc<dyn TableProvider>> {
    let is_rights = |field: &Field| field.name().ends_with("acl");
    let field = |field: &Arc<Field>| match field.name().as_str() {
        // Kept by its name, and joined by its number.
        SUPPORT => Arc::new(Kind::Oid.field(SUPPORT)),
        name if is_rights(field) => Arc::new(Kind::Texts.field(name)),
        _ => Arc::clone(field),
    };
    let more = shape(more);
    let fields = schema.fields().iter().map(field).chain(more.fields().iter().cloned());
    let told: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let batch = |batch: &RecordBatch| {
        let columns = batch.columns().iter().zip(schema.fields()).zip(told.fields());
        let column = |((array, was), is): ((&ArrayRef, &Arc<Field>), &Arc<Field>)| {
            if was.name() == SUPPORT {
                let names = array.as_string_opt::<i32>().into_iter().flatten();
                Arc::new(names.map(|name| fixed.procedure_oid(name?)).collect::<Int32Array>())
            } else if is_rights(was) {
                new_null_array(is.data_type(), batch.num_rows())
            } else {
                Arc::clone(array)
            }
        };
        let more = more.fields().iter().map(|field| new_null_array(field.data_type(), batch.num_rows()));
        RecordBatch::try_new(Arc::clone(&told), columns.map(column).chain(more).collect())
    };
    let batches = batches.iter().map(batch).collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(Arc::new(MemTable::try_new(told, vec![batches])?))
}

/// A table of these columns without rows.
pub(super) fn empty(schema: SchemaRef) -> Result<Arc<dyn TableProvider>> {
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![]])?))
}
