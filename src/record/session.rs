//! The folder of a session that is being recorded, and its numbering.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::error::RecordError;
use crate::files::{make_and_lock_folder, missing_folders, remove_empty_folders};
use crate::trace::{is_session_name, path_of, seq_of};

/// The mode of a recorder that knows only its upstream's base URL.
const BASE_URL_MODE: &str = "anthropic";

/// The session of one client run: the folder for its traces, and the next number.
#[derive(Debug)]
pub struct RecordingSession {
    /// `None` to write no traces.
    root: Option<PathBuf>,
    name: String,
    mode: String,
    /// The number of the next exchange.
    next: AtomicU32,
    /// The folders that were made for it, the innermost first.
    made: Vec<PathBuf>,
    /// The folder, locked: two recorders that number their traces in it would overwrite each other's.
    _lock: Option<File>,
}

impl RecordingSession {
    /// Creates and locks the folder `<root>/<name>`. Numbers continue after those already in it.
    ///
    /// # Errors
    /// The name cannot be a folder's name, the folder cannot be written to, or another recorder writes to it. Nothing is left
    /// behind.
    pub fn open(root: &Path, name: &str) -> Result<Self, RecordError> {
        if !is_session_name(name) {
            return Err(RecordError::SessionName { name: name.to_owned() });
        }
        let folder = root.join(name);
        let made = missing_folders(&folder);
        let session = Self::open_folder(root, name, &folder);
        if session.is_err() {
            remove_empty_folders(&made);
        }
        Ok(Self { made, ..session? })
    }

    fn open_folder(root: &Path, name: &str, folder: &Path) -> Result<Self, RecordError> {
        let refuse = |source| RecordError::Folder { folder: folder.to_owned(), source };
        let lock = make_and_lock_folder(folder).map_err(refuse)?;
        let lock = lock.ok_or_else(|| RecordError::InUse { folder: folder.to_owned() })?;
        tempfile::tempfile_in(folder).map_err(refuse)?;
        let mut last = 0;
        for entry in fs::read_dir(folder).map_err(refuse)? {
            let file = entry.map_err(refuse)?.file_name();
            let number = seq_of(Path::new(&file));
            if number.is_some_and(|number| number > MOST) {
                let reason = format!("{} has too high a number to go on after it", file.display());
                return Err(refuse(io::Error::other(reason)));
            }
            last = last.max(number.unwrap_or(0));
        }
        Ok(Self {
            root: Some(root.to_owned()),
            name: name.to_owned(),
            mode: BASE_URL_MODE.into(),
            next: AtomicU32::new(last + 1),
            made: Vec::new(),
            _lock: Some(lock),
        })
    }

    /// Another session in the same root, of the same mode.
    pub(super) fn open_beside(&self, name: &str) -> Result<Self, RecordError> {
        let session = match &self.root {
            Some(root) => Self::open(root, name)?,
            None => Self { name: name.to_owned(), ..Self::unwritten() },
        };
        Ok(session.with_mode(&self.mode))
    }

    /// A session without traces. Its exchanges only lead to [`Notice`](super::Notice)s.
    pub fn unwritten() -> Self {
        let (mode, next) = (BASE_URL_MODE.into(), AtomicU32::new(1));
        Self { root: None, name: "unwritten".into(), mode, next, made: Vec::new(), _lock: None }
    }

    /// The folders that were made for the session, for [`remove_empty_folders`] once it is over.
    pub fn made_folders(&self) -> &[PathBuf] {
        &self.made
    }

    /// Sets the mode that its traces name.
    pub fn with_mode(self, mode: &str) -> Self {
        Self { mode: mode.to_owned(), ..self }
    }

    /// The kind of upstream: `anthropic`, or the mode of the launcher.
    pub fn mode(&self) -> &str {
        &self.mode
    }

    /// The folder of its sessions' folders; `None` if no traces are written.
    pub(super) fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// The session's name, which is its folder's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes the next number, and the path of its trace if traces are written.
    pub(super) fn take(&self) -> (u32, Option<PathBuf>) {
        let seq = self.next.fetch_add(1, Ordering::Relaxed);
        (seq, self.root.as_deref().map(|root| path_of(root, &self.name, seq)))
    }
}

/// The highest number of an exchange that a session goes on after. Past `u32::MAX` the numbers would begin anew, and recorded
/// traces would be written over.
const MOST: u32 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_continue_after_those_in_the_folder() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(RecordingSession::open(root.path(), "a").unwrap().take(), (1, Some(root.path().join("a/0001.json"))));
        fs::write(root.path().join("a/0007.json.partial"), "").unwrap();
        fs::write(root.path().join("a/notes.txt"), "").unwrap();
        let session = RecordingSession::open(root.path(), "a").unwrap();
        assert_eq!((session.take().0, session.take().0), (8, 9));
    }

    #[test]
    fn a_session_has_one_recorder_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let first = RecordingSession::open(root.path(), "a").unwrap();
        let error = RecordingSession::open(root.path(), "a").unwrap_err();
        assert!(matches!(error, RecordError::InUse { .. }), "{error}");
        drop(first);
        RecordingSession::open(root.path(), "a").unwrap();
    }

    #[test]
    fn the_folders_of_a_session_without_traces_go_again_and_others_stay() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("a/b");
        let session = RecordingSession::open(&out, "s").unwrap();
        assert_eq!(session.made_folders(), [out.join("s"), out.clone(), root.path().join("a")]);
        fs::write(root.path().join("a/mine"), "").unwrap();
        remove_empty_folders(session.made_folders());
        assert!(!out.exists() && root.path().join("a").exists());
        // A file where a folder should be: what was made before it goes too.
        fs::write(root.path().join("file"), "").unwrap();
        assert!(RecordingSession::open(&root.path().join("file"), "s").is_err());
        assert!(RecordingSession::open(&root.path().join("c"), "..").is_err());
        assert!(!root.path().join("c").exists());
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        let root = tempfile::tempdir().unwrap();
        for name in ["", "..", ".hidden", "a/b", "a b"] {
            assert!(matches!(RecordingSession::open(root.path(), name), Err(RecordError::SessionName { .. })), "{name}");
        }
    }

    #[test]
    fn a_session_whose_numbers_are_used_up_is_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("s")).unwrap();
        fs::write(root.path().join("s/4294967295.json"), "").unwrap();
        let refused = RecordingSession::open(root.path(), "s").unwrap_err().to_string();
        assert!(refused.contains("4294967295.json"), "{refused}");
    }
}
