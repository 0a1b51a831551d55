//! Connections before HTTP/2: how many, TLS, and the time that a client has to log in.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Sleep;
use tonic::transport::server::Connected;
use weir_gateway::{Tls, common_name};

/// Pause after a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that wait to be taken over by the server.
const READY_MAX: usize = 16;

/// Who is at the other end.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    /// Of the certificate that the client showed.
    pub(crate) common_name: Option<String>,
    /// Somebody has logged in on this connection, or shown a token.
    pub(crate) known: AtomicBool,
    pub(crate) failed_logins: AtomicU32,
}

/// A plain or an encrypted stream.
trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

pub(crate) struct Connection {
    io: Box<dyn Io>,
    peer: Arc<Peer>,
    /// Until when somebody has to be known.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Given back when the connection ends.
    _place: OwnedSemaphorePermit,
}

/// Takes connections for as long as the stream lives.
pub(crate) fn incoming(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    connections_max: usize,
    startup_timeout: Duration,
) -> impl Stream<Item = Result<Connection, Infallible>> {
    let (put, take) = mpsc::channel(READY_MAX);
    let places = Arc::new(Semaphore::new(connections_max));
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = put.closed() => return,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::warn!("a connection was dropped: too many are open");
                continue;
            };
            let (tls, put) = (tls.clone(), put.clone());
            tokio::spawn(async move {
                let started = tokio::time::timeout(startup_timeout, start(stream, tls.as_deref())).await;
                if let Ok(Ok((io, peer))) = started {
                    let deadline = Some(Box::pin(tokio::time::sleep(startup_timeout)));
                    // The server may have stopped.
                    let _ = put.send(Ok(Connection { io, peer: Arc::new(peer), deadline, _place: place })).await;
                }
            });
        }
    });
    stream::unfold(take, |mut take| async { Some((take.recv().await?, take)) })
}

async fn start(stream: TcpStream, tls: Option<&Tls>) -> io::Result<(Box<dyn Io>, Peer)> {
    // Without it, small answers wait for the client's acknowledgement.
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok((Box::new(stream), Peer::default())) };
    let stream = tls.acceptor.accept(stream).await?;
    let common_name = common_name(stream.get_ref().1.peer_certificates());
    Ok((Box::new(stream), Peer { common_name, ..Peer::default() }))
}

impl Connected for Connection {
    type ConnectInfo = Arc<Peer>;

    fn connect_info(&self) -> Arc<Peer> {
        Arc::clone(&self.peer)
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.peer.known.load(Ordering::Relaxed) {
            self.deadline = None;
        }
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            tracing::debug!("authentication took too long");
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.io).poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn pair(
        connections: &mut (impl Stream<Item = Result<Connection, Infallible>> + Unpin),
        address: std::net::SocketAddr,
    ) -> (TcpStream, Connection) {
        let client = TcpStream::connect(address).await.unwrap();
        let Ok(server) = connections.next().await.unwrap();
        (client, server)
    }

    #[tokio::test]
    async fn who_does_not_log_in_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connections = Box::pin(incoming(listener, None, 2, Duration::from_millis(20)));
        let (mut client, mut server) = pair(&mut connections, address).await;
        let (_silent, mut unknown) = pair(&mut connections, address).await;
        server.peer.known.store(true, Ordering::Relaxed);
        let mut byte = [0];
        let ended = unknown.read(&mut byte).await.unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        client.write_all(b"x").await.unwrap();
        assert_eq!(server.read(&mut byte).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn so_many_connections_are_open_and_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connections = Box::pin(incoming(listener, None, 1, Duration::from_mins(1)));
        let (_client, server) = pair(&mut connections, address).await;
        let mut second = TcpStream::connect(address).await.unwrap();
        assert_eq!(second.read(&mut [0]).await.unwrap(), 0, "closed");
        drop(server);
        pair(&mut connections, address).await;
    }
}
