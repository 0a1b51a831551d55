//! What owners certify of the policies on their data sources.

use std::io::Write;

use chrono::SecondsFormat;
use clap::Args;
use weir_model::{DataSource, PolicyKey, PrincipalId, SourceName};
use weir_policy::ast::Policy;
use weir_policy::{Facts, lands_on};
use weir_store::{CertificationRecord, Change, Store};

use super::time;
use crate::commands::{change, change_as, policy};
use crate::context::{Context, find_source, find_user};

/// Certify what a policy asks the owners of its data sources to certify
///
/// It holds until the policy changes. It changes nothing of what the policy does, but the data source gets the tags of the
/// certification.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  weir policy certify mask-ssn --source shop.people --by oona")]
pub(crate) struct Certify {
    /// The policy
    key: PolicyKey,
    /// The data source: `schema.table`
    #[arg(long)]
    source: SourceName,
    /// The owner who certifies it [default: whoever administers this machine]
    #[arg(long, value_name = "USER")]
    by: Option<PrincipalId>,
}

pub(crate) async fn certify(context: &Context, command: Certify) -> anyhow::Result<()> {
    let Certify { key, source, by } = command;
    let store = context.store().await?;
    let facts = store.facts().await?;
    let asked = policy::find(&facts, &key)?.certification.clone();
    find_source(&facts, &source)?;
    by.iter().try_for_each(|by| find_user(&facts, by).map(drop))?;
    let done = format!("policy `{key}` is certified for data source `{source}`");
    let certify = Change::CertifyPolicy { policy: key, source, user: by.clone() };
    match &by {
        Some(by) => change_as(&store, by, certify, &done).await?,
        None => change(&store, certify, &done).await?,
    }
    asked.iter().try_for_each(|asked| Ok(writeln!(std::io::stdout(), "  {}", asked.text)?))
}

/// The certifications that policies ask for, and what came of them.
pub(crate) struct Certifications(Vec<CertificationRecord>);

impl Certifications {
    pub(crate) async fn of(store: &Store) -> anyhow::Result<Self> {
        Ok(Self(store.certifications().await?))
    }

    /// Of one policy at one source, in words; absent when the policy asks for none there.
    pub(crate) fn state(&self, policy: &Policy, source: &DataSource, facts: &Facts) -> Option<String> {
        let asked = policy.certification.as_ref().filter(|_| !policy.template && lands_on(facts, policy, source))?;
        let what = asked.label.as_ref().unwrap_or(&asked.text);
        let made = self.0.iter().find(|made| made.policy == policy.key && made.source == source.name);
        Some(match made {
            None => format!("{what}: not certified yet"),
            Some(made) => {
                let at = time::shown(made.at_unix_ms, SecondsFormat::Secs);
                let state = if made.current { "certified" } else { "outdated, as the policy has changed; certified" };
                format!("{what}: {state} by {} at {at}", made.by)
            }
        })
    }

    /// Of all policies at the source, each with its key.
    pub(crate) fn at(&self, source: &DataSource, facts: &Facts) -> Vec<String> {
        let policies = facts.policies.iter().map(|stored| &stored.policy);
        let told =
            policies.filter_map(|policy| Some(format!("{} ({})", policy.key, self.state(policy, source, facts)?)));
        told.collect()
    }

    /// How many of the sources of the policy are certified; `-` when it asks for nothing.
    pub(crate) fn count(&self, policy: &Policy, facts: &Facts) -> String {
        if policy.certification.is_none() || policy.template {
            return "-".to_owned();
        }
        let here = facts.sources.iter().filter(|source| lands_on(facts, policy, source));
        let names: Vec<&SourceName> = here.map(|source| &source.name).collect();
        let made = |current: bool| {
            let of_policy = self.0.iter().filter(|made| made.policy == policy.key && names.contains(&&made.source));
            of_policy.filter(|made| made.current == current).count()
        };
        match made(false) {
            0 => format!("{} of {}", made(true), names.len()),
            outdated => format!("{} of {}, {outdated} outdated", made(true), names.len()),
        }
    }
}
