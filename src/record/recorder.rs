//! Starting and stopping a recorder.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::middleware::from_fn_with_state;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::descriptors::most_clients;
use super::door::{Door, guard};
use super::error::RecordError;
use super::exchange;
use super::notice::Notice;
use super::sessions::Sessions;
use super::state::RecorderState;
use super::upstreams::{UpstreamRoute, Upstreams};
use super::writer::TraceWriter;
use crate::server::{Connections, serve};
use crate::trace::redact::Redactor;

/// How long open exchanges may go on after the recorder was told to stop.
const GRACE: Duration = Duration::from_secs(3);

/// The number of permits for open exchanges: more than a machine has sockets. Acquiring all of them waits for every exchange.
const MAX_OPEN: u32 = 1 << 20;

/// How often old sessions are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(10 * 60);

/// A recorder that listens. It serves once it is run.
#[derive(Debug)]
pub struct Recorder {
    listener: TcpListener,
    state: Arc<RecorderState>,
}

impl Recorder {
    /// Listens on 127.0.0.1; port 0 takes any free one. What the redactor finds is kept out of the traces. The receiver gets the
    /// notices and ends with the recorder.
    ///
    /// # Errors
    /// The port is taken, or the HTTP client or the writing thread cannot be set up.
    pub async fn bind(
        upstreams: impl Into<Upstreams>,
        port: u16,
        sessions: impl Into<Sessions>,
        door: Door,
        redactor: &Redactor,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Notice>), RecordError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => RecordError::PortInUse { port },
            _ => RecordError::Bind { port, source },
        })?;
        let upstreams = upstreams.into();
        let own_port = listener.local_addr().map_err(|source| RecordError::Bind { port, source })?.port();
        if let Some(route) = upstreams.routes().iter().find(|route| route.upstream.is_at(own_port)) {
            // Each request would come back to it, and be recorded, without end.
            return Err(RecordError::Upstream {
                given: route.to_string(),
                reason: "this recorder itself listens there".to_owned(),
            });
        }
        let with_client = |route: &UpstreamRoute| route.upstream.client().map(|client| (route.clone(), client));
        let routes = upstreams.routes().iter().map(with_client).collect::<Result<_, reqwest::Error>>()?;
        let (notices, receiver) = mpsc::unbounded_channel();
        let writer = TraceWriter::start(notices.clone(), redactor.clone()).map_err(RecordError::Thread)?;
        let open = Arc::new(Semaphore::new(MAX_OPEN as usize));
        let bodies = Arc::new(Semaphore::new(exchange::MOST_IN_BODIES));
        let cut = CancellationToken::new();
        let (door, sessions) = (Arc::new(door), sessions.into().naming_without_secrets(redactor.clone()));
        let state = Arc::new(RecorderState { door, routes, sessions, writer, notices, open, bodies, cut });
        Ok((Self { listener, state }, receiver))
    }

    /// The address that clients connect to.
    ///
    /// # Errors
    /// The system does not report the socket's address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` completes, then returns its output. Open exchanges get a moment to end; after it they are cut off and
    /// recorded as truncated. Every trace is on the disk when this returns.
    pub async fn run<T>(self, stop: impl Future<Output = T>) -> T {
        let state = self.state;
        let routes = Router::new().fallback(exchange::handle);
        let routes = routes.layer(from_fn_with_state(state.door.clone(), guard));
        // Outside of the guard, so that a page reads its refusals too.
        let routes = match state.door.allowed.cors() {
            Some(cors) => routes.layer(cors),
            None => routes,
        };
        let routes = routes.with_state(state.clone());
        let stopping = CancellationToken::new();
        let stopped = stopping.clone().cancelled_owned();
        let server = tokio::spawn(serve(self.listener, Connections::new(routes), most_clients(), stopped));
        let sweeping = tokio::spawn(sweep_again_and_again(state.clone()));
        let output = stop.await;
        sweeping.abort();
        stopping.cancel();
        if tokio::time::timeout(GRACE, state.open.acquire_many(MAX_OPEN)).await.is_err() {
            state.cut.cancel();
            // Fails only if the semaphore were closed, which nothing does.
            drop(state.open.acquire_many(MAX_OPEN).await);
        }
        // Every trace is written now. Clients that keep their connections open are not waited for.
        drop(tokio::time::timeout(GRACE, server).await);
        output
    }
}

/// Removes old sessions, at the start and then from time to time.
async fn sweep_again_and_again(state: Arc<RecorderState>) {
    let mut clock = tokio::time::interval(SWEEP_EVERY);
    loop {
        clock.tick().await;
        let removed = state.sessions.sweep(SystemTime::now()).await;
        if removed.sessions > 0 {
            tracing::info!(removed.sessions, removed.traces, removed.bytes, "old sessions were removed");
            // Fails if nothing listens to the notices any more.
            state.notices.send(Notice::Removed(removed)).ok();
        }
    }
}
