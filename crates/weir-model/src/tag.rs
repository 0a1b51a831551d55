use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::InvalidName;
use crate::names::GroupName;

/// A dotted label on a data source or column, such as `PII.SSN`. A parent covers its descendants, part by whole part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(String);

impl Tag {
    pub fn new(tag: impl Into<String>) -> Result<Self, InvalidName> {
        let tag = tag.into();
        // The rules for a tag's parts are those for every name.
        for part in tag.split('.') {
            GroupName::new(part)?;
        }
        Ok(Self(tag))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many parts the tag has; a deeper tag is more specific.
    pub fn depth(&self) -> usize {
        self.0.split('.').count()
    }

    /// Whether `other` is this tag or one of its descendants. `PII` covers `PII.SSN`, not `PIIX`.
    pub fn covers(&self, other: &Tag) -> bool {
        other.0.strip_prefix(&self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Tag {
    type Err = InvalidName;
    fn from_str(tag: &str) -> Result<Self, InvalidName> {
        Self::new(tag)
    }
}

impl TryFrom<String> for Tag {
    type Error = InvalidName;
    fn try_from(tag: String) -> Result<Self, InvalidName> {
        Self::new(tag)
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> String {
        tag.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_covers_descendants_by_whole_parts() {
        let tag = |t: &str| Tag::new(t).unwrap();
        assert!(tag("PII").covers(&tag("PII")));
        assert!(tag("PII").covers(&tag("PII.SSN")));
        assert!(!tag("PII").covers(&tag("PIIX")));
        assert!(!tag("PII.SSN").covers(&tag("PII")));
        assert!(Tag::new("PII..SSN").is_err());
    }
}
