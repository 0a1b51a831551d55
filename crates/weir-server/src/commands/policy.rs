mod count;
mod export;
mod history;
mod plan;
mod test;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use weir_guard::{Clock, SystemClock};
use weir_model::{ColumnName, DataSource, PolicyKey, PrincipalId, PrincipalSet, ProjectName, SourceName, Surroundings};
use weir_policy::ast::{Action, Body, Circumstance, Circumstances};
use weir_policy::check::check;
use weir_policy::language::{self, Parsed, Spelling};
use weir_policy::{Diagnostic, Facts, Snapshot, ast, explain};
use weir_store::{Change, Store};

use crate::commands::certification::{self, Certifications, Certify};
use crate::commands::template::{self, Instantiate};
use crate::commands::{change, change_as, find_column, project, text};
use crate::context::{Context, apply, did_you_mean, find_source, find_user};
use crate::{table, terminal};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir policy add --text \"Mask using hashing the column ssn for everyone\"
  weir policy add policies.weir
  weir policy check policies.weir
  weir policy fmt policies.weir --to yaml
  weir policy plan policies/
  weir policy apply policies/
  weir policy test policies/
  weir policy explain --user anna shop.orders
  weir policy explain --user anna shop.orders email
  weir policy explain --user anna --project heart-study clinic.visits
  weir policy choose null-names shop.people --by oona
  weir policy certify mask-ssn --source shop.people --by oona
  weir policy instantiate hide-column hide-email --on shop.people --set COLUMN=email

