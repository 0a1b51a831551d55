//! What of a statement each kind of database does, and which types its columns have here: asked of real ones. It stands
//! in `docs/remote-databases.md`; with `WEIR_ACCEPT` set it is written there.

use std::path::Path;

use weir_testkit::mariadb::{self, Mariadb};
use weir_testkit::postgres::{self, Postgres};
use weir_testkit::sqlite::Sqlite;

use crate::weir::{Server, Weir};

const KINDS: [&str; 3] = ["PostgreSQL", "MariaDB", "SQLite"];

/// A part of a statement, a statement with it, what of what is sent shows that it went along, and the answer.
const PARTS: &[(&str, &str, &str, &str)] = &[
    ("whole numbers compared", "select n from db.p where n > 1 and n <> 3 and n in (2, 3)", "WHERE", "2"),
    ("decimals compared", "select n from db.p where price < 1.55 and price >= 0", "WHERE", "1"),
    ("booleans compared", "select n from db.p where ok and n < 3", "WHERE", "1"),
    ("texts, equal or not", "select n from db.p where name = 'a' and name <> 'b'", "WHERE", "1"),
    ("texts, before and after", "select n from db.p where name > 'B' and name < 'b'", "WHERE", "1\n3"),
    ("`LIKE`", "select n from db.p where name like 'a%' and name not like 'A%'", "LIKE", "1\n3"),
    ("dates compared", "select n from db.p where day between date '2024-01-01' and date '2024-12-31'", "WHERE", "2"),
    ("timestamps compared", "select n from db.p where at >= timestamp '2024-01-01 12:00:00'", "WHERE", "2"),
    ("times compared", "select n from db.p where clock < arrow_cast('12:00:00', 'Time64(Microsecond)')", "WHERE", "1"),
    ("binary compared", "select n from db.p where data = x'01'", "WHERE", "1"),
    ("floats compared", "select n from db.p where score > 1.5", "WHERE", "2"),
    ("`IS NULL`, `AND`, `OR`, `NOT`", "select n from db.p where not (day is null or n = 2) and n < 9", "WHERE", "1"),
    ("`CASE`", "select n from db.p where case when n = 1 then 'x' else name end = 'x'", "CASE", "1"),
    ("`+`, `-`, `*` of decimals", "select n from db.p where price * price - price > 1", " * ", "2\n3"),
    ("`+`, `-`, `*` of whole numbers", "select n from db.p where n * n = 4", " * ", "2"),
    ("`/`, functions, casts that can fail", "select n from db.p where length(name) = 2", "WHERE", "3"),
    ("inner joins", "select p.n from db.p join db.q on p.n = q.n and p.name = q.name", "AS \"\"t1\"\", ", "2"),
    ("semi joins", "select n from db.p where n in (select n from db.q)", "EXISTS", "2\n3"),
    ("anti joins", "select n from db.p where not exists (select 1 from db.q where q.n = p.n)", "NOT EXISTS", "1"),
    ("outer joins", "select p.n, q.n from db.p left join db.q on p.n = q.n", "AS \"\"t1\"\", ", "1,\n2,2\n3,3"),
    ("`count`", "select count(*), count(day) from db.p", "count(", "3,2"),
    ("`min`, `max`", "select min(price), max(day), min(name) from db.p", "min(", "-2.25,2024-02-29,A"),
    ("`sum` of whole numbers", "select sum(n) from db.p", "sum(", "6"),
    ("`sum`, `avg` of decimals", "select sum(price), avg(price) from db.p", "sum(", "1.75,0.583333"),
    ("`sum` of floats", "select sum(score) from db.p", "sum(", "4.25"),
    ("`FILTER`", "select count(*) filter (where n > 1) from db.p", "CASE WHEN", "2"),
    ("`DISTINCT` in aggregates", "select count(distinct name), count(distinct n) from db.p", "DISTINCT", "3,3"),
    ("groups", "select name, count(*) from db.p group by name having count(*) = 1 and name = 'a'", "GROUP BY", "a,1"),
    ("limits", "select 1 as one from (select n from db.p limit 1) as some", "LIMIT", "1"),
    ("sorting", "select n from db.p order by n desc limit 1", "ORDER BY", "3"),
];

