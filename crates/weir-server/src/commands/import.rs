use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use weir_import::{Document, Import, Imported, Outcome, Report};

use crate::table;

/// Most of a file that is read, in bytes; a longer one is refused by what reads it.
const READ_MAX: u64 = 16 << 20;

/// Of a reason in the table.
const WHY_MAX: usize = 160;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir import ranger hive.json                      say what would become of the policies
  weir import ranger hive.json tags.json roles.json --out policies
  weir import immuta policies.yaml --out policies --json
  weir policy add policies/*.yaml

What is imported never lets anybody see more than the original did. Nothing takes effect before it is added. The exit status \
is 0 when there is something of every part in the policies, 3 when parts were not carried over, and 1 when nothing was \
imported. docs/import.md says what becomes of what.")]
pub(crate) struct ImportCommand {
    #[command(subcommand)]
    from: System,
}

#[derive(Debug, Subcommand)]
enum System {
    /// Policies of Apache Ranger: exports of policies, what plugins download, and roles
    Ranger(What),
    /// Policies of Immuta: YAML of its second interface, or JSON of the first
    Immuta(What),
}

#[derive(Debug, Args)]
struct What {
    /// Files to read together; - is standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Folder for the policies, one file each [default: nothing is written]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace files that are in the folder
    #[arg(long, requires = "out")]
    force: bool,
    /// Print the report as a JSON object
    #[arg(long)]
    json: bool,
}

type Reader = fn(&[Document<'_>]) -> Result<Import, weir_import::Error>;

/// Some parts of the input are not in the policies.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Incomplete(String);

pub(crate) fn run(command: ImportCommand) -> anyhow::Result<()> {
    let (read, what): (Reader, What) = match command.from {
        System::Ranger(what) => (weir_import::ranger, what),
        System::Immuta(what) => (weir_import::immuta, what),
    };
    let files: Vec<(String, Vec<u8>)> = what.files.iter().map(|path| file(path)).collect::<Result<_, _>>()?;
    let documents: Vec<Document<'_>> = files.iter().map(|(name, bytes)| Document { name, bytes }).collect();
    let import = read(&documents).context("nothing was imported")?;
    if let Some(out) = &what.out {
        write_all(out, &import.policies, what.force)?;
    }
    let mut stdout = std::io::stdout();
    if what.json {
        writeln!(stdout, "{}", json(&import)?)?;
    } else {
        let width = if stdout.is_terminal() { WHY_MAX } else { usize::MAX };
        writeln!(stdout, "{}", rows(&import.report, width))?;
        writeln!(stdout, "\n{}", summary(&import, what.out.as_deref()))?;
    }
    if import.report.is_complete() {
        return Ok(());
    }
    let count = import.report.count(&Outcome::NotCarriedOver);
    let parts = if count == 1 { "1 part was" } else { &format!("{count} parts were") };
    Err(Incomplete(format!("{parts} not carried over")).into())
}

/// A file with what to call it, and at most a little more of it than is ever imported.
fn file(path: &Path) -> anyhow::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(READ_MAX).read_to_end(&mut bytes).context("cannot read standard input")?;
        return Ok(("standard input".to_owned(), bytes));
    }
    let cannot = || format!("cannot read {}", path.display());
    let file = std::fs::File::open(path).with_context(cannot)?;
    file.take(READ_MAX).read_to_end(&mut bytes).with_context(cannot)?;
    Ok((path.display().to_string(), bytes))
}

fn rows(report: &Report, width: usize) -> String {
    let rows = report.lines.iter().map(|line| {
        vec![
            line.policy.clone(),
            line.path.clone(),
            line.outcome.as_str().to_owned(),
            table::joined(&line.became),
            if line.why.is_empty() { "-".to_owned() } else { table::shortened(&line.why, width) },
        ]
    });
    table::list(&["original", "place", "outcome", "policy", "how, or why not"], rows)
}

fn summary(import: &Import, out: Option<&Path>) -> String {
    let count = import.policies.len();
    let noun = if count == 1 { "policy" } else { "policies" };
    match out {
        Some(out) => format!("wrote {count} {noun} to {}", out.display()),
        None => format!("{count} {noun}; nothing was written\nhelp: say where to write them with --out"),
    }
}

fn json(import: &Import) -> anyhow::Result<String> {
    let policies: Vec<serde_json::Value> = import
        .policies
        .iter()
        .map(|imported| serde_json::json!({ "policy": imported.policy.key, "text": imported.text }))
        .collect();
    let complete = import.report.is_complete();
    let report = serde_json::json!({ "complete": complete, "lines": import.report.lines, "policies": policies });
    Ok(serde_json::to_string_pretty(&report)?)
}

/// Writes every policy, or nothing: first all of them beside their places, and only then under their names.
fn write_all(out: &Path, policies: &[Imported], force: bool) -> anyhow::Result<()> {
    let cannot = |path: &Path| format!("cannot write {}", path.display());
    std::fs::create_dir_all(out).with_context(|| cannot(out))?;
    let places: Vec<(PathBuf, &str)> =
        policies.iter().map(|one| (out.join(format!("{}.yaml", one.policy.key)), one.text.as_str())).collect();
    if !force && let Some((taken, _)) = places.iter().find(|(path, _)| path.symlink_metadata().is_ok()) {
        bail!("{} is there already; nothing was written\nhelp: --force replaces files", taken.display());
    }
    let beside = |path: &Path| path.with_extension("yaml.new");
    let written = places.iter().try_for_each(|(path, text)| {
        let beside = beside(path);
        std::fs::write(&beside, text).with_context(|| cannot(&beside))
    });
    let moved = written.and_then(|()| {
        let mut moves = places.iter();
        moves.try_for_each(|(path, _)| std::fs::rename(beside(path), path).with_context(|| cannot(path)))
    });
    if moved.is_err() {
        for (path, _) in &places {
            // What is left over does no harm but is in the way.
            let _ = std::fs::remove_file(beside(path));
            if !force {
                let _ = std::fs::remove_file(path);
            }
        }
    }
    moved.context("nothing was written")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported() -> Import {
        let text = "policyKey: open\nname: Open\ntype: subscription\nactions: {type: anyone}\n\
                    ---\npolicyKey: ssn\nname: SSN\ntype: data\nactions:\n  - rules:\n      - type: Masking\n        \
                    config: {fields: [{type: columnTags, columnTag: PII}], maskingConfig: {type: Hash}}\n";
        weir_import::immuta(&[Document { name: "a", bytes: text.as_bytes() }]).unwrap()
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = entries.collect();
        names.sort();
        names
    }

    #[test]
    fn all_files_are_written_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("a/b");
        let import = imported();
        write_all(&out, &import.policies, false).unwrap();
        assert_eq!(names(&out), ["open.yaml", "ssn.yaml"]);
        std::fs::remove_file(out.join("open.yaml")).unwrap();
        std::fs::write(out.join("ssn.yaml"), "mine").unwrap();
        let error = write_all(&out, &import.policies, false).unwrap_err().to_string();
        assert!(error.contains("ssn.yaml is there already; nothing was written"), "{error}");
        assert_eq!(names(&out), ["ssn.yaml"]);
        assert_eq!(std::fs::read_to_string(out.join("ssn.yaml")).unwrap(), "mine");
        write_all(&out, &import.policies, true).unwrap();
        assert_eq!(names(&out), ["open.yaml", "ssn.yaml"]);
        assert!(std::fs::read_to_string(out.join("ssn.yaml")).unwrap().starts_with("policy: ssn\n"));
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        // Where the second policy would be written beside its place there is a folder.
        std::fs::create_dir(dir.path().join("ssn.yaml.new")).unwrap();
        assert!(write_all(dir.path(), &imported().policies, false).is_err());
        assert_eq!(names(dir.path()), ["ssn.yaml.new"]);
    }
}
