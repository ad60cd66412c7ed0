//! The `.partial` file of an open exchange, and recovering a trace from it after the recorder was killed.
//!
//! It consists of JSON lines, appended as things happen: the request, the head of the response, then one line per event.
//! Recording and recovering build their traces with the same [`Draft`], so both get the same trace.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyclaude_files::{folder_of, has_name, is_temporary, make_private_folder, try_lock};
use rustix::fs::{FlockOperation, flock};
use rustix::io::retry_on_intr;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::file::{self, PARTIAL_SUFFIX, TraceError};
use super::{ExchangeOutcome, RecordedEvent, RecordedRequest, RecordedResponse, Timing, Trace, VERSION, assemble};

/// One line of a partial file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartialLine {
    /// The first line.
    Request(Box<Opening>),
    /// The head of the response.
    Response {
        /// HTTP status.
        status: u16,
        /// As in [`RecordedResponse`].
        headers: Map<String, Value>,
    },
    /// A server-sent event.
    Event(RecordedEvent),
}

/// Everything that is known when the request is sent: the first fields of a [`Trace`].
#[allow(missing_docs, reason = "the fields of Trace")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    pub version: u32,
    pub id: String,
    pub session: String,
    pub seq: u32,
    pub recorded_at: String,
    pub client: String,
    pub mode: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    pub request: RecordedRequest,
}

/// A trace of an exchange that may go on.
#[derive(Clone, Debug)]
pub struct Draft {
    opening: Opening,
    response: RecordedResponse,
}

impl Draft {
    /// A draft with the request only.
    pub fn new(opening: Opening) -> Self {
        let response = RecordedResponse { status: 0, headers: Map::new(), events: Vec::new(), body: Value::Null };
        Self { opening, response }
    }

    /// Sets the head of the response.
    pub fn respond(&mut self, status: u16, headers: Map<String, Value>) {
        self.response.status = status;
        self.response.headers = headers;
    }

    /// Adds an event.
    pub fn push(&mut self, event: RecordedEvent) {
        self.response.events.push(event);
    }

    /// Sets the body of a response that is not a stream.
    pub fn set_body(&mut self, body: Value) {
        self.response.body = body;
    }

    /// The events so far.
    pub fn events(&self) -> &[RecordedEvent] {
        &self.response.events
    }

    /// The trace of everything so far. `ended_us`: microseconds from the request to the end of a body that is not a stream.
    pub fn to_trace(&self, outcome: ExchangeOutcome, ended_us: Option<u64>) -> Trace {
        let Opening { version, id, session, seq, recorded_at, client, mode, upstream, request } = self.opening.clone();
        let mut response = self.response.clone();
        let timing = if response.events.is_empty() {
            Timing { e2e_us: ended_us, ..Timing::default() }
        } else {
            response.body = assemble(&response.events);
            Timing::of_events(&response.events)
        };
        Trace { version, id, session, seq, recorded_at, client, mode, upstream, request, response, timing, outcome }
    }
}

/// A partial file that is being written. It is locked as long as its recorder lives, so that [`recover`] leaves it alone.
#[derive(Debug)]
pub struct PartialFile {
    path: PathBuf,
    file: File,
}

impl PartialFile {
    /// Creates and locks the file, in a folder that may have been deleted. Like a trace, only its owner can read it. Where a
    /// recovery takes it for one that was left, before it is locked, there is another one.
    ///
    /// # Errors
    /// It exists already, or cannot be created.
    pub fn create(path: PathBuf) -> Result<Self, TraceError> {
        let open = || File::options().append(true).create_new(true).mode(0o600).open(&path);
        loop {
            let file = open().or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => make_private_folder(folder_of(&path)).and_then(|()| open()),
                _ => Err(error),
            });
            let file = file.map_err(TraceError::io("make", &path))?;
            retry_on_intr(|| flock(&file, FlockOperation::LockExclusive)).map_err(|e| TraceError::io("lock", &path)(e.into()))?;
            if has_name(&file).map_err(TraceError::io("lock", &path))? {
                return Ok(Self { path, file });
            }
        }
    }

    /// Appends a line in a single write.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn append(&mut self, line: &PartialLine) -> Result<(), TraceError> {
        let mut bytes = serde_json::to_vec(line).map_err(|e| TraceError::io("write", &self.path)(e.into()))?;
        bytes.push(b'\n');
        self.file.write_all(&bytes).map_err(TraceError::io("write", &self.path))
    }

    /// Removes the file, after its trace is on the disk. It may be gone already, with its folder.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove(self) -> Result<(), TraceError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(TraceError::io("remove", &self.path)(error)),
            _ => Ok(()),
        }
    }
}

