//! What tests of several crates share: a naive oracle, generators of worlds, policies and queries, fakes of the
//! guard's ports, a small fixed world and a runner of `.slt` files with people in them.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a tool of tests: an assumption that does not hold is a failed test"
)]

pub mod cell;
pub mod dice;
pub mod generate;
mod nested;
pub mod oracle;
pub mod portable;
pub mod ports;
pub mod postgres;
pub mod retail;
pub mod slt;

pub use cell::{Cell, Row, Tables};
pub use dice::Dice;
