//! Reads that run: what ends them, and what they may take up.

use std::time::Duration;

use weir_guard::audit::Ended;
use weir_guard::{Outside, Refusal};
use weir_model::{DataSource, Epoch, GroupName, Location, PrincipalId};
use weir_query::{Rows, UserLimits};
use weir_testkit::generate::{Speaker, World};
use weir_testkit::retail;

use crate::asking::{Answer, Asking, over};
use crate::files;

/// More rows than anybody waits for.
const LONG: &str = "SELECT c.ssn, g.value FROM retail.customer_purchases c, generate_series(1, 100000000) g";

fn person(name: &str) -> Speaker {
    Speaker::itself(&PrincipalId::builtin(name).unwrap())
}

/// Someone of whom `change` makes the next state of the world.
fn change(asking: &Asking, world: &mut World, change: impl FnOnce(&mut World)) {
    change(world);
    let Epoch(before) = world.facts.epoch.unwrap();
    world.facts.epoch = Some(Epoch(before + 1));
    asking.change(world);
}

fn leave_group(world: &mut World, name: &str, group: &str) {
    let person = world.facts.principals.iter_mut().find(|person| person.id.name() == name).unwrap();
    assert!(person.groups.remove(&GroupName::new(group).unwrap()));
}

fn move_files(source: &mut DataSource) {
    let Location::Files { path, .. } = &mut source.location else { unreachable!("a file") };
    *path = "/elsewhere".into();
}

async fn some(rows: &mut Rows) {
    assert!(rows.next().await.unwrap().is_some());
}

/// Reads on until the read breaks off.
async fn broken(rows: &mut Rows) -> Refusal {
    loop {
        match rows.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the read is complete"),
            Err(refusal) => return refusal,
        }
    }
}

#[tokio::test]
async fn a_change_of_the_decision_ends_a_read_that_runs() {
    type Change = fn(&mut World);
    let changes: [(&str, Change); 6] = [
        ("tara", |world| leave_group(world, "tara", "Toys")),
        ("tara", |world| world.facts.policies.retain(|stored| stored.policy.key.as_str() != "policy-1")),
        ("tara", |world| world.facts.principals.retain(|person| person.id.name() != "tara")),
        ("oona", |world| drop(world.facts.sources[0].columns.pop())),
        ("oona", |world| move_files(&mut world.facts.sources[0])),
        ("tara", |world| move_files(&mut world.facts.sources[0])),
    ];
    for (name, how) in changes {
        let folder = tempfile::tempdir().unwrap();
        let mut world = retail::world();
        let asking = over(&mut world, folder.path());
        let mut rows = asking.open(&person(name), LONG).await.unwrap();
        some(&mut rows).await;
        change(&asking, &mut world, how);
        let refusal = broken(&mut rows).await;
        assert_eq!(*refusal.outside(), Outside::Revoked);
        assert!(refusal.inside().detail.starts_with("epoch 2: "), "{}", refusal.inside().detail);
        let outcomes = asking.audit.outcomes();
        assert_eq!(outcomes.iter().map(|outcome| outcome.ended).collect::<Vec<_>>(), [Ended::Revoked]);
        assert!(outcomes[0].rows > 0);
        // What was broken off is not taken for the end.
        assert_eq!(*rows.next().await.unwrap_err().outside(), Outside::Revoked);
    }
}

#[tokio::test]
async fn a_read_that_nobody_asks_for_more_of_ends_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = retail::world();
    let asking = over(&mut world, folder.path());
    let mut rows = asking.open(&person("tara"), LONG).await.unwrap();
    some(&mut rows).await;
    change(&asking, &mut world, |world| leave_group(world, "tara", "Toys"));
    assert_eq!(*rows.withdrawn().await.outside(), Outside::Revoked);
    assert_eq!(asking.audit.outcomes()[0].ended, Ended::Revoked);
}

#[tokio::test]
async fn a_change_that_leaves_the_decision_as_it_is_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = retail::world();
    let asking = over(&mut world, folder.path());
    let few = "SELECT c.ssn, g.value FROM retail.customer_purchases c, generate_series(1, 20000) g";
    let mut rows = asking.open(&person("tara"), few).await.unwrap();
    some(&mut rows).await;
    change(&asking, &mut world, |world| leave_group(world, "garth", "Garden"));
    while rows.next().await.unwrap().is_some() {}
    assert_eq!(asking.audit.outcomes()[0].ended, Ended::Complete);
}

#[tokio::test]
async fn without_a_snapshot_a_read_that_runs_ends() {
    let folder = tempfile::tempdir().unwrap();
    let asking = over(&mut retail::world(), folder.path());
    let mut rows = asking.open(&person("tara"), LONG).await.unwrap();
    some(&mut rows).await;
    asking.lose_snapshot();
    assert_eq!(*broken(&mut rows).await.outside(), Outside::Unavailable);
}

async fn limited(limits: UserLimits, sql: &str) -> Result<u64, String> {
    let folder = tempfile::tempdir().unwrap();
    let mut world = retail::world();
    files::write_plainly(&mut world, folder.path(), 10_000);
    let asking = Asking::within(&world, limits);
    let told = |refusal: Refusal| refusal.outside().text().to_owned();
    let mut rows = asking.open(&person("oona"), sql).await.map_err(told)?;
    let mut count = 0;
    while let Some(batch) = rows.next().await.map_err(told)? {
        count += batch.num_rows() as u64;
    }
    Ok(count)
}

