//! One decision on one source, as it is being made.
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever is no conjunction is one conjunct")]

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_model::ColumnId;

use super::fingerprint::Notes;
use super::governed::{Bound, Candidate, Governed, MaskedColumn, Part};
use super::person::{Answering, Reader};
use crate::decision::{AppliedMask, Effect, Factor, KeyScope, Obligations, SourceDecision};
use crate::expr::{Expr, Residual};

/// How many masks for some rows only may stand behind each other on one column.
const MASKS_BEHIND_MAX: usize = 32;

impl Governed<'_> {
    pub(crate) fn decide(self, reader: &Reader<'_>) -> SourceDecision {
        if self.source().view().is_some() {
            return self.decide_view(reader).unwrap_or_else(|denied| denied);
        }
        let owner = self.is_owner(reader);
        let most = self.bound.rows.len() + self.bound.columns.len();
        let admitted = self.admitted(reader, owner, most).and_then(|factors| {
            let mut notes = Notes::new(&self.bound.digest, 128 + 32 * most);
            let project = reader.project.map(|inside| &inside.project).filter(|project| project.masked_joins);
            let hash_key = match project {
                Some(project) => {
                    notes.text(project.name.as_str());
                    KeyScope::Project(project.name.clone())
                }
                None => {
                    notes.nothing();
                    KeyScope::Source(self.source().id)
                }
            };
            Deciding { governed: self, reader: *reader, owner, factors, notes }.obligations(hash_key)
        });
        admitted.unwrap_or_else(|denied| denied)
    }
}

impl Governed<'_> {
    /// What the source's own policies mask for the reader, whatever it was made from; nothing where they deny.
    pub(crate) fn own_masks(self, reader: &Reader<'_>) -> BTreeMap<ColumnId, Arc<AppliedMask>> {
        let (owner, notes) = (self.is_owner(reader), Notes::new(&self.bound.digest, 0));
        let mut deciding = Deciding { governed: self, reader: *reader, owner, factors: Vec::new(), notes };
        deciding.masks().unwrap_or_default()
    }

    /// Whether the decision is no denial, at less cost than the decision.
    pub(crate) fn is_open_to(self, reader: &Reader<'_>) -> bool {
        if self.bound.may_close || self.source().view().is_some() {
            !matches!(self.decide(reader), SourceDecision::Deny(..))
        } else {
            self.admitted(reader, self.is_owner(reader), 0).is_ok()
        }
    }
}

impl Bound {
    /// Whether a decision may find that a policy cannot be applied.
    pub(super) fn has_what_closes(&self) -> bool {
        let conditional = |candidate: &&Candidate| candidate.when.is_some();
        self.ancestors.is_some()
            || self.limits.iter().flat_map(|policy| &policy.bodies).any(Result::is_err)
            || self.rows.iter().flat_map(|policy| &policy.bodies).any(Result::is_err)
            || self.masks.iter().flat_map(|policy| &policy.bodies).any(Option::is_some)
            || self.columns.iter().any(|column| {
                column.candidates.iter().any(|candidate| candidate.applied.is_err())
                    || column.candidates.iter().filter(conditional).count() > MASKS_BEHIND_MAX
            })
    }
}

/// Every `Err` of its methods is a denial.
pub(super) struct Deciding<'a> {
    pub(super) governed: Governed<'a>,
    pub(super) reader: Reader<'a>,
    pub(super) owner: bool,
    pub(super) factors: Vec<Factor>,
    pub(super) notes: Notes,
}

