//! Trace files, each of which holds one exchange of Claude Code: reading, writing, redacting, scrubbing and validating them.
//!
//! The recorder writes traces, replay and review read them. Nothing here sees a socket.

mod arguments;
mod body;
mod derive;
mod file;
mod format;
pub mod minimize;
mod outline;
mod partial;
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
mod testing;
pub mod validate;
mod weight;

pub use arguments::{CallEnd, is_malformed, streamed_arguments, unparsed_arguments};
pub use body::{BodyFault, read_body, read_messages_request};
pub use derive::assemble;
pub use file::{PARTIAL_SUFFIX, TraceError, find, partial_path, path_of, read, write};
pub(crate) use file::{is_trace_name, write_spelled};
pub use format::{ExchangeOutcome, ItlPercentiles, RecordedEvent, RecordedRequest, RecordedResponse, Timing, Trace, VERSION};
pub use outline::{List, Outline, ReadItem, TraceHead, outlines, outlines_with_head};
pub(crate) use partial::read_draft;
pub use partial::{Draft, Opening, PartialFile, PartialLine, Recovered, recover};
#[cfg(test)]
pub(crate) use prompt::PartKind;
pub(crate) use prompt::{Prompt, PromptItem, PromptPart, of_system_text};
pub(crate) use redact_trace::redact_trace;
pub use same_request::{CanonicalRequest, Digest, ItemKey, digest};
pub use search::{TextMatch, find_in_item};
pub use session_name::is_session_name;
pub(crate) use session_name::{is_client_name, is_made_name, is_time_name, session_in_headers};
pub(crate) use shared_items::SharedRedactor;
pub use spelled::{SpelledText, spelled_texts};
pub(crate) use weight::json_weight;
