//! A session with MariaDB or MySQL.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, SslOpts};
use weir_model::{Connection, Tls};

use super::super::catalog::Found;
use super::super::pool::{CONNECT_TIME_MAX, SILENCE_MAX};
use super::catalog;

/// Nothing is written, values look as they are expected to, and no setting over there changes what a statement means or
/// cuts off its answer. A client that reads slowly is none that is gone.
const SETTINGS: [&str; 3] = [
    "SET NAMES utf8mb4",
    "SET SESSION TRANSACTION READ ONLY",
    "SET SESSION sql_mode = 'ANSI_QUOTES,NO_ENGINE_SUBSTITUTION,NO_UNSIGNED_SUBTRACTION,STRICT_ALL_TABLES', \
     time_zone = '+00:00', sql_auto_is_null = 0, sql_select_limit = 18446744073709551615, sql_big_selects = 1, \
     net_write_timeout = 3600",
];

pub(crate) struct Session {
    conn: Conn,
}

impl Session {
    pub(crate) async fn open(connection: &Connection) -> Result<Self, String> {
        let mut conn = connect(connection).await?;
        for setting in SETTINGS {
            conn.query_drop(setting).await.map_err(|e| e.to_string())?;
        }
        Ok(Self { conn })
    }

    /// Nothing but an answer tells.
    pub(crate) async fn is_closed(&mut self) -> bool {
        !tokio::time::timeout(CONNECT_TIME_MAX, self.conn.ping()).await.is_ok_and(|answer| answer.is_ok())
    }

    pub(super) fn conn(&mut self) -> &mut Conn {
        &mut self.conn
    }

    pub(crate) async fn version(&mut self) -> Result<String, String> {
        let select = "SELECT concat(version(), ' ', @@version_comment)";
        let version: Option<String> = self.conn.query_first(select).await.map_err(|e| e.to_string())?;
        Ok(version.unwrap_or_default())
    }

    pub(crate) async fn tables(&mut self, schema: &str, table: Option<&str>) -> Result<Vec<Found>, String> {
        catalog::tables(&mut self.conn, schema, table).await.map_err(|e| e.to_string())
    }

    /// By another session of the same user, which is what the protocol has for it.
    pub(crate) async fn cancel(self, connection: &Connection) {
        if let Ok(mut other) = connect(connection).await {
            let _ = other.query_drop(format!("KILL {}", self.conn.id())).await;
            let _ = other.disconnect().await;
        }
    }
}

async fn connect(connection: &Connection) -> Result<Conn, String> {
    let address = &connection.address;
    let tls = match &address.tls {
        Tls::Off => None,
        Tls::Verified { authorities } => Some(
            SslOpts::default()
                .with_root_certs(vec![authorities.clone().into_bytes().into()])
                .with_disable_built_in_roots(true),
        ),
    };
    let password = std::str::from_utf8(connection.password.expose());
    let password = password.map_err(|_| "the password is not UTF-8".to_owned())?;
    let opts = OptsBuilder::default()
        .ip_or_hostname(address.host.clone())
        .tcp_port(address.port)
        .user(Some(address.user.clone()))
        .pass(Some(password))
        .db_name(Some(address.database.clone()))
        .prefer_socket(false)
        .tcp_keepalive(Some(SILENCE_MAX))
        .stmt_cache_size(4)
        .ssl_opts(tls);
    Conn::new(opts).await.map_err(|e| e.to_string())
}
