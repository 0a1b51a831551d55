//! Masks that wait. A mask need not be computed for rows that a limit, a sort for the first few, or an aggregate drops
//! anyway, nor at all where a statement only counts what is different. So an original may leave the barrier, as a token
//! that the nodes of a closed list carry on without looking at it, and is masked before the first node that looks.
//!
//! [`masks`] rewrites a physical plan so. [`verify`] then follows every original through the plan that will run, and
//! refuses the plan when a node sees one that is not on the list, or when one would leave. What a node does with a column
//! is said in one place, [`flow`].

mod flow;
mod mask;
mod pseudonym;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::{Result, internal_err};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use weir_guard::Refusal;
use weir_model::SourceName;

use crate::barrier::BarrierExec;
use crate::mask::CompiledMask;
use flow::{Carried, Flow, Order, flow};
use mask::LateMaskExec;

/// A mask that is still owed to a column, and what it is read with.
#[derive(Clone, Debug)]
pub(crate) struct Late {
    pub(crate) mask: Arc<CompiledMask>,
    pub(crate) sources: Arc<[SourceName]>,
}

/// The columns of a node's output that are originals.
type Raw = BTreeMap<usize, Late>;

/// The plan with masks as late as they pay.
pub(crate) fn masks(plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let mut early = BTreeSet::new();
    loop {
        let mut delaying = Delaying { early: &early, barriers: 0, pointless: BTreeSet::new() };
        let late = delaying.delay(plan, false)?;
        // The order in which rows come would tell something, so nothing of this may wait.
        delaying.pointless.extend(&late.order);
        let late = delaying.settle(late, |_, _| true)?.plan;
        if delaying.pointless.is_empty() {
            return Ok(late);
        }
        // At least one column more each time.
        early = &early | &delaying.pointless;
    }
}

/// Number of a barrier in the order of the walk, and of its output.
type Origin = (usize, usize);

/// What is gained by the masks of a column having waited so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Gain {
    Nothing,
    /// There are fewer rows, and perhaps many still.
    Fewer,
    Few,
}

struct Waiting {
    late: Late,
    origin: Origin,
    gain: Gain,
    /// Rows may have become more on the way.
    multiplied: bool,
}

impl Waiting {
    fn is_pointless(&self) -> bool {
        self.gain == Gain::Nothing || (self.multiplied && self.gain < Gain::Few)
    }
}

struct Delaying<'a> {
    /// Masked by their barrier, because nothing was gained otherwise.
    early: &'a BTreeSet<Origin>,
    barriers: usize,
    /// Found to be such.
    pointless: BTreeSet<Origin>,
}

struct Delayed {
    plan: Arc<dyn ExecutionPlan>,
    waiting: BTreeMap<usize, Waiting>,
    /// Of whose originals the order of the rows may tell.
    order: BTreeSet<Origin>,
}

impl Delayed {
    fn settled(plan: Arc<dyn ExecutionPlan>, order: BTreeSet<Origin>) -> Self {
        Self { plan, waiting: BTreeMap::new(), order }
    }
}

