//! The elements of lists, laid out one after the other, and back.
#![expect(clippy::wildcard_enum_match_arm, reason = "closed lists of types: every other one has nothing inside")]

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, GenericListArray, Int32Array, MapArray, OffsetSizeTrait, StructArray,
    UInt32Array,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::arrow::error::ArrowError;

/// The elements of all lists of an array, or the values of all its maps.
pub(crate) struct Elements {
    pub(crate) values: ArrayRef,
    /// For each element the place of its list in the array.
    owners: UInt32Array,
    /// For each element its number in its list, from 0 on.
    numbers: Int32Array,
}

impl Elements {
    /// `None` for what is neither a list nor a map.
    pub(crate) fn of(array: &ArrayRef) -> Result<Option<Self>, ArrowError> {
        Ok(Some(match array.data_type() {
            DataType::List(_) => Self::of_list::<i32>(array.as_list())?,
            DataType::LargeList(_) => Self::of_list::<i64>(array.as_list())?,
            DataType::FixedSizeList(_, _) => {
                let lists = array.as_fixed_size_list();
                let size = usize::try_from(lists.value_length()).unwrap_or(0);
                let start = usize::try_from(lists.value_offset(0)).unwrap_or(0);
                let lengths = std::iter::repeat_n(size, lists.len());
                Self::new(lists.values().slice(start, size * lists.len()), lengths)?
            }
            DataType::Map(_, _) => {
                let maps = array.as_map();
                let (values, lengths) = laid_out(maps.offsets(), maps.values());
                Self::new(values, lengths)?
            }
            _ => return Ok(None),
        }))
    }

    fn of_list<O: OffsetSizeTrait>(lists: &GenericListArray<O>) -> Result<Self, ArrowError> {
        let (values, lengths) = laid_out(lists.offsets(), lists.values());
        Self::new(values, lengths)
    }

    fn new(values: ArrayRef, lengths: impl Iterator<Item = usize>) -> Result<Self, ArrowError> {
        let mut owners = Vec::with_capacity(values.len());
        let mut numbers = Vec::with_capacity(values.len());
        let counted = |n: usize| u32::try_from(n).map_err(|_| ArrowError::OffsetOverflowError(n));
        for (owner, length) in lengths.enumerate() {
            owners.extend(std::iter::repeat_n(counted(owner)?, length));
            numbers.extend(0..i32::try_from(length).map_err(|_| ArrowError::OffsetOverflowError(length))?);
        }
        Ok(Self { values, owners: owners.into(), numbers: numbers.into() })
    }

    /// What belongs to each list, for each of its elements.
    pub(crate) fn spread(&self, of_lists: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        take(of_lists, &self.owners, None)
    }

    /// The row key of each element: that of its list, and its number.
    pub(crate) fn row_key(&self, of_lists: &[ArrayRef]) -> Result<Vec<ArrayRef>, ArrowError> {
        let mut keys = of_lists.iter().map(|key| self.spread(key)).collect::<Result<Vec<_>, _>>()?;
        if !keys.is_empty() {
            keys.push(Arc::new(self.numbers.clone()));
        }
        Ok(keys)
    }

    /// Lists or maps like those of `array`, from which the elements came, with others of their type in their places.
    pub(crate) fn back(array: &ArrayRef, values: ArrayRef) -> Result<ArrayRef, ArrowError> {
        Self::back_as(array.data_type(), array, values)
    }

    fn back_as(data_type: &DataType, array: &ArrayRef, values: ArrayRef) -> Result<ArrayRef, ArrowError> {
        Ok(match data_type {
            DataType::List(field) => Self::list::<i32>(Arc::clone(field), array.as_list(), values)?,
            DataType::LargeList(field) => Self::list::<i64>(Arc::clone(field), array.as_list(), values)?,
            DataType::FixedSizeList(field, size) => {
                let nulls = array.nulls().cloned();
                Arc::new(FixedSizeListArray::try_new(Arc::clone(field), *size, values, nulls)?)
            }
            DataType::Map(entries, sorted) => {
                let maps = array.as_map();
                let (keys, lengths) = laid_out(maps.offsets(), maps.keys());
                let DataType::Struct(pair) = entries.data_type() else { return Err(no_elements(data_type)) };
                let pairs = StructArray::try_new(pair.clone(), vec![keys, values], None)?;
                let offsets = OffsetBuffer::from_lengths(lengths);
                Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, array.nulls().cloned(), *sorted)?)
            }
            other => return Err(no_elements(other)),
        })
    }

    fn list<O: OffsetSizeTrait>(
        field: FieldRef,
        lists: &GenericListArray<O>,
        values: ArrayRef,
    ) -> Result<ArrayRef, ArrowError> {
        let (_, lengths) = laid_out(lists.offsets(), lists.values());
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(GenericListArray::<O>::try_new(field, offsets, values, lists.nulls().cloned())?))
    }
}

