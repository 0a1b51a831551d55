//! Folders of policies: planned, applied, tested, written back, and their history.

use crate::weir::{Ran, Weir};

const PEOPLE: &str =
    "id,name,ssn,department\n1,Ann,123-45-6789,Toys\n2,Bob,987-65-4321,Garden\n3,Cyd,555-44-3333,Toys\n";
const SSN: &str = "policy ssn:\nMask using hashing the column ssn for everyone\n";
const OPEN: &str = "policy open:\nAllow anyone to subscribe\n";

/// With users anna and bert, the data source `hr.people` and, in the folder `policies`, two policies that are not stored.
fn office() -> Weir {
    let weir = Weir::new();
    weir.file("people.csv", PEOPLE);
    weir.ok(&["user", "add", "anna", "--group", "Toys"]);
    weir.ok(&["user", "add", "bert"]);
    weir.ok(&["source", "add", "hr.people", "people.csv", "--column-tag", "ssn=PII.SSN", "--owner", "bert"]);
    std::fs::create_dir(weir.path().join("policies")).unwrap();
    weir.file("policies/open.policy", OPEN);
    weir.file("policies/ssn.policy", SSN);
    weir
}

/// Plans, which changes nothing; gives what was printed.
#[track_caller]
fn plan(weir: &Weir, args: &[&str], status: i32) -> String {
    let ran = weir.run(&[&["policy", "plan"], args].concat());
    assert_eq!((ran.code, ran.err.as_str()), (Some(status), ""), "{ran:?}");
    ran.out
}

#[test]
fn a_folder_is_planned_and_applied_once() {
    let weir = office();
    let said = plan(&weir, &["policies"], 2);
    assert!(
        said.starts_with("Plan against epoch 3\n\nPolicies: 2 added, 0 changed, 0 removed, 0 unchanged\n"),
        "{said}"
    );
    assert!(said.contains("gain it: 1 user (anna)") && said.contains("ssn masked: 1 user (bert)"), "{said}");
    assert!(!weir.ok(&["policy", "list"]).contains("ssn"), "a plan changes nothing");

    let unattended = weir.run(&["policy", "apply", "policies"]);
    assert_eq!(unattended.code, Some(1), "{unattended:?}");
    assert!(unattended.err.contains("--yes does it without asking"), "{unattended:?}");
    let said = weir.ok(&["policy", "apply", "policies", "--yes"]);
    assert!(said.ends_with("\napplied: 2 policies changed (epoch 4)\n"), "{said}");
    assert!(weir.ok(&["policy", "list"]).contains("ssn"));

    let said = plan(&weir, &["policies"], 0);
    assert!(
        said.contains("Policies: 0 added, 0 changed, 0 removed, 2 unchanged\n\nNobody sees anything else"),
        "{said}"
    );
    let said = weir.ok(&["policy", "apply", "policies", "--yes"]);
    assert!(said.ends_with("nothing to do: the stored policies are these already (epoch 4)\n"), "{said}");
}

#[test]
fn what_is_in_no_file_is_left_alone_or_pruned() {
    let weir = office();
    weir.ok(&["policy", "add", "--key", "other", "--text", "Mask by making null the column name for everyone"]);
    let said = plan(&weir, &["policies"], 2);
    assert!(said.contains("Left alone, for no file has them (--prune removes them): `other`"), "{said}");
    weir.ok(&["policy", "apply", "policies", "--yes"]);
    assert!(weir.ok(&["policy", "list"]).contains("other"));
    let said = plan(&weir, &["policies", "--prune"], 2);
    assert!(said.contains("  - other\n") && said.contains("name clear: 2 users (anna, bert)"), "{said}");
    weir.ok(&["policy", "apply", "policies", "--prune", "--yes"]);
    assert!(!weir.ok(&["policy", "list"]).contains("other"));
}

