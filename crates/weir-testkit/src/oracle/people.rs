//! Who is meant, and as whom she acts.

use std::collections::{BTreeMap, BTreeSet};

use weir_model::{AttributeKey, GroupName, Permission, Principal, PrincipalId, PrincipalSet, Project, Surroundings};
use weir_policy::Facts;
use weir_policy::ast::{Condition, Scope, Test};

use super::View;

/// What policies see of whoever asks: herself, or what all members of an equalized project have in common.
#[derive(Clone)]
pub(super) struct Me<'a> {
    pub(super) name: String,
    pub(super) iam: String,
    pub(super) groups: BTreeSet<GroupName>,
    attributes: BTreeMap<AttributeKey, BTreeSet<String>>,
    permissions: BTreeSet<Permission>,
    /// She owns and has what all of these own and have.
    people: Vec<&'a PrincipalId>,
    pub(super) project: Option<&'a Project>,
    pub(super) at_unix_ms: u64,
}

impl<'a> Me<'a> {
    /// `None` when she sees nothing in these surroundings.
    pub(super) fn new(facts: &'a Facts, principal: &PrincipalId, surroundings: &Surroundings) -> Option<Self> {
        let find = |id: &PrincipalId| facts.principals.iter().find(|p| p.id == *id);
        let herself = find(principal)?;
        let project = match &surroundings.project {
            None => None,
            Some(name) => {
                let project = facts.projects.iter().find(|project| project.name == *name)?;
                let promised = |purpose| project.acknowledged.contains(&(principal.clone(), purpose));
                if !project.members.contains(principal) || !project.purposes.iter().cloned().all(promised) {
                    return None;
                }
                Some(project)
            }
        };
        let (name, iam, members): (_, _, Vec<&Principal>) = match project.filter(|project| project.equalized) {
            Some(project) => {
                let members = project.members.iter().filter_map(find).collect();
                (project.name.to_string(), "(project)".to_owned(), members)
            }
            None => (herself.id.name().to_owned(), herself.id.iam().as_str().to_owned(), vec![herself]),
        };
        let has = |person: &Principal, key: &AttributeKey, value: &String| {
            person.attributes.get(key).is_some_and(|values| values.contains(value))
        };
        let mut attributes: BTreeMap<AttributeKey, BTreeSet<String>> = BTreeMap::new();
        for (key, value) in herself.attributes.iter().flat_map(|(key, all)| all.iter().map(move |v| (key, v))) {
            if members.iter().all(|member| has(member, key, value)) {
                attributes.entry(key.clone()).or_default().insert(value.clone());
            }
        }
        let groups = herself.groups.iter().filter(|g| members.iter().all(|m| m.groups.contains(*g))).cloned();
        let permissions = herself.permissions.iter().filter(|p| members.iter().all(|m| m.permissions.contains(*p)));
        Some(Self {
            name,
            iam,
            groups: groups.collect(),
            attributes,
            // Whoever is somebody else may do nothing to Weir itself.
            permissions: permissions.filter(|_| !surroundings.impersonated).copied().collect(),
            people: members.into_iter().map(|member| &member.id).collect(),
            project,
            at_unix_ms: surroundings.at_unix_ms,
        })
    }

    pub(super) fn all(&self, holds: impl FnMut(&PrincipalId) -> bool) -> bool {
        self.people.iter().copied().all(holds)
    }

    pub(super) fn purposes(&self) -> Vec<String> {
        self.project.iter().flat_map(|project| &project.purposes).map(ToString::to_string).collect()
    }

    pub(super) fn attribute(&self, key: &str) -> Vec<String> {
        self.attributes.get(key).into_iter().flatten().cloned().collect()
    }

    /// A value that ends in `.*` asks for any value below it.
    pub(super) fn has_attribute(&self, key: &str, value: &str) -> bool {
        let below = value.strip_suffix('*').filter(|parent| parent.ends_with('.'));
        let mine = self.attribute(key);
        mine.iter().any(|held| held == value || below.is_some_and(|parent| held.starts_with(parent)))
    }
}

pub(super) fn is_in(person: &Principal, set: &PrincipalSet) -> bool {
    match set {
        PrincipalSet::User(id) => person.id == *id,
        PrincipalSet::Group(group) => person.groups.iter().any(|mine| mine == group),
    }
}

impl View<'_> {
    pub(super) fn takes_in(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Everyone => true,
            Scope::EveryoneExcept(condition) => !self.meets(condition),
            Scope::Who(condition) => self.meets(condition),
        }
    }

    pub(super) fn meets(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Any(list) => list.iter().any(|c| self.meets(c)),
            Condition::All(list) => list.iter().all(|c| self.meets(c)),
            Condition::Test(test) => self.passes(test),
        }
    }

    fn passes(&self, test: &Test) -> bool {
        match test {
            Test::MemberOf(group) => self.me.groups.contains(&group.node),
            Test::HasAttribute { key, value } => self.me.has_attribute(key.node.as_str(), value),
            Test::Owner => self.me.all(|person| self.source.owners.contains(person)),
            Test::UnderPurpose(purpose) => self.acts_under(&purpose.node),
            Test::Permitted(permission) => self.me.permissions.contains(permission),
        }
    }
}
