//! An export of Ranger as it is written (`RangerPolicy`, `ServicePolicies` and `RangerRole` of Ranger 2).

use std::collections::BTreeMap;

use super::people::{People, Roles};
use super::resources::Resource;
use crate::error::{Error, short};
use crate::report::{Line, Outcome};
use crate::tree::{Fields, Node, Wrong};

/// Most policies of one import.
const POLICIES_MAX: usize = 10_000;

/// Everything that the documents hold.
#[derive(Default)]
pub(super) struct Export {
    pub(super) policies: Vec<Policy>,
    pub(super) roles: Roles,
    /// Resources of security zones, where the export has them.
    pub(super) zones: Vec<BTreeMap<String, Resource>>,
    pub(super) zone_names: bool,
    /// About what is no policy.
    pub(super) lines: Vec<Line>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Access,
    Mask,
    Rows,
    Unknown(i64),
}

pub(super) struct Policy {
    pub(super) file: String,
    pub(super) path: String,
    pub(super) name: String,
    pub(super) service: String,
    /// Such as `hive`; empty when the export does not say.
    pub(super) service_type: String,
    pub(super) kind: Kind,
    /// Before all policies of normal priority.
    pub(super) overriding: bool,
    pub(super) enabled: bool,
    pub(super) audited: bool,
    pub(super) resources: Vec<BTreeMap<String, Resource>>,
    pub(super) allow: Vec<Item>,
    pub(super) allow_exceptions: Vec<Item>,
    pub(super) deny: Vec<Item>,
    pub(super) deny_exceptions: Vec<Item>,
    pub(super) masks: Vec<Item>,
    pub(super) rows: Vec<Item>,
    pub(super) deny_all_else: bool,
    pub(super) zone: Option<String>,
    pub(super) labels: bool,
    /// What Weir cannot tell about when the policy holds.
    pub(super) doubts: Vec<String>,
}

pub(super) struct Item {
    pub(super) path: String,
    /// Names of access types that are allowed or denied.
    pub(super) accesses: Vec<String>,
    pub(super) people: People,
    pub(super) delegate_admin: bool,
    pub(super) doubts: Vec<String>,
    pub(super) mask: Option<MaskInfo>,
    /// The text of a row filter.
    pub(super) filter: Option<String>,
}

#[derive(Default)]
pub(super) struct MaskInfo {
    pub(super) kind: String,
    pub(super) expression: Option<String>,
}

/// Where a list of policies stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    file: &'a str,
    service: &'a str,
    service_type: &'a str,
    zone: Option<&'a str>,
}

impl Export {
    /// Takes in one document.
    pub(super) fn read(&mut self, file: &str, tree: &Node) -> Result<(), Error> {
        let place = Place { file, service: "", service_type: "", zone: None };
        self.document(place, tree).map_err(|(path, message)| Error::new(file, path, message))?;
        if self.policies.len() > POLICIES_MAX {
            let message = format!("there are more than {POLICIES_MAX} policies; import them in several parts");
            return Err(Error::new(file, "", message));
        }
        Ok(())
    }

    fn document(&mut self, place: Place<'_>, tree: &Node) -> Result<(), Wrong> {
        let items: Vec<(String, &Node)> = match tree {
            Node::List(items) => items.iter().enumerate().map(|(at, item)| (format!("[{at}]"), item)).collect(),
            Node::Map(_) if tree.at("resources").is_some() => vec![(String::new(), tree)],
            Node::Map(_) => return self.service_policies(place, tree, ""),
            Node::Null | Node::Truth(_) | Node::Number(_) | Node::Text(_) => {
                return Err((String::new(), format!("expected an export of policies, found {}", tree.what())));
            }
        };
        let is_role = |node: &Node| {
            node.is_map()
                && node.at("resources").is_none()
                && node.at("policyType").is_none()
                && node.at("name").is_some()
        };
        if !items.is_empty() && items.iter().all(|(_, item)| is_role(item)) {
            return items.into_iter().try_for_each(|(path, item)| self.roles.read(item, &path));
        }
        self.policies(place, items)
    }

