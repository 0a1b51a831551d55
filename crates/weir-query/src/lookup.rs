//! Lookups of row filters: which keys another source holds, read raw with the policy's own authority.
//!
//! What was found is kept by what it depends on: the lookup itself with every value of the person in it, the epoch,
//! and the state of the files that were read. A change of any of them is a new key. Of a remote database no state is
//! known, so what was found there is not kept.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::catalog::default_table_source::DefaultTableSource;
use datafusion::common::{Column, DFSchema, Result, internal_datafusion_err};
use datafusion::execution::SessionState;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, lit};
use datafusion::physical_expr::utils::reassign_expr_columns;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, collect};
use futures::future::BoxFuture;
use sha2::{Digest, Sha256};
use weir_model::{ColumnId, DataSource};
use weir_policy::{Lookup, Nothing, Residual, Snapshot};
use weir_sources::{RawTable, Sources};

use crate::fault::SourceFault;
use crate::keyset::KeySet;
use crate::lower::{Lowering, Need, Unlowerable, coerced, needs};
use crate::remote;

/// Kept key sets, in bytes; the set that was used least recently goes first.
const KEPT_BYTES_MAX: usize = 256 << 20;

/// The source that is being scanned.
#[derive(Clone, Copy)]
pub(crate) struct Own<'a> {
    pub(crate) source: &'a DataSource,
    pub(crate) raw: &'a RawTable,
}

type Found = Lookup<Nothing>;
/// SHA-256 over the lookup, the epoch and the versions of the files.
type Key = [u8; 32];

/// Resolves lookups; one for all statements.
pub(crate) struct Lookups {
    sources: Arc<Sources>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    sets: HashMap<Key, (KeySet, u64)>,
    bytes: usize,
    uses: u64,
}

impl Lookups {
    pub(crate) fn new(sources: Arc<Sources>) -> Self {
        Self { sources, kept: Mutex::default() }
    }

    /// The key sets of everything that `expr` needs over the rows of `own`, in the order in which lowering asks for
    /// them.
    pub(crate) async fn resolve(
        &self,
        state: &SessionState,
        snapshot: &Snapshot,
        own: Own<'_>,
        expr: &Residual,
    ) -> Result<Vec<KeySet>> {
        let mut found = Vec::new();
        needs(expr, &mut found);
        let mut sets = Vec::with_capacity(found.len());
        for need in found {
            sets.push(match need {
                Need::Lookup(lookup) => self.keys(state, snapshot, lookup).await?.0,
                Need::Frequent { columns, at_least } => self.frequent(state, snapshot, own, columns, at_least).await?,
            });
        }
        Ok(sets)
    }

    /// The values that occur together in at least so many rows.
    async fn frequent(
        &self,
        state: &SessionState,
        snapshot: &Snapshot,
        own: Own<'_>,
        columns: &[ColumnId],
        at_least: u32,
    ) -> Result<KeySet> {
        let mut digest = Sha256::new();
        digest.update(b"frequent");
        digest.update(own.source.id.0.to_be_bytes());
        digest.update(at_least.to_be_bytes());
        columns.iter().for_each(|column| digest.update(column.0.to_be_bytes()));
        digest.update(snapshot.epoch().0.to_be_bytes());
        let key = own.raw.version.map(|version| -> Key {
            digest.update(version.to_be_bytes());
            digest.finalize().into()
        });
        if let Some(set) = key.and_then(|key| self.known(&key)) {
            return Ok(set);
        }
        let counted = count_values(state, own.raw, columns, at_least).await;
        let set = counted.map_err(|e| SourceFault::new(own.source.name.clone(), &e))?;
        if let Some(key) = key {
            self.keep(key, &set);
        }
        Ok(set)
    }

    /// With what the set depends on, when all of that is known. Boxed, since lookups nest.
    fn keys<'a>(
        &'a self,
        state: &'a SessionState,
        snapshot: &'a Snapshot,
        lookup: &'a Found,
    ) -> BoxFuture<'a, Result<(KeySet, Option<Key>)>> {
        Box::pin(async move {
            let source = snapshot.source(lookup.source).ok_or_else(|| fault_without_source("it is not registered"))?;
            let fault = |cause: &dyn std::fmt::Display| SourceFault::new(source.name.clone(), cause);
            let raw = self.sources.open(state, source).await.map_err(|e| fault(&e))?;
            let mut nested = Vec::new();
            needs(&lookup.filter, &mut nested);
            let mut nested_sets = Vec::with_capacity(nested.len());
            let mut digest = Sha256::new();
            let described = format!("{lookup:?}");
            digest.update(u64::try_from(described.len()).unwrap_or(u64::MAX).to_be_bytes());
            digest.update(described.as_bytes());
            digest.update(snapshot.epoch().0.to_be_bytes());
            let mut depends = raw.version.map(|version| digest.update(version.to_be_bytes()));
            for need in nested {
                let Need::Lookup(lookup) = need else {
                    return Err(fault_without_source("it counts rows inside of another lookup"));
                };
                let (set, key) = self.keys(state, snapshot, lookup).await?;
                depends = depends.and(key).map(|key| digest.update(key));
                nested_sets.push(set);
            }
            let key = depends.map(|()| -> Key { digest.finalize().into() });
            if let Some(set) = key.and_then(|key| self.known(&key)) {
                return Ok((set, key));
            }
            let set = read_keys(state, lookup, &raw, nested_sets).await.map_err(|e| fault(&e))?;
            if let Some(key) = key {
                self.keep(key, &set);
            }
            Ok((set, key))
        })
    }

    fn known(&self, key: &Key) -> Option<KeySet> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let now = kept.uses;
        let (set, used) = kept.sets.get_mut(key)?;
        *used = now;
        Some(set.clone())
    }

    fn keep(&self, key: Key, set: &KeySet) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let now = kept.uses;
        if kept.sets.insert(key, (set.clone(), now)).is_none() {
            kept.bytes += set.size();
        }
        while kept.bytes > KEPT_BYTES_MAX {
            let oldest = kept.sets.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            let Some((set, _)) = oldest.and_then(|key| kept.sets.remove(&key)) else { break };
            kept.bytes = kept.bytes.saturating_sub(set.size());
        }
    }
}

