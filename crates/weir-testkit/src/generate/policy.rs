//! Policies that fit the sources of a world.

use weir_model::{
    AttributeKey, Column, DataSource, DataType, GroupName, Permission, PolicyId, PolicyKey, PrincipalSet, PurposeName,
    TypeClass, Value,
};
use weir_policy::ast::{
    Action, Ago, Approver, Body, CalendarUnit, Cascade, Circumstance, Circumstances, Columns, Condition, MaskAction,
    Match, MatchColumn, Merge, Method, Policy, Predicate, Randomized, RoundTo, RowCondition, Rule, Scope, Statement,
    Subscribe, Subscribers, Test, TimeUnit, TimeWindow, UserCall,
};
use weir_policy::check::check;
use weir_policy::{Facts, Function, StoredPolicy};

use super::predicate::{Frame, literal, text};
use super::{Sizes, Speaker, World};
use crate::cell::{Cell, Tables};
use crate::dice::Dice;
use crate::nested::{self, singles};
use crate::oracle::{Keys, Oracle, applies, closeness};

/// Writes policies against facts that do not change meanwhile.
pub(super) struct Author<'a> {
    pub(super) dice: &'a mut Dice,
    pub(super) facts: &'a Facts,
    pub(super) tables: &'a Tables,
    pub(super) sizes: &'a Sizes,
    keys: &'a Keys,
    /// Who is to see something and not all.
    subject: &'a Speaker,
    /// How many lookups have been named.
    pub(super) aliases: usize,
    /// Conditions may ask about the person.
    pub(super) asks: bool,
}

/// Adds policies to the facts; others, when the first speaker sees no row under them.
pub(super) fn write(world: &mut World, dice: &mut Dice, sizes: &Sizes) {
    for _ in 0..3 {
        world.facts.policies.clear();
        world.facts.chosen.clear();
        write_once(world, &mut dice.fork(), sizes);
        if world.visible(&world.speakers[0]).values().any(|rows| !rows.is_empty()) {
            break;
        }
    }
    if dice.chance(4) {
        forget(&mut world.facts, dice);
    }
}

fn write_once(world: &mut World, dice: &mut Dice, sizes: &Sizes) {
    let mut statements = Vec::new();
    let World { facts, tables, keys, speakers, .. } = &*world;
    let subject = &speakers[0];
    let mut author = Author { dice: &mut *dice, facts, tables, sizes, keys, subject, aliases: 0, asks: true };
    for source in &facts.sources {
        statements.extend(author.subscriptions(source));
        statements.extend(author.limit(source));
        for _ in 0..author.dice.below(sizes.row_policies_max + 1) {
            statements.extend(author.interesting_row_policy(source));
        }
        for _ in 0..author.dice.below(sizes.mask_policies_max + 1) {
            statements.extend(author.mask_policy(source));
        }
    }
    // Ids against the order of making, so that age is not position.
    let count = statements.len();
    for (i, statement) in statements.into_iter().enumerate() {
        let mut policy = stored(count - i, statement);
        policy.policy.staged = dice.chance(5);
        policy.policy.template = dice.chance(3);
        policy.policy.priority = *dice.pick(&[0, 0, 0, 0, 1, 5, -1]);
        for source in &world.facts.sources {
            if waits_for_owners(&policy.policy.statement.on) && dice.chance(80) {
                world.facts.chosen.insert((policy.policy.key.clone(), source.id));
            }
        }
        // The product's own check has the last word on what may be saved.
        if check(&policy.policy, &world.facts).iter().all(|found| !found.is_error()) {
            world.facts.policies.push(policy);
        }
    }
}

/// Which way a policy takes something away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restriction {
    Mask,
    Rows,
    Purposes,
    Subscription,
}

impl Restriction {
    pub const ALL: [Restriction; 4] =
        [Restriction::Mask, Restriction::Rows, Restriction::Purposes, Restriction::Subscription];
}

