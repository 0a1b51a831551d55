//! System tables of which nobody sees rows, because Weir has no such things: indexes, constraints, triggers, rules,
//! replication, roles of others. Queries of them can be answered without being understood.

use super::{INFORMATION_SCHEMA, PG_CATALOG};

/// Those that the static part of the catalogue knows the columns of.
const KNOWN: [&str; 39] = [
    "pg_attrdef",
    "pg_auth_members",
    "pg_authid",
    "pg_constraint",
    "pg_db_role_setting",
    "pg_default_acl",
    "pg_depend",
    "pg_enum",
    "pg_event_trigger",
    "pg_extension",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_index",
    "pg_inherits",
    "pg_init_privs",
    "pg_largeobject",
    "pg_largeobject_metadata",
    "pg_matviews",
    "pg_partitioned_table",
    "pg_policy",
    "pg_publication",
    "pg_publication_namespace",
    "pg_publication_rel",
    "pg_replication_origin",
    "pg_replication_slots",
    "pg_rewrite",
    "pg_seclabel",
    "pg_sequence",
    "pg_shdepend",
    "pg_shdescription",
    "pg_shseclabel",
    "pg_stat_gssapi",
    "pg_statistic",
    "pg_statistic_ext",
    "pg_statistic_ext_data",
    "pg_subscription",
    "pg_subscription_rel",
    "pg_trigger",
];

/// The others, with their columns; text where no type is said.
const COLUMNS: [(&str, &str, &str); 41] = [
    (PG_CATALOG, "pg_available_extensions", "name default_version installed_version comment"),
    (PG_CATALOG, "pg_cursors", "name statement is_holdable:bool is_binary:bool is_scrollable:bool"),
    (PG_CATALOG, "pg_group", "groname grosysid:oid grolist:text[]"),
    (PG_CATALOG, "pg_indexes", "schemaname tablename indexname tablespace indexdef"),
    (
        PG_CATALOG,
        "pg_locks",
        "locktype database:oid relation:oid page:int4 tuple:int2 virtualxid transactionid classid:oid objid:oid \
         objsubid:int2 virtualtransaction pid:int4 mode granted:bool fastpath:bool waitstart:timestamptz",
    ),
    (PG_CATALOG, "pg_parameter_acl", "oid:oid parname paracl:text[]"),
    (PG_CATALOG, "pg_policies", "schemaname tablename policyname permissive roles:text[] cmd qual with_check"),
    (PG_CATALOG, "pg_prepared_statements", "name statement parameter_types:text[] from_sql:bool"),
    (PG_CATALOG, "pg_prepared_xacts", "transaction gid prepared:timestamptz owner database"),
    (PG_CATALOG, "pg_publication_tables", "pubname schemaname tablename attnames:text[] rowfilter"),
    (PG_CATALOG, "pg_rules", "schemaname tablename rulename definition"),
    (
        PG_CATALOG,
        "pg_sequences",
        "schemaname sequencename sequenceowner data_type start_value:int8 min_value:int8 max_value:int8 \
         increment_by:int8 cycle:bool cache_size:int8 last_value:int8",
    ),
    (PG_CATALOG, "pg_shadow", "usename usesysid:oid usecreatedb:bool usesuper:bool userepl:bool passwd"),
    (
        PG_CATALOG,
        "pg_stat_activity",
        "datid:oid datname pid:int4 leader_pid:int4 usesysid:oid usename application_name client_addr client_hostname \
         client_port:int4 backend_start:timestamptz xact_start:timestamptz query_start:timestamptz \
         state_change:timestamptz wait_event_type wait_event state backend_xid backend_xmin query_id:int8 query \
         backend_type",
    ),
    (PG_CATALOG, "pg_stat_all_tables", STAT_TABLES),
    (
        PG_CATALOG,
        "pg_stat_database",
        "datid:oid datname numbackends:int4 xact_commit:int8 xact_rollback:int8 blks_read:int8 blks_hit:int8 \
         tup_returned:int8 tup_fetched:int8 tup_inserted:int8 tup_updated:int8 tup_deleted:int8 conflicts:int8 \
         temp_files:int8 temp_bytes:int8 deadlocks:int8 stats_reset:timestamptz",
    ),
    (
        PG_CATALOG,
        "pg_stat_user_indexes",
        "relid:oid indexrelid:oid schemaname relname indexrelname idx_scan:int8 idx_tup_read:int8 idx_tup_fetch:int8",
    ),
    (PG_CATALOG, "pg_stat_user_tables", STAT_TABLES),
    (
        PG_CATALOG,
        "pg_statio_user_tables",
        "relid:oid schemaname relname heap_blks_read:int8 heap_blks_hit:int8 idx_blks_read:int8 idx_blks_hit:int8",
    ),
    (
        PG_CATALOG,
        "pg_stats",
        "schemaname tablename attname inherited:bool null_frac:float4 avg_width:int4 n_distinct:float4 \
         most_common_vals:text[] most_common_freqs:text[] histogram_bounds:text[] correlation:float4",
    ),
    (PG_CATALOG, "pg_timezone_names", "name abbrev utc_offset is_dst:bool"),
    (PG_CATALOG, "pg_transform", "oid:oid trftype:oid trflang:oid trffromsql:oid trftosql:oid"),
    (PG_CATALOG, "pg_user_mappings", "umid:oid srvid:oid srvname umuser:oid usename umoptions:text[]"),
    (INFORMATION_SCHEMA, "applicable_roles", "grantee role_name is_grantable"),
    (INFORMATION_SCHEMA, "check_constraints", "constraint_catalog constraint_schema constraint_name check_clause"),
    (
        INFORMATION_SCHEMA,
        "constraint_column_usage",
        "table_catalog table_schema table_name column_name constraint_catalog constraint_schema constraint_name",
    ),
    (
        INFORMATION_SCHEMA,
        "constraint_table_usage",
        "table_catalog table_schema table_name constraint_catalog constraint_schema constraint_name",
    ),
    (
        INFORMATION_SCHEMA,
        "domains",
        "domain_catalog domain_schema domain_name data_type character_maximum_length:int4 numeric_precision:int4 \
         numeric_scale:int4 domain_default udt_catalog udt_schema udt_name",
    ),
    (
        INFORMATION_SCHEMA,
        "element_types",
        "object_catalog object_schema object_name object_type collection_type_identifier data_type udt_schema udt_name",
    ),
    (INFORMATION_SCHEMA, "enabled_roles", "role_name"),
    (INFORMATION_SCHEMA, "foreign_tables", "foreign_table_catalog foreign_table_schema foreign_table_name"),
    (
        INFORMATION_SCHEMA,
        "key_column_usage",
        "constraint_catalog constraint_schema constraint_name table_catalog table_schema table_name column_name \
         ordinal_position:int4 position_in_unique_constraint:int4",
    ),
    (
        INFORMATION_SCHEMA,
        "parameters",
        "specific_catalog specific_schema specific_name ordinal_position:int4 parameter_mode is_result parameter_name \
         data_type udt_schema udt_name",
    ),
    (
        INFORMATION_SCHEMA,
        "referential_constraints",
        "constraint_catalog constraint_schema constraint_name unique_constraint_catalog unique_constraint_schema \
         unique_constraint_name match_option update_rule delete_rule",
    ),
    (
        INFORMATION_SCHEMA,
        "routines",
        "specific_catalog specific_schema specific_name routine_catalog routine_schema routine_name routine_type \
         data_type type_udt_schema type_udt_name routine_body routine_definition external_language",
    ),
    (
        INFORMATION_SCHEMA,
        "sequences",
        "sequence_catalog sequence_schema sequence_name data_type numeric_precision:int4 start_value minimum_value \
         maximum_value increment cycle_option",
    ),
    (
        INFORMATION_SCHEMA,
        "table_constraints",
        "constraint_catalog constraint_schema constraint_name table_catalog table_schema table_name constraint_type \
         is_deferrable initially_deferred enforced nulls_distinct",
    ),
    (
        INFORMATION_SCHEMA,
        "triggers",
        "trigger_catalog trigger_schema trigger_name event_manipulation event_object_catalog event_object_schema \
         event_object_table action_order:int4 action_condition action_statement action_orientation action_timing",
    ),
    (
        INFORMATION_SCHEMA,
        "user_defined_types",
        "user_defined_type_catalog user_defined_type_schema user_defined_type_name user_defined_type_category data_type",
    ),
    (
        INFORMATION_SCHEMA,
        "view_column_usage",
        "view_catalog view_schema view_name table_catalog table_schema table_name column_name",
    ),
    (
        INFORMATION_SCHEMA,
        "view_table_usage",
        "view_catalog view_schema view_name table_catalog table_schema table_name",
    ),
];

