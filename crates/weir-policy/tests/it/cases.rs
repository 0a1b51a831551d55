//! The portable policy cases under `tests/cases`, run by the engine.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use weir_model::{PrincipalId, SourceName};
use weir_policy::check::check;
use weir_policy::explain::{explain, residual_text};
use weir_policy::{DenyReason, Facts, Snapshot, SourceDecision};

use crate::world::{data, with_policies, world};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    /// The rule that the cases are about.
    #[expect(dead_code, reason = "for readers of the file")]
    about: String,
    world: String,
    /// The world in which the policies were saved, when it has changed since.
    saved_in: Option<String>,
    policies: String,
    /// What the snapshot finds wrong with saved policies.
    #[serde(default)]
    problems: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    #[serde(rename = "as")]
    person: PrincipalId,
    ask: SourceName,
    decide: Decide,
    /// Why it is denied.
    reason: Option<String>,
    /// Keys of the policies behind the decision, `owner` or `selected`.
    #[serde(default)]
    because: Vec<String>,
    /// Absent: all rows.
    rows: Option<String>,
    /// Columns that are not here are clear.
    #[serde(default)]
    masks: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Decide {
    Deny,
    Clear,
    Obliged,
}

#[test]
fn cases_are_decided_as_written() {
    let mut files = Vec::new();
    collect(&data().join("cases"), &mut files);
    files.sort();
    let (mut count, mut wrong) = (0, String::new());
    for path in &files {
        let text = fs::read_to_string(path).unwrap();
        let file: CaseFile = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        count += file.cases.len();
        for failure in run(&file) {
            writeln!(wrong, "{}: {failure}", path.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 40, "only {count} cases in {} files", files.len());
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "case") {
            into.push(path);
        }
    }
}

fn run(file: &CaseFile) -> Vec<String> {
    let mut failures = Vec::new();
    let saved_in = with_policies(world(file.saved_in.as_ref().unwrap_or(&file.world)), &file.policies);
    for stored in &saved_in.policies {
        for diagnostic in check(&stored.policy, &saved_in).iter().filter(|diagnostic| diagnostic.is_error()) {
            failures.push(format!("policy `{}` would not be saved: {diagnostic}", stored.policy.key));
        }
    }
    let facts: Facts = with_policies(world(&file.world), &file.policies);
    let snapshot = Snapshot::compile(facts);
    let problems: Vec<String> = snapshot.problems().iter().map(|problem| problem.diagnostic.message.clone()).collect();
    if problems != file.problems {
        failures.push(format!("problems are {problems:?}"));
    }
    for case in &file.cases {
        failures.extend(decide(&snapshot, case).into_iter().map(|failure| format!("{}: {failure}", case.case)));
    }
    failures
}

fn decide(snapshot: &Snapshot, case: &Case) -> Vec<String> {
    let source = snapshot.source_by_name(&case.ask).unwrap_or_else(|| panic!("no {}", case.ask));
    let decision = snapshot.decide(&case.person, &[source.id]);
    let [(_, decided)] = decision.sources.as_slice() else { panic!("{decision:?}") };
    let explained = explain(snapshot, &case.person, source.id);
    let shown: BTreeMap<String, String> = explained
        .columns
        .iter()
        .filter(|column| column.shown != "clear")
        .map(|column| (column.name.to_string(), column.shown.clone()))
        .collect();
    let (word, reason, rows, masked) = match decided {
        SourceDecision::Deny(reason, _) => (Decide::Deny, Some(name_of(reason)), None, 0),
        SourceDecision::Clear(_) => (Decide::Clear, None, None, 0),
        SourceDecision::Obliged(obligations, _) => {
            let rows = obligations.row_filter.as_ref().map(|filter| residual_text(filter, source, snapshot));
            (Decide::Obliged, None, rows, obligations.masks.len())
        }
    };
    let mut because: Vec<String> = decided.factors().iter().map(|factor| factor.key.to_string()).collect();
    because.dedup();
    let visible = snapshot.visible(&case.person).iter().any(|seen| seen.id == source.id);
    let mut failures = Vec::new();
    let mut expect = |what: &str, same: bool, found: &dyn std::fmt::Debug| {
        if !same {
            failures.push(format!("{what}: {found:?}"));
        }
    };
    expect("decide", word == case.decide, &word);
    expect("reason", reason == case.reason.as_deref(), &reason);
    expect("because", because == case.because, &because);
    expect("rows", rows == case.rows, &rows);
    expect("masks", shown == case.masks, &shown);
    expect("masks in the decision and in the explanation", masked == shown.len(), &masked);
    expect("visible", visible == (word != Decide::Deny), &visible);
    expect("explained access", explained.access.granted == visible, &explained.access);
    let all_rows = explained.rows.as_ref().is_none_or(|rows| rows.only_where.is_empty());
    expect("explained rows", all_rows == rows.is_none(), &explained.rows);
    failures
}

fn name_of(reason: &DenyReason) -> &'static str {
    match reason {
        DenyReason::UnknownPrincipal => "unknown-principal",
        DenyReason::UnknownSource => "unknown-source",
        DenyReason::NotSubscribed => "not-subscribed",
        DenyReason::BrokenPolicy { .. } => "broken-policy",
    }
}
