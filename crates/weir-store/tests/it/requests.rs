//! Requests for subscriptions, from asking to running out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use weir_guard::SnapshotFeed;
use weir_model::{Epoch, Permission, Principal, PrincipalId, Surroundings};
use weir_policy::ast::{Approver, Body, Merge, Subscribers};
use weir_store::{ActKind, Change, RequestState, Store, SubscriptionRequest};

use crate::{Told, asking, open, person, policy_key, refused, source, source_id, subscription, table, user};

const START: u64 = 1_000_000;

fn governor(name: &str) -> Change {
    Change::PutUser(Principal { permissions: [Permission::Governance].into(), ..Principal::bare(person(name)) })
}

fn request(name: &str, policy: Option<&str>) -> Change {
    Change::RequestSubscription {
        source: table("s.t"),
        user: person(name),
        reason: " I need it. ".to_owned(),
        policy: policy.map(policy_key),
    }
}

fn approve(request: u64, name: &str, until_unix_ms: Option<u64>) -> Change {
    Change::ApproveSubscription { request, approver: person(name), until_unix_ms }
}

fn deny(request: u64, name: &str) -> Change {
    Change::DenySubscription { request, approver: person(name), reason: "No.".to_owned() }
}

fn owner_and_governor() -> Vec<Approver> {
    vec![Approver::Owner, Approver::Holder(Permission::Governance)]
}

/// Owned by oona; greg and gina govern; tara and nora have nothing.
async fn world(store: &Store, approvers: Vec<Approver>) {
    let people = vec![user("oona", &[]), governor("greg"), governor("gina"), user("tara", &[]), user("nora", &[])];
    store.apply("local", people).await.unwrap();
    store.apply("local", vec![source("s.t", &["oona"]), asking("ask", "s.t", approvers)]).await.unwrap();
}

async fn approved(store: &Store) -> Vec<PrincipalId> {
    store.facts().await.unwrap().approved.into_iter().map(|(_, _, user)| user).collect()
}

async fn newest(store: &Store) -> SubscriptionRequest {
    store.requests().await.unwrap().pop().unwrap()
}

async fn sees(store: &Store, name: &str) -> bool {
    let snapshot = store.current().await.unwrap();
    !snapshot.visible(&person(name), &Surroundings::default()).is_empty()
}

#[tokio::test]
async fn a_request_counts_when_everybody_who_is_asked_has_approved() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    world(&store, owner_and_governor()).await;
    assert_eq!(store.apply("tara", vec![request("tara", None)]).await.unwrap(), Epoch(3));
    let asked = newest(&store).await;
    assert_eq!((asked.id, asked.state, asked.reason.as_str()), (1, RequestState::Open, "I need it."));
    assert_eq!((asked.policy, asked.approvers), (policy_key("ask"), owner_and_governor()));
    assert!(!sees(&store, "tara").await);
    store.apply("greg", vec![approve(1, "greg", None)]).await.unwrap();
    assert_eq!(newest(&store).await.state, RequestState::Open);
    assert_eq!(approved(&store).await, []);
    store.apply("oona", vec![approve(1, "oona", None)]).await.unwrap();
    assert_eq!(newest(&store).await.state, RequestState::Approved);
    assert_eq!(approved(&store).await, [person("tara")]);
    assert!(sees(&store, "tara").await && !sees(&store, "nora").await);

    let acts: Vec<(String, ActKind)> = newest(&store).await.acts.into_iter().map(|act| (act.by, act.what)).collect();
    let act = |slot| ActKind::Approved { slot, until_unix_ms: None };
    assert_eq!(acts, [("greg".to_owned(), act(1)), ("oona".to_owned(), act(0))]);
    assert_eq!(
        store.changes(3).await.unwrap().into_iter().map(|c| (c.by, c.what)).collect::<Vec<_>>(),
        [
            ("oona".to_owned(), "approve request 1 as user `oona`".to_owned()),
            ("greg".to_owned(), "approve request 1 as user `greg`".to_owned()),
            ("tara".to_owned(), "request a subscription to data source `s.t` for user `tara`".to_owned()),
        ]
    );
    // It survives what does not matter to it.
    let other = Change::PutPolicy(subscription("other", "s.t", Subscribers::Selected));
    store.apply("local", vec![other, user("tara", &["Toys"])]).await.unwrap();
    assert_eq!(approved(&store).await, [person("tara")]);
}

