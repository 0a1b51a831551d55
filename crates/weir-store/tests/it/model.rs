//! A second store that is obviously right: plain collections, one rule after the other. Random changes go to both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::prelude::*;
use rand::rngs::StdRng;
use weir_guard::SnapshotFeed;
use weir_model::{
    AttributeKey, Column, ColumnId, ColumnName, DataSource, DataType, Field, FileFormat, GroupName, IamId, Location,
    PartitionColumn, Permission, PolicyId, PolicyKey, Principal, PrincipalId, SourceId, SourceName, Tag,
};
use weir_policy::ast::{
    Action, Body, Cascade, Circumstances, Columns, MaskAction, Method, Policy, Rule, Scope, Statement,
};
use weir_policy::{Facts, StoredPolicy};
use weir_store::{Change, NewColumn, NewSource, Store, StoreError};

use crate::{Ticks, group, open, person, table};

#[derive(Clone, Default)]
struct Model {
    epoch: u64,
    principals: BTreeMap<PrincipalId, Principal>,
    groups: BTreeSet<GroupName>,
    sources: BTreeMap<SourceName, DataSource>,
    selected: BTreeSet<(SourceId, PrincipalId)>,
    policies: BTreeMap<PolicyKey, StoredPolicy>,
    ids: BTreeSet<SourceId>,
    policy_ids: BTreeSet<PolicyId>,
}

/// The kind of thing that an error names.
type No = &'static str;

impl Model {
    fn user(&mut self, id: &PrincipalId) -> Result<&mut Principal, No> {
        self.principals.get_mut(id).ok_or("user")
    }

    fn source(&mut self, name: &SourceName) -> Result<&mut DataSource, No> {
        self.sources.get_mut(name).ok_or("data source")
    }

    /// The ids of new things are the store's choice and are filled in by [`Model::learn`].
    fn make(&mut self, change: &Change) -> Result<(), No> {
        let yes = |done: bool, kind: No| if done { Ok(()) } else { Err(kind) };
        match change {
            Change::PutUser(user) => {
                self.groups.extend(user.groups.clone());
                self.principals.insert(user.id.clone(), user.clone());
                Ok(())
            }
            Change::SetPassword { .. } => unreachable!("not generated"),
            Change::RemoveUser(id) => {
                self.sources.values_mut().for_each(|s| s.owners.retain(|owner| owner != id));
                self.selected.retain(|(_, selected)| selected != id);
                yes(self.principals.remove(id).is_some(), "user")
            }
            Change::AddToGroup { user, group } => {
                self.user(user)?.groups.insert(group.clone());
                self.groups.insert(group.clone());
                Ok(())
            }
            Change::RemoveFromGroup { user, group } => yes(self.user(user)?.groups.remove(group), "membership"),
            Change::SetAttribute { user, key, value } => {
                self.user(user)?.attributes.entry(key.clone()).or_default().insert(value.clone());
                Ok(())
            }
            Change::RemoveAttribute { user, key, value } => {
                let attributes = &mut self.user(user)?.attributes;
                let removed = attributes.get_mut(key).is_some_and(|values| values.remove(value));
                attributes.retain(|_, values| !values.is_empty());
                yes(removed, "attribute")
            }
            Change::CreateGroup(group) => {
                self.groups.insert(group.clone());
                Ok(())
            }
            Change::DeleteGroup(group) => {
                yes(self.principals.values().all(|p| !p.groups.contains(group)), "members")?;
                yes(self.groups.remove(group), "group")
            }
            Change::AddSource(new) => self.add_source(new),
            Change::RemoveSource(name) => {
                let gone = self.sources.remove(name).ok_or("data source")?;
                self.selected.retain(|(source, _)| *source != gone.id);
                Ok(())
            }
            Change::SetSourceTags { source, tags } => {
                self.source(source)?.tags = tags.clone();
                Ok(())
            }
            Change::SetColumnTags { source, column, tags } => {
                let found = self.source(source)?.columns.iter_mut().find(|c| c.name == *column);
                found.ok_or("column")?.tags = tags.clone();
                Ok(())
            }
            Change::AddOwner { source, user } => {
                self.source(source)?;
                self.user(user)?;
                self.source(source)?.owners.insert(user.clone());
                Ok(())
            }
            Change::RemoveOwner { source, user } => {
                self.source(source)?;
                self.user(user)?;
                yes(self.source(source)?.owners.remove(user), "ownership")
            }
            Change::Select { source, user } => {
                let id = self.source(source)?.id;
                self.user(user)?;
                self.selected.insert((id, user.clone()));
                Ok(())
            }
            Change::Unselect { source, user } => {
                let id = self.source(source)?.id;
                self.user(user)?;
                yes(self.selected.remove(&(id, user.clone())), "selection")
            }
            Change::PutPolicy(policy) => {
                let fresh = StoredPolicy { id: PolicyId(0), policy: policy.clone() };
                self.policies.entry(policy.key.clone()).or_insert(fresh).policy = policy.clone();
                Ok(())
            }
            Change::RemovePolicy(key) => yes(self.policies.remove(key).is_some(), "policy"),
        }
    }

