//! Error responses in Anthropic's envelope.

use std::fmt;

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::backend::BackendError;
use crate::convert::FieldNames;
use crate::wire::{ErrorBody, ErrorKind};

/// nginx's status for a client that did not wait, for the metrics.
const CLIENT_CLOSED_REQUEST: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => StatusCode::REQUEST_TIMEOUT,
};

/// When to try again where there is no room, in seconds: by then other answers may have ended.
const RETRY_AFTER_S: u32 = 5;

/// An error response: the status, the envelope, and the `retry-after` header if there is one.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    body: ErrorBody,
    retry_after: Option<String>,
}

impl ApiError {
    /// An error with the status of its kind.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        BackendError::new(kind, message).into()
    }

    /// The same error with the client's names for the fields.
    pub(crate) fn in_fields(mut self, fields: &FieldNames) -> Self {
        self.body.error.message = fields.in_error(self.body.error.message);
        self
    }

    /// The request is malformed, or asks for something impossible.
    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidRequest, reason)
    }

    /// There is no room for the request now, and soon may be.
    pub(crate) fn overloaded(reason: impl Into<String>) -> Self {
        Self { retry_after: Some(RETRY_AFTER_S.to_string()), ..Self::new(ErrorKind::Overloaded, reason) }
    }

    /// The path exists, but not for this method.
    pub(crate) fn method_not_allowed() -> Self {
        Self { status: StatusCode::METHOD_NOT_ALLOWED, ..Self::invalid("method not allowed") }
    }

    /// The path does not exist. `hint`: what to do, after a semicolon.
    pub(crate) fn no_such_path(path: &str, hint: &str) -> Self {
        Self::new(ErrorKind::NotFound, format!("no such path: {path}{hint}"))
    }

    /// The client is gone. Nobody reads this.
    pub(crate) fn client_left() -> Self {
        Self { status: CLIENT_CLOSED_REQUEST, ..Self::new(ErrorKind::Api, "the client has left") }
    }

    /// The request's body did not arrive in time.
    pub(crate) fn too_slow() -> Self {
        Self { status: StatusCode::REQUEST_TIMEOUT, ..Self::invalid("the request's body did not arrive in time") }
    }

    /// A bug in the server. What it is belongs in the log.
    pub(crate) fn failed() -> Self {
        Self::new(ErrorKind::Api, "the server failed unexpectedly: see its log")
    }

    /// The backend cannot do what was asked.
    pub(crate) fn not_implemented(message: &str) -> Self {
        Self { status: StatusCode::NOT_IMPLEMENTED, ..Self::new(ErrorKind::Api, message) }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.body.error.message)
    }
}

impl From<BackendError> for ApiError {
    fn from(error: BackendError) -> Self {
        let message = error.to_string();
        match error {
            BackendError::Answered { status, body, retry_after } => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                Self { status, body, retry_after }
            }
            BackendError::Unreachable { .. }
            | BackendError::Unusable { .. }
            | BackendError::Protocol { .. }
            | BackendError::BrokenOff => {
                Self { status: StatusCode::BAD_GATEWAY, body: ErrorBody::new(ErrorKind::Api, message), retry_after: None }
            }
        }
    }
}

/// The envelope of an error in mid-stream, after the status was sent.
pub(crate) fn envelope(error: BackendError) -> ErrorBody {
    ApiError::from(error).body
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body.to_json())).into_response();
        // For whoever knows the request's id.
        response.extensions_mut().insert(self.body);
        if let Some(value) = self.retry_after.and_then(|text| HeaderValue::from_str(&text).ok()) {
            response.headers_mut().insert(RETRY_AFTER, value);
        }
        response
    }
}
