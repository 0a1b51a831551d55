//! From what the engine says to what the client hears.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};
use weir_guard::{Outside, Refusal, Truth, Wrong};
use weir_model::SourceName;

/// A failure below the barrier. Prints the names of the sources only; the cause is for the audit log.
pub(crate) struct SourceFault {
    sources: Arc<[SourceName]>,
    cause: String,
}

impl SourceFault {
    pub(crate) fn new(source: SourceName, cause: &dyn fmt::Display) -> Self {
        Self::of(Arc::new([source]), cause)
    }

    /// Of several that are read together.
    pub(crate) fn of(sources: Arc<[SourceName]>, cause: &dyn fmt::Display) -> Self {
        Self { sources, cause: cause.to_string() }
    }
}

impl From<SourceFault> for DataFusionError {
    fn from(fault: SourceFault) -> Self {
        DataFusionError::External(Box::new(fault))
    }
}

impl fmt::Display for SourceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sources.as_ref() {
            [source] => write!(f, "data source `{source}` cannot be read"),
            sources => {
                let names: Vec<String> = sources.iter().map(|source| format!("`{source}`")).collect();
                write!(f, "data sources {} cannot be read", names.join(", "))
            }
        }
    }
}

impl fmt::Debug for SourceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for SourceFault {}

/// The refusal for an engine's error. Values in the text are such as the statement could see: below the barrier every
/// error has become a [`SourceFault`] already. Texts of errors that may name files are not passed on.
pub(crate) fn refusal(error: &DataFusionError) -> Refusal {
    let root = error.find_root();
    let text = one_line(&root.strip_backtrace());
    let data = |text: String| Refusal::new(Outside::Data { text: text.clone() }, Truth::EngineFailed, text);
    match root {
        DataFusionError::SQL(e, _) => {
            Refusal::invalid(lower_first(&one_line(&e.to_string()).replace("sql parser error: ", "")))
        }
        DataFusionError::SchemaError(e, _) => schema_refusal(e),
        DataFusionError::Plan(message) => plan_refusal(message),
        DataFusionError::NotImplemented(message) => not_implemented(message),
        DataFusionError::Configuration(message) => Refusal::invalid(lower_first(&one_line(message))),
        DataFusionError::Execution(message) => data(lower_first(&one_line(message))),
        DataFusionError::ArrowError(e, _) => match e.as_ref() {
            ArrowError::DivideByZero => data("division by zero".to_owned()),
            ArrowError::CastError(message)
            | ArrowError::ParseError(message)
            | ArrowError::ComputeError(message)
            | ArrowError::ArithmeticOverflow(message)
            | ArrowError::InvalidArgumentError(message) => data(lower_first(&one_line(message))),
            ArrowError::NotYetImplemented(message) => Refusal::unsupported(lower_first(&one_line(message))),
            ArrowError::ExternalError(_)
            | ArrowError::SchemaError(_)
            | ArrowError::MemoryError(_)
            | ArrowError::CsvError(_)
            | ArrowError::JsonError(_)
            | ArrowError::AvroError(_)
            | ArrowError::IoError(_, _)
            | ArrowError::IpcError(_)
            | ArrowError::ParquetError(_)
            | ArrowError::CDataInterface(_)
            | ArrowError::DictionaryKeyOverflowError
            | ArrowError::RunEndIndexOverflowError
            | ArrowError::OffsetOverflowError(_) => unreadable(&text),
        },
        DataFusionError::ResourcesExhausted(_) => too_big(&text),
        DataFusionError::External(cause) => match cause.downcast_ref::<SourceFault>() {
            Some(fault) => {
                Refusal::new(Outside::Data { text: fault.to_string() }, Truth::EngineFailed, one_line(&fault.cause))
            }
            None => match cause.downcast_ref::<NotThere>() {
                Some(NotThere { outside }) => Refusal::new(outside.clone(), Truth::Missing, outside.text()),
                None => Refusal::bug(text),
            },
        },
        DataFusionError::ParquetError(_) | DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => {
            unreadable(&text)
        }
        DataFusionError::Internal(_)
        | DataFusionError::ExecutionJoin(_)
        | DataFusionError::Substrait(_)
        | DataFusionError::Context(_, _)
        | DataFusionError::Diagnostic(_, _)
        | DataFusionError::Collection(_)
        | DataFusionError::Shared(_)
        | DataFusionError::Ffi(_) => Refusal::bug(text),
    }
}

/// The refusal for an error of physical planning. Names and types were bound before, so what is wrong here is the
/// engine; its text may print plans, and with them conditions of policies and paths.
pub(crate) fn planning_refusal(error: &DataFusionError) -> Refusal {
    let told = refusal(error);
    match told.outside() {
        Outside::Data { .. } | Outside::TooMuch { .. } | Outside::Unavailable => told,
        Outside::Unsupported { .. } => Refusal::new(
            Outside::Unsupported { text: "the engine does not support this statement".to_owned() },
            Truth::Unsupported,
            told.inside().detail.clone(),
        ),
        Outside::Unauthenticated
        | Outside::NotFound { .. }
        | Outside::Forbidden { .. }
        | Outside::Invalid { .. }
        | Outside::Cancelled
        | Outside::Revoked
        | Outside::Internal => Refusal::bug(told.inside().detail.clone()),
    }
}

