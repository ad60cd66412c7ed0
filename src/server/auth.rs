//! The optional API key.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;

use super::app::App;
use super::error::ApiError;
use super::observe::ErrorProtocol;
use super::run_token::{TOKEN_HEADER, same};
use crate::wire::ErrorKind;

/// Refuses requests without the right key, if the server has one.
pub(crate) async fn require_key(State(app): State<Arc<App>>, request: Request, next: Next) -> Result<Response, ApiError> {
    if let Some(key) = &app.options.api_key {
        let (missing, wrong) = match ErrorProtocol::of(request.uri().path(), request.headers()) {
            ErrorProtocol::Anthropic => ("this server needs an API key: send it as x-api-key", "invalid x-api-key"),
            ErrorProtocol::OpenAi(_) => (
                "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth \
                 (i.e. Authorization: Bearer YOUR_KEY).",
                "Incorrect API key provided.",
            ),
        };
        let refused = |reason: &str| Err(ApiError::new(ErrorKind::Authentication, reason));
        match offered_keys(request.headers())[..] {
            [] => return refused(missing),
            ref offered if offered.iter().any(|offered| same(offered, key)) => {}
            _ => return refused(wrong),
        }
    }
    Ok(next.run(request).await)
}

/// The keys that a request brings. The launcher's own requests have ours in a header for it, beside the client's credentials.
fn offered_keys(headers: &HeaderMap) -> Vec<&str> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim_start())
    });
    let named = [TOKEN_HEADER.as_str(), "x-api-key"].map(|name| headers.get(name).and_then(|value| value.to_str().ok()));
    named.into_iter().chain([bearer]).flatten().collect()
}