/// What became of one partial file.
#[derive(Debug, PartialEq)]
pub enum Recovered {
    /// A `truncated` trace was written.
    Trace {
        /// The trace.
        path: PathBuf,
        /// Its number of events.
        events: usize,
    },
    /// The whole trace had been written and can be read, so the partial file was removed.
    AlreadyWhole {
        /// The trace.
        path: PathBuf,
    },
    /// Not even the request had been written. The partial file was removed.
    Empty {
        /// The partial file.
        partial: PathBuf,
    },
    /// Its recorder is still running.
    InUse {
        /// The partial file.
        partial: PathBuf,
    },
}

/// Turns every partial file of a trace under `folder` into a `truncated` trace and removes it. Other files of such a suffix, such
/// as unfinished downloads, stay. A last line without its line end is dropped.
/// Temporary files that a kill left behind are removed too. Returns what became of each partial file.
///
/// # Errors
/// The folder is missing or cannot be searched. A partial file with a malformed line, or whose first line is not a request, has
/// its own error in the list, and stays.
pub fn recover(folder: &Path) -> Result<Vec<Result<Recovered, TraceError>>, TraceError> {
    if !folder.exists() {
        return Err(TraceError::Missing { path: folder.to_owned() });
    }
    let mut recovered = Vec::new();
    for entry in walkdir::WalkDir::new(folder).sort_by_file_name() {
        let entry = match entry {
            // What goes meanwhile is left to whoever removes it.
            Err(error) if error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound) => continue,
            entry => entry.map_err(|e| TraceError::io("search", folder)(e.into()))?,
        };
        let name = entry.file_name().to_string_lossy();
        if !entry.file_type().is_file() {
            continue;
        } else if name.strip_suffix(PARTIAL_SUFFIX).is_some_and(file::is_trace_name) {
            recovered.extend(recover_one(entry.path()).transpose());
        } else if is_temporary(entry.path())
            && let Locked::Left(_lock) = lock(entry.path())?
        {
            fs::remove_file(entry.path()).map_err(TraceError::io("remove", entry.path()))?;
        }
    }
    Ok(recovered)
}

/// What becomes of a partial file; `None` if its recorder has ended the exchange meanwhile.
fn recover_one(partial: &Path) -> Result<Option<Recovered>, TraceError> {
    let _lock = match lock(partial)? {
        Locked::Left(lock) => lock,
        Locked::InUse => return Ok(Some(Recovered::InUse { partial: partial.to_owned() })),
        Locked::Gone => return Ok(None),
    };
    let name = partial.to_string_lossy();
    let path = PathBuf::from(name.strip_suffix(PARTIAL_SUFFIX).unwrap_or(&name));
    let outcome = if path.exists() {
        // Only beside what is a whole trace has it no use any more.
        file::read(&path)?;
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
    Ok(Some(outcome))
}

/// A file that may be in use.
enum Locked {
    /// Nobody uses it, and nobody else does for as long as this lives.
    Left(File),
    InUse,
    /// It is not there any more, or has another name.
    Gone,
}

fn lock(path: &Path) -> Result<Locked, TraceError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Locked::Gone),
        file => file.map_err(TraceError::io("read", path))?,
    };
    if !try_lock(&file).map_err(TraceError::io("lock", path))? {
        return Ok(Locked::InUse);
    }
    // While it was opened and locked, whoever wrote it may have removed it, or given it its final name.
    if is_at(&file, path).map_err(TraceError::io("read", path))? { Ok(Locked::Left(file)) } else { Ok(Locked::Gone) }
}

