use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Subcommand};
use rand::RngExt;
use weir_model::{AttributeKey, GroupName, Permission, Principal, PrincipalId, Secret, SourceId};
use weir_policy::Facts;
use weir_store::{Change, Store};

use crate::commands::key_value;
use crate::context::{Context, apply, find_user};
use crate::{table, terminal};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir user add anna --group sales --attribute nation=FRANCE
  weir user group add anna 'Home Goods'
  weir user attribute set anna nation=GERMANY
  weir user permission add anna governance
  weir user show anna")]
pub(crate) struct User {
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Add a user; the password is asked for, or made up and printed once
    Add {
        /// By which the user logs in
        name: PrincipalId,
        /// A group that the user is a member of; may be repeated
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<GroupName>,
        /// An attribute, as `key=value`; may be repeated, also for several values of one key
        #[arg(long = "attribute", value_name = "KEY=VALUE")]
        attributes: Vec<String>,
        /// A right over Weir itself: governance, user-admin, create-data-source, audit, project-management or unmask;
        /// may be repeated
        #[arg(long = "permission", value_name = "PERMISSION", value_parser = permission)]
        permissions: Vec<Permission>,
        #[command(flatten)]
        password: PasswordFrom,
    },
    /// List the users
    List,
    /// Show one user
    Show { name: PrincipalId },
    /// Remove a user, with all that the user has and is part of
    Remove { name: PrincipalId },
    /// Change the groups of a user
    #[command(subcommand)]
    Group(GroupCommand),
    /// Change the attributes of a user
    #[command(subcommand)]
    Attribute(AttributeCommand),
    /// Change the rights of a user over Weir itself
    #[command(subcommand)]
    Permission(PermissionCommand),
    /// Set the password of a user; it is asked for, or made up and printed once
    Password {
        name: PrincipalId,
        #[command(flatten)]
        password: PasswordFrom,
    },
}

#[derive(Debug, Args)]
struct PasswordFrom {
    /// Take the password from the first line of a file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum GroupCommand {
    /// Make the user a member
    Add { name: PrincipalId, group: GroupName },
    /// End the membership
    Remove { name: PrincipalId, group: GroupName },
}

#[derive(Debug, Subcommand)]
enum AttributeCommand {
    /// Give the user a value; a key may have several
    Set {
        name: PrincipalId,
        #[arg(value_name = "KEY=VALUE")]
        attribute: String,
    },
    /// Take a value away
    Remove {
        name: PrincipalId,
        #[arg(value_name = "KEY=VALUE")]
        attribute: String,
    },
}

#[derive(Debug, Subcommand)]
enum PermissionCommand {
    /// Give the user a right: governance, user-admin, create-data-source, audit, project-management or unmask
    Add {
        name: PrincipalId,
        #[arg(value_parser = permission)]
        permission: Permission,
    },
    /// Take a right away
    Remove {
        name: PrincipalId,
        #[arg(value_parser = permission)]
        permission: Permission,
    },
}

fn permission(text: &str) -> Result<Permission, String> {
    Permission::ALL
        .into_iter()
        .find(|permission| permission.as_str() == text)
        .ok_or_else(|| format!("must be one of {}", Permission::ALL.map(Permission::as_str).join(", ")))
}

pub(crate) async fn run(context: &Context, user: User) -> anyhow::Result<()> {
    match user.command {
        UserCommand::Add { name, groups, attributes, permissions, password } => {
            let store = context.make_store().await?;
            let user = principal(name, groups, &attributes, permissions)?;
            add(&store, user, &password).await
        }
        UserCommand::List => list(&context.store().await?.facts().await?),
        UserCommand::Show { name } => show(&context.store().await?.facts().await?, &name),
        UserCommand::Remove { name } => {
            let done = format!("removed user `{name}`");
            change(context, Change::RemoveUser(name), done).await
        }
        UserCommand::Group(GroupCommand::Add { name, group }) => {
            let done = format!("user `{name}` is a member of group `{group}`");
            change(context, Change::AddToGroup { user: name, group }, done).await
        }
        UserCommand::Group(GroupCommand::Remove { name, group }) => {
            let done = format!("user `{name}` is no member of group `{group}` any more");
            change(context, Change::RemoveFromGroup { user: name, group }, done).await
        }
        UserCommand::Attribute(AttributeCommand::Set { name, attribute }) => {
            let (key, value) = key_value(&attribute)?;
            let done = format!("user `{name}` has attribute `{key}` with value `{value}`");
            let (key, value) = (AttributeKey::new(key)?, value.to_owned());
            change(context, Change::SetAttribute { user: name, key, value }, done).await
        }
        UserCommand::Attribute(AttributeCommand::Remove { name, attribute }) => {
            let (key, value) = key_value(&attribute)?;
            let done = format!("user `{name}` does not have value `{value}` of attribute `{key}` any more");
            let (key, value) = (AttributeKey::new(key)?, value.to_owned());
            change(context, Change::RemoveAttribute { user: name, key, value }, done).await
        }
        UserCommand::Permission(PermissionCommand::Add { name, permission }) => {
            let done = format!("user `{name}` has the permission `{}`", permission.as_str());
            permit(context, &name, |held| held.insert(permission), done).await
        }
        UserCommand::Permission(PermissionCommand::Remove { name, permission }) => {
            let done = format!("user `{name}` does not have the permission `{}`", permission.as_str());
            permit(context, &name, |held| held.remove(&permission), done).await
        }
        UserCommand::Password { name, password } => {
            let store = context.store().await?;
            find_user(&store.facts().await?, &name)?;
            let (password, made_up) = password.get(&name)?;
            apply(&store, vec![Change::SetPassword { user: name.clone(), password }]).await?;
            say(&format!("set the password of user `{name}`"), made_up)
        }
    }
}

