//! Why one column is shown to somebody as it is: every policy that masks it for anybody, and what came of it.

use std::fmt;

use serde::Serialize;
use weir_model::{
    Column, ColumnName, DataSource, Epoch, PolicyKey, PrincipalId, ProjectName, SourceId, SourceName, Surroundings,
};

use super::render::{because, wrapped};
use super::{Access, Because, Filter, explain, words};
use crate::ast::{Action, Body, Columns, Scope};
use crate::decision::AppliedMask;
use crate::snapshot::{Candidate, Governed, Snapshot};

/// What a principal sees in a column and why. `Display` gives it as text for a terminal. For governors and owners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ColumnExplanation {
    pub epoch: Epoch,
    pub principal: PrincipalId,
    /// In which she acts, if in one.
    pub project: Option<ProjectName>,
    pub source: SourceName,
    pub column: ColumnName,
    #[serde(rename = "type")]
    pub data_type: String,
    pub access: Access,
    /// `clear`, or how it is masked. Absent without access.
    pub shown: Option<String>,
    /// What must be true of the rows in which she sees it at all.
    pub only_where: Vec<Filter>,
    /// Those that mask the column for anybody, in the order in which they come. Empty without access.
    pub policies: Vec<ColumnPolicy>,
    /// Those of what the source was made from that mask it for the principal as well. What several leave is shown only
    /// where they are the same mask, and is NULL otherwise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inherited: Vec<Because>,
}

/// What one policy does to the column for the principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ColumnPolicy {
    pub policy: PolicyKey,
    /// Its mask: that of the rule for the principal, else that of the first rule with one.
    pub mask: String,
    /// How it picks the column, such as ``by tag `PII` ``.
    pub picks: String,
    pub priority: i32,
    /// Which of its rules is the one for the principal, counted from 1, and of how many. Absent: none.
    pub rule: Option<(usize, usize)>,
    pub effect: Effect,
    /// Why that rule is the one for the principal, or why none is.
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// In all rows, or in those that no policy before it masks.
    Masks,
    /// In the rows for which its condition is true.
    MasksWhere(String),
    /// Another policy comes first, and why.
    Behind { policy: PolicyKey, why: String },
    /// Its condition is true in no row that she could see.
    Never,
    /// The rule that is for her masks other columns.
    OtherColumns,
    /// It takes her out, or does not take her in.
    NotForHer,
}

/// What `principal` sees in the column, or in what is inside of one, and why. `None` when there is no such source or
/// column.
pub fn explain_column(
    snapshot: &Snapshot,
    principal: &PrincipalId,
    surroundings: &Surroundings,
    source: SourceId,
    column: &ColumnName,
) -> Option<ColumnExplanation> {
    let governed = snapshot.governed(source)?;
    let described = governed.source().place(column.as_str())?;
    let whole = explain(snapshot, principal, surroundings, source);
    let around = around(governed.source(), described).filter_map(|outer| {
        let outer = whole.columns.iter().find(|seen| seen.name == outer.name && !seen.masked.is_empty())?;
        Some(format!("; inside of `{}`: {}", outer.name, outer.shown))
    });
    let around: String = around.collect();
    // What is inside of a column, and no policy speaks of, is as it is.
    let clear = whole.access.granted.then(|| "clear".to_owned());
    let seen = whole.columns.iter().find(|seen| seen.name == *column);
    let mut explanation = ColumnExplanation {
        epoch: whole.epoch,
        principal: whole.principal,
        project: whole.project,
        source: governed.source().name.clone(),
        column: column.clone(),
        data_type: described.data_type.to_string(),
        access: whole.access,
        inherited: seen.iter().flat_map(|seen| &seen.masked).filter(|masked| masked.from.is_some()).cloned().collect(),
        shown: seen.map(|seen| seen.shown.clone()).or(clear).map(|shown| shown + &around),
        only_where: whole.rows.map(|rows| rows.only_where).unwrap_or_default(),
        policies: Vec::new(),
    };
    if explanation.shown.is_some()
        && let Ok(reader) = snapshot.reader(principal, surroundings)
        && let Ok(chosen) = governed.chosen_masks(&reader, governed.is_owner(&reader))
        && let Some(masked) = governed.bound.columns.iter().find(|masked| masked.column == described.id)
    {
        let own = governed.own_masks(&reader);
        let applied = own.get(&described.id).map(|applied| &**applied);
        let name = principal.to_string();
        let teller = Teller { snapshot, governed, chosen: &chosen, candidates: &masked.candidates, applied, name };
        explanation.policies = teller.policies();
    }
    Some(explanation)
}

