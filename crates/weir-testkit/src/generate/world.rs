use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use weir_model::{
    Actor, AttributeKey, Column, ColumnId, ColumnName, DataSource, DataType, Epoch, Field, FileFormat, GroupName,
    Impersonation, Lineage, Location, Part, Permission, PolicyId, Principal, PrincipalId, PrincipalSet, Profile,
    Project, ProjectName, PurposeName, SourceId, SourceName, Surroundings, Tag, TypeClass,
};
use weir_policy::ast::Policy;
use weir_policy::{Compare, Facts, Snapshot};

use super::predicate::literal;
use super::{AT_UNIX_MS, CANARY, Sizes, derive, policy};
use crate::cell::{Cell, Row, Tables};
use crate::dice::Dice;
use crate::nested;
use crate::oracle::predicate::compare;
use crate::oracle::{self, Keys, Oracle};

/// Data sources with their rows, people, and policies over both.
#[derive(Clone, Debug)]
pub struct World {
    pub seed: u64,
    /// The locations of the sources are empty: whoever writes the rows to files fills them in.
    pub facts: Facts,
    pub tables: Tables,
    pub keys: Keys,
    /// Those who ask, each principal once. The world is made so that the first sees something of it.
    pub speakers: Vec<Speaker>,
    /// Who wrote the rows of derived sources that keep what she saw of their parents.
    pub writers: BTreeMap<SourceId, Speaker>,
}

/// Somebody who asks, where and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// Whose rights hold.
    pub principal: PrincipalId,
    /// Who acts as the principal, when somebody else does.
    pub acting: Option<PrincipalId>,
    pub project: Option<ProjectName>,
    pub at_unix_ms: u64,
}

impl Speaker {
    /// Herself, outside of projects, at [`AT_UNIX_MS`].
    pub fn itself(principal: &PrincipalId) -> Self {
        Self { principal: principal.clone(), acting: None, project: None, at_unix_ms: AT_UNIX_MS }
    }

    pub fn surroundings(&self) -> Surroundings {
        let impersonated = self.acting.is_some();
        Surroundings { project: self.project.clone(), impersonated, at_unix_ms: self.at_unix_ms }
    }

    pub fn actor(&self) -> Actor {
        let effective = self.principal.clone();
        Actor { authenticated: self.acting.clone().unwrap_or_else(|| effective.clone()), effective }
    }
}

impl From<&PrincipalId> for Speaker {
    fn from(principal: &PrincipalId) -> Self {
        Self::itself(principal)
    }
}

impl From<&Speaker> for Speaker {
    fn from(speaker: &Speaker) -> Self {
        speaker.clone()
    }
}

impl fmt::Display for Speaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.principal, self.at_unix_ms)?;
        if let Some(acting) = &self.acting {
            write!(f, ", as whom {acting} acts")?;
        }
        match &self.project {
            Some(project) => write!(f, ", in project `{project}`"),
            None => Ok(()),
        }
    }
}

const GROUPS: [&str; 5] = ["A", "B", "staff", "admins", "o'brien"];
const ATTRIBUTES: [&str; 3] = ["nation", "level", "unit"];
const PEOPLE: [&str; 5] = ["tara", "garth", "oona", "nora", "fin"];
const PROJECTS: [&str; 3] = ["alpha", "o'hara", "beta team"];
const PURPOSES: [&str; 5] = ["Research", "Research.Cancer", "Research.Cancer.Lung", "Audit", "ResearchX"];
const SHARED_TEXTS: [&str; 9] = ["A", "B", "C", "staff", "tara", "garth", "x", "Research", "alpha"];
const DOTTED_TEXTS: [&str; 5] = ["EU.FR", "EU.FR.75", "EU", "EUX.FR", "EU."];
/// Long enough to keep a format, and texts with spaces and dots around.
const LONG_TEXTS: [&str; 7] = [
    "123-45-6789",
    "223-45-6789",
    "4111 1111 1111 1111",
    "Ab12Cd34",
    "  two spaces ",
    "longer.text@example.org",
    "1234567",
];
const NASTY_TEXTS: [&str; 12] =
    ["", "o'brien", "\"q\"", "é", "日本", "a%b", "a_b", "NULL", "null", "Ä ö", "--", "x\\y"];
