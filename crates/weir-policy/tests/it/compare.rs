//! What is said of two states side by side, against what each of them decides.

use std::collections::{BTreeMap, BTreeSet};

use weir_author::{Changes, PolicySet, Text};
use weir_model::{ColumnName, SourceName, Surroundings};
use weir_policy::compare::{ColumnChangeKind, Comparison, Limits, Who, compare};
use weir_policy::explain::{ColumnEffect, explain_column};
use weir_policy::{AppliedMask, Facts, Obligations, Snapshot, SourceDecision};
use weir_testkit::Dice;
use weir_testkit::generate::{AT_UNIX_MS, Restriction, Sizes, World};

use crate::world::{anywhere, unix_ms, with_policies, world};

const SEEDS: std::ops::Range<u64> = 20_000..20_080;

/// Everybody outside of projects, and each member in each project.
fn readers(facts: &Facts) -> Vec<Who> {
    let outside = facts.principals.iter().map(|p| Who { project: None, user: p.id.clone() });
    let known = |who: &Who| facts.principals.iter().any(|p| p.id == who.user);
    let within = facts.projects.iter().flat_map(|project| {
        project.members.iter().map(|user| Who { project: Some(project.name.clone()), user: user.clone() })
    });
    outside.chain(within.filter(known)).collect()
}

fn surroundings(who: &Who, at_unix_ms: u64) -> Surroundings {
    Surroundings { project: who.project.clone(), impersonated: false, at_unix_ms }
}

fn mask(applied: &AppliedMask) -> String {
    let AppliedMask { mask, when, otherwise, policy: _, instead_of: _ } = applied;
    format!("{mask:?} {when:?} {:?}", otherwise.as_deref().map(self::mask))
}

/// Who loses, gains or sees what, as two decisions tell it: one line for each.
fn told_by_decisions(before: &Facts, after: &Facts, at_unix_ms: u64) -> BTreeSet<String> {
    let (old, new) = (Snapshot::compile(before.clone()), Snapshot::compile(after.clone()));
    let mut told = BTreeSet::new();
    for who in readers(before) {
        for source in &before.sources {
            let here = surroundings(&who, at_unix_ms);
            let of = |snapshot: &Snapshot| snapshot.decide(&who.user, &here, &[source.id]).sources.remove(0).1;
            let mut say = |what: String| told.insert(format!("{} {:?} {} {what}", source.name, who.project, who.user));
            let obligations = |decided: &SourceDecision| -> Option<Option<std::sync::Arc<Obligations>>> {
                match decided {
                    SourceDecision::Deny(..) => None,
                    SourceDecision::Clear(_) => Some(None),
                    SourceDecision::Obliged(obligations, _) => Some(Some(obligations.clone())),
                }
            };
            match (obligations(&of(&old)), obligations(&of(&new))) {
                (None, None) => {}
                (None, Some(_)) => _ = say("gains".to_owned()),
                (Some(_), None) => _ = say("loses".to_owned()),
                (Some(old), Some(new)) => {
                    let rows = |side: &Option<std::sync::Arc<Obligations>>| side.as_ref().and_then(|o| o.row_filter());
                    if rows(&old) != rows(&new) {
                        say("rows".to_owned());
                    }
                    for column in source.places() {
                        let masked = |side: &Option<std::sync::Arc<Obligations>>| {
                            side.as_ref().and_then(|o| o.masks.get(&column.id)).map(|applied| mask(applied))
                        };
                        let (old, new) = (masked(&old), masked(&new));
                        if old != new {
                            let kind = match (old.is_some(), new.is_some()) {
                                (false, _) => "masked",
                                (_, false) => "cleared",
                                (true, true) => "masked-otherwise",
                            };
                            say(format!("{kind} {}", column.name));
                        }
                    }
                }
            }
        }
    }
    told
}

fn told_by_comparison(comparison: &Comparison) -> BTreeSet<String> {
    let mut told = BTreeSet::new();
    for change in &comparison.sources {
        let mut say = |who: &[Who], what: &str| {
            for who in who {
                let line = format!("{} {:?} {} {what}", change.source, who.project, who.user);
                assert!(told.insert(line.clone()), "told twice: {line}");
            }
        };
        change.gained.iter().for_each(|group| say(&group.who, "gains"));
        change.lost.iter().for_each(|group| say(&group.who, "loses"));
        change.rows.iter().for_each(|group| say(&group.who, "rows"));
        for group in &change.columns {
            let kind = match group.kind {
                ColumnChangeKind::Masked => "masked",
                ColumnChangeKind::Cleared => "cleared",
                ColumnChangeKind::MaskedOtherwise => "masked-otherwise",
            };
            group.columns.iter().for_each(|column| say(&group.who, &format!("{kind} {column}")));
        }
    }
    told
}