/// The elements between the first offset and the last, and how many each list has.
fn laid_out<'a, O: OffsetSizeTrait>(
    offsets: &'a OffsetBuffer<O>,
    values: &ArrayRef,
) -> (ArrayRef, impl Iterator<Item = usize> + 'a) {
    let first = offsets.first().map_or(0, |offset| offset.as_usize());
    let last = offsets.last().map_or(first, |offset| offset.as_usize());
    (values.slice(first, last - first), offsets.lengths())
}

fn no_elements(data_type: &DataType) -> ArrowError {
    ArrowError::InvalidArgumentError(format!("{data_type} has no elements"))
}

/// The type with everything that is inside free to be NULL, and without what a file says of its fields.
pub(crate) fn relaxed_type(data_type: &DataType) -> DataType {
    let item = |field: &FieldRef| Arc::new(Field::new(field.name(), relaxed_type(field.data_type()), true));
    match data_type {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(item).collect::<Fields>()),
        DataType::List(field) => DataType::List(item(field)),
        DataType::LargeList(field) => DataType::LargeList(item(field)),
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(item(field), *size),
        DataType::Map(entries, sorted) => {
            let pair = match entries.data_type() {
                DataType::Struct(pair) => pair
                    .iter()
                    .enumerate()
                    .map(|(i, field)| if i == 0 { Arc::clone(field) } else { item(field) })
                    .collect(),
                _ => return data_type.clone(),
            };
            let entries = Field::new(entries.name(), DataType::Struct(pair), entries.is_nullable());
            DataType::Map(Arc::new(entries), *sorted)
        }
        other => other.clone(),
    }
}

/// The same values in the [`relaxed_type`].
pub(crate) fn relaxed(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let data_type = relaxed_type(array.data_type());
    if data_type == *array.data_type() {
        return Ok(Arc::clone(array));
    }
    if let Some(elements) = Elements::of(array)? {
        let values = relaxed(&elements.values)?;
        return Elements::back_as(&data_type, array, values);
    }
    let (Some(structs), DataType::Struct(fields)) = (array.as_struct_opt(), data_type) else {
        return Err(ArrowError::InvalidArgumentError(format!("{} has no other form", array.data_type())));
    };
    let children = structs.columns().iter().map(relaxed).collect::<Result<Vec<_>, _>>()?;
    let nulls = structs.nulls().cloned();
    Ok(Arc::new(StructArray::try_new_with_length(fields, children, nulls, structs.len())?))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int32Array, ListArray, StringArray};
    use datafusion::arrow::datatypes::Int32Type;

    use super::*;

    fn lists() -> ArrayRef {
        let lists = [Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(4), Some(5)])];
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))
    }

    #[test]
    fn elements_go_and_come_back_also_from_a_slice() {
        for array in [lists(), lists().slice(1, 3), lists().slice(4, 0)] {
            let elements = Elements::of(&array).unwrap().unwrap();
            let back = Elements::back(&array, Arc::clone(&elements.values)).unwrap();
            assert_eq!(&back, &array);
        }
    }

    #[test]
    fn what_belongs_to_a_list_belongs_to_its_elements() {
        let elements = Elements::of(&lists().slice(1, 3)).unwrap().unwrap();
        let rows: ArrayRef = Arc::new(StringArray::from(vec!["b", "c", "d"]));
        let keys = elements.row_key(&[rows]).unwrap();
        assert_eq!(keys[0].as_string::<i32>().iter().collect::<Vec<_>>(), [Some("d"), Some("d")]);
        assert_eq!(keys[1].as_primitive::<Int32Type>().values(), &[0, 1]);
        assert!(elements.row_key(&[]).unwrap().is_empty(), "without a key there is none");
    }

    #[test]
    fn everything_inside_may_be_null_once_relaxed() {
        let field = Arc::new(Field::new("n", DataType::Int32, false));
        let structs = StructArray::from(vec![(Arc::clone(&field), Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef)]);
        let item = Arc::new(Field::new("item", structs.data_type().clone(), false));
        let lists = GenericListArray::<i32>::new(item, OffsetBuffer::from_lengths([2]), Arc::new(structs), None);
        let array: ArrayRef = Arc::new(lists);
        let same = relaxed(&array).unwrap();
        assert_eq!(same.data_type(), &relaxed_type(array.data_type()));
        let DataType::List(item) = same.data_type() else { panic!("no list") };
        let DataType::Struct(fields) = item.data_type() else { panic!("no structs") };
        assert!(item.is_nullable() && fields[0].is_nullable());
    }
}
