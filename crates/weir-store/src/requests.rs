//! Requests for subscriptions: who asked, who approved, and what holds of it now.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::{Connection, SqliteConnection, query, query_as, query_scalar};
use weir_model::{Permission, PolicyId, PolicyKey, Principal, PrincipalId, SourceId, SourceName};
use weir_policy::ast::{Approver, Body, Policy, Subscribe, Subscribers};
use weir_policy::{Snapshot, StoredPolicy};

use crate::change::{Making, json, missing, time};
use crate::error::{Failure, StoreError};
use crate::facts;
use crate::people::user_row;
use crate::sources::source_row;

/// A request with all that happened to it.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionRequest {
    pub id: u64,
    pub source: SourceName,
    pub user: PrincipalId,
    /// The policy that takes people in on request.
    pub policy: PolicyKey,
    /// Whose approvals the policy asked for then. Each is a place that one approval fills.
    pub approvers: Vec<Approver>,
    pub reason: String,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub at_unix_ms: u64,
    pub state: RequestState,
    /// The oldest first.
    pub acts: Vec<RequestAct>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestState {
    /// Approvals are missing.
    Open,
    /// The user is subscribed as far as the policy is concerned.
    Approved,
    /// The time for which it was approved is over.
    Expired,
    Denied,
    Withdrawn,
    /// The user, the source or the policy is gone, or the policy does not ask for these approvers any more.
    Void,
}

impl RequestState {
    pub fn as_str(self) -> &'static str {
        match self {
            RequestState::Open => "open",
            RequestState::Approved => "approved",
            RequestState::Expired => "expired",
            RequestState::Denied => "denied",
            RequestState::Withdrawn => "withdrawn",
            RequestState::Void => "void",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestAct {
    /// A principal, or `local` for the administrator of the machine.
    pub by: String,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub at_unix_ms: u64,
    pub what: ActKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActKind {
    Approved {
        /// Which of the approvers it stands for.
        slot: usize,
        until_unix_ms: Option<u64>,
    },
    Denied {
        reason: String,
    },
    Withdrawn,
}

impl SubscriptionRequest {
    /// Which of the approvers have approved.
    pub fn is_filled(&self, slot: usize) -> bool {
        self.acts.iter().any(|act| matches!(act.what, ActKind::Approved { slot: filled, .. } if filled == slot))
    }

    /// When what was approved ends: the earliest time that an approver gave.
    pub fn until_unix_ms(&self) -> Option<u64> {
        self.acts.iter().filter_map(RequestAct::until).min()
    }
}

impl RequestAct {
    fn until(&self) -> Option<u64> {
        match &self.what {
            ActKind::Approved { until_unix_ms, .. } => *until_unix_ms,
            ActKind::Denied { .. } | ActKind::Withdrawn => None,
        }
    }
}

/// As the database keeps it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kept {
    Owner,
    Holder(Permission),
    Person(PrincipalId),
}

impl From<&Approver> for Kept {
    fn from(approver: &Approver) -> Self {
        match approver {
            Approver::Owner => Kept::Owner,
            Approver::Holder(permission) => Kept::Holder(*permission),
            Approver::Person(person) => Kept::Person(person.clone()),
        }
    }
}

impl From<Kept> for Approver {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Owner => Approver::Owner,
            Kept::Holder(permission) => Approver::Holder(permission),
            Kept::Person(person) => Approver::Person(person),
        }
    }
}

/// Whom a policy in effect asks.
fn asked(policy: &Policy) -> Option<&[Approver]> {
    match &policy.statement.body {
        Body::Subscribe(Subscribe { who: Subscribers::Asking(approvers), .. }) if policy.is_in_effect() => {
            Some(approvers)
        }
        Body::Subscribe(_) | Body::Data(_) => None,
    }
}

/// Requests, not yet understood.
#[derive(Default)]
pub(crate) struct Rows {
    requests: Vec<RequestRow>,
    acts: Vec<ActRow>,
}

