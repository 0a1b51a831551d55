//! Masks of what is inside of nested columns. They act on whatever the masks of the column left, so that a part is never
//! seen more clearly than its own mask allows.
#![expect(clippy::wildcard_enum_match_arm, reason = "a closed list of types: every other one has nothing inside")]

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StructArray};
use datafusion::arrow::compute::kernels::nullif::nullif;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::physical_expr::PhysicalExpr;

use super::OutputMask;
use super::stream::{boolean, masked};
use crate::mask::Elements;

/// What is inside of a column and has masks of its own.
#[derive(Clone, Debug)]
pub(crate) struct OutputPart {
    /// The names of the fields from the column inwards.
    pub(crate) path: Vec<String>,
    /// Never empty.
    pub(crate) masks: Vec<OutputMask>,
}

/// A part, seen from some way inside.
#[derive(Clone, Copy)]
pub(super) struct Inner<'a> {
    path: &'a [String],
    masks: &'a [OutputMask],
}

impl<'a> From<&'a OutputPart> for Inner<'a> {
    fn from(part: &'a OutputPart) -> Self {
        Self { path: &part.path, masks: &part.masks }
    }
}

/// The rows that values belong to.
pub(super) enum Rows<'a> {
    /// One value a row, in order.
    Each(&'a RecordBatch),
    /// The elements of lists whose rows these are.
    Within(&'a Rows<'a>, &'a Elements),
}

impl Rows<'_> {
    pub(super) fn count(&self) -> usize {
        match self {
            Rows::Each(kept) => kept.num_rows(),
            Rows::Within(_, elements) => elements.values.len(),
        }
    }

    /// For each value whether the condition is true of its row.
    pub(super) fn hold(&self, when: &Arc<dyn PhysicalExpr>) -> Result<BooleanArray> {
        Ok(match self {
            Rows::Each(kept) => boolean(&when.evaluate(kept)?.into_array(kept.num_rows())?)?.clone(),
            Rows::Within(outer, elements) => {
                let outer: ArrayRef = Arc::new(outer.hold(when)?);
                boolean(&elements.spread(&outer)?)?.clone()
            }
        })
    }

    /// The key of each value: that of its row, and its number in each list that it is in.
    pub(super) fn row_key(&self, columns: &[usize]) -> Result<Vec<ArrayRef>> {
        Ok(match self {
            Rows::Each(kept) => {
                let keys: Option<Vec<ArrayRef>> =
                    columns.iter().map(|column| kept.columns().get(*column).cloned()).collect();
                keys.ok_or_else(|| internal_datafusion_err!("a row key was not read"))?
            }
            Rows::Within(outer, elements) => elements.row_key(&outer.row_key(columns)?)?,
        })
    }

    /// Of an expression over the row; only where there is one value a row.
    pub(super) fn computed(&self, expr: &Arc<dyn PhysicalExpr>) -> Result<ArrayRef> {
        match self {
            Rows::Each(kept) => expr.evaluate(kept)?.into_array(kept.num_rows()),
            Rows::Within(..) => Err(internal_datafusion_err!("an expression over the row gives no elements")),
        }
    }
}

