//! Tables that members of a project write in its workspace: what they read is read as ever, what they write is a data
//! source made from it.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use tokio::sync::oneshot;
use weir_guard::{Admitted, Caller, Ended, Outside, Refusal, Request, Truth, Workspaces, WriteError, WrittenTable};
use weir_model::{
    ColumnId, ColumnName, DataSource, DataType, FileFormat, Lineage, Location, Origin, ParentColumn, PrincipalId,
    ProjectName, RequestId, SourceName,
};
use weir_policy::{Decision, DenyReason, Snapshot, SourceDecision};

use super::bind::Bound;
use super::rows::{self, Rows};
use super::sheet::{self, Columns, Leaving, Sheet, Unregistered, not_written};
use super::{Engine, Inner, fail, views};
use crate::descent;
use crate::fault;
use crate::statement::{Query, View, What, Write};

/// Where tables of workspaces go.
#[derive(Clone, Debug)]
pub struct WorkspaceSettings {
    /// Absolute. A folder for each schema in it, and in that one for each state of a table.
    pub directory: PathBuf,
    /// In files of one workspace.
    pub bytes_max: u64,
}

pub(super) struct Workshop {
    pub(super) register: Arc<dyn Workspaces>,
    pub(super) settings: WorkspaceSettings,
}

/// What a write goes into.
pub(super) struct Target {
    pub(super) project: ProjectName,
    pub(super) table: SourceName,
    /// The table as it is, when the principal sees it.
    pub(super) known: Option<DataSource>,
}

impl Engine {
    /// Takes away what writes left behind that were broken off when a server was killed, and gives how many there were.
    /// Nothing may be written meanwhile.
    ///
    /// # Errors
    /// When nobody knows which tables there are, or the files cannot be removed.
    pub async fn clear_leftovers(&self) -> Result<usize, Refusal> {
        let Some(workshop) = &self.inner.workspaces else { return Ok(0) };
        let now = self.inner.guard.snapshot().await.map_err(Refusal::unavailable)?;
        let tables = now.sources().filter_map(|source| match &source.location {
            Location::Files { path, .. } => Some(path.clone()),
            Location::Objects { .. } | Location::Table { .. } | Location::View { .. } => None,
        });
        sheet::clear(&workshop.settings.directory, &tables.collect()).map_err(Refusal::unavailable)
    }

    /// Carries out a write, and gives the number of rows that were written. Nobody sees anything of it before all of
    /// it is there, and nothing is left of one that fails, is revoked, or is cancelled by the end of `cancelled`.
    pub async fn write(
        &self,
        caller: &Caller,
        write: &Write,
        cancelled: impl Future<Output = ()>,
    ) -> Result<u64, Refusal> {
        let inner = &self.inner;
        let mut request = inner.guard.begin(caller.clone(), &write.text).await?;
        request.writes(write.table.clone());
        let Some(workshop) = &inner.workspaces else {
            return Err(request.refuse(nowhere("no tables are written here")).await);
        };
        let target = match target(&request, &write.table) {
            Ok(target) => target,
            Err(refusal) => return Err(request.refuse(refusal).await),
        };
        if let Some(refusal) = other_kind(&write.what, target.known.as_ref()) {
            return Err(request.refuse(refusal).await);
        }
        match (&write.what, target.known.clone()) {
            (What::Drop { if_exists: true, .. }, None) => {
                let nothing = request.decide(&[]);
                request.admit(&nothing).await?.end(Ended::Complete, None).await?;
                Ok(0)
            }
            (What::Drop { .. } | What::Insert(_), None) => {
                Err(request.refuse(fault::not_found(&write.table.to_string())).await)
            }
            (What::Create(_) | What::Make(_), Some(_)) => {
                let refusal = Refusal::invalid(format!("table `{}` already exists", write.table));
                Err(request.refuse(refusal).await)
            }
            (What::View(view), Some(_)) if !view.replaces => {
                let refusal = Refusal::invalid(format!("view `{}` already exists", write.table));
                Err(request.refuse(refusal).await)
            }
            (What::View(view), _) => self.define(request, view, target).await,
            (What::Drop { .. }, Some(known)) => {
                let inner = Arc::clone(&self.inner);
                to_its_end(async move { inner.workshop()?.drop_table(request, &known).await.map(|()| 0) }).await
            }
            (What::Create(query) | What::Make(query), None) | (What::Insert(query), Some(_)) => {
                self.fill(workshop, request, query, target, cancelled).await
            }
        }
    }
}