#[tokio::test]
async fn nobody_approves_twice_or_for_themselves_or_unasked() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let two = vec![Approver::Holder(Permission::Governance), Approver::Holder(Permission::Governance)];
    world(&store, two).await;
    store.apply("local", vec![request("greg", None), request("tara", None)]).await.unwrap();
    let cannot = |id: u64, who: &str, why: &str| format!("request {id} cannot be approved by user `{who}`: {why}");
    let cases = [
        (approve(1, "greg", None), cannot(1, "greg", "nobody approves a request of their own")),
        (approve(2, "oona", None), cannot(2, "oona", "it does not ask for their approval")),
        (approve(2, "gina", Some(5)), cannot(2, "gina", "the subscription would end in the past")),
        (approve(9, "gina", None), "request `9` does not exist".to_owned()),
        (approve(2, "zoe", None), "user `zoe` does not exist".to_owned()),
        (
            deny(1, "greg"),
            "request 1 cannot be denied by user `greg`: it is their own, which they can withdraw".to_owned(),
        ),
        (deny(2, "nora"), "request 2 cannot be denied by user `nora`: it does not ask for their approval".to_owned()),
    ];
    for (change, told) in cases {
        assert_eq!(refused(&store, vec![change]).await, told);
    }
    store.apply("gina", vec![approve(2, "gina", None)]).await.unwrap();
    assert_eq!(
        refused(&store, vec![approve(2, "gina", None)]).await,
        cannot(2, "gina", "they have approved it already")
    );
    store.apply("greg", vec![approve(2, "greg", None)]).await.unwrap();
    assert_eq!(approved(&store).await, [person("tara")]);
    store.apply("local", vec![governor("nora")]).await.unwrap();
    assert_eq!(refused(&store, vec![approve(2, "nora", None)]).await, cannot(2, "nora", "it has all its approvals"));
}

#[tokio::test]
async fn one_place_is_for_one_approver() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    world(&store, vec![Approver::Owner, Approver::Person(person("nora"))]).await;
    store.apply("local", vec![Change::AddOwner { source: table("s.t"), user: person("gina") }]).await.unwrap();
    store.apply("local", vec![request("tara", None)]).await.unwrap();
    store.apply("local", vec![approve(1, "oona", None)]).await.unwrap();
    assert_eq!(
        refused(&store, vec![approve(1, "gina", None)]).await,
        "request 1 cannot be approved by user `gina`: somebody has approved it in their place"
    );
    store.apply("local", vec![approve(1, "nora", None)]).await.unwrap();
    assert_eq!(approved(&store).await, [person("tara")]);
}

#[tokio::test]
async fn requests_name_a_policy_or_get_the_oldest_that_asks() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    world(&store, vec![Approver::Owner]).await;
    let staged = match asking("staged", "s.t", vec![Approver::Owner]) {
        Change::PutPolicy(policy) => Change::PutPolicy(weir_policy::ast::Policy { staged: true, ..policy }),
        other => panic!("{other}"),
    };
    let more = vec![
        asking("second", "s.t", vec![Approver::Person(person("nora"))]),
        source("s.u", &[]),
        asking("elsewhere", "s.u", vec![Approver::Owner]),
        Change::PutPolicy(subscription("open", "s.t", Subscribers::Selected)),
        staged,
    ];
    store.apply("local", more).await.unwrap();
    store.apply("local", vec![request("tara", None)]).await.unwrap();
    assert_eq!(newest(&store).await.policy, policy_key("ask"));
    store.apply("local", vec![request("nora", Some("second"))]).await.unwrap();
    assert_eq!(newest(&store).await.policy, policy_key("second"));
    let cannot = |why: &str| format!("user `greg` cannot request a subscription to data source `s.t`: {why}");
    for (policy, why) in [
        ("gone", "policy `gone` does not exist"),
        ("open", "policy `open` is not in effect or does not take people in on request"),
        ("staged", "policy `staged` is not in effect or does not take people in on request"),
        ("elsewhere", "policy `elsewhere` is not about that source"),
    ] {
        assert_eq!(refused(&store, vec![request("greg", Some(policy))]).await, cannot(why));
    }
    assert_eq!(
        refused(&store, vec![request("tara", Some("second"))]).await,
        "user `tara` cannot request a subscription to data source `s.t`: request 1 is not decided yet"
    );
    let silent = Change::RequestSubscription {
        source: table("s.t"),
        user: person("greg"),
        reason: " ".to_owned(),
        policy: None,
    };
    assert_eq!(refused(&store, vec![silent]).await, cannot("there is no reason"));
    let policies = ["ask", "second", "staged"].map(|key| Change::RemovePolicy(policy_key(key)));
    store.apply("local", policies.into()).await.unwrap();
    assert_eq!(
        refused(&store, vec![request("greg", None)]).await,
        cannot("no policy that is in effect there takes people in on request")
    );
}

