//! The cases below `tests/cases` over SQL: who may not read is told that there is no such table, and who may sees what
//! the naive oracle says, on rows by chance.

use std::path::{Path, PathBuf};

use weir_author::case::{Case, CaseFile, Decide, NOW, Setting, Suite, unix_ms};
use weir_model::PrincipalId;
use weir_testkit::generate::{Sizes, Speaker, World};

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
    for file in &suite.files {
        for seed in SEEDS {
            let mut world = World::populated(facts(&folder, &file.file), seed, &Sizes::default());
            let data = tempfile::tempdir().unwrap();
            files::write_plainly(&mut world, data.path(), 20);
            let asking = Asking::new(&world);
            for case in file.file.cases.iter().filter(|case| may_act(&world, case)) {
                asked += 1;
                if let Err(why) = holds(&world, &asking, case, file.file.feature.as_deref()).await {
                    wrong.push(format!("{}, case `{}`, seed {seed}: {why}", file.name, case.case));
                }
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
