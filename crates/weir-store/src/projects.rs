//! Projects: who uses what together, for which purposes.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Connection, SqliteConnection, query, query_as, query_scalar};
use weir_model::{PrincipalId, Project, ProjectName, PurposeName, SourceId, SourceName};

use crate::change::{Making, found, link, missing};
use crate::error::{Failure, StoreError};
use crate::facts::principal_id;
use crate::keys::{self, Of};
use crate::people::user_row;
use crate::purposes::{self, Statements};
use crate::sources::source_row;
use crate::workspaces;

/// A project with what decisions do not depend on too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectRecord {
    pub project: ProjectName,
    pub owners: BTreeSet<PrincipalId>,
    pub members: BTreeSet<PrincipalId>,
    pub sources: BTreeSet<SourceName>,
    /// By name.
    pub purposes: Vec<ProjectPurpose>,
    pub equalized: bool,
    pub masked_joins: bool,
    /// The schema in which members write tables.
    pub workspace: Option<String>,
    /// All that were ever made, the oldest first.
    pub acknowledgements: Vec<Acknowledgement>,
}

/// A purpose that was added to a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectPurpose {
    pub purpose: PurposeName,
    pub added: Deed,
    /// Absent: it has no effect yet.
    pub approved: Option<Deed>,
    /// What members have to acknowledge, if anything.
    pub statement: Option<String>,
}

/// Who did something, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// A principal, or `local` for the administrator of the machine.
    pub by: String,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub at_unix_ms: u64,
}

/// A promise to keep to a purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    pub user: PrincipalId,
    pub purpose: PurposeName,
    /// What it said then.
    pub statement: String,
    pub made: Deed,
    /// Whether the user is still the member who made it and the statement still the same.
    pub holds: bool,
}

pub(crate) async fn row(tx: &mut SqliteConnection, project: &ProjectName) -> Result<i64, Failure> {
    match query_scalar("SELECT id FROM project WHERE name = ?").bind(project.as_str()).fetch_optional(tx).await? {
        Some(id) => Ok(id),
        None => missing("project", project),
    }
}

pub(crate) async fn create(
    tx: &mut SqliteConnection,
    project: &ProjectName,
    owners: &BTreeSet<PrincipalId>,
) -> Result<(), Failure> {
    let insert = query("INSERT INTO project (name) VALUES (?) ON CONFLICT (name) DO NOTHING").bind(project.as_str());
    if insert.execute(&mut *tx).await?.rows_affected() == 0 {
        return Err(StoreError::Exists { kind: "project", name: project.to_string() }.into());
    }
    for owner in owners {
        add_owner(tx, project, owner).await?;
    }
    Ok(())
}

pub(crate) async fn remove(tx: &mut SqliteConnection, project: &ProjectName) -> Result<(), Failure> {
    let row = row(tx, project).await?;
    workspaces::must_be_empty(tx, project, row).await?;
    let delete = query("DELETE FROM project WHERE id = ?").bind(row);
    found(delete.execute(tx).await?, "project", project)
}

pub(crate) async fn add_owner(
    tx: &mut SqliteConnection,
    project: &ProjectName,
    user: &PrincipalId,
) -> Result<(), Failure> {
    let (row, user) = (row(tx, project).await?, user_row(tx, user).await?);
    link(tx, "INSERT OR IGNORE INTO project_owner (project, principal) VALUES (?, ?)", row, user).await.map(drop)
}

pub(crate) async fn remove_owner(
    tx: &mut SqliteConnection,
    project: &ProjectName,
    user: &PrincipalId,
) -> Result<(), Failure> {
    let rows = (row(tx, project).await?, user_row(tx, user).await?);
    let removed = link(tx, "DELETE FROM project_owner WHERE project = ? AND principal = ?", rows.0, rows.1).await?;
    found(removed, "ownership", format!("{user} of {project}"))
}

pub(crate) async fn add_member(
    tx: &mut SqliteConnection,
    project: &ProjectName,
    user: &PrincipalId,
) -> Result<(), Failure> {
    let (row, user) = (row(tx, project).await?, user_row(tx, user).await?);
    link(tx, "INSERT OR IGNORE INTO project_member (project, principal) VALUES (?, ?)", row, user).await.map(drop)
}

