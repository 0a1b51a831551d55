//! What of a plan is sent to remote databases.
//!
//! After planning, governed scans of remote tables become queries: the row filter and the leakproof conditions of the
//! statement where the database has the very same, and then joins, conditions, limits and aggregates above them. A query
//! that reads several tables stays one governed scan, with the masks that the database does not have put on its answer.
//! Only what fails on no value is sent, so that the order in which the database evaluates it does not matter; no key of
//! a mask ever is.
//!
//! Where the row filter cannot be sent whole, no condition of the statement is: rows that are hidden come here then, and
//! whether one of them can be read must not hang on what the statement asks.
#![expect(clippy::wildcard_enum_match_arm, reason = "allow-lists: whatever is not named stays here")]

mod aggregate;
mod join;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{Result, ScalarValue, internal_datafusion_err};
use datafusion::physical_expr::expressions::{Column, UnKnownColumn};
use datafusion::physical_expr::{Partitioning, PhysicalExpr, ScalarFunctionExpr, split_conjunction};
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use weir_sources::{Asked, Base, Relation, RemoteScan, Term, Translator};

use crate::barrier::{BarrierExec, Conditions, MaskValue, Output, Sources, columns_of};
use crate::keyset::whole_numbers;
use crate::late::with_inputs;
use crate::mask::PlainMask;

/// Keys of a lookup that are sent along, at most.
const KEYS_MAX: usize = 100_000;

/// The plan with queries on databases in the place of what they do alike.
pub(crate) fn pushed(plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    Pushing { tables: 0 }.push(plan)?.settled()
}

/// What is sent for a plan, for those who govern.
pub(crate) fn told(plan: &Arc<dyn ExecutionPlan>) -> Vec<String> {
    match plan.downcast_ref::<RemoteScan>() {
        Some(scan) => scan.told(),
        None => plan.children().into_iter().flat_map(told).collect(),
    }
}

struct Pushing {
    /// That have a name in a query.
    tables: usize,
}

/// A node of which it is known how it is asked for, or is not.
struct Pushed {
    plan: Arc<dyn ExecutionPlan>,
    inputs: Vec<Pushed>,
    known: Option<Known>,
}

/// The rows of a node, as a database has them.
#[derive(Clone)]
struct Known {
    relation: Relation,
    /// None where a policy reads with its own authority.
    sources: Option<Sources>,
    /// For masks that are put on here.
    streams: usize,
    /// Of the node's output, as far as they can be had.
    columns: Vec<Option<Made>>,
}

/// How a column is made.
#[derive(Clone)]
struct Made {
    /// Over there.
    there: Option<Term>,
    /// Here, of originals that are sent, by their number in the schema that the masks speak of.
    here: Option<(Output, BTreeMap<usize, Term>)>,
}

impl Made {
    fn there(term: Term) -> Self {
        Self { there: Some(term), here: None }
    }
}