#[tokio::test]
async fn one_user_takes_up_no_more_than_she_may() {
    let none = UserLimits::default;
    let needs_memory = "SELECT count(DISTINCT value), sum(DISTINCT value) FROM generate_series(1, 3000000)";
    assert_eq!(limited(none(), needs_memory).await, Ok(1));
    let little = UserLimits { memory_bytes_max: 4 << 20, ..none() };
    let told = limited(little.clone(), needs_memory).await.unwrap_err();
    assert_eq!(told, "the statement needs more memory or disk than it may use");

    // A sort may use the disk, as far as it may. To merge what it put there, each of its streams keeps 10 MiB.
    let sort = "SELECT value, 'x' || value FROM generate_series(1, 3000000) ORDER BY 2 DESC";
    let some = UserLimits { memory_bytes_max: 64 << 20, ..none() };
    assert_eq!(limited(some.clone(), sort).await, Ok(3_000_000));
    let told = limited(UserLimits { spill_bytes_max: 1 << 20, ..some }, sort).await;
    assert_eq!(told.unwrap_err(), "the statement needs more memory or disk than it may use");

    let endless = "SELECT count(*) FROM generate_series(1, 1000000000000) a";
    let told = limited(UserLimits { statement_time_max: Duration::from_secs(1), ..none() }, endless).await;
    assert_eq!(told.unwrap_err(), "the statement took more than 1 seconds of work");
}

#[tokio::test]
async fn so_many_statements_at_once_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = retail::world();
    files::write_plainly(&mut world, folder.path(), 10_000);
    let asking = Asking::within(&world, UserLimits { statements_max: 2, ..UserLimits::default() });
    let one = asking.open(&person("tara"), LONG).await.unwrap();
    let _other = asking.open(&person("tara"), LONG).await.unwrap();
    let refusal = asking.open(&person("tara"), "SELECT 1").await.err().unwrap();
    assert_eq!(refusal.outside().text(), "more than 2 statements and cursors of one user at once");
    let refused = asking.audit.attempts().pop().unwrap().refusal.unwrap();
    assert_eq!(refused.truth.as_str(), "limit");
    assert!(asking.open(&person("oona"), "SELECT 1").await.is_ok(), "somebody else has places of her own");
    one.cancel().await;
    // The work is gone a moment after it was told to end.
    while asking.open(&person("tara"), "SELECT 1").await.is_err() {
        tokio::task::yield_now().await;
    }
}

fn plan(answer: Answer) -> String {
    match answer {
        Answer::Rows { columns, rows } => {
            assert_eq!(columns, [("QUERY PLAN".to_owned(), "text".to_owned())]);
            rows.into_iter().map(|mut row| row.pop().unwrap().unwrap() + "\n").collect()
        }
        refused => panic!("{refused:?}"),
    }
}

#[tokio::test]
async fn a_plan_tells_nothing_of_what_is_not_seen() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = retail::world();
    let asking = over(&mut world, folder.path());
    let sql = "EXPLAIN SELECT c.ssn, p.id FROM retail.customer_purchases c JOIN retail.products p ON p.id = c.product_id \
               WHERE c.age > 30 AND upper(c.country) = 'FRANCE' ORDER BY c.id LIMIT 3";
    let tara = plan(asking.ask(person("tara"), sql).await);
    assert!(tara.contains("GovernedScan: retail.customer_purchases, columns=[") && tara.contains("age > "), "{tara}");
    for hidden in ["Toys", "hash", "department", "parquet", &folder.path().display().to_string()] {
        assert!(!tara.contains(hidden), "{hidden}: {tara}");
    }
    assert_eq!(asking.audit.outcomes().pop().unwrap().ended, Ended::Complete);

    // Other hidden rows, ten times as many, in other files: not a letter changes.
    let purchases = world.facts.sources[0].id;
    let garden = world.tables[&purchases].iter().find(|row| row.iter().any(|cell| cell.to_string().contains("Garden")));
    let garden = garden.expect("a row of another department").clone();
    world.tables.get_mut(&purchases).unwrap().extend(vec![garden; 5_000]);
    let other = tempfile::tempdir().unwrap();
    files::write_plainly(&mut world, other.path(), 100);
    asking.turn_to(&world);
    assert_eq!(plan(asking.ask(person("tara"), sql).await), tara);

    let oona = plan(asking.ask(person("oona"), sql).await);
    assert!(oona.contains("Scan: retail.customer_purchases") && !oona.contains("parquet"), "{oona}");
    let unseen = asking.ask(person("nora"), "EXPLAIN SELECT 1 FROM retail.customer_purchases").await;
    let missing = asking.ask(person("nora"), "EXPLAIN SELECT 1 FROM retail.customer_purchasez").await;
    assert_eq!(unseen.told().replace("purchases", "purchasez"), missing.told());
}

#[tokio::test]
async fn who_governs_is_told_which_obligations_hold_for_her() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = retail::world();
    let tara = world.facts.principals.iter_mut().find(|person| person.id.name() == "tara").unwrap();
    tara.permissions.insert(weir_model::Permission::Governance);
    let asking = over(&mut world, folder.path());
    let plan = plan(asking.ask(person("tara"), "EXPLAIN SELECT id FROM retail.customer_purchases").await);
    assert!(plan.contains("row filter: department IN (") && plan.contains("column ssn: hashed"), "{plan}");
}
