//! From the first byte to a verified caller: encryption, startup packet, cancel requests, authentication.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, SecretKey};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use weir_gateway::common_name;
use weir_guard::Caller;
use weir_model::PrincipalId;

use crate::DATABASE;
use crate::auth::{Authenticator, SCRAM, SCRAM_PLUS};
use crate::cancel::Registered;
use crate::server::Shared;
use crate::settings::SessionSettings;
use crate::sqlstate::{Told, code};
use crate::wire::{Body, Connection, Input};

const SSL_REQUEST: i32 = 80_877_103;
const GSS_REQUEST: i32 = 80_877_104;
const CANCEL_REQUEST: i32 = 80_877_102;
/// Version 3.0; a client that asks for a later 3.x is told so.
const PROTOCOL_MAJOR: i32 = 3;
const PROTOCOL: i32 = PROTOCOL_MAJOR << 16;
/// Longest message while a client authenticates.
const AUTHENTICATION_BYTES_MAX: usize = 10_000;

/// Programs that would fail half-way, by the name that they give themselves.
const DUMPS: [&str; 3] = ["pg_dump", "pg_dumpall", "pg_basebackup"];

/// A connection whose caller is known.
pub(crate) struct Started {
    pub(crate) connection: Connection,
    pub(crate) caller: Caller,
    pub(crate) settings: SessionSettings,
    pub(crate) registered: Registered,
    /// Its place among the connections.
    pub(crate) place: OwnedSemaphorePermit,
}

/// Of an encrypted connection.
struct Encryption {
    /// Whose certificate the client showed.
    shown: Option<String>,
}

/// Why a connection does not start.
enum Ended {
    /// The client hears this.
    Told(Told),
    /// It is closed without a word: garbage, gone, or a cancel request.
    Silent,
}

impl From<Told> for Ended {
    fn from(told: Told) -> Self {
        Ended::Told(told)
    }
}

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Self {
        Ended::Silent
    }
}

/// `None` when the connection has ended.
pub(crate) async fn start(shared: &Shared, stream: TcpStream) -> Option<Started> {
    let (mut connection, packet, encryption) = match first_packet(shared, Connection::new(stream)).await {
        Ok(first) => first,
        Err(_) => return None,
    };
    match admit(shared, &mut connection, packet, encryption).await {
        Ok((caller, settings, registered, place)) => Some(Started { connection, caller, settings, registered, place }),
        Err(Ended::Silent) => None,
        Err(Ended::Told(told)) => {
            connection.put(PgWireBackendMessage::ErrorResponse(told.response()));
            // The client may be gone by now.
            let _ = connection.finish().await;
            None
        }
    }
}

/// Answers requests for encryption, until the startup packet comes. A cancel request ends here.
async fn first_packet(
    shared: &Shared,
    mut connection: Connection,
) -> Result<(Connection, Bytes, Option<Encryption>), Ended> {
    let (mut encryption, mut asked_for_gss) = (None, false);
    loop {
        let mut packet = connection.packet().await?.ok_or(Ended::Silent)?;
        match packet.slice(..4).get_i32() {
            SSL_REQUEST if encryption.is_none() => match &shared.tls {
                Some(tls) => {
                    connection.outbox().put_u8(b'S');
                    connection.flush().await?;
                    if connection.has_unread() {
                        // Sent in the clear by somebody who wants it to be taken as encrypted.
                        return Err(Ended::Silent);
                    }
                    let stream = tls.acceptor.accept(connection.into_stream()).await?;
                    encryption = Some(Encryption { shown: common_name(stream.get_ref().1.peer_certificates()) });
                    connection = Connection::new(stream);
                }
                None => {
                    connection.outbox().put_u8(b'N');
                    connection.flush().await?;
                }
            },
            GSS_REQUEST if !asked_for_gss => {
                asked_for_gss = true;
                connection.outbox().put_u8(b'N');
                connection.flush().await?;
            }
            CANCEL_REQUEST if packet.len() == 12 => {
                packet.advance(4);
                shared.cancels.cancel(packet.get_i32(), packet.get_i32());
                return Err(Ended::Silent);
            }
            version if version >> 16 == PROTOCOL_MAJOR => return Ok((connection, packet, encryption)),
            _ => return Err(Ended::Silent),
        }
    }
}