/// The columns and the tables of each statement; a condition and an order follow.
macro_rules! select {
    (requests) => {
        "SELECT r.id, r.source, r.source_name, r.principal, r.principal_name, r.policy, r.policy_key, r.approvers,
            r.reason, r.at_unix_ms, r.ended
        FROM subscription_request r"
    };
    (acts) => {
        "SELECT a.request, a.at_unix_ms, a.made_by, a.act, a.slot, a.until_unix_ms, a.reason
        FROM subscription_act a JOIN subscription_request r ON r.id = a.request"
    };
}

/// Of requests that may count.
macro_rules! live {
    () => {
        " WHERE r.ended IS NULL AND r.source IS NOT NULL AND r.principal IS NOT NULL AND r.policy IS NOT NULL"
    };
}

type RequestRow =
    (u64, Option<u32>, String, Option<i64>, String, Option<u32>, String, String, String, u64, Option<String>);
type ActRow = (u64, u64, String, String, Option<u32>, Option<u64>, Option<String>);

impl Rows {
    /// Those that may count, for the sources of a JSON array or for all.
    pub(crate) async fn live(tx: &mut SqliteConnection, sources: Option<&str>) -> Result<Self, sqlx::Error> {
        let (requests, acts) = match sources {
            None => (
                concat!(select!(requests), live!(), " ORDER BY r.id"),
                concat!(select!(acts), live!(), " ORDER BY a.id"),
            ),
            Some(_) => (
                concat!(select!(requests), live!(), " AND r.source IN (SELECT value FROM json_each(?)) ORDER BY r.id"),
                concat!(select!(acts), live!(), " AND r.source IN (SELECT value FROM json_each(?)) ORDER BY a.id"),
            ),
        };
        let (mut requests, mut acts) = (query_as(requests), query_as(acts));
        if let Some(sources) = sources {
            (requests, acts) = (requests.bind(sources), acts.bind(sources));
        }
        Ok(Self { requests: requests.fetch_all(&mut *tx).await?, acts: acts.fetch_all(&mut *tx).await? })
    }

    /// The one of that id, or all.
    async fn read(tx: &mut SqliteConnection, id: Option<u64>) -> Result<Self, sqlx::Error> {
        let requests = concat!(select!(requests), " WHERE ?1 IS NULL OR r.id = ?1 ORDER BY r.id");
        let acts = concat!(select!(acts), " WHERE ?1 IS NULL OR r.id = ?1 ORDER BY a.id");
        let id = id.map(time);
        Ok(Self {
            requests: query_as(requests).bind(id).fetch_all(&mut *tx).await?,
            acts: query_as(acts).bind(id).fetch_all(&mut *tx).await?,
        })
    }

    /// `asks` says whom the policy of an id asks now.
    fn understand<'p>(
        self,
        now_unix_ms: u64,
        asks: impl Fn(u32) -> Option<&'p [Approver]>,
    ) -> Result<Vec<Known>, StoreError> {
        let mut requests = Vec::with_capacity(self.requests.len());
        let mut acts: BTreeMap<u64, Vec<ActRow>> = BTreeMap::new();
        for row in self.acts {
            acts.entry(row.0).or_default().push(row);
        }
        for (id, source, source_name, principal, user, policy, policy_key, approvers, reason, at, ended) in
            self.requests
        {
            let what = || format!("request {id}");
            let corrupt = |why: &dyn ToString| StoreError::corrupt(what(), why.to_string());
            let approvers: Vec<Kept> = facts::json(what, &approvers)?;
            let approvers: Vec<Approver> = approvers.into_iter().map(Approver::from).collect();
            let mut request = SubscriptionRequest {
                id,
                source: source_name.parse().map_err(|e| corrupt(&e))?,
                user: user.parse().map_err(|e| corrupt(&e))?,
                policy: PolicyKey::new(policy_key).map_err(|e| corrupt(&e))?,
                approvers,
                reason,
                at_unix_ms: at,
                state: RequestState::Open,
                acts: Vec::new(),
            };
            for row in acts.remove(&id).unwrap_or_default() {
                request.acts.push(act(row).map_err(|why| corrupt(&why))?);
            }
            let approved = (0..request.approvers.len()).all(|slot| request.is_filled(slot));
            let over = request.until_unix_ms().is_some_and(|until| until <= now_unix_ms);
            let there = source.is_some() && principal.is_some();
            let stands = there && policy.and_then(&asks) == Some(request.approvers.as_slice());
            request.state = match ended.as_deref() {
                Some("denied") => RequestState::Denied,
                Some("withdrawn") => RequestState::Withdrawn,
                Some(other) => return Err(corrupt(&format!("it ended as `{other}`"))),
                None if !stands => RequestState::Void,
                None if !approved => RequestState::Open,
                None if over => RequestState::Expired,
                None => RequestState::Approved,
            };
            requests.push(Known { source, policy, request });
        }
        Ok(requests)
    }

    /// Those that are approved now. `policy` gives the policy of an id.
    pub(crate) fn approved<'p>(
        self,
        now_unix_ms: u64,
        policy: impl Fn(PolicyId) -> Option<&'p StoredPolicy>,
    ) -> Result<Vec<Granted>, StoreError> {
        let asks = |id| policy(PolicyId(id)).and_then(|stored| asked(&stored.policy));
        let requests = self.understand(now_unix_ms, asks)?.into_iter();
        let approved = requests.filter(|known| known.request.state == RequestState::Approved);
        Ok(approved
            .filter_map(|Known { source, policy, request }| {
                let until_unix_ms = request.until_unix_ms();
                Some(Granted {
                    source: SourceId(source?),
                    policy: PolicyId(policy?),
                    user: request.user,
                    until_unix_ms,
                })
            })
            .collect())
    }
}

