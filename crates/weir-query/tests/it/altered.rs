//! The engine below with settings by chance and without some of its rules. Whatever of it is set how, governed results are
//! right and tell nothing.

use std::fmt;

use datafusion::execution::SessionStateBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::physical_plan::displayable;
use datafusion::prelude::SessionContext;
use weir_policy::Snapshot;
use weir_query::{Engine, EngineSettings, UserLimits};
use weir_testkit::generate::AT_UNIX_MS;
use weir_testkit::ports::{FixedClock, FixedFeed, FixedKeys, MemoryAudit, guard_at};
use weir_testkit::{Dice, retail};

/// Settings, each with what it may be set to.
const SETTINGS: [(&str, &[&str]); 36] = [
    ("datafusion.execution.target_partitions", &["1", "2", "3", "5"]),
    ("datafusion.execution.batch_size", &["3", "16", "100", "8192"]),
    ("datafusion.execution.collect_statistics", &["true", "false"]),
    ("datafusion.execution.enforce_batch_size_in_joins", &["true", "false"]),
    ("datafusion.execution.enable_file_stream_work_stealing", &["true", "false"]),
    ("datafusion.execution.enable_migration_aggregate", &["true", "false"]),
    ("datafusion.execution.perfect_hash_join_small_build_threshold", &["0", "1024"]),
    ("datafusion.execution.skip_partial_aggregation_probe_rows_threshold", &["2", "100000"]),
    ("datafusion.execution.skip_partial_aggregation_probe_ratio_threshold", &["0.1", "0.8"]),
    ("datafusion.execution.split_file_groups_by_statistics", &["true", "false"]),
    ("datafusion.execution.use_row_number_estimates_to_optimize_partitioning", &["true", "false"]),
    ("datafusion.execution.parquet.pushdown_filters", &["true", "false"]),
    ("datafusion.execution.parquet.reorder_filters", &["true", "false"]),
    ("datafusion.execution.parquet.force_filter_selections", &["true", "false"]),
    ("datafusion.execution.parquet.enable_page_index", &["true", "false"]),
    ("datafusion.execution.parquet.bloom_filter_on_read", &["true", "false"]),
    ("datafusion.execution.parquet.pruning", &["true", "false"]),
    ("datafusion.optimizer.enable_round_robin_repartition", &["true", "false"]),
    ("datafusion.optimizer.repartition_aggregations", &["true", "false"]),
    ("datafusion.optimizer.repartition_joins", &["true", "false"]),
    ("datafusion.optimizer.repartition_windows", &["true", "false"]),
    ("datafusion.optimizer.repartition_sorts", &["true", "false"]),
    ("datafusion.optimizer.repartition_file_scans", &["true", "false"]),
    ("datafusion.optimizer.repartition_file_min_size", &["0", "1048576"]),
    ("datafusion.optimizer.prefer_hash_join", &["true", "false"]),
    ("datafusion.optimizer.prefer_existing_sort", &["true", "false"]),
    ("datafusion.optimizer.prefer_existing_union", &["true", "false"]),
    ("datafusion.optimizer.hash_join_single_partition_threshold", &["0", "1048576"]),
    ("datafusion.optimizer.hash_join_single_partition_threshold_rows", &["0", "131072"]),
    ("datafusion.optimizer.filter_null_join_keys", &["true", "false"]),
    ("datafusion.optimizer.join_reordering", &["true", "false"]),
    ("datafusion.optimizer.top_down_join_key_reordering", &["true", "false"]),
    ("datafusion.optimizer.enable_topk_aggregation", &["true", "false"]),
    ("datafusion.optimizer.enable_topk_dynamic_filter_pushdown", &["true", "false"]),
    ("datafusion.optimizer.enable_sort_pushdown", &["true", "false"]),
    ("datafusion.optimizer.enable_window_limits", &["true", "false"]),
];

/// Rules without which the engine can still plan everything: some functions it knows only as what it simplifies them to, and
/// without `eliminate_limit` it panics at `LIMIT 0`, and without `eliminate_duplicated_expr` it mixes up columns where one is
/// grouped by twice.
const RULES: [&str; 26] = [
    "common_sub_expression_eliminate",
    "eliminate_cross_join",
    "eliminate_filter",
    "eliminate_group_by_constant",
    "eliminate_join",
    "eliminate_outer_join",
    "extract_equijoin_predicate",
    "filter_null_join_keys",
    "optimize_unions",
    "propagate_empty_relation",
    "push_down_filter",
    "push_down_limit",
    "single_distinct_aggregation_to_group_by",
    "unions_to_filter",
    "CombinePartialFinalAggregate",
    "LimitAggregation",
    "LimitPushPastWindows",
    "LimitPushdown",
    "LimitedDistinctAggregation",
    "OptimizeAggregateOrder",
    "ProjectionPushdown",
    "PushdownSort",
    "TopKRepartition",
    "WindowTopN",
    "aggregate_statistics",
    "HashJoinBuffering",
];

