//! Worlds, policies and queries from a seed. Everything made here is valid, so that tests reach deep.

mod disturb;
mod policy;
mod predicate;
mod query;
mod world;

pub use query::{Query, Readable, queries};
pub use world::World;

/// Begins every text that was planted to be found again if it leaks.
pub const CANARY: &str = "HIDDEN_";

/// Caps on what is made.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub sources_max: usize,
    pub columns_max: usize,
    pub rows_max: usize,
    pub principals_max: usize,
    pub row_policies_max: usize,
    pub mask_policies_max: usize,
    /// Of AND, OR, NOT and lookups in a policy's condition.
    pub predicate_depth_max: usize,
    /// Of sub-queries in a query.
    pub query_depth_max: usize,
    /// Of operators in an expression of a query.
    pub expression_depth_max: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            sources_max: 3,
            columns_max: 8,
            rows_max: 60,
            principals_max: 5,
            row_policies_max: 2,
            mask_policies_max: 4,
            predicate_depth_max: 2,
            query_depth_max: 2,
            expression_depth_max: 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use weir_policy::{Snapshot, SourceDecision, language};

    use super::*;
    use crate::dice::Dice;

    const SEEDS: std::ops::Range<u64> = 0..60;

    #[test]
    fn snapshot_and_oracle_agree_on_who_may_read() {
        for seed in SEEDS {
            let world = World::generate(seed, &Sizes::default());
            let snapshot = Snapshot::compile(world.facts.clone());
            let sources: Vec<_> = world.facts.sources.iter().map(|s| s.id).collect();
            for person in &world.facts.principals {
                let visible = world.visible(&person.id);
                for (source, decided) in snapshot.decide(&person.id, &sources).sources {
                    let denied = matches!(decided, SourceDecision::Deny(..));
                    assert_eq!(
                        denied,
                        !visible.contains_key(&source),
                        "{} of {source}: {decided:?}\n{world}",
                        person.id
                    );
                }
            }
        }
    }

    #[test]
    fn policies_survive_both_spellings() {
        for stored in SEEDS.flat_map(|seed| World::generate(seed, &Sizes::default()).facts.policies) {
            for text in [language::to_english(&stored.policy), language::to_yaml(&stored.policy)] {
                let parsed = language::parse(&text);
                assert_eq!(parsed.policies, std::slice::from_ref(&stored.policy), "{:?}\n{text}", parsed.diagnostics);
            }
        }
    }

    #[test]
    fn worlds_are_worth_looking_at() {
        let (mut partly, mut masked, mut canaries) = (0, 0, 0);
        for seed in SEEDS {
            let world = World::generate(seed, &Sizes::default());
            let visible = world.visible(&world.facts.principals[0].id);
            let differs = |(id, rows): (&weir_model::SourceId, &Vec<crate::Row>)| {
                let original = &world.tables[id];
                (!rows.is_empty() && rows.len() < original.len(), rows.iter().any(|row| !original.contains(row)))
            };
            let seen: Vec<_> = visible.iter().map(differs).collect();
            partly += usize::from(seen.iter().any(|(partly, _)| *partly));
            masked += usize::from(seen.iter().any(|(_, masked)| *masked));
            canaries += usize::from(!world.canaries(&visible).is_empty());
        }
        println!("of 60 worlds: {partly} with hidden rows, {masked} with masks, {canaries} with canaries");
        assert!(partly > 20 && masked > 20 && canaries > 30);
    }

    #[test]
    fn a_disturbed_world_looks_the_same() {
        let mut changed = 0;
        for seed in SEEDS {
            let world = World::generate(seed, &Sizes::default());
            let mut other = world.clone();
            let subject = &world.facts.principals[0].id;
            other.disturb(subject, 90, &mut Dice::new(seed));
            assert_eq!(world.visible(subject), other.visible(subject));
            changed += usize::from(world.tables != other.tables);
        }
        assert!(changed > 30, "{changed}");
    }

    #[test]
    fn a_seed_keeps_its_meaning() {
        let text = |seed| {
            let world = World::generate(seed, &Sizes::default());
            let visible: BTreeMap<_, _> = world.visible(&world.facts.principals[0].id);
            format!("{:?} {:?}", world.tables, queries(&world, &visible, &mut Dice::new(seed), &Sizes::default(), 5))
        };
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
    }
}
