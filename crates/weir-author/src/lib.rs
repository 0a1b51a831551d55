//! What authors of policies work with: folders of policies and what applying them would change, worlds in YAML, and
//! cases that say what must be decided in them. Reads files; writes none, and knows no server.
#![deny(clippy::wildcard_enum_match_arm)]

pub mod case;
mod diff;
mod folder;
mod plan;
mod set;
pub mod world;

pub use diff::diff;
pub use folder::{POLICY_ENDINGS, Text, below, policy_texts};
pub use plan::Plan;
pub use set::{Changes, Finding, PolicySet};

/// A file that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct Unusable {
    /// The path of the file, or what else it is called.
    pub place: String,
    pub why: String,
}

impl Unusable {
    pub(crate) fn new(place: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self { place: place.into(), why: why.to_string() }
    }
}
