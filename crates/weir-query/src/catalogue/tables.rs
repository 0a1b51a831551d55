//! The system tables that differ from reader to reader.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::Result;

use super::columns::Columns;
use super::relations::{OWNER, OWNER_OID, Relation, Relations};
use super::types::{PgType, pg_modifier, pg_type, precision};
use super::{CATALOG, INFORMATION_SCHEMA, PG_CATALOG};

type Table = Arc<dyn TableProvider>;
type Maker = fn(&Relations) -> Result<Table>;

/// Schema, name, and what makes the rows.
pub(super) const TABLES: [(&str, &str, Maker); 16] = [
    (PG_CATALOG, "pg_attribute", pg_attribute),
    (PG_CATALOG, "pg_class", pg_class),
    (PG_CATALOG, "pg_database", pg_database),
    (PG_CATALOG, "pg_namespace", pg_namespace),
    (PG_CATALOG, "pg_roles", pg_roles),
    (PG_CATALOG, "pg_tables", pg_tables),
    (PG_CATALOG, "pg_user", pg_user),
    (PG_CATALOG, "pg_views", pg_views),
    (INFORMATION_SCHEMA, "column_privileges", column_privileges),
    (INFORMATION_SCHEMA, "columns", columns),
    (INFORMATION_SCHEMA, "information_schema_catalog_name", catalog_name),
    (INFORMATION_SCHEMA, "role_table_grants", table_privileges),
    (INFORMATION_SCHEMA, "schemata", schemata),
    (INFORMATION_SCHEMA, "table_privileges", table_privileges),
    (INFORMATION_SCHEMA, "tables", tables),
    (INFORMATION_SCHEMA, "views", views),
];

fn pg_class(all: &Relations) -> Result<Table> {
    let each = &all.relations;
    Columns::of(each.len())
        .oid("oid", each.iter().map(|r| r.oid))
        .text("relname", each.iter().map(|r| &r.name))
        .oid("relnamespace", each.iter().map(|r| r.schema_oid))
        .same("reltype:oid=0 reloftype:oid=0 relowner:oid=10 relam:oid=2 relfilenode:oid=0 reltablespace:oid=0")
        .same("relpages:int4=0 reltuples:float4=-1 relallvisible:int4=0 reltoastrelid:oid=0 relhasindex:bool=f")
        .same("relisshared:bool=f relpersistence:char=p")
        .chars("relkind", each.iter().map(|r| if r.view.is_some() { "v" } else { "r" }))
        .int2("relnatts", each.iter().map(|r| i16::try_from(r.columns.fields().len()).unwrap_or(i16::MAX)))
        .same("relchecks:int2=0 relhasrules:bool=f relhastriggers:bool=f relhassubclass:bool=f relrowsecurity:bool=f")
        .same("relforcerowsecurity:bool=f relispopulated:bool=t relreplident:char=d relispartition:bool=f")
        .same("relrewrite:oid=0 relfrozenxid:int4=0 relminmxid:int4=0")
        .texts("relacl", each.iter().map(|_| format!("{}=r/{OWNER}", all.reader.name)))
        .same("reloptions:text[] relpartbound")
        .table()
}

/// Every column of every relation, with its place from 1 on.
fn each_column(all: &Relations) -> impl Iterator<Item = (&Relation, i16, Column<'_>)> + Clone {
    all.relations.iter().flat_map(|relation| {
        let fields = relation.columns.fields().iter();
        fields.zip(1..).map(move |(field, at)| {
            let data_type = field.data_type();
            let pg = pg_type(data_type);
            (
                relation,
                at,
                Column { name: field.name(), pg, modifier: pg_modifier(data_type), number: precision(data_type) },
            )
        })
    })
}

#[derive(Clone)]
struct Column<'a> {
    name: &'a str,
    /// `None` when its values cannot be sent.
    pg: Option<&'static PgType>,
    modifier: i32,
    number: Option<(u8, i8)>,
}

impl Column<'_> {
    fn oid(&self) -> i32 {
        self.pg.and_then(|pg| i32::try_from(pg.oid).ok()).unwrap_or(0)
    }

    fn is_array(&self) -> bool {
        self.pg.is_some_and(|pg| pg.name.starts_with('_'))
    }

    /// Size of a number, and its base: what `information_schema.columns` calls precision, radix and scale.
    fn digits(&self) -> (Option<i32>, Option<i32>, Option<i32>) {
        match (self.number, self.pg.map(|pg| pg.name)) {
            (Some((precision, scale)), _) => (Some(precision.into()), Some(10), Some(scale.into())),
            (None, Some("int2")) => (Some(16), Some(2), Some(0)),
            (None, Some("int4")) => (Some(32), Some(2), Some(0)),
            (None, Some("int8")) => (Some(64), Some(2), Some(0)),
            (None, Some("float4")) => (Some(24), Some(2), None),
            (None, Some("float8")) => (Some(53), Some(2), None),
            (None, _) => (None, None, None),
        }
    }
}

