//! What each column of a plan comes from: the lineage of what is written from it. Where in doubt, from more.
//!
//! A column is a copy where the plan hands on the value of a source's row, unmasked, and makes its own row of one row of
//! that source only. Everything else is computed. What decides which rows there are, in which order, and what is put
//! together with what, are conditions: every column tells of them. How many rows there are is not followed.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchemaRef, TableReference};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan, TableScan};
use weir_guard::Refusal;
use weir_model::{ColumnId, DataSource, Lineage, Origin, ParentColumn, SourceId, SourceName};
use weir_policy::{Decision, Obligations, Residual, Snapshot, SourceDecision};

use crate::catalogue::{INFORMATION_SCHEMA, PG_CATALOG};
use crate::govern::GovernedTable;

/// The lineage of a table whose columns are those of the plan, with ids counted from 1. `None` when the plan reads no
/// source.
///
/// # Errors
/// When the plan reads the catalogue, which is made for each reader anew and has no policies that could be inherited.
pub(crate) fn of(plan: &LogicalPlan, decision: &Decision, snapshot: &Snapshot) -> Result<Option<Lineage>, Refusal> {
    reads_no_catalogue(plan, "what is read from the catalogue cannot be written into a table")?;
    // What a view gives comes from what it reads.
    let is_view = |id: &SourceId| snapshot.source(*id).is_some_and(|source| source.view().is_some());
    let parents: BTreeSet<SourceId> = decision.sources.iter().map(|(id, _)| *id).filter(|id| !is_view(id)).collect();
    if parents.is_empty() {
        return Ok(None);
    }
    let mut tracer = Tracer { decision, conditions: BTreeSet::new(), outer: Vec::new(), views_of: None };
    let mut lineage = Lineage { parents, ..Lineage::default() };
    // Of what is not understood nothing is said, which means that everything comes from everything.
    if let Some(Flows { columns, .. }) = tracer.plan(plan) {
        lineage.columns = (1..).map(ColumnId).zip(columns.into_iter().map(Flow::origin)).collect();
        lineage.conditions = tracer.conditions;
    }
    let written = decision.sources.iter().filter(|(id, _)| !is_view(id));
    lineage.seen = written.filter_map(|(id, decided)| Some((*id, seen(decided)?))).collect();
    Ok(Some(lineage))
}

/// The lineage of a view of this query, which names `parents`: what its columns are for whom nothing is masked. `None`
/// when it names none.
///
/// # Errors
/// As [`of`].
pub(crate) fn of_view(
    plan: &LogicalPlan,
    parents: BTreeSet<SourceId>,
    decision: &Decision,
    snapshot: &Snapshot,
) -> Result<Option<Lineage>, Refusal> {
    reads_no_catalogue(plan, "a view cannot read the catalogue")?;
    if parents.is_empty() {
        return Ok(None);
    }
    let mut tracer = Tracer { decision, conditions: BTreeSet::new(), outer: Vec::new(), views_of: Some(snapshot) };
    let columns = match tracer.plan(plan) {
        Some(Flows { columns, .. }) => (1..).map(ColumnId).zip(columns.into_iter().map(Flow::origin)).collect(),
        None => BTreeMap::new(),
    };
    Ok(Some(Lineage { parents, columns, ..Lineage::default() }))
}

fn reads_no_catalogue(plan: &LogicalPlan, otherwise: &str) -> Result<(), Refusal> {
    let mut system = false;
    let look = |node: &LogicalPlan| {
        system |= is_system(node);
        Ok(TreeNodeRecursion::Continue)
    };
    plan.apply_with_subqueries(look).map_err(|e| Refusal::bug(e.to_string()))?;
    if system { Err(Refusal::unsupported(otherwise)) } else { Ok(()) }
}

fn is_system(node: &LogicalPlan) -> bool {
    let LogicalPlan::TableScan(scan) = node else { return false };
    matches!(scan.table_name.schema(), Some(PG_CATALOG | INFORMATION_SCHEMA))
}

