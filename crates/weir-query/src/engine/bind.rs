//! From a parsed read to a plan over the catalogue that the caller sees, with one decision for all its sources.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, ScalarUDF};
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::Statement as Sql;
use weir_guard::{Outside, Refusal, Request, Truth};
use weir_model::{Location, SourceId, SourceName};
use weir_policy::{Decision, DenyReason, Snapshot, SourceDecision};

use super::views::Views;
use super::{Inner, explain};
use crate::builtins;
use crate::catalogue::{ActorCatalogue, CATALOG, DEFAULT_SCHEMA, INFORMATION_SCHEMA, PG_CATALOG, System, Visible};
use crate::fault::{self, refusal};
use crate::functions;
use crate::govern::{GovernedTable, Resolver};
use crate::statement::Query;

/// A read whose names are bound and whose decision is made; not yet on record.
pub(super) struct Bound {
    pub(super) request: Request,
    pub(super) decision: Decision,
    pub(super) state: SessionState,
    pub(super) plan: LogicalPlan,
    /// What would run, where that is to be told and the plan is to be shown.
    pub(super) runs: Option<(SessionState, LogicalPlan)>,
}

/// What a statement names.
#[derive(Default)]
pub(super) struct Names {
    pub(super) sources: BTreeMap<SourceName, SourceId>,
    /// Whatever has to be a source, as it is written, and which one that is.
    pub(super) wanted: Vec<(String, Option<SourceId>)>,
    /// Whether it reads `pg_catalog` or `information_schema`.
    pub(super) system: bool,
}

impl Inner {
    /// Everything up to the record. What is refused is on record when this returns.
    pub(super) async fn bind(&self, request: Request, query: &Query) -> Result<Bound, Refusal> {
        if query.text.len() > self.settings.statement_bytes_max {
            let text = format!("the statement is longer than {} bytes", self.settings.statement_bytes_max);
            let too_long = Refusal::new(Outside::TooMuch { text: text.clone() }, Truth::Limit, text);
            return Err(request.refuse(too_long).await);
        }
        let statement = EngineStatement::Statement(Box::new(Sql::Query(query.parsed.clone())));
        let mut names = match names(&statement, &request) {
            Ok(names) => names,
            Err(refusal) => return Err(request.refuse(refusal).await),
        };
        let mut views = Views::of(&mut names, &request);
        let ids: Vec<SourceId> = names.sources.values().copied().collect();
        let decision = request.decide(&ids);
        if let Some(refusal) = not_there(&decision, &names, request.snapshot()).or_else(|| views.unreadable.take()) {
            return Err(request.refuse_decided(&decision, refusal).await);
        }
        let is_remote = |id: &SourceId| {
            let source = request.snapshot().source(*id);
            source.is_some_and(|source| matches!(source.location, Location::Table { .. }))
        };
        let tells = query.explain && explain::tells_more(&request) && ids.iter().any(is_remote);
        let runs = match tells {
            true => self.plan(&request, &decision, (&names, &views), statement.clone(), query, false).await.map(Some),
            false => Ok(None),
        };
        match (self.plan(&request, &decision, (&names, &views), statement, query, query.explain).await, runs) {
            (Ok((state, plan)), Ok(runs)) => Ok(Bound { request, decision, state, plan, runs }),
            (Err(refusal), _) | (_, Err(refusal)) => Err(request.refuse_decided(&decision, refusal).await),
        }
    }

    async fn plan(
        &self,
        request: &Request,
        decision: &Decision,
        (names, views): (&Names, &Views),
        statement: EngineStatement,
        query: &Query,
        explain: bool,
    ) -> Result<(SessionState, LogicalPlan), Refusal> {
        let mut bound = self.govern(request, decision, explain).await?;
        let mut state = self.template.as_ref().clone();
        functions::register(&mut state, &request.principal().id).map_err(|e| refusal(&e))?;
        let called = functions::called(&query.parsed);
        let system = (names.system || !called.is_empty()).then(|| System {
            catalogs: Arc::clone(&self.catalogs),
            reader: self.catalogs.reader(&Visible::new(request)),
            asked: Arc::clone(&query.asked),
        });
        if let Some(system) = &system {
            functions::register_called(&mut state, &called, system).map_err(|e| refusal(&e))?;
        }
        if let Some(zone) = &query.asked.zone {
            in_zone(&mut state, zone).map_err(|e| refusal(&e))?;
        }
        views.bind(&state, request, query, &mut bound).await?;
        state.register_catalog_list(ActorCatalogue::list(bound, system.as_ref()));
        let plan = state.statement_to_plan(statement).await.map_err(|e| refusal(&e))?;
        Ok((state, plan))
    }

