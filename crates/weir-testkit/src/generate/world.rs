use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use weir_model::{
    AttributeKey, Column, ColumnId, ColumnName, DataSource, DataType, Epoch, FileFormat, GroupName, Location,
    Principal, PrincipalId, SourceId, SourceName, Tag,
};
use weir_policy::Facts;

use super::{CANARY, Sizes, policy};
use crate::cell::{Cell, Row, Tables};
use crate::dice::Dice;
use crate::oracle::{self, Keys};

/// Data sources with their rows, people, and policies over both.
#[derive(Clone, Debug)]
pub struct World {
    pub seed: u64,
    /// The locations of the sources are empty: whoever writes the rows to files fills them in.
    pub facts: Facts,
    pub tables: Tables,
    pub keys: Keys,
}

const GROUPS: [&str; 5] = ["A", "B", "staff", "admins", "o'brien"];
const ATTRIBUTES: [&str; 3] = ["nation", "level", "unit"];
const PEOPLE: [&str; 5] = ["tara", "garth", "oona", "nora", "fin"];
const SHARED_TEXTS: [&str; 7] = ["A", "B", "C", "staff", "tara", "garth", "x"];
const NASTY_TEXTS: [&str; 12] =
    ["", "o'brien", "\"q\"", "é", "日本", "a%b", "a_b", "NULL", "null", "Ä ö", "--", "x\\y"];
const DIGIT_TEXTS: [&str; 6] = ["1", "2", "7", "12", "-3", "007"];
const COLUMN_TAGS: [&str; 6] = ["PII", "PII.SSN", "PII.Name", "Geo", "Geo.City", "PIIX"];
const SOURCE_TAGS: [&str; 3] = ["Zone", "Zone.EU", "Lake"];
const SOURCES: [&str; 6] = ["shop.sales", "shop.people", "hr.emp", "hr.sales", "gov.entitlements", "shop.Mixed Case"];

const KINDS: [DataType; 8] = [
    DataType::Text,
    DataType::Int32,
    DataType::Int64,
    DataType::Float64,
    DataType::Decimal { precision: 10, scale: 2 },
    DataType::Boolean,
    DataType::Date,
    DataType::Timestamp { zoned: false },
];

impl World {
    pub fn generate(seed: u64, sizes: &Sizes) -> Self {
        let mut dice = Dice::new(seed);
        let mut world = Self {
            seed,
            facts: Facts { epoch: Some(Epoch(1)), ..Facts::default() },
            tables: Tables::new(),
            keys: Keys::new(),
        };
        world.make_people(&mut dice.fork(), sizes);
        world.make_sources(&mut dice.fork(), sizes);
        policy::write(&mut world.facts, &world.tables, &mut dice.fork(), sizes);
        let subject = world.facts.principals[0].id.clone();
        // Hidden rows get canaries and values that make expressions fail; what the first principal sees stays.
        world.disturb(&subject, 35, &mut dice.fork());
        world
    }

    /// What `principal` sees of each source; the sources that she does not see are absent.
    pub fn visible(&self, principal: &PrincipalId) -> BTreeMap<SourceId, Vec<Row>> {
        let copy = |s: &DataSource| oracle::visible_copy(&self.facts, &self.tables, &self.keys, principal, s.id);
        self.facts.sources.iter().filter_map(|s| Some((s.id, copy(s)?))).collect()
    }

    /// The canaries that are in the world and not in `visible`.
    pub fn canaries(&self, visible: &BTreeMap<SourceId, Vec<Row>>) -> BTreeSet<String> {
        let mut hidden = texts(self.tables.values());
        for seen in texts(visible.values()) {
            hidden.retain(|canary| !seen.contains(canary.as_str()));
        }
        hidden.into_iter().filter(|text| text.starts_with(CANARY)).collect()
    }