/// The workspace of the current project is the only place. Of others nothing is said.
pub(super) fn target(request: &Request, table: &SourceName) -> Result<Target, Refusal> {
    let (principal, surroundings) = (&request.principal().id, request.surroundings());
    let (project, schema) = request
        .snapshot()
        .workspace(principal, surroundings)
        .ok_or_else(|| nowhere("the current project has no workspace, or there is none"))?;
    if schema != table.schema() {
        return Err(nowhere("not the schema of the workspace"));
    }
    let known = request.snapshot().source_by_name(table);
    let known = known.filter(|known| {
        let decided = request.decide(&[known.id]);
        decided.sources.iter().all(|(_, decided)| match decided {
            SourceDecision::Clear(_) | SourceDecision::Obliged(..) => true,
            // A view that reads what is gone can still be made anew, and taken away.
            SourceDecision::Deny(DenyReason::BrokenLineage { .. }, _) => known.view().is_some(),
            SourceDecision::Deny(..) => false,
        })
    });
    Ok(Target { project: project.clone(), table: table.clone(), known: known.cloned() })
}

/// All rows into a file of the folder.
async fn put_all(
    rows: &mut Rows,
    workshop: &Workshop,
    target: &Target,
    folder: &Path,
    id: RequestId,
) -> Result<(Columns, u64), Refusal> {
    let sheet = Sheet::new(&target.table, rows.schema(), target.known.as_ref())?;
    let mut page = sheet.begin(&workshop.settings, folder, id)?;
    while let Some(batch) = rows.next_kept().await? {
        page.put(&batch).await?;
    }
    page.finish().await
}

/// What is a table is no view.
fn other_kind(what: &What, known: Option<&DataSource>) -> Option<Refusal> {
    let known = known?;
    let (wants, is) = match (what, known.view()) {
        (What::Insert(_) | What::Drop { view: false, .. }, Some(_)) => ("table", "view"),
        (What::View(_) | What::Drop { view: true, .. }, None) => ("view", "table"),
        (What::Create(_) | What::Make(_) | What::View(_) | What::Insert(_) | What::Drop { .. }, _) => return None,
    };
    Some(Refusal::invalid(format!("`{}` is no {wants}, but a {is}", known.name)))
}

pub(super) fn nowhere(detail: &str) -> Refusal {
    let text = "tables are written in the workspace of the current project only".to_owned();
    Refusal::new(Outside::Forbidden { text }, Truth::Denied, detail)
}

/// What changes the state is not broken off in the middle because its client does not wait any more.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::spawn(work).await.unwrap_or_else(|e| Err(Refusal::bug(e.to_string())))
}

/// Rows that are in files, to become a table or another state of one.
pub(super) struct Written {
    pub(super) by: PrincipalId,
    pub(super) target: Target,
    pub(super) columns: Columns,
    pub(super) folder: PathBuf,
    pub(super) files: Unregistered,
    pub(super) lineage: Option<Lineage>,
}

impl Inner {
    /// The files become the table, if the write still stands. Else nothing is left of them.
    pub(super) async fn publish(self: Arc<Self>, admitted: Admitted, written: Written) -> Result<(), Refusal> {
        to_its_end(async move {
            let Written { by, target, columns, folder, files, lineage } = written;
            let left = match Leaving::new(target.known.as_ref().map(|known| &known.location)) {
                Ok(left) => left,
                Err(e) => return Err(fail(admitted, not_written(&target.table, &e)).await),
            };
            let location = Location::Files { format: FileFormat::Parquet, path: folder, partitions: Vec::new() };
            let workshop = self.workshop()?;
            if let Err(refusal) = workshop.register(&admitted, &by, &target, columns, location, lineage).await {
                drop(files);
                return Err(fail(admitted, refusal).await);
            }
            files.keep();
            left.remove().await;
            admitted.end(Ended::Complete, None).await
        })
        .await
    }

