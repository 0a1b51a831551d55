//! A MariaDB server of a test's own: in a temporary directory, on a free port, gone when it is dropped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use weir_model::{Address, Connection, ConnectionName, DatabaseKind, Secret, Tls};

use crate::postgres::free_port;
use crate::run;

/// The user who owns everything in it.
pub const USER: &str = "weir";
pub const PASSWORD: &str = "only-for-tests";
/// The database that connections are to.
pub const DATABASE: &str = "shop";
/// For the server to be there.
const START_TIME_MAX: Duration = Duration::from_secs(60);

pub struct Mariadb {
    dir: PathBuf,
    port: u16,
    server: Option<Child>,
    options: Vec<String>,
}

impl Mariadb {
    /// # Panics
    /// When MariaDB is not installed: nothing that needs it is passed over.
    pub fn start() -> Self {
        let port = free_port();
        let dir = std::env::temp_dir().join(format!("weir-mariadb-{}-{port}", std::process::id()));
        std::fs::create_dir(&dir).expect("a directory of the server's own");
        let made = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal"])
            .arg(format!("--datadir={}", dir.join("data").display()))
            .args(as_root())
            .output()
            .expect("mariadb-install-db runs");
        assert!(made.status.success(), "mariadb-install-db: {}", String::from_utf8_lossy(&made.stderr));
        let users = format!(
            "CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON *.* TO '{USER}'@'%';\n\
             CREATE DATABASE IF NOT EXISTS {DATABASE};\n"
        );
        std::fs::write(dir.join("users.sql"), users).unwrap();
        let mut mariadb = Self { dir, port, server: None, options: Vec::new() };
        mariadb.options.push(format!("--init-file={}", mariadb.path("users.sql")));
        mariadb.serve();
        mariadb.options.clear();
        mariadb
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// Starts the server, also again after [`Self::stop`].
    pub fn serve(&mut self) {
        let log = std::fs::File::create(self.dir.join("errors")).unwrap();
        let mut server = Command::new("mariadbd");
        server.args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-name-resolve", "--general-log"]);
        server.args(["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=128M"]);
        server.args(["--character-set-server=utf8mb4", "--max-allowed-packet=64M"]);
        server.arg(format!("--datadir={}", self.path("data"))).arg(format!("--port={}", self.port));
        server.arg(format!("--socket={}", self.path("socket"))).arg(format!("--pid-file={}", self.path("pid")));
        server.arg(format!("--general-log-file={}", self.path("log"))).args(as_root()).args(&self.options);
        self.server = Some(server.stdout(Stdio::null()).stderr(log).spawn().expect("mariadbd runs"));
        let until = Instant::now() + START_TIME_MAX;
        while !self.client().args(["--execute", "SELECT 1"]).output().expect("mariadb runs").status.success() {
            let errors = || std::fs::read_to_string(self.dir.join("errors")).unwrap_or_default();
            assert!(Instant::now() < until, "MariaDB did not start: {}", errors());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Takes it down at once, in the middle of whatever it does.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Encrypts sessions of clients that want it, by this certificate and its key in PEM.
    pub fn encrypt(&mut self, certificate: &str, key: &str) {
        for (name, option, text) in [("server.crt", "ssl-cert", certificate), ("server.key", "ssl-key", key)] {
            std::fs::write(self.dir.join(name), text).unwrap();
            self.options.push(format!("--{option}={}", self.path(name)));
        }
        self.stop();
        self.serve();
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it has been asked, among other things.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.join("log")).unwrap_or_default()).into_owned()
    }

    /// As its owner.
    pub fn connection(&self, name: &str) -> Connection {
        Connection {
            name: ConnectionName::new(name).unwrap(),
            address: Address {
                kind: DatabaseKind::Mariadb,
                host: "127.0.0.1".to_owned(),
                port: self.port,
                database: DATABASE.to_owned(),
                user: USER.to_owned(),
                tls: Tls::Off,
            },
            password: Secret::new(PASSWORD),
        }
    }

    fn client(&self) -> Command {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "--user=root", "--default-character-set=utf8mb4", "--batch"]);
        client.args(["--skip-column-names", "--raw"]).arg(format!("--socket={}", self.path("socket")));
        client
    }

    /// Runs statements, which must succeed; gives what they print, without headings.
    pub fn sql(&self, statements: &str) -> String {
        run(self.client().arg(format!("--database={DATABASE}")), statements)
    }
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// It does not run as root unless it is told to.
fn as_root() -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(Path::new("/proc/self")).is_ok_and(|process| process.uid() == 0).then_some("--user=root")
}
