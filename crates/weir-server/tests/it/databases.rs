//! Tables of a real MariaDB and of files of SQLite as data sources, through the command and the server.

use weir_testkit::mariadb::{DATABASE, Mariadb, PASSWORD, USER};
use weir_testkit::sqlite::Sqlite;

use crate::weir::{Ran, Server, Weir};

/// With the users `ann` (group A), `bea` (group B) and `own`, who governs.
fn people() -> Weir {
    let weir = Weir::new();
    weir.file("password", "demo");
    weir.file("database-password", PASSWORD);
    weir.ok(&["user", "add", "ann", "--group", "A", "--password-file", "password"]);
    weir.ok(&["user", "add", "bea", "--group", "B", "--password-file", "password"]);
    weir.ok(&["user", "add", "own", "--permission", "governance", "--password-file", "password"]);
    weir.ok(&["policy", "add", "--key", "open", "--text", "Allow anyone to subscribe"]);
    weir
}

fn url(database: &Mariadb) -> String {
    format!("mariadb://{USER}@127.0.0.1:{}/{DATABASE}", database.port())
}

fn with_mariadb(database: &Mariadb) -> Weir {
    let weir = people();
    weir.ok(&["connection", "add", "db", &url(database), "--no-tls", "--password-file", "database-password"]);
    weir
}

fn with_sqlite(files: &Sqlite, file: &str) -> Weir {
    let weir = people();
    weir.ok(&["connection", "add", "db", &format!("sqlite:{}", files.path(file).display())]);
    weir
}

const DEPARTMENTS: &str = "Only show rows where user is a member of group that matches the value in the column dept for \
     everyone on data sources with column names spelled like '^dept$'";

#[track_caller]
fn read(server: &Server, weir: &Weir, user: &str, sql: &str) -> String {
    let ran = server.sql(weir, user, sql);
    assert_eq!(ran.code, Some(0), "{sql}: {ran:?}");
    ran.out
}

/// Nothing is told but that the source cannot be read.
#[track_caller]
fn unreadable(source: &str, ran: &Ran) {
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.starts_with(&format!("error: data source `{source}` cannot be read")), "{ran:?}");
    for hidden in ["column", "0000", "127.0.0.1", "SELECT", "sqlite", "mariadb", "/tmp", USER, PASSWORD] {
        assert!(!format!("{}{}", ran.out, ran.err).contains(hidden), "{hidden}: {ran:?}");
    }
}

const PEOPLE: &str = r#"
SET sql_mode = 'ANSI_QUOTES,ALLOW_INVALID_DATES'; SET time_zone = '+00:00';
CREATE TABLE "Peo""ple `x" (
    "Id" int unsigned PRIMARY KEY, "Sel ect" varchar(20), dept char(10), pay decimal(10,2), at timestamp(3) NULL,
    seen datetime(6), day date, clock time(6), born year, ok tinyint(1), flag bit(1), bits bit(12), small tinyint,
    big bigint unsigned, size enum('S','M'), tags set('a','b'), doc json, photo blob, fixed binary(3), score double,
    ratio float, huge decimal(65,30), old varchar(9) CHARACTER SET latin1, uid uuid, place point);
INSERT INTO "Peo""ple `x" VALUES
    (1, 'x ', 'A', 1.50, '2024-01-01 10:00:00.123', '2024-01-01 12:00', '2024-02-29', '12:34:56.789', 1999, 1, b'1', 4095, -128,
     18446744073709551615, 'M', 'a,b', '{"a": 1}', x'0102', x'01', 1.5, 0.5, 12.5, concat('h', char(0xe9 using latin1)),
     'A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11', NULL);
INSERT INTO "Peo""ple `x" ("Id", "Sel ect", dept, pay) VALUES (2, 'Y', 'B', -2.25), (3, 'it''s', 'A', 0.05), (5, 'X', 'a', 7);
INSERT INTO "Peo""ple `x" ("Id", dept, pay, day, clock, ok) VALUES (4, 'C', 99, '0000-00-00', '25:00:00', 2);
CREATE VIEW paid AS SELECT "Id", pay FROM "Peo""ple `x";
CREATE TABLE "a.b" (n int);
CREATE TABLE case_ (n int); CREATE TABLE Case_ (n int);
CREATE DATABASE other; CREATE TABLE other.t (n int);
"#;

