//! Tables of lakes, written by the libraries that people write them with.

use std::path::Path;

use crate::clients::python;
use crate::places::{Place, SECRET, USER, copy, people, same_as_here, tells_nothing};
use crate::weir::{Ran, Weir};

fn delta(args: &[&Path]) {
    let ran = Ran::of(python("delta.py").args(args).output().unwrap());
    assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
}

fn add(weir: &Weir, name: &str, path: &str) {
    weir.ok(&["source", "add", name, path, "--owner", "own"]);
}

#[test]
fn delta_tables_are_governed_like_files() {
    let weir = people();
    let tables = weir.path().join("tables");
    delta(&[&weir.path().join("people"), &tables]);
    for name in ["plain", "deleted", "by-name", "by-id"] {
        add(&weir, &format!("{name}.people"), &format!("tables/{name}"));
    }
    assert!(weir.ok(&["source", "show", "plain.people"]).contains("delta"));
    for (name, why) in [
        ("strange", "someFutureFeature"),
        ("astray0", "is outside of the table"),
        ("astray1", "is outside of the table"),
    ] {
        let refused = weir.fails(&["source", "add", "x.y", &format!("tables/{name}")]);
        assert!(refused.contains(why), "{refused}");
    }
    let server = weir.start(&["serve"]);
    for name in ["plain", "deleted", "by-name", "by-id"] {
        same_as_here(&weir, &server, &format!("\"{name}\".people"));
    }
    let ask = |user: &str, sql: &str| {
        let ran = server.sql(&weir, user, sql);
        assert_eq!(ran.code, Some(0), "{sql}: {ran:?}");
        ran.out
    };
    // What is inside of columns is found by what it is called there as well, or is NULL where it is younger than the file.
    for name in ["by-name", "by-id"] {
        let more = "count(*), count(more), min((more).city)";
        let asked = format!("select {more} from \"{name}\".people where id = 77");
        assert_eq!(ask("own", &asked.replace("(more).city", "more['city']")), "count,count,min\n3,2,77\n");
    }
    // The next statement reads the next version.
    let count = "select count(*) from \"plain\".people";
    let table = tables.join("plain");
    assert_eq!((ask("ann", count), ask("own", count)), ("count\n2000\n".to_owned(), "count\n6000\n".to_owned()));
    delta(&[Path::new("--append"), &table]);
    assert_eq!((ask("ann", count), ask("own", count)), ("count\n2001\n".to_owned(), "count\n6001\n".to_owned()));
    delta(&[Path::new("--delete"), &table]);
    same_as_here(&weir, &server, "\"plain\".people");
    // A file that the log has and the folder has not.
    std::fs::remove_file(tables.join("deleted/twice.parquet")).unwrap();
    let gone = server.sql(&weir, "ann", "select count(*) from \"deleted\".people where id > 3");
    assert!(gone.code == Some(1) && gone.err.contains("cannot be read") && !gone.err.contains("twice"), "{gone:?}");
}

#[test]
fn delta_tables_in_s3_are_governed_like_files() {
    let (weir, place) = (people(), Place::s3());
    let tables = weir.path().join("tables");
    delta(&[&weir.path().join("people"), &tables]);
    for part in ["", "_delta_log", "dept=A", "dept=B", "dept=C"] {
        copy(&tables.join("plain").join(part), &place.files().join("plain").join(part));
    }
    for part in ["", "_delta_log"] {
        copy(&tables.join("deleted").join(part), &place.files().join("deleted").join(part));
    }
    let endpoint = format!("http://127.0.0.1:{}", place.port);
    weir.ok(&[
        "connection",
        "add",
        "lake",
        "s3://sales",
        "--region",
        "eu-central-1",
        "--endpoint",
        &endpoint,
        "--user",
        USER,
        "--password-file",
        "key",
    ]);
    let server = weir.start(&["serve"]);
    for name in ["plain", "deleted"] {
        let (source, url) = (format!("there.{name}"), format!("s3://sales/{name}/"));
        weir.ok(&["source", "add", &source, &url, "--connection", "lake", "--owner", "own"]);
        same_as_here(&weir, &server, &source);
    }
    // Something else in the place of a file that was read before.
    let gone = place.files().join("deleted/twice.parquet");
    std::fs::write(gone, "no longer that".repeat(1 << 20)).unwrap();
    let changed = server.sql(&weir, "ann", "select sum(pay) from there.deleted");
    assert!(changed.code == Some(1) && changed.err.contains("`there.deleted` cannot be read"), "{changed:?}");
    tells_nothing(&changed, &place);
    let audit = weir.ok(&["audit", "--json"]);
    assert!(audit.contains("was changed after the statement was planned") && !audit.contains(SECRET), "{audit}");
}
