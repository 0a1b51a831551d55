//! Who is meant.

use weir_policy::ast::{Condition, Scope, Test};

use super::Oracle;

impl Oracle<'_> {
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
            Test::MemberOf(group) => self.principal.groups.contains(&group.node),
            Test::HasAttribute { key, value } => {
                self.principal.attributes.get(&key.node).is_some_and(|values| values.contains(value))
            }
            Test::Owner => self.source.owners.contains(&self.principal.id),
            // Nobody acts under a purpose yet.
            Test::UnderPurpose(_) => false,
        }
    }
}
