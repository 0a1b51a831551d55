//! Who gets what of the hospital, by hand.

use expect_test::expect;
use weir_model::DataType;
use weir_policy::Snapshot;

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
