//! Keyed masks over single values: a value in, a masked value out.
//!
//! No Arrow, no I/O, no clock, no source of randomness: all that looks random comes from a key, so that the same value
//! (or the same row) always gives the same answer. NULL is the caller's: no function here takes one, and `None` as an
//! answer means that the caller gives NULL. Nothing is ever left as it was because a mask could not be applied.
//!
//! | Mask | Construction | Equal values |
//! | --- | --- | --- |
//! | [`HashToken`] | HMAC-SHA-256 (RFC 2104, FIPS 180-4) | equal tokens within a key |
//! | [`Reversible`] | AES-256-SIV (RFC 5297) | equal tokens within a key and a column |
//! | [`FormatPreserving`] | FF1 with AES-256 (NIST SP 800-38G) | equal results within a key and a column |
//! | [`Randomizer`] | HMAC-SHA-256 of column and row | no relation between rows |
//! | [`Sampler`] | HMAC-SHA-256 of the row | |
#![deny(clippy::wildcard_enum_match_arm)]

mod ff1;
mod format_preserving;
mod hash;
mod key;
mod randomized;
mod reversible;
mod row_key;
mod sample;
mod siv;

pub use format_preserving::FormatPreserving;
pub use hash::HashToken;
pub use key::{Keys, WrongKeyLength};
pub use randomized::{Randomizer, Replacement};
pub use reversible::{NotAToken, Reversible, key_id_of};
pub use row_key::RowKey;
pub use sample::Sampler;