#[test]
fn a_state_and_itself_do_not_differ() {
    for seed in SEEDS {
        let world = World::generate(seed, &Sizes::default());
        let same = compare(world.facts.clone(), world.facts.clone(), AT_UNIX_MS);
        assert!(same.is_empty() && same.warnings.is_empty(), "{same:?}\n{world}");
        assert_eq!(same.unchanged.len(), world.facts.policies.len());
    }
}

#[test]
fn a_change_is_told_of_exactly_those_whose_decision_it_changes() {
    let mut changed: BTreeMap<String, usize> = BTreeMap::new();
    let mut spared = 0;
    for seed in SEEDS {
        let world = World::generate(seed, &Sizes::default());
        let mut dice = Dice::new(seed ^ 0xc0de);
        for kind in Restriction::ALL {
            let Some(added) = world.restriction(kind, &mut dice, &Sizes::default()) else { continue };
            let mut restricted = world.facts.clone();
            restricted.policies.push(added.clone());
            for (before, after) in [(&restricted, &world.facts), (&world.facts, &restricted)] {
                let comparison = compare(before.clone(), after.clone(), AT_UNIX_MS);
                let expected = told_by_decisions(before, after, AT_UNIX_MS);
                assert_eq!(told_by_comparison(&comparison), expected, "{kind:?} {added:?}\n{world}");
                for line in &expected {
                    let what = line.rsplit(' ').find(|word| {
                        ["gains", "loses", "rows", "masked", "cleared", "masked-otherwise"].contains(word)
                    });
                    *changed.entry(what.unwrap().to_owned()).or_default() += 1;
                }
                spared += readers(before).len() * before.sources.len()
                    - expected.len().min(readers(before).len() * before.sources.len());
            }
            // Without the restriction nobody has less.
            let comparison = compare(restricted.clone(), world.facts.clone(), AT_UNIX_MS);
            let whole = Snapshot::compile(restricted).problems().is_empty();
            let lost = comparison.sources.iter().any(|change| !change.lost.is_empty());
            assert!(!lost || kind == Restriction::Subscription || !whole, "{comparison:?}\n{world}");
        }
    }
    println!("{changed:?}, {spared} spared");
    assert!(changed.len() == 6 && changed.values().all(|count| *count > 20) && spared > 500, "{changed:?}, {spared}");
}

#[test]
fn a_set_that_is_applied_leaves_nothing_to_do() {
    for seed in SEEDS {
        let (old, new) =
            (World::generate(seed, &Sizes::default()), World::generate(seed + 1_000_000, &Sizes::default()));
        let text: Vec<String> = new.facts.policies.iter().map(|p| weir_policy::language::to_yaml(&p.policy)).collect();
        if text.is_empty() {
            continue;
        }
        let set = PolicySet::new(vec![Text { name: "a.yaml".to_owned(), text: text.join("---\n") }], None);
        assert_eq!(set.wrong(), 0, "{:?}", set.findings);
        for prune in [false, true] {
            let changes = set.changes(&old.facts.policies, prune);
            let after = changes.onto(old.facts.clone());
            assert_eq!(
                set.changes(&after.policies, prune),
                Changes { left_alone: changes.left_alone.clone(), ..Changes::default() }
            );
            let again = compare(after.clone(), set.changes(&after.policies, prune).onto(after.clone()), AT_UNIX_MS);
            assert!(again.is_empty(), "{again:?}");
            let kept =
                old.facts.policies.iter().filter(|p| after.policies.iter().any(|q| q.policy.key == p.policy.key));
            assert!(kept.into_iter().all(|p| after.policies.iter().any(|q| q.id == p.id)), "ages are kept");
            assert_eq!(
                after.policies.len(),
                if prune { set.policies.len() } else { set.policies.len() + changes.left_alone.len() }
            );
        }
    }
}

fn shop(before: &str, after: &str) -> Comparison {
    let facts = |text: &str| if text.is_empty() { world("shop") } else { with_policies(world("shop"), text) };
    compare(facts(before), facts(after), unix_ms("2024-07-31 12:30:00"))
}

