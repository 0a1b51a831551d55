//! A source as one statement of one principal sees it. Scanning it gives the raw scan when the decision is clear, a
//! [`BarrierExec`] over it when there are obligations; there is no third way.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result, internal_datafusion_err};
use datafusion::execution::SessionState;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::reassign_expr_columns;
use datafusion::physical_plan::ExecutionPlan;
use weir_guard::{KeyRing, Refusal};
use weir_model::{ColumnId, DataSource, RequestId, SourceId};
use weir_policy::{AppliedMask, Mask, Obligations, Residual, Snapshot};
use weir_sources::RawTable;

use crate::barrier::{BarrierExec, Output, OutputMask, columns_of};
use crate::fault::SourceFault;
use crate::leakproof::is_leakproof;
use crate::lookup::Lookups;
use crate::lower::{Lowering, Unlowerable, coerced};
use crate::mask::CompiledMask;

/// A mask and those behind it.
fn chain(first: &AppliedMask) -> impl Iterator<Item = &AppliedMask> {
    std::iter::successors(Some(first), |applied| applied.otherwise.as_deref())
}

/// What lookups need when a governed table is scanned.
#[derive(Clone)]
pub(crate) struct Resolver {
    pub(crate) lookups: Arc<Lookups>,
    pub(crate) state: Arc<SessionState>,
    pub(crate) snapshot: Arc<Snapshot>,
}

pub(crate) struct GovernedTable {
    /// The request that the decision was made for: the verifier lets no other scan through.
    request: RequestId,
    source: Arc<DataSource>,
    raw: RawTable,
    /// Visible columns by name, with the place in the raw schema.
    schema: SchemaRef,
    places: Vec<usize>,
    obliged: Option<Obliged>,
}

struct Obliged {
    obligations: Arc<Obligations>,
    /// For each masked column its masks, each for the rows that those before it leave.
    masks: BTreeMap<ColumnId, Vec<(CompiledMask, Option<Residual>)>>,
    resolver: Resolver,
}

impl GovernedTable {
    /// Every row and value as it is.
    pub(crate) fn clear(request: RequestId, source: DataSource, raw: RawTable) -> Result<Self> {
        Self::new(request, source, raw, None)
    }

    /// Under obligations. Compiles the masks; the key ring is asked only when one of them hashes.
    pub(crate) async fn obliged(
        request: RequestId,
        source: DataSource,
        raw: RawTable,
        obligations: Arc<Obligations>,
        keys: &Arc<dyn KeyRing>,
        resolver: Resolver,
    ) -> Result<Self, Refusal> {
        let hashes = obligations.masks.values().flat_map(chain).any(|applied| applied.mask == Mask::Hash);
        let key = if hashes { Some(keys.hash_key(source.id).await.map_err(Refusal::unavailable)?) } else { None };
        let schema = raw.provider.schema();
        let mut masks = BTreeMap::new();
        for (column, applied) in &obligations.masks {
            let place =
                raw.columns.iter().find(|(id, _)| id == column).and_then(|(_, place)| schema.fields().get(*place));
            let field = place.ok_or_else(|| Refusal::bug("a mask names a column that the source does not have"))?;
            let compile = |applied: &AppliedMask| {
                let mask = CompiledMask::new(&applied.mask, field.data_type(), key.as_ref());
                mask.map(|mask| (mask, applied.when.clone())).map_err(|e| Refusal::bug(e.to_string()))
            };
            masks.insert(*column, chain(applied).map(compile).collect::<Result<_, _>>()?);
        }
        let obliged = Obliged { obligations, masks, resolver };
        Self::new(request, source, raw, Some(obliged)).map_err(|e| Refusal::bug(e.to_string()))
    }

    fn new(request: RequestId, source: DataSource, raw: RawTable, obliged: Option<Obliged>) -> Result<Self> {
        let raw_schema = raw.provider.schema();
        let mut fields = Vec::with_capacity(raw.columns.len());
        let mut places = Vec::with_capacity(raw.columns.len());
        for (id, place) in raw.columns.iter() {
            let field =
                raw_schema.fields().get(*place).ok_or_else(|| internal_datafusion_err!("a column without a place"))?;
            let masked = obliged.as_ref().is_some_and(|obliged| obliged.masks.contains_key(id));
            // Without metadata: what a file says of its columns may tell of values.
            let field = field.as_ref().clone().with_metadata(Default::default());
            fields.push(if masked { field.with_nullable(true) } else { field });
            places.push(*place);
        }
        Ok(Self { request, source: Arc::new(source), raw, schema: Arc::new(Schema::new(fields)), places, obliged })
    }

    pub(crate) fn request(&self) -> RequestId {
        self.request
    }

