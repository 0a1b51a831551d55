//! The one integration test binary of the crate; a module for each area.

mod cases;
mod check;
mod engine;
mod language;
mod world;
