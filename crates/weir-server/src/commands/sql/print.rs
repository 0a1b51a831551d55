//! Answers on standard output, row by row: memory does not grow with their length.

use std::io::{self, Write};

use tokio_postgres::SimpleQueryRow;
use tokio_postgres::types::Type;

use crate::table;

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// RFC 4180, with a heading; NULL is nothing, an empty text is `""`.
    Csv,
    /// One object a line.
    Json,
}

/// Rows that are laid out together; a longer answer is a sequence of such tables.
const TABLE_ROWS: usize = 1_000;

/// Prints the answer to one statement.
pub(super) struct Printer<'a, W: Write> {
    out: &'a mut W,
    format: Format,
    names: Vec<String>,
    /// For JSON.
    types: Vec<Type>,
    /// Of the table that is being filled.
    rows: Vec<Vec<String>>,
    count: u64,
}

impl<'a, W: Write> Printer<'a, W> {
    pub(super) fn new(out: &'a mut W, format: Format, types: Vec<Type>) -> Self {
        Self { out, format, names: Vec::new(), types, rows: Vec::new(), count: 0 }
    }

    pub(super) fn header(&mut self, names: Vec<String>) -> io::Result<()> {
        self.names = names;
        match self.format {
            Format::Csv => {
                let line: Vec<String> = self.names.iter().map(|name| csv(Some(name))).collect();
                writeln!(self.out, "{}", line.join(","))
            }
            Format::Table | Format::Json => Ok(()),
        }
    }

    pub(super) fn row(&mut self, row: &SimpleQueryRow) -> io::Result<()> {
        let values = (0..row.len()).map(|at| row.try_get(at).ok().flatten());
        self.values(&values.collect::<Vec<_>>())
    }

    fn values(&mut self, values: &[Option<&str>]) -> io::Result<()> {
        self.count += 1;
        match self.format {
            Format::Table => {
                self.rows.push(values.iter().map(|value| value.unwrap_or("NULL").to_owned()).collect());
                if self.rows.len() >= TABLE_ROWS { self.flush_table() } else { Ok(()) }
            }
            Format::Csv => {
                let line: Vec<String> = values.iter().map(|value| csv(*value)).collect();
                writeln!(self.out, "{}", line.join(","))
            }
            Format::Json => {
                let types = self.types.iter().map(Some).chain(std::iter::repeat(None));
                let pairs = self.names.iter().zip(values).zip(types);
                let pairs: Vec<String> =
                    pairs.map(|((name, value), kind)| format!("{}:{}", json_text(name), json(*value, kind))).collect();
                writeln!(self.out, "{{{}}}", pairs.join(","))
            }
        }
    }

    fn flush_table(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        writeln!(self.out, "{}", table::grid(self.names.clone(), rows))
    }

    /// After the last row.
    pub(super) fn end(mut self) -> io::Result<()> {
        if self.format == Format::Table && !self.names.is_empty() {
            if !self.rows.is_empty() || self.count == 0 {
                self.flush_table()?;
            }
            let rows = if self.count == 1 { "row" } else { "rows" };
            writeln!(self.out, "({} {rows})", self.count)?;
        }
        self.out.flush()
    }
}

fn csv(value: Option<&str>) -> String {
    match value {
        None => String::new(),
        Some("") => "\"\"".to_owned(),
        Some(text) if text.contains([',', '"', '\n', '\r']) => format!("\"{}\"", text.replace('"', "\"\"")),
        Some(text) => text.to_owned(),
    }
}

fn json(value: Option<&str>, kind: Option<&Type>) -> String {
    let Some(text) = value else { return "null".to_owned() };
    let is_number =
        |kind: &Type| [Type::INT2, Type::INT4, Type::INT8, Type::FLOAT4, Type::FLOAT8, Type::NUMERIC].contains(kind);
    match kind {
        Some(&Type::BOOL) => if text == "t" { "true" } else { "false" }.to_owned(),
        // NaN and the infinities are no numbers in JSON.
        Some(kind)
            if is_number(kind) && text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) && text != "-Infinity" =>
        {
            text.to_owned()
        }
        Some(_) | None => json_text(text),
    }
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(format: Format, rows: &[&[Option<&str>]]) -> String {
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, format, vec![Type::INT8, Type::TEXT, Type::FLOAT8, Type::BOOL]);
        printer.header(["n", "t", "f", "b"].map(str::to_owned).to_vec()).unwrap();
        rows.iter().for_each(|row| printer.values(row).unwrap());
        printer.end().unwrap();
        String::from_utf8(out).unwrap()
    }

    const ROWS: &[&[Option<&str>]] =
        &[&[Some("1"), Some("say \"a,b\""), Some("-0.5"), Some("t")], &[None, Some(""), Some("NaN"), Some("f")]];

    #[test]
    fn csv_keeps_null_and_empty_apart() {
        expect_test::expect![[r#"
            n,t,f,b
            1,"say ""a,b""",-0.5,t
            ,"",NaN,f
        "#]]
        .assert_eq(&printed(Format::Csv, ROWS));
    }

    #[test]
    fn json_has_types() {
        expect_test::expect![[r#"
            {"n":1,"t":"say \"a,b\"","f":-0.5,"b":true}
            {"n":null,"t":"","f":"NaN","b":false}
        "#]]
        .assert_eq(&printed(Format::Json, ROWS));
    }

    #[test]
    fn tables_count_their_rows() {
        assert!(printed(Format::Table, ROWS).ends_with("(2 rows)\n"));
        assert!(printed(Format::Table, &[]).ends_with("(0 rows)\n"));
        let many: Vec<&[Option<&str>]> = std::iter::repeat_n(ROWS[0], 2_500).collect();
        let text = printed(Format::Table, &many);
        assert!(text.ends_with("(2500 rows)\n"));
        assert_eq!(text.matches(" n ").count(), 3, "one heading for each thousand rows");
    }
}
