//! The catalogue that one actor sees: the tables of the statement, ready to be scanned, and system tables that list
//! names and columns of all sources she may read. What she may not read is not in it.

mod columns;
mod empty;
mod fixed;
pub(crate) mod relations;
mod tables;
pub(crate) mod types;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProviderList, SchemaProvider, TableProvider,
};
use datafusion::common::{DataFusionError, Result};
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::pg_catalog::{
    PG_CATALOG_TABLES, PgCatalogSchemaProvider, PgCatalogStaticTables, PgCatalogTable,
};
use weir_guard::Request;
use weir_model::{DataSource, PrincipalId, SourceName, Surroundings};
use weir_policy::Snapshot;

use self::columns::Columns;
pub(crate) use self::empty::is_empty;
use self::fixed::Fixed;
use self::relations::{Relations, name_parts};
use self::tables::TABLES;
use crate::statement::Asked;

/// The one database.
pub const CATALOG: &str = "weir";
/// Where PostgreSQL's own tables are.
pub(crate) const PG_CATALOG: &str = "pg_catalog";
pub(crate) const INFORMATION_SCHEMA: &str = "information_schema";
/// The schema of names without one.
pub(crate) const DEFAULT_SCHEMA: &str = "public";

/// What a principal may read, by name; no more than names and column types.
#[derive(Clone)]
pub(crate) struct Visible {
    snapshot: Arc<Snapshot>,
    principal: PrincipalId,
    surroundings: Surroundings,
    tables: Arc<OnceLock<Listing>>,
}

type Listing = BTreeMap<String, BTreeMap<String, Listed>>;

/// A relation as it is listed.
pub(crate) struct Listed {
    columns: SchemaRef,
    /// The query of a view.
    view: Option<String>,
}

impl Visible {
    pub(crate) fn new(request: &Request) -> Self {
        Self {
            snapshot: Arc::clone(request.snapshot()),
            principal: request.principal().id.clone(),
            surroundings: request.surroundings().clone(),
            tables: Arc::default(),
        }
    }

    pub(crate) fn list(&self) -> Vec<VisibleTable> {
        let of_schema = |(schema, tables): (&String, &BTreeMap<String, Listed>)| {
            let table = |(table, listed): (&String, &Listed)| VisibleTable {
                schema: schema.clone(),
                table: table.clone(),
                columns: Arc::clone(&listed.columns),
                is_view: listed.view.is_some(),
            };
            tables.iter().map(table).collect::<Vec<_>>()
        };
        self.tables().iter().flat_map(of_schema).collect()
    }

    fn tables(&self) -> &Listing {
        self.tables.get_or_init(|| {
            let mut listing = Listing::new();
            for source in self.snapshot.visible(&self.principal, &self.surroundings) {
                let schema = listing.entry(source.name.schema().to_owned()).or_default();
                let listed = Listed { columns: listed_schema(source), view: source.view().map(str::to_owned) };
                schema.insert(source.name.table().to_owned(), listed);
            }
            listing
        })
    }
}

/// A data source in a listing: its name and what columns it has, masked or not.
#[derive(Clone, Debug)]
pub struct VisibleTable {
    pub schema: String,
    pub table: String,
    pub columns: SchemaRef,
    pub is_view: bool,
}

impl fmt::Debug for Visible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visible").field("principal", &self.principal).finish_non_exhaustive()
    }
}

fn listed_schema(source: &DataSource) -> SchemaRef {
    // Any column may be masked to NULL.
    let field = |c: &weir_model::Column| Field::new(c.name.as_str(), weir_sources::arrow_type(&c.data_type), true);
    Arc::new(Schema::new(source.columns.iter().map(field).collect::<Vec<_>>()))
}

/// The system tables of each principal, kept for as long as the snapshot holds.
pub(crate) struct SystemCatalogs {
    /// What PostgreSQL brings: types, functions, operators.
    brought: PgCatalogSchemaProvider<Arc<dyn CatalogProviderList>, EmptyContextProvider>,
    fixed: Fixed,
    open: Mutex<HashMap<(PrincipalId, Surroundings), Opened>>,
}

/// A snapshot may be followed by another one of the same epoch, when something approved for a time runs out.
type Opened = (Arc<Snapshot>, Arc<Reader>);

type TableKey = (&'static str, &'static str);

/// What system tables and functions tell one reader, under one snapshot.
pub(crate) struct Reader {
    visible: Visible,
    relations: OnceLock<Relations>,
    /// By schema and name.
    made: Mutex<HashMap<TableKey, Arc<dyn TableProvider>>>,
}

