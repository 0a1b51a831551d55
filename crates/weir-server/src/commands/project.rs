use std::io::Write;

use anyhow::bail;
use chrono::SecondsFormat;
use clap::{Args, Subcommand, ValueEnum};
use weir_model::{Permission, PrincipalId, ProjectName, PurposeName, SourceName};
use weir_policy::Facts;
use weir_store::{Change, Deed, ProjectRecord, Store};

use crate::commands::{change, change_as, purpose, time};
use crate::context::{Context, apply, did_you_mean, find_source, find_user};
use crate::table;

/// Of a statement in a table.
const TEXT_MAX: usize = 50;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir project create heart-study --owner oona
  weir project member add heart-study anna
  weir project source add heart-study clinic.visits
  weir project purpose add heart-study research
  weir project purpose approve heart-study research --by greg
  weir project acknowledge heart-study --user anna
  weir project set heart-study --equalized on --masked-joins on --workspace heart_study
  weir project show heart-study
  weir policy explain --user anna --project heart-study clinic.visits

While somebody acts in a project, only its data sources are there, as far as the member may read them. Members see nothing \
in it before they have acknowledged its purposes. A purpose has no effect before it is approved.")]
pub(crate) struct Project {
    #[command(subcommand)]
    command: ProjectCommand,
}

#[derive(Debug, Subcommand)]
enum ProjectCommand {
    /// Make a project
    Create {
        /// The project
        name: ProjectName,
        /// A user who owns it; may be repeated
        #[arg(long = "owner", value_name = "USER")]
        owners: Vec<PrincipalId>,
    },
    /// List the projects
    List,
    /// Show one project: who is in it, and who has to acknowledge what
    Show { name: ProjectName },
    /// Remove a project; its data sources stay
    Remove { name: ProjectName },
    /// Change the owners of a project
    #[command(subcommand)]
    Owner(UserCommand),
    /// Change the members of a project
    #[command(subcommand)]
    Member(UserCommand),
    /// Change the data sources of a project
    #[command(subcommand)]
    Source(SourceCommand),
    /// Change the purposes of a project
    #[command(subcommand)]
    Purpose(PurposeCommand),
    /// Switch equalization and masked joins, and give the project a workspace
    #[command(group = clap::ArgGroup::new("switch").required(true).multiple(true))]
    Set {
        /// The project
        name: ProjectName,
        /// Whether every member sees only what all members may see
        #[arg(long, value_name = "on|off", group = "switch", hide_possible_values = true)]
        equalized: Option<Switch>,
        /// Whether values that are masked by hashing join across the data sources of the project
        #[arg(long, value_name = "on|off", group = "switch", hide_possible_values = true)]
        masked_joins: Option<Switch>,
        /// A schema of the project's own, in which its members write tables
        #[arg(long, value_name = "SCHEMA", group = "switch")]
        workspace: Option<String>,
        /// Take the workspace away, in which there must be no tables
        #[arg(long, group = "switch", conflicts_with = "workspace")]
        no_workspace: bool,
    },
    /// Acknowledge, for a member, the statements of all purposes of a project, which are printed
    Acknowledge {
        /// The project
        name: ProjectName,
        /// The member
        #[arg(long)]
        user: PrincipalId,
    },
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Take the user in
    Add { name: ProjectName, user: PrincipalId },
    /// Take the user out
    Remove { name: ProjectName, user: PrincipalId },
}

#[derive(Debug, Subcommand)]
enum SourceCommand {
    /// Take the data source in
    Add { name: ProjectName, source: SourceName },
    /// Take the data source out
    Remove { name: ProjectName, source: SourceName },
}

