//! A source as one statement of one principal sees it. Scanning it gives the raw scan when the decision is clear, a
//! [`BarrierExec`] over it when there are obligations; there is no third way.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result, ScalarValue, internal_datafusion_err};
use datafusion::execution::SessionState;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::object_store::path::Path;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use weir_guard::{KeyRing, Refusal};
use weir_mask::Keys;
use weir_model::{ColumnId, DataSource, RequestId, SourceId};
use weir_policy::{AppliedMask, KeyScope, Mask, Obligations, Residual, Snapshot};
use weir_sources::RawTable;

use crate::barrier::{
    BarrierExec, Conditions, MaskValue, OpaqueScan, Output, OutputMask, OutputPart, Sources, columns_of, part_type,
};
use crate::fault::SourceFault;
use crate::implied::{Shown, implied};
use crate::leakproof::is_leakproof;
use crate::lookup::{Lookups, Own};
use crate::lower::{Lowering, Unlowerable, coerced};
use crate::mask::{CompiledMask, MaskKeys, relaxed_type};

/// A mask and those behind it.
fn chain(first: &AppliedMask) -> impl Iterator<Item = &AppliedMask> {
    std::iter::successors(Some(first), |applied| applied.otherwise.as_deref())
}

/// The keys that the obligations need.
async fn mask_keys(obligations: &Obligations, source: SourceId, keys: &Arc<dyn KeyRing>) -> Result<MaskKeys, Refusal> {
    let masks = || obligations.masks.values().flat_map(|applied| chain(applied));
    let hash = if masks().any(|applied| applied.mask == Mask::Hash) {
        Some(keys.mask_key(&obligations.hash_key).await.map_err(Refusal::unavailable)?.secret)
    } else {
        None
    };
    let samples = |residual: &Residual| residual.any(&|part| matches!(part, Residual::Sampled { .. }));
    let keyed = |mask: &Mask| matches!(mask, Mask::Reversible | Mask::FormatPreserving | Mask::Randomized { .. });
    let needs_own = obligations.rows.iter().any(|part| samples(part))
        || masks().any(|applied| keyed(&applied.mask) || applied.when.as_ref().is_some_and(samples));
    let own = if needs_own {
        let key = keys.mask_key(&KeyScope::Source(source)).await.map_err(Refusal::unavailable)?;
        Some(Arc::new(Keys::new(key.id, key.secret).map_err(Refusal::unavailable)?))
    } else {
        None
    };
    Ok(MaskKeys { hash, own })
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
    access: Access,
}

enum Access {
    Clear,
    Obliged(Box<Obliged>),
    /// With obligations, to be planned and not to be read: which columns are masked.
    Opaque(BTreeSet<ColumnId>),
}

impl Access {
    /// Whether the column or something inside of it is masked.
    fn masks(&self, column: ColumnId, source: &DataSource) -> bool {
        let among = |mut masked: Box<dyn Iterator<Item = &ColumnId> + '_>| {
            masked.any(|id| *id == column || source.part(*id).is_some_and(|part| part.within == column))
        };
        match self {
            Access::Clear => false,
            Access::Obliged(obliged) => among(Box::new(obliged.masks.keys())),
            Access::Opaque(masked) => among(Box::new(masked.iter())),
        }
    }
}

struct Obliged {
    /// The row filter.
    rows: Vec<Arc<Residual>>,
    /// For each masked column or part its masks, each for the rows that those before it leave.
    masks: BTreeMap<ColumnId, Vec<Prepared>>,
    keys: MaskKeys,
    resolver: Resolver,
}

/// A mask as far as it can be prepared before the scan.
struct Prepared {
    value: PreparedValue,
    when: Option<Residual>,
}

enum PreparedValue {
    Kernel { mask: Arc<CompiledMask>, row_key: Vec<usize> },
    Computed(Residual),
}

impl PreparedValue {
    fn reads_values(&self) -> bool {
        match self {
            PreparedValue::Kernel { mask, .. } => mask.reads_values(),
            PreparedValue::Computed(_) => false,
        }
    }
}

