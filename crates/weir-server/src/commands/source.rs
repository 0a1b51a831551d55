mod lineage;
mod look;
mod schema;
mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use weir_model::{ColumnName, ConnectionName, FileFormat, Location, PrincipalId, SourceName, Tag};
use weir_sources::{FoundTable, InferredColumn};
use weir_store::{Change, NewColumn, NewSource, Store};

use crate::commands::certification::Certifications;
use crate::commands::{self, connection, find_column, key_value};
use crate::context::{Context, apply, did_you_mean, find_source, find_user};
use crate::table;
use lineage::Derivation;
use look::Seen;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir source add shop.orders ./orders.parquet --owner anna
  weir source add shop.clicks ./clicks/ --tag Web
  weir source add shop.visits s3://sales/2024/visits/ --connection lake
  weir source add crm.orders --connection crm --schema sales --table orders
  weir source add-schema crm sales --tag CRM
  weir source add shop.people people.csv --leave-out passport --column-tag ssn=PII.SSN
  weir source tag shop.people --column email --set PII.Email
  weir source row-key shop.people id
  weir source profile shop.people
  weir source event-time shop.clicks clicked_at
  weir source add shop.spending spending.parquet --derived-from shop.people --copies id=shop.people.id
  weir source select shop.people bert
  weir source show shop.people

A folder may have partition folders such as day=2024-12-31. When it is added, all rows of a data source are read once, for \
its profile and its row key. For what was made from other data sources, their policies hold too. Nobody can read a data source but its owners, until a subscription policy takes people in.")]
pub(crate) struct Source {
    #[command(subcommand)]
    command: SourceCommand,
}

#[derive(Debug, Subcommand)]
enum SourceCommand {
    /// Register a file, a folder of files, or a table of a remote database
    Add(Box<Add>),
    /// Register all tables and views of a schema of a remote database
    AddSchema(schema::AddSchema),
    /// List the data sources
    List,
    /// Show one data source with its columns
    Show {
        /// The data source: `schema.table`
        name: SourceName,
    },
    /// Remove a data source from Weir; its files stay
    Remove { name: SourceName },
    /// Say which tags a data source, or one of its columns, has
    Tag {
        /// The data source: `schema.table`
        name: SourceName,
        /// The column; without it, the data source itself
        #[arg(long)]
        column: Option<ColumnName>,
        /// All the tags, separated by commas; the empty text takes all tags away
        #[arg(long, value_name = "TAG,…", required = true)]
        set: String,
    },
    /// Say which columns together tell rows apart, for policies that sample rows or replace values at random
    RowKey {
        /// The data source: `schema.table`
        name: SourceName,
        #[arg(value_name = "COLUMN", required_unless_present = "none")]
        columns: Vec<ColumnName>,
        /// There is no row key any more
        #[arg(long, conflicts_with = "columns")]
        none: bool,
    },
    /// Look at all rows again: how many there are, and of each column the different values, the least and the greatest,
    /// for policies that round by profile
    Profile {
        /// The data source: `schema.table`
        name: SourceName,
    },
    /// Say which column tells when something happened, for policies that go by time
    EventTime {
        /// The data source: `schema.table`
        name: SourceName,
        /// A column of dates or timestamps
        #[arg(required_unless_present = "none")]
        column: Option<ColumnName>,
        /// There is no event time any more
        #[arg(long, conflicts_with = "column")]
        none: bool,
    },
    /// Say which other data sources a data source was made from, whose policies then hold for it too
    Lineage {
        /// The data source: `schema.table`
        name: SourceName,
        #[command(flatten)]
        derivation: Derivation,
        /// It was not made from others
        #[arg(long, conflicts_with = "derived_from", required_unless_present = "derived_from")]
        none: bool,
    },
    /// Change the owners of a data source
    #[command(subcommand)]
    Owner(OwnerCommand),
    /// Select a user, for policies that subscribe individually selected users
    Select { name: SourceName, user: PrincipalId },
    /// End the selection of a user
    Unselect { name: SourceName, user: PrincipalId },
}

#[derive(Debug, Subcommand)]
enum OwnerCommand {
    /// Make a user an owner, who can read the source under the data policies
    Add { name: SourceName, user: PrincipalId },
    /// End the ownership
    Remove { name: SourceName, user: PrincipalId },
}