/// A request with the rows of its source and its policy.
struct Known {
    source: Option<u32>,
    policy: Option<u32>,
    request: SubscriptionRequest,
}

/// An approved request.
pub(crate) struct Granted {
    pub(crate) source: SourceId,
    pub(crate) policy: PolicyId,
    pub(crate) user: PrincipalId,
    pub(crate) until_unix_ms: Option<u64>,
}

fn act((_, at_unix_ms, by, act, slot, until_unix_ms, reason): ActRow) -> Result<RequestAct, String> {
    let what = match (act.as_str(), slot) {
        ("approved", Some(slot)) => {
            let slot = usize::try_from(slot).map_err(|e| e.to_string())?;
            ActKind::Approved { slot, until_unix_ms }
        }
        ("denied", None) => ActKind::Denied { reason: reason.unwrap_or_default() },
        ("withdrawn", None) => ActKind::Withdrawn,
        (other, _) => return Err(format!("it was `{other}`")),
    };
    Ok(RequestAct { by, at_unix_ms, what })
}

/// All requests there ever were, the oldest first.
pub(crate) async fn list(conn: &mut SqliteConnection, now_unix_ms: u64) -> Result<Vec<SubscriptionRequest>, Failure> {
    some(conn, None, now_unix_ms).await
}

async fn some(
    conn: &mut SqliteConnection,
    id: Option<u64>,
    now_unix_ms: u64,
) -> Result<Vec<SubscriptionRequest>, Failure> {
    let mut tx = conn.begin().await?;
    let rows = Rows::read(&mut tx, id).await?;
    let policies = "SELECT id, key, text FROM policy
        WHERE id IN (SELECT policy FROM subscription_request WHERE ?1 IS NULL OR id = ?1)";
    let policies: Vec<(u32, String, String)> = query_as(policies).bind(id.map(time)).fetch_all(&mut *tx).await?;
    tx.commit().await?;
    let policies = policies.into_iter().map(|(id, key, text)| Ok((id, facts::policy(&key, &text)?)));
    let policies: Vec<(u32, Policy)> = policies.collect::<Result<_, StoreError>>()?;
    let asks = |id| policies.iter().find(|(known, _)| *known == id).and_then(|(_, policy)| asked(policy));
    Ok(rows.understand(now_unix_ms, asks)?.into_iter().map(|known| known.request).collect())
}

async fn one(tx: &mut SqliteConnection, id: u64, now_unix_ms: u64) -> Result<SubscriptionRequest, Failure> {
    match some(tx, Some(id), now_unix_ms).await?.pop() {
        Some(request) => Ok(request),
        None => missing("request", id),
    }
}