const DIGIT_TEXTS: [&str; 6] = ["1", "2", "7", "12", "-3", "007"];
pub(super) const COLUMN_TAGS: [&str; 6] = ["PII", "PII.SSN", "PII.Name", "Geo", "Geo.City", "PIIX"];
const SOURCE_TAGS: [&str; 3] = ["Zone", "Zone.EU", "Lake"];
const SOURCES: [&str; 6] = ["shop.sales", "shop.people", "hr.emp", "hr.sales", "gov.entitlements", "shop.Mixed Case"];

pub(super) const KINDS: [DataType; 8] = [
    DataType::Text,
    DataType::Int32,
    DataType::Int64,
    DataType::Float64,
    DataType::Decimal { precision: 10, scale: 2 },
    DataType::Boolean,
    DataType::Date,
    DataType::Timestamp { zoned: false },
];

/// No world has more policies.
const POLICIES_MAX: u32 = 64;

impl World {
    pub fn generate(seed: u64, sizes: &Sizes) -> Self {
        let mut dice = Dice::new(seed);
        let mut world = Self {
            seed,
            facts: Facts { epoch: Some(Epoch(1)), ..Facts::default() },
            tables: Tables::new(),
            keys: Keys::default(),
            speakers: Vec::new(),
            writers: BTreeMap::new(),
        };
        world.make_people(&mut dice.fork(), sizes);
        world.make_sources(&mut dice.fork(), sizes);
        world.make_projects(&mut dice.fork());
        world.make_speakers(&mut dice.fork());
        policy::write(&mut world, &mut dice.fork(), sizes);
        world.make_writers();
        let subject = world.speakers[0].clone();
        // Hidden rows get canaries and values that make expressions fail; what the first speaker sees stays.
        world.disturb(&subject, 35, &mut dice.fork());
        world
    }

    /// The world of these facts, where everybody speaks for herself outside of projects.
    pub fn of(facts: Facts, tables: Tables, keys: Keys) -> Self {
        let speakers = facts.principals.iter().map(|p| Speaker::itself(&p.id)).collect();
        Self { seed: 0, facts, tables, keys, speakers, writers: BTreeMap::new() }
    }

    /// What the speaker sees of each source; the sources that she does not see are absent.
    pub fn visible(&self, speaker: &Speaker) -> BTreeMap<SourceId, Vec<Row>> {
        let surroundings = speaker.surroundings();
        let oracle = self.oracle(&speaker.principal, &surroundings);
        self.facts.sources.iter().filter_map(|s| Some((s.id, oracle.visible_copy(s.id)?))).collect()
    }

