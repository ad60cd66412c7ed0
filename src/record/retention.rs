//! Which old sessions are removed: by age, by how much disk space they take, and by how many there are.
//!
//! Whole sessions go, those first whose last exchange is the oldest. A session stays while a recorder writes to it, and so does
//! every session whose name a person has chosen. Of a session's folder only its traces are removed, and the folder if that leaves
//! it empty.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::files::lock_folder;
use crate::trace::{self, came_at, is_made_name, is_trace_name, seq_of};

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// For how long after its last exchange a session is kept; `None` for ever.
    pub age: Option<Duration>,
    /// How many bytes all sessions may take; `None` for any number.
    pub bytes: Option<u64>,
    /// How many sessions there may be; `None` for any number.
    pub sessions: Option<usize>,
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

/// What the sessions that may be removed come to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Total {
    bytes: u64,
    sessions: usize,
}

impl Total {
    pub(super) fn of(sessions: &[OldSession]) -> Self {
        Self { bytes: sessions.iter().map(|session| session.bytes).sum(), sessions: sessions.len() }
    }

    /// Takes off what was removed.
    pub(super) fn without(&mut self, removed: Removed) {
        self.bytes = self.bytes.saturating_sub(removed.bytes);
        self.sessions = self.sessions.saturating_sub(removed.sessions);
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
        *self != Self::default()
    }

    /// Whether a session is removed while all together come to this. Reads a file of one that seems to be old.
    pub(super) fn removes(&self, session: &OldSession, all: Total, now: SystemTime) -> bool {
        self.bytes.is_some_and(|most| all.bytes > most)
            || self.sessions.is_some_and(|most| all.sessions > most)
            || self.age.is_some_and(|age| session.is_older(age, now))
    }

    /// Removes the sessions under `root` that are too many now, but for those that a recorder writes to.
    ///
    /// # Errors
    /// The folder cannot be read. What cannot be removed is logged, and stays.
    pub fn sweep(&self, root: &Path, now: SystemTime) -> io::Result<Removed> {
        let sessions = old_sessions(root)?;
        let (mut left, mut removed) = (Total::of(&sessions), Removed::default());
        for session in sessions {
            if !self.removes(&session, left, now) {
                continue;
            }
            match session.remove() {
                Ok(one) => {
                    left.without(one);
                    removed.add(one);
                }
                Err(error) => tracing::warn!("{} is not removed: {error}", session.folder.display()),
            }
        }
        Ok(removed)
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

    /// Whether its last exchange is longer ago than this, both by its file and by what the trace says: a copy, or what came out of
    /// an archive, may have any time.
    fn is_older(&self, age: Duration, now: SystemTime) -> bool {
        let is_older = |time: SystemTime| now.duration_since(time).is_ok_and(|since| since > age);
        is_older(self.last) && self.recorded_last().is_none_or(is_older)
    }

    /// When its last trace was recorded; `None` if that cannot be read.
    fn recorded_last(&self) -> Option<SystemTime> {
        let last = traces_in(&self.folder).ok()?.pop()?;
        came_at(&trace::read(&last.path).ok()?).map(SystemTime::from)
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

/// The traces of a session's folder, in order: files with a number for their name. Nothing else in it is ours.
fn traces_in(folder: &Path) -> io::Result<Vec<TraceFile>> {
    let mut traces = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if is_trace_name(&entry.file_name().to_string_lossy()) && entry.file_type()?.is_file() {
            let metadata = entry.metadata()?;
            traces.push(TraceFile { path: entry.path(), written: metadata.modified()?, bytes: metadata.len() });
        }
    }
    traces.sort_by_key(|trace| seq_of(&trace.path));
    Ok(traces)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    use super::*;
    use crate::record::RecordingSession;
    use crate::trace::{Draft, ExchangeOutcome, Opening, testing};

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

    fn sweep(retention: Retention, root: &Path, now: SystemTime) -> Removed {
        retention.sweep(root, now).unwrap()
    }

    fn aged(age: Duration) -> Retention {
        Retention { age: Some(age), ..Retention::default() }
    }

    fn sized(bytes: u64) -> Retention {
        Retention { bytes: Some(bytes), ..Retention::default() }
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
        let retention = aged(7 * DAY);
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
        assert_eq!(sweep(sized(300), root, now), Removed::default());
        assert_eq!(sweep(sized(299), root, now).traces, 1);
        assert_eq!(left(root), ["20260102-000000/0001.json", "20260103-000000/0001.json"]);
        // In the place of one that is written to, the next oldest goes.
        let _writing = RecordingSession::open(root, "20260102-000000").unwrap();
        assert_eq!(sweep(sized(199), root, now).traces, 1);
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
        let retention = aged(DAY);
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

    #[test]
    fn the_newest_sessions_stay_but_for_one_at_work() {
        let (root, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
        let root = root.path();
        for (day, trace) in [(4, "20260101-000000"), (3, "20260102-000000"), (2, "20260103-000000"), (9, "mine")] {
            write(root, &format!("{trace}/0001.json"), now, day);
        }
        let _working = RecordingSession::open(root, "20260101-000000").unwrap();
        let keep = |sessions| Retention { sessions: Some(sessions), ..Retention::default() };
        assert_eq!(sweep(keep(3), root, now), Removed::default());
        assert_eq!(sweep(keep(2), root, now).sessions, 1);
        assert_eq!(left(root), ["20260101-000000/0001.json", "20260103-000000/0001.json", "mine/0001.json"]);
    }

    #[test]
    fn what_was_recorded_lately_stays_though_its_file_is_old() {
        let (root, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
        let root = root.path();
        let recorded = |days: u32| {
            let at = OffsetDateTime::from(now - days * DAY).format(&Rfc3339).unwrap();
            let opening = Opening { recorded_at: at, ..testing::opening("/v1/messages", serde_json::json!({"model": "m"})) };
            let path = root.join(format!("2026010{days}-000000/0001.json"));
            write(root, path.strip_prefix(root).unwrap().to_str().unwrap(), now, 0);
            trace::write(&path, &Draft::new(opening).to_trace(ExchangeOutcome::Complete, None)).unwrap();
            File::options().write(true).open(path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        };
        [1, 9].into_iter().for_each(recorded);
        assert_eq!(sweep(aged(7 * DAY), root, now).sessions, 1);
        assert_eq!(left(root), ["20260101-000000/0001.json"]);
    }
}
