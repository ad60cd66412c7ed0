//! Traces that are written while the file that they come from is read on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::{fs, io};

use super::import_error::ImportError;
use crate::trace::{self, MAX_WEIGHT, SharedRedactor, Trace, is_heavier, is_readable, write_spelled};

/// How many traces may be on their way to the disk.
const AT_ONCE: usize = 32;

/// A trace that is to be written.
pub(super) struct Ready {
    pub path: PathBuf,
    pub trace: Trace,
    /// Where in the file it stands.
    pub place: String,
    pub missing: Vec<String>,
    pub redactor: Arc<SharedRedactor>,
}

/// What became of a trace.
pub(super) struct Written {
    /// Which of all it was, from 0.
    pub nth: usize,
    pub session: String,
    pub place: String,
    pub missing: Vec<String>,
    pub result: Result<(), ImportError>,
}

/// The traces on their way, each with any thread.
pub(super) struct Writers {
    begun: usize,
    /// How many were begun and not waited for.
    open: usize,
    sender: Sender<Written>,
    ended: Receiver<Written>,
}

impl Writers {
    pub(super) fn new() -> Self {
        let (sender, ended) = channel();
        Self { begun: 0, open: 0, sender, ended }
    }

    /// Begins to write a trace. If many are on their way, one of them is waited for: what became of it.
    pub(super) fn begin(&mut self, ready: Ready) -> Option<Written> {
        let ended = if self.open < AT_ONCE { None } else { self.wait() };
        let (nth, sender) = (self.begun, self.sender.clone());
        self.begun += 1;
        self.open += 1;
        rayon::spawn(move || {
            let Ready { path, trace, place, missing, redactor } = ready;
            let session = trace.session.clone();
            let result = write(&path, trace, &redactor);
            // Nobody listens only if the import itself is gone.
            drop(sender.send(Written { nth, session, place, missing, result }));
        });
        ended
    }

    /// Waits for any of them to end; `None` once all have.
    pub(super) fn wait(&mut self) -> Option<Written> {
        self.open = self.open.checked_sub(1)?;
        // A sender is at hand, so it ends only with a trace.
        self.ended.recv().ok()
    }
}

/// Writes a trace, unless another exchange is there. An import that is repeated, perhaps of a session that went on since, finds
/// what it would write.
fn write(path: &Path, trace: Trace, redactor: &SharedRedactor) -> Result<(), ImportError> {
    let id = trace.id.clone();
    let text = redactor.spelled(trace, path)?;
    if !is_within_limits(&text) {
        return Err(ImportError::Beyond);
    }
    match fs::read(path) {
        Ok(there) if there == text => return Ok(()),
        Ok(_) if trace::read(path)?.id != id => return Err(ImportError::Occupied { path: path.to_owned() }),
        Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(ImportError::Io { path: path.to_owned(), source }),
        _ => {}
    }
    Ok(write_spelled(path, &text)?)
}

/// Whether a trace of this text can be read again: nothing is nested too deep in it or takes too much memory.
pub(crate) fn is_within_limits(text: &[u8]) -> bool {
    is_readable(text, 0) && !is_heavier(text, MAX_WEIGHT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::trace::path_of;
    use crate::trace::redact::Redactor;

    fn trace(id: &str, seq: u32) -> Trace {
        let request = json!({"method": "POST", "path": "/v1/messages", "headers": {}, "body": {}});
        let response = json!({"status": 0, "headers": {}, "events": [], "body": null});
        let timing = json!({"ttft_us": null, "e2e_us": null, "itl_us": null});
        let trace = json!({
            "version": 1, "id": id, "session": "s", "seq": seq, "recorded_at": "2026-01-02T03:04:05Z", "client": "c",
            "mode": "m", "request": request, "response": response, "timing": timing, "outcome": "truncated",
        });
        serde_json::from_value(trace).unwrap()
    }

    #[test]
    fn every_trace_is_written_and_told_of_once() {
        let folder = tempfile::tempdir().unwrap();
        let redactor = Arc::new(SharedRedactor::new(Redactor::default()));
        let path = |seq: u32| path_of(folder.path(), "s", seq);
        // Something else is there, and what would be written itself.
        trace::write(&path(7), &trace("other", 7)).unwrap();
        trace::write(&path(9), &trace("9", 9)).unwrap();
        let mut writers = Writers::new();
        let mut written = Vec::new();
        for seq in 1..=100 {
            let trace = trace(&seq.to_string(), seq);
            let place = format!("line {seq}");
            let ready = Ready { path: path(seq), trace, place, missing: vec![seq.to_string()], redactor: redactor.clone() };
            written.extend(writers.begin(ready));
        }
        assert_eq!(written.len(), 100 - AT_ONCE);
        written.extend(std::iter::from_fn(|| writers.wait()));
        written.sort_by_key(|written| written.nth);
        assert_eq!(written.len(), 100);
        for (nth, Written { place, missing, result, .. }) in written.iter().enumerate() {
            assert_eq!((place, missing), (&format!("line {}", nth + 1), &vec![(nth + 1).to_string()]));
            assert_eq!(matches!(result, Err(ImportError::Occupied { .. })), nth == 6);
            assert_eq!(result.is_ok(), nth != 6);
        }
        assert_eq!(trace::read(&path(100)).unwrap().id, "100");
        assert_eq!(trace::read(&path(7)).unwrap().id, "other");
    }

    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let redactor = SharedRedactor::new(Redactor::default());
        for (depth, is_written) in [(125, true), (126, false)] {
            let path = path_of(folder.path(), "s", depth);
            let mut deep = trace("deep", depth);
            deep.request.body = (1..depth).fold(json!(["\"[[\\"]), |inner, _| json!([inner]));
            let written = write(&path, deep, &redactor);
            assert_eq!(written.is_ok(), is_written, "{depth}");
            assert_eq!(trace::read(&path).is_ok(), is_written, "{depth}");
        }
    }
}
