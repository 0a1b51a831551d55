//! Rows that a client sends, on their way into a table of a workspace. They come from no source.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, BinaryBuilder, RecordBatch, RecordBatchOptions, StringArray, StringBuilder, new_null_array,
};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType as Arrow, TimeUnit};
use futures::future::BoxFuture;
use weir_guard::{Admitted, Caller, Ended, Outside, Refusal, Request, Truth, Wrong};
use weir_model::{DataSource, DataType, PrincipalId, RequestId, TypeClass};

use super::lines::{Line, Lines, wrong};
use super::sheet::{Page, Sheet, Unregistered, not_written};
use super::users::Seat;
use super::write::{Target, Written, nowhere, target};
use super::{Engine, Inner, fail};
use crate::fault;
use crate::statement::CopyIn;

/// So many rows, or so many bytes of them, are gathered before they are written.
const ROWS: usize = 8192;
const BYTES: usize = 4 << 20;

/// Rows on their way. Dropped before it is finished, nothing is left of them, and the write is on record as abandoned.
pub struct Intake {
    request: RequestId,
    width: usize,
    open: Option<Box<Open>>,
}

struct Open {
    inner: Arc<Inner>,
    by: PrincipalId,
    target: Target,
    lines: Lines,
    waiting: Waiting,
    page: Page,
    folder: PathBuf,
    files: Unregistered,
    admitted: Admitted,
    withdrawn: BoxFuture<'static, Refusal>,
    _seat: Seat,
}

impl Engine {
    /// Begins to take rows for a table that is there.
    pub async fn intake(&self, caller: &Caller, copy: &CopyIn) -> Result<Intake, Refusal> {
        let mut request = self.inner.guard.begin(caller.clone(), &copy.text).await?;
        request.writes(copy.table.clone());
        let (_, request, seat) = self.inner.seated(request).await?;
        let begun = self.inner.workspaces.as_ref().ok_or_else(|| nowhere("no tables are written here"));
        let begun = begun.and_then(|workshop| {
            let target = target(&request, &copy.table)?;
            let known = target.known.as_ref().ok_or_else(|| fault::not_found(&copy.table.to_string()))?;
            if known.view().is_some() {
                return Err(Refusal::invalid(format!("`{}` is no table, but a view", known.name)));
            }
            let waiting = Waiting::new(known, copy)?;
            let folder = workshop.folder(&copy.table, request.id());
            let files = Unregistered::new(folder.clone());
            let page = Sheet::of(known).begin(&workshop.settings, &folder, request.id())?;
            Ok((target, waiting, page, folder, files))
        });
        let (target, waiting, page, folder, files) = match begun {
            Ok(begun) => begun,
            Err(refusal) => return Err(request.refuse(refusal).await),
        };
        let admitted = admitted(request, target.known.as_ref()).await?;
        let (by, withdrawn) = (caller.actor.effective.clone(), Box::pin(admitted.watch()));
        let (request, width) = (admitted.request(), waiting.places.len());
        let (inner, lines) = (Arc::clone(&self.inner), Lines::new(copy.form.clone()));
        let open = Open { inner, by, target, lines, waiting, page, folder, files, admitted, withdrawn, _seat: seat };
        Ok(Intake { request, width, open: Some(Box::new(open)) })
    }
}

/// The write is watched like a read of the table.
async fn admitted(request: Request, known: Option<&DataSource>) -> Result<Admitted, Refusal> {
    let ids: Vec<_> = known.iter().map(|known| known.id).collect();
    let decision = request.decide(&ids);
    request.admit(&decision).await
}

impl Intake {
    /// How many values a row has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Takes more bytes of the rows. After an error it is over, on record.
    pub async fn put(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let Some(open) = &mut self.open else { return Err(self.over()) };
        match open.put(bytes).await {
            Ok(()) => Ok(()),
            Err(refusal) => Err(self.abort(refusal).await),
        }
    }

