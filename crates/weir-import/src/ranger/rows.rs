//! Row filters. Ranger takes the first item that names the person.

use weir_policy::ast::{Circumstances, Predicate, Rule};

use super::access::{Reads, reads};
use super::people::{People, restricted};
use super::read::{Item, Policy};
use super::resources::Place;
use super::{Work, wide};
use crate::make;
use crate::report::Outcome;
use crate::sql;

/// Most items that one predicate tells apart; it grows with the square of their number.
const STEPS_MAX: usize = 60;

/// What an item shows to whom.
struct Step {
    people: People,
    shows: Predicate,
}

pub(super) fn convert(policy: &Policy, work: &mut Work) {
    let mut steps: Vec<Step> = Vec::new();
    let mut said: Vec<(&Item, Option<String>)> = Vec::new();
    let mut before = People::default();
    for item in &policy.rows {
        if steps.last().is_some_and(|step| step.people.everyone) {
            work.line(
                policy,
                &item.path,
                Outcome::CarriedOver,
                Vec::new(),
                "it is never reached: an item before it is for everyone",
            );
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
        if item.filter.as_deref() == Some("")
            && let Some(doubt) = doubt(policy, item)
        {
            said.push((item, Some(format!("{doubt}, so that it cannot show all rows: it is left out"))));
            continue;
        }
        before.add(&item.people.at_most());
        let (shows, mut how) = filter(policy, item);
        let all = shows == make::truth(true);
        if people.names_somebody() {
            steps.push(Step { people: people.at_most(), shows });
        }
        if !item.people.unsure.is_empty() {
            let names = item.people.unsure.iter().cloned().collect::<Vec<_>>().join(", ");
            if all {
                how.push(format!("{names}: left out, for nobody else is to see all rows"));
            } else {
                how.push(format!("{names}: whoever is not surely meant by this or an item before sees no rows"));
                steps.push(Step { people: item.people.at_least(), shows: make::truth(false) });
            }
        }
        said.push((item, (!how.is_empty()).then(|| how.join("; "))));
    }
    if steps.is_empty() {
        for (item, how) in said {
            let why = how.unwrap_or_default();
            work.line(policy, &item.path, Outcome::MoreStrictly, Vec::new(), &why);
        }
        return;
    }
    let mut stricter: Vec<String> = policy.doubts.iter().map(|doubt| format!("{doubt}; it holds always")).collect();
    if policy.zone.is_some() {
        stricter.push("Weir has no security zones, so it holds everywhere".to_owned());
    }
    for place in policy.places() {
        if let Place::Tables(tables) = &place
            && let Err(why) = tables.exactly()
        {
            stricter.push(format!("{why}, so it reaches further"));
        }
    }
    let on: Vec<Circumstances> = policy.places().iter().flat_map(wide).collect();
    if on.is_empty() {
        return;
    }
    if steps.len() > STEPS_MAX && steps.iter().any(|step| !step.people.users.is_empty()) {
        stricter.push(format!("it has more than {STEPS_MAX} items with users, so nobody sees any rows"));
    }
    let body = make::data(rules(steps));
    match work.maker.add(&policy.origin(), "", 0, &body, &on) {
        Ok(keys) => {
            for (item, how) in said {
                let how: Vec<String> = stricter.iter().cloned().chain(how).collect();
                let outcome = if how.is_empty() { Outcome::CarriedOver } else { Outcome::MoreStrictly };
                work.line(policy, &item.path, outcome, keys.clone(), &how.join("; "));
            }
        }
        Err(why) => {
            // A filter that is too large for Weir shows nothing at all.
            let made = work.maker.add(&policy.origin(), "", 0, &make::no_rows(), &on);
            for (item, _) in said {
                let keys = made.clone().unwrap_or_default();
                let why = format!("{why}, so nobody sees any rows");
                work.line(policy, &item.path, Outcome::MoreStrictly, keys, &why);
            }
        }
    }
}

/// Why it is not known whether Ranger takes the item.
fn doubt(policy: &Policy, item: &Item) -> Option<String> {
    let reads = reads(policy, item) == Reads::Yes;
    item.doubts.first().cloned().or_else(|| (!reads).then(|| "its access types are not about reading alone".to_owned()))
}

/// The predicate of an item, and how it is more strict.
fn filter(policy: &Policy, item: &Item) -> (Predicate, Vec<String>) {
    let none = |why: String| (make::truth(false), vec![why]);
    if let Some(doubt) = doubt(policy, item) {
        return none(format!("{doubt}; it shows no rows"));
    }
    let named = |place: &Place| matches!(place, Place::Tables(tables) if tables.names_tables());
    match item.filter.as_deref() {
        Some(text) if !text.is_empty() && !policy.places().iter().all(named) => {
            // Ranger fails on a table without the columns; Weir would pass over it.
            none(
                "it is not for tables by their names, and one without its columns would show all rows; it shows none"
                    .to_owned(),
            )
        }
        None => none("it has no row filter; it shows no rows".to_owned()),
        Some("") => (make::truth(true), Vec::new()),
        Some(text) => match sql::condition(text, policy.dialect()) {
            Ok(predicate) => (predicate, Vec::new()),
            Err(why) => none(format!("its filter is not understood ({why}); it shows no rows")),
        },
    }
}

/// A cascade where conditions can say for whom each step is; else one predicate that tells the people apart.
fn rules(steps: Vec<Step>) -> Vec<Rule> {
    let nobody = People::default();
    let scopes: Vec<_> = steps.iter().map(|step| restricted(&step.people, &nobody)).collect();
    if scopes.iter().all(|(_, when)| when.is_none()) {
        let single = steps.len() == 1;
        let rule = |(step, (scope, _)): (Step, (weir_policy::ast::Scope, _))| {
            let hides_all = single && step.people.everyone && step.shows == make::truth(false);
            make::rows(if hides_all { make::nobody() } else { step.shows }, scope)
        };
        return steps.into_iter().zip(scopes).map(rule).collect();
    }
    if steps.len() > STEPS_MAX {
        return vec![make::rows(make::nobody(), weir_policy::ast::Scope::Everyone)];
    }
    let (mut parts, mut before) = (Vec::new(), Vec::new());
    for step in steps {
        let mut part: Vec<Predicate> = before.clone();
        if !step.people.everyone {
            part.push(step.people.predicate());
            before.push(make::not(step.people.predicate()));
        } else {
            before.push(make::truth(false));
        }
        if step.shows != make::truth(false) {
            part.push(step.shows);
            parts.push(make::and(part));
        }
    }
    // Ranger does not filter for those whom no item names.
    if !before.contains(&make::truth(false)) {
        parts.push(make::and(before));
    }
    vec![make::rows(make::or(parts), weir_policy::ast::Scope::Everyone)]
}
