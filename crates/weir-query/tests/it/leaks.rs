//! Do hidden rows speak? Probes that cannot fail on visible rows: one that fails has looked at a hidden row or at the
//! original of a masked value, and its error may even quote it.
//!
//! In `hr.emp` visible rows have the department A, names that read as numbers and salaries other than 100; hidden rows
//! have the department B, the salary 100 and the name `HIDDEN_BOB`. Every original social security number is eleven
//! characters long, and masked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use weir_model::{
    Column, ColumnId, ColumnName, DataSource, DataType, Epoch, FileFormat, Location, PolicyId, PolicyKey, Principal,
    PrincipalId, SourceId, SourceName, Value,
};
use weir_policy::ast::{
    Action, Body, Cascade, Circumstances, ColumnRef, Columns, LookupQuery, MaskAction, Merge, Method, Policy,
    Predicate, RowCondition, Rule, Scope, Statement, Subscribe, Subscribers,
};
use weir_policy::{Compare, Facts, Function, StoredPolicy};
use weir_testkit::Cell;
use weir_testkit::generate::World;

use crate::asking::{Answer, over};

const SECRET: &str = "HIDDEN_BOB";
const ROWS: i64 = 20_000;

/// A name, and a query over `hr.emp` and `hr.t`, whose column `k` has the numbers from 0 to 49.
const PROBES: &[(&str, &str)] = &[
    ("where 1/x", "SELECT id FROM hr.emp WHERE 1/(salary-100) >= -1000000"),
    ("where cast", "SELECT id FROM hr.emp WHERE CAST(name AS INT) >= 0"),
    ("where guarded cast", "SELECT id FROM hr.emp WHERE CASE WHEN salary = 100 THEN CAST(name AS INT) ELSE 1 END > 0"),
    (
        "where overflow",
        "SELECT id FROM hr.emp WHERE CAST(CASE WHEN salary = 100 THEN 9999999999 ELSE 1 END AS INT) > 0",
    ),
    ("where and", "SELECT id FROM hr.emp WHERE id >= 0 AND 1/(salary-100) >= -10 AND id < 100000"),
    ("where or", "SELECT id FROM hr.emp WHERE salary = 100 OR CAST(name AS INT) >= 0"),
    ("where not", "SELECT id FROM hr.emp WHERE NOT (CAST(name AS INT) < 0)"),
    ("where regex", "SELECT id FROM hr.emp WHERE CAST(regexp_replace(name, 'x', '') AS INT) >= 0"),
    ("where narrow cast", "SELECT id FROM hr.emp WHERE id = 3 AND CAST(name AS INT) >= 0"),
    ("select 1/x", "SELECT 1/(salary-100) AS x FROM hr.emp"),
    ("select cast", "SELECT CAST(name AS INT) AS x FROM hr.emp"),
    ("select case", "SELECT CASE WHEN 1/(salary-100) >= 0 THEN 1 ELSE 0 END AS x FROM hr.emp"),
    ("join on", "SELECT count(*) AS n FROM hr.emp v JOIN hr.t ON CAST(v.name AS INT) = t.k"),
    (
        "left join on",
        "SELECT count(*) AS n FROM hr.t LEFT JOIN hr.emp v ON CAST(v.name AS INT) = t.k AND 1/(v.salary-100) >= -10",
    ),
    (
        "self join",
        "SELECT count(*) AS n FROM hr.emp a JOIN hr.emp b ON a.id = b.id AND CAST(a.name AS INT) = CAST(b.name AS INT)",
    ),
    ("order by", "SELECT id FROM hr.emp ORDER BY CAST(name AS INT) LIMIT 3"),
    ("order by raw", "SELECT name FROM hr.emp ORDER BY name DESC LIMIT 3"),
    ("order by masked", "SELECT id FROM hr.emp ORDER BY length(ssn), id LIMIT 3"),
    ("agg", "SELECT max(CAST(name AS INT)) AS m FROM hr.emp"),
    ("agg overflow", "SELECT sum(CAST(CASE WHEN salary = 100 THEN 9999999999 ELSE 1 END AS INT)) AS m FROM hr.emp"),
    ("agg filter", "SELECT count(*) FILTER (WHERE CAST(name AS INT) > 0) AS n FROM hr.emp"),
    ("group by", "SELECT CAST(name AS INT) % 3 AS g, count(*) AS n FROM hr.emp GROUP BY CAST(name AS INT) % 3"),
    ("having", "SELECT dept, count(*) AS n FROM hr.emp GROUP BY dept HAVING min(CAST(name AS INT)) >= 0"),
    ("window", "SELECT id, row_number() OVER (PARTITION BY CAST(name AS INT)) AS r FROM hr.emp"),
    ("in subquery", "SELECT k FROM hr.t WHERE k IN (SELECT CAST(name AS INT) FROM hr.emp)"),
    ("exists", "SELECT k FROM hr.t WHERE EXISTS (SELECT 1 FROM hr.emp v WHERE CAST(v.name AS INT) = t.k)"),
    ("scalar subquery", "SELECT (SELECT max(CAST(name AS INT)) FROM hr.emp) AS m"),
    ("nested view limit", "SELECT id FROM (SELECT id, name FROM hr.emp LIMIT 5) s WHERE CAST(name AS INT) >= 0"),
    ("union", "SELECT CAST(name AS INT) AS x FROM hr.emp UNION ALL SELECT 1 AS x"),
    ("cte", "WITH v AS (SELECT * FROM hr.emp) SELECT id FROM v WHERE CAST(name AS INT) >= 0"),
    ("distinct", "SELECT DISTINCT CAST(name AS INT) AS x FROM hr.emp"),
    (
        "cast masked",
        "SELECT 1 AS x FROM hr.emp WHERE CASE WHEN length(ssn) = 11 THEN CAST('x' || ssn AS INT) ELSE 1 END = 1",
    ),
    ("names", "SELECT name FROM hr.emp WHERE name LIKE 'HIDDEN%'"),
    ("text functions", "SELECT id FROM hr.emp WHERE name = upper('hidden_bob') OR salary = 100 OR dept = 'B'"),
];

