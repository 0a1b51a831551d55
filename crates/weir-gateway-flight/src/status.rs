//! What clients are told: the one table from refusals to gRPC codes.

use std::fmt;

use tonic::{Code, Status};
use weir_guard::{Outside, Refusal};

/// Longest text of an error, in bytes; it travels in a header.
const TEXT_BYTES_MAX: usize = 2 * 1024;

/// The outer half of the refusal; the inner half stays here.
pub(crate) fn told(refusal: &Refusal) -> Status {
    let inside = refusal.inside();
    tracing::debug!(truth = inside.truth.as_str(), detail = inside.detail, "refused");
    let outside = refusal.outside();
    let mut text = outside.text().to_owned();
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    if let Outside::Invalid { hint: Some(hint), .. } = outside {
        text.push_str("; ");
        text.push_str(hint);
    }
    if let Some(request) = refusal.request() {
        text.push_str(&format!(" (request {request})"));
    }
    Status::new(code(outside), text)
}

/// The refusal table of this protocol.
fn code(outside: &Outside) -> Code {
    match outside {
        Outside::Unauthenticated => Code::Unauthenticated,
        Outside::NotFound { .. } => Code::NotFound,
        Outside::Forbidden { .. } => Code::PermissionDenied,
        Outside::Invalid { .. } | Outside::Data { .. } => Code::InvalidArgument,
        Outside::Unsupported { .. } => Code::Unimplemented,
        Outside::TooMuch { .. } => Code::ResourceExhausted,
        Outside::Cancelled => Code::Cancelled,
        Outside::Revoked => Code::Aborted,
        Outside::Unavailable => Code::Unavailable,
        Outside::Internal => Code::Internal,
    }
}

/// A defect: the cause goes to the log only.
pub(crate) fn defect(cause: &dyn fmt::Display) -> Status {
    tracing::error!(%cause, "an answer could not be made");
    told(&Refusal::bug(cause.to_string()))
}

pub(crate) fn unauthenticated() -> Status {
    Status::unauthenticated(Outside::Unauthenticated.text())
}

/// What Flight or Flight SQL has and this door has not.
pub(crate) fn unsupported(what: &str) -> Status {
    Status::unimplemented(format!("{what} is not supported"))
}

pub(crate) fn malformed(what: &str) -> Status {
    Status::invalid_argument(format!("malformed {what}"))
}

pub(crate) fn stopping() -> Status {
    Status::unavailable("the server stops")
}
