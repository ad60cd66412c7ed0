//! One exchange: the request goes to the upstream, the answer to the client, and either side may leave first.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use reqwest::Url;
use time::OffsetDateTime;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::authorities::CertificateFault;
use super::body::{self, BodyFault, MAX_REQUEST};
use super::exchange_file::IncomingRequest;
use super::headers;
use super::notice::Notice;
use super::state::{Destination, RecorderState};
use super::tap::Tap;
use crate::net::root_cause;
use crate::server::TOKEN_HEADER;
use crate::trace::ExchangeOutcome;
use crate::wire::{Endpoint, ErrorBody, ErrorKind};

/// How many bytes of requests' large bodies may be here at once, from before they are read until the upstream answers.
pub(super) const MOST_IN_BODIES: usize = 2 * MAX_REQUEST;

/// The most bytes of a body that is small: several times what Claude Code sends. It never waits for room, so that large requests
/// that do not go on hold nobody up who does ordinary work.
const SMALL_BODY: u64 = 8 << 20;

/// How many chunks may wait for a slow client before the upstream has to wait.
const CHUNKS_AHEAD: usize = 16;

/// Chunks for the client, then `None` if the answer ended in good order.
type ToClient = mpsc::Sender<Option<Bytes>>;

/// Answers one request. The exchange is a task of its own, so that it is recorded to its end even after the client's connection,
/// and this future with it, is gone.
pub(super) async fn handle(State(state): State<Arc<RecorderState>>, request: Request) -> Response {
    let Ok(permit) = state.open.clone().try_acquire_owned() else { return stopped() };
    let arrived = OffsetDateTime::now_utc();
    let (parts, body) = request.into_parts();
    if parts.method == Method::CONNECT {
        return no_tunnel();
    }
    // Who finds no room waits for it: a recorder sends nobody away. The semaphore is never closed.
    let room = state.bodies.clone().acquire_many_owned(needed(&body)).await.ok();
    let body = match body::whole(body, MAX_REQUEST).await {
        Ok(body) => body,
        Err(fault) => return no_body(fault),
    };
    let path = path_and_query(&parts);
    if !path.starts_with('/') {
        // `OPTIONS *` asks about a server as a whole.
        let message = format!("anyclaude record: {path} is no path of the upstream's: ask for one that begins with /");
        return error(StatusCode::BAD_REQUEST, ErrorKind::InvalidRequest, &message);
    }
    let Some(to) = state.destination(path) else { return no_upstream(&state) };
    let session = if is_recorded(&to.path) { Some(state.sessions.of(&parts.headers, &to.path).await) } else { None };
    let place = session.map(|session| (session.take(), session));
    let (answer, answered) = oneshot::channel();
    tokio::spawn(async move {
        let permit = Arc::new(permit);
        let mut tap = None;
        if let Some(((seq, trace), session)) = place {
            let incoming = IncomingRequest {
                seq,
                session,
                trace,
                arrived,
                method: parts.method.clone(),
                path: to.path.clone(),
                upstream: (state.routes.len() > 1).then(|| to.upstream.to_string()),
                headers: parts.headers.clone(),
                body: body.clone(),
            };
            tap = Some(start_tap(&state, incoming, &permit).await);
        }
        run(&state, &to, parts, HeldBody { body, _room: room }, tap, answer).await;
        drop(permit);
    });
    // The task drops its sender without an answer only if the recorder was stopped.
    answered.await.unwrap_or_else(|_| stopped())
}

async fn start_tap(state: &RecorderState, incoming: IncomingRequest, permit: &Arc<OwnedSemaphorePermit>) -> Tap {
    let endpoint = Endpoint::of_path(&incoming.path);
    Tap::new(state.writer.open(incoming, permit.clone()).await, endpoint)
}

/// Only API calls are recorded. Other paths are only forwarded. Some base URLs end with a slash, so a path may begin with two.
/// What counts is the path that the upstream is asked for, without `..`.
fn is_recorded(path: &str) -> bool {
    Url::parse(&format!("http://localhost{path}")).is_ok_and(|url| url.path().trim_start_matches('/').starts_with("v1/"))
}