/// What must come out exactly, with `{n}` for the number of visible rows.
const COUNTS: &[(&str, &str)] = &[
    ("SELECT count(*) FROM hr.emp", "{n}"),
    ("SELECT count(name) FROM hr.emp", "{n}"),
    ("SELECT sum(1) FROM hr.emp", "{n}"),
    ("SELECT min(salary) FROM hr.emp", "101"),
    ("SELECT max(dept) FROM hr.emp", "A"),
    ("SELECT min(ssn) FROM hr.emp", "XXX"),
    ("SELECT count(*) FROM hr.emp WHERE ssn <> 'XXX'", "0"),
    ("SELECT count(*) FROM hr.emp WHERE salary = 100", "0"),
    ("SELECT count(*) FROM hr.emp WHERE name = 'HIDDEN_' || 'BOB'", "0"),
    ("SELECT count(*) FROM (SELECT 1 FROM hr.emp LIMIT 100000) s", "{n}"),
    ("SELECT count(DISTINCT dept) FROM hr.emp", "1"),
];

fn name(column: &str) -> ColumnName {
    ColumnName::new(column).unwrap()
}

fn column(column: &str) -> Predicate {
    Predicate::Column(ColumnRef { qualifier: None, name: name(column) }.into())
}

fn text(text: &str) -> Predicate {
    Predicate::Literal(Value::Text(text.to_owned()))
}

fn equal(left: Predicate, right: Predicate) -> Predicate {
    Predicate::Compare { op: Compare::Equal, left: Box::new(left), right: Box::new(right) }
}

/// Of rising cost to evaluate.
fn row_policies() -> [(&'static str, Predicate); 3] {
    let call = |function, args| Predicate::Call { function, args };
    let int = |n| Predicate::Literal(Value::Int(n));
    let first = call(Function::Substring, vec![call(Function::Lower, vec![column("dept")]), int(1), int(1)]);
    let acl = LookupQuery {
        source: "hr.acl".parse::<SourceName>().unwrap().into(),
        alias: None,
        key: Some(column("id")),
        filter: Some(equal(column("usr"), text("u"))),
    };
    [
        ("simple", equal(column("dept"), text("A"))),
        ("expression", equal(first, text("a"))),
        ("lookup", Predicate::InLookup { value: Box::new(column("id")), lookup: Box::new(acl), negated: false }),
    ]
}

fn is_hidden(i: i64, percent: i64) -> bool {
    (i * 7919 % 1000) < percent * 10
}

/// Name, columns and rows.
type Table<'a> = (&'a str, &'a [(&'a str, DataType)], Vec<Vec<Cell>>);

