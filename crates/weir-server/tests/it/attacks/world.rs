//! The world that is attacked, and its twin: the physical copy of what alice sees of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};
use weir_guard::{KeyRing, SystemClock};
use weir_mask::HashToken;
use weir_policy::KeyScope;
use weir_store::Store;

use super::local::Local;
use super::people::{
    Columns, HIDDEN, Person, everybody, hidden_numbers, in_words, seen, write_csv, write_json, write_parquet,
};
use crate::weir::{Server, Weir};

/// What `{emp}` can be: Parquet in folders of departments, one Parquet file, JSON lines, CSV in folders; each with the
/// same people, and a row filter of another kind.
pub(crate) const SOURCES: [&str; 4] = ["hr.emp", "hr.staff", "hr.people", "hr.roster"];

pub(crate) const PASSWORD: &str = "demo";

const ALL: &str = "hr.emp, hr.staff, hr.people, hr.roster";

/// Who may read at all, what is masked, and whose rows are shown.
fn policies() -> String {
    let but = "for everyone except when user is a member of group auditors";
    format!(
        "policy key_canary_readers:\nAllow users to subscribe when user is a member of group readers on data sources {ALL}.\n\n\
         policy key_canary_closed:\nAllow users to subscribe when user is a member of group auditors on data sources hr.secret, gov.entitlements, vault.reactor.\n\n\
         policy key_canary_ssn:\nMask using hashing the column ssn {but} on data sources {ALL}.\n\n\
         policy key_canary_salary:\nMask by making null the column salary {but} on data sources {ALL}.\n\n\
         policy key_canary_zip:\nMask using the constant '#####' the column addr.zip {but} on data sources hr.emp, hr.staff, hr.people.\n\n\
         policy key_canary_emp:\nOnly show rows where dept = 'A' {but} on data source hr.emp.\n\n\
         policy key_canary_staff:\nOnly show rows where dept IN (SELECT dept FROM gov.entitlements WHERE \"user\" = @username) {but} on data source hr.staff.\n\n\
         policy key_canary_people:\nOnly show rows where substring(lower(dept), 1, 1) = 'a' {but} on data source hr.people.\n\n\
         policy key_canary_roster:\nOnly show rows where user is a member of group that matches the value in the column dept {but} on data source hr.roster.\n"
    )
}

/// One side: a data directory with a server on it.
pub(crate) struct Side {
    pub(crate) server: Server,
    pub(crate) local: Local,
    pub(crate) weir: Weir,
}

pub(crate) struct World {
    /// Its files are those of every governed side.
    template: Weir,
    pub(crate) governed: Side,
    pub(crate) copy: Side,
    /// What no answer to alice may hold.
    pub(crate) canaries: Regex,
}

impl World {
    pub(crate) fn new() -> Self {
        let template = template();
        let (keys, secrets) = keys(&template);
        let governed = side_of(&template);
        let copy = copy(&keys);
        let mut hidden = vec![
            HIDDEN.to_owned(),
            // Names that alice must not learn.
            r"key_canary|\bauditors\b|\bbob\b|\bgreta\b|codeword|core_temperature|\breactor\b|\bvault\b|entitlements|\bnotes\b|\bsecret\b"
                .to_owned(),
            // Files.
            r"part-0\b|staff\.parquet|people\.jsonl|(?:secret|entitlements|reactor)\.csv|dept=[AB]/|master\.key|weir\.db|audit\.db".to_owned(),
        ];
        for weir in [&template, &governed.weir, &copy.weir] {
            hidden.push(regex::escape(weir.path().to_str().unwrap().trim_start_matches('/')));
        }
        hidden.extend(secrets.iter().map(|secret| regex::escape(secret)));
        hidden.extend(hidden_numbers().into_iter().flat_map(|number| {
            let (four, eight) = (number.to_be_bytes(), i64::from(number).to_be_bytes());
            [binary(&four), binary(&eight)]
        }));
        let canaries = RegexBuilder::new(&hidden.join("|")).case_insensitive(true).unicode(false).build().unwrap();
        Self { template, governed, copy, canaries }
    }

    /// Where the governed files are.
    pub(crate) fn files(&self) -> &Path {
        self.template.path()
    }

    /// A governed side for an entry that changes it.
    pub(crate) fn fresh(&self) -> Side {
        side_of(&self.template)
    }
}

/// A value in binary form behind its length, for a regular expression.
fn binary(value: &[u8]) -> String {
    let length = u32::try_from(value.len()).unwrap().to_be_bytes();
    let bytes: Vec<String> = length.iter().chain(value).map(|byte| format!(r"\x{byte:02X}")).collect();
    format!("(?-i:{})", bytes.concat())
}

