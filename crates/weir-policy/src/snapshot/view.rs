//! Decisions on views. A view has no rows of its own: what is read of it is decided on at what its query names, for
//! each reader. Here it is decided only whether there is a view for her.

use std::collections::BTreeSet;

use weir_model::{DataSource, Origin, ParentColumn, SourceId};

use super::deciding::Deciding;
use super::fingerprint::Notes;
use super::governed::{Candidate, Governed};
use super::person::Reader;
use crate::decision::{DenyReason, Effect, Factor, SourceDecision};

/// What is decided of a source that a view names.
type Parent<'a> = (&'a DataSource, SourceDecision);

impl Governed<'_> {
    pub(super) fn decide_view(self, reader: &Reader<'_>) -> Result<SourceDecision, SourceDecision> {
        let owner = self.is_owner(reader);
        let mut factors = self.admitted(reader, owner, 0)?;
        let parents = self.parents(reader)?;
        if let Some(Err(problem)) = &self.bound.ancestors {
            return Err(SourceDecision::Deny(DenyReason::BrokenLineage { problem: problem.clone() }, Vec::new()));
        }
        // What policies that reach the view itself would have for her.
        let notes = Notes::new(&self.bound.digest, 0);
        let mut own = Deciding { governed: self, reader: *reader, owner, factors: Vec::new(), notes };
        own.rows()?;
        own.masks()?;
        match own.factors.iter().find(|factor| !self.is_met(reader, factor, &parents)) {
            None => {
                factors.append(&mut own.factors);
                Ok(SourceDecision::Clear(factors))
            }
            Some(unmet) => Err(self.closed_by(unmet)),
        }
    }

    /// The decisions on all that the view names and that is still there.
    fn parents(&self, reader: &Reader<'_>) -> Result<Vec<Parent<'_>>, SourceDecision> {
        let named: BTreeSet<SourceId> =
            self.source().lineage.iter().flat_map(|lineage| &lineage.parents).copied().collect();
        let mut parents = Vec::with_capacity(named.len());
        // A view that comes back to itself has no lineage that holds.
        let whole = !matches!(self.bound.ancestors, Some(Err(_)));
        for there in named.into_iter().filter_map(|id| self.snapshot.governed(id)) {
            let decided = if there.source().view().is_none() || whole {
                there.decide(reader)
            } else {
                there.admitted(reader, there.is_owner(reader), 0).map_or_else(|denied| denied, SourceDecision::Clear)
            };
            if let SourceDecision::Deny(because, factors) = decided {
                let parent = there.source().name.clone();
                return Err(SourceDecision::Deny(DenyReason::Parent { parent, because: Box::new(because) }, factors));
            }
            parents.push((&there.facts.source, decided));
        }
        Ok(parents)
    }

    /// Whether the policy holds below the view as well: for all rows that it may show, or for every original of the
    /// column, whichever of the masks there is the closest.
    fn is_met(&self, reader: &Reader<'_>, factor: &Factor, parents: &[Parent<'_>]) -> bool {
        match &factor.effect {
            Effect::RowFilter => {
                !parents.is_empty() && parents.iter().all(|(_, decided)| has(decided, factor, &Effect::RowFilter))
            }
            Effect::Mask { column, .. } => {
                let source = self.source();
                let own = source.column(column.as_str()).zip(source.lineage.as_ref());
                let Some(Origin::Copied(from)) = own.and_then(|(own, lineage)| lineage.columns.get(&own.id)) else {
                    return false;
                };
                let masked = |from: &ParentColumn| {
                    let parent = parents.iter().find(|(parent, _)| parent.id == from.source);
                    let column = parent.and_then(|(parent, _)| parent.column_by_id(from.column));
                    let masks = |decided: &SourceDecision, fallback| {
                        let name = column.map(|column| column.name.clone());
                        name.is_some_and(|column| has(decided, factor, &Effect::Mask { column, fallback }))
                    };
                    parent.is_some_and(|(_, decided)| {
                        masks(decided, false)
                            || masks(decided, true)
                            || self.is_masked_with(reader, factor, from, decided)
                    })
                };
                !from.is_empty() && from.iter().all(masked)
            }
            Effect::Subscribe | Effect::Purpose | Effect::Inherited { .. } => true,
        }
    }

    /// Whether the original is masked, and the policy is one of those of which the closest was taken.
    fn is_masked_with(
        &self,
        reader: &Reader<'_>,
        factor: &Factor,
        from: &ParentColumn,
        decided: &SourceDecision,
    ) -> bool {
        let SourceDecision::Obliged(obligations, _) = decided else { return false };
        let Some(there) = self.snapshot.governed(from.source) else { return false };
        let Ok(chosen) = there.chosen_masks(reader, there.is_owner(reader)) else { return false };
        let takes_part = |candidate: &Candidate| {
            let policy = there.bound.masks.get(candidate.policy).map(|rules| rules.policy.id);
            policy == factor.policy && chosen.get(candidate.policy).copied().flatten() == Some(candidate.rule)
        };
        let mut columns = there.bound.columns.iter().filter(|masked| masked.column == from.column);
        obligations.masks.contains_key(&from.column) && columns.any(|masked| masked.candidates.iter().any(takes_part))
    }

    fn closed_by(&self, factor: &Factor) -> SourceDecision {
        let named = factor.policy.and_then(|id| self.snapshot.policies.get(&id)).map(|policy| &policy.named);
        let problem = "it holds for a view, and not for what the view reads";
        match named {
            Some(policy) => policy.closes(problem),
            None => SourceDecision::Deny(DenyReason::BrokenLineage { problem: problem.to_owned() }, Vec::new()),
        }
    }
}

/// Whether the policy of the factor has the effect here, by itself or through a view or a source that was made from
/// others.
fn has(decided: &SourceDecision, factor: &Factor, effect: &Effect) -> bool {
    decided.factors().iter().any(|there| there.policy == factor.policy && there.effect == *effect)
}