    fn service_policies(&mut self, place: Place<'_>, tree: &Node, path: &str) -> Result<(), Wrong> {
        let mut fields = Fields::new(tree, path)?;
        fields.pass_over(&[
            "metaDataInfo",
            "serviceId",
            "policyVersion",
            "policyUpdateTime",
            "auditMode",
            "serviceConfig",
            "roleVersion",
            "roleUpdateTime",
            "startIndex",
            "pageSize",
            "totalCount",
            "resultSize",
            "sortType",
            "sortBy",
            "queryTimeMS",
        ]);
        let service = fields.text("serviceName")?.unwrap_or(place.service);
        let definition = fields.get("serviceDef").and_then(|definition| definition.at("name"));
        let service_type = match definition {
            Some(Node::Text(name)) => name,
            Some(_) | None => place.service_type,
        };
        let place = Place { service, service_type, ..place };
        let mut found = false;
        for key in ["rangerRoles", "roles"] {
            for (path, role) in fields.list(key)? {
                found = true;
                self.roles.read(role, &path)?;
            }
        }
        found |= fields.get("policies").is_some();
        let policies = fields.list("policies")?;
        self.policies(place, policies)?;
        if let Some(tags) = fields.get("tagPolicies") {
            found = true;
            let place = Place { service: "", service_type: "tag", ..place };
            self.service_policies(place, tags, &fields.path_of("tagPolicies"))?;
        }
        if let Some(zones) = fields.get("securityZones") {
            let path = fields.path_of("securityZones");
            let names = Fields::new(zones, &path)?;
            for name in names.keys() {
                if let Some(zone) = zones.at(name) {
                    self.zone(Place { zone: Some(name), ..place }, zone, &format!("{path}.{name}"))?;
                }
            }
            found = true;
        }
        if !fields.list("policyDeltas")?.is_empty() {
            let why = "the file holds changes of policies; export the policies themselves".to_owned();
            return Err((fields.path_of("policyDeltas"), why));
        }
        for key in fields.unknown() {
            self.lines.push(Line {
                file: place.file.to_owned(),
                path: fields.path_of(key),
                policy: String::new(),
                outcome: Outcome::NotCarriedOver,
                became: Vec::new(),
                why: format!("the key `{}` is not known", short(key)),
            });
        }
        if found {
            return Ok(());
        }
        Err((
            path.to_owned(),
            "this is no export of policies or roles: it has neither `policies` nor `roles`".to_owned(),
        ))
    }

    fn zone(&mut self, place: Place<'_>, zone: &Node, path: &str) -> Result<(), Wrong> {
        self.zone_names = true;
        let mut fields = Fields::new(zone, path)?;
        for (path, node) in fields.list("resources")? {
            // Here a resource is a list of names for each level.
            let mut resource = BTreeMap::new();
            let levels = Fields::new(node, &path)?;
            for level in levels.keys() {
                let values = match node.at(level) {
                    Some(Node::List(values)) => values.iter().map(|value| match value {
                        Node::Text(text) => text.clone(),
                        Node::Null | Node::Truth(_) | Node::Number(_) | Node::List(_) | Node::Map(_) => "*".to_owned(),
                    }),
                    Some(_) | None => return Err((levels.path_of(level), "expected a list of names".to_owned())),
                };
                resource.insert(level.to_owned(), Resource { values: values.collect(), excludes: false });
            }
            self.zones.push(resource);
        }
        let policies = fields.list("policies")?;
        self.policies(place, policies)
    }

    fn policies(&mut self, place: Place<'_>, items: Vec<(String, &Node)>) -> Result<(), Wrong> {
        for (path, item) in items {
            let policy = policy(place, item, &path)?;
            self.zone_names |= policy.zone.is_some();
            self.policies.push(policy);
        }
        Ok(())
    }
}

fn policy(place: Place<'_>, node: &Node, path: &str) -> Result<Policy, Wrong> {
    let mut fields = Fields::new(node, path)?;
    fields.pass_over(&[
        "guid",
        "createdBy",
        "updatedBy",
        "createTime",
        "updateTime",
        "version",
        "description",
        "resourceSignature",
    ]);
    let id = fields.whole("id")?;
    let name = match (fields.text("name")?, id) {
        (Some(name), _) if !name.trim().is_empty() => name.to_owned(),
        (_, Some(id)) => format!("policy {id}"),
        (_, None) => return Err((fields.path_of("name"), "the policy has neither a name nor an id".to_owned())),
    };
    let mut doubts = Vec::new();
    let kind = match fields.whole("policyType")?.unwrap_or(0) {
        0 => Kind::Access,
        1 => Kind::Mask,
        2 => Kind::Rows,
        other => Kind::Unknown(other),
    };
    let overriding = match fields.whole("policyPriority")?.unwrap_or(0) {
        0 => false,
        1 => true,
        other => {
            doubts.push(format!("the priority {other} is not known"));
            false
        }
    };
    let mut resources = Vec::new();
    if let Some(node) = fields.get("resources") {
        resources.push(resource(node, &fields.path_of("resources"), &mut doubts)?);
    }
    for (path, node) in fields.list("additionalResources")? {
        resources.push(resource(node, &path, &mut doubts)?);
    }
    doubts.extend(conditions(&mut fields)?);
    if !fields.list("validitySchedules")?.is_empty() {
        doubts.push("it holds at some times only (`validitySchedules`)".to_owned());
    }
    let options = fields.get("options");
    if options.is_some_and(|node| *node != Node::Map(Vec::new())) {
        doubts.push("its `options` are not known".to_owned());
    }
    let service_type = fields.text("serviceType")?.filter(|text| !text.is_empty()).unwrap_or(place.service_type);
    let zone = fields.text("zoneName")?.filter(|name| !name.trim().is_empty()).or(place.zone);
    let mut policy = Policy {
        file: place.file.to_owned(),
        path: path.to_owned(),
        name,
        service: fields.text("service")?.unwrap_or(place.service).to_owned(),
        service_type: service_type.to_lowercase(),
        kind,
        overriding,
        enabled: fields.truth("isEnabled")?.unwrap_or(true),
        audited: fields.truth("isAuditEnabled")?.unwrap_or(true),
        resources,
        allow: items(&mut fields, "policyItems")?,
        allow_exceptions: items(&mut fields, "allowExceptions")?,
        deny: items(&mut fields, "denyPolicyItems")?,
        deny_exceptions: items(&mut fields, "denyExceptions")?,
        masks: items(&mut fields, "dataMaskPolicyItems")?,
        rows: items(&mut fields, "rowFilterPolicyItems")?,
        deny_all_else: fields.truth("isDenyAllElse")?.unwrap_or(false),
        zone: zone.map(str::to_owned),
        labels: !fields.list("policyLabels")?.is_empty(),
        doubts,
    };
    policy.doubts.extend(fields.unknown().into_iter().map(|key| format!("the key `{}` is not known", short(key))));
    Ok(policy)
}