const STAT_TABLES: &str = "relid:oid schemaname relname seq_scan:int8 seq_tup_read:int8 idx_scan:int8 \
                           idx_tup_fetch:int8 n_tup_ins:int8 n_tup_upd:int8 n_tup_del:int8 n_tup_hot_upd:int8 \
                           n_live_tup:int8 n_dead_tup:int8 last_vacuum:timestamptz last_autovacuum:timestamptz \
                           last_analyze:timestamptz last_autoanalyze:timestamptz vacuum_count:int8 \
                           autovacuum_count:int8 analyze_count:int8 autoanalyze_count:int8";

/// Whether a system table has rows for nobody.
pub(crate) fn is_empty(schema: &str, table: &str) -> bool {
    (schema == PG_CATALOG && KNOWN.contains(&table)) || columns(schema, table).is_some()
}

/// The columns of one whose columns are said here.
pub(super) fn columns(schema: &str, table: &str) -> Option<&'static str> {
    COLUMNS.iter().find(|(s, t, _)| *s == schema && *t == table).map(|(_, _, columns)| *columns)
}

/// All of a schema, by name.
pub(super) fn names(schema: &str) -> impl Iterator<Item = &'static str> {
    let known = (schema == PG_CATALOG).then_some(KNOWN.iter().copied()).into_iter().flatten();
    known.chain(COLUMNS.iter().filter(move |(of, ..)| *of == schema).map(|(_, name, _)| *name))
}
