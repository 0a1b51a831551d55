//! The engine without a door, asked within the process: what any door gets of it, with all that a schema says.

use std::path::Path;
use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::Schema;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use tokio::runtime::Runtime;
use weir_guard::{Caller, Door, Guard, Outside, Refusal, SystemClock};
use weir_model::{Actor, PrincipalId};
use weir_query::{Engine, EngineSettings, Query, Statement, UserLimits};
use weir_store::Store;

use super::wire::Answer;

pub(crate) struct Local {
    engine: Engine,
    runtime: Runtime,
}

impl Local {
    /// An engine over a data directory, beside the server on it.
    pub(crate) fn over(dir: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let store = runtime.block_on(Store::open(dir, Arc::new(SystemClock))).unwrap();
        let store = Arc::new(store);
        let guard = Guard::new(store.clone(), store.clone(), store, Arc::new(SystemClock));
        let settings = EngineSettings {
            memory_bytes_max: 1 << 30,
            partitions: 2,
            statement_bytes_max: 1 << 20,
            user: UserLimits::default(),
        };
        Self { engine: Engine::new(guard, settings).unwrap(), runtime }
    }

    /// `None` for what is no single read.
    pub(crate) fn ask(&self, user: &str, sql: &str) -> Option<Answer> {
        let mut answer = Answer::default();
        match weir_query::parse(sql) {
            Err(refusal) => refuse(&mut answer, &refusal),
            Ok(statements) => {
                let [Statement::Query(query)] = statements.as_slice() else { return None };
                let id = PrincipalId::builtin(user).unwrap();
                let caller = Caller { actor: Actor::itself(id), project: None, door: Door::Local, client_hint: None };
                if let Err(refusal) = self.runtime.block_on(Box::pin(self.read(&caller, query, &mut answer))) {
                    refuse(&mut answer, &refusal);
                }
            }
        }
        let rows = answer.rows.iter().flatten().map(|value| value.as_deref().unwrap_or_default());
        answer.raw = answer.messages.iter().map(String::as_bytes).chain(rows).collect::<Vec<_>>().join(&b'\n');
        Some(answer)
    }

    async fn read(&self, caller: &Caller, query: &Query, answer: &mut Answer) -> Result<(), Refusal> {
        let described = self.engine.describe(caller, query).await?;
        answer.messages.push(format!("parameters: {:?}", described.parameters));
        answer.messages.push(format!("described: {}", shape(&described.schema)));
        let mut rows = self.engine.run(caller, query, Vec::new()).await?;
        // Whether a column of the run can be NULL depends on shortcuts that a scan without a barrier takes: a door that
        // sends schemas sends what was described.
        let columns = rows.schema().fields().iter().map(|field| format!("`{}` {}", field.name(), field.data_type()));
        answer.messages.push(columns.collect::<Vec<String>>().join("; "));
        let options = FormatOptions::default();
        while let Some(batch) = rows.next().await? {
            let columns: Vec<ArrayFormatter<'_>> =
                batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
            for row in 0..batch.num_rows() {
                let value = |(column, formatter): (&Arc<dyn Array>, &ArrayFormatter<'_>)| {
                    column.is_valid(row).then(|| formatter.value(row).to_string().into_bytes())
                };
                answer.rows.push(batch.columns().iter().zip(&columns).map(value).collect());
            }
        }
        Ok(())
    }
}

/// Columns with whether they can be NULL, and everything that goes with them.
fn shape(schema: &Schema) -> String {
    let column = |field: &Arc<arrow::datatypes::Field>| {
        format!("`{}` {} {} {:?}", field.name(), field.data_type(), field.is_nullable(), field.metadata())
    };
    let columns: Vec<String> = schema.fields().iter().map(column).collect();
    format!("columns: {} {:?}", columns.join("; "), schema.metadata())
}

fn refuse(answer: &mut Answer, refusal: &Refusal) {
    let outside = refusal.outside();
    let hint = match outside {
        Outside::Invalid { hint, .. } => hint.clone(),
        _ => None,
    };
    answer.messages.push(format!("error: {} | {hint:?}", outside.text()));
    // Codes are a matter of doors.
    answer.error = Some((String::new(), outside.text().to_owned()));
}
