//! Asks the engine and compares with what a case expects.

use std::collections::BTreeMap;
use std::fmt;

use weir_model::{DataSource, PolicyId, PrincipalId, Surroundings};
use weir_policy::ast::Policy;
use weir_policy::check::check;
use weir_policy::explain::{explain, residual_text};
use weir_policy::{Changes, DenyReason, Facts, KeyScope, Snapshot, SourceDecision, StoredPolicy, language};

use super::{Case, CaseFile, Decide, NOW, Questions, unix_ms};
use crate::world::{Additions, World};

/// What the cases of a file are run in.
pub struct Setting<'a> {
    /// The world of the name; of none, the one that there is. Policies of its own are left out.
    pub world: &'a dyn Fn(Option<&str>) -> Result<World, String>,
    /// Used by files that have none of their own. Absent: there are none.
    pub policies: Option<&'a [StoredPolicy]>,
}

/// What running one file gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    pub passed: usize,
    pub failures: Vec<Failure>,
}

/// An answer that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The name of the case, or what else was compared.
    pub case: String,
    /// Who asked for what.
    pub asked: String,
    pub differences: Vec<Difference>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The key in the file.
    pub what: &'static str,
    pub expected: String,
    pub found: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, asked, differences } = self;
        write!(f, "{case}{}{asked}", if asked.is_empty() { "" } else { ": " })?;
        let width = differences.iter().map(|difference| difference.what.len()).max().unwrap_or_default();
        for Difference { what, expected, found } in differences {
            write!(f, "\n  {what:width$}  expected {expected}")?;
            write!(f, "\n  {:width$}  found    {found}", "")?;
        }
        Ok(())
    }
}

impl CaseFile {
    /// What holds when the cases are asked.
    ///
    /// # Errors
    /// When there is no such world, or the policies cannot be read.
    pub fn facts(&self, setting: &Setting<'_>) -> Result<Facts, String> {
        self.facts_in(self.world.as_deref(), setting)
    }

    fn facts_in(&self, world: Option<&str>, setting: &Setting<'_>) -> Result<Facts, String> {
        let own = self.policies.as_deref().map(read).transpose()?;
        let policies = match (&own, setting.policies) {
            (Some(own), _) => own.as_slice(),
            (None, Some(given)) => given,
            (None, None) => return Err("it has no `policies`, and none were given".to_owned()),
        };
        let Self { projects, approved, chosen, .. } = self;
        let mut world = (setting.world)(world)?;
        world.add(&Additions { projects, approved, chosen })?;
        Ok(world.with(policies.to_vec()))
    }

    /// Runs all cases.
    ///
    /// # Errors
    /// When they cannot be run: there is no such world, the policies cannot be read, or a case asks for what does not
    /// exist.
    pub fn run(&self, setting: &Setting<'_>) -> Result<Ran, String> {
        let facts = self.facts(setting)?;
        let mut ran = Ran::default();
        self.saving(
            &match &self.saved_in {
                Some(saved_in) => self.facts_in(Some(saved_in), setting)?,
                None => facts.clone(),
            },
            &mut ran,
        );
        let snapshot = Snapshot::compile(facts.clone());
        let problems: Vec<String> = snapshot
            .problems()
            .iter()
            .filter(|found| found.policy.is_some())
            .map(|found| found.diagnostic.message.clone())
            .collect();
        if problems != self.problems {
            let difference =
                Difference { what: "problems", expected: listed(&self.problems), found: listed(&problems) };
            ran.failures.push(Failure {
                case: "what is wrong with saved policies".to_owned(),
                asked: String::new(),
                differences: vec![difference],
            });
        }
        ran.ask(self.questions(), &snapshot)?;
        let (mut before, mut snapshot) = (facts, snapshot);
        for then in &self.then {
            let after = then.onto(&before)?;
            snapshot = snapshot.after(Changes::between(&before, &after));
            ran.ask(then.questions(), &snapshot)?;
            before = after;
        }
        Ok(ran)
    }

