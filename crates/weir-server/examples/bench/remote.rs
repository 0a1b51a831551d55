//! TPC-H in PostgreSQL: behind Weir, behind views that say the same by hand, and behind views with a security barrier,
//! which PostgreSQL offers for this.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::pin::pin;
use std::time::Instant;

use anyhow::Context;
use futures::StreamExt;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, RegionGenerator,
    SupplierGenerator,
};
use weir_model::SourceName;
use weir_query::UserLimits;
use weir_testkit::postgres::{PASSWORD, Postgres, USER};

use crate::measure::{geometric_mean, median, ratio};
use crate::tpch::{CUSTOMER, LINEITEM, POLICIES, over, queries};
use crate::{Common, data};

const TABLES: [&str; 6] = ["region", "nation", "supplier", "customer", "orders", "lineitem"];
const ASKED: [&str; 6] = ["q1", "q3", "q5", "q6", "q10", "q12"];

const DEFINITIONS: &str = "CREATE SCHEMA tpch; SET search_path = tpch;
CREATE TABLE region (r_regionkey bigint PRIMARY KEY, r_name text, r_comment text);
CREATE TABLE nation (n_nationkey bigint PRIMARY KEY, n_name text, n_regionkey bigint, n_comment text);
CREATE TABLE supplier (s_suppkey bigint PRIMARY KEY, s_name text, s_address text, s_nationkey bigint, s_phone text,
    s_acctbal numeric(15,2), s_comment text);
CREATE TABLE customer (c_custkey bigint PRIMARY KEY, c_name text, c_address text, c_nationkey bigint, c_phone text,
    c_acctbal numeric(15,2), c_mktsegment text, c_comment text);
CREATE TABLE part (p_partkey bigint PRIMARY KEY, p_name text, p_mfgr text, p_brand text, p_type text, p_size int,
    p_container text, p_retailprice numeric(15,2), p_comment text);
CREATE TABLE orders (o_orderkey bigint PRIMARY KEY, o_custkey bigint, o_orderstatus text, o_totalprice numeric(15,2),
    o_orderdate date, o_orderpriority text, o_clerk text, o_shippriority int, o_comment text);
CREATE TABLE lineitem (l_orderkey bigint, l_partkey bigint, l_suppkey bigint, l_linenumber int, l_quantity numeric(15,2),
    l_extendedprice numeric(15,2), l_discount numeric(15,2), l_tax numeric(15,2), l_returnflag text, l_linestatus text,
    l_shipdate date, l_commitdate date, l_receiptdate date, l_shipinstruct text, l_shipmode text, l_comment text,
    PRIMARY KEY (l_orderkey, l_linenumber));
";

const INDEXES: &str =
    "SET search_path = tpch; CREATE INDEX ON orders (o_custkey); CREATE INDEX ON orders (o_orderdate);
CREATE INDEX ON lineitem (l_shipdate); VACUUM ANALYZE;";

/// SHA-256 with a salt, in PostgreSQL.
pub(crate) fn hash(column: &str) -> String {
    format!("encode(sha256(('k3y-salt-0123456789abcdef' || {column})::bytea), 'hex')")
}

/// What the policies say, as views in a schema of their own.
#[derive(Clone, Copy)]
pub(crate) struct Views {
    pub(crate) schema: &'static str,
    /// In front of the names of the tables.
    pub(crate) base: &'static str,
    pub(crate) options: &'static str,
    pub(crate) hash: fn(&str) -> String,
    /// Row filters too, not only masks.
    pub(crate) rows: bool,
    /// The clerk is hashed instead of replaced.
    pub(crate) clerk: bool,
}

impl Views {
    pub(crate) fn statements(self) -> Vec<String> {
        let Self { schema, base, options, hash, rows, clerk } = self;
        let filter = |condition: String| if rows { format!(" WHERE {condition}") } else { String::new() };
        let mut all = vec![format!("CREATE SCHEMA {schema}")];
        for table in ["region", "nation", "supplier", "part"] {
            all.push(format!("CREATE VIEW {schema}.{table} {options} AS SELECT * FROM {base}{table}"));
        }
        all.push(format!(
            "CREATE VIEW {schema}.customer {options} AS SELECT c_custkey, {} AS c_name, c_address, c_nationkey, {} AS c_phone,
             CAST(NULL AS numeric(15,2)) AS c_acctbal, c_mktsegment, c_comment FROM {base}customer{}",
            hash("c_name"),
            hash("c_phone"),
            filter(CUSTOMER.to_owned()),
        ));
        all.push(format!(
            "CREATE VIEW {schema}.orders {options} AS SELECT o_orderkey, o_custkey, o_orderstatus, o_totalprice, o_orderdate,
             o_orderpriority, {} AS o_clerk, o_shippriority, o_comment FROM {base}orders{}",
            if clerk { hash("o_clerk") } else { "'REDACTED'".to_owned() },
            filter(format!("o_custkey IN (SELECT c_custkey FROM {base}customer WHERE {CUSTOMER})")),
        ));
        all.push(format!(
            "CREATE VIEW {schema}.lineitem {options} AS SELECT l_orderkey, l_partkey, l_suppkey, l_linenumber, l_quantity,
             CAST(l_extendedprice - l_extendedprice % 100 AS numeric(15,2)) AS l_extendedprice, l_discount, l_tax, l_returnflag, l_linestatus,
             l_shipdate, l_commitdate, l_receiptdate, l_shipinstruct, l_shipmode, l_comment FROM {base}lineitem{}",
            filter(LINEITEM.to_owned()),
        ));
        all
    }
}

