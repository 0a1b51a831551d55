//! What became of each part of the input.

use serde::Serialize;

/// What became of one part of the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As it was.
    CarriedOver,
    /// Nobody sees more than before, and somebody may see less.
    MoreStrictly,
    /// There is nothing of it in the policies. It would have allowed something, or has no place in Weir.
    NotCarriedOver,
}

impl Outcome {
    pub fn as_str(&self) -> &'static str {
        match self {
            Outcome::CarriedOver => "carried over",
            Outcome::MoreStrictly => "more strictly",
            Outcome::NotCarriedOver => "not carried over",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    pub file: String,
    /// Such as `policies[3].dataMaskPolicyItems[1]`; empty for the whole document.
    pub path: String,
    /// The name that the policy has in the input; empty where there is no policy.
    pub policy: String,
    pub outcome: Outcome,
    /// Keys of the policies of Weir that it became.
    pub became: Vec<String>,
    /// How it is more strict, why it is not there, or what is worth knowing; may be empty.
    pub why: String,
}

/// In the order of the input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub lines: Vec<Line>,
}

impl Report {
    /// Whether there is something of every part in the policies.
    pub fn is_complete(&self) -> bool {
        self.count(&Outcome::NotCarriedOver) == 0
    }

    pub fn count(&self, outcome: &Outcome) -> usize {
        self.lines.iter().filter(|line| line.outcome == *outcome).count()
    }
}
