//! Listening, and stopping in good order.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::app::{App, ServerOptions};
use super::metrics::Totals;
use super::routes::router;
use crate::backend::{Backend, CacheReport};

/// How long answers in progress may go on after the shutdown began.
const GRACE: Duration = Duration::from_secs(5);

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
        let (stopping, stopped) = oneshot::channel();
        let shutdown = async move {
            shutdown.await;
            // Fails only if the receiver below is gone, and then nothing waits for it.
            let _ = stopping.send(());
        };
        let listener = listener.tap_io(|stream| {
            // Otherwise the kernel holds small frames back, and every token is late.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "no TCP_NODELAY");
            }
        });
        let service = router(self.app.clone()).into_make_service_with_connect_info::<SocketAddr>();
        let serving = axum::serve(listener, service).with_graceful_shutdown(shutdown).into_future();
        let grace = async {
            // An error means that serving ended by itself, which the other branch reports.
            if stopped.await.is_ok() {
                tokio::time::sleep(GRACE).await;
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            result = serving => result,
            () = grace => Ok(()),
        }
    }
}
