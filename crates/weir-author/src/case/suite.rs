//! All cases below some folders, with their worlds and the policies that they are about.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use weir_policy::StoredPolicy;

use super::CaseFile;
use super::run::{Ran, Setting, numbered};
use crate::folder::POLICY_ENDINGS;
use crate::world::World;
use crate::{PolicySet, Text, Unusable, below};

/// What was found below the paths. Every file has been read; a mistake in any is an error, not one case less.
#[derive(Debug)]
pub struct Suite {
    pub files: Vec<SuiteFile>,
    /// Policies that case files without some of their own are run with. Absent: there was no file with policies.
    pub policies: Option<PolicySet>,
    worlds: BTreeMap<String, Vec<(PathBuf, World)>>,
}

#[derive(Debug)]
pub struct SuiteFile {
    /// The path.
    pub name: String,
    pub file: CaseFile,
}

/// What all files gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub passed: usize,
    /// By file, in their order; those without failures are absent.
    pub failed: Vec<(String, Ran)>,
    pub files: usize,
}

impl Suite {
    /// Finds case files (`.case`), worlds (`.world`) and policies below the paths. Of a path that is a case file, the
    /// worlds are those beside it, or in the folder `worlds` beside it.
    ///
    /// # Errors
    /// When a file cannot be read or understood, or there is no case.
    pub fn find(paths: &[PathBuf]) -> Result<Self, Unusable> {
        let (mut cases, mut worlds, mut policies) = (Vec::new(), Vec::new(), Vec::new());
        for path in paths {
            if path.is_dir() {
                cases.extend(below(path, &["case"])?);
                worlds.extend(below(path, &["world"])?);
                policies.extend(below(path, &POLICY_ENDINGS)?);
                continue;
            }
            let is = |ending: &str| path.extension().is_some_and(|known| known == ending);
            if is("case") {
                worlds.extend(beside(path)?);
                cases.push(path.clone());
            } else if is("world") {
                worlds.push(path.clone());
            } else {
                policies.push(path.clone());
            }
        }
        for found in [&mut cases, &mut worlds, &mut policies] {
            once(found);
        }
        let mut suite = Self { files: Vec::new(), policies: None, worlds: BTreeMap::new() };
        for path in cases {
            let Text { name, text } = Text::read(&path)?;
            let file = CaseFile::parse(&text).map_err(|why| Unusable::new(&name, why))?;
            suite.files.push(SuiteFile { name, file });
        }
        for path in worlds {
            let Text { name, text } = Text::read(&path)?;
            let world = World::parse(&text).map_err(|why| Unusable::new(&name, why))?;
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            suite.worlds.entry(stem).or_default().push((path, world));
        }
        let texts = policies.iter().map(|path| Text::read(path)).collect::<Result<Vec<_>, _>>()?;
        if !texts.is_empty() {
            suite.policies = Some(PolicySet::new(texts, None));
        }
        if suite.files.is_empty() {
            let places: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            return Err(Unusable::new(places.join(", "), "there is no file that ends in .case"));
        }
        Ok(suite)
    }

    /// Runs every file; with `instead`, in that world, whichever the files name. `stored` are the policies where no file
    /// has any.
    ///
    /// # Errors
    /// When a file cannot be run, or its policies cannot be read.
    pub fn run(&self, instead: Option<&World>, stored: Option<&[StoredPolicy]>) -> Result<Summary, Unusable> {
        if let Some(set) = &self.policies
            && let Some(wrong) = set.findings.iter().find(|finding| finding.diagnostic.is_error())
        {
            let place = set.texts.get(wrong.text).map_or("", |text| text.name.as_str());
            return Err(Unusable::new(place, &wrong.diagnostic));
        }
        let given = self.policies.as_ref().map(|set| numbered(set.policies.clone()));
        let policies = given.as_deref().or(stored);
        let mut summary = Summary { files: self.files.len(), ..Summary::default() };
        for SuiteFile { name, file } in &self.files {
            let world = |wanted: Option<&str>| match instead {
                Some(_) if file.saved_in.is_some() => {
                    Err("it is about a world that changes (`saved_in`), and can be run in its own only".to_owned())
                }
                Some(world) => Ok(world.clone()),
                None => self.world(wanted),
            };
            let ran = file.run(&Setting { world: &world, policies }).map_err(|why| Unusable::new(name, why))?;
            summary.passed += ran.passed;
            if !ran.failures.is_empty() {
                summary.failed.push((name.clone(), ran));
            }
        }
        Ok(summary)
    }

    fn world(&self, wanted: Option<&str>) -> Result<World, String> {
        let named: Vec<&(PathBuf, World)> = match wanted {
            Some(name) => self.worlds.get(name).into_iter().flatten().collect(),
            None => self.worlds.values().flatten().collect(),
        };
        match (named.as_slice(), wanted) {
            ([(_, world)], _) => Ok(world.clone()),
            ([], Some(name)) => Err(format!("there is no file `{name}.world`")),
            ([], None) => Err("it names no world, and there is none".to_owned()),
            ([(first, _), (second, _), ..], Some(name)) => {
                Err(format!("there are two worlds `{name}`: {} and {}", first.display(), second.display()))
            }
            ([_, _, ..], None) => Err("it names no world, and there are several".to_owned()),
        }
    }
}

/// The worlds in the folder of the file, and in the folder `worlds` there.
fn beside(path: &Path) -> Result<Vec<PathBuf>, Unusable> {
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for folder in [folder.to_path_buf(), folder.join("worlds")] {
        let unreadable = |e| Unusable::new(folder.display().to_string(), format!("cannot be read: {e}"));
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(unreadable(e)),
        };
        for entry in entries {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|ending| ending == "world") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// Sorted, and each file once, however it was named.
fn once(paths: &mut Vec<PathBuf>) {
    paths.sort();
    let mut seen = BTreeSet::new();
    paths.retain(|path| seen.insert(std::fs::canonicalize(path).unwrap_or_else(|_| path.clone())));
}

impl Summary {
    pub fn failures(&self) -> usize {
        self.failed.iter().map(|(_, ran)| ran.failures.len()).sum()
    }
}

/// The failures, then how many answers were as expected.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, ran) in &self.failed {
            for failure in &ran.failures {
                writeln!(f, "{name}: {failure}\n")?;
            }
        }
        let noun = if self.files == 1 { "file" } else { "files" };
        write!(f, "{} passed, {} failed, in {} {noun}", self.passed, self.failures(), self.files)
    }
}