fn principal(
    id: PrincipalId,
    groups: Vec<GroupName>,
    attributes: &[String],
    permissions: Vec<Permission>,
) -> anyhow::Result<Principal> {
    let mut by_key: BTreeMap<AttributeKey, BTreeSet<String>> = BTreeMap::new();
    for attribute in attributes {
        let (key, value) = key_value(attribute)?;
        by_key.entry(AttributeKey::new(key)?).or_default().insert(value.to_owned());
    }
    Ok(Principal {
        groups: groups.into_iter().collect(),
        attributes: by_key,
        permissions: permissions.into_iter().collect(),
        ..Principal::bare(id)
    })
}

async fn add(store: &Store, user: Principal, password: &PasswordFrom) -> anyhow::Result<()> {
    let id = user.id.clone();
    if store.facts().await?.principals.iter().any(|known| known.id == id) {
        bail!(
            "user `{id}` exists already\nhelp: change it with `weir user group`, `attribute`, `permission` or `password`"
        );
    }
    let (password, made_up) = password.get(&id)?;
    let epoch = apply(store, vec![Change::PutUser(user), Change::SetPassword { user: id.clone(), password }]).await?;
    say(&format!("added user `{id}` (epoch {epoch})"), made_up)
}

async fn change(context: &Context, change: Change, done: String) -> anyhow::Result<()> {
    let epoch = apply(&context.store().await?, vec![change]).await?;
    say(&format!("{done} (epoch {epoch})"), None)
}

async fn permit(
    context: &Context,
    name: &PrincipalId,
    edit: impl FnOnce(&mut BTreeSet<Permission>) -> bool,
    done: String,
) -> anyhow::Result<()> {
    let store = context.store().await?;
    let mut user = find_user(&store.facts().await?, name)?.clone();
    edit(&mut user.permissions);
    let epoch = apply(&store, vec![Change::PutUser(user)]).await?;
    say(&format!("{done} (epoch {epoch})"), None)
}

fn say(done: &str, made_up: Option<String>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{done}")?;
    if let Some(password) = made_up {
        writeln!(out, "password, shown only now: {password}")?;
    }
    Ok(())
}

impl PasswordFrom {
    /// The password, and its text if it was made up here.
    fn get(&self, user: &PrincipalId) -> anyhow::Result<(Secret, Option<String>)> {
        if let Some(path) = &self.password_file {
            return Ok((terminal::password_from_file(path)?, None));
        }
        if !terminal::is_attended() {
            let text = made_up();
            return Ok((Secret::new(text.as_bytes()), Some(text)));
        }
        let password = terminal::ask_password(&format!("Password of {user} (empty to have one made up): "))?;
        if password.expose().is_empty() {
            let text = made_up();
            return Ok((Secret::new(text.as_bytes()), Some(text)));
        }
        if terminal::ask_password("The same again: ")?.expose() != password.expose() {
            bail!("the two passwords differ");
        }
        Ok((password, None))
    }
}

/// 119 random bits, in letters and digits that are not taken for each other.
fn made_up() -> String {
    const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
    let mut random = rand::rng();
    let letters = (0..24).filter_map(|_| LETTERS.get(random.random_range(0..LETTERS.len())));
    letters.map(|letter| char::from(*letter)).collect()
}

fn attributes(user: &Principal) -> Vec<String> {
    let pairs =
        user.attributes.iter().flat_map(|(key, values)| values.iter().map(move |value| format!("{key}={value}")));
    pairs.collect()
}

fn list(facts: &Facts) -> anyhow::Result<()> {
    let mut users: Vec<&Principal> = facts.principals.iter().collect();
    users.sort_by(|a, b| a.id.cmp(&b.id));
    let rows = users.iter().map(|user| {
        vec![
            user.id.to_string(),
            table::joined(&user.groups),
            table::joined(attributes(user)),
            table::joined(user.permissions.iter().map(|p| p.as_str())),
        ]
    });
    Ok(writeln!(std::io::stdout(), "{}", table::list(&["user", "groups", "attributes", "permissions"], rows))?)
}

fn show(facts: &Facts, name: &PrincipalId) -> anyhow::Result<()> {
    let user = find_user(facts, name)?;
    let owned = facts.sources.iter().filter(|source| source.owners.contains(name)).map(|source| &source.name);
    let among = |all: &BTreeSet<SourceId>| {
        table::joined(facts.sources.iter().filter(|source| all.contains(&source.id)).map(|source| &source.name))
    };
    let selected = facts.selected.iter().filter(|(_, user)| user == name).map(|(source, _)| *source).collect();
    let approved = facts.approved.iter().filter(|(_, _, user)| user == name).map(|(_, source, _)| *source).collect();
    let projects = facts.projects.iter().filter(|project| project.members.contains(name));
    let grants = facts.impersonations.iter().filter(|grant| grant.actor == *name);
    let lines = [
        ("user", user.id.to_string()),
        ("groups", table::joined(&user.groups)),
        ("attributes", table::joined(attributes(user))),
        ("permissions", table::joined(user.permissions.iter().map(|p| p.as_str()))),
        ("owns", table::joined(owned)),
        ("selected for", among(&selected)),
        ("approved for", among(&approved)),
        ("projects", table::joined(projects.map(|project| &project.name))),
        ("may act as", table::joined(grants.map(|grant| &grant.target))),
    ];
    let mut out = std::io::stdout().lock();
    for (label, value) in lines {
        writeln!(out, "{label:12}  {}", table::printable(&value))?;
    }
    Ok(())
}
