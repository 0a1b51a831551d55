//! The Arrow Flight SQL door: bytes in, verified caller and statement to the engine, batches out.
//!
//! Protocol only. What may be read is decided by `weir-query`; this crate knows no policy and no source. Messages come
//! from `arrow-flight` and the transport from `tonic`. The service is our own, so that every call passes by the token
//! check, and what is not known is refused by name.
#![deny(clippy::wildcard_enum_match_arm)]

mod actions;
mod auth;
mod incoming;
mod metadata;
mod parameters;
mod server;
mod service;
mod sessions;
mod statements;
mod status;
mod stream;
mod ticket;
mod views;

pub use server::{FlightGateway, FlightSettings};
