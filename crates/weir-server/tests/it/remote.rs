//! Tables of a real PostgreSQL as data sources, through the command and the server.

use std::path::Path;

use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, RegionGenerator, SupplierGenerator,
};
use weir_testkit::postgres::{PASSWORD, Postgres, USER};

use crate::weir::{Ran, Server, Weir};

/// With a connection `db`, and the users `ann` (group A), `bea` (group B) and `own`, who governs.
fn connected(database: &Postgres) -> Weir {
    let weir = Weir::new();
    weir.file("password", "demo");
    weir.file("database-password", PASSWORD);
    weir.ok(&["user", "add", "ann", "--group", "A", "--password-file", "password"]);
    weir.ok(&["user", "add", "bea", "--group", "B", "--password-file", "password"]);
    weir.ok(&["user", "add", "own", "--permission", "governance", "--password-file", "password"]);
    add_connection(&weir, database);
    weir.ok(&["policy", "add", "--key", "open", "--text", "Allow anyone to subscribe"]);
    weir
}

fn add_connection(weir: &Weir, database: &Postgres) {
    let url = format!("postgresql://{USER}@127.0.0.1:{}/postgres", database.port());
    let file = "database-password";
    weir.ok(&["connection", "add", "db", &url, "--no-tls", "--password-file", file]);
}

const PEOPLE: &str = r#"
CREATE SCHEMA "we ird";
CREATE TABLE "we ird"."Peo""ple" (
    "Id" int PRIMARY KEY, "Sel ect" text, dept varchar(10), pay numeric(10,2), code char(5), at timestamptz, seen timestamp,
    day date, mail uuid, doc jsonb, tags text[], photo bytea, score float8, span int4range, ok boolean, any_number numeric,
    clock time, small smallint, big bigint);
INSERT INTO "we ird"."Peo""ple" VALUES
    (1, 'x', 'A', 1.50, 'ab', '2024-01-01 12:00+02', '2024-01-01 12:00', '2024-02-29',
     'A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a":1}', '{x,NULL,"y,z"}', '\x0102', 1.5, '[1,2)', true, 123.456, '12:34:56.789',
     1, 9000000000);
INSERT INTO "we ird"."Peo""ple" VALUES (2, 'Y', 'B', -2.25, 'cd'), (3, 'it''s', 'A', 0.05, '');
INSERT INTO "we ird"."Peo""ple" ("Id", dept, pay, at) VALUES (4, 'C', 99, 'infinity');
CREATE VIEW "we ird".paid AS SELECT "Id", pay FROM "we ird"."Peo""ple";
CREATE TABLE "we ird".spans (span int4range);
CREATE TABLE "we ird"."a.b" (n int);
"#;

const DEPARTMENTS: &str = "Only show rows where user is a member of group that matches the value in the column dept for \
     everyone on data sources with column names spelled like '^dept$'";

/// What a client is told.
fn said(ran: &Ran) -> String {
    format!("{}{}", ran.out, ran.err)
}