    /// All rows came: they are in the table when this returns. Gives their number.
    pub async fn finish(mut self) -> Result<u64, Refusal> {
        let Some(mut open) = self.open.take() else { return Err(self.over()) };
        if let Err(refusal) = open.rest().await {
            return Err(open.failed(refusal).await);
        }
        let Open { inner, by, target, page, folder, files, admitted, withdrawn, .. } = *open;
        drop(withdrawn);
        let lineage = target.known.as_ref().and_then(|known| known.lineage.clone());
        match page.finish().await {
            Ok((columns, count)) => {
                let written = Written { by, target, columns, folder, files, lineage };
                inner.publish(admitted, written).await.map(|()| count)
            }
            Err(refusal) => {
                drop(files);
                Err(fail(admitted, refusal).await)
            }
        }
    }

    /// Ends when a change takes the write away, never otherwise. It is over then, on record.
    pub async fn withdrawn(&mut self) -> Refusal {
        let refusal = match &mut self.open {
            Some(open) => (&mut open.withdrawn).await,
            None => std::future::pending().await,
        };
        self.abort(refusal).await
    }

    /// Ends it because of what the client did.
    pub async fn abort(&mut self, refusal: Refusal) -> Refusal {
        match self.open.take() {
            Some(open) => open.failed(refusal).await,
            None => refusal,
        }
    }

    /// Ends it because its client cancelled it; returns when that is on record.
    pub async fn cancel(mut self) {
        let Some(open) = self.open.take() else { return };
        let Open { files, admitted, .. } = *open;
        drop(files);
        if admitted.end(Ended::Cancelled, None).await.is_err() {
            tracing::error!(request.id = %self.request, "the outcome of a cancelled write is not on record");
        }
    }

    fn over(&self) -> Refusal {
        Refusal::new(Outside::Cancelled, Truth::Cancelled, "rows for a write that is over").of_request(self.request)
    }
}

impl Open {
    async fn put(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        // Pieces small enough that what waits stays small.
        for piece in bytes.chunks(BYTES) {
            let waiting = &mut self.waiting;
            self.lines.put(piece, |line| waiting.take(line))?;
            if self.waiting.lines.len() >= ROWS || self.waiting.bytes >= BYTES {
                self.write().await?;
            }
        }
        Ok(())
    }

    async fn rest(&mut self) -> Result<(), Refusal> {
        let waiting = &mut self.waiting;
        self.lines.finish(|line| waiting.take(line))?;
        self.write().await
    }

    async fn write(&mut self) -> Result<(), Refusal> {
        if self.waiting.lines.is_empty() {
            return Ok(());
        }
        let (table, bytes) = (&self.target.table, u64::try_from(self.waiting.bytes).unwrap_or(u64::MAX));
        let (arrays, rows) = self.waiting.arrays()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.page.sheet.schema), arrays, &options);
        let batch = batch.map_err(|e| not_written(table, &e))?;
        self.admitted.count(u64::try_from(rows).unwrap_or(u64::MAX), bytes);
        self.page.put(&batch).await
    }

    async fn failed(self, refusal: Refusal) -> Refusal {
        drop(self.files);
        fail(self.admitted, refusal).await
    }
}

/// Rows that are not written yet.
struct Waiting {
    /// What each value of a row is for.
    places: Vec<Place>,
    /// How many columns there are.
    columns: Vec<DataType>,
    values: Vec<StringBuilder>,
    /// Where each row begins.
    lines: Vec<u64>,
    bytes: usize,
    zone: Option<Arc<str>>,
}

struct Place {
    /// Among the columns.
    at: usize,
    name: String,
}

