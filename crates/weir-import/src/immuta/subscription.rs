//! Subscription policies.

use weir_model::Permission;
use weir_policy::ast::{Approver, Merge, Subscribers};

use super::people::{People, advanced};
use super::{Policy, Work};
use crate::error::short;
use crate::make;
use crate::report::Outcome;
use crate::tree::{Fields, Node, Wrong};

pub(super) fn convert(policy: &Policy, work: &mut Work) -> Result<(), Wrong> {
    let path = policy.path_of("actions");
    let actions: Vec<(String, &Node)> = match &policy.actions {
        None => return Err((path, "the policy has no actions".to_owned())),
        // The first interface has a list here.
        Some(Node::List(items)) => items.iter().enumerate().map(|(at, item)| (format!("{path}[{at}]"), item)).collect(),
        Some(node) => vec![(path, node)],
    };
    for (path, node) in actions {
        action(policy, node, &path, work)?;
    }
    Ok(())
}

fn action(policy: &Policy, node: &Node, path: &str, work: &mut Work) -> Result<(), Wrong> {
    let mut fields = Fields::new(node, path)?;
    fields.pass_over(&["description"]);
    let kind = match fields.text("type")? {
        Some("subscription") => fields.text("subscriptionType")?,
        other => other,
    };
    let mut how: Vec<String> = Vec::new();
    let automatic = fields.truth("automaticSubscription")?.unwrap_or(true);
    if fields.truth("allowDiscovery")?.unwrap_or(false) {
        let why = "Weir shows no data source to those who may not read it";
        work.line(policy, &fields.path_of("allowDiscovery"), Outcome::MoreStrictly, Vec::new(), why);
    }
    // Those that do not merge are required, so that none of several takes somebody in alone.
    let mut merge = Merge::Require;
    let shared = fields.truth("shareResponsibility")?;
    let grant = fields.text("accessGrant")?;
    let who = match kind {
        Some("anyone" | "automatic") if automatic => Ok(Subscribers::Anyone),
        Some("anyone" | "automatic") => {
            how.push("nobody subscribes without approval where it is not automatic; an owner approves".to_owned());
            Ok(Subscribers::Asking(vec![Approver::Owner]))
        }
        Some("approval") => approvers(&mut fields, &mut how)?.map(Subscribers::Asking),
        Some("manual") => Ok(Subscribers::Selected),
        Some("entitlements" | "policy") => {
            if shared == Some(true) {
                merge = Merge::Share;
            } else if shared.is_none() {
                how.push("it is always required, for it does not say that it shares responsibility".to_owned());
            }
            match (automatic, entitled(&mut fields, &mut how)?) {
                (true, who) => who.map(Subscribers::When),
                (false, _) => Err("in Weir those whom it takes in are subscribed without asking".to_owned()),
            }
        }
        Some(other) => Err(format!("the kind `{}` of subscriptions is not known", short(other))),
        None => Err("it does not say how people subscribe".to_owned()),
    };
    let grant = match grant {
        None | Some("READ") => Ok(()),
        Some(grant) => Err(format!("it grants `{}`, and Weir only reads", short(grant))),
    };
    let unknown = fields.unknown().first().map(|key| format!("the key `{}` is not known", short(key)));
    let doubt = policy.doubts.first().cloned().or(unknown);
    let template = policy.template.then(|| "it is a template".to_owned());
    let made = who.and_then(|who| grant.map(|()| who)).and_then(|who| match doubt.or(template) {
        Some(doubt) => Err(doubt),
        None => {
            let (on, less) = policy.reach.at_most()?;
            how.extend(less);
            work.maker.add(&policy.origin(), "", 0, &make::subscribe(who, merge), &on)
        }
    });
    work.said(policy, path, made, &how);
    Ok(())
}

fn approvers(fields: &mut Fields<'_>, how: &mut Vec<String>) -> Result<Result<Vec<Approver>, String>, Wrong> {
    let mut approvers: Result<Vec<Approver>, String> = Ok(Vec::new());
    for (path, node) in fields.list("approvals")? {
        let mut approval = Fields::new(node, &path)?;
        if approval.truth("specificApproverRequired")?.unwrap_or(false) {
            how.push("any one of those who may approve does so; the one who asks does not choose".to_owned());
        }
        let permission = approval.text("requiredPermission")?.unwrap_or("");
        let approver = match permission {
            "OWNER" => Ok(Approver::Owner),
            "GOVERNANCE" => Ok(Approver::Holder(Permission::Governance)),
            "USER_ADMIN" => Ok(Approver::Holder(Permission::UserAdmin)),
            "AUDIT" => Ok(Approver::Holder(Permission::Audit)),
            "CREATE_DATA_SOURCE" => Ok(Approver::Holder(Permission::CreateDataSource)),
            other => Err(format!("Weir has no permission `{}`", short(other))),
        };
        let approver = match approval.unknown().first() {
            Some(key) => Err(format!("the key `{}` of an approval is not known", short(key))),
            None => approver,
        };
        approvers = approvers.and_then(|mut all| {
            all.push(approver?);
            Ok(all)
        });
    }
    Ok(approvers.and_then(|all| if all.is_empty() { Err("it names nobody who approves".to_owned()) } else { Ok(all) }))
}

/// Those whom groups, attributes or the advanced text take in; both have to where both are there.
fn entitled(
    fields: &mut Fields<'_>,
    how: &mut Vec<String>,
) -> Result<Result<weir_policy::ast::Condition, String>, Wrong> {
    let mut conditions = Vec::new();
    let mut wrong = None;
    for key in ["entitlements", "exceptions"] {
        let Some(node) = fields.get(key) else { continue };
        let (condition, why) = People::read(node, &fields.path_of(key), None)?.at_most();
        match (condition, why) {
            (Some(condition), why) => {
                conditions.push(condition);
                how.extend(why.map(|why| format!("{why}, so it takes in fewer people")));
            }
            (None, why) => wrong = wrong.or(why),
        }
    }
    if let Some(text) = fields.text("advanced")? {
        match advanced(text) {
            Ok(condition) => conditions.push(condition),
            Err(why) => wrong = Some(format!("its condition is not understood ({why})")),
        }
    }
    Ok(match wrong {
        Some(why) => Err(why),
        None => make::all_of(conditions).ok_or_else(|| "it names no groups and no attributes".to_owned()),
    })
}