    pub(crate) fn source(&self) -> SourceId {
        self.source.id
    }

    /// Under which path the files of a clear table lie; nothing for one with obligations.
    pub(crate) fn clear_root(&self) -> Option<&std::path::Path> {
        self.obliged.is_none().then_some(self.raw.root.as_path())
    }

    fn is_clear(&self, column: &str) -> bool {
        let id = self.source.column(column).map(|c| c.id);
        let masked = |id| self.obliged.as_ref().is_some_and(|obliged| obliged.masks.contains_key(&id));
        id.is_some_and(|id| !masked(id))
    }

    async fn scan_obliged(
        &self,
        obliged: &Obliged,
        projection: &[usize],
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let state = &obliged.resolver.state;
        let raw_schema = self.raw.provider.schema();
        let named = DFSchema::try_from(raw_schema.as_ref().clone())?;
        let lowered = async |residual: &Residual| -> Result<Expr> {
            let sets = obliged.resolver.lookups.resolve(state, &obliged.resolver.snapshot, residual).await?;
            let mut lowering = Lowering { schema: &raw_schema, columns: &self.raw.columns, key_sets: sets.into_iter() };
            lowering.lower(residual).map_err(|e: Unlowerable| SourceFault::new(self.source.name.clone(), &e).into())
        };
        let row_filter = match &obliged.obligations.row_filter {
            Some(residual) => Some(coerced(lowered(residual).await?, &named)?),
            None => None,
        };
        let mut outputs = Vec::with_capacity(projection.len());
        for index in projection {
            let (Some((id, place)), Some(field)) = (self.raw.columns.get(*index), self.schema.fields().get(*index))
            else {
                return Err(internal_datafusion_err!("a projection beyond the schema"));
            };
            let mut masks = Vec::new();
            for (mask, when) in obliged.masks.get(id).into_iter().flatten() {
                let when = match when {
                    Some(when) => Some(state.create_physical_expr(lowered(when).await?, &named)?),
                    None => None,
                };
                masks.push(OutputMask { mask: mask.clone(), when });
            }
            let reads = masks.first().is_none_or(|m| m.when.is_some() || m.mask.reads_values());
            outputs.push(Output { field: field.as_ref().clone(), column: reads.then_some(*place), masks });
        }

        // Only leakproof conditions of the statement come here: they cannot fail, so the usually more selective ones
        // go first.
        let conjuncts: Vec<Expr> =
            filters.iter().cloned().chain(row_filter).flat_map(split_conjunction_owned).collect();
        let predicate = conjuncts.iter().cloned().reduce(Expr::and);
        let predicate = predicate.map(|p| state.create_physical_expr(p, &named)).transpose()?;

        let mut needed = BTreeSet::new();
        if let Some(predicate) = &predicate {
            columns_of(predicate, &mut needed)?;
        }
        for output in &outputs {
            needed.append(&mut output.needs()?);
        }
        let needed: Vec<usize> = needed.into_iter().collect();
        let raw = self.raw.provider.scan(state.as_ref(), Some(&needed), &conjuncts, None).await?;
        let scanned = raw.schema();
        let narrow = |expr: Arc<dyn PhysicalExpr>| reassign_expr_columns(expr, &scanned);
        let predicate = predicate.map(narrow).transpose()?;
        let outputs = outputs.iter().map(|output| output.over(&raw_schema, &scanned)).collect::<Result<_>>()?;
        Ok(Arc::new(BarrierExec::new((self.source.id, self.source.name.clone()), raw, predicate, outputs, limit)?))
    }
}

impl fmt::Debug for GovernedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GovernedTable").field("source", &self.source.name.to_string()).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for GovernedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        if self.obliged.is_none() {
            return self.raw.provider.supports_filters_pushdown(filters);
        }
        let answer = |filter: &&Expr| {
            if is_leakproof(filter, &|column| self.is_clear(column)) {
                TableProviderFilterPushDown::Exact
            } else {
                TableProviderFilterPushDown::Unsupported
            }
        };
        Ok(filters.iter().map(answer).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let projection: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..self.places.len()).collect());
        let scanned = match &self.obliged {
            Some(obliged) => self.scan_obliged(obliged, &projection, filters, limit).await,
            None => {
                let places: Option<Vec<usize>> = projection.iter().map(|i| self.places.get(*i).copied()).collect();
                let places = places.ok_or_else(|| internal_datafusion_err!("a projection beyond the schema"))?;
                self.raw.provider.scan(state, Some(&places), filters, limit).await
            }
        };
        // An error of the raw scan may name files.
        scanned.map_err(|e| SourceFault::new(self.source.name.clone(), &e).into())
    }
}
