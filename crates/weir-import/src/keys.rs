//! Keys of policies, which are names of files too.

use std::collections::BTreeSet;

use weir_model::PolicyKey;

/// Longest key, in bytes.
const KEY_BYTES_MAX: usize = 80;

/// Gives each policy a key of its own.
#[derive(Default)]
pub(crate) struct Keys {
    given: BTreeSet<String>,
}

impl Keys {
    /// A key made from a name, with `-2`, `-3` and so on where it is taken.
    pub(crate) fn key(&mut self, name: &str) -> PolicyKey {
        let base = slug(name);
        let mut key = base.clone();
        let mut number = 2_u64;
        while !self.given.insert(key.clone()) {
            key = format!("{base}-{number}");
            number += 1;
        }
        PolicyKey::new(key).unwrap_or_else(|_| unreachable!("a slug is a valid name"))
    }
}

/// Small letters, digits and single hyphens.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= KEY_BYTES_MAX {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "policy".to_owned() } else { slug.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_names_of_files_and_differ() {
        let mut keys = Keys::default();
        assert_eq!(keys.key("Mask SSN / ../etc").as_str(), "mask-ssn-etc");
        assert_eq!(keys.key("mask ssn etc").as_str(), "mask-ssn-etc-2");
        assert_eq!(keys.key("данные").as_str(), "policy");
        assert_eq!(keys.key("").as_str(), "policy-2");
        assert_eq!(keys.key(&"x".repeat(500)).as_str().len(), 80);
    }
}
