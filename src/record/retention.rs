//! Which old sessions are removed: by age, and by how much disk space they take.
//!
//! Whole sessions go, those first whose last exchange is the oldest. A session stays while a recorder writes to it, and so does
//! every session whose name a person has chosen. Of a session's folder only its traces are removed, and the folder if that leaves
//! it empty.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::files::lock_folder;
use crate::trace::{is_made_name, is_trace_name};

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// For how long after its last exchange a session is kept; `None` for ever.
    pub age: Option<Duration>,
    /// How many bytes all sessions may take; `None` for any number.
    pub bytes: Option<u64>,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Sessions of which traces were removed.
    pub sessions: usize,
    /// Traces.
    pub traces: usize,
    /// Their size.
    pub bytes: u64,
}

impl Removed {
    /// Counts these too.
    pub fn add(&mut self, more: Self) {
        self.sessions += more.sessions;
        self.traces += more.traces;
        self.bytes += more.bytes;
    }
}

/// A session that may be removed.
#[derive(Debug)]
pub(super) struct OldSession {
    folder: PathBuf,
    pub name: String,
    /// When its last exchange was written.
    last: SystemTime,
    /// The size of its traces.
    pub bytes: u64,
}

/// A trace in a session's folder.
struct TraceFile {
    path: PathBuf,
    written: SystemTime,
    bytes: u64,
}

impl Retention {
    /// Whether anything is ever removed.
    pub fn is_limited(&self) -> bool {
        self.age.is_some() || self.bytes.is_some()
    }

    /// Whether a session is removed while all together take so many bytes.
    pub(super) fn removes(&self, session: &OldSession, all_bytes: u64, now: SystemTime) -> bool {
        let is_old = self.age.is_some_and(|age| now.duration_since(session.last).is_ok_and(|since| since > age));
        is_old || self.bytes.is_some_and(|most| all_bytes > most)
    }
}

/// The sessions under `root` that may be removed, the oldest first. One that cannot be read is logged, and left out.
pub(super) fn old_sessions(root: &Path) -> io::Result<Vec<OldSession>> {
    let mut sessions = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_made_name(&name) {
            match OldSession::of(entry.path(), name) {
                Ok(session) => sessions.extend(session),
                Err(error) => tracing::warn!("{} is not looked at for removal: {error}", entry.path().display()),
            }
        }
    }
    sessions.sort_by(|a, b| (a.last, &a.name).cmp(&(b.last, &b.name)));
    Ok(sessions)
}

impl OldSession {
    /// `None` if it has no traces.
    fn of(folder: PathBuf, name: String) -> io::Result<Option<Self>> {
        let traces = traces_in(&folder)?;
        let bytes = traces.iter().map(|trace| trace.bytes).sum();
        Ok(traces.iter().map(|trace| trace.written).max().map(|last| Self { folder, name, last, bytes }))
    }

    /// Removes it, unless a recorder writes to it or has done so since.
    pub(super) fn remove(&self) -> io::Result<Removed> {
        let Some(_lock) = lock_folder(&self.folder)? else { return Ok(Removed::default()) };
        let traces = traces_in(&self.folder)?;
        if traces.iter().any(|trace| trace.written > self.last) {
            return Ok(Removed::default());
        }
        for trace in &traces {
            fs::remove_file(&trace.path)?;
        }
        match fs::remove_dir(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => return Err(error),
            _ => {}
        }
        Ok(Removed { sessions: 1, traces: traces.len(), bytes: traces.iter().map(|trace| trace.bytes).sum() })
    }
}