#[test]
fn a_set_that_does_not_check_is_refused_whole() {
    let weir = office();
    weir.ok(&["policy", "apply", "policies", "--yes"]);
    weir.file("policies/bad.yaml", "policy: bad\nmask: {columns: [snn], using: hash}\nfor: everyone\n");
    weir.file("policies/worse.policy", "policy worse: Mask sdf\n");
    weir.file("policies/ssn.policy", "policy ssn:\nMask by making null the column ssn for everyone\n");
    for args in [&["policy", "plan", "policies"][..], &["policy", "apply", "policies", "--yes"]] {
        let said = weir.fails(args);
        assert!(said.contains("bad.yaml") && said.contains("snn") && said.contains("worse.policy"), "{said}");
        assert!(said.contains("2 of 4 texts cannot be saved"), "{said}");
    }
    assert!(weir.ok(&["policy", "show", "ssn"]).contains("hashing"), "what held goes on holding");
    assert!(weir.fails(&["policy", "plan", "nowhere"]).contains("nowhere: cannot be read"));
}

#[test]
fn an_epoch_that_moved_is_an_error() {
    let weir = office();
    let said = weir.run(&["policy", "apply", "policies", "--yes", "--epoch", "2"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("epoch 3 holds now, not epoch 2 any more"), "{said:?}");
    assert!(!weir.ok(&["policy", "list"]).contains("ssn"));
    weir.ok(&["policy", "apply", "policies", "--yes", "--epoch", "3"]);
}

#[test]
fn rows_are_counted_under_both_states_and_on_record() {
    let weir = office();
    weir.ok(&["policy", "apply", "policies", "--yes"]);
    weir.file(
        "policies/rows.policy",
        "policy rows:\nOnly show rows where user is a member of group that matches the value in the column department for everyone\n",
    );
    let said = plan(&weir, &["policies", "--rows"], 2);
    assert!(said.contains("all rows → department IN ('Toys')"), "{said}");
    assert!(said.contains("visible rows of each of them: 3 → 2"), "{said}");
    assert!(said.contains("all rows → FALSE") && said.contains("visible rows of each of them: 3 → 0"), "{said}");
    let audit = weir.ok(&["audit", "--json"]);
    assert!(audit.contains("counted for the administrator by `weir policy plan`"), "{audit}");

    // As a JSON object, with everything in it.
    let json: serde_json::Value = serde_json::from_str(&plan(&weir, &["policies", "--rows", "--json"], 2)).unwrap();
    assert_eq!(json["epoch"], 4);
    assert_eq!(json["policies"][0]["key"], "rows");
    assert_eq!(json["sources"][0]["rows"][0]["who"][0]["user"], "anna");
    assert_eq!(json["sources"][0]["rows"][0]["count"]["after"]["rows"], 2);

    // Data that cannot be read is not counted, and says why.
    std::fs::remove_file(weir.path().join("people.csv")).unwrap();
    let said = plan(&weir, &["policies", "--rows"], 2);
    assert!(said.contains("visible rows of each of them: not counted ("), "{said}");
}

#[test]
fn what_is_written_back_changes_nothing() {
    let weir = office();
    weir.ok(&["policy", "apply", "policies", "--yes"]);
    for (folder, to, file) in [("yaml", "yaml", "1-open.yaml"), ("english", "english", "2-ssn.policy")] {
        assert_eq!(weir.ok(&["policy", "export", folder, "--to", to]), format!("wrote 2 policies to {folder}\n"));
        assert!(weir.path().join(folder).join(file).is_file());
        plan(&weir, &[folder, "--prune"], 0);
        assert!(weir.fails(&["policy", "export", folder]).contains("is not empty"));
    }
    // Into another directory, the ages are the same: they decide between equals.
    let other = Weir::new();
    other.file("people.csv", PEOPLE);
    other.ok(&["source", "add", "hr.people", "people.csv"]);
    let exported = weir.path().join("yaml");
    other.ok(&["policy", "apply", exported.to_str().unwrap(), "--yes"]);
    let keys = |weir: &Weir| -> Vec<String> {
        let listed = weir.ok(&["policy", "list"]);
        listed.lines().skip(1).map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
    };
    assert_eq!(keys(&other), keys(&weir));
}

#[test]
fn former_policies_are_shown_with_who_changed_them() {
    let weir = office();
    weir.ok(&["policy", "apply", "policies", "--yes"]);
    weir.ok(&["policy", "add", "--key", "ssn", "--text", "Mask by making null the column ssn for everyone"]);
    weir.ok(&["policy", "remove", "open"]);
    let said = weir.ok(&["policy", "diff", "4"]);
    assert!(said.starts_with("--- epoch 4\n+++ epoch 6\n@@ policy open removed (epoch 6, "), "{said}");
    assert!(
        said.contains(
            ", by local) @@\n policy ssn:\n-Mask using hashing the column ssn\n+Mask by making null the column ssn\n for everyone\n"
        ),
        "{said}"
    );
    assert_eq!(weir.ok(&["policy", "diff", "5", "5"]), "the policies of epoch 5 and of epoch 5 are the same\n");
    assert!(weir.fails(&["policy", "diff", "9"]).contains("the newest epoch is 6"));
    let said = weir.ok(&["policy", "history", "open"]);
    let heads: Vec<&str> = said.lines().filter(|line| line.starts_with("@@")).collect();
    assert_eq!(heads.len(), 2, "{said}");
    assert!(
        heads[0].starts_with("@@ policy open added (epoch 4, ") && heads[1].starts_with("@@ policy open removed"),
        "{said}"
    );
    assert_eq!(weir.ok(&["policy", "history", "ssn"]).matches("@@ policy ssn").count(), 2);
    assert!(weir.fails(&["policy", "history", "sssn"]).contains("did you mean `ssn`?"));
}

#[test]
fn cases_are_run_without_a_data_directory_or_against_one() {
    let weir = office();
    weir.file("office.world", "sources:\n  - name: hr.people\n    owners: [bert]\n    columns:\n      - { name: ssn, type: text, tags: [PII.SSN] }\nprincipals:\n  - { name: anna }\n  - { name: bert }\n");
    weir.file(
        "ssn.case",
        "about: numbers\ncases:\n  - { case: hashed, as: anna, ask: hr.people, decide: obliged, because: [open, ssn], masks: { ssn: hashed } }\n",
    );
    let nowhere = |args: &[&str]| Ran::of(weir.command(args).env("WEIR_DATA_DIR", "nowhere").output().unwrap());
    let ran = nowhere(&["policy", "test", "ssn.case", "office.world", "policies"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "1 passed, 0 failed, in 1 file\n"), "{ran:?}");
    assert!(!weir.path().join("nowhere").exists());

    weir.ok(&["policy", "apply", "policies", "--yes"]);
    assert_eq!(weir.ok(&["policy", "test", "ssn.case", "--world", "data"]), "1 passed, 0 failed, in 1 file\n");
    weir.ok(&["policy", "remove", "ssn"]);
    let ran = weir.run(&["policy", "test", "ssn.case", "--world", "data"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.contains("decide   expected obliged\n           found    clear"), "{}", ran.out);
    assert!(ran.err.contains("1 of 1 answers are not as expected"), "{ran:?}");
    assert!(
        weir.fails(&["policy", "test", "ssn.case", "--world", "policies"])
            .contains("neither a world nor a data directory")
    );
}

#[test]
fn one_column_is_explained() {
    let weir = office();
    weir.ok(&["policy", "apply", "policies", "--yes"]);
    weir.ok(&["policy", "add", "--key", "pii", "--text", "Mask by making null columns tagged PII for everyone"]);
    let said = weir.ok(&["policy", "explain", "--user", "anna", "hr.people", "ssn"]);
    assert!(said.starts_with("anna sees ssn of hr.people: hashed (epoch 5)\n"), "{said}");
    assert!(said.contains("it is not used, for policy `ssn` comes first: it picks the column by its name"), "{said}");
    let json: serde_json::Value =
        serde_json::from_str(&weir.ok(&["policy", "explain", "--user", "anna", "hr.people", "ssn", "--json"])).unwrap();
    assert_eq!(json["policies"][1]["effect"]["behind"]["policy"], "ssn");
    assert!(weir.fails(&["policy", "explain", "--user", "anna", "hr.people", "ssnn"]).contains("did you mean `ssn`?"));
}
