//! The relations, schemas and roles that one reader sees, each with the object id that names it in catalogues.

use std::collections::{BTreeSet, HashMap};

use datafusion::arrow::datatypes::SchemaRef;

use super::{CATALOG, DEFAULT_SCHEMA, INFORMATION_SCHEMA, Listed, Listing, PG_CATALOG};

/// The role that owns everything; nobody can log in as it.
pub(crate) const OWNER: &str = CATALOG;
pub(crate) const OWNER_OID: i32 = 10;
const PG_CATALOG_OID: i32 = 11;
const PUBLIC_OID: i32 = 2200;
const INFORMATION_SCHEMA_OID: i32 = 13_000;
/// PostgreSQL gives smaller ones to what it brings.
const FIRST_OID: i32 = 16_384;

#[derive(Debug)]
pub(crate) struct Relation {
    pub(crate) oid: i32,
    pub(crate) schema: String,
    pub(crate) schema_oid: i32,
    pub(crate) name: String,
    pub(crate) columns: SchemaRef,
    /// The query of a view.
    pub(crate) view: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) oid: i32,
    pub(crate) name: String,
}

/// All that the catalogues of one reader are made of.
#[derive(Debug)]
pub(crate) struct Relations {
    pub(crate) database: Role,
    pub(crate) reader: Role,
    pub(crate) schemas: Vec<(i32, String)>,
    pub(crate) relations: Vec<Relation>,
    by_oid: HashMap<i32, usize>,
    by_name: HashMap<(String, String), usize>,
}

/// Gives each name an object id that depends on the name and on those of the reader that come before it, and on nothing
/// that she does not see. It is the same in every connection and after every change but those of names that collide.
#[derive(Default)]
struct Oids(BTreeSet<i32>);

impl Oids {
    fn of(&mut self, kind: &str, name: &[&str]) -> i32 {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in std::iter::once(kind).chain(name.iter().copied()).flat_map(|part| part.bytes().chain([0])) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let room = i32::MAX - FIRST_OID;
        let mut oid = i32::try_from(hash % u64::from(room.unsigned_abs())).unwrap_or(0);
        while !self.0.insert(oid) {
            oid = (oid + 1) % room;
        }
        FIRST_OID + oid
    }
}

impl Relations {
    pub(crate) fn new(listing: &Listing, reader: &str) -> Self {
        let mut oids = Oids::default();
        let mut role = |kind: &str, name: &str| Role { oid: oids.of(kind, &[name]), name: name.to_owned() };
        let (database, reader) = (role("database", CATALOG), role("role", reader));
        let mut schemas = vec![
            (PG_CATALOG_OID, PG_CATALOG.to_owned()),
            (INFORMATION_SCHEMA_OID, INFORMATION_SCHEMA.to_owned()),
            (PUBLIC_OID, DEFAULT_SCHEMA.to_owned()),
        ];
        let mut relations = Vec::new();
        for (schema, tables) in listing {
            let schema_oid = match schemas.iter().find(|(_, known)| known == schema) {
                Some((oid, _)) => *oid,
                None => {
                    let oid = oids.of("schema", &[schema]);
                    schemas.push((oid, schema.clone()));
                    oid
                }
            };
            for (table, Listed { columns, view }) in tables {
                relations.push(Relation {
                    oid: oids.of("table", &[schema, table]),
                    schema: schema.clone(),
                    schema_oid,
                    name: table.clone(),
                    columns: SchemaRef::clone(columns),
                    view: view.clone(),
                });
            }
        }
        let by_oid = relations.iter().enumerate().map(|(at, relation)| (relation.oid, at)).collect();
        let name = |(at, relation): (usize, &Relation)| ((relation.schema.clone(), relation.name.clone()), at);
        let by_name = relations.iter().enumerate().map(name).collect();
        Self { database, reader, schemas, relations, by_oid, by_name }
    }

    pub(crate) fn relation(&self, oid: i32) -> Option<&Relation> {
        self.relations.get(*self.by_oid.get(&oid)?)
    }

    /// A relation by name, which may be quoted and qualified, as in SQL.
    pub(crate) fn find(&self, name: &str) -> Option<&Relation> {
        let parts = name_parts(name)?;
        let (schema, table) = match parts.as_slice() {
            [table] => (DEFAULT_SCHEMA, table),
            [schema, table] => (schema.as_str(), table),
            [database, schema, table] if database == CATALOG => (schema.as_str(), table),
            _ => return None,
        };
        self.relations.get(*self.by_name.get(&(schema.to_owned(), table.clone()))?)
    }

    pub(crate) fn role(&self, oid: i32) -> Option<&str> {
        match oid {
            OWNER_OID => Some(OWNER),
            oid if oid == self.reader.oid => Some(&self.reader.name),
            _ => None,
        }
    }

    pub(crate) fn role_oid(&self, name: &str) -> Option<i32> {
        // The reader may have the owner's name.
        if name == self.reader.name { Some(self.reader.oid) } else { (name == OWNER).then_some(OWNER_OID) }
    }

    pub(crate) fn schema(&self, oid: i32) -> Option<&str> {
        self.schemas.iter().find(|(known, _)| *known == oid).map(|(_, name)| name.as_str())
    }

    pub(crate) fn schema_oid(&self, name: &str) -> Option<i32> {
        self.schemas.iter().find(|(_, known)| known == name).map(|(oid, _)| *oid)
    }
}

/// The parts of a name: folded to lower case unless they are quoted. `None` when it is not a name.
pub(crate) fn name_parts(name: &str) -> Option<Vec<String>> {
    let (mut parts, mut part, mut quoted, mut closed) = (Vec::new(), String::new(), false, false);
    let mut chars = name.trim().chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                part.push('"');
            }
            '"' if quoted => (quoted, closed) = (false, true),
            '"' if part.is_empty() && !closed => quoted = true,
            c if quoted => part.push(c),
            '.' => {
                parts.push(std::mem::take(&mut part));
                closed = false;
            }
            '"' => return None,
            _ if closed => return None,
            c => part.extend(c.to_lowercase()),
        }
    }
    parts.push(part);
    (!quoted && parts.iter().all(|part| !part.is_empty())).then_some(parts)
}

/// The name as it is written in SQL: quoted where it has to be.
pub(crate) fn quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_in_sql() {
        let parts = |name| name_parts(name).map(|parts| parts.join("|"));
        assert_eq!(parts("Retail.Orders").as_deref(), Some("retail|orders"));
        assert_eq!(parts("\"Re\"\"tail\".\"a.b\"").as_deref(), Some("Re\"tail|a.b"));
        for wrong in ["", "a.", ".a", "\"a", "a\"b\"", "\"a\"b"] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
        assert_eq!([quoted("a_1"), quoted("A"), quoted("a\"b")], ["a_1", "\"A\"", "\"a\"\"b\""]);
    }

    #[test]
    fn ids_depend_on_names_alone_and_are_given_once() {
        let mut oids = Oids::default();
        let first = oids.of("table", &["a", "b"]);
        assert_ne!(first, oids.of("table", &["ab", ""]));
        assert_eq!(oids.of("table", &["a", "b"]), first + 1, "the same place is taken");
        assert_eq!(Oids::default().of("table", &["a", "b"]), first);
        assert!(first >= FIRST_OID);
    }
}
