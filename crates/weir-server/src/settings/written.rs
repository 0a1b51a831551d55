//! Reads settings from where they are written.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::definition::{Definition, Kind, Value};
use super::merged::Merged;
use super::{Inputs, Origin, Problem, definitions};

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// Variables that are no settings: where the settings file is, and the password of `weir sql` and `weir user`.
const OTHER_VARIABLES: [&str; 2] = ["WEIR_CONFIG", "WEIR_PASSWORD"];

/// Reads everything, weakest first. What cannot be read becomes a problem.
pub(super) fn read(inputs: &Inputs, problems: &mut Vec<Problem>) -> Merged {
    let mut merged = Merged::default();
    for definition in definitions() {
        let default = match inputs.data_dir_default {
            Some(dir) if definition.key == "data_dir" => Some(dir),
            _ => definition.default.as_deref(),
        };
        if let Some(default) = default {
            put(&mut merged, definition, default, Origin::Default, problems);
        }
    }
    let mut strong = Vec::new();
    from_environment(inputs, &mut strong, problems);
    for flag in &inputs.flags {
        match find(flag.key) {
            Some(definition) => strong.push((definition, flag.value.as_str(), Origin::Flag { flag: flag.flag })),
            None => {
                problems.push(Problem::new(Origin::Flag { flag: flag.flag }, format!("unknown setting `{}`", flag.key)))
            }
        }
    }
    // Where the file is may depend on the stronger values; it goes below them all the same.
    let dir = strong
        .iter()
        .rev()
        .find(|(definition, ..)| definition.key == "data_dir")
        .map(|(_, value, _)| PathBuf::from(value));
    let in_dir = dir.or_else(|| merged.path("data_dir")).map(|dir| dir.join("weir.toml"));
    match (&inputs.file, in_dir) {
        (Some(path), _) => from_file(path, false, &mut merged, problems),
        (None, Some(path)) if path.is_file() => from_file(&path, true, &mut merged, problems),
        (None, _) => {}
    }
    for (definition, value, origin) in strong {
        put(&mut merged, definition, value, origin, problems);
    }
    merged
}

fn find(key: &str) -> Option<&'static Definition> {
    definitions().iter().find(|definition| definition.key == key)
}

fn put(merged: &mut Merged, definition: &'static Definition, text: &str, origin: Origin, problems: &mut Vec<Problem>) {
    match definition.parse(text) {
        Ok(value) => merged.put(definition, Given { value, origin }),
        Err(message) => problems.push(Problem::new(origin, message)),
    }
}

fn from_environment<'a>(
    inputs: &'a Inputs,
    strong: &mut Vec<(&'static Definition, &'a str, Origin)>,
    problems: &mut Vec<Problem>,
) {
    let known: Vec<(String, &'static Definition)> = definitions().iter().map(|d| (d.variable(), d)).collect();
    for (variable, value) in &inputs.environment {
        if !variable.starts_with("WEIR_") || OTHER_VARIABLES.contains(&variable.as_str()) {
            continue;
        }
        let origin = Origin::Environment { variable: variable.clone() };
        match known.iter().find(|(name, _)| name == variable) {
            Some((_, definition)) => strong.push((definition, value, origin)),
            None => {
                let names = known.iter().map(|(name, _)| name.as_str()).chain(OTHER_VARIABLES);
                let meant = nearest(variable, names);
                // Other programs may have variables of this prefix; one that looks like a setting is a mistake.
                if meant.is_some() || in_a_section(variable) {
                    let help = meant.map(|name| format!("did you mean `{name}`?"));
                    problems.push(Problem::new(origin, "there is no such setting").help(help));
                }
            }
        }
    }
}

/// Whether the variable begins like those of a section of settings, as `WEIR_SQL_…` does.
fn in_a_section(variable: &str) -> bool {
    let sections = definitions().iter().filter_map(|d| d.key.split_once('.'));
    sections.into_iter().any(|(section, _)| variable.starts_with(&format!("WEIR_{}_", section.to_uppercase())))
}

fn from_file(path: &Path, in_data_dir: bool, merged: &mut Merged, problems: &mut Vec<Problem>) {
    let at = |line| Origin::File { path: path.to_owned(), line };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) => {
            problems.push(Problem::new(at(1), format!("the settings file cannot be read: {e}")));
            return;
        }
    };
    let line_of = |offset: usize| text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1;
    match DeTable::parse(&text) {
        Ok(table) => {
            let file = File { path, in_data_dir, line_of: &line_of };
            file.table("", table.get_ref(), merged, problems);
        }
        Err(e) => {
            let line = e.span().map_or(1, |span| line_of(span.start));
            problems.push(Problem::new(at(line), format!("this is not TOML: {}", e.message())));
        }
    }
}

struct File<'a> {
    path: &'a Path,
    in_data_dir: bool,
    line_of: &'a dyn Fn(usize) -> usize,
}

impl File<'_> {
    fn table(&self, prefix: &str, table: &DeTable<'_>, merged: &mut Merged, problems: &mut Vec<Problem>) {
        for (name, value) in table {
            let key =
                if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
            let origin = Origin::File { path: self.path.to_owned(), line: (self.line_of)(name.span().start) };
            let section = format!("{key}.");
            if let Some(definition) = find(&key) {
                match self.value(definition, value.get_ref()) {
                    Ok(value) => merged.put(definition, Given { value, origin }),
                    Err(message) => problems.push(Problem::new(origin, message)),
                }
            } else if let (DeValue::Table(table), true) =
                (value.get_ref(), definitions().iter().any(|d| d.key.starts_with(&section)))
            {
                self.table(&key, table, merged, problems);
            } else {
                let help = nearest(&key, definitions().iter().map(|d| d.key.as_str()));
                let help = help.map(|key| format!("did you mean `{key}`?"));
                problems.push(Problem::new(origin, format!("unknown key `{key}`")).help(help));
            }
        }
    }

    fn value(&self, definition: &Definition, value: &DeValue<'_>) -> Result<Value, String> {
        let key = &definition.key;
        if key == "data_dir" && self.in_data_dir {
            return Err("`data_dir` cannot be set in a file that lies in the data directory".to_owned());
        }
        let text = match (value, &definition.kind) {
            (DeValue::Boolean(b), Kind::Boolean) => b.to_string(),
            (DeValue::Integer(n), Kind::Integer { .. } | Kind::Bytes { .. }) if n.radix() == 10 => {
                n.as_str().to_owned()
            }
            (DeValue::String(text), Kind::Address | Kind::LogFilter | Kind::Bytes { .. }) => text.to_string(),
            // Relative to the file, so that the server may be started from anywhere.
            (DeValue::String(text), Kind::Path) if !text.is_empty() => {
                self.path.parent().unwrap_or(Path::new("")).join(text.as_ref()).to_string_lossy().into_owned()
            }
            (_, Kind::Boolean) => return Err(format!("`{key}` must be `true` or `false`, without quotes")),
            (_, Kind::Integer { .. }) => return Err(format!("`{key}` must be a whole number, without quotes")),
            (_, Kind::Bytes { .. }) => {
                return Err(format!("`{key}` must be a whole number or a text such as \"64 MiB\""));
            }
            (_, Kind::Address | Kind::LogFilter | Kind::Path) => {
                return Err(format!("`{key}` must be a text in quotes"));
            }
        };
        definition.parse(&text)
    }
}

/// The name that was probably meant.
fn nearest<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = names.map(|name| (strsim::jaro_winkler(written, name), name));
    scored.filter(|(score, _)| *score > 0.85).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}
