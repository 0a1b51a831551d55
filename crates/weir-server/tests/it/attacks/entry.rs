//! Entries of the catalogue of attacks, as they stand in files.
//!
//! ```text
//! # A remark.
//! try: What is tried, in one sentence.
//! on: hr.emp, hr.staff
//!
//! alice: same
//!   SELECT 1 / (level - 100) FROM {emp}
//!
//!   SELECT another FROM {emp}
//!
//! admin:
//!   user group remove alice readers
//!
//! alice (simple): error 42P01 does not exist
//!   SELECT 1; SELECT * FROM {emp}
//! ```
//!
//! The file's name is the entry's id, its folder the class. Without `on`, `{emp}` is each of the four sources. A step is a
//! line `who: what must come out` and lines that are indented; a blank line among them separates statements of which
//! the same must come out.

use std::path::Path;

use super::world::SOURCES;

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) class: String,
    pub(crate) id: String,
    pub(crate) tries: String,
    /// What `{emp}` is, one after the other. One name that does not matter when no step speaks of it.
    pub(crate) on: Vec<String>,
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// Somebody says something.
    Says(Says),
    /// Commands of `weir`, given to the governed world.
    Admin(Vec<Vec<String>>),
    /// Somebody tries to log in.
    Connect { parameters: Vec<(String, String)>, expect: Expect },
    /// Alice runs a script in `psql`.
    Psql { script: String, expect: Expect },
}

#[derive(Debug)]
pub(crate) struct Says {
    /// The name up to a `#` is the user; the rest tells her connections apart.
    pub(crate) who: String,
    pub(crate) how: How,
    /// Protocols by which it is said; all when empty.
    pub(crate) only: Vec<String>,
    /// Values of `$1` and so on.
    pub(crate) with: Vec<String>,
    pub(crate) text: String,
    pub(crate) expect: Expect,
}

#[derive(Debug, PartialEq)]
pub(crate) enum How {
    /// Everything at once.
    Whole,
    /// By the extended protocol: the statement gets a name.
    Prepares(String),
    /// By the extended protocol: what was prepared is run.
    Runs(String),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Expect {
    /// As on the physical copy, in all that is said.
    pub(crate) same: bool,
    /// Also in the order of rows.
    pub(crate) in_order: bool,
    /// SQLSTATE and a part of the message.
    pub(crate) error: Option<(String, String)>,
    pub(crate) rows: Option<Vec<String>>,
    /// No error.
    pub(crate) ok: bool,
}

impl Entry {
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let id = name(path).trim_end_matches(".attack").to_owned();
        let class = name(path.parent().unwrap());
        Self::parse(&class, &id, &text).unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display()))
    }

    pub(crate) fn parse(class: &str, id: &str, text: &str) -> Result<Self, String> {
        let mut entry = Self {
            class: class.to_owned(),
            id: id.to_owned(),
            tries: String::new(),
            on: SOURCES.map(str::to_owned).to_vec(),
            steps: Vec::new(),
        };
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')).peekable();
        while let Some((number, line)) = lines.next() {
            if line.trim().is_empty() {
                continue;
            }
            let wrong = |why: &str| format!("line {}: {why}: {line}", number + 1);
            if line.starts_with(char::is_whitespace) {
                return Err(wrong("nobody says this"));
            }
            if let Some(tries) = line.strip_prefix("try: ") {
                tries.trim().clone_into(&mut entry.tries);
                continue;
            }
            if let Some(on) = line.strip_prefix("on: ") {
                entry.on = on.split(',').map(|source| source.trim().to_owned()).collect();
                if let Some(unknown) = entry.on.iter().find(|source| !SOURCES.contains(&source.as_str())) {
                    return Err(wrong(&format!("there is no `{unknown}`")));
                }
                continue;
            }
            let mut body = Vec::new();
            while let Some((_, line)) = lines.next_if(|(_, line)| line.is_empty() || line.starts_with("  ")) {
                body.push(line.strip_prefix("  ").unwrap_or(line));
            }
            let mut bodies = paragraphs(&body);
            if bodies.is_empty() {
                bodies.push(String::new());
            }
            let (head, expect) = line.split_once(':').ok_or_else(|| wrong("no colon"))?;
            let step = |what| Step { line: number + 1, what };
            for body in bodies {
                let what = if head == "admin" {
                    What::Admin(body.lines().map(words).collect())
                } else {
                    let (body, expect) = expected(expect.trim(), &body).ok_or_else(|| wrong("what must come out?"))?;
                    what(head, body, expect).map_err(|why| wrong(&why))?
                };
                entry.steps.push(step(what));
            }
        }
        if entry.tries.is_empty() || entry.steps.is_empty() {
            return Err("it says not what it tries, or tries nothing".to_owned());
        }
        if !text.contains("{emp}") {
            entry.on.truncate(1);
        }
        Ok(entry)
    }

    /// Whether it changes the world.
    pub(crate) fn changes(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.what, What::Admin(_)))
    }

    /// How many statements it says.
    pub(crate) fn count(&self) -> usize {
        self.steps.iter().filter(|step| !matches!(step.what, What::Admin(_))).count()
    }
}

