//! The engine through its front door: see <https://matklad.github.io/2021/02/27/delete-cargo-integration-tests.html>
//! for why there is one binary.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod altered;
mod asking;
mod cases;
mod coverage;
mod files;
mod functions;
mod leaks;
mod oracle;
mod plain;
mod recorded;
mod remote;
mod running;
mod skipping;
mod slt;

mod transparency;
mod verdict;

/// As in the program; the oracle allocates a lot.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
