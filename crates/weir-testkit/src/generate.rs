//! Worlds, policies and queries from a seed. Everything made here is valid, so that tests reach deep.

mod derive;
mod disturb;
mod policy;
mod populate;
mod predicate;
mod query;
mod world;

pub use policy::Restriction;
pub use query::{KINDS_OF_QUERIES, Query, Readable, called, names_of_calls, queries};
pub use world::{Speaker, World};

/// Begins every text that was planted to be found again if it leaks.
pub const CANARY: &str = "HIDDEN_";

/// When statements are made where nothing else is said: the start of 2025, in milliseconds since 1970.
pub const AT_UNIX_MS: u64 = 1_735_689_600_000;

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
    /// Queries say nothing that is the engine's own, so that other systems understand them.
    pub common_dialect: bool,
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
            common_dialect: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use weir_model::DataSource;
    use weir_policy::{Snapshot, SourceDecision, language};

    use super::*;
    use crate::dice::Dice;
    use crate::portable::carry_out;

    const SEEDS: std::ops::Range<u64> = 0..60;

    /// The decisions, each on its source.
    fn carried_out(world: &World) -> Vec<(&DataSource, SourceDecision)> {
        let snapshot = Snapshot::compile(world.facts.clone());
        let mut made = Vec::new();
        for speaker in &world.speakers {
            let visible = world.visible(speaker);
            let (person, surroundings) = (&speaker.principal, speaker.surroundings());
            for source in &world.facts.sources {
                let mut decision = snapshot.decide(person, &surroundings, &[source.id]);
                let (_, decided) = decision.sources.remove(0);
                let seen = carry_out(world, source, &decided);
                let rows = seen.map(|seen| seen.into_iter().map(|seen| seen.row).collect::<Vec<_>>());
                assert_eq!(rows.as_ref(), visible.get(&source.id), "{speaker} of {source:?}: {decided:?}\n{world}");
                made.push((source, decided));
            }
            let listed: BTreeSet<_> = snapshot.visible(person, &surroundings).iter().map(|s| s.id).collect();
            assert_eq!(listed, visible.keys().copied().collect(), "{speaker}\n{world}");
        }
        made
    }

    #[test]
    fn decisions_carried_out_show_what_the_oracle_says() {
        for seed in SEEDS {
            carried_out(&World::generate(seed, &Sizes::default()));
        }
    }

    #[test]
    fn decisions_on_derived_sources_show_what_the_oracle_says() {
        let (mut open, mut inherited, mut closed) = (0, 0, 0);
        for seed in 1_000..1_300 {
            let world = World::generate(seed, &Sizes::default());
            if world.facts.sources.iter().all(|source| source.lineage.is_none()) {
                continue;
            }
            for (_, decided) in carried_out(&world).iter().filter(|(source, _)| source.lineage.is_some()) {
                let text = format!("{decided:?}");
                match decided {
                    SourceDecision::Deny(..) => {
                        closed += usize::from(["Parent {", "FilterNotCopied {"].iter().any(|why| text.contains(why)));
                    }
                    SourceDecision::Clear(_) | SourceDecision::Obliged(..) => open += 1,
                }
                let effects = ["effect: RowFilter }", "effect: Mask {"];
                inherited +=
                    usize::from(effects.iter().any(|effect| text.contains(effect)) && text.contains("Inherited {"));
            }
        }
        println!("{open} open, {inherited} with what is inherited, {closed} closed by what they were made from");
        assert!(open > 50 && inherited > 30 && closed > 50, "{open} open, {inherited} inherited, {closed} closed");
    }

    /// What the oracle leaves to the product: who sees of a parent what the writer saw, by the fingerprints of both
    /// decisions, must see the same rows and values of it.
    #[test]
    fn who_sees_alike_by_fingerprint_sees_the_same() {
        let (mut alike, mut of_writers, mut conditions) = (0, 0, 0);
        for seed in 1_000..2_000 {
            let world = World::generate(seed, &Sizes::default());
            let lineages = world.facts.sources.iter().filter_map(|source| source.lineage.as_ref());
            conditions += lineages.filter(|lineage| !lineage.conditions.is_empty()).count();
            let snapshot = Snapshot::compile(world.facts.clone());
            for (id, writer) in &world.writers {
                let lineage = world.facts.sources.iter().find(|source| source.id == *id).unwrap().lineage.clone();
                for (parent, seen) in lineage.unwrap().seen {
                    of_writers += 1;
                    let hers = world.visible(writer).remove(&parent);
                    assert!(hers.is_some(), "{writer}\n{world}");
                    for speaker in world.speakers.iter().filter(|speaker| *speaker != writer) {
                        let decided = snapshot.decide(&speaker.principal, &speaker.surroundings(), &[parent]);
                        match &decided.sources[0].1 {
                            SourceDecision::Obliged(there, _) if there.fingerprint.0 == seen => {
                                alike += 1;
                                assert_eq!(
                                    world.visible(speaker).remove(&parent),
                                    hers,
                                    "{speaker}, {writer}\n{world}"
                                );
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
        println!("{alike} see what one of {of_writers} writers saw; {conditions} lineages with conditions");
        assert!(alike > 40 && of_writers > 40 && conditions > 60, "{alike}, {of_writers}, {conditions}");
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
        let (mut partly, mut masked, mut canaries, mut rows) = (0, 0, 0, 0);
        for seed in SEEDS {
            let world = World::generate(seed, &Sizes::default());
            let visible = world.visible(&world.speakers[0]);
            let differs = |(id, rows): (&weir_model::SourceId, &Vec<crate::Row>)| {
                let original = &world.tables[id];
                (!rows.is_empty() && rows.len() < original.len(), rows.iter().any(|row| !original.contains(row)))
            };
            let seen: Vec<_> = visible.iter().map(differs).collect();
            partly += usize::from(seen.iter().any(|(partly, _)| *partly));
            masked += usize::from(seen.iter().any(|(_, masked)| *masked));
            canaries += usize::from(!world.canaries(&visible).is_empty());
            rows += usize::from(visible.values().any(|rows| !rows.is_empty()));
        }
        println!(
            "of 60 worlds: {partly} with hidden rows, {masked} with masks, {canaries} with canaries, {rows} with rows"
        );
        assert!(partly > 20 && masked > 30 && canaries > 30 && rows > 45);
    }

    /// What is never made is never tested.
    #[test]
    fn everything_that_policies_can_say_is_said() {
        let mut decisions = String::new();
        let mut statements = String::new();
        for seed in 0..200 {
            let world = World::generate(seed, &Sizes::default());
            let snapshot = Snapshot::compile(world.facts.clone());
            let sources: Vec<_> = world.facts.sources.iter().map(|s| s.id).collect();
            for speaker in &world.speakers {
                let decision = snapshot.decide(&speaker.principal, &speaker.surroundings(), &sources);
                decisions.push_str(&format!("{:?}", decision.sources));
            }
            world.facts.policies.iter().for_each(|p| statements.push_str(&format!("{:?}", p.policy.statement)));
        }
        for said in [
            "Anyone",
            "When(",
            "Asking(",
            "Selected",
            "Require",
            "Hash",
            "Null",
            "Constant(",
            "Round(Number",
            "Regex {",
            "Round(Calendar",
            "Reversible",
            "FormatPreserving",
            "KAnonymous(",
            "Replaced {",
            "Within(",
            "WithinDays(",
            "Custom(",
            "user: Group",
            "user: Attribute",
            "user: Purpose",
            "Time(",
            "Sample(",
            "LimitToPurposes(",
            "EveryoneExcept(",
            "Who(",
            "MemberOf(",
            "HasAttribute",
            ".*\"",
            "Owner",
            "UnderPurpose(",
            "Permitted(",
            "SourceTagged(",
            "ColumnTagged(",
            "ColumnNamedLike",
            "NoTags",
            "AnyTag",
            "InSchema(",
            "OwnedBy(User",
            "OwnedBy(Group",
            "ChosenByOwner",
            "AllSources",
            "InLookup",
            "Exists",
            "PurposesContains(",
            "InterpolatedComparison",
            "RoundByProfile",
            "IsUsingPurpose(",
            "MaskedColumn",
            "Username",
            "Iam",
            "Concat",
            "Left",
            "Right",
            "Trim",
            "RoundDown",
            "If",
            "Coalesce",
        ] {
            assert!(statements.contains(said), "no policy has {said}");
        }
        for decided in [
            "NotSubscribed",
            "NoSuchProject",
            "NotInProject",
            "NotAcknowledged",
            "PurposeRequired",
            "BrokenPolicy",
            "Clear(",
            "Frequent",
            "Sampled",
            "Keyed",
            "InLookup",
            "InValues",
            "Computed(",
            "Randomized",
            "Reversible",
            "FormatPreserving",
            "otherwise: Some",
            "hash_key: Project",
            "hash_key: Source",
            "Parent {",
            "FilterNotCopied {",
            "BrokenLineage {",
            "Inherited { from: SourceName",
        ] {
            assert!(decisions.contains(decided), "no decision has {decided}");
        }
    }

    #[test]
    fn a_disturbed_world_looks_the_same() {
        let mut changed = 0;
        for seed in SEEDS {
            let world = World::generate(seed, &Sizes::default());
            let mut other = world.clone();
            let subject = &world.speakers[0];
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
            let visible: BTreeMap<_, _> = world.visible(&world.speakers[0]);
            format!(
                "{:?} {:?}",
                world.tables,
                queries(&world, &visible, &mut Dice::new(seed), &Sizes::default(), &[], 5)
            )
        };
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
    }
}