const TABLE: &str = "ma.\"Peo\"\"ple `x\"";
const SOURCE: &str = "ma.Peo\"ple `x";

#[test]
fn a_schema_of_mariadb_is_imported_and_read_by_who_sees_different_rows() {
    let database = Mariadb::start();
    database.sql(PEOPLE);
    let weir = with_mariadb(&database);
    assert!(weir.ok(&["connection", "test", "db"]).contains("works: 10."));
    let told = weir.ok(&["source", "add-schema", "db", "--as", "ma", "--owner", "own"]);
    assert!(told.contains("left out place: type point is not supported"), "{told}");
    assert!(told.contains("has a dot in one of its parts"), "{told}");
    assert!(told.contains("added 4 of 5 tables"), "{told}");
    assert!(weir.ok(&["source", "add-schema", "db", "other"]).contains("added 1 of 1 tables"));
    assert!(weir.ok(&["source", "show", SOURCE]).contains("row key       Id"));
    weir.ok(&["policy", "add", "--key", "departments", "--text", DEPARTMENTS]);
    let server = weir.start(&["serve"]);
    let read = |user: &str, sql: &str| read(&server, &weir, user, sql);
    // Only what is of her group by every byte: neither `a` nor `A` with blanks.
    assert_eq!(
        read("ann", &format!("select * from {TABLE} order by \"Id\"")).lines().skip(1).collect::<Vec<_>>(),
        [
            "1,x ,A,1.50,2024-01-01 10:00:00.123+00,2024-01-01 12:00:00,2024-02-29,12:34:56.789,1999,t,t,4095,-128,\
             18446744073709551615,M,\"a,b\",\"{\"\"a\"\": 1}\",\\x0102,\\x010000,1.5,0.5,12.500000000000000000000000000000,\
             hé,a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "3,it's,A,0.05,,,,,,,,,,,,,,,,,,,,",
        ]
    );
    let texts = |sql: &str| read("ann", &format!("select count(*) from {TABLE} where {sql}"));
    for (condition, count) in [
        ("\"Sel ect\" = 'x'", 0),
        ("\"Sel ect\" = 'x '", 1),
        ("\"Sel ect\" = 'X '", 0),
        ("\"Sel ect\" in ('IT''S', 'it''s')", 1),
        ("\"Sel ect\" < 'x' and \"Sel ect\" like 'it%'", 1),
        ("\"Sel ect\" like 'IT%'", 0),
        ("old = 'hé'", 1),
        ("old = 'hé '", 0),
        ("born = 99", 0),
        ("born >= 1999", 1),
        ("\"Id\" = 1 and day = date '2024-02-29' and seen = timestamp '2024-01-01 12:00:00'", 1),
        ("at > timestamp '2024-01-01 10:00:00.122+00'", 1),
        ("big > 9223372036854775807 and small < 0 and ok and flag and bits = 4095", 1),
        ("fixed = x'010000' and photo = x'0102'", 1),
    ] {
        assert_eq!(texts(condition), format!("count(*)\n{count}\n").replace("count(*)", "count"), "{condition}");
    }
    assert_eq!(
        read("bea", "select count(*), sum(pay), min(pay), avg(pay) from ma.paid").lines().nth(1).unwrap(),
        "5,105.30,-2.25,21.060000"
    );
    let explain = format!("explain select count(*) from {TABLE} where \"Sel ect\" = 'x' and pay > 1");
    let (hers, governors) = (read("ann", &explain), read("own", &explain));
    assert!(hers.contains("GovernedScan") && !hers.contains("SELECT"), "{hers}");
    let sent = "SELECT count(*) FROM \"\"shop\"\".\"\"Peo\"\"\"\"ple `x\"\" AS \"\"t1\"\"";
    assert!(governors.contains(sent) && governors.contains("> 1.00") && governors.contains("?1 = 'x'"), "{governors}");
    for text in [weir.ok(&["connection", "list"]), weir.ok(&["audit", "--json"]), hers, governors] {
        assert!(!text.contains(PASSWORD), "{text}");
    }
}