    fn make_people(&mut self, dice: &mut Dice, sizes: &Sizes) {
        let mut people = Vec::new();
        for name in &PEOPLE[..dice.between(2, sizes.principals_max.min(PEOPLE.len()))] {
            let mut person = Principal::bare(PrincipalId::builtin(*name).unwrap());
            for group in GROUPS {
                if dice.chance(35) {
                    person.groups.insert(GroupName::new(group).unwrap());
                }
            }
            for key in ATTRIBUTES {
                if dice.chance(45) {
                    let count = dice.between(1, 3);
                    let mut values: BTreeSet<String> = (0..count).map(|_| attribute_value(dice)).collect();
                    if dice.chance(10) {
                        values.extend((0..40).map(|n| format!("v{n}")));
                        values.extend((1_000..1_040).map(|n| n.to_string()));
                    }
                    person.attributes.insert(AttributeKey::new(key).unwrap(), values);
                }
            }
            people.push(person);
        }
        // Somebody has something, so that policies have people to speak of.
        people[1].groups.insert(GroupName::new("A").unwrap());
        people[1].attributes.insert(AttributeKey::new("nation").unwrap(), BTreeSet::from(["A".to_owned()]));
        self.facts.principals = people;
    }

    fn make_sources(&mut self, dice: &mut Dice, sizes: &Sizes) {
        let count = dice.between(1, sizes.sources_max.min(SOURCES.len()));
        let first = dice.below(SOURCES.len());
        for i in 0..count {
            // Ids run against the order, so that an id is never a position; no other world has them.
            let id = SourceId(u32::try_from(self.seed % (1 << 24) * 16 + 10).unwrap() - u32::try_from(i).unwrap());
            let name: SourceName = SOURCES[(first + i) % SOURCES.len()].parse().unwrap();
            let columns = self.make_columns(dice, sizes);
            let owners: BTreeSet<_> =
                self.facts.principals.iter().filter(|_| dice.chance(12)).map(|p| p.id.clone()).collect();
            let source = DataSource {
                id,
                name,
                tags: tags(dice, &SOURCE_TAGS, 40),
                owners,
                columns,
                location: Location::Files { format: FileFormat::Parquet, path: PathBuf::new(), partitions: Vec::new() },
            };
            let rows = make_rows(&source, dice, sizes);
            self.tables.insert(id, rows);
            let key: Vec<u8> = (0..4).flat_map(|_| dice.roll().to_le_bytes()).collect();
            self.keys.insert(id, key.try_into().expect("32 bytes"));
            self.facts.sources.push(source);
        }
        for source in &self.facts.sources {
            for person in &self.facts.principals {
                if dice.chance(15) {
                    self.facts.selected.insert((source.id, person.id.clone()));
                }
            }
        }
    }

    fn make_columns(&self, dice: &mut Dice, sizes: &Sizes) -> Vec<Column> {
        let count = dice.between(2, sizes.columns_max);
        let mut columns: Vec<Column> = Vec::new();
        for i in 0..count {
            // Text is what policies speak of most.
            let data_type = if dice.chance(30) { DataType::Text } else { dice.pick(&KINDS).clone() };
            let names = column_names(&data_type);
            let mut name = (*dice.pick(names)).to_owned();
            if columns.iter().any(|c| c.name.as_str() == name) {
                name = format!("{name}_{i}");
            }
            columns.push(Column {
                id: ColumnId(u32::try_from(100 - i).unwrap()),
                name: ColumnName::new(name).unwrap(),
                data_type,
                nullable: dice.chance(85),
                tags: tags(dice, &COLUMN_TAGS, 35),
            });
        }
        columns
    }
}

fn texts<'a>(tables: impl Iterator<Item = &'a Vec<Row>>) -> BTreeSet<String> {
    tables.flatten().flatten().filter_map(|c| if let Cell::Text(t) = c { Some(t.clone()) } else { None }).collect()
}

fn column_names(data_type: &DataType) -> &'static [&'static str] {
    match data_type {
        DataType::Text => &["name", "dept", "ssn", "city", "Full Name", "user"],
        DataType::Int32 => &["age", "qty", "level"],
        DataType::Int64 => &["id", "salary", "account"],
        DataType::Float64 => &["score", "rate"],
        DataType::Decimal { .. } => &["price", "balance"],
        DataType::Boolean => &["active", "vip"],
        DataType::Date => &["born", "day"],
        DataType::Timestamp { .. } => &["seen_at", "made_at"],
        other => panic!("no columns of type {other} are made"),
    }
}