impl World {
    /// One more policy of the kind, which could be saved and is newer than all others; `None` when none was found.
    pub fn restriction(&self, kind: Restriction, dice: &mut Dice, sizes: &Sizes) -> Option<StoredPolicy> {
        let World { facts, tables, keys, speakers, .. } = self;
        let subject = &speakers[0];
        let mut author = Author { dice, facts, tables, sizes, keys, subject, aliases: 0, asks: true };
        let number = facts.policies.iter().map(|p| p.id.0 as usize).max().unwrap_or(0) + 1;
        for _ in 0..20 {
            let source = author.dice.pick(&facts.sources);
            let statement = match kind {
                Restriction::Mask => author.mask_policy(source),
                Restriction::Rows => Some(author.row_policy(source)),
                Restriction::Purposes => author.limit(source),
                Restriction::Subscription => author.subscriptions(source).pop().map(required),
            };
            let Some(policy) = statement.map(|statement| stored(number, statement)) else { continue };
            if check(&policy.policy, facts).iter().all(|found| !found.is_error()) {
                return Some(policy);
            }
        }
        None
    }
}

fn required(statement: Statement) -> Statement {
    match statement.body {
        Body::Subscribe(subscribe) => {
            Statement { body: Body::Subscribe(Subscribe { merge: Merge::Require, ..subscribe }), ..statement }
        }
        Body::Data(_) => statement,
    }
}

fn waits_for_owners(on: &Circumstances) -> bool {
    match on {
        Circumstances::Any(list) | Circumstances::All(list) => list.contains(&Circumstance::ChosenByOwner),
        Circumstances::AllSources | Circumstances::Named(_) => false,
    }
}

/// Takes the row key, the event time and the profiles from a source, on which policies may depend. Where masks have conditions it
/// stays: whether a mask behind one is reached at all is more than the oracle can tell.
fn forget(facts: &mut Facts, dice: &mut Dice) {
    let conditional = facts.policies.iter().any(|stored| match &stored.policy.statement.body {
        Body::Data(cascade) => {
            cascade.rules.iter().any(|rule| matches!(&rule.action, Action::Mask(mask) if mask.when.is_some()))
        }
        Body::Subscribe(_) => false,
    });
    if !conditional {
        let place = dice.below(facts.sources.len());
        facts.sources[place].row_key.clear();
        facts.sources[place].event_time = None;
        facts.sources[place].columns.iter_mut().for_each(|column| column.profile = None);
    }
}

fn stored(number: usize, statement: Statement) -> StoredPolicy {
    let id = PolicyId(u32::try_from(number).unwrap());
    let key = PolicyKey::new(format!("p{id}")).unwrap();
    StoredPolicy { id, policy: Policy::new(key, statement) }
}

impl<'a> Author<'a> {
    fn subscriptions(&mut self, source: &DataSource) -> Vec<Statement> {
        let count = *self.dice.pick(&[0, 1, 1, 1, 1, 2, 2]);
        let mut statements = Vec::new();
        for _ in 0..count {
            let who = match self.dice.below(20) {
                0 => Subscribers::Selected,
                1 | 2 => Subscribers::Asking(self.approvers()),
                3..=6 => Subscribers::When(self.condition(2)),
                _ => Subscribers::Anyone,
            };
            let merge = if self.dice.chance(30) { Merge::Require } else { Merge::Share };
            let on = if self.dice.chance(70) { named(source) } else { self.circumstances(source) };
            statements.push(Statement { body: Body::Subscribe(Subscribe { who, merge }), on });
        }
        statements
    }

    fn approvers(&mut self) -> Vec<Approver> {
        let all = [
            Approver::Owner,
            Approver::Holder(*self.dice.pick(&Permission::ALL)),
            Approver::Person(self.dice.pick(&self.facts.principals).id.clone()),
        ];
        self.dice.some(&all, 20)
    }

    /// Mostly to something that the subject acts under, so that she still sees the source.
    fn limit(&mut self, source: &DataSource) -> Option<Statement> {
        let project = self.facts.projects.iter().find(|project| Some(&project.name) == self.subject.project.as_ref());
        let mine: Vec<PurposeName> = project.into_iter().flat_map(|project| &project.purposes).cloned().collect();
        if !self.dice.chance(if mine.is_empty() { 5 } else { 35 }) {
            return None;
        }
        let mut purposes = vec![self.purpose()];
        if !mine.is_empty() && self.dice.chance(85) {
            purposes.push(self.dice.pick(&mine).clone());
        }
        purposes.dedup();
        let scope = if mine.is_empty() || self.dice.chance(40) {
            Scope::EveryoneExcept(self.condition(2))
        } else {
            Scope::Everyone
        };
        let action = Action::LimitToPurposes(purposes.into_iter().map(Into::into).collect());
        let on = if self.dice.chance(70) { named(source) } else { self.circumstances(source) };
        Some(Statement { body: Body::Data(Cascade { rules: vec![Rule { action, scope }] }), on })
    }

