//! A snapshot made from the one before is the one that all the facts give, whatever changed in between.

use std::collections::BTreeSet;

use weir_model::{
    DataSource, DataType, GroupName, Impersonation, Lineage, Origin, ParentColumn, Permission, PolicyId, PolicyKey,
    PrincipalId, PrincipalSet, Profile, PurposeName, SourceId, Surroundings, Tag, Value,
};
use weir_policy::ast::{
    Action, Approver, Body, Cascade, Certification, Circumstance, Circumstances, Columns, MaskAction, Merge, Method,
    Policy, Rule, Scope, Statement, Subscribe, Subscribers,
};
use weir_policy::explain::{explain, explain_column};
use weir_policy::{Changes, Facts, Snapshot, StoredPolicy};
use weir_testkit::Dice;
use weir_testkit::generate::{Restriction, Sizes, World};

const SIZES: Sizes = Sizes {
    sources_max: 5,
    columns_max: 5,
    rows_max: 4,
    principals_max: 4,
    row_policies_max: 2,
    mask_policies_max: 3,
    predicate_depth_max: 2,
    query_depth_max: 1,
    expression_depth_max: 1,
    common_dialect: false,
};

/// A world that goes on changing.
struct Changing {
    world: World,
    /// As it began, to take things back from.
    first: Facts,
    dice: Dice,
    next_policy: u32,
}

/// Takes it out when it is in, else puts it in.
fn toggle<T: Ord>(set: &mut BTreeSet<T>, thing: T) {
    if !set.remove(&thing) {
        set.insert(thing);
    }
}

impl Changing {
    fn new(seed: u64) -> Self {
        let world = World::generate(seed, &SIZES);
        let next_policy = world.facts.policies.iter().map(|stored| stored.id.0).max().unwrap_or(0) + 1;
        Self { first: world.facts.clone(), world, dice: Dice::new(seed ^ 0x5ca1e), next_policy }
    }

    fn facts(&mut self) -> &mut Facts {
        &mut self.world.facts
    }

    fn person(&mut self) -> PrincipalId {
        self.dice.pick(&self.first.principals).id.clone()
    }

    fn source(&mut self) -> SourceId {
        self.dice.pick(&self.first.sources).id
    }

    fn group(&mut self) -> GroupName {
        let groups: Vec<_> = self.first.principals.iter().flat_map(|person| person.groups.clone()).collect();
        self.dice.pick(&groups).clone()
    }

    fn tag(&mut self) -> Tag {
        Tag::new(*self.dice.pick(&["PII", "PII.SSN", "PII.Name", "Geo", "Zone", "Zone.EU", "New", "New.One"])).unwrap()
    }

    fn circumstance(&mut self) -> Circumstance {
        let source = self.dice.pick(&self.first.sources).clone();
        match self.dice.below(10) {
            0 => Circumstance::SourceTagged(self.tag().into()),
            1 | 2 => Circumstance::ColumnTagged(self.tag().into()),
            3 | 4 => {
                let places: Vec<String> = source.places().map(|place| place.name.to_string()).collect();
                let column = self.dice.pick(&places).replace('.', "[.]");
                let pattern = self.dice.pick(&[column, "^[a-m]".to_owned(), "_".to_owned(), "new".to_owned()]).clone();
                Circumstance::ColumnNamedLike { pattern: pattern.into(), case_insensitive: self.dice.chance(50) }
            }
            5 => Circumstance::InSchema(source.name.schema().to_owned().into()),
            6 => Circumstance::OwnedBy(PrincipalSet::Group(self.group())),
            7 => Circumstance::OwnedBy(PrincipalSet::User(self.person())),
            8 => self.dice.pick(&[Circumstance::AnyTag, Circumstance::NoTags]).clone(),
            _ => Circumstance::ChosenByOwner,
        }
    }

    fn circumstances(&mut self) -> Circumstances {
        let several: Vec<_> = (0..self.dice.between(1, 3)).map(|_| self.circumstance()).collect();
        match self.dice.below(8) {
            0 => Circumstances::AllSources,
            1 => {
                let mut names: Vec<_> = self.first.sources.iter().map(|source| source.name.clone().into()).collect();
                names.push("shop.new".parse::<weir_model::SourceName>().unwrap().into());
                Circumstances::Named(self.dice.some(&names, 30))
            }
            2 if self.dice.chance(30) => {
                let broken = Circumstance::ColumnNamedLike { pattern: "(".to_owned().into(), case_insensitive: false };
                Circumstances::Any(vec![broken])
            }
            2..=4 => Circumstances::All(several),
            _ => Circumstances::Any(several),
        }
    }

