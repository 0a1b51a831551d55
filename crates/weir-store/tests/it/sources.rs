//! Row keys, event times, lineage, choices of policies and leave to act as others.

use std::collections::{BTreeMap, BTreeSet};

use weir_model::{
    ColumnId, ColumnName, DataType, Epoch, Impersonation, Lineage, Origin, ParentColumn, PrincipalSet, Profile, Tag,
    Value,
};
use weir_policy::ast::{Certification, Policy, Subscribers};
use weir_store::{Change, NewColumn, NewLineage, NewOrigin, NewSource, Store};

use crate::{group, open, person, policy_key, refused, source, source_id, subscription, table, user};

fn column(name: &str) -> ColumnName {
    ColumnName::new(name).unwrap()
}

/// With columns a bigint, b text, d date, t timestamp.
fn wide(name: &str) -> NewSource {
    let Change::AddSource(bare) = source(name, &[]) else { panic!() };
    let types = [
        ("a", DataType::Int64),
        ("b", DataType::Text),
        ("d", DataType::Date),
        ("t", DataType::Timestamp { zoned: true }),
    ];
    let columns = types.map(|(name, data_type)| NewColumn {
        name: column(name),
        data_type,
        nullable: true,
        tags: BTreeSet::new(),
    });
    NewSource { columns: columns.into(), ..bare }
}

async fn keyed(store: &Store) -> (Vec<u32>, Option<u32>) {
    let facts = store.facts().await.unwrap();
    (facts.sources[0].row_key.iter().map(|c| c.0).collect(), facts.sources[0].event_time.map(|c| c.0))
}

#[tokio::test]
async fn a_source_has_a_row_key_and_an_event_time() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let new = NewSource { row_key: vec![column("b"), column("a")], event_time: Some(column("t")), ..wide("s.t") };
    store.apply("local", vec![Change::AddSource(new)]).await.unwrap();
    assert_eq!(keyed(&store).await, (vec![2, 1], Some(4)));

    let row_key = |columns: &[&str]| {
        vec![Change::SetRowKey { source: table("s.t"), columns: columns.iter().map(|c| column(c)).collect() }]
    };
    let event_time = |name: Option<&str>| vec![Change::SetEventTime { source: table("s.t"), column: name.map(column) }];
    assert_eq!(store.apply("local", row_key(&["a"])).await.unwrap(), Epoch(2));
    assert_eq!(store.apply("local", event_time(Some("d"))).await.unwrap(), Epoch(3));
    assert_eq!(keyed(&store).await, (vec![1], Some(3)));
    assert_eq!(store.current_source().await, (vec![ColumnId(1)], Some(ColumnId(3))));
    // The same again is no change.
    assert_eq!(store.apply("local", row_key(&["a"])).await.unwrap(), Epoch(3));
    assert_eq!(store.apply("local", event_time(Some("d"))).await.unwrap(), Epoch(3));
    store.apply("local", row_key(&[])).await.unwrap();
    store.apply("local", event_time(None)).await.unwrap();
    assert_eq!(keyed(&store).await, (vec![], None));

    assert_eq!(refused(&store, row_key(&["a", "x"])).await, "column `s.t.x` does not exist");
    assert_eq!(
        refused(&store, row_key(&["a", "a"])).await,
        "the row key of data source `s.t` cannot be set: column `a` is in it twice"
    );
    assert_eq!(refused(&store, event_time(Some("x"))).await, "column `s.t.x` does not exist");
    assert_eq!(
        refused(&store, event_time(Some("b"))).await,
        "column `s.t.b` cannot be the event time: it is of type text, not a date or timestamp"
    );
    let new = NewSource { event_time: Some(column("a")), ..wide("s.u") };
    assert!(refused(&store, vec![Change::AddSource(new)]).await.contains("cannot be the event time"));
    let new = NewSource { row_key: vec![column("z")], ..wide("s.u") };
    assert_eq!(refused(&store, vec![Change::AddSource(new)]).await, "column `s.u.z` does not exist");
    let gone = Change::SetEventTime { source: table("s.gone"), column: None };
    assert_eq!(refused(&store, vec![gone]).await, "data source `s.gone` does not exist");
}

