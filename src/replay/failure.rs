//! Which kind of failure a backend's error is.

use super::{Finding, Kind};
use crate::backend::BackendError;
use crate::wire::{AssembleError, ErrorKind};

/// A failure of the backend: its error, and how far the answer had come.
#[derive(Debug)]
pub struct Failure {
    /// What the backend said, or what became of the connection.
    pub error: BackendError,
    /// Whether the answer had begun.
    pub began: bool,
}

impl Failure {
    /// A failure before the answer began.
    pub(super) fn before(error: BackendError) -> Self {
        Self { error, began: false }
    }

    /// A failure in the middle of the answer.
    pub(super) fn during(error: BackendError) -> Self {
        Self { error, began: true }
    }

    /// The failure's kind.
    pub fn kind(&self) -> Kind {
        match &self.error {
            BackendError::Answered { status: 408 | 504, .. } => Kind::Timeout,
            BackendError::Answered { body, .. } => match body.kind() {
                ErrorKind::Overloaded => Kind::Overloaded,
                ErrorKind::RateLimit => Kind::RateLimited,
                ErrorKind::Api => Kind::ServerError,
                ErrorKind::InvalidRequest
                | ErrorKind::Authentication
                | ErrorKind::Permission
                | ErrorKind::NotFound
                | ErrorKind::RequestTooLarge => Kind::RefusedRequest,
            },
            // The HTTP client gives its reasons in words only.
            BackendError::Unreachable { reason, .. } if reason.contains("timed out") => Kind::Timeout,
            BackendError::Unreachable { .. } if self.began => Kind::StreamCut,
            BackendError::Unreachable { .. } | BackendError::Unusable { .. } => Kind::Unreachable,
            BackendError::Protocol { reason, .. } if *reason == AssembleError::NoStop.to_string() => Kind::StreamCut,
            BackendError::Protocol { .. } => Kind::ProtocolBroken,
            BackendError::BrokenOff => Kind::StreamCut,
        }
    }

    /// Whether the same request may well be answered a little later.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self.kind(), Kind::Overloaded | Kind::RateLimited)
    }

    /// When to try again, in seconds, if the backend said that.
    pub(super) fn retry_after_s(&self) -> Option<u64> {
        match &self.error {
            BackendError::Answered { retry_after, .. } => retry_after.as_ref()?.parse().ok(),
            BackendError::Unreachable { .. }
            | BackendError::Unusable { .. }
            | BackendError::Protocol { .. }
            | BackendError::BrokenOff => None,
        }
    }

    /// The failure as a finding.
    pub fn finding(&self) -> Finding {
        Finding::said(self.kind(), self.error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Protocol;
    use crate::wire::ErrorBody;

    #[test]
    fn each_failure_has_its_kind() {
        let answered = |status| {
            let body = ErrorBody::new(ErrorKind::of_status(status), "no");
            BackendError::Answered { status, body, retry_after: None }
        };
        let unreachable = |reason: &str| BackendError::Unreachable { address: "a".into(), reason: reason.into() };
        let protocol = |reason: &str| {
            let reason = reason.into();
            BackendError::Protocol { protocol: Protocol::Messages, address: "a".into(), reason }
        };
        let table = [
            (answered(529), false, Kind::Overloaded),
            (answered(503), false, Kind::Overloaded),
            (answered(429), false, Kind::RateLimited),
            (answered(500), true, Kind::ServerError),
            (answered(504), false, Kind::Timeout),
            (answered(400), false, Kind::RefusedRequest),
            (answered(401), false, Kind::RefusedRequest),
            (unreachable("operation timed out"), true, Kind::Timeout),
            (unreachable("connection reset"), true, Kind::StreamCut),
            (unreachable("connection refused"), false, Kind::Unreachable),
            (protocol("the stream ended without message_stop"), true, Kind::StreamCut),
            (protocol("an event is not JSON"), true, Kind::ProtocolBroken),
        ];
        for (error, began, kind) in table {
            let failure = Failure { error, began };
            assert_eq!(failure.kind(), kind, "{failure:?}");
        }
    }
}
