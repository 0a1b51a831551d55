//! Runs an entry by every protocol, on the governed world and on its copy, and says what came out wrong.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::LazyLock;

use regex::bytes::Regex;

use super::entry::{Entry, Expect, How, Says, Step, What};
use super::flight::Session;
use super::wire::{Answer, Format, Row, Wire};
use super::world::{PASSWORD, Side, World};
use crate::weir::Ran;

/// How a message names the record of its statement.
static REQUEST: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("request [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").unwrap());

/// A way to say a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// One text, answered as text.
    Simple,
    /// Parse, describe, bind and execute, rows in two parts; answered as text.
    Extended,
    /// Prepared and described first, run later; answered in binary form.
    Binary,
    /// Declared in a transaction and fetched in two parts.
    Cursor,
    /// The engine itself, without a door.
    Engine,
    /// Arrow Flight SQL.
    Flight,
}

pub(crate) const PROTOCOLS: [Protocol; 6] =
    [Protocol::Simple, Protocol::Extended, Protocol::Binary, Protocol::Cursor, Protocol::Engine, Protocol::Flight];

/// An open connection.
enum Line {
    Wire(Wire),
    Flight(Box<Session>),
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::Simple => "simple",
            Protocol::Extended => "extended",
            Protocol::Binary => "binary",
            Protocol::Cursor => "cursor",
            Protocol::Engine => "engine",
            Protocol::Flight => "flight",
        }
    }

    fn ask(self, wire: &mut Wire, sql: &str, with: &[String]) -> Answer {
        match self {
            Protocol::Simple => wire.simple(sql),
            Protocol::Extended => wire.extended(sql, with, is_read(sql)),
            Protocol::Binary => {
                let prepared = wire.prepare("attack", sql);
                let answer = if prepared.error.is_some() {
                    prepared
                } else {
                    prepared.then(wire.run("attack", with, Format::Binary))
                };
                answer.then(wire.simple("DEALLOCATE ALL"))
            }
            Protocol::Cursor => {
                let declared = wire.simple(&format!("BEGIN; DECLARE attack CURSOR FOR {sql}"));
                let answer = if declared.error.is_some() {
                    declared
                } else {
                    declared.then(wire.simple("FETCH 3 FROM attack")).then(wire.simple("FETCH ALL FROM attack"))
                };
                answer.then(wire.simple("ROLLBACK"))
            }
            Protocol::Engine | Protocol::Flight => unreachable!("not by this wire"),
        }
    }

    fn login(self, side: &Side, user: &str) -> Line {
        if self == Protocol::Flight {
            return Line::Flight(Box::new(Session::login(side.flight(), user, PASSWORD)));
        }
        let parameters =
            [("user", user), ("database", "weir")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        match Wire::connect(side.address(), &parameters, PASSWORD) {
            Ok((wire, _)) => Line::Wire(wire),
            Err(answer) => panic!("{user} cannot log in: {answer:?}"),
        }
    }

    /// Whether a step is said by this protocol.
    fn says(self, says: &Says) -> bool {
        let fits = match self {
            Protocol::Simple => says.with.is_empty() && says.how == How::Whole,
            Protocol::Extended | Protocol::Binary | Protocol::Flight => true,
            Protocol::Cursor | Protocol::Engine => {
                says.with.is_empty() && says.how == How::Whole && is_read(&says.text)
            }
        };
        fits && (says.only.is_empty() || says.only.iter().any(|name| name == self.name()))
    }
}

/// Whether a text asks for rows, by how it starts.
fn is_read(sql: &str) -> bool {
    let start = sql.trim_start().to_lowercase();
    ["select", "with", "values", "table", "("].iter().any(|word| start.starts_with(word))
}

/// Everything that came out wrong.
pub(crate) fn run(entry: &Entry, world: &World) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, source) in entry.on.iter().enumerate() {
        for (turn, protocol) in PROTOCOLS.into_iter().enumerate() {
            // Every source by the simple protocol; the others take turns.
            if turn > 0 && turn % entry.on.len() != number {
                continue;
            }
            let fresh = entry.changes().then(|| world.fresh());
            let governed = fresh.as_ref().unwrap_or(&world.governed);
            let mut run =
                Run { entry, world, governed, protocol, source, open: BTreeMap::new(), prepared: BTreeMap::new() };
            for step in &entry.steps {
                if let Err(why) = run.step(step) {
                    wrong.push(format!(
                        "{}/{}.attack, line {}, {}, {source}: {why}",
                        entry.class,
                        entry.id,
                        step.line,
                        protocol.name()
                    ));
                }
            }
        }
    }
    wrong
}

/// One entry by one protocol on one source.
struct Run<'a> {
    entry: &'a Entry,
    world: &'a World,
    governed: &'a Side,
    protocol: Protocol,
    source: &'a str,
    /// By who speaks: the connection to the governed world, and to the copy if she is there.
    open: BTreeMap<String, (Line, Option<Line>)>,
    /// The text of what was prepared, by who did it and how it is called.
    prepared: BTreeMap<(String, String), String>,
}