/// How much of the room for large bodies a request needs, in bytes. It is taken before the body is read: of many that came in part
/// and wait for each other's room, none would ever go on.
fn needed(body: &Body) -> u32 {
    // Chunks come without a length.
    let most = body.size_hint().upper().unwrap_or(u64::MAX).min(MAX_REQUEST as u64);
    if most > SMALL_BODY { most as u32 } else { 0 }
}

fn path_and_query(parts: &Parts) -> &str {
    parts.uri.path_and_query().map_or("/", |path| path.as_str())
}

/// A request's body and its part of the room for them.
struct HeldBody {
    body: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// Runs the exchange until one side ends it.
async fn run(
    state: &RecorderState,
    to: &Destination,
    parts: Parts,
    body: HeldBody,
    mut tap: Option<Tap>,
    mut answer: oneshot::Sender<Response>,
) {
    let sending = send(state, to, &parts, body);
    let response = tokio::select! {
        response = sending => response,
        () = answer.closed() => return cut(&mut tap, ExchangeOutcome::ClientClosed).await,
        () = state.cut.cancelled() => return cut(&mut tap, ExchangeOutcome::Truncated).await,
    };
    let response = match response {
        Ok(response) => response,
        Err(NoAnswer { reason, hint }) => {
            cut(&mut tap, ExchangeOutcome::UpstreamError).await;
            let told = format!("no answer from {}: {reason}; {hint}", to.upstream);
            tracing::warn!("{told}");
            let message = format!("anyclaude record: {told}");
            answer.send(error(StatusCode::BAD_GATEWAY, ErrorKind::Api, &message)).ok();
            return;
        }
    };
    if let Some(tap) = &mut tap {
        tap.response(&parts.method, response.status(), response.headers()).await;
    }
    let (to_client, chunks) = mpsc::channel(CHUNKS_AHEAD);
    let mut head = Response::new(body_of(chunks));
    *head.status_mut() = response.status();
    *head.headers_mut() = headers::for_client(response.headers());
    if answer.send(head).is_err() {
        return cut(&mut tap, ExchangeOutcome::ClientClosed).await;
    }
    pump(state, response, &mut tap, to_client).await;
}

/// Why no answer came, and what may help.
struct NoAnswer {
    reason: String,
    hint: &'static str,
}

impl From<reqwest::Error> for NoAnswer {
    fn from(error: reqwest::Error) -> Self {
        let hint = match CertificateFault::of(&error) {
            Some(CertificateFault::UnknownAuthority) => {
                "if its authority is your own, name its file with --ca-file of record, or in SSL_CERT_FILE"
            }
            Some(CertificateFault::Other) => "its certificate must be valid now, and for the name in its address",
            None => "is it running, and is its address right?",
        };
        Self { reason: root_cause(&error), hint }
    }
}

/// Sends the request as it came, or trimmed if the upstream wants that.
async fn send(state: &RecorderState, to: &Destination, parts: &Parts, sent: HeldBody) -> Result<reqwest::Response, NoAnswer> {
    let below = |reason| NoAnswer { reason, hint: "ask for a path below it" };
    let url = to.upstream.url(&to.path).map_err(below)?;
    let body = to.upstream.body(&to.path, sent.body);
    let mut request = to.client.request(parts.method.clone(), url).headers(headers::for_upstream(&parts.headers));
    if let Some(token) = to.upstream.token() {
        request = request.header(TOKEN_HEADER, token.secret());
    } else if state.passes_token_on(&to.upstream)
        && let Some(token) = parts.headers.get(TOKEN_HEADER)
    {
        request = request.header(TOKEN_HEADER, token);
    }
    if !body.is_empty() {
        request = request.body(body);
    }
    let response = request.send().await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // `upgrade` is of one connection and was not sent, so nobody asked for it.
        let reason = "it answered with status 101 and left HTTP, unasked".to_owned();
        return Err(NoAnswer { reason, hint: "is its address that of an HTTP API?" });
    }
    Ok(response)
}

/// The response body made of the chunks. If they end without `None`, the client's connection breaks as well: a clean end would
/// make half an answer look whole.
fn body_of(chunks: mpsc::Receiver<Option<Bytes>>) -> Body {
    Body::from_stream(futures::stream::unfold(Some(chunks), |chunks| async {
        let mut chunks = chunks?;
        match chunks.recv().await {
            Some(Some(chunk)) => Some((Ok(chunk), Some(chunks))),
            Some(None) => None,
            None => {
                // An error ends the connection at once. Let it first write what it has been given.
                tokio::task::yield_now().await;
                Some((Err(std::io::Error::other("the answer was broken off")), None))
            }
        }
    }))
}

