//! The naive second engine: it reads the policies as written and walks every one of them for every row and cell.
//! Slow on purpose, and written without a look at how the product compiles and runs policies; the two must agree.
//! Shared with the product are the ciphers and keyed hashes of `weir-mask`, which have published vectors of their own.

mod bucket;
mod derived;
pub(crate) mod mask;
mod people;
pub(crate) mod predicate;
mod time;

use std::cell::{OnceCell, RefCell};
use std::cmp::Reverse;
use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use weir_model::{Column, DataSource, PolicyId, PrincipalId, ProjectName, PurposeName, Secret, SourceId, Surroundings};
use weir_policy::ast::{
    Action, Body, Cascade, Circumstance, Circumstances, Columns, Condition, MaskAction, Method, Policy, RowCondition,
    Rule, Subscribers,
};
use weir_policy::{Facts, KeyScope, StoredPolicy};

use crate::cell::{Cell, Row, Tables};
use crate::nested;
use derived::Line;
pub use derived::above;
use mask::{Masking, method_for};
use people::Me;
use predicate::Scope;

/// The 256-bit root keys of sources and projects, each the first of its scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    pub sources: BTreeMap<SourceId, [u8; 32]>,
    pub projects: BTreeMap<ProjectName, [u8; 32]>,
}

/// The number of every key.
pub const KEY_ID: u32 = 1;

impl Keys {
    pub fn get(&self, scope: &KeyScope) -> Option<Secret> {
        let key = match scope {
            KeyScope::Source(source) => self.sources.get(source),
            KeyScope::Project(project) => self.projects.get(project),
        };
        key.map(|key| Secret::new(key.as_slice()))
    }
}

impl From<BTreeMap<SourceId, [u8; 32]>> for Keys {
    fn from(sources: BTreeMap<SourceId, [u8; 32]>) -> Self {
        Self { sources, projects: BTreeMap::new() }
    }
}

impl FromIterator<(SourceId, [u8; 32])> for Keys {
    fn from_iter<I: IntoIterator<Item = (SourceId, [u8; 32])>>(keys: I) -> Self {
        Self::from(BTreeMap::from_iter(keys))
    }
}

/// Why a policy cannot be carried out.
#[derive(Debug, PartialEq)]
pub(crate) enum Misfit {
    /// The source lacks a column that it speaks of.
    Absent,
    /// Anything else; the source is closed.
    Broken,
}

/// A world as one person in her surroundings asks about it.
#[derive(Clone, Copy)]
pub struct Oracle<'a> {
    pub facts: &'a Facts,
    pub tables: &'a Tables,
    pub keys: &'a Keys,
    pub principal: &'a PrincipalId,
    pub surroundings: &'a Surroundings,
}