fn fault_without_source(why: &str) -> datafusion::common::DataFusionError {
    datafusion::common::internal_datafusion_err!("a lookup names a source, but {why}")
}

/// Scans the raw source, keeps the rows for which the filter is true, and collects the inner keys, in the types of
/// the inner side.
async fn read_keys(state: &SessionState, lookup: &Found, raw: &RawTable, nested: Vec<KeySet>) -> Result<KeySet> {
    let schema = raw.provider.schema();
    let mut lowering = Lowering {
        schema: schema.as_ref(),
        columns: &raw.columns,
        parts: &raw.parts,
        key_sets: nested.into_iter(),
        keys: None,
    };
    let unlowerable = |e: Unlowerable| datafusion::common::internal_datafusion_err!("{e}");
    let filter = lowering.lower(&lookup.filter).map_err(unlowerable)?;
    let keys =
        lookup.keys.iter().map(|key| lowering.lower(&key.inner)).collect::<Result<Vec<_>, _>>().map_err(unlowerable)?;
    let named = DFSchema::try_from(schema.as_ref().clone())?;
    let filter = coerced(filter, &named)?;
    let filter_expr = state.create_physical_expr(filter.clone(), &named)?;
    let key_exprs = keys.into_iter().map(|key| state.create_physical_expr(key, &named)).collect::<Result<Vec<_>>>()?;

    let mut needed = BTreeSet::new();
    for expr in key_exprs.iter().chain([&filter_expr]) {
        crate::barrier::columns_of(expr, &mut needed)?;
    }
    let projection: Vec<usize> = needed.into_iter().collect();
    let scan = raw.provider.scan(state, Some(&projection), &[filter], None).await?;
    let scanned = scan.schema();
    let filter_expr = reassign_expr_columns(filter_expr, &scanned)?;
    let filtered = Arc::new(FilterExec::try_new(filter_expr, scan)?);
    let key_exprs = key_exprs
        .into_iter()
        .enumerate()
        .map(|(i, expr)| Ok((reassign_expr_columns(expr, &scanned)?, format!("k{i}"))));
    let projected = Arc::new(ProjectionExec::try_new(key_exprs.collect::<Result<Vec<_>>>()?, filtered)?);
    let types: Vec<_> =
        projected.properties().eq_properties.schema().fields().iter().map(|f| f.data_type().clone()).collect();
    let batches = collect(remote::pushed(&(projected as Arc<dyn ExecutionPlan>))?, state.task_ctx()).await?;
    KeySet::new(types, &batches)
}

/// Groups the raw rows by the columns and keeps the groups that are large enough; spills like every other aggregation.
async fn count_values(state: &SessionState, raw: &RawTable, columns: &[ColumnId], at_least: u32) -> Result<KeySet> {
    let schema = raw.provider.schema();
    let lowering = Lowering {
        schema: schema.as_ref(),
        columns: &raw.columns,
        parts: &raw.parts,
        key_sets: Vec::new().into_iter(),
        keys: None,
    };
    let unlowerable = |e: Unlowerable| internal_datafusion_err!("{e}");
    let named = |name: String| Expr::Column(Column::new_unqualified(name));
    let (mut values, mut keys, mut places) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (number, id) in columns.iter().enumerate() {
        let (value, _) = lowering.column(*id).map_err(unlowerable)?;
        for column in value.column_refs() {
            places.insert(schema.index_of(column.name())?);
        }
        values.push(value.alias(format!("k{number}")));
        keys.push(named(format!("k{number}")));
    }
    let places: Vec<usize> = places.into_iter().collect();
    let rows = "rows of the group";
    let source = Arc::new(DefaultTableSource::new(Arc::clone(&raw.provider)));
    let plan = LogicalPlanBuilder::scan("raw", source, Some(places))?
        .aggregate(values, vec![count(lit(1_i64)).alias(rows)])?
        .filter(named(rows.to_owned()).gt_eq(lit(i64::from(at_least))))?
        .project(keys)?
        .build()?;
    let physical = state.create_physical_plan(&plan).await?;
    let types = physical.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    let batches = collect(remote::pushed(&physical)?, state.task_ctx()).await?;
    KeySet::with_nulls(types, &batches)
}
