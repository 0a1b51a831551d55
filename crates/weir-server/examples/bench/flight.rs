//! What the Flight SQL door costs: rows of `lineitem` to a client that drops them, against the same read in process.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{FlightData, FlightDescriptor, HandshakeRequest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{TryStreamExt, stream};
use prost::Message;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Streaming};

use crate::measure::{Goal, Limit, cpu_ms, goals, median};
use crate::server::{OWNER, PASSWORD, READER, Server};
use crate::wire::POLICIES;
use crate::{Common, data, measure};

const READS: [(&str, &str); 2] = [
    ("all columns", "SELECT * FROM tpch.lineitem"),
    ("numbers", "SELECT l_orderkey, l_partkey, l_suppkey, l_linenumber, l_extendedprice FROM tpch.lineitem"),
];
const MIB: f64 = (1 << 20) as f64;

/// Of one repetition of the read in process.
struct Inside {
    rows: usize,
    wall: f64,
    cpu: f64,
}

/// Of one repetition by Flight SQL.
struct Outside {
    wall: f64,
    /// Of the server.
    cpu: f64,
    client_cpu: f64,
    bytes: usize,
    first: Duration,
    peak: f64,
}

pub(crate) async fn run(common: &Common) -> anyhow::Result<String> {
    let folder = data::tables(&common.data, common.scale)?;
    let (engine, restricted, clear) = data::engine(&folder, data::parsed(POLICIES)?, &[]).await?;
    let server = Server::start(&folder, &[], POLICIES, &[])?;
    let idle = server.memory("VmRSS")? as f64 / MIB;
    let mut report = format!(
        "# Flight SQL\n\n`cargo xtask bench flight --scale {} --repetitions {}`\n\n\
         Reads of `lineitem` fetched whole from the program over loopback by Flight SQL, one stream, uncompressed, by a client on the same machine that \
         counts rows by the heads of messages and drops them, against the same read drained in process; both interleaved in one run, medians. CPU is seconds of \
         processors for a million rows: of the server alone (`/proc`), of the whole process where the read is in process. Both processors are busy with the read in process \
         already, so a client on the same machine and the door can only add to the time. Before the first fetch the server held {idle:.0} MiB; peaks are those \
         during one fetch.\n\n\
         | read | by | rows | in process M rows/s | Flight SQL M rows/s | rate against in process | MB/s | CPU in process | server | above | client | first row ms, median (most) | peak MiB |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        common.scale, common.repetitions
    );
    let mut goals_met = Vec::new();
    for (what, sql) in READS {
        for (who, user, caller) in [("an owner", OWNER, &clear), ("a restricted reader", READER, &restricted)] {
            let mut client = Client::login(server.flight, user).await?;
            let (mut inside, mut outside) = (Vec::new(), Vec::new());
            measure::note(&format!("{what}, {who}"));
            for repetition in 0..=common.repetitions {
                let here = here(data::governed(&engine, caller, sql)).await?;
                if repetition == 0 {
                    // Warms up, and looks at what came.
                    anyhow::ensure!(client.decoded(sql).await? == here.rows, "{sql}: answers differ in rows");
                    continue;
                }
                let (rows, there) = client.fetched(&server, sql).await?;
                anyhow::ensure!(here.rows == rows, "{sql}: {} and {rows} rows", here.rows);
                inside.push(here);
                outside.push(there);
            }
            let rows = inside.first().map_or(0, |run| run.rows);
            let millions = rows as f64 / 1e6;
            let of_inside = |of: fn(&Inside) -> f64| median(inside.iter().map(of).collect());
            let of = |of: fn(&Outside) -> f64| median(outside.iter().map(of).collect());
            let both = || inside.iter().zip(&outside);
            let ratio = median(both().map(|(here, there)| here.wall / there.wall).collect());
            let above = median(both().map(|(here, there)| (there.cpu - here.cpu) / millions).collect());
            let first = of(|run| run.first.as_secs_f64() * 1e3);
            let row = format!(
                "| {what} | {who} | {rows} | {:.2} | {:.2} | **{ratio:.2}** | {:.0} | {:.3} | {:.3} | **{above:.3}** | {:.3} | {first:.1} ({:.1}) | {:.0} |",
                millions / of_inside(|run| run.wall),
                millions / of(|run| run.wall),
                of(|run| run.bytes as f64 / run.wall / 1e6),
                of_inside(|run| run.cpu) / millions,
                of(|run| run.cpu) / millions,
                of(|run| run.client_cpu) / millions,
                outside.iter().map(|run| run.first.as_secs_f64() * 1e3).fold(0.0, f64::max),
                outside.iter().map(|run| run.peak).fold(0.0, f64::max),
            );
            measure::print(&row);
            writeln!(report, "{row}")?;
            if goals_met.is_empty() {
                goals_met = vec![
                    Goal { name: "G15 rate against in process", measured: ratio, limit: Limit::AtLeast(0.9) },
                    Goal { name: "G15 CPU s above in process", measured: above, limit: Limit::AtMost(0.05) },
                    Goal { name: "first row ms", measured: first, limit: Limit::AtMost(50.0) },
                ];
            }
        }
    }
    report.push_str("\nGoals, for all columns and an owner:\n\n");
    report.push_str(&goals(&goals_met));
    Ok(report)
}

