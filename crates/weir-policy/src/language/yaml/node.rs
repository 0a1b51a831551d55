//! YAML as a tree of places. Only what a policy needs: no anchors, aliases, tags or merged keys.

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span as Place, StrInput};

use crate::diagnostic::{Diagnostic, Span};
use crate::language::cursor::{DEPTH_MAX, Read, short};

/// A nested condition is a mapping and a list.
const NODE_DEPTH_MAX: usize = 2 * DEPTH_MAX + 16;

#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    /// `plain` when it is written without quotes.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) span: Span,
}

/// The documents of a text, each as far as it is right.
pub(super) fn documents(text: &str) -> Vec<Read<Node>> {
    let mut options = Options::default();
    options.emit_comments = false;
    let mut reader = Reader { parser: Parser::new_from_str_with_options(text, options), text };
    let mut documents = Vec::new();
    loop {
        match reader.document() {
            Ok(Some(node)) => documents.push(Ok(node)),
            Ok(None) => return documents,
            Err(diagnostic) => {
                documents.push(Err(diagnostic));
                if !matches!(reader.parser.proceed_next_document(), Ok(true)) {
                    return documents;
                }
            }
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    text: &'a str,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Read<(Event<'a>, Span)> {
        match self.parser.next() {
            None => Ok((Event::StreamEnd, self.end())),
            Some(Ok((event, place))) => Ok((event, self.span(&place))),
            Some(Err(error)) => {
                let at = error.marker().byte_offset().unwrap_or(self.text.len()).min(self.text.len());
                let message = format!("this is not YAML: {}", error.info());
                Err(Box::new(Diagnostic::error("policy::yaml", message).at(Span::new(at, at))))
            }
        }
    }

    fn end(&self) -> Span {
        Span::new(self.text.len(), self.text.len())
    }

    fn span(&self, place: &Place) -> Span {
        let (Some(start), Some(end)) = (place.start.byte_offset(), place.end.byte_offset()) else { return self.end() };
        // A block reaches to where the next token starts; what it says ends before.
        let said = self.text.get(start..end).unwrap_or("").trim_end();
        Span::new(start, start + said.len())
    }

    fn document(&mut self) -> Read<Option<Node>> {
        loop {
            let (event, _) = self.next()?;
            if matches!(event, Event::StreamEnd) {
                return Ok(None);
            }
            if matches!(event, Event::DocumentStart(..)) {
                let (event, span) = self.next()?;
                let node = self.node(event, span, 0)?;
                if !matches!(&node.content, Content::Scalar { text, plain: true } if text.is_empty() || text == "~") {
                    return Ok(Some(node));
                }
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser may learn new events; each is refused")]
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Read<Node> {
        if depth > NODE_DEPTH_MAX {
            let message = format!("this is nested more than {NODE_DEPTH_MAX} deep");
            return Err(Box::new(Diagnostic::error("policy::too-deep", message).at(span)));
        }
        match event {
            Event::Scalar(text, style, 0, None) => {
                let plain = matches!(style, ScalarStyle::Plain);
                Ok(Node { span, content: Content::Scalar { text: text.into_owned(), plain } })
            }
            Event::SequenceStart(_, 0, None) => {
                let mut items = Vec::new();
                loop {
                    let (event, at) = self.next()?;
                    if let Event::SequenceEnd = event {
                        return Ok(Node { span: span.to(at), content: Content::List(items) });
                    }
                    items.push(self.node(event, at, depth + 1)?);
                }
            }
            Event::MappingStart(_, 0, None) => {
                let mut fields: Vec<(Key, Node)> = Vec::new();
                loop {
                    let (event, at) = self.next()?;
                    if let Event::MappingEnd = event {
                        return Ok(Node { span: span.to(at), content: Content::Map(fields) });
                    }
                    let key = self.key(event, at, &fields)?;
                    let (event, at) = self.next()?;
                    fields.push((key, self.node(event, at, depth + 1)?));
                }
            }
            _ => {
                let error = Diagnostic::error("policy::yaml", "anchors, aliases and tags have no meaning in a policy");
                Err(Box::new(error.at(span).help("write the value out")))
            }
        }
    }

    fn key(&mut self, event: Event<'a>, span: Span, before: &[(Key, Node)]) -> Read<Key> {
        let Event::Scalar(name, _, 0, None) = event else {
            return Err(Box::new(Diagnostic::error("policy::yaml", "a key is a word").at(span)));
        };
        if before.iter().any(|(key, _)| key.name == name) {
            let message = format!("the key `{}` is there twice", short(&name));
            return Err(Box::new(Diagnostic::error("policy::duplicate-key", message).at(span).label("the second one")));
        }
        Ok(Key { name: name.into_owned(), span })
    }
}