/// The lineage of a table of `width` columns that has the rows of both.
pub(crate) fn of_both(before: Option<&Lineage>, added: Option<Lineage>, width: usize) -> Option<Lineage> {
    let (before, added) = match (before, added) {
        (Some(before), Some(added)) => (before, added),
        (Some(only), None) => return Some(only.clone()),
        (None, only) => return only,
    };
    let ids = || (1..).map(ColumnId).take(width);
    let part = |lineage: &Lineage| Flows {
        columns: ids().map(|id| Flow::of(lineage.columns.get(&id))).collect(),
        sources: lineage.parents.clone(),
    };
    let both = united(&[part(before), part(&added)], width);
    let said = |id: &ColumnId| before.columns.contains_key(id) && added.columns.contains_key(id);
    let columns = ids().zip(both.columns.into_iter().map(Flow::origin)).filter(|(id, _)| said(id)).collect();
    let seen = |parent: &SourceId| {
        let of = |lineage: &Lineage| lineage.parents.contains(parent).then(|| lineage.seen.get(parent).copied());
        match (of(before), of(&added)) {
            (Some(one), Some(other)) => one.filter(|_| one == other),
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => None,
        }
    };
    Some(Lineage {
        columns,
        conditions: before.conditions.union(&added.conditions).copied().collect(),
        seen: both.sources.iter().filter_map(|parent| Some((*parent, seen(parent)?))).collect(),
        parents: both.sources,
    })
}

/// What was seen of a source, unless that may change while the decision stays.
fn seen(decided: &SourceDecision) -> Option<[u8; 32]> {
    match decided {
        SourceDecision::Obliged(obligations, _) if !looks_elsewhere(obligations) => Some(obligations.fingerprint.0),
        SourceDecision::Obliged(..) | SourceDecision::Clear(_) | SourceDecision::Deny(..) => None,
    }
}

/// Whether what is seen depends on other rows than the one that is shown.
fn looks_elsewhere(obligations: &Obligations) -> bool {
    let looks =
        |residual: &Residual| residual.any(&|part| matches!(part, Residual::InLookup(_) | Residual::Frequent { .. }));
    let mut conditions = obligations.masks.values().flat_map(|applied| {
        std::iter::successors(Some(&**applied), |applied| applied.otherwise.as_deref())
            .filter_map(|applied| applied.when.as_ref())
    });
    obligations.rows.iter().any(|part| looks(part)) || conditions.any(looks)
}

/// Where one column comes from.
#[derive(Clone, Default)]
struct Flow {
    copies: BTreeSet<ParentColumn>,
    values: BTreeSet<ParentColumn>,
}

impl Flow {
    fn of(origin: Option<&Origin>) -> Self {
        match origin {
            Some(Origin::Copied(copies)) => Self { copies: copies.clone(), values: BTreeSet::new() },
            Some(Origin::Computed(values)) => Self { copies: BTreeSet::new(), values: values.clone() },
            None => Self::default(),
        }
    }

    fn origin(self) -> Origin {
        if self.values.is_empty() { Origin::Copied(self.copies) } else { Origin::Computed(self.all().collect()) }
    }

    fn all(&self) -> impl Iterator<Item = ParentColumn> {
        self.copies.iter().chain(&self.values).copied()
    }

    /// Copies that are none any more still tell of their originals.
    fn demote(&mut self, is_copy: impl Fn(&ParentColumn) -> bool) {
        let (copies, values) = std::mem::take(&mut self.copies).into_iter().partition(is_copy);
        self.copies = copies;
        self.values.extend::<BTreeSet<_>>(values);
    }
}

/// Of the columns of a node, in order, and the sources of whose rows its rows are made.
struct Flows {
    columns: Vec<Flow>,
    sources: BTreeSet<SourceId>,
}

