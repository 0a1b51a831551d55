//! The naive second engine: it reads the policies as written and walks every one of them for every row and cell.
//! Slow on purpose, and written without a look at how the product compiles and runs policies; the two must agree.

mod mask;
mod people;
mod predicate;

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use weir_model::{Column, DataSource, PolicyId, Principal, PrincipalId, SourceId};
use weir_policy::ast::{
    Action, Body, Cascade, Circumstance, Circumstances, Columns, MaskAction, Policy, Rule, Subscribers,
};
use weir_policy::{Facts, StoredPolicy};

use crate::cell::{Cell, Row, Tables};
use predicate::Scope;

/// The 256-bit key of the hash mask of each source.
pub type Keys = BTreeMap<SourceId, [u8; 32]>;

/// Why a policy cannot be carried out.
#[derive(Debug, PartialEq)]
enum Misfit {
    /// The source lacks a column that it speaks of.
    Absent,
    /// Anything else; the source is closed.
    Broken,
}

/// The rows of `source` that `principal` sees, each with the values she sees; `None` when the source does not exist
/// for her.
pub fn visible_copy(
    facts: &Facts,
    tables: &Tables,
    keys: &Keys,
    principal: &PrincipalId,
    source: SourceId,
) -> Option<Vec<Row>> {
    let seen = visible_rows(facts, tables, keys, principal, source)?;
    Some(seen.into_iter().map(|(_, row)| row).collect())
}

/// As [`visible_copy`], each row with its place among the original rows.
pub fn visible_rows(
    facts: &Facts,
    tables: &Tables,
    keys: &Keys,
    principal: &PrincipalId,
    source: SourceId,
) -> Option<Vec<(usize, Row)>> {
    let principal = facts.principals.iter().find(|p| p.id == *principal)?;
    let source = facts.sources.iter().find(|s| s.id == source)?;
    let policies =
        facts.policies.iter().filter(|p| !p.policy.staged && applies(&p.policy.statement.on, source)).collect();
    let oracle = Oracle { facts, tables, principal, source, policies };
    if !oracle.is_subscribed() {
        return None;
    }
    oracle.copy(keys.get(&source.id)?).ok()
}

struct Oracle<'a> {
    facts: &'a Facts,
    tables: &'a Tables,
    principal: &'a Principal,
    source: &'a DataSource,
    /// Those with an effect on the source.
    policies: Vec<&'a StoredPolicy>,
}

impl Oracle<'_> {
    fn is_subscribed(&self) -> bool {
        if self.source.owners.contains(&self.principal.id) {
            return true;
        }
        let selected = self.facts.selected.contains(&(self.source.id, self.principal.id.clone()));
        let (mut any, mut required, mut shared) = (false, true, None);
        for stored in &self.policies {
            let Body::Subscribe(subscribe) = &stored.policy.statement.body else { continue };
            any = true;
            let holds = match &subscribe.who {
                Subscribers::Anyone => true,
                Subscribers::When(condition) => self.meets(condition),
                Subscribers::Selected => selected,
            };
            match subscribe.merge {
                weir_policy::ast::Merge::Require => required &= holds,
                weir_policy::ast::Merge::Share => shared = Some(shared.unwrap_or(false) || holds),
            }
        }
        if any { required && shared.unwrap_or(true) } else { selected }
    }

    fn copy(&self, key: &[u8; 32]) -> Result<Vec<(usize, Row)>, Misfit> {
        let mut copy = Vec::new();
        for (place, row) in self.tables[&self.source.id].iter().enumerate() {
            let mut shown = true;
            for stored in &self.policies {
                shown &= self.shows(&stored.policy, row)?;
            }
            if shown {
                let cells = self.source.columns.iter().map(|column| self.cell(column, row, key));
                copy.push((place, cells.collect::<Result<_, _>>()?));
            }
        }
        Ok(copy)
    }

    fn rule_for_me<'b>(&self, cascade: &'b Cascade) -> Option<&'b Rule> {
        cascade.rules.iter().find(|rule| self.takes_in(&rule.scope))
    }

    fn shows(&self, policy: &Policy, row: &Row) -> Result<bool, Misfit> {
        let Body::Data(cascade) = &policy.statement.body else { return Ok(true) };
        let conditions = || {
            cascade.rules.iter().filter_map(|rule| match &rule.action {
                Action::ShowRows(condition) => Some((rule, condition)),
                Action::Mask(_) => None,
            })
        };
        // A policy that does not name its sources passes over those that lack what it speaks of.
        let passes_over = !matches!(policy.statement.on, Circumstances::Named(_));
        if passes_over && conditions().any(|(_, condition)| self.shows_row(condition, row) == Err(Misfit::Absent)) {
            return Ok(true);
        }
        let mine = self.rule_for_me(cascade);
        match conditions().find(|(rule, _)| mine.is_some_and(|mine| std::ptr::eq(mine, *rule))) {
            Some((_, condition)) => self.shows_row(condition, row),
            None => Ok(true),
        }
    }

    /// The value of one column as she sees it: the first of its masks, the closest first, that holds for the row.
    fn cell(&self, column: &Column, row: &Row, key: &[u8; 32]) -> Result<Cell, Misfit> {
        let place = self.source.columns.iter().position(|c| c.id == column.id).expect("a column of the source");
        let mut masks: Vec<(Rank, &MaskAction)> = Vec::new();
        for stored in &self.policies {
            let Body::Data(cascade) = &stored.policy.statement.body else { continue };
            let Some(Rule { action: Action::Mask(mask), .. }) = self.rule_for_me(cascade) else { continue };
            if let Some(closeness) = closeness(&mask.columns, column) {
                masks.push((Rank { closeness: Reverse(closeness), id: stored.id }, mask));
            }
        }
        masks.sort_by(|(left, _), (right, _)| left.cmp(right));
        for (_, mask) in masks {
            let holds = match &mask.when {
                Some(when) => self.value(when, &Scope::row(self.source, row))? == Cell::Boolean(true),
                None => true,
            };
            if holds {
                return mask::masked(&mask.method.node, &row[place], &column.data_type, key);
            }
        }
        Ok(row[place].clone())
    }
}

