//! For whom an item is.

use std::collections::{BTreeMap, BTreeSet};

use weir_model::GroupName;
use weir_policy::ast::{Condition, Predicate, Scope};

use crate::error::short;
use crate::make;
use crate::tree::{Fields, Node, Wrong};

/// The group of Ranger that everybody is in.
const PUBLIC: &str = "public";

/// Who is named by an item. Everybody who is surely meant is in `everyone`, `groups` or `users`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct People {
    pub(super) everyone: bool,
    pub(super) groups: BTreeSet<String>,
    pub(super) users: BTreeSet<String>,
    roles: BTreeSet<String>,
    /// Names that may mean anybody.
    pub(super) unsure: BTreeSet<String>,
}

impl People {
    pub(super) fn new(users: &[&str], groups: &[&str], roles: &[&str]) -> Self {
        let mut people = People::default();
        for user in users {
            if *user == "{USER}" {
                people.everyone = true;
            } else if is_name(user) {
                people.users.insert((*user).to_owned());
            } else {
                people.unsure.insert(format!("user `{}`", short(user)));
            }
        }
        for group in groups {
            if group.eq_ignore_ascii_case(PUBLIC) {
                people.everyone = true;
            } else if is_name(group) {
                people.groups.insert((*group).to_owned());
            } else {
                people.unsure.insert(format!("group `{}`", short(group)));
            }
        }
        people.roles = roles.iter().map(|role| (*role).to_owned()).collect();
        people
    }

    pub(super) fn all() -> Self {
        People { everyone: true, ..People::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.everyone && self.groups.is_empty() && self.users.is_empty() && self.unsure.is_empty()
    }

    /// Somebody who is surely meant.
    pub(super) fn names_somebody(&self) -> bool {
        self.everyone || !self.groups.is_empty() || !self.users.is_empty()
    }

    pub(super) fn add(&mut self, other: &People) {
        self.everyone |= other.everyone;
        self.groups.extend(other.groups.iter().cloned());
        self.users.extend(other.users.iter().cloned());
        self.unsure.extend(other.unsure.iter().cloned());
    }

    /// Those who are not surely meant by what comes before.
    pub(super) fn without(&self, before: &People) -> People {
        let mut people = self.clone();
        people.groups.retain(|group| !before.groups.contains(group));
        people.users.retain(|user| !before.users.contains(user));
        people
    }

    /// Everybody who may be meant.
    pub(super) fn at_least(&self) -> People {
        People { everyone: self.everyone || !self.unsure.is_empty(), unsure: BTreeSet::new(), ..self.clone() }
    }

    /// Everybody who is surely meant.
    pub(super) fn at_most(&self) -> People {
        People { unsure: BTreeSet::new(), ..self.clone() }
    }

    /// Whether a condition of Weir can say who they are: conditions know no users.
    fn condition(&self) -> Option<Option<Condition>> {
        if self.everyone || !self.users.is_empty() {
            return None;
        }
        let groups = self.groups.iter().map(|group| make::group(group)).collect::<Result<Vec<_>, _>>().ok()?;
        Some(make::any_of(groups))
    }

    pub(super) fn groups_condition(&self) -> Option<Condition> {
        make::any_of(self.groups.iter().filter_map(|group| make::group(group).ok()).collect())
    }

    /// Whether the person is one of them.
    pub(super) fn predicate(&self) -> Predicate {
        if self.everyone {
            return make::truth(true);
        }
        let groups = self.groups.iter().filter_map(|group| make::is_in_group(group).ok());
        make::or(groups.chain(self.users.iter().map(|user| make::is_user(user))).collect())
    }
}

/// A name that Weir takes, and that Ranger does not replace by another.
fn is_name(name: &str) -> bool {
    GroupName::new(name).is_ok() && !name.contains(['{', '}', '$', '*'])
}

/// A restriction for some people but not for others, as a scope and what has to hold besides.
pub(super) fn restricted(people: &People, except: &People) -> (Scope, Option<Predicate>) {
    let nobody = except.condition() == Some(None);
    match (people.everyone, people.condition(), except.condition()) {
        (true, _, Some(None)) => (Scope::Everyone, None),
        (true, _, Some(Some(except))) => (Scope::EveryoneExcept(except), None),
        (false, Some(Some(people)), _) if nobody => (Scope::Who(people), None),
        (_, _, _) => {
            let mut parts = vec![people.predicate()];
            if !nobody {
                parts.push(make::not(except.predicate()));
            }
            (Scope::Everyone, Some(make::and(parts)))
        }
    }
}

/// The roles of an export with their members.
#[derive(Default)]
pub(super) struct Roles {
    members: BTreeMap<String, People>,
}

impl Roles {
    /// Reads a role: its members are objects with a name.
    pub(super) fn read(&mut self, node: &Node, path: &str) -> Result<(), Wrong> {
        let mut fields = Fields::new(node, path)?;
        let Some(name) = fields.text("name")? else {
            return Err((fields.path_of("name"), "the role has no name".to_owned()));
        };
        let mut names = |key: &'static str| -> Result<Vec<&str>, Wrong> {
            let mut names = Vec::new();
            for (path, member) in fields.list(key)? {
                match Fields::new(member, &path)?.text("name")? {
                    Some(name) => names.push(name),
                    None => return Err((path, "the member has no name".to_owned())),
                }
            }
            Ok(names)
        };
        let (users, groups, roles) = (names("users")?, names("groups")?, names("roles")?);
        let members = People::new(&users, &groups, &roles);
        if self.members.insert(name.to_owned(), members).is_some() {
            return Err((path.to_owned(), format!("the role `{}` is there twice", short(name))));
        }
        Ok(())
    }

    /// Replaces the roles of people by their members. A role without members in the import may be anybody.
    pub(super) fn expand(&self, people: &mut People) {
        let mut waiting: Vec<String> = std::mem::take(&mut people.roles).into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(role) = waiting.pop() {
            if !seen.insert(role.clone()) {
                continue;
            }
            match self.members.get(&role) {
                Some(members) => {
                    people.add(members);
                    waiting.extend(members.roles.iter().cloned());
                }
                None => {
                    people.unsure.insert(format!("role `{}`, whose members are not in the import", short(&role)));
                }
            }
        }
    }
}
