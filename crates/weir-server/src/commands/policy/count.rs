//! Counts what people see under policies that hold and under ones that do not yet, by the same path as any other read.

use std::sync::Arc;

use arrow::array::Int64Array;
use async_trait::async_trait;
use weir_guard::{Caller, Clock, Door, Guard, PortError, SnapshotFeed};
use weir_model::{Actor, SourceName};
use weir_policy::compare::{Comparison, Count, Countable, Counts, Who};
use weir_policy::{Facts, Snapshot};
use weir_query::{Engine, Query, Statement};
use weir_store::Store;

use crate::commands::serve::{engine_settings, operator_error};
use crate::context::Context;

/// Fills in the counts of the first so many groups of people of each kind at each source. Each count is on record as a
/// read from the command line.
pub(super) async fn count(
    context: &Context,
    store: &Store,
    states: [Facts; 2],
    at_unix_ms: u64,
    groups_max: usize,
    comparison: &mut Comparison,
) -> anyhow::Result<()> {
    let [before, after] = states;
    let engine = |facts: Facts| {
        let shared = Arc::new(store.clone());
        let feed = Arc::new(Fixed(Arc::new(Snapshot::compile(facts))));
        let guard = Guard::new(feed, shared.clone(), shared.clone(), Arc::new(At(at_unix_ms)));
        let guard = guard.with_connections(shared);
        let made = Engine::new(guard, engine_settings(&context.settings));
        made.map_err(|e| operator_error("cannot start the engine", &e))
    };
    let (before, after) = (engine(before)?, engine(after)?);
    for Countable { source, who, open, count } in comparison.countable(groups_max) {
        *count = Some(Counts {
            before: Box::pin(rows(&before, open.0, source, who)).await,
            after: Box::pin(rows(&after, open.1, source, who)).await,
        });
    }
    Ok(())
}

async fn rows(engine: &Engine, open: bool, source: &SourceName, who: &Who) -> Count {
    if !open {
        return Count::NoAccess;
    }
    match Box::pin(counted(engine, source, who)).await {
        Ok(rows) => Count::Rows(rows),
        Err(why) => Count::NotCounted(why),
    }
}

async fn counted(engine: &Engine, source: &SourceName, who: &Who) -> Result<u64, String> {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    // The audit log keeps the text, and with it who counts and why.
    let sql = format!(
        "select count(*) from {}.{} /* counted for the administrator by `weir policy plan` */",
        quoted(source.schema()),
        quoted(source.table())
    );
    let query = query(&sql)?;
    let caller = Caller {
        actor: Actor::itself(who.user.clone()),
        project: who.project.clone(),
        door: Door::Local,
        client_hint: Some("weir policy plan".to_owned()),
    };
    let told = |e: weir_guard::Refusal| e.inside().detail.clone();
    let mut rows = Box::pin(engine.run(&caller, &query, Vec::new())).await.map_err(told)?;
    let mut found = None;
    while let Some(batch) = rows.next().await.map_err(told)? {
        let column = batch.columns().first().and_then(|column| column.as_any().downcast_ref::<Int64Array>());
        found = found.or(column.and_then(|column| column.values().first().copied()));
    }
    found.and_then(|rows| u64::try_from(rows).ok()).ok_or_else(|| "the engine gave no number".to_owned())
}

fn query(sql: &str) -> Result<Query, String> {
    let mut statements = weir_query::parse(sql).map_err(|e| e.inside().detail.clone())?;
    match (statements.pop(), statements.is_empty()) {
        (Some(Statement::Query(query)), true) => Ok(query),
        (
            Some(
                Statement::Query(_)
                | Statement::Session(_)
                | Statement::Write(_)
                | Statement::Copy(_)
                | Statement::CopyIn(_),
            )
            | None,
            _,
        ) => Err("counting is no query".to_owned()),
    }
}

/// One state, whatever holds meanwhile.
struct Fixed(Arc<Snapshot>);

#[async_trait]
impl SnapshotFeed for Fixed {
    async fn current(&self) -> Result<Arc<Snapshot>, PortError> {
        Ok(Arc::clone(&self.0))
    }

    async fn after(&self, _: &Arc<Snapshot>) -> Result<Arc<Snapshot>, PortError> {
        std::future::pending().await
    }
}

/// One moment, so that both states are seen at the same.
struct At(u64);

impl Clock for At {
    fn unix_ms(&self) -> u64 {
        self.0
    }
}
