//! Policies that allow and deny.

use weir_policy::ast::{Circumstance, Circumstances, Merge, Method, Scope, Subscribers};

use super::people::{People, restricted};
use super::read::{Item, Policy};
use super::resources::{self, Place, Tables};
use super::{Work, World, wide};
use crate::error::short;
use crate::make;
use crate::report::Outcome;

/// Masks of columns that may not be read at all come before all other masks.
const HIDDEN: i32 = 1_000_000;

/// Services whose tables can be those of Weir.
pub(super) const TABLE_SERVICES: [&str; 5] = ["hive", "impala", "presto", "spark", "trino"];

/// Access types that do not read rows.
const OTHERS: [&str; 26] = [
    "admin",
    "alter",
    "create",
    "delete",
    "drop",
    "execute",
    "grant",
    "impersonate",
    "index",
    "insert",
    "lock",
    "read_sysinfo",
    "refresh",
    "repladmin",
    "revoke",
    "rwstorage",
    "serviceadmin",
    "show",
    "tempudfadmin",
    "truncate",
    "unlock",
    "update",
    "upsert",
    "use",
    "write",
    "write_sysinfo",
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    Yes,
    No,
    Unknown,
}

/// Whether an access type reads rows of tables.
fn kind(access: &str, tag: bool) -> Reads {
    let access = match access.split_once(':') {
        Some((service, access)) if tag && TABLE_SERVICES.contains(&service) => access,
        // Of a service without tables.
        Some(_) if tag => return Reads::No,
        Some(_) | None => access,
    };
    match access {
        "select" | "all" => Reads::Yes,
        other if OTHERS.contains(&other) => Reads::No,
        _ => Reads::Unknown,
    }
}

pub(super) fn reads(policy: &Policy, item: &Item) -> Reads {
    let kinds: Vec<Reads> = item.accesses.iter().map(|access| kind(access, policy.is_tag())).collect();
    if kinds.contains(&Reads::Yes) {
        Reads::Yes
    } else if kinds.contains(&Reads::Unknown) {
        Reads::Unknown
    } else {
        Reads::No
    }
}

pub(super) fn convert(policy: &Policy, world: &World, work: &mut Work) {
    let allowed = allowed(policy, world, work);
    for item in &policy.deny {
        deny(policy, item, work);
    }
    let heeded = policy.deny_exceptions.iter().filter(|item| excepts(policy, item));
    for item in heeded {
        if policy.deny.is_empty() {
            work.line(
                policy,
                &item.path,
                Outcome::NotCarriedOver,
                Vec::new(),
                "there is nothing that it is excepted from",
            );
        } else {
            work.line(policy, &item.path, Outcome::CarriedOver, Vec::new(), "within the denials of the policy");
        }
    }
    for item in policy.deny_exceptions.iter().filter(|item| !excepts(policy, item)) {
        let why = match policy.doubts.iter().chain(&item.doubts).next() {
            Some(doubt) => format!("{doubt}, so nobody is excepted from the denial"),
            None => "it excepts nobody from a denial of reading".to_owned(),
        };
        work.line(policy, &item.path, Outcome::MoreStrictly, Vec::new(), &why);
    }
    if policy.deny_all_else {
        let path =
            if policy.path.is_empty() { "isDenyAllElse".to_owned() } else { format!("{}.isDenyAllElse", policy.path) };
        restrict(policy, &path, "all else", (&People::all(), &allowed), None, work);
    }
}

/// Whether an item of the exceptions surely excepts somebody from a denial of reading.
fn excepts(policy: &Policy, item: &Item) -> bool {
    policy.doubts.is_empty()
        && item.doubts.is_empty()
        && reads(policy, item) == Reads::Yes
        && item.people.names_somebody()
}

