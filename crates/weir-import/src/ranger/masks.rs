//! Masks. Ranger takes the first item that names the person, of tag policies before those of resources.
//!
//! All masks of resources pick their columns by a pattern, so that masks by a tag are closer, as they come first in
//! Ranger; among those that are equally close the priority keeps the order of Ranger.

use std::cmp::Reverse;

use weir_policy::ast::{
    At, Body, CalendarUnit, Circumstance, Circumstances, Columns, Method, Predicate, RoundTo, Rule, Scope,
};

use super::access::{Reads, TABLE_SERVICES, reads};
use super::people::{People, restricted};
use super::read::{Item, Kind, Policy};
use super::resources::{self, Names, Place, Tables};
use super::{Work, World, wide};
use crate::error::short;
use crate::make;
use crate::report::Outcome;
use crate::sql;

/// What an item does to whom.
struct Step {
    people: People,
    method: Method,
}

/// What became of an item, and how it is more strict.
type Said<'a> = Vec<(&'a Item, Option<String>)>;

pub(super) fn convert(policies: &[Policy], world: &World, work: &mut Work) {
    let mut order: Vec<(usize, &Policy)> =
        policies.iter().enumerate().filter(|(_, policy)| policy.kind == Kind::Mask).collect();
    order
        .sort_by_key(|(_, policy)| (Reverse(policy.is_tag()), Reverse(policy.overriding), score(policy), &policy.name));
    let ranks: usize = order.iter().map(|(_, policy)| 2 * policy.masks.len() + 1).sum();
    let mut rank = i32::try_from(ranks).unwrap_or(i32::MAX);
    for (at, policy) in order {
        work.at = at;
        one(policy, world, &mut rank, work);
    }
}

/// When Ranger looks at a policy, among those of one priority: the lower the earlier, and by name where it is equal.
fn score(policy: &Policy) -> i64 {
    let Some(resources) = policy.resources.first() else { return 0 };
    let discount = |resource: &resources::Resource| {
        let any = |test: fn(&&String) -> bool| resource.values.iter().any(|value| test(&value));
        if any(|value| value.is_empty() || *value == "*") {
            return 25;
        }
        let wildcard = if any(|value| value.contains('*')) {
            10
        } else if any(|value| value.contains('?')) {
            5
        } else {
            0
        };
        wildcard + if resource.excludes { 5 } else { 0 }
    };
    let sum: i64 = resources.values().map(discount).sum();
    -sum.min(100)
}

fn one(policy: &Policy, world: &World, rank: &mut i32, work: &mut Work) {
    let doubt = doubt(policy, world);
    let (steps, said) = steps(policy, doubt.as_deref(), work);
    let highest = *rank;
    let mut lowest = highest;
    if !steps.is_empty() {
        let mut keys = Vec::new();
        let mut failed = Vec::new();
        for place in policy.places() {
            let mut next = highest;
            for (body, on) in bodies(policy, &place, &steps, doubt.is_some(), world) {
                match work.maker.add(&policy.origin(), "", next, &body, &on) {
                    Ok(more) => keys.extend(more),
                    Err(why) => {
                        failed.push(why);
                        let all = work.maker.add(&policy.origin(), "", next, &make::no_rows(), &on);
                        keys.extend(all.unwrap_or_default());
                    }
                }
                next -= 1;
            }
            lowest = lowest.min(next);
        }
        for (item, how) in said {
            let how: Vec<String> =
                how.into_iter().chain(failed.iter().map(|why| format!("{why}, so nobody sees any rows"))).collect();
            let outcome = if how.is_empty() { Outcome::CarriedOver } else { Outcome::MoreStrictly };
            work.line(policy, &item.path, outcome, keys.clone(), &how.join("; "));
        }
    } else {
        for (item, how) in said {
            work.line(policy, &item.path, Outcome::MoreStrictly, Vec::new(), &how.unwrap_or_default());
        }
    }
    *rank = lowest;
}

