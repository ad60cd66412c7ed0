//! What happens around every request: it gets an id, is counted and logged, and its panics are caught.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use serde_json::json;

use super::app::App;
use super::error::ApiError;
use crate::convert::{self, PromptField};
use crate::wire::{CHAT_COMPLETIONS_PATH, COMPLETIONS_PATH, ErrorBody, ErrorKind, MESSAGES_PATH, RESPONSES_PATH, random_id};

/// The id of one request: the `request-id` header of its response, and the `id` of its log lines.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(String);

impl RequestId {
    /// A random one.
    pub(crate) fn new() -> Self {
        Self(random_id("req_"))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl RequestId {
    fn show_in(&self, response: &mut Response) {
        if let Ok(value) = HeaderValue::from_str(&self.0) {
            response.headers_mut().insert("request-id", value);
        }
    }
}

/// Gives the request an id, counts it and logs it.
pub(crate) async fn observe(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let id = RequestId::new();
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    // Only our own routes become label values: a scanner must not fill the metrics with made-up paths.
    let route = request.extensions().get::<MatchedPath>().map_or("other".to_owned(), |route| route.as_str().to_owned());
    request.extensions_mut().insert(id.clone());

    let protocol = ErrorProtocol::of(&path, request.headers());
    let mut response = with_envelope(next.run(request).await, protocol, &id);
    let status = response.status().as_u16();
    app.metrics.requests.with_label_values(&[route.as_str(), &status.to_string()]).inc();
    tracing::info!(%id, %method, path, status, headers_ms = started.elapsed().as_millis(), "request");
    id.show_in(&mut response);
    response
}

/// The answer to a request that is refused before it has reached a route: in the protocol of its path, and with an id.
pub(crate) fn refusal(request: &Request, error: ApiError) -> Response {
    let id = RequestId::new();
    let protocol = ErrorProtocol::of(request.uri().path(), request.headers());
    let mut response = with_envelope(error.into_response(), protocol, &id);
    id.show_in(&mut response);
    response
}

/// Whose clients read an error.
#[derive(Clone, Copy)]
pub(super) enum ErrorProtocol {
    Anthropic,
    OpenAi(PromptField),
}

impl ErrorProtocol {
    /// By the path; where both protocols share it or neither has it, by the headers that only one of them uses.
    pub(super) fn of(path: &str, headers: &HeaderMap) -> Self {
        let openais = [
            (CHAT_COMPLETIONS_PATH, PromptField::Messages),
            (RESPONSES_PATH, PromptField::Input),
            (COMPLETIONS_PATH, PromptField::Prompt),
        ];
        if let Some((_, prompt)) = openais.into_iter().find(|(openais, _)| path.starts_with(openais)) {
            return Self::OpenAi(prompt);
        }
        let anthropics = ["anthropic-version", "x-api-key"].iter().any(|name| headers.contains_key(*name));
        let is_api = path == "/v1" || path.starts_with("/v1/");
        match is_api && !path.starts_with(MESSAGES_PATH) && headers.contains_key(AUTHORIZATION) && !anthropics {
            true => Self::OpenAi(PromptField::Messages),
            false => Self::Anthropic,
        }
    }
}

/// Writes the body of an error in the protocol of the path. Anthropic's has the request's id, unless the backend has put its own.
fn with_envelope(mut response: Response, protocol: ErrorProtocol, id: &RequestId) -> Response {
    let Some(mut error) = response.extensions_mut().remove::<ErrorBody>() else { return response };
    error.request_id.get_or_insert_with(|| id.0.clone());
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    let body = match protocol {
        ErrorProtocol::Anthropic => error.to_json(),
        ErrorProtocol::OpenAi(prompt) => {
            // OpenAI's clients do not know Anthropic's own status for an overloaded server.
            if parts.status.as_u16() == ErrorKind::Overloaded.status() {
                parts.status = StatusCode::SERVICE_UNAVAILABLE;
            }
            json!(convert::chat_error(&error, prompt))
        }
    };
    Response::from_parts(parts, body.to_string().into())
}

/// Turns a handler's panic into a 500, so that the client gets an answer and the connection stays open.
pub(crate) async fn catch_panics(request: Request, next: Next) -> Response {
    AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| ApiError::failed().into_response())
}
