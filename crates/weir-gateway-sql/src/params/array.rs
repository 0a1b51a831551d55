//! Arrays as parameters: lists of one dimension.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, new_empty_array, new_null_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field};
use bytes::{Buf, Bytes};
use pgwire::api::Type;

/// `{1,NULL,"a b"}`
pub(super) fn text(item: &Type, bytes: &[u8], zone: &str) -> Option<ArrayRef> {
    let text = std::str::from_utf8(bytes).ok()?;
    let items = items(text.trim())?;
    list(items.into_iter().map(|value| match value {
        Some(value) => super::text(item, value.as_bytes(), zone).map(Some),
        None => Some(None),
    }))
}

/// The items of an array's text; `None` inside for NULL.
fn items(text: &str) -> Option<Vec<Option<String>>> {
    let mut items = Vec::new();
    let mut chars = text.strip_prefix('{')?.strip_suffix('}')?.chars().peekable();
    if chars.peek().is_none() {
        return Some(items);
    }
    loop {
        let (mut value, mut quoted) = (String::new(), false);
        while chars.peek().is_some_and(|c| c.is_whitespace()) {
            chars.next();
        }
        if chars.next_if_eq(&'"').is_some() {
            quoted = true;
            loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => value.push(chars.next()?),
                    c => value.push(c),
                }
            }
        }
        loop {
            let end = match chars.next() {
                None => true,
                Some(',') => false,
                Some(c) if quoted && c.is_whitespace() => continue,
                Some('{' | '}' | '"') => return None,
                Some(_) if quoted => return None,
                Some('\\') => {
                    value.push(chars.next()?);
                    continue;
                }
                Some(c) => {
                    value.push(c);
                    continue;
                }
            };
            let plain = value.trim_end();
            if !quoted && plain.is_empty() {
                return None;
            }
            let is_null = !quoted && plain.eq_ignore_ascii_case("null");
            items.push((!is_null).then(|| if quoted { value.clone() } else { plain.to_owned() }));
            if end {
                return Some(items);
            }
            break;
        }
    }
}

pub(super) fn binary(item: &Type, mut bytes: Bytes) -> Option<ArrayRef> {
    let (dimensions, _has_nulls, oid) =
        (bytes.try_get_i32().ok()?, bytes.try_get_i32().ok()?, bytes.try_get_u32().ok()?);
    if oid != item.oid() {
        return None;
    }
    let count = match dimensions {
        0 => 0,
        1 => {
            let count = bytes.try_get_i32().ok()?;
            bytes.try_get_i32().ok()?;
            count
        }
        _ => return None,
    };
    let mut values = Vec::new();
    for _ in 0..count {
        let length = bytes.try_get_i32().ok()?;
        values.push(match usize::try_from(length) {
            Ok(length) if length <= bytes.len() => Some(bytes.split_to(length)),
            Err(_) if length == -1 => None,
            Ok(_) | Err(_) => return None,
        });
    }
    if !bytes.is_empty() {
        return None;
    }
    list(values.into_iter().map(|value| match value {
        Some(value) => super::binary(item, value).map(Some),
        None => Some(None),
    }))
}

/// One list of items that are arrays of length one; the inner `None` is NULL.
fn list(items: impl Iterator<Item = Option<Option<ArrayRef>>>) -> Option<ArrayRef> {
    let items = items.collect::<Option<Vec<_>>>()?;
    let data_type = items.iter().flatten().next().map_or(DataType::Utf8, |item| item.data_type().clone());
    let null = new_null_array(&data_type, 1);
    let parts: Vec<&dyn Array> = items.iter().map(|item| item.as_ref().unwrap_or(&null).as_ref()).collect();
    let values = if parts.is_empty() { new_empty_array(&data_type) } else { concat(&parts).ok()? };
    let field = Arc::new(Field::new_list_field(data_type, true));
    let offsets = OffsetBuffer::from_lengths([values.len()]);
    Some(Arc::new(ListArray::try_new(field, offsets, values, None).ok()?))
}

#[cfg(test)]
mod tests {
    use arrow::util::display::array_value_to_string;

    use super::*;

    fn shown(array: Option<ArrayRef>) -> Option<String> {
        array.map(|array| array_value_to_string(&array, 0).unwrap())
    }

    #[test]
    fn texts_are_read_as_postgres_writes_them() {
        let text = |text: &str| shown(text_of(&Type::TEXT, text));
        assert_eq!(text(r#"{a, "b,\"c\\" ,NULL,"null",d\}}"#).as_deref(), Some(r#"[a, b,"c\, , null, d}]"#));
        assert_eq!(text("{}").as_deref(), Some("[]"));
        assert_eq!(shown(text_of(&Type::INT4, " {1,-2,null} ")).as_deref(), Some("[1, -2, ]"));
        for wrong in ["", "{", "1,2", "{1,}", "{,1}", "{{1},{2}}", "{\"a}", "{\"a\"b}", "{a\"b}"] {
            assert_eq!(text(wrong), None, "{wrong}");
        }
        assert_eq!(shown(text_of(&Type::INT4, "{x}")), None);
    }

    fn text_of(item: &Type, text: &str) -> Option<ArrayRef> {
        super::text(item, text.as_bytes(), "UTC")
    }

    #[test]
    fn binary_arrays_are_read_whole_or_not_at_all() {
        let bytes = |parts: &[&[u8]]| Bytes::from(parts.concat());
        let head: &[u8] = &[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 23, 0, 0, 0, 2, 0, 0, 0, 1];
        let (seven, null): (&[u8], &[u8]) = (&[0, 0, 0, 4, 0, 0, 0, 7], &[0xff; 4]);
        let array = |bytes| shown(binary(&Type::INT4, bytes));
        assert_eq!(array(bytes(&[head, seven, null])).as_deref(), Some("[7, ]"));
        assert_eq!(array(bytes(&[&[0; 8], &[0, 0, 0, 23]])).as_deref(), Some("[]"));
        for wrong in
            [bytes(&[head, seven]), bytes(&[head, seven, null, &[0]]), bytes(&[&head[..16]]), bytes(&[&[0x7f; 40]])]
        {
            assert_eq!(array(wrong), None);
        }
        assert_eq!(shown(binary(&Type::INT8, bytes(&[head, seven, null]))), None, "of another type");
    }
}
