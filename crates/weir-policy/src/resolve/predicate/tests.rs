use std::collections::BTreeSet;
use std::path::PathBuf;

use weir_model::{ColumnId, ColumnName, FileFormat, Location, SourceId, SourceName};

use super::*;
use crate::language::parse_predicate;

fn source(id: u32, name: &str, columns: &[(&str, DataType)]) -> DataSource {
    let (schema, table) = name.split_once('.').unwrap();
    let columns = columns.iter().enumerate().map(|(n, (name, data_type))| Column {
        id: ColumnId(id * 100 + n as u32),
        name: ColumnName::new(*name).unwrap(),
        data_type: data_type.clone(),
        nullable: true,
        tags: BTreeSet::new(),
        profile: None,
    });
    DataSource {
        id: SourceId(id),
        name: SourceName::new(schema, table).unwrap(),
        tags: BTreeSet::new(),
        owners: BTreeSet::new(),
        columns: columns.collect(),
        parts: Vec::new(),
        row_key: Vec::new(),
        event_time: None,
        lineage: None,
        workspace: None,
        location: Location::Files { format: FileFormat::Parquet, path: PathBuf::from("/d"), partitions: Vec::new() },
    }
}

fn sources() -> Vec<DataSource> {
    let money = DataType::Decimal { precision: 10, scale: 2 };
    let at = DataType::Timestamp { zoned: false };
    vec![
        source(
            1,
            "shop.orders",
            &[
                ("id", DataType::Int64),
                ("customer", DataType::Int64),
                ("country", DataType::Text),
                ("total", money),
                ("day", DataType::Date),
                ("at", at),
                ("paid", DataType::Boolean),
                ("raw", DataType::Binary),
            ],
        ),
        source(
            2,
            "shop.customers",
            &[
                ("id", DataType::Int64),
                ("login", DataType::Text),
                ("nation", DataType::Int32),
                ("country", DataType::Text),
            ],
        ),
        source(3, "shop.nations", &[("key", DataType::Int32), ("name", DataType::Text)]),
    ]
}

fn bind(text: &str) -> Result<Bound, Misfit> {
    let sources = sources();
    truth(&parse_predicate(text).unwrap(), &sources[0], &Catalog::new(&sources, &[], &BTreeSet::new()))
}

fn bound(text: &str) -> Bound {
    bind(text).unwrap_or_else(|misfit| panic!("{text}: {misfit:?}"))
}

fn wrong(text: &str) -> String {
    match bind(text) {
        Err(Misfit::Wrong(diagnostic)) => diagnostic.message.trim_start_matches("in `shop.orders`: ").to_owned(),
        other => panic!("{text}: {other:?}"),
    }
}

