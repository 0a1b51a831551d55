//! A PostgreSQL server of a test's own: in a temporary directory, on a free port, gone when it is dropped.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use weir_model::{Address, Connection, ConnectionName, DatabaseKind, Secret, Tls};

use crate::run;

/// The user who owns everything in it.
pub const USER: &str = "weir";
pub const PASSWORD: &str = "only-for-tests";
/// For the server to be there.
const START_TIME_MAX: Duration = Duration::from_secs(60);

pub struct Postgres {
    dir: PathBuf,
    port: u16,
    server: Option<Child>,
}

impl Postgres {
    /// # Panics
    /// When PostgreSQL is not installed: nothing that needs it is passed over.
    pub fn start() -> Self {
        let dir = std::env::temp_dir().join(format!("weir-postgres-{}-{}", std::process::id(), free_port()));
        std::fs::create_dir(&dir).expect("a directory of the server's own");
        let password = dir.join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        give_away(&dir);
        give_away(&password);
        let mut postgres = Self { dir, port: free_port(), server: None };
        let data = postgres.dir.join("data");
        let made = program("initdb")
            .args(["--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"])
            .args(["--no-sync", "--pwfile"])
            .arg(&password)
            .arg("--pgdata")
            .arg(&data)
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        postgres.serve();
        postgres
    }

    /// Starts the server, also again after [`Self::stop`].
    pub fn serve(&mut self) {
        let log = std::fs::File::create(self.dir.join("log")).unwrap();
        let mut server = program("postgres");
        server.arg("-D").arg(self.dir.join("data")).args(["-p", &self.port.to_string(), "-c", "fsync=off"]);
        server.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        server.args(["-c", "log_statement=all", "-c", "shared_buffers=256MB"]);
        self.server = Some(server.stdout(Stdio::null()).stderr(log).spawn().expect("postgres runs"));
        let until = Instant::now() + START_TIME_MAX;
        loop {
            let port = self.port.to_string();
            let args = ["--quiet", "--host", "127.0.0.1", "--port", &port];
            let ready = program("pg_isready").args(args).status().expect("pg_isready runs");
            if ready.success() {
                return;
            }
            assert!(Instant::now() < until, "PostgreSQL did not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Takes it down at once, in the middle of whatever it does.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let id = server.id().to_string();
            let _ = Command::new("kill").args(["-s", "QUIT", &id]).status();
            let _ = server.wait();
        }
    }

    /// Encrypts sessions of clients that want it, by this certificate and its key in PEM.
    pub fn encrypt(&self, certificate: &str, key: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = self.dir.join("data").join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            give_away(&path);
        }
        self.sql("ALTER SYSTEM SET ssl = on");
        self.sql("SELECT pg_reload_conf()");
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it has been asked, among other things.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// As its owner.
    pub fn connection(&self, name: &str) -> Connection {
        Connection {
            name: ConnectionName::new(name).unwrap(),
            address: Address {
                kind: DatabaseKind::Postgresql,
                host: "127.0.0.1".to_owned(),
                port: self.port,
                database: "postgres".to_owned(),
                user: USER.to_owned(),
                tls: Tls::Off,
            },
            password: Secret::new(PASSWORD),
        }
    }

    /// Runs statements by `psql`, which must succeed; gives what they print, without headings.
    pub fn sql(&self, statements: &str) -> String {
        let port = self.port.to_string();
        let mut psql = Command::new("psql");
        psql.args(["--host", "127.0.0.1", "--port", &port, "--username", USER, "--dbname", "postgres"]);
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]);
        run(psql.env("PGPASSWORD", PASSWORD), statements)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// A program of the server, as somebody who is not root, whom it does not run as.
fn program(name: &str) -> Command {
    let mut command = Command::new(programs().join(name));
    command.env_remove("PGDATA").current_dir("/");
    if let Some((user, group)) = other_user() {
        command.uid(user).gid(group);
    }
    command
}

/// Where Debian puts those of the newest version that is installed; elsewhere they are on the path.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").exists()).max();
    newest.unwrap_or_default()
}

/// `postgres` of the package, when this is root.
fn other_user() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    let root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = users.lines().find(|line| line.starts_with("postgres:"))?;
    let mut fields = line.split(':').skip(2);
    let ids = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    root.then_some(ids)
}

fn give_away(path: &Path) {
    if let Some((user, group)) = other_user() {
        std::os::unix::fs::chown(path, Some(user), Some(group)).expect("another owner");
    }
}
