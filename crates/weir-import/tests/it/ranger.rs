//! Who gets what of the hospital, by hand.

use std::fmt::Write;

use expect_test::expect;
use weir_import::{Document, Outcome};
use weir_model::DataType;
use weir_policy::{Snapshot, language};

use crate::golden::import;
use crate::world::{facts, holds, person, source, told};

#[test]
fn the_hospital_gives_what_ranger_gives_or_less() {
    let text = DataType::Text;
    let import = import("hospital.ranger.json", weir_import::ranger);
    let patients: [(&str, DataType, &[&str]); 9] = [
        ("name", text.clone(), &[]),
        ("ssn", text.clone(), &[]),
        ("born", DataType::Date, &[]),
        ("phone", text.clone(), &[]),
        ("email", text.clone(), &["PII"]),
        ("ward", text.clone(), &[]),
        ("discharged", text.clone(), &[]),
        ("consent", DataType::Boolean, &[]),
        ("admitted", DataType::Date, &[]),
    ];
    let visits: [(&str, DataType, &[&str]); 5] = [
        ("visit_id", text.clone(), &[]),
        ("doctor", text.clone(), &[]),
        ("ward", text.clone(), &[]),
        ("diagnosis", text.clone(), &[]),
        ("fax", text.clone(), &[]),
    ];
    let staff: [(&str, DataType, &[&str]); 3] =
        [("name", text.clone(), &[]), ("salary", text.clone(), &[]), ("iban", text.clone(), &[])];
    let sources = vec![
        source(1, "clinic.patients", &[], &patients),
        source(2, "clinic.visits", &[], &visits),
        source(3, "hr.staff", &[], &staff),
        source(4, "hr.rota", &[], &[("day", text.clone(), &[])]),
        source(5, "billing.bills", &[], &[("amount", text.clone(), &[])]),
        source(6, "research.trial_1", &[], &[("name", text.clone(), &[])]),
        source(7, "clinic.archive", &[], &[("note", text.clone(), &[])]),
        source(8, "clinic.labs", &[], &[("note", text.clone(), &[])]),
    ];
    let people = vec![
        person("dora", &["doctors"]),
        person("nina", &["nurses"]),
        person("lea", &["leads"]),
        person("carl", &["doctors", "contractors"]),
        person("vera", &["doctors", "contractors", "vetted"]),
        person("sue", &["doctors", "suspended"]),
        person("mallory", &["doctors"]),
        person("eve", &["doctors"]),
        person("vic", &["doctors", "vendors"]),
        person("fin", &["finance"]),
        person("tom", &[]),
        person("nora", &[]),
    ];
    let snapshot = Snapshot::compile(facts(sources.clone(), people.clone(), &import));
    expect![[r#"
        clinic.patients dora: no rows email=hash phone=partly ssn=partly
        clinic.patients nina: some rows born=rounded email=hash phone=null ssn=hash
        clinic.patients lea: all rows born=rounded email=hash phone=redacted ssn=null
        clinic.patients carl: no rows born=rounded email=hash phone=partly ssn=partly
        clinic.patients vera: no rows born=rounded email=hash phone=partly ssn=partly
        clinic.patients sue: no rows born=rounded email=hash phone=partly ssn=partly
        clinic.patients mallory: no rows born=rounded email=hash phone=partly ssn=partly
        clinic.patients eve: no rows born=rounded email=hash phone=partly ssn=partly
        clinic.patients vic: no rows born=rounded email=hash phone=partly ssn=partly
        clinic.visits dora: some rows diagnosis=hash fax=partly
        clinic.visits nina: no rows diagnosis=null fax=null
        clinic.visits lea: all rows diagnosis=null fax=redacted
        clinic.visits carl: no rows diagnosis=hash fax=partly
        clinic.visits vera: all rows diagnosis=hash fax=partly
        clinic.visits sue: no rows diagnosis=hash fax=partly
        clinic.visits mallory: no rows diagnosis=hash fax=partly
        clinic.visits eve: no rows diagnosis=hash fax=partly
        clinic.visits vic: all rows diagnosis=hash fax=partly
        hr.staff dora: all rows iban=null salary=null
        hr.staff nina: all rows iban=null salary=null
        hr.staff lea: all rows iban=null salary=null
        hr.staff carl: all rows iban=null salary=null
        hr.staff vera: all rows iban=null salary=null
        hr.staff sue: all rows iban=null salary=null
        hr.staff mallory: all rows iban=null salary=null
        hr.staff eve: all rows iban=null salary=null
        hr.staff vic: all rows iban=null salary=null
        hr.staff fin: all rows iban=null salary=null
        hr.staff tom: all rows iban=null salary=null
        hr.staff nora: all rows iban=null salary=null
        billing.bills fin: all rows
    "#]]
    .assert_eq(&told(&snapshot, &sources, &people));
}

#[test]
fn three_valued_truth_is_that_of_sql() {
    use weir_policy::Expr;
    let null = Expr::Literal(weir_model::Value::Null);
    assert_eq!(holds(&Expr::Or(vec![null.clone(), Expr::truth(true)]), None), Some(true));
    assert_eq!(holds(&Expr::And(vec![null.clone(), Expr::truth(true)]), None), None);
    assert_eq!(holds(&Expr::Not(Box::new(null)), None), None);
}

/// The lines that are not carried over, and the policies, of a list of policies.
fn short(policies: &str) -> String {
    let import = weir_import::ranger(&[Document { name: "a", bytes: policies.as_bytes() }]).unwrap();
    let mut said = String::new();
    for line in import.report.lines.iter().filter(|line| line.outcome == Outcome::NotCarriedOver) {
        writeln!(said, "{}: {}", line.path, line.why).unwrap();
    }
    for imported in &import.policies {
        writeln!(said, "{}", language::to_sentence(&imported.policy.statement)).unwrap();
    }
    said
}

/// A policy for one table, with what else it has.
fn policy(name: &str, resources: &str, more: &str) -> String {
    format!("{{\"name\": \"{name}\", \"serviceType\": \"hive\", \"resources\": {{{resources}}}, {more}}}")
}

const TABLE: &str = r#""database": {"values": ["s"]}, "table": {"values": ["t"]}, "column": {"values": ["*"]}"#;
const ALLOW: &str = r#""policyItems": [{"accesses": [{"type": "select"}], "groups": ["g"]}]"#;
const DENY: &str = r#""denyPolicyItems": [{"accesses": [{"type": "select"}], "groups": ["g"]}]"#;

#[test]
fn tables_of_several_services_or_catalogues_are_not_allowed() {
    let other = policy("b", TABLE, &format!("\"service\": \"trino\", {DENY}"));
    expect![[r#"
        [0].policyItems[0]: the import has tables of several services; import each with its tags by itself
        Only show rows where FALSE for everyone who is a member of group g on data source s.t
    "#]]
    .assert_eq(&short(&format!("[{}, {other}]", policy("a", TABLE, ALLOW))));
    let place = |catalog: &str| format!("\"catalog\": {{\"values\": [\"{catalog}\"]}}, {TABLE}");
    let (one, two) = (policy("a", &place("x"), ALLOW), policy("b", &place("y"), DENY));
    expect![[r#"
        [0].policyItems[0]: the import has several catalogues, and data sources of Weir have none
        Only show rows where FALSE for everyone who is a member of group g on data source s.t
    "#]]
    .assert_eq(&short(&format!("[{one}, {two}]")));
    expect![[r#"
        Allow users to subscribe when user is a member of group g on data source s.t
    "#]]
    .assert_eq(&short(&format!("[{one}]")));
}

#[test]
fn a_tag_that_weir_takes_for_more_is_not_allowed() {
    let tag = |name: &str, tag: &str| {
        let allow = ALLOW.replace("select", "hive:select");
        policy(name, &format!("\"tag\": {{\"values\": [\"{tag}\"]}}"), &allow).replace("\"hive\"", "\"tag\"")
    };
    expect![[r#"
        [0].policyItems[0]: for Weir the tag `PII` takes in `PII.SSN`, too
        Allow users to subscribe when user is a member of group g on data sources tagged PII.SSN
    "#]]
    .assert_eq(&short(&format!("[{}, {}]", tag("a", "PII"), tag("b", "PII.SSN"))));
}

#[test]
fn what_is_not_known_restricts_and_does_not_allow() {
    // No names are all names; who owns a table and what is put in later cannot be known.
    let empty = TABLE.replace("\"t\"", "");
    let owner = ALLOW.replace("\"groups\": [\"g\"]", "\"users\": [\"{OWNER}\"]");
    let owner_denied = DENY.replace("\"groups\": [\"g\"]", "\"users\": [\"{OWNER}\"]");
    let later = TABLE.replace("\"t\"", "\"t_{USER}\"");
    let policies = [
        policy("empty", &empty, &format!("{ALLOW}, {DENY}")),
        policy("owner", TABLE, &format!("{owner}, {owner_denied}")),
        policy("later", &later, &format!("{ALLOW}, {DENY}")),
        policy("read", TABLE, &format!("{}, {}", ALLOW.replace("select", "read"), DENY.replace("select", "read"))),
        policy("priority", TABLE, &format!("\"policyPriority\": 3, {ALLOW}, {DENY}")),
        policy("options", TABLE, &format!("\"options\": {{\"a\": 1}}, {ALLOW}, {DENY}")),
        policy("level", &format!("{TABLE}, \"partition\": {{\"values\": [\"p\"]}}"), &format!("{ALLOW}, {DENY}")),
        policy("condition", TABLE, &format!("\"conditions\": [{{\"type\": \"ip\"}}], {ALLOW}, {DENY}")),
    ];
    expect![[r#"
        [0].policyItems[0]: Weir has no wildcards for tables (``)
        [1].policyItems[0]: user `{OWNER}`: it is not known who is meant
        [2].policyItems[0]: Weir has no wildcards for tables (`t_{user}`)
        [3].policyItems[0]: `read`: not known to read tables
        [4].policyItems[0]: the priority 3 is not known, which Weir cannot ask
        [5].policyItems[0]: its `options` are not known, which Weir cannot ask
        [6].policyItems[0]: the level `partition` of its resources is not known
        [7].policyItems[0]: it holds under a condition (`ip`), which Weir cannot ask
        Only show rows where FALSE for everyone who is a member of group g on data sources in schema s
        Only show rows where @username = '' for everyone on data source s.t
        Only show rows where FALSE for everyone who is a member of group g on data sources in schema s
        Only show rows where FALSE for everyone who is a member of group g on data source s.t
        Only show rows where FALSE for everyone who is a member of group g on data source s.t
        Only show rows where FALSE for everyone who is a member of group g on data source s.t
        Only show rows where FALSE for everyone who is a member of group g on data sources in schema s
        Only show rows where FALSE for everyone who is a member of group g on data source s.t
    "#]]
    .assert_eq(&short(&format!("[{}]", policies.join(", "))));
}

#[test]
fn a_filter_for_tables_that_may_lack_its_columns_shows_no_rows() {
    let item = |text: &str| {
        format!(
            "\"policyType\": 2, \"rowFilterPolicyItems\": [{{\"accesses\": [{{\"type\": \"select\"}}], \"groups\": [\"g\"], \"rowFilterInfo\": {{\"filterExpr\": \"{text}\"}}}}]"
        )
    };
    let all = TABLE.replace("\"t\"", "\"*\"");
    let policies =
        [policy("a", &all, &item("a = 1")), policy("b", &all, &item("")), policy("c", TABLE, &item("a = 1"))];
    expect![[r#"
        Only show rows where FALSE for everyone who is a member of group g on data sources in schema s
        Only show rows where TRUE for everyone who is a member of group g on data sources in schema s
        Only show rows where a = 1 for everyone who is a member of group g on data source s.t
    "#]]
    .assert_eq(&short(&format!("[{}]", policies.join(", "))));
}

#[test]
fn very_long_lists_show_no_rows() {
    let item = |at: usize| {
        format!(
            "{{\"accesses\": [{{\"type\": \"select\"}}], \"users\": [\"u{at}\"], \"rowFilterInfo\": {{\"filterExpr\": \"a = 1\"}}}}"
        )
    };
    let items: Vec<String> = (0..61).map(item).collect();
    let more = format!("\"policyType\": 2, \"rowFilterPolicyItems\": [{}]", items.join(", "));
    assert_eq!(
        short(&format!("[{}]", policy("a", TABLE, &more))),
        "Only show rows where @username = '' for everyone on data source s.t\n"
    );
}
