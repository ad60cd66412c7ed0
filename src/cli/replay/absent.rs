//! A backend of several that was down when the replay began.

use std::sync::Arc;

use futures::future::{BoxFuture, ready};

use crate::backend::{Backend, BackendError, EventStream};
use crate::cli::answerer::{Answerer, Asked};
use crate::wire::MessagesRequest;

/// Stands for a backend that cannot be reached. It is not asked again: who comes back in the middle was not measured like others.
struct Absent {
    address: String,
    /// Why it cannot be reached.
    reason: String,
}

/// What stands for a backend that cannot be reached.
pub(super) fn absent(asked: &Asked, reason: String) -> Answerer {
    let address = asked.backend.text.clone();
    // Errors begin with the address, which is said anyway.
    let reason = reason.strip_prefix(&format!("{}: ", address.trim_end_matches('/'))).unwrap_or(&reason).to_owned();
    Answerer { backend: Arc::new(Absent { address, reason }), tool_format: "unknown", digest: None }
}

impl Absent {
    fn error(&self) -> BackendError {
        BackendError::Unreachable { address: self.address.clone(), reason: self.reason.clone() }
    }
}

impl Backend for Absent {
    fn name(&self) -> String {
        self.address.clone()
    }

    fn model(&self) -> String {
        "unknown".into()
    }

    fn messages(&self, _request: MessagesRequest) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        Box::pin(ready(Err(self.error())))
    }

    fn count_tokens(&self, _request: MessagesRequest) -> BoxFuture<'_, Result<u64, BackendError>> {
        Box::pin(ready(Err(self.error())))
    }
}