#[test]
fn a_schema_is_imported_and_read_by_who_sees_different_rows() {
    let database = Postgres::start();
    database.sql(PEOPLE);
    let weir = connected(&database);
    let told = weir.ok(&["source", "add-schema", "db", "we ird", "--as", "wr", "--owner", "own"]);
    assert!(told.contains("left out span: type int4range is not supported"), "{told}");
    assert!(told.contains("skipped: it has no column that can be read"), "{told}");
    assert!(told.contains("has a dot in one of its parts"), "{told}");
    assert!(told.contains("added 2 of 4 tables"), "{told}");
    let again = weir.ok(&["source", "add-schema", "db", "we ird", "--as", "wr"]);
    assert!(again.contains("added 0 of 4 tables") && again.contains("registered already"), "{again}");
    assert!(weir.ok(&["source", "show", "wr.Peo\"ple"]).contains("row key       Id"));
    weir.ok(&["policy", "add", "--key", "departments", "--text", DEPARTMENTS]);
    let server = weir.start(&["serve"]);
    let read = |user: &str, sql: &str| {
        let ran = server.sql(&weir, user, sql);
        assert_eq!(ran.code, Some(0), "{sql}: {ran:?}");
        ran.out
    };
    let all = "select * from wr.\"Peo\"\"ple\" order by \"Id\"";
    assert_eq!(
        read("ann", all).lines().skip(1).collect::<Vec<_>>(),
        [
            "1,x,A,1.50,ab,2024-01-01 10:00:00+00,2024-01-01 12:00:00,2024-02-29,a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,\
             \"{\"\"a\"\": 1}\",\"{x,NULL,\"\"y,z\"\"}\",\\x0102,1.5,t,123.4560000000,12:34:56.789,1,9000000000",
            "3,it's,A,0.05,\"\",,,,,,,,,,,,,",
        ]
    );
    assert_eq!(read("bea", "select \"Id\", \"Sel ect\", code from wr.\"Peo\"\"ple\""), "Id,Sel ect,code\n2,Y,cd\n");
    // A view has no policy of its own here.
    assert_eq!(read("bea", "select count(*), sum(pay) from wr.paid"), "count,sum\n4,98.30\n");
    // Who does not govern is told of a governed scan, who does of what is sent; nobody of the password.
    let explain = "explain select count(*) from wr.\"Peo\"\"ple\" where pay > 1";
    let (hers, governors) = (read("ann", explain), read("own", explain));
    assert!(hers.contains("GovernedScan") && !hers.contains("SELECT"), "{hers}");
    let sent = "SELECT count(*) FROM \"\"we ird\"\".\"\"Peo\"\"\"\"ple\"\" AS \"\"t1\"\"";
    assert!(governors.contains(sent) && governors.contains("$2 = 1.00"), "{governors}");
    for text in [weir.ok(&["connection", "list"]), weir.ok(&["audit", "--json"]), hers, governors] {
        assert!(!text.contains(PASSWORD), "{text}");
    }
    // A row filter that the database does not have: nothing of the statement is asked of rows that may be hidden.
    let by_rounding = "Only show rows where round_down(pay, 1) = 1 for everyone on data source wr.paid";
    weir.ok(&["policy", "add", "--key", "rounding", "--text", by_rounding]);
    let before = database.log().len();
    assert_eq!(read("bea", "select pay from wr.paid where \"Id\" < 4"), "pay\n1.50\n");
    let log = database.log();
    let asked = log.get(before..).unwrap();
    assert!(asked.contains("FROM \"we ird\".\"paid\" AS \"t1\"") && !asked.contains("\"Id\" <"), "{asked}");
    server.signal("TERM");
    let (_, _, log) = server.wait();
    assert!(!log.contains(PASSWORD), "{log}");
    let held = std::fs::read(weir.path().join("data/weir.db")).unwrap();
    assert!(!held.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes()));
    assert!(weir.fails(&["connection", "remove", "db"]).contains("in use"));
}

#[test]
fn what_goes_wrong_over_there_is_an_error_and_tells_nothing() {
    let mut database = Postgres::start();
    database.sql(PEOPLE);
    let weir = connected(&database);
    let add = ["source", "add", "wr.Peo\"ple", "--connection", "db", "--schema", "we ird", "--table", "Peo\"ple"];
    weir.ok(&add);
    weir.ok(&["policy", "add", "--key", "departments", "--text", DEPARTMENTS]);
    let server = weir.start(&["serve"]);
    let count = || server.sql(&weir, "ann", "select count(*) from wr.\"Peo\"\"ple\"");
    let unreadable = |ran: Ran| {
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.err.starts_with("error: data source `wr.Peo\"ple` cannot be read"), "{ran:?}");
        for hidden in ["infinity", "column", "division", "127.0.0.1", "SELECT", PASSWORD] {
            assert!(!said(&ran).contains(hidden), "{hidden}: {ran:?}");
        }
    };
    assert_eq!(count().out, "count\n2\n");
    // A value that there is no such timestamp of is an error for those who see its row, and nothing for others.
    let at = "select at from wr.\"Peo\"\"ple\" where \"Id\" > 1";
    assert_eq!(server.sql(&weir, "ann", at).out, "at\n\n");
    weir.ok(&["user", "group", "add", "ann", "C"]);
    unreadable(server.sql(&weir, "ann", at));
    weir.ok(&["user", "group", "remove", "ann", "C"]);
    // An error of the database that quotes a hidden value: the view fails on a row that she does not see.
    database.sql(
        "CREATE VIEW \"we ird\".broken AS SELECT \"Id\", dept, 1 / (\"Id\" - 2) AS x FROM \"we ird\".\"Peo\"\"ple\"",
    );
    // The type of a column changes, a column goes, the table goes.
    database.sql("ALTER TABLE \"we ird\".\"Peo\"\"ple\" ALTER small TYPE int");
    unreadable(count());
    database.sql("ALTER TABLE \"we ird\".\"Peo\"\"ple\" ALTER small TYPE smallint");
    assert_eq!(count().out, "count\n2\n");
    database.sql(
        "DROP VIEW \"we ird\".broken, \"we ird\".paid; ALTER TABLE \"we ird\".\"Peo\"\"ple\" RENAME code TO other",
    );
    unreadable(count());
    database.sql("ALTER TABLE \"we ird\".\"Peo\"\"ple\" RENAME other TO code");
    // Credentials that do not hold any more.
    database.sql(&format!("CREATE USER other; ALTER USER {USER} PASSWORD 'changed'"));
    weir.ok(&["connection", "password", "db", "--password-file", "password"]);
    unreadable(count());
    weir.file("changed", "changed");
    weir.ok(&["connection", "password", "db", "--password-file", "changed"]);
    assert_eq!(count().out, "count\n2\n");
    // The database goes down and comes back; the server stays up.
    database.stop();
    unreadable(count());
    assert_eq!(server.sql(&weir, "ann", "select 1 as one").out, "one\n1\n");
    database.serve();
    assert_eq!(count().out, "count\n2\n");
}

