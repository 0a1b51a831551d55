//! Tables that members of a project write in its workspace: what they read is read as ever, what they write is a data
//! source made from it.

use std::error::Error;
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::parquet::arrow::ArrowWriter;
use tokio::sync::oneshot;
use weir_guard::{Admitted, Caller, Ended, Outside, Refusal, Request, Truth, Workspaces, WriteError, WrittenTable};
use weir_model::{
    ColumnId, ColumnName, DataSource, DataType, FileFormat, Lineage, Location, Origin, ParentColumn, PrincipalId,
    ProjectName, SourceName,
};
use weir_policy::{Snapshot, SourceDecision};
use weir_sources::{arrow_type, model_type};

use super::rows::{self, Rows};
use super::{Engine, Inner, fail};
use crate::descent;
use crate::fault;
use crate::statement::{Query, What, Write};

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
struct Target {
    project: ProjectName,
    table: SourceName,
    /// The table as it is, when the principal sees it.
    known: Option<DataSource>,
}

impl Engine {
    /// Carries out a write, and gives the number of rows that were written. Nobody sees anything of it before all of
    /// it is there, and nothing is left of one that fails or is revoked.
    pub async fn write(&self, caller: &Caller, write: &Write) -> Result<u64, Refusal> {
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
        match (&write.what, target.known.clone()) {
            (What::Drop { if_exists: true }, None) => {
                let nothing = request.decide(&[]);
                request.admit(&nothing).await?.end(Ended::Complete, None).await?;
                Ok(0)
            }
            (What::Drop { .. } | What::Insert(_), None) => {
                Err(request.refuse(fault::not_found(&write.table.to_string())).await)
            }
            (What::Create(_), Some(_)) => {
                let refusal = Refusal::invalid(format!("table `{}` already exists", write.table));
                Err(request.refuse(refusal).await)
            }
            (What::Drop { .. }, Some(known)) => {
                let inner = Arc::clone(&self.inner);
                to_its_end(async move { inner.workshop()?.drop_table(request, &known).await.map(|()| 0) }).await
            }
            (What::Create(query), None) | (What::Insert(query), Some(_)) => {
                self.fill(workshop, request, query, target).await
            }
        }
    }
}

/// The workspace of the current project is the only place. Of others nothing is said.
fn target(request: &Request, table: &SourceName) -> Result<Target, Refusal> {
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
        decided.sources.iter().all(|(_, decided)| !matches!(decided, SourceDecision::Deny(..)))
    });
    Ok(Target { project: project.clone(), table: table.clone(), known: known.cloned() })
}

fn nowhere(detail: &str) -> Refusal {
    let text = "tables are written in the workspace of the current project only".to_owned();
    Refusal::new(Outside::Forbidden { text }, Truth::Denied, detail)
}

fn not_written(table: &SourceName, cause: &dyn std::fmt::Display) -> Refusal {
    let text = format!("table `{table}` cannot be written");
    Refusal::new(Outside::Data { text: text.clone() }, Truth::EngineFailed, format!("{text}: {cause}"))
}

/// What changes the state is not broken off in the middle because its client does not wait any more.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::spawn(work).await.unwrap_or_else(|e| Err(Refusal::bug(e.to_string())))
}

/// Files that are no table yet. They go with it.
struct Unregistered(Option<PathBuf>);

impl Unregistered {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Unregistered {
    fn drop(&mut self) {
        if let Some(folder) = self.0.take().filter(|folder| folder.exists())
            && std::fs::remove_dir_all(folder).is_err()
        {
            tracing::warn!("files of a write that came to nothing could not be removed");
        }
    }
}

impl Inner {
    fn workshop(&self) -> Result<&Workshop, Refusal> {
        self.workspaces.as_ref().ok_or_else(|| Refusal::bug("a write where nothing is written"))
    }
}

impl Workshop {
    async fn drop_table(&self, request: Request, known: &DataSource) -> Result<(), Refusal> {
        let by = request.actor().effective.clone();
        let decision = request.decide(&[known.id]);
        let admitted = request.admit(&decision).await?;
        if let Err(e) = self.register.drop_table(&by, known).await {
            return Err(fail(admitted, of_register(&known.name, &e)).await);
        }
        if let Location::Files { path, .. } = &known.location {
            remove(path.clone()).await;
        }
        admitted.end(Ended::Complete, None).await
    }