pub(crate) async fn remove_member(
    tx: &mut SqliteConnection,
    project: &ProjectName,
    user: &PrincipalId,
) -> Result<(), Failure> {
    let rows = (row(tx, project).await?, user_row(tx, user).await?);
    let removed = link(tx, "DELETE FROM project_member WHERE project = ? AND principal = ?", rows.0, rows.1).await?;
    found(removed, "membership", format!("{user} in {project}"))?;
    let void = "UPDATE acknowledgement SET principal = NULL WHERE project = ? AND principal = ?";
    link(tx, void, rows.0, rows.1).await.map(drop)
}

pub(crate) async fn add_source(
    tx: &mut SqliteConnection,
    project: &ProjectName,
    source: &SourceName,
) -> Result<(), Failure> {
    let (row, source) = (row(tx, project).await?, source_row(tx, source).await?);
    link(tx, "INSERT OR IGNORE INTO project_source (project, source) VALUES (?, ?)", row, source).await.map(drop)
}

pub(crate) async fn remove_source(
    tx: &mut SqliteConnection,
    project: &ProjectName,
    source: &SourceName,
) -> Result<(), Failure> {
    let rows = (row(tx, project).await?, source_row(tx, source).await?);
    let removed = link(tx, "DELETE FROM project_source WHERE project = ? AND source = ?", rows.0, rows.1).await?;
    found(removed, "data source", format!("{source} in {project}"))
}

pub(crate) async fn add_purpose(
    tx: &mut SqliteConnection,
    making: &Making<'_>,
    project: &ProjectName,
    purpose: &PurposeName,
) -> Result<(), Failure> {
    let row = row(tx, project).await?;
    purposes::exists(tx, purpose).await?;
    let insert =
        "INSERT OR IGNORE INTO project_purpose (project, purpose, added_by, added_at_unix_ms) VALUES (?, ?, ?, ?)";
    query(insert).bind(row).bind(purpose.as_str()).bind(making.by).bind(making.at()).execute(tx).await?;
    Ok(())
}

pub(crate) async fn approve_purpose(
    tx: &mut SqliteConnection,
    making: &Making<'_>,
    project: &ProjectName,
    purpose: &PurposeName,
) -> Result<(), Failure> {
    let row = row(tx, project).await?;
    uses(tx, row, project, purpose).await?;
    let update = "UPDATE project_purpose SET approved_by = ?, approved_at_unix_ms = ?
        WHERE project = ? AND purpose = ? AND approved_by IS NULL";
    query(update).bind(making.by).bind(making.at()).bind(row).bind(purpose.as_str()).execute(tx).await?;
    Ok(())
}

pub(crate) async fn remove_purpose(
    tx: &mut SqliteConnection,
    project: &ProjectName,
    purpose: &PurposeName,
) -> Result<(), Failure> {
    let row = row(tx, project).await?;
    uses(tx, row, project, purpose).await?;
    let delete = query("DELETE FROM project_purpose WHERE project = ? AND purpose = ?");
    delete.bind(row).bind(purpose.as_str()).execute(tx).await?;
    Ok(())
}

/// An error if the project does not have the purpose.
async fn uses(
    tx: &mut SqliteConnection,
    row: i64,
    project: &ProjectName,
    purpose: &PurposeName,
) -> Result<(), Failure> {
    let select = "SELECT EXISTS (SELECT 1 FROM project_purpose WHERE project = ? AND purpose = ?)";
    match query_scalar(select).bind(row).bind(purpose.as_str()).fetch_one(tx).await? {
        true => Ok(()),
        false => missing("purpose", format!("{purpose} of {project}")),
    }
}

pub(crate) async fn set_equalized(tx: &mut SqliteConnection, project: &ProjectName, on: bool) -> Result<(), Failure> {
    let row = row(tx, project).await?;
    let update = query("UPDATE project SET equalized = ?1 WHERE id = ?2 AND equalized <> ?1").bind(on).bind(row);
    update.execute(tx).await?;
    Ok(())
}

/// The key outlives switching off, so that switching on again gives the same values.
pub(crate) async fn set_masked_joins(
    tx: &mut SqliteConnection,
    making: &Making<'_>,
    project: &ProjectName,
    on: bool,
) -> Result<(), Failure> {
    let row = row(tx, project).await?;
    let update = query("UPDATE project SET masked_joins = ?1 WHERE id = ?2 AND masked_joins <> ?1").bind(on).bind(row);
    update.execute(&mut *tx).await?;
    if on { keys::make_first(tx, making.vault, Of::Project(row), making.at()).await } else { Ok(()) }
}