impl Reader {
    pub(crate) fn relations(&self) -> &Relations {
        let visible = &self.visible;
        self.relations.get_or_init(|| Relations::new(visible.tables(), &visible.principal.to_string()))
    }

    /// A system table that differs from reader to reader.
    fn table(&self, schema: &str, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some((schema, name, make)) = TABLES.iter().find(|(s, n, _)| *s == schema && *n == name) else {
            return Ok(None);
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = made.get(&(*schema, *name)) {
            return Ok(Some(Arc::clone(table)));
        }
        let table = make(self.relations())?;
        made.insert((schema, name), Arc::clone(&table));
        Ok(Some(table))
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reader").field(&self.visible).finish()
    }
}

impl SystemCatalogs {
    pub(crate) fn new() -> Result<Self> {
        let nothing: Arc<dyn CatalogProviderList> = Arc::new(MemoryCatalogProviderList::new());
        let tables = Arc::new(PgCatalogStaticTables::try_new()?);
        let fixed = Fixed::new(tables.pg_type.data(), tables.pg_proc.data())?;
        let brought = PgCatalogSchemaProvider::try_new(nothing, tables, EmptyContextProvider)?;
        Ok(Self { brought, fixed, open: Mutex::default() })
    }

    pub(crate) fn fixed(&self) -> &Fixed {
        &self.fixed
    }

    pub(crate) fn reader(&self, visible: &Visible) -> Arc<Reader> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // What is listed depends on all of the surroundings but the time.
        let key = (visible.principal.clone(), Surroundings { at_unix_ms: 0, ..visible.surroundings.clone() });
        if let Some((known, reader)) = open.get(&key)
            && Arc::ptr_eq(known, &visible.snapshot)
        {
            return Arc::clone(reader);
        }
        open.retain(|_, (known, _)| Arc::ptr_eq(known, &visible.snapshot));
        let reader = Arc::new(Reader { visible: visible.clone(), relations: OnceLock::new(), made: Mutex::default() });
        open.insert(key, (Arc::clone(&visible.snapshot), Arc::clone(&reader)));
        reader
    }

    fn table(&self, schema: &str, name: &str, system: &System) -> Result<Option<Arc<dyn TableProvider>>> {
        if (schema, name) == (PG_CATALOG, "pg_settings") {
            return settings(&system.asked).map(Some);
        }
        if let Some(table) = system.reader.table(schema, name)? {
            return Ok(Some(table));
        }
        if let Some(columns) = empty::columns(schema, name) {
            return columns::empty(columns::shape(columns)).map(Some);
        }
        if schema != PG_CATALOG {
            return Ok(None);
        }
        let Some(table) = self.brought.build_table_by_name(name)? else { return Ok(None) };
        match table {
            _ if is_empty(schema, name) => columns::empty(table.schema()).map(Some),
            PgCatalogTable::Static(table) => {
                let more = if name == "pg_collation" { "colliculocale" } else { "" };
                columns::brought(&table.schema(), table.data(), more, &self.fixed).map(Some)
            }
            // Not made for this reader.
            PgCatalogTable::Dynamic(_) | PgCatalogTable::Empty(_) => Ok(None),
        }
    }
}

impl fmt::Debug for SystemCatalogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemCatalogs")
    }
}

/// Whether PostgreSQL's search path finds a name among the system tables.
pub(crate) fn is_system_table(name: &str) -> bool {
    PG_CATALOG_TABLES.contains(&name)
        || TABLES.iter().any(|(schema, table, _)| *schema == PG_CATALOG && *table == name)
        || is_empty(PG_CATALOG, name)
}

/// The object ids that PostgreSQL gives to the tables of its own that others refer to.
const SYSTEM_OIDS: [(&str, i32); 21] = [
    ("pg_am", 2601),
    ("pg_attrdef", 2604),
    ("pg_attribute", 1249),
    ("pg_authid", 1260),
    ("pg_class", 1259),
    ("pg_collation", 3456),
    ("pg_constraint", 2606),
    ("pg_database", 1262),
    ("pg_extension", 3079),
    ("pg_foreign_data_wrapper", 2328),
    ("pg_foreign_server", 1417),
    ("pg_language", 2612),
    ("pg_namespace", 2615),
    ("pg_opclass", 2616),
    ("pg_operator", 2617),
    ("pg_opfamily", 2753),
    ("pg_policy", 3256),
    ("pg_proc", 1255),
    ("pg_rewrite", 2618),
    ("pg_trigger", 2620),
    ("pg_type", 1247),
];

pub(crate) fn system_oid(table: &str) -> Option<i32> {
    SYSTEM_OIDS.iter().find(|(name, _)| *name == table).map(|(_, oid)| *oid)
}