    fn saving(&self, saved_in: &Facts, ran: &mut Ran) {
        let mut refused = BTreeMap::new();
        for stored in &saved_in.policies {
            if let Some(error) = check(&stored.policy, saved_in).into_iter().find(|found| found.is_error()) {
                refused.insert(stored.policy.key.to_string(), error.message);
            }
        }
        if refused == self.refused {
            ran.passed += refused.len();
            return;
        }
        let told = |refused: &BTreeMap<String, String>| {
            listed(&refused.iter().map(|(key, why)| format!("{key}: {why}")).collect::<Vec<_>>())
        };
        let difference = Difference { what: "refused", expected: told(&self.refused), found: told(&refused) };
        ran.failures.push(Failure {
            case: "policies that would not be saved".to_owned(),
            asked: String::new(),
            differences: vec![difference],
        });
    }
}

impl Ran {
    fn ask(&mut self, questions: Questions<'_>, snapshot: &Snapshot) -> Result<(), String> {
        let Questions { cases, writes, enters, lists } = questions;
        for case in cases {
            let differences = case.ask(snapshot).map_err(|why| format!("case `{}`: {why}", case.case))?;
            self.note(&case.case, case.asked(), differences);
        }
        for write in writes {
            self.note(&write.case, write.asked(), write.ask(snapshot)?);
        }
        enters.iter().for_each(|enter| self.note(&enter.case, enter.asked(), enter.ask(snapshot)));
        lists.iter().for_each(|list| self.note(&list.case, list.asked(), list.ask(snapshot)));
        Ok(())
    }

    fn note(&mut self, case: &str, asked: String, differences: Vec<Difference>) {
        if differences.is_empty() {
            self.passed += 1;
        } else {
            self.failures.push(Failure { case: case.to_owned(), asked, differences });
        }
    }
}

/// Numbered in the order written.
fn read(text: &str) -> Result<Vec<StoredPolicy>, String> {
    let parsed = language::parse(text);
    match parsed.diagnostics.iter().find(|found| found.is_error()) {
        Some(wrong) => {
            let at = wrong.at.and_then(|at| text.get(at.start..at.end)).filter(|at| !at.is_empty());
            let at = at.map(|at| format!(" at `{at}`")).unwrap_or_default();
            Err(format!("its policies cannot be read: {wrong}{at}"))
        }
        None => Ok(numbered(parsed.policies)),
    }
}

pub(super) fn numbered(policies: Vec<Policy>) -> Vec<StoredPolicy> {
    policies.into_iter().zip(1..).map(|(policy, id)| StoredPolicy { id: PolicyId(id), policy }).collect()
}

fn listed(items: &[String]) -> String {
    if items.is_empty() { "nothing".to_owned() } else { items.join("; ") }
}

fn or_nothing(item: Option<impl ToString>) -> String {
    item.map_or_else(|| "nothing".to_owned(), |item| item.to_string())
}

/// What a decision comes to, in the words of a case.
struct Answer {
    decide: Decide,
    reason: Option<String>,
    rows: Option<String>,
    hash_key: Option<String>,
    masks: usize,
}

impl Case {
    fn asked(&self) -> String {
        let by = self.by.as_ref().map(|by| format!(" (in fact {by})")).unwrap_or_default();
        let within = self.project.as_ref().map(|project| format!(" in project {project}")).unwrap_or_default();
        let at = self.at.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
        format!("{}{by} asks for {}{within}{at}", self.person, self.ask)
    }

