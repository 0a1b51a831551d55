//! Which columns an expression reads, and the same expression over the columns of another source.

use std::collections::BTreeSet;
use std::sync::Arc;

use weir_model::ColumnId;

use super::{Expr, KeyedArm, Lookup, LookupKey, Residual, UserTerm};

/// What an expression reads of the governed source, as it is written: folding may leave less of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reads {
    pub(crate) columns: BTreeSet<ColumnId>,
    /// It goes by the source as a whole: by which other rows it has, or by its key.
    pub(crate) source: bool,
}

impl Expr<UserTerm> {
    pub(crate) fn reads(&self) -> Reads {
        let mut reads = Reads::default();
        self.add_reads(&mut reads);
        reads
    }

    fn add_reads(&self, reads: &mut Reads) {
        match self {
            Expr::Literal(_) => {}
            Expr::Column(column) => drop(reads.columns.insert(*column)),
            Expr::Compare { left, right, .. } => {
                left.add_reads(reads);
                right.add_reads(reads);
            }
            Expr::InList { value, .. } | Expr::InValues { value, .. } | Expr::Like { value, .. } => {
                value.add_reads(reads);
            }
            Expr::Keyed { columns, arms } => {
                reads.columns.extend(columns);
                arms.iter().for_each(|arm| arm.rest.add_reads(reads));
            }
            // The rest is over rows of the other source.
            Expr::InLookup(lookup) => lookup.keys.iter().for_each(|key| key.outer.add_reads(reads)),
            Expr::Frequent { columns, .. } | Expr::Sampled { columns, .. } => {
                reads.columns.extend(columns);
                reads.source = true;
            }
            Expr::IsNull(inner) | Expr::Not(inner) => inner.add_reads(reads),
            Expr::And(parts) | Expr::Or(parts) | Expr::Call { args: parts, .. } => {
                parts.iter().for_each(|part| part.add_reads(reads));
            }
            Expr::User(term) => match term {
                UserTerm::Username
                | UserTerm::Iam
                | UserTerm::IsInGroups(_)
                | UserTerm::HasAttribute(..)
                | UserTerm::UnderPurpose(_) => {}
                UserTerm::AttributeValuesContain { value, .. }
                | UserTerm::GroupsContain { value, .. }
                | UserTerm::PurposesContain { value, .. }
                | UserTerm::Interpolated { value, .. } => value.add_reads(reads),
                UserTerm::Within { column, .. } => drop(reads.columns.insert(*column)),
            },
        }
    }
}

impl Residual {
    /// The same over the columns that `to` gives for those of the governed source; `None` when it reads one that has
    /// none, or goes by the source as a whole.
    pub(crate) fn renamed(&self, to: &impl Fn(ColumnId) -> Option<ColumnId>) -> Option<Self> {
        let boxed = |expr: &Self| expr.renamed(to).map(Box::new);
        let all = |parts: &[Self]| parts.iter().map(|part| part.renamed(to)).collect::<Option<Vec<_>>>();
        Some(match self {
            Expr::Literal(value) => Expr::Literal(value.clone()),
            Expr::Column(column) => Expr::Column(to(*column)?),
            Expr::Compare { op, left, right } => Expr::Compare { op: *op, left: boxed(left)?, right: boxed(right)? },
            Expr::InList { value, list } => Expr::InList { value: boxed(value)?, list: Arc::clone(list) },
            Expr::InValues { value, values } => Expr::InValues { value: boxed(value)?, values: values.clone() },
            Expr::Keyed { columns, arms } => {
                let columns = columns.iter().map(|column| to(*column)).collect::<Option<_>>()?;
                let arms = if arms.iter().all(|arm| arm.rest.is_literal(true)) {
                    Arc::clone(arms)
                } else {
                    let arm = |arm: &KeyedArm<_>| Some(KeyedArm { key: arm.key.clone(), rest: arm.rest.renamed(to)? });
                    arms.iter().map(arm).collect::<Option<_>>()?
                };
                Expr::Keyed { columns, arms }
            }
            Expr::InLookup(lookup) => {
                let Lookup { source, keys, filter } = &**lookup;
                let key =
                    |key: &LookupKey<_>| Some(LookupKey { outer: key.outer.renamed(to)?, inner: key.inner.clone() });
                let keys = keys.iter().map(key).collect::<Option<_>>()?;
                Expr::InLookup(Arc::new(Lookup { source: *source, keys, filter: filter.clone() }))
            }
            Expr::Frequent { .. } | Expr::Sampled { .. } => return None,
            Expr::Like { value, pattern, case_insensitive } => {
                Expr::Like { value: boxed(value)?, pattern: pattern.clone(), case_insensitive: *case_insensitive }
            }
            Expr::IsNull(value) => Expr::IsNull(boxed(value)?),
            Expr::And(parts) => Expr::And(all(parts)?),
            Expr::Or(parts) => Expr::Or(all(parts)?),
            Expr::Not(inner) => Expr::Not(boxed(inner)?),
            Expr::Call { function, args, returns } => {
                Expr::Call { function: *function, args: all(args)?, returns: returns.clone() }
            }
            Expr::User(never) => match *never {},
        })
    }
}