#[derive(Debug, Subcommand)]
enum PurposeCommand {
    /// Add a registered purpose, which waits to be approved
    Add { name: ProjectName, purpose: PurposeName },
    /// Approve a purpose, which has effect from then on
    Approve {
        name: ProjectName,
        purpose: PurposeName,
        /// Who approves; takes the permission governance or project-management [default: the administrator of this machine]
        #[arg(long, value_name = "USER")]
        by: Option<PrincipalId>,
    },
    /// Remove a purpose from the project
    Remove { name: ProjectName, purpose: PurposeName },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

impl Switch {
    fn is_on(self) -> bool {
        self == Switch::On
    }
}

pub(crate) async fn run(context: &Context, project: Project) -> anyhow::Result<()> {
    let store = context.store().await?;
    let facts = store.facts().await?;
    let known = |name: &ProjectName| find(facts.projects.iter().map(|project| &project.name), name);
    match project.command {
        ProjectCommand::Create { name, owners } => {
            if facts.projects.iter().any(|project| project.name == name) {
                bail!(
                    "project `{name}` exists already\nhelp: change it with `weir project member`, `source`, `purpose` or `set`"
                );
            }
            owners.iter().try_for_each(|owner| find_user(&facts, owner).map(drop))?;
            let done = format!("created project `{name}`");
            let create = Change::CreateProject { project: name, owners: owners.into_iter().collect() };
            change(&store, create, &done).await
        }
        ProjectCommand::List => list(&store.projects().await?),
        ProjectCommand::Show { name } => {
            known(&name)?;
            show(&store.projects().await?, &facts, &name)
        }
        ProjectCommand::Remove { name } => {
            known(&name)?;
            let done = format!("removed project `{name}`; its data sources are where they were");
            change(&store, Change::RemoveProject(name), &done).await
        }
        ProjectCommand::Owner(UserCommand::Add { name, user }) => {
            known(&name)?;
            find_user(&facts, &user)?;
            let done = format!("user `{user}` is an owner of project `{name}`");
            change(&store, Change::AddProjectOwner { project: name, user }, &done).await
        }
        ProjectCommand::Owner(UserCommand::Remove { name, user }) => {
            known(&name)?;
            find_user(&facts, &user)?;
            let done = format!("user `{user}` is no owner of project `{name}` any more");
            change(&store, Change::RemoveProjectOwner { project: name, user }, &done).await
        }
        ProjectCommand::Member(UserCommand::Add { name, user }) => {
            known(&name)?;
            find_user(&facts, &user)?;
            let done = format!("user `{user}` is a member of project `{name}`");
            change(&store, Change::AddMember { project: name, user }, &done).await
        }
        ProjectCommand::Member(UserCommand::Remove { name, user }) => {
            known(&name)?;
            find_user(&facts, &user)?;
            let done = format!("user `{user}` is no member of project `{name}` any more");
            change(&store, Change::RemoveMember { project: name, user }, &done).await
        }
        ProjectCommand::Source(SourceCommand::Add { name, source }) => {
            known(&name)?;
            find_source(&facts, &source)?;
            let done = format!("project `{name}` has data source `{source}`");
            change(&store, Change::AddProjectSource { project: name, source }, &done).await
        }
        ProjectCommand::Source(SourceCommand::Remove { name, source }) => {
            known(&name)?;
            find_source(&facts, &source)?;
            let done = format!("project `{name}` does not have data source `{source}` any more");
            change(&store, Change::RemoveProjectSource { project: name, source }, &done).await
        }
        ProjectCommand::Purpose(command) => {
            let (PurposeCommand::Add { name, purpose }
            | PurposeCommand::Approve { name, purpose, .. }
            | PurposeCommand::Remove { name, purpose }) = &command;
            known(name)?;
            purpose::find(&store.purposes().await?, purpose)?;
            purposes(&store, &facts, command).await
        }
        ProjectCommand::Set { name, equalized, masked_joins, workspace, no_workspace } => {
            known(&name)?;
            let project = &name;
            let changes = equalized
                .map(|to| Change::SetEqualized { project: project.clone(), on: to.is_on() })
                .into_iter()
                .chain(masked_joins.map(|to| Change::SetMaskedJoins { project: project.clone(), on: to.is_on() }));
            let schema = (workspace.is_some() || no_workspace).then(|| workspace.clone());
            let changes = changes.chain(schema.map(|schema| Change::SetWorkspace { project: project.clone(), schema }));
            let epoch = apply(&store, changes.collect()).await?;
            let mut out = std::io::stdout();
            if let Some(schema) = &workspace {
                writeln!(out, "workspace of project `{name}`: schema `{schema}` (epoch {epoch})")?;
            } else if no_workspace {
                writeln!(out, "project `{name}` has no workspace (epoch {epoch})")?;
            }
            for (what, to) in [("equalized", equalized), ("masked joins", masked_joins)] {
                if let Some(to) = to {
                    writeln!(out, "{what} of project `{name}`: {} (epoch {epoch})", on_off(to.is_on()))?;
                }
            }
            Ok(())
        }
        ProjectCommand::Acknowledge { name, user } => {
            known(&name)?;
            find_user(&facts, &user)?;
            acknowledge(&store, name, user).await
        }
    }
}

pub(super) fn find<'a>(known: impl Iterator<Item = &'a ProjectName>, name: &ProjectName) -> anyhow::Result<()> {
    let known: Vec<&ProjectName> = known.collect();
    if known.contains(&name) {
        return Ok(());
    }
    let names = known.iter().map(ToString::to_string);
    bail!("project `{name}` does not exist{}", did_you_mean(name.as_str(), names))
}

async fn purposes(store: &Store, facts: &Facts, command: PurposeCommand) -> anyhow::Result<()> {
    match command {
        PurposeCommand::Add { name, purpose } => {
            let done = format!("purpose `{purpose}` of project `{name}` waits to be approved");
            change(store, Change::AddProjectPurpose { project: name, purpose }, &done).await
        }
        PurposeCommand::Approve { name, purpose, by } => {
            let done = format!("purpose `{purpose}` of project `{name}` is approved");
            let approve = Change::ApproveProjectPurpose { project: name, purpose };
            let Some(by) = by else { return change(store, approve, &done).await };
            let user = find_user(facts, &by)?;
            let may = [Permission::Governance, Permission::ProjectManagement];
            if !may.iter().any(|permission| user.permissions.contains(permission)) {
                let may = may.map(|permission| format!("`{}`", permission.as_str())).join(" or ");
                bail!("user `{by}` cannot approve purposes: that takes the permission {may}");
            }
            change_as(store, &by, approve, &done).await
        }
        PurposeCommand::Remove { name, purpose } => {
            let done = format!("purpose `{purpose}` is not one of project `{name}` any more");
            change(store, Change::RemoveProjectPurpose { project: name, purpose }, &done).await
        }
    }
}

