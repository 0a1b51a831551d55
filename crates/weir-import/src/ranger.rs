//! Policies of Apache Ranger.
//!
//! Ranger looks at tag policies before resource policies, at overriding ones before normal ones, and takes the first
//! mask that names the person; a denial wins over what is allowed. Weir lets the closest mask win, ANDs row filters,
//! and has no denial: a denial becomes a row filter that shows nothing.

mod access;
mod masks;
mod people;
mod read;
mod resources;
mod rows;

use std::collections::BTreeSet;

use weir_policy::ast::{Body, Circumstances};

use crate::document::{self, Document, Format};
use crate::error::{Error, short};
use crate::make::{Import, Maker, Origin};
use crate::report::{Line, Outcome, Report};
use crate::sql::{Dialect, DoubleQuotes};
use read::{Export, Item, Kind, Policy};
use resources::{Place, Tables};

pub(crate) fn import(documents: &[Document<'_>]) -> Result<Import, Error> {
    document::check_total(documents)?;
    let mut export = Export::default();
    for given in documents {
        for tree in given.trees(Format::Json)? {
            export.read(given.name, &tree)?;
        }
    }
    check_names(&export.policies)?;
    let Export { mut policies, roles, zones, zone_names, lines } = export;
    for policy in &mut policies {
        let lists = [
            &mut policy.allow,
            &mut policy.allow_exceptions,
            &mut policy.deny,
            &mut policy.deny_exceptions,
            &mut policy.masks,
            &mut policy.rows,
        ];
        lists.into_iter().flatten().for_each(|item| roles.expand(&mut item.people));
    }
    let zones = zones.iter().map(|zone| Place::new(zone, false)).collect();
    let world = World::new(&policies, zones, zone_names);
    let mut work = Work { maker: Maker::default(), lines: Vec::new(), at: 0 };
    for (at, policy) in policies.iter().enumerate() {
        work.at = at;
        work.policy(policy, &world);
    }
    masks::convert(&policies, &world, &mut work);
    // Masks are made in their own order; the report has that of the input.
    work.lines.sort_by_key(|(at, _)| *at);
    let lines = lines.into_iter().chain(work.lines.into_iter().map(|(_, line)| line)).collect();
    Ok(Import { policies: work.maker.policies, report: Report { lines } })
}

/// Ranger keeps names apart within a service; a second one would be a mistake of whoever joined files.
fn check_names(policies: &[Policy]) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for policy in policies {
        if !seen.insert((&policy.service, &policy.zone, &policy.name)) {
            let service = short(&policy.service);
            let message = format!("service `{service}` has two policies with the name `{}`", short(&policy.name));
            return Err(Error::new(&policy.file, policy.path.clone(), message));
        }
    }
    Ok(())
}

/// What of the whole import decides how single policies are carried over.
struct World {
    /// There are security zones, where policies may not hold.
    zones: bool,
    /// Tables of policies of zones, and of the zones.
    zoned: Vec<Place>,
    /// More than one catalogue has tables of policies.
    catalogs: bool,
    /// More than one service has tables of policies.
    services: bool,
    tag_masks: bool,
    /// Of the tags of masks, the least number of parts.
    tag_depth: usize,
    /// All tags of policies.
    tags: BTreeSet<String>,
}

impl World {
    fn new(policies: &[Policy], mut zoned: Vec<Place>, zones: bool) -> Self {
        let mut world = World {
            zones,
            zoned: Vec::new(),
            catalogs: false,
            services: false,
            tag_masks: false,
            tag_depth: usize::MAX,
            tags: BTreeSet::new(),
        };
        let (mut catalogs, mut services) = (BTreeSet::new(), BTreeSet::new());
        for policy in policies {
            for place in policy.places() {
                match &place {
                    Place::Tags(names) => {
                        world.tags.extend(names.literal.iter().cloned());
                        if policy.kind == Kind::Mask {
                            world.tag_masks = true;
                            let depth = names.literal.iter().map(|name| name.split('.').count()).min();
                            world.tag_depth = world.tag_depth.min(depth.unwrap_or(1));
                        }
                    }
                    Place::Tables(tables) => {
                        services.insert(&policy.service);
                        if let Some(names) = &tables.catalogs {
                            catalogs.extend(names.literal.iter().cloned());
                            world.catalogs |= names.excludes || !names.patterns.is_empty();
                        }
                    }
                    Place::Elsewhere(_) => {}
                }
                if policy.zone.is_some() {
                    zoned.push(place);
                }
            }
        }
        world.catalogs |= catalogs.len() > 1;
        world.services = services.len() > 1;
        world.zoned = zoned;
        world
    }

    /// Why a policy for these tables may not hold on all of them in Ranger.
    fn elsewhere(&self, policy: &Policy, tables: &Tables) -> Option<String> {
        if self.catalogs && tables.catalogs.is_some() {
            return Some("the import has several catalogues, and data sources of Weir have none".to_owned());
        }
        if self.services {
            return Some("the import has tables of several services; import each with its tags by itself".to_owned());
        }
        let exact = tables.schemas.only_literal() && tables.tables.as_ref().is_some_and(resources::Names::only_literal);
        if policy.zone.is_some() {
            return (!exact).then(|| "it holds in a security zone only, which Weir does not have".to_owned());
        }
        if self.zones && !exact {
            return Some("some of the tables may be in a security zone, where it does not hold".to_owned());
        }
        let in_zone = self.zoned.iter().any(|place| match place {
            Place::Tables(zoned) => zoned.may_meet(tables),
            Place::Tags(_) | Place::Elsewhere(_) => false,
        });
        in_zone.then(|| "a table of it may be in a security zone, where it does not hold".to_owned())
    }
}

