//! The `.partial` file of an exchange that is still open, and making a trace of one whose recorder was killed.
//!
//! JSON lines, appended as things happen: the request, the response's head, then one line per event. The same [`Draft`]
//! takes the lines while recording and while recovering, so both give the same trace.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    ExchangeOutcome, RecordedEvent, RecordedRequest, RecordedResponse, Timing, Trace, TraceError, VERSION, assemble, file,
};

/// What is added to the trace's name while its exchange is open.
pub const PARTIAL_SUFFIX: &str = ".partial";

/// The partial file that belongs to a trace file.
pub fn partial_path(trace: &Path) -> PathBuf {
    let mut name = trace.as_os_str().to_owned();
    name.push(PARTIAL_SUFFIX);
    name.into()
}

/// One line of a partial file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    Request(Box<Opening>),
    Response { status: u16, headers: Map<String, Value> },
    Event(RecordedEvent),
}

/// The first line: everything known when the request is sent. The fields are the trace's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    pub version: u32,
    pub id: String,
    pub session: String,
    pub seq: u32,
    pub recorded_at: String,
    pub client: String,
    pub mode: String,
    pub request: RecordedRequest,
}

/// An exchange so far.
#[derive(Clone, Debug)]
pub struct Draft {
    opening: Opening,
    response: RecordedResponse,
}

impl Draft {
    /// An exchange of which only the request is known.
    pub fn new(opening: Opening) -> Self {
        let response = RecordedResponse { status: 0, headers: Map::new(), events: Vec::new(), body: Value::Null };
        Self { opening, response }
    }

    /// The response's head has come.
    pub fn respond(&mut self, status: u16, headers: Map<String, Value>) {
        self.response.status = status;
        self.response.headers = headers;
    }

    /// An event has come.
    pub fn push(&mut self, event: RecordedEvent) {
        self.response.events.push(event);
    }

    /// The whole body of an answer that is no stream.
    pub fn set_body(&mut self, body: Value) {
        self.response.body = body;
    }

    /// The events so far.
    pub fn events(&self) -> &[RecordedEvent] {
        &self.response.events
    }

    /// The trace of what has come. `ended_us`: request sent to the end of a body that is no stream.
    pub fn to_trace(&self, outcome: ExchangeOutcome, ended_us: Option<u64>) -> Trace {
        let Opening { version, id, session, seq, recorded_at, client, mode, request } = self.opening.clone();
        let mut response = self.response.clone();
        let timing = if response.events.is_empty() {
            Timing { e2e_us: ended_us, ..Timing::default() }
        } else {
            response.body = assemble(&response.events);
            Timing::of_events(&response.events)
        };
        Trace { version, id, session, seq, recorded_at, client, mode, request, response, timing, outcome }
    }
}

/// A partial file being written. Locked for as long as its recorder lives, so that `recover` leaves it alone.
#[derive(Debug)]
pub struct PartialFile {
    path: PathBuf,
    file: File,
}

impl PartialFile {
    /// Makes the file, readable for its owner only, as traces are; it must not be there yet.
    pub fn create(path: PathBuf) -> Result<Self, TraceError> {
        let file =
            File::options().append(true).create_new(true).mode(0o600).open(&path).map_err(TraceError::io("make", &path))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|e| TraceError::io("lock", &path)(e.into()))?;
        Ok(Self { path, file })
    }

    /// Appends one line with one write.
    pub fn append(&mut self, line: &Line) -> Result<(), TraceError> {
        let mut bytes = serde_json::to_vec(line).map_err(|e| TraceError::io("write", &self.path)(e.into()))?;
        bytes.push(b'\n');
        self.file.write_all(&bytes).map_err(TraceError::io("write", &self.path))
    }

    /// Removes the file: its trace is on the disk.
    pub fn remove(self) -> Result<(), TraceError> {
        fs::remove_file(&self.path).map_err(TraceError::io("remove", &self.path))
    }
}

