//! What holds for a source because of what it was made from. Each source that it was made from, directly or not, is
//! decided on as if the reader asked for it, and what comes of it is put on the columns here.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever is no conjunction is one conjunct; other masks do not meet"
)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use weir_model::{Column, ColumnId, Lineage};

use super::deciding::Deciding;
use super::fingerprint::{Digest, Notes};
use super::governed::{Bound, Candidate, Governed, Part};
use super::person::{Answering, Reader};
use crate::decision::{AppliedMask, DenyReason, Effect, Factor, Mask, SourceDecision};
use crate::expr::{Expr, Reads, Residual};
use crate::lineage::{Ancestor, Lens, ancestors_but};

/// How many masks for some rows only may come of those that meet on one column. Beyond, it is NULL.
const MASKS_MEETING_MAX: usize = 256;

impl Bound {
    /// What the source was made from; nothing where that cannot be told.
    pub(crate) fn ancestors(&self) -> &[Ancestor] {
        match &self.ancestors {
            Some(Ok(ancestors)) => ancestors,
            Some(Err(_)) | None => &[],
        }
    }
}

/// A mask of an ancestor on a column or part of the source that was made from it.
pub(crate) struct InheritedMask {
    pub(crate) column: ColumnId,
    /// Which of [`Bound::masks`] there.
    pub(crate) policy: usize,
    pub(crate) applied: AppliedMask,
    /// Why it is NULL and not what the policy says.
    pub(crate) lost: Option<String>,
}

impl Deciding<'_> {
    /// Adds what holds at the ancestors. Whoever is not let in there is not let in here.
    pub(super) fn inherit(
        &mut self,
        rows: &mut Vec<Arc<Residual>>,
        masks: &mut BTreeMap<ColumnId, Arc<AppliedMask>>,
    ) -> Result<(), SourceDecision> {
        let governed = self.governed;
        let ancestors = governed.ancestors_for(&self.reader).map_err(broken)?;
        for ancestor in ancestors.iter() {
            let Some(there) = governed.snapshot.governed(ancestor.id) else {
                return Err(broken(format!("`{}` is gone", ancestor.name)));
            };
            rows.extend(self.inherited_rows(ancestor, there)?);
            for mask in there.masks_through(&ancestor.lens, governed, &self.reader)? {
                let named = there.bound.masks.get(mask.policy).map(|rules| &rules.policy);
                if let (Some(named), Some(column)) = (named, governed.source().place_by_id(mask.column)) {
                    let fallback = mask.applied.instead_of.is_some();
                    let effect = Effect::Mask { column: column.name.clone(), fallback };
                    self.factors.push(inherited(ancestor, named.factor(effect)));
                }
                let met = match masks.remove(&mask.column) {
                    Some(own) => both(&own, &mask.applied),
                    None => mask.applied,
                };
                masks.insert(mask.column, Arc::new(met));
            }
        }
        if rows.iter().any(|part| part.is_literal(false)) {
            *rows = vec![Arc::new(Expr::truth(false))];
        }
        Ok(())
    }

    /// Lets the reader in as the ancestor does, and gives the conjuncts of its row filter over the columns here.
    fn inherited_rows(
        &mut self,
        ancestor: &Ancestor,
        there: Governed<'_>,
    ) -> Result<Vec<Arc<Residual>>, SourceDecision> {
        let denied = |denied: SourceDecision| match denied {
            SourceDecision::Deny(because, factors) => {
                let parent = ancestor.name.clone();
                let factors = factors.into_iter().map(|factor| inherited(ancestor, factor)).collect();
                SourceDecision::Deny(DenyReason::Parent { parent, because: Box::new(because) }, factors)
            }
            // Nothing else is an error.
            SourceDecision::Clear(_) | SourceDecision::Obliged(..) => {
                broken(format!("what `{}` decides is not known", ancestor.name))
            }
        };
        let owner = there.is_owner(&self.reader);
        let factors = there.let_in(&self.reader, owner, 0).map_err(denied)?;
        let notes = Notes::new(&there.bound.digest, 128);
        let mut deciding = Deciding { governed: there, reader: self.reader, owner, factors, notes };
        let rows = deciding.rows().map_err(denied)?;
        self.factors.extend(deciding.factors.drain(..).map(|factor| inherited(ancestor, factor)));
        // What cannot be applied there closes this source too, also where it says nothing of the columns here.
        deciding.masks().map_err(denied)?;
        self.notes.elsewhere(deciding.notes);
        for policy in &there.bound.rows {
            let Some((_, Ok(rule))) = policy.chosen(&self.reader, owner) else { continue };
            if let Some(problem) = unreadable(&rule.reads, &ancestor.lens, there) {
                let (parent, key) = (ancestor.name.clone(), policy.policy.name.clone());
                let reason = DenyReason::FilterNotCopied { parent, policy: key, problem };
                return Err(SourceDecision::Deny(
                    reason,
                    vec![inherited(ancestor, policy.policy.factor(Effect::RowFilter))],
                ));
            }
        }
        let renamed = |part: &Arc<Residual>| part.renamed(&|place| ancestor.lens.single(place)).map(Arc::new);
        let rows: Option<Vec<_>> = rows.iter().map(renamed).collect();
        rows.ok_or_else(|| broken(format!("the row filter of `{}` reads what is not copied", ancestor.name)))
    }
}