    fn add_policy(&mut self) {
        let kind = *self.dice.pick(&Restriction::ALL);
        let subscription = self.dice.chance(30);
        let by_profile = self.dice.chance(20);
        // What was generated holds for one source mostly.
        let elsewhere = self.dice.chance(60);
        // The kit needs people who have something to write about.
        let whole = World { facts: self.first.clone(), ..self.world.clone() };
        let mut policy = match whole.restriction(kind, &mut self.dice.fork(), &SIZES) {
            _ if by_profile => self.rounding(),
            Some(stored) if !subscription => stored.policy,
            _ => {
                let all = [Subscribers::Anyone, Subscribers::Selected, Subscribers::Asking(vec![Approver::Owner])];
                let body = Body::Subscribe(Subscribe { who: self.dice.pick(&all).clone(), merge: Merge::Share });
                let statement = Statement { body, on: Circumstances::AllSources };
                Policy::new(PolicyKey::new("x").unwrap(), statement)
            }
        };
        if elsewhere {
            policy.statement.on = self.circumstances();
        }
        let id = PolicyId(self.next_policy);
        self.next_policy += 1;
        policy.key = PolicyKey::new(format!("p{id}")).unwrap();
        let policies = &mut self.world.facts.policies;
        if policies.len() > 12 {
            policies.remove(self.dice.below(policies.len()));
        }
        policies.push(StoredPolicy { id, policy });
    }

    /// Rounds columns or parts by their profiles, by name or by tag.
    fn rounding(&mut self) -> Policy {
        let places: Vec<_> = self.first.sources.iter().flat_map(|source| source.places()).collect();
        let numbers: Vec<_> = places.iter().filter(|place| place.profile.is_some()).collect();
        let named = if numbers.is_empty() { places[0] } else { self.dice.pick(&numbers) }.name.clone();
        let columns =
            if self.dice.chance(70) { Columns::Named(vec![named.into()]) } else { Columns::Tagged(self.tag().into()) };
        let action = Action::Mask(MaskAction {
            columns,
            method: Method::RoundByProfile.into(),
            or_else: Vec::new(),
            when: None,
        });
        let body = Body::Data(Cascade { rules: vec![Rule { action, scope: Scope::Everyone }] });
        Policy::new(PolicyKey::new("x").unwrap(), Statement { body, on: Circumstances::AllSources })
    }

    fn change_policy(&mut self) {
        let (on, tag) = (self.circumstances(), self.tag());
        let policies = &mut self.world.facts.policies;
        if policies.is_empty() {
            return;
        }
        let (at, other) = (self.dice.below(policies.len()), self.dice.below(policies.len()));
        match self.dice.below(9) {
            0 => drop(policies.remove(at)),
            1 => policies[at].policy.staged ^= true,
            7 => policies[at].policy.template ^= true,
            8 => {
                let certification = Certification { text: "Fit".to_owned(), label: None, tags: BTreeSet::from([tag]) };
                policies[at].policy.certification = Some(certification);
            }
            2 => policies[at].policy.priority += 1,
            3 => policies[at].policy.title = Some("Another".to_owned()),
            4 => policies[at].policy.statement = policies[other].policy.statement.clone(),
            _ => policies[at].policy.statement.on = on,
        }
    }

    fn change_person(&mut self) {
        let (id, group) = (self.person(), self.group());
        let first = self.first.principals.iter().find(|person| person.id == id).unwrap().clone();
        let people = &mut self.world.facts.principals;
        let Some(at) = people.iter().position(|person| person.id == id) else { return people.push(first) };
        match self.dice.below(6) {
            0 => drop(people.remove(at)),
            1 => toggle(&mut people[at].permissions, *self.dice.pick(&Permission::ALL)),
            2 => people[at].attributes = Default::default(),
            3 => people[at].attributes = first.attributes,
            _ => toggle(&mut people[at].groups, group),
        }
    }

