//! Random exports of Ranger, decided by Weir and by a plain reading of Ranger's rules.
//!
//! The reading is the most strict one where Ranger depends on something outside the export: conditions and members of
//! unknown roles are tried both ways.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use weir_import::{Document, Import};
use weir_model::{DataSource, DataType, Principal};
use weir_policy::{Mask, Snapshot, check::check, language};

use crate::world::{Seen, facts, holds, person, seen, source};

/// SplitMix64, so that a seed keeps its meaning.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.roll() % n as u64).unwrap()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items[self.below(items.len())]
    }

    fn some<'a>(&mut self, items: &[&'a str], percent: usize) -> Vec<&'a str> {
        let sure = self.below(items.len());
        (0..items.len()).filter(|i| *i == sure || self.chance(percent)).map(|i| items[i]).collect()
    }
}

const SCHEMAS: [&str; 2] = ["clinic", "hr"];
const TABLES: [&str; 3] = ["patients", "visits", "staff"];
const COLUMNS: [&str; 4] = ["region", "ssn", "name", "note"];
const TAGS: [&str; 3] = ["PII", "Secret", "Deep.PII"];
const FILTERS: [&str; 5] = ["region = 'x'", "region = \"y\"", "region IN ('x', 'y')", "", "bogus(region) = 1"];
const MASKS: [&str; 6] = ["MASK", "MASK_SHOW_LAST_4", "MASK_HASH", "MASK_NULL", "MASK_NONE", "CUSTOM"];

fn sources() -> Vec<DataSource> {
    let text = DataType::Text;
    let columns = |ssn: &'static [&'static str], name: &'static [&'static str]| {
        [
            ("region", text.clone(), &[][..]),
            ("ssn", text.clone(), ssn),
            ("name", text.clone(), name),
            ("note", text.clone(), &[]),
        ]
    };
    vec![
        source(1, "clinic.patients", &[], &columns(&["PII"], &["PII", "Deep.PII"])),
        source(2, "clinic.visits", &["Secret"], &columns(&["Secret"], &[])),
        source(3, "hr.staff", &["PII"], &columns(&[], &["Deep.PII"])),
    ]
}

fn people() -> Vec<Principal> {
    vec![
        person("u1", &["a"]),
        person("u2", &["b"]),
        person("u3", &["a", "c"]),
        person("u4", &[]),
        person("u5", &["a", "b", "c"]),
    ]
}

/// Names of one level, with wildcards and exclusion now and then.
fn level(dice: &mut Dice, names: &[&str], plain: bool) -> Value {
    if dice.chance(40) {
        return json!({"values": ["*"]});
    }
    if !plain && dice.chance(15) {
        let start = dice.pick(names).chars().next().unwrap();
        return json!({"values": [format!("{start}*")]});
    }
    json!({"values": dice.some(names, 25), "isExcludes": !plain && dice.chance(12)})
}

fn item(dice: &mut Dice, more: Value) -> Value {
    let mut item = json!({"accesses": [{"type": if dice.chance(90) { "select" } else { dice.pick(&["update", "read", "all", "fly"]) }}]});
    if dice.chance(70) {
        item["groups"] = json!(dice.some(&["a", "b", "c", "public"], 15));
    }
    if dice.chance(25) {
        item["users"] = json!(dice.some(&["u1", "u2", "u4"], 30));
    }
    if dice.chance(12) {
        item["roles"] = json!(dice.some(&["known", "unknown"], 30));
    }
    if dice.chance(8) {
        item["conditions"] = json!([{"type": "ip", "values": ["1"]}]);
    }
    for (key, value) in more.as_object().unwrap() {
        item[key] = value.clone();
    }
    item
}

fn items(dice: &mut Dice, most: usize, more: impl Fn(&mut Dice) -> Value) -> Value {
    let count = dice.below(most + 1);
    Value::Array(
        (0..count)
            .map(|_| {
                let more = more(dice);
                item(dice, more)
            })
            .collect(),
    )
}

