//! Where a launch records: the session, its folder, and how many older ones are kept.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::errors::{cannot_write, launch_error};
use crate::cli::CliError;
use crate::cli::record::{open_by_time, recover_left, remove_if_empty};
use crate::config::{self, Settings};
use crate::record::RecordingSession;
use crate::trace::is_time_name;

/// The folder that a launch records to, if it records.
pub(super) struct Recording {
    folder: Option<PathBuf>,
    /// The folders that were made for it.
    made: Vec<PathBuf>,
}

impl Recording {
    /// Opens the session of a launch. With recording on, makes its folder and removes the mode's oldest recordings beyond
    /// `keep_sessions`. Touches files.
    pub(super) fn open(settings: &Settings) -> Result<(Self, RecordingSession), CliError> {
        let mode = settings.mode.name();
        if !settings.record {
            return Ok((Self { folder: None, made: Vec::new() }, RecordingSession::unwritten().with_mode(mode)));
        }
        let traces = config::expand_home(&settings.traces).join(mode);
        recover_left(&traces);
        let session = open_by_time(&traces).map_err(launch_error)?;
        // The new session is the newest, so it is among those that stay.
        keep_newest(&traces, settings.keep_sessions.max(1)).map_err(|error| cannot_write(&traces, &error))?;
        let (folder, made) = (Some(traces.join(session.name())), session.made_folders().to_vec());
        Ok((Self { folder, made }, session.with_mode(mode)))
    }

    /// The folder; `None` if nothing is recorded.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Removes its folders if nothing was recorded.
    pub(super) async fn end(self) {
        remove_if_empty(self.made).await;
    }
}

/// Removes the oldest sessions of a folder until `keep` are left. Folders whose name is no time, which the launcher did not
/// make, are left alone; so is a session's folder that holds anything but traces.
fn keep_newest(folder: &Path, keep: usize) -> io::Result<()> {
    let mut sessions: Vec<String> = fs::read_dir(folder)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| is_time_name(name))
        .collect();
    sessions.sort();
    sessions.truncate(sessions.len().saturating_sub(keep));
    sessions.iter().try_for_each(|session| remove(&folder.join(session)))
}

/// Removes the traces in a session's folder, then the folder if that leaves it empty.
fn remove(session: &Path) -> io::Result<()> {
    for entry in fs::read_dir(session)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if [".json", ".json.zst", ".json.partial"].iter().any(|end| name.ends_with(end)) {
            fs::remove_file(&path)?;
        }
    }
    match fs::remove_dir(session) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_sessions_are_kept_and_what_is_not_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        for session in ["20260101-000000", "20260101-000000-2", "20260102-000000", "mine", "20260101"] {
            fs::create_dir(folder.path().join(session)).unwrap();
            fs::write(folder.path().join(session).join("0001.json"), "{}").unwrap();
        }
        fs::write(folder.path().join("20260101-000000/notes.txt"), "keep me").unwrap();
        keep_newest(folder.path(), 1).unwrap();
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["20260101", "20260101-000000", "20260102-000000", "mine"]);
        assert!(folder.path().join("20260101-000000/notes.txt").exists());
        assert!(!folder.path().join("20260101-000000/0001.json").exists());
        assert!(folder.path().join("20260102-000000/0001.json").exists());
    }

    #[test]
    fn fewer_than_the_limit_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("20260101-000000")).unwrap();
        keep_newest(folder.path(), 5).unwrap();
        assert!(folder.path().join("20260101-000000").exists());
    }
}