#[derive(Debug, Args)]
struct Add {
    /// How queries name it: `schema.table`
    name: SourceName,
    /// The file, or the folder; with --connection its URL, which ends with a slash if it is a folder
    #[arg(required_unless_present = "table")]
    path: Option<PathBuf>,
    /// The remote database that it is a table of, or the store that the URL is in; see `weir connection`
    #[arg(long, value_name = "CONNECTION")]
    connection: Option<ConnectionName>,
    /// The schema of the table there [default: `public`, the database in MariaDB, `main` in SQLite]
    #[arg(long, value_name = "SCHEMA", requires = "table")]
    schema: Option<String>,
    /// The table or view, as it is called there
    #[arg(long, value_name = "TABLE", requires = "connection", conflicts_with_all = ["path", "format", "delimiter", "no_header"])]
    table: Option<String>,
    /// Format of the files, if their names do not tell
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// What separates the values of a CSV file [default: ,]
    #[arg(long, value_name = "CHARACTER")]
    delimiter: Option<char>,
    /// The first line of a CSV file holds values, not names
    #[arg(long)]
    no_header: bool,
    /// Columns that nobody is to know of, separated by commas
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    leave_out: Vec<ColumnName>,
    /// A tag of the data source, such as `Finance.Payroll`; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<Tag>,
    /// A tag of a column, such as `ssn=PII.SSN`; may be repeated
    #[arg(long = "column-tag", value_name = "COLUMN=TAG")]
    column_tags: Vec<String>,
    /// Columns that together tell rows apart, separated by commas [default: what the rows tell]
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    row_key: Vec<ColumnName>,
    /// Do not look at the rows: no profile, and no row key but that of --row-key
    #[arg(long)]
    no_detect: bool,
    /// The column of dates or timestamps that tells when something happened
    #[arg(long, value_name = "COLUMN")]
    event_time: Option<ColumnName>,
    /// A user who owns it; may be repeated
    #[arg(long = "owner", value_name = "USER")]
    owners: Vec<PrincipalId>,
    #[command(flatten)]
    derivation: Derivation,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Parquet,
    /// Text with a separator between values
    Csv,
    /// One JSON object a line
    Json,
    /// A table of Delta Lake
    Delta,
}

pub(crate) async fn run(context: &Context, source: Source) -> anyhow::Result<()> {
    match source.command {
        SourceCommand::Add(add) => Box::pin(register(context, *add)).await,
        SourceCommand::AddSchema(add) => Box::pin(schema::register(context, add)).await,
        SourceCommand::List => show::list(&context.store().await?.facts().await?),
        SourceCommand::Show { name } => {
            let store = context.store().await?;
            show::show(&store.facts().await?, &Certifications::of(&store).await?, &name)
        }
        SourceCommand::Remove { name } => remove(context, name).await,
        SourceCommand::Lineage { name, derivation, none: _ } => lineage::set(context, name, derivation).await,
        SourceCommand::Tag { name, column, set } => tag(context, name, column, &set).await,
        SourceCommand::RowKey { name, columns, none: _ } => row_key(context, name, columns).await,
        SourceCommand::Profile { name } => Box::pin(look::profile(context, name)).await,
        SourceCommand::EventTime { name, column, none: _ } => event_time(context, name, column).await,
        SourceCommand::Owner(OwnerCommand::Add { name, user }) => {
            let done = format!("user `{user}` is an owner of `{name}`");
            change(context, &name.clone(), Some(&user.clone()), Change::AddOwner { source: name, user }, done).await
        }
        SourceCommand::Owner(OwnerCommand::Remove { name, user }) => {
            let done = format!("user `{user}` is no owner of `{name}` any more");
            change(context, &name.clone(), None, Change::RemoveOwner { source: name, user }, done).await
        }
        SourceCommand::Select { name, user } => {
            let done = format!("user `{user}` is selected for `{name}`");
            change(context, &name.clone(), Some(&user.clone()), Change::Select { source: name, user }, done).await
        }
        SourceCommand::Unselect { name, user } => {
            let done = format!("user `{user}` is not selected for `{name}` any more");
            change(context, &name.clone(), None, Change::Unselect { source: name, user }, done).await
        }
    }
}

/// Names are looked up first, so that a mistyped one is answered with the one that was meant.
async fn change(
    context: &Context,
    name: &SourceName,
    user: Option<&PrincipalId>,
    change: Change,
    done: String,
) -> anyhow::Result<()> {
    let store = context.store().await?;
    let facts = store.facts().await?;
    find_source(&facts, name)?;
    if let Some(user) = user {
        find_user(&facts, user)?;
    }
    let epoch = apply(&store, vec![change]).await?;
    Ok(writeln!(std::io::stdout(), "{done} (epoch {epoch})")?)
}

async fn remove(context: &Context, name: SourceName) -> anyhow::Result<()> {
    let store = context.store().await?;
    let facts = store.facts().await?;
    find_source(&facts, &name)?;
    let orphans = lineage::orphans(&name, &facts);
    let done = format!("removed data source `{name}`; its files are where they were");
    commands::change(&store, Change::RemoveSource(name), &done).await?;
    orphans.iter().try_for_each(|orphan| {
        Ok(writeln!(
            std::io::stdout(),
            "nobody can read `{orphan}` any more, which was made from it; see `weir source lineage --help`"
        )?)
    })
}

