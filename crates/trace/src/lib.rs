//! anyclaude's trace files, each of which holds one exchange with a language model: the types, reading and writing.
//!
//! docs/trace-format.md specifies the format, docs/trace.schema.json is its JSON Schema. A tool that writes traces makes a
//! [`Draft`], which assembles the message and computes the timing from the events:
//!
//! ```
//! use anyclaude_trace::{Draft, ExchangeOutcome, Opening, RecordedEvent, RecordedRequest, VERSION, path_of, read, write};
//! use serde_json::{Map, json};
//!
//! let mut draft = Draft::new(Opening {
//!     version: VERSION,
//!     id: "2c6d1f6e-6a51-4d0c-9a0e-0b8f5b6f3a11".into(),
//!     session: "my-session".into(),
//!     seq: 1,
//!     recorded_at: "2026-01-02T03:04:05Z".into(),
//!     client: "my-tool/1.0".into(),
//!     mode: "anthropic".into(),
//!     upstream: None,
//!     request: RecordedRequest {
//!         method: "POST".into(),
//!         path: "/v1/messages".into(),
//!         headers: Map::new(),
//!         body: json!({"model": "m", "max_tokens": 9, "stream": true, "messages": [{"role": "user", "content": "Hello"}]}),
//!     },
//! });
//! draft.respond(200, Map::new());
//! let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
//!     "stop_reason": null, "usage": {"input_tokens": 5, "output_tokens": 1}});
//! for (at_us, data) in [
//!     (700, json!({"type": "message_start", "message": message})),
//!     (710, json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})),
//!     (900, json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi."}})),
//!     (910, json!({"type": "content_block_stop", "index": 0})),
//!     (920, json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}})),
//!     (930, json!({"type": "message_stop"})),
//! ] {
//!     draft.push(RecordedEvent { at_us, event: data["type"].as_str().unwrap_or("message").into(), data });
//! }
//! let trace = draft.to_trace(ExchangeOutcome::Complete, None);
//! assert_eq!((trace.timing.ttft_us, trace.timing.e2e_us), (Some(900), Some(930)));
//! assert_eq!(trace.response.body["content"][0]["text"], "Hi.");
//!
//! let folder = tempfile::tempdir()?;
//! let path = path_of(folder.path(), &trace.session, trace.seq);
//! write(&path, &trace)?;
//! assert!(path.ends_with("my-session/0001.json"));
//! assert_eq!(read(&path)?, trace);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arguments;
mod depth;
mod derive;
mod file;
mod format;
#[cfg(test)]
mod json_schema;
mod outside_strings;
mod partial;
mod session_name;
mod surrogates;
mod weight;

pub use arguments::call_arguments;
pub use depth::is_readable;
pub use derive::assemble;
pub use file::{
    MAX_WEIGHT, PARTIAL_SUFFIX, TraceError, find, is_trace_name, partial_path, path_of, read, read_json_into, seq_of, write,
};
pub use format::{ExchangeOutcome, ItlPercentiles, RecordedEvent, RecordedRequest, RecordedResponse, Timing, Trace, VERSION};
pub use partial::{Draft, Opening, PartialFile, PartialLine, Recovered, read_draft, recover};
pub use session_name::is_session_name;
pub use surrogates::{from_json, without_lone_surrogates};
pub use weight::{is_heavier, json_weight};
