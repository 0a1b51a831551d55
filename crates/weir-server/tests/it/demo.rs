//! `weir demo` end to end, with small tables.

use crate::weir::Weir;

const DEPARTMENTS: &str = "select distinct department from retail.customer_purchases order by 1";

#[test]
fn people_see_what_the_policies_say() {
    let weir = Weir::new();
    let server = weir.start(&["demo", "--scale", "0.001"]);

    assert_eq!(server.sql(&weir, "tara", DEPARTMENTS).out, "department\nHome Goods\nToys\n");
    assert_eq!(server.sql(&weir, "oona", DEPARTMENTS).out.lines().count(), 1 + 8);
    let ssns = server.sql(&weir, "tara", "select ssn from retail.customer_purchases order by id limit 20").out;
    assert!(ssns.lines().skip(1).all(|ssn| ssn.len() == 64 && ssn.bytes().all(|b| b.is_ascii_hexdigit())), "{ssns}");
    let ssns = server.sql(&weir, "oona", "select ssn from retail.customer_purchases order by id limit 20").out;
    assert!(ssns.lines().skip(1).all(|ssn| ssn.len() == 11), "{ssns}");
    let unseen = server.sql(&weir, "nora", DEPARTMENTS);
    assert_eq!((unseen.code, unseen.out.as_str()), (Some(1), ""));
    assert!(unseen.err.contains("42P01"), "{}", unseen.err);

    let balances = "select count(c_acctbal) > 0, count(*) > 0 from tpch.customer";
    assert!(server.sql(&weir, "fin", balances).out.ends_with("t,t\n"));
    assert!(server.sql(&weir, "ana", balances).out.ends_with("f,t\n"));

    // A change holds at once.
    weir.ok(&["user", "group", "remove", "tara", "Toys"]);
    assert_eq!(server.sql(&weir, "tara", DEPARTMENTS).out, "department\nHome Goods\n");

    let audit = weir.ok(&["audit", "--json"]);
    let entries: Vec<serde_json::Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |user: &str| entries.iter().find(|e| e["attempt"]["actor"]["effective"] == user).unwrap();
    assert_eq!(of("tara")["attempt"]["sources"][0]["decision"], "obliged");
    assert_eq!(of("tara")["outcome"]["rows"], 2);
    assert_eq!(of("oona")["attempt"]["epoch"], 1);
    assert_eq!(of("nora")["attempt"]["refusal"]["truth"], "unseen");
    assert!(weir.ok(&["audit", "--user", "nora"]).contains("refused: unseen"));

    server.signal("TERM");
    let (code, guide, _) = server.wait();
    assert_eq!(code, Some(0));
    assert!(guide.contains("user=tara password=demo"), "{guide}");

    // The second start uses what is there, with the change.
    let server = weir.start(&["demo"]);
    assert_eq!(server.sql(&weir, "tara", DEPARTMENTS).out, "department\nHome Goods\n");
    server.signal("INT");
    assert_eq!(server.wait().0, Some(0));
}

#[test]
fn wrong_passwords_and_a_second_server_are_refused() {
    let weir = Weir::new();
    let server = weir.start(&["demo", "--scale", "0.001"]);
    let port = server.address.port().to_string();
    let login = |user: &str, password: &str| {
        let mut command = weir.command(&["sql", "--port", &port, "--user", user, "-c", "select 1"]);
        let output = command.env("WEIR_PASSWORD", password).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap().replace(user, "USER"))
    };
    let wrong = login("tara", "wrong");
    assert_eq!(wrong.0, Some(1));
    assert!(wrong.1.contains("password authentication failed"), "{}", wrong.1);
    assert_eq!(login("nobody", "demo"), wrong);

    let second = weir.fails(&["serve", "--sql-address", "127.0.0.1:0"]);
    assert!(second.contains("another server runs on data directory"), "{second}");
    let taken = weir.fails(&["demo", "--sql-address", &server.address.to_string()]);
    assert!(
        taken.contains(&format!("cannot listen on {}: something else listens there already", server.address)),
        "{taken}"
    );
    assert!(taken.contains("--sql-address"), "{taken}");
}
