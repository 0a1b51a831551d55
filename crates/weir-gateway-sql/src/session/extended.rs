//! The extended protocol: statements that are parsed, bound, described and executed one step at a time.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use pgwire::api::Type;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::EmptyQueryResponse;
use weir_guard::Refusal;
use weir_query::{CopyIn, CopyOut, Cursor, Described, Query, SessionStatement, Statement, Write};

use super::control::{OpenCursor, cursor_query};
use super::stream::Form;
use super::{Done, ResultStream, Session, supervised};
use crate::params;
use crate::sqlstate::{Told, code};
use crate::types::{Column, Format, columns, row_description};
use crate::wire::{Bind, Target};

/// Prepared statements of one connection, and portals.
const STATEMENTS_MAX: usize = 4096;
const PORTALS_MAX: usize = 256;

/// A statement that was parsed.
pub(super) struct Prepared {
    text: String,
    kind: Kind,
    parameters: Vec<Parameter>,
    /// Of a read.
    columns: Vec<Column>,
}

enum Kind {
    Empty,
    Read(Query),
    Declare(Cursor, Query),
    Session(SessionStatement),
    Write(Write),
    Copy(CopyOut),
    CopyIn(CopyIn),
}

struct Parameter {
    /// As the client binds it.
    bound: Type,
    /// As the engine wants it; `None` when the statement does not use it.
    needed: Option<DataType>,
}

/// A prepared statement with its parameters.
pub(super) struct Portal {
    prepared: Arc<Prepared>,
    params: Vec<ArrayRef>,
    formats: Vec<Format>,
    state: State,
}

impl Portal {
    /// Whether all of it was sent.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// What is left of a read that was sent in part.
    pub(super) fn stream(&mut self) -> Option<&mut ResultStream> {
        match &mut self.state {
            State::Suspended(stream) => Some(stream),
            State::Ready | State::Ended => None,
        }
    }
}

enum State {
    Ready,
    /// Sent in part.
    Suspended(Box<ResultStream>),
    Ended,
}

impl Session {
    pub(super) async fn parse(&mut self, name: String, text: String, types: Vec<u32>) -> Done {
        if !name.is_empty() && self.statements.contains_key(&name) {
            return Err(
                Told::error(code::DUPLICATE_STATEMENT, format!("prepared statement `{name}` already exists")).into()
            );
        }
        if self.statements.len() >= STATEMENTS_MAX {
            let text = format!("more than {STATEMENTS_MAX} prepared statements");
            return Err(Told::error(code::LIMIT_EXCEEDED, text).into());
        }
        let kind = match self.one_statement(&text)? {
            Ok(kind) => kind,
            Err(refusal) => return Err(self.refused(&text, refusal).await),
        };
        let kind = with_types(kind, &types);
        let query = match &kind {
            Kind::Read(query) | Kind::Declare(_, query) => Some(query),
            Kind::Empty | Kind::Session(_) | Kind::Write(_) | Kind::Copy(_) | Kind::CopyIn(_) => None,
        };
        let described = match query {
            Some(query) => {
                let mut running = self.begin();
                let query = query.asked(&self.asked);
                let describe = self.engine.describe(&self.caller, &query);
                Some(supervised(&mut self.connection, &mut running, describe).await??)
            }
            None => None,
        };
        let declared = query.map(Query::declared).unwrap_or_default();
        let parameters = parameters(&types, declared, described.as_ref())?;
        let columns = match (&kind, &described) {
            (Kind::Read(_), Some(described)) => columns(&described.schema)?,
            (
                Kind::Read(_)
                | Kind::Empty
                | Kind::Declare(..)
                | Kind::Session(_)
                | Kind::Write(_)
                | Kind::Copy(_)
                | Kind::CopyIn(_),
                _,
            ) => Vec::new(),
        };
        self.statements.insert(name, Arc::new(Prepared { text, kind, parameters, columns }));
        self.put(PgWireBackendMessage::ParseComplete(ParseComplete::new()));
        Ok(())
    }

