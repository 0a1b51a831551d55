//! Projects, purposes and what members acknowledge.

use std::collections::BTreeSet;

use weir_model::{Epoch, PrincipalId, Project, ProjectName, PurposeName};
use weir_store::{Change, ProjectRecord, Store};

use crate::{open, person, refused, source, source_id, table, user};

fn project(name: &str) -> ProjectName {
    ProjectName::new(name).unwrap()
}

fn purpose(name: &str) -> PurposeName {
    PurposeName::new(name).unwrap()
}

fn create(name: &str, owners: &[&str]) -> Change {
    Change::CreateProject { project: project(name), owners: owners.iter().map(|o| person(o)).collect() }
}

fn member(name: &str, user: &str) -> Change {
    Change::AddMember { project: project(name), user: person(user) }
}

fn create_purpose(name: &str, statement: Option<&str>) -> Change {
    Change::CreatePurpose { purpose: purpose(name), statement: statement.map(str::to_owned) }
}

fn state(name: &str, statement: Option<&str>) -> Change {
    Change::SetStatement { purpose: purpose(name), statement: statement.map(str::to_owned) }
}

fn add_purpose(to: &str, name: &str) -> Change {
    Change::AddProjectPurpose { project: project(to), purpose: purpose(name) }
}

fn approve(to: &str, name: &str) -> Change {
    Change::ApproveProjectPurpose { project: project(to), purpose: purpose(name) }
}

fn acknowledge(of: &str, user: &str, name: &str, statement: &str) -> Change {
    Change::Acknowledge {
        project: project(of),
        user: person(user),
        purpose: purpose(name),
        statement: statement.to_owned(),
    }
}

async fn only_fact(store: &Store) -> Project {
    let projects = store.facts().await.unwrap().projects;
    assert_eq!(projects.len(), 1);
    projects.into_iter().next().unwrap()
}

async fn only_record(store: &Store) -> ProjectRecord {
    let projects = store.projects().await.unwrap();
    assert_eq!(projects.len(), 1);
    projects.into_iter().next().unwrap()
}

fn people(names: &[&str]) -> BTreeSet<PrincipalId> {
    names.iter().map(|name| person(name)).collect()
}

