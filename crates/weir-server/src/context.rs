//! What every command starts from: resolved settings, and the store they name.

use anyhow::{Context as _, bail};
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

use weir_guard::SystemClock;
use weir_model::{Epoch, PrincipalId, SourceName};
use weir_policy::Facts;
use weir_store::{Change, Store};

use crate::cli::Global;
use crate::settings::{self, Flag, Inputs, Settings};

/// Who makes changes here, in the history of epochs.
pub(crate) const LOCAL: &str = "local";

pub(crate) struct Context {
    pub(crate) settings: Settings,
    /// Whether diagnostics are colored.
    pub(crate) color: bool,
}

impl Context {
    pub(crate) fn new(
        global: &Global,
        flags: Vec<Flag>,
        data_dir_default: Option<&'static str>,
    ) -> anyhow::Result<Self> {
        let (settings, _) = settings::load(&inputs(global, flags, data_dir_default)?)?;
        Ok(Self { settings, color: global.color.resolve(std::io::stderr().is_terminal()) })
    }

    /// Without flags that are settings.
    pub(crate) fn plain(global: &Global) -> anyhow::Result<Self> {
        Self::new(global, Vec::new(), None)
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.settings.data_dir
    }

    /// Opens the store, which is made if it is missing.
    pub(crate) async fn make_store(&self) -> anyhow::Result<Store> {
        let dir = self.data_dir();
        let clock = Arc::new(SystemClock);
        let opened = match &self.settings.master_key {
            Some(key) => Store::open_with_key(dir, key, clock).await,
            None => Store::open(dir, clock).await,
        };
        opened.with_context(|| format!("cannot use data directory `{}`", dir.display()))
    }

    /// Opens a store that is there: a mistyped directory shall not become a new one.
    pub(crate) async fn store(&self) -> anyhow::Result<Store> {
        if !self.has_store() {
            bail!(
                "`{}` is not a data directory of Weir\nhelp: say where it is with --data-dir or WEIR_DATA_DIR; \
                 `weir demo`, `weir serve`, `weir user add` and `weir source add` make one",
                self.data_dir().display()
            );
        }
        self.make_store().await
    }

    pub(crate) fn has_store(&self) -> bool {
        Store::exists(self.data_dir())
    }
}

/// Everything that settings are read from.
pub(crate) fn inputs(
    global: &Global,
    mut flags: Vec<Flag>,
    data_dir_default: Option<&'static str>,
) -> anyhow::Result<Inputs> {
    if let Some(dir) = &global.data_dir {
        let Some(value) = dir.to_str().map(str::to_owned) else { bail!("the data directory's name is not UTF-8") };
        flags.push(Flag { key: "data_dir", flag: "--data-dir", value });
    }
    let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let environment = environment.filter(|(name, _)| name.starts_with("WEIR_"));
    let environment = environment.map(|(name, value)| match value.into_string() {
        Ok(value) => Ok((name, value)),
        Err(_) => bail!("environment variable {name} is not UTF-8"),
    });
    Ok(Inputs {
        flags,
        environment: environment.collect::<anyhow::Result<_>>()?,
        file: global.config.clone(),
        data_dir_default,
    })
}

/// Does all of the changes or none.
pub(crate) async fn apply(store: &Store, changes: Vec<Change>) -> anyhow::Result<Epoch> {
    Ok(store.apply(LOCAL, changes).await?)
}

pub(crate) fn find_source<'a>(facts: &'a Facts, name: &SourceName) -> anyhow::Result<&'a weir_model::DataSource> {
    match facts.sources.iter().find(|source| source.name == *name) {
        Some(source) => Ok(source),
        None => bail!(
            "data source `{name}` is not registered{}",
            did_you_mean(&name.to_string(), facts.sources.iter().map(|s| s.name.to_string()))
        ),
    }
}

pub(crate) fn find_user<'a>(facts: &'a Facts, id: &PrincipalId) -> anyhow::Result<&'a weir_model::Principal> {
    match facts.principals.iter().find(|user| user.id == *id) {
        Some(user) => Ok(user),
        None => bail!(
            "user `{id}` does not exist{}",
            did_you_mean(&id.to_string(), facts.principals.iter().map(|p| p.id.to_string()))
        ),
    }
}

/// A help line, if one of `names` is near to what was written.
pub(crate) fn did_you_mean(written: &str, names: impl Iterator<Item = String>) -> String {
    let scored = names.map(|name| (strsim::jaro_winkler(written, &name), name));
    match scored.filter(|(score, _)| *score > 0.85).max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((_, name)) => format!("\nhelp: did you mean `{name}`?"),
        None => String::new(),
    }
}
