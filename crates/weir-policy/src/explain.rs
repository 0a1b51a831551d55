//! A decision in plain words.

mod column;
mod render;
mod words;

use std::borrow::Cow;

use serde::Serialize;
use weir_model::{
    ColumnId, ColumnName, Epoch, PolicyKey, PrincipalId, ProjectName, SourceId, SourceName, Surroundings,
};

use crate::ast::{Body, Scope, Subscribe, Subscribers};
use crate::decision::{AppliedMask, DenyReason, SourceDecision};
use crate::expr::Residual;
use crate::lineage::Ancestor;
use crate::snapshot::{Admission, Entry, Governed, MaskedColumn, Reader, Rules, Snapshot};

pub(crate) use column::why_first;
pub use column::{ColumnExplanation, ColumnPolicy, Effect as ColumnEffect, explain_column};
pub(crate) use render::wrapped;
pub(crate) use words::mask_text;
pub use words::{obligations_text, residual_text};

/// What a principal sees of a source and why. `Display` gives it as text for a terminal. For governors and owners: it
/// names policies and their conditions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    pub epoch: Epoch,
    pub principal: PrincipalId,
    /// In which she acts, if in one.
    pub project: Option<ProjectName>,
    /// Absent when no such source is registered.
    pub source: Option<SourceName>,
    pub access: Access,
    /// Absent without access.
    pub rows: Option<RowsSeen>,
    /// Empty without access.
    pub columns: Vec<ColumnSeen>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Access {
    pub granted: bool,
    /// One or more sentences.
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RowsSeen {
    /// All of them must be true of a row. Empty: all rows are seen.
    pub only_where: Vec<Filter>,
    /// Row policies of the source that let the principal see all rows.
    pub not_filtered: Vec<Because>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Filter {
    /// As SQL writes it; long lists are cut.
    pub condition: String,
    pub because: Because,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ColumnSeen {
    pub name: ColumnName,
    #[serde(rename = "type")]
    pub data_type: String,
    /// `clear`, or how it is masked.
    pub shown: String,
    /// The policies that mask it. Empty: it is clear.
    pub masked: Vec<Because>,
    /// Policies that mask it for others.
    pub not_masked: Vec<Because>,
}

/// A policy, and why it takes the principal in or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Because {
    pub policy: PolicyKey,
    /// The data source for which it holds, when that is one that this one was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<SourceName>,
    pub why: String,
}

/// What `principal` sees of `source` in the surroundings: of each column, which rows, by which policy, and why.
pub fn explain(
    snapshot: &Snapshot,
    principal: &PrincipalId,
    surroundings: &Surroundings,
    source: SourceId,
) -> Explanation {
    let mut explanation = Explanation {
        epoch: snapshot.epoch(),
        principal: principal.clone(),
        project: surroundings.project.clone(),
        source: snapshot.source(source).map(|source| source.name.clone()),
        access: Access { granted: false, why: String::new() },
        rows: None,
        columns: Vec::new(),
    };
    let Some(governed) = snapshot.governed(source) else {
        explanation.access.why = "No such data source is registered.".to_owned();
        return explanation;
    };
    let reader = match snapshot.reader(principal, surroundings) {
        Ok(reader) => reader,
        Err(why) => {
            explanation.access.why = format!("{}.", words::capitalized(&why.to_string()));
            return explanation;
        }
    };
    let name = principal.to_string();
    let teller = Teller { snapshot, governed, reader, name, owner: governed.is_owner(&reader), from: None };
    explanation.access.why = match governed.outside(&reader) {
        Some(why) => format!("{}.", words::capitalized(&why.to_string())),
        None => teller.admission(),
    };
    match governed.decide(&reader) {
        SourceDecision::Deny(DenyReason::BrokenPolicy { policy, problem }, _) => {
            explanation.access.why = format!(
                "Policy `{policy}` cannot be applied: {problem}. The source is closed to those whom it concerns."
            );
        }
        SourceDecision::Deny(
            why @ (DenyReason::PurposeRequired { .. }
            | DenyReason::Parent { .. }
            | DenyReason::FilterNotCopied { .. }
            | DenyReason::BrokenLineage { .. }),
            _,
        ) => {
            explanation.access.why = format!("{} But {why}.", explanation.access.why);
        }
        SourceDecision::Deny(..) => {}
        decided @ (SourceDecision::Clear(_) | SourceDecision::Obliged(..)) => {
            explanation.access.granted = true;
            let ancestors = teller.ancestors();
            for there in ancestors.iter().filter_map(|ancestor| teller.at(ancestor)) {
                let told =
                    format!(" At `{}`, which it was made from: {}", there.governed.source().name, there.admission());
                explanation.access.why.push_str(&told);
            }
            explanation.rows = Some(teller.rows());
            explanation.columns = teller.columns(&decided);
        }
    }
    explanation
}

/// Tells of one person at one source.
struct Teller<'a> {
    snapshot: &'a Snapshot,
    governed: Governed<'a>,
    reader: Reader<'a>,
    /// Of who asks: in an equalized project the reader is nobody in particular.
    name: String,
    owner: bool,
    /// The source, when it is not asked for but what is asked for was made from it.
    from: Option<SourceName>,
}

impl<'a> Teller<'a> {
    /// Those whose policies hold here for her besides what is in the rows already.
    fn ancestors(&self) -> Cow<'a, [Ancestor]> {
        self.governed.ancestors_for(&self.reader).unwrap_or_default()
    }

    /// Of the same person at a source that this one was made from.
    fn at(&self, ancestor: &Ancestor) -> Option<Teller<'a>> {
        let governed = self.snapshot.governed(ancestor.id)?;
        let Self { snapshot, reader, name, .. } = self;
        let (owner, from) = (governed.is_owner(reader), Some(ancestor.name.clone()));
        Some(Teller { snapshot, governed, reader: *reader, name: name.clone(), owner, from })
    }

    fn admission(&self) -> String {
        let name = &self.name;
        match self.governed.admission(&self.reader, self.owner) {
            Admission::Owner => format!("{name} owns the data source."),
            Admission::Member(required) => {
                let told = required.iter().map(|entry| {
                    format!(" Policy `{}` is required and lets {} subscribe.", entry.policy.key, self.who(entry))
                });
                format!("{name} is a member of the project in whose workspace it is.{}", told.collect::<String>())
            }
            Admission::Selected => format!("{name} was selected for it, and no policy says who may subscribe."),
            Admission::Policies(entries) => {
                let told: Vec<String> = entries
                    .iter()
                    .map(|entry| format!("Policy `{}` lets {} subscribe.", entry.policy.key, self.who(entry)))
                    .collect();
                told.join(" ")
            }
            Admission::Refused(required) if !required.is_empty() => {
                let told: Vec<String> = required
                    .iter()
                    .map(|entry| {
                        format!(
                            "Policy `{}` is required and lets {} subscribe; {name} is not one.",
                            entry.policy.key,
                            self.who(entry)
                        )
                    })
                    .collect();
                told.join(" ")
            }
            Admission::Refused(_) if self.governed.bound.entries.is_empty() => {
                format!(
                    "No subscription policy holds for the source, and {name} neither owns it nor was selected for it."
                )
            }
            Admission::Refused(_) => {
                let shared = self.governed.bound.entries.iter();
                let told: Vec<String> = shared
                    .map(|entry| format!("policy `{}` lets {} subscribe", entry.policy.key, self.who(entry)))
                    .collect();
                format!("No subscription policy takes {name} in: {}.", told.join("; "))
            }
        }
    }

    fn who(&self, entry: &Entry) -> String {
        let policy = self.snapshot.policy(entry.policy.id).map(|stored| &stored.policy.statement.body);
        match policy {
            Some(Body::Subscribe(Subscribe { who: Subscribers::Anyone, .. })) => "anyone".to_owned(),
            Some(Body::Subscribe(Subscribe { who: Subscribers::When(condition), .. })) => {
                format!("users who {}", words::condition(condition))
            }
            Some(Body::Subscribe(Subscribe { who: Subscribers::Asking(_), .. })) => {
                "those whose request was approved".to_owned()
            }
            Some(Body::Subscribe(Subscribe { who: Subscribers::Selected, .. })) => {
                "individually selected users".to_owned()
            }
            Some(Body::Data(_)) | None => "nobody".to_owned(),
        }
    }

    fn rows(&self) -> RowsSeen {
        let mut seen = RowsSeen { only_where: Vec::new(), not_filtered: Vec::new() };
        self.filters(&mut seen, &|residual| residual_text(&residual, self.governed.source(), self.snapshot));
        for ancestor in self.ancestors().iter() {
            let Some(there) = self.at(ancestor) else { continue };
            there.filters(&mut seen, &|residual| match residual.renamed(&|place| ancestor.lens.single(place)) {
                Some(here) => residual_text(&here, self.governed.source(), self.snapshot),
                None => residual_text(&residual, there.governed.source(), self.snapshot),
            });
        }
        seen
    }

    fn filters(&self, seen: &mut RowsSeen, text: &dyn Fn(Residual) -> String) {
        for policy in &self.governed.bound.rows {
            let chosen = policy.chosen(&self.reader, self.owner);
            let because = self.because(policy, chosen.as_ref().map(|(rule, _)| *rule));
            let residual = chosen.and_then(|(_, rule)| rule.as_ref().ok()).and_then(|rule| rule.residual(&self.reader));
            match residual {
                Some(residual) => seen.only_where.push(Filter { condition: text(residual), because }),
                None => seen.not_filtered.push(because),
            }
        }
    }

    fn columns(&self, decided: &SourceDecision) -> Vec<ColumnSeen> {
        let masks = match decided {
            SourceDecision::Obliged(obligations, _) => Some(&obligations.masks),
            SourceDecision::Clear(_) | SourceDecision::Deny(..) => None,
        };
        let chosen = self.governed.chosen_masks(&self.reader, self.owner).unwrap_or_default();
        let own = self.governed.own_masks(&self.reader);
        let inherited = self.inherited();
        // What is inside of a column is told of where a policy speaks of it.
        let spoken_of = |id| {
            self.governed.bound.columns.iter().any(|masked| masked.column == id)
                || inherited.iter().any(|(column, _)| *column == id)
        };
        let source = self.governed.source();
        let columns = source.columns.iter().flat_map(|column| {
            let inside = source.parts.iter().filter(|part| part.within == column.id && spoken_of(part.column.id));
            std::iter::once(column).chain(inside.map(|part| &part.column))
        });
        columns
            .map(|column| {
                let applied = masks.and_then(|masks| masks.get(&column.id));
                let masked = self.governed.bound.columns.iter().find(|masked| masked.column == column.id);
                let mut maskers = own.get(&column.id).map(|own| self.maskers(own, &chosen)).unwrap_or_default();
                let inherited = inherited.iter().filter(|(masked, _)| *masked == column.id);
                maskers.extend(inherited.map(|(_, because)| because.clone()));
                ColumnSeen {
                    name: column.name.clone(),
                    data_type: column.data_type.to_string(),
                    shown: applied.map_or_else(|| "clear".to_owned(), |applied| self.shown(applied)),
                    masked: maskers,
                    not_masked: masked.map(|masked| self.excused(masked, &chosen)).unwrap_or_default(),
                }
            })
            .collect()
    }

    /// The policies of what the source was made from that mask columns here, and why.
    fn inherited(&self) -> Vec<(ColumnId, Because)> {
        let mut told = Vec::new();
        for ancestor in self.ancestors().iter() {
            let Some(there) = self.at(ancestor) else { continue };
            let chosen = there.governed.chosen_masks(&there.reader, there.owner).unwrap_or_default();
            let masks = there.governed.masks_through(&ancestor.lens, self.governed, &there.reader);
            for mask in masks.unwrap_or_default() {
                let Some(policy) = there.governed.bound.masks.get(mask.policy) else { continue };
                let mut because = there.because(policy, chosen.get(mask.policy).copied().flatten());
                if let Some(lost) = mask.lost {
                    because.why.push_str(&format!("; NULL here, for {lost}"));
                }
                told.push((mask.column, because));
            }
        }
        told
    }

    fn shown(&self, applied: &AppliedMask) -> String {
        mask_text(applied, self.governed.source(), self.snapshot)
    }

    /// The policies of the mask and of those behind it.
    fn maskers(&self, applied: &AppliedMask, chosen: &[Option<usize>]) -> Vec<Because> {
        let mut told = Vec::new();
        let mut next = Some(applied);
        while let Some(applied) = next {
            let at = self.governed.bound.masks.iter().position(|policy| policy.policy.id == applied.policy);
            if let Some((at, policy)) = at.and_then(|at| Some((at, self.governed.bound.masks.get(at)?))) {
                told.push(self.because(policy, chosen.get(at).copied().flatten()));
            }
            next = applied.otherwise.as_deref();
        }
        told
    }

    /// Policies that would mask the column, but not for this person.
    fn excused(&self, masked: &MaskedColumn, chosen: &[Option<usize>]) -> Vec<Because> {
        let mut policies: Vec<usize> = masked.candidates.iter().map(|candidate| candidate.policy).collect();
        policies.sort_unstable();
        policies.dedup();
        policies.retain(|policy| {
            let rule = chosen.get(*policy).copied().flatten();
            !masked.candidates.iter().any(|candidate| candidate.policy == *policy && Some(candidate.rule) == rule)
        });
        let policies = policies.into_iter().filter_map(|policy| Some((self.governed.bound.masks.get(policy)?, policy)));
        policies.map(|(policy, at)| self.because(policy, chosen.get(at).copied().flatten())).collect()
    }

    fn because<T>(&self, rules: &Rules<T>, chosen: Option<usize>) -> Because {
        let scopes: Vec<&Scope> =
            match self.snapshot.policy(rules.policy.id).map(|stored| &stored.policy.statement.body) {
                Some(Body::Data(cascade)) => cascade.rules.iter().map(|rule| &rule.scope).collect(),
                Some(Body::Subscribe(_)) | None => Vec::new(),
            };
        let why = words::scopes(&scopes, chosen, &self.name);
        Because { policy: rules.policy.name.clone(), from: self.from.clone(), why }
    }
}
