//! Data sources that were made from others: what the case files cannot say.

use std::collections::BTreeSet;

use weir_model::{ColumnId, DataSource, DataType, Lineage, Origin, ParentColumn, PrincipalId, SourceId};
use weir_policy::compare::{Limits, compare};
use weir_policy::explain::{explain, explain_column};
use weir_policy::{Changes, DenyReason, Facts, Fingerprint, Mask, Snapshot, SourceDecision, check_lineage};

use crate::world::{anywhere, with_policies, world};

const OPEN: &str = "policy open: Allow anyone to subscribe.\n\n";

fn mart(policies: &str) -> Facts {
    with_policies(world("mart"), &format!("{OPEN}{policies}"))
}

fn id(name: &str) -> PrincipalId {
    PrincipalId::builtin(name).unwrap()
}

fn source<'a>(facts: &'a mut Facts, name: &str) -> &'a mut DataSource {
    facts.sources.iter_mut().find(|source| source.name.to_string() == name).unwrap()
}

fn decide(facts: &Facts, person: &str, name: &str) -> SourceDecision {
    let snapshot = Snapshot::compile(facts.clone());
    let source = snapshot.source_by_name(&name.parse().unwrap()).unwrap().id;
    snapshot.decide(&id(person), &anywhere(), &[source]).sources.remove(0).1
}

fn fingerprint(facts: &Facts, person: &str, name: &str) -> Fingerprint {
    match decide(facts, person, name) {
        SourceDecision::Obliged(obligations, _) => obligations.fingerprint,
        other => panic!("{other:?}"),
    }
}

const RULES: &str = "policy emails: Mask using hashing the column email for everyone except when user is a member of group staff on data source shop.customers.\n\n\
    policy lands: Only show rows where user is a member of group that matches the value in the column country for everyone on data source shop.customers.\n\n\
    policy own: Mask by making null the column years for everyone on data source mart.people.\n\n";

#[test]
fn a_fingerprint_covers_what_is_inherited() {
    let of = |facts: &Facts, person: &str| fingerprint(facts, person, "mart.people");
    let base = mart(RULES);
    // Neither the order in which facts are kept nor the epoch matters, and not who owns what it was made from.
    let mut later = base.clone();
    later.sources.reverse();
    later.policies.reverse();
    source(&mut later, "shop.customers").owners.insert(id("olga"));
    assert_eq!(of(&base, "ann"), of(&later, "ann"));
    // What holds for others elsewhere changes nothing.
    let apart = mart(&format!(
        "{RULES}policy x: Mask by making null the column name for everyone who is a member of group US on data source shop.customers."
    ));
    assert_eq!(of(&base, "ann"), of(&apart, "ann"));
    let mut all = vec![of(&base, "ann"), of(&base, "ben"), of(&apart, "ben")];
    let rows = "Only show rows where user is a member of group that matches the value in the column country";
    for (from, to, person) in [
        ("making null the column years", "rounding to 10 the column years", "ann"),
        ("Mask using hashing the column email", "Mask by making null the column email", "ben"),
        ("except when user is a member of group staff ", "", "ann"),
        (rows, "Only show rows where country <> 'US'", "ann"),
        (rows, "Only show rows where country <> 'FR'", "ann"),
    ] {
        let changed = RULES.replacen(from, to, 1);
        assert_ne!(changed, RULES);
        all.push(of(&mart(&changed), person));
    }
    // Where columns come from, and of what type they are there.
    for change in [
        |facts: &mut Facts| drop(lineage(source(facts, "mart.people")).columns.pop_first()),
        |facts: &mut Facts| source(facts, "shop.customers").columns[0].data_type = DataType::Int32,
        |facts: &mut Facts| {
            let years = source(facts, "mart.people").columns[4].id;
            let from = lineage(source(facts, "mart.people")).columns[&years].from().clone();
            lineage(source(facts, "mart.people")).columns.insert(years, Origin::Computed(from));
        },
    ] {
        let mut facts = base.clone();
        change(&mut facts);
        all.push(of(&facts, "ann"));
    }
    let different: BTreeSet<Fingerprint> = all.iter().copied().collect();
    assert_eq!(different.len(), all.len());
}