impl Deciding<'_> {
    fn obligations(mut self, hash_key: KeyScope) -> Result<SourceDecision, SourceDecision> {
        let mut rows = self.rows()?;
        let mut masks = self.masks()?;
        if self.governed.bound.ancestors.is_some() {
            self.inherit(&mut rows, &mut masks)?;
        }
        if rows.is_empty() && masks.is_empty() {
            return Ok(SourceDecision::Clear(self.factors));
        }
        let (source, fingerprint) = (self.governed.source().id, self.notes.fingerprint());
        let obligations = Obligations { source, rows, masks, hash_key, fingerprint };
        Ok(SourceDecision::Obliged(Arc::new(obligations), self.factors))
    }

    fn residual(&mut self, part: &Part) -> Residual {
        part.for_person(&mut Answering { reader: self.reader, notes: &mut self.notes })
    }

    /// The conjuncts of every row policy.
    pub(super) fn rows(&mut self) -> Result<Vec<Arc<Residual>>, SourceDecision> {
        let governed = self.governed;
        let mut kept: Vec<Arc<Residual>> = Vec::with_capacity(governed.bound.rows.len());
        let mut nothing = false;
        for policy in &governed.bound.rows {
            let Some((_, rule)) = policy.chosen(&self.reader, self.owner) else { continue };
            let rule = rule.as_ref().map_err(|problem| policy.policy.closes(problem))?;
            self.notes.rule(&rule.digest);
            let before = kept.len();
            let mut never = false;
            for part in &rule.parts {
                match part {
                    Part::Fixed(residual) => kept.push(Arc::clone(residual)),
                    Part::Never => never = true,
                    Part::Open(_) => match self.residual(part) {
                        Expr::And(parts) => kept.extend(parts.into_iter().map(Arc::new)),
                        part if part.is_literal(true) => {}
                        part if part.is_literal(false) => never = true,
                        part => kept.push(Arc::new(part)),
                    },
                }
            }
            if never || kept.len() > before {
                self.factors.push(policy.policy.factor(Effect::RowFilter));
            }
            nothing |= never;
        }
        if nothing {
            kept = vec![Arc::new(Expr::truth(false))];
        }
        Ok(kept)
    }

    pub(super) fn masks(&mut self) -> Result<BTreeMap<ColumnId, Arc<AppliedMask>>, SourceDecision> {
        let governed = self.governed;
        let chosen = governed.chosen_masks(&self.reader, self.owner)?;
        let mut masks = Vec::with_capacity(governed.bound.columns.len());
        for column in &governed.bound.columns {
            if let Some(applied) = self.mask(column, &column.candidates, &chosen, 0)? {
                masks.push((column.column, applied));
            }
        }
        // Sorted and built as a whole, which is quicker than one after the other.
        Ok(masks.into_iter().collect())
    }

    /// The closest mask of the candidates; behind one for some rows only, the next closest for the others.
    fn mask(
        &mut self,
        column: &MaskedColumn,
        candidates: &[Candidate],
        chosen: &[Option<usize>],
        before: usize,
    ) -> Result<Option<Arc<AppliedMask>>, SourceDecision> {
        let governed = self.governed;
        let mut candidates = candidates.iter();
        while let Some(candidate) = candidates.next() {
            if chosen.get(candidate.policy).copied().flatten() != Some(candidate.rule) {
                continue;
            }
            let Some(policy) = governed.bound.masks.get(candidate.policy).map(|rules| &rules.policy) else { continue };
            let applied = candidate.applied.as_ref().map_err(|problem| policy.closes(problem))?;
            self.notes.rule(&candidate.digest);
            let when = match &candidate.when {
                None => None,
                Some(parts) => {
                    let parts = parts.iter().map(|part| self.residual(part)).collect();
                    match Expr::And(parts).folded() {
                        never if never.is_literal(false) => continue,
                        always if always.is_literal(true) => None,
                        when => Some(when),
                    }
                }
            };
            if before == MASKS_BEHIND_MAX {
                return Err(
                    policy.closes(&format!("more than {MASKS_BEHIND_MAX} masks for some rows only fall on one column"))
                );
            }
            let effect = Effect::Mask { column: column.name.clone(), fallback: applied.instead_of.is_some() };
            self.factors.push(policy.factor(effect));
            if when.is_none() {
                return Ok(Some(Arc::clone(applied)));
            }
            let otherwise = self.mask(column, candidates.as_slice(), chosen, before + 1)?;
            return Ok(Some(Arc::new(AppliedMask { when, otherwise, ..AppliedMask::clone(applied) })));
        }
        Ok(None)
    }
}
