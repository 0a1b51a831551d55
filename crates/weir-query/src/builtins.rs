//! Every function and operator of the engine, and what it may do to a row that is not seen.
//!
//! A release of the engine that is not the one that was looked through does not compile, and one whose functions are
//! others does not start: see [`check`].

use std::collections::BTreeSet;

use datafusion::DATAFUSION_VERSION;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::SessionState;
use datafusion::logical_expr::Operator;

use crate::functions;

/// The release whose functions are listed here.
const LOOKED_THROUGH: &str = "55.2.0";

const _: () = assert!(same(LOOKED_THROUGH, DATAFUSION_VERSION), "look through the functions of the new engine");

const fn same(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while let ([first, rest @ ..], [other, others @ ..]) = (a, b) {
        if *first != *other {
            return false;
        }
        (a, b) = (rest, others);
    }
    a.is_empty() && b.is_empty()
}

/// Cannot fail on any value of any arguments that can be planned, and depends on nothing but them. May run on rows that
/// are not seen.
#[rustfmt::skip]
const LEAKPROOF: [&str; 26] = [
    "ascii", "bit_length", "btrim", "char_length", "character_length", "coalesce", "contains", "ends_with", "ifnull",
    "instr", "isnan", "iszero", "length", "lower", "ltrim", "nullif", "nvl", "nvl2", "octet_length", "position",
    "reverse", "rtrim", "starts_with", "strpos", "trim", "upper",
];

/// May fail, or has not been shown not to. Runs on what is seen only.
#[rustfmt::skip]
const FALLIBLE: [&str; 225] = [
    "abs", "acos", "acosh", "array_add", "array_any_value", "array_append", "array_avg", "array_cat", "array_compact",
    "array_concat", "array_contains", "array_dims", "array_distance", "array_distinct", "array_element",
    "array_empty", "array_except", "array_extract", "array_has", "array_has_all", "array_has_any", "array_indexof",
    "array_intersect", "array_join", "array_length", "array_lower", "array_max", "array_min", "array_ndims",
    "array_normalize", "array_pop_back", "array_pop_front", "array_position", "array_positions", "array_prepend",
    "array_product", "array_push_back", "array_push_front", "array_remove", "array_remove_all", "array_remove_n",
    "array_repeat", "array_replace", "array_replace_all", "array_replace_n", "array_resize", "array_reverse",
    "array_scale", "array_slice", "array_sort", "array_subtract", "array_sum", "array_to_string", "array_union",
    "array_upper", "arrays_overlap", "arrays_zip", "arrow_cast", "arrow_field", "arrow_metadata", "arrow_try_cast",
    "arrow_typeof", "asin", "asinh", "atan", "atan2", "atanh", "cardinality", "cast_to_type", "cbrt", "ceil", "chr",
    "concat", "concat_ws", "cos", "cosh", "cosine_distance", "cot", "date_bin", "date_format", "date_part",
    "date_trunc", "datepart", "datetrunc", "decode", "degrees", "digest", "dot_product", "element_at", "empty",
    "encode", "exp", "factorial", "find_in_set", "flatten", "floor", "from_unixtime", "gcd", "generate_series",
    "get_field", "greatest", "initcap", "inner_product", "lcm", "least", "left", "levenshtein", "list_add",
    "list_any_value", "list_append", "list_avg", "list_cat", "list_compact", "list_concat", "list_contains",
    "list_dims", "list_distance", "list_distinct", "list_element", "list_empty", "list_except", "list_extract",
    "list_has", "list_has_all", "list_has_any", "list_indexof", "list_intersect", "list_join", "list_length",
    "list_max", "list_ndims", "list_normalize", "list_pop_back", "list_pop_front", "list_position", "list_positions",
    "list_prepend", "list_product", "list_push_back", "list_push_front", "list_remove", "list_remove_all",
    "list_remove_n", "list_repeat", "list_replace", "list_replace_all", "list_replace_n", "list_resize",
    "list_reverse", "list_scale", "list_slice", "list_sort", "list_subtract", "list_sum", "list_to_string",
    "list_union", "list_zip", "ln", "log", "log10", "log2", "lpad", "make_array", "make_date", "make_list",
    "make_time", "map", "map_entries", "map_extract", "map_keys", "map_values", "md5", "named_struct", "nanvl",
    "overlay", "pi", "pow", "power", "radians", "range", "regexp_count", "regexp_instr", "regexp_like",
    "regexp_match", "regexp_replace", "repeat", "replace", "right", "round", "row", "rpad", "sha224", "sha256",
    "sha384", "sha512", "signum", "sin", "sinh", "split_part", "sqrt", "string_to_array", "string_to_list", "struct",
    "substr", "substr_index", "substring", "substring_index", "tan", "tanh", "to_char", "to_date", "to_hex",
    "to_time", "to_timestamp", "to_timestamp_micros", "to_timestamp_millis", "to_timestamp_nanos",
    "to_timestamp_seconds", "to_unixtime", "translate", "trunc", "try_cast_to_type", "union_extract", "union_tag",
    "with_metadata",
];

