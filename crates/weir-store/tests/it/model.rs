//! A second store that is obviously right: plain collections, one rule after the other. Random changes go to both.

mod derive;
mod generate;
mod requests;
mod seen;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::prelude::*;
use rand::rngs::StdRng;
use weir_guard::SnapshotFeed;
use weir_model::{
    AttributeKey, Column, ColumnId, ColumnName, DataSource, DataType, Field, FileFormat, GroupName, IamId,
    Impersonation, Lineage, Location, Origin, ParentColumn, Part, PartitionColumn, Permission, PolicyId, PolicyKey,
    Principal, PrincipalId, PrincipalSet, Profile, Project, ProjectName, PurposeName, SourceId, SourceName,
    Surroundings, Tag, Value,
};
use weir_policy::ast::{
    Action, Approver, Body, Cascade, Certification, Circumstances, Columns, MaskAction, Merge, Method, Policy, Rule,
    Scope, Statement, Subscribe, Subscribers,
};
use weir_policy::{Facts, Snapshot, StoredPolicy};
use weir_store::{Change, KeyOwner, NewColumn, NewLineage, NewOrigin, NewSource, Store, StoreError};

use crate::{Ticks, group, open, person, table};
use generate::Generator;
use requests::Asked;
use seen::Seen;

#[derive(Clone, Default)]
struct Model {
    epoch: u64,
    principals: BTreeMap<PrincipalId, Principal>,
    groups: BTreeSet<GroupName>,
    sources: BTreeMap<SourceName, DataSource>,
    selected: BTreeSet<(SourceName, PrincipalId)>,
    policies: BTreeMap<PolicyKey, StoredPolicy>,
    chosen: BTreeSet<(PolicyKey, SourceName)>,
    /// By whom, and what the policy said then.
    certified: BTreeMap<(PolicyKey, SourceName), (String, Policy)>,
    impersonations: BTreeSet<Impersonation>,
    purposes: BTreeMap<PurposeName, Option<String>>,
    projects: BTreeMap<ProjectName, Team>,
    requests: Vec<Asked>,
    keys: BTreeMap<KeyOwner, u32>,
    /// Sources made so far.
    made: u32,
    ids: BTreeSet<SourceId>,
    policy_ids: BTreeSet<PolicyId>,
}

#[derive(Clone, Default, PartialEq)]
struct Team {
    owners: BTreeSet<PrincipalId>,
    members: BTreeSet<PrincipalId>,
    sources: BTreeSet<SourceName>,
    /// Whether it is approved.
    purposes: BTreeMap<PurposeName, bool>,
    promised: BTreeSet<(PrincipalId, PurposeName, String)>,
    equalized: bool,
    masked_joins: bool,
}

/// Policies of this batch get numbers from here on, which are not those that they will have.
const FRESH: PolicyId = PolicyId(1 << 30);