fn what(head: &str, text: String, expect: Expect) -> Result<What, String> {
    let pairs = |text: &str| {
        let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        text.lines().map(pair).collect::<Option<Vec<_>>>().ok_or_else(|| "not `name=value`".to_owned())
    };
    match head {
        "connect" => return Ok(What::Connect { parameters: pairs(&text)?, expect }),
        "psql" => return Ok(What::Psql { script: text, expect }),
        _ => {}
    }
    let (head, with) = head.split_once(" with ").unwrap_or((head, ""));
    let (head, only) = match head.split_once(" (") {
        Some((head, only)) => (head, only.strip_suffix(')').ok_or("a parenthesis is open")?),
        None => (head, ""),
    };
    let list =
        |text: &str| text.split(", ").filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<String>>();
    let (who, how) = match head.split(' ').collect::<Vec<_>>().as_slice() {
        [who] => (*who, How::Whole),
        [who, "prepares", name] => (*who, How::Prepares((*name).to_owned())),
        [who, "runs", name] => (*who, How::Runs((*name).to_owned())),
        _ => return Err("who says what?".to_owned()),
    };
    if text.is_empty() != matches!(how, How::Runs(_)) {
        return Err("a statement is missing, or too much".to_owned());
    }
    Ok(What::Says(Says { who: who.to_owned(), how, only: list(only), with: list(with), text, expect }))
}

/// What must come out, and the body without the rows that it names.
fn expected(text: &str, body: &str) -> Option<(String, Expect)> {
    let mut expect = Expect::default();
    let rest = match text.strip_prefix("same") {
        Some(rest) => {
            expect.same = true;
            rest.strip_prefix(", ").unwrap_or(rest)
        }
        None => text,
    };
    let rest = match rest.strip_suffix(" in order") {
        Some(rest) => {
            expect.in_order = true;
            rest
        }
        None => rest,
    };
    let mut statement = body.to_owned();
    match rest {
        "" if expect.same => {}
        "anything" => {}
        "ok" => expect.ok = true,
        "rows" => {
            let (sql, rows) = body.split_once("----").unwrap_or((body, ""));
            sql.trim_end().clone_into(&mut statement);
            expect.ok = true;
            expect.rows = Some(rows.lines().filter(|row| !row.is_empty()).map(str::to_owned).collect());
        }
        error => {
            let error = error.strip_prefix("error ")?;
            let (code, message) = error.split_once(' ').unwrap_or((error, ""));
            if code.len() != 5 {
                return None;
            }
            expect.error = Some((code.to_owned(), message.to_owned()));
        }
    }
    Some((statement, expect))
}

/// Parts separated by blank lines.
fn paragraphs(lines: &[&str]) -> Vec<String> {
    let parts = lines.split(|line| line.trim().is_empty());
    parts.filter(|part| !part.is_empty()).map(|part| part.join("\n")).collect()
}

/// Words as of a shell; quotes keep spaces.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote, mut any) = (String::new(), None, false);
    for c in line.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => (quote, any) = (Some(c), true),
            (' ', None) => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            (c, _) => word.push(c),
        }
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    words
}

#[test]
fn an_entry_is_read_as_written() {
    let text = "# no\ntry: This.\non: hr.emp\n\nalice: same\n  SELECT a\n  FROM {emp}\n\n  SELECT b\n\nadmin:\n  policy add --text 'a b'\n\n\
                alice#2 runs p (simple, cursor) with 1, x y: error 42P01 table `x: y`\nbob: rows\n  SELECT 1\n  ----\n  1 | NULL\n";
    let entry = Entry::parse("class", "id", text).unwrap();
    assert_eq!(
        (entry.tries.as_str(), entry.on.as_slice(), entry.changes()),
        ("This.", &["hr.emp".to_owned()][..], true)
    );
    assert_eq!(entry.count(), 4);
    let [first, second, admin, runs, rows] = entry.steps.as_slice() else { panic!("{entry:?}") };
    assert!(matches!(&first.what, What::Says(says) if says.text == "SELECT a\nFROM {emp}" && says.expect.same));
    assert!(matches!(&second.what, What::Says(says) if says.text == "SELECT b" && says.how == How::Whole));
    assert!(matches!(&admin.what, What::Admin(commands) if commands == &[["policy", "add", "--text", "a b"]]));
    let What::Says(says) = &runs.what else { panic!("{runs:?}") };
    assert_eq!(
        (says.who.as_str(), says.only.len(), says.with.as_slice()),
        ("alice#2", 2, &["1".to_owned(), "x y".to_owned()][..])
    );
    assert_eq!(says.expect.error, Some(("42P01".to_owned(), "table `x: y`".to_owned())));
    let What::Says(says) = &rows.what else { panic!("{rows:?}") };
    assert_eq!(says.expect.rows.as_deref(), Some(&["1 | NULL".to_owned()][..]));
    for wrong in [
        "alice: same\n  SELECT 1\n",
        "try: This.\n",
        "try: This.\nalice: nothing\n  SELECT 1\n",
        "try: This.\non: hr.x\n",
    ] {
        assert!(Entry::parse("class", "id", wrong).is_err(), "{wrong}");
    }
}
