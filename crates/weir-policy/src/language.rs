//! The two spellings of a policy, English sentences and YAML. Both read into the same [`Policy`] and are written from it,
//! and reading what was written gives the same policy again.
//!
//! `docs/policy-language.md` is the reference. What is not understood is an error that says what would be; nothing is
//! guessed.

mod cursor;
mod english;
mod lexer;
mod predicate;
pub(crate) mod print;
mod value;
mod words;
mod yaml;

use sha2::{Digest, Sha256};
use weir_model::PolicyKey;

use crate::ast::{Policy, Predicate, Statement};
use crate::diagnostic::{Diagnostic, Span};
pub(crate) use words::nearest;

/// Longest text with policies, in bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// After this many diagnostics the rest of a text is not read.
const DIAGNOSTICS_MAX: usize = 100;

/// Longest key that a sentence gets when it has no header, in bytes.
const DERIVED_KEY_BYTES_MAX: usize = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    English,
    Yaml,
}

/// What could be read of a text, and what was wrong with the rest. With an error among the diagnostics, nothing of
/// the text may be saved.
#[derive(Clone, Debug)]
pub struct Parsed {
    pub spelling: Spelling,
    pub policies: Vec<Policy>,
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads one or more policies, finding out the spelling by the first line that is no comment. A text without any policy
/// is an error.
pub fn parse(text: &str) -> Parsed {
    if looks_like_yaml(text) { parse_yaml(text) } else { parse_english(text) }
}

/// Reads one or more English sentences, each with or without a header.
pub fn parse_english(text: &str) -> Parsed {
    parsed(Spelling::English, text, english::policies)
}

/// Reads one or more YAML documents, each a policy or a list of them.
pub fn parse_yaml(text: &str) -> Parsed {
    parsed(Spelling::Yaml, text, yaml::policies)
}

/// Reads a predicate on its own.
pub fn parse_predicate(text: &str) -> Result<Predicate, Diagnostic> {
    check_size(text).and_then(|()| predicate::whole(lexer::tokens(text)).map_err(|diagnostic| *diagnostic))
}

fn parsed(spelling: Spelling, text: &str, read: fn(&str) -> (Vec<Policy>, Vec<Diagnostic>)) -> Parsed {
    let (policies, mut diagnostics) = match check_size(text) {
        Ok(()) => read(text),
        Err(diagnostic) => (Vec::new(), vec![diagnostic]),
    };
    if policies.is_empty() && diagnostics.is_empty() {
        let help = "write a sentence such as `Mask using hashing the column ssn for everyone`";
        diagnostics.push(Diagnostic::error("policy::empty", "there is no policy in the text").help(help));
    }
    Parsed { spelling, policies, diagnostics }
}

fn check_size(text: &str) -> Result<(), Diagnostic> {
    if text.len() <= TEXT_BYTES_MAX {
        return Ok(());
    }
    let message = format!("the text has {} bytes; at most {TEXT_BYTES_MAX} are read", text.len());
    Err(Diagnostic::error("policy::too-long", message).at(Span::new(0, 0)).help("split it into several texts"))
}

/// Sentences start with a word and a space; YAML with a key and a colon, or with punctuation of its own.
fn looks_like_yaml(text: &str) -> bool {
    let comment = |line: &str| line.is_empty() || line.starts_with('#') || line.starts_with("--") && line != "---";
    let Some(line) = text.lines().map(str::trim).find(|line| !comment(line)) else { return false };
    let after_key = line.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-').trim_start();
    let key = after_key.len() < line.len()
        && after_key.strip_prefix(':').is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    key || line.starts_with(['{', '[', '%', '-', '!', '&'])
}

/// The policy in English: its sentence, under a header unless its key is the one that a sentence gets without.
pub fn to_english(policy: &Policy) -> String {
    print::policy(policy)
}

/// The English sentence alone, without a period.
pub fn to_sentence(statement: &Statement) -> String {
    print::statement(statement)
}

/// The predicate as it is written in both spellings.
pub fn predicate_text(predicate: &Predicate) -> String {
    print::predicate(predicate)
}

/// The policy as one YAML document, without `---`.
pub fn to_yaml(policy: &Policy) -> String {
    yaml::write(policy)
}

/// The key of a sentence without a header: its words, with a part of its SHA-256 where they do not tell the whole sentence.
fn derived_key(sentence: &str) -> PolicyKey {
    let kept = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let words: Vec<&str> = sentence.split(|c: char| !kept(c)).filter(|word| !word.is_empty()).collect();
    let whole = words.join(" ") == sentence && !sentence.chars().skip(1).any(|c| c.is_ascii_uppercase());
    let mut key = words.join("-").to_ascii_lowercase();
    if !whole || key.len() > DERIVED_KEY_BYTES_MAX {
        let digest: String = Sha256::digest(sentence).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        key.truncate(DERIVED_KEY_BYTES_MAX - digest.len() - 1);
        key = format!("{}-{digest}", key.trim_end_matches('-'));
    }
    PolicyKey::new(key).unwrap_or_else(|_| unreachable!("a slug of a sentence is a valid name"))
}
