//! Trace files: their names, reading, finding and writing them.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyclaude_files::{Access, folder_of, make_private_folder, write_atomically};
use serde::Deserialize;
use serde_json::Value;

use super::{Trace, VERSION, is_heavier};

/// The most bytes of a trace, decompressed: more than the recorder writes.
const MAX_TRACE: u64 = 2 << 30;

/// The most that a trace may weigh in memory, in bytes: more than the recorder writes.
pub const MAX_WEIGHT: usize = 2 << 30;

/// What is added to a trace's name while its exchange is open.
pub const PARTIAL_SUFFIX: &str = ".partial";

/// Why a trace could not be read, found or written. Every text names the file, and the next step unless that is a command.
#[allow(missing_docs, reason = "each variant's text says what it is")]
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("{}: no such file or folder", .path.display())]
    Missing { path: PathBuf },
    #[error("no traces in {}", list(.paths))]
    NothingFound { paths: Vec<PathBuf> },
    #[error("cannot {doing} {}: {source}; check the path, its permissions and the free space", .path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("{}:{line}:{column}: not a whole trace: {reason}; it was cut short or edited, record it again or delete it", .path.display())]
    Malformed { path: PathBuf, line: usize, column: usize, reason: String },
    #[error(
        "{}: trace version {found}, but this anyclaude reads version {VERSION}; record it again, or use the anyclaude that wrote it",
        .path.display()
    )]
    Version { path: PathBuf, found: String },
    #[error("{}: no whole zstd file: {source}; it was cut short or edited, record it again or delete it", .path.display())]
    Compressed { path: PathBuf, source: io::Error },
    #[error("{}: larger than {} MiB in a file or in memory, which no trace is; it was edited, record it again or delete it", .path.display(), MAX_TRACE >> 20)]
    TooLarge { path: PathBuf },
    #[error(
        "{}: its session {session:?} cannot be a folder's name; use ASCII letters, digits, '-', '_' and '.' there, no dot first",
        .path.display()
    )]
    SessionName { path: PathBuf, session: String },
    #[error("{}: a recording that did not end", .path.display())]
    Partial { path: PathBuf },
}