#[test]
fn a_plan_in_plain_words() {
    let before = "
        policy open: Allow users to subscribe when user is a member of group analysts on data source hr.people.
        policy shop: Allow anyone to subscribe on data sources tagged Domain.Retail.
        policy ssn: Mask using hashing columns tagged PII.SSN for everyone.
        policy land: Only show rows where country IN ('FR', 'DE') for everyone on data source retail.purchases.
        policy gone: Mask by making null the column price for everyone.";
    let after = "
        policy open: Allow users to subscribe when user is a member of group finance on data source hr.people.
        policy shop: Allow anyone to subscribe on data sources tagged Domain.Retail.
        policy ssn: Mask by making null columns tagged PII.SSN for everyone except when user is an owner of the data source.
        policy land: Only show rows where user is a member of group that matches the value in the column department
            for everyone who is a member of group Toys otherwise only show rows where country = 'FR' for everyone
            on data source retail.purchases.";
    let comparison = shop(before, after);
    let mut text = comparison.shown(Limits { names: 3, ..Limits::SHORT }).to_string();
    text.push_str(&serde_json::to_string(&comparison.sources[0].lost).unwrap());
    expect_test::expect_file!["../../../../tests/golden/plan.txt"].assert_eq(&text);
}

#[test]
fn names_and_groups_beyond_the_limits_are_counted() {
    let after = "policy land: Only show rows where @username = name for everyone on data source retail.purchases.
        policy open: Allow anyone to subscribe.";
    let comparison = shop("policy open: Allow anyone to subscribe.", after);
    let limits = Limits { names: 1, groups: 2, old_warnings: false };
    let text = comparison.shown(limits).to_string();
    assert_eq!(text.matches("other rows:").count(), 2, "{text}");
    assert!(text.contains("… and 6 more such groups of people"), "{text}");
    assert_eq!(comparison.shown(Limits::ALL).to_string().matches("other rows:").count(), 8);
    let comparison = shop("", "policy open: Allow anyone to subscribe on data source retail.returns.");
    let text = comparison.shown(limits).to_string();
    assert!(text.contains("gain it: 9 users (ldap:ana and 8 more)"), "{text}");
}

/// Long lists are cut in texts; what differs only in the part that is cut differs all the same.
#[test]
fn lists_that_differ_at_their_end_differ() {
    let filter = |last: &str| {
        let list: Vec<String> = (0..20).map(|n| format!("'{n:02}'")).collect();
        format!(
            "policy a: Only show rows where country IN ({}, '{last}') for everyone on data source retail.purchases.
            policy open: Allow anyone to subscribe.",
            list.join(", ")
        )
    };
    let comparison = shop(&filter("98"), &filter("99"));
    let [change] = comparison.sources.as_slice() else { panic!("{comparison:?}") };
    assert_eq!(change.rows.len(), 1);
    assert!(change.rows[0].after.as_ref().unwrap().ends_with("(others than before)"), "{change:?}");
}

#[test]
fn what_happens_inside_of_columns_is_told() {
    let facts = |text: &str| with_policies(world("travel"), text);
    let open = "policy open: Allow anyone to subscribe.";
    let zip = "policy zips: Mask using hashing columns tagged PII.Zip for everyone.";
    let never = "policy never: Mask by making null the column stops.cost where 1 = 2 for everyone.";
    let comparison = compare(facts(open), facts(&format!("{open}\n{zip}\n{never}")), 0);
    let [change] = comparison.sources.as_slice() else { panic!("{comparison:?}") };
    let [column] = change.columns.as_slice() else { panic!("{change:?}") };
    assert_eq!(column.columns, [ColumnName::new("traveller.address.zip").unwrap()]);
    assert_eq!((column.before.as_str(), column.after.as_str(), column.who.len()), ("clear", "hashed", 3));
    let [warning] = comparison.warnings.as_slice() else { panic!("{comparison:?}") };
    assert_eq!((warning.policy.as_ref().unwrap().as_str(), warning.code), ("never", "plan::never-true"));
    assert!(warning.message.contains("`stops.cost`"), "{warning:?}");
    let none = compare(world("travel"), facts(&format!("{open}\n{zip}")), 0);
    assert_eq!(none.sources[0].gained[0].sees.masked[0].columns, column.columns);
}

fn codes(comparison: &Comparison) -> Vec<(&str, &str)> {
    comparison.warnings.iter().map(|w| (w.policy.as_ref().map_or("", |policy| policy.as_str()), w.code)).collect()
}

