//! Cases: who asks for what in which world, and what must be decided. Weir's own engine is tested by files of this
//! format, below `tests/cases` of its source.

mod place;
mod run;
mod suite;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use weir_model::{Epoch, PolicyKey, PrincipalId, ProjectName, SourceName};
use weir_policy::Facts;

use crate::world::{GivenProject, World};

pub use place::{Enter, List, Write};
pub use run::{Difference, Failure, Ran, Setting};
pub use suite::{Suite, SuiteFile, Summary};

/// When statements are made where a case says nothing else, in UTC.
pub const NOW: &str = "2024-07-31 12:30:00";

/// A file of cases.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// What the cases show, by a short name.
    pub feature: Option<String>,
    /// The rule that the cases are about.
    pub about: String,
    /// The name of the world, without `.world`. Absent: the only one there is.
    pub world: Option<String>,
    /// The world in which the policies were saved, when it has changed since.
    pub saved_in: Option<String>,
    /// Added to those of the world, as the two after it are.
    #[serde(default)]
    pub projects: Vec<GivenProject>,
    /// Whose requests were approved by all whom any policy asks.
    #[serde(default)]
    pub approved: BTreeMap<SourceName, BTreeSet<PrincipalId>>,
    /// For which sources an owner chose a policy.
    #[serde(default)]
    pub chosen: BTreeMap<PolicyKey, BTreeSet<SourceName>>,
    /// In either spelling. Absent: the policies that the cases are run with.
    pub policies: Option<String>,
    /// What is wrong with saved policies that do not fit any more.
    #[serde(default)]
    pub problems: Vec<String>,
    /// Policies that would not be saved, and what is said of them first.
    #[serde(default)]
    pub refused: BTreeMap<String, String>,
    #[serde(default)]
    pub cases: Vec<Case>,
    /// Who writes where.
    #[serde(default)]
    pub writes: Vec<Write>,
    /// Who may make which project the current one.
    #[serde(default)]
    pub enters: Vec<Enter>,
    /// Which projects somebody is told of.
    #[serde(default)]
    pub lists: Vec<List>,
    /// What holds after changes, each on top of those before it.
    #[serde(default)]
    pub then: Vec<Then>,
}

/// A change of projects, and what holds for the next statement after it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Then {
    /// What was changed.
    pub change: String,
    /// As they are from now on; those of a name that is there take its place.
    #[serde(default)]
    pub projects: Vec<GivenProject>,
    #[serde(default)]
    pub cases: Vec<Case>,
    #[serde(default)]
    pub writes: Vec<Write>,
    #[serde(default)]
    pub enters: Vec<Enter>,
    #[serde(default)]
    pub lists: Vec<List>,
}

/// The questions of a file, or of one step of it.
#[derive(Clone, Copy, Debug)]
pub struct Questions<'a> {
    pub cases: &'a [Case],
    pub writes: &'a [Write],
    pub enters: &'a [Enter],
    pub lists: &'a [List],
}

impl Questions<'_> {
    fn count(&self) -> usize {
        let Self { cases, writes, enters, lists } = self;
        cases.len() + writes.len() + enters.len() + lists.len()
    }
}

/// One question and its answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub case: String,
    #[serde(rename = "as")]
    pub person: PrincipalId,
    /// Who acts as that person.
    pub by: Option<PrincipalId>,
    /// In which project.
    #[serde(rename = "in")]
    pub project: Option<ProjectName>,
    /// When, in UTC: `2024-12-31 23:59:59`. Absent: [`NOW`].
    pub at: Option<String>,
    pub ask: SourceName,
    pub decide: Decide,
    /// Why it is denied.
    pub reason: Option<String>,
    /// Keys of the policies behind the decision, `owner` or `selected`.
    #[serde(default)]
    pub because: Vec<String>,
    /// Absent: all rows.
    pub rows: Option<String>,
    /// Columns that are not here are clear.
    #[serde(default)]
    pub masks: BTreeMap<String, String>,
    /// The project whose key hashes have; absent: that of the source.
    pub hash_key: Option<ProjectName>,
    /// Who sees exactly the same in the same surroundings.
    pub like: Option<PrincipalId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decide {
    Deny,
    Clear,
    Obliged,
}

impl Decide {
    pub fn as_str(self) -> &'static str {
        match self {
            Decide::Deny => "deny",
            Decide::Clear => "clear",
            Decide::Obliged => "obliged",
        }
    }
}

impl CaseFile {
    /// # Errors
    /// What is wrong with the text, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: Self = serde_saphyr::from_str(text).map_err(|e| e.to_string())?;
        if file.count() == 0 {
            return Err("it has neither `cases` nor `refused`, and so shows nothing".to_owned());
        }
        match file.then.iter().find(|then| then.questions().count() == 0) {
            Some(then) => Err(format!("nothing is asked after `{}`", then.change)),
            None => Ok(file),
        }
    }

    /// What is asked before anything changes.
    pub fn questions(&self) -> Questions<'_> {
        let Self { cases, writes, enters, lists, .. } = self;
        Questions { cases, writes, enters, lists }
    }

    /// How many answers it expects.
    pub fn count(&self) -> usize {
        let then: usize = self.then.iter().map(|then| then.questions().count()).sum();
        self.questions().count() + self.refused.len() + then
    }
}

impl Then {
    pub fn questions(&self) -> Questions<'_> {
        let Self { cases, writes, enters, lists, .. } = self;
        Questions { cases, writes, enters, lists }
    }

    /// The facts after the change.
    ///
    /// # Errors
    /// When a project has a data source that does not exist.
    pub fn onto(&self, facts: &Facts) -> Result<Facts, String> {
        let mut world = World::from(facts.clone());
        world.change(&self.projects)?;
        let epoch = facts.epoch.map(|Epoch(before)| Epoch(before + 1));
        Ok(Facts { epoch, ..world.facts })
    }
}

/// # Errors
/// When the text is not of the form `2024-12-31 23:59:59`, or before 1970.
pub fn unix_ms(at: &str) -> Result<u64, String> {
    let wrong = |why: String| format!("`{at}` is no time such as `{NOW}`: {why}");
    let parsed = chrono::NaiveDateTime::parse_from_str(at, "%Y-%m-%d %H:%M:%S").map_err(|e| wrong(e.to_string()))?;
    u64::try_from(parsed.and_utc().timestamp_millis()).map_err(|_| wrong("it is before 1970".to_owned()))
}