/// What became of one partial file.
#[derive(Debug, PartialEq)]
pub enum Recovered {
    /// A `truncated` trace with this many events.
    Trace { path: PathBuf, events: usize },
    /// The trace was already whole; the partial file was left over.
    AlreadyWhole { path: PathBuf },
    /// Not even the request was written; there is nothing to recover.
    Empty { partial: PathBuf },
    /// Its recorder is still running.
    InUse { partial: PathBuf },
}

/// Turns every partial file under `folder` into a `truncated` trace; tells for each what became of it. A torn last line is
/// dropped; a torn line elsewhere, or a first line that is no request, is an error, and that file stays. Temporary files that
/// a kill left are removed.
pub fn recover(folder: &Path) -> Result<Vec<Result<Recovered, TraceError>>, TraceError> {
    if !folder.exists() {
        return Err(TraceError::Missing { path: folder.to_owned() });
    }
    let mut recovered = Vec::new();
    for entry in walkdir::WalkDir::new(folder).sort_by_file_name() {
        let entry = entry.map_err(|e| TraceError::io("search", folder)(e.into()))?;
        let name = entry.file_name().to_string_lossy();
        if !entry.file_type().is_file() {
            continue;
        } else if name.ends_with(PARTIAL_SUFFIX) {
            recovered.push(recover_one(entry.path()));
        } else if name.starts_with(file::TEMPORARY.0) && name.ends_with(file::TEMPORARY.1) && lock(entry.path())?.is_some() {
            fs::remove_file(entry.path()).map_err(TraceError::io("remove", entry.path()))?;
        }
    }
    Ok(recovered)
}

fn recover_one(partial: &Path) -> Result<Recovered, TraceError> {
    let Some(_lock) = lock(partial)? else { return Ok(Recovered::InUse { partial: partial.to_owned() }) };
    let name = partial.to_string_lossy();
    let path = PathBuf::from(name.strip_suffix(PARTIAL_SUFFIX).unwrap_or(&name));
    let outcome = if path.exists() {
        Recovered::AlreadyWhole { path }
    } else {
        match read_draft(partial)? {
            Some(draft) => {
                file::write(&path, &draft.to_trace(ExchangeOutcome::Truncated, None))?;
                Recovered::Trace { path, events: draft.events().len() }
            }
            None => Recovered::Empty { partial: partial.to_owned() },
        }
    };
    fs::remove_file(partial).map_err(TraceError::io("remove", partial))?;
    Ok(outcome)
}

/// Locks a file for as long as the result lives; `None` where somebody else has locked it.
fn lock(path: &Path) -> Result<Option<File>, TraceError> {
    let file = File::open(path).map_err(TraceError::io("read", path))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(TraceError::io("lock", path)(error.into())),
    }
}

