//! The `.slt` files, each a test of its own, with people who speak to the engine in process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use weir_guard::Refusal;
use weir_model::PrincipalId;
use weir_testkit::generate::Speaker;
use weir_testkit::retail;
use weir_testkit::slt::{self, Door, Session, Told};

use crate::asking::{Answer, Asking, over};

struct InProcess(Arc<Asking>);

struct Speaking {
    asking: Arc<Asking>,
    speaker: Speaker,
}

#[async_trait]
impl Door for InProcess {
    type Session = Speaking;

    async fn connect(&self, persona: &str) -> Result<Speaking, Told> {
        let person = PrincipalId::builtin(persona).map_err(|e| Told(e.to_string()))?;
        Ok(Speaking { asking: Arc::clone(&self.0), speaker: Speaker::itself(&person) })
    }
}

#[async_trait]
impl Session for Speaking {
    async fn run(&mut self, sql: &str) -> Result<slt::Answer, Told> {
        let answer = self
            .asking
            .run(&self.speaker, sql)
            .await
            .map_err(|refusal: Refusal| Told(refusal.outside().text().to_owned()))?;
        Ok(match answer {
            Some(Answer::Rows { columns, rows }) => slt::Answer::Rows { columns: columns.len(), rows },
            Some(Answer::Refused { text, .. }) => return Err(Told(text)),
            None => slt::Answer::Done,
        })
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/slt")
}

async fn run(file: &str) {
    let place = tempfile::tempdir().unwrap();
    let asking = over(&mut retail::world(), place.path());
    slt::run_file(&folder().join(file), Arc::new(InProcess(Arc::new(asking)))).await;
}

macro_rules! files {
    ($($name:ident)*) => {
        const FILES: &[&str] = &[$(concat!(stringify!($name), ".slt")),*];

        $(#[tokio::test]
        async fn $name() {
            run(concat!(stringify!($name), ".slt")).await;
        })*
    };
}

files! {
    attribute_match
    catalogue
    lookup
    masks
    original_values
    query_shapes
    refused_statements
    row_filters
    seed_view
    side_channels
    unseen
}

/// A file that no test runs is one that nobody misses.
#[test]
fn every_file_has_a_test() {
    let found = |folder: &Path| {
        let names = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".slt")).collect();
        names.sort();
        names
    };
    assert_eq!(found(&folder()), FILES);
}