    /// The one statement that a text may have here.
    fn one_statement(&self, text: &str) -> Done<Result<Kind, Refusal>> {
        let mut statements = match weir_query::parse(text) {
            Ok(statements) => statements,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(statement) = statements.pop() else { return Ok(Ok(Kind::Empty)) };
        if !statements.is_empty() {
            let text = "cannot insert multiple commands into a prepared statement";
            return Err(Told::error(code::SYNTAX_ERROR, text).into());
        }
        self.check_transaction(&statement)?;
        Ok(match statement {
            Statement::Query(query) => Ok(Kind::Read(query)),
            Statement::Session(SessionStatement::Declare(cursor)) => {
                cursor_query(&cursor).map(|query| Kind::Declare(cursor, query))
            }
            Statement::Session(statement) => Ok(Kind::Session(statement)),
            Statement::Write(write) => Ok(Kind::Write(write)),
            Statement::Copy(copy) => Ok(Kind::Copy(copy)),
            Statement::CopyIn(copy) => Ok(Kind::CopyIn(copy)),
        })
    }

    pub(super) fn bind(&mut self, bind: Bind) -> Done {
        let prepared = Arc::clone(self.prepared(&bind.statement)?);
        if !bind.portal.is_empty() && self.portals.contains_key(&bind.portal) {
            return Err(Told::error(code::DUPLICATE_CURSOR, format!("portal `{}` already exists", bind.portal)).into());
        }
        if self.portals.len() >= PORTALS_MAX {
            return Err(Told::error(code::LIMIT_EXCEEDED, format!("more than {PORTALS_MAX} portals are open")).into());
        }
        let (given, needed) = (bind.parameters.len(), prepared.parameters.len());
        if given != needed {
            let text = format!("bind message supplies {given} parameters, but prepared statement requires {needed}");
            return Err(Told::error(code::PROTOCOL_VIOLATION, text).into());
        }
        let parameter_formats = formats(&bind.parameter_formats, Some(given), "parameter")?;
        let columns = self.statement_columns(&prepared)?;
        let formats = formats(&bind.result_formats, columns.as_ref().map(Vec::len), "result")?;
        let mut params = Vec::with_capacity(given);
        for (index, (parameter, bytes)) in prepared.parameters.iter().zip(&bind.parameters).enumerate() {
            let Some(needed) = &parameter.needed else { continue };
            let format = Format::pick(&parameter_formats, index);
            let zone = self.settings.zone_name();
            params.push(params::value(index + 1, &parameter.bound, format, bytes.as_ref(), needed, zone)?);
        }
        self.portals.insert(bind.portal, Portal { prepared, params, formats, state: State::Ready });
        self.put(PgWireBackendMessage::BindComplete(BindComplete::new()));
        Ok(())
    }

    pub(super) fn describe(&mut self, target: Target, name: &str) -> Done {
        let (prepared, formats) = match target {
            Target::Statement => (Arc::clone(self.prepared(name)?), Vec::new()),
            // A cursor is a portal with a name.
            Target::Portal if !self.portals.contains_key(name) && self.cursors.contains_key(name) => {
                let columns = self.cursors.get(name).map(OpenCursor::columns).unwrap_or_default();
                let description = row_description(columns, &[]);
                self.put(PgWireBackendMessage::RowDescription(description));
                return Ok(());
            }
            Target::Portal => {
                let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
                (Arc::clone(&portal.prepared), portal.formats.clone())
            }
        };
        let columns = self.statement_columns(&prepared)?;
        if target == Target::Statement {
            let types = prepared.parameters.iter().map(|parameter| parameter.bound.oid()).collect();
            self.put(PgWireBackendMessage::ParameterDescription(ParameterDescription::new(types)));
        }
        self.put(match columns {
            Some(columns) => PgWireBackendMessage::RowDescription(row_description(&columns, &formats)),
            None => PgWireBackendMessage::NoData(NoData::new()),
        });
        Ok(())
    }

    pub(super) async fn execute(&mut self, name: &str, rows_max: u32) -> Done {
        let portal = self.portals.get_mut(name).ok_or_else(|| no_portal(name))?;
        let prepared = Arc::clone(&portal.prepared);
        let state = std::mem::replace(&mut portal.state, State::Ended);
        let (params, formats) = (portal.params.clone(), portal.formats.clone());
        match &prepared.kind {
            Kind::Empty => self.put(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())),
            Kind::Read(query) => {
                self.check_transaction(&Statement::Query(query.clone()))?;
                self.execute_read(name, &prepared, query, state, params, &formats, rows_max).await?;
            }
            Kind::Declare(cursor, query) => {
                self.check_transaction(&Statement::Query(query.clone()))?;
                self.declare(cursor, query, params).await?;
            }
            // It is not done again.
            Kind::Write(write) if matches!(state, State::Ended) => {
                let told = format!("portal `{name}` cannot be run anymore: `{}` was done", write.name());
                return Err(Told::error(code::CANNOT_CHANGE_NOW, told).into());
            }
            Kind::Copy(copy) => {
                self.check_transaction(&Statement::Copy(copy.clone()))?;
                self.copy(copy).await?;
            }
            Kind::CopyIn(_) if matches!(state, State::Ended) => {
                let told = format!("portal `{name}` cannot be run anymore: `COPY FROM` was done");
                return Err(Told::error(code::CANNOT_CHANGE_NOW, told).into());
            }
            Kind::CopyIn(copy) => {
                self.check_transaction(&Statement::CopyIn(copy.clone()))?;
                self.copy_in(copy).await?;
            }
            Kind::Write(write) => {
                self.check_transaction(&Statement::Write(write.clone()))?;
                self.write(write).await?;
            }
            // Its rows were sent; it is not done again.
            Kind::Session(
                SessionStatement::SetProject { .. } | SessionStatement::CurrentProject | SessionStatement::ListProjects,
            ) if matches!(state, State::Ended) => self.complete("SELECT 0"),
            Kind::Session(statement) => {
                self.check_transaction(&Statement::Session(statement.clone()))?;
                self.control(&prepared.text, statement, &formats, false).await?;
            }
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a portal, taken out of the table while it runs")]
    async fn execute_read(
        &mut self,
        name: &str,
        prepared: &Prepared,
        query: &Query,
        state: State,
        params: Vec<ArrayRef>,
        formats: &[Format],
        rows_max: u32,
    ) -> Done {
        let mut running = self.begin();
        let stream = match state {
            State::Ready => self.read(&mut running, query, params).await?,
            State::Suspended(stream) => *stream,
            State::Ended => {
                self.complete("SELECT 0");
                return Ok(());
            }
        };
        let same = stream.columns().len() == prepared.columns.len()
            && stream.columns().iter().zip(&prepared.columns).all(|(now, then)| now.same_type(then));
        if !same {
            return Err(Told::error(
                code::FEATURE_NOT_SUPPORTED,
                "the statement's result has other columns than when it was prepared",
            )
            .into());
        }
        let rows_max = (rows_max > 0).then(|| u64::from(rows_max));
        let (sent, rest) = stream.send(&mut self.connection, &mut running, Form::Rows(formats), rows_max).await?;
        match rest {
            Some(rest) => {
                if let Some(portal) = self.portals.get_mut(name) {
                    portal.state = State::Suspended(Box::new(rest));
                }
                self.put(PgWireBackendMessage::PortalSuspended(PortalSuspended::new()));
            }
            None => self.complete_read(query, sent),
        }
        Ok(())
    }

    pub(super) fn close(&mut self, target: Target, name: &str) {
        match target {
            Target::Statement => drop(self.statements.remove(name)),
            Target::Portal => drop(self.portals.remove(name)),
        }
        self.put(PgWireBackendMessage::CloseComplete(CloseComplete::new()));
    }

    fn prepared(&self, name: &str) -> Result<&Arc<Prepared>, Told> {
        let missing =
            || Told::error(code::INVALID_STATEMENT_NAME, format!("prepared statement `{name}` does not exist"));
        self.statements.get(name).ok_or_else(missing)
    }

    /// `None` when the statement answers no rows.
    fn statement_columns(&self, prepared: &Prepared) -> Result<Option<Vec<Column>>, Told> {
        match &prepared.kind {
            Kind::Read(_) => Ok(Some(prepared.columns.clone())),
            Kind::Session(statement) => self.control_columns(statement),
            Kind::Empty | Kind::Declare(..) | Kind::Write(_) | Kind::Copy(_) | Kind::CopyIn(_) => Ok(None),
        }
    }
}

/// The statement with what the client said of its parameters.
fn with_types(kind: Kind, said: &[u32]) -> Kind {
    let types: Vec<Option<Type>> = said.iter().map(|oid| Type::from_oid(*oid)).collect();
    let names: Vec<Option<&str>> = types.iter().map(|pg| pg.as_ref().map(Type::name)).collect();
    match kind {
        Kind::Read(query) => Kind::Read(query.typed(&names)),
        Kind::Declare(cursor, query) => Kind::Declare(cursor, query.typed(&names)),
        Kind::Empty | Kind::Session(_) | Kind::Write(_) | Kind::Copy(_) | Kind::CopyIn(_) => kind,
    }
}

/// What the client said of each parameter, completed by what the statement casts it to and needs.
fn parameters(
    said: &[u32],
    declared: &[Option<String>],
    described: Option<&Described>,
) -> Result<Vec<Parameter>, Told> {
    let needed = described.map_or(&[][..], |described| &described.parameters);
    let parameter = |index: usize| {
        let needed = needed.get(index).cloned();
        let said = said.get(index).copied().unwrap_or(0);
        let declared = declared.get(index).and_then(Option::as_deref);
        let bound = params::parameter_type(index + 1, said, declared, needed.as_ref().unwrap_or(&DataType::Utf8))?;
        Ok(Parameter { bound, needed })
    };
    (0..said.len().max(needed.len())).map(parameter).collect()
}

/// None, one for all, or one for each.
fn formats(codes: &[i16], items: Option<usize>, what: &str) -> Result<Vec<Format>, Told> {
    if let Some(items) = items
        && codes.len() > 1
        && codes.len() != items
    {
        let text = format!("bind message has {} {what} formats for {items}", codes.len());
        return Err(Told::error(code::PROTOCOL_VIOLATION, text));
    }
    let format = |code: &i16| {
        let unknown = || Told::error(code::INVALID_PARAMETER_VALUE, format!("unsupported format code: `{code}`"));
        Format::from_code(*code).ok_or_else(unknown)
    };
    codes.iter().map(format).collect()
}

fn no_portal(name: &str) -> Told {
    Told::error(code::INVALID_CURSOR_NAME, format!("portal `{name}` does not exist"))
}
