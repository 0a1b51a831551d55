use std::collections::BTreeMap;
use std::path::PathBuf;

use super::definition::{Definition, Value};
use super::{Given, Origin, definitions};

/// For each setting the strongest value that was written, and where.
#[derive(Debug, Default)]
pub(crate) struct Merged(BTreeMap<&'static str, Given>);

impl Merged {
    /// Puts a value over what is there.
    pub(super) fn put(&mut self, definition: &'static Definition, given: Given) {
        self.0.insert(&definition.key, given);
    }

    /// Each setting with its value, if it has one, and where that was written.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static Definition, Option<(String, &Origin)>)> {
        definitions().iter().map(|definition| {
            let given = self.0.get(definition.key.as_str());
            (definition, given.map(|given| (definition.print(&given.value), &given.origin)))
        })
    }

    pub(super) fn origin(&self, key: &str) -> Origin {
        self.0.get(key).map_or(Origin::Default, |given| given.origin.clone())
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        match &self.0.get(key)?.value {
            Value::Text(text) => Some(text.clone()),
            Value::Boolean(_) | Value::Number(_) => None,
        }
    }

    pub(super) fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    pub(super) fn boolean(&self, key: &str) -> Option<bool> {
        match self.0.get(key)?.value {
            Value::Boolean(b) => Some(b),
            Value::Text(_) | Value::Number(_) => None,
        }
    }

    pub(super) fn number(&self, key: &str) -> Option<usize> {
        match self.0.get(key)?.value {
            Value::Number(n) => Some(n),
            Value::Text(_) | Value::Boolean(_) => None,
        }
    }
}
