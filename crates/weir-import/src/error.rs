//! Why nothing of an input is imported.

/// Nothing is imported. Says which file, where in it, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {}{message}", if .place.is_empty() { String::new() } else { format!("{place}: ") })]
pub struct Error {
    /// What the caller called the document.
    pub file: String,
    /// `line 3, column 5`, or a path such as `policies[3].name`; empty for the whole.
    pub place: String,
    pub message: String,
}

impl Error {
    pub(crate) fn new(file: &str, place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), place: place.into(), message: message.into() }
    }
}

/// At most 64 characters of a text of the input, without what steers a terminal.
pub(crate) fn short(text: &str) -> String {
    let mut out: String = text.chars().filter(|c| !c.is_control()).take(64).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}