/// Whether a path still leads to this file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let there = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        there => there?,
    };
    let here = file.metadata()?;
    Ok((here.dev(), here.ino()) == (there.dev(), there.ino()))
}

/// The exchange in a partial file, as far as it came; `None` if it has no whole line.
///
/// # Errors
/// The file cannot be read, has a malformed line, or its first line is not a request.
pub fn read_draft(partial: &Path) -> Result<Option<Draft>, TraceError> {
    let bytes = file::read_partial(partial)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut draft: Option<Draft> = None;
    for (number, line) in bytes[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
        let malformed = |reason: String| TraceError::Malformed { path: partial.to_owned(), line: number + 1, column: 1, reason };
        let line: PartialLine = serde_json::from_slice(line).map_err(|e| malformed(e.to_string()))?;
        match (line, &mut draft) {
            (PartialLine::Request(opening), None) if opening.version == VERSION => draft = Some(Draft::new(*opening)),
            (PartialLine::Request(opening), None) => {
                return Err(TraceError::Version { path: partial.to_owned(), found: opening.version.to_string() });
            }
            (PartialLine::Response { status, headers }, Some(draft)) => draft.respond(status, headers),
            (PartialLine::Event(event), Some(draft)) => draft.push(event),
            _ => return Err(malformed("the request must come first, and once".into())),
        }
    }
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::file::partial_path;
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
            upstream: None,
            request: RecordedRequest {
                method: "POST".into(),
                path: "/v1/messages".into(),
                headers: Map::new(),
                body: json!({"model": "m"}),
            },
        }
    }

    fn event(at_us: u64, data: Value) -> PartialLine {
        PartialLine::Event(RecordedEvent { at_us, event: data["type"].as_str().unwrap().into(), data })
    }

    fn lines() -> Vec<PartialLine> {
        vec![
            PartialLine::Request(Box::new(opening())),
            PartialLine::Response { status: 200, headers: Map::new() },
            event(5, json!({"type":"message_start","message":{"type":"message","content":[]}})),
            event(6, json!({"type":"content_block_start","index":0,"content_block":{"type":"text","text":"Hé"}})),
        ]
    }

    fn recover_all(folder: &Path) -> Vec<Recovered> {
        recover(folder).unwrap().into_iter().map(Result::unwrap).collect()
    }

    fn write_partial(folder: &Path, lines: &[PartialLine]) -> PathBuf {
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
    fn what_is_no_traces_partial_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["movie.mp4.partial", "header.html", "header.html.partial", "1.json.partial"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(recover_all(folder.path()), []);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
        // Nor goes one whose namesake is no trace.
        let partial = write_partial(folder.path(), &lines());
        fs::write(folder.path().join("0001.json"), "mine").unwrap();
        let [Err(error)] = &recover(folder.path()).unwrap()[..] else { panic!() };
        assert!(error.to_string().contains("0001.json"), "{error}");
        assert!(partial.exists());
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
    fn temporary_files_of_dead_processes_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (left, held) = (folder.path().join(".anyclaude-a.tmp"), folder.path().join(".anyclaude-b.tmp"));
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

    #[test]
    fn what_is_written_while_recoveries_run_is_never_taken_for_left() {
        let folder = tempfile::tempdir().unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    for recovered in recover(folder.path()).unwrap() {
                        // Empty: it was not locked yet, and another one was made.
                        assert!(matches!(recovered.unwrap(), Recovered::InUse { .. } | Recovered::Empty { .. }));
                    }
                }
            });
            let written = (1..=200).try_for_each(|number| {
                let path = folder.path().join(format!("{number:04}.json"));
                let mut partial = PartialFile::create(partial_path(&path))?;
                partial.append(&lines()[0])?;
                let trace = Draft::new(opening()).to_trace(ExchangeOutcome::Complete, None);
                file::write(&path, &trace)?;
                partial.remove()
            });
            is_over.store(true, Ordering::Relaxed);
            written.unwrap();
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 200);
    }
}