impl<'a> Governed<'a> {
    /// What the source was made from, without what the reader sees just as it was seen when the rows were written: all
    /// that holds there for her is in the rows.
    pub(crate) fn ancestors_for(self, reader: &Reader<'_>) -> Result<Cow<'a, [Ancestor]>, String> {
        let all = match &self.bound.ancestors {
            None => return Ok(Cow::Borrowed(&[])),
            Some(Ok(ancestors)) => ancestors,
            Some(Err(problem)) => return Err(problem.clone()),
        };
        let find = |id| self.snapshot.source(id);
        let mut derived = all.iter().filter_map(|ancestor| find(ancestor.id)).chain([self.source()]);
        if derived.all(|source| source.lineage.as_ref().is_none_or(|lineage| lineage.seen.is_empty())) {
            return Ok(Cow::Borrowed(all));
        }
        let sees_alike = |lineage: &Lineage, parent| {
            let Some((seen, there)) = lineage.seen.get(&parent).zip(self.snapshot.governed(parent)) else {
                return false;
            };
            match there.decide(reader) {
                SourceDecision::Obliged(obligations, _) => obligations.fingerprint.0 == *seen,
                SourceDecision::Clear(_) | SourceDecision::Deny(..) => false,
            }
        };
        ancestors_but(self.source(), &find, &sees_alike).map(Cow::Owned)
    }
}

impl Governed<'_> {
    /// The masks here that are for the reader, where the columns that they mask are found in `derived`.
    pub(crate) fn masks_through(
        self,
        lens: &Lens,
        derived: Governed<'_>,
        reader: &Reader<'_>,
    ) -> Result<Vec<InheritedMask>, SourceDecision> {
        let chosen = self.chosen_masks(reader, self.is_owner(reader))?;
        let mut found = Vec::new();
        for masked in &self.bound.columns {
            let for_her =
                |candidate: &&Candidate| chosen.get(candidate.policy).copied().flatten() == Some(candidate.rule);
            let mine: Vec<&Candidate> = masked.candidates.iter().filter(for_her).collect();
            let Some(first) = mine.first() else { continue };
            for column in lens.computed(masked.column) {
                let name =
                    |governed: Governed<'_>, id| governed.source().place_by_id(id).map(|place| place.name.to_string());
                let (here, there) = (name(derived, column), name(self, masked.column));
                let lost = match (here, there) {
                    (Some(here), Some(there)) => format!("`{here}` is computed from `{there}`"),
                    _ => "it is computed".to_owned(),
                };
                let applied = self.applied(first, Mask::Null);
                found.extend(applied.map(|applied| InheritedMask {
                    column,
                    policy: first.policy,
                    applied,
                    lost: Some(lost),
                }));
            }
            if lens.copies(masked.column).next().is_some()
                && let Some((applied, lost)) = self.copied(&mine, lens, reader)?
            {
                found.extend(lens.copies(masked.column).map(|column| InheritedMask {
                    column,
                    policy: first.policy,
                    applied: applied.clone(),
                    lost: lost.clone(),
                }));
            }
        }
        Ok(found)
    }

    fn applied(self, candidate: &Candidate, mask: Mask) -> Option<AppliedMask> {
        let policy = self.bound.masks.get(candidate.policy)?.policy.id;
        Some(AppliedMask { mask, when: None, otherwise: None, policy, instead_of: None })
    }

    /// The masks of a copied column, the closest first, over the columns of the derived source, and what is lost of
    /// them. Nothing when they mask no row.
    fn copied(
        self,
        candidates: &[&Candidate],
        lens: &Lens,
        reader: &Reader<'_>,
    ) -> Result<Option<(AppliedMask, Option<String>)>, SourceDecision> {
        let to = |place| lens.single(place);
        let mut steps = Vec::new();
        let mut lost = None;
        for candidate in candidates {
            let Some(policy) = self.bound.masks.get(candidate.policy).map(|rules| &rules.policy) else { continue };
            let mask = candidate.mask().map_err(|problem| policy.closes(problem))?;
            let mut problem = unreadable(&candidate.reads, lens, self);
            let mut when = None;
            if let (Some(parts), None) = (&candidate.when, &problem) {
                let parts = parts.iter().map(|part| answered(part, reader)).collect();
                match Expr::And(parts).folded() {
                    never if never.is_literal(false) => continue,
                    always if always.is_literal(true) => {}
                    condition => match condition.renamed(&to) {
                        Some(condition) => when = Some(condition),
                        None => problem = Some("goes by what is not copied".to_owned()),
                    },
                }
            }
            let mask = match mask {
                // Drawn again, two values would tell more of the original than one.
                Mask::Randomized { .. } => {
                    problem.get_or_insert_with(|| "is drawn for rows of the original".to_owned());
                    Mask::Null
                }
                Mask::Computed(expression) => match expression.renamed(&to) {
                    Some(expression) => Mask::Computed(expression),
                    None => {
                        problem.get_or_insert_with(|| "reads what is not copied".to_owned());
                        Mask::Null
                    }
                },
                Mask::Hash
                | Mask::Null
                | Mask::Constant(_)
                | Mask::Round(_)
                | Mask::Regex { .. }
                | Mask::Reversible
                | Mask::FormatPreserving => mask.clone(),
            };
            let mask = if problem.is_some() { Mask::Null } else { mask };
            let fitted = candidate.applied.as_ref().ok().filter(|_| problem.is_none());
            let instead_of = fitted.and_then(|applied| applied.instead_of.clone());
            lost = lost.or(problem.map(|problem| format!("it {problem}")));
            let last = when.is_none();
            steps.push(AppliedMask { mask, when, otherwise: None, policy: policy.id, instead_of });
            if last {
                break;
            }
        }
        Ok(chained(steps).map(|applied| (applied, lost)))
    }
}

