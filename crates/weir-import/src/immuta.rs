//! Policies of Immuta: YAML of its second interface, and JSON of the first as far as it is the same.
//!
//! Its model is close to that of Weir. What differs: conditions with tests of their own operator, owners and
//! circumstances together, domains, and masks whose options are not public.

mod data;
mod mask;
mod people;
mod reach;
mod rows;
mod subscription;

use std::collections::BTreeSet;

use crate::document::{self, Document, Format};
use crate::error::{Error, short};
use crate::make::{Import, Maker, Origin};
use crate::report::{Line, Outcome, Report};
use crate::sql::{Dialect, DoubleQuotes};
use crate::tree::{Fields, Node, Wrong};
use reach::Reach;

/// Predicates are in the SQL of the data platform, which is not known; the functions with `@` are those of Weir.
const DIALECT: Dialect = Dialect { double_quotes: DoubleQuotes::Unknown, small_letters: false, functions: true };

/// Most policies of one import.
const POLICIES_MAX: usize = 10_000;

pub(crate) fn import(documents: &[Document<'_>]) -> Result<Import, Error> {
    document::check_total(documents)?;
    let mut policies = Vec::new();
    for given in documents {
        let trees = given.trees(Format::YamlOrJson)?;
        let several = trees.len() > 1;
        for (at, tree) in trees.iter().enumerate() {
            let path = if several { format!("[{at}]") } else { String::new() };
            read(given.name, tree, &path, &mut policies)?;
        }
    }
    if policies.is_empty() {
        return Err(Error::new(documents.first().map_or("", |given| given.name), "", "there is no policy in it"));
    }
    let last = policies.last().map_or("", |policy| policy.file.as_str());
    if policies.len() > POLICIES_MAX {
        let message = format!("there are more than {POLICIES_MAX} policies; import them in several parts");
        return Err(Error::new(last, "", message));
    }
    let mut seen = BTreeSet::new();
    for policy in &policies {
        if !seen.insert(&policy.key) {
            let message = format!("two policies have the key `{}`", short(&policy.key));
            return Err(Error::new(&policy.file, policy.path.clone(), message));
        }
    }
    let rank = i32::try_from(policies.len()).unwrap_or(i32::MAX);
    let mut work = Work { maker: Maker::default(), report: Report::default(), rank };
    for policy in &policies {
        work.policy(policy).map_err(|(path, message)| Error::new(&policy.file, path, message))?;
    }
    Ok(Import { policies: work.maker.policies, report: work.report })
}

/// A document is a policy, or a list of them.
fn read(file: &str, tree: &Node, path: &str, policies: &mut Vec<Policy>) -> Result<(), Error> {
    let wrong = |(path, message): Wrong| Error::new(file, path, message);
    match tree {
        Node::List(items) => {
            for (at, item) in items.iter().enumerate() {
                policies.push(policy(file, item, &format!("{path}[{at}]")).map_err(wrong)?);
            }
        }
        Node::Map(_) => policies.push(policy(file, tree, path).map_err(wrong)?),
        // A document with nothing but remarks.
        Node::Null => {}
        Node::Truth(_) | Node::Number(_) | Node::Text(_) => {
            return Err(Error::new(file, path, format!("expected a policy, found {}", tree.what())));
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Subscription,
    Data,
}

struct Policy {
    file: String,
    path: String,
    key: String,
    name: String,
    kind: Kind,
    staged: bool,
    template: bool,
    certification: bool,
    reach: Reach,
    actions: Option<Node>,
    doubts: Vec<String>,
}

fn policy(file: &str, node: &Node, path: &str) -> Result<Policy, Wrong> {
    let mut fields = Fields::new(node, path)?;
    fields.pass_over(&[
        "id",
        "description",
        "createdAt",
        "updatedAt",
        "createdBy",
        "updatedBy",
        "createdByUser",
        "systemGenerated",
        "profile",
        "version",
    ]);
    let (key, name) = (fields.text("policyKey")?, fields.text("name")?);
    let (key, name) = match (key, name) {
        (Some(key), name) => (key, name.unwrap_or(key)),
        (None, Some(name)) => (name, name),
        (None, None) => {
            return Err((fields.path_of("policyKey"), "the policy has neither a key nor a name".to_owned()));
        }
    };
    let kind = match fields.text("type")? {
        Some(kind) if kind.eq_ignore_ascii_case("subscription") => Kind::Subscription,
        Some(kind) if kind.eq_ignore_ascii_case("data") => Kind::Data,
        Some(kind) => {
            let message = format!("the type `{}` is neither `subscription` nor `data`", short(kind));
            return Err((fields.path_of("type"), message));
        }
        None => return Err((fields.path_of("type"), "the type is missing: `subscription` or `data`".to_owned())),
    };
    let reach = Reach::read(&mut fields)?;
    let mut policy = Policy {
        file: file.to_owned(),
        path: path.to_owned(),
        key: key.to_owned(),
        name: name.to_owned(),
        kind,
        staged: fields.truth("staged")?.unwrap_or(false),
        template: fields.truth("template")?.unwrap_or(false),
        certification: fields.get("certification").is_some(),
        reach,
        actions: fields.get("actions").cloned(),
        doubts: Vec::new(),
    };
    policy.doubts = fields.unknown().into_iter().map(|key| format!("the key `{}` is not known", short(key))).collect();
    Ok(policy)
}

impl Policy {
    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn origin(&self) -> Origin<'_> {
        Origin { name: &self.key, title: &self.name, staged: self.staged }
    }
}

/// The policies and lines made so far.
struct Work {
    maker: Maker,
    report: Report,
    /// Of equally close masks the oldest wins, so the first has the highest priority.
    rank: i32,
}

impl Work {
    fn policy(&mut self, policy: &Policy) -> Result<(), Wrong> {
        if policy.certification {
            let why = "Weir asks nobody to certify policies";
            self.line(policy, &policy.path_of("certification"), Outcome::NotCarriedOver, Vec::new(), why);
        }
        match policy.kind {
            Kind::Subscription => subscription::convert(policy, self)?,
            Kind::Data => data::convert(policy, self)?,
        }
        self.rank -= 1;
        Ok(())
    }

    fn line(&mut self, policy: &Policy, path: &str, outcome: Outcome, became: Vec<String>, why: &str) {
        self.report.lines.push(Line {
            file: policy.file.clone(),
            path: path.to_owned(),
            policy: policy.key.clone(),
            outcome,
            became,
            why: why.to_owned(),
        });
    }

    /// Says what something became; with reasons it is more strict.
    fn said(&mut self, policy: &Policy, path: &str, made: Result<Vec<String>, String>, stricter: &[String]) {
        match made {
            Ok(keys) => {
                let outcome = if stricter.is_empty() { Outcome::CarriedOver } else { Outcome::MoreStrictly };
                self.line(policy, path, outcome, keys, &stricter.join("; "));
            }
            Err(why) => self.line(policy, path, Outcome::NotCarriedOver, Vec::new(), &why),
        }
    }
}