/// A certificate for this machine, signed by itself, and its key.
pub(crate) fn certificate(weir: &Weir, name: &str) -> (String, String) {
    let (key, certificate) = (weir.path().join(format!("{name}.key")), weir.path().join(format!("{name}.crt")));
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=database", "-addext", "subjectAltName=IP:127.0.0.1"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    let made = openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    (std::fs::read_to_string(certificate).unwrap(), std::fs::read_to_string(key).unwrap())
}

#[test]
fn an_encrypted_database_is_known_by_its_certificate() {
    let database = Postgres::start();
    let weir = Weir::new();
    weir.file("database-password", PASSWORD);
    let url = format!("postgresql://{USER}@127.0.0.1:{}/postgres", database.port());
    let add = |name: &str, authorities: &str| {
        let file = "database-password";
        weir.run(&["connection", "add", name, &url, "--tls-authorities", authorities, "--password-file", file])
    };
    let (good, key) = certificate(&weir, "good");
    certificate(&weir, "other");
    // Without encryption over there nothing is sent in the clear instead.
    assert_eq!(add("plain", "good.crt").code, Some(1));
    database.encrypt(&good, &key);
    assert_eq!(add("db", "good.crt").code, Some(0));
    assert_eq!(add("forged", "other.crt").code, Some(1));
    assert_eq!(add("empty", "database-password").code, Some(1));
    assert!(weir.ok(&["connection", "test", "db"]).contains("works: PostgreSQL"));
    let encrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'weir' AND NOT ssl";
    assert_eq!(database.sql(encrypted).trim(), "0");
    database.sql("CREATE TABLE t AS SELECT 1 AS n");
    weir.ok(&["source", "add", "db.t", "--connection", "db", "--table", "t"]);
    assert!(weir.ok(&["connection", "list"]).contains("verified"));
}

#[test]
fn an_answer_that_breaks_off_is_no_answer() {
    let mut database = Postgres::start();
    database.sql("CREATE TABLE many AS SELECT n, repeat('x', 200) AS text FROM generate_series(1, 2000000) AS n");
    let weir = connected(&database);
    weir.ok(&["source", "add", "db.many", "--connection", "db", "--table", "many"]);
    let server = weir.start(&["serve"]);
    let port = server.address.port().to_string();
    let args = ["sql", "--port", &port, "--user", "ann", "--format", "csv", "-c", "select n, text from db.many"];
    let mut command = weir.command(&args);
    command.env("WEIR_PASSWORD", "demo").stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut client = command.spawn().unwrap();
    // Once rows flow, the database dies.
    let mut out = client.stdout.take().unwrap();
    let mut first = [0; 1 << 16];
    std::io::Read::read_exact(&mut out, &mut first).unwrap();
    database.stop();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut out, &mut rest).unwrap();
    let ended = client.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8(ended.stderr).unwrap().contains("data source `db.many` cannot be read"));
    assert!(server.peak_memory() < 600 << 20, "{}", server.peak_memory());
}

#[test]
fn a_statement_that_ends_early_ends_over_there() {
    let database = Postgres::start();
    database.sql("CREATE VIEW slow AS SELECT n, pg_sleep(0.01)::text AS nothing FROM generate_series(1, 1000000) AS n");
    let weir = connected(&database);
    weir.ok(&["source", "add", "db.slow", "--connection", "db", "--table", "slow"]);
    let server = weir.start(&["serve"]);
    let running = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'weir' AND state = 'active'";
    let wait_for = |count: &str| {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while database.sql(running).trim() != count {
            assert!(std::time::Instant::now() < until, "never {count} statements over there");
        }
    };
    let port = server.address.port().to_string();
    let args =
        ["sql", "--port", &port, "--user", "ann", "--format", "csv", "-c", "select sum(n), max(nothing) from db.slow"];
    let mut client = weir.command(&args).env("WEIR_PASSWORD", "demo").spawn().unwrap();
    wait_for("1");
    client.kill().unwrap();
    client.wait().unwrap();
    wait_for("0");
}

