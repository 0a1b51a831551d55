//! Reads the policies of other systems and writes them as policies of Weir, with a report of what became of each part.
//!
//! What is imported never lets anybody see more than the original did. What is not understood makes a policy more
//! strict or leaves out what it would have allowed, and the report says so. Pure: text in, text out.
#![deny(clippy::wildcard_enum_match_arm)]

mod document;
mod error;
mod immuta;
mod keys;
mod make;
mod ranger;
mod report;
mod sql;
mod tree;

pub use document::Document;
pub use error::Error;
pub use make::{Import, Imported};
pub use report::{Line, Outcome, Report};

/// Reads exports of Apache Ranger: of policies, of what a plugin downloads, and of roles. All of one import are read
/// together, so that tag policies and the roles that policies name are known.
///
/// # Errors
///
/// When a document is too long, is not UTF-8 or JSON, has not the form of an export, or two policies of a service have
/// one name.
pub fn ranger(documents: &[Document<'_>]) -> Result<Import, Error> {
    ranger::import(documents)
}

/// Reads policies of Immuta: YAML documents of the second version of its interface, or JSON of the first.
///
/// # Errors
///
/// When a document is too long, is not UTF-8, YAML or JSON, has not the form of a policy, or two policies have one key.
pub fn immuta(documents: &[Document<'_>]) -> Result<Import, Error> {
    immuta::import(documents)
}