impl Oracle<'_> {
    /// The rows of `source` that she sees, each with the values she sees; `None` when the source does not exist for her.
    pub fn visible_copy(&self, source: SourceId) -> Option<Vec<Row>> {
        Some(self.visible_rows(source)?.into_iter().map(|(_, row)| row).collect())
    }

    /// As [`Self::visible_copy`], each row with its place among the original rows.
    pub fn visible_rows(&self, source: SourceId) -> Option<Vec<(usize, Row)>> {
        let view = self.view(source)?;
        if !view.is_open() {
            return None;
        }
        let lines = self.lines(&view.me, view.source)?;
        view.copy(&lines).ok()
    }

    /// Whether the condition takes her in at the source; `None` where she sees nothing whatever policies say.
    pub fn meets(&self, condition: &Condition, source: SourceId) -> Option<bool> {
        Some(self.view(source)?.meets(condition))
    }

    /// Whether the condition takes her in at anything that the source was made from.
    pub fn meets_above(&self, condition: &Condition, source: SourceId) -> bool {
        let find = |id: &SourceId| self.facts.sources.iter().find(|s| s.id == *id);
        let above = derived::above(self.facts, source);
        let Some(me) = Me::new(self.facts, self.principal, self.surroundings) else { return false };
        above.iter().filter_map(find).any(|parent| self.view_of(me.clone(), parent).meets(condition))
    }

    /// Whether she writes tables in the schema.
    pub fn writes_in(&self, schema: &str) -> bool {
        let project = Me::new(self.facts, self.principal, self.surroundings).and_then(|me| me.project);
        project.is_some_and(|project| project.workspace.as_deref() == Some(schema))
    }

    /// The projects that she is a member of, and whether she may act there.
    pub fn projects(&self) -> BTreeMap<ProjectName, bool> {
        let mine = self.facts.projects.iter().filter(|project| project.members.contains(self.principal));
        let acts = |name: &ProjectName| {
            let there = Surroundings { project: Some(name.clone()), ..self.surroundings.clone() };
            Me::new(self.facts, self.principal, &there).is_some()
        };
        mine.map(|project| (project.name.clone(), acts(&project.name))).collect()
    }

    fn view(&self, source: SourceId) -> Option<View<'_>> {
        let me = Me::new(self.facts, self.principal, self.surroundings)?;
        let source = self.facts.sources.iter().find(|s| s.id == source)?;
        let away = match &source.workspace {
            Some(home) => me.project.is_none_or(|project| project.name != *home),
            None => me.project.is_some_and(|project| !project.sources.contains(&source.id)),
        };
        if away {
            return None;
        }
        Some(self.view_of(me, source))
    }

    /// Also of a source that is in no project of hers.
    fn view_of<'a>(&'a self, me: Me<'a>, source: &'a DataSource) -> View<'a> {
        let holds =
            |p: &&StoredPolicy| !p.policy.staged && !p.policy.template && reaches(self.facts, &p.policy, source);
        let policies = self.facts.policies.iter().filter(holds).collect();
        let masking = OnceCell::new();
        View { facts: self.facts, tables: self.tables, keys: self.keys, me, source, policies, masking }
    }
}

/// One source through somebody's eyes.
struct View<'a> {
    facts: &'a Facts,
    tables: &'a Tables,
    keys: &'a Keys,
    me: Me<'a>,
    source: &'a DataSource,
    /// Those with an effect on the source.
    policies: Vec<&'a StoredPolicy>,
    masking: OnceCell<Option<Masking>>,
}

impl<'a> View<'a> {
    /// Whether the source's own policies let her read it.
    fn is_open(&self) -> bool {
        self.is_subscribed() && self.has_purpose() && self.is_whole()
    }

    fn is_subscribed(&self) -> bool {
        if self.me.all(|person| self.source.owners.contains(person)) {
            return true;
        }
        let selected = || self.me.all(|person| self.facts.selected.contains(&(self.source.id, person.clone())));
        let approved = |policy: PolicyId| {
            self.me.all(|person| self.facts.approved.contains(&(policy, self.source.id, person.clone())))
        };
        let (mut any, mut required, mut shared) = (false, true, None);
        for stored in &self.policies {
            let Body::Subscribe(subscribe) = &stored.policy.statement.body else { continue };
            any = true;
            let holds = match &subscribe.who {
                Subscribers::Anyone => true,
                Subscribers::When(condition) => self.meets(condition),
                Subscribers::Asking(_) => approved(stored.id),
                Subscribers::Selected => selected(),
            };
            match subscribe.merge {
                weir_policy::ast::Merge::Require => required &= holds,
                weir_policy::ast::Merge::Share => shared = Some(shared.unwrap_or(false) || holds),
            }
        }
        if self.source.workspace.is_some() {
            return required;
        }
        if any { required && shared.unwrap_or(true) } else { selected() }
    }

    /// Whether she acts under a purpose of every limit that is for her.
    fn has_purpose(&self) -> bool {
        self.policies.iter().all(|stored| {
            let Body::Data(cascade) = &stored.policy.statement.body else { return true };
            match self.rule_for_me(cascade) {
                Some(Rule { action: Action::LimitToPurposes(list), .. }) => {
                    list.iter().any(|purpose| self.acts_under(&purpose.node))
                }
                _ => true,
            }
        })
    }

    fn acts_under(&self, purpose: &PurposeName) -> bool {
        let below = format!("{purpose}.");
        self.me.purposes().iter().any(|mine| mine == purpose.as_str() || mine.starts_with(&below))
    }

