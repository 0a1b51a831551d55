//! Puts people together to whom the same happens.

use std::collections::BTreeMap;

use weir_model::{ColumnId, ColumnName, DataSource, SourceId};

use super::{AccessChange, ColumnChange, ColumnChangeKind, MaskedAs, RowChange, Seen, SourceChange, Who};
use crate::decision::{AppliedMask, DenyReason, Obligations, SourceDecision};
use crate::explain::{mask_text, residual_text};
use crate::expr::Residual;
use crate::snapshot::Snapshot;

pub(super) struct Gathering<'a> {
    before: &'a Snapshot,
    after: &'a Snapshot,
    sources: Vec<(SourceId, Gathered)>,
}

/// Groups by what tells them apart. Texts are no key: long lists are cut in them.
#[derive(Default)]
struct Gathered {
    gained: BTreeMap<String, AccessChange>,
    lost: BTreeMap<String, AccessChange>,
    /// By position of the column too.
    columns: BTreeMap<(usize, String), ColumnChange>,
    rows: BTreeMap<String, RowChange>,
}

impl<'a> Gathering<'a> {
    pub(super) fn new(before: &'a Snapshot, after: &'a Snapshot, sources: &[SourceId]) -> Self {
        Self { before, after, sources: sources.iter().map(|id| (*id, Gathered::default())).collect() }
    }

    /// What two decisions on the source at that place say of somebody.
    pub(super) fn add(&mut self, place: usize, who: &Who, old: &SourceDecision, new: &SourceDecision) {
        let Some((id, gathered)) = self.sources.get_mut(place) else { return };
        let id = *id;
        match (seen(old), seen(new)) {
            (Err(_), Err(_)) => {}
            (Err(why), Ok(sees)) => access(&mut gathered.gained, self.after, id, who, why, sees),
            (Ok(sees), Err(why)) => access(&mut gathered.lost, self.before, id, who, why, sees),
            (Ok(old), Ok(new)) => {
                let sides = [(self.before, old), (self.after, new)];
                rows(&mut gathered.rows, sides, id, who);
                columns(&mut gathered.columns, sides, id, who);
            }
        }
    }

    pub(super) fn finish(self) -> Vec<SourceChange> {
        let (before, after) = (self.before, self.after);
        let done = self.sources.into_iter().filter_map(|(id, gathered)| {
            let Gathered { gained, lost, columns, rows } = gathered;
            if gained.is_empty() && lost.is_empty() && columns.is_empty() && rows.is_empty() {
                return None;
            }
            let source = after.source(id).or_else(|| before.source(id))?.name.clone();
            let mut change = SourceChange {
                source,
                gained: gained.into_values().collect(),
                lost: lost.into_values().collect(),
                columns: together(columns.into_values()),
                rows: rows.into_values().collect(),
            };
            // By whom it concerns, so that the order says nothing about how groups are told apart.
            change.gained.sort_by(|a, b| a.who.cmp(&b.who));
            change.lost.sort_by(|a, b| a.who.cmp(&b.who));
            change.rows.sort_by(|a, b| a.who.cmp(&b.who));
            Some(change)
        });
        done.collect()
    }
}

/// What is done to the source, if it may be read at all.
fn seen(decided: &SourceDecision) -> Result<Option<&Obligations>, &DenyReason> {
    match decided {
        SourceDecision::Deny(why, _) => Err(why),
        SourceDecision::Clear(_) => Ok(None),
        SourceDecision::Obliged(obligations, _) => Ok(Some(obligations)),
    }
}

fn filter(obligations: Option<&Obligations>) -> Option<Residual> {
    obligations.and_then(Obligations::row_filter)
}

fn mask(obligations: Option<&Obligations>, column: ColumnId) -> Option<&AppliedMask> {
    obligations.and_then(|obligations| obligations.masks.get(&column)).map(|applied| &**applied)
}

fn access(
    groups: &mut BTreeMap<String, AccessChange>,
    snapshot: &Snapshot,
    id: SourceId,
    who: &Who,
    why: &DenyReason,
    sees: Option<&Obligations>,
) {
    let masks = sees.map(|sees| sees.masks.iter().map(|(id, mask)| (id, Bare(mask))).collect::<Vec<_>>());
    let key = format!("{why:?} {:?} {masks:?}", filter(sees));
    if let Some(group) = groups.get_mut(&key) {
        return group.who.push(who.clone());
    }
    let Some(source) = snapshot.source(id) else { return };
    let only_where = filter(sees).map(|filter| residual_text(&filter, source, snapshot));
    let mut masked: Vec<MaskedAs> = Vec::new();
    for column in source.places() {
        let Some(mask) = mask(sees, column.id) else { continue };
        let shown = mask_text(mask, source, snapshot);
        match masked.iter_mut().find(|alike| alike.shown == shown) {
            Some(alike) => alike.columns.push(column.name.clone()),
            None => masked.push(MaskedAs { columns: vec![column.name.clone()], shown }),
        }
    }
    let sees = Seen { only_where, masked };
    groups.insert(key, AccessChange { who: vec![who.clone()], denied: why.to_string(), sees, count: None });
}