/// Tells of the statement or of the catalogue that its reader sees, and not of rows.
#[rustfmt::skip]
const STABLE: [&str; 33] = [
    "current_database", "current_date", "current_schema", "current_schemas", "current_time", "current_timestamp",
    "current_user", "format_type", "has_any_column_privilege", "has_database_privilege", "has_schema_privilege",
    "has_table_privilege", "now", "parse_ident", "pg_backend_pid", "pg_encoding_to_char", "pg_get_constraintdef",
    "pg_get_expr", "pg_get_partkeydef", "pg_get_statisticsobjdef_columns", "pg_get_userbyid",
    "pg_partition_ancestors", "pg_relation_is_publishable", "pg_relation_size", "pg_stat_get_numscans",
    "pg_table_is_visible", "pg_total_relation_size", "quote_ident", "session_user", "to_local_time", "today", "user",
    "version",
];

/// Differs from row to row.
#[rustfmt::skip]
const VOLATILE: [&str; 3] = [
    "rand", "random", "uuid",
];

/// Tells in which files rows lie, and how many are before them. Taken away.
#[rustfmt::skip]
const REFUSED: [&str; 2] = [
    "file_row_index", "input_file_name",
];

/// Aggregates run on what is seen only.
#[rustfmt::skip]
const AGGREGATE: [&str; 46] = [
    "any_value", "approx_distinct", "approx_median", "approx_percentile_cont", "approx_percentile_cont_with_weight",
    "array_agg", "avg", "bit_and", "bit_or", "bit_xor", "bool_and", "bool_or", "corr", "count", "covar", "covar_pop",
    "covar_samp", "first_value", "grouping", "last_value", "max", "mean", "median", "min", "nth_value",
    "percentile_cont", "quantile_cont", "regr_avgx", "regr_avgy", "regr_count", "regr_intercept", "regr_r2",
    "regr_slope", "regr_sxx", "regr_sxy", "regr_syy", "stddev", "stddev_pop", "stddev_samp", "string_agg", "sum",
    "var", "var_pop", "var_population", "var_samp", "var_sample",
];

/// So do window functions.
#[rustfmt::skip]
const WINDOW: [&str; 11] = [
    "cume_dist", "dense_rank", "first_value", "lag", "last_value", "lead", "nth_value", "ntile", "percent_rank",
    "rank", "row_number",
];

/// Make rows of their arguments alone.
#[rustfmt::skip]
const TABLE: [&str; 3] = [
    "generate_series", "pg_get_keywords", "range",
];

/// Functions of functions, which run on what is seen only.
#[rustfmt::skip]
const HIGHER_ORDER: [&str; 9] = [
    "any_match", "array_any_match", "array_filter", "array_first", "array_transform", "list_any_match", "list_filter",
    "list_first", "list_transform",
];

/// Whether a function may run on rows that are not seen.
pub(crate) fn is_leakproof(function: &str) -> bool {
    LEAKPROOF.contains(&function)
}