The language is described in docs/policy-language.md.")]
pub(crate) struct Policy {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Say what is wrong with policies, without saving them
    ///
    /// With a data directory, names and types are checked against its data sources.
    Check {
        /// Files in English or YAML; - is standard input
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print policies in their standard form, or in the other spelling
    Fmt {
        /// A file in English or YAML; - is standard input
        file: PathBuf,
        /// The spelling to print [default: that of the file]
        #[arg(long, value_enum)]
        to: Option<To>,
        /// Change the file instead of printing
        #[arg(long)]
        write: bool,
    },
    /// Save policies; one that has the key of a saved policy replaces it
    Add {
        /// Files in English or YAML; - is standard input
        #[arg(required_unless_present = "text", conflicts_with = "text")]
        files: Vec<PathBuf>,
        /// One policy, instead of a file
        #[arg(long, value_name = "SENTENCE")]
        text: Option<String>,
        /// The key of the policy, if it is one only
        #[arg(long)]
        key: Option<PolicyKey>,
        /// Check only
        #[arg(long)]
        dry_run: bool,
    },
    /// Show what applying the policies of files and folders would change, and for whom
    Plan(plan::Plan),
    /// Make the stored policies those of files and folders
    Apply(plan::Apply),
    /// Try cases that say what policies must decide for whom
    Test(test::Test),
    /// Write every policy into a folder
    Export(export::Export),
    /// Show how the policies of two epochs differ
    Diff(history::Diff),
    /// Show every version of a policy, and who made it
    History(history::History),
    /// List the policies
    List,
    /// Print a policy
    Show {
        key: PolicyKey,
        /// In YAML
        #[arg(long)]
        yaml: bool,
    },
    /// Remove a policy
    Remove {
        key: PolicyKey,
    },
    /// Have a policy hold for a data source, as its owner wants; for policies about sources chosen by their owners
    Choose {
        /// The policy
        key: PolicyKey,
        /// The data source: `schema.table`
        source: SourceName,
        /// The owner who chooses it [default: whoever administers this machine]
        #[arg(long, value_name = "USER")]
        by: Option<PrincipalId>,
    },
    /// End the choice
    Unchoose {
        key: PolicyKey,
        source: SourceName,
        /// The owner who ends it [default: whoever administers this machine]
        #[arg(long, value_name = "USER")]
        by: Option<PrincipalId>,
    },
    Certify(Certify),
    Instantiate(Instantiate),
    /// Say what a user sees of a data source or of one column of it, which policy says so, and why
    Explain {
        /// The user
        #[arg(long)]
        user: PrincipalId,
        /// In which project the user acts [default: in none]
        #[arg(long)]
        project: Option<ProjectName>,
        /// The data source: `schema.table`
        source: SourceName,
        /// One column: every policy that masks it for anybody, and what came of it
        column: Option<ColumnName>,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum To {
    English,
    Yaml,
}

pub(crate) async fn run(context: &Context, policy: Policy) -> anyhow::Result<()> {
    match policy.command {
        PolicyCommand::Check { files } => check_files(context, &files).await,
        PolicyCommand::Fmt { file, to, write } => fmt(context, &file, to, write),
        PolicyCommand::Add { files, text, key, dry_run } => {
            let texts = match text {
                Some(text) => vec![Text { name: "policy".to_owned(), text }],
                None => read_all(&files)?,
            };
            add(context, &texts, key, dry_run).await
        }
        PolicyCommand::Plan(command) => Box::pin(plan::plan(context, command)).await,
        PolicyCommand::Apply(command) => Box::pin(plan::apply(context, command)).await,
        PolicyCommand::Test(command) => Box::pin(test::test(context, command)).await,
        PolicyCommand::Export(command) => export::export(context, command).await,
        PolicyCommand::Diff(command) => history::diff(context, command).await,
        PolicyCommand::History(command) => history::history(context, command).await,
        PolicyCommand::List => {
            let store = context.store().await?;
            list(&store.facts().await?, &Certifications::of(&store).await?)
        }
        PolicyCommand::Show { key, yaml } => {
            let facts = context.store().await?.facts().await?;
            let to = if yaml { Spelling::Yaml } else { Spelling::English };
            Ok(writeln!(std::io::stdout(), "{}", print(&[find(&facts, &key)?], to))?)
        }
        PolicyCommand::Remove { key } => {
            let store = context.store().await?;
            find(&store.facts().await?, &key)?;
            let epoch = apply(&store, vec![Change::RemovePolicy(key.clone())]).await?;
            Ok(writeln!(std::io::stdout(), "removed policy `{key}` (epoch {epoch})")?)
        }
        PolicyCommand::Certify(command) => certification::certify(context, command).await,
        PolicyCommand::Instantiate(command) => template::instantiate(context, command).await,
        PolicyCommand::Choose { key, source, by } => {
            let store = context.store().await?;
            let facts = store.facts().await?;
            let policy = find(&facts, &key)?;
            let owned = find_source(&facts, &source)?;
            by.iter().try_for_each(|by| check_owner(&facts, owned, by))?;
            if !can_be_chosen(policy) {
                bail!("policy `{key}` does not wait to be chosen\nhelp: it holds on data sources: {}", sources(policy));
            }
            let done = format!("policy `{key}` is chosen for data source `{source}`");
            made_by(&store, by.as_ref(), Change::ChoosePolicy { policy: key, source }, &done).await
        }
        PolicyCommand::Unchoose { key, source, by } => {
            let store = context.store().await?;
            let facts = store.facts().await?;
            find(&facts, &key)?;
            let owned = find_source(&facts, &source)?;
            by.iter().try_for_each(|by| check_owner(&facts, owned, by))?;
            let done = format!("policy `{key}` is not chosen for data source `{source}` any more");
            made_by(&store, by.as_ref(), Change::UnchoosePolicy { policy: key, source }, &done).await
        }
        PolicyCommand::Explain { user, project, source, column, json } => {
            let store = context.store().await?;
            let facts = store.facts().await?;
            find_user(&facts, &user)?;
            let found = find_source(&facts, &source)?;
            if let Some(column) = &column {
                find_column(found, column)?;
            }
            let certified = Certifications::of(&store).await?.at(found, &facts);
            let source = found.id;
            if let Some(project) = &project {
                project::find(facts.projects.iter().map(|known| &known.name), project)?;
            }
            let surroundings = Surroundings { project, impersonated: false, at_unix_ms: SystemClock.unix_ms() };
            let snapshot = Snapshot::compile(facts);
            let of_column =
                column.and_then(|column| explain::explain_column(&snapshot, &user, &surroundings, source, &column));
            let text = match of_column {
                Some(explanation) if json => serde_json::to_string_pretty(&explanation)?,
                Some(explanation) => explanation.to_string(),
                None => {
                    let explanation = explain::explain(&snapshot, &user, &surroundings, source);
                    if json { serde_json::to_string_pretty(&explanation)? } else { explanation.to_string() }
                }
            };
            let mut out = std::io::stdout();
            writeln!(out, "{}", table::printable(text.trim_end()))?;
            if !json && !certified.is_empty() {
                writeln!(out, "\nCertifications")?;
                certified.iter().try_for_each(|line| writeln!(out, "  {}", table::printable(line)))?;
            }
            Ok(())
        }
    }
}

/// Only who owns the source chooses for it.
fn check_owner(facts: &Facts, source: &DataSource, by: &PrincipalId) -> anyhow::Result<()> {
    find_user(facts, by)?;
    if source.owners.contains(by) {
        return Ok(());
    }
    bail!("user `{by}` is no owner of data source `{}`, and owners choose for it", source.name)
}

async fn made_by(store: &Store, by: Option<&PrincipalId>, made: Change, done: &str) -> anyhow::Result<()> {
    match by {
        Some(by) => change_as(store, by, made, done).await,
        None => change(store, made, done).await,
    }
}

/// A text with policies and what to call it.
struct Text {
    name: String,
    text: String,
}

fn read(path: &Path) -> anyhow::Result<Text> {
    let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    Ok(Text { text: text::read(path)?, name })
}

fn read_all(paths: &[PathBuf]) -> anyhow::Result<Vec<Text>> {
    paths.iter().map(|path| read(path)).collect()
}

/// Prints what is wrong with a text and gives its policies, unless there is an error.
fn examine(context: &Context, text: &Text, facts: Option<&Facts>) -> anyhow::Result<Option<Parsed>> {
    let mut parsed = language::parse(&text.text);
    if parsed.policies.is_empty() && parsed.diagnostics.is_empty() {
        bail!("{} holds no policy", text.name);
    }
    if let Some(facts) = facts {
        let found: Vec<Diagnostic> = parsed.policies.iter().flat_map(|policy| check(policy, facts)).collect();
        parsed.diagnostics.extend(found);
    }
    let mut err = std::io::stderr();
    for diagnostic in &parsed.diagnostics {
        writeln!(err, "{}", terminal::diagnostic(diagnostic, &text.name, &text.text, context.color))?;
    }
    let wrong = parsed.diagnostics.iter().any(Diagnostic::is_error);
    Ok((!wrong).then_some(parsed))
}

async fn check_files(context: &Context, files: &[PathBuf]) -> anyhow::Result<()> {
    let facts = if context.has_store() { Some(context.store().await?.facts().await?) } else { None };
    let (mut policies, mut wrong) = (0, 0);
    for text in read_all(files)? {
        match examine(context, &text, facts.as_ref())? {
            Some(parsed) => policies += parsed.policies.len(),
            None => wrong += 1,
        }
    }
    if wrong > 0 {
        bail!("{wrong} of {} texts cannot be saved", files.len());
    }
    let against = match facts {
        Some(_) => format!("checked against {}", context.data_dir().display()),
        None => "names and types were not checked, for there is no data directory".to_owned(),
    };
    let noun = if policies == 1 { "policy is" } else { "policies are" };
    Ok(writeln!(std::io::stdout(), "{policies} {noun} in order; {against}")?)
}

async fn add(context: &Context, texts: &[Text], key: Option<PolicyKey>, dry_run: bool) -> anyhow::Result<()> {
    let store = context.store().await?;
    let facts = store.facts().await?;
    let mut policies = Vec::new();
    let mut wrong = false;
    for text in texts {
        match examine(context, text, Some(&facts))? {
            Some(parsed) => policies.extend(parsed.policies),
            None => wrong = true,
        }
    }
    if wrong {
        bail!("nothing was saved");
    }
    match (key, policies.as_mut_slice()) {
        (Some(key), [policy]) => policy.key = key,
        (Some(_), _) => bail!("--key is for one policy, and there are {}", policies.len()),
        (None, _) => {}
    }
    for (at, policy) in policies.iter().enumerate() {
        if policies.iter().skip(at + 1).any(|other| other.key == policy.key) {
            bail!("two of the policies have the key `{}`", policy.key);
        }
    }
    let saved = |key: &PolicyKey| facts.policies.iter().any(|stored| stored.policy.key == *key);
    let words =
        policies.iter().map(|policy| (if saved(&policy.key) { "replaced" } else { "added" }, policy.key.clone()));
    let words: Vec<(&str, PolicyKey)> = words.collect();
    let mut out = std::io::stdout();
    if dry_run {
        return Ok(writeln!(out, "nothing is wrong; nothing was saved")?);
    }
    let epoch = apply(&store, policies.into_iter().map(Change::PutPolicy).collect()).await?;
    for (word, key) in words {
        writeln!(out, "{word} policy `{key}` (epoch {epoch})")?;
    }
    Ok(())
}

fn fmt(context: &Context, file: &Path, to: Option<To>, write: bool) -> anyhow::Result<()> {
    let text = read(file)?;
    let Some(parsed) = examine(context, &text, None)? else { bail!("{} is left as it is", text.name) };
    let to = match to {
        Some(To::English) => Spelling::English,
        Some(To::Yaml) => Spelling::Yaml,
        None => parsed.spelling,
    };
    let policies: Vec<&ast::Policy> = parsed.policies.iter().collect();
    let printed = print(&policies, to);
    if !write {
        return Ok(writeln!(std::io::stdout(), "{printed}")?);
    }
    if file == Path::new("-") {
        bail!("--write takes a file");
    }
    if has_comments(&text.text, parsed.spelling) {
        bail!(
            "{} has comments, which would be lost\nhelp: leave out --write and take over what is printed by hand",
            text.name
        );
    }
    std::fs::write(file, printed + "\n").with_context(|| format!("cannot write {}", text.name))
}

fn has_comments(text: &str, spelling: Spelling) -> bool {
    let mut lines = text.lines().map(str::trim_start);
    lines.any(|line| line.starts_with('#') || (spelling == Spelling::English && line.starts_with("--")))
}

fn print(policies: &[&ast::Policy], to: Spelling) -> String {
    let one = |policy: &&ast::Policy| match to {
        Spelling::English => language::to_english(policy),
        Spelling::Yaml => language::to_yaml(policy).trim_end().to_owned(),
    };
    let separator = match to {
        Spelling::English => "\n\n",
        Spelling::Yaml => "\n---\n",
    };
    policies.iter().map(one).collect::<Vec<_>>().join(separator)
}

pub(super) fn find<'a>(facts: &'a Facts, key: &PolicyKey) -> anyhow::Result<&'a ast::Policy> {
    let mut policies = facts.policies.iter().map(|stored| &stored.policy);
    match policies.find(|policy| policy.key == *key) {
        Some(policy) => Ok(policy),
        None => {
            let keys = facts.policies.iter().map(|stored| stored.policy.key.to_string());
            bail!("policy `{key}` does not exist{}", did_you_mean(key.as_str(), keys))
        }
    }
}

fn list(facts: &Facts, certifications: &Certifications) -> anyhow::Result<()> {
    let mut policies: Vec<_> = facts.policies.iter().collect();
    policies.sort_by_key(|stored| stored.id);
    let any = policies.iter().any(|stored| stored.policy.certification.is_some());
    let rows = policies.iter().map(|stored| {
        let policy = &stored.policy;
        let title = match &policy.title {
            Some(title) => title.clone(),
            None => table::shortened(&language::to_sentence(&policy.statement), 60),
        };
        let state = match (policy.template, policy.staged) {
            (true, _) => "template",
            (false, true) => "staged",
            (false, false) => "in effect",
        };
        let certified = any.then(|| certifications.count(policy, facts));
        let fields = [policy.key.to_string(), kind(policy).to_owned(), state.to_owned(), sources(policy)];
        fields.into_iter().chain(certified).chain([title]).collect()
    });
    let certified = any.then_some("certified");
    let headings = ["policy", "kind", "state", "data sources"].into_iter().chain(certified).chain(["title"]);
    let headings: Vec<&str> = headings.collect();
    Ok(writeln!(std::io::stdout(), "{}", table::list(&headings, rows))?)
}

fn kind(policy: &ast::Policy) -> &'static str {
    match &policy.statement.body {
        Body::Subscribe(_) => "subscription",
        Body::Data(cascade) => match cascade.rules.first().map(|rule| &rule.action) {
            Some(Action::Mask(_)) => "mask",
            Some(Action::ShowRows(_)) => "row filter",
            Some(Action::LimitToPurposes(_)) => "purpose limit",
            None => "-",
        },
    }
}