async fn here(work: impl Future<Output = anyhow::Result<usize>>) -> anyhow::Result<Inside> {
    let started = Instant::now();
    let (cpu_ms, rows) = cpu_ms(work).await?;
    Ok(Inside { rows, wall: started.elapsed().as_secs_f64(), cpu: cpu_ms / 1e3 })
}

struct Client {
    service: FlightServiceClient<Channel>,
    token: MetadataValue<Ascii>,
}

impl Client {
    async fn login(address: SocketAddr, user: &str) -> anyhow::Result<Self> {
        let channel = Channel::from_shared(format!("http://{address}"))?
            .initial_stream_window_size(8 << 20)
            .initial_connection_window_size(8 << 20)
            .connect()
            .await?;
        let mut service = FlightServiceClient::new(channel).max_decoding_message_size(64 << 20);
        let mut request = Request::new(stream::iter([HandshakeRequest::default()]));
        let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{PASSWORD}")));
        request.metadata_mut().insert("authorization", basic.parse()?);
        let response = service.handshake(request).await?;
        let token = response.metadata().get("authorization").context("no token")?.clone();
        Ok(Self { service, token })
    }

    fn request<T>(&self, body: T) -> Request<T> {
        let mut request = Request::new(body);
        request.metadata_mut().insert("authorization", self.token.clone());
        request
    }

    async fn start(&mut self, sql: &str) -> anyhow::Result<Streaming<FlightData>> {
        let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
        let request = self.request(FlightDescriptor::new_cmd(command.as_any().encode_to_vec()));
        let info = self.service.get_flight_info(request).await?.into_inner();
        let ticket = info.endpoint.into_iter().next().and_then(|endpoint| endpoint.ticket).context("no ticket")?;
        let request = self.request(ticket);
        Ok(self.service.do_get(request).await?.into_inner())
    }

    /// Rows, when everything is decoded.
    async fn decoded(&mut self, sql: &str) -> anyhow::Result<usize> {
        let messages = self.start(sql).await?.map_err(|status| FlightError::Tonic(Box::new(status)));
        let mut batches = FlightRecordBatchStream::new_from_flight_data(messages);
        let mut rows = 0;
        while let Some(batch) = batches.try_next().await? {
            rows += batch.num_rows();
        }
        Ok(rows)
    }

    async fn fetched(&mut self, server: &Server, sql: &str) -> anyhow::Result<(usize, Outside)> {
        server.forget_peak()?;
        let (before, mine, started) = (server.cpu()?, cpu_time::ProcessTime::now(), Instant::now());
        let mut messages = self.start(sql).await?;
        let (mut rows, mut bytes, mut first) = (0, 0, None);
        while let Some(message) = messages.try_next().await? {
            let head = arrow_ipc::root_as_message(&message.data_header).map_err(|e| anyhow::anyhow!("{e}"))?;
            let Some(batch) = head.header_as_record_batch() else { continue };
            rows += usize::try_from(batch.length())?;
            bytes += message.data_body.len();
            first.get_or_insert_with(|| started.elapsed());
        }
        let outside = Outside {
            wall: started.elapsed().as_secs_f64(),
            cpu: server.cpu()? - before,
            client_cpu: mine.elapsed().as_secs_f64(),
            bytes,
            first: first.context("no row came")?,
            peak: server.memory("VmHWM")? as f64 / MIB,
        };
        Ok((rows, outside))
    }
}
