//! Why a backend gave no answer.

use std::fmt;

use crate::wire::{ErrorBody, ErrorKind};

/// Why a backend gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The backend answered with an error of its own.
    #[error("{}: {}", .body.error.kind, .body.error.message)]
    Answered {
        /// The HTTP status.
        status: u16,
        /// Its kind and message.
        body: ErrorBody,
        /// When to try again, as a `retry-after` header has it.
        retry_after: Option<String>,
    },
    /// The backend could not be reached, or the connection broke.
    #[error("{address}: {reason}")]
    Unreachable {
        /// The base URL.
        address: String,
        /// The cause.
        reason: String,
    },
    /// What the backend sent is not its protocol.
    #[error("{address} does not speak the {protocol}: {reason}")]
    Protocol {
        /// The protocol it should speak.
        protocol: Protocol,
        /// The base URL, or the backend's name.
        address: String,
        /// Where it deviates.
        reason: String,
    },
}

/// A protocol that a backend may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Anthropic's Messages API.
    Messages,
    /// OpenAI's chat completions.
    ChatCompletions,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Messages => "Messages API",
            Self::ChatCompletions => "chat completions API",
        })
    }
}

impl BackendError {
    /// An error in Anthropic's terms, with the HTTP status of its kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        ErrorBody::new(kind, message).into()
    }
}

impl From<ErrorBody> for BackendError {
    /// An error that came without a status of its own, as `error` events do: it gets the status of its kind.
    fn from(body: ErrorBody) -> Self {
        Self::Answered { status: body.kind().status(), body, retry_after: None }
    }
}