const ROWS: &str = "
INSERT INTO p VALUES (1, 'a', 1.50, '2023-06-01', '2023-06-01 00:00:00', '01:02:03', TRUE, DATA, 1.5);
INSERT INTO p VALUES (2, 'A', 2.50, '2024-02-29', '2024-01-01 12:00:00', '12:00:00', FALSE, NULL, 2.5);
INSERT INTO p VALUES (3, 'aé', -2.25, NULL, NULL, NULL, TRUE, NULL, 0.25);
INSERT INTO q VALUES (2, 'A'), (3, 'b');
";

/// The types that a table of each kind may have, each with what becomes of it: its own type, and whether it is compared
/// over there.
const POSTGRESQL: &[&str] = &[
    "boolean",
    "smallint",
    "integer",
    "bigint",
    "real",
    "double precision",
    "numeric(10,2)",
    "numeric(76,10)",
    "numeric",
    "text",
    "varchar(9)",
    "char(9)",
    "uuid",
    "json",
    "jsonb",
    "bytea",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "interval",
    "inet",
    "int[]",
    "text[]",
    "int4range",
];
const MARIADB: &[&str] = &[
    "boolean",
    "tinyint",
    "tinyint unsigned",
    "smallint",
    "smallint unsigned",
    "mediumint",
    "int",
    "int unsigned",
    "bigint",
    "bigint unsigned",
    "year",
    "bit(1)",
    "bit(12)",
    "float",
    "double",
    "decimal(10,2)",
    "decimal(65,30)",
    "decimal(10,2) unsigned",
    "char(9)",
    "varchar(9)",
    "varchar(9) character set latin1",
    "longtext",
    "enum('a','b')",
    "set('a','b')",
    "json",
    "uuid",
    "inet6",
    "binary(9)",
    "varbinary(9)",
    "longblob",
    "date",
    "time",
    "time(6)",
    "datetime",
    "datetime(6)",
    "timestamp(6) null",
    "point",
];
const SQLITE: &[&str] = &[
    "boolean",
    "tinyint",
    "smallint",
    "int4",
    "integer",
    "bigint",
    "real",
    "double precision",
    "decimal(15,2)",
    "decimal(16,2)",
    "numeric",
    "text",
    "varchar(9)",
    "json",
    "blob",
    "date",
    "time",
    "datetime",
    "timestamp",
    "any",
    "",
];

fn table(types: &[&str]) -> String {
    let columns: Vec<String> = types.iter().enumerate().map(|(place, of)| format!("c{place} {of}")).collect();
    format!("CREATE TABLE types ({});", columns.join(", "))
}

fn tables(timestamp: &str, bytes: &str, double: &str, types: &[&str]) -> String {
    format!(
        "CREATE TABLE p (n INTEGER, name VARCHAR(9), price DECIMAL(10,2), day DATE, at {timestamp}, clock TIME, ok BOOLEAN, \
         data {bytes}, score {double}); CREATE TABLE q (n INTEGER, name VARCHAR(9)); {}",
        table(types)
    )
}

/// With the tables of a database, and the user `own`, who governs.
fn serving(url: &str, password: Option<&str>) -> (Weir, Server) {
    let weir = Weir::new();
    weir.file("password", "demo");
    weir.ok(&["user", "add", "own", "--permission", "governance", "--password-file", "password"]);
    match password {
        Some(password) => {
            weir.file("database-password", password);
            weir.ok(&["connection", "add", "db", url, "--no-tls", "--password-file", "database-password"]);
        }
        None => {
            weir.ok(&["connection", "add", "db", url]);
        }
    }
    weir.ok(&["source", "add-schema", "db", "--as", "db", "--owner", "own"]);
    let server = weir.start(&["serve"]);
    (weir, server)
}

fn asked(weir: &Weir, server: &Server, sql: &str) -> String {
    let ran = server.sql(weir, "own", sql);
    assert_eq!(ran.code, Some(0), "{sql}: {ran:?}");
    ran.out
}

