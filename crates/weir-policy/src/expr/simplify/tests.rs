use super::super::Nothing;
use super::*;

use weir_model::SourceId;

type E = Expr<Nothing>;

fn column(id: u32) -> E {
    Expr::Column(ColumnId(id))
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn equal(id: u32, value: &str) -> E {
    Expr::Compare { op: Compare::Equal, left: Box::new(column(id)), right: Box::new(Expr::Literal(text(value))) }
}

fn null() -> E {
    Expr::Literal(Value::Null)
}

fn not(expr: E) -> E {
    Expr::Not(Box::new(expr))
}

#[test]
fn null_is_false_only_where_truth_alone_counts() {
    let a = || equal(1, "a");
    assert_eq!(Expr::And(vec![a(), null()]).folded(), Expr::And(vec![a(), Expr::truth(false)]).folded());
    assert_eq!(null().folded(), E::truth(false));
    assert_eq!(not(null()).folded(), E::truth(false));
    assert_eq!(Expr::Or(vec![null(), a()]).folded(), a());
    // NOT (a OR NULL) is never true; forgetting the NULL would make it NOT a.
    let kept = not(Expr::Or(vec![a(), null()])).folded();
    assert_eq!(kept, not(Expr::Or(vec![a(), null()])));
    // NOT (a AND NULL) is true where a is false; making the NULL FALSE would make it true everywhere.
    let kept = not(Expr::And(vec![a(), null()])).folded();
    assert_eq!(kept, not(Expr::And(vec![a(), null()])));
}

#[test]
fn known_parts_go() {
    let a = || equal(1, "a");
    assert_eq!(Expr::And(vec![E::truth(true), a()]).folded(), a());
    assert_eq!(Expr::And(vec![]).folded(), E::truth(true));
    assert_eq!(E::Or(vec![]).folded(), E::truth(false));
    assert_eq!(Expr::Or(vec![a(), E::truth(true)]).folded(), E::truth(true));
    assert_eq!(not(not(a())).folded(), a());
    assert_eq!(not(Expr::And(vec![a(), E::truth(false)])).folded(), E::truth(true));
    let nested = Expr::And(vec![a(), Expr::And(vec![equal(2, "b"), E::truth(true)])]);
    assert_eq!(nested.folded(), Expr::And(vec![a(), equal(2, "b")]));
}

#[test]
fn literals_are_compared() {
    let compare = |op, a: Value, b: Value| {
        E::Compare { op, left: Box::new(Expr::Literal(a)), right: Box::new(Expr::Literal(b)) }.folded()
    };
    assert_eq!(compare(Compare::Equal, Value::Int(1), Value::Number("1.0".to_owned())), E::truth(true));
    assert_eq!(compare(Compare::Less, text("a"), text("b")), E::truth(true));
    assert_eq!(compare(Compare::GreaterOrEqual, Value::Date(0), Value::Timestamp(1)), E::truth(false));
    assert_eq!(compare(Compare::NotEqual, Value::Null, Value::Int(1)), E::truth(false));
    let list: E = Expr::InList { value: Box::new(Expr::Literal(text("b"))), list: [text("a"), text("b")].into() };
    assert_eq!(list.folded(), E::truth(true));
}

#[test]
fn a_column_cannot_equal_two_literals() {
    let both = || Expr::And(vec![equal(1, "a"), equal(1, "b")]);
    assert_eq!(both().folded(), E::truth(false));
    // In a row with NULL the condition is NULL, and so is its negation.
    assert_eq!(not(both()).folded(), not(both()));
    assert_eq!(Expr::And(vec![equal(1, "a"), equal(2, "b")]).folded(), Expr::And(vec![equal(1, "a"), equal(2, "b")]));
}

#[test]
fn long_chains_of_equalities_become_lists_and_lookups_by_key() {
    let names: Vec<String> = (0..8).map(|n| format!("v{n}")).collect();
    let plain = Expr::Or(names.iter().map(|name| equal(1, name)).collect());
    let list: Arc<[Value]> = names.iter().map(|name| text(name)).collect();
    assert_eq!(plain.clone().simplified(), Expr::InList { value: Box::new(column(1)), list });
    assert_eq!(not(plain.clone()).simplified(), not(plain), "only where truth alone counts");

    let rest = || Expr::IsNull(Box::new(column(3)));
    let arm = |name: &String| Expr::And(vec![equal(2, "x"), rest(), equal(1, name)]);
    let grants = Expr::Or(names.iter().map(arm).collect());
    let Expr::Keyed { columns, arms } = grants.simplified() else { panic!("not keyed") };
    assert_eq!(columns, [ColumnId(1), ColumnId(2)]);
    assert_eq!(arms.len(), 8);
    assert_eq!(arms[3], KeyedArm { key: vec![text("v3"), text("x")], rest: rest() });

    let short = Expr::Or(names.iter().take(7).map(|name| equal(1, name)).collect());
    assert_eq!(short.clone().simplified(), short);
}

#[test]
fn arms_without_the_common_column_stay_beside_the_lookup() {
    let mut arms: Vec<E> = (0..9).map(|n| equal(1, &format!("v{n}"))).collect();
    arms.push(Expr::IsNull(Box::new(column(2))));
    arms.push(Expr::And(vec![
        Expr::InList { value: Box::new(column(1)), list: [text("x"), text("y")].into() },
        equal(2, "z"),
    ]));
    let Expr::Or(parts) = Expr::Or(arms).simplified() else { panic!("not an OR") };
    let [Expr::Keyed { columns, arms }, Expr::IsNull(_)] = parts.as_slice() else { panic!("{parts:?}") };
    assert_eq!(columns, &[ColumnId(1)]);
    assert_eq!(arms.len(), 11);
    assert_eq!(arms[9], KeyedArm { key: vec![text("x")], rest: equal(2, "z") });
    assert_eq!(arms[10], KeyedArm { key: vec![text("y")], rest: equal(2, "z") });
}

#[test]
fn two_equalities_on_the_key_keep_the_second_in_the_rest() {
    let arms = (0..8).map(|n| {
        let list = Expr::InList { value: Box::new(column(1)), list: [text("a"), text("b")].into() };
        Expr::And(vec![equal(1, &format!("v{n}")), list])
    });
    let Expr::Keyed { arms, .. } = Expr::Or(arms.collect()).simplified() else { panic!("not keyed") };
    assert!(matches!(arms[0].rest, Expr::InList { .. }), "{:?}", arms[0]);
}

#[test]
fn a_lookup_with_a_false_filter_finds_nothing_but_stays_null_for_null_under_not() {
    let lookup = || {
        let keys = vec![LookupKey { outer: column(1), inner: column(9) }];
        E::InLookup(Arc::new(Lookup { source: SourceId(2), keys, filter: Expr::truth(false) }))
    };
    assert_eq!(lookup().folded(), E::truth(false));
    assert_eq!(not(lookup()).folded(), not(lookup()));
}
