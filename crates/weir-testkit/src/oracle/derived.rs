//! What a source has of the policies of those it was made from, row by row: a row of the derived source is taken for the
//! row of the parent that it was made from, as far as its values are copied.

use std::collections::BTreeSet;

use weir_model::{Column, ColumnId, DataSource, Lineage, Origin, SourceId};
use weir_policy::ast::{MaskAction, Method, RowCondition};
use weir_policy::{Facts, Snapshot, SourceDecision};

use super::bucket::by_profile;
use super::mask::method_for;
use super::people::Me;
use super::predicate::Scope;
use super::{Misfit, Oracle, View};
use crate::cell::{Cell, Row};

/// The way from a derived source to one that it was made from.
pub(super) struct Line<'a> {
    child: &'a DataSource,
    lineage: &'a Lineage,
    /// The parent, through the eyes of whoever asks.
    view: View<'a>,
    /// For each column of the parent the place of the child's column that has its value, where there is just one and
    /// its own value is known.
    known: Vec<Option<usize>>,
    /// To what the parent was made from.
    lines: Vec<Line<'a>>,
}

/// What is seen in the place of a value.
#[derive(Clone, PartialEq)]
pub(super) enum Veil {
    Null,
    By(Method),
    /// This, by a function of the row.
    Value(Cell),
}

impl Oracle<'_> {
    /// To all that the source was made from; `None` when it is closed because of one of them.
    pub(super) fn lines<'a>(&'a self, me: &Me<'a>, source: &'a DataSource) -> Option<Vec<Line<'a>>> {
        if !self.is_whole(source, &[source.id]) {
            return None;
        }
        self.lines_from(me, source, &vec![true; source.columns.len()], &[source.id])
    }

    /// Whether all that the source is said to come from is there, directly or not.
    fn is_whole(&self, child: &DataSource, below: &[SourceId]) -> bool {
        let Some(lineage) = &child.lineage else { return true };
        let mut from = lineage.columns.values().flat_map(Origin::from).chain(&lineage.conditions);
        let stray = from.any(|from| !lineage.parents.contains(&from.source));
        !stray
            && !lineage.parents.is_empty()
            && lineage.parents.iter().all(|id| {
                let parent = self.facts.sources.iter().find(|source| source.id == *id);
                parent.is_some_and(|parent| {
                    let lost = below.contains(id) || has_lost_columns(lineage, parent);
                    !lost && self.is_whole(parent, &[below, &[*id]].concat())
                })
            })
    }

    /// Whether she sees of the parent just what was seen of it when the rows were written. Which decisions are alike
    /// is the product's to say; that they show the same is tested.
    fn sees_alike(&self, lineage: &Lineage, parent: SourceId) -> bool {
        let Some(seen) = lineage.seen.get(&parent) else { return false };
        let snapshot = Snapshot::compile(self.facts.clone());
        let decided = snapshot.decide(self.principal, self.surroundings, &[parent]).sources;
        let alike = |decided: &SourceDecision| match decided {
            SourceDecision::Obliged(obligations, _) => obligations.fingerprint.0 == *seen,
            SourceDecision::Clear(_) | SourceDecision::Deny(..) => false,
        };
        decided.iter().all(|(_, decided)| alike(decided))
    }

    fn lines_from<'a>(
        &'a self,
        me: &Me<'a>,
        child: &'a DataSource,
        is_known: &[bool],
        below: &[SourceId],
    ) -> Option<Vec<Line<'a>>> {
        let Some(lineage) = &child.lineage else { return Some(Vec::new()) };
        let mut lines = Vec::new();
        // All that holds for her at the others is in the rows.
        for id in lineage.parents.iter().filter(|id| !self.sees_alike(lineage, **id)) {
            let parent = self.facts.sources.iter().find(|source| source.id == *id)?;
            let known: Vec<Option<usize>> = parent
                .columns
                .iter()
                .map(|column| {
                    let copies = child.columns.iter().enumerate();
                    let copies = copies.filter(|(_, own)| is_copy(own, lineage, parent.id, column));
                    let copies: Vec<usize> = copies.map(|(place, _)| place).collect();
                    match copies.as_slice() {
                        [only] if is_known[*only] => Some(*only),
                        _ => None,
                    }
                })
                .collect();
            let view = self.view_of(me.clone(), parent);
            if !view.is_open() {
                return None;
            }
            let is_known: Vec<bool> = known.iter().map(Option::is_some).collect();
            let lines_up = self.lines_from(me, parent, &is_known, &[below, &[*id]].concat())?;
            let line = Line { child, lineage, view, known, lines: lines_up };
            if !line.view.row_conditions().into_iter().all(|condition| line.can_tell_rows(condition)) {
                return None;
            }
            lines.push(line);
        }
        Some(lines)
    }
}

