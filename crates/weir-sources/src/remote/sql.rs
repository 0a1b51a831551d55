//! SQL text with typed parameters. Identifiers are always quoted; values that are not numbers or moments are always
//! parameters.

use std::borrow::Cow;
use std::fmt;

use weir_model::DatabaseKind;

use super::calendar;

/// A piece of a statement.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sql(Vec<Piece>);

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(Cow<'static, str>),
    Param(Param),
}

/// A value that goes beside the text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Param {
    Bool(bool),
    Int2(i16),
    Int4(i32),
    Int8(i64),
    Text(String),
    Bytea(Vec<u8>),
    /// Since 1970-01-01.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 1970-01-01.
    Timestamp {
        micros: i64,
        zoned: bool,
    },
    /// `units / 10^scale`
    Numeric {
        units: i128,
        scale: u8,
    },
    /// Keys that a policy looked up.
    Keys(Vec<i64>),
}

/// Whether values of rows that went into a statement are to be seen in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    Database,
    Governors,
}

impl Sql {
    pub(super) fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self(vec![Piece::Text(text.into())])
    }

    pub(super) fn param(param: Param) -> Self {
        Self(vec![Piece::Param(param)])
    }

    pub(super) fn identifier(name: &str) -> Self {
        Self::text(format!("\"{}\"", name.replace('"', "\"\"")))
    }

    #[must_use]
    pub(super) fn then(mut self, more: impl Into<Sql>) -> Self {
        self.0.extend(more.into().0);
        self
    }

    #[must_use]
    pub(super) fn in_parentheses(self) -> Self {
        self.between("(", ")")
    }

    #[must_use]
    pub(super) fn between(self, before: &'static str, after: &'static str) -> Self {
        Sql::from(before).then(self).then(after)
    }

    pub(super) fn joined(parts: impl IntoIterator<Item = Sql>, separator: &'static str) -> Self {
        let mut all = Sql::default();
        for (number, part) in parts.into_iter().enumerate() {
            if number > 0 {
                all = all.then(separator);
            }
            all = all.then(part);
        }
        all
    }

    /// The text with `$1`, `?1` or `?` for what goes beside it.
    pub(super) fn rendered(&self, kind: DatabaseKind, reader: For) -> (String, Vec<Param>) {
        let (mut text, mut params) = (String::new(), Vec::<Param>::new());
        for piece in &self.0 {
            let param = match piece {
                Piece::Text(piece) => {
                    text.push_str(piece);
                    continue;
                }
                Piece::Param(param) => param,
            };
            if kind == DatabaseKind::Mariadb {
                match param.literal(reader) {
                    Some(literal) => text.push_str(&literal),
                    None => {
                        params.push(param.clone());
                        text.push('?');
                    }
                }
                continue;
            }
            // One number for equal values, so that what is asked twice is seen to be the same.
            let known = params.iter().position(|known| known == param);
            let place = known.unwrap_or_else(|| {
                params.push(param.clone());
                params.len() - 1
            });
            let sign = if kind == DatabaseKind::Sqlite { '?' } else { '$' };
            text.push_str(&format!("{sign}{}", place + 1));
        }
        (text, params)
    }
}

impl From<&'static str> for Sql {
    fn from(text: &'static str) -> Self {
        Self::text(text)
    }
}