impl TraceError {
    /// Turns an I/O error into one that names the file; `doing` is a verb, such as "read".
    pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    /// The error of JSON that is no trace.
    pub fn malformed(path: &Path, error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason).to_owned();
        Self::Malformed { path: path.to_owned(), line: error.line(), column: error.column(), reason }
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The path of a trace: `<root>/<session>/<seq>.json`, with the number padded so that `ls` sorts it. A session that was read from
/// somewhere must be a [name](super::is_session_name), or the path leads out of `root`.
pub fn path_of(root: &Path, session: &str, seq: u32) -> PathBuf {
    root.join(session).join(format!("{seq:04}.json"))
}

/// Whether a file's name is one that a trace gets in its session's folder: a number of at least four digits.
pub fn is_trace_name(name: &str) -> bool {
    let number = name.strip_suffix(".zst").unwrap_or(name).strip_suffix(".json");
    number.is_some_and(|number| number.len() >= 4 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The partial file that belongs to a trace file.
pub fn partial_path(trace: &Path) -> PathBuf {
    let mut name = trace.as_os_str().to_owned();
    name.push(PARTIAL_SUFFIX);
    name.into()
}

/// Reads a trace from a `.json` or `.json.zst` file.
///
/// # Errors
/// The file cannot be read, is not a whole trace, or has another version.
pub fn read(path: &Path) -> Result<Trace, TraceError> {
    #[derive(Deserialize)]
    #[serde(expecting = "a trace's JSON object")]
    struct Versioned {
        version: Option<Value>,
    }
    let bytes = read_json_into(path, Vec::new())?;
    if is_heavier(&bytes, MAX_WEIGHT) {
        return Err(TraceError::TooLarge { path: path.to_owned() });
    }
    let head: Versioned = serde_json::from_slice(&bytes).map_err(|e| TraceError::malformed(path, &e))?;
    match head.version {
        Some(version) if version == VERSION => {}
        version => {
            let found = version.map_or_else(|| "missing".into(), |version| version.to_string());
            return Err(TraceError::Version { path: path.to_owned(), found });
        }
    }
    serde_json::from_slice(&bytes).map_err(|e| TraceError::malformed(path, &e))
}

/// The JSON text of a trace's file, decompressed, in the memory of another text, which is not needed any more.
///
/// # Errors
/// The file cannot be read, or is larger than a trace.
pub fn read_json_into(path: &Path, mut text: Vec<u8>) -> Result<Vec<u8>, TraceError> {
    text.clear();
    if path.to_string_lossy().ends_with(PARTIAL_SUFFIX) {
        return Err(TraceError::Partial { path: path.to_owned() });
    }
    let file = fs::File::open(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => TraceError::Missing { path: path.to_owned() },
        _ => TraceError::io("read", path)(e),
    })?;
    if !is_compressed(path) {
        return read_bounded(file, path, text)?.map_err(TraceError::io("read", path));
    }
    let compressed = |source| TraceError::Compressed { path: path.to_owned(), source };
    let decoder = zstd::Decoder::new(file).map_err(compressed)?;
    read_bounded(decoder, path, text)?.map_err(compressed)
}

/// The lines of a partial file.
pub(super) fn read_partial(path: &Path) -> Result<Vec<u8>, TraceError> {
    let file = fs::File::open(path).map_err(TraceError::io("read", path))?;
    read_bounded(file, path, Vec::new())?.map_err(TraceError::io("read", path))
}

/// Everything that there is to read, behind what is in `bytes`.
///
/// # Errors
/// It is more than a trace has. The error inside is that of reading.
fn read_bounded(reader: impl io::Read, path: &Path, mut bytes: Vec<u8>) -> Result<io::Result<Vec<u8>>, TraceError> {
    let read = reader.take(MAX_TRACE + 1).read_to_end(&mut bytes);
    if bytes.len() as u64 > MAX_TRACE {
        return Err(TraceError::TooLarge { path: path.to_owned() });
    }
    Ok(read.map(|_| bytes))
}

/// The trace files in `paths`, sorted by folder and number. Files are taken as they are, folders are searched at any depth.
///
/// # Errors
/// A path does not exist, a folder cannot be searched, or nothing is found. If only a recording that did not end is found, the
/// error names it.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, TraceError> {
    let mut found = Vec::new();
    let mut partial = None;
    for path in paths {
        if path.is_dir() {
            for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
                let entry = entry.map_err(|e| TraceError::io("search", path)(e.into()))?;
                if entry.file_type().is_file() && is_trace(entry.path()) {
                    found.push(entry.into_path());
                } else if entry.path().to_string_lossy().ends_with(PARTIAL_SUFFIX) {
                    partial.get_or_insert(entry.into_path());
                }
            }
        } else if path.exists() {
            found.push(path.clone());
        } else {
            return Err(TraceError::Missing { path: path.clone() });
        }
    }
    if found.is_empty() {
        return Err(partial.map_or(TraceError::NothingFound { paths: paths.to_vec() }, |path| TraceError::Partial { path }));
    }
    found.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
    if paths.len() > 1 {
        // One file can be named in many ways, as `traces` and `./traces` do.
        let mut known = HashSet::new();
        found.retain(|path| known.insert(path.canonicalize().unwrap_or_else(|_| path.clone())));
    }
    Ok(found)
}

fn is_trace(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    !name.starts_with('.') && (name.ends_with(".json") || name.ends_with(".json.zst"))
}

fn is_compressed(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("zst"))
}

/// Sorts by folder, then numbered files by number, then the others by name.
fn sort_key(path: &Path) -> (Option<&Path>, u32, &Path) {
    (path.parent(), seq_of(path).unwrap_or(u32::MAX), path)
}

/// The number in the name of a trace file, a partial one included.
pub fn seq_of(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.split('.').next()?.parse().ok()
}

