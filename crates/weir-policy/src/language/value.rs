//! What both spellings hold to: rules for values, and the shape of conditions.

use crate::ast::{At, Condition, Policy};
use crate::diagnostic::{Diagnostic, Span};

use super::cursor::{Read, short};

/// Longest title, in bytes.
const TITLE_BYTES_MAX: usize = 255;

/// Largest compiled regular expression, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

pub(super) fn title(title: &str, span: Span) -> Read<String> {
    let why = if title.chars().any(char::is_control) {
        "has a control character"
    } else if title.len() > TITLE_BYTES_MAX {
        "is longer than 255 bytes"
    } else {
        return Ok(title.to_owned());
    };
    Err(Box::new(Diagnostic::error("policy::invalid-value", format!("title `{}` {why}", short(title))).at(span)))
}

pub(super) fn check_regex(pattern: &str, span: Span) -> Read<()> {
    let why = match regex::RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build() {
        Ok(_) => return Ok(()),
        Err(regex::Error::CompiledTooBig(_)) => "it is too large".to_owned(),
        // The last line of the message is the cause; those before draw the place.
        Err(error) => error.to_string().lines().last().unwrap_or("").trim_start_matches("error: ").to_owned(),
    };
    let message = format!("`{}` is not a regular expression", short(pattern));
    Err(Box::new(Diagnostic::error("policy::invalid-regex", message).at(span).label(why)))
}

/// A positive decimal number such as `100` or `0.25`.
pub(super) fn check_bucket(number: &str, span: Span) -> Read<()> {
    let decimal = number.chars().all(|c| c.is_ascii_digit() || c == '.');
    if decimal && number.chars().any(|c| c.is_ascii_digit() && c != '0') {
        return Ok(());
    }
    let message = format!("`{}` is nothing to round to", short(number));
    let error = Diagnostic::error("policy::invalid-value", message).at(span);
    Err(Box::new(error.help("write a number above zero without an exponent, such as `100` or `0.25`")))
}

/// Holds when one of the parts does.
pub(super) fn any_of(parts: Vec<Condition>) -> Condition {
    let parts = parts.into_iter().flat_map(|part| if let Condition::Any(inner) = part { inner } else { vec![part] });
    single(parts.collect(), Condition::Any)
}

/// Holds when every part does.
pub(super) fn all_of(parts: Vec<Condition>) -> Condition {
    let parts = parts.into_iter().flat_map(|part| if let Condition::All(inner) = part { inner } else { vec![part] });
    single(parts.collect(), Condition::All)
}

fn single(mut parts: Vec<Condition>, several: fn(Vec<Condition>) -> Condition) -> Condition {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            several(parts)
        }
    }
}

pub(super) fn duplicate_key(policy: &At<Policy>) -> Diagnostic {
    let message = format!("two policies have the key `{}`", policy.node.key);
    Diagnostic {
        at: policy.span,
        ..Diagnostic::error("policy::duplicate-key", message)
            .label("the second one")
            .help("give each its own key: `policy key:` before the sentence, or `policy: key` in YAML")
    }
}

pub(super) fn mixed_actions(span: Span) -> Diagnostic {
    Diagnostic::error("policy::mixed-actions", "one policy either masks columns or shows rows, not both")
        .at(span)
        .help("write two policies")
}