    /// One of those that projects have, or one above it.
    pub(super) fn purpose(&mut self) -> PurposeName {
        let held: Vec<&PurposeName> = self.facts.projects.iter().flat_map(|project| &project.purposes).collect();
        if held.is_empty() || self.dice.chance(10) {
            return PurposeName::new("Audit").unwrap();
        }
        let purpose = *self.dice.pick(&held);
        match purpose.as_str().split_once('.') {
            Some((above, _)) if self.dice.chance(40) => PurposeName::new(above).unwrap(),
            _ => purpose.clone(),
        }
    }

    /// One that shows the subject some rows and hides others, when a few tries find one.
    fn interesting_row_policy(&mut self, source: &'a DataSource) -> Option<Statement> {
        let all = self.tables[&source.id].len();
        let anyone = Body::Subscribe(Subscribe { who: Subscribers::Anyone, merge: Merge::Share });
        let mut last = None;
        for _ in 0..5 {
            let statement = self.row_policy(source);
            let open = stored(1, Statement { body: anyone.clone(), on: named(source) });
            let alone = Facts { policies: vec![open, stored(2, statement.clone())], ..self.facts.clone() };
            let surroundings = self.subject.surroundings();
            let seen = Oracle {
                facts: &alone,
                tables: self.tables,
                keys: self.keys,
                principal: &self.subject.principal,
                surroundings: &surroundings,
            };
            last = Some(statement);
            if seen.visible_copy(source.id).is_some_and(|seen| !seen.is_empty() && seen.len() < all) {
                break;
            }
        }
        last
    }

    fn row_policy(&mut self, source: &'a DataSource) -> Statement {
        let matching = self.dice.chance(35).then(|| self.match_columns(source)).filter(|c| !c.is_empty());
        let rules = self.rules(|author| {
            let condition = match &matching {
                Some(columns) => {
                    RowCondition::Match { user: author.user_match(), column: author.dice.pick(columns).clone() }
                }
                None if source.event_time.is_some() && author.dice.chance(25) => {
                    RowCondition::Time(author.time_window(source))
                }
                None if !source.row_key.is_empty() && author.dice.chance(15) => {
                    let percents = ["50", "75", "25", "90", "12.5", "99.99", "0.5"];
                    RowCondition::Sample((*author.dice.pick(&percents)).to_owned().into())
                }
                None => {
                    let frame = Frame { source, qualifier: None };
                    RowCondition::Where(author.predicate(&frame, author.sizes.predicate_depth_max))
                }
            };
            Action::ShowRows(condition)
        });
        let on = if self.dice.chance(80) { named(source) } else { self.circumstances(source) };
        let statement = Statement { body: Body::Data(Cascade { rules }), on };
        // Elsewhere the tag may be on several columns.
        let ambiguous = matching.iter().flatten().any(|c| matches!(c, MatchColumn::Tagged(_)));
        if ambiguous { Statement { on: named(source), ..statement } } else { statement }
    }

    /// Often one that parts the rows, by the time of the subject.
    fn time_window(&mut self, source: &DataSource) -> TimeWindow {
        let place = source.columns.iter().position(|c| Some(c.id) == source.event_time);
        let times = self.tables[&source.id].iter().filter_map(|row| match &row[place?] {
            Cell::Date(day) => Some(i64::from(*day) * 1_440),
            Cell::Timestamp(us) => Some(us.div_euclid(60_000_000)),
            _ => None,
        });
        let now = i64::try_from(self.subject.at_unix_ms / 60_000).unwrap();
        let past: Vec<u32> = times.filter_map(|at| u32::try_from(now - at).ok()).filter(|ago| *ago > 0).collect();
        let minutes = if past.is_empty() { 100_000 } else { *self.dice.pick(&past) };
        let odd = Ago { amount: *self.dice.pick(&[1, 7, 600, u32::MAX]), unit: *self.dice.pick(&TimeUnit::ALL) };
        let ago = match self.dice.below(8) {
            0 => odd,
            1 => Ago { amount: minutes, unit: TimeUnit::Minute },
            2 => Ago { amount: (minutes / 60).max(1), unit: TimeUnit::Hour },
            3 | 4 => Ago { amount: (minutes / 1_440).max(1), unit: TimeUnit::Day },
            5 | 6 => Ago { amount: (minutes / 43_800).max(1), unit: TimeUnit::Month },
            _ => Ago { amount: (minutes / 525_600).max(1), unit: TimeUnit::Year },
        };
        TimeWindow { newer: self.dice.chance(60), ago }
    }

