//! Listening, and stopping in good order.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use rustix::io::Errno;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::app::{App, ServerOptions};
use super::connection::Connections;
use super::metrics::Totals;
use super::routes::router;
use crate::backend::{Backend, CacheReport};

/// Most connections at once. Those beyond wait in the system's queue; idle ones are closed after half a minute.
const MOST_CONNECTIONS: usize = 1024;

/// How long answers in progress may go on after the shutdown began.
const GRACE: Duration = Duration::from_secs(5);

/// How long nothing is accepted after the system had no means for another connection: until then some may be closed.
const PAUSE: Duration = Duration::from_millis(500);

/// A server for one backend. It answers requests while [`Server::run`] runs.
pub struct Server {
    app: Arc<App>,
}

impl Server {
    /// A server that does not listen yet.
    pub fn new(backend: Arc<dyn Backend>, options: ServerOptions) -> Self {
        Self { app: Arc::new(App::new(backend, options)) }
    }

    /// Counts of everything answered so far.
    pub fn totals(&self) -> Totals {
        self.app.metrics.totals()
    }

    /// The contents and counts of the backend's prefix cache, if it reports them.
    pub fn cache_report(&self) -> Option<CacheReport> {
        self.app.cache_report()
    }

    /// Answers requests until `shutdown` completes. Answers in progress then get a few more seconds.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn run(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let connections = Connections::new(router(self.app.clone())).for_long_answers();
        serve(listener, connections, MOST_CONNECTIONS, shutdown).await
    }
}

/// Serves clients, `most` at once, until `shutdown` completes. Answers in progress then get a few more seconds.
///
/// # Errors
/// The listener fails.
pub(crate) async fn serve(
    listener: TcpListener,
    connections: Connections,
    most: usize,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
    let accept = async || {
        // The semaphore is never closed.
        let place = room.clone().acquire_owned().await.ok();
        listener.accept().await.map(|(stream, peer)| (place, stream, peer))
    };
    let open = GracefulShutdown::new();
    let mut served = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        // Ended connections would otherwise stay in the set until shutdown.
        while served.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = accept() => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((place, stream, peer)) => {
                let connection = open.watch(connections.serve(stream, peer));
                served.spawn(async move {
                    let _place = place;
                    connection.await
                });
            }
            Err(error) => wait_or_give_up(error).await?,
        }
    }
    drop(listener);
    if timeout(GRACE, open.shutdown()).await.is_err() {
        tracing::info!("stopped in the middle of answers");
        // They hold the backend, which must end before the process does.
        served.shutdown().await;
    }
    Ok(())
}

/// Whether accepting can go on after this error, at once or after a pause.
async fn wait_or_give_up(error: io::Error) -> io::Result<()> {
    match (error.kind(), Errno::from_io_error(&error)) {
        // The client left before it was accepted.
        (ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused, _) => Ok(()),
        // The listener itself is broken. All other errors are of the new connection, or of a system without means for it.
        (_, Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK)) => Err(error),
        _ => {
            tracing::warn!(%error, "no connection can be accepted at the moment");
            sleep(PAUSE).await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_broken_listener_ends_the_server() {
        for passing in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NETDOWN, Errno::PERM, Errno::CONNABORTED] {
            wait_or_give_up(passing.into()).await.unwrap();
        }
        for broken in [Errno::BADF, Errno::INVAL, Errno::NOTSOCK] {
            wait_or_give_up(broken.into()).await.unwrap_err();
        }
    }
}
