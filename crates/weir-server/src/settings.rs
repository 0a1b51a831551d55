//! Settings in three forms: as written (defaults, file, environment, flags), merged, and resolved to types. The code
//! sees the resolved form only, by argument.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use weir_query::UserLimits;

mod definition;
mod merged;
mod reference;
mod written;

pub(crate) use definition::definitions;
pub(crate) use merged::Merged;
pub(crate) use reference::reference;
use written::Given;

/// What settings are read from, strongest first.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    /// Setting key, flag and value.
    pub(crate) flags: Vec<Flag>,
    /// The process environment.
    pub(crate) environment: Vec<(String, String)>,
    /// The file to read; without it, `weir.toml` in the data directory if there is one.
    pub(crate) file: Option<PathBuf>,
    /// Instead of the default of `data_dir`.
    pub(crate) data_dir_default: Option<&'static str>,
}

/// A setting given on the command line.
#[derive(Debug)]
pub(crate) struct Flag {
    pub(crate) key: &'static str,
    pub(crate) flag: &'static str,
    pub(crate) value: String,
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Environment { variable: String },
    Flag { flag: &'static str },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Environment { variable } => write!(f, "environment variable {variable}"),
            Origin::Flag { flag } => write!(f, "flag {flag}"),
        }
    }
}

/// One thing that is wrong with the settings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) at: Origin,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Problem {
    fn new(at: Origin, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), help: None }
    }

    fn help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

/// Everything that is wrong with the settings, together.
#[derive(Debug, thiserror::Error)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings cannot be used")?;
        for problem in &self.0 {
            write!(f, "\n  {}: {}", problem.at, problem.message)?;
            if let Some(help) = &problem.help {
                write!(f, "\n    help: {help}")?;
            }
        }
        Ok(())
    }
}

/// The resolved form.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) data_dir: PathBuf,
    /// Absent: in the data directory.
    pub(crate) master_key: Option<PathBuf>,
    pub(crate) log: String,
    pub(crate) sql: SqlSettings,
    pub(crate) flight: FlightSettings,
    pub(crate) query: QuerySettings,
    pub(crate) workspaces: Workspaces,
}

#[derive(Debug)]
pub(crate) struct Workspaces {
    /// Absent: in the data directory.
    pub(crate) directory: Option<PathBuf>,
    pub(crate) bytes_max: u64,
}

#[derive(Debug)]
pub(crate) struct SqlSettings {
    /// `host:port`
    pub(crate) address: String,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) tls_required: bool,
    pub(crate) connections_max: usize,
    pub(crate) startup_timeout: Duration,
}

#[derive(Debug)]
pub(crate) struct FlightSettings {
    /// `host:port`
    pub(crate) address: String,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) connections_max: usize,
    pub(crate) token_lifetime: Duration,
}

/// PEM files.
#[derive(Debug)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Clients have to show certificates of these.
    pub(crate) client_ca: Option<PathBuf>,
}

#[derive(Debug)]
pub(crate) struct QuerySettings {
    pub(crate) memory_bytes_max: usize,
    /// At least 1.
    pub(crate) partitions: usize,
    pub(crate) statement_bytes_max: usize,
    pub(crate) user: UserLimits,
}

/// Reads, merges and resolves. All problems are reported together.
pub(crate) fn load(inputs: &Inputs) -> Result<(Settings, Merged), Problems> {
    let mut problems = Vec::new();
    let merged = written::read(inputs, &mut problems);
    let settings = resolve(&merged, &mut problems);
    match settings {
        Some(settings) if problems.is_empty() => Ok((settings, merged)),
        _ => Err(Problems(problems)),
    }
}

fn resolve(merged: &Merged, problems: &mut Vec<Problem>) -> Option<Settings> {
    let file = |key| (key, merged.path(key));
    let files = [file("sql.tls_certificate"), file("sql.tls_key"), file("sql.tls_client_ca")];
    let tls = tls_files(merged, files, problems);
    let files = [file("flight.tls_certificate"), file("flight.tls_key"), file("flight.tls_client_ca")];
    let flight_tls = tls_files(merged, files, problems);
    let tls_required = merged.boolean("sql.tls_required")?;
    if tls_required && tls.is_none() {
        problems.push(Problem::new(
            merged.origin("sql.tls_required"),
            "`sql.tls_required` is set without `sql.tls_certificate` and `sql.tls_key`",
        ));
    }
    let partitions = match merged.number("query.partitions")? {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        n => n,
    };
    Some(Settings {
        data_dir: merged.path("data_dir")?,
        master_key: merged.path("master_key"),
        log: merged.text("log")?,
        sql: SqlSettings {
            address: merged.text("sql.address")?,
            tls,
            tls_required,
            connections_max: merged.number("sql.connections_max")?,
            startup_timeout: Duration::from_secs(u64::try_from(merged.number("sql.startup_timeout_seconds")?).ok()?),
        },
        flight: FlightSettings {
            address: merged.text("flight.address")?,
            tls: flight_tls,
            connections_max: merged.number("flight.connections_max")?,
            token_lifetime: Duration::from_secs(u64::try_from(merged.number("flight.token_seconds")?).ok()?),
        },
        query: QuerySettings {
            memory_bytes_max: merged.number("query.memory_bytes_max")?,
            partitions,
            statement_bytes_max: merged.number("query.statement_bytes_max")?,
            user: UserLimits {
                statements_max: merged.number("query.user.statements_max")?,
                memory_bytes_max: merged.number("query.user.memory_bytes_max")?,
                spill_bytes_max: u64::try_from(merged.number("query.user.spill_bytes_max")?).ok()?,
                statement_time_max: Duration::from_secs(
                    u64::try_from(merged.number("query.user.statement_seconds_max")?).ok()?,
                ),
            },
        },
        workspaces: Workspaces {
            directory: merged.path("workspaces.directory"),
            bytes_max: u64::try_from(merged.number("workspaces.bytes_max")?).ok()?,
        },
    })
}

/// The files of a door: certificate and key, which come together, and the issuers of clients' certificates, who take both.
fn tls_files(merged: &Merged, files: [(&str, Option<PathBuf>); 3], problems: &mut Vec<Problem>) -> Option<TlsFiles> {
    let [(certificate_key, certificate), (key_key, key), (ca_key, client_ca)] = files;
    let missing = |given, what: String| Problem::new(merged.origin(given), format!("`{given}` is set without {what}"));
    let problem = match (certificate, key) {
        (Some(certificate), Some(key)) => return Some(TlsFiles { certificate, key, client_ca }),
        (Some(_), None) => missing(certificate_key, format!("`{key_key}`")),
        (None, Some(_)) => missing(key_key, format!("`{certificate_key}`")),
        (None, None) if client_ca.is_some() => missing(ca_key, format!("`{certificate_key}` and `{key_key}`")),
        (None, None) => return None,
    };
    problems.push(problem);
    None
}

#[cfg(test)]
mod tests;
