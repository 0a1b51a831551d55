//! What is told to the person at the terminal, and asked of her.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};

use anyhow::{Context as _, bail};
use console::Term;
use miette::{GraphicalReportHandler, GraphicalTheme, NamedSource, Report};
use weir_model::Secret;
use weir_policy::Diagnostic;

/// `error: …`, then the causes.
pub(crate) fn error(error: &anyhow::Error, color: bool) -> String {
    let label = if color { "\u{1b}[1;31merror:\u{1b}[0m" } else { "error:" };
    let mut text = format!("{label} {error}");
    let mut last = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Some libraries repeat the cause in their own message.
        if !last.contains(&cause) {
            // Writing to a text cannot fail.
            let _ = write!(text, "\n  because: {cause}");
        }
        last = cause;
    }
    text
}

/// The diagnostic with the place in the text that it is about.
pub(crate) fn diagnostic(diagnostic: &Diagnostic, name: &str, text: &str, color: bool) -> String {
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let width = Term::stderr().size_checked().map_or(100, |(_, columns)| usize::from(columns));
    let handler = GraphicalReportHandler::new_themed(theme).with_width(width);
    let report = Report::new(diagnostic.clone()).with_source_code(NamedSource::new(name, text.to_owned()));
    let mut rendered = String::new();
    match handler.render_report(&mut rendered, report.as_ref()) {
        Ok(()) => rendered,
        Err(_) => diagnostic.to_string(),
    }
}

/// Whether somebody is there to be asked.
pub(crate) fn is_attended() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a yes; nothing else is one.
///
/// # Errors
/// When nobody is there to be asked.
pub(crate) fn confirm(question: &str) -> anyhow::Result<bool> {
    if !is_attended() {
        bail!("nobody is there to confirm it\nhelp: --yes does it without asking");
    }
    let term = Term::stderr();
    term.write_str(&format!("{question} [y/N] "))?;
    let answer = term.read_line().context("cannot read the answer")?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// Asks without showing what is typed.
pub(crate) fn ask_password(prompt: &str) -> anyhow::Result<Secret> {
    let term = Term::stderr();
    term.write_str(prompt)?;
    let password = term.read_secure_line().context("cannot read the password")?;
    Ok(Secret::new(password))
}

/// The first line of a file.
pub(crate) fn password_from_file(path: &std::path::Path) -> anyhow::Result<Secret> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        bail!("the first line of {} is empty and no password", path.display());
    }
    Ok(Secret::new(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        let e = anyhow::anyhow!("no such host").context("cannot connect: no such host").context("cannot start");
        assert_eq!(error(&e, false), "error: cannot start\n  because: cannot connect: no such host");
    }
}
