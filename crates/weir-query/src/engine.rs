//! The path of a read: names, decision, record, plan, verification, rows.

mod bind;
mod explain;
mod grouping;
mod intake;
mod lanes;
mod lines;
mod rows;
mod sheet;
mod users;
mod views;
mod write;

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, new_null_array};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{DataFusionError, ParamValues, ScalarValue};
use datafusion::execution::cache::cache_manager::CacheManagerConfig;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SendableRecordBatchStream, SessionState, SessionStateBuilder, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::pg_catalog::setup_pg_catalog;
use tokio::sync::oneshot;
use weir_guard::{Admitted, Basis, Caller, Ended, Guard, Outside, Refusal, Request, Truth, Workspaces};
use weir_model::{Lineage, ProjectName, RequestId};
use weir_policy::{Decision, DenyReason};
use weir_sources::{Connect, Sources};

use crate::builtins;
use crate::catalogue::{CATALOG, DEFAULT_SCHEMA, SystemCatalogs, Visible, VisibleTable};
use crate::descent;
use crate::fault::{planning_refusal, refusal};
use crate::functions;
use crate::late;
use crate::lookup::Lookups;
use crate::remote;
use crate::statement::Query;
use crate::verify::{self, Reads};
use bind::Bound;
use grouping::PlainGroupingSets;
pub use intake::Intake;
use lanes::{Lanes, Threads};
pub use rows::Rows;
pub use users::UserLimits;
use users::{Seat, Users};
use write::Workshop;
pub use write::WorkspaceSettings;

/// Limits of the engine.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// For all statements together; beyond it they spill or are refused.
    pub memory_bytes_max: usize,
    /// Parallel streams of one statement.
    pub partitions: usize,
    /// Longest statement, in bytes.
    pub statement_bytes_max: usize,
    pub user: UserLimits,
}

/// Runs reads. One per process; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    guard: Guard,
    settings: EngineSettings,
    /// Functions, rules and settings of every statement; has no tables.
    template: Arc<SessionState>,
    sources: Arc<Sources>,
    lookups: Arc<Lookups>,
    catalogs: Arc<SystemCatalogs>,
    users: Users,
    lanes: Lanes,
    /// Absent where nothing is written.
    workspaces: Option<Workshop>,
}

/// The shape of a read, for a prepared statement.
#[derive(Clone, Debug)]
pub struct Described {
    /// One for each `$n`, in order. A type that cannot be inferred is `Utf8`.
    pub parameters: Vec<DataType>,
    pub schema: SchemaRef,
    /// For [`Engine::run_as_described`].
    pub basis: Arc<Basis>,
}

impl Engine {
    /// # Errors
    /// When the engine cannot be set up; a defect.
    pub fn new(guard: Guard, settings: EngineSettings) -> Result<Self, Refusal> {
        Self::build(guard, settings, |state| state, None)
    }