fn world(row_policy: Predicate, percent: i64) -> World {
    let mut facts = Facts { epoch: Some(Epoch(1)), principals: vec![Principal::bare(reader())], ..Facts::default() };
    let mut tables = BTreeMap::new();
    let emp = (0..ROWS).map(|i| {
        let hidden = is_hidden(i, percent);
        vec![
            Cell::Int(i),
            Cell::Text(if hidden { SECRET.to_owned() } else { (i % 97 + 1).to_string() }),
            Cell::Text(if hidden { "B" } else { "A" }.to_owned()),
            Cell::Int(if hidden { 100 } else { 101 + i % 50 }),
            Cell::Text(format!("{:03}-11-2222", i % 1000)),
        ]
    });
    let (int, long) = (DataType::Int32, DataType::Int64);
    let columns = [
        ("id", int.clone()),
        ("name", DataType::Text),
        ("dept", DataType::Text),
        ("salary", long),
        ("ssn", DataType::Text),
    ];
    let acl = (0..ROWS).filter(|i| !is_hidden(*i, percent)).map(|i| vec![Cell::Int(i), Cell::Text("u".to_owned())]);
    let sources: [Table<'_>; 3] = [
        ("hr.emp", &columns, emp.collect()),
        ("hr.acl", &[("id", int.clone()), ("usr", DataType::Text)], acl.collect()),
        ("hr.t", &[("k", int)], (0..50).map(|k| vec![Cell::Int(k)]).collect()),
    ];
    for (number, (source, columns, rows)) in (1..).zip(sources) {
        let columns = (1..).zip(columns).map(|(id, (column, data_type))| Column {
            id: ColumnId(id),
            name: name(column),
            data_type: data_type.clone(),
            nullable: true,
            tags: BTreeSet::new(),
            profile: None,
        });
        facts.sources.push(DataSource {
            id: SourceId(number),
            name: source.parse().unwrap(),
            tags: BTreeSet::new(),
            owners: BTreeSet::new(),
            columns: columns.collect(),
            parts: Vec::new(),
            row_key: Vec::new(),
            event_time: None,
            lineage: None,
            workspace: None,
            location: Location::Files { format: FileFormat::Parquet, path: PathBuf::new(), partitions: Vec::new() },
        });
        tables.insert(SourceId(number), rows);
    }
    let named = |sources: &[&str]| {
        Circumstances::Named(sources.iter().map(|s| s.parse::<SourceName>().unwrap().into()).collect())
    };
    let data = |action| Body::Data(Cascade { rules: vec![Rule { action, scope: Scope::Everyone }] });
    let mask = MaskAction {
        columns: Columns::Named(vec![name("ssn").into()]),
        method: Method::Constant(Value::Text("XXX".to_owned())).into(),
        or_else: Vec::new(),
        when: None,
    };
    let statements = [
        (Body::Subscribe(Subscribe { who: Subscribers::Anyone, merge: Merge::Share }), named(&["hr.emp", "hr.t"])),
        (data(Action::ShowRows(RowCondition::Where(row_policy))), named(&["hr.emp"])),
        (data(Action::Mask(mask)), named(&["hr.emp"])),
    ];
    for (id, (body, on)) in (1..).zip(statements) {
        let key = PolicyKey::new(format!("policy-{id}")).unwrap();
        let statement = Statement { body, on };
        let policy = Policy::new(key, statement);
        facts.policies.push(StoredPolicy { id: PolicyId(id), policy });
    }
    World::of(facts, tables, (1..=3).map(|id| (SourceId(id), [7; 32])).collect())
}

fn reader() -> PrincipalId {
    PrincipalId::builtin("reader").unwrap()
}

async fn probe(row_policy: &str, percent: i64) {
    let (_, predicate) = row_policies().into_iter().find(|(name, _)| *name == row_policy).unwrap();
    let mut world = world(predicate, percent);
    let folder = tempfile::tempdir().unwrap();
    let asking = over(&mut world, folder.path());
    let visible = (0..ROWS).filter(|i| !is_hidden(*i, percent)).count();

    let mut spoke = Vec::new();
    for (name, sql) in PROBES {
        let told = format!("{:?}", asking.ask(&reader(), sql).await);
        if told.contains(SECRET) {
            spoke.push(format!("{name}: tells the value: {}", told.chars().take(300).collect::<String>()));
        } else if told.starts_with("Refused") {
            spoke.push(format!("{name}: {told}"));
        }
    }
    for (sql, expected) in COUNTS {
        let expected = expected.replace("{n}", &visible.to_string());
        match asking.ask(&reader(), sql).await {
            Answer::Rows { rows, .. } if rows == [[Some(expected.clone())]] => {}
            other => spoke.push(format!("{sql}: {other:?} instead of {expected}")),
        }
    }
    assert!(spoke.is_empty(), "{row_policy}, {percent} % hidden:\n{}", spoke.join("\n"));
}

macro_rules! probes {
    ($($test:ident: $row_policy:literal, $percent:literal;)*) => {
        $(#[tokio::test]
        async fn $test() {
            probe($row_policy, $percent).await;
        })*
    };
}

probes! {
    simple_few_hidden: "simple", 10;
    simple_most_hidden: "simple", 90;
    expression_few_hidden: "expression", 10;
    expression_most_hidden: "expression", 90;
    lookup_few_hidden: "lookup", 10;
    lookup_most_hidden: "lookup", 90;
}