pub(crate) async fn ask(
    tx: &mut SqliteConnection,
    making: &Making<'_>,
    source: &SourceName,
    user: &PrincipalId,
    reason: &str,
    policy: Option<&PolicyKey>,
) -> Result<(), Failure> {
    let (source_id, user_id) = (source_row(tx, source).await?, user_row(tx, user).await?);
    let refused = |why: String| {
        let what = format!("user `{user}` cannot request a subscription to data source `{source}`");
        Failure::from(StoreError::refused(what, why))
    };
    if reason.trim().is_empty() {
        return Err(refused("there is no reason".to_owned()));
    }
    for known in some(tx, None, making.at_unix_ms).await? {
        if known.state == RequestState::Open && known.source == *source && known.user == *user {
            return Err(refused(format!("request {} is not decided yet", known.id)));
        }
    }
    let around = facts::read_around(tx, source_id).await?.understand(making.at_unix_ms, None)?;
    let around = Snapshot::compile(around.facts);
    let stored = asking(&around, source, policy).map_err(refused)?;
    let approvers: Vec<Kept> = asked(&stored.policy).unwrap_or_default().iter().map(Kept::from).collect();
    let insert = "INSERT INTO subscription_request
        (source, source_name, principal, principal_name, policy, policy_key, approvers, reason, at_unix_ms)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    query(insert)
        .bind(source_id)
        .bind(source.to_string())
        .bind(user_id)
        .bind(user.to_string())
        .bind(stored.id.0)
        .bind(stored.policy.key.as_str())
        .bind(json(&approvers)?)
        .bind(reason.trim())
        .bind(making.at())
        .execute(tx)
        .await?;
    Ok(())
}

/// The policy that a request is for, or why there is none.
fn asking<'s>(
    snapshot: &'s Snapshot,
    source: &SourceName,
    named: Option<&PolicyKey>,
) -> Result<&'s StoredPolicy, String> {
    let Some(source) = snapshot.source_by_name(source) else { return Err("it does not exist".to_owned()) };
    let mut here = snapshot.asking(source.id).into_iter().map(|(stored, _)| stored);
    let Some(key) = named else {
        return here.next().ok_or_else(|| "no policy that is in effect there takes people in on request".to_owned());
    };
    match snapshot.policies().find(|stored| stored.policy.key == *key) {
        None => Err(format!("policy `{key}` does not exist")),
        Some(stored) if asked(&stored.policy).is_none() => {
            Err(format!("policy `{key}` is not in effect or does not take people in on request"))
        }
        Some(stored) => {
            here.find(|known| known.id == stored.id).ok_or_else(|| format!("policy `{key}` is not about that source"))
        }
    }
}

/// Which of the places `approver` could fill.
async fn places(
    tx: &mut SqliteConnection,
    request: &SubscriptionRequest,
    approver: &Principal,
) -> Result<Vec<usize>, Failure> {
    let owner = "SELECT EXISTS (SELECT 1 FROM source_owner o JOIN principal p ON p.id = o.principal
        JOIN subscription_request r ON r.source = o.source WHERE r.id = ? AND p.iam = ? AND p.name = ?)";
    let (iam, name) = (approver.id.iam().as_str(), approver.id.name());
    let owner: bool = query_scalar(owner).bind(time(request.id)).bind(iam).bind(name).fetch_one(tx).await?;
    let can = |asked: &Approver| match asked {
        Approver::Owner => owner,
        Approver::Holder(permission) => approver.permissions.contains(permission),
        Approver::Person(person) => *person == approver.id,
    };
    Ok((0..).zip(&request.approvers).filter(|(_, asked)| can(asked)).map(|(slot, _)| slot).collect())
}

