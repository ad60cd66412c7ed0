//! The trace file: one exchange with Claude Code, on disk. Reading, writing, redacting, scrubbing, validating.
//!
//! Owns the format and the files; never sees a socket. The recorder writes traces, replay and review read them.

mod format;

pub use format::{ExchangeOutcome, ItlPercentiles, RecordedEvent, RecordedRequest, RecordedResponse, Timing, Trace, VERSION};

use std::path::{Path, PathBuf};

use crate::wire::{Message, MessagesRequest};

/// Why a trace cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("{}: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
}

/// Reads one trace file.
pub fn read(path: &Path) -> Result<Trace, TraceError> {
    let unreadable = |reason: String| TraceError::Unreadable { path: path.into(), reason };
    let text = std::fs::read_to_string(path).map_err(|e| unreadable(e.to_string()))?;
    let trace: Trace = serde_json::from_str(&text).map_err(|e| unreadable(format!("not a trace: {e}")))?;
    match trace.version {
        VERSION => Ok(trace),
        other => Err(unreadable(format!("version {other}; this build reads version {VERSION}"))),
    }
}

/// All trace files at and under the paths, sorted.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, TraceError> {
    let mut found = Vec::new();
    for path in paths {
        for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
            let entry = entry.map_err(|e| TraceError::Unreadable { path: path.clone(), reason: e.to_string() })?;
            if entry.path().extension().is_some_and(|extension| extension == "json") {
                found.push(entry.into_path());
            }
        }
    }
    match found.is_empty() {
        true => Err(TraceError::Unreadable { path: paths.first().cloned().unwrap_or_default(), reason: "no traces".into() }),
        false => Ok(found),
    }
}

impl Trace {
    /// The request's body as a Messages request; `None` where it is none.
    pub fn messages_request(&self) -> Option<MessagesRequest> {
        serde_json::from_value(self.request.body.clone()).ok()
    }

    /// The answer's message; `None` where there is none.
    pub fn message(&self) -> Option<Message> {
        serde_json::from_value(self.response.body.clone()).ok()
    }
}
