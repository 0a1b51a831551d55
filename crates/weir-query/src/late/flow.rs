//! What nodes of a physical plan do with the columns of their input.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::{JoinSide, JoinType};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, Partitioning, PhysicalExpr, PhysicalExprRef};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateInputMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::joins::utils::ColumnIndex;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;

use super::pseudonym::Pseudonym;
use super::{Gain, Raw};
use crate::barrier::columns_of;

/// Up to so many rows are few.
const FEW: usize = 10_000;

pub(super) struct Flow {
    /// By input, originals that the node looks at: their values decide something.
    pub(super) looked: Vec<BTreeSet<usize>>,
    pub(super) carried: Vec<Carried>,
    pub(super) gain: Gain,
    /// Several streams become one.
    pub(super) merges: bool,
    /// There may be more rows than in either input.
    pub(super) multiplies: bool,
    pub(super) order: Order,
}

/// What the order of a node's rows may tell of originals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// What that of its input tells.
    AsBefore,
    /// It groups by originals, and where it does so on disk it sorts by them.
    Tells,
    /// There is one row, which is the same in whatever order the others came.
    Forgets,
}

/// A column of the output that is a column of an input, as it is.
pub(super) struct Carried {
    pub(super) output: usize,
    pub(super) input: usize,
    pub(super) column: usize,
}

impl Flow {
    /// Of a node with one input: output and input columns that are the same.
    fn of_one(looked: BTreeSet<usize>, carried: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let carried = carried.into_iter().map(|(output, column)| Carried { output, input: 0, column });
        let carried = carried.collect();
        let (gain, order) = (Gain::Nothing, Order::AsBefore);
        Self { looked: vec![looked], carried, gain, merges: false, multiplies: false, order }
    }

    fn gaining(self, gain: Gain) -> Self {
        Self { gain, ..self }
    }

    fn merging(self) -> Self {
        Self { merges: true, ..self }
    }
}

/// What a node does with the originals in its inputs; `None` for a node of which that is not known.
pub(super) fn flow(plan: &Arc<dyn ExecutionPlan>, inputs: &[Raw]) -> Option<Flow> {
    if let (Some(join), [left, right]) = (plan.downcast_ref::<HashJoinExec>(), inputs) {
        return joined(join, left, right);
    }
    let [raw] = inputs else { return None };
    let columns = plan.schema().fields().len();
    let straight = |looked: BTreeSet<usize>| Flow::of_one(looked, (0..columns).map(|column| (column, column)));
    let few = |fetch: Option<usize>| if fetch.is_some_and(|fetch| fetch <= FEW) { Gain::Few } else { Gain::Nothing };
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return projected(projection, raw);
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let looked = looks(&[Arc::clone(filter.predicate())], raw)?;
        let flow = match filter.projection() {
            Some(kept) => Flow::of_one(looked, kept.iter().copied().enumerate()),
            None => straight(looked),
        };
        return Some(flow.gaining(Gain::Fewer));
    }
    if let Some(sort) = plan.downcast_ref::<SortExec>() {
        return Some(straight(sorted_by(sort.expr(), raw)?).gaining(few(sort.fetch())));
    }
    if let Some(merge) = plan.downcast_ref::<SortPreservingMergeExec>() {
        return Some(straight(sorted_by(merge.expr(), raw)?).gaining(few(merge.fetch())).merging());
    }
    if plan.is::<CoalescePartitionsExec>() {
        return Some(straight(BTreeSet::new()).merging());
    }
    if plan.is::<CooperativeExec>() {
        return Some(straight(BTreeSet::new()));
    }
    if let Some(limit) = plan.downcast_ref::<GlobalLimitExec>() {
        return Some(straight(BTreeSet::new()).gaining(few(limit.fetch())));
    }
    if let Some(limit) = plan.downcast_ref::<LocalLimitExec>() {
        return Some(straight(BTreeSet::new()).gaining(few(Some(limit.fetch()))));
    }
    if let Some(repartition) = plan.downcast_ref::<RepartitionExec>() {
        return match repartition.partitioning() {
            Partitioning::RoundRobinBatch(_) | Partitioning::UnknownPartitioning(_) => Some(straight(BTreeSet::new())),
            Partitioning::Hash(exprs, _) => {
                // To which stream a row goes shows in the order of the answer, so it must not depend on an original.
                let seen: Vec<_> = exprs.iter().filter(|expr| !expr.is::<Pseudonym>()).cloned().collect();
                Some(straight(looks(&seen, raw)?))
            }
            Partitioning::Range(_) => None,
        };
    }
    aggregated(plan.downcast_ref::<AggregateExec>()?, raw)
}