fn too_big(detail: &str) -> Refusal {
    let text = "the statement needs more memory or disk than it may use".to_owned();
    Refusal::new(Outside::TooMuch { text }, Truth::Limit, detail)
}

fn unreadable(detail: &str) -> Refusal {
    // The engine has no kind of its own for a full share of the disk.
    if detail.contains("used disk space during the spilling process has exceeded") {
        return too_big(detail);
    }
    Refusal::new(
        Outside::Data { text: "a data source of this statement cannot be read".to_owned() },
        Truth::EngineFailed,
        detail,
    )
}

fn schema_refusal(error: &SchemaError) -> Refusal {
    let text = lower_first(&one_line(&error.to_string()));
    match error {
        SchemaError::FieldNotFound { field, .. } => {
            Refusal::wrong(Wrong::Column, format!("column `{}` does not exist", field.flat_name()))
        }
        SchemaError::AmbiguousReference { .. } => Refusal::wrong(Wrong::Ambiguous, text),
        SchemaError::DuplicateQualifiedField { .. } | SchemaError::DuplicateUnqualifiedField { .. } => {
            Refusal::invalid(text)
        }
    }
}

/// A type that the planner does not know is one that it does not implement.
fn not_implemented(message: &str) -> Refusal {
    let text = lower_first(&one_line(message));
    match text.strip_prefix("unsupported SQL type ") {
        Some(name) => Refusal::wrong(Wrong::Object, format!("type `{name}` does not exist")),
        None => Refusal::unsupported(text),
    }
}

/// DataFusion has no kind of its own for a missing table, a missing function, or a column that is not grouped by.
fn plan_refusal(message: &str) -> Refusal {
    let text = lower_first(&one_line(message));
    // Of several names that are as near, the engine finds another one each time.
    let text = text.split_once(". Did you mean ").map_or(text.as_str(), |(said, _)| said).to_owned();
    match text.strip_prefix("table '").and_then(|rest| rest.split_once("' not found")) {
        Some((name, _)) => not_found(name.strip_prefix("weir.").unwrap_or(name)),
        None => Refusal::wrong(wrong(&text), text),
    }
}

fn wrong(text: &str) -> Wrong {
    let of = [
        ("invalid function ", Wrong::Function),
        ("failed to coerce arguments ", Wrong::Function),
        ("function '", Wrong::Function),
        ("cannot infer common argument type ", Wrong::Function),
        ("column in ", Wrong::Grouping),
    ];
    of.into_iter().find(|(start, _)| text.starts_with(start)).map_or(Wrong::Statement, |(_, wrong)| wrong)
}

/// What functions of the catalogue say of a thing that the reader does not see: there is none.
#[derive(Debug)]
struct NotThere {
    outside: Outside,
}

impl fmt::Display for NotThere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.outside.text())
    }
}

impl Error for NotThere {}

fn not_there(outside: Outside) -> DataFusionError {
    DataFusionError::External(Box::new(NotThere { outside }))
}

fn no_object(kind: &str, name: &str, wrong: Wrong) -> DataFusionError {
    not_there(Outside::Invalid { text: format!("{kind} `{name}` does not exist"), hint: None, wrong })
}

pub(crate) fn missing_table(name: &str) -> DataFusionError {
    not_there(not_found(name).outside().clone())
}

pub(crate) fn missing_column(name: &str) -> DataFusionError {
    no_object("column", name, Wrong::Column)
}

pub(crate) fn missing_database(name: &str) -> DataFusionError {
    no_object("database", name, Wrong::Object)
}

pub(crate) fn missing_function(name: &str) -> DataFusionError {
    no_object("function", name, Wrong::Function)
}

pub(crate) fn missing_role(name: &str) -> DataFusionError {
    no_object("role", name, Wrong::Object)
}

pub(crate) fn missing_schema(name: &str) -> DataFusionError {
    no_object("schema", name, Wrong::Schema)
}

pub(crate) fn missing_setting(name: &str) -> DataFusionError {
    not_there(Outside::Invalid {
        text: format!("unrecognized configuration parameter `{name}`"),
        hint: None,
        wrong: Wrong::Object,
    })
}

pub(crate) fn missing_type(name: &str) -> DataFusionError {
    no_object("type", name, Wrong::Object)
}

/// The same whether there is no such table or the principal may not see it; the truth is filled in by who knows it.
pub(crate) fn not_found(name: &str) -> Refusal {
    let text = format!("table `{name}` does not exist");
    Refusal::new(Outside::NotFound { text: text.clone() }, Truth::Missing, text)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn lower_first(text: &str) -> String {
    let text = text.trim_end_matches('.');
    // Not of words such as `LIKE`.
    if text.chars().nth(1).is_some_and(char::is_uppercase) {
        return text.to_owned();
    }
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// An error with all its causes, for the audit log.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