#[test]
fn what_goes_wrong_in_mariadb_is_an_error_and_tells_nothing() {
    let mut database = Mariadb::start();
    database.sql(PEOPLE);
    let weir = with_mariadb(&database);
    weir.ok(&["source", "add", SOURCE, "--connection", "db", "--table", "Peo\"ple `x"]);
    weir.ok(&["source", "add", "ma.paid", "--connection", "db", "--table", "paid"]);
    assert!(weir.fails(&["source", "add", "ma.none", "--connection", "db", "--table", "PAID"]).contains("no table"));
    weir.ok(&["policy", "add", "--key", "departments", "--text", DEPARTMENTS]);
    let server = weir.start(&["serve"]);
    let count = || server.sql(&weir, "ann", &format!("select count(*), sum(pay) from {TABLE}"));
    let works = || assert_eq!(count().out, "count,sum\n2,1.55\n");
    works();
    // Values that no type here has are errors for those who see their row, and nothing for others.
    for column in ["day", "clock", "ok"] {
        let of = format!("select {column} from {TABLE} where \"Id\" > 1");
        assert_eq!(read(&server, &weir, "ann", &of), format!("{column}\n\n"));
        weir.ok(&["user", "group", "add", "ann", "C"]);
        unreadable(SOURCE, &server.sql(&weir, "ann", &of));
        weir.ok(&["user", "group", "remove", "ann", "C"]);
    }
    // A column gets another type or goes, the table goes.
    let alter = |what: &str| {
        database.sql(&format!("SET sql_mode = 'ANSI_QUOTES'; ALTER TABLE \"Peo\"\"ple `x\" {what};"));
    };
    for (to, back) in [
        ("MODIFY score float", "MODIFY score double"),
        ("MODIFY pay decimal(12,2)", "MODIFY pay decimal(10,2)"),
        ("MODIFY small tinyint unsigned NULL DEFAULT NULL", "MODIFY small tinyint"),
        ("RENAME COLUMN tags TO sgat", "RENAME COLUMN sgat TO tags"),
        ("RENAME TO gone", ""),
    ] {
        if to.contains("unsigned") {
            database.sql("SET sql_mode = 'ANSI_QUOTES'; UPDATE \"Peo\"\"ple `x\" SET small = NULL;");
        }
        alter(to);
        unreadable(SOURCE, &count());
        match back {
            "" => database.sql("SET sql_mode = 'ANSI_QUOTES'; ALTER TABLE gone RENAME TO \"Peo\"\"ple `x\";"),
            back => {
                alter(back);
                String::new()
            }
        };
        works();
    }
    // An error of the database that quotes a hidden value.
    database.sql(
        "SET sql_mode = 'ANSI_QUOTES'; CREATE FUNCTION fails(n int) RETURNS int DETERMINISTIC \
         RETURN CASE WHEN n = 2 THEN (SELECT 1 UNION SELECT 2) ELSE n END; \
         CREATE OR REPLACE VIEW paid AS SELECT fails(\"Id\") AS \"Id\", pay FROM \"Peo\"\"ple `x\";",
    );
    weir.ok(&["source", "add", "ma.fails", "--connection", "db", "--table", "paid"]);
    unreadable("ma.fails", &server.sql(&weir, "ann", "select max(\"Id\") from ma.fails"));
    // Credentials that do not hold any more, and are renewed.
    database.sql(&format!("ALTER USER '{USER}'@'%' IDENTIFIED BY 'changed'; KILL USER {USER};"));
    unreadable(SOURCE, &count());
    weir.file("changed", "changed");
    weir.ok(&["connection", "password", "db", "--password-file", "changed"]);
    works();
    // So are those that the database lets expire.
    database.sql(&format!("ALTER USER '{USER}'@'%' PASSWORD EXPIRE; KILL USER {USER};"));
    unreadable(SOURCE, &count());
    database.sql(&format!("ALTER USER '{USER}'@'%' IDENTIFIED BY 'again';"));
    weir.file("again", "again");
    weir.ok(&["connection", "password", "db", "--password-file", "again"]);
    works();
    // The database goes down and comes back; the server stays up.
    database.stop();
    unreadable(SOURCE, &count());
    assert_eq!(read(&server, &weir, "ann", "select 1 as one"), "one\n1\n");
    database.serve();
    works();
}

