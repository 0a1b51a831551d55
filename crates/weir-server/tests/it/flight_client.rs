//! A client of Arrow Flight SQL that hides nothing of what the server says.

use std::net::SocketAddr;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, CommandPreparedStatementQuery,
    CommandStatementQuery, ProstMessageExt,
};
use arrow_flight::{Action, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, Ticket};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use prost::Message as _;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

/// A connection with a session, as long as it has a token.
#[derive(Clone)]
pub(crate) struct Flight {
    pub(crate) service: FlightServiceClient<Channel>,
    /// Sent with every call.
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// All that came for a ticket.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
    /// As it came.
    pub(crate) messages: Vec<FlightData>,
}

impl Flight {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self { service: FlightServiceClient::new(channel), headers: Vec::new() }
    }

    pub(crate) async fn login(address: SocketAddr, user: &str, password: &str) -> Result<Self, Status> {
        let mut flight = Self::connect(address).await;
        flight.handshake(user, password).await?;
        Ok(flight)
    }

    /// Gets a token and uses it from now on.
    pub(crate) async fn handshake(&mut self, user: &str, password: &str) -> Result<(), Status> {
        self.headers.push(("authorization", format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))));
        let request = self.request(stream::iter([HandshakeRequest::default()]));
        self.headers.pop();
        let response = self.service.handshake(request).await?;
        let token = response.metadata().get("authorization").unwrap().to_str().unwrap().to_owned();
        self.headers.push(("authorization", token));
        Ok(())
    }

    pub(crate) fn request<T>(&self, body: T) -> Request<T> {
        let mut request = Request::new(body);
        for (name, value) in &self.headers {
            request.metadata_mut().insert(*name, MetadataValue::try_from(value).unwrap());
        }
        request
    }

    pub(crate) async fn info(&mut self, command: &impl ProstMessageExt) -> Result<FlightInfo, Status> {
        let request = self.request(FlightDescriptor::new_cmd(command.as_any().encode_to_vec()));
        Ok(self.service.get_flight_info(request).await?.into_inner())
    }

    /// Of a statement, with the schema that the server announces.
    pub(crate) async fn statement(&mut self, sql: &str) -> Result<(Schema, Ticket), Status> {
        let info = self.info(&CommandStatementQuery { query: sql.to_owned(), transaction_id: None }).await?;
        Ok((info.clone().try_decode_schema().unwrap(), ticket(&info)))
    }

    pub(crate) async fn start(&mut self, ticket: Ticket) -> Result<Streaming<FlightData>, Status> {
        let request = self.request(ticket);
        Ok(self.service.do_get(request).await?.into_inner())
    }

    pub(crate) async fn get(&mut self, ticket: Ticket) -> Result<Got, Status> {
        let messages: Vec<FlightData> = self.start(ticket).await?.try_collect().await?;
        let data = stream::iter(messages.clone().into_iter().map(Ok::<_, FlightError>));
        let mut decoded = FlightRecordBatchStream::new_from_flight_data(data);
        let batches: Vec<RecordBatch> = decoded.by_ref().try_collect().await.unwrap();
        Ok(Got { schema: decoded.schema().unwrap().clone(), batches, messages })
    }

    /// Everything that a statement or a question about metadata gives.
    pub(crate) async fn ask(&mut self, command: &impl ProstMessageExt) -> Result<RecordBatch, Status> {
        let info = self.info(command).await?;
        let got = self.get(ticket(&info)).await?;
        assert_eq!(info.try_decode_schema().unwrap(), *got.schema);
        Ok(arrow::compute::concat_batches(&got.schema, &got.batches).unwrap())
    }

    pub(crate) async fn query(&mut self, sql: &str) -> Result<RecordBatch, Status> {
        self.ask(&CommandStatementQuery { query: sql.to_owned(), transaction_id: None }).await
    }

    pub(crate) async fn prepare(&mut self, sql: &str) -> Result<ActionCreatePreparedStatementResult, Status> {
        let request = ActionCreatePreparedStatementRequest { query: sql.to_owned(), transaction_id: None };
        let body = self.action("CreatePreparedStatement", request.as_any().encode_to_vec()).await?;
        Ok(Any::decode(&*body).unwrap().unpack().unwrap().unwrap())
    }

    /// Sends values of parameters.
    pub(crate) async fn bind(&mut self, handle: &[u8], values: RecordBatch) -> Result<(), Status> {
        let command = CommandPreparedStatementQuery { prepared_statement_handle: handle.to_vec().into() };
        self.put(&command, values).await
    }

    pub(crate) async fn put(&mut self, command: &impl ProstMessageExt, values: RecordBatch) -> Result<(), Status> {
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let data = FlightDataEncoderBuilder::new().with_flight_descriptor(Some(descriptor));
        let data: Vec<FlightData> = data.build(stream::iter([Ok(values)])).try_collect().await.unwrap();
        let request = self.request(stream::iter(data));
        let _: Vec<_> = self.service.do_put(request).await?.into_inner().try_collect().await?;
        Ok(())
    }

    /// The one result of an action, empty for none.
    pub(crate) async fn action(&mut self, name: &str, body: Vec<u8>) -> Result<Vec<u8>, Status> {
        let request = self.request(Action { r#type: name.to_owned(), body: body.into() });
        let mut results = self.service.do_action(request).await?.into_inner();
        Ok(results.message().await?.map(|result| result.body.to_vec()).unwrap_or_default())
    }

    /// What came of each option that was not set, by the numbers of `Flight.proto`.
    pub(crate) async fn set_options(&mut self, options: &[(&str, &str)]) -> Result<Vec<(String, i32)>, Status> {
        let option = |(name, value): &(&str, &str)| ((*name).to_owned(), Value { text: (*value).to_owned() });
        let request = Options { options: options.iter().map(option).collect() };
        let result = self.action("SetSessionOptions", request.encode_to_vec()).await?;
        let errors = OptionErrors::decode(&*result).unwrap().errors.into_iter();
        let mut errors: Vec<(String, i32)> = errors.map(|(name, error)| (name, error.value)).collect();
        errors.sort();
        Ok(errors)
    }
}

pub(crate) fn ticket(info: &FlightInfo) -> Ticket {
    info.endpoint[0].ticket.clone().unwrap()
}

/// Rows as text, columns parted by ` | `.
pub(crate) fn rows(batch: &RecordBatch) -> Vec<String> {
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
    let row = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" | ");
    (0..batch.num_rows()).map(row).collect()
}

#[derive(Clone, PartialEq, prost::Message)]
struct Options {
    #[prost(map = "string, message", tag = "1")]
    options: std::collections::HashMap<String, Value>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Value {
    #[prost(string, tag = "1")]
    text: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OptionErrors {
    #[prost(map = "string, message", tag = "1")]
    errors: std::collections::HashMap<String, OptionError>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OptionError {
    #[prost(int32, tag = "1")]
    value: i32,
}