impl Param {
    /// In MariaDB's words, which has no parameters of most types; `None` for what goes beside the text there as well.
    fn literal(&self, reader: For) -> Option<String> {
        Some(match self {
            Param::Text(_) | Param::Bytea(_) => return None,
            Param::Bool(b) => if *b { "TRUE" } else { "FALSE" }.to_owned(),
            Param::Int2(n) => n.to_string(),
            Param::Int4(n) => n.to_string(),
            Param::Int8(n) => n.to_string(),
            Param::Date(days) => format!("DATE'{}'", calendar::date(*days)),
            Param::Time(micros) => format!("TIME'{}'", calendar::time(*micros)),
            Param::Timestamp { micros, .. } => format!("TIMESTAMP'{}'", calendar::timestamp(*micros)),
            // Without a point it would be a whole number, whose arithmetic overflows.
            Param::Numeric { units, scale: 0 } => format!("{units}."),
            Param::Numeric { units, scale } => digits(*units, *scale),
            Param::Keys(_) if reader == For::Governors => format!("({self})"),
            Param::Keys(keys) => format!("({})", keys.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")),
        })
    }
}

/// `units / 10^scale`
pub(super) fn digits(units: i128, scale: u8) -> String {
    let (sign, digits) = (if units < 0 { "-" } else { "" }, units.unsigned_abs().to_string());
    let scale = usize::from(scale);
    let digits = format!("{digits:0>width$}", width = scale + 1);
    match digits.split_at_checked(digits.len() - scale) {
        Some((whole, fraction)) if scale > 0 => format!("{sign}{whole}.{fraction}"),
        Some(_) | None => format!("{sign}{digits}"),
    }
}

/// For those who govern. Keys that were looked up are values of rows, which governing does not let see.
impl fmt::Display for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Param::Bool(b) => write!(f, "{b}"),
            Param::Int2(n) => write!(f, "{n}"),
            Param::Int4(n) => write!(f, "{n}"),
            Param::Int8(n) => write!(f, "{n}"),
            Param::Text(text) => write!(f, "'{}'", text.escape_debug()),
            Param::Bytea(bytes) => write!(f, "{} bytes", bytes.len()),
            Param::Date(days) => write!(f, "date {days} days after 1970-01-01"),
            Param::Time(micros) => write!(f, "time {micros} µs"),
            Param::Timestamp { micros, .. } => write!(f, "timestamp {micros} µs after 1970-01-01"),
            Param::Numeric { units, scale } => write!(f, "{}", digits(*units, *scale)),
            Param::Keys(keys) => write!(f, "{} keys that a policy looked up", keys.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_quoted_and_values_are_apart() {
        let name = "a\"; DROP TABLE x; --";
        let param = || Sql::param(Param::Text("it's".to_owned()));
        let sql = Sql::identifier(name).then(" = ").then(param()).then(" OR ").then(param());
        let rendered = |kind| sql.rendered(kind, For::Database);
        let text = "\"a\"\"; DROP TABLE x; --\" = ";
        let value = Param::Text("it's".to_owned());
        assert_eq!(rendered(DatabaseKind::Postgresql), (format!("{text}$1 OR $1"), vec![value.clone()]));
        assert_eq!(rendered(DatabaseKind::Sqlite), (format!("{text}?1 OR ?1"), vec![value.clone()]));
        assert_eq!(rendered(DatabaseKind::Mariadb), (format!("{text}? OR ?"), vec![value.clone(), value]));
    }

    #[test]
    fn numbers_and_moments_are_mariadbs_literals() {
        let said = |param: Param, reader| Sql::param(param).rendered(DatabaseKind::Mariadb, reader).0;
        let sent = |param| said(param, For::Database);
        assert_eq!(sent(Param::Date(-719_162)), "DATE'0001-01-01'");
        assert_eq!(sent(Param::Timestamp { micros: -1, zoned: true }), "TIMESTAMP'1969-12-31 23:59:59.999999'");
        assert_eq!(sent(Param::Time(3_661_000_001)), "TIME'01:01:01.000001'");
        assert_eq!(sent(Param::Numeric { units: -5, scale: 2 }), "-0.05");
        assert_eq!(sent(Param::Numeric { units: 5, scale: 0 }), "5.");
        assert_eq!(sent(Param::Keys(vec![3, -4])), "(3, -4)");
        assert_eq!(said(Param::Keys(vec![3, -4]), For::Governors), "(2 keys that a policy looked up)");
    }

    #[test]
    fn digits_have_the_point_where_it_belongs() {
        assert_eq!(digits(-5, 2), "-0.05");
        assert_eq!(digits(12345, 0), "12345");
        assert_eq!(digits(12345, 3), "12.345");
    }
}
