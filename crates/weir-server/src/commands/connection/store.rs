//! Connections that lead to files: what a command line says of them.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use url::Url;
use weir_model::{Access, ConnectionName, Secret, StoreAddress, StoreConnection, StoreKind};

use super::password;

/// For connections to files.
#[derive(Debug, Args)]
pub(super) struct Reach {
    /// Of files: the access key, account or user that the secret belongs to
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Of files: where the service is, if not where the cloud has it
    #[arg(long, value_name = "URL")]
    endpoint: Option<Url>,
    /// Of files: the region
    #[arg(long)]
    region: Option<String>,
    /// Of files: whoever asks may read
    #[arg(long, conflicts_with_all = ["password_file", "user"])]
    anonymous: bool,
    /// Of files: let in by what the machine has that Weir runs on, such as its role or its Kerberos ticket
    #[arg(long, conflicts_with_all = ["password_file", "user", "anonymous"])]
    machine: bool,
}

impl Reach {
    pub(super) fn is_empty(&self) -> bool {
        let Self { user, endpoint, region, anonymous, machine } = self;
        user.is_none() && endpoint.is_none() && region.is_none() && !anonymous && !machine
    }

    /// Asks for the secret, if one is needed.
    pub(super) fn connection(
        self,
        name: ConnectionName,
        kind: StoreKind,
        url: &str,
        authorities: Option<String>,
        secret: Option<PathBuf>,
    ) -> anyhow::Result<StoreConnection> {
        let url = root(kind, url)?;
        for url in self.endpoint.iter() {
            bare(url)?;
        }
        let access = match (self.anonymous, self.machine) {
            (true, _) => Access::Anonymous,
            (false, true) => Access::Machine,
            (false, false) if kind == StoreKind::Hdfs => {
                bail!(
                    "HDFS is read as the user that Weir runs as, or by its Kerberos ticket\nhelp: say so with --machine"
                )
            }
            (false, false) => Access::Secret { user: self.user },
        };
        let secret = match access {
            Access::Anonymous | Access::Machine => Secret::new(""),
            Access::Secret { .. } => self::secret(kind, secret)?,
        };
        let endpoint = self.endpoint.map(|url| url.as_str().trim_end_matches('/').to_owned());
        let address = StoreAddress { kind, url, endpoint, region: self.region, access, authorities };
        let connection = StoreConnection { name, address, secret };
        weir_sources::check_store(&connection)?;
        Ok(connection)
    }
}

/// From the file, or asked for.
pub(super) fn secret(kind: StoreKind, file: Option<PathBuf>) -> anyhow::Result<Secret> {
    match (kind, file) {
        // The key of a service account has many lines.
        (StoreKind::Gcs, Some(path)) => {
            let key = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            Ok(Secret::new(key))
        }
        (_, file) => password(file),
    }
}

/// The kind of store that a URL leads to.
pub(super) fn kind(url: &str) -> Option<StoreKind> {
    StoreKind::of_scheme(url.split_once("://")?.0)
}

/// A URL without secrets in it, and without a slash at the end.
fn root(kind: StoreKind, url: &str) -> anyhow::Result<String> {
    let parsed = Url::parse(url).context("the address is no URL")?;
    let container = kind == StoreKind::Azure && parsed.password().is_none();
    if !container {
        bare(&parsed)?;
    }
    if parsed.query().is_some() || parsed.fragment().is_some() || parsed.host_str().is_none() {
        bail!("the address must be a URL with a host and a path, and nothing else");
    }
    Ok(parsed.as_str().trim_end_matches('/').to_owned())
}

fn bare(url: &Url) -> anyhow::Result<()> {
    if !url.username().is_empty() || url.password().is_some() {
        bail!("a URL must not have a user or a password in it\nhelp: give them with --user and --password-file");
    }
    Ok(())
}

/// What a connection leads to, for people.
pub(super) fn told(address: &StoreAddress) -> (String, String) {
    let StoreAddress { kind: _, url, endpoint, region, access, authorities } = address;
    let mut text = url.clone();
    text.extend(endpoint.iter().map(|endpoint| format!(" at {endpoint}")));
    text.extend(region.iter().map(|region| format!(" in {region}")));
    text.push_str(&match access {
        Access::Secret { user: Some(user) } => format!(" as {user}"),
        Access::Secret { user: None } => String::new(),
        Access::Anonymous => " as anybody".to_owned(),
        Access::Machine => " as this machine".to_owned(),
    });
    let plain = endpoint.as_ref().unwrap_or(url);
    let tls = match authorities {
        _ if plain.starts_with("http:") || plain.starts_with("hdfs:") => "off",
        Some(_) => "verified",
        None => "public",
    };
    (text, tls.to_owned())
}
