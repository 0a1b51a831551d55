//! Commands that need no server.

use std::process::Stdio;

use expect_test::{expect, expect_file};

use crate::weir::{Ran, Weir};

const PEOPLE: &str = "id,name,ssn,salary,department\n1,Ann,123-45-6789,10.5,Toys\n2,Bob,987-65-4321,20.25,Garden\n";

/// With users anna and bert and the data source `hr.people`.
fn office() -> Weir {
    let weir = Weir::new();
    weir.file("people.csv", PEOPLE);
    weir.ok(&["user", "add", "anna", "--group", "Toys", "--attribute", "nation=FRANCE", "--attribute", "nation=JAPAN"]);
    weir.ok(&["user", "add", "bert"]);
    weir.ok(&[
        "source",
        "add",
        "hr.people",
        "people.csv",
        "--leave-out",
        "salary",
        "--column-tag",
        "ssn=PII.SSN",
        "--owner",
        "bert",
    ]);
    weir
}

/// Without what differs from run to run, and without spaces at line ends.
fn stable(weir: &Weir, text: &str) -> String {
    let text = text.replace(&weir.path().canonicalize().unwrap().display().to_string(), "DIR");
    let text = text.replace(&weir.path().display().to_string(), "DIR");
    text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[test]
fn help_is_as_reviewed() {
    let weir = Weir::new();
    let mut text = String::new();
    let commands: &[&[&str]] = &[
        &[],
        &["demo"],
        &["serve"],
        &["sql"],
        &["source"],
        &["source", "add"],
        &["source", "tag"],
        &["user"],
        &["user", "add"],
        &["policy"],
        &["policy", "check"],
        &["policy", "fmt"],
        &["policy", "add"],
        &["policy", "explain"],
        &["audit"],
        &["config"],
        &["completions"],
    ];
    for command in commands {
        let args: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
        text += &format!("==== weir {}\n{}\n", args.join(" "), weir.ok(&args));
    }
    expect_file!["../../../../tests/golden/help.txt"].assert_eq(&text);
}

#[test]
fn wrong_use_has_its_own_exit_code() {
    let weir = Weir::new();
    for args in [&["frobnicate"][..], &["user", "add"], &["demo", "--scale", "-1"], &["source", "show", "people"]] {
        assert_eq!(weir.run(args).code, Some(2), "{args:?}");
    }
}

#[test]
fn completions_are_printed_for_every_shell() {
    let weir = Weir::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = weir.ok(&["completions", shell]);
        assert!(script.contains("weir") && script.contains("policy"), "{shell}");
    }
}

