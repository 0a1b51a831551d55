//! Reads of no table: how results, parameters, cursors and cancels go over the wire.

use futures::{StreamExt, TryStreamExt, pin_mut};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use weir_guard::Ended;

use crate::world::{World, told};

const DIGITS: &str = "(VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9))";

/// A query of ten to the power of `power` rows.
fn many(power: usize) -> String {
    let tables: Vec<_> = (0..power).map(|i| format!("{DIGITS} AS t{i}(x)")).collect();
    format!("SELECT t0.x FROM {}", tables.join(" CROSS JOIN "))
}

/// The rows of a simple query, as texts.
async fn rows(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.unwrap();
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    rows.collect()
}

#[tokio::test]
async fn statements_of_a_query_run_in_order_until_one_fails() {
    let world = World::new().await;
    let client = world.tara().await;
    assert_eq!(rows(&client, "SELECT 1; SELECT 'two'").await, ["1", "two"]);
    let error = client.simple_query("SELECT 1; SELECT 1 / 0; SELECT 2").await.unwrap_err();
    assert_eq!(told(&error).0, "22012");
    let statements: Vec<_> = world.ports.attempts.lock().unwrap().iter().map(|a| a.statement.clone()).collect();
    assert_eq!(statements, ["SELECT 1", "SELECT 'two'", "SELECT 1", "SELECT 1 / 0"]);
    assert_eq!(rows(&client, "SELECT 3").await, ["3"]);
}

#[tokio::test]
async fn parameters_and_results_go_in_binary() {
    let world = World::new().await;
    let client = world.tara().await;
    let sql = "SELECT x + 1, y * 2, $3::text, NULL::boolean FROM (VALUES (41, 0.25), (0, 0.5)) AS t(x, y)
        WHERE x = $1 AND y < $2";
    let row = client.query_one(sql, &[&41_i64, &0.3_f64, &"grün"]).await.unwrap();
    assert_eq!((row.get(0), row.get(1), row.get(2), row.get(3)), (42_i64, 0.5_f64, "grün", None::<bool>));
    // A cast says the type as well.
    let row = client.query_one("SELECT $1::int8 + 1, $2::boolean", &[&41_i64, &true]).await.unwrap();
    assert_eq!((row.get(0), row.get(1)), (42_i64, true));
    // The client may say the types.
    let statement =
        client.prepare_typed("SELECT x FROM (VALUES (7)) AS t(x) WHERE x = $1", &[Type::INT4]).await.unwrap();
    assert_eq!(client.query_one(&statement, &[&7_i32]).await.unwrap().get::<_, i64>(0), 7);
    assert!(client.query(&statement, &[&None::<i32>]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_portal_gives_as_many_rows_as_are_asked_for() {
    let world = World::new().await;
    let mut client = world.tara().await;
    let transaction = client.transaction().await.unwrap();
    let statement = transaction.prepare(&many(4)).await.unwrap();
    let portal = transaction.bind(&statement, &[]).await.unwrap();
    for asked in [7, 1, 9_000] {
        assert_eq!(transaction.query_portal(&portal, asked).await.unwrap().len(), usize::try_from(asked).unwrap());
    }
    // A second statement in between.
    transaction.query_one("SELECT 1", &[]).await.unwrap();
    assert_eq!(transaction.query_portal(&portal, 0).await.unwrap().len(), 992);
    assert!(transaction.query_portal(&portal, 5).await.unwrap().is_empty());
    transaction.commit().await.unwrap();
    assert_eq!(world.ended(2).await, [Ended::Complete, Ended::Complete]);
}

#[tokio::test]
async fn cursors_stream_and_end_with_their_transaction() {
    let world = World::new().await;
    let client = world.tara().await;
    client.batch_execute("BEGIN").await.unwrap();
    client.batch_execute(&format!("DECLARE c CURSOR FOR {}", many(3))).await.unwrap();
    assert_eq!(rows(&client, "FETCH 3 FROM c").await.len(), 3);
    assert_eq!(rows(&client, "FETCH ALL FROM c").await.len(), 997);
    assert_eq!(rows(&client, "FETCH 3 FROM c").await.len(), 0);
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(told(&client.batch_execute("FETCH 1 FROM c").await.unwrap_err()).0, "34000");

    client.batch_execute(&format!("DECLARE held CURSOR WITH HOLD FOR {}", many(3))).await.unwrap();
    assert_eq!(rows(&client, "BEGIN; FETCH 1 FROM held; ROLLBACK").await.len(), 1);
    assert_eq!(rows(&client, "FETCH 2 FROM held").await.len(), 2);
    client.batch_execute("CLOSE held").await.unwrap();
    assert_eq!(world.ended(2).await, [Ended::Complete, Ended::Abandoned]);
}

#[tokio::test]
async fn a_cancel_reaches_a_result_that_is_being_sent() {
    let world = World::new().await;
    let client = world.tara().await;
    let cancel = client.cancel_token();
    let result = client.query_raw(&many(9), std::iter::empty::<i32>()).await.unwrap();
    pin_mut!(result);
    result.next().await.unwrap().unwrap();
    cancel.cancel_query(NoTls).await.unwrap();
    let error = result.try_for_each(|_| async { Ok(()) }).await.unwrap_err();
    assert_eq!(told(&error).0, "57014");
    assert_eq!(world.ended(1).await, [Ended::Cancelled]);
    assert_eq!(rows(&client, "SELECT 3").await, ["3"]);
}

#[tokio::test]
async fn a_statement_has_so_much_time() {
    let world = World::new().await;
    let client = world.tara().await;
    client.batch_execute("SET statement_timeout = 1").await.unwrap();
    let error = client.batch_execute(&many(9)).await.unwrap_err();
    let expected = ("57014".to_owned(), "canceling statement due to statement timeout".to_owned());
    assert_eq!(told(&error), expected);
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_read() {
    let world = World::new().await;
    let client = world.tara().await;
    let result = client.query_raw(&many(9), std::iter::empty::<i32>()).await.unwrap();
    pin_mut!(result);
    result.next().await.unwrap().unwrap();
    world.disconnect_all();
    assert_eq!(world.ended(1).await, [Ended::Abandoned]);
}

#[tokio::test]
async fn a_shutdown_ends_what_runs() {
    let world = World::new().await;
    let client = world.tara().await;
    let result = client.query_raw(&many(9), std::iter::empty::<i32>()).await.unwrap();
    pin_mut!(result);
    result.next().await.unwrap().unwrap();
    let ports = world.ports.clone();
    world.stop().await;
    let ended: Vec<_> = ports.outcomes.lock().unwrap().iter().map(|outcome| outcome.ended).collect();
    assert_eq!(ended, [Ended::Cancelled]);
}
