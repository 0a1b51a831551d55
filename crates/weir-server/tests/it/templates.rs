//! Policies made from templates, certifications, choices of owners, and where texts and keys come from.

use crate::weir::Weir;

/// With users anna and bert, who owns the data source `hr.people`.
fn office() -> Weir {
    let weir = Weir::new();
    weir.file("people.csv", "id,name,ssn\n1,Ann,123-45\n2,Bob,987-65\n");
    weir.ok(&["user", "add", "anna", "--group", "Toys"]);
    weir.ok(&["user", "add", "bert"]);
    weir.ok(&["source", "add", "hr.people", "people.csv", "--owner", "bert"]);
    weir
}

#[test]
fn a_policy_is_made_from_a_template() {
    let weir = office();
    weir.file(
        "hide.weir",
        "policy hide template: Mask using hashing the column COLUMN for everyone except when user is a member of group GROUP\n",
    );
    weir.ok(&["policy", "add", "hide.weir"]);
    assert!(weir.ok(&["policy", "list"]).contains("template"));
    weir.ok(&["policy", "add", "--text", "Allow anyone to subscribe"]);
    let seen = || weir.ok(&["policy", "explain", "--user", "anna", "hr.people"]);
    assert!(!seen().contains("hashed"), "{}", seen());

    let set = ["--set", "COLUMN=ssn", "--set", "GROUP=Toys"];
    let make = |key: &'static str, more: &[&'static str]| {
        let args: Vec<&str> = ["policy", "instantiate", "hide", key].iter().chain(more).copied().collect();
        weir.run(&args)
    };
    let made = make("hide-ssn", &[&["--on", "hr.people"], set.as_slice()].concat());
    assert_eq!(made.code, Some(0), "{made:?}");
    let text = "Mask using hashing the column ssn for everyone except when user is a member of group Toys on data source hr.people";
    assert!(made.out.ends_with(&format!("from template `hide` (epoch 6)\npolicy hide-ssn:\n{text}\n")), "{}", made.out);
    assert_eq!(weir.ok(&["policy", "show", "hide-ssn"]), format!("policy hide-ssn:\n{text}\n"));
    let cases: &[(&str, &[&str], &str)] = &[
        ("hide-ssn", &set, "policy `hide-ssn` exists already"),
        ("new", &["--set", "COLUM=ssn"], "nothing in policy `hide` is called `COLUM`"),
        ("new", &["--set", "COLUMN"], "is not of the form"),
        ("new", &["--set", "COLUMN=a", "--set", "COLUMN=b"], "`COLUMN` is set twice"),
        ("new", &["--on", "hr.peple"], "did you mean `hr.people`?"),
        ("new", &["--set", "COLUMN=ssn"], "unknown group `GROUP`"),
        ("new", &["--set", "GROUP=Toys", "--set", "COLUMN=snn"], "did you mean `ssn`?"),
    ];
    for (key, more, message) in cases {
        let args: Vec<&str> = ["policy", "instantiate", "hide", key].iter().chain(more.iter()).copied().collect();
        let said = weir.fails(&args);
        assert!(said.contains(message), "{args:?}: {said}");
    }
    assert!(weir.fails(&["policy", "instantiate", "hide-ssn", "new"]).contains("is no template"));
    assert!(weir.fails(&["policy", "show", "new"]).contains("does not exist"));
}