pub(crate) async fn acknowledge(
    tx: &mut SqliteConnection,
    making: &Making<'_>,
    project: &ProjectName,
    user: &PrincipalId,
    purpose: &PurposeName,
    statement: &str,
) -> Result<(), Failure> {
    let (row, member) = (row(tx, project).await?, user_row(tx, user).await?);
    uses(tx, row, project, purpose).await?;
    let select = "SELECT EXISTS (SELECT 1 FROM project_member WHERE project = ? AND principal = ?)";
    if !query_scalar(select).bind(row).bind(member).fetch_one(&mut *tx).await? {
        return missing("membership", format!("{user} in {project}"));
    }
    if Statements::read(tx).await?.of(purpose.as_str()) != Some(statement) {
        let what = format!("purpose `{purpose}` cannot be acknowledged");
        return Err(StoreError::refused(what, "its statement is another one by now").into());
    }
    let insert = "INSERT OR IGNORE INTO acknowledgement
        (project, project_name, principal, principal_name, purpose, statement, made_by, at_unix_ms)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    query(insert)
        .bind(row)
        .bind(project.as_str())
        .bind(member)
        .bind(user.to_string())
        .bind(purpose.as_str())
        .bind(statement)
        .bind(making.by)
        .bind(making.at())
        .execute(tx)
        .await?;
    Ok(())
}

/// Id, name, equalized, masked joins, workspace.
type ProjectRow = (i64, String, bool, bool, Option<String>);

/// What decisions depend on, not yet understood.
#[derive(Default)]
pub(crate) struct Rows {
    projects: Vec<ProjectRow>,
    members: Vec<(i64, String, String)>,
    sources: Vec<(i64, u32)>,
    /// The approved ones.
    purposes: Vec<(i64, String)>,
    statements: Statements,
    acknowledged: Vec<(i64, String, String, String, String)>,
}

const PROJECTS: &str = "SELECT id, name, equalized, masked_joins, workspace FROM project ORDER BY name";
const MEMBERS: &str = "SELECT m.project, p.iam, p.name FROM project_member m JOIN principal p ON p.id = m.principal";

impl Rows {
    pub(crate) async fn read(tx: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        Ok(Self {
            projects: query_as(PROJECTS).fetch_all(&mut *tx).await?,
            members: query_as(MEMBERS).fetch_all(&mut *tx).await?,
            sources: query_as("SELECT project, source FROM project_source").fetch_all(&mut *tx).await?,
            purposes: query_as("SELECT project, purpose FROM project_purpose WHERE approved_by IS NOT NULL")
                .fetch_all(&mut *tx)
                .await?,
            statements: Statements::read(tx).await?,
            acknowledged: query_as(
                "SELECT a.project, p.iam, p.name, a.purpose, a.statement
                 FROM acknowledgement a JOIN principal p ON p.id = a.principal WHERE a.project IS NOT NULL",
            )
            .fetch_all(&mut *tx)
            .await?,
        })
    }

    pub(crate) fn understand(self) -> Result<Vec<Project>, StoreError> {
        let Self { projects, members, sources, purposes, statements, acknowledged } = self;
        let mut known: BTreeMap<i64, Project> = BTreeMap::new();
        for (row, name, equalized, masked_joins, workspace) in projects {
            let empty = Project {
                name: ProjectName::new(name).map_err(|e| StoreError::corrupt("project", e))?,
                members: BTreeSet::new(),
                sources: BTreeSet::new(),
                purposes: BTreeSet::new(),
                acknowledged: BTreeSet::new(),
                equalized,
                masked_joins,
                workspace,
            };
            known.insert(row, empty);
        }
        let gone = || StoreError::corrupt("project", "it is used and does not exist");
        for (row, iam, name) in members {
            known.get_mut(&row).ok_or_else(gone)?.members.insert(principal_id(&iam, &name)?);
        }
        for (row, source) in sources {
            known.get_mut(&row).ok_or_else(gone)?.sources.insert(SourceId(source));
        }
        for (row, name) in purposes {
            let project = known.get_mut(&row).ok_or_else(gone)?;
            let purpose = purpose_name(name)?;
            // What says nothing needs no promise.
            if statements.of(purpose.as_str()).is_none() {
                let all = project.members.iter().map(|member| (member.clone(), purpose.clone()));
                project.acknowledged.extend(all.collect::<Vec<_>>());
            }
            project.purposes.insert(purpose);
        }
        for (row, iam, name, purpose, statement) in acknowledged {
            let project = known.get_mut(&row).ok_or_else(gone)?;
            let (member, purpose) = (principal_id(&iam, &name)?, purpose_name(purpose)?);
            let holds = statements.of(purpose.as_str()) == Some(statement.as_str());
            if holds && project.members.contains(&member) && project.purposes.contains(&purpose) {
                project.acknowledged.insert((member, purpose));
            }
        }
        Ok(known.into_values().collect())
    }
}

