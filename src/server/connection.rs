//! One client's connection.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{Request, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::net::{Shutdown, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tower::ServiceExt;

use super::at_work::{AtWork, GuardedBody};
use super::client::Client;
use super::refused_head;

/// Size of the kernel's send buffer, in bytes. By default it grows to megabytes: a whole answer fits in it, and nobody would ever
/// notice that the client does not read.
const SEND_BUFFER: usize = 32 * 1024;

/// How long the head of a request may take to arrive.
const LONGEST_HEAD: Duration = Duration::from_secs(30);

/// How long what follows a refused head is read.
const LONGEST_LINGERING: Duration = Duration::from_secs(2);

/// How connections are served.
pub(crate) struct Connections {
    http: Builder,
    router: Router,
    /// Size of the kernel's send buffer; `None` for the kernel's own choice.
    send_buffer: Option<usize>,
}

impl Connections {
    pub(crate) fn new(router: Router) -> Self {
        let mut http = Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(LONGEST_HEAD);
        Self { http, router, send_buffer: None }
    }

    /// The same where answers take long to compute.
    pub(crate) fn for_long_answers(mut self) -> Self {
        // A client that shuts its writing side down after the request still gets its answer. Whether it has left altogether is
        // found out by `Client`.
        self.http.half_close(true);
        Self { send_buffer: Some(SEND_BUFFER), ..self }
    }

    /// Serves one connection until it ends.
    pub(crate) fn serve(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> impl GracefulConnection<Error = hyper::Error> + Send + 'static {
        // Otherwise the kernel holds small frames back, and every token is late.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        if let Some(size) = self.send_buffer
            && let Err(error) = set_socket_send_buffer_size(&stream, size)
        {
            tracing::debug!(%error, "no SO_SNDBUF");
        }
        let stream = Arc::new(stream);
        let (router, client) = (self.router.clone(), Client::new(stream.clone()));
        let at_work = AtWork::default();
        let stream = SharedStream::new(stream, at_work.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let guard = at_work.begin();
            request.extensions_mut().insert(ConnectInfo(peer));
            // HTTP/1.0 has no interim answers.
            if request.version() == Version::HTTP_11 {
                request.extensions_mut().insert(client.clone());
            }
            let answer = router.clone().oneshot(request);
            async move { answer.await.map(|answer| answer.map(|body| GuardedBody { body, _guard: guard })) }
        });
        self.http.serve_connection(TokioIo::new(stream), service)
    }
}

/// A connection that is looked at from elsewhere while hyper reads and writes it.
struct SharedStream {
    stream: Arc<TcpStream>,
    at_work: AtWork,
    /// Whether the request that comes or is at work is a HEAD; `None` before its first byte.
    is_head: Option<bool>,
    /// What is left to write of the answer to a head that hyper has refused. It is the last one.
    refusal: Option<Vec<u8>>,
    /// How long the rest of what was refused is still read.
    lingering: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for SharedStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(context))?;
            match self.stream.try_read(buffer.initialize_unfilled()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(read) => {
                    buffer.advance(read);
                    let start = buffer.filled().trim_ascii_start();
                    self.is_head.get_or_insert_with(|| start.starts_with(b"HEAD "));
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl SharedStream {
    fn new(stream: Arc<TcpStream>, at_work: AtWork) -> Self {
        Self { stream, at_work, is_head: None, refusal: None, lingering: None }
    }

    /// Writes our words in place of hyper's bare refusal, if that is what these bytes are; `None` if they are something else.
    fn poll_refusing(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Option<Poll<io::Result<usize>>> {
        if self.refusal.is_none() && self.at_work.is_idle() {
            self.refusal = refused_head::in_envelope(bytes, self.is_head.unwrap_or_default());
        }
        let mut rest = self.refusal.take()?;
        while !rest.is_empty() {
            match self.poll_writing(context, |stream| stream.try_write(&rest)) {
                Poll::Ready(Ok(written)) => drop(rest.drain(..written)),
                other => {
                    self.refusal = Some(rest);
                    return Some(other);
                }
            }
        }
        self.refusal = Some(rest);
        Some(Poll::Ready(Ok(bytes.len())))
    }

    /// Reads what the client still sends of a request that was refused: who is cut off while writing may not see the answer.
    fn poll_lingering(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let lingering = self.lingering.get_or_insert_with(|| Box::pin(sleep(LONGEST_LINGERING)));
        let mut unread = [0; 8192];
        loop {
            if lingering.as_mut().poll(context).is_ready() || ready!(self.stream.poll_read_ready(context)).is_err() {
                return Poll::Ready(());
            }
            match self.stream.try_read(&mut unread) {
                Ok(read) if read > 0 => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => return Poll::Ready(()),
            }
        }
    }

    fn poll_writing(
        &self,
        context: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            match write(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }
}

impl AsyncWrite for SharedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(refused) = self.poll_refusing(context, bytes) {
            return refused;
        }
        self.poll_writing(context, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [first, ..] = slices
            && let Some(refused) = self.poll_refusing(context, first)
        {
            return refused;
        }
        self.poll_writing(context, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The kernel holds what is written; there is nothing to flush. Hyper comes here once its own buffer is empty.
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.at_work.written() {
            self.is_head = None;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            shutdown(&*self.stream, Shutdown::Write)?;
        }
        if self.refusal.is_some() {
            ready!(self.poll_lingering(context));
        }
        Poll::Ready(Ok(()))
    }
}