impl Policy {
    fn is_hive(&self) -> bool {
        matches!(self.service_type.as_str(), "hive" | "spark" | "impala")
            || self.service_type.is_empty() && self.resources.iter().any(|one| one.contains_key("database"))
    }

    fn is_trino(&self) -> bool {
        matches!(self.service_type.as_str(), "trino" | "presto")
    }

    fn is_tag(&self) -> bool {
        self.resources.iter().any(|one| one.len() == 1 && one.contains_key("tag"))
    }

    fn dialect(&self) -> Dialect {
        let double_quotes = match self.service_type.as_str() {
            "hive" | "spark" | "impala" => DoubleQuotes::Text,
            "trino" | "presto" => DoubleQuotes::Name,
            _ => DoubleQuotes::Unknown,
        };
        Dialect { double_quotes, small_letters: self.is_hive() || self.is_trino(), functions: false }
    }

    fn places(&self) -> Vec<Place> {
        self.resources.iter().map(|one| Place::new(one, self.is_hive() || self.is_trino())).collect()
    }

    fn origin(&self) -> Origin<'_> {
        Origin { name: &self.name, title: &self.name, staged: !self.enabled }
    }
}

/// The policies and lines made so far.
struct Work {
    maker: Maker,
    /// With the number of the policy.
    lines: Vec<(usize, Line)>,
    at: usize,
}

impl Work {
    fn policy(&mut self, policy: &Policy, world: &World) {
        let path = |key: &str| if policy.path.is_empty() { key.to_owned() } else { format!("{}.{key}", policy.path) };
        if !policy.enabled {
            let why = "it is disabled, so what it became is staged: saved and shown, but without effect";
            self.line(policy, &path("isEnabled"), Outcome::CarriedOver, Vec::new(), why);
        }
        if !policy.audited {
            let why = "Weir records every read";
            self.line(policy, &path("isAuditEnabled"), Outcome::MoreStrictly, Vec::new(), why);
        }
        if policy.labels {
            let why = "policies of Weir have no labels";
            self.line(policy, &path("policyLabels"), Outcome::NotCarriedOver, Vec::new(), why);
        }
        let items = [&policy.allow, &policy.deny, &policy.masks, &policy.rows];
        for item in items.into_iter().flatten().filter(|item| item.delegate_admin) {
            let why = "who may change policies is said by the permissions of Weir";
            self.line(policy, &format!("{}.delegateAdmin", item.path), Outcome::NotCarriedOver, Vec::new(), why);
        }
        if policy.resources.is_empty() {
            let why = "it names no resources";
            return self.line(policy, &path("resources"), Outcome::NotCarriedOver, Vec::new(), why);
        }
        for (index, place) in policy.places().iter().enumerate() {
            let path =
                if index == 0 { path("resources") } else { path(&format!("additionalResources[{}]", index - 1)) };
            if let Place::Elsewhere(levels) = place {
                let why = format!("it speaks of `{levels}`, which is no table of Weir");
                self.line(policy, &path, Outcome::NotCarriedOver, Vec::new(), &why);
            }
        }
        match policy.kind {
            Kind::Access => {
                self.idle(policy, [&policy.masks, &policy.rows], "it stands in a policy of another kind");
                access::convert(policy, world, self);
            }
            Kind::Mask => self.idle(policy, [&policy.rows, &policy.allow], "it stands in a masking policy"),
            Kind::Rows => {
                self.idle(policy, [&policy.masks, &policy.allow], "it stands in a row filter policy");
                rows::convert(policy, self);
            }
            Kind::Unknown(kind) => {
                let why = format!("the kind {kind} of policies is not known; what it takes away is taken away whole");
                let path = path("policyType");
                let on: Vec<Circumstances> = policy.places().iter().flat_map(wide).collect();
                self.made(policy, &path, "", 0, &crate::make::no_rows(), &on, Some(&why));
            }
        }
    }

    /// Items that Ranger does not look at.
    fn idle(&mut self, policy: &Policy, items: [&Vec<Item>; 2], why: &str) {
        for item in items.into_iter().flatten() {
            self.line(policy, &item.path, Outcome::NotCarriedOver, Vec::new(), why);
        }
    }

    fn line(&mut self, policy: &Policy, path: &str, outcome: Outcome, became: Vec<String>, why: &str) {
        let line = Line {
            file: policy.file.clone(),
            path: path.to_owned(),
            policy: policy.name.clone(),
            outcome,
            became,
            why: why.to_owned(),
        };
        self.lines.push((self.at, line));
    }

    /// Adds policies and says so. With a reason they are more strict than what they were.
    #[expect(clippy::too_many_arguments, reason = "each is said once, at the place that knows it")]
    fn made(
        &mut self,
        policy: &Policy,
        path: &str,
        suffix: &str,
        priority: i32,
        body: &Body,
        on: &[Circumstances],
        stricter: Option<&str>,
    ) {
        match self.maker.add(&policy.origin(), suffix, priority, body, on) {
            Ok(keys) => {
                let outcome = if stricter.is_some() { Outcome::MoreStrictly } else { Outcome::CarriedOver };
                self.line(policy, path, outcome, keys, stricter.unwrap_or_default());
            }
            Err(why) => self.line(policy, path, Outcome::NotCarriedOver, Vec::new(), &why),
        }
    }
}

/// Where a place may be, for what only takes away.
fn wide(place: &Place) -> Vec<Circumstances> {
    match place {
        Place::Tables(tables) => tables.at_least(),
        Place::Tags(names) => resources::tagged(names),
        Place::Elsewhere(_) => Vec::new(),
    }
}
