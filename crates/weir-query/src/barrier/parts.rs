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
