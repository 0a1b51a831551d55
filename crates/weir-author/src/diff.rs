//! Policies of two epochs, line by line.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use weir_model::PolicyKey;
use weir_policy::ast::Policy;
use weir_policy::{StoredPolicy, language};

/// The policies that differ, by key, each in English: lines that went begin with `-`, lines that came with `+`.
/// `note` says more about the change of a policy. Empty when nothing differs.
pub fn diff(before: &[StoredPolicy], after: &[StoredPolicy], note: impl Fn(&PolicyKey) -> String) -> String {
    let by_key = |all: &'_ [StoredPolicy]| -> BTreeMap<PolicyKey, Policy> {
        all.iter().map(|stored| (stored.policy.key.clone(), stored.policy.clone())).collect()
    };
    let (before, after) = (by_key(before), by_key(after));
    let keys: BTreeSet<&PolicyKey> = before.keys().chain(after.keys()).collect();
    let mut text = String::new();
    for key in keys {
        let (old, new) = (before.get(key), after.get(key));
        if old == new {
            continue;
        }
        let what = match (&old, &new) {
            (None, _) => "added",
            (Some(_), Some(_)) => "changed",
            (Some(_), None) => "removed",
        };
        let note = note(key);
        // Writing to a text cannot fail.
        let _ = writeln!(text, "@@ policy {key} {what}{}{note} @@", if note.is_empty() { "" } else { " " });
        let lines = |policy: Option<&Policy>| {
            let english = policy.map(language::to_english).unwrap_or_default();
            english.lines().flat_map(clauses).collect::<Vec<_>>()
        };
        hunk(&mut text, &lines(old), &lines(new));
    }
    text
}

/// A sentence in lines that begin with what a clause begins with, so that one that changes is a line that changes.
fn clauses(sentence: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut rest = sentence;
    while let Some(at) = BREAKS.iter().filter_map(|begin| rest.find(begin)).min() {
        let (line, clause) = rest.split_at(at);
        lines.push(line.to_owned());
        // Without the space, so that the clause does not begin with the same break again.
        rest = clause.strip_prefix(' ').unwrap_or(clause);
    }
    lines.push(rest.to_owned());
    lines
}

const BREAKS: [&str; 4] = [" otherwise ", " for everyone", " on data source", " always required"];

/// Lines at the start and at the end that are the same stay; those between went and came.
fn hunk(text: &mut String, old: &[String], new: &[String]) {
    let start = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let rest = |all: &[String]| all.get(start..).unwrap_or_default().to_vec();
    let (old_rest, new_rest) = (rest(old), rest(new));
    let end = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(old, new)| old == new).count();
    let changed = |rest: &[String]| rest.iter().take(rest.len().saturating_sub(end)).cloned().collect::<Vec<_>>();
    let mut lines = |sign: char, all: &[String]| {
        for line in all {
            let _ = writeln!(text, "{sign}{line}");
        }
    };
    lines(' ', &old.iter().take(start).cloned().collect::<Vec<_>>());
    lines('-', &changed(&old_rest));
    lines('+', &changed(&new_rest));
    lines(' ', &old_rest.iter().skip(old_rest.len().saturating_sub(end)).cloned().collect::<Vec<_>>());
}

#[cfg(test)]
mod tests {
    use weir_model::PolicyId;

    use super::*;

    fn stored(text: &str) -> Vec<StoredPolicy> {
        let policies = language::parse(text).policies.into_iter();
        policies.zip(1..).map(|(policy, id)| StoredPolicy { id: PolicyId(id), policy }).collect()
    }

    #[test]
    fn only_what_differs_is_shown_line_by_line() {
        let before = stored(
            "policy a: Mask using hashing the column ssn for everyone.\npolicy b: Allow anyone to subscribe.\npolicy c: Mask by making null the column ssn for everyone.",
        );
        let after = stored(
            "policy a: Mask by making null the column ssn for everyone.\npolicy b: Allow anyone to subscribe.\npolicy d \"New\": Allow anyone to subscribe.",
        );
        let shown = diff(&before, &after, |key| if key.as_str() == "a" { "by greg".to_owned() } else { String::new() });
        let expected = "\
@@ policy a changed by greg @@
 policy a:
-Mask using hashing the column ssn
+Mask by making null the column ssn
 for everyone
@@ policy c removed @@
-policy c:
-Mask by making null the column ssn
-for everyone
@@ policy d added @@
+policy d \"New\":
+Allow anyone to subscribe
";
        assert_eq!(shown, expected);
        assert_eq!(diff(&after, &after, |_| String::new()), "");
    }
}