#[tokio::test]
async fn what_is_known_of_a_sources_values_is_kept_as_a_whole() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    store.apply("local", vec![Change::AddSource(wide("s.t")), Change::AddSource(wide("s.u"))]).await.unwrap();
    let profile = |greatest: Option<Value>| Profile {
        rows: 4,
        nulls: 1,
        distinct: Some(3),
        least: greatest.as_ref().map(|_| Value::Int(-1)),
        greatest,
    };
    let set = |name: &str, profiles: &[(&str, Profile)]| {
        let profiles = profiles.iter().map(|(name, profile)| (column(name), profile.clone())).collect();
        vec![Change::SetProfiles { source: table(name), profiles }]
    };
    let known = async || {
        let facts = store.facts().await.unwrap();
        let columns = facts.sources.iter().flat_map(|source| &source.columns);
        columns.filter_map(|c| Some((c.name.to_string(), c.profile.clone()?))).collect::<Vec<_>>()
    };
    let (number, text) = (profile(Some(Value::Number("2.50".to_owned()))), profile(None));
    let both = set("s.t", &[("a", number.clone()), ("b", text.clone())]);
    assert_eq!(store.apply("local", both.clone()).await.unwrap(), Epoch(2));
    assert_eq!(known().await, [("a".to_owned(), number.clone()), ("b".to_owned(), text)]);
    // The same again is no change.
    assert_eq!(store.apply("local", both).await.unwrap(), Epoch(2));
    assert_eq!(store.apply("local", set("s.t", &[("d", number.clone())])).await.unwrap(), Epoch(3));
    assert_eq!(known().await, [("d".to_owned(), number.clone())]);
    store.apply("local", set("s.t", &[])).await.unwrap();
    assert_eq!(known().await, []);
    assert_eq!(
        refused(&store, set("s.t", &[("a", number.clone()), ("x", number)])).await,
        "column `s.t.x` does not exist"
    );
    assert_eq!(known().await, []);
    assert_eq!(refused(&store, set("s.gone", &[])).await, "data source `s.gone` does not exist");
}

trait CurrentSource {
    async fn current_source(&self) -> (Vec<ColumnId>, Option<ColumnId>);
}

impl CurrentSource for Store {
    /// As decisions see it.
    async fn current_source(&self) -> (Vec<ColumnId>, Option<ColumnId>) {
        let snapshot = weir_guard::SnapshotFeed::current(self).await.unwrap();
        let source = snapshot.source_by_name(&table("s.t")).unwrap();
        (source.row_key.clone(), source.event_time)
    }
}

#[tokio::test]
async fn an_owners_choice_goes_with_the_policy_and_the_source() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let policy = |key| Change::PutPolicy(subscription(key, "s.t", Subscribers::Anyone));
    store.apply("local", vec![source("s.t", &[]), source("s.u", &[]), policy("p"), policy("q")]).await.unwrap();
    let choose = |key, name| Change::ChoosePolicy { policy: policy_key(key), source: table(name) };
    store.apply("local", vec![choose("p", "s.t"), choose("p", "s.u"), choose("q", "s.t")]).await.unwrap();
    assert_eq!(store.apply("local", vec![choose("p", "s.t")]).await.unwrap(), Epoch(2));
    let (t, u) = (source_id(&store, "s.t").await, source_id(&store, "s.u").await);
    let (p, q) = (policy_key("p"), policy_key("q"));
    let chosen = async || store.facts().await.unwrap().chosen.into_iter().collect::<Vec<_>>();
    assert_eq!(chosen().await, [(p.clone(), t), (p.clone(), u), (q.clone(), t)]);
    // Replaced, a policy stays chosen.
    let replaced = Change::PutPolicy(subscription("q", "s.u", Subscribers::Selected));
    store.apply("local", vec![replaced]).await.unwrap();
    assert_eq!(chosen().await.len(), 3);

    let unchoose = Change::UnchoosePolicy { policy: p.clone(), source: table("s.t") };
    store.apply("local", vec![unchoose.clone()]).await.unwrap();
    assert_eq!(chosen().await, [(p.clone(), u), (q, t)]);
    assert_eq!(refused(&store, vec![unchoose]).await, "choice `p for s.t` does not exist");
    store.apply("local", vec![Change::RemovePolicy(policy_key("q"))]).await.unwrap();
    assert_eq!(chosen().await, [(p, u)]);
    store.apply("local", vec![Change::RemoveSource(table("s.u")), source("s.u", &[]), policy("q")]).await.unwrap();
    assert_eq!(chosen().await, []);
    assert_eq!(refused(&store, vec![choose("gone", "s.t")]).await, "policy `gone` does not exist");
    assert_eq!(refused(&store, vec![choose("p", "s.gone")]).await, "data source `s.gone` does not exist");
}