/// The column that a part is in, and the parts around it, outer ones first.
fn around<'a>(source: &'a DataSource, place: &Column) -> impl Iterator<Item = &'a Column> {
    let part = source.part(place.id);
    let column = part.and_then(|part| source.column_by_id(part.within));
    let outer = source.parts.iter().filter(move |outer| {
        part.is_some_and(|part| {
            outer.within == part.within && outer.path.len() < part.path.len() && part.path.starts_with(&outer.path)
        })
    });
    column.into_iter().chain(outer.map(|outer| &outer.column))
}

struct Teller<'a> {
    snapshot: &'a Snapshot,
    governed: Governed<'a>,
    /// For each mask policy the rule that takes the principal in.
    chosen: &'a [Option<usize>],
    candidates: &'a [Candidate],
    applied: Option<&'a AppliedMask>,
    name: String,
}

impl Teller<'_> {
    fn rule(&self, candidate: &Candidate) -> Option<usize> {
        self.chosen.get(candidate.policy).copied().flatten()
    }

    fn policies(&self) -> Vec<ColumnPolicy> {
        let mut told: Vec<(usize, ColumnPolicy)> = Vec::new();
        for first in self.candidates {
            if told.iter().any(|(policy, _)| *policy == first.policy) {
                continue;
            }
            let of_policy = |candidate: &&Candidate| candidate.policy == first.policy;
            let mine = |candidate: &&Candidate| of_policy(candidate) && self.rule(candidate) == Some(candidate.rule);
            let candidate = self.candidates.iter().find(mine);
            told.extend(self.policy(first, candidate).map(|policy| (first.policy, policy)));
        }
        // Where the rule for her comes is where the policy comes.
        let place = |policy: usize| {
            let mine = |c: &Candidate| c.policy == policy && self.rule(c) == Some(c.rule);
            self.candidates.iter().position(mine).unwrap_or(usize::MAX)
        };
        told.sort_by_key(|(policy, _)| place(*policy));
        told.into_iter().map(|(_, policy)| policy).collect()
    }

    /// `candidate` is the one of the rule for the principal.
    fn policy(&self, first: &Candidate, candidate: Option<&Candidate>) -> Option<ColumnPolicy> {
        let rules = self.governed.bound.masks.get(first.policy)?;
        let shown = candidate.unwrap_or(first);
        let scopes: Vec<&Scope> =
            match self.snapshot.policy(rules.policy.id).map(|stored| &stored.policy.statement.body) {
                Some(Body::Data(cascade)) => cascade.rules.iter().map(|rule| &rule.scope).collect(),
                Some(Body::Subscribe(_)) | None => Vec::new(),
            };
        let rule = self.rule(first);
        let effect = match (rule, candidate) {
            (None, _) => Effect::NotForHer,
            (Some(_), None) => Effect::OtherColumns,
            (Some(_), Some(candidate)) => self.effect(candidate),
        };
        Some(ColumnPolicy {
            policy: rules.policy.name.clone(),
            mask: match &shown.applied {
                Ok(applied) => words::fitted(applied, self.governed.source(), self.snapshot),
                Err(problem) => format!("a mask that cannot be applied: {problem}"),
            },
            picks: picks(self.snapshot, self.governed, shown),
            priority: shown.priority,
            rule: rule.map(|rule| (rule + 1, scopes.len())),
            effect,
            why: words::scopes(&scopes, rule, &self.name),
        })
    }

    fn effect(&self, candidate: &Candidate) -> Effect {
        let Some(rules) = self.governed.bound.masks.get(candidate.policy) else { return Effect::Never };
        let mut next = self.applied;
        let mut last = None;
        while let Some(applied) = next {
            if applied.policy == rules.policy.id {
                return match &applied.when {
                    None => Effect::Masks,
                    Some(when) => Effect::MasksWhere(words::residual_text(when, self.governed.source(), self.snapshot)),
                };
            }
            last = Some(applied);
            next = applied.otherwise.as_deref();
        }
        let winner = last.filter(|applied| applied.when.is_none()).and_then(|applied| {
            let of = |c: &&Candidate| {
                self.rule(c) == Some(c.rule)
                    && self.governed.bound.masks.get(c.policy).is_some_and(|rules| rules.policy.id == applied.policy)
            };
            self.candidates.iter().find(of)
        });
        let place = |of: &Candidate| self.candidates.iter().position(|c| c.policy == of.policy && c.rule == of.rule);
        match winner {
            Some(winner) if place(winner) < place(candidate) => {
                let policy = self.governed.bound.masks.get(winner.policy).map(|rules| rules.policy.name.clone());
                match policy {
                    Some(policy) => {
                        let why = why_first(self.snapshot, self.governed, winner, candidate);
                        Effect::Behind { policy, why }
                    }
                    None => Effect::Never,
                }
            }
            Some(_) | None => Effect::Never,
        }
    }
}

