//! What holds of every decision, on worlds by seed. Decisions are carried out on rows by the kit.

use std::collections::{BTreeMap, BTreeSet};

use weir_model::{PolicyId, PrincipalId, Project, SourceId, Surroundings};
use weir_policy::ast::{Body, Condition, Scope, Test};
use weir_policy::{Facts, Snapshot, SourceDecision, StoredPolicy};
use weir_testkit::Dice;
use weir_testkit::generate::{Restriction, Sizes, Speaker, World};
use weir_testkit::oracle::above;
use weir_testkit::portable::{SeenRow, carry_out};

const SEEDS: std::ops::Range<u64> = 10_000..10_120;

fn world(seed: u64) -> (World, Dice) {
    (World::generate(seed, &Sizes::default()), Dice::new(seed ^ 0xface))
}

fn decisions(world: &World, speaker: &Speaker) -> BTreeMap<SourceId, SourceDecision> {
    let sources: Vec<SourceId> = world.facts.sources.iter().map(|source| source.id).collect();
    let snapshot = Snapshot::compile(world.facts.clone());
    snapshot.decide(&speaker.principal, &speaker.surroundings(), &sources).sources.into_iter().collect()
}

/// What the speaker sees of each source; those that are denied are absent.
fn seen(world: &World, decisions: &BTreeMap<SourceId, SourceDecision>) -> BTreeMap<SourceId, Vec<SeenRow>> {
    let sources = world.facts.sources.iter();
    sources.filter_map(|source| Some((source.id, carry_out(world, source, &decisions[&source.id])?))).collect()
}

/// Where `less` shows a row or an unmasked value that `more` does not.
fn excess(less: &[SeenRow], more: &[SeenRow]) -> Option<String> {
    let more: BTreeMap<usize, &SeenRow> = more.iter().map(|seen| (seen.place, seen)).collect();
    for seen in less {
        let Some(other) = more.get(&seen.place) else { return Some(format!("row {}", seen.place)) };
        if let Some(column) = seen.clear.iter().zip(&other.clear).position(|(less, more)| *less && !*more) {
            return Some(format!("column {column} of row {}", seen.place));
        }
    }
    None
}

/// A required subscription is one more condition only where a subscription decides already: alone it admits people.
fn is_decided(world: &World, source: SourceId) -> bool {
    let decides = |stored: &StoredPolicy, source: SourceId| {
        let subscribe = matches!(stored.policy.statement.body, Body::Subscribe(_));
        subscribe && stored.policy.is_in_effect() && world.reaches(&stored.policy, source)
    };
    let mut all = above(&world.facts, source);
    all.insert(source);
    all.into_iter().all(|source| world.facts.policies.iter().any(|stored| decides(stored, source)))
}

#[test]
fn a_restriction_never_shows_more() {
    let (mut less, mut tried) = (BTreeMap::<&str, usize>::new(), 0);
    for seed in SEEDS {
        let (world, mut dice) = world(seed);
        for kind in Restriction::ALL {
            let Some(added) = world.restriction(kind, &mut dice, &Sizes::default()) else { continue };
            let mut restricted = world.clone();
            restricted.facts.policies.push(added.clone());
            for speaker in &world.speakers {
                let before = seen(&world, &decisions(&world, speaker));
                let after = seen(&restricted, &decisions(&restricted, speaker));
                tried += 1;
                for (source, rows) in &after {
                    if kind == Restriction::Subscription && !is_decided(&world, *source) {
                        continue;
                    }
                    let told = || format!("{speaker} of {source}, after\n{added:?}\n{world}");
                    let Some(all) = before.get(source) else { panic!("opened to {}", told()) };
                    if let Some(excess) = excess(rows, all) {
                        panic!("{excess} is shown to {}", told());
                    }
                }
                let kind = match kind {
                    Restriction::Mask => "mask",
                    Restriction::Rows => "rows",
                    Restriction::Purposes => "purposes",
                    Restriction::Subscription => "subscription",
                };
                *less.entry(kind).or_default() += usize::from(before != after);
            }
        }
    }
    println!("{tried} tried, {less:?}");
    assert!(less.len() == 4 && less.values().all(|count| *count > 30), "hardly ever less: {less:?} of {tried}");
}

