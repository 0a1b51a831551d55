//! Who gets what of policies of Immuta, by hand; and that whatever is put together is read by Weir.

use std::collections::BTreeSet;

use expect_test::expect;
use weir_import::{Document, Import};
use weir_model::{AttributeKey, DataType, Principal};
use weir_policy::{Snapshot, check::check, language};

use crate::golden::{import, rendered};
use crate::world::{facts, person, source, told};

const TEXT: &str = r#"
policyKey: staff
name: Staff
type: subscription
actions: { type: entitlements, entitlements: { operator: any, groups: [staff], attributes: [{ name: Guest, value: "yes" }] }, shareResponsibility: true }
---
policyKey: leads
name: Leads
type: subscription
actions: { type: entitlements, advanced: "@isInGroups('leads')", shareResponsibility: true }
---
policyKey: cleared
name: Cleared
type: subscription
actions: { type: entitlements, entitlements: { groups: [cleared] }, shareResponsibility: false }
circumstances: [{ type: tags, tag: Secret }]
---
policyKey: ssn
name: SSN
type: data
actions:
  - rules:
      - type: Masking
        inclusions: { operator: any, groups: [leads] }
        config: { fields: [{ type: columnTags, columnTag: PII }], maskingConfig: { type: Custom Function, sqlFunction: "@column" } }
      - type: Masking
        config: { fields: [{ type: columnTags, columnTag: PII }], maskingConfig: { type: Hash } }
        exceptions: { operator: all, groups: [audit, cleared] }
---
policyKey: rows
name: Rows
type: data
actions:
  - rules:
      - type: Row Restriction by Custom Where Clause
        inclusions: { operator: any, groups: [leads] }
        config: { predicate: "true" }
      - type: Row Restriction by User Entitlements
        config: { matches: [{ type: attribute, attribute: Ward, tag: Ward }] }
circumstances: [{ type: columnTags, columnTag: Ward }]
---
policyKey: unread
name: Not understood
type: data
actions:
  - rules: [{ type: Row Restriction by Custom Where Clause, config: { predicate: "fuzzy(ward)" }, exceptions: { groups: [audit] } }]
circumstances: [{ type: tags, tag: Fuzzy }]
"#;

fn with(mut person: Principal, key: &str, value: &str) -> Principal {
    person.attributes.insert(AttributeKey::new(key).unwrap(), BTreeSet::from([value.to_owned()]));
    person
}

