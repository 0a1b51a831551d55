//! What databases differ in: how things are said, and what of it means the same as here.
#![expect(clippy::wildcard_enum_match_arm, reason = "allow-lists: whatever is not named stays here")]

use datafusion::arrow::datatypes::{DataType as Arrow, TimeUnit};
use datafusion::common::ScalarValue;
use weir_model::DatabaseKind;

use super::calendar;
use super::sql::{Param, Sql};

/// The language of one database.
///
/// Columns and constants of text are put so that they compare by their bytes: in PostgreSQL by a collation that is said
/// with each comparison, in MariaDB as binary strings, in SQLite by the collation that is said with the column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) kind: DatabaseKind,
    /// Bytes of texts over there are those of UTF-8, and so is their order.
    pub(super) utf8: bool,
}

/// Digits before and behind the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digits {
    pub(super) whole: u32,
    pub(super) scale: u32,
}

/// Digits that a floating-point number has, whatever they are: SQLite keeps decimals so.
const FLOAT_DIGITS: u32 = 15;
/// MariaDB computes decimals in so many words of nine digits, and keeps no more digits than that. What has more is
/// rounded, or the largest number there is.
const MARIADB_WORDS: u32 = 9;
const MARIADB_DIGITS: u32 = 65;
const MARIADB_SCALE: u32 = 30;

impl Dialect {
    /// Whether equal values look the same, and are in the same order here and there. Floats are not: `-0` and `0` differ
    /// here. SQLite's texts of a time have several for the same.
    pub(super) fn is_exact(self, data_type: &Arrow) -> bool {
        match data_type {
            Arrow::Boolean | Arrow::Utf8 | Arrow::Binary | Arrow::Date32 => true,
            Arrow::Time64(TimeUnit::Microsecond) | Arrow::Timestamp(TimeUnit::Microsecond, _) => {
                self.kind != DatabaseKind::Sqlite
            }
            _ => is_whole(data_type) || data_type.is_decimal(),
        }
    }

    /// The type of a constant that is nothing.
    pub(super) fn null(self, data_type: &Arrow) -> Option<Sql> {
        match self.kind {
            DatabaseKind::Postgresql => Some(Sql::text(format!("NULL::{}", type_name(data_type)?))),
            DatabaseKind::Mariadb | DatabaseKind::Sqlite => type_name(data_type).map(|_| Sql::from("NULL")),
        }
    }

    pub(super) fn constant(self, value: &ScalarValue) -> Option<Sql> {
        let param = match value {
            ScalarValue::Boolean(b) => Param::Bool((*b)?),
            ScalarValue::Int16(n) => Param::Int2((*n)?),
            ScalarValue::Int32(n) => Param::Int4((*n)?),
            ScalarValue::Int64(n) => Param::Int8((*n)?),
            // Types that only some databases have.
            ScalarValue::Int8(n) if !self.is_postgresql() => Param::Int8((*n)?.into()),
            ScalarValue::UInt8(n) if !self.is_postgresql() => Param::Int8((*n)?.into()),
            ScalarValue::UInt16(n) if !self.is_postgresql() => Param::Int8((*n)?.into()),
            ScalarValue::UInt32(n) if !self.is_postgresql() => Param::Int8((*n)?.into()),
            ScalarValue::UInt64(n) if !self.is_postgresql() => Param::Int8((*n)?.try_into().ok()?),
            ScalarValue::Decimal128(units, _, scale) => {
                let (units, scale) = ((*units)?, u8::try_from(*scale).ok()?);
                let kept = self.kind != DatabaseKind::Sqlite || digits(units).max(scale.into()) <= FLOAT_DIGITS;
                kept.then_some(Param::Numeric { units, scale })?
            }
            // PostgreSQL has no texts with NUL; nothing there equals one.
            ScalarValue::Utf8(text) => Param::Text(text.clone().filter(|text| !text.contains('\0'))?),
            ScalarValue::Binary(bytes) => Param::Bytea(bytes.clone()?),
            ScalarValue::Date32(days) => Param::Date((*days).filter(|days| self.days().contains(days))?),
            ScalarValue::Time64Microsecond(micros) if self.is_exact(&value.data_type()) => Param::Time((*micros)?),
            ScalarValue::TimestampMicrosecond(micros, zone) if self.is_exact(&value.data_type()) => {
                let (days, micros) = (self.days(), (*micros)?);
                let known = calendar::at(days.start, 0)..calendar::at(days.end - 1, 0);
                known.contains(&micros).then_some(Param::Timestamp { micros, zoned: zone.is_some() })?
            }
            _ => return None,
        };
        let bytes = matches!(param, Param::Text(_) | Param::Bytea(_)) && self.kind == DatabaseKind::Mariadb;
        let sql = Sql::param(param);
        Some(if bytes { sql.between("CAST(", " AS BINARY)") } else { sql })
    }

