//! Policies that are made from templates.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::bail;
use clap::Args;
use weir_model::{PolicyKey, SourceName};
use weir_policy::ast::Circumstances;
use weir_policy::check::check;
use weir_policy::{Diagnostic, language, renamed};
use weir_store::Change;

use crate::commands::{key_value, policy};
use crate::context::{Context, apply, find_source};
use crate::terminal;

/// Make a policy from a template
#[derive(Debug, Args)]
#[command(after_help = "Example:
  weir policy instantiate hide-column hide-email --on shop.people --set COLUMN=email")]
pub(crate) struct Instantiate {
    /// The template
    template: PolicyKey,
    /// The key of the policy that is made
    key: PolicyKey,
    /// Data sources on which the policy holds, instead of those of the template
    #[arg(long, value_name = "SOURCE", num_args = 1..)]
    on: Vec<SourceName>,
    /// A name or a text of the template, and what stands in its place; may be repeated
    #[arg(long = "set", value_name = "OLD=NEW")]
    names: Vec<String>,
}

pub(crate) async fn instantiate(context: &Context, command: Instantiate) -> anyhow::Result<()> {
    let Instantiate { template, key, on, names } = command;
    let store = context.store().await?;
    let facts = store.facts().await?;
    let mut made = policy::find(&facts, &template)?.clone();
    if !made.template {
        bail!("policy `{template}` is no template\nhelp: a template says so: `policy {template} template: …`");
    }
    if facts.policies.iter().any(|stored| stored.policy.key == key) {
        bail!("policy `{key}` exists already\nhelp: remove it first with `weir policy remove {key}`");
    }
    on.iter().try_for_each(|name| find_source(&facts, name).map(drop))?;
    let mut by_name = BTreeMap::new();
    for pair in &names {
        let (old, new) = key_value(pair)?;
        if by_name.insert(old.to_owned(), new.to_owned()).is_some() {
            bail!("`{old}` is set twice");
        }
    }
    if !on.is_empty() {
        made.statement.on = Circumstances::Named(on.into_iter().map(Into::into).collect());
    }
    made.template = false;
    let mut made = renamed(made, &by_name).map_err(|wrong| anyhow::anyhow!("{}", wrong.message))?;
    made.key = key;
    // As it will be read, so that what is said about it has a place.
    let text = language::to_english(&made);
    let parsed = language::parse_english(&text);
    let Some(read) = parsed.policies.into_iter().next().filter(|_| parsed.diagnostics.is_empty()) else {
        bail!("what comes of it cannot be read back\n{text}");
    };
    let found = check(&read, &facts);
    for diagnostic in &found {
        writeln!(std::io::stderr(), "{}", terminal::diagnostic(diagnostic, read.key.as_str(), &text, context.color))?;
    }
    if found.iter().any(Diagnostic::is_error) {
        bail!("nothing was saved");
    }
    let key = read.key.clone();
    let epoch = apply(&store, vec![Change::PutPolicy(read)]).await?;
    Ok(writeln!(std::io::stdout(), "added policy `{key}` from template `{template}` (epoch {epoch})\n{text}")?)
}
