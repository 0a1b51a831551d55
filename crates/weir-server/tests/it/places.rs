//! Files in places other than the local disk, each served by a real server: what is read there, by whom, and what is said
//! when something goes wrong.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;

use crate::clients::installed;
use crate::weir::{Ran, Server, Weir};

/// For a server to be there.
const START_TIME_MAX: Duration = Duration::from_secs(120);

pub(crate) const USER: &str = "AKIDWEIR";
pub(crate) const SECRET: &str = "only-for-tests-0123456789";

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server of a test's own, with the folder whose files it serves. Gone when it is dropped.
pub(crate) struct Place {
    server: Child,
    dir: TempDir,
    pub(crate) port: u16,
}

impl Place {
    fn start(port: u16, dir: TempDir, mut command: Command) -> Self {
        let server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let server = server.unwrap_or_else(|e| panic!("{command:?} cannot be started: {e}"));
        let mut place = Self { server, dir, port };
        let until = Instant::now() + START_TIME_MAX;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(place.server.try_wait().unwrap().is_none(), "{command:?} ended");
            assert!(Instant::now() < until, "{command:?} does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        place
    }

    /// Of the bucket `sales`.
    pub(crate) fn s3() -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        std::fs::create_dir(dir.path().join("sales")).unwrap();
        let mut command = Command::new(installed("s3/bin/s3s-fs"));
        command.args(["--access-key", USER, "--secret-key", SECRET, "--host", "127.0.0.1"]);
        command.args(["--port", &port.to_string()]).arg(dir.path());
        Self::start(port, dir, command)
    }

    /// Asks for a password below `/closed`.
    fn web() -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let root = dir.path().display().to_string();
        std::fs::create_dir(dir.path().join("sales")).unwrap();
        std::fs::write(dir.path().join("users"), format!("{USER}:{{PLAIN}}{SECRET}\n")).unwrap();
        let config = format!(
            "daemon off; worker_processes 1; pid {root}/pid; error_log {root}/log;\n\
             events {{}}\n\
             http {{ access_log off; client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;\n\
             uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;\n\
             server {{ listen 127.0.0.1:{port}; root {root}; auth_basic x; auth_basic_user_file {root}/users; }} }}\n"
        );
        std::fs::write(dir.path().join("config"), config).unwrap();
        // Its workers are somebody else when it is started as root.
        assert!(Command::new("chmod").args(["-R", "a+rX", &root]).status().unwrap().success());
        let mut command = Command::new("nginx");
        command.args(["-e", "stderr", "-c"]).arg(dir.path().join("config"));
        Self::start(port, dir, command)
    }

    /// A NameNode and a DataNode.
    fn hdfs() -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        std::fs::write(dir.path().join("core-site.xml"), "<configuration/>").unwrap();
        let mut command = hadoop(dir.path());
        command.current_dir(dir.path()).arg(format!("-Dtest.build.data={}", dir.path().display()));
        command.args(["org.apache.hadoop.test.MiniDFSClusterManager", "-format", "-datanodes", "1"]);
        command.args(["-nnport", &port.to_string(), "-writeDetails"]).arg(dir.path().join("details"));
        let place = Self::start(port, dir, command);
        let until = Instant::now() + START_TIME_MAX;
        while !place.dir.path().join("details").exists() {
            assert!(Instant::now() < until, "the DataNode does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        place
    }

    /// Runs a command on the files of HDFS.
    fn shell(&self, args: &[&str]) {
        let mut command = hadoop(self.dir.path());
        command.args(["org.apache.hadoop.fs.FsShell", "-fs", &format!("hdfs://127.0.0.1:{}", self.port)]);
        let ran = command.args(args).output().unwrap();
        assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
    }

    /// Where the files of the bucket are.
    pub(crate) fn files(&self) -> PathBuf {
        self.dir.path().join("sales")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.server.id().to_string()).status();
        let _ = self.server.wait();
    }
}

