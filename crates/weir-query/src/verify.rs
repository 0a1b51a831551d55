//! The last look at a plan: is there a scan in it that this request's decision does not cover, or a node that reads
//! or writes something else? Every logical node is listed by name, so that a new kind does not compile until somebody
//! has looked at it.

use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;

use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::Result as EngineResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{LogicalPlan, TableScan};
use datafusion::object_store::path::Path;
use datafusion::physical_plan::ExecutionPlan;
use weir_guard::Refusal;
use weir_model::{RequestId, SourceId, SourceName};
use weir_policy::{Decision, SourceDecision};
use weir_sources::FILES_URL;

use crate::barrier::BarrierExec;
use crate::catalogue::{INFORMATION_SCHEMA, PG_CATALOG};
use crate::govern::GovernedTable;

/// What a plan was found to read.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    sources: HashSet<SourceId>,
    /// Tables that are clear for the request, by path.
    clear_roots: Vec<(Path, SourceName)>,
}

impl Reads {
    /// The source that is clear for the request and has the file.
    pub(crate) fn clear_source(&self, file: &Path) -> Option<&SourceName> {
        self.clear_roots.iter().find(|(root, _)| file.prefix_matches(root)).map(|(_, name)| name)
    }

    /// Whether the decision lets the request read all of this.
    pub(crate) fn are_covered_by(&self, decision: &Decision) -> Result<(), Refusal> {
        let permitted = |id: &SourceId| {
            decision.sources.iter().any(|(decided, d)| decided == id && !matches!(d, SourceDecision::Deny(..)))
        };
        if self.sources.iter().all(permitted) { Ok(()) } else { Err(Refusal::bug("a plan reads an undecided source")) }
    }
}

/// Walks a logical plan with all its subqueries.
pub(crate) fn logical(plan: &LogicalPlan, request: RequestId) -> Result<Reads, Refusal> {
    let mut reads = Reads::default();
    let mut refused = None;
    let walked = plan.apply_with_subqueries(|node| match logical_node(node, request, &mut reads) {
        Ok(()) => EngineResult::Ok(TreeNodeRecursion::Continue),
        Err(refusal) => {
            refused = Some(refusal);
            Ok(TreeNodeRecursion::Stop)
        }
    });
    match (refused, walked) {
        (Some(refusal), _) => Err(refusal),
        (None, Err(e)) => Err(Refusal::bug(e.to_string())),
        (None, Ok(_)) => Ok(reads),
    }
}

fn logical_node(node: &LogicalPlan, request: RequestId, reads: &mut Reads) -> Result<(), Refusal> {
    let refuse = |what: &str| Err(Refusal::unsupported(format!("{what} is not supported")));
    match node {
        LogicalPlan::TableScan(scan) => scan_is_governed(scan, request, reads),
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::RecursiveQuery(_) => Ok(()),
        LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => refuse("EXPLAIN"),
        LogicalPlan::Statement(_) => refuse("this statement"),
        LogicalPlan::Dml(_) => refuse("changing data"),
        LogicalPlan::Ddl(_) => refuse("changing tables"),
        LogicalPlan::Copy(_) => refuse("COPY"),
        LogicalPlan::DescribeTable(_) => refuse("DESCRIBE"),
        LogicalPlan::Extension(_) => Err(Refusal::bug("an extension node reached the verifier")),
    }
}

fn scan_is_governed(scan: &TableScan, request: RequestId, reads: &mut Reads) -> Result<(), Refusal> {
    let provider = source_as_provider(&scan.source).map_err(|e| Refusal::bug(e.to_string()))?;
    if let Some(table) = as_governed(&provider) {
        if table.request() != request {
            return Err(Refusal::bug("a scan was governed for another request"));
        }
        let source = table.source();
        reads.sources.insert(source.id);
        reads.clear_roots.extend(table.clear_root().map(|root| (root.clone(), source.name.clone())));
        return Ok(());
    }
    if matches!(scan.table_name.schema(), Some(PG_CATALOG | INFORMATION_SCHEMA))
        || is_generator(&scan.table_name.to_string(), &provider)
        || is_work_table(&provider)
    {
        return Ok(());
    }
    Err(Refusal::bug(format!("an ungoverned scan of `{}` is left in the plan", scan.table_name)))
}

fn as_governed(provider: &Arc<dyn TableProvider>) -> Option<&GovernedTable> {
    let provider: &dyn Any = provider.as_ref();
    provider.downcast_ref()
}

/// Tables that functions make from their arguments alone.
fn is_generator(name: &str, provider: &Arc<dyn TableProvider>) -> bool {
    let provider: &dyn Any = provider.as_ref();
    let generates = provider.is::<datafusion::functions_table::generate_series::GenerateSeriesTable>();
    generates || (name.starts_with("pg_get_keywords") && provider.is::<MemTable>())
}

/// What the recursive part of a query reads of itself: rows that came out of the scans of the same plan.
fn is_work_table(provider: &Arc<dyn TableProvider>) -> bool {
    let provider: &dyn Any = provider.as_ref();
    provider.is::<CteWorkTable>()
}

/// Walks the plan that will run: files may be scanned under a barrier for a source that the logical plan reads, or
/// below the path of one that is clear.
pub(crate) fn physical(plan: &Arc<dyn ExecutionPlan>, reads: &Reads) -> Result<(), Refusal> {
    if let Some(barrier) = plan.downcast_ref::<BarrierExec>() {
        if barrier.sources().ids.iter().all(|source| reads.sources.contains(source)) {
            return Ok(());
        }
        return Err(Refusal::bug("a barrier for a source that the statement does not read"));
    }
    if let Some(scan) = plan.downcast_ref::<DataSourceExec>() {
        return data_source_is_clear(scan, reads);
    }
    if plan.children().is_empty() && !LEAVES.contains(&plan.name()) {
        return Err(Refusal::bug(format!("a leaf of an unknown kind: {}", plan.name())));
    }
    plan.children().into_iter().try_for_each(|child| physical(child, reads))
}

/// Leaves that read no source.
const LEAVES: [&str; 6] =
    ["EmptyExec", "PlaceholderRowExec", "LazyMemoryExec", "StreamingTableExec", "WorkTableExec", "CooperativeExec"];

fn data_source_is_clear(scan: &DataSourceExec, reads: &Reads) -> Result<(), Refusal> {
    let source: &dyn Any = scan.data_source().as_ref();
    if source.is::<MemorySourceConfig>() {
        return Ok(());
    }
    let Some(files) = source.downcast_ref::<FileScanConfig>() else {
        return Err(Refusal::bug("a data source of an unknown kind"));
    };
    let mut scanned = files.file_groups.iter().flat_map(|group| group.files());
    let planned = files.object_store_url.as_str() == FILES_URL;
    if planned && scanned.all(|file| reads.clear_source(&file.object_meta.location).is_some()) {
        Ok(())
    } else {
        Err(Refusal::bug("a file of a governed source is scanned without a barrier"))
    }
}
