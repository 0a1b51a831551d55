//! The PostgreSQL wire protocol door: bytes in, verified caller and statement to the engine, rows out.
//!
//! Protocol only. What may be read is decided by `weir-query`; this crate knows no policy and no source. Message
//! layouts, SCRAM and type ids come from `pgwire`; the connection loop is our own, so that results stream with
//! back-pressure, a cancel request reaches a result that is being sent, and no library's text reaches a client.
#![deny(clippy::wildcard_enum_match_arm)]

mod auth;
mod cancel;
mod encode;
mod params;
mod server;
mod session;
mod settings;
mod sqlstate;
mod startup;
mod types;
mod wire;

pub use server::{SqlGateway, SqlSettings};

/// What `SHOW server_version` says: the version of PostgreSQL whose protocol and catalogue this is, and ours.
pub(crate) const SERVER_VERSION: &str = concat!("15.0 (Weir ", env!("CARGO_PKG_VERSION"), ")");
/// The one database there is.
pub(crate) const DATABASE: &str = "weir";
