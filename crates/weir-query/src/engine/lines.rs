//! Rows as `COPY … FROM STDIN` sends them (PostgreSQL, `COPY`, "File Formats"), cut into values.

use weir_guard::{Outside, Refusal, Truth};

use crate::statement::CopyForm;

/// A longer row is not taken.
const ROW_BYTES_MAX: usize = 16 << 20;

/// A row as it came; `None` for NULL.
pub(super) struct Line {
    /// Where it begins, from 1 on.
    pub(super) number: u64,
    pub(super) values: Vec<Option<String>>,
}

pub(super) struct Lines {
    form: CopyForm,
    /// Of the row that is not complete.
    begun: Vec<u8>,
    /// The next byte is no end and no delimiter, whatever it is.
    escaped: bool,
    quoted: bool,
    /// Of the row that is not complete, and of the byte that comes.
    number: u64,
    at: u64,
    header: bool,
    ended: bool,
}

impl Lines {
    pub(super) fn new(form: CopyForm) -> Self {
        let header = form.header;
        let begun = Vec::new();
        Self { form, begun, escaped: false, quoted: false, number: 1, at: 1, header, ended: false }
    }

    /// What is complete with these bytes goes to `take`.
    pub(super) fn put(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(Line) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        while !self.ended && !bytes.is_empty() {
            let end = bytes.iter().position(|byte| self.ends(*byte));
            let (row, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
            self.begun.extend_from_slice(row);
            bytes = rest;
            if self.begun.len() > ROW_BYTES_MAX {
                let text = format!("the row in line {} is longer than {ROW_BYTES_MAX} bytes", self.number);
                return Err(Refusal::new(Outside::TooMuch { text: text.clone() }, Truth::Limit, text));
            }
            if end.is_some() {
                self.row().map_or(Ok(()), |line| line.and_then(&mut take))?;
            }
        }
        Ok(())
    }

    /// The last row may have no end.
    pub(super) fn finish(&mut self, take: impl FnOnce(Line) -> Result<(), Refusal>) -> Result<(), Refusal> {
        if self.quoted {
            return Err(wrong(format!("the quotes that are open in line {} are not closed", self.number)));
        }
        if self.ended || self.begun.is_empty() {
            return Ok(());
        }
        self.row().map_or(Ok(()), |line| line.and_then(take))
    }

    /// Whether the byte ends the row.
    fn ends(&mut self, byte: u8) -> bool {
        let plain = !std::mem::take(&mut self.escaped);
        self.at += u64::from(byte == b'\n');
        match byte {
            b'"' if self.form.csv => {
                self.quoted = !self.quoted;
                false
            }
            b'\\' if !self.form.csv && plain => {
                self.escaped = true;
                false
            }
            b'\n' => plain && !self.quoted,
            _ => false,
        }
    }

    /// The row that is complete; `None` when it is none of the data.
    fn row(&mut self) -> Option<Result<Line, Refusal>> {
        let (row, number) = (std::mem::take(&mut self.begun), self.number);
        self.number = self.at;
        let row = row.strip_suffix(b"\n").unwrap_or(&row);
        let row = row.strip_suffix(b"\r").unwrap_or(row);
        if std::mem::take(&mut self.header) {
            return None;
        }
        if row == b"\\." {
            self.ended = true;
            return None;
        }
        let Ok(row) = str::from_utf8(row) else {
            return Some(Err(wrong(format!("line {number} is no valid UTF8"))));
        };
        if row.contains('\0') {
            return Some(Err(wrong(format!("line {number} has a zero byte in it"))));
        }
        let values = if self.form.csv { self.quoted_values(row) } else { self.escaped_values(row) };
        Some(values.map(|values| Line { number, values }).map_err(|why| wrong(format!("line {number} {why}"))))
    }

    fn escaped_values(&self, row: &str) -> Result<Vec<Option<String>>, &'static str> {
        let delimiter = char::from(self.form.delimiter);
        let mut values = Vec::new();
        let mut chars = row.chars();
        let (mut value, mut raw) = (String::new(), String::new());
        loop {
            let next = chars.next();
            match next {
                Some(c) if c != delimiter && c != '\\' => {
                    raw.push(c);
                    value.push(c);
                }
                Some('\\') => {
                    let Some(letter) = chars.next() else { return Err("ends with a backslash") };
                    raw.extend(['\\', letter]);
                    value.push(match letter {
                        'b' => '\u{8}',
                        'f' => '\u{c}',
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        'v' => '\u{b}',
                        '0'..='9' | 'x' => return Err("has a byte by its number, which is not supported"),
                        other => other,
                    });
                }
                Some(_) | None => {
                    // By what was written: an escaped value is never NULL.
                    let (value, raw) = (std::mem::take(&mut value), std::mem::take(&mut raw));
                    values.push((raw != self.form.null).then_some(value));
                    if next.is_none() {
                        return Ok(values);
                    }
                }
            }
        }
    }

