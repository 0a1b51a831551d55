//! Data policies: lists of rules, of which the first that is for the person counts.

use weir_model::PurposeName;
use weir_policy::ast::{Action, At, Body, Columns, Condition, MaskAction, Method, RowCondition, Rule, Scope};

use super::people::People;
use super::{Policy, Work, mask, rows};
use crate::error::short;
use crate::make;
use crate::report::Outcome;
use crate::tree::{Fields, Node, Wrong};

/// What a rule does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Deed {
    /// A mask of each of these; an error when columns are not understood.
    Mask {
        columns: Result<Vec<Columns>, String>,
        method: Method,
        when: Option<weir_policy::ast::Predicate>,
    },
    Rows(RowCondition),
    Purposes(Result<Vec<PurposeName>, String>),
    Unknown,
}

/// For whom a rule is.
enum For {
    Everyone { except: Option<Condition> },
    Who(Condition),
}

struct Step {
    path: String,
    deed: Deed,
    whom: For,
    how: Vec<String>,
}

pub(super) fn convert(policy: &Policy, work: &mut Work) -> Result<(), Wrong> {
    let path = policy.path_of("actions");
    let Some(Node::List(actions)) = &policy.actions else {
        return Err((path, "the actions of a data policy are a list".to_owned()));
    };
    for (at, node) in actions.iter().enumerate() {
        let path = format!("{path}[{at}]");
        let mut fields = Fields::new(node, &path)?;
        // The first interface says the kind of the rules here, too.
        fields.pass_over(&["description", "type"]);
        let rules = fields.list("rules")?;
        if rules.is_empty() {
            work.line(policy, &path, Outcome::CarriedOver, Vec::new(), "it has no rules");
        }
        let mut doubts: Vec<String> = policy.doubts.clone();
        doubts.extend(fields.unknown().into_iter().map(|key| format!("the key `{}` is not known", short(key))));
        if policy.template {
            doubts.push("it is a template".to_owned());
        }
        action(policy, rules, &doubts, work)?;
    }
    Ok(())
}

fn action(policy: &Policy, rules: Vec<(String, &Node)>, doubts: &[String], work: &mut Work) -> Result<(), Wrong> {
    let (on, further) = policy.reach.at_least();
    let mut steps: Vec<Step> = Vec::new();
    for (path, node) in rules {
        if steps.last().is_some_and(|step| matches!(step.whom, For::Everyone { .. })) {
            let why = "it is never reached: a rule before it is for everyone";
            work.line(policy, &path, Outcome::CarriedOver, Vec::new(), why);
            continue;
        }
        for step in rule(node, path, doubts, &further)? {
            let same = |before: &Step| matches!((&before.whom, &step.whom), (For::Who(a), For::Who(b)) if a == b);
            if steps.iter().any(same) {
                let why = "it is never reached: a rule before it is for the same people";
                work.line(policy, &step.path, Outcome::CarriedOver, Vec::new(), why);
            } else {
                steps.push(step);
            }
        }
    }
    if steps.is_empty() {
        return Ok(());
    }
    let (bodies, why) = bodies(&steps);
    let mut keys = Vec::new();
    let mut failed: Vec<String> = why.into_iter().collect();
    for body in bodies {
        let priority = if is_mask(&body) { work.rank } else { 0 };
        match work.maker.add(&policy.origin(), "", priority, &body, &on) {
            Ok(more) => keys.extend(more),
            Err(why) => {
                failed.push(format!("{why}; it shows no rows"));
                keys.extend(work.maker.add(&policy.origin(), "", 0, &make::no_rows(), &on).unwrap_or_default());
            }
        }
    }
    let mut last = None;
    for step in steps {
        // A rule can be two steps.
        let how: Vec<String> = step.how.iter().chain(&failed).cloned().collect();
        if last.as_ref() != Some(&step.path) {
            work.said(policy, &step.path, Ok(keys.clone()), &how);
        }
        last = Some(step.path);
    }
    Ok(())
}

