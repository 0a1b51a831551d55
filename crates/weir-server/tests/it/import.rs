//! `weir import`: what it prints, writes and leaves alone.

use crate::weir::Weir;

const HOSPITAL: &str = include_str!("../../../../tests/import/hospital.ranger.json");

const OPEN: &str = "policyKey: open\nname: Open\ntype: subscription\nactions: {type: anyone}\n";

#[test]
fn policies_are_written_and_can_be_added() {
    let weir = Weir::new();
    weir.file("open.yaml", OPEN);
    let said = weir.ok(&["import", "immuta", "open.yaml"]);
    assert!(said.contains("carried over") && said.contains("1 policy; nothing was written"), "{said}");
    assert!(!weir.path().join("policies").exists());
    let said = weir.ok(&["import", "immuta", "open.yaml", "--out", "policies"]);
    assert!(said.contains("wrote 1 policy to policies"), "{said}");
    assert!(weir.ok(&["policy", "check", "policies/open.yaml"]).starts_with("1 policy is in order"));
    let said = weir.fails(&["import", "immuta", "open.yaml", "--out", "policies"]);
    assert!(said.contains("is there already; nothing was written"), "{said}");
    weir.ok(&["import", "immuta", "open.yaml", "--out", "policies", "--force"]);
    // No data directory comes into being.
    assert!(!weir.path().join("data").exists());
}

#[test]
fn what_is_left_out_has_an_exit_code_of_its_own() {
    let weir = Weir::new();
    weir.file("hospital.json", HOSPITAL);
    let ran = weir.run(&["import", "ranger", "hospital.json", "--json", "--out", "policies"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.contains("parts were not carried over"), "{ran:?}");
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["complete"], false);
    let count = std::fs::read_dir(weir.path().join("policies")).unwrap().count();
    assert_eq!(report["policies"].as_array().unwrap().len(), count);
    assert!(report["lines"].as_array().unwrap().iter().any(|line| line["outcome"] == "not-carried-over"));
}

#[test]
fn nothing_is_written_of_what_cannot_be_read() {
    let weir = Weir::new();
    weir.file("cut.json", HOSPITAL.split_at(1000).0);
    let said = weir.fails(&["import", "ranger", "cut.json", "--out", "policies"]);
    assert!(said.contains("nothing was imported") && said.contains("cut.json: line "), "{said}");
    assert!(!weir.path().join("policies").exists());
}