fn sources(policy: &ast::Policy) -> String {
    let all = |tests: &[Circumstance], between: &str| tests.iter().map(circumstance).collect::<Vec<_>>().join(between);
    match &policy.statement.on {
        Circumstances::AllSources => "all".to_owned(),
        Circumstances::Named(names) => table::joined(names.iter().map(|name| &name.node)),
        Circumstances::Any(tests) => all(tests, " or "),
        Circumstances::All(tests) => all(tests, " and "),
    }
}

fn circumstance(circumstance: &Circumstance) -> String {
    match circumstance {
        Circumstance::SourceTagged(tag) => format!("tagged {}", tag.node),
        Circumstance::ColumnTagged(tag) => format!("column tagged {}", tag.node),
        Circumstance::ColumnNamedLike { pattern, case_insensitive: _ } => format!("column like {}", pattern.node),
        Circumstance::NoTags => "no tags".to_owned(),
        Circumstance::AnyTag => "any tag".to_owned(),
        Circumstance::InSchema(schema) => format!("schema {}", schema.node),
        Circumstance::OwnedBy(PrincipalSet::User(user)) => format!("owned by {user}"),
        Circumstance::OwnedBy(PrincipalSet::Group(group)) => format!("owned by group {group}"),
        Circumstance::ChosenByOwner => "chosen by owner".to_owned(),
    }
}

fn can_be_chosen(policy: &ast::Policy) -> bool {
    match &policy.statement.on {
        Circumstances::AllSources | Circumstances::Named(_) => false,
        Circumstances::Any(tests) | Circumstances::All(tests) => tests.contains(&Circumstance::ChosenByOwner),
    }
}
