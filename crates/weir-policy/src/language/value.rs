//! What both spellings hold to: rules for values, and the shape of conditions.

use weir_model::{Permission, SourceName};

use crate::ast::{At, Condition, Method, Policy, TimeUnit};
use crate::diagnostic::{Diagnostic, Span};

use super::cursor::{Read, short, valid};
use super::{lexer, words};

/// Longest title, in bytes.
const TITLE_BYTES_MAX: usize = 255;

/// Longest text of a certification, in bytes.
const CERTIFIED_BYTES_MAX: usize = 2000;

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

/// The text or label of a certification: some words on one line.
pub(super) fn certified(text: &At<String>) -> Read<String> {
    let why = if text.node.trim().is_empty() {
        "is empty"
    } else if text.node.chars().any(char::is_control) {
        "has a control character"
    } else if text.node.len() > CERTIFIED_BYTES_MAX {
        "is longer than 2000 bytes"
    } else {
        return Ok(text.node.clone());
    };
    let message = format!("what is certified, `{}`, {why}", short(&text.node));
    Err(Box::new(Diagnostic::error("policy::invalid-value", message).at(text.span.unwrap_or_default())))
}

/// Whether each method may leave columns to the one after it.
pub(super) fn check_fallbacks(methods: &[At<Method>]) -> Read<()> {
    let wrong = |method: &At<Method>, message: &str, help: &str| {
        let error = Diagnostic::error("policy::fallback", message).at(method.span.unwrap_or_default());
        Err(Box::new(error.help(help)))
    };
    let Some((_, before_last)) = methods.split_last().filter(|(_, before)| !before.is_empty()) else { return Ok(()) };
    if let Some(method) = methods.iter().find(|method| matches!(method.node, Method::KAnonymous(_))) {
        let message = "k-anonymization has no fallback and is none: it masks its columns together";
        return wrong(method, message, "write a policy of its own");
    }
    match before_last.iter().find(|method| method.node == Method::Null) {
        None => Ok(()),
        Some(method) => wrong(method, "null fits every column, so that nothing comes after it", "put it last"),
    }
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
    if is_positive_decimal(number) {
        return Ok(());
    }
    let message = format!("`{}` is nothing to round to", short(number));
    let error = Diagnostic::error("policy::invalid-value", message).at(span);
    Err(Box::new(error.help("write a number above zero without an exponent, such as `100` or `0.25`")))
}

/// How far a value may be moved: a positive decimal number.
pub(super) fn check_distance(number: &str, span: Span) -> Read<()> {
    if is_positive_decimal(number) {
        return Ok(());
    }
    let message = format!("`{}` is no distance", short(number));
    let error = Diagnostic::error("policy::invalid-value", message).at(span);
    Err(Box::new(error.help("write a number above zero without an exponent, such as `5` or `0.5`")))
}

/// Above 0, and below 100 or, if `all` may be meant, at most that.
pub(super) fn check_percentage(number: &str, all: bool, span: Span) -> Read<()> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.trim_start_matches('0');
    let hundred = whole == "100" && fraction.chars().all(|c| c == '0');
    if is_positive_decimal(number) && (whole.len() < 3 || all && hundred) {
        return Ok(());
    }
    let most = if all { "at most" } else { "below" };
    let message = format!("`{}` is not a percentage above 0 and {most} 100", short(number));
    let error = Diagnostic::error("policy::invalid-value", message).at(span);
    Err(Box::new(error.help("write a number without a sign or an exponent, such as `25` or `0.5`")))
}

fn is_positive_decimal(number: &str) -> bool {
    let decimal = number.chars().all(|c| c.is_ascii_digit() || c == '.');
    decimal && lexer::number_len(number) == number.len() && number.chars().any(|c| c.is_ascii_digit() && c != '0')
}

/// In digits alone. Readers of YAML disagree about a zero before them.
pub(super) fn whole(number: &str, least: u32, span: Span) -> Read<u32> {
    if let Ok(whole) = number.parse::<u32>()
        && whole >= least
        && whole.to_string() == number
    {
        return Ok(whole);
    }
    let message = format!("`{}` is not a whole number from {least} to {}", short(number), u32::MAX);
    let error = Diagnostic::error("policy::invalid-value", message).at(span);
    Err(Box::new(error.help("write digits alone, such as `5`")))
}

pub(super) fn priority(number: &str, span: Span) -> Read<i32> {
    if let Ok(priority) = number.parse::<i32>()
        && priority.to_string() == number
    {
        return Ok(priority);
    }
    let error = Diagnostic::error("policy::invalid-value", format!("`{}` is no priority", short(number))).at(span);
    let right = format!("a priority is a whole number from {} to {}, such as `5`", i32::MIN, i32::MAX);
    Err(Box::new(error.help(right)))
}

pub(super) fn permission(name: &str, span: Span) -> Read<Permission> {
    let known = Permission::ALL.map(Permission::as_str);
    if let Some(permission) = Permission::ALL.into_iter().find(|permission| permission.as_str() == name) {
        return Ok(permission);
    }
    let help = match words::nearest(name, known) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("the permissions are {}", known.join(", ")),
    };
    let message = format!("there is no permission `{}`", short(name));
    Err(Box::new(Diagnostic::error("policy::unknown-permission", message).at(span).help(help)))
}

/// What can be the schema of a data source.
pub(super) fn schema(name: &str, span: Span) -> Read<At<String>> {
    valid(SourceName::new(name, "table"), span).map(|source| At::new(source.schema().to_owned(), span))
}

/// The unit as both spellings write it.
pub(super) fn plural(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Minute => "minutes",
        TimeUnit::Hour => "hours",
        TimeUnit::Day => "days",
        TimeUnit::Month => "months",
        TimeUnit::Year => "years",
    }
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
    let message = "one policy masks columns, shows rows or limits usage to purposes, and never two of these";
    Diagnostic::error("policy::mixed-actions", message).at(span).help("write two policies")
}

/// Whom a limit does not name would read without any purpose.
pub(super) fn inclusive_limit(span: Span) -> Diagnostic {
    let message = "usage is limited to purposes for everyone, or for everyone except some";
    Diagnostic::error("policy::not-supported", message)
        .at(span)
        .help("say who is excused: `for everyone except when …`, or `for: {except: …}` in YAML")
}