    pub fn oracle<'a>(&'a self, principal: &'a PrincipalId, surroundings: &'a Surroundings) -> Oracle<'a> {
        Oracle { facts: &self.facts, tables: &self.tables, keys: &self.keys, principal, surroundings }
    }

    /// Whether the policy holds for the source.
    pub fn reaches(&self, policy: &Policy, source: SourceId) -> bool {
        self.facts.sources.iter().any(|s| s.id == source && oracle::reaches(&self.facts, policy, s))
    }

    /// The canaries that are in the world and not in `visible`.
    pub fn canaries(&self, visible: &BTreeMap<SourceId, Vec<Row>>) -> BTreeSet<String> {
        let mut hidden = texts(self.tables.values());
        for seen in texts(visible.values()) {
            hidden.retain(|canary| !seen.contains(canary.as_str()));
        }
        hidden.into_iter().filter(|text| text.starts_with(CANARY)).collect()
    }

    /// Some of the derived sources were written by somebody in a project, or are taken for that: what she saw of the
    /// parents is kept with them.
    fn make_writers(&mut self) {
        let mut dice = Dice::new(self.seed ^ 0x3717e5);
        // In their order, for what was made from others is a parent too.
        for at in 0..self.facts.sources.len() {
            let source = &self.facts.sources[at];
            let (Some(lineage), true) = (source.lineage.clone(), dice.chance(60)) else { continue };
            let writer = dice.pick(&self.speakers).clone();
            let seen = derive::seen(&lineage, &Snapshot::compile(self.facts.clone()), &writer);
            if !seen.is_empty() {
                self.writers.insert(source.id, writer);
                self.facts.sources[at].lineage = Some(Lineage { seen, ..lineage });
            }
        }
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
            person.permissions = Permission::ALL.into_iter().filter(|_| dice.chance(12)).collect();
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
        // Of their own, so that worlds without derived sources are what they are without them.
        let mut lineages = Dice::new(self.seed ^ 0x11ea6e);
        for i in 0..count {
            // Ids run against the order, so that an id is never a position; no other world has them.
            let id = SourceId(u32::try_from(self.seed % (1 << 24) * 16 + 10).unwrap() - u32::try_from(i).unwrap());
            let name: SourceName = SOURCES[(first + i) % SOURCES.len()].parse().unwrap();
            let (columns, lineage) = match i > 0 && lineages.chance(40) {
                true => derive::columns(&self.facts.sources, &mut lineages, sizes),
                false => (self.make_columns(dice, sizes), None),
            };
            let parts = parts(&columns, dice);
            let owners: BTreeSet<_> =
                self.facts.principals.iter().filter(|_| dice.chance(12)).map(|p| p.id.clone()).collect();
            let (row_key, event_time) = (row_key(&columns, dice), event_time(&columns, dice));
            let mut source = DataSource {
                id,
                name,
                tags: tags(dice, &SOURCE_TAGS, 40),
                owners,
                columns,
                parts,
                row_key,
                event_time,
                lineage,
                workspace: None,
                location: Location::Files { format: FileFormat::Parquet, path: PathBuf::new(), partitions: Vec::new() },
            };
            let rows = make_rows(&source, None, dice, sizes);
            for (place, column) in source.columns.iter_mut().enumerate() {
                column.profile = dice.chance(75).then(|| profile(rows.iter().map(|row| &row[place])));
            }
            self.tables.insert(id, rows);
            let key: Vec<u8> = (0..4).flat_map(|_| dice.roll().to_le_bytes()).collect();
            self.keys.sources.insert(id, key.try_into().expect("32 bytes"));
            self.facts.sources.push(source);
        }
        for source in &self.facts.sources {
            for person in &self.facts.principals {
                if dice.chance(15) {
                    self.facts.selected.insert((source.id, person.id.clone()));
                }
                let approved = dice.chance(40);
                let mut each = Dice::new(dice.clone().roll());
                // Before there are policies: those to come have ids from 1 on.
                for policy in (1..=POLICIES_MAX).map(PolicyId) {
                    // Who is approved by one is mostly approved by all.
                    if each.chance(if approved { 85 } else { 8 }) {
                        self.facts.approved.insert((policy, source.id, person.id.clone()));
                    }
                }
            }
        }
    }

    fn make_projects(&mut self, dice: &mut Dice) {
        let count = *dice.pick(&[0, 1, 1, 2]);
        let first = dice.below(PROJECTS.len());
        for i in 0..count {
            let name = ProjectName::new(PROJECTS[(first + i) % PROJECTS.len()]).unwrap();
            let mut members: BTreeSet<_> =
                self.facts.principals.iter().filter(|_| dice.chance(60)).map(|p| p.id.clone()).collect();
            if dice.chance(15) {
                members.insert(PrincipalId::builtin("gone").unwrap());
            }
            let sources = self.facts.sources.iter().filter(|_| dice.chance(85)).map(|s| s.id).collect();
            let purposes: BTreeSet<PurposeName> = if dice.chance(60) {
                dice.some(&PURPOSES, 25).into_iter().map(|p| PurposeName::new(p).unwrap()).collect()
            } else {
                BTreeSet::new()
            };
            let mut acknowledged = BTreeSet::new();
            for member in &members {
                // Who has promised one thing has mostly promised all.
                let careful = dice.chance(85);
                for purpose in purposes.iter().filter(|_| careful || dice.chance(50)) {
                    acknowledged.insert((member.clone(), purpose.clone()));
                }
            }
            let (equalized, masked_joins) = (dice.chance(40), dice.chance(40));
            let key: Vec<u8> = (0..4).flat_map(|_| dice.roll().to_le_bytes()).collect();
            self.keys.projects.insert(name.clone(), key.try_into().expect("32 bytes"));
            self.facts.projects.push(Project {
                name,
                members,
                sources,
                purposes,
                acknowledged,
                equalized,
                masked_joins,
                workspace: None,
            });
        }
    }

    fn make_speakers(&mut self, dice: &mut Dice) {
        let people: Vec<PrincipalId> = self.facts.principals.iter().map(|p| p.id.clone()).collect();
        for actor in &people {
            if dice.chance(25) {
                let target = match dice.below(3) {
                    0 => PrincipalSet::Group(GroupName::new(*dice.pick(&GROUPS)).unwrap()),
                    _ => PrincipalSet::User(dice.pick(&people).clone()),
                };
                self.facts.impersonations.insert(Impersonation { actor: actor.clone(), target });
            }
        }
        for (i, person) in self.facts.principals.iter().enumerate() {
            let grants = self.facts.impersonations.iter().filter(|g| g.actor != person.id && g.target.contains(person));
            let actors: Vec<_> = grants.map(|grant| grant.actor.clone()).collect();
            let acting = if !actors.is_empty() && dice.chance(50) { Some(dice.pick(&actors).clone()) } else { None };
            let open = |project: &&Project| {
                let mut promised = project.purposes.iter();
                project.members.contains(&person.id)
                    && promised.all(|p| project.acknowledged.contains(&(person.id.clone(), p.clone())))
            };
            let mut projects: Vec<_> = self.facts.projects.iter().filter(open).map(|p| p.name.clone()).collect();
            // Only others are now and then where they see nothing.
            if i > 0 && dice.chance(10) {
                projects = self.facts.projects.iter().map(|p| p.name.clone()).collect();
                projects.push(ProjectName::new("nowhere").unwrap());
            }
            let project =
                if !projects.is_empty() && dice.chance(60) { Some(dice.pick(&projects).clone()) } else { None };
            // Around the times in the rows, with a part of a second.
            let at_unix_ms = 1_704_067_200_000 + dice.roll() % (300 * 86_400_000);
            let principal = person.id.clone();
            self.speakers.push(Speaker { principal, acting, project, at_unix_ms });
        }
    }

    fn make_columns(&self, dice: &mut Dice, sizes: &Sizes) -> Vec<Column> {
        let count = dice.between(2, sizes.columns_max);
        let mut columns: Vec<Column> = Vec::new();
        for i in 0..count {
            // Text is what policies speak of most.
            let data_type = match dice.below(100) {
                0..30 => DataType::Text,
                // Something plain is in every source.
                30..45 if i > 0 => nested_type(dice),
                _ => dice.pick(&KINDS).clone(),
            };
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
                profile: None,
            });
        }
        columns
    }
}

