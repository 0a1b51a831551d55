//! What a snapshot answers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_model::{
    ColumnId, ColumnName, Epoch, PolicyId, PolicyKey, PrincipalId, ProjectName, PurposeName, SourceId, SourceName,
    Value,
};

use crate::ast::{Randomized, RoundTo};
use crate::expr::Residual;

/// The answer to one batch of reads by one principal. In the order asked.
#[must_use = "a decision that nobody looks at protects nothing"]
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub epoch: Epoch,
    pub principal: PrincipalId,
    pub sources: Vec<(SourceId, SourceDecision)>,
}

/// May this principal read this source, and what must be done to what she gets. There is no way to turn this into a
/// plain yes or no: a caller that cannot filter and mask has to say so.
#[must_use = "a decision that nobody looks at protects nothing"]
#[derive(Clone, Debug, PartialEq)]
pub enum SourceDecision {
    Deny(DenyReason, Vec<Factor>),
    /// Every row and value as it is.
    Clear(Vec<Factor>),
    Obliged(Arc<Obligations>, Vec<Factor>),
}

impl SourceDecision {
    pub fn factors(&self) -> &[Factor] {
        match self {
            SourceDecision::Deny(_, factors) | SourceDecision::Clear(factors) | SourceDecision::Obliged(_, factors) => {
                factors
            }
        }
    }
}

/// The true reason, for the audit log and for governors; never for the person refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reason")]
pub enum DenyReason {
    UnknownPrincipal,
    UnknownSource,
    NotSubscribed,
    /// The current project is not known, or the principal is no member of it.
    NoSuchProject,
    /// The current project does not have the source.
    NotInProject,
    /// The principal has not promised to keep to a purpose of the current project.
    NotAcknowledged {
        purpose: PurposeName,
    },
    /// A policy limits the source to purposes, and the principal acts under none of them.
    PurposeRequired {
        policy: PolicyKey,
    },
    /// A policy that holds for the source does not fit it any more.
    BrokenPolicy {
        policy: PolicyKey,
        problem: String,
    },
    /// The source was made from another, which is denied itself.
    Parent {
        parent: SourceName,
        because: Box<DenyReason>,
    },
    /// The source was made from another, and a row filter there cannot be told from the rows here.
    FilterNotCopied {
        parent: SourceName,
        policy: PolicyKey,
        problem: String,
    },
    /// What the source was made from cannot be told any more.
    BrokenLineage {
        problem: String,
    },
}

impl fmt::Display for DenyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DenyReason::UnknownPrincipal => f.write_str("the principal is not known"),
            DenyReason::UnknownSource => f.write_str("the data source is not registered"),
            DenyReason::NotSubscribed => f.write_str("no subscription policy takes the principal in"),
            DenyReason::NoSuchProject => f.write_str("the principal is no member of a project of that name"),
            DenyReason::NotInProject => f.write_str("the current project does not have the data source"),
            DenyReason::NotAcknowledged { purpose } => {
                write!(f, "the principal has not acknowledged purpose `{purpose}` of the current project")
            }
            DenyReason::PurposeRequired { policy } => {
                write!(f, "policy `{policy}` limits the data source to purposes that the principal does not act under")
            }
            DenyReason::BrokenPolicy { policy, problem } => write!(f, "policy `{policy}` cannot be applied: {problem}"),
            DenyReason::Parent { parent, because } => {
                write!(f, "the data source was made from `{parent}`, and there {because}")
            }
            DenyReason::FilterNotCopied { parent, policy, problem } => {
                write!(
                    f,
                    "the data source was made from `{parent}`, and the row filter of policy `{policy}` there {problem}"
                )
            }
            DenyReason::BrokenLineage { problem } => write!(f, "its lineage does not hold any more: {problem}"),
        }
    }
}

/// A policy that had a part in the decision, and which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Factor {
    /// Absent for ownership, which is not a policy.
    pub policy: Option<PolicyId>,
    /// The policy's key, or `owner`.
    pub key: Arc<str>,
    pub effect: Effect,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Effect {
    Subscribe,
    RowFilter,
    Mask {
        column: ColumnName,
        /// By what stands in for a method that does not fit the column.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        fallback: bool,
    },
    /// The principal acts under a purpose that the policy asks for.
    Purpose,
    /// Of a policy that holds for what the source was made from.
    Inherited {
        from: SourceName,
        effect: Box<Effect>,
    },
}

/// What must be done to every row of a source before anybody sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Obligations {
    pub source: SourceId,
    /// Keep the rows for which each of these is true of the original values. None: all rows.
    pub rows: Vec<Arc<Residual>>,
    /// By column; a column that is not here is clear.
    pub masks: BTreeMap<ColumnId, Arc<AppliedMask>>,
    /// Whose key hash masks use; other masks always use that of the source.
    pub hash_key: KeyScope,
    pub fingerprint: Fingerprint,
}

impl Obligations {
    /// What must be true of the rows to keep, as one expression. Absent: all rows.
    pub fn row_filter(&self) -> Option<Residual> {
        match self.rows.as_slice() {
            [] => None,
            [one] => Some(Residual::clone(one)),
            several => Some(Residual::And(several.iter().map(|part| Residual::clone(part)).collect())),
        }
    }
}

/// Within which equal values give equal tokens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyScope {
    Source(SourceId),
    /// A project with masked joins.
    Project(ProjectName),
}

#[derive(Clone, Debug, PartialEq)]
pub struct AppliedMask {
    pub mask: Mask,
    /// Mask only where this is true of the original values. Absent: everywhere.
    pub when: Option<Residual>,
    /// What is done where `when` is not true: the mask of the next policy that holds for the column, so that a mask
    /// for some rows does not lay open the others. Absent: the value is clear there. Never present without `when`.
    pub otherwise: Option<Arc<AppliedMask>>,
    pub policy: PolicyId,
    /// The method, in words, that does not fit the column, so that the mask stands in for it as its author asked.
    pub instead_of: Option<Arc<str>>,
}

/// How a value is replaced. NULL stays NULL under all of them but `Constant` and `Computed`. The column's type is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mask {
    /// Lower-case hex of HMAC-SHA-256 (RFC 2104) under the key of the [`KeyScope`].
    Hash,
    Null,
    Constant(Value),
    /// Down to a multiple counted from zero, or to the start of a calendar unit; weeks start on Monday (ISO 8601).
    /// Where the multiple is below the least value of the type, NULL.
    Round(RoundTo),
    /// In the replacement `$1`, `${1}` and `${name}` are what a group of the pattern caught and `$$` is a dollar sign,
    /// as in the `regex` crate. Only the first match is replaced unless `global`.
    Regex {
        pattern: String,
        replacement: String,
        case_insensitive: bool,
        global: bool,
    },
    /// AES-SIV (RFC 5297) under the key of the source, with the column in the associated data; text.
    Reversible,
    /// FF1 (NIST SP 800-38G) under the key of the source, with the column as the tweak. Values with fewer than a
    /// million others of their form become NULL.
    FormatPreserving,
    /// By the row's key.
    Randomized {
        how: Randomized,
        row_key: Vec<ColumnId>,
    },
    /// What the expression over the original values gives; of the column's type.
    Computed(Residual),
}

/// SHA-256 (FIPS 180-4) over everything that decides what is seen of a source: two reads with equal fingerprints
/// see the same, whatever the epoch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
