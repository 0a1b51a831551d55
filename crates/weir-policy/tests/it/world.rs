//! Worlds under `tests/cases/worlds`: sources and people as YAML.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use weir_model::{
    AttributeKey, Column, ColumnId, ColumnName, DataSource, DataType, Epoch, FileFormat, GroupName, Location,
    Permission, PolicyId, Principal, PrincipalId, SourceId, SourceName, Tag,
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
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    name: SourceName,
    #[serde(default)]
    tags: BTreeSet<Tag>,
    #[serde(default)]
    owners: BTreeSet<PrincipalId>,
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
    let id = |name: &SourceName| {
        sources.iter().find(|source| source.name == *name).unwrap_or_else(|| panic!("no {name}")).id
    };
    let selected =
        world.selected.iter().flat_map(|(name, people)| people.iter().map(move |person| (id(name), person.clone())));
    let selected = selected.collect();
    let principals = world.principals.into_iter().map(|person| Principal {
        id: person.name,
        groups: person.groups,
        attributes: person.attributes,
        permissions: person.permissions,
    });
    Facts { epoch: Some(Epoch(1)), principals: principals.collect(), selected, sources, policies: Vec::new() }
}

fn source(given: Source, id: u32) -> DataSource {
    let columns = given.columns.into_iter().zip(1..).map(|(column, n)| Column {
        id: ColumnId(id * 100 + n),
        name: column.name,
        data_type: data_type(&column.data_type),
        nullable: true,
        tags: column.tags,
    });
    DataSource {
        id: SourceId(id),
        name: given.name,
        tags: given.tags,
        owners: given.owners,
        columns: columns.collect(),
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