async fn admit(
    shared: &Shared,
    connection: &mut Connection,
    packet: Bytes,
    encryption: Option<Encryption>,
) -> Result<(Caller, SessionSettings, Registered, OwnedSemaphorePermit), Ended> {
    let malformed = || Told::fatal(code::PROTOCOL_VIOLATION, "malformed startup packet");
    let mut packet = Body(packet);
    let version = packet.i32().map_err(|_| malformed())?;
    let mut parameters = parameters(&mut packet).ok_or_else(malformed)?;

    let extensions: Vec<String> = parameters.keys().filter(|name| name.starts_with("_pq_.")).cloned().collect();
    if version != PROTOCOL || !extensions.is_empty() {
        parameters.retain(|name, _| !name.starts_with("_pq_."));
        let offer = NegotiateProtocolVersion::new(PROTOCOL, extensions);
        connection.put(PgWireBackendMessage::NegotiateProtocolVersion(offer));
    }
    if encryption.is_none() && shared.tls.as_ref().is_some_and(|tls| tls.required) {
        return Err(Told::fatal(code::INVALID_AUTHORIZATION, "this server takes encrypted connections only").into());
    }
    let user = parameters.remove("user").filter(|user| !user.is_empty());
    let user = user.ok_or_else(|| Told::fatal(code::INVALID_AUTHORIZATION, "no user name was given"))?;
    let database = parameters.remove("database").unwrap_or_else(|| user.clone());
    if parameters.remove("replication").is_some_and(|value| !matches!(value.as_str(), "false" | "off" | "no" | "0")) {
        return Err(Told::fatal(code::FEATURE_NOT_SUPPORTED, "replication is not supported").into());
    }
    let place = Arc::clone(&shared.places)
        .try_acquire_owned()
        .map_err(|_| Told::fatal(code::TOO_MANY_CONNECTIONS, "too many connections"))?;

    let principal = authenticate(shared, connection, &user, encryption).await?;
    if database != DATABASE {
        let told = Told::fatal(code::INVALID_CATALOG_NAME, format!("database `{database}` does not exist"));
        return Err(told.hint(format!("the only database is `{DATABASE}`")).into());
    }
    if let Some(dump) = parameters.get("application_name").filter(|name| DUMPS.contains(&name.as_str())) {
        let told = Told::fatal(code::FEATURE_NOT_SUPPORTED, format!("`{dump}` is not supported"));
        let why = "Weir shows each reader what policies let through; it has nothing that could be restored elsewhere";
        return Err(told.hint(why).into());
    }
    let settings = session_settings(&principal, parameters).map_err(Told::into_fatal)?;
    let caller = settings.caller(principal);
    let registered = shared.cancels.register();
    let key = BackendKeyData::new(registered.process, SecretKey::I32(registered.secret));
    connection.put(PgWireBackendMessage::BackendKeyData(key));
    Ok((caller, settings, registered, place))
}

/// Names and values, ended by an empty name. `None` when that is not what they are.
fn parameters(packet: &mut Body) -> Option<BTreeMap<String, String>> {
    let mut parameters = BTreeMap::new();
    loop {
        let name = packet.text().ok()?;
        if name.is_empty() {
            return packet.0.is_empty().then_some(parameters);
        }
        parameters.insert(name, packet.text().ok()?);
    }
}

