//! The calls of Flight: every one of them passes by the token check, and goes on by what it asks for.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, Any, Command, ProstMessageExt,
};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaAsIpc, SchemaResult, Ticket,
};
use futures::{Stream, StreamExt as _, stream};
use prost::Message;
use tokio::sync::{mpsc, watch};
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Response, Status, Streaming};
use weir_gateway::{Access, AccessError, IMPERSONATE_USER, PROJECT, client_name};
use weir_guard::Door as DoorKind;
use weir_query::{CATALOG, Engine};

use crate::actions::{
    CLOSE_SESSION, CloseSessionResult, CloseStatus, ErrorValue, GET_SESSION_OPTIONS, GetSessionOptionsResult,
    OptionError, OptionValue, SET_SESSION_OPTIONS, SessionOptionValue, SetSessionOptionsRequest,
    SetSessionOptionsResult,
};
use crate::auth::{Authenticator, Login, strip_scheme};
use crate::incoming::Peer;
use crate::metadata::Question;
use crate::sessions::{Session, Sessions};
use crate::statements::info;
use crate::status::{defect, malformed, told, unauthenticated, unsupported};
use crate::stream::{Messages, send_batch};
use crate::ticket::Tickets;

/// Wrong passwords on one connection; then it hears no other.
const FAILED_LOGINS_MAX: u32 = 5;
/// Name of the program, for the audit log.
const APPLICATION_NAME: &str = "application_name";
/// Flight SQL's own option for the catalogue; there is one.
const CATALOG_OPTION: &str = "catalog";
const CREATE_PREPARED_STATEMENT: &str = "CreatePreparedStatement";
const CLOSE_PREPARED_STATEMENT: &str = "ClosePreparedStatement";

/// What all calls share.
pub(crate) struct Door {
    pub(crate) engine: Engine,
    pub(crate) authenticator: Authenticator,
    pub(crate) sessions: Sessions,
    pub(crate) tickets: Tickets,
    /// Clients have to show a certificate of whom they log in as.
    pub(crate) mutual_tls: bool,
    pub(crate) parameter_bytes_max: usize,
    pub(crate) stopped: watch::Receiver<bool>,
    /// Held by whatever runs.
    pub(crate) running: mpsc::Sender<Infallible>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn answers<T: Send + 'static>(all: Vec<T>) -> Response<Answers<T>> {
    Response::new(Box::pin(stream::iter(all.into_iter().map(Ok))))
}

impl Door {
    /// Whose call it is. Options that come as headers are set before anything else is done.
    async fn session(&self, metadata: &MetadataMap, extensions: &Extensions) -> Result<Arc<Session>, Status> {
        let header = metadata.get("authorization").and_then(|value| value.to_str().ok());
        let token = header.and_then(|header| strip_scheme(header, "bearer"));
        let token = token.ok_or_else(|| Status::unauthenticated("a bearer token is needed: log in by Handshake"))?;
        let over = || Status::unauthenticated("the token does not hold any more: log in again");
        let session = self.sessions.find(token.trim()).ok_or_else(over)?;
        if !self.authenticator.holds(&session.principal, session.credential).await? {
            self.sessions.close(&session);
            return Err(over());
        }
        let peer = extensions.get::<Arc<Peer>>().ok_or_else(|| defect(&"a call comes from nowhere"))?;
        if !self.is_certified(peer, &session.principal.to_string()) {
            return Err(over());
        }
        peer.known.store(true, Ordering::Relaxed);
        self.take_headers(&session, metadata).await?;
        Ok(session)
    }

    /// Whether the client showed a certificate of this user, where one is asked for.
    fn is_certified(&self, peer: &Peer, user: &str) -> bool {
        !self.mutual_tls || peer.common_name.as_deref() == Some(user)
    }

