//! Values of parameters, as clients send them: not to be trusted, down to the lengths in them.

use arrow::array::{Array as _, ArrayRef, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tonic::Status;

use crate::status::{malformed, unsupported};

/// The one row that was sent, an array of length one for each parameter, of the type that is needed; empty when no row
/// was sent.
pub(crate) async fn read(
    messages: impl Stream<Item = Result<FlightData, Status>> + Send + 'static,
    needed: &[DataType],
    bytes_max: usize,
) -> Result<Vec<ArrayRef>, Status> {
    let mut left = bytes_max;
    let checked = messages.map(move |message| {
        let message = message?;
        let fits = left.checked_sub(message.data_body.len() + message.data_header.len());
        left = fits.ok_or_else(|| Status::resource_exhausted("the parameters take too many bytes"))?;
        check_header(&message.data_header)?;
        Ok(message)
    });
    let checked = checked.map_err(|status: Status| FlightError::Tonic(Box::new(status)));
    // What reads the batches panics at places that lie outside of the message.
    let reading = tokio::spawn(async move {
        let batches = FlightRecordBatchStream::new_from_flight_data(checked);
        let filled = batches.try_filter(|batch| std::future::ready(batch.num_rows() > 0));
        filled.take(2).try_collect::<Vec<RecordBatch>>().await
    });
    let batches = reading.await.map_err(|_| malformed("parameters"))?.map_err(unreadable)?;
    match batches.as_slice() {
        [] => Ok(Vec::new()),
        [batch] if batch.num_rows() == 1 => values(batch, needed),
        _ => Err(unsupported("more than one row of parameters")),
    }
}

/// Compressed buffers say themselves how much memory to take for them.
fn check_header(header: &[u8]) -> Result<(), Status> {
    if header.is_empty() {
        return Ok(());
    }
    let message = arrow_ipc::root_as_message(header).map_err(|_| malformed("parameters"))?;
    let dictionary = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
    let batch = message.header_as_record_batch().or(dictionary);
    match batch.and_then(|batch| batch.compression()) {
        Some(_) => Err(unsupported("compression of parameters")),
        None => Ok(()),
    }
}

fn values(batch: &RecordBatch, needed: &[DataType]) -> Result<Vec<ArrayRef>, Status> {
    if batch.num_columns() != needed.len() {
        return Err(wrong_number(needed.len(), batch.num_columns()));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let value = |(i, (column, needed)): (usize, (&ArrayRef, &DataType))| {
        let given = column.data_type();
        // A list of a few bytes can be a long text.
        let castable = given == needed || !given.is_nested();
        let cast = castable.then(|| cast_with_options(column, needed, &options).ok()).flatten();
        cast.ok_or_else(|| Status::invalid_argument(format!("parameter ${} of {given} cannot be made {needed}", i + 1)))
    };
    batch.columns().iter().zip(needed).enumerate().map(value).collect()
}

pub(crate) fn wrong_number(needed: usize, given: usize) -> Status {
    Status::invalid_argument(format!("the statement has {needed} parameters, but {given} values were given"))
}

fn unreadable(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        FlightError::Arrow(_)
        | FlightError::NotYetImplemented(_)
        | FlightError::ProtocolError(_)
        | FlightError::DecodeError(_)
        | FlightError::ExternalError(_) => {
            tracing::debug!(%error, "parameters cannot be read");
            malformed("parameters")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, ListArray, StringArray};
    use arrow::datatypes::Int32Type;
    use arrow_flight::encode::FlightDataEncoderBuilder;
    use arrow_ipc::CompressionType;
    use arrow_ipc::writer::IpcWriteOptions;
    use futures::stream;
    use tonic::Code;

    use super::*;

    async fn encoded(column: ArrayRef, options: IpcWriteOptions) -> Vec<FlightData> {
        let batch = RecordBatch::try_from_iter([("a", column)]).unwrap();
        let encoder = FlightDataEncoderBuilder::new().with_options(options);
        encoder.build(stream::iter([Ok(batch)])).try_collect().await.unwrap()
    }

    async fn told(messages: Vec<FlightData>, needed: DataType) -> Result<Vec<ArrayRef>, Code> {
        let messages = stream::iter(messages.into_iter().map(Ok));
        read(messages, &[needed], 100_000).await.map_err(|status| status.code())
    }

    fn text(text: &str) -> ArrayRef {
        Arc::new(StringArray::from(vec![text]))
    }

    #[tokio::test]
    async fn values_become_what_is_needed_or_are_refused() {
        let plain = IpcWriteOptions::default;
        let seven: ArrayRef = Arc::new(Int32Array::from(vec![7]));
        assert_eq!(told(encoded(text("7"), plain()).await, DataType::Int32).await.unwrap(), [seven]);
        assert_eq!(told(encoded(text("x"), plain()).await, DataType::Int32).await, Err(Code::InvalidArgument));
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)])]);
        assert_eq!(told(encoded(Arc::new(list), plain()).await, DataType::Utf8).await, Err(Code::InvalidArgument));
        let long = encoded(text(&"x".repeat(200_000)), plain()).await;
        assert_eq!(told(long, DataType::Utf8).await, Err(Code::ResourceExhausted));
        let two: ArrayRef = Arc::new(Int32Array::from(vec![7, 8]));
        assert_eq!(told(encoded(two, plain()).await, DataType::Int32).await, Err(Code::Unimplemented));
    }

    #[tokio::test]
    async fn compressed_buffers_are_refused() {
        let compressed = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD)).unwrap();
        let messages = encoded(text(&"x".repeat(5_000)), compressed).await;
        assert_eq!(told(messages, DataType::Utf8).await, Err(Code::Unimplemented));
    }

    /// Every byte of the headers altered, and bodies cut: an error, and not the end of anything else.
    #[tokio::test]
    async fn garbage_is_an_error() {
        let messages = encoded(text("a text"), IpcWriteOptions::default()).await;
        for (number, message) in messages.iter().enumerate() {
            for at in 0..message.data_header.len() {
                let mut header = message.data_header.to_vec();
                header[at] = !header[at];
                let mut altered = messages.clone();
                altered[number].data_header = header.into();
                // Some bytes say nothing.
                let _ = told(altered, DataType::Utf8).await;
            }
            for cut in 0..message.data_body.len() {
                let mut altered = messages.clone();
                altered[number].data_body.truncate(cut);
                let _ = told(altered, DataType::Utf8).await;
            }
        }
        let mut cut = messages.clone();
        cut[1].data_body.truncate(1);
        assert_eq!(told(cut, DataType::Utf8).await, Err(Code::InvalidArgument));
    }
}