impl GovernedTable {
    /// Every row and value as it is.
    pub(crate) fn clear(request: RequestId, source: DataSource, raw: RawTable) -> Result<Self> {
        Self::new(request, source, raw, Access::Clear)
    }

    /// To be planned only, with these columns masked: its scan knows nothing but names and types, so that the plan tells no more.
    pub(crate) fn opaque(
        request: RequestId,
        source: DataSource,
        raw: RawTable,
        masked: BTreeSet<ColumnId>,
    ) -> Result<Self> {
        Self::new(request, source, raw, Access::Opaque(masked))
    }

    /// Under obligations. Compiles the masks; the key ring is asked only for keys that are needed.
    pub(crate) async fn obliged(
        request: RequestId,
        source: DataSource,
        raw: RawTable,
        obligations: Arc<Obligations>,
        keys: &Arc<dyn KeyRing>,
        resolver: Resolver,
    ) -> Result<Self, Refusal> {
        let keys = mask_keys(&obligations, source.id, keys).await?;
        let schema = raw.provider.schema();
        let place = |column: ColumnId| {
            let place = raw.columns.iter().find(|(id, _)| *id == column).map(|(_, place)| *place);
            place.ok_or_else(|| Refusal::bug("a mask names a column that the source does not have"))
        };
        let type_of = |id: ColumnId| {
            let part = raw.parts.iter().find(|part| part.id == id);
            let (place, path) = match part {
                Some(part) => (part.place, part.path.as_slice()),
                None => (place(id)?, &[] as &[String]),
            };
            let outer = schema.fields().get(place).ok_or_else(|| Refusal::bug("a column without a place"))?;
            let found = part_type(outer.data_type(), path);
            found.map(relaxed_type).ok_or_else(|| Refusal::bug("a mask names a part that its column does not have"))
        };
        let mut masks = BTreeMap::new();
        for (column, applied) in &obligations.masks {
            let data_type = type_of(*column)?;
            let prepare = |applied: &AppliedMask| -> Result<Prepared, Refusal> {
                let value = if let Mask::Computed(computed) = &applied.mask {
                    PreparedValue::Computed(computed.clone())
                } else {
                    let keyed =
                        if let Mask::Randomized { row_key, .. } = &applied.mask { row_key.as_slice() } else { &[] };
                    let row_key = keyed.iter().map(|id| place(*id)).collect::<Result<_, _>>()?;
                    let mask = CompiledMask::new(&applied.mask, *column, &data_type, &keys);
                    PreparedValue::Kernel { mask: Arc::new(mask.map_err(|e| Refusal::bug(e.to_string()))?), row_key }
                };
                Ok(Prepared { value, when: applied.when.clone() })
            };
            masks.insert(*column, chain(applied).map(prepare).collect::<Result<_, _>>()?);
        }
        let obliged = Box::new(Obliged { rows: obligations.rows.clone(), masks, keys, resolver });
        Self::new(request, source, raw, Access::Obliged(obliged)).map_err(|e| Refusal::bug(e.to_string()))
    }

    /// Every row and value as it is, of a remote database: what it says when something goes wrong is not passed on, and
    /// what is asked of it is put together at the barrier.
    pub(crate) fn clear_remote(
        request: RequestId,
        source: DataSource,
        raw: RawTable,
        resolver: Resolver,
    ) -> Result<Self> {
        let (masks, keys) = (BTreeMap::new(), MaskKeys::default());
        let obliged = Box::new(Obliged { rows: Vec::new(), masks, keys, resolver });
        Self::new(request, source, raw, Access::Obliged(obliged))
    }

    fn new(request: RequestId, source: DataSource, raw: RawTable, access: Access) -> Result<Self> {
        let raw_schema = raw.provider.schema();
        let mut fields = Vec::with_capacity(raw.columns.len());
        let mut places = Vec::with_capacity(raw.columns.len());
        for (id, place) in raw.columns.iter() {
            let field =
                raw_schema.fields().get(*place).ok_or_else(|| internal_datafusion_err!("a column without a place"))?;
            // Without metadata: what a file says of its columns may tell of values.
            let field = field.as_ref().clone().with_metadata(Default::default());
            fields.push(if access.masks(*id, &source) {
                let data_type = relaxed_type(field.data_type());
                field.with_nullable(true).with_data_type(data_type)
            } else {
                field
            });
            places.push(*place);
        }
        Ok(Self { request, source: Arc::new(source), raw, schema: Arc::new(Schema::new(fields)), places, access })
    }

