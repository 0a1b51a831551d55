//! Statements: parsed, described, prepared, given parameters, and run when a ticket is shown.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow_flight::sql::{
    ActionCreatePreparedStatementResult, Command, CommandStatementIngest, CommandStatementUpdate,
    DoPutPreparedStatementResult, ProstMessageExt as _, TicketStatementQuery,
};
use arrow_flight::{FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, IpcMessage, SchemaAsIpc, Ticket};
use bytes::Bytes;
use futures::Stream;
use parking_lot::Mutex;
use prost::Message as _;
use tonic::Status;
use weir_guard::{Caller, Refusal};
use weir_query::{Described, Query, Statement};

use crate::parameters;
use crate::service::Door;
use crate::sessions::{Prepared, Read, Session};
use crate::status::{defect, told, unsupported};
use crate::stream::{Messages, plain, plain_schema, send_rows};
use crate::ticket::{Binding, Checked};

/// How much of a refused statement is put on record, in bytes.
const RECORDED_BYTES_MAX: usize = 64 * 1024;
/// What is on record of a ticket that was not taken.
const TICKET: &str = "DoGet of a ticket";

impl Door {
    /// What a statement gives, with a ticket for it.
    pub(crate) async fn statement_info(
        &self,
        session: &Session,
        text: &str,
        descriptor: FlightDescriptor,
    ) -> Result<FlightInfo, Status> {
        let caller = session.caller();
        let query = self.one_query(&caller, text).await?;
        let described = self.describe(&caller, &query).await?;
        if !described.parameters.is_empty() {
            let refusal = Refusal::invalid("a statement with parameters has to be prepared");
            return Err(self.refused(&caller, text, refusal).await);
        }
        self.info(session, query, Vec::new(), &described, descriptor)
    }

    /// The schema of what a statement gives.
    pub(crate) async fn statement_schema(&self, session: &Session, text: &str) -> Result<SchemaRef, Status> {
        let caller = session.caller();
        let query = self.one_query(&caller, text).await?;
        Ok(plain_schema(&self.describe(&caller, &query).await?.schema))
    }

    pub(crate) async fn prepare(
        &self,
        session: &Session,
        text: &str,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let caller = session.caller();
        let query = self.one_query(&caller, text).await?;
        let described = self.describe(&caller, &query).await?;
        let schema = plain_schema(&described.schema);
        let parameters = described.parameters.iter().enumerate();
        let parameters = parameters.map(|(i, data_type)| Field::new(format!("${}", i + 1), plain(data_type), true));
        let result = ActionCreatePreparedStatementResult {
            prepared_statement_handle: Bytes::new(),
            dataset_schema: ipc(&schema)?,
            parameter_schema: ipc(&Schema::new(parameters.collect::<Vec<_>>()))?,
        };
        let prepared = Prepared { query, parameters: described.parameters, schema, bound: Mutex::default() };
        let handle = session.prepare(prepared)?;
        Ok(ActionCreatePreparedStatementResult { prepared_statement_handle: handle.to_vec().into(), ..result })
    }

    /// What a prepared statement gives with the parameters that it has, with a ticket for it. It is described anew: what
    /// the caller may read can have changed.
    pub(crate) async fn prepared_info(
        &self,
        session: &Session,
        handle: &[u8],
        descriptor: FlightDescriptor,
    ) -> Result<FlightInfo, Status> {
        let prepared = session.prepared(handle)?;
        let bound = prepared.bound.lock().clone();
        if bound.len() != prepared.parameters.len() {
            return Err(parameters::wrong_number(prepared.parameters.len(), bound.len()));
        }
        let described = self.describe(&session.caller(), &prepared.query).await?;
        if plain_schema(&described.schema) != prepared.schema {
            return Err(Status::failed_precondition(
                "the statement's result has other columns than when it was prepared",
            ));
        }
        self.info(session, prepared.query.clone(), bound, &described, descriptor)
    }