/// Why the masks of a policy could come to hold where they do not in Ranger, so that they must hide everything.
fn doubt(policy: &Policy, world: &World) -> Option<String> {
    if let Some(doubt) = policy.doubts.first() {
        return Some(doubt.clone());
    }
    for place in policy.places() {
        match place {
            Place::Elsewhere(_) => {}
            Place::Tags(_) if world.zones => {
                return Some("the import has security zones, where tags may be meant otherwise".to_owned());
            }
            Place::Tags(names) => match resources::tags(&names) {
                Err(why) => return Some(why),
                Ok(tags) => {
                    if let Some(tag) = tags.iter().find(|tag| tag.depth() > world.tag_depth) {
                        return Some(format!("in Weir `{tag}` is closer than the tags with fewer dots"));
                    }
                }
            },
            Place::Tables(tables) => {
                if let Err(why) = tables.exactly() {
                    return Some(why);
                }
                if let Some(why) = world.elsewhere(policy, &tables) {
                    return Some(why);
                }
                match &tables.columns {
                    None => return Some("it names no columns".to_owned()),
                    Some(columns) if columns.excludes || columns.regex() == "." && !columns.any => {
                        return Some(format!("Weir cannot tell {} from other columns", columns.said()));
                    }
                    Some(_) => {}
                }
                if policy.overriding && world.tag_masks {
                    return Some("it comes before the tag policies, which are closer in Weir".to_owned());
                }
            }
        }
    }
    None
}

fn steps<'a>(policy: &'a Policy, doubt: Option<&str>, work: &mut Work) -> (Vec<Step>, Said<'a>) {
    let mut steps: Vec<Step> = Vec::new();
    let mut said: Said<'a> = Vec::new();
    let mut before = People::default();
    for item in &policy.masks {
        if steps.last().is_some_and(|step| step.people.everyone) {
            let why = "it is never reached: an item before it is for everyone";
            work.line(policy, &item.path, Outcome::CarriedOver, Vec::new(), why);
            continue;
        }
        if item.people.is_empty() {
            work.line(policy, &item.path, Outcome::CarriedOver, Vec::new(), "it names nobody");
            continue;
        }
        let people = item.people.without(&before);
        if people.is_empty() {
            let why = "it is never reached: items before it are for the same people";
            work.line(policy, &item.path, Outcome::CarriedOver, Vec::new(), why);
            continue;
        }
        let (method, how) = method(policy, item);
        let shown = method == make::clear();
        let mut how: Vec<String> = how.into_iter().collect();
        let own = doubt.map(str::to_owned).or_else(|| item.doubts.first().cloned()).or_else(|| {
            (reads(policy, item) != Reads::Yes).then(|| "its access types are not about reading alone".to_owned())
        });
        let method = match own {
            Some(why) if shown => {
                let why = format!("{why}, so that it cannot show the value: it is left out");
                said.push((item, Some(why)));
                continue;
            }
            Some(why) if method != Method::Null => {
                how.push(format!("{why}, so that it gives NULL"));
                Method::Null
            }
            Some(why) => {
                how.push(why);
                Method::Null
            }
            None => method,
        };
        before.add(&item.people.at_most());
        if people.names_somebody() {
            steps.push(Step { people: people.at_most(), method });
        }
        if !item.people.unsure.is_empty() {
            let names = item.people.unsure.iter().cloned().collect::<Vec<_>>().join(", ");
            if shown {
                how.push(format!("{names}: left out, for nobody else is to see the value"));
            } else {
                how.push(format!("{names}: whoever is not surely meant by this or an item before gets NULL"));
                steps.push(Step { people: item.people.at_least(), method: Method::Null });
            }
        }
        said.push((item, (!how.is_empty()).then(|| how.join("; "))));
    }
    (steps, said)
}

/// The method of an item, and how it is more strict than the mask of Ranger.
fn method(policy: &Policy, item: &Item) -> (Method, Option<String>) {
    let null = |why: String| (Method::Null, Some(why));
    let Some(info) = &item.mask else { return null("it has no mask; it gives NULL".to_owned()) };
    let built_in = |expression: &str| match weir_policy::language::parse_predicate(expression) {
        Ok(expression) => Method::Custom(Box::new(expression)),
        Err(_) => Method::Null,
    };
    // A tag policy says of which service the mask is.
    let kind = match info.kind.split_once(':') {
        Some((service, kind)) if policy.is_tag() && TABLE_SERVICES.contains(&service) => kind,
        Some(_) | None => info.kind.as_str(),
    };
    match kind {
        "MASK" => {
            let regex = Method::Regex {
                pattern: ".".to_owned(),
                replacement: "x".to_owned(),
                case_insensitive: false,
                global: true,
            };
            (regex, Some("every character becomes `x`; for text only".to_owned()))
        }
        "MASK_SHOW_LAST_4" => {
            let last = "if(length(@column) > 4, concat('xxxx', right(@column, 4)), 'xxxx')";
            (built_in(last), Some("the length is hidden, and values of up to 4 characters; for text only".to_owned()))
        }
        "MASK_SHOW_FIRST_4" => {
            let first = "if(length(@column) > 4, concat(left(@column, 4), 'xxxx'), 'xxxx')";
            (built_in(first), Some("the length is hidden, and values of up to 4 characters; for text only".to_owned()))
        }
        "MASK_HASH" => {
            (Method::Hash, Some("the hash has a key, so that it cannot be guessed; for text only".to_owned()))
        }
        "MASK_NULL" => (Method::Null, None),
        "MASK_NONE" => (make::clear(), None),
        "MASK_DATE_SHOW_YEAR" => (Method::Round(RoundTo::Calendar(CalendarUnit::Year)), None),
        "CUSTOM" => match &info.expression {
            None => null("it has no expression; it gives NULL".to_owned()),
            Some(text) => match sql::expression(text, "{col}", policy.dialect()) {
                Ok(expression) => (Method::Custom(Box::new(expression)), None),
                Err(why) => null(format!("its expression is not understood ({why}); it gives NULL")),
            },
        },
        other => null(format!("the mask `{}` is not known; it gives NULL", short(other))),
    }
}