/// Rows of the benchmark as text that PostgreSQL copies in.
fn rows(rows: impl Iterator<Item = impl std::fmt::Display>) -> String {
    let mut text = String::new();
    for row in rows {
        text.push_str(row.to_string().trim_end_matches('|'));
        text.push('\n');
    }
    text
}

const TPCH: &str = "
CREATE SCHEMA tpch; SET search_path = tpch;
CREATE TABLE region (r_regionkey bigint, r_name text, r_comment text);
CREATE TABLE nation (n_nationkey bigint, n_name text, n_regionkey bigint, n_comment text);
CREATE TABLE supplier (s_suppkey bigint, s_name text, s_address text, s_nationkey bigint, s_phone text,
    s_acctbal numeric(15,2), s_comment text);
CREATE TABLE customer (c_custkey bigint, c_name text, c_address text, c_nationkey bigint, c_phone text,
    c_acctbal numeric(15,2), c_mktsegment text, c_comment text);
CREATE TABLE orders (o_orderkey bigint, o_custkey bigint, o_orderstatus text, o_totalprice numeric(15,2), o_orderdate date,
    o_orderpriority text, o_clerk text, o_shippriority int, o_comment text);
CREATE TABLE lineitem (l_orderkey bigint, l_partkey bigint, l_suppkey bigint, l_linenumber int, l_quantity numeric(15,2),
    l_extendedprice numeric(15,2), l_discount numeric(15,2), l_tax numeric(15,2), l_returnflag text, l_linestatus text,
    l_shipdate date, l_commitdate date, l_receiptdate date, l_shipinstruct text, l_shipmode text, l_comment text);
";

fn load(database: &Postgres, scale: f64) {
    database.sql(TPCH);
    let tables = [
        ("region", rows(RegionGenerator::new(scale, 1, 1).iter())),
        ("nation", rows(NationGenerator::new(scale, 1, 1).iter())),
        ("supplier", rows(SupplierGenerator::new(scale, 1, 1).iter())),
        ("customer", rows(CustomerGenerator::new(scale, 1, 1).iter())),
        ("orders", rows(OrderGenerator::new(scale, 1, 1).iter())),
        ("lineitem", rows(LineItemGenerator::new(scale, 1, 1).iter())),
    ];
    for (table, rows) in tables {
        database.sql(&format!("COPY tpch.{table} FROM STDIN WITH (DELIMITER '|');\n{rows}\\.\n"));
    }
    database.sql("ANALYZE");
}