impl Run<'_> {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        match &step.what {
            What::Says(says) if self.protocol.says(says) => self.says(says),
            What::Admin(commands) => commands.iter().try_for_each(|command| {
                let files = self.world.files().to_str().unwrap();
                let args: Vec<String> = command.iter().map(|word| word.replace("{files}", files)).collect();
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                let ran = self.governed.weir.run(&args);
                if ran.code == Some(0) { Ok(()) } else { Err(format!("weir {command:?}: {ran:?}")) }
            }),
            What::Connect { parameters, expect } if self.protocol == Protocol::Simple => {
                self.connect(parameters, expect)
            }
            What::Psql { script, expect } if self.protocol == Protocol::Simple => self.psql(script, expect),
            What::Says(_) | What::Connect { .. } | What::Psql { .. } => Ok(()),
        }
    }

    fn says(&mut self, says: &Says) -> Result<(), String> {
        let user = says.who.split('#').next().unwrap_or_default();
        let sql = says.text.replace("{emp}", self.source);
        let (answer, twin) = if self.protocol == Protocol::Engine {
            let Some(answer) = self.governed.local.ask(user, &sql) else { return Ok(()) };
            (answer, self.world.copy.local.ask(user, &sql).filter(|_| user == "alice"))
        } else {
            self.ask(says, user, &sql)
        };
        let spoken = match &says.how {
            How::Whole => sql.clone(),
            How::Prepares(name) => {
                self.prepared.insert((says.who.clone(), name.clone()), sql.clone());
                sql.clone()
            }
            How::Runs(name) => self.prepared.get(&(says.who.clone(), name.clone())).cloned().unwrap_or_default(),
        };
        let spoken = format!("{spoken} {}", says.with.join(" "));
        if user == "alice" {
            self.hides(&answer.raw, &spoken, &says.expect)?;
        }
        // Paths are nobody's business, also where nothing is hidden.
        if let Some(twin) = &twin {
            self.hides(&twin.raw, &spoken, &says.expect).map_err(|why| format!("the copy: {why}"))?;
        }
        self.judge(&says.expect, &answer, twin.as_ref()).map_err(|why| format!("{why}\n  {sql}"))
    }

    /// On the connections that she has.
    fn ask(&mut self, says: &Says, user: &str, sql: &str) -> (Answer, Option<Answer>) {
        let (protocol, world, governed) = (self.protocol, self.world, self.governed);
        let (line, twin) = self.open.entry(says.who.clone()).or_insert_with(|| {
            let twin = (user == "alice").then(|| protocol.login(&world.copy, user));
            (protocol.login(governed, user), twin)
        });
        let ask = |line: &mut Line| match (line, &says.how) {
            (Line::Wire(wire), How::Whole) => protocol.ask(wire, sql, &says.with),
            (Line::Wire(wire), How::Prepares(name)) => wire.prepare(name, sql),
            (Line::Wire(wire), How::Runs(name)) => {
                let format = if protocol == Protocol::Binary { Format::Binary } else { Format::Text };
                wire.run(name, &says.with, format)
            }
            (Line::Flight(session), How::Whole) => session.ask(sql, &says.with),
            (Line::Flight(session), How::Prepares(name)) => session.prepare(name, sql),
            (Line::Flight(session), How::Runs(name)) => session.run(name, &says.with),
        };
        (ask(line), twin.as_mut().map(ask))
    }

    fn connect(&self, parameters: &[(String, String)], expect: &Expect) -> Result<(), String> {
        let mut parameters = parameters.to_vec();
        let password = parameters.iter().position(|(name, _)| name == "password").map(|at| parameters.remove(at).1);
        if !parameters.iter().any(|(name, _)| name == "database") {
            parameters.push(("database".to_owned(), "weir".to_owned()));
        }
        let connect =
            |side: &Side| match Wire::connect(side.address(), &parameters, password.as_deref().unwrap_or(PASSWORD)) {
                Ok((_, answer)) | Err(answer) => answer,
            };
        let answer = connect(self.governed);
        let spoken = parameters.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" ");
        self.hides(&answer.raw, &spoken, expect)?;
        self.judge(expect, &answer, Some(&connect(&self.world.copy)))
    }

    fn psql(&self, script: &str, expect: &Expect) -> Result<(), String> {
        let script = script.replace("{emp}", self.source);
        let told = |side: &Side| {
            let conninfo = format!("host=127.0.0.1 port={} dbname=weir user=alice", side.address().port());
            let mut command = Command::new("psql");
            command
                .args([&conninfo, "--no-psqlrc", "--no-align", "--set", "VERBOSITY=verbose"])
                .env("PGPASSWORD", PASSWORD);
            for line in script.lines() {
                command.args(["-c", line]);
            }
            let ran = Ran::of(command.env("PAGER", "").env("LC_ALL", "C.UTF-8").output().unwrap());
            format!("{}\n{}", without_requests(&ran.out), without_requests(&ran.err))
        };
        let governed = told(self.governed);
        self.hides(governed.as_bytes(), &script, expect)?;
        let error = expect.error.as_ref().is_none_or(|(code, text)| governed.contains(code) && governed.contains(text));
        if !error {
            return Err(format!("expected {:?}, got:\n{governed}", expect.error));
        }
        let copy = told(&self.world.copy);
        if expect.same && governed != copy {
            return Err(format!("differs from the copy.\ngoverned:\n{governed}\ncopy:\n{copy}"));
        }
        Ok(())
    }

    /// Nothing hidden is in the answer but what was in the question; and then only what the copy answers comes out.
    fn hides(&self, told: &[u8], spoken: &str, expect: &Expect) -> Result<(), String> {
        let spoken = spoken.to_lowercase();
        if self.world.canaries.is_match(spoken.as_bytes()) && !expect.same && expect.error.is_none() {
            return Err("who says something hidden must be answered like on the copy, or with an error".to_owned());
        }
        // By chance the number of a request may have digits in it that are hidden.
        let told = &*REQUEST.replace_all(told, &b"request"[..]);
        for found in self.world.canaries.find_iter(told) {
            let word = String::from_utf8_lossy(found.as_bytes()).to_lowercase();
            if !spoken.contains(&word) {
                let around = &told[found.start().saturating_sub(80)..told.len().min(found.end() + 80)];
                return Err(format!(
                    "TELLS `{}`: …{}…",
                    word.escape_debug(),
                    String::from_utf8_lossy(around).escape_debug()
                ));
            }
        }
        Ok(())
    }

    fn judge(&self, expect: &Expect, answer: &Answer, twin: Option<&Answer>) -> Result<(), String> {
        match (&expect.error, &answer.error) {
            (Some((code, text)), Some((told_code, told)))
                if (code == told_code || matches!(self.protocol, Protocol::Engine | Protocol::Flight))
                    && told.contains(text.as_str()) => {}
            (Some(expected), told) => {
                return Err(format!("expected error {expected:?}, got {told:?} {}", shown(answer)));
            }
            (None, Some(told)) if expect.ok => return Err(format!("expected no error, got {told:?}")),
            (None, _) => {}
        }
        if let Some(expected) = &expect.rows
            && self.protocol != Protocol::Binary
        {
            let (mut expected, mut rows) = (expected.clone(), answer.rows.iter().map(row).collect::<Vec<String>>());
            if !expect.in_order {
                expected.sort();
                rows.sort();
            }
            if rows != expected {
                return Err(format!("expected rows {expected:#?}, got {rows:#?}"));
            }
        }
        if !expect.same {
            return Ok(());
        }
        let Some(twin) = twin else { return Err("only alice has a copy".to_owned()) };
        let sorted = |answer: &Answer| {
            let mut rows = answer.rows.clone();
            if !expect.in_order {
                rows.sort();
            }
            rows
        };
        if answer.messages != twin.messages || sorted(answer) != sorted(twin) {
            let entry = &self.entry.id;
            return Err(format!("{entry} differs from the copy.\ngoverned: {}\ncopy: {}", shown(answer), shown(twin)));
        }
        Ok(())
    }
}