/// Rows of the one and rows of the other. A column is a copy where it is one in every part that has rows of the source.
fn united(parts: &[Flows], width: usize) -> Flows {
    let mut columns = Vec::with_capacity(width);
    for place in 0..width {
        let mut flow = Flow::default();
        for part in parts {
            if let Some(column) = part.columns.get(place) {
                flow.copies.extend(&column.copies);
                flow.values.extend(&column.values);
            }
        }
        flow.demote(|copy| {
            parts.iter().all(|part| {
                let mine = part.columns.get(place);
                !part.sources.contains(&copy.source) || mine.is_some_and(|column| column.copies.contains(copy))
            })
        });
        columns.push(flow);
    }
    Flows { columns, sources: parts.iter().flat_map(|part| &part.sources).copied().collect() }
}

struct Tracer<'a> {
    decision: &'a Decision,
    conditions: BTreeSet<ParentColumn>,
    /// The rows around a subquery, the nearest last.
    outer: Vec<(DFSchemaRef, Vec<Flow>)>,
    /// For the lineage of a view, which tells of the views that it names and not of what is masked for whom.
    views_of: Option<&'a Snapshot>,
}

impl Tracer<'_> {
    /// `None` for what is not understood. Every kind of node is named here, as in the verifier.
    fn plan(&mut self, plan: &LogicalPlan) -> Option<Flows> {
        let flows = match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan)?,
            LogicalPlan::Projection(projection) => {
                let input = self.plan(&projection.input)?;
                let columns = self.expressions(&projection.expr, &projection.input, &input.columns)?;
                Flows { columns, ..input }
            }
            LogicalPlan::Filter(filter) => {
                let input = self.plan(&filter.input)?;
                self.condition([&filter.predicate], &filter.input, &input.columns)?;
                input
            }
            LogicalPlan::Sort(sort) => {
                let input = self.plan(&sort.input)?;
                self.condition(sort.expr.iter().map(|sort| &sort.expr), &sort.input, &input.columns)?;
                input
            }
            LogicalPlan::Window(window) => {
                let mut input = self.plan(&window.input)?;
                let computed = self.expressions(&window.window_expr, &window.input, &input.columns)?;
                input.columns.extend(computed);
                input
            }
            LogicalPlan::Aggregate(aggregate) => {
                let input = self.plan(&aggregate.input)?;
                self.condition(&aggregate.group_expr, &aggregate.input, &input.columns)?;
                let all = aggregate.group_expr.iter().chain(&aggregate.aggr_expr);
                let mut columns = self.expressions(all, &aggregate.input, &input.columns)?;
                // Sets of groups have columns of their own.
                if columns.len() != plan.schema().fields().len() {
                    let everything = columns.iter().flat_map(Flow::all).collect();
                    let flow = Flow { copies: BTreeSet::new(), values: everything };
                    columns = vec![flow; plan.schema().fields().len()];
                }
                Flows { columns, ..input }
            }
            LogicalPlan::Join(join) => self.join(join)?,
            LogicalPlan::Union(union) => {
                let parts: Vec<Flows> = union.inputs.iter().map(|input| self.plan(input)).collect::<Option<_>>()?;
                united(&parts, plan.schema().fields().len())
            }
            LogicalPlan::Distinct(Distinct::All(input)) => self.plan(input)?,
            LogicalPlan::Distinct(Distinct::On(on)) => {
                let input = self.plan(&on.input)?;
                let sorted = on.sort_expr.iter().flatten().map(|sort| &sort.expr);
                self.condition(on.on_expr.iter().chain(sorted), &on.input, &input.columns)?;
                let columns = self.expressions(&on.select_expr, &on.input, &input.columns)?;
                Flows { columns, ..input }
            }
            LogicalPlan::Unnest(unnest) => {
                let input = self.plan(&unnest.input)?;
                let everything = input.columns.iter().flat_map(Flow::all).collect();
                let flow = Flow { copies: BTreeSet::new(), values: everything };
                Flows { columns: vec![flow; plan.schema().fields().len()], ..input }
            }
            LogicalPlan::Values(values) => {
                let mut columns = vec![Flow::default(); plan.schema().fields().len()];
                for row in &values.values {
                    for (column, expr) in columns.iter_mut().zip(row) {
                        let value = self.value(expr, plan.schema(), &[])?;
                        column.values.extend(value.all());
                    }
                }
                Flows { columns, sources: BTreeSet::new() }
            }
            LogicalPlan::EmptyRelation(_) => {
                Flows { columns: vec![Flow::default(); plan.schema().fields().len()], sources: BTreeSet::new() }
            }
            LogicalPlan::SubqueryAlias(alias) => match self.view(&alias.alias) {
                Some(view) => copied(view),
                None => self.plan(&alias.input)?,
            },
            LogicalPlan::Subquery(subquery) => self.plan(&subquery.subquery)?,
            LogicalPlan::Limit(limit) => self.plan(&limit.input)?,
            LogicalPlan::Repartition(repartition) => self.plan(&repartition.input)?,
            LogicalPlan::RecursiveQuery(_)
            | LogicalPlan::Statement(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Extension(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_) => return None,
        };
        (flows.columns.len() == plan.schema().fields().len()).then_some(flows)
    }

    /// The view in whose place its query stands, where that is not to be followed. What a statement names itself has no
    /// schema.
    fn view(&self, alias: &TableReference) -> Option<&DataSource> {
        let name = SourceName::new(alias.schema()?, alias.table()).ok()?;
        self.views_of?.source_by_name(&name).filter(|source| source.view().is_some())
    }

    fn scan(&mut self, scan: &TableScan) -> Option<Flows> {
        let provider = source_as_provider(&scan.source).ok()?;
        let provider: &dyn Any = provider.as_ref();
        let Some(table) = provider.downcast_ref::<GovernedTable>() else {
            // What functions make of their arguments.
            let columns = vec![Flow::default(); scan.projected_schema.fields().len()];
            return scan.filters.is_empty().then_some(Flows { columns, sources: BTreeSet::new() });
        };
        let source = table.source();
        let masked = self.decision.sources.iter().find(|(id, _)| *id == source.id).map(|(_, decided)| decided)?;
        let mut columns = Vec::new();
        for field in scan.projected_schema.fields() {
            let column = source.column(field.name())?;
            let from = BTreeSet::from([ParentColumn { source: source.id, column: column.id }]);
            let is_masked = match masked {
                _ if self.views_of.is_some() => false,
                SourceDecision::Clear(_) => false,
                SourceDecision::Obliged(obligations, _) => obligations
                    .masks
                    .keys()
                    .any(|id| *id == column.id || source.part(*id).is_some_and(|part| part.within == column.id)),
                SourceDecision::Deny(..) => return None,
            };
            columns.push(match is_masked {
                false => Flow { copies: from, values: BTreeSet::new() },
                true => Flow { copies: BTreeSet::new(), values: from },
            });
        }
        self.condition(&scan.filters, &LogicalPlan::TableScan(scan.clone()), &columns)?;
        Some(Flows { columns, sources: BTreeSet::from([source.id]) })
    }

    fn join(&mut self, join: &datafusion::logical_expr::Join) -> Option<Flows> {
        let mut left = self.plan(&join.left)?;
        // What is on the right may speak of the row on the left.
        self.outer.push((join.left.schema().clone(), left.columns.clone()));
        let right = self.plan(&join.right);
        self.outer.pop();
        let mut right = right?;
        self.condition(join.on.iter().map(|(on, _)| on), &join.left, &left.columns)?;
        self.condition(join.on.iter().map(|(_, on)| on), &join.right, &right.columns)?;
        let both: Vec<Flow> = left.columns.iter().chain(&right.columns).cloned().collect();
        if let Some(filter) = &join.filter {
            let schema = join.left.schema().join(join.right.schema()).ok()?;
            let flow = self.value(filter, &schema.into(), &both)?;
            self.conditions.extend(flow.all());
        }
        match join.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti => Some(left),
            JoinType::RightSemi | JoinType::RightAnti => Some(right),
            JoinType::LeftMark | JoinType::RightMark => None,
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
                // Of two rows of one source, a copy has the value of one only.
                let twice: BTreeSet<SourceId> = left.sources.intersection(&right.sources).copied().collect();
                let columns = left.columns.iter_mut().chain(&mut right.columns);
                columns.for_each(|column| column.demote(|copy| !twice.contains(&copy.source)));
                left.columns.append(&mut right.columns);
                left.sources.append(&mut right.sources);
                Some(left)
            }
        }
    }

    fn condition<'e>(
        &mut self,
        conditions: impl IntoIterator<Item = &'e Expr>,
        input: &LogicalPlan,
        flows: &[Flow],
    ) -> Option<()> {
        for condition in conditions {
            let flow = self.value(condition, input.schema(), flows)?;
            self.conditions.extend(flow.all());
        }
        Some(())
    }

    fn expressions<'e>(
        &mut self,
        expressions: impl IntoIterator<Item = &'e Expr>,
        input: &LogicalPlan,
        flows: &[Flow],
    ) -> Option<Vec<Flow>> {
        expressions.into_iter().map(|expression| self.value(expression, input.schema(), flows)).collect()
    }

    /// A plain column is what it is; whatever else is computed.
    fn value(&mut self, expr: &Expr, schema: &DFSchemaRef, flows: &[Flow]) -> Option<Flow> {
        #[expect(clippy::wildcard_enum_match_arm, reason = "whatever is no plain column is computed from all in it")]
        match expr {
            Expr::Alias(alias) => return self.value(&alias.expr, schema, flows),
            Expr::Column(column) => return found(column, schema, flows),
            _ => {}
        }
        let mut flow = Flow::default();
        let mut understood = true;
        let walked = expr.apply(|part| {
            let more = self.part(part, schema, flows);
            understood &= more.is_some();
            flow.values.extend(more.into_iter().flat_map(|more| more.all().collect::<Vec<_>>()));
            Ok(TreeNodeRecursion::Continue)
        });
        (walked.is_ok() && understood).then_some(flow)
    }

    fn part(&mut self, part: &Expr, schema: &DFSchemaRef, flows: &[Flow]) -> Option<Flow> {
        #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else there is has its parts, which come by")]
        let subquery = match part {
            Expr::Column(column) => return found(column, schema, flows),
            Expr::OuterReferenceColumn(_, column) => {
                return self.outer.iter().rev().find_map(|(schema, flows)| found(column, schema, flows));
            }
            Expr::ScalarSubquery(subquery) => subquery,
            Expr::Exists(exists) => &exists.subquery,
            Expr::InSubquery(inside) => &inside.subquery,
            Expr::SetComparison(comparison) => &comparison.subquery,
            _ => return Some(Flow::default()),
        };
        self.outer.push((schema.clone(), flows.to_vec()));
        let inner = self.plan(&subquery.subquery);
        self.outer.pop();
        let values = inner?.columns.iter().flat_map(Flow::all).collect();
        Some(Flow { copies: BTreeSet::new(), values })
    }
}

/// All columns of a source.
fn copied(source: &DataSource) -> Flows {
    let copy = |column: &weir_model::Column| Flow {
        copies: BTreeSet::from([ParentColumn { source: source.id, column: column.id }]),
        values: BTreeSet::new(),
    };
    Flows { columns: source.columns.iter().map(copy).collect(), sources: BTreeSet::from([source.id]) }
}

fn found(column: &Column, schema: &DFSchemaRef, flows: &[Flow]) -> Option<Flow> {
    flows.get(schema.maybe_index_of_column(column)?).cloned()
}
