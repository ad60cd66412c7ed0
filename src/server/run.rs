//! Listening, and stopping in good order.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::Server;

/// How long answers in flight may go on after the shutdown began.
const GRACE: Duration = Duration::from_secs(5);

impl Server {
    /// Answers requests until `shutdown` completes; answers in flight then get a few more seconds.
    pub async fn run(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let (stopping, stopped) = oneshot::channel();
        let shutdown = async move {
            shutdown.await;
            // Fails only where the receiver below is gone, and then nobody waits for it.
            let _ = stopping.send(());
        };
        let listener = listener.tap_io(|stream| {
            // Without it small frames wait for each other, and every token is late.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "no TCP_NODELAY");
            }
        });
        let service = self.router().into_make_service_with_connect_info::<SocketAddr>();
        let serving = axum::serve(listener, service).with_graceful_shutdown(shutdown).into_future();
        let grace = async {
            // An error means that serving ended by itself: the other branch reports it.
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