    fn add_source(&mut self, new: &NewSource) -> Result<(), No> {
        if self.sources.contains_key(&new.name) {
            return Err("data source exists");
        }
        for owner in &new.owners {
            self.user(owner)?;
        }
        let columns = new.columns.iter().zip(1..).map(|(c, id)| Column {
            id: ColumnId(id),
            name: c.name.clone(),
            data_type: c.data_type.clone(),
            nullable: c.nullable,
            tags: c.tags.clone(),
        });
        let source = DataSource {
            id: SourceId(0),
            name: new.name.clone(),
            tags: new.tags.clone(),
            owners: new.owners.clone(),
            columns: columns.collect(),
            location: new.location.clone(),
        };
        self.sources.insert(new.name.clone(), source);
        Ok(())
    }

    /// Takes over the ids of things that this change made, which must never have been used.
    fn learn(&mut self, facts: &Facts) {
        for source in self.sources.values_mut().filter(|s| s.id == SourceId(0)) {
            source.id = facts.sources.iter().find(|s| s.name == source.name).unwrap().id;
            assert!(self.ids.insert(source.id), "id {} of a removed source was used again", source.id);
        }
        for stored in self.policies.values_mut().filter(|p| p.id == PolicyId(0)) {
            stored.id = facts.policies.iter().find(|p| p.policy.key == stored.policy.key).unwrap().id;
            assert!(self.policy_ids.iter().all(|older| *older < stored.id), "policy ids do not grow");
            self.policy_ids.insert(stored.id);
        }
    }

    fn holds_all_of(&self, facts: &Facts) {
        assert_eq!(facts.epoch.unwrap().0, self.epoch);
        let principals: BTreeMap<_, _> = facts.principals.iter().map(|p| (p.id.clone(), p.clone())).collect();
        assert_eq!(principals, self.principals);
        let sources: BTreeMap<_, _> = facts.sources.iter().map(|s| (s.name.clone(), s.clone())).collect();
        assert_eq!(sources, self.sources);
        assert_eq!(facts.selected, self.selected);
        let policies: BTreeMap<_, _> = facts.policies.iter().map(|p| (p.policy.key.clone(), p.clone())).collect();
        assert_eq!(policies, self.policies);
    }

    fn same_state(&self, other: &Model) -> bool {
        self.principals == other.principals
            && self.groups == other.groups
            && self.sources == other.sources
            && self.selected == other.selected
            && self.policies == other.policies
    }
}

/// What the store's error is called in the model.
fn kind(e: &StoreError) -> No {
    match e {
        StoreError::NotFound { kind, .. } => kind,
        StoreError::Exists { kind: "data source", .. } => "data source exists",
        StoreError::GroupHasMembers { .. } => "members",
        other => panic!("{other}"),
    }
}

struct Generator(StdRng);

