use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres::SimpleQueryMessage;
use weir_gateway_sql::SqlSettings;

use crate::world::{World, told};

/// The first value of the last row.
async fn value(client: &tokio_postgres::Client, sql: &str) -> String {
    let messages = client.simple_query(sql).await.unwrap();
    let row = messages.iter().rev().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    row.unwrap()
}

async fn refused(client: &tokio_postgres::Client, sql: &str) -> (String, String) {
    told(&client.simple_query(sql).await.unwrap_err())
}

#[tokio::test]
async fn wrong_password_and_unknown_user_are_told_the_same() {
    let world = World::new().await;
    let mut answers = Vec::new();
    for (user, password) in [("tara", "wrong"), ("nobody", "demo"), ("ldap:tara", "demo"), ("\u{1}", "demo")] {
        answers.push(told(&world.connect(user, password, "weir").await.map(drop).unwrap_err()));
    }
    answers.dedup();
    assert_eq!(answers, [("28P01".to_owned(), "password authentication failed".to_owned())]);
    assert!(world.ports.attempts.lock().unwrap().is_empty());
}

#[tokio::test]
async fn there_is_one_database() {
    let world = World::new().await;
    let (code, text) = told(&world.connect("tara", "demo", "postgres").await.map(drop).unwrap_err());
    assert_eq!((code.as_str(), text.as_str()), ("3D000", "database `postgres` does not exist"));
}

#[tokio::test]
async fn garbage_ends_its_own_connection_only() {
    let world = World::new().await;
    let garbage: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\0\0\0\0\0\0\0\0",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\0\x09\0\x03\0\0x",
        b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x01",
        b"\0\0\0\x08\0\x02\0\0",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    ];
    for bytes in garbage {
        let mut socket = world.raw().await;
        socket.write_all(bytes).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // Closed by the server, with or without a farewell.
        let _ = socket.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer[0] == b'E', "{answer:?}");
    }
    // One that says nothing at all stays open meanwhile.
    let _silent = world.raw().await;
    assert_eq!(value(&world.tara().await, "SHOW server_encoding").await, "UTF8");
}

#[tokio::test]
async fn a_message_before_authentication_is_not_read() {
    let world = World::new().await;
    let mut socket = world.raw().await;
    socket.write_all(b"\0\0\0\x22\0\x03\0\0user\0tara\0database\0weir\0\0").await.unwrap();
    socket.write_all(b"Q\0\0\0\x0dselect 1\0").await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.contains("08P01"), "{answer}");
}

#[tokio::test]
async fn settings_are_set_shown_and_refused() {
    let world = World::new().await;
    let client = world.tara().await;
    assert!(value(&client, "SHOW server_version").await.starts_with("15.0 (Weir"));
    assert_eq!(value(&client, "SET application_name = 'report'; SHOW application_name").await, "report");
    assert_eq!(value(&client, "SHOW session_authorization").await, "tara");
    assert_eq!(value(&client, "SHOW is_superuser").await, "off");
    for (sql, code) in [
        ("SET no_such_setting = 1", "42704"),
        ("SHOW no_such_setting", "42704"),
        ("SET row_security = off", "0A000"),
        ("SET client_encoding = 'LATIN1'", "0A000"),
        ("SET session_authorization = 'oona'", "42501"),
    ] {
        assert_eq!(refused(&client, sql).await.0, code, "{sql}");
    }
    for sql in ["SET ROLE oona", "SET SESSION AUTHORIZATION oona"] {
        assert!(["42501", "0A000"].contains(&refused(&client, sql).await.0.as_str()), "{sql}");
    }
    assert_eq!(value(&client, "SHOW session_authorization").await, "tara");
}

#[tokio::test]
async fn what_is_set_locally_holds_up_to_the_end_of_the_transaction() {
    let world = World::new().await;
    let client = world.tara().await;
    let shown = async |name: &str| value(&client, &format!("SHOW {name}")).await;
    let run = async |sql: &str| client.batch_execute(sql).await.unwrap();
    run("BEGIN; SET LOCAL statement_timeout = '7s'; SET LOCAL TIME ZONE 'Asia/Tokyo'").await;
    assert_eq!((shown("statement_timeout").await, shown("timezone").await), ("7000".into(), "Asia/Tokyo".into()));
    run("COMMIT").await;
    assert_eq!((shown("statement_timeout").await, shown("timezone").await), ("0".into(), "UTC".into()));
    // What is set for the session beside it stays, in whatever order.
    run("BEGIN; SET statement_timeout = '5s'; SET LOCAL statement_timeout = '7s'; SET DateStyle = 'DMY'; COMMIT").await;
    assert_eq!((shown("statement_timeout").await, shown("datestyle").await), ("5000".into(), "ISO, DMY".into()));
    run("BEGIN; SET LOCAL statement_timeout = '7s'; SET statement_timeout = '8s'; COMMIT").await;
    assert_eq!(shown("statement_timeout").await, "8000");
    run("BEGIN; SET LOCAL statement_timeout = '7s'; SAVEPOINT s; SET LOCAL statement_timeout = '9s'; ROLLBACK TO s")
        .await;
    assert_eq!(shown("statement_timeout").await, "7000");
    run("ROLLBACK").await;
    assert_eq!(shown("statement_timeout").await, "8000");
    run("BEGIN; SET LOCAL statement_timeout = '7s'").await;
    assert_eq!(refused(&client, "SET LOCAL no_such_setting = 1").await.0, "42704");
    run("ROLLBACK; RESET statement_timeout").await;
    // Outside of one there is nothing for which it would hold.
    run("SET LOCAL statement_timeout = '7s'; SET TRANSACTION READ ONLY").await;
    assert_eq!((shown("statement_timeout").await, shown("transaction_read_only").await), ("0".into(), "off".into()));
    assert_eq!(refused(&client, "SET LOCAL no_such_setting = 1").await.0, "42704");
    run("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY").await;
    assert_eq!(shown("transaction_read_only").await, "on");
    assert_eq!(refused(&client, "CREATE TABLE a.t AS SELECT 1 AS one").await.0, "25006");
}