fn pg_attribute(all: &Relations) -> Result<Table> {
    let each = || each_column(all);
    // Text is compared by its bytes, PostgreSQL's collation `C` being that too, but its types have the default one.
    let collation = |c: &Column| if matches!(c.pg.map(|pg| pg.name), Some("text" | "_text")) { 100 } else { 0 };
    Columns::of(each().count())
        .oid("attrelid", each().map(|(r, ..)| r.oid))
        .text("attname", each().map(|(.., c)| c.name))
        .oid("atttypid", each().map(|(.., c)| c.oid()))
        .same("attstattarget:int4=-1")
        .int2("attlen", each().map(|(.., c)| c.pg.map_or(-1, |pg| pg.length)))
        .int2("attnum", each().map(|(_, at, _)| at))
        .int4("attndims", each().map(|(.., c)| Some(i32::from(c.is_array()))))
        .same("attcacheoff:int4=-1")
        .int4("atttypmod", each().map(|(.., c)| Some(c.modifier)))
        .same("attbyval:bool=f attalign:char=i attstorage:char=p attcompression:char= attnotnull:bool=f")
        .same("atthasdef:bool=f atthasmissing:bool=f attidentity:char= attgenerated:char= attisdropped:bool=f")
        .same("attislocal:bool=t attinhcount:int4=0")
        .oid("attcollation", each().map(|(.., c)| collation(&c)))
        .same("attacl:text[] attoptions:text[] attfdwoptions:text[] attmissingval:text[]")
        .table()
}

fn pg_namespace(all: &Relations) -> Result<Table> {
    Columns::of(all.schemas.len())
        .oid("oid", all.schemas.iter().map(|(oid, _)| *oid))
        .text("nspname", all.schemas.iter().map(|(_, name)| name))
        .same("nspowner:oid=10")
        .texts("nspacl", all.schemas.iter().map(|_| format!("=U/{OWNER}")))
        .table()
}

fn pg_database(all: &Relations) -> Result<Table> {
    Columns::of(1)
        .oid("oid", [all.database.oid])
        .text("datname", [CATALOG])
        .same("datdba:oid=10 encoding:int4=6 datlocprovider:char=c datistemplate:bool=f datallowconn:bool=t")
        .same("datconnlimit:int4=-1 datfrozenxid:int4=0 datminmxid:int4=0 dattablespace:oid=1663 datcollate=C")
        .same("datctype=C.UTF-8 daticulocale daticurules datcollversion")
        .texts("datacl", [format!("=c/{OWNER}")])
        .table()
}

fn pg_roles(all: &Relations) -> Result<Table> {
    Columns::of(2)
        .text("rolname", [OWNER, &all.reader.name])
        .same("rolsuper:bool=f rolinherit:bool=t rolcreaterole:bool=f rolcreatedb:bool=f")
        .bool("rolcanlogin", vec![false, true])
        .same("rolreplication:bool=f rolconnlimit:int4=-1 rolpassword=********")
        .same("rolvaliduntil:timestamptz rolbypassrls:bool=f rolconfig:text[]")
        .oid("oid", [OWNER_OID, all.reader.oid])
        .table()
}

fn pg_user(all: &Relations) -> Result<Table> {
    Columns::of(1)
        .text("usename", [&all.reader.name])
        .oid("usesysid", [all.reader.oid])
        .same("usecreatedb:bool=f usesuper:bool=f userepl:bool=f usebypassrls:bool=f passwd=********")
        .same("valuntil:timestamptz useconfig:text[]")
        .table()
}

/// With their queries.
fn each_view(all: &Relations) -> Vec<(&Relation, &String)> {
    all.relations.iter().filter_map(|relation| Some((relation, relation.view.as_ref()?))).collect()
}

fn pg_views(all: &Relations) -> Result<Table> {
    let each = each_view(all);
    Columns::of(each.len())
        .text("schemaname", each.iter().map(|(r, _)| &r.schema))
        .text("viewname", each.iter().map(|(r, _)| &r.name))
        .same("viewowner=weir")
        .text("definition", each.iter().map(|(_, query)| *query))
        .table()
}