impl Generator {
    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of.choose(&mut self.0).unwrap().clone()
    }

    fn some<T: Ord>(&mut self, mut make: impl FnMut(&mut Self) -> T) -> BTreeSet<T> {
        (0..self.0.random_range(0..4)).map(|_| make(self)).collect()
    }

    fn principal(&mut self) -> PrincipalId {
        let ldap = IamId::new("ldap").unwrap();
        let same_name_elsewhere = PrincipalId::new(ldap, "tara").unwrap();
        self.one(&[person("tara"), person("garth"), same_name_elsewhere, person("o'na: \"ü\" %")])
    }

    fn group(&mut self) -> GroupName {
        self.one(&["Toys", "toys", "Home Goods", "a,b[\"", "ß'"].map(group))
    }

    fn key(&mut self) -> AttributeKey {
        self.one(&["nation", "Office.Country"].map(|k| AttributeKey::new(k).unwrap()))
    }

    fn value(&mut self) -> String {
        self.one(&["FRANCE", "france", "", "a\u{0}b", "'"]).to_owned()
    }

    fn tag(&mut self) -> Tag {
        self.one(&["PII", "PII.SSN", "x y"].map(|t| Tag::new(t).unwrap()))
    }

    fn source(&mut self) -> SourceName {
        self.one(&["retail.purchases", "retail.Purchases", "tpch.nation"].map(table))
    }

    fn column(&mut self) -> ColumnName {
        self.one(&["ssn", "SSN", "über \"it\""].map(|c| ColumnName::new(c).unwrap()))
    }

    fn data_type(&mut self, depth: u32) -> DataType {
        let field = |name: &str, data_type| Field { name: name.to_owned(), data_type };
        match self.0.random_range(0..if depth == 0 { 5 } else { 8 }) {
            0 => DataType::Int64,
            1 => DataType::Text,
            2 => DataType::Decimal { precision: 38, scale: -3 },
            3 => DataType::Timestamp { zoned: self.0.random() },
            4 => DataType::Date,
            5 => DataType::List(Box::new(self.data_type(depth - 1))),
            6 => DataType::Struct(vec![field("a", self.data_type(depth - 1)), field("", self.data_type(depth - 1))]),
            _ => DataType::Map { key: Box::new(DataType::Text), value: Box::new(self.data_type(depth - 1)) },
        }
    }

    fn new_source(&mut self) -> NewSource {
        let names = ["ssn", "SSN", "über \"it\"", "d"].map(|c| ColumnName::new(c).unwrap());
        let count = self.0.random_range(0..=names.len());
        let format =
            self.one(&[FileFormat::Parquet, FileFormat::Json, FileFormat::Csv { header: true, delimiter: '\t' }]);
        let partitions = vec![PartitionColumn { name: names[3].clone(), data_type: self.data_type(0) }];
        NewSource {
            name: self.source(),
            tags: self.some(Self::tag),
            owners: self.some(Self::principal),
            columns: names[..count]
                .iter()
                .map(|name| NewColumn {
                    name: name.clone(),
                    data_type: self.data_type(2),
                    nullable: self.0.random(),
                    tags: self.some(Self::tag),
                })
                .collect(),
            location: Location::Files { format, path: "/data/a b'\"".into(), partitions },
        }
    }

    fn policy(&mut self) -> Policy {
        let action = Action::Mask(MaskAction {
            columns: Columns::Named(vec![self.column().into()]),
            method: self.one(&[Method::Hash, Method::Null]).into(),
            when: None,
        });
        let cascade = Cascade { rules: vec![Rule { action, scope: Scope::Everyone }] };
        Policy {
            key: self.policy_key(),
            title: self.one(&[None, Some("A title: 'quoted' # no comment".to_owned())]),
            staged: self.0.random(),
            statement: Statement { body: Body::Data(cascade), on: Circumstances::Named(vec![self.source().into()]) },
        }
    }

    fn policy_key(&mut self) -> PolicyKey {
        self.one(&["mask-ssn", "rows", "third"].map(|k| PolicyKey::new(k).unwrap()))
    }

    fn change(&mut self) -> Change {
        match self.0.random_range(0..23) {
            0..3 => {
                let attributes =
                    self.some(Self::key).into_iter().map(|key| (key, BTreeSet::from([self.value()]))).collect();
                Change::PutUser(Principal {
                    id: self.principal(),
                    groups: self.some(Self::group),
                    attributes,
                    permissions: self.some(|g| g.one(&Permission::ALL)),
                })
            }
            3 => Change::RemoveUser(self.principal()),
            4 => Change::AddToGroup { user: self.principal(), group: self.group() },
            5 => Change::RemoveFromGroup { user: self.principal(), group: self.group() },
            6 => Change::SetAttribute { user: self.principal(), key: self.key(), value: self.value() },
            7 => Change::RemoveAttribute { user: self.principal(), key: self.key(), value: self.value() },
            8 => Change::CreateGroup(self.group()),
            9 => Change::DeleteGroup(self.group()),
            10..13 => Change::AddSource(self.new_source()),
            13 => Change::RemoveSource(self.source()),
            14 => Change::SetSourceTags { source: self.source(), tags: self.some(Self::tag) },
            15 => Change::SetColumnTags { source: self.source(), column: self.column(), tags: self.some(Self::tag) },
            16 => Change::AddOwner { source: self.source(), user: self.principal() },
            17 => Change::RemoveOwner { source: self.source(), user: self.principal() },
            18 => Change::Select { source: self.source(), user: self.principal() },
            19 => Change::Unselect { source: self.source(), user: self.principal() },
            20 | 21 => Change::PutPolicy(self.policy()),
            _ => Change::RemovePolicy(self.policy_key()),
        }
    }
}