pub(crate) fn system_table(oid: i32) -> Option<&'static str> {
    SYSTEM_OIDS.iter().find(|(_, known)| *known == oid).map(|(name, _)| *name)
}

/// Whether a name, as it is written in SQL, is that of a system table.
pub(crate) fn is_system_relation(name: &str) -> bool {
    match name_parts(name).unwrap_or_default().as_slice() {
        [table] => is_system_table(table),
        [schema, table] if schema == PG_CATALOG => is_system_table(table),
        [schema, table] if schema == INFORMATION_SCHEMA => is_information(table),
        _ => false,
    }
}

fn is_information(table: &str) -> bool {
    is_empty(INFORMATION_SCHEMA, table)
        || TABLES.iter().any(|(schema, known, _)| *schema == INFORMATION_SCHEMA && *known == table)
}

/// Who asks for system tables, on which connection, and where they come from.
#[derive(Clone, Debug)]
pub(crate) struct System {
    pub(crate) catalogs: Arc<SystemCatalogs>,
    pub(crate) reader: Arc<Reader>,
    pub(crate) asked: Arc<Asked>,
}

/// One of the two system schemas.
#[derive(Debug)]
struct SystemSchema {
    name: &'static str,
    system: System,
}

#[async_trait]
impl SchemaProvider for SystemSchema {
    fn table_names(&self) -> Vec<String> {
        let own = TABLES.iter().filter(|(schema, ..)| *schema == self.name).map(|(_, name, _)| *name);
        own.chain(empty::names(self.name)).map(str::to_owned).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        self.system.catalogs.table(self.name, name, &self.system)
    }

    fn table_exist(&self, name: &str) -> bool {
        if self.name == PG_CATALOG { is_system_table(name) } else { is_information(name) }
    }
}

/// `pg_settings` of the connection.
fn settings(asked: &Asked) -> Result<Arc<dyn TableProvider>> {
    let each = &asked.settings;
    Columns::of(each.len())
        .text("name", each.iter().map(|[name, ..]| name))
        .text("setting", each.iter().map(|[_, value, _]| value))
        .same("unit category")
        .text("short_desc", each.iter().map(|[.., about]| about))
        .same("extra_desc context=user vartype=string source=session min_val max_val enumvals:text[]")
        .text("boot_val", each.iter().map(|[_, value, _]| value))
        .text("reset_val", each.iter().map(|[_, value, _]| value))
        .same("sourcefile sourceline:int4 pending_restart:bool=f")
        .table()
}

/// All that name resolution of one statement can reach.
#[derive(Debug)]
pub(crate) struct ActorCatalogue {
    /// By schema.
    schemas: BTreeMap<String, Arc<dyn SchemaProvider>>,
}

impl ActorCatalogue {
    /// `bound` are the tables that the statement names; `system` is there when it names a system table.
    pub(crate) fn list(
        bound: HashMap<SourceName, Arc<dyn TableProvider>>,
        system: Option<&System>,
    ) -> Arc<dyn CatalogProviderList> {
        let mut tables: BTreeMap<String, BTreeMap<String, Arc<dyn TableProvider>>> = BTreeMap::new();
        for (name, provider) in bound {
            tables.entry(name.schema().to_owned()).or_default().insert(name.table().to_owned(), provider);
        }
        let mut schemas: BTreeMap<String, Arc<dyn SchemaProvider>> = BTreeMap::new();
        for (schema, tables) in tables {
            schemas.insert(schema, Arc::new(ActorSchema(tables)));
        }
        for (name, system) in [PG_CATALOG, INFORMATION_SCHEMA].into_iter().zip(std::iter::repeat(system)) {
            if let Some(system) = system.cloned() {
                schemas.insert(name.to_owned(), Arc::new(SystemSchema { name, system }));
            }
        }
        Arc::new(Catalogues(Arc::new(Self { schemas })))
    }
}

impl CatalogProvider for ActorCatalogue {
    fn schema_names(&self) -> Vec<String> {
        self.schemas.keys().cloned().collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        self.schemas.get(name).cloned()
    }
}

#[derive(Debug)]
struct Catalogues(Arc<ActorCatalogue>);

impl CatalogProviderList for Catalogues {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == CATALOG).then(|| Arc::clone(&self.0) as Arc<dyn CatalogProvider>)
    }
}

#[derive(Debug)]
struct ActorSchema(BTreeMap<String, Arc<dyn TableProvider>>);

#[async_trait]
impl SchemaProvider for ActorSchema {
    fn table_names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        Ok(self.0.get(name).cloned())
    }

    fn table_exist(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}