    /// With workspaces, in which members of projects write tables.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_workspaces(
        guard: Guard,
        settings: EngineSettings,
        register: Arc<dyn Workspaces>,
        workspaces: WorkspaceSettings,
    ) -> Result<Self, Refusal> {
        Self::build(guard, settings, |state| state, Some(Workshop { register, settings: workspaces }))
    }

    /// As [`Self::new`], with other settings and rules of the engine below: tests show that nothing which is enforced
    /// hangs on them. No setting leads here.
    #[doc(hidden)]
    pub fn altered(
        guard: Guard,
        settings: EngineSettings,
        alter: impl FnOnce(SessionState) -> SessionState,
    ) -> Result<Self, Refusal> {
        Self::build(guard, settings, alter, None)
    }

    fn build(
        guard: Guard,
        settings: EngineSettings,
        alter: impl FnOnce(SessionState) -> SessionState,
        workspaces: Option<Workshop>,
    ) -> Result<Self, Refusal> {
        let template = template(&settings).map(alter).map_err(|e| Refusal::bug(e.to_string()))?;
        let connections = Arc::clone(guard.connections());
        let stores = Arc::clone(&connections);
        let connect = Connect {
            database: Arc::new(move |name| {
                let connections = Arc::clone(&connections);
                Box::pin(async move { connections.connection(&name).await.map_err(|e| e.to_string()) })
            }),
            store: Arc::new(move |name| {
                let connections = Arc::clone(&stores);
                Box::pin(async move { connections.store(&name).await.map_err(|e| e.to_string()) })
            }),
        };
        let sources = Arc::new(Sources::new(connect));
        let inner = Inner {
            guard,
            users: Users::new(settings.user.clone(), Arc::clone(template.runtime_env())),
            lanes: Lanes::new(settings.partitions),
            settings,
            template: Arc::new(template),
            lookups: Arc::new(Lookups::new(Arc::clone(&sources))),
            sources,
            catalogs: Arc::new(SystemCatalogs::new().map_err(|e| refusal(&e))?),
            workspaces,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Parameter types and result shape of a read, as this caller would see it now. Recorded in the audit log only
    /// when refused. Names that are missing and names that are not to be seen give the same refusal.
    pub async fn describe(&self, caller: &Caller, query: &Query) -> Result<Described, Refusal> {
        let request = self.inner.guard.begin(caller.clone(), &query.text).await?;
        let (threads, request, seat) = self.inner.seated(request).await?;
        let (inner, query) = (Arc::clone(&self.inner), query.clone());
        let mut working = threads.spawn(async move {
            let _seat = seat;
            let Bound { state, plan, request, decision, runs: _ } = Box::pin(inner.bind(request, &query)).await?;
            let parameters = bind::parameter_types(&plan).map_err(|e| refusal(&e))?;
            let schema = if query.explain { explain::schema() } else { result_schema(&state, plan, &parameters)? };
            Ok(Described { parameters, schema: query.named(&schema), basis: Arc::new(request.basis(&decision)) })
        });
        working.done().await?
    }

    /// Puts on record that a statement was refused before it came here, and gives the refusal to tell.
    pub async fn refuse(&self, caller: &Caller, statement: &str, refusal: Refusal) -> Refusal {
        match self.inner.guard.begin(caller.clone(), statement).await {
            Ok(request) => request.refuse(refusal).await,
            Err(refusal) => refusal,
        }
    }

    /// Whether the caller may act so: as whom, and in which project. On record either way.
    pub async fn enter(&self, caller: &Caller, statement: &str) -> Result<(), Refusal> {
        let request = self.inner.guard.begin(caller.clone(), statement).await?;
        if let Some(project) = &caller.project {
            let mine = request.snapshot().projects(&request.principal().id);
            let closed = match mine.into_iter().find(|(name, _)| *name == project) {
                Some((_, why)) => why,
                None => Some(DenyReason::NoSuchProject),
            };
            if let Some(why) = closed {
                let text = if let DenyReason::NotAcknowledged { purpose } = &why {
                    format!("purpose `{purpose}` of project `{project}` has not been acknowledged")
                } else {
                    format!("there is no project `{project}` that you are a member of")
                };
                let refusal = Refusal::new(Outside::Forbidden { text }, Truth::Denied, why.to_string());
                return Err(request.refuse(refusal).await);
            }
        }
        let nothing = request.decide(&[]);
        request.admit(&nothing).await?.end(Ended::Complete, None).await
    }

    /// The projects in which the caller may act, by name, and why one of them is closed at present. On record.
    pub async fn projects(
        &self,
        caller: &Caller,
        statement: &str,
    ) -> Result<Vec<(ProjectName, Option<String>)>, Refusal> {
        let request = self.inner.guard.begin(caller.clone(), statement).await?;
        let mine = request.snapshot().projects(&request.principal().id);
        let told = mine.into_iter().map(|(name, why)| (name.clone(), why.map(|why| why.to_string()))).collect();
        let nothing = request.decide(&[]);
        request.admit(&nothing).await?.end(Ended::Complete, None).await?;
        Ok(told)
    }

    /// Decides, records and runs a read. `params` are arrays of length one, of the types that [`Self::describe`]
    /// gave or that can be cast to them.
    pub async fn run(&self, caller: &Caller, query: &Query, params: Vec<ArrayRef>) -> Result<Rows, Refusal> {
        self.start(caller, query, params, None).await
    }

    /// As [`Self::run`], and refused when another decision holds than when the read was described.
    pub async fn run_as_described(
        &self,
        caller: &Caller,
        query: &Query,
        params: Vec<ArrayRef>,
        basis: Arc<Basis>,
    ) -> Result<Rows, Refusal> {
        self.start(caller, query, params, Some(basis)).await
    }

    /// The data sources that the caller may read, by schema and name. `asked` is what to put on record.
    pub async fn list(&self, caller: &Caller, asked: &str) -> Result<Vec<VisibleTable>, Refusal> {
        let request = self.inner.guard.begin(caller.clone(), asked).await?;
        let tables = Visible::new(&request).list();
        let nothing = request.decide(&[]);
        request.admit(&nothing).await?.end(Ended::Complete, None).await?;
        Ok(tables)
    }

    async fn start(
        &self,
        caller: &Caller,
        query: &Query,
        params: Vec<ArrayRef>,
        basis: Option<Arc<Basis>>,
    ) -> Result<Rows, Refusal> {
        let request = self.inner.guard.begin(caller.clone(), &query.text).await?;
        let (threads, request, seat) = self.inner.seated(request).await?;
        let (inner, query) = (Arc::clone(&self.inner), query.clone());
        let (output, input) = rows::pipe();
        let working = threads.spawn(async move {
            match Box::pin(inner.open(request, &seat, &query, &params, basis.as_deref(), None)).await {
                Ok((opened, admitted)) => {
                    let schema = query.named(&opened.schema());
                    output.flow(opened, schema, admitted, inner.users.limits()).await
                }
                Err(refusal) => output.refuse(refusal),
            }
        });
        input.rows(working).await
    }
}

impl Inner {
    /// A place for one more statement of the user, and the threads that work on hers. The place is free when the work
    /// that holds it ends.
    async fn seated(&self, request: Request) -> Result<(Threads<'_>, Request, Seat), Refusal> {
        let seat = self.users.seat(&request.actor().authenticated);
        match seat.and_then(|seat| Ok((self.lanes.get(seat.lane)?, seat))) {
            Ok((threads, seat)) => Ok((threads, request, seat)),
            Err(refusal) => Err(request.refuse(refusal).await),
        }
    }

    /// From a request to rows that can be had, with the read on record. Where they are to be written, what they come
    /// from is told first.
    async fn open(
        &self,
        request: Request,
        seat: &Seat,
        query: &Query,
        params: &[ArrayRef],
        basis: Option<&Basis>,
        tell: Option<oneshot::Sender<Option<Lineage>>>,
    ) -> Result<(Opened, Admitted), Refusal> {
        let Bound { request, decision, mut state, plan, runs } = self.bind(request, query).await?;
        if let Some(refusal) = basis.and_then(|basis| request.changed_since(basis, &decision)) {
            return Err(request.refuse_decided(&decision, refusal).await);
        }
        let runs = runs.map(|(state, plan)| Ok((state, fill(plan, params)?))).transpose();
        let (plan, runs) = match (fill(plan, params), runs) {
            (Ok(plan), Ok(runs)) => (plan, runs),
            (Err(refusal), _) | (_, Err(refusal)) => return Err(request.refuse_decided(&decision, refusal).await),
        };
        if let Some(tell) = tell {
            match descent::of(&plan, &decision, request.snapshot()) {
                // Who does not wait any more does not want to know.
                Ok(lineage) => drop(tell.send(lineage)),
                Err(refusal) => return Err(request.refuse_decided(&decision, refusal).await),
            }
        }
        let (id, obligations) = (request.id(), query.explain.then(|| explain::obligations(&request, &decision)));
        let admitted = request.admit(&decision).await?;
        state.mark_start_execution();
        let opened = if let Some(mut more) = obligations {
            let sent = match runs {
                Some((state, plan)) => runnable_plan(&state, &plan, &decision, id).await.map(|p| explain::sent(&p)),
                None => Ok(Vec::new()),
            };
            match sent {
                Ok(sent) => {
                    more.extend(sent);
                    explain::plan(&state, &plan, &decision, id, more).await
                }
                Err(refusal) => Err(refusal),
            }
        } else {
            let planned = runnable_plan(&state, &plan, &decision, id).await;
            planned.and_then(|plan| {
                let context = TaskContext::from(&state).with_runtime(Arc::clone(&seat.runtime));
                execute_stream(plan, Arc::new(context)).map_err(|e| refusal(&e))
            })
        };
        match opened {
            Ok(stream) => Ok((stream, admitted)),
            Err(refusal) => Err(fail(admitted, refusal).await),
        }
    }
}

/// What a read gives, not polled yet.
type Opened = SendableRecordBatchStream;

/// Verified once more as it will run.
async fn runnable_plan(
    state: &SessionState,
    plan: &LogicalPlan,
    decision: &Decision,
    id: RequestId,
) -> Result<Arc<dyn ExecutionPlan>, Refusal> {
    let (physical, reads) = physical_plan(state, plan, decision, id).await?;
    let physical = remote::pushed(&physical).map_err(|e| planning_refusal(&e))?;
    let physical = late::masks(&physical).map_err(|e| planning_refusal(&e))?;
    verify::physical(&physical, &reads)?;
    late::verify(&physical)?;
    Ok(physical)
}

/// Made from a plan that was verified before and after optimisation.
async fn physical_plan(
    state: &SessionState,
    plan: &LogicalPlan,
    decision: &Decision,
    id: RequestId,
) -> Result<(Arc<dyn ExecutionPlan>, Reads), Refusal> {
    verify::logical(plan, id)?.are_covered_by(decision)?;
    let optimised = state.optimize(plan).map_err(|e| refusal(&e))?;
    let reads = verify::logical(&optimised, id)?;
    reads.are_covered_by(decision)?;
    let planner = state.query_planner();
    let physical = planner.create_physical_plan(&optimised, state).await.map_err(|e| planning_refusal(&e))?;
    Ok((physical, reads))
}

/// Ends an admitted read that could not be carried through, on record.
async fn fail(admitted: Admitted, refusal: Refusal) -> Refusal {
    let request = admitted.request();
    let detail = refusal.inside().detail.clone();
    tracing::debug!(request.id = %request, error.kind = refusal.inside().truth.as_str(), "read failed");
    let ended = if refusal.inside().truth == Truth::Revoked { Ended::Revoked } else { Ended::Failed };
    match admitted.end(ended, Some(detail)).await {
        Ok(()) => refusal.of_request(request),
        Err(unrecorded) => unrecorded,
    }
}

fn template(settings: &EngineSettings) -> datafusion::common::Result<SessionState> {
    // Each user's share of it is another pool, before this one.
    let pool = GreedyMemoryPool::new(settings.memory_bytes_max);
    // A list of files that is kept would hide files that were added since.
    let caches = CacheManagerConfig::default().with_list_files_cache_limit(0);
    let runtime: Arc<RuntimeEnv> =
        RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).with_cache_manager(caches).build_arc()?;
    let config = SessionConfig::new()
        .with_target_partitions(settings.partitions.max(1))
        .with_default_catalog_and_schema(CATALOG, DEFAULT_SCHEMA)
        .set_bool("datafusion.catalog.create_default_catalog_and_schema", true)
        // Makes `timestamptz` a type of its own; a statement has the zone of its connection.
        .set_str("datafusion.execution.time_zone", "+00:00")
        // The engine pushes the bound of one `min` below another aggregate that needs the rows which it drops.
        .set_bool("datafusion.optimizer.enable_aggregate_dynamic_filter_pushdown", false)
        // By the bounds that a join hands to a scan while both run, the scan at times drops rows that the join needs.
        .set_bool("datafusion.optimizer.enable_join_dynamic_filter_pushdown", false)
        // Moving the fields of structs out of join keys loses track of their names.
        .set_bool("datafusion.optimizer.enable_leaf_expression_pushdown", false);
    let context = SessionContext::new_with_config_rt(config, runtime);
    setup_pg_catalog(&context, CATALOG, EmptyContextProvider).map_err(|e| *e)?;
    let state = context.state();
    let mut rules = state.physical_optimizers().to_vec();
    rules.insert(0, Arc::new(PlainGroupingSets));
    let mut state = SessionStateBuilder::new_from_existing(state).with_physical_optimizer_rules(rules).build();
    builtins::restrict(&mut state)?;
    builtins::check(&state, &functions::names()).map_err(DataFusionError::Internal)?;
    Ok(state)
}