/// The exchange in a partial file; `None` where no whole line is in it.
fn read_draft(partial: &Path) -> Result<Option<Draft>, TraceError> {
    let bytes = fs::read(partial).map_err(TraceError::io("read", partial))?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut draft: Option<Draft> = None;
    for (number, line) in bytes[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
        let malformed = |reason: String| TraceError::Malformed { path: partial.to_owned(), line: number + 1, column: 1, reason };
        let line: Line = serde_json::from_slice(line).map_err(|e| malformed(e.to_string()))?;
        match (line, &mut draft) {
            (Line::Request(opening), None) if opening.version == VERSION => draft = Some(Draft::new(*opening)),
            (Line::Request(opening), None) => {
                return Err(TraceError::Version { path: partial.to_owned(), found: opening.version.to_string() });
            }
            (Line::Response { status, headers }, Some(draft)) => draft.respond(status, headers),
            (Line::Event(event), Some(draft)) => draft.push(event),
            _ => return Err(malformed("the request must come first, and once".into())),
        }
    }
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn opening() -> Opening {
        Opening {
            version: VERSION,
            id: "id".into(),
            session: "s".into(),
            seq: 1,
            recorded_at: "2026-01-02T03:04:05Z".into(),
            client: "c".into(),
            mode: "anthropic".into(),
            request: RecordedRequest {
                method: "POST".into(),
                path: "/v1/messages".into(),
                headers: Map::new(),
                body: json!({"model": "m"}),
            },
        }
    }

    fn event(at_us: u64, data: Value) -> Line {
        Line::Event(RecordedEvent { at_us, event: data["type"].as_str().unwrap().into(), data })
    }

    fn lines() -> Vec<Line> {
        vec![
            Line::Request(Box::new(opening())),
            Line::Response { status: 200, headers: Map::new() },
            event(5, json!({"type":"message_start","message":{"type":"message","content":[]}})),
            event(6, json!({"type":"content_block_start","index":0,"content_block":{"type":"text","text":"Hé"}})),
        ]
    }

    fn recover_all(folder: &Path) -> Vec<Recovered> {
        recover(folder).unwrap().into_iter().map(Result::unwrap).collect()
    }

    fn write_partial(folder: &Path, lines: &[Line]) -> PathBuf {
        let path = partial_path(&folder.join("0001.json"));
        let mut file = PartialFile::create(path.clone()).unwrap();
        for line in lines {
            file.append(line).unwrap();
        }
        path
    }

    #[test]
    fn every_cut_of_a_partial_file_recovers_its_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let partial = write_partial(folder.path(), &lines());
        let whole = fs::read(&partial).unwrap();
        for cut in 0..=whole.len() {
            fs::write(&partial, &whole[..cut]).unwrap();
            let complete_lines = whole[..cut].iter().filter(|b| **b == b'\n').count();
            let recovered = recover_all(folder.path());
            let path = folder.path().join("0001.json");
            if complete_lines == 0 {
                assert_eq!(recovered, [Recovered::Empty { partial: partial.clone() }]);
                continue;
            }
            let events = complete_lines.saturating_sub(2);
            assert_eq!(recovered, [Recovered::Trace { path: path.clone(), events }]);
            let trace = file::read(&path).unwrap();
            assert_eq!((trace.outcome, trace.response.events.len()), (ExchangeOutcome::Truncated, events));
            assert!(!partial.exists());
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn a_partial_file_beside_its_whole_trace_is_only_removed() {
        let folder = tempfile::tempdir().unwrap();
        let partial = write_partial(folder.path(), &lines());
        let path = folder.path().join("0001.json");
        let trace = Draft::new(opening()).to_trace(ExchangeOutcome::Complete, Some(7));
        file::write(&path, &trace).unwrap();
        assert_eq!(recover_all(folder.path()), [Recovered::AlreadyWhole { path: path.clone() }]);
        assert_eq!(file::read(&path).unwrap(), trace);
        assert!(!partial.exists());
    }

    #[test]
    fn a_partial_file_whose_recorder_lives_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = partial_path(&folder.path().join("0001.json"));
        let mut file = PartialFile::create(path.clone()).unwrap();
        file.append(&lines()[0]).unwrap();
        assert_eq!(recover_all(folder.path()), [Recovered::InUse { partial: path.clone() }]);
        assert!(path.exists());
    }

    #[test]
    fn temporary_files_that_nobody_writes_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (left, held) = (folder.path().join(".trace-a.tmp"), folder.path().join(".trace-b.tmp"));
        fs::write(&left, "{").unwrap();
        fs::write(&held, "{").unwrap();
        let _lock = lock(&held).unwrap();
        assert_eq!(recover_all(folder.path()), []);
        assert_eq!((left.exists(), held.exists()), (false, true));
    }

    #[test]
    fn a_torn_line_in_the_middle_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let partial = write_partial(folder.path(), &lines()[..1]);
        let mut bytes = fs::read(&partial).unwrap();
        bytes.extend_from_slice(b"{\"event\n{}\n");
        fs::write(&partial, bytes).unwrap();
        assert!(matches!(recover(folder.path()).unwrap()[..], [Err(TraceError::Malformed { line: 2, .. })]));
        assert!(partial.exists());
    }
}
