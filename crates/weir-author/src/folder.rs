//! Files of policies below folders.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Unusable;

/// Endings of files with policies, whichever spelling is in them.
pub const POLICY_ENDINGS: [&str; 4] = ["policy", "weir", "yaml", "yml"];

/// Folders are not nested deeper; a link that leads back would never end.
const DEPTH_MAX: usize = 32;

/// A text and what to call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    pub name: String,
    pub text: String,
}

impl Text {
    /// # Errors
    /// When there is no such file, or it is not UTF-8.
    pub fn read(path: &Path) -> Result<Self, Unusable> {
        let name = path.display().to_string();
        let bytes = fs::read(path).map_err(|e| Unusable::new(&name, format!("cannot be read: {e}")))?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { name, text }),
            Err(e) => {
                let at = e.utf8_error().valid_up_to();
                Err(Unusable::new(name, format!("is not UTF-8: byte {at} is not part of a character")))
            }
        }
    }
}

/// The files with policies that the paths name: a file, whatever its name, or a folder, of which all files below that end
/// in `.policy`, `.weir`, `.yaml` or `.yml`. In the order of the paths, and below a folder in that of their names, which
/// is also the order in which new policies are made.
///
/// # Errors
/// When a path cannot be read, or is a folder without such a file.
pub fn policy_texts(paths: &[PathBuf]) -> Result<Vec<Text>, Unusable> {
    let mut texts = Vec::new();
    for path in paths {
        if !path.is_dir() {
            texts.push(Text::read(path)?);
            continue;
        }
        let files = below(path, &POLICY_ENDINGS)?;
        if files.is_empty() {
            let why = "no file below it ends in .policy, .weir, .yaml or .yml";
            return Err(Unusable::new(path.display().to_string(), why));
        }
        for file in files {
            texts.push(Text::read(&file)?);
        }
    }
    Ok(texts)
}

/// All files below the folder that have one of the endings, sorted by path. What begins with a dot is passed over, as
/// folders of version control are.
///
/// # Errors
/// When a folder cannot be read, or folders are nested too deep.
pub fn below(folder: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, Unusable> {
    let mut found = Vec::new();
    gather(folder, endings, DEPTH_MAX, &mut found)?;
    found.sort();
    Ok(found)
}

fn gather(folder: &Path, endings: &[&str], depth: usize, found: &mut Vec<PathBuf>) -> Result<(), Unusable> {
    let unusable = |why: String| Unusable::new(folder.display().to_string(), why);
    if depth == 0 {
        return Err(unusable(format!("more than {DEPTH_MAX} folders within each other")));
    }
    let unreadable = |e: std::io::Error| unusable(format!("cannot be read: {e}"));
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            gather(&path, endings, depth - 1, found)?;
        } else if path.extension().is_some_and(|ending| endings.iter().any(|known| ending == *known)) {
            found.push(path);
        }
    }
    Ok(())
}
