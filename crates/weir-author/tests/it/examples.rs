//! The worked examples are right, and what their pages show is what the program says.

use std::path::PathBuf;

use weir_author::case::Suite;
use weir_author::world::World;
use weir_author::{PolicySet, policy_texts};
use weir_policy::Severity;

use crate::root;

fn folder(name: &str) -> PathBuf {
    root().join("examples").join(name)
}

#[test]
fn the_cases_of_the_examples_hold() {
    for (name, cases) in [("hospital", 11), ("bank", 7)] {
        let parts = ["policies", "cases", &format!("{name}.world")].map(|part| folder(name).join(part));
        let suite = Suite::find(&parts).unwrap();
        let summary = suite.run(None, None).unwrap();
        assert!(summary.failed.is_empty(), "{name}\n{summary}");
        assert_eq!(summary.passed, cases, "{name}");
    }
}

#[test]
fn the_policies_of_the_examples_fit_their_worlds() {
    for (name, policies) in [("hospital", 17), ("bank", 13)] {
        let world = std::fs::read_to_string(folder(name).join(format!("{name}.world"))).unwrap();
        let facts = World::parse(&world).unwrap().facts;
        let set = PolicySet::new(policy_texts(&[folder(name).join("policies")]).unwrap(), Some(&facts));
        let errors: Vec<_> = set.findings.iter().filter(|f| f.diagnostic.severity == Severity::Error).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        assert_eq!(set.policies.len(), policies, "{name}");
    }
}