#[tokio::test]
async fn a_certification_is_of_what_the_policy_says() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let policy = |key: &str, who: Subscribers, tags: &[&str]| {
        let mut policy = subscription(key, "s.t", who);
        let tags = tags.iter().map(|tag| Tag::new(*tag).unwrap()).collect();
        policy.certification = Some(Certification { text: "looked at".to_owned(), label: None, tags });
        policy
    };
    let asking = policy("p", Subscribers::Anyone, &["Certified", "PII"]);
    let template = Policy { template: true, ..policy("q", Subscribers::Anyone, &[]) };
    let plain = subscription("r", "s.t", Subscribers::Anyone);
    let sources = [source("s.t", &["tara"]), source("s.u", &[])];
    let policies = [asking.clone(), template, plain].map(Change::PutPolicy);
    let users = [user("tara", &[]), user("garth", &[])];
    store.apply("local", users.into_iter().chain(sources).chain(policies).collect()).await.unwrap();
    let certify = |key, name, user: Option<&str>| {
        vec![Change::CertifyPolicy { policy: policy_key(key), source: table(name), user: user.map(person) }]
    };
    for (key, name, user, why) in [
        ("p", "s.t", Some("garth"), "user `garth` is no owner of it"),
        ("q", "s.t", None, "it is a template"),
        ("r", "s.t", None, "it asks for no certification"),
        ("p", "s.u", None, "it is not about that source"),
    ] {
        let said = refused(&store, certify(key, name, user)).await;
        assert_eq!(said, format!("policy `{key}` cannot be certified for data source `{name}`: {why}"));
    }
    assert_eq!(refused(&store, certify("gone", "s.t", None)).await, "policy `gone` does not exist");
    assert_eq!(refused(&store, certify("p", "s.gone", None)).await, "data source `s.gone` does not exist");
    assert_eq!(refused(&store, certify("p", "s.t", Some("nora"))).await, "user `nora` does not exist");

    let made = async || {
        let made = store.certifications().await.unwrap();
        made.into_iter().map(|made| (made.by, made.epoch.0, made.current)).collect::<Vec<_>>()
    };
    assert_eq!(made().await, []);
    assert_eq!(store.apply("local", certify("p", "s.t", Some("tara"))).await.unwrap(), Epoch(2));
    assert_eq!(made().await, [("tara".to_owned(), 1, true)]);
    let tags =
        async || store.facts().await.unwrap().sources[0].tags.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(tags().await, ["Certified", "PII"]);
    // Once is enough, whoever does it again.
    assert_eq!(store.apply("local", certify("p", "s.t", None)).await.unwrap(), Epoch(2));
    assert_eq!(made().await, [("tara".to_owned(), 1, true)]);
    // Another text is another policy, and the same text the same one.
    store.apply("local", vec![Change::PutPolicy(policy("p", Subscribers::Selected, &["Other"]))]).await.unwrap();
    assert_eq!(made().await, [("tara".to_owned(), 1, false)]);
    store.apply("local", vec![Change::PutPolicy(asking)]).await.unwrap();
    assert_eq!(made().await, [("tara".to_owned(), 1, true)]);
    store.apply("local", vec![Change::PutPolicy(policy("p", Subscribers::Selected, &["Other"]))]).await.unwrap();
    store.apply("greg", certify("p", "s.t", None)).await.unwrap();
    assert_eq!(made().await, [("greg".to_owned(), 5, true)]);
    assert_eq!(tags().await, ["Certified", "Other", "PII"]);
    // Who owns it later has certified nothing, and neither has a policy that is made anew.
    store.apply("local", vec![Change::RemoveSource(table("s.t")), source("s.t", &[])]).await.unwrap();
    assert_eq!(made().await, []);
    store.apply("local", certify("p", "s.t", None)).await.unwrap();
    store.apply("local", vec![Change::RemovePolicy(policy_key("p"))]).await.unwrap();
    assert_eq!(made().await, []);
}

