//! TPC-H and small queries: raw, the answer of the policy written by hand, governed, and governed for somebody whom
//! no policy restricts.

use std::collections::BTreeMap;
use std::fmt::Write;

use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::StreamExt;

use crate::measure::{cpu_ms, geometric_mean, median, ratio};
use crate::{Common, data};

/// Nations 7, 8, 12 and 24 (4 of 25), 4 of 7 ways of shipping, rows since 1994; hashes, a NULL, a constant, rounding.
pub(crate) const POLICIES: &str = "
Mask using hashing the columns c_name, c_phone for everyone except when user is an owner of the data source on data source tpch.customer.

Mask by making null the column c_acctbal for everyone except when user is an owner of the data source on data source tpch.customer.

Mask using the constant 'REDACTED' the column o_clerk for everyone except when user is an owner of the data source on data source tpch.orders.

Mask by rounding to 100 the column l_extendedprice for everyone except when user is an owner of the data source on data source tpch.lineitem.

Only show rows where user possesses an attribute in nations that matches the value in the column c_nationkey for everyone except when user is an owner of the data source on data source tpch.customer.

Only show rows where o_custkey in (select c_custkey from tpch.customer where @attributeValuesContains('nations', c_nationkey)) for everyone except when user is an owner of the data source on data source tpch.orders.

Only show rows where l_shipdate >= DATE '1994-01-01' and @attributeValuesContains('modes', l_shipmode) for everyone except when user is an owner of the data source on data source tpch.lineitem.

Allow anyone to subscribe.
";

pub(crate) const CUSTOMER: &str = "c_nationkey IN (7, 8, 12, 24)";
pub(crate) const LINEITEM: &str = "l_shipdate >= DATE '1994-01-01' AND l_shipmode IN ('AIR', 'SHIP', 'RAIL', 'TRUCK')";
const ORDERS: &str = "o_custkey IN (SELECT c_custkey FROM customer WHERE c_nationkey IN (7, 8, 12, 24))";
const PRICE: &str = "CAST(l_extendedprice - l_extendedprice % 100 AS DECIMAL(15,2))";
const NULL_BALANCE: &str = "CAST(NULL AS DECIMAL(15,2))";

/// SHA-256 with a salt, in DataFusion.
pub(crate) fn hash(column: &str) -> String {
    format!("encode(sha256(concat('k3y-salt-0123456789abcdef', {column})), 'hex')")
}