    async fn take_headers(&self, session: &Session, metadata: &MetadataMap) -> Result<(), Status> {
        let header = |name: &str| metadata.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        if let Some(name) = header(APPLICATION_NAME) {
            session.set_client(client_name(&name));
        } else if session.client().is_none() {
            session.set_client(client_name(&header("user-agent").unwrap_or_default()));
        }
        let invalid = |name: &str| Status::invalid_argument(format!("invalid value for header `{name}`"));
        let mut given = Vec::new();
        for name in [PROJECT, IMPERSONATE_USER] {
            let mut values = metadata.get_all(name).iter();
            let Some(value) = values.next() else { continue };
            // Whoever asks for less must not get more because nobody understood it.
            let value = value.to_str().ok().filter(|_| values.next().is_none()).ok_or_else(|| invalid(name))?;
            given.push((name.to_owned(), value.to_owned()));
        }
        match self.set_access(session, given).await?.first() {
            None => Ok(()),
            Some((name, _)) => Err(invalid(name)),
        }
    }

    /// Changes in which project or as whom the session acts, when the guard lets it: all of it, or nothing. Then it says
    /// why, for every option.
    async fn set_access(
        &self,
        session: &Session,
        given: Vec<(String, String)>,
    ) -> Result<Vec<(String, ErrorValue)>, Status> {
        let before = session.access();
        let (mut after, mut problems, mut said) = (before.clone(), Vec::new(), Vec::new());
        for (name, value) in given {
            match after.set(&name, &value) {
                Ok(()) => {
                    said.push(format!("{name} = '{value}'"));
                    problems.push((name, ErrorValue::Error));
                }
                // First, so that it is what is told where one is.
                Err(AccessError::Unknown | AccessError::Invalid) => {
                    problems.insert(0, (name, ErrorValue::InvalidValue));
                }
                Err(AccessError::Locked(locked)) => {
                    return Err(Status::failed_precondition(format!(
                        "option `{name}` cannot be changed: the session acts as `{locked}` to its end"
                    )));
                }
            }
        }
        if problems.first().is_some_and(|(_, problem)| *problem == ErrorValue::InvalidValue) {
            return Ok(problems);
        }
        if after != before {
            let caller = after.caller(session.principal.clone(), DoorKind::FlightSql, session.client());
            let asked = format!("{SET_SESSION_OPTIONS} {}", said.join(", "));
            self.engine.enter(&caller, &asked).await.map_err(|refusal| told(&refusal))?;
            session.set_access(&before, after)?;
        }
        Ok(Vec::new())
    }

    async fn set_options(
        &self,
        session: &Session,
        request: SetSessionOptionsRequest,
    ) -> Result<SetSessionOptionsResult, Status> {
        let mut errors = std::collections::HashMap::new();
        let mut fail = |name: String, value: ErrorValue| errors.insert(name, OptionError { value: value.into() });
        let mut access = Vec::new();
        for (name, SessionOptionValue { option_value }) in request.session_options {
            let value = match option_value {
                None => Some(String::new()),
                Some(OptionValue::String(text)) => Some(text),
                Some(
                    OptionValue::Bool(_) | OptionValue::Int64(_) | OptionValue::Double(_) | OptionValue::StringList(_),
                ) => None,
            };
            match (name.as_str(), value) {
                (access_name, Some(value)) if Access::has(access_name) => access.push((name, value)),
                (APPLICATION_NAME, Some(value)) => session.set_client(client_name(&value)),
                (CATALOG_OPTION, Some(value)) if value == CATALOG => {}
                (known, _) if Access::has(known) || [APPLICATION_NAME, CATALOG_OPTION].contains(&known) => {
                    fail(name, ErrorValue::InvalidValue);
                }
                (_, _) => {
                    fail(name, ErrorValue::InvalidName);
                }
            }
        }
        for (name, problem) in self.set_access(session, access).await? {
            fail(name, problem);
        }
        Ok(SetSessionOptionsResult { errors })
    }

    fn options(session: &Session) -> GetSessionOptionsResult {
        let access = session.access();
        let of_access = [PROJECT, IMPERSONATE_USER].map(|name| (name, access.get(name).unwrap_or_default()));
        let others = [(APPLICATION_NAME, session.client().unwrap_or_default()), (CATALOG_OPTION, CATALOG.to_owned())];
        let all = of_access.into_iter().chain(others);
        GetSessionOptionsResult {
            session_options: all.map(|(name, value)| (name.to_owned(), SessionOptionValue::text(value))).collect(),
        }
    }

