use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{JoinType, NullEquality};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::{Column, IsNullExpr};
use datafusion::physical_expr::{LexOrdering, Partitioning, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, displayable};
use weir_mask::Keys;
use weir_model::{ColumnId, Secret, SourceId};
use weir_policy::Mask;

use super::*;
use crate::barrier::{Conditions, MaskValue, Output, OutputMask, Sources};
use crate::mask::MaskKeys;

/// `id` clear and `ssn` hashed.
fn barrier() -> BarrierExec {
    masked_by(&Mask::Hash)
}

fn masked_by(mask: &Mask) -> BarrierExec {
    let fields = [Field::new("id", DataType::Int64, true), Field::new("ssn", DataType::Utf8View, true)];
    let input = Arc::new(EmptyExec::new(Arc::new(Schema::new(fields.to_vec()))));
    let own = Keys::new(1, Secret::new([7; 32].to_vec())).unwrap();
    let keys = MaskKeys { hash: Some(Secret::new("a key")), own: Some(Arc::new(own)) };
    let hash = CompiledMask::new(mask, ColumnId(2), &DataType::Utf8View, &keys).unwrap();
    let hash = OutputMask { value: MaskValue::Kernel { mask: Arc::new(hash), row_key: vec![] }, when: None };
    let outputs = fields.into_iter().enumerate().map(|(place, field)| Output {
        masks: if field.name() == "ssn" { vec![hash.clone()] } else { vec![] },
        field,
        column: Some(place),
        parts: vec![],
        late: None,
    });
    let sources = Sources::one(SourceId(1), "hr.emp".parse().unwrap());
    BarrierExec::new(sources, input, Conditions::default(), outputs.collect(), None).unwrap()
}

fn column(name: &str, place: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(name, place))
}

fn first(by: Arc<dyn PhysicalExpr>, input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let order = LexOrdering::new([PhysicalSortExpr::new_default(by)]).unwrap();
    Arc::new(SortExec::new(order, input).with_fetch(Some(10)))
}

fn shown(plan: &Arc<dyn ExecutionPlan>) -> Vec<String> {
    let shown = displayable(plan.as_ref()).indent(false).to_string();
    shown.lines().map(|line| line.trim().split(':').next().unwrap().to_owned()).collect()
}

#[test]
fn a_mask_waits_for_the_first_few_rows() {
    let plan = masks(&first(column("id", 0), Arc::new(barrier()))).unwrap();
    assert_eq!(shown(&plan)[0], "GovernedMask");
    assert!(verify(&plan).is_ok());
}

#[test]
fn a_mask_does_not_wait_where_its_column_is_looked_at() {
    let plan = masks(&first(column("ssn", 1), Arc::new(barrier()))).unwrap();
    assert!(!shown(&plan).contains(&"GovernedMask".to_owned()), "{:?}", shown(&plan));
    assert!(verify(&plan).is_ok());
    // Nor where nothing is gained.
    let alone: Arc<dyn ExecutionPlan> = Arc::new(barrier());
    assert_eq!(shown(&masks(&alone).unwrap()), ["GovernedScan", "EmptyExec"]);
}

fn grouped(by: &[(&str, usize)], count: Option<&str>, input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let groups = by.iter().map(|(name, place)| (column(name, *place), (*name).to_owned())).collect();
    let schema = input.schema();
    let count = count.map(|name| {
        let argument = column(name, schema.index_of(name).unwrap());
        let count = AggregateExprBuilder::new(count_udaf(), vec![argument]).schema(Arc::clone(&schema)).alias("count");
        Arc::new(count.build().unwrap())
    });
    let (groups, mode) = (PhysicalGroupBy::new_single(groups), AggregateMode::Single);
    let count: Vec<_> = count.into_iter().collect();
    let filters = vec![None; count.len()];
    Arc::new(AggregateExec::try_new(mode, groups, count, filters, input, schema).unwrap())
}

#[test]
fn what_is_only_counted_is_not_masked_at_all() {
    let distinct = grouped(&[("ssn", 1)], None, Arc::new(barrier()));
    let plan = masks(&grouped(&[], Some("ssn"), distinct)).unwrap();
    assert_eq!(shown(&plan), ["AggregateExec", "AggregateExec", "GovernedScan", "EmptyExec"]);
    assert!(plan.children()[0].children()[0].downcast_ref::<BarrierExec>().unwrap().raw().contains_key(&1));
    assert!(verify(&plan).is_ok());
}

/// Encryption in the same format makes some values NULL.
#[test]
fn what_may_become_null_is_masked_before_it_is_counted() {
    let masked = Arc::new(masked_by(&Mask::FormatPreserving)) as Arc<dyn ExecutionPlan>;
    let plan = masks(&grouped(&[], Some("ssn"), masked)).unwrap();
    assert!(plan.children()[0].downcast_ref::<BarrierExec>().unwrap().raw().is_empty());
    let raw = masked_by(&Mask::FormatPreserving);
    let raw = Arc::new(raw.leaving(&raw.can_wait()).unwrap());
    assert!(verify(&grouped(&[], Some("ssn"), raw)).unwrap_err().inside().detail.contains("looks at them"));
}