/// What is allowed, and who is surely allowed.
fn allowed(policy: &Policy, world: &World, work: &mut Work) -> People {
    let mut granted: Vec<&Item> = Vec::new();
    let mut people = People::default();
    for item in &policy.allow {
        for why in unread(policy, item) {
            work.line(policy, &item.path, Outcome::NotCarriedOver, Vec::new(), &why);
        }
        if reads(policy, item) != Reads::Yes {
            continue;
        }
        if let Some(doubt) = policy.doubts.iter().chain(&item.doubts).next() {
            let why = format!("{doubt}, which Weir cannot ask");
            work.line(policy, &item.path, Outcome::NotCarriedOver, Vec::new(), &why);
            continue;
        }
        for name in &item.people.unsure {
            let why = format!("{name}: it is not known who is meant");
            work.line(policy, &item.path, Outcome::NotCarriedOver, Vec::new(), &why);
        }
        if item.people.names_somebody() {
            people.add(&item.people.at_most());
            granted.push(item);
        } else if item.people.is_empty() {
            work.line(policy, &item.path, Outcome::NotCarriedOver, Vec::new(), "it names nobody");
        }
    }
    let mut except = People::default();
    for item in &policy.allow_exceptions {
        if reads(policy, item) == Reads::No {
            work.line(
                policy,
                &item.path,
                Outcome::CarriedOver,
                Vec::new(),
                "it is not about reading, and Weir only reads",
            );
        } else {
            except.add(&item.people.at_least());
        }
    }
    if granted.is_empty() {
        for item in policy.allow_exceptions.iter().filter(|item| reads(policy, item) != Reads::No) {
            work.line(policy, &item.path, Outcome::CarriedOver, Vec::new(), "there is nothing allowed to except from");
        }
        return People::default();
    }
    for place in policy.places() {
        match allow_in(policy, &place, &people, &except, world, work) {
            Ok((keys, how)) => {
                for item in &granted {
                    let outcome = if how.is_empty() { Outcome::CarriedOver } else { Outcome::MoreStrictly };
                    work.line(policy, &item.path, outcome, keys.clone(), &how);
                }
            }
            Err(why) => {
                for item in &granted {
                    work.line(policy, &item.path, Outcome::NotCarriedOver, Vec::new(), &why);
                }
            }
        }
    }
    if !except.is_empty() {
        exceptions(policy, &except, work);
    }
    // Those who are excepted see nothing because of that.
    if except.everyone { People::default() } else { people }
}

/// The access types of an item that are not about reading.
fn unread(policy: &Policy, item: &Item) -> Vec<String> {
    let of = |wanted: Reads| -> Vec<String> {
        let found = item.accesses.iter().filter(|access| kind(access, policy.is_tag()) == wanted);
        found.map(|access| format!("`{}`", short(access))).collect()
    };
    let (others, unknown) = (of(Reads::No), of(Reads::Unknown));
    let mut whys = Vec::new();
    if !others.is_empty() {
        whys.push(format!("{}: Weir only reads tables", others.join(", ")));
    }
    if !unknown.is_empty() {
        whys.push(format!("{}: not known to read tables", unknown.join(", ")));
    }
    if item.accesses.is_empty() {
        whys.push("it has no access types".to_owned());
    }
    whys
}

/// Subscriptions for one place: their keys, and how they are more strict.
fn allow_in(
    policy: &Policy,
    place: &Place,
    people: &People,
    except: &People,
    world: &World,
    work: &mut Work,
) -> Result<(Vec<String>, String), String> {
    if except.everyone {
        return Err("its exceptions take out everybody whom it allows, or may do so".to_owned());
    }
    let mut how: Vec<String> = Vec::new();
    let mut hidden: Vec<String> = Vec::new();
    let on = match place {
        Place::Elsewhere(levels) => return Err(format!("`{levels}` is no table of Weir")),
        Place::Tags(names) => {
            let tags = resources::tags(names)?;
            for tag in &tags {
                let below =
                    |other: &&String| other.strip_prefix(tag.as_str()).is_some_and(|rest| rest.starts_with('.'));
                if let Some(other) = world.tags.iter().find(below) {
                    return Err(format!("for Weir the tag `{tag}` takes in `{other}`, too"));
                }
            }
            if world.zones {
                return Err("the import has security zones, where tags may be meant otherwise".to_owned());
            }
            how.push("on tables that carry the tag; single columns cannot be allowed".to_owned());
            vec![Circumstances::Any(tags.into_iter().map(|tag| Circumstance::SourceTagged(tag.into())).collect())]
        }
        Place::Tables(tables) => {
            hidden = hidden_columns(tables)?;
            if let Some(doubt) = world.elsewhere(policy, tables) {
                return Err(doubt);
            }
            tables.exactly()?
        }
    };
    let mut keys = Vec::new();
    let origin = policy.origin();
    let who =
        if people.everyone { Some(Subscribers::Anyone) } else { people.groups_condition().map(Subscribers::When) };
    if let Some(who) = who {
        keys.extend(work.maker.add(&origin, "", 0, &make::subscribe(who, Merge::Share), &on)?);
    }
    if !people.everyone && !people.users.is_empty() {
        let users: Vec<String> = people.users.iter().map(|user| format!("`{}`", short(user))).collect();
        let body = make::subscribe(Subscribers::Selected, Merge::Share);
        keys.extend(work.maker.add(&origin, "users", 0, &body, &on)?);
        how.push(format!("select {} with `weir source select`, for each data source", users.join(", ")));
    }
    if !hidden.is_empty() {
        let (scope, when) = restricted(people, &People::default());
        let rule = make::mask(make::named_columns(&hidden)?, Method::Null, when, scope);
        keys.extend(work.maker.add(&origin, "hidden columns", HIDDEN, &make::data(vec![rule]), &on)?);
        let columns: Vec<String> = hidden.iter().map(|column| format!("`{}`", short(column))).collect();
        how.push(format!("{} is NULL for all whom it allows, also where another policy allows it", columns.join(", ")));
    }
    Ok((keys, how.join("; ")))
}