#[test]
fn people_see_what_they_saw() {
    let import = weir_import::immuta(&[Document { name: "a", bytes: TEXT.as_bytes() }]).unwrap();
    let columns: [(&str, DataType, &[&str]); 2] =
        [("ssn", DataType::Text, &["PII.SSN"]), ("ward", DataType::Text, &["Ward"])];
    let sources = vec![
        source(1, "clinic.patients", &[], &columns),
        source(2, "clinic.secrets", &["Secret"], &columns),
        source(3, "clinic.fuzzy", &["Fuzzy"], &columns[..1]),
    ];
    let people = vec![
        with(person("sam", &["staff"]), "Ward", "A"),
        person("lea", &["leads"]),
        with(person("gus", &[]), "Guest", "yes"),
        person("ann", &["staff", "audit"]),
        person("cleo", &["staff", "audit", "cleared"]),
        person("cora", &["cleared"]),
        person("nora", &[]),
    ];
    let snapshot = Snapshot::compile(facts(sources.clone(), people.clone(), &import));
    expect![[r#"
        clinic.patients sam: some rows ssn=hash
        clinic.patients lea: all rows
        clinic.patients gus: no rows ssn=hash
        clinic.patients ann: no rows ssn=hash
        clinic.patients cleo: no rows
        clinic.secrets cleo: no rows
        clinic.fuzzy sam: no rows ssn=hash
        clinic.fuzzy lea: no rows
        clinic.fuzzy gus: no rows ssn=hash
        clinic.fuzzy ann: all rows ssn=hash
        clinic.fuzzy cleo: all rows
    "#]]
    .assert_eq(&told(&snapshot, &sources, &people));
}

/// Every policy of the fixtures with one word of it changed, which nothing may take for something else.
#[test]
fn a_word_that_is_changed_never_shows_more() {
    let columns: [(&str, DataType, &[&str]); 2] =
        [("ssn", DataType::Text, &["PII.SSN"]), ("ward", DataType::Text, &["Ward"])];
    let sources = vec![source(1, "clinic.patients", &["Secret", "Fuzzy"], &columns)];
    let people = vec![with(person("sam", &["staff", "cleared"]), "Ward", "A"), person("lea", &["leads", "cleared"])];
    let words =
        ["Masking", "Hash", "maskingConfig", "predicate", "matches", "attribute", "inclusions", "config", "type: data"];
    let plain = weir_import::immuta(&[Document { name: "a", bytes: TEXT.as_bytes() }]).unwrap();
    let before = seen_by(&plain, &sources, &people);
    for word in words {
        for (at, _) in TEXT.match_indices(word) {
            let (start, end) = TEXT.split_at(at);
            let changed = format!("{start}{}", end.replacen(word, &format!("{word}x"), 1));
            let Ok(import) = weir_import::immuta(&[Document { name: "a", bytes: changed.as_bytes() }]) else {
                continue;
            };
            for (seen, before) in seen_by(&import, &sources, &people).into_iter().zip(&before) {
                // In order of strictness: nothing, no rows, masked, and clear.
                assert!(seen <= *before, "`{word}` at {at}: {}", rendered(&import));
            }
        }
    }
}

/// For each person how much of each column, as a number: no rows 0, NULL 1, masked 2, clear 3.
fn seen_by(import: &Import, sources: &[weir_model::DataSource], people: &[Principal]) -> Vec<u8> {
    let snapshot = Snapshot::compile(facts(sources.to_vec(), people.to_vec(), import));
    let mut seen = Vec::new();
    for person in people {
        for source in sources {
            match crate::world::seen(&snapshot, person, source) {
                crate::world::Seen::Nothing => seen.extend([0, 0]),
                crate::world::Seen::Rows { filter: Some(filter), .. } if filter.is_literal(false) => {
                    seen.extend([0, 0])
                }
                crate::world::Seen::Rows { masks, .. } => {
                    seen.extend(["ssn", "ward"].map(|column| match masks.get(column) {
                        None => 3,
                        Some(weir_policy::Mask::Null) => 1,
                        Some(_) => 2,
                    }));
                }
            }
        }
    }
    seen
}

#[test]
fn all_that_is_imported_is_read_and_checked() {
    let columns: [(&str, DataType, &[&str]); 1] = [("ssn", DataType::Text, &["PII.SSN"])];
    for name in ["hospital.immuta.yaml", "bank.immuta.json"] {
        let import = import(name, weir_import::immuta);
        let world = facts(
            vec![source(1, "a.b", &[], &columns)],
            Vec::new(),
            &Import { policies: Vec::new(), ..import.clone() },
        );
        for imported in &import.policies {
            assert_eq!(language::parse(&imported.text).policies, std::slice::from_ref(&imported.policy));
            let english = language::parse(&language::to_english(&imported.policy));
            assert_eq!(english.policies[0].statement, imported.policy.statement);
            // Names of the world are not there; what is wrong in itself would be told by another code.
            let wrong = check(&imported.policy, &world).into_iter().filter(|found| {
                found.is_error() && !found.code.starts_with("policy::unknown") && found.code != "policy::never-matches"
            });
            let wrong: Vec<_> =
                wrong.filter(|found| !matches!(found.code, "policy::no-event-time" | "policy::no-row-key")).collect();
            assert!(wrong.is_empty(), "{wrong:?}\n{}", imported.text);
        }
    }
}