    /// The columns, by name or by a tag that only one of them has, whose values can be a group's or an attribute's.
    fn match_columns(&self, source: &DataSource) -> Vec<MatchColumn> {
        let mut columns = Vec::new();
        let texts = singles(source).into_iter();
        let texts = texts.filter(|c| matches!(c.data_type, DataType::Text | DataType::Int32 | DataType::Int64));
        for column in texts {
            columns.push(MatchColumn::Named(column.name.clone().into()));
            for tag in &column.tags {
                let count = source.places().flat_map(|c| &c.tags).filter(|t| tag.covers(t)).count();
                if count == 1 {
                    columns.push(MatchColumn::Tagged(tag.clone().into()));
                }
            }
        }
        columns
    }

    pub(super) fn held_key(&mut self) -> AttributeKey {
        let held: Vec<_> = self.facts.principals.iter().flat_map(|p| p.attributes.keys()).collect();
        (*self.dice.pick(&held)).clone()
    }

    pub(super) fn held_group(&mut self) -> GroupName {
        let held: Vec<_> = self.facts.principals.iter().flat_map(|p| &p.groups).collect();
        (*self.dice.pick(&held)).clone()
    }

    fn user_match(&mut self) -> Match {
        match self.dice.below(10) {
            0..=4 => Match::Group,
            5 if !self.facts.projects.is_empty() => Match::Purpose,
            _ => Match::Attribute(self.held_key().into()),
        }
    }

    fn mask_policy(&mut self, source: &'a DataSource) -> Option<Statement> {
        let columns = self.columns(source);
        let on = match &columns {
            Columns::Named(list) if list.len() > 1 => named(source),
            _ if self.dice.chance(60) => named(source),
            _ => self.circumstances(source),
        };
        // Whatever the policy masks anywhere must take the method.
        let reached: Vec<&DataSource> =
            self.facts.sources.iter().filter(|s| applies(self.facts, &on, s, |_| true)).collect();
        let spoken_of =
            |s: &'a DataSource| s.places().filter(|c| closeness(&columns, s, c).is_some()).collect::<Vec<_>>();
        let masked: Vec<&Column> = reached.iter().flat_map(|s| spoken_of(s)).collect();
        let single = reached
            .iter()
            .all(|s| spoken_of(s).into_iter().all(|column| singles(s).iter().any(|single| single.id == column.id)));
        if masked.is_empty() {
            return None;
        }
        let here = matches!(on, Circumstances::Named(_));
        let conditional = self.dice.chance(if here { 30 } else { 5 });
        let keyed = reached.iter().all(|s| !s.row_key.is_empty());
        let rules = self.rules(|author| {
            let when = conditional.then(|| author.predicate(&Frame { source, qualifier: None }, 1));
            let alone = author.method(&masked, single, keyed, here.then_some(source));
            let (method, or_else) = author.stand_ins(&masked).unwrap_or((alone, Vec::new()));
            let or_else = or_else.into_iter().map(Into::into).collect();
            Action::Mask(MaskAction { columns: columns.clone(), method: method.into(), or_else, when })
        });
        Some(Statement { body: Body::Data(Cascade { rules }), on })
    }

    fn columns(&mut self, source: &DataSource) -> Columns {
        let places: Vec<&Column> = source.places().collect();
        let column = *self.dice.pick(&places);
        match self.dice.below(10) {
            0..=4 => Columns::Named(vec![column.name.clone().into()]),
            5 => {
                let alike: Vec<_> = source.places().filter(|c| c.data_type == column.data_type).collect();
                Columns::Named(self.dice.some(&alike, 60).into_iter().map(|c| c.name.clone().into()).collect())
            }
            6 | 7 => match column.tags.first() {
                Some(tag) if self.dice.chance(50) => {
                    let parent = tag.as_str().split('.').next().unwrap_or_default();
                    Columns::Tagged(parent.parse::<weir_model::Tag>().unwrap().into())
                }
                Some(tag) => Columns::Tagged(tag.clone().into()),
                None => Columns::NoTags,
            },
            8 => {
                let pattern = format!("^{}", regex::escape(column.name.as_str()));
                Columns::NamedLike { pattern: pattern.into(), case_insensitive: self.dice.chance(30) }
            }
            _ => self.dice.pick(&[Columns::AnyTag, Columns::NoTags, Columns::All]).clone(),
        }
    }