#[cfg(test)]
pub(crate) fn template_for_tests() -> SessionState {
    let (partitions, user) = (2, UserLimits::default());
    template(&EngineSettings { memory_bytes_max: 1 << 30, partitions, statement_bytes_max: 1 << 20, user }).unwrap()
}

/// The columns of a read as it will run, with whatever stands for `$n`: types that have to meet are made equal after
/// names are bound.
fn result_schema(state: &SessionState, plan: LogicalPlan, parameters: &[DataType]) -> Result<SchemaRef, Refusal> {
    let nulls: Vec<ArrayRef> = parameters.iter().map(|data_type| new_null_array(data_type, 1)).collect();
    let plan = fill(plan, &nulls)?;
    let analysed = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {});
    Ok(Arc::clone(analysed.map_err(|e| refusal(&e))?.schema().inner()))
}

/// Puts values in the place of `$n`.
fn fill(plan: LogicalPlan, params: &[ArrayRef]) -> Result<LogicalPlan, Refusal> {
    let types = bind::parameter_types(&plan).map_err(|e| refusal(&e))?;
    if types.len() != params.len() {
        return Err(Refusal::invalid(format!(
            "the statement has {} parameters, but {} values were given",
            types.len(),
            params.len()
        )));
    }
    if types.is_empty() {
        return Ok(plan);
    }
    let value = |(param, data_type): (&ArrayRef, &DataType)| {
        let value = ScalarValue::try_from_array(param, 0)?;
        if value.data_type() == *data_type { Ok(value) } else { value.cast_to(data_type) }
    };
    let values = params.iter().zip(&types).map(value).collect::<Result<Vec<_>, _>>().map_err(|e| refusal(&e))?;
    plan.with_param_values(ParamValues::from(values)).map_err(|e| refusal(&e))
}
