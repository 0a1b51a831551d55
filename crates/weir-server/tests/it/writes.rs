//! What is written into workspaces from clients, and what is left of writes that do not come to their end.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use futures::{SinkExt as _, TryStreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_postgres::{CancelToken, Client, NoTls};

use crate::weir::{Ran, Server, Weir};
use crate::workspaces::{Study, study};

async fn connect(server: &Server, user: &str) -> Client {
    let conninfo = format!("host=127.0.0.1 port={} dbname=weir user={user} password=demo", server.address.port());
    let (client, connection) = tokio_postgres::connect(&conninfo, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("set weir.project = 'study'").await.unwrap();
    client
}

/// Until the server has hung up, which it does once the statement is cancelled.
async fn cancelled(server: &Server, cancel: &CancelToken) {
    let (client, mut wire) = tokio::io::duplex(64);
    cancel.cancel_query_raw(client, NoTls).await.unwrap();
    let mut request = Vec::new();
    wire.read_to_end(&mut request).await.unwrap();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&request).await.unwrap();
    stream.read_to_end(&mut request).await.unwrap();
}

async fn copy(client: &Client, sql: &str, rows: &[&str]) -> Result<u64, String> {
    let told = |e: tokio_postgres::Error| e.as_db_error().map_or_else(|| e.to_string(), |e| e.message().to_owned());
    let sink = client.copy_in::<_, Bytes>(sql).await.map_err(told)?;
    let mut sink = Box::pin(sink);
    for row in rows {
        // The server may have said already that it takes no more.
        let _ = sink.send(Bytes::copy_from_slice(row.as_bytes())).await;
    }
    sink.as_mut().finish().await.map_err(told)
}