    /// A mask that some of the columns may not take, and what they get instead. By dice of its own, so that the rest of
    /// the world is as it would be without.
    fn stand_ins(&self, columns: &[&Column]) -> Option<(Method, Vec<Method>)> {
        let mut dice = self.dice.clone().fork();
        let first = columns[0].data_type.class();
        let alike = columns.iter().all(|column| column.data_type.class() == first);
        if !dice.chance(if alike { 5 } else { 60 }) {
            return None;
        }
        let methods = [
            Method::Hash,
            Method::Reversible,
            Method::FormatPreserving,
            Method::Round(RoundTo::Number("10".to_owned())),
            Method::Round(RoundTo::Calendar(*dice.pick(&CalendarUnit::ALL))),
        ];
        let mut methods = dice.some(&methods, 50).into_iter().chain([Method::Null]);
        Some((methods.next()?, methods.collect()))
    }

    /// A mask that all the columns can take. They are of `here` when all of them are of one source; `single` says that
    /// each has one plain value a row.
    fn method(&mut self, columns: &[&Column], single: bool, keyed: bool, here: Option<&'a DataSource>) -> Method {
        let data_type = columns[0].data_type.element();
        let class = data_type.class();
        let of_one_class = columns.iter().all(|c| c.data_type.element().class() == class);
        let of_one_type = columns.iter().all(|c| c.data_type.element() == data_type);
        let whole = |c: &&Column| matches!(c.data_type.element(), DataType::Int32 | DataType::Int64);
        match (self.dice.below(20), class) {
            (0, _) => Method::Null,
            (1 | 2, _) if single => Method::KAnonymous(u32::try_from(self.dice.between(2, 4)).unwrap()),
            (3, _) if single => Method::Custom(Box::new(Predicate::User(UserCall::MaskedColumn.into()))),
            _ if !of_one_class || class == TypeClass::Nested => Method::Null,
            (4 | 5, _) => Method::Constant(constant(class)),
            (6..=8, _) if of_one_type && single => Method::Custom(Box::new(self.custom(data_type, here))),
            (9..=11, _) if keyed && of_one_type => self.randomized(columns[0], here),
            (12 | 13, TypeClass::Text) => self.regex(),
            (14 | 15, TypeClass::Text) => Method::Reversible,
            (16 | 17, TypeClass::Text) => Method::FormatPreserving,
            (16 | 17, TypeClass::Number) if columns.iter().all(whole) => Method::FormatPreserving,
            (_, TypeClass::Text) => Method::Hash,
            (_, TypeClass::Number | TypeClass::Date | TypeClass::Timestamp)
                if columns.iter().all(|c| c.profile.is_some()) && self.dice.chance(30) =>
            {
                Method::RoundByProfile
            }
            (_, TypeClass::Number) => {
                let whole = columns.iter().any(whole);
                let steps: &[&str] = if whole { &["10", "100", "2"] } else { &["10", "0.25", "0.5", "2"] };
                Method::Round(RoundTo::Number((*self.dice.pick(steps)).to_owned()))
            }
            (_, TypeClass::Date) => {
                let units = &[CalendarUnit::Week, CalendarUnit::Month, CalendarUnit::Quarter, CalendarUnit::Year];
                Method::Round(RoundTo::Calendar(*self.dice.pick(units)))
            }
            (_, TypeClass::Timestamp) => Method::Round(RoundTo::Calendar(*self.dice.pick(&CalendarUnit::ALL))),
            (_, TypeClass::Boolean | TypeClass::Binary | TypeClass::Time | TypeClass::Nested) => Method::Null,
        }
    }

