//! On which data sources a policy holds.

use weir_model::{IamId, PrincipalId, PrincipalSet};
use weir_policy::ast::{At, Circumstance, Circumstances};

use crate::error::short;
use crate::make;
use crate::tree::{Fields, Node, Wrong};

/// Most pairs of an owner and a circumstance.
const PAIRS_MAX: usize = 64;

/// The identity manager that Immuta has built in.
const BUILT_IN: &str = "bim";

/// Circumstances as far as Weir has them; the others as what is wrong with them.
pub(super) struct Reach {
    tests: Tests,
    all: bool,
    /// Absent: sources of any owner.
    owners: Option<Vec<Result<Circumstance, String>>>,
    /// The operator is not one that is known.
    doubts: Vec<String>,
}

enum Tests {
    AllSources,
    Some(Vec<Result<Circumstance, String>>),
}

/// Sources, and how they are fewer or more than they were.
pub(super) type Found = (Vec<Circumstances>, Vec<String>);

impl Reach {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, Wrong> {
        let mut doubts = Vec::new();
        let mut all = match fields.text("circumstanceOperator")? {
            None => None,
            Some(operator) => match super::people::operator(operator) {
                Some(all) => Some(all),
                None => {
                    doubts.push(format!("the operator `{}` of its circumstances is not known", short(operator)));
                    None
                }
            },
        };
        let tests = match fields.raw("circumstances") {
            None => Tests::AllSources,
            // What is there without a value waits for owners.
            Some(Node::Null) => Tests::Some(vec![Ok(Circumstance::ChosenByOwner)]),
            Some(_) => {
                let mut tests = Vec::new();
                let mut operators = Vec::new();
                for (path, node) in fields.list("circumstances")? {
                    tests.push(circumstance(node, &path, &mut operators)?);
                }
                if tests.is_empty() {
                    tests.push(Err("its list of circumstances is empty".to_owned()));
                }
                if all.is_none() {
                    operators.dedup();
                    match operators.as_slice() {
                        [] => {}
                        [one] => all = super::people::operator(one),
                        _ => doubts.push("its circumstances have several operators".to_owned()),
                    }
                }
                Tests::Some(tests)
            }
        };
        let owners = match fields.get("ownerRestrictions") {
            None => None,
            Some(node) => Some(owners(node, &fields.path_of("ownerRestrictions"))?),
        };
        Ok(Self { tests, all: all.unwrap_or(false), owners, doubts })
    }

    /// The sources and perhaps fewer, for what gives.
    pub(super) fn at_most(&self) -> Result<Found, String> {
        let mut how = Vec::new();
        if let Some(doubt) = self.doubts.first() {
            return Err(doubt.clone());
        }
        let tests = match &self.tests {
            Tests::AllSources => None,
            Tests::Some(tests) => Some(sure(tests, self.all, &mut how)?),
        };
        let owners = match &self.owners {
            None => None,
            Some(owners) => Some(sure(owners, false, &mut how)?),
        };
        Ok((together(tests, self.all, owners)?, how))
    }

    /// The sources and perhaps more, for what takes away.
    pub(super) fn at_least(&self) -> Found {
        let mut how: Vec<String> = self.doubts.iter().map(|doubt| format!("{doubt}, so it reaches further")).collect();
        let mut further = |why: &str| how.push(format!("{why}, so it reaches further"));
        let all = self.all && self.doubts.is_empty();
        let tests = match &self.tests {
            Tests::AllSources => None,
            Tests::Some(tests) => {
                let unknown: Vec<&String> = tests.iter().filter_map(|test| test.as_ref().err()).collect();
                unknown.iter().for_each(|why| further(why));
                let known: Vec<Circumstance> = tests.iter().filter_map(|test| test.clone().ok()).collect();
                // One of several that is not known may hold anywhere.
                (!known.is_empty() && (all || unknown.is_empty())).then_some(known)
            }
        };
        let owners = match &self.owners {
            None => None,
            Some(owners) => {
                let unknown: Vec<&String> = owners.iter().filter_map(|owner| owner.as_ref().err()).collect();
                unknown.iter().for_each(|why| further(why));
                let known: Vec<Circumstance> = owners.iter().filter_map(|owner| owner.clone().ok()).collect();
                (!known.is_empty() && unknown.is_empty()).then_some(known)
            }
        };
        let found = together(tests.clone(), all, owners).or_else(|why| {
            further(&why);
            together(tests, all, None)
        });
        (found.unwrap_or_else(|_| vec![Circumstances::AllSources]), how)
    }
}

/// The tests that are known: all of them have to be where all have to hold.
fn sure(tests: &[Result<Circumstance, String>], all: bool, how: &mut Vec<String>) -> Result<Vec<Circumstance>, String> {
    let known: Vec<Circumstance> = tests.iter().filter_map(|test| test.clone().ok()).collect();
    match tests.iter().find_map(|test| test.as_ref().err()) {
        Some(why) if all || known.is_empty() => Err(why.clone()),
        Some(why) => {
            how.push(format!("{why}, so it reaches less far"));
            Ok(known)
        }
        None => Ok(known),
    }
}