#[tokio::test]
async fn a_project_round_trips() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let base = vec![user("oona", &[]), user("tara", &[]), user("nora", &[]), source("s.t", &[]), source("s.u", &[])];
    store.apply("local", base).await.unwrap();
    assert_eq!(store.apply("local", vec![create("study", &["oona"])]).await.unwrap(), Epoch(2));
    let source_of = |name: &str| Change::AddProjectSource { project: project("study"), source: table(name) };
    let owner = Change::AddProjectOwner { project: project("study"), user: person("nora") };
    let all = vec![member("study", "tara"), member("study", "nora"), source_of("s.t"), source_of("s.u"), owner];
    assert_eq!(store.apply("local", all.clone()).await.unwrap(), Epoch(3));
    assert_eq!(store.apply("local", all).await.unwrap(), Epoch(3));
    let (t, u) = (source_id(&store, "s.t").await, source_id(&store, "s.u").await);
    let expected = Project {
        name: project("study"),
        members: people(&["nora", "tara"]),
        sources: [t, u].into(),
        purposes: BTreeSet::new(),
        acknowledged: BTreeSet::new(),
        equalized: false,
        masked_joins: false,
        workspace: None,
    };
    assert_eq!(only_fact(&store).await, expected);
    let record = only_record(&store).await;
    assert_eq!(record.owners, people(&["nora", "oona"]));
    assert_eq!(record.members, expected.members);
    assert_eq!(record.sources, [table("s.t"), table("s.u")].into());

    let equalized = |on| vec![Change::SetEqualized { project: project("study"), on }];
    let masked_joins = |on| vec![Change::SetMaskedJoins { project: project("study"), on }];
    assert_eq!(store.apply("local", equalized(false)).await.unwrap(), Epoch(3));
    store.apply("local", equalized(true)).await.unwrap();
    store.apply("local", masked_joins(true)).await.unwrap();
    assert_eq!(only_fact(&store).await, Project { equalized: true, masked_joins: true, ..expected.clone() });
    store.apply("local", equalized(false)).await.unwrap();
    store.apply("local", masked_joins(false)).await.unwrap();
    assert_eq!(only_fact(&store).await, expected);
    let history: Vec<String> = store.changes(4).await.unwrap().into_iter().map(|c| c.what).collect();
    assert_eq!(
        history,
        [
            "switch masked joins of project `study` off",
            "switch equalization of project `study` off",
            "switch masked joins of project `study` on",
            "switch equalization of project `study` on",
        ]
    );

    let removals = vec![
        Change::RemoveMember { project: project("study"), user: person("nora") },
        Change::RemoveProjectSource { project: project("study"), source: table("s.u") },
        Change::RemoveProjectOwner { project: project("study"), user: person("oona") },
    ];
    store.apply("local", removals.clone()).await.unwrap();
    let expected = Project { members: people(&["tara"]), sources: [t].into(), ..expected };
    assert_eq!(only_fact(&store).await, expected);
    assert_eq!(only_record(&store).await.owners, people(&["nora"]));
    for (removal, told) in removals.into_iter().zip([
        "membership `nora in study` does not exist",
        "data source `s.u in study` does not exist",
        "ownership `oona of study` does not exist",
    ]) {
        assert_eq!(refused(&store, vec![removal]).await, told);
    }

    // What is removed leaves its projects, and does not come back with its name.
    let gone = vec![Change::RemoveUser(person("tara")), Change::RemoveSource(table("s.t"))];
    store.apply("local", gone).await.unwrap();
    store.apply("local", vec![Change::RemoveUser(person("nora"))]).await.unwrap();
    store.apply("local", vec![user("tara", &[]), user("nora", &[]), source("s.t", &[])]).await.unwrap();
    let expected = Project { members: people(&[]), sources: BTreeSet::new(), ..expected };
    assert_eq!(only_fact(&store).await, expected);
    assert_eq!(only_record(&store).await.owners, people(&[]));
    store.apply("local", vec![Change::RemoveProject(project("study"))]).await.unwrap();
    assert!(store.facts().await.unwrap().projects.is_empty());
    assert!(store.projects().await.unwrap().is_empty());
}

#[tokio::test]
async fn errors_name_what_is_missing_or_in_the_way() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let base = vec![user("tara", &[]), source("s.t", &[]), create("study", &[]), create_purpose("a.b", Some("Text"))];
    store.apply("local", base).await.unwrap();
    let (gone, study, tara) = (project("gone"), project("study"), person("tara"));
    let cases = [
        (create("study", &[]), "project `study` already exists"),
        (create("other", &["nora"]), "user `nora` does not exist"),
        (Change::RemoveProject(gone.clone()), "project `gone` does not exist"),
        (member("gone", "tara"), "project `gone` does not exist"),
        (member("study", "nora"), "user `nora` does not exist"),
        (
            Change::AddProjectSource { project: study.clone(), source: table("s.gone") },
            "data source `s.gone` does not exist",
        ),
        (Change::AddProjectOwner { project: gone.clone(), user: tara.clone() }, "project `gone` does not exist"),
        (Change::SetEqualized { project: gone.clone(), on: true }, "project `gone` does not exist"),
        (Change::SetMaskedJoins { project: gone, on: true }, "project `gone` does not exist"),
        (add_purpose("study", "c"), "purpose `c` does not exist"),
        (approve("study", "a.b"), "purpose `a.b of study` does not exist"),
        (
            Change::RemoveProjectPurpose { project: study, purpose: purpose("a.b") },
            "purpose `a.b of study` does not exist",
        ),
        (acknowledge("study", "tara", "a.b", "Text"), "purpose `a.b of study` does not exist"),
        (create_purpose("a.b", Some("Other")), "purpose `a.b` already exists"),
        (
            create_purpose("a..b", None),
            "purpose `a..b` cannot be created: a part between dots is empty, or starts or ends with a space",
        ),
        (state("c", Some("Text")), "purpose `c` does not exist"),
        (Change::RemovePurpose(purpose("c")), "purpose `c` does not exist"),
        (Change::RemovePurpose(purpose("a")), "purpose `a` is in use by purpose `a.b` below it"),
    ];
    for (change, expected) in cases {
        assert_eq!(refused(&store, vec![change]).await, expected);
    }
    store.apply("local", vec![add_purpose("study", "a.b")]).await.unwrap();
    assert_eq!(
        refused(&store, vec![Change::RemovePurpose(purpose("a.b"))]).await,
        "purpose `a.b` is in use by project `study`"
    );
    assert_eq!(
        refused(&store, vec![acknowledge("study", "tara", "a.b", "Text")]).await,
        "membership `tara in study` does not exist"
    );
    let remove = Change::RemoveProjectPurpose { project: project("study"), purpose: purpose("a.b") };
    let changes = vec![remove, Change::RemovePurpose(purpose("a.b")), Change::RemovePurpose(purpose("a"))];
    store.apply("local", changes).await.unwrap();
    assert_eq!(store.purposes().await.unwrap(), []);
}