fn purpose_name(name: String) -> Result<PurposeName, StoreError> {
    PurposeName::new(name).map_err(|e| StoreError::corrupt("purpose", e))
}

type PurposeRow = (i64, String, String, u64, Option<String>, Option<u64>);
type AcknowledgementRow = (i64, String, String, String, String, u64, bool);

/// All projects, by name.
pub(crate) async fn list(conn: &mut SqliteConnection) -> Result<Vec<ProjectRecord>, Failure> {
    let mut tx = conn.begin().await?;
    let projects: Vec<ProjectRow> = query_as(PROJECTS).fetch_all(&mut *tx).await?;
    let members: Vec<(i64, String, String)> = query_as(MEMBERS).fetch_all(&mut *tx).await?;
    let owners: Vec<(i64, String, String)> =
        query_as("SELECT o.project, p.iam, p.name FROM project_owner o JOIN principal p ON p.id = o.principal")
            .fetch_all(&mut *tx)
            .await?;
    let sources: Vec<(i64, String, String)> = query_as(
        "SELECT i.project, s.schema_name, s.table_name FROM project_source i JOIN source s ON s.id = i.source",
    )
    .fetch_all(&mut *tx)
    .await?;
    let purposes: Vec<PurposeRow> = query_as(
        "SELECT project, purpose, added_by, added_at_unix_ms, approved_by, approved_at_unix_ms FROM project_purpose
         ORDER BY purpose",
    )
    .fetch_all(&mut *tx)
    .await?;
    let acknowledgements: Vec<AcknowledgementRow> = query_as(
        "SELECT project, principal_name, purpose, statement, made_by, at_unix_ms, principal IS NOT NULL
         FROM acknowledgement WHERE project IS NOT NULL ORDER BY id",
    )
    .fetch_all(&mut *tx)
    .await?;
    let statements = Statements::read(&mut tx).await?;
    tx.commit().await?;

    let mut records = Vec::with_capacity(projects.len());
    for (row, name, equalized, masked_joins, workspace) in projects {
        let people = |rows: &[(i64, String, String)]| -> Result<BTreeSet<PrincipalId>, StoreError> {
            let here = rows.iter().filter(|(project, ..)| *project == row);
            here.map(|(_, iam, name)| principal_id(iam, name)).collect()
        };
        let of = sources.iter().filter(|(project, ..)| *project == row);
        let of = of.map(|(_, schema, table)| SourceName::new(schema, table));
        let mut record = ProjectRecord {
            project: ProjectName::new(name).map_err(|e| StoreError::corrupt("project", e))?,
            owners: people(&owners)?,
            members: people(&members)?,
            sources: of.collect::<Result<_, _>>().map_err(|e| StoreError::corrupt("data source", e))?,
            purposes: Vec::new(),
            equalized,
            masked_joins,
            workspace,
            acknowledgements: Vec::new(),
        };
        for (_, purpose, by, at_unix_ms, approved_by, approved_at) in purposes.iter().filter(|p| p.0 == row) {
            let approved = approved_by.clone().zip(*approved_at);
            record.purposes.push(ProjectPurpose {
                statement: statements.of(purpose).map(str::to_owned),
                purpose: purpose_name(purpose.clone())?,
                added: Deed { by: by.clone(), at_unix_ms: *at_unix_ms },
                approved: approved.map(|(by, at_unix_ms)| Deed { by, at_unix_ms }),
            });
        }
        for (_, user, purpose, statement, by, at_unix_ms, member) in acknowledgements.iter().filter(|a| a.0 == row) {
            record.acknowledgements.push(Acknowledgement {
                user: user.parse().map_err(|e| StoreError::corrupt("principal", e))?,
                holds: *member && statements.of(purpose) == Some(statement.as_str()),
                purpose: purpose_name(purpose.clone())?,
                statement: statement.clone(),
                made: Deed { by: by.clone(), at_unix_ms: *at_unix_ms },
            });
        }
        records.push(record);
    }
    Ok(records)
}
