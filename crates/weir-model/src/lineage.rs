use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::{ColumnId, SourceId};

/// What a data source was made from: the policies of its parents hold for it too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// Never empty where a source is registered as derived.
    pub parents: BTreeSet<SourceId>,
    /// By own column. A column that is not here is computed from every column of every parent.
    pub columns: BTreeMap<ColumnId, Origin>,
    /// What decided which rows there are, and in which order: every column tells of these, but for its copies.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub conditions: BTreeSet<ParentColumn>,
    /// The fingerprint of what was seen of a parent when the rows were written from it. Whoever sees just that of it
    /// could have written them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub seen: BTreeMap<SourceId, [u8; 32]>,
}

/// Where the values of a column come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The value that each of these columns has in every row of its source that the row was made from. Nested columns
    /// are copied with all that is in them.
    Copied(BTreeSet<ParentColumn>),
    /// Anything that these columns tell.
    Computed(BTreeSet<ParentColumn>),
}

impl Origin {
    pub fn from(&self) -> &BTreeSet<ParentColumn> {
        match self {
            Origin::Copied(from) | Origin::Computed(from) => from,
        }
    }
}

/// A column of a parent, with all that is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ParentColumn {
    pub source: SourceId,
    pub column: ColumnId,
}
