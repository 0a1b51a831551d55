//! Texts with places that are filled for whoever reads: `'{username}@{attribute:team}.example'`.

use std::fmt;

use serde::{Deserialize, Serialize};
use weir_model::AttributeKey;

/// What `@interpolatedComparison` compares with. It has at least one place, and of its places with several values all
/// stand for the same one at a time. It is never read as part of the language again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    pieces: Vec<Piece>,
    any: Option<AnyOf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Piece {
    /// Never empty, and never beside another.
    Text(String),
    /// `{username}`
    Username,
    /// `{iam}`
    Iam,
    /// One value of [`Template::any_of`].
    Any,
}

/// Of what a person may have several, or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnyOf {
    /// `{group}`
    Group,
    /// `{purpose}`: one that she acts under.
    Purpose,
    /// `{attribute:key}`
    Attribute(AttributeKey),
}

/// A text after `@interpolatedComparison` as it was meant.
#[derive(Debug, PartialEq)]
pub(crate) enum Interpolated {
    /// Without a place.
    Plain(String),
    Template(Template),
}

/// Why a text is no template, and what would be right.
#[derive(Debug, PartialEq)]
pub(crate) struct NoTemplate {
    pub(crate) message: String,
    pub(crate) help: String,
}

impl Template {
    /// Reads `{…}` as places, and `{{` and `}}` as braces.
    pub(crate) fn read(text: &str) -> Result<Interpolated, NoTemplate> {
        let (mut pieces, mut any) = (Vec::new(), None);
        let mut plain = String::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            if matches!(c, '{' | '}') && chars.next_if_eq(&c).is_some() {
                plain.push(c);
            } else if c == '}' {
                return Err(wrong("`}` closes nothing", "a `}` of the text is written `}}`"));
            } else if c == '{' {
                let mut name = String::new();
                loop {
                    match chars.next() {
                        Some('}') => break,
                        Some('{') | None => {
                            return Err(wrong("`{` is never closed", "a `{` of the text is written `{{`"));
                        }
                        Some(c) => name.push(c),
                    }
                }
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(place(&name, &mut any)?);
            } else {
                plain.push(c);
            }
        }
        if pieces.is_empty() {
            return Ok(Interpolated::Plain(plain));
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Interpolated::Template(Template { pieces, any }))
    }

    /// Of what the person must have one, if of anything.
    pub fn any_of(&self) -> Option<&AnyOf> {
        self.any.as_ref()
    }

    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The text for a person, and for one value of [`Self::any_of`].
    pub(crate) fn filled(&self, username: &str, iam: &str, value: &str) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Username => username.to_owned(),
            Piece::Iam => iam.to_owned(),
            Piece::Any => value.to_owned(),
        };
        self.pieces.iter().map(piece).collect()
    }
}

fn place(name: &str, any: &mut Option<AnyOf>) -> Result<Piece, NoTemplate> {
    let wanted = match name {
        "username" => return Ok(Piece::Username),
        "iam" => return Ok(Piece::Iam),
        "group" => AnyOf::Group,
        "purpose" => AnyOf::Purpose,
        _ => match name.strip_prefix("attribute:").map(AttributeKey::new) {
            Some(Ok(key)) => AnyOf::Attribute(key),
            Some(Err(why)) => return Err(wrong(&why.to_string(), "write `{attribute:key}`")),
            None => {
                let known = "there are `{username}`, `{iam}`, `{group}`, `{purpose}` and `{attribute:key}`";
                return Err(wrong(&format!("`{{{name}}}` stands for nothing"), known));
            }
        },
    };
    match any {
        Some(before) if *before != wanted => {
            let message = format!("`{before}` and `{wanted}` may each have several values, and only one of them can");
            let help = "compare two parts of the value, each with one of them";
            Err(wrong(&message, help))
        }
        Some(_) | None => {
            *any = Some(wanted);
            Ok(Piece::Any)
        }
    }
}

fn wrong(message: &str, help: &str) -> NoTemplate {
    NoTemplate { message: message.to_owned(), help: help.to_owned() }
}

/// As it is written in a place.
impl fmt::Display for AnyOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AnyOf::Group => f.write_str("{group}"),
            AnyOf::Purpose => f.write_str("{purpose}"),
            AnyOf::Attribute(key) => write!(f, "{{attribute:{key}}}"),
        }
    }
}

/// As it is written, without quotes.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}")),
            Piece::Username => f.write_str("{username}"),
            Piece::Iam => f.write_str("{iam}"),
            Piece::Any => self.any.iter().try_for_each(|any| any.fmt(f)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        match Template::read(text) {
            Ok(Interpolated::Template(template)) => template,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn places_are_filled_and_braces_written_twice_are_braces() {
        let read = template("{{{username}}}-{attribute:team}/{attribute:team}@{iam}");
        assert_eq!(read.filled("ana", "ldap", "x"), "{ana}-x/x@ldap");
        assert_eq!(read.to_string(), "{{{username}}}-{attribute:team}/{attribute:team}@{iam}");
        assert_eq!(template(&read.to_string()), read);
        // What is filled in is not read again.
        assert_eq!(template("{username}{group}").filled("{iam}", "i", "{username}"), "{iam}{username}");
        assert_eq!(Template::read("a{{}}b"), Ok(Interpolated::Plain("a{}b".to_owned())));
        assert_eq!(Template::read(""), Ok(Interpolated::Plain(String::new())));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        let wrong = |text: &str| Template::read(text).unwrap_err().message;
        assert_eq!(wrong("{user}"), "`{user}` stands for nothing");
        assert_eq!(wrong("{}"), "`{}` stands for nothing");
        assert_eq!(wrong("a{username"), "`{` is never closed");
        assert_eq!(wrong("{user{name}"), "`{` is never closed");
        assert_eq!(wrong("a}b"), "`}` closes nothing");
        assert!(wrong("{attribute:}").contains("attribute"), "{}", wrong("{attribute:}"));
        let two = "`{attribute:a}` and `{group}` may each have several values, and only one of them can";
        assert_eq!(wrong("{attribute:a}{attribute:a}{group}"), two);
    }
}
