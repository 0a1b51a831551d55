//! What is read, and how much of it.

use crate::error::Error;
use crate::tree::{self, Node};

/// Longest document, in bytes.
const BYTES_MAX: usize = 8 << 20;

/// All documents of one import together, in bytes.
const TOTAL_BYTES_MAX: usize = 32 << 20;

/// One file of an import.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    /// What to call it in errors and in the report.
    pub name: &'a str,
    pub bytes: &'a [u8],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    /// JSON is read as such, for its errors say more.
    YamlOrJson,
}

impl<'a> Document<'a> {
    /// The trees of the document: one of JSON, or one for each document of YAML.
    pub(crate) fn trees(&self, format: Format) -> Result<Vec<Node>, Error> {
        let text = self.text()?;
        let json = format == Format::Json || text.trim_start().starts_with(['{', '[']);
        let read = if json { tree::json(text).map(|node| vec![node]) } else { tree::yaml(text) };
        read.map_err(|(place, message)| Error::new(self.name, place, message))
    }

    fn text(&self) -> Result<&'a str, Error> {
        if self.bytes.len() > BYTES_MAX {
            let message = format!("the file has {} bytes; at most {BYTES_MAX} are read", self.bytes.len());
            return Err(Error::new(self.name, "", message));
        }
        let text = std::str::from_utf8(self.bytes).map_err(|error| {
            let line = 1 + self.bytes.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count();
            Error::new(self.name, format!("line {line}"), "the file is not UTF-8")
        })?;
        Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
    }
}

/// Refuses more than is ever read at once.
pub(crate) fn check_total(documents: &[Document<'_>]) -> Result<(), Error> {
    let total: usize = documents.iter().map(|document| document.bytes.len()).sum();
    if total <= TOTAL_BYTES_MAX {
        return Ok(());
    }
    let message = format!("the files have {total} bytes together; at most {TOTAL_BYTES_MAX} are read at once");
    Err(Error::new(documents.last().map_or("", |document| document.name), "", message))
}
