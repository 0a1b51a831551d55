//! Everything a decision may depend on, as the store keeps it.

use std::collections::BTreeSet;

use weir_model::{DataSource, Epoch, PolicyId, Principal, PrincipalId, SourceId};

use crate::ast::Policy;

/// The whole state at one epoch. Order in the vectors does not matter.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub epoch: Option<Epoch>,
    pub principals: Vec<Principal>,
    pub sources: Vec<DataSource>,
    pub policies: Vec<StoredPolicy>,
    /// People selected one by one, by an owner or a governor.
    pub selected: BTreeSet<(SourceId, PrincipalId)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct StoredPolicy {
    pub id: PolicyId,
    pub policy: Policy,
}
