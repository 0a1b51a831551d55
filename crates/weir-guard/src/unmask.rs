//! Turning masked values back: a read like any other, with a permission of its own.

use weir_mask::{FormatPreserving, Keys, Reversible, key_id_of};
use weir_model::{ColumnId, ColumnName, DataType, Permission, SourceId, SourceName};
use weir_policy::{KeyScope, Mask, SourceDecision};

use crate::audit::Ended;
use crate::refusal::{Outside, Refusal, Truth};
use crate::request::{Caller, Guard, Request};

/// Most values of one call.
pub const VALUES_MAX: usize = 1_000;

/// Which values to turn back, and what for.
#[derive(Clone, Debug)]
pub struct Unmasking {
    pub source: SourceName,
    pub column: ColumnName,
    /// As they were seen.
    pub values: Vec<String>,
    /// For the record; not empty.
    pub reason: String,
}

impl Guard {
    /// The original of each value, in order. `None` for one that no key of the column made.
    ///
    /// The caller needs [`Permission::Unmask`], which impersonation does not lend, and must be let in by the source's
    /// policies. On record before anything is turned back.
    pub async fn unmask(&self, caller: Caller, what: &Unmasking) -> Result<Vec<Option<String>>, Refusal> {
        let Unmasking { source, column, values, reason } = what;
        let statement = format!("unmask {} values of {source}.{column}: {reason}", values.len());
        let request = self.begin(caller, &statement).await?;
        let source = match allowed(&request, what) {
            Ok(source) => source,
            Err(refusal) => return Err(request.refuse(refusal).await),
        };
        let decision = request.decide(&[source]);
        if decision.sources.iter().any(|(_, decided)| matches!(decided, SourceDecision::Deny(..))) {
            let refusal = not_found(&what.source, Truth::Unseen);
            return Err(request.refuse_decided(&decision, refusal).await);
        }
        let found = match find(&request, source, what) {
            Ok(found) => found,
            Err(refusal) => return Err(request.refuse_decided(&decision, refusal).await),
        };
        let admitted = request.admit(&decision).await?;
        match self.turn_back(&found, what).await {
            Ok(originals) => {
                let bytes = originals.iter().flatten().map(String::len).sum::<usize>();
                admitted.count(values.len() as u64, bytes as u64);
                admitted.end(Ended::Complete, None).await.map(|()| originals)
            }
            Err(refusal) => {
                let detail = refusal.inside().detail.clone();
                admitted.end(Ended::Failed, Some(detail)).await?;
                Err(refusal)
            }
        }
    }

    async fn turn_back(&self, found: &Found, what: &Unmasking) -> Result<Vec<Option<String>>, Refusal> {
        let scope = KeyScope::Source(found.source);
        let newest = self.keys().mask_key(&scope).await.map_err(Refusal::unavailable)?;
        let newest = Keys::new(newest.id, newest.secret).map_err(Refusal::unavailable)?;
        let reversible = Reversible::new(&newest, found.column);
        let format = found.keeps_format.then(|| FormatPreserving::new(&newest, found.column));
        let mut originals = Vec::with_capacity(what.values.len());
        for value in &what.values {
            let original = match key_id_of(value) {
                Some(id) if id == newest.id() => reversible.unmask(value).ok(),
                Some(id) => {
                    let older = self.keys().mask_key_by_id(&scope, id).await.map_err(Refusal::unavailable)?;
                    let older = older.map(|secret| Keys::new(id, secret)).transpose().map_err(Refusal::unavailable)?;
                    older.and_then(|keys| Reversible::new(&keys, found.column).unmask(value).ok())
                }
                None => None,
            };
            // Whatever has the right form turns into something, so that it has to be known that it was made so.
            originals.push(original.or_else(|| format.as_ref().and_then(|format| found.in_format(format, value))));
        }
        Ok(originals)
    }
}

/// The column whose values are turned back.
struct Found {
    source: SourceId,
    column: ColumnId,
    data_type: DataType,
    /// Some policy masks it with its format preserved.
    keeps_format: bool,
}

impl Found {
    #[expect(clippy::wildcard_enum_match_arm, reason = "no other type keeps its format")]
    fn in_format(&self, format: &FormatPreserving, value: &str) -> Option<String> {
        match self.data_type {
            DataType::Text => format.unmask(value),
            DataType::Int32 => whole(format, value, i32::MIN.into(), i32::MAX.into()),
            DataType::Int64 => whole(format, value, i64::MIN.into(), i64::MAX.into()),
            DataType::UInt32 => whole(format, value, 0, u32::MAX.into()),
            DataType::UInt64 => whole(format, value, 0, u64::MAX.into()),
            _ => None,
        }
    }
}

fn whole(format: &FormatPreserving, value: &str, least: i128, most: i128) -> Option<String> {
    format.unmask_int(value.trim().parse().ok()?, least..=most).map(|original| original.to_string())
}

fn not_found(source: &SourceName, truth: Truth) -> Refusal {
    let text = format!("data source `{source}` does not exist");
    Refusal::new(Outside::NotFound { text }, truth, "unmasking")
}

/// What is asked for is in order, and the caller may ask for such things.
fn allowed(request: &Request, what: &Unmasking) -> Result<SourceId, Refusal> {
    let holds = request.principal().permissions.contains(&Permission::Unmask);
    if !holds || request.surroundings().impersonated {
        let text = "permission to unmask values is missing".to_owned();
        return Err(Refusal::new(Outside::Forbidden { text }, Truth::Denied, "no permission `unmask`"));
    }
    if what.reason.trim().is_empty() {
        return Err(Refusal::invalid("say what the values are unmasked for"));
    }
    if what.values.len() > VALUES_MAX {
        return Err(Refusal::invalid(format!("at most {VALUES_MAX} values are unmasked at once")));
    }
    let source = request.snapshot().source_by_name(&what.source);
    source.map(|source| source.id).ok_or_else(|| not_found(&what.source, Truth::Missing))
}

fn find(request: &Request, source: SourceId, what: &Unmasking) -> Result<Found, Refusal> {
    let found = request.snapshot().source(source).and_then(|source| source.place(what.column.as_str()));
    let Some(column) = found else {
        let text = format!("data source `{}` has no column `{}`", what.source, what.column);
        return Err(Refusal::new(Outside::NotFound { text: text.clone() }, Truth::Missing, text));
    };
    Ok(Found {
        source,
        column: column.id,
        data_type: column.data_type.element().clone(),
        keeps_format: request.snapshot().is_masked_by(source, column.id, &Mask::FormatPreserving),
    })
}
