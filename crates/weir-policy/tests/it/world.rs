//! Worlds under `tests/cases/worlds`, and policies in them.

use std::fs;
use std::path::{Path, PathBuf};

use weir_author::case::NOW;
use weir_author::world::World;
use weir_model::{PolicyId, Surroundings};
use weir_policy::{Facts, StoredPolicy, ast::Policy, language};

/// The folder with data for tests, at the root of the workspace.
pub(crate) fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests")
}

/// The world of that name, without policies, at epoch 1.
pub(crate) fn world(name: &str) -> Facts {
    let path = data().join(format!("cases/worlds/{name}.world"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    World::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display())).facts
}

/// Outside of projects, at [`NOW`].
pub(crate) fn anywhere() -> Surroundings {
    Surroundings { at_unix_ms: unix_ms(NOW), ..Surroundings::default() }
}

/// The policies of a text, which must have nothing wrong.
pub(crate) fn policies(text: &str) -> Vec<Policy> {
    let parsed = language::parse(text);
    assert!(parsed.diagnostics.is_empty(), "{text}\n{:?}", parsed.diagnostics);
    parsed.policies
}

/// The world with these policies, numbered in the order written.
pub(crate) fn with_policies(mut facts: Facts, text: &str) -> Facts {
    facts.policies =
        policies(text).into_iter().zip(1..).map(|(policy, id)| StoredPolicy { id: PolicyId(id), policy }).collect();
    facts
}

pub(crate) fn unix_ms(at: &str) -> u64 {
    weir_author::case::unix_ms(at).unwrap()
}