    /// The tables of the statement, each as its decision obliges; for a plan only, nothing is known of rows that are
    /// not all seen.
    async fn govern(
        &self,
        request: &Request,
        decision: &Decision,
        explain: bool,
    ) -> Result<HashMap<SourceName, Arc<dyn TableProvider>>, Refusal> {
        let mut bound: HashMap<SourceName, Arc<dyn TableProvider>> = HashMap::new();
        for (id, decided) in &decision.sources {
            let source = request.snapshot().source(*id).ok_or_else(|| Refusal::bug("a decided source is gone"))?;
            if source.view().is_some() {
                continue;
            }
            let raw = self.sources.open(self.template.as_ref(), source).await.map_err(|e| {
                let cause = fault::SourceFault::new(source.name.clone(), &fault::chain(&e));
                refusal(&cause.into())
            })?;
            let resolver = || Resolver {
                lookups: Arc::clone(&self.lookups),
                state: Arc::clone(&self.template),
                snapshot: Arc::clone(request.snapshot()),
            };
            let table = match decided {
                SourceDecision::Obliged(obligations, _) if explain => {
                    let masked = obligations.masks.keys().copied().collect();
                    GovernedTable::opaque(request.id(), source.clone(), raw, masked).map_err(|e| refusal(&e))?
                }
                SourceDecision::Clear(_) if explain && raw.root.is_none() => {
                    GovernedTable::opaque(request.id(), source.clone(), raw, BTreeSet::new())
                        .map_err(|e| refusal(&e))?
                }
                SourceDecision::Clear(_) if raw.root.is_none() => {
                    GovernedTable::clear_remote(request.id(), source.clone(), raw, resolver())
                        .map_err(|e| refusal(&e))?
                }
                SourceDecision::Deny(..) => return Err(Refusal::bug("a denied source reached governing")),
                SourceDecision::Clear(_) => {
                    GovernedTable::clear(request.id(), source.clone(), raw).map_err(|e| refusal(&e))?
                }
                SourceDecision::Obliged(obligations, _) => {
                    let obligations = Arc::clone(obligations);
                    GovernedTable::obliged(request.id(), source.clone(), raw, obligations, request.keys(), resolver())
                        .await?
                }
            };
            bound.insert(source.name.clone(), Arc::new(table));
        }
        Ok(bound)
    }
}

/// Times that name no zone are of this one, in types and in functions.
fn in_zone(state: &mut SessionState, zone: &str) -> datafusion::common::Result<()> {
    state.config_mut().options_mut().execution.time_zone = Some(zone.to_owned());
    let options = state.config_options();
    let functions = state.scalar_functions().values();
    let changed: Vec<ScalarUDF> = functions.filter_map(|f| f.inner().with_updated_config(options)).collect();
    for function in changed {
        state.register_udf(Arc::new(function))?;
    }
    Ok(())
}

