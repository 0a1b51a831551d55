//! Sessions: who a bearer token stands for, and what is kept between calls.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, SchemaRef};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tonic::Status;
use weir_gateway::Access;
use weir_guard::{Basis, Caller, CredentialId, Door};
use weir_model::PrincipalId;
use weir_query::Query;

use crate::ticket::Id;

/// Longest life of a token, however much it is used.
const TOKEN_LIFETIME_MAX: Duration = Duration::from_hours(24);
/// Prepared statements and tickets of one session.
const STATEMENTS_MAX: usize = 1024;
/// Text of all of them, in bytes.
const STATEMENT_BYTES_MAX: usize = 16 << 20;

/// Everybody who is logged in.
pub(crate) struct Sessions {
    /// By SHA-256 of the token, so that looking one up tells nothing of those that are near.
    open: Mutex<HashMap<[u8; 32], Arc<Session>>>,
    /// After the last call.
    lifetime: Duration,
    per_user_max: usize,
    max: usize,
}

pub(crate) struct Session {
    pub(crate) id: Id,
    key: [u8; 32],
    pub(crate) principal: PrincipalId,
    /// With which the token was got.
    pub(crate) credential: CredentialId,
    opened: Instant,
    state: Mutex<State>,
}

struct State {
    used: Instant,
    access: Access,
    /// What the client calls itself.
    client: Option<String>,
    prepared: HashMap<Id, Arc<Prepared>>,
    reads: HashMap<Id, Read>,
}

pub(crate) struct Prepared {
    pub(crate) query: Query,
    pub(crate) parameters: Vec<DataType>,
    pub(crate) schema: SchemaRef,
    /// Values of the parameters, each an array of length one.
    pub(crate) bound: Mutex<Vec<ArrayRef>>,
}

/// A read that a ticket was issued for.
pub(crate) struct Read {
    pub(crate) query: Query,
    pub(crate) params: Vec<ArrayRef>,
    /// As the client was told.
    pub(crate) schema: SchemaRef,
    pub(crate) basis: Arc<Basis>,
    pub(crate) expires: Instant,
}

impl Sessions {
    pub(crate) fn new(lifetime: Duration, connections_max: usize) -> Self {
        let (per_user_max, max) = (connections_max, connections_max.saturating_mul(4));
        Self { open: Mutex::default(), lifetime, per_user_max, max }
    }

    /// A token for whoever has just proved who she is. Who has too many loses the one that was not used for longest.
    pub(crate) fn open(&self, principal: PrincipalId, credential: CredentialId) -> Result<String, Status> {
        let token: [u8; 32] = rand::random();
        let token = URL_SAFE_NO_PAD.encode(token);
        let now = Instant::now();
        let state = State {
            used: now,
            access: Access::default(),
            client: None,
            prepared: HashMap::new(),
            reads: HashMap::new(),
        };
        let (id, key) = (rand::random(), key(&token));
        let session = Session { id, key, principal, credential, opened: now, state: Mutex::new(state) };
        let mut open = self.open.lock();
        open.retain(|_, session| self.is_alive(session));
        let mine = open.values().filter(|other| other.principal == session.principal);
        if mine.clone().count() >= self.per_user_max
            && let Some(oldest) = mine.min_by_key(|other| other.state.lock().used).map(|other| other.key)
        {
            open.remove(&oldest);
        }
        if open.len() >= self.max {
            return Err(Status::resource_exhausted("too many sessions"));
        }
        open.insert(key, Arc::new(session));
        Ok(token)
    }

    pub(crate) fn find(&self, token: &str) -> Option<Arc<Session>> {
        let key = key(token);
        let mut open = self.open.lock();
        let session = Arc::clone(open.get(&key)?);
        if !self.is_alive(&session) {
            open.remove(&key);
            return None;
        }
        session.state.lock().used = Instant::now();
        Some(session)
    }

    pub(crate) fn close(&self, session: &Session) {
        self.open.lock().remove(&session.key);
    }

    fn is_alive(&self, session: &Session) -> bool {
        session.opened.elapsed() < TOKEN_LIFETIME_MAX && session.state.lock().used.elapsed() < self.lifetime
    }
}