/// `array` with its parts masked.
pub(super) fn mask_parts(array: &ArrayRef, parts: &[Inner<'_>], rows: &Rows<'_>) -> Result<ArrayRef> {
    if let Some(elements) = Elements::of(array)? {
        let values = mask_parts(&elements.values, parts, &Rows::Within(rows, &elements))?;
        return Ok(Elements::back(array, values)?);
    }
    let structs = array.as_struct_opt().ok_or_else(|| internal_datafusion_err!("a part of what has none"))?;
    // A query gets at a field without looking whether the struct is NULL, so nothing may stand in one that is.
    let absent = structs.nulls().map(|nulls| BooleanArray::new(!nulls.inner(), None));
    let under = |child: ArrayRef| -> Result<ArrayRef> {
        Ok(match &absent {
            Some(absent) => nullif(&child, absent)?,
            None => child,
        })
    };
    let mut found = 0;
    let mut children = Vec::with_capacity(structs.num_columns());
    for (field, child) in structs.fields().iter().zip(structs.columns()) {
        let mut child = Arc::clone(child);
        let mut deeper = Vec::new();
        for part in parts.iter().filter(|part| part.path.first() == Some(field.name())) {
            found += 1;
            match part.path.split_first() {
                Some((_, [])) => child = masked(part.masks, Some(&child), child.data_type(), rows)?,
                Some((_, inside)) => deeper.push(Inner { path: inside, masks: part.masks }),
                None => {}
            }
        }
        if parts.iter().any(|part| part.path.first() == Some(field.name())) {
            child = under(child)?;
        }
        if !deeper.is_empty() {
            child = mask_parts(&child, &deeper, rows)?;
        }
        children.push(child);
    }
    if found != parts.len() {
        return Err(internal_datafusion_err!("a part that is not there"));
    }
    let (fields, nulls) = (structs.fields().clone(), structs.nulls().cloned());
    Ok(Arc::new(StructArray::try_new_with_length(fields, children, nulls, structs.len())?))
}

/// The type of the part at the path.
pub(crate) fn part_type<'a>(data_type: &'a DataType, path: &[String]) -> Option<&'a DataType> {
    let Some((first, inside)) = path.split_first() else { return Some(data_type) };
    match data_type {
        DataType::Struct(fields) => part_type(fields.find(first)?.1.data_type(), inside),
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            part_type(field.data_type(), path)
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) => part_type(pair.get(1)?.data_type(), path),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int32Array, MapBuilder, RecordBatchOptions, StringArray, StringBuilder};
    use datafusion::arrow::buffer::NullBuffer;
    use datafusion::arrow::datatypes::{Field, Schema};
    use weir_model::{ColumnId, Value};
    use weir_policy::Mask;

    use super::super::MaskValue;
    use super::*;
    use crate::mask::{CompiledMask, MaskKeys};

    fn constant(path: &[&str]) -> OutputPart {
        let mask = Mask::Constant(Value::Text("x".to_owned()));
        let mask = CompiledMask::new(&mask, ColumnId(1), &DataType::Utf8, &MaskKeys::default()).unwrap();
        let value = MaskValue::Kernel { mask: Arc::new(mask), row_key: Vec::new() };
        let path = path.iter().map(|&name| name.to_owned()).collect();
        OutputPart { path, masks: vec![OutputMask { value, when: None }] }
    }

    fn apply(array: &ArrayRef, part: &OutputPart) -> ArrayRef {
        let options = RecordBatchOptions::new().with_row_count(Some(array.len()));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
        mask_parts(array, &[Inner::from(part)], &Rows::Each(&batch)).unwrap()
    }

    #[test]
    fn nothing_stands_in_a_struct_that_is_null() {
        let cities: ArrayRef = Arc::new(StringArray::from(vec![Some("Bonn"), Some("Ulm")]));
        let fields = vec![Field::new("city", DataType::Utf8, true)].into();
        let array = StructArray::new(fields, vec![cities], Some(NullBuffer::from(vec![true, false])));
        let masked = apply(&(Arc::new(array) as ArrayRef), &constant(&["city"]));
        let cities = masked.as_struct().column(0).as_string::<i32>();
        assert_eq!(cities.iter().collect::<Vec<_>>(), [Some("x"), None]);
    }

    #[test]
    fn values_of_maps_are_masked_and_keys_stay() {
        let mut maps = MapBuilder::new(
            None,
            StringBuilder::new(),
            datafusion::arrow::array::StructBuilder::from_fields(
                vec![Field::new("name", DataType::Utf8, true), Field::new("n", DataType::Int32, true)],
                2,
            ),
        );
        for (key, name, n) in [("a", "Ann", 1), ("b", "Bob", 2)] {
            maps.keys().append_value(key);
            maps.values().field_builder::<StringBuilder>(0).unwrap().append_value(name);
            maps.values().field_builder::<datafusion::arrow::array::Int32Builder>(1).unwrap().append_value(n);
            maps.values().append(true);
        }
        maps.append(true).unwrap();
        maps.append(false).unwrap();
        let array: ArrayRef = Arc::new(maps.finish());
        let masked = apply(&array, &constant(&["name"]));
        assert_eq!(masked.data_type(), array.data_type());
        let masked = masked.as_map();
        assert_eq!(masked.keys().as_string::<i32>().iter().collect::<Vec<_>>(), [Some("a"), Some("b")]);
        let values = masked.values().as_struct();
        assert_eq!(values.column(0).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("x"), Some("x")]);
        assert_eq!(values.column(1).as_ref(), &Int32Array::from(vec![1, 2]) as &dyn Array);
        assert!(masked.is_null(1));
    }
}