/// Of several masks the closer one wins, then the older one.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    closeness: Reverse<Closeness>,
    id: PolicyId,
}

/// From far to close.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Closeness {
    Sweeping,
    NamedLike,
    Tagged { depth: usize },
    Named,
}

/// How closely the columns of a mask speak of this one; `None` when they do not.
pub(crate) fn closeness(columns: &Columns, column: &Column) -> Option<Closeness> {
    match columns {
        Columns::Named(names) => names.iter().any(|n| n.node == column.name).then_some(Closeness::Named),
        Columns::Tagged(tag) => {
            let tagged = column.tags.iter().any(|t| tag.node.covers(t));
            tagged.then(|| Closeness::Tagged { depth: tag.node.depth() })
        }
        Columns::NamedLike { pattern, case_insensitive } => {
            found(&pattern.node, *case_insensitive, column.name.as_str()).then_some(Closeness::NamedLike)
        }
        Columns::AnyTag => (!column.tags.is_empty()).then_some(Closeness::Sweeping),
        Columns::NoTags => column.tags.is_empty().then_some(Closeness::Sweeping),
        Columns::All => Some(Closeness::Sweeping),
    }
}

/// Whether a policy with these circumstances speaks of the source.
pub(crate) fn applies(on: &Circumstances, source: &DataSource) -> bool {
    let one = |c: &Circumstance| match c {
        Circumstance::SourceTagged(tag) => source.tags.iter().any(|t| tag.node.covers(t)),
        Circumstance::ColumnTagged(tag) => source.columns.iter().flat_map(|c| &c.tags).any(|t| tag.node.covers(t)),
        Circumstance::ColumnNamedLike { pattern, case_insensitive } => {
            source.columns.iter().any(|c| found(&pattern.node, *case_insensitive, c.name.as_str()))
        }
    };
    match on {
        Circumstances::AllSources => true,
        Circumstances::Named(names) => names.iter().any(|n| n.node == source.name),
        Circumstances::Any(list) => list.iter().any(one),
        Circumstances::All(list) => list.iter().all(one),
    }
}

fn found(pattern: &str, case_insensitive: bool, text: &str) -> bool {
    regex(pattern, case_insensitive).is_some_and(|r| r.is_match(text))
}

thread_local! {
    static COMPILED: RefCell<BTreeMap<(String, bool), Option<Regex>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Compiled once: nothing else here is as slow.
fn regex(pattern: &str, case_insensitive: bool) -> Option<Regex> {
    let compile = || RegexBuilder::new(pattern).case_insensitive(case_insensitive).build().ok();
    COMPILED.with_borrow_mut(|all| all.entry((pattern.to_owned(), case_insensitive)).or_insert_with(compile).clone())
}
