//! Where a launch records: the session, its folder, and how many older ones are kept.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::errors::{cannot_write, launch_error};
use crate::cli::CliError;
use crate::cli::record::{open_by_time, recover_left, remove_if_empty};
use crate::config::{self, Settings};
use crate::record::{RecordingSession, Retention};

/// The folder that a launch records to, if it records.
pub(super) struct Recording {
    folder: Option<PathBuf>,
    /// The folders that were made for it.
    made: Vec<PathBuf>,
}

impl Recording {
    /// Opens the session of a launch. With recording on, makes its folder, finishes what a kill has left there and removes the
    /// mode's oldest recordings beyond `keep_sessions`; where a project chose the folder, the last two only inside of the project.
    /// Touches files.
    pub(super) fn open(settings: &Settings, project: Option<&Path>) -> Result<(Self, RecordingSession), CliError> {
        let mode = settings.mode.name();
        if !settings.record {
            return Ok((Self { folder: None, made: Vec::new() }, RecordingSession::unwritten().with_mode(mode)));
        }
        let traces = config::expand_home(&settings.traces).join(mode);
        let is_own = project.is_none_or(|project| is_inside(&traces, project));
        if is_own {
            recover_left(&traces);
        }
        let session = open_by_time(&traces).map_err(launch_error)?;
        if is_own {
            // The new session has no trace yet, and stays.
            keep_newest(&traces, settings.keep_sessions.saturating_sub(1)).map_err(|error| cannot_write(&traces, &error))?;
        }
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

/// Whether a folder is in the project, and does not only seem to be by a symbolic link.
fn is_inside(folder: &Path, project: &Path) -> bool {
    let real = (folder.canonicalize(), project.canonicalize());
    matches!(real, (Ok(folder), Ok(project)) if folder.starts_with(&project))
}

/// Removes the oldest sessions of a folder until `keep` are left beside the new one, as recorders do.
fn keep_newest(folder: &Path, keep: usize) -> io::Result<()> {
    Retention { sessions: Some(keep), ..Retention::default() }.sweep(folder, SystemTime::now()).map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_project_has_nothing_removed_outside_of_it() {
        for (traces, chosen_by_project, is_kept) in
            [("corpus", false, false), ("corpus", true, true), ("project/traces", true, false), ("project/linked", true, true)]
        {
            let root = tempfile::tempdir().unwrap();
            let (root, project) = (root.path(), root.path().join("project"));
            for folder in ["corpus", "project/traces"] {
                fs::create_dir_all(root.join(folder).join("mlx/20260101-000000")).unwrap();
                fs::write(root.join(folder).join("mlx/20260101-000000/0001.json"), "{}").unwrap();
            }
            fs::create_dir(root.join("project/linked")).unwrap();
            std::os::unix::fs::symlink("../../corpus/mlx", root.join("project/linked/mlx")).unwrap();
            let settings = Settings { record: true, traces: root.join(traces), keep_sessions: 1, ..Settings::default() };
            let _recording = Recording::open(&settings, chosen_by_project.then_some(&project)).unwrap();
            let is_left = root.join(traces).join("mlx/20260101-000000/0001.json").exists();
            assert_eq!(is_left, is_kept, "{traces} {chosen_by_project}");
        }
    }

    #[test]
    fn the_newest_sessions_are_kept_and_what_is_at_work_or_not_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        for session in ["20260101-000000", "20260101-000000-2", "20260102-000000", "20260103-000000", "mine", "20260101"] {
            fs::create_dir(folder.join(session)).unwrap();
            let trace = folder.join(session).join("0001.json");
            fs::write(&trace, "{}").unwrap();
            let day = session.get(6..8).and_then(|day| day.parse().ok()).unwrap_or(1);
            let written = SystemTime::UNIX_EPOCH + Duration::from_secs(day * 24 * 60 * 60);
            fs::File::options().write(true).open(trace).unwrap().set_modified(written).unwrap();
        }
        fs::write(folder.join("20260101-000000/notes.json"), "keep me").unwrap();
        let _working = RecordingSession::open(folder, "20260101-000000-2").unwrap();
        keep_newest(folder, 2).unwrap();
        let mut left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["20260101", "20260101-000000", "20260101-000000-2", "20260103-000000", "mine"]);
        assert!(folder.join("20260101-000000/notes.json").exists());
        assert!(!folder.join("20260101-000000/0001.json").exists());
        keep_newest(folder, 5).unwrap();
        assert!(folder.join("20260103-000000").exists());
    }
}
