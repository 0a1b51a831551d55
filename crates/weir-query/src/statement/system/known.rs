//! Statements of clients that are answered by another one.

use datafusion::sql::sqlparser::ast::Statement as Sql;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

/// asyncpg follows types to those that they are made of, by a recursion that the engine cannot plan. Here types are made of
/// others in arrays only.
const TYPES: (&str, &str) = (
    "typeinfo_tree",
    "SELECT t.oid, n.nspname AS ns, t.typname AS name, t.typtype AS kind, CAST(NULL AS OID) AS basetype, \
     t.typelem AS elemtype, e.typdelim AS elemdelim, CAST(NULL AS OID) AS range_subtype, CAST(NULL AS TEXT) AS attrtypoids, \
     CAST(NULL AS TEXT) AS attrnames, CASE WHEN t.oid = ANY($1::oid[]) THEN 0 ELSE 1 END AS depth, \
     CAST(NULL AS TEXT) AS basetype_name, CASE WHEN t.typelem <> 0 THEN t.typelem::regtype::text END AS elemtype_name, \
     CAST(NULL AS TEXT) AS range_subtype_name \
     FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
     LEFT JOIN pg_catalog.pg_type e ON t.typlen = -1 AND t.typelem <> 0 AND t.typelem = e.oid \
     WHERE t.oid = ANY($1::oid[]) \
     OR t.oid IN (SELECT i.typelem FROM pg_catalog.pg_type i WHERE i.oid = ANY($1::oid[])) ORDER BY depth DESC",
);

pub(super) fn replace(sql: &mut Sql) {
    let Sql::Query(query) = sql else { return };
    let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
    if ctes.into_iter().any(|cte| cte.alias.name.value == TYPES.0)
        && let Ok(mut other) = Parser::parse_sql(&PostgreSqlDialect {}, TYPES.1)
        && let Some(other) = other.pop()
    {
        *sql = other;
    }
}
