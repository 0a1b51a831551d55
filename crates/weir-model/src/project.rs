use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::SourceId;
use crate::names::{ProjectName, PurposeName};
use crate::principal::PrincipalId;

/// People who use some data sources together, for stated purposes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    pub name: ProjectName,
    #[serde(default)]
    pub members: BTreeSet<PrincipalId>,
    #[serde(default)]
    pub sources: BTreeSet<SourceId>,
    /// The approved ones; others have no effect and are not here.
    #[serde(default)]
    pub purposes: BTreeSet<PurposeName>,
    /// Which member promised to keep to which purpose. Who has not promised all of them sees nothing in the project.
    #[serde(default)]
    pub acknowledged: BTreeSet<(PrincipalId, PurposeName)>,
    /// Every member acts with what all members have in common.
    #[serde(default)]
    pub equalized: bool,
    /// Hash masks of all its sources use one key, so that equal values join.
    #[serde(default)]
    pub masked_joins: bool,
    /// The schema in which members write tables. Absent: they write none.
    #[serde(default)]
    pub workspace: Option<String>,
}

/// What besides the principal a decision depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Surroundings {
    /// In which project the principal acts; in none outside of projects.
    pub project: Option<ProjectName>,
    /// Somebody else acts as the principal, who then has no permission.
    pub impersonated: bool,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub at_unix_ms: u64,
}
