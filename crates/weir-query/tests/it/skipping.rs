//! What scans leave out because of conditions on masked columns. What must not be read is destroyed first.

use std::fs;
use std::path::Path;

use datafusion::parquet::file::reader::{FileReader as _, SerializedFileReader};
use weir_model::{
    Column, ColumnId, ColumnName, DataSource, DataType, Epoch, FileFormat, Location, PolicyId, PolicyKey, Principal,
    PrincipalId, SourceId, SourceName,
};
use weir_policy::{Facts, StoredPolicy, language};
use weir_testkit::Cell;
use weir_testkit::cell::Tables;
use weir_testkit::generate::{Speaker, World};
use weir_testkit::oracle::Keys;

use crate::asking::{Answer, Asking};
use crate::files;

const POLICIES: [&str; 4] = [
    "Allow anyone to subscribe on all data sources",
    "Mask by rounding to 100 the column price for everyone on data source shop.sales",
    "Mask by making null the column bonus for everyone on data source shop.sales",
    "Mask using the constant 'x' the column note for everyone on data source shop.sales",
];

/// Forty sales at prices from 0 to 1,950, ten in each row group.
fn world() -> World {
    let column = |(number, name, data_type): (u32, &str, DataType)| Column {
        id: ColumnId(number),
        name: ColumnName::new(name).unwrap(),
        data_type,
        nullable: true,
        tags: Default::default(),
        profile: None,
    };
    let integer = || DataType::Int64;
    let columns = [(1, "price", integer()), (2, "bonus", integer()), (3, "note", DataType::Text)];
    let id = SourceId(1);
    let source = DataSource {
        id,
        name: SourceName::new("shop", "sales").unwrap(),
        tags: Default::default(),
        owners: Default::default(),
        columns: columns.into_iter().map(column).collect(),
        parts: Vec::new(),
        row_key: Vec::new(),
        event_time: None,
        lineage: None,
        workspace: None,
        location: Location::Files { format: FileFormat::Parquet, path: "nowhere".into(), partitions: Vec::new() },
    };
    let policy = |(text, number): (&&str, u32)| {
        let mut policy = language::parse(text).policies.pop().unwrap();
        policy.key = PolicyKey::new(format!("policy-{number}")).unwrap();
        StoredPolicy { id: PolicyId(number), policy }
    };
    let facts = Facts {
        epoch: Some(Epoch(1)),
        principals: vec![Principal::bare(PrincipalId::builtin("tara").unwrap())],
        sources: vec![source],
        policies: POLICIES.iter().zip(1..).map(policy).collect(),
        ..Facts::default()
    };
    let sale = |i: i64| vec![Cell::Int(50 * i), Cell::Int(i), Cell::Text(format!("note {i}"))];
    World::of(facts, Tables::from([(id, (0..40).map(sale).collect())]), Keys::default())
}

/// Overwrites the values of all row groups but the last `kept`.
fn destroy(path: &Path, kept: usize) {
    let mut bytes = fs::read(path).unwrap();
    let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
    let groups = reader.metadata().row_groups();
    for column in groups[..groups.len() - kept].iter().flat_map(|group| group.columns()) {
        let (start, length) = column.byte_range();
        bytes[start as usize..(start + length) as usize].fill(0xff);
    }
    fs::write(path, bytes).unwrap();
}

async fn asked(asking: &Asking, condition: &str) -> Result<String, String> {
    let speaker = Speaker::itself(&PrincipalId::builtin("tara").unwrap());
    let sql = format!("SELECT count(*), min(price), max(price) FROM shop.sales WHERE {condition}");
    match asking.ask(&speaker, &sql).await {
        Answer::Rows { rows, .. } => {
            Ok(rows[0].iter().map(|v| v.clone().unwrap_or("∅".to_owned())).collect::<Vec<_>>().join(" "))
        }
        Answer::Refused { text, .. } => Err(text),
    }
}

#[tokio::test]
async fn conditions_on_masked_columns_skip_what_they_exclude() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = world();
    files::write_plainly(&mut world, folder.path(), 10);
    let Location::Files { path, .. } = world.facts.sources[0].location.clone() else { unreachable!("a file") };
    destroy(&path, 1);
    let asking = Asking::new(&world);
    let unreadable = Err("data source `shop.sales` cannot be read".to_owned());
    assert_eq!(asked(&asking, "price >= 0").await, unreadable);
    for (condition, rows) in [
        ("price >= 1500", "10 1500 1900"),
        ("price = 1800", "2 1800 1800"),
        ("price BETWEEN 1600 AND 1700", "4 1600 1700"),
        ("price IN (1600, 1900)", "4 1600 1900"),
        ("1700 < price AND note LIKE '%'", "4 1800 1900"),
    ] {
        assert_eq!(asked(&asking, condition).await.as_deref(), Ok(rows), "{condition}");
    }
    destroy(&path, 0);
    for condition in ["bonus > 0", "bonus = 7 AND price > 1", "note = 'note 3'", "note <> 'x'"] {
        assert_eq!(asked(&asking, condition).await.as_deref(), Ok("0 ∅ ∅"), "{condition}");
    }
    for condition in ["bonus IS NULL", "note = 'x'", "price >= 1500 OR note = 'x'"] {
        assert_eq!(asked(&asking, condition).await, unreadable, "{condition}");
    }
}