    /// Answers a question about what there is.
    async fn answer(&self, session: &Session, question: Question) -> Result<Messages, Status> {
        let visible = match &question {
            Question::Fixed(_) => Vec::new(),
            Question::Tables(command) => {
                let asked = command.type_url().rsplit('.').next().unwrap_or_default();
                self.engine.list(&session.caller(), asked).await.map_err(|refusal| told(&refusal))?
            }
        };
        Ok(send_batch(&question.answer(&visible).map_err(|e| defect(&e))?))
    }
}

/// What a descriptor or a ticket asks for.
fn command(bytes: &[u8], what: &str) -> Result<Command, Status> {
    let any = Any::decode(bytes).map_err(|_| malformed(what))?;
    Command::try_from(any).map_err(|_| malformed(what))
}

/// The name of a command that is not done.
fn name(command: &Command) -> String {
    command.type_url().rsplit(['.', '/']).next().unwrap_or_default().chars().take(100).collect()
}

/// The body of an action, which Flight SQL packs once more.
fn body<T: ProstMessageExt + Message + Default>(action: &Action) -> Result<T, Status> {
    let unpacked = Any::decode(&*action.body).ok().and_then(|any| any.unpack::<T>().ok().flatten());
    unpacked.ok_or_else(|| malformed("action"))
}

#[tonic::async_trait]
impl FlightService for Door {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Messages;
    type DoPutStream = Answers<PutResult>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;
    type DoExchangeStream = Messages;