pub(crate) async fn approve(
    tx: &mut SqliteConnection,
    making: &Making<'_>,
    id: u64,
    approver: &PrincipalId,
    until_unix_ms: Option<u64>,
) -> Result<(), Failure> {
    let request = one(tx, id, making.at_unix_ms).await?;
    let approver = facts::principal(tx, approver).await?;
    let refused = |why: &str| {
        Failure::from(StoreError::refused(format!("request {id} cannot be approved by user `{}`", approver.id), why))
    };
    match request.state {
        RequestState::Open => {}
        RequestState::Approved => return Err(refused("it has all its approvals")),
        RequestState::Expired => return Err(refused("it has run out; a new one can be made")),
        RequestState::Denied => return Err(refused("it was denied")),
        RequestState::Withdrawn => return Err(refused("it was withdrawn")),
        RequestState::Void => return Err(refused("what it asks for has changed; a new one can be made")),
    }
    if request.user == approver.id {
        return Err(refused("nobody approves a request of their own"));
    }
    let name = approver.id.to_string();
    if request.acts.iter().any(|act| act.by == name) {
        return Err(refused("they have approved it already"));
    }
    if until_unix_ms.is_some_and(|until| until <= making.at_unix_ms) {
        return Err(refused("the subscription would end in the past"));
    }
    let places = places(tx, &request, &approver).await?;
    let Some(slot) = places.iter().find(|slot| !request.is_filled(**slot)) else {
        return Err(refused(if places.is_empty() {
            "it does not ask for their approval"
        } else {
            "somebody has approved it in their place"
        }));
    };
    let insert = "INSERT INTO subscription_act (request, at_unix_ms, made_by, act, slot, until_unix_ms)
        VALUES (?, ?, ?, 'approved', ?, ?)";
    query(insert)
        .bind(time(id))
        .bind(making.at())
        .bind(name)
        .bind(i64::try_from(*slot).unwrap_or(i64::MAX))
        .bind(until_unix_ms.map(time))
        .execute(tx)
        .await?;
    Ok(())
}

pub(crate) async fn deny(
    tx: &mut SqliteConnection,
    making: &Making<'_>,
    id: u64,
    approver: &PrincipalId,
    reason: &str,
) -> Result<(), Failure> {
    let request = one(tx, id, making.at_unix_ms).await?;
    let approver = facts::principal(tx, approver).await?;
    let what = format!("request {id} cannot be denied by user `{}`", approver.id);
    let why = if request.user == approver.id {
        Some("it is their own, which they can withdraw")
    } else if places(tx, &request, &approver).await?.is_empty() {
        Some("it does not ask for their approval")
    } else if reason.trim().is_empty() {
        Some("there is no reason")
    } else {
        None
    };
    if let Some(why) = why {
        return Err(StoreError::refused(what, why).into());
    }
    end(tx, making, &request, what, End::Denied { by: &approver.id.to_string(), reason: reason.trim() }).await
}

pub(crate) async fn withdraw(tx: &mut SqliteConnection, making: &Making<'_>, id: u64) -> Result<(), Failure> {
    let request = one(tx, id, making.at_unix_ms).await?;
    end(tx, making, &request, format!("request {id} cannot be withdrawn"), End::Withdrawn).await
}

enum End<'a> {
    Denied { by: &'a str, reason: &'a str },
    Withdrawn,
}

async fn end(
    tx: &mut SqliteConnection,
    making: &Making<'_>,
    request: &SubscriptionRequest,
    what: String,
    how: End<'_>,
) -> Result<(), Failure> {
    match request.state {
        RequestState::Open | RequestState::Approved | RequestState::Expired | RequestState::Void => {}
        RequestState::Denied => return Err(StoreError::refused(what, "it was denied").into()),
        RequestState::Withdrawn => return Err(StoreError::refused(what, "it was withdrawn").into()),
    }
    let (how, by, reason) = match how {
        End::Denied { by, reason } => ("denied", by, Some(reason)),
        End::Withdrawn => ("withdrawn", making.by, None),
    };
    let insert = "INSERT INTO subscription_act (request, at_unix_ms, made_by, act, reason) VALUES (?, ?, ?, ?, ?)";
    let insert = query(insert).bind(time(request.id)).bind(making.at()).bind(by).bind(how).bind(reason);
    insert.execute(&mut *tx).await?;
    let update = query("UPDATE subscription_request SET ended = ? WHERE id = ?").bind(how).bind(time(request.id));
    update.execute(tx).await?;
    Ok(())
}