/// As sources do.
const FRESH_SOURCE: SourceId = SourceId(1 << 30);

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
            Change::SetPassword { .. }
            | Change::SetWorkspace { .. }
            | Change::WriteTable { .. }
            | Change::RewriteTable { .. }
            | Change::DropTable { .. }
            | Change::AddConnection(_)
            | Change::AddStore(_)
            | Change::SetConnectionPassword { .. }
            | Change::RemoveConnection(_) => unreachable!("not generated"),
            Change::RemoveUser(id) => {
                self.sources.values_mut().for_each(|s| s.owners.retain(|owner| owner != id));
                self.selected.retain(|(_, selected)| selected != id);
                self.impersonations.retain(|g| g.actor != *id && g.target != PrincipalSet::User(id.clone()));
                self.projects.values_mut().for_each(|team| {
                    team.owners.remove(id);
                    team.leave(id);
                });
                self.requests.iter_mut().filter(|r| r.user.as_ref() == Some(id)).for_each(|r| r.user = None);
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
                self.impersonations.retain(|g| g.target != PrincipalSet::Group(group.clone()));
                yes(self.groups.remove(group), "group")
            }
            Change::AddSource(new) => self.add_source(new),
            Change::RemoveSource(name) => {
                self.selected.retain(|(source, _)| source != name);
                self.chosen.retain(|(_, source)| source != name);
                self.certified.retain(|(_, source), _| source != name);
                self.projects.values_mut().for_each(|team| _ = team.sources.remove(name));
                self.requests.iter_mut().filter(|r| r.source.as_ref() == Some(name)).for_each(|r| r.source = None);
                self.keys.remove(&KeyOwner::Source(name.clone()));
                yes(self.sources.remove(name).is_some(), "data source")
            }
            Change::SetSourceTags { source, tags } => {
                self.source(source)?.tags = tags.clone();
                Ok(())
            }
            Change::SetColumnTags { source, column, tags } => {
                let source = self.source(source)?;
                let mut places = source.columns.iter_mut().chain(source.parts.iter_mut().map(|part| &mut part.column));
                let found = places.find(|c| c.name == *column);
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
                self.source(source)?;
                self.user(user)?;
                self.selected.insert((source.clone(), user.clone()));
                Ok(())
            }
            Change::Unselect { source, user } => {
                self.source(source)?;
                self.user(user)?;
                yes(self.selected.remove(&(source.clone(), user.clone())), "selection")
            }
            Change::PutPolicy(policy) => {
                let made = u32::try_from(self.policies.values().filter(|p| p.id >= FRESH).count()).unwrap();
                let fresh = StoredPolicy { id: PolicyId(FRESH.0 + made), policy: policy.clone() };
                self.policies.entry(policy.key.clone()).or_insert(fresh).policy = policy.clone();
                Ok(())
            }
            Change::RemovePolicy(key) => {
                self.chosen.retain(|(policy, _)| policy != key);
                self.certified.retain(|(policy, _), _| policy != key);
                self.requests.iter_mut().filter(|r| r.policy.as_ref() == Some(key)).for_each(|r| r.policy = None);
                yes(self.policies.remove(key).is_some(), "policy")
            }
            Change::SetRowKey { source, columns } => {
                let known = self.source(source)?;
                let ids = columns.iter().map(|c| known.column(c.as_str()).map(|c| c.id).ok_or("column"));
                let ids: Vec<ColumnId> = ids.collect::<Result<_, _>>()?;
                yes(ids.iter().collect::<BTreeSet<_>>().len() == ids.len(), "refused")?;
                known.row_key = ids;
                Ok(())
            }
            Change::SetProfiles { source, profiles } => {
                let known = self.source(source)?;
                let mut profiles = profiles.clone();
                yes(profiles.keys().all(|name| known.column(name.as_str()).is_some()), "column")?;
                known.columns.iter_mut().for_each(|column| column.profile = profiles.remove(&column.name));
                Ok(())
            }
            Change::SetEventTime { source, column } => {
                let known = self.source(source)?;
                let Some(column) = column else {
                    known.event_time = None;
                    return Ok(());
                };
                let column = known.column(column.as_str()).ok_or("column")?;
                yes(matches!(column.data_type, DataType::Date | DataType::Timestamp { .. }), "refused")?;
                known.event_time = Some(column.id);
                Ok(())
            }
            Change::SetLineage { source, lineage } => self.derive(source, lineage.as_ref()),
            Change::CertifyPolicy { policy, source, user } => {
                self.source(source)?;
                if let Some(user) = user {
                    self.user(user)?;
                    yes(self.source(source)?.owners.contains(user), "refused")?;
                }
                let stored = self.policies.get(policy).ok_or("policy")?.policy.clone();
                let certification = stored.certification.as_ref().ok_or("refused")?;
                let here = Circumstances::Named(vec![source.clone().into()]);
                yes(!stored.template && stored.statement.on == here, "refused")?;
                self.source(source)?.tags.extend(certification.tags.clone());
                let by = user.as_ref().map_or_else(|| "greg".to_owned(), ToString::to_string);
                let made =
                    self.certified.entry((policy.clone(), source.clone())).or_insert((by.clone(), stored.clone()));
                if made.1 != stored {
                    *made = (by, stored);
                }
                Ok(())
            }
            Change::ChoosePolicy { policy, source } => {
                yes(self.policies.contains_key(policy), "policy")?;
                self.source(source)?;
                self.chosen.insert((policy.clone(), source.clone()));
                Ok(())
            }
            Change::UnchoosePolicy { policy, source } => {
                yes(self.policies.contains_key(policy), "policy")?;
                self.source(source)?;
                yes(self.chosen.remove(&(policy.clone(), source.clone())), "choice")
            }
            Change::AllowImpersonation(grant) => {
                self.grant(grant)?;
                self.impersonations.insert(grant.clone());
                Ok(())
            }
            Change::DenyImpersonation(grant) => {
                self.grant(grant)?;
                yes(self.impersonations.remove(grant), "impersonation")
            }
            Change::CreatePurpose { purpose, statement } => {
                let parts: Vec<&str> = purpose.as_str().split('.').collect();
                for count in 1..parts.len() {
                    self.purposes.entry(PurposeName::new(parts[..count].join(".")).unwrap()).or_default();
                }
                let known = self.purposes.entry(purpose.clone()).or_default();
                yes(known.is_none() || statement.is_none() || known == statement, "purpose exists")?;
                *known = known.take().or_else(|| statement.clone());
                Ok(())
            }
            Change::SetStatement { purpose, statement } => {
                *self.purposes.get_mut(purpose).ok_or("purpose")? = statement.clone();
                Ok(())
            }
            Change::RemovePurpose(purpose) => {
                yes(self.purposes.keys().all(|other| other == purpose || !purpose.covers(other)), "in use")?;
                yes(self.projects.values().all(|team| !team.purposes.contains_key(purpose)), "in use")?;
                yes(self.purposes.remove(purpose).is_some(), "purpose")
            }
            Change::CreateProject { project, owners } => {
                yes(!self.projects.contains_key(project), "project exists")?;
                yes(owners.iter().all(|owner| self.principals.contains_key(owner)), "user")?;
                self.projects.insert(project.clone(), Team { owners: owners.clone(), ..Team::default() });
                Ok(())
            }
            Change::RemoveProject(project) => {
                self.keys.remove(&KeyOwner::Project(project.clone()));
                yes(self.projects.remove(project).is_some(), "project")
            }
            Change::AddProjectOwner { project, user } => {
                self.team(project)?;
                self.user(user)?;
                self.team(project)?.owners.insert(user.clone());
                Ok(())
            }
            Change::RemoveProjectOwner { project, user } => {
                self.team(project)?;
                self.user(user)?;
                yes(self.team(project)?.owners.remove(user), "ownership")
            }
            Change::AddMember { project, user } => {
                self.team(project)?;
                self.user(user)?;
                self.team(project)?.members.insert(user.clone());
                Ok(())
            }
            Change::RemoveMember { project, user } => {
                self.team(project)?;
                self.user(user)?;
                yes(self.team(project)?.leave(user), "membership")
            }
            Change::AddProjectSource { project, source } => {
                self.team(project)?;
                self.source(source)?;
                self.team(project)?.sources.insert(source.clone());
                Ok(())
            }
            Change::RemoveProjectSource { project, source } => {
                self.team(project)?;
                self.source(source)?;
                yes(self.team(project)?.sources.remove(source), "data source")
            }
            Change::AddProjectPurpose { project, purpose } => {
                self.team(project)?;
                yes(self.purposes.contains_key(purpose), "purpose")?;
                self.team(project)?.purposes.entry(purpose.clone()).or_insert(false);
                Ok(())
            }
            Change::ApproveProjectPurpose { project, purpose } => {
                *self.team(project)?.purposes.get_mut(purpose).ok_or("purpose")? = true;
                Ok(())
            }
            Change::RemoveProjectPurpose { project, purpose } => {
                yes(self.team(project)?.purposes.remove(purpose).is_some(), "purpose")
            }
            Change::SetEqualized { project, on } => {
                self.team(project)?.equalized = *on;
                Ok(())
            }
            Change::SetMaskedJoins { project, on } => {
                self.team(project)?.masked_joins = *on;
                if *on {
                    self.keys.entry(KeyOwner::Project(project.clone())).or_insert(1);
                }
                Ok(())
            }
            Change::Acknowledge { project, user, purpose, statement } => {
                let holds = self.statement(purpose);
                self.team(project)?;
                self.user(user)?;
                yes(self.team(project)?.purposes.contains_key(purpose), "purpose")?;
                yes(self.team(project)?.members.contains(user), "membership")?;
                yes(holds.as_ref() == Some(statement), "refused")?;
                self.team(project)?.promised.insert((user.clone(), purpose.clone(), statement.clone()));
                Ok(())
            }
            Change::RequestSubscription { source, user, reason: _, policy } => self.ask(source, user, policy.as_ref()),
            Change::ApproveSubscription { request, approver, until_unix_ms: _ } => self.approve(*request, approver),
            Change::DenySubscription { request, approver, reason: _ } => {
                let asked = self.asked(*request)?.clone();
                self.user(approver)?;
                let may = !self.places(&asked, approver).is_empty() && asked.who != *approver && !asked.ended;
                yes(may, "refused")?;
                self.asked(*request)?.ended = true;
                Ok(())
            }
            Change::WithdrawSubscription { request } => {
                yes(!self.asked(*request)?.ended, "refused")?;
                self.asked(*request)?.ended = true;
                Ok(())
            }
            Change::RotateKey(of) => {
                match of {
                    KeyOwner::Source(source) => _ = self.source(source)?,
                    KeyOwner::Project(project) => _ = self.team(project)?,
                }
                *self.keys.entry(of.clone()).or_default() += 1;
                Ok(())
            }
        }
    }

    fn team(&mut self, project: &ProjectName) -> Result<&mut Team, No> {
        self.projects.get_mut(project).ok_or("project")
    }

    fn statement(&self, purpose: &PurposeName) -> Option<String> {
        let mut above: Vec<_> = self.purposes.iter().filter(|(known, _)| known.covers(purpose)).collect();
        above.sort_by_key(|(known, _)| known.as_str().len());
        above.into_iter().rev().find_map(|(_, statement)| statement.clone())
    }

    fn grant(&mut self, grant: &Impersonation) -> Result<(), No> {
        self.user(&grant.actor)?;
        match &grant.target {
            PrincipalSet::User(user) if *user == grant.actor => Err("refused"),
            PrincipalSet::User(user) => self.user(user).map(drop),
            PrincipalSet::Group(group) if self.groups.contains(group) => Ok(()),
            PrincipalSet::Group(_) => Err("group"),
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
            profile: None,
        });
        let columns: Vec<Column> = columns.collect();
        let mut ids = (columns.len() as u32 + 1..).map(ColumnId);
        let parts = columns.iter().flat_map(|column| Part::of(column, || ids.next().unwrap()).unwrap());
        let parts: Vec<Part> = parts.collect();
        let mut names = BTreeSet::new();
        if !columns.iter().chain(parts.iter().map(|part| &part.column)).all(|place| names.insert(&place.name)) {
            return Err("column exists");
        }
        self.made += 1;
        let source = DataSource {
            id: SourceId(FRESH_SOURCE.0 + self.made),
            name: new.name.clone(),
            tags: new.tags.clone(),
            owners: new.owners.clone(),
            parts,
            columns,
            row_key: Vec::new(),
            event_time: None,
            lineage: None,
            workspace: None,
            location: new.location.clone(),
        };
        self.sources.insert(new.name.clone(), source);
        self.keys.insert(KeyOwner::Source(new.name.clone()), 1);
        Ok(())
    }

    /// Takes over the ids of things that this change made, which must never have been used.
    fn learn(&mut self, facts: &Facts) {
        let mut learned = BTreeMap::new();
        for source in self.sources.values_mut().filter(|s| s.id >= FRESH_SOURCE) {
            let id = facts.sources.iter().find(|s| s.name == source.name).unwrap().id;
            learned.insert(std::mem::replace(&mut source.id, id), id);
            assert!(self.ids.insert(source.id), "id {} of a removed source was used again", source.id);
        }
        self.learn_lineage(&learned);
        let mut fresh: Vec<&mut StoredPolicy> = self.policies.values_mut().filter(|p| p.id >= FRESH).collect();
        fresh.sort_by_key(|stored| stored.id);
        for stored in fresh {
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
        let id = |name: &SourceName| self.sources[name].id;
        let selected: BTreeSet<_> = self.selected.iter().map(|(name, user)| (id(name), user.clone())).collect();
        assert_eq!(facts.selected, selected);
        let chosen: BTreeSet<_> = self.chosen.iter().map(|(key, name)| (key.clone(), id(name))).collect();
        assert_eq!(facts.chosen, chosen);
        assert_eq!(facts.impersonations, self.impersonations);
        assert_eq!(facts.approved, self.approved());
        let projects: BTreeMap<_, _> = facts.projects.iter().map(|p| (p.name.clone(), p.clone())).collect();
        let expected: BTreeMap<_, _> =
            self.projects.iter().map(|(name, team)| (name.clone(), self.project(name, team))).collect();
        assert_eq!(projects, expected);
        let policies: BTreeMap<_, _> = facts.policies.iter().map(|p| (p.policy.key.clone(), p.clone())).collect();
        assert_eq!(policies, self.policies);
    }

    /// Every request that has all its approvals and still asks for what the policy asks for.
    fn approved(&self) -> BTreeSet<(PolicyId, SourceId, PrincipalId)> {
        let granted = self.requests.iter().filter(|r| self.stands(r) && !r.filled.contains(&None));
        let of = |r: &Asked| {
            let (policy, source) = (r.policy.as_ref()?, r.source.as_ref()?);
            Some((self.policies[policy].id, self.sources[source].id, r.user.clone()?))
        };
        granted.filter_map(of).collect()
    }

    fn project(&self, name: &ProjectName, team: &Team) -> Project {
        let approved = team.purposes.iter().filter(|(_, approved)| **approved).map(|(purpose, _)| purpose);
        let purposes: BTreeSet<PurposeName> = approved.cloned().collect();
        let all = team.members.iter().flat_map(|member| purposes.iter().map(move |purpose| (member, purpose)));
        let promised = all.filter(|(member, purpose)| match self.statement(purpose) {
            None => true,
            Some(statement) => team.promised.contains(&((*member).clone(), (*purpose).clone(), statement)),
        });
        Project {
            name: name.clone(),
            members: team.members.clone(),
            sources: team.sources.iter().map(|source| self.sources[source].id).collect(),
            acknowledged: promised.map(|(member, purpose)| (member.clone(), purpose.clone())).collect(),
            purposes,
            equalized: team.equalized,
            masked_joins: team.masked_joins,
            workspace: None,
        }
    }

    /// What decisions do not depend on.
    async fn also_holds(&self, store: &Store) {
        let mut keys = BTreeMap::new();
        for key in store.keys().await.unwrap() {
            // One after the other, from 1 on.
            assert_eq!(keys.insert(key.of, key.id).unwrap_or(0) + 1, key.id);
        }
        assert_eq!(keys, self.keys);
        for record in store.projects().await.unwrap() {
            let team = &self.projects[&record.project];
            assert_eq!(record.owners, team.owners);
            let purposes = record.purposes.iter().map(|p| (p.purpose.clone(), p.approved.is_some()));
            assert_eq!(purposes.collect::<BTreeMap<_, _>>(), team.purposes);
        }
        let purposes = store.purposes().await.unwrap();
        for known in &purposes {
            assert_eq!(known.holds, self.statement(&known.purpose));
        }
        assert_eq!(purposes.into_iter().map(|p| (p.purpose, p.statement)).collect::<BTreeMap<_, _>>(), self.purposes);
        let certified = store.certifications().await.unwrap().into_iter();
        let certified = certified.map(|made| ((made.policy, made.source), (made.by, made.current)));
        let expected = self
            .certified
            .iter()
            .map(|(place, (by, text))| (place.clone(), (by.clone(), self.policies[&place.0].policy == *text)));
        assert_eq!(certified.collect::<BTreeMap<_, _>>(), expected.collect());
        let filled = self.requests.iter().map(|r| r.filled.iter().filter(|f| f.is_some()).count());
        let requests = store.requests().await.unwrap();
        let approvals = requests.iter().map(|r| (0..r.approvers.len()).filter(|slot| r.is_filled(*slot)).count());
        assert_eq!(approvals.collect::<Vec<_>>(), filled.collect::<Vec<_>>());
    }

    fn same_state(&self, other: &Model) -> bool {
        self.principals == other.principals
            && self.groups == other.groups
            && self.sources == other.sources
            && self.selected == other.selected
            && self.policies == other.policies
            && self.chosen == other.chosen
            && self.certified == other.certified
            && self.impersonations == other.impersonations
            && self.purposes == other.purposes
            && self.projects == other.projects
            && self.requests == other.requests
            && self.keys == other.keys
    }
}

