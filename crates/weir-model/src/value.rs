use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A literal in a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    Null,
    Boolean(bool),
    Int(i64),
    /// A number with a point or exponent, kept as written so that decimals lose nothing.
    Number(String),
    Text(String),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01T00:00:00, without a zone.
    Timestamp(i64),
}

/// As SQL writes it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("NULL"),
            Value::Boolean(true) => f.write_str("TRUE"),
            Value::Boolean(false) => f.write_str("FALSE"),
            Value::Int(n) => n.fmt(f),
            Value::Number(n) => f.write_str(n),
            Value::Text(t) => write!(f, "'{}'", t.replace('\'', "''")),
            Value::Date(days) => {
                write!(f, "DATE '{}'", date(*days).map_or_else(|| days.to_string(), |d| d.to_string()))
            }
            Value::Timestamp(us) => {
                let text = chrono::DateTime::from_timestamp_micros(*us)
                    .map_or_else(|| us.to_string(), |t| t.naive_utc().format("%Y-%m-%d %H:%M:%S%.f").to_string());
                write!(f, "TIMESTAMP '{text}'")
            }
        }
    }
}

fn date(days: i32) -> Option<chrono::NaiveDate> {
    chrono::NaiveDate::from_ymd_opt(1970, 1, 1)?.checked_add_signed(chrono::Duration::days(i64::from(days)))
}

/// Texts held by reference, so that a decision over a thousand attribute values copies none of them.
/// Sorted, without duplicates.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ValueSet(Arc<[String]>);

impl ValueSet {
    pub fn new(values: impl IntoIterator<Item = String>) -> Self {
        let mut values: Vec<String> = values.into_iter().collect();
        values.sort_unstable();
        values.dedup();
        Self(values.into())
    }

    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, value: &str) -> bool {
        self.0.binary_search_by(|v| v.as_str().cmp(value)).is_ok()
    }
}