#[tokio::test]
async fn transactions_keep_their_state() {
    let world = World::new().await;
    let client = world.tara().await;
    client.batch_execute("BEGIN; SET statement_timeout = '5s'").await.unwrap();
    assert_eq!(refused(&client, "SET no_such_setting = 1").await.0, "42704");
    assert_eq!(refused(&client, "SHOW statement_timeout").await.0, "25P02");
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(value(&client, "SHOW statement_timeout").await, "0");
    client.batch_execute("BEGIN; SET statement_timeout = '5s'; COMMIT").await.unwrap();
    assert_eq!(value(&client, "SHOW statement_timeout").await, "5000");
    client.batch_execute("DISCARD ALL").await.unwrap();
    assert_eq!(value(&client, "SHOW statement_timeout").await, "0");
    assert_eq!(refused(&client, "BEGIN; DISCARD ALL").await.0, "25001");
}

#[tokio::test]
async fn cursors_need_a_transaction() {
    let world = World::new().await;
    let client = world.tara().await;
    assert_eq!(refused(&client, "DECLARE c CURSOR FOR SELECT 1").await.0, "25P01");
    assert_eq!(refused(&client, "FETCH 1 FROM c").await.0, "34000");
    assert_eq!(refused(&client, "CLOSE c").await.0, "34000");
    assert_eq!(refused(&client, "DEALLOCATE c").await.0, "26000");
}

#[tokio::test]
async fn what_is_not_a_read_is_refused_by_name_and_recorded() {
    let world = World::new().await;
    let client = world.tara().await;
    for (sql, name) in [
        ("TRUNCATE a.b", "TRUNCATE"),
        ("UPDATE a.b SET c = 1", "UPDATE"),
        ("DELETE FROM a.b", "DELETE"),
        ("CREATE TABLE a.b (c INT NOT NULL)", "CREATE TABLE"),
        ("DROP VIEW a.b CASCADE", "DROP VIEW"),
    ] {
        let (code, text) = refused(&client, sql).await;
        assert_eq!(code, "0A000");
        assert!(text.contains(name), "{text}");
        let attempts = world.ports.attempts.lock().unwrap();
        let last = attempts.last().unwrap();
        assert_eq!((last.statement.as_str(), last.actor.effective.name()), (sql, "tara"));
        assert!(last.refusal.is_some());
    }
    // The same by the extended protocol.
    let (code, _) = told(&client.prepare("DROP VIEW a.b CASCADE").await.unwrap_err());
    assert_eq!(code, "0A000");
    // What is done in workspaces is refused elsewhere.
    for sql in [
        "INSERT INTO a.b VALUES (1)",
        "DROP TABLE a.b",
        "CREATE TABLE a.b AS SELECT 1 AS c",
        "CREATE TABLE a.b (c INT)",
        "CREATE VIEW a.b AS SELECT 1 AS c",
        "DROP VIEW a.b",
        "COPY a.b FROM STDIN",
    ] {
        assert_eq!(refused(&client, sql).await.0, "42501");
        let attempts = world.ports.attempts.lock().unwrap();
        let last = attempts.last().unwrap();
        assert_eq!((last.statement.as_str(), last.writes.as_ref().unwrap().to_string().as_str()), (sql, "a.b"));
        assert!(last.refusal.is_some());
    }
}

#[tokio::test]
async fn an_empty_query_is_answered() {
    let world = World::new().await;
    let client = world.tara().await;
    client.batch_execute("").await.unwrap();
    client.batch_execute(" ; ").await.unwrap();
    let statement = client.prepare("").await.unwrap();
    assert!(client.query(&statement, &[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_message_that_is_too_long_is_an_error_and_the_connection_goes_on() {
    let world = World::with(SqlSettings { message_bytes_max: 10_000, ..SqlSettings::default() }).await;
    let client = world.tara().await;
    let long = format!("SELECT '{}'", "x".repeat(2_000_000));
    assert_eq!(refused(&client, &long).await.0, "54000");
    assert_eq!(told(&client.prepare(&long).await.unwrap_err()).0, "54000");
    assert_eq!(value(&client, "SHOW server_encoding").await, "UTF8");
}

#[tokio::test]
async fn there_are_so_many_connections() {
    let world = World::with(SqlSettings { connections_max: 1, ..SqlSettings::default() }).await;
    let client = world.tara().await;
    assert_eq!(told(&world.connect("tara", "demo", "weir").await.map(drop).unwrap_err()).0, "53300");
    assert_eq!(value(&client, "SHOW server_encoding").await, "UTF8");
}

#[tokio::test]
async fn a_shutdown_tells_the_clients() {
    let world = World::new().await;
    let mut socket = world.raw().await;
    socket.write_all(b"\0\0\0\x08\x04\xd2\x16\x2f").await.unwrap();
    let mut answer = [0];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"N");
    let client = world.tara().await;
    world.stop().await;
    assert!(client.simple_query("SHOW server_encoding").await.is_err());
    assert_eq!(socket.read(&mut answer).await.unwrap_or(0), 0);
}