    /// A user and a password give a bearer token.
    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let peer = request.extensions().get::<Arc<Peer>>().cloned();
        let peer = peer.ok_or_else(|| defect(&"a call comes from nowhere"))?;
        if peer.failed_logins.load(Ordering::Relaxed) >= FAILED_LOGINS_MAX {
            return Err(Status::unauthenticated("too many wrong passwords on this connection"));
        }
        let login = Login::read(request.metadata())?;
        let checked = self.authenticator.check(login).await.and_then(|(principal, credential)| {
            if self.is_certified(&peer, &principal.to_string()) {
                return Ok((principal, credential));
            }
            tracing::info!(%principal, "authentication failed: the client's certificate is of somebody else");
            Err(unauthenticated())
        });
        let (principal, credential) = checked.inspect_err(|_| {
            peer.failed_logins.fetch_add(1, Ordering::Relaxed);
        })?;
        tracing::debug!(%principal, "logged in");
        let token = self.sessions.open(principal, credential)?;
        peer.known.store(true, Ordering::Relaxed);
        if let Some(session) = self.sessions.find(&token)
            && let Err(status) = self.take_headers(&session, request.metadata()).await
        {
            self.sessions.close(&session);
            return Err(status);
        }
        let header = format!("Bearer {token}").parse().map_err(|_| defect(&"a token is no header"))?;
        let mut response = answers(vec![HandshakeResponse { protocol_version: 0, payload: token.into() }]);
        response.metadata_mut().insert("authorization", header);
        Ok(response)
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let session = self.session(request.metadata(), request.extensions()).await?;
        let descriptor = request.into_inner();
        let command = command(&descriptor.cmd, "descriptor")?;
        #[expect(clippy::wildcard_enum_match_arm, reason = "whatever is not named here is refused by name")]
        let info = match command {
            Command::CommandStatementQuery(statement) => {
                self.statement_info(&session, &statement.query, descriptor).await?
            }
            Command::CommandPreparedStatementQuery(prepared) => {
                self.prepared_info(&session, &prepared.prepared_statement_handle, descriptor).await?
            }
            other => {
                let refused = name(&other);
                let question = Question::of(other).map_err(|e| defect(&e))?.ok_or_else(|| unsupported(&refused))?;
                let schema = question.schema().map_err(|e| defect(&e))?;
                // Such a ticket is the question: it is answered for whoever shows it, from what she sees then.
                info(&schema, descriptor.cmd.to_vec(), descriptor)?
            }
        };
        Ok(Response::new(info))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let session = self.session(request.metadata(), request.extensions()).await?;
        #[expect(clippy::wildcard_enum_match_arm, reason = "whatever is not named here is refused by name")]
        let schema = match command(&request.into_inner().cmd, "descriptor")? {
            Command::CommandStatementQuery(statement) => self.statement_schema(&session, &statement.query).await?,
            Command::CommandPreparedStatementQuery(prepared) => {
                Arc::clone(&session.prepared(&prepared.prepared_statement_handle)?.schema)
            }
            other => {
                let refused = name(&other);
                let question = Question::of(other).map_err(|e| defect(&e))?.ok_or_else(|| unsupported(&refused))?;
                question.schema().map_err(|e| defect(&e))?
            }
        };
        let schema = SchemaAsIpc::new(&schema, &Default::default()).try_into().map_err(|e| defect(&e))?;
        Ok(Response::new(schema))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let session = self.session(request.metadata(), request.extensions()).await?;
        #[expect(clippy::wildcard_enum_match_arm, reason = "whatever is not named here is refused by name")]
        let messages = match command(&request.into_inner().ticket, "ticket")? {
            Command::TicketStatementQuery(ticket) => self.redeem(&session, &ticket).await?,
            other => {
                let refused = name(&other);
                let question = Question::of(other).map_err(|e| defect(&e))?.ok_or_else(|| unsupported(&refused))?;
                self.answer(&session, question).await?
            }
        };
        Ok(Response::new(messages))
    }

    /// Values of parameters, and nothing else.
    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        let session = self.session(request.metadata(), request.extensions()).await?;
        let mut data = request.into_inner();
        let first = data.message().await?.ok_or_else(|| malformed("message"))?;
        let descriptor = first.flight_descriptor.as_ref().ok_or_else(|| malformed("message"))?;
        let command = command(&descriptor.cmd, "descriptor")?;
        #[expect(clippy::wildcard_enum_match_arm, reason = "whatever is not named here is refused by name")]
        let result = match command {
            Command::CommandPreparedStatementQuery(prepared) => {
                let data = stream::iter([Ok(first)]).chain(data);
                self.bind(&session, prepared.prepared_statement_handle, data).await?
            }
            other => return Err(self.refuse_update(&session, other).await),
        };
        Ok(answers(vec![PutResult { app_metadata: result.encode_to_vec().into() }]))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let session = self.session(request.metadata(), request.extensions()).await?;
        let action = request.into_inner();
        let result: Option<Vec<u8>> = match action.r#type.as_str() {
            CREATE_PREPARED_STATEMENT => {
                let ActionCreatePreparedStatementRequest { query, .. } = body(&action)?;
                Some(self.prepare(&session, &query).await?.as_any().encode_to_vec())
            }
            CLOSE_PREPARED_STATEMENT => {
                let ActionClosePreparedStatementRequest { prepared_statement_handle } = body(&action)?;
                session.forget_prepared(&prepared_statement_handle);
                None
            }
            SET_SESSION_OPTIONS => {
                let asked = SetSessionOptionsRequest::decode(action.body).map_err(|_| malformed("action"))?;
                Some(self.set_options(&session, asked).await?.encode_to_vec())
            }
            GET_SESSION_OPTIONS => Some(Self::options(&session).encode_to_vec()),
            CLOSE_SESSION => {
                self.sessions.close(&session);
                Some(CloseSessionResult { status: CloseStatus::Closed.into() }.encode_to_vec())
            }
            other => return Err(unsupported(&format!("action `{}`", other.chars().take(100).collect::<String>()))),
        };
        Ok(answers(result.map(|body| arrow_flight::Result { body: body.into() }).into_iter().collect()))
    }

    async fn list_actions(&self, request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        self.session(request.metadata(), request.extensions()).await?;
        let actions = [
            (CREATE_PREPARED_STATEMENT, "prepares a statement"),
            (CLOSE_PREPARED_STATEMENT, "forgets a prepared statement"),
            (SET_SESSION_OPTIONS, "sets options of the session"),
            (GET_SESSION_OPTIONS, "shows the options of the session"),
            (CLOSE_SESSION, "ends the session and its token"),
        ];
        let action =
            |(name, about): (&str, &str)| ActionType { r#type: name.to_owned(), description: about.to_owned() };
        Ok(answers(actions.into_iter().map(action).collect()))
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        self.session(request.metadata(), request.extensions()).await?;
        Err(unsupported("ListFlights"))
    }

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        self.session(request.metadata(), request.extensions()).await?;
        Err(unsupported("PollFlightInfo"))
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        self.session(request.metadata(), request.extensions()).await?;
        Err(unsupported("DoExchange"))
    }
}