/// What one policy approves does not do for another.
#[tokio::test]
async fn required_policies_need_their_own_approvals() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    world(&store, vec![Approver::Owner]).await;
    let required = |key| match asking(key, "s.t", vec![Approver::Holder(Permission::Governance)]) {
        Change::PutPolicy(mut policy) => {
            let Body::Subscribe(subscribe) = &mut policy.statement.body else { panic!() };
            subscribe.merge = Merge::Require;
            Change::PutPolicy(policy)
        }
        other => panic!("{other}"),
    };
    store.apply("local", vec![request("tara", None), approve(1, "oona", None)]).await.unwrap();
    assert!(sees(&store, "tara").await);
    store.apply("local", vec![required("second")]).await.unwrap();
    assert!(!sees(&store, "tara").await);
    store.apply("local", vec![request("tara", Some("second")), approve(2, "greg", None)]).await.unwrap();
    assert!(sees(&store, "tara").await);
    // The required one alone is not enough either, as long as there is a shared one.
    store.apply("local", vec![request("nora", Some("second")), approve(3, "greg", None)]).await.unwrap();
    assert!(!sees(&store, "nora").await);
    assert_eq!(approved(&store).await, [person("tara"), person("nora"), person("tara")]);
    store.apply("local", vec![Change::RemovePolicy(policy_key("ask"))]).await.unwrap();
    assert_eq!(approved(&store).await, [person("nora"), person("tara")]);
    assert!(sees(&store, "nora").await && sees(&store, "tara").await);
    // Of two shared ones either will do.
    store.apply("local", vec![Change::RemovePolicy(policy_key("second"))]).await.unwrap();
    let two = ["one", "two"].map(|key| asking(key, "s.t", vec![Approver::Owner]));
    store.apply("local", two.into()).await.unwrap();
    assert_eq!(approved(&store).await, []);
    store.apply("local", vec![request("tara", Some("two")), approve(4, "oona", None)]).await.unwrap();
    assert!(sees(&store, "tara").await);
    // It does not follow the policy to where that is not about the source any more.
    store.apply("local", vec![source("s.u", &[]), asking("two", "s.u", vec![Approver::Owner])]).await.unwrap();
    assert!(!sees(&store, "tara").await);
    // Nor does it keep people from what another policy lets them have.
    let anyone = Change::PutPolicy(subscription("anyone", "s.t", Subscribers::Anyone));
    store.apply("local", vec![anyone]).await.unwrap();
    assert!(sees(&store, "tara").await && sees(&store, "nora").await);
}

#[tokio::test]
async fn denied_and_withdrawn_requests_are_over() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    world(&store, vec![Approver::Owner]).await;
    store.apply("local", vec![request("tara", None)]).await.unwrap();
    store.apply("oona", vec![deny(1, "oona")]).await.unwrap();
    let denied = newest(&store).await;
    assert_eq!(denied.state, RequestState::Denied);
    assert_eq!((denied.acts[0].by.as_str(), &denied.acts[0].what), ("oona", &ActKind::Denied { reason: "No.".into() }));
    assert_eq!(
        refused(&store, vec![approve(1, "oona", None)]).await,
        "request 1 cannot be approved by user `oona`: it was denied"
    );
    assert_eq!(
        refused(&store, vec![Change::WithdrawSubscription { request: 1 }]).await,
        "request 1 cannot be withdrawn: it was denied"
    );

    // A new one, approved, and then ended from either side.
    store.apply("local", vec![request("tara", None), approve(2, "oona", None)]).await.unwrap();
    assert!(sees(&store, "tara").await);
    store.apply("oona", vec![deny(2, "oona")]).await.unwrap();
    assert!(!sees(&store, "tara").await);
    store.apply("local", vec![request("tara", None), approve(3, "oona", None)]).await.unwrap();
    assert!(sees(&store, "tara").await);
    store.apply("tara", vec![Change::WithdrawSubscription { request: 3 }]).await.unwrap();
    assert!(!sees(&store, "tara").await);
    let withdrawn = newest(&store).await;
    assert_eq!(withdrawn.state, RequestState::Withdrawn);
    assert_eq!((withdrawn.acts[1].by.as_str(), &withdrawn.acts[1].what), ("tara", &ActKind::Withdrawn));
    assert_eq!(
        refused(&store, vec![Change::WithdrawSubscription { request: 3 }]).await,
        "request 3 cannot be withdrawn: it was withdrawn"
    );
    assert_eq!(refused(&store, vec![Change::WithdrawSubscription { request: 9 }]).await, "request `9` does not exist");
}