impl Side {
    fn new(weir: Weir) -> Self {
        let server = weir.start(&["serve"]);
        Self { server, local: Local::over(&weir.path().join("data")), weir }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    pub(crate) fn flight(&self) -> SocketAddr {
        self.server.flight
    }
}

/// The governed data directory, with files, users and policies.
fn template() -> Weir {
    let weir = Weir::new();
    write_governed(weir.path(), &in_words(&everybody()));
    weir.file("secret.csv", "id,codeword\n1,HIDDEN_CODEWORD\n");
    weir.file("entitlements.csv", "user,dept\nalice,A\nbob,A\nbob,B\n");
    weir.file("reactor.csv", "id,core_temperature\n1,HIDDEN_HOT\n");
    weir.file("policies.weir", policies());
    weir.file("password", PASSWORD);

    let user = |name: &str, more: &[&str]| {
        weir.ok(&[&["user", "add", name, "--password-file", "password"], more].concat());
    };
    user("alice", &["--group", "readers", "--group", "A"]);
    user("bob", &["--group", "readers", "--group", "auditors"]);
    user("greta", &["--permission", "governance"]);
    for (source, path) in SOURCES.into_iter().zip(["emp", "staff.parquet", "people.jsonl", "roster"]) {
        weir.ok(&["source", "add", source, path, "--no-detect", "--leave-out", "notes"]);
    }
    for (source, path) in
        [("hr.secret", "secret.csv"), ("gov.entitlements", "entitlements.csv"), ("vault.reactor", "reactor.csv")]
    {
        weir.ok(&["source", "add", source, path, "--no-detect"]);
    }
    weir.ok(&["policy", "add", "policies.weir"]);
    write_governed(weir.path(), &everybody());
    weir
}

fn write_governed(folder: &Path, all: &[Person]) {
    let of = |dept: &str| all.iter().filter(|person| person.dept == dept).cloned().collect::<Vec<Person>>();
    let (inside, outside) = (Columns { dept: true, notes: true }, Columns { dept: false, notes: true });
    for dept in ["A", "B"] {
        write_parquet(&folder.join(format!("emp/dept={dept}/part-0.parquet")), &of(dept), outside);
        write_csv(&folder.join(format!("roster/dept={dept}/part-0.csv")), &of(dept), outside);
    }
    write_parquet(&folder.join("staff.parquet"), all, inside);
    write_json(&folder.join("people.jsonl"), all, inside);
}

/// The key by which each source hashes; and all that is secret, as texts.
fn keys(weir: &Weir) -> (BTreeMap<String, HashToken>, Vec<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(&weir.path().join("data"), Arc::new(SystemClock)).await.unwrap();
        let (mut hashers, mut secrets) = (BTreeMap::new(), Vec::new());
        for source in store.facts().await.unwrap().sources {
            let key = store.mask_key(&KeyScope::Source(source.id)).await.unwrap().secret;
            secrets.push(key.expose().iter().map(|byte| format!("{byte:02x}")).collect());
            hashers.insert(source.name.to_string(), HashToken::new(&key));
        }
        store.close().await.unwrap();
        (hashers, secrets)
    })
}

fn side_of(template: &Weir) -> Side {
    let weir = Weir::new();
    copy_folder(&template.path().join("data"), &weir.path().join("data"));
    Side::new(weir)
}

/// Files that are written filtered and masked, under the same names, with nothing to restrict alice.
fn copy(keys: &BTreeMap<String, HashToken>) -> Side {
    let weir = Weir::new();
    let all = everybody();
    let clear: Vec<Person> = all.iter().filter(|person| person.dept == "A").cloned().collect();
    // Types of columns are found out before what is masked is NULL everywhere.
    write_copy(weir.path(), |_| in_words(&clear));
    weir.file("password", PASSWORD);
    weir.ok(&["user", "add", "alice", "--password-file", "password"]);
    for (source, path) in SOURCES.into_iter().zip(["emp", "staff.parquet", "people.jsonl", "roster"]) {
        weir.ok(&["source", "add", source, path, "--no-detect"]);
    }
    weir.ok(&["policy", "add", "--key", "open", "--text", "Allow anyone to subscribe"]);
    write_copy(weir.path(), |source| {
        seen(&all, |value| String::from_utf8(keys[source].token(value).to_vec()).unwrap())
    });
    Side::new(weir)
}

fn write_copy(folder: &Path, people: impl Fn(&str) -> Vec<Person>) {
    let (inside, outside) = (Columns { dept: true, notes: false }, Columns { dept: false, notes: false });
    write_parquet(&folder.join("emp/dept=A/part-0.parquet"), &people("hr.emp"), outside);
    write_parquet(&folder.join("staff.parquet"), &people("hr.staff"), inside);
    write_json(&folder.join("people.jsonl"), &people("hr.people"), inside);
    write_csv(&folder.join("roster/dept=A/part-0.csv"), &people("hr.roster"), outside);
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place: PathBuf = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &place);
        } else {
            std::fs::copy(entry.path(), place).unwrap();
        }
    }
}