/// The traces of a session's folder: files with a number for their name. Nothing else in it is ours.
fn traces_in(folder: &Path) -> io::Result<Vec<TraceFile>> {
    let mut traces = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if is_trace_name(&entry.file_name().to_string_lossy()) && entry.file_type()?.is_file() {
            let metadata = entry.metadata()?;
            traces.push(TraceFile { path: entry.path(), written: metadata.modified()?, bytes: metadata.len() });
        }
    }
    traces.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(traces)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::record::RecordingSession;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// A trace of 100 bytes that was written this many days before `now`.
    fn write(root: &Path, trace: &str, now: SystemTime, days: u32) {
        let path = root.join(trace);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, [b' '; 100]).unwrap();
        File::options().write(true).open(path).unwrap().set_modified(now - days * DAY).unwrap();
    }

    fn left(root: &Path) -> Vec<String> {
        let entries = walkdir::WalkDir::new(root).min_depth(1).sort_by_file_name().into_iter().map(Result::unwrap);
        let files = entries.filter(|entry| entry.file_type().is_file());
        files.map(|entry| entry.path().strip_prefix(root).unwrap().display().to_string()).collect()
    }

    /// What the recorder does, in short: see [`Sessions::sweep`](crate::record::Sessions).
    fn sweep(retention: Retention, root: &Path, now: SystemTime) -> Removed {
        let sessions = old_sessions(root).unwrap();
        let all_bytes: u64 = sessions.iter().map(|session| session.bytes).sum();
        let mut removed = Removed::default();
        for session in sessions {
            if retention.removes(&session, all_bytes - removed.bytes, now) {
                removed.add(session.remove().unwrap());
            }
        }
        removed
    }

    #[test]
    fn sessions_go_by_the_age_of_their_last_exchange() {
        let (root, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
        let root = root.path();
        for (trace, days) in [
            ("20260101-000000/0001.json", 9),
            ("20260101-000000/0002.json.zst", 8),
            ("20260102-000000/0001.json", 9),
            ("20260102-000000/0002.json", 6),
            ("mine/0001.json", 9),
        ] {
            write(root, trace, now, days);
        }
        let retention = Retention { age: Some(7 * DAY), bytes: None };
        assert_eq!(sweep(retention, root, now), Removed { sessions: 1, traces: 2, bytes: 200 });
        assert_eq!(left(root), ["20260102-000000/0001.json", "20260102-000000/0002.json", "mine/0001.json"]);
        assert!(!root.join("20260101-000000").exists());
        // The clock goes on, or is set back.
        assert_eq!(sweep(retention, root, now - 30 * DAY), Removed::default());
        assert_eq!(sweep(retention, root, now + 2 * DAY).sessions, 1);
        assert_eq!(left(root), ["mine/0001.json"]);
    }

    #[test]
    fn the_oldest_sessions_go_until_the_rest_is_small_enough() {
        let (root, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
        let root = root.path();
        for (trace, days) in
            [("20260103-000000/0001.json", 1), ("20260101-000000/0001.json", 3), ("20260102-000000/0001.json", 2)]
        {
            write(root, trace, now, days);
        }
        assert_eq!(sweep(Retention { age: None, bytes: Some(300) }, root, now), Removed::default());
        assert_eq!(sweep(Retention { age: None, bytes: Some(299) }, root, now).traces, 1);
        assert_eq!(left(root), ["20260102-000000/0001.json", "20260103-000000/0001.json"]);
        // In the place of one that is written to, the next oldest goes.
        let _writing = RecordingSession::open(root, "20260102-000000").unwrap();
        assert_eq!(sweep(Retention { age: None, bytes: Some(199) }, root, now).traces, 1);
        assert_eq!(left(root), ["20260102-000000/0001.json"]);
    }

    #[test]
    fn what_is_written_to_or_is_no_trace_stays() {
        let (root, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
        let root = root.path();
        for file in ["0001.json", "0002.json.partial", "notes.json", "1.json", "12345.jsonl"] {
            write(root, &format!("20260101-000000/{file}"), now, 9);
        }
        write(root, "20260102-000000/0001.json", now, 9);
        let writing = RecordingSession::open(root, "20260102-000000").unwrap();
        let retention = Retention { age: Some(DAY), bytes: None };
        assert_eq!(sweep(retention, root, now), Removed { sessions: 1, traces: 1, bytes: 100 });
        let others = ["0002.json.partial", "1.json", "12345.jsonl", "notes.json"].map(|file| format!("20260101-000000/{file}"));
        assert_eq!(left(root), [others.to_vec(), vec!["20260102-000000/0001.json".into()]].concat());
        drop(writing);
        // An exchange that came meanwhile keeps the session.
        let planned = old_sessions(root).unwrap();
        write(root, "20260102-000000/0002.json", now, 0);
        assert_eq!(planned[0].remove().unwrap(), Removed::default());
        assert!(root.join("20260102-000000/0001.json").exists());
    }
}