fn lineage(source: &mut DataSource) -> &mut Lineage {
    source.lineage.as_mut().unwrap()
}

/// Made from the others, with nothing said of its columns.
fn derive(facts: &mut Facts, name: &str, parents: &[&str]) {
    let parents = parents.iter().map(|parent| source(facts, parent).id).collect();
    source(facts, name).lineage = Some(Lineage { parents, ..Lineage::default() });
}

fn problem(facts: &Facts, name: &str) -> String {
    match decide(facts, "ann", name) {
        SourceDecision::Deny(DenyReason::BrokenLineage { problem }, _) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn circles_and_what_cannot_be_told_close() {
    let mut facts = mart("");
    derive(&mut facts, "shop.customers", &["mart.top"]);
    for (name, told) in [
        ("mart.top", "`mart.top` is derived from itself"),
        ("shop.customers", "`shop.customers` is derived from itself"),
        ("mart.people", "`shop.customers` is derived from itself"),
    ] {
        assert_eq!(problem(&facts, name), told);
    }
    let find = |facts: &Facts, name: &str| {
        let all = facts.sources.clone();
        let source = all.iter().find(|source| source.name.to_string() == name).unwrap();
        check_lineage(source, &|id: SourceId| all.iter().find(|source| source.id == id))
    };
    assert_eq!(find(&facts, "mart.top"), Err("`mart.top` is derived from itself".to_owned()));

    let mut facts = mart("");
    derive(&mut facts, "mart.people", &[]);
    assert_eq!(problem(&facts, "mart.people"), "`mart.people` is derived from nothing");

    let mut facts = mart("");
    source(&mut facts, "shop.customers").columns.remove(1);
    let gone = "column `name` of `mart.people` comes from a column of `shop.customers` that is gone";
    assert_eq!(problem(&facts, "mart.people"), gone);

    let mut facts = mart("");
    let stray = ParentColumn { source: source(&mut facts, "shop.orders").id, column: ColumnId(201) };
    let people = source(&mut facts, "mart.people");
    let (first, own) = (people.columns[0].id, lineage(people));
    own.columns.insert(first, Origin::Copied(BTreeSet::from([stray])));
    let told = "a column of `mart.people` comes from a source that `mart.people` is not derived from";
    assert_eq!(problem(&facts, "mart.people"), told);

    // Each made from the two before it: the ways to the first of them double.
    let mut facts = mart("");
    let bare = source(&mut facts, "shop.orders").clone();
    let numbers = 100..112u32;
    for number in numbers.clone() {
        let mut next = bare.clone();
        (next.id, next.name) = (SourceId(number), format!("many.s{number}").parse().unwrap());
        let parents: BTreeSet<SourceId> = [number - 1, number - 2].map(SourceId).into();
        next.lineage = (number > 101).then(|| Lineage { parents, ..Lineage::default() });
        facts.sources.push(next);
    }
    let open = |name: &str| matches!(decide(&facts, "ann", name), SourceDecision::Clear(_));
    assert!(open("many.s106"));
    assert_eq!(problem(&facts, "many.s111"), "`many.s103` is derived from others in more than 64 ways");
}

/// What it was made from may be seen in several ways: all of them restrict.
#[test]
fn every_way_up_counts() {
    let mut facts =
        mart("policy emails: Mask using hashing the column email for everyone on data source shop.customers.");
    // mart.top comes from mart.spending, where customers are copied, and from customers themselves, of which nothing is
    // said.
    let customers = source(&mut facts, "shop.customers").id;
    lineage(source(&mut facts, "mart.top")).parents.insert(customers);
    let columns = lineage(source(&mut facts, "mart.top")).columns.clone();
    lineage(source(&mut facts, "mart.top")).columns.retain(|id, _| *id == *columns.keys().next().unwrap());
    let masks = match decide(&facts, "ann", "mart.top") {
        SourceDecision::Obliged(obligations, _) => obligations.masks.clone(),
        other => panic!("{other:?}"),
    };
    let null: Vec<ColumnId> = masks.iter().filter(|(_, mask)| mask.mask == Mask::Null).map(|(id, _)| *id).collect();
    assert_eq!(null, columns.keys().skip(1).copied().collect::<Vec<_>>());
    assert_eq!(masks.len(), 2);
}

#[test]
fn a_format_is_known_to_be_kept_where_it_is_copied() {
    let facts = mart(
        "policy names: Mask with format preserving masking the column name for everyone on data source shop.customers.",
    );
    let snapshot = Snapshot::compile(facts);
    let masked = |name: &str, column: &str| {
        let source = snapshot.source_by_name(&name.parse().unwrap()).unwrap();
        snapshot.is_masked_by(source.id, source.column(column).unwrap().id, &Mask::FormatPreserving)
    };
    assert!(masked("shop.customers", "name") && masked("mart.people", "name"));
    assert!(!masked("mart.people", "initials") && !masked("mart.people", "email") && !masked("mart.spending", "email"));
}

/// A plan that changes a policy of one source tells who sees what differently of what was made from it.
#[test]
fn what_changes_there_is_told_of_here() {
    let before = mart("");
    let after = mart(
        "policy emails: Mask using hashing the column email for everyone except when user is a member of group staff on data source shop.customers.\n\n\
         policy lands: Only show rows where country <> 'US' for everyone who is a member of group US on data source shop.customers.",
    );
    let text = compare(before, after, anywhere().at_unix_ms).shown(Limits::ALL).to_string();
    expect_test::expect_file!["../../../../tests/golden/compare-derived.txt"].assert_eq(&text);
}

#[test]
fn what_is_inherited_is_explained() {
    let facts = mart(&format!(
        "{RULES}policy since: Mask using the constant 'x' the column name where since > '2020-01-01' for everyone on data source shop.customers.\n\n\
         policy some: Only show rows where amount > 1 for everyone who is a member of group FR on data source shop.orders."
    ));
    let snapshot = Snapshot::compile(facts);
    let mut text = String::new();
    let of = |name: &str| snapshot.source_by_name(&name.parse().unwrap()).unwrap().id;
    for (person, name) in [
        ("ben", "mart.people"),
        ("ann", "mart.people"),
        ("ben", "mart.top"),
        ("ann", "mart.spending"),
        ("mia", "mart.older"),
    ] {
        text.push_str(&format!("{}\n", explain(&snapshot, &id(person), &anywhere(), of(name))));
    }
    for column in ["email", "years", "score"] {
        let column = weir_model::ColumnName::new(column).unwrap();
        let told = explain_column(&snapshot, &id("ben"), &anywhere(), of("mart.people"), &column).unwrap();
        text.push_str(&format!("{told}\n"));
    }
    expect_test::expect_file!["../../../../tests/golden/explain-derived.txt"].assert_eq(&text);
}

/// A source is forgotten with what it was made from, also when it was forgotten for another reason already.
#[test]
fn what_comes_from_what_changed_is_bound_again() {
    let before = mart(RULES);
    let snapshot = Snapshot::compile(before.clone());
    let told = |snapshot: &Snapshot, facts: &Facts| -> Vec<String> {
        let sources: Vec<SourceId> = facts.sources.iter().map(|source| source.id).collect();
        let decide = |person: &str| format!("{:?}", snapshot.decide(&id(person), &anywhere(), &sources));
        ["ann", "ben", "mia"].into_iter().map(decide).collect()
    };
    told(&snapshot, &before);
    let changes: [fn(&mut Facts); 4] = [
        |facts| {
            source(facts, "shop.customers").columns[2].data_type = DataType::Int64;
            source(facts, "mart.spending").tags.insert("New".parse().unwrap());
        },
        |facts| facts.sources.retain(|source| source.name.to_string() != "shop.customers"),
        |facts| source(facts, "mart.spending").lineage = None,
        |facts| drop(facts.policies.pop()),
    ];
    for change in changes {
        let mut after = before.clone();
        change(&mut after);
        let next = snapshot.after(Changes::between(&before, &after));
        assert_eq!(next.verify(), Ok(()));
        let anew = Snapshot::compile(after.clone());
        assert_eq!(told(&next, &after), told(&anew, &after));
        assert_ne!(told(&next, &after), told(&snapshot, &after));
    }
}
