use std::io::Write;

use anyhow::bail;
use clap::{Args, Subcommand};
use weir_model::{GroupName, PrincipalId, PrincipalSet};
use weir_policy::Facts;
use weir_store::{Change, Store};

use crate::commands::change;
use crate::context::{Context, did_you_mean, find_user};
use crate::table;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir impersonation allow reports --user anna
  weir impersonation allow reports --group sales
  weir impersonation list
  weir impersonation deny reports --group sales

Whoever acts as somebody else sees what that user sees, has none of that user's permissions, and is on record with both \
names.")]
pub(crate) struct Impersonation {
    #[command(subcommand)]
    command: ImpersonationCommand,
}

#[derive(Debug, Subcommand)]
enum ImpersonationCommand {
    /// Let a user act as another one, or as every member of a group
    Allow(Grant),
    /// List who may act as whom
    List,
    /// End the leave
    Deny(Grant),
}

#[derive(Debug, Args)]
struct Grant {
    /// Who acts
    actor: PrincipalId,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// As this user
    #[arg(long)]
    user: Option<PrincipalId>,
    /// As every member of this group
    #[arg(long)]
    group: Option<GroupName>,
}

pub(crate) async fn run(context: &Context, impersonation: Impersonation) -> anyhow::Result<()> {
    let store = context.store().await?;
    let facts = store.facts().await?;
    match impersonation.command {
        ImpersonationCommand::Allow(grant) => {
            let grant = grant.find(&store, &facts).await?;
            let done = format!("user `{}` may act as {}", grant.actor, grant.target);
            change(&store, Change::AllowImpersonation(grant), &done).await
        }
        ImpersonationCommand::List => list(&facts),
        ImpersonationCommand::Deny(grant) => {
            let grant = grant.find(&store, &facts).await?;
            let done = format!("user `{}` may not act as {} any more", grant.actor, grant.target);
            change(&store, Change::DenyImpersonation(grant), &done).await
        }
    }
}

impl Grant {
    /// Names are looked up first, so that a mistyped one is answered with the one that was meant.
    async fn find(self, store: &Store, facts: &Facts) -> anyhow::Result<weir_model::Impersonation> {
        find_user(facts, &self.actor)?;
        let target = match (self.target.user, self.target.group) {
            (Some(user), _) => {
                find_user(facts, &user)?;
                PrincipalSet::User(user)
            }
            (None, Some(group)) => {
                let known = store.groups().await?;
                if !known.contains(&group) {
                    let names = known.iter().map(ToString::to_string);
                    bail!("group `{group}` does not exist{}", did_you_mean(group.as_str(), names));
                }
                PrincipalSet::Group(group)
            }
            (None, None) => bail!("--user or --group is needed"),
        };
        Ok(weir_model::Impersonation { actor: self.actor, target })
    }
}

fn list(facts: &Facts) -> anyhow::Result<()> {
    let rows = facts.impersonations.iter().map(|grant| {
        let (kind, name) = match &grant.target {
            PrincipalSet::User(user) => ("user", user.to_string()),
            PrincipalSet::Group(group) => ("members of", group.to_string()),
        };
        vec![grant.actor.to_string(), kind.to_owned(), name]
    });
    Ok(writeln!(std::io::stdout(), "{}", table::list(&["user", "may act as", "name"], rows))?)
}