/// Writes a trace as JSON indented by two spaces, compressed if the name ends in `.zst`. The file is written whole or not at all;
/// its folder is created if it is missing.
///
/// # Errors
/// The folder or the file cannot be written.
pub fn write(path: &Path, trace: &Trace) -> Result<(), TraceError> {
    let mut bytes = serde_json::to_vec_pretty(trace).map_err(|e| TraceError::io("write", path)(e.into()))?;
    bytes.push(b'\n');
    if is_compressed(path) {
        bytes = compressed(&bytes).map_err(TraceError::io("compress", path))?;
    }
    let folder = folder_of(path);
    make_private_folder(folder).map_err(TraceError::io("make the folder", folder))?;
    write_atomically(path, &bytes, Access::Owner).map_err(TraceError::io("write", path))
}

/// With a checksum, so that a changed byte is found.
fn compressed(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 0)?;
    encoder.include_checksum(true)?;
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::super::{ExchangeOutcome, RecordedRequest, RecordedResponse, Timing};
    use super::*;

    fn trace(seq: u32) -> Trace {
        Trace {
            version: VERSION,
            id: format!("id-{seq}"),
            session: "s".into(),
            seq,
            recorded_at: "2026-01-02T03:04:05Z".into(),
            client: "claude-cli/2".into(),
            mode: "anthropic".into(),
            upstream: None,
            request: RecordedRequest {
                method: "POST".into(),
                path: "/v1/messages?beta=true".into(),
                headers: serde_json::Map::new(),
                body: serde_json::json!({"model": "m", "messages": [], "max_tokens": 5}),
            },
            response: RecordedResponse {
                status: 200,
                headers: serde_json::Map::new(),
                events: vec![],
                body: serde_json::json!({"type": "message"}),
            },
            timing: Timing::default(),
            outcome: ExchangeOutcome::Complete,
        }
    }

    #[test]
    fn what_is_written_is_read_back_plain_and_compressed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a/0001.json", "b/0001.json.zst"] {
            let path = folder.path().join(name);
            write(&path, &trace(1)).unwrap();
            assert_eq!(read(&path).unwrap(), trace(1));
            assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
        }
        let text = fs::read_to_string(folder.path().join("a/0001.json")).unwrap();
        assert!(text.starts_with("{\n  \"version\": 1,\n  \"id\": \"id-1\",\n  \"session\""), "{text}");
    }

    #[test]
    fn traces_are_found_by_session_then_number() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b/0002.json", "b/10000.json", "a/0001.json.zst", "b/0001.json"] {
            write(&folder.path().join(name), &trace(1)).unwrap();
        }
        fs::write(folder.path().join("b/0003.json.partial"), "").unwrap();
        fs::write(folder.path().join("b/.trace-x.json"), "").unwrap();
        let found = find(&[folder.path().to_owned(), folder.path().join("b")]).unwrap();
        let names: Vec<_> = found.iter().map(|p| p.strip_prefix(folder.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a/0001.json.zst", "b/0001.json", "b/0002.json", "b/10000.json"]);
    }

    #[test]
    fn nothing_found_and_nothing_there_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(find(&[folder.path().to_owned()]), Err(TraceError::NothingFound { .. })));
        assert!(matches!(find(&[folder.path().join("x")]), Err(TraceError::Missing { .. })));
    }

    #[test]
    fn errors_say_where_and_what_next() {
        let folder = tempfile::tempdir().unwrap();
        let message = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            read(&path).unwrap_err().to_string().replace(&folder.path().display().to_string(), "T")
        };
        insta::assert_snapshot!(message("cut.json", "{\n  \"version\": 1,\n  \"id\": \"x"), @"T/cut.json:3:10: not a whole trace: EOF while parsing a string; it was cut short or edited, record it again or delete it");
        insta::assert_snapshot!(message("v2.json", "{\"version\": 2}"), @"T/v2.json: trace version 2, but this anyclaude reads version 1; record it again, or use the anyclaude that wrote it");
        insta::assert_snapshot!(message("none.json", "{\"a\": 2}"), @"T/none.json: trace version missing, but this anyclaude reads version 1; record it again, or use the anyclaude that wrote it");
        insta::assert_snapshot!(message("fields.json", "{\"version\": 1}"), @"T/fields.json:1:14: not a whole trace: missing field `id`; it was cut short or edited, record it again or delete it");
        insta::assert_snapshot!(message("1.json.partial", ""), @"T/1.json.partial: a recording that did not end");
    }
}
