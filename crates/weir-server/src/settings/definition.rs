//! The definitions in `settings.def.toml` and what a text must look like to be a value of one.

use std::sync::LazyLock;

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

const TEXT: &str = include_str!("../settings.def.toml");

/// One setting.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Definition {
    pub(crate) key: String,
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    pub(super) default: Option<String>,
    pub(crate) doc: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Path,
    /// `host:port`
    Address,
    Boolean,
    LogFilter,
    Integer {
        min: usize,
        max: usize,
    },
    /// Bytes, as a number or with a unit.
    Bytes {
        min: usize,
        max: usize,
    },
}

/// A value that fits its definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Boolean(bool),
    Number(usize),
}

static DEFINITIONS: LazyLock<Result<Vec<Definition>, toml::de::Error>> = LazyLock::new(|| {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        setting: Vec<Definition>,
    }
    toml::from_str::<File>(TEXT).map(|file| file.setting)
});

/// All settings, in the order of the file. A test holds that the file is well formed.
pub(crate) fn definitions() -> &'static [Definition] {
    DEFINITIONS.as_deref().unwrap_or_default()
}

impl Definition {
    /// `sql.address` is `WEIR_SQL_ADDRESS`.
    pub(crate) fn variable(&self) -> String {
        format!("WEIR_{}", self.key.to_uppercase().replace('.', "_"))
    }

    /// Reads a value as an environment variable or flag gives it.
    pub(super) fn parse(&self, text: &str) -> Result<Value, String> {
        let key = &self.key;
        let wrong = |must: String| format!("`{key}` is `{text}` and must be {must}");
        match &self.kind {
            Kind::Path => match text {
                "" => Err(format!("`{key}` is empty")),
                _ => Ok(Value::Text(text.to_owned())),
            },
            Kind::Address => match text.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                    Ok(Value::Text(text.to_owned()))
                }
                _ => Err(wrong("a host and a port such as `127.0.0.1:5433`".to_owned())),
            },
            Kind::Boolean => match text {
                "true" => Ok(Value::Boolean(true)),
                "false" => Ok(Value::Boolean(false)),
                _ => Err(wrong("`true` or `false`".to_owned())),
            },
            Kind::LogFilter => match EnvFilter::try_new(text) {
                Ok(_) => Ok(Value::Text(text.to_owned())),
                Err(_) => Err(wrong("a level such as `info`, or a list such as `info,weir_query=debug`".to_owned())),
            },
            Kind::Integer { min, max } => match text.parse() {
                Ok(n) if (*min..=*max).contains(&n) => Ok(Value::Number(n)),
                _ => Err(wrong(format!("a whole number from {min} to {max}"))),
            },
            Kind::Bytes { min, max } => match bytes(text) {
                Some(n) if (*min..=*max).contains(&n) => Ok(Value::Number(n)),
                _ => Err(wrong(format!("a size from {} to {}", Bytes(*min), Bytes(*max)))),
            },
        }
    }

    /// The value in words that [`Self::parse`] reads.
    pub(super) fn print(&self, value: &Value) -> String {
        match (value, &self.kind) {
            (Value::Number(n), Kind::Bytes { .. }) => Bytes(*n).to_string(),
            (Value::Number(n), _) => n.to_string(),
            (Value::Text(text), _) => text.clone(),
            (Value::Boolean(b), _) => b.to_string(),
        }
    }

    /// The kind in words.
    pub(super) fn type_text(&self) -> String {
        match &self.kind {
            Kind::Path => "path".to_owned(),
            Kind::Address => "address".to_owned(),
            Kind::Boolean => "boolean".to_owned(),
            Kind::LogFilter => "log filter".to_owned(),
            Kind::Integer { min, max } => format!("whole number, {min} to {max}"),
            Kind::Bytes { min, max } => format!("size, {} to {}", Bytes(*min), Bytes(*max)),
        }
    }
}

const UNITS: [(&str, usize); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)];

/// `2 GiB`, `512MiB`, `1048576`
fn bytes(text: &str) -> Option<usize> {
    let (number, factor) = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    number.trim_end().parse::<usize>().ok()?.checked_mul(*factor)
}

struct Bytes(usize);

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match UNITS.iter().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor)) {
            Some((unit, factor)) if *factor > 1 => write!(f, "{} {unit}", self.0 / factor),
            _ => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_well_formed() {
        let definitions = DEFINITIONS.as_ref().unwrap();
        assert!(!definitions.is_empty());
        for definition in definitions {
            assert!(definition.doc.ends_with('.'), "{} has no sentence", definition.key);
            if let Some(default) = &definition.default {
                let value = definition.parse(default).unwrap();
                assert_eq!(definition.parse(&definition.print(&value)).unwrap(), value);
            }
        }
        let keys: std::collections::BTreeSet<_> = definitions.iter().map(|d| &d.key).collect();
        assert_eq!(keys.len(), definitions.len(), "a key is defined twice");
    }

    #[test]
    fn sizes_read_with_and_without_units() {
        assert_eq!(bytes("2 GiB"), Some(2 << 30));
        assert_eq!(bytes("512MiB"), Some(512 << 20));
        assert_eq!(bytes("7"), Some(7));
        assert_eq!(bytes("2 GB"), None);
        assert_eq!(bytes("99999999999999 GiB"), None);
    }
}
