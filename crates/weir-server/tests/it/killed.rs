//! A server that is killed while it delivers rows.

use std::collections::{BTreeMap, BTreeSet};

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio_postgres::NoTls;

use crate::flight_client::Flight;
use crate::weir::{Server, Weir};

/// Rows that every client has had before the server is killed; far more than one batch.
const ROWS: usize = 20_000;
/// Statements that every client with short ones has had all rows of by then.
const STATEMENTS: usize = 20;
/// Clients of each kind.
const CLIENTS: usize = 3;

/// More rows than anybody waits for, of a governed source, with a mark to know it by.
fn long(mark: &str) -> String {
    format!(
        "select '{mark}' as mark, c.ssn, c.country, g.value from retail.customer_purchases c, generate_series(1, 100000000) g"
    )
}

/// What a client had of a statement before the server was gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Had {
    SomeRows,
    All,
}

/// Tells of every statement of which a row came, and when there has been enough.
#[derive(Clone)]
struct Log {
    had: mpsc::UnboundedSender<(String, Had)>,
    enough: mpsc::Sender<()>,
}

async fn connect(server: &Server, user: &str) -> tokio_postgres::Client {
    let config = format!("host=127.0.0.1 port={} dbname=weir user={user} password=demo", server.address.port());
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Reads one statement until the server is gone.
async fn read(client: tokio_postgres::Client, mark: String, log: Log) {
    let parameters: [&str; 0] = [];
    let mut rows = std::pin::pin!(client.query_raw(&long(&mark), parameters).await.unwrap());
    let mut count = 0;
    while let Some(Ok(_)) = rows.next().await {
        count += 1;
        if count == 1 {
            log.had.send((mark.clone(), Had::SomeRows)).unwrap();
        }
        if count == ROWS {
            let _ = log.enough.send(()).await;
        }
    }
    assert!(count >= ROWS, "{count} rows");
}

/// The same by Flight SQL.
async fn read_flight(mut flight: Flight, mark: String, log: Log) {
    let (_, ticket) = flight.statement(&long(&mark)).await.unwrap();
    let messages = flight.start(ticket).await.unwrap();
    let mut batches =
        FlightRecordBatchStream::new_from_flight_data(messages.map_err(|e| FlightError::Tonic(Box::new(e))));
    let mut count = 0;
    while let Some(Ok(batch)) = batches.next().await {
        if count == 0 {
            log.had.send((mark.clone(), Had::SomeRows)).unwrap();
        }
        if count < ROWS && count + batch.num_rows() >= ROWS {
            let _ = log.enough.send(()).await;
        }
        count += batch.num_rows();
    }
    assert!(count >= ROWS, "{count} rows");
}

/// Holds a cursor of which some rows were fetched.
async fn hold(client: tokio_postgres::Client, mark: String, log: Log, mut gone: watch::Receiver<bool>) {
    client.batch_execute(&format!("begin; declare c cursor for {}", long(&mark))).await.unwrap();
    assert_eq!(client.query("fetch 10 from c", &[]).await.unwrap().len(), 10);
    log.had.send((mark, Had::SomeRows)).unwrap();
    let _ = log.enough.send(()).await;
    let _ = gone.wait_for(|gone| *gone).await;
}

/// Reads one short statement after the other until the server is gone.
async fn read_many(client: tokio_postgres::Client, mark: String, log: Log) {
    for number in 1.. {
        let mark = format!("{mark}-{number}-");
        let sql = format!("select '{mark}' as mark, id, ssn from retail.customer_purchases limit 5");
        let parameters: [&str; 0] = [];
        let Ok(rows) = client.query_raw(&sql, parameters).await else { return };
        let mut rows = std::pin::pin!(rows);
        loop {
            match rows.next().await {
                Some(Ok(_)) => log.had.send((mark.clone(), Had::SomeRows)).unwrap(),
                Some(Err(_)) => return,
                None => break,
            }
        }
        log.had.send((mark, Had::All)).unwrap();
        if number == STATEMENTS {
            let _ = log.enough.send(()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_statement_of_which_a_row_was_delivered_is_on_record_after_a_kill() {
    let weir = Weir::new();
    let server = weir.start(&["demo", "--scale", "0.001"]);
    let ((had, mut heard), (enough, mut waiting)) = (mpsc::unbounded_channel(), mpsc::channel(1));
    let (kill, killed) = watch::channel(false);
    let log = Log { had, enough };
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let mark = |kind: &str| format!("{kind}-{number}");
        clients.push(tokio::spawn(read(connect(&server, "tara").await, mark("read"), log.clone())));
        let flight = Flight::login(server.flight, "oona", "demo").await.unwrap();
        clients.push(tokio::spawn(read_flight(flight, mark("flight"), log.clone())));
        let held = hold(connect(&server, "garth").await, mark("held"), log.clone(), killed.clone());
        clients.push(tokio::spawn(held));
        clients.push(tokio::spawn(read_many(connect(&server, "tara").await, mark("short"), log.clone())));
    }
    drop(log);
    for _ in 0..clients.len() {
        waiting.recv().await.unwrap();
    }
    server.signal("KILL");
    let (code, _, _) = server.wait();
    assert_eq!(code, None, "killed by a signal");
    kill.send_replace(true);
    for client in clients {
        client.await.unwrap();
    }
    let mut delivered: BTreeMap<String, Had> = BTreeMap::new();
    while let Some((mark, had)) = heard.recv().await {
        let known = delivered.entry(mark).or_insert(had);
        *known = had.max(*known);
    }
    assert!(delivered.len() >= CLIENTS * (3 + STATEMENTS), "{delivered:?}");

    let again = weir.start(&["serve"]);
    let record = weir.ok(&["audit", "--json", "--limit", "1000000"]);
    let record: Vec<serde_json::Value> = record.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut seen = BTreeSet::new();
    for (mark, had) in &delivered {
        let quoted = format!("'{mark}'");
        let of_mark = record.iter().filter(|entry| entry["attempt"]["statement"].as_str().unwrap().contains(&quoted));
        let ended: Vec<_> = of_mark.map(|entry| entry["outcome"]["ended"].as_str().unwrap_or("open")).collect();
        match had {
            Had::All => assert!(ended.contains(&"complete"), "{mark}: {ended:?}"),
            // It may have come to its end with the last row on its way.
            Had::SomeRows if mark.starts_with("short") => {
                assert!(ended.contains(&"interrupted") || ended.contains(&"complete"), "{mark}: {ended:?}");
            }
            Had::SomeRows => assert_eq!(ended, ["interrupted"], "{mark}"),
        }
        seen.extend(ended);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["complete", "interrupted"]);
    // Whoever reads on is on record as before.
    assert_eq!(
        again.sql(&weir, "tara", "select 'afterwards' as mark, id from retail.customer_purchases limit 1").code,
        Some(0)
    );
    assert!(weir.ok(&["audit", "--text", "'afterwards'"]).contains("complete"));
}
