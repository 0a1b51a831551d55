//! Clients of Arrow Flight SQL that other people made. `cargo xtask ci` installs them, below `WEIR_CLIENTS_DIR`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::weir::{Ran, Server, Weir};

fn installed(name: &str) -> PathBuf {
    let clients = std::env::var_os("WEIR_CLIENTS_DIR").map(PathBuf::from);
    let clients = clients.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cache/weir/clients"));
    let path = clients.join("flight").join(name);
    assert!(path.exists(), "{} is missing; `cargo xtask ci` installs it", path.display());
    path
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients/flight").join(name)
}

#[track_caller]
fn succeeds(command: &mut Command) {
    let ran = Ran::of(command.output().unwrap());
    assert!(ran.code == Some(0) && ran.out.contains("as it should be"), "{}\n{}", ran.out, ran.err);
}

fn adbc(server: &Server, scheme: &str) -> Command {
    let mut command = Command::new(installed("venv/bin/python"));
    command.arg(script("adbc.py")).arg(format!("{scheme}://{}", server.flight));
    command
}

#[test]
fn adbc_of_python() {
    let weir = Weir::new();
    let server = weir.start(&["demo", "--scale", "0.001"]);
    succeeds(&mut adbc(&server, "grpc"));
}

#[test]
fn jdbc() {
    let weir = Weir::new();
    let server = weir.start(&["demo", "--scale", "0.001"]);
    let mut command = Command::new("java");
    command.arg("--add-opens=java.base/java.nio=ALL-UNNAMED").arg("-cp");
    command.arg(installed("flight-sql-jdbc-driver.jar")).arg(script("Jdbc.java")).arg(server.flight.to_string());
    succeeds(&mut command);
}

/// Certificates of a server, of oona and of tara, issued by the same authority; and one of oona that somebody else issued.
fn certificates(weir: &Weir) {
    let openssl = |args: &[&str]| {
        let ran = Command::new("openssl").args(args).current_dir(weir.path()).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
    };
    let authority = |name: &str| {
        let (key, pem) = (format!("{name}.key"), format!("{name}.pem"));
        let subject = format!("/CN={name}");
        openssl(&[
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", &subject, "-keyout", &key, "-out",
            &pem,
        ]);
    };
    weir.file("server.ext", "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
    weir.file("client.ext", "extendedKeyUsage=clientAuth\n");
    let issue = |by: &str, name: &str, common_name: &str, extensions: &str| {
        let [key, csr, pem] = ["key", "csr", "pem"].map(|kind| format!("{name}.{kind}"));
        let (ca, ca_key, subject) = (format!("{by}.pem"), format!("{by}.key"), format!("/CN={common_name}"));
        openssl(&["req", "-newkey", "rsa:2048", "-nodes", "-subj", &subject, "-keyout", &key, "-out", &csr]);
        openssl(&[
            "x509",
            "-req",
            "-in",
            &csr,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            extensions,
            "-out",
            &pem,
        ]);
    };
    authority("authority");
    authority("stranger");
    issue("authority", "server", "localhost", "server.ext");
    issue("authority", "oona", "oona", "client.ext");
    issue("authority", "tara", "tara", "client.ext");
    issue("stranger", "false", "oona", "client.ext");
}

#[test]
fn clients_show_certificates_where_they_are_asked_for() {
    let weir = Weir::new();
    certificates(&weir);
    let door = |door: &str| {
        format!(
            "[{door}]\ntls_certificate = \"../server.pem\"\ntls_key = \"../server.key\"\ntls_client_ca = \"../authority.pem\"\n"
        )
    };
    weir.ok(&["demo", "--scale", "0.001", "--no-serve"]);
    weir.file("data/weir.toml", [door("sql"), door("flight")].concat());
    let server = weir.start(&["serve"]);
    let file = |name: &str| weir.path().join(name);
    let files = |name: &str| [format!("{name}.pem"), format!("{name}.key")].map(|name| file(&name));
    let adbc = |name: &str| {
        let mut command = adbc(&server, "grpc+tls");
        command.arg(file("authority.pem")).args(files(name)).args(files("tara"));
        command
    };
    succeeds(&mut adbc("oona"));
    let foreign = Ran::of(adbc("false").output().unwrap());
    assert!(foreign.code != Some(0) && !foreign.out.contains("as it should be"), "{foreign:?}");

    let psql = |user: &str, password: &str, more: &str| {
        let at = format!("host=127.0.0.1 port={} dbname=weir user={user} password={password}", server.address.port());
        let at = format!("{at} sslrootcert={} {more}", file("authority.pem").display());
        let mut command = Command::new("psql");
        command.args([&at, "--no-psqlrc", "--tuples-only", "--no-align", "-c", "select 1"]);
        Ran::of(command.output().unwrap())
    };
    let shown = |name: &str| {
        let (pem, key) = (file(&format!("{name}.pem")), file(&format!("{name}.key")));
        format!("sslmode=verify-full sslcert={} sslkey={}", pem.display(), key.display())
    };
    let mine = psql("oona", "demo", &shown("oona"));
    assert_eq!(mine.out, "1\n", "{mine:?}");
    for (user, password, more) in [
        ("tara", "demo", shown("oona")),
        ("oona", "wrong", shown("oona")),
        ("oona", "demo", shown("false")),
        ("oona", "demo", "sslmode=require sslcert=none".to_owned()),
        ("oona", "demo", "sslmode=disable".to_owned()),
    ] {
        let ran = psql(user, password, &more);
        assert!(ran.code == Some(2) && ran.out.is_empty(), "{user}, {more}: {ran:?}");
    }
}
