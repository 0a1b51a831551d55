//! Arrow Flight SQL against the real program: who sees what, tickets, revocation, what is on record.

use std::sync::Arc;

use arrow::array::{AsArray as _, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Schema};
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo,
    CommandGetTableTypes, CommandGetTables, CommandGetXdbcTypeInfo, CommandPreparedStatementQuery,
    CommandStatementIngest, CommandStatementSubstraitPlan, CommandStatementUpdate, ProstMessageExt as _, SqlInfo,
};
use arrow_flight::{Criteria, Empty, FlightData, FlightDescriptor, IpcMessage, Ticket};
use futures::{StreamExt as _, stream};
use prost::Message as _;
use tonic::{Code, Status, Streaming};

use crate::flight_client::{Flight, rows};
use crate::weir::{Server, Weir};

const DEPARTMENTS: &str = "select distinct department from retail.customer_purchases order by 1";
const SSN: &str = "select ssn from retail.customer_purchases order by id limit 20";

fn demo() -> (Weir, Server) {
    let weir = Weir::new();
    let server = weir.start(&["demo", "--scale", "0.001"]);
    (weir, server)
}

async fn login(server: &Server, user: &str) -> Flight {
    Flight::login(server.flight, user, "demo").await.unwrap()
}

async fn departments(flight: &mut Flight) -> Vec<String> {
    rows(&flight.query(DEPARTMENTS).await.unwrap())
}

/// Code and message, without the number of the request.
fn said(status: &Status) -> (Code, String) {
    let text = status.message().split_once(" (request ").map_or(status.message(), |(text, _)| text);
    (status.code(), text.to_owned())
}

#[track_caller]
fn refused<T>(result: Result<T, Status>, code: Code, text: &str) {
    let (told_code, told) = said(&result.err().expect("a refusal"));
    assert!(told_code == code && told.contains(text), "{told_code:?}: {told}");
}

/// How a stream ends that does not reach its last row.
async fn ended(messages: &mut Streaming<FlightData>) -> Status {
    loop {
        if let Err(status) = messages.next().await.expect("an error before the end") {
            return status;
        }
    }
}

