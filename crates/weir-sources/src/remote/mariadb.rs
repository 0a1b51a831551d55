//! MariaDB and MySQL, by prepared statements.

mod answer;
mod catalog;
mod session;

pub(super) use answer::rows;
pub(super) use session::Session;
