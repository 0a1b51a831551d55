//! The cases below `tests/cases` over SQL: who may not read is told that there is no such table, and who may sees what
//! the naive oracle says, on rows by chance.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_author::case::{
    Case, CaseFile, Decide, Enter, List, NOW, Questions, Setting, Suite, SuiteFile, Write, unix_ms,
};
use weir_model::{PrincipalId, ProjectName};
use weir_testkit::generate::{Sizes, Speaker, World};
use weir_testkit::ports::MemoryWorkspaces;

use crate::asking::{Answer, Asking, Kind};
use crate::files;
use crate::plain::Plain;

/// Rows are made anew for each.
const SEEDS: std::ops::Range<u64> = 0..3;

#[tokio::test]
async fn cases_hold_over_sql() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases");
    let suite = Suite::find(std::slice::from_ref(&folder)).unwrap();
    let mut asked = 0;
    let mut wrong = Vec::new();
    for SuiteFile { name, file } in &suite.files {
        for seed in SEEDS {
            let mut world = World::populated(facts(&folder, file), seed, &Sizes::default());
            let data = tempfile::tempdir().unwrap();
            files::write_plainly(&mut world, data.path(), 20);
            let register = Arc::new(MemoryWorkspaces::default());
            let asking = Asking::writing(&world, Arc::clone(&register), &data.path().join("workspaces"));
            let mut steps = vec![(file.questions(), None)];
            steps.extend(file.then.iter().map(|then| (then.questions(), Some(then))));
            for (Questions { cases, writes, enters, lists }, then) in steps {
                if let Some(then) = then {
                    world.facts = then.onto(&world.facts).unwrap();
                    asking.change(&world);
                }
                let mut answered = Vec::new();
                for case in cases.iter().filter(|case| may_act(&world, case)) {
                    answered.push((&case.case, holds(&world, &asking, case, file.feature.as_deref()).await));
                }
                for write in writes {
                    answered.push((&write.case, writes_as_said(&world, &asking, &register, write).await));
                }
                for enter in enters {
                    answered.push((&enter.case, enters_as_said(&world, &asking, enter).await));
                }
                for list in lists {
                    answered.push((&list.case, lists_as_said(&world, &asking, list).await));
                }
                asked += answered.len();
                let failed = answered.into_iter().filter_map(|(case, answer)| Some((case, answer.err()?)));
                wrong.extend(failed.map(|(case, why)| format!("{name}, case `{case}`, seed {seed}: {why}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {asked}\n{}", wrong.len(), wrong.join("\n"));
    assert!(asked >= 600, "{asked} questions");
}

fn facts(folder: &Path, file: &CaseFile) -> weir_policy::Facts {
    let world = |name: Option<&str>| {
        let path: PathBuf = folder.join(format!("worlds/{}.world", name.unwrap_or("none")));
        weir_author::world::World::parse(&std::fs::read_to_string(path).unwrap())
    };
    file.facts(&Setting { world: &world, policies: None }).unwrap()
}

/// Without a grant nobody gets as far as a statement.
fn may_act(world: &World, case: &Case) -> bool {
    let target = |id: &PrincipalId| world.facts.principals.iter().find(|person| person.id == *id);
    case.by.as_ref().is_none_or(|actor| {
        let grants = world.facts.impersonations.iter();
        grants
            .filter(|grant| grant.actor == *actor)
            .any(|grant| target(&case.person).is_some_and(|p| grant.target.contains(p)))
    })
}

async fn holds(world: &World, asking: &Asking, case: &Case, feature: Option<&str>) -> Result<(), String> {
    let speaker = Speaker {
        principal: case.person.clone(),
        acting: case.by.clone(),
        project: case.project.clone(),
        at_unix_ms: unix_ms(case.at.as_deref().unwrap_or(NOW)).unwrap(),
    };
    let source = world.facts.sources.iter().find(|source| source.name == case.ask).unwrap();
    let visible = world.visible(&speaker);
    let sql = format!("SELECT * FROM \"{}\".\"{}\"", source.name.schema(), source.name.table());
    let answer = asking.ask(&speaker, &sql).await;
    if case.decide == Decide::Deny {
        // The oracle does not know what is wrong with a policy that does not fit any more.
        let broken = feature.is_some_and(|feature| feature.starts_with("broken/"))
            || case.reason.as_deref().is_some_and(|reason| reason.ends_with("broken-policy"));
        return match answer {
            _ if visible.contains_key(&source.id) && !broken => Err("the oracle shows it".to_owned()),
            Answer::Refused { kind: Kind::Planning, .. } => Ok(()),
            // Whoever is not known gets nowhere.
            Answer::Refused { .. } if case.reason.as_deref() == Some("unknown-principal") => Ok(()),
            other => Err(other.told()),
        };
    }
    if !visible.contains_key(&source.id) {
        return Err("the oracle does not show it".to_owned());
    }
    let expected = Plain::new(world, &visible).ask(&sql).await;
    let (answer, expected) = (answer.sorted(), expected.sorted());
    if answer == expected { Ok(()) } else { Err(format!("{}\ninstead of {}", answer.told(), expected.told())) }
}

fn speaker(person: &PrincipalId, project: Option<&ProjectName>) -> Speaker {
    let at_unix_ms = unix_ms(NOW).unwrap();
    Speaker { principal: person.clone(), acting: None, project: project.cloned(), at_unix_ms }
}

/// Who writes has a table with its project in the register; who does not hears nothing of the place.
async fn writes_as_said(
    world: &World,
    asking: &Asking,
    register: &MemoryWorkspaces,
    write: &Write,
) -> Result<(), String> {
    let speaker = speaker(&write.person, write.project.as_ref());
    let writes = world.oracle(&speaker.principal, &speaker.surroundings()).writes_in(write.table.schema());
    if writes != write.writes {
        return Err(format!("the oracle says {writes}"));
    }
    let table = &write.table;
    let sql = format!("CREATE TABLE \"{}\".\"{}\" AS SELECT 1 AS one", table.schema(), table.table());
    let done = asking.run(&speaker, &sql).await;
    let registered: Vec<_> = register.take().into_iter().map(|made| (Some(made.project), made.name)).collect();
    match done {
        Ok(None) if writes && registered == [(write.project.clone(), table.clone())] => Ok(()),
        Err(refusal) if !writes && registered.is_empty() => match refusal.outside().text() {
            "tables are written in the workspace of the current project only" | "this account is not active" => Ok(()),
            other => Err(other.to_owned()),
        },
        Ok(_) => Err(format!("it is written: {registered:?}")),
        Err(refusal) => Err(refusal.outside().text().to_owned()),
    }
}

async fn enters_as_said(world: &World, asking: &Asking, enter: &Enter) -> Result<(), String> {
    let speaker = speaker(&enter.person, None);
    let mine = world.oracle(&speaker.principal, &speaker.surroundings()).projects();
    let acts = enter.sets.as_ref().is_none_or(|wanted| mine.get(wanted).copied().unwrap_or_default());
    if acts != enter.reason.is_none() {
        return Err(format!("the oracle says {acts}"));
    }
    let argument = enter.sets.as_ref().map(|project| format!("'{project}'")).unwrap_or_default();
    match asking.about_projects(&speaker, &format!("SELECT weir.set_current_project({argument})")).await {
        Ok(set) if acts && set == enter.sets.clone().map(|project| (project, None)).into_iter().collect::<Vec<_>>() => {
            Ok(())
        }
        Err(refusal) if !acts && matches!(refusal.outside(), weir_guard::Outside::Forbidden { .. }) => Ok(()),
        Ok(set) => Err(format!("it is set: {set:?}")),
        Err(refusal) => Err(refusal.outside().text().to_owned()),
    }
}

async fn lists_as_said(world: &World, asking: &Asking, list: &List) -> Result<(), String> {
    let speaker = speaker(&list.person, None);
    let mine = world.oracle(&speaker.principal, &speaker.surroundings()).projects();
    let said: BTreeMap<_, _> = list.projects.iter().map(|(name, state)| (name.clone(), state == "open")).collect();
    if said != mine {
        return Err(format!("the oracle says {mine:?}"));
    }
    let told = asking.about_projects(&speaker, "SELECT * FROM weir.list_projects()").await;
    let told = told.map_err(|refusal| refusal.outside().text().to_owned())?;
    let told: BTreeMap<_, _> = told.into_iter().map(|(name, closed)| (name, closed.is_none())).collect();
    if told == mine { Ok(()) } else { Err(format!("{told:?}")) }
}