/// All that the source was made from, directly or not, as far as it is there.
pub fn above(facts: &Facts, source: SourceId) -> BTreeSet<SourceId> {
    let mut found = BTreeSet::new();
    let mut next = vec![source];
    while let Some(id) = next.pop() {
        let lineage = facts.sources.iter().find(|source| source.id == id).and_then(|source| source.lineage.as_ref());
        next.extend(lineage.iter().flat_map(|lineage| &lineage.parents).filter(|parent| found.insert(**parent)));
    }
    found
}

/// Whether a column is said to come from one that the parent has no more.
fn has_lost_columns(lineage: &Lineage, parent: &DataSource) -> bool {
    let from = lineage.columns.values().flat_map(Origin::from).chain(&lineage.conditions);
    let mut from = from.filter(|from| from.source == parent.id);
    from.any(|from| parent.columns.iter().all(|column| column.id != from.column))
}

fn is_copy(own: &Column, lineage: &Lineage, parent: SourceId, column: &Column) -> bool {
    let Some(Origin::Copied(from)) = lineage.columns.get(&own.id) else { return false };
    own.data_type == column.data_type && from.iter().any(|from| (from.source, from.column) == (parent, column.id))
}

impl<'a> Line<'a> {
    fn parent(&self) -> &'a DataSource {
        self.view.source
    }

    /// What the parent's columns had where the row comes from; NULL where nobody can tell.
    fn row_there(&self, row: &Row) -> Row {
        self.known.iter().map(|place| place.map_or(Cell::Null, |place| row[place].clone())).collect()
    }

    fn is_known(&self, place: ColumnId) -> bool {
        let parent = self.parent();
        let column = parent.part(place).map_or(place, |part| part.within);
        let at = parent.columns.iter().position(|c| c.id == column);
        at.is_some_and(|at| self.known[at].is_some())
    }

    fn can_tell_rows(&self, condition: &RowCondition) -> bool {
        self.view.read_by(condition).is_some_and(|read| read.into_iter().all(|place| self.is_known(place)))
    }

    /// Whether the parent shows the row that this one was made from, as do those above it.
    pub(super) fn shows(&self, row: &Row) -> Result<bool, Misfit> {
        let there = self.row_there(row);
        let mut shown = true;
        for condition in self.view.row_conditions() {
            shown &= self.view.shows_row(condition, &there)?;
        }
        for line in &self.lines {
            shown &= line.shows(&there)?;
        }
        Ok(shown)
    }

    /// What the parent, and those above it, put in the place of a value of the child's column or part.
    fn veils(&self, place: &Column, row: &Row) -> Result<Vec<Veil>, Misfit> {
        let part = self.child.part(place.id);
        let own = part.map_or(place.id, |part| part.within);
        let own = self.child.columns.iter().find(|column| column.id == own).ok_or(Misfit::Broken)?;
        let there = self.row_there(row);
        let mut veils = Vec::new();
        for column in &self.parent().columns {
            if is_copy(own, self.lineage, self.parent().id, column) {
                let theirs = match part {
                    None => column,
                    Some(part) => {
                        let mut parts = self.parent().parts.iter();
                        let found = parts.find(|theirs| theirs.within == column.id && theirs.path == part.path);
                        &found.ok_or(Misfit::Broken)?.column
                    }
                };
                veils.extend(self.veil(theirs, &there)?);
                for line in &self.lines {
                    veils.extend(line.veils(theirs, &there)?);
                }
            } else if part.is_none() && self.is_computed_from(own, column) && self.hides(column) {
                veils.push(Veil::Null);
            }
        }
        Ok(veils)
    }

    /// By its value, or because it is in a row that was picked by it.
    fn is_computed_from(&self, own: &Column, column: &Column) -> bool {
        let parent = self.parent().id;
        if self.lineage.conditions.iter().any(|from| (from.source, from.column) == (parent, column.id)) {
            return true;
        }
        match self.lineage.columns.get(&own.id).map(Origin::from) {
            None => true,
            Some(from) if from.is_empty() => true,
            Some(from) => from.iter().any(|from| (from.source, from.column) == (self.parent().id, column.id)),
        }
    }

    /// Whether anything of the parent's column is masked for her, in whatever rows.
    fn hides(&self, column: &Column) -> bool {
        let parts = self.parent().parts.iter().filter(|part| part.within == column.id).map(|part| &part.column);
        let mut places = std::iter::once(column).chain(parts);
        let masked = places.any(|place| !self.view.masks_of(place).is_empty());
        let above = |line: &Line<'_>| {
            let mut theirs = line.parent().columns.iter();
            theirs.any(|theirs| {
                let comes =
                    is_copy(column, line.lineage, line.parent().id, theirs) || line.is_computed_from(column, theirs);
                comes && line.hides(theirs)
            })
        };
        masked || self.lines.iter().any(above)
    }

    /// By the parent's own masks, on its column or part; `there` is the row of the parent.
    fn veil(&self, column: &Column, there: &Row) -> Result<Option<Veil>, Misfit> {
        let tells = |read: Option<BTreeSet<ColumnId>>| {
            read.is_some_and(|read| read.into_iter().all(|place| self.is_known(place)))
        };
        for mask in self.view.masks_of(column) {
            let method = method_for(mask, column);
            let counts = matches!(method, Method::KAnonymous(_));
            if counts || !mask.when.as_ref().is_none_or(|when| tells(self.view.read(when, None))) {
                return Ok(Some(Veil::Null));
            }
            if !self.view.holds(mask, there)? {
                continue;
            }
            return Ok(Some(match method {
                Method::Randomized(_) => Veil::Null,
                Method::Custom(expression) if !tells(self.view.read(expression, Some(column))) => Veil::Null,
                _ => self.view.veil_of(mask, column, there)?,
            }));
        }
        Ok(None)
    }
}

