use std::sync::Arc;

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use weir_guard::{Admitted, Ended, Refusal};
use weir_model::RequestId;

use super::fail;
use crate::fault::refusal;

/// The answer to one read, a batch at a time; nothing is computed ahead of the reader. Dropping it ends the read
/// and records it as abandoned.
pub struct Rows {
    schema: SchemaRef,
    request: RequestId,
    /// Gone when the read has ended.
    running: Option<(SendableRecordBatchStream, Admitted)>,
}

impl Rows {
    pub(super) fn new(stream: SendableRecordBatchStream, admitted: Admitted) -> Self {
        Self { schema: stream.schema(), request: admitted.request(), running: Some((stream, admitted)) }
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn request(&self) -> RequestId {
        self.request
    }

    /// The next batch, never empty; `None` when the read is complete and its outcome is on record.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, Refusal> {
        loop {
            let Some((stream, admitted)) = &mut self.running else { return Ok(None) };
            match stream.next().await {
                Some(Ok(batch)) if batch.num_rows() == 0 => {}
                Some(Ok(batch)) => {
                    admitted.count(u64::try_from(batch.num_rows()).unwrap_or(u64::MAX), bytes(&batch));
                    return Ok(Some(batch));
                }
                Some(Err(e)) => {
                    let Some((_, admitted)) = self.running.take() else { return Ok(None) };
                    return Err(fail(admitted, refusal(&e)).await);
                }
                None => {
                    let Some((_, admitted)) = self.running.take() else { return Ok(None) };
                    admitted.end(Ended::Complete, None).await?;
                    return Ok(None);
                }
            }
        }
    }

    /// Ends the read because its client cancelled it; returns when that is on record.
    pub async fn cancel(mut self) {
        if let Some((stream, admitted)) = self.running.take() {
            drop(stream);
            let request = admitted.request();
            if admitted.end(Ended::Cancelled, None).await.is_err() {
                tracing::error!(request.id = %request, "the outcome of a cancelled read is not on record");
            }
        }
    }
}

/// Size of the rows that are shown, not of the buffers that they share.
fn bytes(batch: &RecordBatch) -> u64 {
    let column = |column: &Arc<dyn Array>| column.to_data().get_slice_memory_size().unwrap_or(0);
    u64::try_from(batch.columns().iter().map(column).sum::<usize>()).unwrap_or(u64::MAX)
}