    fn randomized(&mut self, column: &Column, here: Option<&DataSource>) -> Method {
        let data_type = column.data_type.element();
        let moved = match data_type.class() {
            TypeClass::Number => {
                let whole = matches!(data_type, DataType::Int32 | DataType::Int64);
                let most: &[&str] = if whole { &["1", "5", "1000"] } else { &["1", "0.5", "250"] };
                Some(Randomized::Within((*self.dice.pick(most)).to_owned()))
            }
            TypeClass::Date | TypeClass::Timestamp => Some(Randomized::WithinDays(*self.dice.pick(&[1, 7, 400]))),
            TypeClass::Text | TypeClass::Boolean | TypeClass::Binary | TypeClass::Time | TypeClass::Nested => None,
        };
        Method::Randomized(match moved {
            Some(moved) if self.dice.chance(70) => moved,
            _ => {
                let mut by = vec![constant(data_type.class())];
                // A value that others have, so that nobody can tell.
                let here = here.filter(|here| singles(here).iter().any(|single| single.name == column.name));
                let rows = here.map(|here| {
                    let id = here.place(column.name.as_str()).unwrap().id;
                    self.tables[&here.id].iter().map(move |row| literal(nested::cell(here, row, id).unwrap()))
                });
                by.extend(rows.into_iter().flatten().filter(|value| *value != Value::Null).take(2));
                let percent = (*self.dice.pick(&["20", "50", "99.5", "100"])).to_owned();
                Randomized::Replaced { percent, by }
            }
        })
    }

    /// An expression of the type.
    fn custom(&mut self, data_type: &DataType, here: Option<&'a DataSource>) -> Predicate {
        let masked = || Predicate::User(UserCall::MaskedColumn.into());
        let call = |function, args| Predicate::Call { function, args };
        let int = |n| Predicate::Literal(Value::Int(n));
        let class = data_type.class();
        if let Some(source) = here
            && self.dice.chance(40)
        {
            self.asks = false;
            let condition = self.predicate(&Frame { source, qualifier: None }, 0);
            self.asks = true;
            let other = self.dice.pick(&[constant(class), Value::Null]).clone();
            let (yes, no) = (masked(), Predicate::Literal(other));
            let (yes, no) = if self.dice.chance(50) { (yes, no) } else { (no, yes) };
            return call(Function::If, vec![condition, yes, no]);
        }
        match (class, self.dice.below(5)) {
            (_, 0) => call(Function::Coalesce, vec![masked(), Predicate::Literal(constant(class))]),
            (TypeClass::Text, 1) => {
                let first = i64::try_from(self.dice.below(5)).unwrap();
                call(Function::Concat, vec![call(Function::Left, vec![masked(), int(first)]), text("…")])
            }
            (TypeClass::Text, 2) => call(Function::Right, vec![masked(), int(2)]),
            (TypeClass::Text, 3) => call(Function::Trim, vec![call(Function::Upper, vec![masked()])]),
            (TypeClass::Text, _) => call(Function::Concat, vec![text("<"), masked(), text(">")]),
            (TypeClass::Number, 1 | 2) => {
                let whole = matches!(data_type, DataType::Int32 | DataType::Int64);
                let step = if whole { int(10) } else { Predicate::Literal(Value::Number("0.25".to_owned())) };
                call(Function::RoundDown, vec![masked(), step])
            }
            (TypeClass::Date | TypeClass::Timestamp, 1 | 2) => call(Function::RoundDown, vec![masked(), text("month")]),
            (TypeClass::Boolean, 1) => Predicate::Not(Box::new(masked())),
            (TypeClass::Boolean, _) => Predicate::IsNull { value: Box::new(masked()), negated: self.dice.chance(50) },
            _ => masked(),
        }
    }

    fn regex(&mut self) -> Method {
        let pattern = *self.dice.pick(&["[0-9]", "^.", "a|e", "HIDDEN_[0-9a-f]+", "'", ".+", "\\d\\d", "^$"]);
        Method::Regex {
            pattern: pattern.to_owned(),
            replacement: (*self.dice.pick(&["#", "", "xx", "***"])).to_owned(),
            case_insensitive: self.dice.chance(30),
            global: self.dice.chance(50),
        }
    }

    /// One to three rules; only the last may be for everyone.
    fn rules(&mut self, mut action: impl FnMut(&mut Self) -> Action) -> Vec<Rule> {
        let count = *self.dice.pick(&[1, 1, 1, 2, 2, 3]);
        let mut rules = Vec::new();
        for i in 1..=count {
            let scope = if i < count {
                Scope::Who(self.condition(2))
            } else {
                match self.dice.below(10) {
                    0..=4 => Scope::Everyone,
                    5..=7 => Scope::EveryoneExcept(self.condition(2)),
                    _ => Scope::Who(self.condition(2)),
                }
            };
            // A second rule for the same people is never reached.
            if rules.iter().all(|rule: &Rule| rule.scope != scope) {
                rules.push(Rule { action: action(self), scope });
            }
        }
        rules
    }