/// How many engines there are; that of number 0 is as it is.
pub(crate) const ALTERATIONS: u64 = 24;

/// One way in which the engine is set.
#[derive(Clone, Debug)]
pub(crate) struct Alteration {
    settings: Vec<(&'static str, &'static str)>,
    without: Vec<&'static str>,
}

impl Alteration {
    pub(crate) fn new(number: u64) -> Self {
        let mut dice = Dice::new(number);
        if number == 0 {
            return Self { settings: Vec::new(), without: Vec::new() };
        }
        let settings = SETTINGS.iter().map(|(name, values)| (*name, *dice.pick(values))).collect();
        // In turn, so that each is left out somewhere, and others besides.
        let turn = |n: usize| RULES[(usize::try_from(number).expect("a small number") * 2 + n) % RULES.len()];
        let mut without = vec![turn(0), turn(1)];
        without.extend((0..dice.below(3)).map(|_| *dice.pick(&RULES)));
        Self { settings, without }
    }

    pub(crate) fn of(&self, mut state: SessionState) -> SessionState {
        let options = state.config_mut().options_mut();
        for (name, value) in &self.settings {
            options.set(name, value).expect("a setting of the engine");
        }
        let mut logical = state.optimizers().to_vec();
        logical.retain(|rule| !self.without.contains(&rule.name()));
        let mut physical = state.physical_optimizers().to_vec();
        physical.retain(|rule| !self.without.contains(&rule.name()));
        SessionStateBuilder::new_from_existing(state)
            .with_optimizer_rules(logical)
            .with_physical_optimizer_rules(physical)
            .build()
    }
}

impl fmt::Display for Alteration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings: Vec<String> = self
            .settings
            .iter()
            .map(|(name, value)| format!("{}={value}", name.trim_start_matches("datafusion.")))
            .collect();
        write!(f, "settings [{}] without {:?}", settings.join(", "), self.without)
    }
}

/// A rule that the engine does not have any more would be left out in vain.
#[test]
fn all_rules_that_are_left_out_are_there() {
    let state = SessionStateBuilder::new_with_default_features().build();
    let logical = state.optimizers().iter().map(|rule| rule.name().to_owned());
    let physical = state.physical_optimizers().iter().map(|rule| rule.name().to_owned());
    let known: Vec<String> = logical.chain(physical).collect();
    for rule in RULES {
        assert!(known.iter().any(|name| name == rule), "the engine has no rule `{rule}` any more: {known:?}");
    }
}

/// What is never altered is never tested.
#[test]
fn every_setting_and_rule_is_altered() {
    let all: Vec<Alteration> = (1..ALTERATIONS).map(Alteration::new).collect();
    for (name, values) in SETTINGS {
        for value in values {
            assert!(all.iter().any(|a| a.settings.contains(&(name, value))), "{name} is never {value}");
        }
    }
    for rule in RULES {
        assert!(all.iter().any(|a| a.without.contains(&rule)), "`{rule}` is always there");
    }
}

/// By itself the engine takes groups of several sets for sorted by what is constant in the rows below them, and they come
/// twice.
#[tokio::test]
async fn groups_of_several_sets_are_not_taken_for_sorted() {
    async fn planned(state: SessionState) -> String {
        let sql = "SELECT a, count(*) FROM (VALUES ('x'), ('y')) t (a) WHERE a = 'x' GROUP BY CUBE (a)";
        let plan = SessionContext::new_with_state(state).sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        displayable(plan.as_ref()).indent(false).to_string()
    }
    let plain = planned(SessionStateBuilder::new_with_default_features().build()).await;
    assert!(plain.contains("ordering_mode"), "the engine does so no more:\n{plain}");

    let world = retail::world();
    let feed = FixedFeed::new(Snapshot::compile(world.facts.clone()));
    let keys = FixedKeys::new(world.keys.clone());
    let guard = guard_at(feed, MemoryAudit::new(), keys, FixedClock::new(AT_UNIX_MS));
    let user = UserLimits::default();
    let settings = EngineSettings { memory_bytes_max: 1 << 30, partitions: 2, statement_bytes_max: 1 << 20, user };
    let mut kept = None;
    Engine::altered(guard, settings, |state| {
        kept = Some(state.clone());
        state
    })
    .unwrap();
    let ours = planned(kept.unwrap()).await;
    assert!(!ours.contains("ordering_mode"), "{ours}");
}
