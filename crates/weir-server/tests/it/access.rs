//! Masks with keys, purposes, projects, requests and impersonation through the real program.

use crate::weir::{Server, Weir};

const TABLE: &str = "retail.customer_purchases";

/// A server of the demonstration whose retail policies are replaced by `policies`, each with a key.
fn demo(policies: &[(&str, &str)]) -> (Weir, Server) {
    let weir = Weir::new();
    let server = weir.start(&["demo", "--scale", "0.001"]);
    for (key, text) in policies {
        weir.ok(&["policy", "add", "--key", key, "--text", text]);
    }
    (weir, server)
}

#[track_caller]
fn rows(weir: &Weir, server: &Server, user: &str, sql: &str) -> Vec<String> {
    let ran = server.sql(weir, user, sql);
    assert_eq!(ran.code, Some(0), "{sql}: {ran:?}");
    ran.out.lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn reversible_values_come_back_for_those_who_may_unmask_and_on_record() {
    let text = format!(
        "Mask with reversibility the column last_name for everyone except when user is an owner of the data source on data source {TABLE}"
    );
    let (weir, server) = demo(&[("names", &text)]);
    let sql = format!("select id, last_name from {TABLE} order by id limit 3");
    let (masked, clear) =
        (rows(&weir, &server, "tara", &sql), format!("select id, last_name from {TABLE} order by id"));
    let clear = rows(&weir, &server, "oona", &clear);
    let (id, token) = masked[0].split_once(',').unwrap();
    let original = clear.iter().find_map(|row| row.strip_prefix(&format!("{id},"))).unwrap();
    assert_ne!(token, original);

    let unmask = ["unmask", TABLE, "last_name", token, "--by", "tara", "--reason", "case 7"];
    assert!(weir.fails(&unmask).contains("permission to unmask values is missing"));
    weir.ok(&["user", "permission", "add", "tara", "unmask"]);
    assert_eq!(weir.ok(&unmask).trim(), original);
    let audit = weir.ok(&["audit", "--json"]);
    assert!(audit.contains("unmask 1 values of retail.customer_purchases.last_name: case 7"), "{audit}");

    // A token from before a new key still comes back.
    weir.ok(&["key", "rotate", TABLE]);
    assert_ne!(rows(&weir, &server, "tara", &sql), masked);
    assert_eq!(weir.ok(&unmask).trim(), original);
}

#[test]
fn a_purpose_opens_a_source_within_its_project_only() {
    let text = format!("Limit usage to purpose Research for everyone on data source {TABLE}");
    let (weir, server) = demo(&[("research", &text)]);
    let sql = format!("select count(*) > 0 from {TABLE}");
    let within = |project: &str| format!("set weir.project = '{project}'; {sql}");
    assert_ne!(server.sql(&weir, "tara", &sql).code, Some(0), "no purpose outside of projects");

    weir.ok(&["purpose", "create", "Research", "--statement", "Only for the study."]);
    weir.ok(&["project", "create", "study"]);
    weir.ok(&["project", "member", "add", "study", "tara"]);
    weir.ok(&["project", "source", "add", "study", TABLE]);
    weir.ok(&["project", "purpose", "add", "study", "Research"]);
    let refused = server.sql(&weir, "tara", &within("study"));
    assert_ne!(refused.code, Some(0), "the purpose waits for approval: {refused:?}");

    weir.ok(&["project", "purpose", "approve", "study", "Research", "--by", "greg"]);
    let refused = server.sql(&weir, "tara", &within("study"));
    assert!(refused.err.contains("purpose `Research` of project `study` has not been acknowledged"), "{refused:?}");

    weir.ok(&["project", "acknowledge", "study", "--user", "tara"]);
    assert_eq!(server.sql(&weir, "tara", &within("study")).out.lines().last(), Some("t"));
    assert_ne!(server.sql(&weir, "oona", &within("study")).code, Some(0), "no member");
    assert_ne!(server.sql(&weir, "tara", &within("other")).code, Some(0), "no such project");
    let by_function = format!(
        "select weir.set_current_project('study'); select weir.current_project(); select * from weir.list_projects(); \
         show weir.project; {sql}; select weir.set_current_project()"
    );
    let told = server.sql(&weir, "tara", &by_function).out;
    let headers = ["set_current_project", "current_project", "name,current,state", "weir.project", "?column?"];
    let told = told.lines().filter(|line| !headers.contains(line) && !line.starts_with("count"));
    assert_eq!(told.collect::<Vec<_>>(), ["study", "study", "study,yes,open", "study", "t", "\"\""]);
    let audit = weir.ok(&["audit", "--json"]);
    assert!(audit.contains(r#""project":"study""#) && audit.contains(r#""purposes":["Research"]"#), "{audit}");

    let asked = ["weir.set_current_project('study')", "weir.list_projects()", "weir.set_current_project()"];
    assert!(asked.iter().all(|asked| audit.contains(asked)), "{audit}");

    // A project for one transaction.
    let local = format!("begin; set local weir.project = 'study'; {sql}; commit; select weir.current_project()");
    let told = server.sql(&weir, "tara", &local).out;
    assert!(told.contains("\nt\n") && told.ends_with("current_project\n\"\"\n"), "{told}");

    weir.ok(&["project", "member", "remove", "study", "tara"]);
    assert_ne!(server.sql(&weir, "tara", &within("study")).code, Some(0), "no member any more");
}

#[test]
fn impersonation_takes_a_grant_and_lasts_for_the_connection() {
    let (weir, server) = demo(&[]);
    let sql = format!("select distinct department from {TABLE} order by 1");
    let as_tara = format!("set weir.impersonate_user = 'tara'; {sql}");
    assert!(server.sql(&weir, "greg", &as_tara).err.contains("permission to impersonate"), "no grant");
    weir.ok(&["impersonation", "allow", "greg", "--user", "tara"]);
    let seen = server.sql(&weir, "greg", &as_tara);
    assert!(seen.out.contains("Toys") && !seen.out.contains("Garden"), "{seen:?}");
    let back = format!("set weir.impersonate_user = 'tara'; reset weir.impersonate_user; {sql}");
    assert!(server.sql(&weir, "greg", &back).err.contains("to its end"), "it cannot be left");
    let audit = weir.ok(&["audit", "--json"]);
    assert!(audit.contains(r#""actor":{"authenticated":"greg","effective":"tara"}"#), "{audit}");
    weir.ok(&["impersonation", "deny", "greg", "--user", "tara"]);
    assert!(server.sql(&weir, "greg", &as_tara).err.contains("permission to impersonate"), "taken back");
}

#[test]
fn a_request_opens_a_source_when_all_have_approved_it() {
    let ask = format!(
        "Allow anyone who asks to subscribe with approval by an owner and by a holder of governance on data source {TABLE}"
    );
    let (weir, server) = demo(&[("ask", &ask)]);
    let sql = format!("select count(*) from {TABLE}");
    assert_ne!(server.sql(&weir, "nora", &sql).code, Some(0));
    weir.ok(&["subscription", "request", TABLE, "--user", "nora", "--reason", "monthly report"]);
    assert!(weir.ok(&["subscription", "list"]).contains("nora"));
    weir.ok(&["subscription", "approve", "1", "--by", "oona"]);
    assert_ne!(server.sql(&weir, "nora", &sql).code, Some(0), "one approval is missing");
    assert!(!weir.fails(&["subscription", "approve", "1", "--by", "nora"]).is_empty(), "not by oneself");
    weir.ok(&["subscription", "approve", "1", "--by", "greg"]);
    assert_eq!(server.sql(&weir, "nora", &sql).code, Some(0));
}