/// Of the queries of the benchmark those that read these tables, each with a word that shows that it was sent whole.
const QUERIES: [(&str, &str, &[&str]); 9] = [
    (
        "q1",
        "select l_returnflag, l_linestatus, sum(l_quantity), sum(l_extendedprice), sum(l_extendedprice * (1 - l_discount)),
         sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)), avg(l_quantity), avg(l_extendedprice), avg(l_discount), count(*)
         from tpch.lineitem where l_shipdate <= date '1998-09-02' group by 1, 2 order by 1, 2",
        &["GROUP BY", "sum("],
    ),
    (
        "q3",
        "select l_orderkey, sum(l_extendedprice * (1 - l_discount)) as revenue, o_orderdate, o_shippriority
         from tpch.customer, tpch.orders, tpch.lineitem where c_mktsegment = 'BUILDING' and c_custkey = o_custkey
         and l_orderkey = o_orderkey and o_orderdate < date '1995-03-15' and l_shipdate > date '1995-03-15'
         group by l_orderkey, o_orderdate, o_shippriority order by revenue desc, o_orderdate, l_orderkey limit 10",
        &["\"t2\"", "GROUP BY"],
    ),
    (
        "q5",
        "select n_name, sum(l_extendedprice * (1 - l_discount)) as revenue
         from tpch.customer, tpch.orders, tpch.lineitem, tpch.supplier, tpch.nation, tpch.region
         where c_custkey = o_custkey and l_orderkey = o_orderkey and l_suppkey = s_suppkey and c_nationkey = s_nationkey
         and s_nationkey = n_nationkey and n_regionkey = r_regionkey and r_name in ('ASIA', 'EUROPE')
         and o_orderdate >= date '1994-01-01' and o_orderdate < date '1996-01-01' group by n_name order by revenue desc",
        &["\"t2\"", "GROUP BY"],
    ),
    (
        "q6",
        "select sum(l_extendedprice * l_discount), count(*) from tpch.lineitem where l_shipdate >= date '1994-01-01'
         and l_shipdate < date '1995-01-01' and l_discount between 0.05 and 0.07 and l_quantity < 24",
        &["sum("],
    ),
    (
        "q10",
        "select c_custkey, sum(l_extendedprice * (1 - l_discount)) as revenue, c_acctbal, n_name, c_address, length(c_phone)
         from tpch.customer, tpch.orders, tpch.lineitem, tpch.nation where c_custkey = o_custkey and l_orderkey = o_orderkey
         and o_orderdate >= date '1993-10-01' and o_orderdate < date '1994-01-01' and l_returnflag = 'R'
         and c_nationkey = n_nationkey group by c_custkey, c_name, c_acctbal, c_phone, n_name, c_address, c_comment
         order by revenue desc, c_custkey limit 20",
        &["\"t2\""],
    ),
    (
        "q12",
        "select l_shipmode, sum(case when o_orderpriority = '1-URGENT' or o_orderpriority = '2-HIGH' then 1 else 0 end),
         sum(case when o_orderpriority <> '1-URGENT' and o_orderpriority <> '2-HIGH' then 1 else 0 end)
         from tpch.orders, tpch.lineitem where o_orderkey = l_orderkey and l_shipmode in ('MAIL', 'SHIP')
         and l_commitdate < l_receiptdate and l_shipdate < l_commitdate and l_receiptdate >= date '1994-01-01'
         and l_receiptdate < date '1995-01-01' group by l_shipmode order by l_shipmode",
        &["\"t2\"", "GROUP BY", "CASE", "ANY ($"],
    ),
    (
        "exists",
        "select count(*), min(c_address), max(c_comment) from tpch.customer c where exists (select 1 from tpch.orders o
         where o.o_custkey = c.c_custkey and o_totalprice > 100000) and c_address like '%a%'",
        &["EXISTS", "LIKE"],
    ),
    (
        "masked",
        "select o_clerk, count(*), count(distinct o_orderpriority) from tpch.orders group by o_clerk order by o_clerk",
        &[],
    ),
    (
        "rounded",
        "select l_extendedprice, count(*) from tpch.lineitem where l_extendedprice > 50000 group by l_extendedprice
         order by l_extendedprice limit 50",
        &["GROUP BY"],
    ),
];

/// The demonstration's policies over files and over the same rows in PostgreSQL.
#[test]
fn the_benchmark_in_a_database_gives_what_files_give() {
    let database = Postgres::start();
    load(&database, 0.01);
    let files = Weir::new();
    files.ok(&["demo", "--scale", "0.01", "--no-serve", "--data-dir", "data"]);
    let remote = Weir::new();
    copy(&files.path().join("data"), &remote.path().join("data"));
    remote.file("database-password", PASSWORD);
    add_connection(&remote, &database);
    for table in ["region", "nation", "supplier", "customer", "orders", "lineitem"] {
        let name = format!("tpch.{table}");
        remote.ok(&["source", "remove", &name]);
        let add = ["source", "add", &name, "--connection", "db", "--schema", "tpch", "--table", table, "--tag", "TPCH"];
        remote.ok(&add);
    }
    let (over_files, over_database) = (files.start(&["serve"]), remote.start(&["serve"]));
    let mut rows = 0;
    for (name, sql, sent) in QUERIES {
        for user in ["fin", "ana"] {
            let before = database.log().len();
            let (expected, found) = (over_files.sql(&files, user, sql), over_database.sql(&remote, user, sql));
            assert_eq!(expected.code, Some(0), "{name}: {expected:?}");
            assert_eq!(found.out, expected.out, "{name} of {user}: {}", found.err);
            rows += expected.out.lines().count() - 1;
            let log = database.log();
            let asked = log.get(before..).unwrap();
            for part in sent {
                assert!(asked.lines().any(|line| line.contains("AS \"t1\"") && line.contains(part)), "{name}: {asked}");
            }
        }
    }
    assert!(rows > 100, "{rows} rows");
    let told = |server: &Server, weir: &Weir, user: &str| {
        server.sql(weir, user, "select count(*), count(distinct c_phone), count(c_acctbal) from tpch.customer").out
    };
    assert_ne!(told(&over_database, &remote, "fin"), told(&over_database, &remote, "ana"));
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
}
