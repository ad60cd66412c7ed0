//! Anthropic's error envelope, its kinds of error, and the one table of their names and HTTP statuses.

use serde::{Deserialize, Serialize};

/// The body of an error response or event: `{"type":"error","error":{"type":…,"message":…}}`.
///
/// The outer `type` is not a field: [`ErrorBody::to_json`] and the tag of [`StreamEvent`](super::StreamEvent) write it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
    /// The id Anthropic gave to the failed request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// The kind and the text of an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// Usually the name of an [`ErrorKind`]; kept as text because Anthropic may add kinds.
    #[serde(rename = "type")]
    pub kind: String,
    /// One sentence for the user.
    pub message: String,
}

impl ErrorBody {
    /// An error without a request id.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { error: ErrorDetail { kind: kind.name().into(), message: message.into() }, request_id: None }
    }

    /// The error's kind; [`ErrorKind::Api`] for a name this version does not know.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::of_name(&self.error.kind).unwrap_or(ErrorKind::Api)
    }

    /// The whole envelope, as the body of an error response.
    pub fn to_json(&self) -> serde_json::Value {
        let Self { error: ErrorDetail { kind, message }, request_id } = self;
        let mut json = serde_json::json!({ "type": "error", "error": { "type": kind, "message": message } });
        if let Some(id) = request_id {
            json["request_id"] = id.as_str().into();
        }
        json
    }
}

/// Anthropic's error types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is malformed, or asks for something impossible.
    InvalidRequest,
    /// The credentials are missing or wrong.
    Authentication,
    /// The credentials do not allow this.
    Permission,
    /// The path or the model does not exist.
    NotFound,
    /// The body exceeds the size limit.
    RequestTooLarge,
    /// Too many requests or tokens in too little time.
    RateLimit,
    /// The server failed.
    Api,
    /// The server has no capacity at the moment.
    Overloaded,
}

/// Each kind with its name on the wire and its HTTP status.
const KINDS: [(ErrorKind, &str, u16); 8] = [
    (ErrorKind::InvalidRequest, "invalid_request_error", 400),
    (ErrorKind::Authentication, "authentication_error", 401),
    (ErrorKind::Permission, "permission_error", 403),
    (ErrorKind::NotFound, "not_found_error", 404),
    (ErrorKind::RequestTooLarge, "request_too_large", 413),
    (ErrorKind::RateLimit, "rate_limit_error", 429),
    (ErrorKind::Api, "api_error", 500),
    (ErrorKind::Overloaded, "overloaded_error", 529),
];

impl ErrorKind {
    /// Every kind.
    pub fn all() -> [Self; KINDS.len()] {
        KINDS.map(|(kind, ..)| kind)
    }

    /// The kind with this name on the wire.
    pub fn of_name(name: &str) -> Option<Self> {
        KINDS.into_iter().find(|(_, known, _)| *known == name).map(|(kind, ..)| kind)
    }

    /// The kind that an HTTP error status stands for, whoever sent it. Anthropic signals overload with 529, most others with 503.
    pub fn of_status(status: u16) -> Self {
        let known = KINDS.into_iter().find(|(.., known)| *known == status).map(|(kind, ..)| kind);
        known.unwrap_or(match status {
            503 => Self::Overloaded,
            // A timeout and a conflict are not the request's fault: it may be sent again as it is.
            408 | 409 | 500.. => Self::Api,
            _ => Self::InvalidRequest,
        })
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        KINDS[self as usize].1
    }

    /// The HTTP status that Anthropic sends with this kind.
    pub fn status(self) -> u16 {
        KINDS[self as usize].2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_statuses_are_found_both_ways() {
        for (at, (kind, name, status)) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, at, "the table is in the order of the variants");
            assert_eq!((kind.name(), kind.status()), (name, status));
            assert_eq!((ErrorKind::of_name(name), ErrorKind::of_status(status)), (Some(kind), kind));
        }
        assert_eq!(ErrorKind::of_name("teapot_error"), None);
    }

    #[test]
    fn statuses_anthropic_does_not_send_have_a_kind_too() {
        for (status, kind) in [
            (402, ErrorKind::InvalidRequest),
            (408, ErrorKind::Api),
            (409, ErrorKind::Api),
            (422, ErrorKind::InvalidRequest),
            (502, ErrorKind::Api),
            (503, ErrorKind::Overloaded),
            (504, ErrorKind::Api),
        ] {
            assert_eq!(ErrorKind::of_status(status), kind, "{status}");
        }
    }
}
