//! Which functions the engine has, and how queries that call them are made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::logical_expr::ScalarUDF;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use weir_testkit::Dice;
use weir_testkit::generate::names_of_calls;

use crate::plain::TEMPLATE;

/// Functions that generated queries do not call, each with the reason.
pub(crate) const LEFT_OUT: [(&str, &str); 26] = [
    ("array_any_match", LAMBDA),
    ("any_match", LAMBDA),
    ("list_any_match", LAMBDA),
    ("array_filter", LAMBDA),
    ("list_filter", LAMBDA),
    ("array_first", LAMBDA),
    ("list_first", LAMBDA),
    ("array_transform", LAMBDA),
    ("list_transform", LAMBDA),
    ("current_date", TIME),
    ("current_time", TIME),
    ("current_timestamp", TIME),
    ("now", TIME),
    ("today", TIME),
    ("rand", CHANCE),
    ("random", CHANCE),
    ("uuid", CHANCE),
    ("file_row_index", FILES),
    ("input_file_name", FILES),
    ("session_user", WEIR),
    ("version", WEIR),
    ("current_schema", CATALOGUE),
    ("current_schemas", CATALOGUE),
    ("current_database", CATALOGUE),
    ("percentile_cont", PANICS),
    ("quantile_cont", PANICS),
];
const LAMBDA: &str = "the dialect of PostgreSQL cannot write what it takes";
const TIME: &str = "its answer is another one each time";
const CHANCE: &str = "its answer is by chance";
const FILES: &str = "Weir does not have it: it tells of files";
const WEIR: &str = "Weir answers in place of the engine";
const PANICS: &str = "the engine panics where it puts parts of its groups together";
const CATALOGUE: &str = "it tells of the catalogue, which the plain engine has another one of";

/// Scalar functions that are called as the lists say only: of several formats or orders the engine takes the first for
/// all, and where all lists of a batch are empty it forgets which of them are NULL.
const AS_LISTED: [&str; 9] = [
    "array_has_all",
    "array_has_any",
    "array_sort",
    "arrays_overlap",
    "date_format",
    "list_has_all",
    "list_has_any",
    "list_sort",
    "to_char",
];

/// Functions that stand in the place of a table.
const TABLES: [&str; 3] = ["generate_series", "pg_get_keywords", "range"];

/// Kinds of values as the lists of calls name them, with a type of each.
fn kinds() -> Vec<(&'static str, DataType)> {
    let list = |item| DataType::List(Arc::new(Field::new_list_field(item, true)));
    vec![
        ("small", DataType::Int64),
        ("float", DataType::Float64),
        ("dec", DataType::Decimal128(10, 2)),
        ("word", DataType::Utf8View),
        ("date", DataType::Date32),
        ("ts", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ("bool", DataType::Boolean),
        ("bytes", DataType::Binary),
        ("ints", list(DataType::Int64)),
        ("texts", list(DataType::Utf8View)),
    ]
}

/// More arguments are not tried.
const ARGUMENTS_MAX: usize = 3;
/// So many calls of each function are kept.
const CALLS_MAX: usize = 12;

/// Calls of every scalar function with arguments that its signature takes, as far as that tells it.
pub(crate) static FROM_SIGNATURES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut dice = Dice::new(55);
    let mut calls = Vec::new();
    let functions: BTreeMap<&String, &Arc<ScalarUDF>> = TEMPLATE.scalar_functions().iter().collect();
    for (name, function) in functions {
        // How values are laid out is nobody's business; neither are texts that are asked of the catalogue.
        if name.starts_with("arrow_")
            || AS_LISTED.contains(&name.as_str())
            || LEFT_OUT.iter().any(|(left_out, _)| left_out == name)
        {
            continue;
        }
        let mut fitting = fitting(function);
        while fitting.len() > CALLS_MAX {
            fitting.swap_remove(dice.below(fitting.len()));
        }
        calls.extend(fitting.into_iter().map(|arguments| format!("{name}({arguments})")));
    }
    calls
});

/// Lists of arguments that the function takes.
fn fitting(function: &ScalarUDF) -> Vec<String> {
    let kinds = kinds();
    let mut found = Vec::new();
    let mut open: Vec<Vec<usize>> = vec![Vec::new()];
    while let Some(arguments) = open.pop() {
        let fields: Vec<FieldRef> =
            arguments.iter().map(|kind| Arc::new(Field::new("a", kinds[*kind].1.clone(), true)) as FieldRef).collect();
        if fields_with_udf(&fields, function).is_ok() {
            let words: Vec<String> = arguments.iter().map(|kind| format!("{{{}}}", kinds[*kind].0)).collect();
            found.push(words.join(", "));
        }
        if arguments.len() < ARGUMENTS_MAX {
            open.extend((0..kinds.len()).map(|kind| [arguments.as_slice(), &[kind]].concat()));
        }
    }
    found
}

/// Every name of every function, without those that are left out.
pub(crate) fn to_be_called() -> BTreeSet<String> {
    let mut names = all();
    for (name, _) in LEFT_OUT {
        names.remove(name);
    }
    names
}

fn all() -> BTreeSet<String> {
    let state = &*TEMPLATE;
    let scalar = state.scalar_functions().keys();
    let names = scalar.chain(state.higher_order_functions().keys()).chain(state.aggregate_functions().keys());
    names.chain(state.window_functions().keys()).chain(state.table_functions().keys()).cloned().collect()
}

/// A function that the engine has and nothing here knows of is one that policies were never tested against.
#[test]
fn every_function_of_the_engine_is_called_or_left_out() {
    let from_signatures = FROM_SIGNATURES.iter().filter_map(|call| call.split('(').next());
    let made: BTreeSet<&str> = names_of_calls().into_iter().chain(from_signatures).chain(TABLES).collect();
    let missing: Vec<String> = to_be_called().into_iter().filter(|name| !made.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "neither called nor left out: {missing:?}");
    let known = all();
    let gone: Vec<&&str> = made.iter().filter(|name| !known.contains(**name)).collect();
    assert!(gone.is_empty(), "called, but the engine has none of them: {gone:?}");
    let idle: Vec<&str> = LEFT_OUT.iter().map(|(name, _)| *name).filter(|name| !known.contains(*name)).collect();
    assert!(idle.is_empty(), "left out, but the engine has none of them: {idle:?}");
}