/// Sorts the names of a statement into sources and system tables.
pub(super) fn names(statement: &EngineStatement, request: &Request) -> Result<Names, Refusal> {
    let (tables, _) = resolve_table_references(statement, true).map_err(|e| refusal(&e))?;
    let mut names = Names::default();
    for table in tables {
        let (schema, name) = match &table {
            // What makes a table of its arguments has no rows to govern.
            TableReference::Bare { table } if builtins::is_table_function(table) => continue,
            TableReference::Bare { table } => (DEFAULT_SCHEMA, table.as_ref()),
            TableReference::Partial { schema, table } => (schema.as_ref(), table.as_ref()),
            TableReference::Full { catalog, schema, table } if catalog.as_ref() == CATALOG => {
                (schema.as_ref(), table.as_ref())
            }
            TableReference::Full { .. } => {
                names.wanted.push((table.to_string(), None));
                continue;
            }
        };
        match schema {
            PG_CATALOG | INFORMATION_SCHEMA => names.system = true,
            schema => {
                let name = SourceName::new(schema, name).ok();
                let source = name.as_ref().and_then(|name| request.snapshot().source_by_name(name));
                names.wanted.push((table.to_string(), source.map(|source| source.id)));
                names.sources.extend(name.zip(source.map(|source| source.id)));
            }
        }
    }
    Ok(names)
}

/// The refusal for the first name that is of no source, or of one that is denied: the same words for both, those of the
/// statement, so that neither a spelling nor another missing name beside it tells which it is.
///
/// A view is there for whom all is there that it reads. Whether it still fits that is another question.
fn not_there(decision: &Decision, names: &Names, snapshot: &Snapshot) -> Option<Refusal> {
    let of_view = |id: &SourceId| snapshot.source(*id).is_some_and(|source| source.view().is_some());
    let unseen = |written: &str, why: &DenyReason| {
        let told = fault::not_found(written).outside().clone();
        Refusal::new(told, Truth::Unseen, why.to_string())
    };
    let named = names.wanted.iter().find_map(|(written, id)| {
        let Some(id) = id else { return Some(fault::not_found(written)) };
        let why = decision.sources.iter().find_map(|(decided, decision)| match decision {
            SourceDecision::Deny(DenyReason::BrokenLineage { .. }, _) if decided == id && of_view(id) => None,
            SourceDecision::Deny(why, _) if decided == id => Some(why),
            SourceDecision::Deny(..) | SourceDecision::Clear(_) | SourceDecision::Obliged(..) => None,
        })?;
        Some(unseen(written, why))
    });
    let inside = || {
        let (view, _) = names.wanted.iter().find(|(_, id)| id.as_ref().is_some_and(of_view))?;
        decision.sources.iter().find_map(|(id, decided)| match decided {
            SourceDecision::Deny(DenyReason::BrokenLineage { .. }, _) if of_view(id) => None,
            SourceDecision::Deny(why, _) => Some(unseen(view, why)),
            SourceDecision::Clear(_) | SourceDecision::Obliged(..) => None,
        })
    };
    named.or_else(inside)
}

/// The type of each `$n`, in order: what it is compared with or cast to, or a list of what is looked for in it; text where
/// nothing tells it.
pub(super) fn parameter_types(plan: &LogicalPlan) -> datafusion::common::Result<Vec<DataType>> {
    let mut types = plan.get_parameter_types()?;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                if let Expr::ScalarFunction(call) = part
                    && call.name() == "array_has"
                    && let [Expr::Placeholder(list), item] = call.args.as_slice()
                {
                    let schemas: Vec<_> = node.inputs().into_iter().map(|input| input.schema().as_ref()).collect();
                    let mut known = schemas.iter().filter_map(|schema| item.get_type(*schema).ok());
                    if let Some(item) = known.next() {
                        let slot = types.entry(list.id.clone()).or_default();
                        slot.get_or_insert_with(|| DataType::new_list(item, true));
                    }
                }
                if let Expr::Cast(cast) = part
                    && let Expr::Placeholder(placeholder) = cast.expr.as_ref()
                {
                    let known = types.entry(placeholder.id.clone()).or_default();
                    known.get_or_insert_with(|| cast.field.data_type().clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    let number = |name: &String| name.trim_start_matches('$').parse::<usize>().unwrap_or(0);
    let count = types.keys().map(number).max().unwrap_or(0);
    let mut ordered = vec![DataType::Utf8; count];
    for (name, data_type) in types {
        if let (Some(slot), Some(data_type)) =
            (number(&name).checked_sub(1).and_then(|i| ordered.get_mut(i)), data_type)
        {
            *slot = data_type;
        }
    }
    Ok(ordered)
}
