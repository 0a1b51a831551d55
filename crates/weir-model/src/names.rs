use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest name of any kind, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// A name that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} `{name}` {why}")]
pub struct InvalidName {
    kind: &'static str,
    name: String,
    why: &'static str,
}

impl InvalidName {
    pub(crate) fn new(kind: &'static str, name: String, why: &'static str) -> Self {
        Self { kind, name, why }
    }
}

fn checked(kind: &'static str, name: &str) -> Result<(), InvalidName> {
    let why = if name.is_empty() {
        "is empty"
    } else if name.len() > NAME_BYTES_MAX {
        "is longer than 255 bytes"
    } else if name.chars().any(char::is_control) {
        "has a control character"
    } else if name.trim() != name {
        "starts or ends with a space"
    } else {
        return Ok(());
    };
    let name = name.chars().filter(|c| !c.is_control()).take(64).collect();
    Err(InvalidName { kind, name, why })
}

/// Names are held by reference: what speaks of a column or a group copies no text.
macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks length and characters.
            pub fn new(name: impl Into<String>) -> Result<Self, InvalidName> {
                let name = name.into();
                checked($kind, &name)?;
                Ok(Self(name.into()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(name: &str) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(name: String) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.as_str().to_owned()
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_name!(
    /// A column as queries name it. Case matters.
    ColumnName, "column name"
);
text_name!(
    /// A remote database that data sources are in. Case matters.
    ConnectionName, "connection name"
);
text_name!(
    /// A group of principals. Case matters.
    GroupName, "group name"
);
text_name!(
    /// The key of an attribute such as `nation`; dots make a hierarchy.
    AttributeKey, "attribute key"
);
text_name!(
    /// A project in which principals act.
    ProjectName, "project name"
);
text_name!(
    /// Why data is used; dots make a hierarchy.
    PurposeName, "purpose name"
);
text_name!(
    /// The stable key of a policy, by which it is replaced and removed.
    PolicyKey, "policy key"
);

impl PurposeName {
    /// Whether acting under `other` is acting under this purpose: it is this one or below it, by whole parts.
    pub fn covers(&self, other: &PurposeName) -> bool {
        other.as_str().strip_prefix(self.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// `schema.table`, as queries name a data source. Case matters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SourceName {
    schema: String,
    table: String,
}

impl SourceName {
    pub fn new(schema: impl Into<String>, table: impl Into<String>) -> Result<Self, InvalidName> {
        let (schema, table) = (schema.into(), table.into());
        for part in [&schema, &table] {
            checked("data source name", part)?;
            if part.contains('.') {
                return Err(InvalidName {
                    kind: "data source name",
                    name: part.clone(),
                    why: "has a dot in one of its parts",
                });
            }
        }
        Ok(Self { schema, table })
    }

    pub fn schema(&self) -> &str {
        &self.schema
    }

    pub fn table(&self) -> &str {
        &self.table
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

impl FromStr for SourceName {
    type Err = InvalidName;
    fn from_str(name: &str) -> Result<Self, InvalidName> {
        match name.split_once('.') {
            Some((schema, table)) => Self::new(schema, table),
            None => Err(InvalidName {
                kind: "data source name",
                name: name.to_owned(),
                why: "is not of the form `schema.table`",
            }),
        }
    }
}

impl TryFrom<String> for SourceName {
    type Error = InvalidName;
    fn try_from(name: String) -> Result<Self, InvalidName> {
        name.parse()
    }
}

impl From<SourceName> for String {
    fn from(name: SourceName) -> String {
        name.to_string()
    }
}