fn joined(join: &HashJoinExec, left: &Raw, right: &Raw) -> Option<Flow> {
    let keys = |side: fn(&(PhysicalExprRef, PhysicalExprRef)) -> &PhysicalExprRef| -> Vec<_> {
        join.on().iter().map(|on| Arc::clone(side(on))).collect()
    };
    let mut looked = vec![looks(&keys(|(left, _)| left), left)?, looks(&keys(|(_, right)| right), right)?];
    for ColumnIndex { index, side } in join.filter().into_iter().flat_map(|filter| filter.column_indices()) {
        match (side, looked.as_mut_slice()) {
            (JoinSide::Left, [of_left, _]) if left.contains_key(index) => drop(of_left.insert(*index)),
            (JoinSide::Right, [_, of_right]) if right.contains_key(index) => drop(of_right.insert(*index)),
            (JoinSide::Left | JoinSide::Right | JoinSide::None, _) => {}
        }
    }
    let columns = |input: usize, plan: &Arc<dyn ExecutionPlan>| {
        (0..plan.schema().fields().len()).map(move |column| (input, column)).collect::<Vec<_>>()
    };
    let (of_left, of_right) = (columns(0, join.left()), columns(1, join.right()));
    let all = match join.join_type() {
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => [of_left, of_right].concat(),
        // What says whether there is a match comes last.
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => of_left,
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => of_right,
    };
    let kept = match &join.projection {
        Some(kept) => kept.iter().map(|column| all.get(*column).copied()).collect(),
        None => all.into_iter().map(Some).collect::<Vec<_>>(),
    };
    let carried = kept.into_iter().enumerate().filter_map(|(output, from)| {
        let (input, column) = from?;
        Some(Carried { output, input, column })
    });
    let (carried, order) = (carried.collect(), Order::AsBefore);
    Some(Flow { looked, carried, gain: Gain::Nothing, merges: false, multiplies: true, order })
}

fn projected(projection: &ProjectionExec, raw: &Raw) -> Option<Flow> {
    let (mut looked, mut carried) = (BTreeSet::new(), Vec::new());
    for (output, projected) in projection.expr().iter().enumerate() {
        match projected.expr.downcast_ref::<Column>() {
            Some(column) => carried.push((output, column.index())),
            None => looked.extend(looks(&[Arc::clone(&projected.expr)], raw)?),
        }
    }
    Some(Flow::of_one(looked, carried))
}

/// The order in which they take rows in does not matter to these.
const FORGETFUL: [&str; 3] = ["count", "max", "min"];

/// Grouping tells equal from different, which tokens do as well when different originals have different ones; counting
/// tells NULL from the rest.
fn aggregated(aggregate: &AggregateExec, raw: &Raw) -> Option<Flow> {
    let groups = aggregate.group_expr();
    if groups.has_grouping_set()
        || aggregate.limit_options().is_some()
        || !aggregate.dynamic_expressions_produced().is_empty()
    {
        return None;
    }
    let (mut looked, mut carried) = (BTreeSet::new(), Vec::new());
    for (output, (expr, _)) in groups.expr().iter().enumerate() {
        match expr.downcast_ref::<Column>() {
            Some(column) if raw.get(&column.index()).is_some_and(|late| late.mask.is_injective()) => {
                carried.push((output, column.index()));
            }
            Some(_) | None => looked.extend(looks(&[Arc::clone(expr)], raw)?),
        }
    }
    match aggregate.mode().input_mode() {
        AggregateInputMode::Raw => {
            for function in aggregate.aggr_expr() {
                let parts = function.all_expressions();
                let counts =
                    function.fun().name() == "count" && !function.is_distinct() && parts.order_by_exprs.is_empty();
                let is_counted = |arg: &Arc<dyn PhysicalExpr>| {
                    let late = arg.downcast_ref::<Column>().and_then(|column| raw.get(&column.index()));
                    counts && late.is_some_and(|late| late.mask.keeps_nulls())
                };
                let seen = parts.args.iter().filter(|arg| !is_counted(arg));
                let seen: Vec<_> = seen.chain(&parts.order_by_exprs).cloned().collect();
                looked.extend(looks(&seen, raw)?);
            }
            let conditions: Vec<_> = aggregate.filter_expr().iter().flatten().cloned().collect();
            looked.extend(looks(&conditions, raw)?);
        }
        // The states of aggregates come after the groups, and are none of them originals.
        AggregateInputMode::Partial => looked.extend(raw.keys().filter(|column| **column >= groups.expr().len())),
    }
    let forgets = |function: &AggregateFunctionExpr| FORGETFUL.contains(&function.fun().name());
    let order = if !carried.is_empty() {
        Order::Tells
    } else if groups.is_empty() && aggregate.aggr_expr().iter().all(|function| forgets(function)) {
        Order::Forgets
    } else {
        Order::AsBefore
    };
    Some(Flow { order, ..Flow::of_one(looked, carried).gaining(Gain::Fewer) })
}

fn sorted_by(ordering: &LexOrdering, raw: &Raw) -> Option<BTreeSet<usize>> {
    let exprs: Vec<_> = ordering.iter().map(|sort| Arc::clone(&sort.expr)).collect();
    looks(&exprs, raw)
}

/// The originals that expressions read.
fn looks(exprs: &[Arc<dyn PhysicalExpr>], raw: &Raw) -> Option<BTreeSet<usize>> {
    let mut columns = BTreeSet::new();
    for expr in exprs {
        columns_of(expr, &mut columns).ok()?;
    }
    columns.retain(|column| raw.contains_key(column));
    Some(columns)
}