/// What a governor is told of it.
fn sent(weir: &Weir, server: &Server, sql: &str) -> String {
    let told = asked(weir, server, &format!("explain {sql}"));
    told.split_once("Sent to databases:").expect("what is sent").1.to_owned()
}

fn place(weir: &Weir, server: &Server, (what, sql, sign, answer): &(&str, &str, &str, &str)) -> &'static str {
    let found = asked(weir, server, sql);
    let mut rows: Vec<&str> = found.lines().skip(1).collect();
    rows.sort_unstable();
    assert_eq!(rows.join("\n"), *answer, "{what}: {sql}");
    if sent(weir, server, sql).contains(sign) { "there" } else { "here" }
}

/// What becomes of a type of that name.
fn of_type(weir: &Weir, server: &Server, place: usize) -> String {
    let shown = weir.ok(&["source", "show", "db.types"]);
    let name = format!("c{place}");
    let Some(line) = shown.lines().find(|line| line.split_whitespace().next() == Some(&name)) else {
        return "left out | |".to_owned();
    };
    let words: Vec<&str> = line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect();
    let grouped = sent(weir, server, &format!("select {name}, count(*) from db.types group by {name}"));
    format!("`{}` | {} |", words[1], if grouped.contains("GROUP BY") { "there" } else { "here" })
}

#[test]
fn what_is_sent_is_what_the_documentation_says() {
    let postgresql = Postgres::start();
    postgresql.sql(&tables("TIMESTAMP", "BYTEA", "DOUBLE PRECISION", POSTGRESQL));
    postgresql.sql(&ROWS.replace("DATA", "'\\x01'"));
    let mariadb = Mariadb::start();
    mariadb.sql(&tables("DATETIME", "BLOB", "DOUBLE", MARIADB));
    mariadb.sql(&ROWS.replace("DATA", "x'01'"));
    let sqlite = Sqlite::start();
    sqlite.sql("file.db", &tables("DATETIME", "BLOB", "DOUBLE", SQLITE));
    sqlite.sql("file.db", &ROWS.replace("DATA", "x'01'"));
    let url =
        |scheme: &str, user: &str, port: u16, database: &str| format!("{scheme}://{user}@127.0.0.1:{port}/{database}");
    let serving = [
        serving(&url("postgresql", postgres::USER, postgresql.port(), "postgres"), Some(postgres::PASSWORD)),
        serving(&url("mariadb", mariadb::USER, mariadb.port(), mariadb::DATABASE), Some(mariadb::PASSWORD)),
        serving(&format!("sqlite:{}", sqlite.path("file.db").display()), None),
    ];
    let mut page = format!("| part of a statement | {} |\n| --- | --- | --- | --- |\n", KINDS.join(" | "));
    for part in PARTS {
        let places: Vec<&str> = serving.iter().map(|(weir, server)| place(weir, server, part)).collect();
        page.push_str(&format!("| {} | {} |\n", part.0, places.join(" | ")));
    }
    for ((kind, types), (weir, server)) in KINDS.iter().zip([POSTGRESQL, MARIADB, SQLITE]).zip(&serving) {
        page.push_str(&format!("\n| {kind} | type here | compared |\n| --- | --- | --- |\n"));
        for (place, of) in types.iter().enumerate() {
            let of = if of.is_empty() { "no type".to_owned() } else { format!("`{of}`") };
            page.push_str(&format!("| {of} | {}\n", of_type(weir, server, place)));
        }
    }
    documented(&page);
}

const BEGIN: &str = "<!-- what tests found -->\n";
const END: &str = "<!-- end of what tests found -->\n";

fn documented(page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/remote-databases.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("where it begins");
    let (written, after) = rest.split_once(END).expect("where it ends");
    if std::env::var_os("WEIR_ACCEPT").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{page}{END}{after}")).unwrap();
    } else {
        assert_eq!(written, page, "docs/remote-databases.md says something else: `cargo xtask golden` rewrites it");
    }
}
