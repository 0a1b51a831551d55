//! What clients are told: the one table from refusals to SQLSTATE codes, and the gateway's own conditions.

use pgwire::messages::response::{ErrorResponse, NoticeResponse};
use weir_guard::{Outside, Refusal, Wrong};

/// Longest text of one field of an error, in bytes.
const FIELD_BYTES_MAX: usize = 8 * 1024;

/// An error, fatal error or warning as it goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    severity: Severity,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    detail: Option<String>,
    hint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Error,
    /// The connection ends after it.
    Fatal,
    Warning,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
            Severity::Warning => "WARNING",
        }
    }
}

/// SQLSTATE codes, by PostgreSQL's names for them.
pub(crate) mod code {
    pub(crate) const PROTOCOL_VIOLATION: &str = "08P01";
    pub(crate) const FEATURE_NOT_SUPPORTED: &str = "0A000";
    pub(crate) const DATA_EXCEPTION: &str = "22000";
    pub(crate) const DATETIME_OUT_OF_RANGE: &str = "22008";
    pub(crate) const DIVISION_BY_ZERO: &str = "22012";
    pub(crate) const NOT_IN_REPERTOIRE: &str = "22021";
    pub(crate) const INVALID_PARAMETER_VALUE: &str = "22023";
    pub(crate) const INVALID_TEXT: &str = "22P02";
    pub(crate) const INVALID_BINARY: &str = "22P03";
    pub(crate) const ACTIVE_TRANSACTION: &str = "25001";
    pub(crate) const READ_ONLY_TRANSACTION: &str = "25006";
    pub(crate) const NO_TRANSACTION: &str = "25P01";
    pub(crate) const FAILED_TRANSACTION: &str = "25P02";
    pub(crate) const IDLE_IN_TRANSACTION: &str = "25P03";
    pub(crate) const INVALID_STATEMENT_NAME: &str = "26000";
    pub(crate) const INVALID_AUTHORIZATION: &str = "28000";
    pub(crate) const INVALID_PASSWORD: &str = "28P01";
    pub(crate) const INVALID_CURSOR_NAME: &str = "34000";
    pub(crate) const INVALID_SAVEPOINT: &str = "3B001";
    pub(crate) const INVALID_CATALOG_NAME: &str = "3D000";
    pub(crate) const INVALID_SCHEMA_NAME: &str = "3F000";
    pub(crate) const INSUFFICIENT_PRIVILEGE: &str = "42501";
    pub(crate) const SYNTAX_ERROR: &str = "42601";
    pub(crate) const AMBIGUOUS_COLUMN: &str = "42702";
    pub(crate) const UNDEFINED_COLUMN: &str = "42703";
    pub(crate) const UNDEFINED_OBJECT: &str = "42704";
    pub(crate) const GROUPING_ERROR: &str = "42803";
    pub(crate) const UNDEFINED_FUNCTION: &str = "42883";
    pub(crate) const DUPLICATE_CURSOR: &str = "42P03";
    pub(crate) const DUPLICATE_STATEMENT: &str = "42P05";
    pub(crate) const UNDEFINED_TABLE: &str = "42P01";
    pub(crate) const TOO_MANY_CONNECTIONS: &str = "53300";
    pub(crate) const LIMIT_EXCEEDED: &str = "53400";
    pub(crate) const PROGRAM_LIMIT: &str = "54000";
    pub(crate) const CANNOT_CHANGE_NOW: &str = "55P02";
    pub(crate) const QUERY_CANCELED: &str = "57014";
    pub(crate) const IDLE_SESSION: &str = "57P05";
    pub(crate) const ADMIN_SHUTDOWN: &str = "57P01";
    pub(crate) const CANNOT_CONNECT_NOW: &str = "57P03";
    pub(crate) const INTERNAL: &str = "XX000";
}

impl Told {
    pub(crate) fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), detail: None, hint: None }
    }

    /// The connection ends after it.
    pub(crate) fn fatal(code: &'static str, message: impl Into<String>) -> Self {
        Self::error(code, message).into_fatal()
    }

    pub(crate) fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    pub(crate) fn into_fatal(self) -> Self {
        Self { severity: Severity::Fatal, ..self }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(crate) fn statement_timeout() -> Self {
        Self::error(code::QUERY_CANCELED, "canceling statement due to statement timeout")
    }

    pub(crate) fn cancelled() -> Self {
        Self::from_outside(&Outside::Cancelled)
    }

    pub(crate) fn unauthenticated() -> Self {
        Self::from_outside(&Outside::Unauthenticated).into_fatal()
    }

    pub(crate) fn shutdown() -> Self {
        Self::fatal(code::ADMIN_SHUTDOWN, "terminating connection because the server stops")
    }

    fn from_outside(outside: &Outside) -> Self {
        Self::error(sqlstate(outside), outside.text())
    }

    fn fields(&self) -> Vec<(u8, String)> {
        let word = self.severity.word();
        let mut fields = vec![
            (b'S', word.to_owned()),
            (b'V', word.to_owned()),
            (b'C', self.code.to_owned()),
            (b'M', field(&self.message)),
        ];
        fields.extend(self.detail.as_ref().map(|detail| (b'D', field(detail))));
        fields.extend(self.hint.as_ref().map(|hint| (b'H', field(hint))));
        fields
    }

    pub(crate) fn response(&self) -> ErrorResponse {
        ErrorResponse::new(self.fields())
    }

    pub(crate) fn notice(&self) -> NoticeResponse {
        NoticeResponse::new(self.fields())
    }
}