#[test]
fn an_exception_is_for_those_whom_it_names() {
    let (mut excused, mut others) = (0, 0);
    for seed in SEEDS {
        let (world, mut dice) = world(seed);
        // A policy that cannot be applied closes the source, and excusing somebody from one may lay another one open.
        if !Snapshot::compile(world.facts.clone()).problems().is_empty() {
            continue;
        }
        let data = |place: &usize| match &world.facts.policies[*place].policy.statement.body {
            Body::Data(cascade) => cascade.rules.last().is_some_and(|rule| rule.scope == Scope::Everyone),
            Body::Subscribe(_) => false,
        };
        let places: Vec<usize> = (0..world.facts.policies.len()).filter(data).collect();
        if places.is_empty() {
            continue;
        }
        let place = *dice.pick(&places);
        let groups: BTreeSet<_> = world.facts.principals.iter().flat_map(|p| p.groups.clone()).collect();
        let groups: Vec<_> = groups.into_iter().collect();
        let exception = match dice.below(4) {
            0 => Condition::Test(Test::Owner),
            _ => Condition::Test(Test::MemberOf(dice.pick(&groups).clone().into())),
        };
        let mut excepting = world.clone();
        if let Body::Data(cascade) = &mut excepting.facts.policies[place].policy.statement.body
            && let Some(last) = cascade.rules.last_mut()
        {
            last.scope = Scope::EveryoneExcept(exception.clone());
        }
        for speaker in &world.speakers {
            let (before, after) = (decisions(&world, speaker), decisions(&excepting, speaker));
            let (rows_before, rows_after) = (seen(&world, &before), seen(&excepting, &after));
            let surroundings = speaker.surroundings();
            for source in world.facts.sources.iter().map(|source| source.id) {
                let oracle = world.oracle(&speaker.principal, &surroundings);
                let named = oracle.meets(&exception, source);
                // There it may excuse her from what holds for both.
                if named != Some(true) && oracle.meets_above(&exception, source) {
                    continue;
                }
                let told = || format!("{speaker} of {source}, except {exception:?} from policy {place}\n{world}");
                if named != Some(true) {
                    others += 1;
                    assert_eq!(before[&source], after[&source], "{}", told());
                } else if let Some(rows) = rows_before.get(&source) {
                    excused += usize::from(before[&source] != after[&source]);
                    let Some(more) = rows_after.get(&source) else { panic!("closed to {}", told()) };
                    if let Some(excess) = excess(rows, more) {
                        panic!("{excess} is hidden from {}", told());
                    }
                }
            }
        }
    }
    println!("{excused} excused, {others} others");
    assert!(excused > 30 && others > 300, "{excused} excused, {others} others");
}

fn shuffled<T>(items: &mut [T], dice: &mut Dice) {
    for last in (1..items.len()).rev() {
        items.swap(last, dice.below(last + 1));
    }
}

#[test]
fn the_order_in_which_facts_are_kept_does_not_matter() {
    for seed in SEEDS {
        let (world, mut dice) = world(seed);
        let mut other = world.clone();
        shuffled(&mut other.facts.policies, &mut dice);
        shuffled(&mut other.facts.sources, &mut dice);
        shuffled(&mut other.facts.principals, &mut dice);
        shuffled(&mut other.facts.projects, &mut dice);
        for speaker in &world.speakers {
            assert_eq!(decisions(&world, speaker), decisions(&other, speaker), "{speaker}\n{world}");
        }
    }
}