    fn ask(&self, snapshot: &Snapshot) -> Result<Vec<Difference>, String> {
        let Some(source) = snapshot.source_by_name(&self.ask) else {
            return Err(format!("the world has no data source `{}`", self.ask));
        };
        if let Some(actor) = &self.by
            && !snapshot.may_impersonate(actor, &self.person)
        {
            return Ok(self.compare_decision(Decide::Deny, Some("no-grant")));
        }
        let surroundings = Surroundings {
            project: self.project.clone(),
            impersonated: self.by.is_some(),
            at_unix_ms: unix_ms(self.at.as_deref().unwrap_or(NOW))?,
        };
        let decided = decide(snapshot, &self.person, &surroundings, source)?;
        let answer = answer(&decided, source, snapshot);
        let explained = explain(snapshot, &self.person, &surroundings, source.id);
        let masked = explained.columns.iter().filter(|column| column.shown != "clear");
        let shown: BTreeMap<String, String> =
            masked.map(|column| (column.name.to_string(), column.shown.clone())).collect();
        let mut because: Vec<String> = decided.factors().iter().map(|factor| factor.key.to_string()).collect();
        because.dedup();

        let mut found = self.compare_decision(answer.decide, answer.reason.as_deref());
        let mut compare = |what, expected: String, got: String| {
            if expected != got {
                found.push(Difference { what, expected, found: got });
            }
        };
        compare("because", listed(&self.because), listed(&because));
        compare("rows", or_nothing(self.rows.as_ref()), or_nothing(answer.rows.as_ref()));
        let told = |masks: &BTreeMap<String, String>| {
            listed(&masks.iter().map(|(column, mask)| format!("{column}: {mask}")).collect::<Vec<_>>())
        };
        compare("masks", told(&self.masks), told(&shown));
        compare("hash_key", or_nothing(self.hash_key.as_ref()), or_nothing(answer.hash_key.as_ref()));
        // What the engine says in other ways has to agree with the decision.
        let open = answer.decide != Decide::Deny;
        let visible = snapshot.visible(&self.person, &surroundings).iter().any(|seen| seen.id == source.id);
        compare("visible, as decided", open.to_string(), visible.to_string());
        compare("access, as explained", open.to_string(), explained.access.granted.to_string());
        compare("masks, as decided", answer.masks.to_string(), shown.len().to_string());
        let all_rows = explained.rows.as_ref().is_none_or(|rows| rows.only_where.is_empty());
        compare("all rows, as decided", answer.rows.is_none().to_string(), all_rows.to_string());
        if let Some(other) = &self.like {
            let theirs = decide(snapshot, other, &surroundings, source)?;
            if theirs != decided {
                let expected = format!("the same for {other}");
                found.push(Difference { what: "like", expected, found: "something else".to_owned() });
            }
        }
        Ok(found)
    }

    fn compare_decision(&self, decide: Decide, reason: Option<&str>) -> Vec<Difference> {
        let mut found = Vec::new();
        if decide != self.decide {
            let (expected, got) = (self.decide.as_str().to_owned(), decide.as_str().to_owned());
            found.push(Difference { what: "decide", expected, found: got });
        }
        if reason != self.reason.as_deref() {
            let (expected, got) = (or_nothing(self.reason.as_ref()), or_nothing(reason));
            found.push(Difference { what: "reason", expected, found: got });
        }
        found
    }
}

fn decide(
    snapshot: &Snapshot,
    person: &PrincipalId,
    surroundings: &Surroundings,
    source: &DataSource,
) -> Result<SourceDecision, String> {
    let mut decision = snapshot.decide(person, surroundings, &[source.id]);
    match (decision.sources.pop(), decision.sources.is_empty()) {
        (Some((id, decided)), true) if id == source.id => Ok(decided),
        _ => Err("the decision is not about the source that was asked for".to_owned()),
    }
}

fn answer(decided: &SourceDecision, source: &DataSource, snapshot: &Snapshot) -> Answer {
    let plain = |decide, reason| Answer { decide, reason, rows: None, hash_key: None, masks: 0 };
    match decided {
        SourceDecision::Deny(reason, _) => plain(Decide::Deny, Some(name_of(reason))),
        SourceDecision::Clear(_) => plain(Decide::Clear, None),
        SourceDecision::Obliged(obligations, _) => Answer {
            decide: Decide::Obliged,
            reason: None,
            rows: obligations.row_filter().map(|filter| residual_text(&filter, source, snapshot)),
            hash_key: match &obligations.hash_key {
                KeyScope::Source(id) if *id == source.id => None,
                KeyScope::Source(other) => Some(format!("of another data source, {other}")),
                KeyScope::Project(project) => Some(project.to_string()),
            },
            masks: obligations.masks.len(),
        },
    }
}

pub(super) fn name_of(reason: &DenyReason) -> String {
    let name = match reason {
        DenyReason::UnknownPrincipal => "unknown-principal",
        DenyReason::UnknownSource => "unknown-source",
        DenyReason::NotSubscribed => "not-subscribed",
        DenyReason::NoSuchProject => "no-such-project",
        DenyReason::NotInProject => "not-in-project",
        DenyReason::NotAcknowledged { .. } => "not-acknowledged",
        DenyReason::PurposeRequired { .. } => "purpose-required",
        DenyReason::BrokenPolicy { .. } => "broken-policy",
        DenyReason::FilterNotCopied { .. } => "filter-not-copied",
        DenyReason::BrokenLineage { .. } => "broken-lineage",
        DenyReason::Parent { parent: _, because } => return format!("parent-{}", name_of(because)),
    };
    name.to_owned()
}