/// Forwards chunks until one side ends the exchange.
async fn pump(state: &RecorderState, mut response: reqwest::Response, tap: &mut Option<Tap>, to_client: ToClient) {
    loop {
        let room = tokio::select! {
            room = to_client.reserve() => room,
            () = state.cut.cancelled() => return cut(tap, ExchangeOutcome::Truncated).await,
        };
        let Ok(room) = room else { return cut(tap, ExchangeOutcome::ClientClosed).await };
        let chunk = tokio::select! {
            chunk = response.chunk() => chunk,
            () = to_client.closed() => return cut(tap, ExchangeOutcome::ClientClosed).await,
            () = state.cut.cancelled() => return cut(tap, ExchangeOutcome::Truncated).await,
        };
        match chunk {
            Ok(Some(chunk)) => {
                if let Some(tap) = tap {
                    tap.chunk(&chunk).await;
                }
                state.notices.send(Notice::Bytes(chunk.len())).ok();
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

/// Ends the recording of an exchange that was broken off.
async fn cut(tap: &mut Option<Tap>, outcome: ExchangeOutcome) {
    if let Some(tap) = tap {
        tap.cut(outcome).await;
    }
}

fn no_upstream(state: &RecorderState) -> Response {
    let prefixes: Vec<&str> = state.routes.iter().map(|(route, _)| route.prefix.as_str()).collect();
    let message = format!("anyclaude record: no upstream for this path: it must begin with {}", prefixes.join(" or "));
    error(StatusCode::NOT_FOUND, ErrorKind::NotFound, &message)
}

/// The answer to a request whose body was not read.
fn no_body(fault: BodyFault) -> Response {
    let (status, kind) = match fault {
        BodyFault::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, ErrorKind::RequestTooLarge),
        BodyFault::TooSlow => (StatusCode::REQUEST_TIMEOUT, ErrorKind::InvalidRequest),
        BodyFault::Broken => (StatusCode::BAD_REQUEST, ErrorKind::InvalidRequest),
    };
    error(status, kind, &format!("anyclaude record: {fault}"))
}

/// The answer to `CONNECT`, by which a client takes this for a proxy to any server.
fn no_tunnel() -> Response {
    let message = "anyclaude record: no tunnels: it is no proxy to other servers, give its address as the base URL";
    let mut refusal = error(StatusCode::METHOD_NOT_ALLOWED, ErrorKind::InvalidRequest, message);
    refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    refusal
}

fn stopped() -> Response {
    error(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Api, "anyclaude record: the recorder was stopped")
}

fn error(status: StatusCode, kind: ErrorKind, message: &str) -> Response {
    (status, Json(ErrorBody::new(kind, message).to_json())).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_was_not_read_has_the_status_of_its_fault() {
        let statuses = [BodyFault::TooLarge, BodyFault::TooSlow, BodyFault::Broken].map(|fault| no_body(fault).status().as_u16());
        assert_eq!(statuses, [413, 408, 400]);
    }

    #[test]
    fn only_large_bodies_need_room() {
        assert_eq!(needed(&Body::empty()), 0);
        assert_eq!(needed(&Body::from(vec![0; SMALL_BODY as usize])), 0);
        assert_eq!(needed(&Body::from(vec![0; SMALL_BODY as usize + 1])), SMALL_BODY as u32 + 1);
        let chunks = futures::stream::iter([Ok::<_, std::io::Error>("of unknown length")]);
        assert_eq!(needed(&Body::from_stream(chunks)), MAX_REQUEST as u32);
    }

    #[test]
    fn what_reaches_the_api_is_recorded_however_its_path_is_written() {
        for path in ["/v1/messages", "//v1/messages?beta=true", "/x/../v1/messages", "/./v1/models"] {
            assert!(is_recorded(path), "{path}");
        }
        for path in ["/", "/v1", "/api/hello", "/v1/../api/hello"] {
            assert!(!is_recorded(path), "{path}");
        }
    }
}
