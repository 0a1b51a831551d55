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
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use weir_guard::Refusal;
use weir_model::SourceName;

use crate::barrier::BarrierExec;
use crate::mask::CompiledMask;
use flow::{Carried, Flow, flow};
use mask::LateMaskExec;

/// A mask that is still owed to a column, and whose column it is.
#[derive(Clone, Debug)]
pub(crate) struct Late {
    pub(crate) mask: Arc<CompiledMask>,
    pub(crate) source: SourceName,
}

/// The columns of a node's output that are originals.
type Raw = BTreeMap<usize, Late>;

/// The plan with masks as late as they pay.
pub(crate) fn masks(plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let mut early = BTreeSet::new();
    loop {
        let mut delaying = Delaying { early: &early, barriers: 0, pointless: BTreeSet::new() };
        let (late, raw) = delaying.delay(plan, false)?;
        let late = delaying.settle(late, raw, |_, _| true)?.0;
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

type Delayed = (Arc<dyn ExecutionPlan>, BTreeMap<usize, Waiting>);

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
        if inputs.iter().all(|(_, waiting)| waiting.is_empty()) {
            return Ok((with_inputs(plan, inputs.into_iter().map(|(input, _)| input).collect())?, BTreeMap::new()));
        }
        let raw = |(_, waiting): &Delayed| -> Raw {
            waiting.iter().map(|(column, waiting)| (*column, waiting.late.clone())).collect()
        };
        let raws: Vec<Raw> = inputs.iter().map(raw).collect();
        // The other input may be shared out by tokens: equal values of the two would not meet.
        let plan = &if aligned { Arc::clone(plan) } else { pseudonym::hashing(plan, &raws)? };
        if let Some(flow) = flow(plan, &raws) {
            return self.carry(plan, inputs, &flow);
        }
        let mut settled = Vec::new();
        for (input, waiting) in inputs {
            settled.push(self.settle(input, waiting, |_, _| true)?.0);
        }
        Ok((with_inputs(plan, settled)?, BTreeMap::new()))
    }

    fn leave_raw(&mut self, plan: &Arc<dyn ExecutionPlan>, barrier: &BarrierExec) -> Result<Delayed> {
        let number = self.barriers;
        self.barriers += 1;
        let mut late = barrier.can_wait();
        late.retain(|column, _| !self.early.contains(&(number, *column)));
        if late.is_empty() {
            return Ok((Arc::clone(plan), BTreeMap::new()));
        }
        let barrier = barrier.leaving(&late)?;
        let waiting = late.into_iter().map(|(column, late)| {
            let origin = (number, column);
            (column, Waiting { late, origin, gain: Gain::Nothing, multiplied: false })
        });
        Ok((Arc::new(barrier), waiting.collect()))
    }

    /// Over a node that carries columns on.
    fn carry(&mut self, plan: &Arc<dyn ExecutionPlan>, inputs: Vec<Delayed>, flow: &Flow) -> Result<Delayed> {
        let (mut settled, mut left) = (Vec::new(), Vec::new());
        for ((input, waiting), looked) in inputs.into_iter().zip(&flow.looked) {
            // Many rows are masked sooner where they are still several streams.
            let ends = |column: usize, waiting: &Waiting| {
                looked.contains(&column) || (flow.merges && waiting.gain < Gain::Few)
            };
            let (input, waiting) = self.settle(input, waiting, ends)?;
            settled.push(input);
            left.push(waiting);
        }
        let mut carried = BTreeMap::new();
        for Carried { output, input, column } in &flow.carried {
            if let Some(waiting) = left.get(*input).and_then(|left| left.get(column)) {
                let Waiting { late, origin, gain, multiplied } = waiting;
                let (gain, multiplied) = ((*gain).max(flow.gain), *multiplied || flow.multiplies);
                carried.insert(*output, Waiting { late: late.clone(), origin: *origin, gain, multiplied });
            }
        }
        Ok((with_inputs(plan, settled)?, carried))
    }

    /// Masks those for which the waiting `ends`, and gives the others.
    fn settle(
        &mut self,
        input: Arc<dyn ExecutionPlan>,
        waiting: BTreeMap<usize, Waiting>,
        ends: impl Fn(usize, &Waiting) -> bool,
    ) -> Result<Delayed> {
        let (mut masked, mut left) = (BTreeMap::new(), BTreeMap::new());
        for (column, waiting) in waiting {
            if !ends(column, &waiting) {
                left.insert(column, waiting);
                continue;
            }
            if waiting.is_pointless() {
                self.pointless.insert(waiting.origin);
            }
            masked.insert(column, waiting.late);
        }
        let input: Arc<dyn ExecutionPlan> =
            if masked.is_empty() { input } else { Arc::new(LateMaskExec::new(input, masked)) };
        Ok((input, left))
    }
}

/// Whether the inputs of a node have to be shared out like others, when it has to be so itself.
fn aligns(plan: &Arc<dyn ExecutionPlan>, aligned: bool) -> bool {
    if plan.is::<RepartitionExec>() {
        return false;
    }
    let collects =
        plan.downcast_ref::<HashJoinExec>().is_some_and(|join| *join.partition_mode() == PartitionMode::CollectLeft);
    aligned || (plan.children().len() > 1 && !collects)
}

fn with_inputs(plan: &Arc<dyn ExecutionPlan>, inputs: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
    let same = plan.children().len() == inputs.len()
        && plan.children().into_iter().zip(&inputs).all(|(before, now)| Arc::ptr_eq(before, now));
    if same {
        return Ok(Arc::clone(plan));
    }
    Arc::clone(plan).replace_children(inputs, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
}

/// That no node of the plan that will run looks at an original, and none leaves it.
pub(crate) fn verify(plan: &Arc<dyn ExecutionPlan>) -> Result<(), Refusal> {
    match raw_of(plan) {
        Ok(raw) if raw.is_empty() => Ok(()),
        Ok(_) => Err(Refusal::bug("an original leaves the plan unmasked")),
        Err(e) => Err(Refusal::bug(e.to_string())),
    }
}

fn raw_of(plan: &Arc<dyn ExecutionPlan>) -> Result<Raw> {
    if let Some(barrier) = plan.downcast_ref::<BarrierExec>() {
        return Ok(barrier.raw());
    }
    let mut inputs = plan.children().into_iter().map(raw_of).collect::<Result<Vec<Raw>>>()?;
    if inputs.iter().all(BTreeMap::is_empty) {
        return Ok(Raw::new());
    }
    if let (Some(masking), [raw]) = (plan.downcast_ref::<LateMaskExec>(), inputs.as_mut_slice()) {
        for (column, late) in masking.masked() {
            if !raw.remove(column).is_some_and(|owed| Arc::ptr_eq(&owed.mask, &late.mask)) {
                return internal_err!("a late mask on what it is not for");
            }
        }
        return Ok(std::mem::take(raw));
    }
    match flow(plan, &inputs) {
        Some(flow) if flow.looked.iter().all(BTreeSet::is_empty) => {
            let carried = flow.carried.iter();
            Ok(carried.filter_map(|c| Some((c.output, inputs.get(c.input)?.get(&c.column)?.clone()))).collect())
        }
        Some(_) | None => internal_err!("originals reach {}, which looks at them", plan.name()),
    }
}

#[cfg(test)]
mod tests;