    /// Takes the values of a prepared statement's parameters.
    pub(crate) async fn bind(
        &self,
        session: &Session,
        handle: Bytes,
        data: impl Stream<Item = Result<FlightData, Status>> + Send + Unpin + 'static,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let prepared = session.prepared(&handle)?;
        let row = parameters::read(data, &prepared.parameters, self.parameter_bytes_max).await?;
        *prepared.bound.lock() = row;
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) })
    }

    /// The rows of a ticket's read. It is decided and on record when this returns.
    pub(crate) async fn redeem(&self, session: &Session, ticket: &TicketStatementQuery) -> Result<Messages, Status> {
        let caller = session.caller();
        let read = match self.take(session, &ticket.statement_handle) {
            Ok(read) => read,
            Err(status) => {
                self.engine.refuse(&caller, TICKET, Refusal::invalid(status.message())).await;
                return Err(status);
            }
        };
        let Read { query, params, schema, basis, .. } = read;
        let rows = self.engine.run_as_described(&caller, &query, params, basis).await.map_err(|e| told(&e))?;
        Ok(send_rows(rows, schema, self.stopped.clone(), self.running.clone()))
    }

    /// The read of a ticket, which is used up by this when it is taken.
    fn take(&self, session: &Session, ticket: &[u8]) -> Result<Read, Status> {
        let Checked { id, session: of, binding } = self.tickets.check(ticket)?;
        if of != session.id {
            return Err(Status::permission_denied("the ticket is of another session"));
        }
        let read = session.redeem(&id).ok_or_else(|| Status::failed_precondition("the ticket was used before"))?;
        if self.binding(session, &read)? != binding {
            return Err(defect(&"a ticket is bound to another read than the one it is kept for"));
        }
        Ok(read)
    }

    /// To whom a ticket is bound, and to what.
    fn binding(&self, session: &Session, read: &Read) -> Result<Binding, Status> {
        let Read { query, params, basis, .. } = read;
        let params: Vec<u8> = params.iter().flat_map(|param| format!("{:?};", param.to_data()).into_bytes()).collect();
        let principal = session.principal.to_string();
        self.tickets.bind(&[&session.id, principal.as_bytes(), query.text.as_bytes(), &params, &basis.digest()])
    }

    fn info(
        &self,
        session: &Session,
        query: Query,
        params: Vec<ArrayRef>,
        described: &Described,
        descriptor: FlightDescriptor,
    ) -> Result<FlightInfo, Status> {
        let (id, expires, basis) = (rand::random(), self.tickets.expiry(), Arc::clone(&described.basis));
        let read = Read { query, params, schema: plain_schema(&described.schema), basis, expires };
        let checked = Checked { id, session: session.id, binding: self.binding(session, &read)? };
        let ticket = TicketStatementQuery { statement_handle: self.tickets.issue(&checked, expires)?.into() };
        let info = info(&read.schema, ticket.as_any().encode_to_vec(), descriptor)?;
        session.expect(id, read)?;
        Ok(info)
    }

    async fn describe(&self, caller: &Caller, query: &Query) -> Result<Described, Status> {
        self.engine.describe(caller, query).await.map_err(|refusal| told(&refusal))
    }

    /// The one read that a text has to be.
    async fn one_query(&self, caller: &Caller, text: &str) -> Result<Query, Status> {
        let refusal = match weir_query::parse_question_marks(text) {
            Ok(mut statements) => match (statements.pop(), statements.is_empty()) {
                // Nobody would set it, and who works under less than she asked for must not see more.
                (Some(Statement::Query(query)), true) if !query.sets().is_empty() => {
                    Refusal::unsupported("set_config is not supported by Flight SQL: a session has options")
                }
                (Some(Statement::Query(query)), true) => return Ok(query),
                (Some(Statement::Session(_)), true) => Refusal::unsupported(format!(
                    "{} is not supported by Flight SQL: a session has options, and neither transactions nor cursors",
                    first_word(text)
                )),
                (Some(Statement::Write(write)), true) => elsewhere(write.name()),
                (Some(Statement::Copy(_) | Statement::CopyIn(_)), true) => elsewhere("COPY"),
                (None, _) => Refusal::invalid("there is no statement"),
                (Some(_), false) => Refusal::invalid("one statement at a time"),
            },
            Err(refusal) => refusal,
        };
        Err(self.refused(caller, text, refusal).await)
    }

    /// An update of any kind.
    pub(crate) async fn refuse_update(&self, session: &Session, command: Command) -> Status {
        #[expect(clippy::wildcard_enum_match_arm, reason = "whatever is not named here has no text")]
        let (text, refusal) = match command {
            Command::CommandStatementUpdate(CommandStatementUpdate { query, .. }) => {
                let refusal = match weir_query::parse_question_marks(&query) {
                    Ok(statements) => match statements.as_slice() {
                        [Statement::Write(write)] => elsewhere(write.name()),
                        _ => Refusal::unsupported(format!("{} is not an update", first_word(&query))),
                    },
                    Err(refusal) => refusal,
                };
                (query, refusal)
            }
            Command::CommandPreparedStatementUpdate(update) => {
                match session.prepared(&update.prepared_statement_handle) {
                    Ok(prepared) => {
                        let text = prepared.query.text.clone();
                        let refusal = Refusal::unsupported(format!("{} is not an update", first_word(&text)));
                        (text, refusal)
                    }
                    Err(status) => return status,
                }
            }
            Command::CommandStatementIngest(CommandStatementIngest { table, .. }) => {
                (format!("ingest into {table}"), Refusal::unsupported("ingest is not supported: only reads are"))
            }
            other => return unsupported(other.type_url()),
        };
        self.refused(&session.caller(), &text, refusal).await
    }

    /// Puts a refusal of a statement on record, and gives what to tell.
    async fn refused(&self, caller: &Caller, text: &str, refusal: Refusal) -> Status {
        let text = text.get(..text.floor_char_boundary(RECORDED_BYTES_MAX)).unwrap_or_default();
        told(&self.engine.refuse(caller, text, refusal).await)
    }
}

/// What is told of an answer with one ticket.
pub(crate) fn info(schema: &Schema, ticket: Vec<u8>, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
    let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket));
    let info = FlightInfo::new().try_with_schema(schema).map_err(|e| defect(&e))?;
    Ok(info.with_endpoint(endpoint).with_descriptor(descriptor).with_ordered(true))
}

fn ipc(schema: &Schema) -> Result<Bytes, Status> {
    let IpcMessage(bytes) = SchemaAsIpc::new(schema, &Default::default()).try_into().map_err(|e| defect(&e))?;
    Ok(bytes)
}

fn elsewhere(statement: &str) -> Refusal {
    Refusal::unsupported(format!("{statement} is not supported by Flight SQL, but by the PostgreSQL door"))
}

/// By which a statement is called.
fn first_word(text: &str) -> String {
    let word = text.split(|c: char| !c.is_ascii_alphabetic()).find(|word| !word.is_empty());
    word.map_or_else(|| "this statement".to_owned(), str::to_uppercase)
}
