//! A session with PostgreSQL.

use std::error::Error as _;

use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, NoTls, Socket, Statement};
use weir_model::Connection;

use super::super::catalog::Found;
use super::super::pool::{CONNECT_TIME_MAX, SILENCE_MAX};
use super::catalog;
use super::tls::Verified;

/// The first version whose catalogue tells what is asked of it.
const VERSION_MIN: u32 = 120_000;

/// Nothing is written, values look as they are expected to, and no name means what somebody over there put in its way.
const SETTINGS: &str = "SET default_transaction_read_only = on; SET search_path = pg_catalog; SET TimeZone = 'UTC'; \
    SET standard_conforming_strings = on; SET row_security = on";

pub(crate) struct Session {
    client: Client,
    driver: JoinHandle<()>,
    tls: Option<Verified>,
    /// The database keeps texts in UTF-8.
    utf8: bool,
    /// What is asked at every statement.
    columns: Option<Statement>,
}

impl Session {
    pub(crate) async fn open(connection: &Connection, tls: Option<Verified>) -> Result<Self, String> {
        let address = &connection.address;
        let mut config = Config::new();
        config
            .host(&address.host)
            .port(address.port)
            .dbname(&address.database)
            .user(&address.user)
            .password(connection.password.expose())
            .application_name("weir")
            .connect_timeout(CONNECT_TIME_MAX)
            .keepalives_idle(SILENCE_MAX)
            .keepalives_interval(SILENCE_MAX / 3)
            .keepalives_retries(3)
            .tcp_user_timeout(SILENCE_MAX)
            .ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        let opened = match tls.clone() {
            Some(verified) => open(&config, verified).await,
            None => open(&config, NoTls).await,
        };
        let (client, driver) = opened.map_err(|e| chain(&e))?;
        let mut session = Self { client, driver, tls, utf8: false, columns: None };
        session.client.batch_execute(SETTINGS).await.map_err(|e| chain(&e))?;
        let version = session.text("SELECT pg_catalog.current_setting('server_version_num')").await?;
        if version.parse().unwrap_or(0) < VERSION_MIN {
            return Err("PostgreSQL 12 or newer is needed".to_owned());
        }
        session.utf8 = session.text("SELECT pg_catalog.current_setting('server_encoding')").await? == "UTF8";
        Ok(session)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(crate) fn is_utf8(&self) -> bool {
        self.utf8
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    async fn text(&self, query: &str) -> Result<String, String> {
        let row = self.client.query_one(query, &[]).await;
        row.and_then(|row| row.try_get(0)).map_err(|e| chain(&e))
    }

    pub(crate) async fn version(&self) -> Result<String, String> {
        self.text("SELECT pg_catalog.version()").await
    }

    pub(crate) async fn tables(&mut self, schema: &str, table: Option<&str>, keys: bool) -> Result<Vec<Found>, String> {
        catalog::tables(&self.client, &mut self.columns, schema, table, keys).await.map_err(|e| chain(&e))
    }

    pub(crate) async fn cancel(self) {
        let token = self.client.cancel_token();
        let _ = match self.tls.clone() {
            Some(verified) => token.cancel_query(verified).await,
            None => token.cancel_query(NoTls).await,
        };
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn open<T>(config: &Config, tls: T) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect(tls).await?;
    let driver = tokio::spawn(async move {
        // Whoever waits for an answer hears of it as well.
        let _ = connection.await;
    });
    Ok((client, driver))
}

/// What the driver says, with what the database says.
pub(super) fn chain(e: &tokio_postgres::Error) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(e) = cause {
        text.push_str(&format!(": {e}"));
        cause = e.source();
    }
    text
}
