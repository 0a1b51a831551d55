//! A set of policies that belongs together, and how it differs from what is stored.

use std::collections::{BTreeMap, BTreeSet};

use weir_model::{PolicyId, PolicyKey};
use weir_policy::ast::Policy;
use weir_policy::check::check;
use weir_policy::{Diagnostic, Facts, StoredPolicy, language};

use crate::Text;
use crate::world::World;

/// The policies of some texts, with all that is wrong with them.
#[derive(Clone, Debug)]
pub struct PolicySet {
    pub texts: Vec<Text>,
    /// In the order written.
    pub policies: Vec<Policy>,
    /// By text, in the order written.
    pub findings: Vec<Finding>,
}

/// Something wrong or doubtful.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which of [`PolicySet::texts`].
    pub text: usize,
    pub diagnostic: Diagnostic,
}

/// What makes the stored policies those of a set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// New ones and those that differ, in the order written.
    pub put: Vec<Policy>,
    pub remove: Vec<PolicyKey>,
    /// Stored policies that are not in the set and stay.
    pub left_alone: Vec<PolicyKey>,
}

impl PolicySet {
    /// Reads all texts; with facts, names and types are checked against them. Nothing is left out for something that is
    /// wrong elsewhere.
    pub fn new(texts: Vec<Text>, facts: Option<&Facts>) -> Self {
        let (mut policies, mut findings): (Vec<Policy>, Vec<Finding>) = (Vec::new(), Vec::new());
        let mut first_in: BTreeMap<PolicyKey, usize> = BTreeMap::new();
        for (text, Text { text: content, .. }) in texts.iter().enumerate() {
            let parsed = language::parse(content);
            let mut found = parsed.diagnostics;
            for policy in parsed.policies {
                let first = *first_in.entry(policy.key.clone()).or_insert(text);
                // The parser says so itself of two in one text.
                if first != text {
                    let place = texts.get(first).map_or("", |text| text.name.as_str());
                    let message = format!("the key `{}` is taken: another policy in {place} has it", policy.key);
                    found.push(Diagnostic::error("policy::duplicate-key", message));
                }
                if let Some(facts) = facts {
                    found.extend(check(&policy, facts));
                }
                policies.push(policy);
            }
            findings.extend(found.into_iter().map(|diagnostic| Finding { text, diagnostic }));
        }
        Self { texts, policies, findings }
    }

    /// How many of the texts have an error, for which nothing of the set may be used.
    pub fn wrong(&self) -> usize {
        let wrong =
            |text: &usize| self.findings.iter().any(|finding| finding.text == *text && finding.diagnostic.is_error());
        (0..self.texts.len()).filter(wrong).count()
    }

    /// What makes the stored policies those of the set. With `prune`, those that are not in it are removed.
    pub fn changes(&self, stored: &[StoredPolicy], prune: bool) -> Changes {
        let known: BTreeMap<&PolicyKey, &Policy> =
            stored.iter().map(|known| (&known.policy.key, &known.policy)).collect();
        let mine: BTreeSet<&PolicyKey> = self.policies.iter().map(|policy| &policy.key).collect();
        let differs = |policy: &&Policy| known.get(&policy.key).is_none_or(|known| **known != **policy);
        let put = self.policies.iter().filter(differs).cloned().collect();
        let others = known.into_keys().filter(|key| !mine.contains(key)).cloned().collect();
        match prune {
            true => Changes { put, remove: others, left_alone: Vec::new() },
            false => Changes { put, remove: Vec::new(), left_alone: others },
        }
    }
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.remove.is_empty()
    }

    /// The facts with the changes made, for worlds without a store: a policy that is replaced keeps its age, and a new one
    /// is younger than all others.
    pub fn onto(&self, mut facts: Facts) -> Facts {
        let mut policies = facts.policies.clone();
        // Numbers of policies that are gone are not used again.
        let mut next = policies.iter().map(|stored| stored.id.0).max().unwrap_or(0);
        policies.retain(|stored| !self.remove.contains(&stored.policy.key));
        facts.chosen.retain(|(key, _)| !self.remove.contains(key));
        for policy in &self.put {
            if let Some(stored) = policies.iter_mut().find(|stored| stored.policy.key == policy.key) {
                stored.policy = policy.clone();
            } else {
                next += 1;
                policies.push(StoredPolicy { id: PolicyId(next), policy: policy.clone() });
            }
        }
        World::from(facts).with(policies)
    }
}