    pub(crate) fn request(&self) -> RequestId {
        self.request
    }

    pub(crate) fn source(&self) -> &Arc<DataSource> {
        &self.source
    }

    /// What the paths of the files of a clear table begin with; nothing for one with obligations.
    pub(crate) fn clear_root(&self) -> Option<&Path> {
        self.raw.root.as_ref().filter(|_| matches!(self.access, Access::Clear))
    }

    fn is_clear(&self, column: &str) -> bool {
        matches!(self.shown(column), Shown::Clear)
    }

    fn shown(&self, column: &str) -> Shown<'_> {
        let Some(id) = self.source.column(column).map(|column| column.id) else { return Shown::Otherwise };
        if !self.access.masks(id, &self.source) {
            return Shown::Clear;
        }
        let Access::Obliged(obliged) = &self.access else { return Shown::Otherwise };
        match obliged.masks.get(&id).map(Vec::as_slice) {
            Some([Prepared { value: PreparedValue::Kernel { mask, row_key }, when: None }])
                if row_key.is_empty() && self.source.parts.iter().all(|part| part.within != id) =>
            {
                Shown::Masked(mask)
            }
            Some(_) | None => Shown::Otherwise,
        }
    }

    /// What a condition of the statement lets the scan leave out: all that it does when it is leakproof, else what it
    /// implies.
    fn below(&self, filter: &Expr) -> Option<Expr> {
        if is_leakproof(filter, &|column| self.is_clear(column)) {
            return Some(filter.clone());
        }
        implied(filter, &|column| self.shown(column))
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
            let own = Own { source: &self.source, raw: &self.raw };
            let sets = obliged.resolver.lookups.resolve(state, &obliged.resolver.snapshot, own, residual).await?;
            let mut lowering = Lowering {
                schema: &raw_schema,
                columns: &self.raw.columns,
                parts: &self.raw.parts,
                key_sets: sets.into_iter(),
                keys: obliged.keys.own.as_deref(),
            };
            lowering.lower(residual).map_err(|e: Unlowerable| SourceFault::new(self.source.name.clone(), &e).into())
        };
        let output_masks = async |prepared: &[Prepared]| -> Result<Vec<OutputMask>> {
            let mut masks = Vec::with_capacity(prepared.len());
            for Prepared { value, when } in prepared {
                let when = match when {
                    Some(when) => Some(state.create_physical_expr(lowered(when).await?, &named)?),
                    None => None,
                };
                let value = match value {
                    PreparedValue::Kernel { mask, row_key } => {
                        MaskValue::Kernel { mask: Arc::clone(mask), row_key: row_key.clone() }
                    }
                    PreparedValue::Computed(computed) => {
                        MaskValue::Computed(state.create_physical_expr(lowered(computed).await?, &named)?)
                    }
                };
                masks.push(OutputMask { value, when });
            }
            Ok(masks)
        };
        let mut row_filter = Vec::with_capacity(obliged.rows.len());
        for residual in &obliged.rows {
            row_filter.push(coerced(lowered(residual).await?, &named)?);
        }
        let mut outputs = Vec::with_capacity(projection.len());
        for index in projection {
            let (Some((id, place)), Some(field)) = (self.raw.columns.get(*index), self.schema.fields().get(*index))
            else {
                return Err(internal_datafusion_err!("a projection beyond the schema"));
            };
            let prepared = obliged.masks.get(id).map_or(&[] as &[Prepared], Vec::as_slice);
            let masks = output_masks(prepared).await?;
            let mut parts = Vec::new();
            // Outer ones first, so that what is inside of them is masked in what they leave.
            for part in self.source.parts.iter().filter(|part| part.within == *id) {
                if let Some(prepared) = obliged.masks.get(&part.column.id) {
                    parts.push(OutputPart { path: part.path.clone(), masks: output_masks(prepared).await? });
                }
            }
            let reads = prepared.iter().any(|mask| mask.value.reads_values())
                || prepared.last().is_none_or(|mask| mask.when.is_some());
            let column = reads.then_some(*place);
            outputs.push(Output { field: field.as_ref().clone(), column, masks, parts, late: None });
        }

        let physical = |exprs: &[Expr]| -> Result<Vec<Arc<dyn PhysicalExpr>>> {
            exprs.iter().map(|expr| state.create_physical_expr(expr.clone(), &named)).collect()
        };
        let mut statement: Vec<Expr> = Vec::new();
        for filter in filters {
            let below =
                self.below(filter).ok_or_else(|| internal_datafusion_err!("a condition that was not pushed down"))?;
            statement.extend(split_conjunction_owned(below));
        }
        let policy: Vec<Expr> = row_filter.into_iter().flat_map(split_conjunction_owned).collect();
        let conditions = Conditions { statement: physical(&statement)?, policy: physical(&policy)? };
        let mut is_empty = false;
        for condition in &conditions.statement {
            is_empty |= is_never_true(condition)?;
        }

        let mut needed = BTreeSet::new();
        for condition in conditions.statement.iter().chain(&conditions.policy) {
            columns_of(condition, &mut needed)?;
        }
        for output in &outputs {
            needed.append(&mut output.needs()?);
        }
        let needed: Vec<usize> = needed.into_iter().collect();
        let conjuncts: Vec<Expr> = statement.into_iter().chain(policy).collect();
        let raw = if is_empty {
            Arc::new(EmptyExec::new(Arc::new(raw_schema.project(&needed)?)))
        } else {
            self.raw.provider.scan(state.as_ref(), Some(&needed), &conjuncts, None).await?
        };
        let scanned = raw.schema();
        let conditions = conditions.over(&scanned)?;
        let outputs = outputs.iter().map(|output| output.over(&raw_schema, &scanned)).collect::<Result<_>>()?;
        let sources = Sources::one(self.source.id, self.source.name.clone());
        Ok(Arc::new(BarrierExec::new(sources, raw, conditions, outputs, limit)?))
    }
}