/// The columns that an allowed table does not show.
fn hidden_columns(tables: &Tables) -> Result<Vec<String>, String> {
    match &tables.columns {
        None => Err("it names no columns, so that it allows nobody to read any".to_owned()),
        Some(columns) if columns.is_all() => Ok(Vec::new()),
        Some(columns) if columns.excludes && !columns.any && columns.patterns.is_empty() => Ok(columns.literal.clone()),
        Some(columns) => Err(format!("it allows {} only; Weir subscribes to whole data sources", columns.said())),
    }
}

/// Whom an exception takes out of what is allowed sees no rows.
fn exceptions(policy: &Policy, except: &People, work: &mut Work) {
    if except.everyone {
        for item in policy.allow_exceptions.iter().filter(|item| reads(policy, item) != Reads::No) {
            work.line(
                policy,
                &item.path,
                Outcome::MoreStrictly,
                Vec::new(),
                "nobody is allowed anything by the policy",
            );
        }
        return;
    }
    let on: Vec<Circumstances> = policy.places().iter().flat_map(wide).collect();
    let (scope, when) = restricted(except, &People::default());
    let body = no_rows_for(scope, when);
    let made = work.maker.add(&policy.origin(), "exceptions", 0, &body, &on);
    for item in policy.allow_exceptions.iter().filter(|item| reads(policy, item) != Reads::No) {
        match &made {
            Ok(keys) => {
                let why = "they see no rows, also where another policy allows them to";
                work.line(policy, &item.path, Outcome::MoreStrictly, keys.clone(), why);
            }
            Err(why) => work.line(policy, &item.path, Outcome::NotCarriedOver, Vec::new(), why),
        }
    }
}

fn no_rows_for(scope: Scope, when: Option<weir_policy::ast::Predicate>) -> weir_policy::ast::Body {
    let rule = match when {
        Some(denied) => make::rows(make::not(denied), scope),
        None if scope == Scope::Everyone => make::rows(make::nobody(), scope),
        None => make::rows(make::truth(false), scope),
    };
    make::data(vec![rule])
}

fn deny(policy: &Policy, item: &Item, work: &mut Work) {
    if reads(policy, item) == Reads::No {
        let why = "it does not deny reading, and Weir does nothing else";
        return work.line(policy, &item.path, Outcome::CarriedOver, Vec::new(), why);
    }
    let people = item.people.at_least();
    if people.is_empty() {
        return work.line(policy, &item.path, Outcome::CarriedOver, Vec::new(), "it names nobody");
    }
    let mut except = People::default();
    for exception in policy.deny_exceptions.iter().filter(|exception| excepts(policy, exception)) {
        except.add(&exception.people.at_most());
    }
    let mut how: Vec<String> = Vec::new();
    if reads(policy, item) == Reads::Unknown {
        how.push("its access types are not known, so that it denies reading, too".to_owned());
    }
    how.extend(policy.doubts.iter().chain(&item.doubts).map(|doubt| format!("{doubt}; it denies always")));
    how.extend(item.people.unsure.iter().map(|name| format!("{name}: it denies everybody")));
    let stricter = (!how.is_empty()).then(|| how.join("; "));
    restrict(policy, &item.path, "denied", (&people, &except), stricter, work);
}

/// Takes a place away from people: single columns become NULL, tables show no rows.
fn restrict(
    policy: &Policy,
    path: &str,
    suffix: &str,
    (people, except): (&People, &People),
    stricter: Option<String>,
    work: &mut Work,
) {
    if except.everyone {
        return work.line(policy, path, Outcome::CarriedOver, Vec::new(), "everybody is excepted from it");
    }
    for place in policy.places() {
        let mut how: Vec<String> = stricter.iter().cloned().collect();
        let (scope, when) = restricted(people, except);
        let columns = match &place {
            Place::Elsewhere(_) => continue,
            Place::Tables(tables) => {
                if let Err(why) = tables.exactly() {
                    how.push(format!("{why}, so it reaches further"));
                }
                tables.columns.as_ref().filter(|columns| !columns.is_all())
            }
            Place::Tags(_) => {
                how.push("whole tables that carry the tag show no rows, also where only a column does".to_owned());
                None
            }
        };
        let body = match columns {
            Some(columns) if columns.only_literal() => match make::named_columns(&columns.literal) {
                Ok(named) => make::data(vec![make::mask(named, Method::Null, when, scope)]),
                Err(_) => no_rows_for(scope, when),
            },
            Some(columns) => {
                how.push(format!("Weir cannot tell {} from other columns here, so no rows are shown", columns.said()));
                no_rows_for(scope, when)
            }
            None => no_rows_for(scope, when),
        };
        let priority = if columns.is_some_and(resources::Names::only_literal) { HIDDEN } else { 0 };
        let stricter = (!how.is_empty()).then(|| how.join("; "));
        work.made(policy, path, suffix, priority, &body, &wide(&place), stricter.as_deref());
    }
}
