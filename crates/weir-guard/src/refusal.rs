//! What the outside hears when something is not done, and what the audit log hears.

use std::fmt;

use serde::{Deserialize, Serialize};
use weir_model::RequestId;

/// A refusal has two halves, and only the outer one can be printed: there is no `Display`, and `Debug` leaves the
/// inner half out.
pub struct Refusal {
    outside: Outside,
    inside: Inside,
    request: Option<RequestId>,
}

/// What the client is told. One table per protocol maps these to codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outside {
    /// Wrong name, wrong password, or no such person: all alike.
    Unauthenticated,
    /// A table, column, function or other thing that is missing or not to be seen: all alike.
    NotFound {
        text: String,
    },
    /// Something that this principal can see but not do.
    Forbidden {
        text: String,
    },
    /// The statement is wrong.
    Invalid {
        text: String,
        hint: Option<String>,
        wrong: Wrong,
    },
    /// A statement or feature that Weir does not do, by name.
    Unsupported {
        text: String,
    },
    /// A limit was reached.
    TooMuch {
        text: String,
    },
    /// An error that the data visible to this principal raises, such as a division by zero.
    Data {
        text: String,
    },
    Cancelled,
    /// What the statement may read was changed while it ran.
    Revoked,
    /// The decision could not be made or recorded.
    Unavailable,
    /// A defect; the log has the cause.
    Internal,
}

/// What is wrong about a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Its wording, or more than one thing.
    Statement,
    /// A column that does not exist.
    Column,
    /// A name that may mean several columns.
    Ambiguous,
    /// A function or operator that does not exist, or not for these arguments.
    Function,
    /// A schema that does not exist.
    Schema,
    /// A type, role, setting or other thing that does not exist.
    Object,
    /// A column beside aggregates that is not grouped by.
    Grouping,
}

impl Outside {
    /// The main line: lower case, no period.
    pub fn text(&self) -> &str {
        match self {
            Outside::Unauthenticated => "password authentication failed",
            Outside::NotFound { text }
            | Outside::Forbidden { text }
            | Outside::Invalid { text, .. }
            | Outside::Unsupported { text }
            | Outside::TooMuch { text }
            | Outside::Data { text } => text,
            Outside::Cancelled => "canceling statement due to user request",
            Outside::Revoked => "access to what this statement reads was changed while it ran",
            Outside::Unavailable => "access cannot be decided or recorded at the moment",
            Outside::Internal => "internal error",
        }
    }
}

/// For the audit log and the log only.
#[derive(Clone, Debug)]
pub struct Inside {
    pub truth: Truth,
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Truth {
    /// There is no such thing.
    Missing,
    /// There is, and the principal may not see it.
    Unseen,
    /// Seen, and not permitted.
    Denied,
    /// Not understood, or not done by Weir.
    Unsupported,
    /// The statement is wrong.
    Invalid,
    /// A limit was reached.
    Limit,
    /// Somebody cancelled it.
    Cancelled,
    /// A change ended it.
    Revoked,
    /// A port did not answer.
    Unavailable,
    /// The engine or the data failed.
    EngineFailed,
    /// A defect in Weir.
    Bug,
}

impl Truth {
    pub fn as_str(self) -> &'static str {
        match self {
            Truth::Missing => "missing",
            Truth::Unseen => "unseen",
            Truth::Denied => "denied",
            Truth::Unsupported => "unsupported",
            Truth::Invalid => "invalid",
            Truth::Limit => "limit",
            Truth::Cancelled => "cancelled",
            Truth::Revoked => "revoked",
            Truth::Unavailable => "unavailable",
            Truth::EngineFailed => "engine-failed",
            Truth::Bug => "bug",
        }
    }
}

impl Refusal {
    pub fn new(outside: Outside, truth: Truth, detail: impl Into<String>) -> Self {
        Self { outside, inside: Inside { truth, detail: detail.into() }, request: None }
    }

    /// What the client asked is wrong; the text is safe for it and true.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::wrong(Wrong::Statement, text)
    }

    /// As [`Self::invalid`], and says what about it.
    pub fn wrong(wrong: Wrong, text: impl Into<String>) -> Self {
        let text = text.into();
        Self::new(Outside::Invalid { text: text.clone(), hint: None, wrong }, Truth::Invalid, text)
    }

    pub fn unsupported(text: impl Into<String>) -> Self {
        let text = text.into();
        Self::new(Outside::Unsupported { text: text.clone() }, Truth::Unsupported, text)
    }

    pub fn unavailable(cause: impl fmt::Display) -> Self {
        Self::new(Outside::Unavailable, Truth::Unavailable, cause.to_string())
    }

    /// A defect: the detail goes to the log and the audit log only.
    pub fn bug(detail: impl Into<String>) -> Self {
        Self::new(Outside::Internal, Truth::Bug, detail)
    }

    pub fn of_request(mut self, request: RequestId) -> Self {
        self.request = Some(request);
        self
    }

    pub fn outside(&self) -> &Outside {
        &self.outside
    }

    /// Only for the audit log and the log.
    pub fn inside(&self) -> &Inside {
        &self.inside
    }

    /// By which the client's words can be found in the audit log.
    pub fn request(&self) -> Option<RequestId> {
        self.request
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("outside", &self.outside)
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}