    fn change_source(&mut self) {
        let (id, tag, person) = (self.source(), self.tag(), self.person());
        let first: DataSource = self.first.sources.iter().find(|source| source.id == id).unwrap().clone();
        let sources = &mut self.world.facts.sources;
        let is_free = sources.iter().all(|source| source.id == id || source.name != first.name);
        let Some(at) = sources.iter().position(|source| source.id == id) else {
            if is_free {
                sources.push(first);
            }
            return;
        };
        let other = self.dice.below(sources.len());
        let column = self.dice.below(sources[at].columns.len());
        let within = sources[at].columns[column].id;
        let part = self.dice.below(sources[at].parts.len().max(1));
        let (parent, copies) = (sources[other].clone(), self.dice.roll());
        match self.dice.below(26) {
            0 | 1 => drop(sources.remove(at)),
            2 => {
                let name = sources[at].name.clone();
                sources[at].name = std::mem::replace(&mut sources[other].name, name);
            }
            3 => toggle(&mut sources[at].tags, tag),
            4 => toggle(&mut sources[at].owners, person),
            5 => {
                let name = format!("new_{column}");
                for part in sources[at].parts.iter_mut().filter(|part| part.within == within) {
                    part.column.name = format!("{name}.{}", part.path.join(".")).parse().unwrap();
                }
                sources[at].columns[column].name = name.parse().unwrap();
            }
            6 => {
                sources[at].parts.retain(|part| part.within != within);
                sources[at].columns[column].data_type = DataType::Boolean;
            }
            7 if column > 0 => {
                sources[at].parts.retain(|part| part.within != within);
                sources[at].columns.remove(column);
            }
            8 => sources[at].row_key.clear(),
            9 if is_free => sources[at] = first,
            14..17 if part < sources[at].parts.len() => toggle(&mut sources[at].parts[part].column.tags, tag),
            17 => sources[at].columns[column].profile = None,
            21 => sources[at].lineage = None,
            22 => sources[at].lineage = first.lineage,
            // Now and then from what is made from it, or from itself.
            23..26 => {
                let mut lineage = Lineage { parents: BTreeSet::from([parent.id]), ..Lineage::default() };
                for (own, theirs) in sources[at].columns.iter().zip(&parent.columns) {
                    let from = BTreeSet::from([ParentColumn { source: parent.id, column: theirs.id }]);
                    let origin = if copies % 4 > 0 { Origin::Copied(from) } else { Origin::Computed(from) };
                    lineage.columns.insert(own.id, origin);
                }
                if copies % 3 == 0 {
                    lineage.parents.insert(first.id);
                }
                sources[at].lineage = Some(lineage);
                if copies % 2 == 0 {
                    // So that copies have the type of their originals.
                    sources[at].columns = parent.columns;
                    sources[at].parts = parent.parts;
                    sources[at].row_key = parent.row_key;
                    sources[at].event_time = parent.event_time;
                }
            }
            18..21 => {
                let most = Value::Int(*self.dice.pick(&[1, 70, 900, 40_000]));
                let bounds = (Some(Value::Int(0)), Some(most));
                let profile = Profile { rows: 9, nulls: 0, distinct: Some(4), least: bounds.0, greatest: bounds.1 };
                sources[at].columns[column].profile = Some(profile);
            }
            _ => toggle(&mut sources[at].columns[column].tags, tag),
        }
    }

    fn change_relation(&mut self) {
        let (source, person, group) = (self.source(), self.person(), self.group());
        let policies: Vec<_> = self.facts().policies.iter().map(|p| (p.id, p.policy.key.clone())).collect();
        if policies.is_empty() {
            return;
        }
        let (id, key) = self.dice.pick(&policies).clone();
        let actor = self.person();
        let kind = self.dice.below(4);
        let target = if self.dice.chance(50) { PrincipalSet::User(person.clone()) } else { PrincipalSet::Group(group) };
        let facts = self.facts();
        match kind {
            0 => toggle(&mut facts.selected, (source, person)),
            1 => toggle(&mut facts.approved, (id, source, person)),
            2 => toggle(&mut facts.chosen, (key, source)),
            _ => toggle(&mut facts.impersonations, Impersonation { actor, target }),
        }
    }

    fn change_project(&mut self) {
        if self.first.projects.is_empty() {
            return;
        }
        let (source, person) = (self.source(), self.person());
        let project = self.dice.pick(&self.first.projects).clone();
        let purpose = PurposeName::new(*self.dice.pick(&["Research", "Research.Cancer", "Audit"])).unwrap();
        let projects = &mut self.world.facts.projects;
        let Some(at) = projects.iter().position(|known| known.name == project.name) else {
            return projects.push(project);
        };
        match self.dice.below(7) {
            0 => drop(projects.remove(at)),
            1 => toggle(&mut projects[at].sources, source),
            2 => toggle(&mut projects[at].purposes, purpose),
            3 => toggle(&mut projects[at].acknowledged, (person, purpose)),
            4 => projects[at].equalized ^= true,
            5 => projects[at].masked_joins ^= true,
            _ => toggle(&mut projects[at].members, person),
        }
    }

    fn change(&mut self) {
        match self.dice.below(12) {
            0 | 1 => self.add_policy(),
            2 | 3 => self.change_policy(),
            4 | 5 => self.change_person(),
            6..=8 => self.change_source(),
            9 => self.change_project(),
            _ => self.change_relation(),
        }
        let facts = self.facts();
        facts.epoch = facts.epoch.map(|epoch| weir_model::Epoch(epoch.0 + 1));
    }