    fn condition(&mut self, depth: usize) -> Condition {
        if depth == 0 || self.dice.chance(60) {
            return Condition::Test(self.test());
        }
        let any = self.dice.chance(50);
        let mut list = Vec::new();
        for _ in 0..self.dice.between(2, 3) {
            // Never directly one of its own kind.
            match self.condition(depth - 1) {
                Condition::Any(inner) if any => list.extend(inner),
                Condition::All(inner) if !any => list.extend(inner),
                other => list.push(other),
            }
        }
        let mut distinct: Vec<Condition> = Vec::new();
        for condition in list {
            if !distinct.contains(&condition) {
                distinct.push(condition);
            }
        }
        match (distinct.len(), any) {
            (1, _) => distinct.remove(0),
            (_, true) => Condition::Any(distinct),
            (_, false) => Condition::All(distinct),
        }
    }

    fn test(&mut self) -> Test {
        match self.dice.below(20) {
            0..=8 => Test::MemberOf(self.held_group().into()),
            9..=13 => {
                let (key, value) = self.held_value();
                Test::HasAttribute { key: key.into(), value }
            }
            14 | 15 if !self.facts.projects.is_empty() => Test::UnderPurpose(self.purpose().into()),
            16 | 17 => Test::Permitted(*self.dice.pick(&Permission::ALL)),
            _ => Test::Owner,
        }
    }

    /// A value of an attribute that somebody has, or the pattern of those beside it.
    pub(super) fn held_value(&mut self) -> (AttributeKey, String) {
        let held = self.facts.principals.iter().flat_map(|p| &p.attributes);
        let held: Vec<_> = held.flat_map(|(key, values)| values.iter().map(move |value| (key, value))).collect();
        let (key, value) = *self.dice.pick(&held);
        let value = match value.rsplit_once('.') {
            Some((above, _)) if self.dice.chance(70) => format!("{above}.*"),
            _ => value.clone(),
        };
        (key.clone(), value)
    }

    /// Circumstances that hold for the source, and maybe for others.
    fn circumstances(&mut self, source: &DataSource) -> Circumstances {
        let mut list = Vec::new();
        if let Some(tag) = source.tags.first() {
            list.push(Circumstance::SourceTagged(tag.clone().into()));
        }
        let places: Vec<&Column> = source.places().collect();
        let column = *self.dice.pick(&places);
        if let Some(tag) = column.tags.first() {
            list.push(Circumstance::ColumnTagged(tag.clone().into()));
        }
        let pattern = format!("{}$", regex::escape(column.name.as_str()));
        list.push(Circumstance::ColumnNamedLike { pattern: pattern.into(), case_insensitive: self.dice.chance(30) });
        if self.dice.chance(30) {
            list.push(Circumstance::InSchema(source.name.schema().to_owned().into()));
        }
        if self.dice.chance(30) {
            let tagged = !source.tags.is_empty() || source.places().any(|c| !c.tags.is_empty());
            list.push(if tagged { Circumstance::AnyTag } else { Circumstance::NoTags });
        }
        let owners: Vec<_> = self.facts.principals.iter().filter(|p| source.owners.contains(&p.id)).collect();
        if !owners.is_empty() && self.dice.chance(50) {
            let owner = *self.dice.pick(&owners);
            list.push(Circumstance::OwnedBy(match owner.groups.first() {
                Some(group) if self.dice.chance(50) => PrincipalSet::Group(group.clone()),
                _ => PrincipalSet::User(owner.id.clone()),
            }));
        }
        if self.dice.chance(20) {
            list.push(Circumstance::ChosenByOwner);
        }
        match self.dice.below(4) {
            0 => Circumstances::AllSources,
            1 | 2 => Circumstances::Any(self.dice.some(&list, 30)),
            // All of one thing is written like any of it.
            _ if list.len() > 1 => Circumstances::All(list),
            _ => Circumstances::Any(list),
        }
    }
}

fn named(source: &DataSource) -> Circumstances {
    Circumstances::Named(vec![source.name.clone().into()])
}

/// A value that no generated column has.
fn constant(class: TypeClass) -> Value {
    match class {
        TypeClass::Boolean => Value::Boolean(false),
        TypeClass::Number => Value::Int(42),
        TypeClass::Text => Value::Text("it's masked".to_owned()),
        TypeClass::Date => Value::Date(7),
        TypeClass::Timestamp => Value::Timestamp(7_000_000),
        TypeClass::Binary | TypeClass::Time | TypeClass::Nested => Value::Null,
    }
}