fn literal_of(text: &str) -> Value {
    match bound(text) {
        Expr::Compare { right, .. } => match *right {
            Expr::Literal(value) => value,
            other => panic!("{text}: {other:?}"),
        },
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn literals_take_the_type_of_the_column() {
    assert_eq!(literal_of("day = '1970-01-02'"), Value::Date(1));
    assert_eq!(literal_of("at = '1970-01-01 00:00:01'"), Value::Timestamp(1_000_000));
    assert_eq!(literal_of("at < DATE '1970-01-02'"), Value::Timestamp(86_400_000_000));
    assert_eq!(literal_of("id = 5.0"), Value::Int(5));
    assert_eq!(literal_of("total >= 5.50"), Value::Number("5.50".to_owned()));
    let list: Arc<[Value]> = [Value::Date(0), Value::Date(1)].into();
    let Expr::InList { list: found, .. } = bound("day IN ('1970-01-01', '1970-01-02')") else { panic!() };
    assert_eq!(found, list);
}

#[test]
fn types_that_do_not_compare_are_refused() {
    for (text, message) in [
        ("id = 'x'", "bigint cannot be compared with the literal 'x'"),
        ("country = 5", "text cannot be compared with the literal 5"),
        ("day = 'soon'", "date cannot be compared with the literal 'soon'"),
        ("id = country", "bigint cannot be compared with text"),
        ("raw = 'x'", "binary cannot be compared with the literal 'x'"),
        ("country = NULL", "a comparison with NULL is never true"),
        ("country IN ('a', NULL)", "a comparison with NULL is never true"),
        ("country", "a condition is needed here, not text"),
        ("paid AND 1", "a condition is needed here, not the literal 1"),
        ("id LIKE 'x'", "LIKE needs text, not bigint"),
        ("country LIKE country", "the pattern of LIKE must be a text literal"),
        ("lower(id) = 'x'", "lower needs text, not bigint"),
        ("substring(country, 0, 1) = 'x'", "start and count of substring must be whole numbers, from 1 and from 0 on"),
        ("coalesce(country, 5) = 'x'", "the arguments of coalesce must be of one type, not text and the literal 5"),
        ("@groupsContains(raw)", "groups and attribute values cannot be compared with binary"),
    ] {
        assert_eq!(wrong(text), message, "{text}");
    }
    for text in ["paid", "NOT paid", "day < at", "length(country) > 2", "coalesce(country, 'none') <> 'none'", "NULL"] {
        bound(text);
    }
}

#[test]
fn what_the_governed_source_lacks_passes_it_over() {
    for text in [
        "colour = 'red'",
        "shop.items.id = 1",
        "orders.colour = 'red'",
        "@columnReference('colour') = 'red'",
        "@columnTagged('PII') = 'x'",
    ] {
        assert!(matches!(bind(text), Err(Misfit::Absent(_))), "{text}");
    }
    bound("orders.id = 1 AND shop.orders.id = 2");
}

#[test]
fn a_lookup_binds_inner_names_first() {
    let Expr::InLookup(lookup) = bound("customer IN (SELECT id FROM shop.customers WHERE country = 'US')") else {
        panic!()
    };
    assert_eq!(lookup.source, SourceId(2));
    assert_eq!(lookup.keys, [LookupKey { outer: Expr::Column(ColumnId(101)), inner: Expr::Column(ColumnId(200)) }]);
    let Expr::And(filter) = &lookup.filter else { panic!() };
    let Expr::Compare { left, .. } = &filter[0] else { panic!() };
    assert_eq!(**left, Expr::Column(ColumnId(203)));
}

#[test]
fn equalities_tie_an_exists_to_the_row() {
    let text = "EXISTS (SELECT 1 FROM shop.customers c WHERE c.id = customer AND orders.country = c.country AND c.login = @username)";
    let Expr::InLookup(lookup) = bound(text) else { panic!() };
    assert_eq!(lookup.keys.len(), 2);
    assert_eq!(lookup.keys[1].outer, Expr::Column(ColumnId(102)));
    assert_eq!(lookup.keys[1].inner, Expr::Column(ColumnId(203)));
    let Expr::And(filter) = &lookup.filter else { panic!() };
    assert_eq!(filter.len(), 1);
    // With nothing of the row outside, what is asked about the person is the key.
    let Expr::InLookup(lookup) = bound("EXISTS (SELECT 1 FROM shop.customers WHERE login = @username)") else {
        panic!()
    };
    assert_eq!(lookup.keys[0].outer, Expr::User(UserTerm::Username));
    let Expr::InLookup(lookup) = bound("@username IN (SELECT login FROM shop.customers)") else { panic!() };
    assert_eq!(lookup.keys[0].outer, Expr::User(UserTerm::Username));
}

#[test]
fn lookups_that_cannot_be_keyed_are_refused() {
    for (text, message) in [
        (
            "EXISTS (SELECT 1 FROM shop.customers WHERE nation > 5)",
            "nothing ties a row of `shop.customers` to the row outside",
        ),
        (
            "EXISTS (SELECT 1 FROM shop.customers c WHERE c.id = customer AND c.id < total)",
            "only equalities may tie a row of `shop.customers` to the row outside",
        ),
        (
            "EXISTS (SELECT 1 FROM shop.customers c WHERE c.id = customer OR c.nation = 5)",
            "only equalities may tie a row of `shop.customers` to the row outside",
        ),
        ("customer IN (SELECT 5 FROM shop.customers)", "the key must be a column of `shop.customers`"),
        ("customer IN (SELECT login FROM shop.customers)", "bigint cannot be compared with text"),
        ("customer IN (SELECT id FROM shop.gone)", "unknown data source `shop.gone`"),
        ("customer IN (SELECT colour FROM shop.customers)", "unknown column `colour` in `shop.customers`"),
        // A nested lookup speaks of the row right outside it alone.
        (
            "customer IN (SELECT id FROM shop.customers WHERE nation IN (SELECT key FROM shop.nations n WHERE n.name = orders.country))",
            "only equalities may tie a row of `shop.nations` to the row outside",
        ),
    ] {
        assert_eq!(wrong(text), message, "{text}");
    }
}

#[test]
fn lookups_nest_but_not_for_ever() {
    let nested = |depth: usize| {
        let mut text = "nation > 0".to_owned();
        for _ in 1..depth {
            text = format!("id IN (SELECT id FROM shop.customers WHERE {text})");
        }
        format!("customer IN (SELECT id FROM shop.customers WHERE {text})")
    };
    bound(&nested(4));
    assert_eq!(wrong(&nested(5)), "lookups nest at most 4 deep");
}

#[test]
fn deep_conditions_are_refused_without_overflowing_the_stack() {
    let mut predicate = Predicate::Literal(Value::Boolean(true));
    for _ in 0..2_000 {
        predicate = Predicate::Not(Box::new(predicate));
    }
    let sources = sources();
    assert!(matches!(
        truth(&predicate, &sources[0], &Catalog::new(&sources, &[], &BTreeSet::new())),
        Err(Misfit::Wrong(_))
    ));
}
