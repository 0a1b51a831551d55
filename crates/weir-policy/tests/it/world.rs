//! Worlds under `tests/cases/worlds`: sources and people as YAML.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use weir_model::{
    AttributeKey, Column, ColumnId, ColumnName, DataSource, DataType, Epoch, FileFormat, GroupName, Impersonation,
    Location, Permission, PolicyId, PolicyKey, Principal, PrincipalId, PrincipalSet, Project, ProjectName, PurposeName,
    SourceId, SourceName, Surroundings, Tag,
};
use weir_policy::{Facts, StoredPolicy, ast::Policy, language};

/// The folder with data for tests, at the root of the workspace.
pub(crate) fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct World {
    sources: Vec<Source>,
    principals: Vec<Person>,
    #[serde(default)]
    selected: BTreeMap<SourceName, BTreeSet<PrincipalId>>,
    #[serde(default)]
    impersonations: Vec<Grant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    actor: PrincipalId,
    target: PrincipalSet,
}

/// What a case file adds to its world.
pub(crate) struct Additions<'a> {
    pub(crate) projects: &'a [GivenProject],
    pub(crate) approved: &'a BTreeMap<SourceName, BTreeSet<PrincipalId>>,
    pub(crate) chosen: &'a BTreeMap<PolicyKey, BTreeSet<SourceName>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GivenProject {
    name: ProjectName,
    members: BTreeSet<PrincipalId>,
    sources: BTreeSet<SourceName>,
    #[serde(default)]
    purposes: BTreeSet<PurposeName>,
    #[serde(default)]
    acknowledged: BTreeMap<PrincipalId, BTreeSet<PurposeName>>,
    #[serde(default)]
    equalized: bool,
    #[serde(default)]
    masked_joins: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    name: SourceName,
    #[serde(default)]
    tags: BTreeSet<Tag>,
    #[serde(default)]
    owners: BTreeSet<PrincipalId>,
    #[serde(default)]
    row_key: Vec<ColumnName>,
    event_time: Option<ColumnName>,
    columns: Vec<Named>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: ColumnName,
    #[serde(rename = "type")]
    data_type: String,
    #[serde(default)]
    tags: BTreeSet<Tag>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    name: PrincipalId,
    #[serde(default)]
    groups: BTreeSet<GroupName>,
    #[serde(default)]
    attributes: BTreeMap<AttributeKey, BTreeSet<String>>,
    #[serde(default)]
    permissions: BTreeSet<Permission>,
}

/// The world of that name, without policies, at epoch 1.
pub(crate) fn world(name: &str) -> Facts {
    let path = data().join(format!("cases/worlds/{name}.world"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let world: World = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let sources: Vec<DataSource> = world.sources.into_iter().zip(1..).map(|(given, id)| source(given, id)).collect();
    let selected = world
        .selected
        .iter()
        .flat_map(|(name, people)| people.iter().map(|person| (id(&sources, name), person.clone())));
    let selected = selected.collect();
    let principals = world.principals.into_iter().map(|person| Principal {
        id: person.name,
        groups: person.groups,
        attributes: person.attributes,
        permissions: person.permissions,
    });
    let impersonations =
        world.impersonations.into_iter().map(|Grant { actor, target }| Impersonation { actor, target });
    Facts {
        epoch: Some(Epoch(1)),
        principals: principals.collect(),
        selected,
        sources,
        impersonations: impersonations.collect(),
        ..Facts::default()
    }
}

fn id(sources: &[DataSource], name: &SourceName) -> SourceId {
    sources.iter().find(|source| source.name == *name).unwrap_or_else(|| panic!("no {name}")).id
}

/// The facts, policies included, with what the case file adds.
pub(crate) fn with(mut facts: Facts, added: &Additions<'_>) -> Facts {
    let Additions { projects, approved, chosen } = added;
    let id = |name: &SourceName| id(&facts.sources, name);
    let approved = || approved.iter().flat_map(|(name, people)| people.iter().map(|p| (id(name), p.clone())));
    let by = |stored: &StoredPolicy| {
        let policy = stored.id;
        approved().map(move |(source, person)| (policy, source, person))
    };
    facts.approved = facts.policies.iter().flat_map(by).collect();
    facts.chosen = chosen.iter().flat_map(|(key, names)| names.iter().map(|name| (key.clone(), id(name)))).collect();
    facts.projects = projects
        .iter()
        .map(|given| Project {
            name: given.name.clone(),
            members: given.members.clone(),
            sources: given.sources.iter().map(id).collect(),
            purposes: given.purposes.clone(),
            acknowledged: given
                .acknowledged
                .iter()
                .flat_map(|(member, purposes)| purposes.iter().map(|purpose| (member.clone(), purpose.clone())))
                .collect(),
            equalized: given.equalized,
            masked_joins: given.masked_joins,
        })
        .collect();
    facts
}

/// Outside of projects, at [`NOW`].
pub(crate) fn anywhere() -> Surroundings {
    Surroundings { at_unix_ms: unix_ms(NOW), ..Surroundings::default() }
}

/// When statements are made where nothing else is said.
pub(crate) const NOW: &str = "2024-07-31 12:30:00";

pub(crate) fn unix_ms(at: &str) -> u64 {
    let at = chrono::NaiveDateTime::parse_from_str(at, "%Y-%m-%d %H:%M:%S").unwrap_or_else(|e| panic!("{at}: {e}"));
    u64::try_from(at.and_utc().timestamp_millis()).unwrap()
}

fn source(given: Source, id: u32) -> DataSource {
    let columns: Vec<Column> = given
        .columns
        .into_iter()
        .zip(1..)
        .map(|(column, n)| Column {
            id: ColumnId(id * 100 + n),
            name: column.name,
            data_type: data_type(&column.data_type),
            nullable: true,
            tags: column.tags,
        })
        .collect();
    let named = |name: &ColumnName| {
        columns.iter().find(|column| column.name == *name).unwrap_or_else(|| panic!("no column {name}")).id
    };
    DataSource {
        id: SourceId(id),
        name: given.name,
        tags: given.tags,
        owners: given.owners,
        row_key: given.row_key.iter().map(named).collect(),
        event_time: given.event_time.as_ref().map(named),
        columns,
        location: Location::Files { format: FileFormat::Parquet, path: PathBuf::from("/data"), partitions: Vec::new() },
    }
}

fn data_type(name: &str) -> DataType {
    match name {
        "boolean" => DataType::Boolean,
        "tinyint" => DataType::Int8,
        "int" => DataType::Int32,
        "bigint" => DataType::Int64,
        "double" => DataType::Float64,
        "decimal(6,2)" => DataType::Decimal { precision: 6, scale: 2 },
        "text" => DataType::Text,
        "binary" => DataType::Binary,
        "date" => DataType::Date,
        "timestamp" => DataType::Timestamp { zoned: false },
        "list<text>" => DataType::List(Box::new(DataType::Text)),
        other => panic!("no type `{other}` in worlds yet"),
    }
}

/// Everything below the folder with this extension, sorted.
pub(crate) fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The policies of a text, which must have nothing wrong.
pub(crate) fn policies(text: &str) -> Vec<Policy> {
    let parsed = language::parse(text);
    assert!(parsed.diagnostics.is_empty(), "{text}\n{:?}", parsed.diagnostics);
    parsed.policies
}

/// The world with these policies, numbered in the order written.
pub(crate) fn with_policies(mut facts: Facts, text: &str) -> Facts {
    facts.policies =
        policies(text).into_iter().zip(1..).map(|(policy, id)| StoredPolicy { id: PolicyId(id), policy }).collect();
    facts
}