fn texts<'a>(tables: impl Iterator<Item = &'a Vec<Row>>) -> BTreeSet<String> {
    tables.flatten().flat_map(nested::texts).map(str::to_owned).collect()
}

pub(super) fn column_names(data_type: &DataType) -> &'static [&'static str] {
    match data_type {
        DataType::Text => &["name", "dept", "ssn", "city", "Full Name", "user"],
        DataType::Int32 => &["age", "qty", "level"],
        DataType::Int64 => &["id", "salary", "account"],
        DataType::Float64 => &["score", "rate"],
        DataType::Decimal { .. } => &["price", "balance"],
        DataType::Boolean => &["active", "vip"],
        DataType::Date => &["born", "day"],
        DataType::Timestamp { .. } => &["seen_at", "made_at"],
        DataType::Struct(_) => &["address", "person"],
        DataType::List(_) => &["phones", "lines"],
        other => panic!("no columns of type {other} are made"),
    }
}

/// A few shapes of what is inside of values.
fn nested_type(dice: &mut Dice) -> DataType {
    let mut plain = || if dice.chance(50) { DataType::Text } else { dice.pick(&KINDS).clone() };
    let (first, second) = (plain(), plain());
    let field = |name: &str, data_type| Field { name: name.to_owned(), data_type };
    let list = |item| DataType::List(Box::new(item));
    match dice.below(5) {
        0 | 1 => DataType::Struct(vec![field("city", first), field("Post Code", second)]),
        2 => list(first),
        3 => list(DataType::Struct(vec![field("item", first), field("n", second)])),
        _ => {
            let inner = DataType::Struct(vec![field("city", first), field("x", DataType::Int32)]);
            DataType::Struct(vec![field("home", inner), field("tags", list(second))])
        }
    }
}