/// Whether the scan for what is hidden finds anything in what bob, who may read it, is told by each protocol.
pub(crate) fn told_to_bob(world: &World, sql: &str) -> Vec<Result<(), String>> {
    let entry =
        Entry { class: String::new(), id: String::new(), tries: String::new(), on: Vec::new(), steps: Vec::new() };
    let told = |protocol: Protocol| {
        let (source, governed) = ("", &world.governed);
        let run =
            Run { entry: &entry, world, governed, protocol, source, open: BTreeMap::new(), prepared: BTreeMap::new() };
        let answer = match protocol {
            Protocol::Engine => governed.local.ask("bob", sql).unwrap(),
            protocol => match protocol.login(governed, "bob") {
                Line::Wire(mut wire) => protocol.ask(&mut wire, sql, &[]),
                Line::Flight(mut session) => session.ask(sql, &[]),
            },
        };
        run.hides(&answer.raw, "", &Expect::default())
    };
    PROTOCOLS.map(told).into()
}

fn row(row: &Row) -> String {
    let value = |value: &Option<Vec<u8>>| match value {
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        None => "NULL".to_owned(),
    };
    row.iter().map(value).collect::<Vec<String>>().join(" | ")
}

fn shown(answer: &Answer) -> String {
    let rows: Vec<String> = answer.rows.iter().take(5).map(row).collect();
    format!("{:#?}, {} rows, the first of them {rows:#?}", answer.messages, answer.rows.len())
}

fn without_requests(text: &str) -> String {
    let line = |line: &str| match line.split_once("request ") {
        Some((start, _)) => format!("{start}request …\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}
