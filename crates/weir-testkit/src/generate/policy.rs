//! Policies that fit the sources of a world.

use weir_model::{AttributeKey, Column, DataSource, DataType, GroupName, PolicyId, PolicyKey, TypeClass, Value};
use weir_policy::ast::{
    Action, Body, CalendarUnit, Cascade, Circumstance, Circumstances, Columns, Condition, MaskAction, Match,
    MatchColumn, Merge, Method, Policy, RoundTo, RowCondition, Rule, Scope, Statement, Subscribe, Subscribers, Test,
};
use weir_policy::check::check;
use weir_policy::{Facts, StoredPolicy};

use super::Sizes;
use super::predicate::Frame;
use crate::cell::Tables;
use crate::dice::Dice;
use crate::oracle::{Keys, applies, visible_copy};

/// Writes policies against facts that do not change meanwhile.
pub(super) struct Author<'a> {
    pub(super) dice: &'a mut Dice,
    pub(super) facts: &'a Facts,
    pub(super) tables: &'a Tables,
    pub(super) sizes: &'a Sizes,
    /// How many lookups have been named.
    pub(super) aliases: usize,
}

/// Adds policies to the facts.
pub(super) fn write(facts: &mut Facts, tables: &Tables, dice: &mut Dice, sizes: &Sizes) {
    let mut statements = Vec::new();
    let mut author = Author { dice: &mut *dice, facts, tables, sizes, aliases: 0 };
    for source in &author.facts.sources {
        statements.extend(author.subscriptions(source));
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
        // The product's own check has the last word on what may be saved.
        if check(&policy.policy, facts).iter().all(|found| !found.is_error()) {
            facts.policies.push(policy);
        }
    }
}

fn stored(number: usize, statement: Statement) -> StoredPolicy {
    let id = PolicyId(u32::try_from(number).unwrap());
    StoredPolicy {
        id,
        policy: Policy { key: PolicyKey::new(format!("p{id}")).unwrap(), title: None, staged: false, statement },
    }
}

impl<'a> Author<'a> {
    fn subscriptions(&mut self, source: &DataSource) -> Vec<Statement> {
        let count = *self.dice.pick(&[0, 1, 1, 1, 1, 2, 2]);
        let mut statements = Vec::new();
        for _ in 0..count {
            let who = match self.dice.below(10) {
                0 => Subscribers::Selected,
                1..=3 => Subscribers::When(self.condition(2)),
                _ => Subscribers::Anyone,
            };
            let merge = if self.dice.chance(30) { Merge::Require } else { Merge::Share };
            let on = if self.dice.chance(70) { named(source) } else { self.circumstances(source) };
            statements.push(Statement { body: Body::Subscribe(Subscribe { who, merge }), on });
        }
        statements
    }

    /// One that shows the first principal some rows and hides others, when a few tries find one.
    fn interesting_row_policy(&mut self, source: &'a DataSource) -> Option<Statement> {
        let all = self.tables[&source.id].len();
        let anyone = Body::Subscribe(Subscribe { who: Subscribers::Anyone, merge: Merge::Share });
        let mut last = None;
        for _ in 0..5 {
            let statement = self.row_policy(source);
            let open = stored(1, Statement { body: anyone.clone(), on: named(source) });
            let alone = Facts { policies: vec![open, stored(2, statement.clone())], ..self.facts.clone() };
            let keys = Keys::from([(source.id, [0; 32])]);
            let seen = visible_copy(&alone, self.tables, &keys, &self.facts.principals[0].id, source.id);
            last = Some(statement);
            if seen.is_some_and(|seen| !seen.is_empty() && seen.len() < all) {
                break;
            }
        }
        last
    }

