//! A client of the PostgreSQL protocol that hides nothing of what the server says: every message, as it came.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};

/// A server that does not answer for so long has failed the test; nothing waits for it otherwise.
const PATIENCE: Duration = Duration::from_mins(3);

/// An open connection.
pub(crate) struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
    /// The connection was ended by the server.
    closed: bool,
}

/// All that the server said up to its being ready again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// Every message but rows, in order, each in one line.
    pub(crate) messages: Vec<String>,
    pub(crate) rows: Vec<Row>,
    /// SQLSTATE and message of the first error.
    pub(crate) error: Option<(String, String)>,
    /// As it came, a line for each message.
    pub(crate) raw: Vec<u8>,
}

pub(crate) type Row = Vec<Option<Vec<u8>>>;

/// Text or binary, of results.
#[derive(Clone, Copy)]
pub(crate) enum Format {
    Text,
    Binary,
}

impl Wire {
    /// Logs in. An error is what the server said instead of being ready.
    pub(crate) fn connect(
        address: SocketAddr,
        parameters: &[(String, String)],
        password: &str,
    ) -> Result<(Self, Answer), Answer> {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut wire = Self { stream, unread: Vec::new(), closed: false };
        let mut body = 0x0003_0000_i32.to_be_bytes().to_vec();
        for (name, value) in parameters {
            body.extend(text(name));
            body.extend(text(value));
        }
        body.push(0);
        let mut packet = i32::try_from(body.len() + 4).unwrap().to_be_bytes().to_vec();
        packet.extend(body);
        wire.send(&packet);
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        let mut answer = Answer::default();
        loop {
            let Some((kind, body)) = wire.message() else { return Err(answer) };
            answer.take(kind, &body);
            match (kind, body.get(..4)) {
                (b'R', Some([0, 0, 0, 10])) => {
                    let first = scram.message().to_vec();
                    let length = i32::try_from(first.len()).unwrap().to_be_bytes();
                    wire.send(&message(b'p', &[text(SCRAM_SHA_256), length.to_vec(), first].concat()));
                }
                (b'R', Some([0, 0, 0, 11])) => {
                    scram.update(&body[4..]).unwrap();
                    let proof = scram.message().to_vec();
                    wire.send(&message(b'p', &proof));
                }
                (b'Z', _) => return Ok((wire, answer)),
                _ => {}
            }
        }
    }

    /// One text by the simple protocol.
    pub(crate) fn simple(&mut self, sql: &str) -> Answer {
        self.exchange(&message(b'Q', &text(sql)))
    }

    /// Parses, and asks what the statement takes and gives.
    pub(crate) fn prepare(&mut self, name: &str, sql: &str) -> Answer {
        self.exchange(&[parse(name, sql), describe(b'S', name), message(b'S', &[])].concat())
    }

    /// Binds texts to a prepared statement and runs it.
    pub(crate) fn run(&mut self, name: &str, with: &[String], format: Format) -> Answer {
        let steps = [bind(name, with, format), describe(b'P', ""), execute(0), message(b'S', &[])];
        self.exchange(&steps.concat())
    }

    /// All steps of the extended protocol at once. Rows of a read come in two parts.
    pub(crate) fn extended(&mut self, sql: &str, with: &[String], in_parts: bool) -> Answer {
        let mut steps = vec![parse("", sql), describe(b'S', ""), bind("", with, Format::Text), describe(b'P', "")];
        if in_parts {
            steps.push(execute(3));
        }
        steps.extend([execute(0), message(b'S', &[])]);
        self.exchange(&steps.concat())
    }

    /// Sends bytes that need not be messages, and nothing after them; all that the server says to the end.
    pub(crate) fn throw(mut self, bytes: &[u8]) -> Answer {
        self.send(bytes);
        // A server that waits for more says nothing; one whose client is gone ends what it does.
        self.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut part = [0; 16 * 1024];
        while let Ok(read @ 1..) = self.stream.read(&mut part) {
            self.unread.extend_from_slice(&part[..read]);
        }
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Answer::default();
        while let Some((kind, body)) = self.message() {
            answer.take(kind, &body);
        }
        answer
    }