impl Waiting {
    fn new(known: &DataSource, copy: &CopyIn) -> Result<Self, Refusal> {
        let all = known.columns.iter().map(|column| column.name.to_string()).collect();
        let wanted = if copy.columns.is_empty() { all } else { copy.columns.clone() };
        let mut places: Vec<Place> = Vec::with_capacity(wanted.len());
        for name in wanted {
            let at = known.columns.iter().position(|column| column.name.as_str() == name);
            let Some((at, column)) = at.and_then(|at| Some((at, known.columns.get(at)?))) else {
                let text = format!("column `{name}` of table `{}` does not exist", known.name);
                return Err(Refusal::wrong(Wrong::Column, text));
            };
            if places.iter().any(|place| place.at == at) {
                return Err(Refusal::invalid(format!("column `{name}` is there twice")));
            }
            if column.data_type.class() == TypeClass::Nested {
                let text = format!("COPY FROM into column `{name}` of type {} is not supported", column.data_type);
                return Err(Refusal::unsupported(text));
            }
            places.push(Place { at, name });
        }
        let values = places.iter().map(|_| StringBuilder::new()).collect();
        let columns = known.columns.iter().map(|column| column.data_type.clone()).collect();
        let zone = copy.asked.zone.as_deref().map(Arc::from);
        Ok(Self { places, columns, values, lines: Vec::new(), bytes: 0, zone })
    }

    fn take(&mut self, line: Line) -> Result<(), Refusal> {
        let Line { number, values } = line;
        if let Some(missing) = self.places.get(values.len()) {
            return Err(wrong(format!("line {number} has no value for column `{}`", missing.name)));
        }
        if values.len() > self.places.len() {
            return Err(wrong(format!("line {number} has more values than there are columns")));
        }
        for (builder, value) in self.values.iter_mut().zip(values) {
            self.bytes += value.as_ref().map_or(0, String::len);
            builder.append_option(value);
        }
        self.lines.push(number);
        Ok(())
    }

    /// All columns of the table, with what came for them, and the number of rows.
    fn arrays(&mut self) -> Result<(Vec<ArrayRef>, usize), Refusal> {
        let lines = std::mem::take(&mut self.lines);
        let rows = lines.len();
        self.bytes = 0;
        let null = |data_type: &DataType| new_null_array(&weir_sources::arrow_type(data_type), rows);
        let mut arrays: Vec<ArrayRef> = self.columns.iter().map(null).collect();
        for (place, builder) in self.places.iter().zip(&mut self.values) {
            let texts = builder.finish();
            let Some((array, data_type)) = arrays.get_mut(place.at).zip(self.columns.get(place.at)) else { continue };
            *array = read(&texts, data_type, self.zone.as_ref()).map_err(|row| {
                let number = lines.get(row).copied().unwrap_or_default();
                wrong(format!("invalid input for column `{}` of type {data_type} in line {number}", place.name))
            })?;
        }
        Ok((arrays, rows))
    }
}

/// Texts as values of the type, or the first row whose text is none.
fn read(texts: &StringArray, data_type: &DataType, zone: Option<&Arc<str>>) -> Result<ArrayRef, usize> {
    let target = weir_sources::arrow_type(data_type);
    if *data_type == DataType::Binary {
        let mut bytes = BinaryBuilder::new();
        for (row, text) in texts.iter().enumerate() {
            match text.map(hex) {
                None => bytes.append_null(),
                Some(Some(value)) => bytes.append_value(value),
                Some(None) => return Err(row),
            }
        }
        return cast_with_options(&bytes.finish(), &target, &CastOptions::default()).map_err(|_| 0);
    }
    // Times that name no zone are of the connection's.
    let read_as = match (data_type, zone) {
        (DataType::Timestamp { zoned: true }, Some(zone)) => {
            Arrow::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(zone)))
        }
        _ => target.clone(),
    };
    let safe = CastOptions { safe: true, ..CastOptions::default() };
    let cast = |array: &dyn Array, data_type: &Arrow| cast_with_options(array, data_type, &safe).map_err(|_| 0_usize);
    let values = cast(&cast(texts, &read_as)?, &target)?;
    let lost = |row: &usize| values.is_null(*row) && !texts.is_null(*row);
    match (0..texts.len()).find(lost) {
        Some(row) => Err(row),
        None => Ok(values),
    }
}

/// `\x00ff`, as PostgreSQL writes bytes.
fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some((digit(*high)? << 4) | digit(*low)?)).collect()
}