impl Delaying<'_> {
    /// `aligned`: a node above relies on rows of several inputs being shared out alike.
    fn delay(&mut self, plan: &Arc<dyn ExecutionPlan>, aligned: bool) -> Result<Delayed> {
        if let Some(barrier) = plan.downcast_ref::<BarrierExec>() {
            return self.leave_raw(plan, barrier);
        }
        let mut inputs = Vec::new();
        let below = aligns(plan, aligned);
        for child in plan.children() {
            inputs.push(self.delay(child, below)?);
        }
        let order: BTreeSet<Origin> = inputs.iter().flat_map(|input| &input.order).copied().collect();
        if inputs.len() > 1 {
            // Nodes with several inputs rely on these being shared out alike, which by pseudonyms and by tokens they are not.
            self.pointless.extend(&order);
        }
        let raw = |input: &Delayed| -> Raw {
            input.waiting.iter().map(|(column, waiting)| (*column, waiting.late.clone())).collect()
        };
        let raws: Vec<Raw> = inputs.iter().map(raw).collect();
        if raws.iter().all(BTreeMap::is_empty) && order.is_empty() {
            let plan = with_inputs(plan, inputs.into_iter().map(|input| input.plan).collect())?;
            return Ok(Delayed::settled(plan, order));
        }
        // The other input may be shared out by tokens: equal values of the two would not meet.
        let plan = &if aligned { Arc::clone(plan) } else { pseudonym::hashing(plan, &raws)? };
        if let Some(flow) = flow(plan, &raws) {
            return self.carry(plan, inputs, &flow, order);
        }
        let mut settled = Vec::new();
        for input in inputs {
            settled.push(self.settle(input, |_, _| true)?.plan);
        }
        Ok(Delayed::settled(with_inputs(plan, settled)?, order))
    }

    fn leave_raw(&mut self, plan: &Arc<dyn ExecutionPlan>, barrier: &BarrierExec) -> Result<Delayed> {
        let number = self.barriers;
        self.barriers += 1;
        let mut late = barrier.can_wait();
        late.retain(|column, _| !self.early.contains(&(number, *column)));
        if late.is_empty() {
            return Ok(Delayed::settled(Arc::clone(plan), BTreeSet::new()));
        }
        let barrier = barrier.leaving(&late)?;
        let waiting = late.into_iter().map(|(column, late)| {
            let origin = (number, column);
            (column, Waiting { late, origin, gain: Gain::Nothing, multiplied: false })
        });
        Ok(Delayed { plan: Arc::new(barrier), waiting: waiting.collect(), order: BTreeSet::new() })
    }

    /// Over a node that carries columns on.
    fn carry(
        &mut self,
        plan: &Arc<dyn ExecutionPlan>,
        inputs: Vec<Delayed>,
        flow: &Flow,
        mut order: BTreeSet<Origin>,
    ) -> Result<Delayed> {
        let (mut settled, mut left) = (Vec::new(), Vec::new());
        for (input, looked) in inputs.into_iter().zip(&flow.looked) {
            // Many rows are masked sooner where they are still several streams.
            let ends = |column: usize, waiting: &Waiting| {
                looked.contains(&column) || (flow.merges && waiting.gain < Gain::Few)
            };
            let input = self.settle(input, ends)?;
            settled.push(input.plan);
            left.push(input.waiting);
        }
        let mut carried = BTreeMap::new();
        for Carried { output, input, column } in &flow.carried {
            if let Some(waiting) = left.get(*input).and_then(|left| left.get(column)) {
                let Waiting { late, origin, gain, multiplied } = waiting;
                let (gain, multiplied) = ((*gain).max(flow.gain), *multiplied || flow.multiplies);
                carried.insert(*output, Waiting { late: late.clone(), origin: *origin, gain, multiplied });
            }
        }
        match flow.order {
            Order::AsBefore => {}
            Order::Tells => order.extend(carried.values().map(|waiting| waiting.origin)),
            Order::Forgets => order.clear(),
        }
        Ok(Delayed { plan: with_inputs(plan, settled)?, waiting: carried, order })
    }

    /// Masks those for which the waiting `ends`.
    fn settle(&mut self, input: Delayed, ends: impl Fn(usize, &Waiting) -> bool) -> Result<Delayed> {
        let (mut masked, mut left) = (BTreeMap::new(), BTreeMap::new());
        for (column, waiting) in input.waiting {
            if !ends(column, &waiting) {
                left.insert(column, waiting);
                continue;
            }
            if waiting.is_pointless() {
                self.pointless.insert(waiting.origin);
            }
            masked.insert(column, waiting.late);
        }
        let plan: Arc<dyn ExecutionPlan> =
            if masked.is_empty() { input.plan } else { Arc::new(LateMaskExec::new(input.plan, masked)) };
        Ok(Delayed { plan, waiting: left, order: input.order })
    }
}

/// Whether the inputs of a node have to be shared out like others, when it has to be so itself.
fn aligns(plan: &Arc<dyn ExecutionPlan>, aligned: bool) -> bool {
    !shares_out(plan) && (aligned || (plan.children().len() > 1 && !collects(plan)))
}

