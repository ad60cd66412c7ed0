//! Servers of the test's own, each on a thread of its own: tests may block, servers go on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use anyclaude::backend::Backend;
use anyclaude::server::{Server, ServerOptions};
use axum::Router;
use tokio::net::TcpListener;

/// Serves routes on a free port of 127.0.0.1 until the test's process ends; gives the base URL.
pub(crate) fn routes(routes: Router) -> String {
    run(|listener| async move { axum::serve(listener, routes).await.unwrap() })
}

/// Serves a backend in the same way.
pub(crate) fn backend(backend: Arc<dyn Backend>, options: ServerOptions) -> String {
    let server = Server::new(backend, options);
    run(|listener| async move { server.run(listener, std::future::pending()).await.unwrap() })
}

/// Runs a server on a free port of 127.0.0.1; gives the base URL.
fn run<F: Future<Output = ()>>(server: impl FnOnce(TcpListener) -> F + Send + 'static) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { server(TcpListener::from_std(listener).unwrap()).await });
    });
    format!("http://{address}")
}

/// The base URL of a port where nobody listens.
pub(crate) fn nobody() -> String {
    // Free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}