/// The outer half of the refusal; the inner half stays here.
impl From<&Refusal> for Told {
    fn from(refusal: &Refusal) -> Self {
        let hint = match refusal.outside() {
            Outside::Invalid { hint, .. } => hint.clone(),
            Outside::Unauthenticated
            | Outside::NotFound { .. }
            | Outside::Forbidden { .. }
            | Outside::Unsupported { .. }
            | Outside::TooMuch { .. }
            | Outside::Data { .. }
            | Outside::Cancelled
            | Outside::Revoked
            | Outside::Unavailable
            | Outside::Internal => None,
        };
        Self {
            hint,
            detail: refusal.request().map(|request| format!("request {request}")),
            ..Self::from_outside(refusal.outside())
        }
    }
}

/// The refusal table of this protocol.
fn sqlstate(outside: &Outside) -> &'static str {
    match outside {
        Outside::Unauthenticated => code::INVALID_PASSWORD,
        Outside::NotFound { .. } => code::UNDEFINED_TABLE,
        Outside::Forbidden { .. } => code::INSUFFICIENT_PRIVILEGE,
        Outside::Invalid { wrong, .. } => match wrong {
            Wrong::Statement => code::SYNTAX_ERROR,
            Wrong::Column => code::UNDEFINED_COLUMN,
            Wrong::Ambiguous => code::AMBIGUOUS_COLUMN,
            Wrong::Function => code::UNDEFINED_FUNCTION,
            Wrong::Schema => code::INVALID_SCHEMA_NAME,
            Wrong::Object => code::UNDEFINED_OBJECT,
            Wrong::Grouping => code::GROUPING_ERROR,
        },
        Outside::Unsupported { .. } => code::FEATURE_NOT_SUPPORTED,
        Outside::TooMuch { .. } => code::LIMIT_EXCEEDED,
        Outside::Data { text } => data_sqlstate(text),
        Outside::Cancelled => code::QUERY_CANCELED,
        Outside::Revoked => code::INSUFFICIENT_PRIVILEGE,
        Outside::Unavailable => code::CANNOT_CONNECT_NOW,
        Outside::Internal => code::INTERNAL,
    }
}

fn data_sqlstate(text: &str) -> &'static str {
    let text = text.to_ascii_lowercase();
    if text.contains("division by zero") || text.contains("divide by zero") {
        code::DIVISION_BY_ZERO
    } else if text.contains("invalid input") || text.contains("cannot cast") {
        code::INVALID_TEXT
    } else {
        code::DATA_EXCEPTION
    }
}

/// A field's text: no zero byte, which would end it early, and not longer than a client can be expected to take.
fn field(text: &str) -> String {
    let mut out = text.replace('\0', "\u{fffd}");
    if out.len() > FIELD_BYTES_MAX {
        out.truncate(out.floor_char_boundary(FIELD_BYTES_MAX));
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use weir_guard::Truth;
    use weir_model::RequestId;

    use super::*;

    #[test]
    fn every_refusal_has_its_code() {
        let text = || "x".to_owned();
        let table = [
            (Outside::Unauthenticated, "28P01"),
            (Outside::NotFound { text: text() }, "42P01"),
            (Outside::Forbidden { text: text() }, "42501"),
            (Outside::Invalid { text: text(), hint: None, wrong: Wrong::Statement }, "42601"),
            (Outside::Invalid { text: text(), hint: None, wrong: Wrong::Column }, "42703"),
            (Outside::Invalid { text: text(), hint: None, wrong: Wrong::Ambiguous }, "42702"),
            (Outside::Invalid { text: text(), hint: None, wrong: Wrong::Function }, "42883"),
            (Outside::Invalid { text: text(), hint: None, wrong: Wrong::Object }, "42704"),
            (Outside::Invalid { text: text(), hint: None, wrong: Wrong::Schema }, "3F000"),
            (Outside::Invalid { text: text(), hint: None, wrong: Wrong::Grouping }, "42803"),
            (Outside::Unsupported { text: text() }, "0A000"),
            (Outside::TooMuch { text: text() }, "53400"),
            (Outside::Data { text: text() }, "22000"),
            (Outside::Data { text: "division by zero".to_owned() }, "22012"),
            (Outside::Data { text: "invalid input for `integer`".to_owned() }, "22P02"),
            (Outside::Cancelled, "57014"),
            (Outside::Revoked, "42501"),
            (Outside::Unavailable, "57P03"),
            (Outside::Internal, "XX000"),
        ];
        for (outside, code) in table {
            let text = outside.text().to_owned();
            let told = Told::from(&Refusal::new(outside, Truth::Bug, "the truth"));
            assert_eq!((told.code, told.message.as_str()), (code, text.as_str()));
        }
    }

    #[test]
    fn only_the_outer_half_is_told() {
        let request = RequestId::new_at(1_700_000_000_000);
        let refusal = Refusal::new(
            Outside::Invalid {
                text: "no such thing".to_owned(),
                hint: Some("try `y`".to_owned()),
                wrong: Wrong::Statement,
            },
            Truth::Unseen,
            "hidden column ssn",
        )
        .of_request(request);
        let fields = Told::from(&refusal).fields();
        assert!(fields.contains(&(b'H', "try `y`".to_owned())));
        assert!(fields.contains(&(b'D', format!("request {request}"))));
        assert!(fields.iter().all(|(_, text)| !text.contains("ssn")));
    }

    #[test]
    fn a_field_cannot_end_early_or_be_endless() {
        let fields = Told::error(code::INTERNAL, format!("a\0b{}", "é".repeat(9000))).fields();
        let (_, message) = fields.iter().find(|(kind, _)| *kind == b'M').unwrap();
        assert!(!message.contains('\0'));
        assert!(message.len() < FIELD_BYTES_MAX + 8);
    }
}
