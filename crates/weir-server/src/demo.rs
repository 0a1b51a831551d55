//! The demonstration: made-up purchases and the TPC-H tables, the people of a small company, and its policies.

pub(crate) mod data;
mod retail;
mod tpch;
pub(crate) mod world;
