use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::names::{AttributeKey, GroupName, InvalidName, ProjectName};

/// An identity manager. The same user name in two of them is two principals.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IamId(String);

impl IamId {
    pub fn new(id: impl Into<String>) -> Result<Self, InvalidName> {
        // Same rules as for a group, and no colon: that is what parts it from the name.
        let id: String = GroupName::new(id)?.into();
        if id.contains(':') {
            Err(InvalidName::new("identity manager", id, "has a colon"))
        } else if id.starts_with('(') {
            Err(InvalidName::new("identity manager", id, "starts with a parenthesis"))
        } else {
            Ok(Self(id))
        }
    }

    /// The identity manager that is part of Weir.
    pub fn builtin() -> Self {
        Self("weir".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for IamId {
    type Error = InvalidName;
    fn try_from(id: String) -> Result<Self, InvalidName> {
        Self::new(id)
    }
}

impl From<IamId> for String {
    fn from(id: IamId) -> String {
        id.0
    }
}

impl fmt::Display for IamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who: a name within an identity manager. Printed as the name alone for the built-in one, else as `iam:name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PrincipalId {
    iam: IamId,
    name: String,
}

impl PrincipalId {
    pub fn new(iam: IamId, name: impl Into<String>) -> Result<Self, InvalidName> {
        Ok(Self { iam, name: GroupName::new(name)?.into() })
    }

    /// A user of the built-in identity manager.
    pub fn builtin(name: impl Into<String>) -> Result<Self, InvalidName> {
        Self::new(IamId::builtin(), name)
    }

    /// Who stands for all members of a project: nobody, of an identity manager that no name can be of.
    pub fn stand_in(project: &ProjectName) -> Self {
        Self { iam: IamId("(project)".to_owned()), name: project.as_str().to_owned() }
    }

    pub fn iam(&self) -> &IamId {
        &self.iam
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.iam == IamId::builtin() && !self.name.contains(':') {
            f.write_str(&self.name)
        } else {
            write!(f, "{}:{}", self.iam, self.name)
        }
    }
}

impl FromStr for PrincipalId {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.split_once(':') {
            Some((iam, name)) => Self::new(IamId::new(iam)?, name),
            None => Self::builtin(text),
        }
    }
}

impl TryFrom<String> for PrincipalId {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<PrincipalId> for String {
    fn from(id: PrincipalId) -> String {
        id.to_string()
    }
}

/// A right over Weir itself. None of them lets its holder read data: that takes a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// Write policies that hold for every data source.
    Governance,
    /// Create users, groups and attributes.
    UserAdmin,
    /// Register data sources.
    CreateDataSource,
    /// Read the audit log.
    Audit,
    /// Create projects, and approve their purposes.
    ProjectManagement,
    /// Turn values that are masked with reversibility back.
    Unmask,
}

impl Permission {
    pub const ALL: [Permission; 6] = [
        Permission::Governance,
        Permission::UserAdmin,
        Permission::CreateDataSource,
        Permission::Audit,
        Permission::ProjectManagement,
        Permission::Unmask,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Permission::Governance => "governance",
            Permission::UserAdmin => "user-admin",
            Permission::CreateDataSource => "create-data-source",
            Permission::Audit => "audit",
            Permission::ProjectManagement => "project-management",
            Permission::Unmask => "unmask",
        }
    }
}

/// A verified identity with what policies may ask of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    pub id: PrincipalId,
    #[serde(default)]
    pub groups: BTreeSet<GroupName>,
    /// Key to the set of values; a set is never empty.
    #[serde(default)]
    pub attributes: BTreeMap<AttributeKey, BTreeSet<String>>,
    #[serde(default)]
    pub permissions: BTreeSet<Permission>,
}

impl Principal {
    /// Nobody in particular: no groups, attributes or permissions.
    pub fn bare(id: PrincipalId) -> Self {
        Self { id, groups: BTreeSet::new(), attributes: BTreeMap::new(), permissions: BTreeSet::new() }
    }
}

/// Leave for one principal to act as others. It lends what the others see and nothing else: under impersonation nobody
/// has a permission.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Impersonation {
    pub actor: PrincipalId,
    pub target: PrincipalSet,
}

/// One principal, or all members of a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrincipalSet {
    User(PrincipalId),
    Group(GroupName),
}

impl PrincipalSet {
    pub fn contains(&self, principal: &Principal) -> bool {
        match self {
            PrincipalSet::User(id) => principal.id == *id,
            PrincipalSet::Group(group) => principal.groups.contains(group),
        }
    }
}

impl fmt::Display for PrincipalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PrincipalSet::User(user) => write!(f, "user `{user}`"),
            PrincipalSet::Group(group) => write!(f, "group `{group}`"),
        }
    }
}

/// Who asks, and for whom. Policy looks at `effective` only; audit keeps both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Whose credential was verified.
    pub authenticated: PrincipalId,
    /// Whose rights hold; differs from `authenticated` under impersonation only.
    pub effective: PrincipalId,
}

impl Actor {
    pub fn itself(id: PrincipalId) -> Self {
        Self { authenticated: id.clone(), effective: id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_the_name_of_a_stand_in() {
        let stand_in = PrincipalId::stand_in(&ProjectName::new("study").unwrap());
        assert_eq!((stand_in.iam().as_str(), stand_in.name()), ("(project)", "study"));
        assert!(IamId::new("(project)").is_err());
        assert!(stand_in.to_string().parse::<PrincipalId>().is_err());
    }
}