    fn quoted_values(&self, row: &str) -> Result<Vec<Option<String>>, &'static str> {
        let delimiter = char::from(self.form.delimiter);
        let mut values = Vec::new();
        let mut chars = row.chars().peekable();
        let (mut value, mut was_quoted) = (String::new(), false);
        loop {
            match chars.next() {
                Some('"') => {
                    was_quoted = true;
                    loop {
                        match chars.next() {
                            Some('"') if chars.peek() == Some(&'"') => {
                                chars.next();
                                value.push('"');
                            }
                            Some('"') => break,
                            Some(c) => value.push(c),
                            None => return Err("has quotes that are not closed"),
                        }
                    }
                }
                Some(c) if c != delimiter => value.push(c),
                end => {
                    let (value, was_quoted) = (std::mem::take(&mut value), std::mem::take(&mut was_quoted));
                    values.push((was_quoted || value != self.form.null).then_some(value));
                    if end.is_none() {
                        return Ok(values);
                    }
                }
            }
        }
    }
}

/// What the client sent is wrong; it hears where.
pub(super) fn wrong(text: String) -> Refusal {
    Refusal::new(Outside::Data { text: text.clone() }, Truth::Invalid, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(csv: bool) -> CopyForm {
        let (delimiter, null) = if csv { (b',', "") } else { (b'\t', "\\N") };
        CopyForm { csv, delimiter, null: null.to_owned(), header: false }
    }

    type Numbered = (u64, Vec<Option<String>>);

    /// Whatever pieces the bytes come in.
    fn read(form: &CopyForm, bytes: &[u8]) -> Result<Vec<Numbered>, String> {
        let in_pieces = |size: usize| {
            let mut lines = Lines::new(form.clone());
            let mut rows = Vec::new();
            let mut take = |line: Line| {
                rows.push((line.number, line.values));
                Ok(())
            };
            let put = bytes.chunks(size).try_for_each(|piece| lines.put(piece, &mut take));
            let done = put.and_then(|()| lines.finish(&mut take));
            done.map(|()| rows).map_err(|refusal| refusal.outside().text().to_owned())
        };
        let whole = in_pieces(bytes.len().max(1));
        assert_eq!(whole, in_pieces(1));
        assert_eq!(whole, in_pieces(3));
        whole
    }

    fn values(values: &[Option<&str>]) -> Vec<Option<String>> {
        values.iter().map(|value| value.map(str::to_owned)).collect()
    }

    #[test]
    fn text_has_backslashes() {
        let rows =
            read(&form(false), b"1\ta b\t\\N\r\n2\t\t\\\\N\n3\ttab\\tline\\nend\\\\\tx\\\ny\n4\t\xc3\xa4\t\n").unwrap();
        assert_eq!(rows[0], (1, values(&[Some("1"), Some("a b"), None])));
        assert_eq!(rows[1], (2, values(&[Some("2"), Some(""), Some("\\N")])));
        assert_eq!(rows[2], (3, values(&[Some("3"), Some("tab\tline\nend\\"), Some("x\ny")])));
        assert_eq!(rows[3], (5, values(&[Some("4"), Some("ä"), Some("")])));
        assert_eq!(read(&form(false), b"a\n\\.\nb\n").unwrap().len(), 1);
        assert_eq!(read(&form(false), b"a\nb").unwrap().len(), 2);
        assert_eq!(read(&form(false), b"").unwrap(), []);
        for (bytes, told) in [
            (&b"a\n\xff\n"[..], "line 2 is no valid UTF8"),
            (b"a\0b\n", "line 1 has a zero byte in it"),
            (b"a\\", "line 1 ends with a backslash"),
            (b"\\x41\n", "line 1 has a byte by its number, which is not supported"),
        ] {
            assert_eq!(read(&form(false), bytes).unwrap_err(), told);
        }
    }

    #[test]
    fn csv_has_quotes() {
        let rows = read(&form(true), b"1,a b,\r\n2,\"\",\"x,\"\"y\"\"\nz\"\n3,p\"q,r\"s,t\n").unwrap();
        assert_eq!(rows[0], (1, values(&[Some("1"), Some("a b"), None])));
        assert_eq!(rows[1], (2, values(&[Some("2"), Some(""), Some("x,\"y\"\nz")])));
        assert_eq!(rows[2], (4, values(&[Some("3"), Some("pq,rs"), Some("t")])));
        let headed = CopyForm { header: true, delimiter: b';', null: "-".to_owned(), ..form(true) };
        assert_eq!(read(&headed, b"a;b\n-;\n").unwrap(), [(2, values(&[None, Some("")]))]);
        assert_eq!(read(&form(true), b"1\n2,\"x\n").unwrap_err(), "the quotes that are open in line 2 are not closed");
    }
}
