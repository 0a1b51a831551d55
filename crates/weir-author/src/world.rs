//! Worlds: data sources and people in YAML, for policies to be tried in.

mod derived;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;
use weir_model::{
    AttributeKey, Column, ColumnId, ColumnName, DataSource, Epoch, FileFormat, GroupName, Impersonation, Location,
    Part, Permission, PolicyKey, Principal, PrincipalId, PrincipalSet, Profile, Project, ProjectName, PurposeName,
    SourceId, SourceName, Tag,
};
use weir_policy::ast::{Approver, Body, Policy, Subscribe, Subscribers};
use weir_policy::{Facts, StoredPolicy};

use derived::Derivation;
use types::type_named;

/// Data sources, people and what relates them, for policies to be tried in.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Without policies, or with those of a running system.
    pub facts: Facts,
    /// Whose requests were approved by all whom any policy asks.
    pub approved: BTreeSet<(SourceId, PrincipalId)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WorldFile {
    sources: Vec<Source>,
    /// Data sources that others were made from and that are not there any more.
    #[serde(default)]
    gone: Vec<SourceName>,
    principals: Vec<Person>,
    #[serde(default)]
    selected: BTreeMap<SourceName, BTreeSet<PrincipalId>>,
    #[serde(default)]
    impersonations: Vec<Grant>,
    #[serde(default)]
    projects: Vec<GivenProject>,
    #[serde(default)]
    approved: BTreeMap<SourceName, BTreeSet<PrincipalId>>,
    #[serde(default)]
    chosen: BTreeMap<PolicyKey, BTreeSet<SourceName>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    actor: PrincipalId,
    target: PrincipalSet,
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
    /// Tags of what is inside of nested columns.
    #[serde(default)]
    part_tags: BTreeMap<ColumnName, BTreeSet<Tag>>,
    /// The data sources that it was made from.
    #[serde(default)]
    derived_from: BTreeSet<SourceName>,
    /// The columns of those, as `schema.table.column`, whose values a column holds unchanged.
    #[serde(default)]
    copies: BTreeMap<ColumnName, BTreeSet<String>>,
    /// The columns of those that a column is computed from.
    #[serde(default)]
    computed: BTreeMap<ColumnName, BTreeSet<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: ColumnName,
    #[serde(rename = "type")]
    data_type: String,
    #[serde(default)]
    tags: BTreeSet<Tag>,
    profile: Option<Profile>,
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

/// A project as worlds and cases write it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenProject {
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
    /// The schema in which members write tables: the sources of that schema were written there.
    workspace: Option<String>,
}

/// What a case file adds to its world.
#[derive(Clone, Copy, Debug)]
pub struct Additions<'a> {
    pub projects: &'a [GivenProject],
    /// Whose requests were approved by all whom any policy asks.
    pub approved: &'a BTreeMap<SourceName, BTreeSet<PrincipalId>>,
    /// For which sources an owner chose a policy.
    pub chosen: &'a BTreeMap<PolicyKey, BTreeSet<SourceName>>,
}

impl From<Facts> for World {
    fn from(facts: Facts) -> Self {
        Self { facts, approved: BTreeSet::new() }
    }
}

impl World {
    /// The world that the text spells, without policies, at epoch 1. Sources have no data behind them.
    ///
    /// # Errors
    /// What is wrong with the text, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let world: WorldFile = serde_saphyr::from_str(text).map_err(|e| e.to_string())?;
        let WorldFile { sources, gone, principals, selected, impersonations, projects, approved, chosen } = world;
        let derivations: Vec<Derivation> = sources.iter().map(Derivation::of).collect();
        let mut sources: Vec<DataSource> =
            sources.into_iter().zip(1..).map(|(given, id)| source(given, id)).collect::<Result<_, _>>()?;
        distinct("data source", sources.iter().map(|source| &source.name).chain(&gone))?;
        derived::derive(&mut sources, &derivations, &gone)?;
        let selected = pairs(&sources, &selected)?;
        let person =
            |Person { name, groups, attributes, permissions }| Principal { id: name, groups, attributes, permissions };
        let principals: Vec<Principal> = principals.into_iter().map(person).collect();
        distinct("user", principals.iter().map(|principal| &principal.id))?;
        let impersonations =
            impersonations.into_iter().map(|Grant { actor, target }| Impersonation { actor, target }).collect();
        let facts = Facts { epoch: Some(Epoch(1)), principals, sources, selected, impersonations, ..Facts::default() };
        let mut world = Self::from(facts);
        world.add(&Additions { projects: &projects, approved: &approved, chosen: &chosen })?;
        Ok(world)
    }

    /// Puts in what a case file adds.
    ///
    /// # Errors
    /// When a data source does not exist, or a project exists already.
    pub fn add(&mut self, added: &Additions<'_>) -> Result<(), String> {
        let Additions { projects, approved, chosen } = added;
        let facts = &mut self.facts;
        self.approved.extend(pairs(&facts.sources, approved)?);
        for (key, names) in *chosen {
            for name in names {
                facts.chosen.insert((key.clone(), id(&facts.sources, name)?));
            }
        }
        for given in *projects {
            facts.projects.push(Project {
                name: given.name.clone(),
                members: given.members.clone(),
                sources: given.sources.iter().map(|name| id(&facts.sources, name)).collect::<Result<_, _>>()?,
                purposes: given.purposes.clone(),
                acknowledged: given
                    .acknowledged
                    .iter()
                    .flat_map(|(member, purposes)| purposes.iter().map(|purpose| (member.clone(), purpose.clone())))
                    .collect(),
                equalized: given.equalized,
                masked_joins: given.masked_joins,
                workspace: given.workspace.clone(),
            });
            for source in &mut facts.sources {
                if given.workspace.as_deref() == Some(source.name.schema()) {
                    source.workspace = Some(given.name.clone());
                }
            }
        }
        distinct("project", facts.projects.iter().map(|project| &project.name))
    }

    /// Puts projects in the place of those of their names, or beside them.
    ///
    /// # Errors
    /// When a data source does not exist.
    pub fn change(&mut self, projects: &[GivenProject]) -> Result<(), String> {
        let facts = &mut self.facts;
        let changed = |name: &ProjectName| projects.iter().any(|given| given.name == *name);
        facts.projects.retain(|project| !changed(&project.name));
        for source in &mut facts.sources {
            source.workspace = source.workspace.take().filter(|home| !changed(home));
        }
        self.add(&Additions { projects, approved: &BTreeMap::new(), chosen: &BTreeMap::new() })
    }

    /// The facts with these policies, and no others. What a policy that was there before approved, the one of its key
    /// has approved if it asks the same people.
    pub fn with(self, policies: Vec<StoredPolicy>) -> Facts {
        let Self { facts, approved } = self;
        let mut by_policy = BTreeSet::new();
        for stored in &policies {
            let same = |former: &&StoredPolicy| {
                former.policy.key == stored.policy.key && asked(&former.policy) == asked(&stored.policy)
            };
            let former = facts.policies.iter().find(same).map(|former| former.id);
            let kept = facts.approved.iter().filter(|(id, ..)| former == Some(*id));
            let kept = kept.map(|(_, source, person)| (source, person));
            let all = kept.chain(approved.iter().map(|(source, person)| (source, person)));
            by_policy.extend(all.map(|(source, person)| (stored.id, *source, person.clone())));
        }
        Facts { policies, approved: by_policy, ..facts }
    }
}