fn export(dice: &mut Dice) -> Value {
    let plain = dice.chance(60);
    let zones = dice.chance(10);
    let count = 1 + dice.below(8);
    let policies: Vec<Value> = (0..count)
        .map(|at| {
            let kind = [0, 0, 0, 1, 1, 2][dice.below(6)];
            let tag = dice.chance(25);
            let mut policy = json!({"id": at, "name": format!("p{at}"), "service": if tag { "t" } else { "h" }, "serviceType": if tag { "tag" } else { "hive" }, "policyType": kind});
            policy["resources"] = if tag {
                json!({"tag": {"values": if plain || dice.chance(80) { json!([dice.pick(&TAGS)]) } else { json!(["P*"]) }}})
            } else {
                let mut resources = json!({"database": level(dice, &SCHEMAS, plain), "table": level(dice, &TABLES, plain)});
                if kind != 2 {
                    resources["column"] = if dice.chance(50) { json!({"values": ["*"]}) } else { level(dice, &COLUMNS, plain) };
                }
                resources
            };
            if dice.chance(12) {
                policy["policyPriority"] = json!(1);
            }
            if dice.chance(8) {
                policy["isEnabled"] = json!(false);
            }
            if dice.chance(6) {
                policy["validitySchedules"] = json!([{"startTime": "2025/01/01 00:00:00"}]);
            }
            if zones && dice.chance(40) {
                policy["zoneName"] = json!("z");
                // Ranger sees to it that policies of a zone name tables of the zone.
                if !tag {
                    let some = |dice: &mut Dice, name: &str| json!({"values": [if dice.chance(30) { "*" } else { name }]});
                    policy["resources"]["database"] = some(dice, "hr");
                    policy["resources"]["table"] = some(dice, "staff");
                }
            }
            match kind {
                0 => {
                    policy["policyItems"] = items(dice, 3, |_| json!({}));
                    if dice.chance(25) {
                        policy["allowExceptions"] = items(dice, 2, |_| json!({}));
                    }
                    if dice.chance(30) {
                        policy["denyPolicyItems"] = items(dice, 2, |_| json!({}));
                        policy["denyExceptions"] = items(dice, 1, |_| json!({}));
                    }
                    if dice.chance(10) {
                        policy["isDenyAllElse"] = json!(true);
                    }
                }
                1 => policy["dataMaskPolicyItems"] = items(dice, 3, |dice| {
                    let kind = dice.pick(&MASKS);
                    let value = if dice.chance(50) { "concat('x', right({col}, 1))" } else { "hide({col})" };
                    json!({"dataMaskInfo": {"dataMaskType": kind, "valueExpr": if kind == "CUSTOM" { json!(value) } else { Value::Null }}})
                }),
                _ => policy["rowFilterPolicyItems"] = items(dice, 3, |dice| json!({"rowFilterInfo": {"filterExpr": dice.pick(&FILTERS)}})),
            }
            policy
        })
        .collect();
    json!({"policies": policies, "roles": [{"name": "known", "users": [{"name": "u4"}], "groups": [{"name": "b"}], "roles": []}]})
}

/// What cannot be known from the export.
#[derive(Clone, Copy, Debug)]
struct Outside {
    /// Whether conditions hold, and schedules are on.
    conditions: bool,
    /// Whether the person has the role that the export does not know.
    role: bool,
}

struct Ranger<'a> {
    policies: Vec<&'a Value>,
    person: &'a Principal,
    source: &'a DataSource,
    outside: Outside,
}

fn list<'a>(node: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    node[key].as_array().into_iter().flatten()
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