fn is_mask(body: &Body) -> bool {
    match body {
        Body::Subscribe(_) => false,
        Body::Data(cascade) => cascade.rules.iter().any(|rule| matches!(rule.action, Action::Mask(_))),
    }
}

/// A rule as one step, or as two where it is not sure for whom it is. It hides everything from everybody where there
/// are doubts about it; where it reaches further, a weak mask could take the place of a strong one.
fn rule(node: &Node, path: String, doubts: &[String], further: &[String]) -> Result<Vec<Step>, Wrong> {
    let mut fields = Fields::new(node, &path)?;
    fields.pass_over(&["description"]);
    let operator = fields.text("operator")?;
    let kind = fields.text("type")?.unwrap_or("").to_lowercase();
    let empty = Node::Map(Vec::new());
    let config = fields.get("config").unwrap_or(&empty);
    let config_path = fields.path_of("config");
    let mut how: Vec<String> = doubts.iter().chain(further).cloned().collect();
    let mut deed = match kind.as_str() {
        "masking" => mask::read(config, &config_path, &mut how)?,
        "purpose restriction" | "prerequisite" => Deed::Purposes(purposes(config, &config_path, &mut how)?),
        kind if rows::KINDS.contains(&kind) => Deed::Rows(rows::read(kind, config, &config_path, &mut how)?),
        other => {
            how.push(format!("the kind `{}` of rules is not known; it shows no rows", short(other)));
            Deed::Unknown
        }
    };
    let inclusions = read_people(&mut fields, "inclusions", operator)?;
    let exceptions = read_people(&mut fields, "exceptions", operator)?;
    let unknown: Vec<String> =
        fields.unknown().into_iter().map(|key| format!("the key `{}` is not known", short(key))).collect();
    let doubtful = !doubts.is_empty() || !unknown.is_empty();
    how.extend(unknown);
    if doubtful {
        how.push("it hides everything from everybody".to_owned());
        return Ok(vec![Step { path, deed: hidden(deed), whom: For::Everyone { except: None }, how }]);
    }
    if !further.is_empty() && matches!(&deed, Deed::Mask { method, .. } if *method != Method::Null) {
        how.push("it gives NULL".to_owned());
        deed = hidden(deed);
    }
    let whom = match (&inclusions, &exceptions) {
        (None, None) => For::Everyone { except: None },
        (None, Some(people)) => {
            let (except, why) = people.at_most();
            how.extend(why.map(|why| format!("{why}, so it excepts fewer people")));
            For::Everyone { except }
        }
        (Some(people), _) => {
            if exceptions.is_some() {
                how.push("it holds for those whom it excepts, too".to_owned());
            }
            match people.at_most() {
                (Some(_), None) if matches!(deed, Deed::Purposes(_)) => {
                    how.push("in Weir a limit to purposes is for everyone".to_owned());
                    For::Everyone { except: None }
                }
                (Some(who), None) => For::Who(who),
                (who, why) => {
                    // Whoever may be meant, and all after them, get the most strict.
                    let why = why.unwrap_or_default();
                    how.push(format!("{why}, so whoever is not surely meant by it or a rule before gets nothing"));
                    let rest = Step {
                        path: path.clone(),
                        deed: hidden(deed.clone()),
                        whom: For::Everyone { except: None },
                        how: Vec::new(),
                    };
                    let sure = who.filter(|_| !matches!(deed, Deed::Purposes(_)));
                    let first = sure.map(|who| Step { path, deed, whom: For::Who(who), how: how.clone() });
                    return Ok(match first {
                        Some(first) => vec![first, rest],
                        None => vec![Step { how, ..rest }],
                    });
                }
            }
        }
    };
    Ok(vec![Step { path, deed, whom, how }])
}

fn read_people(fields: &mut Fields<'_>, key: &'static str, operator: Option<&str>) -> Result<Option<People>, Wrong> {
    match fields.get(key) {
        None => Ok(None),
        Some(node) => People::read(node, &fields.path_of(key), operator).map(Some),
    }
}