    /// That have a name over there. PostgreSQL's are from 4714 BC to 294276.
    fn days(self) -> std::ops::Range<i32> {
        match self.kind {
            DatabaseKind::Postgresql => -2_440_587..106_751_991,
            DatabaseKind::Mariadb | DatabaseKind::Sqlite => calendar::DAYS,
        }
    }

    fn is_postgresql(self) -> bool {
        self.kind == DatabaseKind::Postgresql
    }

    /// A text by its bytes, for equality as well as for order.
    pub(super) fn by_bytes(self, text: Sql) -> Sql {
        match self.kind {
            DatabaseKind::Postgresql => text.between("(", " COLLATE \"C\")"),
            DatabaseKind::Mariadb | DatabaseKind::Sqlite => text,
        }
    }

    /// MariaDB's `IS NULL` is true for the date `0000-00-00` where NULL is not allowed.
    pub(super) fn is_null(self, value: Sql) -> Sql {
        let op = if self.kind == DatabaseKind::Mariadb { " <=> NULL" } else { " IS NULL" };
        value.then(op).in_parentheses()
    }

    /// That two values are equal, or both NULL.
    pub(super) fn is_same(self, left: Sql, right: Sql) -> Sql {
        let op = if self.kind == DatabaseKind::Mariadb { " <=> " } else { " IS NOT DISTINCT FROM " };
        left.then(op).then(right).in_parentheses()
    }

    /// SQLite's does not tell letters of both cases apart, and ends at a NUL.
    pub(super) fn like(self, text: Sql, negated: bool, pattern: &str) -> Option<Sql> {
        // Without anything to be escaped: what an escape does at the end of a pattern is an error in PostgreSQL.
        if !self.utf8 || pattern.contains(['\\', '\0']) {
            return None;
        }
        let text = match self.kind {
            DatabaseKind::Postgresql => self.by_bytes(text),
            // By characters, of which bytes are only parts.
            DatabaseKind::Mariadb => text.between("CONVERT(", " USING utf8mb4) COLLATE utf8mb4_bin"),
            DatabaseKind::Sqlite => return None,
        };
        let op = if negated { " NOT LIKE " } else { " LIKE " };
        Some(text.then(op).then(Sql::param(Param::Text(pattern.to_owned()))).in_parentheses())
    }

    pub(super) fn among(self, value: Sql, keys: Vec<i64>) -> Sql {
        let none = keys.is_empty();
        let keys = Sql::param(Param::Keys(keys));
        match self.kind {
            DatabaseKind::Postgresql => value.then(" = ").then(keys.between("ANY (", ")")),
            DatabaseKind::Mariadb if none => Sql::from("FALSE"),
            DatabaseKind::Mariadb => value.then(" IN ").then(keys),
            DatabaseKind::Sqlite => value.then(" IN ").then(keys.between("(SELECT value FROM json_each(", "))")),
        }
        .in_parentheses()
    }

    /// Constants that one list may have: databases have limits for parameters of a statement.
    pub(super) fn list_max(self) -> usize {
        if self.kind == DatabaseKind::Sqlite { 1_000 } else { 10_000 }
    }

    /// A sum, a difference or a product of decimals, if no digit of it gets lost. Whole numbers fail there when they
    /// overflow, and wrap here.
    pub(super) fn calculated(self, left: Digits, op: &str, right: Digits) -> Option<Digits> {
        let digits = match op {
            " * " => Digits { whole: left.whole + right.whole, scale: left.scale + right.scale },
            _ => Digits { whole: left.whole.max(right.whole) + 1, scale: left.scale.max(right.scale) },
        };
        let fits = match self.kind {
            DatabaseKind::Postgresql => true,
            DatabaseKind::Mariadb => {
                let words = |digits: u32| digits.div_ceil(9);
                let behind = if op == " * " { words(left.scale) + words(right.scale) } else { words(digits.scale) };
                words(digits.whole) + behind <= MARIADB_WORDS
                    && digits.whole + digits.scale <= MARIADB_DIGITS
                    && digits.scale <= MARIADB_SCALE
            }
            DatabaseKind::Sqlite => false,
        };
        fits.then_some(digits)
    }