#[tokio::test]
async fn leave_to_act_as_others_goes_with_the_people() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    store.apply("local", vec![user("bot", &[]), user("tara", &["Toys"]), user("garth", &[])]).await.unwrap();
    let as_user = |name| PrincipalSet::User(person(name));
    let as_group = |name| PrincipalSet::Group(group(name));
    let grant = |target: &PrincipalSet| Impersonation { actor: person("bot"), target: target.clone() };
    let allow = |target: &PrincipalSet| Change::AllowImpersonation(grant(target));
    let targets = async || {
        let grants = store.facts().await.unwrap().impersonations;
        assert!(grants.iter().all(|grant| grant.actor == person("bot")));
        grants.into_iter().map(|grant| grant.target).collect::<Vec<_>>()
    };
    let (tara, garth, toys) = (as_user("tara"), as_user("garth"), as_group("Toys"));
    store.apply("local", vec![allow(&tara), allow(&garth), allow(&toys)]).await.unwrap();
    for again in [&tara, &toys] {
        assert_eq!(store.apply("local", vec![allow(again)]).await.unwrap(), Epoch(2));
    }
    assert_eq!(targets().await, [garth.clone(), tara.clone(), toys.clone()]);
    store.apply("local", vec![Change::DenyImpersonation(grant(&garth))]).await.unwrap();
    assert_eq!(targets().await, [tara, toys.clone()]);
    assert_eq!(
        refused(&store, vec![Change::DenyImpersonation(grant(&garth))]).await,
        "impersonation `bot as user `garth`` does not exist"
    );
    assert_eq!(refused(&store, vec![allow(&as_user("nora"))]).await, "user `nora` does not exist");
    assert_eq!(refused(&store, vec![allow(&as_group("Tyos"))]).await, "group `Tyos` does not exist");
    assert_eq!(
        refused(&store, vec![allow(&as_user("bot"))]).await,
        "user `bot` cannot be let act as user `bot`: everybody acts as oneself already"
    );

    // As with every right, whoever gets the name later does not get the leave.
    store.apply("local", vec![Change::RemoveUser(person("tara")), user("tara", &[])]).await.unwrap();
    assert_eq!(targets().await, [toys]);
    store.apply("local", vec![Change::DeleteGroup(group("Toys")), user("tara", &["Toys"])]).await.unwrap();
    assert_eq!(targets().await, []);
    store.apply("local", vec![allow(&garth)]).await.unwrap();
    store.apply("local", vec![Change::RemoveUser(person("bot")), user("bot", &[])]).await.unwrap();
    assert_eq!(targets().await, []);
}