    fn row_policy(&mut self, source: &'a DataSource) -> Statement {
        let matching = self.dice.chance(40).then(|| self.match_columns(source)).filter(|c| !c.is_empty());
        let rules = self.rules(|author| {
            let condition = match &matching {
                Some(columns) => {
                    RowCondition::Match { user: author.user_match(), column: author.dice.pick(columns).clone() }
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

    /// The columns, by name or by a tag that only one of them has, whose values can be a group's or an attribute's.
    fn match_columns(&self, source: &DataSource) -> Vec<MatchColumn> {
        let mut columns = Vec::new();
        let texts =
            source.columns.iter().filter(|c| matches!(c.data_type, DataType::Text | DataType::Int32 | DataType::Int64));
        for column in texts {
            columns.push(MatchColumn::Named(column.name.clone().into()));
            for tag in &column.tags {
                let count = source.columns.iter().flat_map(|c| &c.tags).filter(|t| tag.covers(t)).count();
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
        if self.dice.chance(50) { Match::Group } else { Match::Attribute(self.held_key().into()) }
    }

    fn mask_policy(&mut self, source: &'a DataSource) -> Option<Statement> {
        let columns = self.columns(source);
        let on = match &columns {
            Columns::Named(list) if list.len() > 1 => named(source),
            _ if self.dice.chance(60) => named(source),
            _ => self.circumstances(source),
        };
        // Whatever the policy masks anywhere must take the method.
        let masked: Vec<&Column> = self
            .facts
            .sources
            .iter()
            .filter(|s| applies(&on, s))
            .flat_map(|s| &s.columns)
            .filter(|c| speaks_of(&columns, c))
            .collect();
        if masked.is_empty() {
            return None;
        }
        let conditional = matches!(on, Circumstances::Named(_)) && self.dice.chance(30);
        let rules = self.rules(|author| {
            let when = conditional.then(|| author.predicate(&Frame { source, qualifier: None }, 1));
            Action::Mask(MaskAction { columns: columns.clone(), method: author.method(&masked).into(), when })
        });
        Some(Statement { body: Body::Data(Cascade { rules }), on })
    }

    fn columns(&mut self, source: &DataSource) -> Columns {
        let column = self.dice.pick(&source.columns);
        match self.dice.below(10) {
            0..=4 => Columns::Named(vec![column.name.clone().into()]),
            5 => {
                let alike: Vec<_> = source.columns.iter().filter(|c| c.data_type == column.data_type).collect();
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

    /// A mask that all the columns can take.
    fn method(&mut self, columns: &[&Column]) -> Method {
        let class = columns[0].data_type.class();
        if columns.iter().any(|c| c.data_type.class() != class) {
            return Method::Null;
        }
        match (self.dice.below(10), class) {
            (0, _) => Method::Null,
            (1 | 2, _) => Method::Constant(constant(class)),
            (3..=5, TypeClass::Text) => self.regex(),
            (_, TypeClass::Text) => Method::Hash,
            (_, TypeClass::Number) => {
                let whole = columns.iter().any(|c| matches!(c.data_type, DataType::Int32 | DataType::Int64));
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
        match self.dice.below(10) {
            0..=4 => Test::MemberOf(self.held_group().into()),
            5..=7 => {
                let held: Vec<_> = self.facts.principals.iter().flat_map(|p| &p.attributes).collect();
                let (key, values) = *self.dice.pick(&held);
                let value = values.first().cloned().unwrap_or_default();
                Test::HasAttribute { key: key.clone().into(), value }
            }
            _ => Test::Owner,
        }
    }

    /// Circumstances that hold for the source, and maybe for others.
    fn circumstances(&mut self, source: &DataSource) -> Circumstances {
        let mut list = Vec::new();
        if let Some(tag) = source.tags.first() {
            list.push(Circumstance::SourceTagged(tag.clone().into()));
        }
        let column = self.dice.pick(&source.columns);
        if let Some(tag) = column.tags.first() {
            list.push(Circumstance::ColumnTagged(tag.clone().into()));
        }
        let pattern = format!("{}$", regex::escape(column.name.as_str()));
        list.push(Circumstance::ColumnNamedLike { pattern: pattern.into(), case_insensitive: self.dice.chance(30) });
        match self.dice.below(3) {
            0 => Circumstances::AllSources,
            1 => Circumstances::Any(self.dice.some(&list, 50)),
            // All of one thing is written like any of it.
            _ if list.len() > 1 => Circumstances::All(list),
            _ => Circumstances::Any(list),
        }
    }
}

fn named(source: &DataSource) -> Circumstances {
    Circumstances::Named(vec![source.name.clone().into()])
}

fn speaks_of(columns: &Columns, column: &Column) -> bool {
    crate::oracle::closeness(columns, column).is_some()
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