#[test]
fn owners_certify_what_a_policy_asks() {
    let weir = office();
    let policy = |method: &str| {
        format!(
            "policy p certification 'looked at' label 'Reviewed' tags Certified: Mask {method} the column ssn for everyone\n"
        )
    };
    weir.file("p.weir", policy("using hashing"));
    weir.ok(&["policy", "add", "p.weir"]);
    let shown = || weir.ok(&["source", "show", "hr.people"]);
    assert!(shown().contains("certified     p (Reviewed: not certified yet)\n"), "{}", shown());
    assert!(weir.ok(&["policy", "list"]).contains("0 of 1"));
    let said = weir.fails(&["policy", "certify", "p", "--source", "hr.people", "--by", "anna"]);
    assert!(said.contains("user `anna` is no owner of it"), "{said}");
    assert!(weir.fails(&["policy", "certify", "q", "--source", "hr.people"]).contains("policy `q` does not exist"));
    let said = weir.ok(&["policy", "certify", "p", "--source", "hr.people", "--by", "bert"]);
    assert_eq!(said, "policy `p` is certified for data source `hr.people` (epoch 5)\n  looked at\n");
    assert!(shown().contains("p (Reviewed: certified by bert at "), "{}", shown());
    assert!(shown().contains("tags          Certified\n"), "{}", shown());
    assert!(weir.ok(&["policy", "list"]).contains("1 of 1"));
    let explained = weir.ok(&["policy", "explain", "--user", "bert", "hr.people"]);
    assert!(explained.contains("\nCertifications\n  p (Reviewed: certified by bert at "), "{explained}");
    weir.file("p.weir", policy("by making null"));
    weir.ok(&["policy", "add", "p.weir"]);
    assert!(shown().contains("p (Reviewed: outdated, as the policy has changed; certified by bert at "), "{}", shown());
    assert!(weir.ok(&["policy", "list"]).contains("0 of 1, 1 outdated"));
    weir.ok(&["policy", "certify", "p", "--source", "hr.people"]);
    assert!(shown().contains("p (Reviewed: certified by local at "), "{}", shown());
}

#[test]
fn owners_choose_in_their_name() {
    let weir = office();
    let text = "Mask by making null the column name for everyone on data sources chosen by their owners";
    weir.ok(&["policy", "add", "--key", "hide", "--text", text]);
    let by = |who: &'static str, what: &'static str| weir.run(&["policy", what, "hide", "hr.people", "--by", who]);
    let refused = by("anna", "choose");
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("user `anna` is no owner of data source `hr.people`"), "{}", refused.err);
    assert!(by("brt", "choose").err.contains("did you mean `bert`?"));
    assert_eq!(by("bert", "choose").out, "policy `hide` is chosen for data source `hr.people` (epoch 5)\n");
    assert!(by("anna", "unchoose").err.contains("is no owner of"));
    assert_eq!(by("bert", "unchoose").code, Some(0));
}

#[test]
fn what_is_no_text_or_too_long_is_told() {
    let weir = office();
    weir.file("latin.weir", b"Allow anyone to subscribe.\n-- caf\xe9\n");
    let said = weir.fails(&["policy", "check", "latin.weir"]);
    assert!(said.contains("latin.weir is no text in UTF-8: what is wrong is in line 2"), "{said}");
    weir.file("long.weir", "Allow anyone to subscribe.\n".repeat(400_000));
    let said = weir.fails(&["policy", "add", "long.weir"]);
    assert!(said.contains("the text has 10800000 bytes; at most 1048576 are read"), "{said}");
    assert!(weir.fails(&["policy", "check", "gone.weir"]).contains("cannot read gone.weir"));
}

#[test]
fn the_master_key_may_lie_elsewhere() {
    let weir = Weir::new();
    std::fs::create_dir(weir.path().join("safe")).unwrap();
    let with = |key: &str, args: &[&str]| weir.command(args).env("WEIR_MASTER_KEY", key).output().unwrap();
    assert!(with("safe/key", &["user", "add", "anna"]).status.success());
    assert!(weir.path().join("safe/key").exists());
    assert!(!weir.path().join("data/master.key").exists());
    assert!(with("safe/key", &["user", "list"]).status.success());
    let said = weir.fails(&["user", "list"]);
    assert!(said.contains("master.key") && said.contains("it is missing"), "{said}");
    std::fs::rename(weir.path().join("safe/key"), weir.path().join("data/master.key")).unwrap();
    assert!(weir.ok(&["user", "list"]).contains("anna"));
}