#[test]
fn an_encrypted_mariadb_is_known_by_its_certificate() {
    let mut database = Mariadb::start();
    let weir = people();
    let (good, key) = crate::remote::certificate(&weir, "good");
    crate::remote::certificate(&weir, "other");
    let add = |name: &str, authorities: &str| {
        let file = "database-password";
        let url = url(&database);
        weir.run(&["connection", "add", name, &url, "--tls-authorities", authorities, "--password-file", file]).code
    };
    // Without encryption over there nothing is sent in the clear instead.
    assert_eq!(add("plain", "good.crt"), Some(1));
    database.encrypt(&good, &key);
    let add = |name: &str, authorities: &str| {
        let file = "database-password";
        let url = url(&database);
        weir.run(&["connection", "add", name, &url, "--tls-authorities", authorities, "--password-file", file]).code
    };
    assert_eq!(add("db", "good.crt"), Some(0));
    assert_eq!(add("forged", "other.crt"), Some(1));
    database.sql(&format!("ALTER USER '{USER}'@'%' REQUIRE SSL; CREATE TABLE t AS SELECT 1 AS n;"));
    assert!(weir.ok(&["connection", "test", "db"]).contains("works: "));
    weir.ok(&["source", "add", "db.t", "--connection", "db", "--table", "t"]);
}

#[test]
fn an_answer_of_mariadb_that_breaks_off_is_no_answer() {
    let mut database = Mariadb::start();
    database.sql("CREATE TABLE many AS SELECT seq AS n, repeat('x', 200) AS text FROM seq_1_to_1000000;");
    let weir = with_mariadb(&database);
    weir.ok(&["source", "add", "db.many", "--connection", "db", "--table", "many"]);
    let server = weir.start(&["serve"]);
    let (code, err) = broken_off(&weir, &server, || database.stop());
    assert_eq!(code, Some(1));
    assert!(err.contains("data source `db.many` cannot be read"), "{err}");
    assert!(server.peak_memory() < 600 << 20, "{}", server.peak_memory());
}

