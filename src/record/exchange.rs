//! One exchange: the request to the upstream, the answer to the client, and who left first.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use time::OffsetDateTime;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::exchange_file::Incoming;
use super::tap::Tap;
use super::{Notice, Shared, headers};
use crate::net::root_cause;
use crate::trace::ExchangeOutcome;
use crate::wire::{ErrorBody, ErrorKind};

/// Chunks that may wait for a slow client before the upstream is made to wait.
const CHUNKS_AHEAD: usize = 16;

/// Chunks for the client; at last `None` where the answer ended in order.
type ToClient = mpsc::Sender<Option<Bytes>>;

/// Answers one request. The exchange itself is a task of its own, so that it is recorded to its end even if the client's
/// connection, and this future with it, is gone.
pub(super) async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let Ok(permit) = shared.open.clone().try_acquire_owned() else { return stopped() };
    let arrived = OffsetDateTime::now_utc();
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
        return error(StatusCode::BAD_REQUEST, ErrorKind::InvalidRequest, "the request's body did not come whole");
    };
    let place = is_recorded(&parts).then(|| shared.session.take());
    let (answer, answered) = oneshot::channel();
    tokio::spawn(async move {
        let permit = Arc::new(permit);
        let tap = place.map(|(seq, trace)| {
            let incoming = Incoming {
                seq,
                session: shared.session.name().to_owned(),
                mode: shared.session.mode().to_owned(),
                trace,
                arrived,
                method: parts.method.clone(),
                path: path_and_query(&parts).to_owned(),
                headers: parts.headers.clone(),
                body: body.clone(),
            };
            start_tap(&shared, incoming, &permit)
        });
        run(&shared, parts, body, tap, answer).await;
        drop(permit);
    });
    // The task leaves without an answer only where the recorder was stopped.
    answered.await.unwrap_or_else(|_| stopped())
}

fn start_tap(shared: &Shared, incoming: Incoming, permit: &Arc<OwnedSemaphorePermit>) -> Tap {
    let is_messages = incoming.path.split('?').next() == Some("/v1/messages");
    // Notices may go unheard.
    shared.notices.send(Notice::Opened).ok();
    Tap::new(shared.writer.open(incoming, permit.clone()), is_messages)
}

/// Only the API is recorded; other paths just pass.
fn is_recorded(parts: &Parts) -> bool {
    parts.uri.path().starts_with("/v1/")
}

fn path_and_query(parts: &Parts) -> &str {
    parts.uri.path_and_query().map_or("/", |path| path.as_str())
}

async fn run(shared: &Shared, parts: Parts, body: Bytes, mut tap: Option<Tap>, mut answer: oneshot::Sender<Response>) {
    let sending = send(shared, &parts, body);
    let response = tokio::select! {
        response = sending => response,
        () = answer.closed() => return cut(&mut tap, ExchangeOutcome::ClientClosed).await,
        () = shared.cut.cancelled() => return cut(&mut tap, ExchangeOutcome::Truncated).await,
    };
    let response = match response {
        Ok(response) => response,
        Err(reason) => {
            cut(&mut tap, ExchangeOutcome::UpstreamError).await;
            let message = format!("anyclaude record: no answer from {}: {reason}", shared.upstream);
            tracing::warn!("no answer from {}: {reason}; is it running, and is --upstream right?", shared.upstream);
            answer.send(error(StatusCode::BAD_GATEWAY, ErrorKind::Api, &message)).ok();
            return;
        }
    };
    if let Some(tap) = &mut tap {
        let bodiless = parts.method == Method::HEAD || matches!(response.status().as_u16(), 204 | 304);
        tap.response(response.status().as_u16(), response.headers(), bodiless).await;
    }
    let (to_client, chunks) = mpsc::channel(CHUNKS_AHEAD);
    let mut head = Response::new(body_of(chunks));
    *head.status_mut() = response.status();
    *head.headers_mut() = headers::end_to_end(response.headers());
    if answer.send(head).is_err() {
        return cut(&mut tap, ExchangeOutcome::ClientClosed).await;
    }
    pump(shared, response, &mut tap, to_client).await;
}

/// Sends the request as it came, or as it was made to fit. The error is why no answer came.
async fn send(shared: &Shared, parts: &Parts, body: Bytes) -> Result<reqwest::Response, String> {
    let url = shared.upstream.url(path_and_query(parts))?;
    let mut request = shared.client.request(parts.method.clone(), url).headers(headers::for_upstream(&parts.headers));
    let body = shared.upstream.body(parts.uri.path(), body);
    if !body.is_empty() {
        request = request.body(body);
    }
    request.send().await.map_err(|error| root_cause(&error))
}

/// The client's side of the channel. Where it closes without its `None`, the client's connection breaks too: a clean end
/// would pass half an answer off as a whole one.
fn body_of(chunks: mpsc::Receiver<Option<Bytes>>) -> Body {
    Body::from_stream(futures::stream::unfold(Some(chunks), |chunks| async {
        let mut chunks = chunks?;
        match chunks.recv().await {
            Some(Some(chunk)) => Some((Ok(chunk), Some(chunks))),
            Some(None) => None,
            None => Some((Err(std::io::Error::other("the answer was broken off")), None)),
        }
    }))
}

/// Passes chunks on until one side ends it.
async fn pump(shared: &Shared, mut response: reqwest::Response, tap: &mut Option<Tap>, to_client: ToClient) {
    loop {
        let room = tokio::select! {
            room = to_client.reserve() => room,
            () = shared.cut.cancelled() => return cut(tap, ExchangeOutcome::Truncated).await,
        };
        let Ok(room) = room else { return cut(tap, ExchangeOutcome::ClientClosed).await };
        let chunk = tokio::select! {
            chunk = response.chunk() => chunk,
            () = to_client.closed() => return cut(tap, ExchangeOutcome::ClientClosed).await,
            () = shared.cut.cancelled() => return cut(tap, ExchangeOutcome::Truncated).await,
        };
        match chunk {
            Ok(Some(chunk)) => {
                if let Some(tap) = tap {
                    tap.chunk(&chunk).await;
                }
                shared.notices.send(Notice::Bytes(chunk.len())).ok();
                room.send(Some(chunk));
            }
            Ok(None) => {
                if let Some(tap) = tap {
                    tap.end().await;
                }
                return room.send(None);
            }
            Err(_) => return cut(tap, ExchangeOutcome::UpstreamError).await,
        }
    }
}

async fn cut(tap: &mut Option<Tap>, outcome: ExchangeOutcome) {
    if let Some(tap) = tap {
        tap.cut(outcome).await;
    }
}

fn stopped() -> Response {
    error(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Api, "anyclaude record: the recorder was stopped")
}

fn error(status: StatusCode, kind: ErrorKind, message: &str) -> Response {
    (status, Json(ErrorBody::new(kind, message).to_json())).into_response()
}