fn resource(node: &Node, path: &str, doubts: &mut Vec<String>) -> Result<BTreeMap<String, Resource>, Wrong> {
    let levels = Fields::new(node, path)?;
    let mut resources = BTreeMap::new();
    for level in levels.keys() {
        let Some(node) = node.at(level) else { continue };
        let mut fields = Fields::new(node, &levels.path_of(level))?;
        let values = fields.texts("values")?.into_iter().map(str::to_owned).collect();
        let excludes = fields.truth("isExcludes")?.unwrap_or(false);
        // Names of tables and columns have nothing below them.
        fields.truth("isRecursive")?;
        doubts.extend(
            fields.unknown().into_iter().map(|key| format!("the key `{}` of a resource is not known", short(key))),
        );
        resources.insert(level.to_owned(), Resource { values, excludes });
    }
    Ok(resources)
}

fn conditions(fields: &mut Fields<'_>) -> Result<Vec<String>, Wrong> {
    let mut doubts = Vec::new();
    for (path, node) in fields.list("conditions")? {
        let mut condition = Fields::new(node, &path)?;
        let kind = condition.text("type")?.unwrap_or("?");
        doubts.push(format!("it holds under a condition (`{}`)", short(kind)));
    }
    Ok(doubts)
}

fn items(fields: &mut Fields<'_>, key: &'static str) -> Result<Vec<Item>, Wrong> {
    fields.list(key)?.into_iter().map(|(path, node)| item(node, path)).collect()
}

fn item(node: &Node, path: String) -> Result<Item, Wrong> {
    let mut fields = Fields::new(node, &path)?;
    let mut doubts = conditions(&mut fields)?;
    let mut accesses = Vec::new();
    for (path, node) in fields.list("accesses")? {
        let mut access = Fields::new(node, &path)?;
        let kind = access.text("type")?.unwrap_or("").to_lowercase();
        // What is not allowed here is not meant at all.
        if access.truth("isAllowed")?.unwrap_or(true) {
            accesses.push(kind);
        }
        doubts.extend(
            access.unknown().into_iter().map(|key| format!("the key `{}` of an access is not known", short(key))),
        );
    }
    let people = People::new(&fields.texts("users")?, &fields.texts("groups")?, &fields.texts("roles")?);
    let mask = match fields.get("dataMaskInfo") {
        None => None,
        Some(node) => {
            let mut mask = Fields::new(node, &fields.path_of("dataMaskInfo"))?;
            let kind = mask.text("dataMaskType")?.unwrap_or("").to_owned();
            if mask.text("conditionExpr")?.is_some_and(|text| !text.trim().is_empty()) {
                doubts.push("its mask has a condition (`conditionExpr`)".to_owned());
            }
            let expression = mask.text("valueExpr")?.filter(|text| !text.trim().is_empty()).map(str::to_owned);
            doubts.extend(
                mask.unknown().into_iter().map(|key| format!("the key `{}` of a mask is not known", short(key))),
            );
            Some(MaskInfo { kind, expression })
        }
    };
    let filter = match fields.get("rowFilterInfo") {
        None => None,
        Some(node) => {
            let mut filter = Fields::new(node, &fields.path_of("rowFilterInfo"))?;
            let text = filter.text("filterExpr")?.unwrap_or("").trim().to_owned();
            doubts.extend(
                filter
                    .unknown()
                    .into_iter()
                    .map(|key| format!("the key `{}` of a row filter is not known", short(key))),
            );
            Some(text)
        }
    };
    let delegate_admin = fields.truth("delegateAdmin")?.unwrap_or(false);
    doubts.extend(fields.unknown().into_iter().map(|key| format!("the key `{}` is not known", short(key))));
    Ok(Item { path, accesses, people, delegate_admin, doubts, mask, filter })
}