impl Pushing {
    fn push(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Result<Pushed> {
        if let Some(barrier) = plan.downcast_ref::<BarrierExec>() {
            return match base(barrier.input()) {
                Some(base) => self.governed(plan, barrier, &base),
                None => Ok(Pushed::as_it_is(plan)),
            };
        }
        if let Some(base) = plan.downcast_ref::<RemoteScan>().and_then(RemoteScan::base) {
            let (relation, columns) = self.named(base);
            let columns = columns.into_iter().map(|term| term.map(Made::there)).collect();
            let known = Known { relation, sources: None, streams: 1, columns };
            return Ok(Pushed { plan: Arc::clone(plan), inputs: Vec::new(), known: Some(known) });
        }
        let inputs = plan.children().into_iter().map(|input| self.push(input)).collect::<Result<Vec<_>>>()?;
        if let (Some(aggregate), [Pushed { known: Some(input), .. }]) =
            (plan.downcast_ref::<AggregateExec>(), inputs.as_slice())
            && let Some(done) = aggregate::pushed(aggregate, input)?
        {
            return Ok(Pushed::as_it_is(&like(plan, done)?));
        }
        let known = known(plan, &inputs);
        Ok(Pushed { plan: Arc::clone(plan), inputs, known })
    }

    fn named(&mut self, base: &Base) -> (Relation, Vec<Option<Term>>) {
        self.tables += 1;
        base.named(&format!("t{}", self.tables))
    }

    fn governed(&mut self, plan: &Arc<dyn ExecutionPlan>, barrier: &BarrierExec, base: &Base) -> Result<Pushed> {
        let (mut relation, columns) = self.named(base);
        let asked = relation.clone();
        let translator = asked.translator(&columns, &keys);
        let Conditions { statement, policy } = barrier.conditions();
        let (mut left_statement, mut whole) = (Vec::new(), true);
        for condition in policy {
            whole &= translator.condition(condition).and_then(|term| relation.keep(term)).is_some();
        }
        for condition in statement {
            let sent = whole && translator.condition(condition).and_then(|term| relation.keep(term)).is_some();
            if !sent {
                left_statement.push(Arc::clone(condition));
            }
        }
        let left_policy = if whole { Vec::new() } else { policy.clone() };
        if whole && left_statement.is_empty() {
            if let Some(limit) = barrier.limit() {
                relation.limit(limit);
            }
            let columns = barrier.outputs().iter().map(|output| made(output, &translator)).collect::<Result<_>>()?;
            let streams = barrier.input().output_partitioning().partition_count();
            let known = Known { relation, sources: Some(barrier.sources().clone()), streams, columns };
            return Ok(Pushed { plan: Arc::clone(plan), inputs: Vec::new(), known: Some(known) });
        }
        let conditions = Conditions { statement: left_statement, policy: left_policy };
        Ok(Pushed::as_it_is(&rest(barrier, conditions, &relation, &columns)?))
    }
}

impl Pushed {
    fn as_it_is(plan: &Arc<dyn ExecutionPlan>) -> Self {
        // Nothing below changes any more.
        let inputs = plan.children().into_iter().map(Self::as_it_is).collect();
        Self { plan: Arc::clone(plan), inputs, known: None }
    }

    fn settled(self) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(known) = &self.known
            && let Some(read) = known.read(&self.plan.schema())?
        {
            return like(&self.plan, read);
        }
        let inputs = self.inputs.into_iter().map(Self::settled).collect::<Result<_>>()?;
        with_inputs(&self.plan, inputs)
    }
}

/// The scan of a remote table with nothing asked of it.
fn base(plan: &Arc<dyn ExecutionPlan>) -> Option<Base> {
    if plan.is::<CooperativeExec>() || plan.is::<RepartitionExec>() {
        return plan.children().first().and_then(|input| base(input));
    }
    plan.downcast_ref::<RemoteScan>()?.base().cloned()
}

/// The one stream of a scan, shared out for the work on its rows.
fn shared_out(scan: Arc<dyn ExecutionPlan>, streams: usize) -> Result<Arc<dyn ExecutionPlan>> {
    if streams < 2 {
        return Ok(scan);
    }
    Ok(Arc::new(RepartitionExec::try_new(scan, Partitioning::RoundRobinBatch(streams))?))
}

/// The rows of `now` shared out as those of `before` are: nodes above may rely on it.
fn like(before: &Arc<dyn ExecutionPlan>, now: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let partitioning = before.output_partitioning();
    match partitioning {
        // By columns that are not there any more nobody goes.
        Partitioning::Hash(by, count) if *count > 1 && !by.iter().any(|by| by.is::<UnKnownColumn>()) => {
            Ok(Arc::new(RepartitionExec::try_new(now, partitioning.clone())?))
        }
        _ if partitioning.partition_count() == 1 && now.output_partitioning().partition_count() > 1 => {
            Ok(Arc::new(CoalescePartitionsExec::new(now)))
        }
        _ => Ok(now),
    }
}

fn keys(call: &ScalarFunctionExpr) -> Option<Vec<i64>> {
    whole_numbers(call, KEYS_MAX)
}

/// A governed scan with some of its conditions left to do here.
fn rest(
    barrier: &BarrierExec,
    conditions: Conditions,
    relation: &Relation,
    columns: &[Option<Term>],
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = barrier.input().schema();
    let mut needed = BTreeSet::new();
    for condition in conditions.statement.iter().chain(&conditions.policy) {
        columns_of(condition, &mut needed)?;
    }
    for output in barrier.outputs() {
        needed.append(&mut output.needs()?);
    }
    let mut asked = Vec::with_capacity(needed.len());
    for place in needed {
        let term = columns.get(place).cloned().flatten();
        let term = term.ok_or_else(|| internal_datafusion_err!("a column of a remote table cannot be asked for"))?;
        asked.push(Asked { term, field: schema.field(place).clone(), lenient: is_masked(barrier.outputs(), place)? });
    }
    let scan: Arc<dyn ExecutionPlan> = Arc::new(relation.read(asked));
    let scanned = scan.schema();
    let conditions = conditions.over(&scanned)?;
    let outputs = barrier.outputs().iter().map(|output| output.over(&schema, &scanned)).collect::<Result<_>>()?;
    let scan = shared_out(scan, barrier.input().output_partitioning().partition_count())?;
    Ok(Arc::new(BarrierExec::new(barrier.sources().clone(), scan, conditions, outputs, barrier.limit())?))
}