fn tags(dice: &mut Dice, from: &[&str], percent: usize) -> BTreeSet<Tag> {
    if dice.chance(percent) { BTreeSet::from([Tag::new(*dice.pick(from)).unwrap()]) } else { BTreeSet::new() }
}

fn attribute_value(dice: &mut Dice) -> String {
    let from: &[&str] = if dice.chance(70) { &SHARED_TEXTS } else { &DIGIT_TEXTS };
    (*dice.pick(from)).to_owned()
}

fn make_rows(source: &DataSource, dice: &mut Dice, sizes: &Sizes) -> Vec<Row> {
    let count = dice.below(sizes.rows_max + 1);
    let domains: Vec<Vec<Cell>> = source.columns.iter().map(|c| domain(&c.data_type, dice)).collect();
    let row = |dice: &mut Dice| {
        let cell = |(column, domain): (&Column, &Vec<Cell>)| {
            if column.nullable && dice.chance(12) { Cell::Null } else { dice.pick(domain).clone() }
        };
        source.columns.iter().zip(&domains).map(cell).collect()
    };
    (0..count).map(|_| row(dice)).collect()
}

/// A few values, so that things collide.
fn domain(data_type: &DataType, dice: &mut Dice) -> Vec<Cell> {
    let texts: &[&[&str]] = &[&SHARED_TEXTS, &SHARED_TEXTS, &DIGIT_TEXTS, &NASTY_TEXTS];
    let texts = *dice.pick(texts);
    (0..dice.between(2, 6)).map(|_| any_value(data_type, texts, dice)).collect()
}

fn any_value(data_type: &DataType, texts: &[&str], dice: &mut Dice) -> Cell {
    let small = i64::try_from(dice.below(9)).unwrap() - 3;
    match data_type {
        DataType::Boolean => Cell::Boolean(dice.chance(50)),
        DataType::Int32 => Cell::Int(*dice.pick(&[small, small, 12, 150, -250])),
        DataType::Int64 => Cell::Int(*dice.pick(&[small, small, 12, 1999, -9_000_000_000])),
        DataType::Float64 => Cell::Float(*dice.pick(&[small as f64, small as f64 / 4.0, 1024.5])),
        DataType::Decimal { .. } => {
            Cell::Decimal { unscaled: i128::from(small) * *dice.pick(&[25, 100, 333, 12_345]), scale: 2 }
        }
        DataType::Text => Cell::Text((*dice.pick(texts)).to_owned()),
        // Around the start of 1970 and of 2024.
        DataType::Date => Cell::Date(i32::try_from(small * 40).unwrap() + *dice.pick(&[0, 19_723])),
        DataType::Timestamp { .. } => {
            Cell::Timestamp((small * 40 * 86_400 + 5_025 * small) * 1_000_000 + *dice.pick(&[0, 1_704_067_200_123_000]))
        }
        other => panic!("no columns of type {other} are made"),
    }
}

/// For a person who looks into a failure.
impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        for person in &self.facts.principals {
            let groups: Vec<_> = person.groups.iter().map(GroupName::as_str).collect();
            writeln!(f, "principal {} groups={groups:?} attributes={:?}", person.id, person.attributes)?;
        }
        for (source, person) in &self.facts.selected {
            writeln!(f, "selected {person} for source {source}")?;
        }
        for source in &self.facts.sources {
            let owners: Vec<_> = source.owners.iter().map(ToString::to_string).collect();
            writeln!(f, "source {} {} tags={:?} owners={owners:?}", source.id, source.name, source.tags)?;
            for column in &source.columns {
                let null = if column.nullable { "" } else { " not null" };
                writeln!(
                    f,
                    "  column {} {:?} {}{null} tags={:?}",
                    column.id,
                    column.name.as_str(),
                    column.data_type,
                    column.tags
                )?;
            }
            for row in &self.tables[&source.id] {
                let cells: Vec<_> = row.iter().map(Cell::to_string).collect();
                writeln!(f, "  ({})", cells.join(", "))?;
            }
        }
        for stored in &self.facts.policies {
            writeln!(
                f,
                "policy {} {}: {}",
                stored.id,
                stored.policy.key,
                weir_policy::language::to_english(&stored.policy)
            )?;
            writeln!(f, "  {:?}", stored.policy.statement)?;
        }
        Ok(())
    }
}