async fn register(context: &Context, add: Add) -> anyhow::Result<()> {
    let format = add.file_format()?;
    let store = context.make_store().await?;
    let facts = store.facts().await?;
    if facts.sources.iter().any(|known| known.name == add.name) {
        bail!(
            "data source `{}` is registered already\nhelp: remove it first with `weir source remove {}`",
            add.name,
            add.name
        );
    }
    for owner in &add.owners {
        find_user(&facts, owner)?;
    }
    let found = add.find(&store, format).await.with_context(|| format!("cannot register `{}`", add.name))?;
    let remote = matches!(found.location, Location::Table { .. });
    let (columns, part_tags) = add.columns(found.columns, &found.what)?;
    let count = columns.len();
    let whole_key = found.key.iter().all(|name| columns.iter().any(|column| column.name == *name));
    let kept_key = if whole_key { found.key } else { Vec::new() };
    let names: Vec<&ColumnName> = columns.iter().map(|column| &column.name).collect();
    let lineage = add.derivation.lineage(&add.name, &names, &facts)?;
    let lineage = lineage.map(|lineage| Change::SetLineage { source: add.name.clone(), lineage: Some(lineage) });
    let mut source = NewSource {
        name: add.name.clone(),
        tags: add.tags.into_iter().collect(),
        owners: add.owners.into_iter().collect(),
        columns,
        row_key: if add.row_key.is_empty() { kept_key } else { add.row_key },
        event_time: add.event_time,
        location: found.location,
    };
    let (mut told, mut profiles) = (None, None);
    // The database has told its key; a table may be far larger than what anybody reads of it.
    if !(add.no_detect || remote) {
        let seen = Seen::of_new(&source, connection::connect(&store)).await?;
        if source.row_key.is_empty() {
            told = Some(seen.told(&add.name, true));
            source.row_key = seen.row_key;
        }
        profiles = Some(Change::SetProfiles { source: add.name.clone(), profiles: seen.profiles });
    }
    let tagged =
        part_tags.into_iter().map(|(column, tags)| Change::SetColumnTags { source: add.name.clone(), column, tags });
    let changes = std::iter::once(Change::AddSource(source)).chain(lineage).chain(tagged).chain(profiles).collect();
    let epoch = apply(&store, changes).await?;
    let mut out = std::io::stdout();
    writeln!(out, "added data source `{}` with {count} columns (epoch {epoch})", add.name)?;
    told.iter().try_for_each(|told| writeln!(out, "{told}"))?;
    for (column, why) in found.left_out {
        writeln!(out, "column `{}` is left out: {why}", table::printable(&column))?;
    }
    Ok(writeln!(
        out,
        "nobody but its owners can read it until a subscription policy takes people in; see `weir policy add --help`"
    )?)
}

/// Tags of what is inside of columns.
type PartTags = BTreeMap<ColumnName, BTreeSet<Tag>>;

/// What a source is made of.
struct Found {
    /// In words.
    what: String,
    location: Location,
    columns: Vec<InferredColumn>,
    left_out: Vec<(String, String)>,
    key: Vec<ColumnName>,
}

impl Add {
    async fn find(&self, store: &Store, format: Option<FileFormat>) -> anyhow::Result<Found> {
        if let (Some(connection), Some(table)) = (&self.connection, &self.table) {
            let connection = connection::open(store, connection).await?;
            let schema = self.schema.clone().unwrap_or_else(|| connection.address.default_schema().to_owned());
            let mut tables = weir_sources::find_tables(connection, &schema, Some(table)).await?;
            let what = format!("{schema}.{table}");
            let Some(found) = tables.pop() else { bail!("there is no table `{what}` in the database") };
            let FoundTable { location, columns, left_out, key, .. } = found;
            return Ok(Found { what, location, columns, left_out, key });
        }
        let Some(path) = &self.path else { bail!("neither a file nor a table is given") };
        let url = path.to_str().filter(|path| path.contains("://"));
        let found = match (&self.connection, url) {
            (None, None) => weir_sources::infer(path, format).await?,
            (Some(connection), Some(url)) => {
                let connection = connection::open_store(store, connection).await?;
                weir_sources::infer_objects(connection, url, format).await?
            }
            (None, Some(_)) => bail!("a URL is read through a connection\nhelp: name it with --connection"),
            (Some(_), None) => bail!("a connection needs a URL that is read through it, or --table"),
        };
        let (location, columns) = (found.location, found.columns);
        Ok(Found { what: path.display().to_string(), location, columns, left_out: Vec::new(), key: Vec::new() })
    }

