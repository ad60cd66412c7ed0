//! Trace file, version 1: the types.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The version this build writes and reads.
pub const VERSION: u32 = 1;

/// One request and its whole response, as `traces/<session>/<seq>.json` holds them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    pub version: u32,
    pub id: String,
    /// The folder's name: one client run.
    pub session: String,
    /// Position in the session, from 1.
    pub seq: u32,
    /// RFC 3339, UTC.
    pub recorded_at: String,
    /// The client's `user-agent`.
    pub client: String,
    /// What kind of upstream answered: `anthropic` for a base URL.
    pub mode: String,
    pub request: RecordedRequest,
    pub response: RecordedResponse,
    pub timing: Timing,
    pub outcome: ExchangeOutcome,
}

/// The request, as sent; secrets are `"[redacted]"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedRequest {
    pub method: String,
    /// Path and query.
    pub path: String,
    pub headers: Map<String, Value>,
    /// The JSON body; null where there was none.
    pub body: Value,
}

/// The response, as received.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedResponse {
    /// HTTP status; 0 where none came.
    pub status: u16,
    pub headers: Map<String, Value>,
    /// Every server-sent event in order; empty where the answer was no stream.
    pub events: Vec<RecordedEvent>,
    /// The message assembled from the events, or the body where it was no stream. Null where there was none.
    pub body: Value,
}

/// One server-sent event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedEvent {
    /// Microseconds since the request was sent.
    pub at_us: u64,
    pub event: String,
    pub data: Value,
}

/// What the recorded arrival times come to, in microseconds. Null where nothing of the kind arrived.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Request sent to first content event.
    pub ttft_us: Option<u64>,
    /// Request sent to `message_stop`.
    pub e2e_us: Option<u64>,
    /// Gaps between content events.
    pub itl_us: Option<ItlPercentiles>,
}

/// Percentiles of the gaps between content events, in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItlPercentiles {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
}

/// How the exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExchangeOutcome {
    Complete,
    /// The recorder was stopped or killed; what had arrived by then is kept.
    Truncated,
    /// The client went away first.
    ClientClosed,
    /// The upstream broke, or answered with an error.
    UpstreamError,
}
