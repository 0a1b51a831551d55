use std::path::Path;

use super::*;

fn file(dir: &Path, text: &str) -> Inputs {
    let path = dir.join("weir.toml");
    std::fs::write(&path, text).unwrap();
    Inputs { file: Some(path), ..Inputs::default() }
}

fn variable(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn problems(inputs: &Inputs) -> String {
    let text = load(inputs).unwrap_err().to_string();
    match &inputs.file {
        Some(path) => text.replace(&path.display().to_string(), "weir.toml"),
        None => text,
    }
}

#[test]
fn defaults_resolve() {
    let (settings, merged) = load(&Inputs::default()).unwrap();
    assert_eq!(settings.data_dir, Path::new("weir-data"));
    assert_eq!(settings.sql.address, "127.0.0.1:5433");
    assert!(settings.sql.tls.is_none());
    assert_eq!(settings.query.memory_bytes_max, 2 << 30);
    assert!(settings.query.partitions >= 1);
    assert_eq!(merged.iter().count(), definitions().len());
}

/// A definition that nothing reads would be a setting without effect.
#[test]
fn every_setting_is_read() {
    let source = include_str!("../settings.rs");
    for definition in definitions() {
        assert!(source.contains(&format!("(\"{}\")", definition.key)), "`{}` is not resolved", definition.key);
    }
}

#[test]
fn flags_win_over_environment_over_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut inputs =
        file(dir.path(), "[sql]\naddress = \"127.0.0.1:1\"\nconnections_max = 7\n[query]\npartitions = 3\n");
    inputs.environment = vec![variable("WEIR_SQL_ADDRESS", "127.0.0.1:2"), variable("WEIR_SQL_CONNECTIONS_MAX", "8")];
    inputs.flags = vec![Flag { key: "sql.address", flag: "--sql-address", value: "127.0.0.1:3".to_owned() }];
    let (settings, merged) = load(&inputs).unwrap();
    assert_eq!(
        (settings.sql.address.as_str(), settings.sql.connections_max, settings.query.partitions),
        ("127.0.0.1:3", 8, 3)
    );
    assert_eq!(merged.origin("sql.address").to_string(), "flag --sql-address");
    assert_eq!(merged.origin("sql.connections_max").to_string(), "environment variable WEIR_SQL_CONNECTIONS_MAX");
    assert_eq!(merged.origin("query.partitions"), Origin::File { path: inputs.file.unwrap(), line: 5 });
    assert_eq!(merged.origin("log"), Origin::Default);
}

#[test]
fn all_problems_are_reported_together() {
    let dir = tempfile::tempdir().unwrap();
    let mut inputs = file(
        dir.path(),
        "log = 3\n\n[sql]\nadress = \"127.0.0.1:1\"\nconnections_max = 0\ntls_required = \"yes\"\n\n[flight]\ntls_client_ca = \"ca.pem\"\n\n[guard]\nenforce = false\n",
    );
    inputs.environment =
        vec![variable("WEIR_QUERY_PARTITION", "2"), variable("WEIR_SQL_TLS_KEY", "key.pem"), variable("PATH", "")];
    expect_test::expect![[r#"
        the settings cannot be used
          environment variable WEIR_QUERY_PARTITION: there is no such setting
            help: did you mean `WEIR_QUERY_PARTITIONS`?
          weir.toml:11: unknown key `guard`
          weir.toml:1: `log` must be a text in quotes
          weir.toml:4: unknown key `sql.adress`
            help: did you mean `sql.address`?
          weir.toml:5: `sql.connections_max` is `0` and must be a whole number from 1 to 100000
          weir.toml:6: `sql.tls_required` must be `true` or `false`, without quotes
          environment variable WEIR_SQL_TLS_KEY: `sql.tls_key` is set without `sql.tls_certificate`
          weir.toml:9: `flight.tls_client_ca` is set without `flight.tls_certificate` and `flight.tls_key`"#]]
    .assert_eq(&problems(&inputs));
}

#[test]
fn a_file_that_is_not_toml_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = file(dir.path(), "[sql]\naddress = 127.0.0.1\n");
    assert!(problems(&inputs).contains("weir.toml:2: this is not TOML"), "{}", problems(&inputs));
}

#[test]
fn the_file_in_the_data_directory_is_found_and_its_paths_start_there() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[sql]\ntls_certificate = \"tls/cert.pem\"\ntls_key = \"/etc/key.pem\"\n";
    std::fs::write(dir.path().join("weir.toml"), text).unwrap();
    let inputs =
        Inputs { environment: vec![variable("WEIR_DATA_DIR", dir.path().to_str().unwrap())], ..Inputs::default() };
    let tls = load(&inputs).unwrap().0.sql.tls.unwrap();
    assert_eq!(tls.certificate, dir.path().join("tls/cert.pem"));
    assert_eq!(tls.key, Path::new("/etc/key.pem"));

    std::fs::write(dir.path().join("weir.toml"), "data_dir = \"elsewhere\"\n").unwrap();
    assert!(load(&inputs).unwrap_err().to_string().contains("lies in the data directory"));
}

#[test]
fn a_named_file_must_exist() {
    let inputs = Inputs { file: Some("/nowhere/weir.toml".into()), ..Inputs::default() };
    assert!(problems(&inputs).contains("cannot be read"));
}
