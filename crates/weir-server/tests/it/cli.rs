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
        &["source", "row-key"],
        &["source", "profile"],
        &["source", "event-time"],
        &["source", "lineage"],
        &["user"],
        &["user", "add"],
        &["policy"],
        &["policy", "check"],
        &["policy", "fmt"],
        &["policy", "add"],
        &["policy", "choose"],
        &["policy", "certify"],
        &["policy", "instantiate"],
        &["policy", "explain"],
        &["policy", "plan"],
        &["policy", "apply"],
        &["policy", "test"],
        &["policy", "export"],
        &["policy", "diff"],
        &["policy", "history"],
        &["subscription"],
        &["subscription", "request"],
        &["subscription", "list"],
        &["subscription", "approve"],
        &["subscription", "deny"],
        &["purpose"],
        &["purpose", "create"],
        &["purpose", "statement"],
        &["project"],
        &["project", "create"],
        &["project", "member"],
        &["project", "purpose"],
        &["project", "purpose", "approve"],
        &["project", "set"],
        &["project", "acknowledge"],
        &["impersonation"],
        &["impersonation", "allow"],
        &["unmask"],
        &["key"],
        &["key", "rotate"],
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
    for args in [
        &["frobnicate"][..],
        &["user", "add"],
        &["demo", "--scale", "-1"],
        &["source", "show", "people"],
        &["source", "row-key", "hr.people"],
        &["project", "set", "study"],
        &["project", "set", "study", "--equalized", "maybe"],
        &["impersonation", "allow", "anna"],
        &["impersonation", "allow", "anna", "--user", "bert", "--group", "Toys"],
        &["key", "rotate"],
        &["key", "rotate", "hr.people", "--project", "study"],
        &["subscription", "request", "hr.people", "--user", "anna"],
    ] {
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
        approved for  -
        projects      -
        may act as    -
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
        approved      -
        projects      -
        chosen        -
        row key       id
        event time    -

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
fn rows_are_looked_at() {
    let weir = office();
    weir.file("lines.csv", "order,line,price,day\n1,1,2.5,2024-01-01\n1,2,2.5,2024-02-01\n2,1,,2024-03-15\n2,2,90,\n");
    let said = weir.ok(&["source", "add", "shop.lines", "lines.csv"]);
    let key = "row key: order, line, which tells all 4 rows apart; `weir source row-key shop.lines …` says otherwise\n";
    assert!(said.contains(key), "{said}");
    assert!(weir.ok(&["source", "show", "shop.lines"]).contains("row key       order, line\n"));
    expect![[r#"
        COLUMN  TYPE    NULL  DIFFERENT  LEAST              GREATEST           ROUNDED TO
        order   bigint  -     2          1                  2                  2
        line    bigint  -     2          1                  2                  2
        price   double  25%   2          2.5                90.0               5
        day     date    25%   3          DATE '2024-01-01'  DATE '2024-03-15'  week

        profile of data source `shop.lines` from 4 rows (epoch 4)
    "#]]
    .assert_eq(&stable(&weir, &weir.ok(&["source", "profile", "shop.lines"])));
    weir.file("lines.csv", "order,line,price,day\n1,1,2.5,2024-01-01\n1,1,2000,2024-02-01\n");
    weir.ok(&["source", "row-key", "shop.lines", "--none"]);
    let said = weir.ok(&["source", "profile", "shop.lines"]);
    assert!(said.contains("day would tell all 2 rows apart: `weir source row-key shop.lines day`"), "{said}");

    // A policy by profile says what it comes to, and closes what nobody has looked at.
    weir.ok(&["source", "add", "shop.blind", "lines.csv", "--no-detect"]);
    assert!(weir.ok(&["source", "show", "shop.blind"]).contains("row key       -\n"));
    let policy =
        |name: &str| format!("Mask by rounding using the profile the column price for everyone on data source {name}");
    let said = weir.fails(&["policy", "add", "--text", &policy("shop.blind")]);
    assert!(said.contains("column `price` of `shop.blind` has no profile yet"), "{said}");
    weir.ok(&["policy", "add", "--text", &policy("shop.lines")]);
    weir.ok(&["policy", "add", "--text", "Allow anyone to subscribe on data source shop.lines"]);
    let explained = weir.ok(&["policy", "explain", "--user", "anna", "shop.lines"]);
    assert!(explained.contains("rounded down to a multiple of 100"), "{explained}");
    let said = weir.ok(&["source", "add", "shop.keyed", "lines.csv", "--row-key", "line"]);
    assert!(!said.contains("tells all"), "{said}");
    weir.file("broken.csv", "a\n1\n".to_owned() + &"2\n".repeat(5000) + "x\n");
    let said = weir.fails(&["source", "add", "shop.broken", "broken.csv"]);
    assert!(said.contains("cannot look at the rows of") && said.contains("--no-detect"), "{said}");
    weir.ok(&["source", "add", "shop.broken", "broken.csv", "--no-detect"]);
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
fn row_keys_and_event_times_are_columns() {
    let weir = office();
    weir.file("visits.csv", "id,day,doctor\n1,2024-05-06,Dent\n2,2024-05-07,Dent\n");
    weir.ok(&["source", "add", "hr.visits", "visits.csv", "--row-key", "id,doctor", "--event-time", "day"]);
    let shown = || weir.ok(&["source", "show", "hr.visits"]);
    assert!(shown().contains("row key       id, doctor\nevent time    day\n"), "{}", shown());
    let said = weir.ok(&["source", "row-key", "hr.visits", "id"]);
    assert_eq!(said, "row key of data source `hr.visits`: id (epoch 5)\n");
    let said = weir.ok(&["source", "event-time", "hr.visits", "--none"]);
    assert_eq!(said, "event time of data source `hr.visits`: - (epoch 6)\n");
    assert!(shown().contains("row key       id\nevent time    -\n"), "{}", shown());
    weir.ok(&["source", "row-key", "hr.visits", "--none"]);
    weir.ok(&["source", "event-time", "hr.visits", "day"]);
    assert!(shown().contains("row key       -\nevent time    day\n"), "{}", shown());

    let cases: &[(&[&str], &str)] = &[
        (&["row-key", "hr.vists", "id"], "did you mean `hr.visits`?"),
        (&["row-key", "hr.visits", "id", "doktor"], "did you mean `doctor`?"),
        (&["event-time", "hr.visits", "days"], "did you mean `day`?"),
        (&["event-time", "hr.visits", "id"], "is of type bigint, not a date or timestamp"),
        (&["add", "hr.more", "visits.csv", "--row-key", "idd"], "has no column `idd`"),
        (&["add", "hr.more", "visits.csv", "--event-time", "day", "--leave-out", "day"], "is left out"),
    ];
    for (args, message) in cases {
        let args: Vec<&str> = ["source"].into_iter().chain(args.iter().copied()).collect();
        let said = weir.fails(&args);
        assert!(said.contains(message), "{args:?}: {said}");
    }
}

#[test]
fn owners_choose_policies() {
    let weir = office();
    let text = "Mask by making null the column name for everyone on data sources chosen by their owners";
    weir.ok(&["policy", "add", "--key", "hr.hide", "--text", text]);
    let listed = weir.ok(&["policy", "list"]);
    assert!(listed.contains("chosen by owner"), "{listed}");
    let said = weir.ok(&["policy", "choose", "hr.hide", "hr.people"]);
    assert_eq!(said, "policy `hr.hide` is chosen for data source `hr.people` (epoch 5)\n");
    assert!(weir.ok(&["source", "show", "hr.people"]).contains("chosen        hr.hide\n"));
    let explained = weir.ok(&["policy", "explain", "--user", "bert", "hr.people"]);
    assert!(explained.contains("hr.hide"), "{explained}");
    let said = weir.ok(&["policy", "unchoose", "hr.hide", "hr.people"]);
    assert_eq!(said, "policy `hr.hide` is not chosen for data source `hr.people` any more (epoch 6)\n");
    assert!(weir.fails(&["policy", "unchoose", "hr.hide", "hr.people"]).contains("does not exist"));
    assert!(weir.fails(&["policy", "choose", "hr.hid", "hr.people"]).contains("did you mean `hr.hide`?"));
    assert!(weir.fails(&["policy", "choose", "hr.hide", "hr.peple"]).contains("did you mean `hr.people`?"));
    let text = "Mask by making null the column name for everyone on data source hr.people";
    weir.ok(&["policy", "add", "--key", "hr.always", "--text", text]);
    let said = weir.fails(&["policy", "choose", "hr.always", "hr.people"]);
    assert!(said.contains("policy `hr.always` does not wait to be chosen"), "{said}");
}

#[test]
fn subscriptions_are_asked_for_and_approved() {
    let weir = office();
    weir.ok(&["user", "add", "greg", "--permission", "governance"]);
    let ask =
        |user: &str| weir.run(&["subscription", "request", "hr.people", "--user", user, "--reason", "Payroll of May"]);
    assert!(ask("anna").err.contains("no policy that is in effect there takes people in on request"));
    let text = "Allow anyone who asks to subscribe with approval by an owner and by a holder of governance on data source hr.people";
    weir.ok(&["policy", "add", "--key", "hr.ask", "--text", text]);
    let said = ask("anna").out;
    assert_eq!(
        said,
        "made request 1 under policy `hr.ask` (epoch 6)\n\
         still to approve: an owner of the data source; a holder of the permission `governance`\n"
    );
    assert!(ask("anna").err.contains("request 1 is not decided yet"));
    let said = weir.ok(&["subscription", "approve", "1", "--by", "greg"]);
    assert_eq!(said, "user `greg` has approved request 1 (epoch 7)\nstill to approve: an owner of the data source\n");
    expect![[r#"
         REQUEST  STATE  USER  DATA SOURCE  POLICY  APPROVALS  UNTIL  REASON
         1        open   anna  hr.people    hr.ask  1 of 2     -      Payroll of May
    "#]]
    .assert_eq(&stable(&weir, &weir.ok(&["subscription", "list", "--open"])));
    let said = weir.fails(&["subscription", "approve", "1", "--by", "greg"]);
    assert!(said.contains("they have approved it already"), "{said}");
    let said = weir.fails(&["subscription", "approve", "1", "--by", "brt"]);
    assert!(said.contains("did you mean `bert`?"), "{said}");
    let said = weir.fails(&["subscription", "approve", "1", "--by", "bert", "--until", "2001-02-03"]);
    assert!(said.contains("`2001-02-03` is over"), "{said}");
    let said = weir.ok(&["subscription", "approve", "1", "--by", "bert", "--until", "2999-12-30"]);
    assert_eq!(
        said,
        "user `bert` has approved request 1 (epoch 8)\n\
         user `anna` is subscribed under policy `hr.ask` until 2999-12-31T00:00:00Z\n"
    );
    assert!(weir.ok(&["source", "show", "hr.people"]).contains("approved      anna\n"));
    assert!(weir.ok(&["user", "show", "anna"]).contains("approved for  hr.people\n"));
    let shown = weir.ok(&["subscription", "show", "1"]);
    for line in [
        "asks          an owner of the data source; a holder of the permission `governance`\n",
        "until         2999-12-31T00:00:00Z\n",
        "as a holder of the permission `governance`",
        "as an owner of the data source, until 2999-12-31T00:00:00Z",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert!(weir.ok(&["subscription", "list", "--user", "anna", "--source", "hr.people"]).contains("approved"));

    // Ended by the owner; asked again, and taken back.
    let said = weir.ok(&["subscription", "deny", "1", "--by", "bert", "--reason", "Payroll is over"]);
    assert_eq!(said, "user `bert` has denied request 1 (epoch 9)\n");
    assert!(weir.ok(&["source", "show", "hr.people"]).contains("approved      -\n"));
    assert!(weir.ok(&["subscription", "show", "1"]).contains("Payroll is over"));
    assert!(ask("anna").out.starts_with("made request 2 "));
    let said = weir.ok(&["subscription", "withdraw", "2"]);
    assert_eq!(said, "request 2 is withdrawn (epoch 11)\n");
    assert_eq!(weir.ok(&["subscription", "list", "--open"]).lines().count(), 1);
    assert!(weir.fails(&["subscription", "withdraw", "3"]).contains("request 3 does not exist"));
    assert!(weir.fails(&["subscription", "list", "--user", "ana"]).contains("did you mean `anna`?"));
}

#[test]
fn projects_round_trip() {
    let weir = office();
    for (user, permission) in [("greg", "governance"), ("petra", "project-management")] {
        weir.ok(&["user", "add", user, "--permission", permission]);
    }
    weir.ok(&["policy", "add", "--key", "hr.all", "--text", "Allow anyone to subscribe on data source hr.people"]);
    let limit = "Limit usage to purpose research for everyone on data source hr.people";
    weir.ok(&["policy", "add", "--key", "hr.limit", "--text", limit]);
    assert!(weir.ok(&["policy", "list"]).contains("purpose limit"));

    let statement = "I use the data for research only.";
    let said = weir.ok(&["purpose", "create", "research.cancer"]);
    assert_eq!(said, "created purpose `research.cancer` (epoch 8)\n");
    weir.ok(&["purpose", "create", "research", "--statement", statement]);
    expect![[r#"
         PURPOSE          STATEMENT IS  STATEMENT
         research         its own       I use the data for research only.
         research.cancer  from above    I use the data for research only.
    "#]]
    .assert_eq(&stable(&weir, &weir.ok(&["purpose", "list"])));
    let again = weir.fails(&["purpose", "create", "research", "--statement", "x"]);
    assert!(again.contains("purpose `research` exists already"), "{again}");

    let said = weir.ok(&["project", "create", "study", "--owner", "bert"]);
    assert_eq!(said, "created project `study` (epoch 10)\n");
    weir.ok(&["project", "owner", "add", "study", "greg"]);
    weir.ok(&["project", "owner", "remove", "study", "greg"]);
    weir.ok(&["project", "member", "add", "study", "anna"]);
    weir.ok(&["project", "source", "add", "study", "hr.people"]);
    let said = weir.ok(&["project", "purpose", "add", "study", "research.cancer"]);
    assert_eq!(said, "purpose `research.cancer` of project `study` waits to be approved (epoch 15)\n");
    let granted = |project: &[&str]| {
        let args = [&["policy", "explain", "--user", "anna", "hr.people", "--json"], project].concat();
        weir.ok(&args).contains("\"granted\": true")
    };
    let said = weir.fails(&["project", "purpose", "approve", "study", "research.cancer", "--by", "anna"]);
    assert!(said.contains("takes the permission `governance` or `project-management`"), "{said}");
    let said = weir.ok(&["project", "purpose", "approve", "study", "research.cancer", "--by", "petra"]);
    assert_eq!(said, "purpose `research.cancer` of project `study` is approved (epoch 16)\n");
    assert!(!granted(&["--project", "study"]));
    let said = weir.ok(&["project", "acknowledge", "study", "--user", "anna"]);
    assert_eq!(
        said,
        "user `anna` has acknowledged purpose `research.cancer` (epoch 17)\n  I use the data for research only.\n"
    );
    assert!(!granted(&[]) && granted(&["--project", "study"]));
    let said = weir.ok(&["project", "acknowledge", "study", "--user", "anna"]);
    assert_eq!(said, "user `anna` has nothing left to acknowledge in project `study`\n");

    let said = weir.ok(&["project", "set", "study", "--equalized", "on", "--masked-joins", "on"]);
    assert_eq!(said, "equalized of project `study`: on (epoch 18)\nmasked joins of project `study`: on (epoch 18)\n");
    expect![[r#"
         PROJECT  OWNERS  MEMBERS  DATA SOURCES  PURPOSES         EQUALIZED  MASKED JOINS
         study    bert    1        1             research.cancer  on         on
    "#]]
    .assert_eq(&stable(&weir, &weir.ok(&["project", "list"])));
    // Another text has to be acknowledged anew.
    let said = weir.ok(&["purpose", "statement", "research.cancer", "I use the data against cancer."]);
    assert_eq!(said, "set the statement of purpose `research.cancer` (epoch 19)\n");
    assert!(!granted(&["--project", "study"]));
    let shown = weir.ok(&["project", "show", "study"]);
    for line in ["members       anna\n", "by petra, 2", "I use the data against cancer."] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let last: Vec<&str> = shown.trim_end().lines().last().unwrap().split_whitespace().collect();
    assert_eq!(last, ["anna", "-", "research.cancer"]);
    assert!(weir.ok(&["purpose", "show", "research.cancer"]).contains("statement is  its own\n"));
    weir.ok(&["purpose", "statement", "research.cancer", ""]);
    assert!(granted(&["--project", "study"]));
    assert!(weir.ok(&["user", "show", "anna"]).contains("projects      study\n"));
    assert!(weir.ok(&["source", "show", "hr.people"]).contains("projects      study\n"));

    let cases: &[(&[&str], &str)] = &[
        (&["project", "create", "study"], "project `study` exists already"),
        (&["project", "show", "stdy"], "did you mean `study`?"),
        (&["project", "member", "add", "study", "ana"], "did you mean `anna`?"),
        (&["project", "source", "add", "study", "hr.peple"], "did you mean `hr.people`?"),
        (&["project", "purpose", "add", "study", "reserch"], "did you mean `research`?"),
        (&["project", "acknowledge", "study", "--user", "greg"], "user `greg` is no member of project `study`"),
        (&["policy", "explain", "--user", "anna", "--project", "stdy", "hr.people"], "did you mean `study`?"),
        (&["purpose", "remove", "research.cancer"], "is in use by project `study`"),
        (&["purpose", "remove", "research"], "is in use by purpose `research.cancer` below it"),
    ];
    for (args, message) in cases {
        let said = weir.fails(args);
        assert!(said.contains(message), "{args:?}: {said}");
    }
    weir.ok(&["project", "purpose", "remove", "study", "research.cancer"]);
    weir.ok(&["purpose", "remove", "research.cancer"]);
    weir.ok(&["project", "source", "remove", "study", "hr.people"]);
    weir.ok(&["project", "member", "remove", "study", "anna"]);
    weir.ok(&["project", "remove", "study"]);
    assert!(!weir.ok(&["project", "list"]).contains("study"));
}

#[test]
fn leave_to_act_as_others_round_trips() {
    let weir = office();
    let said = weir.ok(&["impersonation", "allow", "bert", "--user", "anna"]);
    assert_eq!(said, "user `bert` may act as user `anna` (epoch 4)\n");
    let said = weir.ok(&["impersonation", "allow", "bert", "--group", "Toys"]);
    assert_eq!(said, "user `bert` may act as group `Toys` (epoch 5)\n");
    expect![[r#"
         USER  MAY ACT AS  NAME
         bert  user        anna
         bert  members of  Toys
    "#]]
    .assert_eq(&stable(&weir, &weir.ok(&["impersonation", "list"])));
    assert!(weir.ok(&["user", "show", "bert"]).contains("may act as    user `anna`, group `Toys`\n"));
    let said = weir.ok(&["impersonation", "deny", "bert", "--group", "Toys"]);
    assert_eq!(said, "user `bert` may not act as group `Toys` any more (epoch 6)\n");
    assert!(!weir.ok(&["impersonation", "list"]).contains("Toys"));
    assert!(weir.fails(&["impersonation", "allow", "brt", "--user", "anna"]).contains("did you mean `bert`?"));
    assert!(weir.fails(&["impersonation", "allow", "bert", "--user", "ana"]).contains("did you mean `anna`?"));
    assert!(weir.fails(&["impersonation", "allow", "bert", "--group", "Toy"]).contains("did you mean `Toys`?"));
    assert!(weir.fails(&["impersonation", "deny", "bert", "--group", "Toys"]).contains("does not exist"));
}

#[test]
fn keys_are_made_anew_and_never_shown() {
    let weir = office();
    let rows = || {
        let listed = weir.ok(&["key", "list"]);
        let rows = listed.lines().skip(1).map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            // The last one is the time.
            words[..words.len() - 1].join(" ")
        });
        rows.collect::<Vec<_>>()
    };
    assert_eq!(rows(), ["data source hr.people 1 in use"]);
    let said = weir.ok(&["key", "rotate", "hr.people"]);
    assert_eq!(said, "masks of data source `hr.people` use a new key (epoch 4)\n");
    assert_eq!(rows(), ["data source hr.people 1 to unmask", "data source hr.people 2 in use"]);
    weir.ok(&["project", "create", "study"]);
    weir.ok(&["project", "set", "study", "--masked-joins", "on"]);
    weir.ok(&["key", "rotate", "--project", "study"]);
    assert_eq!(rows()[2..], ["project study 1 to unmask", "project study 2 in use"]);
    assert!(weir.fails(&["key", "rotate", "hr.peple"]).contains("did you mean `hr.people`?"));
    assert!(weir.fails(&["key", "rotate", "--project", "stdy"]).contains("did you mean `study`?"));

    // Nothing works without the master key, and nothing is lost by that.
    std::fs::rename(weir.path().join("data/master.key"), weir.path().join("aside")).unwrap();
    let said = weir.fails(&["key", "list"]);
    assert!(said.contains("master key `") && said.contains("it is missing"), "{said}");
    std::fs::rename(weir.path().join("aside"), weir.path().join("data/master.key")).unwrap();
    assert_eq!(rows().len(), 4);
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
