//! The recording reverse proxy: streams every exchange through unchanged and writes it as a trace.
//!
//! Owns the sockets and the order of things: a trace is on the disk before the client sees the end of its answer. What a
//! trace holds and how it is written is `trace`'s; what the user sees is `cli`'s, which listens to [`Notice`]s.
//!
//! One task per exchange (`exchange`) reads the upstream and feeds the client. On the way every chunk passes the tap
//! (`tap`), which decompresses, splits events and stamps them; one thread (`writer`) redacts and writes them
//! (`exchange_file`).

mod decode;
mod exchange;
mod exchange_file;
mod headers;
mod session;
mod sse;
mod tap;
mod upstream;
mod writer;

pub use session::Session;
pub use upstream::Upstream;

use std::future::{Future, IntoFuture};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use self::writer::Writer;
use crate::trace::{ExchangeOutcome, TraceError};
use crate::wire::Usage;

/// How long open exchanges may go on once the recorder was told to stop.
const GRACE: Duration = Duration::from_secs(1);

/// How many exchanges may be open at once: more than a machine has sockets for. Taking all permits is waiting for all.
const MAX_OPEN: u32 = 1 << 20;

/// Why the recorder cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("--upstream {given}: {reason}; give a base URL like https://api.anthropic.com or http://127.0.0.1:8081")]
    Upstream { given: String, reason: String },
    #[error("--session {name}: it becomes a folder's name, so use letters, digits, '-', '_' and '.' only")]
    SessionName { name: String },
    #[error("port {port} on 127.0.0.1 is in use; stop what listens there, or choose another with --port (0: any free one)")]
    PortInUse { port: u16 },
    #[error("cannot listen on 127.0.0.1:{port}: {source}; choose another port with --port (0: any free one)")]
    Bind { port: u16, source: io::Error },
    #[error("cannot write to {}: {source}; choose another folder with --out", .folder.display())]
    Folder { folder: PathBuf, source: io::Error },
    #[error("another recorder writes to {}; choose another name with --session", .folder.display())]
    InUse { folder: PathBuf },
    #[error("cannot set up the HTTP client: {0}; check the machine's TLS certificates and proxy settings")]
    Client(#[from] reqwest::Error),
    #[error("cannot start the thread that writes traces: {0}; is the machine's limit of threads reached?")]
    Thread(io::Error),
}

/// What happens while recording, for whoever shows it.
#[derive(Debug)]
pub enum Notice {
    /// An exchange was opened.
    Opened,
    /// This many bytes went to a client.
    Bytes(usize),
    /// An exchange ended and is on the disk.
    Recorded(Recorded),
    /// An exchange, or a part of it, could not be written.
    Failed(TraceError),
}

/// The outline of a recorded exchange.
#[derive(Debug)]
pub struct Recorded {
    pub seq: u32,
    pub method: String,
    pub path: String,
    /// HTTP status; 0 where none came.
    pub status: u16,
    pub events: usize,
    pub ttft_us: Option<u64>,
    pub e2e_us: Option<u64>,
    pub outcome: ExchangeOutcome,
    /// The tokens that the answer says it took.
    pub usage: Option<Usage>,
}

/// A recorder that listens already, and serves once it is run.
#[derive(Debug)]
pub struct Recorder {
    listener: TcpListener,
    shared: Arc<Shared>,
}

/// What all exchanges share.
#[derive(Debug)]
struct Shared {
    upstream: Upstream,
    client: reqwest::Client,
    session: Session,
    writer: Writer,
    notices: mpsc::UnboundedSender<Notice>,
    /// One permit for each open exchange; held until its trace is on the disk.
    open: Arc<Semaphore>,
    /// Cancelled when open exchanges must end now.
    cut: CancellationToken,
}

impl Recorder {
    /// Listens on 127.0.0.1 (`port` 0: any free one). Notices come through the receiver, which ends with the recorder.
    pub async fn bind(
        upstream: Upstream,
        port: u16,
        session: Session,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Notice>), RecordError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => RecordError::PortInUse { port },
            _ => RecordError::Bind { port, source },
        })?;
        let client = upstream.client()?;
        let (notices, receiver) = mpsc::unbounded_channel();
        let writer = Writer::start(notices.clone()).map_err(RecordError::Thread)?;
        let open = Arc::new(Semaphore::new(MAX_OPEN as usize));
        let shared = Arc::new(Shared { upstream, client, session, writer, notices, open, cut: CancellationToken::new() });
        Ok((Self { listener, shared }, receiver))
    }

    /// Where clients reach it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is done. Then open exchanges get a moment to end; what is open after it is cut off and recorded
    /// as truncated. Returns, with what `stop` gave, when every trace is on the disk.
    pub async fn run<T>(self, stop: impl Future<Output = T>) -> T {
        let shared = self.shared;
        let routes = Router::new().fallback(exchange::handle).with_state(shared.clone());
        // An event must not wait for the next one in the kernel.
        let listener = self.listener.tap_io(|socket| drop(socket.set_nodelay(true)));
        let stopping = CancellationToken::new();
        let server = axum::serve(listener, routes).with_graceful_shutdown(stopping.clone().cancelled_owned());
        let server = tokio::spawn(server.into_future());
        let outcome = stop.await;
        stopping.cancel();
        if tokio::time::timeout(GRACE, shared.open.acquire_many(MAX_OPEN)).await.is_err() {
            shared.cut.cancel();
            // Fails only if the semaphore were closed, which nobody does.
            drop(shared.open.acquire_many(MAX_OPEN).await);
        }
        // Every trace is written. A client that does not close its connection is not waited for.
        drop(tokio::time::timeout(GRACE, server).await);
        outcome
    }
}
