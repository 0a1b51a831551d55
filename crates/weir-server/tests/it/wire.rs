//! Real clients against the real program: psql and tokio-postgres on a server of the demonstration.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::weir::{Ran, Server, Weir};

fn demo() -> (Weir, Server) {
    let weir = Weir::new();
    let server = weir.start(&["demo", "--scale", "0.001"]);
    (weir, server)
}

fn psql(server: &Server, user: &str, more: &str, args: &[&str]) -> Ran {
    let conninfo =
        format!("host=127.0.0.1 port={} dbname=weir user={user} password=demo {more}", server.address.port());
    let mut command = Command::new("psql");
    command.args([&conninfo, "--no-psqlrc", "--quiet", "--no-align", "--tuples-only"]).args(args);
    Ran::of(command.env("PAGER", "").env("LC_ALL", "C.UTF-8").output().unwrap())
}

async fn connect(server: &Server, user: &str) -> Client {
    let conninfo = format!("host=127.0.0.1 port={} dbname=weir user={user} password=demo", server.address.port());
    let (client, connection) = tokio_postgres::connect(&conninfo, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn departments(client: &Client) -> Vec<String> {
    let sql = "select distinct department from retail.customer_purchases order by 1";
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// What the client hears of a statement that fails: SQLSTATE and message.
async fn refused(client: &Client, sql: &str) -> (String, String) {
    let error = client.simple_query(sql).await.unwrap_err();
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
    (error.code().code().to_owned(), error.message().to_owned())
}

#[test]
fn rows_are_copied_out_as_they_are_read() {
    let (weir, server) = demo();
    let read = |user: &str, sql: &str| psql(&server, user, "", &["-c", sql]);
    let table = "retail.customer_purchases";
    let query = format!("select id, ssn, department from {table} order by id limit 3");
    let rows = read("tara", &query).out.replace('|', ",");
    assert_eq!(rows.lines().count(), 3);
    assert_eq!(read("tara", &format!("copy ({query}) to stdout (format csv)")).out, rows);
    let listed = read("tara", &format!("copy ({query}) to stdout")).out;
    assert_eq!(listed.replace('\t', ","), rows);
    let headed = read("tara", &format!("copy {table} (id, department) to stdout (format csv, header, delimiter ';')"));
    assert_eq!(headed.out.lines().next(), Some("id;department"));
    let nulls = read("tara", "copy (select null as a, '' as b, 'c,\"d' as e) to stdout (format csv, null 'NULL')").out;
    assert_eq!(nulls, "NULL,,\"c,\"\"d\"\n");
    let psql_copy = psql(&server, "tara", "", &["-c", &format!(r"\copy ({query}) to stdout csv")]);
    assert!(psql_copy.err.contains("options of COPY are written in parentheses"), "{psql_copy:?}");
    let psql_copy = psql(&server, "tara", "", &["-c", &format!(r"\copy ({query}) to stdout (format csv)")]);
    assert_eq!(psql_copy.out, rows);
    let unseen = read("nora", &format!("copy {table} to stdout"));
    assert!(unseen.out.is_empty() && unseen.err.contains("does not exist"), "{unseen:?}");
    let audit = weir.ok(&["audit", "--json"]);
    let copied = audit.lines().find(|line| line.contains("(format csv)")).unwrap();
    assert!(copied.contains(r#""decision":"obliged""#) && copied.contains(r#""rows":3"#), "{copied}");
    let broken = read("tara", &format!("copy (select 1 / (id - id) from {table}) to stdout"));
    assert!(broken.err.contains("division by zero"), "{broken:?}");
}

#[test]
fn psql_lists_what_its_user_may_see_and_no_more() {
    let (_weir, server) = demo();
    let listed = psql(&server, "tara", "", &["-c", r"\dt *.*"]);
    assert!(listed.out.contains("retail|customer_purchases"), "{listed:?}");
    assert!(!listed.out.contains("tpch"), "{listed:?}");
    assert!(!psql(&server, "nora", "", &["-c", r"\dt *.*"]).out.contains("customer_purchases"));
    assert!(psql(&server, "ana", "", &["-c", r"\dt tpch.*"]).out.contains("lineitem"));

    let described = psql(&server, "tara", "", &["-c", r"\d retail.customer_purchases"]);
    assert_eq!(described.err, "", "{described:?}");
    for column in
        ["id", "first_name", "last_name", "age", "country", "ssn", "product_id", "department", "purchase_date"]
    {
        assert!(described.out.contains(&format!("{column}|")), "{column}: {described:?}");
    }
    let unseen = psql(&server, "nora", "", &["-c", r"\d retail.customer_purchases"]);
    assert_eq!((unseen.code, unseen.out.as_str()), (Some(1), ""), "no such relation: {unseen:?}");
    let all = psql(&server, "tara", "", &["-c", r"\d"]);
    assert_eq!(all.code, Some(0), "{all:?}");

    let columns =
        "select table_name, count(*) from information_schema.columns where table_schema = 'retail' group by 1";
    assert_eq!(psql(&server, "tara", "", &["-c", columns]).out, "customer_purchases|9\n");
    assert_eq!(psql(&server, "nora", "", &["-c", columns]).out, "");
}

#[tokio::test]
async fn missing_and_unseen_tables_are_refused_alike() {
    let (_weir, server) = demo();
    let nora = connect(&server, "nora").await;
    let (unseen, missing) = ("retail.customer_purchases", "retail.customer_purchazes");
    for form in
        ["select * from {}", "select 1 where exists (select 1 from {})", "with t as (select * from {}) select * from t"]
    {
        let (code, message) = refused(&nora, &form.replace("{}", unseen)).await;
        assert_eq!(code, "42P01");
        let other = refused(&nora, &form.replace("{}", missing)).await;
        assert_eq!(other, (code, message.replace(unseen, missing)));
    }
    let prepared = |table: &str| format!("select * from {table} where id = $1");
    let code = |error: tokio_postgres::Error| error.code().unwrap().code().to_owned();
    assert_eq!(code(nora.prepare(&prepared(unseen)).await.unwrap_err()), "42P01");
    assert_eq!(code(nora.prepare(&prepared(missing)).await.unwrap_err()), "42P01");
    // The connection goes on.
    assert_eq!(nora.query_one("select 1 + 1", &[]).await.unwrap().get::<_, i64>(0), 2);
}

#[tokio::test]
async fn a_change_holds_for_the_next_statement_of_an_open_connection() {
    let (weir, server) = demo();
    let tara = connect(&server, "tara").await;
    let prepared = tara.prepare("select count(distinct department) from retail.customer_purchases").await.unwrap();
    let count = async || tara.query_one(&prepared, &[]).await.unwrap().get::<_, i64>(0);
    assert_eq!(departments(&tara).await, ["Home Goods", "Toys"]);
    assert_eq!(count().await, 2);

    weir.ok(&["user", "group", "remove", "tara", "Toys"]);
    assert_eq!(departments(&tara).await, ["Home Goods"]);
    assert_eq!(count().await, 1, "a statement that was prepared before");

    weir.ok(&[
        "policy",
        "add",
        "--key",
        "no-rows",
        "--text",
        "Only show rows where department = 'Nowhere' for everyone on data source retail.customer_purchases",
    ]);
    assert_eq!(departments(&tara).await, [] as [&str; 0]);
    weir.ok(&["policy", "remove", "no-rows"]);
    assert_eq!(departments(&tara).await, ["Home Goods"]);

    weir.ok(&["source", "unselect", "retail.customer_purchases", "tara"]);
    assert_eq!(refused(&tara, "select 1 from retail.customer_purchases").await.0, "42P01");
    weir.ok(&["user", "remove", "tara"]);
    assert_eq!(refused(&tara, "select 1").await.0, "42501");
}

/// A read of a governed source that never comes to its end.
const LONG: &str = "select c.ssn, g.value from retail.customer_purchases c, generate_series(1, 100000000) g";

#[tokio::test]
async fn a_change_ends_a_statement_that_runs() {
    let (weir, server) = demo();
    let tara = connect(&server, "tara").await;
    let parameters: [&str; 0] = [];
    let mut rows = std::pin::pin!(tara.query_raw(LONG, parameters).await.unwrap());
    assert!(rows.next().await.unwrap().is_ok());
    weir.ok(&["user", "group", "remove", "tara", "Toys"]);
    let error = loop {
        match rows.next().await.expect("the statement is complete") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    let error = error.as_db_error().unwrap();
    let told = (error.code().code(), error.message());
    assert_eq!(told, ("42501", "access to what this statement reads was changed while it ran"));
    let audit = weir.ok(&["audit", "--user", "tara"]);
    assert!(audit.contains("revoked"), "{audit}");
    assert_eq!(departments(&tara).await, ["Home Goods"], "the connection goes on");
}

#[tokio::test]
async fn a_change_ends_open_cursors_and_portals_that_nobody_reads() {
    let (weir, server) = demo();
    let mut tara = connect(&server, "tara").await;
    let transaction = tara.transaction().await.unwrap();
    transaction.batch_execute(&format!("declare c cursor for {LONG}")).await.unwrap();
    assert_eq!(transaction.query("fetch 10 from c", &[]).await.unwrap().len(), 10);
    let portal = transaction.bind(LONG, &[]).await.unwrap();
    assert_eq!(transaction.query_portal(&portal, 10).await.unwrap().len(), 10);
    weir.ok(&["user", "group", "remove", "tara", "Toys"]);
    // Both are ended without anybody asking for more of them.
    while weir.ok(&["audit", "--user", "tara", "--json"]).matches("\"revoked\"").count() < 2 {
        tokio::task::yield_now().await;
    }
    let error = transaction.query("fetch 10 from c", &[]).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501");
    transaction.rollback().await.unwrap();
    assert_eq!(departments(&tara).await, ["Home Goods"]);
}

#[tokio::test]
async fn a_prepared_statement_is_described_with_the_types_that_it_gives() {
    let (_weir, server) = demo();
    let tara = connect(&server, "tara").await;
    let sql = "select case when id > $1 then cast(age as int) else 1 end as c from retail.customer_purchases limit 1";
    let rows = tara.query(sql, &[&0_i64]).await.unwrap();
    assert_eq!(rows[0].columns()[0].type_(), &tokio_postgres::types::Type::INT8);
    let both = "select cast(1 as int) as c union all select cast(2 as bigint) order by 1";
    let values: Vec<i64> = tara.query(both, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(values, [1, 2]);
}

#[tokio::test]
async fn a_plan_is_told_without_what_is_not_seen() {
    let (_weir, server) = demo();
    let sql = "explain select department, count(*) from retail.customer_purchases where id > 10 group by 1";
    let plan = psql(&server, "tara", "", &["-c", sql]);
    assert!(plan.out.contains("GovernedScan: retail.customer_purchases"), "{plan:?}");
    for hidden in ["Toys", "parquet", "hash"] {
        assert!(!plan.out.contains(hidden), "{plan:?}");
    }
    let tara = connect(&server, "tara").await;
    let rows = tara.query(sql, &[]).await.unwrap();
    assert_eq!(rows[0].columns()[0].name(), "QUERY PLAN");
    assert_eq!(refused(&tara, "explain analyze select 1").await.0, "0A000");
    assert_eq!(refused(&tara, "explain select * from tpch.nation").await.0, "42P01");
}

#[tokio::test]
async fn without_a_record_there_is_no_read() {
    let (weir, server) = demo();
    let oona = connect(&server, "oona").await;
    assert_eq!(departments(&oona).await.len(), 8);
    let (log, aside) = (weir.path().join("data/audit.db"), weir.path().join("data/aside"));
    std::fs::rename(&log, &aside).unwrap();
    std::fs::create_dir(&log).unwrap();
    let (code, message) = refused(&oona, "select count(*) from retail.customer_purchases").await;
    assert_eq!(code, "57P03", "{message}");
    std::fs::remove_dir(&log).unwrap();
    std::fs::rename(&aside, &log).unwrap();
    assert_eq!(departments(&oona).await.len(), 8, "reads go on with the log");
}

#[tokio::test]
async fn results_stream_with_bounded_memory() {
    const ROWS: u64 = 3_000_000;
    let (_weir, server) = demo();
    let client = connect(&server, "oona").await;
    let before = server.peak_memory();
    let sql = format!("select value, value * 2, 'some text to fill the row' from generate_series(1, {ROWS})");

    let parameters: [&str; 0] = [];
    let rows = client.query_raw(&sql, parameters).await.unwrap();
    let count = rows.try_fold(0_u64, async |count, _| Ok(count + 1)).await.unwrap();
    assert_eq!(count, ROWS);

    client.batch_execute(&format!("begin; declare c cursor for {sql}")).await.unwrap();
    let mut fetched = 0;
    for _ in 0..20 {
        fetched += client.query("fetch 1000 from c", &[]).await.unwrap().len();
    }
    assert_eq!(fetched, 20_000);
    client.batch_execute("close c; commit").await.unwrap();

    let mut client = client;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind(&sql, &[]).await.unwrap();
    for _ in 0..20 {
        assert_eq!(transaction.query_portal(&portal, 500).await.unwrap().len(), 500);
    }
    transaction.rollback().await.unwrap();
    let grown = server.peak_memory().saturating_sub(before);
    assert!(grown < 256 << 20, "the server grew by {} MiB for a result of {} MiB", grown >> 20, (ROWS * 45) >> 20);
}

#[tokio::test]
async fn a_cancelled_statement_ends_and_is_on_record() {
    let (weir, server) = demo();
    let client = connect(&server, "oona").await;
    let cancel = client.cancel_token();
    let endless = "select count(*) from generate_series(1, 1000000) a, generate_series(1, 1000000) b";
    let running = client.simple_query(endless);
    let cancelling = async {
        while !weir.ok(&["audit", "--user", "oona"]).contains("generate_series") {
            tokio::task::yield_now().await;
        }
        // A request that comes before the statement has begun ends nothing: ask until the statement is gone.
        loop {
            cancel.cancel_query(NoTls).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let error = tokio::select! {
        ended = running => ended.unwrap_err(),
        () = cancelling => unreachable!(),
    };
    assert_eq!(error.code().unwrap().code(), "57014");
    let messages = client.simple_query("select 1").await.unwrap();
    assert!(messages.iter().any(|m| matches!(m, SimpleQueryMessage::Row(row) if row.get(0) == Some("1"))));
    let audit = weir.ok(&["audit", "--user", "oona"]);
    assert!(audit.contains("cancelled") || audit.contains("abandoned"), "{audit}");
}

#[tokio::test]
async fn a_source_that_is_cut_off_is_an_error_without_a_path() {
    let (weir, server) = demo();
    let oona = connect(&server, "oona").await;
    assert_eq!(departments(&oona).await.len(), 8);
    let file = only_file(&weir.path().join("data/data/retail"));
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let (code, message) = refused(&oona, "select count(*) from retail.customer_purchases").await;
    assert!(code.starts_with("22") || code.starts_with("58") || code == "XX001", "{code} {message}");
    assert!(message.contains("retail.customer_purchases") && !message.contains("parquet"), "{message}");
    assert!(weir.ok(&["audit", "--user", "oona", "--json"]).contains(".parquet"), "the auditor gets the truth");
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(departments(&oona).await.len(), 8);
}

fn only_file(folder: &Path) -> std::path::PathBuf {
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        if path.is_file() && path.extension().is_some_and(|e| e == "parquet") {
            return path;
        }
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    panic!("no file below {}", folder.display());
}

#[tokio::test]
async fn huge_and_deep_statements_are_refused_and_the_server_stays_up() {
    let (_weir, server) = demo();
    let client = connect(&server, "oona").await;
    let deep = format!("select {}1{}", "(".repeat(20_000), ")".repeat(20_000));
    assert_eq!(refused(&client, &deep).await.0, "42601");
    let chained = format!("select 1{}", " + 1".repeat(100_000));
    assert_eq!(refused(&client, &chained).await.0, "53400");
    let long = format!("select '{}'", "x".repeat(6 << 20));
    let _ = client.simple_query(&long).await.unwrap_err();
    let client = connect(&server, "oona").await;
    assert_eq!(departments(&client).await.len(), 8);
}

#[test]
fn tls_is_there_when_certificates_are() {
    let weir = Weir::new();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(weir.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let ready = weir.run(&["demo", "--scale", "0.001", "--no-serve"]);
    assert_eq!(ready.code, Some(0), "{ready:?}");
    let server = weir.start(&["serve", "--tls-cert", "cert.pem", "--tls-key", "key.pem"]);
    let verified = format!("sslmode=verify-full sslrootcert={}", weir.path().join("cert.pem").display());
    let read =
        psql(&server, "oona", &verified, &["-c", "select count(distinct department) from retail.customer_purchases"]);
    assert_eq!(read.out, "8\n", "{read:?}");
}

#[tokio::test]
async fn many_statements_are_each_decided_on_their_own() {
    let (_weir, server) = demo();
    let tara = connect(&server, "tara").await;
    let mut messages = Vec::new();
    let stream = tara.simple_query_raw("select 1; select 2 from tpch.nation; select 3").await.unwrap();
    let mut stream = std::pin::pin!(stream);
    while let Some(message) = stream.next().await {
        messages.push(
            message.map(|m| matches!(m, SimpleQueryMessage::Row(_))).map_err(|e| e.code().unwrap().code().to_owned()),
        );
    }
    assert!(messages.contains(&Err("42P01".to_owned())), "{messages:?}");
    assert_eq!(
        messages.iter().filter(|m| **m == Ok(true)).count(),
        1,
        "the first answer, nothing after the refusal: {messages:?}"
    );
}