/// Whether the condition depends on no row and is not true.
fn is_never_true(condition: &Arc<dyn PhysicalExpr>) -> Result<bool> {
    let mut columns = BTreeSet::new();
    columns_of(condition, &mut columns)?;
    if !columns.is_empty() {
        return Ok(false);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
    let holds = ScalarValue::try_from_array(&condition.evaluate(&row)?.into_array(1)?, 0)?;
    Ok(matches!(holds, ScalarValue::Boolean(Some(false) | None)))
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
        if matches!(self.access, Access::Clear) {
            return self.raw.provider.supports_filters_pushdown(filters);
        }
        let answer = |filter: &&Expr| {
            if is_leakproof(filter, &|column| self.is_clear(column)) {
                TableProviderFilterPushDown::Exact
            } else if self.below(filter).is_some() {
                TableProviderFilterPushDown::Inexact
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
        let scanned = match &self.access {
            Access::Obliged(obliged) => self.scan_obliged(obliged, &projection, filters, limit).await,
            Access::Opaque(_) => {
                let schema = Arc::new(self.schema.project(&projection)?);
                let partitions = state.config().target_partitions();
                return Ok(Arc::new(OpaqueScan::new(&self.source, schema, filters, limit, partitions)));
            }
            Access::Clear => {
                let places: Option<Vec<usize>> = projection.iter().map(|i| self.places.get(*i).copied()).collect();
                let places = places.ok_or_else(|| internal_datafusion_err!("a projection beyond the schema"))?;
                self.raw.provider.scan(state, Some(&places), filters, limit).await
            }
        };
        // An error of the raw scan may name files.
        scanned.map_err(|e| SourceFault::new(self.source.name.clone(), &e).into())
    }
}