fn key(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl Session {
    pub(crate) fn access(&self) -> Access {
        self.state.lock().access.clone()
    }

    pub(crate) fn client(&self) -> Option<String> {
        self.state.lock().client.clone()
    }

    pub(crate) fn set_client(&self, name: String) {
        self.state.lock().client = Some(name).filter(|name| !name.is_empty());
    }

    /// Who asks in this session.
    pub(crate) fn caller(&self) -> Caller {
        let state = self.state.lock();
        state.access.caller(self.principal.clone(), Door::FlightSql, state.client.clone())
    }

    /// Takes over what the guard has let through, unless `before` does not hold any more.
    pub(crate) fn set_access(&self, before: &Access, after: Access) -> Result<(), Status> {
        let mut state = self.state.lock();
        if state.access != *before {
            return Err(Status::aborted("the session's options were changed at the same time"));
        }
        state.access = after;
        Ok(())
    }

    pub(crate) fn prepare(&self, prepared: Prepared) -> Result<Id, Status> {
        let mut state = self.state.lock();
        state.make_room(&prepared.query)?;
        let id = rand::random();
        state.prepared.insert(id, Arc::new(prepared));
        Ok(id)
    }

    pub(crate) fn prepared(&self, handle: &[u8]) -> Result<Arc<Prepared>, Status> {
        let id: Option<Id> = handle.try_into().ok();
        let state = self.state.lock();
        let found = id.and_then(|id| state.prepared.get(&id)).cloned();
        found.ok_or_else(|| Status::not_found("there is no such prepared statement in this session"))
    }

    pub(crate) fn forget_prepared(&self, handle: &[u8]) {
        if let Ok(id) = Id::try_from(handle) {
            self.state.lock().prepared.remove(&id);
        }
    }

    /// Keeps a read until its ticket is shown or expires.
    pub(crate) fn expect(&self, id: Id, read: Read) -> Result<(), Status> {
        let mut state = self.state.lock();
        state.make_room(&read.query)?;
        state.reads.insert(id, read);
        Ok(())
    }

    /// The read of a ticket, once.
    pub(crate) fn redeem(&self, id: &Id) -> Option<Read> {
        self.state.lock().reads.remove(id)
    }
}

impl State {
    fn make_room(&mut self, query: &Query) -> Result<(), Status> {
        let now = Instant::now();
        self.reads.retain(|_, read| read.expires > now);
        let texts = self.prepared.values().map(|prepared| &prepared.query).chain(self.reads.values().map(|r| &r.query));
        let bytes: usize = texts.map(|query| query.text.len()).sum();
        if self.prepared.len() + self.reads.len() >= STATEMENTS_MAX || bytes + query.text.len() > STATEMENT_BYTES_MAX {
            return Err(Status::resource_exhausted("too many prepared statements and tickets in this session"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use weir_guard::ScramVerifier;
    use weir_model::Secret;
    use weir_query::Statement;

    use super::*;

    fn open(sessions: &Sessions, user: &str) -> Result<String, Status> {
        let verifier = ScramVerifier::new(&Secret::new("demo"), b"salt".to_vec(), 1);
        sessions.open(PrincipalId::builtin(user).unwrap(), verifier.id())
    }

    fn prepared(text: &str) -> Prepared {
        let Some(Statement::Query(query)) = weir_query::parse(text).unwrap().pop() else { panic!("{text}") };
        let schema = arrow::datatypes::Schema::empty().into();
        Prepared { query, parameters: Vec::new(), schema, bound: Mutex::default() }
    }

    #[test]
    fn a_token_is_known_until_it_was_not_used_for_long() {
        let sessions = Sessions::new(Duration::from_mins(1), 4);
        let token = open(&sessions, "tara").unwrap();
        assert_eq!(sessions.find(&token).unwrap().principal.name(), "tara");
        assert!(sessions.find("").is_none() && sessions.find(token.split_at(1).1).is_none());
        sessions.close(&sessions.find(&token).unwrap());
        assert!(sessions.find(&token).is_none());

        let sessions = Sessions::new(Duration::ZERO, 4);
        let token = open(&sessions, "tara").unwrap();
        assert!(sessions.find(&token).is_none());
    }

    #[test]
    fn who_has_too_many_sessions_loses_the_one_that_waited_longest() {
        let sessions = Sessions::new(Duration::from_mins(1), 2);
        let (first, second) = (open(&sessions, "tara").unwrap(), open(&sessions, "tara").unwrap());
        sessions.find(&first).unwrap();
        let third = open(&sessions, "tara").unwrap();
        assert!(sessions.find(&second).is_none());
        assert!(sessions.find(&first).is_some() && sessions.find(&third).is_some());
        for user in ["a", "b", "c"] {
            open(&sessions, user).unwrap();
            open(&sessions, user).unwrap();
        }
        assert!(open(&sessions, "d").unwrap_err().message().contains("too many sessions"));
    }

    #[test]
    fn a_session_keeps_so_many_statements_and_no_more() {
        let sessions = Sessions::new(Duration::from_mins(1), 2);
        let session = sessions.find(&open(&sessions, "tara").unwrap()).unwrap();
        let handle = session.prepare(prepared("select 1")).unwrap();
        for _ in 1..STATEMENTS_MAX {
            session.prepare(prepared("select 1")).unwrap();
        }
        assert!(session.prepare(prepared("select 1")).unwrap_err().message().contains("too many"));
        session.forget_prepared(&handle);
        assert!(session.prepared(&handle).is_err());
        session.prepare(prepared("select 1")).unwrap();

        let session = sessions.find(&open(&sessions, "tara").unwrap()).unwrap();
        let long = format!("select '{}'", "x".repeat(3 << 20));
        let kept = (0..10).take_while(|_| session.prepare(prepared(&long)).is_ok()).count();
        assert_eq!(kept, 5);
    }

    #[test]
    fn options_that_change_meanwhile_are_not_overwritten() {
        let sessions = Sessions::new(Duration::from_mins(1), 2);
        let session = sessions.find(&open(&sessions, "tara").unwrap()).unwrap();
        let before = session.access();
        let mut after = before.clone();
        after.set(weir_gateway::IMPERSONATE_USER, "oona").unwrap();
        session.set_access(&before, after.clone()).unwrap();
        assert!(session.set_access(&before, before.clone()).is_err());
        assert_eq!(session.access(), after);
    }
}