impl View<'_> {
    fn holds(&self, mask: &MaskAction, row: &Row) -> Result<bool, Misfit> {
        let mut holds = match &mask.when {
            Some(when) => self.value(when, &Scope::row(self.source, row))? == Cell::Boolean(true),
            None => true,
        };
        if let Method::KAnonymous(at_least) = mask.method.node {
            holds &= self.alike(&mask.columns, row) < at_least as usize;
        }
        Ok(holds)
    }

    fn veil_of(&self, mask: &MaskAction, column: &Column, row: &Row) -> Result<Veil, Misfit> {
        Ok(match method_for(mask, column) {
            Method::Null | Method::KAnonymous(_) => Veil::Null,
            Method::RoundByProfile => Veil::By(Method::Round(by_profile(column).ok_or(Misfit::Broken)?)),
            Method::Custom(expression) => {
                let value = self.value(expression, &Scope::masking(self.source, row, column))?;
                Veil::Value(value.coerced(&column.data_type).ok_or(Misfit::Broken)?)
            }
            other => Veil::By(other.clone()),
        })
    }

    /// Of the column or part in the row: by the first of its masks, the closest first, that holds for the row, and by
    /// what the source was made from. What is not the same for all is NULL.
    pub(super) fn all_veils(
        &self,
        lines: &[Line<'_>],
        column: &Column,
        masks: &[&MaskAction],
        row: &Row,
    ) -> Result<Option<Veil>, Misfit> {
        let mut veils = Vec::new();
        for mask in masks {
            if self.holds(mask, row)? {
                veils.push(self.veil_of(mask, column, row)?);
                break;
            }
        }
        for line in lines {
            veils.extend(line.veils(column, row)?);
        }
        let mut veils = veils.into_iter();
        let Some(first) = veils.next() else { return Ok(None) };
        Ok(Some(veils.fold(first, |veil, other| match (veil, other) {
            (Veil::By(one), Veil::By(other)) if one == other => Veil::By(one),
            _ => Veil::Null,
        })))
    }

    pub(super) fn veiled(
        &self,
        veil: &Option<Veil>,
        column: &Column,
        (original, positions): (&Cell, &[usize]),
        row: &Row,
    ) -> Result<Cell, Misfit> {
        match veil {
            None => Ok(original.clone()),
            Some(Veil::Null) => Ok(Cell::Null),
            Some(Veil::Value(value)) => Ok(value.clone()),
            Some(Veil::By(method)) => self.masked(method, column, (original, positions), row),
        }
    }
}