/// Whether an operator may: comparisons and their boolean combinations.
pub(crate) fn is_leakproof_operator(operator: Operator) -> bool {
    match operator {
        Operator::Eq
        | Operator::NotEq
        | Operator::Lt
        | Operator::LtEq
        | Operator::Gt
        | Operator::GtEq
        | Operator::IsDistinctFrom
        | Operator::IsNotDistinctFrom
        | Operator::And
        | Operator::Or => true,
        // Overflow and divide by zero.
        Operator::Plus
        | Operator::Minus
        | Operator::Multiply
        | Operator::Divide
        | Operator::Modulo
        | Operator::IntegerDivide
        | Operator::BitwiseAnd
        | Operator::BitwiseOr
        | Operator::BitwiseXor
        | Operator::BitwiseShiftRight
        | Operator::BitwiseShiftLeft => false,
        // Fail on patterns, which may come from rows.
        Operator::RegexMatch
        | Operator::RegexIMatch
        | Operator::RegexNotMatch
        | Operator::RegexNotIMatch
        | Operator::LikeMatch
        | Operator::ILikeMatch
        | Operator::NotLikeMatch
        | Operator::NotILikeMatch => false,
        // Make new values of any size.
        Operator::StringConcat => false,
        // On nested values, whose kernels fail on some.
        Operator::AtArrow
        | Operator::ArrowAt
        | Operator::Arrow
        | Operator::LongArrow
        | Operator::HashArrow
        | Operator::HashLongArrow
        | Operator::AtAt
        | Operator::HashMinus
        | Operator::AtQuestion
        | Operator::Question
        | Operator::QuestionAnd
        | Operator::QuestionPipe
        | Operator::Colon => false,
    }
}

pub(crate) fn is_table_function(function: &str) -> bool {
    TABLE.contains(&function)
}

/// Takes away what is refused.
pub(crate) fn restrict(state: &mut SessionState) -> datafusion::common::Result<()> {
    // Weir's own know what the reader sees.
    let own = functions::names();
    for function in REFUSED.iter().chain(&own) {
        state.deregister_udf(function)?;
    }
    Ok(())
}

/// Which functions of the engine are not listed here, or listed and not there; `others` are Weir's own.
pub(crate) fn check(state: &SessionState, others: &BTreeSet<&str>) -> Result<(), String> {
    let scalar: Vec<&str> = [&LEAKPROOF[..], &FALLIBLE, &STABLE, &VOLATILE].concat();
    let unlike = |kind: &str, listed: &[&str], there: BTreeSet<&str>| {
        let listed: BTreeSet<&str> = listed.iter().copied().collect();
        let unlike = listed.symmetric_difference(&there).copied();
        let unlike: Vec<&str> = unlike.filter(|name| !others.contains(name)).collect();
        if unlike.is_empty() {
            Ok(())
        } else {
            Err(format!("{kind} functions have not been looked through: {unlike:?}"))
        }
    };
    unlike("scalar", &scalar, state.scalar_functions().keys().map(String::as_str).collect())?;
    unlike("aggregate", &AGGREGATE, state.aggregate_functions().keys().map(String::as_str).collect())?;
    unlike("window", &WINDOW, state.window_functions().keys().map(String::as_str).collect())?;
    unlike("table", &TABLE, state.table_functions().keys().map(String::as_str).collect())?;
    unlike("higher-order", &HIGHER_ORDER, state.higher_order_functions().keys().map(String::as_str).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_of_one_class() {
        let all: Vec<&str> = [&LEAKPROOF[..], &FALLIBLE, &STABLE, &VOLATILE, &REFUSED].concat();
        let once: BTreeSet<&str> = all.iter().copied().collect();
        assert_eq!(once.len(), all.len());
    }

    #[test]
    fn a_function_that_is_not_listed_is_noticed() {
        let state = crate::engine::template_for_tests();
        assert_eq!(check(&state, &crate::functions::names()), Ok(()));
        let mut more = state.clone();
        let upper = state.udf("upper").unwrap();
        more.register_udf(std::sync::Arc::new(upper.as_ref().clone().with_aliases(["shout"]))).unwrap();
        assert!(check(&more, &crate::functions::names()).unwrap_err().contains("shout"));
        more.deregister_udf("lower").unwrap();
        assert!(check(&more, &crate::functions::names()).unwrap_err().contains("lower"));
    }
}
