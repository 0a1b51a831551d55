//! JSON and YAML as a tree in which no key is there twice, and the reading of mappings with a path for errors.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::error::short;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Null,
    Truth(bool),
    /// As it would be written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the order of the text; no key twice.
    Map(Vec<(String, Node)>),
}

/// A place and what is wrong there.
pub(crate) type Wrong = (String, String);

pub(crate) fn json(text: &str) -> Result<Node, Wrong> {
    serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        let place = format!("line {}, column {}", error.line(), error.column());
        let message = message.split(" at line ").next().unwrap_or_default().to_owned();
        (place, format!("this is not the JSON of an export: {message}"))
    })
}

pub(crate) fn yaml(text: &str) -> Result<Vec<Node>, Wrong> {
    serde_saphyr::from_multiple(text).map_err(|error| {
        let place = error.location().map(|at| format!("line {}, column {}", at.line(), at.column()));
        let message = error.without_snippet().to_string();
        let message = message.lines().next().unwrap_or_default().to_owned();
        (place.unwrap_or_default(), format!("this is not the YAML of policies: {message}"))
    })
}

impl Node {
    /// What the node is, for messages.
    pub(crate) fn what(&self) -> String {
        match self {
            Node::Null => "nothing".to_owned(),
            Node::Truth(truth) => format!("`{truth}`"),
            Node::Number(number) => format!("`{}`", short(number)),
            Node::Text(text) => format!("`{}`", short(text)),
            Node::List(_) => "a list".to_owned(),
            Node::Map(_) => "a mapping".to_owned(),
        }
    }

    pub(crate) fn is_map(&self) -> bool {
        matches!(self, Node::Map(_))
    }

    /// The value of a key of a mapping.
    pub(crate) fn at(&self, key: &str) -> Option<&Node> {
        match self {
            Node::Map(fields) => fields.iter().find(|(found, _)| found == key).map(|(_, node)| node),
            Node::Null | Node::Truth(_) | Node::Number(_) | Node::Text(_) | Node::List(_) => None,
        }
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Node, E> {
        Ok(Node::Truth(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Number(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Number(number.to_string()))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Node, E> {
        Ok(Node::Number(number.to_string()))
    }

    fn visit_u128<E>(self, number: u128) -> Result<Node, E> {
        Ok(Node::Number(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Node, E> {
        Ok(Node::Number(number.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Node, E> {
        Ok(Node::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let (mut fields, mut seen) = (Vec::new(), BTreeSet::new());
        while let Some((key, value)) = entries.next_entry::<String, Node>()? {
            if !seen.insert(key.clone()) {
                return Err(serde::de::Error::custom(format!("the key `{}` is there twice", short(&key))));
            }
            fields.push((key, value));
        }
        Ok(Node::Map(fields))
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

/// A mapping of which fields are asked for one by one; what nobody asked for is not understood.
pub(crate) struct Fields<'a> {
    /// The path of the mapping; empty at the root.
    pub(crate) path: String,
    fields: &'a [(String, Node)],
    known: BTreeSet<&'static str>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(node: &'a Node, path: &str) -> Result<Self, Wrong> {
        match node {
            Node::Map(fields) => Ok(Self { path: path.to_owned(), fields, known: BTreeSet::new() }),
            Node::Null | Node::Truth(_) | Node::Number(_) | Node::Text(_) | Node::List(_) => {
                Err((path.to_owned(), format!("expected a mapping, found {}", node.what())))
            }
        }
    }

    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value as it stands, `null` included.
    pub(crate) fn raw(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.insert(key);
        self.fields.iter().find(|(found, _)| found == key).map(|(_, node)| node)
    }

    /// The value, unless it is `null`.
    pub(crate) fn get(&mut self, key: &'static str) -> Option<&'a Node> {
        self.raw(key).filter(|node| !matches!(node, Node::Null))
    }

    /// Takes note of keys that say nothing about access.
    pub(crate) fn pass_over(&mut self, keys: &[&'static str]) {
        self.known.extend(keys);
    }

    fn wrong<T>(&self, key: &str, what: &str, node: &Node) -> Result<T, Wrong> {
        Err((self.path_of(key), format!("expected {what}, found {}", node.what())))
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Result<Option<&'a str>, Wrong> {
        match self.get(key) {
            None => Ok(None),
            Some(Node::Text(text)) => Ok(Some(text)),
            Some(other) => self.wrong(key, "a text", other),
        }
    }

    pub(crate) fn truth(&mut self, key: &'static str) -> Result<Option<bool>, Wrong> {
        match self.get(key) {
            None => Ok(None),
            Some(Node::Truth(truth)) => Ok(Some(*truth)),
            Some(other) => self.wrong(key, "`true` or `false`", other),
        }
    }

    /// A whole number.
    pub(crate) fn whole(&mut self, key: &'static str) -> Result<Option<i64>, Wrong> {
        match self.get(key) {
            None => Ok(None),
            Some(node @ Node::Number(number)) => match number.parse() {
                Ok(whole) => Ok(Some(whole)),
                Err(_) => self.wrong(key, "a whole number", node),
            },
            Some(other) => self.wrong(key, "a whole number", other),
        }
    }

    /// A list with the path of each item; empty when it is not there.
    pub(crate) fn list(&mut self, key: &'static str) -> Result<Vec<(String, &'a Node)>, Wrong> {
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Node::List(items)) => {
                let path = self.path_of(key);
                Ok(items.iter().enumerate().map(|(at, item)| (format!("{path}[{at}]"), item)).collect())
            }
            Some(other) => self.wrong(key, "a list", other),
        }
    }

    pub(crate) fn texts(&mut self, key: &'static str) -> Result<Vec<&'a str>, Wrong> {
        let text = |(path, node): (String, &'a Node)| match node {
            Node::Text(text) => Ok(text.as_str()),
            Node::Null | Node::Truth(_) | Node::Number(_) | Node::List(_) | Node::Map(_) => {
                Err((path, format!("expected a text, found {}", node.what())))
            }
        };
        self.list(key)?.into_iter().map(text).collect()
    }

    /// The keys that nobody asked for.
    pub(crate) fn unknown(&self) -> Vec<&'a str> {
        self.fields.iter().map(|(key, _)| key.as_str()).filter(|key| !self.known.contains(key)).collect()
    }

    /// All keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.fields.iter().map(|(key, _)| key.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_there_once() {
        let (place, message) = json("{\"a\": 1,\n \"a\": 2}").unwrap_err();
        assert_eq!(place, "line 2, column 8");
        assert_eq!(message, "this is not the JSON of an export: the key `a` is there twice");
        assert!(yaml("a: 1\na: 2\n").is_err());
    }

    #[test]
    fn truncated_text_says_where_it_ends() {
        let (place, message) = json("{\"policies\": [{\"id\": 1").unwrap_err();
        assert_eq!(place, "line 1, column 22");
        assert!(message.contains("EOF"), "{message}");
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = "[".repeat(100_000);
        assert!(json(&deep).is_err());
        assert!(yaml(&format!("a: {deep}")).is_err());
    }

    #[test]
    fn yaml_has_several_documents_and_types() {
        let documents = yaml("a: 1\nb: \"1\"\n---\nc: true\n").unwrap();
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[0].at("a"), Some(&Node::Number("1".to_owned())));
        assert_eq!(documents[0].at("b"), Some(&Node::Text("1".to_owned())));
        assert_eq!(documents[1].at("c"), Some(&Node::Truth(true)));
    }
}
