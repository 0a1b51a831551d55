//! What is imported of exports, what the report says, and who sees what of it.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod bad;
mod golden;
mod immuta;
mod properties;
mod ranger;
mod world;