    /// Whether nothing that is for her lacks the row key, the event time or the profile that it needs.
    fn is_whole(&self) -> bool {
        let keyed = !self.source.row_key.is_empty()
            && self.source.row_key.iter().all(|id| self.source.columns.iter().any(|c| c.id == *id));
        let rows = |condition: &RowCondition| match condition {
            RowCondition::Sample(_) => keyed,
            RowCondition::Time(_) => self.event_time().is_ok(),
            RowCondition::Match { .. } | RowCondition::Where(_) => true,
        };
        let masks = |column: &Column| {
            for mask in self.masks_of(column) {
                let method = method_for(mask, column);
                if matches!(method, Method::Randomized(_)) && !keyed {
                    return false;
                }
                if *method == Method::RoundByProfile && bucket::by_profile(column).is_none() {
                    return false;
                }
                if mask.when.is_none() && !matches!(method, Method::KAnonymous(_)) {
                    break;
                }
            }
            true
        };
        self.row_conditions().into_iter().all(rows) && self.source.places().all(masks)
    }

    /// `lines` lead to what the source was made from.
    fn copy(&self, lines: &[Line<'_>]) -> Result<Vec<(usize, Row)>, Misfit> {
        let masks: Vec<_> = self.source.columns.iter().map(|column| (column, self.masks_of(column))).collect();
        let parts: Vec<_> = self.source.parts.iter().map(|part| (part, self.masks_of(&part.column))).collect();
        let conditions = self.row_conditions();
        let mut copy = Vec::new();
        for (place, row) in self.rows().iter().enumerate() {
            let mut shown = true;
            for condition in &conditions {
                shown &= self.shows_row(condition, row)?;
            }
            for line in lines {
                shown &= line.shows(row)?;
            }
            if shown {
                let cells = masks.iter().zip(row).map(|((column, masks), original)| {
                    let veil = self.all_veils(lines, column, masks, row)?;
                    let mut cell = self.veiled(&veil, column, (original, &[]), row)?;
                    // Outer ones come first.
                    for (part, masks) in parts.iter().filter(|(part, _)| part.within == column.id) {
                        let veil = self.all_veils(lines, &part.column, masks, row)?;
                        if veil.is_none() {
                            continue;
                        }
                        cell =
                            nested::change_at(&cell, &column.data_type, &part.path, &[], &mut |inside, positions| {
                                self.veiled(&veil, &part.column, (inside, positions), row)
                            })?;
                    }
                    Ok(cell)
                });
                copy.push((place, cells.collect::<Result<_, _>>()?));
            }
        }
        Ok(copy)
    }

    fn rows(&self) -> &'a [Row] {
        &self.tables[&self.source.id]
    }

    /// The keys of masks here: hashes in a project with masked joins have that of the project.
    fn masking(&self) -> Result<&Masking, Misfit> {
        let derive = || {
            let hash = match self.me.project.filter(|project| project.masked_joins) {
                Some(project) => KeyScope::Project(project.name.clone()),
                None => KeyScope::Source(self.source.id),
            };
            Masking::new(self.keys, self.source.id, &hash)
        };
        self.masking.get_or_init(derive).as_ref().ok_or(Misfit::Broken)
    }

