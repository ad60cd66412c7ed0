//! Trace files, each of which holds one exchange of Claude Code: reading, writing, redacting, scrubbing and validating them.
//!
//! The recorder writes traces, replay and review read them. Nothing here sees a socket. The format's types, reading and writing
//! are in a crate of their own, [`anyclaude_trace`], so that other tools can use them without the rest.
//!
//! ```
//! use anyclaude::trace;
//! use anyclaude::wire::StopReason;
//!
//! let paths = trace::find(&["traces/read-file".into()])?;
//! let recorded = trace::read(&paths[0])?;
//! assert_eq!((recorded.session.as_str(), recorded.seq), ("read-file", 1));
//! let answer = trace::recorded_message(&recorded).expect("it was answered");
//! assert_eq!(answer.stop_reason, Some(StopReason::ToolUse));
//!
//! let folder = tempfile::tempdir()?;
//! let copy = trace::path_of(folder.path(), "copies", 7);
//! trace::write(&copy, &recorded)?;
//! assert!(copy.ends_with("copies/0007.json"));
//! assert_eq!(trace::read(&copy)?, recorded);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arguments;
mod body;
#[cfg(test)]
mod damaged_files;
pub mod minimize;
mod outline;
pub(crate) mod path_text;
mod pieces;
mod prompt;
pub mod redact;
mod redact_trace;
mod same_request;
pub mod scrub;
mod search;
mod session_name;
mod shared_items;
mod spelled;
#[cfg(test)]
pub(crate) mod testing;
mod typed;
pub mod validate;

pub use anyclaude_trace::{
    Draft, ExchangeOutcome, ItlPercentiles, Opening, PARTIAL_SUFFIX, PartialFile, PartialLine, RecordedEvent, RecordedRequest,
    RecordedResponse, Recovered, Timing, Trace, TraceError, VERSION, assemble, find, is_session_name, partial_path, path_of,
    read, recover, write,
};
pub(crate) use anyclaude_trace::{
    MAX_WEIGHT, call_arguments, is_heavier, is_readable, is_trace_name, json_weight, read_draft, read_json_into, seq_of,
};
pub(crate) use arguments::spelled_arguments;
pub use arguments::{CallEnd, is_malformed, streamed_arguments, unparsed_arguments};
pub use body::{BodyFault, read_body, read_messages_request};
pub use outline::{List, Outline, ReadItem, TraceHead, outlines, outlines_with_head};
#[cfg(test)]
pub(crate) use prompt::PartKind;
pub(crate) use prompt::{Prompt, PromptItem, PromptPart, of_system_text};
pub(crate) use redact_trace::redact_trace;
pub use same_request::{CanonicalRequest, Digest, ItemKey, conversation_opening, digest};
pub use search::{TextMatch, find_in_item};
#[cfg(test)]
pub(crate) use session_name::is_time_name;
pub(crate) use session_name::{AGENT_HEADER, SESSION_HEADER, is_client_name, is_made_name, session_in_headers};
pub(crate) use shared_items::{SharedRedactor, write_spelled};
pub use spelled::{SpelledText, spelled_texts};
pub(crate) use typed::parsed_messages_request;
pub use typed::{asks_for_message, came_at, messages_request, recorded_message};
