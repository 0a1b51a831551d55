//! The people of the demonstration, what they may see, and the lines that show it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use weir_model::{AttributeKey, FileFormat, GroupName, Permission, Principal, PrincipalId, Secret, SourceName, Tag};
use weir_policy::language;
use weir_store::{Change, NewColumn, NewSource, Store};

use crate::commands::serve::Addresses;
use crate::context::apply;

const POLICIES: &str = include_str!("policies/demo.weir");
/// Of everybody.
pub(crate) const PASSWORD: &str = "demo";

struct Person {
    name: &'static str,
    groups: &'static [&'static str],
    nations: &'static [&'static str],
    permissions: &'static [Permission],
}

const fn person(name: &'static str, groups: &'static [&'static str], nations: &'static [&'static str]) -> Person {
    Person { name, groups, nations, permissions: &[] }
}

const PEOPLE: [Person; 7] = [
    person("tara", &["Toys", "Home Goods"], &[]),
    person("garth", &["Garden"], &[]),
    Person {
        permissions: &[Permission::Governance, Permission::Audit, Permission::UserAdmin],
        ..person("greg", &[], &[])
    },
    Person { permissions: &[Permission::CreateDataSource], ..person("oona", &[], &[]) },
    person("nora", &[], &[]),
    person("fin", &["analysts", "finance"], &["FRANCE", "GERMANY"]),
    person("ana", &["analysts"], &["JAPAN"]),
];

/// Whom the owner of the purchases has selected.
const SELECTED: [&str; 2] = ["tara", "garth"];
const OWNER: &str = "oona";

/// Registers files, people and policies, all in one change, in a store that holds nothing yet. A store that holds the
/// demonstration is left as it is, with whatever was changed there since.
pub(crate) async fn make(store: &Store, files: &[(SourceName, PathBuf)]) -> anyhow::Result<()> {
    let facts = store.facts().await?;
    if facts.principals.is_empty() && facts.sources.is_empty() && facts.policies.is_empty() {
        apply(store, changes(files).await?).await?;
        return Ok(());
    }
    let oona = PrincipalId::builtin(OWNER)?;
    if !facts.principals.iter().any(|known| known.id == oona) {
        bail!(
            "data directory `{}` is in use for something else than the demonstration\nhelp: give another one with --data-dir",
            store.dir().display()
        );
    }
    Ok(())
}

async fn changes(files: &[(SourceName, PathBuf)]) -> anyhow::Result<Vec<Change>> {
    let mut changes = Vec::new();
    for person in &PEOPLE {
        let user = principal(person)?;
        let id = user.id.clone();
        changes.push(Change::PutUser(user));
        changes.push(Change::SetPassword { user: id, password: Secret::new(PASSWORD) });
    }
    for (name, path) in files {
        changes.push(Change::AddSource(source(name, path).await?));
        if name.schema() == "retail" {
            for selected in SELECTED {
                changes.push(Change::Select { source: name.clone(), user: PrincipalId::builtin(selected)? });
            }
        }
    }
    let parsed = language::parse(POLICIES);
    if let Some(diagnostic) = parsed.diagnostics.first() {
        bail!("the policies of the demonstration cannot be read: {diagnostic}");
    }
    changes.extend(parsed.policies.into_iter().map(Change::PutPolicy));
    Ok(changes)
}

fn principal(person: &Person) -> anyhow::Result<Principal> {
    let groups = person.groups.iter().map(|group| GroupName::new(*group)).collect::<Result<_, _>>()?;
    let nations: BTreeSet<String> = person.nations.iter().map(|nation| (*nation).to_owned()).collect();
    let attributes =
        if nations.is_empty() { BTreeMap::new() } else { BTreeMap::from([(AttributeKey::new("nation")?, nations)]) };
    Ok(Principal {
        id: PrincipalId::builtin(person.name)?,
        groups,
        attributes,
        permissions: person.permissions.iter().copied().collect(),
    })
}

async fn source(name: &SourceName, path: &Path) -> anyhow::Result<NewSource> {
    let found = weir_sources::infer(path, Some(FileFormat::Parquet))
        .await
        .with_context(|| format!("cannot register {name}"))?;
    let (tag, owners) = match name.schema() {
        "retail" => ("Retail", BTreeSet::from([PrincipalId::builtin(OWNER)?])),
        _ => ("TPCH", BTreeSet::new()),
    };
    let mut columns = Vec::new();
    for column in found.columns {
        let tags = column_tag(column.name.as_str()).map(Tag::new).transpose()?.into_iter().collect();
        columns.push(NewColumn { name: column.name, data_type: column.data_type, nullable: column.nullable, tags });
    }
    Ok(NewSource {
        name: name.clone(),
        tags: BTreeSet::from([Tag::new(tag)?]),
        owners,
        columns,
        row_key: Vec::new(),
        event_time: None,
        location: found.location,
    })
}

fn column_tag(column: &str) -> Option<&'static str> {
    match column {
        "ssn" => Some("PII.SSN"),
        "first_name" | "last_name" => Some("PII.Name"),
        "c_phone" => Some("PII.Phone"),
        "c_acctbal" => Some("Finance.Balance"),
        _ => None,
    }
}

const DEPARTMENTS: &str =
    "select department, count(*) as purchases from retail.customer_purchases group by 1 order by 1";
const NUMBERS: &str = "select last_name, ssn, department from retail.customer_purchases order by id limit 5";
const CUSTOMERS: &str = "select n_name, count(*) as customers, sum(c_acctbal) as balances from tpch.customer join tpch.nation on c_nationkey = n_nationkey group by 1";

/// Who, what it shows, and what to type.
const LINES: [(&str, &str, &str); 7] = [
    ("tara", "Toys and Home Goods only", DEPARTMENTS),
    ("oona", "the owner sees all departments", DEPARTMENTS),
    ("tara", "hashes in place of social security numbers", NUMBERS),
    ("oona", "clear numbers", NUMBERS),
    ("nora", "for her there is no such table", DEPARTMENTS),
    ("fin", "customers in France and Germany, with their balances", CUSTOMERS),
    ("ana", "customers in Japan, without balances", CUSTOMERS),
];

/// Ready to paste. `weir` is how this program was started.
pub(crate) fn guide(weir: &str, doors: &Addresses, data_dir: &Path) -> String {
    let host = |address: &SocketAddr| match address.ip() {
        any if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        ip => ip,
    };
    let (flight, host, port) =
        (SocketAddr::new(host(&doors.flight), doors.flight.port()), host(&doors.sql), doors.sql.port());
    let psql = |user: &str, sql: &str| {
        format!("  psql \"host={host} port={port} dbname=weir user={user} password={PASSWORD}\" -c \"{sql}\"\n")
    };
    let mut text = String::from("The same query, different people (everybody's password is `demo`):\n");
    for (user, shows, sql) in LINES {
        text.push_str(&format!("\n  # {user}: {shows}\n{}", psql(user, sql)));
    }
    let dir = data_dir.display();
    text.push_str(&format!(
        "\nLook around as tara (\\d lists what she may see), also without psql; ask why, and who read what:\n\n  \
         psql \"host={host} port={port} dbname=weir user=tara password={PASSWORD}\"\n  \
         WEIR_PASSWORD={PASSWORD} {weir} sql --host {host} --port {port} --user tara\n  \
         {weir} policy explain --data-dir {dir} --user tara retail.customer_purchases\n  \
         {weir} policy list --data-dir {dir}\n  \
         {weir} audit --data-dir {dir}\n\n\
         The same by Arrow Flight SQL, from Python with `pip install adbc-driver-flightsql pyarrow`:\n\n  \
         python3 -c \"from adbc_driver_flightsql import dbapi; c = dbapi.connect('grpc://{flight}', \
         {{'username': 'tara', 'password': '{PASSWORD}'}}).cursor(); \
         c.execute('select department, count(*) from retail.customer_purchases group by 1'); print(c.fetchall())\"\n\n\
         A change holds for the next statement of an open connection:\n\n  \
         {weir} user group remove --data-dir {dir} tara Toys\n"
    ));
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weir_guard::SystemClock;
    use weir_policy::check::check;

    use super::*;
    use crate::demo::data;

    #[tokio::test]
    async fn the_policies_fit_the_sources_and_all_is_one_change() {
        let dir = tempfile::tempdir().unwrap();
        data::make(dir.path(), Some(0.001)).unwrap();
        let files = data::files(dir.path()).unwrap();
        let store = Store::open(&dir.path().join("state"), Arc::new(SystemClock)).await.unwrap();
        make(&store, &files).await.unwrap();
        assert_eq!(store.epoch().await.unwrap().0, 1);
        let facts = store.facts().await.unwrap();
        assert_eq!((facts.principals.len(), facts.sources.len(), facts.selected.len()), (7, 9, 2));
        for stored in &facts.policies {
            assert_eq!(check(&stored.policy, &facts), vec![], "policy `{}`", stored.policy.key);
        }

        // Started again, it changes nothing, even when somebody else has.
        make(&store, &files).await.unwrap();
        apply(&store, vec![Change::RemoveUser(PrincipalId::builtin("tara").unwrap())]).await.unwrap();
        make(&store, &files).await.unwrap();
        assert_eq!(store.epoch().await.unwrap().0, 2);
    }

    #[tokio::test]
    async fn a_store_of_something_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Arc::new(SystemClock)).await.unwrap();
        let other = Principal::bare(PrincipalId::builtin("somebody").unwrap());
        apply(&store, vec![Change::PutUser(other)]).await.unwrap();
        assert!(make(&store, &[]).await.unwrap_err().to_string().contains("something else"));
    }
}