/// The strictest of the kind.
fn hidden(deed: Deed) -> Deed {
    match deed {
        Deed::Mask { columns, .. } => Deed::Mask { columns, method: Method::Null, when: None },
        Deed::Rows(_) => Deed::Rows(RowCondition::Where(make::truth(false))),
        Deed::Purposes(_) | Deed::Unknown => Deed::Unknown,
    }
}

fn purposes(config: &Node, path: &str, how: &mut Vec<String>) -> Result<Result<Vec<PurposeName>, String>, Wrong> {
    let mut fields = Fields::new(config, path)?;
    fields.pass_over(&["operator"]);
    let names = super::people::names(&mut fields, "purposes")?;
    let purposes: Result<Vec<PurposeName>, String> =
        names.into_iter().map(|name| PurposeName::new(name).map_err(|error| error.to_string())).collect();
    let unknown = fields.unknown();
    let purposes = match (purposes, unknown.first()) {
        (_, Some(key)) => Err(format!("the key `{}` is not known", short(key))),
        (Ok(purposes), None) if purposes.is_empty() => Err("it names no purposes".to_owned()),
        (purposes, None) => purposes,
    };
    how.extend(purposes.as_ref().err().map(|why| format!("{why}; it shows no rows")));
    Ok(purposes)
}

/// The policies of a list of rules; more strict, with the reason, where Weir has no such list.
fn bodies(steps: &[Step]) -> (Vec<Body>, Option<String>) {
    let nothing = |why: &str| (vec![make::no_rows()], Some(format!("{why}; it shows no rows")));
    let mut fields: Option<&Vec<Columns>> = None;
    let mut kinds: Vec<u8> = Vec::new();
    for step in steps {
        kinds.push(match &step.deed {
            Deed::Mask { columns: Ok(columns), .. } => {
                if fields.is_some_and(|before| before != columns) {
                    return nothing("its rules mask different columns");
                }
                fields = Some(columns);
                0
            }
            Deed::Rows(_) => 1,
            Deed::Purposes(Ok(_)) => 2,
            // Said with the rule.
            Deed::Mask { columns: Err(_), .. } | Deed::Purposes(Err(_)) | Deed::Unknown => {
                return (vec![make::no_rows()], None);
            }
        });
    }
    kinds.dedup();
    if kinds.len() > 1 {
        return nothing("its rules are of several kinds");
    }
    match fields {
        Some(fields) => (fields.iter().map(|columns| cascade(steps, Some(columns))).collect(), None),
        None => (vec![cascade(steps, None)], None),
    }
}

fn cascade(steps: &[Step], columns: Option<&Columns>) -> Body {
    let single = steps.len() == 1;
    let rule = |step: &Step| {
        let scope = match &step.whom {
            For::Everyone { except: None } => Scope::Everyone,
            For::Everyone { except: Some(except) } => Scope::EveryoneExcept(except.clone()),
            For::Who(who) => Scope::Who(who.clone()),
        };
        let action = match (&step.deed, columns) {
            (Deed::Mask { method, when, .. }, Some(columns)) => Action::Mask(MaskAction {
                columns: columns.clone(),
                method: At::from(method.clone()),
                or_else: Vec::new(),
                when: when.clone(),
            }),
            (Deed::Rows(RowCondition::Where(none)), _)
                if single && scope == Scope::Everyone && *none == make::truth(false) =>
            {
                Action::ShowRows(RowCondition::Where(make::nobody()))
            }
            (Deed::Rows(rows), _) => Action::ShowRows(rows.clone()),
            (Deed::Purposes(Ok(purposes)), _) => {
                Action::LimitToPurposes(purposes.iter().cloned().map(At::from).collect())
            }
            (Deed::Mask { .. } | Deed::Purposes(Err(_)) | Deed::Unknown, _) => {
                Action::ShowRows(RowCondition::Where(make::nobody()))
            }
        };
        Rule { action, scope }
    };
    make::data(steps.iter().map(rule).collect())
}