#[tokio::test]
async fn a_source_can_be_made_from_others() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let new = |name| Change::AddSource(wide(name));
    store.apply("local", vec![new("s.t"), new("s.u"), new("s.v")]).await.unwrap();
    let from = |names: &[(&str, &str)]| names.iter().map(|(source, name)| (table(source), column(name))).collect();
    let derive = |name: &str, parents: &[&str], columns: Vec<(&str, NewOrigin)>| {
        let parents = parents.iter().map(|parent| table(parent)).collect();
        let columns = columns.into_iter().map(|(name, origin)| (column(name), origin)).collect();
        vec![Change::SetLineage { source: table(name), lineage: Some(NewLineage { parents, columns }) }]
    };
    let copied = |names: &[(&str, &str)]| NewOrigin::Copied(from(names));
    let computed = |names: &[(&str, &str)]| NewOrigin::Computed(from(names));
    let join = || {
        let columns =
            vec![("a", copied(&[("s.t", "a"), ("s.u", "a")])), ("b", computed(&[("s.u", "b"), ("s.u", "d")]))];
        derive("s.v", &["s.t", "s.u"], columns)
    };
    assert_eq!(store.apply("local", join()).await.unwrap(), Epoch(2));
    // The same again is no change.
    assert_eq!(store.apply("local", join()).await.unwrap(), Epoch(2));
    let [t, u] = [source_id(&store, "s.t").await, source_id(&store, "s.u").await];
    let place = |source, column| ParentColumn { source, column: ColumnId(column) };
    let expected = Lineage {
        parents: BTreeSet::from([t, u]),
        columns: BTreeMap::from([
            (ColumnId(1), Origin::Copied(BTreeSet::from([place(t, 1), place(u, 1)]))),
            (ColumnId(2), Origin::Computed(BTreeSet::from([place(u, 2), place(u, 3)]))),
        ]),
        ..Lineage::default()
    };
    let known = async || weir_guard::SnapshotFeed::current(&store).await.unwrap();
    assert_eq!(known().await.source_by_name(&table("s.v")).unwrap().lineage, Some(expected));

    let not = "data source `s.v` cannot be derived so: ";
    for (changes, why) in [
        (derive("s.v", &["s.gone"], vec![]), "data source `s.gone` does not exist".to_owned()),
        (derive("s.v", &["s.t"], vec![("a", copied(&[("s.t", "x")]))]), "column `s.t.x` does not exist".to_owned()),
        (derive("s.v", &["s.t"], vec![("x", copied(&[("s.t", "a")]))]), "column `s.v.x` does not exist".to_owned()),
        (derive("s.v", &[], vec![]), format!("{not}`s.v` is derived from nothing")),
        (derive("s.v", &["s.v"], vec![]), format!("{not}`s.v` is derived from itself")),
        (derive("s.v", &["s.t"], vec![("a", computed(&[]))]), format!("{not}column `a` must come from some column")),
        (
            derive("s.v", &["s.t"], vec![("a", computed(&[("s.u", "a")]))]),
            format!("{not}a column of `s.v` comes from a source that `s.v` is not derived from"),
        ),
        (
            derive("s.v", &["s.t"], vec![("a", copied(&[("s.t", "b")]))]),
            format!("{not}column `a` of type bigint is no copy of `s.t.b` of type text"),
        ),
        (
            derive("s.t", &["s.v"], vec![]),
            "data source `s.t` cannot be derived so: `s.t` is derived from itself".to_owned(),
        ),
    ] {
        assert_eq!(refused(&store, changes).await, why);
    }
    // What is gone stays named, and nothing that comes after it is taken for it.
    store.apply("local", vec![Change::RemoveSource(table("s.t")), new("s.t")]).await.unwrap();
    let snapshot = known().await;
    let lineage = snapshot.source_by_name(&table("s.v")).unwrap().lineage.clone().unwrap();
    assert!(lineage.parents.contains(&t) && snapshot.source(t).is_none());
    store.apply("local", vec![Change::SetLineage { source: table("s.v"), lineage: None }]).await.unwrap();
    assert_eq!(known().await.source_by_name(&table("s.v")).unwrap().lineage, None);
}
