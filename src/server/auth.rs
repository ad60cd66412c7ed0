//! The optional API key.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};

use super::app::App;
use super::error::ApiError;
use super::run_token::TOKEN_HEADER;
use crate::wire::ErrorKind;

/// Refuses requests without the right key, if the server has one.
pub(crate) async fn require_key(State(app): State<Arc<App>>, request: Request, next: Next) -> Result<Response, ApiError> {
    if let Some(key) = &app.options.api_key {
        let offered = offered_key(request.headers())
            .ok_or_else(|| ApiError::new(ErrorKind::Authentication, "this server needs an API key: send it as x-api-key"))?;
        if !same(offered, key) {
            return Err(ApiError::new(ErrorKind::Authentication, "invalid x-api-key"));
        }
    }
    Ok(next.run(request).await)
}

/// The key that a request brings. The launcher's own requests have it in a header of ours, beside the client's credentials.
fn offered_key(headers: &HeaderMap) -> Option<&str> {
    let bearer = || {
        let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim_start())
    };
    let own = headers.get(TOKEN_HEADER).or_else(|| headers.get("x-api-key"));
    own.and_then(|value| value.to_str().ok()).or_else(bearer)
}

/// Compares digests, so that the time it takes does not reveal how much of the key was right.
pub(crate) fn same(offered: &str, key: &str) -> bool {
    Sha256::digest(offered) == Sha256::digest(key)
}
