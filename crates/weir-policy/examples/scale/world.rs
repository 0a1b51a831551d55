//! A large world, the same each time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use weir_model::{
    AttributeKey, Column, ColumnId, ColumnName, DataSource, DataType, FileFormat, GroupName, InvalidName, Location,
    PolicyKey, Principal, PrincipalId, SourceId, SourceName, Tag,
};
use weir_policy::ast::Policy;
use weir_policy::language;

/// How much there is of everything.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) sources: u32,
    pub(crate) people: u32,
    pub(crate) policies: u32,
}

pub(crate) const COLUMNS: u32 = 20;
pub(crate) const ATTRIBUTES: u32 = 50;
const TABLES_OF_A_SCHEMA: u32 = 500;
const COLUMN_NAMES: u32 = 5_000;
const TAGS: u32 = 200;
const GROUPS: u32 = 500;

type Made<T> = Result<T, InvalidName>;

/// Scatters numbers: the finaliser of MurmurHash3.
pub(crate) fn scattered(n: u32) -> u32 {
    let n = (n ^ (n >> 16)).wrapping_mul(0x85eb_ca6b);
    let n = (n ^ (n >> 13)).wrapping_mul(0xc2b2_ae35);
    n ^ (n >> 16)
}

pub(crate) fn source_name(n: u32) -> Made<SourceName> {
    SourceName::new(format!("s{}", n / TABLES_OF_A_SCHEMA), format!("t{n}"))
}

pub(crate) fn person_id(n: u32) -> Made<PrincipalId> {
    PrincipalId::builtin(format!("user{n}"))
}

pub(crate) fn group(n: u32) -> Made<GroupName> {
    GroupName::new(format!("group{}", n % GROUPS))
}

/// One column of each source is a region; two of the others are tagged.
pub(crate) fn source(n: u32) -> Made<DataSource> {
    let column = |c: u32| {
        let name = match c {
            0 => "region".to_owned(),
            // Names of one source differ: each has a part of its own.
            _ => format!("col_{}", (scattered(n) % (COLUMN_NAMES / COLUMNS)) * COLUMNS + c),
        };
        let data_type = match c % 4 {
            3 => DataType::Int64,
            _ => DataType::Text,
        };
        let tags = match c {
            4 | 8 => BTreeSet::from([Tag::new(format!("PII.K{}", scattered(n * COLUMNS + c) % TAGS))?]),
            _ => BTreeSet::new(),
        };
        Ok(Column { id: ColumnId(c + 1), name: ColumnName::new(name)?, data_type, nullable: true, tags, profile: None })
    };
    let domain = Tag::new(format!("Domain.D{}", scattered(n) % 100))?;
    Ok(DataSource {
        id: SourceId(n + 1),
        name: source_name(n)?,
        tags: if n.is_multiple_of(3) { BTreeSet::from([domain]) } else { BTreeSet::new() },
        owners: BTreeSet::from([person_id(n % 500)?]),
        columns: (0..COLUMNS).map(column).collect::<Made<_>>()?,
        parts: Vec::new(),
        row_key: Vec::new(),
        event_time: None,
        lineage: None,
        workspace: None,
        location: Location::Files { format: FileFormat::Parquet, path: PathBuf::from("/data"), partitions: Vec::new() },
    })
}

/// Fifty attributes of two hundred, and five groups.
pub(crate) fn person(n: u32) -> Made<Principal> {
    let mut person = Principal::bare(person_id(n)?);
    person.groups = (0..5).map(|g| group(n + g * 97)).collect::<Made<_>>()?;
    let attribute = |a: u32| {
        let key = AttributeKey::new(format!("key{}", (n + a * 3) % 200))?;
        Ok((key, BTreeSet::from([format!("EU.R{}", scattered(n + a) % 50)])))
    };
    person.attributes = (0..ATTRIBUTES).map(attribute).collect::<Made<BTreeMap<_, _>>>()?;
    Ok(person)
}

/// By column tag 40 %, by schema 20 %, named 20 %, by pattern 10 %, subscriptions 10 %.
pub(crate) fn policy(n: u32, size: Size) -> Result<Policy, Box<dyn std::error::Error>> {
    let turn = n / 10;
    let schemas = size.sources.div_ceil(TABLES_OF_A_SCHEMA);
    let name = |n: u32| source_name(scattered(n) % size.sources);
    let text = match n % 10 {
        0..4 => {
            let (tag, group) = ((turn * 4 + n % 10) % TAGS, group(n)?);
            let how = if turn.is_multiple_of(2) { "using hashing" } else { "by making null" };
            format!("Mask {how} columns tagged PII.K{tag} for everyone except when user is a member of group {group}")
        }
        4 => format!(
            "Only show rows where user possesses an attribute in key{} that matches the value in the column region
             for everyone except when user is a member of group {} on data sources in schema s{}",
            turn % 200,
            group(n)?,
            turn % schemas
        ),
        5 => format!(
            "Only show rows where region <> 'R{n}' for everyone who is a member of group {}
             on data sources in schema s{}",
            group(n)?,
            turn % schemas
        ),
        6 => {
            format!("Mask using hashing the column region for everyone on data sources {}, {}", name(n)?, name(n + 7)?)
        }
        7 => format!(
            "Only show rows where region IN (SELECT region FROM {} WHERE @attributeValuesContains('key1', region))
             for everyone except when user is a member of group {} on data source {}",
            name(n)?,
            group(n)?,
            name(n + 3)?
        ),
        8 => format!(
            "Mask by making null columns with names spelled like '^col_{}.$'
             for everyone except when user is a member of group {}",
            scattered(n) % (COLUMN_NAMES / 10),
            group(n)?
        ),
        _ if turn.is_multiple_of(3) => format!(
            "Allow users to subscribe when user is a member of group {} on data sources tagged Domain.D{}",
            group(n)?,
            turn % 100
        ),
        _ if turn % 3 == 1 => {
            format!("Allow anyone who asks to subscribe with approval by an owner on data source {}", name(n)?)
        }
        _ => format!("Allow anyone to subscribe on data sources in schema s{}", turn / 3 % schemas),
    };
    parsed(&format!("p{n}"), &text)
}

pub(crate) fn parsed(key: &str, text: &str) -> Result<Policy, Box<dyn std::error::Error>> {
    let mut parsed = language::parse(text);
    if let Some(wrong) = parsed.diagnostics.first() {
        return Err(format!("{}: {text}", wrong.message).into());
    }
    let mut policy = parsed.policies.pop().ok_or("no policy")?;
    policy.key = PolicyKey::new(key)?;
    Ok(policy)
}

/// In the order of a sorted list, per mille.
pub(crate) fn at(times: &[u128], share: usize) -> u128 {
    times.get((times.len() * share / 1000).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// A line of `/proc/self/status`, in MiB; absent elsewhere than on Linux.
pub(crate) fn memory(what: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? / 1024)
}
