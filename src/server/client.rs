//! Noticing that a client has left.
//!
//! A client that closes its connection and one that only shuts down its writing side look the same: nothing more can be read. The
//! difference shows when something is written: who has left does not accept it. So once reading ends, something harmless is
//! written, and writing fails if there is nobody. Work for nobody is cancelled; the other kind of client gets its answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_stream::stream;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::error::ApiError;

/// HTTP's own way of saying that an answer will come. Every client of HTTP/1.1 must skip it.
const PROBE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A comment of an event stream, which clients skip.
const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// How long the other end's refusal of written bytes may take to arrive.
const REFUSAL: Duration = Duration::from_millis(200);

/// The pauses between probes. There are few: some clients accept only five interim answers.
const PAUSES: [Duration; 4] = [Duration::ZERO, Duration::from_secs(10), Duration::from_secs(60), Duration::from_secs(300)];

/// The client at the other end of a connection.
#[derive(Clone)]
pub(crate) struct Client(Arc<TcpStream>);

impl Client {
    pub(crate) fn new(stream: Arc<TcpStream>) -> Self {
        Self(stream)
    }

    /// Completes when the client will send nothing more: it has left, or it has closed its writing side.
    async fn has_said_all(&self) {
        // Bytes that nobody reads yet, such as the next request's, do not hide that nothing more will come.
        while self.0.ready(Interest::READABLE).await.is_ok_and(|ready| !ready.is_read_closed()) {
            sleep(REFUSAL).await;
        }
    }

    /// Completes when the client has left. For the time before the answer begins.
    async fn left(&self) {
        self.has_said_all().await;
        for pause in PAUSES {
            sleep(pause).await;
            if matches!(self.0.try_write(PROBE), Err(error) if error.kind() != io::ErrorKind::WouldBlock) {
                return;
            }
            sleep(REFUSAL).await;
            if !matches!(self.0.take_error(), Ok(None)) {
                return;
            }
        }
        std::future::pending().await
    }
}

/// Drops the handler of a client that has left, and notices it in the middle of a stream.
pub(crate) async fn watch(request: Request, next: Next) -> Response {
    let Some(client) = request.extensions().get::<Client>().cloned() else { return next.run(request).await };
    let response = tokio::select! {
        response = next.run(request) => response,
        () = client.left() => return ApiError::client_left().into_response(),
    };
    let is_stream = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    if is_stream { response.map(|body| Body::from_stream(with_comments(body, client))) } else { response }
}

/// The stream, with comments where the client has said all, so that writing fails if it has left.
fn with_comments(body: Body, client: Client) -> impl futures::Stream<Item = Result<Bytes, axum::Error>> + Send {
    stream! {
        let mut frames = body.into_data_stream();
        let mut has_said_all = std::pin::pin!(client.has_said_all());
        let mut is_probed = false;
        loop {
            tokio::select! {
                frame = frames.next() => match frame {
                    Some(frame) => yield frame,
                    None => return,
                },
                () = &mut has_said_all, if !is_probed => {
                    is_probed = true;
                    yield Ok(COMMENT);
                    sleep(REFUSAL).await;
                    yield Ok(COMMENT);
                }
            }
        }
    }
}
