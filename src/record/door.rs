//! Who may come in at the recorder's port.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::server::{Allowed, ApiError, RunToken, refusal};
use crate::wire::ErrorKind;

/// Whom the recorder lets in: no foreign web page, and only the client that knows the token, if there is one.
#[derive(Debug, Default)]
pub struct Door {
    /// The names and web pages that may use the port.
    pub allowed: Allowed,
    /// What the client must send with each request, in the header `x-anyclaude-token`; `None` to ask for nothing.
    pub token: Option<RunToken>,
}

const TOKEN_MISSING: &str = "this port is for the client that anyclaude has started: it sends the header x-anyclaude-token, which it \
    finds in its variable ANTHROPIC_CUSTOM_HEADERS. If that client is told this, its own settings replace the variable";

/// Turns away whoever may not come in.
pub(super) async fn guard(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let turned_away = |error: ApiError| {
        tracing::info!("a request was turned away: {error}");
        refusal(&request, error)
    };
    if let Err(error) = door.allowed.check(request.uri(), request.headers()) {
        return turned_away(error);
    }
    if door.token.as_ref().is_none_or(|token| token.is_in(request.headers())) {
        return next.run(request).await;
    }
    match *request.method() {
        // Claude Code asks so whether a server is there, without its headers. It goes no further than here.
        Method::HEAD => StatusCode::OK.into_response(),
        _ => turned_away(ApiError::new(ErrorKind::Authentication, TOKEN_MISSING)),
    }
}
