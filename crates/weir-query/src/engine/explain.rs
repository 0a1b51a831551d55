//! `EXPLAIN`: the plan of a read as its reader may see it. A governed scan is one opaque node and the plan above it is
//! made without knowing anything of its rows, so that the text is the same whatever there is that the reader does not
//! see. Whoever governs is told in addition which obligations hold for her.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan};
use weir_guard::{Refusal, Request};
use weir_model::{Permission, RequestId};
use weir_policy::{Decision, SourceDecision, obligations_text};

use super::{Opened, physical_plan};
use crate::remote;
use crate::verify::Reads;

/// One line of the plan a row, under PostgreSQL's name for it.
pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("QUERY PLAN", DataType::Utf8, false)]))
}

/// Whether the reader may hear more than others: those who govern, as themselves.
pub(super) fn tells_more(request: &Request) -> bool {
    request.principal().permissions.contains(&Permission::Governance) && !request.surroundings().impersonated
}

/// What is told of the obligations.
pub(super) fn obligations(request: &Request, decision: &Decision) -> Vec<String> {
    if !tells_more(request) {
        return Vec::new();
    }
    let snapshot = request.snapshot();
    let of = |(id, decided): &(_, SourceDecision)| match decided {
        SourceDecision::Deny(..) | SourceDecision::Clear(_) => None,
        SourceDecision::Obliged(obligations, _) => {
            let source = snapshot.source(*id)?;
            let lines = obligations_text(obligations, source, snapshot).into_iter().map(|line| format!("  {line}"));
            Some(std::iter::once(format!("{}:", source.name)).chain(lines).collect::<Vec<String>>())
        }
    };
    decision.sources.iter().filter_map(of).flatten().collect()
}

/// What is sent to remote databases when the plan runs.
pub(super) fn sent(plan: &Arc<dyn ExecutionPlan>) -> Vec<String> {
    let mut lines = remote::told(plan);
    if !lines.is_empty() {
        lines.insert(0, "Sent to databases:".to_owned());
    }
    lines
}

/// The plan's lines, then `more`.
pub(super) async fn plan(
    state: &SessionState,
    plan: &LogicalPlan,
    decision: &Decision,
    id: RequestId,
    more: Vec<String>,
) -> Result<Opened, Refusal> {
    let (physical, reads) = physical_plan(state, plan, decision, id).await?;
    let mut lines = Vec::new();
    write(&physical, &reads, 0, &mut lines);
    lines.extend(more);
    let batch = RecordBatch::try_new(schema(), vec![Arc::new(StringArray::from(lines))]);
    let rows = futures::stream::iter([batch.map_err(Into::into)]);
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema(), rows)))
}

fn write(plan: &Arc<dyn ExecutionPlan>, reads: &Reads, depth: usize, lines: &mut Vec<String>) {
    let indent = 2 * depth;
    let text = scan(plan, reads).unwrap_or_else(|| Node(plan.as_ref()).to_string());
    lines.push(format!("{:indent$}{text}", ""));
    plan.children().into_iter().for_each(|child| write(child, reads, depth + 1, lines));
}

/// A scan of files, without their paths.
fn scan(plan: &Arc<dyn ExecutionPlan>, reads: &Reads) -> Option<String> {
    let source: &dyn Any = plan.downcast_ref::<DataSourceExec>()?.data_source().as_ref();
    let files = source.downcast_ref::<FileScanConfig>()?;
    let mut all = files.file_groups.iter().flat_map(|group| group.files());
    let name = all.next().and_then(|file| reads.clear_source(&file.object_meta.location));
    let schema = plan.schema();
    let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let name = name.map(ToString::to_string).unwrap_or_else(|| "no files".to_owned());
    Some(format!("Scan: {name}, columns=[{}]", columns.join(", ")))
}

struct Node<'a>(&'a dyn ExecutionPlan);

impl fmt::Display for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_as(DisplayFormatType::Default, f)
    }
}