fn parts(columns: &[Column], dice: &mut Dice) -> Vec<Part> {
    let mut ids = 200..;
    let mut id = || ColumnId(ids.next().expect("a number"));
    let mut parts: Vec<Part> = columns.iter().flat_map(|column| Part::of(column, &mut id).unwrap()).collect();
    for part in &mut parts {
        part.column.tags = tags(dice, &COLUMN_TAGS, 35);
    }
    parts
}

/// Mostly something that says what a row is.
fn row_key(columns: &[Column], dice: &mut Dice) -> Vec<ColumnId> {
    let plain = columns.iter().filter(|c| c.data_type.class() != TypeClass::Nested);
    let ids: Vec<ColumnId> = plain.map(|c| c.id).collect();
    if dice.chance(30) { Vec::new() } else { dice.some(&ids, 25) }
}

fn event_time(columns: &[Column], dice: &mut Dice) -> Option<ColumnId> {
    let times = columns.iter().filter(|c| matches!(c.data_type, DataType::Date | DataType::Timestamp { .. }));
    let times: Vec<ColumnId> = times.map(|c| c.id).collect();
    (!times.is_empty() && dice.chance(85)).then(|| *dice.pick(&times))
}

pub(super) fn tags(dice: &mut Dice, from: &[&str], percent: usize) -> BTreeSet<Tag> {
    if dice.chance(percent) { BTreeSet::from([Tag::new(*dice.pick(from)).unwrap()]) } else { BTreeSet::new() }
}

fn attribute_value(dice: &mut Dice) -> String {
    let from: &[&str] = match dice.below(10) {
        0..=5 => &SHARED_TEXTS,
        6 | 7 => &DOTTED_TEXTS,
        _ => &DIGIT_TEXTS,
    };
    (*dice.pick(from)).to_owned()
}