    fn file_format(&self) -> anyhow::Result<Option<FileFormat>> {
        let for_csv = self.delimiter.is_some() || self.no_header;
        if self.delimiter.is_some_and(|delimiter| !delimiter.is_ascii() || matches!(delimiter, '"' | '\n' | '\r')) {
            bail!("the delimiter must be one ASCII character, and neither a quote nor a line break");
        }
        match self.format {
            Some(Format::Parquet | Format::Json | Format::Delta) if for_csv => {
                bail!("--delimiter and --no-header are for CSV files")
            }
            Some(Format::Parquet) => Ok(Some(FileFormat::Parquet)),
            Some(Format::Json) => Ok(Some(FileFormat::Json)),
            Some(Format::Delta) => Ok(Some(FileFormat::Delta)),
            Some(Format::Csv) => Ok(Some(self.csv())),
            None => Ok(for_csv.then(|| self.csv())),
        }
    }

    fn csv(&self) -> FileFormat {
        FileFormat::Csv { header: !self.no_header, delimiter: self.delimiter.unwrap_or(',') }
    }

    /// The columns that are kept, with their tags, and the tags of what is inside of them.
    fn columns(&self, found: Vec<InferredColumn>, what: &str) -> anyhow::Result<(Vec<NewColumn>, PartTags)> {
        let inside = |column: &InferredColumn| -> Vec<String> {
            let nested = column.data_type.nested();
            nested.iter().map(|nested| format!("{}.{}", column.name, nested.path.join("."))).collect()
        };
        let known = |name: &str| -> anyhow::Result<()> {
            if found.iter().any(|column| column.name.as_str() == name) {
                return Ok(());
            }
            let names = found.iter().map(|column| column.name.to_string());
            bail!("`{what}` has no column `{name}`{}", did_you_mean(name, names))
        };
        for name in &self.leave_out {
            known(name.as_str())?;
        }
        for name in self.row_key.iter().chain(&self.event_time) {
            known(name.as_str())?;
            if self.leave_out.contains(name) {
                bail!("column `{name}` is left out and can be neither row key nor event time");
            }
        }
        let mut tags: BTreeMap<&str, BTreeSet<Tag>> = BTreeMap::new();
        for pair in &self.column_tags {
            let (column, tag) = key_value(pair)?;
            let outer = found.iter().find(|outer| inside(outer).iter().any(|part| part == column));
            let kept = match outer {
                Some(outer) => outer.name.as_str(),
                None => column,
            };
            known(kept)?;
            if self.leave_out.iter().any(|left_out| left_out.as_str() == kept) {
                bail!("column `{column}` is left out and cannot have a tag");
            }
            tags.entry(column).or_default().insert(tag.parse()?);
        }
        let kept = found.into_iter().filter(|column| !self.leave_out.contains(&column.name));
        let columns: Vec<NewColumn> = kept
            .map(|column| NewColumn {
                tags: tags.remove(column.name.as_str()).unwrap_or_default(),
                name: column.name,
                data_type: column.data_type,
                nullable: column.nullable,
            })
            .collect();
        if columns.is_empty() {
            bail!("no column is left");
        }
        let part_tags = tags.into_iter().map(|(name, tags)| Ok((ColumnName::new(name)?, tags)));
        Ok((columns, part_tags.collect::<anyhow::Result<_>>()?))
    }
}

async fn row_key(context: &Context, name: SourceName, columns: Vec<ColumnName>) -> anyhow::Result<()> {
    let store = context.store().await?;
    let facts = store.facts().await?;
    let source = find_source(&facts, &name)?;
    columns.iter().try_for_each(|column| find_column(source, column))?;
    let done = format!("row key of data source `{name}`: {}", table::joined(&columns));
    commands::change(&store, Change::SetRowKey { source: name, columns }, &done).await
}

async fn event_time(context: &Context, name: SourceName, column: Option<ColumnName>) -> anyhow::Result<()> {
    let store = context.store().await?;
    let facts = store.facts().await?;
    let source = find_source(&facts, &name)?;
    column.iter().try_for_each(|column| find_column(source, column))?;
    let done = format!("event time of data source `{name}`: {}", table::joined(&column));
    commands::change(&store, Change::SetEventTime { source: name, column }, &done).await
}

async fn tag(context: &Context, name: SourceName, column: Option<ColumnName>, set: &str) -> anyhow::Result<()> {
    let tags = set.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::parse);
    let tags: BTreeSet<Tag> = tags.collect::<Result<_, _>>()?;
    let store = context.store().await?;
    let facts = store.facts().await?;
    let source = find_source(&facts, &name)?;
    let told = table::joined(&tags);
    let (what, change) = match column {
        None => (format!("data source `{name}`"), Change::SetSourceTags { source: name, tags }),
        Some(column) => {
            find_column(source, &column)?;
            (format!("column `{column}` of `{name}`"), Change::SetColumnTags { source: name, column, tags })
        }
    };
    let epoch = apply(&store, vec![change]).await?;
    Ok(writeln!(std::io::stdout(), "tags of {what}: {told} (epoch {epoch})")?)
}