/// Whom the policy asks, if it takes people in on request.
fn asked(policy: &Policy) -> Option<&[Approver]> {
    match &policy.statement.body {
        Body::Subscribe(Subscribe { who: Subscribers::Asking(approvers), .. }) => Some(approvers),
        Body::Subscribe(_) | Body::Data(_) => None,
    }
}

fn distinct<T: Ord + std::fmt::Display>(kind: &str, names: impl Iterator<Item = T>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        if seen.contains(&name) {
            return Err(format!("{kind} `{name}` is there twice"));
        }
        seen.insert(name);
    }
    Ok(())
}

fn pairs(
    sources: &[DataSource],
    named: &BTreeMap<SourceName, BTreeSet<PrincipalId>>,
) -> Result<BTreeSet<(SourceId, PrincipalId)>, String> {
    let mut pairs = BTreeSet::new();
    for (name, people) in named {
        let id = id(sources, name)?;
        pairs.extend(people.iter().map(|person| (id, person.clone())));
    }
    Ok(pairs)
}

fn id(sources: &[DataSource], name: &SourceName) -> Result<SourceId, String> {
    let found = sources.iter().find(|source| source.name == *name);
    found.map(|source| source.id).ok_or_else(|| format!("the world has no data source `{name}`"))
}

fn source(given: Source, id: u32) -> Result<DataSource, String> {
    let Source { name, tags, owners, row_key, event_time, columns, mut part_tags, .. } = given;
    let mut bound = Vec::with_capacity(columns.len());
    for (Named { name: column, data_type, tags, profile }, number) in columns.into_iter().zip(1..) {
        let data_type =
            type_named(&data_type).ok_or_else(|| format!("column `{name}.{column}` has no type `{data_type}`"))?;
        bound.push(Column { id: ColumnId(id * 100 + number), name: column, data_type, nullable: true, tags, profile });
    }
    distinct(&format!("column of `{name}`"), bound.iter().map(|column| &column.name))?;
    let mut ids = (id * 100 + 50..).map(ColumnId);
    let mut parts = Vec::new();
    for column in &bound {
        let next = || ids.next().unwrap_or(ColumnId(u32::MAX));
        for mut part in Part::of(column, next).map_err(|e| format!("data source `{name}`: {e}"))? {
            part.column.tags = part_tags.remove(&part.column.name).unwrap_or_default();
            parts.push(part);
        }
    }
    if let Some(part) = part_tags.keys().next() {
        return Err(format!("data source `{name}` has nothing called `{part}` inside of a column"));
    }
    let named = |wanted: &ColumnName| {
        let found = bound.iter().find(|column| column.name == *wanted);
        found.map(|column| column.id).ok_or_else(|| format!("data source `{name}` has no column `{wanted}`"))
    };
    Ok(DataSource {
        id: SourceId(id),
        tags,
        owners,
        row_key: row_key.iter().map(&named).collect::<Result<_, _>>()?,
        event_time: event_time.as_ref().map(&named).transpose()?,
        lineage: None,
        workspace: None,
        columns: bound,
        parts,
        location: Location::Files { format: FileFormat::Parquet, path: PathBuf::from("/data"), partitions: Vec::new() },
        name,
    })
}
