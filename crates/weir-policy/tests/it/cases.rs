//! The portable policy cases under `tests/cases`, run by the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use weir_model::{DataSource, PolicyKey, PrincipalId, ProjectName, SourceName, Surroundings};
use weir_policy::check::check;
use weir_policy::explain::{explain, residual_text};
use weir_policy::{DenyReason, KeyScope, Snapshot, SourceDecision};

use crate::world::{Additions, GivenProject, NOW, data, files, unix_ms, with, with_policies, world};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    /// What the cases show, by the name that it has in `docs/policy-features.md`.
    feature: String,
    /// The rule that the cases are about.
    about: String,
    world: String,
    /// The world in which the policies were saved, when it has changed since.
    saved_in: Option<String>,
    #[serde(default)]
    projects: Vec<GivenProject>,
    /// Whose requests were approved by all whom any policy asks.
    #[serde(default)]
    approved: BTreeMap<SourceName, BTreeSet<PrincipalId>>,
    /// For which sources an owner chose a policy.
    #[serde(default)]
    chosen: BTreeMap<PolicyKey, BTreeSet<SourceName>>,
    policies: String,
    /// What the snapshot finds wrong with saved policies.
    #[serde(default)]
    problems: Vec<String>,
    /// Policies that would not be saved, and what is said of them first.
    #[serde(default)]
    refused: BTreeMap<String, String>,
    #[serde(default)]
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    #[serde(rename = "as")]
    person: PrincipalId,
    /// Who acts as that person.
    by: Option<PrincipalId>,
    /// In which project.
    #[serde(rename = "in")]
    project: Option<ProjectName>,
    /// When, in UTC.
    at: Option<String>,
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
    /// The project whose key hashes have; absent: that of the source.
    hash_key: Option<ProjectName>,
    /// Who sees exactly the same in the same surroundings.
    like: Option<PrincipalId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Decide {
    Deny,
    Clear,
    Obliged,
}

fn case_files() -> Vec<(PathBuf, CaseFile)> {
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let file = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        (path, file)
    };
    files(&data().join("cases"), "case").into_iter().map(read).collect()
}