/// The policies for one place, in descending order of their priorities.
fn bodies(
    policy: &Policy,
    place: &Place,
    steps: &[Step],
    strict: bool,
    world: &World,
) -> Vec<(Body, Vec<Circumstances>)> {
    match place {
        Place::Elsewhere(_) => Vec::new(),
        Place::Tags(names) => match resources::tags(names) {
            Err(_) => vec![(no_rows(steps), wide(place))],
            Ok(tags) => {
                let mut all = Vec::new();
                for tag in tags {
                    let on = vec![Circumstances::Any(vec![Circumstance::ColumnTagged(At::from(tag.clone()))])];
                    let columns = Columns::Tagged(At::from(tag.clone()));
                    all.extend(cascade(steps, &columns).into_iter().map(|body| (body, on.clone())));
                    // A tag of a table is one of all its columns. Their types differ.
                    let on = vec![Circumstances::Any(vec![Circumstance::SourceTagged(At::from(tag))])];
                    let nulls: Vec<Step> = steps
                        .iter()
                        .filter(|step| step.method != make::clear())
                        .map(|step| Step { people: step.people.clone(), method: Method::Null })
                        .collect();
                    if !nulls.is_empty() {
                        let columns = like(".");
                        all.extend(cascade(&nulls, &columns).into_iter().map(|body| (body, on.clone())));
                    }
                }
                all
            }
        },
        Place::Tables(tables) => {
            let on = tables.at_least();
            let close = policy.overriding && world.tag_masks;
            match (strict && close, named(tables)) {
                (true, Some(columns)) => cascade(steps, &columns).into_iter().map(|body| (body, on.clone())).collect(),
                // Masks by a tag would be closer than a pattern.
                (true, None) => vec![(no_rows(steps), on)],
                (false, _) => {
                    let pattern = tables.columns.as_ref().map_or_else(|| ".".to_owned(), Names::regex);
                    cascade(steps, &like(&pattern)).into_iter().map(|body| (body, on.clone())).collect()
                }
            }
        }
    }
}

fn like(pattern: &str) -> Columns {
    Columns::NamedLike { pattern: At::from(pattern.to_owned()), case_insensitive: true }
}

fn named(tables: &Tables) -> Option<Columns> {
    let columns = tables.columns.as_ref().filter(|columns| columns.only_literal())?;
    make::named_columns(&columns.literal).ok()
}

/// One policy where conditions can say for whom each step is; else one for each step, the first the highest.
fn cascade(steps: &[Step], columns: &Columns) -> Vec<Body> {
    let nobody = People::default();
    let scopes: Vec<(Scope, Option<Predicate>)> = steps.iter().map(|step| restricted(&step.people, &nobody)).collect();
    let together = scopes.iter().all(|(_, when)| when.is_none());
    let rules: Vec<Rule> = steps
        .iter()
        .zip(scopes)
        .map(|(step, (scope, when))| make::mask(columns.clone(), step.method.clone(), when, scope))
        .collect();
    if together { vec![make::data(rules)] } else { rules.into_iter().map(|rule| make::data(vec![rule])).collect() }
}

/// No rows for anybody whom a step masks.
fn no_rows(steps: &[Step]) -> Body {
    let mut people = People::default();
    steps.iter().filter(|step| step.method != make::clear()).for_each(|step| people.add(&step.people));
    let (scope, when) = restricted(&people, &People::default());
    let rule = match when {
        Some(masked) => make::rows(make::not(masked), scope),
        None if scope == Scope::Everyone => make::rows(make::nobody(), scope),
        None => make::rows(make::truth(false), scope),
    };
    make::data(vec![rule])
}