    pub(super) fn workshop(&self) -> Result<&Workshop, Refusal> {
        self.workspaces.as_ref().ok_or_else(|| Refusal::bug("a write where nothing is written"))
    }
}

impl Workshop {
    /// Where the files of a table go that the request writes.
    pub(super) fn folder(&self, table: &SourceName, id: RequestId) -> PathBuf {
        self.settings.directory.join(table.schema()).join(format!("{}.{id}", table.table()))
    }

    async fn drop_table(&self, request: Request, known: &DataSource) -> Result<(), Refusal> {
        let by = request.actor().effective.clone();
        // Nothing of a view that does not hold any more is read to take it away.
        let decision = if known.view().is_some() { request.decide(&[]) } else { request.decide(&[known.id]) };
        let admitted = request.admit(&decision).await?;
        let left = match Leaving::new(Some(&known.location)) {
            Ok(left) => left,
            Err(e) => return Err(fail(admitted, not_written(&known.name, &e)).await),
        };
        if let Err(e) = self.register.drop_table(&by, known).await {
            return Err(fail(admitted, of_register(&known.name, &e)).await);
        }
        left.remove().await;
        admitted.end(Ended::Complete, None).await
    }

    async fn register(
        &self,
        admitted: &Admitted,
        by: &PrincipalId,
        target: &Target,
        columns: Columns,
        location: Location,
        lineage: Option<Lineage>,
    ) -> Result<(), Refusal> {
        admitted.still_writes(&target.project, target.table.schema()).await?;
        let done = match &target.known {
            Some(known) => {
                let lineage = match &location {
                    Location::View { .. } => lineage,
                    Location::Files { .. } | Location::Objects { .. } | Location::Table { .. } => {
                        descent::of_both(known.lineage.as_ref(), lineage, columns.len())
                    }
                };
                self.register.rewrite(by, known, location, lineage).await
            }
            None => {
                let (project, name) = (target.project.clone(), target.table.clone());
                self.register.write(by, WrittenTable { project, name, columns, location, lineage }).await
            }
        };
        done.map_err(|e| of_register(&target.table, &e))
    }
}

fn of_register(table: &SourceName, error: &WriteError) -> Refusal {
    match error {
        WriteError::Refused(why) => not_written(table, why),
        WriteError::Unavailable(e) => Refusal::unavailable(e),
    }
}

impl Engine {
    /// Makes the view, if its query is one that the principal could run herself.
    async fn define(&self, request: Request, view: &View, target: Target) -> Result<u64, Refusal> {
        let by = request.actor().effective.clone();
        let (threads, request, seat) = self.inner.seated(request).await?;
        let (inner, view, table, known) =
            (Arc::clone(&self.inner), view.clone(), target.table.clone(), target.known.clone());
        let mut working = threads.spawn(async move {
            let _seat = seat;
            let Bound { request, decision, state, plan, runs: _ } = Box::pin(inner.bind(request, &view.query)).await?;
            let shape = views::shape(&state, plan, &view, &request, &decision);
            match shape.and_then(|shape| fits(&table, known.as_ref(), shape, &decision)) {
                Ok((columns, lineage)) => {
                    let lineage = lineage.map(|lineage| plain_copies(lineage, &columns, request.snapshot()));
                    Ok((request.admit(&decision).await?, columns, lineage, view.text))
                }
                Err(refusal) => Err(request.refuse_decided(&decision, refusal).await),
            }
        });
        let (admitted, columns, lineage, query) = working.done().await??;
        let inner = Arc::clone(&self.inner);
        to_its_end(async move {
            let (workshop, location) = (inner.workshop()?, Location::View { query });
            if let Err(refusal) = workshop.register(&admitted, &by, &target, columns, location, lineage).await {
                return Err(fail(admitted, refusal).await);
            }
            admitted.end(Ended::Complete, None).await.map(|()| 0)
        })
        .await
    }