    fn rule_for_me<'b>(&self, cascade: &'b Cascade) -> Option<&'b Rule> {
        cascade.rules.iter().find(|rule| self.takes_in(&rule.scope))
    }

    /// Whether the source lacks what the policy's row rules speak of, so that a policy that does not name its sources
    /// says nothing about it.
    fn is_passed_over(&self, policy: &Policy) -> bool {
        let Body::Data(cascade) = &policy.statement.body else { return false };
        let nulls = self.nulls();
        let absent = |rule: &Rule| match &rule.action {
            Action::ShowRows(condition) => self.shows_row(condition, &nulls) == Err(Misfit::Absent),
            Action::Mask(_) | Action::LimitToPurposes(_) => false,
        };
        !names_sources(policy) && cascade.rules.iter().any(absent)
    }

    fn nulls(&self) -> Row {
        self.source.columns.iter().map(|_| Cell::Null).collect()
    }

    /// The conditions on rows that are for her.
    fn row_conditions(&self) -> Vec<&'a RowCondition> {
        let mut conditions = Vec::new();
        for stored in &self.policies {
            let Body::Data(cascade) = &stored.policy.statement.body else { continue };
            if let Some(Rule { action: Action::ShowRows(condition), .. }) = self.rule_for_me(cascade)
                && !self.is_passed_over(&stored.policy)
            {
                conditions.push(condition);
            }
        }
        conditions
    }

    /// The masks of the column that are for her, the closest first.
    fn masks_of(&self, column: &Column) -> Vec<&'a MaskAction> {
        let mut masks: Vec<(Rank, &MaskAction)> = Vec::new();
        for stored in &self.policies {
            let Body::Data(cascade) = &stored.policy.statement.body else { continue };
            let Some(Rule { action: Action::Mask(mask), .. }) = self.rule_for_me(cascade) else { continue };
            // A condition on what the source lacks: the mask does nothing here.
            let nulls = self.nulls();
            let absent = mask
                .when
                .as_ref()
                .is_some_and(|when| self.value(when, &Scope::row(self.source, &nulls)) == Err(Misfit::Absent));
            if absent && !names_sources(&stored.policy) {
                continue;
            }
            if let Some(closeness) = closeness(&mask.columns, self.source, column) {
                let priority = Reverse(stored.policy.priority);
                masks.push((Rank { closeness: Reverse(closeness), priority, id: stored.id }, mask));
            }
        }
        masks.sort_by(|(left, _), (right, _)| left.cmp(right));
        masks.into_iter().map(|(_, mask)| mask).collect()
    }

    /// How many rows, seen or not, have the same values in these columns; NULL is a value.
    fn alike(&self, columns: &Columns, row: &Row) -> usize {
        let picked: Vec<&Column> =
            self.source.places().filter(|place| closeness(columns, self.source, place).is_some()).collect();
        let same = |other: &Row, id| nested::cell(self.source, other, id) == nested::cell(self.source, row, id);
        self.rows().iter().filter(|other| picked.iter().all(|column| same(other, column.id))).count()
    }
}

fn names_sources(policy: &Policy) -> bool {
    matches!(policy.statement.on, Circumstances::Named(_))
}

/// Of several masks the closer one wins, then that of higher priority, then the older one.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    closeness: Reverse<Closeness>,
    priority: Reverse<i32>,
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

/// How closely the columns of a mask speak of this column or part of the source; `None` when they do not.
pub(crate) fn closeness(columns: &Columns, source: &DataSource, column: &Column) -> Option<Closeness> {
    let is_part = source.part(column.id).is_some();
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
        // Whole columns, with what is in them.
        Columns::NoTags => (!is_part && column.tags.is_empty()).then_some(Closeness::Sweeping),
        Columns::All => (!is_part).then_some(Closeness::Sweeping),
    }
}

/// Whether the policy speaks of the source.
pub(crate) fn reaches(facts: &Facts, policy: &Policy, source: &DataSource) -> bool {
    let chosen = |source: &DataSource| facts.chosen.contains(&(policy.key.clone(), source.id));
    applies(facts, &policy.statement.on, source, chosen)
}

/// Whether a policy with these circumstances speaks of the source. `chosen` tells whether an owner chose it there.
pub(crate) fn applies(
    facts: &Facts,
    on: &Circumstances,
    source: &DataSource,
    chosen: impl Fn(&DataSource) -> bool,
) -> bool {
    let tagged = !source.tags.is_empty() || source.places().any(|c| !c.tags.is_empty());
    let one = |c: &Circumstance| match c {
        Circumstance::SourceTagged(tag) => source.tags.iter().any(|t| tag.node.covers(t)),
        Circumstance::ColumnTagged(tag) => source.places().flat_map(|c| &c.tags).any(|t| tag.node.covers(t)),
        Circumstance::ColumnNamedLike { pattern, case_insensitive } => {
            source.places().any(|c| found(&pattern.node, *case_insensitive, c.name.as_str()))
        }
        Circumstance::NoTags => !tagged,
        Circumstance::AnyTag => tagged,
        Circumstance::InSchema(schema) => source.name.to_string().split('.').next() == Some(schema.node.as_str()),
        Circumstance::OwnedBy(set) => {
            facts.principals.iter().any(|person| source.owners.contains(&person.id) && people::is_in(person, set))
        }
        Circumstance::ChosenByOwner => chosen(source),
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