impl Ranger<'_> {
    fn at(&self, policy: &Value, column: Option<&str>) -> bool {
        if policy["isEnabled"] == json!(false) || (policy["validitySchedules"].is_array() && !self.outside.conditions) {
            return false;
        }
        // The zone has the table of staff.
        if (self.source.name.table() == "staff") != policy["zoneName"].is_string() && policy_zones(&self.policies) {
            return false;
        }
        let resources = &policy["resources"];
        if let Some(tags) = resources["tag"]["values"].as_array() {
            let mut carried: BTreeSet<&str> = self.source.tags.iter().map(weir_model::Tag::as_str).collect();
            if let Some(column) = column {
                carried.extend(self.source.column(column).unwrap().tags.iter().map(weir_model::Tag::as_str));
            }
            return tags.iter().any(|tag| carried.iter().any(|one| matches(tag.as_str().unwrap(), one)));
        }
        let level = |key: &str, name: &str| {
            let found = list(&resources[key], "values").any(|value| matches(value.as_str().unwrap(), name));
            found != (resources[key]["isExcludes"] == json!(true))
        };
        level("database", self.source.name.schema())
            && level("table", self.source.name.table())
            && column.is_none_or(|column| level("column", column))
    }

    fn meant(&self, item: &Value) -> bool {
        if item["conditions"].is_array() && !self.outside.conditions {
            return false;
        }
        let reads = list(item, "accesses").any(|access| access["type"] == "select" || access["type"] == "all");
        let in_group = |group: &str| group == "public" || self.person.groups.iter().any(|one| one.as_str() == group);
        let user = self.person.id.name();
        let role = |role: &str| if role == "known" { user == "u4" || in_group("b") } else { self.outside.role };
        reads
            && (list(item, "users").any(|one| one == user)
                || list(item, "groups").any(|one| in_group(one.as_str().unwrap()))
                || list(item, "roles").any(|one| role(one.as_str().unwrap())))
    }

    fn of(&self, kind: i64, column: Option<&str>) -> Vec<&Value> {
        let mut found: Vec<&Value> = self
            .policies
            .iter()
            .copied()
            .filter(|policy| policy["policyType"] == kind && self.at(policy, column))
            .collect();
        // Tag policies come first, but for overriding ones of resources.
        let wildcards = |policy: &Value| -> i64 {
            let resources = policy["resources"].as_object().unwrap();
            let score = |level: &Value| {
                let any = |test: fn(&str) -> bool| list(level, "values").any(|value| test(value.as_str().unwrap()));
                let excludes = if level["isExcludes"] == json!(true) { 5 } else { 0 };
                if any(|v| v == "*") { 25 } else { excludes + if any(|v| v.contains('*')) { 10 } else { 0 } }
            };
            -resources.values().map(score).sum::<i64>().min(100)
        };
        found.sort_by_key(|policy| {
            let priority = -policy["policyPriority"].as_i64().unwrap_or(0);
            (
                priority,
                policy["resources"]["tag"].is_null(),
                wildcards(policy),
                policy["name"].as_str().unwrap().to_owned(),
            )
        });
        found
    }

    /// Any denial counts, whatever overrides it.
    fn allows(&self, column: &str) -> bool {
        let some = |policy: &Value, key: &str| list(policy, key).any(|item| self.meant(item));
        let policies = self.of(0, Some(column));
        let allowed = |policy: &Value| some(policy, "policyItems") && !some(policy, "allowExceptions");
        let denied = |policy: &Value| {
            some(policy, "denyPolicyItems") && !some(policy, "denyExceptions")
                || policy["isDenyAllElse"] == json!(true) && !allowed(policy)
        };
        policies.iter().any(|policy| allowed(policy)) && !policies.iter().any(|policy| denied(policy))
    }

    fn mask(&self, column: &str) -> Option<&str> {
        let mut items = self.of(1, Some(column)).into_iter().flat_map(|policy| list(policy, "dataMaskPolicyItems"));
        items.find(|item| self.meant(item)).and_then(|item| item["dataMaskInfo"]["dataMaskType"].as_str())
    }

    fn filter(&self) -> Option<&str> {
        let mut items = self.of(2, None).into_iter().flat_map(|policy| list(policy, "rowFilterPolicyItems"));
        items.find(|item| self.meant(item)).and_then(|item| item["rowFilterInfo"]["filterExpr"].as_str())
    }

    fn shows(&self, region: Option<&str>) -> bool {
        match self.filter() {
            None | Some("") => true,
            Some("region = 'x'") => region == Some("x"),
            Some("region = \"y\"") => region == Some("y"),
            Some("region IN ('x', 'y')") => region.is_some_and(|region| region != "z"),
            Some(_) => false,
        }
    }
}

fn policy_zones(policies: &[&Value]) -> bool {
    policies.iter().any(|policy| policy["zoneName"].is_string())
}

/// Whether a mask of Weir tells no more than one of Ranger.
fn hides(mask: Option<&Mask>, ranger: Option<&str>) -> bool {
    match (ranger, mask) {
        (None | Some("MASK_NONE"), _) | (_, Some(Mask::Null)) => true,
        (_, None) => false,
        (Some("MASK"), Some(mask)) => matches!(mask, Mask::Regex { .. }),
        (Some("MASK_HASH"), Some(mask)) => matches!(mask, Mask::Hash),
        // Both show the end of the value; the custom one less of it.
        (Some("MASK_SHOW_LAST_4"), Some(mask)) => matches!(mask, Mask::Computed(_)),
        (Some("CUSTOM"), Some(Mask::Computed(expression))) => format!("{expression:?}").contains("\"x\""),
        (Some(_), Some(_)) => false,
    }
}

