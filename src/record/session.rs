//! The session's folder and its numbering.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::RecordError;
use crate::trace::path_of;

/// The mode of a recorder that only knows its upstream's base URL.
const BASE_URL_MODE: &str = "anthropic";

/// One client run: the folder its traces go to, and the next number.
#[derive(Debug)]
pub struct Session {
    /// `None`: exchanges are watched and not written.
    root: Option<PathBuf>,
    name: String,
    mode: String,
    next: AtomicU32,
    /// The folder, locked: two recorders that take numbers from it would write over each other's traces.
    _lock: Option<File>,
}

impl Session {
    /// Makes the folder `<root>/<name>` and makes sure that it can be written to, and that nobody else records to it. Numbers
    /// go on after those already there.
    pub fn open(root: &Path, name: &str) -> Result<Self, RecordError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(allowed) {
            return Err(RecordError::SessionName { name: name.to_owned() });
        }
        let folder = root.join(name);
        let refuse = |source| RecordError::Folder { folder: folder.clone(), source };
        fs::create_dir_all(&folder).map_err(refuse)?;
        tempfile::tempfile_in(&folder).map_err(refuse)?;
        let lock = File::open(&folder).map_err(refuse)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            Errno::WOULDBLOCK => RecordError::InUse { folder: folder.clone() },
            other => refuse(other.into()),
        })?;
        let mut last = 0;
        for entry in fs::read_dir(&folder).map_err(refuse)? {
            let file = entry.map_err(refuse)?.file_name();
            let number = file.to_string_lossy().split('.').next().and_then(|stem| stem.parse::<u32>().ok());
            last = last.max(number.unwrap_or(0));
        }
        Ok(Self {
            root: Some(root.to_owned()),
            name: name.to_owned(),
            mode: BASE_URL_MODE.into(),
            next: AtomicU32::new(last + 1),
            _lock: Some(lock),
        })
    }

    /// A session of which nothing is written: its exchanges are watched for what [`super::Notice`]s tell.
    pub fn unwritten() -> Self {
        Self { root: None, name: "unwritten".into(), mode: BASE_URL_MODE.into(), next: AtomicU32::new(1), _lock: None }
    }

    /// What its traces give as their mode.
    pub fn with_mode(self, mode: &str) -> Self {
        Self { mode: mode.to_owned(), ..self }
    }

    /// What kind of upstream answers.
    pub fn mode(&self) -> &str {
        &self.mode
    }

    /// The session's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes the next number, with the path of its trace where it is written.
    pub(super) fn take(&self) -> (u32, Option<PathBuf>) {
        let seq = self.next.fetch_add(1, Ordering::Relaxed);
        (seq, self.root.as_deref().map(|root| path_of(root, &self.name, seq)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_after_what_is_there() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Session::open(root.path(), "a").unwrap().take(), (1, Some(root.path().join("a/0001.json"))));
        fs::write(root.path().join("a/0007.json.partial"), "").unwrap();
        fs::write(root.path().join("a/notes.txt"), "").unwrap();
        let session = Session::open(root.path(), "a").unwrap();
        assert_eq!((session.take().0, session.take().0), (8, 9));
    }

    #[test]
    fn a_session_has_one_recorder_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let first = Session::open(root.path(), "a").unwrap();
        let error = Session::open(root.path(), "a").unwrap_err();
        assert!(matches!(error, RecordError::InUse { .. }), "{error}");
        drop(first);
        Session::open(root.path(), "a").unwrap();
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        let root = tempfile::tempdir().unwrap();
        for name in ["", "..", ".hidden", "a/b", "a b"] {
            assert!(matches!(Session::open(root.path(), name), Err(RecordError::SessionName { .. })), "{name}");
        }
    }
}
