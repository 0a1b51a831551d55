//! A client of the PostgreSQL protocol that costs next to nothing: it counts rows by the heads of their messages and
//! looks at nothing else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};

/// Of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Binary,
}

pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The part of the buffer that is read but not looked at.
    from: usize,
    to: usize,
}

/// What a fetch came to.
pub(crate) struct Fetched {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
    /// From the statement to the head of the first row.
    pub(crate) first: Duration,
    pub(crate) all: Duration,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr, user: &str, password: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream, buffer: vec![0; 256 << 10], from: 0, to: 0 };
        let mut start = 0x0003_0000_i32.to_be_bytes().to_vec();
        for text in ["user", user, "database", "weir"] {
            start.extend_from_slice(text.as_bytes());
            start.push(0);
        }
        start.push(0);
        let length = u32::try_from(start.len() + 4)?.to_be_bytes();
        client.stream.write_all(&[&length[..], &start].concat())?;
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        loop {
            let (kind, length) = client.head()?;
            let body = client.body(length)?;
            match (kind, body.split_first_chunk()) {
                (b'R', Some((&[0, 0, 0, 10], _))) => {
                    let first = scram.message();
                    let length = u32::try_from(first.len())?.to_be_bytes();
                    let answer = [SCRAM_SHA_256.as_bytes(), b"\0", &length, first].concat();
                    client.stream.write_all(&message(b'p', &answer)?)?;
                }
                (b'R', Some((&[0, 0, 0, 11], challenge))) => {
                    scram.update(challenge)?;
                    client.stream.write_all(&message(b'p', scram.message())?)?;
                }
                (b'E', _) => bail!("no login: {}", String::from_utf8_lossy(&body)),
                (b'Z', _) => return Ok(client),
                _ => {}
            }
        }
    }

    /// Runs a read to its end.
    pub(crate) fn fetch(&mut self, sql: &str, form: Form) -> anyhow::Result<Fetched> {
        let text = [sql.as_bytes(), b"\0"].concat();
        let request = match form {
            Form::Text => message(b'Q', &text)?,
            Form::Binary => [
                message(b'P', &[b"\0", text.as_slice(), b"\0\0"].concat())?,
                // No parameters; one format for all columns.
                message(b'B', b"\0\0\0\0\0\0\0\x01\0\x01")?,
                message(b'E', b"\0\0\0\0\0")?,
                message(b'S', b"")?,
            ]
            .concat(),
        };
        let started = Instant::now();
        self.stream.write_all(&request)?;
        let (mut rows, mut bytes, mut first, mut told) = (0, 0, None, None);
        loop {
            let (kind, length) = self.head()?;
            bytes += 5 + length;
            match kind {
                b'D' => {
                    if rows == 0 {
                        first = Some(started.elapsed());
                    }
                    rows += 1;
                    self.skip(length)?;
                }
                b'E' => bail!("{sql}: {}", String::from_utf8_lossy(&self.body(length)?)),
                b'C' => {
                    let tag = self.body(length)?;
                    let tag = std::str::from_utf8(&tag)?.trim_end_matches('\0');
                    told = tag.strip_prefix("SELECT ").and_then(|count| count.parse().ok());
                }
                b'Z' => {
                    self.skip(length)?;
                    break;
                }
                _ => self.skip(length)?,
            }
        }
        ensure!(told == Some(rows), "{sql}: {rows} rows came, {told:?} were told of");
        let first = first.context("no row came")?;
        Ok(Fetched { rows, bytes, first, all: started.elapsed() })
    }

    /// Kind and length of the next message.
    fn head(&mut self) -> anyhow::Result<(u8, usize)> {
        if let Some([kind, a, b, c, d]) = self.buffer.get(self.from..self.to).and_then(|unread| unread.first_chunk()) {
            let (kind, length) = (*kind, u32::from_be_bytes([*a, *b, *c, *d]));
            self.from += 5;
            return Ok((kind, usize::try_from(length)?.checked_sub(4).context("a message of no length")?));
        }
        let head = self.body(5)?;
        let [kind, a, b, c, d] = head.as_slice() else { bail!("no head of a message") };
        let length = u32::from_be_bytes([*a, *b, *c, *d]);
        Ok((*kind, usize::try_from(length)?.checked_sub(4).context("a message of no length")?))
    }

    fn body(&mut self, length: usize) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        while body.len() < length {
            self.fill()?;
            let here = (length - body.len()).min(self.to - self.from);
            body.extend_from_slice(self.buffer.get(self.from..self.from + here).context("the buffer")?);
            self.from += here;
        }
        Ok(body)
    }

    fn skip(&mut self, mut length: usize) -> anyhow::Result<()> {
        loop {
            let here = length.min(self.to - self.from);
            self.from += here;
            length -= here;
            if length == 0 {
                return Ok(());
            }
            self.fill()?;
        }
    }

    /// Waits for bytes, unless some are there.
    fn fill(&mut self) -> anyhow::Result<()> {
        if self.from == self.to {
            (self.from, self.to) = (0, self.stream.read(&mut self.buffer)?);
            ensure!(self.to > 0, "the server closed the connection");
        }
        Ok(())
    }
}

fn message(kind: u8, body: &[u8]) -> anyhow::Result<Vec<u8>> {
    let length = u32::try_from(body.len() + 4)?.to_be_bytes();
    Ok([&[kind], &length[..], body].concat())
}
