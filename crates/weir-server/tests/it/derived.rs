//! Data sources that were made from others, through the real program.

use expect_test::expect;

use crate::weir::Weir;

const PEOPLE: &str = "id,name,email,country\n1,Ann,ann@x.org,FR\n2,Bob,bob@x.org,US\n3,Cem,cem@x.org,FR\n";
/// What somebody made of it.
const LIST: &str = "id,mail,land,score\n1,ann@x.org,FR,0.5\n2,bob@x.org,US,0.75\n3,cem@x.org,FR,0.25\n";

/// Users ann (group FR) and mia, the data source `shop.people`, and `mart.list` that mia made from it.
fn shop() -> Weir {
    let weir = Weir::new();
    weir.file("password", "demo");
    weir.file("people.csv", PEOPLE);
    weir.file("list.csv", LIST);
    weir.ok(&["user", "add", "ann", "--group", "FR", "--password-file", "password"]);
    weir.ok(&["user", "add", "mia", "--password-file", "password"]);
    weir.ok(&["source", "add", "shop.people", "people.csv"]);
    let copies = ["id=shop.people.id", "mail=shop.people.email", "land=shop.people.country"];
    let mut add = vec!["source", "add", "mart.list", "list.csv", "--owner", "mia", "--derived-from", "shop.people"];
    add.extend(copies.iter().flat_map(|copy| ["--copies", copy]));
    weir.ok(&add);
    weir.ok(&["policy", "add", "--key", "mart", "--text", "Allow anyone to subscribe on data sources in schema mart"]);
    weir
}

fn policy(weir: &Weir, key: &str, text: &str) {
    weir.ok(&["policy", "add", "--key", key, "--text", text]);
}

#[test]
fn policies_of_the_original_hold_for_what_was_made_from_it() {
    let weir = shop();
    let server = weir.start(&["serve"]);
    let all = "select * from mart.list order by id";
    // Nobody is let in at the original, not even the owner of what was made from it.
    for user in ["ann", "mia"] {
        let ran = server.sql(&weir, user, all);
        assert!(ran.code == Some(1) && ran.err.contains("does not exist"), "{ran:?}");
    }
    policy(&weir, "shop", "Allow anyone to subscribe on data source shop.people");
    assert_eq!(server.sql(&weir, "ann", all).out, LIST);
    policy(&weir, "mails", "Mask by making null the column email for everyone on data source shop.people");
    policy(
        &weir,
        "lands",
        "Only show rows where user is a member of group that matches the value in the column country for everyone \
         except when user is an owner of the data source on data source shop.people",
    );
    // The score may tell of everything, mails as well.
    assert_eq!(server.sql(&weir, "ann", all).out, "id,mail,land,score\n1,,FR,\n3,,FR,\n");
    assert_eq!(server.sql(&weir, "mia", all).out, "id,mail,land,score\n");
    weir.ok(&["source", "owner", "add", "shop.people", "mia"]);
    assert_eq!(server.sql(&weir, "mia", "select id from mart.list order by id").out, "id\n1\n2\n3\n");
    weir.ok(&["policy", "remove", "lands"]);
    let names = "Only show rows where name <> 'Bob' for everyone on data source shop.people";
    policy(&weir, "names", names);
    let ran = server.sql(&weir, "ann", all);
    assert!(ran.code == Some(1) && ran.err.contains("does not exist"), "{ran:?}");
    let audit = weir.ok(&["audit", "--json"]);
    assert!(audit.contains("filter-not-copied"), "{audit}");
    weir.ok(&["policy", "remove", "names"]);
    let said = weir.ok(&["source", "remove", "shop.people"]);
    assert!(said.contains("nobody can read `mart.list` any more, which was made from it"), "{said}");
    assert_eq!(server.sql(&weir, "ann", all).code, Some(1));
    weir.ok(&["source", "lineage", "mart.list", "--none"]);
    assert_eq!(server.sql(&weir, "ann", all).out, LIST);
}

#[test]
fn lineage_is_shown_and_explained() {
    let weir = shop();
    let stable = |text: &str| -> String {
        let text = text.replace(&weir.path().canonicalize().unwrap().display().to_string(), "DIR");
        text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
    };
    policy(&weir, "shop", "Allow anyone to subscribe on data source shop.people");
    policy(&weir, "mails", "Mask using hashing the column email for everyone on data source shop.people");
    policy(&weir, "lands", "Only show rows where country <> 'US' for everyone on data source shop.people");
    expect![[r#""#]].assert_eq(&stable(&weir.ok(&["source", "list"])));
    expect![[r#""#]].assert_eq(&stable(&weir.ok(&["source", "show", "mart.list"])));
    expect![[r#""#]].assert_eq(&stable(&weir.ok(&["policy", "explain", "--user", "ann", "mart.list"])));
    expect![[r#""#]].assert_eq(&stable(&weir.ok(&[
        "policy",
        "explain",
        "--user",
        "ann",
        "mart.list",
        "--column",
        "score",
    ])));
    weir.ok(&["source", "remove", "shop.people"]);
    expect![[r#""#]].assert_eq(&stable(&weir.ok(&["source", "list"])));
    expect![[r#""#]].assert_eq(&stable(&weir.ok(&["policy", "explain", "--user", "ann", "mart.list"])));
}

#[test]
fn a_lineage_that_cannot_be_says_why() {
    let weir = shop();
    let add = |more: &[&str]| {
        let args = ["source", "add", "mart.other", "list.csv", "--no-detect"];
        weir.fails(&args.iter().chain(more).copied().collect::<Vec<_>>())
    };
    let from = |more: &[&'static str]| {
        let args = ["--derived-from", "shop.people"];
        add(&args.iter().chain(more).copied().collect::<Vec<_>>())
    };
    let mut said = String::new();
    for one in [
        add(&["--derived-from", "shop.peple"]),
        from(&["--copies", "mial=shop.people.email"]),
        from(&["--copies", "mail=shop.people.emial"]),
        from(&["--copies", "mail=mart.list.mail"]),
        from(&["--copies", "mail"]),
        from(&["--copies", "score=shop.people.email"]),
        from(&["--copies", "mail=shop.people.email", "--computed", "mail=shop.people.name"]),
        weir.fails(&["source", "lineage", "shop.people", "--derived-from", "mart.list"]),
    ] {
        said.push_str(&one);
        said.push('\n');
    }
    expect![[r#""#]].assert_eq(&said);
    assert!(!weir.ok(&["source", "list"]).contains("mart.other"));
    let said = weir.ok(&[
        "source",
        "lineage",
        "mart.list",
        "--derived-from",
        "shop.people",
        "--computed",
        "mail=shop.people.email,shop.people.name",
    ]);
    assert!(said.starts_with("data source `mart.list` was made from: shop.people"), "{said}");
}
