//! TPC-H tables as Parquet (ZSTD 1), and an engine over them under a policy set.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchReader};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow,
};
use weir_guard::Caller;
use weir_guard::Door;
use weir_model::{
    Actor, AttributeKey, Column, ColumnId, Connection, DataSource, Epoch, Location, PolicyId, Principal, PrincipalId,
    SourceId, SourceName,
};
use weir_policy::ast::Policy;
use weir_policy::{Facts, Snapshot, StoredPolicy, language};
use weir_query::{Engine, EngineSettings, UserLimits};
use weir_sources::InferredColumn;
use weir_testkit::oracle::Keys;
use weir_testkit::ports;

pub(crate) const TABLES: [&str; 8] =
    ["customer", "orders", "lineitem", "nation", "region", "supplier", "part", "partsupp"];

/// Generates what is not there yet.
pub(crate) fn tables(root: &Path, scale: f64) -> anyhow::Result<PathBuf> {
    let folder = std::path::absolute(root.join(format!("sf{scale}")))?;
    std::fs::create_dir_all(&folder)?;
    for table in TABLES {
        let path = folder.join(format!("{table}.parquet"));
        if path.exists() {
            continue;
        }
        let draft = path.with_extension("draft");
        let batches: Box<dyn RecordBatchReader + Send> = match table {
            "customer" => Box::new(CustomerArrow::new(CustomerGenerator::new(scale, 1, 1))),
            "orders" => Box::new(OrderArrow::new(OrderGenerator::new(scale, 1, 1))),
            "lineitem" => Box::new(LineItemArrow::new(LineItemGenerator::new(scale, 1, 1))),
            "nation" => Box::new(NationArrow::new(NationGenerator::new(scale, 1, 1))),
            "region" => Box::new(RegionArrow::new(RegionGenerator::new(scale, 1, 1))),
            "supplier" => Box::new(SupplierArrow::new(SupplierGenerator::new(scale, 1, 1))),
            "part" => Box::new(PartArrow::new(PartGenerator::new(scale, 1, 1))),
            _ => Box::new(PartSuppArrow::new(PartSuppGenerator::new(scale, 1, 1))),
        };
        write(&draft, batches)?;
        std::fs::rename(draft, path)?;
    }
    Ok(folder)
}

pub(crate) fn write(path: &Path, batches: Box<dyn RecordBatchReader + Send>) -> anyhow::Result<()> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(122_880))
        .build();
    let mut writer = ArrowWriter::try_new(File::create(path)?, batches.schema(), Some(properties))?;
    for batch in batches {
        writer.write(&batch?)?;
    }
    writer.close()?;
    Ok(())
}

pub(crate) fn parsed(policies: &str) -> anyhow::Result<Vec<Policy>> {
    let parsed = language::parse(policies);
    match parsed.diagnostics.iter().find(|d| d.is_error()) {
        Some(wrong) => anyhow::bail!("the benchmark's policies do not parse: {wrong}"),
        None => Ok(parsed.policies),
    }
}

/// An engine over the TPC-H tables, in which `restricted` is under `policies` and `clear` is excepted from all of them,
/// as the owner.
pub(crate) async fn engine(
    folder: &Path,
    policies: Vec<Policy>,
    attributes: &[(&str, &[&str])],
) -> anyhow::Result<(Engine, Caller, Caller)> {
    engine_over(tpch(folder)?, policies, attributes, UserLimits::default()).await
}

/// The files of the TPC-H tables.
pub(crate) fn tpch(folder: &Path) -> anyhow::Result<Vec<(SourceName, PathBuf)>> {
    let file = |table: &str| Ok((SourceName::new("tpch", table)?, folder.join(format!("{table}.parquet"))));
    TABLES.into_iter().map(file).collect()
}

/// The same over these files, where nobody takes up more than that.
pub(crate) async fn engine_over(
    files: Vec<(SourceName, PathBuf)>,
    policies: Vec<Policy>,
    attributes: &[(&str, &[&str])],
    user: UserLimits,
) -> anyhow::Result<(Engine, Caller, Caller)> {
    let mut found = Vec::new();
    for (name, path) in files {
        let inferred = weir_sources::infer(&path, None).await?;
        found.push((name, inferred.location, inferred.columns));
    }
    engine_of(found, policies, attributes, user, None)
}