/// With the configuration that is in the folder.
fn hadoop(folder: &Path) -> Command {
    let mut command = Command::new("java");
    command.args(["-Xmx256m", "-cp", &format!("{}:{}/*", folder.display(), installed("hadoop").display())]);
    command
}

/// People of departments, whose pay is masked. One file for each department, of several row groups.
fn write_people(folder: &Path, rows: i64) {
    std::fs::create_dir_all(folder).unwrap();
    for dept in ["A", "B", "C"] {
        let ids: Vec<i64> = (0..rows).collect();
        let text =
            |prefix: &str| StringArray::from_iter_values(ids.iter().map(|id| format!("{prefix}{dept}{}", id % 7)));
        let pay = Decimal128Array::from_iter_values(ids.iter().map(|id| i128::from(id * 31 % 1000)));
        let columns: [(&str, ArrayRef); 4] = [
            ("id", Arc::new(Int64Array::from(ids.clone()))),
            ("dept", Arc::new(StringArray::from_iter_values(ids.iter().map(|_| dept)))),
            ("name", Arc::new(text("secret-"))),
            ("pay", Arc::new(pay.with_precision_and_scale(12, 2).unwrap())),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(500)).build();
        let file = File::create(folder.join(format!("{dept}.parquet"))).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
}

/// With the users `ann` (group A), and `own`, who owns and governs; the files of [`write_people`] are `here.people`.
pub(crate) fn people() -> Weir {
    let weir = Weir::new();
    weir.file("password", "demo");
    weir.file("key", SECRET);
    weir.ok(&["user", "add", "ann", "--group", "A", "--password-file", "password"]);
    weir.ok(&["user", "add", "own", "--permission", "governance", "--password-file", "password"]);
    write_people(&weir.path().join("people"), 2000);
    weir.ok(&["source", "add", "here.people", "people", "--owner", "own"]);
    let rows = "Only show rows where user is a member of group that matches the value in the column dept for everyone \
                except when user is an owner of the data source on data sources with column names spelled like '^dept$'";
    let mask = "Mask using hashing the column name for everyone except when user is an owner of the data source on data \
                sources with column names spelled like '^dept$'";
    weir.ok(&["policy", "add", "--key", "rows", "--text", rows]);
    weir.ok(&["policy", "add", "--key", "mask", "--text", mask]);
    weir.ok(&["policy", "add", "--key", "open", "--text", "Allow anyone to subscribe"]);
    weir
}

const QUESTIONS: [&str; 6] = [
    "select id, dept, pay from TABLE order by dept, id limit 5",
    "select count(*), sum(pay), min(id), max(id) from TABLE",
    "select dept, count(*) from TABLE group by dept order by dept",
    "select count(distinct name) from TABLE where id >= 1990",
    "select sum(pay) from TABLE where id between 700 and 900 and pay > 1",
    "select count(*) from TABLE t join TABLE u on t.id = u.id and t.dept = u.dept",
];

/// Whatever is asked, both tables give the same, to whoever sees all of it and to whoever does not.
pub(crate) fn same_as_here(weir: &Weir, server: &Server, there: &str) {
    for user in ["ann", "own"] {
        for question in QUESTIONS {
            let ask = |table: &str| server.sql(weir, user, &question.replace("TABLE", table));
            let (here, there) = (ask("here.people"), ask(there));
            assert_eq!(here.code, Some(0), "{question}: {here:?}");
            assert_eq!((here.out, there.code), (there.out.clone(), Some(0)), "{user}: {question}: {there:?}");
        }
    }
}

/// Tells a reader nothing of where it is.
pub(crate) fn tells_nothing(ran: &Ran, place: &Place) {
    for part in ["sales", "127.0.0.1", USER, SECRET, "parquet", &place.port.to_string()] {
        assert!(!ran.out.contains(part) && !ran.err.contains(part), "{part}: {ran:?}");
    }
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            continue;
        }
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn objects_of_s3_are_governed_like_files() {
    let (weir, place) = (people(), Place::s3());
    copy(&weir.path().join("people"), &place.files().join("2024/people"));
    let endpoint = format!("http://127.0.0.1:{}", place.port);
    let connect = |name: &str, url: &str, rest: &[&str]| {
        let args = ["connection", "add", name, url, "--region", "eu-central-1", "--endpoint", &endpoint];
        weir.run(&[&args[..], rest].concat())
    };
    let by_key = ["--user", USER, "--password-file", "key"];
    let added = connect("lake", "s3://sales/2024", &by_key);
    assert_eq!(added.code, Some(0), "{added:?}");
    weir.ok(&["source", "add", "there.people", "s3://sales/2024/people/", "--connection", "lake", "--owner", "own"]);
    weir.ok(&["source", "add", "one.people", "s3://sales/2024/people/A.parquet", "--connection", "lake"]);
    let list = weir.ok(&["connection", "list"]);
    assert!(list.contains("s3://sales/2024 at http://127.0.0.1") && list.contains(USER), "{list}");
    assert!(weir.ok(&["connection", "test", "lake"]).contains("can be read"));

    // Nobody is let out of what the connection leads to, or in by what is not its own.
    let outside = weir.fails(&["source", "add", "x.y", "s3://sales/2023/people/", "--connection", "lake"]);
    assert!(outside.contains("is not below `s3://sales/2024`"), "{outside}");
    let up = weir.fails(&["source", "add", "x.y", "s3://sales/2024/../2023/", "--connection", "lake"]);
    assert!(up.contains("is not below"), "{up}");
    let unnamed = weir.fails(&["source", "add", "x.y", "s3://sales/2024/people/"]);
    assert!(unnamed.contains("--connection"), "{unnamed}");
    weir.file("wrong", "not-the-secret");
    let wrong = connect("other", "s3://sales", &["--user", USER, "--password-file", "wrong"]);
    assert!(wrong.code == Some(1) && wrong.err.contains("denied"), "{wrong:?}");
    assert!(!wrong.err.contains("not-the-secret"), "{wrong:?}");
    let anybody = connect("other", "s3://sales", &["--anonymous"]);
    assert!(anybody.code == Some(1) && anybody.err.contains("denied"), "{anybody:?}");
    let in_url = weir.fails(&["connection", "add", "other", &format!("s3://{USER}:{SECRET}@sales"), "--anonymous"]);
    assert!(in_url.contains("user or a password") && !in_url.contains(SECRET), "{in_url}");
    let missing =
        weir.fails(&["source", "add", "x.y", "s3://sales/2024/nobody/", "--connection", "lake", "--format", "csv"]);
    assert!(missing.contains("holds no csv files"), "{missing}");

    let server = weir.start(&["serve"]);
    same_as_here(&weir, &server, "there.people");
    let ask = |user: &str, sql: &str| server.sql(&weir, user, sql);
    assert_eq!(ask("ann", "select count(*) from one.people").out, "count\n2000\n");
    assert_eq!(ask("ann", "select count(*) from there.people where name like 'secret%'").out, "count\n0\n");
    let explained = ask("ann", "explain select * from there.people where id = 3");
    assert!(explained.out.contains("GovernedScan"), "{explained:?}");
    tells_nothing(&explained, &place);
    tells_nothing(&ask("own", "explain select * from there.people where id = 3"), &place);

    // What is added, changed and removed is seen by the next statement.
    std::fs::copy(place.files().join("2024/people/A.parquet"), place.files().join("2024/people/A2.parquet")).unwrap();
    assert_eq!(ask("ann", "select count(*) from there.people").out, "count\n4000\n");
    std::fs::remove_file(place.files().join("2024/people/A2.parquet")).unwrap();
    same_as_here(&weir, &server, "there.people");

    // Another key holds from the next statement on.
    weir.ok(&["connection", "password", "lake", "--password-file", "wrong"]);
    let denied = ask("ann", "select count(*) from there.people");
    assert!(denied.code == Some(1) && denied.err.contains("`there.people` cannot be read"), "{denied:?}");
    tells_nothing(&denied, &place);
    weir.ok(&["connection", "password", "lake", "--password-file", "key"]);
    same_as_here(&weir, &server, "there.people");

    let (port, files) = (place.port, place.files());
    drop(place);
    assert!(!files.exists());
    let gone = ask("ann", "select count(*) from there.people");
    assert!(gone.code == Some(1) && gone.err.contains("`there.people` cannot be read"), "{gone:?}");
    assert!(!gone.err.contains(&port.to_string()), "{gone:?}");
    let audit = weir.ok(&["audit", "--json"]);
    assert!(audit.contains("is denied to Weir") && audit.contains("cannot be reached"), "{audit}");
    server.signal("TERM");
    let (_, _, log) = server.wait();
    let held = std::fs::read(weir.path().join("data/weir.db")).unwrap();
    for text in [audit, log, list, String::from_utf8_lossy(&held).into_owned()] {
        assert!(!text.contains(SECRET) && !text.contains("not-the-secret"), "{text}");
    }
}

#[test]
fn files_of_web_servers_are_governed_like_files() {
    let (weir, place) = (people(), Place::web());
    let folder = place.files();
    copy(&weir.path().join("people"), &folder);
    std::fs::write(folder.join("odd name.csv"), "id,dept\n1,A\n2,B\n").unwrap();
    let root = format!("http://127.0.0.1:{}/sales", place.port);
    // Its folder itself cannot be read.
    weir.ok(&["connection", "add", "web", &root, "--user", USER, "--password-file", "key", "--no-test"]);
    let add = |name: &str, file: &str| {
        weir.run(&["source", "add", name, &format!("{root}/{file}"), "--connection", "web", "--owner", "own"])
    };
    for (name, file) in [("a.people", "A.parquet"), ("odd.people", "odd%20name.csv")] {
        let added = add(name, file);
        assert_eq!(added.code, Some(0), "{added:?}");
    }
    let folder_of = add("x.y", "");
    assert!(folder_of.code == Some(1) && folder_of.err.contains("cannot be listed"), "{folder_of:?}");
    let server = weir.start(&["serve"]);
    let ask = |user: &str, sql: &str| server.sql(&weir, user, sql);
    let sums = "select count(*), sum(pay) from TABLE where dept = 'A'";
    assert_eq!(
        ask("own", &sums.replace("TABLE", "a.people")).out,
        ask("own", &sums.replace("TABLE", "here.people")).out
    );
    assert_eq!(ask("ann", "select id from odd.people").out, "id\n1\n");
    weir.ok(&["connection", "password", "web", "--password-file", "password"]);
    let denied = ask("ann", "select count(*) from a.people");
    assert!(denied.code == Some(1) && denied.err.contains("`a.people` cannot be read"), "{denied:?}");
    tells_nothing(&denied, &place);
}

#[test]
fn files_of_hdfs_are_governed_like_files() {
    let (weir, place) = (people(), Place::hdfs());
    let people = weir.path().join("people").display().to_string();
    place.shell(&["-mkdir", "-p", "/sales"]);
    place.shell(&["-put", &people, "/sales/people"]);
    let root = format!("hdfs://127.0.0.1:{}/sales", place.port);
    let unsaid = weir.fails(&["connection", "add", "cluster", &root]);
    assert!(unsaid.contains("--machine"), "{unsaid}");
    weir.ok(&["connection", "add", "cluster", &root, "--machine"]);
    weir.ok(&[
        "source",
        "add",
        "there.people",
        &format!("{root}/people/"),
        "--connection",
        "cluster",
        "--owner",
        "own",
    ]);
    let server = weir.start(&["serve"]);
    same_as_here(&weir, &server, "there.people");
    place.shell(&["-rm", "-r", "-skipTrash", "/sales/people"]);
    let gone = server.sql(&weir, "ann", "select count(*) from there.people");
    assert!(gone.code == Some(1) && gone.err.contains("`there.people` cannot be read"), "{gone:?}");
    tells_nothing(&gone, &place);
}