/// What is on record, newest last.
fn audit(weir: &Weir, args: &[&str]) -> Vec<serde_json::Value> {
    let said = weir.ok(&[&["audit", "--json", "--door", "flight-sql"], args].concat());
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn people_see_what_the_policies_say() {
    let (weir, server) = demo();
    let (mut tara, mut oona, mut nora) =
        (login(&server, "tara").await, login(&server, "oona").await, login(&server, "nora").await);
    assert_eq!(departments(&mut tara).await, ["Home Goods", "Toys"]);
    assert_eq!(departments(&mut oona).await.len(), 8);
    refused(nora.query(DEPARTMENTS).await, Code::NotFound, "table `retail.customer_purchases` does not exist");
    refused(nora.query("select * from retail.no_such_table").await, Code::NotFound, "does not exist");
    assert!(rows(&tara.query(SSN).await.unwrap()).iter().all(|ssn| ssn.len() == 64));
    assert!(rows(&oona.query(SSN).await.unwrap()).iter().all(|ssn| ssn.len() == 11));

    let record = audit(&weir, &["--user", "tara"]);
    let of = |sql: &str| record.iter().find(|entry| entry["attempt"]["statement"] == sql).unwrap();
    assert_eq!(of(DEPARTMENTS)["attempt"]["door"], "flight-sql");
    assert_eq!(of(DEPARTMENTS)["attempt"]["sources"][0]["decision"], "obliged");
    assert_eq!(of(DEPARTMENTS)["outcome"]["rows"], 2);
    assert_eq!(of(DEPARTMENTS)["outcome"]["ended"], "complete");
    // Once each: what only describes is not on record.
    assert_eq!(record.len(), 2);
    let refusals = audit(&weir, &["--user", "nora", "--refused"]);
    assert_eq!(refusals[0]["attempt"]["refusal"]["truth"], "unseen");
    assert_eq!(refusals[1]["attempt"]["refusal"]["truth"], "missing");
}

#[tokio::test]
async fn a_change_holds_at_the_next_read_and_ends_prepared_ones() {
    let (weir, server) = demo();
    let mut tara = login(&server, "tara").await;
    let prepared = tara.prepare(DEPARTMENTS).await.unwrap();
    let (_, before) = tara.statement(DEPARTMENTS).await.unwrap();
    let (_, clear) = tara.statement("select 1").await.unwrap();
    weir.ok(&["user", "group", "remove", "tara", "Toys"]);
    // The ticket was issued under another decision; one that rests on nothing still holds.
    refused(tara.get(before.clone()).await, Code::PermissionDenied, "was changed since it was let through");
    refused(tara.get(before).await, Code::FailedPrecondition, "used before");
    assert_eq!(rows(&tara.get(clear).await.unwrap().batches[0]), ["1"]);
    assert_eq!(departments(&mut tara).await, ["Home Goods"]);
    let run = CommandPreparedStatementQuery { prepared_statement_handle: prepared.prepared_statement_handle };
    assert_eq!(rows(&tara.ask(&run).await.unwrap()), ["Home Goods"]);
    let revoked = audit(&weir, &["--user", "tara", "--refused"]);
    assert_eq!(revoked[0]["attempt"]["refusal"]["truth"], "revoked");
    assert_eq!(revoked[0]["attempt"]["sources"][0]["source"], "retail.customer_purchases");
}

#[tokio::test]
async fn a_running_read_ends_when_it_is_revoked() {
    let (weir, server) = demo();
    let mut tara = login(&server, "tara").await;
    // More than what fits on the way.
    let sql = "select a.* from retail.customer_purchases a, retail.customer_purchases b";
    let (_, of) = tara.statement(sql).await.unwrap();
    let mut messages = tara.start(of).await.unwrap();
    messages.next().await.unwrap().unwrap();
    messages.next().await.unwrap().unwrap();
    weir.ok(&["user", "group", "remove", "tara", "Toys"]);
    let ended = ended(&mut messages).await;
    assert_eq!(said(&ended).0, Code::Aborted);
    assert!(ended.message().contains("was changed while it ran"), "{ended:?}");
    assert_eq!(audit(&weir, &["--user", "tara"])[0]["outcome"]["ended"], "revoked");
}

/// Also one whose client takes nothing: it is on record as revoked before the client asks for more.
#[tokio::test]
async fn a_read_that_nobody_takes_ends_when_it_is_revoked() {
    let (weir, server) = demo();
    let mut tara = login(&server, "tara").await;
    let (_, of) =
        tara.statement("select a.* from retail.customer_purchases a, retail.customer_purchases b").await.unwrap();
    let mut messages = tara.start(of).await.unwrap();
    messages.next().await.unwrap().unwrap();
    weir.ok(&["user", "group", "remove", "tara", "Toys"]);
    while audit(&weir, &["--user", "tara"])[0]["outcome"]["ended"] != "revoked" {
        tokio::task::yield_now().await;
    }
    let last = ended(&mut messages).await;
    assert_eq!(last.code(), Code::Aborted);
}

#[tokio::test]
async fn a_ticket_is_for_one_session_and_one_time() {
    let (weir, server) = demo();
    let (mut tara, mut oona) = (login(&server, "tara").await, login(&server, "oona").await);
    let mut tara_too = login(&server, "tara").await;
    let (_, of) = oona.statement(SSN).await.unwrap();
    assert!(of.ticket.len() < 256, "a ticket holds numbers");
    for other in [&mut tara, &mut tara_too] {
        refused(other.get(of.clone()).await, Code::PermissionDenied, "of another session");
    }
    // Nobody else has used it up.
    assert_eq!(oona.get(of.clone()).await.unwrap().batches[0].num_rows(), 20);
    refused(oona.get(of.clone()).await, Code::FailedPrecondition, "used before");

    let (_, of) = oona.statement(SSN).await.unwrap();
    let handle = of.ticket.len() - 104;
    for at in (handle..of.ticket.len()).step_by(7) {
        let mut altered = of.ticket.to_vec();
        altered[at] ^= 1;
        refused(oona.get(Ticket::new(altered)).await, Code::InvalidArgument, "was altered");
    }
    for garbage in [&b""[..], b"x", b"\x0a\xff\xff\xff\xff\x0f", &of.ticket[..of.ticket.len() - 1]] {
        let status = oona.get(Ticket::new(garbage.to_vec())).await.unwrap_err();
        assert!([Code::InvalidArgument, Code::Unimplemented].contains(&status.code()), "{status:?}");
    }
    // A ticket of another server, and one of a session that is over.
    let (_weir, elsewhere) = demo();
    let mut there = login(&elsewhere, "oona").await;
    refused(there.get(of.clone()).await, Code::InvalidArgument, "not one of this server");
    let mut again = login(&server, "oona").await;
    oona.action("CloseSession", Vec::new()).await.unwrap();
    refused(oona.get(of.clone()).await, Code::Unauthenticated, "log in again");
    refused(again.get(of).await, Code::PermissionDenied, "of another session");
    let taken = audit(&weir, &["--user", "tara", "--refused"]);
    assert_eq!(taken[0]["attempt"]["statement"], "DoGet of a ticket");
}

#[tokio::test]
async fn a_token_is_asked_for_at_every_call_and_ends_with_the_password() {
    let (weir, server) = demo();
    let mut nobody = Flight::connect(server.flight).await;
    let sql = CommandGetCatalogs {};
    refused(nobody.info(&sql).await, Code::Unauthenticated, "a bearer token is needed");
    refused(nobody.get(Ticket::new(sql.as_any().encode_to_vec())).await, Code::Unauthenticated, "bearer token");
    refused(nobody.action("CloseSession", Vec::new()).await, Code::Unauthenticated, "bearer token");
    let request = nobody.request(Empty {});
    refused(nobody.service.list_actions(request).await, Code::Unauthenticated, "bearer token");
    let request = nobody.request(Criteria::default());
    refused(nobody.service.list_flights(request).await, Code::Unauthenticated, "bearer token");
    let request = nobody.request(FlightDescriptor::new_cmd(sql.as_any().encode_to_vec()));
    refused(nobody.service.get_schema(request).await, Code::Unauthenticated, "bearer token");
    let request = nobody.request(FlightDescriptor::new_cmd(sql.as_any().encode_to_vec()));
    refused(nobody.service.poll_flight_info(request).await, Code::Unauthenticated, "bearer token");
    let request = nobody.request(stream::iter([]));
    refused(nobody.service.do_put(request).await, Code::Unauthenticated, "bearer token");
    let request = nobody.request(stream::iter([]));
    refused(nobody.service.do_exchange(request).await, Code::Unauthenticated, "bearer token");
    nobody.headers.push(("authorization", "Bearer x".to_owned()));
    refused(nobody.info(&sql).await, Code::Unauthenticated, "log in again");

    let mut answers = Vec::new();
    for (user, password) in [("tara", "wrong"), ("nobody", "demo"), ("ldap:tara", "demo"), ("", "")] {
        answers.push(said(&Flight::login(server.flight, user, password).await.err().unwrap()));
    }
    answers.dedup();
    assert_eq!(answers, [(Code::Unauthenticated, "password authentication failed".to_owned())]);
    // A connection that guesses is not listened to for long, not even when it guesses right.
    let mut guesser = Flight::connect(server.flight).await;
    for _ in 0..5 {
        refused(guesser.handshake("tara", "wrong").await, Code::Unauthenticated, "authentication failed");
    }
    refused(guesser.handshake("tara", "demo").await, Code::Unauthenticated, "too many wrong passwords");

    let (mut tara, mut oona) = (login(&server, "tara").await, login(&server, "oona").await);
    let (_, of) = tara.statement(SSN).await.unwrap();
    weir.file("new", "other");
    weir.ok(&["user", "password", "tara", "--password-file", "new"]);
    refused(tara.get(of).await, Code::Unauthenticated, "log in again");
    refused(Flight::login(server.flight, "tara", "demo").await, Code::Unauthenticated, "authentication failed");
    let mut tara = Flight::login(server.flight, "tara", "other").await.unwrap();
    assert_eq!(departments(&mut tara).await.len(), 2);
    assert_eq!(departments(&mut oona).await.len(), 8);
    weir.ok(&["user", "remove", "oona"]);
    refused(oona.query("select 1").await, Code::Unauthenticated, "log in again");
}

#[tokio::test]
async fn prepared_statements_take_parameters() {
    let (_weir, server) = demo();
    let (mut tara, mut oona) = (login(&server, "tara").await, login(&server, "oona").await);
    for of in [
        "select count(*) from retail.customer_purchases where department = ? and id<?",
        "select count(*) from retail.customer_purchases where department = $1 and id < $2",
    ] {
        let mut counts = Vec::new();
        for flight in [&mut tara, &mut oona] {
            let prepared = flight.prepare(of).await.unwrap();
            let parameters = Schema::try_from(IpcMessage(prepared.parameter_schema)).unwrap();
            let types: Vec<&DataType> = parameters.fields().iter().map(|field| field.data_type()).collect();
            assert_eq!(types, [&DataType::Utf8, &DataType::Int64]);
            let handle = prepared.prepared_statement_handle;
            let run = CommandPreparedStatementQuery { prepared_statement_handle: handle.clone() };
            refused(flight.info(&run).await, Code::InvalidArgument, "has 2 parameters, but 0 values were given");
            for (department, id) in [("Garden", 100_000), ("Toys", 1_000)] {
                flight.bind(&handle, values(&[department], &[id])).await.unwrap();
                counts.push(rows(&flight.ask(&run).await.unwrap())[0].parse::<u32>().unwrap());
            }
            let two = values(&["Garden", "Toys"], &[1, 2]);
            refused(flight.bind(&handle, two).await, Code::Unimplemented, "more than one row of parameters");
            let one = values(&["Garden"], &[1]).project(&[0]).unwrap();
            refused(flight.bind(&handle, one).await, Code::InvalidArgument, "2 parameters, but 1 values");
        }
        assert!(counts[0] == 0 && counts[1] > 0 && counts[2] > 0 && counts[1] == counts[3], "{counts:?}");
    }
    refused(tara.query("select ? + 1").await, Code::InvalidArgument, "has to be prepared");
    refused(oona.prepare("select '").await, Code::InvalidArgument, "syntax error");
    let handle = tara.prepare(DEPARTMENTS).await.unwrap().prepared_statement_handle;
    let of_tara = CommandPreparedStatementQuery { prepared_statement_handle: handle };
    refused(oona.info(&of_tara).await, Code::NotFound, "no such prepared statement in this session");
}

fn values(departments: &[&str], ids: &[i64]) -> RecordBatch {
    RecordBatch::try_from_iter([
        ("a", Arc::new(StringArray::from(departments.to_vec())) as _),
        ("b", Arc::new(Int64Array::from(ids.to_vec())) as _),
    ])
    .unwrap()
}

#[tokio::test]
async fn metadata_is_what_the_caller_may_see() {
    let (weir, server) = demo();
    let (mut tara, mut nora) = (login(&server, "tara").await, login(&server, "nora").await);
    let all = || CommandGetTables { include_schema: true, ..CommandGetTables::default() };
    let tables = tara.ask(&all()).await.unwrap();
    assert_eq!(rows(&tables.project(&[0, 1, 2, 3]).unwrap()), ["weir | retail | customer_purchases | TABLE"]);
    let schema = tables.column(4).as_binary::<i32>().value(0).to_vec();
    let schema = Schema::try_from(IpcMessage(schema.into())).unwrap();
    assert_eq!(schema.field_with_name("ssn").unwrap().data_type(), &DataType::Utf8);
    assert_eq!(nora.ask(&all()).await.unwrap().num_rows(), 0);
    // A name that is not to be seen and one that is not there.
    for table in ["lineitem", "no_such_table"] {
        let named = CommandGetTables { table_name_filter_pattern: Some(table.to_owned()), ..all() };
        assert_eq!(tara.ask(&named).await.unwrap().num_rows(), 0);
    }
    assert_eq!(rows(&tara.ask(&CommandGetDbSchemas::default()).await.unwrap()), ["weir | retail"]);
    assert_eq!(nora.ask(&CommandGetDbSchemas::default()).await.unwrap().num_rows(), 0);
    assert_eq!(rows(&nora.ask(&CommandGetCatalogs {}).await.unwrap()), ["weir"]);
    assert_eq!(rows(&nora.ask(&CommandGetTableTypes {}).await.unwrap()), ["TABLE", "VIEW"]);
    let info = CommandGetSqlInfo { info: vec![SqlInfo::FlightSqlServerName as u32] };
    assert_eq!(rows(&tara.ask(&info).await.unwrap()), ["0 | {string_value=Weir}"]);
    assert!(tara.ask(&CommandGetXdbcTypeInfo { data_type: None }).await.unwrap().num_rows() > 5);
    let table = || "customer_purchases".to_owned();
    let primary = CommandGetPrimaryKeys { table: table(), ..CommandGetPrimaryKeys::default() };
    assert_eq!(tara.ask(&primary).await.unwrap().num_rows(), 0);
    let exported = CommandGetExportedKeys { table: table(), ..CommandGetExportedKeys::default() };
    assert_eq!(tara.ask(&exported).await.unwrap().num_rows(), 0);
    // A change holds for metadata too, and looking is on record.
    let limit = "Limit usage to purpose Research for everyone on data source retail.customer_purchases";
    weir.ok(&["policy", "add", "--text", limit]);
    assert_eq!(tara.ask(&all()).await.unwrap().num_rows(), 0);
    assert_eq!(audit(&weir, &["--user", "nora"])[0]["attempt"]["statement"], "CommandGetTables");
}

#[tokio::test]
async fn what_is_not_done_is_refused_by_name() {
    let (weir, server) = demo();
    let mut oona = login(&server, "oona").await;
    for (sql, text) in [
        ("drop table retail.customer_purchases", "DROP TABLE is not supported"),
        ("insert into retail.customer_purchases values (1)", "INSERT is not supported"),
        ("set role oona", "keeps its identity"),
        ("begin", "BEGIN is not supported by Flight SQL"),
        ("select set_config('weir.project', 'study', false)", "set_config is not supported by Flight SQL"),
        ("copy retail.customer_purchases to stdout", "COPY is not supported by Flight SQL"),
        ("create table a.b as select 1 as one", "CREATE TABLE is not supported by Flight SQL"),
    ] {
        refused(oona.query(sql).await, Code::Unimplemented, text);
        refused(oona.prepare(sql).await.map(drop), Code::Unimplemented, text);
    }
    refused(oona.query("").await, Code::InvalidArgument, "there is no statement");
    refused(oona.query("select 1; select 2").await, Code::InvalidArgument, "one statement at a time");
    let update = |query: &str| CommandStatementUpdate { query: query.to_owned(), transaction_id: None };
    let nothing = || values(&[], &[]);
    refused(oona.put(&update("delete from a.b"), nothing()).await, Code::Unimplemented, "DELETE is not supported");
    refused(oona.put(&update("select 1"), nothing()).await, Code::Unimplemented, "SELECT is not an update");
    let ingest = CommandStatementIngest { table: "t".to_owned(), ..CommandStatementIngest::default() };
    refused(oona.put(&ingest, nothing()).await, Code::Unimplemented, "ingest is not supported");
    refused(oona.info(&CommandStatementSubstraitPlan::default()).await, Code::Unimplemented, "SubstraitPlan");
    for action in ["BeginTransaction", "CancelQuery", "no such action"] {
        refused(oona.action(action, Vec::new()).await, Code::Unimplemented, action);
    }
    let request = oona.request(Criteria::default());
    refused(oona.service.list_flights(request).await, Code::Unimplemented, "ListFlights");
    let request = oona.request(stream::iter([]));
    refused(oona.service.do_exchange(request).await, Code::Unimplemented, "DoExchange");
    let request = oona.request(FlightDescriptor::default());
    refused(oona.service.poll_flight_info(request).await, Code::Unimplemented, "PollFlightInfo");
    for garbage in [&b"\xff\xff"[..], b"\x0a\x03abc"] {
        let request = oona.request(FlightDescriptor::new_cmd(garbage.to_vec()));
        assert!(oona.service.get_flight_info(request).await.is_err());
    }
    let long = format!("select '{}'", "x".repeat(3 << 19));
    refused(oona.query(&long).await, Code::ResourceExhausted, "longer than");
    let huge = format!("select '{}'", "x".repeat(8 << 20));
    assert!(oona.query(&huge).await.is_err());
    assert_eq!(departments(&mut oona).await.len(), 8);
    let refusals = audit(&weir, &["--user", "oona", "--refused"]);
    assert_eq!(refusals[0]["attempt"]["statement"], "drop table retail.customer_purchases");
    assert!(refusals.iter().any(|entry| entry["attempt"]["statement"] == "delete from a.b"));
}

#[tokio::test]
async fn a_session_has_options_and_acts_as_others_where_that_is_granted() {
    let (weir, server) = demo();
    let mut nora = login(&server, "nora").await;
    assert_eq!(nora.set_options(&[("application_name", "report"), ("catalog", "weir")]).await.unwrap(), []);
    let unset = nora.set_options(&[("role", "oona"), ("catalog", "other"), ("weir.off", "1")]).await.unwrap();
    assert_eq!(unset, [("catalog".to_owned(), 2), ("role".to_owned(), 1), ("weir.off".to_owned(), 1)]);
    let missing = "permission to impersonate this user is missing";
    for user in ["oona", "nobody"] {
        refused(nora.set_options(&[("weir.impersonate_user", user)]).await, Code::PermissionDenied, missing);
    }
    refused(nora.set_options(&[("weir.project", "nothing")]).await, Code::PermissionDenied, "no project `nothing`");

    // Nothing is set in part, and what is not understood is no less than refused.
    let unset = nora.set_options(&[("weir.project", "nothing"), ("weir.impersonate_user", "a\u{1}")]).await.unwrap();
    assert_eq!(unset, [("weir.impersonate_user".to_owned(), 2), ("weir.project".to_owned(), 3)]);
    for value in ["t\u{e4}ra", "(nobody):"] {
        let mut asking = login(&server, "nora").await;
        asking.headers.push(("weir.impersonate_user", value.to_owned()));
        refused(asking.query("select 1").await, Code::InvalidArgument, "invalid value for header");
    }

    weir.ok(&["impersonation", "allow", "nora", "--user", "tara"]);
    let (_, of) = nora.statement("select 1").await.unwrap();
    assert_eq!(nora.set_options(&[("weir.impersonate_user", "tara")]).await.unwrap(), []);
    refused(nora.get(of).await, Code::PermissionDenied, "was changed since it was let through");
    assert_eq!(departments(&mut nora).await, ["Home Goods", "Toys"]);
    for user in ["", "nora", "oona"] {
        let locked = "the session acts as `tara` to its end";
        refused(nora.set_options(&[("weir.impersonate_user", user)]).await, Code::FailedPrecondition, locked);
    }
    let last = audit(&weir, &["--user", "tara"]).pop().unwrap();
    assert_eq!(last["attempt"]["actor"]["authenticated"], "nora");
    assert_eq!(last["attempt"]["client_hint"], "report");

    // Another session of hers is herself, and headers do what options do.
    let mut herself = login(&server, "nora").await;
    refused(herself.query(DEPARTMENTS).await, Code::NotFound, "does not exist");
    herself.headers.push(("weir.impersonate_user", "tara".to_owned()));
    assert_eq!(departments(&mut herself).await, ["Home Goods", "Toys"]);
    weir.ok(&["impersonation", "deny", "nora", "--user", "tara"]);
    refused(herself.query(DEPARTMENTS).await, Code::PermissionDenied, missing);
    refused(nora.query("select 1").await, Code::PermissionDenied, missing);
}

/// A few rows of a table with long texts do not take all of it along, and many come in messages of moderate size.
#[tokio::test]
async fn messages_hold_their_rows_and_no_more() {
    let weir = Weir::new();
    weir.ok(&["demo", "--scale", "0.05", "--no-serve"]);
    let server = weir.start(&["demo"]);
    let mut fin = login(&server, "ana").await;
    let size = |messages: &[FlightData]| messages.iter().map(|m| m.data_body.len()).max().unwrap();
    let (schema, of) =
        fin.statement("select l_comment from tpch.lineitem where l_linenumber = 7 limit 20").await.unwrap();
    assert_eq!(schema.field(0).data_type(), &DataType::Utf8);
    let few = fin.get(of).await.unwrap();
    assert!(size(&few.messages) < 10_000, "{} bytes for 20 rows", size(&few.messages));
    let (_, of) = fin.statement("select repeat(l_comment, 40) from tpch.lineitem limit 50000").await.unwrap();
    let many = fin.get(of).await.unwrap();
    assert!(size(&many.messages) < 4 << 20, "{} bytes in a message", size(&many.messages));
    assert_eq!(many.batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 50_000);
}

/// Also when the client takes its time.
#[tokio::test]
async fn results_stream_with_bounded_memory() {
    const ROWS: usize = 10_000_000;
    let (_weir, server) = demo();
    let mut oona = login(&server, "oona").await;
    let before = server.peak_memory();
    let sql = format!("select value, value * 2, 'some text to fill the row' from generate_series(1, {ROWS})");
    let (_, of) = oona.statement(&sql).await.unwrap();
    let mut slow = oona.start(of).await.unwrap();
    slow.next().await.unwrap().unwrap();
    let (_, of) = oona.statement(&sql).await.unwrap();
    let mut messages = oona.start(of).await.unwrap();
    let mut bytes = 0;
    while let Some(message) = messages.next().await {
        bytes += message.unwrap().data_body.len();
    }
    assert!(bytes > ROWS * 40, "{bytes} bytes");
    let grown = server.peak_memory().saturating_sub(before);
    assert!(grown < 256 << 20, "the server grew by {} MiB for a result of {} MiB", grown >> 20, bytes >> 20);
}

#[tokio::test]
async fn a_server_that_stops_ends_what_runs_and_records_it() {
    let (weir, server) = demo();
    let mut oona = login(&server, "oona").await;
    let (_, of) =
        oona.statement("select a.* from retail.customer_purchases a, retail.customer_purchases b").await.unwrap();
    let mut messages = oona.start(of).await.unwrap();
    messages.next().await.unwrap().unwrap();
    server.signal("TERM");
    let last = ended(&mut messages).await;
    assert!(last.message().contains("the server stops"), "{last:?}");
    assert_eq!(server.wait().0, Some(0));
    assert_eq!(audit(&weir, &["--user", "oona"])[0]["outcome"]["ended"], "cancelled");
}