/// How many columns Ranger shows to somebody, and Weir of them.
fn compare(seed: u64, export: &Value, import: &Import) -> (usize, usize) {
    let (sources, people) = (sources(), people());
    let snapshot = Snapshot::compile(facts(sources.clone(), people.clone(), import));
    let policies: Vec<&Value> = list(export, "policies").collect();
    let (mut ranger_shows, mut weir_shows) = (0, 0);
    for person in &people {
        for source in &sources {
            let seen = seen(&snapshot, person, source);
            for outside in [(false, false), (false, true), (true, false), (true, true)] {
                let outside = Outside { conditions: outside.0, role: outside.1 };
                let ranger = Ranger { policies: policies.clone(), person, source, outside };
                let said = || {
                    format!(
                        "seed {seed}, {} on {}, {outside:?}\n{export:#}\n{}",
                        person.id,
                        source.name,
                        crate::golden::rendered(import)
                    )
                };
                let allowed: Vec<&str> = COLUMNS.into_iter().filter(|column| ranger.allows(column)).collect();
                ranger_shows += allowed.len();
                let Seen::Rows { filter, masks } = &seen else { continue };
                let rows: Vec<Option<&str>> = [Some("x"), Some("y"), Some("z"), None]
                    .into_iter()
                    .filter(|region| filter.as_ref().is_none_or(|filter| holds(filter, *region) == Some(true)))
                    .collect();
                for region in &rows {
                    assert!(allowed.is_empty() || ranger.shows(*region), "a row with {region:?}: {}", said());
                }
                if rows.is_empty() {
                    continue;
                }
                for column in COLUMNS {
                    let mask = masks.get(column);
                    if !allowed.contains(&column) {
                        assert_eq!(mask, Some(&Mask::Null), "column {column} is not allowed: {}", said());
                    } else {
                        assert!(hides(mask, ranger.mask(column)), "column {column} with {mask:?}: {}", said());
                        weir_shows += usize::from(mask != Some(&Mask::Null));
                    }
                }
            }
        }
    }
    (ranger_shows, weir_shows)
}

/// What a policy of an export need not have: names of the world that is there.
fn expected(code: &str) -> bool {
    matches!(
        code,
        "policy::never-matches"
            | "policy::unknown-data-source"
            | "policy::unknown-column"
            | "policy::unknown-schema"
            | "policy::unknown-tag"
    )
}

#[test]
fn nobody_sees_more_than_in_ranger() {
    let (mut ranger_shows, mut weir_shows) = (0, 0);
    let seeds = std::env::var("IMPORT_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(500);
    for seed in 0..seeds {
        let export = export(&mut Dice(seed));
        let bytes = serde_json::to_vec(&export).unwrap();
        let import = weir_import::ranger(&[Document { name: "export", bytes: &bytes }]).unwrap();
        let world = facts(sources(), people(), &Import { policies: Vec::new(), ..import.clone() });
        for imported in &import.policies {
            let parsed = language::parse(&imported.text);
            assert_eq!(parsed.policies, std::slice::from_ref(&imported.policy), "{}", imported.text);
            let english = language::parse(&language::to_english(&imported.policy));
            assert_eq!(english.policies[0].statement, imported.policy.statement, "{}", imported.text);
            let wrong: Vec<_> = check(&imported.policy, &world)
                .into_iter()
                .filter(|found| found.is_error() && !expected(found.code))
                .collect();
            assert!(wrong.is_empty(), "seed {seed}: {wrong:?}\n{}", imported.text);
        }
        let keys: BTreeSet<_> = import.policies.iter().map(|one| one.policy.key.clone()).collect();
        assert_eq!(keys.len(), import.policies.len());
        let (ranger, weir) = compare(seed, &export, &import);
        ranger_shows += ranger;
        weir_shows += weir;
    }
    // Without this, an import that hides everything would pass.
    assert!(weir_shows * 4 > ranger_shows, "{weir_shows} of {ranger_shows}");
}
