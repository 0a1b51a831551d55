//! Questions about projects as places: where somebody writes, where she may act, and where she is told that she may.

use std::collections::BTreeMap;

use serde::Deserialize;
use weir_model::{PrincipalId, ProjectName, SourceName, Surroundings};
use weir_policy::{DenyReason, Snapshot};

use super::run::{Difference, name_of};
use super::{NOW, unix_ms};

/// Whether somebody may write a table of a name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Write {
    pub case: String,
    #[serde(rename = "as")]
    pub person: PrincipalId,
    #[serde(rename = "in")]
    pub project: Option<ProjectName>,
    pub table: SourceName,
    /// Whether the schema is the workspace in which she writes.
    pub writes: bool,
}

/// Whether somebody may make a project the current one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enter {
    pub case: String,
    #[serde(rename = "as")]
    pub person: PrincipalId,
    /// Absent: none, which everybody may.
    pub sets: Option<ProjectName>,
    /// Why she may not.
    pub reason: Option<String>,
}

/// The projects that somebody is told of.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    pub case: String,
    #[serde(rename = "as")]
    pub person: PrincipalId,
    /// `open`, or why it is closed to her.
    pub projects: BTreeMap<ProjectName, String>,
}

impl Write {
    pub(super) fn asked(&self) -> String {
        let within = self.project.as_ref().map_or("no project".to_owned(), |project| format!("project {project}"));
        format!("{} writes {} in {within}", self.person, self.table)
    }

    pub(super) fn ask(&self, snapshot: &Snapshot) -> Result<Vec<Difference>, String> {
        let surroundings =
            Surroundings { project: self.project.clone(), impersonated: false, at_unix_ms: unix_ms(NOW)? };
        let place = snapshot.workspace(&self.person, &surroundings);
        let writes = place.is_some_and(|(_, schema)| schema == self.table.schema());
        Ok(different("writes", &self.writes.to_string(), writes.to_string()))
    }
}

impl Enter {
    pub(super) fn asked(&self) -> String {
        let project = self.sets.as_ref().map_or("none", ProjectName::as_str);
        format!("{} makes {project} the current project", self.person)
    }

    pub(super) fn ask(&self, snapshot: &Snapshot) -> Vec<Difference> {
        let why = self.sets.as_ref().and_then(|wanted| {
            let mine = snapshot.projects(&self.person).into_iter().find(|(name, _)| *name == wanted);
            mine.map_or(Some(DenyReason::NoSuchProject), |(_, why)| why)
        });
        let reason = why.as_ref().map_or_else(|| "nothing".to_owned(), name_of);
        different("reason", self.reason.as_deref().unwrap_or("nothing"), reason)
    }
}

impl List {
    pub(super) fn asked(&self) -> String {
        format!("{} asks for her projects", self.person)
    }

    pub(super) fn ask(&self, snapshot: &Snapshot) -> Vec<Difference> {
        let state = |why: Option<DenyReason>| why.as_ref().map_or_else(|| "open".to_owned(), name_of);
        let mine = snapshot.projects(&self.person).into_iter().map(|(name, why)| (name.clone(), state(why)));
        different("projects", &told(&self.projects), told(&mine.collect()))
    }
}

fn told(projects: &BTreeMap<ProjectName, String>) -> String {
    let each: Vec<String> = projects.iter().map(|(name, state)| format!("{name}: {state}")).collect();
    if each.is_empty() { "nothing".to_owned() } else { each.join("; ") }
}

fn different(what: &'static str, expected: &str, found: String) -> Vec<Difference> {
    if expected == found { Vec::new() } else { vec![Difference { what, expected: expected.to_owned(), found }] }
}
