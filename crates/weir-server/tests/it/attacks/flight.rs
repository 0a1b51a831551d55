//! Arrow Flight SQL, for attacks: statements as they are, `SET` as an option of the session.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow_flight::sql::CommandPreparedStatementQuery;
use arrow_flight::{IpcMessage, Ticket};
use tokio::runtime::Runtime;
use tonic::Status;
use weir_query::{SessionStatement, Statement};

use super::wire::Answer;
use crate::flight_client::{Flight, Got, ticket};

/// A session of somebody.
pub(crate) struct Session {
    runtime: Runtime,
    flight: Flight,
    /// Handles, by the names of the entry.
    prepared: BTreeMap<String, Vec<u8>>,
}

impl Session {
    pub(crate) fn login(address: SocketAddr, user: &str, password: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let flight = runtime.block_on(Flight::login(address, user, password)).unwrap();
        Self { runtime, flight, prepared: BTreeMap::new() }
    }

    /// Everything at once. With values of parameters it is prepared, or else the server would not take them.
    pub(crate) fn ask(&mut self, sql: &str, with: &[String]) -> Answer {
        if !with.is_empty() {
            let prepared = self.prepare("attack", sql);
            return if prepared.error.is_some() { prepared } else { prepared.then(self.run("attack", with)) };
        }
        let mut answer = Answer::default();
        let option = match weir_query::parse(sql).as_deref() {
            Ok([Statement::Session(SessionStatement::Set { name, value, .. })]) => Some((name.clone(), value.clone())),
            Ok([Statement::Session(SessionStatement::Reset { name: Some(name) })]) => {
                Some((name.clone(), String::new()))
            }
            _ => None,
        };
        let Self { runtime, flight, .. } = self;
        let done = runtime.block_on(async {
            if let Some((name, value)) = option {
                let unset = flight.set_options(&[(&name, &value)]).await?;
                answer.messages.push(format!("not set: {unset:?}"));
                return Ok(());
            }
            let (schema, of) = flight.statement(sql).await?;
            answer.messages.push(format!("announced {}", shape(&schema)));
            read(flight, of, &mut answer).await
        });
        finish(answer, done)
    }

    pub(crate) fn prepare(&mut self, name: &str, sql: &str) -> Answer {
        let mut answer = Answer::default();
        let prepared = self.runtime.block_on(self.flight.prepare(sql));
        let done = prepared.map(|prepared| {
            for (what, bytes) in [("parameters", prepared.parameter_schema), ("announced", prepared.dataset_schema)] {
                answer.raw.extend_from_slice(&bytes);
                answer.messages.push(format!("{what} {}", shape(&Schema::try_from(IpcMessage(bytes)).unwrap())));
            }
            self.prepared.insert(name.to_owned(), prepared.prepared_statement_handle.to_vec());
        });
        finish(answer, done)
    }

    pub(crate) fn run(&mut self, name: &str, with: &[String]) -> Answer {
        let mut answer = Answer::default();
        let handle = self.prepared.get(name).cloned().unwrap_or_default();
        let command = CommandPreparedStatementQuery { prepared_statement_handle: handle.clone().into() };
        let Self { runtime, flight, .. } = self;
        let done = runtime.block_on(async {
            if !with.is_empty() {
                let values = with.iter().map(|value| Arc::new(StringArray::from(vec![value.as_str()])) as ArrayRef);
                let named = values.enumerate().map(|(i, value)| (format!("p{i}"), value));
                flight.bind(&handle, RecordBatch::try_from_iter(named).unwrap()).await?;
            }
            let info = flight.info(&command).await?;
            read(flight, ticket(&info), &mut answer).await
        });
        finish(answer, done)
    }
}

async fn read(flight: &mut Flight, of: Ticket, answer: &mut Answer) -> Result<(), Status> {
    let Got { schema, batches, messages } = flight.get(of).await?;
    answer.messages.push(format!("sent {}", shape(&schema)));
    for message in &messages {
        answer.raw.extend_from_slice(&message.data_header);
        answer.raw.extend_from_slice(&message.data_body);
        answer.raw.push(b'\n');
    }
    let options = FormatOptions::default();
    for batch in &batches {
        let columns: Vec<ArrayFormatter<'_>> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let value = |(column, formatter): (&ArrayRef, &ArrayFormatter<'_>)| {
                column.is_valid(row).then(|| formatter.value(row).to_string().into_bytes())
            };
            answer.rows.push(batch.columns().iter().zip(&columns).map(value).collect());
        }
    }
    Ok(())
}

/// With what was said of an error, and everything as text besides.
fn finish(mut answer: Answer, done: Result<(), Status>) -> Answer {
    if let Err(status) = done {
        let text = status.message().split_once(" (request ").map_or(status.message(), |(text, _)| text);
        answer.messages.push(format!("error: {:?} | {text}", status.code()));
        // Codes are another matter than SQLSTATE.
        answer.error = Some((String::new(), text.to_owned()));
        answer.raw.extend_from_slice(status.details());
    }
    for message in &answer.messages {
        answer.raw.push(b'\n');
        answer.raw.extend_from_slice(message.as_bytes());
    }
    for value in answer.rows.iter().flatten().flatten() {
        answer.raw.push(b'\n');
        answer.raw.extend_from_slice(value);
    }
    answer
}

fn shape(schema: &Schema) -> String {
    let column = |field: &Arc<Field>| {
        format!("`{}` {} {} {:?}", field.name(), field.data_type(), field.is_nullable(), field.metadata())
    };
    let columns: Vec<String> = schema.fields().iter().map(column).collect();
    format!("columns: {} {:?}", columns.join("; "), schema.metadata())
}