fn copied(table: &str, rows: impl Iterator<Item = impl Display>) -> String {
    let mut text = format!("COPY tpch.{table} FROM STDIN WITH (DELIMITER '|');\n");
    for row in rows {
        text.push_str(row.to_string().trim_end_matches('|'));
        text.push('\n');
    }
    text + "\\.\n"
}

/// The tables, and views of both kinds.
pub(crate) fn load(database: &Postgres, scale: f64) {
    database.sql(DEFINITIONS);
    database.sql(&copied("region", RegionGenerator::new(scale, 1, 1).iter()));
    database.sql(&copied("nation", NationGenerator::new(scale, 1, 1).iter()));
    database.sql(&copied("supplier", SupplierGenerator::new(scale, 1, 1).iter()));
    database.sql(&copied("customer", CustomerGenerator::new(scale, 1, 1).iter()));
    database.sql(&copied("part", PartGenerator::new(scale, 1, 1).iter()));
    database.sql(&copied("orders", OrderGenerator::new(scale, 1, 1).iter()));
    database.sql(&copied("lineitem", LineItemGenerator::new(scale, 1, 1).iter()));
    database.sql(INDEXES);
    for (schema, options) in [("by_hand", ""), ("barrier", "WITH (security_barrier)")] {
        let views = Views { schema, base: "tpch.", options, hash, rows: true, clerk: false };
        database.sql(&views.statements().join(";"));
    }
}

const FORMS: [&str; 3] = ["weir", "view", "barrier"];

pub(crate) async fn run(common: &Common) -> anyhow::Result<String> {
    let database = Postgres::start();
    load(&database, common.scale);
    let mut tables = Vec::new();
    for table in TABLES {
        let mut found = weir_sources::find_tables(database.connection("db"), "tpch", Some(table)).await?;
        let found = found.pop().context("a table is missing")?;
        tables.push((SourceName::new("tpch", table)?, found.location, found.columns));
    }
    let attributes: [(&str, &[&str]); 2] =
        [("nations", &["7", "8", "12", "24"]), ("modes", &["AIR", "SHIP", "RAIL", "TRUCK"])];
    let (user, connection) = (UserLimits::default(), Some(database.connection("db")));
    let (engine, restricted, _) = data::engine_of(tables, data::parsed(POLICIES)?, &attributes, user, connection)?;
    let address = format!("host=127.0.0.1 port={} user={USER} password={PASSWORD} dbname=postgres", database.port());
    let (client, session) = tokio_postgres::connect(&address, tokio_postgres::NoTls).await?;
    tokio::spawn(session);
    let by_view = async |sql: &str| -> anyhow::Result<usize> {
        let mut rows = pin!(client.query_typed_raw(sql, Vec::<(i64, _)>::new()).await?);
        let mut count = 0;
        while let Some(row) = rows.next().await {
            row?;
            count += 1;
        }
        Ok(count)
    };

    let (mut table, mut to_views, mut to_barriers) = (String::new(), Vec::new(), Vec::new());
    for (name, query, _) in queries() {
        if !ASKED.contains(&name) || common.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
        for repetition in 0..=common.repetitions {
            for turn in 0..FORMS.len() {
                let form = FORMS.get((turn + repetition) % FORMS.len()).copied().unwrap_or("weir");
                let started = Instant::now();
                let count = match form {
                    "weir" => data::governed(&engine, &restricted, &over(&query, "tpch.")).await?,
                    "view" => by_view(&over(&query, "by_hand.")).await?,
                    _ => by_view(&over(&query, "barrier.")).await?,
                };
                let ms = started.elapsed().as_secs_f64() * 1e3;
                rows.insert(form, count);
                // The first round warms caches.
                if repetition > 0 {
                    times.entry(form).or_default().push(ms);
                }
            }
        }
        anyhow::ensure!(rows.values().min() == rows.values().max(), "{name}: answers differ in rows: {rows:?}");
        let of = |form: &str| times.get(form).cloned().unwrap_or_default();
        let (to_view, to_barrier) = (ratio(&of("weir"), &of("view")), ratio(&of("weir"), &of("barrier")));
        to_views.push(to_view);
        to_barriers.push(to_barrier);
        let ms = |form| median(of(form));
        let row = format!(
            "| `{name}` | {:.1} | {:.1} | {:.1} | {to_view:.2} | {to_barrier:.2} | {} |\n",
            ms("weir"),
            ms("view"),
            ms("barrier"),
            rows.get("weir").copied().unwrap_or(0)
        );
        crate::measure::print(row.trim_end());
        table.push_str(&row);
    }
    let mut report = heading(common);
    writeln!(
        report,
        "Geometric mean of Weir / view: **{:.2}**; of Weir / security barrier: **{:.2}**.\n",
        geometric_mean(&to_views),
        geometric_mean(&to_barriers)
    )?;
    report.push_str("| query | Weir ms | view ms | barrier ms | Weir / view | Weir / barrier | rows |\n");
    report.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
    writeln!(report, "{table}")?;
    Ok(report)
}

fn heading(common: &Common) -> String {
    format!(
        "# TPC-H in PostgreSQL\n\n\
         `cargo xtask bench remote --scale {} --repetitions {}`\n\n\
         Wall time from the text of a query to its last row, three forms interleaved in one run; ratios are medians of the ratios within \
         one repetition.\n\
         *Weir* goes the whole path of a read in this process, over tables of a PostgreSQL on the same machine; *view* asks the same \
         PostgreSQL for views in which the policies are written by hand (SHA-256 with a salt where Weir has a keyed HMAC); *barrier* asks \
         for the same views with `security_barrier`, without which conditions of the reader see hidden rows.\n\n",
        common.scale, common.repetitions
    )
}