#[test]
fn cases_are_decided_as_written() {
    let files = case_files();
    let (mut count, mut wrong) = (0, String::new());
    for (path, file) in &files {
        assert!(!file.cases.is_empty() || !file.refused.is_empty(), "{} shows nothing", path.display());
        count += file.cases.len() + file.refused.len();
        for failure in run(file) {
            writeln!(wrong, "{}: {failure}", path.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 200, "only {count} cases in {} files", files.len());
}

/// `docs/policy-features.md` is made from the case files. `WEIR_ACCEPT=1` writes it anew.
#[test]
fn features_are_listed() {
    let mut features: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut files = case_files();
    // `custom` before `custom-clear`.
    files.sort_by_key(|(path, _)| path.with_extension(""));
    for (path, file) in files {
        let path = path.strip_prefix(data()).unwrap().display().to_string();
        features.entry(file.feature).or_default().push((path, file.about));
    }
    let mut text = FEATURES.to_owned();
    for (feature, files) in &features {
        // The first says what the feature is; those after it are about its corners.
        let (_, about) = &files[0];
        let cell = |text: &str| text.replace('|', "\\|");
        let links: Vec<String> = files
            .iter()
            .map(|(path, _)| {
                let name = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".case");
                format!("[{name}](../tests/{path})")
            })
            .collect();
        writeln!(text, "| `{feature}` | {} | {} |", cell(about), links.join(", ")).unwrap();
    }
    let place = data().join("../docs/policy-features.md");
    if std::env::var_os("WEIR_ACCEPT").is_some_and(|value| value == "1") {
        fs::write(&place, &text).unwrap();
    }
    let recorded = fs::read_to_string(&place).unwrap_or_default();
    assert!(recorded == text, "{} is not what the case files say; `cargo xtask golden`", place.display());
}

const FEATURES: &str = "\
# What policies can do

Each line is one thing that policies do, what it means, and the cases that show it.
The cases are run by the tests; this page is made from them by `cargo xtask golden`.

| feature | means | shown by |
| --- | --- | --- |
";

fn run(file: &CaseFile) -> Vec<String> {
    let mut failures = Vec::new();
    let added = Additions { projects: &file.projects, approved: &file.approved, chosen: &file.chosen };
    let facts = |name: &String| with(with_policies(world(name), &file.policies), &added);
    let saved_in = facts(file.saved_in.as_ref().unwrap_or(&file.world));
    let mut refused = BTreeMap::new();
    for stored in &saved_in.policies {
        if let Some(error) = check(&stored.policy, &saved_in).into_iter().find(|diagnostic| diagnostic.is_error()) {
            refused.insert(stored.policy.key.to_string(), error.message);
        }
    }
    if refused != file.refused {
        failures.push(format!("would not be saved: {refused:?}"));
    }
    let snapshot = Snapshot::compile(facts(&file.world));
    let problems: Vec<String> = snapshot.problems().iter().map(|problem| problem.diagnostic.message.clone()).collect();
    if problems != file.problems {
        failures.push(format!("problems are {problems:?}"));
    }
    for case in &file.cases {
        failures.extend(decide(&snapshot, case).into_iter().map(|failure| format!("{}: {failure}", case.case)));
    }
    failures
}

fn ask(snapshot: &Snapshot, person: &PrincipalId, surroundings: &Surroundings, source: &DataSource) -> SourceDecision {
    let mut decision = snapshot.decide(person, surroundings, &[source.id]);
    assert_eq!(decision.sources.len(), 1);
    decision.sources.remove(0).1
}

fn decide(snapshot: &Snapshot, case: &Case) -> Vec<String> {
    let source = snapshot.source_by_name(&case.ask).unwrap_or_else(|| panic!("no {}", case.ask));
    if let Some(actor) = &case.by
        && !snapshot.may_impersonate(actor, &case.person)
    {
        let expected = case.decide == Decide::Deny && case.reason.as_deref() == Some("no-grant");
        return if expected { Vec::new() } else { vec![format!("{actor} may not act as {}", case.person)] };
    }
    let surroundings = Surroundings {
        project: case.project.clone(),
        impersonated: case.by.is_some(),
        at_unix_ms: unix_ms(case.at.as_deref().unwrap_or(NOW)),
    };
    let decided = &ask(snapshot, &case.person, &surroundings, source);
    let explained = explain(snapshot, &case.person, &surroundings, source.id);
    let shown: BTreeMap<String, String> = explained
        .columns
        .iter()
        .filter(|column| column.shown != "clear")
        .map(|column| (column.name.to_string(), column.shown.clone()))
        .collect();
    let (word, reason, rows, masked, hash_key) = match decided {
        SourceDecision::Deny(reason, _) => (Decide::Deny, Some(name_of(reason)), None, 0, None),
        SourceDecision::Clear(_) => (Decide::Clear, None, None, 0, None),
        SourceDecision::Obliged(obligations, _) => {
            let rows = obligations.row_filter.as_ref().map(|filter| residual_text(filter, source, snapshot));
            let hash_key = match &obligations.hash_key {
                KeyScope::Source(id) => {
                    assert_eq!(*id, source.id);
                    None
                }
                KeyScope::Project(project) => Some(project.clone()),
            };
            (Decide::Obliged, None, rows, obligations.masks.len(), hash_key)
        }
    };
    let mut because: Vec<String> = decided.factors().iter().map(|factor| factor.key.to_string()).collect();
    because.dedup();
    let visible = snapshot.visible(&case.person, &surroundings).iter().any(|seen| seen.id == source.id);
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
    expect("hash key", hash_key == case.hash_key, &hash_key);
    expect("masks in the decision and in the explanation", masked == shown.len(), &masked);
    expect("visible", visible == (word != Decide::Deny), &visible);
    expect("explained access", explained.access.granted == visible, &explained.access);
    let all_rows = explained.rows.as_ref().is_none_or(|rows| rows.only_where.is_empty());
    expect("explained rows", all_rows == rows.is_none(), &explained.rows);
    if let Some(other) = &case.like {
        let theirs = ask(snapshot, other, &surroundings, source);
        expect("the other's decision", theirs == *decided, &theirs);
    }
    failures
}

fn name_of(reason: &DenyReason) -> &'static str {
    match reason {
        DenyReason::UnknownPrincipal => "unknown-principal",
        DenyReason::UnknownSource => "unknown-source",
        DenyReason::NotSubscribed => "not-subscribed",
        DenyReason::NoSuchProject => "no-such-project",
        DenyReason::NotInProject => "not-in-project",
        DenyReason::NotAcknowledged { .. } => "not-acknowledged",
        DenyReason::PurposeRequired { .. } => "purpose-required",
        DenyReason::BrokenPolicy { .. } => "broken-policy",
    }
}
