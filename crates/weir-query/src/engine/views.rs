//! Views in a statement: each is what its query gives under the same decision as the statement that names it, so with
//! the rights of whoever reads.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::ViewTable;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast::Statement as Sql;
use weir_guard::{Outside, Refusal, Request, Truth, Wrong};
use weir_model::{DataSource, Lineage, SourceId, SourceName};
use weir_policy::Decision;
use weir_sources::model_type;

use super::bind::{Names, names, parameter_types};
use super::result_schema;
use crate::catalogue::ActorCatalogue;
use crate::descent;
use crate::fault::refusal;
use crate::functions;
use crate::statement::{Query, View, defined};
use crate::verify;

/// How deep views may read views.
const DEEP_MAX: usize = 16;
/// Nodes of the plan of one view, with those of the views that it reads.
const NODES_MAX: usize = 10_000;

/// The views that a statement names, and those that they name.
#[derive(Default)]
pub(super) struct Views {
    /// What a view reads comes before it.
    found: Vec<(SourceId, Query)>,
    /// Why the first of them that cannot be read cannot be. It says that there is a view, so it is told only to those for
    /// whom all is there that they read.
    pub(super) unreadable: Option<Refusal>,
}

impl Views {
    /// Adds what the views among the names read to the names.
    pub(super) fn of(names: &mut Names, request: &Request) -> Self {
        let mut views = Self::default();
        let named: Vec<SourceId> = names.sources.values().copied().collect();
        for id in named {
            views.add(id, request, &mut names.sources, 0);
        }
        views
    }

    fn add(&mut self, id: SourceId, request: &Request, sources: &mut BTreeMap<SourceName, SourceId>, depth: usize) {
        let Some(source) = request.snapshot().source(id) else { return };
        let Some(text) = source.view().filter(|_| self.found.iter().all(|(known, _)| *known != id)) else { return };
        if depth == DEEP_MAX {
            let deep = || too_much(format!("views read views more than {DEEP_MAX} deep"));
            self.unreadable.get_or_insert_with(deep);
            return;
        }
        let changed = || stale(&source.name, "what it names is something else by now, or gone");
        let read = defined(text).and_then(|query| Ok((names(&statement(&query), request)?, query)));
        let Ok((inner, query)) = read else {
            self.unreadable.get_or_insert_with(changed);
            return;
        };
        let parents = source.lineage.as_ref().map(|lineage| lineage.parents.clone()).unwrap_or_default();
        let there: BTreeSet<SourceId> = inner.sources.values().copied().collect();
        let all = inner.wanted.iter().all(|(_, id)| id.is_some());
        // By their ids: what has the name of something that is gone is not that.
        if !all || there != parents || inner.system {
            self.unreadable.get_or_insert_with(changed);
            return;
        }
        for (name, id) in inner.sources {
            sources.insert(name, id);
            self.add(id, request, sources, depth + 1);
        }
        self.found.push((id, query));
    }

    /// Puts them beside the tables that they read.
    pub(super) async fn bind(
        &self,
        state: &SessionState,
        request: &Request,
        asked: &Query,
        bound: &mut HashMap<SourceName, Arc<dyn TableProvider>>,
    ) -> Result<(), Refusal> {
        for (id, query) in &self.found {
            let view = request.snapshot().source(*id).ok_or_else(|| Refusal::bug("a decided view is gone"))?;
            let query = query.asked(&asked.asked);
            let mut state = state.clone();
            state.register_catalog_list(ActorCatalogue::list(bound.clone(), None));
            let plan = state.statement_to_plan(statement(&query)).await;
            let plan = plan.map_err(|e| stale(&view.name, &refusal(&e).inside().detail))?;
            let plan = as_kept(&state, view, plan, &query)?;
            if nodes(&plan)? > NODES_MAX {
                return Err(too_much("the views that are read make a plan that is too large".to_owned()));
            }
            bound.insert(view.name.clone(), Arc::new(ViewTable::new(plan, None)));
        }
        Ok(())
    }
}

/// With the columns of the view, which have to be what they were when it was made.
fn as_kept(state: &SessionState, view: &DataSource, plan: LogicalPlan, query: &Query) -> Result<LogicalPlan, Refusal> {
    let has = result_schema(state, plan.clone(), &[])?;
    let types = has.fields().iter().map(|field| model_type(field.data_type()));
    if !types.eq(view.columns.iter().map(|column| Some(column.data_type.clone()))) {
        let detail = format!("its columns are {:?} by now", query.named(&has).fields());
        return Err(stale(&view.name, &detail));
    }
    let columns: Vec<Expr> = plan
        .schema()
        .columns()
        .into_iter()
        .zip(&view.columns)
        .map(|(column, kept)| Expr::Column(column).alias(kept.name.as_str()))
        .collect();
    LogicalPlanBuilder::from(plan).project(columns).and_then(LogicalPlanBuilder::build).map_err(|e| refusal(&e))
}

fn nodes(plan: &LogicalPlan) -> Result<usize, Refusal> {
    let mut count = 0;
    let walked = plan.apply_with_subqueries(|_| {
        count += 1;
        Ok(if count > NODES_MAX { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.map_err(|e| refusal(&e))?;
    Ok(count)
}

fn statement(query: &Query) -> EngineStatement {
    EngineStatement::Statement(Box::new(Sql::Query(query.parsed.clone())))
}

fn stale(view: &SourceName, detail: &str) -> Refusal {
    let text = format!("view `{view}` does not fit what it reads any more: it has to be created again");
    Refusal::new(
        Outside::Invalid { text, hint: None, wrong: Wrong::Object },
        Truth::Invalid,
        format!("view `{view}`: {detail}"),
    )
}

fn too_much(text: String) -> Refusal {
    Refusal::new(Outside::TooMuch { text: text.clone() }, Truth::Limit, text)
}

/// The columns and the lineage of a view that is to be made, by names that the statement gives or those of PostgreSQL.
pub(super) fn shape(
    state: &SessionState,
    plan: LogicalPlan,
    view: &View,
    request: &Request,
    decision: &Decision,
) -> Result<(SchemaRef, Option<Lineage>), Refusal> {
    // What they tell is of the connection or of the catalogue, which is another one for each reader.
    if let Some(function) = functions::called(&view.query.parsed).first() {
        return Err(Refusal::unsupported(format!("a view cannot call `{function}`")));
    }
    if !parameter_types(&plan).map_err(|e| refusal(&e))?.is_empty() {
        return Err(Refusal::unsupported("a view has no parameters"));
    }
    verify::logical(&plan, request.id())?.are_covered_by(decision)?;
    if nodes(&plan)? > NODES_MAX {
        return Err(too_much("the query of the view makes a plan that is too large".to_owned()));
    }
    let named = names(&statement(&view.query), request)?;
    let parents = named.sources.values().copied().collect();
    let lineage = descent::of_view(&plan, parents, decision, request.snapshot())?;
    let schema = view.query.named(&result_schema(state, plan, &[])?);
    if view.columns.is_empty() {
        return Ok((schema, lineage));
    }
    let (has, given) = (schema.fields().len(), view.columns.len());
    if has != given {
        return Err(Refusal::invalid(format!("the query gives {has} columns, and the view names {given}")));
    }
    let fields = schema.fields().iter().zip(&view.columns);
    let fields: Vec<Field> = fields.map(|(field, name)| field.as_ref().clone().with_name(name.as_str())).collect();
    Ok((Arc::new(Schema::new(fields)), lineage))
}
