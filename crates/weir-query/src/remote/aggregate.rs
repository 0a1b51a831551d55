//! Aggregates: the database computes their states, and what becomes of these is done here, so that divisions round as they
//! do everywhere else.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use weir_sources::{Aggregate, Term, Translator};

use super::{Known, is_of, name};
use crate::barrier::Output;

/// The node with its states computed over there; nothing when they are not the same there.
pub(super) fn pushed(aggregate: &AggregateExec, input: &Known) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let groups = aggregate.group_expr();
    let plain = !groups.has_grouping_set()
        && aggregate.limit_options().is_none()
        && aggregate.dynamic_expressions_produced().is_empty();
    if !plain {
        return Ok(None);
    }
    let schema = match aggregate.mode() {
        AggregateMode::Partial => aggregate.schema(),
        AggregateMode::Single | AggregateMode::SinglePartitioned => partial(aggregate)?.schema(),
        AggregateMode::PartialReduce | AggregateMode::Final | AggregateMode::FinalPartitioned => return Ok(None),
    };
    let Some(states) = states(aggregate, input, &schema)? else { return Ok(None) };
    if *aggregate.mode() == AggregateMode::Partial {
        return Ok(Some(states));
    }
    let (functions, count) = (aggregate.aggr_expr().to_vec(), aggregate.aggr_expr().len());
    let (groups, of) = (groups.as_final(), aggregate.input_schema());
    let last = AggregateExec::try_new(AggregateMode::Final, groups, functions, vec![None; count], states, of)?;
    Ok(Some(Arc::new(last)))
}

fn partial(aggregate: &AggregateExec) -> Result<AggregateExec> {
    AggregateExec::try_new(
        AggregateMode::Partial,
        aggregate.group_expr().clone(),
        aggregate.aggr_expr().to_vec(),
        aggregate.filter_expr().to_vec(),
        Arc::clone(aggregate.input()),
        aggregate.input_schema(),
    )
}

fn states(aggregate: &AggregateExec, input: &Known, schema: &Schema) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let columns = input.terms();
    let translator = input.translator(&columns);
    let mut groups = Vec::new();
    for ((group, _), field) in aggregate.group_expr().expr().iter().zip(schema.fields()) {
        match translator.term(group).filter(|term| is_of(term, field.data_type())) {
            Some(term) => groups.push(term),
            None => return Ok(None),
        }
    }
    let mut parts = Vec::new();
    let mut fields = schema.fields().iter().skip(groups.len());
    for (function, filter) in aggregate.aggr_expr().iter().zip(aggregate.filter_expr()) {
        let filter = match filter {
            Some(filter) => match translator.condition(filter) {
                Some(filter) => Some(filter),
                None => return Ok(None),
            },
            None => None,
        };
        let count = function.state_fields()?.len();
        let states: Vec<&Field> = fields.by_ref().take(count).map(AsRef::as_ref).collect();
        match of(function, &states, &translator) {
            Some(of) => parts.extend(of.into_iter().map(|(aggregate, term)| (aggregate, term, filter.clone()))),
            None => return Ok(None),
        }
    }
    let sent = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(place, field)| Field::new(name(place), field.data_type().clone(), true));
    let Some(scan) = input.relation.grouped(&groups, &parts, sent.collect()) else { return Ok(None) };
    let outputs = schema.fields().iter().enumerate().map(|(place, field)| Output {
        field: field.as_ref().clone(),
        column: Some(place),
        masks: Vec::new(),
        parts: Vec::new(),
        late: None,
    });
    input.governed(scan, outputs.collect()).map(Some)
}

/// What makes the states of a function.
fn of(
    function: &AggregateFunctionExpr,
    states: &[&Field],
    translator: &Translator<'_>,
) -> Option<Vec<(Aggregate, Option<Term>)>> {
    let args = function.expressions();
    let [arg] = args.as_slice() else { return None };
    if function.is_distinct() || function.ignore_nulls() || !function.order_bys().is_empty() {
        return None;
    }
    let types: Vec<&DataType> = states.iter().map(|field| field.data_type()).collect();
    match (function.fun().name(), types.as_slice()) {
        ("count", [DataType::Int64]) if is_never_null(arg) => Some(vec![(Aggregate::CountRows, None)]),
        ("count", [DataType::Int64]) => Some(vec![(Aggregate::Count, Some(translator.term(arg)?))]),
        ("sum", [sum]) => Some(vec![(Aggregate::Sum, Some(summed(arg, sum, translator)?))]),
        ("avg", [DataType::UInt64, sum @ DataType::Decimal128(..)]) => {
            let term = summed(arg, sum, translator)?;
            Some(vec![(Aggregate::Count, Some(term.clone())), (Aggregate::Sum, Some(term))])
        }
        ("min", [of]) => Some(vec![(Aggregate::Min, Some(translator.term(arg).filter(|term| is_of(term, of))?))]),
        ("max", [of]) => Some(vec![(Aggregate::Max, Some(translator.term(arg).filter(|term| is_of(term, of))?))]),
        _ => None,
    }
}

/// Whole numbers and decimals, whose sums do not depend on the order.
fn summed(arg: &Arc<dyn PhysicalExpr>, sum: &DataType, translator: &Translator<'_>) -> Option<Term> {
    let term = translator.term(arg)?;
    match (term.data_type(), sum) {
        (DataType::Int64, DataType::Int64) => Some(term),
        (DataType::Decimal128(_, scale), DataType::Decimal128(_, expected)) if scale == expected => Some(term),
        _ => None,
    }
}

fn is_never_null(arg: &Arc<dyn PhysicalExpr>) -> bool {
    arg.downcast_ref::<Literal>().is_some_and(|literal| !literal.value().is_null())
}
