//! Frames: cutting what a client sends into messages, within limits, and gathering what goes back.
//!
//! Every read is checked against the frame it is in, so that no length a client invents makes us allocate, wait
//! for more than was announced, or read beyond.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use pgwire::messages::PgWireBackendMessage;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A larger announced length is nonsense (PostgreSQL's own limit).
const FRAME_BYTES_MAX: usize = 0x3fff_fffe;
/// Largest packet before authentication.
const STARTUP_BYTES_MAX: usize = 10_000;
/// What is read ahead while a statement runs.
const AHEAD_BYTES_MAX: usize = 256 * 1024;
/// Buffers larger than this are given back when empty.
const KEEP_BYTES_MAX: usize = 256 * 1024;
/// Output is sent when there is this much of it.
pub(crate) const FLUSH_BYTES: usize = 64 * 1024;

/// A plain or an encrypted stream.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What cannot be read as a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// Not the protocol; the connection cannot be used any more.
    Frame,
    /// A text that is not UTF-8.
    Text,
}

/// The next thing on a connection.
#[derive(Debug)]
pub(crate) enum Input {
    Frame {
        kind: u8,
        body: Bytes,
    },
    /// A message above the limit; its bytes were skipped.
    TooLong {
        kind: u8,
    },
    /// Not a message of this protocol.
    Garbage,
    Closed,
}

pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    inbox: BytesMut,
    outbox: Vec<u8>,
    /// How much of the outbox is sent.
    sent: usize,
    /// Kind of the message that is being skipped, and what is left of it.
    skipping: Option<(u8, usize)>,
}

impl Connection {
    pub(crate) fn new(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), inbox: BytesMut::new(), outbox: Vec::new(), sent: 0, skipping: None }
    }

    /// The next packet of the startup phase, which has a length but no kind. `None` for garbage or the end.
    pub(crate) async fn packet(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(length) = self.inbox.get(..4).map(|mut head| head.get_u32() as usize) {
                if !(8..=STARTUP_BYTES_MAX).contains(&length) {
                    return Ok(None);
                }
                if self.inbox.len() >= length {
                    let mut packet = self.inbox.split_to(length).freeze();
                    packet.advance(4);
                    return Ok(Some(packet));
                }
            }
            if self.read().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next message. May be dropped and called again.
    pub(crate) async fn input(&mut self, bytes_max: usize) -> io::Result<Input> {
        loop {
            if let Some(input) = self.take_input(bytes_max) {
                return Ok(input);
            }
            if self.read().await? == 0 {
                return Ok(Input::Closed);
            }
        }
    }

    fn take_input(&mut self, bytes_max: usize) -> Option<Input> {
        if self.skipping.is_none() {
            let mut head = self.inbox.get(..5)?;
            let (kind, length) = (head.get_u8(), head.get_u32() as usize);
            if !(4..=FRAME_BYTES_MAX).contains(&length) || !Frontend::KINDS.contains(&kind) {
                return Some(Input::Garbage);
            }
            if length <= bytes_max {
                if self.inbox.len() <= length {
                    return None;
                }
                self.inbox.advance(5);
                return Some(Input::Frame { kind, body: self.inbox.split_to(length - 4).freeze() });
            }
            self.skipping = Some((kind, length + 1));
        }
        let (kind, left) = self.skipping?;
        let here = left.min(self.inbox.len());
        self.inbox.advance(here);
        if left == here {
            self.skipping = None;
            return Some(Input::TooLong { kind });
        }
        self.skipping = Some((kind, left - here));
        None
    }

    async fn read(&mut self) -> io::Result<usize> {
        if self.inbox.is_empty() && self.inbox.capacity() > KEEP_BYTES_MAX {
            self.inbox = BytesMut::new();
        }
        self.inbox.reserve(8 * 1024);
        self.stream.read_buf(&mut self.inbox).await
    }

    /// Ends when the client is gone. Meanwhile reads ahead, within a limit. May be dropped and called again.
    pub(crate) async fn gone(&mut self) {
        while self.inbox.len() < AHEAD_BYTES_MAX {
            if !matches!(self.read().await, Ok(1..)) {
                return;
            }
        }
        std::future::pending().await
    }

    /// Bytes that came before anything asked for them.
    pub(crate) fn has_unread(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// The stream, for wrapping it; nothing may be buffered in either direction.
    pub(crate) fn into_stream(self) -> Box<dyn Stream> {
        self.stream
    }

    /// Appends a message to what will be sent.
    pub(crate) fn put(&mut self, message: PgWireBackendMessage) {
        let mut bytes = BytesMut::new();
        match message.encode(&mut bytes) {
            Ok(()) => self.outbox.extend_from_slice(&bytes),
            Err(_) => tracing::error!("a message could not be encoded"),
        }
    }

    /// Where rows are written.
    #[inline]
    pub(crate) fn outbox(&mut self) -> &mut Vec<u8> {
        &mut self.outbox
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.outbox.len() >= FLUSH_BYTES
    }

    /// Sends what was gathered. May be dropped and called again.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        while let Some(rest) = self.outbox.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                sent => self.sent += sent,
            }
        }
        self.sent = 0;
        self.outbox.clear();
        if self.outbox.capacity() > KEEP_BYTES_MAX {
            self.outbox = Vec::new();
        }
        self.stream.flush().await
    }

    /// Sends what was gathered and closes the sending side.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.stream.shutdown().await
    }
}