    /// The files become the table, if the write still stands.
    async fn register(
        &self,
        admitted: &Admitted,
        by: &PrincipalId,
        target: &Target,
        columns: Vec<(ColumnName, DataType)>,
        folder: &Path,
        lineage: Option<Lineage>,
    ) -> Result<(), Refusal> {
        admitted.still_writes(&target.project, target.table.schema()).await?;
        let location = Location::Files { format: FileFormat::Parquet, path: folder.to_owned(), partitions: Vec::new() };
        let done = match &target.known {
            Some(known) => {
                let lineage = descent::of_both(known.lineage.as_ref(), lineage, columns.len());
                self.register.rewrite(by, known, location, lineage).await
            }
            None => {
                let (project, name) = (target.project.clone(), target.table.clone());
                self.register.write(by, WrittenTable { project, name, columns, location, lineage }).await
            }
        };
        done.map_err(|e| of_register(&target.table, &e))
    }

    /// In files of the workspace, those that are being written included.
    fn used(&self, schema: &str) -> std::io::Result<u64> {
        fn below(folder: &Path) -> std::io::Result<u64> {
            let mut bytes = 0;
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                let meta = entry.metadata()?;
                bytes += if meta.is_dir() { below(&entry.path())? } else { meta.len() };
            }
            Ok(bytes)
        }
        let folder = self.settings.directory.join(schema);
        if folder.exists() { below(&folder) } else { Ok(0) }
    }
}

fn of_register(table: &SourceName, error: &WriteError) -> Refusal {
    match error {
        WriteError::Refused(why) => not_written(table, why),
        WriteError::Unavailable(e) => Refusal::unavailable(e),
    }
}

/// What is not registered is nobody's; that it cannot be taken away harms nobody.
async fn remove(folder: PathBuf) {
    let gone = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(folder)).await;
    if !matches!(gone, Ok(Ok(()))) {
        tracing::warn!("files of a table that is gone could not be removed");
    }
}

