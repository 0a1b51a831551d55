//! Clients as people have them, against a server of the demonstration. What each of them is seen to do stands in
//! `docs/clients.md`; with `WEIR_ACCEPT` set it is written there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::weir::{Ran, Weir};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where `cargo xtask clients` installs them.
pub(crate) fn installed(what: &str) -> PathBuf {
    let dir = match std::env::var_os("WEIR_CLIENTS_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(&std::env::var_os("HOME").unwrap()).join(".cache/weir/clients"),
    };
    let path = dir.join(what);
    assert!(path.exists(), "{} is not there: `cargo xtask clients` installs it", path.display());
    path
}

pub(crate) fn python(script: &str) -> Command {
    let mut command = Command::new(installed("python/bin/python"));
    command.arg(root().join("tests/clients").join(script)).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn java(client: &str) -> Command {
    let mut command = Command::new("java");
    command.args(["-cp", &format!("{}/*", installed("java").display())]);
    command.arg(root().join("tests/clients/java/Client.java")).arg(client);
    command
}

/// Runs the checks of one client, and compares what passed with the row of it in the documentation.
fn check(name: &str, mut command: Command) {
    let weir = Weir::new();
    let server = weir.start(&["demo", "--scale", "0.001"]);
    // Where tara writes tables.
    for args in [
        &["create", "study"][..],
        &["member", "add", "study", "tara"],
        &["source", "add", "study", "retail.customer_purchases"],
        &["set", "study", "--workspace", "study_ws"],
    ] {
        weir.ok(&[&["project"], args].concat());
    }
    command.env("WEIR_PORT", server.address.port().to_string());
    let ran = Ran::of(command.output().unwrap_or_else(|error| panic!("`{name}` cannot be started: {error}")));
    assert_eq!(ran.code, Some(0), "{name}\n{}\n{}", ran.out, ran.err);
    let features: Vec<&str> = ran.out.lines().filter_map(|line| line.strip_prefix("ok ")).collect();
    assert!(!features.is_empty(), "{name} checked nothing: {ran:?}");
    document(name, &features.join("; "));
}

fn document(name: &str, works: &str) {
    static DOCUMENT: Mutex<()> = Mutex::new(());
    let _one_at_a_time = DOCUMENT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let path = root().join("docs/clients.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let start = format!("| {name} |");
    let is_row = |line: &&str| line.starts_with(&start);
    let written = text.lines().find(is_row).unwrap_or_else(|| panic!("docs/clients.md has no row `{start}`"));
    let row = format!("| {name} | {works} |");
    if std::env::var_os("WEIR_ACCEPT").is_some() {
        std::fs::write(&path, text.replace(written, &row)).unwrap();
    } else {
        assert_eq!(written, row, "docs/clients.md says something else of {name}: `cargo xtask golden` rewrites it");
    }
}

#[test]
fn psql() {
    check("psql", python("psql.py"));
}

#[test]
fn psycopg() {
    check("psycopg 3", python("psycopg3.py"));
}

#[test]
fn sqlalchemy() {
    check("SQLAlchemy 2", python("sqlalchemy2.py"));
}

#[test]
fn asyncpg() {
    check("asyncpg", python("asyncpg_client.py"));
}

#[test]
fn pgcli() {
    check("pgcli", python("pgcli_client.py"));
}

#[test]
fn dbt() {
    check("dbt-postgres", python("dbt_postgres.py"));
}

#[test]
fn node_postgres() {
    let mut command = Command::new("node");
    command.arg(root().join("tests/clients/node/client.mjs"));
    command.env("WEIR_NODE_MODULES", installed("node/node_modules"));
    check("node-postgres", command);
}

#[test]
fn pgjdbc() {
    check("pgjdbc", java("pgjdbc"));
}

#[test]
fn metabase() {
    check("Metabase", java("metabase"));
}

#[test]
fn dbeaver() {
    check("DBeaver", java("dbeaver"));
}

#[test]
fn grafana() {
    check("Grafana", java("grafana"));
}