    /// All that anybody is told.
    fn told(&self, snapshot: &Snapshot) -> Vec<String> {
        let mut told = vec![format!("{:?}", snapshot.problems())];
        told.extend(snapshot.policies().map(|stored| format!("{stored:?}")));
        let ids: Vec<SourceId> = self.first.sources.iter().map(|source| source.id).collect();
        for id in &ids {
            told.push(format!("{:?} asks {:?}", snapshot.source(*id), snapshot.asking(*id)));
        }
        let mut projects = vec![None];
        projects.extend(self.first.projects.iter().map(|project| Some(project.name.clone())));
        let at_unix_ms = self.world.speakers[0].at_unix_ms;
        for person in self.first.principals.iter().map(|person| &person.id) {
            told.push(format!("{:?} {:?}", snapshot.principal(person), snapshot.projects(person)));
            for other in &self.first.principals {
                told.push(format!("{person} as {}: {}", other.id, snapshot.may_impersonate(person, &other.id)));
            }
            for project in &projects {
                for impersonated in [false, true] {
                    let surroundings = Surroundings { project: project.clone(), impersonated, at_unix_ms };
                    let decision = snapshot.decide(person, &surroundings, &ids);
                    told.push(format!("{surroundings:?} {decision:?}"));
                    told.push(format!("{:?}", snapshot.purposes(person, &surroundings)));
                    let visible = snapshot.visible(person, &surroundings);
                    told.push(format!("{:?}", visible.iter().map(|source| &source.name).collect::<Vec<_>>()));
                    if !impersonated {
                        let all = ids.iter().map(|id| format!("{:?}", explain(snapshot, person, &surroundings, *id)));
                        told.extend(all);
                        for source in ids.iter().filter_map(|id| snapshot.source(*id)).filter(|_| project.is_none()) {
                            told.extend(source.columns.last().map(|column| {
                                let column = &column.name;
                                format!("{:?}", explain_column(snapshot, person, &surroundings, source.id, column))
                            }));
                        }
                    }
                }
            }
        }
        told
    }
}

#[test]
fn a_successor_is_what_the_facts_give() {
    let (mut compared, mut different, mut broken, mut asked, mut inherited) = (0, 0, 0, 0, 0);
    for seed in 20_000..20_040 {
        let mut changing = Changing::new(seed);
        let mut facts = changing.world.facts.clone();
        let mut snapshot = Snapshot::compile(facts.clone());
        let mut before = changing.told(&snapshot);
        // One that is rarely asked, so that most changes come before what policies do was worked out.
        let mut quiet = Snapshot::compile(facts.clone());
        for step in 0..16 {
            // Now and then several epochs pass at once.
            for _ in 0..changing.dice.between(1, 3) {
                changing.change();
            }
            let changes = Changes::between(&facts, &changing.world.facts);
            let what = format!("seed {seed} step {step}: {changes:?}\n{}", changing.world);
            quiet = quiet.after(changes.clone());
            let next = snapshot.after(changes);
            facts = changing.world.facts.clone();
            let anew = Snapshot::compile(facts.clone());
            let told = changing.told(&next);
            if let Err(why) = next.verify() {
                panic!("{why}\n{what}");
            }
            let mut others = vec![anew];
            others.extend(changing.dice.chance(25).then(|| quiet.clone()));
            for other in others {
                let expected = changing.told(&other);
                assert_eq!(told.len(), expected.len());
                for (told, expected) in told.iter().zip(&expected) {
                    assert_eq!(told, expected, "{what}");
                }
            }
            assert!(changing.told(&snapshot) == before, "the snapshot before changed: {what}");
            compared += 1;
            different += usize::from(told != before);
            broken += usize::from(!next.problems().is_empty());
            asked += usize::from(facts.sources.iter().any(|source| !next.asking(source.id).is_empty()));
            inherited += usize::from(told.iter().any(|told| told.contains("Inherited {")));
            before = told;
            snapshot = next;
        }
    }
    println!("{compared} compared, {different} different, {broken} broken, {asked} asked, {inherited} inherited");
    let enough = [broken, asked, inherited].iter().all(|count| *count > 50);
    assert!(different > compared / 2 && enough, "{different}, {broken}, {asked}, {inherited} of {compared}");
}

/// What is as it was may be named all the same: the store names what was touched.
#[test]
fn naming_what_did_not_change_changes_nothing() {
    for seed in 20_100..20_110 {
        let changing = Changing::new(seed);
        let snapshot = Snapshot::compile(changing.world.facts.clone());
        let again = snapshot.after(Changes::from(changing.world.facts.clone()));
        assert_eq!(changing.told(&snapshot), changing.told(&again));
        assert!(Changes::between(&changing.world.facts, &changing.world.facts).is_empty());
    }
}
