//! What figures need of a trace, beside the items of its request's lists.

use serde::Deserialize;
use serde_json::Value;

use crate::trace::{ExchangeOutcome, Trace, TraceHead};
use crate::wire::Endpoint;

/// A trace without the events of its answer, which take longest to read and say what its body says.
#[derive(Deserialize)]
pub(super) struct Head {
    version: u32,
    pub session: String,
    pub seq: u32,
    pub request: RequestHead,
    pub response: ResponseHead,
    pub outcome: ExchangeOutcome,
}

#[derive(Deserialize)]
pub(super) struct RequestHead {
    pub path: String,
    pub body: Value,
}

#[derive(Deserialize)]
pub(super) struct ResponseHead {
    pub body: Value,
}

impl Head {
    /// Whether the request asks for a message.
    pub(super) fn is_messages(&self) -> bool {
        Endpoint::of_path(&self.request.path) == Endpoint::Messages
    }
}

impl TraceHead for Head {
    fn version(&self) -> u32 {
        self.version
    }
}

impl From<Trace> for Head {
    fn from(Trace { version, session, seq, request, response, outcome, .. }: Trace) -> Self {
        let request = RequestHead { path: request.path, body: request.body };
        Self { version, session, seq, request, response: ResponseHead { body: response.body }, outcome }
    }
}
