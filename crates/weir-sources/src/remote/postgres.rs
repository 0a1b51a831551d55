//! PostgreSQL, by its own protocol, in binary.

mod answer;
mod catalog;
mod numeric;
mod params;
mod session;
mod tls;
mod wire;

pub(super) use answer::rows;
pub(super) use session::Session;
pub(super) use tls::Verified;

/// Days and microseconds from 1970-01-01 to 2000-01-01, from which PostgreSQL counts.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;