    /// A number as one of a type that has all numbers of its type before.
    pub(super) fn widened(self, number: Sql, before: &Arrow, whole: u32, now: &Arrow) -> Option<Sql> {
        Some(match self.kind {
            DatabaseKind::Postgresql if type_name(before)? == type_name(now)? => number,
            DatabaseKind::Postgresql => number.then("::").then(Sql::from(type_name(now)?)).in_parentheses(),
            // Whole numbers are one type, but for what is done with them.
            DatabaseKind::Mariadb if is_whole(before) && now.is_decimal() => {
                number.between("CAST(", " AS DECIMAL(").then(Sql::text(format!("{whole}))")))
            }
            DatabaseKind::Mariadb => number,
            DatabaseKind::Sqlite => number,
        })
    }

    /// Whether what is sent for a sum is a number with any digits. SQLite's sums fail when they overflow, and take a text
    /// for nothing.
    pub(super) fn sums(self, data_type: &Arrow) -> Option<bool> {
        match (self.kind, data_type) {
            (DatabaseKind::Sqlite, _) => None,
            // Sums of few digits have more there.
            (DatabaseKind::Postgresql, Arrow::Int16 | Arrow::Int32) => Some(false),
            (_, Arrow::Int16 | Arrow::Int32 | Arrow::Int64) => Some(true),
            (_, Arrow::Decimal128(..)) => Some(false),
            _ => None,
        }
    }
}

pub(super) fn is_whole(data_type: &Arrow) -> bool {
    whole_digits(data_type).is_some()
}

pub(super) fn whole_digits(data_type: &Arrow) -> Option<u32> {
    Some(match data_type {
        Arrow::Int8 | Arrow::UInt8 => 3,
        Arrow::Int16 | Arrow::UInt16 => 5,
        Arrow::Int32 | Arrow::UInt32 => 10,
        Arrow::Int64 => 19,
        Arrow::UInt64 => 20,
        _ => return None,
    })
}

/// How many a number has, without its point.
pub(super) fn digits(units: i128) -> u32 {
    units.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1)
}

/// PostgreSQL's, of the types that there are constants of.
fn type_name(data_type: &Arrow) -> Option<&'static str> {
    Some(match data_type {
        Arrow::Boolean => "bool",
        Arrow::Int16 => "int2",
        Arrow::Int32 => "int4",
        Arrow::Int64 => "int8",
        Arrow::Decimal128(..) => "numeric",
        Arrow::Utf8 => "text",
        Arrow::Binary => "bytea",
        Arrow::Date32 => "date",
        Arrow::Time64(TimeUnit::Microsecond) => "time",
        Arrow::Timestamp(TimeUnit::Microsecond, None) => "timestamp",
        Arrow::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamptz",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mariadb_computes_what_it_has_digits_for() {
        let dialect = Dialect { kind: DatabaseKind::Mariadb, utf8: true };
        let of = |whole, scale| Digits { whole, scale };
        // lineitem: price * (1 - discount) * (1 + tax)
        let less = dialect.calculated(of(1, 0), " - ", of(13, 2)).unwrap();
        assert_eq!(less, of(14, 2));
        let net = dialect.calculated(of(13, 2), " * ", less).unwrap();
        assert_eq!(dialect.calculated(net, " * ", less), Some(of(41, 6)));
        assert_eq!(dialect.calculated(of(55, 0), " * ", of(10, 1)), None);
        assert_eq!(dialect.calculated(of(1, 16), " * ", of(1, 15)), None);
        // Each part begins a word of its own.
        assert_eq!(dialect.calculated(of(45, 1), " * ", of(9, 1)), Some(of(54, 2)));
        assert_eq!(dialect.calculated(of(46, 10), " * ", of(9, 1)), None);
    }

    #[test]
    fn constants_are_said_only_where_they_exist() {
        let of = |kind| Dialect { kind, utf8: true };
        let year_0 = ScalarValue::Date32(Some(-719_163));
        assert!(of(DatabaseKind::Postgresql).constant(&year_0).is_some());
        assert!(of(DatabaseKind::Mariadb).constant(&year_0).is_none());
        let long = ScalarValue::Decimal128(Some(1_234_567_890_123_456), 20, 2);
        assert!(of(DatabaseKind::Mariadb).constant(&long).is_some());
        assert!(of(DatabaseKind::Sqlite).constant(&long).is_none());
        assert!(of(DatabaseKind::Sqlite).constant(&ScalarValue::TimestampMicrosecond(Some(0), None)).is_none());
        assert!(of(DatabaseKind::Postgresql).constant(&ScalarValue::UInt8(Some(1))).is_none());
    }
}
