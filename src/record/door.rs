//! Who may come in at the recorder's port.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;

use super::headers::without;
use super::state::RecorderState;
use crate::server::{Allowed, ApiError, RunToken, TOKEN_HEADER, refusal};
use crate::wire::ErrorKind;

/// Whom the recorder lets in: no foreign web page, and only the client that knows the token, if there is one.
#[derive(Debug, Default)]
pub struct Door {
    /// The names and web pages that may use the port.
    pub allowed: Allowed,
    /// What the client must send with each request, in the header `x-anyclaude-token`; `None` to ask for nothing.
    pub token: Option<RunToken>,
}

impl Door {
    fn check(&self, request: &Request) -> Result<(), ApiError> {
        self.allowed.check(request.uri(), request.headers())?;
        // Clients probe whether a server is there, and browsers whether they may ask. Neither costs or tells anything.
        let only_probes = matches!(*request.method(), Method::HEAD | Method::OPTIONS);
        match &self.token {
            Some(token) if !only_probes && !token.is_in(request.headers()) => {
                let reason = "this port is for the client that anyclaude has started: it sends the header x-anyclaude-token, \
                              which it finds in its variable ANTHROPIC_CUSTOM_HEADERS. If that client is told this, its own \
                              settings replace the variable";
                Err(ApiError::new(ErrorKind::Authentication, reason))
            }
            _ => Ok(()),
        }
    }
}

/// Turns away whoever may not come in. The token ends here: it goes neither to the upstream nor into a trace.
pub(super) async fn guard(State(state): State<Arc<RecorderState>>, mut request: Request, next: Next) -> Response {
    if let Err(error) = state.door.check(&request) {
        tracing::info!("a request was turned away: {error}");
        return refusal(&request, error);
    }
    if state.door.token.is_some() {
        *request.headers_mut() = without(request.headers(), &TOKEN_HEADER);
    }
    next.run(request).await
}
