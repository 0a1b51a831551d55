//! What doors have in common: TLS, and as whom and where a session works. No protocol.
#![deny(clippy::wildcard_enum_match_arm)]

mod access;
mod tls;

pub use access::{Access, AccessError, IMPERSONATE_USER, PROJECT};
pub use tls::{Tls, TlsError, TlsSettings, common_name};

/// Longest name that a client gives itself, in bytes, as PostgreSQL cuts it.
const CLIENT_NAME_BYTES_MAX: usize = 63;

/// What a client says of itself, fit for the audit log.
pub fn client_name(said: &str) -> String {
    let mut name: String = said.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    name.truncate(name.floor_char_boundary(CLIENT_NAME_BYTES_MAX));
    name
}
