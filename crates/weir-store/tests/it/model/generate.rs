//! Random changes of state, those more often that go together.

use super::*;

pub(super) struct Generator(pub(super) StdRng);

impl Generator {
    pub(super) fn one<T: Clone>(&mut self, of: &[T]) -> T {
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
                    // One is the same everywhere, so that there is what can be copied from one to another.
                    data_type: if *name == names[0] { DataType::Text } else { self.data_type(2) },
                    nullable: self.0.random(),
                    tags: self.some(Self::tag),
                })
                .collect(),
            row_key: Vec::new(),
            event_time: None,
            location: Location::Files { format, path: "/data/a b'\"".into(), partitions },
        }
    }

    fn policy(&mut self) -> Policy {
        let method = self.one(&[Method::Hash, Method::Null, Method::RoundByProfile]);
        let or_else = if method != Method::Null && self.0.random() { vec![Method::Null.into()] } else { Vec::new() };
        let action = Action::Mask(MaskAction {
            columns: match self.0.random() {
                true => Columns::Named(vec![self.column().into()]),
                false => Columns::Tagged(self.tag().into()),
            },
            method: method.into(),
            or_else,
            when: None,
        });
        let body = if self.0.random() {
            Body::Data(Cascade { rules: vec![Rule { action, scope: Scope::Everyone }] })
        } else {
            let approvers = (0..self.0.random_range(1..4)).map(|_| self.approver()).collect();
            Body::Subscribe(Subscribe {
                who: Subscribers::Asking(approvers),
                merge: self.one(&[Merge::Share, Merge::Require]),
            })
        };
        Policy {
            key: self.policy_key(),
            title: self.one(&[None, Some("A title: 'quoted' # no comment".to_owned())]),
            staged: self.0.random_ratio(1, 4),
            template: self.0.random_ratio(1, 16),
            certification: self.certification(),
            priority: 0,
            statement: Statement { body, on: Circumstances::Named(vec![self.source().into()]) },
        }
    }

    fn certification(&mut self) -> Option<Certification> {
        let text = self.one(&[None, Some("looked at"), Some("it's")])?.to_owned();
        Some(Certification { text, label: None, tags: self.some(Self::tag) })
    }

    fn approver(&mut self) -> Approver {
        match self.0.random_range(0..3) {
            0 => Approver::Owner,
            1 => Approver::Holder(self.one(&[Permission::Governance, Permission::ProjectManagement])),
            _ => Approver::Person(self.one(&[person("tara"), person("garth")])),
        }
    }

    fn project(&mut self) -> ProjectName {
        self.one(&["study", "Study 'two'"].map(|p| ProjectName::new(p).unwrap()))
    }

    fn purpose(&mut self) -> PurposeName {
        self.one(
            &["research", "research.cancer", "research.cancer.lung", "bills"].map(|p| PurposeName::new(p).unwrap()),
        )
    }

    fn statement(&mut self) -> String {
        self.one(&["Only for science.", "Bills; 'quoted'."]).to_owned()
    }

    fn grant(&mut self) -> Impersonation {
        let target =
            if self.0.random() { PrincipalSet::User(self.principal()) } else { PrincipalSet::Group(self.group()) };
        Impersonation { actor: self.principal(), target }
    }

    fn key_owner(&mut self) -> KeyOwner {
        if self.0.random() { KeyOwner::Source(self.source()) } else { KeyOwner::Project(self.project()) }
    }

    /// Mostly one of those there are.
    fn request(&mut self, made: usize) -> u64 {
        self.0.random_range(0..=made as u64 + 1)
    }

    /// What single random changes hardly ever come to.
    fn toward(&mut self, model: &Model) -> Option<Change> {
        let people: Vec<&PrincipalId> = model.principals.keys().collect();
        match self.0.random_range(0..4) {
            0 => {
                let asking = model.policies.values().filter(|stored| model.asks(&stored.policy.key).is_some());
                let Circumstances::Named(on) = &asking.choose(&mut self.0)?.policy.statement.on else { return None };
                let source = on[0].node.clone();
                let user = (*people.choose(&mut self.0)?).clone();
                Some(Change::RequestSubscription { source, user, reason: "because".to_owned(), policy: None })
            }
            1 | 2 => {
                let open = model.requests.iter().zip(1..).filter(|(r, _)| model.stands(r) && r.filled.contains(&None));
                let (asked, request) = open.choose(&mut self.0)?;
                let slot = asked.filled.iter().position(Option::is_none)?;
                let who = people.into_iter().filter(|who| model.places(asked, who).contains(&slot));
                let approver = who.choose(&mut self.0)?.clone();
                Some(Change::ApproveSubscription { request, approver, until_unix_ms: None })
            }
            _ => {
                let (project, team) = model.projects.iter().choose(&mut self.0)?;
                let project = project.clone();
                let Some(user) = team.members.iter().choose(&mut self.0).cloned() else {
                    return Some(Change::AddMember { project, user: (*people.choose(&mut self.0)?).clone() });
                };
                if team.sources.is_empty()
                    && let Some(source) = model.sources.keys().choose(&mut self.0).cloned()
                {
                    return Some(Change::AddProjectSource { project, source });
                }
                match team.purposes.iter().choose(&mut self.0) {
                    None => {
                        let purpose = model.purposes.keys().choose(&mut self.0)?.clone();
                        Some(Change::AddProjectPurpose { project, purpose })
                    }
                    Some((purpose, false)) => Some(Change::ApproveProjectPurpose { project, purpose: purpose.clone() }),
                    Some((purpose, true)) => {
                        let statement = model.statement(purpose)?;
                        Some(Change::Acknowledge { project, user, purpose: purpose.clone(), statement })
                    }
                }
            }
        }
    }

    /// Mostly of a kind that needs something that is there.
    fn about_what_is_there(&mut self, model: &Model) -> Option<Change> {
        let approved = model.requests.iter().filter(|asked| model.stands(asked) && !asked.filled.contains(&None));
        if let Some(key) = approved.filter_map(|asked| asked.policy.clone()).choose(&mut self.0)
            && self.0.random_ratio(1, 3)
        {
            return Some(Change::PutPolicy(Policy { key, ..self.policy() }));
        }
        if self.0.random_ratio(1, 6) {
            return self.lineage(model);
        }
        if self.0.random_ratio(1, 3) {
            let parts = model.sources.values().flat_map(|source| source.parts.iter().map(|part| (&source.name, part)));
            let (source, part) = parts.choose(&mut self.0)?;
            let (source, column) = (source.clone(), part.column.name.clone());
            return Some(Change::SetColumnTags { source, column, tags: self.some(Self::tag) });
        }
        if self.0.random_ratio(1, 4) {
            let policy = model.policies.keys().choose(&mut self.0)?.clone();
            let source = model.sources.keys().choose(&mut self.0)?.clone();
            return Some(Change::ChoosePolicy { policy, source });
        }
        if self.0.random_ratio(1, 3) {
            let columns = model.sources.values().flat_map(|s| s.columns.iter().map(|column| (&s.name, &column.name)));
            let (source, column) = columns.choose(&mut self.0)?;
            let (source, column) = (source.clone(), column.clone());
            return Some(Change::SetProfiles { source, profiles: BTreeMap::from([(column, self.profile())]) });
        }
        if self.0.random() {
            let source = model.sources.values().choose(&mut self.0)?;
            let columns = source.columns.iter().choose(&mut self.0).map(|column| column.name.clone());
            return Some(Change::SetRowKey { source: source.name.clone(), columns: columns.into_iter().collect() });
        }
        let stored = model.policies.values().choose(&mut self.0)?;
        let Circumstances::Named(on) = &stored.policy.statement.on else { return None };
        let (policy, source) = (stored.policy.key.clone(), on.first()?.node.clone());
        let user = if self.0.random() { Some(self.principal()) } else { None };
        Some(Change::CertifyPolicy { policy, source, user })
    }

    fn about_projects(&mut self) -> Change {
        match self.0.random_range(0..18) {
            0 | 1 => Change::CreateProject { project: self.project(), owners: self.some(Self::principal) },
            2 => Change::RemoveProject(self.project()),
            3 => Change::AddProjectOwner { project: self.project(), user: self.principal() },
            4 => Change::RemoveProjectOwner { project: self.project(), user: self.principal() },
            5 | 6 => Change::AddMember { project: self.project(), user: self.principal() },
            7 => Change::RemoveMember { project: self.project(), user: self.principal() },
            8 => Change::AddProjectSource { project: self.project(), source: self.source() },
            9 => Change::RemoveProjectSource { project: self.project(), source: self.source() },
            10 | 11 => Change::AddProjectPurpose { project: self.project(), purpose: self.purpose() },
            12 | 13 => Change::ApproveProjectPurpose { project: self.project(), purpose: self.purpose() },
            14 => Change::RemoveProjectPurpose { project: self.project(), purpose: self.purpose() },
            15 => Change::SetEqualized { project: self.project(), on: self.0.random() },
            16 => Change::SetMaskedJoins { project: self.project(), on: self.0.random() },
            _ => Change::Acknowledge {
                project: self.project(),
                user: self.principal(),
                purpose: self.purpose(),
                statement: self.statement(),
            },
        }
    }

    fn about_others(&mut self, requests: usize) -> Change {
        match self.0.random_range(0..19) {
            18 => {
                let columns = self.some(Self::column).into_iter();
                let profiles = columns.map(|column| (column, self.profile())).collect();
                Change::SetProfiles { source: self.source(), profiles }
            }
            0 => Change::SetRowKey {
                source: self.source(),
                columns: (0..self.0.random_range(0..3)).map(|_| self.column()).collect(),
            },
            1 => {
                let column = if self.0.random() { Some(self.column()) } else { None };
                Change::SetEventTime { source: self.source(), column }
            }
            2 => Change::ChoosePolicy { policy: self.policy_key(), source: self.source() },
            3 => Change::UnchoosePolicy { policy: self.policy_key(), source: self.source() },
            4 | 5 => Change::AllowImpersonation(self.grant()),
            6 => Change::DenyImpersonation(self.grant()),
            7 | 8 => {
                let statement = if self.0.random() { Some(self.statement()) } else { None };
                Change::CreatePurpose { purpose: self.purpose(), statement }
            }
            9 => {
                let statement = if self.0.random() { Some(self.statement()) } else { None };
                Change::SetStatement { purpose: self.purpose(), statement }
            }
            10 => Change::RemovePurpose(self.purpose()),
            11 | 12 => {
                let policy = if self.0.random() { Some(self.policy_key()) } else { None };
                let reason = "because".to_owned();
                Change::RequestSubscription { source: self.source(), user: self.principal(), reason, policy }
            }
            13..16 => Change::ApproveSubscription {
                request: self.request(requests),
                approver: self.principal(),
                until_unix_ms: None,
            },
            16 => match self.0.random() {
                true => Change::WithdrawSubscription { request: self.request(requests) },
                false => Change::DenySubscription {
                    request: self.request(requests),
                    approver: self.principal(),
                    reason: "no".to_owned(),
                },
            },
            _ => Change::RotateKey(self.key_owner()),
        }
    }

    fn profile(&mut self) -> Profile {
        let greatest =
            self.one(&[None, Some(Value::Int(7)), Some(Value::Number("1.5".to_owned())), Some(Value::Date(3))]);
        Profile { rows: 9, nulls: self.0.random_range(0..9), distinct: Some(2), least: greatest.clone(), greatest }
    }

    fn policy_key(&mut self) -> PolicyKey {
        self.one(&["mask-ssn", "rows", "third"].map(|k| PolicyKey::new(k).unwrap()))
    }

    pub(super) fn change(&mut self, model: &Model) -> Change {
        if self.0.random_ratio(1, 8)
            && let Some(change) = self.about_what_is_there(model)
        {
            return change;
        }
        if self.0.random_ratio(2, 5)
            && let Some(change) = self.toward(model)
        {
            return change;
        }
        match self.0.random_range(0..48) {
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
            22 => Change::RemovePolicy(self.policy_key()),
            23..36 => self.about_projects(),
            _ => self.about_others(model.requests.len()),
        }
    }
}
