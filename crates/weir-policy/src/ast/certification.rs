use std::collections::BTreeSet;

use weir_model::Tag;

/// What owners of the sources on which a policy lands are to certify. It changes nothing of what the policy does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certification {
    /// What an owner says by it.
    pub text: String,
    /// In a few words.
    pub label: Option<String>,
    /// Tags that a source gets when it is certified.
    pub tags: BTreeSet<Tag>,
}
