use std::io::Write;

use anyhow::bail;
use chrono::SecondsFormat;
use clap::{Args, Subcommand};
use weir_guard::{Clock, SystemClock};
use weir_model::{PolicyKey, PrincipalId, SourceName};
use weir_policy::ast::Approver;
use weir_store::{ActKind, Change, RequestState, Store, SubscriptionRequest};

use crate::commands::{change, change_as, policy, time};
use crate::context::{Context, apply, find_source, find_user};
use crate::table;

/// Of a reason in the list.
const TEXT_MAX: usize = 50;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir policy add --text 'Allow anyone who asks to subscribe with approval by an owner on data source shop.orders'
  weir subscription request shop.orders --user anna --reason 'Report for the first quarter'
  weir subscription list --open
  weir subscription approve 1 --by oona --until 2030-12-31
  weir subscription deny 2 --by oona --reason 'The summary is enough for that'
  weir subscription show 1

A request asks those whom a subscription policy names. It counts once all of them have approved, and for as long as the \
policy asks for the same approvals. Nobody approves a request of their own, or for two approvers at once.")]
pub(crate) struct Subscription {
    #[command(subcommand)]
    command: SubscriptionCommand,
}

#[derive(Debug, Subcommand)]
enum SubscriptionCommand {
    /// Ask for a data source
    Request {
        /// The data source: `schema.table`
        source: SourceName,
        /// Who wants to read it
        #[arg(long)]
        user: PrincipalId,
        /// What for
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// The policy that takes people in on request [default: the oldest one for the data source]
        #[arg(long, value_name = "KEY")]
        policy: Option<PolicyKey>,
    },
    /// List the requests
    List {
        /// Requests for this data source
        #[arg(long)]
        source: Option<SourceName>,
        /// Requests of this user
        #[arg(long)]
        user: Option<PrincipalId>,
        /// Requests that wait for approvals
        #[arg(long)]
        open: bool,
    },
    /// Show one request with all that happened to it
    Show {
        /// The number of the request
        id: u64,
    },
    /// Approve a request, as one of those whom it asks
    Approve {
        /// The number of the request
        id: u64,
        /// Who approves
        #[arg(long, value_name = "USER")]
        by: PrincipalId,
        /// How long the subscription holds: a span such as 30d, a day, which is the last one, or a time such as
        /// 2030-12-31T12:00:00Z [default: without end]
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
    },
    /// Deny a request, or end what was approved
    Deny {
        /// The number of the request
        id: u64,
        /// Who denies; whoever could approve can
        #[arg(long, value_name = "USER")]
        by: PrincipalId,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Take a request back, also one that was approved
    Withdraw {
        /// The number of the request
        id: u64,
    },
}

pub(crate) async fn run(context: &Context, subscription: Subscription) -> anyhow::Result<()> {
    let store = context.store().await?;
    match subscription.command {
        SubscriptionCommand::Request { source, user, reason, policy } => {
            request(&store, source, user, reason, policy).await
        }
        SubscriptionCommand::List { source, user, open } => {
            let facts = store.facts().await?;
            let mut requests = store.requests().await?;
            // Of what is gone there may be requests yet.
            if let Some(source) = &source {
                requests.retain(|request| request.source == *source);
                if requests.is_empty() {
                    find_source(&facts, source)?;
                }
            }
            if let Some(user) = &user {
                requests.retain(|request| request.user == *user);
                if requests.is_empty() {
                    find_user(&facts, user)?;
                }
            }
            requests.retain(|request| !open || request.state == RequestState::Open);
            list(&requests)
        }
        SubscriptionCommand::Show { id } => show(&find(&store, id).await?),
        SubscriptionCommand::Approve { id, by, until } => {
            find(&store, id).await?;
            find_user(&store.facts().await?, &by)?;
            let until_unix_ms = until.map(|text| time::future(&text, SystemClock.unix_ms())).transpose()?;
            let approve = Change::ApproveSubscription { request: id, approver: by.clone(), until_unix_ms };
            change_as(&store, &by, approve, &format!("user `{by}` has approved request {id}")).await?;
            Ok(writeln!(std::io::stdout(), "{}", standing(&find(&store, id).await?))?)
        }
        SubscriptionCommand::Deny { id, by, reason } => {
            find(&store, id).await?;
            find_user(&store.facts().await?, &by)?;
            let deny = Change::DenySubscription { request: id, approver: by.clone(), reason };
            change_as(&store, &by, deny, &format!("user `{by}` has denied request {id}")).await
        }
        SubscriptionCommand::Withdraw { id } => {
            find(&store, id).await?;
            change(&store, Change::WithdrawSubscription { request: id }, &format!("request {id} is withdrawn")).await
        }
    }
}

async fn request(
    store: &Store,
    source: SourceName,
    user: PrincipalId,
    reason: String,
    policy: Option<PolicyKey>,
) -> anyhow::Result<()> {
    let facts = store.facts().await?;
    find_source(&facts, &source)?;
    find_user(&facts, &user)?;
    if let Some(policy) = &policy {
        policy::find(&facts, policy)?;
    }
    let ask = Change::RequestSubscription { source: source.clone(), user: user.clone(), reason, policy };
    let epoch = apply(store, vec![ask]).await?;
    let mut requests = store.requests().await?.into_iter().rev();
    let Some(made) = requests.find(|request| request.source == source && request.user == user) else {
        bail!("the request is not there any more");
    };
    let mut out = std::io::stdout();
    writeln!(out, "made request {} under policy `{}` (epoch {epoch})", made.id, made.policy)?;
    Ok(writeln!(out, "{}", standing(&made))?)
}

async fn find(store: &Store, id: u64) -> anyhow::Result<SubscriptionRequest> {
    match store.requests().await?.into_iter().find(|request| request.id == id) {
        Some(request) => Ok(request),
        None => bail!("request {id} does not exist\nhelp: `weir subscription list` lists all there are"),
    }
}

fn approver(approver: &Approver) -> String {
    match approver {
        Approver::Owner => "an owner of the data source".to_owned(),
        Approver::Holder(permission) => format!("a holder of the permission `{}`", permission.as_str()),
        Approver::Person(person) => format!("user `{person}`"),
    }
}

fn missing(request: &SubscriptionRequest) -> Vec<String> {
    let slots = request.approvers.iter().enumerate();
    slots.filter(|(slot, _)| !request.is_filled(*slot)).map(|(_, asked)| approver(asked)).collect()
}

fn until(request: &SubscriptionRequest) -> Option<String> {
    request.until_unix_ms().map(|until| time::shown(until, SecondsFormat::Secs))
}

/// What is to come.
fn standing(request: &SubscriptionRequest) -> String {
    match (request.state, until(request)) {
        (RequestState::Open, _) => format!("still to approve: {}", missing(request).join("; ")),
        (RequestState::Approved, None) => {
            format!("user `{}` is subscribed under policy `{}`", request.user, request.policy)
        }
        (RequestState::Approved, Some(until)) => {
            format!("user `{}` is subscribed under policy `{}` until {until}", request.user, request.policy)
        }
        (state, _) => format!("request {} is {}", request.id, state.as_str()),
    }
}

fn list(requests: &[SubscriptionRequest]) -> anyhow::Result<()> {
    let rows = requests.iter().map(|request| {
        let given = request.approvers.len().saturating_sub(missing(request).len());
        vec![
            request.id.to_string(),
            request.state.as_str().to_owned(),
            request.user.to_string(),
            request.source.to_string(),
            request.policy.to_string(),
            format!("{given} of {}", request.approvers.len()),
            until(request).unwrap_or_else(|| "-".to_owned()),
            table::shortened(&request.reason, TEXT_MAX),
        ]
    });
    let headings = ["request", "state", "user", "data source", "policy", "approvals", "until", "reason"];
    Ok(writeln!(std::io::stdout(), "{}", table::list(&headings, rows))?)
}

fn show(request: &SubscriptionRequest) -> anyhow::Result<()> {
    let at = |unix_ms: u64| time::shown(unix_ms, SecondsFormat::Secs);
    let lines = [
        ("request", request.id.to_string()),
        ("state", request.state.as_str().to_owned()),
        ("user", request.user.to_string()),
        ("data source", request.source.to_string()),
        ("policy", request.policy.to_string()),
        ("made", at(request.at_unix_ms)),
        ("reason", request.reason.clone()),
        ("asks", request.approvers.iter().map(approver).collect::<Vec<_>>().join("; ")),
        ("until", until(request).unwrap_or_else(|| "-".to_owned())),
    ];
    let mut out = std::io::stdout().lock();
    for (label, value) in lines {
        writeln!(out, "{label:12}  {}", table::printable(&value))?;
    }
    let rows = request.acts.iter().map(|act| {
        let (what, more) = match &act.what {
            ActKind::Approved { slot, until_unix_ms } => {
                let place = request.approvers.get(*slot).map(|asked| format!("as {}", approver(asked)));
                let until = until_unix_ms.map(|until| format!("until {}", at(until)));
                ("approved", table::joined(place.into_iter().chain(until)))
            }
            ActKind::Denied { reason } => ("denied", reason.clone()),
            ActKind::Withdrawn => ("withdrawn", "-".to_owned()),
        };
        vec![at(act.at_unix_ms), act.by.clone(), what.to_owned(), more]
    });
    Ok(writeln!(out, "\n{}", table::list(&["time", "by", "what", "more"], rows))?)
}
