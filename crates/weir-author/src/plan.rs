//! What applying a set of policies would change.

use std::fmt::Write;

use serde::Serialize;
use weir_model::PolicyKey;
use weir_policy::compare::{Comparison, Limits};

/// Shown before anything is changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    #[serde(flatten)]
    pub comparison: Comparison,
    /// Stored policies that are not in the set and stay.
    pub left_alone: Vec<PolicyKey>,
}

impl Plan {
    /// Applying the set would change nothing.
    pub fn is_empty(&self) -> bool {
        self.comparison.is_empty()
    }

    /// For a terminal.
    pub fn text(&self, limits: Limits) -> String {
        let mut text = self.comparison.shown(limits).to_string();
        if !self.left_alone.is_empty() {
            let keys: Vec<String> = self.left_alone.iter().map(|key| format!("`{key}`")).collect();
            let shown = keys.iter().take(limits.names).cloned().collect::<Vec<_>>().join(", ");
            let more = match keys.len().saturating_sub(limits.names) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            // Writing to a text cannot fail.
            let _ = write!(text, "\nLeft alone, for no file has them (--prune removes them): {shown}{more}\n");
        }
        text
    }
}