/// Of the values of a column.
fn profile<'a>(cells: impl Iterator<Item = &'a Cell>) -> Profile {
    let (nulls, values): (Vec<&Cell>, Vec<&Cell>) = cells.partition(|cell| cell.is_null());
    let ordered = |cell: &Cell| !matches!(cell, Cell::Text(_) | Cell::Boolean(_) | Cell::List(_) | Cell::Struct(_));
    let less = |a: &&&Cell, b: &&&Cell| {
        let is = |op| compare(op, a, b) == Ok(Some(true));
        if is(Compare::Less) {
            Ordering::Less
        } else if is(Compare::Greater) {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    };
    let of_order = || values.iter().filter(|cell| ordered(cell));
    Profile {
        rows: (nulls.len() + values.len()) as u64,
        nulls: nulls.len() as u64,
        distinct: None,
        least: of_order().min_by(less).map(|cell| literal(cell)),
        greatest: of_order().max_by(less).map(|cell| literal(cell)),
    }
}

/// With texts of `texts`, when they are given.
pub(super) fn make_rows(source: &DataSource, texts: Option<&[&str]>, dice: &mut Dice, sizes: &Sizes) -> Vec<Row> {
    let count = dice.below(sizes.rows_max + 1);
    let domains: Vec<Vec<Cell>> = source.columns.iter().map(|c| domain(&c.data_type, texts, dice)).collect();
    let row = |dice: &mut Dice| {
        let cell = |(column, domain): (&Column, &Vec<Cell>)| {
            if column.nullable && dice.chance(12) { Cell::Null } else { dice.pick(domain).clone() }
        };
        source.columns.iter().zip(&domains).map(cell).collect()
    };
    (0..count).map(|_| row(dice)).collect()
}

/// A few values, so that things collide.
fn domain(data_type: &DataType, given: Option<&[&str]>, dice: &mut Dice) -> Vec<Cell> {
    let texts: &[&[&str]] = &[&SHARED_TEXTS, &SHARED_TEXTS, &SHARED_TEXTS, &DIGIT_TEXTS, &NASTY_TEXTS, &LONG_TEXTS];
    let texts = match given {
        Some(given) => given,
        None => *dice.pick(texts),
    };
    (0..dice.between(2, 6)).map(|_| any_value(data_type, texts, dice)).collect()
}

fn or_null(cell: Cell, dice: &mut Dice) -> Cell {
    if dice.chance(12) { Cell::Null } else { cell }
}

fn any_value(data_type: &DataType, texts: &[&str], dice: &mut Dice) -> Cell {
    let small = i64::try_from(dice.below(9)).unwrap() - 3;
    match data_type {
        DataType::Boolean => Cell::Boolean(dice.chance(50)),
        DataType::Int8 => Cell::Int(small),
        // Whatever is asked of it, there is none.
        DataType::Binary => Cell::Null,
        DataType::Int32 => Cell::Int(*dice.pick(&[small, small, 12, 150, -250, 7_654_321])),
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
        DataType::List(item) => {
            Cell::List((0..dice.below(4)).map(|_| or_null(any_value(item, texts, dice), dice)).collect())
        }
        DataType::Struct(fields) => {
            let cells = fields.iter().map(|field| or_null(any_value(&field.data_type, texts, dice), dice));
            Cell::Struct(cells.collect())
        }
        other => panic!("no columns of type {other} are made"),
    }
}

/// For a person who looks into a failure.
impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        for person in &self.facts.principals {
            let Principal { id, groups, attributes, permissions } = person;
            let groups: Vec<_> = groups.iter().map(GroupName::as_str).collect();
            writeln!(f, "principal {id} groups={groups:?} attributes={attributes:?} permissions={permissions:?}")?;
        }
        for speaker in &self.speakers {
            writeln!(f, "speaker {speaker}")?;
        }
        for Impersonation { actor, target } in &self.facts.impersonations {
            writeln!(f, "{actor} may act as {target}")?;
        }
        for project in &self.facts.projects {
            writeln!(f, "{project:?}")?;
        }
        for (source, person) in &self.facts.selected {
            writeln!(f, "selected {person} for source {source}")?;
        }
        // Of most policies that might be there, none is.
        let written = |id: &PolicyId| self.facts.policies.iter().any(|stored| stored.id == *id);
        for (policy, source, person) in self.facts.approved.iter().filter(|(policy, ..)| written(policy)) {
            writeln!(f, "approved {person} by policy {policy} for source {source}")?;
        }
        for (policy, source) in &self.facts.chosen {
            writeln!(f, "chosen {policy} for source {source}")?;
        }
        for source in &self.facts.sources {
            self.fmt_source(source, f)?;
        }
        for stored in &self.facts.policies {
            let policy = &stored.policy;
            writeln!(f, "policy {} {}: {}", stored.id, policy.key, weir_policy::language::to_english(policy))?;
            writeln!(f, "  priority {}, {:?}", policy.priority, policy.statement)?;
        }
        Ok(())
    }
}

impl World {
    fn fmt_source(&self, source: &DataSource, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owners: Vec<_> = source.owners.iter().map(ToString::to_string).collect();
        let DataSource { id, name, tags, row_key, event_time, lineage, .. } = source;
        writeln!(f, "source {id} {name} tags={tags:?} owners={owners:?} key={row_key:?} time={event_time:?}")?;
        if let Some(lineage) = lineage {
            writeln!(f, "  made from {lineage:?}")?;
        }
        for Column { id, name, data_type, nullable, tags, profile } in &source.columns {
            let null = if *nullable { "" } else { " not null" };
            writeln!(f, "  column {id} {:?} {data_type}{null} tags={tags:?} profile={profile:?}", name.as_str())?;
        }
        for Part { column: Column { id, name, data_type, tags, .. }, .. } in &source.parts {
            writeln!(f, "  part {id} {:?} {data_type} tags={tags:?}", name.as_str())?;
        }
        for row in &self.tables[id] {
            let cells: Vec<_> = row.iter().map(Cell::to_string).collect();
            writeln!(f, "  ({})", cells.join(", "))?;
        }
        Ok(())
    }
}
