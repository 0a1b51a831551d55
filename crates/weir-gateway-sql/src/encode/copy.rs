//! Rows as `COPY … TO STDOUT` sends them (PostgreSQL, `COPY`, "File Formats").

use bytes::BufMut;
use weir_query::CopyForm;

use super::{Batch, EncodeError, Encoded, patch};
use crate::types::Format;

impl Batch {
    /// Appends one CopyData message. On an error, what was appended has to be cut off.
    pub(crate) fn copy(&self, row: usize, form: &CopyForm, out: &mut Vec<u8>) -> Encoded {
        let mut field = Vec::new();
        line(form, out, self.cells.len(), |index| {
            field.clear();
            let cell = self.cells.get(index).ok_or(EncodeError::Shape)?;
            cell.field(row, Format::Text, &mut field)?;
            let (length, value) = field.split_at_checked(4).ok_or(EncodeError::Shape)?;
            Ok(if length == [0xff; 4] { None } else { Some(value.to_vec()) })
        })
    }
}

/// Appends one CopyData message with the names of the columns.
pub(crate) fn header(names: &[&str], form: &CopyForm, out: &mut Vec<u8>) -> Encoded {
    line(form, out, names.len(), |index| Ok(names.get(index).map(|name| name.as_bytes().to_vec())))
}

fn line(
    form: &CopyForm,
    out: &mut Vec<u8>,
    width: usize,
    mut value: impl FnMut(usize) -> Result<Option<Vec<u8>>, EncodeError>,
) -> Encoded {
    let start = out.len();
    out.extend_from_slice(b"d\0\0\0\0");
    for index in 0..width {
        if index > 0 {
            out.put_u8(form.delimiter);
        }
        match value(index)? {
            None => out.extend_from_slice(form.null.as_bytes()),
            Some(value) if form.csv => quoted(&value, form, out),
            Some(value) => escaped(&value, form, out),
        }
    }
    out.put_u8(b'\n');
    let length = i32::try_from(out.len() - start - 1).map_err(|_| EncodeError::TooLong)?;
    patch(out, start + 1, length)
}

fn quoted(value: &[u8], form: &CopyForm, out: &mut Vec<u8>) {
    let special = |byte: &u8| [form.delimiter, b'"', b'\r', b'\n'].contains(byte);
    // A value that looks like NULL or like the end of the rows is neither.
    if !value.iter().any(special) && value != form.null.as_bytes() && value != b"\\." {
        return out.extend_from_slice(value);
    }
    out.put_u8(b'"');
    for byte in value {
        if *byte == b'"' {
            out.put_u8(b'"');
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}

fn escaped(value: &[u8], form: &CopyForm, out: &mut Vec<u8>) {
    for byte in value {
        let letter = match byte {
            b'\\' => b'\\',
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x0b => b'v',
            other if *other == form.delimiter => *other,
            other => {
                out.put_u8(*other);
                continue;
            }
        };
        out.put_u8(b'\\');
        out.put_u8(letter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(form: &CopyForm, values: &[Option<&str>]) -> String {
        let mut out = Vec::new();
        line(form, &mut out, values.len(), |index| Ok(values[index].map(|value| value.as_bytes().to_vec()))).unwrap();
        assert_eq!(out[0], b'd');
        assert_eq!(usize::try_from(i32::from_be_bytes(out[1..5].try_into().unwrap())).unwrap(), out.len() - 1);
        String::from_utf8(out[5..].to_vec()).unwrap()
    }

    #[test]
    fn values_are_told_from_null_and_from_what_is_around_them() {
        let csv = CopyForm { csv: true, delimiter: b',', null: String::new(), header: false };
        assert_eq!(one(&csv, &[Some("a"), None, Some("")]), "a,,\"\"\n");
        assert_eq!(
            one(&csv, &[Some("a,b"), Some("say \"x\""), Some("two\nlines"), Some("\\.")]),
            "\"a,b\",\"say \"\"x\"\"\",\"two\nlines\",\"\\.\"\n"
        );
        let text = CopyForm { csv: false, delimiter: b'\t', null: "\\N".to_owned(), header: false };
        assert_eq!(one(&text, &[Some("a"), None, Some(""), Some("\\N")]), "a\t\\N\t\t\\\\N\n");
        assert_eq!(one(&text, &[Some("tab\tline\nback\\")]), "tab\\tline\\nback\\\\\n");
        let bars = CopyForm { delimiter: b'|', ..text };
        assert_eq!(one(&bars, &[Some("a|b"), Some("c\td")]), "a\\|b|c\\td\n");
    }
}