    /// Runs the query and puts its rows into a new table, or, with those that are there, into a new state of `known`.
    async fn fill(
        &self,
        workshop: &Workshop,
        request: Request,
        query: &Query,
        target: Target,
        cancelled: impl Future<Output = ()>,
    ) -> Result<u64, Refusal> {
        let by = request.actor().effective.clone();
        let (id, snapshot) = (request.id(), Arc::clone(request.snapshot()));
        let stopped = || Refusal::new(Outside::Cancelled, Truth::Cancelled, "by a cancel request").of_request(id);
        let mut cancelled = pin!(cancelled);
        let (mut rows, lineage) = tokio::select! {
            started = self.run_for(request, query) => started?,
            () = &mut cancelled => return Err(stopped()),
        };
        let folder = workshop.folder(&target.table, id);
        let files = Unregistered::new(folder.clone());
        let written = tokio::select! {
            written = put_all(&mut rows, workshop, &target, &folder, id) => Some(written),
            () = &mut cancelled => None,
        };
        let (columns, count) = match written {
            Some(Ok(written)) => written,
            Some(Err(refusal)) => {
                drop(files);
                return Err(rows.break_off(refusal).await);
            }
            None => {
                drop(files);
                rows.cancel().await;
                return Err(stopped());
            }
        };
        let lineage = lineage.map(|lineage| plain_copies(lineage, &columns, &snapshot));
        let admitted = rows.kept().await?;
        let written = Written { by, target, columns, folder, files, lineage };
        Arc::clone(&self.inner).publish(admitted, written).await.map(|()| count)
    }

    /// As a read, with the lineage of its rows.
    async fn run_for(&self, request: Request, query: &Query) -> Result<(Rows, Option<Lineage>), Refusal> {
        let (threads, request, seat) = self.inner.seated(request).await?;
        let (inner, query) = (Arc::clone(&self.inner), query.clone());
        let (output, input) = rows::pipe();
        let (tell, told) = oneshot::channel();
        let working = threads.spawn(async move {
            match Box::pin(inner.open(request, &seat, &query, &[], None, Some(tell))).await {
                Ok((opened, admitted)) => {
                    let schema = query.named(&opened.schema());
                    output.flow(opened, schema, admitted, inner.users.limits()).await
                }
                Err(refusal) => output.refuse(refusal),
            }
        });
        let rows = input.rows(working).await?;
        match told.await {
            Ok(lineage) => Ok((rows, lineage)),
            Err(_) => Err(rows.break_off(Refusal::bug("a write without a lineage")).await),
        }
    }
}

/// The view that a statement asks for, as one that can be registered in the place of the one that is known.
fn fits(
    table: &SourceName,
    known: Option<&DataSource>,
    (schema, lineage): (SchemaRef, Option<Lineage>),
    decision: &Decision,
) -> Result<(Columns, Option<Lineage>), Refusal> {
    let columns = Sheet::new(table, &schema, None)?.columns;
    let Some(known) = known else { return Ok((columns, lineage)) };
    if decision.sources.iter().any(|(id, _)| *id == known.id) {
        return Err(Refusal::invalid(format!("view `{table}` would read itself")));
    }
    let same = known.columns.iter().map(|column| (&column.name, &column.data_type));
    if !same.eq(columns.iter().map(|(name, data_type)| (name, data_type))) {
        return Err(Refusal::invalid(format!("view `{table}` has other columns: it has to be dropped first")));
    }
    Ok((columns, lineage))
}

/// What is of another type than its original is no copy of it.
fn plain_copies(mut lineage: Lineage, columns: &[(ColumnName, DataType)], snapshot: &Snapshot) -> Lineage {
    for (id, (_, data_type)) in (1..).map(ColumnId).zip(columns) {
        let Some(origin) = lineage.columns.get_mut(&id) else { continue };
        let Origin::Copied(from) = origin else { continue };
        let of_type = |from: &ParentColumn| {
            let column = snapshot.source(from.source).and_then(|parent| parent.column_by_id(from.column));
            column.is_some_and(|column| column.data_type == *data_type)
        };
        if !from.iter().all(of_type) {
            *origin = Origin::Computed(std::mem::take(from));
        }
    }
    lineage
}
