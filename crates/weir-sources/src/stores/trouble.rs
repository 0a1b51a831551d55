//! What stores say when something goes wrong, for whoever governs: what it was, at which place, and never a secret.

use std::error::Error as _;
use std::fmt;

use object_store::Error;
use weir_model::Secret;

/// In the place of what a store said.
#[derive(Debug)]
struct Trouble(String);

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Trouble {}

/// An error of the store with another text. `what` says where it was.
pub(crate) fn trouble(what: &str, secret: Option<&Secret>, e: Error) -> Error {
    match &e {
        Error::Generic { source, .. } if source.is::<Trouble>() => e,
        _ => Error::Generic { store: "store", source: Box::new(Trouble(told(what, secret, &e))) },
    }
}

/// What the text of [`trouble`] is.
pub(crate) fn told(what: &str, secret: Option<&Secret>, e: &Error) -> String {
    let detail = clean(&chain(e), secret);
    let says = |parts: &[&str]| parts.iter().any(|part| detail.contains(part));
    let kind = match e {
        Error::NotFound { .. } => "is not there",
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => "is denied to Weir",
        Error::Precondition { .. } | Error::NotModified { .. } => "was changed after the statement was planned",
        Error::NotSupported { .. } | Error::NotImplemented { .. } => "is of a store that cannot do what is needed",
        // Errors of listings have no kind of their own.
        _ if says(&["status code: 401", "status code: 403"]) => "is denied to Weir",
        _ if says(&["status code: 404"]) => "is not there",
        // It does not reach to where it reached.
        _ if says(&["status code: 416"]) => "was changed after the statement was planned",
        _ if says(&["timed out", "Timed out"]) => "was not answered for in time",
        _ if says(&["onnect", "dns error"]) => "is of a store that cannot be reached",
        _ => "cannot be read",
    };
    format!("{what} {kind}: {detail}")
}

/// The message and those of its causes that say something more.
fn chain(e: &Error) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(e) = cause {
        let more = e.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = e.source();
    }
    text
}

/// One line, of bounded length, without queries of URLs, in which signatures are, and without the secret.
fn clean(text: &str, secret: Option<&Secret>) -> String {
    let words = text.split_whitespace().map(|word| match (word.find("://"), word.find('?')) {
        (Some(start), Some(query)) if start < query => word.get(..query).unwrap_or_default(),
        _ => word,
    });
    let mut text = words.collect::<Vec<_>>().join(" ");
    for part in secret.iter().flat_map(|secret| secret.expose().split(|byte| byte.is_ascii_whitespace())) {
        if let Ok(part) = std::str::from_utf8(part)
            && part.len() >= SECRET_LENGTH_MIN
        {
            text = text.replace(part, "…");
        }
    }
    text.chars().take(TEXT_LENGTH_MAX).collect()
}

/// What is shorter would be found everywhere.
const SECRET_LENGTH_MIN: usize = 4;
const TEXT_LENGTH_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_secrets_nor_signatures_are_told() {
        let source = "GET https://a.example/b?sig=abc%2F failed: key hunter2 is wrong\nand more".into();
        let told = trouble("`b`", Some(&Secret::new("hunter2")), Error::PermissionDenied { path: "b".into(), source });
        let told = told.to_string();
        assert!(told.contains("`b` is denied to Weir") && told.contains("https://a.example/b failed"), "{told}");
        assert!(!told.contains("sig=") && !told.contains("hunter2") && !told.contains('\n'), "{told}");
    }

    #[test]
    fn what_was_told_once_is_not_told_again() {
        let one = trouble("`b`", None, Error::NotFound { path: "b".into(), source: "gone".into() });
        let text = one.to_string();
        assert_eq!(trouble("`c`", None, one).to_string(), text);
    }
}