#[tokio::test]
async fn what_was_approved_is_void_when_something_else_is_asked() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    world(&store, vec![Approver::Owner]).await;
    store.apply("local", vec![request("tara", None), approve(1, "oona", None)]).await.unwrap();
    assert_eq!(approved(&store).await, [person("tara")]);

    // Other approvers, then the same again: the approval was for these.
    store.apply("local", vec![asking("ask", "s.t", owner_and_governor())]).await.unwrap();
    assert_eq!(approved(&store).await, []);
    assert_eq!(newest(&store).await.state, RequestState::Void);
    assert_eq!(
        refused(&store, vec![approve(1, "greg", None)]).await,
        "request 1 cannot be approved by user `greg`: what it asks for has changed; a new one can be made"
    );
    store.apply("local", vec![asking("ask", "s.t", vec![Approver::Owner])]).await.unwrap();
    assert_eq!(approved(&store).await, [person("tara")]);

    // Another policy of the same key, another source and another person of the same name.
    store.apply("local", vec![Change::RemovePolicy(policy_key("ask"))]).await.unwrap();
    store.apply("local", vec![asking("ask", "s.t", vec![Approver::Owner])]).await.unwrap();
    assert_eq!(approved(&store).await, []);
    for (number, again) in [
        (2, vec![Change::RemoveSource(table("s.t")), source("s.t", &["oona"])]),
        (3, vec![Change::RemoveUser(person("tara")), user("tara", &[])]),
    ] {
        store.apply("local", vec![request("tara", None), approve(number, "oona", None)]).await.unwrap();
        assert_eq!(approved(&store).await, [person("tara")]);
        store.apply("local", again).await.unwrap();
        assert_eq!(approved(&store).await, []);
    }
    // All is still on record.
    let all = store.requests().await.unwrap();
    assert_eq!(all.iter().map(|r| r.state).collect::<Vec<_>>(), [RequestState::Void; 3]);
    assert!(all.iter().all(|r| r.source == table("s.t") && r.user == person("tara") && r.acts.len() == 1));
}

#[tokio::test]
async fn a_subscription_runs_out_at_the_next_read() {
    let root = tempfile::tempdir().unwrap();
    let clock = Arc::new(Told::default());
    clock.0.store(START, Ordering::Relaxed);
    let at = |unix_ms| clock.0.store(unix_ms, Ordering::Relaxed);
    let store = Store::open(root.path(), clock.clone()).await.unwrap();
    world(&store, owner_and_governor()).await;
    let ask = vec![request("tara", None), approve(1, "oona", Some(START + 500)), approve(1, "greg", Some(START + 100))];
    store.apply("local", ask).await.unwrap();
    let ask = vec![request("nora", None), approve(2, "oona", Some(START + 300)), approve(2, "greg", None)];
    let epoch = store.apply("local", ask).await.unwrap();
    assert_eq!(newest(&store).await.until_unix_ms(), Some(START + 300));

    // The earliest end that an approver gave holds.
    let seen = async || (sees(&store, "tara").await, sees(&store, "nora").await);
    assert_eq!(seen().await, (true, true));
    let before = store.current().await.unwrap();
    at(START + 99);
    assert_eq!(seen().await, (true, true));
    assert!(Arc::ptr_eq(&before, &store.current().await.unwrap()));
    at(START + 100);
    assert_eq!(seen().await, (false, true));
    assert_eq!(approved(&store).await, [person("nora")]);
    let after = store.current().await.unwrap();
    assert!(!Arc::ptr_eq(&before, &after), "the same epoch, and yet another snapshot");
    assert_eq!(after.epoch(), epoch);
    assert!(Arc::ptr_eq(&after, &store.current().await.unwrap()));
    at(START + 300);
    assert_eq!(seen().await, (false, false));
    at(START + 10_000);
    assert_eq!(seen().await, (false, false));
    let all = store.requests().await.unwrap();
    assert_eq!(all.iter().map(|r| r.state).collect::<Vec<_>>(), [RequestState::Expired; 2]);
    assert_eq!(
        refused(&store, vec![approve(1, "gina", None)]).await,
        "request 1 cannot be approved by user `gina`: it has run out; a new one can be made"
    );
    store
        .apply("local", vec![request("tara", None), approve(3, "oona", None), approve(3, "gina", None)])
        .await
        .unwrap();
    assert_eq!(seen().await, (true, false));
    let approved = store.facts().await.unwrap().approved;
    let approved: Vec<_> = approved.into_iter().map(|(_, source, user)| (source, user)).collect();
    assert_eq!(approved, [(source_id(&store, "s.t").await, person("tara"))]);
}