async fn authenticate(
    shared: &Shared,
    connection: &mut Connection,
    user: &str,
    encryption: Option<Encryption>,
) -> Result<PrincipalId, Ended> {
    let bound = shared.tls.as_ref().filter(|tls| encryption.is_some() && Authenticator::can_bind(&tls.certificate_pem));
    let binding = bound.map(|tls| tls.certificate_pem.as_slice());
    let mut mechanisms = vec![SCRAM.to_owned()];
    if binding.is_some() {
        mechanisms.insert(0, SCRAM_PLUS.to_owned());
    }
    connection.put(PgWireBackendMessage::Authentication(Authentication::SASL(mechanisms)));
    let mut first = Body(answer(connection).await?);
    let malformed = || Told::fatal(code::PROTOCOL_VIOLATION, "malformed authentication message");
    let mechanism = first.text().map_err(|_| malformed())?;
    if mechanism != SCRAM && mechanism != SCRAM_PLUS {
        return Err(malformed().into());
    }
    let data = first.value().ok().flatten().ok_or_else(malformed)?;
    let (challenge, exchange) = shared.authenticator.begin(user, &data, binding, mechanism == SCRAM_PLUS).await?;
    connection.put(PgWireBackendMessage::Authentication(Authentication::SASLContinue(challenge.into())));
    let proof = answer(connection).await?;
    let (principal, proof) = exchange.finish(&proof).inspect_err(|told| {
        tracing::info!(?user, code = told.code, "authentication failed");
    })?;
    let mutual = shared.tls.as_ref().is_some_and(|tls| tls.mutual);
    if mutual && encryption.and_then(|encryption| encryption.shown).as_deref() != Some(&principal.to_string()) {
        tracing::info!(%principal, "authentication failed: the client's certificate is of somebody else");
        return Err(Told::unauthenticated().into());
    }
    connection.put(PgWireBackendMessage::Authentication(Authentication::SASLFinal(proof.into())));
    connection.put(PgWireBackendMessage::Authentication(Authentication::Ok));
    Ok(principal)
}

/// The client's next part of the authentication.
async fn answer(connection: &mut Connection) -> Result<Bytes, Ended> {
    connection.flush().await?;
    match connection.input(AUTHENTICATION_BYTES_MAX).await? {
        Input::Frame { kind: b'p', body } => Ok(body),
        Input::Closed => Err(Ended::Silent),
        Input::Frame { .. } | Input::TooLong { .. } | Input::Garbage => {
            Err(Told::fatal(code::PROTOCOL_VIOLATION, "expected an authentication message").into())
        }
    }
}

/// Every other parameter of the startup packet is a setting; `options` holds more of them.
fn session_settings(
    principal: &PrincipalId,
    mut parameters: BTreeMap<String, String>,
) -> Result<SessionSettings, Told> {
    let options = parameters.remove("options").unwrap_or_default();
    let options = command_line(&options).ok_or_else(|| {
        Told::error(code::INVALID_PARAMETER_VALUE, "`options` can only hold settings of the form `-c name=value`")
    })?;
    let all = options.iter().chain(&parameters);
    SessionSettings::new(&principal.to_string(), all.map(|(name, value)| (name.as_str(), value.as_str())))
}

/// Settings of the form `-c name=value` or `--name=value`; a backslash keeps the character after it.
fn command_line(text: &str) -> Option<BTreeMap<String, String>> {
    let mut words = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => words.last_mut()?.push(chars.next()?),
            c if c.is_whitespace() => words.push(String::new()),
            c => words.last_mut()?.push(c),
        }
    }
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    let mut settings = BTreeMap::new();
    while let Some(word) = words.next() {
        let assignment = match word.as_str() {
            "-c" => words.next()?,
            other => other.strip_prefix("--").or_else(|| other.strip_prefix("-c"))?.to_owned(),
        };
        let (name, value) = assignment.split_once('=')?;
        settings.insert(name.to_ascii_lowercase().replace('-', "_"), value.to_owned());
    }
    Some(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_settings_and_nothing_else() {
        let settings = command_line("-c statement_timeout=5s  --search-path=a\\ b -cdatestyle=ISO").unwrap();
        let settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(settings, [("datestyle", "ISO"), ("search_path", "a b"), ("statement_timeout", "5s")]);
        assert_eq!(command_line("").unwrap().len(), 0);
        for wrong in ["-c", "-d 5", "-c name", "x=y", "-c a=b \\"] {
            assert_eq!(command_line(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_startup_packet_is_read_to_its_end() {
        let read = |bytes: &'static [u8]| parameters(&mut Body(Bytes::from_static(bytes)));
        assert_eq!(read(b"user\0tara\0\0").unwrap().get("user").unwrap(), "tara");
        for wrong in [&b"user\0tara\0"[..], b"user\0", b"user", b"user\0tara\0\0more", b"user\0\xff\0\0"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