#[test]
fn what_is_doubtful_is_said_once_it_comes() {
    let comparison = shop(
        "policy open: Allow anyone to subscribe.",
        "policy open: Allow anyone to subscribe on data source hr.people.
         policy lone: Allow users to subscribe when user is a member of group Toys always required on data source retail.returns.
         policy every-row: Only show rows where 1 = 1 for everyone on data source retail.purchases.
         policy no-row: Only show rows where 1 = 2 for everyone who is a member of group Toys on data source retail.purchases.
         policy never-masks: Mask by making null the column land where 1 = 2 for everyone who is a member of group Toys.
         policy always-masks: Mask by making null the column reason where 1 = 1 for everyone.
         policy waits: Mask by making null the column country for everyone on data sources chosen by their owners.
         policy close: Mask using hashing the column ssn for everyone on data source hr.people.
         policy far: Mask by making null columns tagged PII for everyone.
         policy same: Mask using hashing columns tagged PII.SSN for everyone on data source hr.people.
         policy second: Mask by making null the column age for everyone who is a member of group Toys
            otherwise mask using the constant 1 the column age for everyone who is a member of group Toys or user is a member of group Toys
            otherwise mask using the constant 2 the column age for everyone.
         policy lonely: Mask by making null the column name for everyone who is a member of group Toys and user is a member of group Garden.
         policy staged-one staged: Mask by making null the column country for everyone on data sources chosen by their owners.
         policy model template: Mask by making null the column country for everyone on data sources chosen by their owners.",
    );
    let found = codes(&comparison);
    for expected in [
        ("lone", "plan::lone-requirement"),
        ("every-row", "plan::always-true"),
        ("no-row", "plan::never-true"),
        ("always-masks", "plan::always-true"),
        ("waits", "plan::no-effect"),
        ("far", "plan::mask-conflict"),
        ("second", "plan::nobody"),
        ("lonely", "plan::nobody"),
    ] {
        assert!(found.contains(&expected), "{expected:?}: {:#?}", comparison.warnings);
    }
    assert!(
        !found.iter().any(|(policy, _)| ["open", "close", "same", "staged-one", "model"].contains(policy)),
        "{found:?}"
    );
    let second = comparison
        .warnings
        .iter()
        .find(|w| w.policy.as_ref().map_or("", |policy| policy.as_str()) == "second")
        .unwrap();
    assert_eq!(second.message, "has a rule for nobody whom there is at present: rule 2 of 3");
    let far =
        comparison.warnings.iter().find(|w| w.policy.as_ref().map_or("", |policy| policy.as_str()) == "far").unwrap();
    assert_eq!(
        far.message,
        "does not mask `ssn` of `hr.people` for 9 users (ldap:ana, ana, fin and 6 more), for policy `close` comes first: \
         it picks the column by its name, which is closer than by tag `PII`"
    );
    // What was doubtful before is no news.
    let again =
        "policy waits: Mask by making null the column country for everyone on data sources chosen by their owners.";
    let comparison = shop(again, &format!("{again}\npolicy open: Allow anyone to subscribe."));
    assert_eq!((codes(&comparison), comparison.old_warnings.len()), (vec![], 1));
    assert!(comparison.shown(Limits::SHORT).to_string().ends_with("\n1 warning held before too\n"));
    assert!(comparison.shown(Limits::ALL).to_string().contains("policy `waits` has no effect"));
}

#[test]
fn a_policy_that_does_not_fit_any_more_is_a_warning() {
    let policies = "policy gone: Mask by making null the column country for everyone on data source retail.purchases.
        policy open: Allow anyone to subscribe.";
    let before = with_policies(world("shop"), policies);
    let after = with_policies(world("shop-changed"), policies);
    let comparison = compare(before, after, 0);
    let warning = comparison.warnings.iter().find(|w| w.code == "plan::broken").unwrap();
    assert_eq!(
        warning.message,
        "cannot be applied (it closes `retail.purchases`): unknown column `country` in `retail.purchases`"
    );
    // Not only the policies differ, so every source is looked at.
    let purchases = |name: &SourceName| name.to_string() == "retail.purchases";
    let lost = comparison.sources.iter().find(|change| purchases(&change.source)).unwrap();
    assert_eq!(lost.lost[0].who.len(), 9);
}

const MASKS: &str = "
    policy open: Allow anyone to subscribe.
    policy some: Mask using the constant 'rich' the column ssn where price > 100 for everyone on data source retail.purchases.
    policy named: Mask by making null the column ssn for everyone who is a member of group Toys
        otherwise mask using hashing the column ssn for everyone except when user is an owner of the data source.
    policy deep: Mask using the constant 'deep' columns tagged PII.SSN for everyone.
    policy ranked priority 3: Mask using the constant 'ranked' columns tagged PII.SSN for everyone.
    policy analysts: Mask using the constant 'x' columns tagged PII for everyone who is a member of group analysts.
    policy other: Mask using the constant 'y' the column country for everyone who is a member of group Garden
        otherwise mask using the constant 'z' columns tagged PII.SSN for everyone.";

