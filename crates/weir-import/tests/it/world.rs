//! A small world of sources and people, and what Weir decides in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

use weir_import::Import;
use weir_model::{
    AttributeKey, Column, ColumnId, ColumnName, DataSource, DataType, Epoch, FileFormat, GroupName, Location, PolicyId,
    Principal, PrincipalId, SourceId, SourceName, Surroundings, Tag, Value,
};
use weir_policy::{Compare, Expr, Facts, Mask, Residual, Snapshot, SourceDecision, StoredPolicy};

/// A column with its type and tags.
pub(crate) type Given<'a> = (&'a str, DataType, &'a [&'a str]);

pub(crate) fn source(id: u32, name: &str, tags: &[&str], columns: &[Given<'_>]) -> DataSource {
    let all = |tags: &[&str]| tags.iter().map(|&tag| Tag::new(tag).unwrap()).collect::<BTreeSet<_>>();
    let columns = columns.iter().zip(1..).map(|((name, data_type, of), n)| Column {
        id: ColumnId(id * 100 + n),
        name: ColumnName::new(*name).unwrap(),
        data_type: data_type.clone(),
        profile: None,
        nullable: true,
        tags: all(of),
    });
    DataSource {
        id: SourceId(id),
        name: name.parse::<SourceName>().unwrap(),
        tags: all(tags),
        owners: BTreeSet::new(),
        columns: columns.collect(),
        parts: Vec::new(),
        row_key: Vec::new(),
        event_time: None,
        lineage: None,
        workspace: None,
        location: Location::Files { format: FileFormat::Parquet, path: PathBuf::from("/data"), partitions: Vec::new() },
    }
}

pub(crate) fn person(name: &str, groups: &[&str]) -> Principal {
    let groups = groups.iter().map(|&group| GroupName::new(group).unwrap()).collect();
    let attributes: BTreeMap<AttributeKey, BTreeSet<String>> = BTreeMap::new();
    Principal { groups, attributes, ..Principal::bare(PrincipalId::builtin(name).unwrap()) }
}

pub(crate) fn facts(sources: Vec<DataSource>, principals: Vec<Principal>, import: &Import) -> Facts {
    let stored = import.policies.iter().zip(1..);
    let policies = stored.map(|(one, id)| StoredPolicy { id: PolicyId(id), policy: one.policy.clone() }).collect();
    Facts { epoch: Some(Epoch(1)), sources, principals, policies, ..Facts::default() }
}

/// What a person sees of a source.
pub(crate) enum Seen {
    Nothing,
    Rows { filter: Option<Residual>, masks: BTreeMap<String, Mask> },
}

pub(crate) fn seen(snapshot: &Snapshot, person: &Principal, source: &DataSource) -> Seen {
    let decision = snapshot.decide(&person.id, &Surroundings::default(), &[source.id]);
    match &decision.sources[0].1 {
        SourceDecision::Deny(..) => Seen::Nothing,
        SourceDecision::Clear(_) => Seen::Rows { filter: None, masks: BTreeMap::new() },
        SourceDecision::Obliged(obligations, _) => {
            let mut masks = BTreeMap::new();
            for column in &source.columns {
                if let Some(applied) = obligations.masks.get(&column.id) {
                    assert_eq!(applied.when, None, "masks of imports are told apart by people alone");
                    let clear = applied.mask == Mask::Computed(Expr::Column(column.id));
                    if !clear {
                        masks.insert(column.name.to_string(), applied.mask.clone());
                    }
                }
            }
            Seen::Rows { filter: obligations.row_filter(), masks }
        }
    }
}

/// What everybody sees, a line for each who may read a source at all.
pub(crate) fn told(snapshot: &Snapshot, sources: &[DataSource], people: &[Principal]) -> String {
    let mut said = String::new();
    for source in sources {
        for person in people {
            let Seen::Rows { filter, masks } = seen(snapshot, person, source) else { continue };
            let rows = match filter {
                None => "all rows",
                Some(filter) if filter.is_literal(false) => "no rows",
                Some(_) => "some rows",
            };
            let masks = masks.iter().map(|(column, mask)| match mask {
                Mask::Null => format!(" {column}=null"),
                Mask::Hash => format!(" {column}=hash"),
                Mask::Regex { .. } => format!(" {column}=redacted"),
                Mask::Round(_) => format!(" {column}=rounded"),
                Mask::Computed(_) => format!(" {column}=partly"),
                other => panic!("{other:?}"),
            });
            writeln!(said, "{} {}: {rows}{}", source.name, person.id, masks.collect::<String>()).unwrap();
        }
    }
    said
}

/// Truth of a filter for one value in every column.
pub(crate) fn holds(filter: &Residual, value: Option<&str>) -> Option<bool> {
    let both = |parts: &[Residual], end: bool| {
        let truths: Vec<Option<bool>> = parts.iter().map(|part| holds(part, value)).collect();
        if truths.contains(&Some(end)) {
            Some(end)
        } else if truths.contains(&None) {
            None
        } else {
            Some(!end)
        }
    };
    match filter {
        Expr::Literal(Value::Boolean(truth)) => Some(*truth),
        Expr::Literal(Value::Null) => None,
        Expr::Compare { op: Compare::Equal, left, right } => match (&**left, &**right) {
            (Expr::Column(_), Expr::Literal(Value::Text(text))) => value.map(|value| value == text),
            other => panic!("{other:?}"),
        },
        Expr::InList { value: of, list } => {
            assert!(matches!(**of, Expr::Column(_)));
            value.map(|value| list.contains(&Value::Text(value.to_owned())))
        }
        Expr::And(parts) => both(parts, false),
        Expr::Or(parts) => both(parts, true),
        Expr::Not(part) => holds(part, value).map(|truth| !truth),
        other => panic!("{other:?}"),
    }
}