/// Reads all of `db.many`; once rows flow, the database dies.
fn broken_off(weir: &Weir, server: &Server, die: impl FnOnce()) -> (Option<i32>, String) {
    let port = server.address.port().to_string();
    let args = ["sql", "--port", &port, "--user", "ann", "--format", "csv", "-c", "select n, text from db.many"];
    let mut command = weir.command(&args);
    command.env("WEIR_PASSWORD", "demo").stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut client = command.spawn().unwrap();
    let mut out = client.stdout.take().unwrap();
    let mut first = [0; 1 << 16];
    std::io::Read::read_exact(&mut out, &mut first).unwrap();
    die();
    std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    let ended = client.wait_with_output().unwrap();
    (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
}

#[test]
fn a_statement_that_ends_early_ends_in_mariadb() {
    let database = Mariadb::start();
    database.sql("CREATE VIEW slow AS SELECT seq AS n, sleep(0.01) AS nothing FROM seq_1_to_1000000;");
    let weir = with_mariadb(&database);
    weir.ok(&["source", "add", "db.slow", "--connection", "db", "--table", "slow"]);
    let server = weir.start(&["serve"]);
    let running = "SELECT count(*) FROM information_schema.PROCESSLIST WHERE USER = 'weir' AND INFO LIKE '%slow%'";
    let wait_for = |count: &str| {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while database.sql(running).trim() != count {
            assert!(std::time::Instant::now() < until, "never {count} statements over there");
        }
    };
    let port = server.address.port().to_string();
    let args = ["sql", "--port", &port, "--user", "ann", "-c", "select sum(n), max(nothing) from db.slow"];
    let mut client = weir.command(&args).env("WEIR_PASSWORD", "demo").spawn().unwrap();
    wait_for("1");
    client.kill().unwrap();
    client.wait().unwrap();
    wait_for("0");
}

const FILE: &str = r#"
CREATE TABLE "Peo""ple" (
    "Id" INTEGER PRIMARY KEY, "Sel ect" VARCHAR(20) COLLATE NOCASE, dept TEXT, pay DECIMAL(10,2), at DATETIME, day DATE,
    clock TIME, ok BOOLEAN, small SMALLINT, photo BLOB, score REAL, doc JSON, untyped, money NUMERIC);
INSERT INTO "Peo""ple" VALUES (1, 'x ', 'A', 1.5, '2024-01-01 12:00:00.5', '2024-02-29', '12:34', 1, 1, x'0102', 1.5, '{"a":1}', 1, 1);
INSERT INTO "Peo""ple" ("Id", "Sel ect", dept, pay) VALUES (2, 'Y', 'B', -2.25), (3, 'it''s', 'A', 0.05), (5, 'X', 'a', 7);
INSERT INTO "Peo""ple" ("Id", dept, pay, day, ok, small, at) VALUES (4, 'C', 'much', '29.2.2024', 'yes', 99999, 1700000000);
CREATE VIEW paid AS SELECT "Id", pay FROM "Peo""ple";
CREATE TABLE firm (n INTEGER NOT NULL, t TEXT, PRIMARY KEY (t, n)) STRICT;
INSERT INTO firm VALUES (9007199254740993, 'A'), (2, 'a'), (3, 'A ');
CREATE TABLE "a.b" (n INT);
"#;

#[test]
fn a_file_of_sqlite_is_imported_and_read_by_who_sees_different_rows() {
    let files = Sqlite::start();
    files.sql("people.db", FILE);
    let weir = with_sqlite(&files, "people.db");
    assert!(weir.ok(&["connection", "test", "db"]).contains("works: SQLite 3."));
    let told = weir.ok(&["source", "add-schema", "db", "--as", "li", "--owner", "own"]);
    assert!(told.contains("left out untyped: no type is declared; money: type NUMERIC is not supported"), "{told}");
    assert!(told.contains("added 3 of 4 tables"), "{told}");
    assert!(weir.ok(&["source", "show", "li.firm"]).contains("row key       t, n"));
    weir.ok(&["policy", "add", "--key", "departments", "--text", DEPARTMENTS]);
    let server = weir.start(&["serve"]);
    let read = |user: &str, sql: &str| read(&server, &weir, user, sql);
    assert_eq!(
        read("ann", "select * from li.\"Peo\"\"ple\" order by \"Id\"").lines().skip(1).collect::<Vec<_>>(),
        [
            "1,x ,A,1.50,2024-01-01 12:00:00.5,2024-02-29,12:34:00,t,1,\\x0102,1.5,\"{\"\"a\"\":1}\"",
            "3,it's,A,0.05,,,,,,,,",
        ]
    );
    for (condition, count) in [
        ("\"Sel ect\" = 'X '", 0),
        ("\"Sel ect\" in ('x ', 'IT''S')", 1),
        ("\"Sel ect\" like 'IT%'", 0),
        ("day = date '2024-02-29' and ok and small = 1 and pay = 1.5", 1),
        ("pay > 0.049 and pay < 0.051", 1),
        ("at = timestamp '2024-01-01 12:00:00.5'", 1),
        ("photo = x'0102'", 1),
    ] {
        let sql = format!("select count(*) from li.\"Peo\"\"ple\" where {condition}");
        assert_eq!(read("ann", &sql), format!("count\n{count}\n"), "{condition}");
    }
    assert_eq!(read("bea", "select n from li.firm where t = 'A' and n > 9007199254740992"), "n\n9007199254740993\n");
    assert_eq!(read("bea", "select t, count(*) from li.firm group by t order by t"), "t,count\nA,1\nA ,1\na,1\n");
    let explain = "explain select count(*) from li.\"Peo\"\"ple\" where \"Sel ect\" = 'x' and \"Id\" > 1";
    let (hers, governors) = (read("ann", explain), read("own", explain));
    assert!(hers.contains("GovernedScan") && !hers.contains("SELECT"), "{hers}");
    let sent = "SELECT count(*) FROM \"\"main\"\".\"\"Peo\"\"\"\"ple\"\" AS \"\"t1\"\" WHERE";
    assert!(governors.contains(sent) && governors.contains("COLLATE BINARY"), "{governors}");
}

#[test]
fn what_goes_wrong_in_a_file_of_sqlite_is_an_error_and_tells_nothing() {
    let files = Sqlite::start();
    files.sql("people.db", FILE);
    let weir = with_sqlite(&files, "people.db");
    let source = "li.Peo\"ple";
    weir.ok(&["source", "add", source, "--connection", "db", "--table", "Peo\"ple"]);
    weir.ok(&["policy", "add", "--key", "departments", "--text", DEPARTMENTS]);
    let before = std::fs::read(files.path("people.db")).unwrap();
    let server = weir.start(&["serve"]);
    let count = || server.sql(&weir, "ann", "select count(*), sum(pay) from li.\"Peo\"\"ple\"");
    let works = || assert_eq!(count().out, "count,sum\n2,1.55\n");
    works();
    // Values that are not of the declared type are errors for those who see their row, and nothing for others.
    for column in ["pay", "day", "ok", "small", "at"] {
        let of = format!("select {column} from li.\"Peo\"\"ple\" where \"Id\" > 3");
        assert_eq!(read(&server, &weir, "ann", &of), format!("{column}\n"));
        weir.ok(&["user", "group", "add", "ann", "C"]);
        unreadable(source, &server.sql(&weir, "ann", &of));
        weir.ok(&["user", "group", "remove", "ann", "C"]);
    }
    assert_eq!(std::fs::read(files.path("people.db")).unwrap(), before);
    // A column goes, gets another type; the table goes; another file takes the place.
    files.sql("people.db", "ALTER TABLE \"Peo\"\"ple\" RENAME clock TO other");
    unreadable(source, &count());
    files.sql("people.db", "ALTER TABLE \"Peo\"\"ple\" RENAME other TO clock");
    works();
    files.replace("people.db", &FILE.replace("SMALLINT", "BIGINT"));
    unreadable(source, &count());
    files.replace("people.db", &FILE.replace("'A', 1.5", "'A', 2.5"));
    assert_eq!(count().out, "count,sum\n2,2.55\n");
    files.replace("people.db", "CREATE TABLE t (n INT)");
    unreadable(source, &count());
    // What is no database, and what is not there.
    std::fs::write(files.path("people.db"), [7; 4096]).unwrap();
    unreadable(source, &count());
    std::fs::remove_file(files.path("people.db")).unwrap();
    unreadable(source, &count());
    assert!(!files.path("people.db").exists());
    files.sql("people.db", FILE);
    works();
    // Somebody writes it, and takes his time.
    let path = files.path("people.db");
    let mut writer =
        std::process::Command::new("sqlite3").arg(&path).stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut input = writer.stdin.take().unwrap();
    std::io::Write::write_all(
        &mut input,
        b"PRAGMA journal_mode = WAL;\nBEGIN IMMEDIATE; DELETE FROM \"Peo\"\"ple\";\n",
    )
    .unwrap();
    works();
    drop(input);
    writer.wait().unwrap();
    works();
    assert!(weir.fails(&["connection", "add", "none", "sqlite:/nowhere/none.db"]).contains("cannot be used"));
    let with_password = ["connection", "add", "no", "sqlite:/x.db", "--password-file", "password"];
    assert!(weir.fails(&with_password).contains("neither certificate nor password"));
}

#[test]
fn a_statement_that_ends_early_ends_in_sqlite_too() {
    let files = Sqlite::start();
    // Without an end that anybody would wait for.
    files.sql(
        "slow.db",
        "CREATE TABLE one (n INTEGER) STRICT; INSERT INTO one VALUES (1); CREATE TABLE many (n INTEGER) STRICT; \
         INSERT INTO many WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 30000) SELECT n FROM s;",
    );
    let weir = with_sqlite(&files, "slow.db");
    for table in ["one", "many"] {
        weir.ok(&["source", "add", &format!("db.{table}"), "--connection", "db", "--table", table]);
    }
    let server = weir.start(&["serve"]);
    let port = server.address.port().to_string();
    let slow = "select count(*) from db.many a join db.many b on a.n > b.n join db.many c on b.n > c.n";
    let slow = format!("{slow} and a.n <> c.n");
    let args = ["sql", "--port", &port, "--user", "ann", "-c", &slow];
    // More than there are sessions.
    for number in 1..=20 {
        let mut client = weir.command(&args).env("WEIR_PASSWORD", "demo").spawn().unwrap();
        while weir.ok(&["audit"]).matches("db.many").count() < number {}
        client.kill().unwrap();
        client.wait().unwrap();
    }
    assert_eq!(read(&server, &weir, "ann", "select n from db.one"), "n\n1\n");
}

#[test]
fn a_database_that_does_not_answer_is_given_up() {
    // Connections wait in its queue.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let weir = people();
    for scheme in ["postgresql", "mariadb"] {
        let url = format!("{scheme}://weir@127.0.0.1:{port}/shop");
        let add = ["connection", "add", "db", &url, "--no-tls", "--password-file", "database-password"];
        assert!(weir.fails(&add).contains("it did not answer within 10 seconds"), "{scheme}");
    }
}
