//! Everything a decision may depend on, as the store keeps it.

use std::collections::BTreeSet;

use weir_model::{DataSource, Epoch, Impersonation, PolicyId, PolicyKey, Principal, PrincipalId, Project, SourceId};

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
    /// People whose request was approved by all whom the policy asks, and has not run out.
    pub approved: BTreeSet<(PolicyId, SourceId, PrincipalId)>,
    /// Policies that an owner chose for a source.
    pub chosen: BTreeSet<(PolicyKey, SourceId)>,
    pub projects: Vec<Project>,
    pub impersonations: BTreeSet<Impersonation>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct StoredPolicy {
    pub id: PolicyId,
    pub policy: Policy,
}
