//! SQLite: a file on this machine, opened for reading only.

mod answer;
mod catalog;
mod session;

pub(super) use answer::rows;
pub(super) use session::Session;