/// The same over these tables, of which some may be in a database.
pub(crate) fn engine_of(
    tables: Vec<(SourceName, Location, Vec<InferredColumn>)>,
    policies: Vec<Policy>,
    attributes: &[(&str, &[&str])],
    user: UserLimits,
    database: Option<Connection>,
) -> anyhow::Result<(Engine, Caller, Caller)> {
    let clear = PrincipalId::builtin("clear")?;
    let mut restricted = Principal::bare(PrincipalId::builtin("restricted")?);
    for (key, values) in attributes {
        let values: BTreeSet<String> = values.iter().map(|v| (*v).to_owned()).collect();
        restricted.attributes.insert(AttributeKey::new(*key)?, values);
    }
    let mut sources = Vec::new();
    for (id, (name, location, columns)) in (1..).zip(tables) {
        let columns = (1..).zip(columns).map(|(id, column)| Column {
            id: ColumnId(id),
            name: column.name,
            data_type: column.data_type,
            nullable: column.nullable,
            tags: BTreeSet::new(),
            profile: None,
        });
        sources.push(DataSource {
            id: SourceId(id),
            name,
            tags: BTreeSet::new(),
            owners: BTreeSet::from([clear.clone()]),
            columns: columns.collect(),
            parts: Vec::new(),
            row_key: Vec::new(),
            event_time: None,
            lineage: None,
            workspace: None,
            location,
        });
    }
    let policies = (1..).zip(policies).map(|(id, policy)| StoredPolicy { id: PolicyId(id), policy }).collect();
    let keys = Keys { sources: sources.iter().map(|s| (s.id, [7; 32])).collect(), ..Keys::default() };
    let facts = Facts {
        epoch: Some(Epoch(1)),
        principals: vec![Principal::bare(clear.clone()), restricted.clone()],
        sources,
        policies,
        ..Facts::default()
    };
    let guard = ports::guard(
        ports::FixedFeed::new(Snapshot::compile(facts)),
        ports::MemoryAudit::new(),
        ports::FixedKeys::new(keys),
    );
    let guard = match database {
        Some(connection) => guard.with_connections(Arc::new(ports::OneConnection(connection))),
        None => guard,
    };
    let settings = EngineSettings { memory_bytes_max: 8 << 30, partitions: 2, statement_bytes_max: 1 << 20, user };
    let engine = Engine::new(guard, settings).map_err(|e| anyhow::anyhow!("{e:?}"))?;
    let caller = |id| Caller { actor: Actor::itself(id), project: None, door: Door::Local, client_hint: None };
    Ok((engine, caller(restricted.id), caller(clear)))
}

/// Runs a read to its end; rows.
pub(crate) async fn governed(engine: &Engine, caller: &Caller, sql: &str) -> anyhow::Result<usize> {
    let mut count = 0;
    each(engine, caller, sql, |batch| count += batch.num_rows()).await?;
    Ok(count)
}

/// The same, with the rows.
pub(crate) async fn governed_batches(engine: &Engine, caller: &Caller, sql: &str) -> anyhow::Result<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    each(engine, caller, sql, |batch| batches.push(batch)).await?;
    Ok(batches)
}

async fn each(engine: &Engine, caller: &Caller, sql: &str, mut take: impl FnMut(RecordBatch)) -> anyhow::Result<()> {
    let failed = |e: weir_guard::Refusal| anyhow::anyhow!("{sql}: {e:?} ({})", e.inside().detail);
    let statements = weir_query::parse(sql).map_err(failed)?;
    let Some(weir_query::Statement::Query(query)) = statements.first() else { anyhow::bail!("not a read: {sql}") };
    let mut rows = engine.run(caller, query, Vec::new()).await.map_err(failed)?;
    while let Some(batch) = rows.next().await.map_err(failed)? {
        take(batch);
    }
    Ok(())
}