/// Whether nobody sees the original, whatever its row.
fn is_masked(outputs: &[Output], place: usize) -> Result<bool> {
    for output in outputs {
        let sees = output.masks.last().is_none_or(|mask| mask.when.is_some());
        if sees && output.needs()?.contains(&place) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How an output of a governed scan is made.
fn made(output: &Output, translator: &Translator<'_>) -> Result<Option<Made>> {
    let there = masked(output, translator);
    if output.masks.is_empty() && output.parts.is_empty() {
        return Ok(there.map(Made::there));
    }
    let mut needs = BTreeMap::new();
    for place in output.needs()? {
        let Some(term) = translator.column(place) else { return Ok(None) };
        needs.insert(place, term);
    }
    Ok(Some(Made { there, here: Some((output.clone(), needs)) }))
}

/// The masked value, where the database can make it.
fn masked(output: &Output, translator: &Translator<'_>) -> Option<Term> {
    if !output.parts.is_empty() || output.late.is_some() {
        return None;
    }
    let original = output.column.and_then(|place| translator.column(place));
    let mut arms = Vec::new();
    for mask in &output.masks {
        let value = match &mask.value {
            MaskValue::Kernel { mask, row_key: _ } => match mask.plain()? {
                PlainMask::Null(data_type) => translator.literal(&ScalarValue::try_from(data_type).ok()?)?,
                PlainMask::Constant(value) => translator.literal(value)?,
                PlainMask::RoundDecimal(bucket) => original.as_ref()?.rounded_down(bucket)?,
            },
            MaskValue::Computed(expr) => translator.term(expr)?,
        };
        match &mask.when {
            Some(when) => arms.push((translator.condition(when)?, value)),
            None => return choice(arms, value, output),
        }
    }
    choice(arms, original?, output)
}

fn choice(arms: Vec<(Term, Term)>, otherwise: Term, output: &Output) -> Option<Term> {
    let term = if arms.is_empty() { otherwise } else { Term::choice(arms, otherwise)? };
    is_of(&term, output.field.data_type()).then_some(term)
}

/// Decimals have as many digits over there as they need.
fn is_of(term: &Term, data_type: &DataType) -> bool {
    match (term.data_type(), data_type) {
        (DataType::Decimal128(_, scale), DataType::Decimal128(_, expected)) => scale == expected,
        (found, expected) => found == expected,
    }
}

/// What a node does, put into the query of its inputs.
fn known(plan: &Arc<dyn ExecutionPlan>, inputs: &[Pushed]) -> Option<Known> {
    match inputs {
        [Pushed { known: Some(input), .. }] => over_one(plan, input),
        [Pushed { known: Some(left), .. }, Pushed { known: Some(right), .. }] => {
            join::joined(plan.downcast_ref::<HashJoinExec>()?, left, right)
        }
        _ => None,
    }
}

fn over_one(plan: &Arc<dyn ExecutionPlan>, input: &Known) -> Option<Known> {
    if plan.is::<RepartitionExec>()
        || plan.is::<CooperativeExec>()
        || (plan.is::<CoalescePartitionsExec>() && plan.fetch().is_none())
    {
        return Some(input.clone());
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        return filtered(filter, input);
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let schema = plan.schema();
        let columns = projection.expr().iter().zip(schema.fields());
        let columns = columns.map(|(projected, field)| input.projected(&projected.expr, field.data_type())).collect();
        return Some(Known { columns, ..input.clone() });
    }
    let limit = match (plan.downcast_ref::<GlobalLimitExec>(), plan.downcast_ref::<LocalLimitExec>()) {
        (Some(limit), _) if limit.skip() == 0 => limit.fetch()?,
        (None, Some(limit)) => limit.fetch(),
        _ => return None,
    };
    let mut known = input.clone();
    known.relation.limit(limit);
    Some(known)
}

fn filtered(filter: &FilterExec, input: &Known) -> Option<Known> {
    let mut known = input.clone();
    let terms = input.terms();
    for condition in split_conjunction(filter.predicate()) {
        known.relation.keep(input.translator(&terms).condition(condition)?)?;
    }
    if let Some(limit) = filter.fetch() {
        known.relation.limit(limit);
    }
    if let Some(kept) = filter.projection() {
        known.columns = kept.iter().map(|column| input.columns.get(*column).cloned().flatten()).collect();
    }
    Some(known)
}

impl Known {
    /// The columns that conditions and the like can speak of.
    fn terms(&self) -> Vec<Option<Term>> {
        self.columns.iter().map(|made| made.as_ref()?.there.clone()).collect()
    }

    fn translator<'a>(&self, columns: &'a [Option<Term>]) -> Translator<'a> {
        self.relation.translator(columns, &keys)
    }

    fn projected(&self, expr: &Arc<dyn PhysicalExpr>, data_type: &DataType) -> Option<Made> {
        if let Some(column) = expr.downcast_ref::<Column>() {
            return self.columns.get(column.index()).cloned().flatten();
        }
        let terms = self.terms();
        self.translator(&terms).term(expr).filter(|term| is_of(term, data_type)).map(Made::there)
    }

    /// The query, and over it the masks that are put on here; nothing when there is a column that cannot be had.
    fn read(&self, schema: &Schema) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let (mut asked, mut outputs) = (Vec::new(), Vec::new());
        for (made, field) in self.columns.iter().zip(schema.fields()) {
            let Some(made) = made else { return Ok(None) };
            outputs.push(match made {
                Made { here: Some((output, needs)), there } if there.is_none() || needs.is_empty() => {
                    let lenient = output.masks.last().is_some_and(|mask| mask.when.is_none());
                    let mut places = BTreeMap::new();
                    for (place, term) in needs {
                        places.insert(*place, asked.len());
                        asked.push(sent(asked.len(), term, term.data_type(), lenient));
                    }
                    Output { field: field.as_ref().clone(), ..output.placed(&places)? }
                }
                Made { there: Some(term), .. } => {
                    let place = asked.len();
                    asked.push(sent(place, term, field.data_type(), false));
                    let column = Some(place);
                    Output { field: field.as_ref().clone(), column, masks: vec![], parts: vec![], late: None }
                }
                Made { there: None, .. } => return Ok(None),
            });
        }
        self.governed(self.relation.read(asked), outputs).map(Some)
    }

    /// The answer behind a barrier, unless a policy reads it.
    fn governed(&self, scan: RemoteScan, outputs: Vec<Output>) -> Result<Arc<dyn ExecutionPlan>> {
        let scan: Arc<dyn ExecutionPlan> = Arc::new(scan);
        match &self.sources {
            Some(sources) => {
                let masks = outputs.iter().any(|output| !(output.masks.is_empty() && output.parts.is_empty()));
                let scan = shared_out(scan, if masks { self.streams } else { 1 })?;
                Ok(Arc::new(BarrierExec::new(sources.clone(), scan, Conditions::default(), outputs, None)?))
            }
            None => {
                let schema = scan.schema();
                let named = outputs.iter().enumerate().map(|(place, output)| {
                    let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(schema.field(place).name(), place));
                    (column, output.field.name().clone())
                });
                Ok(Arc::new(ProjectionExec::try_new(named.collect::<Vec<_>>(), Arc::clone(&scan))?))
            }
        }
    }
}

fn sent(place: usize, term: &Term, data_type: &DataType, lenient: bool) -> Asked {
    Asked { term: term.clone(), field: Field::new(name(place), data_type.clone(), true), lenient }
}

/// Of a column of an answer.
fn name(place: usize) -> String {
    format!("c{place}")
}

impl Output {
    /// The same output with its originals at other places.
    fn placed(&self, places: &BTreeMap<usize, usize>) -> Result<Self> {
        let place = |before: usize| {
            places.get(&before).copied().ok_or_else(|| internal_datafusion_err!("an original was not asked for"))
        };
        self.moved(&place, &|expr| moved(expr, &place))
    }
}

fn moved(expr: &Arc<dyn PhysicalExpr>, place: &dyn Fn(usize) -> Result<usize>) -> Result<Arc<dyn PhysicalExpr>> {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    let moved = Arc::clone(expr).transform(|part| match part.downcast_ref::<Column>() {
        Some(column) => {
            let place = place(column.index())?;
            Ok(Transformed::yes(Arc::new(Column::new(&name(place), place)) as Arc<dyn PhysicalExpr>))
        }
        None => Ok(Transformed::no(part)),
    })?;
    Ok(moved.data)
}
