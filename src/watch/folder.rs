//! What is in a recorder's folder.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::topics::Topics;
use crate::report::html::recorded::SessionLine;
use crate::trace::{
    self, ExchangeOutcome, PARTIAL_SUFFIX, Trace, TraceError, is_session_name, partial_path, path_of, read_draft, seq_of,
};

/// A file of a session: the number of an exchange, whether it is under way, and its file.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ExchangeEntry {
    pub seq: u32,
    pub is_open: bool,
    pub path: PathBuf,
}

/// The folders of sessions, with when each was changed last.
pub(super) fn session_folders(root: &Path) -> io::Result<Vec<(String, SystemTime)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        // What goes meanwhile is no session any more.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() && is_session_name(&name) {
            found.push((name, modified(&metadata)));
        }
    }
    Ok(found)
}

/// A session as the list shows it.
pub(super) fn session_line(root: &Path, topics: &Topics, name: String, last: SystemTime) -> io::Result<SessionLine> {
    let entries = exchange_entries(root, &name)?;
    let topic = topics.of(&root.join(&name), &entries);
    let open = entries.iter().filter(|entry| entry.is_open).count();
    Ok(SessionLine { name, topic, recorded: entries.len() - open, open, last: last.into() })
}

/// The exchanges of a session, in order. One whose trace is written is not under way any more.
pub(super) fn exchange_entries(root: &Path, session: &str) -> io::Result<Vec<ExchangeEntry>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join(session))? {
        let entry = entry?;
        let path = entry.path();
        // Reading from a pipe or a device may never end.
        if !entry.file_type().is_ok_and(|kind| kind.is_file() || (kind.is_symlink() && path.is_file())) {
            continue;
        }
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let (name, is_open) = name.strip_suffix(PARTIAL_SUFFIX).map_or((name, false), |name| (name, true));
        if let Some(seq) = seq_of(Path::new(name))
            && path_of(root, session, seq).file_name().is_some_and(|own| own == name)
        {
            found.push(ExchangeEntry { seq, is_open, path });
        }
    }
    found.sort_unstable();
    found.dedup_by_key(|entry| entry.seq);
    Ok(found)
}

/// The exchange of a file, as far as it came; `None` if there is nothing in it, or it is gone.
pub(super) fn read_entry(entry: &ExchangeEntry) -> Result<Option<Trace>, TraceError> {
    if entry.is_open { so_far(&entry.path) } else { trace::read(&entry.path).map(Some) }
}

/// An exchange as far as it came, and whether it is under way; `None` if there is none with this number.
pub(super) fn exchange_of(root: &Path, session: &str, seq: u32) -> Result<Option<(Trace, bool)>, TraceError> {
    let path = path_of(root, session, seq);
    if !path.is_file()
        && let Some(trace) = so_far(&partial_path(&path))?
    {
        return Ok(Some((trace, true)));
    }
    // It may have ended meanwhile.
    if path.is_file() { Ok(Some((trace::read(&path)?, false))) } else { Ok(None) }
}

/// The exchange in a partial file; `None` if there is nothing in it, or it is gone.
fn so_far(partial: &Path) -> Result<Option<Trace>, TraceError> {
    if !partial.is_file() {
        return Ok(None);
    }
    let draft = match read_draft(partial) {
        Err(_) if !partial.is_file() => return Ok(None),
        draft => draft?,
    };
    Ok(draft.map(|draft| draft.to_trace(ExchangeOutcome::Truncated, None)))
}

/// When a file was changed last.
pub(super) fn modified(metadata: &Metadata) -> SystemTime {
    // All systems that we run on know it.
    metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::trace::{Draft, Opening, PartialFile, PartialLine, RecordedRequest, VERSION};

    fn opening(seq: u32) -> Opening {
        let body = json!({"model": "m"});
        let request = RecordedRequest { method: "POST".into(), path: "/v1/messages".into(), headers: Map::new(), body };
        let (version, recorded_at) = (VERSION, "2026-01-02T03:04:05Z".into());
        let [id, session, client, mode] = ["i", "s", "c", "anthropic"].map(String::from);
        Opening { version, id, session, seq, recorded_at, client, mode, upstream: None, request }
    }

    /// A folder with a session of which the first exchange is recorded and the second is under way.
    fn folder() -> (tempfile::TempDir, PartialFile) {
        let root = tempfile::tempdir().unwrap();
        let mut partial = PartialFile::create(partial_path(&path_of(root.path(), "s", 2))).unwrap();
        let trace = Draft::new(opening(1)).to_trace(ExchangeOutcome::Complete, Some(7));
        trace::write(&path_of(root.path(), "s", 1), &trace).unwrap();
        partial.append(&PartialLine::Request(Box::new(opening(2)))).unwrap();
        for other in ["notes.txt", "1.json", "+003.json", "00001.json", "0004.json.zst"] {
            fs::write(root.path().join("s").join(other), "").unwrap();
        }
        fs::write(root.path().join("notes.txt"), "").unwrap();
        (root, partial)
    }

    #[test]
    fn sessions_and_exchanges_are_those_that_are_there() {
        let (root, _partial) = folder();
        let folders = session_folders(root.path()).unwrap();
        let topics = Topics::default();
        let line = |(name, last)| session_line(root.path(), &topics, name, last).unwrap();
        let lines: Vec<_> = folders.into_iter().map(line).collect();
        assert_eq!(lines.iter().map(|line| (&*line.name, line.recorded, line.open)).collect::<Vec<_>>(), [("s", 1, 1)]);
        let entries = exchange_entries(root.path(), "s").unwrap();
        assert_eq!(entries.iter().map(|entry| (entry.seq, entry.is_open)).collect::<Vec<_>>(), [(1, false), (2, true)]);
    }

    #[test]
    fn what_is_no_file_is_no_exchange() {
        let (root, _partial) = folder();
        let at = |name: &str| root.path().join("s").join(name);
        for name in ["0003.json", "0004.json.partial"] {
            assert!(std::process::Command::new("mkfifo").arg(at(name)).status().unwrap().success());
        }
        std::os::unix::fs::symlink("/dev/zero", at("0005.json")).unwrap();
        fs::create_dir(at("0006.json")).unwrap();
        std::os::unix::fs::symlink("0001.json", at("0007.json")).unwrap();
        let entries = exchange_entries(root.path(), "s").unwrap();
        assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 2, 7]);
        for seq in 3..=6 {
            assert!(exchange_of(root.path(), "s", seq).unwrap().is_none(), "{seq}");
        }
    }

    #[test]
    fn an_exchange_is_read_as_far_as_it_came() {
        let (root, _partial) = folder();
        let found = |seq| exchange_of(root.path(), "s", seq).unwrap().map(|(trace, is_open)| (trace.seq, is_open));
        assert_eq!([1, 2, 3].map(found), [Some((1, false)), Some((2, true)), None]);
    }

    #[test]
    fn a_written_trace_counts_although_its_partial_file_is_still_there() {
        let (root, _partial) = folder();
        let trace = Draft::new(opening(2)).to_trace(ExchangeOutcome::Complete, Some(7));
        trace::write(&path_of(root.path(), "s", 2), &trace).unwrap();
        let entries = exchange_entries(root.path(), "s").unwrap();
        assert_eq!(entries.iter().map(|entry| (entry.seq, entry.is_open)).collect::<Vec<_>>(), [(1, false), (2, false)]);
        assert!(!exchange_of(root.path(), "s", 2).unwrap().unwrap().1);
    }
}
