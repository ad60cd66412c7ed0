//! The types of a trace file, version 1. The tests make docs/trace.schema.json from them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[cfg(test)]
use super::json_schema;

/// The version of trace files that this build writes and reads.
pub const VERSION: u32 = 1;

/// One exchange: a request and its whole response, the content of `traces/<session>/<seq>.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Trace {
    /// The version of the format.
    #[cfg_attr(test, schemars(extend("const" = VERSION)))]
    pub version: u32,
    /// A UUID. A scrubbed copy keeps it.
    pub id: String,
    /// The name of the session, one client run, and of its folder.
    #[cfg_attr(test, schemars(extend("pattern" = json_schema::SESSION)))]
    pub session: String,
    /// Position in the session, from 1.
    #[cfg_attr(test, schemars(extend("minimum" = 1, "maximum" = u32::MAX)))]
    pub seq: u32,
    /// When the request came: RFC 3339, UTC.
    #[cfg_attr(test, schemars(extend("format" = "date-time")))]
    pub recorded_at: String,
    /// The client's `user-agent`.
    pub client: String,
    /// The kind of upstream: `anthropic` for a base URL, else the launcher's mode; `import:` and the format's name where it is
    /// not known.
    pub mode: String,
    /// The base URL of the upstream, without credentials, where the recorder had several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// What the client sent.
    pub request: RecordedRequest,
    /// What the upstream answered.
    pub response: RecordedResponse,
    /// Latencies.
    pub timing: Timing,
    /// How the exchange ended.
    pub outcome: ExchangeOutcome,
}

/// The request as the client sent it, its secrets replaced with `"[redacted]"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RecordedRequest {
    /// The HTTP method.
    pub method: String,
    /// Path and query.
    #[cfg_attr(test, schemars(extend("pattern" = "^/")))]
    pub path: String,
    /// A string per name, or a list of strings if the name came more than once.
    #[cfg_attr(test, schemars(schema_with = "json_schema::headers"))]
    pub headers: Map<String, Value>,
    /// The JSON body, or a string if it was not JSON; null if there was none.
    pub body: Value,
}

/// The response as the upstream sent it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RecordedResponse {
    /// HTTP status; 0 if no response came.
    pub status: u16,
    /// A string per name, or a list of strings if the name came more than once.
    #[cfg_attr(test, schemars(schema_with = "json_schema::headers"))]
    pub headers: Map<String, Value>,
    /// Every server-sent event in order; empty if the response was not a stream.
    pub events: Vec<RecordedEvent>,
    /// The message assembled from the events, or the body if it was not a stream; null if there was none.
    pub body: Value,
}

/// One server-sent event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RecordedEvent {
    /// Microseconds from the request to the event.
    pub at_us: u64,
    /// The event's name.
    pub event: String,
    /// The event's JSON, or a string if it was not JSON.
    pub data: Value,
}

/// Latencies computed from the arrival times, in microseconds. Null if there was nothing to measure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Timing {
    /// From the request to the first content event.
    pub ttft_us: Option<u64>,
    /// From the request to `message_stop`, or to the end of a body that is not a stream.
    pub e2e_us: Option<u64>,
    /// The gaps between content events (inter-token latency).
    pub itl_us: Option<ItlPercentiles>,
}

/// Percentiles of the gaps between content events, in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ItlPercentiles {
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
}

/// How the exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ExchangeOutcome {
    /// The answer came whole.
    Complete,
    /// The recorder was stopped or killed. The trace has what had arrived by then.
    Truncated,
    /// The client left before the end.
    ClientClosed,
    /// The upstream broke off, or answered with an error.
    UpstreamError,
}

impl ExchangeOutcome {
    /// The outcome's name in the trace file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Truncated => "truncated",
            Self::ClientClosed => "client_closed",
            Self::UpstreamError => "upstream_error",
        }
    }
}
