use weir_author::world::World;
use weir_author::{PolicySet, Text, policy_texts};
use weir_policy::Facts;

use crate::write;

const SSN: &str = "policy ssn: Mask using hashing the column ssn for everyone.\n";

fn names(texts: &[Text]) -> Vec<&str> {
    texts.iter().map(|text| text.name.rsplit('/').next().unwrap()).collect()
}

#[test]
fn policies_are_found_below_folders_in_the_order_of_their_names() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["b/2.yaml", "b/1.yml", "a.policy", "c.weir"] {
        write(dir.path(), name, "x");
    }
    for name in ["README.md", "x.case", "x.world", ".git/a.policy", ".hidden.policy", "data.csv"] {
        write(dir.path(), name, "x");
    }
    let folder = dir.path().to_path_buf();
    assert_eq!(names(&policy_texts(std::slice::from_ref(&folder)).unwrap()), ["a.policy", "1.yml", "2.yaml", "c.weir"]);
    // A file that is named is read, whatever it is called; paths keep their order.
    let paths = [folder.join("c.weir"), folder.join("README.md"), folder.join("b")];
    assert_eq!(names(&policy_texts(&paths).unwrap()), ["c.weir", "README.md", "1.yml", "2.yaml"]);
}

#[test]
fn what_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let told = |path: std::path::PathBuf| policy_texts(&[path]).unwrap_err().to_string();
    write(dir.path(), "empty/README.md", "x");
    let said = told(dir.path().join("empty"));
    assert!(said.ends_with("empty: no file below it ends in .policy, .weir, .yaml or .yml"), "{said}");
    assert!(told(dir.path().join("gone")).contains("gone: cannot be read"));
    write(dir.path(), "latin/a.policy", b"policy a: \xe4");
    let said = told(dir.path().join("latin"));
    assert!(said.ends_with("latin/a.policy: is not UTF-8: byte 10 is not part of a character"), "{said}");
    // A link that leads back.
    std::fs::create_dir(dir.path().join("loop")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("loop"), dir.path().join("loop/again")).unwrap();
    let said = told(dir.path().join("loop"));
    assert!(said.contains("more than 32 folders within each other"), "{said}");
}

fn set(texts: &[(&str, &str)], facts: Option<&Facts>) -> PolicySet {
    let texts = texts.iter().map(|(name, text)| Text { name: (*name).to_owned(), text: (*text).to_owned() });
    PolicySet::new(texts.collect(), facts)
}

#[test]
fn a_set_says_what_is_wrong_with_every_text() {
    let shop = std::fs::read_to_string(crate::root().join("tests/cases/worlds/shop.world")).unwrap();
    let facts = World::parse(&shop).unwrap().facts;
    let texts = [
        ("a.policy", SSN),
        ("b.policy", "policy b: Mask using hashing the column snn for everyone."),
        ("c.policy", "policy ssn: Allow anyone to subscribe."),
        ("d.policy", "policy d: Mask sdfsdf."),
        ("e.policy", ""),
        ("f.policy", "policy f: Allow anyone to subscribe on data sources chosen by their owners."),
    ];
    let found = set(&texts, Some(&facts));
    let errors: Vec<(usize, &str)> =
        found.findings.iter().filter(|f| f.diagnostic.is_error()).map(|f| (f.text, f.diagnostic.code)).collect();
    assert_eq!(errors[..2], [(1, "policy::unknown-column"), (2, "policy::duplicate-key")]);
    assert!(errors.iter().any(|(text, _)| *text == 3));
    assert!(errors.contains(&(4, "policy::empty")));
    assert_eq!(found.wrong(), 4);
    let duplicate = found.findings.iter().find(|f| f.diagnostic.code == "policy::duplicate-key").unwrap();
    assert_eq!(duplicate.diagnostic.message, "the key `ssn` is taken: another policy in a.policy has it");
    // A warning is no error.
    assert_eq!(set(&texts[5..], Some(&facts)).wrong(), 0);
    assert_eq!(set(&texts[5..], Some(&facts)).findings.len(), 1);
}

#[test]
fn changes_are_what_differs_and_no_more() {
    let old =
        set(&[("a", "policy a: Allow anyone to subscribe.\n\npolicy b: Allow anyone to subscribe."), ("s", SSN)], None);
    let stored = old.changes(&[], true).onto(Facts::default());
    assert_eq!(stored.policies.iter().map(|p| p.id.0).collect::<Vec<_>>(), [1, 2, 3]);
    let new = set(
        &[("s", SSN), ("a", "policy c: Allow anyone to subscribe.\n\npolicy b staged: Allow anyone to subscribe.")],
        None,
    );
    let kept = new.changes(&stored.policies, false);
    let keys = |policies: &[weir_policy::ast::Policy]| policies.iter().map(|p| p.key.to_string()).collect::<Vec<_>>();
    assert_eq!(
        (keys(&kept.put), kept.remove.len(), kept.left_alone[0].as_str()),
        (vec!["c".into(), "b".into()], 0, "a")
    );
    let pruned = new.changes(&stored.policies, true);
    assert_eq!((pruned.remove[0].as_str(), pruned.left_alone.len()), ("a", 0));
    let after = pruned.onto(stored);
    let ids: Vec<(String, u32)> = after.policies.iter().map(|p| (p.policy.key.to_string(), p.id.0)).collect();
    assert_eq!(ids, [("b".to_owned(), 2), ("ssn".to_owned(), 3), ("c".to_owned(), 4)]);
    assert!(new.changes(&after.policies, true).is_empty());
}
