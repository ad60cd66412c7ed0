//! Why a backend gave no answer.

use std::fmt;

use crate::trace::redact::Redactor;
use crate::wire::{ErrorBody, ErrorKind};

/// Why a backend gave no answer. What is displayed has no secrets, though an error may quote some.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The backend answered with an error of its own.
    #[error("{}: {}", redacted(&.body.error.kind), redacted(&.body.error.message))]
    Answered {
        /// The HTTP status.
        status: u16,
        /// Its kind and message.
        body: ErrorBody,
        /// When to try again, as a `retry-after` header has it.
        retry_after: Option<String>,
    },
    /// The backend could not be reached, or the connection broke.
    #[error("{}: {}", redacted(.address), redacted(.reason))]
    Unreachable {
        /// The base URL.
        address: String,
        /// The cause.
        reason: String,
    },
    /// The backend cannot be asked at all: its address is none, or a credential cannot be sent.
    #[error("{}: {}", redacted(.address), redacted(.reason))]
    Unusable {
        /// What was given as the base URL.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// What the backend sent is not its protocol.
    #[error("{} does not speak the {protocol}: {}", redacted(.address), redacted(.reason))]
    Protocol {
        /// The protocol it should speak.
        protocol: Protocol,
        /// The base URL, or the backend's name.
        address: String,
        /// Where it deviates.
        reason: String,
    },
    /// The answer ends here, and the connection to the client is to break, as it does when a server dies.
    #[error("the answer broke off, as planned with --fault")]
    BrokenOff,
}

fn redacted(text: &str) -> String {
    Redactor::installed().text(text).into_owned()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_displayed_without_secrets() {
        let key = format!("sk-ant-{}", "api03-abcdefgh");
        let reason = format!("key {key} is not valid");
        let answered = BackendError::new(ErrorKind::Authentication, reason.as_str());
        let address = "http://me:hunter2@host".to_owned();
        let unreachable = BackendError::Unreachable { address: address.clone(), reason: reason.clone() };
        let protocol = BackendError::Protocol { protocol: Protocol::Messages, address, reason };
        for error in [answered, unreachable, protocol] {
            let shown = error.to_string();
            assert!(
                !shown.contains("api03") && !shown.contains("hunter2") && shown.contains("key [redacted] is not valid"),
                "{shown}"
            );
        }
    }
}