#[test]
fn one_column_is_explained_by_every_policy_that_masks_it() {
    let snapshot = Snapshot::compile(with_policies(world("shop"), MASKS));
    let source = snapshot.source_by_name(&"retail.purchases".parse().unwrap()).unwrap();
    let mut text = String::new();
    for (person, column) in [("tara", "ssn"), ("oona", "ssn"), ("garth", "ssn"), ("ana", "country"), ("tara", "age")] {
        let (person, column) = (person.parse().unwrap(), weir_model::ColumnName::new(column).unwrap());
        let told = explain_column(&snapshot, &person, &anywhere(), source.id, &column).unwrap();
        text.push_str(&format!("{told}\n"));
    }
    expect_test::expect_file!["../../../../tests/golden/explain-column.txt"].assert_eq(&text);
}

/// The explanation of a column agrees with the decision, whatever the world.
#[test]
fn a_column_is_masked_as_its_explanation_says() {
    let (mut masks, mut behind, mut inherited) = (0, 0, 0);
    for seed in SEEDS {
        let world = World::generate(seed, &Sizes::default());
        let snapshot = Snapshot::compile(world.facts.clone());
        for who in readers(&world.facts) {
            let here = surroundings(&who, AT_UNIX_MS);
            for source in &world.facts.sources {
                let decision = snapshot.decide(&who.user, &here, &[source.id]);
                for column in &source.columns {
                    let told = explain_column(&snapshot, &who.user, &here, source.id, &column.name).unwrap();
                    let applied = match &decision.sources[0].1 {
                        SourceDecision::Deny(..) => {
                            assert!(told.shown.is_none() && told.policies.is_empty(), "{told:?}");
                            continue;
                        }
                        SourceDecision::Clear(_) => None,
                        SourceDecision::Obliged(obligations, _) => {
                            obligations.masks.get(&column.id).map(|applied| &**applied)
                        }
                    };
                    assert_eq!(told.shown.as_deref() == Some("clear"), applied.is_none());
                    if !told.inherited.is_empty() {
                        assert!(applied.is_some(), "{told}\n{world}");
                        inherited += 1;
                        continue;
                    }
                    let mut chain = Vec::new();
                    let mut next = applied;
                    while let Some(one) = next {
                        let stored = world.facts.policies.iter().find(|stored| stored.id == one.policy).unwrap();
                        chain.push((stored.policy.key.clone(), one.when.is_some()));
                        next = one.otherwise.as_deref();
                    }
                    let said: Vec<_> = told
                        .policies
                        .iter()
                        .filter_map(|policy| match &policy.effect {
                            ColumnEffect::Masks => Some((policy.policy.clone(), false)),
                            ColumnEffect::MasksWhere(_) => Some((policy.policy.clone(), true)),
                            ColumnEffect::Behind { .. } => {
                                behind += 1;
                                None
                            }
                            ColumnEffect::Never | ColumnEffect::OtherColumns | ColumnEffect::NotForHer => None,
                        })
                        .collect();
                    masks += said.len();
                    assert_eq!(said, chain, "{told}\n{world}");
                }
            }
        }
    }
    assert!(masks > 200 && behind > 30 && inherited > 30, "{masks} masks, {behind} behind, {inherited} inherited");
}

#[test]
fn what_is_inside_of_a_column_is_explained_too() {
    let policies = "
        policy open: Allow anyone to subscribe.
        policy people: Mask by making null the column traveller for everyone who is a member of group clerks.
        policy cities: Mask using the constant 'somewhere' the column traveller.address.city for everyone.";
    let snapshot = Snapshot::compile(with_policies(world("travel"), policies));
    let source = snapshot.source_by_name(&"travel.trips".parse().unwrap()).unwrap();
    let told = |person: &str, column: &str| {
        let (person, column) = (person.parse().unwrap(), weir_model::ColumnName::new(column).unwrap());
        explain_column(&snapshot, &person, &anywhere(), source.id, &column).unwrap()
    };
    let city = told("ann", "traveller.address.city");
    assert_eq!((city.shown.as_deref(), city.data_type.as_str()), (Some("the constant 'somewhere'"), "text"));
    assert_eq!(city.policies.len(), 1);
    assert_eq!(told("ann", "traveller.address").shown.as_deref(), Some("clear"));
    let within = "the constant 'somewhere'; inside of `traveller`: null";
    assert_eq!(told("bert", "traveller.address.city").shown.as_deref(), Some(within));
    assert_eq!(told("bert", "traveller.address").shown.as_deref(), Some("clear; inside of `traveller`: null"));
}