impl Team {
    fn leave(&mut self, user: &PrincipalId) -> bool {
        self.promised.retain(|(who, ..)| who != user);
        self.members.remove(user)
    }
}

/// What the store's error is called in the model.
fn kind(e: &StoreError) -> No {
    match e {
        StoreError::NotFound { kind, .. } => kind,
        StoreError::Exists { kind: "data source", .. } => "data source exists",
        StoreError::Exists { kind: "project", .. } => "project exists",
        StoreError::Exists { kind: "purpose", .. } => "purpose exists",
        StoreError::Refused { .. } => "refused",
        StoreError::InUse { .. } => "in use",
        StoreError::GroupHasMembers { .. } => "members",
        other => panic!("{other}"),
    }
}

/// All that anybody is told of what the facts name.
fn told(snapshot: &Snapshot, facts: &Facts) -> Vec<String> {
    let sources: Vec<SourceId> = facts.sources.iter().map(|source| source.id).collect();
    let mut told = vec![format!("{snapshot:?} {:?}", snapshot.problems())];
    told.extend(snapshot.policies().map(|stored| format!("{stored:?}")));
    for id in &sources {
        told.push(format!("{:?} {:?}", snapshot.source(*id), snapshot.asking(*id)));
    }
    let projects = facts.projects.iter().map(|project| Some(project.name.clone()));
    let projects: Vec<_> = projects.chain([None]).collect();
    for person in facts.principals.iter().map(|person| &person.id) {
        told.push(format!("{:?} {:?}", snapshot.principal(person), snapshot.projects(person)));
        for other in &facts.principals {
            told.push(format!("{person} as {}: {}", other.id, snapshot.may_impersonate(person, &other.id)));
        }
        for project in &projects {
            let surroundings = Surroundings { project: project.clone(), ..Surroundings::default() };
            told.push(format!("{:?}", snapshot.decide(person, &surroundings, &sources)));
            let visible = snapshot.visible(person, &surroundings);
            told.push(format!("{:?}", visible.iter().map(|source| &source.name).collect::<Vec<_>>()));
        }
    }
    told
}