    fn exchange(&mut self, request: &[u8]) -> Answer {
        let mut answer = Answer::default();
        if self.closed {
            answer.messages.push("the connection had ended".to_owned());
            return answer;
        }
        self.send(request);
        loop {
            let Some((kind, body)) = self.message() else {
                self.closed = true;
                answer.messages.push("the connection ended".to_owned());
                return answer;
            };
            answer.take(kind, &body);
            if kind == b'G' {
                // Whatever is asked for, there is nothing to copy.
                self.send(&message(b'f', &text("nothing")));
            }
            if kind == b'Z' {
                return answer;
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        // A connection that has ended says so when it is read.
        let _ = self.stream.write_all(bytes);
    }

    /// The next message; `None` at the end of the connection.
    fn message(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = self.bytes(5)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let body = self.bytes(usize::try_from(length).unwrap().checked_sub(4).unwrap())?;
        Some((head[0], body))
    }

    fn bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut part = [0; 16 * 1024];
        while self.unread.len() < count {
            match self.stream.read(&mut part) {
                Ok(0) => return None,
                Ok(read) => self.unread.extend_from_slice(&part[..read]),
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(e) => panic!("no answer: {e}"),
            }
        }
        Some(self.unread.drain(..count).collect())
    }
}

impl Answer {
    fn take(&mut self, kind: u8, body: &[u8]) {
        let mut fields = Fields(body);
        match kind {
            // Nonces and keys of the connection.
            b'R' | b'K' => return,
            b'D' => {
                let columns = fields.i16();
                self.rows.push((0..columns).map(|_| fields.value()).collect());
            }
            b'T' => {
                let columns = (0..fields.i16()).map(|_| {
                    let name = fields.text();
                    let (table, number, kind) = (fields.i32(), fields.i16(), fields.i32());
                    let (size, modifier, format) = (fields.i16(), fields.i32(), fields.i16());
                    format!("`{name}` {kind}({size}, {modifier}) of {table}.{number} as {format}")
                });
                let columns: Vec<String> = columns.collect();
                self.messages.push(format!("columns: {}", columns.join("; ")));
            }
            b't' => {
                let types: Vec<String> = (0..fields.i16()).map(|_| fields.i32().to_string()).collect();
                self.messages.push(format!("parameters: {}", types.join(", ")));
            }
            b'E' | b'N' => {
                let fields = fields.coded();
                let named = |wanted| fields.iter().find(|(code, _)| *code == wanted).map(|(_, text)| text.clone());
                if kind == b'E' {
                    let said = (named('C').unwrap_or_default(), named('M').unwrap_or_default());
                    self.error.get_or_insert(said);
                }
                let fields: Vec<String> = fields.iter().map(|(code, text)| format!("{code}={text}")).collect();
                let what = if kind == b'E' { "error" } else { "notice" };
                self.messages.push(format!("{what}: {}", fields.join(" | ")));
            }
            b'C' => self.messages.push(format!("done: {}", fields.text())),
            b'S' => self.messages.push(format!("setting: {} = {}", fields.text(), fields.text())),
            b'Z' => self.messages.push(format!("ready: {}", char::from(body[0]))),
            other => {
                let body = String::from_utf8_lossy(body);
                self.messages.push(format!("{}: {}", char::from(other), body.escape_debug()));
            }
        }
        self.raw.push(kind);
        self.raw.extend_from_slice(body);
        // What a message ends with is no part of a word that the next one begins with.
        self.raw.push(b'\n');
    }

    /// Together with what came after it.
    pub(crate) fn then(mut self, mut next: Answer) -> Answer {
        self.messages.append(&mut next.messages);
        self.rows.append(&mut next.rows);
        self.raw.append(&mut next.raw);
        self.error = self.error.or(next.error);
        self
    }
}

/// What a message consists of.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.bytes(2).try_into().unwrap())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.bytes(4).try_into().unwrap())
    }

    fn value(&mut self) -> Option<Vec<u8>> {
        let length = usize::try_from(self.i32()).ok()?;
        Some(self.bytes(length).to_vec())
    }

    fn text(&mut self) -> String {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap();
        let text = String::from_utf8(self.bytes(end).to_vec()).unwrap();
        self.bytes(1);
        text
    }

    /// Of errors and notices. The number of the request is its own each time.
    fn coded(&mut self) -> Vec<(char, String)> {
        let mut fields = Vec::new();
        while self.0[0] != 0 {
            let code = char::from(self.bytes(1)[0]);
            let text = self.text();
            let is_request = text.strip_prefix("request ").is_some_and(|id| id.len() == 36 && !id.contains(' '));
            fields.push((code, if is_request { "request …".to_owned() } else { text }));
        }
        fields
    }
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len() + 4).unwrap();
    [&[kind], length.to_be_bytes().as_slice(), body].concat()
}

pub(crate) fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', &[text(name), text(sql), vec![0, 0]].concat())
}

pub(crate) fn describe(what: u8, name: &str) -> Vec<u8> {
    message(b'D', &[vec![what], text(name)].concat())
}

pub(crate) fn bind(statement: &str, with: &[String], format: Format) -> Vec<u8> {
    let mut body = [text(""), text(statement), vec![0, 0]].concat();
    body.extend(i16::try_from(with.len()).unwrap().to_be_bytes());
    for value in with {
        body.extend(i32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(value.as_bytes());
    }
    body.extend(match format {
        Format::Text => [0, 1, 0, 0],
        Format::Binary => [0, 1, 0, 1],
    });
    message(b'B', &body)
}

pub(crate) fn execute(rows_max: i32) -> Vec<u8> {
    message(b'E', &[text(""), rows_max.to_be_bytes().to_vec()].concat())
}
