//! Joins of tables of one database.

use std::sync::Arc;

use datafusion::common::{JoinSide, JoinType, NullEquality};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::HashJoinExec;
use weir_sources::Term;

use super::{Known, Made};
use crate::barrier::Sources;

pub(super) fn joined(join: &HashJoinExec, left: &Known, right: &Known) -> Option<Known> {
    if join.null_aware {
        return None;
    }
    let mut conditions = Vec::new();
    let (of_left, of_right) = (left.terms(), right.terms());
    for (l, r) in join.on() {
        let (l, r) = (left.translator(&of_left).term(l)?, right.translator(&of_right).term(r)?);
        conditions.push(l.equals(&r, join.null_equality() == NullEquality::NullEqualsNull)?);
    }
    if let Some(filter) = join.filter() {
        let columns = filter.column_indices().iter().map(|column| match column.side {
            JoinSide::Left => of_left.get(column.index).cloned().flatten(),
            JoinSide::Right => of_right.get(column.index).cloned().flatten(),
            JoinSide::None => None,
        });
        let columns: Vec<Option<Term>> = columns.collect();
        let condition: &Arc<dyn PhysicalExpr> = filter.expression();
        conditions.push(left.translator(&columns).condition(condition)?);
    }
    let sources = match (&left.sources, &right.sources) {
        (Some(left), Some(right)) => Some(together(left, right)),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return None,
    };
    let matched = |one: &Known, other: &Known, negated| {
        let relation = one.relation.clone().matched(other.relation.clone(), Term::all(conditions.clone())?, negated)?;
        Some((relation, one.columns.clone()))
    };
    let (relation, columns) = match join.join_type() {
        JoinType::Inner => {
            let mut relation = left.relation.clone().cross(right.relation.clone())?;
            for condition in conditions {
                relation.keep(condition)?;
            }
            (relation, [left.columns.clone(), right.columns.clone()].concat())
        }
        JoinType::LeftSemi => matched(left, right, false)?,
        JoinType::LeftAnti => matched(left, right, true)?,
        JoinType::RightSemi => matched(right, left, false)?,
        JoinType::RightAnti => matched(right, left, true)?,
        JoinType::Left | JoinType::Right | JoinType::Full | JoinType::LeftMark | JoinType::RightMark => return None,
    };
    let columns: Vec<Option<Made>> = match &join.projection {
        Some(kept) => kept.iter().map(|column| columns.get(*column).cloned().flatten()).collect(),
        None => columns,
    };
    let mut relation = relation;
    if let Some(limit) = join.fetch() {
        relation.limit(limit);
    }
    Some(Known { relation, sources, streams: left.streams.max(right.streams), columns })
}

fn together(left: &Sources, right: &Sources) -> Sources {
    let (mut ids, mut names) = (left.ids.to_vec(), left.names.to_vec());
    for (id, name) in right.ids.iter().zip(right.names.iter()) {
        if !ids.contains(id) {
            ids.push(*id);
            names.push(name.clone());
        }
    }
    Sources { ids: ids.into(), names: names.into() }
}
