//! Data sources that were made from others, through the real program.

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
    assert!(
        audit.contains("the row filter of policy `names` there reads `name`, of which there is not one copy"),
        "{audit}"
    );
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
    policy(&weir, "shop", "Allow anyone to subscribe on data source shop.people");
    policy(&weir, "mails", "Mask using hashing the column email for everyone on data source shop.people");
    policy(&weir, "lands", "Only show rows where country <> 'US' for everyone on data source shop.people");
    let has = |args: &[&str], wanted: &[&str]| {
        let said = weir.ok(args);
        let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = line(&said);
        wanted.iter().for_each(|wanted| assert!(said.contains(&line(wanted)), "no `{wanted}` in {said}"));
    };
    has(&["source", "list"], &["MADE FROM", "list.csv shop.people"]);
    has(
        &["source", "show", "mart.list"],
        &[
            "made from shop.people",
            "COMES FROM",
            "mail text null - copy of shop.people.email",
            "score double null - computed",
        ],
    );
    let explain = ["policy", "explain", "--user", "ann", "mart.list"];
    has(
        &explain,
        &[
            "Policy `mart` lets anyone subscribe. At `shop.people`, which it was made from: Policy `shop` lets anyone subscribe.",
            "land <> 'US' policy `lands` of `shop.people`: it is for everyone",
            "mail text hashed policy `mails` of `shop.people`: it is for everyone",
            "score double null policy `mails` of `shop.people`: it is for everyone; NULL here, for `score` is computed from `email`",
        ],
    );
    weir.ok(&["source", "remove", "shop.people"]);
    has(&["source", "list"], &["list.csv (gone: data source 1)"]);
    has(&explain, &["its lineage does not hold any more: data source 1, which `mart.list` is derived from, is gone."]);
}

#[test]
fn a_lineage_that_cannot_be_says_why() {
    let weir = shop();
    let refused = |more: &[&str], why: &str| {
        let args = ["source", "add", "mart.other", "list.csv", "--no-detect"];
        let said = weir.fails(&args.iter().chain(more).copied().collect::<Vec<_>>());
        assert!(said.contains(why), "no `{why}` in {said}");
    };
    let from = |more: &[&'static str], why: &str| {
        let args = ["--derived-from", "shop.people"];
        refused(&args.iter().chain(more).copied().collect::<Vec<_>>(), why);
    };
    refused(&["--derived-from", "shop.peple"], "data source `shop.peple` is not registered");
    refused(&["--derived-from", "shop.peple"], "did you mean `shop.people`?");
    from(&["--copies", "mial=shop.people.email"], "data source `mart.other` has no column `mial`");
    from(&["--copies", "mail=shop.people.emial"], "data source `shop.people` has no column `emial`");
    from(&["--copies", "mail=mart.list.mail"], "`mart.list.mail` is no column of a data source in --derived-from");
    from(&["--copies", "mail"], "`mail` is not of the form `key=value`");
    from(
        &["--copies", "score=shop.people.email"],
        "column `score` of type double is no copy of `shop.people.email` of type text",
    );
    from(
        &["--copies", "mail=shop.people.email", "--computed", "mail=shop.people.name"],
        "column `mail` is either a copy or computed, not both",
    );
    let said = weir.fails(&["source", "lineage", "shop.people", "--derived-from", "mart.list"]);
    assert!(said.contains("`shop.people` is derived from itself"), "{said}");
    assert!(!weir.ok(&["source", "list"]).contains("mart.other"));
    let computed = ["--computed", "mail=shop.people.email,shop.people.name"];
    let args = ["source", "lineage", "mart.list", "--derived-from", "shop.people"];
    let said = weir.ok(&args.iter().chain(&computed).copied().collect::<Vec<_>>());
    assert!(said.starts_with("data source `mart.list` was made from: shop.people (epoch"), "{said}");
    let said = weir.ok(&["source", "show", "mart.list"]);
    assert!(said.contains("computed from shop.people.name, shop.people.email"), "{said}");
}