async fn run(seed: u64, steps: usize) {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let other = Store::open(root.path(), Arc::new(Ticks::default())).await.unwrap();
    let mut generator = Generator(StdRng::seed_from_u64(seed));
    let mut model = Model::default();
    for step in 0..steps {
        let changes: Vec<Change> = (0..generator.0.random_range(1..4)).map(|_| generator.change()).collect();
        let mut next = model.clone();
        let expected = changes.iter().try_for_each(|change| next.make(change));
        let got = store.apply("greg", changes.clone()).await;
        match (&got, expected) {
            (Ok(epoch), Ok(())) => {
                let facts = other.facts().await.unwrap();
                next.learn(&facts);
                // A batch that undoes itself may or may not count as a change.
                let moved = epoch.0 == model.epoch + 1;
                assert!(
                    moved || epoch.0 == model.epoch,
                    "seed {seed} step {step}: epoch {epoch} after {}",
                    model.epoch
                );
                assert!(
                    moved || model.same_state(&next),
                    "seed {seed} step {step}: changed without a new epoch: {changes:?}"
                );
                assert!(
                    !moved || changes.len() > 1 || !model.same_state(&next),
                    "seed {seed} step {step}: a new epoch for nothing: {changes:?}"
                );
                next.epoch = epoch.0;
                model = next;
            }
            (Err(e), Err(no)) => assert_eq!(kind(e), no, "seed {seed} step {step}: {changes:?}"),
            (got, expected) => panic!("seed {seed} step {step}: {got:?}, expected {expected:?}: {changes:?}"),
        }
        model.holds_all_of(&other.facts().await.unwrap());
        assert_eq!(other.current().await.unwrap().epoch().0, model.epoch);
        assert_eq!(other.groups().await.unwrap(), model.groups.iter().cloned().collect::<Vec<_>>());
    }
    let history = store.changes(u32::MAX).await.unwrap();
    let numbers: Vec<u64> = history.iter().rev().map(|h| h.epoch.0).collect();
    assert_eq!(numbers, (1..=model.epoch).collect::<Vec<_>>());
    store.close().await.unwrap();
    other.close().await.unwrap();
    model.holds_all_of(&open(root.path()).await.facts().await.unwrap());
}

#[tokio::test]
async fn random_changes_do_what_they_say() {
    for seed in 0..6 {
        run(seed, 150).await;
    }
}