fn views(all: &Relations) -> Result<Table> {
    let each = each_view(all);
    Columns::of(each.len())
        .same("table_catalog=weir")
        .text("table_schema", each.iter().map(|(r, _)| &r.schema))
        .text("table_name", each.iter().map(|(r, _)| &r.name))
        .text("view_definition", each.iter().map(|(_, query)| *query))
        .same("check_option=NONE is_updatable=NO is_insertable_into=NO is_trigger_updatable=NO")
        .same("is_trigger_deletable=NO is_trigger_insertable_into=NO")
        .table()
}

fn pg_tables(all: &Relations) -> Result<Table> {
    let each: Vec<&Relation> = all.relations.iter().filter(|relation| relation.view.is_none()).collect();
    Columns::of(each.len())
        .text("schemaname", each.iter().map(|r| &r.schema))
        .text("tablename", each.iter().map(|r| &r.name))
        .same("tableowner=weir tablespace hasindexes:bool=f hasrules:bool=f hastriggers:bool=f rowsecurity:bool=f")
        .table()
}

fn tables(all: &Relations) -> Result<Table> {
    let each = &all.relations;
    Columns::of(each.len())
        .same("table_catalog=weir")
        .text("table_schema", each.iter().map(|r| &r.schema))
        .text("table_name", each.iter().map(|r| &r.name))
        .text("table_type", each.iter().map(|r| if r.view.is_some() { "VIEW" } else { "BASE TABLE" }))
        .same("self_referencing_column_name reference_generation user_defined_type_catalog user_defined_type_schema")
        .same("user_defined_type_name is_insertable_into=NO is_typed=NO commit_action")
        .table()
}

fn columns(all: &Relations) -> Result<Table> {
    let each = || each_column(all);
    Columns::of(each().count())
        .same("table_catalog=weir")
        .text("table_schema", each().map(|(r, ..)| &r.schema))
        .text("table_name", each().map(|(r, ..)| &r.name))
        .text("column_name", each().map(|(.., c)| c.name))
        .int4("ordinal_position", each().map(|(_, at, _)| Some(at.into())))
        .same("column_default is_nullable=YES")
        .text("data_type", each().map(|(.., c)| c.pg.map_or("unknown", |pg| pg.standard)))
        .same("character_maximum_length:int4 character_octet_length:int4")
        .int4("numeric_precision", each().map(|(.., c)| c.digits().0))
        .int4("numeric_precision_radix", each().map(|(.., c)| c.digits().1))
        .int4("numeric_scale", each().map(|(.., c)| c.digits().2))
        .same("datetime_precision:int4 interval_type interval_precision:int4 character_set_catalog")
        .same("character_set_schema character_set_name collation_catalog collation_schema collation_name")
        .same("domain_catalog domain_schema domain_name udt_catalog=weir udt_schema=pg_catalog")
        .text("udt_name", each().map(|(.., c)| c.pg.map_or("unknown", |pg| pg.name)))
        .same("scope_catalog scope_schema scope_name maximum_cardinality:int4")
        .text("dtd_identifier", each().map(|(_, at, _)| at.to_string()))
        .same("is_self_referencing=NO is_identity=NO identity_generation identity_start identity_increment")
        .same("identity_maximum identity_minimum identity_cycle=NO is_generated=NEVER generation_expression")
        .same("is_updatable=NO")
        .table()
}

fn schemata(all: &Relations) -> Result<Table> {
    Columns::of(all.schemas.len())
        .same("catalog_name=weir")
        .text("schema_name", all.schemas.iter().map(|(_, name)| name))
        .same("schema_owner=weir default_character_set_catalog default_character_set_schema")
        .same("default_character_set_name sql_path")
        .table()
}

fn table_privileges(all: &Relations) -> Result<Table> {
    let each = &all.relations;
    Columns::of(each.len())
        .same("grantor=weir")
        .text("grantee", each.iter().map(|_| &all.reader.name))
        .same("table_catalog=weir")
        .text("table_schema", each.iter().map(|r| &r.schema))
        .text("table_name", each.iter().map(|r| &r.name))
        .same("privilege_type=SELECT is_grantable=NO with_hierarchy=YES")
        .table()
}

fn column_privileges(all: &Relations) -> Result<Table> {
    let each = || each_column(all);
    Columns::of(each().count())
        .same("grantor=weir")
        .text("grantee", each().map(|_| &all.reader.name))
        .same("table_catalog=weir")
        .text("table_schema", each().map(|(r, ..)| &r.schema))
        .text("table_name", each().map(|(r, ..)| &r.name))
        .text("column_name", each().map(|(.., c)| c.name))
        .same("privilege_type=SELECT is_grantable=NO")
        .table()
}

fn catalog_name(_: &Relations) -> Result<Table> {
    Columns::of(1).same("catalog_name=weir").table()
}