/// How the rule of the candidate picks its column.
fn picks(snapshot: &Snapshot, governed: Governed<'_>, candidate: &Candidate) -> String {
    let stored = governed.bound.masks.get(candidate.policy).and_then(|rules| snapshot.policy(rules.policy.id));
    let action = match stored.map(|stored| &stored.policy.statement.body) {
        Some(Body::Data(cascade)) => cascade.rules.get(candidate.rule).map(|rule| &rule.action),
        Some(Body::Subscribe(_)) | None => None,
    };
    let columns = match action {
        Some(Action::Mask(action)) => Some(&action.columns),
        Some(Action::ShowRows(_) | Action::LimitToPurposes(_)) | None => None,
    };
    match columns {
        Some(Columns::Named(_)) => "by its name".to_owned(),
        Some(Columns::Tagged(tag)) => format!("by tag `{}`", tag.node),
        Some(Columns::NamedLike { pattern, .. }) => format!("by the pattern `{}` of its name", pattern.node),
        Some(Columns::AnyTag) => "as a column with a tag".to_owned(),
        Some(Columns::NoTags) => "as a column without tags".to_owned(),
        Some(Columns::All) => "as one of all columns".to_owned(),
        None => "in a way that is not known".to_owned(),
    }
}

/// Why `first` comes before `other` on a column, of which `other` is spoken as "the other".
pub(crate) fn why_first(snapshot: &Snapshot, governed: Governed<'_>, first: &Candidate, other: &Candidate) -> String {
    let (mine, theirs) = (picks(snapshot, governed, first), picks(snapshot, governed, other));
    if first.closeness != other.closeness {
        format!("it picks the column {mine}, which is closer than {theirs}")
    } else if first.priority != other.priority {
        format!("both are equally close, and its priority is {}, not {}", first.priority, other.priority)
    } else {
        format!("both are equally close ({mine}) and of equal priority, and it is older")
    }
}

impl fmt::Display for ColumnExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, principal, source, column, access, .. } = self;
        let within = self.project.as_ref().map_or_else(String::new, |project| format!(" in project {project}"));
        let Some(shown) = &self.shown else {
            writeln!(f, "{principal} may not read {source}{within} (epoch {epoch})")?;
            return wrapped(f, 2, &access.why);
        };
        wrapped(f, 0, &format!("{principal} sees {column} of {source}{within}: {shown} (epoch {epoch})"))?;
        wrapped(f, 2, &access.why)?;
        writeln!(f)?;
        if self.policies.is_empty() && self.inherited.is_empty() {
            writeln!(f, "No policy masks the column, for anybody.")?;
        }
        for (number, policy) in self.policies.iter().enumerate() {
            let ColumnPolicy { policy, mask, picks, priority, rule, effect, why } = policy;
            let priority = if *priority == 0 { String::new() } else { format!(", priority {priority}") };
            let rule = match rule {
                Some((at, of)) if *of > 1 => format!("rule {at} of {of}"),
                Some(_) | None => String::new(),
            };
            // The mask is that of another rule where hers masks other columns.
            let of = if rule.is_empty() || *effect == Effect::OtherColumns { "" } else { ", " };
            let here = if of.is_empty() { "" } else { rule.as_str() };
            wrapped(f, 0, &format!("{}. policy `{policy}`: {mask}, {picks}{priority}{of}{here}", number + 1))?;
            wrapped(f, 4, why)?;
            let effect = match effect {
                Effect::Masks if number > 0 && self.masks_before(number) => {
                    "it masks the rows that those before it leave".to_owned()
                }
                Effect::Masks => "it masks the column".to_owned(),
                Effect::MasksWhere(condition) => format!("it masks the rows where {condition}"),
                Effect::Behind { policy, why } => format!("it is not used, for policy `{policy}` comes first: {why}"),
                Effect::Never => "it is not used, for its condition is true in no row".to_owned(),
                Effect::OtherColumns => format!("it is not used, for that is {rule}, which masks other columns"),
                Effect::NotForHer => "it is not used".to_owned(),
            };
            wrapped(f, 4, &effect)?;
        }
        if !self.inherited.is_empty() {
            writeln!(f, "Inherited from what the data source was made from")?;
            self.inherited.iter().try_for_each(|inherited| because(f, 2, inherited))?;
        }
        if !self.only_where.is_empty() {
            writeln!(f, "\nOnly in rows for which all of this is true")?;
            for filter in &self.only_where {
                wrapped(f, 2, &filter.condition)?;
                because(f, 6, &filter.because)?;
            }
        }
        Ok(())
    }
}

impl ColumnExplanation {
    fn masks_before(&self, number: usize) -> bool {
        let before = self.policies.iter().take(number);
        before.map(|policy| &policy.effect).any(|effect| matches!(effect, Effect::MasksWhere(_)))
    }
}
