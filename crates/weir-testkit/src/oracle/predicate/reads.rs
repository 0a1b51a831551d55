//! Which columns of the governed source a condition speaks of, whatever comes of it.

use std::collections::BTreeSet;

use weir_model::{Column, ColumnId};
use weir_policy::ast::{LookupQuery, MatchColumn, Predicate, RowCondition, UserCall};

use super::{Scope, View};
use crate::cell::Row;

static NOTHING: Row = Row::new();

impl View<'_> {
    /// Columns and parts. `None` when it goes by the source as a whole.
    pub(crate) fn read_by(&self, condition: &RowCondition) -> Option<BTreeSet<ColumnId>> {
        let named = |is: &dyn Fn(&Column) -> bool| self.source.places().filter(|c| is(c)).map(|c| c.id).collect();
        match condition {
            RowCondition::Match { column: MatchColumn::Named(name), .. } => Some(named(&|c| c.name == name.node)),
            RowCondition::Match { column: MatchColumn::Tagged(tag), .. } => {
                Some(named(&|c| c.tags.iter().any(|t| tag.node.covers(t))))
            }
            RowCondition::Where(predicate) => self.read(predicate, None),
            RowCondition::Time(_) => Some(self.source.event_time.into_iter().collect()),
            RowCondition::Sample(_) => None,
        }
    }

    /// As [`Self::read_by`]; `masked` is what `@column` is.
    pub(crate) fn read(&self, predicate: &Predicate, masked: Option<&Column>) -> Option<BTreeSet<ColumnId>> {
        let mut found = BTreeSet::new();
        let scope = match masked {
            Some(column) => Scope::masking(self.source, &NOTHING, column),
            None => Scope::row(self.source, &NOTHING),
        };
        self.add_read(predicate, &scope, &mut found);
        Some(found)
    }

    fn add_read(&self, predicate: &Predicate, scope: &Scope<'_>, found: &mut BTreeSet<ColumnId>) {
        let mut add = |parts: &[&Predicate]| parts.iter().for_each(|part| self.add_read(part, scope, found));
        match predicate {
            Predicate::Literal(_) => {}
            Predicate::Column(column) => {
                let mut rows = scope.0.iter().enumerate().rev();
                let resolved = rows.find_map(|(depth, named)| Some((depth, named.find(&column.node)?.id)));
                if let Some((0, id)) = resolved {
                    found.insert(id);
                }
            }
            Predicate::Compare { left, right, .. } => add(&[left, right]),
            Predicate::Between { value, low, high, .. } => add(&[value, low, high]),
            Predicate::In { value, list, .. } => {
                add(&[value]);
                list.iter().for_each(|part| self.add_read(part, scope, found));
            }
            Predicate::InLookup { value, lookup, .. } => {
                add(&[value]);
                self.add_read_of_lookup(lookup, scope, found);
            }
            Predicate::Exists { lookup, .. } => self.add_read_of_lookup(lookup, scope, found),
            Predicate::Like { value, pattern, .. } => add(&[value, pattern]),
            Predicate::IsNull { value, .. } => add(&[value]),
            Predicate::And(parts) | Predicate::Or(parts) | Predicate::Call { args: parts, .. } => {
                parts.iter().for_each(|part| self.add_read(part, scope, found));
            }
            Predicate::Not(inner) => add(&[inner]),
            Predicate::User(call) => {
                let mut named = |is: &dyn Fn(&Column) -> bool| {
                    found.extend(self.source.places().filter(|c| is(c)).map(|c| c.id));
                };
                match &call.node {
                    UserCall::AttributeValuesContains(_, value, _)
                    | UserCall::GroupsContains(value, _)
                    | UserCall::PurposesContains(value, _)
                    | UserCall::InterpolatedComparison { value, .. } => self.add_read(value, scope, found),
                    UserCall::ColumnTagged(tag) => named(&|c| c.tags.iter().any(|t| tag.covers(t))),
                    UserCall::ColumnReference(name) => named(&|c| c.name == *name),
                    UserCall::MaskedColumn => named(&|c| scope.1 == Some(&c.name)),
                    UserCall::Username
                    | UserCall::Iam
                    | UserCall::IsInGroups(_)
                    | UserCall::HasAttribute(..)
                    | UserCall::IsUsingPurpose(_) => {}
                }
            }
        }
    }

    fn add_read_of_lookup(&self, lookup: &LookupQuery, scope: &Scope<'_>, found: &mut BTreeSet<ColumnId>) {
        let Some(source) = self.facts.sources.iter().find(|s| s.name == lookup.source.node) else { return };
        let inner = scope.within(source, lookup.alias.as_deref(), &NOTHING);
        lookup.key.iter().chain(&lookup.filter).for_each(|part| self.add_read(part, &inner, found));
    }
}
