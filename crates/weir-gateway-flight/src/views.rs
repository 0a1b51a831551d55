//! Views, which are how the engine holds text, to texts one after the other, which is how it is sent.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, BinaryArray, GenericByteViewArray, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{ByteViewType, DataType};
use arrow::error::ArrowError;

/// What a view holds itself.
const INLINE: usize = 12;

/// The same values in another type.
pub(crate) fn to_plain(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if let (Some(views), DataType::Utf8) = (column.as_string_view_opt(), to) {
        let (offsets, bytes) = gathered(views)?;
        return Ok(Arc::new(StringArray::try_new(offsets, bytes.into(), views.nulls().cloned())?));
    }
    if let (Some(views), DataType::Binary) = (column.as_binary_view_opt(), to) {
        let (offsets, bytes) = gathered(views)?;
        return Ok(Arc::new(BinaryArray::try_new(offsets, bytes.into(), views.nulls().cloned())?));
    }
    cast(column, to)
}

/// Where each value begins and ends, and all of them together. A NULL has nothing.
fn gathered<T: ByteViewType>(views: &GenericByteViewArray<T>) -> Result<(OffsetBuffer<i32>, Vec<u8>), ArrowError> {
    // The lowest word of a view is the length.
    let length = |view: u128| (view & 0xffff_ffff) as usize;
    let is_null = |row| views.nulls().is_some_and(|nulls| nulls.is_null(row));
    let mut offsets = Vec::with_capacity(views.len() + 1);
    let mut end = 0;
    offsets.push(0);
    for (row, view) in views.views().iter().enumerate() {
        if !is_null(row) {
            end += length(*view);
        }
        offsets.push(i32::try_from(end).map_err(|_| ArrowError::OffsetOverflowError(end))?);
    }
    // What a view holds itself is stored whole, so there has to be room for it; what comes after it is written later.
    let mut bytes = vec![0; end + INLINE];
    let mut at = 0;
    for (row, view) in views.views().iter().enumerate() {
        if is_null(row) {
            continue;
        }
        let (length, [_, _, _, _, inline @ ..]) = (length(*view), view.to_le_bytes());
        let room = bytes.get_mut(at..).unwrap_or_default();
        if length <= INLINE {
            if let Some(room) = room.first_chunk_mut::<INLINE>() {
                *room = inline;
            }
        } else if let Some(room) = room.get_mut(..length) {
            let value: &[u8] = views.value(row).as_ref();
            room.copy_from_slice(value);
        }
        at += length;
    }
    bytes.truncate(end);
    Ok((OffsetBuffer::new(offsets.into()), bytes))
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryViewArray, StringViewArray};

    use super::*;

    #[test]
    fn views_come_out_as_they_are_cast() {
        let long = "longer than a view holds itself";
        let texts = [Some(""), None, Some("twelve bytes"), Some(long), Some("grün"), Some("thirteen byte"), None];
        let all: ArrayRef = Arc::new(StringViewArray::from_iter(texts));
        let bytes: ArrayRef = Arc::new(BinaryViewArray::from_iter(texts));
        for from in 0..texts.len() {
            for length in 0..=texts.len() - from {
                for (views, to) in [(&all, DataType::Utf8), (&bytes, DataType::Binary)] {
                    let part = views.slice(from, length);
                    assert_eq!(&to_plain(&part, &to).unwrap(), &cast(&part, &to).unwrap(), "{from} {length}");
                }
            }
        }
    }
}
