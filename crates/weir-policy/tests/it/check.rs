//! What is said about policies that do not fit their world.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use weir_policy::check::check;
use weir_policy::{Diagnostic, Facts, Severity};

use crate::world::{data, policies, world};

/// Files under `tests/golden/diagnostics/check`: a text with policies, a line `=====`, and what is said about them in the
/// world `shop`. `WEIR_ACCEPT=1` writes the second part anew.
#[test]
fn diagnostics_are_as_recorded() {
    let accept = std::env::var_os("WEIR_ACCEPT").is_some_and(|value| value == "1");
    let folder = data().join("golden/diagnostics/check");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let facts = world("shop");
    let mut wrong = String::new();
    for file in &files {
        let recorded = fs::read_to_string(file).unwrap();
        let (input, expected) = recorded.split_once("\n=====\n").unwrap_or((recorded.trim_end_matches('\n'), ""));
        let found: Vec<Diagnostic> = policies(input).iter().flat_map(|policy| check(policy, &facts)).collect();
        assert!(!found.is_empty(), "{} has nothing wrong", file.display());
        let rendered = render(input, &found);
        if accept {
            fs::write(file, format!("{input}\n=====\n{rendered}")).unwrap();
        } else if rendered != expected {
            writeln!(wrong, "{}:\n--- recorded\n{expected}--- now\n{rendered}", file.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(files.len() >= 25, "{} files in {}", files.len(), folder.display());
}

fn render(input: &str, found: &[Diagnostic]) -> String {
    let mut text = String::new();
    for diagnostic in found {
        let severity = match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let at =
            diagnostic.at.map(|at| format!(" at `{}`", input.get(at.start..at.end).unwrap_or("?"))).unwrap_or_default();
        writeln!(text, "{severity} {}{at}\n  {}", diagnostic.code, diagnostic.message).unwrap();
        if let Some(help) = &diagnostic.help {
            writeln!(text, "  help: {help}").unwrap();
        }
    }
    text
}

#[test]
fn a_policy_before_any_data_source_is_a_warning_only() {
    let facts = Facts::default();
    for policy in policies("Mask using hashing the column ssn for everyone.\nAllow anyone to subscribe.") {
        let found = check(&policy, &facts);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].severity, found[0].code), (Severity::Warning, "policy::never-matches"));
    }
}
