//! Rows for a world that was written by hand.

use std::collections::BTreeSet;

use weir_policy::{Facts, language};

use super::world::{World, make_rows};
use super::{CANARY, Sizes};
use crate::cell::Tables;
use crate::dice::Dice;
use crate::oracle::Keys;

impl World {
    /// The world of these facts with rows and keys by chance. Texts in the rows are often those that people have and
    /// policies name.
    pub fn populated(facts: Facts, seed: u64, sizes: &Sizes) -> Self {
        let mut dice = Dice::new(seed);
        let mut texts: BTreeSet<String> = BTreeSet::from([format!("{CANARY}1"), "123-45-6789".to_owned()]);
        for person in &facts.principals {
            texts.insert(person.id.name().to_owned());
            texts.extend(person.groups.iter().map(|group| group.as_str().to_owned()));
            texts.extend(person.attributes.values().flatten().cloned());
        }
        for project in &facts.projects {
            texts.extend(project.purposes.iter().map(|purpose| purpose.as_str().to_owned()));
        }
        for stored in &facts.policies {
            let english = language::to_english(&stored.policy);
            texts.extend(english.split('\'').skip(1).step_by(2).map(str::to_owned));
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (mut tables, mut keys) = (Tables::new(), Keys::default());
        let key = |dice: &mut Dice| {
            let bytes: Vec<u8> = (0..4).flat_map(|_| dice.roll().to_le_bytes()).collect();
            bytes.try_into().expect("32 bytes")
        };
        for source in &facts.sources {
            tables.insert(source.id, make_rows(source, Some(&texts), &mut dice, sizes));
            keys.sources.insert(source.id, key(&mut dice));
        }
        for project in &facts.projects {
            keys.projects.insert(project.name.clone(), key(&mut dice));
        }
        World::of(facts, tables, keys)
    }
}