/// Circumstances of Weir, which knows one operator for each: several policies where there are pairs.
fn together(
    tests: Option<Vec<Circumstance>>,
    all: bool,
    owners: Option<Vec<Circumstance>>,
) -> Result<Vec<Circumstances>, String> {
    let joined = |mut parts: Vec<Circumstance>| {
        parts.dedup();
        if parts.len() > 1 { Circumstances::All(parts) } else { Circumstances::Any(parts) }
    };
    Ok(match (tests, owners) {
        (None, None) => vec![Circumstances::AllSources],
        (None, Some(owners)) => vec![Circumstances::Any(owners)],
        (Some(tests), None) if all => vec![joined(tests)],
        (Some(tests), None) => vec![Circumstances::Any(tests)],
        (Some(tests), Some(owners)) => {
            let sets: Vec<Vec<Circumstance>> =
                if all { vec![tests] } else { tests.into_iter().map(|t| vec![t]).collect() };
            if sets.len().saturating_mul(owners.len()) > PAIRS_MAX {
                return Err(format!("it has more than {PAIRS_MAX} pairs of an owner and a circumstance"));
            }
            let pairs = sets.iter().flat_map(|set| {
                owners.iter().map(|owner| joined(set.iter().cloned().chain([owner.clone()]).collect()))
            });
            pairs.collect()
        }
    })
}

fn circumstance(node: &Node, path: &str, operators: &mut Vec<String>) -> Result<Result<Circumstance, String>, Wrong> {
    let mut fields = Fields::new(node, path)?;
    let kind = fields.text("type")?.unwrap_or("").to_owned();
    operators.extend(fields.text("operator")?.map(str::to_owned));
    let mut tag = |key: &'static str| -> Result<Result<weir_model::Tag, String>, Wrong> {
        Ok(match fields.get(key) {
            Some(Node::Text(name)) => make::tag(name),
            Some(node) => match Fields::new(node, path)?.text("name")? {
                Some(name) => make::tag(name),
                None => Err("a circumstance has no tag".to_owned()),
            },
            None => Err("a circumstance has no tag".to_owned()),
        })
    };
    let found = match kind.as_str() {
        "tags" => tag("tag")?.map(|tag| Circumstance::SourceTagged(At::from(tag))),
        "columnTags" => {
            let given = if node.at("columnTag").is_some() { tag("columnTag")? } else { tag("tag")? };
            given.map(|tag| Circumstance::ColumnTagged(At::from(tag)))
        }
        "columnRegex" => {
            // The first interface keeps both in a mapping.
            let inner = fields.get("columnRegex");
            let mut inner = match inner {
                Some(node) => Fields::new(node, path)?,
                None => Fields::new(node, path)?,
            };
            let regex = inner.text("regex")?;
            let case_insensitive = inner.truth("caseInsensitive")?.unwrap_or(false);
            fields.pass_over(&["regex", "caseInsensitive"]);
            match regex {
                Some(regex) if regex::Regex::new(regex).is_ok() => {
                    Ok(Circumstance::ColumnNamedLike { pattern: At::from(regex.to_owned()), case_insensitive })
                }
                Some(regex) => Err(format!("`{}` is not a regular expression of Weir", short(regex))),
                None => Err("a circumstance has no regular expression".to_owned()),
            }
        }
        "noTags" => Ok(Circumstance::NoTags),
        "anyTag" => Ok(Circumstance::AnyTag),
        "domains" => {
            fields.pass_over(&["domains"]);
            Err("Weir has no domains".to_owned())
        }
        other => Err(format!("the circumstance `{}` is not known", short(other))),
    };
    let unknown = fields.unknown();
    Ok(match unknown.first() {
        Some(key) => found.and_then(|_| Err(format!("the key `{}` of a circumstance is not known", short(key)))),
        None => found,
    })
}

fn owners(node: &Node, path: &str) -> Result<Vec<Result<Circumstance, String>>, Wrong> {
    let mut fields = Fields::new(node, path)?;
    let mut owners = Vec::new();
    for (path, node) in fields.list("users")? {
        let mut user = Fields::new(node, &path)?;
        let name = user.text("username")?.unwrap_or("");
        let id = match user.text("iamid")? {
            None | Some(BUILT_IN) => PrincipalId::builtin(name),
            Some(manager) => IamId::new(manager).and_then(|manager| PrincipalId::new(manager, name)),
        };
        owners.push(id.map(|id| Circumstance::OwnedBy(PrincipalSet::User(id))).map_err(|error| error.to_string()));
    }
    for name in super::people::names(&mut fields, "groups")? {
        let group = weir_model::GroupName::new(name).map_err(|error| error.to_string());
        owners.push(group.map(|group| Circumstance::OwnedBy(PrincipalSet::Group(group))));
    }
    owners.extend(fields.unknown().into_iter().map(|key| Err(format!("the key `{}` is not known", short(key)))));
    if owners.is_empty() {
        owners.push(Err("its restriction to owners names nobody".to_owned()));
    }
    Ok(owners)
}