async fn run(seed: u64, steps: usize, seen: &mut Seen) {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let other = Store::open(root.path(), Arc::new(Ticks::default())).await.unwrap();
    let mut generator = Generator(StdRng::seed_from_u64(seed));
    let mut model = Model::default();
    for step in 0..steps {
        let changes: Vec<Change> = (0..generator.one(&[1, 1, 1, 2, 3])).map(|_| generator.change(&model)).collect();
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
        let facts = other.facts().await.unwrap();
        model.holds_all_of(&facts);
        if step % 8 == 0 || step + 1 == steps {
            model.also_holds(&other).await;
        }
        seen.count(&facts, &model);
        let snapshot = other.current().await.unwrap();
        assert_eq!(snapshot.epoch().0, model.epoch);
        // Whoever asks rarely has several epochs to catch up with.
        let caught_up = if step % 7 == 0 { Some(store.current().await.unwrap()) } else { None };
        let expected = told(&Snapshot::compile(facts.clone()), &facts);
        for snapshot in [Some(snapshot), caught_up].into_iter().flatten() {
            assert_eq!(told(&snapshot, &facts), expected, "seed {seed} step {step}: {changes:?}");
            assert_eq!(snapshot.verify(), Ok(()), "seed {seed} step {step}: {changes:?}");
        }
        assert_eq!(other.groups().await.unwrap(), model.groups.iter().cloned().collect::<Vec<_>>());
    }
    let history = store.changes(u32::MAX).await.unwrap();
    let numbers: Vec<u64> = history.iter().rev().map(|h| h.epoch.0).collect();
    assert_eq!(numbers, (1..=model.epoch).collect::<Vec<_>>());
    store.close().await.unwrap();
    other.close().await.unwrap();
    model.holds_all_of(&open(root.path()).await.facts().await.unwrap());
}

/// Until everything happened often enough, which some of it rarely does.
#[tokio::test]
async fn random_changes_do_what_they_say() {
    let mut seen = Seen::default();
    for seed in 0..80 {
        run(seed, 200, &mut seen).await;
        if seed >= 6 && seen.has_seen_it_all() {
            return;
        }
    }
    panic!("{seen:?}");
}
