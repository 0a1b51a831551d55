//! SQL text with typed parameters. Identifiers are always quoted; values that are not numbers are always parameters.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::numeric;

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
pub(crate) enum Param {
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

/// Days and microseconds from 1970-01-01 to 2000-01-01, from which PostgreSQL counts.
pub(crate) const EPOCH_DAYS: i32 = 10_957;
pub(crate) const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

impl Sql {
    pub(crate) fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self(vec![Piece::Text(text.into())])
    }

    pub(crate) fn param(param: Param) -> Self {
        Self(vec![Piece::Param(param)])
    }

    pub(crate) fn identifier(name: &str) -> Self {
        Self::text(format!("\"{}\"", name.replace('"', "\"\"")))
    }

    #[must_use]
    pub(crate) fn then(mut self, more: impl Into<Sql>) -> Self {
        self.0.extend(more.into().0);
        self
    }

    #[must_use]
    pub(crate) fn in_parentheses(self) -> Self {
        Sql::from("(").then(self).then(")")
    }

    pub(crate) fn joined(parts: impl IntoIterator<Item = Sql>, separator: &'static str) -> Self {
        let mut all = Sql::default();
        for (number, part) in parts.into_iter().enumerate() {
            if number > 0 {
                all = all.then(separator);
            }
            all = all.then(part);
        }
        all
    }

    /// The text with `$1`, `$2` and so on, and what they stand for.
    pub(crate) fn rendered(&self) -> (String, Vec<Param>) {
        let (mut text, mut params) = (String::new(), Vec::<Param>::new());
        for piece in &self.0 {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Param(param) => {
                    // One number for equal values, so that what is asked twice is seen to be the same.
                    let known = params.iter().position(|known| known == param);
                    let place = known.unwrap_or_else(|| {
                        params.push(param.clone());
                        params.len() - 1
                    });
                    text.push_str(&format!("${}", place + 1));
                }
            }
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
    pub(crate) fn sql_type(&self) -> Type {
        match self {
            Param::Bool(_) => Type::BOOL,
            Param::Int2(_) => Type::INT2,
            Param::Int4(_) => Type::INT4,
            Param::Int8(_) => Type::INT8,
            Param::Text(_) => Type::TEXT,
            Param::Bytea(_) => Type::BYTEA,
            Param::Date(_) => Type::DATE,
            Param::Time(_) => Type::TIME,
            Param::Timestamp { zoned: false, .. } => Type::TIMESTAMP,
            Param::Timestamp { zoned: true, .. } => Type::TIMESTAMPTZ,
            Param::Numeric { .. } => Type::NUMERIC,
            Param::Keys(_) => Type::INT8_ARRAY,
        }
    }
}

/// In PostgreSQL's binary format.
impl ToSql for Param {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        if *ty != self.sql_type() {
            return Err(format!("a parameter of type {} is given for {ty}", self.sql_type()).into());
        }
        match self {
            Param::Bool(b) => out.put_u8(u8::from(*b)),
            Param::Int2(n) => out.put_i16(*n),
            Param::Int4(n) => out.put_i32(*n),
            Param::Int8(n) => out.put_i64(*n),
            Param::Text(text) => out.put_slice(text.as_bytes()),
            Param::Bytea(bytes) => out.put_slice(bytes),
            Param::Date(days) => out.put_i32(days.checked_sub(EPOCH_DAYS).ok_or("a date out of range")?),
            Param::Time(micros) => out.put_i64(*micros),
            Param::Timestamp { micros, .. } => {
                out.put_i64(micros.checked_sub(EPOCH_MICROS).ok_or("a timestamp out of range")?);
            }
            Param::Numeric { units, scale } => numeric::write(*units, *scale, out),
            Param::Keys(keys) => return keys.to_sql(ty, out),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
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
            Param::Numeric { units, scale } => write!(f, "{}", numeric::text(*units, *scale)),
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
        let sql = Sql::identifier(name).then(" = ").then(Sql::param(Param::Text("it's".to_owned())));
        let (text, params) = sql.rendered();
        assert_eq!(text, "\"a\"\"; DROP TABLE x; --\" = $1");
        assert_eq!(params, [Param::Text("it's".to_owned())]);
    }
}