#[tokio::test]
async fn purposes_inherit_statements() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let listed = async || {
        let all = store.purposes().await.unwrap();
        let told = all.into_iter().map(|p| format!("{} {:?} {:?}", p.purpose, p.statement, p.holds));
        told.collect::<Vec<_>>()
    };
    store.apply("local", vec![create_purpose("a.b.c", Some("C"))]).await.unwrap();
    assert_eq!(listed().await, ["a None None", "a.b None None", r#"a.b.c Some("C") Some("C")"#]);
    // Made as a parent before, and now with a statement.
    store.apply("local", vec![create_purpose("a", Some(" A "))]).await.unwrap();
    assert_eq!(listed().await, [r#"a Some("A") Some("A")"#, r#"a.b None Some("A")"#, r#"a.b.c Some("C") Some("C")"#]);
    assert_eq!(store.apply("local", vec![create_purpose("a", Some("A"))]).await.unwrap(), Epoch(2));
    assert_eq!(store.apply("local", vec![create_purpose("a", None)]).await.unwrap(), Epoch(2));
    assert_eq!(store.apply("local", vec![state("a", Some("A"))]).await.unwrap(), Epoch(2));
    store.apply("local", vec![state("a.b.c", Some(" "))]).await.unwrap();
    assert_eq!(listed().await[2], r#"a.b.c None Some("A")"#);
    // Parts are whole: `a.bc` is not below `a.b`.
    store.apply("local", vec![create_purpose("a.bc", None), state("a.b", Some("B"))]).await.unwrap();
    assert_eq!(listed().await[3], r#"a.bc None Some("A")"#);
    store.apply("local", vec![Change::RemovePurpose(purpose("a.bc"))]).await.unwrap();
}

/// Who acknowledged what, as decisions see it.
async fn acknowledged(store: &Store) -> Vec<String> {
    only_fact(store).await.acknowledged.iter().map(|(user, purpose)| format!("{user} {purpose}")).collect()
}

#[tokio::test]
async fn purposes_take_effect_when_they_are_approved() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let base = vec![user("tara", &[]), create("study", &[]), member("study", "tara"), create_purpose("research", None)];
    store.apply("local", base).await.unwrap();
    store.apply("oona", vec![add_purpose("study", "research")]).await.unwrap();
    assert_eq!(only_fact(&store).await.purposes, BTreeSet::new());
    assert_eq!(only_record(&store).await.purposes[0].approved, None);
    let epoch = store.apply("greg", vec![approve("study", "research")]).await.unwrap();
    assert_eq!(only_fact(&store).await.purposes, [purpose("research")].into());
    let [known] = &only_record(&store).await.purposes[..] else { panic!() };
    assert_eq!((known.added.by.as_str(), known.approved.as_ref().unwrap().by.as_str()), ("oona", "greg"));
    assert_eq!(store.changes(1).await.unwrap()[0].by, "greg");
    // Once is enough, and who was first stays on record.
    assert_eq!(store.apply("ana", vec![approve("study", "research")]).await.unwrap(), epoch);
    assert_eq!(only_record(&store).await.purposes[0].approved.as_ref().unwrap().by, "greg");
    // Added again it has to be approved again.
    let remove = Change::RemoveProjectPurpose { project: project("study"), purpose: purpose("research") };
    store.apply("local", vec![remove, add_purpose("study", "research")]).await.unwrap();
    assert_eq!(only_fact(&store).await.purposes, BTreeSet::new());
}

#[tokio::test]
async fn acknowledgements_hold_for_the_text_that_was_read() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let base = vec![
        user("tara", &[]),
        user("nora", &[]),
        create_purpose("research", Some("Only for science.")),
        create_purpose("research.cancer", None),
        create_purpose("billing", None),
        create("study", &[]),
        member("study", "tara"),
        member("study", "nora"),
        add_purpose("study", "research.cancer"),
        add_purpose("study", "billing"),
        approve("study", "research.cancer"),
        approve("study", "billing"),
    ];
    store.apply("local", base).await.unwrap();
    // What says nothing needs no promise.
    assert_eq!(acknowledged(&store).await, ["nora billing", "tara billing"]);

    // The statement is that of the purpose above.
    assert_eq!(
        refused(&store, vec![acknowledge("study", "tara", "research.cancer", "Only for fun.")]).await,
        "purpose `research.cancer` cannot be acknowledged: its statement is another one by now"
    );
    let promise = || vec![acknowledge("study", "tara", "research.cancer", "Only for science.")];
    let epoch = store.apply("tara", promise()).await.unwrap();
    assert_eq!(store.apply("tara", promise()).await.unwrap(), epoch);
    assert_eq!(acknowledged(&store).await, ["nora billing", "tara billing", "tara research.cancer"]);
    let made = only_record(&store).await.acknowledgements;
    assert_eq!(made.len(), 1);
    assert_eq!(
        (made[0].statement.as_str(), made[0].made.by.as_str(), made[0].holds),
        ("Only for science.", "tara", true)
    );
    assert!(made[0].made.at_unix_ms >= 1_700_000_000_000);

    // Another text has to be acknowledged anew; what was said stays on record.
    store.apply("local", vec![state("research", Some("For science and science only."))]).await.unwrap();
    assert_eq!(acknowledged(&store).await, ["nora billing", "tara billing"]);
    assert!(!only_record(&store).await.acknowledgements[0].holds);
    store
        .apply("tara", vec![acknowledge("study", "tara", "research.cancer", "For science and science only.")])
        .await
        .unwrap();
    assert_eq!(acknowledged(&store).await.len(), 3);
    // So does the first statement of a purpose that had none.
    store.apply("local", vec![state("billing", Some("Bills."))]).await.unwrap();
    assert_eq!(acknowledged(&store).await, ["tara research.cancer"]);

    // Leaving and coming back voids it.
    let leave = Change::RemoveMember { project: project("study"), user: person("tara") };
    store.apply("local", vec![leave, member("study", "tara")]).await.unwrap();
    assert_eq!(acknowledged(&store).await, Vec::<String>::new());
    let made = only_record(&store).await.acknowledgements;
    assert_eq!(made.iter().map(|made| made.holds).collect::<Vec<_>>(), [false, false]);

    // So does being another one of the same name.
    let promise = acknowledge("study", "nora", "billing", "Bills.");
    store.apply("nora", vec![promise]).await.unwrap();
    assert_eq!(acknowledged(&store).await, ["nora billing"]);
    let again = vec![Change::RemoveUser(person("nora")), user("nora", &[]), member("study", "nora")];
    store.apply("local", again).await.unwrap();
    assert_eq!(acknowledged(&store).await, Vec::<String>::new());
    assert_eq!(only_record(&store).await.acknowledgements.len(), 3);
    // And a project of the same name is another project.
    let again = vec![
        Change::RemoveProject(project("study")),
        create("study", &[]),
        member("study", "tara"),
        add_purpose("study", "research"),
        approve("study", "research"),
    ];
    store.apply("local", again).await.unwrap();
    assert_eq!(acknowledged(&store).await, Vec::<String>::new());
    assert_eq!(only_record(&store).await.acknowledgements, []);
}
