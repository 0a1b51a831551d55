//! Projects, compiled: what a member sees through one.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_model::{DataSource, Principal, PrincipalId, Project, PurposeName};

use super::mark::{Marks, acted_under};
use super::person::{Person, Values};
use crate::decision::DenyReason;

#[derive(Debug)]
pub(crate) struct InProject {
    pub(crate) project: Project,
    /// Each member who is known, and the purpose that she has not acknowledged, if there is one.
    members: BTreeMap<PrincipalId, Option<PurposeName>>,
    /// The purposes, for comparing with values of rows.
    pub(crate) purposes: Values,
    /// Acting under the purpose or one below it.
    pub(crate) purpose_tests: Marks,
    /// Who every member of an equalized project acts as: somebody who has what all of them have.
    pub(crate) equalized: Option<Person>,
}

impl InProject {
    /// `known` says who is.
    pub(crate) fn new(project: Project, known: impl Fn(&PrincipalId) -> Option<Arc<Person>>) -> Self {
        let people: Vec<Arc<Person>> = project.members.iter().filter_map(known).collect();
        let missing = |member: &PrincipalId| {
            let promised =
                |purpose: &&PurposeName| !project.acknowledged.contains(&(member.clone(), (*purpose).clone()));
            project.purposes.iter().find(promised).cloned()
        };
        let ids = people.iter().map(|person| &person.principal.id);
        Self {
            members: ids.map(|member| (member.clone(), missing(member))).collect(),
            purposes: Values::new(project.purposes.iter().map(ToString::to_string)),
            purpose_tests: acted_under(project.purposes.iter()),
            equalized: project.equalized.then(|| equalize(&project, &people)),
            project,
        }
    }

    /// Whether an equalized project is an owner: all members are.
    pub(crate) fn owns(&self, source: &DataSource) -> bool {
        self.members.keys().all(|member| source.owners.contains(member))
    }

    /// Why `member` sees nothing through the project, if so.
    pub(crate) fn closed_to(&self, member: &PrincipalId) -> Option<DenyReason> {
        match self.members.get(member) {
            Some(None) => None,
            Some(Some(purpose)) => Some(DenyReason::NotAcknowledged { purpose: purpose.clone() }),
            None => Some(DenyReason::NoSuchProject),
        }
    }

    /// Whether all members are such, and there are any.
    pub(crate) fn all_are(&self, is_one: impl Fn(&PrincipalId) -> bool) -> bool {
        !self.members.is_empty() && self.members.keys().all(is_one)
    }
}

fn equalize(project: &Project, members: &[Arc<Person>]) -> Person {
    let mut members = members.iter().map(|person| &person.principal);
    let mut common =
        members.next().cloned().map(|first| Principal { id: PrincipalId::stand_in(&project.name), ..first });
    if let Some(common) = &mut common {
        for other in members {
            common.groups.retain(|group| other.groups.contains(group));
            common.permissions.retain(|permission| other.permissions.contains(permission));
            common.attributes.retain(|key, values| {
                values.retain(|value| other.attributes.get(key).is_some_and(|theirs| theirs.contains(value)));
                !values.is_empty()
            });
        }
    }
    Person::new(common.unwrap_or_else(|| Principal::bare(PrincipalId::stand_in(&project.name))))
}