/// A message of a client, after startup.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frontend {
    Query(String),
    Parse {
        name: String,
        text: String,
        /// Type ids; 0 for not said.
        types: Vec<u32>,
    },
    Bind(Bind),
    Describe {
        target: Target,
        name: String,
    },
    Execute {
        portal: String,
        /// 0 for all.
        rows_max: u32,
    },
    Close {
        target: Target,
        name: String,
    },
    Flush,
    Sync,
    Terminate,
    FunctionCall,
    /// Left over from a copy that never began.
    Copy,
    /// Part of authentication.
    Password(Bytes),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Statement,
    Portal,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bind {
    pub(crate) portal: String,
    pub(crate) statement: String,
    pub(crate) parameter_formats: Vec<i16>,
    /// `None` for NULL.
    pub(crate) parameters: Vec<Option<Bytes>>,
    pub(crate) result_formats: Vec<i16>,
}

impl Frontend {
    const KINDS: &'static [u8] = b"QPBDECHSXFdcfp";

    /// Reads one frame, wholly.
    pub(crate) fn decode(kind: u8, body: Bytes) -> Result<Self, Malformed> {
        let mut body = Body(body);
        let message = match kind {
            b'Q' => Frontend::Query(body.text()?),
            b'P' => Frontend::Parse {
                name: body.text()?,
                text: body.text()?,
                types: body.many(|b| b.take(4).map(|mut t| t.get_u32()))?,
            },
            b'B' => Frontend::Bind(Bind {
                portal: body.text()?,
                statement: body.text()?,
                parameter_formats: body.many(Body::i16)?,
                parameters: body.many(Body::value)?,
                result_formats: body.many(Body::i16)?,
            }),
            b'D' => Frontend::Describe { target: body.target()?, name: body.text()? },
            b'E' => Frontend::Execute { portal: body.text()?, rows_max: u32::try_from(body.i32()?).unwrap_or(0) },
            b'C' => Frontend::Close { target: body.target()?, name: body.text()? },
            b'H' => Frontend::Flush,
            b'S' => Frontend::Sync,
            b'X' => Frontend::Terminate,
            b'F' | b'd' | b'c' | b'f' => {
                return Ok(if kind == b'F' { Frontend::FunctionCall } else { Frontend::Copy });
            }
            b'p' => return Ok(Frontend::Password(body.0)),
            _ => return Err(Malformed::Frame),
        };
        if body.0.is_empty() { Ok(message) } else { Err(Malformed::Frame) }
    }
}

/// The rest of one frame.
pub(crate) struct Body(pub(crate) Bytes);

impl Body {
    fn take(&mut self, length: usize) -> Result<Bytes, Malformed> {
        if self.0.len() < length { Err(Malformed::Frame) } else { Ok(self.0.split_to(length)) }
    }

    fn i16(&mut self) -> Result<i16, Malformed> {
        Ok(self.take(2)?.get_i16())
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(self.take(4)?.get_i32())
    }

