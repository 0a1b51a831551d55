//! Projects, compiled: what a member sees through one.

use std::collections::{BTreeMap, BTreeSet};

use weir_model::{DataSource, Principal, PrincipalId, Project, ProjectName, PurposeName, SourceId};

use super::person::{Bits, Person, Values};
use super::vocabulary::Vocabulary;
use crate::decision::DenyReason;

#[derive(Debug)]
pub(crate) struct InProject {
    pub(crate) name: ProjectName,
    pub(crate) sources: BTreeSet<SourceId>,
    /// Each member, and the purpose that she has not acknowledged, if there is one.
    members: BTreeMap<PrincipalId, Option<PurposeName>>,
    pub(crate) purposes_named: Vec<PurposeName>,
    /// The same, for comparing with values of rows.
    pub(crate) purposes: Values,
    /// By number of the vocabulary: acting under the purpose or one below it.
    pub(crate) purpose_tests: Bits,
    pub(crate) masked_joins: bool,
    pub(crate) equalized: Option<Equalized>,
}

/// Who every member of an equalized project acts as: somebody who has what all of them have.
#[derive(Debug)]
pub(crate) struct Equalized {
    pub(crate) person: Person,
    pub(crate) owns: BTreeSet<SourceId>,
}

impl InProject {
    pub(crate) fn new(
        project: &Project,
        people: &BTreeMap<PrincipalId, Person>,
        sources: &[DataSource],
        vocabulary: &Vocabulary,
    ) -> Self {
        let members = project.members.iter().filter(|member| people.contains_key(member));
        let missing = |member: &PrincipalId| {
            let promised =
                |purpose: &&PurposeName| !project.acknowledged.contains(&(member.clone(), (*purpose).clone()));
            project.purposes.iter().find(promised).cloned()
        };
        let tests = vocabulary
            .purposes()
            .filter(|(asked, _)| project.purposes.iter().any(|purpose| asked.covers(purpose)))
            .map(|(_, number)| number);
        let members: BTreeMap<_, _> = members.map(|member| (member.clone(), missing(member))).collect();
        Self {
            name: project.name.clone(),
            sources: project.sources.clone(),
            purposes_named: project.purposes.iter().cloned().collect(),
            purposes: Values::new(project.purposes.iter().map(ToString::to_string)),
            purpose_tests: Bits::new(vocabulary.purposes().count(), tests),
            masked_joins: project.masked_joins,
            equalized: project.equalized.then(|| equalize(project, &members, people, sources, vocabulary)),
            members,
        }
    }

    /// Why `member` sees nothing through the project, if so.
    pub(crate) fn closed_to(&self, member: &PrincipalId) -> Option<DenyReason> {
        match self.members.get(member) {
            Some(None) => None,
            Some(Some(purpose)) => Some(DenyReason::NotAcknowledged { purpose: purpose.clone() }),
            None => Some(DenyReason::NoSuchProject),
        }
    }

    /// Whether all members are among `people`.
    pub(crate) fn all_are(&self, people: &BTreeSet<PrincipalId>) -> bool {
        !self.members.is_empty() && self.members.keys().all(|member| people.contains(member))
    }
}

fn equalize(
    project: &Project,
    members: &BTreeMap<PrincipalId, Option<PurposeName>>,
    people: &BTreeMap<PrincipalId, Person>,
    sources: &[DataSource],
    vocabulary: &Vocabulary,
) -> Equalized {
    let mut members_known = members.keys().filter_map(|member| people.get(member)).map(|person| &person.principal);
    let mut common =
        members_known.next().cloned().map(|first| Principal { id: PrincipalId::stand_in(&project.name), ..first });
    if let Some(common) = &mut common {
        for other in members_known {
            common.groups.retain(|group| other.groups.contains(group));
            common.permissions.retain(|permission| other.permissions.contains(permission));
            common.attributes.retain(|key, values| {
                values.retain(|value| other.attributes.get(key).is_some_and(|theirs| theirs.contains(value)));
                !values.is_empty()
            });
        }
    }
    let owned_by_all = |source: &&DataSource| members.keys().all(|member| source.owners.contains(member));
    Equalized {
        owns: sources.iter().filter(owned_by_all).map(|source| source.id).collect(),
        person: Person::new(
            common.unwrap_or_else(|| Principal::bare(PrincipalId::stand_in(&project.name))),
            vocabulary,
        ),
    }
}
