//! What the Flight SQL door costs: the same reads in process and by a client on the same machine, interleaved.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::sql::client::FlightSqlServiceClient;
use async_trait::async_trait;
use futures::TryStreamExt;
use tokio::net::TcpListener;
use tonic::transport::Channel;
use weir_gateway_flight::{FlightGateway, FlightSettings};
use weir_guard::{Caller, Credentials, PortError, ScramVerifier};
use weir_model::{PrincipalId, Secret};
use weir_query::Engine;

use crate::{Common, data, measure};

const POLICIES: &str = "\
Allow anyone to subscribe.

Only show rows where l_quantity > 5 for everyone except when user is an owner of the data source on data source tpch.lineitem.

Mask using hashing the column l_shipmode for everyone except when user is an owner of the data source on data source tpch.lineitem.
";

const READS: [(&str, &str); 2] = [
    ("all columns", "SELECT * FROM tpch.lineitem"),
    ("numbers", "SELECT l_orderkey, l_partkey, l_suppkey, l_linenumber, l_extendedprice FROM tpch.lineitem"),
];

/// Everybody has the same password.
struct OnePassword(ScramVerifier);

#[async_trait]
impl Credentials for OnePassword {
    async fn scram(&self, _: &PrincipalId) -> Result<Option<ScramVerifier>, PortError> {
        Ok(Some(self.0.clone()))
    }
}

/// Of one repetition: seconds on the clock and of processors, and rows.
struct Run {
    wall: f64,
    cpu: f64,
    rows: usize,
}

pub(crate) async fn run(common: &Common) -> anyhow::Result<String> {
    let folder = data::tables(&common.data, common.scale)?;
    let (engine, restricted, clear) = data::engine(&folder, data::parsed(POLICIES)?, &[]).await?;
    let address = serve(engine.clone()).await?;
    let mut report = format!(
        "# Flight SQL\n\n`cargo xtask bench flight --scale {}` ({} repetitions)\n\n\
         Rows per second of reads of `lineitem`, to the last row, in process and by Flight SQL with one stream, uncompressed, to a client in \
         the same process that decodes them; medians of interleaved repetitions. CPU is that of the whole process, the client included.\n\n\
         | read | by | rows | in process, M rows/s | Flight SQL, M rows/s | ratio | CPU added, s per M rows |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: |\n",
        common.scale, common.repetitions
    );
    for (what, sql) in READS {
        for (who, caller) in [("an owner", &clear), ("a restricted reader", &restricted)] {
            let mut client = login(address, caller).await?;
            let (mut inside, mut outside) = (Vec::new(), Vec::new());
            for repetition in 0..=common.repetitions {
                let (here, there) =
                    (timed(data::governed(&engine, caller, sql)).await?, timed(fetch(&mut client, sql)).await?);
                anyhow::ensure!(here.rows == there.rows, "{} and {} rows", here.rows, there.rows);
                // The first one warms up.
                if repetition > 0 {
                    inside.push(here);
                    outside.push(there);
                }
            }
            let rate =
                |runs: &[Run]| measure::median(runs.iter().map(|run| run.rows as f64 / run.wall / 1e6).collect());
            let both = || inside.iter().zip(&outside);
            let ratio = measure::median(both().map(|(here, there)| here.wall / there.wall).collect());
            let added =
                measure::median(both().map(|(here, there)| (there.cpu - here.cpu) * 1e6 / here.rows as f64).collect());
            let rows = inside.first().map_or(0, |run| run.rows);
            let (inside, outside) = (rate(&inside), rate(&outside));
            writeln!(report, "| {what} | {who} | {rows} | {inside:.2} | {outside:.2} | {ratio:.2} | {added:.3} |")?;
        }
    }
    Ok(report)
}

async fn timed(work: impl Future<Output = anyhow::Result<usize>>) -> anyhow::Result<Run> {
    let started = Instant::now();
    let (cpu_ms, rows) = measure::cpu_ms(work).await?;
    Ok(Run { wall: started.elapsed().as_secs_f64(), cpu: cpu_ms / 1e3, rows })
}

async fn serve(engine: Engine) -> anyhow::Result<SocketAddr> {
    let verifier = ScramVerifier::new(&Secret::new("bench"), b"salt".to_vec(), 1);
    let gateway = FlightGateway::new(engine, Arc::new(OnePassword(verifier)), FlightSettings::default())?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(gateway.serve(listener, std::future::pending()));
    Ok(address)
}

async fn login(address: SocketAddr, caller: &Caller) -> anyhow::Result<FlightSqlServiceClient<Channel>> {
    let channel = Channel::from_shared(format!("http://{address}"))?
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(8 << 20)
        .connect()
        .await?;
    let mut client = FlightSqlServiceClient::new(channel);
    client.handshake(&caller.actor.authenticated.to_string(), "bench").await?;
    Ok(client)
}

async fn fetch(client: &mut FlightSqlServiceClient<Channel>, sql: &str) -> anyhow::Result<usize> {
    let info = client.execute(sql.to_owned(), None).await?;
    let ticket = info.endpoint.into_iter().next().and_then(|endpoint| endpoint.ticket);
    let mut batches: FlightRecordBatchStream = client.do_get(ticket.unwrap_or_default()).await?;
    let mut rows = 0;
    while let Some(batch) = batches.try_next().await? {
        rows += batch.num_rows();
    }
    Ok(rows)
}