impl Engine {
    /// Runs the query and puts its rows into a new table, or, with those that are there, into a new state of `known`.
    async fn fill(&self, workshop: &Workshop, request: Request, query: &Query, target: Target) -> Result<u64, Refusal> {
        let by = request.actor().effective.clone();
        let (id, snapshot) = (request.id(), Arc::clone(request.snapshot()));
        let (mut rows, lineage) = self.run_for(request, query).await?;
        let (table, known) = (&target.table, target.known.as_ref());
        let folder = workshop.settings.directory.join(table.schema()).join(format!("{}.{id}", table.table()));
        let files = Unregistered(Some(folder.clone()));
        let written = match Sheet::new(table, rows.schema(), known) {
            Ok(sheet) => sheet.fill(&mut rows, workshop, &folder, &id.to_string()).await,
            Err(refusal) => Err(refusal),
        };
        let (columns, count) = match written {
            Ok(written) => written,
            Err(refusal) => {
                drop(files);
                return Err(rows.break_off(refusal).await);
            }
        };
        let lineage = lineage.map(|lineage| plain_copies(lineage, &columns, &snapshot));
        let admitted = rows.kept().await?;
        let inner = Arc::clone(&self.inner);
        to_its_end(async move {
            let workshop = inner.workshop()?;
            if let Err(refusal) = workshop.register(&admitted, &by, &target, columns, &folder, lineage).await {
                drop(files);
                return Err(fail(admitted, refusal).await);
            }
            files.keep();
            if let Some(Location::Files { path, .. }) = target.known.map(|known| known.location) {
                remove(path).await;
            }
            admitted.end(Ended::Complete, None).await?;
            Ok(count)
        })
        .await
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

/// Rows on their way into a file.
struct Sheet {
    table: SourceName,
    known: Option<DataSource>,
    columns: Vec<(ColumnName, DataType)>,
    schema: SchemaRef,
    bytes_max: u64,
    rows: u64,
}

impl Sheet {
    fn new(table: &SourceName, read: &SchemaRef, known: Option<&DataSource>) -> Result<Self, Refusal> {
        let mut columns: Vec<(ColumnName, DataType)> = Vec::with_capacity(read.fields().len());
        match known {
            Some(known) if known.columns.len() != read.fields().len() => {
                let (has, given) = (known.columns.len(), read.fields().len());
                return Err(Refusal::invalid(format!(
                    "table `{table}` has {has} columns, and the query gives {given}"
                )));
            }
            Some(known) => {
                columns.extend(known.columns.iter().map(|column| (column.name.clone(), column.data_type.clone())));
            }
            None => {
                for field in read.fields() {
                    let name = ColumnName::new(field.name().as_str()).map_err(|e| {
                        Refusal::invalid(format!("column `{}` has to be named with AS: {e}", field.name()))
                    })?;
                    if columns.iter().any(|(known, _)| *known == name) {
                        return Err(Refusal::invalid(format!("column `{name}` is there twice")));
                    }
                    let data_type = model_type(field.data_type()).ok_or_else(|| {
                        Refusal::unsupported(format!(
                            "column `{name}` is of a type that no table has: give it one by CAST"
                        ))
                    })?;
                    columns.push((name, data_type));
                }
            }
        }
        let fields: Vec<Field> =
            columns.iter().map(|(name, data_type)| Field::new(name.as_str(), arrow_type(data_type), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        Ok(Self { table: table.clone(), known: known.cloned(), columns, schema, bytes_max: 0, rows: 0 })
    }

    /// All rows into a file of the folder, which is made; beside it the files that the table has already.
    async fn fill(
        mut self,
        rows: &mut Rows,
        workshop: &Workshop,
        folder: &Path,
        file: &str,
    ) -> Result<(Vec<(ColumnName, DataType)>, u64), Refusal> {
        let used = workshop.used(self.table.schema()).map_err(|e| not_written(&self.table, &e))?;
        self.bytes_max = workshop.settings.bytes_max.saturating_sub(used);
        let before = self.known.as_ref().and_then(|known| match &known.location {
            Location::Files { path, .. } => Some(path),
            Location::Table { .. } => None,
        });
        let mut writer = self
            .begin(folder, &folder.join(format!("{file}.parquet")), before)
            .map_err(|e| not_written(&self.table, &e))?;
        while let Some(batch) = rows.next_kept().await? {
            self.rows += u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
            let batch = self.fitted(&batch)?;
            let put = tokio::task::spawn_blocking(move || writer.write(&batch).map(|()| writer)).await;
            writer = put
                .map_err(|e| not_written(&self.table, &e))
                .and_then(|put| put.map_err(|e| not_written(&self.table, &e)))?;
            let size = u64::try_from(writer.bytes_written() + writer.in_progress_size()).unwrap_or(u64::MAX);
            if size > self.bytes_max {
                let text = format!("the workspace would have more than {} bytes", workshop.settings.bytes_max);
                return Err(Refusal::new(Outside::TooMuch { text: text.clone() }, Truth::Limit, text));
            }
        }
        let folder = folder.to_owned();
        let kept = tokio::task::spawn_blocking(move || -> Result<(), Box<dyn Error + Send + Sync>> {
            writer.into_inner()?.sync_all()?;
            File::open(&folder)?.sync_all()?;
            if let Some(above) = folder.parent() {
                File::open(above)?.sync_all()?;
            }
            Ok(())
        });
        match kept.await {
            Ok(Ok(())) => Ok((self.columns, self.rows)),
            Ok(Err(e)) => Err(not_written(&self.table, &e)),
            Err(e) => Err(not_written(&self.table, &e)),
        }
    }

    fn begin(
        &self,
        folder: &Path,
        file: &Path,
        before: Option<&PathBuf>,
    ) -> Result<ArrowWriter<File>, Box<dyn Error + Send + Sync>> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        for entry in before.map(std::fs::read_dir).transpose()?.into_iter().flatten() {
            let path = entry?.path();
            if let Some(name) = path.file_name() {
                std::fs::hard_link(&path, folder.join(name))?;
            }
        }
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        Ok(ArrowWriter::try_new(made, Arc::clone(&self.schema), None)?)
    }

    /// With the types of the table.
    fn fitted(&self, batch: &RecordBatch) -> Result<RecordBatch, Refusal> {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let cast = |(field, array): (&Arc<Field>, &ArrayRef)| {
            cast_with_options(array, field.data_type(), &options).map_err(|_| {
                let text = format!("a value does not fit column `{}` of table `{}`", field.name(), self.table);
                Refusal::new(Outside::Data { text: text.clone() }, Truth::EngineFailed, text)
            })
        };
        let arrays: Vec<ArrayRef> =
            self.schema.fields().iter().zip(batch.columns()).map(cast).collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let fitted = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options);
        fitted.map_err(|e| not_written(&self.table, &e))
    }
}