/// Only between masks that are equally close and of equal priority does it count which policy is older.
#[test]
fn the_age_of_policies_decides_between_equals_alone() {
    let mut by_age = 0;
    for seed in SEEDS {
        let (mut world, mut dice) = world(seed);
        // The fingerprint of what was seen has the numbers of policies in it.
        world.facts.sources.iter_mut().filter_map(|source| source.lineage.as_mut()).for_each(|l| l.seen.clear());
        let mut ids: Vec<PolicyId> = world.facts.policies.iter().map(|stored| stored.id).collect();
        shuffled(&mut ids, &mut dice);
        let renumbered = |world: &World| {
            let mut other = world.clone();
            let Facts { policies, approved, .. } = &mut other.facts;
            let new: BTreeMap<PolicyId, PolicyId> = policies.iter().zip(&ids).map(|(old, id)| (old.id, *id)).collect();
            policies.iter_mut().zip(&ids).for_each(|(stored, id)| stored.id = *id);
            // Approvals stay with their policies.
            *approved = std::mem::take(approved)
                .into_iter()
                .filter_map(|(policy, source, person)| Some((*new.get(&policy)?, source, person)))
                .collect();
            other
        };
        let mut ranked = world.clone();
        let mut priorities: Vec<i32> = (0..).take(ids.len()).collect();
        shuffled(&mut priorities, &mut dice);
        let policies = ranked.facts.policies.iter_mut();
        policies.zip(priorities).for_each(|(stored, priority)| stored.policy.priority = priority);
        let mut level = world.clone();
        level.facts.policies.iter_mut().for_each(|stored| stored.policy.priority = 0);
        let whole = Snapshot::compile(world.facts.clone()).problems().is_empty();
        for speaker in &world.speakers {
            let of = |world: &World| seen(world, &decisions(world, speaker));
            assert_eq!(of(&ranked), of(&renumbered(&ranked)), "{speaker}\n{ranked}");
            let (as_they_are, younger) = (of(&level), of(&renumbered(&level)));
            by_age += usize::from(as_they_are != younger);
            let shape = |seen: &BTreeMap<SourceId, Vec<SeenRow>>| -> Vec<_> {
                let rows = seen.iter().flat_map(|(source, rows)| rows.iter().map(move |row| (*source, row)));
                rows.map(|(source, row)| (source, row.place, row.clear.clone())).collect()
            };
            // Which of two masks is never reached decides whether one that cannot be applied matters.
            if whole {
                assert_eq!(shape(&as_they_are), shape(&younger), "{speaker}\n{level}");
            }
        }
    }
    assert!(by_age > 5, "age decided {by_age} times only");
}

#[test]
fn members_of_an_equalized_project_see_the_same() {
    let (mut compared, mut obliged) = (0, 0);
    for seed in SEEDS {
        let (mut world, _) = world(seed);
        for project in &mut world.facts.projects {
            let Project { members, purposes, acknowledged, equalized, .. } = project;
            *equalized = true;
            *acknowledged = members.iter().flat_map(|m| purposes.iter().map(|p| (m.clone(), p.clone()))).collect();
        }
        let snapshot = Snapshot::compile(world.facts.clone());
        let sources: Vec<SourceId> = world.facts.sources.iter().map(|source| source.id).collect();
        for project in &world.facts.projects {
            let known = |id: &&PrincipalId| snapshot.principal(id).is_some();
            let members: Vec<&PrincipalId> = project.members.iter().filter(known).collect();
            for impersonated in [false, true] {
                let at_unix_ms = world.speakers[0].at_unix_ms;
                let surroundings = Surroundings { project: Some(project.name.clone()), impersonated, at_unix_ms };
                let decide = |member| snapshot.decide(member, &surroundings, &sources).sources;
                for pair in members.windows(2) {
                    let (one, other) = (decide(pair[0]), decide(pair[1]));
                    assert_eq!(one, other, "{} and {} in {}\n{world}", pair[0], pair[1], project.name);
                    compared += 1;
                    // Equal decisions have equal fingerprints: these are parts of them.
                    obliged += one.iter().filter(|(_, d)| matches!(d, SourceDecision::Obliged(..))).count();
                }
            }
        }
    }
    assert!(compared > 100 && obliged > 100, "{compared} compared, {obliged} obliged");
}