    /// Up to the next zero byte.
    pub(crate) fn text(&mut self) -> Result<String, Malformed> {
        let length = self.0.iter().position(|b| *b == 0).ok_or(Malformed::Frame)?;
        let bytes = self.take(length)?;
        self.0.advance(1);
        String::from_utf8(bytes.into()).map_err(|_| Malformed::Text)
    }

    /// A length, -1 for NULL, and so many bytes.
    pub(crate) fn value(&mut self) -> Result<Option<Bytes>, Malformed> {
        match self.i32()? {
            -1 => Ok(None),
            length => self.take(usize::try_from(length).map_err(|_| Malformed::Frame)?).map(Some),
        }
    }

    fn target(&mut self) -> Result<Target, Malformed> {
        match self.take(1)?.get_u8() {
            b'S' => Ok(Target::Statement),
            b'P' => Ok(Target::Portal),
            _ => Err(Malformed::Frame),
        }
    }

    /// A count and so many items. Nothing is allocated on the count's word.
    fn many<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
        let count = self.take(2)?.get_u16();
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.put_u32(u32::try_from(body.len()).unwrap() + 4);
        bytes.extend_from_slice(body);
        bytes
    }

    /// What a connection makes of these bytes, one after the other, until the end.
    async fn inputs(bytes: &[u8], bytes_max: usize) -> Vec<String> {
        let (mut client, server) = tokio::io::duplex(16);
        let sent = bytes.to_vec();
        let sender = tokio::spawn(async move { client.write_all(&sent).await });
        let mut connection = Connection::new(server);
        let mut seen = Vec::new();
        loop {
            match connection.input(bytes_max).await.unwrap() {
                Input::Frame { kind, body } => {
                    seen.push(format!("{} {:?}", char::from(kind), Frontend::decode(kind, body)))
                }
                Input::TooLong { kind } => seen.push(format!("{} too long", char::from(kind))),
                Input::Garbage => {
                    seen.push("garbage".to_owned());
                    break;
                }
                Input::Closed => break,
            }
        }
        drop(connection);
        let _ = sender.await.unwrap();
        seen
    }

    #[tokio::test]
    async fn frames_arrive_in_pieces_and_long_ones_are_skipped() {
        let mut bytes = frame(b'Q', b"select 1\0");
        bytes.extend(frame(b'Q', &[b'x'; 1000]));
        bytes.extend(frame(b'S', b""));
        assert_eq!(inputs(&bytes, 100).await, ["Q Ok(Query(\"select 1\"))", "Q too long", "S Ok(Sync)"]);
    }

    #[tokio::test]
    async fn nonsense_ends_the_reading() {
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"Q\xff\xff\xff\xff....", b"Q\0\0\0\x03", b"\0\0\0\0\0\0\0\0"] {
            assert_eq!(inputs(bytes, 100).await, ["garbage"], "{bytes:?}");
        }
    }

    #[test]
    fn a_body_that_does_not_fit_is_malformed() {
        let cases: [(u8, &[u8]); 8] = [
            (b'Q', b"no end"),
            (b'Q', b"a\0b"),
            (b'P', b"\0select 1\0\xff\xff"),
            (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0"),
            (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"),
            (b'D', b"Xname\0"),
            (b'E', b"\0\0\0"),
            (b'S', b"x"),
        ];
        for (kind, body) in cases {
            assert_eq!(Frontend::decode(kind, Bytes::from_static(body)), Err(Malformed::Frame), "{body:?}");
        }
        assert_eq!(Frontend::decode(b'Q', Bytes::from_static(b"\xc3\x28\0")), Err(Malformed::Text));
    }

    #[test]
    fn a_bind_is_read_whole() {
        let body = b"p\0s\0\0\x01\0\x01\0\x02\xff\xff\xff\xff\0\0\0\x02hi\0\x01\0\0";
        let expected = Bind {
            portal: "p".to_owned(),
            statement: "s".to_owned(),
            parameter_formats: vec![1],
            parameters: vec![None, Some(Bytes::from_static(b"hi"))],
            result_formats: vec![0],
        };
        assert_eq!(Frontend::decode(b'B', Bytes::from_static(body)), Ok(Frontend::Bind(expected)));
    }
}