/// Both inputs of a join have to be shared out by the same.
#[test]
fn rows_are_shared_out_by_pseudonyms_only_where_nothing_relies_on_it() {
    let shared_out = |input: Arc<dyn ExecutionPlan>| -> Arc<dyn ExecutionPlan> {
        let by = Partitioning::Hash(vec![column("ssn", 1)], 4);
        Arc::new(RepartitionExec::try_new(input, by).unwrap())
    };
    let few = || -> Arc<dyn ExecutionPlan> {
        let is_null: Arc<dyn PhysicalExpr> = Arc::new(IsNullExpr::new(column("id", 0)));
        Arc::new(FilterExec::try_new(is_null, Arc::new(barrier())).unwrap())
    };
    let join = |left, right| -> Arc<dyn ExecutionPlan> {
        let on = vec![(column("ssn", 1), column("ssn", 1))];
        let (mode, nulls) = (PartitionMode::Partitioned, NullEquality::NullEqualsNothing);
        Arc::new(HashJoinExec::try_new(left, right, on, None, &JoinType::Inner, None, mode, nulls, false).unwrap())
    };
    let plan = masks(&join(shared_out(few()), shared_out(Arc::new(barrier())))).unwrap();
    assert!(verify(&plan).is_ok());
    for input in plan.children() {
        assert!(!pseudonym::is_used(input), "{:?}", shown(&plan));
    }

    let raw = barrier().leaving(&barrier().can_wait()).unwrap();
    let late = seen(&(Arc::new(raw.clone()) as Arc<dyn ExecutionPlan>)).unwrap().raw;
    let raw: Arc<dyn ExecutionPlan> = Arc::new(raw);
    let pseudonymous = pseudonym::hashing(&shared_out(raw), std::slice::from_ref(&late)).unwrap();
    let masked = Arc::new(LateMaskExec::new(pseudonymous, late));
    let plan = join(masked, shared_out(Arc::new(barrier())));
    assert!(verify(&plan).unwrap_err().inside().detail.contains("shared out"));
}

#[test]
fn a_late_mask_keeps_what_is_known_of_other_columns() {
    let plan = masks(&first(column("id", 0), Arc::new(barrier()))).unwrap();
    assert_eq!(shown(&plan)[0], "GovernedMask");
    assert!(plan.output_ordering().is_some());
}

/// Groups that are spilled come sorted by what they are grouped by.
#[test]
fn nothing_waits_where_the_order_of_groups_shows() {
    let distinct = || grouped(&[("ssn", 1)], None, Arc::new(barrier()));
    let by_id = grouped(&[("id", 1)], Some("ssn"), grouped(&[("ssn", 1), ("id", 0)], None, Arc::new(barrier())));
    // Equal values of two inputs meet only when both are shared out alike.
    let joined = grouped(&[], Some("ssn"), UnionExec::try_new(vec![distinct(), distinct()]).unwrap());
    for plan in [distinct(), first(column("ssn", 0), distinct()), by_id, joined] {
        let late = masks(&plan).unwrap();
        let mut inner = Arc::clone(&late);
        while inner.downcast_ref::<BarrierExec>().is_none() {
            inner = Arc::clone(inner.children()[0]);
        }
        assert!(inner.downcast_ref::<BarrierExec>().unwrap().raw().is_empty(), "{:?}", shown(&late));
        assert!(verify(&late).is_ok());
    }
    let raw = barrier().leaving(&barrier().can_wait()).unwrap();
    let dropped = grouped(&[("ssn", 1)], Some("id"), Arc::new(raw));
    let only_counts = ProjectionExec::try_new([(column("count", 1), "count".to_owned())], dropped).unwrap();
    let plan: Arc<dyn ExecutionPlan> = Arc::new(only_counts);
    assert!(verify(&plan).unwrap_err().inside().detail.contains("order of the rows"));
}

#[test]
fn originals_that_nobody_masks_and_nodes_that_look_are_refused() {
    let raw = || {
        let barrier = barrier();
        Arc::new(barrier.leaving(&barrier.can_wait()).unwrap()) as Arc<dyn ExecutionPlan>
    };
    let late = barrier().can_wait();
    let masked = |input| Arc::new(LateMaskExec::new(input, seen(&raw()).unwrap().raw)) as Arc<dyn ExecutionPlan>;
    let refused = |plan: &Arc<dyn ExecutionPlan>| verify(plan).unwrap_err().inside().detail.clone();
    assert!(refused(&raw()).contains("leaves the plan unmasked"));
    assert!(refused(&first(column("id", 0), raw())).contains("leaves the plan unmasked"));
    assert!(refused(&masked(first(column("ssn", 1), raw()))).contains("looks at them"));
    let is_null: Arc<dyn PhysicalExpr> = Arc::new(IsNullExpr::new(column("ssn", 1)));
    assert!(refused(&masked(Arc::new(FilterExec::try_new(is_null, raw()).unwrap()))).contains("looks at them"));
    let both = UnionExec::try_new(vec![raw(), raw()]).unwrap();
    assert!(refused(&both).contains("looks at them"));
    // A mask of another column, or with another key.
    let elsewhere: BTreeMap<usize, Late> = late.into_values().map(|late| (0, late)).collect();
    let plan: Arc<dyn ExecutionPlan> = Arc::new(LateMaskExec::new(raw(), elsewhere));
    assert!(refused(&plan).contains("not for"));
}
