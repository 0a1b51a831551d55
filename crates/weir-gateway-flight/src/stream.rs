//! Rows on their way: from the engine to messages of a few megabytes, as fast as the client takes them.
//!
//! A batch of the engine may share buffers with others, and views keep all of the text that they were cut from. So
//! text and bytes are sent in their plain form, which holds what the rows hold and nothing else.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array as _, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_flight::FlightData;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::{mpsc, watch};
use tonic::Status;
use weir_guard::Refusal;
use weir_query::Rows;

use crate::status::{defect, stopping, told};
use crate::views::to_plain;

/// Rows of one message, in bytes; clients take 4 MiB without being told otherwise.
const MESSAGE_BYTES: usize = 2 << 20;

pub(crate) type Messages = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send>>;

/// The schema as it is sent: without views and dictionaries.
pub(crate) fn plain_schema(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new_with_metadata(plain_fields(schema.fields()), schema.metadata().clone()))
}

fn plain_fields(fields: &Fields) -> Fields {
    fields.iter().map(plain_field).collect()
}

fn plain_field(field: &FieldRef) -> FieldRef {
    Arc::new(Field::clone(field).with_data_type(plain(field.data_type())))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "types that hold no other type and no view stay as they are")]
pub(crate) fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => plain(values),
        DataType::List(item) | DataType::ListView(item) => DataType::List(plain_field(item)),
        DataType::LargeList(item) | DataType::LargeListView(item) => DataType::LargeList(plain_field(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(plain_field(item), *length),
        DataType::Struct(fields) => DataType::Struct(plain_fields(fields)),
        DataType::Map(entries, sorted) => DataType::Map(plain_field(entries), *sorted),
        other => other.clone(),
    }
}

/// Parts of a batch, each small enough for a message, in the form of `schema`. A row is never cut.
fn parts(batch: &RecordBatch, schema: &SchemaRef) -> Result<Vec<RecordBatch>, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns: Vec<_> =
        columns.map(|(column, field)| to_plain(column, field.data_type())).collect::<Result<_, _>>()?;
    let bytes = columns.iter().map(|column| column.to_data().get_slice_memory_size());
    let bytes: usize = bytes.sum::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let batch = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?;
    let rows = batch.num_rows();
    let each = rows.div_ceil(bytes.div_ceil(MESSAGE_BYTES).max(1)).max(1);
    Ok((0..rows).step_by(each).map(|from| batch.slice(from, each.min(rows - from))).collect())
}

/// Batches that are there already.
pub(crate) fn send_batch(batch: &RecordBatch) -> Messages {
    let schema = batch.schema();
    let parts = parts(batch, &schema).map_err(|e| defect(&e));
    encode(schema, stream::iter(parts.map_or_else(|e| vec![Err(e)], |parts| parts.into_iter().map(Ok).collect())))
}

/// The rows of a read. They are asked for in a task of their own, which also ends them when access is withdrawn while
/// the client takes none. `running` is held for as long as that goes on.
pub(crate) fn send_rows(
    rows: Rows,
    schema: SchemaRef,
    stopped: watch::Receiver<bool>,
    running: mpsc::Sender<Infallible>,
) -> Messages {
    let (put, take) = mpsc::channel(1);
    let ended = Arc::new(OnceLock::new());
    let pump = Pump { rows, schema: Arc::clone(&schema), put, ended: Arc::clone(&ended), stopped };
    tokio::spawn(async move {
        pump.run().await;
        drop(running);
    });
    let batches = stream::unfold(Some((take, ended)), |state| async {
        let (mut take, ended) = state?;
        let next = take.recv().await;
        // Rows that wait are not sent any more when the read was ended.
        match (ended.get(), next) {
            (Some(status), _) => Some((Err(Status::clone(status)), None)),
            (None, Some(batch)) => Some((Ok(batch), Some((take, ended)))),
            (None, None) => None,
        }
    });
    encode(schema, batches)
}

struct Pump {
    rows: Rows,
    schema: SchemaRef,
    put: mpsc::Sender<RecordBatch>,
    /// Why the client does not get all rows. Set before `put` is dropped.
    ended: Arc<OnceLock<Status>>,
    stopped: watch::Receiver<bool>,
}

/// Why a client does not get all rows.
enum End {
    Stopped,
    Failed(Status),
}

impl Pump {
    async fn run(mut self) {
        match self.pump().await {
            Ok(()) => {}
            Err(End::Stopped) => {
                let _ = self.ended.set(stopping());
                self.rows.cancel().await;
            }
            Err(End::Failed(status)) => {
                let _ = self.ended.set(status);
            }
        }
    }

    /// To the last row, or until the client goes away.
    async fn pump(&mut self) -> Result<(), End> {
        let refused = |refusal: Refusal| End::Failed(told(&refusal));
        loop {
            let batch = tokio::select! {
                biased;
                _ = self.stopped.wait_for(|stop| *stop) => return Err(End::Stopped),
                // Recorded as abandoned.
                () = self.put.closed() => return Ok(()),
                next = self.rows.next() => next.map_err(refused)?,
            };
            let Some(batch) = batch else { return Ok(()) };
            for part in parts(&batch, &self.schema).map_err(|e| End::Failed(defect(&e)))? {
                let place = tokio::select! {
                    biased;
                    _ = self.stopped.wait_for(|stop| *stop) => return Err(End::Stopped),
                    refusal = self.rows.withdrawn() => return Err(refused(refusal)),
                    place = self.put.reserve() => place,
                };
                let Ok(place) = place else { return Ok(()) };
                place.send(part);
            }
        }
    }
}

fn encode(schema: SchemaRef, batches: impl Stream<Item = Result<RecordBatch, Status>> + Send + 'static) -> Messages {
    // The schema is sent first of all.
    let encoder = FlightDataEncoderBuilder::new().with_schema(schema).with_max_flight_data_size(usize::MAX);
    let messages = encoder.build(batches.map_err(|status| FlightError::Tonic(Box::new(status))));
    Box::pin(messages.map(|message| message.map_err(unwrap_status)))
}

fn unwrap_status(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        FlightError::Arrow(_)
        | FlightError::NotYetImplemented(_)
        | FlightError::ProtocolError(_)
        | FlightError::DecodeError(_)
        | FlightError::ExternalError(_) => defect(&error),
    }
}
