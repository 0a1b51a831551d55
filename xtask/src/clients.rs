//! Clients that tests run against a server, below `WEIR_CLIENTS_DIR`: each at the version that its lock file says.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::run::{command, root, say};

/// Installs what has another lock file than when it was installed last.
pub(crate) fn install() -> Result<()> {
    let (dir, from) = (folder()?, root().join("tests/clients"));
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    once(&dir, "python", &[from.join("requirements.txt")], |to| {
        command("python3", &["-m", "venv", &text(to)], &[])?;
        let (pip, requirements) = (text(&to.join("bin/pip")), text(&from.join("requirements.txt")));
        command(
            &pip,
            &["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", &requirements],
            &[],
        )
    })?;
    once(&dir, "node", &[from.join("node/package.json"), from.join("node/package-lock.json")], |to| {
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(from.join("node").join(file), to.join(file))?;
        }
        command("npm", &["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", &text(to)], &[])
    })?;
    let sums = from.join("java/jars.sha256");
    once(&dir, "java", &[from.join("java/pom.xml"), sums.clone()], |to| {
        let (pom, output) = (text(&from.join("java/pom.xml")), format!("-DoutputDirectory={}", text(to)));
        command("mvn", &["--batch-mode", "--quiet", "-f", &pom, "dependency:copy-dependencies", &output], &[])?;
        let check = format!("cd '{}' && sha256sum --check --quiet '{}'", text(to), text(&sums));
        command("sh", &["-c", &check], &[])
    })
}

/// Where tests look for them too.
fn folder() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("WEIR_CLIENTS_DIR") {
        return Ok(dir.into());
    }
    let home = std::env::var_os("HOME").context("neither `WEIR_CLIENTS_DIR` nor `HOME` is set")?;
    Ok(Path::new(&home).join(".cache/weir/clients"))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Installs into a new folder, unless one is there with the same locks.
fn once(dir: &Path, name: &str, locks: &[PathBuf], install: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let mut wanted = String::new();
    for lock in locks {
        wanted.push_str(&std::fs::read_to_string(lock).with_context(|| format!("cannot read {}", lock.display()))?);
    }
    let (to, stamp) = (dir.join(name), dir.join(format!("{name}.lock")));
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) && to.exists() {
        return Ok(());
    }
    say(&format!("clients of {name} in {}", to.display()));
    if to.exists() {
        std::fs::remove_dir_all(&to)?;
    }
    std::fs::create_dir_all(&to)?;
    install(&to)?;
    std::fs::write(&stamp, wanted)?;
    Ok(())
}