/// Folders of states of tables.
fn folders(weir: &Weir) -> Vec<PathBuf> {
    let folder = weir.path().join("data/workspaces/study_ws");
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn outcome(weir: &Weir, statement: &str) -> serde_json::Value {
    let audit = weir.ok(&["audit", "--limit", "1000", "--json"]);
    let line = audit.lines().rfind(|line| line.contains(statement));
    serde_json::from_str(line.unwrap_or_else(|| panic!("{statement} is not on record"))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_copied_in() {
    let (weir, server) = study();
    let study = Study(&weir, &server);
    let create = "create table study_ws.t (id bigint, name text, \"On\" date, at timestamptz, ok boolean, share numeric(6,2), raw bytea, x double precision)";
    study.reads("mia", create);
    let client = connect(&server, "mia").await;
    let rows = [
        "1\tAnn\t2024-02-29\t2024-02-29 01:02:03+02\tt\t1.50\t\\\\x00ff\t0.5\n2\t\\N\t\\N\t",
        "\\N\tf\t\\N\t\\N\t\\N\n",
    ];
    assert_eq!(copy(&client, "copy study_ws.t from stdin", &rows).await, Ok(2));
    let csv = ["Id;Name\n3;\"a;\"\"b\"\"\nc\"\n4;\n5;\"\""];
    assert_eq!(
        copy(&client, "copy study_ws.t (id, name) from stdin (format csv, header, delimiter ';')", &csv).await,
        Ok(3)
    );
    let seen = study.reads("ned", "select id, name, \"On\", at, ok, share, raw, x from study_ws.t order by id");
    assert!(seen.contains("1,Ann,2024-02-29,2024-02-28 23:02:03+00,t,1.50,\\x00ff,0.5\n2,,,,f,,,\n"), "{seen}");
    assert!(seen.contains("3,\"a;\"\"b\"\"\nc\","), "{seen}");
    // What comes out goes in.
    study.reads("mia", "create table study_ws.u as select * from study_ws.t limit 0");
    let out: Vec<Bytes> = client.copy_out("copy study_ws.t to stdout").await.unwrap().try_collect().await.unwrap();
    let out: Vec<&str> = out.iter().map(|piece| str::from_utf8(piece).unwrap()).collect();
    assert_eq!(copy(&client, "copy study_ws.u from stdin", &out).await, Ok(5));
    let all = |table: &str| study.reads("mia", &format!("select * from study_ws.{table} order by id"));
    assert_eq!(all("u"), all("t"));
    // A time without a zone is of the connection's.
    client.batch_execute("set timezone = 'Asia/Tokyo'").await.unwrap();
    assert_eq!(copy(&client, "copy study_ws.u (id, at) from stdin", &["77\t2024-01-01 00:00:00\n"]).await, Ok(1));
    assert_eq!(study.reads("ned", "select at from study_ws.u where id = 77"), "at\n2023-12-31 15:00:00+00\n");
    // What a person typed in came from nowhere.
    let lineage = weir.ok(&["source", "show", "study_ws.t"]);
    assert!(!lineage.contains("made from"), "{lineage}");
    assert!(outcome(&weir, "copy study_ws.u (id, at)").to_string().contains(r#""writes":"study_ws.u""#));

    let before = (all("t"), folders(&weir).len());
    for (sql, rows, told) in [
        ("copy study_ws.t from stdin", "1\tx\n", "line 1 has no value for column `On`"),
        ("copy study_ws.t (id) from stdin", "1\n2\t3\n", "line 2 has more values than there are columns"),
        (
            "copy study_ws.t (id, name) from stdin",
            "1\tx\n2\ty\nz\tz\n",
            "invalid input for column `id` of type bigint in line 3",
        ),
        ("copy study_ws.t (\"On\") from stdin", "2024-02-30\n", "invalid input for column `On` of type date in line 1"),
        ("copy study_ws.t (raw) from stdin", "\\\\x0\n", "invalid input for column `raw` of type binary in line 1"),
        (
            "copy study_ws.t (share) from stdin",
            "12345.00\n",
            "invalid input for column `share` of type decimal(6,2) in line 1",
        ),
        (
            "copy study_ws.t (id) from stdin (format csv)",
            "1\n\"2\n",
            "the quotes that are open in line 2 are not closed",
        ),
        ("copy study_ws.t (id, id) from stdin", "", "column `id` is there twice"),
        ("copy study_ws.t (nothing) from stdin", "", "column `nothing` of table `study_ws.t` does not exist"),
        ("copy study_ws.z from stdin", "", "table `study_ws.z` does not exist"),
        ("copy shop.people from stdin", "", "tables are written in the workspace of the current project only"),
        ("copy study_ws.t from stdin (format binary)", "", "COPY with `FORMAT binary` is not supported"),
        ("copy study_ws.t from '/etc/passwd'", "", "COPY is supported FROM STDIN only"),
    ] {
        // The client does not survive a copy that is refused before its first row.
        let client = connect(&server, "mia").await;
        assert_eq!(copy(&client, sql, &[rows]).await, Err(told.to_owned()), "{sql}");
        assert_eq!((all("t"), folders(&weir).len()), before, "{sql}");
    }
    for (before, told) in [
        ("begin", "`COPY FROM` cannot run inside a transaction block"),
        ("set default_transaction_read_only = on", "cannot execute `COPY FROM` in a read-only transaction"),
    ] {
        let client = connect(&server, "mia").await;
        client.batch_execute(before).await.unwrap();
        let said = copy(&client, "copy study_ws.t (id) from stdin", &["1\n"]).await;
        assert_eq!(said, Err(told.to_owned()));
    }
    // A client that gives up changes nothing.
    let sink = client.copy_in::<_, Bytes>("copy study_ws.t (id) from stdin").await.unwrap();
    let mut sink = Box::pin(sink);
    sink.send(Bytes::from_static(b"8\n")).await.unwrap();
    drop(sink);
    assert_eq!(client.query_one("select count(*) from study_ws.t", &[]).await.unwrap().get::<_, i64>(0), 5);
    assert_eq!(folders(&weir).len(), before.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_taken_away_or_cancelled_leaves_nothing() {
    let (weir, server) = study();
    let study = Study(&weir, &server);
    study.reads("mia", "create table study_ws.t (id bigint)");
    let left = folders(&weir);
    let long = "select a.value as id from generate_series(1, 100000) a, generate_series(1, 10000000) b, shop.people";
    for (sql, how, ended) in [
        (format!("create table study_ws.long as {long}"), "policy", "revoked"),
        (format!("insert into study_ws.t {long}"), "member", "revoked"),
        (format!("create table study_ws.other as {long}"), "cancel", "cancelled"),
    ] {
        let client = connect(&server, "mia").await;
        let cancel = client.cancel_token();
        let work = {
            let sql = sql.clone();
            tokio::spawn(async move { client.batch_execute(&sql).await })
        };
        // Rows are on their way into a file.
        while folders(&weir).len() == left.len() {
            tokio::task::yield_now().await;
        }
        match how {
            "policy" => drop(weir.ok(&["policy", "remove", "open"])),
            "member" => drop(weir.ok(&["project", "member", "remove", "study", "mia"])),
            _ => cancel.cancel_query(NoTls).await.unwrap(),
        }
        let told = work.await.unwrap().unwrap_err();
        let code = told.as_db_error().unwrap().code().code().to_owned();
        assert_eq!(code, if how == "cancel" { "57014" } else { "42501" }, "{sql}: {told:?}");
        assert_eq!(folders(&weir), left, "{sql}");
        let outcome = outcome(&weir, sql.get(..30).unwrap()).to_string();
        assert!(outcome.contains(&format!(r#""ended":"{ended}""#)), "{outcome}");
        match how {
            "policy" => {
                crate::workspaces::policy(&weir, "open", "Allow anyone to subscribe on data source shop.people")
            }
            "member" => drop(weir.ok(&["project", "member", "add", "study", "mia"])),
            _ => {}
        }
    }
    study.is_missing("mia", "study_ws.long");
    study.is_missing("mia", "study_ws.other");
    assert_eq!(study.reads("mia", "select count(*) from study_ws.t"), "count\n0\n");

    // Rows that a client sends end like rows that are read.
    let client = connect(&server, "mia").await;
    let mut sink = Box::pin(client.copy_in::<_, Bytes>("copy study_ws.t from stdin").await.unwrap());
    sink.send(Bytes::from_static(b"1\n")).await.unwrap();
    weir.ok(&["project", "member", "remove", "study", "mia"]);
    let told = sink.as_mut().finish().await.unwrap_err();
    assert_eq!(told.as_db_error().unwrap().code().code(), "42501", "{told:?}");
    assert_eq!(folders(&weir), left);
    assert!(outcome(&weir, "copy study_ws.t from stdin").to_string().contains(r#""ended":"revoked""#));
    weir.ok(&["project", "member", "add", "study", "mia"]);
    let client = connect(&server, "mia").await;
    let cancel = client.cancel_token();
    let mut sink = Box::pin(client.copy_in::<_, Bytes>("copy study_ws.t (id) from stdin").await.unwrap());
    sink.send(Bytes::from_static(b"1\n")).await.unwrap();
    cancelled(&server, &cancel).await;
    let told = sink.as_mut().finish().await.unwrap_err();
    assert_eq!(told.as_db_error().unwrap().code().code(), "57014", "{told:?}");
    assert_eq!(folders(&weir), left);
    assert!(outcome(&weir, "copy study_ws.t (id) from stdin").to_string().contains(r#""ended":"cancelled""#));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_has_so_much_room_and_what_was_killed_takes_none_of_it() {
    let (weir, server) = study();
    let study = Study(&weir, &server);
    study.reads("mia", "create table study_ws.t as select id from shop.people");
    let whole = folders(&weir);
    drop(server);
    let start = || {
        weir.file("weir.toml", "workspaces.bytes_max = 1048576\n");
        weir.start(&["--config", "weir.toml", "serve"])
    };
    let server = start();
    let study = Study(&weir, &server);
    let much = "select a.value * 7919 % 1000003 as id, random() as r from generate_series(1, 10000000) a";
    let told = "the workspace would have more than 1048576 bytes";
    study.refused("mia", &format!("create table study_ws.much as {much}"), told);
    assert_eq!(folders(&weir), whole);
    assert!(outcome(&weir, "create table study_ws.much").to_string().contains(r#""ended":"failed""#));
    let client = connect(&server, "mia").await;
    let rows: Vec<String> =
        (0..400_000_u64).map(|n| format!("{}\n", n.wrapping_mul(6_364_136_223_846_793_005) >> 1)).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let pieces: Vec<String> = rows.chunks(10_000).map(|piece| piece.concat()).collect();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    assert_eq!(copy(&client, "copy study_ws.t from stdin", &pieces).await, Err(told.to_owned()));
    assert_eq!(folders(&weir), whole);

    // A server that is killed in the middle of a write leaves files, which the next one takes away.
    let work = tokio::spawn(async move {
        let long = "create table study_ws.long as select a.value as id from generate_series(1, 100000) a, generate_series(1, 10000000) b";
        client.batch_execute(long).await
    });
    while folders(&weir).len() == whole.len() {
        tokio::task::yield_now().await;
    }
    server.signal("KILL");
    assert!(work.await.unwrap().is_err());
    drop(server.wait());
    let left = folders(&weir).into_iter().find(|folder| !whole.contains(folder)).unwrap();
    // As much as would keep others from writing.
    std::fs::write(left.join("more.parquet"), vec![0; 2 << 20]).unwrap();
    // A table that was to be dropped, and was not, is a table.
    std::fs::write(whole[0].join(".unsettled"), "").unwrap();
    let server = start();
    assert_eq!(folders(&weir), whole);
    assert!(!whole[0].join(".unsettled").exists());
    let study = Study(&weir, &server);
    assert_eq!(study.reads("mia", "select count(*) from study_ws.t"), "count\n3\n");
    study.reads("mia", "create table study_ws.few as select id from shop.people");
    let outcome = outcome(&weir, "create table study_ws.long").to_string();
    assert!(outcome.contains("interrupted"), "{outcome}");
}

fn psql(weir: &Weir, server: &Server, input: &str) -> Ran {
    let conninfo = format!("host=127.0.0.1 port={} dbname=weir user=mia password=demo", server.address.port());
    let mut command = Command::new("psql");
    command.args([&conninfo, "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1"]).current_dir(weir.path());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    Ran::of(child.wait_with_output().unwrap())
}

#[test]
fn psql_copies_files_in() {
    let (weir, server) = study();
    assert!(Path::new(&weir.path().join("people.csv")).exists());
    let ran = psql(
        &weir,
        &server,
        "set weir.project = 'study';\n\
         create table study_ws.people (id int, name text, email text, country text);\n\
         \\copy study_ws.people from 'people.csv' with (format csv, header)\n\
         copy study_ws.people (id, name) from stdin;\n4\tDee\n5\t\\N\n\\.\n\
         select id, name from study_ws.people order by id;\n",
    );
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "1|Ann\n2|Bob\n3|Cem\n4|Dee\n5|\n"), "{}", ran.err);
    let ran = psql(&weir, &server, "set weir.project = 'study';\n\\copy study_ws.people (id) from 'people.csv' csv\n");
    assert!(ran.code == Some(3) && ran.err.contains("options of COPY are written in parentheses"), "{ran:?}");
}