type Sides<'a> = [(&'a Snapshot, Option<&'a Obligations>); 2];

fn rows(groups: &mut BTreeMap<String, RowChange>, sides: Sides<'_>, id: SourceId, who: &Who) {
    let [(before, old), (after, new)] = sides.map(|(snapshot, sees)| (snapshot, filter(sees)));
    if old == new {
        return;
    }
    let key = format!("{old:?} {new:?}");
    if let Some(group) = groups.get_mut(&key) {
        return group.who.push(who.clone());
    }
    let text =
        |filter: Option<Residual>, snapshot: &Snapshot| Some(residual_text(&filter?, snapshot.source(id)?, snapshot));
    let (old, mut new) = (text(old, before), text(new, after));
    tell_apart(old.as_ref(), new.as_mut());
    groups.insert(key, RowChange { before: old, after: new, who: vec![who.clone()], count: None });
}

fn columns(groups: &mut BTreeMap<(usize, String), ColumnChange>, sides: Sides<'_>, id: SourceId, who: &Who) {
    let [(before, old), (after, new)] = sides;
    let Some(source) = after.source(id) else { return };
    for (position, column) in source.places().enumerate() {
        let (old, new) = (mask(old, column.id), mask(new, column.id));
        let kind = match (old, new) {
            (None, None) => continue,
            (Some(old), Some(new)) if Bare(old) == Bare(new) => continue,
            (Some(_), Some(_)) => ColumnChangeKind::MaskedOtherwise,
            (None, Some(_)) => ColumnChangeKind::Masked,
            (Some(_), None) => ColumnChangeKind::Cleared,
        };
        let key = (position, format!("{:?} {:?}", old.map(Bare), new.map(Bare)));
        if let Some(group) = groups.get_mut(&key) {
            group.who.push(who.clone());
            continue;
        }
        let text = |mask: Option<&AppliedMask>, snapshot: &Snapshot, source: Option<&DataSource>| match (mask, source) {
            (Some(mask), Some(source)) => mask_text(mask, source, snapshot),
            (None, _) | (_, None) => "clear".to_owned(),
        };
        let (old, mut new) = (text(old, before, before.source(id)), text(new, after, Some(source)));
        tell_apart(Some(&old), Some(&mut new));
        let columns = vec![column.name.clone()];
        groups.insert(key, ColumnChange { columns, kind, before: old, after: new, who: vec![who.clone()] });
    }
}

/// Texts of what differs are alike only where a long list is cut.
fn tell_apart(old: Option<&String>, new: Option<&mut String>) {
    if let (Some(old), Some(new)) = (old, new)
        && old == new
    {
        new.push_str(" (others than before)");
    }
}

/// Columns to which the same happens for the same people become one.
fn together(changes: impl Iterator<Item = ColumnChange>) -> Vec<ColumnChange> {
    let mut done: Vec<ColumnChange> = Vec::new();
    for change in changes {
        let alike = |other: &&mut ColumnChange| {
            (other.kind, &other.before, &other.after, &other.who)
                == (change.kind, &change.before, &change.after, &change.who)
        };
        let columns: &[ColumnName] = &change.columns;
        match done.iter_mut().find(alike) {
            Some(other) => other.columns.extend(columns.iter().cloned()),
            None => done.push(change),
        }
    }
    done
}

/// A mask, whichever policy it is of.
#[derive(Clone, Copy)]
struct Bare<'a>(&'a AppliedMask);

impl<'a> Bare<'a> {
    fn parts(self) -> (&'a crate::decision::Mask, Option<&'a Residual>, Option<Bare<'a>>) {
        let AppliedMask { mask, when, otherwise, policy: _, instead_of: _ } = self.0;
        (mask, when.as_ref(), otherwise.as_deref().map(Bare))
    }
}

impl PartialEq for Bare<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl std::fmt::Debug for Bare<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.parts().fmt(f)
    }
}
