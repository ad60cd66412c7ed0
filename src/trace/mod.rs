//! The trace file: one exchange with Claude Code, on disk. Reading, writing, redacting, scrubbing, validating.
//!
//! Owns the format and the files; never sees a socket. The recorder writes traces, replay and review read them.

mod derive;
mod file;
mod format;
mod partial;
pub mod redact;
pub mod scrub;
pub mod validate;

pub use derive::assemble;
pub use file::{TraceError, find, path_of, read, write};
pub use format::{ExchangeOutcome, ItlPercentiles, RecordedEvent, RecordedRequest, RecordedResponse, Timing, Trace, VERSION};
pub use partial::{Draft, Line, Opening, PARTIAL_SUFFIX, PartialFile, Recovered, partial_path, recover};
