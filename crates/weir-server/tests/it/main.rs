//! The built `weir` command, as people use it.

mod cli;
mod demo;
mod sources;
mod weir;
mod wire;