async fn acknowledge(store: &Store, name: ProjectName, user: PrincipalId) -> anyhow::Result<()> {
    let projects = store.projects().await?;
    let project = record(&projects, &name)?;
    if !project.members.contains(&user) {
        bail!("user `{user}` is no member of project `{name}`\nhelp: see `weir project member add --help`");
    }
    let mut out = std::io::stdout();
    let left = |purpose: &PurposeName| {
        !project.acknowledgements.iter().any(|made| made.holds && made.user == user && made.purpose == *purpose)
    };
    let left: Vec<(&PurposeName, &String)> = project
        .purposes
        .iter()
        .filter(|known| left(&known.purpose))
        .filter_map(|known| Some((&known.purpose, known.statement.as_ref()?)))
        .collect();
    if left.is_empty() {
        return Ok(writeln!(out, "user `{user}` has nothing left to acknowledge in project `{name}`")?);
    }
    // With the texts that are printed here: if one is another by now, nobody has read it.
    let changes = left.iter().map(|(purpose, statement)| Change::Acknowledge {
        project: name.clone(),
        user: user.clone(),
        purpose: (*purpose).clone(),
        statement: (*statement).clone(),
    });
    let epoch = apply(store, changes.collect()).await?;
    for (purpose, statement) in left {
        writeln!(out, "user `{user}` has acknowledged purpose `{purpose}` (epoch {epoch})")?;
        for line in statement.lines() {
            writeln!(out, "  {}", table::printable(line))?;
        }
    }
    Ok(())
}

fn record<'a>(projects: &'a [ProjectRecord], name: &ProjectName) -> anyhow::Result<&'a ProjectRecord> {
    match projects.iter().find(|record| record.project == *name) {
        Some(record) => Ok(record),
        None => bail!("project `{name}` does not exist"),
    }
}

fn on_off(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

fn deed(deed: &Deed) -> String {
    format!("by {}, {}", deed.by, time::shown(deed.at_unix_ms, SecondsFormat::Secs))
}

fn list(projects: &[ProjectRecord]) -> anyhow::Result<()> {
    let rows = projects.iter().map(|project| {
        let purposes = project.purposes.iter().map(|known| match known.approved {
            Some(_) => known.purpose.to_string(),
            None => format!("{} (pending)", known.purpose),
        });
        vec![
            project.project.to_string(),
            table::joined(&project.owners),
            project.members.len().to_string(),
            project.sources.len().to_string(),
            table::joined(purposes),
            on_off(project.equalized),
            on_off(project.masked_joins),
        ]
    });
    let headings = ["project", "owners", "members", "data sources", "purposes", "equalized", "masked joins"];
    Ok(writeln!(std::io::stdout(), "{}", table::list(&headings, rows))?)
}

fn show(projects: &[ProjectRecord], facts: &Facts, name: &ProjectName) -> anyhow::Result<()> {
    let project = record(projects, name)?;
    let lines = [
        ("project", name.to_string()),
        ("owners", table::joined(&project.owners)),
        ("members", table::joined(&project.members)),
        ("data sources", table::joined(&project.sources)),
        ("equalized", on_off(project.equalized)),
        ("masked joins", on_off(project.masked_joins)),
        ("workspace", project.workspace.clone().unwrap_or_else(|| "-".to_owned())),
    ];
    let mut out = std::io::stdout().lock();
    for (label, value) in lines {
        writeln!(out, "{label:12}  {}", table::printable(&value))?;
    }
    let rows = project.purposes.iter().map(|known| {
        let approved = known.approved.as_ref().map_or_else(|| "pending".to_owned(), deed);
        let statement = known.statement.as_deref().map_or_else(|| "-".to_owned(), |t| table::shortened(t, TEXT_MAX));
        vec![known.purpose.to_string(), deed(&known.added), approved, statement]
    });
    writeln!(out, "\n{}", table::list(&["purpose", "added", "approved", "statement"], rows))?;
    let Some(decides) = facts.projects.iter().find(|known| known.name == *name) else { return Ok(()) };
    let rows = project.members.iter().map(|member| {
        let has = |purpose: &&PurposeName| decides.acknowledged.contains(&(member.clone(), (*purpose).clone()));
        let (done, missing): (Vec<_>, Vec<_>) = decides.purposes.iter().partition(has);
        vec![member.to_string(), table::joined(done), table::joined(missing)]
    });
    Ok(writeln!(out, "\n{}", table::list(&["member", "acknowledged", "to acknowledge"], rows))?)
}