fn broken(problem: String) -> SourceDecision {
    SourceDecision::Deny(DenyReason::BrokenLineage { problem }, Vec::new())
}

fn inherited(ancestor: &Ancestor, factor: Factor) -> Factor {
    let effect = Effect::Inherited { from: ancestor.name.clone(), effect: Box::new(factor.effect) };
    Factor { effect, ..factor }
}

/// The part of a condition for the reader.
fn answered(part: &Part, reader: &Reader<'_>) -> Residual {
    let mut notes = Notes::new(&Digest::writer("noted elsewhere").finish(), 0);
    part.for_person(&mut Answering { reader: *reader, notes: &mut notes })
}

/// Why what a condition reads cannot be read through the lens, if so. By the condition as it is written, so that it is
/// the same for all whom its rule takes in.
fn unreadable(reads: &Reads, lens: &Lens, there: Governed<'_>) -> Option<String> {
    if reads.source {
        return Some(format!("goes by the rows of `{}` themselves", there.source().name));
    }
    let missing = reads.columns.iter().find(|column| lens.single(**column).is_none())?;
    let name = |column: &Column| format!("reads `{}`, of which there is not one copy", column.name);
    Some(there.source().place_by_id(*missing).map_or_else(|| "reads what is gone".to_owned(), name))
}

fn and(one: Option<Residual>, other: Option<Residual>) -> Option<Residual> {
    let (one, other) = match (one, other) {
        (None, filter) | (filter, None) => return filter,
        (Some(one), Some(other)) => (one, other),
    };
    if one.is_literal(false) || other.is_literal(false) {
        return Some(Expr::truth(false));
    }
    let mut parts = Vec::new();
    for part in [one, other] {
        match part {
            Expr::And(more) => parts.extend(more),
            part => parts.push(part),
        }
    }
    Some(Expr::And(parts))
}

/// Each for the rows that those before it leave.
fn chained(steps: Vec<AppliedMask>) -> Option<AppliedMask> {
    steps.into_iter().rev().fold(None, |behind, step| Some(AppliedMask { otherwise: behind.map(Arc::new), ..step }))
}

/// What is left of a value that is masked by one and by the other.
fn both(one: &AppliedMask, other: &AppliedMask) -> AppliedMask {
    let null = AppliedMask { mask: Mask::Null, when: None, otherwise: None, policy: one.policy, instead_of: None };
    let mut steps = Vec::new();
    for mine in steps_of(one) {
        for theirs in steps_of(other) {
            let (mask, by) = match (mine, theirs) {
                (Some(mine), Some(theirs)) => (met(&mine.mask, &theirs.mask), mine),
                (Some(only), None) | (None, Some(only)) => (only.mask.clone(), only),
                (None, None) => continue,
            };
            let instead_of = by.instead_of.clone().filter(|_| mask == by.mask);
            let condition = |step: Option<&AppliedMask>| step.and_then(|step| step.when.clone());
            let when = and(condition(mine), condition(theirs));
            if when.as_ref().is_some_and(|when| when.is_literal(false)) {
                continue;
            }
            if steps.len() == MASKS_MEETING_MAX {
                return null;
            }
            steps.push(AppliedMask { mask, when, otherwise: None, policy: by.policy, instead_of });
        }
    }
    let unconditional = steps.iter().position(|step| step.when.is_none());
    steps.truncate(unconditional.map_or(steps.len(), |last| last + 1));
    chained(steps).unwrap_or(null)
}

/// The steps of a chain, and at its end, when it leaves rows as they are, nothing.
fn steps_of(first: &AppliedMask) -> Vec<Option<&AppliedMask>> {
    let mut steps: Vec<_> =
        std::iter::successors(Some(first), |applied| applied.otherwise.as_deref()).map(Some).collect();
    if steps.last().is_some_and(|last| last.is_some_and(|last| last.when.is_some())) {
        steps.push(None);
    }
    steps
}

/// One of two masks hides what the other leaves only when they are the same.
fn met(one: &Mask, other: &Mask) -> Mask {
    match (one, other) {
        (Mask::Computed(_), _) | (_, Mask::Computed(_)) => Mask::Null,
        (one, other) if one == other => one.clone(),
        _ => Mask::Null,
    }
}