/// Name, the query over `{C}`, `{O}`, `{L}` and `{schema}`, and what an expert writes by hand for the policy's answer: predicates inlined,
/// semi-joins that change nothing dropped, masks as late as the answer allows.
pub(crate) fn queries() -> Vec<(&'static str, String, String)> {
    let (name, phone) = (hash("c_name"), hash("c_phone"));
    let lineitem_columns = format!(
        "l_orderkey, l_partkey, l_suppkey, l_linenumber, l_quantity, {PRICE} AS l_extendedprice, l_discount, l_tax, \
         l_returnflag, l_linestatus, l_shipdate, l_commitdate, l_receiptdate, l_shipinstruct, l_shipmode, l_comment"
    );
    let orders_columns = "o_orderkey, o_custkey, o_orderstatus, o_totalprice, o_orderdate, o_orderpriority, \
                          'REDACTED' AS o_clerk, o_shippriority, o_comment";
    let customer_columns = format!(
        "c_custkey, {name} AS c_name, c_address, c_nationkey, {phone} AS c_phone, {NULL_BALANCE} AS c_acctbal, \
         c_mktsegment, c_comment"
    );
    let q1 = |price: &str, from: &str| {
        format!(
            "SELECT l_returnflag, l_linestatus, sum(l_quantity) AS sum_qty, sum({price}) AS sum_base_price,
             sum({price} * (1 - l_discount)) AS sum_disc_price, sum({price} * (1 - l_discount) * (1 + l_tax)) AS sum_charge,
             avg(l_quantity) AS avg_qty, avg({price}) AS avg_price, avg(l_discount) AS avg_disc, count(*) AS n
             FROM {from} GROUP BY l_returnflag, l_linestatus ORDER BY l_returnflag, l_linestatus"
        )
    };
    let own = |text: &str| text.to_owned();
    vec![
        (
            "q1",
            q1("l_extendedprice", "{L} WHERE l_shipdate <= DATE '1998-09-02'"),
            q1("xp", &format!("(SELECT l_returnflag, l_linestatus, l_quantity, l_discount, l_tax, {PRICE} AS xp FROM lineitem WHERE l_shipdate <= DATE '1998-09-02' AND {LINEITEM}) t")),
        ),
        (
            "q3",
            own("SELECT l_orderkey, sum(l_extendedprice * (1 - l_discount)) AS revenue, o_orderdate, o_shippriority
                 FROM {C}, {O}, {L} WHERE c_mktsegment = 'BUILDING' AND c_custkey = o_custkey AND l_orderkey = o_orderkey
                 AND o_orderdate < DATE '1995-03-15' AND l_shipdate > DATE '1995-03-15'
                 GROUP BY l_orderkey, o_orderdate, o_shippriority ORDER BY revenue DESC, o_orderdate LIMIT 10"),
            format!("SELECT l_orderkey, sum({PRICE} * (1 - l_discount)) AS revenue, o_orderdate, o_shippriority
                 FROM customer, orders, lineitem WHERE c_mktsegment = 'BUILDING' AND c_custkey = o_custkey AND l_orderkey = o_orderkey
                 AND o_orderdate < DATE '1995-03-15' AND l_shipdate > DATE '1995-03-15' AND {CUSTOMER} AND l_shipmode IN ('AIR', 'SHIP', 'RAIL', 'TRUCK')
                 GROUP BY l_orderkey, o_orderdate, o_shippriority ORDER BY revenue DESC, o_orderdate LIMIT 10"),
        ),
        (
            "q5",
            own("SELECT n_name, sum(l_extendedprice * (1 - l_discount)) AS revenue FROM {C}, {O}, {L}, {schema}supplier, {schema}nation, {schema}region
                 WHERE c_custkey = o_custkey AND l_orderkey = o_orderkey AND l_suppkey = s_suppkey AND c_nationkey = s_nationkey
                 AND s_nationkey = n_nationkey AND n_regionkey = r_regionkey AND r_name = 'ASIA'
                 AND o_orderdate >= DATE '1994-01-01' AND o_orderdate < DATE '1995-01-01' GROUP BY n_name ORDER BY revenue DESC"),
            format!("SELECT n_name, sum({PRICE} * (1 - l_discount)) AS revenue FROM customer, orders, lineitem, supplier, nation, region
                 WHERE c_custkey = o_custkey AND l_orderkey = o_orderkey AND l_suppkey = s_suppkey AND c_nationkey = s_nationkey
                 AND s_nationkey = n_nationkey AND n_regionkey = r_regionkey AND r_name = 'ASIA'
                 AND o_orderdate >= DATE '1994-01-01' AND o_orderdate < DATE '1995-01-01' AND {CUSTOMER} AND {LINEITEM}
                 GROUP BY n_name ORDER BY revenue DESC"),
        ),
        (
            "q6",
            own("SELECT sum(l_extendedprice * l_discount) AS revenue FROM {L} WHERE l_shipdate >= DATE '1994-01-01'
                 AND l_shipdate < DATE '1995-01-01' AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24"),
            format!("SELECT sum({PRICE} * l_discount) AS revenue FROM lineitem WHERE l_shipdate >= DATE '1994-01-01'
                 AND l_shipdate < DATE '1995-01-01' AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24
                 AND l_shipmode IN ('AIR', 'SHIP', 'RAIL', 'TRUCK')"),
        ),
        (
            "q10",
            own("SELECT c_custkey, c_name, sum(l_extendedprice * (1 - l_discount)) AS revenue, c_acctbal, n_name, c_address, c_phone, c_comment
                 FROM {C}, {O}, {L}, {schema}nation WHERE c_custkey = o_custkey AND l_orderkey = o_orderkey
                 AND o_orderdate >= DATE '1993-10-01' AND o_orderdate < DATE '1994-01-01' AND l_returnflag = 'R' AND c_nationkey = n_nationkey
                 GROUP BY c_custkey, c_name, c_acctbal, c_phone, n_name, c_address, c_comment ORDER BY revenue DESC LIMIT 20"),
            format!("SELECT c_custkey, {name} AS c_name, revenue, {NULL_BALANCE} AS c_acctbal, n_name, c_address, {phone} AS c_phone, c_comment FROM (
                 SELECT c_custkey, c_name, sum({PRICE} * (1 - l_discount)) AS revenue, n_name, c_address, c_phone, c_comment
                 FROM customer, orders, lineitem, nation WHERE c_custkey = o_custkey AND l_orderkey = o_orderkey
                 AND o_orderdate >= DATE '1993-10-01' AND o_orderdate < DATE '1994-01-01' AND l_returnflag = 'R' AND c_nationkey = n_nationkey
                 AND {CUSTOMER} AND {LINEITEM} GROUP BY c_custkey, c_name, c_phone, n_name, c_address, c_comment
                 ORDER BY revenue DESC LIMIT 20) t ORDER BY revenue DESC"),
        ),
        (
            "q12",
            own("SELECT l_shipmode, sum(CASE WHEN o_orderpriority = '1-URGENT' OR o_orderpriority = '2-HIGH' THEN 1 ELSE 0 END) AS high_line_count,
                 sum(CASE WHEN o_orderpriority <> '1-URGENT' AND o_orderpriority <> '2-HIGH' THEN 1 ELSE 0 END) AS low_line_count
                 FROM {O}, {L} WHERE o_orderkey = l_orderkey AND l_shipmode IN ('MAIL', 'SHIP') AND l_commitdate < l_receiptdate
                 AND l_shipdate < l_commitdate AND l_receiptdate >= DATE '1994-01-01' AND l_receiptdate < DATE '1995-01-01'
                 GROUP BY l_shipmode ORDER BY l_shipmode"),
            format!("SELECT l_shipmode, sum(CASE WHEN o_orderpriority = '1-URGENT' OR o_orderpriority = '2-HIGH' THEN 1 ELSE 0 END) AS high_line_count,
                 sum(CASE WHEN o_orderpriority <> '1-URGENT' AND o_orderpriority <> '2-HIGH' THEN 1 ELSE 0 END) AS low_line_count
                 FROM orders, lineitem, customer WHERE o_orderkey = l_orderkey AND o_custkey = c_custkey AND {CUSTOMER}
                 AND l_shipmode = 'SHIP' AND l_commitdate < l_receiptdate AND l_shipdate < l_commitdate
                 AND l_receiptdate >= DATE '1994-01-01' AND l_receiptdate < DATE '1995-01-01' AND l_shipdate >= DATE '1994-01-01'
                 GROUP BY l_shipmode ORDER BY l_shipmode"),
        ),
        (
            "q14",
            own("SELECT 100.00 * sum(CASE WHEN p_type LIKE 'PROMO%' THEN l_extendedprice * (1 - l_discount) ELSE 0 END)
                 / sum(l_extendedprice * (1 - l_discount)) AS promo_revenue FROM {L}, {schema}part WHERE l_partkey = p_partkey
                 AND l_shipdate >= DATE '1995-09-01' AND l_shipdate < DATE '1995-10-01'"),
            format!("SELECT 100.00 * sum(CASE WHEN p_type LIKE 'PROMO%' THEN {PRICE} * (1 - l_discount) ELSE 0 END)
                 / sum({PRICE} * (1 - l_discount)) AS promo_revenue FROM lineitem, part WHERE l_partkey = p_partkey
                 AND l_shipdate >= DATE '1995-09-01' AND l_shipdate < DATE '1995-10-01' AND l_shipmode IN ('AIR', 'SHIP', 'RAIL', 'TRUCK')"),
        ),
        (
            "q18",
            own("SELECT c_name, c_custkey, o_orderkey, o_orderdate, o_totalprice, sum(l_quantity) AS q FROM {C}, {O}, {L}
                 WHERE o_orderkey IN (SELECT l_orderkey FROM {L} GROUP BY l_orderkey HAVING sum(l_quantity) > 212)
                 AND c_custkey = o_custkey AND o_orderkey = l_orderkey
                 GROUP BY c_name, c_custkey, o_orderkey, o_orderdate, o_totalprice ORDER BY o_totalprice DESC, o_orderdate LIMIT 100"),
            format!("SELECT {name} AS c_name, c_custkey, o_orderkey, o_orderdate, o_totalprice, q FROM (
                 SELECT c_name, c_custkey, o_orderkey, o_orderdate, o_totalprice, sum(l_quantity) AS q FROM customer, orders, lineitem
                 WHERE o_orderkey IN (SELECT l_orderkey FROM lineitem WHERE {LINEITEM} GROUP BY l_orderkey HAVING sum(l_quantity) > 212)
                 AND c_custkey = o_custkey AND o_orderkey = l_orderkey AND {CUSTOMER} AND {LINEITEM}
                 GROUP BY c_name, c_custkey, o_orderkey, o_orderdate, o_totalprice ORDER BY o_totalprice DESC, o_orderdate LIMIT 100) t
                 ORDER BY o_totalprice DESC, o_orderdate"),
        ),
        ("s_count", own("SELECT count(*) AS n FROM {L}"), format!("SELECT count(*) AS n FROM lineitem WHERE {LINEITEM}")),
        (
            "s_sum",
            own("SELECT sum(l_quantity) AS q, sum(l_extendedprice) AS p FROM {L}"),
            format!("SELECT sum(l_quantity) AS q, sum({PRICE}) AS p FROM lineitem WHERE {LINEITEM}"),
        ),
        ("s_export_cust", own("SELECT * FROM {C}"), format!("SELECT {customer_columns} FROM customer WHERE {CUSTOMER}")),
        (
            "s_export_orders",
            own("SELECT * FROM {O}"),
            format!("SELECT {orders_columns} FROM orders, customer WHERE o_custkey = c_custkey AND {CUSTOMER}"),
        ),
        (
            "s_point_order",
            own("SELECT * FROM {O} WHERE o_orderkey = 3000002"),
            format!("SELECT {orders_columns} FROM orders WHERE o_orderkey = 3000002 AND {ORDERS}"),
        ),
        (
            "s_point_cust",
            own("SELECT * FROM {C} WHERE c_custkey = 75002"),
            format!("SELECT {customer_columns} FROM customer WHERE c_custkey = 75002 AND {CUSTOMER}"),
        ),
        (
            "s_point_line",
            own("SELECT * FROM {L} WHERE l_orderkey = 3000002"),
            format!("SELECT {lineitem_columns} FROM lineitem WHERE l_orderkey = 3000002 AND {LINEITEM}"),
        ),
        (
            "s_by_hash",
            format!("SELECT c_custkey, c_mktsegment FROM {{C}} WHERE c_phone = '{}'", "0".repeat(64)),
            format!("SELECT c_custkey, c_mktsegment FROM customer WHERE {CUSTOMER} AND {phone} = '{}'", "0".repeat(64)),
        ),
        (
            "s_group_clerk",
            own("SELECT o_clerk, count(*) AS n FROM {O} GROUP BY o_clerk ORDER BY n DESC LIMIT 10"),
            format!("SELECT 'REDACTED' AS o_clerk, count(*) AS n FROM orders, customer WHERE o_custkey = c_custkey AND {CUSTOMER}"),
        ),
        (
            "s_limit100",
            own("SELECT * FROM {C} LIMIT 100"),
            format!("SELECT {customer_columns} FROM (SELECT * FROM customer WHERE {CUSTOMER} LIMIT 100) t"),
        ),
        (
            "s_topk100",
            own("SELECT * FROM {C} ORDER BY c_custkey DESC LIMIT 100"),
            format!("SELECT {customer_columns} FROM (SELECT * FROM customer WHERE {CUSTOMER} ORDER BY c_custkey DESC LIMIT 100) t"),
        ),
        (
            "s_distinct_phone",
            own("SELECT count(DISTINCT c_phone) AS n FROM {C}"),
            format!("SELECT count(DISTINCT c_phone) AS n FROM customer WHERE {CUSTOMER}"),
        ),
    ]
}

/// A query over the tables of a schema.
pub(crate) fn over(text: &str, schema: &str) -> String {
    let tables = [("{C}", "customer"), ("{O}", "orders"), ("{L}", "lineitem")];
    let text =
        tables.iter().fold(text.to_owned(), |text, (hole, table)| text.replace(hole, &format!("{schema}{table}")));
    text.replace("{schema}", schema)
}

const FORMS: [&str; 4] = ["raw", "hand", "governed", "clear"];

pub(crate) async fn run(common: &Common) -> anyhow::Result<String> {
    let folder = data::tables(&common.data, common.scale)?;
    let attributes: [(&str, &[&str]); 2] =
        [("nations", &["7", "8", "12", "24"]), ("modes", &["AIR", "SHIP", "RAIL", "TRUCK"])];
    let (engine, restricted, clear) = data::engine(&folder, data::parsed(POLICIES)?, &attributes).await?;
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    for table in data::TABLES {
        let path = folder.join(format!("{table}.parquet"));
        context.register_parquet(table, path.to_string_lossy(), ParquetReadOptions::default()).await?;
    }
    let plain = async |sql: &str| -> anyhow::Result<usize> {
        let mut stream = context.sql(sql).await?.execute_stream().await?;
        let mut rows = 0;
        while let Some(batch) = stream.next().await {
            rows += batch?.num_rows();
        }
        Ok(rows)
    };
    let mut report = heading(common);
    let mut table = String::from(
        "| query | raw ms | hand ms | governed ms | clear ms | governed / hand | clear / raw | rows |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let mut by_kind: BTreeMap<&str, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for (name, query, hand) in queries() {
        if common.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let (raw, governed) = (over(&query, ""), over(&query, "tpch."));
        let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
        for repetition in 0..=common.repetitions {
            for turn in 0..FORMS.len() {
                let form = FORMS.get((turn + repetition) % FORMS.len()).copied().unwrap_or("raw");
                let (ms, count) = match form {
                    "raw" => cpu_ms(plain(&raw)).await?,
                    "hand" => cpu_ms(plain(&hand)).await?,
                    "governed" => cpu_ms(data::governed(&engine, &restricted, &governed)).await?,
                    _ => cpu_ms(data::governed(&engine, &clear, &governed)).await?,
                };
                rows.insert(form, count);
                // The first round warms caches.
                if repetition > 0 {
                    times.entry(form).or_default().push(ms);
                }
            }
        }
        let of = |form: &str| times.get(form).cloned().unwrap_or_default();
        let (to_hand, to_raw) = (ratio(&of("governed"), &of("hand")), ratio(&of("clear"), &of("raw")));
        anyhow::ensure!(
            rows.get("governed") == rows.get("hand"),
            "{name}: governed and hand-written answers differ in rows: {rows:?}"
        );
        let kind = by_kind.entry(if name.starts_with('q') { "TPC-H" } else { "small" }).or_default();
        kind.0.push(to_hand);
        kind.1.push(to_raw);
        let ms = |form| median(of(form));
        let row = format!(
            "| `{name}` | {:.1} | {:.1} | {:.1} | {:.1} | {to_hand:.2} | {to_raw:.2} | {} |\n",
            ms("raw"),
            ms("hand"),
            ms("governed"),
            ms("clear"),
            rows.get("governed").copied().unwrap_or(0)
        );
        crate::measure::print(row.trim_end());
        table.push_str(&row);
    }
    report.push_str("| queries | governed / hand, geometric mean | worst | clear / raw, geometric mean | worst |\n| --- | --- | --- | --- | --- |\n");
    for (kind, (to_hand, to_raw)) in by_kind {
        let worst = |ratios: &[f64]| ratios.iter().copied().fold(0.0, f64::max);
        writeln!(
            report,
            "| {kind} ({}) | **{:.3}** | {:.2} | **{:.3}** | {:.2} |",
            to_hand.len(),
            geometric_mean(&to_hand),
            worst(&to_hand),
            geometric_mean(&to_raw),
            worst(&to_raw)
        )?;
    }
    writeln!(report, "\n{table}")?;
    Ok(report)
}

fn heading(common: &Common) -> String {
    format!(
        "# TPC-H under a policy set\n\n\
         `cargo xtask bench tpch --scale {} --repetitions {}`\n\n\
         CPU time of the whole process, parse to last row, four forms of each query interleaved in one run; ratios are medians of the \
         ratios within one repetition.\n\
         *raw* is DataFusion without a policy, *hand* what an expert writes in DataFusion for the policy's answer (no enforcement, masks as \
         late as possible, SHA-256 with a salt instead of a keyed HMAC), *governed* goes the whole path of a read for a restricted reader, \
         *clear* the same path for a reader whom no policy restricts.\n\
         Keys of the lookup policy on `orders` are kept while epoch and files stay the same, as in production; *hand* runs the semi-join.\n\n",
        common.scale, common.repetitions
    )
}
