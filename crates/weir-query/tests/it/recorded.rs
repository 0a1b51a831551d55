//! No record, no read; no snapshot, no read; and what was changed holds for the next statement.

use weir_guard::audit::Ended;
use weir_model::{Epoch, GroupName, PrincipalId};
use weir_testkit::retail;

use crate::asking::{Answer, Asking, over};

const SECRET: &str = "SELECT word FROM hr.secret";

fn person(name: &str) -> PrincipalId {
    PrincipalId::builtin(name).unwrap()
}

fn retail_in(folder: &tempfile::TempDir) -> Asking {
    over(&mut retail::world(), folder.path())
}

fn told(answer: &Answer) -> &str {
    match answer {
        Answer::Refused { text, .. } => text,
        Answer::Rows { .. } => panic!("rows instead of a refusal: {answer:?}"),
    }
}

#[tokio::test]
async fn a_read_is_recorded_before_and_after() {
    let folder = tempfile::tempdir().unwrap();
    let asking = retail_in(&folder);
    let _ = asking.ask(&person("tara"), "SELECT id FROM retail.customer_purchases").await;
    let (attempts, outcomes) = (asking.audit.attempts(), asking.audit.outcomes());
    let ([attempt], [outcome]) = (attempts.as_slice(), outcomes.as_slice()) else {
        panic!("{attempts:?} {outcomes:?}")
    };
    assert_eq!(attempt.request, outcome.request);
    assert_eq!(attempt.actor.effective, person("tara"));
    assert_eq!(attempt.epoch, Some(Epoch(1)));
    let [source] = attempt.sources.as_slice() else { panic!("{attempt:?}") };
    assert_eq!(
        (source.source.to_string().as_str(), source.decision.as_str()),
        ("retail.customer_purchases", "obliged")
    );
    assert_eq!((outcome.ended, outcome.rows), (Ended::Complete, 7));
}

#[tokio::test]
async fn without_a_record_nothing_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let asking = retail_in(&folder);
    asking.audit.fail(true);
    let answer = asking.ask(&person("bob"), SECRET).await;
    assert!(told(&answer).starts_with("access cannot be decided or recorded"), "{answer:?}");
    asking.audit.fail(false);
    assert!(matches!(asking.ask(&person("bob"), SECRET).await, Answer::Rows { .. }));
}

#[tokio::test]
async fn without_a_snapshot_nothing_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let asking = retail_in(&folder);
    asking.lose_snapshot();
    let answer = asking.ask(&person("bob"), SECRET).await;
    assert!(told(&answer).starts_with("access cannot be decided or recorded"), "{answer:?}");
}

#[tokio::test]
async fn refusals_tell_the_auditor_more_than_the_client() {
    let folder = tempfile::tempdir().unwrap();
    let asking = retail_in(&folder);
    let unseen = asking.ask(&person("alice"), SECRET).await;
    let missing = asking.ask(&person("alice"), "SELECT word FROM hr.secrex").await;
    assert_eq!(told(&unseen).replace("secret", "secrex"), told(&missing));
    let truths: Vec<&str> =
        asking.audit.attempts().iter().filter_map(|a| a.refusal.as_ref()).map(|r| r.truth.as_str()).collect();
    assert_eq!(truths, ["unseen", "missing"]);
}

#[tokio::test]
async fn a_group_taken_away_is_gone_at_the_next_statement() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = retail::world();
    let asking = over(&mut world, folder.path());
    let count = "SELECT count(*) FROM retail.customer_purchases";
    let rows = |answer: &Answer| match answer {
        Answer::Rows { rows, .. } => rows[0][0].clone(),
        Answer::Refused { .. } => None,
    };
    assert_eq!(rows(&asking.ask(&person("tara"), count).await).as_deref(), Some("7"));
    for (number, (group, left)) in [("Toys", Some("3")), ("Home Goods", None)].into_iter().enumerate() {
        let tara = world.facts.principals.iter_mut().find(|p| p.id == person("tara")).unwrap();
        tara.groups.remove(&GroupName::new(group).unwrap());
        world.facts.epoch = Some(Epoch(2 + number as u64));
        asking.turn_to(&world);
        assert_eq!(rows(&asking.ask(&person("tara"), count).await).as_deref(), left);
    }
}

#[tokio::test]
async fn nobody_is_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let asking = retail_in(&folder);
    assert_eq!(told(&asking.ask(&person("mallory"), "SELECT 1").await), "this account is not active");
}
