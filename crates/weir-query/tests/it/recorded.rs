//! No record, no read; no snapshot, no read; and what was changed holds for the next statement.

use weir_guard::audit::Ended;
use weir_model::{
    Epoch, GroupName, Impersonation, PrincipalId, PrincipalSet, Project, ProjectName, PurposeName, SourceId,
};
use weir_testkit::generate::Speaker;
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

#[tokio::test]
async fn a_grant_to_impersonate_that_is_taken_back_is_gone_at_the_next_statement() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = retail::world();
    let asking = over(&mut world, folder.path());
    let as_tara = Speaker { acting: Some(person("nora")), ..Speaker::itself(&person("tara")) };
    let count = "SELECT count(*) FROM retail.customer_purchases";
    let missing = "permission to impersonate this user is missing";
    assert_eq!(told(&asking.ask(&as_tara, count).await), missing);
    let grants = [
        (PrincipalSet::User(person("tara")), true),
        (PrincipalSet::Group(GroupName::new("Toys").unwrap()), true),
        (PrincipalSet::Group(GroupName::new("Garden").unwrap()), false),
        (PrincipalSet::User(person("nora")), false),
    ];
    for (number, (target, granted)) in grants.into_iter().enumerate() {
        world.facts.impersonations = [Impersonation { actor: person("nora"), target }].into();
        world.facts.epoch = Some(Epoch(2 + number as u64));
        asking.turn_to(&world);
        match asking.ask(&as_tara, count).await {
            Answer::Rows { rows, .. } => assert!(granted && rows[0][0].as_deref() == Some("7"), "{rows:?}"),
            refused => assert!(!granted && told(&refused) == missing, "{refused:?}"),
        }
        let attempts = asking.audit.attempts();
        let [attempt] = attempts.as_slice() else { panic!("{attempts:?}") };
        assert_eq!(attempt.actor, as_tara.actor());
        assert_eq!(attempt.refusal.is_none(), granted);
    }
}

#[tokio::test]
async fn in_a_project_only_its_sources_exist_and_the_purposes_are_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = retail::world();
    let purpose = PurposeName::new("Research").unwrap();
    world.facts.projects.push(Project {
        name: ProjectName::new("kites").unwrap(),
        members: [person("tara"), person("garth")].into(),
        sources: [SourceId(2)].into(),
        purposes: [purpose.clone()].into(),
        acknowledged: [(person("tara"), purpose.clone())].into(),
        equalized: false,
        masked_joins: false,
        workspace: None,
    });
    let asking = over(&mut world, folder.path());
    let within = |name| Speaker { project: Some("kites".parse().unwrap()), ..Speaker::itself(&person(name)) };
    assert!(matches!(asking.ask(&within("tara"), "SELECT id FROM retail.products").await, Answer::Rows { .. }));
    let attempts = asking.audit.attempts();
    assert_eq!(attempts[0].project, Some("kites".parse().unwrap()));
    assert_eq!(attempts[0].purposes, [purpose]);

    let outside = asking.ask(&within("tara"), "SELECT id FROM retail.customer_purchases").await;
    let missing = asking.ask(&within("tara"), "SELECT id FROM retail.customer_purchasex").await;
    assert_eq!(told(&outside).replace("purchases", "purchasex"), told(&missing));
    // Garth has promised nothing, oona is no member, and nobody has heard of the other project.
    let unseen = asking.ask(&within("tara"), "SELECT id FROM retail.productx").await;
    let elsewhere = Speaker { project: Some("rakes".parse().unwrap()), ..within("tara") };
    for speaker in [within("garth"), within("oona"), elsewhere] {
        let answer = asking.ask(&speaker, "SELECT id FROM retail.products").await;
        assert_eq!(told(&answer).replace("products", "productx"), told(&unseen), "{speaker}");
    }
    assert!(matches!(asking.ask(&person("garth"), "SELECT id FROM retail.products").await, Answer::Rows { .. }));
}
