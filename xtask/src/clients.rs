//! Clients that tests run against a server, below `WEIR_CLIENTS_DIR`: each at the version that its lock file says.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::run::{cargo, command, root, say};

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
    // An object store to read from.
    once(&dir, "s3", &[from.join("s3/version")], |to| {
        let version = std::fs::read_to_string(from.join("s3/version"))?;
        let args = ["--version", version.trim(), "--locked", "--features", "binary", "--root", &text(to)];
        cargo(&[&["install", "s3s-fs"], &args[..]].concat(), &[])
    })?;
    for name in ["java", "hadoop"] {
        let (pom, sums) = (from.join(name).join("pom.xml"), from.join(name).join("jars.sha256"));
        once(&dir, name, &[pom.clone(), sums.clone()], |to| {
            let (pom, output) = (text(&pom), format!("-DoutputDirectory={}", text(to)));
            command("mvn", &["--batch-mode", "--quiet", "-f", &pom, "dependency:copy-dependencies", &output], &[])?;
            let check = format!("cd '{}' && sha256sum --check --quiet '{}'", text(to), text(&sums));
            command("sh", &["-c", &check], &[])
        })?;
    }
    Ok(())
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