#[test]
fn users_round_trip() {
    let weir = Weir::new();
    let said =
        weir.ok(&["user", "add", "anna", "--group", "Toys", "--attribute", "nation=FRANCE", "--permission", "audit"]);
    assert!(said.contains("added user `anna` (epoch 1)\npassword, shown only now: "), "{said}");
    weir.file("password", "secret word\nsecond line\n");
    let said = weir.ok(&["user", "add", "bert", "--password-file", "password"]);
    assert_eq!(said, "added user `bert` (epoch 2)\n");
    weir.ok(&["user", "group", "add", "anna", "Home Goods"]);
    weir.ok(&["user", "group", "remove", "anna", "Toys"]);
    weir.ok(&["user", "attribute", "set", "anna", "nation=GERMANY"]);
    weir.ok(&["user", "attribute", "remove", "anna", "nation=FRANCE"]);
    weir.ok(&["user", "permission", "add", "anna", "governance"]);
    weir.ok(&["user", "permission", "remove", "anna", "audit"]);
    expect![[r#"
         USER  GROUPS      ATTRIBUTES      PERMISSIONS
         anna  Home Goods  nation=GERMANY  governance
         bert  -           -               -
    "#]]
    .assert_eq(&stable(&weir, &weir.ok(&["user", "list"])));
    expect![[r#"
        user          anna
        groups        Home Goods
        attributes    nation=GERMANY
        permissions   governance
        owns          -
        selected for  -
    "#]]
    .assert_eq(&weir.ok(&["user", "show", "anna"]));
    assert_eq!(
        weir.ok(&["user", "password", "bert", "--password-file", "password"]),
        "set the password of user `bert`\n"
    );
    weir.ok(&["user", "remove", "bert"]);
    assert!(!weir.ok(&["user", "list"]).contains("bert"));

    let again = weir.fails(&["user", "add", "anna"]);
    assert!(again.contains("user `anna` exists already"), "{again}");
    let meant = weir.fails(&["user", "show", "ana"]);
    assert_eq!(meant, "error: user `ana` does not exist\nhelp: did you mean `anna`?\n");
}

#[test]
fn sources_round_trip() {
    let weir = office();
    expect![[r#"
         DATA SOURCE  COLUMNS  TAGS  OWNERS  FORMAT  PATH
         hr.people    4        -     bert    csv     DIR/people.csv
    "#]]
    .assert_eq(&stable(&weir, &weir.ok(&["source", "list"])));
    weir.ok(&["source", "tag", "hr.people", "--set", "HR,Office"]);
    weir.ok(&["source", "tag", "hr.people", "--column", "name", "--set", "PII.Name"]);
    weir.ok(&["source", "owner", "add", "hr.people", "anna"]);
    weir.ok(&["source", "owner", "remove", "hr.people", "bert"]);
    weir.ok(&["source", "select", "hr.people", "bert"]);
    expect![[r#"
        data source   hr.people
        format        csv
        path          DIR/people.csv
        partitions    -
        tags          HR, Office
        owners        anna
        selected      bert

        COLUMN      TYPE    NULL  TAGS
        id          bigint  null  -
        name        text    null  PII.Name
        ssn         text    null  PII.SSN
        department  text    null  -
    "#]]
    .assert_eq(&stable(&weir, &weir.ok(&["source", "show", "hr.people"])));
    weir.ok(&["source", "unselect", "hr.people", "bert"]);
    weir.ok(&["source", "remove", "hr.people"]);
    assert!(!weir.ok(&["source", "list"]).contains("people"));
    assert!(weir.path().join("people.csv").exists());
}

#[test]
fn a_source_that_cannot_be_used_says_why() {
    let weir = office();
    weir.file("cut.parquet", b"PAR1 and then nothing");
    let cases: &[(&[&str], &str)] = &[
        (&["hr.gone", "gone.csv"], "cannot read"),
        (&["hr.cut", "cut.parquet"], "is not a readable parquet file"),
        (&["hr.people", "people.csv"], "is registered already"),
        (&["hr.other", "people.csv", "--leave-out", "salry"], "did you mean `salary`?"),
        (&["hr.other", "people.csv", "--column-tag", "sn=PII"], "has no column `sn`"),
        (&["hr.other", "people.csv", "--leave-out", "ssn", "--column-tag", "ssn=PII"], "is left out"),
        (&["hr.other", "people.csv", "--owner", "brt"], "did you mean `bert`?"),
        (&["hr.other", "cut.parquet", "--format", "parquet", "--delimiter", ";"], "are for CSV files"),
    ];
    for (args, message) in cases {
        let args: Vec<&str> = ["source", "add"].into_iter().chain(args.iter().copied()).collect();
        let said = weir.fails(&args);
        assert!(said.contains(message), "{args:?}: {said}");
    }
    assert!(weir.fails(&["source", "show", "hr.peple"]).contains("did you mean `hr.people`?"));
}

#[test]
fn policies_round_trip() {
    let weir = office();
    let text = "Mask using hashing the column ssn for everyone on data source hr.people";
    let said = weir.ok(&["policy", "add", "--key", "hr.ssn", "--text", text]);
    assert!(said.starts_with("added policy `hr.ssn` (epoch "), "{said}");
    let said = weir.ok(&["policy", "add", "--key", "hr.ssn", "--text", text, "--dry-run"]);
    assert_eq!(said, "nothing is wrong; nothing was saved\n");
    let shown = weir.ok(&["policy", "show", "hr.ssn"]);
    assert_eq!(shown, format!("policy hr.ssn:\n{text}\n"));
    assert!(weir.ok(&["policy", "list"]).contains("hr.ssn"));

    // Out as YAML, back in, out as English: the same policy.
    weir.file("policies.yaml", weir.ok(&["policy", "show", "hr.ssn", "--yaml"]));
    assert_eq!(weir.ok(&["policy", "fmt", "policies.yaml", "--to", "english"]), shown);
    assert!(weir.ok(&["policy", "add", "policies.yaml"]).starts_with("replaced policy `hr.ssn`"));
    assert_eq!(weir.ok(&["policy", "show", "hr.ssn"]), shown);

    weir.ok(&[
        "policy",
        "add",
        "--text",
        "Allow users to subscribe when user is a member of group Toys on data source hr.people",
    ]);
    let explained = weir.ok(&["policy", "explain", "--user", "anna", "hr.people"]);
    assert!(explained.contains("hr.ssn"), "{explained}");
    weir.ok(&["policy", "remove", "hr.ssn"]);
    assert!(weir.fails(&["policy", "show", "hr.ssn"]).contains("policy `hr.ssn` does not exist"));
}

#[test]
fn a_policy_that_does_not_fit_is_not_saved() {
    let weir = office();
    weir.file("good.weir", "policy good:\nMask by making null the column name for everyone on data source hr.people\n");
    weir.file("bad.weir", "policy bad:\nMask using hashing the column snn for everyone on data source hr.people\n");
    let said = weir.fails(&["policy", "add", "good.weir", "bad.weir"]);
    assert!(said.contains("bad.weir:2") && said.contains("snn") && said.contains("error: nothing was saved"), "{said}");
    assert!(!weir.ok(&["policy", "list"]).contains("good"));
    let said = weir.fails(&["policy", "check", "good.weir", "bad.weir"]);
    assert!(said.contains("error: 1 of 2 texts cannot be saved"), "{said}");
    assert!(weir.ok(&["policy", "check", "good.weir"]).contains("1 policy is in order"));

    // Columns that were left out at registration are as unknown as any other.
    let said = weir.fails(&[
        "policy",
        "add",
        "--text",
        "Mask by making null the column salary for everyone on data source hr.people",
    ]);
    assert!(said.contains("salary"), "{said}");
}

#[test]
fn formatting_does_not_lose_comments() {
    let weir = Weir::new();
    let sentence = "Mask using hashing the column ssn for everyone";
    weir.file("p.weir", format!("# why\npolicy p:\n  {sentence}\n"));
    assert!(weir.fails(&["policy", "fmt", "p.weir", "--write"]).contains("has comments"));
    weir.file("p.weir", format!("policy p:\n  {}\n", sentence.to_lowercase()));
    weir.ok(&["policy", "fmt", "p.weir", "--write"]);
    assert_eq!(std::fs::read_to_string(weir.path().join("p.weir")).unwrap(), format!("policy p:\n{sentence}\n"));
    // Without a data directory only the language is checked.
    assert!(weir.ok(&["policy", "check", "p.weir"]).contains("there is no data directory"));
    assert!(!weir.path().join("data").exists());
}

#[test]
fn settings_are_checked_and_shown() {
    let weir = Weir::new();
    weir.file("weir.toml", "[sql]\nconnections_max = 7\nadress = \"x\"\n");
    expect![[r#"
        error: the settings cannot be used
          weir.toml:3: unknown key `sql.adress`
            help: did you mean `sql.address`?
    "#]]
    .assert_eq(&weir.fails(&["config", "check", "weir.toml"]));
    // No command starts with settings that are wrong.
    assert!(weir.fails(&["--config", "weir.toml", "user", "list"]).contains("unknown key"));
    weir.file("weir.toml", "[sql]\nconnections_max = 7\n");
    let shown = weir.ok(&["config", "show", "--sources", "--config", "weir.toml"]);
    assert!(shown.contains("sql.connections_max = 7  # weir.toml:2\n"), "{shown}");
    assert!(shown.contains("data_dir = data  # environment variable WEIR_DATA_DIR\n"), "{shown}");
    let mut command = weir.command(&["config", "check"]);
    let ran = Ran::of(command.env("WEIR_SQL_ADRESS", "127.0.0.1:1").output().unwrap());
    assert!(ran.err.contains("did you mean `WEIR_SQL_ADDRESS`?"), "{}", ran.err);
}

#[test]
fn the_reference_of_settings_is_up_to_date() {
    expect_file!["../../../../docs/settings.md"].assert_eq(&Weir::new().ok(&["config", "docs"]));
}

#[test]
fn a_port_in_use_is_told_before_anything_is_made() {
    let weir = Weir::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for command in ["serve", "demo"] {
        let said = weir.fails(&[command, "--sql-address", &address]);
        assert!(said.contains(&format!("cannot listen on {address}: something else listens there already")), "{said}");
    }
    assert!(!weir.path().join("data").exists());
}

#[test]
fn a_data_directory_that_cannot_be_used_says_why() {
    let weir = Weir::new();
    assert!(weir.fails(&["user", "list"]).contains("`data` is not a data directory of Weir"));
    weir.file("file", "");
    assert!(weir.fails(&["user", "add", "anna", "--data-dir", "file"]).contains("is not a directory"));
    weir.ok(&["user", "add", "anna"]);
    weir.file("data/weir.db", "something else");
    assert!(weir.fails(&["user", "list"]).contains("is not a database of Weir"));
}

#[tokio::test]
async fn a_data_directory_of_a_newer_version_is_left_alone() {
    use sqlx::Connection;

    let weir = Weir::new();
    weir.ok(&["user", "add", "anna"]);
    let path = weir.path().join("data/weir.db");
    let mut newer = sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    let insert = "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time)
        VALUES (999999, 'later', CURRENT_TIMESTAMP, TRUE, x'00', 0)";
    sqlx::query(insert).execute(&mut newer).await.unwrap();
    newer.close().await.unwrap();
    for args in [&["user", "list"][..], &["serve", "--sql-address", "127.0.0.1:0"], &["demo", "--no-serve"]] {
        let said = weir.fails(args);
        assert!(said.contains("newer version of Weir"), "{args:?}: {said}");
    }
}

#[test]
fn the_audit_log_is_empty_at_first() {
    let weir = office();
    assert_eq!(weir.ok(&["audit", "--json"]), "");
    let gone = weir.fails(&["audit", "--request", "0199f1c0-8f6e-7a3b-9d51-2c1f0e6b7a42"]);
    assert!(gone.contains("is not on record"), "{gone}");
    assert!(weir.fails(&["audit", "--since", "yesterday"]).contains("`yesterday` is no time"));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let weir = office();
    let mut child =
        weir.command(&["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
}
