//! The trace file: one exchange with Claude Code, on disk. Reading, writing, redacting, scrubbing, validating.
//!
//! Owns the format and the files; never sees a socket. The recorder writes traces, replay and review read them.

mod format;

pub use format::{ExchangeOutcome, ItlPercentiles, RecordedEvent, RecordedRequest, RecordedResponse, Timing, Trace, VERSION};