/// Whether the node decides itself which stream a row goes to.
fn shares_out(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<RepartitionExec>() || plan.is::<CoalescePartitionsExec>() || plan.is::<SortPreservingMergeExec>()
}

/// Whether the node is a join that has all of its first input for every stream of the second.
fn collects(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.downcast_ref::<HashJoinExec>().is_some_and(|join| *join.partition_mode() == PartitionMode::CollectLeft)
}

pub(crate) fn with_inputs(
    plan: &Arc<dyn ExecutionPlan>,
    inputs: Vec<Arc<dyn ExecutionPlan>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let same = plan.children().len() == inputs.len()
        && plan.children().into_iter().zip(&inputs).all(|(before, now)| Arc::ptr_eq(before, now));
    if same {
        return Ok(Arc::clone(plan));
    }
    Arc::clone(plan).replace_children(inputs, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
}

/// That no node of the plan that will run looks at an original, none leaves it, and the order of the rows that leave
/// tells of none.
pub(crate) fn verify(plan: &Arc<dyn ExecutionPlan>) -> Result<(), Refusal> {
    match seen(plan) {
        Ok(Seen { raw, order_tells: false, .. }) if raw.is_empty() => Ok(()),
        Ok(Seen { order_tells: true, .. }) => Err(Refusal::bug("the order of the rows tells of originals")),
        Ok(_) => Err(Refusal::bug("an original leaves the plan unmasked")),
        Err(e) => Err(Refusal::bug(e.to_string())),
    }
}

/// What of originals shows in the output of a node.
struct Seen {
    raw: Raw,
    order_tells: bool,
    /// Rows are shared out by pseudonyms.
    pseudonymous: bool,
}

fn seen(plan: &Arc<dyn ExecutionPlan>) -> Result<Seen> {
    if let Some(barrier) = plan.downcast_ref::<BarrierExec>() {
        return Ok(Seen { raw: barrier.raw(), order_tells: false, pseudonymous: false });
    }
    let (mut inputs, mut order_tells, mut shared_out) = (Vec::new(), false, Vec::new());
    for input in plan.children() {
        let seen = seen(input)?;
        inputs.push(seen.raw);
        order_tells |= seen.order_tells;
        shared_out.push(seen.pseudonymous);
    }
    let several = inputs.len() > 1;
    if several && (order_tells || (!collects(plan) && shared_out.contains(&true))) {
        return internal_err!("{} relies on how its inputs are shared out", plan.name());
    }
    let pseudonymous =
        if shares_out(plan) { pseudonym::is_used(plan) } else { shared_out.last().copied().unwrap_or(false) };
    if let (Some(masking), [raw]) = (plan.downcast_ref::<LateMaskExec>(), inputs.as_mut_slice()) {
        for (column, late) in masking.masked() {
            if !raw.remove(column).is_some_and(|owed| Arc::ptr_eq(&owed.mask, &late.mask)) {
                return internal_err!("a late mask on what it is not for");
            }
        }
        return Ok(Seen { raw: std::mem::take(raw), order_tells, pseudonymous });
    }
    if inputs.iter().all(BTreeMap::is_empty) && !order_tells {
        return Ok(Seen { raw: Raw::new(), order_tells, pseudonymous });
    }
    match flow(plan, &inputs) {
        Some(flow) if flow.looked.iter().all(BTreeSet::is_empty) => {
            let carried = flow.carried.iter();
            let raw = carried.filter_map(|c| Some((c.output, inputs.get(c.input)?.get(&c.column)?.clone())));
            let order_tells = match flow.order {
                Order::AsBefore => order_tells,
                Order::Tells => true,
                Order::Forgets => false,
            };
            Ok(Seen { raw: raw.collect(), order_tells, pseudonymous })
        }
        None if inputs.iter().all(BTreeMap::is_empty) => Ok(Seen { raw: Raw::new(), order_tells, pseudonymous }),
        Some(_) | None => internal_err!("originals reach {}, which looks at them", plan.name()),
    }
}

#[cfg(test)]
mod tests;
